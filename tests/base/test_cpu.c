/* Goal: a limit lowers what is there and never adds; the machine's own answers are sane.
 * Method: every name against every set of flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/base.h"

enum { ALL = LOCI_CPU_AVX2 | LOCI_CPU_AVX512 | LOCI_CPU_VNNI | LOCI_CPU_BF16 | LOCI_CPU_VPOPCNT };

static unsigned limit(const char *name, unsigned have)
{
    unsigned flags = ~0u;
    loci_error err = { 0 };
    assert_int_equal(loci_cpu_limit(name, have, &flags, &err), LOCI_OK);
    return flags;
}

static void test_limit_lowers(void **state)
{
    (void)state;
    for (unsigned have = 0; have <= ALL; have++) {
        assert_int_equal(limit("ref", have), 0);
        assert_int_equal(limit("avx2", have), have & LOCI_CPU_AVX2);
        assert_int_equal(limit("avx512", have), have);
        assert_int_equal(limit("native", have), have);
    }
}

static void test_unknown_names_are_refused(void **state)
{
    static const char *const names[] = { "", "AVX2", "avx", "avx2 ", "native\n", "sse" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned flags = 42;
        loci_error err = { 0 };
        assert_int_equal(loci_cpu_limit(names[i], ALL, &flags, &err), LOCI_EINVAL);
        assert_int_equal(flags, 42);
        assert_non_null(strstr(err.text, "expected ref, avx2, avx512 or native"));
    }
}

static void test_detected_flags_build_on_each_other(void **state)
{
    const unsigned have = loci_cpu_detect();
    (void)state;
    print_message("cpu flags %#x, %d cores\n", have, loci_cpu_cores());
#if defined(__aarch64__)
    assert_int_equal(have & ~(unsigned)LOCI_CPU_DOTPROD, 0);
    return;
#endif
    assert_int_equal(have & ~(unsigned)ALL, 0);
    if (have & LOCI_CPU_AVX512) assert_true(have & LOCI_CPU_AVX2);
    if (have & ~(unsigned)(LOCI_CPU_AVX2 | LOCI_CPU_AVX512)) assert_true(have & LOCI_CPU_AVX512);
}

static void test_cores_and_clock(void **state)
{
    (void)state;
    assert_true(loci_cpu_cores() >= 1);
    const double begin = loci_seconds();
    double now = begin;
    for (int i = 0; i < 1000; i++) {
        const double next = loci_seconds();
        assert_true(next >= now);
        now = next;
    }
    assert_true(now - begin < 60.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_lowers),
        cmocka_unit_test(test_unknown_names_are_refused),
        cmocka_unit_test(test_detected_flags_build_on_each_other),
        cmocka_unit_test(test_cores_and_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
