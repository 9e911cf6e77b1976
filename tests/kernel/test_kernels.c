/* test_kernels.c - every listed kernel that this processor can run, against its contract.
 *
 * Goal: a variant that is in kernels.inc is correct at any size, alignment and range of values.
 * Method: kernels.inc makes one test a line; each calls the check of its family (check_*.h), which
 * computes the truth in double and the bound from the values themselves.  A family without a check
 * does not compile. */
#include <stdio.h>
#include "check_attn.h"
#include "check_gemm.h"
#include "check_index.h"
#include "check_int.h"
#include "check_linear.h"
#include "check_router.h"
#include "check_vec.h"

#define LOCI_KERNEL(family, isa, flags)                                                            \
    static void family##_##isa(void **state)                                                       \
    {                                                                                              \
        (void)state;                                                                               \
        if ((unsigned)(flags) & ~loci_cpu_detect()) skip();                                        \
        check_##family(loci_##family##_##isa);                                                     \
    }
#include "kernel/kernels.inc"
#undef LOCI_KERNEL

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define LOCI_KERNEL(family, isa, flags) cmocka_unit_test(family##_##isa),
#include "kernel/kernels.inc"
#undef LOCI_KERNEL
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
