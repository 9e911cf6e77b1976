/* machine.c - what this process runs on, for the numbers that it prints. */
#include "cli.h"
#include <math.h>
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

double energy_joules(loci_energy_reading r)
{
    return r.cpu_joules + r.gpu_joules;
}

bool energy_known(loci_energy_reading r)
{
    return r.has_cpu || r.has_gpu;
}

json_t *energy_json(loci_energy *e)
{
    const loci_energy_reading r = e ? loci_energy_read(e) : (loci_energy_reading){ 0 };
    json_t *o = json_object();
    put_real(o, "cpu_joules", r.has_cpu ? r.cpu_joules : NAN);
    put_real(o, "gpu_joules", r.has_gpu ? r.gpu_joules : NAN);
    put_real(o, "kwh", energy_known(r) ? energy_joules(r) / 3.6e6 : NAN);
    put_text(o, "source", e ? loci_energy_source(e) : "not available");
    return o;
}

const char *build_commit(void)
{
#ifdef LOCI_COMMIT
    return LOCI_COMMIT;
#else
    return "unknown";
#endif
}
