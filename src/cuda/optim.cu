/* optim.cu - norm of the gradient, AdamW, Muon; everything stays on the device.
 *
 * Both optimisers read the norm where it lies: gscale = min(1, clip / norm), and a norm that is not
 * finite turns the step into nothing but clearing the gradients. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { PARTS = 1024 };

__global__ void square_part(double *partial, const float *g, size_t n)
{
    __shared__ double sum[256];
    double s = 0.0;
    for (size_t i = (size_t)blockIdx.x * 256 + threadIdx.x; i < n; i += (size_t)PARTS * 256)
        s += (double)g[i] * g[i];
    sum[threadIdx.x] = s;
    for (int k = 128; k > 0; k >>= 1) {
        __syncthreads();
        if ((int)threadIdx.x < k) sum[threadIdx.x] += sum[threadIdx.x + k];
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = sum[0];
}

__global__ void square_root(double *norm, const double *partial)
{
    __shared__ double sum[PARTS];
    sum[threadIdx.x] = partial[threadIdx.x];
    for (int k = PARTS / 2; k > 0; k >>= 1) {
        __syncthreads();
        if ((int)threadIdx.x < k) sum[threadIdx.x] += sum[threadIdx.x + k];
    }
    if (threadIdx.x == 0) *norm = sqrt(sum[0]);
}

extern "C" void loci_gpu_norm(loci_gpu *g, double *norm, double *partial, const float *grad,
                              size_t n)
{
    square_part<<<PARTS, 256, 0, g->stream>>>(partial, grad, n);
    square_root<<<1, PARTS, 0, g->stream>>>(norm, partial);
    gpu_launched(g, "norm");
}

__device__ __forceinline__ bool scale_of(const double *norm, float clip, float *scale)
{
    const double n = *norm;
    *scale = n > (double)clip ? (float)((double)clip / n) : 1.0f;
    return isfinite(n);
}

__global__ void adamw(loci_gpu_adamw_job j)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.n) return;
    float scale;
    const bool step = scale_of(j.norm, j.clip, &scale);
    float p = j.p[i];
    if (step && !j.muon[i / 16]) {
        const float g = j.grad[i] * scale, m = j.b1 * j.m[i] + (1.0f - j.b1) * g,
                    v = j.b2 * j.v[i] + (1.0f - j.b2) * g * g;
        const float wd = j.decay[i / 16] ? j.wd : 0.0f;
        p -= j.lr * ((m / j.c1) / (sqrtf(v / j.c2) + j.eps) + wd * p);
        j.m[i] = m;
        j.v[i] = v;
        j.p[i] = p;
    }
    ((bf16 *)j.copy)[i] = __float2bfloat16(p);
    j.grad[i] = 0.0f;
}

extern "C" void loci_gpu_adamw(loci_gpu *g, const loci_gpu_adamw_job *job)
{
    adamw<<<gpu_blocks(job->n, 256), 256, 0, g->stream>>>(*job);
    gpu_launched(g, "adamw");
}

/* ---- Muon ------------------------------------------------------------------------------------ */

enum { SQUARES = 64 }; /* partial sums a matrix */
#define MOMENTUM 0.9f
__device__ static const float quintic[3] = { 3.4445f, -4.7750f, 2.0315f };

/* Momentum, and the squares of u. */
__global__ void muon_moment(loci_gpu_muon_job j)
{
    __shared__ float sum[256];
    const int64_t at = j.offset[blockIdx.y];
    const size_t n = (size_t)j.rows * j.cols;
    float scale, s = 0.0f;
    const bool step = scale_of(j.norm, j.clip, &scale);
    for (size_t i = (size_t)blockIdx.x * 256 + threadIdx.x; step && i < n; i += SQUARES * 256) {
        const float g = j.grad[at + i] * scale, m = MOMENTUM * j.m[at + i] + (1.0f - MOMENTUM) * g;
        const float u = (1.0f - MOMENTUM) * g + MOMENTUM * m;
        j.m[at + i] = m;
        s += u * u;
    }
    sum[threadIdx.x] = s;
    for (int k = 128; k > 0; k >>= 1) {
        __syncthreads();
        if ((int)threadIdx.x < k) sum[threadIdx.x] += sum[threadIdx.x + k];
    }
    if (threadIdx.x == 0) j.square[blockIdx.y * SQUARES + blockIdx.x] = sum[0];
}

/* x = u / |u|, lying on its short side. */
__global__ void muon_start(loci_gpu_muon_job j)
{
    const int64_t at = j.offset[blockIdx.y];
    const size_t n = (size_t)j.rows * j.cols, i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    float scale, square = 0.0f;
    scale_of(j.norm, j.clip, &scale);
    for (int k = 0; k < SQUARES; k++) square += j.square[blockIdx.y * SQUARES + k];
    const float u = (1.0f - MOMENTUM) * j.grad[at + i] * scale + MOMENTUM * j.m[at + i];
    const size_t r = i / j.cols, c = i % j.cols, to = j.rows > j.cols ? c * j.rows + r : i;
    ((bf16 *)j.x)[blockIdx.y * n + to] = __float2bfloat16(u / (sqrtf(square) + 1e-7f));
}

/* b = q0 + q1 a + q2 b for (batch, k, k). */
__global__ void muon_polynomial(bf16 *b, const bf16 *a, size_t n, int k)
{
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    const int at = (int)(i % ((size_t)k * k));
    const float v = quintic[1] * __bfloat162float(a[i]) + quintic[2] * __bfloat162float(b[i]);
    b[i] = __float2bfloat16(v + (at / k == at % k ? quintic[0] : 0.0f));
}

__global__ void muon_step(loci_gpu_muon_job j, const bf16 *x, float step)
{
    const int64_t at = j.offset[blockIdx.y];
    const size_t n = (size_t)j.rows * j.cols, i = (size_t)blockIdx.x * 256 + threadIdx.x;
    float scale;
    if (i >= n || !scale_of(j.norm, j.clip, &scale)) return;
    const size_t r = i / j.cols, c = i % j.cols, from = j.rows > j.cols ? c * j.rows + r : i;
    const float p = j.p[at + i];
    j.p[at + i] = p - (j.decay * p + step * __bfloat162float(x[blockIdx.y * n + from]));
}

extern "C" void loci_gpu_muon(loci_gpu *g, const loci_gpu_muon_job *j)
{
    if (j->batch == 0) return;
    const int k = j->rows < j->cols ? j->rows : j->cols, c = j->rows < j->cols ? j->cols : j->rows;
    const size_t n = (size_t)j->rows * j->cols, kk = (size_t)k * k;
    const dim3 each(gpu_blocks(n, 256), j->batch);
    muon_moment<<<dim3(SQUARES, j->batch), 256, 0, g->stream>>>(*j);
    muon_start<<<each, 256, 0, g->stream>>>(*j);
    loci_bf16 *x = j->x, *next = j->next;
    for (int s = 0; s < 5; s++) {
        const loci_gpu_gemm_job square = { j->a,       x,          x,          k,     c,
                                           c,          0,          1,          k,     k,
                                           c,          1.0f,       0.0f,       false, j->batch,
                                           (int64_t)n, (int64_t)n, (int64_t)kk };
        const loci_gpu_gemm_job fourth = { j->b,        j->a,        j->a,       k,     k,
                                           k,           0,           0,          k,     k,
                                           k,           1.0f,        0.0f,       false, j->batch,
                                           (int64_t)kk, (int64_t)kk, (int64_t)kk };
        const loci_gpu_gemm_job apply = {
            next, j->b, x,    c,    k,     c,        0,           0,          k,
            c,    k,    1.0f, 0.0f, false, j->batch, (int64_t)kk, (int64_t)n, (int64_t)n
        };
        loci_gpu_gemm(g, &square);
        loci_gpu_gemm(g, &fourth);
        muon_polynomial<<<gpu_blocks(kk * j->batch, 256), 256, 0, g->stream>>>((bf16 *)j->b,
                                                                               (const bf16 *)j->a,
                                                                               kk * j->batch, k);
        loci_gpu_gemm(g, &apply);
        loci_bf16 *swap = x;
        x = next;
        next = swap;
    }
    const float step = j->lr * sqrtf(j->rows > j->cols ? (float)j->rows / (float)j->cols : 1.0f);
    muon_step<<<each, 256, 0, g->stream>>>(*j, (const bf16 *)x, step);
    gpu_launched(g, "muon");
}
