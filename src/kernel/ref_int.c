/* ref_int.c - products of int8 rows with packed int8 or 4-bit weights, stated plainly.
 *
 *   w8a8  y[i,j] (+)= ((float) sum_c x[i,c] w[j,c] * scale[j]) * sx[i]
 *   w4a8  s = 0;  for each 32 columns g: s = fma((float) sum_{c in g} x[i,c] w[j,c], scale[j,g], s)
 *         y[i,j] (+)= s * sx[i]
 *
 * The sums run over integers and are exact; what follows is the order of roundings that the SIMD
 * variants keep, so all give the same bits. */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/number.h"

/* W[j,c] of either kind. */
static int w8_at(const loci_w8 *w, int j, int c)
{
    const size_t steps = (size_t)((w->cols + 3) / 4);
    const size_t step = (size_t)(j / LOCI_PANEL) * steps + (size_t)(c / 4);
    return w->data[step * 64 + (size_t)(j % LOCI_PANEL * 4 + c % 4)];
}

static int w4_at(const loci_w4 *w, int j, int c)
{
    const size_t step = (size_t)(j / LOCI_PANEL) * (size_t)(w->cols / 8) + (size_t)(c / 8);
    const int byte = w->data[step * 64 + (size_t)(j % LOCI_PANEL * 4 + c % 4)];
    return (byte >> (c % 8 / 4 * 4) & 15) - 8;
}

void loci_gemm_w8a8_ref(float *y, int ldy, const int8_t *x, int ldx, const float *sx,
                        const loci_w8 *w, int first, int m, int n, int add)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            const int8_t *x_i = x + (size_t)i * (size_t)ldx;
            float *y_ij = y + (size_t)i * (size_t)ldy + j;
            int32_t dot = 0;
            for (int c = 0; c < w->cols; c++) dot += x_i[c] * w8_at(w, first + j, c);
            const float v = (float)dot * w->scale[first + j] * sx[i];
            *y_ij = add ? *y_ij + v : v;
        }
}

void loci_gemm_w4a8_ref(float *y, int ldy, const int8_t *x, int ldx, const float *sx,
                        const loci_w4 *w, int first, int m, int n, int add)
{
    const int groups = w->cols / LOCI_W4_GROUP;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            const int8_t *x_i = x + (size_t)i * (size_t)ldx;
            const int r = first + j;
            const uint16_t *scale =
                w->scale + (size_t)(r / LOCI_PANEL) * (size_t)groups * LOCI_PANEL + r % LOCI_PANEL;
            float *y_ij = y + (size_t)i * (size_t)ldy + j, sum = 0.0f;
            for (int g = 0; g < groups; g++) {
                int32_t dot = 0;
                for (int c = LOCI_W4_GROUP * g; c < LOCI_W4_GROUP * (g + 1); c++)
                    dot += x_i[c] * w4_at(w, r, c);
                sum = fmaf((float)dot, loci_f16_to_f32(scale[g * LOCI_PANEL]), sum);
            }
            *y_ij = add ? *y_ij + sum * sx[i] : sum * sx[i];
        }
}
