/* test_dispatch.c - the table of kernels: what is chosen, what is listed, what is measured.
 *
 * Goal: without flags everything is the reference, more flags reach more lines; the list answers
 * outside its range; every implementation that runs here has at least one size
 * whose measurement is sane. */
#include <stdio.h>
#include "kernel_test.h"

static void test_reference_without_flags(void **state)
{
    (void)state;
    loci_kernels k;
    loci_kernels_init(&k, 0);
#define LOCI_FAMILY(family) assert_true(k.family == loci_##family##_ref);
#include "kernel/families.inc"
#undef LOCI_FAMILY
}

/* Written out by hand for one family: each set of flags reaches what its lines say. */
static void test_choice(void **state)
{
    (void)state;
#if defined(__x86_64__)
    loci_kernels k;
    loci_kernels_init(&k, LOCI_CPU_AVX2);
    assert_true(k.rmsnorm == loci_rmsnorm_avx2 && k.hamming == loci_hamming_avx2);
    loci_kernels_init(&k, LOCI_CPU_AVX2 | LOCI_CPU_AVX512);
    assert_true(k.rmsnorm == loci_rmsnorm_avx512 && k.gemm == loci_gemm_avx512);
    assert_true(k.hamming == loci_hamming_avx2); /* needs VPOPCNT too */
    loci_kernels_init(&k, ~0u);
    assert_true(k.hamming == loci_hamming_avx512);
#endif
}

static void test_list(void **state)
{
    (void)state;
    int n_ref = 0, n_families = 0;
    for (int i = 0; i < loci_kernel_count(); i++) {
        const loci_kernel_info *info = loci_kernel_at(i);
        const bool ref = strcmp(info->isa, "ref") == 0;
        assert_true(ref == (info->flags == 0)); /* nothing else may run everywhere */
        n_ref += ref;
    }
#define LOCI_FAMILY(family) n_families++;
#include "kernel/families.inc"
#undef LOCI_FAMILY
    assert_int_equal(n_ref, n_families);
    assert_null(loci_kernel_at(-1));
    assert_null(loci_kernel_at(loci_kernel_count()));
}

static void test_bench(void **state)
{
    (void)state;
    float *scratch = loci_alloc_aligned(LOCI_BENCH_FLOATS * sizeof(float));
    assert_non_null(scratch);
    for (int i = 0; i < loci_kernel_count(); i++) {
        const loci_kernel_info *info = loci_kernel_at(i);
        assert_non_null(loci_kernel_bench_size(i, 0));
        assert_null(loci_kernel_bench_size(i, 100));
        /* The reference would take a minute. */
        if (info->flags == 0 || info->flags & ~loci_cpu_detect()) continue;
        for (int s = 0; loci_kernel_bench_size(i, s); s++) {
            const loci_kernel_time t = loci_kernel_bench(i, s, 0.0, scratch);
            assert_true(t.seconds > 0 && t.seconds < 10 && t.bytes > 0 && t.flops >= 0);
        }
    }
    assert_null(loci_kernel_bench_size(-1, 0));
    assert_null(loci_kernel_bench_size(loci_kernel_count(), 0));
    assert_null(loci_kernel_bench_size(0, -1));
    loci_free_aligned(scratch);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_without_flags),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
