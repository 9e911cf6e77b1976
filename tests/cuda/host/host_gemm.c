/* host_gemm.c - dense products: bf16 in, sums in f32 in the order of k, one rounding at the end. */
#include "host.h"

enum { ROWS = 4 }; /* of C at a time */

static bool apart(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const char *x = a, *y = b;
    return x + a_bytes <= y || y + b_bytes <= x;
}

/* Elements from the first to behind the last of (rows, cols), and of a batch of them. */
static size_t extent(int rows, int cols, int ld, int batch, int64_t stride)
{
    return (size_t)(batch - 1) * (size_t)stride + (size_t)(rows - 1) * (size_t)ld + (size_t)cols;
}

/* op(B) (k, n) as f32. */
static float *upright(const loci_gpu_gemm_job *j, const loci_bf16 *b)
{
    if (!j->tb) return host_rows(b, j->ldb, j->k, j->n);
    float *y = host_scratch((size_t)j->k * (size_t)j->n, sizeof *y);
    for (int c = 0; c < j->n; c++)
        for (int i = 0; i < j->k; i++)
            y[(size_t)i * j->n + c] = loci_bf16_to_f32(b[(size_t)c * j->ldb + i]);
    return y;
}

/* Up to ROWS rows of op(A) from r0 on, turned: (k, ROWS) as f32, zeros for rows that are not there. */
static void turned(const loci_gpu_gemm_job *j, const loci_bf16 *a, float *y, int r0, int rows)
{
    memset(y, 0, (size_t)j->k * ROWS * sizeof *y);
    for (int i = 0; i < j->k; i++)
        for (int r = 0; r < rows; r++)
            y[(size_t)i * ROWS + r] = loci_bf16_to_f32(j->ta ? a[(size_t)i * j->lda + r0 + r]
                                                             : a[(size_t)(r0 + r) * j->lda + i]);
}

/* acc (ROWS, n) = sums over k.  All three are the op's own memory, where sanitizers have nothing to find,
 * and this loop is what the time of tests goes to. */
__attribute__((no_sanitize("address", "undefined", "thread"))) static void
rows_product(float *restrict acc, const float *restrict left, const float *restrict right, size_t n,
             size_t k)
{
    memset(acc, 0, ROWS * n * sizeof *acc);
    for (size_t i = 0; i < k; i++) {
        const float *f = left + i * ROWS, *b = right + i * n;
        for (size_t c = 0; c < n; c++) {
            acc[c] += f[0] * b[c];
            acc[n + c] += f[1] * b[c];
            acc[2 * n + c] += f[2] * b[c];
            acc[3 * n + c] += f[3] * b[c];
        }
    }
}

/* Row r of the result, from its sums. */
static void finish_row(const loci_gpu_gemm_job *j, size_t c, const float *acc, int r)
{
    float *wide = j->wide ? (float *)j->c + c + (size_t)r * j->ldc : NULL;
    loci_bf16 *thin = j->wide ? NULL : (loci_bf16 *)j->c + c + (size_t)r * j->ldc;
    for (int i = 0; i < j->n; i++) {
        float y = j->alpha * acc[i];
        if (j->beta != 0.0f) y += j->beta * (wide ? wide[i] : loci_bf16_to_f32(thin[i]));
        if (wide)
            wide[i] = y;
        else
            thin[i] = loci_f32_to_bf16(y);
    }
}

/* One product of the batch; its result starts at element c. */
static void one(const loci_gpu_gemm_job *j, const loci_bf16 *a, const loci_bf16 *b, size_t c)
{
    const size_t n = (size_t)j->n, k = (size_t)j->k;
    float *right = upright(j, b), *acc = host_scratch(ROWS * n, sizeof *acc),
          *left = host_scratch(ROWS * k, sizeof *left);
    for (int r0 = 0; r0 < j->m; r0 += ROWS) {
        const int rows = j->m - r0 < ROWS ? j->m - r0 : ROWS;
        turned(j, a, left, r0, rows);
        rows_product(acc, left, right, n, k);
        for (int r = 0; r < rows; r++) finish_row(j, c, acc + r * n, r0 + r);
    }
    free(right);
    free(left);
    free(acc);
}

void HOST(gemm)(loci_gpu *g, const loci_gpu_gemm_job *j)
{
    BEGIN(g);
    if (j->m == 0 || j->n == 0) return;
    const int batch = j->batch > 1 ? j->batch : 1;
    const int ra = j->ta ? j->k : j->m, ca = j->ta ? j->m : j->k;
    const int rb = j->tb ? j->n : j->k, cb = j->tb ? j->k : j->n;
    const float *wide = j->wide ? j->c : NULL;
    const loci_bf16 *thin = j->wide ? NULL : j->c;
    REQUIRE(g, j->m > 0 && j->n > 0 && j->k > 0, "(%d, %d) x (%d, %d)", j->m, j->k, j->k, j->n);
    REQUIRE(g, j->lda >= ca && j->ldb >= cb && j->ldc >= j->n,
            "ld %d, %d, %d for %d, %d, %d columns", j->lda, j->ldb, j->ldc, ca, cb, j->n);
    ALIGNED(g, j->a, j->lda, 16);
    ALIGNED(g, j->b, j->ldb, 16);
    if (wide)
        ALIGNED(g, wide, j->ldc, 16);
    else
        ALIGNED(g, thin, j->ldc, 16);
    if (batch > 1) {
        ALIGNED(g, j->a, j->stride_a, 16);
        ALIGNED(g, j->b, j->stride_b, 16);
        ALIGNED(g, thin, j->stride_c, 16);
    }
    const size_t c_bytes = extent(j->m, j->n, j->ldc, batch, j->stride_c) * (wide ? 4 : 2);
    REQUIRE(g,
            apart(j->c, c_bytes, j->a, 2 * extent(ra, ca, j->lda, batch, j->stride_a)) &&
                apart(j->c, c_bytes, j->b, 2 * extent(rb, cb, j->ldb, batch, j->stride_b)),
            "C (%d, %d) overlaps an operand", j->m, j->n);
    for (int x = 0; x < batch; x++)
        one(j, j->a + (batch > 1 ? x * j->stride_a : 0), j->b + (batch > 1 ? x * j->stride_b : 0),
            batch > 1 ? (size_t)(x * j->stride_c) : 0);
}
