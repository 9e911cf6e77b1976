/* mixer.c - the hyper-connection streams: how a sublayer's input is mixed from n residual streams,
 * and how its output and the streams make the next ones.
 *
 *   v = X_0 .. X_{n-1} in one row (nD);  m = (fn v) / rms(v)
 *   pre_i  = sigmoid(m_i scale_0 + base_i) + eps            post_i = 2 sigmoid(m_{n+i} scale_1 + ..)
 *   Z_jk   = m_{2n + nj + k} scale_2 + base_..              C = softmax over k of Z, + eps
 *   then column, row, column, ... : each sum + eps divides, `iters` columns and iters - 1 rows
 *   x = sum_s pre_s X_s                                     X'_k = post_k y + sum_j C_jk X_j
 *
 * C is doubly stochastic but not symmetric: stream k receives column k.  All of it in f32. */
#include "model/dsv4/dsv4_impl.h"

#include <math.h>

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* sc.mix (T, rows of fn) = (fn v) / rms(v). */
static void project(loci_dsv4_seq *s, const loci_dsv4_mixer *w, const float *X, int T)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const size_t wide = (size_t)hp->streams * (size_t)hp->hidden;
    const int rows = w->fn.rows;
    dsv4_linear(s, s->sc.mix, rows, X, (int)wide, &w->fn, T, false);
    for (int t = 0; t < T; t++) {
        const float *v = X + (size_t)t * wide;
        const double square = s->m->k.dot(v, v, wide) / (double)wide;
        const float inv = (float)(1.0 / sqrt(square + (double)hp->norm_eps));
        for (int i = 0; i < rows; i++) s->sc.mix[(size_t)t * (size_t)rows + (size_t)i] *= inv;
    }
}

static void divide_columns(float *c, int n, float eps)
{
    for (int k = 0; k < n; k++) {
        float sum = eps;
        for (int j = 0; j < n; j++) sum += c[j * n + k];
        for (int j = 0; j < n; j++) c[j * n + k] /= sum;
    }
}

static void divide_rows(float *c, int n, float eps)
{
    for (int j = 0; j < n; j++) {
        float sum = eps;
        for (int k = 0; k < n; k++) sum += c[j * n + k];
        for (int k = 0; k < n; k++) c[j * n + k] /= sum;
    }
}

/* c (n, n): softmax of each row, then towards equal sums of columns and rows. */
static void sinkhorn(float *c, int n, float eps, int iters)
{
    for (int j = 0; j < n; j++) {
        float *row = c + j * n, max = row[0], sum = 0.0f;
        for (int k = 1; k < n; k++) max = fmaxf(max, row[k]);
        for (int k = 0; k < n; k++) sum += row[k] = expf(row[k] - max);
        for (int k = 0; k < n; k++) row[k] = row[k] / sum + eps;
    }
    divide_columns(c, n, eps);
    for (int i = 1; i < iters; i++) {
        divide_rows(c, n, eps);
        divide_columns(c, n, eps);
    }
}

void dsv4_mix(loci_dsv4_seq *s, const loci_dsv4_mixer *w, const float *X, int T)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const int n = hp->streams, rows = (2 + n) * n;
    project(s, w, X, T);
    for (int t = 0; t < T; t++) {
        const float *mix = s->sc.mix + (size_t)t * (size_t)rows;
        float *pre = s->sc.pre + t * n, *post = s->sc.post + t * n, *c = s->sc.comb + t * n * n;
        for (int i = 0; i < n; i++) {
            pre[i] = sigmoid(mix[i] * w->scale[0] + w->base[i]) + hp->hc_eps;
            post[i] = 2.0f * sigmoid(mix[n + i] * w->scale[1] + w->base[n + i]);
        }
        for (int i = 0; i < n * n; i++) c[i] = mix[2 * n + i] * w->scale[2] + w->base[2 * n + i];
        sinkhorn(c, n, hp->hc_eps, hp->sinkhorn_iters);
    }
}

void dsv4_mix_head(loci_dsv4_seq *s, const loci_dsv4_mixer *w, const float *X, int T)
{
    const int n = s->m->hp.streams;
    project(s, w, X, T);
    for (int i = 0; i < T * n; i++)
        s->sc.pre[i] = sigmoid(s->sc.mix[i] * w->scale[0] + w->base[i % n]) + s->m->hp.hc_eps;
}

void dsv4_collapse(loci_dsv4_seq *s, float *x, const float *X, int T)
{
    const int n = s->m->hp.streams, D = s->m->hp.hidden;
    for (int t = 0; t < T; t++) {
        float *row = x + (size_t)t * (size_t)D;
        const float *streams = X + (size_t)t * (size_t)(n * D), *pre = s->sc.pre + t * n;
        for (int i = 0; i < D; i++) row[i] = pre[0] * streams[i];
        for (int j = 1; j < n; j++)
            for (int i = 0; i < D; i++) row[i] += pre[j] * streams[j * D + i];
    }
    dsv4_round(s->m, x, (size_t)T * (size_t)D);
}

void dsv4_expand(loci_dsv4_seq *s, float *X, const float *y, int T)
{
    const int n = s->m->hp.streams, D = s->m->hp.hidden;
    for (int t = 0; t < T; t++) {
        float *streams = X + (size_t)t * (size_t)(n * D);
        const float *row = y + (size_t)t * (size_t)D;
        const float *post = s->sc.post + t * n, *c = s->sc.comb + t * n * n;
        for (int i = 0; i < D; i++) {
            float old[LOCI_DSV4_MAX_STREAMS];
            for (int j = 0; j < n; j++) old[j] = streams[j * D + i];
            for (int k = 0; k < n; k++) {
                float sum = post[k] * row[i];
                for (int j = 0; j < n; j++) sum += c[j * n + k] * old[j];
                streams[k * D + i] = sum;
            }
        }
    }
    dsv4_round(s->m, X, (size_t)T * (size_t)(n * D));
}
