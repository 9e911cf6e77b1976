/* avx2_peak.c - products and reads that wait for nothing, for AVX2. */
#include <immintrin.h>
#include "kernel/peak.h"

enum { CHAINS = 12 };
#define UNROLL _Pragma("GCC unroll 16")

double loci_peak_f32_avx2(int rounds, void *out)
{
    __m256 acc[CHAINS], a = _mm256_set1_ps(1.0f + 0x1p-20f);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_fmadd_ps(acc[i], a, a);
        __asm__ volatile("" : "+x"(a)); /* or rounds are counted instead of run */
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = _mm256_add_ps(acc[0], acc[i]);
    _mm256_storeu_ps(out, acc[0]);
    _mm256_storeu_ps((float *)out + 8, acc[0]);
    return 2.0 * 8 * CHAINS;
}

/* Without VNNI a product of bytes takes three instructions: pairs, sums of pairs, the sum. */
double loci_peak_int8_avx2(int rounds, void *out)
{
    __m256i acc[CHAINS], a = _mm256_set1_epi8(1);
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_set1_epi32(i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++)
        {
            const __m256i pairs = _mm256_maddubs_epi16(a, a);
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, ones));
            __asm__ volatile("" : "+x"(a));
        }
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = _mm256_add_epi32(acc[0], acc[i]);
    _mm256_storeu_si256(out, acc[0]);
    _mm256_storeu_si256((__m256i *)out + 1, acc[0]);
    return 8.0 * 8 * CHAINS;
}

uint64_t loci_peak_read_avx2(const void *data, size_t bytes)
{
    const char *x = data;
    __m256i sum[4];
    for (int k = 0; k < 4; k++) sum[k] = _mm256_setzero_si256();
    for (size_t i = 0; i < bytes; i += 128)
        UNROLL for (size_t k = 0; k < 4; k++) sum[k] =
            _mm256_xor_si256(sum[k],
                             _mm256_loadu_si256((const __m256i *)(const void *)(x + i + 32 * k)));
    sum[0] = _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
    uint64_t out[4];
    _mm256_storeu_si256((__m256i *)(void *)out, sum[0]);
    return out[0] ^ out[1] ^ out[2] ^ out[3];
}
