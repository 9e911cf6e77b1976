/* avx512_attn.c - attention for AVX-512: attn_body.h. */
#include "kernel/x86/avx512_math.h"

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/attn_body.h"
