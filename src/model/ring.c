/* ring.c - the keys and values that a stack of layers remembers of a stream: a layer, row by row.
 *
 * A ring is a plain buffer of the past W - 1 rows and room for new ones; when the room is used up, the
 * newest W - 1 rows move to the front.  With room for at least W rows that costs less than one row a
 * row.  A model that computes in int8 keeps them as whole numbers (kv_int.c) in the same memory, and
 * attends to them with exact sums, so that a row's bits do not depend on how the stream was cut. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { STEP = 16 }; /* rows move by whole blocks of packed keys */

static size_t wide(const loci_hparams *hp)
{
    return (size_t)(hp->n_kv_heads * hp->d_head);
}

void loci_rings_plan(loci_rings *r, loci_arena *a, const loci_hparams *hp, int n_layers, int batch)
{
    const int room = batch > hp->window ? batch : hp->window;
    r->cap = (hp->window - 1 + STEP - 1 + room + STEP - 1) / STEP * STEP;
    for (int l = 0; l < n_layers; l++) {
        r->k[l] = loci_arena_take(a, (size_t)r->cap * wide(hp), sizeof(float));
        r->v[l] = loci_arena_take(a, (size_t)r->cap * wide(hp), sizeof(float));
    }
    /* Rows that were not written yet are read, and weigh nothing: they must be numbers. */
    for (int l = 0; a->base && l < n_layers; l++) {
        memset(r->k[l], 0, (size_t)r->cap * wide(hp) * sizeof(float));
        memset(r->v[l], 0, (size_t)r->cap * wide(hp) * sizeof(float));
    }
    r->fresh = loci_arena_take(a, (size_t)batch * 2 * wide(hp), sizeof(float));
    loci_rings_reset(r);
}

void loci_rings_reset(loci_rings *r)
{
    memset(r->fill, 0, sizeof r->fill);
}

static bool is_integer(const loci_model *m)
{
    return m->packed && m->hp.window <= LOCI_WINDOW_INT_MAX;
}

/* Layer l as whole numbers: half of the memory for those, their scales behind them. */
static loci_kv_int integers(const loci_rings *r, const loci_hparams *hp, int l)
{
    const size_t n = (size_t)r->cap * wide(hp);
    int16_t *k = (int16_t *)(void *)r->k[l], *v = (int16_t *)(void *)r->v[l];
    return (loci_kv_int){ k, v, (float *)(void *)(k + n), (float *)(void *)(v + n), r->cap };
}

/* Make room for n rows behind those kept of layer l. */
static void make_room(loci_rings *r, const loci_model *m, int l, int n)
{
    const loci_hparams *hp = &m->hp;
    const int past = hp->window - 1, keep = r->fill[l] < past ? r->fill[l] : past;
    const int from = (r->fill[l] - keep) / STEP * STEP, rows = r->fill[l] - from;
    const size_t at = (size_t)from * wide(hp), bytes = (size_t)rows * wide(hp) * sizeof(float);
    if (r->fill[l] + n <= r->cap) return;
    if (is_integer(m)) {
        const loci_kv_int kv = integers(r, hp, l);
        loci_kv_move(&kv, from, rows, hp->n_kv_heads, hp->d_head);
    } else {
        memmove(r->k[l], r->k[l] + at, bytes);
        memmove(r->v[l], r->v[l] + at, bytes);
    }
    r->fill[l] = rows;
}

void loci_rings_layer(loci_rings *r, int l, const loci_model *m, const loci_layer_params *p,
                      loci_window_tape *t, float *x, const int32_t *pos,
                      const loci_rope_table *rope, int n)
{
    const loci_hparams *hp = &m->hp;
    const int HD = hp->n_heads * hp->d_head, GD = (int)wide(hp);
    make_room(r, m, l, n);
    if (is_integer(m)) {
        const loci_kv_int kv = integers(r, hp, l);
        float *k = r->fresh, *v = r->fresh + (size_t)n * wide(hp);
        loci_window_project(m, p, t, x, pos, rope, k, v, n);
        loci_kv_put(&kv, r->fill[l], k, v, GD, n, hp->n_kv_heads, hp->d_head);
        m->k.window_attn_int(t->att, HD, t->q, HD, &kv, n, r->fill[l], hp->n_heads, hp->n_kv_heads,
                             hp->d_head, hp->window, 1.0f / sqrtf((float)hp->d_head));
        loci_window_finish(m, p, t, x, n);
    } else {
        loci_window_forward(m, p, t, 0, x, pos, rope, r->k[l], r->v[l], r->fill[l], n);
    }
    r->fill[l] += n;
}
