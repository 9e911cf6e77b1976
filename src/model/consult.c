/* consult.c - the Read block of a stream: each row asks a memory and reads what it gets.
 *
 *   x = rms(h);  u, tau, q_h, g as in training (router.c, mix.c)
 *   picks = memory's top K of s(t,c) = tau max_m <u, l_cm> + beta_c
 *   w_c = exp s_c / (exp s_null + sum_picks exp s)
 *   o_h = sum_i w_i (softmax_j(q_h k_j / 4) v_j + rank_i)     picks i from the oldest on; with order
 *         each head has weights of its own (order.c)
 *   h <- mix(h + gist, g, o)                                 gist.c
 *
 * Where the chunks come from and in which form they lie is the memory's affair.  This is the routed
 * mode of read.c without chunks of other sequences in the denominator.  A soft gate only weighs: a
 * row reads all the same.  With hard_gate, a row whose gate is closed does not even search. */
#include "model/model_impl.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void loci_consult_plan(loci_consult *c, loci_arena *a, const loci_hparams *hp, int n)
{
    const size_t rows = (size_t)n, HB = (size_t)hp->read_heads, f = sizeof(float);
    c->xn = loci_arena_take(a, rows * (size_t)hp->d_model, f);
    c->u = loci_arena_take(a, rows * (size_t)hp->d_landmark, f);
    c->hidden = loci_arena_take(a, rows * (size_t)hp->router_hidden, f);
    c->act = loci_arena_take(a, rows * (size_t)hp->router_hidden, f);
    c->q = loci_arena_take(a, rows * HB * (size_t)hp->d_key, f);
    c->gate = loci_arena_take(a, rows, f);
    c->o = loci_arena_take(a, rows * HB * (size_t)hp->d_value, f);
    c->lse = loci_arena_take(a, HB, f);
    c->w = loci_arena_take(a, HB * (size_t)hp->top_k, f);
    c->order = loci_arena_take(a, hp->order ? rows * HB * LOCI_ORDER : 0, f);
    loci_gist_reader_plan(&c->gist, a, hp, n);
    loci_mix_plan(&c->mix, a, hp, n);
}

void loci_weigh_picks(float *w, const loci_pick *pick, int n, double null)
{
    double top = null, sum = 0.0;
    for (int i = 0; i < n; i++) top = (double)pick[i].score > top ? (double)pick[i].score : top;
    for (int i = 0; i < n; i++) sum += exp((double)pick[i].score - top);
    sum += exp(null - top);
    for (int i = 0; i < n; i++) w[i] = (float)(exp((double)pick[i].score - top) / sum);
}

static void sort_by_time(loci_pick *pick, int n)
{
    for (int i = 1; i < n; i++) {
        const loci_pick p = pick[i];
        int at = i;
        for (; at > 0 && pick[at - 1].time > p.time; at--) pick[at] = pick[at - 1];
        pick[at] = p;
    }
}

/* c->w (n, HB): what each head gives the n picks of a row; o (HB, dv) += what their places say. */
static void weigh_heads(const loci_model *m, const loci_read_params *p, loci_consult *c, float *o,
                        const float *order, const float *w, int n)
{
    const int HB = m->hp.read_heads, dv = m->hp.d_value;
    if (m->hp.order) {
        float phi[LOCI_MAX_PICKS * LOCI_ORDER];
        loci_order_features(phi, w, n);
        loci_order_weights(c->w, w, phi, order, n, HB);
        loci_order_marks(m, p, o, c->w, phi, n);
        return;
    }
    for (int i = 0; i < n; i++) {
        const float *rank = (const float *)p->rank.data + (size_t)i * (size_t)dv;
        for (int h = 0; h < HB; h++) {
            c->w[i * HB + h] = w[i];
            m->k.axpy(o + (size_t)h * (size_t)dv, rank, w[i], (size_t)dv);
        }
    }
}

/* o (HB, dv) of row t += what its n picks, oldest first, give with weights w. */
static loci_status read_row(const loci_model *m, const loci_read_params *p, loci_consult *c, int t,
                            const loci_pick *pick, const float *w, int n, const loci_memory *memory,
                            loci_error *err)
{
    const loci_hparams *hp = &m->hp;
    const int HB = hp->read_heads, dk = hp->d_key, dv = hp->d_value, ld = loci_content_cols(hp);
    const float *q = c->q + (size_t)t * (size_t)(HB * dk);
    float *o = c->o + (size_t)t * (size_t)(HB * dv);
    weigh_heads(m, p, c, o, c->order + (size_t)t * (size_t)(HB * LOCI_ORDER), w, n);
    for (int i = 0; i < n; i++) {
        const float *rows = NULL;
        const int n_tokens = memory->content(memory->ctx, &pick[i], &rows);
        if (n_tokens < 0)
            return loci_fail(err, (loci_status)n_tokens, "content of chunk %lld",
                             (long long)pick[i].id);
        assert(n_tokens >= 1 && n_tokens <= hp->chunk);
        m->k.chunk_attn(o, dv, c->lse, q, dk, rows, ld, rows + loci_value_column(hp), ld,
                        c->w + (size_t)(i * HB), HB, n_tokens, dk, dv, loci_read_scale(hp));
    }
    return LOCI_OK;
}

/* Rows [first, end) have read nothing. */
static void report_none(const loci_hparams *hp, int group, int first, int end, loci_reads *reads)
{
    const size_t K = (size_t)hp->top_k;
    for (int t = first; t < end; t++) {
        const size_t at = (size_t)t * (size_t)hp->n_groups + (size_t)group;
        reads->n_picks[at] = 0;
        memset(reads->weight + at * K, 0, K * sizeof *reads->weight);
    }
}

/* Does row t search?  A gate of 0, a soft one that underflows too, would weigh nothing. */
static bool wanted(const loci_consult *c, int t, const loci_reads *reads)
{
    return c->gate[t] > 0.0f || (reads && reads->closed_too);
}

/* Search, weigh and read for the n rows of c. */
static loci_status read_rows(const loci_model *m, int group, loci_consult *c, int64_t first, int n,
                             const loci_memory *memory, loci_reads *reads, loci_error *err)
{
    const loci_hparams *hp = &m->hp;
    const loci_read_params *p = &m->p.read[group];
    const int K = hp->top_k;
    const float tau = loci_router_tau(p);
    const double null = (double)*(const float *)p->null_score.data;
    for (int t = 0; t < n; t++) {
        loci_pick pick[LOCI_MAX_PICKS];
        float w[LOCI_MAX_PICKS] = { 0 };
        if (!wanted(c, t, reads)) {
            if (reads) report_none(hp, group, t, t + 1, reads);
            continue;
        }
        const int64_t own_end = first + t - hp->window + hp->chunk;
        const int found = memory->search(memory->ctx, c->u + (size_t)t * (size_t)hp->d_landmark,
                                         tau, K, own_end, pick);
        if (found < 0) return loci_fail(err, (loci_status)found, "search at token %d", t);
        assert(found <= K);
        sort_by_time(pick, found);
        loci_weigh_picks(w, pick, found, null);
        const int n_read = c->gate[t] > 0.0f ? found : 0;
        const loci_status st = read_row(m, p, c, t, pick, w, n_read, memory, err);
        if (st != LOCI_OK) return st;
        if (!reads) continue;
        const size_t at = (size_t)t * (size_t)hp->n_groups + (size_t)group;
        reads->n_picks[at] = found;
        memcpy(reads->pick + at * (size_t)K, pick, (size_t)found * sizeof *pick);
        memcpy(reads->weight + at * (size_t)K, w, (size_t)K * sizeof *w);
    }
    return LOCI_OK;
}

/* h (n, D) += what the documents are about, where the memory says so. */
static loci_status add_gist(const loci_model *m, int group, loci_consult *c, float *h,
                            int64_t first, int n, const loci_memory *memory, loci_error *err)
{
    const loci_hparams *hp = &m->hp;
    const loci_read_params *p = &m->p.read[group];
    const float tau = loci_router_tau(p);
    loci_gist_queries(m, p, c->gist.q, NULL, c->xn, n);
    for (int t = 0; t < n; t++) {
        const int st =
            loci_gist_read(m, group, &c->gist, t, memory, c->u + (size_t)t * (size_t)hp->d_landmark,
                           tau, first + t - hp->window + hp->chunk);
        if (st < 0) return loci_fail(err, (loci_status)st, "summaries at token %d", t);
    }
    loci_linear_add(m, h, c->mix.xn, c->gist.o, &p->gist_o, n);
    return LOCI_OK;
}

loci_status loci_consult_forward(const loci_model *m, int group, loci_consult *c, float *h,
                                 int64_t first, int n, const loci_memory *memory, loci_reads *reads,
                                 loci_error *err)
{
    const loci_hparams *hp = &m->hp;
    const loci_read_params *p = &m->p.read[group];
    const int D = hp->d_model;
    m->k.rmsnorm(c->xn, D, NULL, h, D, n, D, hp->norm_eps);
    loci_router_gate(m, p, c->gate, c->xn, n);
    loci_router_harden(hp, c->gate, c->gate, n);
    const bool gist = memory && hp->d_summary && memory->gist; /* whatever the gates say */
    bool any = false;
    for (int t = 0; memory && t < n; t++) any = any || wanted(c, t, reads);
    if (any || gist) loci_router_query(m, p, c->u, NULL, c->hidden, c->act, c->xn, n);
    loci_status st = LOCI_OK;
    if (any) {
        const size_t wide = (size_t)(hp->read_heads * hp->d_value);
        loci_read_heads(m, p, c->q, NULL, c->xn, n);
        if (hp->order)
            loci_linear(m, c->order, hp->read_heads * LOCI_ORDER, c->xn, D, &p->order, n);
        memset(c->o, 0, (size_t)n * wide * sizeof *c->o);
        st = read_rows(m, group, c, first, n, memory, reads, err);
    } else if (reads) {
        report_none(hp, group, 0, n, reads);
    }
    if (st == LOCI_OK && gist) st = add_gist(m, group, c, h, first, n, memory, err);
    if (st != LOCI_OK) return st;
    for (int t = 0; reads && t < n; t++)
        reads->gate[(size_t)t * (size_t)hp->n_groups + (size_t)group] = c->gate[t];
    loci_mix_forward(m, p, &c->mix, h, c->o, c->gate, any ? 0 : n, n);
    return LOCI_OK;
}
