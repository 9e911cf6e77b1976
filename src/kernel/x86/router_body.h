/* router_body.h - scores of chunks and the best of them, in the words of avx*_math.h.
 *
 * Landmarks are walked in one list, 8 rows at a time whatever M is, so that sums are folded
 * together.  The file that includes this defines LOCI_ISA(family). */
#include <math.h>
#include "kernel/topk.h"

enum { ROWS = 8, AHEAD = 8 };

INLINE vf load_landmark(const void *row, int i, int n, const int q8)
{
    if (q8) return v_from_i8((const int8_t *)row + i, n);
    return n >= VL ? v_load((const float *)row + i)
                   : v_load_some((const float *)row + i, v_lanes(n));
}

/* out[r] = <u, row[r]> of 8 rows */
INLINE void inner_rows(float *out, const void *const *row, const float *u, int d, const int q8)
{
    vf sum[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++) sum[r] = v_zero();
    for (int i = 0; i < d; i += VL) {
        const vf u_i = load_landmark(u, i, d - i, 0);
        UNROLL for (int r = 0; r < ROWS; r++) sum[r] =
            v_fma(u_i, load_landmark(row[r], i, d - i, q8), sum[r]);
    }
    _mm_storeu_ps(out, v_sum4(sum[0], sum[1], sum[2], sum[3]));
    _mm_storeu_ps(out + 4, v_sum4(sum[4], sum[5], sum[6], sum[7]));
}

typedef struct {
    const float *u, *bias, *scale; /* scale: int8 landmarks only */
    const void *lm;
    size_t row_bytes;
    float tau;
    int M, d;
    const int32_t *list;
    int n;
    int32_t base;
} search;

/* Chunk number i of the search. */
INLINE int32_t chunk_at(const search *s, int i)
{
    return s->list ? s->list[i] : i;
}

INLINE int topk(loci_scored *best, int have, int K, const search *s, const int q8)
{
    const size_t M = (size_t)s->M, n_rows = (size_t)s->n * M;
    float max = -INFINITY;
    for (size_t r = 0; r < n_rows;) {
        const void *row[ROWS];
        size_t at[ROWS];
        float dot[ROWS];
        const size_t m = n_rows - r < ROWS ? n_rows - r : ROWS;
        for (size_t i = 0; i < ROWS; i++) {
            const size_t l = r + (i < m ? i : 0); /* a short last block repeats its first row */
            at[i] = (size_t)chunk_at(s, (int)(l / M)) * M + l % M;
            row[i] = (const char *)s->lm + at[i] * s->row_bytes;
            if (s->list && l / M + AHEAD < (size_t)s->n)
                _mm_prefetch((const char *)s->lm +
                                 ((size_t)s->list[l / M + AHEAD] * M + l % M) * s->row_bytes,
                             _MM_HINT_T0);
        }
        inner_rows(dot, row, s->u, s->d, q8);
        for (size_t i = 0; i < m; i++) {
            const float x = q8 ? dot[i] * s->scale[at[i]] : dot[i];
            max = x > max ? x : max;
            if ((r + i + 1) % M) continue;
            const int32_t c = chunk_at(s, (int)((r + i) / M));
            have =
                topk_insert(best, have, K, (loci_scored){ s->tau * max + s->bias[c], s->base + c });
            max = -INFINITY;
        }
        r += m;
    }
    return have;
}

int LOCI_ISA(landmark_topk)(loci_scored *best, int have, int K, const float *u, const float *lm,
                            const float *bias, float tau, int M, int d, int n, int32_t base)
{
    const search s = { u, bias, NULL, lm, sizeof(float) * (size_t)d, tau, M, d, NULL, n, base };
    return topk(best, have, K, &s, 0);
}

int LOCI_ISA(landmark_topk_q8)(loci_scored *best, int have, int K, const float *u, const int8_t *lm,
                               const float *scale, const float *bias, float tau, int M, int d,
                               const int32_t *list, int n_list, int32_t base)
{
    const search s = { u, bias, scale, lm, (size_t)d, tau, M, d, list, n_list, base };
    return topk(best, have, K, &s, 1);
}

/* ---- Hamming ---------------------------------------------------------------------------- */

/* Chunks c .. n with the processor's own bit count, any M. */
static void hamming_from(int c, uint8_t *dist, const uint64_t *code, const uint64_t *query, int M,
                         int n)
{
    for (; c < n; c++) {
        long long min = 128;
        for (int m = 0; m < M; m++) {
            const uint64_t *x = code + ((size_t)c * (size_t)M + (size_t)m) * 2; /* code[c,m,:] */
            const long long apart =
                _mm_popcnt_u64(x[0] ^ query[0]) + _mm_popcnt_u64(x[1] ^ query[1]);
            if (apart < min) min = apart;
        }
        dist[c] = (uint8_t)min;
    }
}
