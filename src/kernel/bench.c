/* bench.c - one representative call of every family, timed: what `bench kernels` prints.
 *
 * A family has a table of named sizes and a function that lays its matrices out in the caller's
 * scratch and calls the kernel once.  The layout is a few pointer additions, so the same function
 * fills the matrices on its first run and is timed on the later ones. */
#include "kernel/bench_attn.h"
#include "kernel/bench_product.h"
#include "kernel/bench_rows.h"

static const struct {
    any_fn *fn;
    const size *sizes; /* up to an entry without a name */
    work (*once)(any_fn *fn, const int *d, pool *p);
} list[] = {
#define LOCI_KERNEL(family, isa, flags)                                                            \
    { (any_fn *)loci_##family##_##isa, family##_sizes, once_##family },
#include "kernels.inc"
#undef LOCI_KERNEL
};

const char *loci_kernel_bench_size(int i, int i_size)
{
    if (i < 0 || i >= loci_kernel_count() || i_size < 0) return NULL;
    for (int s = 0; s < i_size; s++)
        if (!list[i].sizes[s].name) return NULL;
    return list[i].sizes[i_size].name;
}

loci_kernel_time loci_kernel_bench(int i, int i_size, double seconds, float *scratch)
{
    const int *d = list[i].sizes[i_size].d;
    pool p = { scratch, true, 1 };
    const work w = list[i].once(list[i].fn, d, &p); /* fills, and warms the caches */
    const double begin = loci_seconds();
    double best = 0, now = begin;
    /* Batches of 1, 2, 4 .. calls until one is long enough for the clock, then of that many. */
    for (int calls = 1, batches = 0; batches < 2 || now - begin < seconds; batches++) {
        const double start = now;
        for (int c = 0; c < calls; c++) {
            p = (pool){ scratch, false, 0 };
            list[i].once(list[i].fn, d, &p);
        }
        now = loci_seconds();
        const double each = (now - start) / calls;
        if (best == 0 || each < best) best = each;
        if (now - start < 1e-4 && calls < 1 << 20) calls *= 2;
    }
    return (loci_kernel_time){ best, w.flops, w.bytes };
}
