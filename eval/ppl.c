/* ppl.c - `loci eval ppl`: the loss on held-out text by position in its document.
 *
 * Each document is one growing session, as `generate` would read it: window, and the chunks of its own
 * text as a bank.  A model that uses what it read long ago loses less at later positions.  With
 * --compare each document is read three times: as trained, with every gate open, with every gate closed:
 *
 *   reading gain = loss with all closed - loss with all open     nats a token
 *   regret       = loss as trained - loss with all open          what closed gates cost */
#include "eval.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "loci/train.h"

enum { BUCKETS = 16, PIECE = 256, MODES = 3 };

typedef struct {
    engine_args ea;
    arg_list text;
    int64_t max_tokens, docs;
    bool json, csv, compare;
    row_format format;
    int rows;
} ppl_args;

typedef struct {
    int64_t tokens;
    double sum[MODES], square; /* of the loss as trained */
} bucket;

typedef struct {
    bucket by_position[BUCKETS]; /* [0, 256), [256, 512), [512, 1024), ... */
    bucket all;
    int64_t bytes, docs;
    double consulted, pairs;
} losses;

static int bucket_of(int64_t position)
{
    int b = 0;
    while (b + 1 < BUCKETS && position >= (int64_t)256 << b) b++;
    return b;
}

/* Each term is good to 1e-7 of itself in float, at a third of the time; the sum is not left to it. */
static double loss_of(const float *logits, int vocab, int32_t target)
{
    float top = logits[0];
    double sum = 0.0;
    for (int i = 1; i < vocab; i++) top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < vocab; i++) sum += (double)expf(logits[i] - top);
    return (double)top + log(sum) - (double)logits[target];
}

static void add_loss(losses *x, int64_t position, int mode, double loss)
{
    bucket *b[2] = { &x->by_position[bucket_of(position)], &x->all };
    for (int i = 0; i < 2; i++) {
        b[i]->sum[mode] += loss;
        if (mode == 0) {
            b[i]->tokens++;
            b[i]->square += loss * loss;
        }
    }
}

/* One document in one way; ids (n), the first is <bos>. */
static loci_status read_doc(losses *x, loci_engine *e, const int32_t *ids, int64_t n, int mode,
                            float *logits, loci_error *err)
{
    static const loci_reading how[MODES] = { LOCI_READ_AS_TRAINED, LOCI_READ_ALWAYS,
                                             LOCI_READ_NEVER };
    loci_session *s;
    loci_session_options opt = loci_session_options_default();
    opt.max_tokens = n;
    opt.reading = how[mode];
    const int vocab = loci_engine_info(e)->vocab;
    loci_status st = loci_session_open(&s, e, &opt, err);
    for (int64_t at = 0; at + 1 < n && st == LOCI_OK; at += PIECE) {
        const int64_t m =
            n - 1 - at < PIECE ? n - 1 - at : PIECE; /* the last id predicts nothing */
        st = loci_session_extend(s, ids + at, m, logits, m, err);
        for (int64_t i = 0; i < m && st == LOCI_OK; i++)
            add_loss(x, at + i, mode, loss_of(logits + i * vocab, vocab, ids[at + i + 1]));
        if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    if (st == LOCI_OK && mode == 0) {
        const loci_session_reads r = loci_session_consulted(s);
        x->consulted += (double)r.consulted;
        x->pairs += (double)r.pairs;
    }
    loci_session_close(s);
    return st;
}

static loci_status measure(const ppl_args *a, loci_engine *e, const loci_corpus *c, losses *x,
                           loci_error *err)
{
    loci_encoder *enc = NULL;
    const int vocab = loci_engine_info(e)->vocab;
    const size_t cap = (size_t)a->max_tokens + 1;
    int32_t *ids = malloc((cap + 8) * sizeof *ids);
    float *logits = malloc((size_t)PIECE * (size_t)vocab * sizeof *logits);
    loci_status st = ids && logits ? loci_encoder_open(&enc, loci_engine_tokenizer(e), err)
                                   : set_error(err, LOCI_ENOMEM, "no memory for a document");
    progress_bar bar;
    progress_begin(&bar, "reading", "documents", 1.0, a->ea.quiet);
    const int64_t docs = a->docs < (int64_t)c->n_docs ? a->docs : (int64_t)c->n_docs;
    for (int64_t d = 0; d < docs && st == LOCI_OK; d++) {
        const size_t doc = (size_t)(d * (int64_t)c->n_docs / docs);
        const char *text = c->text + c->start[doc];
        size_t bytes = c->start[doc + 1] - c->start[doc], n = 0;
        /* At least a byte a token: what is cut off is not needed. */
        const size_t most = cap * 16;
        if (bytes > most) bytes = most - utf8_open_tail(text, most);
        int32_t *all = malloc((bytes + 8) * sizeof *all);
        uint32_t *ends = malloc((bytes + 8) * sizeof *ends);
        st = all && ends ? loci_encode(enc, text, bytes, all, ends, bytes + 8, &n, err)
                         : set_error(err, LOCI_ENOMEM, "no memory for a document");
        if (st == LOCI_OK && n > 0) {
            if (n > cap - 1) n = cap - 1;
            ids[0] = loci_engine_info(e)->bos;
            memcpy(ids + 1, all, n * sizeof *ids);
            x->bytes += ends[n - 1];
            x->docs++;
            for (int mode = 0; mode < (a->compare ? MODES : 1) && st == LOCI_OK; mode++)
                st = read_doc(x, e, ids, (int64_t)n + 1, mode, logits, err);
        }
        free(all);
        free(ends);
        if (st == LOCI_OK) progress_show(&bar, d + 1, docs);
    }
    progress_end(&bar);
    loci_encoder_close(enc);
    free(ids);
    free(logits);
    return st;
}

/* ---- rows ----------------------------------------------------------------------------------------- */
static json_t *row_of(const ppl_args *a, const loci_engine *e, const losses *x, const bucket *b,
                      int64_t from, int64_t to)
{
    const double n = (double)b->tokens, mean = b->sum[0] / n;
    const double half = 1.96 * sqrt(fmax(b->square / n - mean * mean, 0.0) / n);
    json_t *o = json_object();
    put_text(o, "suite", "ppl");
    put_text(o, "text", a->text.item[0]);
    put_int(o, "from", from);
    put_int(o, "to", to);
    put_int(o, "documents", x->docs);
    put_int(o, "tokens", b->tokens);
    put_real(o, "loss", mean);
    put_real(o, "loss_low", mean - half);
    put_real(o, "loss_high", mean + half);
    put_real(o, "consult_rate", x->pairs > 0.0 ? x->consulted / x->pairs : NAN);
    if (b == &x->all) put_real(o, "bits_per_byte", b->sum[0] / log(2.0) / (double)x->bytes);
    if (a->compare) {
        put_real(o, "regret", (b->sum[0] - b->sum[1]) / n);
        put_real(o, "reading_gain", (b->sum[2] - b->sum[1]) / n);
    }
    put_text(o, "model", loci_engine_info(e)->fingerprint);
    add_machine(o, a->ea.threads);
    return o;
}

static void print_row(ppl_args *a, json_t *row)
{
    const bool first = a->rows++ == 0;
    const int64_t to = json_integer_value(json_object_get(row, "to"));
    if (a->format == ROW_JSON) {
        print_json_row(row);
    } else if (a->format == ROW_CSV) {
        print_csv_row(row, first);
    } else {
        static const char *const name[] = { "loss", "loss_low", "loss_high", "regret",
                                            "reading_gain" };
        double v[5];
        for (int i = 0; i < 5; i++) v[i] = json_number_value(json_object_get(row, name[i]));
        if (first)
            printf("%20s %10s  %-26s%s\n", "position", "tokens", "loss (95 %)",
                   a->compare ? "regret   reading gain" : "");
        char where[48];
        snprintf(where, sizeof where, "%lld .. %lld",
                 (long long)json_integer_value(json_object_get(row, "from")), (long long)to);
        printf("%20s %10lld  %.4f (%.4f .. %.4f)", to < 0 ? "all" : where,
               (long long)json_integer_value(json_object_get(row, "tokens")), v[0], v[1], v[2]);
        if (a->compare) printf(" %7.4f  %7.4f", v[3], v[4]);
        if (to < 0)
            printf("\n%20s %.3f bits a byte; consult rate %.3f", "",
                   json_number_value(json_object_get(row, "bits_per_byte")),
                   json_number_value(json_object_get(row, "consult_rate")));
        printf("\n");
        json_decref(row);
    }
    fflush(stdout);
}

static loci_status run(ppl_args *a, loci_error *err)
{
    loci_engine *e = NULL;
    loci_corpus c = { 0 };
    losses *x = calloc(1, sizeof *x);
    watch_signals();
    loci_status st = x ? open_engine(&e, &a->ea, err) : set_error(err, LOCI_ENOMEM, "no memory");
    for (int i = 0; i < a->text.n && st == LOCI_OK; i++)
        st = loci_corpus_add(&c, a->text.item[i], err);
    if (st == LOCI_OK && c.n_docs == 0)
        st = set_error(err, LOCI_EFORMAT, "%s: holds no text", a->text.item[0]);
    if (st == LOCI_OK) st = measure(a, e, &c, x, err);
    for (int b = 0; b < BUCKETS && st == LOCI_OK; b++)
        if (x->by_position[b].tokens > 0)
            print_row(a, row_of(a, e, x, &x->by_position[b], b ? (int64_t)128 << b : 0,
                                (int64_t)256 << b));
    if (st == LOCI_OK) print_row(a, row_of(a, e, x, &x->all, 0, -1));
    loci_corpus_free(&c);
    loci_engine_close(e);
    free(x);
    return st;
}

int eval_ppl(int argc, char **argv)
{
    ppl_args a = { .max_tokens = 16384, .docs = 8 };
    arg args[] = {
        { "text", ARG_LIST, &a.text, 0, 0, "PATH", "files, folders, NAME.txt.zst corpora" },
        { "max-tokens", ARG_INT, &a.max_tokens, 2, 1 << 26, "N",
          "read of a document (default 16K)" },
        { "docs", ARG_INT, &a.docs, 1, 1e9, "N", "documents, spread over the text (default 8)" },
        { "compare", ARG_FLAG, &a.compare, 0, 0, NULL,
          "also with every gate open and with every gate closed: regret, reading gain" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a row" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "eval ppl --text PATH [options]",
        .about = "Loss in nats a token on text by position in its document, each document read as "
                 "one stream; consult rate, and with --compare what reading gains and what closed "
                 "gates cost.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (a.text.n == 0) return usage_error("--text is missing; usage: loci %s", spec.usage);
    if (a.json && a.csv) return usage_error("--json and --csv: give one");
    a.format = a.json ? ROW_JSON : a.csv ? ROW_CSV : ROW_TEXT;
    loci_error err = { 0 };
    return run(&a, &err) == LOCI_OK ? EXIT_OK : fail(&err);
}
