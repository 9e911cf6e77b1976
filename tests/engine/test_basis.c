/* Goal: a basis of 64 coordinates says all of <u, l - m> that so many can say, for the queries u and landmarks
 * l that it is made of, its numbers are what basis.h says they are, and every instruction set finds them.
 *
 * Method: data of known spectra.  What is left out, over all pairs, is compared with eigenvalues found
 * another way: Jacobi's rotations of the square roots of moments, no Cholesky and no iteration of a
 * subspace.  Coordinates are compared with plain loops in double precision; input that spans little or
 * nothing gives finite numbers. */
#include "bank_test.h"
#include "engine/basis.h"

enum { N = LOCI_BASIS, RIDGE = 4 /* basis.c: a quarter of U's mean diagonal is added to it */ };
static const char *const isa_names[] = { "ref", "avx2", "avx512" };

static double *room(size_t n)
{
    double *x = calloc(n, sizeof *x);
    assert_non_null(x);
    return x;
}

static double dot_of(const double *a, const double *b, int d)
{
    double sum = 0.0;
    for (int i = 0; i < d; i++) sum += a[i] * b[i];
    return sum;
}

/* ---- data --------------------------------------------------------------------------------------------- */
/* Rows v (d, d) of length 1, orthogonal to one another. */
static double *rotation(loci_rng *r, int d)
{
    double *v = room((size_t)d * d);
    for (int i = 0; i < d; i++) {
        double *x = v + i * d;
        for (int j = 0; j < d; j++) x[j] = loci_rng_normal(r);
        for (int twice = 0; twice < 2; twice++)
            for (int b = 0; b < i; b++) {
                const double p = dot_of(x, v + b * d, d);
                for (int j = 0; j < d; j++) x[j] -= p * v[b * d + j];
            }
        const double length = sqrt(dot_of(x, x, d));
        for (int j = 0; j < d; j++) x[j] /= length;
    }
    return v;
}

/* x (n, d): `rank` directions of v, number k with deviation first ratio^k, about a point that is `away`. */
static float *draw(loci_rng *r, int n, int d, const double *v, int rank, double first, double ratio,
                   double away)
{
    float *x = malloc((size_t)n * d * sizeof *x);
    double *row = room(d);
    assert_non_null(x);
    for (int i = 0; i < n; i++) {
        memset(row, 0, (size_t)d * sizeof *row);
        for (int k = 0; k < rank; k++) {
            const double a = first * pow(ratio, k) * loci_rng_normal(r) + (k == 0 ? away : 0.0);
            for (int j = 0; j < d; j++) row[j] += a * v[k * d + j];
        }
        for (int j = 0; j < d; j++) x[i * d + j] = (float)row[j];
    }
    free(row);
    return x;
}

typedef struct {
    int d, n_u, n_l;
    float *u, *l; /* (n_u, d), (n_l, d) */
    float *data;  /* the basis of them */
    loci_basis b;
    double *mean;  /* (d) of l */
    double *U, *L; /* (d, d) with the ridge; about the mean */
    double ridge;
} sample;

static double *moment_of(const float *x, int n, const double *mean, int d)
{
    double *m = room((size_t)d * d), *c = room(d);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < d; j++) c[j] = x[i * d + j] - (mean ? mean[j] : 0.0);
        for (int a = 0; a < d; a++)
            for (int b = 0; b < d; b++) m[a * d + b] += c[a] * c[b] / n;
    }
    free(c);
    return m;
}

/* Takes u and l. */
static sample sample_of(float *u, int n_u, float *l, int n_l, int d)
{
    loci_error err;
    sample s = { d, n_u, n_l, u, l, malloc(loci_basis_floats(d) * sizeof(float)), .mean = room(d) };
    assert_non_null(s.data);
    memset(s.data, 0xff, loci_basis_floats(d) * sizeof(float)); /* not numbers */
    OK(loci_basis_make(s.data, u, n_u, l, n_l, d, &err));
    s.b = loci_basis_view(s.data, d);
    for (int i = 0; i < n_l; i++)
        for (int j = 0; j < d; j++) s.mean[j] += (double)l[i * d + j] / n_l;
    s.U = moment_of(u, n_u, NULL, d);
    s.L = moment_of(l, n_l, s.mean, d);
    for (int j = 0; j < d; j++) s.ridge += s.U[j * d + j] / d / RIDGE;
    if (s.ridge == 0.0) s.ridge = 1.0; /* no query says anything: all directions alike */
    for (int j = 0; j < d; j++) s.U[j * d + j] += s.ridge;
    for (size_t i = 0; i < loci_basis_floats(d); i++) assert_true(isfinite(s.data[i]));
    return s;
}

static void sample_free(sample *s)
{
    free(s->u);
    free(s->l);
    free(s->data);
    free(s->mean);
    free(s->U);
    free(s->L);
}

/* Landmarks about a mean that is far off, queries that ask most about where landmarks differ least. */
static sample opposed(uint64_t seed, int d, double ratio_u, double ratio_l)
{
    loci_rng r;
    loci_rng_seed(&r, seed);
    double *v = rotation(&r, d), *back = room((size_t)d * d);
    for (int k = 0; k < d; k++) memcpy(back + k * d, v + (d - 1 - k) * d, (size_t)d * sizeof *back);
    float *u = draw(&r, 300, d, back, d, 1.0, ratio_u, 0.0);
    float *l = draw(&r, 700, d, v, d, 1.0, ratio_l, 3.0);
    free(v);
    free(back);
    return sample_of(u, 300, l, 700, d);
}

/* z (N) of l, q (N) of u, plainly; returns <u, m>. */
static void coordinates_of(const sample *s, const float *l, double *z)
{
    for (int j = 0; j < N; j++) {
        z[j] = -(double)s->b.origin[j];
        for (int i = 0; i < s->d; i++) z[j] += (double)s->b.landmark[j * s->d + i] * l[i];
    }
}

static double query_of(const sample *s, const float *u, double *q)
{
    double about = 0.0;
    for (int j = 0; j < N; j++) {
        q[j] = 0.0;
        for (int i = 0; i < s->d; i++) q[j] += (double)s->b.query[j * s->d + i] * u[i];
    }
    for (int i = 0; i < s->d; i++) about += s->mean[i] * (double)u[i];
    return about;
}

/* ---- eigenvalues by another way -------------------------------------------------------------------------- */
/* Turn rows and columns p and q of m so that m[p][q] is 0, and rows p and q of v. */
static void turn(double *m, double *v, int p, int q, int d)
{
    const double off = m[p * d + q];
    if (off == 0.0) return;
    const double theta = (m[q * d + q] - m[p * d + p]) / (2 * off);
    const double t = (theta < 0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1));
    const double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int i = 0; i < d; i++) {
        const double a = m[i * d + p], b = m[i * d + q];
        m[i * d + p] = c * a - s * b;
        m[i * d + q] = s * a + c * b;
    }
    for (int i = 0; i < d; i++) {
        const double a = m[p * d + i], b = m[q * d + i], x = v[p * d + i], y = v[q * d + i];
        m[p * d + i] = c * a - s * b;
        m[q * d + i] = s * a + c * b;
        v[p * d + i] = c * x - s * y;
        v[q * d + i] = s * x + c * y;
    }
}

/* m becomes diagonal; rows of v its eigenvectors. */
static void jacobi(double *m, double *v, int d)
{
    for (int i = 0; i < d * d; i++) v[i] = i % (d + 1) == 0;
    for (int sweep = 0; sweep < 12; sweep++)
        for (int p = 0; p < d; p++)
            for (int q = p + 1; q < d; q++) turn(m, v, p, q, d);
}

static int greater_first(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Eigenvalues, the greatest first, of L^(1/2) U L^(1/2): those of G^T L G, U = G G^T. */
static double *values_of(const sample *s)
{
    const int d = s->d;
    const size_t square = (size_t)d * d;
    double *m = room(square), *v = room(square), *root = room(square), *value = room(d);
    memcpy(m, s->L, square * sizeof *m);
    jacobi(m, v, d);
    for (int k = 0; k < d; k++)
        for (int a = 0; a < d; a++)
            for (int b = 0; b < d; b++)
                root[a * d + b] += sqrt(fmax(0.0, m[k * d + k])) * v[k * d + a] * v[k * d + b];
    for (int a = 0; a < d; a++) /* v = U root */
        for (int b = 0; b < d; b++) v[a * d + b] = dot_of(s->U + a * d, root + b * d, d);
    for (int a = 0; a < d; a++)
        for (int b = 0; b < d; b++) {
            m[a * d + b] = 0.0;
            for (int k = 0; k < d; k++) m[a * d + b] += root[a * d + k] * v[k * d + b];
        }
    jacobi(m, v, d);
    for (int k = 0; k < d; k++) value[k] = m[k * d + k];
    qsort(value, (size_t)d, sizeof *value, greater_first);
    free(m);
    free(v);
    free(root);
    return value;
}

static double tail_of(const double *value, int d)
{
    double sum = 0.0;
    for (int k = N; k < d; k++) sum += value[k];
    return sum;
}

/* Mean over landmarks of e^T U e, e (n_l, d): what of each is left out of the coordinates.  Over all
 * pairs this is the mean square of <u, e>, and what the ridge's queries add. */
static double left_out(const sample *s, const double *e)
{
    double sum = 0.0;
    for (int i = 0; i < s->n_l; i++)
        for (int a = 0; a < s->d; a++)
            sum += e[i * s->d + a] * dot_of(s->U + a * s->d, e + i * s->d, s->d) / s->n_l;
    return sum;
}

/* e of the basis, plainly: l - m less what its coordinates say. */
static double *left_by_basis(const sample *s)
{
    double *e = room((size_t)s->n_l * s->d), z[N];
    for (int i = 0; i < s->n_l; i++) {
        coordinates_of(s, s->l + i * s->d, z);
        for (int a = 0; a < s->d; a++) {
            double *x = &e[i * s->d + a];
            *x = (double)s->l[i * s->d + a] - s->mean[a];
            for (int j = 0; j < N; j++) *x -= z[j] * (double)s->b.query[j * s->d + a];
        }
    }
    return e;
}

/* e of as many principal components of the landmarks. */
static double *left_by_components(const sample *s)
{
    const int d = s->d;
    double *e = room((size_t)s->n_l * d), *m = room((size_t)d * d), *v = room((size_t)d * d);
    memcpy(m, s->L, (size_t)d * d * sizeof *m);
    jacobi(m, v, d);
    for (int i = 0; i < s->n_l; i++)
        for (int a = 0; a < d; a++) e[i * d + a] = (double)s->l[i * d + a] - s->mean[a];
    for (int k = 0; k < d; k++) {
        int before = 0;
        for (int o = 0; o < d; o++) before += m[o * d + o] > m[k * d + k];
        if (before >= N) continue;
        for (int i = 0; i < s->n_l; i++) {
            const double p = dot_of(e + i * d, v + k * d, d);
            for (int a = 0; a < d; a++) e[i * d + a] -= p * v[k * d + a];
        }
    }
    free(m);
    free(v);
    return e;
}

static void check_left_out(uint64_t seed, double ratio_u, double ratio_l)
{
    sample s = opposed(seed, 128, ratio_u, ratio_l);
    double *value = values_of(&s), *mine = left_by_basis(&s), *theirs = left_by_components(&s);
    const double least = tail_of(value, 128), here = left_out(&s, mine);
    const double components = left_out(&s, theirs);
    double all = 0.0, told = 0.0;
    for (int k = 0; k < 128; k++) all += value[k];
    print_message("of %.4g left out %.5g, at least %.5g; by components of landmarks %.5g\n", all,
                  here, least, components);
    /* Values near the 64th are told apart slowly: what is exchanged costs their difference. */
    assert_true(here > 0.999 * least && here < 1.02 * least);
    assert_true(least < 0.5 * all && components > 1.02 * least);
    for (int j = 0; j < N; j++) told += (double)s.b.deviation[j] * (double)s.b.deviation[j];
    assert_true(fabs(told + here - all) < 1e-4 * all);
    free(value);
    free(mine);
    free(theirs);
    sample_free(&s);
}

static void test_least_is_left_out(void **state)
{
    (void)state;
    check_left_out(SEED, 0.95, 0.97);
    check_left_out(SEED + 1, 0.93, 0.97);
}

/* Where eigenvalues are well apart each coordinate has its own, and deviations fall. */
static void test_one_by_one(void **state)
{
    (void)state;
    sample s = opposed(SEED + 2, 128, 0.999, 0.9);
    double *value = values_of(&s);
    for (int j = 0; j < N; j++) {
        const double got = (double)s.b.deviation[j] * (double)s.b.deviation[j];
        if (fabs(got - value[j]) > 1e-2 * value[j])
            fail_msg("coordinate %d: %.6g, eigenvalue %.6g", j, got, value[j]);
        assert_true(j == 0 || s.b.deviation[j] < s.b.deviation[j - 1]);
    }
    free(value);
    sample_free(&s);
}

/* ---- nothing left out --------------------------------------------------------------------------------------- */
/* <u, l - m> of all pairs where landmarks span no more than there are coordinates. */
static void check_all_there(uint64_t seed, int d, int rank)
{
    loci_rng r;
    loci_rng_seed(&r, seed);
    double *v = rotation(&r, d), z[N], q[N], square = 0.0, worst = 0.0;
    float *u = draw(&r, 50, d, v, d, 1.0, 0.99, 0.0);
    sample s = sample_of(u, 50, draw(&r, 150, d, v, rank, 1.0, 0.97, 2.0), 150, d);
    for (int i = 0; i < s.n_l; i++) {
        coordinates_of(&s, s.l + i * d, z);
        for (int k = 0; k < s.n_u; k++) {
            double want = 0.0, got = 0.0;
            query_of(&s, s.u + k * d, q);
            for (int j = 0; j < N; j++) got += q[j] * z[j];
            for (int a = 0; a < d; a++)
                want += (double)s.u[k * d + a] * ((double)s.l[i * d + a] - s.mean[a]);
            square += want * want / s.n_l / s.n_u;
            worst = fmax(worst, fabs(got - want));
        }
    }
    if (worst > 1e-4 * sqrt(square))
        fail_msg("width %d, rank %d: off by %g of %g", d, rank, worst, sqrt(square));
    free(v);
    sample_free(&s);
}

static void test_nothing_is_left_out(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 1, 1 },   { 2, 2 },    { 48, 48 },  { 63, 63 },
                                    { 64, 64 }, { 128, 40 }, { 128, 64 }, { 200, 17 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_all_there(SEED + 10 + i, sizes[i][0], sizes[i][1]);
}

/* ---- what the numbers are --------------------------------------------------------------------------------------- */
/* Coordinates of the landmarks have mean 0 and deviation 1; q_j^2 is s_j^2 on average over the queries and those
 * that the ridge stands for. */
static void test_units(void **state)
{
    (void)state;
    sample s = opposed(SEED + 20, 128, 0.95, 0.97);
    double mean[N] = { 0 }, square[N] = { 0 }, asked[N] = { 0 }, z[N], q[N];
    for (int i = 0; i < s.n_l; i++) {
        coordinates_of(&s, s.l + i * s.d, z);
        for (int j = 0; j < N; j++) {
            mean[j] += z[j] / s.n_l;
            square[j] += z[j] * z[j] / s.n_l;
        }
    }
    for (int i = 0; i < s.n_u; i++) {
        query_of(&s, s.u + i * s.d, q);
        for (int j = 0; j < N; j++) asked[j] += q[j] * q[j] / s.n_u;
    }
    for (int j = 0; j < N; j++) {
        const float *B = s.b.query + j * s.d;
        const double deviation = s.b.deviation[j];
        for (int a = 0; a < s.d; a++) asked[j] += s.ridge * (double)B[a] * (double)B[a];
        /* A and B are rounded once, to 2^-24 of themselves: far less than this. */
        assert_true(fabs(mean[j]) < 1e-4 && fabs(square[j] - 1) < 1e-4);
        assert_true(deviation > 0 && fabs(asked[j] / (deviation * deviation) - 1) < 1e-4);
    }
    sample_free(&s);
}

/* ---- input that spans little ------------------------------------------------------------------------------------- */
static float *same_rows(const float *row, int n, int d)
{
    float *x = malloc((size_t)n * d * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < n; i++) memcpy(x + i * d, row, (size_t)d * sizeof *x);
    return x;
}

static void test_little_input(void **state)
{
    (void)state;
    enum { D = 128 };
    loci_rng r;
    loci_rng_seed(&r, SEED + 30);
    double *v = rotation(&r, D), z[N], all = 0.0, told = 0.0;
    float *one = draw(&r, 1, D, v, D, 1.0, 0.97, 2.0);
    /* Landmarks that are all the same: nothing to tell, and coordinates say so. */
    sample s = sample_of(draw(&r, 20, D, v, D, 1.0, 0.97, 0.0), 20, same_rows(one, 100, D), 100, D);
    for (int j = 0; j < N; j++) assert_true(s.b.deviation[j] == 0.0f);
    coordinates_of(&s, one, z);
    for (int j = 0; j < N; j++) assert_true(z[j] == 0.0);
    sample_free(&s);
    /* One landmark, one query. */
    s = sample_of(draw(&r, 1, D, v, D, 1.0, 0.97, 0.0), 1, same_rows(one, 1, D), 1, D);
    sample_free(&s);
    /* One query: the first coordinate is what it asks about, and says all of it but a little. */
    s = sample_of(draw(&r, 1, D, v, D, 1.0, 0.97, 0.0), 1, draw(&r, 500, D, v, D, 1.0, 0.97, 2.0),
                  500, D);
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++)
            all += (double)s.u[a] * s.L[a * D + b] * (double)s.u[b]; /* of <u, l - m> */
    for (int a = 0; a < D; a++) told += (double)s.b.query[a] * (double)s.u[a];
    assert_true(told * told > 0.95 * all && told * told < 1.001 * all);
    sample_free(&s);
    /* Queries of zeros: components of the landmarks alone. */
    float *zeros = calloc(3 * D, sizeof *zeros);
    assert_non_null(zeros);
    s = sample_of(zeros, 3, draw(&r, 500, D, v, D, 1.0, 0.93, 2.0), 500, D);
    double *value = values_of(&s), *e = left_by_components(&s), *mine = left_by_basis(&s);
    assert_true(left_out(&s, mine) < 1.02 * left_out(&s, e));
    assert_true(fabs(left_out(&s, e) / tail_of(value, D) - 1) < 1e-6);
    free(value);
    free(e);
    free(mine);
    sample_free(&s);
    free(one);
    /* Fewer landmarks than coordinates. */
    s = sample_of(draw(&r, 40, D, v, D, 1.0, 0.97, 0.0), 40, draw(&r, 10, D, v, D, 1.0, 0.97, 2.0),
                  10, D);
    for (int j = 9; j < N; j++) assert_true(s.b.deviation[j] < 1e-4f * s.b.deviation[0]);
    mine = left_by_basis(&s);
    assert_true(left_out(&s, mine) < 1e-8 * (double)s.b.deviation[0] * (double)s.b.deviation[0]);
    free(mine);
    sample_free(&s);
    free(v);
}

static void test_same_bits(void **state)
{
    (void)state;
    sample s = opposed(SEED + 40, 128, 0.95, 0.97), again = opposed(SEED + 40, 128, 0.95, 0.97);
    assert_memory_equal(s.data, again.data, loci_basis_floats(128) * sizeof(float));
    sample_free(&s);
    sample_free(&again);
}

/* ---- use ------------------------------------------------------------------------------------------------------------ */
/* Rows of landmarks as they are stored, each bound derived: one rounding of a number, those of d products
 * and their sum, one for the origin.  As many rows in another order give the same bits. */
static void check_rows(const loci_kernels *k, const sample *s, loci_rng *r, int rows)
{
    const int d = s->d;
    int8_t *x = malloc((size_t)2 * rows * d);
    float *scale = malloc((size_t)2 * rows * sizeof *scale);
    float *scratch = malloc((size_t)rows * d * sizeof *scratch);
    float *z = malloc((size_t)2 * rows * N * sizeof *z), *back = z + rows * N;
    assert_true(x && scale && scratch && z);
    for (int i = 0; i < rows * d; i++) x[i] = (int8_t)((int)loci_rng_below(r, 255) - 127);
    for (int i = 0; i < rows; i++) scale[i] = i % 5 == 3 ? 0.0f : 0.002f * (float)(1 + i % 7);
    for (int i = 0; i < rows; i++) {
        memcpy(x + (rows + i) * d, x + (rows - 1 - i) * d, (size_t)d);
        scale[rows + i] = scale[rows - 1 - i];
    }
    loci_basis_coordinates(&s->b, k, z, x, scale, rows, scratch);
    loci_basis_coordinates(&s->b, k, back, x + rows * d, scale + rows, rows, scratch);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < N; j++) {
            double want = 0.0, size = 0.0;
            for (int a = 0; a < d; a++) {
                const double p = (double)s->b.landmark[j * d + a] * x[i * d + a] * (double)scale[i];
                want += p;
                size += fabs(p);
            }
            const double origin = s->b.origin[j];
            const double bound = (d + 3) * 0x1p-23 * size + 0x1p-23 * fabs(origin);
            if (!(fabs((double)z[i * N + j] - (want - origin)) <= bound))
                fail_msg("width %d, row %d of %d, coordinate %d: %.9g, not %.9g", d, i, rows, j,
                         (double)z[i * N + j], want - origin);
        }
        assert_memory_equal(z + i * N, back + (rows - 1 - i) * N, N * sizeof *z);
    }
    free(x);
    free(scale);
    free(scratch);
    free(z);
}

static void check_query(const loci_kernels *k, const sample *s, const float *u)
{
    const int d = s->d;
    double want[N], slack = 0.0;
    float q[N];
    const float about = loci_basis_query(&s->b, k, q, u);
    const double mean = query_of(s, u, want);
    for (int j = 0; j < N; j++) {
        double size = 0.0;
        for (int a = 0; a < d; a++) size += fabs((double)s->b.query[j * d + a] * (double)u[a]);
        assert_true(fabs((double)q[j] - want[j]) <= (d + 1) * 0x1p-23 * size);
    }
    for (int a = 0; a < d; a++) slack += (d + 2) * 0x1p-23 * fabs((double)u[a] * s->mean[a]);
    assert_true(fabs((double)about - mean) <= slack);
}

static void test_every_kernel(void **state)
{
    (void)state;
    static const int widths[] = { 1, 48, 64, 100, 128 };
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        sample s = opposed(SEED + 50 + w, widths[w], 0.95, 0.97);
        for (size_t isa = 0; isa < sizeof isa_names / sizeof *isa_names; isa++) {
            loci_error err = { 0 };
            loci_kernels k;
            loci_rng r;
            unsigned flags;
            if (loci_cpu_limit(isa_names[isa], loci_cpu_detect(), &flags, &err) != LOCI_OK)
                continue;
            loci_kernels_init(&k, flags);
            loci_rng_seed(&r, SEED + 60 + isa);
            for (int rows = 1; rows <= 65; rows++) check_rows(&k, &s, &r, rows);
            for (int i = 0; i < 20; i++) check_query(&k, &s, s.u + i * s.d);
        }
        sample_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_is_left_out),   cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_nothing_is_left_out), cmocka_unit_test(test_units),
        cmocka_unit_test(test_little_input),        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_every_kernel),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
