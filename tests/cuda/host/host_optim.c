/* host_optim.c - norm of the gradient, AdamW through the reference of kernel.h, Muon by the equations of
 * muon.c with numbers in bf16 where the device has them. */
#include "host.h"
#include "kernel/kernel.h"
#include "model/model.h"

enum { BLOCK = 16, SQUARES = 64, PARTIALS = 1024 };
static const float MOMENTUM = 0.9f, QUINTIC[3] = { 3.4445f, -4.7750f, 2.0315f };

void HOST(norm)(loci_gpu *g, double *norm, double *partial, const float *grad, size_t n)
{
    BEGIN(g);
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)grad[i] * (double)grad[i];
    host_spoil(partial, PARTIALS * sizeof *partial);
    *norm = sqrt(sum);
}

/* False: a norm that is not finite, nothing moves. */
static bool scale_of(double norm, float clip, float *scale)
{
    *scale = norm > (double)clip ? (float)((double)clip / norm) : 1.0f;
    return isfinite(norm);
}

void HOST(adamw)(loci_gpu *g, const loci_gpu_adamw_job *j)
{
    BEGIN(g);
    float scale;
    const bool step = scale_of(*j->norm, j->clip, &scale);
    for (size_t at = 0; at < j->n && step; at += BLOCK) {
        const size_t b = at / BLOCK, size = j->n - at < BLOCK ? j->n - at : BLOCK;
        const loci_adamw_args args = { j->lr, j->b1, j->b2, j->eps, j->decay[b] ? j->wd : 0.0f,
                                       j->c1, j->c2, scale };
        if (!j->muon[b]) loci_adamw_ref(j->p + at, j->m + at, j->v + at, j->grad + at, size, &args);
    }
    host_put(j->copy, j->p, j->n);
    if (j->n) memset(j->grad, 0, j->n * sizeof *j->grad);
}

void HOST(round_four)(loci_gpu *g, float *p, loci_bf16 *copy, float *kept, const uint8_t *four,
                      size_t n)
{
    BEGIN(g);
    REQUIRE(g, n % BLOCK == 0, "%zu numbers are no whole blocks of %d", n, BLOCK);
    for (size_t i = 0; i < n; i++) kept[i] = p[i];
    for (size_t b = 0; b < n / BLOCK; b++) {
        const int next = b + 1 < n / BLOCK ? four[b + 1] : 0;
        REQUIRE(g, four[b] != 1 || next == 2, "the group of block %zu ends with it", b);
        if (four[b] == 1) loci_four_nearest(p + b * BLOCK, 1);
    }
    host_put(copy, p, n);
}

/* ---- Muon --------------------------------------------------------------------------------------- */

/* Momentum of matrix b, and x = u / |u| lying on its short side. */
static void muon_start(const loci_gpu_muon_job *j, int b, bool step, float scale)
{
    const size_t n = (size_t)j->rows * j->cols, at = (size_t)j->offset[b];
    float *u = host_scratch(n, sizeof *u);
    double square = 0.0;
    for (size_t i = 0; i < n && step; i++) {
        const float grad = j->grad[at + i] * scale,
                    m = MOMENTUM * j->m[at + i] + (1.0f - MOMENTUM) * grad;
        u[i] = (1.0f - MOMENTUM) * grad + MOMENTUM * m;
        j->m[at + i] = m;
        square += (double)u[i] * (double)u[i];
    }
    const float factor = (float)(1.0 / (sqrt(square) + 1e-7));
    for (size_t i = 0; i < n; i++) {
        const size_t r = i / j->cols, c = i % j->cols, to = j->rows > j->cols ? c * j->rows + r : i;
        j->x[b * n + to] = loci_f32_to_bf16(u[i] * factor);
    }
    free(u);
}

/* b = q0 + q1 a + q2 b for `n` numbers of (., k, k). */
static void polynomial(loci_bf16 *b, const loci_bf16 *a, size_t n, int k)
{
    for (size_t i = 0; i < n; i++) {
        const size_t at = i % ((size_t)k * k);
        b[i] = loci_f32_to_bf16(QUINTIC[1] * loci_bf16_to_f32(a[i]) +
                                QUINTIC[2] * loci_bf16_to_f32(b[i]) +
                                (at / k == at % k ? QUINTIC[0] : 0.0f));
    }
}

/* One step of the iteration from x to next (batch, k, c). */
static void iterate(loci_gpu *g, const loci_gpu_muon_job *j, const loci_bf16 *x, loci_bf16 *next,
                    int k, int c)
{
    const size_t n = (size_t)k * c, kk = (size_t)k * k;
    loci_gpu_gemm_job job = { .c = j->a,
                              .a = x,
                              .b = x,
                              .ldc = k,
                              .lda = c,
                              .ldb = c,
                              .tb = 1,
                              .m = k,
                              .n = k,
                              .k = c,
                              .alpha = 1.0f,
                              .batch = j->batch,
                              .stride_a = (int64_t)n,
                              .stride_b = (int64_t)n,
                              .stride_c = (int64_t)kk };
    HOST(gemm)(g, &job); /* a = x x^T */
    job.c = j->b;
    job.a = job.b = j->a;
    job.lda = job.ldb = job.k = k;
    job.tb = 0;
    job.stride_a = job.stride_b = (int64_t)kk;
    HOST(gemm)(g, &job); /* b = a a */
    polynomial(j->b, j->a, kk * j->batch, k);
    job.c = next;
    job.a = j->b;
    job.b = x;
    job.ldb = job.ldc = job.n = c;
    job.stride_b = job.stride_c = (int64_t)n;
    HOST(gemm)(g, &job); /* next = b x */
}

void HOST(muon)(loci_gpu *g, const loci_gpu_muon_job *j)
{
    BEGIN(g);
    const int k = j->rows < j->cols ? j->rows : j->cols, c = j->rows < j->cols ? j->cols : j->rows;
    const size_t n = (size_t)j->rows * j->cols;
    float scale;
    const bool step = scale_of(*j->norm, j->clip, &scale);
    const float lr = j->lr * sqrtf(j->rows > j->cols ? (float)j->rows / (float)j->cols : 1.0f);
    loci_bf16 *x = j->x, *next = j->next;
    host_spoil(j->square, (size_t)j->batch * SQUARES * sizeof *j->square);
    for (int b = 0; b < j->batch; b++) muon_start(j, b, step, scale);
    for (int s = 0; s < 5; s++) {
        iterate(g, j, x, next, k, c);
        loci_bf16 *swap = x;
        x = next;
        next = swap;
    }
    for (int b = 0; b < j->batch && step; b++)
        for (size_t i = 0; i < n; i++) {
            const size_t from = j->rows > j->cols ? i % j->cols * j->rows + i / j->cols : i;
            float *p = j->p + j->offset[b] + i;
            *p -= j->decay * *p + lr * loci_bf16_to_f32(x[b * n + from]);
        }
}
