/* number.h - stored numbers narrower than f32, one value at a time: what each code means.
 *
 *   E4M3  s eeee mmm   bias 7, largest 448, no infinity, 0x7f and 0xff NaN, subnormal step 2^-9
 *   E2M1  s ee m       codes 0..7 = 0 .5 1 1.5 2 3 4 6, bit 3 the sign
 *   E8M0  eeeeeeee     2^(b-127), 255 NaN: a scale
 *   F16   s eeeee mmmmmmmmmm   IEEE binary16
 *
 * Rounding is to the nearest code, ties to the even one.  These are definitions, kept plain; the
 * vector forms in x86/ answer to them. */
#ifndef LOCI_KERNEL_NUMBER_H
#define LOCI_KERNEL_NUMBER_H

#include <math.h>
#include <stdint.h>

static inline float loci_bits_to_f32(uint32_t u)
{
    union {
        uint32_t u;
        float f;
    } v = { u };
    return v.f;
}

static inline uint32_t loci_f32_to_bits(float f)
{
    union {
        float f;
        uint32_t u;
    } v = { f };
    return v.u;
}

/* ---- E8M0 --------------------------------------------------------------------------------- */

static inline float loci_e8m0_to_f32(uint8_t b)
{
    if (b == 255) return NAN;
    /* 2^-127 is below the normal numbers of f32: half of the smallest. */
    return loci_bits_to_f32(b == 0 ? 0x00400000u : (uint32_t)b << 23);
}

/* The smallest power of two >= v, for a normal v in [2^-126, 2^127].  From the bits: a logarithm
 * may be an ulp off where v is a power of two, and the scale would double. */
static inline float loci_pow2ceil(float v)
{
    const uint32_t u = loci_f32_to_bits(v);
    return loci_bits_to_f32(((u >> 23) + ((u & 0x7fffffu) != 0)) << 23);
}

/* The byte of a power of two in [2^-126, 2^127]. */
static inline uint8_t loci_pow2_to_e8m0(float s)
{
    return (uint8_t)(loci_f32_to_bits(s) >> 23);
}

/* ---- F16 ---------------------------------------------------------------------------------- */

static inline float loci_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00u) /* infinity and NaN */
        return loci_bits_to_f32(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
    if (rest < 0x400u) { /* subnormal: a multiple of 2^-24 */
        const float v = (float)rest * 0x1p-24f;
        return sign ? -v : v;
    }
    return loci_bits_to_f32(sign | ((rest << 13) + (112u << 23)));
}

/* v to the nearest half, ties to even; beyond 65504 infinity.  NaN stays. */
static inline uint16_t loci_f32_to_f16(float v)
{
    const uint32_t u = loci_f32_to_bits(v), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520: half way to 2^16 */
    /* The ulp of 1/2 is the subnormal step 2^-24: adding it rounds to the step. */
    if (a < 0x38800000u)
        return (uint16_t)(sign | (loci_f32_to_bits(fabsf(v) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | ((a - (112u << 23) + 0xfffu + (a >> 13 & 1u)) >> 13));
}

/* ---- E4M3 --------------------------------------------------------------------------------- */

static inline float loci_e4m3_to_f32(uint8_t b)
{
    const uint32_t sign = (uint32_t)(b & 0x80u) << 24, rest = b & 0x7fu;
    if (rest == 0x7fu) return NAN;
    if (rest < 8) { /* subnormal: a multiple of 2^-9 */
        const float v = (float)rest * 0x1p-9f;
        return sign ? -v : v;
    }
    return loci_bits_to_f32(sign | ((rest << 20) + (120u << 23)));
}

/* v rounded to an E4M3 value; beyond 448 it is +-448.  NaN stays. */
static inline float loci_round_e4m3(float v)
{
    const float a = fminf(fabsf(v), 448.0f);
    if (isnan(v)) return v;
    float r;
    if (a < 0x1p-6f) {
        /* The ulp of 1.5 * 2^14 is the subnormal step 2^-9: adding it rounds to the step. */
        r = (a + 0x1.8p14f) - 0x1.8p14f;
    } else {
        const uint32_t u = loci_f32_to_bits(a); /* keep 3 of 23 bits, ties to even */
        r = loci_bits_to_f32((u + 0x7ffffu + (u >> 20 & 1u)) & ~0xfffffu);
    }
    return copysignf(r, v);
}

/* The code of a value that loci_round_e4m3 gave; NaN is 0x7f. */
static inline uint8_t loci_e4m3_code(float v)
{
    const uint32_t u = loci_f32_to_bits(v), sign = u >> 24 & 0x80u;
    if (isnan(v)) return 0x7f;
    const float a = fabsf(v);
    if (a < 0x1p-6f) return (uint8_t)(sign | (uint32_t)(a * 0x1p9f));
    return (uint8_t)(sign | (((u & 0x7fffffffu) >> 20) - (120u << 3)));
}

/* ---- E2M1 --------------------------------------------------------------------------------- */

static inline float loci_e2m1_to_f32(unsigned code)
{
    const uint32_t sign = (code & 8u) << 28, rest = code & 7u;
    if (rest < 2) return loci_bits_to_f32(sign | (rest ? 0x3f000000u : 0)); /* 0, .5 */
    return loci_bits_to_f32(sign | ((rest << 22) + (126u << 23)));
}

/* v rounded to an E2M1 value; beyond 6 it is +-6.  NaN stays. */
static inline float loci_round_e2m1(float v)
{
    const float a = fminf(fabsf(v), 6.0f);
    if (isnan(v)) return v;
    /* 1.5 * 2^22 has the ulp .5, so the steps .5, 1 and 2 take 1.5 * 2^22, 2^23 and 2^24. */
    const float magic = a < 2.0f ? 0x1.8p22f : a < 4.0f ? 0x1.8p23f : 0x1.8p24f;
    return copysignf((a + magic) - magic, v);
}

/* The code of a value that loci_round_e2m1 gave. */
static inline unsigned loci_e2m1_code(float v)
{
    const uint32_t u = loci_f32_to_bits(v), sign = u >> 28 & 8u;
    const float a = fabsf(v);
    if (a < 1.0f) return sign | (uint32_t)(a * 2.0f);
    return sign | (((u & 0x7fffffffu) >> 22) - (126u << 1));
}

#endif
