/* avx512_tile.h - the register-blocked inner product under all AVX-512 matrix kernels.
 *
 * C(m,n) [+]= op(A)(m,k) B(k,n) on data that already lies well: B row-major (packed panels, a
 * transposed copy of keys, values as they are), A read by broadcast either along rows or along
 * columns.  8 rows x 48 columns fill 24 of 32 registers; 3 loads of B and 8 broadcasts feed 24
 * multiply-adds, which two load ports can follow. */
#ifndef LOCI_KERNEL_AVX512_TILE_H
#define LOCI_KERNEL_AVX512_TILE_H

#include "kernel/x86/avx512_math.h"

typedef struct {
    float *c;       /* C[i,j] at c[i ldc + j] */
    const float *a; /* A[i,l] at a[i lda + l], or a[l lda + i] when ta */
    const float *b; /* B[l,j] at b[l ldb + j] */
    size_t ldc, lda, ldb;
} tile_at;

/* MR <= 8 rows, NV <= 3 vectors of columns, all known at compile time; the last vector holds the
 * lanes of `last`, nothing beyond it is read or written. */
INLINE void tile_kernel(const int MR, const int NV, const int ta, tile_at x, int k, __mmask16 last,
                        int add)
{
    __m512 acc[8][3];
    UNROLL for (int i = 0; i < MR; i++) UNROLL for (int v = 0; v < NV; v++) acc[i][v] =
        _mm512_setzero_ps();
    for (int l = 0; l < k; l++) {
        __m512 b[3];
        UNROLL for (int v = 0; v < NV; v++) b[v] =
            v + 1 < NV ? _mm512_loadu_ps(x.b + 16 * v) : _mm512_maskz_loadu_ps(last, x.b + 16 * v);
        UNROLL for (int i = 0; i < MR; i++)
        {
            const __m512 a = _mm512_set1_ps(ta ? x.a[i] : x.a[(size_t)i * x.lda]);
            UNROLL for (int v = 0; v < NV; v++) acc[i][v] = _mm512_fmadd_ps(a, b[v], acc[i][v]);
        }
        x.a += ta ? x.lda : 1;
        x.b += x.ldb;
    }
    UNROLL for (int i = 0; i < MR; i++) UNROLL for (int v = 0; v < NV; v++)
    {
        float *c = x.c + (size_t)i * x.ldc + 16 * v;
        const __mmask16 mask = v + 1 < NV ? (__mmask16)0xffff : last;
        __m512 y = acc[i][v];
        if (add) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, c));
        _mm512_mask_storeu_ps(c, mask, y);
    }
}

/* All rows of one panel of NV vectors: blocks of 8, then 4, 2, 1. */
INLINE void tile_rows(const int NV, const int ta, tile_at x, int m, int k, __mmask16 last, int add)
{
    const size_t row = ta ? 1 : x.lda;
#define ROWS(MR)                                                                                   \
    {                                                                                              \
        tile_kernel(MR, NV, ta, x, k, last, add);                                                  \
        x.a += MR * row;                                                                           \
        x.c += MR * x.ldc;                                                                         \
    }
    for (; m >= 8; m -= 8) ROWS(8)
    if (m & 4) ROWS(4)
    if (m & 2) ROWS(2)
    if (m & 1) ROWS(1)
#undef ROWS
}

/* C(m,n) [+]= op(A) B for any m, n, k; B panels of 48 columns, a rest of 64 as 32 + 32. */
INLINE void tile_block(const int ta, tile_at x, int m, int n, int k, int add)
{
    while (n > 0) {
        const int nv = n > 64 ? 3 : n > 48 ? 2 : (n + 15) / 16;
        const __mmask16 last = lanes(n - 16 * (nv - 1));
        if (nv == 3)
            tile_rows(3, ta, x, m, k, last, add);
        else if (nv == 2)
            tile_rows(2, ta, x, m, k, last, add);
        else
            tile_rows(1, ta, x, m, k, last, add);
        x.c += 16 * nv;
        x.b += 16 * nv;
        n -= 16 * nv;
    }
}

/* dst[l ldd + j] = src[j lds + l] for j < n, l < d: n rows become columns.  Columns up to the next
 * multiple of 16 are written with zero. */
static inline void tile_transpose(float *dst, size_t ldd, const float *src, size_t lds, int n,
                                  int d)
{
    for (int j = 0; j < n; j += 16)
        for (int l = 0; l < d; l += 16) {
            __m512 r[16];
            const __mmask16 mask = lanes(d - l);
            const float *from = src + (size_t)j * lds + l;
            UNROLL for (int i = 0; i < 16; i++) r[i] =
                _mm512_maskz_loadu_ps(j + i < n ? mask : (__mmask16)0,
                                      j + i < n ? from + (size_t)i * lds : from);
            transpose16(r);
            UNROLL for (int i = 0; i < 16; i++) if (l + i < d)
                _mm512_storeu_ps(dst + (size_t)(l + i) * ldd + j, r[i]);
        }
}

/* dst (n,d) contiguous = src: rows at a large stride would fall into the same cache sets. */
static inline void tile_copy(float *dst, const float *src, size_t lds, int n, int d)
{
    for (int j = 0; j < n; j++)
        for (int i = 0; i < d; i += 16) {
            const __mmask16 mask = lanes(d - i);
            _mm512_mask_storeu_ps(dst + (size_t)j * (size_t)d + i, mask,
                                  _mm512_maskz_loadu_ps(mask, src + (size_t)j * lds + i));
        }
}

#endif
