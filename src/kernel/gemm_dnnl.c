/* gemm_dnnl.c - the one file that knows oneDNN: its f32 product as one more variant of gemm.
 *
 * Our pool already gives each core its own tile, so a call must stay on the calling thread: the
 * OpenMP team size of this thread is set to 1 around it and put back (the setting belongs to the
 * thread, not to the process; a team of one starts nobody).  A call takes memory and gives it back, which
 * nothing on the way of a token may do, and few rows leave it no time to gain: those are our own kernel's.
 * Built only where the library was found. */
#include "kernel/kernel.h"

#if LOCI_HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>

enum { FEW = 80 }; /* rows of a chunk and its landmarks: what a token finishes or unpacks */

/* From the OpenMP runtime that the library is linked with; <omp.h> is not there for every
 * compiler that can link it. */
int omp_get_max_threads(void);
void omp_set_num_threads(int n);

void loci_gemm_dnnl(float *c, int ldc, const float *a, int lda, int ta, const float *b, int ldb,
                    int tb, int m, int n, int k, float beta)
{
    if (m <= FEW) {
        loci_gemm_avx2(c, ldc, a, lda, ta, b, ldb, tb, m, n, k, beta);
        return;
    }
    const int team = omp_get_max_threads();
    dnnl_status_t status = dnnl_invalid_arguments; /* what it says of empty products */
    if (m > 0 && n > 0 && k > 0) {
        omp_set_num_threads(1);
        status =
            dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
        omp_set_num_threads(team);
    }
    /* Also when it has no memory for its buffers: slow, but the answer is the same. */
    if (status != dnnl_success) loci_gemm_ref(c, ldc, a, lda, ta, b, ldb, tb, m, n, k, beta);
}
#else
typedef int loci_gemm_dnnl_is_not_built; /* ISO C wants a declaration in every file */
#endif
