/* open.c - which model the command uses, and opening it with its banks. */
#include "cli.h"
#include <string.h>
#include <unistd.h>

static const char shipped[] = "loci-m";

/* models/ beside build/ in a source tree, share/loci/models/ beside bin/ when installed. */
const char *model_dir(const char *given)
{
    static char path[4200];
    static const char *const place[] = { "../models", "../share/loci/models" };
    if (given) return given;
    char exe[4000];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return shipped;
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash) *slash = '\0';
    for (int i = 0; i < COUNT(place); i++) {
        snprintf(path, sizeof path, "%s/%s/%s", exe, place[i], shipped);
        if (access(path, R_OK) == 0) return path;
    }
    return path;
}

loci_status open_engine(loci_engine **e, const engine_args *a, loci_error *err)
{
    loci_engine_options o = loci_engine_options_default();
    o.model_dir = model_dir(a->model);
    o.threads = (int)a->threads;
    o.cpu = a->cpu;
    o.compute = a->compute;
    o.mode = a->mode;
    o.expert_bytes = (uint64_t)a->expert_mib << 20;
    o.device = a->device;
    return loci_engine_open(e, &o, err);
}

loci_status open_banks(loci_bank **bank, const arg_list *dirs, loci_engine *e, loci_error *err)
{
    for (int i = 0; i < dirs->n; i++) {
        const loci_status st = loci_bank_open(&bank[i], e, dirs->item[i], LOCI_BANK_READ, err);
        if (st == LOCI_OK) continue;
        close_banks(bank, i);
        return st;
    }
    return LOCI_OK;
}

void close_banks(loci_bank **bank, int n)
{
    for (int i = 0; i < n; i++) loci_bank_close(bank[i]);
}
