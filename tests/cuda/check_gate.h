/* check_gate.h - checks of the gate of a Read block. */
#ifndef CHECK_GATE_H
#define CHECK_GATE_H

#include "check_rows.h"

/* Ranges of chunks a query may read, every third empty. */
static inline void own_ranges(int n, int n_chunks, int32_t *lo, int32_t *hi)
{
    for (int r = 0; r < n; r++) {
        lo[r] = below(n_chunks);
        hi[r] = r % 3 == 1 ? lo[r] : lo[r] + 1 + below(n_chunks - lo[r]);
    }
}

static void check_gate(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++) {
            const int rows = row_counts[i], cols = norm_cols[j];
            const float *x = random_bf16((size_t)rows * cols, 1.0), *w = random_f32(cols, 0.2),
                        bias = -0.3f;
            const float *before = random_f32((size_t)LOCI_GPU_STATS * rows, 1.0), open = 0.5f;
            float *want = floats(rows), *stat = floats((size_t)LOCI_GPU_STATS * rows);
            int32_t *lo = ints(rows), *hi = ints(rows);
            own_ranges(rows, 9, lo, hi);
            memcpy(stat, before, (size_t)LOCI_GPU_STATS * rows * sizeof *stat);
            for (int r = 0; r < rows; r++) {
                want[r] =
                    (float)(1.0 /
                            (1.0 + exp(-(loci_dot_ref(x + (size_t)r * cols, w, cols) + bias))));
                if (lo[r] >= hi[r]) continue;
                stat[LOCI_STAT_GATE * rows + r] += want[r];
                stat[LOCI_STAT_CONSULTED * rows + r] += want[r] > open ? 1.0f : 0.0f;
                stat[LOCI_STAT_PAIRS * rows + r] += 1.0f;
            }
            const bool hard = (i + j) % 2 != 0;
            float *opened = floats(rows);
            for (int r = 0; r < rows; r++) {
                opened[r] = !hard ? want[r] : want[r] > open ? 1.0f : 0.0f;
                if (lo[r] < hi[r]) stat[LOCI_STAT_GATE * rows + r] += opened[r] - want[r];
            }
            float *soft = out_f32(NULL, rows), *gate = out_f32(NULL, rows),
                  *sums = out_f32(before, (size_t)LOCI_GPU_STATS * rows);
            const loci_bf16 *in = put_bf16(x, (size_t)rows * cols);
            const float *pw = put_f32(w, cols), *pb = put_f32(&bias, 1);
            const int32_t *plo = put_i32(lo, rows), *phi = put_i32(hi, rows);
            TWICE("gate")
            loci_gpu_gate(gpu, soft, gate, sums, in, pw, pb, rows, cols, plo, phi, open, hard);
            compare("soft", get_f32(soft, rows), want, rows, F32_SUMS);
            compare("gate", get_f32(gate, rows), opened, rows, F32_SUMS);
            compare("stat", get_f32(sums, (size_t)LOCI_GPU_STATS * rows), stat,
                    (size_t)LOCI_GPU_STATS * rows, F32_SUMS);
            loci_gpu_gate(gpu, soft, gate, NULL, in, pw, pb, rows, cols, plo, phi, open, hard);
            compare("gate without stat", get_f32(gate, rows), opened, rows, F32_SUMS);
            done("gate");
        }
}

static void check_scale_rows(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++) {
            const int rows = row_counts[i], cols = norm_cols[j];
            const size_t n = (size_t)rows * cols;
            const float *x = random_bf16(n, 1.0), *f = random_f32(rows, 1.0);
            float *want = floats(n);
            for (size_t k = 0; k < n; k++) want[k] = x[k] * f[k / cols];
            loci_bf16 *y = out_bf16(NULL, n);
            const loci_bf16 *in = put_bf16(x, n);
            const float *gate = put_f32(f, rows);
            TWICE("scale_rows") loci_gpu_scale_rows(gpu, y, in, gate, rows, cols);
            compare("y", get_bf16(y, n), want, n, ONE_ROUNDING);
            done("scale_rows");
        }
}

static void check_gate_bwd(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++) {
            const int rows = row_counts[i], cols = norm_cols[j];
            const size_t n = (size_t)rows * cols;
            const float *o = random_bf16(n, 1.0), *d = random_bf16(n, 1.0), cost = 0.7f, k = 0.3f;
            const float *r_t = random_f32(rows, 2.0);
            const bool regrets = (i + j) % 2 != 0;
            float *gate = floats(rows), *soft = floats(rows), *want_go = floats(n),
                  *want_d = floats(n), *want_dz = floats(rows);
            int32_t *lo = ints(rows), *hi = ints(rows);
            own_ranges(rows, 9, lo, hi);
            for (int r = 0; r < rows; r++) {
                soft[r] = (float)loci_rng_unit(&rng);
                gate[r] = r % 2 == 0 ? soft[r] : soft[r] > 0.5f ? 1.0f : 0.0f; /* soft, hard */
                const double along = loci_dot_ref(o + (size_t)r * cols, d + (size_t)r * cols, cols);
                want_dz[r] = (float)((along + (lo[r] < hi[r] ? cost : 0.0f) -
                                      (regrets ? k * r_t[r] : 0.0f)) *
                                     soft[r] * (1.0 - soft[r]));
                for (int c = 0; c < cols; c++) {
                    want_go[(size_t)r * cols + c] = gate[r] * o[(size_t)r * cols + c];
                    want_d[(size_t)r * cols + c] = gate[r] * d[(size_t)r * cols + c];
                }
            }
            loci_bf16 *pd = out_bf16(d, n), *go = out_bf16(NULL, n);
            float *dz = out_f32(NULL, rows);
            const loci_bf16 *po = put_bf16(o, n);
            const float *ps = put_f32(soft, rows), *pg = put_f32(gate, rows),
                        *pr = regrets ? put_f32(r_t, rows) : NULL;
            const int32_t *plo = put_i32(lo, rows), *phi = put_i32(hi, rows);
            TWICE("gate_bwd")
            loci_gpu_gate_bwd(gpu, pd, go, dz, po, ps, pg, plo, phi, cost, pr, k, rows, cols);
            compare("d", get_bf16(pd, n), want_d, n, ONE_ROUNDING);
            compare("go", get_bf16(go, n), want_go, n, ONE_ROUNDING);
            compare("dz", get_f32(dz, rows), want_dz, rows, F32_SUMS);
            done("gate_bwd");
        }
}

/* Head rows in any order; those without own chunks are left alone. */
static inline void regret_case(int rows, int groups)
{
    const size_t stats = (size_t)LOCI_GPU_STATS * rows;
    const int n = (rows + 1) / 2;
    const float *with = random_f32(n, 3.0), *without = random_f32(n, 3.0),
                *before = random_f32(stats, 1.0), *old = random_f32(rows, 1.0);
    float *stat = floats(stats), *want = floats(rows);
    int32_t *lo = ints(rows), *hi = ints(rows), *row = ints(n);
    own_ranges(rows, 9, lo, hi);
    memcpy(stat, before, stats * sizeof *stat);
    memcpy(want, old, rows * sizeof *want);
    loci_gpu_regrets j = { .n = n, .rows = rows, .groups = groups };
    float *gate[LOCI_GPU_GATES];
    for (int g = 0; g < groups; g++) {
        gate[g] = floats(rows);
        for (int r = 0; r < rows; r++) gate[g][r] = (float)loci_rng_unit(&rng);
        j.gate[g] = put_f32(gate[g], rows);
    }
    for (int i = 0; i < n; i++) {
        const int r = row[i] = i % 2 ? i : rows - 1 - i;
        if (lo[r] >= hi[r]) continue;
        want[r] = fmaxf(without[i] - with[i], 0.0f);
        stat[LOCI_STAT_GAIN * rows + r] += want[r];
        for (int g = 0; g < groups; g++)
            stat[LOCI_STAT_REGRET * rows + r] += want[r] * (1.0f - gate[g][r]) / (float)groups;
    }
    j.regret = out_f32(old, rows);
    j.stat = out_f32(before, stats);
    j.with = put_f32(with, n);
    j.without = put_f32(without, n);
    j.row = put_i32(row, n);
    j.own_lo = put_i32(lo, rows);
    j.own_hi = put_i32(hi, rows);
    TWICE("regret") loci_gpu_regret(gpu, &j);
    equal_floats("regret", get_f32(j.regret, rows), want, rows);
    compare("stat", get_f32(j.stat, stats), stat, stats, F32_SUMS);
    done("regret");
}

static void check_regret(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int groups = 1; groups <= LOCI_GPU_GATES; groups += 3)
            regret_case(row_counts[i], groups);
}

#endif
