/* demo.c - `loci eval demo`: the questions of an items.jsonl asked of a bank, one by one, for a
 * person to look at: answer, what was expected, and which passage was read for it.
 *
 * The bank was made by `loci ingest` from what `loci tasks make` wrote; tools/demo does all three.
 * Right = the answer is the expected string, white space at its ends apart.  Hit = for every fact
 * that the answer needs, a passage shown overlaps its bytes. */
#include "eval.h"
#include <stdlib.h>
#include <string.h>
#include "answer.h"

enum { ITEMS_BYTES_MAX = 1 << 26, WIDTH = 96 };

typedef struct {
    engine_args ea;
    const char *bank, *items;
    int64_t k, max_tokens;
    bool json, exact;
} demo_args;

typedef struct {
    int64_t asked, right, placed, hit; /* placed: questions whose answer stands somewhere */
    int64_t answer_tokens;
    double ask_ms, decode_ms;
    json_t *rows; /* NULL without --json */
} totals;

/* ---- items --------------------------------------------------------------------------------------- */
typedef struct { /* one line of items.jsonl; strings borrowed from `row` */
    json_t *row, *facts;
    const char *file, *question, *answer;
    double depth; /* -1: nowhere, the fact is absent */
} item;

/* Line `number` of the file, released with json_decref(it->row). */
static loci_status parse_item(item *it, const char *line, size_t n, const char *path, int number,
                              loci_error *err)
{
    json_error_t je;
    json_t *depth = NULL;
    *it = (item){ .row = json_loadb(line, n, JSON_REJECT_DUPLICATES, &je) };
    if (!it->row) return set_error(err, LOCI_EFORMAT, "%s: line %d: %s", path, number, je.text);
    if (json_unpack_ex(it->row, &je, 0, "{s:s, s:s, s:s, s:o, s:o}", "file", &it->file, "question",
                       &it->question, "answer", &it->answer, "depth", &depth, "facts",
                       &it->facts) != 0 ||
        !json_is_array(it->facts)) {
        set_error(err, LOCI_EFORMAT, "%s: line %d: %s", path, number,
                  it->facts ? "\"facts\" must be an array" : je.text);
        json_decref(it->row);
        return LOCI_EFORMAT;
    }
    it->depth = json_is_number(depth) ? json_number_value(depth) : -1.0;
    return LOCI_OK;
}

/* ---- evidence -------------------------------------------------------------------------------------- */
/* The best passage that overlaps a fact; NULL if none does. */
static const loci_evidence *passage_of(const loci_answer *a, const char *file, const json_t *fact)
{
    const json_int_t start = json_integer_value(json_object_get(fact, "byte_start"));
    const json_int_t end = json_integer_value(json_object_get(fact, "byte_end"));
    for (int i = 0; i < a->n_evidence; i++) {
        const loci_evidence *p = &a->evidence[i];
        if (strcmp(p->doc, file) == 0 && p->byte_start < end && p->byte_end > start) return p;
    }
    return NULL;
}

/* Are all facts shown?  *shown: the passage of the last one, which carries the answer, else the best
 * passage of all, NULL if there is none. */
static bool all_shown(const loci_answer *a, const item *it, const loci_evidence **shown)
{
    bool all = json_array_size(it->facts) > 0;
    const loci_evidence *last = NULL;
    for (size_t i = 0; i < json_array_size(it->facts); i++) {
        last = passage_of(a, it->file, json_array_get(it->facts, i));
        if (!last) all = false;
    }
    *shown = last ? last : a->n_evidence > 0 ? &a->evidence[0] : NULL;
    return all;
}

/* ---- output --------------------------------------------------------------------------------------- */
static json_t *evidence_json(const loci_evidence *p)
{
    if (!p) return json_null();
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:f}", "doc", json_text(p->doc, strlen(p->doc)),
                     "byte_start", (json_int_t)p->byte_start, "byte_end", (json_int_t)p->byte_end,
                     "line_start", (json_int_t)p->line_start, "line_end", (json_int_t)p->line_end,
                     "score", p->score);
}

/* At most `width` bytes of one line of text. */
static void print_short(const char *text, size_t n, size_t width)
{
    const char *nl = memchr(text, '\n', n);
    if (nl) n = (size_t)(nl - text);
    const bool cut = n > width;
    if (cut) n = width - 3 - utf8_open_tail(text, width - 3);
    print_text(stdout, text, n);
    if (cut) printf("...");
}

static void print_question(int64_t number, const item *it, const char *got, size_t n, bool right,
                           const loci_evidence *shown, bool hit, double ms)
{
    char depth[16] = "  -  ";
    if (it->depth >= 0.0) snprintf(depth, sizeof depth, "%4.0f %%", 100.0 * it->depth);
    printf("%3lld %s  ", (long long)number, depth);
    print_short(it->question, strlen(it->question), WIDTH);
    printf("\n            %s  ", right ? "right" : "WRONG");
    print_short(n > 0 ? got : "(nothing)", n > 0 ? n : 9, WIDTH / 2);
    if (!right) {
        printf("   expected: ");
        print_short(it->answer, strlen(it->answer), WIDTH / 2);
    }
    printf("\n            %s  ", json_array_size(it->facts) == 0 ? "     "
                                 : hit                           ? "found"
                                                                 : "MISSED");
    if (shown) {
        print_name(stdout, shown->doc);
        printf(":%lld-%lld (%.2f)", (long long)shown->line_start, (long long)shown->line_end,
               shown->score);
    } else
        printf("no passage was read");
    printf("   %.1f ms\n", ms);
    fflush(stdout);
}

static void print_totals(const totals *t, const loci_bank_stat *s)
{
    char disk[32], resident[32];
    const double asked = t->asked > 0 ? (double)t->asked : 1.0;
    printf("\n%-22s %lld of %lld\n", "right answers", (long long)t->right, (long long)t->asked);
    printf("%-22s %lld of %lld\n", "passage of the fact", (long long)t->hit, (long long)t->placed);
    printf("%-22s %.1f\n", "ms a question", t->ask_ms / asked);
    printf("%-22s %.2f\n", "ms a token of answer",
           t->answer_tokens > 0 ? t->decode_ms / (double)t->answer_tokens : 0.0);
    printf("%-22s %lld tokens in %lld documents, %s on disk (%.1f bytes a token)\n", "bank",
           (long long)s->tokens, (long long)s->documents, human_bytes((double)s->disk_bytes, disk),
           s->tokens > 0 ? (double)s->disk_bytes / (double)s->tokens : 0.0);
    printf("%-22s %s\n", "memory of the process", human_bytes((double)resident_bytes(), resident));
}

static void print_totals_json(const demo_args *a, const loci_engine *e, totals *t,
                              const loci_bank_stat *s)
{
    const double asked = t->asked > 0 ? (double)t->asked : 1.0;
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:s, s:o}", "suite",
                          "demo", "asked", (json_int_t)t->asked, "right", (json_int_t)t->right,
                          "placed", (json_int_t)t->placed, "evidence_hits", (json_int_t)t->hit,
                          "ms_per_question", t->ask_ms / asked, "ms_per_token",
                          t->answer_tokens > 0 ? t->decode_ms / (double)t->answer_tokens : 0.0,
                          "bank_tokens", (json_int_t)s->tokens, "bank_bytes",
                          (json_int_t)s->disk_bytes, "resident_bytes", (json_int_t)resident_bytes(),
                          "model", loci_engine_info(e)->fingerprint, "rows", t->rows);
    t->rows = NULL; /* the object owns it now */
    add_machine(o, a->ea.threads);
    print_json(o);
}

/* ---- asking --------------------------------------------------------------------------------------- */
static loci_status ask_item(const demo_args *a, loci_engine *e, loci_bank *bank, const item *it,
                            totals *t, loci_error *err)
{
    loci_ask_options opt = loci_ask_options_default();
    opt.k = (int)a->k;
    opt.max_tokens = (int)a->max_tokens;
    opt.exact = a->exact;
    loci_answer out;
    const double begin = now_seconds();
    const loci_status st =
        loci_ask(e, &bank, 1, it->question, strlen(it->question), &opt, &out, err);
    if (st != LOCI_OK) return st;
    const double ms = 1e3 * (now_seconds() - begin);
    size_t n = out.answer_bytes;
    const char *got = answer_trimmed(out.answer, &n);
    const bool right = answer_is(got, n, it->answer, false);
    const loci_evidence *shown;
    const bool hit = all_shown(&out, it, &shown);
    t->asked++;
    t->right += right;
    t->placed += json_array_size(it->facts) > 0;
    t->hit += hit;
    t->ask_ms += ms;
    t->decode_ms += out.per_token_ms * out.completion_tokens;
    t->answer_tokens += out.completion_tokens;
    if (t->rows)
        json_array_append_new(t->rows,
                              json_pack("{s:o, s:s, s:o, s:s, s:b, s:o, s:b, s:f}", "depth",
                                        it->depth < 0.0 ? json_null() : json_real(it->depth),
                                        "question", it->question, "answer", json_text(got, n),
                                        "expected", it->answer, "right", right, "evidence",
                                        evidence_json(shown), "hit", hit, "ms", ms));
    else
        print_question(t->asked, it, got, n, right, shown, hit, ms);
    loci_answer_free(&out);
    return LOCI_OK;
}

static loci_status ask_all(const demo_args *a, loci_engine *e, loci_bank *bank, const char *text,
                           size_t bytes, totals *t, loci_error *err)
{
    int number = 0;
    watch_signals();
    for (size_t at = 0; at < bytes; number++) {
        const char *nl = memchr(text + at, '\n', bytes - at);
        const size_t n = nl ? (size_t)(nl - text) - at : bytes - at;
        item it;
        loci_status st = n > 0 ? parse_item(&it, text + at, n, a->items, number + 1, err) : LOCI_OK;
        if (st == LOCI_OK && n > 0) {
            st = ask_item(a, e, bank, &it, t, err);
            json_decref(it.row);
        }
        if (st != LOCI_OK) return st;
        if (interrupted()) return set_error(err, LOCI_ECANCEL, "interrupted");
        at += n + 1;
    }
    return t->asked > 0 ? LOCI_OK : set_error(err, LOCI_EFORMAT, "%s: holds no question", a->items);
}

static loci_status run(const demo_args *a, totals *t, loci_error *err)
{
    loci_engine *e = NULL;
    loci_bank *bank = NULL;
    loci_bank_stat stat = { 0 };
    char *text = NULL;
    size_t bytes = 0;
    loci_status st = read_input(a->items, ITEMS_BYTES_MAX, &text, &bytes, err);
    if (st == LOCI_OK) st = open_engine(&e, &a->ea, err);
    if (st == LOCI_OK) st = loci_bank_open(&bank, e, a->bank, LOCI_BANK_READ, err);
    if (st == LOCI_OK) st = loci_bank_info(bank, &stat, err);
    if (st == LOCI_OK) st = ask_all(a, e, bank, text, bytes, t, err);
    if (st == LOCI_OK && t->rows)
        print_totals_json(a, e, t, &stat);
    else if (st == LOCI_OK)
        print_totals(t, &stat);
    json_decref(t->rows);
    loci_bank_close(bank);
    loci_engine_close(e);
    free(text);
    return st;
}

int eval_demo(int argc, char **argv)
{
    demo_args a = { .max_tokens = 32 };
    arg args[] = {
        { "bank", ARG_STR, &a.bank, 0, 0, "DIR", "the bank to ask" },
        { "items", ARG_STR, &a.items, 0, 0, "FILE",
          "items.jsonl of `loci tasks make`; - is standard input" },
        { "k", ARG_INT, &a.k, 0, 4096, "N",
          "chunks read per token and group (default: the model's)" },
        { "max-tokens", ARG_INT, &a.max_tokens, 1, 4096, "N", "of an answer (default 32)" },
        { "exact", ARG_FLAG, &a.exact, 0, 0, NULL, "score every chunk of the bank" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "questions and totals as one JSON object" },
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "eval demo --bank DIR --items FILE [options]",
        .about = "Ask every question of an items.jsonl and show each answer beside what was "
                 "expected, with the passage that was read for it; then the totals.  The bank "
                 "holds the haystacks that `loci tasks make` wrote beside the items.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!a.bank || !a.items)
        return usage_error("--%s is missing; usage: loci %s", a.bank ? "items" : "bank",
                           spec.usage);
    loci_error err = { 0 };
    totals t = { .rows = a.json ? json_array() : NULL };
    return run(&a, &t, &err) == LOCI_OK ? EXIT_OK : fail(&err);
}
