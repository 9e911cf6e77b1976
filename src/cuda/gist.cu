/* gist.cu - pyramids of means over rows, and rows that are handed out more than once: what gist.c of the
 * model needs beside products, norms and attention.
 *
 * A parent row is the mean of 16 rows in a row from child[r] on.  No row has two parents, and what comes
 * back for a row that was handed out often is added in a listed order, so nothing is left to chance. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { FAN = 16, WARPS = 8, THREADS = 32 * WARPS };

__global__ void pool(float *node, const int32_t *child, int first, size_t n, int cols)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const size_t row = first + i / cols, col = i % cols;
    const float *from = node + (size_t)child[row] * cols + col;
    float sum = 0.0f;
    for (int j = 0; j < FAN; j++) sum += from[(size_t)j * cols] * (1.0f / FAN);
    node[row * cols + col] = sum;
}

extern "C" void loci_gpu_pool(loci_gpu *g, float *node, const int32_t *child, int first, int rows,
                              int cols)
{
    const size_t n = (size_t)rows * cols;
    if (n == 0) return;
    pool<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(node, child, first, n, cols);
    gpu_launched(g, "pool");
}

__global__ void unpool(float *dnode, const int32_t *child, int first, size_t n, int cols)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const size_t row = first + i / cols / FAN, j = i / cols % FAN, col = i % cols;
    dnode[(child[row] + j) * cols + col] += dnode[row * cols + col] * (1.0f / FAN);
}

extern "C" void loci_gpu_unpool(loci_gpu *g, float *dnode, const int32_t *child, int first,
                                int rows, int cols)
{
    const size_t n = (size_t)rows * FAN * cols;
    if (n == 0) return;
    unpool<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(dnode, child, first, n, cols);
    gpu_launched(g, "unpool");
}

__global__ void add_level(bf16 *y, const bf16 *x, const float *table, const uint8_t *level,
                          size_t n, int cols)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] =
        __float2bfloat16(__bfloat162float(x[i]) + table[(size_t)level[i / cols] * cols + i % cols]);
}

extern "C" void loci_gpu_add_level(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x,
                                   const float *table, const uint8_t *level, int rows, int cols)
{
    const size_t n = (size_t)rows * cols;
    if (n == 0) return;
    add_level<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)y, (const bf16 *)x, table, level,
                                                         n, cols);
    gpu_launched(g, "add_level");
}

/* 16 lanes a row of 128, eight numbers each. */
__global__ void hand_out(uint4 *out, const uint4 *x, const int32_t *row, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int from = row[i >> 4];
    out[i] = from < 0 ? make_uint4(0, 0, 0, 0) : x[(size_t)from * 16 + (i & 15)];
}

extern "C" void loci_gpu_hand_out(loci_gpu *g, loci_bf16 *out, const loci_bf16 *x,
                                  const int32_t *row, int n)
{
    if (n == 0) return;
    hand_out<<<gpu_blocks((size_t)n * 16, 256), 256, 0, g->stream>>>((uint4 *)out, (const uint4 *)x,
                                                                     row, (size_t)n * 16);
    gpu_launched(g, "hand_out");
}

/* A warp a row, four numbers a lane. */
__global__ void take_back(bf16 *out, const bf16 *x, const int32_t *order, const int32_t *start,
                          int rows)
{
    const int r = blockIdx.x * WARPS + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (r >= rows) return;
    float sum[4] = {};
    for (int i = start[r]; i < start[r + 1]; i++) {
        const uint2 v = *(const uint2 *)(x + (size_t)order[i] * 128 + 4 * lane);
        const float2 a = __bfloat1622float2(*(const __nv_bfloat162 *)&v.x),
                     b = __bfloat1622float2(*(const __nv_bfloat162 *)&v.y);
        sum[0] += a.x;
        sum[1] += a.y;
        sum[2] += b.x;
        sum[3] += b.y;
    }
    *(uint2 *)(out + (size_t)r * 128 + 4 * lane) =
        make_uint2(pack2(sum[0], sum[1]), pack2(sum[2], sum[3]));
}

extern "C" void loci_gpu_take_back(loci_gpu *g, loci_bf16 *out, const loci_bf16 *x,
                                   const int32_t *order, const int32_t *start, int rows)
{
    if (rows == 0) return;
    take_back<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)out, (const bf16 *)x,
                                                                  order, start, rows);
    gpu_launched(g, "take_back");
}
