/* avx2_index.c - scores of a lightning index for AVX2: four heads by one group, which takes two
 * registers.  Products of bytes come as sums of pairs in 16 bits and stay there for a block: at most
 * 12 * 12 * 2 * 8 steps and as much again where sums begin.  So a step costs two instructions where
 * sums of 32 bits would cost three. */
#include <string.h>
#include "kernel/x86/avx2_math.h"

enum { HEADS = 4, GROUPS = 1 };
typedef __m256i vi;

INLINE vi i_zero(void)
{
    return _mm256_setzero_si256();
}
INLINE vi i_negative(vi a)
{
    return _mm256_sub_epi16(_mm256_setzero_si256(), a);
}
INLINE vi i_set8(int byte)
{
    return _mm256_set1_epi8((char)byte);
}
INLINE vi i_quad(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}
INLINE vi i_mac(vi acc, vi u, vi s)
{
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, s));
}
INLINE vf f_sums(vi acc)
{
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(acc, _mm256_set1_epi16(1)));
}
INLINE void i_codes(vi *low, vi *high, const uint8_t *p)
{
    const vi twice = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    const vi b = _mm256_loadu_si256((const __m256i *)(const void *)p);
    const vi nibble = _mm256_set1_epi8(15);
    *low = _mm256_shuffle_epi8(twice, _mm256_and_si256(b, nibble));
    *high = _mm256_shuffle_epi8(twice, _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble));
}
/* The bits of a power of two, over four. */
INLINE vf f_quarter_scales(const uint8_t *p)
{
    const vi byte = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_slli_epi32(byte, 23)), _mm256_set1_ps(0.25f));
}

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/index_body.h"
