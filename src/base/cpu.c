/* cpu.c - what this processor and its operating system can do, found at run time, so that one
 * binary runs on any machine and uses what is there. */
#include "base/base.h"
#include <sched.h>
#include <string.h>
#include <unistd.h>

unsigned loci_cpu_detect(void)
{
    unsigned flags = 0;
#if defined(__x86_64__)
    /* The compiler's run-time checks ask the OS (XGETBV) as well as CPUID. */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) flags |= LOCI_CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        flags |= LOCI_CPU_AVX512;
        if (__builtin_cpu_supports("avx512vnni")) flags |= LOCI_CPU_VNNI;
        if (__builtin_cpu_supports("avx512bf16")) flags |= LOCI_CPU_BF16;
        if (__builtin_cpu_supports("avx512vpopcntdq")) flags |= LOCI_CPU_VPOPCNT;
    }
#endif
    return flags;
}

loci_status loci_cpu_limit(const char *name, unsigned have, unsigned *flags, loci_error *err)
{
    if (strcmp(name, "native") == 0 || strcmp(name, "avx512") == 0) *flags = have;
    else if (strcmp(name, "avx2") == 0) *flags = have & (unsigned)LOCI_CPU_AVX2;
    else if (strcmp(name, "ref") == 0) *flags = 0;
    else
        return loci_fail(err, LOCI_EINVAL, "cpu \"%s\": expected native, avx512, avx2 or ref", name);
    return LOCI_OK;
}

int loci_cpu_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}
