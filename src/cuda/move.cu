/* move.cu - rows that change places, and sums over rows.
 *
 * Sums are cut into a number of parts that depends on the shape alone, and the parts are added in
 * their order. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { WARPS = 8, THREADS = WARPS * 32 };

__global__ void gather_rows(float *out, const float *x, const int32_t *index, size_t n, int cols)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int32_t from = index[i / cols];
    out[i] = from < 0 ? 0.0f : x[(size_t)from * cols + i % cols];
}

__global__ void scatter_rows(float *x, const float *in, const int32_t *index, size_t n, int cols)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int32_t to = index[i / cols];
    if (to >= 0) x[(size_t)to * cols + i % cols] = in[i];
}

extern "C" void loci_gpu_gather(loci_gpu *g, float *out, const float *x, const int32_t *index,
                                int rows, int cols)
{
    const size_t n = (size_t)rows * cols;
    if (n == 0) return;
    gather_rows<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(out, x, index, n, cols);
    gpu_launched(g, "gather");
}

extern "C" void loci_gpu_scatter(loci_gpu *g, float *x, const float *in, const int32_t *index,
                                 int rows, int cols)
{
    const size_t n = (size_t)rows * cols;
    if (n == 0) return;
    scatter_rows<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(x, in, index, n, cols);
    gpu_launched(g, "scatter");
}

/* ---- embedding -------------------------------------------------------------------------------- */

__global__ void embed(float *x, float *inv, const float *table, const int32_t *ids, int rows,
                      int cols, float eps)
{
    const int r = blockIdx.x * WARPS + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (r >= rows) return;
    const float *in = table + (size_t)ids[r] * cols;
    float sum = 0.0f;
    for (int c = lane; c < cols; c += 32) sum += in[c] * in[c];
    const float f = rsqrtf(warp_sum(sum) / (float)cols + eps);
    for (int c = lane; c < cols; c += 32) x[(size_t)r * cols + c] = in[c] * f;
    if (lane == 0) inv[r] = f;
}

extern "C" void loci_gpu_embed(loci_gpu *g, float *x, float *inv, const float *table,
                               const int32_t *ids, int rows, int cols, float eps)
{
    if (rows == 0) return;
    embed<<<gpu_blocks(rows, WARPS), THREADS, 0, g->stream>>>(x, inv, table, ids, rows, cols, eps);
    gpu_launched(g, "embed");
}

/* One block a piece: the gradients of its rows through the norm, summed. */
__global__ void embed_piece(loci_gpu_embed_grad j)
{
    extern __shared__ float sum[]; /* (WARPS, cols) */
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    for (int c = threadIdx.x; c < WARPS * j.cols; c += THREADS) sum[c] = 0.0f;
    __syncthreads();
    for (int i = j.piece_start[blockIdx.x] + warp; i < j.piece_start[blockIdx.x + 1]; i += WARPS) {
        const int r = j.order[i];
        const float *dx = j.dx + (size_t)r * j.cols, *x = j.x + (size_t)r * j.cols;
        float along = 0.0f;
        for (int c = lane; c < j.cols; c += 32) along += dx[c] * x[c];
        along = warp_sum(along) / (float)j.cols;
        for (int c = lane; c < j.cols; c += 32)
            sum[warp * j.cols + c] += j.inv[r] * (dx[c] - x[c] * along);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < j.cols; c += THREADS) {
        float all = 0.0f;
        for (int w = 0; w < WARPS; w++) all += sum[w * j.cols + c];
        j.partial[(size_t)blockIdx.x * j.cols + c] = all;
    }
}

__global__ void embed_add(loci_gpu_embed_grad j)
{
    float *out = j.dtable + (size_t)j.id[blockIdx.x] * j.cols;
    for (int c = threadIdx.x; c < j.cols; c += blockDim.x) {
        float all = 0.0f;
        for (int p = j.id_piece[blockIdx.x]; p < j.id_piece[blockIdx.x + 1]; p++)
            all += j.partial[(size_t)p * j.cols + c];
        out[c] += all;
    }
}

extern "C" void loci_gpu_embed_bwd(loci_gpu *g, const loci_gpu_embed_grad *job)
{
    if (job->n_pieces == 0) return;
    gpu_shared(g, (const void *)embed_piece, sizeof(float) * WARPS * job->cols);
    embed_piece<<<job->n_pieces, THREADS, sizeof(float) * WARPS * job->cols, g->stream>>>(*job);
    embed_add<<<job->n_ids, 128, 0, g->stream>>>(*job);
    gpu_launched(g, "embed_bwd");
}

/* ---- sums --------------------------------------------------------------------------------------- */

/* Part s of the sum over rows r = period k + phase; one thread a column. */
__global__ void column_part(float *partial, const bf16 *x, int ldx, const float *a, int rows,
                            int cols, int period)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x, part = blockIdx.y, phase = blockIdx.z;
    const int n = (rows - phase + period - 1) / period, per = (n + gridDim.y - 1) / gridDim.y;
    if (c >= cols) return;
    float sum = 0.0f;
    for (int i = part * per; i < n && i < (part + 1) * per; i++) {
        const int r = i * period + phase;
        const float v = __bfloat162float(x[(size_t)r * ldx + c]);
        sum += a ? a[r] * v : v;
    }
    partial[((size_t)part * period + phase) * cols + c] = sum;
}

__global__ void sum_parts(float *out, const float *part, int parts, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0.0f;
    for (int p = 0; p < parts; p++) sum += part[(size_t)p * n + i];
    out[i] += sum;
}

extern "C" void loci_gpu_sum_parts(loci_gpu *g, float *out, const float *part, int parts, size_t n)
{
    if (n == 0 || parts == 0) return;
    sum_parts<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(out, part, parts, n);
    gpu_launched(g, "sum_parts");
}

extern "C" void loci_gpu_column_sum(loci_gpu *g, float *out, float *partial, const loci_bf16 *x,
                                    int ldx, const float *a, int rows, int cols, int period)
{
    if (rows == 0 || cols == 0) return;
    const int p = period > 0 ? period : 1, n = (rows + p - 1) / p;
    const int parts = n < LOCI_GPU_SPLITS ? n : LOCI_GPU_SPLITS;
    column_part<<<dim3(gpu_blocks(cols, 128), parts, p), 128, 0, g->stream>>>(partial,
                                                                              (const bf16 *)x, ldx,
                                                                              a, rows, cols, p);
    loci_gpu_sum_parts(g, out, partial, parts, (size_t)p * cols);
}

__global__ void sum_rows(double *sums, const float *x, int n)
{
    __shared__ double part[1024];
    const float *row = x + (size_t)blockIdx.x * n;
    double sum = 0.0;
    for (int i = threadIdx.x; i < n; i += 1024) sum += (double)row[i];
    part[threadIdx.x] = sum;
    for (int s = 512; s > 0; s >>= 1) {
        __syncthreads();
        if ((int)threadIdx.x < s) part[threadIdx.x] += part[threadIdx.x + s];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] += part[0];
}

extern "C" void loci_gpu_sum_rows(loci_gpu *g, double *sums, const float *x, int n_sums, int n)
{
    if (n_sums == 0) return;
    sum_rows<<<n_sums, 1024, 0, g->stream>>>(sums, x, n);
    gpu_launched(g, "sum_rows");
}

__global__ void axpy(float *y, const float *x, float a, size_t n)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}

extern "C" void loci_gpu_axpy(loci_gpu *g, float *y, const float *x, float a, size_t n)
{
    if (n == 0) return;
    axpy<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(y, x, a, n);
    gpu_launched(g, "axpy");
}
