/* order.c - which of several chunks that speak of one thing: the heads' own weights of a query's picks,
 * by how many relevant picks are older and how many are newer.
 *
 *   r_i = min(1, 10 w_i / max_j w_j)                    w_i: the router's weight of pick i, oldest first
 *   a_i = sum_{j<i} r_j,   b_i = sum_{j>i} r_j          relevant picks before it and behind it
 *   phi_i = [hat_0(a_i) .. hat_3(a_i) ; hat_0(b_i) .. hat_3(b_i)]
 *           hat_k(x) = max(0, 1 - |x - k|); hat_3 stays 1 beyond 3
 *   c_h = rows of x W_order^T                           (heads, 8), a query's own
 *   w_hi = (sum_j w_j) w_i exp <c_h, phi_i> / sum_j w_j exp <c_h, phi_j>
 *   o_h = sum_i w_hi (a_hi + phi_i E)                   instead of sum_i w_i (a_hi + rank_i)
 *
 * One weight for all heads makes a sum in which "the value" and "it came last" no longer belong
 * together: the latest value, the second of three, a list in order were guesses.  With W_order = E = 0,
 * as at the start, the heads weigh as the router does.  phi is not differentiated: it counts.
 *
 * Without order the picks of all heads have the router's weights and a rank_i each, below. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { F = LOCI_ORDER, HATS = F / 2 };
static const float RELEVANT = 0.1f; /* of the largest weight: a tenth counts as one */

static void hats(float hat[HATS], float x)
{
    for (int k = 0; k < HATS; k++) hat[k] = fmaxf(0.0f, 1.0f - fabsf(x - (float)k));
    if (x > (float)(HATS - 1)) hat[HATS - 1] = 1.0f;
}

void loci_order_features(float *phi, const float *w, int n)
{
    float top = 0.0f, older = 0.0f, all = 0.0f;
    float r[LOCI_MAX_PICKS];
    for (int i = 0; i < n; i++) top = fmaxf(top, w[i]);
    for (int i = 0; i < n; i++) {
        r[i] = top > 0.0f ? fminf(1.0f, w[i] / (RELEVANT * top)) : 1.0f;
        all += r[i];
    }
    for (int i = 0; i < n; i++) {
        hats(phi + i * F, older);
        older += r[i];
        hats(phi + i * F + HATS, fmaxf(0.0f, all - older));
    }
}

void loci_order_weights(float *head_w, const float *w, const float *phi, const float *c, int n,
                        int heads)
{
    float z[LOCI_MAX_PICKS];
    for (int h = 0; h < heads; h++) {
        float top = -INFINITY, mass = 0.0f, sum = 0.0f;
        for (int i = 0; i < n; i++) {
            z[i] = 0.0f;
            for (int f = 0; f < F; f++) z[i] += c[h * F + f] * phi[i * F + f];
            top = fmaxf(top, z[i]);
        }
        for (int i = 0; i < n; i++) {
            mass += w[i];
            sum += z[i] = w[i] * expf(z[i] - top);
        }
        for (int i = 0; i < n; i++) head_w[i * heads + h] = sum > 0.0f ? mass * z[i] / sum : w[i];
    }
}

/* share (heads, 8) = sum_i head_w_i phi_i */
static void shares(float *share, const float *head_w, const float *phi, int n, int heads)
{
    memset(share, 0, (size_t)(heads * F) * sizeof *share);
    for (int i = 0; i < n; i++)
        for (int h = 0; h < heads; h++)
            for (int f = 0; f < F; f++) share[h * F + f] += head_w[i * heads + h] * phi[i * F + f];
}

void loci_order_marks(const loci_model *m, const loci_read_params *p, float *o, const float *head_w,
                      const float *phi, int n)
{
    const int HB = m->hp.read_heads, dv = m->hp.d_value;
    float share[LOCI_MAX_READ_HEADS * F];
    shares(share, head_w, phi, n, HB);
    for (int h = 0; h < HB; h++)
        for (int f = 0; f < F; f++)
            m->k.axpy(o + (size_t)(h * dv), (const float *)p->mark.data + (size_t)(f * dv),
                      share[h * F + f], (size_t)dv);
}

/* ---- training: rows t->first .. T - 1 of a tape ---------------------------------------------- */

void loci_order_forward(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T)
{
    const int HB = m->hp.read_heads, K = m->hp.top_k, wide = HB * F;
    const size_t f = (size_t)t->first;
    loci_linear(m, t->order + f * (size_t)wide, wide, t->xn + f * (size_t)m->hp.d_model,
                m->hp.d_model, &p->order, T - t->first);
    for (int r = t->first; r < T; r++) {
        const size_t at = (size_t)r * (size_t)K;
        loci_order_features(t->phi + at * F, t->w + at, t->n_pick[r]);
        loci_order_weights(t->head_w + at * (size_t)HB, t->w + at, t->phi + at * F,
                           t->order + (size_t)(r * wide), t->n_pick[r], HB);
    }
}

void loci_order_add(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T)
{
    const int HB = m->hp.read_heads, dv = m->hp.d_value, K = m->hp.top_k;
    for (int r = t->first; r < T; r++) {
        const size_t at = (size_t)r * (size_t)K;
        loci_order_marks(m, p, t->o + (size_t)(r * HB * dv), t->head_w + at * (size_t)HB,
                         t->phi + at * F, t->n_pick[r]);
    }
}

/* Of one row: dmark (8, dv) +=, dhead_w (n, heads) += what the marks say. */
static void marks_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                           float *dhead_w, const float *d_o, const float *head_w, const float *phi,
                           int n)
{
    const int HB = m->hp.read_heads, dv = m->hp.d_value;
    float share[LOCI_MAX_READ_HEADS * F];
    shares(share, head_w, phi, n, HB);
    for (int h = 0; h < HB; h++)
        for (int f = 0; f < F; f++) {
            const float *d = d_o + (size_t)(h * dv);
            const size_t row = (size_t)(f * dv);
            const float dshare = (float)m->k.dot(d, (const float *)p->mark.data + row, (size_t)dv);
            m->k.axpy((float *)g->mark.data + row, d, share[h * F + f], (size_t)dv);
            for (int i = 0; i < n; i++) dhead_w[i * HB + h] += dshare * phi[i * F + f];
        }
}

/* Of one row: dw (n) and dc (heads, 8) written. */
static void weights_backward(float *dw, float *dc, const float *dhead_w, const float *head_w,
                             const float *w, const float *phi, int n, int heads)
{
    float mass = 0.0f;
    memset(dc, 0, (size_t)(heads * F) * sizeof *dc);
    for (int i = 0; i < n; i++) mass += w[i], dw[i] = 0.0f;
    for (int h = 0; h < heads; h++) {
        float mean = 0.0f;
        for (int i = 0; i < n; i++)
            mean += mass > 0.0f ? dhead_w[i * heads + h] * head_w[i * heads + h] / mass : 0.0f;
        for (int i = 0; i < n; i++) {
            const float x = head_w[i * heads + h], d = dhead_w[i * heads + h] - mean;
            dw[i] += mean + (w[i] > 0.0f ? d * x / w[i] : 0.0f);
            for (int f = 0; f < F; f++) dc[h * F + f] += d * x * phi[i * F + f];
        }
    }
}

void loci_order_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                         loci_read_tape *t, int T, const float *d_o, float *dhead_w, float *dw)
{
    const int HB = m->hp.read_heads, K = m->hp.top_k;
    for (int r = t->first; r < T; r++) {
        const size_t at = (size_t)r * (size_t)K, heads = at * (size_t)HB;
        const int n = t->n_pick[r];
        marks_backward(m, p, g, dhead_w + heads, d_o + (size_t)(r * HB * m->hp.d_value),
                       t->head_w + heads, t->phi + at * F, n);
        weights_backward(dw + at, t->order + (size_t)(r * HB * F), dhead_w + heads,
                         t->head_w + heads, t->w + at, t->phi + at * F, n, HB);
    }
}

/* ---- without order: rank_i, one weight for all heads --------------------------------------------- */

void loci_ranks_add(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T,
                    float *ranks)
{
    const int HB = m->hp.read_heads, dv = m->hp.d_value, K = m->hp.top_k;
    const size_t f = (size_t)t->first;
    m->k.gemm(ranks, dv, t->w + f * (size_t)K, K, 0, p->rank.data, dv, 0, T - t->first, dv, K,
              0.0f);
    for (int r = t->first; r < T; r++)
        for (int h = 0; h < HB; h++)
            m->k.axpy(t->o + (size_t)(r * HB + h) * (size_t)dv,
                      ranks + (size_t)(r - t->first) * (size_t)dv, 1.0f, (size_t)dv);
}

void loci_ranks_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                         loci_read_tape *t, int T, const float *d_o, float *ranks, float *dw)
{
    const int HB = m->hp.read_heads, dv = m->hp.d_value, K = m->hp.top_k, n = T - t->first;
    const size_t f = (size_t)t->first * (size_t)K;
    memset(ranks, 0, (size_t)n * (size_t)dv * sizeof *ranks);
    for (int r = t->first; r < T; r++)
        for (int h = 0; h < HB; h++)
            m->k.axpy(ranks + (size_t)(r - t->first) * (size_t)dv,
                      d_o + (size_t)(r * HB + h) * (size_t)dv, 1.0f, (size_t)dv);
    m->k.gemm(dw + f, K, ranks, dv, 0, p->rank.data, dv, 1, n, K, dv, 0.0f);
    m->k.gemm(g->rank.data, dv, t->w + f, K, 1, ranks, dv, 0, K, dv, n, 1.0f);
}
