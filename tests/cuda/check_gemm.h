/* check_gemm.h - check of dense products: shapes below and above tiles, both transpositions, batches,
 * accumulation, rows with a gap behind them. */
#ifndef CHECK_GEMM_H
#define CHECK_GEMM_H

#include "gpu_test.h"

typedef struct {
    int m, n, k, ta, tb, batch;
    float alpha, beta;
    bool wide;
} product;

static inline int whole_pieces(int n)
{
    return (n + 7) / 8 * 8; /* rows start on 16 bytes */
}

static inline void product_case(const product *p)
{
    const int m = p->m, n = p->n, k = p->k;
    const int lda = whole_pieces(p->ta ? m : k) + 8, ldb = whole_pieces(p->tb ? k : n),
              ldc = whole_pieces(n) + 16;
    const size_t na = (size_t)(p->ta ? k : m) * lda, nb = (size_t)(p->tb ? n : k) * ldb,
                 nc = (size_t)m * ldc;
    const float *a = random_bf16(na * p->batch, 1.0), *b = random_bf16(nb * p->batch, 1.0);
    const float *before = p->beta != 0.0f ? random_bf16(nc * p->batch, 1.0) : NULL;
    float *want = floats(nc * p->batch);
    for (int x = 0; x < p->batch; x++)
        for (int r = 0; r < m; r++) {
            float *row = want + x * nc + (size_t)r * ldc;
            loci_gemm_ref(row, ldc, a + x * na + (p->ta ? (size_t)r : (size_t)r * lda), lda, p->ta,
                          b + x * nb, ldb, p->tb, 1, n, k, 0.0f);
            for (int c = 0; c < n; c++)
                row[c] = p->alpha * row[c] +
                         (before ? p->beta * before[x * nc + (size_t)r * ldc + c] : 0.0f);
        }
    void *c =
        p->wide ? (void *)out_f32(before, nc * p->batch) : (void *)out_bf16(before, nc * p->batch);
    const loci_gpu_gemm_job job = {
        .c = c,
        .a = put_bf16(a, na * p->batch),
        .b = put_bf16(b, nb * p->batch),
        .ldc = ldc,
        .lda = lda,
        .ldb = ldb,
        .ta = p->ta,
        .tb = p->tb,
        .m = m,
        .n = n,
        .k = k,
        .alpha = p->alpha,
        .beta = p->beta,
        .wide = p->wide,
        .batch = p->batch,
        .stride_a = (int64_t)na,
        .stride_b = (int64_t)nb,
        .stride_c = (int64_t)nc,
    };
    TWICE("gemm") loci_gpu_gemm(gpu, &job);
    const float *got = p->wide ? get_f32(c, nc * p->batch) : get_bf16(c, nc * p->batch);
    for (int x = 0; x < p->batch * m; x++) {
        for (int j = n; j < ldc; j++) {
            const size_t at = (size_t)x * ldc + j;
            if (before ? got[at] != before[at] : !untouched(got[at]))
                fail_msg("gemm: wrote behind column %d", n);
        }
        memmove((float *)got + (size_t)x * n, got + (size_t)x * ldc, (size_t)n * sizeof *got);
        memmove(want + (size_t)x * n, want + (size_t)x * ldc, (size_t)n * sizeof *want);
    }
    compare(p->wide ? "wide c" : "c", got, want, (size_t)p->batch * m * n,
            p->wide ? F32_PRODUCTS : ONE_ROUNDING);
    done("gemm");
}

static void check_gemm(void)
{
    static const product shapes[] = {
        { 1, 8, 8, 0, 0, 1, 1.0f, 0.0f, true },       { 1, 8, 64, 0, 1, 1, 1.0f, 0.0f, false },
        { 17, 24, 40, 0, 1, 1, 1.0f, 0.0f, true },    { 17, 24, 40, 1, 0, 1, 0.5f, 1.0f, true },
        { 63, 128, 72, 0, 0, 1, 1.0f, 0.0f, false },  { 65, 128, 512, 0, 1, 1, 1.0f, 1.0f, false },
        { 129, 72, 1032, 1, 0, 1, 1.0f, 0.0f, true }, { 128, 64, 4096, 1, 0, 1, 1.0f, 1.0f, true },
        { 7, 16, 24, 0, 1, 5, 1.0f, 0.0f, false },    { 64, 64, 128, 0, 0, 3, 2.0f, 0.0f, true },
        { 40, 16, 33, 0, 0, 1, 1.0f, 0.0f, true },    { 31, 1000, 256, 0, 1, 1, 1.0f, 0.0f, true },
    };
    for (int i = 0; i < COUNT(shapes); i++) product_case(&shapes[i]);
}

#endif
