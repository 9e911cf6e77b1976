/* serve_test.h - what the tests of ingest and of streams on the GPU share: their model, and numbers by
 * name that are compared with the CPU's.  Included first: it brings cmocka.
 *
 * What rounding may do is measured on the CPU as in test_slow_gpu_pass.c: weights moved at random by 2^-8
 * of their size, and the root mean square of what that changes, times FACTOR. */
#ifndef TESTS_CUDA_SERVE_TEST_H
#define TESTS_CUDA_SERVE_TEST_H

#include "model_test.h"
#include "model/gpu/gpu_serve_impl.h"

#define SEED UINT64_C(20261127)

enum { SAMPLES = 3 };
static const double FACTOR = 3.0;

/* The small shape with a second lower layer and more picks. */
static inline loci_hparams serve_shape(void)
{
    loci_hparams hp = small_shape();
    hp.n_lower = 2;
    hp.top_k = 5;
    return hp;
}

static inline loci_hparams shape_with_summaries(void)
{
    loci_hparams hp = serve_shape();
    hp.d_summary = 64;
    hp.content_bits4 = 1;
    return hp;
}

static inline float *make_params(const loci_hparams *hp)
{
    return random_params(hp, 5, SEED);
}

static inline float *moved_params(const loci_hparams *hp, const float *base, int sample)
{
    const size_t n = loci_param_floats(hp);
    float *moved = loci_alloc_aligned(n * sizeof *moved);
    assert_non_null(moved);
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 77 + (uint64_t)sample);
    move_params(moved, base, n, &rng);
    return moved;
}

static inline int32_t *random_ids(const loci_hparams *hp, size_t n, uint64_t seed)
{
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    int32_t *ids = malloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(16 + loci_rng_below(&rng, (uint32_t)hp->vocab - 16));
    return ids;
}

/* ---- numbers by name, some rows each ------------------------------------------------------------ */

enum { SERIES = 4 };
typedef struct {
    const char *name;
    float *x;
    size_t rows, cols;
} series;
typedef struct {
    series s[SERIES];
    int n;
} result;

static inline float *add_series(result *r, const char *name, size_t rows, size_t cols)
{
    float *x = calloc(rows * cols, sizeof *x);
    assert_non_null(x);
    assert_true(r->n < SERIES);
    r->s[r->n++] = (series){ name, x, rows, cols };
    return x;
}

static inline void free_result(result *r)
{
    for (int i = 0; i < r->n; i++) free(r->s[i].x);
}

static inline double rms_off(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(b[i])) return INFINITY;
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sqrt(sum / (double)n);
}

/* moved[]: the CPU's results with moved weights.  All numbers of a series together, and each row alone
 * within four times that: a wrong row would drown in many. */
static inline void compare(const result *cpu, const result *got, const result *moved)
{
    bool ok = true;
    for (int i = 0; i < cpu->n; i++) {
        const series *a = &cpu->s[i], *b = &got->s[i];
        const size_t n = a->rows * a->cols;
        double limit = 0.0, size = 0.0, worst = 0.0;
        size_t at = 0;
        for (int k = 0; k < SAMPLES; k++) {
            const double d = rms_off(a->x, moved[k].s[i].x, n);
            limit += d * d / SAMPLES;
        }
        limit = FACTOR * sqrt(limit);
        for (size_t j = 0; j < n; j++) size += (double)a->x[j] * a->x[j] / (double)n;
        size = sqrt(size);
        const double off = rms_off(a->x, b->x, n);
        for (size_t r = 0; r < a->rows; r++) {
            const double d = rms_off(a->x + r * a->cols, b->x + r * a->cols, a->cols);
            if (d > worst) worst = d, at = r;
        }
        const bool good = off <= limit && worst <= 8.0 * limit;
        print_message("  %-9s size %.3e off %.3e limit %.3e, worst row %zu off %.3e%s\n", a->name,
                      size, off, limit, at, worst, good ? "" : "   WRONG");
        if (!(limit < 0.25 * size)) fail_msg("%s: the limit says nothing", a->name);
        ok = ok && good;
    }
    assert_true(ok);
}

#endif
