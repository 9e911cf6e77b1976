/* overlap.c - `loci eval overlap`: how many of a text's runs of 13 words a model was trained on, from
 * the hashes that training left beside it.  One row a path. */
#include "eval.h"
#include <math.h>
#include <string.h>
#include "loci/train.h"

typedef struct {
    const char *grams;
    arg_list text;
    bool json, csv;
} overlap_args;

static json_t *row_of(const overlap_args *a, const char *path, const loci_overlap *sum)
{
    double lo, hi;
    wilson(sum->found, sum->sampled, &lo, &hi);
    json_t *o = json_object();
    put_text(o, "suite", "overlap");
    put_text(o, "grams", a->grams);
    put_text(o, "text", path);
    put_int(o, "runs", sum->runs);
    put_int(o, "sampled", sum->sampled);
    put_int(o, "found", sum->found);
    put_real(o, "share", sum->sampled > 0 ? (double)sum->found / (double)sum->sampled : NAN);
    put_real(o, "share_low", lo);
    put_real(o, "share_high", hi);
    return o;
}

static void print_row(const overlap_args *a, const char *path, const loci_overlap *sum, bool first)
{
    if (a->json) {
        print_json_row(row_of(a, path, sum));
    } else if (a->csv) {
        print_csv_row(row_of(a, path, sum), first);
    } else {
        double lo, hi;
        wilson(sum->found, sum->sampled, &lo, &hi);
        print_name(stdout, path);
        printf(
            ": %lld runs of %d words, %lld of %lld sampled ones were trained on (%.4f .. %.4f)\n",
            (long long)sum->runs, (int)LOCI_GRAM_WORDS, (long long)sum->found,
            (long long)sum->sampled, lo, hi);
    }
    fflush(stdout);
}

static loci_status run(const overlap_args *a, loci_error *err)
{
    loci_grams *grams = NULL;
    loci_status st = loci_grams_open(&grams, a->grams, err);
    watch_signals();
    for (int i = 0; i < a->text.n && st == LOCI_OK; i++) {
        loci_corpus c = { 0 };
        loci_overlap sum = { 0 };
        st = loci_corpus_add(&c, a->text.item[i], err);
        for (size_t d = 0; d < c.n_docs && st == LOCI_OK; d++)
            loci_grams_overlap(grams, c.text + c.start[d], c.start[d + 1] - c.start[d], &sum);
        if (st == LOCI_OK) print_row(a, a->text.item[i], &sum, i == 0);
        loci_corpus_free(&c);
        if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    loci_grams_close(grams);
    return st;
}

int eval_overlap(int argc, char **argv)
{
    overlap_args a = { 0 };
    arg args[] = {
        { "grams", ARG_STR, &a.grams, 0, 0, "FILE", "data_grams.bin of a trained model" },
        { "text", ARG_LIST, &a.text, 0, 0, "PATH", "files, folders, NAME.txt.zst corpora" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a path" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
    };
    arg_spec spec = {
        .usage = "eval overlap --grams FILE --text PATH [options]",
        .about = "How many of the runs of 13 words of a text a model was trained on, estimated "
                 "from a sample of hashes that training wrote; 95 % Wilson intervals.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!a.grams || a.text.n == 0)
        return usage_error("--%s is missing; usage: loci %s", a.grams ? "text" : "grams",
                           spec.usage);
    if (a.json && a.csv) return usage_error("--json and --csv: give one");
    loci_error err = { 0 };
    return run(&a, &err) == LOCI_OK ? EXIT_OK : fail(&err);
}
