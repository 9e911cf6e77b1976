/* item.c - one training sequence from documents and tasks; a pure function of its seed.
 *
 * Two kinds.  Text: excerpts of real documents, each a document of its own (<bos> text).  Task
 * item: facts hidden in an excerpt, then questions, either as documents of their own
 * (<bos><q> question <a> answer <e>, the text's chunks being the bank between them) or going on
 * in the text's stream.  Facts are put into the bytes before they are tokenised, exactly as they
 * would stand in a user's file; the chunk that holds a fact's value is the gold chunk of the
 * answer's tokens. */
#include "train/train_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BYTES_A_TOKEN = 8, /* generous: excerpts are cut at a token afterwards */
    SLACK_TOKENS = 4,  /* joints between facts and text may cost a token each */
    MAX_TRIES = 6
};

struct loci_item_maker {
    loci_encoder *enc;
    int max_seq;
    size_t text_cap, ids_cap;
    char *hay, *text; /* (text_cap) excerpt; excerpt with facts */
    int32_t *tok;     /* (ids_cap) */
    uint32_t *ends;   /* (ids_cap) byte behind each token */
    int32_t *qtok;    /* (max_seq) questions and answers, one after the other */
    size_t *place;    /* (LOCI_TASK_MAX_FACTS) */
    size_t *fact_at;  /* (LOCI_TASK_MAX_FACTS) byte offset of each fact in text */
};

typedef struct { /* where a question's tokens lie in maker->qtok */
    int start, n_question, n_answer;
    int index; /* in the task item */
} question_span;

typedef struct {    /* where one value of an answer stands in the text */
    int first, end; /* tokens of the text document; what is copied lies in [first, end) */
    bool absent;    /* it stands nowhere */
} value_place;

loci_status loci_item_maker_open(loci_item_maker **out, const loci_tokenizer *tok, int max_seq,
                                 loci_error *err)
{
    *out = NULL;
    loci_item_maker *m = calloc(1, sizeof *m);
    if (!m) return loci_fail(err, LOCI_ENOMEM, "no memory for a sequence maker");
    m->max_seq = max_seq;
    m->text_cap = (size_t)max_seq * BYTES_A_TOKEN * 2 + 65536;
    m->ids_cap = m->text_cap;
    m->hay = malloc(m->text_cap);
    m->text = malloc(m->text_cap);
    m->tok = malloc(m->ids_cap * sizeof *m->tok);
    m->ends = malloc(m->ids_cap * sizeof *m->ends);
    m->qtok = malloc(((size_t)max_seq + 1024) * sizeof *m->qtok);
    m->place = malloc(LOCI_TASK_MAX_FACTS * sizeof *m->place);
    m->fact_at = malloc(LOCI_TASK_MAX_FACTS * sizeof *m->fact_at);
    loci_status st = LOCI_OK;
    if (!m->hay || !m->text || !m->tok || !m->ends || !m->qtok || !m->place || !m->fact_at)
        st = loci_fail(err, LOCI_ENOMEM, "no memory for sequences of %d tokens", max_seq);
    if (st == LOCI_OK) st = loci_encoder_open(&m->enc, tok, err);
    if (st != LOCI_OK) {
        loci_item_maker_close(m);
        return st;
    }
    *out = m;
    return LOCI_OK;
}

void loci_item_maker_close(loci_item_maker *m)
{
    if (!m) return;
    loci_encoder_close(m->enc);
    free(m->hay);
    free(m->text);
    free(m->tok);
    free(m->ends);
    free(m->qtok);
    free(m->place);
    free(m->fact_at);
    free(m);
}

loci_status loci_item_init(loci_item *it, int max_seq, loci_error *err)
{
    memset(it, 0, sizeof *it);
    const size_t n = (size_t)max_seq;
    it->ids = malloc(n * sizeof *it->ids);
    it->target = malloc(n * sizeof *it->target);
    it->gold = malloc(n * sizeof *it->gold);
    it->source = malloc(n * sizeof *it->source);
    it->weight = malloc(n * sizeof *it->weight);
    it->answer = malloc(n);
    it->doc = malloc((n + 1) * sizeof *it->doc);
    it->banked = malloc(n);
    if (it->ids && it->target && it->gold && it->source && it->weight && it->answer && it->doc &&
        it->banked)
        return LOCI_OK;
    loci_item_free(it);
    return loci_fail(err, LOCI_ENOMEM, "no memory for a sequence of %d tokens", max_seq);
}

void loci_item_free(loci_item *it)
{
    free(it->ids);
    free(it->target);
    free(it->gold);
    free(it->source);
    free(it->weight);
    free(it->answer);
    free(it->doc);
    free(it->banked);
    memset(it, 0, sizeof *it);
}

/* ---- writing tokens into the item ---------------------------------------------------- */
static void begin_doc(loci_item *it, bool banked)
{
    it->banked[it->seq.n_docs] = banked;
    it->doc[it->seq.n_docs++] = it->seq.T;
}

/* Append one id that is predicted from the id before it with weight w.  gold, source: as in
 * loci_sequence, for that prediction. */
static void put(loci_item *it, int32_t id, float w, bool answer, int32_t gold, int32_t source)
{
    const int t = it->seq.T++;
    it->ids[t] = id;
    it->target[t] = -1;
    it->weight[t] = 0.0f;
    it->answer[t] = 0;
    it->gold[t] = it->source[t] = -1;
    const bool first = t == it->doc[it->seq.n_docs - 1];
    if (first || w <= 0.0f) return;
    it->target[t - 1] = id;
    it->weight[t - 1] = w;
    it->answer[t - 1] = answer;
    it->gold[t - 1] = gold;
    it->source[t - 1] = source;
}

/* Close the item: array pointers and the counts that the losses are divided by.  A query
 * token is one with at least one eligible chunk: see read.c for the rule. */
static void finish(loci_item *it, const loci_hparams *hp)
{
    loci_sequence *s = &it->seq;
    it->doc[s->n_docs] = s->T;
    s->ids = it->ids;
    s->target = it->target;
    s->weight = it->weight;
    s->answer = it->answer;
    s->gold = it->gold;
    s->source = it->source;
    s->doc = it->doc;
    s->banked = it->banked;
    int before = 0; /* chunks of earlier documents */
    for (int d = 0; d < s->n_docs; d++) {
        const int n = it->doc[d + 1] - it->doc[d];
        const bool in_bank = it->banked[d] && hp->n_groups > 0;
        const int chunks = in_bank ? (n + hp->chunk - 1) / hp->chunk : 0;
        for (int p = 0; p < n; p++) {
            const int t = it->doc[d] + p;
            int own = (p - hp->window + hp->chunk) / hp->chunk;
            own = own < 0 || chunks == 0 ? 0 : own > chunks ? chunks : own;
            it->weight_sum += it->weight[t];
            it->n_query += before + own > 0;
            if (hp->n_groups == 0) it->gold[t] = it->source[t] = -1; /* nobody to teach reading */
            it->n_absent += it->gold[t] == -2;
            /* A gold chunk that is not eligible (still inside the window) counts for nothing. */
            if (it->gold[t] >= before + own) it->gold[t] = it->source[t] = -1;
            it->n_gold += it->gold[t] >= 0;
        }
        before += chunks;
    }
}

/* Query tokens are a suffix of the sequence: once a chunk may be read, one always may. */
int64_t loci_item_kl_rows(const loci_item *it, int every, int phase)
{
    int64_t rows = 0;
    for (int64_t t = it->seq.T - it->n_query; every > 0 && t < it->seq.T; t++)
        rows += t % every == phase;
    return rows;
}

int64_t loci_item_code_rows(const loci_item *it, int every, int phase)
{
    int64_t rows = 0;
    for (int64_t t = it->seq.T - it->n_query; t < it->seq.T; t++)
        rows += t % every == phase || it->gold[t] >= 0;
    return rows;
}

int64_t loci_item_regret_rows(const loci_item *it)
{
    int64_t rows = 0;
    for (int64_t t = it->seq.T - it->n_query; t < it->seq.T; t++) rows += it->target[t] >= 0;
    return rows;
}

int64_t loci_item_packed_rows(const loci_item *it, int chunk)
{
    const loci_sequence *s = &it->seq;
    int64_t rows = 0;
    for (int d = 0, c = 0; d < s->n_docs; d++) {
        const int n = s->doc[d + 1] - s->doc[d];
        for (int p = 0; s->banked[d] && p < n; p += chunk, c++)
            if (loci_tier_packed(s, c)) rows += n - p < chunk ? n - p : chunk;
    }
    return rows;
}

static void reset(loci_item *it)
{
    memset(&it->seq, 0, sizeof it->seq);
    it->weight_sum = 0.0;
    it->n_query = it->n_gold = it->n_absent = 0;
}

/* ---- excerpts --------------------------------------------------------------------------- */
/* About `want` bytes of one random document from a random place, from a character boundary. */
static size_t excerpt(char *out, size_t cap, size_t want, const loci_corpus *corpus, loci_rng *rng)
{
    if (want > cap) want = cap;
    if (corpus->n_docs == 0) return loci_task_filler(loci_rng_u64(rng), want, out, cap);
    /* Uniform over bytes, not documents: a book weighs what it holds. */
    const uint64_t at = loci_rng_u64(rng) % corpus->bytes;
    size_t lo = 0, hi = corpus->n_docs;
    while (hi - lo > 1) {
        const size_t mid = lo + (hi - lo) / 2;
        if (corpus->start[mid] <= at)
            lo = mid;
        else
            hi = mid;
    }
    const size_t begin = corpus->start[lo], end = corpus->start[lo + 1];
    /* One in eight from the document's start, so that beginnings are seen often enough. */
    size_t from = loci_rng_below(rng, 8) == 0 ? begin : (size_t)at;
    if (end - from < want) from = end - begin > want ? end - want : begin;
    while (from < end && from > begin && ((unsigned char)corpus->text[from] & 0xC0) == 0x80) from++;
    const size_t n = end - from < want ? end - from : want;
    memcpy(out, corpus->text + from, n);
    return n;
}

/* The bank's buffers are planned for this many: room for some short last chunks. */
int loci_item_chunks_max(int seq_len)
{
    return 2 * (seq_len / 64 + 1);
}

static loci_status text_item(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                             const loci_phase *phase, const loci_corpus *corpus, loci_rng *rng,
                             loci_error *err)
{
    int chunks = 0;
    while (it->seq.T < phase->seq_len) {
        const int room = phase->seq_len - it->seq.T;
        if (it->seq.T > 0 && room < 64) break; /* too short to learn from, and a chunk of pads */
        const size_t n = excerpt(m->hay, m->text_cap, (size_t)room * BYTES_A_TOKEN, corpus, rng);
        size_t n_tok;
        const loci_status st =
            loci_encode(m->enc, m->hay, n, m->tok, NULL, m->ids_cap, &n_tok, err);
        if (st != LOCI_OK) return st;
        const int len = 1 + (n_tok < (size_t)room - 1 ? (int)n_tok : room - 1);
        const int more = (len + c->hp.chunk - 1) / c->hp.chunk;
        /* A line of text a document: those that the bank has no room for are learnt as text. */
        const bool banked = chunks + more <= loci_item_chunks_max(phase->seq_len);
        chunks += banked ? more : 0;
        begin_doc(it, banked);
        put(it, LOCI_TOK_BOS, 0.0f, false, -1, -1);
        for (size_t i = 0; i < n_tok && it->seq.T < phase->seq_len; i++)
            put(it, m->tok[i], 1.0f, false, -1, -1);
    }
    return LOCI_OK;
}

/* ---- task items ----------------------------------------------------------------------------- */
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

static loci_task_options draw_task(const loci_train_config *c, const loci_phase *p, loci_rng *rng)
{
    loci_task_options o = loci_task_options_default();
    o.seed = loci_rng_u64(rng);
    o.family = draw_family(c, rng);
    o.names = o.wordings = LOCI_SPLIT_TRAIN;
    const double lo = log(p->facts_min), hi = log(p->facts_max + 1.0);
    o.n_facts = (int)exp(lo + (hi - lo) * loci_rng_unit(rng));
    if (o.n_facts > p->facts_max) o.n_facts = p->facts_max;
    o.n_questions = o.n_facts < p->questions_max ? o.n_facts : p->questions_max;
    o.hops = 1 + (int)loci_rng_below(rng, 3);
    o.near_duplicate = p->near_duplicate;
    return o;
}

/* " question" and " answer" as ids into m->qtok; as many questions as fit into `budget` tokens
 * (frame ids included).  Returns how many spans were filled, or a negative status. */
static int encode_questions(loci_item_maker *m, const loci_task_item *task, int budget,
                            question_span *span, loci_error *err)
{
    int used = 0, n = 0, cost = 0;
    for (int i = 0; i < task->n_questions; i++) {
        const char *part[2] = { task->question[i].question, task->question[i].answer };
        int len[2];
        for (int h = 0; h < 2; h++) {
            size_t n_tok = 0;
            const int bytes = snprintf(m->text, m->text_cap, " %s", part[h]);
            const loci_status st =
                loci_encode(m->enc, m->text, (size_t)bytes, m->tok, NULL, m->ids_cap, &n_tok, err);
            if (st != LOCI_OK) return st;
            len[h] = (int)n_tok;
            if (cost + len[0] + (h ? len[1] : 0) + 4 > budget) return n;
            memcpy(m->qtok + used + (h ? len[0] : 0), m->tok, n_tok * sizeof *m->tok);
        }
        span[n++] = (question_span){ used, len[0], len[1], i };
        used += len[0] + len[1];
        cost += len[0] + len[1] + 4; /* <bos> <q> <a> <e> */
    }
    return n;
}

/* Write the excerpt with its facts into m->text; fact_at[i] = where fact i begins. */
static size_t weave(loci_item_maker *m, const loci_task_item *task, size_t hay_bytes)
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
    memcpy(m->text + n, m->hay + from, hay_bytes - from);
    return n + hay_bytes - from;
}

/* An excerpt of `room` tokens with the facts in it, the last `clear` of them without any.  Returns
 * its tokens in m->tok, m->ends; *n_tok <= room.  The excerpt shrinks until everything fits; false
 * if the facts and what must stay clear do not. */
static bool build_text(loci_item_maker *m, const loci_task_item *task, const loci_corpus *corpus,
                       int room, int clear, loci_rng *rng, size_t *n_tok, loci_error *err,
                       loci_status *st)
{
    size_t fact_bytes = 0, n;
    for (int i = 0; i < task->n_facts; i++) fact_bytes += (size_t)task->fact[i].len + 2;
    if (fact_bytes > (size_t)room * BYTES_A_TOKEN) return false;
    size_t hay = excerpt(m->hay, m->text_cap / 2, (size_t)room * BYTES_A_TOKEN, corpus, rng);
    *st = loci_encode(m->enc, m->hay, hay, m->tok, m->ends, m->ids_cap, &n, err);
    if (*st != LOCI_OK) return false;
    /* Facts cost about a token for three bytes; what is guessed wrong is mended below. */
    int64_t want = room - (int64_t)(fact_bytes / 3) - SLACK_TOKENS;
    const uint64_t place_seed = loci_rng_u64(rng);
    for (int t = 0; t < MAX_TRIES; t++) {
        if (want > (int64_t)n) want = (int64_t)n;
        if (want < 0) want = 0;
        if (clear > 0 && want <= clear) return false;
        const size_t hay_bytes = want > 0 ? m->ends[want - 1] : 0;
        const double depth_max =
            clear > 0 ? (double)m->ends[want - 1 - clear] / (double)hay_bytes : 1.0;
        *st = loci_task_place(task, m->hay, hay_bytes, 0.0, depth_max, place_seed, m->place, err);
        if (*st != LOCI_OK) return false;
        const size_t bytes = weave(m, task, hay_bytes);
        *st = loci_encode(m->enc, m->text, bytes, m->tok, m->ends, m->ids_cap, n_tok, err);
        if (*st != LOCI_OK) return false;
        if ((int64_t)*n_tok <= room) return true;
        if (want == 0) return false;
        want -= (int64_t)*n_tok - room + SLACK_TOKENS;
        /* m->ends was overwritten by the woven text: encode the excerpt again. */
        *st = loci_encode(m->enc, m->hay, hay, m->tok, m->ends, m->ids_cap, &n, err);
        if (*st != LOCI_OK) return false;
    }
    return false;
}

/* Position in the text document of the token that holds the byte `at` of m->text (<bos> is 0). */
static int position_of(const loci_item_maker *m, size_t n_tok, size_t at)
{
    size_t lo = 0, hi = n_tok;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (m->ends[mid] > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return (int)lo + 1;
}

/* Where each of the question's values stands: several values (joined by ", ") come from the
 * gold facts in order, a single one from the last gold fact. */
static int find_values(const loci_item_maker *m, const loci_task_item *task, const loci_question *q,
                       size_t n_tok, value_place *out)
{
    if (q->absent || q->n_gold == 0) {
        out[0] = (value_place){ .absent = true };
        return 1;
    }
    const char *part = q->answer;
    int parts = 0;
    const bool list = strstr(q->answer, ", ") != NULL && q->n_gold > 1;
    for (int g = list ? 0 : q->n_gold - 1; g < q->n_gold; g++) {
        const loci_fact *f = &task->fact[q->gold[g]];
        const char *end = list ? strstr(part, ", ") : NULL;
        const size_t len = end ? (size_t)(end - part) : strlen(part);
        size_t at = 0;
        for (size_t i = 0; i + len <= (size_t)f->len; i++)
            if (memcmp(f->text + i, part, len) == 0)
                at = i; /* the last place: values follow keys */
        const size_t byte = m->fact_at[q->gold[g]] + at;
        value_place *v = &out[parts++];
        /* A blank before a number is a token of its own, and the answer begins with it. */
        v->first = position_of(m, n_tok, byte > 0 && m->text[byte - 1] == ' ' ? byte - 1 : byte);
        v->end = position_of(m, n_tok, byte + (len ? len - 1 : 0)) + 1;
        part = end ? end + 2 : part;
    }
    return parts;
}

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

static void put_question(loci_item *it, const loci_item_maker *m, const question_span *q,
                         const loci_train_config *c, bool separate, const value_place *value,
                         int n_values, int32_t comma)
{
    if (separate) {
        begin_doc(it, false);
        put(it, LOCI_TOK_BOS, 0.0f, false, -1, -1);
    }
    put(it, LOCI_TOK_Q, 0.0f, false, -1, -1); /* where a question comes cannot be foreseen */
    const int32_t *id = m->qtok + q->start;
    for (int i = 0; i < q->n_question; i++) put(it, id[i], c->question_weight, false, -1, -1);
    put(it, LOCI_TOK_A, c->question_weight, false, -1, -1);
    const bool absent = value[0].absent;
    int which = 0, at = value[0].first;
    for (int i = 0; i < q->n_answer; i++) {
        const int32_t a = id[q->n_question + i];
        /* An absent fact marks only the first answer token: that is where null must win. */
        const int32_t source = absent ? -1 : source_row(it, &value[which], &at, a);
        /* The chunk that holds this very token: a value may lie in two chunks. */
        const int32_t gold = absent ? (i == 0 ? -2 : -1) : source < 0 ? -1 : source / c->hp.chunk;
        put(it, a, c->answer_weight, true, gold, source);
        /* Amounts hold commas too: a value ends where all of it was given. */
        if (a == comma && at >= value[which].end && which + 1 < n_values) at = value[++which].first;
    }
    put(it, LOCI_TOK_E, c->answer_weight, true, -1, -1);
}

/* Try to make a task item; *made says whether the facts fitted. */
static loci_status task_item(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                             const loci_phase *p, const loci_corpus *corpus, loci_rng *rng,
                             bool *made, loci_error *err)
{
    question_span span[64];
    loci_task_item task;
    loci_task_options o = draw_task(c, p, rng);
    if (o.n_questions > 64) o.n_questions = 64;
    *made = false;
    loci_status st = loci_task_make(&task, &o, err);
    if (st != LOCI_OK) return st;
    /* Without readers a question can only look back at its own stream. */
    const bool reads = c->hp.n_groups > 0;
    const bool separate = loci_rng_unit(rng) < (double)p->separate && reads;
    if (task.n_facts > LOCI_TASK_MAX_FACTS) { /* families with several facts a key: draw again */
        loci_task_free(&task);
        return LOCI_OK;
    }
    const int n_q = encode_questions(m, &task, p->seq_len * 6 / 10, span, err);
    if (n_q < 0) st = (loci_status)n_q;
    int room = p->seq_len - 1;
    for (int i = 0; i < n_q; i++) room -= span[i].n_question + span[i].n_answer + 4;
    /* In one stream the facts stay clear of the window, which would answer without reading. */
    const int clear = separate || !reads ? 0 : loci_phase_hparams(c, p).window + SLACK_TOKENS;
    size_t n_tok = 0;
    if (st == LOCI_OK && n_q > 0 && room > 0 &&
        build_text(m, &task, corpus, room, clear, rng, &n_tok, err, &st)) {
        int32_t comma = -1;
        size_t n_comma;
        int32_t id[8];
        if (loci_encode(m->enc, ",", 1, id, NULL, 8, &n_comma, NULL) == LOCI_OK && n_comma == 1)
            comma = id[0];
        begin_doc(it, true);
        put(it, LOCI_TOK_BOS, 0.0f, false, -1, -1);
        for (size_t i = 0; i < n_tok; i++) put(it, m->tok[i], 1.0f, false, -1, -1);
        for (int i = 0; i < n_q; i++) {
            value_place value[8] = { 0 };
            const int n_values = find_values(m, &task, &task.question[span[i].index], n_tok, value);
            put_question(it, m, &span[i], c, separate, value, n_values, comma);
        }
        *made = true;
    }
    loci_task_free(&task);
    return st;
}

loci_status loci_item_make(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                           const loci_phase *phase, const loci_corpus *corpus, uint64_t seed,
                           loci_error *err)
{
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    reset(it);
    loci_status st = LOCI_OK;
    bool made = false;
    if (loci_rng_unit(&rng) < (double)phase->synthetic)
        for (int t = 0; t < MAX_TRIES && !made && st == LOCI_OK; t++)
            st = task_item(it, m, c, phase, corpus, &rng, &made, err);
    if (st == LOCI_OK && !made) st = text_item(it, m, c, phase, corpus, &rng, err);
    const loci_hparams hp = loci_phase_hparams(c, phase);
    if (st == LOCI_OK) finish(it, &hp);
    it->seq.tier_seed = seed;
    it->seq.tier_share = c->hp.content_bits4 ? c->tier_share : 0.0f;
    return st;
}
