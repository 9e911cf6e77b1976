/* bench_attn.h - attention, and the router and the index that find what it reads: for each family its sizes and one call (bench_take.h). */
#include "kernel/bench_take.h"

/* ---- attention -------------------------------------------------------------------------- */

/* d = T past H G d W */
static const size window_attn_sizes[] = {
    { "train T 512 W 128 H 3 d 64", { 512, 0, 3, 1, 64, 128 } },
    { "train T 512 W 512 H 3 d 64", { 512, 0, 3, 1, 64, 512 } },
    { "decode T 1 W 512 H 3 d 64", { 1, 511, 3, 1, 64, 512 } },
    { "ingest T 128 W 256 H 8 d 64", { 128, 255, 8, 2, 64, 256 } },
    { "decode T 1 W 256 H 8 d 64", { 1, 255, 8, 2, 64, 256 } },
    { 0 }
};
static const size window_attn_int_sizes[] = {
    { "ingest T 128 W 256 H 8 d 64", { 128, 255, 8, 2, 64, 256 } },
    { "decode T 1 W 256 H 8 d 64", { 1, 255, 8, 2, 64, 256 } },
    { 0 }
};
static const size window_attn_bwd_sizes[] = {
    { "train T 512 W 128 H 3 d 64", { 512, 0, 3, 1, 64, 128 } },
    { "train T 512 W 512 H 3 d 64", { 512, 0, 3, 1, 64, 512 } },
    { 0 }
};

/* Query-key pairs of one head. */
static double window_pairs(const int *d)
{
    double n = 0;
    for (int t = 0; t < d[0]; t++) n += t + d[1] + 1 < d[5] ? t + d[1] + 1 : d[5];
    return n;
}

static work once_window_attn(any_fn *fn, const int *d, pool *p)
{
    const int hd = d[2] * d[4], gd = d[3] * d[4], keys = d[0] + d[1];
    float *o = take_matrix(p, d[0], hd), *lse = take_matrix(p, d[0], d[2]);
    const float *q = take_matrix(p, d[0], hd), *k = take_matrix(p, keys, gd);
    ((loci_window_attn_fn *)fn)(o, hd, lse, q, hd, k, take_matrix(p, keys, gd), gd, d[0], d[1],
                                d[2], d[3], d[4], d[5], 0.125f);
    return (work){ 4.0 * hd * window_pairs(d), 8.0 * (d[0] * hd + keys * gd) };
}

/* Numbers as they come: any 16 bits are smaller than what the sums hold, after a shift. */
static int16_t *take_i16(pool *p, size_t n, int shift)
{
    int16_t *x = (int16_t *)(void *)take(p, (n + 1) / 2);
    for (size_t i = 0; p->fill && i < n; i++) x[i] = (int16_t)(x[i] >> shift);
    return x;
}

static work once_window_attn_int(any_fn *fn, const int *d, pool *p)
{
    const int hd = d[2] * d[4], cap = (d[0] + d[1] + 15) / 16 * 16;
    const size_t n = (size_t)cap * (size_t)(d[3] * d[4]);
    float *o = take_matrix(p, d[0], hd);
    const float *q = take_matrix(p, d[0], hd);
    const loci_kv_int kv = { take_i16(p, n, 4), take_i16(p, n, 9),
                             take_equal(p, (size_t)(cap * d[3]), 1e-3f),
                             take_equal(p, (size_t)(cap * d[3]), 1e-2f), cap };
    ((loci_window_attn_int_fn *)fn)(o, hd, q, hd, &kv, d[0], d[1], d[2], d[3], d[4], d[5], 0.125f);
    return (work){ 4.0 * hd * window_pairs(d), 8.0 * d[0] * hd + 4.0 * (double)n };
}

static work once_window_attn_bwd(any_fn *fn, const int *d, pool *p)
{
    const int hd = d[2] * d[4], gd = d[3] * d[4], T = d[0];
    float *dq = take_matrix(p, T, hd), *dk = take_matrix(p, T, gd), *dv = take_matrix(p, T, gd);
    const float *dout = take_matrix(p, T, hd), *q = take_matrix(p, T, hd),
                *o = take_matrix(p, T, hd);
    const float *k = take_matrix(p, T, gd), *v = take_matrix(p, T, gd);
    /* Large enough that probabilities stay below 1 whatever the inputs. */
    const float *lse = take_equal(p, (size_t)(T * d[2]), 8.0f);
    ((loci_window_attn_bwd_fn *)fn)(dq, hd, dk, dv, gd, dout, hd, q, hd, k, v, gd, o, hd, lse, T,
                                    d[2], d[3], d[4], d[5], 0.125f);
    return (work){ 10.0 * hd * window_pairs(d), 20.0 * T * hd + 24.0 * T * gd };
}

/* d = rows keys d */
static const size chunk_attn_sizes[] = { { "train 4096 x 64, d 64", { 4096, 64, 64 } },
                                         { "one token 8 x 64, d 64", { 8, 64, 64 } },
                                         { 0 } };
#define chunk_attn_bwd_sizes chunk_attn_sizes

static work once_chunk_attn(any_fn *fn, const int *d, pool *p)
{
    float *o = take_matrix(p, d[0], d[2]), *lse = take_matrix(p, 1, d[0]);
    const float *q = take_matrix(p, d[0], d[2]), *kv = take_matrix(p, d[1], 2 * d[2]);
    ((loci_chunk_attn_fn *)fn)(o, d[2], lse, q, d[2], kv, 2 * d[2], kv + d[2], 2 * d[2],
                               take_matrix(p, 1, d[0]), d[0], d[1], d[2], d[2], 0.25f);
    return (work){ 4.0 * d[0] * d[1] * d[2], 12.0 * d[0] * d[2] + 8.0 * d[1] * d[2] };
}

static work once_chunk_attn_bwd(any_fn *fn, const int *d, pool *p)
{
    const int r = d[0], w = d[2], ld = 2 * d[2];
    float *dq = take_matrix(p, r, w), *dkv = take_matrix(p, d[1], ld), *dw = take_matrix(p, 1, r);
    const float *dout = take_matrix(p, r, w), *q = take_matrix(p, r, w),
                *kv = take_matrix(p, d[1], ld);
    const float *lse = take_equal(p, (size_t)r, 16.0f), *weight = take_matrix(p, 1, r);
    ((loci_chunk_attn_bwd_fn *)fn)(dq, w, dkv, ld, dkv + w, ld, dw, dout, w, q, w, kv, ld, kv + w,
                                   ld, lse, weight, NULL, r, d[1], w, w, 0.25f);
    return (work){ 10.0 * r * d[1] * w, 16.0 * r * w + 24.0 * d[1] * w };
}

/* ---- router ----------------------------------------------------------------------------- */

/* d = chunks M d (listed chunks, 0: all) */
static const size landmark_topk_sizes[] = { { "4096 x 2 x 128", { 4096, 2, 128 } }, { 0 } };
static const size landmark_topk_q8_sizes[] = { { "256 of 16384 x 2 x 128", { 16384, 2, 128, 256 } },
                                               { "4096 x 1 x 128", { 4096, 1, 128 } },
                                               { 0 } };
static const size hamming_sizes[] = { { "32768 x 2 (1 MiB)", { 32768, 2 } },
                                      { "524288 x 2 (16 MiB)", { 524288, 2 } },
                                      { "262144 x 1 (4 MiB)", { 262144, 1 } },
                                      { 0 } };

static work once_landmark_topk(any_fn *fn, const int *d, pool *p)
{
    loci_scored best[16];
    const float *u = take_matrix(p, 1, d[2]), *lm = take_matrix(p, d[0] * d[1], d[2]);
    ((loci_landmark_topk_fn *)fn)(best, 0, 16, u, lm, take_matrix(p, 1, d[0]), 12.0f, d[1], d[2],
                                  d[0], 0);
    const double n = (double)d[0] * d[1] * d[2];
    return (work){ 2 * n, 4 * n };
}

static work once_landmark_topk_q8(any_fn *fn, const int *d, pool *p)
{
    loci_scored best[16];
    const float *u = take_matrix(p, 1, d[2]), *scale = take_matrix(p, d[0], d[1]);
    const float *bias = take_matrix(p, 1, d[0]);
    loci_query_i16 q;
    loci_query_round(&q, u, d[2]);
    const int8_t *lm = take_i8(p, (size_t)d[0] * (size_t)d[1] * (size_t)d[2]);
    const int n_list = d[3] ? d[3] : d[0];
    const int32_t *list = d[3] ? take_indices(p, d[3], 7919, d[0]) : NULL;
    ((loci_landmark_topk_q8_fn *)fn)(best, 0, 16, &q, lm, scale, bias, 12.0f, d[1], d[2], list,
                                     n_list, 0);
    const double n = (double)n_list * d[1] * d[2];
    return (work){ 2 * n, n };
}

static work once_hamming(any_fn *fn, const int *d, pool *p)
{
    const size_t n = (size_t)d[0] * (size_t)d[1];
    const uint64_t *code = (const uint64_t *)(const void *)take(p, 4 * n);
    uint8_t *dist = (uint8_t *)take_i8(p, (size_t)d[0]);
    ((loci_hamming_fn *)fn)(dist, code, code, d[1], d[0]);
    return (work){ 0, 16.0 * (double)n + d[0] };
}

/* d = groups of 16 keys, heads, dim: a block of Flash's keys, and more than a cache holds */
static const size index_scores_sizes[] = { { "block 256x64x128", { 16, 64, 128 } },
                                           { "scan 65536x64x128", { 4096, 64, 128 } },
                                           { 0 } };

static work once_index_scores(any_fn *fn, const int *d, pool *p)
{
    const int blocks = (d[2] + 31) / 32, bytes = 8 * d[2] + 16 * blocks;
    const double keys = 16.0 * d[0];
    float *score = take_matrix(p, d[0], 16);
    const float *scale = take_equal(p, (size_t)(d[1] * blocks), 0.25f);
    const float *w = take_matrix(p, 1, d[1]);
    int8_t *q = take_i8(p, (size_t)d[1] * (size_t)d[2]);
    uint8_t *group = (uint8_t *)take_i8(p, (size_t)d[0] * (size_t)bytes);
    for (int i = 0; p->fill && i < d[1] * d[2]; i++) q[i] = (int8_t)(i % 7 * 2 - 6);
    for (int g = 0; p->fill && g < d[0]; g++)
        for (int i = 8 * d[2]; i < bytes; i++) group[(size_t)g * (size_t)bytes + (size_t)i] = 125;
    ((loci_index_scores_fn *)fn)(score, q, scale, w, group, d[1], d[2], d[0]);
    return (work){ 2 * keys * d[1] * d[2], (double)d[0] * bytes + 4 * keys };
}
