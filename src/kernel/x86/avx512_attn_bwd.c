/* avx512_attn_bwd.c - gradients of attention for AVX-512: attn_bwd_body.h. */
#include "kernel/x86/avx512_math.h"

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/attn_bwd_body.h"
