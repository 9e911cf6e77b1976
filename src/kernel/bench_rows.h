/* bench_rows.h - what works row by row or on one vector: for each family its sizes and one call (bench_take.h). */
#include "kernel/bench_take.h"

/* d = rows cols (heads dim) */
static const size rmsnorm_sizes[] = { { "512 x 192", { 512, 192 } },
                                      { "1 x 192", { 1, 192 } },
                                      { 0 } };
static const size swiglu_sizes[] = { { "512 x 432", { 512, 432 } },
                                     { "1 x 432", { 1, 432 } },
                                     { 0 } };
static const size softmax_sizes[] = { { "512 x 128", { 512, 128 } }, { 0 } };
static const size cross_entropy_sizes[] = { { "512 x 4096", { 512, 4096 } }, { 0 } };
static const size rope_sizes[] = { { "512 x 3 x 64", { 512, 3, 64 } }, { 0 } };
static const size vector_sizes[] = { { "65536", { 1, 65536 } }, { "1024", { 1, 1024 } }, { 0 } };
#define rmsnorm_bwd_sizes rmsnorm_sizes
#define swiglu_bwd_sizes  swiglu_sizes
#define silu_sizes        vector_sizes
#define silu_bwd_sizes    vector_sizes
#define axpy_sizes        vector_sizes
#define dot_sizes         vector_sizes
#define adamw_sizes       vector_sizes
#define quant_q8_sizes    rmsnorm_sizes
#define dequant_q8_sizes  rmsnorm_sizes
/* d = rows cols: one chunk's packed content, a span's */
static const size quant_q4_sizes[] = { { "chunk 64x64", { 64, 64 } },
                                       { "span 4096x64", { 4096, 64 } },
                                       { 0 } };
#define dequant_q4_sizes quant_q4_sizes

/* Work of one element, times how many there are. */
static work per_element(const int *d, double flops, double bytes)
{
    const double n = (double)d[0] * d[1];
    return (work){ flops * n, bytes * n };
}

static work once_rmsnorm(any_fn *fn, const int *d, pool *p)
{
    float *y = take_matrix(p, d[0], d[1]), *x = take_matrix(p, d[0], d[1]);
    ((loci_rmsnorm_fn *)fn)(y, d[1], take_matrix(p, 1, d[0]), x, d[1], d[0], d[1], 1e-6f);
    return per_element(d, 3, 8);
}

static work once_rmsnorm_bwd(any_fn *fn, const int *d, pool *p)
{
    float *dx = take_matrix(p, d[0], d[1]), *dy = take_matrix(p, d[0], d[1]);
    float *y = take_matrix(p, d[0], d[1]), *inv = take_matrix(p, 1, d[0]);
    ((loci_rmsnorm_bwd_fn *)fn)(dx, d[1], dy, d[1], y, d[1], inv, d[0], d[1]);
    return per_element(d, 6, 16);
}

static work once_rope(any_fn *fn, const int *d, pool *p)
{
    const size_t table = (size_t)d[0] * (size_t)d[2] / 2;
    float *x = take_matrix(p, d[0], d[1] * d[2]);
    /* A true rotation, so that repeating it neither grows nor fades. */
    const float *c = take_equal(p, table, 0.6f), *s = take_equal(p, table, 0.8f);
    ((loci_rope_fn *)fn)(x, d[1] * d[2], take_indices(p, d[0], 1, d[0]), c, s, d[0], d[1], d[2], 1);
    return (work){ 3.0 * d[0] * d[1] * d[2], 8.0 * d[0] * d[1] * d[2] + 4.0 * d[0] * d[2] };
}

static work once_swiglu(any_fn *fn, const int *d, pool *p)
{
    float *y = take_matrix(p, d[0], d[1]), *gu = take_matrix(p, d[0], 2 * d[1]);
    ((loci_swiglu_fn *)fn)(y, d[1], gu, 2 * d[1], d[0], d[1]);
    return per_element(d, 5, 12);
}

static work once_swiglu_bwd(any_fn *fn, const int *d, pool *p)
{
    float *dgu = take_matrix(p, d[0], 2 * d[1]), *gu = take_matrix(p, d[0], 2 * d[1]);
    ((loci_swiglu_bwd_fn *)fn)(dgu, 2 * d[1], take_matrix(p, d[0], d[1]), d[1], gu, 2 * d[1], d[0],
                               d[1]);
    return per_element(d, 11, 20);
}

static work once_silu(any_fn *fn, const int *d, pool *p)
{
    float *y = take_matrix(p, 1, d[1]), *x = take_matrix(p, 1, d[1]);
    ((loci_silu_fn *)fn)(y, x, (size_t)d[1]);
    return per_element(d, 4, 8);
}

static work once_silu_bwd(any_fn *fn, const int *d, pool *p)
{
    float *dx = take_matrix(p, 1, d[1]), *dy = take_matrix(p, 1, d[1]),
          *x = take_matrix(p, 1, d[1]);
    ((loci_silu_bwd_fn *)fn)(dx, dy, x, (size_t)d[1]);
    return per_element(d, 8, 12);
}

static work once_softmax(any_fn *fn, const int *d, pool *p)
{
    float *y = take_matrix(p, d[0], d[1]), *x = take_matrix(p, d[0], d[1]);
    ((loci_softmax_fn *)fn)(y, d[1], take_matrix(p, 1, d[0]), x, d[1], d[0], d[1]);
    return per_element(d, 5, 8);
}

static work once_axpy(any_fn *fn, const int *d, pool *p)
{
    float *y = take_matrix(p, 1, d[1]), *x = take_matrix(p, 1, d[1]);
    ((loci_axpy_fn *)fn)(y, x, 0.001f, (size_t)d[1]);
    return per_element(d, 2, 12);
}

static work once_dot(any_fn *fn, const int *d, pool *p)
{
    const float *a = take_matrix(p, 1, d[1]), *b = take_matrix(p, 1, d[1]);
    /* Kept, or the call could be dropped. */
    *take(p, 1) = (float)((loci_dot_fn *)fn)(a, b, (size_t)d[1]);
    return per_element(d, 2, 8);
}

static work once_cross_entropy(any_fn *fn, const int *d, pool *p)
{
    float *loss = take_matrix(p, 1, d[0]), *x = take_matrix(p, d[0], d[1]);
    const float *weight = take_equal(p, (size_t)d[0], 1.0f);
    int32_t *best = take_indices(p, d[0], 0, 1);
    ((loci_cross_entropy_fn *)fn)(loss, best, x, d[1], take_indices(p, d[0], 7, d[1]), weight,
                                  1e-4f, d[0], d[1]);
    return per_element(d, 6, 8);
}

static work once_adamw(any_fn *fn, const int *d, pool *p)
{
    static const loci_adamw_args args = { .lr = 1e-4f,
                                          .b1 = 0.9f,
                                          .b2 = 0.99f,
                                          .eps = 1e-8f,
                                          .wd = 0.1f,
                                          .c1 = 0.5f,
                                          .c2 = 0.1f,
                                          .gscale = 1.0f };
    float *x = take_matrix(p, 1, d[1]), *m = take_matrix(p, 1, d[1]);
    float *v = take_equal(p, (size_t)d[1], 0.1f), *g = take_matrix(p, 1, d[1]);
    ((loci_adamw_fn *)fn)(x, m, v, g, (size_t)d[1], &args);
    return per_element(d, 16, 28);
}

static work once_quant_q8(any_fn *fn, const int *d, pool *p)
{
    float *x = take_matrix(p, d[0], d[1]), *scale = take_matrix(p, 1, d[0]);
    ((loci_quant_q8_fn *)fn)(take_i8(p, (size_t)d[0] * (size_t)d[1]), d[1], scale, x, d[1], d[0],
                             d[1]);
    return per_element(d, 3, 5);
}

static work once_dequant_q8(any_fn *fn, const int *d, pool *p)
{
    float *x = take_matrix(p, d[0], d[1]), *scale = take_matrix(p, 1, d[0]);
    ((loci_dequant_q8_fn *)fn)(x, d[1], take_i8(p, (size_t)d[0] * (size_t)d[1]), d[1], scale, d[0],
                               d[1]);
    return per_element(d, 1, 5);
}

/* 18 bytes hold 32 numbers. */
static work once_quant_q4(any_fn *fn, const int *d, pool *p)
{
    const float *x = take_matrix(p, d[0], d[1]);
    uint16_t *scale = take_bf16(p, (size_t)(d[0] * d[1] / 32));
    uint8_t *q = (uint8_t *)take_i8(p, (size_t)(d[0] * d[1] / 2));
    ((loci_quant_q4_fn *)fn)(q, d[1] / 2, scale, d[1] / 32, x, d[1], d[0], d[1]);
    return per_element(d, 3, 4 + 18.0 / 32);
}

static work once_dequant_q4(any_fn *fn, const int *d, pool *p)
{
    float *x = take_matrix(p, d[0], d[1]);
    const uint16_t *scale = take_bf16(p, (size_t)(d[0] * d[1] / 32));
    const uint8_t *q = (const uint8_t *)take_i8(p, (size_t)(d[0] * d[1] / 2));
    ((loci_dequant_q4_fn *)fn)(x, d[1], q, d[1] / 2, scale, d[1] / 32, d[0], d[1]);
    return per_element(d, 1, 4 + 18.0 / 32);
}

/* d = rows cols block */
static const size quant_a8_sizes[] = { { "row 1x4096 by 128", { 1, 4096, 128 } },
                                       { "rows 32x4096 by 128", { 32, 4096, 128 } },
                                       { 0 } };
static const size quant_a4_sizes[] = { { "queries 64x128 by 32", { 64, 128, 32 } }, { 0 } };

static work once_quant_a8(any_fn *fn, const int *d, pool *p)
{
    float *q = take_matrix(p, d[0], d[1]), *scale = take_matrix(p, d[0], d[1]);
    const float *x = take_matrix(p, d[0], d[1]);
    ((loci_quant_block_fn *)fn)(q, d[1], scale, d[1], x, d[1], d[0], d[1], d[2]);
    const double n = (double)d[0] * d[1];
    return (work){ 3 * n, 8 * n };
}
#define once_quant_a4 once_quant_a8
