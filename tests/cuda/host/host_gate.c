/* host_gate.c - the gate of a Read block, forward and backward. */
#include "host.h"

void HOST(gate)(loci_gpu *g, float *soft, float *gate, float *stat, const loci_bf16 *x,
                const float *w, const float *b, int rows, int cols, const int32_t *own_lo,
                const int32_t *own_hi, float open, bool hard)
{
    BEGIN(g);
    REQUIRE(g, cols % 2 == 0, "cols %d is odd", cols);
    ALIGNED(g, x, cols, 4);
    float *in = host_rows(x, cols, rows, cols);
    for (int r = 0; r < rows; r++) {
        const double z = host_dot(in + (size_t)r * cols, w, cols) + *b;
        soft[r] = (float)(1.0 / (1.0 + exp(-z)));
        const float opened = soft[r] > open ? 1.0f : 0.0f;
        gate[r] = hard ? opened : soft[r];
        if (!stat || own_lo[r] >= own_hi[r]) continue;
        stat[(size_t)LOCI_STAT_GATE * rows + r] += gate[r];
        stat[(size_t)LOCI_STAT_CONSULTED * rows + r] += opened;
        stat[(size_t)LOCI_STAT_PAIRS * rows + r] += 1.0f;
    }
    free(in);
}

void HOST(scale_rows)(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, const float *gate, int rows,
                      int cols)
{
    BEGIN(g);
    REQUIRE(g, cols % 2 == 0, "cols %d is odd", cols);
    ALIGNED(g, x, cols, 4);
    ALIGNED(g, y, cols, 4);
    for (size_t i = 0; i < (size_t)rows * cols; i++)
        y[i] = loci_f32_to_bf16(gate[i / cols] * loci_bf16_to_f32(x[i]));
}

void HOST(gate_bwd)(loci_gpu *g, loci_bf16 *d, loci_bf16 *go, float *dz, const loci_bf16 *o,
                    const float *soft, const float *gate, const int32_t *own_lo,
                    const int32_t *own_hi, float cost, const float *regret, float k, int rows,
                    int cols)
{
    BEGIN(g);
    REQUIRE(g, cols % 2 == 0, "cols %d is odd", cols);
    ALIGNED(g, d, cols, 4);
    ALIGNED(g, go, cols, 4);
    ALIGNED(g, o, cols, 4);
    float *out = host_rows(o, cols, rows, cols), *dout = host_rows(d, cols, rows, cols);
    for (int r = 0; r < rows; r++) {
        const size_t at = (size_t)r * cols;
        const double along = host_dot(out + at, dout + at, cols) +
                             (own_lo[r] < own_hi[r] ? (double)cost : 0.0) -
                             (regret ? (double)k * (double)regret[r] : 0.0);
        dz[r] = (float)(along * soft[r] * (1.0 - soft[r]));
        for (int c = 0; c < cols; c++) {
            go[at + c] = loci_f32_to_bf16(gate[r] * out[at + c]);
            d[at + c] = loci_f32_to_bf16(gate[r] * dout[at + c]);
        }
    }
    free(out);
    free(dout);
}

void HOST(regret)(loci_gpu *g, const loci_gpu_regrets *j)
{
    BEGIN(g);
    REQUIRE(g, j->groups >= 1 && j->groups <= LOCI_GPU_GATES, "%d groups", j->groups);
    REQUIRE(g, host_distinct(j->row, j->n), "a row comes twice");
    for (int i = 0; i < j->n; i++) {
        const int r = j->row[i];
        REQUIRE(g, r >= 0 && r < j->rows, "row %d of %d", r, j->rows);
        if (j->own_lo[r] >= j->own_hi[r]) continue;
        const float more = fmaxf(j->without[i] - j->with[i], 0.0f);
        double closed = 0.0;
        for (int k = 0; k < j->groups; k++) closed += 1.0 - (double)j->gate[k][r];
        j->regret[r] = more;
        j->stat[(size_t)LOCI_STAT_GAIN * j->rows + r] += more;
        j->stat[(size_t)LOCI_STAT_REGRET * j->rows + r] +=
            (float)((double)more * closed / j->groups);
    }
}
