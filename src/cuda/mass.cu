/* mass.cu - where the readers themselves would look: the router's teacher.
 *
 *   target(t,c) = mean_h sum_{j in c} exp(scale q_h k_j - lse_h),  lse_h over all chunks t may read
 *
 * A block takes 8 queries with their 8 heads (64 rows) and walks once over the keys, leaving each
 * chunk's log of its sum in a buffer; with lse_h known at the end, the masses follow from those.
 * Also the pointer loss of the dense mode, which needs the same numbers. */
#include "gpu_impl.h"
#include "read.cuh"

typedef struct {
    bf16 q[64 * 64], k[2][64 * 64];
    float lse2[64]; /* of each row over all its chunks, base 2 */
    int range[2];
} mass_tiles;

typedef struct {
    const bf16 *q, *content;
    const int32_t *n_tokens, *own_lo, *own_hi, *rows;
    float *target, *part; /* (n_rows, ld) (n_rows, 8, ld) */
    int ld, n_rows, cols;
    float scale;
} mass_job;

__device__ __forceinline__ void keys_load(bf16 *to, const mass_job &j, int c)
{
    tile_load64(to, j.content + (size_t)c * 64 * j.cols, j.cols, 0, 64);
}

/* log2 of the chunk's sum for the thread's row r; top and sum take the chunk in. */
__device__ __forceinline__ float chunk_log2(const float s[8][4], int r, float *top, float *sum)
{
    float best = -INFINITY, part = 0.0f;
#pragma unroll
    for (int x = 0; x < 8; x++) best = fmaxf(best, fmaxf(s[x][2 * r], s[x][2 * r + 1]));
    best = quad_max(best);
#pragma unroll
    for (int x = 0; x < 8; x++) part += exp2f(s[x][2 * r] - best) + exp2f(s[x][2 * r + 1] - best);
    part = quad_sum(part);
    const float all = fmaxf(*top, best);
    *sum = *sum * exp2f(*top - all) + part * exp2f(best - all);
    *top = all;
    return best + log2f(part);
}

/* Masses of the warp's two queries, a chunk a lane. */
__device__ __forceinline__ void mass_rows(const mass_job &j, const mass_tiles *t, int row0,
                                          const int lo[2], const int hi[2])
{
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < 2; r++)
        for (int c = lane; c < hi[r] - lo[r]; c += 32) {
            float mass = 0.0f;
#pragma unroll
            for (int h = 0; h < READ_HEADS; h++)
                mass += exp2f(j.part[((size_t)(row0 + r) * READ_HEADS + h) * j.ld + c] -
                              t->lse2[warp * 16 + 8 * r + h]);
            j.target[(size_t)(row0 + r) * j.ld + c] = mass / READ_HEADS;
        }
}

__global__ void __launch_bounds__(128) mass(mass_job j)
{
    extern __shared__ __align__(128) unsigned char memory[];
    mass_tiles *t = (mass_tiles *)memory;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row0 = blockIdx.x * 8 + 2 * warp;
    int lo[2], hi[2];
    if (threadIdx.x == 0) {
        t->range[0] = 0x7fffffff;
        t->range[1] = 0;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int q = row0 + i < j.n_rows ? j.rows[row0 + i] : -1;
        lo[i] = q < 0 ? 0 : j.own_lo[q];
        hi[i] = q < 0 ? 0 : j.own_hi[q];
        if (lane == 0 && lo[i] < hi[i]) {
            atomicMin(&t->range[0], lo[i]);
            atomicMax(&t->range[1], hi[i]);
        }
#pragma unroll
        for (int p = lane; p < 64; p += 32) /* 8 heads x 8 pieces of the query */
            copy16(t->q + tile_at<64>(warp * 16 + 8 * i + (p >> 3), p & 7),
                   j.q + (size_t)(q < 0 ? 0 : q) * READ_WIDE + p * 8, q >= 0);
    }
    __syncthreads();
    const int first = t->range[0], end = t->range[1];
    if (first < end) keys_load(t->k[0], j, first);
    copy_commit();
    float top[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
    uint32_t qf[4][4];
    for (int c = first, buf = 0; c < end; c++, buf ^= 1) {
        if (c + 1 < end) keys_load(t->k[buf ^ 1], j, c + 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (c == first)
#pragma unroll
            for (int k = 0; k < 4; k++) load_a<64>(qf[k], t->q, warp * 16, k * 16);
        float s[8][4];
        pair_scores(s, qf, t->k[buf], j.n_tokens[c], j.scale * LOG2E);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            if (c < lo[r] || c >= hi[r]) continue; /* the same for the whole warp */
            const float log2_sum = chunk_log2(s, r, &top[r], &sum[r]);
            if ((lane & 3) == 0)
                j.part[((size_t)(row0 + r) * READ_HEADS + (lane >> 2)) * j.ld + (c - lo[r])] =
                    log2_sum;
        }
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int r = 0; r < 2; r++)
        if ((lane & 3) == 0) t->lse2[warp * 16 + 8 * r + (lane >> 2)] = top[r] + log2f(sum[r]);
    __syncthreads();
    mass_rows(j, t, row0, lo, hi);
}

extern "C" void loci_gpu_mass(loci_gpu *g, float *target, float *part, int ld, const loci_bf16 *q,
                              const loci_bf16 *content, int cols, const int32_t *n_tokens,
                              const int32_t *own_lo, const int32_t *own_hi, const int32_t *rows,
                              int n_rows, float scale)
{
    if (n_rows == 0) return;
    const mass_job j = { (const bf16 *)q,
                         (const bf16 *)content,
                         n_tokens,
                         own_lo,
                         own_hi,
                         rows,
                         target,
                         part,
                         ld,
                         n_rows,
                         cols,
                         scale };
    mass<<<gpu_blocks(n_rows, 8), 128, sizeof(mass_tiles), g->stream>>>(j);
    gpu_launched(g, "mass");
}

/* ---- pointer loss over all keys ---------------------------------------------------------------- */

/* extra[t,h] = weight p_h / (heads (mean p + eps)); four lanes a head. */
__global__ void pointer_forward(float *extra, float *stat, int n, const bf16 *q,
                                const bf16 *content, int cols, const float *lse,
                                const int32_t *source, const int32_t *rows, int n_rows, float scale,
                                float weight, float share)
{
    const int i = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, h = lane >> 2;
    if (i >= n_rows) return;
    const int t = rows[i];
    const bf16 *a = q + (size_t)t * READ_WIDE + lane * 16,
               *k = content + (size_t)source[t] * cols + (lane & 3) * 16;
    float dot = 0.0f;
    for (int d = 0; d < 16; d++) dot += __bfloat162float(a[d]) * __bfloat162float(k[d]);
    const float p = expf(scale * quad_sum(dot) - lse[(size_t)t * READ_HEADS + h]);
    const float mean = heads_sum(p) / READ_HEADS;
    if ((lane & 3) == 0 && extra)
        extra[(size_t)t * READ_HEADS + h] = weight * p / (READ_HEADS * (mean + READ_POINTER_EPS));
    if (lane == 0 && stat)
        stat[(size_t)LOCI_STAT_POINTER * n + t] += share * -logf(mean + READ_POINTER_EPS);
}

extern "C" void loci_gpu_pointer_forward(loci_gpu *g, float *extra, float *stat, int n,
                                         const loci_bf16 *q, const loci_bf16 *content, int cols,
                                         const float *lse, const int32_t *source,
                                         const int32_t *rows, int n_rows, float scale, float weight,
                                         float share)
{
    if (n_rows == 0) return;
    pointer_forward<<<gpu_blocks(n_rows, 8), 256, 0, g->stream>>>(extra, stat, n, (const bf16 *)q,
                                                                  (const bf16 *)content, cols, lse,
                                                                  source, rows, n_rows, scale,
                                                                  weight, share);
    gpu_launched(g, "pointer_forward");
}

/* A warp a source; its queries one after the other, two numbers of 64 a lane. */
__global__ void pointer_backward(bf16 *dq, float *dcontent, const float *extra, const bf16 *q,
                                 const bf16 *content, int cols, const int32_t *source,
                                 const int32_t *by_source, const int32_t *start, int n, float scale)
{
    const int i = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (i >= n) return;
    const int row = source[by_source[start[i]]];
    const float2 k =
        __bfloat1622float2(*((const __nv_bfloat162 *)(content + (size_t)row * cols) + lane));
    float2 sum = make_float2(0.0f, 0.0f);
    for (int x = start[i]; x < start[i + 1]; x++) {
        const int t = by_source[x];
        for (int h = 0; h < READ_HEADS; h++) {
            const float b = scale * extra[(size_t)t * READ_HEADS + h];
            const size_t at = (size_t)t * READ_WIDE + h * 64 + 2 * lane;
            const float2 v = __bfloat1622float2(*(const __nv_bfloat162 *)(q + at));
            const float2 d = __bfloat1622float2(*(const __nv_bfloat162 *)(dq + at));
            sum.x -= b * v.x;
            sum.y -= b * v.y;
            *(__nv_bfloat162 *)(dq + at) = __floats2bfloat162_rn(d.x - b * k.x, d.y - b * k.y);
        }
    }
    float2 *to = (float2 *)(dcontent + (size_t)row * 128) + lane;
    const float2 old = *to;
    *to = make_float2(old.x + sum.x, old.y + sum.y);
}

extern "C" void loci_gpu_pointer_backward(loci_gpu *g, loci_bf16 *dq, float *dcontent,
                                          const float *extra, const loci_bf16 *q,
                                          const loci_bf16 *content, int cols, const int32_t *source,
                                          const int32_t *by_source, const int32_t *source_start,
                                          int n_sources, float scale)
{
    if (n_sources == 0) return;
    pointer_backward<<<gpu_blocks(n_sources, 8), 256, 0, g->stream>>>((bf16 *)dq, dcontent, extra,
                                                                      (const bf16 *)q,
                                                                      (const bf16 *)content, cols,
                                                                      source, by_source,
                                                                      source_start, n_sources,
                                                                      scale);
    gpu_launched(g, "pointer_backward");
}
