/* code_spread.cu - soft codes, and the loss that keeps every bit of a bank's codes in use: code_loss.c.
 *
 *   b = tanh(slope x)
 *   L = 1/d sum_i mean(b_i)^2 + 1/d^2 sum_{i != j} mean(b_i b_j)^2        means over a bank's N codes
 *   dL/db_ni = 2/(d N) mean(b_i) + 4/(d^2 N) sum_{j != i} mean(b_i b_j) b_nj
 *
 * One block takes a bank: its 256 threads hold 8 x 8 numbers each of the (128, 128) second moments and walk
 * over tiles of 64 codes, once for the moments and once for the gradient. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { D = 128, TILE = 64, THREADS = 256 };

__global__ void soft_codes(bf16 *b, const float *x, float slope, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) b[i] = __float2bfloat16(tanhf(slope * x[i]));
}

__global__ void soft_codes_bwd(bf16 *dx, const float *db, const float *x, float slope, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float b = tanhf(slope * x[i]);
    dx[i] = __float2bfloat16(slope * (1.0f - b * b) * db[i]);
}

extern "C" void loci_gpu_soft_codes(loci_gpu *g, loci_bf16 *b, const float *x, float slope,
                                    size_t n)
{
    if (n == 0) return;
    soft_codes<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)b, x, slope, n);
    gpu_launched(g, "soft_codes");
}

extern "C" void loci_gpu_soft_codes_bwd(loci_gpu *g, loci_bf16 *dx, const float *db, const float *x,
                                        float slope, size_t n)
{
    if (n == 0) return;
    soft_codes_bwd<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)dx, db, x, slope, n);
    gpu_launched(g, "soft_codes_bwd");
}

typedef struct {
    float tile[TILE][D], second[D][D], first[D], sum[THREADS];
} spread_memory;

/* Codes n0 .. n0 + TILE - 1 of a bank's n, as f32; zeros behind. */
__device__ __forceinline__ void load_tile(spread_memory *m, const bf16 *code, int n0, int n)
{
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * D; i += THREADS)
        m->tile[i / D][i % D] = n0 + i / D < n ? __bfloat162float(code[(size_t)n0 * D + i]) : 0.0f;
    __syncthreads();
}

/* Sum of x over the block, in a fixed order. */
__device__ __forceinline__ float block_sum(spread_memory *m, float x)
{
    m->sum[threadIdx.x] = x;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) m->sum[threadIdx.x] += m->sum[threadIdx.x + half];
    }
    __syncthreads();
    return m->sum[0];
}

/* first, second (diagonal 0) of the bank; returns its loss. */
__device__ __forceinline__ float moments(spread_memory *m, const bf16 *code, int n)
{
    const int i0 = threadIdx.x / 16 * 8, j0 = threadIdx.x % 16 * 8;
    float acc[8][8] = {}, mean = 0.0f, loss = 0.0f;
    for (int n0 = 0; n0 < n; n0 += TILE) {
        load_tile(m, code, n0, n);
        for (int r = 0; r < TILE; r++) {
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) acc[i][j] += m->tile[r][i0 + i] * m->tile[r][j0 + j];
            if (threadIdx.x < D) mean += m->tile[r][threadIdx.x];
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float v = i0 + i == j0 + j ? 0.0f : acc[i][j] / (float)n;
            m->second[i0 + i][j0 + j] = v;
            loss += v * v / (float)(D * D);
        }
    if (threadIdx.x < D) {
        mean /= (float)n;
        m->first[threadIdx.x] = mean;
        loss += mean * mean / (float)D;
    }
    return block_sum(m, loss);
}

__global__ void __launch_bounds__(THREADS)
    code_spread(float *loss, float *dbk, const bf16 *bk, const int32_t *start, float scale)
{
    extern __shared__ __align__(128) unsigned char memory[];
    spread_memory *m = (spread_memory *)memory;
    const int bank = blockIdx.x, n = 2 * (start[bank + 1] - start[bank]);
    const size_t at = (size_t)start[bank] * 2 * D;
    const int r0 = threadIdx.x / 16 * 4, i0 = threadIdx.x % 16 * 8;
    const float all = n > 0 ? moments(m, bk + at, n) : 0.0f;
    if (threadIdx.x == 0) loss[bank] = all;
    if (!dbk) return;
    const float balance = scale * 2.0f / (float)(D * n),
                apart = scale * 4.0f / ((float)(D * D) * (float)n);
    for (int n0 = 0; n0 < n; n0 += TILE) {
        load_tile(m, bk + at, n0, n);
        float d[4][8] = {};
        for (int j = 0; j < D; j++)
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
                for (int i = 0; i < 8; i++) d[r][i] += m->tile[r0 + r][j] * m->second[j][i0 + i];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            if (n0 + r0 + r >= n) continue;
            float *to = dbk + at + (size_t)(n0 + r0 + r) * D + i0;
#pragma unroll
            for (int i = 0; i < 8; i++) to[i] += apart * d[r][i] + balance * m->first[i0 + i];
        }
    }
}

extern "C" void loci_gpu_code_spread(loci_gpu *g, float *loss, float *dbk, const loci_bf16 *bk,
                                     const int32_t *start, int banks, float scale)
{
    if (banks == 0) return;
    gpu_shared(g, (const void *)code_spread, sizeof(spread_memory));
    code_spread<<<banks, THREADS, sizeof(spread_memory), g->stream>>>(loss, dbk, (const bf16 *)bk,
                                                                      start, scale);
    gpu_launched(g, "code_spread");
}
