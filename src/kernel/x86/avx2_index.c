/* avx2_index.c - scores of a lightning index for AVX2: as avx512_index.c, with eight keys a
 * register and products of bytes through sums of pairs (at most 24 * 12 * 2, far from saturating). */
#include <string.h>
#include "kernel/x86/avx2_math.h"
#include "kernel/kernel.h"

enum { SIZE_MAX_ = 1024, STEPS = 8 };

INLINE void widen(__m256i *keys, const uint8_t *group, int dim)
{
    const __m256i twice = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i low = _mm256_set1_epi8(15);
    for (int i = 0; i < dim / 8; i++) UNROLL for (int half = 0; half < 2; half++)
        {
            const __m256i b = _mm256_loadu_si256((const __m256i *)(group + 64 * i + 32 * half));
            keys[4 * i + half] = _mm256_shuffle_epi8(twice, _mm256_and_si256(b, low));
            keys[4 * i + 2 + half] =
                _mm256_shuffle_epi8(twice, _mm256_and_si256(_mm256_srli_epi16(b, 4), low));
        }
}

INLINE __m256i four_of(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, 4);
    return _mm256_set1_epi32(v);
}

/* The dots of one head's block of `steps` with the keys of half a group. */
INLINE __m256 block(const __m256i *keys, const int8_t *q, int steps)
{
    const __m256i ones = _mm256_set1_epi16(1);
    int total = 0;
    for (int c = 0; c < 4 * steps; c++) total += q[c];
    __m256i acc = _mm256_set1_epi32(-12 * total);
    for (int i = 0; i < steps; i++) {
        const __m256i pairs = _mm256_maddubs_epi16(keys[2 * i], four_of(q + 4 * i));
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, ones));
    }
    return _mm256_cvtepi32_ps(acc);
}

INLINE __m256 key_scales(const uint8_t *scales)
{
    const __m256i byte = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scales));
    return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_slli_epi32(byte, 23)), _mm256_set1_ps(0.25f));
}

void loci_index_scores_avx2(float *score, const int8_t *q, const float *q_scale, const float *w,
                            const uint8_t *keys, int heads, int dim, int n_groups)
{
    __m256i wide[SIZE_MAX_ / 2];
    const int blocks = (dim + 31) / 32;
    const size_t bytes = (size_t)(8 * dim + 16 * blocks);
    for (int g = 0; g < n_groups; g++) {
        const uint8_t *group = keys + (size_t)g * bytes, *scales = group + 8 * dim;
        __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        widen(wide, group, dim);
        for (int h = 0; h < heads; h++) {
            __m256 dot[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
            for (int b = 0; b < blocks; b++) {
                const int left = dim / 4 - STEPS * b, steps = left < STEPS ? left : STEPS;
                const int8_t *q_b = q + (size_t)h * dim + 32 * b;
                UNROLL for (int half = 0; half < 2; half++)
                {
                    const __m256 unit = _mm256_mul_ps(key_scales(scales + 16 * b + 8 * half),
                                                      _mm256_set1_ps(q_scale[h * blocks + b]));
                    const __m256 d = block(wide + 2 * STEPS * b + half, q_b, steps);
                    dot[half] = _mm256_fmadd_ps(d, unit, dot[half]);
                }
            }
            UNROLL for (int half = 0; half < 2; half++) sum[half] =
                _mm256_fmadd_ps(_mm256_set1_ps(w[h]), _mm256_max_ps(dot[half], _mm256_setzero_ps()),
                                sum[half]);
        }
        _mm256_storeu_ps(score + 16 * (size_t)g, sum[0]);
        _mm256_storeu_ps(score + 16 * (size_t)g + 8, sum[1]);
    }
}
