/* lists.cu - picks turned round: for each chunk the queries that picked it, in rising order.
 *
 * A counting sort whose order does not depend on chance: queries go in tiles of 256, one warp a tile,
 * which walks over its queries one after the other and counts in shared memory (the picks of one query
 * are different chunks, but for the last two slots, which take their own turn). */
#include "gpu_impl.h"

enum { TILE = LOCI_GPU_LIST_TILE, PICKS = LOCI_GPU_PICKS };

/* Each pick of query q, slots of one turn at once: turn 0 the picks, then one slot a turn. */
template <typename F>
__device__ __forceinline__ void walk(const loci_gpu_lists &l, const int32_t *pick, int tile,
                                     F visit)
{
    const int lane = threadIdx.x, lo = l.tile_lo[tile], end = min(l.n, (tile + 1) * TILE);
    for (int q = tile * TILE; q < end; q++) {
        const int c = lane < l.slots ? pick[(size_t)q * l.slots + lane] : -1;
        for (int turn = 0; turn <= l.slots - PICKS; turn++) {
            const bool mine = turn == 0 ? lane < PICKS : lane == PICKS + turn - 1;
            if (mine && c >= 0) visit(c - lo, q * l.slots + lane);
            __syncwarp();
        }
    }
}

__global__ void list_count(loci_gpu_lists l, const int32_t *pick)
{
    extern __shared__ int32_t count[];
    int32_t *out = l.counts + (size_t)blockIdx.x * l.tile_span;
    for (int i = threadIdx.x; i < l.tile_span; i += 32) count[i] = 0;
    __syncwarp();
    walk(l, pick, blockIdx.x, [&](int c, int) { count[c]++; });
    for (int i = threadIdx.x; i < l.tile_span; i += 32) out[i] = count[i];
}

/* counts become exclusive sums over the tiles of a chunk; start[c + 1] its total. */
__global__ void list_prefix(loci_gpu_lists l)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= l.n_chunks) return;
    int sum = 0;
    for (int tile = l.first_tile[c]; tile < l.last_tile[c]; tile++) {
        const int at = c - l.tile_lo[tile];
        if (at < 0 || at >= l.tile_span) continue;
        int32_t *p = l.counts + (size_t)tile * l.tile_span + at;
        const int n = *p;
        *p = sum;
        sum += n;
    }
    l.start[c + 1] = sum;
    l.item_start[c + 1] = (sum + LOCI_GPU_ITEM - 1) / LOCI_GPU_ITEM;
}

/* Inclusive sums of start[1..] and item_start[1..] in one block. */
__global__ void list_scan(loci_gpu_lists l)
{
    __shared__ int part[2][1024];
    const int per = (l.n_chunks + 1023) / 1024, b = threadIdx.x * per, e = min(l.n_chunks, b + per);
    int sum[2] = { 0, 0 };
    for (int c = b; c < e; c++) sum[0] += l.start[c + 1], sum[1] += l.item_start[c + 1];
    part[0][threadIdx.x] = sum[0];
    part[1][threadIdx.x] = sum[1];
    for (int s = 1; s < 1024; s <<= 1) {
        __syncthreads();
        const int x = (int)threadIdx.x >= s ? part[0][threadIdx.x - s] : 0;
        const int y = (int)threadIdx.x >= s ? part[1][threadIdx.x - s] : 0;
        __syncthreads();
        part[0][threadIdx.x] += x;
        part[1][threadIdx.x] += y;
    }
    __syncthreads();
    int run[2] = { part[0][threadIdx.x] - sum[0], part[1][threadIdx.x] - sum[1] };
    if (threadIdx.x == 0) l.start[0] = l.item_start[0] = 0;
    for (int c = b; c < e; c++) {
        l.start[c + 1] = run[0] += l.start[c + 1];
        l.item_start[c + 1] = run[1] += l.item_start[c + 1];
    }
}

__global__ void list_items(loci_gpu_lists l)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= l.n_chunks) return;
    for (int i = l.item_start[c]; i < l.item_start[c + 1]; i++) l.item_chunk[i] = c;
}

__global__ void list_fill(loci_gpu_lists l, const int32_t *pick)
{
    extern __shared__ int32_t next[];
    const int lo = l.tile_lo[blockIdx.x];
    for (int i = threadIdx.x; i < l.tile_span; i += 32)
        next[i] = lo + i < l.n_chunks
                      ? l.start[lo + i] + l.counts[(size_t)blockIdx.x * l.tile_span + i]
                      : 0;
    __syncwarp();
    walk(l, pick, blockIdx.x, [&](int c, int entry) { l.entry[next[c]++] = entry; });
}

extern "C" void loci_gpu_lists_build(loci_gpu *g, const loci_gpu_lists *l, const int32_t *pick)
{
    if (l->n == 0 || l->n_chunks == 0) return;
    const size_t shared = (size_t)l->tile_span * sizeof(int32_t);
    const unsigned tiles = gpu_blocks(l->n, TILE), blocks = gpu_blocks(l->n_chunks, 256);
    gpu_shared(g, (const void *)list_count, shared);
    gpu_shared(g, (const void *)list_fill, shared);
    list_count<<<tiles, 32, shared, g->stream>>>(*l, pick);
    list_prefix<<<blocks, 256, 0, g->stream>>>(*l);
    list_scan<<<1, 1024, 0, g->stream>>>(*l);
    list_items<<<blocks, 256, 0, g->stream>>>(*l);
    list_fill<<<tiles, 32, shared, g->stream>>>(*l, pick);
    gpu_launched(g, "lists");
}
