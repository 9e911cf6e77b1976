/* questions.c - the model sees each piece as far as its routers; what they ask is kept, and answered with
 * nothing. */
#include "engine/questions.h"
#include <stdlib.h>

enum { PIECE = 24, PROMPT = PIECE + 3 };

typedef struct {
    loci_questions *to;
    int seen; /* queries of the piece in hand */
    size_t d;
} asking;

static int keep_query(void *ctx, const float *u, float tau, int k, int64_t own_end,
                      loci_pick *picks)
{
    asking *a = ctx;
    (void)k;
    (void)own_end;
    (void)picks;
    /* Group by group, token by token: the last of each group stays. */
    const int at = a->to->n + a->seen++ / PROMPT;
    memcpy(a->to->query + (size_t)at * a->d, u, a->d * sizeof *u);
    a->to->tau[at] = tau;
    return 0;
}

static int no_content(void *ctx, const loci_pick *pick, const float **rows)
{
    (void)ctx;
    (void)pick;
    *rows = NULL;
    return LOCI_ESTATE; /* nothing is ever found */
}

/* PIECE tokens from a random chunk; a short chunk gives them again and again. */
static loci_status take_piece(const loci_bank *const *banks, int n_banks, int vocab, loci_rng *rng,
                              int32_t *ids, loci_error *err)
{
    const loci_bank *b;
    do b = banks[loci_rng_below(rng, (uint32_t)n_banks)];
    while (b->chunks == 0);
    const int64_t index = (int64_t)(loci_rng_unit(rng) * (double)b->chunks);
    const int64_t d = loci_bank_doc_of(b, index);
    loci_chunk_view v;
    const loci_status st =
        loci_segment_chunk(b->segment[b->doc_segment[d]],
                           b->doc[d].first_chunk + index - b->doc_first[d], false, &v, err);
    if (st != LOCI_OK) return st;
    const int room = v.n_tokens > PIECE ? v.n_tokens - PIECE : 0;
    const int from = (int)loci_rng_below(rng, (uint32_t)room + 1);
    for (int i = 0; i < PIECE; i++) {
        ids[i] = seg_id(&v, b->shape.id_bytes, (from + i) % v.n_tokens);
        if (ids[i] >= vocab)
            return loci_fail(err, LOCI_EFORMAT, "%s: token %d of a vocabulary of %d", b->dir,
                             ids[i], vocab);
    }
    return LOCI_OK;
}

typedef struct {
    void *memory;
    loci_stream *stream;
    loci_reads none; /* of nothing */
} reader;

static void close_reader(reader *r)
{
    loci_free_aligned(r->memory);
    free(r->none.gate);
    free(r->none.n_picks);
    free(r->none.weight);
    free(r->none.pick);
}

static loci_status open_reader(reader *r, const loci_hparams *hp, loci_error *err)
{
    const size_t picks = (size_t)PROMPT * (size_t)hp->n_groups * (size_t)hp->top_k;
    r->none.closed_too = true; /* a closed gate would not search */
    r->memory = loci_alloc_aligned(loci_stream_bytes(hp, PROMPT));
    r->none.gate = calloc((size_t)PROMPT * (size_t)hp->n_groups, sizeof *r->none.gate);
    r->none.n_picks = calloc((size_t)PROMPT * (size_t)hp->n_groups, sizeof *r->none.n_picks);
    r->none.weight = calloc(picks, sizeof *r->none.weight);
    r->none.pick = calloc(picks, sizeof *r->none.pick);
    if (!r->memory || !r->none.gate || !r->none.n_picks || !r->none.weight || !r->none.pick)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a question");
    r->stream = loci_stream_init(hp, PROMPT, r->memory);
    return LOCI_OK;
}

loci_status loci_questions_make(loci_questions *out, const loci_model *m, int vocab,
                                const loci_bank *const *banks, int n_banks, int pieces,
                                uint64_t seed, loci_error *err)
{
    const size_t groups = (size_t)m->hp.n_groups, rows = (size_t)pieces * groups;
    asking a = { .to = out, .d = (size_t)m->hp.d_landmark };
    const loci_memory memory = { &a, keep_query, no_content, NULL };
    reader r = { 0 };
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    *out = (loci_questions){ .query = malloc(rows * a.d * sizeof *out->query),
                             .tau = malloc(rows * sizeof *out->tau) };
    loci_status st = out->query && out->tau
                         ? open_reader(&r, &m->hp, err)
                         : loci_fail(err, LOCI_ENOMEM, "no memory for %d questions", pieces);
    for (int i = 0; i < pieces && st == LOCI_OK; i++) {
        int32_t ids[PROMPT] = { LOCI_TOK_BOS, LOCI_TOK_Q, [PROMPT - 1] = LOCI_TOK_A };
        st = take_piece(banks, n_banks, vocab, &rng, ids + 2, err);
        if (st != LOCI_OK) break;
        loci_stream_reset(r.stream);
        a.seen = 0;
        loci_stream_lower(r.stream, m, ids, PROMPT);
        st = loci_stream_upper(r.stream, m, PROMPT, &memory, NULL, 0, &r.none, err);
        out->n += (int)groups;
    }
    close_reader(&r);
    if (st != LOCI_OK) loci_questions_free(out);
    return st;
}

void loci_questions_free(loci_questions *q)
{
    free(q->query);
    free(q->tau);
    *q = (loci_questions){ 0 };
}
