/* avx2_router.c - router for AVX2: router_body.h; a scalar bit count keeps up with 8 lanes. */
#include "kernel/x86/avx2_math.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/router_body.h"

void LOCI_ISA(hamming)(uint8_t *dist, const uint64_t *code, const uint64_t *query, int M, int n)
{
    hamming_from(0, dist, code, query, M, n);
}
