/* gpu_own_nodes.c - the gist heads of a stream that reads nothing but its own chunks: equations in gist.c.
 *
 * Its frontier changes once in 64 tokens and has at most 15 nodes a level, so a call of thousands of rows
 * sees few different ones: the host lays them one behind the other, the device does the rest, as
 * gpu_gist.c does in training.  All groups see the same nodes; the first one's Read block sends them. */
#include "model/gpu/gpu_serve_impl.h"

#include <assert.h>
#include <string.h>

enum {
    HEADS = LOCI_GIST_HEADS,
    W = 64,
    WIDE = HEADS * W,
    KV = 2 * W,
    CHUNK = 64,
    MOST_NODES = 96 /* of a frontier: 15 on each of five levels, 16 on the last of 2^24 chunks */
};

/* Frontiers that rows of one call can have, all their nodes. */
static size_t most_rows(int max_batch)
{
    return ((size_t)max_batch / CHUNK + 2) * MOST_NODES;
}

void loci_gpu_own_nodes_plan(loci_gpu_own_nodes *x, loci_arena *a, const loci_hparams *hp,
                             int max_batch)
{
    const size_t N = (size_t)max_batch, F = most_rows(max_batch), ds = (size_t)hp->d_summary;
    x->node = loci_arena_take(a, F * ds, 4);
    x->inv = loci_arena_take(a, F, 4);
    x->inv_k = loci_arena_take(a, F, 4);
    x->xn = loci_arena_take(a, F * ds, 2);
    x->y = loci_arena_take(a, F * ds, 2);
    x->kv = loci_arena_take(a, F * KV, 2);
    x->level = loci_arena_take(a, F, 1);
    x->lo = loci_arena_take(a, N, 4);
    x->hi = loci_arena_take(a, N, 4);
    x->q = loci_arena_take(a, N * WIDE, 2);
    x->inv_q = loci_arena_take(a, N * HEADS, 4);
    x->lse = loci_arena_take(a, N * HEADS, 4);
}

void loci_gpu_own_nodes_plan_host(loci_gpu_own_nodes *x, loci_arena *a, const loci_hparams *hp,
                                  int max_batch)
{
    const size_t N = (size_t)max_batch, F = most_rows(max_batch), ds = (size_t)hp->d_summary;
    x->host_node = loci_arena_take(a, F * ds, 4);
    x->host_level = loci_arena_take(a, F, 1);
    x->host_lo = loci_arena_take(a, N, 4);
    x->host_hi = loci_arena_take(a, N, 4);
}

/* The frontier of the first `part` own chunks behind the n nodes that are there; returns how many then. */
static int lay_frontier(loci_gpu_own_nodes *x, const loci_gpu_bank *b, int part, int n)
{
    const size_t ds = (size_t)b->d_summary;
    loci_gist_run run[LOCI_GIST_LEVELS];
    const int runs = loci_gist_frontier(run, b->max_own, part);
    for (int i = 0; i < runs; i++) {
        memcpy(x->host_node + (size_t)n * ds, b->node + (size_t)run[i].row * ds,
               (size_t)run[i].n * ds * sizeof(float));
        memset(x->host_level + n, run[i].level, (size_t)run[i].n);
        n += run[i].n;
    }
    return n;
}

/* Nodes of n rows, the first at position `first`, and of the padding behind them, which sees none. */
static void lay_rows(loci_gpu_pass *p, loci_gpu_own_nodes *x, const loci_gpu_bank *b, int64_t first,
                     int n)
{
    int from = 0, end = 0, of = 0; /* the last frontier: its nodes, its chunks */
    for (int t = 0; t < p->b.n; t++) {
        const int64_t reach = first + t - p->w->hp.window + CHUNK,
                      ends = reach > 0 ? reach / CHUNK : 0;
        const int part = ends < b->n_own ? (int)ends : b->n_own;
        if (t < n && part != of) {
            from = end;
            of = part;
            end = lay_frontier(x, b, part, end);
        }
        x->host_lo[t] = from;
        x->host_hi[t] = t < n ? end : from;
    }
    x->n = end;
    assert((size_t)end <= most_rows(p->b.n));
    if (end == 0) return;
    const int ds = b->d_summary;
    loci_gpu_upload(p->g, x->node, x->host_node, (size_t)end * (size_t)ds * sizeof(float));
    loci_gpu_upload(p->g, x->level, x->host_level, (size_t)end);
    loci_gpu_upload(p->g, x->lo, x->host_lo, (size_t)p->b.n * sizeof *x->lo);
    loci_gpu_upload(p->g, x->hi, x->host_hi, (size_t)p->b.n * sizeof *x->hi);
    loci_gpu_rmsnorm(p->g, x->xn, ds, x->inv, x->node, ds, end, ds, p->w->hp.norm_eps);
}

void loci_gpu_own_nodes_forward(loci_gpu_pass *p, int group, loci_gpu_own_nodes *x,
                                const loci_bf16 *xn, loci_bf16 *o, int64_t first, int n,
                                const loci_gpu_bank *b)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_read_params *w = &p->w->at.read[group];
    const int m = p->b.n, D = hp->d_model, ds = hp->d_summary;
    if (group == 0) lay_rows(p, x, b, first, n);
    if (x->n == 0) return; /* nothing is added */
    loci_gpu_add_level(p->g, x->y, x->xn, w->gist_level.data, x->level, x->n, ds);
    loci_gpu_linear(p, x->kv, KV, x->y, ds, &w->gist_kv, x->n, 0.0f, false);
    loci_gpu_norm_rope(p->g, x->kv, KV, x->inv_k, NULL, NULL, 1, x->n, hp->norm_eps);
    loci_gpu_linear(p, x->q, WIDE, xn, D, &w->gist_q, m, 0.0f, false);
    loci_gpu_norm_rope(p->g, x->q, WIDE, x->inv_q, NULL, NULL, HEADS, m, hp->norm_eps);
    const loci_gpu_attn job = { .q = x->q,
                                .k = x->kv,
                                .v = x->kv + W,
                                .o = o,
                                .lse = x->lse,
                                .lo = x->lo,
                                .hi = x->hi,
                                .ldq = WIDE,
                                .ldk = KV,
                                .ldv = KV,
                                .ldo = WIDE,
                                .n_q = m,
                                .n_k = x->n,
                                .heads = HEADS,
                                .kv_heads = 1,
                                .scale = 0.25f };
    loci_gpu_attn_forward(p->g, &job);
    loci_gpu_linear(p, p->h, D, o, WIDE, &w->gist_o, m, 1.0f, true);
}
