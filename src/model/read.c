/* read.c - the Read block in training: queries of a sequence attend to the chunks of its bank.
 *
 *   x = rms(h);  q_h = rms(x Wq^T)_h;  g = sigmoid(w_g x + b_g);  s = router (router.c)
 *   lse(t,h,c) = log sum_j exp(q_h k_j / 4), j in c;  a(t,h,c) = softmax_j(...) v_j
 *   dense    o_h = sum_c exp(lse(t,h,c) - lse(t,h)) a(t,h,c)      plain attention over all keys
 *   routed   o_h = sum_i w_i (a(t,h,c_i) + rank_i)                 the K picked, oldest first; with
 *            order each head has weights of its own (order.c)
 *   h <- mix(h + gist (gist.c), g, o) (mix.c)
 *
 * The heads' mean mass, target(t,c) = mean_h exp(lse(t,h,c) - lse(t,h)), is what the router
 * learns from; it is not differentiated.  Attention to a chunk is one kernel call over all rows
 * (query, head) that read it: a suffix of the sequence in the dense mode, gathered rows in the
 * routed one. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { GATHER = 128 }; /* queries whose rows are collected for one kernel call */

void loci_read_plan(loci_read_tape *t, loci_arena *a, const loci_hparams *hp, int T, int capacity,
                    float *mix_act)
{
    const size_t n = (size_t)T, C = (size_t)capacity, HB = (size_t)hp->read_heads,
                 f = sizeof(float);
    const size_t K = (size_t)hp->top_k;
    t->xn = loci_arena_take(a, n * (size_t)hp->d_model, f);
    t->inv = loci_arena_take(a, n, f);
    t->hidden = loci_arena_take(a, n * (size_t)hp->router_hidden, f);
    t->u = loci_arena_take(a, n * (size_t)hp->d_landmark, f);
    t->inv_u = loci_arena_take(a, n, f);
    t->q = loci_arena_take(a, n * HB * (size_t)hp->d_key, f);
    t->inv_q = loci_arena_take(a, n * HB, f);
    t->soft = loci_arena_take(a, n, f);
    t->gate = loci_arena_take(a, n, f);
    t->o = loci_arena_take(a, n * HB * (size_t)hp->d_value, f);
    t->lse = loci_arena_take(a, C * n * HB, f);
    t->total = loci_arena_take(a, n * HB, f);
    t->score = loci_arena_take(a, n * C, f);
    t->target = loci_arena_take(a, n * C, f);
    t->dscore = loci_arena_take(a, n * C, f);
    t->arg = loci_arena_take(a, n * C, 1);
    t->w = loci_arena_take(a, n * K, f);
    t->log_den = loci_arena_take(a, n, f);
    t->head_w = loci_arena_take(a, hp->order ? n * K * HB : 0, f);
    t->phi = loci_arena_take(a, hp->order ? n * K * LOCI_ORDER : 0, f);
    t->order = loci_arena_take(a, hp->order ? n * HB * LOCI_ORDER : 0, f);
    t->pick = loci_arena_take(a, n * K, sizeof *t->pick);
    t->n_pick = loci_arena_take(a, n, sizeof *t->n_pick);
    t->lse_neg = loci_arena_take(a, n, f);
    t->dneg = loci_arena_take(a, n, f);
    t->above = loci_arena_take(a, n, sizeof *t->above);
    loci_mix_plan_with(&t->mix, a, hp, T, mix_act);
    t->dnull = 0.0;
    t->tau = 0.0f;
    t->first = T;
    t->capacity = capacity;
}

/* ---- scratch ------------------------------------------------------------------------------ */

typedef struct {
    float *w, *dw, *delta;         /* (T, HB): dense weights, their gradients, <do, o>      */
    float *ranks;                  /* (T, dv): routed, sum_i w_i rank_i or sum_h do         */
    int32_t *start, *entry;        /* (C + 1) (T*K): who picked a chunk, as t*K + i         */
    float *gq, *go, *gdq, *gdo;    /* (GATHER*HB, dk or dv): collected rows                 */
    float *glse, *gw, *gdw;        /* (GATHER*HB)                                           */
    float *dpick, *dhead;          /* (T, K) (T, K, HB): gradients of routed weights        */
    float *dq, *d_o, *raw, *dgate; /* (T, HB*dk) (T, HB*dv) (T, HB*dk) (T)                   */
    float *dxn;                    /* (T, D)                                                */
    float *part;                   /* scratch of the router, of mix or of the pointer loss;
                                      raw lies there too: it lives between their calls      */
} read_scratch;

static void scratch_carve(read_scratch *s, loci_arena *a, const loci_hparams *hp, int T,
                          int capacity)
{
    const size_t n = (size_t)T, HB = (size_t)hp->read_heads, K = (size_t)hp->top_k;
    const size_t dk = (size_t)hp->d_key, dv = (size_t)hp->d_value, f = sizeof(float);
    const size_t rows = GATHER * HB, router = loci_router_scratch(hp, T, capacity);
    const size_t mix = loci_mix_scratch(hp, T), pointer = loci_pointer_scratch(hp);
    const size_t raw = n * HB * dk, gist = loci_gist_scratch(hp, capacity);
    const size_t parts[] = { router, mix, pointer, raw, gist };
    size_t part = 0;
    for (int i = 0; i < 5; i++) part = parts[i] > part ? parts[i] : part;
    s->w = loci_arena_take(a, n * HB, f);
    s->dw = loci_arena_take(a, n * HB, f);
    s->delta = loci_arena_take(a, n * HB, f);
    s->ranks = loci_arena_take(a, n * dv, f);
    s->start = loci_arena_take(a, (size_t)capacity + 1, sizeof *s->start);
    s->entry = loci_arena_take(a, n * K, sizeof *s->entry);
    s->gq = loci_arena_take(a, rows * dk, f);
    s->go = loci_arena_take(a, rows * dv, f);
    s->gdq = loci_arena_take(a, rows * dk, f);
    s->gdo = loci_arena_take(a, rows * dv, f);
    s->glse = loci_arena_take(a, rows, f);
    s->gw = loci_arena_take(a, rows, f);
    s->gdw = loci_arena_take(a, rows, f);
    s->dpick = loci_arena_take(a, n * K, f);
    s->dhead = loci_arena_take(a, hp->order ? n * K * HB : 0, f);
    s->dq = loci_arena_take(a, n * HB * dk, f);
    s->d_o = loci_arena_take(a, n * HB * dv, f);
    s->dgate = loci_arena_take(a, n, f);
    s->dxn = loci_arena_take(a, n * (size_t)hp->d_model, f);
    s->part = loci_arena_take(a, part, f);
    s->raw = s->part;
}

size_t loci_read_scratch(const loci_hparams *hp, int T, int capacity)
{
    loci_arena a = { 0 };
    read_scratch s;
    scratch_carve(&s, &a, hp, T, capacity);
    return a.used / sizeof(float);
}

static read_scratch scratch_of(const loci_hparams *hp, int T, int capacity, float *memory)
{
    read_scratch s;
    const size_t bytes = loci_read_scratch(hp, T, capacity) * sizeof(float);
    loci_arena a = { (unsigned char *)memory, bytes, 0 };
    scratch_carve(&s, &a, hp, T, capacity);
    return s;
}

/* The rows of chunk c in which its keys and values lie, and its gradient. */
typedef struct {
    const float *k, *v;
    float *dk, *dv;
    int ld, ldd;
} chunk_rows;

static chunk_rows rows_of(const loci_hparams *hp, const loci_chunks *b, int c)
{
    const int ld = loci_content_cols(hp), ldd = hp->d_key + hp->d_value;
    const size_t row = (size_t)c * (size_t)hp->chunk;
    const float *k = b->content + row * (size_t)ld;
    float *d = b->dcontent ? b->dcontent + row * (size_t)ldd : NULL;
    return (chunk_rows){ k, k + loci_value_column(hp), d, d ? d + hp->d_key : NULL, ld, ldd };
}

/* ---- mass of every eligible chunk -------------------------------------------------------------- */

/* total of row r, from the log-sums of its eligible chunks. */
static void row_total(const loci_read_tape *t, const loci_chunks *b, int r, int T, int HB)
{
    const int n = b->n_eligible[r];
    for (int h = 0; h < HB; h++) {
        const size_t at = (size_t)r * (size_t)HB + (size_t)h, step = (size_t)T * (size_t)HB;
        const float *lse = t->lse + at;
        float top = -INFINITY, sum = 0.0f;
        for (int c = 0; c < n; c++) top = fmaxf(top, lse[(size_t)c * step]);
        for (int c = 0; c < n; c++) sum += expf(lse[(size_t)c * step] - top);
        t->total[at] = n ? top + logf(sum) : -INFINITY;
    }
}

/* target of row r: the heads' mean mass on each eligible chunk. */
static void row_target(const loci_read_tape *t, const loci_chunks *b, int r, int T, int HB)
{
    float *target = t->target + (size_t)r * (size_t)t->capacity;
    const int n = b->n_eligible[r];
    for (int c = 0; c < n; c++) target[c] = 0.0f;
    for (int h = 0; h < HB; h++) {
        const size_t at = (size_t)r * (size_t)HB + (size_t)h, step = (size_t)T * (size_t)HB;
        const float *lse = t->lse + at;
        for (int c = 0; c < n; c++)
            target[c] += expf(lse[(size_t)c * step] - t->total[at]) / (float)HB;
    }
}

/* lse over all eligible chunks and total of every row; target of the KL rows. */
static void mass_of_all(const loci_model *m, loci_read_tape *t, const loci_read_job *job)
{
    const loci_hparams *hp = &m->hp;
    const loci_chunks *b = job->bank;
    const int T = job->s->T, HB = hp->read_heads, dk = hp->d_key;
    for (int c = 0; c < b->n; c++) {
        const size_t r = (size_t)b->first_query[c] * (size_t)HB;
        const chunk_rows at = rows_of(hp, b, c);
        if (b->first_query[c] >= T) break;
        m->k.chunk_attn(NULL, 0, t->lse + (size_t)c * (size_t)T * (size_t)HB + r,
                        t->q + r * (size_t)dk, dk, at.k, at.ld, at.v, at.ld, NULL,
                        (T - b->first_query[c]) * HB, b->n_tokens[c], dk, hp->d_value,
                        loci_read_scale(hp));
    }
    for (int r = t->first; r < T; r++) {
        row_total(t, b, r, T, HB);
        if (loci_kl_row(job->opt, r)) row_target(t, b, r, T, HB);
    }
}

/* The same for n KL rows alone: their queries are collected, so that a chunk is one kernel call. */
static void mass_of_rows(const loci_model *m, loci_read_tape *t, const loci_read_job *job,
                         const int *row, int n, const read_scratch *x)
{
    const loci_hparams *hp = &m->hp;
    const loci_chunks *b = job->bank;
    const int T = job->s->T, HB = hp->read_heads, dk = hp->d_key;
    const size_t wide = (size_t)(HB * dk), lse_bytes = (size_t)HB * sizeof(float);
    for (int e = 0; e < n; e++)
        memcpy(x->gq + (size_t)e * wide, t->q + (size_t)row[e] * wide, wide * sizeof *x->gq);
    for (int c = 0, e0 = 0; c < b->n_eligible[row[n - 1]]; c++) {
        const chunk_rows at = rows_of(hp, b, c);
        float *lse = t->lse + (size_t)c * (size_t)T * (size_t)HB;
        while (row[e0] < b->first_query[c]) e0++; /* later rows see more chunks */
        m->k.chunk_attn(NULL, 0, x->glse, x->gq + (size_t)e0 * wide, dk, at.k, at.ld, at.v, at.ld,
                        NULL, (n - e0) * HB, b->n_tokens[c], dk, hp->d_value, loci_read_scale(hp));
        for (int e = e0; e < n; e++)
            memcpy(lse + (size_t)row[e] * (size_t)HB, x->glse + (e - e0) * HB, lse_bytes);
    }
    for (int e = 0; e < n; e++) {
        row_total(t, b, row[e], T, HB);
        row_target(t, b, row[e], T, HB);
    }
}

/* Routed: nothing but the KL asks for the mass, so only its rows are looked at. */
static void mass_for_kl(const loci_model *m, loci_read_tape *t, const loci_read_job *job,
                        const read_scratch *x)
{
    const loci_chunks *b = job->bank;
    int row[GATHER], n = 0;
    for (int r = t->first; r < job->s->T; r++) {
        if (b->n_eligible[r] == 0 || !loci_kl_row(job->opt, r)) continue;
        row[n++] = r;
        if (n == GATHER) mass_of_rows(m, t, job, row, n, x), n = 0;
    }
    if (n > 0) mass_of_rows(m, t, job, row, n, x);
}

/* ---- dense reading ------------------------------------------------------------------------------- */

/* w (rows of chunk c, from its first query on) = exp(lse - total) */
static void dense_weights(float *w, const loci_read_tape *t, const loci_chunks *b, int c, int T,
                          int HB)
{
    const size_t r = (size_t)b->first_query[c] * (size_t)HB, end = (size_t)T * (size_t)HB;
    const float *lse = t->lse + (size_t)c * end;
    for (size_t i = r; i < end; i++) w[i] = expf(lse[i] - t->total[i]);
}

static void dense_read(const loci_model *m, loci_read_tape *t, const loci_chunks *b, int T,
                       const read_scratch *x)
{
    const loci_hparams *hp = &m->hp;
    const int HB = hp->read_heads, dk = hp->d_key, dv = hp->d_value;
    for (int c = 0; c < b->n && b->first_query[c] < T; c++) {
        const size_t r = (size_t)b->first_query[c] * (size_t)HB;
        const chunk_rows at = rows_of(hp, b, c);
        dense_weights(x->w, t, b, c, T, HB);
        m->k.chunk_attn(t->o + r * (size_t)dv, dv, t->lse + (size_t)c * (size_t)(T * HB) + r,
                        t->q + r * (size_t)dk, dk, at.k, at.ld, at.v, at.ld, x->w + r,
                        (T - b->first_query[c]) * HB, b->n_tokens[c], dk, dv, loci_read_scale(hp));
    }
}

static void dense_read_backward(const loci_model *m, loci_read_tape *t, const loci_chunks *b, int T,
                                const read_scratch *x)
{
    const loci_hparams *hp = &m->hp;
    const int HB = hp->read_heads, dk = hp->d_key, dv = hp->d_value;
    for (size_t i = (size_t)(t->first * HB); i < (size_t)(T * HB); i++)
        x->delta[i] = (float)m->k.dot(x->d_o + i * (size_t)dv, t->o + i * (size_t)dv, (size_t)dv);
    for (int c = 0; c < b->n && b->first_query[c] < T; c++) {
        const size_t r = (size_t)b->first_query[c] * (size_t)HB;
        const chunk_rows at = rows_of(hp, b, c);
        dense_weights(x->w, t, b, c, T, HB);
        m->k.chunk_attn_bwd(x->dq + r * (size_t)dk, dk, at.dk, at.ldd, at.dv, at.ldd, x->dw + r,
                            x->d_o + r * (size_t)dv, dv, t->q + r * (size_t)dk, dk, at.k, at.ld,
                            at.v, at.ld, t->lse + (size_t)c * (size_t)(T * HB) + r, x->w + r,
                            x->delta + r, (T - b->first_query[c]) * HB, b->n_tokens[c], dk, dv,
                            loci_read_scale(hp));
    }
}

/* ---- routed reading ------------------------------------------------------------------------------- */

/* Turn picks round: entry[start[c] .. start[c + 1]) are the places t*K + i where i-th pick of t is
 * c, in rising order. */
static void index_picks(const loci_read_tape *t, int n_chunks, int T, int K, const read_scratch *x)
{
    memset(x->start, 0, (size_t)(n_chunks + 1) * sizeof *x->start);
    for (int r = t->first; r < T; r++)
        for (int i = 0; i < t->n_pick[r]; i++) x->start[t->pick[r * K + i] + 1]++;
    for (int c = 0; c < n_chunks; c++) x->start[c + 1] += x->start[c];
    for (int r = t->first; r < T; r++)
        for (int i = 0; i < t->n_pick[r]; i++) x->entry[x->start[t->pick[r * K + i]]++] = r * K + i;
    for (int c = n_chunks; c > 0; c--) x->start[c] = x->start[c - 1];
    x->start[0] = 0;
}

/* Rows of n entries: queries, weights once a head. */
static void gather(const loci_hparams *hp, const loci_read_tape *t, const int32_t *entry, int n,
                   const read_scratch *x)
{
    const int HB = hp->read_heads;
    const size_t wide = (size_t)(HB * hp->d_key);
    for (int e = 0; e < n; e++) {
        memcpy(x->gq + (size_t)e * wide, t->q + (size_t)(entry[e] / hp->top_k) * wide,
               wide * sizeof *x->gq);
        for (int h = 0; h < HB; h++)
            x->gw[e * HB + h] = hp->order ? t->head_w[entry[e] * HB + h] : t->w[entry[e]];
    }
}

/* o of the queries that picked chunk c. */
static void routed_chunk(const loci_model *m, loci_read_tape *t, const loci_chunks *b, int c, int T,
                         const read_scratch *x)
{
    const loci_hparams *hp = &m->hp;
    const int HB = hp->read_heads, dk = hp->d_key, dv = hp->d_value;
    const size_t wide = (size_t)(HB * dv);
    const chunk_rows at = rows_of(hp, b, c);
    float *lse = t->lse + (size_t)c * (size_t)(T * HB);
    for (int e0 = x->start[c]; e0 < x->start[c + 1]; e0 += GATHER) {
        const int left = x->start[c + 1] - e0, n = left < GATHER ? left : GATHER;
        const int32_t *entry = x->entry + e0;
        gather(hp, t, entry, n, x);
        memset(x->go, 0, (size_t)n * wide * sizeof *x->go);
        m->k.chunk_attn(x->go, dv, x->glse, x->gq, dk, at.k, at.ld, at.v, at.ld, x->gw, n * HB,
                        b->n_tokens[c], dk, dv, loci_read_scale(hp));
        for (int e = 0; e < n; e++) {
            const int r = entry[e] / hp->top_k;
            m->k.axpy(t->o + (size_t)r * wide, x->go + (size_t)e * wide, 1.0f, wide);
            memcpy(lse + (size_t)r * (size_t)HB, x->glse + e * HB, (size_t)HB * sizeof *lse);
        }
    }
}

static void routed_read(const loci_model *m, const loci_read_params *p, loci_read_tape *t,
                        const loci_chunks *b, int T, const read_scratch *x)
{
    index_picks(t, b->n, T, m->hp.top_k, x);
    if (m->hp.order) loci_order_forward(m, p, t, T);
    for (int c = 0; c < b->n; c++) routed_chunk(m, t, b, c, T, x);
    if (m->hp.order)
        loci_order_add(m, p, t, T);
    else
        loci_ranks_add(m, p, t, T, x->ranks);
}

static void routed_chunk_backward(const loci_model *m, loci_read_tape *t, const loci_chunks *b,
                                  int c, int T, const read_scratch *x)
{
    const loci_hparams *hp = &m->hp;
    const int HB = hp->read_heads, dk = hp->d_key, dv = hp->d_value;
    const size_t wk = (size_t)(HB * dk), wv = (size_t)(HB * dv);
    const chunk_rows at = rows_of(hp, b, c);
    const float *lse = t->lse + (size_t)c * (size_t)(T * HB);
    for (int e0 = x->start[c]; e0 < x->start[c + 1]; e0 += GATHER) {
        const int left = x->start[c + 1] - e0, n = left < GATHER ? left : GATHER;
        const int32_t *entry = x->entry + e0;
        gather(hp, t, entry, n, x);
        memset(x->gdq, 0, (size_t)n * wk * sizeof *x->gdq);
        for (int e = 0; e < n; e++) {
            const size_t r = (size_t)(entry[e] / hp->top_k);
            memcpy(x->gdo + (size_t)e * wv, x->d_o + r * wv, wv * sizeof *x->gdo);
            memcpy(x->glse + e * HB, lse + r * (size_t)HB, (size_t)HB * sizeof *lse);
        }
        m->k.chunk_attn_bwd(x->gdq, dk, at.dk, at.ldd, at.dv, at.ldd, x->gdw, x->gdo, dv, x->gq, dk,
                            at.k, at.ld, at.v, at.ld, x->glse, x->gw, NULL, n * HB, b->n_tokens[c],
                            dk, dv, loci_read_scale(hp));
        for (int e = 0; e < n; e++) {
            float sum = 0.0f;
            for (int h = 0; h < HB; h++) sum += x->gdw[e * HB + h];
            if (hp->order)
                memcpy(x->dhead + entry[e] * HB, x->gdw + e * HB, (size_t)HB * sizeof *x->gdw);
            else
                x->dpick[entry[e]] += sum;
            m->k.axpy(x->dq + (size_t)(entry[e] / hp->top_k) * wk, x->gdq + (size_t)e * wk, 1.0f,
                      wk);
        }
    }
}

/* d_o -> dq, the bank, ranks or marks, and dpick (T, K), the gradient of w. */
static void routed_read_backward(const loci_model *m, const loci_read_params *p,
                                 loci_read_params *g, loci_read_tape *t, const loci_chunks *b,
                                 int T, const read_scratch *x)
{
    if (!m->hp.order) loci_ranks_backward(m, p, g, t, T, x->d_o, x->ranks, x->dpick);
    index_picks(t, b->n, T, m->hp.top_k, x);
    for (int c = 0; c < b->n; c++) routed_chunk_backward(m, t, b, c, T, x);
    if (m->hp.order) loci_order_backward(m, p, g, t, T, x->d_o, x->dhead, x->dpick);
}

/* ---- the block -------------------------------------------------------------------------------------- */

/* First row with something to read, or with a loss on the router. */
static int first_row(const loci_read_job *job)
{
    const int T = job->s->T;
    int first = job->bank->n ? job->bank->first_query[0] : T;
    if (!job->routed || !job->opt || !job->s->gold) return first;
    for (int t = 0; t < first; t++)
        if (job->s->gold[t] == -2) first = t;
    return first;
}

/* Counts and sum of the gate over queries that have something to read. */
static void gate_report(const loci_model *m, const loci_read_tape *t, const loci_read_job *job)
{
    loci_loss_sums *sums = job->sums;
    for (int r = t->first; r < job->s->T; r++) {
        if (job->bank->n_eligible[r] == 0) continue;
        sums->gate += (double)t->gate[r];
        sums->consulted += t->soft[r] > m->hp.gate_open;
        sums->n_consult_pairs++;
        sums->n_query += job->group == 0;
    }
}

void loci_read_forward(const loci_model *m, const loci_read_params *p, loci_read_tape *t, float *h,
                       const loci_read_job *job, float *scratch)
{
    const int T = job->s->T, D = m->hp.d_model, HB = m->hp.read_heads;
    const read_scratch x = scratch_of(&m->hp, T, t->capacity, scratch);
    const size_t wide = (size_t)(m->hp.read_heads * m->hp.d_value);
    const bool want_target = job->opt && (!job->routed || job->opt->kl > 0.0f);
    const bool every_row = !job->routed || (want_target && job->opt->kl_every == 1);
    t->first = first_row(job);
    if (t->first < T) {
        const size_t f = (size_t)t->first;
        const int n = T - t->first;
        float *xn = t->xn + f * (size_t)D;
        m->k.rmsnorm(xn, D, t->inv + f, h + f * (size_t)D, D, n, D, m->hp.norm_eps);
        loci_read_heads(m, p, t->q + f * (size_t)(HB * m->hp.d_key), t->inv_q + f * (size_t)HB, xn,
                        n);
        loci_router_gate(m, p, t->soft + f, xn, n);
        loci_router_harden(&m->hp, t->gate + f, t->soft + f, n);
        loci_router_forward(m, p, t, job, x.part);
        if (every_row)
            mass_of_all(m, t, job);
        else if (want_target)
            mass_for_kl(m, t, job, &x);
        memset(t->o + f * wide, 0, (size_t)n * wide * sizeof *t->o);
        if (job->routed)
            routed_read(m, p, t, job->bank, T, &x);
        else
            dense_read(m, t, job->bank, T, &x);
        if (job->opt) {
            loci_router_losses(m, p, t, job, want_target);
            loci_pointer_loss(m, t, job, NULL, x.part);
            gate_report(m, t, job);
        }
    }
    if (job->gist)
        loci_gist_forward(m, p, job->gist, job->group, job->bank, h, t->xn, t->first, T,
                          t->capacity, x.part);
    loci_mix_forward(m, p, &t->mix, h, t->o, t->gate, t->first, T);
}

void loci_read_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                        loci_read_tape *t, float *dh, const loci_read_job *job, float *scratch)
{
    const int T = job->s->T, D = m->hp.d_model, HB = m->hp.read_heads, dk = m->hp.d_key;
    const int n = T - t->first, wide = HB * dk;
    const size_t f = (size_t)t->first, q0 = f * (size_t)wide,
                 q_bytes = (size_t)n * (size_t)wide * sizeof(float);
    const read_scratch x = scratch_of(&m->hp, T, t->capacity, scratch);
    loci_mix_backward(m, p, g, &t->mix, dh, x.d_o, x.dgate, t->o, t->gate, x.part, t->first, T);
    if (n <= 0) return;

    memset(x.dq + q0, 0, q_bytes);
    if (job->routed)
        routed_read_backward(m, p, g, t, job->bank, T, &x);
    else
        dense_read_backward(m, t, job->bank, T, &x);
    loci_pointer_loss(m, t, job, x.dq, x.part);
    memset(x.raw + q0, 0, q_bytes);
    m->k.rmsnorm_bwd(x.raw + q0, dk, x.dq + q0, dk, t->q + q0, dk, t->inv_q + f * (size_t)HB,
                     n * HB, dk);
    loci_linear_bwd(&m->k, x.dxn + f * (size_t)D, D, 0.0f, &g->q, x.raw + q0, wide,
                    t->xn + f * (size_t)D, D, &p->q, n);
    if (job->routed && m->hp.order)
        loci_linear_bwd(&m->k, x.dxn + f * (size_t)D, D, 1.0f, &g->order,
                        t->order + f * (size_t)(HB * LOCI_ORDER), HB * LOCI_ORDER,
                        t->xn + f * (size_t)D, D, &p->order, n);
    loci_router_gate_backward(m, p, g, t, job, x.dgate, x.dxn);
    if (job->gist)
        loci_gist_backward(m, p, g, job->gist, job->group, job->bank, dh, x.dxn, t->xn, t->first, T,
                           t->capacity, x.part);
    loci_router_backward(m, p, g, t, job, job->routed ? x.dpick : NULL, x.dxn, x.part);
    m->k.rmsnorm_bwd(dh + f * (size_t)D, D, x.dxn + f * (size_t)D, D, t->xn + f * (size_t)D, D,
                     t->inv + f, n, D);
}
