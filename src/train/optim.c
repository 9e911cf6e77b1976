/* optim.c - from gradients in slots to new parameters: sum, clip, AdamW.
 *
 * The slots are summed in their order and the norm is taken over tiles of a fixed size, so the
 * numbers do not depend on how many threads there are.
 *
 *   g = sum over slots;  norm = sqrt(sum g^2);  g <- g min(1, clip / norm);  AdamW
 *
 * Matrices may be stepped by Muon instead (muon.c).  Learning rates follow one schedule. */
#include "train/train_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 16384 }; /* floats: 64 KB of each slot, so that 16 slots stay in L2 */

loci_status loci_optim_init(loci_optim *o, const loci_train_config *c, int slots, loci_error *err)
{
    const loci_hparams *hp = &c->hp;
    memset(o, 0, sizeof *o);
    o->hp = *hp;
    o->slots = slots;
    o->n = loci_param_floats(hp);
    o->n_info = loci_param_list(hp, NULL, 0);
    size_t all, bytes;
    if (!loci_size_mul(o->n, (size_t)slots, &all) || !loci_size_mul(all, sizeof(float), &bytes))
        return loci_fail(err, LOCI_ENOMEM, "%d gradient slots of %zu floats", slots, o->n);
    o->param = loci_alloc_aligned(o->n * sizeof(float));
    o->m = loci_alloc_aligned(o->n * sizeof(float));
    o->v = loci_alloc_aligned(o->n * sizeof(float));
    o->decay = loci_alloc_aligned(o->n / 16 + 1);
    o->muon = loci_alloc_aligned(o->n / 16 + 1);
    o->square = loci_alloc_aligned((o->n / TILE + 1) * sizeof(double));
    o->slot = loci_alloc_aligned(bytes ? bytes : 1);
    o->info = calloc((size_t)o->n_info, sizeof *o->info);
    const bool rounds = loci_config_rounds(c);
    if (rounds && (o->four = loci_alloc_aligned(o->n / 16 + 1))) memset(o->four, 0, o->n / 16 + 1);
    if (rounds && slots > 0) o->kept = loci_alloc_aligned(o->n * sizeof(float));
    if (!o->param || !o->m || !o->v || !o->decay || !o->muon || !o->square || !o->slot ||
        !o->info || (rounds && (!o->four || (slots > 0 && !o->kept)))) {
        loci_optim_free(o);
        return loci_fail(err, LOCI_ENOMEM, "no memory for %d gradient slots of %zu bytes", slots,
                         o->n * sizeof(float));
    }
    loci_param_list(hp, o->info, o->n_info);
    if (c->muon > 0.0f && slots > 0) {
        o->muon_scratch = loci_alloc_aligned(loci_muon_scratch(o->info, o->n_info) * sizeof(float));
        if (!o->muon_scratch) {
            loci_optim_free(o);
            return loci_fail(err, LOCI_ENOMEM, "no memory for Muon's scratch");
        }
    }
    /* Tensors are padded to 16 floats: one decay flag for each 16 covers them exactly. */
    loci_params p;
    loci_params_bind(&p, hp, o->param);
    for (int i = 0; i < o->n_info; i++) {
        const loci_mat *w = (const loci_mat *)(const void *)((const char *)&p + o->info[i].offset);
        const size_t first = (size_t)((const float *)w->data - o->param) / 16;
        const size_t n = ((size_t)w->rows * (size_t)w->cols + 15) / 16;
        memset(o->decay + first, o->info[i].decay, n);
        memset(o->muon + first, c->muon > 0.0f && loci_muon_wants(&o->info[i]), n);
        if (rounds) loci_rounding_flags(o, &o->info[i], first);
    }
    return LOCI_OK;
}

void loci_optim_free(loci_optim *o)
{
    loci_free_aligned(o->param);
    loci_free_aligned(o->m);
    loci_free_aligned(o->v);
    loci_free_aligned(o->decay);
    loci_free_aligned(o->muon);
    loci_free_aligned(o->four);
    loci_free_aligned(o->kept);
    loci_free_aligned(o->muon_scratch);
    loci_free_aligned(o->square);
    loci_free_aligned(o->slot);
    free(o->info);
    memset(o, 0, sizeof *o);
}

double loci_schedule(const loci_train_config *c, int64_t tokens)
{
    const double done = (double)tokens / (double)c->total_tokens;
    const double end = c->lr > 0.0f ? (double)c->lr_min / (double)c->lr : 0.0;
    const double cosine = 0.5 * (1.0 + cos(3.14159265358979323846 * (done < 1.0 ? done : 1.0)));
    const double ramp =
        c->warmup_tokens > 0 ? (double)(tokens + 1) / (double)c->warmup_tokens : 1.0;
    return (end + (1.0 - end) * cosine) * (ramp < 1.0 ? ramp : 1.0);
}

typedef struct {
    loci_optim *o;
    const loci_kernels *k;
    double *square; /* (n_tiles) */
    loci_adamw_args args;
    float weight_decay;
} step_job;

static void sum_tile(void *ctx, int tile, int worker)
{
    (void)worker;
    step_job *j = ctx;
    loci_optim *o = j->o;
    const size_t first = (size_t)tile * TILE;
    const size_t n = o->n - first < TILE ? o->n - first : TILE;
    float *g = o->slot + first;
    for (int s = 1; s < o->slots; s++) {
        float *other = o->slot + (size_t)s * o->n + first;
        j->k->axpy(g, other, 1.0f, n);
        memset(other, 0, n * sizeof *other);
    }
    j->square[tile] = j->k->dot(g, g, n);
}

static void adamw_tile(void *ctx, int tile, int worker)
{
    (void)worker;
    step_job *j = ctx;
    loci_optim *o = j->o;
    const size_t first = (size_t)tile * TILE;
    const size_t end = o->n - first < TILE ? o->n : first + TILE;
    for (size_t i = first; i < end;) {
        /* A run of equal flags; tensors are long, so runs are too. */
        size_t stop = i + 16;
        while (stop < end && o->decay[stop / 16] == o->decay[i / 16] &&
               o->muon[stop / 16] == o->muon[i / 16])
            stop += 16;
        if (stop > end) stop = end;
        loci_adamw_args args = j->args;
        args.wd = o->decay[i / 16] ? j->weight_decay : 0.0f;
        if (!o->muon[i / 16])
            j->k->adamw(o->param + i, o->m + i, o->v + i, o->slot + i, stop - i, &args);
        i = stop;
    }
    memset(o->slot + first, 0, (end - first) * sizeof(float));
}

static void clear_tile(void *ctx, int tile, int worker)
{
    (void)worker;
    loci_optim *o = ((step_job *)ctx)->o;
    const size_t first = (size_t)tile * TILE;
    const size_t n = o->n - first < TILE ? o->n - first : TILE;
    memset(o->slot + first, 0, n * sizeof(float));
}

static int n_tiles(const loci_optim *o)
{
    return (int)((o->n + TILE - 1) / TILE);
}

double loci_optim_reduce(loci_optim *o, loci_pool *pool, const loci_kernels *k)
{
    step_job job = { .o = o, .k = k, .square = o->square };
    double square = 0.0;
    loci_pool_run(pool, n_tiles(o), sum_tile, &job);
    for (int t = 0; t < n_tiles(o); t++) square += job.square[t];
    return sqrt(square);
}

double loci_optim_step(loci_optim *o, loci_pool *pool, const loci_kernels *k,
                       const loci_train_config *c, double schedule, int64_t step)
{
    const int tiles = n_tiles(o);
    const double norm = loci_optim_reduce(o, pool, k);
    step_job job = { .o = o, .k = k, .weight_decay = c->weight_decay };
    if (!isfinite(norm)) { /* one bad batch must not end a long run */
        loci_pool_run(pool, tiles, clear_tile, &job);
        return norm;
    }
    const double t = (double)step + 1.0;
    job.args = (loci_adamw_args){
        .lr = (float)((double)c->lr * schedule),
        .b1 = c->beta1,
        .b2 = c->beta2,
        .eps = c->eps,
        .c1 = (float)(1.0 - pow((double)c->beta1, t)),
        .c2 = (float)(1.0 - pow((double)c->beta2, t)),
        .gscale = norm > (double)c->clip ? (float)((double)c->clip / norm) : 1.0f,
    };
    if (c->muon > 0.0f) loci_muon_step(o, pool, k, c, (float)schedule, job.args.gscale);
    loci_pool_run(pool, tiles, adamw_tile, &job);
    return norm;
}
