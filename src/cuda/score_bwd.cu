/* score_bwd.cu - gradient of the router's scores.
 *
 * What depends densely on s has a closed form with a few coefficients a query (gpu.h), so the scores
 * are computed again and nothing of size (queries, chunks) is kept:
 *
 *   by query   du_t  += sum_c tau ds(t,c) l_cm*      a block holds 64 queries, walks over chunks
 *   by chunk   dl_cm += sum_t tau ds(t,c) u_t        a block holds 32 chunks, walks over a part of the
 *              dbias_c += sum_t ds(t,c)              queries; parts are summed afterwards
 *
 * m*: the landmark that gave the maximum.  The sparse rest (picked chunks, the gold chunk) goes by the
 * picks and by the lists of who picked a chunk. */
#include "gpu_impl.h"
#include "score.cuh"

typedef struct { /* coefficients of one query */
    int lo, hi, end, target_row;
    float lse_own, lse_neg, kl, oracle, oracle_den, neg;
} coefficients;

__device__ __forceinline__ coefficients coefficients_of(const loci_gpu_score &a,
                                                        const loci_gpu_score_grad &g, int q)
{
    coefficients x;
    const bool in = q < a.n;
    x.lo = in ? a.own_lo[q] : 0;
    x.hi = in ? a.own_hi[q] : 0;
    x.end = in ? a.seq_hi[q] : a.n_chunks;
    x.lse_own = in ? a.lse_own[q] : 0.0f;
    x.lse_neg = in ? a.lse_neg[q] : 0.0f;
    x.kl = in ? g.kl[q] : 0.0f;
    x.oracle = in ? g.oracle[q] : 0.0f;
    x.oracle_den = in ? g.oracle_den[q] : 0.0f;
    x.neg = in ? g.neg[q] : 0.0f;
    x.target_row = in && g.target_row ? g.target_row[q] : -1;
    return x;
}

/* ds of score s of chunk c; kl_sum (or NULL) receives the query's share of the KL loss. */
__device__ __forceinline__ float score_gradient(const loci_gpu_score &a,
                                                const loci_gpu_score_grad &g, const coefficients &x,
                                                float s, int c, float *kl_sum)
{
    if (c >= x.lo && c < x.hi) {
        float ds = 0.0f;
        if (x.kl != 0.0f && x.target_row >= 0) {
            const float y = __ldg(g.target + (size_t)x.target_row * g.target_ld + (c - x.lo)),
                        log_p = s - x.lse_own;
            ds = x.kl * (exp2f(log_p * LOG2E) - y);
            if (kl_sum && y > 0.0f) *kl_sum += y * (logf(y) - log_p);
        }
        if (x.oracle != 0.0f) ds += x.oracle * exp2f((s - x.oracle_den) * LOG2E);
        return ds;
    }
    if (!a.negatives || c >= a.n_chunks || (c >= x.lo && c < x.end) || x.neg == 0.0f) return 0.0f;
    return x.neg * exp2f((s - x.lse_neg) * LOG2E);
}

/* ---- by query ------------------------------------------------------------------------------ */

typedef struct {
    bf16 u[SCORE_ROWS * 128], lm[2][SCORE_ROWS * 128];
    int range[2];
} query_tiles;

/* dot becomes, in place, tau ds at the landmark that gave the maximum and 0 at the other. */
__device__ __forceinline__ void spread(const loci_gpu_score &a, const loci_gpu_score_grad &g,
                                       const coefficients x[2], float dot[8][4], float tau, int c,
                                       float kl_sum[2])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float s[8];
        score_values(s, dot, i, tau, a.bias, c, a.n_chunks);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            const float ds = tau * score_gradient(a, g, x[i], s[n], c + 4 * n, &kl_sum[i]);
            const bool second = dot[n][2 * i + 1] > dot[n][2 * i];
            dot[n][2 * i] = second ? 0.0f : ds;
            dot[n][2 * i + 1] = second ? ds : 0.0f;
        }
    }
}

__global__ void __launch_bounds__(128) score_by_query(loci_gpu_score a, loci_gpu_score_grad g)
{
    extern __shared__ __align__(128) unsigned char memory[];
    query_tiles *t = (query_tiles *)memory;
    const int q0 = blockIdx.x * SCORE_ROWS, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int row = q0 + warp * 16 + (lane >> 2);
    const float tau = *a.tau;
    int first, end;
    score_columns(a, q0, t->range, &first, &end);
    tile_load128(t->u, (const bf16 *)a.u, q0, a.n);
    if (first < end) tile_load128(t->lm[0], (const bf16 *)a.lm, 2 * first, 2 * a.n_chunks);
    copy_commit();
    const coefficients x[2] = { coefficients_of(a, g, row), coefficients_of(a, g, row + 8) };
    float out[16][4] = {}, kl_sum[2] = { 0.0f, 0.0f };
    for (int c0 = first, buf = 0; c0 < end; c0 += SCORE_CHUNKS, buf ^= 1) {
        if (c0 + SCORE_CHUNKS < end)
            tile_load128(t->lm[buf ^ 1], (const bf16 *)a.lm, 2 * (c0 + SCORE_CHUNKS),
                         2 * a.n_chunks);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float dot[8][4] = {}; /* fragments of the queries are not kept: registers are for `out` */
        add_tile_scores<128>(dot, t->u, warp * 16, t->lm[buf]);
        spread(a, g, x, dot, tau, c0 + (lane & 3), kl_sum);
        add_product<128>(out, dot, t->lm[buf]);
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int q = row + 8 * i;
        const float kl = quad_sum(kl_sum[i]);
        if (q >= a.n) continue;
        if ((lane & 3) == 0 && kl != 0.0f) g.kl_loss[q] += g.share * kl;
        float2 *du = (float2 *)(g.du + (size_t)q * 128) + (lane & 3);
#pragma unroll
        for (int n = 0; n < 16; n++) {
            float2 v = du[n * 4];
            v.x += out[n][2 * i];
            v.y += out[n][2 * i + 1];
            du[n * 4] = v;
        }
    }
}

/* ---- by chunk -------------------------------------------------------------------------------- */

typedef struct {
    bf16 lm[SCORE_ROWS * 128], u[SCORE_ROWS * 128];
    coefficients x[SCORE_ROWS];
} chunk_tiles;

/* Floats of one part: (n_chunks*2, 128) landmarks, (n_chunks) biases, on 16 bytes. */
__host__ __device__ static inline size_t part_stride(int n_chunks)
{
    return (size_t)n_chunks * 256 + (size_t)((n_chunks + 3) & ~3);
}

/* Does any query of the tile have to do with chunks c0 .. c0 + 31? */
__device__ __forceinline__ bool tile_matters(const loci_gpu_score &a, const chunk_tiles *t, int c0)
{
    bool any = false;
    if (threadIdx.x < SCORE_ROWS) {
        const coefficients *x = &t->x[threadIdx.x];
        any = (c0 < x->hi && c0 + SCORE_CHUNKS > x->lo && (x->kl != 0.0f || x->oracle != 0.0f)) ||
              (a.negatives && x->neg != 0.0f);
    }
    return __syncthreads_or(any);
}

__global__ void __launch_bounds__(128)
    score_by_chunk(loci_gpu_score a, loci_gpu_score_grad g, int parts)
{
    extern __shared__ __align__(128) unsigned char memory[];
    chunk_tiles *t = (chunk_tiles *)memory;
    const int c0 = blockIdx.x * SCORE_CHUNKS, part = blockIdx.y, warp = threadIdx.x >> 5,
              lane = threadIdx.x & 31;
    const int chunk = c0 + warp * 8 + (lane >> 2), j = 2 * (lane & 3);
    const int tiles = (a.n + SCORE_ROWS - 1) / SCORE_ROWS, per = (tiles + parts - 1) / parts;
    const float tau = *a.tau, bias = chunk < a.n_chunks ? a.bias[chunk] : 0.0f;
    tile_load128(t->lm, (const bf16 *)a.lm, 2 * c0, 2 * a.n_chunks);
    copy_commit();
    float out[16][4] = {}, dbias = 0.0f;
    for (int tile = part * per; tile < tiles && tile < (part + 1) * per; tile++) {
        __syncthreads();
        if (threadIdx.x < SCORE_ROWS)
            t->x[threadIdx.x] = coefficients_of(a, g, tile * SCORE_ROWS + threadIdx.x);
        __syncthreads();
        if (!tile_matters(a, t, c0)) continue;
        tile_load128(t->u, (const bf16 *)a.u, tile * SCORE_ROWS, a.n);
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        float dot[8][4] = {};
        add_landmark_scores(dot, t->lm, warp * 16, t->u);
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const float s = tau * fmaxf(dot[n][e], dot[n][2 + e]) + bias;
                const float ds = score_gradient(a, g, t->x[n * 8 + j + e], s, chunk, NULL);
                const bool second = dot[n][2 + e] > dot[n][e];
                dbias += ds;
                dot[n][e] = second ? 0.0f : tau * ds;
                dot[n][2 + e] = second ? tau * ds : 0.0f;
            }
        add_product<128>(out, dot, t->u);
    }
    copy_wait<0>();
    dbias = quad_sum(dbias);
    if (chunk >= a.n_chunks) return;
    float *dlm = g.part + (size_t)part * part_stride(a.n_chunks),
          *db = dlm + (size_t)a.n_chunks * 256;
    if ((lane & 3) == 0) db[chunk] = dbias;
#pragma unroll
    for (int m = 0; m < 2; m++) {
        float2 *to = (float2 *)(dlm + (size_t)(2 * chunk + m) * 128) + (lane & 3);
#pragma unroll
        for (int n = 0; n < 16; n++) to[n * 4] = make_float2(out[n][2 * m], out[n][2 * m + 1]);
    }
}

/* dlm, dbias += parts, in their order. */
__global__ void score_sum(loci_gpu_score a, loci_gpu_score_grad g, int parts)
{
    const size_t n = (size_t)a.n_chunks * 257, i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0.0f;
    for (int p = 0; p < parts; p++) sum += g.part[(size_t)p * part_stride(a.n_chunks) + i];
    if (i < (size_t)a.n_chunks * 256)
        g.dlm[i] += sum;
    else
        g.dbias[i - (size_t)a.n_chunks * 256] += sum;
}

extern "C" size_t loci_gpu_score_parts(int n_chunks)
{
    return (size_t)score_parts(n_chunks) * part_stride(n_chunks);
}

extern "C" void loci_gpu_score_backward(loci_gpu *g, const loci_gpu_score *s,
                                        const loci_gpu_score_grad *grad)
{
    if (s->n == 0 || s->n_chunks == 0) return;
    const int parts = score_parts(s->n_chunks);
    gpu_shared(g, (const void *)score_by_query, sizeof(query_tiles));
    score_by_query<<<gpu_blocks(s->n, SCORE_ROWS), 128, sizeof(query_tiles), g->stream>>>(*s,
                                                                                          *grad);
    score_by_chunk<<<dim3(gpu_blocks(s->n_chunks, SCORE_CHUNKS), parts), 128, sizeof(chunk_tiles),
                     g->stream>>>(*s, *grad, parts);
    score_sum<<<gpu_blocks((size_t)s->n_chunks * 257, 256), 256, 0, g->stream>>>(*s, *grad, parts);
    gpu_launched(g, "score_backward");
}

/* ---- sparse -------------------------------------------------------------------------------------- */

__global__ void sparse_by_query(loci_gpu_score a, const float *ds, float *du)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (q >= a.n) return;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    bool any = false;
    for (int i = 0; i < LOCI_GPU_SLOTS; i++) {
        const int c = a.pick[(size_t)q * LOCI_GPU_SLOTS + i];
        const float d = ds[(size_t)q * LOCI_GPU_SLOTS + i];
        if (c < 0 || d == 0.0f) continue;
        const bf16 *lm = (const bf16 *)a.lm + (size_t)c * 256;
        float dot[2];
        landmark_dots(dot, (const bf16 *)a.u + (size_t)q * 128, lm);
        const uint2 v = *(const uint2 *)(lm + (dot[1] > dot[0] ? 128 : 0) + 4 * lane);
        const float2 lo = __bfloat1622float2(((const __nv_bfloat162 *)&v)[0]),
                     hi = __bfloat1622float2(((const __nv_bfloat162 *)&v)[1]);
        const float f = d * *a.tau;
        sum.x += f * lo.x, sum.y += f * lo.y, sum.z += f * hi.x, sum.w += f * hi.y;
        any = true;
    }
    if (!any) return;
    float4 *to = (float4 *)(du + (size_t)q * 128) + lane;
    float4 old = *to;
    old.x += sum.x, old.y += sum.y, old.z += sum.z, old.w += sum.w;
    *to = old;
}

__global__ void __launch_bounds__(256)
    sparse_by_chunk(loci_gpu_score a, loci_gpu_lists l, const float *ds, float *dlm, float *dbias)
{
    __shared__ float part[8][2][128];
    __shared__ float part_bias[8];
    const int c = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const bf16 *lm = (const bf16 *)a.lm + (size_t)c * 256;
    float sum[2][4] = {}, bias = 0.0f;
    for (int e = l.start[c] + warp; e < l.start[c + 1]; e += 8) {
        const int entry = l.entry[e], q = entry / LOCI_GPU_SLOTS;
        const float d = ds[entry];
        if (d == 0.0f) continue;
        const bf16 *u = (const bf16 *)a.u + (size_t)q * 128;
        float dot[2];
        landmark_dots(dot, u, lm);
        const int m = dot[1] > dot[0];
        const uint2 v = *(const uint2 *)(u + 4 * lane);
        const float2 lo = __bfloat1622float2(((const __nv_bfloat162 *)&v)[0]),
                     hi = __bfloat1622float2(((const __nv_bfloat162 *)&v)[1]);
        const float f = d * *a.tau, f0 = m ? 0.0f : f, f1 = m ? f : 0.0f;
        sum[0][0] += f0 * lo.x, sum[0][1] += f0 * lo.y, sum[0][2] += f0 * hi.x,
            sum[0][3] += f0 * hi.y;
        sum[1][0] += f1 * lo.x, sum[1][1] += f1 * lo.y, sum[1][2] += f1 * hi.x,
            sum[1][3] += f1 * hi.y;
        bias += d;
    }
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < 4; i++) part[warp][m][4 * lane + i] = sum[m][i];
    if (lane == 0) part_bias[warp] = bias;
    __syncthreads();
    float all = 0.0f;
    for (int w = 0; w < 8; w++) all += part[w][threadIdx.x >> 7][threadIdx.x & 127];
    dlm[(size_t)c * 256 + threadIdx.x] += all;
    if (threadIdx.x == 0) {
        float b = 0.0f;
        for (int w = 0; w < 8; w++) b += part_bias[w];
        dbias[c] += b;
    }
}

extern "C" void loci_gpu_score_sparse(loci_gpu *g, const loci_gpu_score *s,
                                      const loci_gpu_lists *lists, const float *ds, float *du,
                                      float *dlm, float *dbias)
{
    if (s->n == 0 || s->n_chunks == 0) return;
    sparse_by_query<<<gpu_blocks(s->n, 8), 256, 0, g->stream>>>(*s, ds, du);
    sparse_by_chunk<<<s->n_chunks, 256, 0, g->stream>>>(*s, *lists, ds, dlm, dbias);
    gpu_launched(g, "score_sparse");
}
