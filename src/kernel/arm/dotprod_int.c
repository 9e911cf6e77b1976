/* dotprod_int.c - integer products for ARM with the dot product instructions: tiles of 4 rows by 16
 * columns.
 *
 * sdot multiplies four signed bytes with four signed ones in every lane: nothing is shifted, so no sum
 * has to be taken out. */
#include <arm_neon.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { VL = 4, IROWS = 4, IPANELS = 1, HROWS = 2 };
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef int8x16_t vw, vx;

INLINE vi i_zero(void)
{
    return vdupq_n_s32(0);
}
INLINE vi i_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}
INLINE vw w8_of(const int8_t *p)
{
    return vld1q_s8(p);
}
/* 4-bit numbers lie 8 too high. */
INLINE vw w4_low(const uint8_t *p)
{
    const uint8x16_t w = vandq_u8(vld1q_u8(p), vdupq_n_u8(15));
    return vsubq_s8(vreinterpretq_s8_u8(w), vdupq_n_s8(8));
}
INLINE vw w4_high(const uint8_t *p)
{
    return vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8(p), 4)), vdupq_n_s8(8));
}
INLINE vx x4_of(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(v));
}
#define x8_of x4_of
INLINE vi i_start8(const int32_t *sum)
{
    (void)sum;
    return i_zero();
}
INLINE vi i_start4(int sum)
{
    (void)sum;
    return i_zero();
}
INLINE vi i_dot8(vi acc, vw w, vx x)
{
    return vdotq_s32(acc, w, x);
}
#define i_dot4 i_dot8

INLINE vf f_of(vi a)
{
    return vcvtq_f32_s32(a);
}
INLINE vf f_half(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
INLINE vf f_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
INLINE vf f_fma(vf a, vf b, vf c) /* a b + c */
{
    return vfmaq_f32(c, a, b);
}
INLINE vf f_set(float x)
{
    return vdupq_n_f32(x);
}
INLINE vf f_zero(void)
{
    return vdupq_n_f32(0.0f);
}
INLINE vf f_load(const float *p)
{
    return vld1q_f32(p);
}
/* n of VL numbers to y. */
INLINE void f_put(float *y, int n, vf v, int add)
{
    float old[VL] = { 0 };
    const size_t bytes = (size_t)(n < VL ? n : VL) * sizeof *y;
    if (n >= VL) {
        vst1q_f32(y, add ? vaddq_f32(vld1q_f32(y), v) : v);
        return;
    }
    if (add) memcpy(old, y, bytes);
    vst1q_f32(old, add ? vaddq_f32(vld1q_f32(old), v) : v);
    memcpy(y, old, bytes);
}

#define LOCI_ISA(family) loci_##family##_dotprod
#include "kernel/int_body.h"
