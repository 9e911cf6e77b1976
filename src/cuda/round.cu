/* round.cu - weights rounded to 4 bits for one step (rounding.c), as model/four.c rounds them: the same
 * trials in the same order with the same arithmetic, so the same numbers.
 *
 * A thread has a group of 32; the explicit _rn products keep the compiler from fusing what the reference
 * rounds twice. */
#include "gpu_impl.h"
#include "mma.cuh"

#include <cuda_fp16.h>

enum { GROUP = 32, BLOCK = 16, STARTS = 1, GOES_ON = 2 };

__device__ __forceinline__ float quantum(float x, float unit)
{
    const float v = unit != 0.0f ? __fdiv_rn(x, unit) : 0.0f;
    return rintf(fminf(fmaxf(v, -8.0f), 7.0f));
}

/* Keep `scale`, as a half, if it leaves a smaller error; gives the scale that fits its own q best. */
__device__ float try_scale(float *best, double *least, const float *x, float scale)
{
    const float unit = __half2float(__float2half_rn(fminf(fmaxf(scale, -65504.0f), 65504.0f)));
    double error = 0.0, along = 0.0, size = 0.0;
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        const float q = quantum(x[i], unit);
        const double off = __dsub_rn((double)x[i], __dmul_rn((double)unit, (double)q));
        error = __dadd_rn(error, __dmul_rn(off, off));
        along = __dadd_rn(along, __dmul_rn((double)x[i], (double)q));
        size = __dadd_rn(size, (double)(q * q));
    }
    if (error < *least) {
        *least = error;
        *best = unit;
    }
    return size > 0.0 ? (float)(along / size) : 0.0f;
}

__device__ float best_unit(const float *x)
{
    const float reach[] = { 7.0f, 7.5f, 8.0f, 8.5f, 9.0f, 10.0f, 12.0f };
    float most = 0.0f, best = 0.0f;
    double least = INFINITY;
#pragma unroll
    for (int i = 0; i < GROUP; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    (void)try_scale(&best, &least, x, 0.0f);
    if (most == 0.0f) return best;
    for (int i = 0; i < 14; i++) {
        const float d = i % 2 ? -reach[i / 2] : reach[i / 2];
        const float fit = try_scale(&best, &least, x, __fdiv_rn(most, d));
        (void)try_scale(&best, &least, x, fit);
    }
    return best;
}

__global__ void round_four(float *p, bf16 *copy, float *kept, const uint8_t *four, size_t blocks)
{
    const size_t b = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= blocks || four[b] == GOES_ON) return;
    p += b * BLOCK;
    copy += b * BLOCK;
    kept += b * BLOCK;
    if (four[b] != STARTS) {
        for (int i = 0; i < BLOCK; i++) {
            kept[i] = p[i];
            copy[i] = __float2bfloat16(p[i]);
        }
        return;
    }
    float x[GROUP];
#pragma unroll
    for (int i = 0; i < GROUP; i++) kept[i] = x[i] = p[i];
    const float unit = best_unit(x);
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        p[i] = __fmul_rn(unit, quantum(x[i], unit));
        copy[i] = __float2bfloat16(p[i]);
    }
}

extern "C" void loci_gpu_round_four(loci_gpu *g, float *p, loci_bf16 *copy, float *kept,
                                    const uint8_t *four, size_t n)
{
    round_four<<<gpu_blocks(n / BLOCK, 128), 128, 0, g->stream>>>(p, (bf16 *)copy, kept, four,
                                                                  n / BLOCK);
    gpu_launched(g, "round_four");
}
