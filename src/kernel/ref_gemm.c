/* ref_gemm.c - the dense products, stated plainly.
 *
 * C = op(A) op(B) + beta C and its forms with bf16 and int8 weights.  Every element is one
 * double-precision sum in index order, rounded once.  Nothing here is blocked or unrolled:
 * this is what the SIMD variants are compared with. */
#include "kernel/kernel.h"
#include "base/base.h"

void loci_gemm_ref(float *c, int ldc, const float *a, int lda, int ta, const float *b, int ldb,
                   int tb, int m, int n, int k, float beta)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float *c_ij = c + (size_t)i * (size_t)ldc + j;
            double sum = beta != 0.0f ? (double)beta * *c_ij : 0.0;
            for (int l = 0; l < k; l++) {
                const size_t at_a =
                    ta ? (size_t)l * (size_t)lda + (size_t)i : (size_t)i * (size_t)lda + (size_t)l;
                const size_t at_b =
                    tb ? (size_t)j * (size_t)ldb + (size_t)l : (size_t)l * (size_t)ldb + (size_t)j;
                sum += (double)a[at_a] * b[at_b];
            }
            *c_ij = (float)sum;
        }
}

void loci_gemv_ref(float *y, const float *w, int ldw, const float *x, int n, int k)
{
    for (int j = 0; j < n; j++) {
        const float *w_j = w + (size_t)j * (size_t)ldw; /* w[j,:] */
        double sum = 0.0;
        for (int l = 0; l < k; l++) sum += (double)w_j[l] * x[l];
        y[j] = (float)sum;
    }
}

void loci_gemv_bf16_ref(float *y, const uint16_t *w, int ldw, const float *x, int n, int k)
{
    for (int j = 0; j < n; j++) {
        const uint16_t *w_j = w + (size_t)j * (size_t)ldw; /* w[j,:] */
        double sum = 0.0;
        for (int l = 0; l < k; l++) sum += (double)loci_bf16_to_f32(w_j[l]) * x[l];
        y[j] = (float)sum;
    }
}

void loci_gemv_q8_ref(float *y, const int8_t *w, int ldw, const float *scale, const float *x, int n,
                      int k)
{
    for (int j = 0; j < n; j++) {
        const int8_t *w_j = w + (size_t)j * (size_t)ldw; /* w[j,:] */
        double sum = 0.0;
        for (int l = 0; l < k; l++) sum += (double)w_j[l] * x[l];
        y[j] = (float)(sum * scale[j]);
    }
}

/* A product with a narrow weight is one gemv a row. */
void loci_gemm_bf16_ref(float *y, int ldy, const float *x, int ldx, const uint16_t *w, int ldw,
                        int m, int n, int k)
{
    for (int i = 0; i < m; i++)
        loci_gemv_bf16_ref(y + (size_t)i * (size_t)ldy, w, ldw, x + (size_t)i * (size_t)ldx, n, k);
}

void loci_gemm_q8_ref(float *y, int ldy, const float *x, int ldx, const int8_t *w, int ldw,
                      const float *scale, int m, int n, int k)
{
    for (int i = 0; i < m; i++)
        loci_gemv_q8_ref(y + (size_t)i * (size_t)ldy, w, ldw, scale, x + (size_t)i * (size_t)ldx, n,
                         k);
}
