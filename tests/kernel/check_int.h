/* check_int.h - integer products against kernel.h, bit for bit.
 *
 * The truth is worked out from the unpacked weights in 64-bit integers and rounded in the order that
 * the contract states, so it tests the packing too.  Extremes are drawn often: -128 among the weights,
 * +-127 in x, whole columns of them, where sums of pairs come closest to 16 bits. */
#ifndef CHECK_INT_H
#define CHECK_INT_H

#include "kernel_test.h"
#include "kernel/number.h"

typedef struct {
    int m, first, n, k;
} int_shape;

static const int_shape int_shapes[] = {
    { 0, 0, 3, 32 },    { 1, 0, 0, 32 },     { 3, 0, 5, 0 },     { 1, 0, 1, 1 },
    { 1, 0, 7, 3 },     { 1, 16, 16, 4 },    { 1, 0, 17, 5 },    { 1, 32, 33, 63 },
    { 1, 0, 48, 64 },   { 1, 0, 65, 255 },   { 2, 0, 15, 31 },   { 2, 16, 31, 33 },
    { 3, 0, 32, 65 },   { 4, 0, 47, 127 },   { 5, 0, 49, 128 },  { 6, 48, 63, 129 },
    { 7, 0, 64, 7 },    { 8, 0, 80, 256 },   { 9, 0, 96, 17 },   { 15, 16, 127, 96 },
    { 16, 0, 113, 64 }, { 17, 0, 129, 192 }, { 31, 0, 144, 32 }, { 65, 0, 34, 160 },
    { 9, 0, 19, 2047 }, { 1, 0, 30, 4096 },  { 3, 0, 16, 32768 }
};

static inline int8_t weight_byte(loci_rng *rng, int form)
{
    if (form == 1) return loci_rng_below(rng, 2) ? -128 : 127;
    if (form == 2) return -128;
    return (int8_t)((int)loci_rng_below(rng, 256) - 128);
}

/* (rows, k rounded up to 4) with zero in the end; canaries of other values behind it. */
static inline mat int_rows(loci_rng *rng, int form, int rows, int k, int shift)
{
    const int padded = (k + 3) / 4 * 4;
    mat x = mat_raw(1, rows, padded, shift, shift);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < padded; c++) {
            const int v = form == 0 ? (int)loci_rng_below(rng, 255) - 127
                          : form == 1 ? (loci_rng_below(rng, 2) ? 127 : -127)
                                      : -127;
            x.at.q[(size_t)r * (size_t)x.ld + (size_t)c] = (int8_t)(c < k ? v : 0);
        }
    return x;
}

/* What both kinds share: scales of x, the output, and the comparison. */
typedef struct {
    mat x, sx, y, old;
    int_shape s;
    int add;
} int_case;

static inline int_case int_case_new(loci_rng *rng, int_shape s, int form, int shift)
{
    int_case c = { .s = s, .add = shift & 1 };
    c.x = int_rows(rng, form, s.m, s.k, shift);
    c.sx = mat_new(rng, NORMAL, 1, s.m, 0, shift);
    c.old = mat_new(rng, NORMAL, s.m, s.n, shift, shift);
    c.y = c.add ? mat_copy(&c.old) : mat_new(rng, UNSET, s.m, s.n, shift, shift);
    return c;
}

static inline int64_t int_dot(const int_case *c, int i, const int8_t *w, int from, int to)
{
    int64_t dot = 0;
    for (int l = from; l < to; l++)
        dot += c->x.at.q[(size_t)i * (size_t)c->x.ld + (size_t)l] * w[l];
    return dot;
}

static inline void int_same(const int_case *c, int i, int j, float sum, const char *what)
{
    const float v = sum * c->sx.at.f[i];
    const float want = c->add ? mat_at(&c->old, i, j) + v : v, got = mat_at(&c->y, i, j);
    if (memcmp(&got, &want, sizeof got) != 0)
        fail_msg("%s m %d first %d n %d k %d add %d [%d,%d]: %.9g, should be %.9g", what, c->s.m,
                 c->s.first, c->s.n, c->s.k, c->add, i, j, got, want);
}

static inline void int_case_free(int_case *c, const char *what)
{
    mat_intact(&c->y, what);
    mat_free(&c->x);
    mat_free(&c->sx);
    mat_free(&c->old);
    mat_free(&c->y);
}

static inline void w8_case(loci_gemm_w8a8_fn *fn, loci_rng *rng, int_shape s, int form, int shift)
{
    const int rows = s.first + s.n, padded = loci_panels(rows) * LOCI_PANEL;
    mat q = mat_raw(1, rows, s.k, 0, 0), scale = mat_new(rng, NORMAL, 1, rows, 0, 0);
    for (size_t i = 0; i < mat_span(&q); i++) q.at.q[i] = weight_byte(rng, form);
    mat data = mat_raw(1, 1, (int)loci_w8_bytes(rows, s.k), 0, 0);
    mat packed_scale = mat_raw(4, 1, padded, 0, 0), sum = mat_raw(4, 1, padded, 0, 0);
    loci_w8_pack(data.at.q, packed_scale.at.f, sum.at.i, q.at.q, scale.at.f, rows, s.k);
    const loci_w8 w = { data.at.q, packed_scale.at.f, sum.at.i, rows, s.k };
    int_case c = int_case_new(rng, s, form, shift);
    fn(c.y.at.f, c.y.ld, c.x.at.q, c.x.ld, c.sx.at.f, &w, s.first, s.m, s.n, c.add);
    for (int i = 0; i < s.m; i++)
        for (int j = 0; j < s.n; j++) {
            const int8_t *row = q.at.q + (size_t)(s.first + j) * (size_t)s.k;
            int_same(&c, i, j, (float)int_dot(&c, i, row, 0, s.k) * scale.at.f[s.first + j], "w8");
        }
    int_case_free(&c, "w8");
    mat_free(&q);
    mat_free(&scale);
    mat_free(&data);
    mat_free(&packed_scale);
    mat_free(&sum);
}

static inline void w4_case(loci_gemm_w4a8_fn *fn, loci_rng *rng, int_shape s, int form, int shift)
{
    s.k = (s.k + 31) / 32 * 32;
    const int rows = s.first + s.n, panels = loci_panels(rows), groups = s.k / 32;
    int8_t *q = malloc((size_t)rows * (size_t)s.k + 1); /* -8 .. 7, one a byte */
    mat nibbles = mat_raw(1, rows, s.k / 2, 0, 0), half = mat_raw(2, rows, groups, 0, 0);
    assert_non_null(q);
    for (int i = 0; i < rows * s.k; i++)
        q[i] = (int8_t)(form == 2 ? -8 : (int)loci_rng_below(rng, 16) - 8);
    for (int i = 0; i < rows * s.k / 2; i++)
        nibbles.at.q[i] = (int8_t)((q[2 * i] + 8) | (q[2 * i + 1] + 8) << 4);
    for (int i = 0; i < rows * groups; i++) half.at.h[i] = loci_f32_to_f16(value(rng, NORMAL));
    mat data = mat_raw(1, 1, (int)loci_w4_bytes(rows, s.k), 0, 0);
    mat scale = mat_raw(2, 1, panels * LOCI_PANEL * groups, 0, 0);
    loci_w4_pack((uint8_t *)data.at.q, scale.at.h, (const uint8_t *)nibbles.at.q, half.at.h, rows,
                 s.k);
    const loci_w4 w = { (const uint8_t *)data.at.q, scale.at.h, rows, s.k };
    int_case c = int_case_new(rng, s, form, shift);
    fn(c.y.at.f, c.y.ld, c.x.at.q, c.x.ld, c.sx.at.f, &w, s.first, s.m, s.n, c.add);
    for (int i = 0; i < s.m; i++)
        for (int j = 0; j < s.n; j++) {
            const int r = s.first + j;
            float sum = 0.0f;
            for (int g = 0; g < groups; g++)
                sum = fmaf((float)int_dot(&c, i, q + (size_t)r * (size_t)s.k, 32 * g, 32 * g + 32),
                           loci_f16_to_f32(half.at.h[r * groups + g]), sum);
            int_same(&c, i, j, sum, "w4");
        }
    int_case_free(&c, "w4");
    free(q);
    mat_free(&nibbles);
    mat_free(&half);
    mat_free(&data);
    mat_free(&scale);
}

static inline void check_gemm_w8a8(loci_gemm_w8a8_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 80);
    for (int i = 0; i < COUNT(int_shapes); i++)
        for (int form = 0; form < 3; form++)
            for (int shift = 0; shift < 4; shift++)
                w8_case(fn, &rng, int_shapes[i], form, shift);
}

static inline void check_gemm_w4a8(loci_gemm_w4a8_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 81);
    for (int i = 0; i < COUNT(int_shapes); i++)
        for (int form = 0; form < 3; form++)
            for (int shift = 0; shift < 4; shift++)
                w4_case(fn, &rng, int_shapes[i], form, shift);
}

#endif
