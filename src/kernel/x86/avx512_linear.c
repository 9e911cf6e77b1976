/* avx512_linear.c - products with stored matrices for AVX-512: linear_body.h. */
#include "kernel/x86/avx512_math.h"

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/linear_body.h"
