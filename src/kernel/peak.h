/* peak.h - what this machine can do at most: operations and bytes a second, measured.
 *
 * Products run on registers and wait for nothing; reads are in order.  The best of several short
 * spells counts, as another program takes time away and never gives any. */
#ifndef LOCI_PEAK_H
#define LOCI_PEAK_H

#include "base/base.h"

typedef enum { LOCI_PEAK_F32, LOCI_PEAK_BF16, LOCI_PEAK_INT8, LOCI_PEAKS } loci_peak;

/* Operations a second, a multiplication and an addition being two, of all threads of the pool (NULL:
 * of the caller) together, with the widest instructions that cpu_flags allow.  0: there are none for
 * such numbers. */
double loci_kernel_peak(loci_peak what, unsigned cpu_flags, loci_pool *pool);
/* Bytes a second that those threads read of data together; bytes a multiple of 1 MiB.  What fits a
 * cache is read from there. */
double loci_kernel_read_peak(const void *data, size_t bytes, unsigned cpu_flags, loci_pool *pool);

/* One spell of products in `rounds` rounds; returns the operations of a round.  out (16 floats or
 * words) keeps the compiler from dropping them.  peak.c, x86/ISA_peak.c. */
typedef double loci_peak_fn(int rounds, void *out);
loci_peak_fn loci_peak_f32_ref, loci_peak_int8_ref;
loci_peak_fn loci_peak_f32_avx2, loci_peak_int8_avx2;
loci_peak_fn loci_peak_f32_avx512, loci_peak_bf16_avx512, loci_peak_int8_avx512;
/* Read it all; the value means nothing. */
typedef uint64_t loci_peak_read_fn(const void *data, size_t bytes);
loci_peak_read_fn loci_peak_read_ref, loci_peak_read_avx2, loci_peak_read_avx512;

#endif
