/* gpu_head.c - logits and cross-entropy of the rows that have a target, and the decode loss.
 *
 * Equations in head.c and pointer.c.  Logits live for 8,192 rows at a time, in f32; their gradient is
 * bf16. */
#include "model/gpu/gpu_pass_impl.h"

enum { WIDE = LOCI_GPU_READ_HEADS * 64 };

/* s.head_x (rows, D) -> losses; with train s.head_dx (written) and the gradient of the head's matrix. */
static void classify(loci_gpu_pass *p, int rows, const int32_t *target, const float *weight,
                     float z, float *loss, int32_t *best)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_mat *head = hp->tied ? &p->w->at.embed : &p->w->at.head;
    const loci_mat *dhead = hp->tied ? &p->w->grad_at.embed : &p->w->grad_at.head;
    const int D = hp->d_model, V = hp->vocab;
    loci_gpu_scratch *s = &p->s;
    loci_gpu_rmsnorm(p->g, s->head_xn, D, s->head_inv, s->head_x, D, rows, D, hp->norm_eps);
    loci_gpu_linear(p, s->logits, V, s->head_xn, D, head, rows, 0.0f, true);
    loci_gpu_cross_entropy(p->g, loss, best, p->train ? s->dlogits : NULL, s->logits, target,
                           weight, z, rows, V);
    if (!p->train) return;
    loci_gpu_linear_dx(p, s->head_dxn, D, s->dlogits, V, head, rows, 0.0f);
    loci_gpu_linear_dw(p, dhead, s->dlogits, V, s->head_xn, D, rows);
    loci_gpu_clear(p->g, s->head_dx, (size_t)rows * (size_t)D * sizeof(float));
    const loci_gpu_rmsnorm_grad j = { .dx = s->head_dx,
                                      .dy = s->head_dxn,
                                      .y = s->head_xn,
                                      .inv = s->head_inv,
                                      .lddx = D,
                                      .lddy = D,
                                      .ldy = D,
                                      .rows = rows,
                                      .cols = D };
    loci_gpu_rmsnorm_bwd(p->g, &j);
}

void loci_gpu_head(loci_gpu_pass *p)
{
    const int D = p->w->hp.d_model;
    const size_t n = (size_t)p->b.n * (size_t)D;
    if (p->train) loci_gpu_clear(p->g, p->dh, n * sizeof(float));
    for (int at = 0; at < p->b.n_head; at += LOCI_GPU_HEAD_ROWS) {
        const int rows =
            p->b.n_head - at < LOCI_GPU_HEAD_ROWS ? p->b.n_head - at : LOCI_GPU_HEAD_ROWS;
        loci_gpu_gather(p->g, p->s.head_x, p->h, p->b.head_row + at, rows, D);
        classify(p, rows, p->b.head_target + at, p->b.head_weight + at, p->opt->z,
                 p->head_loss + at, p->head_best + at);
        if (p->train) loci_gpu_scatter(p->g, p->dh, p->s.head_dx, p->b.head_row + at, rows, D);
    }
    if (p->train) loci_gpu_to_bf16(p->g, p->s.dh_half, p->dh, n);
}

/* One group's output map over a block of decoded rows. */
static void decode_block(loci_gpu_pass *p, int group, int at, int rows)
{
    const loci_read_params *w = &p->w->at.read[group], *dw = &p->w->grad_at.read[group];
    const int D = p->w->hp.d_model;
    loci_gpu_scratch *s = &p->s;
    loci_gpu_spread_values(p->g, s->head_tile, p->content, loci_content_cols(&p->w->hp),
                           p->b.decode_row + at, rows);
    loci_gpu_linear(p, s->head_x, D, s->head_tile, WIDE, &w->o, rows, 0.0f, true);
    classify(p, rows, p->b.decode_target + at, p->b.decode_weight + at, 0.0f,
             p->decode_loss + (size_t)group * (size_t)p->b.n_decode + at, NULL);
    if (!p->train) return;
    loci_gpu_to_bf16(p->g, s->head_dxn, s->head_dx, (size_t)rows * (size_t)D);
    loci_gpu_linear_dx(p, s->head_dtile, WIDE, s->head_dxn, D, &w->o, rows, 0.0f);
    loci_gpu_linear_dw(p, &dw->o, s->head_dxn, D, s->head_tile, WIDE, rows);
    loci_gpu_collect_values(p->g, p->dcontent, s->head_dtile, p->b.decode_row + at, rows);
}

void loci_gpu_decode(loci_gpu_pass *p)
{
    if (!(p->opt->decode > 0.0f)) return;
    for (int at = 0; at < p->b.n_decode; at += LOCI_GPU_HEAD_ROWS) {
        const int rows =
            p->b.n_decode - at < LOCI_GPU_HEAD_ROWS ? p->b.n_decode - at : LOCI_GPU_HEAD_ROWS;
        for (int g = 0; g < p->w->hp.n_groups; g++) decode_block(p, g, at, rows);
    }
}
