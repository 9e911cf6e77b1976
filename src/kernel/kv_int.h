/* kv_int.h - rows of floats as whole numbers, for attention on integers. */
#ifndef LOCI_KERNEL_KV_INT_H
#define LOCI_KERNEL_KV_INT_H

#include <math.h>
#include "kernel/number.h"

enum { KEY_MAX = 4095, VALUE_MAX = 127, WEIGHT_MAX = 16383, KV_BLOCK = 16, HEAD_MAX = 128 };

/* q (n) = round(x / scale), scale = max|x| / most; returns the scale.  A row that is zero, too small to
 * be divided by, or not finite gives 0. */
static inline float loci_round_row(int32_t *q, const float *x, int n, int most)
{
    uint32_t top = 0; /* floats without sign are ordered as their bits are */
    for (int i = 0; i < n; i++) {
        const uint32_t u = loci_f32_to_bits(x[i]) & 0x7fffffffu;
        top = u > top ? u : top;
    }
    const float max = loci_bits_to_f32(top);
    if (!(max > 0x1p-100f && max < INFINITY)) {
        for (int i = 0; i < n; i++) q[i] = 0;
        return 0.0f;
    }
    /* 1.5 * 2^23 has the ulp 1: adding it rounds to a whole number, ties to even. */
    const float unit = (float)most / max;
    for (int i = 0; i < n; i++) q[i] = (int32_t)((x[i] * unit + 0x1.8p23f) - 0x1.8p23f);
    return max / (float)most;
}

#endif
