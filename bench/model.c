/* model.c - `loci bench ingest|decode|open|search`: what a user waits for, by depth of the bank, and
 * how far each part is from what this machine can do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "loci/bench.h"

enum { DEPTHS_MAX = 32 };

typedef struct {
    loci_bench_phase phase;
    loci_bench_model_options o;
    const char *depth, *model, *work, *type;
    int64_t threads, banks, units, repeat, seed;
    bool json, csv, quiet;
    int64_t peak; /* resident, the most that was seen in a row */
} model_args;

/* ---- one row of JSON or CSV a part ------------------------------------------------------------ */

static void put_rate(json_t *o, const char *key, double v)
{
    put_real(o, key, v > 0.0 ? v : NAN);
}

static void put_machine(json_t *o, const loci_bench_machine *w)
{
    char cpu[128];
    put_text(o, "cpu", cpu_name(cpu));
    put_text(o, "features", w->features);
    put_int(o, "threads", w->threads);
    put_int(o, "cache_bytes", w->cache_bytes);
    static const char *const key[2][5] = {
        { "read_gbytes_1", "cached_gbytes_1", "f32_gops_1", "bf16_gops_1", "int8_gops_1" },
        { "read_gbytes", "cached_gbytes", "f32_gops", "bf16_gops", "int8_gops" }
    };
    for (int all = 0; all < 2; all++) {
        const double rate[5] = { w->read[all], w->cached[all], w->f32[all], w->bf16[all],
                                 w->int8[all] };
        for (int i = 0; i < 5; i++) put_rate(o, key[all][i], 1e-9 * rate[i]);
    }
    put_text(o, "version", loci_version());
    put_text(o, "commit", build_commit());
}

static json_t *part_json(const loci_bench_model *b, const loci_bench_model_row *r, int i,
                         int64_t resident)
{
    const loci_bench_model_part *p = &r->part[i];
    const loci_model_info *m = loci_bench_model_info(b);
    json_t *o = json_object();
    put_text(o, "bench", loci_bench_phase_name(r->phase));
    put_int(o, "depth", r->depth);
    put_text(o, "part", p->name);
    put_real(o, "ms", 1e3 * p->seconds);
    put_rate(o, "floor_ms", 1e3 * p->floor_seconds);
    put_rate(o, "possible", p->floor_seconds / p->seconds);
    put_rate(o, "bytes", p->bytes);
    put_rate(o, "operations", p->operations);
    put_real(o, "median_ms", i == 0 ? 1e3 * r->median_seconds : NAN);
    put_real(o, "units_per_second", i == 0 ? r->units_per_second : NAN);
    put_int(o, "units", r->units);
    put_int(o, "bank_tokens", r->bank_tokens);
    put_int(o, "disk_bytes", r->disk_bytes);
    put_int(o, "resident_bytes", resident);
    put_real(o, "hit_rate", r->hit_rate);
    put_real(o, "consult_rate", r->consult_rate);
    put_real(o, "consult_rate_all", r->consult_rate_all);
    put_real(o, "joules", i == 0 ? r->joules : NAN);
    put_real(o, "kwh", i == 0 ? r->joules / 3.6e6 : NAN);
    put_int(o, "parameters", m->parameters);
    put_int(o, "weight_bytes", m->weight_bytes);
    put_machine(o, loci_bench_model_machine(b));
    return o;
}

/* ---- text --------------------------------------------------------------------------------------- */

static void print_machine(const loci_bench_model *b)
{
    const loci_bench_machine *w = loci_bench_model_machine(b);
    const loci_model_info *m = loci_bench_model_info(b);
    char cpu[128], weights[32], cache[32];
    printf("%s, %s, %d threads, cache %s, commit %s\n", cpu_name(cpu), w->features, w->threads,
           human_bytes((double)w->cache_bytes, cache), build_commit());
    printf("read      %.1f / %.1f GB/s, from the cache %.0f / %.0f (1 / all threads)\n",
           1e-9 * w->read[0], 1e-9 * w->read[1], 1e-9 * w->cached[0], 1e-9 * w->cached[1]);
    printf("multiply  f32 %.0f / %.0f, bf16 %.0f / %.0f, int8 %.0f / %.0f Gop/s\n",
           1e-9 * w->f32[0], 1e-9 * w->f32[1], 1e-9 * w->bf16[0], 1e-9 * w->bf16[1],
           1e-9 * w->int8[0], 1e-9 * w->int8[1]);
    printf("energy    %s\n", loci_bench_model_energy(b));
    printf("model     %.1fM parameters, %s\n", 1e-6 * (double)m->parameters,
           human_bytes((double)m->weight_bytes, weights));
}

/* "12.3", or "-" for what was not counted; width 10. */
static void print_cell(double v, double scale)
{
    if (v > 0.0)
        printf(" %10.4g", scale * v);
    else
        printf(" %10s", "-");
}

static void print_row(const loci_bench_model_row *r, int64_t resident)
{
    char text[32];
    printf("\n%s at %lld tokens: %.4g %ss/s, median %.4g ms; resident %s",
           loci_bench_phase_name(r->phase), (long long)r->depth, r->units_per_second,
           r->phase == LOCI_BENCH_INGEST ? "token" : r->part[0].name, 1e3 * r->median_seconds,
           human_bytes((double)resident, text));
    if (r->bank_tokens > 0)
        printf(", disk %.1f B/token", (double)r->disk_bytes / (double)r->bank_tokens);
    if (isfinite(r->hit_rate)) printf(", hit rate %.2f", r->hit_rate);
    if (isfinite(r->consult_rate))
        printf(", gates open %.2f (in all spells %.2f)", r->consult_rate, r->consult_rate_all);
    if (isfinite(r->joules)) printf(", %.3g J", r->joules);
    printf("\n%-12s %10s %10s %10s %10s %10s\n", "", "ms", "floor ms", "possible", "MB", "Mop");
    for (int i = 0; i < r->n_parts; i++) {
        const loci_bench_model_part *p = &r->part[i];
        printf("%-12s", p->name);
        print_cell(p->seconds, 1e3);
        print_cell(p->floor_seconds, 1e3);
        if (p->floor_seconds > 0.0 && p->seconds > 0.0)
            printf(" %8.0f %%", 100.0 * p->floor_seconds / p->seconds);
        else
            printf(" %10s", "-");
        print_cell(p->bytes, 1e-6);
        print_cell(p->operations, 1e-6);
        printf("\n");
    }
    fflush(stdout);
}

/* ---- running -------------------------------------------------------------------------------------- */

static int on_progress(void *ctx, int64_t done, int64_t total)
{
    model_args *a = ctx;
    const int64_t now = resident_bytes();
    (void)done, (void)total;
    if (now > a->peak) a->peak = now;
    return interrupted();
}

static void show(const loci_bench_model *b, const model_args *a, const loci_bench_model_row *r,
                 int64_t resident, bool first)
{
    if (!a->json && !a->csv) {
        print_row(r, resident);
        return;
    }
    for (int i = 0; i < r->n_parts; i++) {
        json_t *o = part_json(b, r, i, resident);
        if (a->json)
            print_json_row(o);
        else
            print_csv_row(o, first && i == 0);
    }
}

static loci_status run_depths(loci_bench_model *b, model_args *a, const int64_t *depth, int n,
                              loci_error *err)
{
    loci_status st = LOCI_OK;
    if (!a->json && !a->csv) print_machine(b);
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        loci_bench_model_row row;
        a->peak = 0;
        if (!a->quiet)
            fprintf(stderr, "%s: a bank of %lld tokens\n", loci_bench_phase_name(a->phase),
                    (long long)depth[i]);
        st = loci_bench_model_run(b, a->phase, depth[i], &row, err);
        if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
        if (st != LOCI_OK) break;
        const int64_t now = resident_bytes();
        show(b, a, &row, now > a->peak ? now : a->peak, i == 0);
    }
    return st;
}

/* A folder of its own below `where` ("" or NULL: the system's place for such); out has room for
 * 4096. */
static loci_status make_work(const char *where, char *out, loci_error *err)
{
    const char *tmp = getenv("TMPDIR");
    const char *base = where ? where : tmp && *tmp ? tmp : "/tmp";
    loci_status st = where ? make_folder(where, err) : LOCI_OK;
    if (st != LOCI_OK) return st;
    if (snprintf(out, 4096, "%s/loci-bench-XXXXXX", base) >= 4096)
        return set_error(err, LOCI_EINVAL, "--work: too long");
    return mkdtemp(out) ? LOCI_OK : set_error(err, LOCI_EIO, "%s", out);
}

static loci_status run(model_args *a, const int64_t *depth, int n, loci_error *err)
{
    char work[4096] = "";
    loci_bench_model *b = NULL;
    loci_status st = make_work(a->work, work, err);
    watch_signals();
    a->o.work_dir = work;
    if (st == LOCI_OK) st = loci_bench_model_open(&b, &a->o, err);
    if (st == LOCI_OK) st = run_depths(b, a, depth, n, err);
    loci_bench_model_close(b);
    if (*work) rmdir(work);
    return st;
}

/* ---- the four subcommands --------------------------------------------------------------------------- */

static const char *const about[LOCI_BENCH_PHASES] = {
    [LOCI_BENCH_INGEST] = "Time reading text into a bank that already holds so many tokens (a "
                          "unit: a token), and each "
                          "part of it alone on one thread.",
    [LOCI_BENCH_DECODE] =
        "Time a decoded token over a bank, by part.  The tokens are those of a text, so "
        "that runs read the same; a closed gate reads nothing, so how many were open is told.",
    [LOCI_BENCH_OPEN] =
        "Time what `loci ask` does up to the first token: engine, bank, answer; then the same with "
        "the bank's files not in the system's cache (cold).",
    [LOCI_BENCH_SEARCH] =
        "Time a random query through the banks, and the content of what it picks.",
};

static const char general[] =
    "  Banks are made by the real writer of segments from random landmarks, content and ids, some "
    "seconds for 16M tokens, in a temporary folder; its disk must have room (about 50 to 150 bytes "
    "a "
    "token) and is looked at first.  A floor is what a part cannot do without, bytes or "
    "operations, "
    "at the rates that this machine was just seen to have with all threads: possible = floor / "
    "time. "
    " Of several spells the quickest counts.";

static loci_status take_options(model_args *a, loci_error *err)
{
    if (a->json && a->csv) return set_error(err, LOCI_EINVAL, "--json and --csv: give one");
    if (a->model && a->o.config)
        return set_error(err, LOCI_EINVAL, "--model and --config: give one");
    if (a->type && !a->o.config)
        return set_error(err, LOCI_EINVAL, "--type is for the weights of a --config");
    if (a->type) a->o.dtype = a->type;
    if (!a->o.config) a->o.model_dir = model_dir(a->model);
    a->o.threads = (int)a->threads;
    a->o.banks = (int)a->banks;
    a->o.units = a->units;
    a->o.repeat = (int)a->repeat;
    a->o.seed = (uint64_t)a->seed;
    a->o.progress = on_progress;
    a->o.progress_ctx = a;
    return LOCI_OK;
}

static int bench_phase(loci_bench_phase phase, int argc, char **argv)
{
    model_args a = { .phase = phase,
                     .o = loci_bench_model_options_default(),
                     .depth = "0,8K,32K,128K,512K,1M,16M",
                     .banks = 1,
                     .repeat = 5,
                     .seed = 1 };
    char usage[80], text[1200];
    arg args[] = {
        { "depth", ARG_STR, &a.depth, 0, 0, "LIST",
          "tokens in the bank (default 0,8K,32K,128K,512K,1M,16M)" },
        { "model", ARG_STR, &a.model, 0, 0, "DIR", "model folder (default: the shipped one)" },
        { "config", ARG_STR, &a.o.config, 0, 0, "FILE",
          "generated weights in the shape of a training config instead" },
        { "type", ARG_STR, &a.type, 0, 0, "TYPE",
          "of generated weights: int8 (default), int4, bf16, f32" },
        { "text", ARG_STR, &a.o.text, 0, 0, "FILE",
          "whose tokens are decoded, instead of generated text" },
        { "banks", ARG_INT, &a.banks, 1, 100, "N", "that share the depth (default 1)" },
        { "units", ARG_INT, &a.units, 1, 1 << 28, "N",
          "tokens or queries of a spell (default 32K read, 64 decoded, 64 asked)" },
        { "repeat", ARG_INT, &a.repeat, 1, 1000, "N", "spells, the quickest counts (default 5)" },
        { "seed", ARG_INT, &a.seed, 0, 9e15, "N", "of everything random (default 1)" },
        { "work", ARG_STR, &a.work, 0, 0, "DIR",
          "where the temporary folder goes (default: TMPDIR, /tmp)" },
        { "threads", ARG_INT, &a.threads, 0, 1024, "N", "0 = all cores (default)" },
        { "cpu", ARG_STR, &a.o.cpu, 0, 0, "NAME", "kernels: native (default), avx512, avx2, ref" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a part" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
        { "quiet", ARG_FLAG, &a.quiet, 0, 0, NULL, "no notes" },
    };
    snprintf(usage, sizeof usage, "bench %s [options]", loci_bench_phase_name(phase));
    snprintf(text, sizeof text, "%s%s", about[phase], general);
    arg_spec spec = { .usage = usage, .about = text, .args = args, .n_args = COUNT(args) };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    int64_t depth[DEPTHS_MAX];
    loci_error err = { 0 };
    const int n = parse_counts(a.depth, depth, DEPTHS_MAX, 0, 1 << 28);
    if (n == 0)
        return usage_error("--depth: expected up to %d numbers from 0 to 256M, found %s",
                           DEPTHS_MAX, a.depth);
    loci_status st = take_options(&a, &err);
    if (st == LOCI_OK) st = run(&a, depth, n, &err);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

int bench_ingest(int argc, char **argv);
int bench_decode(int argc, char **argv);
int bench_open(int argc, char **argv);
int bench_search(int argc, char **argv);

int bench_ingest(int argc, char **argv)
{
    return bench_phase(LOCI_BENCH_INGEST, argc, argv);
}
int bench_decode(int argc, char **argv)
{
    return bench_phase(LOCI_BENCH_DECODE, argc, argv);
}
int bench_open(int argc, char **argv)
{
    return bench_phase(LOCI_BENCH_OPEN, argc, argv);
}
int bench_search(int argc, char **argv)
{
    return bench_phase(LOCI_BENCH_SEARCH, argc, argv);
}
