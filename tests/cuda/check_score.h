/* check_score.h - checks of the router's scores, forward and backward; tau.
 *
 * Two kinds of numbers: random unit vectors, for which the sums are compared within rounding and picks
 * away from near-ties; and small whole numbers, whose scores are exact in f32 and full of ties, for
 * which picks and counts must be exact: of equals the earlier chunk. */
#ifndef CHECK_SCORE_H
#define CHECK_SCORE_H

#include "check_rows.h"

typedef struct {
    int n, n_chunks, top_k;
    bool negatives, whole;
    float tau;
    float *u, *lm, *bias;
    int32_t *lo, *hi, *end, *gold;
    double *s;    /* (n, n_chunks) */
    uint8_t *arg; /* (n, n_chunks) */
} score_case;

static const float SCORE_NEAR = 2e-4f; /* scores closer than this may change places */

static inline float *small_wholes(size_t n)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) x[i] = (float)(below(5) - 2) * (below(4) == 0 ? 1.0f : 0.0f);
    return x;
}

/* Sequences own consecutive runs of chunks; their queries read a growing part of it. */
static inline void score_ranges(score_case *x)
{
    int sequences = x->n_chunks < 3 ? 1 : 3;
    if (x->n < 3) sequences = 1;
    for (int t = 0; t < x->n; t++) {
        const int q = (int)((int64_t)t * sequences / x->n);
        const int first = x->n_chunks * q / sequences, last = x->n_chunks * (q + 1) / sequences;
        x->lo[t] = first;
        x->end[t] = last;
        x->hi[t] = first + (t % 7 == 3 ? 0 : below(last - first + 1));
        const int kind = t % 5;
        x->gold[t] = kind == 0 ? -1 : kind == 1 ? -2 : kind == 2 ? below(x->n_chunks) : -1;
        if (kind > 2 && x->hi[t] > x->lo[t]) x->gold[t] = x->lo[t] + below(x->hi[t] - x->lo[t]);
    }
    if (x->n > 1) x->hi[x->n - 1] = x->end[x->n - 1]; /* one query reads all of its sequence */
}

static inline score_case score_new(int n, int n_chunks, int top_k, bool negatives, bool whole)
{
    score_case x = {
        .n = n, .n_chunks = n_chunks, .top_k = top_k, .negatives = negatives, .whole = whole
    };
    x.tau = whole ? 4.0f : 12.5f;
    x.u = whole ? small_wholes((size_t)n * 128) : unit_rows(n, NULL);
    x.lm = whole ? small_wholes((size_t)n_chunks * 256) : unit_rows(2 * n_chunks, NULL);
    x.bias = whole ? small_wholes(n_chunks) : random_f32(n_chunks, 0.5);
    x.lo = ints(n);
    x.hi = ints(n);
    x.end = ints(n);
    x.gold = ints(n);
    score_ranges(&x);
    if (n_chunks > 2) memcpy(x.lm + 2 * 256, x.lm + 256, 256 * sizeof *x.lm); /* two equal chunks */
    if (n_chunks > 4)
        memcpy(x.lm + 4 * 256 + 128, x.lm + 4 * 256, 128 * sizeof *x.lm); /* two equal landmarks */
    x.s = host((size_t)n * n_chunks * sizeof *x.s);
    x.arg = host((size_t)n * n_chunks);
    for (int t = 0; t < n; t++)
        for (int c = 0; c < n_chunks; c++) {
            const size_t at = (size_t)t * n_chunks + c;
            const double a = loci_dot_ref(x.u + (size_t)t * 128, x.lm + (size_t)c * 256, 128);
            const double b = loci_dot_ref(x.u + (size_t)t * 128, x.lm + (size_t)c * 256 + 128, 128);
            x.arg[at] = b > a;
            x.s[at] = x.tau * fmax(a, b) + x.bias[c];
        }
    return x;
}

static inline bool score_own(const score_case *x, int t, int c)
{
    return c >= x->lo[t] && c < x->hi[t];
}
static inline bool score_negative(const score_case *x, int t, int c)
{
    return x->negatives && (c < x->lo[t] || c >= x->end[t]);
}
static inline bool score_gold_counts(const score_case *x, int t)
{
    return x->gold[t] >= 0 && score_own(x, t, x->gold[t]);
}
static inline double score_of(const score_case *x, int t, int c)
{
    return x->s[(size_t)t * x->n_chunks + c];
}

static inline double score_lse(const score_case *x, int t, bool own)
{
    double top = -INFINITY, sum = 0.0;
    for (int c = 0; c < x->n_chunks; c++)
        if (own ? score_own(x, t, c) : score_negative(x, t, c)) top = fmax(top, score_of(x, t, c));
    for (int c = 0; c < x->n_chunks; c++)
        if (own ? score_own(x, t, c) : score_negative(x, t, c)) sum += exp(score_of(x, t, c) - top);
    return sum > 0.0 ? top + log(sum) : -INFINITY;
}

static inline loci_gpu_score score_upload(const score_case *x)
{
    const loci_gpu_score s = {
        .u = put_bf16(x->u, (size_t)x->n * 128),
        .lm = put_bf16(x->lm, (size_t)x->n_chunks * 256),
        .bias = put_f32(x->bias, x->n_chunks),
        .tau = put_f32(&x->tau, 1),
        .own_lo = put_i32(x->lo, x->n),
        .own_hi = put_i32(x->hi, x->n),
        .seq_hi = put_i32(x->end, x->n),
        .gold = put_i32(x->gold, x->n),
        .n = x->n,
        .n_chunks = x->n_chunks,
        .top_k = x->top_k,
        .negatives = x->negatives,
    };
    return s;
}

/* The picks of one query against its true scores. */
static inline void picks_right(const score_case *x, int t, const int32_t *pick, const float *score)
{
    loci_scored best[LOCI_GPU_PICKS];
    const int lo = x->lo[t], own = x->hi[t] > lo ? x->hi[t] - lo : 0, K = x->top_k;
    const int n = K == 0 ? 0
                         : loci_landmark_topk_ref(best, 0, K, x->u + (size_t)t * 128,
                                                  x->lm + (size_t)lo * 256, x->bias + lo, x->tau, 2,
                                                  128, own, lo);
    const double bar = n > 0 ? best[n - 1].score : 0.0, near = x->whole ? 0.0 : SCORE_NEAR;
    for (int i = 0; i < n; i++) {
        if (pick[i] < lo || pick[i] >= x->hi[t] || (i > 0 && pick[i] <= pick[i - 1]))
            fail_msg("query %d: pick %d is chunk %d (own [%d, %d))", t, i, pick[i], lo, x->hi[t]);
        const double s = score_of(x, t, pick[i]);
        if (!(fabs(score[i] - s) <= SCORE_NEAR))
            fail_msg("query %d: pick_score %g, should be %g", t, score[i], s);
        if (s < bar - near)
            fail_msg("query %d: chunk %d (%g) was picked, the last should score %g", t, pick[i], s,
                     bar);
    }
    for (int i = 0; i < n; i++) { /* each true pick that is not close to the bar is among them */
        bool there = false;
        for (int j = 0; j < n; j++) there |= pick[j] == best[i].index;
        if (!there && (x->whole || best[i].score > bar + near))
            fail_msg("query %d: chunk %d is missing", t, best[i].index);
    }
    for (int i = n; i < LOCI_GPU_SLOTS; i++)
        if (pick[i] != -1) fail_msg("query %d: slot %d of %d is %d, not -1", t, i, n, pick[i]);
}

static inline void score_forward_case(int n, int n_chunks, int top_k, bool negatives, bool whole)
{
    const score_case x = score_new(n, n_chunks, top_k, negatives, whole);
    loci_gpu_score s = score_upload(&x);
    s.lse_own = out_f32(NULL, n);
    s.lse_neg = out_f32(NULL, n);
    s.gold_score = out_f32(NULL, n);
    s.above = out_i32(NULL, n);
    s.pick = out_i32(NULL, (size_t)n * LOCI_GPU_SLOTS);
    s.pick_score = out_f32(NULL, (size_t)n * LOCI_GPU_PICKS);
    TWICE("score_forward") loci_gpu_score_forward(gpu, &s);
    float *own = floats(n), *neg = floats(n), *gold = floats(n);
    const int32_t *above = get_i32(s.above, n), *pick = get_i32(s.pick, (size_t)n * LOCI_GPU_SLOTS);
    const float *score = get_f32(s.pick_score, (size_t)n * LOCI_GPU_PICKS);
    for (int t = 0; t < n; t++) {
        own[t] = (float)score_lse(&x, t, true);
        neg[t] = (float)score_lse(&x, t, false);
        gold[t] = score_gold_counts(&x, t) ? (float)score_of(&x, t, x.gold[t]) : INFINITY;
        int least = 0, most = 0; /* near-ties may count either way */
        for (int c = 0; c < n_chunks && isfinite(gold[t]); c++) {
            if (c == x.gold[t] || !(score_own(&x, t, c) || score_negative(&x, t, c))) continue;
            const double off = score_of(&x, t, c) - score_of(&x, t, x.gold[t]),
                         near = whole ? 0.0 : SCORE_NEAR;
            least += off > near;
            most += whole ? off > 0.0 : off > -near;
        }
        if (above[t] < least || above[t] > most)
            fail_msg("above[%d]: %d, should be %d .. %d", t, above[t], least, most);
        picks_right(&x, t, pick + (size_t)t * LOCI_GPU_SLOTS, score + (size_t)t * LOCI_GPU_PICKS);
    }
    compare("lse_own", get_f32(s.lse_own, n), own, n, 5e-5);
    compare("lse_neg", get_f32(s.lse_neg, n), neg, n, 5e-5);
    compare("gold_score", get_f32(s.gold_score, n), gold, n, 5e-5);
    done("score_forward");
}

static const int score_sizes[][2] = { { 1, 1 },   { 1, 33 },  { 3, 5 },     { 63, 31 },
                                      { 65, 64 }, { 64, 32 }, { 130, 100 }, { 200, 257 } };

static void check_score_forward(void)
{
    for (int i = 0; i < COUNT(score_sizes); i++)
        for (int negatives = 0; negatives < 2; negatives++)
            for (int whole = 0; whole < 2; whole++) {
                const int k[] = { 16, 0, 5, 1 };
                score_forward_case(score_sizes[i][0], score_sizes[i][1], k[(i + negatives) % 4],
                                   negatives, whole);
                score_forward_case(score_sizes[i][0], score_sizes[i][1], 16, negatives, whole);
            }
}

static void check_tau(void)
{
    static const float logs[] = { -2.0f, 0.0f, 2.5f, 3.6f, 3.7f, 9.0f };
    for (int i = 0; i < COUNT(logs); i++) {
        const float want = (float)fmin(exp(logs[i]), 40.0);
        float *tau = out_f32(NULL, 1);
        const float *log_tau = put_f32(&logs[i], 1);
        TWICE("tau") loci_gpu_tau(gpu, tau, log_tau);
        compare("tau", get_f32(tau, 1), &want, 1, 1e-6);
        done("tau");
    }
}

static void check_add_scalar(void)
{
    static const float logs[] = { 0.0f, 3.6f, 3.7f };
    for (int i = -1; i < COUNT(logs); i++) {
        const float before = 0.25f,
                    want = i == 2 ? before : before + 1.5f; /* exp 3.7 > 40: fixed */
        const double sum = 1.5;
        float *grad = out_f32(&before, 1);
        const double *from = device(&sum, sizeof sum);
        const float *log_tau = i < 0 ? NULL : put_f32(&logs[i], 1);
        TWICE("add_scalar") loci_gpu_add_scalar(gpu, grad, from, log_tau);
        equal_floats("grad", get_f32(grad, 1), &want, 1);
        done("add_scalar");
    }
}

/* ---- gradients ----------------------------------------------------------------------------------------- */

typedef struct {
    float *own, *neg; /* lse */
    float *kl, *oracle, *den, *coef_neg, *target;
    int32_t *row;
    int n_targets, ld;
} score_coefs;

static inline score_coefs coefs_new(const score_case *x)
{
    score_coefs k = { floats(x->n),
                      floats(x->n),
                      random_f32(x->n, 1.0),
                      random_f32(x->n, 1.0),
                      floats(x->n),
                      random_f32(x->n, 1.0),
                      NULL,
                      ints(x->n),
                      0,
                      x->n_chunks + 3 };
    k.target = host((size_t)x->n * k.ld * sizeof(float));
    memset(k.target, 0xff, (size_t)x->n * k.ld * sizeof(float)); /* what must not be read is NaN */
    for (int t = 0; t < x->n; t++) {
        k.own[t] = (float)score_lse(x, t, true);
        k.neg[t] = (float)score_lse(x, t, false);
        k.den[t] = fmaxf(fmaxf(k.own[t], k.neg[t]), -2.0f) + 0.5f;
        if (t % 4 == 1) k.kl[t] = 0.0f;
        if (t % 3 != 0) k.oracle[t] = 0.0f;
        if (t % 5 == 2 || isinf(k.neg[t])) k.coef_neg[t] = 0.0f;
        k.row[t] = t % 6 == 5 ? -1 : k.n_targets++;
        float *y = k.row[t] < 0 ? NULL : k.target + (size_t)k.row[t] * k.ld, sum = 0.0f;
        for (int c = x->lo[t]; y && c < x->hi[t]; c++)
            sum += y[c - x->lo[t]] = c % 3 ? (float)loci_rng_unit(&rng) : 0.0f;
        for (int c = x->lo[t]; y && sum > 0.0f && c < x->hi[t]; c++) y[c - x->lo[t]] /= sum;
    }
    return k;
}

/* ds of one score, and the query's KL loss. */
static inline double score_slope(const score_case *x, const score_coefs *k, int t, int c,
                                 double *kl)
{
    const double s = score_of(x, t, c);
    if (score_own(x, t, c)) {
        double ds = k->oracle[t] != 0.0f ? k->oracle[t] * exp(s - k->den[t]) : 0.0;
        if (k->kl[t] == 0.0f || k->row[t] < 0) return ds;
        const double y = k->target[(size_t)k->row[t] * k->ld + (c - x->lo[t])];
        if (y > 0.0) *kl += y * (log(y) - (s - k->own[t]));
        return ds + k->kl[t] * (exp(s - k->own[t]) - y);
    }
    return score_negative(x, t, c) && k->coef_neg[t] != 0.0f ? k->coef_neg[t] * exp(s - k->neg[t])
                                                             : 0.0;
}

typedef struct {
    double *du, *dlm, *dbias;
} score_sums;

static inline score_sums sums_new(const score_case *x)
{
    return (score_sums){ host((size_t)x->n * 128 * sizeof(double)),
                         host((size_t)x->n_chunks * 256 * sizeof(double)),
                         host((size_t)x->n_chunks * sizeof(double)) };
}

static inline void score_spread(const score_case *x, const score_sums *d, int t, int c, double ds)
{
    const size_t lm = ((size_t)c * 2 + x->arg[(size_t)t * x->n_chunks + c]) * 128;
    for (int i = 0; i < 128; i++) {
        d->du[(size_t)t * 128 + i] += x->tau * ds * x->lm[lm + i];
        d->dlm[lm + i] += x->tau * ds * x->u[(size_t)t * 128 + i];
    }
    d->dbias[c] += ds;
}

static inline float *sum_floats(const float *before, const double *sum, size_t n)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) x[i] = (float)(before[i] + sum[i]);
    return x;
}

static inline void score_backward_case(int n, int n_chunks, bool negatives, bool targets)
{
    const score_case x = score_new(n, n_chunks, 16, negatives, false);
    score_coefs k = coefs_new(&x);
    const score_sums d = sums_new(&x);
    const float share = 0.5f;
    const size_t nu = (size_t)n * 128, nl = (size_t)n_chunks * 256;
    const float *du = random_f32(nu, 0.1), *dlm = random_f32(nl, 0.1),
                *db = random_f32(n_chunks, 0.1);
    float *kl = random_f32(n, 1.0);
    if (!targets) memset(k.kl, 0, (size_t)n * sizeof *k.kl);
    loci_gpu_score s = score_upload(&x);
    s.lse_own = put_f32(k.own, n);
    s.lse_neg = put_f32(k.neg, n);
    const loci_gpu_score_grad grad = {
        .kl = put_f32(k.kl, n),
        .oracle = put_f32(k.oracle, n),
        .oracle_den = put_f32(k.den, n),
        .neg = put_f32(k.coef_neg, n),
        .target = targets ? put_f32(k.target, (size_t)n * k.ld) : NULL,
        .target_row = targets ? put_i32(k.row, n) : NULL,
        .du = out_f32(du, nu),
        .dlm = out_f32(dlm, nl),
        .dbias = out_f32(db, n_chunks),
        .kl_loss = out_f32(kl, n),
        .part = device(NULL, loci_gpu_score_parts(n_chunks) * sizeof(float)),
        .target_ld = k.ld,
        .share = share,
    };
    for (int t = 0; t < n; t++) {
        double loss = 0.0;
        for (int c = 0; c < n_chunks; c++) {
            const double ds = score_slope(&x, &k, t, c, &loss);
            if (ds != 0.0) score_spread(&x, &d, t, c, ds);
        }
        kl[t] += (float)(share * loss);
    }
    TWICE("score_backward") loci_gpu_score_backward(gpu, &s, &grad);
    compare("du", get_f32(grad.du, nu), sum_floats(du, d.du, nu), nu, SOME_ROUNDINGS);
    compare("dlm", get_f32(grad.dlm, nl), sum_floats(dlm, d.dlm, nl), nl, SOME_ROUNDINGS);
    compare("dbias", get_f32(grad.dbias, n_chunks), sum_floats(db, d.dbias, n_chunks), n_chunks,
            1e-4);
    compare("kl_loss", get_f32(grad.kl_loss, n), kl, n, 1e-4);
    done("score_backward");
}

static void check_score_backward(void)
{
    for (int i = 0; i < COUNT(score_sizes); i++)
        for (int negatives = 0; negatives < 2; negatives++)
            for (int targets = 0; targets < 2; targets++)
                score_backward_case(score_sizes[i][0], score_sizes[i][1], negatives, targets);
}

#endif
