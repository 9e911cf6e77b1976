/* kernels.c - `loci bench kernels`: speed of every listed kernel on this processor. */
#include "loci/bench.h"
#include <string.h>
#include "cli.h"

typedef struct {
    const char *family, *cpu;
    double seconds;
    bool json, csv;
} bench_args;

static json_t *row_json(const loci_bench_row *r)
{
    char cpu[128];
    json_t *o = json_object();
    put_text(o, "bench", "kernels");
    put_text(o, "family", r->family);
    put_text(o, "isa", r->isa);
    put_text(o, "size", r->size);
    put_real(o, "seconds", r->seconds);
    put_real(o, "gflops", r->gflops);
    put_real(o, "gbytes", r->gbytes);
    put_text(o, "cpu", cpu_name(cpu));
    put_text(o, "version", loci_version());
    put_text(o, "commit", build_commit());
    return o;
}

static void print_row(const loci_bench_row *r, const bench_args *a, bool first)
{
    if (a->json) {
        print_json_row(row_json(r));
        return;
    }
    if (a->csv) {
        print_csv_row(row_json(r), first);
        return;
    }
    if (first)
        printf("%-18s %-8s %-28s %12s %10s %10s\n", "family", "isa", "size", "us", "Gop/s", "GB/s");
    printf("%-18s %-8s %-28s %12.2f %10.2f %10.2f\n", r->family, r->isa, r->size, 1e6 * r->seconds,
           r->gflops, r->gbytes);
    fflush(stdout);
}

/* The isa that an engine with this --cpu would use for the family, from "gemm=avx512 ...". */
static bool chosen(const char *kernels, const loci_bench_row *r)
{
    char pair[100];
    const int n = snprintf(pair, sizeof pair, "%s=%s", r->family, r->isa);
    for (const char *at = kernels; (at = strstr(at, pair)) != NULL; at += n)
        if ((at == kernels || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

/* Without --cpu all that runs here, with it the chosen ones. */
static loci_status run(const bench_args *a, const char *kernels, int *printed, loci_error *err)
{
    watch_signals();
    const int n = loci_bench_kernel_count();
    for (int i = 0; i < n; i++) {
        loci_bench_row row;
        loci_status st =
            loci_bench_kernel(i, 0.0, &row, err); /* who it is, before it is measured */
        if (st != LOCI_OK) return st;
        if (!row.available || (a->family && strcmp(a->family, row.family) != 0)) continue;
        if (a->cpu && !chosen(kernels, &row)) continue;
        if ((st = loci_bench_kernel(i, a->seconds, &row, err)) != LOCI_OK) return st;
        print_row(&row, a, (*printed)++ == 0);
        if (interrupted()) return set_error(err, LOCI_ECANCEL, "interrupted");
    }
    return LOCI_OK;
}

static int bench_kernels(int argc, char **argv)
{
    bench_args a = { .seconds = 0.2 };
    arg args[] = {
        { "family", ARG_STR, &a.family, 0, 0, "F", "one family, e.g. gemm (default all)" },
        { "cpu", ARG_STR, &a.cpu, 0, 0, "NAME",
          "only what native, avx512, avx2 or ref would choose" },
        { "seconds", ARG_FLOAT, &a.seconds, 0.001, 60, "S", "spent on each row (default 0.2)" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a row" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
    };
    arg_spec spec = {
        .usage = "bench kernels [options]",
        .about = "Time every kernel that this processor can run, one thread, at fixed sizes: "
                 "microseconds of the best call, operations and bytes a second.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (a.json && a.csv) return usage_error("--json and --csv: give one");
    loci_error err = { 0 };
    char kernels[2000];
    int printed = 0;
    loci_status st = loci_bench_kernels_for(a.cpu, kernels, sizeof kernels, &err);
    if (st == LOCI_OK) st = run(&a, kernels, &printed, &err);
    if (st != LOCI_OK) return fail(&err);
    return printed > 0
               ? EXIT_OK
               : usage_error("--family %s: no such family (loci version lists them)", a.family);
}

int bench_gpu(int argc, char **argv);    /* gpu.c */
int bench_dsv4(int argc, char **argv);   /* deepseek.c */
int bench_recall(int argc, char **argv); /* recall.c */
int bench_ingest(int argc, char **argv); /* model.c */
int bench_decode(int argc, char **argv);
int bench_open(int argc, char **argv);
int bench_search(int argc, char **argv);

int cmd_bench(int argc, char **argv)
{
    static const command list[] = {
        { "ingest", bench_ingest, "reading text into banks of any depth" },
        { "decode", bench_decode, "a decoded token over banks, by part" },
        { "open", bench_open, "what lies before the first token" },
        { "search", bench_search, "a query through banks" },
        { "recall", bench_recall, "what a search in your banks misses" },
        { "kernels", bench_kernels, "every listed kernel at fixed sizes" },
        { "gpu", bench_gpu, "every op of training on one GPU" },
        { "dsv4", bench_dsv4, "decoding of a DeepSeek-V4 shape by part" },
    };
    return run_group("bench", list, COUNT(list), argc, argv);
}
