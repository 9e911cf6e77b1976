/* read_bwd.cu - routed reading, backward.
 *
 * With P = softmax of an entry's scores, dP = dO v^T and w its weight:
 *   dw = sum_j P dP;   dV += (w P)^T dO;   dS = w P (dP - dw);   dQ = scale dS K;   dK += scale dS^T Q
 * An entry in the pointer's slot has w = 0 and dS = b_h (P - [j is the source]),
 *   b_h = weight p_h / (heads (mean_h p_h + eps)),  p_h = P at the source.
 *
 * A block holds one item (a chunk, up to 128 entries) and goes through tiles of 8 entries = 64 rows;
 * its four warps share P and dS through memory for the products that sum over rows.  Items leave
 * their dK, dV apart and are summed in order, and so are the dQ of a query's pairs. */
#include "gpu_impl.h"
#include "read.cuh"

typedef struct {
    bf16 k[64 * 64], v[64 * 64], q[2][64 * 64], dout[2][64 * 64], p[64 * 64], ds[64 * 64];
} read_tiles;

/* Entries e .. e + 7: queries and gradients of their outputs; a warp stages its own 16 rows. */
__device__ __forceinline__ void stage_tile(read_tiles *t, int buf, const loci_gpu_read &r,
                                           const loci_gpu_read_grad &g, const int32_t *entry, int e,
                                           int end)
{
    const int warp = threadIdx.x >> 5;
    stage_pair(t->q[buf] + warp * 16 * 64, (const bf16 *)r.q, entry, e + 2 * warp, end);
    stage_pair(t->dout[buf] + warp * 16 * 64, (const bf16 *)g.dout, entry, e + 2 * warp, end);
}

/* What a thread's two rows belong to. */
typedef struct {
    int q, slot; /* slot READ_SLOTS: nothing */
    float lse2, w;
} row_entry;

__device__ __forceinline__ row_entry entry_of(const loci_gpu_read &r, const int32_t *entry, int e,
                                              int end)
{
    row_entry x = { 0, READ_SLOTS, INFINITY, 0.0f };
    if (e >= end) return x;
    x.q = entry[e] / READ_SLOTS;
    x.slot = entry[e] % READ_SLOTS;
    if (x.slot < READ_PAIRS)
        x.lse2 =
            r.lse[((size_t)x.q * READ_PAIRS + x.slot) * READ_HEADS + ((threadIdx.x & 31) >> 2)] *
            LOG2E;
    if (x.slot < READ_PICKS) x.w = r.w[read_head(x.q, x.slot, (threadIdx.x & 31) >> 2)];
    return x;
}

/* s, dp (16, 64): p and dP of one row i -> s = w p, dp = dS; writes dw. */
__device__ __forceinline__ void row_gradient(const loci_gpu_read &r, const loci_gpu_read_grad &g,
                                             const row_entry &x, float s[8][4], float dp[8][4],
                                             int i)
{
    const int lane = threadIdx.x & 31, j0 = 2 * (lane & 3);
    if (x.slot == READ_PICKS) {
        const int source = r.source[x.q] & 63;
        const float at = row_value(s, i, source), mean = heads_sum(at) / READ_HEADS;
        const float b = g.pointer * at / (READ_HEADS * (mean + READ_POINTER_EPS));
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                dp[n][2 * i + e] = b * (s[n][2 * i + e] - (n * 8 + j0 + e == source ? 1.0f : 0.0f));
                s[n][2 * i + e] = 0.0f;
            }
        return;
    }
    float dw = 0.0f;
#pragma unroll
    for (int n = 0; n < 8; n++)
        dw += s[n][2 * i] * dp[n][2 * i] + s[n][2 * i + 1] * dp[n][2 * i + 1];
    dw = quad_sum(dw);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            s[n][2 * i + e] *= x.w;
            dp[n][2 * i + e] = s[n][2 * i + e] * (dp[n][2 * i + e] - dw);
        }
    if ((lane & 3) == 0 && x.slot < READ_PICKS) g.dw[read_head(x.q, x.slot, lane >> 2)] = dw;
}

/* (16, 64) of the warp into a shared tile as bf16. */
__device__ __forceinline__ void tile_put(bf16 *tile, const float x[8][4], int row)
{
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int n = 0; n < 8; n++)
            *(uint32_t *)(tile + tile_at<64>(row + 8 * i + (lane >> 2), n) + 2 * (lane & 3)) =
                pack2(x[n][2 * i], x[n][2 * i + 1]);
}

/* out (16 keys, 64) += a^T b over the tile's 64 rows. */
__device__ __forceinline__ void add_transposed(float out[8][4], const bf16 *a, const bf16 *b,
                                               int key0)
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t f[4];
        load_a_transposed<64>(f, a, key0, k * 16);
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
            uint32_t x[4];
            load_b_transposed<64>(x, b, n * 8, k * 16);
            mma(out[n], f, x);
            mma(out[n + 1], f, x + 2);
        }
    }
}

/* The warp's rows of one tile: p and ds to shared memory, dq to the pair buffer. */
__device__ __forceinline__ void tile_rows(const loci_gpu_read &r, const loci_gpu_read_grad &g,
                                          read_tiles *t, int buf, const int32_t *entry, int e,
                                          int end, int n_keys)
{
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const row_entry x[2] = { entry_of(r, entry, e + 2 * warp, end),
                             entry_of(r, entry, e + 2 * warp + 1, end) };
    uint32_t f[4][4];
    float s[8][4], dp[8][4] = {}, dq[8][4] = {};
#pragma unroll
    for (int k = 0; k < 4; k++) load_a<64>(f[k], t->q[buf], warp * 16, k * 16);
    pair_scores(s, f, t->k, n_keys, r.scale * LOG2E);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] = exp2f(s[n][i] - x[i >> 1].lse2);
    add_tile_scores<64>(dp, t->dout[buf], warp * 16, t->v);
    row_gradient(r, g, x[0], s, dp, 0);
    row_gradient(r, g, x[1], s, dp, 1);
    tile_put(t->p, s, warp * 16);
    tile_put(t->ds, dp, warp * 16);
    add_product<64>(dq, dp, t->k);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (x[i].slot >= READ_PAIRS) continue;
        uint32_t *to =
            (uint32_t *)((bf16 *)r.pair + ((size_t)x[i].q * READ_PAIRS + x[i].slot) * READ_WIDE +
                         (lane >> 2) * 64) +
            (lane & 3);
#pragma unroll
        for (int n = 0; n < 8; n++)
            to[n * 4] = pack2(dq[n][2 * i] * r.scale, dq[n][2 * i + 1] * r.scale);
    }
}

__global__ void __launch_bounds__(128)
    read_backward(loci_gpu_read r, loci_gpu_read_grad g, loci_gpu_lists l)
{
    extern __shared__ __align__(128) unsigned char memory[];
    read_tiles *t = (read_tiles *)memory;
    const int item = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (item >= l.item_start[l.n_chunks]) return;
    const int c = l.item_chunk[item], first = l.start[c] + (item - l.item_start[c]) * LOCI_GPU_ITEM;
    const int end = min(l.start[c + 1], first + LOCI_GPU_ITEM);
    const bf16 *content = (const bf16 *)r.content + (size_t)c * 64 * r.cols;
    tile_load64(t->k, content, r.cols, 0, 64);
    tile_load64(t->v, content + r.cols - 64, r.cols, 0, 64);
    stage_tile(t, 0, r, g, l.entry, first, end);
    copy_commit();
    float dk[8][4] = {}, dv[8][4] = {};
    for (int e = first, buf = 0; e < end; e += 8, buf ^= 1) {
        stage_tile(t, buf ^ 1, r, g, l.entry, e + 8, end);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        tile_rows(r, g, t, buf, l.entry, e, end, r.n_tokens[c]);
        __syncthreads();
        add_transposed(dv, t->p, t->dout[buf], warp * 16);
        add_transposed(dk, t->ds, t->q[buf], warp * 16);
        __syncthreads();
    }
    copy_wait<0>();
    float *out = g.part + (size_t)item * 64 * 128;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float *row = out + (size_t)(warp * 16 + (lane >> 2) + 8 * i) * 128 + 2 * (lane & 3);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            *(float2 *)(row + n * 8) =
                make_float2(dk[n][2 * i] * r.scale, dk[n][2 * i + 1] * r.scale);
            *(float2 *)(row + 64 + n * 8) = make_float2(dv[n][2 * i], dv[n][2 * i + 1]);
        }
    }
}

/* dcontent of a chunk += its items in order. */
__global__ void read_sum_items(loci_gpu_read_grad g, loci_gpu_lists l)
{
    const int c = blockIdx.x,
              i = blockIdx.y * blockDim.x + threadIdx.x; /* float4 within the chunk */
    const int first = l.item_start[c], end = l.item_start[c + 1];
    if (first == end) return;
    float4 *to = (float4 *)(g.dcontent + (size_t)c * 64 * 128) + i;
    float4 sum = *to;
    for (int x = first; x < end; x++) {
        const float4 v = ((const float4 *)(g.part + (size_t)x * 64 * 128))[i];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    *to = sum;
}

/* dq of a query: its pairs in order; a warp a query. */
__global__ void read_sum_pairs(loci_gpu_read r, loci_gpu_read_grad g)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (q >= r.n) return;
    float sum[16] = {};
    for (int i = 0; i < READ_PAIRS; i++) {
        if (r.pick[(size_t)q * READ_SLOTS + i] < 0) continue;
        const uint4 *p = (const uint4 *)((const bf16 *)r.pair +
                                         ((size_t)q * READ_PAIRS + i) * READ_WIDE + lane * 16);
        const uint4 v[2] = { p[0], p[1] };
        const __nv_bfloat162 *x = (const __nv_bfloat162 *)v;
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float2 f = __bfloat1622float2(x[k]);
            sum[2 * k] += f.x;
            sum[2 * k + 1] += f.y;
        }
    }
    uint4 out[2];
    uint32_t *x = (uint32_t *)out;
#pragma unroll
    for (int k = 0; k < 8; k++) x[k] = pack2(sum[2 * k], sum[2 * k + 1]);
    uint4 *to = (uint4 *)((bf16 *)g.dq + (size_t)q * READ_WIDE + lane * 16);
    to[0] = out[0];
    to[1] = out[1];
}

/* Rows: dw_hi += <dO_h, row_i> and a part of drow.  With ROWS ranks, pick i has row i; with ROWS marks it
 * has sum_f phi_if row_f, so that share_hf = sum_i w_hi phi_if stands for w_hi.  A warp a query, two
 * numbers of 64 a lane; what belongs to head h and row f is kept by lane 4 h + f % 4.  A block takes
 * every n-th group of 8 queries. */
template <int ROWS> struct row_shares {
    float share[ROWS / 4], dot[ROWS / 4]; /* of head lane >> 2, row 4 k + (lane & 3) */
};

template <int ROWS>
__device__ __forceinline__ row_shares<ROWS> shares_of(const loci_gpu_read &r, int q)
{
    const int lane = threadIdx.x & 31, h = lane >> 2;
    row_shares<ROWS> x = {};
    for (int k = 0; k < ROWS / 4; k++) {
        const int f = 4 * k + (lane & 3);
        if (ROWS == READ_PICKS) x.share[k] = r.w[read_head(q, f, h)];
        for (int i = 0; ROWS == READ_MARKS && i < READ_PICKS; i++)
            x.share[k] += r.w[read_head(q, i, h)] * r.phi[read_head(q, i, f)];
    }
    return x;
}

/* dw of the query's picks from <dO_h, row_f>. */
template <int ROWS>
__device__ __forceinline__ void rows_to_weights(const loci_gpu_read &r, const loci_gpu_read_grad &g,
                                                const row_shares<ROWS> &x, int q)
{
    const int lane = threadIdx.x & 31, h = lane >> 2;
    const int32_t *pick = r.pick + (size_t)q * READ_SLOTS;
    float all[ROWS];
#pragma unroll
    for (int f = 0; f < ROWS; f++) all[f] = __shfl_sync(~0u, x.dot[f / 4], (lane & ~3) + f % 4);
#pragma unroll
    for (int i = 0; i < READ_PICKS; i++) {
        if (i % 4 != (lane & 3)) continue;
        const size_t at = read_head(q, i, h);
        float d = ROWS == READ_PICKS ? all[i % ROWS] : 0.0f;
#pragma unroll
        for (int f = 0; ROWS == READ_MARKS && f < ROWS; f++)
            d += r.phi[read_head(q, i, f)] * all[f];
        g.dw[at] = pick[i] >= 0 ? g.dw[at] + d : 0.0f;
    }
}

template <int ROWS> __global__ void read_rows(loci_gpu_read r, loci_gpu_read_grad g)
{
    __shared__ float part[8][ROWS][64];
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float sum[ROWS][2] = {};
    for (int q = blockIdx.x * 8 + warp; q < r.n; q += gridDim.x * 8) {
        row_shares<ROWS> x = shares_of<ROWS>(r, q);
#pragma unroll
        for (int h = 0; h < READ_HEADS; h++) {
            const float2 d = __bfloat1622float2(
                *((const __nv_bfloat162 *)((const bf16 *)g.dout + (size_t)q * READ_WIDE + h * 64) +
                  lane));
#pragma unroll
            for (int f = 0; f < ROWS; f++) {
                const float2 k = *(const float2 *)(r.row + f * 64 + 2 * lane);
                const float dot = warp_sum(d.x * k.x + d.y * k.y);
                const float w = __shfl_sync(~0u, x.share[f / 4], 4 * h + f % 4);
                if (lane == 4 * h + f % 4) x.dot[f / 4] = dot;
                sum[f][0] += w * d.x;
                sum[f][1] += w * d.y;
            }
        }
        rows_to_weights<ROWS>(r, g, x, q);
    }
#pragma unroll
    for (int f = 0; f < ROWS; f++) {
        part[warp][f][2 * lane] = sum[f][0];
        part[warp][f][2 * lane + 1] = sum[f][1];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * 64; i += 256) {
        float all = 0.0f;
        for (int w = 0; w < 8; w++) all += part[w][0][i];
        g.row_part[(size_t)blockIdx.x * ROWS * 64 + i] = all;
    }
}

extern "C" void loci_gpu_read_backward(loci_gpu *g, const loci_gpu_read *r,
                                       const loci_gpu_read_grad *grad)
{
    if (r->n == 0) return;
    const loci_gpu_lists *l = r->lists;
    if (l->n_chunks > 0) {
        gpu_shared(g, (const void *)read_backward, sizeof(read_tiles));
        read_backward<<<l->max_items, 128, sizeof(read_tiles), g->stream>>>(*r, *grad, *l);
        read_sum_items<<<dim3(l->n_chunks, 8), 256, 0, g->stream>>>(*grad, *l);
    }
    read_sum_pairs<<<gpu_blocks(r->n, 8), 256, 0, g->stream>>>(*r, *grad);
    const unsigned parts =
        gpu_blocks(r->n, 8) < LOCI_GPU_SPLITS ? gpu_blocks(r->n, 8) : LOCI_GPU_SPLITS;
    if (r->phi)
        read_rows<READ_MARKS><<<parts, 256, 0, g->stream>>>(*r, *grad);
    else
        read_rows<READ_PICKS><<<parts, 256, 0, g->stream>>>(*r, *grad);
    loci_gpu_sum_parts(g, grad->drow, grad->row_part, (int)parts,
                       (r->phi ? READ_MARKS : READ_PICKS) * 64);
    gpu_launched(g, "read_backward");
}
