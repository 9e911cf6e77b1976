/* gpu_consult.c - the Read block of a stream on the device: equations in consult.c.
 *
 *   device   queries, gates; scores of every chunk, the best of each part of the bank
 *   host     the best of all parts, weights (as on the CPU), places of their content
 *   device   reading, mix
 *
 * One row has few chunks to read and many to score, so the bank is scored in parts by as many blocks as
 * the device holds.  Which chunks were picked has to reach the host anyway: it names the evidence. */
#include "model/gpu/gpu_serve_impl.h"

#include <math.h>
#include <string.h>

enum {
    PICKS = LOCI_GPU_PICKS,
    SLOTS = LOCI_GPU_SLOTS,
    HEADS = LOCI_GPU_READ_HEADS,
    WIDE = HEADS * 64,
    QUERIES = 64,   /* of a block that scores */
    BLOCKS = 128,   /* that score at once */
    PART_LEAST = 4, /* tiles of 32 chunks that a part has at least */
    SCORED = BLOCKS * QUERIES
};

static size_t found_bytes(int max_batch)
{
    return (size_t)max_batch * sizeof(float) +
           (size_t)SCORED * (SLOTS * sizeof(int32_t) + PICKS * sizeof(float));
}

static size_t wanted_bytes(int max_batch)
{
    return (size_t)max_batch * (SLOTS * sizeof(int32_t) + PICKS * sizeof(float));
}

void loci_gpu_consult_plan(loci_gpu_consult *c, loci_arena *a, const loci_hparams *hp,
                           int max_batch)
{
    const size_t N = (size_t)max_batch;
    loci_gpu_read_tape *t = &c->t;
    c->max_batch = max_batch;
    loci_gpu_read_plan_rows(t, a, hp, max_batch);
    c->gold = loci_arena_take(a, N, 4);
    c->own_lo = loci_arena_take(a, N, 4);
    c->own_hi = loci_arena_take(a, N, 4);
    c->above = loci_arena_take(a, SCORED, 4);
    c->lse_own = loci_arena_take(a, SCORED, 4);
    c->lse_neg = loci_arena_take(a, SCORED, 4);
    c->pair = loci_arena_take(a, N * (PICKS + 1) * WIDE, 2);
    c->found = loci_arena_take(a, found_bytes(max_batch), 1);
    c->wanted = loci_arena_take(a, wanted_bytes(max_batch), 1);
    loci_gpu_frontier_plan(&c->gist, a, hp, max_batch);
}

static void host_plan(loci_gpu_consult *c, loci_arena *a)
{
    c->host_found = loci_arena_take(a, found_bytes(c->max_batch), 1);
    c->host_wanted = loci_arena_take(a, wanted_bytes(c->max_batch), 1);
    c->host_hi = loci_arena_take(a, (size_t)c->max_batch, 4);
}

loci_status loci_gpu_consult_begin(loci_gpu_consult *c, loci_gpu_pass *p, int max_batch,
                                   loci_error *err)
{
    loci_gpu *g = p->g;
    loci_arena a = { 0 };
    host_plan(c, &a);
    const size_t bytes = a.used;
    c->pinned = loci_gpu_host_alloc(g, bytes);
    if (!c->pinned) return loci_gpu_status(g, err);
    a = (loci_arena){ c->pinned, bytes, 0 };
    host_plan(c, &a);
    for (int i = 0; i < max_batch; i++) c->host_hi[i] = -1; /* no query has a gold chunk */
    loci_gpu_upload(g, c->gold, c->host_hi, (size_t)max_batch * sizeof *c->host_hi);
    for (int i = 0; i < p->w->hp.n_groups; i++)
        loci_gpu_download(g, &c->null_score[i], p->w->at.read[i].null_score.data, sizeof(float));
    const loci_status st = loci_gpu_status(g, err);
    return st == LOCI_OK ? loci_gpu_frontier_begin(&c->gist, g, &p->w->hp, err) : st;
}

void loci_gpu_consult_end(loci_gpu_consult *c, loci_gpu *g)
{
    loci_gpu_frontier_end(&c->gist, g);
    loci_gpu_host_free(g, c->pinned);
    c->pinned = NULL;
}

/* ---- on the device -------------------------------------------------------------------------------------- */

static void queries(loci_gpu_pass *p, const loci_read_params *w, loci_gpu_consult *c,
                    const loci_hparams *gates, float *gate)
{
    const loci_hparams *hp = &p->w->hp;
    const int m = p->b.n, D = hp->d_model, rh = hp->router_hidden;
    loci_gpu_read_tape *t = &c->t;
    loci_gpu_rmsnorm(p->g, t->xn, D, t->inv, p->h, D, m, D, hp->norm_eps);
    loci_gpu_gate(p->g, t->soft, gate, NULL, t->xn, w->gate_w.data, w->gate_b.data, m, D, NULL,
                  NULL, gates->gate_open, gates->hard_gate != 0);
    loci_gpu_linear(p, t->q, WIDE, t->xn, D, &w->q, m, 0.0f, false);
    loci_gpu_norm_rope(p->g, t->q, WIDE, t->inv_q, NULL, NULL, HEADS, m, hp->norm_eps);
    loci_gpu_linear(p, t->hidden, rh, t->xn, D, &w->router1, m, 0.0f, false);
    loci_gpu_silu(p->g, p->s.wide, t->hidden, (size_t)m * (size_t)rh);
    loci_gpu_linear(p, t->u, 128, p->s.wide, rh, &w->router2, m, 0.0f, false);
    loci_gpu_unit(p->g, t->u, t->inv_u, m);
    loci_gpu_tau(p->g, t->tau, w->log_tau.data);
}

/* Parts that the bank is scored in, for n queries. */
static int parts_of(int n, int chunks)
{
    const int blocks = (n + QUERIES - 1) / QUERIES, most = chunks / (32 * PART_LEAST),
              parts = BLOCKS / blocks;
    const int at_most = most > 1 ? most : 1;
    return parts < at_most ? (parts > 1 ? parts : 1) : at_most;
}

/* What the host is told: gates (m), then picks (parts, n, SLOTS), then their scores. */
typedef struct {
    float *gate;
    int32_t *pick;
    float *score;
    size_t bytes;
    int parts;
} found_view;

static found_view view_found(unsigned char *at, int m, int n, int parts)
{
    const size_t gates = (size_t)m * sizeof(float),
                 picks = (size_t)(parts * n) * SLOTS * sizeof(int32_t);
    return (found_view){ .gate = (float *)(void *)at,
                         .pick = (int32_t *)(void *)(at + gates),
                         .score = (float *)(void *)(at + gates + picks),
                         .bytes = gates + picks + (size_t)(parts * n) * PICKS * sizeof(float),
                         .parts = parts };
}

static void score(loci_gpu_pass *p, loci_gpu_consult *c, const loci_gpu_reader *r,
                  const found_view *f, int n, int chunks)
{
    const loci_gpu_score s = { .u = c->t.u,
                               .lm = r->bank->landmark,
                               .bias = r->bank->bias,
                               .tau = c->t.tau,
                               .own_lo = c->own_lo,
                               .own_hi = c->own_hi,
                               .seq_hi = c->own_hi,
                               .gold = c->gold,
                               .lse_own = c->lse_own,
                               .lse_neg = c->lse_neg,
                               .gold_score = c->t.gold_score,
                               .above = c->above,
                               .pick = f->pick,
                               .pick_score = f->score,
                               .n = n,
                               .n_chunks = chunks,
                               .top_k = r->top_k,
                               .splits = f->parts };
    loci_gpu_upload(p->g, c->own_hi, c->host_hi, (size_t)n * sizeof *c->host_hi);
    loci_gpu_score_forward(p->g, &s);
}

static void read_picks(loci_gpu_pass *p, const loci_read_params *w, loci_gpu_consult *c,
                       const loci_gpu_reader *r, const float *gate, int n)
{
    const int m = p->b.n, D = p->w->hp.d_model;
    const size_t picks = (size_t)n * SLOTS * sizeof(int32_t);
    const int32_t *pick = (const int32_t *)(const void *)c->wanted;
    const float *weight = (const float *)(const void *)(c->wanted + picks);
    const loci_gpu_read job = { .q = c->t.q,
                                .content = r->bank->content,
                                .n_tokens = r->bank->n_tokens,
                                .pick = pick,
                                .w = c->t.head_w,
                                .phi = p->w->hp.order ? c->t.phi : NULL,
                                .row = c->t.row,
                                .pair = c->pair,
                                .o = c->t.o,
                                .n = n,
                                .cols = loci_content_cols(&p->w->hp),
                                .scale = loci_read_scale(&p->w->hp) };
    loci_gpu_upload(p->g, c->wanted, c->host_wanted, picks + (size_t)n * PICKS * sizeof(float));
    loci_gpu_weigh_heads(p, w, &c->t, weight, pick, n);
    loci_gpu_read_forward(p->g, &job);
    loci_gpu_scale_rows(p->g, p->s.wide, c->t.o, gate, m, WIDE);
    loci_gpu_linear(p, p->h, D, p->s.wide, WIDE, &w->o, m, 1.0f, true);
}

/* ---- on the host ------------------------------------------------------------------------------------------ */

/* The k best of row t over all parts, ties to the earlier chunk, in order of chunks; returns how many. */
static int best_of(loci_pick *best, const found_view *f, int t, int n, int k)
{
    int have = 0;
    for (int part = 0; part < f->parts; part++) {
        const size_t row = (size_t)(part * n + t);
        const int32_t *pick = f->pick + row * SLOTS;
        const float *s = f->score + row * PICKS;
        for (int i = 0; i < PICKS && pick[i] >= 0; i++) { /* chunks come in rising order */
            int at = have < k ? have++ : k;
            if (at == k && !(s[i] > best[k - 1].score)) continue;
            if (at == k) at = k - 1;
            for (; at > 0 && best[at - 1].score < s[i]; at--) best[at] = best[at - 1];
            best[at] = (loci_pick){ pick[i], pick[i], s[i] };
        }
    }
    for (int i = 1; i < have; i++) {
        const loci_pick x = best[i];
        int at = i;
        for (; at > 0 && best[at - 1].time > x.time; at--) best[at] = best[at - 1];
        best[at] = x;
    }
    return have;
}

static void report(const loci_hparams *hp, int group, int t, const loci_pick *pick, const float *w,
                   int n, const loci_gpu_reader *r, float gate, loci_reads *reads)
{
    const size_t at = (size_t)t * (size_t)hp->n_groups + (size_t)group, K = (size_t)r->top_k;
    reads->gate[at] = gate;
    reads->n_picks[at] = n;
    memcpy(reads->weight + at * K, w, K * sizeof *w);
    for (int i = 0; i < n; i++) {
        loci_pick *to = &reads->pick[at * K + (size_t)i];
        const int64_t own = pick[i].id - r->bank->n;
        *to = pick[i];
        if (own >= 0) *to = (loci_pick){ LOCI_OWN_ID + own, LOCI_OWN_TIME + own, pick[i].score };
    }
}

/* Picks, weights and places of all rows; *any: something is read. */
static loci_status choose(loci_gpu_pass *p, int group, loci_gpu_consult *c, const found_view *f,
                          int n, const loci_gpu_reader *r, loci_reads *reads, bool *any,
                          loci_error *err)
{
    int32_t *place = (int32_t *)(void *)c->host_wanted;
    float *weight = (float *)(void *)(c->host_wanted + (size_t)n * SLOTS * sizeof *place);
    loci_gpu_bank_begin(r->bank);
    for (int t = 0; t < n; t++) {
        loci_pick best[PICKS];
        float w[PICKS] = { 0 };
        const bool reads_it = f->gate[t] > 0.0f, wanted = reads_it || (reads && reads->closed_too);
        const int found = wanted && f->parts > 0 ? best_of(best, f, t, n, r->top_k) : 0;
        loci_weigh_picks(w, best, found, (double)c->null_score[group]);
        for (int i = 0; i < SLOTS; i++) place[(size_t)t * SLOTS + (size_t)i] = -1;
        for (int i = 0; reads_it && i < found; i++) {
            const loci_status st = loci_gpu_bank_place(r->bank, r, best[i].id,
                                                       &place[(size_t)t * SLOTS + (size_t)i], err);
            if (st != LOCI_OK) return st;
        }
        *any = *any || (reads_it && found > 0);
        memcpy(weight + (size_t)t * PICKS, w, sizeof w);
        if (reads) report(&p->w->hp, group, t, best, w, found, r, f->gate[t], reads);
    }
    loci_gpu_bank_flush(r->bank);
    return LOCI_OK;
}

/* Chunks that rows may read: all outside, and own ones behind the window; the most of any row. */
static int eligible(const loci_gpu_pass *p, loci_gpu_consult *c, const loci_gpu_bank *b,
                    int64_t first, int n)
{
    int most = 0;
    for (int t = 0; t < n; t++) {
        const int64_t own_end = first + t - p->w->hp.window + 64;
        const int64_t own = own_end > 0 ? own_end / 64 : 0;
        c->host_hi[t] = (int32_t)(b->n + (own < b->n_own ? own : b->n_own));
        if (c->host_hi[t] > most) most = c->host_hi[t];
    }
    return most;
}

loci_status loci_gpu_consult_forward(loci_gpu_pass *p, int group, loci_gpu_consult *c,
                                     int64_t first, int n, const loci_gpu_reader *r,
                                     loci_reads *reads, loci_error *err)
{
    const loci_hparams *hp = &p->w->hp;
    const loci_read_params *w = &p->w->at.read[group];
    const loci_gpu_mlp mlp = loci_gpu_read_mlp(hp, w, NULL, &c->t);
    const loci_hparams *gates = &r->m->hp;
    /* No gate opens: nothing is scored. */
    const bool shut = gates->hard_gate && gates->gate_open >= 1.0f && !(reads && reads->closed_too);
    const int chunks = shut ? 0 : eligible(p, c, r->bank, first, n),
              parts = chunks > 0 ? parts_of(n, chunks) : 0;
    const found_view f = view_found(c->found, p->b.n, n, parts),
                     on_host = view_found(c->host_found, p->b.n, n, parts);
    bool any = false;
    queries(p, w, c, gates, f.gate);
    if (chunks > 0) score(p, c, r, &f, n, chunks);
    if (chunks > 0 || reads) {
        loci_gpu_download(p->g, c->host_found, c->found, f.bytes);
        const loci_status st = choose(p, group, c, &on_host, n, r, reads, &any, err);
        if (st != LOCI_OK) return st;
    }
    if (any) read_picks(p, w, c, r, f.gate, n);
    if (hp->d_summary) {
        const loci_status st =
            loci_gpu_frontier_forward(p, group, &c->gist, &c->t, first, n, r, err);
        if (st != LOCI_OK) return st;
    }
    loci_gpu_mlp_forward(p, &mlp);
    return LOCI_OK;
}
