/* avx2_gemm.c - dense products for AVX2: gemm_body.h with tiles of 6 rows by 16 columns. */
#include "kernel/x86/avx2_math.h"

#define LOCI_ISA(family) loci_##family##_avx2
#include "kernel/x86/gemm_body.h"
