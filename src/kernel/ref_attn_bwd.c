/* ref_attn_bwd.c - gradients of attention, stated plainly.
 *
 *   P = w p,  dp = dout v^T,  ds = P (dp - D),  dq += scale ds k,  dk += scale ds^T q,
 *   dv += P^T dout
 *
 * Two walks, so that every output element is one double sum: over queries for dq (and dw), over
 * keys for dk and dv.  Probabilities are recomputed from the saved log-sum-exp. */
#include <math.h>
#include "kernel/kernel.h"

enum { DIM_MAX = 128 };

static double dot(const float *a, const float *b, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void add(double *acc, double a, const float *x, int n)
{
    for (int i = 0; i < n; i++) acc[i] += a * x[i];
}

static void flush(float *y, double scale, const double *acc, int n)
{
    for (int i = 0; i < n; i++) y[i] = (float)(y[i] + scale * acc[i]);
}

/* ---- the causal window ------------------------------------------------------------------ */

typedef struct {
    const float *q, *k, *v, *o, *dout, *lse;
    int ldq, ldkv, ldo, lddo, T, H, G, d, W;
    float scale;
} window;

/* p and ds of query t, head h and key row j. */
static double window_ds(const window *x, int t, int h, int j, double *p)
{
    const size_t head = (size_t)h * (size_t)x->d;
    const size_t kv = (size_t)j * (size_t)x->ldkv + (size_t)(h / (x->H / x->G)) * (size_t)x->d;
    const float *dout = x->dout + (size_t)t * (size_t)x->lddo + head; /* dout[t,h,:] */
    const float *q = x->q + (size_t)t * (size_t)x->ldq + head;        /* q[t,h,:]    */
    const float *o = x->o + (size_t)t * (size_t)x->ldo + head;        /* o[t,h,:]    */
    *p = exp(x->scale * dot(q, x->k + kv, x->d) - x->lse[(size_t)t * (size_t)x->H + (size_t)h]);
    return *p * (dot(dout, x->v + kv, x->d) - dot(dout, o, x->d));
}

static void window_dq(const window *x, float *dq, int lddq, int t, int h)
{
    const size_t head = (size_t)h * (size_t)x->d;
    const size_t group = (size_t)(h / (x->H / x->G)) * (size_t)x->d;
    double acc[DIM_MAX] = { 0 }, p;
    for (int j = x->W <= t ? t - x->W + 1 : 0; j <= t; j++)
        add(acc, window_ds(x, t, h, j, &p), x->k + (size_t)j * (size_t)x->ldkv + group, x->d);
    flush(dq + (size_t)t * (size_t)lddq + head, x->scale, acc, x->d);
}

static void window_dkv(const window *x, float *dk, float *dv, int lddkv, int j, int g)
{
    const int per = x->H / x->G;
    const size_t out = (size_t)j * (size_t)lddkv + (size_t)g * (size_t)x->d;
    double acc_k[DIM_MAX] = { 0 }, acc_v[DIM_MAX] = { 0 }, p;
    for (int t = j; t < x->T && t - j < x->W; t++)
        for (int h = g * per; h < (g + 1) * per; h++) {
            const size_t head = (size_t)h * (size_t)x->d;
            const double ds = window_ds(x, t, h, j, &p);
            add(acc_k, ds, x->q + (size_t)t * (size_t)x->ldq + head, x->d);
            add(acc_v, p, x->dout + (size_t)t * (size_t)x->lddo + head, x->d);
        }
    flush(dk + out, x->scale, acc_k, x->d);
    flush(dv + out, 1.0, acc_v, x->d);
}

void loci_window_attn_bwd_ref(float *dq, int lddq, float *dk, float *dv, int lddkv,
                              const float *dout, int lddo, const float *q, int ldq, const float *k,
                              const float *v, int ldkv, const float *o, int ldo, const float *lse,
                              int T, int H, int G, int d, int W, float scale)
{
    const window x = { q, k, v, o, dout, lse, ldq, ldkv, ldo, lddo, T, H, G, d, W, scale };
    for (int t = 0; t < T; t++)
        for (int h = 0; h < H; h++) window_dq(&x, dq, lddq, t, h);
    for (int j = 0; j < T; j++)
        for (int g = 0; g < G; g++) window_dkv(&x, dk, dv, lddkv, j, g);
}

/* ---- one chunk -------------------------------------------------------------------------- */

void loci_chunk_attn_bwd_ref(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                             float *dw, const float *dout, int lddo, const float *q, int ldq,
                             const float *k, int ldk, const float *v, int ldv, const float *lse,
                             const float *w, const float *delta, int rows, int n, int d_k, int d_v,
                             float scale)
{
#define ROW(x, r) (x + (size_t)(r) * (size_t)ld##x)
#define P(r, j)   exp(scale *dot(ROW(q, r), ROW(k, j), d_k) - lse[r])
    const int lddout = lddo; /* for ROW */
    for (int r = 0; r < rows; r++) {
        double acc[DIM_MAX] = { 0 }, sum = 0.0;
        for (int j = 0; j < n; j++) sum += P(r, j) * dot(ROW(dout, r), ROW(v, j), d_v);
        /* dw is exact in double here; the key walk below reads it back rounded to f32. */
        for (int j = 0; j < n; j++) {
            const double dp = dot(ROW(dout, r), ROW(v, j), d_v);
            add(acc, (w ? w[r] : 1.0) * P(r, j) * (dp - (delta ? delta[r] : sum)), ROW(k, j), d_k);
        }
        dw[r] = (float)sum;
        flush(ROW(dq, r), scale, acc, d_k);
    }
    for (int j = 0; j < n; j++) {
        double acc_k[DIM_MAX] = { 0 }, acc_v[DIM_MAX] = { 0 };
        for (int r = 0; r < rows; r++) {
            const double p = (w ? w[r] : 1.0) * P(r, j);
            const double dp = dot(ROW(dout, r), ROW(v, j), d_v);
            add(acc_k, p * (dp - (delta ? delta[r] : dw[r])), ROW(q, r), d_k);
            add(acc_v, p, ROW(dout, r), d_v);
        }
        flush(ROW(dk, j), scale, acc_k, d_k);
        flush(ROW(dv, j), 1.0, acc_v, d_v);
    }
#undef P
#undef ROW
}
