/* gpu_impl.h - what the .cu files share: the handle, checks after launches. */
#ifndef LOCI_GPU_IMPL_H
#define LOCI_GPU_IMPL_H

extern "C" {
#include "base/base.h"
}
#include "cuda/gpu.h"
#include <cublasLt.h>
#include <cuda_runtime.h>

enum { GPU_MARKS = 96, GPU_PLANS = 512 };

typedef struct gemm_plan gemm_plan; /* gemm.cu */

struct loci_gpu {
    cudaStream_t stream;
    cublasLtHandle_t blas;
    void *workspace; /* of cuBLASLt */
    gemm_plan *plan; /* (GPU_PLANS) */
    cudaEvent_t mark[GPU_MARKS];
    loci_error error; /* first failure */
    int device;
    uint64_t met; /* bit N: asked already whether device N's memory may be read */
    char name[128];
};

enum { GPU_WORKSPACE = 64 << 20 };

/* Remember the first failure; `what` names the op. */
void gpu_fail(loci_gpu *g, const char *what, const char *why);
/* After a launch. */
static inline void gpu_launched(loci_gpu *g, const char *what)
{
    const cudaError_t e = cudaGetLastError();
    if (e != cudaSuccess) gpu_fail(g, what, cudaGetErrorString(e));
}
/* Allow `kernel` that many bytes of dynamic shared memory. */
static inline void gpu_shared(loci_gpu *g, const void *kernel, size_t bytes)
{
    if (bytes <= 48 * 1024) return;
    const cudaError_t e =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    if (e != cudaSuccess) gpu_fail(g, "shared memory", cudaGetErrorString(e));
}

static inline unsigned gpu_blocks(size_t n, unsigned threads)
{
    return (unsigned)((n + threads - 1) / threads);
}

#endif
