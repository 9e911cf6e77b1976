/* ref_attn_int.c - window attention on integers, stated plainly: kernel.h has the equations. */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/kv_int.h"

typedef struct {
    const int16_t *k, *v; /* of the head's group */
    const float *k_scale, *v_scale;
    int first, n, d; /* keys first .. first + n */
} keys;

static float score(const keys *x, const int32_t *q, int i, float unit)
{
    const int j = x->first + i;
    const int16_t *k = x->k + (size_t)(j / KV_BLOCK * KV_BLOCK) * (size_t)x->d + j % KV_BLOCK * 2;
    int32_t dot = 0;
    for (int c = 0; c < x->d; c++) dot += q[c] * k[c / 2 * 2 * KV_BLOCK + c % 2];
    return (float)dot * x->k_scale[j] * unit;
}

static void attend(float *o, const float *q_row, const keys *x, float scale)
{
    int32_t q[HEAD_MAX], sum[HEAD_MAX] = { 0 }, total = 0;
    float e[LOCI_WINDOW_INT_MAX], max = -INFINITY, top = 0.0f;
    const float unit = loci_round_row(q, q_row, x->d, KEY_MAX) * scale;
    for (int i = 0; i < x->n; i++) {
        e[i] = score(x, q, i, unit);
        max = fmaxf(max, e[i]);
    }
    for (int i = 0; i < x->n; i++) {
        e[i] = (float)exp((double)(e[i] - max));
        total += (int32_t)lrintf(e[i] * 0x1p20f);
        e[i] *= x->v_scale[x->first + i];
        top = fmaxf(top, e[i]);
    }
    const float whole = top > 0.0f ? (float)WEIGHT_MAX / top : 0.0f;
    for (int i = 0; i < x->n; i++) {
        const int j = x->first + i;
        const int32_t weight = (int32_t)lrintf(e[i] * whole);
        const int16_t *v = x->v + (size_t)(j / 2 * 2) * (size_t)x->d + j % 2;
        for (int c = 0; c < x->d; c++) sum[c] += weight * v[2 * c];
    }
    const float back = top * (0x1p20f / (float)WEIGHT_MAX) / (float)total;
    for (int c = 0; c < x->d; c++) o[c] = (float)sum[c] * back;
}

void loci_window_attn_int_ref(float *o, int ldo, const float *q, int ldq, const loci_kv_int *kv,
                              int T, int past, int H, int G, int d, int W, float scale)
{
    for (int t = 0; t < T; t++)
        for (int h = 0; h < H; h++) {
            const size_t head = (size_t)(h / (H / G)) * (size_t)kv->cap, at = (size_t)(h * d);
            const int last = t + past, first = W <= last ? last - W + 1 : 0;
            const keys x = { kv->k + head * (size_t)d,
                             kv->v + head * (size_t)d,
                             kv->k_scale + head,
                             kv->v_scale + head,
                             first,
                             last - first + 1,
                             d };
            attend(o + (size_t)t * (size_t)ldo + at, q + (size_t)t * (size_t)ldq + at, &x, scale);
        }
}
