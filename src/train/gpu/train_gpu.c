/* train_gpu.c - a step of training on one or several GPUs.
 *
 * The devices do the arithmetic, the host makes the sequences: while step s runs, one thread has the
 * pool make the items of step s + 1 and lay them out.  Which phase that is, is known as soon as the
 * items of step s are: a step's length is that of its items.
 *
 *   items, layouts (s + 1)  |  micro-batches of s: forward, backward   sum of gradients   norm, Muon, AdamW
 *
 * A step's micro-batches are what several GPUs share: number k is GPU k mod n's (train_lane.h).  So the
 * config alone says what is computed, and the number of GPUs changes no more than the order in which
 * gradients are added. */
#include "train/gpu/train_lane.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 2 };

typedef struct { /* a micro-batch laid out */
    loci_gpu_layout layout;
    loci_status status;
    loci_error error;
} laid;

typedef struct {     /* what a step needs of the host */
    loci_item *item; /* (max_batch) */
    laid *micro;     /* (most micro-batches of a phase) */
    loci_loss_options loss;
    const loci_phase *phase;
    loci_train_state state; /* that it was made for */
    int64_t tokens;
    loci_status status;
    loci_error error;
} prepared;

struct loci_gpu_trainer {
    loci_lane lane[LOCI_MAX_DEVICES];
    int n_lanes;
    loci_pool *threads; /* one a lane */
    prepared step[AHEAD];
    int max_micros;
    int64_t at; /* prepared steps so far */
    pthread_t thread;
    bool under_way;
    double wait_ms; /* of the last step: the devices had nothing to do */
    loci_trainer *t;
    /* the step that runs */
    prepared *now;
    double schedule;
};

/* ---- the next step's items ------------------------------------------------------------------------ */

typedef struct {
    loci_trainer *t;
    prepared *p;
} layout_job;

/* Lay out micro-batch k for the GPU that will run it. */
static loci_status lay_out(loci_trainer *t, prepared *p, int k, loci_error *err)
{
    const loci_train_config *c = &t->config;
    const loci_hparams hp = loci_phase_hparams(c, p->phase);
    const int micro = p->phase->batch / p->phase->accumulate;
    loci_gpu *g = t->gpu->lane[k % t->gpu->n_lanes].g;
    loci_gpu_layout *layout = &p->micro[k].layout;
    const loci_sequence **seq = malloc((size_t)micro * sizeof *seq);
    uint8_t *regrets = malloc((size_t)micro);
    loci_status st =
        seq && regrets ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for %d sequences", micro);
    for (int i = 0; st == LOCI_OK && i < micro; i++) {
        const int at = k * micro + i;
        seq[i] = &p->item[at].seq;
        regrets[i] = loci_trainer_regrets(c, p->phase, p->state.step, at);
    }
    if (st == LOCI_OK) st = loci_gpu_layout_fill(layout, g, &hp, seq, micro, &p->loss, err);
    if (st == LOCI_OK)
        st = loci_gpu_layout_bare(layout, g, &hp, seq, micro, regrets, &p->loss, err);
    free(regrets);
    free(seq);
    return st;
}

static void tile_lay_out(void *ctx, int k, int worker)
{
    (void)worker;
    const layout_job *j = ctx;
    laid *l = &j->p->micro[k];
    memset(&l->error, 0, sizeof l->error);
    l->status = lay_out(j->t, j->p, k, &l->error);
}

static void prepare(loci_trainer *t, prepared *p)
{
    const loci_train_config *c = &t->config;
    memset(&p->error, 0, sizeof p->error);
    p->phase = &c->phase[p->state.phase];
    p->tokens = 0;
    p->status = loci_trainer_make(t, p->item, p->phase, p->state.step, &p->error);
    if (p->status != LOCI_OK) return;
    for (int i = 0; i < p->phase->batch; i++) p->tokens += p->item[i].seq.T;
    loci_trainer_losses(c, p->item, p->phase, &p->state, &p->loss);
    layout_job j = { t, p };
    loci_pool_run(t->pool, p->phase->accumulate, tile_lay_out, &j);
    for (int k = 0; k < p->phase->accumulate && p->status == LOCI_OK; k++)
        if (p->micro[k].status != LOCI_OK)
            p->status = loci_fail(&p->error, p->micro[k].status, "%s", p->micro[k].error.text);
}

static void *prepare_thread(void *ctx)
{
    struct loci_gpu_trainer *u = ctx;
    prepare(u->t, &u->step[u->at % AHEAD]);
    return NULL;
}

static void wait_for_items(struct loci_gpu_trainer *u)
{
    if (u->under_way) pthread_join(u->thread, NULL);
    u->under_way = false;
}

/* The step of t->state, made now unless it was made ahead. */
static prepared *current(loci_trainer *t)
{
    struct loci_gpu_trainer *u = t->gpu;
    const double begin = loci_seconds();
    wait_for_items(u);
    u->wait_ms = 1e3 * (loci_seconds() - begin);
    prepared *p = &u->step[u->at % AHEAD];
    const bool ready = p->phase && p->state.step == t->state.step &&
                       p->state.tokens == t->state.tokens && p->state.phase == t->state.phase &&
                       p->status == LOCI_OK;
    if (ready) return p;
    p->state = t->state;
    prepare(t, p);
    u->wait_ms = 1e3 * (loci_seconds() - begin);
    return p;
}

/* Start making the step behind p. */
static void start_next(loci_trainer *t, const prepared *p)
{
    struct loci_gpu_trainer *u = t->gpu;
    loci_train_state next = p->state;
    loci_train_state_next(&next, &t->config, p->tokens);
    u->at++;
    prepared *q = &u->step[u->at % AHEAD];
    q->phase = NULL;
    if (next.phase >= t->config.n_phases) return;
    q->state = next;
    u->under_way = pthread_create(&u->thread, NULL, prepare_thread, u) == 0;
}

/* ---- opening --------------------------------------------------------------------------------------- */

static loci_status open_items(loci_trainer *t, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    for (int k = 0; k < AHEAD; k++) {
        prepared *p = &u->step[k];
        p->item = calloc((size_t)t->max_batch, sizeof *p->item);
        p->micro = calloc((size_t)u->max_micros, sizeof *p->micro);
        if (!p->item || !p->micro) return loci_fail(err, LOCI_ENOMEM, "no memory for a batch");
        for (int i = 0; i < t->max_batch; i++) {
            const loci_status st = loci_item_init(&p->item[i], t->max_seq, err);
            if (st != LOCI_OK) return st;
        }
    }
    return LOCI_OK;
}

/* Every phase has micro-batches for all of them. */
static loci_status check_shares(const loci_train_config *c, int n, loci_error *err)
{
    for (int i = 0; i < c->n_phases; i++)
        if (c->phase[i].accumulate % n != 0)
            return loci_fail(err, LOCI_EINVAL,
                             "phase %s: accumulate is %d, expected a multiple of %d, the number "
                             "of GPUs that share its micro-batches",
                             c->phase[i].name, c->phase[i].accumulate, n);
    return LOCI_OK;
}

loci_status loci_gpu_trainer_open(loci_trainer *t, const loci_devices *devices, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu = calloc(1, sizeof *t->gpu);
    if (!u) return loci_fail(err, LOCI_ENOMEM, "no memory for training on a GPU");
    u->t = t;
    for (int i = 0; i < t->config.n_phases; i++)
        if (t->config.phase[i].accumulate > u->max_micros)
            u->max_micros = t->config.phase[i].accumulate;
    loci_status st = check_shares(&t->config, devices->n, err);
    for (int i = 0; i < devices->n && st == LOCI_OK; i++, u->n_lanes++)
        st = loci_lane_open(&u->lane[i], t, devices->number[i], devices->n, err);
    if (st != LOCI_OK) return st;
    st = loci_pool_open(&u->threads, u->n_lanes, err);
    return st == LOCI_OK ? open_items(t, err) : st;
}

void loci_gpu_trainer_close(loci_trainer *t)
{
    struct loci_gpu_trainer *u = t->gpu;
    if (!u) return;
    wait_for_items(u);
    for (int k = 0; k < AHEAD; k++) {
        for (int i = 0; u->step[k].item && i < t->max_batch; i++)
            loci_item_free(&u->step[k].item[i]);
        for (int i = 0; u->step[k].micro && i < u->max_micros; i++)
            loci_gpu_layout_free(&u->step[k].micro[i].layout, u->lane[i % u->n_lanes].g);
        free(u->step[k].item);
        free(u->step[k].micro);
    }
    for (int i = 0; i < LOCI_MAX_DEVICES; i++) loci_lane_close(&u->lane[i]);
    loci_pool_close(u->threads);
    free(u);
    t->gpu = NULL;
}

/* ---- a step ------------------------------------------------------------------------------------------ */

/* Gradients of lane i's micro-batches. */
static loci_status run_share(struct loci_gpu_trainer *u, int i, loci_error *err)
{
    loci_lane *l = &u->lane[i];
    prepared *p = u->now;
    const int micro = p->phase->batch / p->phase->accumulate;
    loci_status st = LOCI_OK;
    loci_lane_round(l, p->phase);
    for (int k = i; k < p->phase->accumulate && st == LOCI_OK; k += u->n_lanes) {
        for (int s = 0; s < micro; s++) l->seq[s] = &p->item[k * micro + s].seq;
        st = loci_gpu_pass_run(l->pass, &p->micro[k].layout, l->seq, micro, &p->loss,
                               u->t->config.negatives, true, &l->sums, err);
    }
    loci_lane_unround(l, p->phase);
    return st;
}

/* The parts of a step: every lane is done with one before the next begins. */

static void tile_share(void *ctx, int i, int worker)
{
    struct loci_gpu_trainer *u = ctx;
    loci_lane *l = &u->lane[i];
    (void)worker;
    loci_gpu_use(l->g);
    l->w.hp = u->t->model->hp;
    memset(&l->sums, 0, sizeof l->sums);
    memset(&l->error, 0, sizeof l->error);
    l->status = run_share(u, i, &l->error);
}

static void tile_collect(void *ctx, int i, int worker)
{
    struct loci_gpu_trainer *u = ctx;
    (void)worker;
    u->lane[i].status = loci_lane_collect(u->lane, u->n_lanes, i, &u->lane[i].error);
}

static void tile_spread(void *ctx, int i, int worker)
{
    struct loci_gpu_trainer *u = ctx;
    (void)worker;
    u->lane[i].status = loci_lane_spread(u->lane, u->n_lanes, i, &u->lane[i].error);
}

static void tile_step(void *ctx, int i, int worker)
{
    struct loci_gpu_trainer *u = ctx;
    (void)worker;
    u->lane[i].status = loci_lane_step(&u->lane[i], &u->t->config, u->schedule, u->t->state.step,
                                       &u->lane[i].error);
}

static loci_status run_lanes(struct loci_gpu_trainer *u, loci_error *err)
{
    loci_tile_fn *const part[] = { tile_share, tile_collect, tile_spread, tile_step };
    for (int k = 0; k < 4; k++) {
        const bool between = part[k] == tile_collect || part[k] == tile_spread;
        if (between && u->n_lanes == 1) continue; /* its share is the sum */
        loci_pool_run(u->threads, u->n_lanes, part[k], u);
        for (int i = 0; i < u->n_lanes; i++)
            if (u->lane[i].status != LOCI_OK)
                return loci_fail(err, u->lane[i].status, "%s", u->lane[i].error.text);
    }
    return LOCI_OK;
}

loci_status loci_gpu_trainer_step(loci_trainer *t, loci_loss_sums *step, int64_t *tokens,
                                  double schedule, double *norm, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    prepared *p = current(t);
    if (p->status != LOCI_OK) return loci_fail(err, p->status, "%s", p->error.text);
    t->phase = p->phase;
    t->model->hp = loci_phase_hparams(&t->config, t->phase); /* how a checkpoint describes itself */
    start_next(t, p);
    /* What depends on how the gates did in the step before is known only now. */
    p->loss.gate = loci_trainer_gate(&t->config, p->phase, &t->state);
    u->now = p;
    u->schedule = schedule;
    const loci_status st = run_lanes(u, err);
    if (st != LOCI_OK) return st;
    for (int i = 0; i < u->n_lanes; i++) loci_loss_sums_add(step, &u->lane[i].sums);
    *tokens += p->tokens;
    *norm = u->lane[0].grad_norm;
    return LOCI_OK;
}

void loci_gpu_trainer_times(loci_trainer *t, loci_train_report *out)
{
    const char *name[LOCI_TRAIN_PARTS];
    float ms[LOCI_TRAIN_PARTS];
    struct loci_gpu_trainer *u = t->gpu;
    loci_lane *l = &u->lane[0];
    loci_gpu_use(l->g);
    int n = loci_gpu_pass_times(l->pass, name, ms, LOCI_TRAIN_PARTS - 3);
    for (int i = 0; i < n; i++) {
        out->part[i].name = name[i];
        out->part[i].ms = (double)ms[i];
    }
    if (u->n_lanes > 1) {
        out->part[n].name = "sum of gradients";
        out->part[n++].ms = (double)loci_gpu_between(l->g, LANE_REDUCE, LANE_STEP);
    }
    out->part[n].name = "optimiser";
    out->part[n++].ms = (double)loci_gpu_between(l->g, LANE_STEP, LANE_DONE);
    out->part[n].name = "host";
    out->part[n++].ms = u->wait_ms;
    out->n_parts = n;
}

/* A copy that has gone astray would be trained on for ever: it is looked for whenever one is saved. */
loci_status loci_gpu_trainer_fetch(loci_trainer *t, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    loci_status st = loci_lane_fetch(&u->lane[0], &t->optim, err);
    if (st != LOCI_OK || u->n_lanes == 1) return st;
    float *other = malloc(t->optim.n * sizeof *other);
    if (!other) return loci_fail(err, LOCI_ENOMEM, "no memory to compare the GPUs' parameters");
    for (int i = 1; i < u->n_lanes && st == LOCI_OK; i++)
        st = loci_lane_compare(&u->lane[i], t->optim.param, other, err);
    free(other);
    return st;
}
