/* read.cuh - what the two directions of routed reading share.
 *
 * An entry is query * SLOTS + slot.  Its eight heads are eight rows; two entries make the 16 rows of
 * a warp's product, eight entries a tile. */
#ifndef LOCI_READ_CUH
#define LOCI_READ_CUH

#include "mma.cuh"

enum {
    READ_HEADS = LOCI_GPU_READ_HEADS,
    READ_WIDE = READ_HEADS * 64,
    READ_SLOTS = LOCI_GPU_SLOTS,
    READ_PICKS = LOCI_GPU_PICKS,
    READ_PAIRS = LOCI_GPU_PICKS + 1,
    READ_MARKS = 8 /* features of a pick's place */
};
#define READ_POINTER_EPS 1e-6f /* as on the CPU: pointer.c */

/* Where (n, PICKS, heads) and (n, PICKS, 8) have a pick's head or feature. */
static_assert(READ_HEADS == READ_MARKS, "one index for both");
__device__ __forceinline__ size_t read_head(int q, int slot, int h)
{
    return ((size_t)q * READ_PICKS + slot) * READ_HEADS + h;
}

/* Fills the pairs of r, which has no lists (read_pairs.cu). */
void read_pairs_launch(loci_gpu *g, const loci_gpu_read *r);

/* Rows 0-7 of entry e, 8-15 of entry e + 1, taken from x (queries, 512), by a warp; zeros behind `end`. */
__device__ __forceinline__ void stage_pair(bf16 *to, const bf16 *x, const int32_t *entry, int e,
                                           int end)
{
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int at = lane + 32 * i, r = at >> 3, p = at & 7, from = e + (r >> 3);
        const bool in = from < end;
        const int q = in ? entry[from] / READ_SLOTS : 0;
        copy16(to + tile_at<64>(r, p), x + (size_t)q * READ_WIDE + (r & 7) * 64 + p * 8, in);
    }
}

/* s (16, 64) = factor <row, key>, -infinity behind n_keys. */
__device__ __forceinline__ void pair_scores(float s[8][4], const uint32_t qf[4][4],
                                            const bf16 *keys, int n_keys, float factor)
{
    const int j0 = 2 * (threadIdx.x & 3);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = 0.0f;
    add_scores<64>(s, qf, keys);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            s[n][e] = n * 8 + j0 + (e & 1) < n_keys ? s[n][e] * factor : -INFINITY;
}

/* Value at column `col` of the thread's row i, seen by all four lanes of the row. */
__device__ __forceinline__ float row_value(const float s[8][4], int i, int col)
{
    float x = 0.0f;
    const int j0 = 2 * (threadIdx.x & 3);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++)
            if (n * 8 + j0 + e == col) x = s[n][2 * i + e];
    return quad_sum(x);
}

/* Sum over the eight heads of an entry: lanes with the same l % 4. */
__device__ __forceinline__ float heads_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 4);
    x += __shfl_xor_sync(~0u, x, 8);
    return x + __shfl_xor_sync(~0u, x, 16);
}

#endif
