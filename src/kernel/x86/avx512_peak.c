/* avx512_peak.c - products and reads that wait for nothing, for AVX-512. */
#include <immintrin.h>
#include "kernel/peak.h"

/* Chains enough to hide the latency of any of these: two or one a cycle, four to six cycles each. */
enum { CHAINS = 12 };
#define UNROLL _Pragma("GCC unroll 16")

double loci_peak_f32_avx512(int rounds, void *out)
{
    __m512 acc[CHAINS], a = _mm512_set1_ps(1.0f + 0x1p-20f);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_fmadd_ps(acc[i], a, a);
        __asm__ volatile("" : "+v"(a)); /* or rounds are counted instead of run */
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = _mm512_add_ps(acc[0], acc[i]);
    _mm512_storeu_ps(out, acc[0]);
    return 2.0 * 16 * CHAINS;
}

double loci_peak_bf16_avx512(int rounds, void *out)
{
    __m512 acc[CHAINS];
    __m512i a = _mm512_set1_epi16(0x3f80); /* 1 */
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] =
            _mm512_dpbf16_ps(acc[i], (__m512bh)a, (__m512bh)a);
        __asm__ volatile("" : "+v"(a));
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = _mm512_add_ps(acc[0], acc[i]);
    _mm512_storeu_ps(out, acc[0]);
    return 4.0 * 16 * CHAINS;
}

double loci_peak_int8_avx512(int rounds, void *out)
{
    __m512i acc[CHAINS], a = _mm512_set1_epi8(1);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_epi32(i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_dpbusd_epi32(acc[i], a, a);
        __asm__ volatile("" : "+v"(a));
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = _mm512_add_epi32(acc[0], acc[i]);
    _mm512_storeu_si512(out, acc[0]);
    return 8.0 * 16 * CHAINS;
}

uint64_t loci_peak_read_avx512(const void *data, size_t bytes)
{
    const char *x = data;
    __m512i sum[4];
    for (int k = 0; k < 4; k++) sum[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < bytes; i += 256)
        UNROLL for (size_t k = 0; k < 4; k++) sum[k] =
            _mm512_xor_si512(sum[k], _mm512_loadu_si512(x + i + 64 * k));
    sum[0] = _mm512_xor_si512(_mm512_xor_si512(sum[0], sum[1]), _mm512_xor_si512(sum[2], sum[3]));
    return (uint64_t)_mm512_reduce_add_epi64(sum[0]);
}
