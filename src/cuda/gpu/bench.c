/* bench.c - the list of measured GPU calls and how one is timed: what `bench gpu` prints.
 *
 * The first two rows are ceilings that no op can pass, a large product and a copy; the others follow
 * ops.inc.  A row's call is made once to warm up, then REPEATS times between events; the median
 * counts. */
#include "loci/bench.h"
#include "cuda/gpu/bench.h"
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 31, NOISE = 8 << 20 };

/* ---- arrays ------------------------------------------------------------------------------------ */

void *gpu_take(gpu_bench *b, size_t bytes)
{
    if (b->taken >= BENCH_ARRAYS) return NULL;
    if (b->plan) {
        b->array[b->taken] = loci_gpu_alloc(b->g, bytes);
        if (b->array[b->taken]) loci_gpu_clear(b->g, b->array[b->taken], bytes);
        b->made = b->taken + 1;
    }
    return b->array[b->taken++];
}

static void *take_noise(gpu_bench *b, size_t bytes)
{
    unsigned char *p = gpu_take(b, bytes);
    for (size_t at = 0; b->plan && p && at < bytes; at += NOISE)
        loci_gpu_copy(b->g, p + at, b->noise, bytes - at < NOISE ? bytes - at : NOISE);
    return p;
}

loci_bf16 *gpu_take_bf16(gpu_bench *b, size_t n)
{
    return take_noise(b, n * sizeof(loci_bf16));
}

float *gpu_take_f32(gpu_bench *b, size_t n)
{
    return take_noise(b, n * sizeof(float));
}

/* Host numbers to a new array; the copy must be over before `host` goes. */
static void *take_host(gpu_bench *b, size_t bytes, void *host)
{
    void *p = gpu_take(b, bytes);
    if (b->plan && p && host) loci_gpu_upload(b->g, p, host, bytes);
    if (b->plan) loci_gpu_status(b->g, NULL);
    free(host);
    return p;
}

float *gpu_take_equal(gpu_bench *b, size_t n, float value)
{
    float *x = b->plan ? malloc(n * sizeof *x) : NULL;
    for (size_t i = 0; x && i < n; i++) x[i] = value;
    return take_host(b, n * sizeof *x, x);
}

int32_t *gpu_take_i32(gpu_bench *b, size_t n, gpu_value *value)
{
    int32_t *x = b->plan ? malloc(n * sizeof *x) : NULL;
    for (size_t i = 0; x && i < n; i++) x[i] = value((int64_t)i);
    return take_host(b, n * sizeof *x, x);
}

uint8_t *gpu_take_u8(gpu_bench *b, size_t n, uint8_t value)
{
    uint8_t *x = b->plan ? malloc(n) : NULL;
    if (x) memset(x, value, n);
    return take_host(b, n, x);
}

int32_t gpu_itself(int64_t i)
{
    return (int32_t)i;
}

int32_t gpu_first_own(int64_t i)
{
    return (int32_t)(i / SEQUENCE * OWN);
}

int32_t gpu_last_own(int64_t i)
{
    return (int32_t)(i / SEQUENCE * OWN + i % SEQUENCE / 64);
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static gpu_work copy_ceiling(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t bytes = (size_t)1 << 30; /* read and written: 2 GiB move */
    void *from = gpu_take_bf16(b, bytes / 2), *to = gpu_take(b, bytes);
    LAUNCH(loci_gpu_copy(b->g, to, from, bytes));
    return (gpu_work){ "copy of 1 GiB", 0.0, 2.0 * (double)bytes };
}

typedef struct {
    const char *op;
    gpu_work (*call)(gpu_bench *b, int variant);
    int variant;
} bench_line;

static const bench_line lines[] = {
    { "ceiling", gpu_bench_gemm, 0 },
    { "ceiling", copy_ceiling, 0 },
    { "gemm", gpu_bench_gemm, 2 },
    { "gemm", gpu_bench_gemm, 3 },
    { "gemm", gpu_bench_gemm, 4 },
    { "gemm", gpu_bench_gemm, 5 },
    { "gemm", gpu_bench_gemm, 6 },
#define LOCI_GPU_OP(name) { #name, gpu_bench_##name, 1 },
#include "cuda/ops.inc"
#undef LOCI_GPU_OP
    { "attn_forward", gpu_bench_attn_forward, 2 },
    { "attn_backward", gpu_bench_attn_backward, 2 },
    { "attn_forward", gpu_bench_attn_forward, 3 },
    { "attn_backward", gpu_bench_attn_backward, 3 },
};
enum { N_LINES = sizeof lines / sizeof *lines };

struct loci_bench_gpu {
    loci_gpu *g;
    void *noise;
};

loci_status loci_bench_gpu_open(loci_bench_gpu **out, int device, loci_error *err)
{
    *out = NULL;
    loci_bench_gpu *b = calloc(1, sizeof *b);
    if (!b) return loci_fail(err, LOCI_ENOMEM, "no memory for measurements");
    loci_status st = loci_gpu_open(&b->g, device, err);
    uint16_t *noise = st == LOCI_OK ? malloc(NOISE) : NULL;
    if (st == LOCI_OK && !noise) st = loci_fail(err, LOCI_ENOMEM, "no memory for measurements");
    if (st == LOCI_OK) {
        loci_rng rng;
        loci_rng_seed(&rng, 1);
        for (size_t i = 0; i < NOISE / sizeof *noise; i++)
            noise[i] = loci_f32_to_bf16((float)(2.0 * loci_rng_unit(&rng) - 1.0));
        b->noise = loci_gpu_alloc(b->g, NOISE);
        if (b->noise) loci_gpu_upload(b->g, b->noise, noise, NOISE);
        st = loci_gpu_status(b->g, err);
    }
    free(noise);
    if (st != LOCI_OK) {
        loci_bench_gpu_close(b);
        return st;
    }
    *out = b;
    return LOCI_OK;
}

void loci_bench_gpu_close(loci_bench_gpu *b)
{
    if (!b) return;
    if (b->g) loci_gpu_free(b->g, b->noise);
    loci_gpu_close(b->g);
    free(b);
}

const char *loci_bench_gpu_name(const loci_bench_gpu *b)
{
    return loci_gpu_name(b->g);
}

int loci_bench_gpu_count(void)
{
    return N_LINES;
}

const char *loci_bench_gpu_op(int i)
{
    return i < 0 || i >= N_LINES ? NULL : lines[i].op;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Call the planned row REPEATS times; returns the median in seconds. */
static loci_status time_calls(gpu_bench *b, const bench_line *l, double *seconds, loci_error *err)
{
    float ms[REPEATS];
    b->plan = false;
    for (int i = -1; i < REPEATS; i++) { /* the first warms up: plans of products, clocks, caches */
        b->taken = 0;
        if (i >= 0) loci_gpu_mark(b->g, 2 * i);
        l->call(b, l->variant);
        if (i >= 0) loci_gpu_mark(b->g, 2 * i + 1);
    }
    const loci_status st = loci_gpu_status(b->g, err);
    for (int i = 0; i < REPEATS; i++) ms[i] = loci_gpu_between(b->g, 2 * i, 2 * i + 1);
    qsort(ms, REPEATS, sizeof *ms, by_size);
    *seconds = 1e-3 * (double)ms[REPEATS / 2];
    return st;
}

loci_status loci_bench_gpu_run(loci_bench_gpu *gpu, int i, loci_bench_gpu_row *row, loci_error *err)
{
    memset(row, 0, sizeof *row);
    if (i < 0 || i >= N_LINES)
        return loci_fail(err, LOCI_EINVAL, "row %d: there are %d", i, N_LINES);
    const bench_line *l = &lines[i];
    gpu_bench b = { .g = gpu->g, .plan = true, .noise = gpu->noise };
    const gpu_work w = l->call(&b, l->variant);
    loci_status st = loci_gpu_status(b.g, err); /* did every array find memory? */
    row->op = l->op;
    row->size = w.size;
    if (st == LOCI_OK) st = time_calls(&b, l, &row->seconds, err);
    for (int k = 0; k < b.made; k++) loci_gpu_free(b.g, b.array[k]);
    if (st == LOCI_OK && row->seconds > 0.0) {
        row->tflops = 1e-12 * w.flops / row->seconds;
        row->tbytes = 1e-12 * w.bytes / row->seconds;
    }
    return st;
}
