/* head.cu - cross-entropy over the vocabulary, and the rows of the decode loss (pointer.c). */
#include "gpu_impl.h"
#include "mma.cuh"

enum { THREADS = 512, WARPS = THREADS / 32 };

typedef struct { /* running maximum, its place, sum of exponentials below it */
    float top, sum;
    int at;
} best_of;

/* Join two; equal maxima keep the lower index. */
__device__ __forceinline__ best_of join(best_of a, best_of b)
{
    const bool take = b.top > a.top || (b.top == a.top && b.at < a.at);
    const float top = fmaxf(a.top, b.top);
    best_of r;
    r.sum = top == -INFINITY
                ? 0.0f
                : a.sum * exp2f((a.top - top) * LOG2E) + b.sum * exp2f((b.top - top) * LOG2E);
    r.top = top;
    r.at = take ? b.at : a.at;
    return r;
}

__device__ __forceinline__ void take(best_of *r, float v, int at)
{
    if (v > r->top) {
        r->sum = r->sum * exp2f((r->top - v) * LOG2E) + 1.0f;
        r->top = v;
        r->at = at;
    } else {
        r->sum += exp2f((v - r->top) * LOG2E);
    }
}

/* The row's best from every thread's. */
__device__ __forceinline__ best_of join_block(best_of r)
{
    __shared__ best_of part[WARPS];
    for (int s = 16; s > 0; s >>= 1) {
        const best_of o = { __shfl_xor_sync(~0u, r.top, s), __shfl_xor_sync(~0u, r.sum, s),
                            __shfl_xor_sync(~0u, r.at, s) };
        r = join(r, o);
    }
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = r;
    __syncthreads();
    r = part[0];
    for (int w = 1; w < WARPS; w++) r = join(r, part[w]);
    return r;
}

/* Rows of up to KEPT numbers stay in registers between the two passes: the logits are read once. */
enum { PAIRS = 16, KEPT = 2 * PAIRS * THREADS };

__global__ void __launch_bounds__(THREADS)
    cross_entropy(float *loss, int32_t *best, bf16 *dlogits, const float *logits,
                  const int32_t *target, const float *weight, float z, int vocab)
{
    const int r = blockIdx.x, y = target[r];
    const float *x = logits + (size_t)r * vocab;
    bf16 *d = dlogits ? dlogits + (size_t)r * vocab : NULL;
    if (y < 0) {
        for (int i = threadIdx.x; d && i < vocab; i += THREADS) d[i] = __float2bfloat16(0.0f);
        if (threadIdx.x == 0) {
            loss[r] = 0.0f;
            if (best) best[r] = -1;
        }
        return;
    }
    const bool kept = vocab <= KEPT;
    float2 keep[PAIRS];
    best_of b = { -INFINITY, 0.0f, 0 };
#pragma unroll
    for (int k = 0; k < PAIRS; k++) {
        const int i = 2 * ((int)threadIdx.x + k * THREADS);
        if (i >= vocab) break;
        keep[k] = *(const float2 *)(x + i);
        take(&b, keep[k].x, i);
        take(&b, keep[k].y, i + 1);
    }
    for (int i = KEPT + 2 * (int)threadIdx.x; i < vocab; i += 2 * THREADS) {
        const float2 v = *(const float2 *)(x + i);
        take(&b, v.x, i);
        take(&b, v.y, i + 1);
    }
    b = join_block(b);
    const float lse = b.top + logf(b.sum);
    if (threadIdx.x == 0) {
        loss[r] = lse - x[y];
        if (best) best[r] = b.at;
    }
    if (!d) return;
    const float w = weight[r], factor = w * (1.0f + 2.0f * z * lse);
#pragma unroll
    for (int k = 0; k < PAIRS; k++) {
        const int i = 2 * ((int)threadIdx.x + k * THREADS);
        if (i >= vocab) break;
        const float p0 = factor * exp2f((keep[k].x - lse) * LOG2E) - (i == y ? w : 0.0f);
        const float p1 = factor * exp2f((keep[k].y - lse) * LOG2E) - (i + 1 == y ? w : 0.0f);
        *(uint32_t *)(d + i) = pack2(p0, p1);
    }
    for (int i = KEPT + 2 * (int)threadIdx.x; !kept && i < vocab; i += 2 * THREADS) {
        const float2 v = *(const float2 *)(x + i);
        const float p0 = factor * exp2f((v.x - lse) * LOG2E) - (i == y ? w : 0.0f);
        const float p1 = factor * exp2f((v.y - lse) * LOG2E) - (i + 1 == y ? w : 0.0f);
        *(uint32_t *)(d + i) = pack2(p0, p1);
    }
}

extern "C" void loci_gpu_cross_entropy(loci_gpu *g, float *loss, int32_t *best, loci_bf16 *dlogits,
                                       const float *logits, const int32_t *target,
                                       const float *weight, float z, int rows, int vocab)
{
    if (rows == 0) return;
    cross_entropy<<<rows, THREADS, 0, g->stream>>>(loss, best, (bf16 *)dlogits, logits, target,
                                                   weight, z, vocab);
    gpu_launched(g, "cross_entropy");
}

enum { HEADS = LOCI_GPU_READ_HEADS };

__global__ void spread_values(bf16 *tile, const bf16 *content, int cols, const int32_t *index,
                              size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int row = index[i / (HEADS * 64)];
    tile[i] = row < 0 ? __float2bfloat16(0.0f) : content[(size_t)row * cols + cols - 64 + i % 64];
}

extern "C" void loci_gpu_spread_values(loci_gpu *g, loci_bf16 *tile, const loci_bf16 *content,
                                       int cols, const int32_t *index, int rows)
{
    const size_t n = (size_t)rows * HEADS * 64;
    if (n == 0) return;
    spread_values<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)tile, (const bf16 *)content,
                                                             cols, index, n);
    gpu_launched(g, "spread_values");
}

__global__ void collect_values(float *dcontent, const bf16 *dtile, const int32_t *index, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int row = index[i / 64];
    if (row < 0) return;
    float sum = 0.0f;
    for (int h = 0; h < HEADS; h++)
        sum += __bfloat162float(dtile[i / 64 * HEADS * 64 + h * 64 + i % 64]);
    dcontent[(size_t)row * 128 + 64 + i % 64] += sum;
}

extern "C" void loci_gpu_collect_values(loci_gpu *g, float *dcontent, const loci_bf16 *dtile,
                                        const int32_t *index, int rows)
{
    const size_t n = (size_t)rows * 64;
    if (n == 0) return;
    collect_values<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(dcontent, (const bf16 *)dtile, index,
                                                              n);
    gpu_launched(g, "collect_values");
}
