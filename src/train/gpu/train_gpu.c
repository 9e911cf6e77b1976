/* train_gpu.c - a step of training on one GPU.
 *
 * The device does the arithmetic, the host makes the sequences: while step s runs, one thread has the
 * pool make the items of step s + 1 and lays them out.  Which phase that is, is known as soon as the
 * items of step s are: a step's length is that of its items.
 *
 *   items, layout (s + 1)  |  micro-batches of s: forward, backward   reduce   norm, Muon, AdamW
 *
 * Parameters, moments and gradients stay on the device; a checkpoint fetches them. */
#include "base/base.h"
#include "model/gpu/gpu_model.h"
#include "train/trainer.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MUON_SHAPES = 64, AHEAD = 2, STEP_MARK = 80 };

typedef struct { /* matrices of one shape, stepped together */
    int rows, cols, batch;
    int64_t *offset; /* (batch) on the device */
} muon_group;

typedef struct {             /* what a step needs of the host */
    loci_item *item;         /* (max_batch) */
    loci_gpu_layout *layout; /* (most micro-batches of a phase) */
    loci_loss_options loss;
    const loci_phase *phase;
    loci_train_state state; /* that it was made for */
    int64_t tokens;
    loci_status status;
    loci_error error;
} prepared;

struct loci_gpu_trainer {
    loci_gpu *g;
    loci_gpu_weights w;
    loci_gpu_pass *pass;
    float *m, *v;
    uint8_t *decay, *muon;
    double *norm; /* [0] norm, [1 ..] partial sums */
    float *kept;  /* parameters while rounded ones stand in; NULL, as `four`: no phase rounds */
    uint8_t *four;
    muon_group group[MUON_SHAPES];
    int n_groups;
    loci_bf16 *x, *next, *a, *b;
    float *square;
    prepared step[AHEAD];
    const loci_sequence **seq; /* (max_batch) of the micro-batch that runs */
    int max_micros;
    int64_t at; /* prepared steps so far */
    pthread_t thread;
    bool under_way;
    double wait_ms; /* of the last step: the device had nothing to do */
    loci_trainer *t;
};

/* ---- the next step's items ------------------------------------------------------------------------ */

/* Micro-batch k of the step. */
static loci_status lay_out(loci_trainer *t, prepared *p, int k, int micro)
{
    struct loci_gpu_trainer *u = t->gpu;
    const loci_train_config *c = &t->config;
    const loci_hparams hp = loci_phase_hparams(c, p->phase);
    const loci_sequence **seq = malloc((size_t)micro * sizeof *seq);
    uint8_t *regrets = malloc((size_t)micro);
    loci_status st = seq && regrets
                         ? LOCI_OK
                         : loci_fail(&p->error, LOCI_ENOMEM, "no memory for %d sequences", micro);
    for (int i = 0; st == LOCI_OK && i < micro; i++) {
        const int at = k * micro + i;
        seq[i] = &p->item[at].seq;
        regrets[i] = loci_trainer_regrets(c, p->phase, p->state.step, at);
        p->tokens += seq[i]->T;
    }
    if (st == LOCI_OK)
        st = loci_gpu_layout_fill(&p->layout[k], u->g, &hp, seq, micro, &p->loss, &p->error);
    if (st == LOCI_OK)
        st = loci_gpu_layout_bare(&p->layout[k], u->g, &hp, seq, micro, regrets, &p->loss,
                                  &p->error);
    free(regrets);
    free(seq);
    return st;
}

static void prepare(loci_trainer *t, prepared *p)
{
    const loci_train_config *c = &t->config;
    memset(&p->error, 0, sizeof p->error);
    p->phase = &c->phase[p->state.phase];
    p->tokens = 0;
    p->status = loci_trainer_make(t, p->item, p->phase, p->state.step, &p->error);
    if (p->status != LOCI_OK) return;
    loci_trainer_losses(c, p->item, p->phase, &p->state, &p->loss);
    const int micro = p->phase->batch / p->phase->accumulate;
    for (int k = 0; k < p->phase->accumulate && p->status == LOCI_OK; k++) {
        p->status = lay_out(t, p, k, micro);
    }
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

static const loci_mat *matrix(const loci_params *p, const loci_param_info *info)
{
    return (const loci_mat *)(const void *)((const char *)p + info->offset);
}

/* Muon's matrices by shape, and scratch for the largest group. */
static loci_status open_muon(loci_trainer *t, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    const loci_optim *o = &t->optim;
    size_t most = 0, square = 0, batch = 0;
    int64_t *offset = malloc((size_t)o->n_info * sizeof *offset);
    bool *seen = calloc((size_t)o->n_info, sizeof *seen);
    loci_status st =
        offset && seen ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for Muon's list");
    for (int i = 0; st == LOCI_OK && t->config.muon > 0.0f && i < o->n_info; i++) {
        if (seen[i] || !loci_muon_wants(&o->info[i])) continue;
        if (u->n_groups == MUON_SHAPES) {
            st = loci_fail(err, LOCI_EINVAL, "more than %d shapes of matrices for Muon",
                           MUON_SHAPES);
            break;
        }
        muon_group *g = &u->group[u->n_groups++];
        *g = (muon_group){ o->info[i].rows, o->info[i].cols, 0, NULL };
        for (int k = i; k < o->n_info; k++) {
            if (!loci_muon_wants(&o->info[k]) || o->info[k].rows != g->rows ||
                o->info[k].cols != g->cols)
                continue;
            seen[k] = true;
            offset[g->batch++] = (const float *)matrix(&u->w.at, &o->info[k])->data - u->w.p;
        }
        const size_t side = (size_t)(g->rows < g->cols ? g->rows : g->cols), n = (size_t)g->batch;
        g->offset = loci_gpu_alloc(u->g, n * sizeof *offset);
        if (g->offset) loci_gpu_upload(u->g, g->offset, offset, n * sizeof *offset);
        st = loci_gpu_status(u->g, err); /* before `offset` is written again */
        if (n * (size_t)g->rows * (size_t)g->cols > most)
            most = n * (size_t)g->rows * (size_t)g->cols;
        if (n * side * side > square) square = n * side * side;
        if (n > batch) batch = n;
    }
    free(offset);
    free(seen);
    if (st != LOCI_OK || u->n_groups == 0) return st;
    u->x = loci_gpu_alloc(u->g, most * 2);
    u->next = loci_gpu_alloc(u->g, most * 2);
    u->a = loci_gpu_alloc(u->g, square * 2);
    u->b = loci_gpu_alloc(u->g, square * 2);
    u->square = loci_gpu_alloc(u->g, batch * 64 * sizeof(float));
    return loci_gpu_status(u->g, err);
}

static loci_status open_items(loci_trainer *t, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    for (int i = 0; i < t->config.n_phases; i++)
        if (t->config.phase[i].accumulate > u->max_micros)
            u->max_micros = t->config.phase[i].accumulate;
    u->seq = calloc((size_t)t->max_batch, sizeof *u->seq);
    if (!u->seq) return loci_fail(err, LOCI_ENOMEM, "no memory for a batch");
    for (int k = 0; k < AHEAD; k++) {
        prepared *p = &u->step[k];
        p->item = calloc((size_t)t->max_batch, sizeof *p->item);
        p->layout = calloc((size_t)u->max_micros, sizeof *p->layout);
        if (!p->item || !p->layout) return loci_fail(err, LOCI_ENOMEM, "no memory for a batch");
        for (int i = 0; i < t->max_batch; i++) {
            const loci_status st = loci_item_init(&p->item[i], t->max_seq, err);
            if (st != LOCI_OK) return st;
        }
    }
    return LOCI_OK;
}

static loci_status open_device(loci_trainer *t, int device, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    const loci_optim *o = &t->optim;
    loci_status st = loci_gpu_open(&u->g, device, err);
    if (st == LOCI_OK) st = loci_gpu_weights_init(&u->w, u->g, &t->config.hp, true, err);
    if (st == LOCI_OK) st = loci_gpu_pass_open(&u->pass, u->g, &u->w, err);
    if (st != LOCI_OK) return st;
    u->m = loci_gpu_alloc(u->g, o->n * sizeof(float));
    u->v = loci_gpu_alloc(u->g, o->n * sizeof(float));
    u->decay = loci_gpu_alloc(u->g, o->n / 16 + 1);
    u->muon = loci_gpu_alloc(u->g, o->n / 16 + 1);
    u->norm = loci_gpu_alloc(u->g, 2048 * sizeof(double));
    if (o->four) {
        u->kept = loci_gpu_alloc(u->g, o->n * sizeof(float));
        u->four = loci_gpu_alloc(u->g, o->n / 16 + 1);
    }
    if ((st = loci_gpu_status(u->g, err)) != LOCI_OK) return st;
    if (o->four) loci_gpu_upload(u->g, u->four, o->four, o->n / 16 + 1);
    loci_gpu_weights_upload(&u->w, u->g, o->param);
    loci_gpu_upload(u->g, u->m, o->m, o->n * sizeof(float));
    loci_gpu_upload(u->g, u->v, o->v, o->n * sizeof(float));
    loci_gpu_upload(u->g, u->decay, o->decay, o->n / 16 + 1);
    loci_gpu_upload(u->g, u->muon, o->muon, o->n / 16 + 1);
    st = loci_gpu_status(u->g, err);
    return st == LOCI_OK ? open_muon(t, err) : st;
}

loci_status loci_gpu_trainer_open(loci_trainer *t, int device, loci_error *err)
{
    t->gpu = calloc(1, sizeof *t->gpu);
    if (!t->gpu) return loci_fail(err, LOCI_ENOMEM, "no memory for training on a GPU");
    t->gpu->t = t;
    const loci_status st = open_device(t, device, err);
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
        for (int i = 0; u->step[k].layout && u->g && i < u->max_micros; i++)
            loci_gpu_layout_free(&u->step[k].layout[i], u->g);
        free(u->step[k].item);
        free(u->step[k].layout);
    }
    free(u->seq);
    loci_gpu_pass_close(u->pass);
    loci_gpu_weights_free(&u->w, u->g);
    void *all[] = { u->m,    u->v, u->decay, u->muon, u->norm, u->kept,
                    u->four, u->x, u->next,  u->a,    u->b,    u->square };
    for (size_t i = 0; u->g && i < sizeof all / sizeof *all; i++) loci_gpu_free(u->g, all[i]);
    for (int i = 0; u->g && i < u->n_groups; i++) loci_gpu_free(u->g, u->group[i].offset);
    loci_gpu_close(u->g);
    free(u);
    t->gpu = NULL;
}

/* ---- a step ------------------------------------------------------------------------------------------ */

/* The one place where the gradient is complete and not yet used.  With several processes, each with its
 * part of the batch, w.grad (w.n floats) would be summed over them here, and the sums of losses with
 * it; everything behind is the same arithmetic on each. */
static void reduce_gradients(struct loci_gpu_trainer *u)
{
    loci_gpu_norm(u->g, u->norm, u->norm + 1, u->w.grad, u->w.n);
}

static void optimise(loci_trainer *t, double schedule)
{
    struct loci_gpu_trainer *u = t->gpu;
    const loci_train_config *c = &t->config;
    const double step = (double)t->state.step + 1.0;
    for (int i = 0; i < u->n_groups; i++) {
        const muon_group *g = &u->group[i];
        const loci_gpu_muon_job j = { .p = u->w.p,
                                      .m = u->m,
                                      .grad = u->w.grad,
                                      .norm = u->norm,
                                      .offset = g->offset,
                                      .x = u->x,
                                      .next = u->next,
                                      .a = u->a,
                                      .b = u->b,
                                      .square = u->square,
                                      .rows = g->rows,
                                      .cols = g->cols,
                                      .batch = g->batch,
                                      .lr = c->muon * (float)schedule,
                                      .decay = c->lr * (float)schedule * c->weight_decay,
                                      .clip = c->clip };
        loci_gpu_muon(u->g, &j);
    }
    const loci_gpu_adamw_job j = { .p = u->w.p,
                                   .m = u->m,
                                   .v = u->v,
                                   .grad = u->w.grad,
                                   .copy = u->w.half,
                                   .decay = u->decay,
                                   .muon = u->muon,
                                   .norm = u->norm,
                                   .n = u->w.n,
                                   .lr = (float)((double)c->lr * schedule),
                                   .b1 = c->beta1,
                                   .b2 = c->beta2,
                                   .eps = c->eps,
                                   .wd = c->weight_decay,
                                   .c1 = (float)(1.0 - pow((double)c->beta1, step)),
                                   .c2 = (float)(1.0 - pow((double)c->beta2, step)),
                                   .clip = c->clip };
    loci_gpu_adamw(u->g, &j);
}

loci_status loci_gpu_trainer_step(loci_trainer *t, loci_loss_sums *step, int64_t *tokens,
                                  double schedule, double *norm, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    prepared *p = current(t);
    if (p->status != LOCI_OK) return loci_fail(err, p->status, "%s", p->error.text);
    t->phase = p->phase;
    t->model->hp = u->w.hp =
        loci_phase_hparams(&t->config, t->phase); /* how a checkpoint describes itself */
    start_next(t, p);
    /* What depends on how the gates did in the step before is known only now. */
    p->loss.gate = loci_trainer_gate(&t->config, p->phase, &t->state);
    const int micro = p->phase->batch / p->phase->accumulate;
    loci_status st = LOCI_OK;
    if (t->phase->round_weights)
        loci_gpu_round_four(u->g, u->w.p, u->w.half, u->kept, u->four, u->w.n);
    for (int k = 0; k < p->phase->accumulate && st == LOCI_OK; k++) {
        for (int i = 0; i < micro; i++) u->seq[i] = &p->item[k * micro + i].seq;
        st = loci_gpu_pass_run(u->pass, &p->layout[k], u->seq, micro, &p->loss, t->config.negatives,
                               true, step, err);
    }
    if (t->phase->round_weights) loci_gpu_copy(u->g, u->w.p, u->kept, u->w.n * sizeof *u->kept);
    if (st != LOCI_OK) return st;
    *tokens += p->tokens;
    loci_gpu_mark(u->g, STEP_MARK);
    reduce_gradients(u);
    optimise(t, schedule);
    loci_gpu_mark(u->g, STEP_MARK + 1);
    loci_gpu_download(u->g, norm, u->norm, sizeof *norm);
    return loci_gpu_status(u->g, err);
}

void loci_gpu_trainer_times(loci_trainer *t, loci_train_report *out)
{
    const char *name[LOCI_TRAIN_PARTS];
    float ms[LOCI_TRAIN_PARTS];
    struct loci_gpu_trainer *u = t->gpu;
    const int n = loci_gpu_pass_times(u->pass, name, ms, LOCI_TRAIN_PARTS - 2);
    for (int i = 0; i < n; i++) {
        out->part[i].name = name[i];
        out->part[i].ms = (double)ms[i];
    }
    out->part[n].name = "optimiser";
    out->part[n].ms = (double)loci_gpu_between(u->g, STEP_MARK, STEP_MARK + 1);
    out->part[n + 1].name = "host";
    out->part[n + 1].ms = u->wait_ms;
    out->n_parts = n + 2;
}

loci_status loci_gpu_trainer_fetch(loci_trainer *t, loci_error *err)
{
    struct loci_gpu_trainer *u = t->gpu;
    const size_t bytes = t->optim.n * sizeof(float);
    loci_gpu_download(u->g, t->optim.param, u->w.p, bytes);
    loci_gpu_download(u->g, t->optim.m, u->m, bytes);
    loci_gpu_download(u->g, t->optim.v, u->v, bytes);
    return loci_gpu_status(u->g, err);
}
