/* gpu_none.c - a build without CUDA: there is no device, and it says how to get one. */
#include "cuda/gpu.h"
#include "base/base.h"
#include "loci/bench.h"

bool loci_gpu_built(void)
{
    return false;
}

loci_status loci_gpu_open(loci_gpu **out, int device, loci_error *err)
{
    *out = NULL;
    return loci_fail(
        err, LOCI_ENOTFOUND,
        "CUDA device %d: this build has no CUDA code (cmake --preset cuda makes one that has)",
        device);
}

/* ---- bench.h ---------------------------------------------------------------------------------- */
loci_status loci_bench_gpu_open(loci_bench_gpu **out, int device, loci_error *err)
{
    loci_gpu *g;
    *out = NULL;
    return loci_gpu_open(&g, device, err);
}

void loci_bench_gpu_close(loci_bench_gpu *b)
{
    (void)b;
}

const char *loci_bench_gpu_name(const loci_bench_gpu *b)
{
    (void)b;
    return "";
}

int loci_bench_gpu_count(void)
{
    return 0;
}

const char *loci_bench_gpu_op(int i)
{
    (void)i;
    return NULL;
}

loci_status loci_bench_gpu_run(loci_bench_gpu *b, int i, loci_bench_gpu_row *row, loci_error *err)
{
    (void)b;
    *row = (loci_bench_gpu_row){ 0 };
    return loci_fail(err, LOCI_EINVAL, "row %d: a build without CUDA has none", i);
}
