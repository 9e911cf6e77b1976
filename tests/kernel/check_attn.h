/* check_attn.h - attention and its gradients against the equations of kernel.h in double.
 *
 * One description covers both families: a chunk is H = G = 1 without a mask, the window is a mask
 * of W keys.  Bounds follow the rounding errors through the equations: of a score (delta), of a
 * probability (expm1 of the scores' errors and of exp's own), of the sums. */
#ifndef CHECK_ATTN_H
#define CHECK_ATTN_H

#include "kernel_test.h"

typedef struct {
    int T, n, H, G, d_k, d_v, W, past; /* W 0: no mask */
    float scale;
    mat q, k, v, o, dout, w, lse,
        delta;            /* lse (T,H); w, delta (T); o as the forward pass left it */
    bool weighted, dense; /* w is given; delta is given */
    double dot_error;     /* of a sum of k products: dot_error (k+1) sum|ab| */
} attn;

static const double exp_error = 4e-7; /* kernels promise 2e-7; as much again for the argument */

static inline bool visible(const attn *a, int t, int j)
{
    return a->W == 0 || (j <= t + a->past && j > t + a->past - a->W);
}

/* sum a b of two row pieces, and the error of doing so in f32 */
static inline double inner(const mat *a, int i, int at, const mat *b, int j, int bt, int n,
                           double unit, double *error)
{
    double sum = 0, size = 0;
    for (int l = 0; l < n; l++) {
        const double ab = (double)mat_at(a, i, at + l) * mat_at(b, j, bt + l);
        sum += ab;
        size += fabs(ab);
    }
    *error = unit * (n + 1) * size + (n + 1) * STEP;
    return sum;
}

/* Score of query t, head h and key j; its error, also that of being scaled and subtracted. */
static inline double attn_score(const attn *a, int t, int h, int j, double *error)
{
    const int g = h / (a->H / a->G);
    const double s =
        a->scale * inner(&a->q, t, h * a->d_k, &a->k, j, g * a->d_k, a->d_k, a->dot_error, error);
    *error = *error * fabs((double)a->scale) + 2 * EPS * fabs(s) + STEP;
    return s;
}

static inline attn attn_new(loci_rng *rng, range kind, int T, int n, int H, int G, int d_k, int d_v,
                            int gap, int shift)
{
    attn a = { .T = T, .n = n, .H = H, .G = G, .d_k = d_k, .d_v = d_v };
    a.q = mat_new(rng, kind, T, H * d_k, gap, shift);
    a.k = mat_new(rng, kind, n, G * d_k, gap, shift);
    a.v = mat_new(rng, kind, n, G * d_v, gap, shift);
    a.o = mat_new(rng, kind, T, H * d_v, gap, shift);
    a.dout = mat_new(rng, kind, T, H * d_v, gap, shift);
    a.w = mat_new(rng, kind, 1, T, 0, shift);
    a.lse = mat_raw(sizeof(float), T, H, 0, shift);
    a.delta = mat_new(rng, kind, 1, T, 0, shift);
    a.scale = 0.125f; /* a power of 2: WHOLE scores are exact */
    a.dot_error = kind == WHOLE ? 0.0 : 2 * EPS;
    return a;
}

static inline void attn_free(attn *a)
{
    mat *all[] = { &a->q, &a->k, &a->v, &a->o, &a->dout, &a->w, &a->lse, &a->delta };
    for (int i = 0; i < COUNT(all); i++) mat_free(all[i]);
}

/* ---- forward ---------------------------------------------------------------------------- */

/* The log-sum-exp of one query and the largest error among its scores. */
static inline double attn_lse(const attn *a, int t, int h, double *error)
{
    double max = -INFINITY, sum = 0, e;
    *error = 0;
    for (int j = 0; j < a->n; j++)
        if (visible(a, t, j)) {
            max = fmax(max, attn_score(a, t, h, j, &e));
            *error = fmax(*error, e);
        }
    for (int j = 0; j < a->n; j++)
        if (visible(a, t, j)) sum += exp(attn_score(a, t, h, j, &e) - max);
    return max + log(sum);
}

/* got (T, H d_v) = old + w softmax v; lse (T, H); either may be NULL. */
static inline void attn_forward_check(const attn *a, const mat *got, const mat *old, const mat *lse,
                                      const char *what)
{
    for (int t = 0; t < a->T; t++)
        for (int h = 0; h < a->H; h++) {
            double delta, e;
            const double total = attn_lse(a, t, h, &delta), w = a->weighted ? a->w.at.f[t] : 1.0;
            if (lse)
                near(lse->at.f[(size_t)t * (size_t)a->H + (size_t)h], total,
                     delta + (a->n + 4) * 2 * EPS + exp_error + 2 * EPS * fabs(total), what, t, h);
            for (int i = 0; got && i < a->d_v; i++) {
                double sum = 0, size = 0;
                const int g = h / (a->H / a->G);
                for (int j = 0; j < a->n; j++) {
                    if (!visible(a, t, j)) continue;
                    const double p = exp(attn_score(a, t, h, j, &e) - total);
                    sum += p * mat_at(&a->v, j, g * a->d_v + i);
                    size += p * fabs((double)mat_at(&a->v, j, g * a->d_v + i));
                }
                const double before = old ? mat_at(old, t, h * a->d_v + i) : 0.0;
                const double rel = expm1(2 * delta + exp_error) + (2 * a->n + 8) * 2 * EPS;
                near(mat_at(got, t, h * a->d_v + i), before + w * sum,
                     fabs(w) * size * rel + 2 * EPS * fabs(before) + (a->n + 1) * STEP, what, t,
                     h * a->d_v + i);
            }
        }
}

/* ---- backward --------------------------------------------------------------------------- */

typedef struct {
    double p, ds;         /* P and P (dp - D) */
    double p_err, ds_err; /* how far f32 may be off */
} pair;

typedef struct {
    double *sum, *size, *error; /* of each output element: value, sum of magnitudes, error so far */
} gradient;

static inline gradient gradient_new(size_t n)
{
    return (gradient){ calloc(n + 1, sizeof(double)), calloc(n + 1, sizeof(double)),
                       calloc(n + 1, sizeof(double)) };
}

static inline void gradient_add(gradient *x, size_t i, double a, double a_err, double b)
{
    x->sum[i] += a * b;
    x->size[i] += fabs(a * b);
    x->error[i] += a_err * fabs(b);
}

/* got = old + factor sum, `terms` additions at most; frees x. */
static inline void gradient_check(gradient *x, const mat *got, const mat *old, double factor,
                                  int terms, const char *what)
{
    for (int r = 0; r < got->rows; r++)
        for (int c = 0; c < got->cols; c++) {
            const size_t i = (size_t)r * (size_t)got->cols + (size_t)c;
            const double before = mat_at(old, r, c);
            near(mat_at(got, r, c), before + factor * x->sum[i],
                 fabs(factor) * (x->error[i] + (terms + 4) * 2 * EPS * x->size[i]) +
                     (terms + 4) * (2 * EPS * fabs(before) + STEP),
                 what, r, c);
        }
    mat_intact(got, what);
    free(x->sum);
    free(x->size);
    free(x->error);
}

/* P, ds and their errors of one query against all keys; dw is sum p dp. */
static inline double attn_pairs(const attn *a, int t, int h, pair *x, double *dw_err)
{
    const double w = a->weighted ? a->w.at.f[t] : 1.0;
    const float lse = a->lse.at.f[(size_t)t * (size_t)a->H + (size_t)h];
    double dw = 0, size = 0, error = 0, dp[256], dp_err[256];
    for (int j = 0; j < a->n; j++) {
        if (!visible(a, t, j)) continue;
        double e;
        const double s = attn_score(a, t, h, j, &e), p = exp(s - lse);
        dp[j] = inner(&a->dout, t, h * a->d_v, &a->v, j, h / (a->H / a->G) * a->d_v, a->d_v,
                      a->dot_error, &dp_err[j]);
        e += 2 * EPS * (fabs(s) + fabs((double)lse)) + exp_error;
        x[j].p = w * p;
        x[j].p_err = fabs(w) * p * (expm1(e) + 2 * EPS) + STEP;
        dw += p * dp[j];
        size += p * fabs(dp[j]);
        error += p * expm1(e) * fabs(dp[j]) + p * dp_err[j];
    }
    *dw_err = error + (a->n + 2) * 2 * EPS * size + STEP;
    double mean = a->dense ? a->delta.at.f[t] : dw, mean_err = a->dense ? 0.0 : *dw_err;
    if (a->W)
        mean = inner(&a->dout, t, h * a->d_v, &a->o, t, h * a->d_v, a->d_v, 2 * EPS, &mean_err);
    for (int j = 0; j < a->n; j++) {
        if (!visible(a, t, j)) continue;
        const double both = fabs(dp[j]) + fabs(mean);
        x[j].ds = x[j].p * (dp[j] - mean);
        x[j].ds_err =
            x[j].p_err * both + fabs(x[j].p) * (dp_err[j] + mean_err + 6 * EPS * both) + STEP;
    }
    return dw;
}

typedef struct {
    mat dq, dk, dv, dw; /* before or after the call */
} grads;

static inline void attn_backward_check(const attn *a, const grads *old, const grads *got,
                                       const char *what)
{
    const int H = a->H, G = a->G;
    gradient dq = gradient_new((size_t)(a->T * H * a->d_k)),
             dk = gradient_new((size_t)(a->n * G * a->d_k));
    gradient dv = gradient_new((size_t)(a->n * G * a->d_v));
    for (int t = 0; t < a->T; t++)
        for (int h = 0; h < H; h++) {
            pair x[256];
            double dw_err;
            const int g = h / (H / G);
            const double dw = attn_pairs(a, t, h, x, &dw_err);
            if (!a->W) near(got->dw.at.f[t], dw, dw_err, what, t, -1);
            for (int j = 0; j < a->n; j++) {
                if (!visible(a, t, j)) continue;
                for (int i = 0; i < a->d_k; i++) {
                    const size_t at_q = (size_t)((t * H + h) * a->d_k + i);
                    const size_t at_k = (size_t)((j * G + g) * a->d_k + i);
                    gradient_add(&dq, at_q, x[j].ds, x[j].ds_err, mat_at(&a->k, j, g * a->d_k + i));
                    gradient_add(&dk, at_k, x[j].ds, x[j].ds_err, mat_at(&a->q, t, h * a->d_k + i));
                }
                for (int i = 0; i < a->d_v; i++)
                    gradient_add(&dv, (size_t)((j * G + g) * a->d_v + i), x[j].p, x[j].p_err,
                                 mat_at(&a->dout, t, h * a->d_v + i));
            }
        }
    gradient_check(&dq, &got->dq, &old->dq, a->scale, a->n, what);
    gradient_check(&dk, &got->dk, &old->dk, a->scale, a->T * H / G, what);
    gradient_check(&dv, &got->dv, &old->dv, 1.0, a->T * H / G, what);
}

static inline grads grads_new(loci_rng *rng, const attn *a, range kind, int gap, int shift)
{
    return (grads){ mat_new(rng, kind, a->T, a->H * a->d_k, gap, shift),
                    mat_new(rng, kind, a->n, a->G * a->d_k, gap, shift),
                    mat_new(rng, kind, a->n, a->G * a->d_v, gap, shift),
                    mat_raw(sizeof(float), 1, a->T, 0, shift) };
}

static inline grads grads_copy(const grads *x)
{
    return (grads){ mat_copy(&x->dq), mat_copy(&x->dk), mat_copy(&x->dv), mat_copy(&x->dw) };
}

static inline void grads_free(grads *x)
{
    mat_free(&x->dq);
    mat_free(&x->dk);
    mat_free(&x->dv);
    mat_free(&x->dw);
}

/* The f32 log-sum-exp that a backward pass would be given. */
static inline void attn_save_lse(attn *a)
{
    double e;
    for (int t = 0; t < a->T; t++)
        for (int h = 0; h < a->H; h++)
            a->lse.at.f[(size_t)t * (size_t)a->H + (size_t)h] = (float)attn_lse(a, t, h, &e);
}

/* ---- one chunk -------------------------------------------------------------------------- */

typedef struct {
    int rows, n, d_k, d_v;
} chunk_size;

static const chunk_size chunk_sizes[] = {
    { 0, 1, 1, 1 },     { 1, 1, 1, 1 },       { 7, 7, 8, 9 },        { 8, 8, 15, 16 },
    { 9, 9, 16, 15 },   { 15, 15, 17, 31 },   { 16, 16, 33, 32 },    { 17, 17, 64, 64 },
    { 3, 31, 63, 65 },  { 31, 33, 65, 63 },   { 8, 64, 64, 64 },     { 65, 63, 64, 64 },
    { 33, 65, 32, 33 }, { 9, 127, 127, 128 }, { 70, 128, 128, 128 }, { 130, 64, 16, 16 },
    { 32, 128, 8, 127 }
};

static inline void check_chunk_attn(loci_chunk_attn_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 1);
    for (int i = 0; i < COUNT(chunk_sizes); i++)
        for (range kind = TINY; kind <= WHOLE; kind++)
            for (int form = 0; form < 3; form++) { /* o += ..; o += w ..; lse only */
                const chunk_size s = chunk_sizes[i];
                const int shift = (i + form) % 4;
                attn a = attn_new(&rng, kind, s.rows, s.n, 1, 1, s.d_k, s.d_v, shift, shift);
                a.weighted = form == 1;
                mat o = mat_copy(&a.o);
                char what[96];
                snprintf(what, sizeof what, "chunk rows %d n %d dk %d dv %d range %d form %d",
                         s.rows, s.n, s.d_k, s.d_v, kind, form);
                fn(form == 2 ? NULL : o.at.f, o.ld, a.lse.at.f, a.q.at.f, a.q.ld, a.k.at.f, a.k.ld,
                   a.v.at.f, a.v.ld, a.weighted ? a.w.at.f : NULL, s.rows, s.n, s.d_k, s.d_v,
                   a.scale);
                attn_forward_check(&a, form == 2 ? NULL : &o, &a.o, &a.lse, what);
                mat_intact(&o, what);
                mat_intact(&a.lse, what);
                mat_free(&o);
                attn_free(&a);
            }
}

static inline void check_chunk_attn_bwd(loci_chunk_attn_bwd_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 2);
    static const range kinds[] = { TINY, NORMAL, WHOLE }; /* of LARGE, lse is off by more than 1 */
    for (int i = 0; i < COUNT(chunk_sizes); i++)
        for (int form = 0; form < 12; form++) {
            const chunk_size s = chunk_sizes[i];
            const range kind = kinds[form % 3];
            const int shift = (i + form) % 4;
            attn a = attn_new(&rng, kind, s.rows, s.n, 1, 1, s.d_k, s.d_v, shift, shift);
            a.weighted = form >= 6;
            a.dense = form / 3 % 2;
            attn_save_lse(&a);
            grads old = grads_new(&rng, &a, kind, shift, shift), got = grads_copy(&old);
            char what[96];
            snprintf(what, sizeof what, "chunk bwd rows %d n %d dk %d dv %d form %d", s.rows, s.n,
                     s.d_k, s.d_v, form);
            fn(got.dq.at.f, got.dq.ld, got.dk.at.f, got.dk.ld, got.dv.at.f, got.dv.ld, got.dw.at.f,
               a.dout.at.f, a.dout.ld, a.q.at.f, a.q.ld, a.k.at.f, a.k.ld, a.v.at.f, a.v.ld,
               a.lse.at.f, a.weighted ? a.w.at.f : NULL, a.dense ? a.delta.at.f : NULL, s.rows, s.n,
               s.d_k, s.d_v, a.scale);
            attn_backward_check(&a, &old, &got, what);
            mat_intact(&got.dw, what);
            grads_free(&old);
            grads_free(&got);
            attn_free(&a);
        }
}

/* ---- the causal window ------------------------------------------------------------------ */

typedef struct {
    int T, past, H, G, d, W;
} window_size;

/* Windows of one key, wider than everything, and such that blocks of 64 and 128 keys start in the
 * middle of a row's window; groups of more heads than are kept at once. */
static const window_size window_sizes[] = {
    { 0, 0, 1, 1, 8, 4 },           { 1, 0, 1, 1, 1, 1 },      { 7, 0, 2, 1, 9, 1 },
    { 8, 1, 2, 2, 16, 3 },          { 9, 7, 3, 1, 17, 8 },     { 17, 0, 4, 2, 33, 5 },
    { 31, 33, 1, 1, 64, 17 },       { 65, 0, 3, 1, 64, 64 },   { 64, 63, 2, 1, 65, 1000 },
    { 100, 0, 1, 1, 128, 37 },      { 129, 0, 2, 1, 15, 127 }, { 130, 120, 1, 1, 16, 128 },
    { 200, 0, 1, 1, 31, 129 },      { 1, 200, 3, 1, 64, 150 }, { 40, 3, 18, 2, 8, 16 },
    { 255, 0, 1, 1, 8, 2147483647 }
};

static inline attn window_new(loci_rng *rng, range kind, window_size s, int past, int shift)
{
    attn a = attn_new(rng, kind, s.T, past + s.T, s.H, s.G, s.d, s.d, shift, shift);
    a.past = past;
    a.W = s.W;
    /* Equal strides of k and v are part of the contract. */
    assert_int_equal(a.k.ld, a.v.ld);
    return a;
}

static inline void check_window_attn(loci_window_attn_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 3);
    for (int i = 0; i < COUNT(window_sizes); i++)
        for (range kind = TINY; kind <= WHOLE; kind++) {
            const window_size s = window_sizes[i];
            const int shift = (i + (int)kind) % 4;
            attn a = window_new(&rng, kind, s, s.past, shift);
            mat o = mat_new(&rng, UNSET, s.T, s.H * s.d, shift, shift); /* o is written, not read */
            char what[96];
            snprintf(what, sizeof what, "window T %d past %d H %d G %d d %d W %d range %d", s.T,
                     s.past, s.H, s.G, s.d, s.W, kind);
            fn(o.at.f, o.ld, kind == TINY ? NULL : a.lse.at.f, a.q.at.f, a.q.ld, a.k.at.f, a.v.at.f,
               a.k.ld, s.T, s.past, s.H, s.G, s.d, s.W, a.scale);
            attn_forward_check(&a, &o, NULL, kind == TINY ? NULL : &a.lse, what);
            mat_intact(&o, what);
            mat_intact(&a.lse, what);
            mat_free(&o);
            attn_free(&a);
        }
}

static inline void check_window_attn_bwd(loci_window_attn_bwd_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 4);
    static const range kinds[] = { TINY, NORMAL, WHOLE };
    for (int i = 0; i < COUNT(window_sizes); i++)
        for (int form = 0; form < 3; form++) {
            const window_size s = window_sizes[i];
            const int shift = (i + form) % 4;
            attn a = window_new(&rng, kinds[form], s, 0, shift);
            attn_save_lse(&a);
            grads old = grads_new(&rng, &a, kinds[form], shift, shift), got = grads_copy(&old);
            char what[96];
            snprintf(what, sizeof what, "window bwd T %d H %d G %d d %d W %d form %d", s.T, s.H,
                     s.G, s.d, s.W, form);
            fn(got.dq.at.f, got.dq.ld, got.dk.at.f, got.dv.at.f, got.dk.ld, a.dout.at.f, a.dout.ld,
               a.q.at.f, a.q.ld, a.k.at.f, a.v.at.f, a.k.ld, a.o.at.f, a.o.ld, a.lse.at.f, s.T, s.H,
               s.G, s.d, s.W, a.scale);
            attn_backward_check(&a, &old, &got, what);
            grads_free(&old);
            grads_free(&got);
            attn_free(&a);
        }
}

#endif
