/* vec_body.h - row-wise functions, in the words of avx*_math.h: norms, rotation, gates, softmax,
 * cross-entropy, AdamW, int8 rows.
 *
 * One vector at a time; the last one of a row is masked, so rows of any length and alignment
 * take the same path.  Sums run in several vectors where a single chain would wait for itself.
 * The file that includes this defines LOCI_ISA(family). */
#include <math.h>
#include "kernel/kernel.h"

#define EACH_VECTOR(i, n) for (ptrdiff_t i = 0; i < (ptrdiff_t)(n); i += VL)

INLINE vf load(const float *x, vm mask)
{
    return v_load_some(x, mask);
}

INLINE void store(float *y, vm mask, vf v)
{
    v_store_some(y, mask, v);
}

/* sum a b, in four vectors */
INLINE float inner(const float *a, const float *b, ptrdiff_t n)
{
    vf sum[4];
    UNROLL for (int v = 0; v < 4; v++) sum[v] = v_zero();
    ptrdiff_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        UNROLL for (int v = 0; v < 4; v++) sum[v] =
            v_fma(v_load(a + i + VL * v), v_load(b + i + VL * v), sum[v]);
    for (; i < n; i += VL)
        sum[0] = v_fma(load(a + i, v_lanes(n - i)), load(b + i, v_lanes(n - i)), sum[0]);
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

/* ---- norms ------------------------------------------------------------------------------ */

void LOCI_ISA(rmsnorm)(float *y, int ldy, float *inv, const float *x, int ldx, int rows, int cols,
                       float eps)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;       /* y[r,:] */
        const float scale = 1.0f / sqrtf(inner(x_r, x_r, cols) / (float)cols + eps);
        EACH_VECTOR(i, cols)
        {
            const vm mask = v_lanes(cols - i);
            store(y_r + i, mask, v_mul(load(x_r + i, mask), v_set(scale)));
        }
        if (inv) inv[r] = scale;
    }
}

void LOCI_ISA(rmsnorm_bwd)(float *dx, int lddx, const float *dy, int lddy, const float *y, int ldy,
                           const float *inv, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *dy_r = dy + (size_t)r * (size_t)lddy; /* dy[r,:] */
        const float *y_r = y + (size_t)r * (size_t)ldy;    /* y[r,:]  */
        float *dx_r = dx + (size_t)r * (size_t)lddx;       /* dx[r,:] */
        const vf mean = v_set(inner(dy_r, y_r, cols) / (float)cols);
        EACH_VECTOR(i, cols)
        {
            const vm mask = v_lanes(cols - i);
            const vf g = v_fnma(load(y_r + i, mask), mean, load(dy_r + i, mask));
            store(dx_r + i, mask, v_fma(g, v_set(inv[r]), load(dx_r + i, mask)));
        }
    }
}

/* ---- rotation --------------------------------------------------------------------------- */

void LOCI_ISA(rope)(float *x, int ldx, const int32_t *pos, const float *cos_table,
                    const float *sin_table, int rows, int heads, int dim, int dir)
{
    const vf sign = v_set(dir < 0 ? -1.0f : 1.0f);
    const int half = dim / 2;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < half; i += VL / 2) {
            const vm mask = v_lanes(2 * (half - i));
            const size_t at = (size_t)pos[r] * (size_t)half + (size_t)i;
            const vf c = v_twice(cos_table + at, half - i);
            const vf s = v_mul(v_twice(sin_table + at, half - i), sign);
            float *x_r = x + (size_t)r * (size_t)ldx + 2 * i; /* x[r,0,2i] */
            for (int h = 0; h < heads; h++, x_r += dim) {
                const vf ab = load(x_r, mask);
                /* even: a c - b s; odd: b c + a s */
                store(x_r, mask, v_fma_sub_add(ab, c, v_mul(v_swap_pairs(ab), s)));
            }
        }
}

/* ---- gates ------------------------------------------------------------------------------ */

/* silu'(a) = s (1 + a (1 - s)), s = sigmoid(a) */
INLINE vf silu_slope(vf a, vf s)
{
    const vf one = v_set(1.0f);
    return v_mul(s, v_fma(a, v_sub(one, s), one));
}

void LOCI_ISA(swiglu)(float *y, int ldy, const float *gu, int ldg, int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        const float *g = gu + (size_t)r * (size_t)ldg, *u = g + n; /* gate[r,:], up[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;                  /* y[r,:] */
        EACH_VECTOR(i, n)
        {
            const vm mask = v_lanes(n - i);
            const vf a = load(g + i, mask);
            store(y_r + i, mask, v_mul(v_mul(a, v_sigmoid(a)), load(u + i, mask)));
        }
    }
}

void LOCI_ISA(swiglu_bwd)(float *dgu, int lddg, const float *dy, int lddy, const float *gu, int ldg,
                          int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        const float *g = gu + (size_t)r * (size_t)ldg, *u = g + n; /* gate[r,:], up[r,:] */
        const float *dy_r = dy + (size_t)r * (size_t)lddy;         /* dy[r,:] */
        float *dg = dgu + (size_t)r * (size_t)lddg, *du = dg + n;  /* their gradients */
        EACH_VECTOR(i, n)
        {
            const vm mask = v_lanes(n - i);
            const vf a = load(g + i, mask), d = load(dy_r + i, mask), s = v_sigmoid(a);
            store(dg + i, mask, v_mul(v_mul(d, load(u + i, mask)), silu_slope(a, s)));
            store(du + i, mask, v_mul(d, v_mul(a, s)));
        }
    }
}

void LOCI_ISA(silu)(float *y, const float *x, size_t n)
{
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes((ptrdiff_t)n - i);
        const vf a = load(x + i, mask);
        store(y + i, mask, v_mul(a, v_sigmoid(a)));
    }
}

void LOCI_ISA(silu_bwd)(float *dx, const float *dy, const float *x, size_t n)
{
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes((ptrdiff_t)n - i);
        const vf a = load(x + i, mask);
        store(dx + i, mask, v_mul(load(dy + i, mask), silu_slope(a, v_sigmoid(a))));
    }
}

/* ---- softmax and loss ------------------------------------------------------------------- */

INLINE float row_max(const float *x, int n)
{
    vf max = v_set(-INFINITY);
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes(n - i);
        max = v_max(max, v_select(mask, load(x + i, mask), max));
    }
    return v_greatest(max);
}

/* sum exp(x - max); y = exp(x - max) unless NULL, y may be x. */
INLINE float row_exp(float *y, const float *x, float max, int n)
{
    vf sum = v_zero();
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes(n - i);
        const vf e = v_exp(v_sub(load(x + i, mask), v_set(max)));
        if (y) store(y + i, mask, e);
        sum = v_add(sum, v_select(mask, e, v_zero()));
    }
    return v_sum(sum);
}

INLINE void row_scale(float *x, float factor, int n)
{
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes(n - i);
        store(x + i, mask, v_mul(load(x + i, mask), v_set(factor)));
    }
}

INLINE float log_of(float x)
{
    return v_first(v_log(v_set(x)));
}

void LOCI_ISA(softmax)(float *y, int ldy, float *lse, const float *x, int ldx, int rows, int cols)
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
    EACH_VECTOR(i, n)
    {
        /* A lane behind the row could only hit after all others missed: only with NaN around. */
        const unsigned hit = v_equal(load(x + i, v_lanes(n - i)), v_set(max));
        if (hit && i + __builtin_ctz(hit) < n) return (int32_t)i + __builtin_ctz(hit);
    }
    return 0;
}

void LOCI_ISA(cross_entropy)(float *loss, int32_t *best, float *logits, int ldl,
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

/* ---- plain vectors ---------------------------------------------------------------------- */

void LOCI_ISA(axpy)(float *y, const float *x, float a, size_t n)
{
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes((ptrdiff_t)n - i);
        store(y + i, mask, v_fma(load(x + i, mask), v_set(a), load(y + i, mask)));
    }
}

double LOCI_ISA(dot)(const float *a, const float *b, size_t n)
{
    return (double)inner(a, b, (ptrdiff_t)n);
}

void LOCI_ISA(adamw)(float *p, float *m, float *v, const float *g, size_t n,
                     const loci_adamw_args *args)
{
    const vf b1 = v_set(args->b1), b2 = v_set(args->b2);
    /* 1 - b in double: of b2 = 0.999 the difference in f32 would be off by 3e-5. */
    const vf rest1 = v_set((float)(1.0 - (double)args->b1));
    const vf rest2 = v_set((float)(1.0 - (double)args->b2));
    const vf c1 = v_set(1.0f / args->c1), c2 = v_set(1.0f / args->c2);
    const vf eps = v_set(args->eps), lr = v_set(args->lr);
    EACH_VECTOR(i, n)
    {
        const vm mask = v_lanes((ptrdiff_t)n - i);
        const vf g_i = v_mul(load(g + i, mask), v_set(args->gscale));
        const vf m_i = v_fma(b1, load(m + i, mask), v_mul(rest1, g_i));
        const vf v_i = v_fma(b2, load(v + i, mask), v_mul(v_mul(rest2, g_i), g_i));
        const vf root = v_add(v_sqrt(v_mul(v_i, c2)), eps);
        const vf p_i = load(p + i, mask);
        const vf step = v_fma(v_set(args->wd), p_i, v_div(v_mul(m_i, c1), root));
        store(p + i, mask, v_fnma(lr, step, p_i));
        store(m + i, mask, m_i);
        store(v + i, mask, v_i);
    }
}

/* ---- int8 rows -------------------------------------------------------------------------- */

/* The same divisions and roundings as the reference: stored numbers must not depend on the
 * machine.  Operand orders of max and min treat a NaN as the reference does. */
void LOCI_ISA(quant_q8)(int8_t *q, int ldq, float *scale, const float *x, int ldx, int rows,
                        int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        int8_t *q_r = q + (size_t)r * (size_t)ldq;      /* q[r,:] */
        vf max = v_zero();
        EACH_VECTOR(i, cols) max = v_max(v_abs(load(x_r + i, v_lanes(cols - i))), max);
        scale[r] = v_greatest(max) / 127.0f;
        const vf unit = v_set(scale[r]);
        EACH_VECTOR(i, cols)
        {
            const vm mask = v_lanes(cols - i);
            vf v = v_zero();
            if (scale[r] > 0.0f) v = v_div(load(x_r + i, mask), unit);
            v = v_min(v_max(v, v_set(-127.0f)), v_set(127.0f));
            v_to_i8(q_r + i, cols - i, v);
        }
    }
}

void LOCI_ISA(dequant_q8)(float *x, int ldx, const int8_t *q, int ldq, const float *scale, int rows,
                          int cols)
{
    for (int r = 0; r < rows; r++) EACH_VECTOR(i, cols)
        {
            const vf v = v_from_i8(q + (size_t)r * (size_t)ldq + i, cols - i);
            store(x + (size_t)r * (size_t)ldx + i, v_lanes(cols - i), v_mul(v, v_set(scale[r])));
        }
}
