/* bench_take.h - a family's call for bench.c: sizes by name, the matrices of a call in the caller's scratch,
 * the work that it does. */
#ifndef LOCI_BENCH_TAKE_H
#define LOCI_BENCH_TAKE_H

#include <stdbool.h>
#include "base/base.h"
#include "kernel/kernel.h"

typedef void any_fn(void); /* a kernel, cast back to its family's type by the family's function */

typedef struct {
    const char *name;
    int d[6];
} size;

typedef struct {
    double flops, bytes;
} work;

typedef struct {
    float *at; /* next free, 64-byte steps */
    bool fill;
    uint32_t state;
} pool;

static inline float *take(pool *p, size_t n)
{
    float *x = p->at;
    p->at += (n + 15) & ~(size_t)15;
    for (size_t i = 0; p->fill && i < n; i++) {
        p->state = p->state * 1664525u + 1013904223u;
        x[i] = (float)(p->state >> 8) * 0x1p-23f - 1.0f; /* [-1, 1) */
    }
    return x;
}

static inline float *take_matrix(pool *p, int rows, int cols)
{
    return take(p, (size_t)rows * (size_t)cols);
}

static inline float *take_equal(pool *p, size_t n, float value)
{
    float *x = take(p, n);
    for (size_t i = 0; p->fill && i < n; i++) x[i] = value;
    return x;
}

/* Any bits are good int8 and codes. */
static inline int8_t *take_i8(pool *p, size_t n)
{
    return (int8_t *)(void *)take(p, (n + 3) / 4);
}

static inline uint16_t *take_bf16(pool *p, size_t n)
{
    uint16_t *x = (uint16_t *)(void *)take(p, (n + 1) / 2);
    for (size_t i = 0; p->fill && i < n; i++)
        x[i] = loci_f32_to_bf16(0.01f * (float)(i % 201) - 1.0f);
    return x;
}

/* 0, step, 2 step, .. modulo mod */
static inline int32_t *take_indices(pool *p, int n, int step, int mod)
{
    int32_t *x = (int32_t *)(void *)take(p, (size_t)n);
    for (int i = 0; p->fill && i < n; i++) x[i] = (int32_t)((int64_t)i * step % mod);
    return x;
}

#endif
