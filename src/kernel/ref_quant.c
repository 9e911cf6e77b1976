/* ref_quant.c - rows to int8 or 4 bits and back, stated plainly.
 *
 * Done in f32 on purpose: the stored numbers must be the same on every machine, so each variant
 * divides and rounds exactly like this one. */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/number.h"

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

enum { BLOCK = 32 };

void loci_quant_q4_ref(uint8_t *q, int ldq, uint16_t *scale, int lds, const float *x, int ldx,
                       int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < cols / BLOCK; b++) {
            const float *x_b = x + (size_t)r * (size_t)ldx + b * BLOCK;
            uint8_t *q_b = q + (size_t)r * (size_t)ldq + b * BLOCK / 2;
            float max = 0.0f;
            for (int i = 0; i < BLOCK; i++) max = fmaxf(max, fabsf(x_b[i]));
            const uint16_t half = loci_f32_to_f16(fminf(max / 7.0f, 65504.0f));
            const float unit = loci_f16_to_f32(half); /* what readers will multiply with */
            scale[(size_t)r * (size_t)lds + (size_t)b] = half;
            for (int i = 0; i < BLOCK; i += 2) {
                unsigned pair = 0;
                for (int j = 0; j < 2; j++) {
                    const float v = unit > 0.0f ? x_b[i + j] / unit : 0.0f;
                    pair |= (unsigned)(lrintf(fminf(fmaxf(v, -7.0f), 7.0f)) + 8) << (4 * j);
                }
                q_b[i / 2] = (uint8_t)pair;
            }
        }
}

void loci_dequant_q4_ref(float *x, int ldx, const uint8_t *q, int ldq, const uint16_t *scale,
                         int lds, int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < cols; i++) {
            const int code = q[(size_t)r * (size_t)ldq + (size_t)(i / 2)] >> (i % 2 * 4) & 15;
            const uint16_t half = scale[(size_t)r * (size_t)lds + (size_t)(i / BLOCK)];
            x[(size_t)r * (size_t)ldx + (size_t)i] = (float)(code - 8) * loci_f16_to_f32(half);
        }
}
