/* Goal: the vectors that are found by int8 copies first are those that scoring every vector finds.
 *
 * Method: landmark_topk over all of them, whatever their number and lengths, many of them equal, some
 * zero, one not set; queries of many lengths, near to a vector, zero and not finite; every instruction
 * set that this processor has. */
#include "../kernel/kernel_test.h"
#include "engine/roots.h"

static const char *const isa_names[] = { "ref", "avx2", "avx512" };

static void fill(loci_rng *rng, float *x, int n, float size)
{
    for (int i = 0; i < n; i++) x[i] = size * (float)loci_rng_normal(rng);
}

/* Vectors of which some are copies of others, some a thousand times longer. */
static void make_vectors(loci_rng *rng, float *x, int n, int d)
{
    for (int i = 0; i < n; i++) {
        const uint32_t kind = loci_rng_below(rng, 8);
        fill(rng, x + i * d, d, kind == 0 ? 10.0f : kind == 1 ? 0.001f : 0.05f);
        if (kind == 2) memset(x + i * d, 0, (size_t)d * sizeof *x);
        if (kind == 3 && i > 0)
            memcpy(x + i * d, x + (int)loci_rng_below(rng, (uint32_t)i) * d, (size_t)d * sizeof *x);
    }
}

static void check(const loci_kernels *k, loci_roots *r, const float *x, int n, int d,
                  const float *u, int K)
{
    loci_scored best[LOCI_GIST_DOCS];
    int64_t list[LOCI_GIST_DOCS];
    float *no_bias = calloc((size_t)n, sizeof *no_bias);
    const int have = k->landmark_topk(best, 0, K, u, x, no_bias, 1.0f, 1, d, n, 0);
    const int found = loci_roots_best(r, u, K, list);
    assert_int_equal(found, have);
    for (int i = 0; i < have; i++) {
        int in = 0;
        for (int j = 0; j < found; j++) in += list[j] == best[i].index;
        if (in != 1)
            fail_msg("n %d, d %d, K %d: vector %d, score %g, is there %d times", n, d, K,
                     (int)best[i].index, (double)best[i].score, in);
        assert_true(i == 0 || list[i] > list[i - 1]);
    }
    free(no_bias);
}

static void check_size(const loci_kernels *k, loci_rng *rng, int n, int d)
{
    loci_error err;
    loci_roots *r;
    float *x = calloc((size_t)n * (size_t)d, sizeof *x), *u = calloc((size_t)d, sizeof *u);
    make_vectors(rng, x, n, d);
    assert_int_equal(loci_roots_open(&r, k, n, d, &err), LOCI_OK);
    memset(x + (n - 1) * d, 0, (size_t)d * sizeof *x); /* the last one is not set */
    for (int i = 0; i + 1 < n; i++) loci_roots_set(r, i, x + i * d);
    for (int q = 0; q < 24; q++) {
        const int K = q % 3 == 0 ? 1 : q % 3 == 1 ? 17 : LOCI_GIST_DOCS;
        fill(rng, u, d, q % 4 == 0 ? 1e-6f : q % 4 == 1 ? 1.0f : 30.0f);
        if (q % 4 == 3)
            memcpy(u, x + (int)loci_rng_below(rng, (uint32_t)n) * d, (size_t)d * sizeof *u);
        if (q == 22) memset(u, 0, (size_t)d * sizeof *u);
        check(k, r, x, n, d, u, K);
    }
    u[d / 2] = NAN;
    int64_t list[LOCI_GIST_DOCS];
    assert_true(loci_roots_best(r, u, LOCI_GIST_DOCS, list) <= LOCI_GIST_DOCS);
    loci_roots_close(r);
    free(x);
    free(u);
}

static void test_best(void **state)
{
    (void)state;
    static const int counts[] = { 1, 2, 31, 32, 33, 64, 65, 200, 1000, 4099 };
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    for (int isa = 0; isa < COUNT(isa_names); isa++) {
        loci_error err;
        loci_kernels k;
        unsigned flags;
        if (loci_cpu_limit(isa_names[isa], loci_cpu_detect(), &flags, &err) != LOCI_OK) continue;
        loci_kernels_init(&k, flags);
        for (int i = 0; i < COUNT(counts); i++) check_size(&k, &rng, counts[i], i % 2 ? 128 : 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_best) };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
