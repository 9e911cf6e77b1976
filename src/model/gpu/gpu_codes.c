/* gpu_codes.c - losses of trained codes over a batch: equations in code_loss.c, products in code.cu.
 *
 * Soft codes of all landmarks are made once; each group's sampled queries are collected and compared with
 * them.  Gradients of key codes add up over groups and pass the tanh and the map at the end. */
#include "model/gpu/gpu_pass_impl.h"

#include <math.h>

enum { D = 128 };

void loci_gpu_codes_plan(loci_gpu_code_tape *t, loci_arena *a, const loci_hparams *hp,
                         const loci_gpu_layout *b)
{
    const size_t K = (size_t)b->n_codes, keys = 2 * (size_t)b->n_chunks;
    if (!hp->trained_codes) return;
    t->u = loci_arena_take(a, K * D, 2);
    t->bq = loci_arena_take(a, K * D, 2);
    t->bk = loci_arena_take(a, keys * D, 2);
    t->dx = loci_arena_take(a, (K > keys ? K : keys) * D, 2);
    t->query = loci_arena_take(a, K * D, 4);
    t->key = loci_arena_take(a, keys * D, 4);
    t->dbq = loci_arena_take(a, K * D, 4);
    t->dbk = loci_arena_take(a, keys * D, 4);
    t->lse_s = loci_arena_take(a, K, 4);
    t->lse_z = loci_arena_take(a, K, 4);
    t->loss = loci_arena_take(a, (size_t)b->n_banks, 4);
}

/* db (rows, 128) of tanh(slope pre) with pre = x map^T -> the map. */
static void map_backward(loci_gpu_pass *p, const loci_mat *dmap, const float *db, const float *pre,
                         const loci_bf16 *x, float slope, int rows)
{
    loci_gpu_soft_codes_bwd(p->g, p->code.dx, db, pre, slope, (size_t)rows * D);
    loci_gpu_linear_dw(p, dmap, p->code.dx, D, x, D, rows);
}

static void group_loss(loci_gpu_pass *p, int group, float slope)
{
    const loci_loss_options *o = p->opt;
    const int n = p->b.n_codes, G = p->w->hp.n_groups;
    loci_gpu_code_tape *t = &p->code;
    const loci_gpu_code job = { .u = t->u,
                                .lm = p->landmark,
                                .bq = t->bq,
                                .bk = t->bk,
                                .bias = p->bias,
                                .tau = p->read[group].tau,
                                .query = p->b.code_query,
                                .own_lo = p->b.own_lo,
                                .own_hi = p->b.own_hi,
                                .seq_hi = p->b.seq_hi,
                                .gold = p->b.gold,
                                .lse_s = t->lse_s,
                                .lse_z = t->lse_z,
                                .n = n,
                                .n_chunks = p->b.real_chunks,
                                .negatives = p->negatives };
    const loci_gpu_code_grad grad = { .stat = p->stat,
                                      .dbq = p->train ? t->dbq : NULL,
                                      .dbk = p->train ? t->dbk : NULL,
                                      .part = p->s.part,
                                      .share = 1.0f / (float)G,
                                      .scale = o->hash * o->code_scale * o->grad_scale / (float)G,
                                      .rows = p->b.n };
    loci_gpu_hand_out(p->g, t->u, p->read[group].u, p->b.code_query, n);
    loci_gpu_linear(p, t->query, D, t->u, D, &p->w->at.code.query, n, 0.0f, true);
    loci_gpu_soft_codes(p->g, t->bq, t->query, slope, (size_t)n * D);
    loci_gpu_code_forward(p->g, &job);
    loci_gpu_code_backward(p->g, &job, &grad);
    if (p->train) map_backward(p, &p->w->grad_at.code.query, t->dbq, t->query, t->u, slope, n);
}

void loci_gpu_codes(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_loss_options *o = p->opt;
    const int keys = 2 * p->b.n_chunks;
    const float slope = o->code_slope * sqrtf((float)D);
    loci_gpu_code_tape *t = &p->code;
    if (!hp->trained_codes || o->code_every < 1 || p->b.real_chunks == 0) return;
    loci_gpu_linear(p, t->key, D, p->landmark, D, &p->w->at.code.key, keys, 0.0f, true);
    loci_gpu_soft_codes(p->g, t->bk, t->key, slope, (size_t)keys * D);
    loci_gpu_clear(p->g, t->dbk, (size_t)keys * D * sizeof(float));
    loci_gpu_code_spread(p->g, t->loss, p->train ? t->dbk : NULL, t->bk, p->b.bank_start,
                         p->b.n_banks, o->hash * o->code_bank_scale * o->grad_scale);
    loci_gpu_sum_rows(p->g, p->sums + LOCI_GPU_SUM_SPREAD, t->loss, 1, p->b.n_banks);
    for (int g = 0; p->b.n_codes > 0 && g < hp->n_groups; g++) group_loss(p, g, slope);
    if (p->train)
        map_backward(p, &p->w->grad_at.code.key, t->dbk, t->key, p->landmark, slope, keys);
    loci_gpu_pass_mark(p, "codes");
}
