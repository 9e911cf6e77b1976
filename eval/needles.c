/* needles.c - `loci eval needles`: facts hidden in a bank, all of them asked for.
 *
 * Everything runs on the real path: text is tokenised, ingested, searched and answered as a
 * user's would be.  A cell is one bank length with one number of needles; its trials share the
 * bank and differ in the facts.  Exact = the answer is the right string, white space at its ends
 * apart.  Evidence hit = a passage shown overlaps the bytes of the fact that carries the answer.
 * Recalled (--recall) = that fact is in one of the K chunks that the router reads at <a>, whatever
 * their weight: what search alone is answerable for. */
#include "eval.h"
#include <fts.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "field.h"

enum { LENGTHS_MAX = 16, TOKENS_LEAST = 256, TOKENS_MOST = 1 << 26 };

typedef struct {
    engine_args ea;
    arg_list text;
    const char *tokens, *needles, *family, *names, *wordings, *work, *only;
    int64_t items, seed, spread, questions, k, max_tokens;
    double near_duplicate;
    bool json, csv, recall;
    row_format format;
    loci_split names_of, wordings_of;
    loci_task_family family_of;
    int64_t length[LENGTHS_MAX], facts[LENGTHS_MAX];
    int n_lengths, n_facts;
    int rows; /* printed so far */
} needles_args;

typedef struct {                       /* one cell */
    int64_t asked, exact, placed, hit; /* placed: questions whose answer stands somewhere */
    int64_t recalled;                  /* of the placed */
    double prefill_ms, decode_ms;
    int64_t answer_tokens;
} tally;

/* ---- one question ------------------------------------------------------------------------- */
static bool same_trimmed(const char *got, size_t n, const char *want)
{
    static const char blank[] = " \t\r\n";
    while (n > 0 && strchr(blank, got[0]) && got[0]) got++, n--;
    while (n > 0 && strchr(blank, got[n - 1]) && got[n - 1]) n--;
    return strlen(want) == n && memcmp(got, want, n) == 0;
}

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

/* Is the fact among all the chunks that the router reads for the question? */
static loci_status recall(const needles_args *a, loci_engine *e, field *f, const loci_question *q,
                          const fact_place *where, tally *t, loci_error *err)
{
    loci_ask_options opt = loci_ask_options_default();
    opt.k = (int)a->k;
    opt.max_evidence = 64; /* the library's most, and as many as a router may pick */
    opt.min_score = 0.0;
    loci_answer out;
    const loci_status st =
        loci_recall(e, &f->bank, 1, q->question, strlen(q->question), &opt, &out, err);
    if (st != LOCI_OK) return st;
    t->recalled += shows(&out, &where[q->gold[q->n_gold - 1]]);
    loci_answer_free(&out);
    return LOCI_OK;
}

static loci_status ask(const needles_args *a, loci_engine *e, field *f, const loci_question *q,
                       const fact_place *where, tally *t, loci_error *err)
{
    loci_ask_options opt = loci_ask_options_default();
    opt.k = (int)a->k;
    opt.max_tokens = (int)a->max_tokens;
    loci_answer out;
    const loci_status st =
        loci_ask(e, &f->bank, 1, q->question, strlen(q->question), &opt, &out, err);
    if (st != LOCI_OK) return st;
    t->asked++;
    t->exact += same_trimmed(out.answer, out.answer_bytes, q->answer);
    if (q->n_gold > 0) {
        t->placed++;
        t->hit += shows(&out, &where[q->gold[q->n_gold - 1]]);
    }
    t->prefill_ms += out.prefill_ms;
    t->decode_ms += out.per_token_ms * out.completion_tokens;
    t->answer_tokens += out.completion_tokens;
    loci_answer_free(&out);
    return a->recall && q->n_gold > 0 ? recall(a, e, f, q, where, t, err) : LOCI_OK;
}

/* ---- one cell ----------------------------------------------------------------------------- */
static loci_status trial(const needles_args *a, loci_engine *e, field *f, int64_t facts,
                         uint64_t seed, tally *t, loci_error *err)
{
    loci_task_options opt = loci_task_options_default();
    opt.seed = seed;
    opt.family = a->family_of;
    opt.names = a->names_of;
    opt.wordings = a->wordings_of;
    opt.n_facts = (int)facts;
    opt.n_questions = (int)(a->questions && a->questions < facts ? a->questions : facts);
    opt.near_duplicate = (float)a->near_duplicate;
    loci_task_item item;
    loci_status st = loci_task_make(&item, &opt, err);
    if (st != LOCI_OK) return st;
    fact_place *where = calloc((size_t)item.n_facts + 1, sizeof *where);
    st = where ? field_hide(f, &item, (int)a->spread, seed, where, err)
               : set_error(err, LOCI_ENOMEM, "no memory for %d facts", item.n_facts);
    for (int i = 0; st == LOCI_OK && i < item.n_questions; i++) {
        if (a->only && !strstr(item.question[i].question, a->only)) continue;
        st = ask(a, e, f, &item.question[i], where, t, err);
        if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    free(where);
    loci_task_free(&item);
    return st;
}

static json_t *row_of(const needles_args *a, const loci_engine *e, const field *f, int64_t length,
                      int64_t facts, const tally *t)
{
    double lo, hi, ev_lo, ev_hi;
    wilson(t->exact, t->asked, &lo, &hi);
    wilson(t->hit, t->placed, &ev_lo, &ev_hi);
    const double asked = t->asked ? (double)t->asked : 1.0;
    json_t *o = json_object();
    put_text(o, "suite", "needles");
    put_text(o, "family", loci_task_name(a->family_of));
    put_int(o, "length", length);
    put_int(o, "bank_tokens", f->tokens);
    put_int(o, "documents", f->n_docs);
    put_int(o, "needles", facts);
    put_int(o, "items", a->items);
    put_int(o, "questions", t->asked);
    put_real(o, "exact", (double)t->exact / asked);
    put_real(o, "exact_low", lo);
    put_real(o, "exact_high", hi);
    put_real(o, "evidence", t->placed ? (double)t->hit / (double)t->placed : NAN);
    put_real(o, "evidence_low", ev_lo);
    put_real(o, "evidence_high", ev_hi);
    if (a->recall) {
        wilson(t->recalled, t->placed, &ev_lo, &ev_hi);
        put_real(o, "recall", t->placed ? (double)t->recalled / (double)t->placed : NAN);
        put_real(o, "recall_low", ev_lo);
        put_real(o, "recall_high", ev_hi);
    }
    put_real(o, "bank_bytes_per_token", f->bytes_per_token);
    put_real(o, "ms_per_token", t->answer_tokens ? t->decode_ms / (double)t->answer_tokens : NAN);
    put_real(o, "prefill_ms", t->prefill_ms / asked);
    put_real(o, "ingest_tokens_per_second", f->ingest_tokens_per_second);
    put_int(o, "resident_bytes", resident_bytes());
    put_real(o, "filler_share", f->filler_share);
    put_text(o, "names", a->names);
    put_text(o, "wordings", a->wordings);
    put_text(o, "only", a->only ? a->only : "");
    put_int(o, "seed", a->seed);
    put_int(o, "spread", a->spread);
    put_text(o, "model", loci_engine_info(e)->fingerprint);
    add_machine(o, a->ea.threads);
    return o;
}

static double real_of(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static void print_row(needles_args *a, json_t *row)
{
    const bool first = a->rows++ == 0;
    if (a->format == ROW_JSON) {
        print_json_row(row);
        return;
    }
    if (a->format == ROW_CSV) {
        print_csv_row(row, first);
        return;
    }
    if (first)
        printf("%10s %8s %10s  %-22s %-22s %s%8s %10s %8s %10s\n", "tokens", "needles", "questions",
               "exact (95 %)", "evidence (95 %)", a->recall ? "recall  " : "", "ms/token",
               "ingest/s", "B/token", "resident");
    char size[32];
    printf("%10.0f %8.0f %10.0f  %.3f (%.3f .. %.3f) %.3f (%.3f .. %.3f) ",
           real_of(row, "bank_tokens"), real_of(row, "needles"), real_of(row, "questions"),
           real_of(row, "exact"), real_of(row, "exact_low"), real_of(row, "exact_high"),
           real_of(row, "evidence"), real_of(row, "evidence_low"), real_of(row, "evidence_high"));
    if (a->recall) printf("%.3f   ", real_of(row, "recall"));
    printf("%8.2f %10.0f %8.1f %10s\n", real_of(row, "ms_per_token"),
           real_of(row, "ingest_tokens_per_second"), real_of(row, "bank_bytes_per_token"),
           human_bytes(real_of(row, "resident_bytes"), size));
    fflush(stdout);
    json_decref(row);
}

static loci_status run_cell(needles_args *a, loci_engine *e, field *f, int64_t length,
                            int64_t facts, loci_error *err)
{
    tally t = { 0 };
    progress_bar bar;
    progress_begin(&bar, "asking", "trials", 1.0, a->ea.quiet);
    loci_status st = LOCI_OK;
    for (int64_t i = 0; i < a->items && st == LOCI_OK; i++) {
        /* A seed a cell and trial: cells stay the same when others are added or left out. */
        const uint64_t cell =
            seed_of(seed_of((uint64_t)a->seed, (uint64_t)length), (uint64_t)facts);
        st = trial(a, e, f, facts, seed_of(cell, (uint64_t)i), &t, err);
        if (st == LOCI_OK) progress_show(&bar, i + 1, a->items);
    }
    progress_end(&bar);
    if (st == LOCI_OK) print_row(a, row_of(a, e, f, length, facts, &t));
    return st;
}

/* ---- all cells ---------------------------------------------------------------------------- */
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

static loci_status run_length(needles_args *a, loci_engine *e, haystack *hay, const char *work,
                              int64_t length, loci_error *err)
{
    char dir[PATH_MAX];
    field f;
    snprintf(dir, sizeof dir, "%s/needles-%lld", work, (long long)length);
    loci_status st = field_open(&f, e, dir, length, hay, a->ea.quiet, err);
    for (int i = 0; i < a->n_facts && st == LOCI_OK; i++)
        st = run_cell(a, e, &f, length, a->facts[i], err);
    /* Also after a failure or Ctrl-C: the bank under --work is left as it was made.  A second
     * failure here must not hide the first. */
    loci_error late = { 0 };
    if (f.bank) {
        const loci_status restored = field_restore(&f, &late);
        if (st == LOCI_OK && restored != LOCI_OK) {
            st = restored;
            *err = late;
        }
    }
    field_close(&f);
    return st;
}

static loci_status run_all(needles_args *a, loci_error *err)
{
    char temporary[] = "/tmp/loci-eval-XXXXXX";
    const char *work = a->work;
    loci_engine *e = NULL;
    haystack hay = { 0 };
    int64_t most = 0;
    for (int i = 0; i < a->n_lengths; i++) most += a->length[i];
    watch_signals();
    loci_status st = open_engine(&e, &a->ea, err);
    if (st ==
        LOCI_OK) /* 8 bytes a token: more than any text needs, so that files are read far enough */
        st = haystack_open(&hay, &a->text, (size_t)(8 * most < 1 << 29 ? 8 * most : 1 << 29),
                           (uint64_t)a->seed, err);
    if (st == LOCI_OK && !work && !(work = mkdtemp(temporary)))
        st = set_error(err, LOCI_EIO, "%s", temporary);
    if (st == LOCI_OK && a->work) st = make_folder(work, err);
    for (int i = 0; i < a->n_lengths && st == LOCI_OK; i++) {
        hay.at = hay.pages = 0; /* each length begins with the same text */
        st = run_length(a, e, &hay, work, a->length[i], err);
    }
    if (work && !a->work) remove_tree(work);
    haystack_close(&hay);
    loci_engine_close(e);
    return st;
}

static int check(needles_args *a)
{
    loci_error err = { 0 };
    if (a->json && a->csv) return usage_error("--json and --csv: give one");
    a->format = a->json ? ROW_JSON : a->csv ? ROW_CSV : ROW_TEXT;
    a->n_lengths = parse_counts(a->tokens, a->length, LENGTHS_MAX, TOKENS_LEAST, TOKENS_MOST);
    if (a->n_lengths == 0)
        return usage_error("--tokens %s: expected up to %d numbers from %d to %d, apart by commas",
                           a->tokens, LENGTHS_MAX, TOKENS_LEAST, TOKENS_MOST);
    a->n_facts = parse_counts(a->needles, a->facts, LENGTHS_MAX, 1, LOCI_TASK_MAX_FACTS);
    if (a->n_facts == 0)
        return usage_error("--needles %s: expected up to %d numbers from 1 to %d, apart by commas",
                           a->needles, LENGTHS_MAX, LOCI_TASK_MAX_FACTS);
    if (!parse_split("names", a->names, &a->names_of) ||
        !parse_split("wordings", a->wordings, &a->wordings_of))
        return EXIT_USAGE;
    if (a->work && strlen(a->work) > PATH_MAX - 64)
        return usage_error("--work: the name is too long");
    return loci_task_by_name(a->family, &a->family_of, &err) == LOCI_OK ? -1 : fail(&err);
}

int eval_needles(int argc, char **argv)
{
    needles_args a = { .tokens = "4K,64K",
                       .needles = "8",
                       .family = "needle",
                       .names = "test",
                       .wordings = "test",
                       .items = 8,
                       .seed = 1,
                       .spread = 4,
                       .max_tokens = 32 };
    arg args[] = {
        { "tokens", ARG_STR, &a.tokens, 0, 0, "N,N",
          "bank lengths, e.g. 4K,64K,1M (default 4K,64K)" },
        { "needles", ARG_STR, &a.needles, 0, 0, "N,N", "facts hidden at once (default 8)" },
        { "items", ARG_INT, &a.items, 1, 100000, "N", "trials a cell (default 8)" },
        { "questions", ARG_INT, &a.questions, 0, LOCI_TASK_MAX_QUESTIONS, "N",
          "most asked a trial; 0 = all (default)" },
        { "family", ARG_STR, &a.family, 0, 0, "F",
          "kind of fact (default needle; loci tasks make --help has all)" },
        { "names", ARG_STR, &a.names, 0, 0, "train|test",
          "test names never occur in training (default test)" },
        { "wordings", ARG_STR, &a.wordings, 0, 0, "train|test",
          "sentences of facts and questions (default test)" },
        { "near-duplicate", ARG_FLOAT, &a.near_duplicate, 0, 1, "X",
          "share of keys one word away from another (default 0)" },
        { "only", ARG_STR, &a.only, 0, 0, "TEXT",
          "ask only the questions that hold this text (\"user \": keys of digits)" },
        { "recall", ARG_FLAG, &a.recall, 0, 0, NULL,
          "also count facts among the chunks that the router picks (a pass more a question)" },
        { "spread", ARG_INT, &a.spread, 1, 4096, "N",
          "documents that take a trial's facts (default 4)" },
        { "seed", ARG_INT, &a.seed, 0, 9007199254740992.0, "N",
          "of everything random (default 1)" },
        { "text", ARG_LIST, &a.text, 0, 0, "PATH",
          "files or folders of the haystack (default: made-up sentences)" },
        { "k", ARG_INT, &a.k, 0, 4096, "N",
          "chunks read per token and group (default: the model's)" },
        { "max-tokens", ARG_INT, &a.max_tokens, 1, 4096, "N", "of an answer (default 32)" },
        { "work", ARG_STR, &a.work, 0, 0, "DIR",
          "keep the banks here (default: a temporary folder, removed)" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object a row" },
        { "csv", ARG_FLAG, &a.csv, 0, 0, NULL, "CSV with a header" },
        ENGINE_ARGS(a.ea),
    };
    arg_spec spec = {
        .usage = "eval needles [options]",
        .about = "Hide facts in a bank, ask for all of them, and count exact answers and "
                 "passages that show the fact; a row for each bank length and number of "
                 "needles, with 95 % Wilson intervals.",
        .args = args,
        .n_args = COUNT(args),
    };
    int code = args_parse(&spec, argc, argv);
    if (code < 0) code = check(&a);
    if (code >= 0) return code;
    loci_error err = { 0 };
    return run_all(&a, &err) == LOCI_OK ? EXIT_OK : fail(&err);
}
