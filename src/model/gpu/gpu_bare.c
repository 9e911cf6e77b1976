/* gpu_bare.c - sequences that run through the upper stack a second time without the bank (regret).
 *
 * They are few, so they get a layout of their own: their rows of h_lo are copied together, pass through the
 * layers and the head, and what is left of that is their cross-entropy.  Tapes and scratch are those of the
 * batch, which writes them anew right after. */
#include "model/gpu/gpu_pass_impl.h"

#include <stdlib.h>
#include <string.h>

static bool is_bare(const loci_sequence *s, uint8_t which)
{
    return which && memchr(s->banked, 1, (size_t)s->n_docs) != NULL;
}

loci_status loci_gpu_layout_bare(loci_gpu_layout *b, loci_gpu *g, const loci_hparams *hp,
                                 const loci_sequence *const *s, int n, const uint8_t *which,
                                 const loci_loss_options *opt, loci_error *err)
{
    loci_hparams shape = *hp;
    loci_gpu_stretch at = { 0 };
    int count = 0;
    b->n_bare = 0;
    for (int i = 0; i < n; i++) count += is_bare(s[i], which[i]);
    if (count == 0 || hp->n_groups == 0 || !(opt->regret > 0.0f)) return LOCI_OK;
    if (!b->bare) b->bare = calloc(1, sizeof *b->bare);
    free(b->stretch);
    b->stretch = calloc((size_t)count, sizeof *b->stretch);
    const loci_sequence **bare = calloc((size_t)count, sizeof *bare);
    if (!b->bare || !b->stretch || !bare) {
        free(bare);
        return loci_fail(err, LOCI_ENOMEM, "no memory for %d sequences without a bank", count);
    }
    for (int i = 0, k = 0; i < n; i++) {
        at.n_rows = s[i]->T;
        at.n_head = 0;
        for (int t = 0; t < s[i]->T; t++) at.n_head += s[i]->target[t] >= 0;
        if (is_bare(s[i], which[i])) {
            bare[k] = s[i];
            b->stretch[k++] = at;
        }
        at.row += at.n_rows;
        at.head += at.n_head;
    }
    shape.n_groups = shape.d_summary = shape.content_bits4 = 0;
    const loci_status st = loci_gpu_layout_fill(b->bare, g, &shape, bare, count, opt, err);
    if (st == LOCI_OK) b->n_bare = count;
    free(bare);
    return st;
}

void loci_gpu_bare_plan(loci_gpu_pass *p, loci_arena *a)
{
    const loci_gpu_layout *b = &p->b;
    if (b->n_bare == 0) return;
    const size_t H = (size_t)b->bare->n_head;
    p->bare_h = loci_arena_take(a, (size_t)b->bare->n * (size_t)p->w->hp.d_model, 4);
    p->bare_loss = loci_arena_take(a, H, 4);
    p->bare_best = loci_arena_take(a, H, 4);
    p->regret = loci_arena_take(a, (size_t)b->n, 4);
}

void loci_gpu_bare_forward(loci_gpu_pass *p)
{
    const loci_gpu_layout b = p->b;
    const size_t D = (size_t)p->w->hp.d_model;
    const bool train = p->train;
    float *h = p->h, *loss = p->head_loss, *to = p->bare_h;
    int32_t *best = p->head_best;
    if (b.n_bare == 0) return;
    loci_gpu_clear(p->g, p->bare_h, (size_t)b.bare->n * D * sizeof(float)); /* pads too are rows */
    for (int i = 0; i < b.n_bare; i++) {
        const size_t n = (size_t)b.stretch[i].n_rows * D;
        loci_gpu_copy(p->g, to, h + (size_t)b.stretch[i].row * D, n * sizeof(float));
        to += n;
    }
    p->b = *b.bare;
    p->h = p->bare_h;
    p->head_loss = p->bare_loss;
    p->head_best = p->bare_best;
    p->train = false;
    loci_gpu_upper_forward(p, true);
    loci_gpu_head(p);
    loci_gpu_pass_mark(p, "without bank");
    p->b = b;
    p->h = h;
    p->head_loss = loss;
    p->head_best = best;
    p->train = train;
}

void loci_gpu_bare_regret(loci_gpu_pass *p)
{
    const loci_gpu_layout *b = &p->b;
    const float *without = p->bare_loss;
    if (b->n_bare == 0) return;
    loci_gpu_clear(p->g, p->regret, (size_t)b->n * sizeof(float));
    for (int i = 0; i < b->n_bare; i++) {
        const loci_gpu_stretch *s = &b->stretch[i];
        loci_gpu_regrets j = { .regret = p->regret,
                               .stat = p->stat,
                               .with = p->head_loss + s->head,
                               .without = without,
                               .row = b->head_row + s->head,
                               .own_lo = b->own_lo,
                               .own_hi = b->own_hi,
                               .n = s->n_head,
                               .rows = b->n,
                               .groups = p->w->hp.n_groups };
        for (int g = 0; g < j.groups; g++) j.gate[g] = p->read[g].gate;
        loci_gpu_regret(p->g, &j);
        without += s->n_head;
    }
}
