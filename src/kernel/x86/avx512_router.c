/* avx512_router.c - scores of chunks, the best of them, Hamming distances, with AVX-512.
 *
 * Landmarks are walked in one list, 8 rows at a time whatever M is, so that sums are folded
 * together.  Hamming distances count bits with VPOPCNTDQ and fold bytes, not words. */
#include <math.h>
#include "kernel/topk.h"
#include "kernel/x86/avx512_math.h"

enum { ROWS = 8, AHEAD = 8 };

INLINE __m512 load_landmark(const void *row, int i, __mmask16 mask, const int q8)
{
    if (!q8) return _mm512_maskz_loadu_ps(mask, (const float *)row + i);
    const __m128i v = _mm_maskz_loadu_epi8(mask, (const int8_t *)row + i);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v));
}

/* out[r] = <u, row[r]> of 8 rows */
INLINE void inner_rows(float *out, const void *const *row, const float *u, int d, const int q8)
{
    __m512 sum[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++) sum[r] = _mm512_setzero_ps();
    for (int i = 0; i < d; i += 16) {
        const __mmask16 mask = lanes(d - i);
        const __m512 u_i = _mm512_maskz_loadu_ps(mask, u + i);
        UNROLL for (int r = 0; r < ROWS; r++) sum[r] =
            _mm512_fmadd_ps(u_i, load_landmark(row[r], i, mask, q8), sum[r]);
    }
    _mm_storeu_ps(out, sum4(sum[0], sum[1], sum[2], sum[3]));
    _mm_storeu_ps(out + 4, sum4(sum[4], sum[5], sum[6], sum[7]));
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

int loci_landmark_topk_avx512(loci_scored *best, int have, int K, const float *u, const float *lm,
                              const float *bias, float tau, int M, int d, int n, int32_t base)
{
    const search s = { u, bias, NULL, lm, sizeof(float) * (size_t)d, tau, M, d, NULL, n, base };
    return topk(best, have, K, &s, 0);
}

int loci_landmark_topk_q8_avx512(loci_scored *best, int have, int K, const float *u,
                                 const int8_t *lm, const float *scale, const float *bias, float tau,
                                 int M, int d, const int32_t *list, int n_list, int32_t base)
{
    const search s = { u, bias, scale, lm, (size_t)d, tau, M, d, list, n_list, base };
    return topk(best, have, K, &s, 1);
}

/* ---- Hamming ------------------------------------------------------------------------------------ */

/* Distances of 32 codes as bytes: byte b of lane L is code 4 b + L.  Eight counts of 64 bits each
 * share one word, a byte apart, before the two halves of a code are added. */
INLINE __m512i distances32(const uint64_t *code, __m512i query)
{
    __m512i sum = _mm512_setzero_si512();
    UNROLL for (int b = 0; b < 8; b++)
    {
        const __m512i apart = _mm512_xor_si512(_mm512_loadu_si512(code + 8 * b), query);
        sum = _mm512_or_si512(sum, _mm512_slli_epi64(_mm512_popcnt_epi64(apart), 8 * b));
    }
    return _mm512_add_epi8(sum, _mm512_shuffle_epi32(sum, 0x4e));
}

/* One code a chunk: lanes 0..3 hold every fourth byte. */
INLINE void store_single(uint8_t *dist, __m512i d)
{
    const __m128i a = _mm_unpacklo_epi8(_mm512_castsi512_si128(d), _mm512_extracti32x4_epi32(d, 2));
    const __m128i b =
        _mm_unpacklo_epi8(_mm512_extracti32x4_epi32(d, 1), _mm512_extracti32x4_epi32(d, 3));
    _mm_storeu_si128((__m128i *)dist, _mm_unpacklo_epi8(a, b));
    _mm_storeu_si128((__m128i *)(dist + 16), _mm_unpackhi_epi8(a, b));
}

/* Two codes a chunk: the nearer one of lanes 0, 1 and of lanes 2, 3. */
INLINE void store_pairs(uint8_t *dist, __m512i d)
{
    const __m128i a = _mm_min_epu8(_mm512_castsi512_si128(d), _mm512_extracti32x4_epi32(d, 1));
    const __m128i b =
        _mm_min_epu8(_mm512_extracti32x4_epi32(d, 2), _mm512_extracti32x4_epi32(d, 3));
    _mm_storeu_si128((__m128i *)dist, _mm_unpacklo_epi8(a, b));
}

void loci_hamming_avx512(uint8_t *dist, const uint64_t *code, const uint64_t *query, int M, int n)
{
    const __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)query));
    int c = 0;
    if (M == 1)
        for (; c + 32 <= n; c += 32) store_single(dist + c, distances32(code + 2 * (size_t)c, q));
    else if (M == 2)
        for (; c + 16 <= n; c += 16) store_pairs(dist + c, distances32(code + 4 * (size_t)c, q));
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
