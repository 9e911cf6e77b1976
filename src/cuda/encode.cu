/* encode.cu - rows of the chunk encoder: where tokens lie in their chunks, what leaves them.
 *
 * Chunk c has 66 rows from row 66 c on: two extra vectors, then its tokens, then pads, so that the rows
 * which attend to each other are one range.  token_row (n_chunks*64) says which token a place holds,
 * -1 for a pad; pads are zero rows and nothing flows through them. */
#include "gpu_impl.h"
#include "mma.cuh"

enum { EXTRA = 2, CHUNK = 64, ROWS = CHUNK + EXTRA };

__global__ void place(float *z, const bf16 *in, const float *pos, const float *cls,
                      const int32_t *token_row, size_t n, int e)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int col = (int)(i % e), c = (int)(i / e / ROWS), j = (int)(i / e % ROWS);
    float v = 0.0f;
    if (j < EXTRA) {
        v = cls[j * e + col];
    } else {
        const int t = token_row[c * CHUNK + j - EXTRA];
        if (t >= 0) v = __bfloat162float(in[(size_t)t * e + col]) + pos[(j - EXTRA) * e + col];
    }
    z[i] = v;
}

extern "C" void loci_gpu_place(loci_gpu *g, float *z, const loci_bf16 *in, const float *pos,
                               const float *cls, const int32_t *token_row, int n_chunks, int e)
{
    const size_t n = (size_t)n_chunks * ROWS * e;
    if (n == 0) return;
    place<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(z, (const bf16 *)in, pos, cls, token_row, n,
                                                     e);
    gpu_launched(g, "place");
}

__global__ void unplace(bf16 *din, const bf16 *dz, const int32_t *token_row, size_t n, int e)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int col = (int)(i % e), place = (int)(i / e), t = token_row[place];
    if (t >= 0)
        din[(size_t)t * e + col] =
            dz[((size_t)(place / CHUNK) * ROWS + EXTRA + place % CHUNK) * e + col];
}

extern "C" void loci_gpu_unplace(loci_gpu *g, loci_bf16 *din, const loci_bf16 *dz,
                                 const int32_t *token_row, int n_chunks, int e)
{
    const size_t n = (size_t)n_chunks * CHUNK * e;
    if (n == 0) return;
    unplace<<<gpu_blocks(n, 256), 256, 0, g->stream>>>((bf16 *)din, (const bf16 *)dz, token_row, n,
                                                       e);
    gpu_launched(g, "unplace");
}

/* A warp a place. */
__global__ void cat_rows(bf16 *cat, float *inv, const bf16 *x, const float *z,
                         const int32_t *token_row, int places, int D, int e, float eps)
{
    const int p = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (p >= places) return;
    const int t = token_row[p];
    bf16 *out = cat + (size_t)p * (D + e);
    const float *row = z + ((size_t)(p / CHUNK) * ROWS + EXTRA + p % CHUNK) * e;
    float sum = 0.0f;
    for (int c = lane; c < e; c += 32) sum += row[c] * row[c];
    const float f = t < 0 ? 0.0f : rsqrtf(warp_sum(sum) / (float)e + eps);
    for (int c = lane; c < D; c += 32)
        out[c] = t < 0 ? __float2bfloat16(0.0f) : x[(size_t)t * D + c];
    for (int c = lane; c < e; c += 32) out[D + c] = __float2bfloat16(row[c] * f);
    if (lane == 0) inv[p] = f;
}

extern "C" void loci_gpu_cat(loci_gpu *g, loci_bf16 *cat, float *inv, const loci_bf16 *x,
                             const float *z, const int32_t *token_row, int n_chunks, int D, int e,
                             float eps)
{
    if (n_chunks == 0) return;
    cat_rows<<<gpu_blocks((size_t)n_chunks * CHUNK, 8), 256, 0, g->stream>>>((bf16 *)cat, inv,
                                                                             (const bf16 *)x, z,
                                                                             token_row,
                                                                             n_chunks * CHUNK, D, e,
                                                                             eps);
    gpu_launched(g, "cat");
}

__global__ void uncat_rows(float *dz, bf16 *dx, const bf16 *dcat, const bf16 *cat, const float *inv,
                           const int32_t *token_row, int places, int D, int e)
{
    const int p = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (p >= places) return;
    const int t = token_row[p];
    const bf16 *d = dcat + (size_t)p * (D + e), *y = cat + (size_t)p * (D + e) + D;
    float *row = dz + ((size_t)(p / CHUNK) * ROWS + EXTRA + p % CHUNK) * e, along = 0.0f;
    for (int c = lane; c < e; c += 32) along += __bfloat162float(d[D + c]) * __bfloat162float(y[c]);
    along = warp_sum(along) / (float)e;
    for (int c = lane; c < e; c += 32)
        row[c] = inv[p] * (__bfloat162float(d[D + c]) -
                           __bfloat162float(y[c]) * along); /* inv of pads is 0 */
    if (t < 0) return;
    for (int c = lane; c < D; c += 32) dx[(size_t)t * D + c] = d[c];
}

extern "C" void loci_gpu_uncat(loci_gpu *g, float *dz, loci_bf16 *dx, const loci_bf16 *dcat,
                               const loci_bf16 *cat, const float *inv, const int32_t *token_row,
                               int n_chunks, int D, int e)
{
    if (n_chunks == 0) return;
    uncat_rows<<<gpu_blocks((size_t)n_chunks * CHUNK, 8), 256, 0, g->stream>>>(dz, (bf16 *)dx,
                                                                               (const bf16 *)dcat,
                                                                               (const bf16 *)cat,
                                                                               inv, token_row,
                                                                               n_chunks * CHUNK, D,
                                                                               e);
    gpu_launched(g, "uncat");
}

/* A warp a chunk. */
__global__ void summary(bf16 *cls, float *bias, const float *z, const float *w, const float *b,
                        int n_chunks, int e)
{
    const int c = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (c >= n_chunks) return;
    const float *row = z + (size_t)c * ROWS * e;
    float sum = 0.0f;
    for (int i = lane; i < EXTRA * e; i += 32) {
        cls[(size_t)c * EXTRA * e + i] = __float2bfloat16(row[i]);
        sum += row[i] * w[i];
    }
    sum = warp_sum(sum);
    if (lane == 0) bias[c] = sum + *b;
}

extern "C" void loci_gpu_summary(loci_gpu *g, loci_bf16 *cls, float *bias, const float *z,
                                 const float *w, const float *b, int n_chunks, int e)
{
    if (n_chunks == 0) return;
    summary<<<gpu_blocks(n_chunks, 8), 256, 0, g->stream>>>((bf16 *)cls, bias, z, w, b, n_chunks,
                                                            e);
    gpu_launched(g, "summary");
}

__global__ void unsummary(float *dz, const bf16 *dcls, const float *dbias, const float *w, size_t n,
                          int e)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const size_t c = i / (EXTRA * e), at = i % (EXTRA * e);
    dz[c * ROWS * e + at] = __bfloat162float(dcls[i]) + dbias[c] * w[at];
}

extern "C" void loci_gpu_unsummary(loci_gpu *g, float *dz, const loci_bf16 *dcls,
                                   const float *dbias, const float *w, int n_chunks, int e)
{
    const size_t n = (size_t)n_chunks * EXTRA * e;
    if (n == 0) return;
    unsummary<<<gpu_blocks(n, 256), 256, 0, g->stream>>>(dz, (const bf16 *)dcls, dbias, w, n, e);
    gpu_launched(g, "unsummary");
}
