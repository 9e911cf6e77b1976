/* check_rows.h - checks of ops that treat each row by itself: norms, activations, rotation. */
#ifndef CHECK_ROWS_H
#define CHECK_ROWS_H

#include "gpu_test.h"

static const int row_counts[] = { 1, 7, 9, 65 };
static const float NORM_EPS = 1e-5f;

/* Leading dimensions wider than the rows: what lies between must not be touched. */
enum { GAP = 8 };

/* Rows of `cols` out of rows of ld, one after the other. */
static inline float *packed(const float *x, int ld, int rows, int cols)
{
    float *y = floats((size_t)rows * cols);
    for (int r = 0; r < rows; r++)
        memcpy(y + (size_t)r * cols, x + (size_t)r * ld, (size_t)cols * sizeof *y);
    return y;
}

static inline void gaps_untouched(const char *what, const float *x, int ld, int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        for (int c = cols; c < ld; c++)
            if (!untouched(x[(size_t)r * ld + c]))
                fail_msg("%s: wrote column %d of %d", what, c, cols);
}

static const int norm_cols[] = { 2, 62, 64, 130, 512 };

static inline void norm_case(int rows, int cols, bool narrow, float spread)
{
    const char *name = narrow ? "rmsnorm_b" : "rmsnorm";
    const int ldx = cols + GAP, ldy = cols + 2 * GAP;
    float *x = random_bf16((size_t)rows * ldx, spread);
    if (rows > 6)
        memset(x + (size_t)6 * ldx, 0, (size_t)ldx * sizeof *x); /* a pad: a row of zeros */
    float *want = floats((size_t)rows * cols), *want_inv = floats(rows);
    loci_rmsnorm_ref(want, cols, want_inv, x, ldx, rows, cols, NORM_EPS);
    loci_bf16 *y = out_bf16(NULL, (size_t)rows * ldy);
    float *inv = out_f32(NULL, rows);
    const float *wide = narrow ? NULL : put_f32(x, (size_t)rows * ldx);
    const loci_bf16 *thin = narrow ? put_bf16(x, (size_t)rows * ldx) : NULL;
    TWICE(name)
    {
        if (narrow)
            loci_gpu_rmsnorm_b(gpu, y, ldy, inv, thin, ldx, rows, cols, NORM_EPS);
        else
            loci_gpu_rmsnorm(gpu, y, ldy, inv, wide, ldx, rows, cols, NORM_EPS);
    }
    const float *got = get_bf16(y, (size_t)rows * ldy);
    compare("y", packed(got, ldy, rows, cols), want, (size_t)rows * cols, ONE_ROUNDING);
    gaps_untouched("y", got, ldy, rows, cols);
    compare("inv", get_f32(inv, rows), want_inv, rows, F32_SUMS);
    if (narrow) { /* in place, without inv */
        loci_bf16 *self = device(as_bf16(x, (size_t)rows * ldx), (size_t)rows * ldx * 2);
        loci_gpu_rmsnorm_b(gpu, self, ldx, NULL, self, ldx, rows, cols, NORM_EPS);
        compare("y in place", packed(get_bf16(self, (size_t)rows * ldx), ldx, rows, cols), want,
                (size_t)rows * cols, ONE_ROUNDING);
    }
    done(name);
}

static void check_rmsnorm(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++)
            norm_case(row_counts[i], norm_cols[j], false, j & 1 ? 1e-3f : 3.0f);
}

static void check_rmsnorm_b(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++)
            norm_case(row_counts[i], norm_cols[j], true, 3.0f);
}

/* y of unit mean square, as an earlier norm would have left it. */
static inline float *normed(int rows, int cols)
{
    float *y = random_f32((size_t)rows * cols, 1.0);
    loci_rmsnorm_ref(y, cols, NULL, y, cols, rows, cols, NORM_EPS);
    for (size_t i = 0; i < (size_t)rows * cols; i++) y[i] = bf16_of(y[i]);
    return y;
}

static void check_rmsnorm_bwd(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++)
            for (int gated = 0; gated < 2; gated++) {
                const int rows = row_counts[i], cols = norm_cols[j], lddx = cols + GAP;
                const size_t n = (size_t)rows * cols;
                const float *y = normed(rows, cols), *dy = random_bf16(n, 1.0),
                            *inv = random_f32(rows, 2.0);
                const float *z = random_f32(rows, 1.0), *w = random_f32(cols, 1.0);
                const float *before = random_f32((size_t)rows * lddx, 1.0);
                float *d = floats(n), *want = floats((size_t)rows * lddx);
                for (size_t k = 0; k < n; k++)
                    d[k] = dy[k] + (gated ? z[k / cols] * w[k % cols] : 0.0f);
                memcpy(want, before, (size_t)rows * lddx * sizeof *want);
                loci_rmsnorm_bwd_ref(want, lddx, d, cols, y, cols, inv, rows, cols);
                const loci_gpu_rmsnorm_grad job = {
                    .dx = out_f32(before, (size_t)rows * lddx),
                    .out = gated ? out_bf16(NULL, n) : NULL,
                    .dy = put_bf16(dy, n),
                    .y = put_bf16(y, n),
                    .inv = put_f32(inv, rows),
                    .z = gated ? put_f32(z, rows) : NULL,
                    .w = gated ? put_f32(w, cols) : NULL,
                    .lddx = lddx,
                    .ldout = cols,
                    .lddy = cols,
                    .ldy = cols,
                    .rows = rows,
                    .cols = cols,
                };
                TWICE("rmsnorm_bwd") loci_gpu_rmsnorm_bwd(gpu, &job);
                compare("dx", get_f32(job.dx, (size_t)rows * lddx), want, (size_t)rows * lddx,
                        F32_SUMS);
                if (gated)
                    compare("out", get_bf16(job.out, n), packed(want, lddx, rows, cols), n,
                            ONE_ROUNDING);
                done("rmsnorm_bwd");
            }
}

static void check_rmsnorm_bwd_b(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(norm_cols); j++)
            for (int wide = 0; wide < 2; wide++) {
                const int rows = row_counts[i], cols = norm_cols[j], lddx = cols + GAP,
                          lddy = cols + 2;
                const size_t n = (size_t)rows * cols;
                const float *y = normed(rows, cols), *dy = random_bf16((size_t)rows * lddy, 1.0);
                const float *inv = random_f32(rows, 2.0);
                float *want = floats(n);
                loci_rmsnorm_bwd_ref(want, cols, dy, lddy, y, cols, inv, rows, cols);
                loci_bf16 *dx = out_bf16(NULL, (size_t)rows * lddx);
                const loci_bf16 *thin = wide ? NULL : put_bf16(dy, (size_t)rows * lddy),
                                *saved = put_bf16(y, n);
                const float *dy32 = wide ? put_f32(dy, (size_t)rows * lddy) : NULL,
                            *f = put_f32(inv, rows);
                TWICE("rmsnorm_bwd_b")
                loci_gpu_rmsnorm_bwd_b(gpu, dx, lddx, thin, dy32, lddy, saved, cols, f, rows, cols);
                const float *got = get_bf16(dx, (size_t)rows * lddx);
                compare("dx", packed(got, lddx, rows, cols), want, n, ONE_ROUNDING);
                gaps_untouched("dx", got, lddx, rows, cols);
                done("rmsnorm_bwd_b");
            }
}

/* ---- activations ----------------------------------------------------------------------------------- */

static const int flat_counts[] = { 1, 2, 255, 256, 257, 1023, 4096 };

static void check_to_bf16(void)
{
    for (int i = 0; i < COUNT(flat_counts); i++) {
        const size_t n = flat_counts[i];
        float *x = random_f32(n, 3.0), *want = floats(n);
        x[0] = 1.00390625f; /* half way between two bf16 numbers: to the even one */
        for (size_t k = 0; k < n; k++) want[k] = bf16_of(x[k]);
        loci_bf16 *y = out_bf16(NULL, n);
        const float *from = put_f32(x, n);
        TWICE("to_bf16") loci_gpu_to_bf16(gpu, y, from, n);
        equal_floats("y", get_bf16(y, n), want, n);
        done("to_bf16");
    }
}

static const int gate_widths[] = { 8, 16, 248, 264, 1152 };

static void check_swiglu(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(gate_widths); j++) {
            const int rows = row_counts[i], n = gate_widths[j];
            float *gu = random_bf16((size_t)rows * 2 * n, 4.0), *want = floats((size_t)rows * n);
            gu[0] = -90.0f; /* exp overflows, silu does not */
            gu[1] = 90.0f;
            loci_swiglu_ref(want, n, gu, 2 * n, rows, n);
            loci_bf16 *y = out_bf16(NULL, (size_t)rows * n);
            const loci_bf16 *in = put_bf16(gu, (size_t)rows * 2 * n);
            TWICE("swiglu") loci_gpu_swiglu(gpu, y, in, rows, n);
            compare("y", get_bf16(y, (size_t)rows * n), want, (size_t)rows * n, ONE_ROUNDING);
            done("swiglu");
        }
}

static void check_swiglu_bwd(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int j = 0; j < COUNT(gate_widths); j++) {
            const int rows = row_counts[i], n = gate_widths[j];
            const size_t half = (size_t)rows * n;
            const float *gu = random_bf16(2 * half, 4.0), *dy = random_bf16(half, 1.0);
            float *want = floats(2 * half), *y = floats(half);
            loci_swiglu_bwd_ref(want, 2 * n, dy, n, gu, 2 * n, rows, n);
            loci_swiglu_ref(y, n, gu, 2 * n, rows, n);
            loci_bf16 *in = out_bf16(gu, 2 * half), *act = out_bf16(NULL, half);
            const loci_bf16 *dact = put_bf16(dy, half);
            TWICE("swiglu_bwd") loci_gpu_swiglu_bwd(gpu, in, act, dact, rows, n);
            compare("dgu", get_bf16(in, 2 * half), want, 2 * half, ONE_ROUNDING);
            compare("act", get_bf16(act, half), y, half, ONE_ROUNDING);
            done("swiglu_bwd");
        }
}

static void check_silu(void)
{
    for (int i = 0; i < COUNT(flat_counts); i++) {
        const size_t n = flat_counts[i];
        const float *x = random_bf16(n, 8.0);
        float *want = floats(n);
        loci_silu_ref(want, x, n);
        loci_bf16 *y = out_bf16(NULL, n);
        const loci_bf16 *in = put_bf16(x, n);
        TWICE("silu") loci_gpu_silu(gpu, y, in, n);
        compare("y", get_bf16(y, n), want, n, ONE_ROUNDING);
        done("silu");
    }
}

static void check_silu_bwd(void)
{
    for (int i = 0; i < COUNT(flat_counts); i++) {
        const size_t n = flat_counts[i];
        const float *x = random_bf16(n, 8.0), *dy = random_bf16(n, 1.0);
        float *want = floats(n);
        loci_silu_bwd_ref(want, dy, x, n);
        loci_bf16 *d = out_bf16(x, n);
        const loci_bf16 *in = put_bf16(dy, n);
        TWICE("silu_bwd") loci_gpu_silu_bwd(gpu, d, in, n);
        compare("dx", get_bf16(d, n), want, n, ONE_ROUNDING);
        done("silu_bwd");
    }
}

/* ---- unit rows --------------------------------------------------------------------------------------- */

static inline float *unit_rows(int rows, float *inv)
{
    float *x = random_f32((size_t)rows * 128, 1.0);
    for (int r = 0; r < rows; r++) {
        float *p = x + (size_t)r * 128;
        const double f = 1.0 / fmax(sqrt(loci_dot_ref(p, p, 128)), 1e-12);
        for (int c = 0; c < 128; c++) p[c] = bf16_of((float)(p[c] * f));
        if (inv) inv[r] = (float)f;
    }
    return x;
}

static void check_unit(void)
{
    for (int i = 0; i < COUNT(row_counts); i++) {
        const int rows = row_counts[i];
        const size_t n = (size_t)rows * 128;
        float *x = random_bf16(n, 3.0), *want = floats(n), *want_inv = floats(rows);
        if (rows > 3) memset(x + 3 * 128, 0, 128 * sizeof *x);
        for (int r = 0; r < rows; r++) {
            const float *p = x + (size_t)r * 128;
            want_inv[r] = (float)(1.0 / fmax(sqrt(loci_dot_ref(p, p, 128)), 1e-12));
            for (int c = 0; c < 128; c++) want[(size_t)r * 128 + c] = p[c] * want_inv[r];
        }
        loci_bf16 *y = out_bf16(x, n);
        float *inv = out_f32(NULL, rows);
        TWICE("unit") loci_gpu_unit(gpu, y, inv, rows);
        compare("y", get_bf16(y, n), want, n, ONE_ROUNDING);
        const float *f = get_f32(inv, rows);
        for (int r = 0; r < rows; r++)
            if (!(fabsf(f[r] - want_inv[r]) <= 1e-5f * want_inv[r]))
                fail_msg("inv[%d]: %g, should be %g", r, f[r], want_inv[r]);
        done("unit");
    }
}

static void check_unit_bwd(void)
{
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int with = 0; with < 2; with++) {
            const int rows = row_counts[i];
            const size_t n = (size_t)rows * 128;
            float *inv = floats(rows), *want = floats(n), *want_along = floats(rows);
            const float *y = unit_rows(rows, inv), *dy = random_f32(n, 1.0);
            for (int r = 0; r < rows; r++) {
                const size_t at = (size_t)r * 128;
                const double along = loci_dot_ref(dy + at, y + at, 128);
                want_along[r] = (float)along;
                for (int c = 0; c < 128; c++)
                    want[at + c] = (float)(inv[r] * (dy[at + c] - y[at + c] * along));
            }
            loci_bf16 *dx = out_bf16(NULL, n);
            float *along = with ? out_f32(NULL, rows) : NULL;
            const float *in = put_f32(dy, n), *f = put_f32(inv, rows);
            const loci_bf16 *saved = put_bf16(y, n);
            TWICE("unit_bwd") loci_gpu_unit_bwd(gpu, dx, along, in, saved, f, rows);
            compare("dx", get_bf16(dx, n), want, n, ONE_ROUNDING);
            if (with) compare("along", get_f32(along, rows), want_along, rows, F32_SUMS);
            done("unit_bwd");
        }
}

/* ---- heads: norm and rotation -------------------------------------------------------------------------- */

static inline void frequencies(double f[32])
{
    for (int i = 0; i < 32; i++) f[i] = pow(10000.0, -2.0 * i / 64.0);
}

/* Rotate heads of 64 at positions pos[r] with tables of one row a row of x. */
static inline void rotate_rows(float *x, int ldx, const int32_t *pos, int rows, int heads, int dir)
{
    double f[32];
    float *cs = floats((size_t)rows * 32), *sn = floats((size_t)rows * 32);
    int32_t *row = ints(rows);
    frequencies(f);
    for (int r = 0; r < rows; r++) {
        row[r] = r;
        for (int i = 0; i < 32; i++) {
            cs[r * 32 + i] = (float)cos(pos[r] * f[i]);
            sn[r * 32 + i] = (float)sin(pos[r] * f[i]);
        }
    }
    loci_rope_ref(x, ldx, row, cs, sn, rows, heads, 64, dir);
}

static inline int32_t *positions(int rows)
{
    int32_t *pos = ints(rows);
    for (int r = 0; r < rows; r++)
        pos[r] = r % 3 == 0 ? r : r % 3 == 1 ? below(4096) : below(2000000000);
    pos[0] = 0;
    return pos;
}

static inline void rope_case(int rows, int heads, bool turn, bool backward)
{
    const int ld = heads * 64 + 64; /* heads behind are left alone */
    const size_t n = (size_t)rows * ld;
    const int32_t *pos = positions(rows);
    double f[32];
    frequencies(f);
    const float *x = random_bf16(n, 2.0), *dy = random_bf16(n, 1.0);
    float *want = floats(n), *want_inv = floats((size_t)rows * heads), *dx = floats(n);
    memcpy(want, x, n * sizeof *x);
    for (int r = 0; r < rows; r++)
        loci_rmsnorm_ref(want + (size_t)r * ld, 64, want_inv + r * heads, x + (size_t)r * ld, 64,
                         heads, 64, NORM_EPS);
    if (turn) rotate_rows(want, ld, pos, rows, heads, 1);
    const int32_t *at = turn ? put_i32(pos, rows) : NULL;
    const double *frequency = device(f, sizeof f);
    if (!backward) {
        loci_bf16 *y = out_bf16(x, n);
        float *inv = out_f32(NULL, (size_t)rows * heads);
        TWICE("norm_rope")
        loci_gpu_norm_rope(gpu, y, ld, inv, at, frequency, heads, rows, NORM_EPS);
        compare("y", get_bf16(y, n), want, n, ONE_ROUNDING);
        compare("inv", get_f32(inv, (size_t)rows * heads), want_inv, (size_t)rows * heads,
                F32_SUMS);
        done("norm_rope");
        return;
    }
    for (size_t i = 0; i < n; i++) want[i] = bf16_of(want[i]);
    const loci_bf16 *y = put_bf16(want, n);
    float *raw = floats(n), *d = floats(n);
    memcpy(raw, want, n * sizeof *raw);
    memcpy(d, dy, n * sizeof *d);
    if (turn) rotate_rows(raw, ld, pos, rows, heads, -1);
    if (turn) rotate_rows(d, ld, pos, rows, heads, -1);
    for (int r = 0; r < rows; r++) {
        loci_rmsnorm_bwd_ref(dx + (size_t)r * ld, 64, d + (size_t)r * ld, 64, raw + (size_t)r * ld,
                             64, want_inv + r * heads, heads, 64);
        memcpy(dx + (size_t)r * ld + heads * 64, dy + (size_t)r * ld + heads * 64, 64 * sizeof *dx);
    }
    loci_bf16 *out = out_bf16(dy, n);
    const float *inv = put_f32(want_inv, (size_t)rows * heads);
    TWICE("norm_rope_bwd")
    loci_gpu_norm_rope_bwd(gpu, out, ld, y, ld, inv, at, frequency, heads, rows);
    compare("dx", get_bf16(out, n), dx, n, ONE_ROUNDING);
    done("norm_rope_bwd");
}

static inline void rope_cases(bool backward)
{
    static const int heads[] = { 1, 2, 8, 10 };
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int h = 0; h < COUNT(heads); h++)
            for (int turn = 0; turn < 2; turn++) rope_case(row_counts[i], heads[h], turn, backward);
}

static void check_norm_rope(void)
{
    rope_cases(false);
}

static void check_norm_rope_bwd(void)
{
    rope_cases(true);
}

#endif
