/* router.c - the small network that says which chunks a query reads.
 *
 *   u_t = unit(W2 silu(W1 x_t)),  tau = min(exp(log_tau), 40)
 *   s(t,c) = tau max_m <u_t, l_cm> + beta_c         over the chunks that t may read ("eligible")
 *   routed: the K best;  w_c = exp s_c / Z_t,  Z_t = exp s_null + sum picked + sum negatives
 *
 * Losses that act on s alone, averaged over groups:
 *   KL       sum_c target_c (log target_c - log softmax_c s)     over eligible chunks
 *   oracle   log(sum eligible + sum negatives [+ exp s_null, routed]) - s_gold
 *   absence  log Z_t - s_null                                     routed, gold = -2
 *
 * The choice of landmark and the choice of chunks are fixed points for the gradient.  Every loss
 * needs of the negatives only their log-sum-exp: negatives.c. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { TILE = 64 }; /* queries whose scores are spread over landmarks at a time */

static const float TAU_MAX = 40.0f; /* sharper scores would freeze the choice early in training */

/* ---- forward, any number of rows ------------------------------------------------------- */

void loci_router_query(const loci_model *m, const loci_read_params *p, float *u, float *inv,
                       float *hidden, float *act, const float *xn, int n)
{
    const int D = m->hp.d_model, R = m->hp.router_hidden, d = m->hp.d_landmark;
    loci_linear(m, hidden, R, xn, D, &p->router1, n);
    m->k.silu(act, hidden, (size_t)n * (size_t)R);
    loci_linear(m, u, d, act, R, &p->router2, n);
    loci_unit(&m->k, u, inv, n, d);
}

float loci_router_tau(const loci_read_params *p)
{
    const float tau = expf(*(const float *)p->log_tau.data);
    return tau < TAU_MAX ? tau : TAU_MAX;
}

void loci_router_gate(const loci_model *m, const loci_read_params *p, float *gate, const float *xn,
                      int n)
{
    const size_t D = (size_t)m->hp.d_model;
    const float bias = *(const float *)p->gate_b.data;
    for (int t = 0; t < n; t++) {
        const float z = (float)m->k.dot(xn + (size_t)t * D, p->gate_w.data, D) + bias;
        gate[t] = 1.0f / (1.0f + expf(-z));
    }
}

void loci_router_harden(const loci_hparams *hp, float *gate, const float *soft, int n)
{
    for (int t = 0; t < n; t++)
        gate[t] = !hp->hard_gate ? soft[t] : soft[t] > hp->gate_open ? 1.0f : 0.0f;
}

void loci_router_gate_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                               const loci_read_tape *t, const loci_read_job *job,
                               const float *dgate, float *dxn)
{
    const loci_loss_options *o = job->opt;
    const size_t D = (size_t)m->hp.d_model;
    const float load = o->gate * o->query_scale * o->grad_scale;
    const float regret = o->regret * o->regret_scale * o->grad_scale / (float)m->hp.n_groups;
    for (int r = t->first; r < job->s->T; r++) {
        const float open = t->soft[r];
        const float cost = (job->bank->n_eligible[r] ? load : 0.0f) -
                           (job->regret ? regret * job->regret[r] : 0.0f);
        const float dz = (dgate[r] + cost) * open * (1.0f - open);
        m->k.axpy(dxn + (size_t)r * D, p->gate_w.data, dz, D);
        m->k.axpy(g->gate_w.data, t->xn + (size_t)r * D, dz, D);
        *(float *)g->gate_b.data += dz;
    }
}

/* ---- scratch ----------------------------------------------------------------------------- */

typedef struct {
    float *dots;               /* (TILE, C*M)                                      */
    float *bar;                /* (T): score of the gold chunk, else infinity      */
    float *du, *dhidden, *act; /* (T, d_landmark) (T, router_hidden) twice         */
    int32_t *rows;             /* (T): queries that need the negatives             */
    float *negatives;
} router_scratch;

static void scratch_carve(router_scratch *s, loci_arena *a, const loci_hparams *hp, int T,
                          int capacity)
{
    const size_t n = (size_t)T, f = sizeof(float);
    s->dots = loci_arena_take(a, (size_t)TILE * (size_t)(capacity * hp->n_landmarks), f);
    s->bar = loci_arena_take(a, n, f);
    s->du = loci_arena_take(a, n * (size_t)hp->d_landmark, f);
    s->dhidden = loci_arena_take(a, n * (size_t)hp->router_hidden, f);
    s->act = loci_arena_take(a, n * (size_t)hp->router_hidden, f);
    s->rows = loci_arena_take(a, n, sizeof *s->rows);
    s->negatives = loci_arena_take(a, loci_negatives_scratch(hp), f);
}

size_t loci_router_scratch(const loci_hparams *hp, int T, int capacity)
{
    loci_arena a = { 0 };
    router_scratch s;
    scratch_carve(&s, &a, hp, T, capacity);
    return a.used / sizeof(float);
}

static router_scratch scratch_of(const loci_hparams *hp, int T, int capacity, float *memory)
{
    router_scratch s;
    const size_t bytes = loci_router_scratch(hp, T, capacity) * sizeof(float);
    loci_arena a = { (unsigned char *)memory, bytes, 0 };
    scratch_carve(&s, &a, hp, T, capacity);
    return s;
}

/* ---- scores, choice, weights -------------------------------------------------------------- */

/* score and arg of rows [first, T) over their eligible chunks; others are left as they are. */
static void score_own(const loci_model *m, loci_read_tape *t, const loci_chunks *bank, int T,
                      float *dots)
{
    const int M = m->hp.n_landmarks, d = m->hp.d_landmark, cols = bank->n * M;
    for (int r0 = t->first; cols > 0 && r0 < T; r0 += TILE) {
        const int n = T - r0 < TILE ? T - r0 : TILE;
        m->k.gemm(dots, cols, t->u + (size_t)r0 * (size_t)d, d, 0, bank->landmark, d, 1, n, cols, d,
                  0.0f);
        for (int r = 0; r < n; r++) {
            const size_t at = (size_t)(r0 + r) * (size_t)t->capacity;
            const float *dot = dots + (size_t)r * (size_t)cols;
            for (int c = 0; c < bank->n_eligible[r0 + r]; c++, dot += M) {
                int best = 0;
                for (int i = 1; i < M; i++) best = dot[i] > dot[best] ? i : best;
                t->score[at + (size_t)c] = t->tau * dot[best] + bank->bias[c];
                t->arg[at + (size_t)c] = (uint8_t)best;
            }
        }
    }
}

/* The K best of n scores (ties: lower index), as indices in rising order; returns how many. */
static int choose(int32_t *pick, const float *score, int n, int K)
{
    int have = 0;
    for (int c = 0; c < n; c++) {
        int at = have < K ? have++ : K;
        /* Best first while choosing: a later chunk goes behind its equals. */
        if (at == K && score[c] <= score[pick[K - 1]]) continue;
        if (at == K) at = K - 1;
        for (; at > 0 && score[pick[at - 1]] < score[c]; at--) pick[at] = pick[at - 1];
        pick[at] = c;
    }
    for (int i = 1; i < have; i++) { /* then oldest first: rank in time */
        const int32_t c = pick[i];
        int at = i;
        for (; at > 0 && pick[at - 1] > c; at--) pick[at] = pick[at - 1];
        pick[at] = c;
    }
    return have;
}

static double log_add(double a, double b)
{
    const double top = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? top : top + log1p(exp(low - top));
}

static double log_sum(const float *s, int n)
{
    double top = -INFINITY, sum = 0.0;
    for (int i = 0; i < n; i++) top = (double)s[i] > top ? (double)s[i] : top;
    for (int i = 0; i < n; i++) sum += exp((double)s[i] - top);
    return n ? top + log(sum) : -INFINITY;
}

static void weigh(const loci_model *m, const loci_read_params *p, loci_read_tape *t,
                  const loci_chunks *bank, int T)
{
    const int K = m->hp.top_k;
    const double null = (double)*(const float *)p->null_score.data;
    for (int r = t->first; r < T; r++) {
        const float *s = t->score + (size_t)r * (size_t)t->capacity;
        int32_t *pick = t->pick + (size_t)r * (size_t)K;
        float *w = t->w + (size_t)r * (size_t)K;
        const int n = t->n_pick[r] = choose(pick, s, bank->n_eligible[r], K);
        for (int i = 0; i < n; i++) w[i] = s[pick[i]];
        const double den = log_add(log_add(null, (double)t->lse_neg[r]), log_sum(w, n));
        for (int i = 0; i < n; i++) w[i] = (float)exp((double)w[i] - den);
        for (int i = n; i < K; i++) w[i] = 0.0f;
        t->log_den[r] = (float)den;
    }
}

/* The gold chunk of query t if it may be read, else -1. */
static int gold_of(const loci_read_job *job, int t)
{
    const int gold = job->s->gold ? job->s->gold[t] : -1;
    return gold >= 0 && gold < job->bank->n_eligible[t] ? gold : -1;
}

/* Routed weights compete with the negatives at every query; in the dense mode only the oracle
 * loss looks at them. */
static loci_negative_job negative_job(const loci_read_tape *t, const loci_read_job *job,
                                      int32_t *rows)
{
    loci_negative_job n = { job->neg, job->n_neg, t->u, t->tau, rows, 0 };
    for (int r = t->first; r < job->s->T; r++)
        if (job->routed || gold_of(job, r) >= 0) rows[n.n_rows++] = r;
    return n;
}

void loci_router_forward(const loci_model *m, const loci_read_params *p, loci_read_tape *t,
                         const loci_read_job *job, float *scratch)
{
    const int T = job->s->T;
    const size_t f = (size_t)t->first;
    const router_scratch b = scratch_of(&m->hp, T, t->capacity, scratch);
    loci_router_query(m, p, t->u + f * (size_t)m->hp.d_landmark, t->inv_u + f,
                      t->hidden + f * (size_t)m->hp.router_hidden, b.act,
                      t->xn + f * (size_t)m->hp.d_model, T - t->first);
    t->tau = loci_router_tau(p);
    score_own(m, t, job->bank, T, b.dots);
    for (int r = t->first; r < T; r++) {
        const int gold = gold_of(job, r);
        t->lse_neg[r] = -INFINITY;
        t->above[r] = 0;
        b.bar[r] = gold < 0 ? INFINITY : t->score[(size_t)r * (size_t)t->capacity + (size_t)gold];
    }
    if (job->opt && job->n_neg > 0) {
        const loci_negative_job n = negative_job(t, job, b.rows);
        loci_negatives_forward(m, &n, b.bar, t->lse_neg, t->above, b.negatives);
    }
    if (job->routed) weigh(m, p, t, job->bank, T);
}

/* ---- losses --------------------------------------------------------------------------------- */

/* One query: its row of the tape, and the factors of its losses. */
typedef struct {
    int t, n; /* eligible chunks */
    const float *s;
    float *ds;
    double own, neg, null; /* logs of the masses */
} query;

static void kl_loss(loci_read_tape *t, const query *q, double scale, double share, double *sum)
{
    const float *target = t->target + (size_t)q->t * (size_t)t->capacity;
    double kl = 0.0;
    for (int c = 0; c < q->n; c++) {
        const double log_p = (double)q->s[c] - q->own, y = (double)target[c];
        if (y > 0.0) kl += y * (log(y) - log_p);
        q->ds[c] += (float)(scale * (exp(log_p) - y));
    }
    *sum += share * kl;
}

static void oracle_loss(loci_read_tape *t, const query *q, int gold, bool routed, int K,
                        double scale, double share, loci_loss_sums *sums)
{
    double den = log_add(q->own, q->neg);
    int above = t->above[q->t];
    if (routed) den = log_add(den, q->null);
    for (int c = 0; c < q->n; c++) {
        q->ds[c] += (float)(scale * exp((double)q->s[c] - den));
        above += q->s[c] > q->s[gold];
    }
    q->ds[gold] -= (float)scale;
    t->dneg[q->t] += (float)(scale * exp(q->neg - den));
    if (routed) t->dnull += scale * exp(q->null - den);
    sums->oracle += share * (den - (double)q->s[gold]);
    if (above < K) sums->recall += share;
}

static void absence_loss(loci_read_tape *t, const query *q, int K, double scale, double share,
                         double *sum)
{
    const double den = (double)t->log_den[q->t];
    const int32_t *pick = t->pick + (size_t)q->t * (size_t)K;
    const float *w = t->w + (size_t)q->t * (size_t)K;
    for (int i = 0; i < t->n_pick[q->t]; i++) q->ds[pick[i]] += (float)scale * w[i];
    t->dneg[q->t] += (float)(scale * exp(q->neg - den));
    t->dnull += scale * (exp(q->null - den) - 1.0);
    *sum += share * (den - q->null);
}

void loci_router_losses(const loci_model *m, const loci_read_params *p, loci_read_tape *t,
                        const loci_read_job *job, bool have_target)
{
    const loci_loss_options *o = job->opt;
    const int K = m->hp.top_k;
    const double share = 1.0 / m->hp.n_groups, scale = share * (double)o->grad_scale;
    const double null = (double)*(const float *)p->null_score.data;
    loci_loss_sums *sums = job->sums;
    t->dnull = 0.0;
    for (int r = t->first; r < job->s->T; r++) {
        const size_t at = (size_t)r * (size_t)t->capacity;
        query q = { r, job->bank->n_eligible[r], t->score + at, t->dscore + at, 0.0, 0.0, null };
        const int gold = gold_of(job, r);
        q.own = log_sum(q.s, q.n);
        q.neg = (double)t->lse_neg[r];
        t->dneg[r] = 0.0f;
        memset(q.ds, 0, (size_t)q.n * sizeof *q.ds);
        if (have_target && q.n > 0 && loci_kl_row(o, r)) {
            kl_loss(t, &q, scale * (double)o->kl * (double)o->kl_scale, share, &sums->kl);
            sums->n_kl += job->group == 0;
        }
        if (gold >= 0) {
            oracle_loss(t, &q, gold, job->routed, K,
                        scale * (double)o->oracle * (double)o->gold_scale, share, sums);
            sums->n_gold += job->group == 0;
        }
        if (job->routed && job->s->gold && job->s->gold[r] == -2) {
            absence_loss(t, &q, K, scale * (double)o->absence * (double)o->absent_scale, share,
                         &sums->absence);
            sums->n_absent += job->group == 0;
        }
    }
}

/* ---- backward ---------------------------------------------------------------------------------- */

/* Gradient of w_c = exp(s_c) / Z: ds_c += w_c (dw_c - A), A = sum w dw; the rest of Z takes -A
 * times its share. */
static void weigh_backward(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T,
                           const float *dw)
{
    const size_t K = (size_t)m->hp.top_k;
    const double null = (double)*(const float *)p->null_score.data;
    for (int r = t->first; r < T; r++) {
        const size_t at = (size_t)r * K;
        float *ds = t->dscore + (size_t)r * (size_t)t->capacity;
        double mean = 0.0;
        for (int i = 0; i < t->n_pick[r]; i++)
            mean += (double)t->w[at + (size_t)i] * (double)dw[at + (size_t)i];
        for (int i = 0; i < t->n_pick[r]; i++)
            ds[t->pick[at + (size_t)i]] +=
                t->w[at + (size_t)i] * (dw[at + (size_t)i] - (float)mean);
        t->dneg[r] -= (float)(mean * exp((double)t->lse_neg[r] - (double)t->log_den[r]));
        t->dnull -= mean * exp(null - (double)t->log_den[r]);
    }
}

/* dscore -> du (written from row first on), landmarks, biases. */
static void score_own_backward(const loci_model *m, loci_read_tape *t, const loci_chunks *bank,
                               int T, float *du, float *dots)
{
    const int M = m->hp.n_landmarks, d = m->hp.d_landmark, cols = bank->n * M;
    memset(du + (size_t)t->first * (size_t)d, 0, (size_t)(T - t->first) * (size_t)d * sizeof *du);
    for (int r0 = t->first; cols > 0 && r0 < T; r0 += TILE) {
        const int n = T - r0 < TILE ? T - r0 : TILE;
        memset(dots, 0, (size_t)n * (size_t)cols * sizeof *dots);
        for (int r = 0; r < n; r++) {
            const size_t at = (size_t)(r0 + r) * (size_t)t->capacity;
            float *spread = dots + (size_t)r * (size_t)cols;
            for (int c = 0; c < bank->n_eligible[r0 + r]; c++, spread += M) {
                const float ds = t->dscore[at + (size_t)c];
                spread[t->arg[at + (size_t)c]] = t->tau * ds;
                bank->dbias[c] += ds;
            }
        }
        const size_t row = (size_t)r0 * (size_t)d;
        m->k.gemm(du + row, d, dots, cols, 0, bank->landmark, d, 0, n, d, cols, 0.0f);
        m->k.gemm(bank->dlandmark, d, dots, cols, 1, t->u + row, d, 0, cols, d, n, 1.0f);
    }
}

void loci_router_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                          loci_read_tape *t, const loci_read_job *job, const float *dw, float *dxn,
                          float *scratch)
{
    const int T = job->s->T, first = t->first, n = T - first;
    const int D = m->hp.d_model, R = m->hp.router_hidden, d = m->hp.d_landmark;
    const size_t f = (size_t)first, hidden = (size_t)n * (size_t)R;
    const router_scratch b = scratch_of(&m->hp, T, t->capacity, scratch);
    if (n <= 0) return;
    if (dw) weigh_backward(m, p, t, T, dw);
    score_own_backward(m, t, job->bank, T, b.du, b.dots);
    if (job->n_neg > 0) {
        const loci_negative_job neg = negative_job(t, job, b.rows);
        loci_negatives_backward(m, &neg, t->lse_neg, t->dneg, b.du, b.negatives);
    }
    *(float *)g->null_score.data += (float)t->dnull;

    float *du = b.du + f * (size_t)d, *dhid = b.dhidden;
    const float *hid = t->hidden + f * (size_t)R, *u = t->u + f * (size_t)d;
    const double tau = exp((double)*(const float *)p->log_tau.data);
    /* tau multiplies products with u alone: d tau = <du, u> / tau, d log_tau = <du, u>. */
    if (tau < (double)TAU_MAX)
        *(float *)g->log_tau.data += (float)m->k.dot(du, u, (size_t)n * (size_t)d);
    loci_unit_bwd(&m->k, du, u, t->inv_u + f, n, d);
    m->k.silu(b.act, hid, hidden);
    loci_linear_bwd(&m->k, dhid, R, 0.0f, &g->router2, du, d, b.act, R, &p->router2, n);
    m->k.silu_bwd(dhid, dhid, hid, hidden);
    loci_linear_bwd(&m->k, dxn + f * (size_t)D, D, 1.0f, &g->router1, dhid, R,
                    t->xn + f * (size_t)D, D, &p->router1, n);
}
