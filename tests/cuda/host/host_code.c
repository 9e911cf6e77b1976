/* host_code.c - losses of trained codes, one query after the other: equations of code.cu and code_spread.cu. */
#include "host.h"

enum { D = 128 };
static const double SHARPNESS = 8.0 / D;

void HOST(soft_codes)(loci_gpu *g, loci_bf16 *b, const float *x, float slope, size_t n)
{
    BEGIN(g);
    for (size_t i = 0; i < n; i++)
        b[i] = loci_f32_to_bf16((float)tanh((double)slope * (double)x[i]));
}

void HOST(soft_codes_bwd)(loci_gpu *g, loci_bf16 *dx, const float *db, const float *x, float slope,
                          size_t n)
{
    BEGIN(g);
    for (size_t i = 0; i < n; i++) {
        const double b = tanh((double)slope * (double)x[i]);
        dx[i] = loci_f32_to_bf16((float)((double)slope * (1.0 - b * b) * (double)db[i]));
    }
}

/* ---- against scores ------------------------------------------------------------------------------ */

typedef struct { /* operands as f32 */
    float *u, *lm, *bq, *bk;
} operands;

static operands read_in(const loci_gpu_code *c)
{
    return (operands){ host_rows(c->u, D, c->n, D), host_rows(c->lm, 2 * D, c->n_chunks, 2 * D),
                       host_rows(c->bq, D, c->n, D), host_rows(c->bk, 2 * D, c->n_chunks, 2 * D) };
}

static void free_operands(operands *x)
{
    free(x->u);
    free(x->lm);
    free(x->bq);
    free(x->bk);
}

static void check_code(loci_gpu *g, const loci_gpu_code *c)
{
    REQUIRE(g, host_distinct(c->query, c->n), "a query comes twice");
    ALIGNED(g, c->u, 0, 16);
    ALIGNED(g, c->lm, 0, 16);
    ALIGNED(g, c->bq, 0, 16);
    ALIGNED(g, c->bk, 0, 16);
}

static bool counts(const loci_gpu_code *c, int q, int chunk)
{
    if (chunk >= c->own_lo[q] && chunk < c->own_hi[q]) return true;
    return c->negatives && (chunk < c->own_lo[q] || chunk >= c->seq_hi[q]);
}

/* Score s and value z of slot i and a chunk; the landmark that gives z in *best. */
static double pair(const loci_gpu_code *c, const operands *x, int i, int chunk, double *z,
                   int *best)
{
    const float *u = x->u + (size_t)i * D, *lm = x->lm + (size_t)chunk * 2 * D;
    const float *bq = x->bq + (size_t)i * D, *bk = x->bk + (size_t)chunk * 2 * D;
    const double first = host_dot(bq, bk, D), second = host_dot(bq, bk + D, D);
    *best = second > first;
    *z = SHARPNESS * fmax(first, second);
    return (double)*c->tau * fmax(host_dot(u, lm, D), host_dot(u, lm + D, D)) +
           (double)c->bias[chunk];
}

void HOST(code_forward)(loci_gpu *g, const loci_gpu_code *c)
{
    BEGIN(g);
    check_code(g, c);
    BEGIN(g);
    operands x = read_in(c);
    for (int i = 0; i < c->n; i++) {
        double sum_s = -INFINITY, sum_z = -INFINITY, z;
        for (int chunk = 0, best; c->query[i] >= 0 && chunk < c->n_chunks; chunk++) {
            if (!counts(c, c->query[i], chunk)) continue;
            const double s = pair(c, &x, i, chunk, &z, &best);
            sum_s = isinf(sum_s) ? s : host_log_add(sum_s, s);
            sum_z = isinf(sum_z) ? z : host_log_add(sum_z, z);
        }
        c->lse_s[i] = (float)sum_s;
        c->lse_z[i] = (float)sum_z;
    }
    free_operands(&x);
}

/* Most bits of slot i's code that a landmark of the chunk shares. */
static int bits_right(const operands *x, int i, int chunk)
{
    const float *bq = x->bq + (size_t)i * D, *bk = x->bk + (size_t)chunk * 2 * D;
    int most = 0;
    for (int m = 0; m < 2; m++, bk += D) {
        int same = 0;
        for (int e = 0; e < D; e++) same += (bq[e] > 0.0f) == (bk[e] > 0.0f);
        most = same > most ? same : most;
    }
    return most;
}

/* KL of slot i; gradients into dbq (D, zero before) and dbk, NULL: none. */
static double diverge(const loci_gpu_code *c, const operands *x, const loci_gpu_code_grad *grad,
                      int i, float *dbq, float *dbk)
{
    double kl = 0.0, z;
    for (int chunk = 0, best; chunk < c->n_chunks; chunk++) {
        if (!counts(c, c->query[i], chunk)) continue;
        const double log_p = pair(c, x, i, chunk, &z, &best) - (double)c->lse_s[i],
                     log_q = z - (double)c->lse_z[i];
        const size_t lm = ((size_t)chunk * 2 + (size_t)best) * D;
        const float d =
            host_round((float)((double)grad->scale * SHARPNESS * (exp(log_q) - exp(log_p))));
        kl += exp(log_p) * (log_p - log_q);
        if (dbq) host_add(dbq, d, x->bk + lm, D);
        if (dbk) host_add(dbk + lm, d, x->bq + (size_t)i * D, D);
    }
    return kl;
}

void HOST(code_backward)(loci_gpu *g, const loci_gpu_code *c, const loci_gpu_code_grad *grad)
{
    BEGIN(g);
    check_code(g, c);
    BEGIN(g);
    operands x = read_in(c);
    const size_t keys = (size_t)c->n_chunks * 2 * D;
    float *dbk = grad->dbk ? host_scratch(keys, sizeof *dbk) : NULL;
    if (grad->dbk) host_spoil(grad->part, HOST(score_parts)(c->n_chunks) * sizeof *grad->part);
    for (int i = 0; i < c->n; i++) {
        const int q = c->query[i];
        float *dbq = grad->dbq ? grad->dbq + (size_t)i * D : NULL;
        if (dbq) memset(dbq, 0, D * sizeof *dbq);
        if (q < 0) continue;
        const int gold = c->gold[q];
        grad->stat[(size_t)LOCI_STAT_HASH * grad->rows + q] +=
            (float)((double)grad->share * diverge(c, &x, grad, i, dbq, dbk));
        if (gold >= c->own_lo[q] && gold < c->own_hi[q])
            grad->stat[(size_t)LOCI_STAT_AGREEMENT * grad->rows + q] +=
                grad->share * (float)bits_right(&x, i, gold) / D;
    }
    if (dbk) host_add(grad->dbk, 1.0f, dbk, (int)keys);
    free(dbk);
    free_operands(&x);
}

/* ---- spread -------------------------------------------------------------------------------------- */

/* One bank's n codes b (n, D): loss, and its gradient times scale onto db, which may be NULL. */
static double spread(const float *b, int n, float *db, double scale)
{
    double first[D] = { 0 }, *second = host_scratch(D * D, sizeof *second), loss = 0.0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < D; i++) {
            first[i] += (double)b[k * D + i] / n;
            for (int j = 0; j < D; j++)
                second[i * D + j] += i == j ? 0.0 : (double)b[k * D + i] * (double)b[k * D + j] / n;
        }
    for (int i = 0; i < D; i++) loss += first[i] * first[i] / D;
    for (int i = 0; i < D * D; i++) loss += second[i] * second[i] / (D * D);
    for (int k = 0; db && k < n; k++)
        for (int i = 0; i < D; i++) {
            double d = 2.0 * first[i] / D;
            for (int j = 0; j < D; j++)
                d += 4.0 * second[i * D + j] * (double)b[k * D + j] / (D * D);
            db[k * D + i] += (float)(scale * d / n);
        }
    free(second);
    return loss;
}

void HOST(code_spread)(loci_gpu *g, float *loss, float *dbk, const loci_bf16 *bk,
                       const int32_t *start, int banks, float scale)
{
    BEGIN(g);
    for (int i = 0; i < banks; i++) {
        const int n = 2 * (start[i + 1] - start[i]);
        const size_t at = (size_t)start[i] * 2 * D;
        REQUIRE(g, n >= 0, "bank %d ends before it starts", i);
        float *b = host_rows(bk + at, D, n, D);
        loss[i] = n > 0 ? (float)spread(b, n, dbk ? dbk + at : NULL, (double)scale) : 0.0f;
        free(b);
    }
}
