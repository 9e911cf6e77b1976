/* ref_attn.c - attention forward, stated plainly: the causal window and one chunk of keys.
 *
 * Scores are recomputed rather than stored, so that a window of any width needs no memory. */
#include <math.h>
#include "kernel/kernel.h"

enum { DIM_MAX = 128, KEYS_MAX = 128 };

static double score(const float *q, const float *k, int d, float scale)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++) sum += (double)q[i] * k[i];
    return scale * sum;
}

/* One query over keys k[0 .. n), n >= 1: o = softmax(scale q k^T) v; returns the log-sum-exp. */
static double attend(float *o, const float *q, const float *k, const float *v, int ldkv, int n,
                     int d, float scale)
{
    double max = -INFINITY, sum = 0.0, acc[DIM_MAX] = { 0 };
    for (int j = 0; j < n; j++) max = fmax(max, score(q, k + (size_t)j * (size_t)ldkv, d, scale));
    for (int j = 0; j < n; j++) {
        const double p = exp(score(q, k + (size_t)j * (size_t)ldkv, d, scale) - max);
        sum += p;
        for (int i = 0; i < d; i++) acc[i] += p * v[(size_t)j * (size_t)ldkv + (size_t)i];
    }
    for (int i = 0; i < d; i++) o[i] = (float)(acc[i] / sum);
    return max + log(sum);
}

void loci_window_attn_ref(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                          const float *v, int ldkv, int T, int past, int H, int G, int d, int W,
                          float scale)
{
    for (int t = 0; t < T; t++) {
        const int last = t + past;
        const int first = W <= last ? last - W + 1 : 0; /* last - W + 1 cannot overflow this way */
        for (int h = 0; h < H; h++) {
            const size_t kv =
                (size_t)first * (size_t)ldkv + (size_t)(h / (H / G)) * (size_t)d; /* k[first,g,:] */
            const double total = attend(o + (size_t)t * (size_t)ldo + (size_t)h * (size_t)d,
                                        q + (size_t)t * (size_t)ldq + (size_t)h * (size_t)d, k + kv,
                                        v + kv, ldkv, last - first + 1, d, scale);
            if (lse) lse[(size_t)t * (size_t)H + (size_t)h] = (float)total;
        }
    }
}

void loci_chunk_attn_ref(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                         int ldk, const float *v, int ldv, const float *w, int rows, int n, int d_k,
                         int d_v, float scale)
{
    for (int r = 0; r < rows; r++) {
        double s[KEYS_MAX], max = -INFINITY, sum = 0.0;
        for (int j = 0; j < n; j++) {
            s[j] = score(q + (size_t)r * (size_t)ldq, k + (size_t)j * (size_t)ldk, d_k, scale);
            max = fmax(max, s[j]);
        }
        for (int j = 0; j < n; j++) sum += exp(s[j] - max);
        const double total = max + log(sum);
        if (lse) lse[r] = (float)total;
        for (int i = 0; o && i < d_v; i++) {
            float *o_ri = o + (size_t)r * (size_t)ldo + i;
            double acc = 0.0;
            for (int j = 0; j < n; j++)
                acc += exp(s[j] - total) * v[(size_t)j * (size_t)ldv + (size_t)i];
            *o_ri = (float)(*o_ri + (w ? w[r] : 1.0) * acc);
        }
    }
}
