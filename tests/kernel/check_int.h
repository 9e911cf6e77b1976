/* check_int.h - integer products against kernel.h, bit for bit.
 *
 * The truth is worked out from the unpacked weights in 64-bit integers and rounded in the order that
 * the contract states, so it tests the packing too.  Extremes are drawn often: -128 among the weights,
 * +-127 in x, whole columns of them, where sums of pairs come closest to 16 bits. */
#ifndef CHECK_INT_H
#define CHECK_INT_H

#include "kernel_test.h"
#include "kernel/kv_int.h"
#include "kernel/number.h"

typedef struct {
    int m, first, n, k;
} int_shape;

static const int_shape int_shapes[] = {
    { 0, 0, 3, 32 },    { 1, 0, 0, 32 },     { 3, 0, 5, 0 },     { 1, 0, 1, 1 },
    { 1, 0, 7, 3 },     { 1, 16, 16, 4 },    { 1, 0, 17, 5 },    { 1, 32, 33, 63 },
    { 1, 0, 48, 64 },   { 1, 0, 65, 255 },   { 2, 0, 15, 31 },   { 2, 16, 31, 33 },
    { 3, 0, 32, 65 },   { 4, 0, 47, 127 },   { 5, 0, 49, 128 },  { 6, 48, 63, 129 },
    { 7, 0, 64, 7 },    { 8, 0, 80, 256 },   { 9, 0, 96, 17 },   { 15, 16, 127, 96 },
    { 16, 0, 113, 64 }, { 17, 0, 129, 192 }, { 31, 0, 144, 32 }, { 65, 0, 34, 160 },
    { 9, 0, 19, 2047 }, { 1, 0, 30, 4096 },  { 3, 0, 16, 32768 }
};

static inline int8_t weight_byte(loci_rng *rng, int form)
{
    if (form == 1) return loci_rng_below(rng, 2) ? -128 : 127;
    if (form == 2) return -128;
    return (int8_t)((int)loci_rng_below(rng, 256) - 128);
}

/* (rows, k rounded up to 4) with zero in the end; canaries of other values behind it. */
static inline mat int_rows(loci_rng *rng, int form, int rows, int k, int shift)
{
    const int padded = (k + 3) / 4 * 4;
    mat x = mat_raw(1, rows, padded, shift, shift);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < padded; c++) {
            const int v = form == 0   ? (int)loci_rng_below(rng, 255) - 127
                          : form == 1 ? (loci_rng_below(rng, 2) ? 127 : -127)
                                      : -127;
            x.at.q[(size_t)r * (size_t)x.ld + (size_t)c] = (int8_t)(c < k ? v : 0);
        }
    return x;
}

/* What both kinds share: scales of x, the output, and the comparison. */
typedef struct {
    mat x, sx, y, old;
    int_shape s;
    int add;
} int_case;

static inline int_case int_case_new(loci_rng *rng, int_shape s, int form, int shift)
{
    int_case c = { .s = s, .add = shift & 1 };
    c.x = int_rows(rng, form, s.m, s.k, shift);
    c.sx = mat_new(rng, NORMAL, 1, s.m, 0, shift);
    c.old = mat_new(rng, NORMAL, s.m, s.n, shift, shift);
    c.y = c.add ? mat_copy(&c.old) : mat_new(rng, UNSET, s.m, s.n, shift, shift);
    return c;
}

static inline int64_t int_dot(const int_case *c, int i, const int8_t *w, int from, int to)
{
    int64_t dot = 0;
    for (int l = from; l < to; l++)
        dot += c->x.at.q[(size_t)i * (size_t)c->x.ld + (size_t)l] * w[l];
    return dot;
}

static inline void int_same(const int_case *c, int i, int j, float sum, const char *what)
{
    const float v = sum * c->sx.at.f[i];
    const float want = c->add ? mat_at(&c->old, i, j) + v : v, got = mat_at(&c->y, i, j);
    if (memcmp(&got, &want, sizeof got) != 0)
        fail_msg("%s m %d first %d n %d k %d add %d [%d,%d]: %.9g, should be %.9g", what, c->s.m,
                 c->s.first, c->s.n, c->s.k, c->add, i, j, got, want);
}

static inline void int_case_free(int_case *c, const char *what)
{
    mat_intact(&c->y, what);
    mat_free(&c->x);
    mat_free(&c->sx);
    mat_free(&c->old);
    mat_free(&c->y);
}

static inline void w8_case(loci_gemm_w8a8_fn *fn, loci_rng *rng, int_shape s, int form, int shift)
{
    const int rows = s.first + s.n, padded = loci_panels(rows) * LOCI_PANEL;
    mat q = mat_raw(1, rows, s.k, 0, 0), scale = mat_new(rng, NORMAL, 1, rows, 0, 0);
    for (size_t i = 0; i < mat_span(&q); i++) q.at.q[i] = weight_byte(rng, form);
    mat data = mat_raw(1, 1, (int)loci_w8_bytes(rows, s.k), 0, 0);
    mat packed_scale = mat_raw(4, 1, padded, 0, 0), sum = mat_raw(4, 1, padded, 0, 0);
    loci_w8_pack(data.at.q, packed_scale.at.f, sum.at.i, q.at.q, scale.at.f, rows, s.k);
    const loci_w8 w = { data.at.q, packed_scale.at.f, sum.at.i, rows, s.k };
    int_case c = int_case_new(rng, s, form, shift);
    fn(c.y.at.f, c.y.ld, c.x.at.q, c.x.ld, c.sx.at.f, &w, s.first, s.m, s.n, c.add);
    for (int i = 0; i < s.m; i++)
        for (int j = 0; j < s.n; j++) {
            const int8_t *row = q.at.q + (size_t)(s.first + j) * (size_t)s.k;
            int_same(&c, i, j, (float)int_dot(&c, i, row, 0, s.k) * scale.at.f[s.first + j], "w8");
        }
    int_case_free(&c, "w8");
    mat_free(&q);
    mat_free(&scale);
    mat_free(&data);
    mat_free(&packed_scale);
    mat_free(&sum);
}

static inline void w4_case(loci_gemm_w4a8_fn *fn, loci_rng *rng, int_shape s, int form, int shift)
{
    s.k = (s.k + 31) / 32 * 32;
    const int rows = s.first + s.n, panels = loci_panels(rows), groups = s.k / 32;
    int8_t *q = malloc((size_t)rows * (size_t)s.k + 1); /* -8 .. 7, one a byte */
    mat nibbles = mat_raw(1, rows, s.k / 2, 0, 0), half = mat_raw(2, rows, groups, 0, 0);
    assert_non_null(q);
    for (int i = 0; i < rows * s.k; i++)
        q[i] = (int8_t)(form == 2 ? -8 : (int)loci_rng_below(rng, 16) - 8);
    for (int i = 0; i < rows * s.k / 2; i++)
        nibbles.at.q[i] = (int8_t)((q[2 * i] + 8) | (q[2 * i + 1] + 8) << 4);
    for (int i = 0; i < rows * groups; i++) half.at.h[i] = loci_f32_to_f16(value(rng, NORMAL));
    mat data = mat_raw(1, 1, (int)loci_w4_bytes(rows, s.k), 0, 0);
    mat scale = mat_raw(2, 1, panels * LOCI_PANEL * groups, 0, 0);
    loci_w4_pack((uint8_t *)data.at.q, scale.at.h, (const uint8_t *)nibbles.at.q, half.at.h, rows,
                 s.k);
    const loci_w4 w = { (const uint8_t *)data.at.q, scale.at.h, rows, s.k };
    int_case c = int_case_new(rng, s, form, shift);
    fn(c.y.at.f, c.y.ld, c.x.at.q, c.x.ld, c.sx.at.f, &w, s.first, s.m, s.n, c.add);
    for (int i = 0; i < s.m; i++)
        for (int j = 0; j < s.n; j++) {
            const int r = s.first + j;
            float sum = 0.0f;
            for (int g = 0; g < groups; g++)
                sum = fmaf((float)int_dot(&c, i, q + (size_t)r * (size_t)s.k, 32 * g, 32 * g + 32),
                           loci_f16_to_f32(half.at.h[r * groups + g]), sum);
            int_same(&c, i, j, sum, "w4");
        }
    int_case_free(&c, "w4");
    free(q);
    mat_free(&nibbles);
    mat_free(&half);
    mat_free(&data);
    mat_free(&scale);
}

static inline void check_gemm_w8a8(loci_gemm_w8a8_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 80);
    for (int i = 0; i < COUNT(int_shapes); i++)
        for (int form = 0; form < 3; form++)
            for (int shift = 0; shift < 4; shift++) w8_case(fn, &rng, int_shapes[i], form, shift);
}

static inline void check_gemm_w4a8(loci_gemm_w4a8_fn *fn)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 81);
    for (int i = 0; i < COUNT(int_shapes); i++)
        for (int form = 0; form < 3; form++)
            for (int shift = 0; shift < 4; shift++) w4_case(fn, &rng, int_shapes[i], form, shift);
}

/* ---- attention on integers ------------------------------------------------------------------ */

typedef struct {
    int T, past, H, G, d, W;
} int_window;

/* Windows of one key, at and around blocks of 16 keys, at the limit; 1 to 9 heads a group. */
static const int_window int_windows[] = {
    { 0, 0, 1, 1, 32, 4 },      { 1, 0, 1, 1, 32, 1 },     { 7, 0, 2, 1, 64, 1 },
    { 8, 1, 2, 2, 64, 3 },      { 9, 7, 3, 1, 32, 16 },    { 17, 0, 4, 2, 96, 15 },
    { 31, 33, 1, 1, 64, 17 },   { 65, 0, 3, 1, 64, 64 },   { 64, 63, 8, 2, 64, 100 },
    { 20, 300, 1, 1, 128, 37 }, { 129, 0, 2, 1, 32, 127 }, { 3, 255, 8, 2, 64, 256 },
    { 1, 511, 8, 2, 64, 256 },  { 40, 3, 18, 2, 32, 33 },  { 5, 1100, 3, 1, 64, 1024 },
    { 9, 1040, 1, 1, 32, 1024 }
};

typedef struct {
    mat k, v, k_scale, v_scale;
    loci_kv_int kv;
} int_kv;

/* Room for n rows and a block more, all zero. */
static inline int_kv int_kv_new(int n, int G, int d)
{
    const int cap = (n + 31) / 16 * 16;
    int_kv x = { mat_raw(2, 1, G * cap * d, 0, 0),
                 mat_raw(2, 1, G * cap * d, 0, 0),
                 mat_raw(4, 1, G * cap, 0, 0),
                 mat_raw(4, 1, G * cap, 0, 0),
                 { 0 } };
    mat *part[] = { &x.k, &x.v, &x.k_scale, &x.v_scale };
    for (int i = 0; i < 4; i++) memset(part[i]->at.q, 0, (size_t)part[i]->cols * part[i]->elem);
    x.kv = (loci_kv_int){ (int16_t *)x.k.at.h, (int16_t *)x.v.at.h, x.k_scale.at.f, x.v_scale.at.f,
                          cap };
    return x;
}

static inline void int_kv_free(int_kv *x)
{
    mat_free(&x->k);
    mat_free(&x->v);
    mat_free(&x->k_scale);
    mat_free(&x->v_scale);
}

/* o of one query and head in double, from the packed numbers; *bound: how far a variant may be off.
 * A weight is rounded to P/16383, an exponential is good to 4e-7 and its share of the sum to 2^-20; a
 * score has four roundings. */
static inline void int_truth(double *o, double *bound, const float *q, const loci_kv_int *kv, int g,
                             int first, int last, int d, float scale)
{
    static double e[1100];
    int32_t qi[HEAD_MAX];
    const size_t head = (size_t)g * (size_t)kv->cap;
    const double unit = (double)loci_round_row(qi, q, d, KEY_MAX) * scale;
    double max = -INFINITY, sum = 0, top = 0, slack = 0;
    for (int j = first; j <= last; j++) {
        double dot = 0;
        for (int c = 0; c < d; c++)
            dot +=
                (double)qi[c] *
                kv->k[(head + (size_t)(j / 16 * 16)) * (size_t)d + c / 2 * 32 + j % 16 * 2 + c % 2];
        e[j - first] = dot * kv->k_scale[head + (size_t)j] * unit;
        max = fmax(max, e[j - first]);
        slack = fmax(slack, fabs(e[j - first]));
    }
    for (int j = first; j <= last; j++) {
        e[j - first] = exp(e[j - first] - max);
        sum += e[j - first];
        top = fmax(top, e[j - first] * kv->v_scale[head + (size_t)j]);
    }
    const double relative = 16 * EPS * slack + 1e-6, n = last - first + 1;
    for (int c = 0; c < d; c++) {
        double whole = 0, size = 0, steps = 0;
        for (int j = first; j <= last; j++) {
            const double v = kv->v[(head + (size_t)(j / 2 * 2)) * (size_t)d + 2 * c + j % 2];
            const double p = e[j - first] * kv->v_scale[head + (size_t)j];
            whole += p * v;
            size += fabs(p * v);
            steps += fabs(v);
        }
        o[c] = whole / sum;
        bound[c] = (steps * 0.51 * top / WEIGHT_MAX + size * relative) / sum +
                   size / sum * (relative + n * 0x1p-20 / sum);
    }
}

static inline void int_attn_case(loci_window_attn_int_fn *fn, loci_rng *rng, int_window s,
                                 range kind)
{
    const int HD = s.H * s.d, GD = s.G * s.d, n = s.past + s.T, shift = 1;
    const float scale = kind == WIDE ? 1e-3f : 0.125f;
    mat q = mat_new(rng, kind, s.T, HD, shift, shift),
        o = mat_new(rng, UNSET, s.T, HD, shift, shift);
    mat k = mat_new(rng, kind, n, GD, 0, 0), v = mat_new(rng, kind, n, GD, 0, 0);
    for (int c = 0; c < GD && n > 2; c++)
        k.at.f[GD + c] = v.at.f[2 * GD + c] = 0.0f; /* zero rows */
    int_kv x = int_kv_new(n + 32, s.G, s.d);
    loci_kv_put(&x.kv, 0, k.at.f, v.at.f, GD, n / 2, s.G, s.d);
    loci_kv_put(&x.kv, n / 2, k.at.f + n / 2 * GD, v.at.f + n / 2 * GD, GD, n - n / 2, s.G, s.d);
    fn(o.at.f, o.ld, q.at.f, q.ld, &x.kv, s.T, s.past, s.H, s.G, s.d, s.W, scale);
    char what[96];
    snprintf(what, sizeof what, "window int T %d past %d H %d G %d d %d W %d range %d", s.T, s.past,
             s.H, s.G, s.d, s.W, kind);
    double want[HEAD_MAX], bound[HEAD_MAX];
    for (int t = 0; t < s.T; t++)
        for (int h = 0; h < s.H; h++) {
            const int last = t + s.past, first = last >= s.W ? last - s.W + 1 : 0;
            int_truth(want, bound, q.at.f + t * q.ld + h * s.d, &x.kv, h / (s.H / s.G), first, last,
                      s.d, scale);
            for (int c = 0; c < s.d; c++)
                near(mat_at(&o, t, h * s.d + c), want[c], bound[c] + STEP, what, t, h * s.d + c);
        }
    mat_intact(&o, what);
    /* Alone, and where the rows lie elsewhere, every query has the same bits. */
    const int from = s.past >= s.W ? (s.past - s.W + 1) / 16 * 16 : 0;
    loci_kv_move(&x.kv, from, n - from, s.G, s.d);
    for (int t = 0; t < s.T; t++) {
        float one[18 * 128];
        fn(one, HD, q.at.f + t * q.ld, q.ld, &x.kv, 1, s.past + t - from, s.H, s.G, s.d, s.W,
           scale);
        if (memcmp(one, o.at.f + t * o.ld, (size_t)HD * sizeof *one) != 0)
            fail_msg("%s: query %d alone gives other bits", what, t);
    }
    int_kv_free(&x);
    mat_free(&q);
    mat_free(&o);
    mat_free(&k);
    mat_free(&v);
}

static inline void check_window_attn_int(loci_window_attn_int_fn *fn)
{
    static const range kinds[] = { TINY, NORMAL, WHOLE, WIDE };
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 82);
    for (int i = 0; i < COUNT(int_windows); i++)
        for (int kind = 0; kind < COUNT(kinds); kind++)
            int_attn_case(fn, &rng, int_windows[i], kinds[kind]);
}

#endif
