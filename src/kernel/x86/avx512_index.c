/* avx512_index.c - scores of a lightning index for AVX-512 with VNNI: four heads by two groups, eight
 * sums from six loads. */
#include <string.h>
#include "kernel/x86/avx512_math.h"

enum { HEADS = 4, GROUPS = 2 };
typedef __m512i vi;

INLINE vi i_zero(void)
{
    return _mm512_setzero_si512();
}
INLINE vi i_negative(vi a)
{
    return _mm512_sub_epi32(_mm512_setzero_si512(), a);
}
INLINE vi i_set8(int byte)
{
    return _mm512_set1_epi8((char)byte);
}
INLINE vi i_quad(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}
INLINE vi i_mac(vi acc, vi u, vi s)
{
    return _mm512_dpbusd_epi32(acc, u, s);
}
INLINE vf f_sums(vi acc)
{
    return _mm512_cvtepi32_ps(acc);
}
INLINE void i_codes(vi *low, vi *high, const uint8_t *p)
{
    const vi twice = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    const vi b = _mm512_loadu_si512(p), nibble = _mm512_set1_epi8(15);
    *low = _mm512_shuffle_epi8(twice, _mm512_and_si512(b, nibble));
    *high = _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(b, 4), nibble));
}
/* The bits of a power of two, over four. */
INLINE vf f_quarter_scales(const uint8_t *p)
{
    const vi byte = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(byte, 23)), _mm512_set1_ps(0.25f));
}

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/index_body.h"
