/* task_item.c - training sequences with facts, questions and answers.
 *
 * Facts are hidden in an excerpt, as bytes, before it is tokenised, exactly as they would stand in a
 * user's file; extracts ask about the excerpt itself.  Then come the questions, either as documents
 * of their own (<bos><q> question <a> answer <e>, the text's chunks being the bank between them) or
 * going on in the text's stream.
 *
 * An answer is given in the very tokens that the text has for it, wherever these begin and end with
 * it: then each of them has one row of the bank to be copied from, and "3fa9 in quotes is not
 * tokenised in a second way behind a blank.  The chunk of that row is the gold chunk.
 *
 * A question that needs several facts one after the other (chains, stories, clauses) has gold chunks
 * on its last tokens too: the fact asked about first, the one before the last right before <a>.  A
 * Read finds one thing at a time; so the way is walked while the question ends, and a short answer's
 * first token comes out right.  Chains and stories give the way in their answer too, each step from
 * the fact that says it.  In a list and in a way the comma has the chunk of the value that it
 * announces. */
#include "train/item.h"
#include <math.h>
#include <string.h>

enum {
    SLACK_TOKENS = 4, /* joints between facts and text may cost a token each */
    FIT_TRIES = 6,
    QUESTIONS = 256,
    VALUES = 8,
    VALUE_SLACK = 2, /* a value's own tokens may be more than those behind a blank */
    FRAME = 4        /* <bos> <q> <a> <e> */
};

typedef struct { /* where a question's tokens lie in maker->qtok */
    int start, n_question, n_answer;
    int named; /* tokens up to its last digit: the mark asked about ends there; 0: no digit */
    int index; /* in the task item */
} question_span;

typedef struct {    /* where one value of an answer stands in the text */
    int first, end; /* tokens of the text document; what is copied lies in [first, end) */
    bool exact;     /* these tokens are the value, or a blank and the value */
    bool blank;     /* they begin with the blank */
    bool absent;    /* it stands nowhere */
} value_place;

typedef struct { /* an item being made */
    loci_item_maker *m;
    const loci_train_config *c;
    loci_task_item task;
    question_span span[QUESTIONS];
    bool one_line; /* a JSON object in one piece without line ends */
    int n_questions;
    size_t n_tok; /* of the text */
    loci_task_family family;
    bool separate;
} making;

/* ---- what to make ------------------------------------------------------------------------ */
static loci_task_family draw_family(const loci_train_config *c, loci_rng *rng)
{
    double sum = 0.0;
    for (int f = 0; f < LOCI_TASK_COUNT; f++) sum += (double)c->family[f];
    double x = loci_rng_unit(rng) * sum;
    for (int f = 0; f < LOCI_TASK_COUNT; f++) {
        x -= (double)c->family[f];
        if (x < 0.0) return (loci_task_family)f;
    }
    return LOCI_TASK_NEEDLE;
}

/* Facts that a unit of the family has, so that an item of any family is about as long. */
static int facts_a_unit(const loci_task_options *o)
{
    switch (o->family) {
    case LOCI_TASK_MULTIVALUE:
    case LOCI_TASK_ORDINAL: return 3;
    case LOCI_TASK_LATEST:
    case LOCI_TASK_CONFLICT: return 2;
    case LOCI_TASK_VARIABLE: return (o->hops + 2) / 2; /* short ones */
    default: return 1;
    }
}

static loci_task_options draw_task(const loci_train_config *c, const loci_phase *p, uint64_t theme,
                                   loci_rng *rng)
{
    loci_task_options o = loci_task_options_default();
    o.seed = loci_rng_u64(rng);
    o.family = draw_family(c, rng);
    o.names = o.wordings = LOCI_SPLIT_TRAIN;
    o.hops = 1 + (int)loci_rng_below(rng, (uint32_t)p->parts_max);
    o.values_max = p->parts_max < 2 ? 2 : p->parts_max;
    const double lo = log(p->facts_min), hi = log(p->facts_max + 1.0);
    int n = (int)exp(lo + (hi - lo) * loci_rng_unit(rng)) / facts_a_unit(&o);
    o.n_facts = n < 1 ? 1 : n > p->facts_max ? p->facts_max : n;
    /* Every depth of a chain may be asked for. */
    n = o.family == LOCI_TASK_EXTRACT    ? p->questions_max
        : o.family == LOCI_TASK_VARIABLE ? o.n_facts * o.hops
                                         : o.n_facts;
    if (n > p->questions_max) n = p->questions_max;
    o.n_questions = n > QUESTIONS ? QUESTIONS : n;
    o.near_duplicate = p->near_duplicate;
    o.absent = p->absent;
    if (loci_rng_unit(rng) < (double)p->shared_keys) o.theme = theme;
    return o;
}

/* ---- questions ------------------------------------------------------------------------------ */
static loci_status encode_part(making *k, const char *part, int at, uint32_t *ends, int *n,
                               loci_error *err)
{
    size_t n_tok = 0;
    const int bytes = snprintf(k->m->question, sizeof k->m->question, " %s", part);
    /* Longer than any question of a task: our bug, and cut. */
    const size_t len =
        (size_t)bytes < sizeof k->m->question ? (size_t)bytes : sizeof k->m->question - 1;
    const loci_status st =
        loci_encode(k->m->enc, k->m->question, len, k->m->qtok + at, ends, 1024, &n_tok, err);
    *n = (int)n_tok;
    return st;
}

/* How many of the n tokens in m->question reach up to its last digit. */
static int up_to_digit(const loci_item_maker *m, const uint32_t *ends, int n)
{
    for (; n > 0; n--)
        for (uint32_t i = n > 1 ? ends[n - 2] : 0; i < ends[n - 1]; i++)
            if (m->question[i] >= '0' && m->question[i] <= '9') return n;
    return 0;
}

/* " question" and " answer" as ids into m->qtok; as many questions as fit into `budget` tokens. */
static loci_status encode_questions(making *k, int budget, loci_error *err)
{
    int used = 0, cost = 0;
    for (int i = 0; i < k->task.n_questions && k->n_questions < QUESTIONS; i++) {
        const loci_question *q = &k->task.question[i];
        int n_question = 0, n_answer = 0;
        uint32_t *ends = k->m->hay_ends; /* the excerpt's come later */
        loci_status st = encode_part(k, q->question, used, ends, &n_question, err);
        const int named = up_to_digit(k->m, ends, n_question);
        if (st == LOCI_OK && cost + n_question < budget)
            st = encode_part(k, q->answer, used + n_question, NULL, &n_answer, err);
        if (st != LOCI_OK) return st;
        const int values = q->n_gold > 1 ? q->n_gold : 1;
        cost += n_question + n_answer + FRAME + VALUE_SLACK * values;
        if (cost > budget) break;
        k->span[k->n_questions++] = (question_span){ used, n_question, n_answer, named, i };
        used += n_question + n_answer;
    }
    return LOCI_OK;
}

/* Tokens that the questions take at most. */
static int question_tokens(const making *k)
{
    int n = 0;
    for (int i = 0; i < k->n_questions; i++) {
        const loci_question *q = &k->task.question[k->span[i].index];
        const int values = q->n_gold > 1 ? q->n_gold : 1;
        n += k->span[i].n_question + k->span[i].n_answer + FRAME + VALUE_SLACK * values;
    }
    return n;
}

/* ---- the text with its facts --------------------------------------------------------------------- */

/* A JSON object is scattered over the text, or stands in one piece. */
static void gather(making *k, size_t hay_bytes)
{
    size_t at = k->m->place[0];
    while (at < hay_bytes && at > 0 && k->m->hay[at - 1] != '\n') at++;
    if (at < hay_bytes || hay_bytes == 0)
        for (int i = 0; i < k->task.n_facts; i++) k->m->place[i] = at;
}

/* Write the excerpt with its facts into m->text; fact_at[i] = where fact i begins.  In one line:
 * facts that stand together do not begin lines of their own. */
static size_t weave(loci_item_maker *m, const loci_task_item *task, size_t hay_bytes, bool one_line)
{
    size_t from = 0, n = 0;
    /* place[] keeps the order within groups only: visit facts by place, ties by index. */
    bool done[LOCI_TASK_MAX_FACTS] = { false };
    for (int k = 0; k < task->n_facts; k++) {
        int best = -1;
        for (int i = 0; i < task->n_facts; i++)
            if (!done[i] && (best < 0 || m->place[i] < m->place[best])) best = i;
        done[best] = true;
        const size_t p = m->place[best];
        if (one_line && k > 0 && p == from && m->text[n - 1] == '\n') n--;
        memcpy(m->text + n, m->hay + from, p - from);
        n += p - from;
        from = p;
        /* On a line of its own where a line begins here, else within the running text. */
        const char sep = n == 0 || m->text[n - 1] == '\n' ? '\n' : ' ';
        if (sep == ' ' && m->text[n - 1] != ' ') m->text[n++] = ' ';
        m->fact_at[best] = n;
        memcpy(m->text + n, task->fact[best].text, (size_t)task->fact[best].len);
        n += (size_t)task->fact[best].len;
        if (sep == '\n' || from >= hay_bytes || (m->hay[from] != ' ' && m->hay[from] != '\n'))
            m->text[n++] = sep;
    }
    if (one_line && n > 0 && m->text[n - 1] == ' ') m->text[n - 1] = '\n';
    memcpy(m->text + n, m->hay + from, hay_bytes - from);
    return n + hay_bytes - from;
}

/* An excerpt of `room` tokens with the facts in it, the last `clear` of them without any, in m->text;
 * its tokens in m->tok, m->ends.  The excerpt shrinks until everything fits; *fits = false if the
 * facts and what must stay clear do not. */
static loci_status build_text(making *k, const loci_corpus *corpus, int room, int clear,
                              bool together, loci_rng *rng, bool *fits, loci_error *err)
{
    loci_item_maker *m = k->m;
    size_t fact_bytes = 0, n;
    *fits = false;
    for (int i = 0; i < k->task.n_facts; i++) fact_bytes += (size_t)k->task.fact[i].len + 2;
    if (fact_bytes > (size_t)room * LOCI_ITEM_TOKEN_BYTES) return LOCI_OK;
    const size_t hay = loci_item_excerpt(m->hay, m->text_cap / 2,
                                         (size_t)room * LOCI_ITEM_TOKEN_BYTES, corpus, rng);
    loci_status st = loci_item_encode(m, m->hay, hay, room, m->tok, m->hay_ends, &n, err);
    /* Facts cost about a token for three bytes; what is guessed wrong is mended below. */
    int64_t want = room - (int64_t)(fact_bytes / 3) - SLACK_TOKENS;
    const uint64_t place_seed = loci_rng_u64(rng);
    for (int t = 0; t < FIT_TRIES && st == LOCI_OK; t++) {
        if (want > (int64_t)n) want = (int64_t)n;
        if (want < 0) want = 0;
        if (clear > 0 && want <= clear) return LOCI_OK;
        const size_t hay_bytes = want > 0 ? m->hay_ends[want - 1] : 0;
        const double depth_max =
            clear > 0 ? (double)m->hay_ends[want - 1 - clear] / (double)hay_bytes : 1.0;
        st =
            loci_task_place(&k->task, m->hay, hay_bytes, 0.0, depth_max, place_seed, m->place, err);
        if (st != LOCI_OK) return st;
        if (together) gather(k, (size_t)(depth_max * (double)hay_bytes));
        const size_t bytes = weave(m, &k->task, hay_bytes, k->one_line);
        st = loci_item_encode(m, m->text, bytes, room + 1, m->tok, m->ends, &k->n_tok, err);
        *fits = (int64_t)k->n_tok <= room;
        if (*fits || want == 0) return st;
        /* Cut off behind room + 1: what is left over is counted in bytes. */
        want -= SLACK_TOKENS + (int64_t)(bytes - m->ends[k->n_tok - 1]) / 3;
    }
    return st;
}

/* ---- where answers stand ----------------------------------------------------------------------- */

/* Position in the text document of the token that holds the byte `at` of m->text (<bos> is 0). */
static int position_of(const making *k, size_t at)
{
    size_t lo = 0, hi = k->n_tok;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (k->m->ends[mid] > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return (int)lo + 1;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* The place of `len` bytes from byte `at` of m->text. */
static value_place place_at(const making *k, size_t at, size_t len)
{
    const loci_item_maker *m = k->m;
    value_place v = { .blank = at > 0 && m->text[at - 1] == ' ' };
    const size_t from = v.blank ? at - 1 : at;
    /* A blank before a number is a token of its own, and the answer begins with it. */
    v.first = position_of(k, from);
    v.end = position_of(k, at + (len ? len - 1 : 0)) + 1;
    const size_t starts = v.first > 1 ? m->ends[v.first - 2] : 0, ends = m->ends[v.end - 2];
    v.exact = starts == from && ends == at + len;
    return v;
}

size_t loci_item_last_place(const char *text, size_t n, const char *value, size_t len)
{
    size_t whole = 0, any = 0;
    bool found = false;
    for (size_t i = 0; i + len <= n; i++) {
        if (memcmp(text + i, value, len) != 0) continue;
        any = i;
        if (i > 0 && is_word(text[i - 1]) && is_word(value[0])) continue;
        if (i + len < n && is_word(text[i + len]) && is_word(value[len - 1])) continue;
        whole = i;
        found = true;
    }
    return found ? whole : any;
}

/* Where each of the question's values stands: several values (joined by ", ") come from the
 * gold facts in order, a single one from the last gold fact.  "1,234 euros" is one value. */
static int find_values(const making *k, const loci_question *q, value_place *out)
{
    if (q->absent) {
        out[0] = (value_place){ .absent = true };
        return 1;
    }
    if (q->n_gold == 0) { /* an extract: of the text itself */
        out[0] = place_at(k, q->start, q->end - q->start);
        return 1;
    }
    const char *part = q->answer;
    int parts = 0;
    const bool list = strstr(q->answer, ", ") != NULL && q->n_gold > 1;
    for (int g = list ? 0 : q->n_gold - 1; g < q->n_gold; g++) {
        const loci_fact *f = &k->task.fact[q->gold[g]];
        const char *end = list ? strstr(part, ", ") : NULL;
        const size_t len = end ? (size_t)(end - part) : strlen(part);
        const size_t at = loci_item_last_place(f->text, (size_t)f->len, part, len);
        out[parts++] = place_at(k, k->m->fact_at[q->gold[g]] + at, len);
        part = end ? end + 2 : part;
    }
    return parts;
}

/* ---- writing a question ------------------------------------------------------------------------- */

/* Row of the bank that holds the same token as the answer's next one: the reading goes on from
 * where it is in the value, or one further; -1 when text and answer are tokenised differently. */
static int32_t source_row(const loci_item *it, const value_place *v, int *at, int32_t id)
{
    for (int p = *at; p < v->end && p < *at + 2; p++)
        if (it->ids[p] == id) {
            *at = p + 1;
            return p; /* the text is document 0: rows of its chunks are its positions */
        }
    return -1;
}

static void put_answer(loci_item *it, const making *k, int32_t id, bool absent_start,
                       int32_t source)
{
    /* The chunk that holds this very token: a value may lie in two chunks. */
    const int32_t gold = absent_start ? -2 : source < 0 ? -1 : source / k->c->hp.chunk;
    loci_item_put(it, id, k->c->answer_weight, true, gold, source);
}

/* A comma is copied from nowhere, but the value behind it decides that it comes. */
static void put_comma(loci_item *it, const making *k, int32_t id, const value_place *next)
{
    loci_item_put(it, id, k->c->answer_weight, true, next->first / k->c->hp.chunk, -1);
}

/* The answer in tokens of its own: "not stated", or a value that shares a token with its
 * neighbours in the text. */
static void put_encoded(loci_item *it, const making *k, const question_span *q,
                        const value_place *value, int n_values, int32_t comma)
{
    const bool absent = value[0].absent;
    int which = 0, at = value[0].first;
    for (int i = 0; i < q->n_answer; i++) {
        const int32_t a = k->m->qtok[q->start + q->n_question + i];
        /* An absent fact marks only the first answer token: that is where null must win. */
        const int32_t source = absent ? -1 : source_row(it, &value[which], &at, a);
        put_answer(it, k, a, absent && i == 0, source);
        /* Amounts hold commas too: a value ends where all of it was given. */
        if (a == comma && at >= value[which].end && which + 1 < n_values) at = value[++which].first;
    }
}

/* The answer in the text's tokens; values behind the first that have no blank before them get one. */
static void put_copied(loci_item *it, const making *k, const value_place *value, int n_values,
                       int32_t comma, int32_t blank)
{
    for (int v = 0; v < n_values; v++) {
        if (v > 0) put_comma(it, k, comma, &value[v]);
        if (v > 0 && !value[v].blank) put_answer(it, k, blank, false, -1);
        for (int p = value[v].first; p < value[v].end; p++) put_answer(it, k, it->ids[p], false, p);
    }
}

/* The id of a text of one token, -1 if it is not one. */
static int32_t only_token(loci_item_maker *m, const char *text)
{
    int32_t id[8];
    size_t n = 0;
    const loci_status st = loci_encode(m->enc, text, strlen(text), id, NULL, 8, &n, NULL);
    return st == LOCI_OK && n == 1 ? id[0] : -1;
}

/* The chunk to read at the question's token i, -1: none.  Answers in steps begin with what the first fact
 * says, so that one is looked up as soon as the question has named what it asks about. */
static int32_t first_chunk(const making *k, const question_span *q, int i)
{
    const loci_task_family f = k->family;
    const loci_question *task = &k->task.question[q->index];
    const bool steps = f == LOCI_TASK_VARIABLE || f == LOCI_TASK_CONFLICT || f == LOCI_TASK_QA2 ||
                       f == LOCI_TASK_QA3;
    if (!steps || task->n_gold < 2 || i + 1 < q->named) return -1;
    const loci_fact *fact = &k->task.fact[task->gold[0]];
    return position_of(k, k->m->fact_at[task->gold[0]] + (size_t)fact->len - 1) / k->c->hp.chunk;
}

static void put_question(loci_item *it, const making *k, const question_span *q)
{
    const int32_t comma = only_token(k->m, ","), blank = only_token(k->m, " ");
    const int32_t *id = k->m->qtok + q->start;
    value_place value[VALUES] = { 0 };
    const int n_values = find_values(k, &k->task.question[q->index], value);
    int copied = 0;
    bool exact = !value[0].absent && (n_values == 1 || (comma >= 0 && blank >= 0));
    for (int v = 0; v < n_values; v++) {
        exact = exact && value[v].exact;
        copied += value[v].end - value[v].first + (v > 0 ? 2 : 0);
    }
    exact = exact && copied <= q->n_answer + VALUE_SLACK * n_values;
    if (k->separate) {
        loci_item_begin_doc(it, false);
        loci_item_put(it, LOCI_TOK_BOS, 0.0f, false, -1, -1);
    }
    const float w = k->c->question_weight;
    loci_item_put(it, LOCI_TOK_Q, 0.0f, false, -1, -1); /* when one comes cannot be foreseen */
    for (int i = 0; i < q->n_question; i++)
        loci_item_put(it, id[i], w, false, i > 0 ? first_chunk(k, q, i - 1) : -1, -1);
    loci_item_put(it, LOCI_TOK_A, w, false, first_chunk(k, q, q->n_question - 1), -1);
    if (exact)
        put_copied(it, k, value, n_values, comma, blank);
    else
        put_encoded(it, k, q, value, n_values, comma);
    loci_item_put(it, LOCI_TOK_E, k->c->answer_weight, true, -1, -1);
}

static void put_all(loci_item *it, const making *k)
{
    loci_item_begin_doc(it, true);
    loci_item_put(it, LOCI_TOK_BOS, 0.0f, false, -1, -1);
    for (size_t i = 0; i < k->n_tok; i++) loci_item_put(it, k->m->tok[i], 1.0f, false, -1, -1);
    for (int i = 0; i < k->n_questions; i++) put_question(it, k, &k->span[i]);
}

/* ---- the two kinds of item ------------------------------------------------------------------------ */

/* Facts that were made up, hidden in an excerpt. */
static loci_status hide(making *k, loci_task_options *o, const loci_corpus *corpus, int seq_len,
                        int clear, loci_rng *rng, bool *fits, loci_error *err)
{
    o->text = k->m->lexicon;
    o->text_bytes =
        loci_item_excerpt(k->m->lexicon, sizeof k->m->lexicon, sizeof k->m->lexicon, corpus, rng);
    const bool together = o->family == LOCI_TASK_KV && loci_rng_below(rng, 2) == 0;
    k->one_line = together && loci_rng_below(rng, 2) == 0;
    loci_status st = loci_task_make(&k->task, o, err);
    if (st != LOCI_OK || k->task.n_facts > LOCI_TASK_MAX_FACTS) return st;
    st = encode_questions(k, seq_len * 6 / 10, err);
    const int room = seq_len - 1 - question_tokens(k);
    if (st != LOCI_OK || k->n_questions == 0 || room < 1) return st;
    return build_text(k, corpus, room, clear, together, rng, fits, err);
}

/* Questions about the excerpt itself. */
static loci_status look_up(making *k, loci_task_options *o, const loci_corpus *corpus, int seq_len,
                           int clear, loci_rng *rng, bool *fits, loci_error *err)
{
    enum { QUESTION = 48 }; /* tokens of one, its answer and its frame: the usual */
    loci_item_maker *m = k->m;
    int room = seq_len - 1 - o->n_questions * QUESTION;
    if (room < seq_len / 2) room = seq_len / 2;
    const size_t bytes =
        loci_item_excerpt(m->text, m->text_cap, (size_t)room * LOCI_ITEM_TOKEN_BYTES, corpus, rng);
    loci_status st = loci_item_encode(m, m->text, bytes, room, m->tok, m->ends, &k->n_tok, err);
    if (st != LOCI_OK || k->n_tok <= (size_t)clear) return st;
    o->text = m->text;
    o->text_bytes = m->ends[k->n_tok - 1 - (size_t)clear];
    loci_error nothing = { 0 };
    st = loci_task_make(&k->task, o, &nothing);
    if (st == LOCI_ENOTFOUND) return LOCI_OK; /* a page of dots */
    if (st != LOCI_OK) return loci_fail(err, st, "%s", nothing.text);
    st = encode_questions(k, seq_len - 1 - (int)k->n_tok, err);
    *fits = st == LOCI_OK && k->n_questions > 0;
    return st;
}

loci_status loci_item_task(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                           const loci_phase *p, const loci_corpus *corpus, uint64_t theme,
                           loci_rng *rng, bool *made, loci_error *err)
{
    making k = { .m = m, .c = c };
    loci_task_options o = draw_task(c, p, theme, rng);
    k.family = o.family;
    /* Without readers a question can only look back at its own stream. */
    const bool reads = c->hp.n_groups > 0;
    k.separate = loci_rng_unit(rng) < (double)p->separate && reads;
    /* In one stream the facts stay clear of the window, which would answer without reading. */
    const int clear = k.separate || !reads ? 0 : loci_phase_hparams(c, p).window + SLACK_TOKENS;
    *made = false;
    const loci_status st = o.family == LOCI_TASK_EXTRACT
                               ? look_up(&k, &o, corpus, p->seq_len, clear, rng, made, err)
                               : hide(&k, &o, corpus, p->seq_len, clear, rng, made, err);
    if (st == LOCI_OK && *made) put_all(it, &k);
    loci_task_free(&k.task);
    return st;
}
