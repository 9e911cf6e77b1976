/* avx512_vec.c - row-wise functions for AVX-512: vec_body.h, q4_body.h. */
#include "kernel/x86/avx512_math.h"

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/vec_body.h"
#include "kernel/x86/q4_body.h"
