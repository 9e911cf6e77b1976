/* avx512_peak.c - peak_body.h for AVX-512, and products of bf16, which AVX2 has none of. */
#include "kernel/x86/avx512_math.h"

typedef __m512i vi;

INLINE vi i_set(int x)
{
    return _mm512_set1_epi32(x);
}
INLINE vi i_bytes(int8_t x)
{
    return _mm512_set1_epi8(x);
}
INLINE vi i_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
INLINE vi i_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
INLINE vi i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
INLINE void i_store(void *p, vi x)
{
    _mm512_storeu_si512(p, x);
}
INLINE vi i_dot4(vi acc, vi a, vi b)
{
    return _mm512_dpbusd_epi32(acc, a, b);
}

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/peak_body.h"

double LOCI_ISA(peak_bf16)(int rounds, void *out)
{
    vf acc[CHAINS];
    vi a = _mm512_set1_epi16(0x3f80); /* 1 */
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = v_set((float)i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] =
            _mm512_dpbf16_ps(acc[i], (__m512bh)a, (__m512bh)a);
        RENEW(a);
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = v_add(acc[0], acc[i]);
    v_store(out, acc[0]);
    return 4.0 * VL * CHAINS;
}
