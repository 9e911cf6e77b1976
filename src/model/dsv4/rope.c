/* rope.c - angles of DeepSeek-V4: interleaved pairs in the last R dimensions of a vector.
 *
 *   f_i = base^(-2i/R), i < R/2; layers with compressed entries have their own base, and YaRN:
 *   f_i <- f_i (1 - ramp_i) + f_i / factor ramp_i,  ramp_i = clamp((i - low) / (high - low), 0, 1)
 *   with D(r) = R ln(original / (2 pi r)) / (2 ln base), low = max(floor(D(beta_fast)), 0),
 *   high = min(ceil(D(beta_slow)), R - 1), parted by 0.001 when they meet.  No magnitude scaling.
 *
 * An angle is the f32 product of position and frequency: near position 10^6 the rounding of that
 * product reaches 0.03 rad, and the weights have been trained with it. */
#include "model/dsv4/dsv4_impl.h"

#include <math.h>

#define TWO_PI 6.28318530717958647692

static double correction(const loci_dsv4_hparams *hp, double base, double rotations)
{
    return hp->rope_dim * log((double)hp->yarn_original / (TWO_PI * rotations)) / (2.0 * log(base));
}

void dsv4_frequencies(float *freq, const loci_dsv4_hparams *hp, bool compressed)
{
    const int R = hp->rope_dim;
    const double base = (double)(compressed ? hp->compress_theta : hp->rope_theta);
    double low = 0.0, high = 1.0;
    const bool yarn = compressed && hp->yarn && base > 1.0;
    if (yarn) {
        low = fmax(floor(correction(hp, base, (double)hp->yarn_beta_fast)), 0.0);
        high = fmin(ceil(correction(hp, base, (double)hp->yarn_beta_slow)), R - 1.0);
        if (high == low) high += 0.001;
    }
    for (int i = 0; i < R / 2; i++) {
        const double f = pow(base, -2.0 * i / R);
        const double ramp = yarn ? fmin(fmax((i - low) / (high - low), 0.0), 1.0) : 0.0;
        freq[i] = (float)(f * (1.0 - ramp) + f / (yarn ? (double)hp->yarn_factor : 1.0) * ramp);
    }
}

void dsv4_angles(const loci_dsv4 *m, int table, int64_t pos, float *cos_out, float *sin_out)
{
    for (int i = 0; i < m->hp.rope_dim / 2; i++) {
        const float angle = (float)pos * m->freq[table][i];
        cos_out[i] = (float)cos((double)angle);
        sin_out[i] = (float)sin((double)angle);
    }
}

void dsv4_rotate(const loci_dsv4_seq *s, float *x, int heads, int d, const float *cos_row,
                 const float *sin_row, int dir)
{
    const loci_dsv4 *m = s->m;
    const int R = m->hp.rope_dim;
    m->k.rope(x + d - R, d, s->sc.zeros, cos_row, sin_row, heads, 1, R, dir);
    for (int h = 0; h < heads; h++) dsv4_round(m, x + (size_t)h * d + (d - R), (size_t)R);
}
