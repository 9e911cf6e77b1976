/* avx2_router.c - router for AVX2: router_body.h; a scalar bit count keeps up with 8 lanes. */
#include "kernel/x86/avx2_math.h"

enum { Q8_ROWS = 8 };

/* Pairs of products of the first n <= 16 columns; those behind them meet zeros. */
INLINE __m256i pairs16(const int8_t *row, const int16_t *q, int n)
{
    int8_t few[16] = { 0 };
    int16_t few_q[16] = { 0 };
    if (n < 16) {
        memcpy(few, row, (size_t)n);
        memcpy(few_q, q, (size_t)n * sizeof *q);
    }
    const __m128i l = _mm_loadu_si128((const __m128i *)(const void *)(n < 16 ? few : row));
    const __m256i k = _mm256_loadu_si256((const __m256i *)(const void *)(n < 16 ? few_q : q));
    return _mm256_madd_epi16(_mm256_cvtepi8_epi16(l), k);
}

/* Four rows at a time: their sums and a query of 128 fit the 16 registers. */
INLINE void dots_q8(int32_t *out, const int8_t *const *row, const int16_t *q, const int d)
{
#pragma GCC unroll 1
    for (int r = 0; r < Q8_ROWS; r += 4) {
        __m256i sum[4];
        UNROLL for (int k = 0; k < 4; k++)
        {
            sum[k] = _mm256_setzero_si256();
            for (int i = 0; i < d; i += 16)
                sum[k] = _mm256_add_epi32(sum[k], pairs16(row[r + k] + i, q + i, d - i));
        }
        const __m256i s =
            _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
        _mm_storeu_si128((__m128i *)(void *)(out + r),
                         _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
    }
}

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/router_body.h"

void LOCI_ISA(hamming)(uint8_t *dist, const uint64_t *code, const uint64_t *query, int M, int n)
{
    hamming_from(0, dist, code, query, M, n);
}
