/* cmd_tasks.c - `loci tasks make`: synthetic long-range tasks as files, for any program.
 *
 *   DIR/haystack-FAMILY-0001.txt  text with the item's facts woven in
 *   DIR/items.jsonl               one question a line: its answer, and where the facts stand */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "haystack.h"
#include "task_args.h"

enum {
    HAYSTACK_MAX = 1 << 28,
    ITEMS_MAX = 9999,
    FOLDER_MAX = 3900 /* so that a file's name in it fits */
};

typedef struct {
    task_args task;
    const char *out;
    int64_t facts, items, bytes;
    bool json, quiet;
} tasks_args;

typedef struct { /* one run */
    const tasks_args *a;
    haystack hay;
    FILE *list;
    char *buffer; /* (bytes) */
    int64_t n_items, n_questions, bytes;
} maker;

typedef struct { /* one item's file */
    const loci_task_item *item;
    const char *family, *file;
    int64_t index;
    size_t bytes;
    size_t *at; /* (n_facts) where each fact begins */
} woven;

/* Text that stands at byte `at` of the file: a fact, or what an extract's answer was taken from. */
static json_t *span_json(const woven *w, const char *text, size_t at)
{
    json_t *o = json_object();
    put_text(o, "text", text);
    put_int(o, "byte_start", (int64_t)at);
    put_int(o, "byte_end", (int64_t)(at + strlen(text)));
    put_real(o, "depth", (double)at / (double)w->bytes);
    return o;
}

static json_t *fact_json(const woven *w, int fact)
{
    return span_json(w, w->item->fact[fact].text, w->at[fact]);
}

static json_t *question_json(const woven *w, const loci_question *q)
{
    json_t *o = json_object(), *facts = json_array();
    for (int g = 0; g < q->n_gold; g++) json_array_append_new(facts, fact_json(w, q->gold[g]));
    if (q->end > q->start) json_array_append_new(facts, span_json(w, q->answer, q->start));
    put_int(o, "schema", 1);
    put_text(o, "family", w->family);
    put_int(o, "item", w->index);
    put_text(o, "file", w->file);
    put_int(o, "file_bytes", (int64_t)w->bytes);
    put_text(o, "question", q->question);
    put_text(o, "answer", q->answer);
    put_flag(o, "absent", q->absent);
    /* The last gold fact carries the answer: its depth is the question's; null for absence. */
    const double place = q->n_gold > 0       ? (double)w->at[q->gold[q->n_gold - 1]]
                         : q->end > q->start ? (double)q->start
                                             : NAN;
    put_real(o, "depth", place / (double)w->bytes);
    json_object_set_new(o, "facts", facts);
    return o;
}

static loci_status write_questions(maker *m, const woven *w, loci_error *err)
{
    for (int i = 0; i < w->item->n_questions; i++) {
        json_t *row = question_json(w, &w->item->question[i]);
        const int bad = json_dumpf(row, m->list, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(row);
        if (bad || fputc('\n', m->list) == EOF)
            return set_error(err, LOCI_EIO, "%s/items.jsonl", m->a->out);
    }
    m->n_questions += w->item->n_questions;
    return LOCI_OK;
}

static loci_status write_text(const char *dir, const char *file, const char *text, size_t bytes,
                              loci_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "wb");
    if (!f) return set_error(err, LOCI_EIO, "%s", path);
    const bool whole = fwrite(text, 1, bytes, f) == bytes;
    return fclose(f) == 0 && whole ? LOCI_OK : set_error(err, LOCI_EIO, "%s", path);
}

/* A haystack of about a->bytes: what it takes comes in several pieces when files end within. */
static size_t fill(maker *m)
{
    size_t n = 0;
    const size_t want = (size_t)m->a->bytes;
    while (want - n >= 1024) {
        const size_t got = haystack_take(&m->hay, want - n, m->buffer + n);
        if (got == 0) break;
        n += got;
        if (n > want - want / 4) break; /* a cut at a line's end: enough */
    }
    return n;
}

static loci_status make_item(maker *m, loci_task_family family, int64_t index, loci_error *err)
{
    const tasks_args *a = m->a;
    const size_t len = fill(m);
    const loci_task_options opt =
        task_args_options(&a->task, family,
                          seed_of((uint64_t)a->task.seed,
                                  (uint64_t)index * LOCI_TASK_COUNT + (uint64_t)family),
                          a->facts, m->buffer, len);
    loci_task_item item;
    loci_status st = loci_task_make(&item, &opt, err);
    if (st != LOCI_OK) return st;
    const size_t n = (size_t)item.n_facts + 1;
    size_t *place = malloc(n * sizeof *place);
    char *text = NULL, file[80];
    snprintf(file, sizeof file, "haystack-%s-%04lld.txt", loci_task_name(family), (long long)index);
    woven w = { &item, loci_task_name(family), file, index, 0, malloc(n * sizeof *w.at) };
    st = place && w.at ? loci_task_place(&item, m->buffer, len, 0.0, 1.0, opt.seed, place, err)
                       : set_error(err, LOCI_ENOMEM, "no memory for %d places", item.n_facts);
    if (st == LOCI_OK) st = weave(&item, m->buffer, len, place, &text, &w.bytes, w.at, err);
    if (st == LOCI_OK) st = write_text(a->out, file, text, w.bytes, err);
    if (st == LOCI_OK) st = write_questions(m, &w, err);
    m->n_items++;
    m->bytes += (int64_t)w.bytes;
    free(text);
    free(place);
    free(w.at);
    loci_task_free(&item);
    return st;
}

static loci_status make_all(maker *m, int first, int last, loci_error *err)
{
    progress_bar bar;
    progress_begin(&bar, "making tasks", "items", 1.0, m->a->quiet);
    const int64_t total = m->a->items * (last - first + 1);
    loci_status st = LOCI_OK;
    for (int f = first; f <= last; f++)
        for (int64_t i = 1; i <= m->a->items && st == LOCI_OK; i++) {
            st = make_item(m, (loci_task_family)f, i, err);
            if (st == LOCI_OK && progress_show(&bar, m->n_items, total))
                st = set_error(err, LOCI_ECANCEL, "interrupted");
        }
    progress_end(&bar);
    return st;
}

/* Open what a run needs, make all families from first to last, close. */
static loci_status make_tasks(const tasks_args *a, int first, int last, maker *m, loci_error *err)
{
    char path[4096];
    *m = (maker){ .a = a };
    if (strlen(a->out) > FOLDER_MAX)
        return set_error(err, LOCI_EINVAL, "--out: longer than %d bytes", FOLDER_MAX);
    const int64_t all = a->bytes * a->items * (last - first + 1);
    loci_status st = make_folder(a->out, err);
    if (st == LOCI_OK)
        st = haystack_open(&m->hay, &a->task.text, all < HAYSTACK_MAX ? (size_t)all : HAYSTACK_MAX,
                           (uint64_t)a->task.seed, err);
    if (st == LOCI_OK && !(m->buffer = malloc((size_t)a->bytes)))
        st = set_error(err, LOCI_ENOMEM, "no memory for %lld bytes of text", (long long)a->bytes);
    if (st == LOCI_OK) {
        snprintf(path, sizeof path, "%s/items.jsonl", a->out);
        m->list = fopen(path, "wb");
        if (!m->list) st = set_error(err, LOCI_EIO, "%s", path);
    }
    if (st == LOCI_OK) st = make_all(m, first, last, err);
    if (m->list && fclose(m->list) != 0 && st == LOCI_OK) st = set_error(err, LOCI_EIO, "%s", path);
    haystack_close(&m->hay);
    free(m->buffer);
    return st;
}

static void report(const maker *m, const tasks_args *a)
{
    if (a->json) {
        json_t *o = json_object();
        put_text(o, "out", a->out);
        put_int(o, "items", m->n_items);
        put_int(o, "questions", m->n_questions);
        put_int(o, "bytes", m->bytes);
        print_json(o);
    } else if (!a->quiet) {
        printf("%lld items, %lld questions, %lld bytes of text\n", (long long)m->n_items,
               (long long)m->n_questions, (long long)m->bytes);
    }
}

static int tasks_make(int argc, char **argv)
{
    tasks_args a = { .task = task_args_default("all", 8), .facts = 8, .items = 1, .bytes = 65536 };
    arg args[] = {
        TASK_ARGS(a.task, "split"),
        { "facts", ARG_INT, &a.facts, 1, LOCI_TASK_MAX_FACTS, "N", "facts an item (default 8)" },
        { "items", ARG_INT, &a.items, 1, ITEMS_MAX, "N",
          "items a family, a file each (default 1)" },
        { "bytes", ARG_INT, &a.bytes, 1024, HAYSTACK_MAX, "N",
          "text around the facts (default 64K)" },
        { "out", ARG_STR, &a.out, 0, 0, "DIR", "folder to write, made if missing" },
        { "json", ARG_FLAG, &a.json, 0, 0, NULL, "counts as one JSON object" },
        { "quiet", ARG_FLAG, &a.quiet, 0, 0, NULL, "no progress, no notes" },
    };
    arg_spec spec = {
        .usage = "tasks make --out DIR [options]",
        .about = "Hide facts in text and ask for them: DIR/haystack-*.txt, and DIR/items.jsonl "
                 "with question, answer, and the byte range of each fact that the answer "
                 "needs.  Text of --text runs out once; made-up sentences follow.",
        .args = args,
        .n_args = COUNT(args),
    };
    int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!a.out) return usage_error("--out is missing; usage: loci %s", spec.usage);
    if ((code = task_args_check(&a.task, "split")) >= 0) return code;
    loci_error err = { 0 };
    maker m;
    const int first = a.task.all ? 0 : (int)a.task.family_of;
    if (make_tasks(&a, first, a.task.all ? LOCI_TASK_COUNT - 1 : first, &m, &err) != LOCI_OK)
        return fail(&err);
    report(&m, &a);
    return EXIT_OK;
}

int cmd_tasks(int argc, char **argv)
{
    static const command list[] = { { "make", tasks_make,
                                      "write haystacks, questions and answers" } };
    return run_group("tasks", list, COUNT(list), argc, argv);
}
