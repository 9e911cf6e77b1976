/* avx512_gemm.c - dense products with AVX-512.
 *
 * Many rows: the B side (f32 either way round, bf16 or int8 weights) is packed as f32 into panels
 * of 48 columns on the stack, 192 KB at most, and meets A in register tiles (avx512_tile.h); a
 * transposed A is copied in strips of 16 rows, one cache line a step.  Few rows (<= 4, decoding): weights
 * are read once, as they are stored, in rows of inner products. */
#include "kernel/kernel.h"
#include "kernel/x86/avx512_tile.h"

/* 256 deep: a panel of 48 columns takes 48 KB, four of them 192 KB of an L2 of 1 MB. */
enum { K_BLOCK = 256, PANEL = 48, N_PANELS = 4, N_BLOCK = PANEL * N_PANELS, STRIP = 16, FEW = 4 };

typedef enum { F32, BF16, Q8 } stored;

/* Weights or a matrix B with rows along k (trans) or along n, of any stored type. */
typedef struct {
    const void *data;
    const float *scale; /* Q8: one a row */
    size_t ld;
    int trans; /* stored (n,k) */
} side;

/* Up to 16 stored values at index `at`, as f32; lanes outside the mask are 0 and not read. */
INLINE __m512 load_stored(const stored type, const void *data, size_t at, __mmask16 mask)
{
    if (type == F32) return _mm512_maskz_loadu_ps(mask, (const float *)data + at);
    if (type == BF16) {
        const __m256i h = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)data + at);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    }
    const __m128i q = _mm_maskz_loadu_epi8(mask, (const int8_t *)data + at);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

/* ---- packing ------------------------------------------------------------------------------ */

/* Columns [j0, j0+n) of depth [l0, l0+k) of a (n,k) matrix to dst (k, 16 nv), zero beyond n. */
INLINE void pack_transposed(const stored type, float *dst, int nv, const side *b, int j0, int n,
                            int l0, int k)
{
    for (int v = 0; v < nv; v++)
        for (int l = 0; l < k; l += 16) {
            __m512 r[16];
            const __mmask16 mask = lanes(k - l);
            UNROLL for (int i = 0; i < 16; i++)
            {
                const int j = 16 * v + i;
                const size_t row = (size_t)(j0 + (j < n ? j : 0));
                r[i] = load_stored(type, b->data, row * b->ld + (size_t)(l0 + l),
                                   j < n ? mask : (__mmask16)0);
                if (type == Q8) r[i] = _mm512_mul_ps(r[i], _mm512_set1_ps(b->scale[row]));
            }
            transpose16(r);
            UNROLL for (int i = 0; i < 16; i++) if (l + i < k)
                _mm512_storeu_ps(dst + (l + i) * 16 * nv + 16 * v, r[i]);
        }
}

/* The same of a (k,n) f32 matrix. */
static void pack_plain(float *dst, int nv, const side *b, int j0, int n, int l0, int k)
{
    for (int l = 0; l < k; l++) {
        const float *row = (const float *)b->data + (size_t)(l0 + l) * b->ld + (size_t)j0;
        for (int v = 0; v < nv; v++)
            _mm512_storeu_ps(dst + (l * nv + v) * 16,
                             _mm512_maskz_loadu_ps(lanes(n - 16 * v), row + 16 * v));
    }
}

/* STRIP rows at most of op(A) = A^T, from A (k,m), to dst (k,STRIP). */
static void pack_strip(float *dst, const float *a, size_t lda, int m, int k)
{
    const __mmask16 mask = lanes(m);
    for (int l = 0; l < k; l++)
        _mm512_storeu_ps(dst + STRIP * l, _mm512_maskz_loadu_ps(mask, a + (size_t)l * lda));
}

/* ---- many rows ---------------------------------------------------------------------------- */

/* Width in vectors of panel p of n columns: the last one may be narrower. */
static int panel_vectors(int n, int p)
{
    const int rest = n - p * PANEL;
    return rest >= PANEL ? PANEL / 16 : (rest + 15) / 16;
}

/* C(m,n) [+]= op(A)(m,k) packed(k,n) with n <= N_BLOCK, k <= K_BLOCK. */
static void multiply_packed(tile_at x, int ta, const float *packed, int m, int n, int k, int add)
{
    float strip[K_BLOCK * STRIP];
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
            y.ldb = (size_t)(16 * nv);
            if (ta)
                tile_block(1, y, rows, cols, k, add);
            else
                tile_block(0, y, rows, cols, k, add);
            y.b += k * 16 * nv;
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
                dst += depth * 16 * nv;
            }
            tile_at y = x;
            y.a += ta ? (size_t)l0 * x.lda : (size_t)l0;
            y.c += j;
            multiply_packed(y, ta, packed, m, cols, depth, add || i_deep > 0);
        }
    }
}

/* ---- few rows ------------------------------------------------------------------------------ */

/* y[i,j] for R rows of W and M rows of x.  R is 8 with M = 1 and 4 otherwise, or 1. */
INLINE void inner_tile(const stored type, const int R, const int M, float *y, size_t ldy,
                       const float *x, size_t ldx, const side *w, int j, int k, int add)
{
    __m512 acc[4][8];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int r = 0; r < R; r++) acc[i][r] =
        _mm512_setzero_ps();
    const size_t at = (size_t)j * w->ld;
    for (int l = 0; l < k; l += 16) {
        const __mmask16 mask = lanes(k - l);
        __m512 x_l[4];
        UNROLL for (int i = 0; i < M; i++) x_l[i] =
            _mm512_maskz_loadu_ps(mask, x + (size_t)i * ldx + (size_t)l);
        UNROLL for (int r = 0; r < R; r++)
        {
            const __m512 w_l = load_stored(type, w->data, at + (size_t)r * w->ld + (size_t)l, mask);
            UNROLL for (int i = 0; i < M; i++) acc[i][r] = _mm512_fmadd_ps(x_l[i], w_l, acc[i][r]);
        }
    }
    UNROLL for (int i = 0; i < M; i++)
    {
        float *out = y + (size_t)i * ldy + (size_t)j;
        UNROLL for (int r = 0; r < R; r += 4)
        {
            const __m512 *s = &acc[i][r];
            const __mmask8 mask = R == 1 ? 1 : 15;
            __m128 sum = R == 1 ? sum4(s[0], s[0], s[0], s[0]) : sum4(s[0], s[1], s[2], s[3]);
            if (type == Q8) sum = _mm_mul_ps(sum, _mm_maskz_loadu_ps(mask, w->scale + j + r));
            if (add) sum = _mm_add_ps(sum, _mm_maskz_loadu_ps(mask, out + r));
            _mm_mask_storeu_ps(out + r, mask, sum);
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
    if (m == 1)
        inner_rows(type, 8, 1, y, ldy, x, ldx, w, n, k, add);
    else if (m == 2)
        inner_rows(type, 4, 2, y, ldy, x, ldx, w, n, k, add);
    else if (m == 3)
        inner_rows(type, 4, 3, y, ldy, x, ldx, w, n, k, add);
    else if (m == 4)
        inner_rows(type, 4, 4, y, ldy, x, ldx, w, n, k, add);
}

/* ---- the families ---------------------------------------------------------------------------- */

/* beta = 0 with an empty sum: the tiles would not run. */
static void clear(float *c, size_t ldc, int m, int n)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) c[(size_t)i * ldc + (size_t)j] = 0.0f;
}

void loci_gemm_avx512(float *c, int ldc, const float *a, int lda, int ta, const float *b, int ldb,
                      int tb, int m, int n, int k, float beta)
{
    const side w = { b, NULL, (size_t)ldb, tb };
    const tile_at x = { c, a, b, (size_t)ldc, (size_t)lda, (size_t)ldb };
    const int add = beta != 0.0f;
    if (k <= 0) {
        if (!add) clear(c, (size_t)ldc, m, n);
    } else if (m <= FEW && tb && !ta)
        multiply_few(F32, c, (size_t)ldc, a, (size_t)lda, &w, m, n, k, add);
    else if (m <= 8 && !tb) { /* packing would cost as much as the product */
        if (ta)
            tile_block(1, x, m, n, k, add);
        else
            tile_block(0, x, m, n, k, add);
    } else
        multiply(F32, x, ta, &w, m, n, k, add);
}

void loci_gemm_bf16_avx512(float *y, int ldy, const float *x, int ldx, const uint16_t *w, int ldw,
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

void loci_gemm_q8_avx512(float *y, int ldy, const float *x, int ldx, const int8_t *w, int ldw,
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

void loci_gemv_avx512(float *y, const float *w, int ldw, const float *x, int n, int k)
{
    const side b = { w, NULL, (size_t)ldw, 1 };
    inner_rows(F32, 8, 1, y, 0, x, 0, &b, n, k, 0);
}

void loci_gemv_bf16_avx512(float *y, const uint16_t *w, int ldw, const float *x, int n, int k)
{
    const side b = { w, NULL, (size_t)ldw, 1 };
    inner_rows(BF16, 8, 1, y, 0, x, 0, &b, n, k, 0);
}

void loci_gemv_q8_avx512(float *y, const int8_t *w, int ldw, const float *scale, const float *x,
                         int n, int k)
{
    const side b = { w, scale, (size_t)ldw, 1 };
    inner_rows(Q8, 8, 1, y, 0, x, 0, &b, n, k, 0);
}
