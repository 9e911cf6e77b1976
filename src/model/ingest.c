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
 * which also spares about half of the context's work.
 *
 * Rows go through all layers BLOCK at a time, each layer keeping the keys and values of its last W - 1
 * rows (ring.c): what a block needs stays in the cache of its core, and memory does not grow with the span. */
#include "model/model_impl.h"

#include <assert.h>

enum { BLOCK = 128 }; /* rows; a multiple of the chunk, so that the encoder gets whole chunks */

struct loci_ingest {
    loci_hparams hp;
    int max_span;
    double frequency[32];
    loci_rope_table rope; /* (BLOCK, 32): the rows of the block */
    int32_t *row;         /* 0, 1, 2, ...                        */
    float *x;             /* (BLOCK, D)                          */
    loci_rings rings;
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
    const int n_chunks = BLOCK / hp->chunk;
    s->hp = *hp;
    s->max_span = max_span;
    loci_rope_plan(&s->rope, a, BLOCK);
    s->row = loci_arena_take(a, BLOCK, sizeof *s->row);
    s->x = loci_arena_take(a, (size_t)BLOCK * (size_t)hp->d_model, sizeof(float));
    loci_rings_plan(&s->rings, a, hp, hp->n_lower, BLOCK);
    loci_window_plan(&s->window, a, hp, BLOCK);
    float *scratch = loci_arena_take(a, loci_encoder_scratch(hp, n_chunks, false), sizeof(float));
    s->encoder = loci_encoder_plan_with(a, hp, BLOCK, n_chunks, scratch);
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
    for (int i = 0; i < BLOCK; i++) s->row[i] = i;
    return s;
}

/* Rows [first, first + n) of the span and its context, ids and position of the first one, through the
 * lower stack: rows from L cut on end up right in x. */
static void lower(loci_ingest *s, const loci_model *m, const int32_t *ids, int64_t pos, int first,
                  int n, int cut)
{
    const size_t D = (size_t)s->hp.d_model;
    loci_rope_rows(&s->rope, s->frequency, s->hp.d_head, pos, n);
    loci_embed(m, s->x, NULL, ids, n);
    for (int l = 0; l < s->hp.n_lower; l++) {
        const int skip = l * cut > first ? l * cut - first : 0;
        if (skip >= n) return;
        loci_rings_layer(&s->rings, l, m, &m->p.lower[l], &s->window, s->x + (size_t)skip * D,
                         s->row + skip, &s->rope, n - skip);
    }
}

void loci_ingest_span(loci_ingest *s, const loci_model *m, const int32_t *ids, int64_t pos0,
                      int n_left, int n, float *content, float *landmark, float *bias,
                      float *summary)
{
    const loci_hparams *hp = &s->hp;
    const size_t D = (size_t)hp->d_model, wide = (size_t)loci_content_cols(hp);
    const int rows = n_left + n, cut = pos0 > 0 ? hp->window - 1 : 0;
    assert(n >= 1 && n <= s->max_span && n_left <= loci_ingest_left(hp));
    assert((pos0 + n_left) % hp->chunk == 0 && BLOCK % hp->chunk == 0);
    assert(pos0 == 0 || n_left == loci_ingest_left(hp));
    loci_rings_reset(&s->rings);
    for (int at = 0; at < rows; at += BLOCK) {
        const int part = rows - at < BLOCK ? rows - at : BLOCK;
        const int own = at < n_left ? n_left - at : 0; /* its first row that is not context */
        lower(s, m, ids + at, pos0 + at, at, part, cut);
        if (own >= part) continue;
        const size_t c = (size_t)(at + own - n_left) / (size_t)hp->chunk;
        const size_t lm = (size_t)(hp->n_landmarks * hp->d_landmark);
        loci_encoder_forward(m, s->encoder, 0, s->x + (size_t)own * D, part - own,
                             content + c * (size_t)hp->chunk * wide, landmark + c * lm, bias + c,
                             summary ? summary + c * (size_t)hp->d_summary : NULL);
    }
}
