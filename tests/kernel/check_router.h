/* check_router.h - best chunks, Hamming distances, int8 rows. */
#ifndef CHECK_ROUTER_H
#define CHECK_ROUTER_H

#include "kernel/number.h"
#include "kernel_test.h"

/* ---- the best of scored chunks ---------------------------------------------------------- */

typedef struct {
    int n, M, d, K;
} search_size;

static const search_size search_sizes[] = {
    { 0, 1, 1, 1 },    { 1, 1, 1, 1 },     { 7, 2, 7, 3 },     { 8, 3, 8, 8 },
    { 9, 2, 15, 16 },  { 17, 1, 16, 5 },   { 33, 5, 17, 4 },   { 64, 2, 128, 16 },
    { 129, 2, 33, 7 }, { 15, 9, 127, 64 }, { 31, 17, 512, 3 }, { 255, 2, 64, 1 },
    { 3, 1, 9, 0 }
};

/* Sorted by score then index, each score right, nothing better left out. */
static inline void check_best(const loci_scored *best, int have, int K, const double *score,
                              const double *error, const bool *offered, int n, int32_t base,
                              const char *what)
{
    int n_offered = 0;
    bool taken[512] = { false };
    for (int c = 0; c < n; c++) n_offered += offered[c];
    assert_int_equal(have, n_offered < K ? n_offered : K);
    for (int i = 0; i < have; i++) {
        const int c = best[i].index - base;
        assert_in_range(c, 0, n - 1);
        assert_true(offered[c] && !taken[c]);
        taken[c] = true;
        near(best[i].score, score[c], error[c], what, i, c);
        if (i > 0 && !(best[i - 1].score > best[i].score ||
                       (best[i - 1].score == best[i].score && best[i - 1].index < best[i].index)))
            fail_msg("%s: entries %d and %d out of order", what, i - 1, i);
    }
    for (int c = 0; have && have == K && c < n; c++)
        if (offered[c] && !taken[c] && score[c] - error[c] > best[have - 1].score)
            fail_msg("%s: chunk %d (%g) left out, worst kept %g", what, c, score[c],
                     (double)best[have - 1].score);
}

static inline void truth_score(const mat *u, const mat *lm, float bias, float tau, int M, int d,
                               int c, double *score, double *error)
{
    double max = -INFINITY, worst = 0;
    for (int m = 0; m < M; m++) {
        double sum = 0, size = 0;
        for (int i = 0; i < d; i++) {
            const double x =
                (double)u->at.f[i] * lm->at.f[(size_t)(c * M + m) * (size_t)d + (size_t)i];
            sum += x;
            size += fabs(x);
        }
        max = fmax(max, sum);
        worst = fmax(worst, size);
    }
    *score = tau * max + bias;
    *error = fabs((double)tau) * ((d + 3) * 2 * EPS * worst + (d + 2) * STEP) +
             4 * EPS * (fabs(tau * max) + fabs((double)bias));
}

/* f32 landmarks: all chunks, fed in two blocks. */
static inline void check_landmark_topk(loci_landmark_topk_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 30);
    for (int i = 0; i < COUNT(search_sizes) * 4; i++) {
        const search_size s = search_sizes[i / 4];
        const range kind = (range)(i % 4);
        const int32_t base = 1000;
        mat u = mat_new(&rng, kind, 1, s.d, 0, i % 3),
            lm = mat_new(&rng, kind, s.n * s.M, s.d, 0, i % 3);
        mat bias = mat_new(&rng, kind, 1, s.n, 0, i % 3);
        loci_scored best[65] = { 0 };
        double score[512], error[512];
        bool offered[512];
        for (int c = 0; c < s.n; c++) {
            truth_score(&u, &lm, bias.at.f[c], 12.5f, s.M, s.d, c, &score[c], &error[c]);
            offered[c] = true;
        }
        const int half = s.n / 2;
        best[s.K].index = -7; /* one behind the list */
        int have = fn(best, 0, s.K, u.at.f, lm.at.f, bias.at.f, 12.5f, s.M, s.d, half, base);
        have = fn(best, have, s.K, u.at.f, lm.at.f + (size_t)(half * s.M) * (size_t)s.d,
                  bias.at.f + half, 12.5f, s.M, s.d, s.n - half, base + half);
        check_best(best, have, s.K, score, error, offered, s.n, base, "landmark_topk");
        assert_int_equal(best[s.K].index, -7);
        mat_free(&u);
        mat_free(&lm);
        mat_free(&bias);
    }
}

/* The score of chunk c by the contract, and what it may be off from that of u as it was: half a unit
 * times each of a landmark's numbers, and the roundings. */
static inline float whole_score(const loci_query_i16 *q, const int8_t *lm, const float *scale,
                                float bias, float tau, int M, int d, int c)
{
    float max = -INFINITY;
    for (int m = 0; m < M; m++) {
        int32_t dot = 0;
        for (int i = 0; i < d; i++)
            dot += q->q[i] * lm[(size_t)(c * M + m) * (size_t)d + (size_t)i];
        const float x = (float)dot * scale[c * M + m];
        max = x > max ? x : max;
    }
    return max * (tau * q->unit) + bias;
}

static inline void near_unrounded(float got, const mat *u, const loci_query_i16 *q,
                                  const int8_t *lm, const float *scale, float bias, float tau,
                                  int M, int d, int c)
{
    double max = -INFINITY, off = 0;
    for (int m = 0; m < M; m++) {
        double sum = 0, size = 0;
        for (int i = 0; i < d; i++) {
            const int8_t l = lm[(size_t)(c * M + m) * (size_t)d + (size_t)i];
            sum += (double)u->at.f[i] * l;
            size += abs(l);
        }
        max = fmax(max, sum * scale[c * M + m]);
        /* 0.501: the division by the unit is rounded before it is rounded to a whole number. */
        off = fmax(off, 0.501 * q->unit * size * fabs((double)scale[c * M + m]));
    }
    near(got, tau * max + bias,
         tau * off + 8 * EPS * (tau * (fabs(max) + off) + fabs((double)bias)),
         "landmark_topk_q8, unrounded", c, d);
}

/* int8 landmarks: all chunks, or those of a list in any order; the bits of every score. */
static inline void check_landmark_topk_q8(loci_landmark_topk_q8_fn *fn)
{
    const float tau = 3.0f;
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 31);
    for (int i = 0; i < COUNT(search_sizes) * 6; i++) {
        const search_size s = search_sizes[i / 6];
        const range kind = (range)(i % 3);
        mat u = mat_new(&rng, kind, 1, s.d, 0, i % 3),
            scale = mat_new(&rng, kind, s.n, s.M, 0, i % 3);
        mat lm = mat_raw(1, s.n * s.M, s.d, 0, i % 3), bias = mat_new(&rng, kind, 1, s.n, 0, i % 3);
        mat list = mat_raw(4, 1, (s.n + 2) / 3, 0, 0); /* every third chunk, from behind */
        for (int j = 0; j < s.n * s.M * s.d; j++)      /* -128 too: a file may hold it */
            lm.at.q[j] = (int8_t)((int)loci_rng_below(&rng, 256) - 128);
        loci_query_i16 q;
        loci_query_round(&q, u.at.f, s.d);
        loci_scored best[65] = { 0 };
        double score[512], error[512] = { 0 };
        bool offered[512];
        for (int c = 0; c < s.n; c++) {
            const float x = whole_score(&q, lm.at.q, scale.at.f, bias.at.f[c], tau, s.M, s.d, c);
            near_unrounded(x, &u, &q, lm.at.q, scale.at.f, bias.at.f[c], tau, s.M, s.d, c);
            score[c] = (double)x;
            offered[c] = i % 2 == 0 || c % 3 == 0;
        }
        for (int j = 0; j < list.cols; j++) list.at.i[j] = 3 * (list.cols - 1 - j);
        best[s.K].index = -7; /* one behind the list */
        const int have = fn(best, 0, s.K, &q, lm.at.q, scale.at.f, bias.at.f, tau, s.M, s.d,
                            i % 2 ? list.at.i : NULL, i % 2 ? list.cols : s.n, 5);
        check_best(best, have, s.K, score, error, offered, s.n, 5, "landmark_topk_q8");
        assert_int_equal(best[s.K].index, -7);
        mat *all[] = { &u, &scale, &lm, &bias, &list };
        for (int j = 0; j < 5; j++) mat_free(all[j]);
    }
}

/* ---- Hamming ---------------------------------------------------------------------------- */

static inline void check_hamming(loci_hamming_fn *fn)
{
    static const int codes[] = { 1, 2, 3, 4, 9 };
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 32);
    for (int i = 0; i < COUNT(awkward) * COUNT(codes); i++) {
        const int n = awkward[i / COUNT(codes)], M = codes[i % COUNT(codes)];
        mat code = mat_raw(8, n, 2 * M, 0, 0), dist = mat_raw(1, 1, n, 0, i % 4);
        uint64_t *x = (uint64_t *)(void *)code.at.q;
        const uint64_t query[2] = { loci_rng_u64(&rng), loci_rng_u64(&rng) };
        for (int j = 0; j < n * M; j++) {
            x[2 * j] = loci_rng_u64(&rng);
            x[2 * j + 1] = loci_rng_u64(&rng);
            if (j % 5 == 1) memcpy(x + 2 * j, query, 16);                       /* 0 bits apart */
            for (int b = 0; b < 2 && j % 7 == 2; b++) x[2 * j + b] = ~query[b]; /* all 128 */
        }
        fn(dist.at.q ? (uint8_t *)dist.at.q : NULL, x, query, M, n);
        for (int c = 0; c < n; c++) {
            int want = 128;
            for (int m = 0; m < M; m++) {
                const uint64_t *at = x + 2 * (c * M + m);
                const int apart =
                    __builtin_popcountll(at[0] ^ query[0]) + __builtin_popcountll(at[1] ^ query[1]);
                if (apart < want) want = apart;
            }
            assert_int_equal((uint8_t)dist.at.q[c], want);
        }
        mat_intact(&dist, "hamming");
        mat_free(&code);
        mat_free(&dist);
    }
}

/* ---- int8 rows -------------------------------------------------------------------------- */

/* Stored numbers must be the same bit for bit everywhere: no bound, equality. */
static inline void check_quant_q8(loci_quant_q8_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 33);
    for (int i = 0; i < COUNT(awkward) * 8; i++) {
        const int cols = awkward[i / 8], rows = 4, shift = i % 3;
        mat x = mat_new(&rng, (range)(i % 4), rows, cols, shift, shift);
        for (int c = 0; c < cols; c++) {
            x.at.f[c] = 0.0f;                           /* a zero row */
            x.at.f[(size_t)x.ld + (size_t)c] *= 1e-25f; /* subnormal, if TINY */
            x.at.f[2 * (size_t)x.ld + (size_t)c] = (float)(c % 255 - 127) / 2; /* ties */
        }
        mat q = mat_raw(1, rows, cols, shift, shift), scale = mat_raw(4, 1, rows, 0, shift);
        fn(q.at.q, q.ld, scale.at.f, x.at.f, x.ld, rows, cols);
        for (int r = 0; r < rows; r++) {
            float max = 0.0f;
            for (int c = 0; c < cols; c++) max = fmaxf(max, fabsf(mat_at(&x, r, c)));
            const float unit = max / 127.0f;
            assert_true(scale.at.f[r] == unit);
            for (int c = 0; c < cols; c++) {
                const float v = unit > 0 ? mat_at(&x, r, c) / unit : 0.0f;
                const long want = lrintf(v < -127 ? -127 : v > 127 ? 127 : v);
                assert_int_equal(q.at.q[(size_t)r * (size_t)q.ld + (size_t)c], want);
            }
        }
        mat_intact(&q, "quant_q8");
        mat_intact(&scale, "quant_q8 scale");
        mat_free(&x);
        mat_free(&q);
        mat_free(&scale);
    }
}

static inline void check_dequant_q8(loci_dequant_q8_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 34);
    for (int i = 0; i < COUNT(awkward) * 4; i++) {
        const int cols = awkward[i / 4], rows = 3, shift = i % 3;
        mat q = mat_raw(1, rows, cols, shift, shift),
            scale = mat_new(&rng, (range)(i % 3), 1, rows, 0, shift);
        mat x = mat_new(&rng, UNSET, rows, cols, shift, shift);
        for (int j = 0; j < (int)mat_span(&q); j++)
            q.at.q[j] = (int8_t)((int)loci_rng_below(&rng, 256) - 128);
        fn(x.at.f, x.ld, q.at.q, q.ld, scale.at.f, rows, cols);
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++) {
                const float want =
                    scale.at.f[r] * (float)q.at.q[(size_t)r * (size_t)q.ld + (size_t)c];
                assert_true(mat_at(&x, r, c) == want);
            }
        mat_intact(&x, "dequant_q8");
        mat_free(&q);
        mat_free(&scale);
        mat_free(&x);
    }
}

/* Equality again, against numbers worked out from the contract. */
static inline void check_quant_q4(loci_quant_q4_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 35);
    for (int i = 0; i < 32; i++) {
        const int blocks = 1 + i % 4, rows = 4, shift = i % 3, cols = 32 * blocks;
        mat x = mat_new(&rng, (range)(i % 4), rows, cols, shift, shift);
        for (int c = 0; c < cols; c++) {
            x.at.f[c] = 0.0f;
            x.at.f[(size_t)x.ld + (size_t)c] *= i % 2 ? 1e-7f : 1e9f; /* halves at their ends */
            x.at.f[2 * (size_t)x.ld + (size_t)c] = (float)(c % 29 - 14) / 2; /* ties */
        }
        mat q = mat_raw(1, rows, cols / 2, shift, shift),
            scale = mat_raw(2, rows, blocks, shift, 0);
        uint16_t *half = (uint16_t *)(void *)scale.at.q;
        fn((uint8_t *)q.at.q, q.ld, half, scale.ld, x.at.f, x.ld, rows, cols);
        for (int r = 0; r < rows; r++)
            for (int b = 0; b < blocks; b++) {
                const uint16_t found = half[r * scale.ld + b];
                const float unit = loci_f16_to_f32(found);
                double max = 0.0;
                for (int c = 32 * b; c < 32 * b + 32; c++) max = fmax(max, fabs(mat_at(&x, r, c)));
                const double aim = fmin((double)((float)max / 7.0f), 65504.0);
                /* The nearest half: neither neighbour is nearer. */
                assert_true(unit >= 0.0f && unit <= 65504.0f);
                if (found < 0x7bff)
                    assert_true(aim - unit <= loci_f16_to_f32((uint16_t)(found + 1)) - aim);
                if (found > 0)
                    assert_true(unit - aim <= aim - loci_f16_to_f32((uint16_t)(found - 1)));
                for (int c = 32 * b; c < 32 * b + 32; c++) {
                    const float v = unit > 0 ? mat_at(&x, r, c) / unit : 0.0f;
                    const long want = lrintf(v < -7 ? -7 : v > 7 ? 7 : v) + 8;
                    const uint8_t byte =
                        (uint8_t)q.at.q[(size_t)r * (size_t)q.ld + (size_t)(c / 2)];
                    assert_int_equal(c % 2 ? byte >> 4 : byte & 15, want);
                }
            }
        mat_intact(&q, "quant_q4");
        mat_intact(&scale, "quant_q4 scale");
        mat_free(&x);
        mat_free(&q);
        mat_free(&scale);
    }
}

static inline void check_dequant_q4(loci_dequant_q4_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 36);
    for (int i = 0; i < 16; i++) {
        const int blocks = 1 + i % 4, rows = 3, shift = i % 3, cols = 32 * blocks;
        mat q = mat_raw(1, rows, cols / 2, shift, shift),
            scale = mat_raw(2, rows, blocks, shift, 0);
        mat x = mat_new(&rng, UNSET, rows, cols, shift, shift);
        uint16_t *half = (uint16_t *)(void *)scale.at.q;
        for (int j = 0; j < (int)mat_span(&q); j++) q.at.q[j] = (int8_t)loci_rng_below(&rng, 256);
        for (int j = 0; j < (int)mat_span(&scale); j++)
            half[j] = (uint16_t)loci_rng_below(&rng, 0x7c00);
        fn(x.at.f, x.ld, (const uint8_t *)q.at.q, q.ld, half, scale.ld, rows, cols);
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++) {
                const uint8_t byte = (uint8_t)q.at.q[(size_t)r * (size_t)q.ld + (size_t)(c / 2)];
                const int code = (c % 2 ? byte >> 4 : byte & 15) - 8;
                assert_true(mat_at(&x, r, c) ==
                            (float)code * loci_f16_to_f32(half[r * scale.ld + c / 32]));
            }
        mat_intact(&x, "dequant_q4");
        mat_free(&q);
        mat_free(&scale);
        mat_free(&x);
    }
}

#endif
