/* avx512_attn_int.c - window attention on integers for AVX-512 with VNNI: tiles of 8 rows by 48 keys. */
#include <string.h>
#include "kernel/x86/avx512_math.h"

enum { TILE = 8, SCORE_BLOCKS = 3 };
typedef __m512i vi;

INLINE vi i_zero(void)
{
    return _mm512_setzero_si512();
}
INLINE vi i_load(const int16_t *p)
{
    return _mm512_loadu_si512(p);
}
INLINE vi i_pair(const int16_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}
/* By name: see avx512_int.c. */
INLINE vi i_mac(vi acc, vi a, vi b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
}
INLINE vi i_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
INLINE vi i_round(vf x)
{
    return _mm512_cvtps_epi32(x);
}
INLINE vf f_of(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
INLINE int32_t i_sum(vi a)
{
    return _mm512_reduce_add_epi32(a);
}
INLINE void i_store16(int16_t *p, vi a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(a));
}

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/attn_int_body.h"
