/* search.c - the K best chunks of a query over the union of banks, and their content.
 *
 *   1  code of the query; Hamming distance to every chunk's codes, one pass over the union
 *   2  the nearest 1/16 survive (256 to 8,192): ties to the lower index; chunks that share a rare
 *      token run with the question join them (hits.c)
 *   3  survivors rescored by their int8 landmarks and bias: the exact order of what is stored
 *
 * Under 4,096 chunks step 3 takes them all.  A search touches 16 bytes a code and the landmarks
 * of the survivors; content is decoded for the picks only, and the last 512 decoded chunks stay.
 *
 * Numbering: chunks of all banks in order of banks, then ingestion, then place: the *union index*,
 * which is also a pick's time.  A pick's id names the bank in its upper bits. */
#include "engine/frontier.h"
#include <stdlib.h>

enum {
    BANKS_MAX = 100,
    ID_SHIFT = 40,      /* chunk index within a bank below it */
    EXACT_BELOW = 4096, /* chunks: rescoring all costs less than it could miss */
    SURVIVORS_SHARE =
        16, /* one chunk in 16: codes of a fixed projection are coarse.  Seen with XS at
                             16,384 chunks: of 256 survivors the gold chunk was missing in 6 % */
    SURVIVORS_MIN = 256,
    SURVIVORS_MAX = 8192,
    SCAN_BLOCK = 4096, /* chunks a kernel call: its distances stay in the first cache */
    SKIP_BLOCK = 64,   /* distances looked at together */
    CANDIDATES = 4 * SURVIVORS_MAX,
    CACHE_SLOTS = 512,   /* decoded chunks kept; 16 MiB at 64 x 128 */
    CACHE_BUCKETS = 1024 /* power of two */
};
_Static_assert(SURVIVORS_MIN >= (int)LOCI_MAX_PICKS, "enough for any K");
_Static_assert(CANDIDATES >= SURVIVORS_MAX + SKIP_BLOCK,
               "room for one more block before a compaction");
_Static_assert(CANDIDATES >= SURVIVORS_MAX + (int)LOCI_HITS_MAX, "room for chunks of postings");

typedef struct {
    int32_t index; /* union index */
    uint8_t distance;
} candidate;

typedef struct {          /* one decoded chunk */
    int64_t id;           /* -1: empty */
    int32_t older, newer; /* in order of use; -1 ends it */
    int32_t next;         /* in its bucket; -1 ends it */
    int n_tokens;
} cache_slot;

struct loci_searcher {
    const loci_model *model;
    const loci_tokenizer *tok;
    int n_banks;
    const loci_bank *bank[BANKS_MAX];
    int64_t first[BANKS_MAX + 1]; /* union index of a bank's first chunk; last: all */
    int64_t tokens;
    loci_segment_shape shape;
    uint8_t distance[SCAN_BLOCK];
    candidate cand[CANDIDATES];
    loci_hits hits;
    loci_frontiers *frontiers; /* NULL without summaries */
    loci_scored best[LOCI_MAX_PICKS];
    cache_slot slot[CACHE_SLOTS];
    int32_t bucket[CACHE_BUCKETS];
    int32_t oldest, newest;
    float *content; /* (CACHE_SLOTS, 64, d_content) */
    loci_searcher_counts counts;
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

static void cache_init(loci_searcher *s)
{
    for (int i = 0; i < CACHE_BUCKETS; i++) s->bucket[i] = -1;
    for (int i = 0; i < CACHE_SLOTS; i++)
        s->slot[i] = (cache_slot){ -1, i - 1, i + 1 < CACHE_SLOTS ? i + 1 : -1, -1, 0 };
    s->oldest = 0;
    s->newest = CACHE_SLOTS - 1;
}

loci_status loci_searcher_open(loci_searcher **out, loci_engine *e, loci_bank *const *banks,
                               int n_banks, loci_error *err)
{
    *out = NULL;
    if (n_banks < 1 || n_banks > BANKS_MAX)
        return loci_fail(err, LOCI_EINVAL, "%d banks: 1 to %d can be searched together", n_banks,
                         BANKS_MAX);
    loci_searcher *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    s->model = e->model;
    s->tok = e->tok;
    s->n_banks = n_banks;
    s->shape = banks[0]->shape;
    /* Not zeroed: pages are taken as chunks are decoded, most questions need few. */
    s->content = aligned_alloc(SEG_ALIGN, (size_t)CACHE_SLOTS * SEG_CHUNK_TOKENS *
                                              (size_t)s->shape.d_content * sizeof(float));
    cache_init(s);
    loci_status st = s->content ? add_banks(s, banks, n_banks, err)
                                : loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    if (st == LOCI_OK && s->shape.d_summary)
        st = loci_frontiers_open(&s->frontiers, &s->model->k, s->bank, n_banks, err);
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
    free(s->content);
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
    return s->counts;
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

/* ---- step 1 and 2: codes ---------------------------------------------------------------------------- */
/* Keep the `want` nearest of n candidates, ties to the lower index; they stay in order of index.
 * By counting: distances are 0..128.  Returns how many are left; *limit: only what is nearer can
 * still come in. */
static int keep_nearest(candidate *c, int n, int want, int *limit)
{
    int count[129] = { 0 }, nearer = 0, cut = 0, out = 0;
    if (n < want) return n;
    for (int i = 0; i < n; i++) count[c[i].distance]++;
    while (nearer + count[cut] < want) nearer += count[cut++];
    int at_cut = want - nearer;
    for (int i = 0; i < n; i++) {
        if (c[i].distance > cut || (c[i].distance == cut && at_cut-- <= 0)) continue;
        c[out++] = c[i];
    }
    *limit = cut;
    return out;
}

/* Least of n <= SKIP_BLOCK distances.  A full block has a constant count, which compilers turn into
 * a few vector minimums. */
static int nearest_in_block(const uint8_t *d, int n)
{
    uint8_t low = 255;
    if (n == SKIP_BLOCK)
        for (int i = 0; i < SKIP_BLOCK; i++) low = d[i] < low ? d[i] : low;
    else
        for (int i = 0; i < n; i++) low = d[i] < low ? d[i] : low;
    return low;
}

/* The survivors of a scan over all codes, by index; returns how many. */
static int scan_codes(loci_searcher *s, const uint64_t query[2], int want)
{
    const int M = s->shape.n_landmarks;
    int n = 0, limit = 255; /* distances below `limit` come in */
    for (int i = 0; i < s->n_banks; i++) {
        const loci_bank *b = s->bank[i];
        for (int64_t at = 0; at < b->chunks; at += SCAN_BLOCK) {
            const int block = b->chunks - at < SCAN_BLOCK ? (int)(b->chunks - at) : SCAN_BLOCK;
            s->model->k.hamming(s->distance, b->code + (size_t)at * (size_t)M * 2, query, M, block);
            for (int j = 0; j < block; j += SKIP_BLOCK) {
                const int here = block - j < SKIP_BLOCK ? block - j : SKIP_BLOCK;
                if (nearest_in_block(s->distance + j, here) >= limit) continue;
                if (n + here > CANDIDATES) n = keep_nearest(s->cand, n, want, &limit);
                for (int k = j; k < j + here; k++)
                    if (s->distance[k] < limit)
                        s->cand[n++] =
                            (candidate){ (int32_t)(s->first[i] + at + k), s->distance[k] };
            }
        }
    }
    return keep_nearest(s->cand, n, want, &limit);
}

loci_status loci_searcher_note(loci_searcher *s, const int32_t *ids, int n, loci_error *err)
{
    if (!s->shape.postings || s->first[s->n_banks] < EXACT_BELOW) return LOCI_OK;
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
        if (i < 0 || s->cand[i].index != hit[k]) s->cand[--out] = (candidate){ hit[k], 0 };
    }
    return n + fresh;
}

/* ---- step 3: landmarks --------------------------------------------------------------------------------- */
typedef struct {
    const float *u;
    float tau;
    int k, have;
} query;

/* Score chunks of one group: those at rows list[0..n) (list NULL: from .. from + n), whose union
 * index is `base` + row. */
static loci_status score_rows(loci_searcher *s, query *q, loci_segment *seg, int64_t group,
                              int from, const int32_t *list, int n, int64_t base)
{
    loci_group_view g;
    const int M = s->shape.n_landmarks, d = s->shape.d_landmark;
    const loci_status st = loci_segment_group(seg, group, &g, &s->err);
    if (st != LOCI_OK) return st;
    const size_t row = (size_t)from * (size_t)M;
    q->have =
        s->model->k.landmark_topk_q8(s->best, q->have, q->k, q->u, g.landmark + row * (size_t)d,
                                     g.landmark_scale + row, g.bias + from, q->tau, M, d, list, n,
                                     (int32_t)(base + from));
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

static loci_status score_all(loci_searcher *s, query *q)
{
    loci_status st = LOCI_OK;
    for (int i = 0; i < s->n_banks; i++)
        for (int64_t at = 0; at < s->bank[i]->chunks && st == LOCI_OK;) {
            const chunk_run r = run_at(s, i, at);
            st = score_rows(s, q, r.p.segment, r.p.at / LOCI_SEG_GROUP, r.row, NULL, r.n,
                            s->first[i] + at - r.row);
            at += r.n;
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

/* Survivors come in order of index, so those of one document and group stand together. */
static loci_status score_survivors(loci_searcher *s, query *q, int n)
{
    int32_t rows[LOCI_SEG_GROUP];
    loci_status st = LOCI_OK;
    for (int i = 0; i < n && st == LOCI_OK;) {
        const int bank = bank_of(s, s->cand[i].index);
        const place p = place_of(s, bank, s->cand[i].index - s->first[bank]);
        const int row = (int)(p.at % LOCI_SEG_GROUP);
        const int64_t base = s->cand[i].index - row;
        const int64_t left = s->bank[bank]->doc[p.doc].chunks - p.chunk;
        const int64_t end =
            s->cand[i].index + (left < LOCI_SEG_GROUP - row ? left : LOCI_SEG_GROUP - row);
        int take = 0;
        for (; i < n && s->cand[i].index < end; i++)
            rows[take++] = (int32_t)(s->cand[i].index - base);
        st = score_rows(s, q, p.segment, p.at / LOCI_SEG_GROUP, 0, rows, take, base);
    }
    return st;
}

static int search(void *ctx, const float *u, float tau, int k, int64_t own_end, loci_pick *picks)
{
    loci_searcher *s = ctx;
    (void)own_end; /* documents are eligible for every token */
    const int64_t all = s->first[s->n_banks];
    query q = { u, tau, k < LOCI_MAX_PICKS ? k : LOCI_MAX_PICKS, 0 };
    if (s->err.code != LOCI_OK) return s->err.code; /* negative, as all statuses */
    if (q.k < 1 || all == 0) return 0;
    loci_status st;
    if (all < EXACT_BELOW) {
        st = score_all(s, &q);
    } else {
        uint64_t code[2];
        int64_t want = all / SURVIVORS_SHARE;
        want = want < SURVIVORS_MIN ? SURVIVORS_MIN : want > SURVIVORS_MAX ? SURVIVORS_MAX : want;
        loci_query_codes(s->model, code, u, 1);
        st = score_survivors(s, &q, join_hits(s, scan_codes(s, code, (int)want)));
    }
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
static int32_t *bucket_of(loci_searcher *s, int64_t id)
{
    return &s->bucket[loci_rng_mix((uint64_t)id, 0) & (CACHE_BUCKETS - 1)];
}

static void cache_unlink(loci_searcher *s, int32_t i)
{
    cache_slot *x = &s->slot[i];
    if (x->older >= 0)
        s->slot[x->older].newer = x->newer;
    else
        s->oldest = x->newer;
    if (x->newer >= 0)
        s->slot[x->newer].older = x->older;
    else
        s->newest = x->older;
}

static void cache_use(loci_searcher *s, int32_t i)
{
    if (s->newest == i) return;
    cache_unlink(s, i);
    s->slot[i].older = s->newest;
    s->slot[i].newer = -1;
    s->slot[s->newest].newer = i;
    s->newest = i;
}

static void cache_forget(loci_searcher *s, int32_t i)
{
    if (s->slot[i].id < 0) return;
    int32_t *link = bucket_of(s, s->slot[i].id);
    while (*link != i) link = &s->slot[*link].next;
    *link = s->slot[i].next;
    s->slot[i].id = -1;
}

static float *slot_rows(loci_searcher *s, int32_t i)
{
    return s->content + (size_t)i * SEG_CHUNK_TOKENS * (size_t)s->shape.d_content;
}

/* Stored content of a chunk to f32 rows. */
static void decode_rows(const loci_searcher *s, float *rows, const loci_chunk_view *v)
{
    const int half = s->shape.d_content / 2, ds = s->shape.d_summary;
    if (s->shape.content_bits4) {
        float z[LOCI_MAX_SUMMARY];
        s->model->k.dequant_q8(z, ds, v->summary, ds, &v->summary_scale, 1, ds);
        loci_unpack_content(s->model, rows, v->packed, v->packed_scale, z, v->n_tokens);
    } else {
        s->model->k.dequant_q8(rows, half, v->content, half, v->content_scale, 2 * v->n_tokens,
                               half);
    }
}

/* Decode into the slot that was used longest ago. */
static loci_status cache_fill(loci_searcher *s, int64_t id, int32_t *slot)
{
    int bank;
    int64_t index;
    loci_chunk_view v;
    if (!split_id(s, id, &bank, &index))
        return loci_fail(&s->err, LOCI_EINVAL, "no chunk with id %lld", (long long)id);
    const place p = place_of(s, bank, index);
    const loci_status st = loci_segment_chunk(p.segment, p.at, true, &v, &s->err);
    if (st != LOCI_OK) return st;
    const int32_t i = s->oldest;
    cache_forget(s, i);
    decode_rows(s, slot_rows(s, i), &v);
    int32_t *link = bucket_of(s, id);
    s->slot[i].id = id;
    s->slot[i].n_tokens = v.n_tokens;
    s->slot[i].next = *link;
    *link = i;
    *slot = i;
    return LOCI_OK;
}

static int content(void *ctx, const loci_pick *pick, const float **rows)
{
    loci_searcher *s = ctx;
    int32_t i = *bucket_of(s, pick->id);
    *rows = NULL;
    while (i >= 0 && s->slot[i].id != pick->id) i = s->slot[i].next;
    if (i >= 0) {
        s->counts.hits++;
    } else {
        s->counts.misses++;
        const loci_status st = cache_fill(s, pick->id, &i);
        if (st != LOCI_OK) return st;
    }
    cache_use(s, i);
    *rows = slot_rows(s, i);
    return s->slot[i].n_tokens;
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
