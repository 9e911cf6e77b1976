/* buckets_learn.c - which landmarks lie together: k-means in coordinates that queries care for (basis.h).
 *
 *   a sample of landmarks, the router's queries -> basis -> k-means -> every landmark to its nearest mean
 *
 * Distances weigh each coordinate by how far it moves scores: what no query asks about does not part
 * landmarks.  Means are learned from 16 landmarks a bucket, taken at even distances; what is assigned in
 * one tile depends on nothing else, so the result is the same for any number of threads.  A bank that has
 * grown a little keeps basis and means, and only assigns anew. */
#include "engine/buckets_impl.h"
#include <math.h>
#include <stdlib.h>

enum {
    TILE = 256,         /* landmarks a tile */
    BLOCK = 512,        /* means a product */
    ROUNDS = 8,         /* of k-means */
    BASIS_SAMPLE = 4096 /* landmarks that the basis is made of */
};

/* Lengths of weighted coordinates, about: products are then far inside of what take_best takes. */
static const float LENGTH = 2.0f;

size_t loci_buckets_scratch(int d)
{
    return (size_t)TILE * ((size_t)d + LOCI_BASIS) + TILE * BLOCK;
}

/* ---- rows ------------------------------------------------------------------------------------------ */
static int64_t rows_of(const bucket_maker *m)
{
    return m->all ? m->n_rows : m->n_sample;
}

/* Row i of those that are being assigned - all, or the sample. */
static bucket_row row_at(const bucket_maker *m, int64_t i)
{
    /* Rows are below 2^32 * 16 and the sample is smaller: the product fits. */
    return bucket_row_of(m, m->all ? i
                                   : (int64_t)((uint64_t)i * (uint64_t)m->n_rows /
                                               (uint64_t)m->n_sample));
}

/* Landmarks of n <= TILE rows from `from` on into x (n, d). */
static void gather(const bucket_maker *m, int64_t from, int n, float *x)
{
    for (int r = 0; r < n; r++) {
        const bucket_row p = row_at(m, from + r);
        const size_t at = (size_t)p.landmark, d = (size_t)m->d;
        m->k->dequant_q8(x + (size_t)r * d, m->d, p.group->landmark + at * d, m->d,
                         p.group->landmark_scale + at, 1, m->d);
    }
}

/* Their weighted coordinates into z (n, LOCI_BASIS); x (n, d) is scratch. */
static void coordinates(const bucket_maker *m, int64_t from, int n, float *z, float *x)
{
    const loci_basis b = loci_basis_view(m->basis, m->d);
    gather(m, from, n, x);
    loci_basis_turn(&b, m->k, z, x, n);
    for (int i = 0; i < n * LOCI_BASIS; i++) z[i] *= m->weight[i % LOCI_BASIS];
}

static loci_status make_basis(bucket_maker *m, loci_error *err)
{
    const int64_t n = m->n_rows < BASIS_SAMPLE ? m->n_rows : BASIS_SAMPLE, sample = m->n_sample;
    float *x = malloc((size_t)n * (size_t)m->d * sizeof *x);
    if (!x) return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    m->n_sample = n;
    m->all = false;
    gather(m, 0, (int)n, x);
    m->n_sample = sample;
    const loci_status st = loci_basis_make(m->basis, m->s->query, m->s->n_queries, x, n, m->d, err);
    free(x);
    return st;
}

/* Coordinates count by how far they move scores. */
static void weigh(bucket_maker *m)
{
    const loci_basis b = loci_basis_view(m->basis, m->d);
    double square = 0.0;
    for (int j = 0; j < LOCI_BASIS; j++) square += (double)b.deviation[j] * (double)b.deviation[j];
    const float per = square > 0.0 ? LENGTH / (float)sqrt(square) : 0.0f;
    for (int j = 0; j < LOCI_BASIS; j++) m->weight[j] = per * b.deviation[j];
}

/* ---- means ------------------------------------------------------------------------------------------- */
/* Lowest index of the greatest of score (n) - half (n); *best is beaten only by more.  In whole numbers,
 * which compilers compare many at a time; what is beyond +-600 comes from landmarks that overflow. */
static void take_best(const float *score, const float *half, int n, int first, int32_t *best,
                      uint16_t *bucket)
{
    int32_t value[BLOCK], top = INT32_MIN;
    for (int i = 0; i < n; i++) {
        const float near = score[i] - half[i];
        const float sound = near > -600.0f && near < 600.0f ? near : -600.0f;
        value[i] = (int32_t)(sound * 0x1p21f);
        top = value[i] > top ? value[i] : top;
    }
    if (top <= *best) return;
    int at = 0;
    while (value[at] != top) at++;
    *best = top;
    *bucket = (uint16_t)(first + at);
}

static void assign_tile(void *ctx, int tile, int worker)
{
    bucket_maker *m = ctx;
    const int64_t from = (int64_t)tile * TILE, left = rows_of(m) - from;
    const int rows = left < TILE ? (int)left : TILE;
    float *z = m->scratch + (size_t)worker * loci_buckets_scratch(m->d);
    float *x = z + TILE * LOCI_BASIS, *score = x + (size_t)TILE * (size_t)m->d;
    int32_t best[TILE];
    coordinates(m, from, rows, z, x);
    for (int r = 0; r < rows; r++) best[r] = INT32_MIN;
    for (int c = 0; c < m->n; c += BLOCK) {
        const int n = m->n - c < BLOCK ? m->n - c : BLOCK;
        m->k->gemm(score, BLOCK, z, LOCI_BASIS, 0, m->mean + (size_t)c * LOCI_BASIS, LOCI_BASIS, 1,
                   rows, n, LOCI_BASIS, 0.0f);
        for (int r = 0; r < rows; r++)
            take_best(score + (size_t)r * BLOCK, m->half + c, n, c, &best[r], &m->bucket[from + r]);
    }
}

/* All rows or the sample to their nearest means. */
static void assign(bucket_maker *m, bool all)
{
    for (int b = 0; b < m->n; b++) {
        const float *mean = m->mean + (size_t)b * LOCI_BASIS;
        m->half[b] = (float)(0.5 * m->k->dot(mean, mean, LOCI_BASIS));
    }
    m->all = all;
    loci_pool_run(m->pool, (int)((rows_of(m) + TILE - 1) / TILE), assign_tile, m);
}

/* visit(m, row's bucket, its coordinates, ctx) of all that were assigned. */
typedef void row_visit(bucket_maker *m, int bucket, const float *z, void *ctx);
static void each_row(bucket_maker *m, row_visit *visit, void *ctx)
{
    float *z = m->scratch, *x = z + TILE * LOCI_BASIS;
    for (int64_t from = 0; from < rows_of(m); from += TILE) {
        const int n = rows_of(m) - from < TILE ? (int)(rows_of(m) - from) : TILE;
        coordinates(m, from, n, z, x);
        for (int r = 0; r < n; r++) visit(m, m->bucket[from + r], z + r * LOCI_BASIS, ctx);
    }
}

static void add_row(bucket_maker *m, int bucket, const float *z, void *sum)
{
    m->k->axpy((float *)sum + (size_t)bucket * LOCI_BASIS, z, 1.0f, LOCI_BASIS);
    m->count[bucket]++;
}

/* Means and counts of what each bucket got; a bucket that got nothing keeps its mean. */
static void average(bucket_maker *m, float *sum)
{
    memset(sum, 0, (size_t)m->n * LOCI_BASIS * sizeof *sum);
    memset(m->count, 0, (size_t)m->n * sizeof *m->count);
    each_row(m, add_row, sum);
    for (size_t b = 0; b < (size_t)m->n; b++)
        for (size_t j = 0; m->count[b] > 0 && j < LOCI_BASIS; j++)
            m->mean[b * LOCI_BASIS + j] = sum[b * LOCI_BASIS + j] / (float)m->count[b];
}

/* Mean b starts at row `at` of the sample. */
static void start_at(bucket_maker *m, int b, int64_t at)
{
    m->all = false;
    coordinates(m, at, 1, m->mean + (size_t)b * LOCI_BASIS, m->scratch);
}

/* k-means on the sample.  A bucket that gets nothing starts anew at a row of its own. */
static void learn(bucket_maker *m, float *sum)
{
    for (int b = 0; b < m->n; b++) start_at(m, b, b * m->n_sample / m->n);
    for (int round = 0; round < ROUNDS; round++) {
        assign(m, false);
        average(m, sum);
        for (int b = 0; b < m->n && round + 1 < ROUNDS; b++)
            if (m->count[b] == 0)
                start_at(m, b, (b * m->n_sample / m->n + round + 1) % m->n_sample);
    }
}

/* Basis, means and weights of the file that is kept. */
static void take_kept(bucket_maker *m)
{
    const float *scale, *spread;
    const loci_basis kept = loci_buckets_basis(m->s->keep);
    memcpy(m->basis, kept.landmark, loci_basis_floats(m->d) * sizeof *m->basis);
    weigh(m);
    const int8_t *mean = loci_buckets_means(m->s->keep, &scale, &spread);
    m->k->dequant_q8(m->mean, LOCI_BASIS, mean, LOCI_BASIS, scale, m->n, LOCI_BASIS);
    for (size_t i = 0; i < (size_t)m->n * LOCI_BASIS; i++) m->mean[i] *= m->weight[i % LOCI_BASIS];
    m->learned = loci_buckets_learned(m->s->keep);
}

/* ---- how far rows lie from their means -------------------------------------------------------------- */
static void add_square(bucket_maker *m, int bucket, const float *z, void *ctx)
{
    const float *mean = m->mean + (size_t)bucket * LOCI_BASIS;
    double *square = ctx, all = 0.0;
    for (int j = 0; j < LOCI_BASIS; j++) {
        const double off = (double)z[j] - (double)mean[j];
        square[j] += off * off;
        all += off * off;
    }
    m->spread[bucket] += (float)all;
}

/* Spreads, and the basis in units of what rows lie off their means; means in its coordinates. */
static void finish(bucket_maker *m)
{
    double square[LOCI_BASIS] = { 0.0 };
    const size_t d = (size_t)m->d;
    float *A = m->basis, *B = A + LOCI_BASIS * d, *origin = B + LOCI_BASIS * d;
    float *deviation = origin + LOCI_BASIS, unit = 0.0f;
    memset(m->spread, 0, (size_t)m->n * sizeof *m->spread);
    each_row(m, add_square, square);
    for (int j = 0; j < LOCI_BASIS; j++)
        if (m->weight[j] > 0.0f) unit = deviation[j] / m->weight[j];
    for (int b = 0; b < m->n; b++)
        if (m->count[b] > 0) m->spread[b] = unit * sqrtf(m->spread[b] / (float)m->count[b]);
    for (size_t j = 0; j < LOCI_BASIS; j++) {
        const double off = sqrt(square[j] / (double)m->n_rows);
        const float w = m->weight[j], t = w > 0.0f && off > 0.0 ? (float)off / w : 1.0f;
        for (size_t i = 0; i < d; i++) {
            A[j * d + i] /= t;
            B[j * d + i] *= t;
        }
        origin[j] /= t;
        deviation[j] *= t;
        for (size_t b = 0; b < (size_t)m->n; b++)
            m->mean[b * LOCI_BASIS + j] = w > 0.0f ? m->mean[b * LOCI_BASIS + j] / (w * t) : 0.0f;
    }
}

/* Rows by bucket, within one in their old order, which is that of chunks. */
static loci_status put_in_order(bucket_maker *m, loci_error *err)
{
    int64_t *at = malloc(((size_t)m->n + 1) * sizeof *at);
    if (!at) return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    at[0] = 0;
    for (int b = 0; b < m->n; b++) at[b + 1] = at[b] + m->count[b];
    for (int64_t i = 0; i < m->n_rows; i++) m->order[at[m->bucket[i]]++] = (uint32_t)i;
    free(at);
    return LOCI_OK;
}

loci_status loci_buckets_learn(bucket_maker *m, loci_error *err)
{
    float *sum = malloc((size_t)m->n * LOCI_BASIS * sizeof *sum);
    if (!sum) return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    loci_status st = LOCI_OK;
    m->learned = m->n_rows;
    if (m->s->keep) {
        take_kept(m);
    } else {
        st = make_basis(m, err);
        weigh(m);
        if (st == LOCI_OK) learn(m, sum);
    }
    if (st == LOCI_OK) {
        assign(m, true);
        average(m, sum);
        finish(m);
        st = put_in_order(m, err);
    }
    free(sum);
    return st;
}
