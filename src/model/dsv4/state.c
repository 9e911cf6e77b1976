/* state.c - a sequence: what is carried between tokens, the blocks of entries, scratch.
 *
 * Rings of raw entries and of pooling rows are indexed by position modulo a length that exceeds
 * what the arithmetic looks back at by one batch.  So a batch is written before it is attended to,
 * and going back by up to a batch is a matter of the length alone: nothing that an earlier position
 * needs has been overwritten, and what lies beyond is written again.
 *
 * Compressed entries lie in blocks (entry.c).  Blocks below n_mapped belong to a mapped file and
 * are only read; positions that would write there are never computed again. */
#include "model/dsv4/dsv4_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- memory: walked twice ---------------------------------------------------------------------- */

#define FLOATS(n) loci_arena_take(a, (size_t)(n), sizeof(float))
#define INTS(n)   loci_arena_take(a, (size_t)(n), sizeof(int32_t))

static void plan_rows(loci_arena *a, loci_dsv4_rows *r, int keep, int width)
{
    r->slots = keep + DSV4_B;
    r->k = FLOATS((size_t)r->slots * (size_t)width);
    r->z = FLOATS((size_t)r->slots * (size_t)width);
}

static void plan_carry(loci_arena *a, loci_dsv4_seq *s)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    s->ring_slots = hp->window + DSV4_B;
    for (int l = 0; l < hp->n_layers + hp->n_mtp; l++) {
        const loci_dsv4_layer_shape *y = &hp->layer[l];
        loci_dsv4_carry *c = &s->carry[l];
        c->ring = loci_arena_take(a, (size_t)s->ring_slots, s->m->lay.entry_bytes);
        const int copies = y->overlap ? 2 : 1;
        if (y->ratio > 0) plan_rows(a, &c->main, copies * y->ratio, copies * hp->head_dim);
        if (y->indexer) plan_rows(a, &c->index, 2 * y->ratio, 2 * hp->index_dim);
    }
}

/* Streams, mixing and attention. */
static void plan_attention(loci_arena *a, loci_dsv4_seq *s, size_t workers)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    loci_dsv4_scratch *c = &s->sc;
    const size_t B = DSV4_B, D = (size_t)hp->hidden, n = (size_t)hp->streams;
    const size_t H = (size_t)hp->n_heads, d = (size_t)hp->head_dim, half = (size_t)hp->rope_dim / 2;
    const size_t Hi = (size_t)hp->index_heads, di = (size_t)hp->index_dim;
    c->x = FLOATS(B * n * D);
    c->xm = hp->n_mtp > 0 ? FLOATS(B * n * D) : NULL;
    c->mix = FLOATS(B * (2 + n) * n);
    c->pre = FLOATS(B * n);
    c->post = FLOATS(B * n);
    c->comb = FLOATS(B * n * n);
    c->h = FLOATS(B * D);
    c->y = FLOATS(B * D);
    c->qr = FLOATS(B * (size_t)hp->q_rank);
    c->q = FLOATS(B * H * d);
    c->o = FLOATS(B * H * d);
    c->kv = FLOATS(B * d);
    c->u = FLOATS(B * (size_t)(hp->o_groups * hp->o_rank));
    c->iq = FLOATS(B * Hi * di);
    c->iw = FLOATS(B * Hi);
    c->iq_code = loci_arena_take(a, B * Hi * di, 1);
    c->iq_scale = FLOATS(B * Hi * ((di + 31) / 32));
    c->cos = FLOATS(B * half);
    c->sin = FLOATS(B * half);
    c->zeros = INTS(max_size(H, Hi));
    c->ck = FLOATS(B * 2 * max_size(d, di));
    c->picks = INTS(B * (size_t)hp->index_topk);
    c->n_picks = INTS(B);
    c->n_heaps = (int)max_size(B, workers);
    c->heap_n = INTS((size_t)c->n_heaps);
    c->heap = loci_arena_take(a, (size_t)c->n_heaps * (size_t)hp->index_topk, sizeof *c->heap);
    c->row_lse = FLOATS(H);
    const size_t parts = max_size(DSV4_WAVE, workers);
    c->part_o = FLOATS(parts * H * d);
    c->part_lse = FLOATS(parts * H);
    c->tile_k = FLOATS(workers * DSV4_CHUNK * d);
    c->tile_s = FLOATS(workers * DSV4_CHUNK * H);
}

static void plan_experts(loci_arena *a, loci_dsv4_seq *s)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    loci_dsv4_scratch *c = &s->sc;
    const size_t B = DSV4_B, E = (size_t)hp->n_experts, na = (size_t)hp->n_active;
    const size_t D = (size_t)hp->hidden, F = (size_t)hp->expert_width, rows = B * (na + 1);
    c->route = FLOATS(B * E);
    c->route_w = FLOATS(B * na);
    c->route_id = INTS(B * na);
    c->chosen = INTS(E);
    c->start = INTS(E + 1);
    c->order = INTS(B * na);
    c->place = INTS(B * na);
    c->ex = FLOATS(rows * D);
    c->eg = FLOATS(rows * F);
    c->eu = FLOATS(rows * F);
    c->ey = FLOATS(rows * D);
    c->view = loci_arena_take(a, E + 1, sizeof *c->view);
    c->list = loci_arena_take(a, 2 * (E + 1), sizeof *c->list);
    if (s->m->mode != LOCI_DSV4_MODE_EXACT) return;
    const size_t wide =
        max_size(max_size(D, (size_t)hp->q_rank), (size_t)(hp->o_groups * hp->o_rank));
    c->xq = FLOATS(max_size(rows * max_size(D, F), B * wide));
    c->sx = FLOATS(max_size(rows * (max_size(D, F) / 128 + 1), B * (wide / 128 + 1)));
}

static void plan(loci_arena *a, loci_dsv4_seq *s)
{
    plan_carry(a, s);
    plan_attention(a, s, (size_t)loci_pool_threads(s->pool));
    plan_experts(a, s);
}

loci_status loci_dsv4_seq_open(loci_dsv4_seq **out, const loci_dsv4 *m, loci_pool *pool,
                               loci_error *err)
{
    loci_dsv4_seq *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a sequence");
    s->m = m;
    s->pool = pool;
    loci_arena a = { 0 };
    plan(&a, s);
    s->memory_bytes = a.used;
    s->memory = loci_alloc_aligned(a.used);
    if (!s->memory) {
        loci_dsv4_seq_close(s);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a sequence: %zu bytes", a.used);
    }
    a = (loci_arena){ s->memory, a.used, 0 };
    plan(&a, s);
    *out = s;
    return LOCI_OK;
}

static void free_blocks(loci_dsv4_seq *s, int from)
{
    for (int b = from > s->n_mapped ? from : s->n_mapped; b < s->n_blocks; b++)
        loci_free_aligned(s->block[b]);
    s->n_blocks = from;
    if (s->n_mapped > from) s->n_mapped = from;
}

void loci_dsv4_seq_close(loci_dsv4_seq *s)
{
    if (!s) return;
    free_blocks(s, 0);
    free(s->block);
    free(s->ids);
    loci_free_aligned(s->memory);
    free(s);
}

void loci_dsv4_seq_reset(loci_dsv4_seq *s)
{
    free_blocks(s, 0);
    s->n = s->high = s->oldest = s->x_pos = s->mtp_n = 0;
}

int64_t loci_dsv4_seq_length(const loci_dsv4_seq *s)
{
    return s->n;
}

const int32_t *loci_dsv4_seq_ids(const loci_dsv4_seq *s)
{
    return s->ids;
}

size_t loci_dsv4_seq_bytes(const loci_dsv4_seq *s)
{
    return s->memory_bytes + (size_t)(s->n_blocks - s->n_mapped) * s->m->lay.block_bytes +
           (size_t)s->ids_max * sizeof *s->ids;
}

bool loci_dsv4_rewind(loci_dsv4_seq *s, int64_t n)
{
    const int64_t to = s->n - n;
    if (n < 0 || to < s->oldest || to < s->high - DSV4_B) return false;
    s->n = to;
    /* The MTP block saw position to-1 with a successor that is no longer there. */
    if (s->mtp_n > to - 1) s->mtp_n = to > 0 ? to - 1 : 0;
    return true;
}

/* ---- room for more tokens ------------------------------------------------------------------ */

/* *p holds `have` elements; at least `need` afterwards. */
static bool grow(void **p, int64_t have, int64_t need, size_t size)
{
    size_t bytes;
    if (need <= have) return true;
    if (!loci_size_mul((size_t)need, size, &bytes)) return false;
    void *more = realloc(*p, bytes);
    if (more) *p = more;
    return more != NULL;
}

static loci_status no_room(const loci_dsv4_seq *s, int64_t n, loci_error *err)
{
    return loci_fail(err, LOCI_ENOMEM, "no memory for a context of %lld tokens (%zu bytes held)",
                     (long long)n, loci_dsv4_seq_bytes(s));
}

static bool reserve_blocks(loci_dsv4_seq *s, int64_t want)
{
    if (want <= s->block_max) return true;
    const int64_t max = want > 2 * s->block_max ? want + 16 : 2 * s->block_max;
    if (!grow((void **)&s->block, s->block_max, max, sizeof *s->block)) return false;
    s->block_max = (int)max;
    return true;
}

loci_status dsv4_lend_blocks(loci_dsv4_seq *s, int n, loci_error *err)
{
    assert(s->n == 0 && s->n_blocks == 0);
    if (!reserve_blocks(s, n)) return no_room(s, (int64_t)n * s->m->lay.block_tokens, err);
    s->n_blocks = s->n_mapped = n;
    return LOCI_OK;
}

loci_status dsv4_reserve(loci_dsv4_seq *s, int64_t n, loci_error *err)
{
    const loci_dsv4_layout *lay = &s->m->lay;
    const int64_t want = lay->block_bytes > 0 ? (n + lay->block_tokens - 1) / lay->block_tokens : 0;
    if (n > (int64_t)1 << 30) return no_room(s, n, err);
    if (n + 1 > s->ids_max) {
        const int64_t max = n + 1 > 2 * s->ids_max ? n + 1024 : 2 * s->ids_max;
        if (!grow((void **)&s->ids, s->ids_max, max, sizeof *s->ids)) return no_room(s, n, err);
        s->ids_max = max;
    }
    if (!reserve_blocks(s, want)) return no_room(s, n, err);
    for (; s->n_blocks < want; s->n_blocks++) {
        s->block[s->n_blocks] = loci_alloc_aligned(lay->block_bytes);
        if (!s->block[s->n_blocks]) return no_room(s, n, err);
    }
    return LOCI_OK;
}

/* ---- places ---------------------------------------------------------------------------------- */

uint8_t *dsv4_entry_at(const loci_dsv4_seq *s, int l, int64_t j)
{
    const loci_dsv4_layout *lay = &s->m->lay;
    const int64_t per_block = lay->block_tokens / s->m->hp.layer[l].ratio;
    assert(j >= 0 && j / per_block < s->n_blocks);
    return s->block[j / per_block] + lay->entry_at[l] + (size_t)(j % per_block) * lay->entry_bytes;
}

uint8_t *dsv4_keys_at(const loci_dsv4_seq *s, int l, int64_t j)
{
    const loci_dsv4_layout *lay = &s->m->lay;
    const int64_t per_block = lay->block_tokens / s->m->hp.layer[l].ratio;
    const int64_t group = j % per_block / DSV4_GROUP;
    assert(j >= 0 && j / per_block < s->n_blocks);
    return s->block[j / per_block] + lay->key_at[l] + (size_t)group * DSV4_GROUP * lay->key_bytes;
}
