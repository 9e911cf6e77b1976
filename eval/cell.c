/* cell.c - one question asked and judged, the counts of a cell, its row, and the frame of a run.
 *
 * Everything goes the real path: text is tokenised, ingested, searched and answered as a user's
 * would be.  Exact = the answer is the right string, white space at its ends apart.  Evidence = a
 * passage shown overlaps the bytes that carry the answer.  Recalled = these bytes are in one of the K
 * chunks that the router reads at <a>, whatever their weight: what search alone is answerable for. */
#include "cell.h"
#include "answer.h"
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

cell_args cell_args_default(void)
{
    return (cell_args){ .max_tokens = 64, .spread = 1, .doc_bytes = 16384, .margin = -1.0 };
}

int cell_args_check(cell_args *c)
{
    if (c->json && c->csv) return usage_error("--json and --csv: give one");
    if (c->exact && !c->recall) return usage_error("--exact-search: goes with --recall");
    if (c->work && strlen(c->work) > PATH_MAX - 64)
        return usage_error("--work: the name is too long");
    c->format = c->json ? ROW_JSON : c->csv ? ROW_CSV : ROW_TEXT;
    return -1;
}

/* ---- one question --------------------------------------------------------------------------- */

static bool shows(const loci_answer *a, const fact_place *p)
{
    char name[32];
    field_name(p->doc, name);
    for (int i = 0; i < a->n_evidence; i++)
        if (strcmp(a->evidence[i].doc, name) == 0 && a->evidence[i].byte_start < (int64_t)p->end &&
            a->evidence[i].byte_end > (int64_t)p->start)
            return true;
    return false;
}

/* Is the fact among all the chunks that the router picks for the question? */
static loci_status picked(const cell_args *c, loci_engine *e, field *f, const char *question,
                          const fact_place *gold, bool exact, bool *yes, loci_error *err)
{
    loci_ask_options opt = loci_ask_options_default();
    opt.k = (int)c->k;
    opt.max_evidence = 64; /* the library's most, and as many as a router may pick */
    opt.min_score = 0.0;
    opt.exact = exact;
    loci_answer out;
    const loci_status st =
        loci_recall(e, f->bank, f->n_banks, question, strlen(question), &opt, &out, err);
    if (st != LOCI_OK) return st;
    *yes = shows(&out, gold);
    loci_answer_free(&out);
    return LOCI_OK;
}

static loci_status recall(const cell_args *c, loci_engine *e, field *f, const char *question,
                          const fact_place *gold, tally *t, loci_error *err)
{
    bool codes = false, scores = false;
    loci_status st = picked(c, e, f, question, gold, false, &codes, err);
    if (st == LOCI_OK && c->exact) st = picked(c, e, f, question, gold, true, &scores, err);
    t->recalled += codes;
    t->scored += scores;
    t->kept += codes && scores;
    return st;
}

static void list_answer(const cell_args *c, const loci_question *q, const loci_answer *a,
                        bool right, const fact_place *gold, bool shown)
{
    size_t n = a->answer_bytes;
    const char *got = answer_trimmed(a->answer, &n);
    if (!c->list) return;
    json_t *o = json_object();
    put_text(o, "question", q->question);
    put_text(o, "expected", q->answer);
    put_bytes(o, "answer", got, n);
    put_flag(o, "right", right);
    put_flag(o, "absent", !gold);
    put_flag(o, "shown", shown);
    put_real(o, "refusal_lead", a->refusal_lead);
    json_dumpf(o, c->list, JSON_COMPACT);
    fputc('\n', c->list);
    json_decref(o);
}

bool cell_late(const cell_args *c, const tally *t)
{
    return c->seconds > 0 && t->asked > 0 && now_seconds() - t->since >= (double)c->seconds;
}

loci_status cell_ask(const cell_args *c, loci_engine *e, field *f, const loci_question *q,
                     const fact_place *gold, tally *t, loci_error *err)
{
    loci_ask_options opt = loci_ask_options_default();
    opt.k = (int)c->k;
    opt.max_tokens = (int)c->max_tokens;
    opt.refusal_margin = c->margin;
    loci_answer out;
    if (t->asked == 0) t->since = now_seconds();
    const loci_status st =
        loci_ask(e, f->bank, f->n_banks, q->question, strlen(q->question), &opt, &out, err);
    if (st != LOCI_OK) return st;
    const bool right = answer_is(out.answer, out.answer_bytes, q->answer, c->end_only);
    const bool denies = answer_is(out.answer, out.answer_bytes, LOCI_NOT_STATED, c->end_only);
    const bool shown = gold && shows(&out, gold);
    t->asked++;
    t->exact += right;
    t->placed += gold != NULL;
    t->hit += shown;
    t->denied += gold && denies && !right;
    t->absent += !gold;
    t->absent_right += !gold && right;
    t->prefill_ms += out.prefill_ms;
    t->decode_ms += out.per_token_ms * out.completion_tokens;
    t->answer_tokens += out.completion_tokens;
    list_answer(c, q, &out, right, gold, shown);
    loci_answer_free(&out);
    return c->recall && gold ? recall(c, e, f, q->question, gold, t, err) : LOCI_OK;
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* hits of n as NAME with its interval NAME_low, NAME_high. */
static void put_share(json_t *o, const char *name, int64_t hits, int64_t n)
{
    char key[40];
    double lo, hi;
    wilson(hits, n, &lo, &hi);
    put_real(o, name, n > 0 ? (double)hits / (double)n : NAN);
    snprintf(key, sizeof key, "%s_low", name);
    put_real(o, key, lo);
    snprintf(key, sizeof key, "%s_high", name);
    put_real(o, key, hi);
}

void cell_row(const cell_args *c, json_t *o, const loci_engine *e, const field *f, const tally *t)
{
    const double asked = t->asked ? (double)t->asked : 1.0;
    put_int(o, "bank_tokens", f->tokens);
    put_int(o, "documents", f->n_docs + f->n_slots);
    put_int(o, "questions", t->asked);
    put_share(o, "exact", t->exact, t->asked);
    put_share(o, "evidence", t->hit, t->placed);
    if (t->absent > 0) {
        put_share(o, "absent", t->absent_right, t->absent);
        put_share(o, "false_not_stated", t->denied, t->placed);
    }
    if (c->recall) put_share(o, "recall", t->recalled, t->placed);
    if (c->exact) {
        put_share(o, "recall_exact", t->scored, t->placed);
        put_share(o, "codes_kept", t->kept, t->scored);
    }
    put_real(o, "bank_bytes_per_token", f->bytes_per_token);
    put_real(o, "ms_per_token", t->answer_tokens ? t->decode_ms / (double)t->answer_tokens : NAN);
    put_real(o, "prefill_ms", t->prefill_ms / asked);
    put_real(o, "ingest_tokens_per_second", f->ingest_tokens_per_second);
    put_int(o, "resident_bytes", resident_bytes());
    put_real(o, "filler_share", f->filler_share);
    put_int(o, "spread", c->spread);
    put_text(o, "model", loci_engine_info(e)->fingerprint);
    add_machine(o, c->ea.threads);
}

static double real_of(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static void print_share(const json_t *row, const char *name, const char *label)
{
    char low[40], high[40];
    if (!json_object_get(row, name)) return;
    snprintf(low, sizeof low, "%s_low", name);
    snprintf(high, sizeof high, "%s_high", name);
    printf("  %s %.3f (%.3f .. %.3f)", label, real_of(row, name), real_of(row, low),
           real_of(row, high));
}

void cell_print(cell_args *c, json_t *row)
{
    const bool first = c->rows++ == 0;
    if (c->format == ROW_JSON) {
        print_json_row(row);
        return;
    }
    if (c->format == ROW_CSV) {
        print_csv_row(row, first);
        return;
    }
    char size[32];
    printf("%s: %.0f tokens, %.0f facts, %.0f questions\n",
           json_string_value(json_object_get(row, "family")), real_of(row, "bank_tokens"),
           real_of(row, "needles"), real_of(row, "questions"));
    static const char *const share[][2] = { { "exact", "exact" },
                                            { "evidence", "evidence" },
                                            { "recall", "recall" },
                                            { "recall_exact", "by all scores" },
                                            { "codes_kept", "kept by codes" },
                                            { "absent", "absent" },
                                            { "false_not_stated", "falsely absent" } };
    for (int i = 0; i < COUNT(share); i++) print_share(row, share[i][0], share[i][1]);
    printf("\n  %.2f ms a token, ingest %.0f tokens/s, %.1f bytes a token, %s resident\n",
           real_of(row, "ms_per_token"), real_of(row, "ingest_tokens_per_second"),
           real_of(row, "bank_bytes_per_token"), human_bytes(real_of(row, "resident_bytes"), size));
    fflush(stdout);
    json_decref(row);
}

/* ---- a whole run -------------------------------------------------------------------------------- */
static void remove_tree(const char *dir)
{
    char *one[2] = { (char *)dir, NULL }; /* fts wants char *, and leaves it alone */
    FTS *tree = fts_open(one, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *f; tree && (f = fts_read(tree));)
        if (f->fts_info == FTS_DP)
            rmdir(f->fts_path);
        else if (f->fts_info != FTS_D)
            unlink(f->fts_path);
    if (tree) fts_close(tree);
}

/* Folders of one length: the haystack's bank, by what goes into it, and what is left to nobody. */
static loci_status run_length(cell_args *c, loci_engine *e, haystack *hay, const char *scratch,
                              int64_t length, cell_run_fn *run, void *ctx, loci_error *err)
{
    char keep[PATH_MAX], work[PATH_MAX];
    snprintf(keep, sizeof keep, "%s/haystack-%lld-%lldx%lld", c->work ? c->work : scratch,
             (long long)length, (long long)c->spread, (long long)c->doc_bytes);
    snprintf(work, sizeof work, "%s/%lld", scratch, (long long)length);
    const field_options o = { .tokens = length,
                              .doc_bytes = (size_t)c->doc_bytes,
                              .spread = (int)c->spread,
                              .keep = keep,
                              .work = work,
                              .quiet = c->ea.quiet };
    field f = { 0 };
    loci_status st = make_folder(work, err);
    if (st == LOCI_OK) st = field_open(&f, e, &o, hay, err);
    if (st == LOCI_OK) st = run(ctx, c, e, &f, length, err);
    field_close(&f);
    remove_tree(work);
    return st;
}

/* 8 bytes a token: more than any text needs, so that files are read far enough; and the documents
 * for facts. */
static size_t text_needed(const cell_args *c, int64_t tokens)
{
    const int64_t facts = (c->spread + 64) * c->doc_bytes, most = (int64_t)1 << 29;
    return (size_t)(8 * tokens + facts < most ? 8 * tokens + facts : most);
}

static loci_status make_scratch(char *out, size_t size, loci_error *err)
{
    const char *tmp = getenv("TMPDIR");
    const int n = snprintf(out, size, "%s/loci-eval-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= size) return set_error(err, LOCI_EINVAL, "TMPDIR is too long");
    return mkdtemp(out) ? LOCI_OK : set_error(err, LOCI_EIO, "%s", out);
}

loci_status cell_run(cell_args *c, const arg_list *text, uint64_t seed, const int64_t *length,
                     int n, cell_run_fn *run, void *ctx, loci_error *err)
{
    char scratch[PATH_MAX - 64];
    loci_engine *e = NULL;
    haystack hay = { 0 };
    int64_t most = 0;
    for (int i = 0; i < n; i++) most = length[i] > most ? length[i] : most;
    watch_signals();
    loci_status st = open_engine(&e, &c->ea, err);
    if (st == LOCI_OK) st = haystack_open(&hay, text, text_needed(c, most), seed, err);
    if (st == LOCI_OK && c->answers && !(c->list = fopen(c->answers, "wb")))
        st = set_error(err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO, "%s", c->answers);
    if (st == LOCI_OK && c->work) st = make_folder(c->work, err);
    if (st == LOCI_OK) st = make_scratch(scratch, sizeof scratch, err);
    const bool made = st == LOCI_OK;
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        hay.at = hay.pages = 0; /* each length begins with the same text */
        st = run_length(c, e, &hay, scratch, length[i], run, ctx, err);
    }
    if (c->list && fclose(c->list) != 0 && st == LOCI_OK)
        st = set_error(err, LOCI_EIO, "%s", c->answers);
    c->list = NULL;
    if (made) remove_tree(scratch);
    haystack_close(&hay);
    loci_engine_close(e);
    return st;
}
