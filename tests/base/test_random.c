/* Goal: the stream of a seed never changes, and what is drawn from it has its distribution.
 * Method: first values from an independent implementation of the two published algorithms (seed
 * 0 begins with the value well known for this pair); moments and counts with bounds of five
 * standard deviations, so that a right generator fails with probability below 1e-6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "base/base.h"

static void test_first_values(void **state)
{
    static const struct {
        uint64_t seed, want[4];
    } cases[] = {
        { 0, { 0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c } },
        { 1, { 0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7 } },
        { 42, { 0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1 } },
        { UINT64_MAX,
          { 0x8f5520d52a7ead08, 0xc476a018caa1802d, 0x81de31c0d260469e, 0xbf658d7e065f3c2f } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        loci_rng r;
        loci_rng_seed(&r, cases[i].seed);
        for (int k = 0; k < 4; k++) assert_true(loci_rng_u64(&r) == cases[i].want[k]);
    }
}

static void test_mix(void **state)
{
    (void)state;
    assert_true(loci_rng_mix(0, 0) == 0xbc11d12493c1f79d);
    assert_true(loci_rng_mix(1, 0) == 0x3d206db92c0d0fef);
    assert_true(loci_rng_mix(0, 1) == 0xcba87674e39f3163);
    assert_true(loci_rng_mix(42, 7) == 0x334b95391b53263f);
    assert_true(loci_rng_mix(UINT64_MAX, UINT64_MAX) == 0x636d9a21d0e77b7d);
}

static void test_state_is_plain_data(void **state)
{
    loci_rng a, b;
    (void)state;
    loci_rng_seed(&a, 9);
    for (int i = 0; i < 100; i++) loci_rng_u64(&a);
    memcpy(&b, &a, sizeof a);
    for (int i = 0; i < 100; i++) assert_true(loci_rng_u64(&a) == loci_rng_u64(&b));
}

static void test_below_is_uniform(void **state)
{
    enum { N = 7, DRAWS = 70000 };
    int count[N] = { 0 };
    loci_rng r;
    (void)state;
    print_message("seed 11\n");
    loci_rng_seed(&r, 11);
    for (int i = 0; i < DRAWS; i++) {
        const uint32_t v = loci_rng_below(&r, N);
        assert_true(v < N);
        count[v]++;
    }
    const double mean = (double)DRAWS / N, deviation = sqrt(mean * (1.0 - 1.0 / N));
    for (int v = 0; v < N; v++) assert_true(fabs(count[v] - mean) < 5.0 * deviation);
}

/* With n = 3 * 2^30, 2^32 draws fall on n values: one value in three would come twice as often,
 * the lowest third if a draw were taken modulo n, each third value if it were scaled. */
static void test_below_has_no_bias_near_the_top(void **state)
{
    enum { DRAWS = 30000 };
    const uint32_t third = 1u << 30, n = 3 * third;
    int by_size[3] = { 0 }, by_rest[3] = { 0 };
    loci_rng r;
    (void)state;
    print_message("seed 12\n");
    loci_rng_seed(&r, 12);
    for (int i = 0; i < DRAWS; i++) {
        const uint32_t v = loci_rng_below(&r, n);
        assert_true(v < n);
        by_size[v / third]++;
        by_rest[v % 3]++;
    }
    const double deviation = sqrt(DRAWS * (1.0 / 3.0) * (2.0 / 3.0));
    for (int k = 0; k < 3; k++) {
        assert_true(fabs(by_size[k] - DRAWS / 3.0) < 5.0 * deviation);
        assert_true(fabs(by_rest[k] - DRAWS / 3.0) < 5.0 * deviation);
    }
    for (int i = 0; i < 100; i++) assert_int_equal(loci_rng_below(&r, 1), 0);
    for (int i = 0; i < 100; i++) assert_true(loci_rng_below(&r, UINT32_MAX) < UINT32_MAX);
}

static void test_unit_and_normal(void **state)
{
    enum { DRAWS = 100000 };
    double sum = 0, sum_n = 0, square = 0;
    loci_rng r;
    (void)state;
    loci_rng_seed(&r, 13);
    for (int i = 0; i < DRAWS; i++) {
        const double u = loci_rng_unit(&r);
        assert_true(u >= 0.0 && u < 1.0);
        sum += u;
    }
    for (int i = 0; i < DRAWS; i++) {
        const double v = loci_rng_normal(&r);
        assert_true(isfinite(v));
        sum_n += v;
        square += v * v;
    }
    assert_true(fabs(sum / DRAWS - 0.5) < 5.0 * sqrt(1.0 / 12.0 / DRAWS));
    assert_true(fabs(sum_n / DRAWS) < 5.0 / sqrt(DRAWS));
    assert_true(fabs(square / DRAWS - 1.0) < 5.0 * sqrt(2.0 / DRAWS));
}

static void test_normal_takes_two_draws(void **state)
{
    loci_rng a, b;
    (void)state;
    loci_rng_seed(&a, 5);
    loci_rng_seed(&b, 5);
    for (int i = 0; i < 1000; i++) {
        loci_rng_normal(&a);
        loci_rng_u64(&b);
        loci_rng_u64(&b);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_values),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_state_is_plain_data),
        cmocka_unit_test(test_below_is_uniform),
        cmocka_unit_test(test_below_has_no_bias_near_the_top),
        cmocka_unit_test(test_unit_and_normal),
        cmocka_unit_test(test_normal_takes_two_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
