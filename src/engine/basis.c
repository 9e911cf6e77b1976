/* basis.c - Cholesky, and the first eigenvectors by orthogonal iteration: 128 numbers square, once for a
 * million tokens or more, so plain loops in double precision will do. */
#include "engine/basis.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 40,
    RIDGE = 4 /* of U's mean diagonal as much is added to it: some hundred queries leave directions
                  out that others will have.  Seen: 1 to 64 alike, 4 kinder to
                  queries of another kind */
};

loci_basis loci_basis_view(const float *data, int d)
{
    const size_t n = LOCI_BASIS * (size_t)d;
    const float *origin = data + 2 * n;
    return (loci_basis){ d, data, data + n, origin, origin + LOCI_BASIS, origin + 2 * LOCI_BASIS };
}

/* ---- moments ------------------------------------------------------------------------------------- */
/* m (d, d) = mean of x x^T over rows x (n, d), less `centre` times itself; centre NULL: zeros. */
static void moment(double *m, const float *x, int64_t n, const double *centre, int d)
{
    const size_t cols = (size_t)d;
    memset(m, 0, cols * cols * sizeof *m);
    for (int64_t r = 0; r < n; r++) {
        const float *row = x + (size_t)r * cols;
        for (size_t i = 0; i < cols; i++)
            for (size_t j = 0; j <= i; j++) m[i * cols + j] += (double)row[i] * (double)row[j];
    }
    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j <= i; j++) {
            m[i * cols + j] /= (double)n;
            if (centre) m[i * cols + j] -= centre[i] * centre[j];
            m[j * cols + i] = m[i * cols + j];
        }
}

static void mean_of(double *m, const float *x, int64_t n, int d)
{
    memset(m, 0, (size_t)d * sizeof *m);
    for (int64_t r = 0; r < n; r++)
        for (int j = 0; j < d; j++) m[j] += (double)x[r * d + j] / (double)n;
}

/* ---- Cholesky ------------------------------------------------------------------------------------ */
/* m = G G^T, in place: G below and on the diagonal, zeros above.  A ridge keeps m positive. */
static void factor(double *m, int d)
{
    double trace = 0.0;
    for (int i = 0; i < d; i++) trace += m[i * d + i];
    const double ridge = trace > 0.0 ? trace / d / RIDGE : 1.0;
    for (int i = 0; i < d; i++) m[i * d + i] += ridge;
    for (int j = 0; j < d; j++) {
        for (int i = 0; i < d; i++) {
            double sum = m[i * d + j];
            for (int k = 0; k < j && i >= j; k++) sum -= m[i * d + k] * m[j * d + k];
            if (i == j) m[j * d + j] = sqrt(sum > 0.0 ? sum : ridge);
            if (i > j) m[i * d + j] = sum / m[j * d + j];
        }
        for (int i = 0; i < j; i++) m[i * d + j] = 0.0;
    }
}

/* y = G x. */
static void times_factor(double *y, const double *G, const double *x, int d)
{
    for (int i = 0; i < d; i++) {
        y[i] = 0.0;
        for (int k = 0; k <= i; k++) y[i] += G[i * d + k] * x[k];
    }
}

/* y with G^T y = x. */
static void solve_transposed(double *y, const double *G, const double *x, int d)
{
    for (int i = d - 1; i >= 0; i--) {
        double sum = x[i];
        for (int k = i + 1; k < d; k++) sum -= G[k * d + i] * y[k];
        y[i] = sum / G[i * d + i];
    }
}

/* c = a b, all (d, d), ta: a transposed. */
static void multiply(double *c, const double *a, int ta, const double *b, int d)
{
    memset(c, 0, (size_t)d * (size_t)d * sizeof *c);
    for (int i = 0; i < d; i++)
        for (int k = 0; k < d; k++) {
            const double x = ta ? a[k * d + i] : a[i * d + k];
            for (int j = 0; j < d; j++) c[i * d + j] += x * b[k * d + j];
        }
}

/* ---- eigenvectors -------------------------------------------------------------------------------- */
static double inner(const double *a, const double *b, int d)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++) sum += a[i] * b[i];
    return sum;
}

/* Rows v (n, d) orthogonal to those before them and of length 1, or zeros where nothing is left. */
static void orthogonal(double *v, int n, int d)
{
    for (int i = 0; i < n; i++) {
        double *x = v + i * d;
        const double before = sqrt(inner(x, x, d));
        for (int twice = 0; twice < 2; twice++)
            for (int j = 0; j < i; j++) {
                const double p = inner(x, v + j * d, d);
                for (int k = 0; k < d; k++) x[k] -= p * v[j * d + k];
            }
        const double left = sqrt(inner(x, x, d));
        const double per = left > 1e-9 * before && left > 0.0 ? 1.0 / left : 0.0;
        for (int k = 0; k < d; k++) x[k] *= per;
    }
}

/* The first n eigenvectors of the symmetric m (d, d) as rows of v; next (n, d) is scratch. */
static void eigenvectors(double *v, double *next, const double *m, int n, int d)
{
    loci_rng rng;
    loci_rng_seed(&rng, 1);
    for (int i = 0; i < n * d; i++) v[i] = (double)loci_rng_unit(&rng) - 0.5;
    for (int round = 0; round < ROUNDS; round++) {
        orthogonal(v, n, d);
        for (int i = 0; i < n; i++)
            for (int k = 0; k < d; k++) next[i * d + k] = inner(m + k * d, v + i * d, d);
        memcpy(v, next, (size_t)n * (size_t)d * sizeof *v);
    }
    orthogonal(v, n, d);
}

/* ---- the basis ----------------------------------------------------------------------------------- */
typedef struct { /* (d, d) each, and rows of d */
    double *G, *L, *K, *v, *next, *mean, *row;
    int d;
} workings;

static double *row_of(double *m, int i, int d)
{
    return m + (size_t)i * (size_t)d;
}

/* Coordinate j, whose eigenvector is v_j (zeros: none); K = G^T L G. */
static void put_coordinate(float *data, workings *w, int j)
{
    const int d = w->d;
    const double *v = row_of(w->v, j, d);
    float *A = data + (size_t)j * (size_t)d, *B = A + LOCI_BASIS * (size_t)d;
    float *origin = data + 2 * LOCI_BASIS * (size_t)d + j, *deviation = origin + LOCI_BASIS;
    double value = 0.0, at = 0.0;
    for (int i = 0; i < d; i++) value += v[i] * inner(row_of(w->K, i, d), v, d);
    const double s = value > 1e-12 ? sqrt(value) : 0.0;
    times_factor(w->row, w->G, v, d);
    for (int i = 0; i < d; i++) {
        A[i] = s > 0.0 ? (float)(w->row[i] / s) : 0.0f;
        at += (double)A[i] * w->mean[i];
    }
    solve_transposed(w->row, w->G, v, d);
    for (int i = 0; i < d; i++) B[i] = (float)(w->row[i] * s);
    *origin = (float)at;
    *deviation = (float)s;
}

loci_status loci_basis_make(float *data, const float *u, int64_t n_u, const float *l, int64_t n_l,
                            int d, loci_error *err)
{
    const size_t square = (size_t)d * (size_t)d;
    const int n = d < LOCI_BASIS ? d : LOCI_BASIS;
    double *all = calloc(5 * square + 2 * (size_t)d, sizeof *all);
    if (!all) return loci_fail(err, LOCI_ENOMEM, "no memory for a basis of width %d", d);
    workings w = { all,
                   all + square,
                   all + 2 * square,
                   all + 3 * square,
                   all + 4 * square,
                   all + 5 * square,
                   all + 5 * square + d,
                   d };
    moment(w.G, u, n_u, NULL, d);
    factor(w.G, d);
    mean_of(w.mean, l, n_l, d);
    moment(w.L, l, n_l, w.mean, d);
    multiply(w.next, w.L, 0, w.G, d);
    multiply(w.K, w.G, 1, w.next, d);
    eigenvectors(w.v, w.next, w.K, n, d);
    memset(data, 0, loci_basis_floats(d) * sizeof *data);
    for (int j = 0; j < n; j++) put_coordinate(data, &w, j);
    float *mean = data + loci_basis_floats(d) - d;
    for (int j = 0; j < d; j++) mean[j] = (float)w.mean[j];
    free(all);
    return LOCI_OK;
}

/* ---- use ------------------------------------------------------------------------------------------ */
void loci_basis_turn(const loci_basis *b, const loci_kernels *k, float *z, const float *x, int rows)
{
    k->gemm(z, LOCI_BASIS, x, b->d, 0, b->landmark, b->d, 1, rows, LOCI_BASIS, b->d, 0.0f);
    for (int r = 0; r < rows; r++)
        k->axpy(z + (size_t)r * LOCI_BASIS, b->origin, -1.0f, LOCI_BASIS);
}

void loci_basis_coordinates(const loci_basis *b, const loci_kernels *k, float *z, const int8_t *x,
                            const float *scale, int rows, float *scratch)
{
    k->dequant_q8(scratch, b->d, x, b->d, scale, rows, b->d);
    loci_basis_turn(b, k, z, scratch, rows);
}

float loci_basis_query(const loci_basis *b, const loci_kernels *k, float *q, const float *u)
{
    k->gemv(q, b->query, b->d, u, LOCI_BASIS, b->d);
    return (float)k->dot(u, b->mean, (size_t)b->d);
}
