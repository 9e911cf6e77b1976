/* read.cu - routed reading, forward: queries attend to the chunks they picked.
 *
 *   o(t,h) = sum_i w_hi ( softmax_j(scale q_h k_j) v_j + row_i )      j in chunk i, i-th oldest pick
 *
 * row_i: the i-th rank, or what the features of the pick's place add up to, phi_i E (order.cu).
 *
 * Work goes by chunk: an item is a chunk and up to 128 of the entries that picked it, so keys and
 * values are fetched once an item and not once a query.  Each (query, pick) pair leaves its weighted
 * result in a buffer of its own; a second kernel sums a query's pairs in their order. */
#include "gpu_impl.h"
#include "read.cuh"

typedef struct {
    bf16 k[64 * 64], v[64 * 64], q[4][2][16 * 64]; /* q: two buffers a warp */
} read_tiles;

/* The warp's 16 rows of probabilities to one 512-wide row of the pair buffer an entry. */
__device__ __forceinline__ void pair_store(bf16 *pair, const float out[8][4], const int32_t *entry,
                                           int e, int end, const float factor[2])
{
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (e + i >= end) continue;
        const int q = entry[e + i] / READ_SLOTS, slot = entry[e + i] % READ_SLOTS;
        if (slot >= READ_PICKS) continue;
        uint32_t *to =
            (uint32_t *)(pair + ((size_t)q * READ_PAIRS + slot) * READ_WIDE + (lane >> 2) * 64) +
            (lane & 3);
#pragma unroll
        for (int n = 0; n < 8; n++)
            to[n * 4] = pack2(out[n][2 * i] * factor[i], out[n][2 * i + 1] * factor[i]);
    }
}

/* Softmax of a warp's rows; returns lse in natural units for both rows and leaves p unnormalised. */
__device__ __forceinline__ void pair_softmax(float s[8][4], float lse[2], float share[2])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float top = -INFINITY, sum = 0.0f;
#pragma unroll
        for (int n = 0; n < 8; n++) top = fmaxf(top, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
        top = quad_max(top);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[n][2 * i] = exp2f(s[n][2 * i] - top);
            s[n][2 * i + 1] = exp2f(s[n][2 * i + 1] - top);
            sum += s[n][2 * i] + s[n][2 * i + 1];
        }
        sum = quad_sum(sum);
        share[i] = 1.0f / sum;
        lse[i] = (top + log2f(sum)) * LN2;
    }
}

/* lse of both entries, and for the entry that points its loss. */
__device__ __forceinline__ void pair_notes(const loci_gpu_read &r, const float p[8][4],
                                           const int32_t *entry, int e, int end, const float lse[2],
                                           const float share[2])
{
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int x = e + i < end ? entry[e + i] : -1, q = x / READ_SLOTS,
                  slot = x < 0 ? READ_SLOTS : x % READ_SLOTS;
        if (slot < READ_PAIRS && (lane & 3) == 0)
            r.lse[((size_t)q * READ_PAIRS + slot) * READ_HEADS + (lane >> 2)] = lse[i];
        if (slot != READ_PICKS) continue; /* the same for the whole warp */
        const float mean = heads_sum(row_value(p, i, r.source[q] & 63) * share[i]) / READ_HEADS;
        if (lane == 0 && r.stat)
            r.stat[(size_t)LOCI_STAT_POINTER * r.n + q] += r.share * -logf(mean + READ_POINTER_EPS);
    }
}

__global__ void __launch_bounds__(128) read_forward(loci_gpu_read r, loci_gpu_lists l)
{
    extern __shared__ __align__(128) unsigned char memory[];
    read_tiles *t = (read_tiles *)memory;
    const int item = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (item >= l.item_start[l.n_chunks]) return;
    const int c = l.item_chunk[item], first = l.start[c] + (item - l.item_start[c]) * LOCI_GPU_ITEM;
    const int end = min(l.start[c + 1], first + LOCI_GPU_ITEM), n_keys = r.n_tokens[c];
    const bf16 *content = (const bf16 *)r.content + (size_t)c * 64 * r.cols, *q = (const bf16 *)r.q;
    tile_load64(t->k, content, r.cols, 0, 64);
    tile_load64(t->v, content + r.cols - 64, r.cols, 0, 64);
    int e = first + 2 * warp;
    stage_pair(t->q[warp][0], q, l.entry, e, end);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    for (int buf = 0; e < end; e += 8, buf ^= 1) {
        stage_pair(t->q[warp][buf ^ 1], q, l.entry, e + 8, end);
        copy_commit();
        uint32_t qf[4][4];
        float s[8][4], lse[2], share[2], factor[2], out[8][4] = {};
        copy_wait<1>();
        __syncwarp();
#pragma unroll
        for (int k = 0; k < 4; k++) load_a<64>(qf[k], t->q[warp][buf], 0, k * 16);
        pair_scores(s, qf, t->k, n_keys, r.scale * LOG2E);
        pair_softmax(s, lse, share);
        add_product<64>(out, s, t->v);
        pair_notes(r, s, l.entry, e, end, lse, share);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int x = e + i < end ? l.entry[e + i] : 0, slot = x % READ_SLOTS;
            factor[i] = slot < READ_PICKS
                            ? share[i] * r.w[read_head(x / READ_SLOTS, slot, lane >> 2)]
                            : 0.0f;
        }
        pair_store((bf16 *)r.pair, out, l.entry, e, end, factor);
        __syncwarp();
    }
    copy_wait<0>();
}

/* o of a query: its pairs and their rows, in order; a warp a query, 16 numbers of one head a lane. */
__global__ void read_combine(loci_gpu_read r)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, d = (lane & 3) * 16;
    if (q >= r.n) return;
    float sum[16] = {}, share[READ_MARKS] = {};
    for (int i = 0; i < READ_PICKS && r.pick[(size_t)q * READ_SLOTS + i] >= 0; i++) {
        const uint4 *p = (const uint4 *)((const bf16 *)r.pair +
                                         ((size_t)q * READ_PAIRS + i) * READ_WIDE + lane * 16);
        const uint4 v[2] = { p[0], p[1] };
        const float w = r.w[read_head(q, i, lane >> 2)], wr = r.phi ? 0.0f : w;
        const float *phi = r.phi ? r.phi + read_head(q, i, 0) : NULL;
#pragma unroll
        for (int f = 0; f < READ_MARKS; f++) share[f] += phi ? w * phi[f] : 0.0f;
        const __nv_bfloat162 *x = (const __nv_bfloat162 *)v;
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float2 f = __bfloat1622float2(x[k]);
            const float *row = r.row + (r.phi ? 0 : i * 64) + d + 2 * k;
            sum[2 * k] += f.x + wr * __ldg(row);
            sum[2 * k + 1] += f.y + wr * __ldg(row + 1);
        }
    }
    for (int f = 0; r.phi && f < READ_MARKS; f++)
#pragma unroll
        for (int k = 0; k < 16; k++) sum[k] += share[f] * __ldg(r.row + f * 64 + d + k);
    uint4 out[2];
    uint32_t *x = (uint32_t *)out;
#pragma unroll
    for (int k = 0; k < 8; k++) x[k] = pack2(sum[2 * k], sum[2 * k + 1]);
    uint4 *to = (uint4 *)((bf16 *)r.o + (size_t)q * READ_WIDE + lane * 16);
    to[0] = out[0];
    to[1] = out[1];
}

extern "C" void loci_gpu_read_forward(loci_gpu *g, const loci_gpu_read *r)
{
    if (r->n == 0) return;
    if (!r->lists)
        read_pairs_launch(g, r);
    else if (r->lists->n_chunks > 0)
        read_forward<<<r->lists->max_items, 128, sizeof(read_tiles), g->stream>>>(*r, *r->lists);
    read_combine<<<gpu_blocks(r->n, 8), 256, 0, g->stream>>>(*r);
    gpu_launched(g, "read_forward");
}
