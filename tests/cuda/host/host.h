/* host.h - the contract of gpu.h on the host: what the files of this folder share.
 *
 * A device for tests: every op of ops.inc in plain scalar C, numbers rounded to bf16 where the kernels
 * round them, sums in double or in one order.  Linked in place of src/cuda (library loci_host_gpu), it
 * lets passes, training and serving of a GPU run where there is none, and sanitizers see what they do
 * with memory.  The checks of test_gpu_ops.c hold for it as they do for kernels.
 *
 * The host device is strict where a GPU is silent.  Memory is plain malloc and starts as NaN, scratch
 * is made NaN again by each op that is given it, and what the contract asks of sizes, alignment, ranges
 * and finite numbers is checked: an op that is called wrongly says so in the remembered status, and
 * nothing is done after that.  An op that is missing here does not link. */
#ifndef LOCI_HOST_H
#define LOCI_HOST_H

#include "base/base.h"
#include "cuda/gpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An op as the host has it. */
#define HOST(name) loci_gpu_##name

enum {
    HOST_PICKS = LOCI_GPU_PICKS,
    HOST_SLOTS = LOCI_GPU_SLOTS,
    HOST_PAIRS = LOCI_GPU_PICKS + 1,
    HOST_HEADS = LOCI_GPU_READ_HEADS,
    HOST_WIDE = HOST_HEADS * 64,
    HOST_CHUNK = 64,
    HOST_ROW = 128 /* gradient of a content row: as key and as value */
};

/* ---- errors (host_device.c) --------------------------------------------------------------------- */
bool host_failed(const loci_gpu *g);
/* Remember the first failure: "OP: what was expected and found". */
void host_refuse(loci_gpu *g, const char *op, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* First line of an op: nothing is done after a failure. */
#define BEGIN(g)                                                                                   \
    if (host_failed(g)) return

/* For a function that checks on behalf of `op`, and for the op itself. */
#define REQUIRE_IN(g, op, ok, ...)                                                                 \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            host_refuse((g), (op), __VA_ARGS__);                                                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)
#define REQUIRE(g, ok, ...) REQUIRE_IN(g, __func__, ok, __VA_ARGS__)

/* x starts on `bytes`, and so do its rows of ld elements (1 row: pass 0). */
#define ALIGNED_IN(g, op, x, ld, bytes)                                                            \
    REQUIRE_IN(g, op, (uintptr_t)(x) % (bytes) == 0 && (size_t)(ld) * sizeof *(x) % (bytes) == 0,  \
               #x ": rows of %d elements at %p do not start on %d bytes", (int)(ld),               \
               (const void *)(x), (int)(bytes))
#define ALIGNED(g, x, ld, bytes) ALIGNED_IN(g, __func__, x, ld, bytes)

/* Indices from 0 on come once each (host_move.c). */
bool host_distinct(const int32_t *index, int n);

/* ---- numbers ------------------------------------------------------------------------------------ */

static inline float host_round(float x)
{
    return loci_bf16_to_f32(loci_f32_to_bf16(x));
}

/* `n` numbers that the op itself needs, zeroed; free. */
void *host_scratch(size_t n, size_t size);

static inline void host_get(float *to, const loci_bf16 *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = loci_bf16_to_f32(from[i]);
}

static inline void host_put(loci_bf16 *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = loci_f32_to_bf16(from[i]);
}

/* Rows of `cols` numbers as f32, one after the other; free. */
float *host_rows(const loci_bf16 *x, int ld, int rows, int cols);

/* What an op may use for itself holds nothing that the caller can rely on. */
static inline void host_spoil(void *scratch, size_t bytes)
{
    if (bytes) memset(scratch, 0xff, bytes);
}

static inline bool host_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* sum a b in double, in eight lanes. */
static inline double host_dot(const float *a, const float *b, int n)
{
    double lane[8] = { 0 };
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) lane[l] += (double)a[i + l] * (double)b[i + l];
    for (; i < n; i++) lane[0] += (double)a[i] * (double)b[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static inline void host_add(float *y, float a, const float *x, int n)
{
    for (int i = 0; i < n; i++) y[i] += a * x[i];
}

/* log(exp a + exp b) */
static inline double host_log_add(double a, double b)
{
    const double top = fmax(a, b), low = fmin(a, b);
    return isinf(low) ? top : top + log1p(exp(low - top));
}

#endif
