/* code.cu - how far softmax over codes is from softmax over scores: the loss of trained codes.
 *
 *   s(t,c) = tau max_m <u_t, l_cm> + bias_c      z(t,c) = k max_m <bq_t, bk_cm>,  k = 8/128
 *   KL_t = sum_c p (log p - log q),  p = softmax s, q = softmax z over own chunks and negatives
 *   d KL / d z = q - p
 *
 * Two products run side by side over the tiles of score.cu; nothing of size (queries, chunks) is kept.
 * First the two log-sums of each query, then by query its loss and dbq, and by chunk dbk in parts that are
 * summed afterwards.  Scores are constants here: only codes have a gradient. */
#include "gpu_impl.h"
#include "score.cuh"

#define CODE_SHARPNESS (8.0f / 128.0f) /* as on the CPU: code_loss.c */

/* Which chunks count for a query, and its log-sums. */
typedef struct {
    int lo, hi, end;
    float lse_s, lse_z;
} code_row;

__device__ __forceinline__ code_row code_open(const loci_gpu_code &a, int i, bool sums)
{
    const int q = i < a.n ? a.query[i] : -1;
    code_row r = { 0, 0, a.n_chunks, 0.0f, 0.0f }; /* nothing counts for rows that are not there */
    if (q < 0) return r;
    r.lo = a.own_lo[q];
    r.hi = a.own_hi[q];
    r.end = a.seq_hi[q];
    if (sums) {
        r.lse_s = a.lse_s[i];
        r.lse_z = a.lse_z[i];
    }
    return r;
}

__device__ __forceinline__ bool code_counts(const loci_gpu_code &a, const code_row &r, int c)
{
    if (c >= r.lo && c < r.hi) return true;
    return a.negatives && c < a.n_chunks && (c < r.lo || c >= r.end);
}

/* Chunks that a block of queries looks at, on tile boundaries. */
__device__ __forceinline__ void code_columns(const loci_gpu_code &a, int i0, int *range, int *first,
                                             int *end)
{
    if (threadIdx.x == 0) {
        range[0] = a.negatives ? 0 : 0x7fffffff;
        range[1] = a.negatives ? a.n_chunks : 0;
    }
    __syncthreads();
    if (threadIdx.x < SCORE_ROWS) {
        const code_row r = code_open(a, i0 + (int)threadIdx.x, false);
        if (r.lo < r.hi) {
            atomicMin(&range[0], r.lo);
            atomicMax(&range[1], r.hi);
        }
    }
    __syncthreads();
    *first = range[0] & ~(SCORE_CHUNKS - 1);
    *end = range[1];
}

typedef struct {
    bf16 u[SCORE_ROWS * 128], bq[SCORE_ROWS * 128];
    bf16 lm[2][SCORE_ROWS * 128], bk[2][SCORE_ROWS * 128];
    int range[2];
} query_tiles;

__device__ __forceinline__ void load_chunks(query_tiles *t, int buf, const loci_gpu_code &a, int c0)
{
    tile_load128(t->lm[buf], (const bf16 *)a.lm, 2 * c0, 2 * a.n_chunks);
    tile_load128(t->bk[buf], (const bf16 *)a.bk, 2 * c0, 2 * a.n_chunks);
}

__device__ __forceinline__ void load_queries(bf16 *u, bf16 *bq, const loci_gpu_code &a, int i0)
{
    tile_load128(u, (const bf16 *)a.u, i0, a.n);
    tile_load128(bq, (const bf16 *)a.bq, i0, a.n);
}

/* One tile of one row into its two sums: chunks c + 4 n. */
__device__ __forceinline__ void add_masses(const loci_gpu_code &a, const code_row &r,
                                           const float s[8], const float z[8], int c,
                                           running *sum_s, running *sum_z)
{
    bool take[8];
    float log2s[8], log2z[8];
#pragma unroll
    for (int n = 0; n < 8; n++) {
        take[n] = code_counts(a, r, c + 4 * n);
        log2s[n] = s[n] * LOG2E;
        log2z[n] = z[n] * LOG2E;
    }
    running_add(sum_s, log2s, take);
    running_add(sum_z, log2z, take);
}

/* Values of codes: the thread's row i, chunks 4 n apart. */
__device__ __forceinline__ void code_values(float z[8], const float dot[8][4], int i)
{
#pragma unroll
    for (int n = 0; n < 8; n++) z[n] = CODE_SHARPNESS * fmaxf(dot[n][2 * i], dot[n][2 * i + 1]);
}

__global__ void __launch_bounds__(128) code_forward(loci_gpu_code a)
{
    extern __shared__ __align__(128) unsigned char memory[];
    query_tiles *t = (query_tiles *)memory;
    const int i0 = blockIdx.x * SCORE_ROWS, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int row = i0 + warp * 16 + (lane >> 2);
    const float tau = *a.tau;
    int first, end;
    code_columns(a, i0, t->range, &first, &end);
    load_queries(t->u, t->bq, a, i0);
    if (first < end) load_chunks(t, 0, a, first);
    copy_commit();
    const code_row r[2] = { code_open(a, row, false), code_open(a, row + 8, false) };
    running sum_s[2], sum_z[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        sum_s[i].top = sum_z[i].top = -INFINITY;
        sum_s[i].sum = sum_z[i].sum = 0.0f;
    }
    for (int c0 = first, buf = 0; c0 < end; c0 += SCORE_CHUNKS, buf ^= 1) {
        if (c0 + SCORE_CHUNKS < end) load_chunks(t, buf ^ 1, a, c0 + SCORE_CHUNKS);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float dot[8][4] = {}, code[8][4] = {};
        add_tile_scores<128>(dot, t->u, warp * 16, t->lm[buf]);
        add_tile_scores<128>(code, t->bq, warp * 16, t->bk[buf]);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float s[8], z[8];
            score_values(s, dot, i, tau, a.bias, c0 + (lane & 3), a.n_chunks);
            code_values(z, code, i);
            add_masses(a, r[i], s, z, c0 + (lane & 3), &sum_s[i], &sum_z[i]);
        }
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float s = running_log(sum_s[i]), z = running_log(sum_z[i]);
        if (row + 8 * i >= a.n || (lane & 3) != 0) continue;
        a.lse_s[row + 8 * i] = s;
        a.lse_z[row + 8 * i] = z;
    }
}

extern "C" void loci_gpu_code_forward(loci_gpu *g, const loci_gpu_code *c)
{
    if (c->n == 0) return;
    gpu_shared(g, (const void *)code_forward, sizeof(query_tiles));
    code_forward<<<gpu_blocks(c->n, SCORE_ROWS), 128, sizeof(query_tiles), g->stream>>>(*c);
    gpu_launched(g, "code_forward");
}

/* ---- backward ------------------------------------------------------------------------------- */

/* scale d KL / d <bq, bk> of a pair; *kl receives its share of the loss. */
__device__ __forceinline__ float code_gradient(const code_row &r, float s, float z, float scale,
                                               float *kl)
{
    const float log_p = s - r.lse_s, log_q = z - r.lse_z, p = exp2f(log_p * LOG2E);
    *kl += p * (log_p - log_q);
    return scale * CODE_SHARPNESS * (exp2f(log_q * LOG2E) - p);
}

/* code becomes, in place, the gradient at the landmark that gave the maximum and 0 at the other. */
__device__ __forceinline__ void code_spread_pairs(const loci_gpu_code &a,
                                                  const loci_gpu_code_grad &g, const code_row r[2],
                                                  const float dot[8][4], float code[8][4],
                                                  float tau, int c, float kl[2])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float s[8], z[8];
        score_values(s, dot, i, tau, a.bias, c, a.n_chunks);
        code_values(z, code, i);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            const float d = code_counts(a, r[i], c + 4 * n)
                                ? code_gradient(r[i], s[n], z[n], g.scale, &kl[i])
                                : 0.0f;
            const bool second = code[n][2 * i + 1] > code[n][2 * i];
            code[n][2 * i] = second ? 0.0f : d;
            code[n][2 * i + 1] = second ? d : 0.0f;
        }
    }
}

__global__ void __launch_bounds__(128) code_by_query(loci_gpu_code a, loci_gpu_code_grad g)
{
    extern __shared__ __align__(128) unsigned char memory[];
    query_tiles *t = (query_tiles *)memory;
    const int i0 = blockIdx.x * SCORE_ROWS, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int row = i0 + warp * 16 + (lane >> 2);
    const float tau = *a.tau;
    int first, end;
    code_columns(a, i0, t->range, &first, &end);
    load_queries(t->u, t->bq, a, i0);
    if (first < end) load_chunks(t, 0, a, first);
    copy_commit();
    const code_row r[2] = { code_open(a, row, true), code_open(a, row + 8, true) };
    float out[16][4] = {}, kl[2] = { 0.0f, 0.0f };
    for (int c0 = first, buf = 0; c0 < end; c0 += SCORE_CHUNKS, buf ^= 1) {
        if (c0 + SCORE_CHUNKS < end) load_chunks(t, buf ^ 1, a, c0 + SCORE_CHUNKS);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float dot[8][4] = {}, code[8][4] = {};
        add_tile_scores<128>(dot, t->u, warp * 16, t->lm[buf]);
        add_tile_scores<128>(code, t->bq, warp * 16, t->bk[buf]);
        code_spread_pairs(a, g, r, dot, code, tau, c0 + (lane & 3), kl);
        if (g.dbq) add_product<128>(out, code, t->bk[buf]);
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int at = row + 8 * i, q = at < a.n ? a.query[at] : -1;
        const float sum = quad_sum(kl[i]);
        if (q >= 0 && (lane & 3) == 0) g.stat[(size_t)LOCI_STAT_HASH * g.rows + q] += g.share * sum;
        if (at >= a.n || !g.dbq) continue;
        float2 *to = (float2 *)(g.dbq + (size_t)at * 128) + (lane & 3);
#pragma unroll
        for (int n = 0; n < 16; n++) to[n * 4] = make_float2(out[n][2 * i], out[n][2 * i + 1]);
    }
}

typedef struct {
    bf16 lm[SCORE_ROWS * 128], bk[SCORE_ROWS * 128], u[SCORE_ROWS * 128], bq[SCORE_ROWS * 128];
    code_row r[SCORE_ROWS];
} chunk_tiles;

/* Does any query of the tile have to do with chunks c0 .. c0 + 31? */
__device__ __forceinline__ bool tile_matters(const loci_gpu_code &a, const chunk_tiles *t, int c0)
{
    bool any = false;
    if (threadIdx.x < SCORE_ROWS) {
        const code_row *r = &t->r[threadIdx.x];
        any = (c0 < r->hi && c0 + SCORE_CHUNKS > r->lo) ||
              (a.negatives && (c0 < r->lo || (r->end < a.n_chunks && c0 + SCORE_CHUNKS > r->end)));
    }
    return __syncthreads_or(any);
}

__global__ void __launch_bounds__(128)
    code_by_chunk(loci_gpu_code a, loci_gpu_code_grad g, int parts)
{
    extern __shared__ __align__(128) unsigned char memory[];
    chunk_tiles *t = (chunk_tiles *)memory;
    const int c0 = blockIdx.x * SCORE_CHUNKS, part = blockIdx.y, warp = threadIdx.x >> 5,
              lane = threadIdx.x & 31;
    const int chunk = c0 + warp * 8 + (lane >> 2), j = 2 * (lane & 3);
    const int tiles = (a.n + SCORE_ROWS - 1) / SCORE_ROWS, per = (tiles + parts - 1) / parts;
    const float tau = *a.tau, bias = chunk < a.n_chunks ? a.bias[chunk] : 0.0f;
    tile_load128(t->lm, (const bf16 *)a.lm, 2 * c0, 2 * a.n_chunks);
    tile_load128(t->bk, (const bf16 *)a.bk, 2 * c0, 2 * a.n_chunks);
    copy_commit();
    float out[16][4] = {}, unused = 0.0f;
    for (int tile = part * per; tile < tiles && tile < (part + 1) * per; tile++) {
        __syncthreads();
        if (threadIdx.x < SCORE_ROWS)
            t->r[threadIdx.x] = code_open(a, tile * SCORE_ROWS + (int)threadIdx.x, true);
        __syncthreads();
        if (!tile_matters(a, t, c0)) continue;
        load_queries(t->u, t->bq, a, tile * SCORE_ROWS);
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        float dot[8][4] = {}, code[8][4] = {};
        add_landmark_scores(dot, t->lm, warp * 16, t->u);
        add_landmark_scores(code, t->bk, warp * 16, t->bq);
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const code_row &r = t->r[n * 8 + j + e];
                const float s = tau * fmaxf(dot[n][e], dot[n][2 + e]) + bias,
                            z = CODE_SHARPNESS * fmaxf(code[n][e], code[n][2 + e]);
                const float d =
                    code_counts(a, r, chunk) ? code_gradient(r, s, z, g.scale, &unused) : 0.0f;
                const bool second = code[n][2 + e] > code[n][e];
                code[n][e] = second ? 0.0f : d;
                code[n][2 + e] = second ? d : 0.0f;
            }
        add_product<128>(out, code, t->bq);
    }
    copy_wait<0>();
    if (chunk >= a.n_chunks) return;
    float *dbk = g.part + (size_t)part * a.n_chunks * 256;
#pragma unroll
    for (int m = 0; m < 2; m++) {
        float2 *to = (float2 *)(dbk + (size_t)(2 * chunk + m) * 128) + (lane & 3);
#pragma unroll
        for (int n = 0; n < 16; n++) to[n * 4] = make_float2(out[n][2 * m], out[n][2 * m + 1]);
    }
}

/* Bits in which a query and the nearer landmark of its gold chunk agree: a warp a query, 4 numbers a lane. */
__global__ void code_agreement(loci_gpu_code a, loci_gpu_code_grad g)
{
    const int i = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (i >= a.n || a.query[i] < 0) return;
    const int q = a.query[i], c = a.gold[q];
    if (c < 0 || c < a.own_lo[q] || c >= a.own_hi[q]) return;
    const bf16 *x = (const bf16 *)a.bq + (size_t)i * 128, *y = (const bf16 *)a.bk + (size_t)c * 256;
    int same[2] = { 0, 0 };
    for (int m = 0; m < 2; m++)
        for (int e = lane; e < 128; e += 32) {
            const bool on = __bfloat162float(x[e]) > 0.0f;
            same[m] += on == (__bfloat162float(y[m * 128 + e]) > 0.0f);
        }
    for (int m = 0; m < 2; m++)
        for (int step = 16; step > 0; step >>= 1) same[m] += __shfl_xor_sync(~0u, same[m], step);
    if (lane == 0)
        g.stat[(size_t)LOCI_STAT_AGREEMENT * g.rows + q] +=
            g.share * (float)max(same[0], same[1]) / 128.0f;
}

extern "C" void loci_gpu_code_backward(loci_gpu *g, const loci_gpu_code *c,
                                       const loci_gpu_code_grad *grad)
{
    if (c->n == 0) return;
    gpu_shared(g, (const void *)code_by_query, sizeof(query_tiles));
    code_by_query<<<gpu_blocks(c->n, SCORE_ROWS), 128, sizeof(query_tiles), g->stream>>>(*c, *grad);
    code_agreement<<<gpu_blocks(c->n, 8), 256, 0, g->stream>>>(*c, *grad);
    if (grad->dbk && c->n_chunks > 0) {
        const int parts = score_parts(c->n_chunks);
        gpu_shared(g, (const void *)code_by_chunk, sizeof(chunk_tiles));
        code_by_chunk<<<dim3(gpu_blocks(c->n_chunks, SCORE_CHUNKS), parts), 128,
                        sizeof(chunk_tiles), g->stream>>>(*c, *grad, parts);
        loci_gpu_sum_parts(g, grad->dbk, grad->part, parts, (size_t)c->n_chunks * 256);
    }
    gpu_launched(g, "code_backward");
}
