/* gpu.c - `loci bench gpu`: speed of every op on one GPU, beside what no op can pass. */
#include "loci/bench.h"
#include <string.h>
#include "cli.h"

typedef struct {
    const char *op;
    int64_t device;
    bool json, csv;
    double product, copy; /* ceilings: TFLOP/s, TB/s; 0 until measured */
} gpu_args;

static json_t *row_json(const loci_bench_gpu_row *r, const gpu_args *a, const char *device)
{
    json_t *o = json_object();
    put_text(o, "bench", "gpu");
    put_text(o, "op", r->op);
    put_text(o, "size", r->size);
    put_real(o, "seconds", r->seconds);
    put_real(o, "tflops", r->tflops);
    put_real(o, "tbytes", r->tbytes);
    put_real(o, "ceiling_tflops", a->product);
    put_real(o, "ceiling_tbytes", a->copy);
    put_text(o, "gpu", device);
    put_text(o, "version", loci_version());
    put_text(o, "commit", build_commit());
    return o;
}

/* The nearer of two ceilings, as a share. */
static double reached(const loci_bench_gpu_row *r, const gpu_args *a)
{
    const double x = a->product > 0.0 ? r->tflops / a->product : 0.0;
    const double y = a->copy > 0.0 ? r->tbytes / a->copy : 0.0;
    return x > y ? x : y;
}

static void print_row(const loci_bench_gpu_row *r, const gpu_args *a, const char *device,
                      bool first)
{
    if (a->json) {
        print_json_row(row_json(r, a, device));
        return;
    }
    if (a->csv) {
        print_csv_row(row_json(r, a, device), first);
        return;
    }
    if (first)
        printf("%s\n%-18s %-32s %11s %9s %8s %8s\n", device, "op", "size", "us", "TFLOP/s", "TB/s",
               "ceiling");
    printf("%-18s %-32s %11.1f %9.2f %8.3f %7.0f%%\n", r->op, r->size, 1e6 * r->seconds, r->tflops,
           r->tbytes, 100.0 * reached(r, a));
    fflush(stdout);
}

/* Ceilings first; then all ops, or the one that was asked for. */
static loci_status run(loci_bench_gpu *b, gpu_args *a, int *printed, loci_error *err)
{
    watch_signals();
    for (int i = 0; i < loci_bench_gpu_count(); i++) {
        const char *op = loci_bench_gpu_op(i);
        const bool ceiling = strcmp(op, "ceiling") == 0;
        loci_bench_gpu_row row;
        if (!ceiling && a->op && strcmp(a->op, op) != 0) continue;
        const loci_status st = loci_bench_gpu_run(b, i, &row, err);
        if (st != LOCI_OK) return st;
        if (ceiling && row.tflops > 0.0) a->product = row.tflops;
        if (ceiling && row.tflops <= 0.0) a->copy = row.tbytes;
        print_row(&row, a, loci_bench_gpu_name(b), i == 0);
        *printed += !ceiling;
        if (interrupted()) return set_error(err, LOCI_ECANCEL, "interrupted");
    }
    return LOCI_OK;
}

int bench_gpu(int argc, char **argv)
{
    gpu_args a = { 0 };
    arg args[] = {
        { "op", ARG_STR, &a.op, 0, 0, "NAME", "one op, e.g. attn_forward (default all)" },
        { "device", ARG_INT, &a.device, 0, 63, "N", "number of the GPU (default 0)" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a row" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
    };
    arg_spec spec = {
        .usage = "bench gpu [options]",
        .about = "Time every op of training on one GPU, at the sizes of a step of 65,536 tokens of "
                 "the M model: microseconds of the median call, operations and bytes a second, and "
                 "how close the nearer of them comes to a large product and a copy.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (a.json && a.csv) return usage_error("--json and --csv: give one");
    loci_error err = { 0 };
    loci_bench_gpu *b;
    int printed = 0;
    if (loci_bench_gpu_open(&b, (int)a.device, &err) != LOCI_OK) return fail(&err);
    const loci_status st = run(b, &a, &printed, &err);
    loci_bench_gpu_close(b);
    if (st != LOCI_OK) return fail(&err);
    return printed > 0 ? EXIT_OK : usage_error("--op %s: no such op", a.op);
}
