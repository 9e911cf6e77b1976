/* babi.c - stories in the format of the bAbI files (Weston et al. 2015) as task items.
 *
 *   1 Mary moved to the bathroom.          a sentence: its number, 1 begins a new story
 *   2 John went to the hallway.
 *   3 Where is Mary? \tbathroom\t1         a question, its answer, the sentences that it needs
 *
 * An item is one question with all sentences told so far, in order. */
#include "task/task_impl.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MOST = 400, SENTENCES = 1024, GOLD = 8 };

typedef struct {
    const char *sentence[SENTENCES]; /* borrowed from the text, not ended */
    int len[SENTENCES], number[SENTENCES];
    int n;
} story;

typedef struct { /* one line, cut up */
    int number;
    const char *text, *answer, *gold; /* answer NULL: a sentence */
    int n_text, n_answer, n_gold;
} line_parts;

static loci_status bad_line(loci_error *err, const char *label, int line, const char *what)
{
    return loci_fail(err, LOCI_EFORMAT, "%s: line %d: %s", label, line, what);
}

static int trimmed(const char *s, int n)
{
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\r')) n--;
    return n;
}

/* A number of at most six digits and what is behind it; -1: none. */
static int read_number(const char **s, const char *end)
{
    const char *c = *s;
    int n = 0;
    for (; c < end && *c >= '0' && *c <= '9' && c - *s < 6; c++) n = 10 * n + (*c - '0');
    if (c == *s) return -1;
    *s = c;
    return n;
}

/* NULL, or what is wrong with the line. */
static const char *cut_line(line_parts *p, const char *s, const char *end)
{
    *p = (line_parts){ .number = read_number(&s, end) };
    if (end - s > LINE_MOST) return "longer than 400 bytes";
    if (p->number < 1 || s == end || *s != ' ') return "expected a number and a sentence";
    if (memchr(s, '\0', (size_t)(end - s))) return "holds a NUL byte";
    s++;
    const char *tab = memchr(s, '\t', (size_t)(end - s));
    p->text = s;
    p->n_text = trimmed(s, (int)((tab ? tab : end) - s));
    if (p->n_text == 0) return "an empty sentence";
    if (!tab) return NULL;
    const char *second = memchr(tab + 1, '\t', (size_t)(end - tab - 1));
    p->answer = tab + 1;
    p->n_answer = trimmed(tab + 1, (int)((second ? second : end) - tab - 1));
    p->gold = second ? second + 1 : end;
    p->n_gold = (int)(end - p->gold);
    return p->n_answer == 0 ? "a question without an answer" : NULL;
}

static const char *keep(loci_string_pool *pool, const char *s, int n)
{
    loci_line line = { 0 };
    for (int i = 0; i < n; i++) loci_line_char(&line, s[i]);
    return loci_pool_keep(pool, &line);
}

/* The facts that the question names, as indices; NULL, or what is wrong. */
static const char *read_gold(loci_question *q, const story *t, const line_parts *p)
{
    const char *s = p->gold, *end = s + p->n_gold;
    for (;;) {
        while (s < end && (*s == ' ' || *s == '\r')) s++;
        if (s == end) return q->n_gold > 0 ? NULL : "a question that needs no sentence";
        const int number = read_number(&s, end);
        int at = t->n - 1;
        while (at >= 0 && t->number[at] != number) at--;
        if (at < 0) return "a question that needs a sentence not told";
        if (q->n_gold == GOLD) return "a question that needs more than 8 sentences";
        q->gold[q->n_gold++] = at;
    }
}

static loci_status add_item(loci_task_list *list, const story *t, const line_parts *p,
                            const char **wrong)
{
    if (list->n == list->cap) {
        const int cap = list->cap ? 2 * list->cap : 256;
        loci_task_item *more = realloc(list->item, (size_t)cap * sizeof *more);
        if (!more) return LOCI_ENOMEM;
        list->item = more;
        list->cap = cap;
    }
    loci_task_item *item = &list->item[list->n];
    loci_string_pool pool = { 0 };
    *item = (loci_task_item){ .n_facts = t->n, .n_questions = 1 };
    item->fact = calloc((size_t)t->n + 1, sizeof *item->fact);
    item->question = calloc(1, sizeof *item->question);
    if (item->fact && item->question) {
        for (int i = 0; i < t->n; i++)
            item->fact[i] =
                (loci_fact){ .text = keep(&pool, t->sentence[i], t->len[i]), .len = t->len[i] };
        item->question[0].question = keep(&pool, p->text, p->n_text);
        item->question[0].answer = keep(&pool, p->answer, p->n_answer);
        *wrong = read_gold(&item->question[0], t, p);
    }
    const bool failed = pool.failed || !item->fact || !item->question;
    item->pool = pool.head;
    list->n++; /* freed with the list, whole or not */
    return failed ? LOCI_ENOMEM : LOCI_OK;
}

loci_status loci_task_read_babi(loci_task_list *list, const char *text, size_t bytes,
                                const char *label, loci_error *err)
{
    *list = (loci_task_list){ 0 };
    story *t = calloc(1, sizeof *t);
    if (!t) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for a story", label);
    loci_status st = LOCI_OK;
    const char *const end = text + bytes;
    int line = 1;
    for (const char *s = text; s < end && st == LOCI_OK; line++) {
        const char *nl = memchr(s, '\n', (size_t)(end - s)), *stop = nl ? nl : end;
        line_parts p;
        const char *wrong = NULL;
        if (trimmed(s, stop - s < LINE_MOST ? (int)(stop - s) : LINE_MOST) > 0) {
            wrong = cut_line(&p, s, stop);
            if (!wrong && p.number == 1) t->n = 0;
            if (!wrong && p.answer) {
                st = add_item(list, t, &p, &wrong);
                if (st != LOCI_OK)
                    (void)loci_fail(err, st, "%s: no memory for %d questions", label, list->n);
            } else if (!wrong && t->n == SENTENCES) {
                wrong = "more than 1,024 sentences in one story";
            } else if (!wrong) {
                t->sentence[t->n] = p.text;
                t->len[t->n] = p.n_text;
                t->number[t->n++] = p.number;
            }
        }
        if (wrong) st = bad_line(err, label, line, wrong);
        s = nl ? nl + 1 : end;
    }
    if (st == LOCI_OK && list->n == 0) st = bad_line(err, label, line, "no question in it");
    if (st != LOCI_OK) loci_task_list_free(list);
    free(t);
    return st;
}

void loci_task_list_free(loci_task_list *list)
{
    for (int i = 0; i < list->n; i++) loci_task_free(&list->item[i]);
    free(list->item);
    *list = (loci_task_list){ 0 };
}
