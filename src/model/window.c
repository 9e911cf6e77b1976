/* window.c - one transformer layer: attention over the last W tokens, then a gated MLP.
 *
 *   a = rms(x)                                       xn1 (T, D), inv1 (T)
 *   q = rope(rms_head(a Wq^T))                       q (T, H*64), invq (T, H)
 *   k = rope(rms_head(a Wk^T)),  v = a Wv^T          k, v (T, G*64), invk (T, G)
 *   att = softmax(q k^T / 8) v, causal, last W       att (T, H*64), lse (T, H)
 *   x += att Wo^T
 *   x += (silu(b) * c) Wdown^T,  [b c] = rms(x) Wgu^T    xn2 (T, D), inv2 (T), gu (T, 2F)
 *
 * A rotation commutes with the norm's gradient: with y = rms(x), yr = R y and the gradient dyr,
 *   dx = inv (R' dyr - y <R' dyr, y>/64) = R' [ inv (dyr - yr <dyr, yr>/64) ],
 * so the rotated rows are all that the tape keeps of q and k.
 *
 * Documents never see each other: positions restart and attention runs per document, while the
 * products run over all rows of a sequence at once. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

void loci_rope_plan(loci_rope_table *r, loci_arena *a, int n_pos)
{
    r->cos = loci_arena_take(a, (size_t)n_pos * 32, sizeof *r->cos);
    r->sin = loci_arena_take(a, (size_t)n_pos * 32, sizeof *r->sin);
    r->n_pos = n_pos;
}

void loci_rope_fill(loci_rope_table *r, float base, int d_head)
{
    const int half = d_head / 2;
    for (int i = 0; i < half; i++) {
        const double f = pow((double)base, -2.0 * i / d_head);
        for (int p = 0; p < r->n_pos; p++) {
            r->cos[(size_t)p * (size_t)half + (size_t)i] = (float)cos(p * f);
            r->sin[(size_t)p * (size_t)half + (size_t)i] = (float)sin(p * f);
        }
    }
}

void loci_window_plan_with(loci_window_tape *t, loci_arena *a, const loci_hparams *hp, int T,
                           float *act)
{
    const size_t n = (size_t)T, D = (size_t)hp->d_model, HD = (size_t)(hp->n_heads * hp->d_head);
    t->xn1 = loci_arena_take(a, n * D, sizeof(float));
    t->inv1 = loci_arena_take(a, n, sizeof(float));
    t->q = loci_arena_take(a, n * HD, sizeof(float));
    t->invq = loci_arena_take(a, n * (size_t)hp->n_heads, sizeof(float));
    t->invk = loci_arena_take(a, n * (size_t)hp->n_kv_heads, sizeof(float));
    t->att = loci_arena_take(a, n * HD, sizeof(float));
    t->lse = loci_arena_take(a, n * (size_t)hp->n_heads, sizeof(float));
    t->xn2 = loci_arena_take(a, n * D, sizeof(float));
    t->inv2 = loci_arena_take(a, n, sizeof(float));
    t->gu = loci_arena_take(a, n * 2 * (size_t)hp->ffn, sizeof(float));
    t->act = act;
}

void loci_window_plan(loci_window_tape *t, loci_arena *a, const loci_hparams *hp, int T)
{
    float *act = loci_arena_take(a, (size_t)T * (size_t)hp->ffn, sizeof(float));
    loci_window_plan_with(t, a, hp, T, act);
}

/* The tape from row `row` on. */
static loci_window_tape tape_rows(const loci_window_tape *t, const loci_hparams *hp, int row)
{
    const size_t r = (size_t)row, D = (size_t)hp->d_model, HD = (size_t)(hp->n_heads * hp->d_head);
    loci_window_tape s = *t;
    s.xn1 += r * D;
    s.inv1 += r;
    s.q += r * HD;
    s.invq += r * (size_t)hp->n_heads;
    s.invk += r * (size_t)hp->n_kv_heads;
    s.att += r * HD;
    s.lse += r * (size_t)hp->n_heads;
    s.xn2 += r * D;
    s.inv2 += r;
    s.gu += r * 2 * (size_t)hp->ffn;
    s.act += r * (size_t)hp->ffn;
    return s;
}

/* Normalise every head of x (n, heads*d_head) and rotate it. */
static void norm_rotate(const loci_model *m, float *x, float *inv, const int32_t *pos,
                        const loci_rope_table *rope, int heads, int n)
{
    const int dh = m->hp.d_head;
    m->k.rmsnorm(x, dh, inv, x, dh, n * heads, dh, m->hp.norm_eps);
    m->k.rope(x, heads * dh, pos, rope->cos, rope->sin, n, heads, dh, 1);
}

/* x (n, D) -> q in the tape, k and v (n, G*64) in place. */
void loci_window_project(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                         const float *x, const int32_t *pos, const loci_rope_table *rope, float *k,
                         float *v, int n)
{
    const loci_hparams *hp = &m->hp;
    const int D = hp->d_model, HD = hp->n_heads * hp->d_head, GD = hp->n_kv_heads * hp->d_head;
    const loci_mat wk = loci_mat_rows(&p->kv, 0, GD), wv = loci_mat_rows(&p->kv, GD, GD);
    m->k.rmsnorm(t->xn1, D, t->inv1, x, D, n, D, hp->norm_eps);
    const loci_product qkv[] = { { &p->q, t->q, HD }, { &wk, k, GD }, { &wv, v, GD } };
    loci_linear_all(m, qkv, 3, t->xn1, D, n);
    norm_rotate(m, t->q, t->invq, pos, rope, hp->n_heads, n);
    norm_rotate(m, k, t->invk, pos, rope, hp->n_kv_heads, n);
}

/* Rows 0..n of the tape against k, v that hold `past` rows before them. */
static void attend(const loci_model *m, loci_window_tape *t, const float *k, const float *v,
                   int past, int n)
{
    const loci_hparams *hp = &m->hp;
    const int HD = hp->n_heads * hp->d_head, GD = hp->n_kv_heads * hp->d_head;
    m->k.window_attn(t->att, HD, t->lse, t->q, HD, k, v, GD, n, past, hp->n_heads, hp->n_kv_heads,
                     hp->d_head, hp->window, 1.0f / sqrtf((float)hp->d_head));
}

/* The layer after attention: x += att Wo^T, then the MLP. */
void loci_window_finish(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                        float *x, int n)
{
    const loci_hparams *hp = &m->hp;
    const int D = hp->d_model, F = hp->ffn;
    /* bf16 and int8 may add by way of xn2: they have no backward pass that would want it. */
    loci_linear_add(m, x, t->xn2, t->att, &p->o, n);
    m->k.rmsnorm(t->xn2, D, t->inv2, x, D, n, D, hp->norm_eps);
    loci_linear(m, t->gu, 2 * F, t->xn2, D, &p->gate_up, n);
    m->k.swiglu(t->act, F, t->gu, 2 * F, n, F);
    loci_linear_add(m, x, t->xn2, t->act, &p->down, n);
}

void loci_window_forward(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                         int row0, float *x, const int32_t *pos, const loci_rope_table *rope,
                         float *k, float *v, int past, int n)
{
    const size_t GD = (size_t)(m->hp.n_kv_heads * m->hp.d_head);
    loci_window_tape s = tape_rows(t, &m->hp, row0);
    loci_window_project(m, p, &s, x, pos, rope, k + (size_t)past * GD, v + (size_t)past * GD, n);
    attend(m, &s, k, v, past, n);
    loci_window_finish(m, p, &s, x, n);
}

void loci_window_forward_docs(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                              float *x, const int32_t *pos, const loci_rope_table *rope, float *k,
                              float *v, const int32_t *doc, int n_docs)
{
    const size_t GD = (size_t)(m->hp.n_kv_heads * m->hp.d_head);
    const int n = doc[n_docs];
    loci_window_project(m, p, t, x, pos, rope, k, v, n);
    for (int d = 0; d < n_docs; d++) {
        loci_window_tape s = tape_rows(t, &m->hp, doc[d]);
        const size_t at = (size_t)doc[d] * GD;
        attend(m, &s, k + at, v + at, 0, doc[d + 1] - doc[d]);
    }
    loci_window_finish(m, p, t, x, n);
}

/* ---- backward ------------------------------------------------------------------------- */

/* Pieces of the scratch of the backward pass, all for n rows. */
typedef struct {
    float *wide; /* (n, max(F, H*64)): dact, then datt, then dq */
    float *dgu;  /* (n, 2F), then dq (n, H*64)                  */
    float *dxn;  /* (n, D)                                      */
} backward_scratch;

static void backward_carve(backward_scratch *b, loci_arena *a, const loci_hparams *hp, int n)
{
    const int HD = hp->n_heads * hp->d_head, F = hp->ffn;
    const size_t T = (size_t)n;
    b->wide = loci_arena_take(a, T * (size_t)(F > HD ? F : HD), sizeof(float));
    b->dgu = loci_arena_take(a, T * (size_t)(2 * F > HD ? 2 * F : HD), sizeof(float));
    b->dxn = loci_arena_take(a, T * (size_t)hp->d_model, sizeof(float));
}

size_t loci_window_backward_scratch(const loci_hparams *hp, int T)
{
    loci_arena a = { 0 };
    backward_scratch b;
    backward_carve(&b, &a, hp, T);
    return a.used / sizeof(float);
}

/* dx += the MLP's share. */
static void mlp_backward(const loci_model *m, const loci_layer_params *p, loci_layer_params *g,
                         const loci_window_tape *t, float *dx, const backward_scratch *b, int n)
{
    const int D = m->hp.d_model, F = m->hp.ffn;
    m->k.swiglu(t->act, F, t->gu, 2 * F, n, F); /* cheaper again than kept for every layer */
    loci_linear_bwd(&m->k, b->wide, F, 0.0f, &g->down, dx, D, t->act, F, &p->down, n);
    m->k.swiglu_bwd(b->dgu, 2 * F, b->wide, F, t->gu, 2 * F, n, F);
    loci_linear_bwd(&m->k, b->dxn, D, 0.0f, &g->gate_up, b->dgu, 2 * F, t->xn2, D, &p->gate_up, n);
    m->k.rmsnorm_bwd(dx, D, b->dxn, D, t->xn2, D, t->inv2, n, D);
}

/* Gradient of norm_rotate: d (n, heads*d_head) of the rotated rows becomes that of the raw ones,
 * in out (cleared here). */
static void norm_rotate_backward(const loci_model *m, float *out, const float *d, const float *y,
                                 const float *inv, const int32_t *pos, const loci_rope_table *rope,
                                 int heads, int n)
{
    const int dh = m->hp.d_head;
    memset(out, 0, (size_t)n * (size_t)(heads * dh) * sizeof *out);
    m->k.rmsnorm_bwd(out, dh, d, dh, y, dh, inv, n * heads, dh);
    m->k.rope(out, heads * dh, pos, rope->cos, rope->sin, n, heads, dh, -1);
}

void loci_window_backward_docs(const loci_model *m, const loci_layer_params *p,
                               loci_layer_params *g, const loci_window_tape *t, float *dx,
                               const int32_t *pos, const loci_rope_table *rope, const float *k,
                               const float *v, float *dk, float *dv, float *scratch,
                               const int32_t *doc, int n_docs)
{
    const loci_hparams *hp = &m->hp;
    const int D = hp->d_model, H = hp->n_heads, G = hp->n_kv_heads, dh = hp->d_head;
    const int HD = H * dh, GD = G * dh, n = doc[n_docs];
    const size_t kv_bytes = (size_t)n * (size_t)GD * sizeof(float);
    const size_t bytes = loci_window_backward_scratch(hp, n) * sizeof(float);
    loci_arena a = { (unsigned char *)scratch, bytes, 0 };
    backward_scratch b;
    backward_carve(&b, &a, hp, n);
    mlp_backward(m, p, g, t, dx, &b, n);

    float *datt = b.wide, *dq = b.dgu;
    loci_linear_bwd(&m->k, datt, HD, 0.0f, &g->o, dx, D, t->att, HD, &p->o, n);
    memset(dq, 0, (size_t)n * (size_t)HD * sizeof *dq);
    memset(dk, 0, kv_bytes);
    memset(dv, 0, kv_bytes);
    for (int d = 0; d < n_docs; d++) {
        const size_t r = (size_t)doc[d], q0 = r * (size_t)HD, k0 = r * (size_t)GD;
        m->k.window_attn_bwd(dq + q0, HD, dk + k0, dv + k0, GD, datt + q0, HD, t->q + q0, HD,
                             k + k0, v + k0, GD, t->att + q0, HD, t->lse + r * (size_t)H,
                             doc[d + 1] - doc[d], H, G, dh, hp->window, 1.0f / sqrtf((float)dh));
    }
    const loci_mat wk = loci_mat_rows(&p->kv, 0, GD), wv = loci_mat_rows(&p->kv, GD, GD);
    loci_mat gk = loci_mat_rows(&g->kv, 0, GD), gv = loci_mat_rows(&g->kv, GD, GD);
    float *raw = b.wide; /* datt is spent */
    norm_rotate_backward(m, raw, dq, t->q, t->invq, pos, rope, H, n);
    loci_linear_bwd(&m->k, b.dxn, D, 0.0f, &g->q, raw, HD, t->xn1, D, &p->q, n);
    norm_rotate_backward(m, raw, dk, k, t->invk, pos, rope, G, n);
    loci_linear_bwd(&m->k, b.dxn, D, 1.0f, &gk, raw, GD, t->xn1, D, &wk, n);
    loci_linear_bwd(&m->k, b.dxn, D, 1.0f, &gv, dv, GD, t->xn1, D, &wv, n);
    m->k.rmsnorm_bwd(dx, D, b.dxn, D, t->xn1, D, t->inv1, n, D);
}

void loci_window_backward(const loci_model *m, const loci_layer_params *p, loci_layer_params *g,
                          const loci_window_tape *t, int row0, float *dx, const int32_t *pos,
                          const loci_rope_table *rope, const float *k, const float *v, float *dk,
                          float *dv, float *scratch, int n)
{
    const loci_window_tape s = tape_rows(t, &m->hp, row0);
    const int32_t doc[2] = { 0, n };
    loci_window_backward_docs(m, p, g, &s, dx, pos, rope, k, v, dk, dv, scratch, doc, 1);
}
