/* cpu.c - what the machine at hand offers, asked at run time: instruction sets, cores, a clock.
 * One binary runs on any machine and uses what is there. */
#include "base/base.h"
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* ---- instruction sets -------------------------------------------------------------- */

#ifndef LOCI_CPU /* what a build may use at most (CMakeLists.txt) */
#define LOCI_CPU "native"
#endif

#if defined(__x86_64__)
/* Not every supported compiler knows F16C by name.  It uses the registers of AVX, so when AVX2
 * is usable the processor's word is enough. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29));
}

static unsigned detect(void)
{
    unsigned flags = 0;
    /* These ask the operating system (XGETBV) as well as the processor. */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return 0;
    flags |= LOCI_CPU_AVX2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return flags;
    flags |= LOCI_CPU_AVX512;
    if (__builtin_cpu_supports("avx512vnni")) flags |= LOCI_CPU_VNNI;
    if (__builtin_cpu_supports("avx512bf16")) flags |= LOCI_CPU_BF16;
    if (__builtin_cpu_supports("avx512vpopcntdq")) flags |= LOCI_CPU_VPOPCNT;
    return flags;
}
#elif defined(__aarch64__)
static unsigned detect(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? LOCI_CPU_DOTPROD : 0;
}
#else
static unsigned detect(void)
{
    return 0;
}
#endif

unsigned loci_cpu_detect(void)
{
    unsigned flags = 0; /* of a build for no known set: the reference */
    (void)loci_cpu_limit(LOCI_CPU, detect(), &flags, NULL);
    return flags;
}

loci_status loci_cpu_limit(const char *name, unsigned have, unsigned *flags, loci_error *err)
{
    static const unsigned avx2 = LOCI_CPU_AVX2;
    static const unsigned avx512 =
        LOCI_CPU_AVX2 | LOCI_CPU_AVX512 | LOCI_CPU_VNNI | LOCI_CPU_BF16 | LOCI_CPU_VPOPCNT;
    if (strcmp(name, "ref") == 0)
        *flags = 0;
    else if (strcmp(name, "avx2") == 0)
        *flags = have & avx2;
    else if (strcmp(name, "avx512") == 0)
        *flags = have & avx512;
    else if (strcmp(name, "native") == 0)
        *flags = have;
    else
        return loci_fail(err, LOCI_EINVAL, "cpu: expected ref, avx2, avx512 or native, found %.40s",
                         name);
    return LOCI_OK;
}

/* ---- cores and clock --------------------------------------------------------------- */

int loci_cpu_cores(void)
{
    cpu_set_t set;
    /* Refused on machines with more processors than the set can hold. */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n <= INT32_MAX ? (int)n : 1;
}

int64_t loci_cpu_cache_bytes(void)
{
    /* The processor's own word, sysconf's too, may count the caches of a whole host that a virtual
     * machine has a part of; the kernel's table is what was given to this one. */
    int64_t bytes = 0;
    for (int index = 0; index < 8; index++) {
        char path[80];
        long long n = 0;
        char unit = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        FILE *f = fopen(path, "r");
        if (!f) break;
        if (fscanf(f, "%12lld%c", &n, &unit) == 2 && n > 0 && (unit == 'K' || unit == 'M')) {
            const int64_t size = n * (unit == 'K' ? 1024 : 1048576);
            if (size > bytes) bytes = size;
        }
        fclose(f);
    }
    return bytes;
}

double loci_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail: the clock exists and t is ours */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
