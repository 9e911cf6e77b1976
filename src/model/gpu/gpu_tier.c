/* gpu_tier.c - chunks of a batch served whole or packed, and the ageing loss: equations in tier.c.
 *
 * Rows of all chunks go through the products, also those that are served whole: which chunks are packed
 * changes from step to step, and shapes should not. */
#include "model/gpu/gpu_pass_impl.h"

enum { CHUNK = 64, ROW = 128, PACK = LOCI_PACK };

void loci_gpu_tier_plan(loci_gpu_tier_tape *t, loci_arena *a, const loci_hparams *hp, int n_chunks)
{
    const size_t C = (size_t)n_chunks, P = C * CHUNK, cols = (size_t)loci_content_cols(hp);
    if (!hp->content_bits4) return;
    t->whole = loci_arena_take(a, P * cols, 2);
    t->rounded = loci_arena_take(a, P * PACK, 2);
    t->dr = loci_arena_take(a, P * cols, 2);
    t->dy = loci_arena_take(a, P * PACK, 2);
    t->dcontext = loci_arena_take(a, C * cols, 2);
    t->y = loci_arena_take(a, P * PACK, 4);
    t->r = loci_arena_take(a, P * cols, 4);
    t->context = loci_arena_take(a, C * cols, 4);
    t->inv = loci_arena_take(a, P * 2, 4);
    t->loss = loci_arena_take(a, P, 4);
}

static loci_gpu_tier tier_of(const loci_gpu_pass *p)
{
    return (loci_gpu_tier){ .whole = p->tier.whole,
                            .packed = p->b.packed,
                            .n_tokens = p->b.n_tokens,
                            .n_chunks = p->b.n_chunks,
                            .cols = loci_content_cols(&p->w->hp) };
}

void loci_gpu_tier_forward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_encoder_params *w = &p->w->at.enc;
    const loci_loss_options *o = p->opt;
    const int C = p->b.n_chunks, P = C * CHUNK, ds = hp->d_summary, cols = loci_content_cols(hp);
    const float k = 2.0f * o->ageing * o->ageing_scale * o->grad_scale / (float)cols;
    loci_gpu_tier_tape *t = &p->tier;
    const loci_gpu_tier job = tier_of(p);
    if (!hp->content_bits4 || C == 0) return;
    loci_gpu_linear(p, t->y, PACK, t->whole, cols, &w->pack, P, 0.0f, true);
    loci_gpu_round_q4(p->g, t->rounded, t->y, (size_t)P * PACK);
    loci_gpu_linear(p, t->r, cols, t->rounded, PACK, &w->unpack, P, 0.0f, true);
    loci_gpu_linear(p, t->context, cols, p->gist.summary, ds, &w->context, C, 0.0f, true);
    loci_gpu_serve(p->g, &job, p->content, t->inv, t->r, t->context, hp->norm_eps);
    loci_gpu_ageing(p->g, &job, t->loss, p->train ? p->dcontent : NULL, p->content, k);
    loci_gpu_sum_rows(p->g, p->sums + LOCI_GPU_SUM_AGEING, t->loss, 1, P);
}

/* dcontent of what was served becomes that of the encoder's rows; gist.dnode += the summaries' part. */
void loci_gpu_tier_backward(loci_gpu_pass *p)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_encoder_params *w = &p->w->at.enc, *dw = &p->w->grad_at.enc;
    const int C = p->b.n_chunks, P = C * CHUNK, ds = hp->d_summary, cols = loci_content_cols(hp);
    loci_gpu_tier_tape *t = &p->tier;
    const loci_gpu_tier job = tier_of(p);
    if (!hp->content_bits4 || C == 0) return;
    loci_gpu_unserve(p->g, &job, t->dr, t->dcontext, p->dcontent, p->content, t->inv);
    loci_gpu_linear_dx_add(p, p->gist.dnode, ds, t->dcontext, cols, &w->context, C);
    loci_gpu_linear_dw(p, &dw->context, t->dcontext, cols, p->gist.summary, ds, C);
    loci_gpu_linear_dx(p, t->dy, PACK, t->dr, cols, &w->unpack, P, 0.0f);
    loci_gpu_linear_dw(p, &dw->unpack, t->dr, cols, t->rounded, PACK, P);
    loci_gpu_linear_dw(p, &dw->pack, t->dy, PACK, t->whole, cols, P);
    loci_gpu_linear_dx_add(p, p->dcontent, ROW, t->dy, PACK, &w->pack, P);
}
