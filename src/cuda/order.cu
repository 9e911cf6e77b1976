/* order.cu - weights of a Read's heads by the picks' order in time: equations in src/model/order.c.
 *
 * A warp a query, pick i in lane i (and i + 16).  What a head needs goes through shuffles: sums over
 * sixteen picks, eight features a pick, eight heads. */
#include "gpu_impl.h"
#include "read.cuh"

enum { HATS = READ_MARKS / 2 };
static_assert(READ_PICKS == 16, "a pick a lane, twice");

__device__ __forceinline__ void hats(float *hat, float x)
{
#pragma unroll
    for (int k = 0; k < HATS; k++) hat[k] = fmaxf(0.0f, 1.0f - fabsf(x - k));
    if (x > HATS - 1) hat[HATS - 1] = 1.0f;
}

/* Of the lane's pick, whose weight is w. */
__device__ __forceinline__ void features(float phi[READ_MARKS], float w, bool is_pick)
{
    const int i = threadIdx.x & 15;
    const float top = half_max(w);
    const float r = !is_pick ? 0.0f : top > 0.0f ? fminf(1.0f, w / (0.1f * top)) : 1.0f;
    float upto = r; /* sum of r_j, j <= i */
#pragma unroll
    for (int s = 1; s < READ_PICKS; s <<= 1) {
        const float x = __shfl_up_sync(~0u, upto, s, READ_PICKS);
        if (i >= s) upto += x;
    }
    const float all = __shfl_sync(~0u, upto, READ_PICKS - 1, READ_PICKS);
    hats(phi, upto - r);
    hats(phi + HATS, fmaxf(0.0f, all - upto));
}

__global__ void order_forward(loci_gpu_order o)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, i = lane & 15;
    if (q >= o.n) return;
    const bool is_pick = o.pick[(size_t)q * READ_SLOTS + i] >= 0;
    const float w = is_pick ? o.w[(size_t)q * READ_PICKS + i] : 0.0f;
    float phi[READ_MARKS], mine[READ_HEADS];
    if (!o.c) {
#pragma unroll
        for (int h = 0; h < READ_HEADS; h++) mine[h] = w;
    } else {
        const bf16 *c = (const bf16 *)o.c + (size_t)q * READ_HEADS * READ_MARKS;
        const float mass = half_sum(w);
        features(phi, w, is_pick);
#pragma unroll
        for (int h = 0; h < READ_HEADS; h++) {
            float z = 0.0f;
#pragma unroll
            for (int f = 0; f < READ_MARKS; f++)
                z += __bfloat162float(c[h * READ_MARKS + f]) * phi[f];
            const float top = half_max(is_pick ? z : -INFINITY);
            const float e = is_pick ? w * expf(z - top) : 0.0f, sum = half_sum(e);
            mine[h] = sum > 0.0f ? mass * e / sum : w;
        }
    }
    if (lane >= READ_PICKS) return;
#pragma unroll
    for (int h = 0; h < READ_HEADS; h++) o.head_w[read_head(q, i, h)] = mine[h];
#pragma unroll
    for (int f = 0; o.c && f < READ_MARKS; f++) o.phi[read_head(q, i, f)] = is_pick ? phi[f] : 0.0f;
}

extern "C" void loci_gpu_order_forward(loci_gpu *g, const loci_gpu_order *o)
{
    if (o->n == 0) return;
    order_forward<<<gpu_blocks(o->n, 8), 256, 0, g->stream>>>(*o);
    gpu_launched(g, "order_forward");
}

__global__ void order_backward(loci_gpu_order o, const float *dhead_w, float *dw, bf16 *dc)
{
    const int q = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31, i = lane & 15;
    if (q >= o.n) return;
    const bool is_pick = o.pick[(size_t)q * READ_SLOTS + i] >= 0;
    const float w = is_pick ? o.w[(size_t)q * READ_PICKS + i] : 0.0f;
    float sum = 0.0f;
    if (!o.c) {
#pragma unroll
        for (int h = 0; h < READ_HEADS; h++) sum += is_pick ? dhead_w[read_head(q, i, h)] : 0.0f;
    } else {
        const float mass = half_sum(w);
        float phi[READ_MARKS];
#pragma unroll
        for (int f = 0; f < READ_MARKS; f++) phi[f] = o.phi[read_head(q, i, f)];
        for (int h = 0; h < READ_HEADS; h++) {
            const float x = is_pick ? o.head_w[read_head(q, i, h)] : 0.0f;
            const float d = is_pick ? dhead_w[read_head(q, i, h)] : 0.0f;
            const float mean = mass > 0.0f ? half_sum(d * x) / mass : 0.0f;
            const float db = x * (d - mean);
            sum += mean + (w > 0.0f ? db / w : 0.0f);
#pragma unroll
            for (int f = 0; f < READ_MARKS; f++) {
                const float all = half_sum(db * phi[f]);
                if (lane == f)
                    dc[((size_t)q * READ_HEADS + h) * READ_MARKS + f] = __float2bfloat16(all);
            }
        }
    }
    if (lane < READ_PICKS) dw[(size_t)q * READ_PICKS + i] = is_pick ? sum : 0.0f;
}

extern "C" void loci_gpu_order_backward(loci_gpu *g, const loci_gpu_order *o, const float *dhead_w,
                                        float *dw, loci_bf16 *dc)
{
    if (o->n == 0) return;
    order_backward<<<gpu_blocks(o->n, 8), 256, 0, g->stream>>>(*o, dhead_w, dw, (bf16 *)dc);
    gpu_launched(g, "order_backward");
}
