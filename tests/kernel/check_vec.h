/* check_vec.h - row-wise functions against their equations in double.
 *
 * exp and log in f32 are promised to 2e-7; EXP leaves as much again for their arguments.  Sums of n
 * terms may lose n roundings.  TAIL is what a sigmoid below the smallest normal number may lose. */
#ifndef CHECK_VEC_H
#define CHECK_VEC_H

#include "kernel_test.h"

#define EXP  4e-7
#define TAIL 1e-36

/* Call once a size and range, rows of awkward lengths; cols >= 1. */
typedef void row_case_fn(const void *fn, loci_rng *rng, range kind, int rows, int cols, int gap,
                         int shift);

static inline void each_row_case(row_case_fn *one, const void *fn, uint64_t seed)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + seed);
    for (int i = 0; i < COUNT(awkward); i++)
        for (range kind = TINY; kind <= WIDE; kind++)
            for (int shift = 0; shift < 3; shift++)
                if (awkward[i] > 0) one(fn, &rng, kind, 3 * (shift < 2), awkward[i], shift, shift);
}

/* The family's function behind a const void *: what each_row_case hands through. */
#define ROW_CHECK(family, seed)                                                                    \
    static inline void check_##family(loci_##family##_fn *fn)                                      \
    {                                                                                              \
        each_row_case(family##_case, &fn, seed);                                                   \
    }
#define FN(family) (*(loci_##family##_fn *const *)fn)

/* ---- norms ------------------------------------------------------------------------------ */

static inline void rmsnorm_case(const void *fn, loci_rng *rng, range kind, int rows, int cols,
                                int gap, int shift)
{
    mat x = mat_new(rng, kind, rows, cols, gap, shift), before = mat_copy(&x);
    mat y = mat_new(rng, UNSET, rows, cols, gap, shift), inv = mat_raw(4, 1, rows, 0, shift);
    const bool in_place = shift == 1;
    mat *out = in_place ? &x : &y;
    FN(rmsnorm)(out->at.f, out->ld, gap == 0 ? NULL : inv.at.f, x.at.f, x.ld, rows, cols, 1e-6f);
    for (int r = 0; r < rows; r++) {
        double sum = 0;
        for (int c = 0; c < cols; c++) sum += (double)mat_at(&before, r, c) * mat_at(&before, r, c);
        const double scale = 1 / sqrt(sum / cols + (double)1e-6f), rel = (cols + 9) * EPS;
        if (gap) near(inv.at.f[r], scale, scale * rel, "rmsnorm inv", r, cols);
        for (int c = 0; c < cols; c++) {
            const double want = mat_at(&before, r, c) * scale;
            near(mat_at(out, r, c), want, fabs(want) * rel + STEP, "rmsnorm", r, c);
        }
    }
    mat_intact(out, "rmsnorm");
    mat_intact(&inv, "rmsnorm inv");
    mat_free(&x);
    mat_free(&before);
    mat_free(&y);
    mat_free(&inv);
}
ROW_CHECK(rmsnorm, 10)

static inline void rmsnorm_bwd_case(const void *fn, loci_rng *rng, range kind, int rows, int cols,
                                    int gap, int shift)
{
    mat y = mat_new(rng, NORMAL, rows, cols, gap, shift),
        inv = mat_new(rng, kind, 1, rows, 0, shift);
    mat dy = mat_new(rng, kind, rows, cols, gap, shift),
        old = mat_new(rng, kind, rows, cols, gap, shift);
    mat dx = mat_copy(&old);
    FN(rmsnorm_bwd)(dx.at.f, dx.ld, dy.at.f, dy.ld, y.at.f, y.ld, inv.at.f, rows, cols);
    for (int r = 0; r < rows; r++) {
        double dot = 0, size = 0;
        for (int c = 0; c < cols; c++) {
            dot += (double)mat_at(&dy, r, c) * mat_at(&y, r, c);
            size += fabs((double)mat_at(&dy, r, c) * mat_at(&y, r, c));
        }
        for (int c = 0; c < cols; c++) {
            const double i = inv.at.f[r], a = i * mat_at(&dy, r, c);
            const double b = i * mat_at(&y, r, c) * dot / cols, before = mat_at(&old, r, c);
            const double lost = fabs(i * mat_at(&y, r, c)) * (cols + 2) * 2 * EPS * size / cols;
            near(mat_at(&dx, r, c), before + a - b,
                 lost + 4 * EPS * (fabs(a) + fabs(b) + fabs(before)) + 4 * STEP, "rmsnorm_bwd", r,
                 c);
        }
    }
    mat_intact(&dx, "rmsnorm_bwd");
    mat_free(&y);
    mat_free(&inv);
    mat_free(&dy);
    mat_free(&old);
    mat_free(&dx);
}
ROW_CHECK(rmsnorm_bwd, 11)

/* ---- rotation --------------------------------------------------------------------------- */

static inline void check_rope(loci_rope_fn *fn)
{
    static const int dims[] = { 2, 4, 6, 14, 16, 18, 30, 32, 34, 64, 128 };
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 12);
    for (int i = 0; i < COUNT(dims) * 12; i++) {
        const int dim = dims[i / 12], heads = i % 4, rows = i % 12 < 10 ? 4 : 0, n_pos = 9;
        const int dir = i % 2 ? 1 : -1, shift = i % 3;
        mat c = mat_new(&rng, NORMAL, n_pos, dim / 2, 0, shift);
        mat s = mat_new(&rng, NORMAL, n_pos, dim / 2, 0, shift);
        mat pos = mat_raw(4, 1, rows, 0, shift);
        for (int r = 0; r < rows; r++) pos.at.i[r] = (int32_t)loci_rng_below(&rng, (uint32_t)n_pos);
        mat x = mat_new(&rng, (range)(i % 3), rows, heads * dim, shift, shift), old = mat_copy(&x);
        fn(x.at.f, x.ld, pos.at.i, c.at.f, s.at.f, rows, heads, dim, dir);
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < heads * dim / 2; j++) {
                const double a = mat_at(&old, r, 2 * j), b = mat_at(&old, r, 2 * j + 1);
                const double cj = mat_at(&c, pos.at.i[r], j % (dim / 2));
                const double sj = dir * (double)mat_at(&s, pos.at.i[r], j % (dim / 2));
                near(mat_at(&x, r, 2 * j), a * cj - b * sj,
                     3 * EPS * (fabs(a * cj) + fabs(b * sj)) + 2 * STEP, "rope", r, 2 * j);
                near(mat_at(&x, r, 2 * j + 1), b * cj + a * sj,
                     3 * EPS * (fabs(b * cj) + fabs(a * sj)) + 2 * STEP, "rope", r, 2 * j + 1);
            }
        mat_intact(&x, "rope");
        mat_free(&c);
        mat_free(&s);
        mat_free(&pos);
        mat_free(&x);
        mat_free(&old);
    }
}

/* ---- gates ------------------------------------------------------------------------------ */

static inline double truth_sigmoid(double a)
{
    return 1 / (1 + exp(-a));
}

/* silu'(a) and how far f32 may be from it: 1 - s loses up to a rounding of 1. */
static inline double truth_slope(double a, double *error)
{
    const double s = truth_sigmoid(a), rest = truth_sigmoid(-a);
    *error = 3 * EXP * (s + fabs(a) * s * rest) + fabs(a) * s * 4 * EPS + TAIL * (1 + fabs(a));
    return s * (1 + a * rest);
}

static inline void swiglu_case(const void *fn, loci_rng *rng, range kind, int rows, int n, int gap,
                               int shift)
{
    mat gu = mat_new(rng, kind, rows, 2 * n, gap, shift),
        y = mat_new(rng, UNSET, rows, n, gap, shift);
    FN(swiglu)(y.at.f, y.ld, gu.at.f, gu.ld, rows, n);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++) {
            const double g = mat_at(&gu, r, i), u = mat_at(&gu, r, n + i);
            const double want = g * truth_sigmoid(g) * u;
            near(mat_at(&y, r, i), want, 3 * EXP * fabs(want) + TAIL * (1 + fabs(u)), "swiglu", r,
                 i);
        }
    mat_intact(&y, "swiglu");
    mat_free(&gu);
    mat_free(&y);
}
ROW_CHECK(swiglu, 13)

static inline void swiglu_bwd_case(const void *fn, loci_rng *rng, range kind, int rows, int n,
                                   int gap, int shift)
{
    mat gu = mat_new(rng, kind, rows, 2 * n, gap, shift),
        dy = mat_new(rng, kind, rows, n, gap, shift);
    mat d = mat_new(rng, UNSET, rows, 2 * n, gap, shift);
    FN(swiglu_bwd)(d.at.f, d.ld, dy.at.f, dy.ld, gu.at.f, gu.ld, rows, n);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++) {
            const double g = mat_at(&gu, r, i), u = mat_at(&gu, r, n + i), dy_i = mat_at(&dy, r, i);
            double error;
            const double slope = truth_slope(g, &error), du = dy_i * g * truth_sigmoid(g);
            near(mat_at(&d, r, i), dy_i * u * slope,
                 fabs(dy_i * u) * error + 4 * EPS * fabs(dy_i * u * slope) + TAIL, "dgate", r, i);
            near(mat_at(&d, r, n + i), du, 3 * EXP * fabs(du) + TAIL * (1 + fabs(dy_i)), "dup", r,
                 i);
        }
    mat_intact(&d, "swiglu_bwd");
    mat_free(&gu);
    mat_free(&dy);
    mat_free(&d);
}
ROW_CHECK(swiglu_bwd, 14)

static inline void silu_case(const void *fn, loci_rng *rng, range kind, int rows, int n, int gap,
                             int shift)
{
    (void)rows;
    mat x = mat_new(rng, kind, 1, n, 0, shift), before = mat_copy(&x);
    mat y = mat_new(rng, UNSET, 1, n, 0, shift);
    mat *out = gap ? &x : &y; /* also in place */
    FN(silu)(out->at.f, x.at.f, (size_t)n);
    for (int i = 0; i < n; i++) {
        const double a = before.at.f[i], want = a * truth_sigmoid(a);
        near(out->at.f[i], want, 3 * EXP * fabs(want) + TAIL, "silu", n, i);
    }
    mat_intact(out, "silu");
    mat_free(&x);
    mat_free(&before);
    mat_free(&y);
}
ROW_CHECK(silu, 15)

static inline void silu_bwd_case(const void *fn, loci_rng *rng, range kind, int rows, int n,
                                 int gap, int shift)
{
    (void)rows;
    mat x = mat_new(rng, kind, 1, n, 0, shift), dy = mat_new(rng, kind, 1, n, 0, shift);
    mat before = mat_copy(&dy), dx = mat_new(rng, UNSET, 1, n, 0, shift);
    mat *out = gap ? &dy : &dx; /* also in place */
    FN(silu_bwd)(out->at.f, dy.at.f, x.at.f, (size_t)n);
    for (int i = 0; i < n; i++) {
        double error;
        const double d = before.at.f[i], slope = truth_slope(x.at.f[i], &error);
        near(out->at.f[i], d * slope, fabs(d) * (error + 4 * EPS * fabs(slope)) + TAIL, "silu_bwd",
             n, i);
    }
    mat_intact(out, "silu_bwd");
    mat_free(&x);
    mat_free(&dy);
    mat_free(&before);
    mat_free(&dx);
}
ROW_CHECK(silu_bwd, 16)

/* ---- softmax and loss ------------------------------------------------------------------- */

static inline double truth_lse(const mat *x, int r, double *max)
{
    double sum = 0;
    *max = -INFINITY;
    for (int c = 0; c < x->cols; c++) *max = fmax(*max, mat_at(x, r, c));
    for (int c = 0; c < x->cols; c++) sum += exp(mat_at(x, r, c) - *max);
    return *max + log(sum);
}

/* How far a probability may be off: x - max is rounded, exp is, the sum is. */
static inline double softmax_error(double p, double x, double max, int cols)
{
    return p > 0 ? p * (expm1(2 * EPS * fabs(x - max)) + 2 * EXP + (cols + 4) * 2 * EPS) + 2 * STEP
                 : 2 * STEP;
}

static inline void softmax_case(const void *fn, loci_rng *rng, range kind, int rows, int cols,
                                int gap, int shift)
{
    mat x = mat_new(rng, kind, rows, cols, gap, shift);
    if (rows && cols > 2) x.at.f[cols / 2] = -INFINITY; /* a masked entry */
    mat before = mat_copy(&x), y = mat_new(rng, UNSET, rows, cols, gap, shift);
    mat lse = mat_raw(4, 1, rows, 0, shift);
    mat *out = shift == 1 ? &x : &y; /* also in place */
    FN(softmax)(out->at.f, out->ld, gap ? lse.at.f : NULL, x.at.f, x.ld, rows, cols);
    for (int r = 0; r < rows; r++) {
        double max;
        const double total = truth_lse(&before, r, &max);
        if (gap)
            near(lse.at.f[r], total, 2 * EPS * fabs(total) + (cols + 4) * 2 * EPS + EXP, "lse", r,
                 cols);
        for (int c = 0; c < cols; c++) {
            const double x_rc = mat_at(&before, r, c), p = exp(x_rc - total);
            near(mat_at(out, r, c), p, softmax_error(p, x_rc, max, cols), "softmax", r, c);
        }
    }
    mat_intact(out, "softmax");
    mat_intact(&lse, "lse");
    mat_free(&x);
    mat_free(&before);
    mat_free(&y);
    mat_free(&lse);
}
ROW_CHECK(softmax, 17)

static inline void cross_entropy_row(const mat *x, const mat *before, int r, int32_t target,
                                     float loss, const float *weight, double z)
{
    double max;
    const double lse = truth_lse(before, r, &max), size = (x->cols + 4) * 2 * EPS + EXP;
    const double want = target < 0 ? 0.0 : lse - mat_at(before, r, target);
    near(loss, want, target < 0 ? 0.0 : size + 2 * EPS * fabs(want), "loss", r, target);
    for (int c = 0; c < x->cols; c++) {
        const double x_rc = mat_at(before, r, c), p = exp(x_rc - lse);
        const double factor = 1 + 2 * z * lse, hit = c == target;
        if (!weight || target < 0) {
            near(mat_at(x, r, c), weight ? 0.0 : x_rc, 0.0, "kept or cleared", r, c);
            continue;
        }
        const double grad = *weight * (p * factor - hit);
        const double lost = softmax_error(p, x_rc, max, x->cols) * fabs(factor) +
                            p * (2 * z * (size + 4 * EPS * fabs(lse)) + 6 * EPS * fabs(factor));
        near(mat_at(x, r, c), grad, fabs((double)*weight) * (lost + 4 * EPS * hit) + STEP,
             "dlogits", r, c);
    }
}

static inline void cross_entropy_case(const void *fn, loci_rng *rng, range kind, int rows, int cols,
                                      int gap, int shift)
{
    mat x = mat_new(rng, kind, rows, cols, gap, shift), before = mat_copy(&x);
    mat target = mat_raw(4, 1, rows, 0, shift), best = mat_raw(4, 1, rows, 0, shift);
    mat loss = mat_raw(4, 1, rows, 0, shift), weight = mat_new(rng, NORMAL, 1, rows, 0, shift);
    for (int r = 0; r < rows; r++)
        target.at.i[r] = r == 1 ? -1 : (int32_t)loci_rng_below(rng, (uint32_t)cols);
    const float z = gap ? 0.01f : 0.0f;
    const bool weighted = shift != 0;
    FN(cross_entropy)
    (loss.at.f, shift ? best.at.i : NULL, x.at.f, x.ld, target.at.i, weighted ? weight.at.f : NULL,
     z, rows, cols);
    for (int r = 0; r < rows; r++) {
        cross_entropy_row(&x, &before, r, target.at.i[r], loss.at.f[r],
                          weighted ? &weight.at.f[r] : NULL, (double)z);
        int first = 0; /* WHOLE has many ties */
        for (int c = 1; c < cols; c++)
            if (mat_at(&before, r, c) > mat_at(&before, r, first)) first = c;
        if (shift) assert_int_equal(best.at.i[r], first);
    }
    mat_intact(&x, "cross_entropy");
    mat_intact(&loss, "loss");
    mat_intact(&best, "best");
    mat_free(&x);
    mat_free(&before);
    mat_free(&target);
    mat_free(&best);
    mat_free(&loss);
    mat_free(&weight);
}
ROW_CHECK(cross_entropy, 18)

/* ---- plain vectors ---------------------------------------------------------------------- */

static inline void axpy_case(const void *fn, loci_rng *rng, range kind, int rows, int n, int gap,
                             int shift)
{
    (void)gap;
    n = rows ? n : 0;
    mat x = mat_new(rng, kind, 1, n, 0, shift), y = mat_new(rng, kind, 1, n, 0, shift);
    mat old = mat_copy(&y);
    const float a = value(rng, NORMAL);
    FN(axpy)(y.at.f, x.at.f, a, (size_t)n);
    for (int i = 0; i < n; i++) {
        const double ax = (double)a * x.at.f[i], before = old.at.f[i];
        near(y.at.f[i], before + ax, 2 * EPS * (fabs(ax) + fabs(before)) + STEP, "axpy", n, i);
    }
    mat_intact(&y, "axpy");
    mat_free(&x);
    mat_free(&y);
    mat_free(&old);
}
ROW_CHECK(axpy, 19)

static inline void dot_case(const void *fn, loci_rng *rng, range kind, int rows, int n, int gap,
                            int shift)
{
    (void)gap;
    n = rows ? n : 0;
    mat a = mat_new(rng, kind, 1, n, 0, shift), b = mat_new(rng, kind, 1, n, 0, shift);
    double sum = 0, size = 0;
    for (int i = 0; i < n; i++) {
        sum += (double)a.at.f[i] * b.at.f[i];
        size += fabs((double)a.at.f[i] * b.at.f[i]);
    }
    near(FN(dot)(a.at.f, b.at.f, (size_t)n), sum, (n + 1) * (EPS * size + STEP), "dot", n, 0);
    mat_free(&a);
    mat_free(&b);
}
ROW_CHECK(dot, 20)

static inline void adamw_case(const void *fn, loci_rng *rng, range kind, int rows, int n, int gap,
                              int shift)
{
    static const loci_adamw_args args = { .lr = 3e-3f,
                                          .b1 = 0.9f,
                                          .b2 = 0.999f,
                                          .eps = 1e-8f,
                                          .wd = 0.1f,
                                          .c1 = 0.271f,
                                          .c2 = 0.002997f,
                                          .gscale = 0.7f };
    (void)gap;
    n = rows ? n : 0;
    mat p = mat_new(rng, NORMAL, 1, n, 0, shift), m = mat_new(rng, kind, 1, n, 0, shift);
    mat v = mat_new(rng, kind, 1, n, 0, shift), g = mat_new(rng, kind, 1, n, 0, shift);
    for (int i = 0; i < n; i++) v.at.f[i] = fabsf(v.at.f[i]);
    mat p0 = mat_copy(&p), m0 = mat_copy(&m), v0 = mat_copy(&v);
    FN(adamw)(p.at.f, m.at.f, v.at.f, g.at.f, (size_t)n, &args);
    for (int i = 0; i < n; i++) {
        const double b1 = args.b1, b2 = args.b2, g_i = (double)g.at.f[i] * args.gscale;
        const double m_i = b1 * m0.at.f[i] + (1 - b1) * g_i, was = p0.at.f[i];
        const double m_err = 4 * EPS * (fabs(b1 * m0.at.f[i]) + fabs((1 - b1) * g_i)) + 4 * STEP;
        const double v_i = b2 * v0.at.f[i] + (1 - b2) * g_i * g_i, v_err = 8 * EPS * v_i + 4 * STEP;
        near(m.at.f[i], m_i, m_err, "adamw m", n, i);
        near(v.at.f[i], v_i, v_err, "adamw v", n, i);
        const double root = sqrt(v_i / args.c2) + args.eps, step = m_i / args.c1 / root;
        const double root_err =
            sqrt((v_i + v_err) / args.c2) - sqrt(v_i / args.c2) + 4 * EPS * root;
        const double step_err = m_err / args.c1 / root + fabs(step) * (root_err / root + 8 * EPS);
        const double decay = (double)args.wd * was;
        near(p.at.f[i], was - args.lr * (step + decay),
             args.lr * (step_err + 4 * EPS * (fabs(step) + fabs(decay))) + 2 * EPS * fabs(was),
             "adamw p", n, i);
    }
    mat *all[] = { &p, &m, &v, &g, &p0, &m0, &v0 };
    for (int i = 0; i < 7; i++) {
        mat_intact(all[i], "adamw");
        mat_free(all[i]);
    }
}
ROW_CHECK(adamw, 21)

#endif
