/* host_weigh.c - from scores to routed weights and the router's losses, and back: the equations of the
 * model's router.c, in double. */
#include "host.h"

static double exp_share(double a, double b)
{
    return isinf(a) ? 0.0 : exp(a - b);
}

static double oracle_den(const loci_gpu_weigh *w, int t)
{
    const double den = host_log_add((double)w->s.lse_own[t], (double)w->s.lse_neg[t]);
    return w->routed ? host_log_add(den, (double)*w->null_score) : den;
}

static bool eligible(const loci_gpu_weigh *w, int t)
{
    return w->s.gold[t] >= w->s.own_lo[t] && w->s.gold[t] < w->s.own_hi[t];
}

static void forward_stats(const loci_gpu_weigh *w, int t, double den)
{
    const size_t n = (size_t)w->s.n;
    const double share = (double)w->share;
    if (eligible(w, t)) {
        w->stat[LOCI_STAT_ORACLE * n + t] +=
            (float)(share * (oracle_den(w, t) - (double)w->s.gold_score[t]));
        if (w->s.above[t] < w->recall_k) w->stat[LOCI_STAT_RECALL * n + t] += w->share;
    }
    if (w->s.gold[t] == -2 && w->routed)
        w->stat[LOCI_STAT_ABSENCE * n + t] += (float)(share * (den - (double)*w->null_score));
}

void HOST(weigh_forward)(loci_gpu *g, const loci_gpu_weigh *w)
{
    BEGIN(g);
    for (int t = 0; t < w->s.n; t++) {
        int32_t *pick = w->s.pick + (size_t)t * HOST_SLOTS;
        const float *s = w->s.pick_score + (size_t)t * HOST_PICKS;
        double den = host_log_add((double)*w->null_score, (double)w->s.lse_neg[t]);
        for (int i = 0; w->routed && i < HOST_PICKS; i++)
            if (pick[i] >= 0) den = host_log_add(den, (double)s[i]);
        for (int i = 0; i < HOST_PICKS; i++)
            w->w[(size_t)t * HOST_PICKS + i] =
                w->routed && pick[i] >= 0 ? (float)exp((double)s[i] - den) : 0.0f;
        w->log_den[t] = (float)den;
        const int source = w->source ? w->source[t] : -1;
        const bool copies = w->routed && source >= w->s.own_lo[t] * HOST_CHUNK &&
                            source < w->s.own_hi[t] * HOST_CHUNK;
        pick[HOST_PICKS] = copies ? source / HOST_CHUNK : -1;
        pick[HOST_PICKS + 1] = eligible(w, t) ? w->s.gold[t] : -1;
        if (w->stat) forward_stats(w, t, den);
    }
}

static void backward_row(const loci_gpu_weigh *w, const loci_gpu_weigh_grad *g, int t)
{
    const float *weight = w->w + (size_t)t * HOST_PICKS,
                *dw = g->dw ? g->dw + (size_t)t * HOST_PICKS : NULL;
    const double den = (double)w->log_den[t], neg = (double)w->s.lse_neg[t],
                 null = (double)*w->null_score;
    const bool absent = w->s.gold[t] == -2 && w->routed;
    float *ds = g->ds + (size_t)t * HOST_SLOTS;
    double mean = 0.0, c_neg = 0.0, dnull = 0.0;
    for (int i = 0; dw && i < HOST_PICKS; i++)
        if (weight[i] != 0.0f) mean += (double)weight[i] * (double)dw[i];
    for (int i = 0; i < HOST_SLOTS; i++) {
        double d = 0.0;
        if (i < HOST_PICKS && weight[i] != 0.0f)
            d = (double)weight[i] *
                ((dw ? (double)dw[i] - mean : 0.0) + (absent ? (double)g->absence : 0.0));
        ds[i] = (float)d;
    }
    c_neg -= mean * exp_share(neg, den);
    dnull -= mean * exp_share(null, den);
    g->c_oracle[t] = g->c_oracle_den[t] = 0.0f;
    if (eligible(w, t)) {
        const double o = oracle_den(w, t);
        ds[HOST_PICKS + 1] -= g->oracle;
        c_neg += (double)g->oracle * exp_share(neg, o);
        if (w->routed) dnull += (double)g->oracle * exp_share(null, o);
        g->c_oracle[t] = g->oracle;
        g->c_oracle_den[t] = (float)o;
    }
    if (absent) {
        c_neg += (double)g->absence * exp_share(neg, den);
        dnull += (double)g->absence * (exp_share(null, den) - 1.0);
    }
    g->c_kl[t] = g->kl_row && g->kl_row[t] && w->s.own_lo[t] < w->s.own_hi[t] ? g->kl : 0.0f;
    g->c_neg[t] = (float)c_neg;
    g->dnull[t] = (float)dnull;
}

void HOST(weigh_backward)(loci_gpu *g, const loci_gpu_weigh *w, const loci_gpu_weigh_grad *grad)
{
    BEGIN(g);
    for (int t = 0; t < w->s.n; t++) backward_row(w, grad, t);
}
