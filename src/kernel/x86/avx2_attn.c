/* avx2_attn.c - attention for AVX2: attn_body.h. */
#include "kernel/x86/avx2_math.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/attn_body.h"
