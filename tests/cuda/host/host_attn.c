/* host_attn.c - attention over one contiguous range of keys a query, by plain loops.
 *
 *   s = scale q k^T over keys [lo, hi) that are ok;  o = softmax(s) v;  lse = log sum exp s
 *
 * As on the device probabilities and their gradients are rounded to bf16 before they meet the next
 * product, sums of probabilities are not. */
#include "host.h"

typedef struct { /* operands as f32, rows packed */
    float *q, *k, *v, *o, *dout;
    int wide, narrow; /* columns of queries and of keys */
} operands;

static operands read_in(const loci_gpu_attn *a, const loci_gpu_attn_grad *grad)
{
    operands x = { .wide = a->heads * 64, .narrow = a->kv_heads * 64 };
    x.q = host_rows(a->q, a->ldq, a->n_q, x.wide);
    x.k = host_rows(a->k, a->ldk, a->n_k, x.narrow);
    x.v = host_rows(a->v, a->ldv, a->n_k, x.narrow);
    if (!grad) return x;
    x.o = host_rows(a->o, a->ldo, a->n_q, x.wide);
    x.dout = host_rows(grad->dout, grad->lddo, a->n_q, x.wide);
    return x;
}

static void free_operands(operands *x)
{
    free(x->q);
    free(x->k);
    free(x->v);
    free(x->o);
    free(x->dout);
}

static bool sees(const loci_gpu_attn *a, int j)
{
    return !a->key_ok || a->key_ok[j];
}

/* What the contract asks of shapes and ranges. */
static void check_ranges(loci_gpu *g, const char *op, const loci_gpu_attn *a, bool backward)
{
    REQUIRE_IN(g, op, a->kv_heads > 0 && a->heads % a->kv_heads == 0, "%d heads, %d of keys",
               a->heads, a->kv_heads);
    REQUIRE_IN(g, op,
               a->ldq >= a->heads * 64 && a->ldo >= a->heads * 64 && a->ldk >= a->kv_heads * 64 &&
                   a->ldv >= a->kv_heads * 64,
               "ldq %d, ldo %d, ldk %d, ldv %d for %d and %d heads", a->ldq, a->ldo, a->ldk, a->ldv,
               a->heads, a->kv_heads);
    ALIGNED_IN(g, op, a->q, a->ldq, 16);
    ALIGNED_IN(g, op, a->k, a->ldk, 16);
    ALIGNED_IN(g, op, a->v, a->ldv, 16);
    ALIGNED_IN(g, op, a->o, a->ldo, 16);
    for (int r = 0; r < a->n_q; r++) {
        REQUIRE_IN(g, op, a->lo[r] >= a->hi[r] || (a->lo[r] >= 0 && a->hi[r] <= a->n_k),
                   "query %d sees keys [%d, %d) of %d", r, a->lo[r], a->hi[r], a->n_k);
        for (int j = a->lo[r]; backward && j < a->hi[r]; j++)
            REQUIRE_IN(g, op, r >= a->qlo[j] && r < a->qhi[j],
                       "query %d sees key %d, which is for queries [%d, %d)", r, j, a->qlo[j],
                       a->qhi[j]);
    }
}

/* Rows that nobody sees take part in products, times 0. */
static void check_keys(loci_gpu *g, const char *op, const loci_gpu_attn *a, const operands *x)
{
    for (int j = 0; j < a->n_k; j++)
        REQUIRE_IN(g, op,
                   host_finite(x->k + (size_t)j * x->narrow, (size_t)x->narrow) &&
                       host_finite(x->v + (size_t)j * x->narrow, (size_t)x->narrow),
                   "row %d of %d of k or v is not finite", j, a->n_k);
}

static double score(const loci_gpu_attn *a, const operands *x, int r, int h, int j)
{
    const int kv = h / (a->heads / a->kv_heads);
    return (double)a->scale * host_dot(x->q + (size_t)r * x->wide + h * 64,
                                       x->k + (size_t)j * x->narrow + kv * 64, 64);
}

/* One head of one query; s (n_k) scratch. */
static void forward_row(const loci_gpu_attn *a, const operands *x, double *s, int r, int h)
{
    const int kv = h / (a->heads / a->kv_heads), lo = a->lo[r], hi = a->hi[r];
    double top = -INFINITY, sum = 0.0;
    float acc[64] = { 0 };
    for (int j = lo; j < hi; j++)
        if (sees(a, j)) top = fmax(top, s[j] = score(a, x, r, h, j));
    for (int j = lo; j < hi; j++) {
        if (!sees(a, j)) continue;
        const float p = (float)exp(s[j] - top);
        sum += (double)p;
        host_add(acc, host_round(p), x->v + (size_t)j * x->narrow + kv * 64, 64);
    }
    a->lse[(size_t)r * a->heads + h] = sum > 0.0 ? (float)(top + log(sum)) : -INFINITY;
    for (int d = 0; d < 64; d++) acc[d] = sum > 0.0 ? (float)(acc[d] / sum) : 0.0f;
    host_put(a->o + (size_t)r * a->ldo + h * 64, acc, 64);
}

void HOST(attn_forward)(loci_gpu *g, const loci_gpu_attn *a)
{
    BEGIN(g);
    check_ranges(g, __func__, a, false);
    BEGIN(g);
    operands x = read_in(a, NULL);
    check_keys(g, __func__, a, &x);
    double *s = host_scratch((size_t)a->n_k, sizeof *s);
    for (int r = 0; r < a->n_q && !host_failed(g); r++)
        for (int h = 0; h < a->heads; h++) forward_row(a, &x, s, r, h);
    free(s);
    free_operands(&x);
}

/* dq of one head of one query is written; dk, dv (n_k, narrow) are added to. */
static void backward_row(const loci_gpu_attn *a, const loci_gpu_attn_grad *grad, const operands *x,
                         float *dk, float *dv, int r, int h)
{
    const int kv = h / (a->heads / a->kv_heads);
    const size_t at = (size_t)r * x->wide + h * 64, head = (size_t)r * a->heads + h;
    const float *dout = x->dout + at;
    const double delta =
        host_dot(dout, x->o + at, 64) - (grad->extra ? (double)grad->extra[head] : 0.0);
    float acc[64] = { 0 };
    for (int j = a->lo[r]; j < a->hi[r]; j++) {
        if (!sees(a, j)) continue;
        const size_t key = (size_t)j * x->narrow + kv * 64;
        const double p = exp(score(a, x, r, h, j) - a->lse[head]);
        const float ds = host_round((float)(p * (host_dot(dout, x->v + key, 64) - delta)));
        host_add(acc, ds, x->k + key, 64);
        host_add(dk + key, ds, x->q + at, 64);
        host_add(dv + key, host_round((float)p), dout, 64);
    }
    for (int d = 0; d < 64; d++) acc[d] *= a->scale;
    host_put(grad->dq + (size_t)r * grad->lddq + h * 64, acc, 64);
}

static void store(void *out, int ld, bool wide, const float *x, float factor, int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            const size_t to = (size_t)r * ld + c;
            const float v = factor * x[(size_t)r * cols + c];
            if (wide)
                ((float *)out)[to] += v;
            else
                ((loci_bf16 *)out)[to] = loci_f32_to_bf16(v);
        }
}

void HOST(attn_backward)(loci_gpu *g, const loci_gpu_attn *a, const loci_gpu_attn_grad *grad)
{
    BEGIN(g);
    check_ranges(g, __func__, a, true);
    BEGIN(g);
    ALIGNED(g, grad->dout, grad->lddo, 16);
    ALIGNED(g, grad->dq, grad->lddq, 4);
    operands x = read_in(a, grad);
    check_keys(g, __func__, a, &x);
    const size_t n = (size_t)a->n_k * x.narrow;
    float *dk = host_scratch(n, sizeof *dk), *dv = host_scratch(n, sizeof *dv);
    host_spoil(grad->delta, (size_t)a->n_q * a->heads * sizeof(float));
    for (int r = 0; r < a->n_q && !host_failed(g); r++)
        for (int h = 0; h < a->heads; h++) backward_row(a, grad, &x, dk, dv, r, h);
    if (!host_failed(g)) {
        store(grad->dk, grad->lddk, grad->wide, dk, a->scale, a->n_k, x.narrow);
        store(grad->dv, grad->lddv, grad->wide, dv, 1.0f, a->n_k, x.narrow);
    }
    free(dk);
    free(dv);
    free_operands(&x);
}
