/* avx512_math.h - small pieces shared by the AVX-512 files: tail masks, exp, transpose, sums.
 *
 * Static functions only: nothing compiled for this instruction set can be linked into a file that
 * must run elsewhere.  Forced inline, because registers are passed. */
#ifndef LOCI_KERNEL_AVX512_MATH_H
#define LOCI_KERNEL_AVX512_MATH_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
/* Loops over register arrays must vanish, or the arrays would live in memory. */
#define UNROLL _Pragma("GCC unroll 16")

/* The first n of 16 lanes; n <= 0: none, n >= 16: all. */
INLINE __mmask16 lanes(ptrdiff_t n)
{
    return n >= 16 ? (__mmask16)0xffff : n <= 0 ? (__mmask16)0 : (__mmask16)((1u << n) - 1u);
}

/* e^x, relative error <= 2e-7.  -inf and anything below -150 give 0, above 128 ln 2 +inf, NaN
 * stays NaN.  x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r), P minimax (error of the
 * formula 3e-9). */
INLINE __m512 exp512(__m512 x)
{
    /* The operand order of max and min lets a NaN in x through. */
    x = _mm512_min_ps(_mm512_set1_ps(150.0f), _mm512_max_ps(_mm512_set1_ps(-150.0f), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.69140625f), x); /* exact: 8 bits of ln 2 */
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.0017409306019544601f), r);
    __m512 p = _mm512_set1_ps(0.0013814539415761828f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.00836874544620514f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.04166838899254799f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.1666652113199234f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.4999999403953552f));
    const __m512 one = _mm512_set1_ps(1.0f);
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), one);
    return _mm512_scalef_ps(p, n);
}

/* ln x for normal x > 0, relative error <= 2e-7 except next to 1, where it is absolute.
 * x = m 2^e with m in [3/4, 3/2); ln m = 2 atanh s, s = (m-1)/(m+1), |s| <= 1/5. */
INLINE __m512 log512(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src);
    const __m512 e = _mm512_getexp_ps(_mm512_div_ps(x, m)); /* a power of 2, exactly */
    const __m512 s = _mm512_div_ps(_mm512_sub_ps(m, one), _mm512_add_ps(m, one));
    const __m512 t = _mm512_mul_ps(s, s);
    __m512 p = _mm512_set1_ps(2.0f / 9.0f);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(2.0f / 7.0f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(2.0f / 5.0f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(2.0f / 3.0f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(2.0f));
    return _mm512_fmadd_ps(e, _mm512_set1_ps(0.69314718f), _mm512_mul_ps(p, s));
}

/* 1 / (1 + e^-x) */
INLINE __m512 sigmoid512(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 e = exp512(_mm512_sub_ps(_mm512_setzero_ps(), x));
    return _mm512_div_ps(one, _mm512_add_ps(one, e));
}

/* r[i] lane j <-> r[j] lane i */
INLINE void transpose16(__m512 r[16])
{
    __m512 t[16];
    UNROLL for (int i = 0; i < 8; i++)
    {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        const __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 2]);
        const __m512d c = _mm512_castps_pd(t[4 * i + 1]), d = _mm512_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
    UNROLL for (int i = 0; i < 8; i++)
    {
        r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    }
}

/* The sums over all lanes of four vectors, in order. */
INLINE __m128 sum4(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 s =
        _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

#endif
