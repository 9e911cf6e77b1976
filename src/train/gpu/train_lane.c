/* train_lane.c - one GPU of a run: what it holds, its part of the sum of gradients, its step. */
#include "train/gpu/train_lane.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------------------- */

static const loci_mat *matrix(const loci_params *p, const loci_param_info *info)
{
    return (const loci_mat *)(const void *)((const char *)p + info->offset);
}

/* Muon's matrices by shape, and scratch for the largest group. */
static loci_status open_muon(loci_lane *u, const loci_trainer *t, loci_error *err)
{
    const loci_optim *o = &t->optim;
    size_t most = 0, square = 0, batch = 0;
    int64_t *offset = malloc((size_t)o->n_info * sizeof *offset);
    bool *seen = calloc((size_t)o->n_info, sizeof *seen);
    loci_status st =
        offset && seen ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for Muon's list");
    for (int i = 0; st == LOCI_OK && t->config.muon > 0.0f && i < o->n_info; i++) {
        if (seen[i] || !loci_muon_wants(&o->info[i])) continue;
        if (u->n_groups == LOCI_MUON_SHAPES) {
            st = loci_fail(err, LOCI_EINVAL, "more than %d shapes of matrices for Muon",
                           LOCI_MUON_SHAPES);
            break;
        }
        loci_muon_group *g = &u->group[u->n_groups++];
        *g = (loci_muon_group){ o->info[i].rows, o->info[i].cols, 0, NULL };
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

enum { PIECE_STEP = 64 }; /* floats: pieces begin where wide loads may */

typedef struct {
    size_t at, n; /* floats of the flat gradient */
} piece;

/* Piece i of a gradient of n floats; the last ones may be shorter, or empty. */
static piece piece_of(size_t n, int n_lanes, int i)
{
    const size_t steps = (n + PIECE_STEP - 1) / PIECE_STEP;
    const size_t each = (steps + (size_t)n_lanes - 1) / (size_t)n_lanes * PIECE_STEP;
    const size_t at = each * (size_t)i < n ? each * (size_t)i : n;
    return (piece){ at, n - at < each ? n - at : each };
}

loci_status loci_lane_open(loci_lane *u, const loci_trainer *t, int device, int n_lanes,
                           loci_error *err)
{
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
    if (n_lanes > 1) {
        u->sum = loci_gpu_alloc(u->g, piece_of(o->n, n_lanes, 0).n * sizeof(float));
        u->peer = loci_gpu_alloc(u->g, piece_of(o->n, n_lanes, 0).n * sizeof(float));
    }
    u->seq = calloc((size_t)t->max_micro, sizeof *u->seq);
    if (!u->seq) return loci_fail(err, LOCI_ENOMEM, "no memory for a batch");
    if ((st = loci_gpu_status(u->g, err)) != LOCI_OK) return st;
    if (o->four) loci_gpu_upload(u->g, u->four, o->four, o->n / 16 + 1);
    loci_gpu_weights_upload(&u->w, u->g, o->param);
    loci_gpu_upload(u->g, u->m, o->m, o->n * sizeof(float));
    loci_gpu_upload(u->g, u->v, o->v, o->n * sizeof(float));
    loci_gpu_upload(u->g, u->decay, o->decay, o->n / 16 + 1);
    loci_gpu_upload(u->g, u->muon, o->muon, o->n / 16 + 1);
    st = loci_gpu_status(u->g, err);
    return st == LOCI_OK ? open_muon(u, t, err) : st;
}

void loci_lane_close(loci_lane *u)
{
    if (!u->g) return;
    loci_gpu_use(u->g);
    loci_gpu_pass_close(u->pass);
    loci_gpu_weights_free(&u->w, u->g);
    void *all[] = { u->m,   u->v,    u->decay, u->muon, u->norm, u->kept, u->four,
                    u->sum, u->peer, u->x,     u->next, u->a,    u->b,    u->square };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_gpu_free(u->g, all[i]);
    for (int i = 0; i < u->n_groups; i++) loci_gpu_free(u->g, u->group[i].offset);
    free(u->seq);
    loci_gpu_close(u->g);
    memset(u, 0, sizeof *u);
}

/* ---- a step ------------------------------------------------------------------------------------------ */

void loci_lane_round(loci_lane *u, const loci_phase *phase)
{
    if (phase->round_weights)
        loci_gpu_round_four(u->g, u->w.p, u->w.half, u->kept, u->four, u->w.n);
}

void loci_lane_unround(loci_lane *u, const loci_phase *phase)
{
    if (phase->round_weights) loci_gpu_copy(u->g, u->w.p, u->kept, u->w.n * sizeof *u->kept);
}

loci_status loci_lane_collect(loci_lane *all, int n_lanes, int i, loci_error *err)
{
    loci_lane *u = &all[i];
    const piece mine = piece_of(u->w.n, n_lanes, i);
    const size_t bytes = mine.n * sizeof(float);
    loci_gpu_use(u->g);
    loci_gpu_mark(u->g, LANE_REDUCE);
    for (int k = 0; k < n_lanes; k++) { /* always in this order: the sum has one result */
        float *to = k == 0 ? u->sum : u->peer;
        loci_gpu_copy_from(u->g, to, all[k].g, all[k].w.grad + mine.at, bytes);
        if (k > 0) loci_gpu_axpy(u->g, u->sum, u->peer, 1.0f, mine.n);
    }
    loci_gpu_copy(u->g, u->w.grad + mine.at, u->sum, bytes);
    return loci_gpu_status(u->g, err);
}

loci_status loci_lane_spread(loci_lane *all, int n_lanes, int i, loci_error *err)
{
    loci_lane *u = &all[i];
    loci_gpu_use(u->g);
    for (int k = 0; k < n_lanes; k++) {
        const piece p = piece_of(u->w.n, n_lanes, k);
        if (k != i)
            loci_gpu_copy_from(u->g, u->w.grad + p.at, all[k].g, all[k].w.grad + p.at,
                               p.n * sizeof(float));
    }
    return loci_gpu_status(u->g, err);
}

static void optimise(loci_lane *u, const loci_train_config *c, double schedule, double step)
{
    for (int i = 0; i < u->n_groups; i++) {
        const loci_muon_group *g = &u->group[i];
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

loci_status loci_lane_step(loci_lane *u, const loci_train_config *c, double schedule, int64_t step,
                           loci_error *err)
{
    loci_gpu_use(u->g);
    loci_gpu_mark(u->g, LANE_STEP);
    loci_gpu_norm(u->g, u->norm, u->norm + 1, u->w.grad, u->w.n);
    optimise(u, c, schedule, (double)step + 1.0);
    loci_gpu_mark(u->g, LANE_DONE);
    loci_gpu_download(u->g, &u->grad_norm, u->norm, sizeof u->grad_norm);
    return loci_gpu_status(u->g, err);
}

loci_status loci_lane_fetch(loci_lane *u, loci_optim *o, loci_error *err)
{
    const size_t bytes = o->n * sizeof(float);
    loci_gpu_use(u->g);
    loci_gpu_download(u->g, o->param, u->w.p, bytes);
    loci_gpu_download(u->g, o->m, u->m, bytes);
    loci_gpu_download(u->g, o->v, u->v, bytes);
    return loci_gpu_status(u->g, err);
}

loci_status loci_lane_compare(loci_lane *u, const float *param, float *scratch, loci_error *err)
{
    const size_t bytes = u->w.n * sizeof *scratch;
    loci_gpu_use(u->g);
    loci_gpu_download(u->g, scratch, u->w.p, bytes);
    const loci_status st = loci_gpu_status(u->g, err);
    if (st != LOCI_OK || memcmp(scratch, param, bytes) == 0) return st;
    return loci_fail(err, LOCI_ESTATE, "the GPUs of this run hold different parameters");
}
