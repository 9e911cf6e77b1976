/* cmd_ask.c - `loci ask` and `loci recall`: questions over banks, with the passages read. */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUESTION_BYTES_MAX = 1 << 20, /* the library's own limit counts tokens and is lower */
    BANKS_MAX = ARG_LIST_MAX,
    SHOWN_LINES = 6,  /* of a passage, for people; --full and --json give all of it */
    SHOWN_BYTES = 200 /* of each line */
};

typedef struct {
    engine_args ea;
    arg_list banks;
    int64_t k, max_tokens, max_evidence, context;
    double min_score, margin;
    bool json, full, exact;
} ask_args;

typedef struct { /* what one run leaves behind */
    loci_answer answer;
    int64_t resident;
    loci_energy *energy; /* NULL without --json */
} outcome;

/* ---- the question ------------------------------------------------------------------------- */
/* The arguments joined by blanks; "-" alone reads standard input.  Owned by the caller (free). */
static loci_status take_question(const arg_list *words, char **text, size_t *bytes, loci_error *err)
{
    if (words->n == 1 && strcmp(words->item[0], "-") == 0) {
        const loci_status st = read_input("-", QUESTION_BYTES_MAX, text, bytes, err);
        while (st == LOCI_OK && *bytes > 0 &&
               ((*text)[*bytes - 1] == '\n' || (*text)[*bytes - 1] == '\r'))
            (*text)[--*bytes] = '\0'; /* `echo question |` means the question */
        return st;
    }
    size_t n = 0;
    for (int i = 0; i < words->n; i++) n += strlen(words->item[i]) + 1;
    char *s = *text = malloc(n + 1);
    if (!s) return set_error(err, LOCI_ENOMEM, "no memory for the question");
    for (int i = 0; i < words->n; i++) {
        const size_t len = strlen(words->item[i]);
        if (i > 0) *s++ = ' ';
        memcpy(s, words->item[i], len);
        s += len;
    }
    *s = '\0';
    *bytes = (size_t)(s - *text);
    return LOCI_OK;
}

/* ---- JSON --------------------------------------------------------------------------------- */
static json_t *passage_json(const loci_evidence *p)
{
    json_t *o = json_object();
    put_text(o, "bank", p->bank);
    put_text(o, "doc", p->doc);
    put_int(o, "byte_start", p->byte_start);
    put_int(o, "byte_end", p->byte_end);
    put_int(o, "line_start", p->line_start);
    put_int(o, "line_end", p->line_end);
    put_real(o, "score", p->score);
    put_bytes(o, "text", p->text, p->text_bytes);
    put_flag(o, "source_changed", p->source_changed);
    if (p->encoding && p->encoding[0]) put_text(o, "encoding", p->encoding);
    return o;
}

static void show_json(const outcome *out, bool generated)
{
    const loci_answer *a = &out->answer;
    json_t *o = json_object(), *list = json_array(), *usage = json_object(),
           *timing = json_object(), *cache = json_object();
    for (int i = 0; i < a->n_evidence; i++)
        json_array_append_new(list, passage_json(&a->evidence[i]));
    put_int(usage, "bank_tokens", a->bank_tokens);
    put_int(usage, "prompt_tokens", a->prompt_tokens);
    put_int(usage, "completion_tokens", a->completion_tokens);
    put_int(cache, "chunks_read", a->chunks_read);
    put_int(cache, "chunks_decoded", a->chunks_decoded);
    put_real(cache, "hit_rate",
             a->chunks_read ? 1.0 - (double)a->chunks_decoded / (double)a->chunks_read : NAN);
    put_real(timing, "open", a->open_ms);
    put_real(timing, "prefill", a->prefill_ms);
    put_real(timing, "per_token", a->per_token_ms);
    if (generated) {
        put_bytes(o, "answer", a->answer, a->answer_bytes);
        put_real(o, "refusal_lead", a->refusal_lead);
    }
    put_real(o, "evidence_mass", a->evidence_mass);
    json_object_set_new(o, "evidence", list);
    json_object_set_new(o, "usage", usage);
    json_object_set_new(o, "timing_ms", timing);
    json_object_set_new(o, "cache", cache);
    put_int(o, "resident_bytes", out->resident);
    json_object_set_new(o, "energy", energy_json(out->energy));
    print_json(o);
}

/* ---- text --------------------------------------------------------------------------------- */
/* The first lines of a passage, indented; "..." where it goes on. */
static void show_passage(const char *text, size_t n, bool full)
{
    size_t at = 0;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) n--;
    while (at < n && (text[at] == '\n' || text[at] == '\r')) at++;
    for (int line = 0; at < n; line++) {
        const size_t shown_max = full || at + SHOWN_BYTES > n ? n - at : SHOWN_BYTES;
        const char *nl = memchr(text + at, '\n', n - at);
        size_t len = nl ? (size_t)(nl - text) - at : n - at;
        const bool cut = len > shown_max || (!full && line == SHOWN_LINES);
        if (!full && line == SHOWN_LINES)
            len = 0;
        else if (cut)
            len = shown_max - utf8_open_tail(text + at, shown_max);
        printf("    ");
        print_text(stdout, text + at, len);
        printf("%s\n", cut ? "..." : "");
        if (cut) return;
        at += len + 1;
    }
}

static void show_text(const loci_answer *a, const ask_args *args, bool generated)
{
    if (generated) {
        print_text(stdout, a->answer, a->answer_bytes);
        printf("%s\n", a->truncated ? " ..." : "");
        if (a->truncated && !args->ea.quiet)
            fprintf(stderr, "note: the answer was cut at %d tokens (--max-tokens)\n",
                    a->completion_tokens);
    }
    if (a->n_evidence == 0) printf("%s(no passage was read)\n", generated ? "\n" : "");
    for (int i = 0; i < a->n_evidence; i++) {
        const loci_evidence *p = &a->evidence[i];
        printf("%s%d. ", generated || i > 0 ? "\n" : "", i + 1);
        print_name(stdout, p->doc);
        printf(":%lld-%lld (%.2f)", (long long)p->line_start, (long long)p->line_end, p->score);
        if (args->banks.n > 1) {
            printf(" in ");
            print_name(stdout, p->bank);
        }
        printf("%s\n", p->source_changed ? ", changed since it was read" : "");
        show_passage(p->text, p->text_bytes, args->full);
    }
}

/* ---- both subcommands --------------------------------------------------------------------- */
static loci_status run(const ask_args *args, const char *question, size_t bytes, bool generate,
                       outcome *out, loci_error *err)
{
    loci_engine *e = NULL;
    loci_bank *bank[BANKS_MAX];
    const double begin = now_seconds();
    loci_status st = args->json ? loci_energy_open(&out->energy, NULL, err) : LOCI_OK;
    if (st == LOCI_OK) st = open_engine(&e, &args->ea, err);
    if (st == LOCI_OK) st = open_banks(bank, &args->banks, e, err);
    if (st != LOCI_OK) {
        loci_engine_close(e);
        return st;
    }
    const double open_ms = 1e3 * (now_seconds() - begin);
    progress_bar bar;
    progress_begin(&bar, "answering", "tokens", 1.0, args->ea.quiet);
    loci_ask_options opt = loci_ask_options_default();
    opt.k = (int)args->k;
    opt.max_tokens = (int)args->max_tokens;
    opt.max_evidence = (int)args->max_evidence;
    opt.exact = args->exact;
    opt.min_score = args->min_score;
    opt.refusal_margin = args->margin;
    opt.context_chunks = (int)args->context;
    opt.progress = progress_show;
    opt.progress_ctx = &bar;
    st = (generate ? loci_ask : loci_recall)(e, bank, args->banks.n, question, bytes, &opt,
                                             &out->answer, err);
    progress_end(&bar);
    out->answer.open_ms = open_ms;
    out->resident = resident_bytes();
    /* The passages name their bank by a string that the bank owns: show before closing. */
    if (st == LOCI_OK && args->json)
        show_json(out, generate);
    else if (st == LOCI_OK)
        show_text(&out->answer, args, generate);
    loci_answer_free(&out->answer);
    close_banks(bank, args->banks.n);
    loci_engine_close(e);
    return st;
}

static int main_of(arg_spec *spec, ask_args *args, bool generate, int argc, char **argv)
{
    const int code = args_parse(spec, argc, argv);
    if (code >= 0) return code;
    if (args->banks.n == 0) return usage_error("--bank is missing; usage: loci %s", spec->usage);
    loci_error err = { 0 };
    char *question = NULL;
    size_t bytes = 0;
    outcome out = { 0 };
    loci_status st = take_question(&spec->rest, &question, &bytes, &err);
    if (st == LOCI_OK) st = run(args, question, bytes, generate, &out, &err);
    free(question);
    loci_energy_close(out.energy);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

/* clang-format off */
#define SHARED_ARGS(a)                                                                          \
    { "bank", ARG_LIST, &(a).banks, 0, 0, "DIR", "a bank to read" },                            \
    { "k", ARG_INT, &(a).k, 0, 4096, "N", "chunks read a token and group (0: the model's)" }, \
    { "evidence", ARG_INT, &(a).max_evidence, 0, 64, "N", "most passages shown (default 8)" },  \
    { "min-score", ARG_FLOAT, &(a).min_score, 0, 1, "X", "passages below are left out (0.01)" }, \
    { "exact", ARG_FLAG, &(a).exact, 0, 0, NULL, "score every chunk of the banks" },            \
    { "full", ARG_FLAG, &(a).full, 0, 0, NULL, "show passages whole" },                         \
    { "json", ARG_FLAG, &(a).json, 0, 0, NULL, "one JSON object" },                             \
    ENGINE_ARGS((a).ea)
/* clang-format on */

static ask_args defaults(void)
{
    const loci_ask_options o = loci_ask_options_default();
    return (ask_args){ .k = o.k,
                       .max_tokens = o.max_tokens,
                       .max_evidence = o.max_evidence,
                       .context = o.context_chunks,
                       .min_score = o.min_score,
                       .margin = o.refusal_margin };
}

int cmd_ask(int argc, char **argv)
{
    ask_args a = defaults();
    arg args[] = {
        { "max-tokens", ARG_INT, &a.max_tokens, 1, 4096, "N", "of the answer (default 64)" },
        { "refusal-margin", ARG_FLOAT, &a.margin, 0, 100, "X",
          "nats by which \"not stated\" has to lead (default: the model's); more refuses less" },
        SHARED_ARGS(a),
    };
    arg_spec spec = {
        .usage = "ask --bank DIR [--bank DIR2] [options] QUESTION",
        .about = "Answer a question from banks.  Below the answer stand the passages that the "
                 "model read, best first, as document:first line-last line (share of the "
                 "reading).  QUESTION is all arguments joined by blanks; - reads it from "
                 "standard input.",
        .args = args,
        .n_args = COUNT(args),
        .min_rest = 1,
        .max_rest = ARG_LIST_MAX,
    };
    return main_of(&spec, &a, true, argc, argv);
}

int cmd_recall(int argc, char **argv)
{
    ask_args a = defaults();
    arg args[] = {
        { "context", ARG_INT, &a.context, 0, 64, "N",
          "neighbouring chunks joined to a hit (default 0)" },
        SHARED_ARGS(a),
    };
    arg_spec spec = {
        .usage = "recall --bank DIR [--bank DIR2] [options] QUERY",
        .about = "The passages that the model would read for a query, best first; nothing is "
                 "generated. QUERY is all arguments joined by blanks; - reads it from standard "
                 "input.",
        .args = args,
        .n_args = COUNT(args),
        .min_rest = 1,
        .max_rest = ARG_LIST_MAX,
    };
    return main_of(&spec, &a, false, argc, argv);
}
