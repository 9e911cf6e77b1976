/* gpu_gist.c - summaries, their pyramids, and attention to the frontiers: equations in gist.c.
 *
 * Nodes of all pyramids are one array, level by level, level 0 being the chunks of the batch.  Queries
 * that may read the same chunks attend to the same nodes; keys and values of those are laid out once for
 * each such stretch of queries, one stretch behind the other, so that every query sees one range
 * (gpu_nodes.c).  Their gradients are summed back in the order of a list. */
#include "model/gpu/gpu_pass_impl.h"

enum { HEADS = LOCI_GIST_HEADS, W = 64, WIDE = HEADS * W, KV = 2 * W };

void loci_gpu_gist_plan(loci_gpu_gist_tape *t, loci_arena *a, const loci_hparams *hp,
                        const loci_gpu_layout *b)
{
    const size_t N = (size_t)b->n, C = (size_t)b->n_chunks, G = (size_t)b->n_nodes,
                 F = (size_t)b->n_gist, ds = (size_t)hp->d_summary;
    if (!hp->d_summary) return;
    t->node = loci_arena_take(a, G * ds, 4);
    t->dnode = loci_arena_take(a, G * ds, 4);
    t->inv = loci_arena_take(a, G, 4);
    t->summary = loci_arena_take(a, C * ds, 2);
    t->xn = loci_arena_take(a, G * ds, 2);
    t->dy = loci_arena_take(a, G * ds, 2);
    t->dkv = loci_arena_take(a, G * KV, 2);
    t->rows = loci_arena_take(a, F * KV, 2);
    t->drows = loci_arena_take(a, F * KV, 2);
    for (int g = 0; g < hp->n_groups; g++) {
        loci_gpu_gist_group *x = &t->group[g];
        x->y = loci_arena_take(a, G * ds, 2);
        x->kv = loci_arena_take(a, G * KV, 2);
        x->q = loci_arena_take(a, N * WIDE, 2);
        x->o = loci_arena_take(a, N * WIDE, 2);
        x->inv_k = loci_arena_take(a, G, 4);
        x->inv_q = loci_arena_take(a, N * HEADS, 4);
        x->lse = loci_arena_take(a, N * HEADS, 4);
    }
}

/* ---- pyramids -------------------------------------------------------------------------------- */

void loci_gpu_nodes_forward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const int ds = hp->d_summary, C = p->b.n_chunks, G = p->b.n_nodes, e2 = 2 * hp->enc_dim;
    const int32_t *start = p->b.node_start;
    loci_gpu_gist_tape *t = &p->gist;
    if (!ds || C == 0) return;
    loci_gpu_linear(p, t->node, ds, p->enc.cls, e2, &p->w->at.enc.summary, C, 0.0f, true);
    loci_gpu_to_bf16(p->g, t->summary, t->node, (size_t)C * (size_t)ds);
    for (int l = 1; l < LOCI_GIST_LEVELS; l++)
        loci_gpu_pool(p->g, t->node, p->b.node_child, start[l], start[l + 1] - start[l], ds);
    const int end = start[LOCI_GIST_LEVELS]; /* pads behind it */
    loci_gpu_clear(p->g, t->node + (size_t)end * (size_t)ds,
                   (size_t)(G - end) * (size_t)ds * sizeof(float));
    loci_gpu_rmsnorm(p->g, t->xn, ds, t->inv, t->node, ds, G, ds, hp->norm_eps);
}

void loci_gpu_nodes_backward(loci_gpu_pass *p)
{
    const int ds = p->w->hp.d_summary, C = p->b.n_chunks;
    const int32_t *start = p->b.node_start;
    loci_gpu_gist_tape *t = &p->gist;
    if (!ds || C == 0) return;
    for (int l = LOCI_GIST_LEVELS - 1; l > 0; l--)
        loci_gpu_unpool(p->g, t->dnode, p->b.node_child, start[l], start[l + 1] - start[l], ds);
    loci_gpu_to_bf16(p->g, t->summary, t->dnode, (size_t)C * (size_t)ds);
}

/* ---- attention -------------------------------------------------------------------------------- */

static loci_gpu_attn attention_of(const loci_gpu_pass *p, const loci_gpu_gist_group *t)
{
    return (loci_gpu_attn){ .q = t->q,
                            .k = p->gist.rows,
                            .v = p->gist.rows + W,
                            .o = t->o,
                            .lse = t->lse,
                            .lo = p->b.gist_lo,
                            .hi = p->b.gist_hi,
                            .qlo = p->b.gist_qlo,
                            .qhi = p->b.gist_qhi,
                            .ldq = WIDE,
                            .ldk = KV,
                            .ldv = KV,
                            .ldo = WIDE,
                            .n_q = p->b.n,
                            .n_k = p->b.n_gist,
                            .heads = HEADS,
                            .kv_heads = 1,
                            .scale = 0.25f };
}

void loci_gpu_gist_forward(loci_gpu_pass *p, int group)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_read_params *w = &p->w->at.read[group];
    const int n = p->b.n, D = hp->d_model, ds = hp->d_summary, G = p->b.n_nodes;
    loci_gpu_gist_group *t = &p->gist.group[group];
    const loci_gpu_attn a = attention_of(p, t);
    if (p->b.n_gist == 0) return; /* nobody reads: nothing is added */
    loci_gpu_add_level(p->g, t->y, p->gist.xn, w->gist_level.data, p->b.node_level, G, ds);
    loci_gpu_linear(p, t->kv, KV, t->y, ds, &w->gist_kv, G, 0.0f, false);
    loci_gpu_norm_rope(p->g, t->kv, KV, t->inv_k, NULL, NULL, 1, G, hp->norm_eps);
    loci_gpu_linear(p, t->q, WIDE, p->read[group].xn, D, &w->gist_q, n, 0.0f, false);
    loci_gpu_norm_rope(p->g, t->q, WIDE, t->inv_q, NULL, NULL, HEADS, n, hp->norm_eps);
    loci_gpu_hand_out(p->g, p->gist.rows, t->kv, p->b.gist_row, p->b.n_gist);
    loci_gpu_attn_forward(p->g, &a);
    loci_gpu_linear(p, p->h, D, t->o, WIDE, &w->gist_o, n, 1.0f, true);
}

/* gist.drows, the gradient of the rows handed out -> parameters, gist.dnode. */
static void keys_backward(loci_gpu_pass *p, const loci_read_params *w, const loci_read_params *dw,
                          loci_gpu_gist_group *t)
{
    const int ds = p->w->hp.d_summary, G = p->b.n_nodes;
    const int32_t *start = p->b.node_start;
    loci_gpu_gist_tape *x = &p->gist;
    loci_gpu_take_back(p->g, x->dkv, x->drows, p->b.gist_order, p->b.gist_start, G);
    loci_gpu_norm_rope_bwd(p->g, x->dkv, KV, t->kv, KV, t->inv_k, NULL, NULL, 1, G);
    loci_gpu_linear_dx(p, x->dy, ds, x->dkv, KV, &w->gist_kv, G, 0.0f);
    loci_gpu_linear_dw(p, &dw->gist_kv, x->dkv, KV, t->y, ds, G);
    for (int l = 0; l < LOCI_GIST_LEVELS; l++)
        loci_gpu_column_sum(p->g, (float *)dw->gist_level.data + l * ds, p->s.part,
                            x->dy + (size_t)start[l] * (size_t)ds, ds, NULL,
                            start[l + 1] - start[l], ds, 0);
    const loci_gpu_rmsnorm_grad j = { .dx = x->dnode,
                                      .dy = x->dy,
                                      .y = x->xn,
                                      .inv = x->inv,
                                      .lddx = ds,
                                      .lddy = ds,
                                      .ldy = ds,
                                      .rows = G,
                                      .cols = ds };
    loci_gpu_rmsnorm_bwd(p->g, &j);
}

void loci_gpu_gist_backward(loci_gpu_pass *p, int group)
{
    const loci_read_params *w = &p->w->at.read[group], *dw = &p->w->grad_at.read[group];
    const int n = p->b.n, D = p->w->hp.d_model;
    loci_gpu_gist_group *t = &p->gist.group[group];
    const loci_gpu_attn a = attention_of(p, t);
    const loci_gpu_attn_grad grad = { .dout = p->s.wide,
                                      .dq = p->s.wide2,
                                      .dk = p->gist.drows,
                                      .dv = p->gist.drows + W,
                                      .delta = p->s.delta,
                                      .lddo = WIDE,
                                      .lddq = WIDE,
                                      .lddk = KV,
                                      .lddv = KV };
    if (p->b.n_gist == 0) return;
    loci_gpu_linear_dx(p, p->s.wide, WIDE, p->s.dh_half, D, &w->gist_o, n, 0.0f);
    loci_gpu_linear_dw(p, &dw->gist_o, p->s.dh_half, D, t->o, WIDE, n);
    loci_gpu_hand_out(p->g, p->gist.rows, t->kv, p->b.gist_row, p->b.n_gist);
    loci_gpu_attn_backward(p->g, &a, &grad);
    loci_gpu_norm_rope_bwd(p->g, p->s.wide2, WIDE, t->q, WIDE, t->inv_q, NULL, NULL, HEADS, n);
    loci_gpu_linear_dx(p, p->s.narrow, D, p->s.wide2, WIDE, &w->gist_q, n, 1.0f);
    loci_gpu_linear_dw(p, &dw->gist_q, p->s.wide2, WIDE, p->read[group].xn, D, n);
    keys_backward(p, w, dw, t);
}
