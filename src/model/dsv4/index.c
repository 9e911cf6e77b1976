/* index.c - the lightning indexer: which compressed entries a position attends to.
 *
 *   qI_h = rotate(index_q qr)_h, Hadamard-transformed and E2M1 in the quantised modes
 *   w    = index_w h / sqrt(di Hi)
 *   I_j  = sum_h w_h relu(<qI_h, kI_j>)  for every visible entry j
 *   the index_topk best; among equal scores the lower index; all of them when there are no more
 *
 * The scan streams over spans of keys and keeps a heap of the best, so its memory does not grow
 * with the context times the batch.  The set it gives does not depend on how the spans are
 * shared out: the order (score, index) is total. */
#include "kernel/topk.h"
#include "model/dsv4/dsv4_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPAN_KEYS = DSV4_SPAN * DSV4_GROUP };

/* ---- a heap whose root is the worst entry kept ---------------------------------------------- */

/* K is some hundreds: too many for the sorted list of topk.h, whose order this is. */
static bool worse(loci_scored a, loci_scored b)
{
    return topk_before(b, a);
}

static void sift_down(loci_scored *heap, int n, int at, loci_scored x)
{
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && worse(heap[child + 1], heap[child])) child++;
        if (!worse(heap[child], x)) break;
        heap[at] = heap[child];
    }
    heap[at] = x;
}

/* Offer x to the best K; returns the new count.  NaN is below everything. */
static int offer(loci_scored *heap, int n, int K, loci_scored x)
{
    if (!(x.score == x.score)) x.score = -INFINITY;
    if (n == K) {
        if (worse(heap[0], x)) sift_down(heap, n, 0, x);
        return n;
    }
    int at = n;
    for (; at > 0 && worse(x, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = x;
    return n + 1;
}

/* ---- scores ------------------------------------------------------------------------------- */

typedef struct {
    loci_dsv4_seq *s;
    int l;
    int64_t pos;
    int parts; /* tiles that share a row; 1: the row's tile scans all of it */
    int heaps; /* of a row: one a worker, or one */
} scan;

/* Scores of `groups` groups of keys for row t, in f32 keys. */
static void score_f32(const loci_dsv4 *m, float *score, const float *q, const float *w,
                      const uint8_t *keys, int groups)
{
    const int Hi = m->hp.index_heads, di = m->hp.index_dim;
    for (int i = 0; i < groups * DSV4_GROUP; i++) {
        const float *k = (const float *)(const void *)(keys + (size_t)i * m->lay.key_bytes);
        float sum = 0.0f;
        for (int h = 0; h < Hi; h++) {
            const float dot = (float)m->k.dot(q + (size_t)h * (size_t)di, k, (size_t)di);
            sum += w[h] * (dot > 0.0f ? dot : 0.0f);
        }
        score[i] = sum;
    }
}

static void score_span(const scan *c, int t, float *score, int64_t first, int groups)
{
    const loci_dsv4 *m = c->s->m;
    const loci_dsv4_scratch *sc = &c->s->sc;
    const size_t Hi = (size_t)m->hp.index_heads, di = (size_t)m->hp.index_dim;
    const uint8_t *keys = dsv4_keys_at(c->s, c->l, first);
    const float *w = sc->iw + (size_t)t * Hi;
    if (m->mode == LOCI_DSV4_MODE_F32) {
        score_f32(m, score, sc->iq + (size_t)t * Hi * di, w, keys, groups);
        return;
    }
    const size_t blocks = (di + 31) / 32;
    m->k.index_scores(score, sc->iq_code + (size_t)t * Hi * di,
                      sc->iq_scale + (size_t)t * Hi * blocks, w, keys, (int)Hi, (int)di, groups);
    dsv4_round(m, score, (size_t)groups * DSV4_GROUP);
}

/* Whether none of the scores can enter a full heap.  Nearly always so: it decides the scan's time. */
static bool all_below(const float *score, int n, float least)
{
    int below = 0;
    for (int i = 0; i < n; i++) below += score[i] < least;
    return below == n;
}

/* Keys [first, end) of row t into a heap; spans do not cross a block. */
static int scan_keys(const scan *c, int t, int64_t first, int64_t end, loci_scored *heap, int n)
{
    const loci_dsv4 *m = c->s->m;
    const int64_t per_block = m->lay.block_tokens / m->hp.layer[c->l].ratio;
    const int K = m->hp.index_topk;
    float score[SPAN_KEYS];
    while (first < end) {
        int64_t stop = (first / per_block + 1) * per_block;
        if (stop > end) stop = end;
        if (stop > first + SPAN_KEYS) stop = first + SPAN_KEYS;
        const int keys = (int)(stop - first);
        score_span(c, t, score, first, (keys + DSV4_GROUP - 1) / DSV4_GROUP);
        for (int i = 0; i < keys; i += DSV4_GROUP) {
            const int group = keys - i < DSV4_GROUP ? keys - i : DSV4_GROUP;
            if (n == K && all_below(score + i, group, heap[0].score)) continue;
            for (int j = i; j < i + group; j++)
                n = offer(heap, n, K, (loci_scored){ score[j], (int32_t)(first + j) });
        }
        first = stop;
    }
    return n;
}

static void scan_tile(void *ctx, int tile, int worker)
{
    const scan *c = ctx;
    loci_dsv4_scratch *sc = &c->s->sc;
    const int t = tile / c->parts, part = tile % c->parts, K = c->s->m->hp.index_topk;
    const int at = t * c->heaps + (c->heaps > 1 ? worker : 0);
    const int64_t visible = dsv4_visible(c->s->m, c->l, c->pos + t);
    const int64_t first = (int64_t)part * SPAN_KEYS;
    const int64_t end = c->parts == 1 || first + SPAN_KEYS > visible ? visible : first + SPAN_KEYS;
    if (visible > K)
        sc->heap_n[at] =
            scan_keys(c, t, first, end, sc->heap + (size_t)at * (size_t)K, sc->heap_n[at]);
}

static int by_index(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The heaps of row t to its ascending picks. */
static void collect(const scan *c, int t)
{
    loci_dsv4_scratch *sc = &c->s->sc;
    const int K = c->s->m->hp.index_topk;
    const int64_t visible = dsv4_visible(c->s->m, c->l, c->pos + t);
    int32_t *picks = sc->picks + (size_t)t * (size_t)K;
    if (visible <= K) {
        sc->n_picks[t] = (int)visible;
        for (int i = 0; i < (int)visible; i++) picks[i] = i;
        return;
    }
    loci_scored *best = sc->heap + (size_t)t * (size_t)c->heaps * (size_t)K;
    int n = sc->heap_n[t * c->heaps];
    for (int p = 1; p < c->heaps; p++)
        for (int i = 0; i < sc->heap_n[t * c->heaps + p]; i++)
            n = offer(best, n, K, best[(size_t)p * (size_t)K + (size_t)i]);
    for (int i = 0; i < n; i++) picks[i] = best[i].index;
    qsort(picks, (size_t)n, sizeof *picks, by_index);
    sc->n_picks[t] = n;
}

/* ---- queries -------------------------------------------------------------------------------- */

static void queries(loci_dsv4_seq *s, int l, const float *h, int T)
{
    const loci_dsv4 *m = s->m;
    loci_dsv4_scratch *sc = &s->sc;
    const int Hi = m->hp.index_heads, di = m->hp.index_dim, half = m->hp.rope_dim / 2;
    const float scale = (float)(1.0 / sqrt((double)di * Hi));
    dsv4_linear(s, sc->iq, Hi * di, sc->qr, m->hp.q_rank, &m->w.layer[l].index_q, T, true);
    dsv4_linear(s, sc->iw, Hi, h, m->hp.hidden, &m->w.layer[l].index_w, T, true);
    for (int t = 0; t < T; t++) {
        float *q = sc->iq + (size_t)t * (size_t)(Hi * di);
        dsv4_rotate(s, q, Hi, di, sc->cos + t * half, sc->sin + t * half, 1);
        dsv4_query_put(m, sc->iq_code + (size_t)t * (size_t)(Hi * di),
                       sc->iq_scale + (size_t)t * (size_t)Hi * (size_t)((di + 31) / 32), q);
    }
    for (int i = 0; i < T * Hi; i++) sc->iw[i] *= scale;
    dsv4_round(m, sc->iw, (size_t)T * (size_t)Hi);
}

/* A row has as many heaps as workers may fill at once, if there are enough for all rows; then its
 * keys are shared out in spans. */
void dsv4_scan(loci_dsv4_seq *s, int l, int64_t pos, int T)
{
    const int64_t visible = dsv4_visible(s->m, l, pos + T - 1);
    const int workers = loci_pool_threads(s->pool);
    scan c = { s, l, pos, 1, 1 };
    if (visible > s->m->hp.index_topk) {
        if (workers > 1 && T <= s->sc.n_heaps / workers) {
            c.heaps = workers;
            c.parts = (int)((visible + SPAN_KEYS - 1) / SPAN_KEYS);
        }
        memset(s->sc.heap_n, 0, (size_t)(T * c.heaps) * sizeof *s->sc.heap_n);
        loci_pool_run(s->pool, T * c.parts, scan_tile, &c);
    }
    for (int t = 0; t < T; t++) collect(&c, t);
}

void dsv4_index(loci_dsv4_seq *s, int l, const float *h, int64_t pos, int T)
{
    if (dsv4_visible(s->m, l, pos + T - 1) > s->m->hp.index_topk) queries(s, l, h, T);
    dsv4_scan(s, l, pos, T);
}
