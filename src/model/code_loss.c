/* code_loss.c - the loss that teaches search codes to agree with the router (trained_codes).
 *
 *   b_q(t) = tanh(a sqrt(d) Hq u_t)     b_k(c,m) = tanh(a sqrt(d) Hk l_cm)     d = d_landmark
 *   z(t,c) = 8/d max_m <b_q(t), b_k(c,m)>
 *   L = mean_t KL( softmax_c s(t,c) || softmax_c z(t,c) )        c: eligible chunks and negatives
 *     + mean over banks of  1/d sum_i mean(b_i)^2  +  1/d^2 sum_{i != j} mean(b_i b_j)^2
 *
 * tanh stands for the sign that search takes (codes.c); a grows from 1 to 8 over the training.  The
 * router's scores s, the queries u and the landmarks l are constants here: only Hq and Hk learn.
 * The second line keeps every bit in use: a bit should be set in half of a bank's codes, and two
 * bits should not say the same.  Means there are over a bank's landmarks.  8 is fixed: a learned factor
 * would grow in place of the agreement, and a larger one is content with less of it.  Seen with
 * tiny.json: 0.76 of the bits agree with 8, 0.71 with 16, with the gold chunk in the same rank; with 4
 * the rank is worse.  Rows t are a sample: every k-th that may read something,
 * and all with a gold chunk to be found.
 *
 * (T, chunks) is never held: chunks come in blocks, twice, first for the two log-sums. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { TILE = 64, BLOCK = 128 }; /* rows, chunks */
static const double SHARPNESS = 8.0;

typedef struct {
    float *bk, *dbk;        /* (BLOCK*M, d) codes of a block, their gradient */
    float *u, *bq, *dbq;    /* (TILE, d)                                     */
    float *s, *z;           /* (TILE, BLOCK*M) products, then d z            */
    float *second, *first;  /* (d, d) (d) mean(b_i b_j), mean(b_i)           */
    double *lse_s, *lse_z;  /* (TILE) */
    int32_t *row, *n_right; /* (TILE) rows; bits that agree with the gold chunk's code */
} code_scratch;

static void scratch_carve(code_scratch *x, loci_arena *a, const loci_hparams *hp)
{
    const size_t d = (size_t)hp->d_landmark, cols = BLOCK * (size_t)hp->n_landmarks;
    const size_t f = sizeof(float);
    x->bk = loci_arena_take(a, cols * d, f);
    x->dbk = loci_arena_take(a, cols * d, f);
    x->u = loci_arena_take(a, TILE * d, f);
    x->bq = loci_arena_take(a, TILE * d, f);
    x->dbq = loci_arena_take(a, TILE * d, f);
    x->s = loci_arena_take(a, TILE * cols, f);
    x->z = loci_arena_take(a, TILE * cols, f);
    x->second = loci_arena_take(a, d * d, f);
    x->first = loci_arena_take(a, d, f);
    x->lse_s = loci_arena_take(a, TILE, sizeof(double));
    x->lse_z = loci_arena_take(a, TILE, sizeof(double));
    x->row = loci_arena_take(a, TILE, sizeof(int32_t));
    x->n_right = loci_arena_take(a, TILE, sizeof(int32_t));
}

size_t loci_code_loss_scratch(const loci_hparams *hp)
{
    loci_arena a = { 0 };
    code_scratch x;
    if (!hp->trained_codes) return 0;
    scratch_carve(&x, &a, hp);
    return a.used / sizeof(float);
}

/* One group's rows of one sequence. */
typedef struct {
    const loci_model *m;
    const loci_read_tape *t;
    const loci_chunks *bank;
    const loci_negatives *neg;
    int n_neg;
    const loci_sequence *s;
    const loci_loss_options *o;
    loci_params *grads; /* NULL: loss only */
    loci_loss_sums *sums;
    code_scratch x;
    float slope; /* a sqrt(d) */
} code_job;

/* Chunks [at, at + n) of a bank; own: of the sequence's own one. */
typedef struct {
    const float *landmark, *bias;
    int at, n;
    bool own;
} code_block;

/* b (n, d) = tanh(slope x H^T) */
static void soft_codes(const code_job *j, float *b, const float *x, const loci_mat *map, int n)
{
    const int d = j->m->hp.d_landmark;
    loci_linear(j->m, b, d, x, d, map, n);
    for (size_t i = 0; i < (size_t)n * (size_t)d; i++) b[i] = tanhf(j->slope * b[i]);
}

/* dmap += through the tanh; db (n, d) becomes the gradient of the product. */
static void soft_codes_backward(const code_job *j, loci_mat *dmap, float *db, const float *b,
                                const float *x, int n)
{
    const int d = j->m->hp.d_landmark;
    for (size_t i = 0; i < (size_t)n * (size_t)d; i++) db[i] *= j->slope * (1.0f - b[i] * b[i]);
    j->m->k.gemm(dmap->data, d, db, d, 1, x, d, 0, d, d, n, 1.0f);
}

/* The block behind *b among own chunks and negatives; false behind the last. */
static bool next_block(const code_job *j, code_block *b, int *piece)
{
    const loci_hparams *hp = &j->m->hp;
    int n = 0, at = b->at + b->n;
    for (;; (*piece)++, at = 0) {
        if (*piece >= j->n_neg) return false;
        n = *piece < 0 ? j->bank->n : j->neg[*piece].n;
        if (at < n) break;
    }
    const size_t row = (size_t)at * (size_t)(hp->n_landmarks * hp->d_landmark);
    b->own = *piece < 0;
    b->landmark = (b->own ? j->bank->landmark : j->neg[*piece].landmark) + row;
    b->bias = (b->own ? j->bank->bias : j->neg[*piece].bias) + at;
    b->at = at;
    b->n = n - at < BLOCK ? n - at : BLOCK;
    return true;
}

static const code_block NO_BLOCK = { NULL, NULL, 0, 0, false };

static int best_of(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) best = x[i] > x[best] ? i : best;
    return best;
}

static double log_add(double a, double b)
{
    const double top = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? top : top + log1p(exp(low - top));
}

/* Chunks of the block that row r of the tile may read. */
static int limit_of(const code_job *j, const code_block *b, int r)
{
    const int open = j->bank->n_eligible[j->x.row[r]] - b->at;
    return !b->own || open > b->n ? b->n : open > 0 ? open : 0;
}

/* Products of the tile's queries and codes with the block's. */
static void multiply(code_job *j, const code_block *b, int rows)
{
    const loci_hparams *hp = &j->m->hp;
    const int d = hp->d_landmark, cols = b->n * hp->n_landmarks;
    soft_codes(j, j->x.bk, b->landmark, &j->m->p.code.key, cols);
    j->m->k.gemm(j->x.s, cols, j->x.u, d, 0, b->landmark, d, 1, rows, cols, d, 0.0f);
    j->m->k.gemm(j->x.z, cols, j->x.bq, d, 0, j->x.bk, d, 1, rows, cols, d, 0.0f);
}

static void add_masses(code_job *j, const code_block *b, int rows)
{
    const int M = j->m->hp.n_landmarks, cols = b->n * M;
    const double k = SHARPNESS / j->m->hp.d_landmark;
    for (int r = 0; r < rows; r++) {
        const float *s = j->x.s + r * cols, *z = j->x.z + r * cols;
        for (int c = 0, n = limit_of(j, b, r); c < n; c++, s += M, z += M) {
            const double score = (double)(j->t->tau * s[best_of(s, M)] + b->bias[c]);
            j->x.lse_s[r] = log_add(j->x.lse_s[r], score);
            j->x.lse_z[r] = log_add(j->x.lse_z[r], k * (double)z[best_of(z, M)]);
        }
    }
}

/* Most bits in which a landmark's code of the block's chunk c agrees with query r. */
static int bits_right(const code_job *j, int c, int r)
{
    const int d = j->m->hp.d_landmark, M = j->m->hp.n_landmarks;
    const float *bq = j->x.bq + r * d, *bk = j->x.bk + (size_t)(c * M) * (size_t)d;
    int most = 0;
    for (int i = 0; i < M; i++, bk += d) {
        int same = 0;
        for (int e = 0; e < d; e++) same += (bq[e] > 0.0f) == (bk[e] > 0.0f);
        most = same > most ? same : most;
    }
    return most;
}

/* KL of the block's chunks; x.z becomes d L / d z, spread over the landmarks that gave it. */
static double diverge(code_job *j, const code_block *b, int rows, double scale)
{
    const int M = j->m->hp.n_landmarks, cols = b->n * M;
    const double k = SHARPNESS / j->m->hp.d_landmark;
    double kl = 0.0;
    for (int r = 0; r < rows; r++) {
        const float *s = j->x.s + r * cols;
        float *z = j->x.z + r * cols;
        const int n = limit_of(j, b, r);
        const int gold = b->own && j->s->gold ? j->s->gold[j->x.row[r]] - b->at : -1;
        for (int c = 0; c < n; c++, s += M, z += M) {
            const int arg = best_of(z, M);
            const double lp = (double)(j->t->tau * s[best_of(s, M)] + b->bias[c]) - j->x.lse_s[r];
            const double lq = k * (double)z[arg] - j->x.lse_z[r];
            kl += exp(lp) * (lp - lq);
            memset(z, 0, (size_t)M * sizeof *z);
            z[arg] = (float)(scale * k * (exp(lq) - exp(lp)));
            if (c == gold) j->x.n_right[r] = bits_right(j, c, r);
        }
        memset(z, 0, (size_t)((b->n - n) * M) * sizeof *z);
    }
    return kl;
}

/* The rows of x.row: loss, agreement, gradient. */
static void tile_loss(code_job *j, int rows)
{
    const int G = j->m->hp.n_groups, d = j->m->hp.d_landmark, M = j->m->hp.n_landmarks;
    const double scale = (double)(j->o->hash * j->o->code_scale * j->o->grad_scale) / G;
    const code_scratch *x = &j->x;
    double kl = 0.0;
    int piece = -1;
    for (int r = 0; r < rows; r++) {
        memcpy(x->u + r * d, j->t->u + (size_t)x->row[r] * (size_t)d, (size_t)d * sizeof *x->u);
        x->lse_s[r] = x->lse_z[r] = -INFINITY;
        x->n_right[r] = 0;
    }
    soft_codes(j, x->bq, x->u, &j->m->p.code.query, rows);
    for (code_block b = NO_BLOCK; next_block(j, &b, &piece);) {
        multiply(j, &b, rows);
        add_masses(j, &b, rows);
    }
    memset(x->dbq, 0, (size_t)(rows * d) * sizeof *x->dbq);
    piece = -1;
    for (code_block b = NO_BLOCK; next_block(j, &b, &piece);) {
        const int cols = b.n * M;
        multiply(j, &b, rows);
        kl += diverge(j, &b, rows, scale);
        if (!j->grads) continue;
        j->m->k.gemm(x->dbq, d, x->z, cols, 0, x->bk, d, 0, rows, d, cols, 1.0f);
        j->m->k.gemm(x->dbk, d, x->z, cols, 1, x->bq, d, 0, cols, d, rows, 0.0f);
        soft_codes_backward(j, &j->grads->code.key, x->dbk, x->bk, b.landmark, cols);
    }
    if (j->grads) soft_codes_backward(j, &j->grads->code.query, x->dbq, x->bq, x->u, rows);
    j->sums->hash += kl / G;
    for (int r = 0; r < rows; r++) j->sums->agreement += (double)x->n_right[r] / (double)d / G;
}

static bool is_sampled(const loci_chunks *bank, const loci_sequence *s, int t, int every, int phase)
{
    const int n = bank->n_eligible[t], gold = s->gold ? s->gold[t] : -1;
    return n > 0 && (t % every == phase || (gold >= 0 && gold < n));
}

/* Balance and decorrelation of the bank's codes. */
static void spread_loss(code_job *j)
{
    const loci_hparams *hp = &j->m->hp;
    const int d = hp->d_landmark, N = j->bank->n * hp->n_landmarks;
    const code_scratch *x = &j->x;
    const double each = 1.0 / d;
    const float scale = j->o->hash * j->o->code_bank_scale * j->o->grad_scale;
    double sum = 0.0;
    int piece = -1;
    memset(x->first, 0, (size_t)d * sizeof *x->first);
    memset(x->second, 0, (size_t)(d * d) * sizeof *x->second);
    for (code_block b = NO_BLOCK; next_block(j, &b, &piece) && b.own;) {
        const int n = b.n * hp->n_landmarks;
        soft_codes(j, x->bk, b.landmark, &j->m->p.code.key, n);
        for (int i = 0; i < n; i++)
            j->m->k.axpy(x->first, x->bk + (size_t)(i * d), 1.0f / (float)N, (size_t)d);
        j->m->k.gemm(x->second, d, x->bk, d, 1, x->bk, d, 0, d, d, n, 1.0f);
    }
    for (int i = 0; i < d; i++) {
        sum += each * (double)x->first[i] * (double)x->first[i];
        for (int e = 0; e < d; e++) {
            float *v = &x->second[i * d + e];
            *v = e == i ? 0.0f : *v / (float)N;
            sum += each * each * (double)*v * (double)*v;
        }
    }
    j->sums->spread += sum;
    j->sums->n_spread++;
    if (!j->grads) return;
    /* d/db_ni = 2/(dN) mean(b_i) + 4/(d^2 N) sum_{e != i} mean(b_i b_e) b_ne */
    const float bal = scale * 2.0f / (float)(d * N);
    for (size_t i = 0; i < (size_t)(d * d); i++)
        x->second[i] *= scale * 4.0f / ((float)(d * d) * (float)N);
    piece = -1;
    for (code_block b = NO_BLOCK; next_block(j, &b, &piece) && b.own;) {
        const int n = b.n * hp->n_landmarks;
        soft_codes(j, x->bk, b.landmark, &j->m->p.code.key, n);
        j->m->k.gemm(x->dbk, d, x->bk, d, 0, x->second, d, 0, n, d, d, 0.0f);
        for (int i = 0; i < n; i++)
            j->m->k.axpy(x->dbk + (size_t)(i * d), x->first, bal, (size_t)d);
        soft_codes_backward(j, &j->grads->code.key, x->dbk, x->bk, b.landmark, n);
    }
}

void loci_code_loss(const loci_model *m, const loci_sequence *s, const loci_chunks *bank,
                    const loci_read_tape *read, const loci_negatives *neg, int n_neg,
                    const loci_loss_options *o, loci_params *grads, loci_loss_sums *sums,
                    float *scratch)
{
    if (!m->hp.trained_codes || o->code_every < 1 || bank->n == 0) return;
    code_job j = { m, NULL, bank, neg, n_neg, s, o, grads, sums, { 0 }, 0.0f };
    loci_arena a = { (unsigned char *)scratch, loci_code_loss_scratch(&m->hp) * sizeof(float), 0 };
    scratch_carve(&j.x, &a, &m->hp);
    j.slope = o->code_slope * sqrtf((float)m->hp.d_landmark);
    for (int g = 0; g < m->hp.n_groups; g++) {
        int n = 0;
        j.t = &read[g];
        for (int t = read[g].first; t < s->T; t++) {
            if (!is_sampled(bank, s, t, o->code_every, o->code_phase)) continue;
            j.x.row[n++] = t;
            sums->n_hash += g == 0;
            if (n < TILE) continue;
            tile_loss(&j, n);
            n = 0;
        }
        if (n > 0) tile_loss(&j, n);
    }
    spread_loss(&j);
}
