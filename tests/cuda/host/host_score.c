/* host_score.c - the router's scores and their gradients, one query after the other; tau.
 *
 *   s(t,c) = tau max_m <u_t, l_cm> + bias_c
 *
 * A score is rounded to f32 once, so that equal ones are equal; of equals the earlier chunk, and the
 * first landmark, come first. */
#include "host.h"
#include "kernel/kernel.h"

static const double TAU_MAX = 40.0;

typedef struct { /* operands as f32 */
    float *u, *lm;
} operands;

static operands read_in(const loci_gpu_score *s)
{
    return (operands){ host_rows(s->u, 128, s->n, 128), host_rows(s->lm, 256, s->n_chunks, 256) };
}

static void free_operands(operands *x)
{
    free(x->u);
    free(x->lm);
}

static void check_ranges(loci_gpu *g, const char *op, const loci_gpu_score *s)
{
    REQUIRE_IN(g, op, s->top_k >= 0 && s->top_k <= HOST_PICKS, "top_k %d", s->top_k);
    ALIGNED_IN(g, op, s->u, 0, 16);
    ALIGNED_IN(g, op, s->lm, 0, 16);
    for (int t = 0; t < s->n; t++)
        REQUIRE_IN(g, op,
                   s->own_lo[t] >= 0 && s->own_lo[t] <= s->own_hi[t] &&
                       s->own_hi[t] <= s->seq_hi[t] && s->seq_hi[t] <= s->n_chunks,
                   "query %d: own chunks [%d, %d), its sequence's end at %d of %d", t, s->own_lo[t],
                   s->own_hi[t], s->seq_hi[t], s->n_chunks);
}

static bool is_own(const loci_gpu_score *s, int t, int c)
{
    return c >= s->own_lo[t] && c < s->own_hi[t];
}

static bool is_negative(const loci_gpu_score *s, int t, int c)
{
    return s->negatives && (c < s->own_lo[t] || c >= s->seq_hi[t]);
}

/* The score, and the landmark that gives it in *best. */
static float score(const loci_gpu_score *s, const operands *x, int t, int c, int *best)
{
    const float *u = x->u + (size_t)t * 128, *lm = x->lm + (size_t)c * 256;
    const double a = host_dot(u, lm, 128), b = host_dot(u, lm + 128, 128);
    *best = b > a;
    return (float)((double)*s->tau * fmax(a, b) + (double)s->bias[c]);
}

/* log-sum-exp of row (n_chunks) over own chunks among [lo, hi), or over negatives. */
static float log_sum(const loci_gpu_score *s, const float *row, int t, int lo, int hi, bool own)
{
    double top = -INFINITY, sum = 0.0;
    for (int c = lo; c < hi; c++)
        if (own ? is_own(s, t, c) : is_negative(s, t, c)) top = fmax(top, (double)row[c]);
    for (int c = lo; c < hi; c++)
        if (own ? is_own(s, t, c) : is_negative(s, t, c)) sum += exp((double)row[c] - top);
    return sum > 0.0 ? (float)(top + log(sum)) : -INFINITY;
}

/* The top_k best of the chunks [lo, hi), in rising order, to row `out`. */
static void pick(const loci_gpu_score *s, const float *row, int lo, int hi, int out)
{
    int32_t *at = s->pick + (size_t)out * HOST_SLOTS;
    float *score_of = s->pick_score + (size_t)out * HOST_PICKS;
    int n = 0;
    for (int i = 0; i < HOST_SLOTS; i++) at[i] = -1;
    for (int c = lo; c < hi && s->top_k > 0; c++) {
        if (n == s->top_k) { /* the worst, of equals the last, makes room for a better one */
            int worst = 0;
            for (int i = 1; i < n; i++) worst = score_of[i] <= score_of[worst] ? i : worst;
            if (!(row[c] > score_of[worst])) continue;
            for (n--; worst < n; worst++) {
                score_of[worst] = score_of[worst + 1];
                at[worst] = at[worst + 1];
            }
        }
        score_of[n] = row[c];
        at[n++] = c;
    }
}

/* Outputs of query t over the chunks [lo, hi), all of them or a part, to row `out`. */
static void score_out(const loci_gpu_score *s, const float *row, int t, int lo, int hi, int out)
{
    s->lse_own[out] = log_sum(s, row, t, lo, hi, true);
    s->lse_neg[out] = log_sum(s, row, t, lo, hi, false);
    s->above[out] = 0;
    for (int c = lo; c < hi; c++)
        if ((is_own(s, t, c) || is_negative(s, t, c)) && c != s->gold[t])
            s->above[out] += row[c] > s->gold_score[t];
    pick(s, row, lo > s->own_lo[t] ? lo : s->own_lo[t], hi < s->own_hi[t] ? hi : s->own_hi[t], out);
}

void HOST(score_forward)(loci_gpu *g, const loci_gpu_score *s)
{
    BEGIN(g);
    check_ranges(g, __func__, s);
    BEGIN(g);
    operands x = read_in(s);
    float *row = host_scratch((size_t)s->n_chunks, sizeof *row);
    const int parts = s->splits > 1 ? s->splits : 1;
    for (int t = 0; t < s->n; t++) {
        int best;
        for (int c = 0; c < s->n_chunks; c++) row[c] = score(s, &x, t, c, &best);
        const int gold = s->gold[t];
        s->gold_score[t] = is_own(s, t, gold) ? row[gold] : INFINITY;
        for (int p = 0; p < parts; p++)
            score_out(s, row, t, (int)((int64_t)s->n_chunks * p / parts),
                      (int)((int64_t)s->n_chunks * (p + 1) / parts), p * s->n + t);
    }
    free(row);
    free_operands(&x);
}

/* ---- gradients ---------------------------------------------------------------------------------- */

size_t HOST(score_parts)(int n_chunks)
{
    return (size_t)n_chunks * 257;
}

/* ds of one score, and the query's KL loss. */
static double slope(const loci_gpu_score *s, const loci_gpu_score_grad *grad, int t, int c, float v,
                    double *kl)
{
    const double score = (double)v;
    if (is_own(s, t, c)) {
        double ds = 0.0;
        if (grad->oracle[t] != 0.0f)
            ds = (double)grad->oracle[t] * exp(score - (double)grad->oracle_den[t]);
        const int row = grad->kl[t] != 0.0f && grad->target_row ? grad->target_row[t] : -1;
        if (row < 0) return ds;
        const double y = (double)grad->target[(size_t)row * grad->target_ld + c - s->own_lo[t]],
                     log_p = score - (double)s->lse_own[t];
        if (y > 0.0) *kl += y * (log(y) - log_p);
        return ds + (double)grad->kl[t] * (exp(log_p) - y);
    }
    if (!is_negative(s, t, c) || grad->neg[t] == 0.0f) return 0.0;
    return (double)grad->neg[t] * exp(score - (double)s->lse_neg[t]);
}

void HOST(score_backward)(loci_gpu *g, const loci_gpu_score *s, const loci_gpu_score_grad *grad)
{
    BEGIN(g);
    check_ranges(g, __func__, s);
    BEGIN(g);
    operands x = read_in(s);
    host_spoil(grad->part, HOST(score_parts)(s->n_chunks) * sizeof(float));
    float *dlm = host_scratch((size_t)s->n_chunks * 256, sizeof *dlm);
    double *dbias = host_scratch((size_t)s->n_chunks, sizeof *dbias);
    for (int t = 0; t < s->n; t++) {
        double kl = 0.0;
        float du[128] = { 0 };
        for (int c = 0; c < s->n_chunks; c++) {
            int best;
            const float v = score(s, &x, t, c, &best);
            const double ds = slope(s, grad, t, c, v, &kl);
            const size_t lm = ((size_t)c * 2 + best) * 128;
            const float factor = host_round((float)((double)*s->tau * ds));
            if (ds == 0.0) continue;
            host_add(du, factor, x.lm + lm, 128);
            host_add(dlm + lm, factor, x.u + (size_t)t * 128, 128);
            dbias[c] += ds;
        }
        host_add(grad->du + (size_t)t * 128, 1.0f, du, 128);
        if (kl != 0.0) grad->kl_loss[t] += (float)((double)grad->share * kl);
    }
    host_add(grad->dlm, 1.0f, dlm, s->n_chunks * 256);
    for (int c = 0; c < s->n_chunks; c++) grad->dbias[c] = (float)(grad->dbias[c] + dbias[c]);
    free(dlm);
    free(dbias);
    free_operands(&x);
}

void HOST(score_sparse)(loci_gpu *g, const loci_gpu_score *s, const loci_gpu_lists *l,
                        const float *ds, float *du, float *dlm, float *dbias)
{
    BEGIN(g);
    if (s->n == 0 || s->n_chunks == 0) return;
    REQUIRE(g, l->slots == HOST_SLOTS && l->n == s->n && l->n_chunks == s->n_chunks,
            "lists of (%d, %d) with %d slots for (%d, %d)", l->n, l->n_chunks, l->slots, s->n,
            s->n_chunks);
    operands x = read_in(s);
    for (int c = 0; c < l->n_chunks; c++)
        for (int i = l->start[c]; i < l->start[c + 1]; i++) {
            const int e = l->entry[i], t = e / HOST_SLOTS;
            int best;
            if (ds[e] == 0.0f) continue;
            score(s, &x, t, c, &best);
            const size_t lm = ((size_t)c * 2 + best) * 128;
            host_add(du + (size_t)t * 128, *s->tau * ds[e], x.lm + lm, 128);
            host_add(dlm + lm, *s->tau * ds[e], x.u + (size_t)t * 128, 128);
            dbias[c] += ds[e];
        }
    free_operands(&x);
}

/* ---- single numbers ----------------------------------------------------------------------------- */

void HOST(tau)(loci_gpu *g, float *tau, const float *log_tau)
{
    BEGIN(g);
    *tau = (float)fmin(exp((double)*log_tau), TAU_MAX);
}

void HOST(add_scalar)(loci_gpu *g, float *grad, const double *sum, const float *log_tau)
{
    BEGIN(g);
    if (!log_tau || exp((double)*log_tau) < TAU_MAX) *grad += (float)*sum;
}
