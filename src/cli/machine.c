/* machine.c - what this process runs on, for the numbers that it prints. */
#include "cli.h"
#include <sched.h>
#include <string.h>
#include <time.h>

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[200];
    long long kb = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %lld kB", &kb) == 1) break;
    if (f) fclose(f);
    return kb * 1024;
}

int64_t count_threads(int64_t threads)
{
    cpu_set_t set;
    if (threads > 0) return threads;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

const char *cpu_name(char out[128])
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    snprintf(out, 128, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        snprintf(out, 128, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
    return out;
}

const char *build_commit(void)
{
#ifdef LOCI_COMMIT
    return LOCI_COMMIT;
#else
    return "unknown";
#endif
}
