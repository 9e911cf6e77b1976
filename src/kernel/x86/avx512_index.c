/* avx512_index.c - scores of a lightning index for AVX-512 with VNNI.
 *
 * A group's nibbles become unsigned bytes, twice the value + 12, once for all heads: 16 keys by 4
 * dimensions a register, so that the products of four dimensions add up in the lane of their key
 * and nothing is ever summed across lanes.  The 12 is taken out through the sum of each query
 * block, with which the integer sums begin.  Four heads share each load of keys. */
#include <string.h>
#include "kernel/x86/avx512_math.h"
#include "kernel/kernel.h"

enum { HEADS = 4, SIZE_MAX_ = 1024, STEPS = 8 }; /* a step: 4 dimensions; 8 of them share a scale */

/* keys (dim/4 registers) from the nibbles of one group. */
INLINE void widen(__m512i *keys, const uint8_t *group, int dim)
{
    const __m512i twice = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i low = _mm512_set1_epi8(15);
    for (int i = 0; i < dim / 8; i++) {
        const __m512i b = _mm512_loadu_si512(group + 64 * i);
        keys[2 * i] = _mm512_shuffle_epi8(twice, _mm512_and_si512(b, low));
        keys[2 * i + 1] =
            _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(b, 4), low));
    }
}

/* bias[h, b] = -12 sum of q over block b. */
static void biases(int32_t *bias, const int8_t *q, int heads, int dim)
{
    const int blocks = (dim + 31) / 32;
    for (int h = 0; h < heads; h++)
        for (int b = 0; b < blocks; b++) {
            int sum = 0;
            for (int c = 32 * b; c < dim && c < 32 * b + 32; c++) sum += q[(size_t)h * dim + c];
            bias[h * blocks + b] = -12 * sum;
        }
}

INLINE __m512i four_of(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, 4);
    return _mm512_set1_epi32(v);
}

/* sum += dots of one block of M heads. */
INLINE void block(const int M, __m512 *sum, const __m512i *keys, __m512 scale, const int8_t *q,
                  int dim, const float *q_scale, const int32_t *bias, int blocks, int steps)
{
    __m512i acc[HEADS];
    UNROLL for (int h = 0; h < M; h++) acc[h] = _mm512_set1_epi32(bias[h * blocks]);
    for (int i = 0; i < steps; i++) {
        const __m512i k = keys[i];
        UNROLL for (int h = 0; h < M; h++) acc[h] =
            _mm512_dpbusd_epi32(acc[h], k, four_of(q + (size_t)h * dim + 4 * i));
    }
    UNROLL for (int h = 0; h < M; h++)
    {
        const __m512 unit = _mm512_mul_ps(scale, _mm512_set1_ps(q_scale[h * blocks]));
        sum[h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[h]), unit, sum[h]);
    }
}

INLINE __m512 some_heads(const int M, __m512 score, const __m512i *keys, const uint8_t *scales,
                         const int8_t *q, const float *q_scale, const int32_t *bias, const float *w,
                         int dim)
{
    const int blocks = (dim + 31) / 32;
    __m512 sum[HEADS];
    UNROLL for (int h = 0; h < M; h++) sum[h] = _mm512_setzero_ps();
    for (int b = 0; b < blocks; b++) {
        const int left = dim / 4 - STEPS * b;
        /* The bits of a power of two, and a quarter for the two doublings. */
        const __m512i byte =
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(scales + 16 * b)));
        const __m512 scale =
            _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(byte, 23)), _mm512_set1_ps(0.25f));
        if (left >= STEPS) /* a constant count unrolls */
            block(M, sum, keys + STEPS * b, scale, q + 32 * b, dim, q_scale + b, bias + b, blocks,
                  STEPS);
        else
            block(M, sum, keys + STEPS * b, scale, q + 32 * b, dim, q_scale + b, bias + b, blocks,
                  left);
    }
    UNROLL for (int h = 0; h < M; h++) score =
        _mm512_fmadd_ps(_mm512_set1_ps(w[h]), _mm512_max_ps(sum[h], _mm512_setzero_ps()), score);
    return score;
}

void loci_index_scores_avx512(float *score, const int8_t *q, const float *q_scale, const float *w,
                              const uint8_t *keys, int heads, int dim, int n_groups)
{
    __m512i wide[SIZE_MAX_ / 4];
    int32_t bias[SIZE_MAX_ * SIZE_MAX_ / 32];
    const int blocks = (dim + 31) / 32;
    const size_t bytes = (size_t)(8 * dim + 16 * blocks);
    biases(bias, q, heads, dim);
    for (int g = 0; g < n_groups; g++) {
        const uint8_t *group = keys + (size_t)g * bytes, *scales = group + 8 * dim;
        __m512 sum = _mm512_setzero_ps();
        int h = 0;
        widen(wide, group, dim);
        for (; h + HEADS <= heads; h += HEADS)
            sum = some_heads(HEADS, sum, wide, scales, q + (size_t)h * dim, q_scale + h * blocks,
                             bias + h * blocks, w + h, dim);
        for (; h < heads; h++)
            sum = some_heads(1, sum, wide, scales, q + (size_t)h * dim, q_scale + h * blocks,
                             bias + h * blocks, w + h, dim);
        _mm512_storeu_ps(score + 16 * (size_t)g, sum);
    }
}
