/* avx2_math.h - the vector vocabulary of the kernel bodies, in AVX2 with FMA: 8 lanes.
 *
 * The words are explained in avx512_math.h, which says the same with 16 lanes. */
#ifndef LOCI_KERNEL_AVX2_MATH_H
#define LOCI_KERNEL_AVX2_MATH_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef __m256 vf;
typedef __m256i vm; /* all bits of a lane that counts */

/* 6 rows by 2 vectors take 12 of 16 registers. */
enum { VL = 8, TILE_ROWS = 6, TILE_VECS = 2, INNER_ROWS = 2 };

/* ---- lanes ------------------------------------------------------------------------------ */

INLINE vm v_range(ptrdiff_t first, ptrdiff_t last)
{
    const int from = first < 0 ? 0 : first > 8 ? 8 : (int)first;
    const int to = last < 0 ? 0 : last > 8 ? 8 : (int)last;
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
}

INLINE vm v_lanes(ptrdiff_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : (int)n), lane);
}

INLINE vf v_select(vm m, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(m));
}

INLINE unsigned v_equal(vf a, vf b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

/* ---- memory ----------------------------------------------------------------------------- */

INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

INLINE vf v_load_some(const float *p, vm m)
{
    return _mm256_maskload_ps(p, m);
}

INLINE void v_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}

/* A masked store is many times dearer than a plain one on some processors, and most are full. */
INLINE void v_store_some(float *p, vm m, vf x)
{
    if (_mm256_movemask_ps(_mm256_castsi256_ps(m)) == 0xff)
        _mm256_storeu_ps(p, x);
    else
        _mm256_maskstore_ps(p, m, x);
}

INLINE vf v_from_bf16(const uint16_t *p, ptrdiff_t n)
{
    uint16_t few[8] = { 0 };
    if (n < 8) memcpy(few, p, (size_t)n * sizeof *p);
    const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(n < 8 ? few : p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

INLINE vf v_from_i8(const int8_t *p, ptrdiff_t n)
{
    int8_t few[8] = { 0 };
    if (n < 8) memcpy(few, p, (size_t)n);
    const __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(n < 8 ? few : p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
}

INLINE void v_to_i8(int8_t *p, ptrdiff_t n, vf x)
{
    int8_t out[16];
    const __m256i w = _mm256_cvtps_epi32(x);
    const __m128i h = _mm_packs_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)(void *)out, _mm_packs_epi16(h, h));
    memcpy(p, out, n < 8 ? (size_t)n : 8);
}

INLINE vf v_from_f16(const uint8_t *p, ptrdiff_t n)
{
    uint16_t few[8] = { 0 };
    if (n < 8) memcpy(few, p, (size_t)n * sizeof *few);
    return _mm256_cvtph_ps(
        _mm_loadu_si128((const __m128i *)(const void *)(n < 8 ? (void *)few : p)));
}

INLINE vf v_from_e4m3(const uint8_t *p, ptrdiff_t n)
{
    uint8_t few[8] = { 0 };
    if (n < 8) memcpy(few, p, (size_t)n);
    const __m128i b =
        _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)(n < 8 ? few : p)));
    return _mm256_cvtph_ps(_mm_and_si128(_mm_slli_epi16(b, 7), _mm_set1_epi16((short)0xbf80)));
}

INLINE vf v_widen_i8(__m128i q, const int v)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v ? _mm_srli_si128(q, 8) : q));
}

INLINE vf v_twice(const float *p, ptrdiff_t n)
{
    const __m256i pair = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return _mm256_permutevar8x32_ps(v_load_some(p, v_lanes(n < 4 ? n : 4)), pair);
}

/* ---- arithmetic ------------------------------------------------------------------------- */

INLINE vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
INLINE vf v_zero(void)
{
    return _mm256_setzero_ps();
}
INLINE vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
INLINE vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
INLINE vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
INLINE vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
INLINE vf v_fnma(vf a, vf b, vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
INLINE vf v_fms(vf a, vf b, vf c)
{
    return _mm256_fmsub_ps(a, b, c);
}
INLINE vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
INLINE vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
INLINE vf v_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}
INLINE vf v_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
INLINE vf v_swap_pairs(vf a)
{
    return _mm256_permute_ps(a, 0xb1);
}
INLINE vf v_fma_sub_add(vf a, vf b, vf c)
{
    return _mm256_fmaddsub_ps(a, b, c);
}

/* ---- across lanes ----------------------------------------------------------------------- */

INLINE float v_first(vf a)
{
    return _mm256_cvtss_f32(a);
}

INLINE float v_sum(vf a)
{
    const __m128 h = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 q = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

INLINE float v_greatest(vf a)
{
    const __m128 h = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 q = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

INLINE __m128 v_sum4(vf a, vf b, vf c, vf d)
{
    const vf ab = v_add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const vf cd = v_add(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const vf s = v_add(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

INLINE void v_transpose(vf r[VL])
{
    vf t[8];
    UNROLL for (int i = 0; i < 4; i++)
    {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        t[i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
        t[4 + i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
    }
    UNROLL for (int i = 0; i < 8; i++) r[i] = t[i];
}

/* ---- powers of two ---------------------------------------------------------------------- */

INLINE vf v_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE vf v_round_e4m3(vf a)
{
    const __m256 sign = _mm256_and_ps(a, _mm256_set1_ps(-0.0f));
    const __m256 top = _mm256_min_ps(_mm256_set1_ps(448.0f), _mm256_andnot_ps(sign, a));
    const __m256i u = _mm256_castps_si256(top);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 20), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7ffff)), odd);
    const __m256 big = _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_set1_epi32(0xfffff), up));
    const __m256 magic = _mm256_set1_ps(0x1.8p14f);
    const __m256 small = _mm256_sub_ps(_mm256_add_ps(top, magic), magic);
    const __m256 is_small = _mm256_cmp_ps(top, _mm256_set1_ps(0x1p-6f), _CMP_LT_OQ);
    const __m256 r = _mm256_or_ps(_mm256_blendv_ps(big, small, is_small), sign);
    return _mm256_blendv_ps(r, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

INLINE vf v_round_e2m1(vf a)
{
    const __m256 sign = _mm256_and_ps(a, _mm256_set1_ps(-0.0f));
    const __m256 top = _mm256_min_ps(_mm256_set1_ps(6.0f), _mm256_andnot_ps(sign, a));
    __m256 magic = _mm256_set1_ps(0x1.8p24f);
    magic = _mm256_blendv_ps(magic, _mm256_set1_ps(0x1.8p23f),
                             _mm256_cmp_ps(top, _mm256_set1_ps(4.0f), _CMP_LT_OQ));
    magic = _mm256_blendv_ps(magic, _mm256_set1_ps(0x1.8p22f),
                             _mm256_cmp_ps(top, _mm256_set1_ps(2.0f), _CMP_LT_OQ));
    const __m256 r = _mm256_or_ps(_mm256_sub_ps(_mm256_add_ps(top, magic), magic), sign);
    return _mm256_blendv_ps(r, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

/* In two halves, each a normal power of 2. */
INLINE vf v_scale2(vf x, vf n)
{
    const __m256i all = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(all, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(all, half), bias), 23);
    return v_mul(v_mul(x, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}

INLINE vf v_split2(vf x, vf *e)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i three_quarters = _mm256_set1_epi32(0x3f400000);
    const __m256i n = _mm256_srai_epi32(_mm256_sub_epi32(bits, three_quarters), 23);
    *e = _mm256_cvtepi32_ps(n);
    return _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(n, 23)));
}

#include "kernel/x86/exp_body.h"

#endif
