/* avx512_router.c - router for AVX-512: router_body.h, and Hamming distances by VPOPCNTDQ that fold
 * bytes rather than words. */
#include "kernel/x86/avx512_math.h"

enum { Q8_ROWS = 16 };

/* Sum of pairs of products of the first n <= 32 columns onto acc. */
INLINE __m512i add_pairs32(__m512i acc, const int8_t *row, const int16_t *q, int n)
{
    const __mmask32 some = n >= 32 ? 0xffffffffu : (1u << n) - 1u;
    const __m512i l = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(some, row));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(l, _mm512_maskz_loadu_epi16(some, q)));
}

/* Four sums side by side in each quarter, of half as many numbers. */
INLINE __m512i fold4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

INLINE void dots_q8(int32_t *out, const int8_t *const *row, const int16_t *q, const int d)
{
    __m512i sum[Q8_ROWS], four[4];
    UNROLL for (int r = 0; r < Q8_ROWS; r++)
    {
        sum[r] = _mm512_setzero_si512();
        for (int i = 0; i < d; i += 32) sum[r] = add_pairs32(sum[r], row[r] + i, q + i, d - i);
    }
    UNROLL for (int r = 0; r < 4; r++) four[r] =
        fold4(sum[4 * r], sum[4 * r + 1], sum[4 * r + 2], sum[4 * r + 3]);
    /* Quarters of rows 0 .. 7 and 8 .. 15 added crosswise, then once more: rows in order. */
    const __m512i low = _mm512_add_epi32(_mm512_shuffle_i32x4(four[0], four[1], 0x44),
                                         _mm512_shuffle_i32x4(four[0], four[1], 0xee));
    const __m512i high = _mm512_add_epi32(_mm512_shuffle_i32x4(four[2], four[3], 0x44),
                                          _mm512_shuffle_i32x4(four[2], four[3], 0xee));
    _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88),
                                              _mm512_shuffle_i32x4(low, high, 0xdd)));
}

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/router_body.h"

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

void LOCI_ISA(hamming)(uint8_t *dist, const uint64_t *code, const uint64_t *query, int M, int n)
{
    const __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)query));
    int c = 0;
    if (M == 1)
        for (; c + 32 <= n; c += 32) store_single(dist + c, distances32(code + 2 * (size_t)c, q));
    else if (M == 2)
        for (; c + 16 <= n; c += 16) store_pairs(dist + c, distances32(code + 4 * (size_t)c, q));
    hamming_from(c, dist, code, query, M, n);
}
