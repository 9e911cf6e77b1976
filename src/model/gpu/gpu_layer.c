/* gpu_layer.c - one transformer layer over all rows of a batch: equations in window.c.
 *
 * The residual h is f32 and products add onto it in place; everything else is bf16.  In the backward
 * pass p->dh holds the gradient of the residual in f32 and s.dh_half its bf16 copy, which the kernel
 * that changes dh writes along. */
#include "model/gpu/gpu_pass_impl.h"

#include <math.h>

/* ---- products -------------------------------------------------------------------------------- */

/* c (m, n) = op(a) op(b) + beta c: see loci_gpu_gemm_job. */
static void multiply(loci_gpu_pass *p, void *c, int ldc, const loci_bf16 *a, int lda, int ta,
                     const loci_bf16 *b, int ldb, int tb, int m, int n, int k, float beta,
                     bool wide)
{
    const loci_gpu_gemm_job j = { .c = c,
                                  .a = a,
                                  .b = b,
                                  .ldc = ldc,
                                  .lda = lda,
                                  .ldb = ldb,
                                  .ta = ta,
                                  .tb = tb,
                                  .m = m,
                                  .n = n,
                                  .k = k,
                                  .alpha = 1.0f,
                                  .beta = beta,
                                  .wide = wide };
    loci_gpu_gemm(p->g, &j);
}

void loci_gpu_linear(loci_gpu_pass *p, void *y, int ldy, const loci_bf16 *x, int ldx,
                     const loci_mat *w, int m, float beta, bool wide)
{
    multiply(p, y, ldy, x, ldx, 0, loci_gpu_half(p->w, w), w->cols, 1, m, w->rows, w->cols, beta,
             wide);
}

void loci_gpu_linear_dx(loci_gpu_pass *p, loci_bf16 *dx, int lddx, const loci_bf16 *dy, int lddy,
                        const loci_mat *w, int m, float beta)
{
    multiply(p, dx, lddx, dy, lddy, 0, loci_gpu_half(p->w, w), w->cols, 0, m, w->cols, w->rows,
             beta, false);
}

void loci_gpu_linear_dx_add(loci_gpu_pass *p, float *dx, int lddx, const loci_bf16 *dy, int lddy,
                            const loci_mat *w, int m)
{
    multiply(p, dx, lddx, dy, lddy, 0, loci_gpu_half(p->w, w), w->cols, 0, m, w->cols, w->rows,
             1.0f, true);
}

void loci_gpu_linear_dw(loci_gpu_pass *p, const loci_mat *dw, const loci_bf16 *dy, int lddy,
                        const loci_bf16 *x, int ldx, int m)
{
    multiply(p, dw->data, dw->cols, dy, lddy, 1, x, ldx, 0, dw->rows, dw->cols, m, 1.0f, true);
}

loci_mat loci_gpu_qkv(const loci_layer_params *p)
{
    loci_mat m = p->q;
    m.rows +=
        p->kv.rows; /* declared one behind the other, and heads of 64 leave no padding between */
    return m;
}

/* ---- MLP --------------------------------------------------------------------------------------- */

void loci_gpu_mlp_forward(loci_gpu_pass *p, const loci_gpu_mlp *m)
{
    const int n = p->b.n, D = p->w->hp.d_model;
    loci_gpu_rmsnorm(p->g, m->xn, D, m->inv, p->h, D, n, D, p->w->hp.norm_eps);
    loci_gpu_linear(p, m->gu, 2 * m->F, m->xn, D, m->gate_up, n, 0.0f, false);
    loci_gpu_swiglu(p->g, p->s.wide, m->gu, n, m->F);
    loci_gpu_linear(p, p->h, D, p->s.wide, m->F, m->down, n, 1.0f, true);
}

/* Gradient of a norm whose output's gradient is s.narrow: onto dh, with its bf16 copy. */
static void norm_backward(loci_gpu_pass *p, const loci_bf16 *xn, const float *inv)
{
    const int D = p->w->hp.d_model;
    const loci_gpu_rmsnorm_grad j = { .dx = p->dh,
                                      .out = p->s.dh_half,
                                      .dy = p->s.narrow,
                                      .y = xn,
                                      .inv = inv,
                                      .lddx = D,
                                      .ldout = D,
                                      .lddy = D,
                                      .ldy = D,
                                      .rows = p->b.n,
                                      .cols = D };
    loci_gpu_rmsnorm_bwd(p->g, &j);
}

void loci_gpu_mlp_backward(loci_gpu_pass *p, const loci_gpu_mlp *m)
{
    const int n = p->b.n, D = p->w->hp.d_model, F = m->F;
    loci_gpu_linear_dx(p, p->s.wide, F, p->s.dh_half, D, m->down, n, 0.0f);
    loci_gpu_swiglu_bwd(p->g, m->gu, p->s.wide2, p->s.wide, n, F);
    loci_gpu_linear_dw(p, m->ddown, p->s.dh_half, D, p->s.wide2, F, n);
    loci_gpu_linear_dx(p, p->s.narrow, D, m->gu, 2 * F, m->gate_up, n, 0.0f);
    loci_gpu_linear_dw(p, m->dgate_up, m->gu, 2 * F, m->xn, D, n);
    norm_backward(p, m->xn, m->inv);
}

/* ---- the layer ----------------------------------------------------------------------------------- */

void loci_gpu_layer_plan(loci_gpu_layer_tape *t, loci_arena *a, const loci_hparams *hp, int n)
{
    const size_t N = (size_t)n, D = (size_t)hp->d_model, H = (size_t)hp->n_heads,
                 G = (size_t)hp->n_kv_heads;
    t->xn1 = loci_arena_take(a, N * D, 2);
    t->qkv = loci_arena_take(a, N * (H + 2 * G) * 64, 2);
    t->att = loci_arena_take(a, N * H * 64, 2);
    t->xn2 = loci_arena_take(a, N * D, 2);
    t->gu = loci_arena_take(a, N * 2 * (size_t)hp->ffn, 2);
    t->inv1 = loci_arena_take(a, N, 4);
    t->inv_qk = loci_arena_take(a, N * (H + G), 4);
    t->lse = loci_arena_take(a, N * H, 4);
    t->inv2 = loci_arena_take(a, N, 4);
    t->past = 0;
}

static loci_gpu_mlp layer_mlp(const loci_hparams *hp, const loci_layer_params *w,
                              const loci_layer_params *dw, const loci_gpu_layer_tape *t)
{
    return (loci_gpu_mlp){
        &w->gate_up, &w->down, dw ? &dw->gate_up : NULL, dw ? &dw->down : NULL, t->xn2, t->gu,
        t->inv2,     hp->ffn
    };
}

static loci_gpu_attn window_of(const loci_gpu_pass *p, const loci_gpu_layer_tape *t)
{
    const loci_hparams *hp = &p->w->hp;
    const int HD = hp->n_heads * 64, GD = hp->n_kv_heads * 64, ld = HD + 2 * GD;
    const loci_bf16 *first = t->qkv - (size_t)t->past * (size_t)ld;
    return (loci_gpu_attn){ .q = t->qkv,
                            .k = first + HD,
                            .v = first + HD + GD,
                            .o = t->att,
                            .lse = t->lse,
                            .lo = p->b.win_lo,
                            .hi = p->b.win_hi,
                            .qlo = p->b.win_qlo,
                            .qhi = p->b.win_qhi,
                            .ldq = ld,
                            .ldk = ld,
                            .ldv = ld,
                            .ldo = HD,
                            .n_q = p->b.n,
                            .n_k = t->past + p->b.n,
                            .heads = hp->n_heads,
                            .kv_heads = hp->n_kv_heads,
                            .scale = 0.125f };
}

void loci_gpu_layer_forward(loci_gpu_pass *p, const loci_layer_params *w, loci_gpu_layer_tape *t)
{
    const loci_hparams *hp = &p->w->hp;
    const int n = p->b.n, D = hp->d_model, HD = hp->n_heads * 64,
              heads = hp->n_heads + hp->n_kv_heads;
    const loci_mat qkv = loci_gpu_qkv(w);
    const loci_gpu_attn a = window_of(p, t);
    const loci_gpu_mlp mlp = layer_mlp(hp, w, NULL, t);
    loci_gpu_rmsnorm(p->g, t->xn1, D, t->inv1, p->h, D, n, D, hp->norm_eps);
    loci_gpu_linear(p, t->qkv, a.ldq, t->xn1, D, &qkv, n, 0.0f, false);
    loci_gpu_norm_rope(p->g, t->qkv, a.ldq, t->inv_qk, p->b.pos, p->frequency, heads, n,
                       hp->norm_eps);
    loci_gpu_attn_forward(p->g, &a);
    loci_gpu_linear(p, p->h, D, t->att, HD, &w->o, n, 1.0f, true);
    loci_gpu_mlp_forward(p, &mlp);
}

void loci_gpu_layer_backward(loci_gpu_pass *p, const loci_layer_params *w,
                             const loci_layer_params *dw, loci_gpu_layer_tape *t)
{
    const loci_hparams *hp = &p->w->hp;
    const int n = p->b.n, D = hp->d_model, HD = hp->n_heads * 64, GD = hp->n_kv_heads * 64;
    const loci_mat qkv = loci_gpu_qkv(w), dqkv = loci_gpu_qkv(dw);
    const loci_gpu_attn a = window_of(p, t);
    const loci_gpu_mlp mlp = layer_mlp(hp, w, dw, t);
    loci_gpu_mlp_backward(p, &mlp);

    loci_bf16 *datt = p->s.wide, *d = p->s.wide2;
    const loci_gpu_attn_grad grad = { .dout = datt,
                                      .dq = d,
                                      .dk = d + HD,
                                      .dv = d + HD + GD,
                                      .delta = p->s.delta,
                                      .lddo = HD,
                                      .lddq = a.ldq,
                                      .lddk = a.ldq,
                                      .lddv = a.ldq };
    loci_gpu_linear_dx(p, datt, HD, p->s.dh_half, D, &w->o, n, 0.0f);
    loci_gpu_linear_dw(p, &dw->o, p->s.dh_half, D, t->att, HD, n);
    loci_gpu_attn_backward(p->g, &a, &grad);
    loci_gpu_norm_rope_bwd(p->g, d, a.ldq, t->qkv, a.ldq, t->inv_qk, p->b.pos, p->frequency,
                           hp->n_heads + hp->n_kv_heads, n);
    loci_gpu_linear_dx(p, p->s.narrow, D, d, a.ldq, &qkv, n, 0.0f);
    loci_gpu_linear_dw(p, &dqkv, d, a.ldq, t->xn1, D, n);
    norm_backward(p, t->xn1, t->inv1);
}
