/* extract.c - questions about real text whose answer is a piece of it.
 *
 * Prose: which words follow or precede these, which one is missing here.  Code and documents: what
 * a macro is defined as, which arguments a function takes, what a line "Key: value" gives.  What a
 * question quotes stands once in the text, so that there is one answer; the answer is found by
 * looking the text up and is copied from it byte by byte. */
#include "task/task_impl.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = 14, SPAN_BYTES = 90, LINES_AHEAD = 120, TRIES_A_QUESTION = 24 };

typedef struct {
    size_t start, end;
} span;

typedef struct { /* a question being made */
    loci_say ask;
    loci_line key;
    span answer;
    bool absent;
} draft;

static size_t length(span s)
{
    return s.end - s.start;
}

/* How often the bytes stand in the text, counted to 2. */
static int count(const loci_lexicon *text, const char *what, size_t n)
{
    const char *at = text->text, *end = text->text + text->bytes;
    int times = 0;
    for (; times < 2 && (at = memmem(at, (size_t)(end - at), what, n)); at++) times++;
    return times;
}

static void add_bytes(loci_line *line, const loci_lexicon *text, span s)
{
    for (size_t i = s.start; i < s.end; i++) loci_line_char(line, text->text[i]);
}

/* Without punctuation and blanks at its ends. */
static span trimmed(const loci_lexicon *text, span s)
{
    while (s.start < s.end && !loci_is_word_byte(text->text[s.end - 1]) &&
           (unsigned char)text->text[s.end - 1] < 0x80)
        s.end--;
    return s;
}

/* An answer is short, begins with a letter or digit, and has no quotes. */
static bool good_answer(const loci_lexicon *text, span s)
{
    return s.end > s.start && length(s) <= SPAN_BYTES && loci_is_word_byte(text->text[s.start]) &&
           !memchr(text->text + s.start, '"', length(s));
}

/* ---- prose ------------------------------------------------------------------------------- */

/* Words of one line from byte `at` on, one blank apart; returns how many. */
static int words_at(const loci_lexicon *text, size_t at, span word[WORDS])
{
    int n = 0;
    while (at < text->bytes && text->text[at] != ' ' && text->text[at] != '\n') at++;
    while (n < WORDS && at + 1 < text->bytes && text->text[at] == ' ') {
        const size_t start = ++at;
        while (at < text->bytes && (unsigned char)text->text[at] > ' ' && text->text[at] != '"')
            at++;
        if (at == start || at - start > 24) break;
        word[n++] = (span){ start, at };
    }
    return n;
}

static bool quote(draft *d, const loci_lexicon *text, span s)
{
    if (length(s) > 2 * SPAN_BYTES || count(text, text->text + s.start, length(s)) != 1)
        return false;
    add_bytes(&d->key, text, s);
    return true;
}

/* a words quoted, b words asked for, behind or before them. */
static bool draft_beside(draft *d, const loci_lexicon *text, size_t at, loci_rng *rng)
{
    span w[WORDS];
    const int n = words_at(text, at, w);
    const int a = 3 + (int)loci_rng_below(rng, 4), b = 1 + (int)loci_rng_below(rng, 6);
    if (n < a + b) return false;
    const bool next = loci_rng_below(rng, 3) != 0;
    d->ask = next ? LOCI_ASK_NEXT : LOCI_ASK_BEFORE;
    const span first = { w[0].start, w[(next ? a : b) - 1].end };
    const span second = { w[next ? a : b].start, w[a + b - 1].end };
    d->answer = trimmed(text, next ? second : first);
    /* What is before the quoted words must reach up to them. */
    if (!next && d->answer.end != first.end) return false;
    return good_answer(text, d->answer) && quote(d, text, next ? first : second);
}

static bool draft_gap(draft *d, const loci_lexicon *text, size_t at, loci_rng *rng)
{
    span w[WORDS];
    const int n = words_at(text, at, w);
    if (n < 7) return false;
    const int gap = 3 + (int)loci_rng_below(rng, (uint32_t)n - 5);
    d->ask = LOCI_ASK_GAP;
    d->answer = trimmed(text, w[gap]);
    if (!good_answer(text, d->answer) || length(d->answer) < 3) return false;
    if (!quote(d, text, (span){ w[0].start, w[gap - 1].end })) return false;
    loci_line_add(&d->key, " ___");
    add_bytes(&d->key, text, (span){ d->answer.end, w[n - 1].end });
    return true;
}

/* The beginning of one place goes on like another: nowhere in the text. */
static bool draft_absent(draft *d, const loci_lexicon *text, size_t at, loci_rng *rng)
{
    span a[WORDS], b[WORDS];
    const int n = words_at(text, at, a);
    const int m = words_at(text, (size_t)(loci_rng_unit(rng) * (double)text->bytes), b);
    if (n < 3 || m < 3) return false;
    d->ask = loci_rng_below(rng, 3) ? LOCI_ASK_NEXT : LOCI_ASK_BEFORE;
    d->absent = true;
    add_bytes(&d->key, text, (span){ a[0].start, a[2].end });
    loci_line_char(&d->key, ' ');
    add_bytes(&d->key, text, (span){ b[0].start, b[2].end });
    return count(text, d->key.s, d->key.len) == 0;
}

/* ---- lines of code and documents -------------------------------------------------------------- */

static bool is_name_byte(char c)
{
    return loci_is_word_byte(c) || c == '_';
}

static size_t name_end(const loci_lexicon *text, size_t at)
{
    while (at < text->bytes && is_name_byte(text->text[at])) at++;
    return at;
}

static bool begins(const loci_lexicon *text, span line, const char *with)
{
    const size_t n = strlen(with);
    return length(line) > n && memcmp(text->text + line.start, with, n) == 0;
}

/* #define NAME value */
static bool draft_define(draft *d, const loci_lexicon *text, span line)
{
    if (!begins(text, line, "#define ")) return false;
    const span name = { line.start + 8, name_end(text, line.start + 8) };
    if (length(name) < 3 || text->text[name.end] == '(') return false;
    size_t from = name.end;
    while (from < line.end && (text->text[from] == ' ' || text->text[from] == '\t')) from++;
    size_t end = from;
    while (end < line.end && (unsigned char)text->text[end] > ' ') end++;
    d->ask = LOCI_ASK_DEFINED;
    d->answer = trimmed(text, (span){ from, end });
    add_bytes(&d->key, text, name);
    return good_answer(text, d->answer) &&
           count(text, text->text + line.start, name.end + 1 - line.start) == 1;
}

/* NAME(arguments) at the head of a function in C or Python. */
static bool draft_function(draft *d, const loci_lexicon *text, span line)
{
    const char *t = text->text, *open = memchr(t + line.start, '(', length(line));
    if (!open || !(is_name_byte(t[line.start]) || begins(text, line, "    def "))) return false;
    const size_t at = (size_t)(open - t);
    const char *close = memchr(open, ')', line.end - at);
    if (!close || memchr(t + line.start, '=', at - line.start)) return false;
    span name = { at, at };
    while (name.start > line.start && is_name_byte(t[name.start - 1])) name.start--;
    const span behind = { (size_t)(close - t) + 1, line.end };
    /* A type or "def " before the name, nothing but a brace or a colon behind the brackets. */
    if (length(name) < 3 || name.start < line.start + 4 || length(behind) > 2) return false;
    d->ask = LOCI_ASK_ARGUMENTS;
    d->answer = (span){ at + 1, (size_t)(close - t) };
    add_bytes(&d->key, text, name);
    return good_answer(text, d->answer) &&
           count(text, t + name.start, d->answer.end - name.start) == 1;
}

/* Key: value */
static bool draft_field(draft *d, const loci_lexicon *text, span line)
{
    const char *t = text->text, *colon = memchr(t + line.start, ':', length(line));
    if (!colon || line.start == 0) return false;
    const span key = { line.start, (size_t)(colon - t) };
    if (length(key) < 3 || length(key) > 30 || t[key.start] < 'A' || t[key.start] > 'Z' ||
        colon[1] != ' ' || line.end <= key.end + 2)
        return false;
    for (size_t i = key.start; i < key.end; i++)
        if (!is_name_byte(t[i]) && t[i] != ' ' && t[i] != '-') return false;
    d->ask = LOCI_ASK_FIELD;
    d->answer = trimmed(text, (span){ key.end + 2, line.end });
    add_bytes(&d->key, text, key);
    return good_answer(text, d->answer) && count(text, t + key.start - 1, length(key) + 2) == 1;
}

/* The first line from `at` on that can be asked about. */
static bool draft_line(draft *d, const loci_lexicon *text, size_t at)
{
    const char *end = text->text + text->bytes;
    for (int i = 0; i < LINES_AHEAD; i++) {
        const char *nl = memchr(text->text + at, '\n', text->bytes - at);
        if (!nl || nl + 1 == end) return false;
        const char *stop = memchr(nl + 1, '\n', (size_t)(end - nl - 1));
        if (!stop) return false;
        const span line = { (size_t)(nl + 1 - text->text), (size_t)(stop - text->text) };
        at = line.end;
        if (length(line) < 8 || length(line) > 200) continue;
        loci_line_clear(&d->key);
        if (draft_define(d, text, line)) return true;
        loci_line_clear(&d->key);
        if (draft_function(d, text, line)) return true;
        loci_line_clear(&d->key);
        if (draft_field(d, text, line)) return true;
    }
    return false;
}

/* ---- the item -------------------------------------------------------------------------------------- */

static bool draft_any(draft *d, loci_maker *m)
{
    const loci_lexicon *text = &m->lex;
    const size_t at = (size_t)(loci_rng_unit(&m->rng) * (double)text->bytes);
    const uint32_t how = loci_rng_below(&m->rng, 10);
    if (loci_rng_chance(&m->rng, m->opt->absent)) return draft_absent(d, text, at, &m->rng);
    if (how < 3 && draft_line(d, text, at)) return true;
    loci_line_clear(&d->key);
    return how < 7 ? draft_beside(d, text, at, &m->rng) : draft_gap(d, text, at, &m->rng);
}

loci_status loci_extract_make(loci_task_item *item, loci_maker *m, loci_error *err)
{
    const int want = m->opt->n_questions;
    item->question = calloc((size_t)want, sizeof *item->question);
    if (!item->question) return loci_fail(err, LOCI_ENOMEM, "no memory for %d questions", want);
    for (int t = 0; t < want * TRIES_A_QUESTION && item->n_questions < want; t++) {
        draft d = { .absent = false };
        loci_line_clear(&d.key);
        if (m->lex.bytes < 64 || !draft_any(&d, m) || !loci_set_add(&m->names, d.key.s)) continue;
        loci_question q = { .answer = loci_not_stated, .absent = d.absent };
        if (!d.absent) {
            loci_line_clear(&m->line);
            add_bytes(&m->line, &m->lex, d.answer);
            q.answer = loci_pool_keep(&m->pool, &m->line);
            q.start = d.answer.start;
            q.end = d.answer.end;
        }
        q.question = loci_maker_say(m, d.ask, &(loci_say_args){ .key = d.key.s });
        item->question[item->n_questions++] = q;
    }
    if (m->pool.failed) return loci_fail(err, LOCI_ENOMEM, "no memory for %d questions", want);
    return item->n_questions > 0
               ? LOCI_OK
               : loci_fail(err, LOCI_ENOTFOUND, "text of %zu bytes: nothing to ask about in it",
                           m->lex.bytes);
}
