/* gpu_read.c - the Read block over a batch: equations in read.c, router.c, pointer.c.
 *
 * Routed: the router picks, lists turn the picks round, readers work chunk by chunk.  Dense: plain
 * attention of eight heads over all content rows that a query may read.  The gate's extra cost, the
 * weights of the losses and which negatives count come from the run. */
#include "model/gpu/gpu_pass_impl.h"

#include <math.h>

enum {
    PICKS = LOCI_GPU_PICKS,
    SLOTS = LOCI_GPU_SLOTS,
    HEADS = LOCI_GPU_READ_HEADS,
    WIDE = HEADS * 64
};

void loci_gpu_read_plan_rows(loci_gpu_read_tape *t, loci_arena *a, const loci_hparams *hp, int rows)
{
    const size_t N = (size_t)rows, D = (size_t)hp->d_model;
    t->xn = loci_arena_take(a, N * D, 2);
    t->hidden = loci_arena_take(a, N * (size_t)hp->router_hidden, 2);
    t->u = loci_arena_take(a, N * 128, 2);
    t->q = loci_arena_take(a, N * WIDE, 2);
    t->o = loci_arena_take(a, N * WIDE, 2);
    t->xn2 = loci_arena_take(a, N * D, 2);
    t->gu = loci_arena_take(a, N * 2 * (size_t)hp->read_mlp, 2);
    t->inv = loci_arena_take(a, N, 4);
    t->inv_u = loci_arena_take(a, N, 4);
    t->inv_q = loci_arena_take(a, N * HEADS, 4);
    t->soft = loci_arena_take(a, N, 4);
    t->inv2 = loci_arena_take(a, N, 4);
    t->gold_score = loci_arena_take(a, N, 4);
    t->tau = loci_arena_take(a, 1, 4);
    t->row = loci_arena_take(a, PICKS * 64, 4);
    t->head_w = loci_arena_take(a, N * PICKS * HEADS, 4);
    t->phi = loci_arena_take(a, hp->order ? N * PICKS * HEADS : 0, 4);
    t->order = loci_arena_take(a, hp->order ? N * WIDE / 8 : 0, 2);
}

void loci_gpu_read_plan(loci_gpu_read_tape *t, loci_arena *a, const loci_hparams *hp,
                        const loci_gpu_layout *b, bool routed)
{
    const size_t N = (size_t)b->n, C = (size_t)b->n_chunks;
    loci_gpu_read_plan_rows(t, a, hp, b->n);
    t->gate = loci_arena_take(a, N, 4);
    t->lse_own = loci_arena_take(a, N, 4);
    t->lse_neg = loci_arena_take(a, N, 4);
    t->log_den = loci_arena_take(a, N, 4);
    t->w = loci_arena_take(a, N * PICKS, 4);
    t->pick_score = loci_arena_take(a, N * PICKS, 4);
    t->pair_lse = loci_arena_take(a, routed ? N * (PICKS + 1) * HEADS : 0, 4);
    t->lse = loci_arena_take(a, routed ? 0 : N * HEADS, 4);
    t->target = loci_arena_take(a, (size_t)b->n_kl * (size_t)b->target_ld, 4);
    t->drow = loci_arena_take(a, PICKS * 64, 4);
    t->above = loci_arena_take(a, N, 4);
    t->pick = loci_arena_take(a, N * SLOTS, 4);
    loci_gpu_lists *l = &t->lists;
    l->n = b->n;
    l->n_chunks = b->real_chunks;
    l->slots = SLOTS;
    l->tile_span = b->tile_span;
    l->max_items = (int)(N * SLOTS / LOCI_GPU_ITEM) + b->real_chunks + 1;
    l->start = loci_arena_take(a, C + 1, 4);
    l->item_start = loci_arena_take(a, C + 1, 4);
    l->entry = loci_arena_take(a, N * SLOTS, 4);
    l->item_chunk = loci_arena_take(a, (size_t)l->max_items, 4);
    l->counts = loci_arena_take(a, (N / LOCI_GPU_LIST_TILE + 1) * (size_t)l->tile_span, 4);
    l->tile_lo = b->tile_lo;
    l->first_tile = b->first_tile;
    l->last_tile = b->last_tile;
}

/* ---- what the kernels are told ---------------------------------------------------------------- */

static loci_gpu_score score_of(const loci_gpu_pass *p, const loci_gpu_read_tape *t)
{
    return (loci_gpu_score){ .u = t->u,
                             .lm = p->landmark,
                             .bias = p->bias,
                             .tau = t->tau,
                             .own_lo = p->b.own_lo,
                             .own_hi = p->b.own_hi,
                             .seq_hi = p->b.seq_hi,
                             .gold = p->b.gold,
                             .lse_own = t->lse_own,
                             .lse_neg = t->lse_neg,
                             .gold_score = t->gold_score,
                             .above = t->above,
                             .pick = t->pick,
                             .pick_score = t->pick_score,
                             .n = p->b.n,
                             .n_chunks = p->b.real_chunks,
                             .top_k = p->opt->routed ? p->w->hp.top_k : 0,
                             .negatives = p->negatives };
}

static loci_gpu_weigh weigh_of(const loci_gpu_pass *p, const loci_gpu_read_tape *t,
                               const loci_read_params *w, bool report)
{
    return (loci_gpu_weigh){ .s = score_of(p, t),
                             .null_score = w->null_score.data,
                             .source = p->opt->pointer > 0.0f ? p->b.source : NULL,
                             .w = t->w,
                             .log_den = t->log_den,
                             .stat = report ? p->stat : NULL,
                             .share = 1.0f / (float)p->w->hp.n_groups,
                             .recall_k = p->w->hp.top_k,
                             .routed = p->opt->routed };
}

static loci_gpu_read routed_of(const loci_gpu_pass *p, const loci_gpu_read_tape *t)
{
    return (loci_gpu_read){ .q = t->q,
                            .content = p->content,
                            .n_tokens = p->b.n_tokens,
                            .pick = t->pick,
                            .source = p->b.source,
                            .w = t->head_w,
                            .phi = p->w->hp.order ? t->phi : NULL,
                            .row = t->row,
                            .pair = p->s.pair,
                            .lse = t->pair_lse,
                            .o = t->o,
                            .stat = p->stat,
                            .lists = &t->lists,
                            .n = p->b.n,
                            .cols = loci_content_cols(&p->w->hp),
                            .scale = loci_read_scale(&p->w->hp),
                            .share = 1.0f / (float)p->w->hp.n_groups };
}

static loci_gpu_attn dense_of(const loci_gpu_pass *p, const loci_gpu_read_tape *t)
{
    const int cols = loci_content_cols(&p->w->hp);
    return (loci_gpu_attn){ .q = t->q,
                            .k = p->content,
                            .v = p->content + cols - 64,
                            .o = t->o,
                            .lse = t->lse,
                            .lo = p->b.key_lo,
                            .hi = p->b.key_hi,
                            .qlo = p->b.key_qlo,
                            .qhi = p->b.key_qhi,
                            .key_ok = p->b.key_ok,
                            .ldq = WIDE,
                            .ldk = cols,
                            .ldv = cols,
                            .ldo = WIDE,
                            .n_q = p->b.n,
                            .n_k = p->b.n_chunks * 64,
                            .heads = HEADS,
                            .kv_heads = 1,
                            .scale = loci_read_scale(&p->w->hp) };
}

loci_gpu_mlp loci_gpu_read_mlp(const loci_hparams *hp, const loci_read_params *w,
                               const loci_read_params *dw, const loci_gpu_read_tape *t)
{
    return (loci_gpu_mlp){
        &w->gate_up, &w->down,    dw ? &dw->gate_up : NULL, dw ? &dw->down : NULL, t->xn2, t->gu,
        t->inv2,     hp->read_mlp
    };
}

/* ---- forward ------------------------------------------------------------------------------------- */

static void route(loci_gpu_pass *p, const loci_read_params *w, loci_gpu_read_tape *t)
{
    const int n = p->b.n, D = p->w->hp.d_model, rh = p->w->hp.router_hidden;
    loci_gpu_linear(p, t->hidden, rh, t->xn, D, &w->router1, n, 0.0f, false);
    loci_gpu_silu(p->g, p->s.wide, t->hidden, (size_t)n * (size_t)rh);
    loci_gpu_linear(p, t->u, 128, p->s.wide, rh, &w->router2, n, 0.0f, false);
    loci_gpu_unit(p->g, t->u, t->inv_u, n);
    loci_gpu_tau(p->g, t->tau, w->log_tau.data);
    const loci_gpu_score s = score_of(p, t);
    const loci_gpu_weigh weigh = weigh_of(p, t, w, true);
    loci_gpu_score_forward(p->g, &s);
    loci_gpu_weigh_forward(p->g, &weigh);
}

static void read_dense(loci_gpu_pass *p, loci_gpu_read_tape *t)
{
    const loci_gpu_attn a = dense_of(p, t);
    loci_gpu_attn_forward(p->g, &a);
    if (p->opt->pointer > 0.0f)
        loci_gpu_pointer_forward(p->g, NULL, p->stat, p->b.n, t->q, p->content, a.ldk, t->lse,
                                 p->b.source, p->b.pointer_rows, p->b.n_pointers, a.scale, 0.0f,
                                 1.0f / (float)p->w->hp.n_groups);
}

/* Ranks or marks. */
static const loci_mat *row_table(const loci_hparams *hp, const loci_read_params *w)
{
    return hp->order ? &w->mark : &w->rank;
}

static loci_gpu_order order_of(const loci_gpu_pass *p, const loci_gpu_read_tape *t,
                               const float *weight, const int32_t *pick, int n)
{
    return (loci_gpu_order){ .w = weight,
                             .pick = pick,
                             .c = p->w->hp.order ? t->order : NULL,
                             .head_w = t->head_w,
                             .phi = t->phi,
                             .n = n };
}

void loci_gpu_weigh_heads(loci_gpu_pass *p, const loci_read_params *w, loci_gpu_read_tape *t,
                          const float *weight, const int32_t *pick, int n)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_mat *row = row_table(hp, w);
    const loci_gpu_order o = order_of(p, t, weight, pick, n);
    loci_gpu_clear(p->g, t->row, PICKS * 64 * sizeof(float)); /* top_k may be less */
    loci_gpu_copy(p->g, t->row, row->data, (size_t)row->rows * 64 * sizeof(float));
    if (hp->order)
        loci_gpu_linear(p, t->order, WIDE / 8, t->xn, hp->d_model, &w->order, n, 0.0f, false);
    loci_gpu_order_forward(p->g, &o);
}

static void read_routed(loci_gpu_pass *p, const loci_read_params *w, loci_gpu_read_tape *t)
{
    const loci_gpu_read r = routed_of(p, t);
    loci_gpu_weigh_heads(p, w, t, t->w, t->pick, p->b.n);
    loci_gpu_lists_build(p->g, &t->lists, t->pick);
    loci_gpu_read_forward(p->g, &r);
}

void loci_gpu_read_block(loci_gpu_pass *p, int group)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_read_params *w = &p->w->at.read[group];
    const int n = p->b.n, D = hp->d_model;
    loci_gpu_read_tape *t = &p->read[group];
    const loci_gpu_mlp mlp = loci_gpu_read_mlp(hp, w, NULL, t);
    loci_gpu_rmsnorm(p->g, t->xn, D, t->inv, p->h, D, n, D, hp->norm_eps);
    loci_gpu_linear(p, t->q, WIDE, t->xn, D, &w->q, n, 0.0f, false);
    loci_gpu_norm_rope(p->g, t->q, WIDE, t->inv_q, NULL, NULL, HEADS, n, hp->norm_eps);
    loci_gpu_gate(p->g, t->soft, t->gate, p->stat, t->xn, w->gate_w.data, w->gate_b.data, n, D,
                  p->b.own_lo, p->b.own_hi, hp->gate_open, hp->hard_gate != 0);
    route(p, w, t);
    loci_gpu_pass_mark(p, "route");
    if (p->opt->routed)
        read_routed(p, w, t);
    else
        read_dense(p, t);
    loci_gpu_pass_mark(p, "read");
    if (p->b.n_kl > 0)
        loci_gpu_mass(p->g, t->target, p->s.part, p->b.target_ld, t->q, p->content,
                      loci_content_cols(hp), p->b.n_tokens, p->b.own_lo, p->b.own_hi, p->b.kl_rows,
                      p->b.n_kl, loci_read_scale(hp));
    loci_gpu_pass_mark(p, "teacher");
    loci_gpu_scale_rows(p->g, p->s.wide, t->o, t->gate, n, WIDE);
    loci_gpu_linear(p, p->h, D, p->s.wide, WIDE, &w->o, n, 1.0f, true);
    if (hp->d_summary) loci_gpu_gist_forward(p, group);
    loci_gpu_mlp_forward(p, &mlp);
}

void loci_gpu_read_block_bare(loci_gpu_pass *p, int group)
{
    const loci_gpu_mlp mlp =
        loci_gpu_read_mlp(&p->w->hp, &p->w->at.read[group], NULL, &p->read[group]);
    loci_gpu_mlp_forward(p, &mlp);
}

/* ---- backward --------------------------------------------------------------------------------------- */

/* d_o (s.wide) -> dq (s.wide2); routed: s.dw, and s.dorder with order. */
static void reading_backward(loci_gpu_pass *p, const loci_read_params *dw, loci_gpu_read_tape *t,
                             float pointer)
{
    const float scale = loci_read_scale(&p->w->hp);
    if (p->opt->routed) {
        const loci_gpu_read r = routed_of(p, t);
        const loci_gpu_read_grad g = { .dout = p->s.wide,
                                       .dq = p->s.wide2,
                                       .dw = p->s.dhead_w,
                                       .dcontent = p->dcontent,
                                       .part = p->s.part,
                                       .drow = t->drow,
                                       .row_part = p->s.extra,
                                       .pointer = pointer };
        const loci_mat *row = row_table(&p->w->hp, dw);
        const loci_gpu_order order = order_of(p, t, t->w, t->pick, p->b.n);
        loci_gpu_clear(p->g, t->drow, PICKS * 64 * sizeof(float));
        loci_gpu_read_backward(p->g, &r, &g);
        loci_gpu_axpy(p->g, row->data, t->drow, 1.0f, (size_t)row->rows * 64);
        loci_gpu_order_backward(p->g, &order, p->s.dhead_w, p->s.dw, p->s.dorder);
        return;
    }
    const loci_gpu_attn a = dense_of(p, t);
    const bool points = pointer > 0.0f && p->b.n_pointers > 0;
    if (points) {
        loci_gpu_clear(p->g, p->s.extra, (size_t)p->b.n * HEADS * sizeof(float));
        loci_gpu_pointer_forward(p->g, p->s.extra, NULL, p->b.n, t->q, p->content, a.ldk, t->lse,
                                 p->b.source, p->b.pointer_rows, p->b.n_pointers, scale, pointer,
                                 0.0f);
    }
    const loci_gpu_attn_grad g = { .dout = p->s.wide,
                                   .dq = p->s.wide2,
                                   .dk = p->dcontent,
                                   .dv = p->dcontent + 64,
                                   .extra = points ? p->s.extra : NULL,
                                   .delta = p->s.delta,
                                   .lddo = WIDE,
                                   .lddq = WIDE,
                                   .lddk = 128,
                                   .lddv = 128,
                                   .wide = true };
    loci_gpu_attn_backward(p->g, &a, &g);
    if (points)
        loci_gpu_pointer_backward(p->g, p->s.wide2, p->dcontent, p->s.extra, t->q, p->content,
                                  a.ldk, p->b.source, p->b.pointer_rows, p->b.source_start,
                                  p->b.n_sources, scale);
}

/* Losses and weights -> du, the bank, null and tau. */
static void scores_backward(loci_gpu_pass *p, const loci_read_params *w, const loci_read_params *dw,
                            loci_gpu_read_tape *t, float share)
{
    const loci_loss_options *o = p->opt;
    const int n = p->b.n;
    const loci_gpu_weigh weigh = weigh_of(p, t, w, false);
    const loci_gpu_weigh_grad g = { .dw = o->routed ? p->s.dw : NULL,
                                    .kl_row = p->b.kl_row,
                                    .kl = share * o->kl * o->kl_scale,
                                    .oracle = share * o->oracle * o->gold_scale,
                                    .absence = share * o->absence * o->absent_scale,
                                    .c_kl = p->s.coef[0],
                                    .c_oracle = p->s.coef[1],
                                    .c_oracle_den = p->s.coef[2],
                                    .c_neg = p->s.coef[3],
                                    .ds = p->s.ds,
                                    .dnull = p->s.coef[4] };
    const loci_gpu_score_grad s = { .kl = p->s.coef[0],
                                    .oracle = p->s.coef[1],
                                    .oracle_den = p->s.coef[2],
                                    .neg = p->s.coef[3],
                                    .target = t->target,
                                    .target_row = p->b.target_row,
                                    .du = p->s.du,
                                    .dlm = p->dlandmark,
                                    .dbias = p->dbias,
                                    .kl_loss = p->stat + (size_t)LOCI_STAT_KL * (size_t)n,
                                    .part = p->s.part,
                                    .target_ld = p->b.target_ld,
                                    .share = 1.0f / (float)p->w->hp.n_groups };
    double *null_sum = p->sums + LOCI_GPU_STATS;
    loci_gpu_weigh_backward(p->g, &weigh, &g);
    loci_gpu_clear(p->g, p->s.du, (size_t)n * 128 * sizeof(float));
    loci_gpu_score_backward(p->g, &weigh.s, &s);
    if (!o->routed) loci_gpu_lists_build(p->g, &t->lists, t->pick); /* the gold chunks alone */
    loci_gpu_score_sparse(p->g, &weigh.s, &t->lists, p->s.ds, p->s.du, p->dlandmark, p->dbias);
    loci_gpu_clear(p->g, null_sum, sizeof(double));
    loci_gpu_sum_rows(p->g, null_sum, p->s.coef[4], 1, n);
    loci_gpu_add_scalar(p->g, dw->null_score.data, null_sum, NULL);
}

/* du -> the router's matrices and s.narrow (+=). */
static void router_backward(loci_gpu_pass *p, const loci_read_params *w, const loci_read_params *dw,
                            loci_gpu_read_tape *t)
{
    const int n = p->b.n, D = p->w->hp.d_model, rh = p->w->hp.router_hidden;
    const size_t hidden = (size_t)n * (size_t)rh;
    double *tau_sum = p->sums + LOCI_GPU_STATS + 1;
    loci_bf16 *du = p->s.wide, *act = p->s.wide2;
    loci_gpu_unit_bwd(p->g, du, p->s.coef[0], p->s.du, t->u, t->inv_u, n);
    loci_gpu_clear(p->g, tau_sum, sizeof(double));
    loci_gpu_sum_rows(p->g, tau_sum, p->s.coef[0], 1, n);
    loci_gpu_add_scalar(p->g, dw->log_tau.data, tau_sum, w->log_tau.data);
    loci_gpu_silu(p->g, act, t->hidden, hidden);
    loci_gpu_linear_dw(p, &dw->router2, du, 128, act, rh, n);
    loci_gpu_linear_dx(p, act, rh, du, 128, &w->router2, n, 0.0f);
    loci_gpu_silu_bwd(p->g, t->hidden, act, hidden);
    loci_gpu_linear_dw(p, &dw->router1, t->hidden, rh, t->xn, D, n);
    loci_gpu_linear_dx(p, p->s.narrow, D, t->hidden, rh, &w->router1, n, 1.0f);
}

void loci_gpu_read_block_backward(loci_gpu_pass *p, int group)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_loss_options *o = p->opt;
    const loci_read_params *w = &p->w->at.read[group], *dw = &p->w->grad_at.read[group];
    const int n = p->b.n, D = hp->d_model;
    const float share = o->grad_scale / (float)hp->n_groups;
    loci_gpu_read_tape *t = &p->read[group];
    const loci_gpu_mlp mlp = loci_gpu_read_mlp(hp, w, dw, t);
    loci_gpu_mlp_backward(p, &mlp);

    loci_gpu_linear_dx(p, p->s.wide, WIDE, p->s.dh_half, D, &w->o, n, 0.0f);
    loci_gpu_gate_bwd(p->g, p->s.wide, p->s.wide2, p->s.dz, t->o, t->soft, t->gate, p->b.own_lo,
                      p->b.own_hi, o->gate * o->query_scale * o->grad_scale,
                      p->b.n_bare > 0 ? p->regret : NULL, share * o->regret * o->regret_scale, n,
                      WIDE);
    loci_gpu_linear_dw(p, &dw->o, p->s.dh_half, D, p->s.wide2, WIDE, n);
    loci_gpu_column_sum(p->g, dw->gate_w.data, p->s.part, t->xn, D, p->s.dz, n, D, 0);
    double *gate_sum = p->sums + LOCI_GPU_STATS + 2;
    loci_gpu_clear(p->g, gate_sum, sizeof(double));
    loci_gpu_sum_rows(p->g, gate_sum, p->s.dz, 1, n);
    loci_gpu_add_scalar(p->g, dw->gate_b.data, gate_sum, NULL);

    loci_gpu_pass_mark(p, "mix back");
    reading_backward(p, dw, t, share * o->pointer * o->gold_scale);
    loci_gpu_pass_mark(p, "read back");
    loci_gpu_norm_rope_bwd(p->g, p->s.wide2, WIDE, t->q, WIDE, t->inv_q, NULL, NULL, HEADS, n);
    loci_gpu_linear_dx(p, p->s.narrow, D, p->s.wide2, WIDE, &w->q, n, 0.0f);
    loci_gpu_linear_dw(p, &dw->q, p->s.wide2, WIDE, t->xn, D, n);
    if (o->routed && hp->order) {
        loci_gpu_linear_dx(p, p->s.narrow, D, p->s.dorder, WIDE / 8, &w->order, n, 1.0f);
        loci_gpu_linear_dw(p, &dw->order, p->s.dorder, WIDE / 8, t->xn, D, n);
    }

    scores_backward(p, w, dw, t, share);
    router_backward(p, w, dw, t);
    if (hp->d_summary) loci_gpu_gist_backward(p, group);
    const loci_gpu_rmsnorm_grad last = { .dx = p->dh,
                                         .out = p->s.dh_half,
                                         .dy = p->s.narrow,
                                         .y = t->xn,
                                         .inv = t->inv,
                                         .z = p->s.dz,
                                         .w = w->gate_w.data,
                                         .lddx = D,
                                         .ldout = D,
                                         .lddy = D,
                                         .ldy = D,
                                         .rows = n,
                                         .cols = D };
    loci_gpu_rmsnorm_bwd(p->g, &last);
}
