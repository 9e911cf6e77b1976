/* weigh.cu - from scores to routed weights and the router's losses, and back; a warp a query.
 *
 *   log_den = log(exp null + exp lse_neg + sum picked exp s);   w_i = exp(s_i - log_den)
 *   oracle  = log(own + negatives [+ null, routed]) - s_gold;   absence = log_den - null
 *
 * Equations and their gradients are those of src/model/router.c; what depends densely on the scores
 * leaves here as coefficients for score_bwd.cu, the rest as ds of the slots. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { PICKS = LOCI_GPU_PICKS, SLOTS = LOCI_GPU_SLOTS, CHUNK = 64 };

__device__ __forceinline__ float log_add(float a, float b)
{
    const float top = fmaxf(a, b), low = fminf(a, b);
    return low == -INFINITY ? top : top + log1pf(expf(low - top));
}

/* exp(a - b) that is 0 for a = -infinity. */
__device__ __forceinline__ float share_of(float a, float b)
{
    return a == -INFINITY ? 0.0f : expf(a - b);
}

__device__ __forceinline__ float oracle_den(const loci_gpu_weigh &j, int q)
{
    const float den = log_add(j.s.lse_own[q], j.s.lse_neg[q]);
    return j.routed ? log_add(den, *j.null_score) : den;
}

__global__ void weigh_forward(loci_gpu_weigh j)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (q >= j.s.n) return;
    int32_t *pick = j.s.pick + (size_t)q * SLOTS;
    const float null = *j.null_score, neg = j.s.lse_neg[q];
    const bool have = j.routed && lane < PICKS && pick[lane < PICKS ? lane : 0] >= 0;
    const float s = have ? j.s.pick_score[(size_t)q * PICKS + lane] : -INFINITY;
    const float top = warp_max(s), sum = warp_sum(have ? expf(s - top) : 0.0f);
    const float own = sum > 0.0f ? top + logf(sum) : -INFINITY,
                den = log_add(log_add(null, neg), own);
    if (lane < PICKS) j.w[(size_t)q * PICKS + lane] = have ? expf(s - den) : 0.0f;
    if (lane != 0) return;
    j.log_den[q] = den;
    const int gold = j.s.gold[q], source = j.source ? j.source[q] : -1, lo = j.s.own_lo[q],
              hi = j.s.own_hi[q];
    const bool eligible = gold >= lo && gold < hi,
               copies = j.routed && source >= lo * CHUNK && source < hi * CHUNK;
    pick[PICKS] = copies ? source / CHUNK : -1;
    pick[PICKS + 1] = eligible ? gold : -1;
    if (!j.stat) return;
    if (eligible) {
        j.stat[(size_t)LOCI_STAT_ORACLE * j.s.n + q] +=
            j.share * (oracle_den(j, q) - j.s.gold_score[q]);
        if (j.s.above[q] < j.recall_k) j.stat[(size_t)LOCI_STAT_RECALL * j.s.n + q] += j.share;
    }
    if (gold == -2 && j.routed)
        j.stat[(size_t)LOCI_STAT_ABSENCE * j.s.n + q] += j.share * (den - null);
}

extern "C" void loci_gpu_weigh_forward(loci_gpu *g, const loci_gpu_weigh *w)
{
    if (w->s.n == 0) return;
    weigh_forward<<<gpu_blocks(w->s.n, 8), 256, 0, g->stream>>>(*w);
    gpu_launched(g, "weigh_forward");
}

__global__ void weigh_backward(loci_gpu_weigh j, loci_gpu_weigh_grad g)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (q >= j.s.n) return;
    const int gold = j.s.gold[q], lo = j.s.own_lo[q], hi = j.s.own_hi[q];
    const float null = *j.null_score, neg = j.s.lse_neg[q], den = j.log_den[q];
    const float w = lane < PICKS ? j.w[(size_t)q * PICKS + lane] : 0.0f;
    const float dw = g.dw && lane < PICKS ? g.dw[(size_t)q * PICKS + lane] : 0.0f;
    const float mean = warp_sum(w != 0.0f ? w * dw : 0.0f);
    float ds = w != 0.0f ? w * (dw - mean) : 0.0f, c_neg = 0.0f, dnull = 0.0f;
    if (g.dw) {
        c_neg -= mean * share_of(neg, den);
        dnull -= mean * share_of(null, den);
    }
    const bool eligible = gold >= lo && gold < hi;
    float c_oracle = 0.0f, o_den = 0.0f;
    if (eligible) {
        c_oracle = g.oracle;
        o_den = oracle_den(j, q);
        c_neg += g.oracle * share_of(neg, o_den);
        if (j.routed) dnull += g.oracle * share_of(null, o_den);
        if (lane == PICKS + 1) ds -= g.oracle;
    }
    if (gold == -2 && j.routed) {
        ds += g.absence * w;
        c_neg += g.absence * share_of(neg, den);
        dnull += g.absence * (share_of(null, den) - 1.0f);
    }
    if (lane < SLOTS) g.ds[(size_t)q * SLOTS + lane] = ds;
    if (lane != 0) return;
    g.c_kl[q] = g.kl_row && g.kl_row[q] && lo < hi ? g.kl : 0.0f;
    g.c_oracle[q] = c_oracle;
    g.c_oracle_den[q] = o_den;
    g.c_neg[q] = c_neg;
    g.dnull[q] = dnull;
}

extern "C" void loci_gpu_weigh_backward(loci_gpu *g, const loci_gpu_weigh *w,
                                        const loci_gpu_weigh_grad *grad)
{
    if (w->s.n == 0) return;
    weigh_backward<<<gpu_blocks(w->s.n, 8), 256, 0, g->stream>>>(*w, *grad);
    gpu_launched(g, "weigh_backward");
}
