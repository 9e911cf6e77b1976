/* gemm_body.h - dense products, in the words of avx*_math.h.
 *
 * Many rows: the B side (f32 either way round, bf16 or int8 weights) is packed as f32 into panels
 * on the stack, 192 KB at most, and meets A in register tiles (tile.h); a transposed A is copied in
 * strips of a few rows.  Few rows (<= 4, decoding): weights are read once, as they are stored, in
 * rows of inner products.  The file that includes this defines LOCI_ISA(family). */
#include "kernel/kernel.h"
#include "kernel/x86/tile.h"

/* 256 deep: a panel of 48 columns takes 48 KB, all of them 192 KB of an L2 of 1 MB. */
enum { K_BLOCK = 256, PANEL = TILE_VECS * VL, N_BLOCK = 192, STRIP = 2 * TILE_ROWS, FEW = 4 };

typedef enum { F32, BF16, Q8 } stored;

/* The B side of a product, of any stored type. */
typedef struct {
    const void *data;
    const float *scale; /* Q8: one a row */
    size_t ld;
    int trans; /* stored (n,k) */
} side;

/* n <= VL stored values from index `at` on, as f32; zero behind them, which is not read. */
INLINE vf load_stored(const stored type, const void *data, size_t at, ptrdiff_t n)
{
    if (type == BF16) return v_from_bf16((const uint16_t *)data + at, n);
    if (type == Q8) return v_from_i8((const int8_t *)data + at, n);
    const float *p = (const float *)data + at;
    return n >= VL ? v_load(p) : v_load_some(p, v_lanes(n));
}

/* ---- packing ---------------------------------------------------------------------------- */

/* Rows [j0, j0+n), columns [l0, l0+k) of a (n,k) matrix to dst (k, nv VL), zero beyond n. */
INLINE void pack_transposed(const stored type, float *dst, int nv, const side *b, int j0, int n,
                            int l0, int k)
{
    for (int v = 0; v < nv; v++)
        for (int l = 0; l < k; l += VL) {
            vf r[VL];
            const int depth = k - l < VL ? k - l : VL;
            UNROLL for (int i = 0; i < VL; i++)
            {
                const int j = VL * v + i;
                const size_t row = (size_t)(j0 + j);
                r[i] = v_zero();
                if (j < n) r[i] = load_stored(type, b->data, row * b->ld + (size_t)(l0 + l), depth);
                if (type == Q8 && j < n) r[i] = v_mul(r[i], v_set(b->scale[row]));
            }
            v_transpose(r);
            UNROLL for (int i = 0; i < VL; i++) if (i < depth)
                v_store(dst + ((l + i) * nv + v) * VL, r[i]);
        }
}

/* The same of a (k,n) f32 matrix. */
static void pack_plain(float *dst, int nv, const side *b, int j0, int n, int l0, int k)
{
    for (int l = 0; l < k; l++) {
        const float *row = (const float *)b->data + (size_t)(l0 + l) * b->ld + (size_t)j0;
        for (int v = 0; v < nv; v++)
            v_store(dst + (l * nv + v) * VL, v_load_some(row + VL * v, v_lanes(n - VL * v)));
    }
}

/* STRIP rows at most of op(A) = A^T, from A (k,m), to dst (k,STRIP).  A vector may reach into the
 * next step's row, which is written after it, and past the last one by less than VL. */
static void pack_strip(float *dst, const float *a, size_t lda, int m, int k)
{
    for (int l = 0; l < k; l++)
        for (int i = 0; i < STRIP; i += VL)
            v_store(dst + STRIP * l + i, v_load_some(a + (size_t)l * lda + i, v_lanes(m - i)));
}

/* ---- many rows -------------------------------------------------------------------------- */

/* Width in vectors of panel p of n columns: the last one may be narrower. */
static int panel_vectors(int n, int p)
{
    const int rest = n - p * PANEL;
    return rest >= PANEL ? TILE_VECS : (rest + VL - 1) / VL;
}

/* C(m,n) [+]= op(A)(m,k) packed(k,n) with n <= N_BLOCK, k <= K_BLOCK. */
static void multiply_packed(tile_at x, int ta, const float *packed, int m, int n, int k, int add)
{
    float strip[K_BLOCK * STRIP + VL];
    for (int i = 0; i < m; i += ta ? STRIP : m) {
        tile_at y = x;
        const int rows = ta ? (m - i < STRIP ? m - i : STRIP) : m;
        y.c = x.c + (size_t)i * x.ldc;
        if (ta) {
            pack_strip(strip, x.a + i, x.lda, rows, k);
            y.a = strip;
            y.lda = STRIP;
        }
        y.b = packed;
        for (int p = 0; p * PANEL < n; p++) {
            const int nv = panel_vectors(n, p);
            const int cols = n - p * PANEL < PANEL ? n - p * PANEL : PANEL;
            y.ldb = (size_t)(VL * nv);
            if (ta)
                tile_block(1, y, rows, cols, k, add);
            else
                tile_block(0, y, rows, cols, k, add);
            y.b += k * VL * nv;
            y.c += cols;
        }
    }
}

INLINE void multiply(const stored type, tile_at x, int ta, const side *b, int m, int n, int k,
                     int add)
{
    float packed[K_BLOCK * N_BLOCK];
    const int n_deep = (k + K_BLOCK - 1) / K_BLOCK;
    for (int j = 0; j < n; j += N_BLOCK) {
        const int cols = n - j < N_BLOCK ? n - j : N_BLOCK;
        /* Equal depths, so that no sliver pays for loading and storing all of C. */
        for (int i_deep = 0; i_deep < n_deep; i_deep++) {
            const int l0 = (int)((int64_t)k * i_deep / n_deep);
            const int depth = (int)((int64_t)k * (i_deep + 1) / n_deep) - l0;
            float *dst = packed;
            for (int p = 0; p * PANEL < cols; p++) {
                const int nv = panel_vectors(cols, p), rest = cols - p * PANEL;
                if (b->trans)
                    pack_transposed(type, dst, nv, b, j + p * PANEL, rest, l0, depth);
                else
                    pack_plain(dst, nv, b, j + p * PANEL, rest, l0, depth);
                dst += depth * VL * nv;
            }
            tile_at y = x;
            y.a += ta ? (size_t)l0 * x.lda : (size_t)l0;
            y.c += j;
            multiply_packed(y, ta, packed, m, cols, depth, add || i_deep > 0);
        }
    }
}

/* ---- few rows --------------------------------------------------------------------------- */

/* acc[i][r] += <x[i], w[r]> over n <= VL columns from l on. */
INLINE void inner_step(const stored type, const int R, const int M, vf acc[INNER_ROWS][8],
                       const float *x, size_t ldx, const side *w, size_t at, int l, ptrdiff_t n)
{
    vf x_l[INNER_ROWS];
    UNROLL for (int i = 0; i < M; i++) x_l[i] = load_stored(F32, x, (size_t)i * ldx + (size_t)l, n);
    UNROLL for (int r = 0; r < R; r++)
    {
        const vf w_l = load_stored(type, w->data, at + (size_t)r * w->ld + (size_t)l, n);
        UNROLL for (int i = 0; i < M; i++) acc[i][r] = v_fma(x_l[i], w_l, acc[i][r]);
    }
}

/* y[i, j .. j+R) for R rows of W (1, 4 or 8) and M rows of x. */
INLINE void inner_tile(const stored type, const int R, const int M, float *y, size_t ldy,
                       const float *x, size_t ldx, const side *w, int j, int k, int add)
{
    vf acc[INNER_ROWS][8];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int r = 0; r < R; r++) acc[i][r] = v_zero();
    const size_t at = (size_t)j * w->ld;
    int l = 0;
    for (; l + VL <= k; l += VL) inner_step(type, R, M, acc, x, ldx, w, at, l, VL);
    if (l < k) inner_step(type, R, M, acc, x, ldx, w, at, l, k - l);
    UNROLL for (int i = 0; i < M; i++)
    {
        float *out = y + (size_t)i * ldy + (size_t)j;
        if (R == 1) {
            const float sum = v_sum(acc[i][0]) * (type == Q8 ? w->scale[j] : 1.0f);
            *out = add ? *out + sum : sum;
        }
        UNROLL for (int r = 0; r + 4 <= R; r += 4)
        {
            __m128 sum = v_sum4(acc[i][r], acc[i][r + 1], acc[i][r + 2], acc[i][r + 3]);
            if (type == Q8) sum = _mm_mul_ps(sum, _mm_loadu_ps(w->scale + j + r));
            if (add) sum = _mm_add_ps(sum, _mm_loadu_ps(out + r));
            _mm_storeu_ps(out + r, sum);
        }
    }
}

INLINE void inner_rows(const stored type, const int R, const int M, float *y, size_t ldy,
                       const float *x, size_t ldx, const side *w, int n, int k, int add)
{
    int j = 0;
    for (; j + R <= n; j += R) inner_tile(type, R, M, y, ldy, x, ldx, w, j, k, add);
    for (; j < n; j++) inner_tile(type, 1, M, y, ldy, x, ldx, w, j, k, add);
}

/* y(m,n) [+]= x(m,k) W(n,k)^T, m <= FEW. */
INLINE void multiply_few(const stored type, float *y, size_t ldy, const float *x, size_t ldx,
                         const side *w, int m, int n, int k, int add)
{
    while (m > 0) {
        const int rows = m < INNER_ROWS ? m : INNER_ROWS;
        if (rows == 1)
            inner_rows(type, 8, 1, y, ldy, x, ldx, w, n, k, add);
        else if (rows == 2)
            inner_rows(type, 4, 2, y, ldy, x, ldx, w, n, k, add);
        else if (rows == 3)
            inner_rows(type, 4, INNER_ROWS < 3 ? 1 : 3, y, ldy, x, ldx, w, n, k, add);
        else
            inner_rows(type, 4, INNER_ROWS < 4 ? 1 : 4, y, ldy, x, ldx, w, n, k, add);
        y += (size_t)rows * ldy;
        x += (size_t)rows * ldx;
        m -= rows;
    }
}

/* ---- the families ----------------------------------------------------------------------- */

/* beta = 0 with an empty sum: the tiles would not run. */
static void clear(float *c, size_t ldc, int m, int n)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) c[(size_t)i * ldc + (size_t)j] = 0.0f;
}

void LOCI_ISA(gemm)(float *c, int ldc, const float *a, int lda, int ta, const float *b, int ldb,
                    int tb, int m, int n, int k, float beta)
{
    const side w = { b, NULL, (size_t)ldb, tb };
    const tile_at x = { c, a, b, (size_t)ldc, (size_t)lda, (size_t)ldb };
    const int add = beta != 0.0f;
    if (k <= 0) {
        if (!add) clear(c, (size_t)ldc, m, n);
    } else if (m <= FEW && tb && !ta)
        multiply_few(F32, c, (size_t)ldc, a, (size_t)lda, &w, m, n, k, add);
    else if (m <= TILE_ROWS && !tb) { /* packing would cost as much as the product */
        if (ta)
            tile_block(1, x, m, n, k, add);
        else
            tile_block(0, x, m, n, k, add);
    } else
        multiply(F32, x, ta, &w, m, n, k, add);
}

void LOCI_ISA(gemm_bf16)(float *y, int ldy, const float *x, int ldx, const uint16_t *w, int ldw,
                         int m, int n, int k)
{
    const side b = { w, NULL, (size_t)ldw, 1 };
    const tile_at at = { y, x, NULL, (size_t)ldy, (size_t)ldx, 0 };
    if (k <= 0)
        clear(y, (size_t)ldy, m, n);
    else if (m <= FEW)
        multiply_few(BF16, y, (size_t)ldy, x, (size_t)ldx, &b, m, n, k, 0);
    else
        multiply(BF16, at, 0, &b, m, n, k, 0);
}

void LOCI_ISA(gemm_q8)(float *y, int ldy, const float *x, int ldx, const int8_t *w, int ldw,
                       const float *scale, int m, int n, int k)
{
    const side b = { w, scale, (size_t)ldw, 1 };
    const tile_at at = { y, x, NULL, (size_t)ldy, (size_t)ldx, 0 };
    if (k <= 0)
        clear(y, (size_t)ldy, m, n);
    else if (m <= FEW)
        multiply_few(Q8, y, (size_t)ldy, x, (size_t)ldx, &b, m, n, k, 0);
    else
        multiply(Q8, at, 0, &b, m, n, k, 0);
}

void LOCI_ISA(gemv)(float *y, const float *w, int ldw, const float *x, int n, int k)
{
    const side b = { w, NULL, (size_t)ldw, 1 };
    inner_rows(F32, 8, 1, y, 0, x, 0, &b, n, k, 0);
}

void LOCI_ISA(gemv_bf16)(float *y, const uint16_t *w, int ldw, const float *x, int n, int k)
{
    const side b = { w, NULL, (size_t)ldw, 1 };
    inner_rows(BF16, 8, 1, y, 0, x, 0, &b, n, k, 0);
}

void LOCI_ISA(gemv_q8)(float *y, const int8_t *w, int ldw, const float *scale, const float *x,
                       int n, int k)
{
    const side b = { w, scale, (size_t)ldw, 1 };
    inner_rows(Q8, 8, 1, y, 0, x, 0, &b, n, k, 0);
}
