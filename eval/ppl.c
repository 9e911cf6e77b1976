/* ppl.c - `loci eval ppl`: the loss on held-out text by position in its document.
 *
 * Each document is one growing session, as `generate` would read it: window, and the chunks of its own
 * text as a bank.  A model that uses what it read long ago loses less at later positions.  With
 * --compare each document is read three times: as trained, with every gate open, with every gate closed:
 *
 *   reading gain = loss with all closed - loss with all open     nats a token
 *   regret       = loss as trained - loss with all open          what closed gates cost
 *
 * Buckets of positions double.  Documents differ and the long ones are fewer, so that buckets compare only
 * where all documents reach the last: --min-tokens. */
#include "eval.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "loci/train.h"

enum { BUCKETS = 20, FIRST = 256, PIECE = 16384, MODES = 3 };

typedef struct {
    engine_args ea;
    arg_list text;
    int64_t max_tokens, min_tokens, docs;
    bool json, csv, compare;
    row_format format;
    int rows;
} ppl_args;

typedef struct {
    int64_t tokens;
    double sum[MODES], square; /* of the loss as trained */
    loci_session_reads reads;  /* as trained */
} bucket;

typedef struct {
    bucket by_position[BUCKETS]; /* [0, 256), [256, 512), [512, 1024), ... */
    bucket all;
    int64_t bytes, docs;
} losses;

static int64_t bucket_end(int b)
{
    return (int64_t)FIRST << b;
}

/* ... or of what is read. */
static int64_t bucket_to(const ppl_args *a, int b)
{
    return b + 1 < BUCKETS && bucket_end(b) < a->max_tokens ? bucket_end(b) : a->max_tokens;
}

/* n losses of one bucket, in one mode. */
static void add_losses(bucket *b, int mode, const float *loss, int64_t n, loci_session_reads reads)
{
    for (int64_t i = 0; i < n; i++) b->sum[mode] += (double)loss[i];
    if (mode != 0) return;
    for (int64_t i = 0; i < n; i++) b->square += (double)loss[i] * (double)loss[i];
    b->tokens += n;
    b->reads.pairs += reads.pairs;
    b->reads.consulted += reads.consulted;
}

/* One document in one way; ids (n), the first is <bos>. */
static loci_status read_doc(losses *x, loci_engine *e, const int32_t *ids, int64_t n, int mode,
                            float *loss, loci_error *err)
{
    static const loci_reading how[MODES] = { LOCI_READ_AS_TRAINED, LOCI_READ_ALWAYS,
                                             LOCI_READ_NEVER };
    loci_session *s;
    loci_session_options opt = loci_session_options_default();
    opt.max_tokens = n;
    opt.reading = how[mode];
    loci_session_reads before = { 0 };
    loci_status st = loci_session_open(&s, e, &opt, err);
    for (int64_t at = 0, m; at + 1 < n && st == LOCI_OK; at += m) {
        int b = 0;
        while (b + 1 < BUCKETS && at >= bucket_end(b)) b++;
        m = n - 1 - at < PIECE ? n - 1 - at : PIECE; /* the last id predicts nothing */
        if (b + 1 < BUCKETS && m > bucket_end(b) - at) m = bucket_end(b) - at;
        st = loci_session_losses(s, ids + at, m, ids + at + 1, loss, err);
        if (st != LOCI_OK) break;
        const loci_session_reads now = loci_session_consulted(s);
        const loci_session_reads reads = { now.pairs - before.pairs,
                                           now.consulted - before.consulted };
        before = now;
        add_losses(&x->by_position[b], mode, loss, m, reads);
        add_losses(&x->all, mode, loss, m, reads);
        if (interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    loci_session_close(s);
    return st;
}

/* ---- documents ------------------------------------------------------------------------------------ */

typedef struct { /* a document's tokens, room for all that may be wanted of it */
    loci_encoder *encoder;
    int32_t *ids;
    uint32_t *ends;
    size_t room;
} encoded;

static void encoded_free(encoded *x)
{
    loci_encoder_close(x->encoder);
    free(x->ids);
    free(x->ends);
}

/* *n tokens of document d into x->ids + 1, of its first `most` bytes. */
static loci_status encode_doc(encoded *x, const loci_corpus *c, size_t d, size_t most, size_t *n,
                              loci_error *err)
{
    const char *text = c->text + c->start[d];
    size_t bytes = c->start[d + 1] - c->start[d];
    if (bytes > most) bytes = most - utf8_open_tail(text, most);
    if (x->room < bytes + 8) {
        free(x->ids);
        free(x->ends);
        x->room = bytes + 8;
        x->ids = malloc((x->room + 1) * sizeof *x->ids);
        x->ends = malloc(x->room * sizeof *x->ends);
        if (!x->ids || !x->ends) {
            x->room = 0;
            return set_error(err, LOCI_ENOMEM, "no memory for a document");
        }
    }
    return loci_encode(x->encoder, text, bytes, x->ids + 1, x->ends, x->room, n, err);
}

/* Has it so many tokens?  A token is a byte at least, and mostly no more than six. */
static loci_status is_long(encoded *x, const loci_corpus *c, size_t d, int64_t tokens, bool *yes,
                           loci_error *err)
{
    const size_t bytes = c->start[d + 1] - c->start[d], want = (size_t)tokens;
    size_t n = want;
    loci_status st = LOCI_OK;
    *yes = false;
    if (bytes < want) return LOCI_OK;
    if (tokens > 1) st = encode_doc(x, c, d, 6 * want, &n, err);
    if (st == LOCI_OK && n < want && bytes > 6 * want) st = encode_doc(x, c, d, bytes, &n, err);
    *yes = n >= want;
    return st;
}

/* Documents that are long enough into doc (c->n_docs); *n of them. */
static loci_status choose(const ppl_args *a, encoded *x, const loci_corpus *c, size_t *doc,
                          size_t *n, loci_error *err)
{
    *n = 0;
    for (size_t d = 0; d < c->n_docs; d++) {
        bool yes;
        const loci_status st = is_long(x, c, d, a->min_tokens, &yes, err);
        if (st != LOCI_OK) return st;
        if (interrupted()) return set_error(err, LOCI_ECANCEL, "interrupted");
        if (yes) doc[(*n)++] = d;
    }
    if (*n == 0)
        return set_error(err, LOCI_EFORMAT, "%s: no document of %lld tokens", a->text.item[0],
                         (long long)a->min_tokens);
    return LOCI_OK;
}

static loci_status measure_doc(const ppl_args *a, loci_engine *e, const loci_corpus *c, size_t doc,
                               encoded *text, float *loss, losses *x, loci_error *err)
{
    size_t n;
    /* What is cut off is not needed: a token of more than 16 bytes on average is none. */
    loci_status st = encode_doc(text, c, doc, (size_t)(a->max_tokens + 1) * 16, &n, err);
    if (st != LOCI_OK || n == 0) return st;
    if (n > (size_t)a->max_tokens) n = (size_t)a->max_tokens;
    text->ids[0] = loci_engine_info(e)->bos;
    x->bytes += text->ends[n - 1];
    x->docs++;
    for (int mode = 0; mode < (a->compare ? MODES : 1) && st == LOCI_OK; mode++)
        st = read_doc(x, e, text->ids, (int64_t)n + 1, mode, loss, err);
    return st;
}

static loci_status measure(const ppl_args *a, loci_engine *e, const loci_corpus *c, losses *x,
                           loci_error *err)
{
    encoded text = { 0 };
    size_t n = 0, *doc = malloc(c->n_docs * sizeof *doc);
    float *loss = malloc(PIECE * sizeof *loss);
    loci_status st = loss && doc ? loci_encoder_open(&text.encoder, loci_engine_tokenizer(e), err)
                                 : set_error(err, LOCI_ENOMEM, "no memory for a document");
    if (st == LOCI_OK) st = choose(a, &text, c, doc, &n, err);
    progress_bar bar;
    progress_begin(&bar, "reading", "documents", 1.0, a->ea.quiet);
    const int64_t docs = a->docs < (int64_t)n ? a->docs : (int64_t)n;
    for (int64_t d = 0; d < docs && st == LOCI_OK; d++) {
        st = measure_doc(a, e, c, doc[d * (int64_t)n / docs], &text, loss, x, err);
        if (st == LOCI_OK) progress_show(&bar, d + 1, docs);
    }
    progress_end(&bar);
    encoded_free(&text);
    free(doc);
    free(loss);
    return st;
}

/* ---- rows ----------------------------------------------------------------------------------------- */
/* Up to where, in the row of all: the loss by position can then be read off one row. */
static json_t *curve_of(const ppl_args *a, const losses *x)
{
    json_t *curve = json_array();
    for (int i = 0; i < BUCKETS; i++) {
        const bucket *b = &x->by_position[i];
        const double n = (double)b->tokens;
        if (b->tokens == 0) continue;
        json_t *o = json_object();
        put_int(o, "to", bucket_to(a, i));
        put_int(o, "tokens", b->tokens);
        put_real(o, "loss", b->sum[0] / n);
        if (a->compare) put_real(o, "reading_gain", (b->sum[2] - b->sum[1]) / n);
        json_array_append_new(curve, o);
    }
    return curve;
}

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
    put_real(o, "consult_rate",
             b->reads.pairs > 0 ? (double)b->reads.consulted / (double)b->reads.pairs : NAN);
    if (b == &x->all) put_real(o, "bits_per_byte", b->sum[0] / log(2.0) / (double)x->bytes);
    if (b == &x->all && a->format == ROW_JSON)
        json_object_set_new(o, "by_position", curve_of(a, x));
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
            print_row(a, row_of(a, e, x, &x->by_position[b], b ? bucket_end(b - 1) : 0,
                                bucket_to(a, b)));
    if (st == LOCI_OK) print_row(a, row_of(a, e, x, &x->all, 0, -1));
    loci_corpus_free(&c);
    loci_engine_close(e);
    free(x);
    return st;
}

int eval_ppl(int argc, char **argv)
{
    ppl_args a = { .max_tokens = 16384, .min_tokens = 1, .docs = 8 };
    arg args[] = {
        { "text", ARG_LIST, &a.text, 0, 0, "PATH", "files, folders, NAME.txt.zst corpora" },
        { "max-tokens", ARG_INT, &a.max_tokens, 2, 1 << 26, "N",
          "read of a document (default 16K)" },
        { "min-tokens", ARG_INT, &a.min_tokens, 1, 1 << 26, "N",
          "only documents of so many tokens or more" },
        { "docs", ARG_INT, &a.docs, 1, 1e9, "N", "documents, spread over those (default 8)" },
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
