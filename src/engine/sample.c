/* sample.c - the next id from logits: greedy, or temperature with top-k and nucleus (top-p).
 *
 * Special ids of the loci model other than <e> are never chosen: only code inserts them. */
#include "engine/engine.h"
#include "engine/ask_impl.h"
#include <math.h>
#include <stdlib.h>

loci_sampling loci_sampling_default(void)
{
    return (loci_sampling){ .top_p = 1.0f };
}

static bool may_choose(int id, bool any)
{
    return any || id >= LOCI_TOK_SPECIALS || id == LOCI_TOK_E;
}

static int32_t best_id(const float *logits, int vocab, bool any)
{
    int best = any ? 0 : LOCI_TOK_E;
    for (int i = any ? 1 : LOCI_TOK_SPECIALS; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

int32_t loci_argmax(const float *logits, int vocab)
{
    return best_id(logits, vocab, false);
}

/* Value of the k-th largest admissible logit: a bounded heap would be faster, but sampling is
 * rare next to the model's own work, and counting passes need no memory. */
static float kth_largest(const float *logits, int vocab, int k, bool any)
{
    float limit = INFINITY;
    for (int seen = 0; seen < k;) {
        float next = -INFINITY;
        int ties = 0;
        for (int i = 0; i < vocab; i++) {
            if (!may_choose(i, any) || logits[i] >= limit) continue;
            if (logits[i] > next)
                next = logits[i], ties = 1;
            else if (logits[i] == next)
                ties++;
        }
        if (ties == 0) break;
        limit = next;
        seen += ties;
    }
    return limit;
}

/* Smallest probability that still belongs to the nucleus: the most likely ids whose mass
 * reaches top_p. */
static double nucleus_floor(const float *logits, int vocab, float floor_logit, double top, double t,
                            double sum, double top_p, bool any)
{
    double limit = INFINITY, mass = 0.0;
    while (mass < top_p) {
        double next = -1.0, here = 0.0;
        for (int i = 0; i < vocab; i++) {
            if (!may_choose(i, any) || logits[i] < floor_logit) continue;
            const double p = exp(((double)logits[i] - top) / t) / sum;
            if (p >= limit) continue;
            if (p > next)
                next = p, here = p;
            else if (p == next)
                here += p;
        }
        if (next <= 0.0) break;
        limit = next;
        mass += here;
    }
    return limit;
}

int32_t loci_sample(const float *logits, int vocab, const loci_sampling *opt, uint64_t *state)
{
    const bool any = opt->any_id;
    if (opt->temperature <= 0.0f) return best_id(logits, vocab, any);
    loci_rng rng;
    loci_rng_seed(&rng, (*state)++);
    const double t = (double)opt->temperature;
    const double top = (double)logits[best_id(logits, vocab, any)];
    const float floor_logit =
        opt->top_k > 0 ? kth_largest(logits, vocab, opt->top_k, any) : -INFINITY;
    double sum = 0.0, kept = 0.0;
    for (int i = 0; i < vocab; i++)
        if (may_choose(i, any) && logits[i] >= floor_logit)
            sum += exp(((double)logits[i] - top) / t);
    const double floor_p = opt->top_p < 1.0f ? nucleus_floor(logits, vocab, floor_logit, top, t,
                                                             sum, (double)opt->top_p, any)
                                             : 0.0;
    for (int pass = 0; pass < 2; pass++) {
        double left = pass ? loci_rng_unit(&rng) * kept : 0.0;
        int last = any ? 0 : LOCI_TOK_E;
        for (int i = 0; i < vocab; i++) {
            if (!may_choose(i, any) || logits[i] < floor_logit) continue;
            const double p = exp(((double)logits[i] - top) / t) / sum;
            if (p < floor_p) continue;
            if (pass == 0)
                kept += p;
            else if ((left -= p) < 0.0)
                return i;
            last = i;
        }
        if (pass) return last; /* rounding left a crumb: the last admissible id */
    }
    return LOCI_TOK_E;
}
