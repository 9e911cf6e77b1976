/* check_tier.h - checks of content rows that are served as 4-bit storage gives them back. */
#ifndef CHECK_TIER_H
#define CHECK_TIER_H

#include "check_rows.h"

enum { TIER_ROW = 128 };

static const int tier_chunks[] = { 1, 2, 7 };

typedef struct {
    int n, cols; /* chunks, columns of their rows */
    int32_t *n_tokens;
    uint8_t *packed;
    float *whole; /* (n*64, cols) */
    size_t all;   /* numbers of that */
} tier_case;

/* Full and short chunks, packed and whole ones, one without tokens. */
static inline tier_case tier_new(int n, int cols)
{
    tier_case x = {
        .n = n, .cols = cols, .n_tokens = ints(n), .packed = host(n), .all = (size_t)(n * 64 * cols)
    };
    x.whole = random_bf16(x.all, 2.0);
    for (int c = 0; c < n; c++) {
        x.n_tokens[c] = c == 3 ? 0 : c % 2 == 0 ? 64 : 1 + below(64);
        x.packed[c] = c != 1 && c != 4;
        memset(x.whole + (c * 64 + x.n_tokens[c]) * cols, 0,
               (size_t)((64 - x.n_tokens[c]) * cols) * sizeof *x.whole);
    }
    return x;
}

static inline loci_gpu_tier tier_put(const tier_case *x)
{
    return (loci_gpu_tier){ .whole = put_bf16(x->whole, x->all),
                            .packed = device(x->packed, x->n),
                            .n_tokens = put_i32(x->n_tokens, x->n),
                            .n_chunks = x->n,
                            .cols = x->cols };
}

static inline bool tier_counts(const tier_case *x, int row)
{
    return x->packed[row / 64] && row % 64 < x->n_tokens[row / 64];
}

/* The codes and scales of the CPU, to the bit: also of zeros, of tiny and of huge numbers. */
static inline void round_q4_case(int rows, float spread)
{
    const size_t n = (size_t)rows * 64;
    float *x = random_f32(n, (double)spread), *want = floats(n);
    uint8_t *q = host(n / 2);
    uint16_t *scale = host(n / 32 * sizeof *scale);
    if (rows > 1) memset(x + 32, 0, 64 * sizeof *x);
    for (size_t i = 96; i < n; i += 7) x[i] = x[96] * (float)(below(15) - 7) / 14.0f; /* ties */
    loci_quant_q4_ref(q, 32, scale, 2, x, 64, rows, 64);
    loci_dequant_q4_ref(want, 64, q, 32, scale, 2, rows, 64);
    for (size_t i = 0; i < n; i++) want[i] = bf16_of(want[i]);
    loci_bf16 *y = out_bf16(NULL, n);
    const float *from = put_f32(x, n);
    TWICE("round_q4") loci_gpu_round_q4(gpu, y, from, n);
    equal_floats("y", get_bf16(y, n), want, n);
    done("round_q4");
}

static void check_round_q4(void)
{
    static const float spread[] = { 1e-9f, 1e-3f, 1.0f, 3e5f, 1e8f };
    for (int i = 0; i < COUNT(row_counts); i++)
        for (int k = 0; k < COUNT(spread); k++) round_q4_case(row_counts[i], spread[k]);
}

static void check_add_halves(void)
{
    for (int i = 0; i < COUNT(row_counts); i++) {
        const int rows = row_counts[i];
        const size_t n = (size_t)rows * 128;
        const float *before = random_f32(n, 1.0);
        float *want = floats(n), *x = out_f32(before, n);
        for (size_t k = 0; k < n; k++) want[k] = before[k] + (k % 128 < 64 ? before[k + 64] : 0.0f);
        TWICE("add_halves") loci_gpu_add_halves(gpu, x, rows);
        equal_floats("x", get_f32(x, n), want, n);
        done("add_halves");
    }
}

static inline void serve_case(int n, int cols)
{
    const tier_case x = tier_new(n, cols);
    const int halves = cols / 64;
    const size_t factors = (size_t)(n * 64 * halves);
    const float *r = random_f32(x.all, 1.0), *context = random_f32((size_t)(n * cols), 1.0);
    float *want = floats(x.all), *want_inv = floats(factors), row[TIER_ROW];
    memcpy(want, x.whole, x.all * sizeof *want);
    for (int p = 0; p < n * 64; p++) {
        if (!tier_counts(&x, p)) continue;
        for (int k = 0; k < cols; k++) row[k] = r[p * cols + k] + context[p / 64 * cols + k];
        loci_rmsnorm_ref(want + p * cols, 64, want_inv + halves * p, row, 64, halves, 64, NORM_EPS);
    }
    const loci_gpu_tier t = tier_put(&x);
    loci_bf16 *served = out_bf16(NULL, x.all);
    float *inv = out_f32(NULL, factors);
    const float *pr = put_f32(r, x.all), *pc = put_f32(context, (size_t)(n * cols));
    TWICE("serve") loci_gpu_serve(gpu, &t, served, inv, pr, pc, NORM_EPS);
    compare("served", get_bf16(served, x.all), want, x.all, ONE_ROUNDING);
    compare("inv", get_f32(inv, factors), want_inv, factors, F32_SUMS);
    done("serve");
}

static void check_serve(void)
{
    for (int i = 0; i < COUNT(tier_chunks); i++)
        for (int cols = 64; cols <= TIER_ROW; cols += 64) serve_case(tier_chunks[i], cols);
}

static inline void unserve_case(int n, int cols)
{
    const tier_case x = tier_new(n, cols);
    const size_t places = (size_t)n * 64, wide = places * TIER_ROW;
    const int halves = cols / 64;
    const float *dcontent = random_f32(wide, 1.0), *served = random_bf16(x.all, 1.0);
    float *inv = random_f32(places * (size_t)halves, 2.0), *want = floats(x.all),
          *left = floats(wide), *sums = floats((size_t)(n * cols));
    memcpy(left, dcontent, wide * sizeof *left);
    for (size_t p = 0; p < places; p++) {
        const size_t at = p * (size_t)cols;
        for (int h = 0; h < halves && !tier_counts(&x, (int)p); h++)
            inv[p * (size_t)halves + (size_t)h] = 0.0f;
        if (!x.packed[p / 64]) continue;
        loci_rmsnorm_bwd_ref(want + at, 64, dcontent + p * TIER_ROW, 64, served + at, 64,
                             inv + p * (size_t)halves, halves, 64);
        memset(left + p * TIER_ROW, 0, (size_t)cols * sizeof *left);
        for (int k = 0; k < cols; k++)
            sums[p / 64 * (size_t)cols + (size_t)k] += want[at + (size_t)k];
    }
    const loci_gpu_tier t = tier_put(&x);
    const size_t context = (size_t)(n * cols);
    loci_bf16 *dr = out_bf16(NULL, x.all), *dcontext = out_bf16(NULL, context);
    float *d = out_f32(dcontent, wide);
    const loci_bf16 *y = put_bf16(served, x.all);
    const float *f = put_f32(inv, places * (size_t)halves);
    TWICE("unserve") loci_gpu_unserve(gpu, &t, dr, dcontext, d, y, f);
    compare("dr", get_bf16(dr, x.all), want, x.all, ONE_ROUNDING);
    compare("dcontext", get_bf16(dcontext, context), sums, context, ONE_ROUNDING);
    equal_floats("dcontent", get_f32(d, wide), left, wide);
    done("unserve");
}

static void check_unserve(void)
{
    for (int i = 0; i < COUNT(tier_chunks); i++)
        for (int cols = 64; cols <= TIER_ROW; cols += 64) unserve_case(tier_chunks[i], cols);
}

static inline void ageing_case(int n, int cols, bool gradient)
{
    const tier_case x = tier_new(n, cols);
    const size_t wide = (size_t)n * 64 * TIER_ROW, w = (size_t)cols;
    const float *served = random_bf16(x.all, 1.0), *before = random_f32(wide, 1.0), k = 0.37f;
    float *want = floats((size_t)n * 64), *d = floats(wide);
    memcpy(d, before, wide * sizeof *d);
    for (size_t i = 0; i < x.all; i++) {
        const float off = served[i] - x.whole[i];
        if (!tier_counts(&x, (int)(i / w))) continue;
        want[i / w] += off * off / (float)cols;
        d[i / w * TIER_ROW + i % w] += k * off;
    }
    const loci_gpu_tier t = tier_put(&x);
    float *loss = out_f32(NULL, (size_t)n * 64), *dcontent = out_f32(before, wide);
    const loci_bf16 *y = put_bf16(served, x.all);
    TWICE("ageing") loci_gpu_ageing(gpu, &t, loss, gradient ? dcontent : NULL, y, k);
    compare("loss", get_f32(loss, (size_t)n * 64), want, (size_t)n * 64, F32_SUMS);
    compare("dcontent", get_f32(dcontent, wide), gradient ? d : before, wide, F32_SUMS);
    done("ageing");
}

static void check_ageing(void)
{
    for (int i = 0; i < COUNT(tier_chunks); i++)
        for (int cols = 64; cols <= TIER_ROW; cols += 64)
            for (int gradient = 0; gradient < 2; gradient++)
                ageing_case(tier_chunks[i], cols, gradient);
}

#endif
