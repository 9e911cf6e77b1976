/* mma.cuh - what the tensor-core kernels share: tiles in shared memory, fragments, products.
 *
 * A tile is rows of 64 or 128 bf16, 16-byte pieces.  Piece p of row r lies at place p ^ (r & 7), so
 * that the eight rows which one ldmatrix reads at the same piece fall into different banks.
 *
 * Fragments of mma.m16n8k16 (lane l, g = l / 4, j = 2 (l % 4)):
 *   A  a0 (g, j)  a1 (g + 8, j)  a2 (g, j + 8)  a3 (g + 8, j + 8)      two columns each
 *   B  b0 (j, g)  b1 (j + 8, g)                                          two rows each
 *   C  c0 c1 (g, j) (g, j + 1)   c2 c3 (g + 8, j) (g + 8, j + 1)
 * so the C fragments of two neighbouring column blocks, rounded to bf16, are an A fragment. */
#ifndef LOCI_MMA_CUH
#define LOCI_MMA_CUH

#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

#define LOG2E 1.44269504088896340736f
#define LN2   0.69314718055994530942f

/* Place of piece `p` (8 bf16) of row r in a tile of rows of COLS bf16, in bf16. */
template <int COLS> __device__ __forceinline__ int tile_at(int r, int p)
{
    return r * COLS + ((p ^ (r & 7)) << 3);
}

__device__ __forceinline__ uint32_t smem_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes from global to shared memory without registers; zeros when !take. */
__device__ __forceinline__ void copy16(void *to, const void *from, bool take)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(smem_address(to)),
                 "l"(from), "r"(take ? 16 : 0));
}
__device__ __forceinline__ void copy_commit(void)
{
    asm volatile("cp.async.commit_group;\n" ::);
}
/* Wait until at most N groups of this thread are under way. */
template <int N> __device__ __forceinline__ void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N));
}

__device__ __forceinline__ void load4(uint32_t r[4], const bf16 *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(smem_address(p)));
}
__device__ __forceinline__ void load4_transposed(uint32_t r[4], const bf16 *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(smem_address(p)));
}

/* A fragment (rows m0.., columns k0..) of a tile stored (m, k). */
template <int COLS>
__device__ __forceinline__ void load_a(uint32_t a[4], const bf16 *tile, int m0, int k0)
{
    const int l = threadIdx.x & 31;
    load4(a, tile + tile_at<COLS>(m0 + (l & 15), (k0 >> 3) + (l >> 4)));
}
/* The same of a tile stored (k, m). */
template <int COLS>
__device__ __forceinline__ void load_a_transposed(uint32_t a[4], const bf16 *tile, int m0, int k0)
{
    const int l = threadIdx.x & 31;
    load4_transposed(a, tile + tile_at<COLS>(k0 + (l & 7) + ((l >> 4) << 3),
                                             (m0 >> 3) + ((l >> 3) & 1)));
}
/* B fragments of two column blocks (n0 .. n0 + 15, rows k0 ..) of a tile stored (n, k): b[0..1] of the
 * first block, b[2..3] of the second. */
template <int COLS>
__device__ __forceinline__ void load_b(uint32_t b[4], const bf16 *tile, int n0, int k0)
{
    const int l = threadIdx.x & 31;
    load4(b, tile + tile_at<COLS>(n0 + (l & 7) + ((l >> 4) << 3), (k0 >> 3) + ((l >> 3) & 1)));
}
/* The same of a tile stored (k, n). */
template <int COLS>
__device__ __forceinline__ void load_b_transposed(uint32_t b[4], const bf16 *tile, int n0, int k0)
{
    const int l = threadIdx.x & 31;
    load4_transposed(b, tile + tile_at<COLS>(k0 + (l & 15), (n0 >> 3) + (l >> 4)));
}

__device__ __forceinline__ void mma(float c[4], const uint32_t a[4], const uint32_t *b)
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ uint32_t pack2(float lo, float hi)
{
    const __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
    return *(const uint32_t *)&v;
}

/* Column blocks 2k, 2k + 1 of C as an A fragment. */
__device__ __forceinline__ void as_a(uint32_t a[4], const float c0[4], const float c1[4])
{
    a[0] = pack2(c0[0], c0[1]);
    a[1] = pack2(c0[2], c0[3]);
    a[2] = pack2(c1[0], c1[1]);
    a[3] = pack2(c1[2], c1[3]);
}

/* Products of a warp, with a tile of rows of COLS in shared memory.  Each sum runs over k in rising order.
 *
 * c (16, 64) += a tile^T: a held as fragments, tile (64, COLS). */
template <int COLS>
__device__ __forceinline__ void add_scores(float c[8][4], const uint32_t a[COLS / 16][4],
                                           const bf16 *tile)
{
#pragma unroll
    for (int n = 0; n < 8; n += 2)
#pragma unroll
        for (int k = 0; k < COLS / 16; k++) {
            uint32_t b[4];
            load_b<COLS>(b, tile, n * 8, k * 16);
            mma(c[n], a[k], b);
            mma(c[n + 1], a[k], b + 2);
        }
}
/* The same of rows m0 .. m0 + 15 of a tile: their fragments are read again and take no registers. */
template <int COLS>
__device__ __forceinline__ void add_tile_scores(float c[8][4], const bf16 *rows, int m0,
                                                const bf16 *tile)
{
#pragma unroll
    for (int k = 0; k < COLS / 16; k++) {
        uint32_t a[4];
        load_a<COLS>(a, rows, m0, k * 16);
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
            uint32_t b[4];
            load_b<COLS>(b, tile, n * 8, k * 16);
            mma(c[n], a, b);
            mma(c[n + 1], a, b + 2);
        }
    }
}
/* c (16, COLS) += x tile: x (16, 64) rounded to bf16, tile (64, COLS). */
template <int COLS>
__device__ __forceinline__ void add_product(float c[COLS / 8][4], const float x[8][4],
                                            const bf16 *tile)
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t a[4];
        as_a(a, x[2 * k], x[2 * k + 1]);
#pragma unroll
        for (int n = 0; n < COLS / 8; n += 2) {
            uint32_t b[4];
            load_b_transposed<COLS>(b, tile, n * 8, k * 16);
            mma(c[n], a, b);
            mma(c[n + 1], a, b + 2);
        }
    }
}

/* Rows r0 .. r0 + 63 of x (n rows, 64 columns from x on, ld apart) into a tile, by 128 threads; rows
 * behind n become zero. */
__device__ __forceinline__ void tile_load64(bf16 *tile, const bf16 *x, size_t ld, int r0, int n)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int at = (int)threadIdx.x + i * 128, r = at >> 3, p = at & 7;
        const bool in = r0 + r < n;
        copy16(tile + tile_at<64>(r, p), x + (size_t)(in ? r0 + r : 0) * ld + p * 8, in);
    }
}
/* The same for 128 columns, contiguous rows. */
__device__ __forceinline__ void tile_load128(bf16 *tile, const bf16 *x, int r0, int n)
{
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int at = (int)threadIdx.x + i * 128, r = at >> 4, p = at & 15;
        const bool in = r0 + r < n;
        copy16(tile + tile_at<128>(r, p), x + (size_t)(in ? r0 + r : 0) * 128 + p * 8, in);
    }
}

/* Sums and maxima over the four lanes that share a row of a C fragment. */
__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
/* Over sixteen lanes, each half of a warp for itself. */
__device__ __forceinline__ float half_sum(float x)
{
#pragma unroll
    for (int s = 8; s > 0; s >>= 1) x += __shfl_xor_sync(~0u, x, s);
    return x;
}
__device__ __forceinline__ float half_max(float x)
{
#pragma unroll
    for (int s = 8; s > 0; s >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, s));
    return x;
}
__device__ __forceinline__ float warp_sum(float x)
{
#pragma unroll
    for (int s = 16; s > 0; s >>= 1) x += __shfl_xor_sync(~0u, x, s);
    return x;
}
__device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int s = 16; s > 0; s >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, s));
    return x;
}

#endif
