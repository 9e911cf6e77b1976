/* avx2_peak.c - peak_body.h for AVX2. */
#include "kernel/x86/avx2_math.h"

typedef __m256i vi;

INLINE vi i_set(int x)
{
    return _mm256_set1_epi32(x);
}
INLINE vi i_bytes(int8_t x)
{
    return _mm256_set1_epi8(x);
}
INLINE vi i_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
INLINE vi i_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
INLINE vi i_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
INLINE void i_store(void *p, vi x)
{
    _mm256_storeu_si256((__m256i *)p, x);
}
/* Without VNNI it takes three instructions: pairs, sums of pairs, the sum. */
INLINE vi i_dot4(vi acc, vi a, vi b)
{
    const __m256i pairs = _mm256_maddubs_epi16(a, b);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/peak_body.h"
