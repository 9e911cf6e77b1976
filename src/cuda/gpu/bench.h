/* bench.h - what the measured calls of GPU ops share: sizes of the M model, device arrays that are made
 * on the first call and found again on later ones.
 *
 * A function of ops.inc's list is called first with `plan` set, when it takes (and fills) its arrays and
 * launches nothing, then as often as wanted: the same takes give the same arrays, and the one LAUNCH is
 * what is timed. */
#ifndef LOCI_CUDA_BENCH_H
#define LOCI_CUDA_BENCH_H

#include "base/base.h"
#include "cuda/gpu.h"

/* One step's worth of tokens through the M model, in sequences of 4,096. */
enum {
    TOKENS = 65536,
    SEQUENCE = 4096,
    CHUNKS = TOKENS / 64,
    OWN = SEQUENCE / 64, /* chunks of a sequence */
    DIM = 512,
    HEADS = 8,
    KV_HEADS = 2,
    FFN = 1152,
    WINDOW = 256,
    ENC = 256,
    ENC_HEADS = 4,
    VOCAB = 16384,
    READ = LOCI_GPU_READ_HEADS * 64,
    ENC_ROWS = CHUNKS * 66,
    BENCH_ARRAYS = 64
};

typedef struct {
    loci_gpu *g;
    void *array[BENCH_ARRAYS];
    int taken, made;
    bool plan;   /* arrays are made and filled, nothing is launched */
    void *noise; /* NOISE bytes of small bf16 numbers, to copy from */
} gpu_bench;

/* Operations and bytes of one call, each operand once. */
typedef struct {
    const char *size;
    double flops, bytes;
} gpu_work;

typedef int32_t gpu_value(int64_t i); /* element i of an index array */

void *gpu_take(gpu_bench *b, size_t bytes); /* zeros */
/* Numbers below 1 in size, bf16 or, with the low halves being what they are, f32. */
loci_bf16 *gpu_take_bf16(gpu_bench *b, size_t n);
float *gpu_take_f32(gpu_bench *b, size_t n);
float *gpu_take_equal(gpu_bench *b, size_t n, float value);
int32_t *gpu_take_i32(gpu_bench *b, size_t n, gpu_value *value);
uint8_t *gpu_take_u8(gpu_bench *b, size_t n, uint8_t value);

/* Values of index arrays: i; the first own chunk of query i and the one behind its last. */
gpu_value gpu_itself, gpu_first_own, gpu_last_own;

/* Picks (TOKENS, LOCI_GPU_SLOTS) of queries among their own chunks, and lists over them: filled while
 * planning. */
gpu_value gpu_pick;
loci_gpu_lists gpu_take_lists(gpu_bench *b);
void gpu_fill_lists(gpu_bench *b, const loci_gpu_lists *l, const int32_t *pick);

#define LAUNCH(call)                                                                               \
    do {                                                                                           \
        if (!b->plan) call;                                                                        \
    } while (0)

#define LOCI_GPU_OP(name) gpu_work gpu_bench_##name(gpu_bench *b, int variant);
#include "cuda/ops.inc"
#undef LOCI_GPU_OP

#endif
