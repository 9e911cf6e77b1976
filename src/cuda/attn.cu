/* attn.cu - attention in which each query sees one contiguous range of keys: windows of a document,
 * the inside of a chunk, all chunks that a query may read.
 *
 *   s = scale q k^T over keys [lo, hi) that are ok;  o = softmax(s) v;  lse = log sum exp s
 *
 * One block takes 64 queries of one head, four warps of 16 rows each, and walks over the key tiles of
 * its rows' common range; running maximum and sum as usual.  Backward: dq by the same walk, dk and dv
 * by key tiles that walk over the queries which see them, all heads that share a key head in one
 * block.  Scores are computed twice and nothing is added atomically: the same input gives the same
 * bits. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { TILE = 64, THREADS = 128 };

typedef struct {
    bf16 q[TILE * 64], k[2][TILE * 64], v[2][TILE * 64];
    int range[2];
} forward_tiles;

/* Common key range of the block's rows in range[0..1]; this thread's rows in lo, hi. */
__device__ __forceinline__ void row_ranges(const loci_gpu_attn &a, int q0, int row, int lo[2],
                                           int hi[2], int *range)
{
    if (threadIdx.x == 0) {
        range[0] = 0x7fffffff;
        range[1] = 0;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int r = q0 + row + 8 * i;
        lo[i] = r < a.n_q ? a.lo[r] : 0;
        hi[i] = r < a.n_q ? a.hi[r] : 0;
        if (lo[i] < hi[i] && (threadIdx.x & 3) == 0) {
            atomicMin(&range[0], lo[i]);
            atomicMax(&range[1], hi[i]);
        }
    }
    __syncthreads();
}

/* Scores of a warp's 16 rows against a key tile, times scale log2 e, masked with -infinity. */
__device__ __forceinline__ void masked_scores(float s[8][4], const loci_gpu_attn &a,
                                              const uint32_t qf[4][4], const bf16 *keys, int k0,
                                              const int lo[2], const int hi[2])
{
    const float factor = a.scale * LOG2E;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = 0.0f;
    add_scores<64>(s, qf, keys);
    const int col = k0 + 2 * (threadIdx.x & 3);
    const bool inside =
        !a.key_ok && k0 >= lo[0] && k0 >= lo[1] && k0 + TILE <= hi[0] && k0 + TILE <= hi[1];
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int j = col + n * 8 + (e & 1), i = e >> 1;
            bool see = inside || (j >= lo[i] && j < hi[i]);
            if (a.key_ok && see) see = a.key_ok[j] != 0;
            s[n][e] = see ? s[n][e] * factor : -INFINITY;
        }
}

__device__ __forceinline__ void load_rows_a(uint32_t f[4][4], const bf16 *tile, int row0)
{
#pragma unroll
    for (int k = 0; k < 4; k++) load_a<64>(f[k], tile, row0, k * 16);
}

/* s becomes p = exp2(s - top); top, sum and the output so far are brought to the new maximum. */
__device__ __forceinline__ void online_softmax(float s[8][4], float top[2], float sum[2],
                                               float out[8][4])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float best = top[i];
#pragma unroll
        for (int n = 0; n < 8; n++) best = fmaxf(best, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
        best = quad_max(best);
        const float base = best == -INFINITY ? 0.0f : best, shrink = exp2f(top[i] - base);
        float part = 0.0f;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[n][2 * i] = exp2f(s[n][2 * i] - base);
            s[n][2 * i + 1] = exp2f(s[n][2 * i + 1] - base);
            part += s[n][2 * i] + s[n][2 * i + 1];
            out[n][2 * i] *= shrink;
            out[n][2 * i + 1] *= shrink;
        }
        sum[i] = sum[i] * shrink + part;
        top[i] = best;
    }
}

__global__ void __launch_bounds__(THREADS) attn_forward(loci_gpu_attn a)
{
    extern __shared__ __align__(128) unsigned char memory[];
    forward_tiles *t = (forward_tiles *)memory;
    const int q0 = blockIdx.x * TILE, h = blockIdx.y, g = h / (a.heads / a.kv_heads);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row = warp * 16 + (lane >> 2);
    const bf16 *q = (const bf16 *)a.q + h * 64, *k = (const bf16 *)a.k + g * 64,
               *v = (const bf16 *)a.v + g * 64;
    int lo[2], hi[2];
    row_ranges(a, q0, row, lo, hi, t->range);
    const int first = t->range[0] & ~(TILE - 1), end = t->range[1];

    tile_load64(t->q, q, a.ldq, q0, a.n_q);
    if (first < end) {
        tile_load64(t->k[0], k, a.ldk, first, a.n_k);
        tile_load64(t->v[0], v, a.ldv, first, a.n_k);
    }
    copy_commit();
    float out[8][4] = {}, top[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
    uint32_t qf[4][4];
    for (int k0 = first, buf = 0; k0 < end; k0 += TILE, buf ^= 1) {
        if (k0 + TILE < end) {
            tile_load64(t->k[buf ^ 1], k, a.ldk, k0 + TILE, a.n_k);
            tile_load64(t->v[buf ^ 1], v, a.ldv, k0 + TILE, a.n_k);
        }
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (k0 == first) load_rows_a(qf, t->q, warp * 16);
        float s[8][4];
        masked_scores(s, a, qf, t->k[buf], k0, lo, hi);
        online_softmax(s, top, sum, out);
        add_product<64>(out, s, t->v[buf]);
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int r = q0 + row + 8 * i;
        const float all = quad_sum(sum[i]), share = all > 0.0f ? 1.0f / all : 0.0f;
        if (r >= a.n_q) continue;
        if ((lane & 3) == 0)
            a.lse[(size_t)r * a.heads + h] = all > 0.0f ? top[i] * LN2 + logf(all) : -INFINITY;
        uint32_t *o = (uint32_t *)((bf16 *)a.o + (size_t)r * a.ldo + h * 64) + (lane & 3);
#pragma unroll
        for (int n = 0; n < 8; n++)
            o[n * 4] = pack2(out[n][2 * i] * share, out[n][2 * i + 1] * share);
    }
}

/* ---- backward ---------------------------------------------------------------------------- */

/* delta[r,h] = <dout, o> - extra: 8 lanes a head. */
__global__ void attn_delta(loci_gpu_attn a, loci_gpu_attn_grad g)
{
    const int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) >> 3;
    const int part = threadIdx.x & 7;
    if (at >= (int64_t)a.n_q * a.heads) return;
    const int r = (int)(at / a.heads), h = (int)(at % a.heads);
    const uint4 x = *(const uint4 *)((const bf16 *)g.dout + (size_t)r * g.lddo + h * 64 + part * 8);
    const uint4 y = *(const uint4 *)((const bf16 *)a.o + (size_t)r * a.ldo + h * 64 + part * 8);
    const __nv_bfloat162 *p = (const __nv_bfloat162 *)&x, *q = (const __nv_bfloat162 *)&y;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 u = __bfloat1622float2(p[i]), w = __bfloat1622float2(q[i]);
        sum += u.x * w.x + u.y * w.y;
    }
    const unsigned mask = 0xffu << (threadIdx.x & 24);
    sum += __shfl_xor_sync(mask, sum, 1);
    sum += __shfl_xor_sync(mask, sum, 2);
    sum += __shfl_xor_sync(mask, sum, 4);
    if (part == 0) g.delta[at] = sum - (g.extra ? g.extra[at] : 0.0f);
}

typedef struct {
    bf16 q[TILE * 64], dout[TILE * 64], k[2][TILE * 64], v[2][TILE * 64];
    int range[2];
} dq_tiles;

/* p = exp(s - lse) and dp = dout v^T -> s becomes p (dp - delta). */
__device__ __forceinline__ void score_gradient(float s[8][4], const uint32_t of[4][4],
                                               const bf16 *v, const float lse2[2],
                                               const float delta[2])
{
    float dp[8][4] = {};
    add_scores<64>(dp, of, v);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            s[n][e] = exp2f(s[n][e] - lse2[e >> 1]) * (dp[n][e] - delta[e >> 1]);
}

__global__ void __launch_bounds__(THREADS) attn_backward_q(loci_gpu_attn a, loci_gpu_attn_grad g)
{
    extern __shared__ __align__(128) unsigned char memory[];
    dq_tiles *t = (dq_tiles *)memory;
    const int q0 = blockIdx.x * TILE, h = blockIdx.y, kv = h / (a.heads / a.kv_heads);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row = warp * 16 + (lane >> 2);
    const bf16 *k = (const bf16 *)a.k + kv * 64, *v = (const bf16 *)a.v + kv * 64;
    int lo[2], hi[2];
    row_ranges(a, q0, row, lo, hi, t->range);
    const int first = t->range[0] & ~(TILE - 1), end = t->range[1];

    tile_load64(t->q, (const bf16 *)a.q + h * 64, a.ldq, q0, a.n_q);
    tile_load64(t->dout, (const bf16 *)g.dout + h * 64, g.lddo, q0, a.n_q);
    if (first < end) {
        tile_load64(t->k[0], k, a.ldk, first, a.n_k);
        tile_load64(t->v[0], v, a.ldv, first, a.n_k);
    }
    copy_commit();
    float lse2[2], delta[2], out[8][4] = {};
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int r = q0 + row + 8 * i;
        const float lse = r < a.n_q ? a.lse[(size_t)r * a.heads + h] : -INFINITY;
        lse2[i] = lse == -INFINITY ? 0.0f : lse * LOG2E;
        delta[i] = r < a.n_q ? g.delta[(size_t)r * a.heads + h] : 0.0f;
    }
    uint32_t qf[4][4], of[4][4];
    for (int k0 = first, buf = 0; k0 < end; k0 += TILE, buf ^= 1) {
        if (k0 + TILE < end) {
            tile_load64(t->k[buf ^ 1], k, a.ldk, k0 + TILE, a.n_k);
            tile_load64(t->v[buf ^ 1], v, a.ldv, k0 + TILE, a.n_k);
        }
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (k0 == first) {
            load_rows_a(qf, t->q, warp * 16);
            load_rows_a(of, t->dout, warp * 16);
        }
        float s[8][4];
        masked_scores(s, a, qf, t->k[buf], k0, lo, hi);
        score_gradient(s, of, t->v[buf], lse2, delta);
        add_product<64>(out, s, t->k[buf]);
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int r = q0 + row + 8 * i;
        if (r >= a.n_q) continue;
        uint32_t *o = (uint32_t *)((bf16 *)g.dq + (size_t)r * g.lddq + h * 64) + (lane & 3);
#pragma unroll
        for (int n = 0; n < 8; n++)
            o[n * 4] = pack2(out[n][2 * i] * a.scale, out[n][2 * i + 1] * a.scale);
    }
}

typedef struct {
    bf16 k[TILE * 64], v[TILE * 64], q[2][TILE * 64], dout[2][TILE * 64];
    float lse2[2][TILE], delta[2][TILE];
    int lo[2][TILE], hi[2][TILE], range[2];
} dkv_tiles;

/* Queries q0 .. q0 + 63 of head h with their numbers. */
__device__ __forceinline__ void load_queries(dkv_tiles *t, int buf, const loci_gpu_attn &a,
                                             const loci_gpu_attn_grad &g, int q0, int h)
{
    tile_load64(t->q[buf], (const bf16 *)a.q + h * 64, a.ldq, q0, a.n_q);
    tile_load64(t->dout[buf], (const bf16 *)g.dout + h * 64, g.lddo, q0, a.n_q);
    if (threadIdx.x < TILE) {
        const int i = threadIdx.x, r = q0 + i;
        const bool in = r < a.n_q;
        const float lse = in ? a.lse[(size_t)r * a.heads + h] : -INFINITY;
        t->lse2[buf][i] = lse == -INFINITY ? 0.0f : lse * LOG2E;
        t->delta[buf][i] = in ? g.delta[(size_t)r * a.heads + h] : 0.0f;
        t->lo[buf][i] = in ? a.lo[r] : 0;
        t->hi[buf][i] = in ? a.hi[r] : 0;
    }
}

/* A warp's 16 keys against 64 queries: dv += p^T dout, dk += ds^T q. */
__device__ __forceinline__ void key_tile(float dk[8][4], float dv[8][4], const dkv_tiles *t,
                                         int buf, const uint32_t kf[4][4], const uint32_t vf[4][4],
                                         int key, const bool ok[2], float factor)
{
    const int j0 = 2 * (threadIdx.x & 3);
    float s[8][4] = {}, dp[8][4] = {};
#pragma unroll
    for (int n = 0; n < 8; n += 2) /* side by side: neither product waits for the other */
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t b[4];
            load_b<64>(b, t->q[buf], n * 8, k * 16);
            mma(s[n], kf[k], b);
            mma(s[n + 1], kf[k], b + 2);
            load_b<64>(b, t->dout[buf], n * 8, k * 16);
            mma(dp[n], vf[k], b);
            mma(dp[n + 1], vf[k], b + 2);
        }
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int j = n * 8 + j0 + (e & 1), mine = key + 8 * (e >> 1);
            const bool see = ok[e >> 1] && mine >= t->lo[buf][j] && mine < t->hi[buf][j];
            s[n][e] = see ? exp2f(s[n][e] * factor - t->lse2[buf][j]) : 0.0f;
            dp[n][e] = s[n][e] * (dp[n][e] - t->delta[buf][j]);
        }
    add_product<64>(dv, s, t->dout[buf]);
    add_product<64>(dk, dp, t->q[buf]);
}

/* Rows of dk and dv: written as bf16, or added to f32. */
__device__ __forceinline__ void store_rows(const float x[8][4], float factor, void *out, int ld,
                                           bool wide, int column, int row, int n)
{
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (row + 8 * i >= n) continue;
        const size_t at = (size_t)(row + 8 * i) * ld + column + 2 * (lane & 3);
#pragma unroll
        for (int c = 0; c < 8; c++) {
            const float u = x[c][2 * i] * factor, w = x[c][2 * i + 1] * factor;
            if (wide) {
                float2 *p = (float2 *)((float *)out + at + c * 8);
                const float2 old = *p;
                *p = make_float2(old.x + u, old.y + w);
            } else {
                *(uint32_t *)((bf16 *)out + at + c * 8) = pack2(u, w);
            }
        }
    }
}

__global__ void __launch_bounds__(THREADS) attn_backward_kv(loci_gpu_attn a, loci_gpu_attn_grad g)
{
    extern __shared__ __align__(128) unsigned char memory[];
    dkv_tiles *t = (dkv_tiles *)memory;
    const int k0 = blockIdx.x * TILE, kv = blockIdx.y, share = a.heads / a.kv_heads;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row = k0 + warp * 16 + (lane >> 2);
    if (threadIdx.x == 0) {
        t->range[0] = 0x7fffffff;
        t->range[1] = 0;
    }
    __syncthreads();
    if (threadIdx.x < TILE && k0 + (int)threadIdx.x < a.n_k) {
        const int b = a.qlo[k0 + threadIdx.x], e = a.qhi[k0 + threadIdx.x];
        if (b < e) {
            atomicMin(&t->range[0], b);
            atomicMax(&t->range[1], e);
        }
    }
    tile_load64(t->k, (const bf16 *)a.k + kv * 64, a.ldk, k0, a.n_k);
    tile_load64(t->v, (const bf16 *)a.v + kv * 64, a.ldv, k0, a.n_k);
    __syncthreads();
    const int first = t->range[0] & ~(TILE - 1), end = t->range[1];
    const int tiles = first < end ? (end - first + TILE - 1) / TILE : 0, steps = tiles * share;
    bool ok[2];
#pragma unroll
    for (int i = 0; i < 2; i++) ok[i] = row + 8 * i < a.n_k && (!a.key_ok || a.key_ok[row + 8 * i]);

    if (steps > 0) load_queries(t, 0, a, g, first, kv * share);
    copy_commit();
    float dk[8][4] = {}, dv[8][4] = {};
    uint32_t kf[4][4], vf[4][4];
    for (int i = 0; i < steps; i++) {
        const int buf = i & 1, next = i + 1;
        if (next < steps)
            load_queries(t, buf ^ 1, a, g, first + (next % tiles) * TILE,
                         kv * share + next / tiles);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (i == 0) {
            load_rows_a(kf, t->k, warp * 16);
            load_rows_a(vf, t->v, warp * 16);
        }
        key_tile(dk, dv, t, buf, kf, vf, row, ok, a.scale * LOG2E);
        __syncthreads();
    }
    copy_wait<0>();
    store_rows(dk, a.scale, g.dk, g.lddk, g.wide, kv * 64, row, a.n_k);
    store_rows(dv, 1.0f, g.dv, g.lddv, g.wide, kv * 64, row, a.n_k);
}

extern "C" void loci_gpu_attn_forward(loci_gpu *gpu, const loci_gpu_attn *a)
{
    if (a->n_q == 0) return;
    const size_t shared = sizeof(forward_tiles);
    gpu_shared(gpu, (const void *)attn_forward, shared);
    attn_forward<<<dim3((a->n_q + TILE - 1) / TILE, a->heads), THREADS, shared, gpu->stream>>>(*a);
    gpu_launched(gpu, "attn_forward");
}

extern "C" void loci_gpu_attn_backward(loci_gpu *gpu, const loci_gpu_attn *a,
                                       const loci_gpu_attn_grad *g)
{
    if (a->n_q > 0) {
        const int64_t lanes = (int64_t)a->n_q * a->heads * 8;
        attn_delta<<<(unsigned)((lanes + 255) / 256), 256, 0, gpu->stream>>>(*a, *g);
        gpu_shared(gpu, (const void *)attn_backward_q, sizeof(dq_tiles));
        attn_backward_q<<<dim3((a->n_q + TILE - 1) / TILE, a->heads), THREADS, sizeof(dq_tiles),
                          gpu->stream>>>(*a, *g);
    }
    if (a->n_k > 0) {
        gpu_shared(gpu, (const void *)attn_backward_kv, sizeof(dkv_tiles));
        attn_backward_kv<<<dim3((a->n_k + TILE - 1) / TILE, a->kv_heads), THREADS,
                           sizeof(dkv_tiles), gpu->stream>>>(*a, *g);
    }
    gpu_launched(gpu, "attn_backward");
}
