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

/* Rows of a warp's 16: first landmarks of its 8 chunks, then second ones, so that a thread of the
 * product holds both of a chunk. */
__device__ __forceinline__ void load_landmarks_a(uint32_t f[4], const bf16 *tile, int m0, int k0)
{
    const int l = threadIdx.x & 31, r = l & 15;
    load4(f, tile + tile_at<128>(m0 + 2 * (r & 7) + (r >> 3), (k0 >> 3) + (l >> 4)));
}

/* dot (16 landmarks of 8 chunks, 64 queries) of a warp += rows m0 .. m0 + 15 of lm times u. */
__device__ __forceinline__ void add_landmark_scores(float dot[8][4], const bf16 *lm, int m0,
                                                    const bf16 *u)
{
#pragma unroll
    for (int k = 0; k < 8; k++) {
        uint32_t f[4];
        load_landmarks_a(f, lm, m0, k * 16);
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
            uint32_t b[4];
            load_b<128>(b, u, n * 8, k * 16);
            mma(dot[n], f, b);
            mma(dot[n + 1], f, b + 2);
        }
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

/* log2-domain running sum of exponentials */
typedef struct {
    float top, sum;
} running;

__device__ __forceinline__ void running_add(running *r, const float s[8], const bool take[8])
{
    float top = r->top;
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (take[i]) top = fmaxf(top, s[i]);
    if (top == -INFINITY) return;
    float sum = r->sum * exp2f(r->top - top);
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (take[i]) sum += exp2f(s[i] - top);
    r->top = top;
    r->sum = sum;
}

/* Natural logarithm of the sum over the four lanes of a row. */
__device__ __forceinline__ float running_log(running r)
{
    const float top = quad_max(r.top);
    const float part = top == -INFINITY ? 0.0f : r.sum * exp2f(r.top - top), sum = quad_sum(part);
    return sum > 0.0f ? (top + log2f(sum)) * LN2 : -INFINITY;
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

/* Parts into which gradients by chunk are cut: enough blocks to fill the chip several times over, from the
 * shape alone. */
static inline int score_parts(int n_chunks)
{
    const int columns = (n_chunks + SCORE_CHUNKS - 1) / SCORE_CHUNKS;
    const int parts = columns > 0 ? 1024 / columns : 1;
    return parts < 1 ? 1 : parts > 64 ? 64 : parts;
}

#endif
