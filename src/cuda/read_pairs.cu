/* read_pairs.cu - routed reading for few queries: a block a query and pick, no lists.
 *
 * Serving reads sixteen chunks for one token at a time.  Turning the picks round costs more launches than
 * the reading itself, and nobody shares a chunk.  Sums are f32; what leaves is as in read.cu. */
#include "gpu_impl.h"
#include "read.cuh"

enum { THREADS = 128, KEYS = 64, LANES = THREADS / READ_HEADS, KEY_LD = 66 };

typedef struct {
    bf16 k[KEYS * KEY_LD], v[KEYS * 64]; /* keys: padded, so that lanes of different keys read
                                            different banks */
    float q[READ_WIDE], p[READ_HEADS][KEYS];
} pair_tile;

__device__ __forceinline__ void pair_load(pair_tile *t, const bf16 *content, int cols,
                                          const bf16 *q)
{
    const int shift = cols == 128 ? 5 : 4,
              pieces = 1 << shift; /* of a row: keys first, values last */
    for (int i = threadIdx.x; i < KEYS * pieces; i += THREADS) {
        const int row = i >> shift, piece = i & (pieces - 1);
        const uint2 x = *(const uint2 *)(content + row * cols + piece * 4);
        if (piece < 16) {
            uint32_t *to = (uint32_t *)(t->k + row * KEY_LD + piece * 4);
            to[0] = x.x;
            to[1] = x.y;
        }
        if (piece >= pieces - 16) *(uint2 *)(t->v + row * 64 + (piece - pieces + 16) * 4) = x;
    }
    for (int i = threadIdx.x; i < READ_WIDE; i += THREADS) t->q[i] = __bfloat162float(q[i]);
}

static_assert(LANES == 16, "half a warp a head");

/* p of head h, not normalised; returns the sum and in *top the maximum.  Lane l has keys l + 16 i. */
__device__ __forceinline__ float pair_weights(pair_tile *t, int h, int l, int n_keys, float scale,
                                              float *top)
{
    float s[KEYS / LANES];
    *top = -INFINITY;
#pragma unroll
    for (int i = 0; i < KEYS / LANES; i++) {
        const int j = l + LANES * i;
        const __nv_bfloat162 *k = (const __nv_bfloat162 *)(t->k + j * KEY_LD);
        float dot = 0.0f;
#pragma unroll
        for (int d = 0; d < 32; d++) {
            const float2 x = __bfloat1622float2(k[d]);
            dot += x.x * t->q[h * 64 + 2 * d] + x.y * t->q[h * 64 + 2 * d + 1];
        }
        s[i] = j < n_keys ? dot * scale : -INFINITY;
        *top = fmaxf(*top, s[i]);
    }
    *top = half_max(*top);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < KEYS / LANES; i++) {
        const float p = expf(s[i] - *top);
        t->p[h][l + LANES * i] = p;
        sum += p;
    }
    return half_sum(sum);
}

__global__ void __launch_bounds__(THREADS) read_pairs(loci_gpu_read r)
{
    __shared__ __align__(16) pair_tile t;
    const int q = blockIdx.x / READ_PICKS, slot = blockIdx.x % READ_PICKS;
    const int c = r.pick[(size_t)q * READ_SLOTS + slot];
    if (c < 0) return;
    const int h = threadIdx.x / LANES, l = threadIdx.x % LANES, n_keys = r.n_tokens[c];
    pair_load(&t, (const bf16 *)r.content + (size_t)c * KEYS * r.cols, r.cols,
              (const bf16 *)r.q + (size_t)q * READ_WIDE);
    __syncthreads();
    float top, out[4] = {};
    const float sum = pair_weights(&t, h, l, n_keys, r.scale, &top);
    __syncwarp();
    for (int j = 0; j < n_keys; j++) {
        const uint2 x = *(const uint2 *)(t.v + j * 64 + 4 * l);
        const __nv_bfloat162 *v = (const __nv_bfloat162 *)&x;
        const float2 a = __bfloat1622float2(v[0]), b = __bfloat1622float2(v[1]);
        const float p = t.p[h][j];
        out[0] += p * a.x, out[1] += p * a.y, out[2] += p * b.x, out[3] += p * b.y;
    }
    const size_t pair = (size_t)q * READ_PAIRS + slot;
    const float f = r.w[read_head(q, slot, h)] / sum;
    uint2 to;
    to.x = pack2(out[0] * f, out[1] * f);
    to.y = pack2(out[2] * f, out[3] * f);
    *(uint2 *)((bf16 *)r.pair + pair * READ_WIDE + h * 64 + 4 * l) = to;
    if (r.lse && l == 0) r.lse[pair * READ_HEADS + h] = top + logf(sum);
}

void read_pairs_launch(loci_gpu *g, const loci_gpu_read *r)
{
    read_pairs<<<r->n * READ_PICKS, THREADS, 0, g->stream>>>(*r);
    gpu_launched(g, "read_pairs");
}
