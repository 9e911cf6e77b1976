/* check_head.h - checks of cross-entropy and of the rows of the decode loss. */
#ifndef CHECK_HEAD_H
#define CHECK_HEAD_H

#include "check_read.h"

static inline void entropy_case(int rows, int vocab, bool gradient)
{
    const size_t n = (size_t)rows * vocab;
    float *logits = random_f32(n, vocab > 100 ? 8.0 : 60.0), *d = floats(n), *loss = floats(rows);
    float *weight = random_f32(rows, 1.0);
    int32_t *target = ints(rows), *best = ints(rows);
    for (int r = 0; r < rows; r++) {
        target[r] = r % 4 == 3 ? -1 : below(vocab);
        float *x = logits + (size_t)r * vocab; /* ties of the maximum: the lower index */
        if (r % 3 == 0) x[vocab - 1] = x[vocab / 2] = 61.0f;
        if (r % 3 == 1) x[0] = x[vocab - 1] = 61.0f;
    }
    memcpy(d, logits, n * sizeof *d);
    const float z = 1e-3f;
    loci_cross_entropy_ref(loss, best, d, vocab, target, weight, z, rows, vocab);
    float *out = out_f32(NULL, rows);
    int32_t *top = out_i32(NULL, rows);
    loci_bf16 *dl = gradient ? out_bf16(NULL, n) : NULL;
    const float *in = put_f32(logits, n), *w = gradient ? put_f32(weight, rows) : NULL;
    const int32_t *y = put_i32(target, rows);
    TWICE("cross_entropy") loci_gpu_cross_entropy(gpu, out, top, dl, in, y, w, z, rows, vocab);
    const int32_t *at = get_i32(top, rows);
    for (int r = 0; r < rows; r++)
        if (target[r] >= 0 && at[r] != best[r])
            fail_msg("best[%d]: %d, should be %d", r, at[r], best[r]);
    compare("loss", get_f32(out, rows), loss, rows, F32_SUMS);
    if (gradient) {
        const float *got = get_bf16(dl, n);
        for (int r = 0; r < rows; r++) /* a row at a time: softmax is far below the one-hot */
            compare("dlogits", got + (size_t)r * vocab, d + (size_t)r * vocab, vocab, ONE_ROUNDING);
    }
    done("cross_entropy");
}

static void check_cross_entropy(void)
{
    static const int vocabs[] = { 2, 62, 254, 258, 512, 514, 16384 }, rows[] = { 1, 5, 9 };
    for (int i = 0; i < COUNT(vocabs); i++)
        for (int j = 0; j < COUNT(rows); j++)
            for (int gradient = 0; gradient < 2; gradient++)
                entropy_case(rows[j], vocabs[i], gradient);
}

static inline int32_t *value_rows(int rows, int n)
{
    int32_t *index = ints(rows);
    for (int r = 0; r < rows; r++) index[r] = r % 5 == 2 ? -1 : (r * 3) % n;
    return index;
}

static void check_spread_values(void)
{
    static const int counts[] = { 1, 3, 65 };
    EITHER_CONTENT
    for (int i = 0; i < COUNT(counts); i++) {
        const int rows = counts[i], n = 256, cols = read_columns;
        const size_t all = (size_t)rows * WIDE;
        const float *content = random_bf16((size_t)(n * cols), 1.0);
        const int32_t *index = value_rows(rows, n);
        float *want = floats(all);
        for (size_t k = 0; k < all; k++)
            want[k] = index[k / WIDE] < 0
                          ? 0.0f
                          : content[(size_t)(index[k / WIDE] * cols + cols - 64) + k % 64];
        loci_bf16 *tile = out_bf16(NULL, all);
        const loci_bf16 *from = put_bf16(content, (size_t)(n * cols));
        const int32_t *at = put_i32(index, rows);
        TWICE("spread_values") loci_gpu_spread_values(gpu, tile, from, cols, at, rows);
        equal_floats("tile", get_bf16(tile, all), want, all);
        done("spread_values");
    }
}

static void check_collect_values(void)
{
    static const int counts[] = { 1, 3, 65 };
    for (int i = 0; i < COUNT(counts); i++) {
        const int rows = counts[i], n = 256;
        const size_t all = (size_t)rows * WIDE;
        const float *dtile = random_bf16(all, 1.0), *before = random_f32((size_t)n * 128, 1.0);
        const int32_t *index = value_rows(rows, n);
        float *want = floats((size_t)n * 128);
        memcpy(want, before, (size_t)n * 128 * sizeof *want);
        for (size_t k = 0; k < all; k++)
            if (index[k / WIDE] >= 0) want[(size_t)index[k / WIDE] * 128 + 64 + k % 64] += dtile[k];
        float *dcontent = out_f32(before, (size_t)n * 128);
        const loci_bf16 *from = put_bf16(dtile, all);
        const int32_t *at = put_i32(index, rows);
        TWICE("collect_values") loci_gpu_collect_values(gpu, dcontent, from, at, rows);
        compare("dcontent", get_f32(dcontent, (size_t)n * 128), want, (size_t)n * 128, F32_SUMS);
        done("collect_values");
    }
}

#endif
