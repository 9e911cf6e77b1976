/* pass_batch.h - a small whole model over two sequences that are each other's negatives, every loss
 * on, and the check of all its gradients against differences. */
#ifndef LOCI_TEST_PASS_BATCH_H
#define LOCI_TEST_PASS_BATCH_H

#include "grad_check.h"

enum { SEED = 20263, MAX_T = 80, V = 40 };

/* ---- sequences ----------------------------------------------------------------------------- */

typedef struct {
    int32_t ids[MAX_T], target[MAX_T], gold[MAX_T], source[MAX_T], doc[4];
    float weight[MAX_T];
    uint8_t answer[MAX_T], banked[3];
    loci_sequence s;
} small_sequence;

/* Documents end at the given tokens; the last one asks and is not banked. */
static inline void sequence_open(small_sequence *q, const int32_t *ends, int n_docs, loci_rng *rng)
{
    memset(q, 0, sizeof *q);
    for (int d = 0; d < n_docs; d++) {
        q->doc[d + 1] = ends[d];
        q->banked[d] = d + 1 < n_docs;
    }
    const int T = ends[n_docs - 1];
    for (int t = 0; t < T; t++) {
        q->ids[t] = (int32_t)loci_rng_below(rng, V);
        q->target[t] = t % 11 == 5 ? -1 : (int32_t)loci_rng_below(rng, V);
        q->answer[t] = t >= q->doc[n_docs - 1] + 5;
        q->weight[t] = q->target[t] < 0 ? 0.0f : q->answer[t] ? 3.0f : 1.0f;
        q->gold[t] = q->source[t] = -1;
    }
    q->s = (loci_sequence){ .T = T,
                            .ids = q->ids,
                            .target = q->target,
                            .weight = q->weight,
                            .answer = q->answer,
                            .gold = q->gold,
                            .source = q->source,
                            .n_docs = n_docs,
                            .doc = q->doc,
                            .banked = q->banked };
}

/* ---- a batch of two -------------------------------------------------------------------------- */

typedef struct {
    small_model s;
    small_sequence q[2];
    loci_pass *pass[2];
    void *memory[2];
    loci_loss_options opt;
    loci_loss_sums sums;
    float *target[2][2];    /* held mass (MAX_T, capacity) of sequence and group */
    float regret[2][MAX_T]; /* held r_t of the regret loss                       */
} batch;

/* Lower both, upper both against the other's bank, and back if there are gradients. */
static inline void batch_run(batch *b, loci_params *grads)
{
    memset(&b->sums, 0, sizeof b->sums);
    for (int i = 0; i < 2; i++)
        assert_int_equal(loci_pass_lower(b->pass[i], &b->s.m, &b->q[i].s, NULL), LOCI_OK);
    for (int i = 0; i < 2; i++) {
        loci_negatives neg = { 0 };
        neg.n = loci_pass_bank(b->pass[1 - i], &neg.landmark, &neg.bias);
        neg.dlandmark = loci_pass_bank_grad(b->pass[1 - i], &neg.dbias);
        loci_pass_upper(b->pass[i], &b->s.m, &b->q[i].s, &neg, 1, &b->opt, grads, &b->sums);
    }
    for (int i = 0; grads && i < 2; i++)
        loci_pass_lower_backward(b->pass[i], &b->s.m, &b->q[i].s, grads);
}

static inline double held_kl(const batch *b)
{
    double kl = 0.0;
    for (int i = 0; i < 2; i++)
        for (int g = 0; g < b->s.m.hp.n_groups; g++)
            for (int t = 0; t < b->q[i].s.T; t++) {
                if (!loci_kl_row(&b->opt, t)) continue;
                const size_t at = (size_t)t * b->pass[i]->capacity;
                const float *s = b->pass[i]->read[g].score + at, *y = b->target[i][g] + at;
                const int n = b->pass[i]->bank.n_eligible[t];
                double sum = 0.0;
                for (int c = 0; c < n; c++) sum += exp(s[c]);
                for (int c = 0; c < n; c++)
                    if (y[c] > 0.0f) kl += y[c] * (log(y[c]) - (s[c] - log(sum)));
            }
    return b->s.m.hp.n_groups ? kl / b->s.m.hp.n_groups : 0.0;
}

/* sum mean_g r_t (1 - gate), r_t as it was. */
static inline double held_regret(const batch *b)
{
    double sum = 0.0;
    for (int i = 0; i < 2; i++)
        for (int g = 0; g < b->s.m.hp.n_groups; g++)
            for (int t = 0; t < b->q[i].s.T; t++)
                if (b->regret[i][t] > 0.0f)
                    sum += (double)b->regret[i][t] * (1.0 - b->pass[i]->read[g].gate[t]);
    return sum / b->s.m.hp.n_groups;
}

static inline loss_value batch_loss(void *ctx)
{
    batch *b = ctx;
    const loci_loss_options *o = &b->opt;
    const loci_loss_sums *s = &b->sums;
    loss_value v = { 0 };
    batch_run(b, NULL);
    add_sum(&v, o->ce_scale * s->ce_text, s->n_text);
    add_sum(&v, o->ce_scale * 3.0 * s->ce_answer, s->n_answer);
    add_sum(&v, o->kl * o->kl_scale * held_kl(b), s->n_kl);
    add_sum(&v, o->oracle * o->gold_scale * s->oracle, s->n_gold);
    add_sum(&v, o->absence * o->absent_scale * s->absence, s->n_absent);
    add_sum(&v, o->gate * o->query_scale * s->gate, s->n_consult_pairs);
    add_sum(&v, o->pointer * o->gold_scale * s->pointer, s->n_gold);
    add_sum(&v, o->decode * o->decode_scale * s->decode, s->n_decode);
    if (o->regret > 0.0f) add_sum(&v, o->regret * o->regret_scale * held_regret(b), s->n_regret);
    return v;
}

/* One landmark and room to pick every chunk: without choices the loss has no kinks.  How choices
 * differentiate is test_read_grad's affair. */
static inline void batch_open_with(batch *b, bool routed, loci_hparams hp)
{
    static const int32_t ends0[3] = { 37, 60, 75 }, ends1[2] = { 40, 52 };
    loci_rng rng;
    hp.n_landmarks = 1;
    hp.top_k = 5;
    memset(b, 0, sizeof *b);
    loci_rng_seed(&rng, SEED);
    small_model_open(&b->s, &hp, SEED);
    sequence_open(&b->q[0], ends0, 3, &rng);
    sequence_open(&b->q[1], ends1, 2, &rng);
    b->q[0].gold[62] = 1;
    b->q[0].gold[66] = 4;
    b->q[0].gold[20] = 2; /* not yet readable */
    b->q[0].gold[70] = b->q[0].gold[5] = -2;
    b->q[1].gold[45] = 0;
    b->q[0].source[62] = 16 + 5; /* a row of the gold chunk */
    b->q[0].source[66] = 4 * 16 + 2;
    b->q[0].source[20] = 2 * 16; /* not yet readable either */
    b->q[1].source[45] = 15;
    for (int i = 0; i < 2; i++) {
        b->memory[i] = loci_alloc_aligned(loci_pass_bytes(&hp, MAX_T));
        assert_non_null(b->memory[i]);
        b->pass[i] = loci_pass_init(&hp, MAX_T, b->memory[i]);
        for (int g = 0; g < b->s.m.hp.n_groups; g++)
            b->target[i][g] = normal_array((size_t)(MAX_T * b->pass[i]->capacity), 0.0, &rng);
    }
    b->opt = (loci_loss_options){ .routed = routed,
                                  .kl = 0.6f,
                                  .oracle = 0.8f,
                                  .absence = 0.7f,
                                  .gate = 0.5f,
                                  .pointer = 0.9f,
                                  .decode = 0.4f,
                                  .decode_scale = 0.2f,
                                  .decode_phase = 3,
                                  .ce_scale = 0.05f,
                                  .query_scale = 0.1f,
                                  .kl_every = 1,
                                  .kl_scale = 0.15f,
                                  .gold_scale = 0.4f,
                                  .absent_scale = 0.5f,
                                  .grad_scale = 1.0f };
}

static inline void batch_open(batch *b, bool routed)
{
    batch_open_with(b, routed, small_hparams());
}

static inline void batch_close(batch *b)
{
    for (int i = 0; i < 2; i++) {
        loci_free_aligned(b->memory[i]);
        for (int g = 0; g < b->s.m.hp.n_groups; g++) loci_free_aligned(b->target[i][g]);
    }
    small_model_close(&b->s);
}

static inline void hold_targets(batch *b)
{
    for (int i = 0; b->opt.regret > 0.0f && i < 2; i++)
        memcpy(b->regret[i], b->pass[i]->regret, (size_t)b->q[i].s.T * sizeof(float));
    for (int i = 0; i < 2; i++)
        for (int g = 0; g < b->s.m.hp.n_groups; g++) {
            const size_t n = (size_t)(b->q[i].s.T * b->pass[i]->capacity);
            memcpy(b->target[i][g], b->pass[i]->read[g].target, n * sizeof(float));
        }
}

/* Differences of `samples` elements of every tensor and along one direction through all of them. */
static inline void batch_gradients(batch *b, int samples)
{
    loci_rng rng;
    loci_param_info info[512];
    loci_rng_seed(&rng, SEED + 1);
    grad_check check = grad_check_begin(batch_loss, b, 64);
    const int n = loci_param_list(&b->s.m.hp, info, 512);
    for (int i = 0; i < n; i++) {
        const loci_mat *p = (const loci_mat *)((const char *)&b->s.m.p + info[i].offset);
        const loci_mat *g = (const loci_mat *)((const char *)&b->s.g + info[i].offset);
        const grad_array a = mat_array(info[i].name, p, g);
        grad_check_samples(&check, &a, samples, 4e-3, &rng);
    }
    const grad_array all = { "all", b->s.base, b->s.grad, b->s.n };
    grad_check_direction(&check, &all, 1e-4, &rng);
    grad_check_end(&check);
}

#endif
