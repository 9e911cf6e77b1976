/* gpu_test.h - what the checks of GPU ops share: memory that notices being overrun, outputs that start
 * as NaN, every call made twice, and a comparison by norm and by element.
 *
 * Inputs that an op takes as bf16 are rounded on the host first, so that the reference sees the very
 * same numbers and only the op's own roundings remain. */
#ifndef GPU_TEST_H
#define GPU_TEST_H

#include <stdarg.h>
#include <setjmp.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/base.h"
#include "cuda/gpu.h"
#include "kernel/kernel.h"

#define SEED     UINT64_C(20261125)
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* What a result may differ by, relative to its norm: an output stored as bf16 is rounded once (2^-9 at
 * most); through products of rounded probabilities or gradients a few such roundings meet; f32 results
 * of exact inputs differ by the order of sums alone, where tensor cores cut partial sums rather than
 * round them. */
#define ONE_ROUNDING   0x1p-8
#define SOME_ROUNDINGS 1e-2
#define F32_SUMS       2e-5
#define F32_PRODUCTS   1e-4

enum { OWNED = 1024, OUTPUTS = 24, GUARD = 256 };

static loci_gpu *gpu;
static loci_rng rng;
static double worst; /* relative error of the op that is being checked */

typedef struct { /* device memory between two guards */
    unsigned char *base;
    size_t bytes;
} owned_device;
static owned_device on_device[OWNED];
static void *on_host[OWNED];
static int n_device, n_host;

typedef struct { /* what a call writes: its state before and the bits after the first call */
    void *device, *before, *after;
    size_t bytes;
} output;
static output outputs[OUTPUTS];
static int n_outputs, calls;

static inline void *host(size_t bytes)
{
    assert_true(n_host < OWNED);
    void *p = calloc(bytes ? bytes : 1, 1);
    assert_non_null(p);
    return on_host[n_host++] = p;
}

static inline void must_be_well(const char *what)
{
    loci_error err = { 0 };
    if (loci_gpu_status(gpu, &err) != LOCI_OK) fail_msg("%s: %s", what, err.text);
}

/* `bytes` on the device holding `from` (NULL: all bits set, NaN or -1), guards around. */
static inline void *device(const void *from, size_t bytes)
{
    assert_true(n_device < OWNED);
    unsigned char *image = malloc(bytes + 2 * GUARD),
                  *base = loci_gpu_alloc(gpu, bytes + 2 * GUARD);
    assert_non_null(image);
    if (!base) must_be_well("allocation");
    memset(image, 0xff, bytes + 2 * GUARD);
    if (from && bytes) memcpy(image + GUARD, from, bytes);
    loci_gpu_upload(gpu, base, image, bytes + 2 * GUARD);
    must_be_well("upload");
    free(image);
    on_device[n_device++] = (owned_device){ base, bytes };
    return base + GUARD;
}

/* The same, written by the op. */
static inline void *result(const void *from, size_t bytes)
{
    assert_true(n_outputs < OUTPUTS);
    output *o = &outputs[n_outputs++];
    o->device = device(from, bytes);
    o->bytes = bytes;
    o->before = host(bytes);
    o->after = host(bytes);
    if (from)
        memcpy(o->before, from, bytes);
    else
        memset(o->before, 0xff, bytes);
    return o->device;
}

/* for (calls = 0; again(op);) call: makes the call twice from the same state and compares the bits. */
static inline bool again(const char *op)
{
    if (calls > 0) must_be_well(op);
    for (int i = 0; calls > 0 && i < n_outputs; i++) {
        output *o = &outputs[i];
        void *now = calls == 1 ? o->after : malloc(o->bytes + 1);
        assert_non_null(now);
        loci_gpu_download(gpu, now, o->device, o->bytes);
        if (calls == 1) continue;
        const int same = memcmp(now, o->after, o->bytes) == 0;
        free(now);
        if (!same) fail_msg("%s: output %d has other bits when the same call is made again", op, i);
    }
    if (calls++ == 2) return false;
    for (int i = 0; i < n_outputs; i++)
        loci_gpu_upload(gpu, outputs[i].device, outputs[i].before, outputs[i].bytes);
    must_be_well(op);
    return true;
}
#define TWICE(op) for (calls = 0; again(op);)

/* Give back what a case took; also what one that failed half way has left. */
static inline void forget(void)
{
    for (int i = 0; i < n_device; i++) loci_gpu_free(gpu, on_device[i].base);
    for (int i = 0; i < n_host; i++) free(on_host[i]);
    n_device = n_host = n_outputs = 0;
}

/* End of a case: guards are intact, everything goes back. */
static inline void done(const char *op)
{
    unsigned char guard[GUARD];
    must_be_well(op);
    for (int i = 0; i < n_device; i++)
        for (int side = 0; side < 2; side++) {
            const owned_device *d = &on_device[i];
            loci_gpu_download(gpu, guard, d->base + (side ? GUARD + d->bytes : 0), GUARD);
            for (int b = 0; b < GUARD; b++)
                if (guard[b] != 0xff)
                    fail_msg("%s: byte %d %s buffer %d of %zu bytes was written", op, b,
                             side ? "behind" : "before", i, d->bytes);
        }
    forget();
}

/* ---- numbers -------------------------------------------------------------------------------------- */

static inline float bf16_of(float x)
{
    return loci_bf16_to_f32(loci_f32_to_bf16(x));
}

static inline float *floats(size_t n)
{
    return host(n * sizeof(float));
}
static inline int32_t *ints(size_t n)
{
    return host(n * sizeof(int32_t));
}
static inline float *random_f32(size_t n, double spread)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) x[i] = (float)(spread * (2.0 * loci_rng_unit(&rng) - 1.0));
    return x;
}
static inline float *random_bf16(size_t n, double spread)
{
    float *x = random_f32(n, spread);
    for (size_t i = 0; i < n; i++) x[i] = bf16_of(x[i]);
    return x;
}
static inline int below(int n)
{
    return (int)loci_rng_below(&rng, (uint32_t)n);
}

static inline uint16_t *as_bf16(const float *x, size_t n)
{
    uint16_t *h = host(n * sizeof *h);
    for (size_t i = 0; i < n; i++) h[i] = loci_f32_to_bf16(x[i]);
    return h;
}

static inline loci_bf16 *put_bf16(const float *x, size_t n)
{
    return device(as_bf16(x, n), n * sizeof(loci_bf16));
}
static inline float *put_f32(const float *x, size_t n)
{
    return device(x, n * sizeof *x);
}
static inline int32_t *put_i32(const int32_t *x, size_t n)
{
    return device(x, n * sizeof *x);
}
/* Outputs: from NULL they start as NaN. */
static inline loci_bf16 *out_bf16(const float *from, size_t n)
{
    return result(from ? as_bf16(from, n) : NULL, n * sizeof(loci_bf16));
}
static inline float *out_f32(const float *from, size_t n)
{
    return result(from, n * sizeof *from);
}
static inline int32_t *out_i32(const int32_t *from, size_t n)
{
    return result(from, n * sizeof *from);
}
static inline void *get(const void *from, size_t bytes)
{
    void *x = host(bytes);
    loci_gpu_download(gpu, x, from, bytes);
    return x;
}
static inline float *get_f32(const float *from, size_t n)
{
    return get(from, n * sizeof *from);
}
static inline int32_t *get_i32(const int32_t *from, size_t n)
{
    return get(from, n * sizeof *from);
}
static inline float *get_bf16(const loci_bf16 *from, size_t n)
{
    const uint16_t *h = get(from, n * sizeof *h);
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) x[i] = loci_bf16_to_f32(h[i]);
    return x;
}

/* ---- comparison ------------------------------------------------------------------------------------ */

/* By norm within `bound`, each element within ten times that of itself and the typical one.  Numbers of
 * the checks are near 1: what should be 0 may be off by bound / 1000. */
static inline void compare(const char *what, const float *got, const float *want, size_t n,
                           double bound)
{
    double square = 0.0, error = 0.0;
    size_t finite = 0;
    for (size_t i = 0; i < n; i++) {
        if (isinf(want[i]) && got[i] == want[i]) continue;
        if (!isfinite(got[i])) fail_msg("%s[%zu]: %g, should be %g", what, i, got[i], want[i]);
        square += (double)want[i] * want[i];
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        finite++;
    }
    if (finite == 0) return;
    const double typical = sqrt(square / (double)finite) + 1e-3,
                 relative = sqrt(error / (double)finite) / typical;
    worst = fmax(worst, relative);
    for (size_t i = 0; i < n; i++) {
        if (isinf(want[i])) continue;
        const double off = fabs((double)got[i] - want[i]);
        if (off > 10.0 * bound * (fabs((double)want[i]) + typical))
            fail_msg(
                "%s[%zu of %zu]: %.9g, should be %.9g (typical %.3g; relative error of all %.3g)",
                what, i, n, got[i], want[i], typical, relative);
    }
    if (relative > bound)
        fail_msg("%s: relative error %.3g of %zu numbers, bound %.3g", what, relative, n, bound);
}

static inline void equal_ints(const char *what, const int32_t *got, const int32_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s[%zu of %zu]: %d, should be %d", what, i, n, got[i], want[i]);
}

/* Numbers that are moved and not computed. */
static inline void equal_floats(const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(got[i] == want[i]))
            fail_msg("%s[%zu of %zu]: %.9g, should be %.9g", what, i, n, got[i], want[i]);
}

/* Elements that an op must leave alone are still NaN. */
static inline bool untouched(float x)
{
    return isnan(x);
}

#endif
