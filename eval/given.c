/* given.c - `loci eval kv` and `loci eval babilong`: items of benchmark files, hidden in a bank.
 *
 *   kv        lines of JSON, {"ordered_kv_records": [[key, value], ...], "key": ..., "value": ...}: the
 *             object in one piece, as the file has it; one value is asked for
 *   babilong  stories in the format of bAbI, told between the lines of the haystack
 *
 * With --tokens 0 the object or the story is the whole bank. */
#include "cell.h"
#include <stdlib.h>
#include <string.h>
#include "loci/task.h"

enum { FILE_BYTES_MAX = 1 << 28, LENGTHS_MAX = 16, TOKENS_MOST = 1 << 26 };

typedef struct {
    const char *suite;
    cell_args cell;
    arg_list text;
    const char *file, *tokens, *only, *without;
    int64_t items, seed, support;
    int64_t length[LENGTHS_MAX];
    int n_lengths;
    loci_task_list list;
} given_args;

/* ---- key and value ---------------------------------------------------------------------------- */

/* The object as text; *start, *end: where the record of `key` stands in it. */
static char *object_text(const json_t *records, const char *key, size_t *start, size_t *end)
{
    size_t room = 3, n = 0, i;
    json_t *pair;
    json_array_foreach(records, i, pair) room += json_string_length(json_array_get(pair, 0)) +
                                                 json_string_length(json_array_get(pair, 1)) + 16;
    char *text = malloc(room);
    if (!text) return NULL;
    json_array_foreach(records, i, pair)
    {
        const char *k = json_string_value(json_array_get(pair, 0));
        const char *v = json_string_value(json_array_get(pair, 1));
        if (k && strcmp(k, key) == 0) *start = n + 1;
        n +=
            (size_t)sprintf(text + n, "%s\"%s\": \"%s\"", i ? ",\n " : "{", k ? k : "", v ? v : "");
        if (k && strcmp(k, key) == 0) *end = n;
    }
    n += (size_t)sprintf(text + n, "}");
    return text;
}

/* One line as an item of one fact; its strings lie in one block, the item's pool being ours. */
static loci_status kv_item(loci_task_item *item, const char *line, size_t n, const char *path,
                           int number, loci_error *err)
{
    json_error_t je;
    json_t *row = json_loadb(line, n, 0, &je), *records = NULL;
    const char *key, *value;
    *item = (loci_task_item){ 0 };
    if (!row ||
        json_unpack_ex(row, &je, 0, "{s:o, s:s, s:s}", "ordered_kv_records", &records, "key", &key,
                       "value", &value) != 0 ||
        !json_is_array(records)) {
        json_decref(row);
        return set_error(err, LOCI_EFORMAT, "%s: line %d: %s", path, number,
                         *je.text ? je.text : "\"ordered_kv_records\" must be an array");
    }
    size_t start = 0, end = 0;
    char *text = object_text(records, key, &start, &end);
    char *question = malloc(strlen(key) + 64), *answer = strdup(value);
    loci_status st = LOCI_OK;
    item->fact = calloc(1, sizeof *item->fact);
    item->question = calloc(1, sizeof *item->question);
    if (!text || !question || !answer || !item->fact || !item->question)
        st = set_error(err, LOCI_ENOMEM, "no memory for an object");
    else if (end == 0)
        st = set_error(err, LOCI_EFORMAT, "%s: line %d: no record has the key %.80s", path, number,
                       key);
    if (st == LOCI_OK) {
        sprintf(question, "What is the value of key %s?", key);
        item->fact[0] = (loci_fact){ .text = text, .len = (int)strlen(text) };
        item->question[0] = (loci_question){
            .question = question, .answer = answer, .n_gold = 1, .start = start, .end = end
        };
        item->n_facts = item->n_questions = 1;
    } else {
        free(text);
        free(question);
        free(answer);
        free(item->fact);
        free(item->question);
        *item = (loci_task_item){ 0 };
    }
    json_decref(row);
    return st;
}

static void kv_free(loci_task_list *list)
{
    for (int i = 0; i < list->n; i++) {
        free((char *)list->item[i].fact[0].text);
        free((char *)list->item[i].question[0].question);
        free((char *)list->item[i].question[0].answer);
        free(list->item[i].fact);
        free(list->item[i].question);
    }
    free(list->item);
    *list = (loci_task_list){ 0 };
}

static loci_status kv_read(loci_task_list *list, const char *text, size_t bytes, const char *path,
                           int64_t most, loci_error *err)
{
    list->item = calloc((size_t)most, sizeof *list->item);
    if (!list->item) return set_error(err, LOCI_ENOMEM, "no memory for items");
    int number = 1;
    for (size_t at = 0; at < bytes && list->n < most; number++) {
        const char *nl = memchr(text + at, '\n', bytes - at);
        const size_t n = nl ? (size_t)(nl - text) - at : bytes - at;
        if (n > 0) {
            const loci_status st = kv_item(&list->item[list->n], text + at, n, path, number, err);
            if (st != LOCI_OK) return st;
            list->n++;
        }
        at += n + 1;
    }
    return list->n > 0 ? LOCI_OK : set_error(err, LOCI_EFORMAT, "%s: holds no item", path);
}

/* ---- stories ------------------------------------------------------------------------------------ */

/* A file of all bAbI tasks holds many kinds of question: keep those asked for. */
static bool wanted(const given_args *a, const loci_task_item *item)
{
    const loci_question *q = &item->question[0];
    if (a->support > 0 && q->n_gold != a->support) return false;
    if (a->only && !strstr(q->question, a->only)) return false;
    for (int i = 0; a->without && i < item->n_facts; i++)
        if (strstr(item->fact[i].text, a->without)) return false;
    return true;
}

static loci_status choose(given_args *a, loci_error *err)
{
    int n = 0;
    for (int i = 0; i < a->list.n; i++)
        if (wanted(a, &a->list.item[i]))
            a->list.item[n++] = a->list.item[i];
        else
            loci_task_free(&a->list.item[i]);
    a->list.n = n;
    return n > 0 ? LOCI_OK
                 : set_error(err, LOCI_EFORMAT, "%s: no question of the kind asked for", a->file);
}

/* ---- asking --------------------------------------------------------------------------------------- */

static loci_status trial(given_args *a, loci_engine *e, field *f, const loci_task_item *item,
                         uint64_t seed, tally *t, loci_error *err)
{
    const loci_question *q = &item->question[0];
    fact_place *where = calloc((size_t)item->n_facts + 1, sizeof *where);
    loci_status st = where ? field_hide(f, item, seed, where, err)
                           : set_error(err, LOCI_ENOMEM, "no memory for %d facts", item->n_facts);
    if (st == LOCI_OK) {
        fact_place gold = where[q->gold[q->n_gold - 1]];
        if (q->end > q->start)
            gold = (fact_place){ gold.doc, gold.start + q->start, gold.start + q->end };
        st = cell_ask(&a->cell, e, f, q, &gold, t, err);
    }
    if (st == LOCI_OK && interrupted()) st = set_error(err, LOCI_ECANCEL, "interrupted");
    free(where);
    return st;
}

static loci_status run_length(void *ctx, cell_args *c, loci_engine *e, field *f, int64_t length,
                              loci_error *err)
{
    given_args *a = ctx;
    tally t = { 0 };
    progress_bar bar;
    progress_begin(&bar, "asking", "items", 1.0, c->ea.quiet);
    loci_status st = LOCI_OK;
    const int64_t n = a->items < a->list.n ? a->items : a->list.n;
    int64_t i = 0;
    for (; i < n && st == LOCI_OK && !cell_late(c, &t); i++) {
        /* Spread over the file: stories of one plot stand together. */
        const loci_task_item *item = &a->list.item[i * a->list.n / n];
        st = trial(a, e, f, item, seed_of((uint64_t)a->seed, (uint64_t)i), &t, err);
        if (st == LOCI_OK) progress_show(&bar, i + 1, n);
    }
    progress_end(&bar);
    if (st != LOCI_OK) return st;
    json_t *o = json_object();
    put_text(o, "suite", a->suite);
    put_text(o, "family", a->file);
    put_int(o, "length", length);
    put_int(o, "needles", 1);
    put_int(o, "items", i);
    put_int(o, "support", a->support);
    put_text(o, "only", a->only ? a->only : "");
    put_int(o, "seed", a->seed);
    cell_row(c, o, e, f, &t);
    cell_print(c, o);
    return LOCI_OK;
}

static loci_status run(given_args *a, bool kv, loci_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    loci_status st = read_input(a->file, FILE_BYTES_MAX, &text, &bytes, err);
    if (st == LOCI_OK)
        st = kv ? kv_read(&a->list, text, bytes, a->file, a->items, err)
                : loci_task_read_babi(&a->list, text, bytes, a->file, err);
    if (st == LOCI_OK && !kv) st = choose(a, err);
    if (st == LOCI_OK)
        st = cell_run(&a->cell, &a->text, (uint64_t)a->seed, a->length, a->n_lengths, run_length, a,
                      err);
    if (kv)
        kv_free(&a->list);
    else
        loci_task_list_free(&a->list);
    free(text);
    return st;
}

/* What both commands take. */
/* clang-format off */
#define GIVEN_ARGS(a, what)                                                                     \
    { "file", ARG_STR, &(a).file, 0, 0, "FILE", what "; - is standard input" },                 \
    { "tokens", ARG_STR, &(a).tokens, 0, 0, "N,N",                                              \
      "bank lengths around an item (default 0: the item alone)" },                              \
    { "items", ARG_INT, &(a).items, 1, 100000, "N", "most items (default 200)" },               \
    { "seed", ARG_INT, &(a).seed, 0, 9007199254740992.0, "N", "of the places (default 1)" },    \
    { "text", ARG_LIST, &(a).text, 0, 0, "PATH",                                                \
      "files, folders, .txt.zst corpora of the haystack (default: made-up sentences)" },        \
    CELL_ARGS((a).cell)
/* clang-format on */

static int given(given_args *a, arg_spec *spec, bool kv, int argc, char **argv)
{
    int code = args_parse(spec, argc, argv);
    if (code < 0) code = cell_args_check(&a->cell);
    if (code >= 0) return code;
    if (!a->file) return usage_error("--file is missing; usage: loci %s", spec->usage);
    a->n_lengths = parse_counts(a->tokens, a->length, LENGTHS_MAX, 0, TOKENS_MOST);
    if (a->n_lengths == 0)
        return usage_error("--tokens %s: expected up to %d numbers from 0 to %d, apart by commas",
                           a->tokens, LENGTHS_MAX, TOKENS_MOST);
    loci_error err = { 0 };
    return run(a, kv, &err) == LOCI_OK ? EXIT_OK : fail(&err);
}

int eval_kv(int argc, char **argv)
{
    given_args a = {
        .suite = "kv", .cell = cell_args_default(), .tokens = "0", .items = 200, .seed = 1
    };
    arg args[] = { GIVEN_ARGS(a, "lines with ordered_kv_records, key, value") };
    arg_spec spec = {
        .usage = "eval kv --file FILE [options]",
        .about =
            "JSON objects of random keys and values, each in one piece as the file has it, one "
            "value asked for: files of the lost-in-the-middle kind.",
        .args = args,
        .n_args = COUNT(args),
    };
    return given(&a, &spec, true, argc, argv);
}

int eval_babilong(int argc, char **argv)
{
    given_args a = {
        .suite = "babilong", .cell = cell_args_default(), .tokens = "0", .items = 200, .seed = 1
    };
    arg args[] = {
        { "support", ARG_INT, &a.support, 0, 8, "N",
          "ask only what needs so many sentences: 1, 2, 3 for qa1, qa2, qa3; 0 = all" },
        { "only", ARG_STR, &a.only, 0, 0, "TEXT", "ask only the questions that hold this text" },
        { "without", ARG_STR, &a.without, 0, 0, "TEXT",
          "leave out stories of which a sentence holds this text" },
        GIVEN_ARGS(a, "stories in the format of bAbI"),
    };
    arg_spec spec = {
        .usage = "eval babilong --file FILE [options]",
        .about =
            "Stories of a file in the format of bAbI, told between the lines of a haystack, "
            "their sentences in order over --spread documents.  Of an answer in steps, \"Mary, "
            "kitchen\", its end is compared.",
        .args = args,
        .n_args = COUNT(args),
    };
    a.cell.end_only = true;
    return given(&a, &spec, false, argc, argv);
}
