/* check_gemm.h - the dense products against the bound that kernel.h states. */
#ifndef CHECK_GEMM_H
#define CHECK_GEMM_H

#include "kernel_test.h"

typedef struct {
    int m, n, k;
} product;

/* Every awkward size along each side, the blocks' edges (4, 8, 48, 64, 80, 192, 256) and their
 * neighbours, and whole training shapes. */
static const product products[] = {
    { 0, 3, 3 },    { 3, 0, 3 },     { 3, 3, 0 },     { 1, 1, 1 },     { 1, 7, 9 },
    { 2, 8, 15 },   { 3, 9, 16 },    { 4, 15, 17 },   { 5, 16, 31 },   { 6, 17, 32 },
    { 7, 31, 33 },  { 8, 32, 63 },   { 9, 33, 64 },   { 15, 63, 65 },  { 16, 64, 7 },
    { 17, 65, 8 },  { 31, 47, 1 },   { 32, 48, 127 }, { 33, 49, 128 }, { 63, 127, 129 },
    { 64, 129, 2 }, { 4, 255, 16 },  { 1, 255, 255 }, { 9, 193, 257 }, { 14, 191, 256 },
    { 13, 5, 600 }, { 33, 200, 20 }, { 80, 17, 33 },  { 81, 1, 1 },    { 81, 65, 129 },
    { 97, 85, 3 },  { 129, 31, 64 }
};

/* sum |a||b| of one element decides how far it may be off: (k+1) 2^-23 of it. */
static inline void check_product(const mat *y, const mat *before, double *sum, double *size, int k,
                                 const char *what)
{
    for (int r = 0; r < y->rows; r++)
        for (int c = 0; c < y->cols; c++) {
            const size_t i = (size_t)r * (size_t)y->cols + (size_t)c;
            const double old = before ? mat_at(before, r, c) : 0.0;
            near(mat_at(y, r, c), sum[i] + old,
                 (k + 1) * 2 * EPS * (size[i] + fabs(old)) + (k + 1) * STEP, what, r, c);
        }
    mat_intact(y, what);
}

static inline void gemm_case(loci_gemm_fn *fn, loci_rng *rng, product p, range kind, int form,
                             int shift)
{
    const int ta = form & 1, tb = form >> 1 & 1, beta = form >> 2 & 1;
    mat a = mat_new(rng, kind, ta ? p.k : p.m, ta ? p.m : p.k, shift, shift);
    mat b = mat_new(rng, kind, tb ? p.n : p.k, tb ? p.k : p.n, 2 * shift, shift);
    mat old = mat_new(rng, kind, p.m, p.n, shift, shift);
    mat c = beta ? mat_copy(&old) : mat_new(rng, UNSET, p.m, p.n, shift, shift);
    static double sum[64 * 255], size[64 * 255];
    for (int i = 0; i < p.m; i++)
        for (int j = 0; j < p.n; j++) {
            double s = 0, t = 0;
            for (int l = 0; l < p.k; l++) {
                const double ab = (double)(ta ? mat_at(&a, l, i) : mat_at(&a, i, l)) *
                                  (tb ? mat_at(&b, j, l) : mat_at(&b, l, j));
                s += ab;
                t += fabs(ab);
            }
            sum[i * p.n + j] = s;
            size[i * p.n + j] = t;
        }
    fn(c.at.f, c.ld, a.at.f, a.ld, ta, b.at.f, b.ld, tb, p.m, p.n, p.k, (float)beta);
    char what[96];
    snprintf(what, sizeof what, "gemm m %d n %d k %d ta %d tb %d beta %d range %d shift %d", p.m,
             p.n, p.k, ta, tb, beta, kind, shift);
    check_product(&c, beta ? &old : NULL, sum, size, p.k, what);
    mat_free(&a);
    mat_free(&b);
    mat_free(&c);
    mat_free(&old);
}

static inline void check_gemm(loci_gemm_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    for (int i = 0; i < COUNT(products); i++)
        for (int form = 0; form < 8; form++)
            for (range kind = TINY; kind <= LARGE; kind++)
                gemm_case(fn, &rng, products[i], kind, form, (i + form) % 4);
}

/* ---- narrow weights --------------------------------------------------------------------- */

typedef enum { W_F32, W_BF16, W_Q8 } weight_type;

typedef union {
    loci_gemm_bf16_fn *bf16;
    loci_gemm_q8_fn *q8;
    loci_gemv_fn *v;
    loci_gemv_bf16_fn *v_bf16;
    loci_gemv_q8_fn *v_q8;
} weight_fn;

static inline mat weights(loci_rng *rng, weight_type type, range kind, int n, int k, int gap,
                          int shift)
{
    if (type == W_F32) return mat_new(rng, kind, n, k, gap, shift);
    mat w = mat_raw(type == W_BF16 ? 2 : 1, n, k, gap, shift);
    for (int r = 0; r < n; r++)
        for (int c = 0; c < k; c++) {
            const size_t i = (size_t)r * (size_t)w.ld + (size_t)c;
            if (type == W_BF16)
                w.at.h[i] = loci_f32_to_bf16(value(rng, kind));
            else
                w.at.q[i] = (int8_t)((int)loci_rng_below(rng, 256) - 128); /* -128 included */
        }
    return w;
}

static inline double weight_at(const mat *w, weight_type type, int r, int c)
{
    const size_t i = (size_t)r * (size_t)w->ld + (size_t)c;
    return type == W_F32 ? w->at.f[i] : type == W_BF16 ? loci_bf16_to_f32(w->at.h[i]) : w->at.q[i];
}

static inline void weight_case(weight_fn fn, weight_type type, bool vector, loci_rng *rng,
                               product p, range kind, int shift)
{
    mat w = weights(rng, type, kind, p.n, p.k, shift, shift);
    mat x = mat_new(rng, kind, p.m, p.k, shift, shift);
    mat y = mat_new(rng, UNSET, p.m, p.n, shift, shift);
    mat scale = mat_new(rng, kind, 1, p.n, 0, shift);
    static double sum[64 * 255], size[64 * 255];
    for (int i = 0; i < p.m; i++)
        for (int j = 0; j < p.n; j++) {
            const double factor = type == W_Q8 ? scale.at.f[j] : 1.0;
            double s = 0, t = 0;
            for (int l = 0; l < p.k; l++) {
                const double xw = mat_at(&x, i, l) * weight_at(&w, type, j, l) * factor;
                s += xw;
                t += fabs(xw);
            }
            sum[i * p.n + j] = s;
            size[i * p.n + j] = t;
        }
    if (vector && type == W_F32)
        fn.v(y.at.f, w.at.f, w.ld, x.at.f, p.n, p.k);
    else if (vector && type == W_BF16)
        fn.v_bf16(y.at.f, w.at.h, w.ld, x.at.f, p.n, p.k);
    else if (vector)
        fn.v_q8(y.at.f, w.at.q, w.ld, scale.at.f, x.at.f, p.n, p.k);
    else if (type == W_BF16)
        fn.bf16(y.at.f, y.ld, x.at.f, x.ld, w.at.h, w.ld, p.m, p.n, p.k);
    else
        fn.q8(y.at.f, y.ld, x.at.f, x.ld, w.at.q, w.ld, scale.at.f, p.m, p.n, p.k);
    char what[96];
    snprintf(what, sizeof what, "weights type %d m %d n %d k %d range %d shift %d", type, p.m, p.n,
             p.k, kind, shift);
    check_product(&y, NULL, sum, size, p.k, what);
    mat_free(&w);
    mat_free(&x);
    mat_free(&y);
    mat_free(&scale);
}

static inline void check_weights(weight_fn fn, weight_type type, bool vector)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + type);
    for (int i = 0; i < COUNT(products); i++)
        for (range kind = TINY; kind <= LARGE; kind++)
            for (int shift = 0; shift < 4; shift++) {
                product p = products[i];
                if (vector) p.m = 1;
                weight_case(fn, type, vector, &rng, p, kind, shift);
            }
}

static inline void check_gemm_bf16(loci_gemm_bf16_fn *fn)
{
    check_weights((weight_fn){ .bf16 = fn }, W_BF16, false);
}
static inline void check_gemm_q8(loci_gemm_q8_fn *fn)
{
    check_weights((weight_fn){ .q8 = fn }, W_Q8, false);
}
static inline void check_gemv(loci_gemv_fn *fn)
{
    check_weights((weight_fn){ .v = fn }, W_F32, true);
}
static inline void check_gemv_bf16(loci_gemv_bf16_fn *fn)
{
    check_weights((weight_fn){ .v_bf16 = fn }, W_BF16, true);
}
static inline void check_gemv_q8(loci_gemv_q8_fn *fn)
{
    check_weights((weight_fn){ .v_q8 = fn }, W_Q8, true);
}

#endif
