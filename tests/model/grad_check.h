/* grad_check.h - analytic gradients against finite differences, and small models to try them on.
 *
 * D(h) = (f(p + h) - f(p - h)) / 2h has an error of a h^2 + b h^4 + noise / h.  From steps h, 2h and
 * 4h two extrapolations follow, R1 from (h, 2h) and R2 from (2h, 4h); their distance bounds what the
 * extrapolation leaves.  The noise is that of f.  The reference kernels sum in double, so a term of
 * f has gone through as many roundings as there were f32 stores on its way; they add like a random
 * walk: sqrt(stores) * 2^-24 of its size, and f has that times the root of its terms' summed
 * squares, which the loss function reports.  Tolerance: 4 deviations of both.
 * A tolerance can thus grow where f has a kink; at the end all of them together must be at most
 * 5 % of the gradients, else the check says nothing and fails. */
#ifndef LOCI_TEST_GRAD_CHECK_H
#define LOCI_TEST_GRAD_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model/model_impl.h"

typedef struct {
    double sum;     /* the loss                                  */
    double squares; /* sum of the squares of the terms it adds up */
} loss_value;
typedef loss_value loss_fn(void *ctx);

typedef struct {
    loss_fn *loss;
    void *ctx;
    double noise, sum_tol2, sum_grad2;
    int n, n_wrong;
} grad_check;

typedef struct {
    const char *name;
    float *value;
    const float *grad;
    size_t n;
} grad_array;

static inline void add_term(loss_value *v, double x)
{
    v->sum += x;
    v->squares += x * x;
}

/* A sum of n terms of about one size. */
static inline void add_sum(loss_value *v, double x, int64_t n)
{
    v->sum += x;
    if (n > 0) v->squares += x * x / (double)n;
}

/* sum r[i] y[i] */
static inline void add_dot(loss_value *v, const float *r, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) add_term(v, (double)r[i] * y[i]);
}

/* stores: f32 stores between an input and a term of the loss. */
static inline grad_check grad_check_begin(loss_fn *loss, void *ctx, int stores)
{
    const loss_value v = loss(ctx);
    grad_check c = { loss, ctx, 0x1p-24 * sqrt(stores * v.squares), 0.0, 0.0, 0, 0 };
    return c;
}

/* Move n values along v by `step`; returns D(step).  saved holds the values. */
static inline double difference(grad_check *c, float *value, const float *saved, const float *v,
                                size_t n, double step)
{
    double f[2], length = 0.0;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++)
            value[i] = (float)(saved[i] + (side ? -step : step) * (v ? v[i] : 1.0));
        f[side] = c->loss(c->ctx).sum;
        /* The step that f32 really took; along a direction the roundings average out. */
        if (n == 1) length += side ? saved[0] - (double)value[0] : (double)value[0] - saved[0];
    }
    if (n > 1) length = 2.0 * step;
    memcpy(value, saved, n * sizeof *value);
    return (f[0] - f[1]) / length;
}

/* Extrapolated difference at step h and what it may be wrong by. */
static inline double extrapolate(grad_check *c, float *value, const float *saved, const float *v,
                                 size_t n, double h, double *tol)
{
    const double d1 = difference(c, value, saved, v, n, h);
    const double d2 = difference(c, value, saved, v, n, 2 * h);
    const double d4 = difference(c, value, saved, v, n, 4 * h);
    const double r1 = (4 * d1 - d2) / 3, r2 = (4 * d2 - d4) / 3;
    *tol = 4.0 * (fabs(r1 - r2) + c->noise / h) + 1e-12;
    return r1;
}

static inline void compare(grad_check *c, const char *name, size_t at, float *value, const float *v,
                           size_t n, double h, double analytic)
{
    double tol, small_tol;
    float *saved = malloc(n * sizeof *saved);
    memcpy(saved, value, n * sizeof *saved);
    double found = extrapolate(c, value, saved, v, n, h, &tol);
    /* Far more than noise: a kink (another chunk chosen) lies within 4h.  Try to stay before it. */
    if (tol > 40.0 * c->noise / h) {
        const double small = extrapolate(c, value, saved, v, n, h / 8, &small_tol);
        if (small_tol < tol) {
            found = small;
            tol = small_tol;
        }
    }
    free(saved);
    c->n++;
    c->sum_tol2 += tol * tol;
    c->sum_grad2 += analytic * analytic;
    if (!(fabs(analytic - found) <= tol)) {
        c->n_wrong++;
        print_error("%s[%zu]: gradient %.8g, difference %.8g, tolerance %.3g\n", name, at, analytic,
                    found, tol);
    }
}

/* `samples` elements of an array (all when there are fewer), step h. */
static inline void grad_check_samples(grad_check *c, const grad_array *a, int samples, double h,
                                      loci_rng *rng)
{
    const size_t n = a->n < (size_t)samples ? a->n : (size_t)samples;
    for (size_t i = 0; i < n; i++) {
        const size_t at = n == a->n ? i : loci_rng_below(rng, (uint32_t)a->n);
        compare(c, a->name, at, a->value + at, NULL, 1, h, a->grad[at]);
    }
}

/* One random direction through a whole array (a single value has been sampled already). */
static inline void grad_check_direction(grad_check *c, const grad_array *a, double h, loci_rng *rng)
{
    if (a->n == 1) return;
    float *v = malloc(a->n * sizeof *v);
    double analytic = 0.0;
    for (size_t i = 0; i < a->n; i++) {
        v[i] = (float)loci_rng_normal(rng);
        analytic += (double)v[i] * a->grad[i];
    }
    compare(c, a->name, 0, a->value, v, a->n, h, analytic);
    free(v);
}

static inline void grad_check_end(const grad_check *c)
{
    const double found = sqrt(c->sum_tol2 / (c->sum_grad2 + 1e-300));
    print_message("  %d gradients, tolerances %.2g of their size\n", c->n, found);
    assert_int_equal(c->n_wrong, 0);
    assert_true(found <= 0.05);
}

/* ---- small models ------------------------------------------------------------------------- */

/* Every dimension small and, where it may be, different from the others. */
static inline loci_hparams small_hparams(void)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.vocab = 40;
    hp.d_model = 64;
    hp.n_heads = 2;
    hp.n_kv_heads = 1;
    hp.n_lower = 1;
    hp.n_upper = 2;
    hp.n_groups = 2;
    hp.window = 16;
    hp.ffn = 48;
    hp.chunk = 16;
    hp.enc_dim = 64;
    hp.enc_mlp = 40;
    hp.n_landmarks = 2;
    hp.d_landmark = 24;
    hp.d_key = 16;
    hp.d_value = 16;
    hp.read_heads = 3;
    hp.router_hidden = 20;
    hp.read_mlp = 36;
    hp.top_k = 2;
    return hp;
}

static inline void fill_normal(float *x, size_t n, double deviation, loci_rng *rng)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)(deviation * loci_rng_normal(rng));
}

static inline float *normal_array(size_t n, double deviation, loci_rng *rng)
{
    float *x = loci_alloc_aligned((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    fill_normal(x, n, deviation, rng);
    return x;
}

/* A model whose parameters and gradients lie in two arrays of loci_param_floats. */
typedef struct {
    loci_model m;
    loci_params g;
    float *base, *grad;
    size_t n;
} small_model;

/* Every tensor random, the zero-initialised ones too: a zero would hide a wrong gradient. */
static inline void small_model_open(small_model *s, const loci_hparams *hp, uint64_t seed)
{
    loci_param_info info[512];
    loci_rng rng;
    memset(s, 0, sizeof *s);
    s->m.hp = *hp;
    loci_kernels_init(&s->m.k, 0);
    s->n = loci_param_floats(hp);
    s->base = loci_alloc_aligned(s->n * sizeof(float));
    s->grad = loci_alloc_aligned(s->n * sizeof(float));
    assert_non_null(s->base);
    assert_non_null(s->grad);
    loci_params_bind(&s->m.p, hp, s->base);
    loci_params_bind(&s->g, hp, s->grad);
    loci_rng_seed(&rng, seed);
    const int n = loci_param_list(hp, info, 512);
    assert_in_range(n, 1, 512);
    for (int i = 0; i < n; i++) {
        loci_mat *w = (loci_mat *)((char *)&s->m.p + info[i].offset);
        const double deviation = w->cols == 1 ? 0.5 : 1.0 / sqrt(w->cols);
        fill_normal(w->data, (size_t)w->rows * w->cols, deviation, &rng);
    }
    for (int g = 0; g < hp->n_groups; g++) *(float *)s->m.p.read[g].log_tau.data = 1.5f;
}

static inline void small_model_close(small_model *s)
{
    loci_free_aligned(s->base);
    loci_free_aligned(s->grad);
}

static inline grad_array mat_array(const char *name, const loci_mat *w, const loci_mat *g)
{
    return (grad_array){ name, w->data, g->data, (size_t)w->rows * w->cols };
}

#endif
