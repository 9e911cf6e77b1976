/* bench.c - one representative call of every family, timed: what `bench kernels` prints.
 *
 * A family has a table of named sizes and a function that lays its matrices out in the caller's
 * scratch and calls the kernel once.  The layout is a few pointer additions, so the same function
 * fills the matrices on its first run and is timed on the later ones. */
#include <stdbool.h>
#include "base/base.h"
#include "kernel/kernel.h"

typedef void any_fn(void); /* a kernel, cast back to its family's type by the family's function */

typedef struct {
    const char *name;
    int d[6];
} size;

typedef struct {
    double flops, bytes;
} work;

/* ---- matrices in scratch ---------------------------------------------------------------- */

typedef struct {
    float *at; /* next free, 64-byte steps */
    bool fill;
    uint32_t state;
} pool;

static float *take(pool *p, size_t n)
{
    float *x = p->at;
    p->at += (n + 15) & ~(size_t)15;
    for (size_t i = 0; p->fill && i < n; i++) {
        p->state = p->state * 1664525u + 1013904223u;
        x[i] = (float)(p->state >> 8) * 0x1p-23f - 1.0f; /* [-1, 1) */
    }
    return x;
}

static float *take_matrix(pool *p, int rows, int cols)
{
    return take(p, (size_t)rows * (size_t)cols);
}

static float *take_equal(pool *p, size_t n, float value)
{
    float *x = take(p, n);
    for (size_t i = 0; p->fill && i < n; i++) x[i] = value;
    return x;
}

/* Any bits are good int8 and codes. */
static int8_t *take_i8(pool *p, size_t n)
{
    return (int8_t *)(void *)take(p, (n + 3) / 4);
}

static uint16_t *take_bf16(pool *p, size_t n)
{
    uint16_t *x = (uint16_t *)(void *)take(p, (n + 1) / 2);
    for (size_t i = 0; p->fill && i < n; i++)
        x[i] = loci_f32_to_bf16(0.01f * (float)(i % 201) - 1.0f);
    return x;
}

/* 0, step, 2 step, .. modulo mod */
static int32_t *take_indices(pool *p, int n, int step, int mod)
{
    int32_t *x = (int32_t *)(void *)take(p, (size_t)n);
    for (int i = 0; p->fill && i < n; i++) x[i] = (int32_t)((int64_t)i * step % mod);
    return x;
}

/* ---- dense products: d = m n k ta tb beta ----------------------------------------------- */

static const size gemm_sizes[] = { { "train y=xW' 512x576x192", { 512, 576, 192, 0, 1, 0 } },
                                   { "train dx 512x192x576", { 512, 192, 576, 0, 0, 0 } },
                                   { "train dW 576x192x512", { 576, 192, 512, 1, 0, 1 } },
                                   { "logits 512x4096x192", { 512, 4096, 192, 0, 1, 0 } },
                                   { "four rows 4x576x192", { 4, 576, 192, 0, 1, 0 } },
                                   { 0 } };

static work once_gemm(any_fn *fn, const int *d, pool *p)
{
    float *c = take_matrix(p, d[0], d[1]);
    const float *a = take_matrix(p, d[0], d[2]), *b = take_matrix(p, d[1], d[2]);
    ((loci_gemm_fn *)fn)(c, d[1], a, d[3] ? d[0] : d[2], d[3], b, d[4] ? d[2] : d[1], d[4], d[0],
                         d[1], d[2], (float)d[5]);
    const double m = d[0], n = d[1], k = d[2];
    return (work){ 2 * m * n * k, 4 * (m * k + n * k + m * n) };
}

static const size gemm_bf16_sizes[] = { { "ingest 64x576x192", { 64, 576, 192 } },
                                        { "ingest 512x576x192", { 512, 576, 192 } },
                                        { 0 } };
#define gemm_q8_sizes gemm_bf16_sizes

static work once_gemm_bf16(any_fn *fn, const int *d, pool *p)
{
    const double m = d[0], n = d[1], k = d[2];
    float *y = take_matrix(p, d[0], d[1]), *x = take_matrix(p, d[0], d[2]);
    const uint16_t *w = take_bf16(p, (size_t)(n * k));
    ((loci_gemm_bf16_fn *)fn)(y, d[1], x, d[2], w, d[2], d[0], d[1], d[2]);
    return (work){ 2 * m * n * k, 4 * (m * k + m * n) + 2 * n * k };
}

static work once_gemm_q8(any_fn *fn, const int *d, pool *p)
{
    const double m = d[0], n = d[1], k = d[2];
    float *y = take_matrix(p, d[0], d[1]), *x = take_matrix(p, d[0], d[2]);
    const float *scale = take_matrix(p, 1, d[1]);
    const int8_t *w = take_i8(p, (size_t)(n * k));
    ((loci_gemm_q8_fn *)fn)(y, d[1], x, d[2], w, d[2], scale, d[0], d[1], d[2]);
    return (work){ 2 * m * n * k, 4 * (m * k + m * n + n) + n * k };
}

/* d = n k */
static const size gemv_sizes[] = { { "decode 576x192", { 576, 192 } },
                                   { "decode 1536x512", { 1536, 512 } },
                                   { "logits 8192x512", { 8192, 512 } },
                                   { 0 } };
#define gemv_bf16_sizes gemv_sizes
#define gemv_q8_sizes   gemv_sizes

static work once_gemv(any_fn *fn, const int *d, pool *p)
{
    const double n = d[0], k = d[1];
    float *y = take_matrix(p, 1, d[0]), *x = take_matrix(p, 1, d[1]),
          *w = take_matrix(p, d[0], d[1]);
    ((loci_gemv_fn *)fn)(y, w, d[1], x, d[0], d[1]);
    return (work){ 2 * n * k, 4 * (n * k + n + k) };
}

static work once_gemv_bf16(any_fn *fn, const int *d, pool *p)
{
    const double n = d[0], k = d[1];
    float *y = take_matrix(p, 1, d[0]), *x = take_matrix(p, 1, d[1]);
    ((loci_gemv_bf16_fn *)fn)(y, take_bf16(p, (size_t)(n * k)), d[1], x, d[0], d[1]);
    return (work){ 2 * n * k, 2 * n * k + 4 * (n + k) };
}

static work once_gemv_q8(any_fn *fn, const int *d, pool *p)
{
    const double n = d[0], k = d[1];
    float *y = take_matrix(p, 1, d[0]), *x = take_matrix(p, 1, d[1]),
          *scale = take_matrix(p, 1, d[0]);
    ((loci_gemv_q8_fn *)fn)(y, take_i8(p, (size_t)(n * k)), d[1], scale, x, d[0], d[1]);
    return (work){ 2 * n * k, n * k + 4 * (2 * n + k) };
}

/* ---- integer products: d = m n k -------------------------------------------------------- */

static const size gemm_w8a8_sizes[] = { { "ingest 128x2304x512", { 128, 2304, 512 } },
                                        { "ingest 512x576x192", { 512, 576, 192 } },
                                        { "decode 1x2304x512", { 1, 2304, 512 } },
                                        { "logits 1x16384x512", { 1, 16384, 512 } },
                                        { 0 } };
#define gemm_w4a8_sizes gemm_w8a8_sizes

/* Rows of x and their scales; the numbers are any bits but -128. */
static const int8_t *take_rows_i8(pool *p, const int *d, const float **scale)
{
    const size_t n = (size_t)d[0] * (size_t)d[2];
    int8_t *x = take_i8(p, n);
    for (size_t i = 0; p->fill && i < n; i++) x[i] = x[i] == -128 ? 0 : x[i];
    *scale = take_matrix(p, 1, d[0]);
    return x;
}

static work once_gemm_w8a8(any_fn *fn, const int *d, pool *p)
{
    const double m = d[0], n = d[1], k = d[2];
    const float *sx, *scale;
    const int8_t *x = take_rows_i8(p, d, &sx), *data = take_i8(p, loci_w8_bytes(d[1], d[2]));
    float *y = take_matrix(p, d[0], d[1]);
    scale = take_matrix(p, 1, d[1]);
    const loci_w8 w = { data, scale, take_indices(p, d[1], 1, d[1]), d[1], d[2] };
    ((loci_gemm_w8a8_fn *)fn)(y, d[1], x, d[2], sx, &w, 0, d[0], d[1], 0);
    return (work){ 2 * m * n * k, m * k + 4 * m * n + n * k + 8 * n };
}

static work once_gemm_w4a8(any_fn *fn, const int *d, pool *p)
{
    const double m = d[0], n = d[1], k = d[2];
    const float *sx;
    const int8_t *x = take_rows_i8(p, d, &sx), *data = take_i8(p, loci_w4_bytes(d[1], d[2]));
    float *y = take_matrix(p, d[0], d[1]);
    const uint16_t *scale = take_bf16(p, (size_t)d[1] * (size_t)(d[2] / 32));
    const loci_w4 w = { (const uint8_t *)data, scale, d[1], d[2] };
    ((loci_gemm_w4a8_fn *)fn)(y, d[1], x, d[2], sx, &w, 0, d[0], d[1], 0);
    return (work){ 2 * m * n * k, m * k + 4 * m * n + n * k * (0.5 + 2.0 / 32) };
}

/* ---- rows: d = rows cols (heads dim) ---------------------------------------------------- */

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

/* ---- attention -------------------------------------------------------------------------- */

/* d = T past H G d W */
static const size window_attn_sizes[] = {
    { "train T 512 W 128 H 3 d 64", { 512, 0, 3, 1, 64, 128 } },
    { "train T 512 W 512 H 3 d 64", { 512, 0, 3, 1, 64, 512 } },
    { "decode T 1 W 512 H 3 d 64", { 1, 511, 3, 1, 64, 512 } },
    { "ingest T 128 W 256 H 8 d 64", { 128, 255, 8, 2, 64, 256 } },
    { "decode T 1 W 256 H 8 d 64", { 1, 255, 8, 2, 64, 256 } },
    { 0 }
};
static const size window_attn_int_sizes[] = {
    { "ingest T 128 W 256 H 8 d 64", { 128, 255, 8, 2, 64, 256 } },
    { "decode T 1 W 256 H 8 d 64", { 1, 255, 8, 2, 64, 256 } },
    { 0 }
};
static const size window_attn_bwd_sizes[] = {
    { "train T 512 W 128 H 3 d 64", { 512, 0, 3, 1, 64, 128 } },
    { "train T 512 W 512 H 3 d 64", { 512, 0, 3, 1, 64, 512 } },
    { 0 }
};

/* Query-key pairs of one head. */
static double window_pairs(const int *d)
{
    double n = 0;
    for (int t = 0; t < d[0]; t++) n += t + d[1] + 1 < d[5] ? t + d[1] + 1 : d[5];
    return n;
}

static work once_window_attn(any_fn *fn, const int *d, pool *p)
{
    const int hd = d[2] * d[4], gd = d[3] * d[4], keys = d[0] + d[1];
    float *o = take_matrix(p, d[0], hd), *lse = take_matrix(p, d[0], d[2]);
    const float *q = take_matrix(p, d[0], hd), *k = take_matrix(p, keys, gd);
    ((loci_window_attn_fn *)fn)(o, hd, lse, q, hd, k, take_matrix(p, keys, gd), gd, d[0], d[1],
                                d[2], d[3], d[4], d[5], 0.125f);
    return (work){ 4.0 * hd * window_pairs(d), 8.0 * (d[0] * hd + keys * gd) };
}

/* Numbers as they come: any 16 bits are smaller than what the sums hold, after a shift. */
static int16_t *take_i16(pool *p, size_t n, int shift)
{
    int16_t *x = (int16_t *)(void *)take(p, (n + 1) / 2);
    for (size_t i = 0; p->fill && i < n; i++) x[i] = (int16_t)(x[i] >> shift);
    return x;
}

static work once_window_attn_int(any_fn *fn, const int *d, pool *p)
{
    const int hd = d[2] * d[4], cap = (d[0] + d[1] + 15) / 16 * 16;
    const size_t n = (size_t)cap * (size_t)(d[3] * d[4]);
    float *o = take_matrix(p, d[0], hd);
    const float *q = take_matrix(p, d[0], hd);
    const loci_kv_int kv = { take_i16(p, n, 4), take_i16(p, n, 9),
                             take_equal(p, (size_t)(cap * d[3]), 1e-3f),
                             take_equal(p, (size_t)(cap * d[3]), 1e-2f), cap };
    ((loci_window_attn_int_fn *)fn)(o, hd, q, hd, &kv, d[0], d[1], d[2], d[3], d[4], d[5], 0.125f);
    return (work){ 4.0 * hd * window_pairs(d), 8.0 * d[0] * hd + 4.0 * (double)n };
}

static work once_window_attn_bwd(any_fn *fn, const int *d, pool *p)
{
    const int hd = d[2] * d[4], gd = d[3] * d[4], T = d[0];
    float *dq = take_matrix(p, T, hd), *dk = take_matrix(p, T, gd), *dv = take_matrix(p, T, gd);
    const float *dout = take_matrix(p, T, hd), *q = take_matrix(p, T, hd),
                *o = take_matrix(p, T, hd);
    const float *k = take_matrix(p, T, gd), *v = take_matrix(p, T, gd);
    /* Large enough that probabilities stay below 1 whatever the inputs. */
    const float *lse = take_equal(p, (size_t)(T * d[2]), 8.0f);
    ((loci_window_attn_bwd_fn *)fn)(dq, hd, dk, dv, gd, dout, hd, q, hd, k, v, gd, o, hd, lse, T,
                                    d[2], d[3], d[4], d[5], 0.125f);
    return (work){ 10.0 * hd * window_pairs(d), 20.0 * T * hd + 24.0 * T * gd };
}

/* d = rows keys d */
static const size chunk_attn_sizes[] = { { "train 4096 x 64, d 64", { 4096, 64, 64 } },
                                         { "one token 8 x 64, d 64", { 8, 64, 64 } },
                                         { 0 } };
#define chunk_attn_bwd_sizes chunk_attn_sizes

static work once_chunk_attn(any_fn *fn, const int *d, pool *p)
{
    float *o = take_matrix(p, d[0], d[2]), *lse = take_matrix(p, 1, d[0]);
    const float *q = take_matrix(p, d[0], d[2]), *kv = take_matrix(p, d[1], 2 * d[2]);
    ((loci_chunk_attn_fn *)fn)(o, d[2], lse, q, d[2], kv, 2 * d[2], kv + d[2], 2 * d[2],
                               take_matrix(p, 1, d[0]), d[0], d[1], d[2], d[2], 0.25f);
    return (work){ 4.0 * d[0] * d[1] * d[2], 12.0 * d[0] * d[2] + 8.0 * d[1] * d[2] };
}

static work once_chunk_attn_bwd(any_fn *fn, const int *d, pool *p)
{
    const int r = d[0], w = d[2], ld = 2 * d[2];
    float *dq = take_matrix(p, r, w), *dkv = take_matrix(p, d[1], ld), *dw = take_matrix(p, 1, r);
    const float *dout = take_matrix(p, r, w), *q = take_matrix(p, r, w),
                *kv = take_matrix(p, d[1], ld);
    const float *lse = take_equal(p, (size_t)r, 16.0f), *weight = take_matrix(p, 1, r);
    ((loci_chunk_attn_bwd_fn *)fn)(dq, w, dkv, ld, dkv + w, ld, dw, dout, w, q, w, kv, ld, kv + w,
                                   ld, lse, weight, NULL, r, d[1], w, w, 0.25f);
    return (work){ 10.0 * r * d[1] * w, 16.0 * r * w + 24.0 * d[1] * w };
}

/* ---- router ----------------------------------------------------------------------------- */

/* d = chunks M d (listed chunks, 0: all) */
static const size landmark_topk_sizes[] = { { "4096 x 2 x 128", { 4096, 2, 128 } }, { 0 } };
static const size landmark_topk_q8_sizes[] = { { "256 of 16384 x 2 x 128", { 16384, 2, 128, 256 } },
                                               { "4096 x 1 x 128", { 4096, 1, 128 } },
                                               { 0 } };
static const size hamming_sizes[] = { { "32768 x 2 (1 MiB)", { 32768, 2 } },
                                      { "524288 x 2 (16 MiB)", { 524288, 2 } },
                                      { "262144 x 1 (4 MiB)", { 262144, 1 } },
                                      { 0 } };

static work once_landmark_topk(any_fn *fn, const int *d, pool *p)
{
    loci_scored best[16];
    const float *u = take_matrix(p, 1, d[2]), *lm = take_matrix(p, d[0] * d[1], d[2]);
    ((loci_landmark_topk_fn *)fn)(best, 0, 16, u, lm, take_matrix(p, 1, d[0]), 12.0f, d[1], d[2],
                                  d[0], 0);
    const double n = (double)d[0] * d[1] * d[2];
    return (work){ 2 * n, 4 * n };
}

static work once_landmark_topk_q8(any_fn *fn, const int *d, pool *p)
{
    loci_scored best[16];
    const float *u = take_matrix(p, 1, d[2]), *scale = take_matrix(p, d[0], d[1]);
    const float *bias = take_matrix(p, 1, d[0]);
    loci_query_i16 q;
    loci_query_round(&q, u, d[2]);
    const int8_t *lm = take_i8(p, (size_t)d[0] * (size_t)d[1] * (size_t)d[2]);
    const int n_list = d[3] ? d[3] : d[0];
    const int32_t *list = d[3] ? take_indices(p, d[3], 7919, d[0]) : NULL;
    ((loci_landmark_topk_q8_fn *)fn)(best, 0, 16, &q, lm, scale, bias, 12.0f, d[1], d[2], list,
                                     n_list, 0);
    const double n = (double)n_list * d[1] * d[2];
    return (work){ 2 * n, n };
}

static work once_hamming(any_fn *fn, const int *d, pool *p)
{
    const size_t n = (size_t)d[0] * (size_t)d[1];
    const uint64_t *code = (const uint64_t *)(const void *)take(p, 4 * n);
    uint8_t *dist = (uint8_t *)take_i8(p, (size_t)d[0]);
    ((loci_hamming_fn *)fn)(dist, code, code, d[1], d[0]);
    return (work){ 0, 16.0 * (double)n + d[0] };
}

/* d = groups of 16 keys, heads, dim: a block of Flash's keys, and more than a cache holds */
static const size index_scores_sizes[] = { { "block 256x64x128", { 16, 64, 128 } },
                                           { "scan 65536x64x128", { 4096, 64, 128 } },
                                           { 0 } };

static work once_index_scores(any_fn *fn, const int *d, pool *p)
{
    const int blocks = (d[2] + 31) / 32, bytes = 8 * d[2] + 16 * blocks;
    const double keys = 16.0 * d[0];
    float *score = take_matrix(p, d[0], 16);
    const float *scale = take_equal(p, (size_t)(d[1] * blocks), 0.25f);
    const float *w = take_matrix(p, 1, d[1]);
    int8_t *q = take_i8(p, (size_t)d[1] * (size_t)d[2]);
    uint8_t *group = (uint8_t *)take_i8(p, (size_t)d[0] * (size_t)bytes);
    for (int i = 0; p->fill && i < d[1] * d[2]; i++) q[i] = (int8_t)(i % 7 * 2 - 6);
    for (int g = 0; p->fill && g < d[0]; g++)
        for (int i = 8 * d[2]; i < bytes; i++) group[(size_t)g * (size_t)bytes + (size_t)i] = 125;
    ((loci_index_scores_fn *)fn)(score, q, scale, w, group, d[1], d[2], d[0]);
    return (work){ 2 * keys * d[1] * d[2], (double)d[0] * bytes + 4 * keys };
}

/* ---- stored matrices: d = type m n k ------------------------------------------------------ */

#define LINEAR_SIZES(NAME)                                                                         \
    {                                                                                              \
        { "decode 1x1024x4096", { LOCI_STORED_##NAME, 1, 1024, 4096 } },                           \
            { "prompt 32x1024x4096", { LOCI_STORED_##NAME, 32, 1024, 4096 } },                     \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define X(NAME, name, elements, bytes)                                                             \
    static const size linear_##name##_sizes[] = LINEAR_SIZES(NAME);
LOCI_STORED_LIST(X)
#undef X

/* Bytes below 0x3d are finite codes, scales and halves of every type. */
static const uint8_t *take_codes(pool *p, size_t n)
{
    uint8_t *x = (uint8_t *)take_i8(p, n);
    for (size_t i = 0; p->fill && i < n; i++) x[i] = (uint8_t)(i * 7 % 0x3d);
    return x;
}

static work once_linear(any_fn *fn, const int *d, pool *p)
{
    const loci_stored_type type = (loci_stored_type)d[0];
    const int m = d[1], n = d[2], k = d[3];
    loci_stored w = { NULL, NULL, loci_stored_row_bytes(type, k), n, k, type };
    const size_t bytes = w.row_bytes * (size_t)n;
    const size_t scales = type == LOCI_STORED_E2M1   ? (size_t)n * (size_t)k / 32
                          : type == LOCI_STORED_E4M3 ? (size_t)(n / 128) * (size_t)(k / 128)
                                                     : 0;
    float *y = take_matrix(p, m, n), *x = take_matrix(p, m, k);
    w.data = take_codes(p, bytes);
    if (scales) w.scale = take_codes(p, scales);
    ((loci_linear_stored_fn *)fn)(y, n, x, k, NULL, 0, &w, 0, m, n);
    return (work){ 2.0 * m * n * k, (double)(bytes + scales) + 4.0 * m * (n + (double)k) };
}
#define once_linear_f32   once_linear
#define once_linear_bf16  once_linear
#define once_linear_f16   once_linear
#define once_linear_e4m3  once_linear
#define once_linear_e2m1  once_linear
#define once_linear_q8_0  once_linear
#define once_linear_q4_k  once_linear
#define once_linear_q2_k  once_linear
#define once_linear_mxfp4 once_linear

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

/* ---- the list --------------------------------------------------------------------------- */

static const struct {
    any_fn *fn;
    const size *sizes; /* up to an entry without a name */
    work (*once)(any_fn *fn, const int *d, pool *p);
} list[] = {
#define LOCI_KERNEL(family, isa, flags)                                                            \
    { (any_fn *)loci_##family##_##isa, family##_sizes, once_##family },
#include "kernels.inc"
#undef LOCI_KERNEL
};

const char *loci_kernel_bench_size(int i, int i_size)
{
    if (i < 0 || i >= loci_kernel_count() || i_size < 0) return NULL;
    for (int s = 0; s < i_size; s++)
        if (!list[i].sizes[s].name) return NULL;
    return list[i].sizes[i_size].name;
}

loci_kernel_time loci_kernel_bench(int i, int i_size, double seconds, float *scratch)
{
    const int *d = list[i].sizes[i_size].d;
    pool p = { scratch, true, 1 };
    const work w = list[i].once(list[i].fn, d, &p); /* fills, and warms the caches */
    const double begin = loci_seconds();
    double best = 0, now = begin;
    /* Batches of 1, 2, 4 .. calls until one is long enough for the clock, then of that many. */
    for (int calls = 1, batches = 0; batches < 2 || now - begin < seconds; batches++) {
        const double start = now;
        for (int c = 0; c < calls; c++) {
            p = (pool){ scratch, false, 0 };
            list[i].once(list[i].fn, d, &p);
        }
        now = loci_seconds();
        const double each = (now - start) / calls;
        if (best == 0 || each < best) best = each;
        if (now - start < 1e-4 && calls < 1 << 20) calls *= 2;
    }
    return (loci_kernel_time){ best, w.flops, w.bytes };
}
