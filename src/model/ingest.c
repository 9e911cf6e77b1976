/* ingest.c - one span of a document through the lower stack and the encoder.
 *
 * A row of h_lo depends on at most L (W - 1) rows to its left, L lower layers.  A span is therefore
 * run with that many tokens before it, or from the document's start if that is nearer, and its own
 * rows come out exact.  Where the context was cut, the first W - 1 rows that a layer would give are
 * wrong, so the next layer starts behind them:
 *
 *   layer l runs over rows [l (W - 1), n_left + n)     context cut
 *                          [0, n_left + n)             context reaches the document's start
 *
 * which also spares about half of the context's work. */
#include "model/model_impl.h"

#include <assert.h>
#include <string.h>

struct loci_ingest {
    loci_hparams hp;
    int max_span;
    double frequency[32];
    loci_rope_table rope; /* (left + max_span, 32) */
    int32_t *row;         /* 0, 1, 2, ...          */
    float *x, *k, *v; /* (left + max_span, D) and (.., G*64) twice; k, v of the layer that runs */
    loci_window_tape window;
    loci_encoder_tape *encoder;
};

int loci_ingest_left(const loci_hparams *hp)
{
    const int reach = hp->n_lower * (hp->window - 1);
    return (reach + hp->chunk - 1) / hp->chunk * hp->chunk;
}

static void plan(loci_ingest *s, loci_arena *a, const loci_hparams *hp, int max_span)
{
    const int rows = loci_ingest_left(hp) + max_span;
    const int n_chunks = (max_span + hp->chunk - 1) / hp->chunk;
    const size_t n = (size_t)rows, kv = n * (size_t)(hp->n_kv_heads * hp->d_head);
    s->hp = *hp;
    s->max_span = max_span;
    loci_rope_plan(&s->rope, a, rows);
    s->row = loci_arena_take(a, n, sizeof *s->row);
    s->x = loci_arena_take(a, n * (size_t)hp->d_model, sizeof(float));
    s->k = loci_arena_take(a, kv, sizeof(float));
    s->v = loci_arena_take(a, kv, sizeof(float));
    loci_window_plan(&s->window, a, hp, rows);
    float *scratch = loci_arena_take(a, loci_encoder_scratch(hp, n_chunks, false), sizeof(float));
    s->encoder = loci_encoder_plan_with(a, hp, max_span, n_chunks, scratch);
}

size_t loci_ingest_bytes(const loci_hparams *hp, int max_span)
{
    loci_arena a = { 0 };
    loci_ingest s;
    loci_arena_take(&a, 1, sizeof s);
    plan(&s, &a, hp, max_span);
    return a.used;
}

loci_ingest *loci_ingest_init(const loci_hparams *hp, int max_span, void *memory)
{
    loci_arena a = { memory, loci_ingest_bytes(hp, max_span), 0 };
    loci_ingest *s = loci_arena_take(&a, 1, sizeof *s);
    plan(s, &a, hp, max_span);
    loci_rope_frequencies(s->frequency, hp->rope_base, hp->d_head);
    for (int i = 0; i < s->rope.n_pos; i++) s->row[i] = i;
    return s;
}

void loci_ingest_span(loci_ingest *s, const loci_model *m, const int32_t *ids, int64_t pos0,
                      int n_left, int n, float *content, float *landmark, float *bias,
                      float *summary)
{
    const loci_hparams *hp = &s->hp;
    const size_t D = (size_t)hp->d_model;
    const int rows = n_left + n, cut = pos0 > 0 ? hp->window - 1 : 0;
    assert(n >= 1 && n <= s->max_span && n_left <= loci_ingest_left(hp));
    assert((pos0 + n_left) % hp->chunk == 0);
    assert(pos0 == 0 || n_left == loci_ingest_left(hp));
    loci_rope_rows(&s->rope, s->frequency, hp->d_head, pos0, rows);
    loci_embed(m, s->x, NULL, ids, rows);
    for (int l = 0; l < hp->n_lower; l++) {
        const int from = l * cut;
        loci_window_forward(m, &m->p.lower[l], &s->window, 0, s->x + (size_t)from * D,
                            s->row + from, &s->rope, s->k, s->v, 0, rows - from);
    }
    loci_encoder_forward(m, s->encoder, 0, s->x + (size_t)n_left * D, n, content, landmark, bias,
                         summary);
}
