/* ref_block.c - numbers to E4M3 and E2M1 in blocks with a power of two each, stated plainly.
 *
 * In f32 on purpose, like ref_quant.c: codes and scales are the same on every machine.  Division by
 * a power of two is exact, so the only rounding is the one to the code. */
#include <stdbool.h>
#include "kernel/kernel.h"
#include "kernel/number.h"

typedef struct {
    float floor, reciprocal; /* smallest absmax; one over the largest code */
    bool e4m3;
} quantiser;

static const quantiser a8 = { 1e-4f, 1.0f / 448.0f, true };
static const quantiser a4 = { 0x1.8p-124f, 1.0f / 6.0f, false };

static float block_scale(const quantiser *z, const float *x, int n)
{
    float max = z->floor;
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i])) return NAN;
        max = fmaxf(max, fabsf(x[i]));
    }
    return loci_pow2ceil(max * z->reciprocal);
}

static void quantise(const quantiser *z, float *q, int ldq, float *scale, int lds, const float *x,
                     int ldx, int rows, int cols, int block)
{
    for (int r = 0; r < rows; r++)
        for (int c0 = 0, b = 0; c0 < cols; c0 += block, b++) {
            const float *x_b = x + (size_t)r * (size_t)ldx + c0; /* x[r, c0 ..] */
            float *q_b = q + (size_t)r * (size_t)ldq + c0;
            const int n = cols - c0 < block ? cols - c0 : block;
            const float s = block_scale(z, x_b, n);
            for (int i = 0; i < n; i++) {
                const float v = z->e4m3 ? loci_round_e4m3(x_b[i] / s) : loci_round_e2m1(x_b[i] / s);
                q_b[i] = scale ? v : v * s;
            }
            if (scale) scale[(size_t)r * (size_t)lds + (size_t)b] = s;
        }
}

void loci_quant_a8_ref(float *q, int ldq, float *scale, int lds, const float *x, int ldx, int rows,
                       int cols, int block)
{
    quantise(&a8, q, ldq, scale, lds, x, ldx, rows, cols, block);
}

void loci_quant_a4_ref(float *q, int ldq, float *scale, int lds, const float *x, int ldx, int rows,
                       int cols, int block)
{
    quantise(&a4, q, ldq, scale, lds, x, ldx, rows, cols, block);
}
