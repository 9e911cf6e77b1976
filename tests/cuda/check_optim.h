/* check_optim.h - checks of the gradient's norm, AdamW and Muon. */
#ifndef CHECK_OPTIM_H
#define CHECK_OPTIM_H

#include "gpu_test.h"

#include "model/model.h"

static void check_norm(void)
{
    static const int sizes[] = { 1, 255, 1025, 300000 };
    for (int i = 0; i < COUNT(sizes); i++)
        for (int bad = 0; bad < 2; bad++) {
            const size_t n = sizes[i];
            float *x = random_f32(n, 1e3);
            if (bad) x[n / 2] = NAN;
            const double want = sqrt(loci_dot_ref(x, x, n));
            double *norm = result(NULL, sizeof want);
            double *partial = device(NULL, 1024 * sizeof want);
            const float *in = put_f32(x, n);
            TWICE("norm") loci_gpu_norm(gpu, norm, partial, in, n);
            const double got = *(const double *)get(norm, sizeof want);
            if (bad ? !isnan(got) : !(fabs(got - want) <= 1e-12 * want))
                fail_msg("norm: %.17g, should be %.17g", got, want);
            done("norm");
        }
}

static inline uint8_t *flags(size_t n, int every)
{
    uint8_t *x = host(n + 1);
    for (size_t i = 0; i < n; i++) x[i] = every > 0 && i % every == 1;
    return x;
}

static inline void adamw_case(size_t n, double norm, float clip)
{
    const size_t blocks = (n + 15) / 16;
    float *p = random_f32(n, 1.0), *m = random_f32(n, 1e-2), *v = random_f32(n, 1e-4),
          *g = random_f32(n, 0.1);
    for (size_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
    const uint8_t *decay = flags(blocks, 2), *muon = flags(blocks, 5);
    loci_gpu_adamw_job j = {
        .p = out_f32(p, n),
        .m = out_f32(m, n),
        .v = out_f32(v, n),
        .grad = out_f32(g, n),
        .copy = out_bf16(NULL, n),
        .decay = device(decay, blocks),
        .muon = device(muon, blocks),
        .norm = device(&norm, sizeof norm),
        .n = n,
        .lr = 0.05f,
        .b1 = 0.9f,
        .b2 = 0.98f,
        .eps = 1e-8f,
        .wd = 0.1f,
        .c1 = 0.27f,
        .c2 = 0.06f,
        .clip = clip,
    };
    for (size_t b = 0; b < blocks; b++) {
        const size_t at = b * 16, size = n - at < 16 ? n - at : 16;
        const loci_adamw_args args = { j.lr,
                                       j.b1,
                                       j.b2,
                                       j.eps,
                                       decay[b] ? j.wd : 0.0f,
                                       j.c1,
                                       j.c2,
                                       norm > clip ? (float)(clip / norm) : 1.0f };
        if (isfinite(norm) && !muon[b]) loci_adamw_ref(p + at, m + at, v + at, g + at, size, &args);
    }
    TWICE("adamw") loci_gpu_adamw(gpu, &j);
    compare("p", get_f32(j.p, n), p, n, 1e-5);
    compare("m", get_f32(j.m, n), m, n, 1e-5);
    compare("v", get_f32(j.v, n), v, n, 1e-5);
    equal_floats("grad", get_f32(j.grad, n), floats(n), n);
    compare("copy", get_bf16(j.copy, n), p, n, ONE_ROUNDING);
    const float *now = get_f32(j.p, n), *copy = get_bf16(j.copy, n);
    for (size_t i = 0; i < n; i++)
        if (copy[i] != bf16_of(now[i]))
            fail_msg("copy[%zu]: %g is not %g rounded", i, copy[i], now[i]);
    done("adamw");
}

static void check_adamw(void)
{
    static const int sizes[] = { 16, 48, 255, 4096 };
    for (int i = 0; i < COUNT(sizes); i++) {
        adamw_case(sizes[i], 0.5, 1.0f);
        adamw_case(sizes[i], 7.0, 1.0f);
        adamw_case(sizes[i], NAN, 1.0f);
        adamw_case(sizes[i], INFINITY, 1.0f);
    }
}

/* ---- rounding ------------------------------------------------------------------------------------------- */

/* Numbers of many sizes, groups apart by blocks that are left alone: the very numbers of the reference. */
static void check_round_four(void)
{
    static const int groups[] = { 1, 3, 130, 1000 };
    for (int i = 0; i < COUNT(groups); i++) {
        const size_t blocks = 2 * groups[i] + (groups[i] + 2) / 3, n = blocks * 16;
        float *p = random_f32(n, 0.05), *want = floats(n);
        uint8_t *four = host(blocks);
        for (size_t b = 0, g = 0; b < blocks; g++) {
            if (g % 3 == 1 && b + 2 * (groups[i] - g) < blocks) four[b++] = 0;
            if (b + 1 >= blocks) {
                while (b < blocks) four[b++] = 0;
                break;
            }
            four[b] = 1, four[b + 1] = 2;
            if (g % 7 == 3) p[b * 16 + 5] = 3.0f;                   /* one stands alone */
            if (g % 11 == 4) memset(p + b * 16, 0, 32 * sizeof *p); /* nothing to scale by */
            if (g % 13 == 6)
                for (int k = 0; k < 32; k++) p[b * 16 + k] *= 1e-6f; /* subnormal halves */
            b += 2;
        }
        memcpy(want, p, n * sizeof *p);
        for (size_t b = 0; b < blocks; b++)
            if (four[b] == 1) loci_four_nearest(want + b * 16, 1);
        float *x = out_f32(p, n), *kept = out_f32(NULL, n);
        loci_bf16 *copy = out_bf16(NULL, n);
        loci_gpu_round_four(gpu, x, copy, kept, device(four, blocks), n);
        equal_floats("p", get_f32(x, n), want, n);
        equal_floats("kept", get_f32(kept, n), p, n);
        const float *half = get_bf16(copy, n);
        for (size_t k = 0; k < n; k++)
            if (half[k] != bf16_of(want[k]))
                fail_msg("copy[%zu]: %g is not %g rounded", k, half[k], want[k]);
        done("round_four");
    }
}

/* ---- Muon ------------------------------------------------------------------------------------------------ */

/* C (r, c) = A (r, k) op(B), rounded to bf16 when asked. */
static inline void muon_product(float *c, const float *a, const float *b, int tb, int r, int k,
                                int cols, bool round)
{
    loci_gemm_ref(c, cols, a, k, 0, b, tb ? k : cols, tb, r, cols, k, 0.0f);
    for (size_t i = 0; round && i < (size_t)r * cols; i++) c[i] = bf16_of(c[i]);
}

/* Five steps on x (k, c); `round`: numbers are rounded where the device rounds them. */
static inline float *newton_schulz(const float *start, int k, int c, bool round)
{
    const size_t n = (size_t)k * c, kk = (size_t)k * k;
    float *x = floats(n), *next = floats(n), *a = floats(kk), *b = floats(kk);
    for (size_t i = 0; i < n; i++) x[i] = round ? bf16_of(start[i]) : start[i];
    for (int s = 0; s < 5; s++) {
        muon_product(a, x, x, 1, k, c, k, round);
        muon_product(b, a, a, 0, k, k, k, round);
        for (size_t i = 0; i < kk; i++) {
            b[i] = -4.7750f * a[i] + 2.0315f * b[i] + (i / k == i % k ? 3.4445f : 0.0f);
            if (round) b[i] = bf16_of(b[i]);
        }
        muon_product(next, b, x, 0, k, k, c, round);
        float *swap = x;
        x = next;
        next = swap;
    }
    return x;
}

typedef struct {
    int rows, cols, batch;
    double norm;
} muon_case;

static inline void muon_run(const muon_case *x)
{
    enum { SPACE = 24 }; /* floats between matrices, that must stay as they are */
    const int rows = x->rows, cols = x->cols, k = rows < cols ? rows : cols,
              c = rows < cols ? cols : rows;
    const size_t n = (size_t)rows * cols, each = n + SPACE, all = each * x->batch;
    const float lr = 0.3f, decay = 0.01f, clip = 1.0f,
                scale = x->norm > clip ? (float)(clip / x->norm) : 1.0f;
    const float *g = random_f32(all, 1.0), *before = random_f32(all, 0.1),
                *m0 = random_f32(all, 0.3);
    float *want_m = floats(all), *want = floats(all), *exact = floats(all), *u = floats(n);
    int64_t *offset = host(x->batch * sizeof *offset);
    memcpy(want_m, m0, all * sizeof *m0);
    for (int b = 0; b < x->batch; b++) {
        const size_t at = offset[b] = (int64_t)((x->batch - 1 - b) * each);
        double square = 0.0;
        for (size_t i = 0; i < n && isfinite(x->norm); i++) {
            const float gi = g[at + i] * scale, m = want_m[at + i] = 0.9f * m0[at + i] + 0.1f * gi;
            const float v = 0.1f * gi + 0.9f * m;
            u[rows > cols ? i % cols * rows + i / cols : i] = v;
            square += (double)v * v;
        }
        for (size_t i = 0; i < n; i++) u[i] /= (float)(sqrt(square) + 1e-7);
        const float step = lr * sqrtf(rows > cols ? (float)rows / (float)cols : 1.0f);
        const float *y = newton_schulz(u, k, c, true), *z = newton_schulz(u, k, c, false);
        for (size_t i = 0; i < n && isfinite(x->norm); i++) { /* the change of p alone */
            const size_t from = rows > cols ? i % cols * rows + i / cols : i;
            want[at + i] = -(decay * before[at + i] + step * y[from]);
            exact[at + i] = -(decay * before[at + i] + step * z[from]);
        }
    }
    const size_t kk = (size_t)k * k * x->batch * sizeof(loci_bf16),
                 nn = n * x->batch * sizeof(loci_bf16);
    const loci_gpu_muon_job j = {
        .p = out_f32(before, all),
        .m = out_f32(m0, all),
        .grad = put_f32(g, all),
        .norm = device(&x->norm, sizeof x->norm),
        .offset = device(offset, x->batch * sizeof *offset),
        .x = device(NULL, nn),
        .next = device(NULL, nn),
        .a = device(NULL, kk),
        .b = device(NULL, kk),
        .square = device(NULL, 64 * sizeof(float) * x->batch),
        .rows = rows,
        .cols = cols,
        .batch = x->batch,
        .lr = lr,
        .decay = decay,
        .clip = clip,
    };
    TWICE("muon") loci_gpu_muon(gpu, &j);
    float *p = get_f32(j.p, all);
    for (size_t i = 0; i < all; i++) p[i] -= before[i];
    compare("m", get_f32(j.m, all), want_m, all, F32_SUMS);
    /* A rounding that falls on the other side moves a number by 2^-8, and five steps stretch small
     * singular values most: 1e-2 by norm against the same roundings, 1e-1 against none. */
    compare("change of p, no roundings", p, exact, all, 1e-1);
    worst = 0.0;
    compare("change of p", p, want, all, SOME_ROUNDINGS);
    done("muon");
}

static void check_muon(void)
{
    static const muon_case cases[] = {
        { 8, 8, 1, 0.5 },   { 16, 64, 1, 3.0 },  { 64, 16, 2, 0.5 },   { 72, 40, 3, 2.0 },
        { 64, 64, 1, 1.0 }, { 40, 200, 2, 0.1 }, { 128, 128, 1, 2.0 }, { 16, 24, 2, NAN },
    };
    for (int i = 0; i < COUNT(cases); i++) muon_run(&cases[i]);
}

#endif
