/* head.c - logits = rms(h) E^T, E the embedding or a matrix of its own, and the cross-entropy over
 * them.
 *
 *   loss = ce_scale sum_t weight_t (CE_t + z lse_t^2)
 *
 * Logits of a sequence are never held: rows with a target are taken 64 at a time, and with
 * gradients the logits of a block turn into their gradient in place. */
#include "model/model_impl.h"

#include <string.h>

enum { ROWS = 64 }; /* logits of a block at 16K ids: 4 MiB */

typedef struct {
    float *x, *xn, *dxn, *inv;    /* (ROWS, D) three times, (ROWS)    */
    float *logits;                /* (ROWS, vocab)                    */
    float *loss, *weight;         /* (ROWS)                           */
    int32_t *row, *target, *best; /* (ROWS): where the rows come from */
} head_scratch;

static void scratch_carve(head_scratch *s, loci_arena *a, const loci_hparams *hp)
{
    const size_t D = (size_t)hp->d_model, f = sizeof(float);
    s->x = loci_arena_take(a, ROWS * D, f);
    s->xn = loci_arena_take(a, ROWS * D, f);
    s->dxn = loci_arena_take(a, ROWS * D, f);
    s->inv = loci_arena_take(a, ROWS, f);
    s->logits = loci_arena_take(a, ROWS * (size_t)hp->vocab, f);
    s->loss = loci_arena_take(a, ROWS, f);
    s->weight = loci_arena_take(a, ROWS, f);
    s->row = loci_arena_take(a, ROWS, sizeof(int32_t));
    s->target = loci_arena_take(a, ROWS, sizeof(int32_t));
    s->best = loci_arena_take(a, ROWS, sizeof(int32_t));
}

size_t loci_head_scratch(const loci_hparams *hp)
{
    loci_arena a = { 0 };
    head_scratch s;
    scratch_carve(&s, &a, hp);
    return a.used / sizeof(float);
}

void loci_head_logits(const loci_model *m, const float *h, float *xn, float *logits, int n)
{
    const int D = m->hp.d_model;
    m->k.rmsnorm(xn, D, NULL, h, D, n, D, m->hp.norm_eps);
    loci_linear(m, logits, m->hp.vocab, xn, D, loci_head(m), n);
}

/* Collect rows with a target from *t on; returns how many. */
static int collect(const loci_sequence *s, const float *h, int D, float scale, int *t,
                   const head_scratch *b)
{
    int n = 0;
    for (; *t < s->T && n < ROWS; ++*t) {
        if (s->target[*t] < 0) continue;
        memcpy(b->x + (size_t)n * (size_t)D, h + (size_t)*t * (size_t)D, (size_t)D * sizeof *h);
        b->row[n] = *t;
        b->target[n] = s->target[*t];
        b->weight[n] = s->weight[*t] * scale;
        n++;
    }
    return n;
}

static void report(const loci_sequence *s, const head_scratch *b, int n, loci_loss_sums *sums)
{
    for (int r = 0; r < n; r++) {
        if (s->answer && s->answer[b->row[r]]) {
            sums->ce_answer += (double)b->loss[r];
            sums->n_answer++;
            sums->n_answer_right += b->best[r] == b->target[r];
        } else {
            sums->ce_text += (double)b->loss[r];
            sums->n_text++;
        }
    }
}

/* Answers are runs of answer tokens; one is exact when every token of it was right. */
static void report_exact(const loci_sequence *s, const int32_t *best, loci_loss_sums *sums)
{
    for (int t = 0; s->answer && t < s->T;) {
        bool right = true;
        const int first = t;
        for (; t < s->T && s->answer[t] && s->target[t] >= 0; t++) right &= best[t] == s->target[t];
        sums->n_exact += t > first;
        sums->exact += t > first && right;
        t += t == first;
    }
}

void loci_head_loss(const loci_model *m, const float *h, const loci_sequence *s,
                    const loci_loss_options *opt, float *dh, loci_mat *dhead, int32_t *best,
                    float *ce, loci_loss_sums *sums, float *scratch)
{
    const loci_hparams *hp = &m->hp;
    const int D = hp->d_model, V = hp->vocab;
    loci_arena a = { (unsigned char *)scratch, loci_head_scratch(hp) * sizeof(float), 0 };
    head_scratch b;
    scratch_carve(&b, &a, hp);
    if (dh) memset(dh, 0, (size_t)s->T * (size_t)D * sizeof *dh);
    for (int t = 0, n; (n = collect(s, h, D, opt->ce_scale * opt->grad_scale, &t, &b)) > 0;) {
        m->k.rmsnorm(b.xn, D, b.inv, b.x, D, n, D, hp->norm_eps);
        loci_linear(m, b.logits, V, b.xn, D, loci_head(m), n);
        m->k.cross_entropy(b.loss, b.best, b.logits, V, b.target, dh ? b.weight : NULL, opt->z, n,
                           V);
        report(s, &b, n, sums);
        for (int r = 0; r < n; r++) best[b.row[r]] = b.best[r];
        for (int r = 0; ce && r < n; r++) ce[b.row[r]] = b.loss[r];
        if (!dh) continue;
        loci_linear_bwd(&m->k, b.dxn, D, 0.0f, dhead, b.logits, V, b.xn, D, loci_head(m), n);
        for (int r = 0; r < n; r++)
            m->k.rmsnorm_bwd(dh + (size_t)b.row[r] * (size_t)D, D, b.dxn + (size_t)r * (size_t)D, D,
                             b.xn + (size_t)r * (size_t)D, D, b.inv + r, 1, D);
    }
    report_exact(s, best, sums);
}
