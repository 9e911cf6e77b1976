/* avx2_linear.c - products with stored matrices for AVX2: linear_body.h. */
#include "kernel/x86/avx2_math.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/linear_body.h"
