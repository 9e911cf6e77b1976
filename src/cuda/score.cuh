/* score.cuh - what forward and backward of the router's scores share. */
#ifndef LOCI_SCORE_CUH
#define LOCI_SCORE_CUH

#include "mma.cuh"

enum { SCORE_ROWS = 64, SCORE_CHUNKS = 32 }; /* queries, chunks of a tile: two landmarks a chunk */
#define SCORE_TAU_MAX 40.0f                  /* as on the CPU: router.c */

/* Chunks that a block of queries looks at, on tile boundaries: all with negatives, else its own. */
__device__ __forceinline__ void score_columns(const loci_gpu_score &a, int q0, int *range,
                                              int *first, int *end)
{
    if (threadIdx.x == 0) {
        range[0] = a.negatives ? 0 : 0x7fffffff;
        range[1] = a.negatives ? a.n_chunks : 0;
    }
    __syncthreads();
    const int q = q0 + (int)threadIdx.x;
    if (threadIdx.x < SCORE_ROWS && q < a.n && a.own_lo[q] < a.own_hi[q]) {
        atomicMin(&range[0], a.own_lo[q]);
        atomicMax(&range[1], a.own_hi[q]);
    }
    __syncthreads();
    *first = range[0] & ~(SCORE_CHUNKS - 1);
    *end = range[1];
}

/* dot (16 queries, 64 landmarks) of a warp. */
__device__ __forceinline__ void score_product(float dot[8][4], const uint32_t uf[8][4],
                                              const bf16 *lm)
{
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) dot[n][e] = 0.0f;
#pragma unroll
    for (int n = 0; n < 8; n += 2)
#pragma unroll
        for (int k = 0; k < 8; k++) {
            uint32_t b[4];
            load_b<128>(b, lm, n * 8, k * 16);
            mma(dot[n], uf[k], b);
            mma(dot[n + 1], uf[k], b + 2);
        }
}

/* Scores of the thread's row i (0, 1): chunks c + 4 n. */
__device__ __forceinline__ void score_values(float s[8], const float dot[8][4], int i, float tau,
                                             const float *bias, int c, int n_chunks)
{
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const float b = c + 4 * n < n_chunks ? __ldg(bias + c + 4 * n) : 0.0f;
        s[n] = tau * fmaxf(dot[n][2 * i], dot[n][2 * i + 1]) + b;
    }
}

/* <u, l_m> of one query and both landmarks of a chunk, by a warp. */
__device__ __forceinline__ void landmark_dots(float dot[2], const bf16 *u, const bf16 *lm)
{
    const int lane = threadIdx.x & 31;
    const uint2 x = *(const uint2 *)(u + 4 * lane), y0 = *(const uint2 *)(lm + 4 * lane),
                y1 = *(const uint2 *)(lm + 128 + 4 * lane);
    const __nv_bfloat162 *p = (const __nv_bfloat162 *)&x, *a = (const __nv_bfloat162 *)&y0,
                         *b = (const __nv_bfloat162 *)&y1;
    float d0 = 0.0f, d1 = 0.0f;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float2 v = __bfloat1622float2(p[i]), e = __bfloat1622float2(a[i]),
                     f = __bfloat1622float2(b[i]);
        d0 += v.x * e.x + v.y * e.y;
        d1 += v.x * f.x + v.y * f.y;
    }
    dot[0] = warp_sum(d0);
    dot[1] = warp_sum(d1);
}

#endif
