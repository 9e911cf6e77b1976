/* gist.c - what documents are about: attention to means of their chunks' summaries (d_summary).
 *
 *   node(0,i) = z_i,   node(l,i) = mean of node(l-1, 16 i .. 16 i + 15)      whole nodes only
 *   frontier of n chunks: from the top level down, the n / 16^l nodes that the levels above left;
 *     the base-16 digits of n.  They cover each of the n chunks once, at most 15 nodes a level
 *   y_i = rms(node_i) + level_l(i);   [k_i ; v_i] = [rms of the first 64 ;] of y_i Wkv^T
 *   q_h = rms(x Wq^T)_h, x = rms(h);   o_h = sum_i softmax_i(q_h k_i / 4) v_i      4 heads of 64
 *   h <- h + o Wo^T                               beside what is read; i over the frontiers of the
 *                                                 documents that the query may read
 *
 * Pooling is a plain mean: a node is then the mean of all chunks below it, whatever the order in
 * which they came, so that a pyramid can grow by its end and be built in any place to the same
 * numbers.  That the mean of many is shorter is undone by the norm, and `level` says how coarse a
 * node is.  Of more than LOCI_GIST_DOCS documents training takes the newest.
 *
 * A pyramid over n chunks is one array of rows: level 0, then level 1 of n / 16 rows, and so on.  A
 * query's frontier changes only where a chunk becomes readable, so attention runs over stretches of
 * queries with the same nodes. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { HEADS = LOCI_GIST_HEADS, W = 64, TILE = 64, BASE_BITS = 4 };
static const float SCALE = 0.25f; /* as a Read's: 2 / sqrt(64) */

/* ---- pyramids ------------------------------------------------------------------------------- */

int loci_gist_rows(int n)
{
    int rows = 0;
    for (int l = 0; l < LOCI_GIST_LEVELS; l++) rows += n >> (BASE_BITS * l);
    return rows;
}

/* node (16, ds) of one level -> their mean. */
static void pool(const loci_kernels *k, float *parent, const float *node, int ds)
{
    memset(parent, 0, (size_t)ds * sizeof *parent);
    for (int i = 0; i < 1 << BASE_BITS; i++)
        k->axpy(parent, node + i * ds, 1.0f / (1 << BASE_BITS), (size_t)ds);
}

void loci_gist_close(const loci_kernels *k, float *node, int n, int ds, int chunk)
{
    float *level = node;
    for (int l = 1, at = chunk; l < LOCI_GIST_LEVELS && (at & 15) == 15; l++, at >>= BASE_BITS) {
        float *next = level + (size_t)(n >> (BASE_BITS * (l - 1))) * (size_t)ds;
        pool(k, next + (size_t)(at >> BASE_BITS) * (size_t)ds,
             level + (size_t)(at - 15) * (size_t)ds, ds);
        level = next;
    }
}

int loci_gist_frontier(loci_gist_run run[LOCI_GIST_LEVELS], int n, int part)
{
    int count = 0, covered = 0;
    for (int l = LOCI_GIST_LEVELS - 1; l >= 0; l--) {
        const int from = covered >> (BASE_BITS * l), to = part >> (BASE_BITS * l);
        int row = from;
        for (int below = 0; below < l; below++) row += n >> (BASE_BITS * below);
        if (to > from) run[count++] = (loci_gist_run){ row, to - from, l };
        covered = to << (BASE_BITS * l);
    }
    return count;
}

/* ---- keys and values of nodes, any number of rows ---------------------------------------------- */

void loci_gist_keys(const loci_model *m, const loci_read_params *p, float *kv, float *inv_k,
                    float *y, const float *xn, const uint8_t *level, int n)
{
    const size_t ds = (size_t)m->hp.d_summary;
    memcpy(y, xn, (size_t)n * ds * sizeof *y);
    for (int i = 0; i < n; i++)
        m->k.axpy(y + (size_t)i * ds, (const float *)p->gist_level.data + level[i] * ds, 1.0f, ds);
    loci_linear(m, kv, 2 * W, y, (int)ds, &p->gist_kv, n);
    m->k.rmsnorm(kv, 2 * W, inv_k, kv, 2 * W, n, W, m->hp.norm_eps);
}

void loci_gist_queries(const loci_model *m, const loci_read_params *p, float *q, float *inv,
                       const float *xn, int n)
{
    loci_linear(m, q, HEADS * W, xn, m->hp.d_model, &p->gist_q, n);
    m->k.rmsnorm(q, W, inv, q, W, n * HEADS, W, m->hp.norm_eps);
}

/* ---- training: the pyramids of a sequence's bank ------------------------------------------------- */

static int rows_max(int capacity)
{
    return capacity + capacity / 15 + 1;
}

void loci_gist_plan(loci_gist_tape *t, loci_arena *a, const loci_hparams *hp, int T, int capacity)
{
    const size_t R = (size_t)rows_max(capacity), C = (size_t)capacity, n = (size_t)T;
    const size_t ds = (size_t)hp->d_summary, f = sizeof(float);
    t->n_docs = t->n_rows = 0;
    if (!hp->d_summary) return;
    t->chunk0 = loci_arena_take(a, C + 1, sizeof(int32_t));
    t->row0 = loci_arena_take(a, C + 1, sizeof(int32_t));
    t->level = loci_arena_take(a, R, 1);
    t->xn = loci_arena_take(a, R * ds, f);
    t->inv = loci_arena_take(a, R, f);
    t->dnode = loci_arena_take(a, R * ds, f);
    for (int g = 0; g < hp->n_groups; g++) {
        loci_gist_group *x = &t->group[g];
        x->y = loci_arena_take(a, R * ds, f);
        x->kv = loci_arena_take(a, R * 2 * W, f);
        x->inv_k = loci_arena_take(a, R, f);
        x->q = loci_arena_take(a, n * HEADS * W, f);
        x->inv_q = loci_arena_take(a, n * HEADS, f);
        x->o = loci_arena_take(a, n * HEADS * W, f);
        x->lse = loci_arena_take(a, n * HEADS, f);
    }
}

static void fill_levels(loci_gist_tape *t, int row, int n)
{
    for (int l = 0; l < LOCI_GIST_LEVELS; l++)
        for (int i = n >> (BASE_BITS * l); i > 0; i--) t->level[row++] = (uint8_t)l;
}

void loci_gist_build(const loci_model *m, loci_gist_tape *t, const loci_chunks *b,
                     const loci_sequence *s)
{
    const int S = m->hp.chunk, ds = m->hp.d_summary;
    t->n_docs = t->n_rows = 0;
    if (!ds || b->n == 0) return;
    for (int d = 0, c = 0; d < s->n_docs; d++) {
        const int n = (s->doc[d + 1] - s->doc[d] + S - 1) / S;
        float *node = t->xn + (size_t)t->n_rows * (size_t)ds;
        if (!s->banked[d]) continue;
        memcpy(node, b->summary + (size_t)c * (size_t)ds, (size_t)(n * ds) * sizeof *node);
        for (int i = 15; i < n; i += 16) loci_gist_close(&m->k, node, n, ds, i);
        fill_levels(t, t->n_rows, n);
        t->chunk0[t->n_docs] = c;
        t->row0[t->n_docs++] = t->n_rows;
        t->n_rows += loci_gist_rows(n);
        c += n;
    }
    t->chunk0[t->n_docs] = b->n;
    m->k.rmsnorm(t->xn, ds, t->inv, t->xn, ds, t->n_rows, ds, m->hp.norm_eps);
    memset(t->dnode, 0, (size_t)t->n_rows * (size_t)ds * sizeof *t->dnode);
}

void loci_gist_build_backward(const loci_model *m, loci_gist_tape *t, const loci_chunks *b)
{
    const int ds = m->hp.d_summary;
    for (int d = 0; d < t->n_docs; d++) {
        const int n = t->chunk0[d + 1] - t->chunk0[d];
        float *base = t->dnode + (size_t)t->row0[d] * (size_t)ds, *end = base;
        for (int l = 0; l < LOCI_GIST_LEVELS; l++) end += (size_t)((n >> (BASE_BITS * l)) * ds);
        for (int l = LOCI_GIST_LEVELS - 1; l > 0; l--) { /* each level's rows end where `end` is */
            const int rows = n >> (BASE_BITS * l), below = n >> (BASE_BITS * (l - 1));
            const float *from = end - (size_t)(rows * ds);
            float *to = end - (size_t)((rows + below) * ds);
            for (int i = 0; i < 16 * rows; i++)
                m->k.axpy(to + i * ds, from + i / 16 * ds, 1.0f / 16, (size_t)ds);
            end -= (size_t)(rows * ds);
        }
        m->k.axpy(b->dsummary + (size_t)(t->chunk0[d] * ds), base, 1.0f, (size_t)(n * ds));
    }
}

/* ---- training: attention ------------------------------------------------------------------------- */

typedef struct {
    int32_t *row;           /* (C) nodes of the frontier                    */
    float *k, *v, *dk, *dv; /* (C, 64) their keys and values, the gradients */
    float *p, *dp;          /* (TILE*HEADS, C)                              */
    float *tmp;             /* (TILE, D)                                    */
    float *d_o, *dq, *raw;  /* (TILE, HEADS*64)                             */
    float *dkv, *draw, *dy; /* (R, 128) twice, (R, ds)                      */
} gist_scratch;

static void scratch_carve(gist_scratch *x, loci_arena *a, const loci_hparams *hp, int capacity)
{
    const size_t C = (size_t)capacity, R = (size_t)rows_max(capacity), f = sizeof(float);
    const size_t wide = TILE * HEADS * W;
    x->row = loci_arena_take(a, C, sizeof *x->row);
    x->k = loci_arena_take(a, C * W, f);
    x->v = loci_arena_take(a, C * W, f);
    x->dk = loci_arena_take(a, C * W, f);
    x->dv = loci_arena_take(a, C * W, f);
    x->p = loci_arena_take(a, TILE * HEADS * C, f);
    x->dp = loci_arena_take(a, TILE * HEADS * C, f);
    x->tmp = loci_arena_take(a, TILE * (size_t)hp->d_model, f);
    x->d_o = loci_arena_take(a, wide, f);
    x->dq = loci_arena_take(a, wide, f);
    x->raw = loci_arena_take(a, wide, f);
    x->dkv = loci_arena_take(a, R * 2 * W, f);
    x->draw = loci_arena_take(a, R * 2 * W, f);
    x->dy = loci_arena_take(a, R * (size_t)hp->d_summary, f);
}

size_t loci_gist_scratch(const loci_hparams *hp, int capacity)
{
    loci_arena a = { 0 };
    gist_scratch x;
    if (!hp->d_summary) return 0;
    scratch_carve(&x, &a, hp, capacity);
    return a.used / sizeof(float);
}

static gist_scratch scratch_of(const loci_hparams *hp, int capacity, float *memory)
{
    gist_scratch x;
    loci_arena a = { (unsigned char *)memory, loci_gist_scratch(hp, capacity) * sizeof(float), 0 };
    scratch_carve(&x, &a, hp, capacity);
    return x;
}

/* Nodes of the frontiers of the first n chunks of the bank, with keys and values. */
static int collect(const loci_gist_tape *t, const loci_gist_group *g, const gist_scratch *x, int n)
{
    int docs = 0, count = 0;
    while (docs < t->n_docs && t->chunk0[docs] < n) docs++;
    for (int d = docs > LOCI_GIST_DOCS ? docs - LOCI_GIST_DOCS : 0; d < docs; d++) {
        loci_gist_run run[LOCI_GIST_LEVELS];
        const int end = t->chunk0[d + 1] < n ? t->chunk0[d + 1] : n;
        const int runs =
            loci_gist_frontier(run, t->chunk0[d + 1] - t->chunk0[d], end - t->chunk0[d]);
        for (int i = 0; i < runs; i++)
            for (int j = 0; j < run[i].n; j++) x->row[count++] = t->row0[d] + run[i].row + j;
    }
    for (int i = 0; i < count; i++) {
        const float *kv = g->kv + (size_t)x->row[i] * 2 * W;
        memcpy(x->k + i * W, kv, W * sizeof *kv);
        memcpy(x->v + i * W, kv + W, W * sizeof *kv);
    }
    return count;
}

/* Rows from `row` on, at most TILE, that have the same frontier. */
static int stretch(const loci_chunks *b, int row, int T)
{
    int n = 1;
    while (n < TILE && row + n < T && b->n_eligible[row + n] == b->n_eligible[row]) n++;
    return n;
}

/* p (n*HEADS, count) = scaled products of the queries with the collected keys. */
static void products(const loci_model *m, const gist_scratch *x, const float *q, int n, int count)
{
    m->k.gemm(x->p, count, q, W, 0, x->k, W, 1, n * HEADS, count, W, 0.0f);
    for (size_t i = 0; i < (size_t)(n * HEADS) * (size_t)count; i++) x->p[i] *= SCALE;
}

void loci_gist_forward(const loci_model *m, const loci_read_params *p, loci_gist_tape *t, int group,
                       const loci_chunks *b, float *h, const float *xn, int first, int T,
                       int capacity, float *scratch)
{
    const int D = m->hp.d_model;
    loci_gist_group *g = &t->group[group];
    if (t->n_rows == 0 || first >= T) return; /* a model without gist has no scratch either */
    const gist_scratch x = scratch_of(&m->hp, capacity, scratch);
    loci_gist_keys(m, p, g->kv, g->inv_k, g->y, t->xn, t->level, t->n_rows);
    loci_gist_queries(m, p, g->q + (size_t)first * HEADS * W, g->inv_q + (size_t)first * HEADS,
                      xn + (size_t)first * (size_t)D, T - first);
    for (int r = first, count = 0, of = -1, n; r < T; r += n) {
        const size_t at = (size_t)r * HEADS;
        n = stretch(b, r, T);
        if (b->n_eligible[r] == 0) continue;
        if (b->n_eligible[r] != of) count = collect(t, g, &x, of = b->n_eligible[r]);
        products(m, &x, g->q + at * W, n, count);
        m->k.softmax(x.p, count, g->lse + at, x.p, count, n * HEADS, count);
        m->k.gemm(g->o + at * W, W, x.p, count, 0, x.v, W, 0, n * HEADS, W, count, 0.0f);
        loci_linear_add(m, h + (size_t)r * (size_t)D, x.tmp, g->o + at * W, &p->gist_o, n);
    }
}

/* n rows from r on, which see the `count` collected nodes: dh -> dq (n, HEADS*64), dk, dv. */
static void attend_backward(const loci_model *m, const loci_read_params *p, loci_read_params *grad,
                            const loci_gist_group *g, const gist_scratch *x, const float *dh, int r,
                            int n, int count)
{
    const int D = m->hp.d_model, rows = n * HEADS;
    const size_t at = (size_t)r * HEADS;
    const float *q = g->q + at * W, *o = g->o + at * W;
    loci_linear_bwd(&m->k, x->d_o, HEADS * W, 0.0f, &grad->gist_o, dh + (size_t)r * (size_t)D, D, o,
                    HEADS * W, &p->gist_o, n);
    products(m, x, q, n, count);
    m->k.gemm(x->dp, count, x->d_o, W, 0, x->v, W, 1, rows, count, W, 0.0f);
    for (int i = 0; i < rows; i++) {
        const float delta = (float)m->k.dot(x->d_o + i * W, o + i * W, W);
        float *prob = x->p + (size_t)i * (size_t)count, *dp = x->dp + (size_t)i * (size_t)count;
        for (int c = 0; c < count; c++) {
            prob[c] = expf(prob[c] - g->lse[at + (size_t)i]);
            dp[c] = SCALE * prob[c] * (dp[c] - delta);
        }
    }
    m->k.gemm(x->dv, W, x->p, count, 1, x->d_o, W, 0, count, W, rows, 1.0f);
    m->k.gemm(x->dk, W, x->dp, count, 1, q, W, 0, count, W, rows, 1.0f);
    m->k.gemm(x->dq, W, x->dp, count, 0, x->k, W, 0, rows, W, count, 0.0f);
}

/* dk, dv of the collected nodes to their rows of dkv. */
static void scatter(const loci_model *m, const gist_scratch *x, int count)
{
    for (int i = 0; i < count; i++) {
        float *d = x->dkv + (size_t)x->row[i] * 2 * W;
        m->k.axpy(d, x->dk + i * W, 1.0f, W);
        m->k.axpy(d + W, x->dv + i * W, 1.0f, W);
    }
}

/* dkv of all nodes -> parameters, dnode. */
static void keys_backward(const loci_model *m, const loci_read_params *p, loci_read_params *grad,
                          loci_gist_tape *t, const loci_gist_group *g, const gist_scratch *x)
{
    const int ds = m->hp.d_summary, n = t->n_rows;
    memset(x->draw, 0, (size_t)n * 2 * W * sizeof *x->draw);
    m->k.rmsnorm_bwd(x->draw, 2 * W, x->dkv, 2 * W, g->kv, 2 * W, g->inv_k, n, W);
    for (int i = 0; i < n; i++)
        memcpy(x->draw + i * 2 * W + W, x->dkv + i * 2 * W + W, W * sizeof *x->draw);
    loci_linear_bwd(&m->k, x->dy, ds, 0.0f, &grad->gist_kv, x->draw, 2 * W, g->y, ds, &p->gist_kv,
                    n);
    for (int i = 0; i < n; i++)
        m->k.axpy((float *)grad->gist_level.data + t->level[i] * ds, x->dy + i * ds, 1.0f,
                  (size_t)ds);
    m->k.rmsnorm_bwd(t->dnode, ds, x->dy, ds, t->xn, ds, t->inv, n, ds);
}

void loci_gist_backward(const loci_model *m, const loci_read_params *p, loci_read_params *grad,
                        loci_gist_tape *t, int group, const loci_chunks *b, const float *dh,
                        float *dxn, const float *xn, int first, int T, int capacity, float *scratch)
{
    const int D = m->hp.d_model, wide = HEADS * W;
    const loci_gist_group *g = &t->group[group];
    if (t->n_rows == 0 || first >= T) return;
    const gist_scratch x = scratch_of(&m->hp, capacity, scratch);
    memset(x.dkv, 0, (size_t)t->n_rows * 2 * W * sizeof *x.dkv);
    int count = 0, of = -1;
    for (int r = first, n; r < T; r += n) {
        const size_t at = (size_t)r * (size_t)D;
        n = stretch(b, r, T);
        if (b->n_eligible[r] == 0) continue;
        if (b->n_eligible[r] != of) {
            scatter(m, &x, count);
            count = collect(t, g, &x, of = b->n_eligible[r]);
            memset(x.dk, 0, (size_t)(count * W) * sizeof *x.dk);
            memset(x.dv, 0, (size_t)(count * W) * sizeof *x.dv);
        }
        attend_backward(m, p, grad, g, &x, dh, r, n, count);
        memset(x.raw, 0, (size_t)(n * wide) * sizeof *x.raw);
        m->k.rmsnorm_bwd(x.raw, W, x.dq, W, g->q + (size_t)(r * wide), W,
                         g->inv_q + (size_t)(r * HEADS), n * HEADS, W);
        loci_linear_bwd(&m->k, dxn + at, D, 1.0f, &grad->gist_q, x.raw, wide, xn + at, D,
                        &p->gist_q, n);
    }
    scatter(m, &x, count);
    keys_backward(m, p, grad, t, g, &x);
}
