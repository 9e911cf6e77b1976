/* stream.c - one token stream: prefill and decode through the same rows.
 *
 *   lower   h_lo = window layers over embed(ids), keys and values kept in rings
 *   upper   groups of [ Read (consult.c); window layers ] over a copy of h_lo, then the head
 *
 * A ring is a plain buffer of W - 1 past rows and room for new ones; when the room is used up, the
 * newest W - 1 rows move to the front.  With room for at least W rows that copy costs less than
 * one row a token.  Keys are rotated by their absolute position, whose angle is taken in double:
 * a float holds no position above 2^24, and an angle after a million tokens must be as good as the
 * first. */
#include "model/model_impl.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The rings of a stack of layers: all have the same fill. */
typedef struct {
    float *k[LOCI_MAX_LAYERS], *v[LOCI_MAX_LAYERS]; /* (cap, G*64) */
    int fill;                                       /* rows kept                            */
    int64_t next;                                   /* position of the row that comes next  */
} rings;

struct loci_stream {
    loci_hparams hp;
    int max_batch, cap;
    int64_t pos; /* of the next token                     */
    int batch;   /* rows in h_lo: positions [pos - batch, pos) */
    rings lower, upper;
    double frequency[32];
    loci_rope_table rope; /* (max_batch, 32): the rows of the call  */
    int32_t *row;         /* (max_batch) 0, 1, 2, ...: rows of rope */
    float *h_lo, *h, *xn; /* (max_batch, D)                         */
    loci_window_tape window;
    loci_consult consult;
};

static void rings_plan(rings *r, loci_arena *a, const loci_hparams *hp, int n_layers, int cap)
{
    const size_t n = (size_t)cap * (size_t)(hp->n_kv_heads * hp->d_head);
    for (int l = 0; l < n_layers; l++) {
        r->k[l] = loci_arena_take(a, n, sizeof(float));
        r->v[l] = loci_arena_take(a, n, sizeof(float));
    }
    r->fill = 0;
    r->next = 0;
}

static void plan(loci_stream *s, loci_arena *a, const loci_hparams *hp, int max_batch)
{
    const size_t n = (size_t)max_batch, D = (size_t)hp->d_model;
    s->hp = *hp;
    s->max_batch = max_batch;
    s->cap = hp->window - 1 + (max_batch > hp->window ? max_batch : hp->window);
    rings_plan(&s->lower, a, hp, hp->n_lower, s->cap);
    rings_plan(&s->upper, a, hp, hp->n_upper, s->cap);
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
    s->pos = s->lower.next = s->upper.next = 0;
    s->batch = s->lower.fill = s->upper.fill = 0;
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

/* Make room for n rows behind those kept. */
static void rings_shift(rings *r, const loci_stream *s, int n_layers, int n)
{
    const int keep = r->fill < s->hp.window - 1 ? r->fill : s->hp.window - 1;
    const size_t row = (size_t)(s->hp.n_kv_heads * s->hp.d_head);
    const size_t from = (size_t)(r->fill - keep) * row, bytes = (size_t)keep * row * sizeof(float);
    if (r->fill + n <= s->cap) return;
    for (int l = 0; l < n_layers; l++) {
        memmove(r->k[l], r->k[l] + from, bytes);
        memmove(r->v[l], r->v[l] + from, bytes);
    }
    r->fill = keep;
}

static void layer(loci_stream *s, const loci_model *m, const loci_layer_params *p, rings *r, int l,
                  float *x, int n)
{
    loci_window_forward(m, p, &s->window, 0, x, s->row, &s->rope, r->k[l], r->v[l], r->fill, n);
}

const float *loci_stream_lower(loci_stream *s, const loci_model *m, const int32_t *ids, int n)
{
    assert(n >= 1 && n <= s->max_batch);
    loci_rope_rows(&s->rope, s->frequency, s->hp.d_head, s->pos, n);
    rings_shift(&s->lower, s, s->hp.n_lower, n);
    loci_embed(m, s->h_lo, NULL, ids, n);
    for (int l = 0; l < s->hp.n_lower; l++) layer(s, m, &m->p.lower[l], &s->lower, l, s->h_lo, n);
    s->lower.fill += n;
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
    rings *r = &s->upper;
    assert(n == s->batch && n_logits >= 0 && n_logits <= n);
    if (r->next != first) r->fill = 0; /* rows were left out: what is kept is of other places */
    rings_shift(r, s, hp->n_upper, n);
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
    r->fill += n;
    r->next = s->pos;
    if (n_logits > 0)
        loci_head_logits(m, s->h + (size_t)(n - n_logits) * D, s->xn, logits, n_logits);
    return LOCI_OK;
}
