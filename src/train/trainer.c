/* trainer.c - one step of training.
 *
 * A step makes B sequences; what the losses are divided by is then known.  They are run in
 * `accumulate` micro-batches, one after the other, each in `slots` slots (sequence i in slot i mod
 * slots); a slot is the unit of work that a thread takes, and has its own gradient buffer:
 *
 *   A  per slot      lower stack and encoder: every bank of the micro-batch is known now
 *   B  per slot      upper stack, losses and backward; the chunks of the micro-batch's other
 *                    sequences are negatives
 *   C  per sequence  gather the gradients that others caused in a sequence's landmarks
 *   D  per slot      backward through encoder and lower stack
 *
 * Gradients of all micro-batches add up in the slots, which are summed in their order (optim.c).
 * Nothing depends on which thread did what. */
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
        const int micro = p->batch / p->accumulate;
        if (p->batch > t->max_batch) t->max_batch = p->batch;
        if (micro > t->max_micro) t->max_micro = micro;
        if (p->seq_len > t->max_seq) t->max_seq = p->seq_len;
        const int most = c->negatives && !t->on_gpu ? micro * loci_item_chunks_max(p->seq_len) : 0;
        if (most > chunks) chunks = most;
        /* Tapes are sized for the most tokens that a micro-batch of any phase holds. */
        const size_t bytes = (size_t)micro * loci_pass_bytes(&c->hp, p->seq_len);
        if (bytes > t->tape_bytes && !t->on_gpu) t->tape_bytes = bytes;
    }
    const size_t row = (size_t)c->hp.n_landmarks * (size_t)c->hp.d_landmark;
    t->neg_floats = (size_t)chunks * (row + 1);
    t->tape_memory = loci_alloc_aligned(t->tape_bytes);
    t->neg = loci_alloc_aligned(((size_t)c->slots * t->neg_floats + 1) * sizeof(float));
    t->item = calloc((size_t)t->max_batch, sizeof *t->item);
    t->pass = calloc((size_t)t->max_micro, sizeof *t->pass);
    t->first_chunk = calloc((size_t)t->max_micro + 1, sizeof *t->first_chunk);
    t->slot = calloc((size_t)c->slots, sizeof *t->slot);
    if (!t->tape_memory || !t->neg || !t->item || !t->pass || !t->first_chunk || !t->slot)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a step: tapes need %zu bytes",
                         t->tape_bytes);
    loci_status st = LOCI_OK;
    for (int i = 0; i < t->max_batch && st == LOCI_OK; i++)
        st = loci_item_init(&t->item[i], t->max_seq, err);
    for (int s = 0; s < c->slots && st == LOCI_OK; s++) {
        if (!t->on_gpu)
            loci_params_bind(&t->slot[s].grads, &c->hp, t->optim.slot + (size_t)s * t->optim.n);
        t->slot[s].negatives = calloc((size_t)t->max_micro + 1, sizeof *t->slot[s].negatives);
        if (!t->slot[s].negatives) return loci_fail(err, LOCI_ENOMEM, "no memory for negatives");
        st = loci_item_maker_open(&t->slot[s].maker, t->tok, t->max_seq, err);
    }
    return st;
}

void loci_trainer_free(loci_trainer *t)
{
    loci_gpu_trainer_close(t);
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
typedef struct {
    loci_trainer *t;
    loci_item *item;
    const loci_phase *phase;
    int64_t step;
} make_job;

static void tile_make(void *ctx, int s, int worker)
{
    (void)worker;
    const make_job *j = ctx;
    loci_trainer *t = j->t;
    loci_trainer_slot *slot = &t->slot[s];
    for (int i = s; i < j->phase->batch && slot->status == LOCI_OK; i += t->config.slots) {
        const uint64_t theme = loci_rng_mix((uint64_t)t->config.seed, (uint64_t)j->step);
        const uint64_t seed = loci_rng_mix(theme, (uint64_t)i);
        slot->status = loci_item_make(&j->item[i], slot->maker, &t->config, j->phase, &t->corpus,
                                      seed, theme, &slot->error);
    }
}

static loci_status slots_status(const loci_trainer *t, loci_error *err)
{
    for (int s = 0; s < t->config.slots; s++)
        if (t->slot[s].status != LOCI_OK)
            return loci_fail(err, t->slot[s].status, "%s", t->slot[s].error.text);
    return LOCI_OK;
}

loci_status loci_trainer_make(loci_trainer *t, loci_item *item, const loci_phase *phase,
                              int64_t step, loci_error *err)
{
    make_job j = { t, item, phase, step };
    loci_pool_run(t->pool, t->config.slots, tile_make, &j);
    return slots_status(t, err);
}

/* Sequence i of the micro-batch. */
static const loci_sequence *sequence(const loci_trainer *t, int i)
{
    return &t->item[t->at + i].seq;
}

static void tile_lower(void *ctx, int s, int worker)
{
    (void)worker;
    loci_trainer *t = ctx;
    loci_trainer_slot *slot = &t->slot[s];
    for (int i = s; i < t->micro && slot->status == LOCI_OK; i += t->config.slots)
        slot->status = loci_pass_lower(t->pass[i], t->model, sequence(t, i), &slot->error);
}

/* Every other sequence's bank with this slot's gradient buffer. */
static int collect_negatives(loci_trainer *t, int s, int self)
{
    loci_negatives *n = t->slot[s].negatives;
    const size_t row = (size_t)t->config.hp.n_landmarks * (size_t)t->config.hp.d_landmark;
    float *buffer = t->neg + (size_t)s * t->neg_floats;
    int count = 0;
    for (int j = 0; j < t->micro; j++) {
        if (j == self) continue;
        loci_negatives *x = &n[count++];
        x->n = loci_pass_bank(t->pass[j], &x->landmark, &x->bias);
        x->dlandmark = buffer + (size_t)t->first_chunk[j] * (row + 1);
        x->dbias = x->dlandmark + (size_t)x->n * row;
    }
    return count;
}

bool loci_trainer_regrets(const loci_train_config *c, const loci_phase *p, int64_t step, int i)
{
    return c->regret_every > 0 && (step * p->batch + i) % c->regret_every == 0;
}

static void tile_upper(void *ctx, int s, int worker)
{
    (void)worker;
    loci_trainer *t = ctx;
    const size_t row = (size_t)t->config.hp.n_landmarks * (size_t)t->config.hp.d_landmark;
    if (t->config.negatives)
        memset(t->neg + (size_t)s * t->neg_floats, 0,
               (size_t)t->first_chunk[t->micro] * (row + 1) * sizeof(float));
    for (int i = s; i < t->micro; i += t->config.slots) {
        const int n_neg = t->config.negatives ? collect_negatives(t, s, i) : 0;
        loci_loss_options loss = t->loss;
        if (!loci_trainer_regrets(&t->config, t->phase, t->state.step, t->at + i))
            loss.regret = 0.0f;
        loci_pass_upper(t->pass[i], t->model, sequence(t, i), t->slot[s].negatives, n_neg, &loss,
                        &t->slot[s].grads, &t->slot[s].sums);
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
    for (int s = 0; s < t->config.slots && s < t->micro; s++) {
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
    for (int i = s; i < t->micro; i += t->config.slots)
        loci_pass_lower_backward(t->pass[i], t->model, sequence(t, i), &t->slot[s].grads);
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
static int64_t decode_rows(const loci_item *item, int batch, int phase)
{
    int64_t rows = 0;
    for (int i = 0; i < batch; i++) {
        const loci_sequence *s = &item[i].seq;
        for (int d = 0; d < s->n_docs; d++)
            if (s->banked[d])
                rows += (s->doc[d + 1] - s->doc[d] + LOCI_DECODE_STRIDE - 1 - phase) /
                        LOCI_DECODE_STRIDE;
    }
    return rows;
}

/* What the losses of trained codes are divided by.  The slope of tanh grows over the whole run, so
 * that it ends near the sign that search takes. */
static void set_code_losses(const loci_train_config *c, const loci_item *item, const loci_phase *p,
                            const loci_train_state *state, loci_loss_options *o)
{
    const double at = (double)state->tokens / (double)c->total_tokens;
    int64_t rows = 0, banks = 0;
    o->hash = c->hash;
    o->code_slope = ramp(1.0f, 8.0f, at < 1.0 ? at : 1.0);
    o->code_every = c->hash_every;
    o->code_phase = (int)(state->step % c->hash_every);
    for (int i = 0; i < p->batch; i++) {
        const loci_sequence *s = &item[i].seq;
        rows += loci_item_code_rows(&item[i], c->hash_every, o->code_phase);
        banks += memchr(s->banked, 1, (size_t)s->n_docs) != NULL;
    }
    o->code_scale = inverse((double)rows);
    o->code_bank_scale = inverse((double)banks);
}

/* The derivative of
 *   l (mean g - pi) + rho/2 max(0, mean g - pi)^2,  l <- max(0, l + eta (mean g - pi))
 * at the mean of the step before; the mean goes over tokens and groups, the loss's sum too. */
float loci_trainer_gate(const loci_train_config *c, const loci_phase *p, const loci_train_state *s)
{
    const double over = s->gate_mean - (double)p->gate_target;
    const double force = s->gate_multiplier + (double)c->gate_rho * (over > 0 ? over : 0);
    if (p->gate_target >= 1.0f) return 0.0f;
    return (float)(force / (c->hp.n_groups ? c->hp.n_groups : 1));
}

/* What to divide by is known once all items are made. */
void loci_trainer_losses(const loci_train_config *c, const loci_item *item, const loci_phase *p,
                         const loci_train_state *state, loci_loss_options *o)
{
    double weight = 0.0;
    int64_t query = 0, gold = 0, absent = 0, kl = 0, aged = 0, regret = 0;
    memset(o, 0, sizeof *o);
    o->kl_every = p->kl_every;
    o->kl_phase = p->kl_every > 0 ? (int)(state->step % p->kl_every) : 0;
    for (int i = 0; i < p->batch; i++) {
        weight += item[i].weight_sum;
        query += item[i].n_query;
        gold += item[i].n_gold;
        absent += item[i].n_absent;
        kl += loci_item_kl_rows(&item[i], o->kl_every, o->kl_phase);
        aged += loci_item_packed_rows(&item[i], c->hp.chunk);
        if (loci_trainer_regrets(c, p, state->step, i)) regret += loci_item_regret_rows(&item[i]);
    }
    const double at = (double)state->phase_tokens / (double)p->tokens;
    o->routed = p->routed;
    o->kl = c->kl;
    o->oracle = ramp(p->oracle_from, p->oracle_to, at);
    o->pointer = ramp(p->pointer_from, p->pointer_to, at);
    o->decode = ramp(p->decode_from, p->decode_to, at);
    o->decode_phase = (int)(state->step % LOCI_DECODE_STRIDE);
    o->decode_scale = inverse((double)decode_rows(item, p->batch, o->decode_phase));
    o->absence = c->absence;
    o->z = c->z;
    o->gate = loci_trainer_gate(c, p, state);
    o->ce_scale = inverse(weight);
    o->query_scale = inverse((double)query);
    o->kl_scale = inverse((double)kl);
    o->regret = c->regret;
    o->regret_scale = inverse((double)regret);
    o->gold_scale = inverse((double)gold);
    o->absent_scale = inverse((double)absent);
    o->grad_scale = 1.0f;
    o->ageing = c->ageing;
    o->ageing_scale = inverse((double)aged);
    if (c->hp.trained_codes) set_code_losses(c, item, p, state, o);
}

/* A phase begins: its tapes, and the model as it trains it, which is how checkpoints are saved. */
static void begin_phase(loci_trainer *t)
{
    t->model->hp = loci_phase_hparams(&t->config, t->phase);
    const size_t bytes = loci_pass_bytes(&t->config.hp, t->phase->seq_len);
    for (int i = 0; i < t->micro; i++)
        t->pass[i] = loci_pass_init(&t->model->hp, t->phase->seq_len,
                                    (char *)t->tape_memory + (size_t)i * bytes);
    t->phase_ready = t->phase;
}

void loci_loss_sums_add(loci_loss_sums *a, const loci_loss_sums *b)
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
    a->hash += b->hash;
    a->spread += b->spread;
    a->agreement += b->agreement;
    a->ageing += b->ageing;
    a->n_aged += b->n_aged;
    a->regret += b->regret;
    a->gain += b->gain;
    a->n_regret += b->n_regret;
    a->n_hash += b->n_hash;
    a->n_spread += b->n_spread;
    a->n_exact += b->n_exact;
    a->n_decode += b->n_decode;
    a->n_kl += b->n_kl;
    a->n_text += b->n_text;
    a->n_answer += b->n_answer;
    a->n_query += b->n_query;
    a->n_gold += b->n_gold;
    a->n_absent += b->n_absent;
    a->n_answer_right += b->n_answer_right;
    a->n_consult_pairs += b->n_consult_pairs;
}

/* Items [at, at + micro) forward and back, into the slots. */
static loci_status run_micro_batch(loci_trainer *t, loci_error *err)
{
    const int slots = t->config.slots < t->micro ? t->config.slots : t->micro;
    loci_pool_run(t->pool, slots, tile_lower, t);
    const loci_status st = slots_status(t, err);
    if (st != LOCI_OK) return st;
    t->first_chunk[0] = 0;
    for (int i = 0; i < t->micro; i++) {
        const float *landmark, *bias;
        t->first_chunk[i + 1] = t->first_chunk[i] + loci_pass_bank(t->pass[i], &landmark, &bias);
    }
    loci_pool_run(t->pool, slots, tile_upper, t);
    if (t->config.negatives) loci_pool_run(t->pool, t->micro, tile_gather, t);
    loci_pool_run(t->pool, slots, tile_lower_backward, t);
    return LOCI_OK;
}

loci_status loci_trainer_gradients(loci_trainer *t, loci_loss_sums *sums, int64_t *tokens,
                                   loci_error *err)
{
    const loci_train_config *c = &t->config;
    t->phase = &c->phase[t->state.phase];
    t->micro = t->phase->batch / t->phase->accumulate;
    if (t->phase_ready != t->phase) begin_phase(t);
    loci_status st = loci_trainer_make(t, t->item, t->phase, t->state.step, err);
    if (st != LOCI_OK) return st;
    loci_trainer_losses(c, t->item, t->phase, &t->state, &t->loss);
    for (int s = 0; s < c->slots; s++) memset(&t->slot[s].sums, 0, sizeof t->slot[s].sums);
    if (t->phase->round_weights) loci_rounding_begin(&t->optim, t->pool);
    for (t->at = 0; t->at < t->phase->batch && st == LOCI_OK; t->at += t->micro)
        st = run_micro_batch(t, err);
    if (t->phase->round_weights) loci_rounding_end(&t->optim);
    for (int i = 0; i < t->phase->batch; i++) *tokens += t->item[i].seq.T;
    for (int s = 0; s < c->slots; s++) loci_loss_sums_add(sums, &t->slot[s].sums);
    return st;
}

/* Multiplier of the gate's constraint, from what the gates did in this step. */
static void step_gate(loci_trainer *t, const loci_loss_sums *step)
{
    loci_train_state *s = &t->state;
    const double target = (double)t->phase->gate_target;
    if (step->n_consult_pairs == 0) return;
    s->gate_mean = step->gate / (double)step->n_consult_pairs;
    const double l = s->gate_multiplier + (double)t->config.gate_eta * (s->gate_mean - target);
    s->gate_multiplier = target < 1.0 && l > 0.0 ? l : 0.0;
}

void loci_train_state_next(loci_train_state *s, const loci_train_config *c, int64_t tokens)
{
    s->step++;
    s->tokens += tokens;
    s->phase_tokens += tokens;
    if (s->phase_tokens >= c->phase[s->phase].tokens) {
        s->phase++;
        s->phase_tokens = 0;
    }
}

loci_status loci_trainer_step(loci_trainer *t, loci_loss_sums *sums, double *norm, double *lr,
                              loci_error *err)
{
    const loci_train_config *c = &t->config;
    const double schedule = loci_schedule(c, t->state.tokens);
    loci_loss_sums step = { 0 };
    int64_t tokens = 0;
    *lr = (double)c->lr * schedule;
    loci_status st;
    if (t->on_gpu) {
        st = loci_gpu_trainer_step(t, &step, &tokens, schedule, norm, err);
    } else {
        st = loci_trainer_gradients(t, &step, &tokens, err);
        if (st == LOCI_OK)
            *norm = loci_optim_step(&t->optim, t->pool, &t->model->k, c, schedule, t->state.step);
    }
    if (st != LOCI_OK) return st;
    loci_loss_sums_add(sums, &step);
    step_gate(t, &step);
    loci_train_state_next(&t->state, c, tokens);
    return LOCI_OK;
}
