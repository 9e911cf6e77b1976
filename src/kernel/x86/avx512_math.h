/* avx512_math.h - the vector vocabulary of the kernel bodies, in AVX-512: 16 lanes.
 *
 * avx2_math.h says the same words with 8 lanes; the *_body.h files are written in them once.
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

typedef __m512 vf;    /* VL floats */
typedef __mmask16 vm; /* which of them count */

/* Register tiles of 8 rows by 3 vectors take 24 of 32 registers; 3 loads of B and 8 broadcasts
 * feed 24 multiply-adds, which two load ports can follow.  Four rows of x fit an inner product. */
enum { VL = 16, TILE_ROWS = 8, TILE_VECS = 3, INNER_ROWS = 4 };

/* ---- lanes ------------------------------------------------------------------------------ */

/* The first n; n <= 0: none, n >= VL: all. */
INLINE vm v_lanes(ptrdiff_t n)
{
    return (vm)(n >= 16 ? 0xffffu : n <= 0 ? 0u : (1u << n) - 1u);
}

/* Those from first on that are below last. */
INLINE vm v_range(ptrdiff_t first, ptrdiff_t last)
{
    return (vm)(v_lanes(last) & ~v_lanes(first));
}

INLINE vf v_select(vm m, vf yes, vf no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}

/* Bit i: lane i of both is equal. */
INLINE unsigned v_equal(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

/* ---- memory ----------------------------------------------------------------------------- */

INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

/* Lanes outside m are 0 and not read. */
INLINE vf v_load_some(const float *p, vm m)
{
    return _mm512_maskz_loadu_ps(m, p);
}

INLINE void v_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

/* Lanes outside m are not written. */
INLINE void v_store_some(float *p, vm m, vf x)
{
    _mm512_mask_storeu_ps(p, m, x);
}

/* n <= VL stored values as f32, zero behind them. */
INLINE vf v_from_bf16(const uint16_t *p, ptrdiff_t n)
{
    const __m256i h = _mm256_maskz_loadu_epi16(v_lanes(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE vf v_from_i8(const int8_t *p, ptrdiff_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(v_lanes(n), p)));
}

INLINE vf v_from_f16(const uint8_t *p, ptrdiff_t n) /* p of any alignment */
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(v_lanes(n), p));
}

/* An E4M3 code is an f16 one without the top of its exponent: shifted up (its sign has been spread
 * over a second byte), it is 2^-8 of the value.  NaN comes out as +-1.875 and is the caller's. */
INLINE vf v_from_e4m3(const uint8_t *p, ptrdiff_t n)
{
    const __m128i code = n < 16 ? _mm_maskz_loadu_epi8(v_lanes(n), p)
                                : _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m256i up = _mm256_slli_epi16(_mm256_cvtepi8_epi16(code), 7);
    return _mm512_cvtph_ps(_mm256_and_si256(up, _mm256_set1_epi16((short)0xbf80)));
}

INLINE vf v_widen_i8(__m128i q, const int v) /* bytes VL v .. of 16 */
{
    (void)v;
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

/* n <= VL values within -127..127, rounded to nearest even. */
INLINE void v_to_i8(int8_t *p, ptrdiff_t n, vf x)
{
    _mm_mask_storeu_epi8(p, v_lanes(n), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

/* n <= VL/2 values, each in two neighbouring lanes. */
INLINE vf v_twice(const float *p, ptrdiff_t n)
{
    const __m512i pair = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(pair, v_load_some(p, v_lanes(n < 8 ? n : 8)));
}

/* ---- arithmetic ------------------------------------------------------------------------- */

INLINE vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
INLINE vf v_zero(void)
{
    return _mm512_setzero_ps();
}
INLINE vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
INLINE vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
INLINE vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
INLINE vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
INLINE vf v_fma(vf a, vf b, vf c) /* a b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vf v_fnma(vf a, vf b, vf c) /* c - a b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
INLINE vf v_fms(vf a, vf b, vf c) /* a b - c */
{
    return _mm512_fmsub_ps(a, b, c);
}
INLINE vf v_max(vf a, vf b) /* b where either is NaN; v_min too */
{
    return _mm512_max_ps(a, b);
}
INLINE vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
INLINE vf v_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
INLINE vf v_abs(vf a)
{
    return _mm512_abs_ps(a);
}
INLINE vf v_swap_pairs(vf a) /* lanes 1 0 3 2 .. */
{
    return _mm512_permute_ps(a, 0xb1);
}
INLINE vf v_fma_sub_add(vf a, vf b, vf c) /* even lanes a b - c, odd lanes a b + c */
{
    return _mm512_fmaddsub_ps(a, b, c);
}

/* ---- across lanes ----------------------------------------------------------------------- */

INLINE float v_first(vf a)
{
    return _mm512_cvtss_f32(a);
}
INLINE float v_sum(vf a)
{
    return _mm512_reduce_add_ps(a);
}
INLINE float v_greatest(vf a)
{
    return _mm512_reduce_max_ps(a);
}

/* The sums of four vectors, in order. */
INLINE __m128 v_sum4(vf a, vf b, vf c, vf d)
{
    const vf ab = v_add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const vf cd = v_add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const vf s = v_add(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

/* r[i] lane j <-> r[j] lane i: within 2 x 2, 4 x 4, then across the four quarters. */
INLINE void v_transpose(vf r[VL])
{
    vf t[16];
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

/* ---- powers of two, for exp_body.h ------------------------------------------------------ */

INLINE vf v_round(vf a) /* to nearest even, as a float */
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* To E4M3 and E2M1 values as in number.h: NaN stays, the rest is cut at 448 and 6. */
INLINE vf v_round_e4m3(vf a)
{
    const vf top = _mm512_min_ps(_mm512_set1_ps(448.0f), _mm512_abs_ps(a));
    const __m512i u = _mm512_castps_si512(top);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 20), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7ffff)), odd);
    const vf big = _mm512_castsi512_ps(_mm512_andnot_si512(_mm512_set1_epi32(0xfffff), up));
    const vf magic = _mm512_set1_ps(0x1.8p14f);
    const vm is_small = _mm512_cmp_ps_mask(top, _mm512_set1_ps(0x1p-6f), _CMP_LT_OQ);
    const vf r = _mm512_mask_sub_ps(big, is_small, _mm512_add_ps(top, magic), magic);
    const vf signed_r = _mm512_or_ps(r, _mm512_and_ps(a, _mm512_set1_ps(-0.0f)));
    return _mm512_mask_mov_ps(signed_r, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}

INLINE vf v_round_e2m1(vf a)
{
    const vf top = _mm512_min_ps(_mm512_set1_ps(6.0f), _mm512_abs_ps(a));
    vf magic = _mm512_set1_ps(0x1.8p24f);
    magic = _mm512_mask_mov_ps(magic, _mm512_cmp_ps_mask(top, _mm512_set1_ps(4.0f), _CMP_LT_OQ),
                               _mm512_set1_ps(0x1.8p23f));
    magic = _mm512_mask_mov_ps(magic, _mm512_cmp_ps_mask(top, _mm512_set1_ps(2.0f), _CMP_LT_OQ),
                               _mm512_set1_ps(0x1.8p22f));
    const vf r = _mm512_sub_ps(_mm512_add_ps(top, magic), magic);
    const vf signed_r = _mm512_or_ps(r, _mm512_and_ps(a, _mm512_set1_ps(-0.0f)));
    return _mm512_mask_mov_ps(signed_r, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}

/* x 2^n for whole |n| <= 217, through subnormals to 0 and up to infinity */
INLINE vf v_scale2(vf x, vf n)
{
    return _mm512_scalef_ps(x, n);
}

/* x = m 2^e of a normal x > 0, m in [3/4, 3/2) */
INLINE vf v_split2(vf x, vf *e)
{
    const vf m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src);
    *e = _mm512_getexp_ps(_mm512_div_ps(x, m)); /* of a power of 2, exactly */
    return m;
}

#include "kernel/x86/exp_body.h"

#endif
