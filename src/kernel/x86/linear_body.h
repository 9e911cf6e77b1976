/* linear_body.h - products with a stored matrix of any type, in the words of avx*_math.h.
 *
 * Panels of 128 columns: W_ROWS rows of the matrix are decoded to f32 on the stack, once for up to
 * X_ROWS rows of x, and meet them in register tiles.  What a panel sums up is multiplied by its
 * factors (those of x, and of E4M3 tiles) and added to sums a lane, which are folded at the end.
 * Each sum runs over its columns in the same lanes and order whatever m, first and n are, so a
 * prompt may be cut anywhere.  E2M1 scales are powers of two and go into the decoded values, as do
 * those of the GGUF blocks.  The file that includes this defines LOCI_ISA(family). */
#include <stdbool.h>
#include <string.h>
#include "kernel/kernel.h"
#include "kernel/number.h"

#define E4M3_UNIT 256.0f /* v_from_e4m3 */

enum { DEEP = LOCI_SCALE_TILE, W_ROWS = 4, X_ROWS = 32, M_TILE = VL == 16 ? 4 : 2 };

/* ---- decoding ----------------------------------------------------------------------------- */

INLINE __m128i bytes16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

INLINE float f16_at(const uint8_t *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(p[0] | p[1] << 8)));
}

/* dst[0..16) = q scale - min */
INLINE void put16(float *dst, __m128i q, vf scale, vf min)
{
    UNROLL for (int v = 0; v < 16 / VL; v++)
        v_store(dst + VL * v, v_fms(v_widen_i8(q, v), scale, min));
}

/* Twice the values of E2M1 codes, which are whole. */
INLINE __m128i twice_e2m1(__m128i code)
{
    return _mm_shuffle_epi8(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12),
                            code);
}

INLINE __m128i low_nibbles(__m128i b)
{
    return _mm_and_si128(b, _mm_set1_epi8(15));
}

INLINE __m128i high_nibbles(__m128i b)
{
    return low_nibbles(_mm_srli_epi16(b, 4));
}

INLINE void decode_e2m1(float *dst, const uint8_t *p, const uint8_t *scale, int n)
{
    for (int c = 0; c < n; c += 32, p += 16) {
        const vf s = v_set(0.5f * (scale ? loci_e8m0_to_f32(scale[c / 32]) : 1.0f));
        const __m128i b = bytes16(p);
        const __m128i even = twice_e2m1(low_nibbles(b)), odd = twice_e2m1(high_nibbles(b));
        put16(dst + c, _mm_unpacklo_epi8(even, odd), s, v_zero());
        put16(dst + c + 16, _mm_unpackhi_epi8(even, odd), s, v_zero());
    }
}

INLINE void decode_mxfp4(float *dst, const uint8_t *p, int n)
{
    for (int c = 0; c < n; c += 32, p += 17) {
        const vf s = v_set(0.5f * loci_e8m0_to_f32(p[0]));
        const __m128i b = bytes16(p + 1);
        put16(dst + c, twice_e2m1(low_nibbles(b)), s, v_zero());
        put16(dst + c + 16, twice_e2m1(high_nibbles(b)), s, v_zero());
    }
}

INLINE void decode_q8_0(float *dst, const uint8_t *p, int n)
{
    for (int c = 0; c < n; c += 32, p += 34) {
        const vf s = v_set(f16_at(p));
        put16(dst + c, bytes16(p + 2), s, v_zero());
        put16(dst + c + 16, bytes16(p + 18), s, v_zero());
    }
}

/* Half a block, from column `half` * 128 of it on: four of its eight scales, two of its four rows
 * of nibbles. */
INLINE void decode_q4_k(float *dst, const uint8_t *p, int half)
{
    const uint8_t *s = p + 4, *q = p + 16 + 64 * half;
    const float d = f16_at(p), dmin = f16_at(p + 2);
    uint8_t scale[4], min[4];
    for (int i = 0; i < 4; i++) {
        scale[i] = (uint8_t)(half ? (s[8 + i] & 15) | (s[i] >> 6) << 4 : s[i] & 63);
        min[i] = (uint8_t)(half ? s[8 + i] >> 4 | (s[4 + i] >> 6) << 4 : s[4 + i] & 63);
    }
    for (int i = 0; i < 4; i++) {
        const vf f = v_set(d * (float)scale[i]), m = v_set(dmin * (float)min[i]);
        const __m128i a = bytes16(q + i / 2 * 32), b = bytes16(q + i / 2 * 32 + 16);
        put16(dst + 32 * i, i % 2 ? high_nibbles(a) : low_nibbles(a), f, m);
        put16(dst + 32 * i + 16, i % 2 ? high_nibbles(b) : low_nibbles(b), f, m);
    }
}

/* Half a block: eight of its sixteen scales, one of its two rows of bit pairs. */
INLINE void decode_q2_k(float *dst, const uint8_t *p, int half)
{
    const float d = f16_at(p + 80), dmin = f16_at(p + 82);
    for (int i = 0; i < 8; i++) {
        const int s = p[8 * half + i];
        const vf f = v_set(d * (float)(s & 15)), m = v_set(dmin * (float)(s >> 4));
        const __m128i b = bytes16(p + 16 + 32 * half + i % 2 * 16);
        const __m128i q = _mm_srl_epi16(b, _mm_cvtsi32_si128(i / 2 * 2));
        put16(dst + 16 * i, _mm_and_si128(q, _mm_set1_epi8(3)), f, m);
    }
}

/* Any NaN among n codes: 0x7f or 0xff. */
INLINE bool has_nan_e4m3(const uint8_t *p, int n)
{
    const __m256i sign = _mm256_set1_epi8((char)0x80), ones = _mm256_set1_epi8(-1);
    __m256i seen = _mm256_setzero_si256();
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        seen = _mm256_or_si256(seen, _mm256_cmpeq_epi8(_mm256_or_si256(b, sign), ones));
    }
    bool any = !_mm256_testz_si256(seen, seen);
    for (; i < n; i++) any |= (p[i] & 0x7f) == 0x7f;
    return any;
}

/* 2^-8 of the values: E4M3_UNIT is in the factors. */
INLINE void decode_e4m3(float *dst, const uint8_t *p, int n)
{
    if (n == DEEP)
        UNROLL for (int i = 0; i < DEEP; i += VL) v_store(dst + i, v_from_e4m3(p + i, VL));
    else
        for (int i = 0; i < n; i += VL) v_store(dst + i, v_from_e4m3(p + i, n - i));
    if (has_nan_e4m3(p, n))
        for (int i = 0; i < n; i++)
            if ((p[i] & 0x7f) == 0x7f) dst[i] = NAN;
}

/* dst[0..n) = columns c0 .. c0+n of row r, zero up to the next vector; c0 is a multiple of 128. */
INLINE void decode(const loci_stored_type type, float *dst, const loci_stored *w, int r, int c0,
                   int n)
{
    const uint8_t *row = (const uint8_t *)w->data + (size_t)r * w->row_bytes;
    const size_t c = (size_t)c0;
    switch (type) {
    case LOCI_STORED_E2M1:
        decode_e2m1(dst, row + c / 2,
                    w->scale ? w->scale + ((size_t)r * (size_t)w->cols + c) / 32 : NULL, n);
        break;
    case LOCI_STORED_E4M3: decode_e4m3(dst, row + c, n); break;
    case LOCI_STORED_MXFP4: decode_mxfp4(dst, row + c / 32 * 17, n); break;
    case LOCI_STORED_Q8_0: decode_q8_0(dst, row + c / 32 * 34, n); break;
    case LOCI_STORED_Q4_K: decode_q4_k(dst, row + c / 256 * 144, c0 / DEEP % 2); break;
    case LOCI_STORED_Q2_K: decode_q2_k(dst, row + c / 256 * 84, c0 / DEEP % 2); break;
    default:
        for (int i = 0; i < n; i += VL) {
            vf v;
            if (type == LOCI_STORED_F16)
                v = v_from_f16(row + 2 * (c + (size_t)i), n - i);
            else if (type == LOCI_STORED_BF16)
                v = v_from_bf16((const uint16_t *)(const void *)row + c + i, n - i);
            else
                v = v_load_some((const float *)(const void *)row + c + i, v_lanes(n - i));
            v_store(dst + i, v);
        }
    }
}

/* ---- one panel ---------------------------------------------------------------------------- */

/* sum[i][r] += factor[i][r] <x[i,:], panel[r,:]> lane by lane, M rows of x, n <= 128 columns. */
INLINE void meet(const int M, vf sum[][W_ROWS], const float *x, size_t ldx,
                 float panel[W_ROWS][DEEP], float factor[][W_ROWS], int n)
{
    vf acc[M_TILE][W_ROWS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int r = 0; r < W_ROWS; r++) acc[i][r] = v_zero();
    for (int c = 0; c < n; c += VL) {
        const bool whole = n - c >= VL;
        vf x_c[M_TILE];
        UNROLL for (int i = 0; i < M; i++)
        {
            const float *at = x + (size_t)i * ldx + c;
            x_c[i] = whole ? v_load(at) : v_load_some(at, v_lanes(n - c));
        }
        UNROLL for (int r = 0; r < W_ROWS; r++)
        {
            const vf w_c = v_load(panel[r] + c);
            UNROLL for (int i = 0; i < M; i++) acc[i][r] = v_fma(x_c[i], w_c, acc[i][r]);
        }
    }
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int r = 0; r < W_ROWS; r++) sum[i][r] =
        v_fma(acc[i][r], v_set(factor[i][r]), sum[i][r]);
}

/* What the sum of panel b is multiplied with, for m rows of x. */
INLINE void factors(const loci_stored_type type, float factor[][W_ROWS], const float *sx,
                    size_t ldsx, const loci_stored *w, const int *row, int b, int m)
{
    const size_t tiles = (size_t)(w->cols + DEEP - 1) / DEEP;
    float of_w[W_ROWS];
    for (int r = 0; r < W_ROWS; r++) {
        of_w[r] = type == LOCI_STORED_E4M3 ? E4M3_UNIT : 1.0f;
        if (type == LOCI_STORED_E4M3 && w->scale)
            of_w[r] *= loci_e8m0_to_f32(w->scale[(size_t)(row[r] / DEEP) * tiles + (size_t)b]);
    }
    for (int i = 0; i < m; i++)
        for (int r = 0; r < W_ROWS; r++)
            factor[i][r] = sx ? of_w[r] * sx[(size_t)i * ldsx + (size_t)b] : of_w[r];
}

typedef struct {
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx;
    const float *sx;
    size_t ldsx;
    const loci_stored *w;
} linear_at;

/* y[0..m, 0..n) for n <= W_ROWS rows of the matrix from `first` on and m <= X_ROWS.  Missing rows
 * repeat the last one: lanes of one row never reach another. */
INLINE void linear_rows(const loci_stored_type type, linear_at a, int first, int m, int n)
{
    vf sum[X_ROWS][W_ROWS];
    float panel[W_ROWS][DEEP], factor[X_ROWS][W_ROWS];
    int row[W_ROWS];
    for (int r = 0; r < W_ROWS; r++) row[r] = first + (r < n ? r : n - 1);
    for (int i = 0; i < m; i++)
        for (int r = 0; r < W_ROWS; r++) sum[i][r] = v_zero();
    for (int c0 = 0; c0 < a.w->cols; c0 += DEEP) {
        const int deep = a.w->cols - c0 < DEEP ? a.w->cols - c0 : DEEP;
        for (int r = 0; r < W_ROWS; r++) {
            if (r < n)
                decode(type, panel[r], a.w, row[r], c0, deep);
            else
                memcpy(panel[r], panel[n - 1], sizeof panel[r]);
        }
        factors(type, factor, a.sx, a.ldsx, a.w, row, c0 / DEEP, m);
        int i = 0;
        for (; i + M_TILE <= m; i += M_TILE)
            meet(M_TILE, sum + i, a.x + (size_t)i * a.ldx + c0, a.ldx, panel, factor + i, deep);
        for (; i < m; i++)
            meet(1, sum + i, a.x + (size_t)i * a.ldx + c0, a.ldx, panel, factor + i, deep);
    }
    for (int i = 0; i < m; i++)
        for (int r = 0; r < n; r++) a.y[(size_t)i * a.ldy + (size_t)r] = v_sum(sum[i][r]);
}

INLINE void linear(const loci_stored_type type, linear_at a, int first, int m, int n)
{
    for (int i = 0; i < m; i += X_ROWS) {
        linear_at b = a;
        b.y += (size_t)i * a.ldy;
        b.x += (size_t)i * a.ldx;
        if (a.sx) b.sx += (size_t)i * a.ldsx;
        for (int j = 0; j < n; j += W_ROWS, b.y += W_ROWS)
            linear_rows(type, b, first + j, m - i < X_ROWS ? m - i : X_ROWS,
                        n - j < W_ROWS ? n - j : W_ROWS);
    }
}

#define X(NAME, name, elements, bytes)                                                             \
    void LOCI_ISA(linear_##name)(float *y, int ldy, const float *x, int ldx, const float *sx,      \
                                 int ldsx, const loci_stored *w, int first, int m, int n)          \
    {                                                                                              \
        const linear_at a = { y, (size_t)ldy, x, (size_t)ldx, sx, (size_t)ldsx, w };               \
        linear(LOCI_STORED_##NAME, a, first, m, n);                                                \
    }
LOCI_STORED_LIST(X)
#undef X

/* ---- quantisers --------------------------------------------------------------------------- */

/* The greatest magnitude of n values, or NaN where one is not finite. */
INLINE float greatest(const float *x, int n)
{
    vf max = v_zero(), zero = v_zero();
    for (int i = 0; i < n; i += VL) {
        const vf v = v_load_some(x + i, v_lanes(n - i));
        max = v_max(v_abs(v), max);
        zero = v_fma(v, v_zero(), zero); /* NaN from any that is not finite */
    }
    return v_greatest(max) + v_sum(zero);
}

INLINE void quantise(const bool e4m3, float *q, const float *x, float s, bool scaled, int n)
{
    for (int i = 0; i < n; i += VL) {
        const vm mask = v_lanes(n - i);
        const vf v = v_div(v_load_some(x + i, mask), v_set(s));
        const vf r = e4m3 ? v_round_e4m3(v) : v_round_e2m1(v);
        v_store_some(q + i, mask, scaled ? v_mul(r, v_set(s)) : r);
    }
}

INLINE void quant_rows(const bool e4m3, float *q, int ldq, float *scale, int lds, const float *x,
                       int ldx, int rows, int cols, int block)
{
    const float floor = e4m3 ? 1e-4f : 0x1.8p-124f, one = e4m3 ? 1.0f / 448.0f : 1.0f / 6.0f;
    for (int r = 0; r < rows; r++)
        for (int c = 0, b = 0; c < cols; c += block, b++) {
            const float *x_b = x + (size_t)r * (size_t)ldx + c; /* x[r, c ..] */
            const int n = cols - c < block ? cols - c : block;
            const float max = greatest(x_b, n);
            const float s = max == max ? loci_pow2ceil((max > floor ? max : floor) * one) : max;
            quantise(e4m3, q + (size_t)r * (size_t)ldq + c, x_b, s, !scale, n);
            if (scale) scale[(size_t)r * (size_t)lds + (size_t)b] = s;
        }
}

void LOCI_ISA(quant_a8)(float *q, int ldq, float *scale, int lds, const float *x, int ldx, int rows,
                        int cols, int block)
{
    quant_rows(true, q, ldq, scale, lds, x, ldx, rows, cols, block);
}

void LOCI_ISA(quant_a4)(float *q, int ldq, float *scale, int lds, const float *x, int ldx, int rows,
                        int cols, int block)
{
    quant_rows(false, q, ldq, scale, lds, x, ldx, rows, cols, block);
}
