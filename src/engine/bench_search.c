/* bench_search.c - searches in three ways, timed, and what the quick ones miss.
 *
 *   pieces of stored text -> the model as far as its routers -> queries u -> fast, codes, exact
 *
 * The model sees each piece as a question with nothing to read; the query of its last token, from
 * which an answer would begin, is kept for every group. */
#include "engine/ask_impl.h"
#include "engine/scan.h"
#include "loci/bench.h"
#include <stdlib.h>

enum { PIECE = 24, PROMPT = PIECE + 3, D = 128 };

typedef struct {
    const loci_model *m;
    loci_stream *stream;
    void *memory;
    float *query; /* (pieces * groups, 128) */
    float *tau;   /* (pieces * groups) */
    int n;        /* kept so far, of finished pieces */
    int seen;     /* queries of the piece in hand */
} queries;

static int keep_query(void *ctx, const float *u, float tau, int k, int64_t own_end,
                      loci_pick *picks)
{
    queries *q = ctx;
    (void)k;
    (void)own_end;
    (void)picks;
    /* Group by group, token by token: the last of each group stays. */
    const int at = q->n + q->seen++ / PROMPT;
    memcpy(q->query + (size_t)at * D, u, D * sizeof *u);
    q->tau[at] = tau;
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
static loci_status take_piece(loci_bank *const *banks, int n_banks, loci_rng *rng, int32_t *ids,
                              loci_error *err)
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
        if (ids[i] >= loci_tokenizer_vocab(b->engine->tok))
            return loci_fail(err, LOCI_EFORMAT, "%s: token %d of a vocabulary of %d", b->dir,
                             ids[i], loci_tokenizer_vocab(b->engine->tok));
    }
    return LOCI_OK;
}

static loci_status make_queries(queries *q, loci_bank *const *banks, int n_banks, int pieces,
                                uint64_t seed, loci_error *err)
{
    const loci_hparams *hp = &q->m->hp;
    const size_t rows = (size_t)pieces * (size_t)hp->n_groups;
    const loci_memory memory = { q, keep_query, no_content, NULL };
    loci_reads none = { .closed_too = true }; /* a closed gate would not search */
    const size_t picks = (size_t)PROMPT * (size_t)hp->n_groups * (size_t)hp->top_k;
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    q->memory = loci_alloc_aligned(loci_stream_bytes(hp, PROMPT));
    q->query = malloc(rows * D * sizeof *q->query);
    q->tau = malloc(rows * sizeof *q->tau);
    none.gate = calloc((size_t)PROMPT * (size_t)hp->n_groups, sizeof *none.gate);
    none.n_picks = calloc((size_t)PROMPT * (size_t)hp->n_groups, sizeof *none.n_picks);
    none.weight = calloc(picks, sizeof *none.weight);
    none.pick = calloc(picks, sizeof *none.pick);
    loci_status st = LOCI_OK;
    if (!q->memory || !q->query || !q->tau || !none.gate || !none.n_picks || !none.weight ||
        !none.pick)
        st = loci_fail(err, LOCI_ENOMEM, "no memory for %d queries", pieces);
    if (st == LOCI_OK) q->stream = loci_stream_init(hp, PROMPT, q->memory);
    for (int i = 0; i < pieces && st == LOCI_OK; i++) {
        int32_t ids[PROMPT] = { LOCI_TOK_BOS, LOCI_TOK_Q, [PROMPT - 1] = LOCI_TOK_A };
        st = take_piece(banks, n_banks, &rng, ids + 2, err);
        if (st != LOCI_OK) break;
        loci_stream_reset(q->stream);
        q->seen = 0;
        loci_stream_lower(q->stream, q->m, ids, PROMPT);
        st = loci_stream_upper(q->stream, q->m, PROMPT, &memory, NULL, 0, &none, err);
        q->n += hp->n_groups;
    }
    free(none.gate);
    free(none.n_picks);
    free(none.weight);
    free(none.pick);
    return st;
}

typedef struct {
    loci_pick *pick; /* (queries, k) */
    int *n;          /* (queries) */
    double seconds, rows;
} found;

/* All queries in one way; the second of two rounds is timed: pages and checksums are then known. */
static loci_status search_all(found *f, loci_engine *e, loci_bank *const *banks, int n_banks,
                              const queries *q, int k, int probes, loci_search_mode mode,
                              loci_error *err)
{
    loci_searcher *s;
    f->pick = malloc((size_t)q->n * (size_t)k * sizeof *f->pick);
    f->n = malloc((size_t)q->n * sizeof *f->n);
    if (!f->pick || !f->n) return loci_fail(err, LOCI_ENOMEM, "no memory for %d queries", q->n);
    loci_status st = loci_searcher_open_with(&s, e, banks, n_banks, mode, err);
    if (st != LOCI_OK) return st;
    const loci_memory memory = loci_searcher_memory(s);
    loci_probe *probe = loci_searcher_probe(s);
    if (probe && probes > 0) loci_probe_set(probe, probes);
    for (int round = 0; round < 2 && st == LOCI_OK; round++) {
        const double begin = loci_seconds();
        for (int i = 0; i < q->n && st == LOCI_OK; i++) {
            f->n[i] = memory.search(s, q->query + (size_t)i * D, q->tau[i], k, 0,
                                    f->pick + (size_t)i * (size_t)k);
            if (f->n[i] < 0) st = loci_searcher_status(s, err);
        }
        f->seconds = (loci_seconds() - begin) / q->n;
    }
    if (probe) f->rows = (double)loci_probe_rows(probe) / (2.0 * q->n);
    loci_searcher_close(s);
    return st;
}

static double recall_of(const found *f, const found *truth, int queries_n, int k)
{
    int64_t hit = 0, all = 0;
    for (int i = 0; i < queries_n; i++) {
        const loci_pick *a = f->pick + (size_t)i * (size_t)k;
        const loci_pick *b = truth->pick + (size_t)i * (size_t)k;
        all += truth->n[i];
        for (int x = 0; x < truth->n[i]; x++)
            for (int y = 0; y < f->n[i]; y++) hit += a[y].id == b[x].id;
    }
    return all > 0 ? (double)hit / (double)all : 1.0;
}

static loci_status measure(loci_engine *e, loci_bank *const *banks, int n_banks, const queries *q,
                           int probes, loci_bench_search_row *row, loci_error *err)
{
    found way[3] = { { 0 } };
    loci_status st = LOCI_OK;
    for (int i = 0; i < 3 && st == LOCI_OK; i++)
        st = search_all(&way[i], e, banks, n_banks, q, row->k, probes, (loci_search_mode)i, err);
    if (st == LOCI_OK) {
        const found *truth = &way[LOCI_SEARCH_EXACT];
        row->queries = q->n;
        row->exact_seconds = truth->seconds;
        row->codes_seconds = way[LOCI_SEARCH_CODES].seconds;
        row->fast_seconds = way[LOCI_SEARCH_FAST].seconds;
        row->fast_rows = way[LOCI_SEARCH_FAST].rows;
        row->codes_recall = recall_of(&way[LOCI_SEARCH_CODES], truth, q->n, row->k);
        row->fast_recall = recall_of(&way[LOCI_SEARCH_FAST], truth, q->n, row->k);
    }
    for (int i = 0; i < 3; i++) {
        free(way[i].pick);
        free(way[i].n);
    }
    return st;
}

loci_status loci_bench_search(loci_engine *e, loci_bank *const *banks, int n_banks, int pieces,
                              int k, int probes, uint64_t seed, loci_bench_search_row *row,
                              loci_error *err)
{
    memset(row, 0, sizeof *row);
    loci_status st = loci_engine_need_reads(e, err);
    if (st != LOCI_OK) return st;
    if (n_banks < 1 || n_banks > LOCI_BANKS_MAX || pieces < 1 || pieces > 100000 || k < 1 ||
        k > LOCI_MAX_PICKS || probes < 0)
        return loci_fail(err, LOCI_EINVAL, "%d banks, %d pieces, k %d, %d probes", n_banks, pieces,
                         k, probes);
    for (int i = 0; i < n_banks; i++) {
        row->chunks += banks[i]->chunks;
        row->tokens += banks[i]->tokens;
        row->sorted += banks[i]->buckets ? banks[i]->chunks - banks[i]->n_codes : 0;
    }
    if (row->chunks == 0)
        return loci_fail(err, LOCI_EINVAL, "%s: there is nothing in it to search", banks[0]->dir);
    row->k = k;
    queries q = { .m = e->model };
    st = make_queries(&q, banks, n_banks, pieces, seed, err);
    if (st == LOCI_OK) st = measure(e, banks, n_banks, &q, probes, row, err);
    loci_free_aligned(q.memory);
    free(q.query);
    free(q.tau);
    return st;
}
