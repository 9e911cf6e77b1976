/* avx512_int.c - integer products for AVX-512 with VNNI: tiles of 8 rows by 48 columns.
 *
 * vpdpbusd multiplies unsigned bytes with signed ones.  For w8, x goes in as x + 128, and 128 times
 * the sum of each row of W is where its sum starts from; 4-bit weights are unsigned as they lie, and
 * 8 times the sum of x is taken out. */
#include <string.h>
#include "kernel/x86/avx512_math.h"

enum { IROWS = 8, IPANELS = 3, HROWS = 8 };
typedef __m512i vi, vw, vx;

INLINE vi i_zero(void)
{
    return _mm512_setzero_si512();
}
INLINE vi i_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
INLINE vw w8_of(const int8_t *p)
{
    return _mm512_loadu_si512(p);
}
INLINE vw w4_low(const uint8_t *p)
{
    return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(15));
}
INLINE vw w4_high(const uint8_t *p)
{
    return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), _mm512_set1_epi8(15));
}
INLINE vx x4_of(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}
INLINE vx x8_of(const int8_t *p)
{
    return _mm512_xor_si512(x4_of(p), _mm512_set1_epi8(-128));
}
INLINE vi i_start8(const int32_t *sum)
{
    return _mm512_sub_epi32(i_zero(), _mm512_slli_epi32(_mm512_loadu_si512(sum), 7));
}
INLINE vi i_start4(int sum)
{
    return _mm512_set1_epi32(-8 * sum);
}
/* acc += products of unsigned and signed bytes.  By name: with the intrinsic, gcc 12 copies every
 * accumulator of a tile to memory and back in each step, which costs three quarters of the speed. */
INLINE vi products(vi acc, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
}
INLINE vi i_dot8(vi acc, vw w, vx x)
{
    return products(acc, x, w);
}
INLINE vi i_dot4(vi acc, vw w, vx x)
{
    return products(acc, w, x);
}

INLINE vf f_of(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
INLINE vf f_half(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
#include "kernel/x86/int_words.h"

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/int_body.h"
