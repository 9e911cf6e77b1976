/* bench.c - the public face of the kernels' measurements: rows are the listed implementations, each
 * at every size of its family; and the names of the ones that would be chosen. */
#include "loci/bench.h"
#include <stdio.h>
#include <string.h>
#include "base/base.h"
#include "kernel/kernel.h"

/* Row `row` in the order of the list: *kernel and *size; false behind the last one, *kernel then
 * the number of rows. */
static bool find_row(int row, int *kernel, int *size)
{
    int before = 0;
    for (int i = 0; i < loci_kernel_count(); i++)
        for (int s = 0; loci_kernel_bench_size(i, s); s++, before++)
            if (before == row) {
                *kernel = i;
                *size = s;
                return true;
            }
    *kernel = before;
    return false;
}

int loci_bench_kernel_count(void)
{
    int rows, size;
    (void)find_row(-1, &rows, &size);
    return rows;
}

loci_status loci_bench_kernel(int i, double seconds, loci_bench_row *row, loci_error *err)
{
    int kernel, size;
    memset(row, 0, sizeof *row);
    if (i < 0 || !find_row(i, &kernel, &size))
        return loci_fail(err, LOCI_EINVAL, "kernel row %d: there are %d", i,
                         loci_bench_kernel_count());
    if (!(seconds >= 0.0 && seconds <= 60.0))
        return loci_fail(err, LOCI_EINVAL, "%g seconds for a kernel: want 0..60", seconds);
    const loci_kernel_info *info = loci_kernel_at(kernel);
    const bool available = (info->flags & ~loci_cpu_detect()) == 0;
    loci_kernel_time time = { 0 };
    if (available && seconds > 0.0) {
        float *scratch = loci_alloc_aligned(LOCI_BENCH_FLOATS * sizeof *scratch);
        if (!scratch)
            return loci_fail(err, LOCI_ENOMEM, "no memory for %d floats", (int)LOCI_BENCH_FLOATS);
        time = loci_kernel_bench(kernel, size, seconds, scratch);
        loci_free_aligned(scratch);
    }
    *row = (loci_bench_row){ .family = info->family,
                             .isa = info->isa,
                             .size = loci_kernel_bench_size(kernel, size),
                             .seconds = time.seconds,
                             .available = available };
    if (time.seconds > 0.0) {
        row->gflops = 1e-9 * time.flops / time.seconds;
        row->gbytes = 1e-9 * time.bytes / time.seconds;
    }
    return LOCI_OK;
}

/* Is line i what dispatch.c chooses for its family: the last usable one? */
static bool is_chosen(int i, unsigned flags)
{
    const loci_kernel_info *k = loci_kernel_at(i);
    if (k->flags & ~flags) return false;
    for (int j = i + 1; j < loci_kernel_count(); j++)
        if (strcmp(loci_kernel_at(j)->family, k->family) == 0 &&
            (loci_kernel_at(j)->flags & ~flags) == 0)
            return false;
    return true;
}

loci_status loci_bench_kernels_for(const char *cpu, char *text, size_t cap, loci_error *err)
{
    unsigned flags = 0;
    size_t used = 0;
    if (cap > 0) text[0] = '\0';
    const loci_status st = loci_cpu_limit(cpu ? cpu : "native", loci_cpu_detect(), &flags, err);
    for (int i = 0; st == LOCI_OK && i < loci_kernel_count(); i++) {
        const loci_kernel_info *k = loci_kernel_at(i);
        if (!is_chosen(i, flags)) continue;
        const int n =
            snprintf(text + used, cap - used, "%s%s=%s", used ? " " : "", k->family, k->isa);
        if (n < 0 || (size_t)n >= cap - used) {
            if (used < cap) text[used] = '\0'; /* whole pairs only */
            break;
        }
        used += (size_t)n;
    }
    return st;
}
