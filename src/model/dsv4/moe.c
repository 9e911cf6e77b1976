/* moe.c - the mixture of experts of a layer.
 *
 *   s = sqrt(softplus(router h));  chosen: the n_active largest of s + bias (lower index first), or
 *   the token's row of the hash table;  w_e = s_e / sum of the chosen s * route_scale
 *   expert: a = min(gate x, L), b = clamp(up x, -L, L), z = silu(a) b w_e, y_e = down z
 *   y = sum_e y_e in the order chosen + the shared expert (w = 1, the same clamp)
 *
 * Tokens are gathered by expert, so that a call reads each chosen expert once; all of them make one
 * job on the pool.  A token's sum runs over its own experts in its own order. */
#include "model/dsv4/dsv4_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- routing -------------------------------------------------------------------------------- */

/* torch's softplus: linear above 20. */
static float route_score(float g)
{
    return sqrtf(g > 20.0f ? g : log1pf(expf(g)));
}

/* ids of the n largest of s + bias. */
static void choose(const float *s, const float *bias, int E, int n, int32_t *ids)
{
    for (int i = 0; i < n; i++) {
        int best = -1;
        for (int e = 0; e < E; e++) {
            bool taken = false;
            for (int j = 0; j < i; j++) taken |= ids[j] == e;
            if (!taken && (best < 0 || s[e] + bias[e] > s[best] + bias[best])) best = e;
        }
        ids[i] = best;
    }
}

static void route(loci_dsv4_seq *s, int l, const float *h, const int32_t *ids, int T)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const loci_dsv4_layer *w = &s->m->w.layer[l];
    const int E = hp->n_experts, na = hp->n_active;
    dsv4_linear(s, s->sc.route, E, h, hp->hidden, &w->router, T, false);
    for (int t = 0; t < T; t++) {
        float *score = s->sc.route + (size_t)t * (size_t)E, *weight = s->sc.route_w + t * na;
        int32_t *id = s->sc.route_id + t * na;
        float sum = 0.0f;
        for (int e = 0; e < E; e++) score[e] = route_score(score[e]);
        if (w->hash)
            memcpy(id, w->hash + (size_t)ids[t] * (size_t)na, (size_t)na * sizeof *id);
        else
            choose(score, w->router_bias, E, na, id);
        for (int i = 0; i < na; i++) sum += score[id[i]];
        for (int i = 0; i < na; i++)
            weight[i] = sum > 0.0f ? score[id[i]] / sum * hp->route_scale : 0.0f;
    }
}

/* Slots (t na + i) sorted by expert, sc.start[c] .. of the c-th chosen expert; how many there are. */
static int group_by_expert(loci_dsv4_seq *s, int T)
{
    const int E = s->m->hp.n_experts, slots = T * s->m->hp.n_active;
    loci_dsv4_scratch *sc = &s->sc;
    int chosen = 0, at = 0;
    for (int e = 0; e < E; e++) {
        const int first = at;
        for (int i = 0; i < slots; i++)
            if (sc->route_id[i] == e) sc->order[at++] = i;
        if (at == first) continue;
        sc->chosen[chosen] = e;
        sc->start[chosen++] = first;
    }
    sc->start[chosen] = at;
    return chosen;
}

/* ---- experts ----------------------------------------------------------------------------------- */

/* z = silu(min(gate, L)) clamp(up, L) weight, into gate. */
static void gate_rows(const loci_dsv4 *m, float *gate, const float *up, float weight)
{
    const float L = m->hp.swiglu_limit > 0.0f ? m->hp.swiglu_limit : INFINITY;
    for (int i = 0; i < m->hp.expert_width; i++) {
        const float a = gate[i] < L ? gate[i] : L;
        const float b = up[i] < -L ? -L : up[i] < L ? up[i] : L;
        gate[i] = a / (1.0f + expf(-a)) * b * weight;
    }
    dsv4_round(m, gate, (size_t)m->hp.expert_width);
}

typedef struct {
    loci_dsv4_seq *s;
    int slots, first; /* routed rows; row of tile 0 */
} gating;

static void gate_tile(void *ctx, int i, int worker)
{
    const gating *g = ctx;
    const loci_dsv4_scratch *sc = &g->s->sc;
    (void)worker;
    i += g->first;
    const size_t at = (size_t)i * (size_t)g->s->m->hp.expert_width;
    gate_rows(g->s->m, sc->eg + at, sc->eu + at, i < g->slots ? sc->route_w[sc->order[i]] : 1.0f);
}

/* A range of the chosen experts that are in memory together; with_shared: the shared one too. */
typedef struct {
    int first, n;
    bool with_shared;
} share;

static loci_status expert_views(loci_dsv4_seq *s, int l, share c, loci_error *err)
{
    const loci_dsv4_weights *w = &s->m->w;
    const int32_t *ids = s->sc.chosen + c.first;
    loci_status st = LOCI_OK;
    if (w->pager.get) st = w->pager.fetch(w->pager.ctx, l, ids, c.n, err);
    for (int i = 0; i < c.n && st == LOCI_OK; i++) {
        if (w->pager.get)
            st = w->pager.get(w->pager.ctx, l, ids[i], &s->sc.view[i], err);
        else
            s->sc.view[i] = w->layer[l].expert[ids[i]];
    }
    s->sc.view[c.n] = w->layer[l].shared;
    return st;
}

_Static_assert(sizeof(loci_dsv4_expert) == 3 * sizeof(loci_dsv4_mat), "three matrices in a row");

/* One product an expert of the share: its rows of x with matrix `which` (0 gate, 1 up, 2 down). */
static void add_products(loci_dsv4_seq *s, int *n, share c, const float *x, float *y, int which,
                         int T)
{
    const int slots = T * s->m->hp.n_active;
    s->sc.xq_used = s->sc.sx_used = 0; /* gate and up: the same inputs, the same codes */
    for (int i = 0; i < c.n + c.with_shared; i++) {
        const loci_dsv4_mat *w = &s->sc.view[i].gate + which;
        const int at = i < c.n ? s->sc.start[c.first + i] : slots;
        const int rows = i < c.n ? s->sc.start[c.first + i + 1] - at : T;
        dsv4_product p = dsv4_activate(s, w, x + (size_t)at * (size_t)w->cols, w->cols, rows);
        p.y = y + (size_t)at * (size_t)w->rows;
        p.ldy = w->rows;
        p.round = true;
        s->sc.list[(*n)++] = p;
    }
}

static void run_experts(loci_dsv4_seq *s, share c, int T)
{
    const int slots = T * s->m->hp.n_active;
    gating g = { s, slots, s->sc.start[c.first] };
    const int end = c.with_shared ? slots + T : s->sc.start[c.first + c.n];
    int n = 0;
    add_products(s, &n, c, s->sc.ex, s->sc.eg, 0, T);
    add_products(s, &n, c, s->sc.ex, s->sc.eu, 1, T);
    dsv4_products(s, s->sc.list, n);
    loci_pool_run(s->pool, end - g.first, gate_tile, &g);
    n = 0;
    add_products(s, &n, c, s->sc.eg, s->sc.ey, 2, T);
    dsv4_products(s, s->sc.list, n);
}

static void sum_rows(loci_dsv4_seq *s, float *y, int T)
{
    const loci_dsv4_hparams *hp = &s->m->hp;
    const int D = hp->hidden, na = hp->n_active, slots = T * na;
    loci_dsv4_scratch *sc = &s->sc;
    int32_t *place = sc->place; /* slot -> row of ey */
    for (int i = 0; i < slots; i++) place[sc->order[i]] = i;
    for (int t = 0; t < T; t++) {
        float *row = y + (size_t)t * (size_t)D;
        memset(row, 0, (size_t)D * sizeof *row);
        for (int i = 0; i <= na; i++) {
            const int at = i < na ? place[t * na + i] : slots + t;
            const float *part = sc->ey + (size_t)at * (size_t)D;
            for (int c = 0; c < D; c++) row[c] += part[c];
        }
    }
    dsv4_round(s->m, y, (size_t)T * (size_t)D);
}

loci_status dsv4_moe(loci_dsv4_seq *s, int l, const float *h, float *y, const int32_t *ids, int T,
                     loci_error *err)
{
    const size_t D = (size_t)s->m->hp.hidden;
    const int slots = T * s->m->hp.n_active;
    route(s, l, h, ids, T);
    const int chosen = group_by_expert(s, T);
    const int at_once =
        s->m->w.pager.get && s->m->w.pager.at_once > 0 ? s->m->w.pager.at_once : chosen;
    for (int i = 0; i < slots + T; i++) {
        const int t = i < slots ? s->sc.order[i] / s->m->hp.n_active : i - slots;
        memcpy(s->sc.ex + (size_t)i * D, h + (size_t)t * D, D * sizeof *h);
    }
    for (share c = { 0 }; c.first < chosen; c.first += c.n) {
        c.n = chosen - c.first < at_once ? chosen - c.first : at_once;
        c.with_shared = c.first + c.n == chosen;
        const loci_status st = expert_views(s, l, c, err);
        if (st != LOCI_OK) return st;
        run_experts(s, c, T);
    }
    sum_rows(s, y, T);
    return LOCI_OK;
}
