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

INLINE uint64_t positive(vf a)
{
    return _mm512_cmp_ps_mask(a, v_zero(), _CMP_GT_OQ);
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

/* What each word of four codes of two words counts. */
INLINE __m512i bit_sums4(const uint64_t *code, const __m512i *plane)
{
    const __m512i x = _mm512_loadu_si512(code);
    __m512i set[4];
    UNROLL for (int p = 0; p < 4; p++) set[p] =
        _mm512_slli_epi64(_mm512_popcnt_epi64(_mm512_and_si512(x, plane[p])), (unsigned)p);
    return _mm512_sub_epi64(_mm512_add_epi64(_mm512_add_epi64(set[0], set[1]), set[2]), set[3]);
}

/* Codes of two words, 16 at a time: sums of four by four share a word before its two halves are added. */
void LOCI_ISA(bit_sums)(int16_t *sum, const uint64_t *code, const uint64_t *plane, int words, int n)
{
    /* Of every quarter the first four numbers: number k of quarter L is code 4 k + L. */
    const __m512i order = _mm512_castsi256_si512(
        _mm256_setr_epi16(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27));
    __m512i all[4];
    int i = 0;
    for (int p = 0; p < 4 && words == 2; p++)
        all[p] =
            _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(plane + 2 * p)));
    for (; words == 2 && i + 16 <= n; i += 16) {
        const uint64_t *x = code + 2 * (size_t)i;
        __m512i s = bit_sums4(x, all);
        s = _mm512_mask_mov_epi16(s, 0x22222222u, _mm512_slli_epi64(bit_sums4(x + 8, all), 16));
        s = _mm512_mask_mov_epi16(s, 0x44444444u, _mm512_slli_epi64(bit_sums4(x + 16, all), 32));
        s = _mm512_mask_mov_epi16(s, 0x88888888u, _mm512_slli_epi64(bit_sums4(x + 24, all), 48));
        s = _mm512_add_epi16(s, _mm512_shuffle_epi32(s, 0x4e));
        _mm256_storeu_si256((__m256i *)(void *)(sum + i),
                            _mm512_castsi512_si256(_mm512_permutexvar_epi16(order, s)));
    }
    bit_sums_from(i, sum, code, plane, words, n);
}
