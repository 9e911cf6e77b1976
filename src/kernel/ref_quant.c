/* ref_quant.c - rows to int8 and back, stated plainly.
 *
 * Done in f32 on purpose: the stored numbers must be the same on every machine, so each variant
 * divides and rounds exactly like this one. */
#include <math.h>
#include "kernel/kernel.h"

void loci_quant_q8_ref(int8_t *q, int ldq, float *scale, const float *x, int ldx, int rows,
                       int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        int8_t *q_r = q + (size_t)r * (size_t)ldq;      /* q[r,:] */
        float max = 0.0f;
        for (int i = 0; i < cols; i++) max = fmaxf(max, fabsf(x_r[i]));
        scale[r] = max / 127.0f;
        for (int i = 0; i < cols; i++) {
            /* A subnormal scale is coarse: the quotient may pass 127. */
            const float v = scale[r] > 0.0f ? x_r[i] / scale[r] : 0.0f;
            q_r[i] = (int8_t)lrintf(fminf(fmaxf(v, -127.0f), 127.0f));
        }
    }
}

void loci_dequant_q8_ref(float *x, int ldx, const int8_t *q, int ldq, const float *scale, int rows,
                         int cols)
{
    for (int r = 0; r < rows; r++) {
        const int8_t *q_r = q + (size_t)r * (size_t)ldq; /* q[r,:] */
        float *x_r = x + (size_t)r * (size_t)ldx;        /* x[r,:] */
        for (int i = 0; i < cols; i++) x_r[i] = scale[r] * (float)q_r[i];
    }
}
