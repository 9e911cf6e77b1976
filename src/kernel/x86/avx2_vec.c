/* avx2_vec.c - row-wise functions for AVX2: vec_body.h, q4_body.h. */
#include "kernel/x86/avx2_math.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/vec_body.h"
#include "kernel/x86/q4_body.h"
