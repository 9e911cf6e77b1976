/* check_code.h - checks of the losses of trained codes against the equations of code_loss.c in double. */
#ifndef CHECK_CODE_H
#define CHECK_CODE_H

#include "check_score.h"

static const double CODE_SHARPNESS = 8.0 / 128.0;

static void check_soft_codes(void)
{
    for (int i = 0; i < COUNT(row_counts); i++) {
        const size_t n = (size_t)row_counts[i] * 128;
        const float *x = random_f32(n, 2.0), slope = 1.7f;
        float *want = floats(n);
        for (size_t k = 0; k < n; k++) want[k] = (float)tanh((double)slope * x[k]);
        loci_bf16 *b = out_bf16(NULL, n);
        const float *from = put_f32(x, n);
        TWICE("soft_codes") loci_gpu_soft_codes(gpu, b, from, slope, n);
        compare("b", get_bf16(b, n), want, n, ONE_ROUNDING);
        done("soft_codes");
    }
}

static void check_soft_codes_bwd(void)
{
    for (int i = 0; i < COUNT(row_counts); i++) {
        const size_t n = (size_t)row_counts[i] * 128;
        const float *x = random_f32(n, 2.0), *db = random_f32(n, 1.0), slope = 1.7f;
        float *want = floats(n);
        for (size_t k = 0; k < n; k++) {
            const double b = tanh((double)slope * x[k]);
            want[k] = (float)(slope * (1.0 - b * b) * db[k]);
        }
        loci_bf16 *dx = out_bf16(NULL, n);
        const float *from = put_f32(x, n), *d = put_f32(db, n);
        TWICE("soft_codes_bwd") loci_gpu_soft_codes_bwd(gpu, dx, d, from, slope, n);
        compare("dx", get_bf16(dx, n), want, n, ONE_ROUNDING);
        done("soft_codes_bwd");
    }
}

/* Some queries of a score case, with codes; slots of no query between them. */
typedef struct {
    score_case s;
    int n;          /* slots */
    int32_t *query; /* (n) -1: none */
    float *u, *bq, *bk;
    double *z;    /* (n, n_chunks) */
    uint8_t *arg; /* (n, n_chunks) */
} code_case;

static inline code_case code_new(int n, int n_chunks, bool negatives)
{
    code_case x = { .s = score_new(n, n_chunks, 0, negatives, false), .n = n };
    x.query = ints(n);
    x.u = floats((size_t)n * 128);
    x.bq = random_bf16((size_t)n * 128, 1.0);
    x.bk = random_bf16((size_t)n_chunks * 256, 1.0);
    x.z = host((size_t)n * n_chunks * sizeof *x.z);
    x.arg = host((size_t)n * n_chunks);
    if (n_chunks > 4) /* two equal landmarks: the first counts */
        memcpy(x.bk + 4 * 256 + 128, x.bk + 4 * 256, 128 * sizeof *x.bk);
    for (int i = 0, t = 0; i < n; i++) {
        x.query[i] = i % 5 == 4 ? -1 : t++;
        if (x.query[i] >= 0) memcpy(x.u + i * 128, x.s.u + x.query[i] * 128, 128 * sizeof *x.u);
        for (int c = 0; c < n_chunks; c++) {
            const float *b = x.bk + c * 256;
            const double first = loci_dot_ref(x.bq + i * 128, b, 128),
                         second = loci_dot_ref(x.bq + i * 128, b + 128, 128);
            x.arg[i * n_chunks + c] = second > first;
            x.z[i * n_chunks + c] = CODE_SHARPNESS * fmax(first, second);
        }
    }
    return x;
}

static inline bool code_takes(const code_case *x, int i, int c)
{
    const int t = x->query[i];
    return t >= 0 && (score_own(&x->s, t, c) || score_negative(&x->s, t, c));
}
static inline double code_score(const code_case *x, int i, int c)
{
    return score_of(&x->s, x->query[i], c);
}

static inline void code_sums(const code_case *x, float *lse_s, float *lse_z)
{
    for (int i = 0; i < x->n; i++) {
        double s = 0.0, z = 0.0;
        for (int c = 0; c < x->s.n_chunks; c++)
            if (code_takes(x, i, c)) {
                s += exp(code_score(x, i, c) - 60.0); /* scores are below 60 and above -60 */
                z += exp(x->z[i * x->s.n_chunks + c]);
            }
        lse_s[i] = s > 0.0 ? (float)(60.0 + log(s)) : -INFINITY;
        lse_z[i] = z > 0.0 ? (float)log(z) : -INFINITY;
    }
}

static inline loci_gpu_code code_upload(const code_case *x)
{
    const size_t n = (size_t)x->n * 128, keys = (size_t)x->s.n_chunks * 256;
    const loci_gpu_score s = score_upload(&x->s);
    return (loci_gpu_code){ .u = put_bf16(x->u, n),
                            .lm = s.lm,
                            .bq = put_bf16(x->bq, n),
                            .bk = put_bf16(x->bk, keys),
                            .bias = s.bias,
                            .tau = s.tau,
                            .query = put_i32(x->query, x->n),
                            .own_lo = s.own_lo,
                            .own_hi = s.own_hi,
                            .seq_hi = s.seq_hi,
                            .gold = s.gold,
                            .n = x->n,
                            .n_chunks = x->s.n_chunks,
                            .negatives = x->s.negatives };
}

static inline void code_forward_case(int n, int n_chunks, bool negatives)
{
    const code_case x = code_new(n, n_chunks, negatives);
    float *s = floats(n), *z = floats(n);
    code_sums(&x, s, z);
    loci_gpu_code job = code_upload(&x);
    job.lse_s = out_f32(NULL, n);
    job.lse_z = out_f32(NULL, n);
    TWICE("code_forward") loci_gpu_code_forward(gpu, &job);
    compare("lse_s", get_f32(job.lse_s, n), s, n, 5e-5);
    compare("lse_z", get_f32(job.lse_z, n), z, n, 5e-5);
    done("code_forward");
}

static void check_code_forward(void)
{
    for (int i = 0; i < COUNT(score_sizes); i++)
        for (int negatives = 0; negatives < 2; negatives++)
            code_forward_case(score_sizes[i][0], score_sizes[i][1], negatives);
}

/* Most bits in which the slot's code agrees with a landmark of chunk c. */
static inline int code_bits(const code_case *x, int i, int c)
{
    int most = 0;
    for (int m = 0; m < 2; m++) {
        int same = 0;
        for (int e = 0; e < 128; e++)
            same += (x->bq[i * 128 + e] > 0.0f) == (x->bk[c * 256 + m * 128 + e] > 0.0f);
        most = same > most ? same : most;
    }
    return most;
}

/* Loss of slot i; its gradients, times scale, are added. */
static inline double code_truth(const code_case *x, int i, double lse_s, double lse_z, double scale,
                                double *dbq, double *dbk)
{
    double kl = 0.0;
    for (int c = 0; c < x->s.n_chunks; c++) {
        const int at = i * x->s.n_chunks + c, m = c * 2 + x->arg[at];
        if (!code_takes(x, i, c)) continue;
        const double p = exp(code_score(x, i, c) - lse_s), q = exp(x->z[at] - lse_z);
        const double d = scale * CODE_SHARPNESS * (q - p);
        kl += p * (code_score(x, i, c) - lse_s - (x->z[at] - lse_z));
        for (int e = 0; e < 128; e++) {
            dbq[i * 128 + e] += d * x->bk[m * 128 + e];
            dbk[m * 128 + e] += d * x->bq[i * 128 + e];
        }
    }
    return kl;
}

static inline void code_backward_case(int n, int n_chunks, bool negatives, bool train)
{
    const code_case x = code_new(n, n_chunks, negatives);
    const size_t nq = (size_t)n * 128, nk = (size_t)n_chunks * 256,
                 stats = (size_t)LOCI_GPU_STATS * n;
    const float *before = random_f32(stats, 1.0), *old = random_f32(nk, 0.1), share = 0.5f,
                scale = 3.0f;
    float *s = floats(n), *z = floats(n), *stat = floats(stats), *want = floats(nq);
    double *dbq = host(nq * sizeof *dbq), *dbk = host(nk * sizeof *dbk);
    memcpy(stat, before, stats * sizeof *stat);
    code_sums(&x, s, z);
    for (int i = 0; i < n; i++) {
        const int t = x.query[i];
        if (t < 0) continue;
        stat[LOCI_STAT_HASH * n + t] +=
            (float)(share * code_truth(&x, i, s[i], z[i], scale, dbq, dbk));
        if (score_gold_counts(&x.s, t))
            stat[LOCI_STAT_AGREEMENT * n + t] += share * (float)code_bits(&x, i, x.s.gold[t]) / 128;
    }
    for (size_t i = 0; i < nq; i++) want[i] = (float)dbq[i];
    loci_gpu_code job = code_upload(&x);
    job.lse_s = put_f32(s, n);
    job.lse_z = put_f32(z, n);
    const loci_gpu_code_grad g = {
        .stat = out_f32(before, stats),
        .dbq = train ? out_f32(NULL, nq) : NULL,
        .dbk = train ? out_f32(old, nk) : NULL,
        .part = device(NULL, loci_gpu_score_parts(n_chunks) * sizeof(float)),
        .share = share,
        .scale = scale,
        .rows = n,
    };
    TWICE("code_backward") loci_gpu_code_backward(gpu, &job, &g);
    compare("stat", get_f32(g.stat, stats), stat, stats, 2e-4);
    if (train) {
        compare("dbq", get_f32(g.dbq, nq), want, nq, SOME_ROUNDINGS);
        compare("dbk", get_f32(g.dbk, nk), sum_floats(old, dbk, nk), nk, SOME_ROUNDINGS);
    }
    done("code_backward");
}

static void check_code_backward(void)
{
    for (int i = 0; i < COUNT(score_sizes); i++)
        for (int negatives = 0; negatives < 2; negatives++)
            for (int train = 0; train < 2; train++)
                code_backward_case(score_sizes[i][0], score_sizes[i][1], negatives, train);
}

/* The loss of one bank's n codes and its gradient. */
static inline double spread_truth(const float *b, int n, double *db, double scale)
{
    enum { D = 128 };
    double first[D] = { 0 }, *second = host(D * D * sizeof *second), loss = 0.0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < D; i++) {
            first[i] += b[k * D + i] / (double)n;
            for (int j = 0; j < D; j++)
                if (i != j) second[i * D + j] += (double)b[k * D + i] * b[k * D + j] / n;
        }
    for (int i = 0; i < D; i++) {
        loss += first[i] * first[i] / D;
        for (int j = 0; j < D; j++) loss += second[i * D + j] * second[i * D + j] / (D * D);
    }
    for (int k = 0; k < n; k++)
        for (int i = 0; i < D; i++) {
            double d = 2.0 / D * first[i];
            for (int j = 0; j < D; j++) d += 4.0 / (D * D) * second[i * D + j] * b[k * D + j];
            db[k * D + i] += scale * d / n;
        }
    return loss;
}

static void check_code_spread(void)
{
    static const int32_t start[] = { 0, 1, 4, 37, 37, 70 }; /* chunks: one bank has none */
    enum { BANKS = COUNT(start) - 1, CHUNKS = 72 };
    const size_t n = (size_t)CHUNKS * 256;
    for (int train = 0; train < 2; train++) {
        float *b = random_bf16(n, 1.0), *want = floats(BANKS), scale = 50.0f;
        const float *old = random_f32(n, 0.1);
        double *db = host(n * sizeof *db);
        for (size_t i = 0; i < n; i += 3) b[i] = 0.5f; /* a third of the bits are not balanced */
        for (int k = 0; k < BANKS; k++)
            if (start[k + 1] > start[k])
                want[k] = (float)spread_truth(b + start[k] * 256, 2 * (start[k + 1] - start[k]),
                                              db + start[k] * 256, scale);
        float *loss = out_f32(NULL, BANKS), *d = train ? out_f32(old, n) : NULL;
        const loci_bf16 *from = put_bf16(b, n);
        const int32_t *at = put_i32(start, BANKS + 1);
        TWICE("code_spread") loci_gpu_code_spread(gpu, loss, d, from, at, BANKS, scale);
        compare("loss", get_f32(loss, BANKS), want, BANKS, F32_PRODUCTS);
        if (train) compare("dbk", get_f32(d, n), sum_floats(old, db, n), n, F32_PRODUCTS);
        done("code_spread");
    }
}

#endif
