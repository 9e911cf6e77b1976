/* tile.h - the register-blocked inner product under all matrix kernels.
 *
 * C(m,n) [+]= op(A)(m,k) B(k,n) on data that already lies well: B row-major (packed panels, a
 * transposed copy of keys, values as they are), A read by broadcast either along rows or along
 * columns.  TILE_ROWS x TILE_VECS vectors of C stay in registers.  Written in the words of
 * avx*_math.h, one of which is included before. */
#ifndef LOCI_KERNEL_TILE_H
#define LOCI_KERNEL_TILE_H

typedef struct {
    float *c;       /* C[i,j] at c[i ldc + j] */
    const float *a; /* A[i,l] at a[i lda + l], or a[l lda + i] when ta */
    const float *b; /* B[l,j] at b[l ldb + j] */
    size_t ldc, lda, ldb;
} tile_at;

/* MR rows and NV vectors of columns, known at compile time; the last vector holds the lanes of
 * `last`, nothing beyond it is read or written. */
INLINE void tile_kernel(const int MR, const int NV, const int ta, tile_at x, int k, vm last,
                        int add)
{
    vf acc[TILE_ROWS][TILE_VECS];
    UNROLL for (int i = 0; i < MR; i++) UNROLL for (int v = 0; v < NV; v++) acc[i][v] = v_zero();
    for (int l = 0; l < k; l++) {
        vf b[TILE_VECS];
        UNROLL for (int v = 0; v < NV; v++) b[v] =
            v + 1 < NV ? v_load(x.b + VL * v) : v_load_some(x.b + VL * v, last);
        UNROLL for (int i = 0; i < MR; i++)
        {
            const vf a = v_set(ta ? x.a[i] : x.a[(size_t)i * x.lda]);
            UNROLL for (int v = 0; v < NV; v++) acc[i][v] = v_fma(a, b[v], acc[i][v]);
        }
        x.a += ta ? x.lda : 1;
        x.b += x.ldb;
    }
    UNROLL for (int i = 0; i < MR; i++) UNROLL for (int v = 0; v < NV; v++)
    {
        float *c = x.c + (size_t)i * x.ldc + VL * v;
        const vm mask = v + 1 < NV ? v_lanes(VL) : last;
        v_store_some(c, mask, add ? v_add(acc[i][v], v_load_some(c, mask)) : acc[i][v]);
    }
}

/* All rows of one panel of NV vectors: full blocks, then 4, 2, 1. */
INLINE void tile_rows(const int NV, const int ta, tile_at x, int m, int k, vm last, int add)
{
    const size_t row = ta ? 1 : x.lda;
#define ROWS(MR)                                                                                   \
    {                                                                                              \
        tile_kernel(MR, NV, ta, x, k, last, add);                                                  \
        x.a += MR * row;                                                                           \
        x.c += MR * x.ldc;                                                                         \
    }
    for (; m >= TILE_ROWS; m -= TILE_ROWS) ROWS(TILE_ROWS)
    if (m & 4) ROWS(4)
    if (m & 2) ROWS(2)
    if (m & 1) ROWS(1)
#undef ROWS
}

/* C(m,n) [+]= op(A) B for any m, n, k.  Full panels, and an end of one vector more than a panel in
 * two even parts: a tile one vector wide waits for its own sums. */
INLINE void tile_block(const int ta, tile_at x, int m, int n, int k, int add)
{
    while (n > 0) {
        const int left = (n + VL - 1) / VL;
        const int nv = left > TILE_VECS + 1 ? TILE_VECS
                       : left > TILE_VECS   ? (TILE_VECS + 1) / 2
                                            : left;
        const vm last = v_lanes(n - VL * (nv - 1));
        if (nv == 3)
            tile_rows(TILE_VECS < 3 ? 1 : 3, ta, x, m, k, last, add);
        else if (nv == 2)
            tile_rows(2, ta, x, m, k, last, add);
        else
            tile_rows(1, ta, x, m, k, last, add);
        x.c += VL * nv;
        x.b += VL * nv;
        n -= VL * nv;
    }
}

/* dst[l ldd + j] = src[j lds + l] for j < n, l < d: n rows become columns.  Columns up to the next
 * multiple of VL are written with zero. */
static inline void tile_transpose(float *dst, size_t ldd, const float *src, size_t lds, int n,
                                  int d)
{
    for (int j = 0; j < n; j += VL)
        for (int l = 0; l < d; l += VL) {
            vf r[VL];
            const vm mask = v_lanes(d - l), none = v_lanes(0);
            const float *from = src + (size_t)j * lds + l;
            UNROLL for (int i = 0; i < VL; i++) r[i] =
                v_load_some(j + i < n ? from + (size_t)i * lds : from, j + i < n ? mask : none);
            v_transpose(r);
            UNROLL for (int i = 0; i < VL; i++) if (l + i < d)
                v_store(dst + (size_t)(l + i) * ldd + j, r[i]);
        }
}

/* dst (n,d) contiguous = src: rows at a large stride would fall into the same cache sets. */
static inline void tile_copy(float *dst, const float *src, size_t lds, int n, int d)
{
    for (int j = 0; j < n; j++)
        for (int i = 0; i < d; i += VL) {
            const vm mask = v_lanes(d - i);
            v_store_some(dst + (size_t)j * (size_t)d + i, mask,
                         v_load_some(src + (size_t)j * lds + i, mask));
        }
}

#endif
