/* test_optim.c - from gradients to new parameters.
 *
 * Goal: a step is clipping, AdamW and Muon as their equations say.  Method: the equations once
 * more in double and in the plainest way, over three steps with gradients of a fixed seed. */
#include <math.h>
#include "train_test.h"

enum { SLOTS = 3, STEPS = 3 };

static void config_of(loci_train_config *c, double muon)
{
    char text[2048];
    snprintf(text, sizeof text,
             "{" TINY_MODEL ", \"train\": {\"slots\": %d, \"lr\": 0.01, \"lr_min\": 0.001, "
             "\"muon\": %g, \"weight_decay\": 0.1, \"clip\": 2, \"warmup_tokens\": 100}, "
             "\"phases\": [{\"name\": \"p\", \"tokens\": 1000, \"seq_len\": 64, \"batch\": 1, "
             "\"routed\": true}]}",
             SLOTS, muon);
    MUST(loci_train_config_parse(c, text, "test", err));
}

/* x (r, c) <- a x + b A x + c A A x, A = x x^T. */
static void quintic(double *x, int r, int c)
{
    double *a = calloc((size_t)(r * r), sizeof *a), *ax = calloc((size_t)(r * c), sizeof *ax);
    double *aax = calloc((size_t)(r * c), sizeof *aax);
    assert_true(a && ax && aax);
    for (int i = 0; i < r; i++)
        for (int j = 0; j < r; j++)
            for (int k = 0; k < c; k++) a[i * r + j] += x[i * c + k] * x[j * c + k];
    for (int i = 0; i < r; i++)
        for (int j = 0; j < r; j++)
            for (int k = 0; k < c; k++) ax[i * c + k] += a[i * r + j] * x[j * c + k];
    for (int i = 0; i < r; i++)
        for (int j = 0; j < r; j++)
            for (int k = 0; k < c; k++) aax[i * c + k] += a[i * r + j] * ax[j * c + k];
    for (int i = 0; i < r * c; i++) x[i] = 3.4445 * x[i] - 4.775 * ax[i] + 2.0315 * aax[i];
    free(a);
    free(ax);
    free(aax);
}

typedef struct { /* (n) in double: what the optimiser holds in f32 */
    double *p, *m, *v, *g;
} plain;

static void plain_adamw(plain *x, size_t i, const loci_train_config *c, double lr, bool decay,
                        int step)
{
    const double b1 = c->beta1, b2 = c->beta2;
    x->m[i] = b1 * x->m[i] + (1 - b1) * x->g[i];
    x->v[i] = b2 * x->v[i] + (1 - b2) * x->g[i] * x->g[i];
    const double mean = x->m[i] / (1 - pow(b1, step + 1)), var = x->v[i] / (1 - pow(b2, step + 1));
    x->p[i] -= lr * (mean / (sqrt(var) + c->eps) + (decay ? c->weight_decay * x->p[i] : 0.0));
}

static void plain_muon(plain *x, size_t at, int rows, int cols, const loci_train_config *c,
                       double schedule)
{
    double *u = malloc((size_t)(rows * cols) * sizeof *u), square = 0.0;
    const bool tall = rows > cols;
    assert_non_null(u);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            const size_t k = at + (size_t)(i * cols + j);
            x->m[k] = 0.9 * x->m[k] + 0.1 * x->g[k];
            const double w = 0.1 * x->g[k] + 0.9 * x->m[k];
            u[tall ? j * rows + i : i * cols + j] = w;
            square += w * w;
        }
    for (int i = 0; i < rows * cols; i++) u[i] /= sqrt(square) + 1e-7;
    for (int s = 0; s < 5; s++) quintic(u, tall ? cols : rows, tall ? rows : cols);
    const double step = c->muon * schedule * sqrt(tall ? (double)rows / cols : 1.0);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            double *p = &x->p[at + (size_t)(i * cols + j)];
            *p -= c->lr * schedule * c->weight_decay * *p +
                  step * u[tall ? j * rows + i : i * cols + j];
        }
    free(u);
}

/* The tensor's place in the flat vector. */
static size_t place(const loci_optim *o, const loci_param_info *info)
{
    loci_params p;
    loci_params_bind(&p, &o->hp, o->param);
    const loci_mat *w = (const loci_mat *)(const void *)((const char *)&p + info->offset);
    return (size_t)((const float *)w->data - o->param);
}

/* Random gradients in all slots; their sum in x->g.  Returns its norm. */
static double fill_slots(loci_optim *o, plain *x, loci_rng *rng)
{
    double square = 0.0;
    memset(x->g, 0, o->n * sizeof *x->g);
    for (int i = 0; i < o->n_info; i++) {
        const size_t at = place(o, &o->info[i]);
        for (size_t k = at; k < at + (size_t)o->info[i].rows * (size_t)o->info[i].cols; k++) {
            for (int s = 0; s < SLOTS; s++) {
                o->slot[(size_t)s * o->n + k] = (float)loci_rng_normal(rng);
                x->g[k] += (double)o->slot[(size_t)s * o->n + k];
            }
            square += x->g[k] * x->g[k];
        }
    }
    return sqrt(square);
}

/* Parameters against the plain ones: AdamW entry by entry, Muon by the Frobenius norm of what is
 * off in a matrix. */
static void compare(const loci_optim *o, const plain *x, const loci_train_config *c, int step)
{
    const double ulp = ldexp(1.0, -24);
    /* A few roundings of p (|p| < 4) and of a step of at most lr / (1 - b1), each step. */
    const double adamw = (step + 1) * ulp * (4 * 4.0 + 16 * c->lr / (1 - c->beta1));
    for (int i = 0; i < o->n_info; i++) {
        const loci_param_info *info = &o->info[i];
        const size_t at = place(o, info), n = (size_t)info->rows * (size_t)info->cols;
        const double tall = info->rows > info->cols ? (double)info->rows / info->cols : 1.0;
        double worst = 0.0, off = 0.0, size = 0.0;
        for (size_t k = at; k < at + n; k++) {
            const double d = (double)o->param[k] - x->p[k];
            worst = fabs(d) > worst ? fabs(d) : worst;
            off += d * d;
            size += x->p[k] * x->p[k];
        }
        /* Three products of matrices of about unit norm in each of five passes, each an ulp of
         * that norm, and every pass lets an error grow by 3.4445 at most: 3.4445^5 = 485. */
        const double muon = (step + 1) * ulp * (4 * sqrt(size) + c->muon * sqrt(tall) * 15 * 485.0);
        const bool by_muon = c->muon > 0.0f && loci_muon_wants(info);
        if (by_muon ? sqrt(off) > muon : worst > adamw)
            fail_msg("step %d: %s is off by %.2e, bound %.2e", step, info->name,
                     by_muon ? sqrt(off) : worst, by_muon ? muon : adamw);
    }
}

static void check_steps(double muon)
{
    loci_train_config c;
    loci_optim o;
    loci_pool *pool;
    loci_kernels k;
    loci_rng rng;
    config_of(&c, muon);
    MUST(loci_optim_init(&o, &c, c.slots, err));
    MUST(loci_pool_open(&pool, 2, err));
    loci_kernels_init(&k, loci_cpu_detect());
    loci_rng_seed(&rng, 11);
    loci_params_init(o.param, &c.hp, 4);
    double *all = calloc(4 * o.n, sizeof *all);
    assert_non_null(all);
    plain x = { all, all + o.n, all + 2 * o.n, all + 3 * o.n };
    for (size_t i = 0; i < o.n; i++) x.p[i] = (double)o.param[i];
    int n_muon = 0;
    for (int step = 0; step < STEPS; step++) {
        const double norm = fill_slots(&o, &x, &rng), schedule = 1.0 / (step + 1);
        const double found = loci_optim_step(&o, pool, &k, &c, schedule, step);
        assert_true(norm > (double)c.clip && fabs(found - norm) <= 1e-5 * norm);
        for (size_t i = 0; i < o.n; i++) x.g[i] *= (double)c.clip / norm;
        for (int i = 0; i < o.n_info; i++) {
            const loci_param_info *w = &o.info[i];
            const size_t at = place(&o, w), n = (size_t)w->rows * (size_t)w->cols;
            if (muon > 0 && loci_muon_wants(w)) {
                plain_muon(&x, at, w->rows, w->cols, &c, schedule);
                n_muon++;
            } else
                for (size_t j = at; j < at + n; j++)
                    plain_adamw(&x, j, &c, (double)c.lr * schedule, w->decay, step);
        }
        compare(&o, &x, &c, step);
        for (size_t i = 0; i < SLOTS * o.n; i++) assert_true(o.slot[i] == 0.0f);
    }
    assert_int_equal(n_muon > 0, muon > 0);
    free(all);
    loci_pool_close(pool);
    loci_optim_free(&o);
}

static void test_adamw(void **state)
{
    (void)state;
    check_steps(0.0);
}

static void test_muon(void **state)
{
    (void)state;
    check_steps(0.05);
}

/* One gradient that is not finite: nothing moves, and the next step starts from clean slots. */
static void test_not_finite(void **state)
{
    (void)state;
    loci_train_config c;
    loci_optim o;
    loci_kernels k;
    config_of(&c, 0.05);
    MUST(loci_optim_init(&o, &c, c.slots, err));
    loci_kernels_init(&k, loci_cpu_detect());
    loci_params_init(o.param, &c.hp, 4);
    float *before = malloc(o.n * sizeof *before);
    assert_non_null(before);
    memcpy(before, o.param, o.n * sizeof *before);
    static const float bad[] = { NAN, INFINITY, 3e38f };
    for (int i = 0; i < 3; i++) {
        o.slot[o.n + 5] = bad[i];
        o.slot[2 * o.n + 5] = bad[i]; /* 3e38 twice: finite parts of a sum that is not */
        assert_false(isfinite(loci_optim_step(&o, NULL, &k, &c, 1.0, i)));
        assert_memory_equal(o.param, before, o.n * sizeof *before);
        for (size_t j = 0; j < SLOTS * o.n; j++) assert_true(o.slot[j] == 0.0f);
        for (size_t j = 0; j < o.n; j++) assert_true(o.m[j] == 0.0f && o.v[j] == 0.0f);
    }
    free(before);
    loci_optim_free(&o);
}

static void test_schedule(void **state)
{
    (void)state;
    loci_train_config c;
    config_of(&c, 0.0);
    assert_true(loci_schedule(&c, 0) > 0.0 && loci_schedule(&c, 0) < 0.011);
    for (int t = 1; t < 99; t++) assert_true(loci_schedule(&c, t) > loci_schedule(&c, t - 1));
    for (int t = 101; t <= 1000; t++) assert_true(loci_schedule(&c, t) < loci_schedule(&c, t - 1));
    assert_true(fabs(loci_schedule(&c, 500) - 0.55) < 1e-6); /* half of the cosine */
    assert_true(fabs(loci_schedule(&c, 1000) - 0.1) < 1e-6); /* lr_min / lr */
    assert_true(loci_schedule(&c, 5000) == loci_schedule(&c, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_muon),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
