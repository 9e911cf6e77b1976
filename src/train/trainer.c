/* trainer.c - one step of training, and the loop around it.
 *
 * A step has B sequences in `slots` slots (sequence i in slot i mod slots); a slot is the unit of
 * work that a thread takes, and has its own gradient buffer:
 *
 *   A  per slot      make the sequences; lower stack and encoder: every bank is known now
 *   B  per slot      upper stack, losses and backward; the chunks of the other sequences are
 *                    negatives
 *   C  per sequence  gather the gradients that others caused in a sequence's landmarks
 *   D  per slot      backward through encoder and lower stack
 *
 * then the slots are summed in their order (optim.c).  Nothing depends on which thread did what. */
#include "train/trainer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- set-up ------------------------------------------------------------------------------- */
loci_status loci_trainer_alloc(loci_trainer *t, loci_error *err)
{
    const loci_train_config *c = &t->config;
    int chunks = 0;
    for (int i = 0; i < c->n_phases; i++) {
        const loci_phase *p = &c->phase[i];
        if (p->batch > t->max_batch) t->max_batch = p->batch;
        if (p->seq_len > t->max_seq) t->max_seq = p->seq_len;
        const int most = p->batch * loci_item_chunks_max(p->seq_len);
        if (most > chunks) chunks = most;
        /* Tapes are sized for the most tokens that a step of any phase holds. */
        const size_t bytes = (size_t)p->batch * loci_pass_bytes(&c->hp, p->seq_len);
        if (bytes > t->tape_bytes) t->tape_bytes = bytes;
    }
    const size_t row = (size_t)c->hp.n_landmarks * (size_t)c->hp.d_landmark;
    t->neg_floats = (size_t)chunks * (row + 1);
    t->tape_memory = loci_alloc_aligned(t->tape_bytes);
    t->neg = loci_alloc_aligned((size_t)c->slots * t->neg_floats * sizeof(float));
    t->item = calloc((size_t)t->max_batch, sizeof *t->item);
    t->pass = calloc((size_t)t->max_batch, sizeof *t->pass);
    t->first_chunk = calloc((size_t)t->max_batch + 1, sizeof *t->first_chunk);
    t->slot = calloc((size_t)c->slots, sizeof *t->slot);
    if (!t->tape_memory || !t->neg || !t->item || !t->pass || !t->first_chunk || !t->slot)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a step: tapes need %zu bytes",
                         t->tape_bytes);
    loci_status st = LOCI_OK;
    for (int i = 0; i < t->max_batch && st == LOCI_OK; i++)
        st = loci_item_init(&t->item[i], t->max_seq, err);
    for (int s = 0; s < c->slots && st == LOCI_OK; s++) {
        loci_params_bind(&t->slot[s].grads, &c->hp, t->optim.slot + (size_t)s * t->optim.n);
        t->slot[s].negatives = calloc((size_t)t->max_batch + 1, sizeof *t->slot[s].negatives);
        if (!t->slot[s].negatives) return loci_fail(err, LOCI_ENOMEM, "no memory for negatives");
        st = loci_item_maker_open(&t->slot[s].maker, t->tok, t->max_seq, err);
    }
    return st;
}

void loci_trainer_free(loci_trainer *t)
{
    for (int i = 0; t->item && i < t->max_batch; i++) loci_item_free(&t->item[i]);
    for (int s = 0; t->slot && s < t->config.slots; s++) {
        loci_item_maker_close(t->slot[s].maker);
        free(t->slot[s].negatives);
    }
    free(t->item);
    free(t->pass);
    free(t->first_chunk);
    free(t->slot);
    loci_free_aligned(t->tape_memory);
    loci_free_aligned(t->neg);
    loci_model_close(t->model);
    loci_optim_free(&t->optim);
    loci_pool_close(t->pool);
    loci_tokenizer_close(t->tok);
    loci_corpus_free(&t->corpus);
}

/* ---- one step -------------------------------------------------------------------------------- */
static void tile_lower(void *ctx, int s, int worker)
{
    (void)worker;
    loci_trainer *t = ctx;
    const loci_phase *p = t->phase;
    for (int i = s; i < p->batch && t->slot[s].status == LOCI_OK; i += t->config.slots) {
        const uint64_t seed =
            loci_rng_mix(loci_rng_mix((uint64_t)t->config.seed, (uint64_t)t->state.step),
                         (uint64_t)i);
        loci_trainer_slot *slot = &t->slot[s];
        slot->status =
            loci_item_make(&t->item[i], slot->maker, &t->config, p, &t->corpus, seed, &slot->error);
        if (slot->status == LOCI_OK)
            slot->status = loci_pass_lower(t->pass[i], t->model, &t->item[i].seq, &slot->error);
    }
}

/* Every other sequence's bank with this slot's gradient buffer. */
static int collect_negatives(loci_trainer *t, int s, int self)
{
    loci_negatives *n = t->slot[s].negatives;
    const size_t row = (size_t)t->config.hp.n_landmarks * (size_t)t->config.hp.d_landmark;
    float *buffer = t->neg + (size_t)s * t->neg_floats;
    int count = 0;
    for (int j = 0; j < t->phase->batch; j++) {
        if (j == self) continue;
        loci_negatives *x = &n[count++];
        x->n = loci_pass_bank(t->pass[j], &x->landmark, &x->bias);
        x->dlandmark = buffer + (size_t)t->first_chunk[j] * (row + 1);
        x->dbias = x->dlandmark + (size_t)x->n * row;
    }
    return count;
}

static void tile_upper(void *ctx, int s, int worker)
{
    (void)worker;
    loci_trainer *t = ctx;
    const size_t row = (size_t)t->config.hp.n_landmarks * (size_t)t->config.hp.d_landmark;
    memset(t->neg + (size_t)s * t->neg_floats, 0,
           (size_t)t->first_chunk[t->phase->batch] * (row + 1) * sizeof(float));
    memset(&t->slot[s].sums, 0, sizeof t->slot[s].sums);
    for (int i = s; i < t->phase->batch; i += t->config.slots) {
        const int n_neg = collect_negatives(t, s, i);
        loci_pass_upper(t->pass[i], t->model, &t->item[i].seq, t->slot[s].negatives, n_neg,
                        &t->loss, &t->slot[s].grads, &t->slot[s].sums);
    }
}

static void tile_gather(void *ctx, int j, int worker)
{
    (void)worker;
    loci_trainer *t = ctx;
    const float *landmark, *bias;
    const size_t row = (size_t)t->config.hp.n_landmarks * (size_t)t->config.hp.d_landmark;
    const size_t n = (size_t)loci_pass_bank(t->pass[j], &landmark, &bias);
    float *dbias, *dlandmark = loci_pass_bank_grad(t->pass[j], &dbias);
    for (int s = 0; s < t->config.slots && s < t->phase->batch; s++) {
        const float *from =
            t->neg + (size_t)s * t->neg_floats + (size_t)t->first_chunk[j] * (row + 1);
        t->model->k.axpy(dlandmark, from, 1.0f, n * row);
        t->model->k.axpy(dbias, from + n * row, 1.0f, n);
    }
}

static void tile_lower_backward(void *ctx, int s, int worker)
{
    (void)worker;
    loci_trainer *t = ctx;
    for (int i = s; i < t->phase->batch; i += t->config.slots)
        loci_pass_lower_backward(t->pass[i], t->model, &t->item[i].seq, &t->slot[s].grads);
}

static float inverse(double x)
{
    return x > 0.0 ? (float)(1.0 / x) : 0.0f;
}

static float ramp(float from, float to, double at)
{
    return (float)((double)from + at * (double)(to - from));
}

/* Rows of all banks whose value is decoded in this step: see pointer.c. */
static int64_t decode_rows(const loci_trainer *t)
{
    const int phase = (int)(t->state.step % LOCI_DECODE_STRIDE);
    int64_t rows = 0;
    for (int i = 0; i < t->phase->batch; i++) {
        const loci_sequence *s = &t->item[i].seq;
        for (int d = 0; d < s->n_docs; d++)
            if (s->banked[d])
                rows += (s->doc[d + 1] - s->doc[d] + LOCI_DECODE_STRIDE - 1 - phase) /
                        LOCI_DECODE_STRIDE;
    }
    return rows;
}

/* Weights of the losses for this step: what to divide by is known once all items are made.
 * The gate's share is the derivative of
 *   l (mean g - pi) + rho/2 max(0, mean g - pi)^2     (model.md section 4)
 * at the mean of the step before. */
static void set_losses(loci_trainer *t)
{
    const loci_train_config *c = &t->config;
    const loci_phase *p = t->phase;
    double weight = 0.0;
    int64_t query = 0, gold = 0, absent = 0;
    for (int i = 0; i < p->batch; i++) {
        weight += t->item[i].weight_sum;
        query += t->item[i].n_query;
        gold += t->item[i].n_gold;
        absent += t->item[i].n_absent;
    }
    const double at = (double)t->state.phase_tokens / (double)p->tokens;
    const double over = t->state.gate_mean - (double)p->gate_target;
    memset(&t->loss, 0, sizeof t->loss);
    t->loss.routed = p->routed;
    t->loss.kl = c->kl;
    t->loss.oracle = ramp(p->oracle_from, p->oracle_to, at);
    t->loss.pointer = ramp(p->pointer_from, p->pointer_to, at);
    t->loss.decode = ramp(p->decode_from, p->decode_to, at);
    t->loss.decode_phase = (int)(t->state.step % LOCI_DECODE_STRIDE);
    t->loss.decode_scale = inverse((double)decode_rows(t));
    t->loss.absence = c->absence;
    t->loss.z = c->z;
    t->loss.gate =
        p->gate_target < 1.0f
            ? (float)(t->state.gate_multiplier + (double)c->gate_rho * (over > 0 ? over : 0))
            : 0.0f;
    t->loss.ce_scale = inverse(weight);
    t->loss.query_scale = inverse((double)query);
    t->loss.gold_scale = inverse((double)gold);
    t->loss.absent_scale = inverse((double)absent);
    t->loss.grad_scale = 1.0f;
}

static void place_tapes(loci_trainer *t)
{
    const size_t bytes = loci_pass_bytes(&t->config.hp, t->phase->seq_len);
    for (int i = 0; i < t->phase->batch; i++)
        t->pass[i] = loci_pass_init(&t->config.hp, t->phase->seq_len,
                                    (char *)t->tape_memory + (size_t)i * bytes);
    t->phase_ready = t->phase;
}

static void add_sums(loci_loss_sums *a, const loci_loss_sums *b)
{
    a->ce_text += b->ce_text;
    a->ce_answer += b->ce_answer;
    a->kl += b->kl;
    a->oracle += b->oracle;
    a->absence += b->absence;
    a->gate += b->gate;
    a->consulted += b->consulted;
    a->recall += b->recall;
    a->exact += b->exact;
    a->pointer += b->pointer;
    a->decode += b->decode;
    a->n_exact += b->n_exact;
    a->n_decode += b->n_decode;
    a->n_text += b->n_text;
    a->n_answer += b->n_answer;
    a->n_query += b->n_query;
    a->n_gold += b->n_gold;
    a->n_absent += b->n_absent;
    a->n_answer_right += b->n_answer_right;
    a->n_consult_pairs += b->n_consult_pairs;
}

loci_status loci_trainer_step(loci_trainer *t, loci_loss_sums *sums, double *norm, double *lr,
                              loci_error *err)
{
    const loci_train_config *c = &t->config;
    t->phase = &c->phase[t->state.phase];
    if (t->phase_ready != t->phase) place_tapes(t);
    const int slots = c->slots < t->phase->batch ? c->slots : t->phase->batch;

    loci_pool_run(t->pool, slots, tile_lower, t);
    for (int s = 0; s < slots; s++)
        if (t->slot[s].status != LOCI_OK)
            return loci_fail(err, t->slot[s].status, "%s", t->slot[s].error.text);
    int64_t tokens = 0;
    t->first_chunk[0] = 0;
    for (int i = 0; i < t->phase->batch; i++) {
        const float *landmark, *bias;
        t->first_chunk[i + 1] = t->first_chunk[i] + loci_pass_bank(t->pass[i], &landmark, &bias);
        tokens += t->item[i].seq.T;
    }
    set_losses(t);
    loci_pool_run(t->pool, slots, tile_upper, t);
    loci_pool_run(t->pool, t->phase->batch, tile_gather, t);
    loci_pool_run(t->pool, slots, tile_lower_backward, t);

    loci_loss_sums step = { 0 };
    for (int s = 0; s < slots; s++) add_sums(&step, &t->slot[s].sums);
    add_sums(sums, &step);
    const double schedule = loci_schedule(c, t->state.tokens);
    *lr = (double)c->lr * schedule;
    *norm = loci_optim_step(&t->optim, t->pool, &t->model->k, c, schedule, t->state.step);

    if (step.n_query > 0) {
        t->state.gate_mean = step.gate / (double)step.n_consult_pairs;
        const double l = t->state.gate_multiplier +
                         (double)c->gate_eta * (t->state.gate_mean - (double)t->phase->gate_target);
        t->state.gate_multiplier = t->phase->gate_target < 1.0f && l > 0.0 ? l : 0.0;
    }
    t->state.step++;
    t->state.tokens += tokens;
    t->state.phase_tokens += tokens;
    if (t->state.phase_tokens >= t->phase->tokens) {
        t->state.phase++;
        t->state.phase_tokens = 0;
    }
    return LOCI_OK;
}
