/* runtime.cu - the device: opening, memory, copies, the error that is remembered. */
#include "gpu_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gemm_plan;
void gemm_plans_free(loci_gpu *g); /* gemm.cu */
bool gemm_plans_alloc(loci_gpu *g);

void gpu_fail(loci_gpu *g, const char *what, const char *why)
{
    if (g->error.code != LOCI_OK) return;
    loci_fail(&g->error, LOCI_EIO, "GPU: %s: %s", what, why);
}

static bool good(loci_gpu *g, cudaError_t e, const char *what)
{
    if (e == cudaSuccess) return true;
    gpu_fail(g, what, cudaGetErrorString(e));
    return false;
}

extern "C" bool loci_gpu_built(void)
{
    return true;
}

extern "C" loci_status loci_gpu_open(loci_gpu **out, int device, loci_error *err)
{
    *out = NULL;
    int n = 0;
    const cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || device < 0 || device >= n)
        return loci_fail(err, LOCI_ENOTFOUND, "CUDA device %d: %s", device,
                         e != cudaSuccess ? cudaGetErrorString(e) : "there is no such device");
    loci_gpu *g = (loci_gpu *)calloc(1, sizeof *g);
    if (!g) return loci_fail(err, LOCI_ENOMEM, "no memory for a GPU handle");
    cudaDeviceProp p;
    g->device = device;
    bool ok = good(g, cudaSetDevice(device), "set device") &&
              good(g, cudaGetDeviceProperties(&p, device), "properties");
    if (ok && p.major < 8) {
        gpu_fail(g, p.name, "compute capability below 8.0");
        ok = false;
    }
    if (ok) snprintf(g->name, sizeof g->name, "%s", p.name);
    ok = ok && good(g, cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "stream") &&
         good(g, cudaMalloc(&g->workspace, GPU_WORKSPACE), "workspace");
    for (int i = 0; ok && i < GPU_MARKS; i++) ok = good(g, cudaEventCreate(&g->mark[i]), "event");
    if (ok && cublasLtCreate(&g->blas) != CUBLAS_STATUS_SUCCESS) {
        gpu_fail(g, "cuBLASLt", "could not be started");
        ok = false;
    }
    if (ok && !gemm_plans_alloc(g)) ok = false;
    if (!ok) {
        const loci_error why = g->error;
        loci_gpu_close(g);
        return loci_fail(err, why.code != LOCI_OK ? why.code : LOCI_ENOMEM, "%s", why.text);
    }
    *out = g;
    return LOCI_OK;
}

extern "C" void loci_gpu_close(loci_gpu *g)
{
    if (!g) return;
    if (g->stream) cudaStreamSynchronize(g->stream);
    gemm_plans_free(g);
    if (g->blas) cublasLtDestroy(g->blas);
    for (int i = 0; i < GPU_MARKS; i++)
        if (g->mark[i]) cudaEventDestroy(g->mark[i]);
    cudaFree(g->workspace);
    if (g->stream) cudaStreamDestroy(g->stream);
    free(g);
}

extern "C" void loci_gpu_use(loci_gpu *g)
{
    good(g, cudaSetDevice(g->device), "set device");
}

extern "C" const char *loci_gpu_name(const loci_gpu *g)
{
    return g->name;
}

extern "C" size_t loci_gpu_memory(const loci_gpu *g)
{
    size_t free_bytes = 0, total = 0;
    (void)g;
    return cudaMemGetInfo(&free_bytes, &total) == cudaSuccess ? free_bytes : 0;
}

extern "C" loci_status loci_gpu_status(loci_gpu *g, loci_error *err)
{
    good(g, cudaStreamSynchronize(g->stream), "work");
    if (g->error.code == LOCI_OK) return LOCI_OK;
    return loci_fail(err, g->error.code, "%s", g->error.text);
}

extern "C" void *loci_gpu_alloc(loci_gpu *g, size_t bytes)
{
    void *p = NULL;
    cudaSetDevice(g->device); /* the caller may be a thread that has not asked for it yet */
    const cudaError_t e = cudaMalloc(&p, bytes ? bytes : 256);
    if (e == cudaSuccess) return p;
    cudaGetLastError();
    if (g->error.code == LOCI_OK)
        loci_fail(&g->error, LOCI_ENOMEM, "GPU: no memory for %zu MiB (%zu MiB are free)",
                  bytes >> 20, loci_gpu_memory(g) >> 20);
    return NULL;
}

extern "C" void loci_gpu_free(loci_gpu *g, void *p)
{
    if (!p) return;
    cudaStreamSynchronize(g->stream);
    cudaFree(p);
}

extern "C" void *loci_gpu_host_alloc(loci_gpu *g, size_t bytes)
{
    void *p = NULL;
    cudaSetDevice(g->device);
    return good(g, cudaMallocHost(&p, bytes ? bytes : 1), "pinned host memory") ? p : NULL;
}

extern "C" void loci_gpu_host_free(loci_gpu *g, void *p)
{
    if (!p) return;
    cudaStreamSynchronize(g->stream);
    cudaFreeHost(p);
}

extern "C" void loci_gpu_upload(loci_gpu *g, void *to, const void *host, size_t bytes)
{
    if (bytes)
        good(g, cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, g->stream), "upload");
}

extern "C" void loci_gpu_download(loci_gpu *g, void *host, const void *from, size_t bytes)
{
    if (bytes)
        good(g, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, g->stream), "download");
    good(g, cudaStreamSynchronize(g->stream), "download");
}

extern "C" void loci_gpu_copy(loci_gpu *g, void *to, const void *from, size_t bytes)
{
    if (bytes)
        good(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, g->stream), "copy");
}

/* Let g read peer's memory over the link between them.  Where there is none, copies go through the host. */
static void meet(loci_gpu *g, const loci_gpu *peer)
{
    if (peer->device >= 64 || g->met >> peer->device & 1) return;
    g->met |= (uint64_t)1 << peer->device;
    int may = 0;
    cudaSetDevice(g->device);
    if (cudaDeviceCanAccessPeer(&may, g->device, peer->device) != cudaSuccess || !may) return;
    cudaDeviceEnablePeerAccess(peer->device, 0);
    cudaGetLastError(); /* another handle may have done so */
}

extern "C" void loci_gpu_copy_from(loci_gpu *g, void *to, loci_gpu *peer, const void *from,
                                   size_t bytes)
{
    if (bytes == 0) return;
    if (g->device != peer->device) meet(g, peer);
    good(g, cudaMemcpyPeerAsync(to, g->device, from, peer->device, bytes, g->stream),
         "copy from another GPU");
}

extern "C" void loci_gpu_clear(loci_gpu *g, void *p, size_t bytes)
{
    if (bytes) good(g, cudaMemsetAsync(p, 0, bytes, g->stream), "clear");
}

extern "C" void loci_gpu_mark(loci_gpu *g, int mark)
{
    good(g, cudaEventRecord(g->mark[mark], g->stream), "mark");
}

extern "C" float loci_gpu_between(loci_gpu *g, int from, int to)
{
    float ms = 0.0f;
    return cudaEventElapsedTime(&ms, g->mark[from], g->mark[to]) == cudaSuccess ? ms : 0.0f;
}
