/* ref_vec.c - row-wise functions, stated plainly: norms, rotation, gates, softmax,
 * cross-entropy, AdamW.
 *
 * All sums and all transcendental functions are in double; one rounding at the end.  The
 * equations stand at the declarations in kernel.h. */
#include <math.h>
#include "kernel/kernel.h"

void loci_rmsnorm_ref(float *y, int ldy, float *inv, const float *x, int ldx, int rows, int cols,
                      float eps)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;       /* y[r,:] */
        double sum = 0.0;
        for (int i = 0; i < cols; i++) sum += (double)x_r[i] * x_r[i];
        const double scale = 1.0 / sqrt(sum / cols + (double)eps);
        for (int i = 0; i < cols; i++) y_r[i] = (float)(x_r[i] * scale);
        if (inv) inv[r] = (float)scale;
    }
}

void loci_rmsnorm_bwd_ref(float *dx, int lddx, const float *dy, int lddy, const float *y, int ldy,
                          const float *inv, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *dy_r = dy + (size_t)r * (size_t)lddy; /* dy[r,:] */
        const float *y_r = y + (size_t)r * (size_t)ldy;    /* y[r,:]  */
        float *dx_r = dx + (size_t)r * (size_t)lddx;       /* dx[r,:] */
        double dot = 0.0;
        for (int i = 0; i < cols; i++) dot += (double)dy_r[i] * y_r[i];
        for (int i = 0; i < cols; i++)
            dx_r[i] = (float)(dx_r[i] + inv[r] * (dy_r[i] - y_r[i] * dot / cols));
    }
}

void loci_rope_ref(float *x, int ldx, const int32_t *pos, const float *cos_table,
                   const float *sin_table, int rows, int heads, int dim, int dir)
{
    const int half = dim / 2;
    for (int r = 0; r < rows; r++) {
        const float *c = cos_table + (size_t)pos[r] * (size_t)half; /* cos[pos,:] */
        const float *s = sin_table + (size_t)pos[r] * (size_t)half; /* sin[pos,:] */
        for (int h = 0; h < heads; h++) {
            float *x_h = x + (size_t)r * (size_t)ldx + (size_t)h * (size_t)dim; /* x[r,h,:] */
            for (int i = 0; i < half; i++) {
                const double a = x_h[2 * i], b = x_h[2 * i + 1], sin_i = dir * (double)s[i];
                x_h[2 * i] = (float)(a * c[i] - b * sin_i);
                x_h[2 * i + 1] = (float)(a * sin_i + b * c[i]);
            }
        }
    }
}

static double sigmoid(double a)
{
    return 1.0 / (1.0 + exp(-a));
}

/* d silu(a) / da */
static double silu_slope(double a)
{
    const double s = sigmoid(a);
    return s * (1.0 + a * (1.0 - s));
}

void loci_swiglu_ref(float *y, int ldy, const float *gu, int ldg, int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        const float *g = gu + (size_t)r * (size_t)ldg, *u = g + n; /* gate[r,:], up[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;                  /* y[r,:] */
        for (int i = 0; i < n; i++) y_r[i] = (float)(g[i] * sigmoid(g[i]) * u[i]);
    }
}

void loci_swiglu_bwd_ref(float *dgu, int lddg, const float *dy, int lddy, const float *gu, int ldg,
                         int rows, int n)
{
    for (int r = 0; r < rows; r++) {
        const float *g = gu + (size_t)r * (size_t)ldg, *u = g + n; /* gate[r,:], up[r,:] */
        const float *dy_r = dy + (size_t)r * (size_t)lddy;         /* dy[r,:] */
        float *dg = dgu + (size_t)r * (size_t)lddg, *du = dg + n;  /* their gradients */
        for (int i = 0; i < n; i++) {
            dg[i] = (float)((double)dy_r[i] * u[i] * silu_slope(g[i]));
            du[i] = (float)(dy_r[i] * (g[i] * sigmoid(g[i])));
        }
    }
}

void loci_silu_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] * sigmoid(x[i]));
}

void loci_silu_bwd_ref(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) dx[i] = (float)(dy[i] * silu_slope(x[i]));
}

/* log sum_i exp x[i], n >= 1; the maximum is taken out so that nothing overflows. */
static double log_sum_exp(const float *x, int n)
{
    double max = x[0], sum = 0.0;
    for (int i = 1; i < n; i++)
        if (x[i] > max) max = x[i];
    for (int i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

void loci_softmax_ref(float *y, int ldy, float *lse, const float *x, int ldx, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        const float *x_r = x + (size_t)r * (size_t)ldx; /* x[r,:] */
        float *y_r = y + (size_t)r * (size_t)ldy;       /* y[r,:] */
        const double total = log_sum_exp(x_r, cols);
        for (int i = 0; i < cols; i++) y_r[i] = (float)exp(x_r[i] - total);
        if (lse) lse[r] = (float)total;
    }
}

void loci_axpy_ref(float *y, const float *x, float a, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)(y[i] + (double)a * x[i]);
}

double loci_dot_ref(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

void loci_cross_entropy_ref(float *loss, int32_t *best, float *logits, int ldl,
                            const int32_t *target, const float *weight, float z, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        float *x = logits + (size_t)r * (size_t)ldl; /* logits[r,:] */
        if (best) {
            best[r] = 0;
            for (int i = 1; i < cols; i++)
                if (x[i] > x[best[r]]) best[r] = i;
        }
        if (target[r] < 0) {
            loss[r] = 0.0f;
            for (int i = 0; weight && i < cols; i++) x[i] = 0.0f;
            continue;
        }
        const double lse = log_sum_exp(x, cols);
        loss[r] = (float)(lse - x[target[r]]);
        for (int i = 0; weight && i < cols; i++) {
            const double p = exp(x[i] - lse) * (1.0 + 2.0 * z * lse);
            x[i] = (float)(weight[r] * (p - (i == target[r] ? 1.0 : 0.0)));
        }
    }
}

void loci_adamw_ref(float *p, float *m, float *v, const float *g, size_t n,
                    const loci_adamw_args *args)
{
    const double b1 = args->b1, b2 = args->b2;
    for (size_t i = 0; i < n; i++) {
        const double g_i = (double)g[i] * args->gscale;
        const double m_i = b1 * m[i] + (1.0 - b1) * g_i;
        const double v_i = b2 * v[i] + (1.0 - b2) * g_i * g_i;
        const double step = m_i / args->c1 / (sqrt(v_i / args->c2) + args->eps);
        p[i] = (float)(p[i] - args->lr * (step + (double)args->wd * p[i]));
        m[i] = (float)m_i;
        v[i] = (float)v_i;
    }
}
