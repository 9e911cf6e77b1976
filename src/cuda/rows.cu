/* rows.cu - what is done to each row by itself: norms, activations, rotation, the gate.
 *
 * One warp a row, or eight lanes a head of 64.  The equations are those of kernel.h; sums are in f32,
 * each in the same order every time. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { WARPS = 8, THREADS = WARPS * 32 };

typedef __nv_bfloat162 pair;

__device__ __forceinline__ float2 get2(const float *x)
{
    return *(const float2 *)x;
}
__device__ __forceinline__ float2 get2(const bf16 *x)
{
    return __bfloat1622float2(*(const pair *)x);
}
__device__ __forceinline__ void put2(bf16 *x, float a, float b)
{
    *(pair *)x = __floats2bfloat162_rn(a, b);
}
/* Eight numbers, 16 bytes in memory. */
typedef struct {
    float x[8];
} slice;

__device__ __forceinline__ slice slice_load(const bf16 *p)
{
    const uint4 v = *(const uint4 *)p;
    const pair *q = (const pair *)&v;
    slice s;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 f = __bfloat1622float2(q[i]);
        s.x[2 * i] = f.x;
        s.x[2 * i + 1] = f.y;
    }
    return s;
}

__device__ __forceinline__ void slice_store(bf16 *p, const slice *s)
{
    uint4 v;
    uint32_t *q = (uint32_t *)&v;
#pragma unroll
    for (int i = 0; i < 4; i++) q[i] = pack2(s->x[2 * i], s->x[2 * i + 1]);
    *(uint4 *)p = v;
}

__device__ __forceinline__ int warp_row(void)
{
    return blockIdx.x * WARPS + (threadIdx.x >> 5);
}

/* ---- RMSNorm ------------------------------------------------------------------------------- */

template <typename T>
__global__ void rmsnorm(bf16 *y, int ldy, float *inv, const T *x, int ldx, int rows, int cols,
                        float eps)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    const T *in = x + (size_t)r * ldx;
    float sum = 0.0f;
    for (int c = 2 * lane; c < cols; c += 64) {
        const float2 v = get2(in + c);
        sum += v.x * v.x + v.y * v.y;
    }
    const float f = rsqrtf(warp_sum(sum) / (float)cols + eps);
    if (lane == 0 && inv) inv[r] = f;
    for (int c = 2 * lane; c < cols; c += 64) {
        const float2 v = get2(in + c);
        put2(y + (size_t)r * ldy + c, v.x * f, v.y * f);
    }
}

extern "C" void loci_gpu_rmsnorm(loci_gpu *g, loci_bf16 *y, int ldy, float *inv, const float *x,
                                 int ldx, int rows, int cols, float eps)
{
    if (rows == 0) return;
    rmsnorm<float><<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)y, ldy, inv, x, ldx,
                                                                       rows, cols, eps);
    gpu_launched(g, "rmsnorm");
}

extern "C" void loci_gpu_rmsnorm_b(loci_gpu *g, loci_bf16 *y, int ldy, float *inv,
                                   const loci_bf16 *x, int ldx, int rows, int cols, float eps)
{
    if (rows == 0) return;
    rmsnorm<bf16><<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)y, ldy, inv,
                                                                      (const bf16 *)x, ldx, rows,
                                                                      cols, eps);
    gpu_launched(g, "rmsnorm_b");
}

__global__ void rmsnorm_bwd(loci_gpu_rmsnorm_grad j)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= j.rows) return;
    const bf16 *dy = (const bf16 *)j.dy + (size_t)r * j.lddy,
               *y = (const bf16 *)j.y + (size_t)r * j.ldy;
    float *dx = j.dx + (size_t)r * j.lddx;
    const float z = j.z ? j.z[r] : 0.0f;
    float along = 0.0f;
    for (int c = 2 * lane; c < j.cols; c += 64) {
        float2 d = get2(dy + c);
        const float2 v = get2(y + c);
        if (j.z) d.x += z * j.w[c], d.y += z * j.w[c + 1];
        along += d.x * v.x + d.y * v.y;
    }
    along = warp_sum(along) / (float)j.cols;
    const float f = j.inv[r];
    for (int c = 2 * lane; c < j.cols; c += 64) {
        float2 d = get2(dy + c), old = get2(dx + c);
        const float2 v = get2(y + c);
        if (j.z) d.x += z * j.w[c], d.y += z * j.w[c + 1];
        old.x += f * (d.x - v.x * along);
        old.y += f * (d.y - v.y * along);
        *(float2 *)(dx + c) = old;
        if (j.out) put2((bf16 *)j.out + (size_t)r * j.ldout + c, old.x, old.y);
    }
}

extern "C" void loci_gpu_rmsnorm_bwd(loci_gpu *g, const loci_gpu_rmsnorm_grad *job)
{
    if (job->rows == 0) return;
    rmsnorm_bwd<<<gpu_blocks(job->rows, WARPS), THREADS, 0, g->stream>>>(*job);
    gpu_launched(g, "rmsnorm_bwd");
}

template <typename T>
__global__ void rmsnorm_bwd_b(bf16 *dx, int lddx, const T *dy, int lddy, const bf16 *y, int ldy,
                              const float *inv, int rows, int cols)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    const T *in = dy + (size_t)r * lddy;
    const bf16 *out = y + (size_t)r * ldy;
    float along = 0.0f;
    for (int c = 2 * lane; c < cols; c += 64) {
        const float2 d = get2(in + c), v = get2(out + c);
        along += d.x * v.x + d.y * v.y;
    }
    along = warp_sum(along) / (float)cols;
    for (int c = 2 * lane; c < cols; c += 64) {
        const float2 d = get2(in + c), v = get2(out + c);
        put2(dx + (size_t)r * lddx + c, inv[r] * (d.x - v.x * along), inv[r] * (d.y - v.y * along));
    }
}

extern "C" void loci_gpu_rmsnorm_bwd_b(loci_gpu *g, loci_bf16 *dx, int lddx, const loci_bf16 *dy,
                                       const float *dy32, int lddy, const loci_bf16 *y, int ldy,
                                       const float *inv, int rows, int cols)
{
    if (rows == 0) return;
    if (dy32)
        rmsnorm_bwd_b<float>
            <<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)dx, lddx, dy32, lddy,
                                                                 (const bf16 *)y, ldy, inv, rows,
                                                                 cols);
    else
        rmsnorm_bwd_b<bf16>
            <<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)dx, lddx, (const bf16 *)dy,
                                                                 lddy, (const bf16 *)y, ldy, inv,
                                                                 rows, cols);
    gpu_launched(g, "rmsnorm_bwd_b");
}

/* ---- activations --------------------------------------------------------------------------------- */

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0f / (1.0f + __expf(-x));
}

__global__ void to_bf16(bf16 *y, const float *x, size_t n)
{
    const size_t i = 2 * ((size_t)blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 1 < n)
        put2(y + i, x[i], x[i + 1]);
    else if (i < n)
        y[i] = __float2bfloat16(x[i]);
}

extern "C" void loci_gpu_to_bf16(loci_gpu *g, loci_bf16 *y, const float *x, size_t n)
{
    if (n == 0) return;
    to_bf16<<<gpu_blocks((n + 1) / 2, 256), 256, 0, g->stream>>>((bf16 *)y, x, n);
    gpu_launched(g, "to_bf16");
}

__global__ void swiglu(bf16 *y, const bf16 *gu, int rows, int n)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    const bf16 *in = gu + (size_t)r * 2 * n;
    for (int c = 8 * lane; c < n; c += 256) {
        slice a = slice_load(in + c);
        const slice b = slice_load(in + n + c);
#pragma unroll
        for (int i = 0; i < 8; i++) a.x[i] = a.x[i] * sigmoid(a.x[i]) * b.x[i];
        slice_store(y + (size_t)r * n + c, &a);
    }
}

extern "C" void loci_gpu_swiglu(loci_gpu *g, loci_bf16 *y, const loci_bf16 *gu, int rows, int n)
{
    if (rows == 0) return;
    swiglu<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)y, (const bf16 *)gu, rows,
                                                               n);
    gpu_launched(g, "swiglu");
}

__global__ void swiglu_bwd(bf16 *gu, bf16 *act, const bf16 *dact, int rows, int n)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    bf16 *pa = gu + (size_t)r * 2 * n, *pb = pa + n;
    for (int c = 8 * lane; c < n; c += 256) {
        slice a = slice_load(pa + c), b = slice_load(pb + c), y;
        const slice d = slice_load(dact + (size_t)r * n + c);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float s = sigmoid(a.x[i]), v = a.x[i] * s;
            y.x[i] = v * b.x[i];
            b.x[i] = d.x[i] * b.x[i] * s * (1.0f + a.x[i] * (1.0f - s));
            a.x[i] = d.x[i] * v;
        }
        slice_store(act + (size_t)r * n + c, &y);
        slice_store(pa + c, &b);
        slice_store(pb + c, &a);
    }
}

extern "C" void loci_gpu_swiglu_bwd(loci_gpu *g, loci_bf16 *gu, loci_bf16 *act,
                                    const loci_bf16 *dact, int rows, int n)
{
    if (rows == 0) return;
    swiglu_bwd<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)gu, (bf16 *)act,
                                                                   (const bf16 *)dact, rows, n);
    gpu_launched(g, "swiglu_bwd");
}

__global__ void silu(bf16 *y, const bf16 *x, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = __bfloat162float(x[i]);
    y[i] = __float2bfloat16(v * sigmoid(v));
}

__global__ void silu_bwd(bf16 *x, const bf16 *dy, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = __bfloat162float(x[i]), s = sigmoid(v);
    x[i] = __float2bfloat16(__bfloat162float(dy[i]) * s * (1.0f + v * (1.0f - s)));
}

extern "C" void loci_gpu_silu(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, size_t n)
{
    if (n == 0) return;
    silu<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)y, (const bf16 *)x, n);
    gpu_launched(g, "silu");
}

extern "C" void loci_gpu_silu_bwd(loci_gpu *g, loci_bf16 *x, const loci_bf16 *dy, size_t n)
{
    if (n == 0) return;
    silu_bwd<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)x, (const bf16 *)dy, n);
    gpu_launched(g, "silu_bwd");
}

/* ---- unit rows of 128 --------------------------------------------------------------------------------- */

__global__ void unit(bf16 *x, float *inv, int rows)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    bf16 *p = x + (size_t)r * 128 + 4 * lane;
    const float2 a = get2(p), b = get2(p + 2);
    const float norm = sqrtf(warp_sum(a.x * a.x + a.y * a.y + b.x * b.x + b.y * b.y));
    const float f = 1.0f / fmaxf(norm, 1e-12f);
    put2(p, a.x * f, a.y * f);
    put2(p + 2, b.x * f, b.y * f);
    if (lane == 0) inv[r] = f;
}

extern "C" void loci_gpu_unit(loci_gpu *g, loci_bf16 *x, float *inv, int rows)
{
    if (rows == 0) return;
    unit<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)x, inv, rows);
    gpu_launched(g, "unit");
}

__global__ void unit_bwd(bf16 *dx, float *along_out, const float *dy, const bf16 *y,
                         const float *inv, int rows)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    const size_t at = (size_t)r * 128 + 4 * lane;
    const float2 a = get2(y + at), b = get2(y + at + 2), da = get2(dy + at), db = get2(dy + at + 2);
    const float along = warp_sum(a.x * da.x + a.y * da.y + b.x * db.x + b.y * db.y), f = inv[r];
    if (lane == 0 && along_out) along_out[r] = along;
    put2(dx + at, f * (da.x - a.x * along), f * (da.y - a.y * along));
    put2(dx + at + 2, f * (db.x - b.x * along), f * (db.y - b.y * along));
}

extern "C" void loci_gpu_unit_bwd(loci_gpu *g, loci_bf16 *dx, float *along, const float *dy,
                                  const loci_bf16 *y, const float *inv, int rows)
{
    if (rows == 0) return;
    unit_bwd<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)dx, along, dy,
                                                                 (const bf16 *)y, inv, rows);
    gpu_launched(g, "unit_bwd");
}

/* ---- heads: norm and rotation ---------------------------------------------------------------------------- */

/* Eight lanes a head; lane l holds numbers 8 l .. 8 l + 7: pairs 4 l .. 4 l + 3. */
__device__ __forceinline__ float eight_sum(float x)
{
    const unsigned mask = 0xffu << (threadIdx.x & 24);
    x += __shfl_xor_sync(mask, x, 1);
    x += __shfl_xor_sync(mask, x, 2);
    return x + __shfl_xor_sync(mask, x, 4);
}

/* Rotate by +-angle; whole turns are taken off in double, so that late positions stay exact. */
__device__ __forceinline__ void rotate(slice *s, int32_t pos, const double *frequency, int first,
                                       float dir)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const double turns = (double)pos * frequency[first + i] * 0.15915494309189533577;
        float sn, cs;
        sincospif((float)(2.0 * (turns - floor(turns))), &sn, &cs);
        sn *= dir;
        const float a = s->x[2 * i], b = s->x[2 * i + 1];
        s->x[2 * i] = a * cs - b * sn;
        s->x[2 * i + 1] = a * sn + b * cs;
    }
}

__global__ void norm_rope(bf16 *x, int ldx, float *inv, const int32_t *pos, const double *frequency,
                          int heads, int rows, float eps)
{
    const int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) >> 3;
    const int l = threadIdx.x & 7;
    if (at >= (int64_t)rows * heads) return;
    const int r = (int)(at / heads), h = (int)(at % heads);
    bf16 *p = x + (size_t)r * ldx + h * 64 + l * 8;
    slice s = slice_load(p);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += s.x[i] * s.x[i];
    const float f = rsqrtf(eight_sum(sum) / 64.0f + eps);
#pragma unroll
    for (int i = 0; i < 8; i++) s.x[i] *= f;
    if (pos) rotate(&s, pos[r], frequency, l * 4, 1.0f);
    slice_store(p, &s);
    if (l == 0) inv[at] = f;
}

extern "C" void loci_gpu_norm_rope(loci_gpu *g, loci_bf16 *x, int ldx, float *inv,
                                   const int32_t *pos, const double *frequency, int heads, int rows,
                                   float eps)
{
    if (rows == 0) return;
    norm_rope<<<gpu_blocks((size_t)rows * heads * 8, 256), 256, 0, g->stream>>>((bf16 *)x, ldx, inv,
                                                                                pos, frequency,
                                                                                heads, rows, eps);
    gpu_launched(g, "norm_rope");
}

__global__ void norm_rope_bwd(bf16 *d, int ldd, const bf16 *y, int ldy, const float *inv,
                              const int32_t *pos, const double *frequency, int heads, int rows)
{
    const int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) >> 3;
    const int l = threadIdx.x & 7;
    if (at >= (int64_t)rows * heads) return;
    const int r = (int)(at / heads), h = (int)(at % heads);
    bf16 *p = d + (size_t)r * ldd + h * 64 + l * 8;
    slice s = slice_load(p);
    const slice v = slice_load(y + (size_t)r * ldy + h * 64 + l * 8);
    float along = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) along += s.x[i] * v.x[i];
    along = eight_sum(along) / 64.0f;
    const float f = inv[at];
#pragma unroll
    for (int i = 0; i < 8; i++) s.x[i] = f * (s.x[i] - v.x[i] * along);
    if (pos) rotate(&s, pos[r], frequency, l * 4, -1.0f);
    slice_store(p, &s);
}

extern "C" void loci_gpu_norm_rope_bwd(loci_gpu *g, loci_bf16 *d, int ldd, const loci_bf16 *y,
                                       int ldy, const float *inv, const int32_t *pos,
                                       const double *frequency, int heads, int rows)
{
    if (rows == 0) return;
    norm_rope_bwd<<<gpu_blocks((size_t)rows * heads * 8, 256), 256, 0, g->stream>>>((bf16 *)d, ldd,
                                                                                    (const bf16 *)y,
                                                                                    ldy, inv, pos,
                                                                                    frequency,
                                                                                    heads, rows);
    gpu_launched(g, "norm_rope_bwd");
}

/* ---- the gate of a Read block ------------------------------------------------------------------------------- */

__global__ void gate_forward(float *soft, float *gate, float *stat, const bf16 *x, const float *w,
                             const float *b, int rows, int cols, const int32_t *own_lo,
                             const int32_t *own_hi, float open, bool hard)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    float sum = 0.0f;
    for (int c = 2 * lane; c < cols; c += 64) {
        const float2 v = get2(x + (size_t)r * cols + c);
        sum += v.x * w[c] + v.y * w[c + 1];
    }
    const float s = 1.0f / (1.0f + expf(-(warp_sum(sum) + *b))), opened = s > open ? 1.0f : 0.0f;
    if (lane != 0) return;
    soft[r] = s;
    gate[r] = hard ? opened : s;
    if (!stat || own_lo[r] >= own_hi[r]) return;
    stat[(size_t)LOCI_STAT_GATE * rows + r] += gate[r];
    stat[(size_t)LOCI_STAT_CONSULTED * rows + r] += opened;
    stat[(size_t)LOCI_STAT_PAIRS * rows + r] += 1.0f;
}

extern "C" void loci_gpu_gate(loci_gpu *g, float *soft, float *gate, float *stat,
                              const loci_bf16 *x, const float *w, const float *b, int rows,
                              int cols, const int32_t *own_lo, const int32_t *own_hi, float open,
                              bool hard)
{
    if (rows == 0) return;
    gate_forward<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>(soft, gate, stat,
                                                                     (const bf16 *)x, w, b, rows,
                                                                     cols, own_lo, own_hi, open,
                                                                     hard);
    gpu_launched(g, "gate");
}

__global__ void scale_rows(bf16 *y, const bf16 *x, const float *gate, size_t pairs, int cols)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pairs) return;
    const float f = gate[2 * i / cols];
    const float2 v = get2(x + 2 * i);
    put2(y + 2 * i, v.x * f, v.y * f);
}

extern "C" void loci_gpu_scale_rows(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x,
                                    const float *gate, int rows, int cols)
{
    const size_t pairs = (size_t)rows * cols / 2;
    if (pairs == 0) return;
    scale_rows<<<gpu_blocks(pairs, 256), 256, 0, g->stream>>>((bf16 *)y, (const bf16 *)x, gate,
                                                              pairs, cols);
    gpu_launched(g, "scale_rows");
}

__global__ void gate_bwd(bf16 *d, bf16 *go, float *dz, const bf16 *o, const float *soft,
                         const float *gate, const int32_t *own_lo, const int32_t *own_hi,
                         float cost, const float *regret, float k, int rows, int cols)
{
    const int r = warp_row(), lane = threadIdx.x & 31;
    if (r >= rows) return;
    const size_t at = (size_t)r * cols;
    const float f = gate[r];
    float along = 0.0f;
    for (int c = 2 * lane; c < cols; c += 64) {
        const float2 v = get2(o + at + c), e = get2(d + at + c);
        along += v.x * e.x + v.y * e.y;
        put2(go + at + c, f * v.x, f * v.y);
        put2(d + at + c, f * e.x, f * e.y);
    }
    along = warp_sum(along);
    if (lane != 0) return;
    along += own_lo[r] < own_hi[r] ? cost : 0.0f;
    if (regret) along -= k * regret[r];
    dz[r] = along * soft[r] * (1.0f - soft[r]);
}

extern "C" void loci_gpu_gate_bwd(loci_gpu *g, loci_bf16 *d, loci_bf16 *go, float *dz,
                                  const loci_bf16 *o, const float *soft, const float *gate,
                                  const int32_t *own_lo, const int32_t *own_hi, float cost,
                                  const float *regret, float k, int rows, int cols)
{
    if (rows == 0) return;
    gate_bwd<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>((bf16 *)d, (bf16 *)go, dz,
                                                                 (const bf16 *)o, soft, gate,
                                                                 own_lo, own_hi, cost, regret, k,
                                                                 rows, cols);
    gpu_launched(g, "gate_bwd");
}

__global__ void regret(loci_gpu_regrets j)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.n) return;
    const int r = j.row[i];
    if (j.own_lo[r] >= j.own_hi[r]) return;
    const float more = fmaxf(j.without[i] - j.with[i], 0.0f);
    float closed = 0.0f;
    for (int g = 0; g < j.groups; g++) closed += 1.0f - j.gate[g][r];
    j.regret[r] = more;
    j.stat[(size_t)LOCI_STAT_GAIN * j.rows + r] += more;
    j.stat[(size_t)LOCI_STAT_REGRET * j.rows + r] += more * closed / (float)j.groups;
}

extern "C" void loci_gpu_regret(loci_gpu *g, const loci_gpu_regrets *j)
{
    if (j->n == 0) return;
    regret<<<gpu_blocks(j->n, 256), 256, 0, g->stream>>>(*j);
    gpu_launched(g, "regret");
}
