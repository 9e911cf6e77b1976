/* bench_product.h - products of matrices, dense, of integers and of stored types: for each family its sizes and one call (bench_take.h). */
#include "kernel/bench_take.h"

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
