/* mix.c - what a Read block does with the vectors it has read.
 *
 *   h += (g o) Wo^T                                    g (n) gate, o (n, HB*d_value)
 *   h += (silu(b) * c) Wdown^T,  [b c] = rms(h) Wgu^T
 *
 * and the two small projections at its other end: read queries and the norm of their heads. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

float loci_read_scale(const loci_hparams *hp)
{
    return 2.0f /
           sqrtf((float)hp->d_key); /* unit-rms keys: twice as sharp as usual from the start */
}

void loci_read_heads(const loci_model *m, const loci_read_params *p, float *q, float *inv,
                     const float *xn, int n)
{
    const int D = m->hp.d_model, HB = m->hp.read_heads, dk = m->hp.d_key;
    loci_linear(m, q, HB * dk, xn, D, &p->q, n);
    m->k.rmsnorm(q, dk, inv, q, dk, n * HB, dk, m->hp.norm_eps);
}

size_t loci_mix_act(const loci_hparams *hp, int n)
{
    const int wide = hp->read_heads * hp->d_value;
    return (size_t)n * (size_t)(hp->read_mlp > wide ? hp->read_mlp : wide);
}

void loci_mix_plan_with(loci_mix_tape *t, loci_arena *a, const loci_hparams *hp, int n, float *act)
{
    const size_t rows = (size_t)n, f = sizeof(float);
    t->xn = loci_arena_take(a, rows * (size_t)hp->d_model, f);
    t->inv = loci_arena_take(a, rows, f);
    t->gu = loci_arena_take(a, rows * 2 * (size_t)hp->read_mlp, f);
    t->act = act;
}

void loci_mix_plan(loci_mix_tape *t, loci_arena *a, const loci_hparams *hp, int n)
{
    float *act = loci_arena_take(a, loci_mix_act(hp, n), sizeof(float));
    loci_mix_plan_with(t, a, hp, n, act);
}

/* out[t,:] = gate[t] x[t,:] */
static void scale_rows(float *out, const float *x, const float *gate, int n, int cols)
{
    for (int t = 0; t < n; t++) {
        const size_t at = (size_t)t * (size_t)cols;
        for (int i = 0; i < cols; i++) out[at + (size_t)i] = gate[t] * x[at + (size_t)i];
    }
}

void loci_mix_forward(const loci_model *m, const loci_read_params *p, loci_mix_tape *t, float *h,
                      const float *o, const float *gate, int first, int n)
{
    const int D = m->hp.d_model, R = m->hp.read_mlp, wide = m->hp.read_heads * m->hp.d_value;
    const size_t f = (size_t)first;
    if (first < n) {
        scale_rows(t->act, o + f * (size_t)wide, gate + f, n - first, wide);
        loci_linear_add(m, h + f * (size_t)D, t->xn, t->act, &p->o, n - first);
    }
    m->k.rmsnorm(t->xn, D, t->inv, h, D, n, D, m->hp.norm_eps);
    loci_linear(m, t->gu, 2 * R, t->xn, D, &p->gate_up, n);
    m->k.swiglu(t->act, R, t->gu, 2 * R, n, R);
    loci_linear_add(m, h, t->xn, t->act, &p->down, n);
}

/* ---- backward --------------------------------------------------------------------------- */

typedef struct {
    float *dact, *dgu, *dxn; /* (n, R) (n, 2R) (n, D) */
} mix_scratch;

static void scratch_carve(mix_scratch *s, loci_arena *a, const loci_hparams *hp, int n)
{
    const size_t rows = (size_t)n, R = (size_t)hp->read_mlp;
    s->dact = loci_arena_take(a, rows * R, sizeof(float));
    s->dgu = loci_arena_take(a, rows * 2 * R, sizeof(float));
    s->dxn = loci_arena_take(a, rows * (size_t)hp->d_model, sizeof(float));
}

size_t loci_mix_scratch(const loci_hparams *hp, int n)
{
    loci_arena a = { 0 };
    mix_scratch s;
    scratch_carve(&s, &a, hp, n);
    return a.used / sizeof(float);
}

void loci_mix_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                       loci_mix_tape *t, float *dh, float *d_o, float *d_gate, const float *o,
                       const float *gate, float *scratch, int first, int n)
{
    const int D = m->hp.d_model, R = m->hp.read_mlp, wide = m->hp.read_heads * m->hp.d_value;
    const size_t f = (size_t)first, w = (size_t)wide;
    loci_arena a = { (unsigned char *)scratch, loci_mix_scratch(&m->hp, n) * sizeof(float), 0 };
    mix_scratch b;
    scratch_carve(&b, &a, &m->hp, n);

    m->k.swiglu(t->act, R, t->gu, 2 * R, n, R);
    loci_linear_bwd(&m->k, b.dact, R, 0.0f, &g->down, dh, D, t->act, R, &p->down, n);
    m->k.swiglu_bwd(b.dgu, 2 * R, b.dact, R, t->gu, 2 * R, n, R);
    loci_linear_bwd(&m->k, b.dxn, D, 0.0f, &g->gate_up, b.dgu, 2 * R, t->xn, D, &p->gate_up, n);
    m->k.rmsnorm_bwd(dh, D, b.dxn, D, t->xn, D, t->inv, n, D);
    if (first >= n) return;

    scale_rows(t->act, o + f * w, gate + f, n - first, wide);
    loci_linear_bwd(&m->k, d_o + f * w, wide, 0.0f, &g->o, dh + f * (size_t)D, D, t->act, wide,
                    &p->o, n - first);
    for (int r = first; r < n; r++)
        d_gate[r] = (float)m->k.dot(d_o + (size_t)r * w, o + (size_t)r * w, w);
    scale_rows(d_o + f * w, d_o + f * w, gate + f, n - first, wide);
}
