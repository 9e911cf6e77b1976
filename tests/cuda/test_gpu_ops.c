/* test_gpu_ops.c - every op of gpu.h against the scalar reference of kernel.h, or against a plain double
 * loop where the CPU has no such family.
 *
 * Goal: an op that is in ops.inc is right at any size, for empty ranges, pads and ties, writes nothing
 * but its outputs, and gives the same bits when it is called again.
 * Method: ops.inc makes one test a line; each calls its check (check_*.h).  An op without a check does
 * not compile.  Without a GPU every test is skipped, and says why; a build without CUDA holds the host
 * device (host/host.h) to the same checks. */
#include "gpu_test.h"
#include "check_gate.h"
#include "check_gemm.h"
#include "check_rows.h"
#include "check_move.h"
#include "check_attn.h"
#include "check_lists.h"
#include "check_score.h"
#include "check_code.h"
#include "check_weigh.h"
#include "check_read.h"
#include "check_order.h"
#include "check_mass.h"
#include "check_encode.h"
#include "check_tier.h"
#include "check_gist.h"
#include "check_head.h"
#include "check_optim.h"

static char why_not[512];

static int open_gpu(void **state)
{
    (void)state;
    loci_error err = { 0 };
    if (loci_gpu_open(&gpu, 0, &err) != LOCI_OK) snprintf(why_not, sizeof why_not, "%s", err.text);
    return 0;
}

static int close_gpu(void **state)
{
    (void)state;
    loci_gpu_close(gpu);
    return 0;
}

static void one_op(const char *name, void (*check)(void))
{
    if (!gpu) {
        print_message("%s: skipped: %s\n", name, why_not);
        skip();
    }
    forget();
    worst = 0.0;
    loci_rng_seed(&rng, SEED);
    printf("%-18s ", name);
    fflush(stdout);
    check();
    printf("worst relative error %.2e\n", worst);
    fflush(stdout);
}

#define LOCI_GPU_OP(name)                                                                          \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        one_op(#name, check_##name);                                                               \
    }
#include "cuda/ops.inc"
#undef LOCI_GPU_OP

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define LOCI_GPU_OP(name) cmocka_unit_test(test_##name),
#include "cuda/ops.inc"
#undef LOCI_GPU_OP
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
