/* peak_body.h - products and reads that wait for nothing, in the words of avx*_math.h.
 *
 * The file that includes this defines LOCI_ISA(family) and words on registers of 32-bit integers:
 *   vi
 *   i_set(int), i_bytes(int8_t)            the same in every lane or byte
 *   i_add(vi, vi), i_xor(vi, vi)
 *   i_load(const void *), i_store(void *, vi)
 *   i_dot4(vi acc, vi a, vi b)             acc + products of four bytes a lane */
#include "kernel/peak.h"

/* Chains enough to hide the latency of any of these: two or one a cycle, four to six cycles each. */
enum { CHAINS = 12 };
/* a may be another number now: without it products are taken together or rounds counted, not run. */
#define RENEW(a) __asm__ volatile("" : "+v"(a))

double LOCI_ISA(peak_f32)(int rounds, void *out)
{
    vf acc[CHAINS], a = v_set(1.0f + 0x1p-20f);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = v_set((float)i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = v_fma(acc[i], a, a);
        RENEW(a);
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = v_add(acc[0], acc[i]);
    for (int i = 0; i < 16; i += VL) v_store((float *)out + i, acc[0]);
    return 2.0 * VL * CHAINS;
}

double LOCI_ISA(peak_int8)(int rounds, void *out)
{
    vi acc[CHAINS], a = i_bytes(1);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = i_set(i);
    for (int r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = i_dot4(acc[i], a, a);
            RENEW(a);
        }
    }
    UNROLL for (int i = 1; i < CHAINS; i++) acc[0] = i_add(acc[0], acc[i]);
    for (int i = 0; i < 16; i += VL) i_store((int32_t *)out + i, acc[0]);
    return 8.0 * VL * CHAINS;
}

uint64_t LOCI_ISA(peak_read)(const void *data, size_t bytes)
{
    const char *x = data;
    vi sum[4];
    for (int k = 0; k < 4; k++) sum[k] = i_set(0);
    for (size_t i = 0; i < bytes; i += 4 * sizeof(vi))
        UNROLL for (size_t k = 0; k < 4; k++) sum[k] =
            i_xor(sum[k], i_load(x + i + sizeof(vi) * k));
    uint64_t word[sizeof(vi) / 8], all = 0;
    i_store(word, i_xor(i_xor(sum[0], sum[1]), i_xor(sum[2], sum[3])));
    for (size_t k = 0; k < sizeof word / sizeof *word; k++) all ^= word[k];
    return all;
}
