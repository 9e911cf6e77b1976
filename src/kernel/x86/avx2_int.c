/* avx2_int.c - integer products for AVX2: tiles of 4 rows by 16 columns.
 *
 * vpmaddubsw multiplies unsigned bytes with signed ones and adds pairs in 16 bits.  For w8, |w| goes in
 * with the sign of w on x: 2 * 128 * 127 fits, for every w.  4-bit weights are unsigned as they lie. */
#include "kernel/x86/avx2_math.h"

enum { IROWS = 4, IPANELS = 1, HROWS = 2 };
typedef __m256i vi, vx;
typedef struct {
    __m256i w, abs; /* abs: w8 only */
} vw;

INLINE vi i_zero(void)
{
    return _mm256_setzero_si256();
}
INLINE vi i_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
INLINE __m256i bytes_at(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
INLINE vw w8_of(const int8_t *p)
{
    const __m256i w = bytes_at(p);
    return (vw){ w, _mm256_abs_epi8(w) };
}
INLINE vw w4_low(const uint8_t *p)
{
    const __m256i w = _mm256_and_si256(bytes_at(p), _mm256_set1_epi8(15));
    return (vw){ w, w };
}
INLINE vw w4_high(const uint8_t *p)
{
    const __m256i w = _mm256_and_si256(_mm256_srli_epi16(bytes_at(p), 4), _mm256_set1_epi8(15));
    return (vw){ w, w };
}
INLINE vx x4_of(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}
#define x8_of x4_of
INLINE vi i_start8(const int32_t *sum)
{
    (void)sum;
    return i_zero();
}
INLINE vi i_start4(int sum)
{
    return _mm256_set1_epi32(-8 * sum);
}
INLINE vi i_dot4(vi acc, vw w, vx x)
{
    const __m256i pairs = _mm256_maddubs_epi16(w.w, x);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
INLINE vi i_dot8(vi acc, vw w, vx x)
{
    const __m256i pairs = _mm256_maddubs_epi16(w.abs, _mm256_sign_epi8(x, w.w));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE vf f_of(vi a)
{
    return _mm256_cvtepi32_ps(a);
}
INLINE vf f_half(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
#include "kernel/x86/int_words.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/int_body.h"
