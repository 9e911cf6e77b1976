/* q4_body.h - rows in 4 bits a number, in the words of avx*_math.h.
 *
 * A block of 32 numbers is 16 bytes: nibbles are spread to bytes and pushed together again with
 * 128-bit words, which both instruction sets have.  The file that includes this defines
 * LOCI_ISA(family). */
#include "kernel/kernel.h"
#include "kernel/number.h"

enum { Q4_BLOCK = 32 };

/* The same divisions and roundings as the reference: stored numbers must not depend on the
 * machine.  Operand orders of max and min treat a NaN as the reference does. */
INLINE void quant_block(uint8_t *q, uint16_t *scale, const float *x)
{
    int8_t code[Q4_BLOCK];
    vf max = v_zero();
    UNROLL for (int i = 0; i < Q4_BLOCK; i += VL) max = v_max(v_abs(v_load(x + i)), max);
    const float aim = v_greatest(max) / 7.0f;
    *scale = loci_f32_to_f16(aim < 65504.0f ? aim : 65504.0f);
    const float unit = loci_f16_to_f32(*scale); /* what readers will multiply with */
    UNROLL for (int i = 0; i < Q4_BLOCK; i += VL)
    {
        vf v = v_zero();
        if (unit > 0.0f) v = v_div(v_load(x + i), v_set(unit));
        v_to_i8(code + i, VL, v_min(v_max(v, v_set(-7.0f)), v_set(7.0f)));
    }
    /* A pair of bytes a, b becomes the 16-bit number a + 16 b, at most 255. */
    const __m128i eight = _mm_set1_epi8(8), weight = _mm_set1_epi16(0x1001);
    const __m128i *c = (const __m128i *)(const void *)code;
    const __m128i low = _mm_maddubs_epi16(_mm_add_epi8(_mm_loadu_si128(c), eight), weight);
    const __m128i high = _mm_maddubs_epi16(_mm_add_epi8(_mm_loadu_si128(c + 1), eight), weight);
    _mm_storeu_si128((__m128i *)(void *)q, _mm_packus_epi16(low, high));
}

INLINE void dequant_block(float *x, const uint8_t *q, float unit)
{
    const __m128i pair = _mm_loadu_si128((const __m128i *)(const void *)q);
    const __m128i nibble = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    const __m128i even = _mm_sub_epi8(_mm_and_si128(pair, nibble), eight);
    const __m128i odd = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(pair, 4), nibble), eight);
    const __m128i half[2] = { _mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd) };
    UNROLL for (int i = 0; i < Q4_BLOCK; i += VL)
        v_store(x + i, v_mul(v_widen_i8(half[i / 16], i % 16 / VL), v_set(unit)));
}

void LOCI_ISA(quant_q4)(uint8_t *q, int ldq, uint16_t *scale, int lds, const float *x, int ldx,
                        int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < cols / Q4_BLOCK; b++)
            quant_block(q + (size_t)r * (size_t)ldq + b * Q4_BLOCK / 2,
                        scale + (size_t)r * (size_t)lds + b,
                        x + (size_t)r * (size_t)ldx + b * Q4_BLOCK);
}

void LOCI_ISA(dequant_q4)(float *x, int ldx, const uint8_t *q, int ldq, const uint16_t *scale,
                          int lds, int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < cols / Q4_BLOCK; b++)
            dequant_block(x + (size_t)r * (size_t)ldx + b * Q4_BLOCK,
                          q + (size_t)r * (size_t)ldq + b * Q4_BLOCK / 2,
                          loci_f16_to_f32(scale[(size_t)r * (size_t)lds + b]));
}
