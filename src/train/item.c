/* item.c - one training sequence from documents and tasks; a pure function of its seed.
 *
 * Two kinds.  Text: excerpts of real documents, each a document of its own (<bos> text).  Task
 * items, task_item.c: facts hidden in an excerpt, then questions about them. */
#include "train/item.h"
#include <stdlib.h>
#include <string.h>

loci_status loci_item_maker_open(loci_item_maker **out, const loci_tokenizer *tok, int max_seq,
                                 loci_error *err)
{
    *out = NULL;
    loci_item_maker *m = calloc(1, sizeof *m);
    if (!m) return loci_fail(err, LOCI_ENOMEM, "no memory for a sequence maker");
    m->text_cap = (size_t)max_seq * LOCI_ITEM_TOKEN_BYTES * 2 + 65536;
    m->ids_cap = m->text_cap;
    m->hay = malloc(m->text_cap);
    m->text = malloc(m->text_cap);
    m->tok = malloc(m->ids_cap * sizeof *m->tok);
    m->ends = malloc(m->ids_cap * sizeof *m->ends);
    m->hay_ends = malloc(m->ids_cap * sizeof *m->hay_ends);
    m->qtok = malloc(((size_t)max_seq + 1024) * sizeof *m->qtok);
    m->place = malloc(LOCI_TASK_MAX_FACTS * sizeof *m->place);
    m->fact_at = malloc(LOCI_TASK_MAX_FACTS * sizeof *m->fact_at);
    loci_status st = LOCI_OK;
    if (!m->hay || !m->text || !m->tok || !m->ends || !m->hay_ends || !m->qtok || !m->place ||
        !m->fact_at)
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
    free(m->hay_ends);
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
void loci_item_begin_doc(loci_item *it, bool banked)
{
    it->banked[it->seq.n_docs] = banked;
    it->doc[it->seq.n_docs++] = it->seq.T;
}

void loci_item_put(loci_item *it, int32_t id, float w, bool answer, int32_t gold, int32_t source)
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
size_t loci_item_excerpt(char *out, size_t cap, size_t want, const loci_corpus *corpus,
                         loci_rng *rng)
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

loci_status loci_item_encode(loci_item_maker *m, const char *text, size_t bytes, int most,
                             int32_t *tok, uint32_t *ends, size_t *n_tok, loci_error *err)
{
    size_t at = 0, n = 0;
    loci_status st = LOCI_OK;
    while (st == LOCI_OK && at < bytes && n < (size_t)most) {
        /* Four bytes a token is usual; at least enough for a safe boundary. */
        size_t piece = ((size_t)most - n) * 4 + 256, got = 0;
        if (piece < bytes - at) piece = loci_encode_safe_cut(text + at, bytes - at, piece);
        if (piece == 0 || piece > bytes - at) piece = bytes - at;
        st = loci_encode(m->enc, text + at, piece, tok + n, ends ? ends + n : NULL, m->ids_cap - n,
                         &got, err);
        for (size_t i = n; ends && st == LOCI_OK && i < n + got; i++) ends[i] += (uint32_t)at;
        n += got;
        at += piece;
    }
    *n_tok = n < (size_t)most ? n : (size_t)most;
    return st;
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
        const size_t n = loci_item_excerpt(m->hay, m->text_cap,
                                           (size_t)room * LOCI_ITEM_TOKEN_BYTES, corpus, rng);
        size_t n_tok;
        const loci_status st = loci_item_encode(m, m->hay, n, room - 1, m->tok, NULL, &n_tok, err);
        if (st != LOCI_OK) return st;
        const int len = 1 + (int)n_tok;
        const int more = (len + c->hp.chunk - 1) / c->hp.chunk;
        /* A line of text a document: those that the bank has no room for are learnt as text. */
        const bool banked = chunks + more <= loci_item_chunks_max(phase->seq_len);
        chunks += banked ? more : 0;
        loci_item_begin_doc(it, banked);
        loci_item_put(it, LOCI_TOK_BOS, 0.0f, false, -1, -1);
        for (size_t i = 0; i < n_tok; i++) loci_item_put(it, m->tok[i], 1.0f, false, -1, -1);
    }
    return LOCI_OK;
}

enum { TRIES = 6 }; /* for an item that fits */

loci_status loci_item_make(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                           const loci_phase *phase, const loci_corpus *corpus, uint64_t seed,
                           uint64_t theme, loci_error *err)
{
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    reset(it);
    loci_status st = LOCI_OK;
    bool made = false;
    if (loci_rng_unit(&rng) < (double)phase->synthetic)
        for (int t = 0; t < TRIES && !made && st == LOCI_OK; t++)
            st = loci_item_task(it, m, c, phase, corpus, theme, &rng, &made, err);
    if (st == LOCI_OK && !made) st = text_item(it, m, c, phase, corpus, &rng, err);
    const loci_hparams hp = loci_phase_hparams(c, phase);
    if (st == LOCI_OK) finish(it, &hp);
    it->seq.tier_seed = seed;
    it->seq.tier_share = c->hp.content_bits4 ? c->tier_share : 0.0f;
    return st;
}
