/* bench.h - how fast each listed kernel runs here, on the processor and on a GPU, and which ones are
 * chosen.
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

/* ---- one GPU ------------------------------------------------------------------------------------
 * Every op of training at the sizes of a step of 65,536 tokens of the M model, behind two ceilings: a
 * large bf16 product and a copy. */
typedef struct loci_bench_gpu loci_bench_gpu;
typedef struct {
    const char *op, *size; /* "attn_forward", "window 65536x256, 8/2 heads"; static storage */
    double seconds;        /* of one call on the device: the median of 31 */
    double tflops;         /* 1e12 operations a second, of the mathematics: what a kernel computes
                              twice counts once */
    double tbytes;         /* 1e12 bytes a second, each operand once */
} loci_bench_gpu_row;

/* Open device number `device`.  *out owned: loci_bench_gpu_close.
 * Errors: LOCI_ENOTFOUND no such device, or a library built without CUDA; LOCI_ENOMEM. */
LOCI_API loci_status loci_bench_gpu_open(loci_bench_gpu **out, int device, loci_error *err);
LOCI_API void loci_bench_gpu_close(loci_bench_gpu *b);             /* NULL is fine */
LOCI_API const char *loci_bench_gpu_name(const loci_bench_gpu *b); /* of the device; until close */
LOCI_API int loci_bench_gpu_count(void);                           /* rows: 0 without CUDA */
LOCI_API const char *loci_bench_gpu_op(int i); /* op of row i; NULL: no such row */

/* Measure row i (0 .. count - 1); its arrays live as long as the call and take 4 GB at most.
 * Errors: LOCI_EINVAL (i), LOCI_ENOMEM too little device memory, LOCI_EIO a call that failed: after
 * it the handle only fails.  *row is emptied but for the names. */
LOCI_API loci_status loci_bench_gpu_run(loci_bench_gpu *b, int i, loci_bench_gpu_row *row,
                                        loci_error *err);

#ifdef __cplusplus
}
#endif
#endif
