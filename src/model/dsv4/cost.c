/* cost.c - what a shape costs before anything is loaded: parameters, bytes of weights as released or
 * as a file stores them, bytes of context.
 *
 * The list of tensors is written once, here, by released name; bind.c asks for the same ones. */
#include "model/dsv4/files.h"

#include <string.h>

enum { NAME_BYTES = 160 };

/* ---- every tensor --------------------------------------------------------------------------- */

typedef struct {
    const loci_dsv4_hparams *hp;
    char prefix[64];
    dsv4_tensor_fn *fn;
    void *ctx;
} lister;

static void tensor(const lister *t, const char *name, int rows, int cols, dsv4_role role)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", t->prefix, name);
    t->fn(t->ctx, full, rows, cols, role);
}

static void mixer(const lister *t, const char *name, int rows, int scales)
{
    char part[64];
    snprintf(part, sizeof part, "%s_fn", name);
    tensor(t, part, rows, t->hp->streams * t->hp->hidden, DSV4_F32);
    snprintf(part, sizeof part, "%s_base", name);
    tensor(t, part, 1, rows, DSV4_F32);
    snprintf(part, sizeof part, "%s_scale", name);
    tensor(t, part, 1, scales, DSV4_F32);
}

static void compressor(const lister *t, const char *name, int ratio, int wide, int width)
{
    char part[80];
    snprintf(part, sizeof part, "%s.wkv.weight", name);
    tensor(t, part, wide, t->hp->hidden, DSV4_BF16);
    snprintf(part, sizeof part, "%s.wgate.weight", name);
    tensor(t, part, wide, t->hp->hidden, DSV4_BF16);
    snprintf(part, sizeof part, "%s.ape", name);
    tensor(t, part, ratio, wide, DSV4_F32);
    snprintf(part, sizeof part, "%s.norm.weight", name);
    tensor(t, part, 1, width, DSV4_BF16);
}

static void attention(const lister *t, const loci_dsv4_layer_shape *s)
{
    const loci_dsv4_hparams *h = t->hp;
    const int d = h->head_dim, out = h->o_groups * h->o_rank;
    tensor(t, "attn.wq_a.weight", h->q_rank, h->hidden, DSV4_CODES);
    tensor(t, "attn.q_norm.weight", 1, h->q_rank, DSV4_BF16);
    tensor(t, "attn.wq_b.weight", h->n_heads * d, h->q_rank, DSV4_CODES);
    tensor(t, "attn.wkv.weight", d, h->hidden, DSV4_CODES);
    tensor(t, "attn.kv_norm.weight", 1, d, DSV4_BF16);
    tensor(t, "attn.wo_a.weight", out, h->n_heads / h->o_groups * d, DSV4_CODES);
    tensor(t, "attn.wo_b.weight", h->hidden, out, DSV4_CODES);
    tensor(t, "attn.attn_sink", 1, h->n_heads, DSV4_F32);
    if (s->ratio > 0) compressor(t, "attn.compressor", s->ratio, s->overlap ? 2 * d : d, d);
    if (!s->indexer) return;
    tensor(t, "attn.indexer.wq_b.weight", h->index_heads * h->index_dim, h->q_rank, DSV4_CODES);
    tensor(t, "attn.indexer.weights_proj.weight", h->index_heads, h->hidden, DSV4_BF16);
    compressor(t, "attn.indexer.compressor", s->ratio, 2 * h->index_dim, h->index_dim);
}

static void expert(const lister *t, const char *name, dsv4_role role)
{
    char part[64];
    const int D = t->hp->hidden, F = t->hp->expert_width;
    snprintf(part, sizeof part, "%s.w1.weight", name);
    tensor(t, part, F, D, role);
    snprintf(part, sizeof part, "%s.w3.weight", name);
    tensor(t, part, F, D, role);
    snprintf(part, sizeof part, "%s.w2.weight", name);
    tensor(t, part, D, F, role);
}

static void layer(const lister *t, const loci_dsv4_layer_shape *s)
{
    const loci_dsv4_hparams *h = t->hp;
    const int rows = (2 + h->streams) * h->streams;
    char name[48];
    tensor(t, "attn_norm.weight", 1, h->hidden, DSV4_BF16);
    tensor(t, "ffn_norm.weight", 1, h->hidden, DSV4_BF16);
    mixer(t, "hc_attn", rows, 3);
    mixer(t, "hc_ffn", rows, 3);
    attention(t, s);
    tensor(t, "ffn.gate.weight", h->n_experts, h->hidden, DSV4_BF16);
    if (s->hash)
        tensor(t, "ffn.gate.tid2eid", h->vocab, h->n_active, DSV4_IDS);
    else
        tensor(t, "ffn.gate.bias", 1, h->n_experts, DSV4_F32);
    expert(t, "ffn.shared_experts", DSV4_CODES);
    for (int e = 0; e < h->n_experts; e++) {
        snprintf(name, sizeof name, "ffn.experts.%d", e);
        expert(t, name, DSV4_EXPERT);
    }
}

void dsv4_each_tensor(const loci_dsv4_hparams *hp, dsv4_tensor_fn *fn, void *ctx)
{
    lister t = { .hp = hp, .fn = fn, .ctx = ctx };
    tensor(&t, "embed.weight", hp->vocab, hp->hidden, DSV4_BF16);
    tensor(&t, "head.weight", hp->vocab, hp->hidden, DSV4_BF16);
    tensor(&t, "norm.weight", 1, hp->hidden, DSV4_BF16);
    mixer(&t, "hc_head", hp->streams, 1);
    for (int l = 0; l < hp->n_layers + hp->n_mtp; l++) {
        const bool draft = l >= hp->n_layers;
        snprintf(t.prefix, sizeof t.prefix, draft ? "mtp.%d." : "layers.%d.",
                 draft ? l - hp->n_layers : l);
        layer(&t, &hp->layer[l]);
        if (!draft) continue;
        tensor(&t, "e_proj.weight", hp->hidden, hp->hidden, DSV4_CODES);
        tensor(&t, "h_proj.weight", hp->hidden, hp->hidden, DSV4_CODES);
        tensor(&t, "enorm.weight", 1, hp->hidden, DSV4_BF16);
        tensor(&t, "hnorm.weight", 1, hp->hidden, DSV4_BF16);
        tensor(&t, "norm.weight", 1, hp->hidden, DSV4_BF16);
        mixer(&t, "hc_head", hp->streams, 1);
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

typedef struct {
    const loci_dsv4_hparams *hp;
    loci_dsv4_cost *cost;
    int64_t experts; /* parameters of the routed experts of the model */
} counter;

static int64_t up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit;
}

/* Bytes of a tensor as released, scales included. */
static int64_t stored_bytes(const counter *c, int64_t rows, int64_t cols, dsv4_role role)
{
    const loci_dsv4_expert_type type = c->hp->expert_type;
    const int64_t n = rows * cols, tiles = up(rows, 128) * up(cols, 128);
    switch (role) {
    case DSV4_F32: return 4 * n;
    case DSV4_BF16: return 2 * n;
    case DSV4_IDS: return 8 * n;
    case DSV4_EXPERT:
        if (type == LOCI_DSV4_EXPERT_FP4) return n / 2 + rows * up(cols, 32);
        break;
    case DSV4_CODES: break;
    }
    return type == LOCI_DSV4_EXPERT_PLAIN ? 2 * n : n + tiles;
}

static void count(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    counter *c = ctx;
    loci_dsv4_cost *cost = c->cost;
    const int64_t n = role == DSV4_IDS ? 0 : (int64_t)rows * cols;
    const int64_t bytes = stored_bytes(c, rows, cols, role);
    cost->weight_bytes += bytes;
    if (role != DSV4_EXPERT) cost->dense_bytes += bytes;
    if (strncmp(name, "mtp.", 4) == 0) {
        cost->draft_parameters += n;
        return;
    }
    cost->parameters += n;
    if (role == DSV4_EXPERT) c->experts += n;
    if (strncmp(name, "layers.0.ffn.experts.0.", 23) == 0) cost->expert_bytes += bytes;
}

/* The window ring of every layer, and what its compressors carry: two f32 rows a channel for each
 * of the 2r tokens that an overlapping entry pools, or of the r of another. */
static int64_t state_bytes(const loci_dsv4_hparams *hp, const loci_dsv4_layout *lay)
{
    int64_t sum = 0;
    for (int l = 0; l < hp->n_layers + hp->n_mtp; l++) {
        const loci_dsv4_layer_shape *s = &hp->layer[l];
        const int64_t copies = s->overlap ? 2 : 1, rows = copies * s->ratio;
        sum += (int64_t)hp->window * (int64_t)lay->entry_bytes;
        sum += 2 * 4 * rows * copies * hp->head_dim;
        if (s->indexer) sum += 2 * 4 * (2 * (int64_t)s->ratio) * 2 * hp->index_dim;
    }
    return sum;
}

loci_status loci_dsv4_cost_of(loci_dsv4_cost *out, const loci_dsv4_hparams *hp, loci_error *err)
{
    loci_dsv4_layout lay;
    counter c = { .hp = hp, .cost = out };
    *out = (loci_dsv4_cost){ 0 };
    if (hp->family == LOCI_DSV4_V41)
        return loci_fail(err, LOCI_EVERSION, "V4.1 is recognised, not run: no cost is known");
    const loci_status st = loci_dsv4_layout_plan(&lay, hp, LOCI_DSV4_MODE_FAST, 0, err);
    if (st != LOCI_OK) return st;
    dsv4_each_tensor(hp, count, &c);
    out->active = out->parameters - (int64_t)hp->vocab * hp->hidden - c.experts +
                  c.experts / hp->n_experts * hp->n_active;
    out->bytes_per_token = loci_dsv4_bytes_per_token(&lay);
    out->state_bytes = state_bytes(hp, &lay);
    return LOCI_OK;
}

/* ---- what is stored ---------------------------------------------------------------------------- */

size_t dsv4_scale_bytes(const loci_dsv4_mat *m)
{
    if (!m->scale) return 0;
    const size_t rows = (size_t)m->rows, cols = (size_t)m->cols;
    return m->type == LOCI_STORED_E2M1 ? rows * (cols / 32)
                                       : (rows + LOCI_SCALE_TILE - 1) / LOCI_SCALE_TILE *
                                             ((cols + LOCI_SCALE_TILE - 1) / LOCI_SCALE_TILE);
}

typedef struct {
    const loci_dsv4_source *source;
    counter as_released;
    int64_t dense, experts; /* bytes */
    int64_t n_matrices;     /* of routed experts, three each */
} weighing;

static void weigh(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    weighing *w = ctx;
    loci_dsv4_mat m = { 0 };
    const bool readable = w->source->find(w->source->ctx, name, &m, NULL) == LOCI_OK;
    const size_t row = loci_stored_row_bytes(m.type, m.cols); /* rows may lie further apart */
    const int64_t bytes = m.data     ? (int64_t)((size_t)m.rows * row + dsv4_scale_bytes(&m))
                          : readable ? 0
                                     : stored_bytes(&w->as_released, rows, cols, role);
    *(role == DSV4_EXPERT ? &w->experts : &w->dense) += bytes;
    w->n_matrices += role == DSV4_EXPERT && bytes > 0;
}

void loci_dsv4_cost_stored(loci_dsv4_cost *cost, const loci_dsv4_hparams *hp,
                           const loci_dsv4_source *source)
{
    weighing w = { .source = source, .as_released = { .hp = hp } };
    dsv4_each_tensor(hp, weigh, &w);
    cost->weight_bytes = w.dense + w.experts;
    cost->dense_bytes = w.dense;
    if (w.n_matrices > 0) cost->expert_bytes = 3 * w.experts / w.n_matrices;
}
