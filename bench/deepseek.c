/* deepseek.c - `loci bench dsv4`: what a decoded token costs in a DeepSeek-V4 shape, by part and by
 * length of context, and how far the index scan is from what the machine can do. */
#include <stdlib.h>
#include "cli.h"
#include "loci/bench.h"

enum { LENGTHS_MAX = 16 };

typedef struct {
    loci_bench_deepseek_options o;
    int64_t layers, experts, memory_mib, threads, repeat;
    arg_list tokens;
    bool json, csv;
} dsv4_args;

/* What bounds the scan: reading the keys, or multiplying them. */
static double scan_bound(const loci_bench_deepseek_row *r)
{
    const double read = r->scan_bytes / r->read_bytes_per_second;
    const double work = r->int8_ops_per_second > 0 ? r->scan_ops / r->int8_ops_per_second : 0.0;
    return read > work ? read : work;
}

static json_t *row_json(const loci_bench_deepseek_row *r, const dsv4_args *a)
{
    char cpu[128], name[40];
    json_t *o = json_object();
    put_text(o, "bench", "dsv4");
    put_text(o, "shape", a->o.shape);
    put_text(o, "mode", a->o.mode);
    put_int(o, "layers", r->layers);
    put_int(o, "n_csa", r->n_csa);
    put_int(o, "n_hca", r->n_hca);
    put_int(o, "tokens", r->tokens);
    put_real(o, "token_ms", 1e3 * r->token_seconds);
    for (int i = 0; i < LOCI_BENCH_DEEPSEEK_PARTS; i++) {
        snprintf(name, sizeof name, "%s_ms", loci_bench_deepseek_part(i));
        put_real(o, name, 1e3 * r->part_seconds[i]);
    }
    put_real(o, "bytes_per_token", r->bytes_per_token);
    put_int(o, "sequence_bytes", r->sequence_bytes);
    put_real(o, "scan_ms", 1e3 * r->scan_seconds);
    put_real(o, "scan_bound_ms", 1e3 * scan_bound(r));
    put_real(o, "read_gbytes", 1e-9 * r->read_bytes_per_second);
    put_real(o, "int8_gops", 1e-9 * r->int8_ops_per_second);
    put_text(o, "cpu", cpu_name(cpu));
    put_text(o, "version", loci_version());
    put_text(o, "commit", build_commit());
    return o;
}

static void print_row(const loci_bench_deepseek_row *r, const dsv4_args *a, bool first)
{
    if (a->json) {
        print_json_row(row_json(r, a));
        return;
    }
    if (a->csv) {
        print_csv_row(row_json(r, a), first);
        return;
    }
    if (first) {
        printf("%s, %s: %d layers (%d CSA, %d HCA), %.1f GB/s read, %.0f Gop/s int8\n", a->o.shape,
               a->o.mode, r->layers, r->n_csa, r->n_hca, 1e-9 * r->read_bytes_per_second,
               1e-9 * r->int8_ops_per_second);
        printf("milliseconds of a token\n%9s %9s", "context", "token");
        for (int i = 0; i < LOCI_BENCH_DEEPSEEK_PARTS; i++)
            printf(" %9s", loci_bench_deepseek_part(i));
        printf(" | %9s %9s | %8s\n", "scan", "bound", "B/token");
    }
    printf("%9lld %9.2f", (long long)r->tokens, 1e3 * r->token_seconds);
    for (int i = 0; i < LOCI_BENCH_DEEPSEEK_PARTS; i++) printf(" %9.2f", 1e3 * r->part_seconds[i]);
    printf(" | %9.3f %9.3f | %8.1f\n", 1e3 * r->scan_seconds, 1e3 * scan_bound(r),
           r->bytes_per_token);
    fflush(stdout);
}

/* "4096", "64K", "1M" */
static bool parse_length(const char *text, int64_t *out)
{
    char *end;
    const double n = strtod(text, &end);
    const double unit = *end == 'K' ? 1024 : *end == 'M' ? 1048576 : 1;
    if (end == text || (*end && end[1]) || (*end && unit == 1)) return false;
    if (!(n * unit >= 1 && n * unit <= 1 << 24)) return false;
    *out = (int64_t)(n * unit);
    return true;
}

static loci_status run(dsv4_args *a, const int64_t *length, int n, loci_error *err)
{
    loci_bench_deepseek *b = NULL;
    loci_status st = loci_bench_deepseek_open(&b, &a->o, err);
    watch_signals();
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        loci_bench_deepseek_row row;
        st = loci_bench_deepseek_run(b, length[i], (int)a->repeat, &row, err);
        if (st == LOCI_OK) print_row(&row, a, i == 0);
        if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    loci_bench_deepseek_close(b);
    return st;
}

int bench_dsv4(int argc, char **argv);
int bench_dsv4(int argc, char **argv)
{
    dsv4_args a = { .o = loci_bench_deepseek_options_default(),
                    .experts = 64,
                    .memory_mib = 12 << 10,
                    .repeat = 3 };
    a.o.mode = "fast";
    arg args[] = {
        { "shape", ARG_STR, &a.o.shape, 0, 0, "NAME", "flash (default) or pro" },
        { "layers", ARG_INT, &a.layers, 0, 128, "N",
          "the first N; 0 = all, or as many as fit (default)" },
        { "memory", ARG_INT, &a.memory_mib, 1, 1 << 30, "MIB",
          "for weights and context (default 12288)" },
        { "experts", ARG_INT, &a.experts, 1, 4096, "N",
          "distinct routed experts, shared by all layers (default 64)" },
        { "tokens", ARG_LIST, &a.tokens, 0, 0, "N",
          "length of context; may be repeated (default 4K, 64K, 1M)" },
        { "repeat", ARG_INT, &a.repeat, 1, 1000, "N", "tokens a length, the best counts (3)" },
        { "mode", ARG_STR, &a.o.mode, 0, 0, "MODE", "fast (default), exact, f32" },
        { "threads", ARG_INT, &a.threads, 0, 1024, "N", "0 = all cores (default)" },
        { "cpu", ARG_STR, &a.o.cpu, 0, 0, "NAME", "kernels: native (default), avx512, avx2, ref" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a row" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
    };
    arg_spec spec = {
        .usage = "bench dsv4 [options]",
        .about = "Time a decoded token in the shape of a DeepSeek-V4 release, with generated "
                 "weights behind a generated context.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (a.json && a.csv) return usage_error("--json and --csv: give one");
    int64_t length[LENGTHS_MAX] = { 4096, 65536, 1048576 };
    int n = a.tokens.n > 0 ? a.tokens.n : 3;
    if (n > LENGTHS_MAX) return usage_error("--tokens: at most %d times", LENGTHS_MAX);
    a.o.tokens_max = 0;
    for (int i = 0; i < n; i++) {
        if (a.tokens.n > 0 && !parse_length(a.tokens.item[i], &length[i]))
            return usage_error("--tokens: expected 1 to 16M, found %s", a.tokens.item[i]);
        if (length[i] > a.o.tokens_max) a.o.tokens_max = length[i];
    }
    a.o.layers = (int)a.layers;
    a.o.experts = (int)a.experts;
    a.o.memory_bytes = (uint64_t)a.memory_mib << 20;
    a.o.threads = (int)a.threads;
    loci_error err = { 0 };
    return run(&a, length, n, &err) == LOCI_OK ? EXIT_OK : fail(&err);
}
