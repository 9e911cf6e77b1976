/* local_bank.c - the closed chunks of a stream that is still being written, in memory.
 *
 * Rows of h_lo come in as the stream runs; each 64 of them make a record, kept as the encoder gave
 * it.  Search is exact: every eligible chunk is scored, and since chunks lie in the order of their
 * ends, the eligible ones are the first own_end / 64.  Another memory can stand behind this one:
 * the two answers are merged.  A model that never reads keeps nothing.
 *
 * With content_bits4 the newest `working` chunks are the working memory, kept whole; a chunk that
 * leaves it is packed (tier.c).  Of those the last CACHE that were read are kept unpacked. */
#include "model/model_impl.h"

#include <assert.h>
#include <string.h>

enum { CACHE = 128 }; /* unpacked chunks: 4 MiB at 128 floats a row */
_Static_assert(CACHE > 64, "loci_memory: rows stay for 64 further calls");

struct loci_local_bank {
    loci_hparams hp;
    int max_chunks, n_chunks;
    int open;                    /* rows of the chunk that is not closed yet           */
    float *rows;                 /* (S, D) of h_lo                                     */
    float *landmark, *bias;      /* (max, M*128) (max)                                 */
    float *summary;              /* pyramid over max chunks: gist.c                    */
    int working;                 /* chunks kept whole: chunk c in slot c % working     */
    float *content;              /* (working, S*w)                                     */
    uint8_t *packed;             /* (max, S*32): chunks that have left the working ... */
    uint16_t *scale;             /* ... memory; (max, S*2) halves                      */
    float *unpacked;             /* (CACHE, S*w) and one more: whole_slot              */
    int32_t *slot_of, *chunk_of; /* (max) slot of a chunk, (CACHE) chunk of a slot: -1 */
    int64_t *used, clock;        /* (CACHE) when a slot was read last                  */
    const loci_model *m;         /* of the last append */
    loci_encoder_tape *encoder;
    const loci_kernels *k; /* of the last loci_local_bank_memory */
    const loci_memory *other;
};

static void plan(loci_local_bank *b, loci_arena *a, const loci_hparams *hp, int max_chunks,
                 int working)
{
    const int most = hp->n_groups ? max_chunks : 0;
    const size_t n = (size_t)most, S = (size_t)hp->chunk, f = sizeof(float);
    const size_t record = S * (size_t)loci_content_cols(hp);
    const bool packs = hp->content_bits4 && working < most;
    b->hp = *hp;
    b->max_chunks = max_chunks;
    b->working = packs ? working : most;
    b->rows = loci_arena_take(a, S * (size_t)hp->d_model, f);
    b->content = loci_arena_take(a, (size_t)b->working * record, f);
    b->landmark = loci_arena_take(a, n * (size_t)(hp->n_landmarks * hp->d_landmark), f);
    b->bias = loci_arena_take(a, n, f);
    b->summary = loci_arena_take(a, (size_t)loci_gist_rows(most) * (size_t)hp->d_summary, f);
    b->packed = loci_arena_take(a, packs ? n * S * LOCI_PACK / 2 : 0, 1);
    b->scale = loci_arena_take(a, packs ? n * S * LOCI_PACK / 32 : 0, sizeof *b->scale);
    b->unpacked = loci_arena_take(a, packs ? (CACHE + 1) * record : 0, f);
    b->slot_of = loci_arena_take(a, packs ? n : 0, sizeof *b->slot_of);
    b->chunk_of = loci_arena_take(a, CACHE, sizeof *b->chunk_of);
    b->used = loci_arena_take(a, CACHE, sizeof *b->used);
    float *scratch = loci_arena_take(a, loci_encoder_scratch(hp, 1, false), f);
    b->encoder = loci_encoder_plan_with(a, hp, hp->chunk, 1, scratch);
}

size_t loci_local_bank_bytes_with(const loci_hparams *hp, int max_chunks, int working)
{
    loci_arena a = { 0 };
    loci_local_bank b;
    loci_arena_take(&a, 1, sizeof b);
    plan(&b, &a, hp, max_chunks, working);
    return a.used;
}

size_t loci_local_bank_bytes(const loci_hparams *hp, int max_chunks)
{
    return loci_local_bank_bytes_with(hp, max_chunks, LOCI_WORKING_CHUNKS);
}

loci_local_bank *loci_local_bank_init_with(const loci_hparams *hp, int max_chunks, int working,
                                           void *memory)
{
    loci_arena a = { memory, loci_local_bank_bytes_with(hp, max_chunks, working), 0 };
    loci_local_bank *b = loci_arena_take(&a, 1, sizeof *b);
    plan(b, &a, hp, max_chunks, working);
    b->m = NULL;
    b->k = NULL;
    b->other = NULL;
    loci_local_bank_reset(b);
    return b;
}

loci_local_bank *loci_local_bank_init(const loci_hparams *hp, int max_chunks, void *memory)
{
    return loci_local_bank_init_with(hp, max_chunks, LOCI_WORKING_CHUNKS, memory);
}

void loci_local_bank_reset(loci_local_bank *b)
{
    b->n_chunks = b->open = 0;
    b->clock = 0;
    for (int i = 0; i < CACHE; i++) {
        b->chunk_of[i] = -1;
        b->used[i] = 0;
    }
}

int loci_local_bank_chunks(const loci_local_bank *b)
{
    return b->n_chunks;
}

/* ---- writing ---------------------------------------------------------------------------- */

static size_t record_floats(const loci_local_bank *b)
{
    return (size_t)b->hp.chunk * (size_t)loci_content_cols(&b->hp);
}

/* The buffer behind the cache is where a chunk is encoded when none is kept whole. */
static float *whole_slot(const loci_local_bank *b, int chunk)
{
    return b->working > 0 ? b->content + (size_t)(chunk % b->working) * record_floats(b)
                          : b->unpacked + CACHE * record_floats(b);
}

static bool is_packed(const loci_local_bank *b, int chunk)
{
    return chunk < b->n_chunks - b->working;
}

static void pack(loci_local_bank *b, const loci_model *m, int chunk)
{
    const size_t row = (size_t)chunk * (size_t)b->hp.chunk;
    loci_pack_content(m, b->packed + row * LOCI_PACK / 2, b->scale + row * LOCI_PACK / 32,
                      whole_slot(b, chunk), b->hp.chunk);
    b->slot_of[chunk] = -1;
}

static void close_chunk(loci_local_bank *b, const loci_model *m)
{
    const size_t row = (size_t)(b->hp.n_landmarks * b->hp.d_landmark);
    const int c = b->n_chunks++;
    if (b->working > 0 && c >= b->working) pack(b, m, c - b->working); /* its slot is c's now */
    loci_encoder_forward(m, b->encoder, 0, b->rows, b->hp.chunk, whole_slot(b, c),
                         b->landmark + (size_t)c * row, b->bias + c,
                         b->summary + (size_t)(c * b->hp.d_summary));
    if (b->working == 0) pack(b, m, c);
    if (b->hp.d_summary) loci_gist_close(&m->k, b->summary, b->max_chunks, b->hp.d_summary, c);
    b->open = 0;
}

loci_status loci_local_bank_append(loci_local_bank *b, const loci_model *m, const float *h_lo,
                                   int n, loci_error *err)
{
    const int S = b->hp.chunk;
    const size_t D = (size_t)b->hp.d_model;
    if (b->hp.n_groups == 0) return LOCI_OK;
    if (n > (b->max_chunks - b->n_chunks) * S - b->open)
        return loci_fail(err, LOCI_ENOMEM, "the stream's own memory holds %d tokens: all are used",
                         b->max_chunks * S);
    b->m = m;
    while (n > 0) {
        const int take = S - b->open < n ? S - b->open : n;
        memcpy(b->rows + (size_t)b->open * D, h_lo, (size_t)take * D * sizeof *h_lo);
        h_lo += (size_t)take * D;
        n -= take;
        b->open += take;
        if (b->open == S) close_chunk(b, m);
    }
    return LOCI_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool better(const loci_pick *a, const loci_pick *b)
{
    return a->score > b->score || (a->score == b->score && a->id < b->id);
}

/* The k best of two answers, each best first; returns how many. */
static int merge(loci_pick *out, int k, const loci_pick *a, int na, const loci_pick *b, int nb)
{
    int n = 0, i = 0, j = 0;
    while (n < k && (i < na || j < nb)) {
        const bool first = j == nb || (i < na && better(&a[i], &b[j]));
        out[n++] = first ? a[i++] : b[j++];
    }
    return n;
}

static int eligible_of(const loci_local_bank *b, int64_t own_end)
{
    const int64_t ends = own_end > 0 ? own_end / b->hp.chunk : 0;
    return ends < b->n_chunks ? (int)ends : b->n_chunks;
}

static int search(void *ctx, const float *u, float tau, int k, int64_t own_end, loci_pick *picks)
{
    const loci_local_bank *b = ctx;
    const int eligible = eligible_of(b, own_end);
    loci_scored best[LOCI_MAX_PICKS];
    loci_pick own[LOCI_MAX_PICKS], others[LOCI_MAX_PICKS];
    assert(k <= LOCI_MAX_PICKS);
    const int n = b->k->landmark_topk(best, 0, k, u, b->landmark, b->bias, tau, b->hp.n_landmarks,
                                      b->hp.d_landmark, eligible, 0);
    for (int i = 0; i < n; i++)
        own[i] = (loci_pick){ LOCI_OWN_ID + best[i].index, LOCI_OWN_TIME + best[i].index,
                              best[i].score };
    const int m = b->other ? b->other->search(b->other->ctx, u, tau, k, own_end, others) : 0;
    return m < 0 ? m : merge(picks, k, own, n, others, m);
}

/* A slot for chunk c: the one that was read longest ago. */
static int take_slot(loci_local_bank *b, int c)
{
    int slot = 0;
    for (int i = 1; i < CACHE; i++) slot = b->used[i] < b->used[slot] ? i : slot;
    if (b->chunk_of[slot] >= 0) b->slot_of[b->chunk_of[slot]] = -1;
    b->chunk_of[slot] = c;
    return b->slot_of[c] = slot;
}

static const float *unpack(loci_local_bank *b, int c)
{
    const size_t row = (size_t)c * (size_t)b->hp.chunk;
    const bool known = b->slot_of[c] >= 0;
    const int slot = known ? b->slot_of[c] : take_slot(b, c);
    float *out = b->unpacked + (size_t)slot * record_floats(b);
    b->used[slot] = ++b->clock;
    if (!known)
        loci_unpack_content(b->m, out, b->packed + row * LOCI_PACK / 2,
                            b->scale + row * LOCI_PACK / 32,
                            b->summary + (size_t)(c * b->hp.d_summary), b->hp.chunk);
    return out;
}

static int content(void *ctx, const loci_pick *pick, const float **rows)
{
    loci_local_bank *b = ctx;
    if (pick->id >= 0) return b->other->content(b->other->ctx, pick, rows);
    const int64_t chunk = pick->id - LOCI_OWN_ID;
    assert(chunk < b->n_chunks);
    *rows = is_packed(b, (int)chunk) ? unpack(b, (int)chunk) : whole_slot(b, (int)chunk);
    return b->hp.chunk;
}

/* The others' documents, then the own stream's. */
static int gist(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                void *to)
{
    const loci_local_bank *b = ctx;
    loci_gist_run run[LOCI_GIST_LEVELS];
    if (b->other && b->other->gist) {
        const int st = b->other->gist(b->other->ctx, u, tau, own_end, take, to);
        if (st != LOCI_OK) return st;
    }
    const int runs = loci_gist_frontier(run, b->max_chunks, eligible_of(b, own_end));
    for (int i = 0; i < runs; i++)
        take(to, b->summary + (size_t)run[i].row * (size_t)b->hp.d_summary, run[i].level, run[i].n,
             NULL);
    return LOCI_OK;
}

loci_memory loci_local_bank_memory(loci_local_bank *b, const loci_kernels *k,
                                   const loci_memory *other)
{
    b->k = k;
    b->other = other;
    return (loci_memory){ b, search, content, gist };
}
