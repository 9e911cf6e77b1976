/* recall.c - `loci bench recall`: how much of what an exhaustive search of banks finds a search by
 * codes and one by buckets find, and what each costs. */
#include "loci/bench.h"
#include <string.h>
#include "cli.h"

enum { PROBES_MAX = 16 };

typedef struct {
    engine_args ea;
    arg_list banks;
    const char *probes;
    int64_t pieces, k, seed;
    bool json, csv;
} recall_args;

static json_t *row_json(const loci_bench_search_row *r, int64_t probes)
{
    json_t *o = json_object();
    put_text(o, "bench", "recall");
    put_int(o, "tokens", r->tokens);
    put_int(o, "chunks", r->chunks);
    put_int(o, "sorted_chunks", r->sorted);
    put_int(o, "queries", r->queries);
    put_int(o, "k", r->k);
    put_int(o, "probes", probes);
    put_real(o, "exact_ms", 1e3 * r->exact_seconds);
    put_real(o, "codes_ms", 1e3 * r->codes_seconds);
    put_real(o, "codes_recall", r->codes_recall);
    put_real(o, "fast_ms", 1e3 * r->fast_seconds);
    put_real(o, "fast_recall", r->fast_recall);
    put_real(o, "fast_landmarks", r->fast_rows);
    put_text(o, "version", loci_version());
    put_text(o, "commit", build_commit());
    return o;
}

static void print_row(const recall_args *a, const loci_bench_search_row *r, int64_t probes,
                      bool first)
{
    if (a->json) {
        print_json_row(row_json(r, probes));
        return;
    }
    if (a->csv) {
        print_csv_row(row_json(r, probes), first);
        return;
    }
    if (first)
        printf("%lld tokens in %lld chunks, %lld of them in buckets; %d queries, k %d\n"
               "every chunk scored  %9.3f ms\nby codes            %9.3f ms, recall %.4f\n",
               (long long)r->tokens, (long long)r->chunks, (long long)r->sorted, r->queries, r->k,
               1e3 * r->exact_seconds, 1e3 * r->codes_seconds, r->codes_recall);
    char way[40] = "as asking does";
    if (probes > 0) snprintf(way, sizeof way, "%lld buckets", (long long)probes);
    printf("%-19s %9.3f ms, recall %.4f, %.0f landmarks\n", way, 1e3 * r->fast_seconds,
           r->fast_recall, r->fast_rows);
    fflush(stdout);
}

static loci_status run(const recall_args *a, const int64_t *probes, int n, loci_error *err)
{
    loci_engine *e = NULL;
    loci_bank *bank[ARG_LIST_MAX] = { NULL };
    loci_status st = open_engine(&e, &a->ea, err);
    if (st == LOCI_OK) st = open_banks(bank, &a->banks, e, err);
    const int opened = st == LOCI_OK ? a->banks.n : 0;
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        loci_bench_search_row row;
        st = loci_bench_search(e, bank, opened, (int)a->pieces, (int)a->k, (int)probes[i],
                               (uint64_t)a->seed, &row, err);
        if (st == LOCI_OK) print_row(a, &row, probes[i], i == 0);
    }
    close_banks(bank, opened);
    loci_engine_close(e);
    return st;
}

int bench_recall(int argc, char **argv);
int bench_recall(int argc, char **argv)
{
    recall_args a = { .probes = "0", .pieces = 100, .k = 16, .seed = 1 };
    arg args[] = {
        { "bank", ARG_LIST, &a.banks, 0, 0, "DIR", "a bank to search" },
        { "probes", ARG_STR, &a.probes, 0, 0, "LIST",
          "buckets looked into; 0 as asking does (default)" },
        { "pieces", ARG_INT, &a.pieces, 1, 100000, "N",
          "of text asked as questions (default 100)" },
        { "k", ARG_INT, &a.k, 1, 64, "N", "best chunks of a search (default 16)" },
        { "seed", ARG_INT, &a.seed, 0, 9e15, "N", "which pieces (default 1)" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a row" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "bench recall --bank DIR [--bank DIR2] [options]",
        .about = "Search banks with the router's own queries for pieces of their text, in three "
                 "ways: every chunk scored, by codes, and as asking does; time of one search, and "
                 "the share of the best chunks that the two quick ways find.",
        .args = args,
        .n_args = COUNT(args),
    };
    int64_t probes[PROBES_MAX];
    loci_error err = { 0 };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (a.banks.n == 0) return usage_error("--bank is missing");
    const int n = parse_counts(a.probes, probes, PROBES_MAX, 0, 65536);
    if (n == 0)
        return usage_error("--probes: expected up to %d numbers from 0 to 65536, found %s",
                           PROBES_MAX, a.probes);
    const loci_status st = run(&a, probes, n, &err);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}
