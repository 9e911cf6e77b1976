/* avx512_gemm.c - dense products for AVX-512: gemm_body.h with tiles of 8 rows by 48 columns. */
#include "kernel/x86/avx512_math.h"

#define LOCI_ISA(family) loci_##family##_avx512
#include "kernel/x86/gemm_body.h"
