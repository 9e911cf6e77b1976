/* four.c - weights stored in 4 bits: rows of whole groups of 32 numbers with a half as scale.
 *
 *   w[r,c] = half[r, c / 32] q[r,c]       q in -8 .. 7
 *
 * Two numbers a byte, q + 8 each, the earlier one in the low four bits.  A group's scale is the one of
 * some tried that leaves the least squared error: of the largest number m, m / -d takes it to -d and
 * m / d to d, where the one side ends at -8 and the other at 7, so that m is cut a little when d says
 * so; each is tried once more as the scale that fits its own q best.  Done in f32 and double with one
 * order of sums: the same bytes on every machine.  The layout is that of kernel.h quant_q4, which is for
 * numbers on the way and has one scale to try. */
#include "model/model_impl.h"

#include "kernel/number.h"

#include <assert.h>
#include <math.h>

enum { GROUP = LOCI_W4_GROUP };

bool loci_four_fits(int cols)
{
    return cols % GROUP == 0 && cols <= LOCI_FOUR_COLS;
}

bool loci_param_in_four(const loci_param_info *info)
{
    return info->quantise && !info->fine && loci_four_fits(info->cols);
}

/* ---- rounding --------------------------------------------------------------------------------- */

typedef struct {
    int8_t q[GROUP];
    uint16_t half;
    double error; /* squared, of the group */
} trial;

static void try_scale(trial *t, const float *x, float scale)
{
    t->half = loci_f32_to_f16(fminf(fmaxf(scale, -65504.0f), 65504.0f));
    t->error = 0.0;
    const float unit = loci_f16_to_f32(t->half); /* what readers multiply with */
    for (int i = 0; i < GROUP; i++) {
        const float v = unit != 0.0f ? x[i] / unit : 0.0f;
        t->q[i] = (int8_t)lrintf(fminf(fmaxf(v, -8.0f), 7.0f));
        const double off = (double)x[i] - (double)unit * t->q[i];
        t->error += off * off;
    }
}

/* The scale that brings q nearest to x. */
static float fitted(const trial *t, const float *x)
{
    double along = 0.0, size = 0.0;
    for (int i = 0; i < GROUP; i++) {
        along += (double)x[i] * t->q[i];
        size += (double)(t->q[i] * t->q[i]);
    }
    return size > 0.0 ? (float)(along / size) : 0.0f;
}

static void keep_better(trial *best, const trial *t)
{
    if (t->error < best->error) *best = *t;
}

static void round_group(trial *best, const float *x)
{
    /* From where nothing is cut to where a number that stands alone is: halves of steps. */
    static const float reach[] = { 7.0f, 7.5f, 8.0f, 8.5f, 9.0f, 10.0f, 12.0f };
    float most = 0.0f;
    for (int i = 0; i < GROUP; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    try_scale(best, x, 0.0f);
    if (most == 0.0f) return;
    for (size_t i = 0; i < 2 * (sizeof reach / sizeof reach[0]); i++) {
        const float d = i % 2 ? -reach[i / 2] : reach[i / 2];
        trial t;
        try_scale(&t, x, most / d);
        const float fit = fitted(&t, x);
        keep_better(best, &t);
        try_scale(&t, x, fit);
        keep_better(best, &t);
    }
}

void loci_four_round(uint8_t *q, uint16_t *half, const float *x, int cols)
{
    assert(loci_four_fits(cols));
    for (int g = 0; g < cols / GROUP; g++) {
        trial t;
        round_group(&t, x + g * GROUP);
        half[g] = t.half;
        for (int i = 0; i < GROUP; i += 2)
            q[(g * GROUP + i) / 2] = (uint8_t)((t.q[i] + 8) | (t.q[i + 1] + 8) << 4);
    }
}

void loci_four_nearest(float *x, size_t groups)
{
    for (size_t g = 0; g < groups; g++, x += GROUP) {
        trial t;
        round_group(&t, x);
        for (int i = 0; i < GROUP; i++) x[i] = loci_f16_to_f32(t.half) * (float)t.q[i];
    }
}

/* ---- back --------------------------------------------------------------------------------------- */

void loci_four_rows(const loci_kernels *k, float *y, const loci_mat *w, int first, int rows)
{
    const size_t at = (size_t)first * (size_t)w->cols;
    k->dequant_q4(y, w->cols, (const uint8_t *)w->data + at / 2, w->cols / 2, w->half + at / GROUP,
                  w->cols / GROUP, rows, w->cols);
}
