/* dispatch.c - the table of implementations: which one runs, and the list for people. */
#include "base/base.h"
#include "kernel/kernel.h"

/* Later lines of kernels.inc overwrite earlier ones, so the reference is always there and the
 * fastest usable one wins.  Tests pass fewer flags to reach the slower ones. */
void loci_kernels_init(loci_kernels *k, unsigned cpu_flags)
{
#define LOCI_KERNEL(family, isa, flags)                                                            \
    if (((unsigned)(flags) & ~cpu_flags) == 0) k->family = loci_##family##_##isa;
#include "kernels.inc"
#undef LOCI_KERNEL
}

static const loci_kernel_info list[] = {
#define LOCI_KERNEL(family, isa, flags) { #family, #isa, (flags) },
#include "kernels.inc"
#undef LOCI_KERNEL
};

int loci_kernel_count(void)
{
    return (int)(sizeof list / sizeof *list);
}

const loci_kernel_info *loci_kernel_at(int i)
{
    return i < 0 || i >= loci_kernel_count() ? NULL : &list[i];
}
