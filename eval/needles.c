/* needles.c - `loci eval needles`: made-up facts hidden in a bank, all of them asked for.
 *
 * A cell is one bank length with one number of facts; its items share the haystack and differ in the
 * facts.  Hiding them reads `spread` documents, so a cell of many items at a million tokens costs what
 * these documents cost, not the million. */
#include "cell.h"
#include <stdlib.h>
#include <string.h>
#include "task_args.h"

enum { LENGTHS_MAX = 16, TOKENS_LEAST = 256, TOKENS_MOST = 1 << 26 };

typedef struct {
    cell_args cell;
    task_args task;
    const char *tokens, *needles, *only;
    int64_t items;
    int64_t length[LENGTHS_MAX], facts[LENGTHS_MAX];
    int n_lengths, n_facts;
} needles_args;

/* Where the answer of q stands; NULL: nowhere. */
static const fact_place *gold_of(const loci_question *q, const fact_place *where, int doc,
                                 fact_place *span)
{
    *span = (fact_place){ doc, q->start, q->end };
    return q->end > q->start ? span : q->n_gold > 0 ? &where[q->gold[q->n_gold - 1]] : NULL;
}

/* One item: make it, hide it, ask. */
static loci_status trial(const needles_args *a, loci_engine *e, field *f, loci_task_family family,
                         int64_t facts, uint64_t seed, tally *t, loci_error *err)
{
    /* A document of its own for each item that asks about the haystack itself. */
    const field_doc *about;
    const int doc = field_subject(f, seed, &about);
    const loci_task_options opt =
        task_args_options(&a->task, family, seed, facts, about->text, about->bytes);
    loci_task_item item;
    loci_status st = loci_task_make(&item, &opt, err);
    if (st != LOCI_OK) return st;
    fact_place *where = calloc((size_t)item.n_facts + 1, sizeof *where), span;
    st = where ? field_hide(f, &item, seed, where, err)
               : set_error(err, LOCI_ENOMEM, "no memory for %d facts", item.n_facts);
    for (int i = 0; st == LOCI_OK && i < item.n_questions && !cell_late(&a->cell, t); i++) {
        const loci_question *q = &item.question[i];
        if (a->only && !strstr(q->question, a->only)) continue;
        st = cell_ask(&a->cell, e, f, q, gold_of(q, where, doc, &span), t, err);
        if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    }
    free(where);
    loci_task_free(&item);
    return st;
}

static loci_status run_cell(needles_args *a, cell_args *c, loci_engine *e, field *f, int64_t length,
                            loci_task_family family, int64_t facts, loci_error *err)
{
    tally t = { 0 };
    progress_bar bar;
    progress_begin(&bar, "asking", "items", 1.0, c->ea.quiet);
    loci_status st = LOCI_OK;
    int64_t i = 0;
    for (; i < a->items && st == LOCI_OK && !cell_late(c, &t); i++) {
        /* A seed a cell and item: cells stay the same when others are added or left out. */
        const uint64_t cell =
            seed_of(seed_of((uint64_t)a->task.seed, (uint64_t)length), (uint64_t)facts);
        st = trial(a, e, f, family, facts, seed_of(cell, (uint64_t)i), &t, err);
        if (st == LOCI_OK) progress_show(&bar, i + 1, a->items);
    }
    progress_end(&bar);
    if (st != LOCI_OK) return st;
    json_t *o = json_object();
    put_text(o, "suite", "needles");
    put_text(o, "family", loci_task_name(family));
    put_int(o, "length", length);
    put_int(o, "needles", facts);
    put_int(o, "items", i);
    put_text(o, "names", a->task.names);
    put_text(o, "wordings", a->task.wordings);
    put_real(o, "near_duplicate", a->task.near_duplicate);
    put_int(o, "hops", a->task.hops);
    put_text(o, "only", a->only ? a->only : "");
    put_int(o, "seed", a->task.seed);
    cell_row(c, o, e, f, &t);
    cell_print(c, o);
    return LOCI_OK;
}

static loci_status run_length(void *ctx, cell_args *c, loci_engine *e, field *f, int64_t length,
                              loci_error *err)
{
    needles_args *a = ctx;
    loci_status st = LOCI_OK;
    const int first = a->task.all ? 0 : (int)a->task.family_of;
    const int last = a->task.all ? LOCI_TASK_COUNT - 1 : first;
    for (int family = first; family <= last; family++)
        for (int i = 0; i < a->n_facts && st == LOCI_OK; i++)
            st = run_cell(a, c, e, f, length, (loci_task_family)family, a->facts[i], err);
    return st;
}

static int check(needles_args *a)
{
    const int code = cell_args_check(&a->cell);
    if (code >= 0) return code;
    a->n_lengths = parse_counts(a->tokens, a->length, LENGTHS_MAX, TOKENS_LEAST, TOKENS_MOST);
    if (a->n_lengths == 0)
        return usage_error("--tokens %s: expected up to %d numbers from %d to %d, apart by commas",
                           a->tokens, LENGTHS_MAX, TOKENS_LEAST, TOKENS_MOST);
    a->n_facts = parse_counts(a->needles, a->facts, LENGTHS_MAX, 1, LOCI_TASK_MAX_FACTS);
    if (a->n_facts == 0)
        return usage_error("--needles %s: expected up to %d numbers from 1 to %d, apart by commas",
                           a->needles, LENGTHS_MAX, LOCI_TASK_MAX_FACTS);
    return task_args_check(&a->task, "names");
}

int eval_needles(int argc, char **argv)
{
    needles_args a = { .cell = cell_args_default(),
                       .task = task_args_default("needle", 0),
                       .tokens = "4K,64K",
                       .needles = "8",
                       .items = 8 };
    arg args[] = {
        { "tokens", ARG_STR, &a.tokens, 0, 0, "N,N",
          "bank lengths, e.g. 4K,64K,1M (default 4K,64K)" },
        { "needles", ARG_STR, &a.needles, 0, 0, "N,N", "facts hidden at once (default 8)" },
        { "items", ARG_INT, &a.items, 1, 100000, "N", "items a cell (default 8)" },
        { "only", ARG_STR, &a.only, 0, 0, "TEXT",
          "ask only the questions that hold this text (\"user \": keys of digits)" },
        TASK_ARGS(a.task, "names"),
        CELL_ARGS(a.cell),
    };
    arg_spec spec = {
        .usage = "eval needles [options]",
        .about = "Hide facts in a bank, ask for all of them, and count exact answers and "
                 "passages that show the fact; a row for each bank length, family and number of "
                 "facts, with 95 % Wilson intervals.",
        .args = args,
        .n_args = COUNT(args),
    };
    int code = args_parse(&spec, argc, argv);
    if (code < 0) code = check(&a);
    if (code >= 0) return code;
    loci_error err = { 0 };
    return cell_run(&a.cell, &a.task.text, (uint64_t)a.task.seed, a.length, a.n_lengths, run_length,
                    &a, &err) == LOCI_OK
               ? EXIT_OK
               : fail(&err);
}
