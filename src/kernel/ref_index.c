/* ref_index.c - scores of a lightning index, stated plainly. */
#include <stddef.h>
#include "kernel/kernel.h"
#include "kernel/number.h"

/* Dimension c of key k of a group, without its scale. */
static float key_at(const uint8_t *group, int k, int c)
{
    const uint8_t byte = group[c / 8 * 64 + k * 4 + c % 4];
    return loci_e2m1_to_f32(c % 8 < 4 ? byte & 15u : byte >> 4);
}

void loci_index_scores_ref(float *score, const int8_t *q, const float *q_scale, const float *w,
                           const uint8_t *keys, int heads, int dim, int n_groups)
{
    const int blocks = (dim + 31) / 32;
    for (int j = 0; j < 16 * n_groups; j++) {
        const uint8_t *group = keys + (size_t)(j / 16) * (size_t)(8 * dim + 16 * blocks);
        double sum = 0.0;
        for (int h = 0; h < heads; h++) {
            double dot = 0.0;
            for (int c = 0; c < dim; c++) {
                const size_t at = (size_t)h * (size_t)dim + (size_t)c;
                const double unit = (double)q_scale[h * blocks + c / 32] *
                                    loci_e8m0_to_f32(group[8 * dim + c / 32 * 16 + j % 16]);
                dot += 0.5 * q[at] * (double)key_at(group, j % 16, c) * unit;
            }
            sum += dot > 0.0 ? (double)w[h] * dot : 0.0;
        }
        score[j] = (float)sum;
    }
}
