/* gist_reader.c - gist heads of a stream (gist.c): nodes come from a memory, a block at a time.
 *
 *   run of nodes -> keys and values: from the room beside them, or made and put there -> a block ->
 *   attention over the block, joined to that over those before
 *
 * A stored document's nodes never change, so that a token that sees the documents of the one before
 * copies their keys and values and does not look at the nodes.  Nodes without room - those of the
 * stream's own text, of which a new one comes every 64 tokens - are known by their numbers. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

/* Nodes attended to at once, and nodes without room that a group remembers: a stream's own frontier is
 * 60 at most, and those that it just was are worth little. */
enum { HEADS = LOCI_GIST_HEADS, W = 64, BLOCK = 128, CAPACITY = 256, NO_LEVEL = 0xff };
_Static_assert(LOCI_GIST_KV == 2 * W, "keys, then values");
_Static_assert((CAPACITY & (CAPACITY - 1)) == 0, "a power of two");
static const float SCALE = 0.25f; /* as a Read's: 2 / sqrt(64) */

struct loci_gist_fresh {
    int row;        /* of the block */
    int place;      /* where it is remembered, -1: it has room */
    float *kv;      /* its room */
    uint32_t *made; /* to be told when it is there: NULL but for the last of a run */
};

void loci_gist_reader_plan(loci_gist_reader *x, loci_arena *a, const loci_hparams *hp, int n)
{
    const size_t ds = (size_t)hp->d_summary, rows = ds ? (size_t)n : 0, f = sizeof(float);
    const size_t block = ds ? BLOCK : 0, all = ds ? CAPACITY : 0;
    x->q = loci_arena_take(a, rows * HEADS * W, f);
    x->o = loci_arena_take(a, rows * HEADS * W, f);
    x->kv = loci_arena_take(a, block * 2 * W, f);
    x->fresh = loci_arena_take(a, block, sizeof *x->fresh);
    x->node = loci_arena_take(a, block * ds, f);
    x->xn = loci_arena_take(a, block * ds, f);
    x->y = loci_arena_take(a, block * ds, f);
    x->made = loci_arena_take(a, block * 2 * W, f);
    x->part = loci_arena_take(a, rows ? HEADS * W : 0, f);
    x->level = loci_arena_take(a, block, 1);
    for (int g = 0; g < hp->n_groups; g++) {
        x->known[g].node = loci_arena_take(a, all * ds, f);
        x->known[g].kv = loci_arena_take(a, all * 2 * W, f);
        x->known[g].level = loci_arena_take(a, all, 1);
        if (x->known[g].level) memset(x->known[g].level, NO_LEVEL, all);
    }
}

/* Where a node is remembered if it is: its numbers decide, wherever it comes from. */
static int place_of(const float *node, int ds, uint8_t level)
{
    uint64_t h = level;
    for (int i = 0; i < ds; i += ds < 8 ? 1 : ds / 8) {
        uint32_t bits;
        memcpy(&bits, node + i, sizeof bits);
        h = (h ^ bits) * 0x9e3779b97f4a7c15u; /* odd: nothing is lost before the last mixing */
    }
    return (int)(loci_rng_mix(h, 0) & (CAPACITY - 1));
}

/* One more node whose keys and values are to be made: row `row` of the block. */
static void ask(loci_gist_reader *x, const float *node, int level, loci_gist_fresh fresh)
{
    const int ds = x->m->hp.d_summary, i = x->n_fresh++;
    const size_t at = (size_t)i * (size_t)ds;
    x->m->k.rmsnorm(x->xn + at, ds, NULL, node, ds, 1, ds, x->m->hp.norm_eps);
    if (fresh.place >= 0) memcpy(x->node + at, node, (size_t)ds * sizeof *node);
    x->level[i] = (uint8_t)level;
    x->fresh[i] = fresh;
}

/* A node that has no room: what is remembered, or else it is to be made. */
static void look_up(loci_gist_reader *x, const float *node, int level)
{
    const size_t ds = (size_t)x->m->hp.d_summary;
    const loci_gist_known *k = &x->known[x->group];
    const int at = place_of(node, (int)ds, (uint8_t)level);
    if (k->level[at] == level && memcmp(k->node + (size_t)at * ds, node, ds * sizeof *node) == 0)
        memcpy(x->kv + x->n * 2 * W, k->kv + at * 2 * W, 2 * W * sizeof *x->kv);
    else
        ask(x, node, level, (loci_gist_fresh){ .row = x->n, .place = at });
    x->n++;
}

/* Keys and values of the block's nodes that lack them, to where they are wanted now and the next time. */
static void make_keys(loci_gist_reader *x)
{
    const size_t ds = (size_t)x->m->hp.d_summary, bytes = 2 * W * sizeof *x->kv;
    loci_gist_known *k = &x->known[x->group];
    if (x->n_fresh == 0) return;
    loci_gist_keys(x->m, x->p, x->made, NULL, x->y, x->xn, x->level, x->n_fresh);
    for (int i = 0; i < x->n_fresh; i++) {
        const loci_gist_fresh *f = &x->fresh[i];
        const float *kv = x->made + (size_t)i * 2 * W;
        memcpy(x->kv + (size_t)f->row * 2 * W, kv, bytes);
        if (f->place < 0) {
            memcpy(f->kv, kv, bytes);
            if (f->made) *f->made |= 1u << x->group;
            continue;
        }
        memcpy(k->kv + f->place * 2 * W, kv, bytes);
        memcpy(k->node + (size_t)f->place * ds, x->node + (size_t)i * ds, ds * sizeof *x->node);
        k->level[f->place] = x->level[i];
    }
    x->n_fresh = 0;
}

/* What the block's nodes say joins what those before said: two softmaxes become one. */
static void flush(loci_gist_reader *x)
{
    float lse[HEADS];
    if (x->n == 0) return;
    make_keys(x);
    memset(x->part, 0, HEADS * W * sizeof *x->part);
    x->m->k.chunk_attn(x->part, W, lse, x->row_q, W, x->kv, 2 * W, x->kv + W, 2 * W, NULL, HEADS,
                       x->n, W, W, SCALE);
    for (int h = 0; h < HEADS; h++) {
        const float top = fmaxf(x->lse[h], lse[h]);
        const float all = top + logf(expf(x->lse[h] - top) + expf(lse[h] - top));
        const float old = expf(x->lse[h] - all), now = expf(lse[h] - all);
        float *o = x->row_o + h * W;
        for (int i = 0; i < W; i++) o[i] = old * o[i] + now * x->part[h * W + i];
        x->lse[h] = all;
    }
    x->n = 0;
}

/* m nodes of a run with room, nodes [at, at + m) of its n, into the block, which has place for them. */
static void take_some(loci_gist_reader *x, const float *node, int level, int n, int at, int m,
                      const loci_gist_room *room)
{
    const size_t ds = (size_t)x->m->hp.d_summary;
    float *kv = room->kv + (size_t)x->group * room->stride + (size_t)at * 2 * W;
    if (*room->made >> x->group & 1u)
        memcpy(x->kv + x->n * 2 * W, kv, (size_t)m * 2 * W * sizeof *kv);
    else
        for (int i = 0; i < m; i++)
            ask(x, node + (size_t)(at + i) * ds, level,
                (loci_gist_fresh){ .row = x->n + i,
                                   .place = -1,
                                   .kv = kv + i * 2 * W,
                                   .made = at + i + 1 == n ? room->made : NULL });
    x->n += m;
}

static void take(void *ctx, const float *node, int level, int n, const loci_gist_room *room)
{
    loci_gist_reader *x = ctx;
    const size_t ds = (size_t)x->m->hp.d_summary;
    for (int at = 0, m = 1; at < n; at += m) {
        if (room) {
            m = BLOCK - x->n < n - at ? BLOCK - x->n : n - at;
            take_some(x, node, level, n, at, m, room);
        } else {
            look_up(x, node + (size_t)at * ds, level);
        }
        if (x->n == BLOCK) flush(x);
    }
}

int loci_gist_read(const loci_model *m, int group, loci_gist_reader *x, int row,
                   const loci_memory *memory, const float *u, float tau, int64_t own_end)
{
    x->m = m;
    x->p = &m->p.read[group];
    x->group = group;
    x->n = x->n_fresh = 0;
    x->row_q = x->q + (size_t)row * HEADS * W;
    x->row_o = x->o + (size_t)row * HEADS * W;
    for (int h = 0; h < HEADS; h++) x->lse[h] = -INFINITY;
    memset(x->row_o, 0, HEADS * W * sizeof *x->row_o);
    const int st = memory->gist(memory->ctx, u, tau, own_end, take, x);
    if (st == LOCI_OK) flush(x);
    return st;
}
