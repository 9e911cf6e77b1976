/* avx2_attn_int.c - window attention on integers for AVX2: tiles of 4 rows by 16 keys. */
#include "kernel/x86/avx2_math.h"

enum { TILE = 4, SCORE_BLOCKS = 1 };
typedef __m256i vi;

INLINE vi i_zero(void)
{
    return _mm256_setzero_si256();
}
INLINE vi i_load(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
INLINE vi i_pair(const int16_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}
INLINE vi i_mac(vi acc, vi a, vi b)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}
INLINE vi i_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
INLINE vi i_round(vf x)
{
    return _mm256_cvtps_epi32(x);
}
INLINE vf f_of(vi a)
{
    return _mm256_cvtepi32_ps(a);
}
INLINE int32_t i_sum(vi a)
{
    int32_t out[8], sum = 0;
    _mm256_storeu_si256((__m256i *)(void *)out, a);
    for (int i = 0; i < 8; i++) sum += out[i];
    return sum;
}
INLINE void i_store16(int16_t *p, vi a)
{
    const __m128i h = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storeu_si128((__m128i *)(void *)p, h);
}

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/attn_int_body.h"
