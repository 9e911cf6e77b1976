/* gemm.cu - dense products through cuBLASLt.
 *
 * cuBLASLt thinks in columns: a row-major C (m, n) is its (n, m), so the operands change places and
 * op(B) comes first.  What it needs to know of a shape (descriptors, the algorithm that its heuristic
 * names first) is kept in a table, because asking costs as much as a small product.  Algorithms that
 * add atomically are not asked for: the same input gives the same bits. */
#include "gpu_impl.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    int m, n, k, lda, ldb, ldc, ta, tb, wide, batch, add;
    int64_t sa, sb, sc;
} gemm_key;

struct gemm_plan {
    gemm_key key;
    bool used;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
};

bool gemm_plans_alloc(loci_gpu *g)
{
    g->plan = (gemm_plan *)calloc(GPU_PLANS, sizeof *g->plan);
    if (!g->plan) loci_fail(&g->error, LOCI_ENOMEM, "no memory for the table of products");
    return g->plan != NULL;
}

static void plan_clear(gemm_plan *p)
{
    if (p->op) cublasLtMatmulDescDestroy(p->op);
    if (p->a) cublasLtMatrixLayoutDestroy(p->a);
    if (p->b) cublasLtMatrixLayoutDestroy(p->b);
    if (p->c) cublasLtMatrixLayoutDestroy(p->c);
    memset(p, 0, sizeof *p);
}

void gemm_plans_free(loci_gpu *g)
{
    for (int i = 0; g->plan && i < GPU_PLANS; i++) plan_clear(&g->plan[i]);
    free(g->plan);
    g->plan = NULL;
}

static uint32_t key_hash(const gemm_key *k)
{
    const unsigned char *p = (const unsigned char *)k;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof *k; i++) h = (h ^ p[i]) * 16777619u;
    return h;
}

/* A row-major (rows, cols) matrix is (cols, rows) in columns. */
static bool layout(cublasLtMatrixLayout_t *out, cudaDataType type, int rows, int cols, int ld,
                   int batch, int64_t stride)
{
    if (cublasLtMatrixLayoutCreate(out, type, (uint64_t)cols, (uint64_t)rows, ld) !=
        CUBLAS_STATUS_SUCCESS)
        return false;
    if (batch <= 1) return true;
    return cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                            sizeof batch) == CUBLAS_STATUS_SUCCESS &&
           cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                            &stride, sizeof stride) == CUBLAS_STATUS_SUCCESS;
}

/* Matrices start on 16 bytes and no more: columns of larger ones are passed too. */
static bool aligned(cublasLtMatmulPreference_t want, cublasLtMatmulPreferenceAttributes_t which)
{
    const uint32_t bytes = 16;
    return cublasLtMatmulPreferenceSetAttribute(want, which, &bytes, sizeof bytes) ==
           CUBLAS_STATUS_SUCCESS;
}

static bool plan_make(loci_gpu *g, gemm_plan *p, const gemm_key *k)
{
    const cublasOperation_t first = k->tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                            second = k->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cudaDataType out = k->wide ? CUDA_R_32F : CUDA_R_16BF;
    cublasLtMatmulPreference_t want = NULL;
    cublasLtMatmulHeuristicResult_t found;
    const size_t workspace = GPU_WORKSPACE;
    const uint32_t schemes =
        CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    int n = 0;
    p->key = *k;
    bool ok =
        cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
        cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first) ==
            CUBLAS_STATUS_SUCCESS &&
        cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                       sizeof second) == CUBLAS_STATUS_SUCCESS &&
        layout(&p->b, CUDA_R_16BF, k->tb ? k->n : k->k, k->tb ? k->k : k->n, k->ldb, k->batch,
               k->sb) &&
        layout(&p->a, CUDA_R_16BF, k->ta ? k->k : k->m, k->ta ? k->m : k->k, k->lda, k->batch,
               k->sa) &&
        layout(&p->c, out, k->m, k->n, k->ldc, k->batch, k->sc) &&
        cublasLtMatmulPreferenceCreate(&want) == CUBLAS_STATUS_SUCCESS &&
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &workspace,
                                             sizeof workspace) == CUBLAS_STATUS_SUCCESS &&
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                             &schemes, sizeof schemes) == CUBLAS_STATUS_SUCCESS &&
        aligned(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) &&
        aligned(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES) &&
        aligned(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES) &&
        aligned(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) &&
        cublasLtMatmulAlgoGetHeuristic(g->blas, p->op, p->b, p->a, p->c, p->c, want, 1, &found,
                                       &n) == CUBLAS_STATUS_SUCCESS &&
        n > 0;
    if (want) cublasLtMatmulPreferenceDestroy(want);
    if (ok) {
        p->algo = found.algo;
        p->used = true;
    } else {
        plan_clear(p);
    }
    return ok;
}

/* The plan of a shape, made if need be; a full table drops the plan whose place it takes. */
static gemm_plan *plan_of(loci_gpu *g, const gemm_key *k)
{
    const uint32_t h = key_hash(k);
    for (uint32_t i = 0; i < 16; i++) {
        gemm_plan *p = &g->plan[(h + i) % GPU_PLANS];
        if (p->used && memcmp(&p->key, k, sizeof *k) == 0) return p;
        if (!p->used) return plan_make(g, p, k) ? p : NULL;
    }
    gemm_plan *p = &g->plan[h % GPU_PLANS];
    cudaStreamSynchronize(g->stream);
    plan_clear(p);
    return plan_make(g, p, k) ? p : NULL;
}

extern "C" void loci_gpu_gemm(loci_gpu *g, const loci_gpu_gemm_job *j)
{
    if (j->m == 0 || j->n == 0 || g->error.code != LOCI_OK) return;
    gemm_key k;
    memset(&k, 0, sizeof k); /* padding takes part in the comparison */
    k.m = j->m, k.n = j->n, k.k = j->k;
    k.lda = j->lda, k.ldb = j->ldb, k.ldc = j->ldc;
    k.ta = j->ta, k.tb = j->tb, k.wide = j->wide, k.batch = j->batch > 1 ? j->batch : 1;
    k.add = j->beta != 0.0f;
    if (k.batch > 1) k.sa = j->stride_a, k.sb = j->stride_b, k.sc = j->stride_c;
    gemm_plan *p = plan_of(g, &k);
    if (!p) {
        loci_fail(&g->error, LOCI_EIO, "GPU: cuBLASLt has no product (%d, %d) x (%d, %d)", j->m,
                  j->k, j->k, j->n);
        return;
    }
    const cublasStatus_t st =
        cublasLtMatmul(g->blas, p->op, &j->alpha, j->b, p->b, j->a, p->a, &j->beta, j->c, p->c,
                       j->c, p->c, &p->algo, g->workspace, GPU_WORKSPACE, g->stream);
    if (st != CUBLAS_STATUS_SUCCESS) gpu_fail(g, "matrix product", cublasLtGetStatusString(st));
}
