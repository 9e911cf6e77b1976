/* avx2_attn_bwd.c - gradients of attention for AVX2: attn_bwd_body.h. */
#include "kernel/x86/avx2_math.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/attn_bwd_body.h"
