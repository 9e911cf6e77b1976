/* score.cu - scores of queries against the landmarks of chunks, forward.
 *
 *   s(t,c) = tau max_m <u_t, l_cm> + bias_c
 *
 * One block takes 64 queries and walks over tiles of 32 chunks (64 landmarks).  The two landmarks of a
 * chunk are neighbouring columns, so a thread of the product holds both and takes their maximum itself.
 * Scores are never stored: own chunks go through a sorted list of the best in shared memory (a warp
 * inserts one candidate in a few shuffles, and few candidates beat the last of the list), all go into
 * running sums of exponentials. */
#include "gpu_impl.h"
#include "score.cuh"

typedef struct {
    bf16 u[SCORE_ROWS * 128], lm[2][SCORE_ROWS * 128];
    float own[SCORE_ROWS][SCORE_CHUNKS]; /* scores of own chunks of this tile, else -infinity */
    float best[SCORE_ROWS][LOCI_GPU_PICKS];
    int32_t best_at[SCORE_ROWS][LOCI_GPU_PICKS];
    int range[2];
} score_tiles;

/* The row's candidates of this tile (one a lane, chunks c0 ..) into its sorted list of K. */
__device__ __forceinline__ void list_merge(score_tiles *t, int row, int c0, int K)
{
    const int lane = threadIdx.x & 31;
    const float mine = t->own[row][lane];
    unsigned rest = __ballot_sync(~0u, mine > t->best[row][K - 1]);
    if (rest == 0) return;
    float s = lane < LOCI_GPU_PICKS ? t->best[row][lane] : -INFINITY;
    int at = lane < LOCI_GPU_PICKS ? t->best_at[row][lane] : -1;
    while (rest) {
        const int from = __ffs(rest) - 1;
        rest &= rest - 1;
        const float x = __shfl_sync(~0u, mine, from), last = __shfl_sync(~0u, s, K - 1);
        if (!(x > last)) continue;
        /* Behind all that are as good: of equals the earlier chunk comes first. */
        const int place = __popc(__ballot_sync(~0u, s >= x) & ((1u << LOCI_GPU_PICKS) - 1));
        const float up = __shfl_up_sync(~0u, s, 1);
        const int up_at = __shfl_up_sync(~0u, at, 1);
        if (lane > place) s = up, at = up_at;
        if (lane == place) s = x, at = c0 + from;
    }
    if (lane < LOCI_GPU_PICKS) {
        t->best[row][lane] = s;
        t->best_at[row][lane] = at;
    }
    __syncwarp();
}

/* The list of a row, oldest chunk first, to memory. */
__device__ __forceinline__ void list_store(const loci_gpu_score &a, const score_tiles *t, int row,
                                           int q)
{
    const int lane = threadIdx.x & 31;
    const bool have = lane < a.top_k && t->best_at[row][lane < LOCI_GPU_PICKS ? lane : 0] >= 0;
    const int at = have ? t->best_at[row][lane] : 0x7fffffff;
    int rank = 0;
#pragma unroll
    for (int i = 0; i < LOCI_GPU_PICKS; i++) rank += __shfl_sync(~0u, at, i) < at;
    const int n = __popc(__ballot_sync(~0u, have));
    int32_t *pick = a.pick + (size_t)q * LOCI_GPU_SLOTS;
    if (have) {
        pick[rank] = at;
        a.pick_score[(size_t)q * LOCI_GPU_PICKS + rank] = t->best[row][lane];
    }
    if (lane >= n && lane < LOCI_GPU_SLOTS) pick[lane] = -1;
}

typedef struct { /* what a thread keeps of one of its two rows */
    int lo, hi, end, gold, above;
    float bar;
    running own, neg;
} row_state;

__device__ __forceinline__ row_state row_open(const loci_gpu_score &a, int q)
{
    row_state r;
    const bool in = q < a.n;
    r.lo = in ? a.own_lo[q] : 0;
    r.hi = in ? a.own_hi[q] : 0;
    r.end = in ? a.seq_hi[q] : a.n_chunks; /* no negatives for rows that are not there */
    r.gold = in ? a.gold[q] : -1;
    r.bar = in ? a.gold_score[q] : INFINITY;
    r.above = 0;
    r.own.top = r.neg.top = -INFINITY;
    r.own.sum = r.neg.sum = 0.0f;
    return r;
}

/* One tile's scores of one row: 8 chunks a thread, c + 4 i. */
__device__ __forceinline__ void row_tile(const loci_gpu_score &a, row_state *r, const float s[8],
                                         int c, float *own)
{
    bool is_own[8], is_neg[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int x = c + 4 * i;
        is_own[i] = x >= r->lo && x < r->hi;
        is_neg[i] = a.negatives && x < a.n_chunks && (x < r->lo || x >= r->end);
        if ((is_own[i] || is_neg[i]) && x != r->gold && s[i] > r->bar) r->above++;
        own[4 * i] = is_own[i] ? s[i] : -INFINITY;
    }
    float log2s[8];
#pragma unroll
    for (int i = 0; i < 8; i++) log2s[i] = s[i] * LOG2E;
    running_add(&r->own, log2s, is_own);
    if (a.negatives) running_add(&r->neg, log2s, is_neg);
}

/* The block's part of the tiles [first, end). */
__device__ __forceinline__ void score_part(int *first, int *end)
{
    const int tiles = (*end - *first + SCORE_CHUNKS - 1) / SCORE_CHUNKS,
              each = (tiles + (int)gridDim.y - 1) / (int)gridDim.y * SCORE_CHUNKS;
    *first += (int)blockIdx.y * each;
    *end = min(*end, *first + each);
}

__global__ void __launch_bounds__(128) score_forward(loci_gpu_score a)
{
    extern __shared__ __align__(128) unsigned char memory[];
    score_tiles *t = (score_tiles *)memory;
    const int q0 = blockIdx.x * SCORE_ROWS, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int row = warp * 16 + (lane >> 2), out = blockIdx.y * a.n;
    const float tau = *a.tau;
    int first, end;
    score_columns(a, q0, t->range, &first, &end);
    if (gridDim.y > 1) score_part(&first, &end);
    for (int i = threadIdx.x; i < SCORE_ROWS * LOCI_GPU_PICKS; i += 128) {
        t->best[0][i] = -INFINITY;
        t->best_at[0][i] = -1;
    }
    tile_load128(t->u, (const bf16 *)a.u, q0, a.n);
    if (first < end) tile_load128(t->lm[0], (const bf16 *)a.lm, 2 * first, 2 * a.n_chunks);
    copy_commit();
    row_state state[2] = { row_open(a, q0 + row), row_open(a, q0 + row + 8) };
    uint32_t uf[8][4];
    for (int c0 = first, buf = 0; c0 < end; c0 += SCORE_CHUNKS, buf ^= 1) {
        if (c0 + SCORE_CHUNKS < end)
            tile_load128(t->lm[buf ^ 1], (const bf16 *)a.lm, 2 * (c0 + SCORE_CHUNKS),
                         2 * a.n_chunks);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (c0 == first)
#pragma unroll
            for (int k = 0; k < 8; k++) load_a<128>(uf[k], t->u, warp * 16, k * 16);
        float dot[8][4] = {};
        add_scores<128>(dot, uf, t->lm[buf]);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float s[8];
            score_values(s, dot, i, tau, a.bias, c0 + (lane & 3), a.n_chunks);
            row_tile(a, &state[i], s, c0 + (lane & 3), &t->own[row + 8 * i][lane & 3]);
        }
        const bool own = (c0 + SCORE_CHUNKS > state[0].lo && c0 < state[0].hi) ||
                         (c0 + SCORE_CHUNKS > state[1].lo && c0 < state[1].hi);
        if (a.top_k > 0 && __ballot_sync(~0u, own)) {
            __syncwarp();
            for (int r = 0; r < 16; r++) list_merge(t, warp * 16 + r, c0, a.top_k);
        }
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int q = q0 + row + 8 * i;
        const float own = running_log(state[i].own), neg = running_log(state[i].neg);
        int above = state[i].above;
        above += __shfl_xor_sync(~0u, above, 1);
        above += __shfl_xor_sync(~0u, above, 2);
        if (q >= a.n || (lane & 3) != 0) continue;
        a.lse_own[out + q] = own;
        a.lse_neg[out + q] = neg;
        a.above[out + q] = above;
    }
    __syncthreads(); /* the lists were cleared by other threads when there was no tile */
    for (int r = 0; r < 16; r++)
        if (q0 + warp * 16 + r < a.n) list_store(a, t, warp * 16 + r, out + q0 + warp * 16 + r);
}

/* Score of the gold chunk where it may be read: a warp a query. */
__global__ void gold_score(loci_gpu_score a)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (q >= a.n) return;
    const int c = a.gold[q];
    float s = INFINITY;
    if (c >= 0 && c >= a.own_lo[q] && c < a.own_hi[q]) {
        float dot[2];
        landmark_dots(dot, (const bf16 *)a.u + (size_t)q * 128,
                      (const bf16 *)a.lm + (size_t)c * 256);
        s = *a.tau * fmaxf(dot[0], dot[1]) + a.bias[c];
    }
    if (lane == 0) a.gold_score[q] = s;
}

__global__ void tau_of(float *tau, const float *log_tau)
{
    *tau = fminf(expf(*log_tau), SCORE_TAU_MAX);
}

__global__ void add_scalar(float *grad, const double *sum, const float *log_tau)
{
    if (!log_tau || expf(*log_tau) < SCORE_TAU_MAX) *grad += (float)*sum;
}

extern "C" void loci_gpu_tau(loci_gpu *g, float *tau, const float *log_tau)
{
    tau_of<<<1, 1, 0, g->stream>>>(tau, log_tau);
    gpu_launched(g, "tau");
}

extern "C" void loci_gpu_add_scalar(loci_gpu *g, float *grad, const double *sum,
                                    const float *log_tau)
{
    add_scalar<<<1, 1, 0, g->stream>>>(grad, sum, log_tau);
    gpu_launched(g, "add_scalar");
}

extern "C" void loci_gpu_score_forward(loci_gpu *g, const loci_gpu_score *s)
{
    if (s->n == 0) return;
    gold_score<<<gpu_blocks(s->n, 8), 256, 0, g->stream>>>(*s);
    gpu_shared(g, (const void *)score_forward, sizeof(score_tiles));
    const dim3 blocks(gpu_blocks(s->n, SCORE_ROWS), s->splits > 1 ? s->splits : 1);
    score_forward<<<blocks, 128, sizeof(score_tiles), g->stream>>>(*s);
    gpu_launched(g, "score_forward");
}
