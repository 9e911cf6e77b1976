/* check_linear.h - products with stored matrices and the block quantisers, against kernel.h.
 *
 * The truth is the sum in double over the values that loci_stored_row gives, which
 * test_number.c checks code by code. */
#ifndef CHECK_LINEAR_H
#define CHECK_LINEAR_H

#include "kernel_test.h"
#include "kernel/number.h"

/* ---- a random stored matrix ----------------------------------------------------------------- */

typedef struct {
    mat bytes, scale; /* each ends at an inaccessible page */
    loci_stored w;
} stored_mat;

static inline uint16_t random_f16(loci_rng *rng)
{
    /* 2^-8 .. 2^4, either sign: any mantissa */
    return (uint16_t)((loci_rng_below(rng, 2) << 15) | ((7 + loci_rng_below(rng, 12)) << 10) |
                      loci_rng_below(rng, 1024));
}

static inline void put_f16(uint8_t *p, uint16_t h)
{
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Random bytes are good codes; halves and scales inside a block must be finite. */
static inline void random_row(loci_rng *rng, loci_stored_type type, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)loci_rng_below(rng, 256);
    switch (type) {
    case LOCI_STORED_F32:
        for (size_t i = 0; i + 4 <= n; i += 4) {
            const float v = value(rng, NORMAL);
            memcpy(p + i, &v, 4);
        }
        break;
    case LOCI_STORED_BF16:
        for (size_t i = 0; i + 2 <= n; i += 2) put_f16(p + i, loci_f32_to_bf16(value(rng, NORMAL)));
        break;
    case LOCI_STORED_F16:
        for (size_t i = 0; i + 2 <= n; i += 2) put_f16(p + i, random_f16(rng));
        break;
    case LOCI_STORED_E4M3:
        for (size_t i = 0; i < n; i++)
            if ((p[i] & 0x7f) == 0x7f) p[i] = 0x7e;
        break;
    case LOCI_STORED_Q8_0:
        for (size_t i = 0; i < n; i += 34) put_f16(p + i, random_f16(rng));
        break;
    case LOCI_STORED_Q4_K:
        for (size_t i = 0; i < n; i += 144) {
            put_f16(p + i, random_f16(rng));
            put_f16(p + i + 2, random_f16(rng));
        }
        break;
    case LOCI_STORED_Q2_K:
        for (size_t i = 0; i < n; i += 84) {
            put_f16(p + i + 80, random_f16(rng));
            put_f16(p + i + 82, random_f16(rng));
        }
        break;
    case LOCI_STORED_MXFP4:
        for (size_t i = 0; i < n; i += 17) p[i] = (uint8_t)(120 + loci_rng_below(rng, 12));
        break;
    default: break;
    }
}

static inline stored_mat stored_new(loci_rng *rng, loci_stored_type type, int rows, int cols,
                                    bool scaled)
{
    stored_mat m = { 0 };
    const size_t row = loci_stored_row_bytes(type, cols);
    m.bytes = mat_raw(1, rows, (int)row, 0, 0);
    for (int r = 0; r < rows; r++)
        random_row(rng, type, (uint8_t *)m.bytes.at.q + (size_t)r * row, row);
    const int n_scales = type == LOCI_STORED_E4M3   ? ((rows + 127) / 128) * ((cols + 127) / 128)
                         : type == LOCI_STORED_E2M1 ? rows * (cols / 32)
                                                    : 0;
    m.scale = mat_raw(1, 1, n_scales, 0, 0);
    for (int i = 0; i < n_scales; i++) m.scale.at.q[i] = (int8_t)(120 + loci_rng_below(rng, 12));
    m.w = (loci_stored){ m.bytes.at.q, scaled && n_scales ? (const uint8_t *)m.scale.at.q : NULL,
                         row,          rows,
                         cols,         type };
    return m;
}

static inline void stored_free(stored_mat *m)
{
    mat_free(&m->bytes);
    mat_free(&m->scale);
}

/* ---- products --------------------------------------------------------------------------------- */

typedef struct {
    int m, first, n, k; /* k is rounded up to whole blocks */
} linear_shape;

static const linear_shape linear_shapes[] = {
    { 0, 0, 3, 64 },     { 1, 0, 0, 64 },   { 1, 0, 3, 0 },     { 1, 0, 1, 1 },
    { 1, 2, 3, 7 },      { 2, 1, 4, 16 },   { 3, 0, 5, 33 },    { 4, 3, 7, 65 },
    { 5, 0, 8, 127 },    { 6, 0, 9, 128 },  { 7, 126, 4, 129 }, { 1, 127, 9, 255 },
    { 31, 0, 2, 256 },   { 32, 1, 5, 257 }, { 33, 0, 6, 384 },  { 65, 0, 3, 130 },
    { 2, 130, 129, 96 }, { 1, 0, 4, 1024 }, { 4, 5, 6, 640 }
};

static inline void linear_case(loci_linear_stored_fn *fn, loci_rng *rng, loci_stored_type type,
                               linear_shape s, int form)
{
    const int block = loci_stored_block(type), k = (s.k + block - 1) / block * block;
    const int tiles = (k + 127) / 128, shift = form % 4;
    stored_mat w = stored_new(rng, type, s.first + s.n, k, form & 1);
    mat x = mat_new(rng, form & 4 ? LARGE : NORMAL, s.m, k, shift, shift);
    mat sx = mat_new(rng, UNSET, s.m, tiles, shift, shift);
    mat y = mat_new(rng, UNSET, s.m, s.n, shift, shift);
    for (int i = 0; i < s.m; i++)
        for (int b = 0; b < tiles; b++)
            sx.at.f[i * sx.ld + b] = ldexpf(1.0f, (int)loci_rng_below(rng, 9) - 4);
    const float *factor = form & 2 ? sx.at.f : NULL;
    fn(y.at.f, y.ld, x.at.f, x.ld, factor, sx.ld, &w.w, s.first, s.m, s.n);

    char what[128];
    snprintf(what, sizeof what, "%s m %d first %d n %d k %d form %d", loci_stored_name(type), s.m,
             s.first, s.n, k, form);
    static float row[2048];
    for (int j = 0; j < s.n; j++) {
        loci_stored_row(row, &w.w, s.first + j);
        for (int i = 0; i < s.m; i++) {
            double sum = 0, size = 0;
            for (int c = 0; c < k; c++) {
                const double xw =
                    (double)mat_at(&x, i, c) * row[c] * (factor ? mat_at(&sx, i, c / 128) : 1.0f);
                sum += xw;
                size += fabs(xw);
            }
            near(mat_at(&y, i, j), sum, (k + 1) * 2 * EPS * size, what, i, j);
            /* Alone, it has the same bits. */
            float one;
            fn(&one, 1, x.at.f + i * x.ld, x.ld, factor ? factor + i * sx.ld : NULL, sx.ld, &w.w,
               s.first + j, 1, 1);
            if (memcmp(&one, &y.at.f[i * y.ld + j], sizeof one) != 0)
                fail_msg("%s [%d,%d]: %.9g, alone %.9g", what, i, j, mat_at(&y, i, j), one);
        }
    }
    mat_intact(&y, what);
    stored_free(&w);
    mat_free(&x);
    mat_free(&sx);
    mat_free(&y);
}

/* One bad code or scale spoils its own row and no other. */
static inline void linear_nan(loci_linear_stored_fn *fn, loci_rng *rng, loci_stored_type type,
                              bool in_scale)
{
    stored_mat w = stored_new(rng, type, 6, 64, true);
    mat x = mat_new(rng, NORMAL, 1, 64, 0, 0);
    float y[6];
    if (in_scale && type == LOCI_STORED_E2M1)
        w.scale.at.q[2 * 2 + 1] = -1; /* row 2, second block */
    else if (in_scale && type == LOCI_STORED_MXFP4)
        w.bytes.at.q[2 * 34 + 17] = -1;
    else
        w.bytes.at.q[2 * 64 + 50] = in_scale ? 0x7f : -1;
    fn(y, 6, x.at.f, 64, NULL, 0, &w.w, 0, 1, 6);
    for (int j = 0; j < 6; j++)
        if (isnan(y[j]) != (j == 2))
            fail_msg("%s: row %d is %g with NaN in row 2", loci_stored_name(type), j, y[j]);
    stored_free(&w);
    mat_free(&x);
}

static inline void check_linear(loci_linear_stored_fn *fn, loci_stored_type type)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 16 + type);
    for (int i = 0; i < COUNT(linear_shapes); i++)
        for (int form = 0; form < 8; form++) linear_case(fn, &rng, type, linear_shapes[i], form);
    if (type == LOCI_STORED_E4M3) linear_nan(fn, &rng, type, false);
    if (type == LOCI_STORED_E4M3 || type == LOCI_STORED_E2M1 || type == LOCI_STORED_MXFP4)
        linear_nan(fn, &rng, type, true);
}

#define X(NAME, name, elements, bytes)                                                             \
    static inline void check_linear_##name(loci_linear_##name##_fn *fn)                            \
    {                                                                                              \
        check_linear(fn, LOCI_STORED_##NAME);                                                      \
    }
LOCI_STORED_LIST(X)
#undef X

/* ---- quantisers ------------------------------------------------------------------------------- */

static inline bool same_floats(const float *a, const float *b, int n)
{
    for (int i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return false;
    return true;
}

static inline void quant_case(loci_quant_block_fn *fn, loci_quant_block_fn *ref, loci_rng *rng,
                              range kind, int rows, int cols, int block, int spoil)
{
    const int n = (cols + block - 1) / block, shift = cols % 4;
    mat x = mat_new(rng, kind, rows, cols, shift, shift);
    float *last = x.at.f + (rows - 1) * x.ld; /* spoilt by NaN, by infinity, or all zero */
    for (int c = 0; spoil == 3 && c < cols; c++) last[c] = 0.0f;
    if (spoil % 3 && cols > 0) last[cols - 1] = spoil == 1 ? NAN : -INFINITY;
    mat q = mat_new(rng, UNSET, rows, cols, shift, shift), want = mat_copy(&q);
    mat s = mat_new(rng, UNSET, rows, n, shift, shift), want_s = mat_copy(&s);
    char what[96];
    snprintf(what, sizeof what, "rows %d cols %d block %d range %d spoil %d", rows, cols, block,
             kind, spoil);
    fn(q.at.f, q.ld, s.at.f, s.ld, x.at.f, x.ld, rows, cols, block);
    ref(want.at.f, want.ld, want_s.at.f, want_s.ld, x.at.f, x.ld, rows, cols, block);
    for (int r = 0; r < rows; r++)
        if (!same_floats(q.at.f + r * q.ld, want.at.f + r * q.ld, cols) ||
            !same_floats(s.at.f + r * s.ld, want_s.at.f + r * s.ld, n))
            fail_msg("%s: row %d differs from the reference", what, r);
    mat_intact(&q, what);
    mat_intact(&s, what);
    /* In place, scales multiplied in. */
    fn(x.at.f, x.ld, NULL, 0, x.at.f, x.ld, rows, cols, block);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            const float v = mat_at(&want, r, c) * mat_at(&want_s, r, c / block);
            if (!same_floats(&x.at.f[r * x.ld + c], &v, 1))
                fail_msg("%s [%d,%d]: in place %.9g, should be %.9g", what, r, c, mat_at(&x, r, c),
                         v);
        }
    mat_intact(&x, what);
    mat_free(&x);
    mat_free(&q);
    mat_free(&want);
    mat_free(&s);
    mat_free(&want_s);
}

static inline void check_quant_block(loci_quant_block_fn *fn, loci_quant_block_fn *ref)
{
    static const int blocks[] = { 1, 7, 32, 64, 128 };
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 64);
    for (int i = 0; i < COUNT(awkward); i++)
        for (int b = 0; b < COUNT(blocks); b++)
            for (range kind = TINY; kind <= WIDE; kind++)
                quant_case(fn, ref, &rng, kind, 1 + i % 3, awkward[i], blocks[b], (i + b) % 4);
}

static inline void check_quant_a8(loci_quant_a8_fn *fn)
{
    check_quant_block(fn, loci_quant_a8_ref);
}
static inline void check_quant_a4(loci_quant_a4_fn *fn)
{
    check_quant_block(fn, loci_quant_a4_ref);
}

#endif
