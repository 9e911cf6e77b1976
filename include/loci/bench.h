/* bench.h - how fast each listed kernel runs here, and which ones are chosen.
 *
 * Every line of the library's list of kernels (a family in one instruction set) comes with one or
 * more fixed sizes; each pair is one row.  Measuring a row touches nothing but its own memory
 * and runs in the calling thread. */
#ifndef LOCI_BENCH_H
#define LOCI_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include "loci/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *family, *isa, *size; /* "gemm", "avx2", "logits 512x4096x192"; static storage */
    double seconds; /* of one call: the best of several spells; 0 if not measured */
    double gflops;  /* 1e9 operations a second; 0 where they are not counted     */
    double gbytes;  /* 1e9 bytes read and written a second, each operand once    */
    bool available; /* this processor can run it                                 */
} loci_bench_row;

/* Rows there are: loci_bench_kernel takes 0 .. count - 1. */
LOCI_API int loci_bench_kernel_count(void);

/* Measure row i for about `seconds` (0..60).  0 measures nothing and fills in the names and
 * `available` alone; so does any row that this processor cannot run.
 * Errors: LOCI_EINVAL (i, seconds), LOCI_ENOMEM; *row is emptied. */
LOCI_API loci_status loci_bench_kernel(int i, double seconds, loci_bench_row *row, loci_error *err);

/* The kernels that an engine opened with this `cpu` would use ("native", "avx512", "avx2", "ref";
 * NULL = native) as "gemm=avx512 gemv=avx512 ..." into text (cap bytes, cut to fit).
 * Errors: LOCI_EINVAL unknown name; text is "". */
LOCI_API loci_status loci_bench_kernels_for(const char *cpu, char *text, size_t cap,
                                            loci_error *err);

#ifdef __cplusplus
}
#endif
#endif
