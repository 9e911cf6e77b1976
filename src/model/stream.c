/* stream.c - one token stream: prefill and decode through the same rows.
 *
 *   lower   h_lo = window layers over embed(ids), keys and values kept in rings
 *   upper   groups of [ Read (consult.c); window layers ] over a copy of h_lo, then the head
 *
 * Keys are rotated by their absolute position, whose angle is taken in double:
 * a float holds no position above 2^24, and an angle after a million tokens must be as good as the
 * first. */
#include "model/model_impl.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct loci_stream {
    loci_hparams hp;
    int max_batch;
    int64_t pos;   /* of the next token                     */
    int64_t upper; /* of the row that the upper layers get next */
    int batch;     /* rows in h_lo: positions [pos - batch, pos) */
    loci_rings lower_rings, upper_rings;
    double frequency[32];
    loci_rope_table rope; /* (max_batch, 32): the rows of the call  */
    int32_t *row;         /* (max_batch) 0, 1, 2, ...: rows of rope */
    float *h_lo, *h, *xn; /* (max_batch, D)                         */
    loci_window_tape window;
    loci_consult consult;
};

static void plan(loci_stream *s, loci_arena *a, const loci_hparams *hp, int max_batch)
{
    const size_t n = (size_t)max_batch, D = (size_t)hp->d_model;
    s->hp = *hp;
    s->max_batch = max_batch;
    loci_rings_plan(&s->lower_rings, a, hp, hp->n_lower, max_batch);
    loci_rings_plan(&s->upper_rings, a, hp, hp->n_upper, max_batch);
    loci_rope_plan(&s->rope, a, max_batch);
    s->row = loci_arena_take(a, n, sizeof *s->row);
    s->h_lo = loci_arena_take(a, n * D, sizeof(float));
    s->h = loci_arena_take(a, n * D, sizeof(float));
    s->xn = loci_arena_take(a, n * D, sizeof(float));
    loci_window_plan(&s->window, a, hp, max_batch);
    loci_consult_plan(&s->consult, a, hp, max_batch);
}

size_t loci_stream_bytes(const loci_hparams *hp, int max_batch)
{
    loci_arena a = { 0 };
    loci_stream s;
    loci_arena_take(&a, 1, sizeof s);
    plan(&s, &a, hp, max_batch);
    return a.used;
}

loci_stream *loci_stream_init(const loci_hparams *hp, int max_batch, void *memory)
{
    loci_arena a = { memory, loci_stream_bytes(hp, max_batch), 0 };
    loci_stream *s = loci_arena_take(&a, 1, sizeof *s);
    plan(s, &a, hp, max_batch);
    loci_rope_frequencies(s->frequency, hp->rope_base, hp->d_head);
    for (int i = 0; i < max_batch; i++) s->row[i] = i;
    loci_stream_reset(s);
    return s;
}

void loci_stream_reset(loci_stream *s)
{
    s->pos = s->upper = 0;
    s->batch = 0;
    loci_rings_reset(&s->lower_rings);
    loci_rings_reset(&s->upper_rings);
}

int64_t loci_stream_pos(const loci_stream *s)
{
    return s->pos;
}

/* ---- angles ------------------------------------------------------------------------------- */

void loci_rope_frequencies(double *frequency, float base, int d_head)
{
    for (int i = 0; i < d_head / 2; i++) frequency[i] = pow((double)base, -2.0 * i / d_head);
}

void loci_rope_rows(loci_rope_table *r, const double *frequency, int d_head, int64_t pos, int n)
{
    const int half = d_head / 2;
    assert(n <= r->n_pos);
    for (int t = 0; t < n; t++) {
        float *c = r->cos + (size_t)t * (size_t)half, *s = r->sin + (size_t)t * (size_t)half;
        for (int i = 0; i < half; i++) {
            const double angle = (double)(pos + t) * frequency[i];
            c[i] = (float)cos(angle);
            s[i] = (float)sin(angle);
        }
    }
}

/* ---- layers --------------------------------------------------------------------------------- */

static void layer(loci_stream *s, const loci_model *m, const loci_layer_params *p, loci_rings *r,
                  int l, float *x, int n)
{
    loci_rings_layer(r, l, m, p, &s->window, x, s->row, &s->rope, n);
}

const float *loci_stream_lower(loci_stream *s, const loci_model *m, const int32_t *ids, int n)
{
    assert(n >= 1 && n <= s->max_batch);
    loci_rope_rows(&s->rope, s->frequency, s->hp.d_head, s->pos, n);
    loci_embed(m, s->h_lo, NULL, ids, n);
    for (int l = 0; l < s->hp.n_lower; l++)
        layer(s, m, &m->p.lower[l], &s->lower_rings, l, s->h_lo, n);
    s->pos += n;
    s->batch = n;
    return s->h_lo;
}

loci_status loci_stream_upper(loci_stream *s, const loci_model *m, int n, const loci_memory *memory,
                              float *logits, int n_logits, loci_reads *reads, loci_error *err)
{
    const loci_hparams *hp = &s->hp;
    const size_t D = (size_t)hp->d_model;
    const int64_t first = s->pos - n;
    loci_rings *r = &s->upper_rings;
    assert(n == s->batch && n_logits >= 0 && n_logits <= n);
    if (s->upper != first) loci_rings_reset(r); /* rows were left out: it is of other places */
    memcpy(s->h, s->h_lo, (size_t)n * D * sizeof *s->h);
    for (int l = 0; l < hp->n_upper; l++) {
        const int g = loci_group_at(hp, l);
        if (g >= 0) {
            const loci_status st =
                loci_consult_forward(m, g, &s->consult, s->h, first, n, memory, reads, err);
            if (st != LOCI_OK) return st;
        }
        layer(s, m, &m->p.upper[l], r, l, s->h, n);
    }
    s->upper = s->pos;
    if (n_logits > 0)
        loci_head_logits(m, s->h + (size_t)(n - n_logits) * D, s->xn, logits, n_logits);
    return LOCI_OK;
}
