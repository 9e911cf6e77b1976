/* check_weigh.h - checks of routed weights and the router's losses against the equations of router.c,
 * in double. */
#ifndef CHECK_WEIGH_H
#define CHECK_WEIGH_H

#include "check_lists.h"

enum { STATS = LOCI_GPU_STATS };

typedef struct {
    score_case x;
    float *own, *neg, *gold_score, *score, *before;
    int32_t *above, *pick, *source;
    float null, share;
    int recall_k;
    bool routed;
} weigh_case;

static inline double log_add(double a, double b)
{
    const double top = fmax(a, b), low = fmin(a, b);
    return isinf(low) ? top : top + log1p(exp(low - top));
}

/* Content rows that are copied: within the own chunks, outside, none. */
static inline void sources(const score_case *x, int32_t *source)
{
    for (int t = 0; t < x->n; t++) {
        source[t] = t % 3 == 1 ? -1 : below(x->n_chunks * 64);
        if (t % 3 == 2 && x->hi[t] > x->lo[t])
            source[t] = x->lo[t] * 64 + below((x->hi[t] - x->lo[t]) * 64);
    }
}

static inline weigh_case weigh_new(int n, int n_chunks, bool negatives, bool routed)
{
    weigh_case w = { .x = score_new(n, n_chunks, 16, negatives, false),
                     .null = -0.7f,
                     .share = 0.5f,
                     .recall_k = 3,
                     .routed = routed };
    w.own = floats(n);
    w.neg = floats(n);
    w.gold_score = floats(n);
    w.above = ints(n);
    w.source = ints(n);
    w.pick = random_picks(n, w.x.lo, w.x.hi);
    w.score = floats((size_t)n * LOCI_GPU_PICKS);
    w.before = random_f32((size_t)STATS * n, 1.0);
    sources(&w.x, w.source);
    for (int t = 0; t < n; t++) {
        w.own[t] = (float)score_lse(&w.x, t, true);
        w.neg[t] = (float)score_lse(&w.x, t, false);
        w.gold_score[t] =
            score_gold_counts(&w.x, t) ? (float)score_of(&w.x, t, w.x.gold[t]) : INFINITY;
        w.above[t] = below(6);
        int32_t *p = w.pick + (size_t)t * LOCI_GPU_SLOTS;
        p[LOCI_GPU_PICKS] = p[LOCI_GPU_PICKS + 1] = -1;
        for (int i = 0; i < LOCI_GPU_PICKS; i++)
            w.score[(size_t)t * LOCI_GPU_PICKS + i] =
                p[i] < 0 ? NAN : (float)score_of(&w.x, t, p[i]);
    }
    return w;
}

static inline loci_gpu_weigh weigh_upload(const weigh_case *w)
{
    const int n = w->x.n;
    loci_gpu_weigh j = { .s = score_upload(&w->x),
                         .null_score = put_f32(&w->null, 1),
                         .source = put_i32(w->source, n),
                         .share = w->share,
                         .recall_k = w->recall_k,
                         .routed = w->routed };
    j.s.lse_own = put_f32(w->own, n);
    j.s.lse_neg = put_f32(w->neg, n);
    j.s.gold_score = put_f32(w->gold_score, n);
    j.s.above = put_i32(w->above, n);
    j.s.pick_score = put_f32(w->score, (size_t)n * LOCI_GPU_PICKS);
    return j;
}

/* log Z of a query and its weights. */
static inline double weigh_den(const weigh_case *w, int t, float *weight)
{
    const float *s = w->score + (size_t)t * LOCI_GPU_PICKS;
    const int32_t *p = w->pick + (size_t)t * LOCI_GPU_SLOTS;
    double den = log_add(w->null, w->neg[t]);
    for (int i = 0; w->routed && i < LOCI_GPU_PICKS; i++)
        if (p[i] >= 0) den = log_add(den, s[i]);
    for (int i = 0; i < LOCI_GPU_PICKS; i++)
        weight[i] = w->routed && p[i] >= 0 ? (float)exp(s[i] - den) : 0.0f;
    return den;
}

static inline double weigh_oracle(const weigh_case *w, int t)
{
    const double den = log_add(w->own[t], w->neg[t]);
    return w->routed ? log_add(den, w->null) : den;
}

static inline void weigh_forward_case(int n, int n_chunks, bool negatives, bool routed)
{
    const weigh_case w = weigh_new(n, n_chunks, negatives, routed);
    loci_gpu_weigh j = weigh_upload(&w);
    const size_t slots = (size_t)n * LOCI_GPU_SLOTS, picks = (size_t)n * LOCI_GPU_PICKS;
    float *weight = floats(picks), *den = floats(n), *stat = floats((size_t)STATS * n);
    int32_t *pick = ints(slots);
    memcpy(stat, w.before, (size_t)STATS * n * sizeof *stat);
    memcpy(pick, w.pick, slots * sizeof *pick);
    for (int t = 0; t < n; t++) {
        den[t] = (float)weigh_den(&w, t, weight + (size_t)t * LOCI_GPU_PICKS);
        const int chunk = w.source[t] < 0 ? -1 : w.source[t] / 64;
        if (routed && chunk >= 0 && score_own(&w.x, t, chunk))
            pick[t * LOCI_GPU_SLOTS + LOCI_GPU_PICKS] = chunk;
        if (score_gold_counts(&w.x, t)) {
            pick[t * LOCI_GPU_SLOTS + LOCI_GPU_PICKS + 1] = w.x.gold[t];
            stat[LOCI_STAT_ORACLE * n + t] +=
                (float)(w.share * (weigh_oracle(&w, t) - w.gold_score[t]));
            if (w.above[t] < w.recall_k) stat[LOCI_STAT_RECALL * n + t] += w.share;
        }
        if (w.x.gold[t] == -2 && routed)
            stat[LOCI_STAT_ABSENCE * n + t] += (float)(w.share * (den[t] - w.null));
    }
    j.s.pick = out_i32(w.pick, slots);
    j.w = out_f32(NULL, picks);
    j.log_den = out_f32(NULL, n);
    j.stat = out_f32(w.before, (size_t)STATS * n);
    TWICE("weigh_forward") loci_gpu_weigh_forward(gpu, &j);
    equal_ints("pick", get_i32(j.s.pick, slots), pick, slots);
    compare("w", get_f32(j.w, picks), weight, picks, 1e-4);
    compare("log_den", get_f32(j.log_den, n), den, n, 1e-5);
    compare("stat", get_f32(j.stat, (size_t)STATS * n), stat, (size_t)STATS * n, 1e-4);
    done("weigh_forward");
}

typedef struct {
    float *ds, *kl, *oracle, *den, *neg, *null; /* ds (n, SLOTS), the rest (n) */
} weigh_slopes;

static inline void weigh_gradient(const weigh_case *w, const float *dw, const uint8_t *kl_row,
                                  const loci_gpu_weigh_grad *g, const weigh_slopes *y)
{
    for (int t = 0; t < w->x.n; t++) {
        float weight[LOCI_GPU_PICKS], *ds = y->ds + (size_t)t * LOCI_GPU_SLOTS;
        const double den = weigh_den(w, t, weight), neg = w->neg[t], null = w->null;
        double mean = 0.0, c_neg = 0.0, dnull = 0.0;
        for (int i = 0; dw && i < LOCI_GPU_PICKS; i++)
            if (weight[i] > 0.0f) mean += (double)weight[i] * dw[(size_t)t * LOCI_GPU_PICKS + i];
        for (int i = 0; i < LOCI_GPU_PICKS; i++) {
            if (weight[i] > 0.0f && dw)
                ds[i] += (float)(weight[i] * (dw[(size_t)t * LOCI_GPU_PICKS + i] - mean));
            if (w->routed && w->x.gold[t] == -2) ds[i] += g->absence * weight[i];
        }
        c_neg -= mean * exp(neg - den);
        dnull -= mean * exp(null - den);
        if (score_gold_counts(&w->x, t)) {
            const double o = weigh_oracle(w, t);
            ds[LOCI_GPU_PICKS + 1] -= g->oracle;
            c_neg += g->oracle * exp(neg - o);
            if (w->routed) dnull += g->oracle * exp(null - o);
            y->oracle[t] = g->oracle;
            y->den[t] = (float)o;
        }
        if (w->routed && w->x.gold[t] == -2) {
            c_neg += g->absence * exp(neg - den);
            dnull += g->absence * (exp(null - den) - 1.0);
        }
        if (kl_row && kl_row[t] && w->x.hi[t] > w->x.lo[t]) y->kl[t] = g->kl;
        y->neg[t] = (float)c_neg;
        y->null[t] = (float)dnull;
    }
}

static inline void weigh_backward_case(int n, int n_chunks, bool negatives, bool routed)
{
    const weigh_case w = weigh_new(n, n_chunks, negatives, routed);
    loci_gpu_weigh j = weigh_upload(&w);
    const size_t slots = (size_t)n * LOCI_GPU_SLOTS, picks = (size_t)n * LOCI_GPU_PICKS;
    float *weight = floats(picks), *den = floats(n), *dw = random_f32(picks, 1.0);
    uint8_t *row = host(n);
    for (int t = 0; t < n; t++) {
        den[t] = (float)weigh_den(&w, t, weight + (size_t)t * LOCI_GPU_PICKS);
        row[t] = t % 4 == 0;
        for (int i = 0; i < LOCI_GPU_PICKS; i++) /* what was not picked has no gradient */
            if (w.pick[t * LOCI_GPU_SLOTS + i] < 0) dw[(size_t)t * LOCI_GPU_PICKS + i] = NAN;
    }
    j.s.pick = put_i32(w.pick, slots);
    j.w = put_f32(weight, picks);
    j.log_den = put_f32(den, n);
    const bool with_rows = n != 3;
    const loci_gpu_weigh_grad g = {
        .dw = routed ? put_f32(dw, picks) : NULL,
        .kl_row = with_rows ? device(row, n) : NULL,
        .kl = 0.25f,
        .oracle = 0.5f,
        .absence = 0.75f,
        .c_kl = out_f32(NULL, n),
        .c_oracle = out_f32(NULL, n),
        .c_oracle_den = out_f32(NULL, n),
        .c_neg = out_f32(NULL, n),
        .ds = out_f32(NULL, slots),
        .dnull = out_f32(NULL, n),
    };
    const weigh_slopes y = { floats(slots), floats(n), floats(n), floats(n), floats(n), floats(n) };
    weigh_gradient(&w, routed ? dw : NULL, with_rows ? row : NULL, &g, &y);
    TWICE("weigh_backward") loci_gpu_weigh_backward(gpu, &j, &g);
    compare("ds", get_f32(g.ds, slots), y.ds, slots, 1e-4);
    equal_floats("c_kl", get_f32(g.c_kl, n), y.kl, n);
    equal_floats("c_oracle", get_f32(g.c_oracle, n), y.oracle, n);
    compare("c_oracle_den", get_f32(g.c_oracle_den, n), y.den, n, 1e-5);
    compare("c_neg", get_f32(g.c_neg, n), y.neg, n, 1e-4);
    compare("dnull", get_f32(g.dnull, n), y.null, n, 1e-4);
    done("weigh_backward");
}

static inline void weigh_cases(void (*run)(int, int, bool, bool))
{
    for (int i = 0; i < COUNT(score_sizes); i++)
        for (int kind = 0; kind < 4; kind++)
            run(score_sizes[i][0], score_sizes[i][1], kind & 1, kind & 2);
}

static void check_weigh_forward(void)
{
    weigh_cases(weigh_forward_case);
}

static void check_weigh_backward(void)
{
    weigh_cases(weigh_backward_case);
}

#endif
