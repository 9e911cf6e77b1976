/* negatives.c - scores of queries against the chunks of other sequences.
 *
 *   s(t,j) = tau max_m <u_t, l_jm> + beta_j      lse(t) = log sum_j exp s(t,j)
 *
 * Such chunks take mass and give nothing, so all that a loss needs of them is lse(t), and its
 * gradient is a softmax times one number a query:
 *
 *   ds(t,j) = exp(s(t,j) - lse(t)) dlse(t)
 *
 * The (T, n) matrix is never held: columns come in blocks that collect many small pieces, rows in
 * tiles of 64, and the backward pass computes the products again. */
#include "model/model_impl.h"

#include <math.h>
#include <string.h>

enum { TILE = 64, BLOCK = 512 }; /* queries, chunks: a tile of scores stays in the second cache */

typedef struct {
    float *lm, *bias, *dlm, *dbias; /* (BLOCK, M, d) (BLOCK): the block's chunks, collected */
    float *u, *du;                  /* (TILE, d) */
    float *dots, *s, *lse;          /* (TILE, BLOCK*M) (TILE, BLOCK) (TILE) */
} negative_scratch;

static void scratch_carve(negative_scratch *s, loci_arena *a, const loci_hparams *hp)
{
    const size_t M = (size_t)hp->n_landmarks, d = (size_t)hp->d_landmark, f = sizeof(float);
    s->lm = loci_arena_take(a, BLOCK * M * d, f);
    s->bias = loci_arena_take(a, BLOCK, f);
    s->dlm = loci_arena_take(a, BLOCK * M * d, f);
    s->dbias = loci_arena_take(a, BLOCK, f);
    s->u = loci_arena_take(a, TILE * d, f);
    s->du = loci_arena_take(a, TILE * d, f);
    s->dots = loci_arena_take(a, TILE * BLOCK * M, f);
    s->s = loci_arena_take(a, TILE * BLOCK, f);
    s->lse = loci_arena_take(a, TILE, f);
}

size_t loci_negatives_scratch(const loci_hparams *hp)
{
    loci_arena a = { 0 };
    negative_scratch s;
    scratch_carve(&s, &a, hp);
    return a.used / sizeof(float);
}

static negative_scratch scratch_of(const loci_hparams *hp, float *memory)
{
    negative_scratch s;
    loci_arena a = { (unsigned char *)memory, loci_negatives_scratch(hp) * sizeof(float), 0 };
    scratch_carve(&s, &a, hp);
    return s;
}

/* Where a block starts: chunk `at` of piece `piece`. */
typedef struct {
    int piece, at;
} cursor;

/* Collect up to BLOCK chunks from *c on and move it behind them; returns how many. */
static int block_collect(const loci_negative_job *job, const loci_hparams *hp, cursor *c,
                         negative_scratch *b)
{
    const size_t row = (size_t)(hp->n_landmarks * hp->d_landmark);
    int n = 0;
    while (n < BLOCK && c->piece < job->n_pieces) {
        const loci_negatives *p = &job->piece[c->piece];
        const int take = p->n - c->at < BLOCK - n ? p->n - c->at : BLOCK - n;
        memcpy(b->lm + (size_t)n * row, p->landmark + (size_t)c->at * row,
               (size_t)take * row * sizeof *b->lm);
        memcpy(b->bias + n, p->bias + c->at, (size_t)take * sizeof *b->bias);
        n += take;
        c->at += take;
        if (c->at == p->n) *c = (cursor){ c->piece + 1, 0 };
    }
    return n;
}

/* The block that started at c: its gradients go back to the pieces that want them. */
static void block_return(const loci_negative_job *job, const loci_model *m, cursor c, int n,
                         const negative_scratch *b)
{
    const size_t row = (size_t)(m->hp.n_landmarks * m->hp.d_landmark);
    for (int done = 0; done < n; c = (cursor){ c.piece + 1, 0 }) {
        const loci_negatives *p = &job->piece[c.piece];
        const int take = p->n - c.at < n - done ? p->n - c.at : n - done;
        if (p->dlandmark)
            m->k.axpy(p->dlandmark + (size_t)c.at * row, b->dlm + (size_t)done * row, 1.0f,
                      (size_t)take * row);
        if (p->dbias) m->k.axpy(p->dbias + c.at, b->dbias + done, 1.0f, (size_t)take);
        done += take;
    }
}

/* b->u = the queries of a tile, b->dots and b->s = their scores against the block. */
static void tile_scores(const loci_model *m, const loci_negative_job *job, const int32_t *rows,
                        int n_rows, int n, negative_scratch *b)
{
    const int M = m->hp.n_landmarks, d = m->hp.d_landmark;
    for (int r = 0; r < n_rows; r++)
        memcpy(b->u + (size_t)r * (size_t)d, job->u + (size_t)rows[r] * (size_t)d,
               (size_t)d * sizeof *b->u);
    m->k.gemm(b->dots, n * M, b->u, d, 0, b->lm, d, 1, n_rows, n * M, d, 0.0f);
    for (int r = 0; r < n_rows; r++) {
        const float *dot = b->dots + (size_t)r * (size_t)(n * M);
        float *s = b->s + (size_t)r * (size_t)n;
        for (int j = 0; M == 2 && j < n; j++) { /* the usual number, vectorised */
            const float a0 = dot[2 * j], a1 = dot[2 * j + 1];
            s[j] = job->tau * (a1 > a0 ? a1 : a0) + b->bias[j];
        }
        for (int j = 0; M != 2 && j < n; j++, dot += M) {
            float top = dot[0];
            for (int i = 1; i < M; i++) top = dot[i] > top ? dot[i] : top;
            s[j] = job->tau * top + b->bias[j];
        }
    }
}

/* log(exp a + exp b), either may be -infinity */
static float log_add(float a, float b)
{
    const float top = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? top : top + log1pf(expf(low - top));
}

void loci_negatives_forward(const loci_model *m, const loci_negative_job *job, const float *bar,
                            float *lse, int32_t *above, float *scratch)
{
    negative_scratch b = scratch_of(&m->hp, scratch);
    cursor c = { 0, 0 };
    for (int i = 0; i < job->n_rows; i++) {
        lse[job->rows[i]] = -INFINITY;
        above[job->rows[i]] = 0;
    }
    if (job->n_rows == 0) return;
    for (int n; (n = block_collect(job, &m->hp, &c, &b)) > 0;) {
        for (int r0 = 0; r0 < job->n_rows; r0 += TILE) {
            const int32_t *rows = job->rows + r0;
            const int n_rows = job->n_rows - r0 < TILE ? job->n_rows - r0 : TILE;
            tile_scores(m, job, rows, n_rows, n, &b);
            for (int r = 0; r < n_rows; r++) {
                const float *s = b.s + (size_t)r * (size_t)n, limit = bar[rows[r]];
                int32_t count = 0;
                if (limit < INFINITY)
                    for (int j = 0; j < n; j++) count += s[j] > limit;
                above[rows[r]] += count;
            }
            m->k.softmax(b.s, n, b.lse, b.s, n, n_rows, n);
            for (int r = 0; r < n_rows; r++) lse[rows[r]] = log_add(lse[rows[r]], b.lse[r]);
        }
    }
}

/* One query: ds = share p, to dbias and, as tau ds, in the place of the chosen landmark's dot
 * product; 0 for the others. */
static void spread_row(float *dot, float *dbias, const float *p, float share, float tau, int n,
                       int M)
{
    for (int j = 0; j < n; j++, dot += M) {
        const float ds = p[j] * share;
        int best = 0;
        for (int i = 1; i < M; i++) best = dot[i] > dot[best] ? i : best;
        for (int i = 0; i < M; i++) dot[i] = i == best ? tau * ds : 0.0f;
        dbias[j] += ds;
    }
}

/* The same for two landmarks, the usual number, in a form that vectorises. */
static void spread_pairs(float *restrict dot, float *restrict dbias, const float *restrict p,
                         float share, float tau, int n)
{
    for (int j = 0; j < n; j++) {
        const float ds = p[j] * share, a = dot[2 * j], b = dot[2 * j + 1];
        dot[2 * j] = b > a ? 0.0f : tau * ds;
        dot[2 * j + 1] = b > a ? tau * ds : 0.0f;
        dbias[j] += ds;
    }
}

/* Scores of the tile in b->s -> gradients of the dot products in b->dots, of biases in b->dbias. */
static void tile_spread(const loci_model *m, const loci_negative_job *job, const int32_t *rows,
                        int n_rows, int n, const float *lse, const float *dlse, negative_scratch *b)
{
    const int M = m->hp.n_landmarks;
    m->k.softmax(b->s, n, b->lse, b->s, n, n_rows, n);
    for (int r = 0; r < n_rows; r++) {
        const float share = expf(b->lse[r] - lse[rows[r]]) * dlse[rows[r]];
        const float *p = b->s + (size_t)r * (size_t)n;
        float *dot = b->dots + (size_t)r * (size_t)(n * M);
        if (M == 2)
            spread_pairs(dot, b->dbias, p, share, job->tau, n);
        else
            spread_row(dot, b->dbias, p, share, job->tau, n, M);
    }
}

void loci_negatives_backward(const loci_model *m, const loci_negative_job *job, const float *lse,
                             const float *dlse, float *du, float *scratch)
{
    const int M = m->hp.n_landmarks, d = m->hp.d_landmark;
    negative_scratch b = scratch_of(&m->hp, scratch);
    cursor c = { 0, 0 }, start = c;
    if (job->n_rows == 0) return;
    for (int n; (n = block_collect(job, &m->hp, &c, &b)) > 0; start = c) {
        memset(b.dlm, 0, (size_t)(n * M) * (size_t)d * sizeof *b.dlm);
        memset(b.dbias, 0, (size_t)n * sizeof *b.dbias);
        for (int r0 = 0; r0 < job->n_rows; r0 += TILE) {
            const int32_t *rows = job->rows + r0;
            const int n_rows = job->n_rows - r0 < TILE ? job->n_rows - r0 : TILE;
            tile_scores(m, job, rows, n_rows, n, &b);
            tile_spread(m, job, rows, n_rows, n, lse, dlse, &b);
            m->k.gemm(b.du, d, b.dots, n * M, 0, b.lm, d, 0, n_rows, d, n * M, 0.0f);
            m->k.gemm(b.dlm, d, b.dots, n * M, 1, b.u, d, 0, n * M, d, n_rows, 1.0f);
            for (int r = 0; r < n_rows; r++)
                m->k.axpy(du + (size_t)rows[r] * (size_t)d, b.du + (size_t)r * (size_t)d, 1.0f,
                          (size_t)d);
        }
        block_return(job, m, start, n, &b);
    }
}
