/* gpu_encoder.c - all chunks of a batch become records: equations in encoder.c, rows in encode.cu. */
#include "model/gpu/gpu_pass_impl.h"

enum { PLACE = 66, CHUNK = 64 };

void loci_gpu_encoder_tape_plan(loci_gpu_encoder_tape *t, loci_arena *a, const loci_hparams *hp,
                                int n, int n_chunks)
{
    const size_t N = (size_t)n, C = (size_t)n_chunks, R = C * PLACE, P = C * CHUNK,
                 D = (size_t)hp->d_model, e = (size_t)hp->enc_dim;
    t->xn = loci_arena_take(a, N * D, 2);
    t->n1 = loci_arena_take(a, R * e, 2);
    t->qkv = loci_arena_take(a, R * 3 * e, 2);
    t->att = loci_arena_take(a, R * e, 2);
    t->n2 = loci_arena_take(a, R * e, 2);
    t->up = loci_arena_take(a, R * (size_t)hp->enc_mlp, 2);
    t->cls = loci_arena_take(a, 2 * C * e, 2);
    t->cat = loci_arena_take(a, P * (D + e), 2);
    t->inv_x = loci_arena_take(a, N, 4);
    t->inv1 = loci_arena_take(a, R, 4);
    t->lse = loci_arena_take(a, R * (e / 64), 4);
    t->inv2 = loci_arena_take(a, R, 4);
    t->inv_l = loci_arena_take(a, 2 * C, 4);
    t->inv_z = loci_arena_take(a, P, 4);
    t->inv_kv = loci_arena_take(a, 2 * P, 4);
}

static loci_gpu_attn attention_of(const loci_gpu_pass *p)
{
    const int e = p->w->hp.enc_dim, R = p->b.n_chunks * PLACE;
    const loci_gpu_encoder_tape *t = &p->enc;
    return (loci_gpu_attn){ .q = t->qkv,
                            .k = t->qkv + e,
                            .v = t->qkv + 2 * e,
                            .o = t->att,
                            .lse = t->lse,
                            .lo = p->b.enc_lo,
                            .hi = p->b.enc_hi,
                            .qlo = p->b.enc_lo,
                            .qhi = p->b.enc_hi,
                            .ldq = 3 * e,
                            .ldk = 3 * e,
                            .ldv = 3 * e,
                            .ldo = e,
                            .n_q = R,
                            .n_k = R,
                            .heads = e / 64,
                            .kv_heads = e / 64,
                            .scale = 0.125f };
}

void loci_gpu_encoder_forward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_encoder_params *w = &p->w->at.enc;
    const int n = p->b.n, D = hp->d_model, e = hp->enc_dim, m = hp->enc_mlp, C = p->b.n_chunks,
              R = C * PLACE, cols = loci_content_cols(hp);
    loci_gpu_encoder_tape *t = &p->enc;
    const loci_gpu_attn a = attention_of(p);
    if (C == 0) return;
    loci_gpu_rmsnorm(p->g, t->xn, D, t->inv_x, p->h, D, n, D, hp->norm_eps);
    loci_gpu_linear(p, p->s.wide, e, t->xn, D, &w->in, n, 0.0f, false);
    loci_gpu_place(p->g, p->s.z, p->s.wide, w->pos.data, w->cls.data, p->b.token_row, C, e);

    loci_gpu_rmsnorm(p->g, t->n1, e, t->inv1, p->s.z, e, R, e, hp->norm_eps);
    loci_gpu_linear(p, t->qkv, 3 * e, t->n1, e, &w->qkv, R, 0.0f, false);
    loci_gpu_attn_forward(p->g, &a);
    loci_gpu_linear(p, p->s.z, e, t->att, e, &w->o, R, 1.0f, true);

    loci_gpu_rmsnorm(p->g, t->n2, e, t->inv2, p->s.z, e, R, e, hp->norm_eps);
    loci_gpu_linear(p, t->up, m, t->n2, e, &w->up, R, 0.0f, false);
    loci_gpu_silu(p->g, p->s.enc_wide, t->up, (size_t)R * (size_t)m);
    loci_gpu_linear(p, p->s.z, e, p->s.enc_wide, m, &w->down, R, 1.0f, true);

    loci_gpu_summary(p->g, t->cls, p->bias, p->s.z, w->bias_w.data, w->bias_b.data, C, e);
    loci_gpu_linear(p, p->landmark, 128, t->cls, e, &w->landmark, 2 * C, 0.0f, false);
    loci_gpu_unit(p->g, p->landmark, t->inv_l, 2 * C);
    loci_gpu_cat(p->g, t->cat, t->inv_z, t->xn, p->s.z, p->b.token_row, C, D, e, hp->norm_eps);
    loci_gpu_linear(p, p->whole, cols, t->cat, D + e, &w->content, C * CHUNK, 0.0f, false);
    loci_gpu_norm_rope(p->g, p->whole, cols, t->inv_kv, NULL, NULL, cols / 64, C * CHUNK,
                       hp->norm_eps);
}

/* Gradient of a norm inside the encoder: s.enc_narrow -> dz and its copy. */
static void norm_backward(loci_gpu_pass *p, const loci_bf16 *y, const float *inv)
{
    const int e = p->w->hp.enc_dim;
    const loci_gpu_rmsnorm_grad j = { .dx = p->s.dz_enc,
                                      .out = p->s.enc_half,
                                      .dy = p->s.enc_narrow,
                                      .y = y,
                                      .inv = inv,
                                      .lddx = e,
                                      .ldout = e,
                                      .lddy = e,
                                      .ldy = e,
                                      .rows = p->b.n_chunks * PLACE,
                                      .cols = e };
    loci_gpu_rmsnorm_bwd(p->g, &j);
}

/* dcontent (with one vector for both its halves added), dlandmark, dbias, dsummary (in gist.summary) -> dz and (in s.narrow) the tokens' share of x. */
static void outputs_backward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_encoder_params *w = &p->w->at.enc, *dw = &p->w->grad_at.enc;
    const int D = hp->d_model, e = hp->enc_dim, C = p->b.n_chunks, P = C * CHUNK,
              ds = hp->d_summary, cols = loci_content_cols(hp), heads = cols / 64;
    loci_gpu_encoder_tape *t = &p->enc;
    loci_bf16 *dE = p->s.enc_wide, *dl = p->s.enc_wide, *dcls = p->s.enc_narrow;
    loci_gpu_rmsnorm_bwd_b(p->g, dE, 64, NULL, p->dcontent, 128 / heads, p->whole, 64, t->inv_kv,
                           heads * P, 64);
    loci_gpu_linear_dx(p, p->s.dcat, D + e, dE, cols, &w->content, P, 0.0f);
    loci_gpu_linear_dw(p, &dw->content, dE, cols, t->cat, D + e, P);
    loci_gpu_clear(p->g, p->s.narrow, (size_t)p->b.n * (size_t)D * 2);
    loci_gpu_uncat(p->g, p->s.dz_enc, p->s.narrow, p->s.dcat, t->cat, t->inv_z, p->b.token_row, C,
                   D, e);

    loci_gpu_unit_bwd(p->g, dl, NULL, p->dlandmark, p->landmark, t->inv_l, 2 * C);
    loci_gpu_linear_dx(p, dcls, e, dl, 128, &w->landmark, 2 * C, 0.0f);
    loci_gpu_linear_dw(p, &dw->landmark, dl, 128, t->cls, e, 2 * C);
    if (ds > 0) {
        loci_gpu_linear_dx(p, dcls, 2 * e, p->gist.summary, ds, &w->summary, C, 1.0f);
        loci_gpu_linear_dw(p, &dw->summary, p->gist.summary, ds, t->cls, 2 * e, C);
    }
    loci_gpu_unsummary(p->g, p->s.dz_enc, dcls, p->dbias, w->bias_w.data, C, e);
    loci_gpu_column_sum(p->g, dw->bias_w.data, p->s.part, t->cls, 2 * e, p->dbias, C, 2 * e, 0);
    loci_gpu_sum_parts(p->g, dw->bias_b.data, p->dbias, C, 1);
}

/* Positions and extra vectors: sums over the rows of equal place.  s.part holds the parts behind the
 * result. */
static void places_backward(loci_gpu_pass *p)
{
    const loci_encoder_params *dw = &p->w->grad_at.enc;
    const int e = p->w->hp.enc_dim, R = p->b.n_chunks * PLACE;
    float *sum = p->s.part, *parts = p->s.part + PLACE * e;
    loci_gpu_clear(p->g, sum, (size_t)PLACE * (size_t)e * 4);
    loci_gpu_column_sum(p->g, sum, parts, p->s.enc_half, e, NULL, R, e, PLACE);
    loci_gpu_axpy(p->g, dw->cls.data, sum, 1.0f, (size_t)(2 * e));
    loci_gpu_axpy(p->g, dw->pos.data, sum + 2 * e, 1.0f, (size_t)(CHUNK * e));
}

void loci_gpu_encoder_backward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_encoder_params *w = &p->w->at.enc, *dw = &p->w->grad_at.enc;
    const int n = p->b.n, D = hp->d_model, e = hp->enc_dim, m = hp->enc_mlp, C = p->b.n_chunks,
              R = C * PLACE;
    loci_gpu_encoder_tape *t = &p->enc;
    if (C == 0) return;
    outputs_backward(p);
    loci_gpu_to_bf16(p->g, p->s.enc_half, p->s.dz_enc, (size_t)R * (size_t)e);

    loci_gpu_silu(p->g, p->s.enc_wide, t->up, (size_t)R * (size_t)m);
    loci_gpu_linear_dw(p, &dw->down, p->s.enc_half, e, p->s.enc_wide, m, R);
    loci_gpu_linear_dx(p, p->s.enc_wide, m, p->s.enc_half, e, &w->down, R, 0.0f);
    loci_gpu_silu_bwd(p->g, t->up, p->s.enc_wide, (size_t)R * (size_t)m);
    loci_gpu_linear_dx(p, p->s.enc_narrow, e, t->up, m, &w->up, R, 0.0f);
    loci_gpu_linear_dw(p, &dw->up, t->up, m, t->n2, e, R);
    norm_backward(p, t->n2, t->inv2);

    const loci_gpu_attn a = attention_of(p);
    loci_bf16 *d = p->s.enc_wide;
    const loci_gpu_attn_grad grad = { .dout = p->s.enc_narrow,
                                      .dq = d,
                                      .dk = d + e,
                                      .dv = d + 2 * e,
                                      .delta = p->s.part,
                                      .lddo = e,
                                      .lddq = 3 * e,
                                      .lddk = 3 * e,
                                      .lddv = 3 * e };
    loci_gpu_linear_dx(p, p->s.enc_narrow, e, p->s.enc_half, e, &w->o, R, 0.0f);
    loci_gpu_linear_dw(p, &dw->o, p->s.enc_half, e, t->att, e, R);
    loci_gpu_attn_backward(p->g, &a, &grad);
    loci_gpu_linear_dx(p, p->s.enc_narrow, e, d, 3 * e, &w->qkv, R, 0.0f);
    loci_gpu_linear_dw(p, &dw->qkv, d, 3 * e, t->n1, e, R);
    norm_backward(p, t->n1, t->inv1);
    places_backward(p);

    loci_gpu_clear(p->g, p->s.wide, (size_t)n * (size_t)e * 2);
    loci_gpu_unplace(p->g, p->s.wide, p->s.enc_half, p->b.token_row, C, e);
    loci_gpu_linear_dx(p, p->s.narrow, D, p->s.wide, e, &w->in, n, 1.0f);
    loci_gpu_linear_dw(p, &dw->in, p->s.wide, e, t->xn, D, n);
    const loci_gpu_rmsnorm_grad last = { .dx = p->dh,
                                         .out = p->s.dh_half,
                                         .dy = p->s.narrow,
                                         .y = t->xn,
                                         .inv = t->inv_x,
                                         .lddx = D,
                                         .ldout = D,
                                         .lddy = D,
                                         .ldy = D,
                                         .rows = n,
                                         .cols = D };
    loci_gpu_rmsnorm_bwd(p->g, &last);
}
