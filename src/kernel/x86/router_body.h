/* router_body.h - scores of chunks and the best of them, in the words of avx*_math.h.
 *
 * Landmarks are walked in one list, a few rows at a time whatever M is, so that sums are folded
 * together.  The file that includes this defines LOCI_ISA(family) and, for int8 landmarks,
 *   Q8_ROWS   rows whose sums are folded together
 *   dots_q8(int32_t *out, const int8_t *const *row, const int16_t *q, d)   their products with q (d) */
#include <math.h>
#include "kernel/topk.h"

enum { ROWS = 8, AHEAD = 8 };

/* out[r] = <u, row[r]> of 8 rows */
INLINE void inner_rows(float *out, const float *const *row, const float *u, int d)
{
    vf sum[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++) sum[r] = v_zero();
    for (int i = 0; i < d; i += VL) {
        const vm some = v_lanes(d - i);
        const vf u_i = d - i >= VL ? v_load(u + i) : v_load_some(u + i, some);
        UNROLL for (int r = 0; r < ROWS; r++) sum[r] =
            v_fma(u_i, d - i >= VL ? v_load(row[r] + i) : v_load_some(row[r] + i, some), sum[r]);
    }
    _mm_storeu_ps(out, v_sum4(sum[0], sum[1], sum[2], sum[3]));
    _mm_storeu_ps(out + 4, v_sum4(sum[4], sum[5], sum[6], sum[7]));
}

int LOCI_ISA(landmark_topk)(loci_scored *best, int have, int K, const float *u, const float *lm,
                            const float *bias, float tau, int M, int d, int n, int32_t base)
{
    const size_t n_rows = (size_t)n * (size_t)M;
    float max = -INFINITY;
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const float *row[ROWS];
        float dot[ROWS];
        const size_t m = n_rows - r < ROWS ? n_rows - r : ROWS;
        for (size_t i = 0; i < ROWS; i++) /* a short last block repeats its first row */
            row[i] = lm + (r + (i < m ? i : 0)) * (size_t)d;
        inner_rows(dot, row, u, d);
        for (size_t i = 0; i < m; i++) {
            max = dot[i] > max ? dot[i] : max;
            if ((r + i + 1) % (size_t)M) continue;
            const int32_t c = (int32_t)((r + i) / (size_t)M);
            have = topk_insert(best, have, K, (loci_scored){ tau * max + bias[c], base + c });
            max = -INFINITY;
        }
    }
    return have;
}

/* ---- int8 landmarks --------------------------------------------------------------------- */

typedef struct {
    const loci_query_i16 *u;
    const int8_t *lm;
    const float *scale, *bias;
    float factor; /* tau unit */
    size_t d;
    const int32_t *list;
    size_t n;
    int32_t base;
} search;

/* Chunk number i of the search. */
INLINE int32_t chunk_at(const search *s, size_t i)
{
    return s->list ? s->list[i] : (int32_t)i;
}

/* x[i] = <q, l> scale of rows r .. r + m of the walk, m <= Q8_ROWS.  What a list names lies anywhere:
 * it is asked for some chunks ahead. */
INLINE void score_rows(float *x, const search *s, const size_t M, const int listed, size_t r,
                       size_t m)
{
    const int8_t *row[Q8_ROWS];
    float scale[Q8_ROWS];
    int32_t dot[Q8_ROWS];
    for (size_t i = 0; i < Q8_ROWS; i++) { /* a short last block repeats its first row */
        const size_t l = r + (i < m ? i : 0);
        const size_t at = listed ? (size_t)s->list[l / M] * M + l % M : l;
        row[i] = s->lm + at * s->d;
        scale[i] = s->scale[at];
        if (listed && l / M + AHEAD < s->n)
            _mm_prefetch((const char *)s->lm + ((size_t)s->list[l / M + AHEAD] * M + l % M) * s->d,
                         _MM_HINT_T0);
    }
    if (s->d == 128) /* the width of every model so far: q stays in registers */
        dots_q8(dot, row, s->u->q, 128);
    else
        dots_q8(dot, row, s->u->q, (int)s->d);
    for (int i = 0; i < Q8_ROWS; i++) x[i] = (float)dot[i] * scale[i];
}

INLINE int offer(loci_scored *best, int have, int K, const search *s, size_t chunk, float max)
{
    const int32_t c = chunk_at(s, chunk);
    const float score = max * s->factor + s->bias[c];
    if (have == K && K > 0 && score < best[K - 1].score) return have; /* nearly always */
    return topk_insert(best, have, K, (loci_scored){ score, s->base + c });
}

INLINE int topk_q8(loci_scored *best, int have, int K, const search *s, const size_t M,
                   const int listed)
{
    const size_t n_rows = s->n * M;
    float x[Q8_ROWS], max = -INFINITY;
    for (size_t r = 0; r < n_rows; r += Q8_ROWS) {
        const size_t m = n_rows - r < Q8_ROWS ? n_rows - r : Q8_ROWS;
        if (m == Q8_ROWS)
            score_rows(x, s, M, listed, r, Q8_ROWS);
        else
            score_rows(x, s, M, listed, r, m);
        for (size_t i = 0; i < m; i++) {
            max = x[i] > max ? x[i] : max;
            if ((r + i + 1) % M) continue;
            have = offer(best, have, K, s, (r + i) / M, max);
            max = -INFINITY;
        }
    }
    return have;
}

int LOCI_ISA(landmark_topk_q8)(loci_scored *best, int have, int K, const loci_query_i16 *u,
                               const int8_t *lm, const float *scale, const float *bias, float tau,
                               int M, int d, const int32_t *list, int n_list, int32_t base)
{
    const search s = { .u = u,
                       .lm = lm,
                       .scale = scale,
                       .bias = bias,
                       .factor = tau * u->unit,
                       .d = (size_t)d,
                       .list = list,
                       .n = (size_t)n_list,
                       .base = base };
    /* Constants for what models have: no divisions, and no question for the list at every row. */
    if (M == 1 && !list) return topk_q8(best, have, K, &s, 1, 0);
    if (M == 2 && !list) return topk_q8(best, have, K, &s, 2, 0);
    if (M == 2) return topk_q8(best, have, K, &s, 2, 1);
    return topk_q8(best, have, K, &s, (size_t)M, list != NULL);
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
