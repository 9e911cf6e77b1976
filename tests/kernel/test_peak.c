/* Goal: every way to measure a peak does what it is counted for, whatever the processor offers less.
 * Method: no number of a second is looked at (machines differ); what each spell computes is compared
 * with the count of operations that it claims: ones summed so often, words read once each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/base.h"
#include "kernel/peak.h"

/* int8 spells add a product of ones (AVX) a lane, so their sums tell the operations. */
static void int8_counts(loci_peak_fn *fn)
{
    enum { ROUNDS = 1000 };
    int32_t out[16], first[16];
    const double ops = fn(0, first);
    assert_true(fn(ROUNDS, out) == ops);
    double sum = 0.0;
    for (int i = 0; i < 16; i++) sum += out[i] - first[i];
    assert_float_equal(sum, ops / 2 * ROUNDS, 0.0); /* a multiplication and an addition each */
}

static void products(void **state)
{
    (void)state;
    const unsigned flags = loci_cpu_detect();
    float y[16];
    assert_true(loci_peak_f32_ref(3, y) > 0.0 && loci_peak_int8_ref(3, y) > 0.0);
#if defined(__x86_64__)
    if (flags & LOCI_CPU_AVX2) assert_true(loci_peak_f32_avx2(3, y) == 2.0 * 8 * 12);
    if (flags & LOCI_CPU_AVX512) assert_true(loci_peak_f32_avx512(3, y) == 2.0 * 16 * 12);
    if (flags & LOCI_CPU_VNNI) int8_counts(loci_peak_int8_avx512);
    if (flags & LOCI_CPU_BF16) {
        float first[16];
        const double ops = loci_peak_bf16_avx512(0, first);
        loci_peak_bf16_avx512(1000, y);
        double sum = 0.0;
        for (int i = 0; i < 16; i++) sum += (double)(y[i] - first[i]);
        assert_float_equal(sum, ops / 2 * 1000, 0.0);
    }
#endif
    (void)flags;
    (void)int8_counts;
}

static void reads(void **state)
{
    (void)state;
    const unsigned flags = loci_cpu_detect();
    enum { WORDS = 4096 };
    uint64_t *x = loci_alloc_aligned(WORDS * sizeof *x);
    assert_non_null(x);
    (void)flags;
    /* One bit set anywhere changes the value: nothing is left out. */
    for (size_t at = 0; at < WORDS; at += 37) {
        memset(x, 0, WORDS * sizeof *x);
        x[at] = 1;
        assert_true(loci_peak_read_ref(x, WORDS * sizeof *x) == 1);
#if defined(__x86_64__)
        if (flags & LOCI_CPU_AVX2) assert_true(loci_peak_read_avx2(x, WORDS * sizeof *x) == 1);
        if (flags & LOCI_CPU_AVX512) assert_true(loci_peak_read_avx512(x, WORDS * sizeof *x) == 1);
#endif
    }
    loci_free_aligned(x);
}

/* Rates are there for what the flags allow and for nothing else, with and without a pool. */
static void rates(void **state)
{
    (void)state;
    const unsigned flags = loci_cpu_detect();
    loci_pool *pool;
    assert_int_equal(loci_pool_open(&pool, 2, NULL), LOCI_OK);
    for (int i = 0; i < 2; i++) {
        loci_pool *p = i ? pool : NULL;
        assert_true(loci_kernel_peak(LOCI_PEAK_F32, flags, p) > 0.0);
        assert_true(loci_kernel_peak(LOCI_PEAK_INT8, 0, p) > 0.0);
        assert_true(loci_kernel_peak(LOCI_PEAK_BF16, 0, p) == 0.0);
        assert_true((loci_kernel_peak(LOCI_PEAK_BF16, flags, p) > 0.0) ==
                    ((flags & LOCI_CPU_BF16) != 0));
    }
    void *x = loci_alloc_aligned(4 << 20);
    assert_non_null(x);
    assert_true(loci_kernel_read_peak(x, 4 << 20, flags, pool) > 0.0);
    assert_true(loci_kernel_read_peak(x, 4 << 20, 0, NULL) > 0.0);
    assert_true(loci_kernel_read_peak(x, 0, flags, NULL) == 0.0);
    loci_free_aligned(x);
    loci_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(reads),
        cmocka_unit_test(rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
