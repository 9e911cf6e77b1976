/* attend.c - attention of a DeepSeek-V4 layer: many query heads over one vector per position, which
 * is key and value at once.
 *
 *   qr = RMSNorm(q_a h) q_norm,  q = q_b qr, each head divided by its rms (no gain), rotated
 *   kv = RMSNorm(kv h) kv_norm, rotated, into the ring
 *   position t sees the raw entries of the last `window` positions, itself included, then the
 *   compressed entries: those picked by the indexer, or all of them; both may cover a token
 *   o_h = sum_e exp(s_e) v_e / (sum_e exp(s_e) + exp(sink_h)),  s_e = <q_h, k_e> / sqrt(d)
 *   o is rotated back by t, since the values carry their rotation
 *   u_i = o_a[i] (the heads of group i),  y = o_b u
 *
 * Entries meet all heads in chunks of DSV4_CHUNK; a chunk gives a softmax of its own and its
 * log-sum-exp, and the chunks are merged in order.  One row alone has its chunks computed side by
 * side, many rows go one to a tile; the numbers are the same. */
#include "model/dsv4/dsv4_impl.h"

#include <math.h>
#include <string.h>

/* ---- one chunk ------------------------------------------------------------------------------ */

typedef struct { /* what position `t` sees */
    loci_dsv4_seq *s;
    int l;
    int64_t pos, first;   /* its position, that of the oldest raw entry */
    int n_raw, n;         /* raw entries, all entries */
    const int32_t *picks; /* NULL: compressed entry i itself */
    const float *q;       /* (H, d) */
} view;

static view view_of(loci_dsv4_seq *s, int l, int64_t pos, int t)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const int64_t p = pos + t;
    view v = { .s = s, .l = l, .pos = p };
    v.first = p + 1 > hp->window ? p + 1 - hp->window : 0;
    v.n_raw = (int)(p + 1 - v.first);
    v.n = v.n_raw + (int)dsv4_visible(s->m, l, p);
    v.q = s->sc.q + (size_t)t * (size_t)(hp->n_heads * hp->head_dim);
    if (hp->layer[l].indexer) {
        v.picks = s->sc.picks + (size_t)t * (size_t)hp->index_topk;
        v.n = v.n_raw + s->sc.n_picks[t];
    }
    return v;
}

static const uint8_t *entry_of(const view *v, int i)
{
    const loci_dsv4_seq *s = v->s;
    if (i < v->n_raw) {
        const int64_t slot = (v->first + i) % s->ring_slots;
        return s->carry[v->l].ring + (size_t)slot * s->m->lay.entry_bytes;
    }
    i -= v->n_raw;
    return dsv4_entry_at(s, v->l, v->picks ? v->picks[i] : i);
}

/* Scores of one head to their weights before they are divided by their sum, rounded as the release
 * rounds them; the sum is of those that were not.  The largest weight is 1 and has no error. */
static float weigh(const loci_dsv4 *m, float *s, int n, float *lse)
{
    float top = s[0], sum = 0.0f;
    for (int i = 1; i < n; i++) top = s[i] > top ? s[i] : top;
    for (int i = 0; i < n; i++) {
        s[i] = expf(s[i] - top);
        sum += s[i];
    }
    dsv4_round(m, s, (size_t)n);
    *lse = top + logf(sum);
    return sum;
}

/* o (H, d) and lse (H) of chunk c. */
static void chunk(const view *v, int c, float *o, float *lse, int worker)
{
    const loci_dsv4 *m = v->s->m;
    const int H = m->hp.n_heads, d = m->hp.head_dim;
    const int at = c * DSV4_CHUNK, n = v->n - at < DSV4_CHUNK ? v->n - at : DSV4_CHUNK;
    float *k = v->s->sc.tile_k + (size_t)worker * DSV4_CHUNK * (size_t)d;
    float *p = v->s->sc.tile_s + (size_t)worker * DSV4_CHUNK * (size_t)H;
    const float scale = (float)(1.0 / sqrt((double)d));
    for (int i = 0; i < n; i++) dsv4_entry_get(m, k + (size_t)i * (size_t)d, entry_of(v, at + i));
    m->k.gemm(p, DSV4_CHUNK, v->q, d, 0, k, d, 1, H, n, d, 0.0f);
    for (int h = 0; h < H; h++)
        for (int i = 0; i < n; i++) p[h * DSV4_CHUNK + i] *= scale;
    if (m->mode != LOCI_DSV4_MODE_EXACT) {
        m->k.softmax(p, DSV4_CHUNK, lse, p, DSV4_CHUNK, H, n);
        m->k.gemm(o, d, p, DSV4_CHUNK, 0, k, d, 0, H, d, n, 0.0f);
        return;
    }
    float sum[1 << 10]; /* H <= 1024 */
    for (int h = 0; h < H; h++) sum[h] = weigh(m, p + (size_t)h * DSV4_CHUNK, n, lse + h);
    m->k.gemm(o, d, p, DSV4_CHUNK, 0, k, d, 0, H, d, n, 0.0f);
    for (int h = 0; h < H; h++)
        for (int i = 0; i < d; i++) o[(size_t)h * (size_t)d + (size_t)i] /= sum[h];
}

/* acc, acc_lse <- both, for one head. */
static void merge_head(float *acc, float *acc_lse, const float *o, float lse, int d)
{
    const double top = fmax((double)*acc_lse, (double)lse);
    const double all = top + log(exp(*acc_lse - top) + exp(lse - top));
    const float a = (float)exp(*acc_lse - all), b = (float)exp(lse - all);
    for (int i = 0; i < d; i++) acc[i] = a * acc[i] + b * o[i];
    *acc_lse = (float)all;
}

/* The sink joins the denominator only; then the heads turn back. */
static void finish_heads(const view *v, float *o, const float *lse, int t)
{
    const loci_dsv4 *m = v->s->m;
    const int H = m->hp.n_heads, d = m->hp.head_dim, half = m->hp.rope_dim / 2;
    const float *sink = m->w.layer[v->l].sink;
    for (int h = 0; h < H; h++) {
        const float keep = (float)(1.0 / (1.0 + exp((double)sink[h] - (double)lse[h])));
        for (int i = 0; i < d; i++) o[(size_t)h * (size_t)d + (size_t)i] *= keep;
    }
    dsv4_round(m, o, (size_t)H * (size_t)d);
    dsv4_rotate(v->s, o, H, d, v->s->sc.cos + t * half, v->s->sc.sin + t * half, -1);
}

/* ---- rows ------------------------------------------------------------------------------------- */

typedef struct {
    loci_dsv4_seq *s;
    int l, wave, n_wave; /* of a single row: chunks wave .. wave+n_wave-1 */
    int64_t pos;
} rows;

static void row_tile(void *ctx, int t, int worker)
{
    const rows *r = ctx;
    const view v = view_of(r->s, r->l, r->pos, t);
    const int H = r->s->m->hp.n_heads, d = r->s->m->hp.head_dim;
    float *o = r->s->sc.o + (size_t)t * (size_t)(H * d), lse[1 << 10]; /* H <= 1024 */
    float *part = r->s->sc.part_o + (size_t)worker * (size_t)(H * d);
    float *part_lse = r->s->sc.part_lse + (size_t)worker * (size_t)H;
    chunk(&v, 0, o, lse, worker);
    for (int c = 1; c * DSV4_CHUNK < v.n; c++) {
        chunk(&v, c, part, part_lse, worker);
        for (int h = 0; h < H; h++)
            merge_head(o + (size_t)h * (size_t)d, lse + h, part + (size_t)h * (size_t)d,
                       part_lse[h], d);
    }
    finish_heads(&v, o, lse, t);
}

static void wave_tile(void *ctx, int i, int worker)
{
    const rows *r = ctx;
    const view v = view_of(r->s, r->l, r->pos, 0);
    const int H = r->s->m->hp.n_heads, d = r->s->m->hp.head_dim;
    chunk(&v, r->wave + i, r->s->sc.part_o + (size_t)i * (size_t)(H * d),
          r->s->sc.part_lse + (size_t)i * (size_t)H, worker);
}

/* Head h of a wave into the row's output. */
static void merge_tile(void *ctx, int h, int worker)
{
    const rows *r = ctx;
    const int H = r->s->m->hp.n_heads, d = r->s->m->hp.head_dim;
    float *o = r->s->sc.o + (size_t)h * (size_t)d, *lse = r->s->sc.row_lse + h;
    (void)worker;
    for (int i = 0; i < r->n_wave; i++) {
        const float *part = r->s->sc.part_o + (size_t)i * (size_t)(H * d) + (size_t)h * (size_t)d;
        const float part_lse = r->s->sc.part_lse[(size_t)i * (size_t)H + (size_t)h];
        if (r->wave + i > 0) {
            merge_head(o, lse, part, part_lse, d);
        } else {
            memcpy(o, part, (size_t)d * sizeof *o);
            *lse = part_lse;
        }
    }
}

static void attend(loci_dsv4_seq *s, int l, int64_t pos, int T)
{
    rows r = { .s = s, .l = l, .pos = pos };
    const view v = view_of(s, l, pos, 0);
    const int chunks = (v.n + DSV4_CHUNK - 1) / DSV4_CHUNK;
    if (T > 1 || chunks == 1) {
        loci_pool_run(s->pool, T, row_tile, &r);
        return;
    }
    for (; r.wave < chunks; r.wave += DSV4_WAVE) {
        r.n_wave = chunks - r.wave < DSV4_WAVE ? chunks - r.wave : DSV4_WAVE;
        loci_pool_run(s->pool, r.n_wave, wave_tile, &r);
        loci_pool_run(s->pool, s->m->hp.n_heads, merge_tile, &r);
    }
    finish_heads(&v, s->sc.o, s->sc.row_lse, 0);
}

/* ---- the sublayer --------------------------------------------------------------------------- */

/* sc.qr, sc.q of T rows; their entries into the ring. */
static void project(loci_dsv4_seq *s, int l, const float *h, int64_t pos, int T)
{
    const loci_dsv4 *m = s->m;
    const loci_dsv4_hparams *hp = &m->hp;
    const loci_dsv4_layer *w = &m->w.layer[l];
    const int H = hp->n_heads, d = hp->head_dim, half = hp->rope_dim / 2;
    dsv4_linear(s, s->sc.qr, hp->q_rank, h, hp->hidden, &w->q_a, T, true);
    dsv4_norm(m, s->sc.qr, s->sc.qr, w->q_norm, T, hp->q_rank);
    dsv4_linear(s, s->sc.q, H * d, s->sc.qr, hp->q_rank, &w->q_b, T, true);
    dsv4_norm(m, s->sc.q, s->sc.q, NULL, T * H, d);
    dsv4_linear(s, s->sc.kv, d, h, hp->hidden, &w->kv, T, true);
    dsv4_norm(m, s->sc.kv, s->sc.kv, w->kv_norm, T, d);
    for (int t = 0; t < T; t++) {
        float *c = s->sc.cos + t * half, *sine = s->sc.sin + t * half;
        float *kv = s->sc.kv + (size_t)t * (size_t)d;
        dsv4_angles(m, hp->layer[l].ratio > 0, pos + t, c, sine);
        dsv4_rotate(s, s->sc.q + (size_t)t * (size_t)(H * d), H, d, c, sine, 1);
        dsv4_rotate(s, kv, 1, d, c, sine, 1);
        dsv4_entry_put(m,
                       s->carry[l].ring + (size_t)((pos + t) % s->ring_slots) * m->lay.entry_bytes,
                       kv);
    }
}

/* u (T, g o_rank): one product a group, all in one job.  Inputs are not quantised here. */
static void group_outputs(loci_dsv4_seq *s, int l, int T)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const int g = hp->o_groups, wide = hp->n_heads / g * hp->head_dim;
    const int all = hp->n_heads * hp->head_dim;
    dsv4_product list[64];
    for (int first = 0; first < g; first += 64) {
        int n = 0;
        for (; n < 64 && first + n < g; n++)
            list[n] = (dsv4_product){ .y = s->sc.u + (first + n) * hp->o_rank,
                                      .ldy = g * hp->o_rank,
                                      .x = s->sc.o + (size_t)(first + n) * (size_t)wide,
                                      .ldx = all,
                                      .w = &s->m->w.layer[l].o_a,
                                      .first = (first + n) * hp->o_rank,
                                      .n = hp->o_rank,
                                      .m = T,
                                      .round = true };
        dsv4_products(s, list, n);
    }
}

void dsv4_attention(loci_dsv4_seq *s, int l, const float *h, float *y, int64_t pos, int T)
{
    const loci_dsv4_layer_shape *shape = &s->m->hp.layer[l];
    project(s, l, h, pos, T);
    dsv4_lap(s, LOCI_DSV4_PART_PROJECT);
    if (shape->ratio > 0) dsv4_compress(s, l, h, pos, T);
    dsv4_lap(s, LOCI_DSV4_PART_COMPRESS);
    if (shape->indexer) dsv4_index(s, l, h, pos, T);
    dsv4_lap(s, LOCI_DSV4_PART_INDEX);
    attend(s, l, pos, T);
    dsv4_lap(s, LOCI_DSV4_PART_ATTEND);
    group_outputs(s, l, T);
    dsv4_linear(s, y, s->m->hp.hidden, s->sc.u, s->m->hp.o_groups * s->m->hp.o_rank,
                &s->m->w.layer[l].o_b, T, true);
    dsv4_lap(s, LOCI_DSV4_PART_OUTPUT);
}
