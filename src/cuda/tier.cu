/* tier.cu - content rows of training as 4-bit storage would give them back: equations in tier.c of the
 * model.
 *
 * Every chunk is served whole or packed.  Rows are a key and a value or one vector, 64 numbers each; places behind
 * a chunk's tokens are zero rows, before and after.  A warp takes a row, two numbers of each half a
 * lane. */
#include "gpu_impl.h"
#include "mma.cuh"
#include <cuda_fp16.h>

enum { CHUNK = 64, ROW = 128, WARPS = 4, THREADS = 32 * WARPS };

/* A warp 32 numbers. Divisions and roundings are those of quant_q4: the same codes on either side. */
__global__ void round_q4(bf16 *y, const float *x, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return; /* whole warps: n is a multiple of 32 */
    const float top = warp_max(fabsf(x[i]));
    const float unit = __half2float(__float2half_rn(fminf(__fdiv_rn(top, 7.0f), 65504.0f)));
    const float v = unit > 0.0f ? __fdiv_rn(x[i], unit) : 0.0f;
    y[i] = __float2bfloat16(rintf(fminf(fmaxf(v, -7.0f), 7.0f)) * unit);
}

extern "C" void loci_gpu_round_q4(loci_gpu *g, loci_bf16 *y, const float *x, size_t n)
{
    if (n == 0) return;
    round_q4<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)y, x, n);
    gpu_launched(g, "round_q4");
}

/* Columns 2 lane, 2 lane + 1 of part `h` of a row. */
__device__ __forceinline__ size_t column(size_t row, int h, int cols)
{
    return row * cols + h * 64 + 2 * (threadIdx.x & 31);
}

__device__ __forceinline__ float2 get(const bf16 *x, size_t at)
{
    return __bfloat1622float2(*(const __nv_bfloat162 *)(x + at));
}

__device__ __forceinline__ float2 get(const float *x, size_t at)
{
    return *(const float2 *)(x + at);
}

__device__ __forceinline__ void put(bf16 *x, size_t at, float a, float b)
{
    *(__nv_bfloat162 *)(x + at) = __floats2bfloat162_rn(a, b);
}

__global__ void add_halves(float *x, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i / 64 * ROW + i % 64] += x[i / 64 * ROW + 64 + i % 64];
}

extern "C" void loci_gpu_add_halves(loci_gpu *g, float *x, int rows)
{
    const size_t n = (size_t)rows * 64;
    if (n == 0) return;
    add_halves<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(x, n);
    gpu_launched(g, "add_halves");
}

__global__ void serve(loci_gpu_tier t, bf16 *served, float *inv, const float *r,
                      const float *context, float eps)
{
    const int p = blockIdx.x * WARPS + (threadIdx.x >> 5), c = p / CHUNK;
    if (c >= t.n_chunks) return;
    const bool real = p % CHUNK < t.n_tokens[c], packed = t.packed[c] != 0;
    for (int h = 0; h < t.cols / 64; h++) {
        const size_t at = column(p, h, t.cols);
        float2 v = make_float2(0.0f, 0.0f);
        float f = 0.0f;
        if (real && packed) {
            const float2 a = get(r, at), b = get(context, column(c, h, t.cols));
            v = make_float2(a.x + b.x, a.y + b.y);
            f = rsqrtf(warp_sum(v.x * v.x + v.y * v.y) / 64.0f + eps);
            v.x *= f;
            v.y *= f;
        } else if (real) {
            v = get((const bf16 *)t.whole, at);
        }
        put(served, at, v.x, v.y);
        if ((threadIdx.x & 31) == 0) inv[t.cols / 64 * p + h] = f;
    }
}

extern "C" void loci_gpu_serve(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *served, float *inv,
                               const float *r, const float *context, float eps)
{
    if (t->n_chunks == 0) return;
    serve<<<t->n_chunks * CHUNK / WARPS, THREADS, 0, g->stream>>>(*t, (bf16 *)served, inv, r,
                                                                  context, eps);
    gpu_launched(g, "serve");
}

/* A block a chunk; its warps' sums over rows are added in their order. */
__global__ void unserve(loci_gpu_tier t, bf16 *dr, bf16 *dcontext, float *dcontent,
                        const bf16 *served, const float *inv)
{
    __shared__ float sum[WARPS][ROW];
    const int c = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float2 all[2] = {};
    for (int j = warp; j < CHUNK; j += WARPS) {
        const size_t p = (size_t)c * CHUNK + j;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (h == t.cols / 64) break;
            const size_t at = column(p, h, t.cols), from = column(p, h, ROW);
            float2 d = make_float2(0.0f, 0.0f);
            if (t.packed[c]) {
                const float2 v = get(served, at);
                d = get(dcontent, from);
                const float along = warp_sum(d.x * v.x + d.y * v.y) / 64.0f,
                            f = inv[t.cols / 64 * p + h];
                d.x = f * (d.x - v.x * along);
                d.y = f * (d.y - v.y * along);
                *(float2 *)(dcontent + from) = make_float2(0.0f, 0.0f);
            }
            put(dr, at, d.x, d.y);
            all[h].x += d.x;
            all[h].y += d.y;
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        sum[warp][h * 64 + 2 * lane] = all[h].x;
        sum[warp][h * 64 + 2 * lane + 1] = all[h].y;
    }
    __syncthreads();
    float of = 0.0f;
    for (int w = 0; w < WARPS; w++) of += sum[w][threadIdx.x];
    if (threadIdx.x < t.cols) dcontext[(size_t)c * t.cols + threadIdx.x] = __float2bfloat16(of);
}

extern "C" void loci_gpu_unserve(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *dr,
                                 loci_bf16 *dcontext, float *dcontent, const loci_bf16 *served,
                                 const float *inv)
{
    if (t->n_chunks == 0) return;
    unserve<<<t->n_chunks, THREADS, 0, g->stream>>>(*t, (bf16 *)dr, (bf16 *)dcontext, dcontent,
                                                    (const bf16 *)served, inv);
    gpu_launched(g, "unserve");
}

__global__ void ageing(loci_gpu_tier t, float *loss, float *dcontent, const bf16 *served, float k)
{
    const int p = blockIdx.x * WARPS + (threadIdx.x >> 5), c = p / CHUNK;
    if (c >= t.n_chunks) return;
    const bool counts = t.packed[c] && p % CHUNK < t.n_tokens[c];
    float square = 0.0f;
    for (int h = 0; h < t.cols / 64 && counts; h++) {
        const size_t at = column(p, h, t.cols);
        const float2 a = get(served, at), b = get((const bf16 *)t.whole, at);
        const float x = a.x - b.x, y = a.y - b.y;
        square += x * x + y * y;
        if (!dcontent) continue;
        float2 *d = (float2 *)(dcontent + column(p, h, ROW));
        *d = make_float2(d->x + k * x, d->y + k * y);
    }
    square = warp_sum(square) / (float)t.cols;
    if ((threadIdx.x & 31) == 0) loss[p] = square;
}

extern "C" void loci_gpu_ageing(loci_gpu *g, const loci_gpu_tier *t, float *loss, float *dcontent,
                                const loci_bf16 *served, float k)
{
    if (t->n_chunks == 0) return;
    ageing<<<t->n_chunks * CHUNK / WARPS, THREADS, 0, g->stream>>>(*t, loss, dcontent,
                                                                   (const bf16 *)served, k);
    gpu_launched(g, "ageing");
}
