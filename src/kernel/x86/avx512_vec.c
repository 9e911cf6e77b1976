/* avx512_vec.c - row-wise functions with AVX-512: norms, rotation, gates, softmax, cross-entropy,
 * AdamW, int8 rows.
 *
 * One vector of 16 at a time; the last one of a row is masked, so rows of any length and alignment
 * take the same path.  Sums run in several vectors where a single chain would wait for itself. */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/x86/avx512_math.h"

#define EACH_16(i, n) for (ptrdiff_t i = 0; i < (ptrdiff_t)(n); i += 16)

INLINE __m512 load(const float *x, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, x);
}

INLINE void store(float *y, __mmask16 mask, __m512 v)
{
    _mm512_mask_storeu_ps(y, mask, v);
}

/* sum a b, in four vectors */
INLINE float inner(const float *a, const float *b, ptrdiff_t n)
{
    __m512 sum[4];
    UNROLL for (int v = 0; v < 4; v++) sum[v] = _mm512_setzero_ps();
    ptrdiff_t i = 0;
    for (; i + 64 <= n; i += 64)
        UNROLL for (int v = 0; v < 4; v++) sum[v] =
            _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16 * v), _mm512_loadu_ps(b + i + 16 * v),
                            sum[v]);
    for (; i < n; i += 16)
        sum[0] = _mm512_fmadd_ps(load(a + i, lanes(n - i)), load(b + i, lanes(n - i)), sum[0]);
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

/* ---- norms ----------------------------------------------------------------------------------- */

void loci_rmsnorm_avx512(float *y, int ldy, float *inv, const float *x, int ldx, int rows, int cols,
                         float eps)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;       /* y[r,:] */
        const float scale = 1.0f / sqrtf(inner(x_r, x_r, cols) / (float)cols + eps);
        EACH_16(i, cols)
        {
            const __mmask16 mask = lanes(cols - i);
            store(y_r + i, mask, _mm512_mul_ps(load(x_r + i, mask), _mm512_set1_ps(scale)));
        }
        if (inv) inv[r] = scale;
    }
}

void loci_rmsnorm_bwd_avx512(float *dx, int lddx, const float *dy, int lddy, const float *y,
                             int ldy, const float *inv, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *dy_r = dy + (size_t)r * (size_t)lddy; /* dy[r,:] */
        const float *y_r = y + (size_t)r * (size_t)ldy;    /* y[r,:]  */
        float *dx_r = dx + (size_t)r * (size_t)lddx;       /* dx[r,:] */
        const __m512 mean = _mm512_set1_ps(inner(dy_r, y_r, cols) / (float)cols);
        EACH_16(i, cols)
        {
            const __mmask16 mask = lanes(cols - i);
            const __m512 g = _mm512_fnmadd_ps(load(y_r + i, mask), mean, load(dy_r + i, mask));
            store(dx_r + i, mask, _mm512_fmadd_ps(g, _mm512_set1_ps(inv[r]), load(dx_r + i, mask)));
        }
    }
}

/* ---- rotation ---------------------------------------------------------------------------------- */

void loci_rope_avx512(float *x, int ldx, const int32_t *pos, const float *cos_table,
                      const float *sin_table, int rows, int heads, int dim, int dir)
{
    /* Eight table entries, each for the two values of its pair. */
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    const __m512 sign = _mm512_set1_ps(dir < 0 ? -1.0f : 1.0f);
    const size_t half = (size_t)(dim / 2);
    for (int r = 0; r < rows; r++) EACH_16(i, 2 * half)
        {
            const __mmask16 mask = lanes((ptrdiff_t)(2 * half) - i);
            const __mmask16 pairs = lanes((ptrdiff_t)half - i / 2) & 0xff;
            const size_t at = (size_t)pos[r] * half + (size_t)(i / 2);
            const __m512 c = _mm512_permutexvar_ps(twice, load(cos_table + at, pairs));
            const __m512 s =
                _mm512_mul_ps(_mm512_permutexvar_ps(twice, load(sin_table + at, pairs)), sign);
            float *x_r = x + (size_t)r * (size_t)ldx + i; /* x[r,0,i] */
            for (int h = 0; h < heads; h++, x_r += dim) {
                const __m512 ab = load(x_r, mask);
                const __m512 ba = _mm512_permute_ps(ab, 0xb1);
                /* even: a c - b s; odd: b c + a s */
                store(x_r, mask, _mm512_fmaddsub_ps(ab, c, _mm512_mul_ps(ba, s)));
            }
        }
}

/* ---- gates -------------------------------------------------------------------------------------- */

/* silu'(a) = s (1 + a (1 - s)), s = sigmoid(a) */
INLINE __m512 silu_slope(__m512 a, __m512 s)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    return _mm512_mul_ps(s, _mm512_fmadd_ps(a, _mm512_sub_ps(one, s), one));
}

void loci_swiglu_avx512(float *y, int ldy, const float *gu, int ldg, int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        const float *g = gu + (size_t)r * (size_t)ldg, *u = g + n; /* gate[r,:], up[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;                  /* y[r,:] */
        EACH_16(i, n)
        {
            const __mmask16 mask = lanes(n - i);
            const __m512 a = load(g + i, mask);
            store(y_r + i, mask, _mm512_mul_ps(_mm512_mul_ps(a, sigmoid512(a)), load(u + i, mask)));
        }
    }
}

void loci_swiglu_bwd_avx512(float *dgu, int lddg, const float *dy, int lddy, const float *gu,
                            int ldg, int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        const float *g = gu + (size_t)r * (size_t)ldg, *u = g + n; /* gate[r,:], up[r,:] */
        const float *dy_r = dy + (size_t)r * (size_t)lddy;         /* dy[r,:] */
        float *dg = dgu + (size_t)r * (size_t)lddg, *du = dg + n;  /* their gradients */
        EACH_16(i, n)
        {
            const __mmask16 mask = lanes(n - i);
            const __m512 a = load(g + i, mask), d = load(dy_r + i, mask), s = sigmoid512(a);
            store(dg + i, mask,
                  _mm512_mul_ps(_mm512_mul_ps(d, load(u + i, mask)), silu_slope(a, s)));
            store(du + i, mask, _mm512_mul_ps(d, _mm512_mul_ps(a, s)));
        }
    }
}

void loci_silu_avx512(float *y, const float *x, size_t n)
{
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes((ptrdiff_t)n - i);
        const __m512 a = load(x + i, mask);
        store(y + i, mask, _mm512_mul_ps(a, sigmoid512(a)));
    }
}

void loci_silu_bwd_avx512(float *dx, const float *dy, const float *x, size_t n)
{
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes((ptrdiff_t)n - i);
        const __m512 a = load(x + i, mask);
        store(dx + i, mask, _mm512_mul_ps(load(dy + i, mask), silu_slope(a, sigmoid512(a))));
    }
}

/* ---- softmax and loss -------------------------------------------------------------------------- */

INLINE float row_max(const float *x, int n)
{
    __m512 max = _mm512_set1_ps(-INFINITY);
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes(n - i);
        max = _mm512_mask_max_ps(max, mask, max, load(x + i, mask));
    }
    return _mm512_reduce_max_ps(max);
}

/* sum exp(x - max); y = exp(x - max) unless NULL, y may be x. */
INLINE float row_exp(float *y, const float *x, float max, int n)
{
    __m512 sum = _mm512_setzero_ps();
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes(n - i);
        const __m512 e = exp512(_mm512_sub_ps(load(x + i, mask), _mm512_set1_ps(max)));
        if (y) store(y + i, mask, e);
        sum = _mm512_mask_add_ps(sum, mask, sum, e);
    }
    return _mm512_reduce_add_ps(sum);
}

INLINE void row_scale(float *x, float factor, int n)
{
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes(n - i);
        store(x + i, mask, _mm512_mul_ps(load(x + i, mask), _mm512_set1_ps(factor)));
    }
}

INLINE float log_of(float x)
{
    return _mm512_cvtss_f32(log512(_mm512_set1_ps(x)));
}

void loci_softmax_avx512(float *y, int ldy, float *lse, const float *x, int ldx, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;       /* y[r,:] */
        const float max = row_max(x_r, cols), sum = row_exp(y_r, x_r, max, cols);
        row_scale(y_r, 1.0f / sum, cols);
        if (lse) lse[r] = max + log_of(sum);
    }
}

/* The first index where x is max; 0 if nowhere (NaN). */
INLINE int32_t first_equal(const float *x, float max, int n)
{
    EACH_16(i, n)
    {
        const __mmask16 in = lanes(n - i);
        const __mmask16 hit =
            _mm512_mask_cmp_ps_mask(in, load(x + i, in), _mm512_set1_ps(max), _CMP_EQ_OQ);
        if (hit) return (int32_t)i + __builtin_ctz(hit);
    }
    return 0;
}

void loci_cross_entropy_avx512(float *loss, int32_t *best, float *logits, int ldl,
                               const int32_t *target, const float *weight, float z, int rows,
                               int cols)
{
    for (int r = 0; r < rows; r++) {
        float *x = logits + (size_t)r * (size_t)ldl; /* logits[r,:] */
        const float max = row_max(x, cols);
        if (best) best[r] = first_equal(x, max, cols);
        if (target[r] < 0) {
            loss[r] = 0.0f;
            for (int i = 0; weight && i < cols; i++) x[i] = 0.0f;
            continue;
        }
        const float right = x[target[r]];
        const float sum = row_exp(weight ? x : NULL, x, max, cols), log_sum = log_of(sum);
        loss[r] = log_sum + (max - right);
        if (!weight) continue;
        row_scale(x, weight[r] * (1.0f + 2.0f * z * (max + log_sum)) / sum, cols);
        x[target[r]] -= weight[r];
    }
}

/* ---- plain vectors ----------------------------------------------------------------------------- */

void loci_axpy_avx512(float *y, const float *x, float a, size_t n)
{
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes((ptrdiff_t)n - i);
        store(y + i, mask,
              _mm512_fmadd_ps(load(x + i, mask), _mm512_set1_ps(a), load(y + i, mask)));
    }
}

double loci_dot_avx512(const float *a, const float *b, size_t n)
{
    return (double)inner(a, b, (ptrdiff_t)n);
}

void loci_adamw_avx512(float *p, float *m, float *v, const float *g, size_t n,
                       const loci_adamw_args *args)
{
    const __m512 b1 = _mm512_set1_ps(args->b1), b2 = _mm512_set1_ps(args->b2);
    /* 1 - b in double: of b2 = 0.999 the difference in f32 would be off by 3e-5. */
    const __m512 rest1 = _mm512_set1_ps((float)(1.0 - (double)args->b1));
    const __m512 rest2 = _mm512_set1_ps((float)(1.0 - (double)args->b2));
    const __m512 c1 = _mm512_set1_ps(1.0f / args->c1), c2 = _mm512_set1_ps(1.0f / args->c2);
    const __m512 eps = _mm512_set1_ps(args->eps), lr = _mm512_set1_ps(args->lr);
    EACH_16(i, n)
    {
        const __mmask16 mask = lanes((ptrdiff_t)n - i);
        const __m512 g_i = _mm512_mul_ps(load(g + i, mask), _mm512_set1_ps(args->gscale));
        const __m512 m_i = _mm512_fmadd_ps(b1, load(m + i, mask), _mm512_mul_ps(rest1, g_i));
        const __m512 v_i =
            _mm512_fmadd_ps(b2, load(v + i, mask), _mm512_mul_ps(_mm512_mul_ps(rest2, g_i), g_i));
        const __m512 root = _mm512_add_ps(_mm512_sqrt_ps(_mm512_mul_ps(v_i, c2)), eps);
        const __m512 p_i = load(p + i, mask);
        const __m512 step = _mm512_fmadd_ps(_mm512_set1_ps(args->wd), p_i,
                                            _mm512_div_ps(_mm512_mul_ps(m_i, c1), root));
        store(p + i, mask, _mm512_fnmadd_ps(lr, step, p_i));
        store(m + i, mask, m_i);
        store(v + i, mask, v_i);
    }
}

/* ---- int8 rows ----------------------------------------------------------------------------------- */

/* The same divisions and roundings as the reference: stored numbers must not depend on the
 * machine.  Operand orders of max and min treat a NaN as the reference does. */
void loci_quant_q8_avx512(int8_t *q, int ldq, float *scale, const float *x, int ldx, int rows,
                          int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        int8_t *q_r = q + (size_t)r * (size_t)ldq;      /* q[r,:] */
        __m512 max = _mm512_setzero_ps();
        EACH_16(i, cols) max = _mm512_max_ps(_mm512_abs_ps(load(x_r + i, lanes(cols - i))), max);
        scale[r] = _mm512_reduce_max_ps(max) / 127.0f;
        const __m512 unit = _mm512_set1_ps(scale[r]);
        EACH_16(i, cols)
        {
            const __mmask16 mask = lanes(cols - i);
            __m512 v = _mm512_setzero_ps();
            if (scale[r] > 0.0f) v = _mm512_div_ps(load(x_r + i, mask), unit);
            v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
            _mm_mask_storeu_epi8(q_r + i, mask, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
        }
    }
}

void loci_dequant_q8_avx512(float *x, int ldx, const int8_t *q, int ldq, const float *scale,
                            int rows, int cols)
{
    for (int r = 0; r < rows; r++) EACH_16(i, cols)
        {
            const __mmask16 mask = lanes(cols - i);
            const __m128i v = _mm_maskz_loadu_epi8(mask, q + (size_t)r * (size_t)ldq + i);
            store(x + (size_t)r * (size_t)ldx + i, mask,
                  _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v)),
                                _mm512_set1_ps(scale[r])));
        }
}
