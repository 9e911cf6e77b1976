/* search.c - the K best chunks of a query over the union of banks, and their content.
 *
 *   1  chunks in buckets: those of the likeliest buckets are scored (probe.c)
 *   2  others: all of them are scored, up to 65,536.  Of more, the nearest 1/16 to the query by Hamming
 *      distance of codes survive (256 to 8,192), ties to the lower index (scan.c)
 *   3  chunks that share a rare token run with the question join (hits.c)
 *
 * Scores are those of the stored int8 landmarks and biases: whoever is scored comes in its exact place.
 * Content is decoded for the picks only (content.c).
 *
 * Numbering: chunks of all banks in order of banks, then ingestion, then place: the *union index*,
 * which is also a pick's time.  A pick's id names the bank in its upper bits. */
#include "engine/content.h"
#include "engine/frontier.h"
#include "engine/scan.h"
#include <stdlib.h>

enum {
    ID_SHIFT = 40,      /* chunk index within a bank below it */
    CODES_FROM = 4096,  /* chunks, where codes were asked for: few are scored as quickly */
    LOOSE_MOST = 65536, /* chunks in no bucket that are all scored: 1.1 ms, by codes 0.7, which miss
                           a quarter of the best */
    SURVIVORS_SHARE =
        16, /* one chunk in 16: codes of a fixed projection are coarse.  Seen with XS at
                             16,384 chunks: of 256 survivors the gold chunk was missing in 6 % */
    SURVIVORS_MIN = 256
};
_Static_assert(SURVIVORS_MIN >= (int)LOCI_MAX_PICKS, "enough for any K");

struct loci_searcher {
    const loci_model *model;
    const loci_tokenizer *tok;
    int n_banks;
    const loci_bank *bank[LOCI_BANKS_MAX];
    int64_t first[LOCI_BANKS_MAX + 1]; /* union index of a bank's first chunk; last: all */
    int64_t tokens;
    loci_segment_shape shape;
    bool exact;                        /* every chunk is scored */
    loci_probe *probe;                 /* NULL without buckets */
    loci_scan *scan;                   /* NULL where all chunks that are in no bucket are scored */
    loci_candidate *cand;              /* survivors of the last scan, the scan's; without one ... */
    loci_candidate hit[LOCI_HITS_MAX]; /* ... only what postings name */
    loci_hits hits;
    loci_frontiers *frontiers;        /* NULL without summaries */
    loci_scored best[LOCI_MAX_PICKS]; /* of the last search, n_best of them its picks */
    int n_best;
    loci_contents *contents;
    loci_pool *pool;
    loci_error err; /* the first one */
};

/* ---- opening -------------------------------------------------------------------------------------- */
static loci_status add_banks(loci_searcher *s, loci_bank *const *banks, int n_banks,
                             loci_error *err)
{
    for (int i = 0; i < n_banks; i++) {
        const loci_bank *b = banks[i];
        if (memcmp(&b->shape, &s->shape, sizeof s->shape) != 0)
            return loci_fail(err, LOCI_EMODEL, "%s: opened with another model", b->dir);
        s->bank[i] = b;
        s->first[i + 1] = s->first[i] + b->chunks;
        s->tokens += b->tokens;
        if (s->first[i + 1] > INT32_MAX)
            return loci_fail(err, LOCI_EINVAL, "%lld chunks in %d banks, a search takes %d",
                             (long long)s->first[i + 1], i + 1, INT32_MAX);
    }
    return LOCI_OK;
}

/* Chunks that no bucket holds: those that banks have codes of. */
static int64_t loose_chunks(const loci_searcher *s)
{
    int64_t n = 0;
    for (int i = 0; i < s->n_banks; i++) n += s->bank[i]->n_codes;
    return n;
}

/* By codes alone, or by what suits the union. */
static loci_status open_ways(loci_searcher *s, loci_pool *pool, bool codes, loci_error *err)
{
    const bool scan = codes ? s->first[s->n_banks] >= CODES_FROM : loose_chunks(s) > LOOSE_MOST;
    loci_status st = LOCI_OK;
    if (!codes)
        st = loci_probe_open(&s->probe, &s->model->k, pool, s->bank, s->first, s->n_banks, err);
    if (st == LOCI_OK && scan)
        st = loci_scan_open(&s->scan, s->model, s->bank, s->first, s->n_banks, codes, err);
    s->exact = !s->scan && !s->probe;
    return st;
}

loci_status loci_searcher_open(loci_searcher **out, loci_engine *e, loci_bank *const *banks,
                               int n_banks, loci_error *err)
{
    return loci_searcher_open_with(out, e, banks, n_banks, LOCI_SEARCH_FAST, err);
}

loci_status loci_searcher_open_with(loci_searcher **out, loci_engine *e, loci_bank *const *banks,
                                    int n_banks, loci_search_mode mode, loci_error *err)
{
    *out = NULL;
    if (n_banks < 1 || n_banks > LOCI_BANKS_MAX)
        return loci_fail(err, LOCI_EINVAL, "%d banks: 1 to %d can be searched together", n_banks,
                         LOCI_BANKS_MAX);
    loci_searcher *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    s->model = e->model;
    s->tok = e->tok;
    s->pool = e->pool;
    s->n_banks = n_banks;
    s->shape = banks[0]->shape;
    loci_status st = add_banks(s, banks, n_banks, err);
    if (st == LOCI_OK) st = loci_contents_open(&s->contents, s->model, &s->shape, err);
    s->exact = mode == LOCI_SEARCH_EXACT;
    if (st == LOCI_OK && !s->exact) st = open_ways(s, e->pool, mode == LOCI_SEARCH_CODES, err);
    if (st == LOCI_OK && s->shape.d_summary)
        st = loci_frontiers_open(&s->frontiers, s->model, s->bank, n_banks, LOCI_FRONTIER_BYTES,
                                 err);
    if (st != LOCI_OK) {
        loci_searcher_close(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_searcher_close(loci_searcher *s)
{
    if (!s) return;
    loci_frontiers_close(s->frontiers);
    loci_scan_close(s->scan);
    loci_probe_close(s->probe);
    loci_contents_close(s->contents);
    free(s);
}

loci_status loci_searcher_status(const loci_searcher *s, loci_error *err)
{
    return s->err.code == LOCI_OK ? LOCI_OK : loci_fail(err, s->err.code, "%s", s->err.text);
}

int64_t loci_searcher_chunks(const loci_searcher *s)
{
    return s->first[s->n_banks];
}
const loci_bank *const *loci_searcher_banks(const loci_searcher *s, int *n)
{
    *n = s->n_banks;
    return s->bank;
}
int64_t loci_searcher_tokens(const loci_searcher *s)
{
    return s->tokens;
}
loci_searcher_counts loci_searcher_cache(const loci_searcher *s)
{
    return loci_contents_counts(s->contents);
}
loci_probe *loci_searcher_probe(loci_searcher *s)
{
    return s->probe;
}

/* ---- places ------------------------------------------------------------------------------------------ */
typedef struct {
    int bank;
    int64_t index; /* in the bank */
    int64_t doc;   /* row in the bank */
    int64_t chunk; /* in the document */
    loci_segment *segment;
    int64_t at; /* chunk in the segment */
} place;

static place place_of(const loci_searcher *s, int bank, int64_t index)
{
    const loci_bank *b = s->bank[bank];
    place p = { .bank = bank, .index = index, .doc = loci_bank_doc_of(b, index) };
    p.chunk = index - b->doc_first[p.doc];
    p.segment = b->segment[b->doc_segment[p.doc]];
    p.at = b->doc[p.doc].first_chunk + p.chunk;
    return p;
}

static int bank_of(const loci_searcher *s, int64_t u)
{
    int i = 0;
    while (u >= s->first[i + 1]) i++;
    return i;
}

static bool split_id(const loci_searcher *s, int64_t id, int *bank, int64_t *index)
{
    *bank = (int)(id >> ID_SHIFT & 0x7fffff);
    *index = id & (((int64_t)1 << ID_SHIFT) - 1);
    return id >= 0 && *bank < s->n_banks && *index < s->bank[*bank]->chunks;
}

loci_status loci_searcher_place(loci_searcher *s, int64_t id, loci_chunk_place *out,
                                loci_error *err)
{
    int bank;
    int64_t index;
    loci_chunk_view v, next;
    memset(out, 0, sizeof *out);
    if (!split_id(s, id, &bank, &index))
        return loci_fail(err, LOCI_EINVAL, "no chunk with id %lld", (long long)id);
    const place p = place_of(s, bank, index);
    const loci_doc_row *doc = &s->bank[bank]->doc[p.doc];
    loci_status st = loci_segment_chunk(p.segment, p.at, false, &v, err);
    int64_t end = doc->bytes;
    if (st == LOCI_OK && p.chunk + 1 < doc->chunks) {
        st = loci_segment_chunk(p.segment, p.at + 1, false, &next, err);
        end = st == LOCI_OK ? next.byte_start : 0;
    }
    if (st != LOCI_OK) return st;
    if (v.byte_start > end || end > doc->bytes)
        return loci_fail(err, LOCI_EFORMAT, "%s: document %s, chunk %lld: bytes %lld..%lld of %lld",
                         s->bank[bank]->dir, doc->name, (long long)p.chunk, (long long)v.byte_start,
                         (long long)end, (long long)doc->bytes);
    *out = (loci_chunk_place){ s->bank[bank], doc, p.chunk, v.byte_start, end, v.line_start };
    return LOCI_OK;
}

/* ---- step 2: chunks that share rare runs --------------------------------------------------------- */
loci_status loci_searcher_note(loci_searcher *s, const int32_t *ids, int n, loci_error *err)
{
    if (!s->shape.postings || s->exact) return LOCI_OK;
    return loci_hits_add(&s->hits, s->bank, s->first, s->n_banks, s->tok, ids, n, err);
}

/* Chunks of postings among the n survivors, each once, by index; returns how many there are now. */
static int join_hits(loci_searcher *s, int n)
{
    const int32_t *hit = s->hits.chunk;
    int fresh = 0, i = 0;
    for (int k = 0; k < s->hits.n; k++) {
        while (i < n && s->cand[i].index < hit[k]) i++;
        fresh += i == n || s->cand[i].index != hit[k];
    }
    /* From the back, so that nothing unread is written over. */
    int out = n + fresh;
    i = n - 1;
    for (int k = s->hits.n - 1; k >= 0; k--) {
        while (i >= 0 && s->cand[i].index > hit[k]) s->cand[--out] = s->cand[i--];
        if (i < 0 || s->cand[i].index != hit[k]) s->cand[--out] = (loci_candidate){ hit[k], 0 };
    }
    return n + fresh;
}

/* ---- step 3: landmarks --------------------------------------------------------------------------------- */
typedef struct {
    const float *u;
    float tau;
    int k, have;
    loci_query_i16 whole; /* u, for landmarks */
} query;

/* Score chunks from .. from + n of one group, whose union index is `base` + row. */
static loci_status score_rows(loci_searcher *s, query *q, loci_segment *seg, int64_t group,
                              int from, int n, int64_t base)
{
    loci_group_view g;
    const int M = s->shape.n_landmarks, d = s->shape.d_landmark;
    const loci_status st = loci_segment_group(seg, group, &g, &s->err);
    if (st != LOCI_OK) return st;
    const size_t row = (size_t)from * (size_t)M;
    q->have =
        s->model->k.landmark_topk_q8(s->best, q->have, q->k, &q->whole,
                                     g.landmark + row * (size_t)d, g.landmark_scale + row,
                                     g.bias + from, q->tau, M, d, NULL, n, (int32_t)(base + from));
    return LOCI_OK;
}

/* Chunks from index `at` of bank i on that lie together in one group of a segment. */
typedef struct {
    place p;
    int row, n; /* first row of the group, how many */
} chunk_run;

static chunk_run run_at(const loci_searcher *s, int i, int64_t at)
{
    chunk_run r = { .p = place_of(s, i, at) };
    const int64_t left = s->bank[i]->doc[r.p.doc].chunks - r.p.chunk;
    r.row = (int)(r.p.at % LOCI_SEG_GROUP);
    r.n = left < LOCI_SEG_GROUP - r.row ? (int)left : LOCI_SEG_GROUP - r.row;
    return r;
}

/* Score chunks [at, end) of bank i. */
static loci_status score_range(loci_searcher *s, query *q, int i, int64_t at, int64_t end)
{
    loci_status st = LOCI_OK;
    while (at < end && st == LOCI_OK) {
        const chunk_run r = run_at(s, i, at);
        const int n = r.n < end - at ? r.n : (int)(end - at);
        st = score_rows(s, q, r.p.segment, r.p.at / LOCI_SEG_GROUP, r.row, n,
                        s->first[i] + at - r.row);
        at += n;
    }
    return st;
}

static loci_status score_all(loci_searcher *s, query *q)
{
    loci_status st = LOCI_OK;
    for (int i = 0; i < s->n_banks && st == LOCI_OK; i++)
        st = score_range(s, q, i, 0, s->bank[i]->chunks);
    return st;
}

/* All that is in no bucket. */
static loci_status score_loose(loci_searcher *s, query *q)
{
    loci_status st = LOCI_OK;
    for (int i = 0; i < s->n_banks; i++)
        for (int64_t k = 0; k < s->bank[i]->n_code_runs && st == LOCI_OK; k++) {
            const loci_code_run *run = &s->bank[i]->code_run[k];
            st = score_range(s, q, i, run->index, run->index + run->n);
        }
    return st;
}

loci_status loci_searcher_each(loci_searcher *s, loci_landmark_visit *visit, void *ctx,
                               loci_error *err)
{
    const size_t M = (size_t)s->shape.n_landmarks, d = (size_t)s->shape.d_landmark;
    loci_status st = LOCI_OK;
    for (int i = 0; i < s->n_banks; i++)
        for (int64_t at = 0; at < s->bank[i]->chunks && st == LOCI_OK;) {
            const chunk_run r = run_at(s, i, at);
            const size_t row = (size_t)r.row * M;
            loci_group_view g;
            st = loci_segment_group(r.p.segment, r.p.at / LOCI_SEG_GROUP, &g, err);
            if (st == LOCI_OK)
                visit(ctx, s->first[i] + at, r.n, g.landmark + row * d, g.landmark_scale + row,
                      g.bias + r.row);
            at += r.n;
        }
    return st;
}

/* Survivors of one document and group: they stand together, for survivors come in order of index. */
typedef struct {
    loci_group_view group;
    int64_t base; /* union index of row 0 */
    int n;
    int32_t row[LOCI_SEG_GROUP];
} batch;

/* The batch that begins with survivor *i < n, which moves on.  Its landmarks lie anywhere: they are
 * asked for now and used after the batch before it was scored. */
static loci_status next_batch(loci_searcher *s, batch *b, int *i, int n)
{
    const size_t row_bytes = (size_t)s->shape.n_landmarks * (size_t)s->shape.d_landmark;
    const int bank = bank_of(s, s->cand[*i].index);
    const place p = place_of(s, bank, s->cand[*i].index - s->first[bank]);
    const int row = (int)(p.at % LOCI_SEG_GROUP);
    const int64_t left = s->bank[bank]->doc[p.doc].chunks - p.chunk;
    const int64_t end =
        s->cand[*i].index + (left < LOCI_SEG_GROUP - row ? left : LOCI_SEG_GROUP - row);
    b->base = s->cand[*i].index - row;
    b->n = 0;
    const loci_status st = loci_segment_group(p.segment, p.at / LOCI_SEG_GROUP, &b->group, &s->err);
    for (; st == LOCI_OK && *i < n && s->cand[*i].index < end; ++*i) {
        const int32_t r = (int32_t)(s->cand[*i].index - b->base);
        const int8_t *landmark = b->group.landmark + (size_t)r * row_bytes;
        for (size_t at = 0; at < row_bytes; at += 64) __builtin_prefetch(landmark + at);
        __builtin_prefetch(b->group.landmark_scale + (size_t)r * (size_t)s->shape.n_landmarks);
        __builtin_prefetch(b->group.bias + r);
        b->row[b->n++] = r;
    }
    return st;
}

static loci_status score_survivors(loci_searcher *s, query *q, int n)
{
    batch two[2];
    int i = 0, turn = 0;
    loci_status st = i < n ? next_batch(s, &two[0], &i, n) : LOCI_OK;
    two[1].n = 0;
    for (bool more = n > 0; more && st == LOCI_OK; turn = !turn) {
        const batch *b = &two[turn];
        more = i < n;
        if (more) st = next_batch(s, &two[!turn], &i, n);
        q->have = s->model->k.landmark_topk_q8(s->best, q->have, q->k, &q->whole, b->group.landmark,
                                               b->group.landmark_scale, b->group.bias, q->tau,
                                               s->shape.n_landmarks, s->shape.d_landmark, b->row,
                                               b->n, (int32_t)b->base);
    }
    return st;
}

/* Survivors of the scan and chunks of postings, scored; of the latter alone without a scan. */
static loci_status score_near(loci_searcher *s, query *q)
{
    if (!s->scan) {
        s->cand = s->hit;
        return score_survivors(s, q, join_hits(s, 0));
    }
    const int64_t share = loci_scan_chunks(s->scan) / SURVIVORS_SHARE;
    const int64_t most = share < LOCI_SURVIVORS_MAX ? share : LOCI_SURVIVORS_MAX;
    const int want = (int)(most > SURVIVORS_MIN ? most : SURVIVORS_MIN);
    return score_survivors(s, q, join_hits(s, loci_scan_nearest(s->scan, q->u, want, &s->cand)));
}

/* Does x go before y, in order of score and, of equal ones, of index? */
static bool before(const loci_scored *x, const loci_scored *y)
{
    return x->score > y->score || (x->score == y->score && x->index < y->index);
}

/* Another answer (n), best first, into s->best; a chunk that is in both comes once. */
static void merge_found(loci_searcher *s, query *q, const loci_scored *other, int n)
{
    loci_scored out[LOCI_MAX_PICKS];
    int have = 0, i = 0, j = 0;
    while (have < q->k && (i < q->have || j < n)) {
        const bool mine = j == n || (i < q->have && before(&s->best[i], &other[j]));
        const loci_scored x = mine ? s->best[i++] : other[j++];
        if (have == 0 || out[have - 1].index != x.index) out[have++] = x;
    }
    memcpy(s->best, out, (size_t)have * sizeof *out);
    q->have = have;
}

static loci_status score_likely(loci_searcher *s, query *q)
{
    loci_scored found[LOCI_MAX_PICKS];
    loci_status st = score_near(s, q);
    if (st == LOCI_OK && !s->scan) { /* what postings name may be among what is scored anyway */
        const int n = q->have;
        memcpy(found, s->best, (size_t)n * sizeof *found);
        q->have = 0;
        st = score_loose(s, q);
        merge_found(s, q, found, n);
    }
    if (st != LOCI_OK || !s->probe) return st;
    const int n = loci_probe_best(s->probe, q->u, &q->whole, q->tau, q->k, found, &s->err);
    if (n < 0) return (loci_status)n;
    merge_found(s, q, found, n);
    return LOCI_OK;
}

static int search(void *ctx, const float *u, float tau, int k, int64_t own_end, loci_pick *picks)
{
    loci_searcher *s = ctx;
    (void)own_end; /* documents are eligible for every token */
    query q = { .u = u, .tau = tau, .k = k < LOCI_MAX_PICKS ? k : LOCI_MAX_PICKS };
    if (s->err.code != LOCI_OK) return s->err.code; /* negative, as all statuses */
    if (q.k < 1 || s->first[s->n_banks] == 0) return 0;
    loci_query_round(&q.whole, u, s->shape.d_landmark);
    const loci_status st = s->exact ? score_all(s, &q) : score_likely(s, &q);
    s->n_best = st == LOCI_OK ? q.have : 0;
    if (st != LOCI_OK) return st;
    for (int i = 0; i < q.have; i++)
        picks[i] = (loci_pick){ loci_searcher_id(s, s->best[i].index), s->best[i].index,
                                s->best[i].score };
    return q.have;
}

int64_t loci_searcher_id(const loci_searcher *s, int64_t index)
{
    const int bank = bank_of(s, index);
    return (int64_t)bank << ID_SHIFT | (index - s->first[bank]);
}

/* ---- content ------------------------------------------------------------------------------------------------ */
/* Picks of the last search are all wanted soon, so the first that is not there brings those along that
 * are not either: n of them into want, from 1 on.  Without threads there is nothing to gain. */
static int bring_along(loci_searcher *s, int64_t id, loci_content_want *want)
{
    int n = 1, among = 0;
    if (loci_pool_threads(s->pool) < 2) return 1;
    for (int i = 0; i < s->n_best; i++) among |= loci_searcher_id(s, s->best[i].index) == id;
    for (int i = 0; among && i < s->n_best; i++) {
        const int64_t other = loci_searcher_id(s, s->best[i].index);
        if (other == id || loci_contents_has(s->contents, other)) continue;
        const int bank = bank_of(s, s->best[i].index);
        const place p = place_of(s, bank, s->best[i].index - s->first[bank]);
        want[n++] = (loci_content_want){ other, p.segment, p.at };
    }
    return n;
}

static int content(void *ctx, const loci_pick *pick, const float **rows)
{
    loci_searcher *s = ctx;
    int bank;
    int64_t index;
    loci_content_want want[LOCI_MAX_PICKS];
    const int n = loci_contents_find(s->contents, pick->id, rows);
    if (n > 0) return n;
    if (!split_id(s, pick->id, &bank, &index))
        return loci_fail(&s->err, LOCI_EINVAL, "no chunk with id %lld", (long long)pick->id);
    const place p = place_of(s, bank, index);
    want[0] = (loci_content_want){ pick->id, p.segment, p.at };
    return loci_contents_read(s->contents, s->pool, want, bring_along(s, pick->id, want), rows,
                              &s->err);
}

static int gist(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                void *to)
{
    loci_searcher *s = ctx;
    (void)tau; /* its order is that of u alone */
    (void)own_end;
    if (s->err.code != LOCI_OK) return s->err.code;
    return loci_frontiers_take(s->frontiers, u, take, to, &s->err);
}

loci_memory loci_searcher_memory(loci_searcher *s)
{
    return (loci_memory){ s, search, content, s->frontiers ? gist : NULL };
}
