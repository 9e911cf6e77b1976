/* test_kernel_grad.c - backward kernels are derivatives of the forward ones.
 *
 * Goal: catch an equation that is wrong the same way in the reference and in its check.  Method:
 * central differences of loss = sum weight[i] y[i] through the forward reference, against the
 * backward of each instruction set that runs here.  With h = 2^-7 and values around 1 the
 * differences carry h^2/6 of a third derivative (1e-5 of it) and 2^-24/h of rounding (8e-6 a sum
 * term), so 1e-3 (1 + |want|) leaves room and a missing term of any size does not pass. */
#include "kernel_test.h"

static const unsigned levels[] = { 0, LOCI_CPU_AVX2, ~0u };

typedef double loss_fn(const void *ctx);

/* dx[i] is the derivative of loss by x[i], for all i of n. */
static void differences(const char *what, float *x, const float *dx, int n, loss_fn *loss,
                        const void *ctx)
{
    const float h = 0x1p-7f;
    for (int i = 0; i < n; i++) {
        const float keep = x[i];
        x[i] = keep + h;
        const double up = loss(ctx);
        x[i] = keep - h;
        const double down = loss(ctx);
        x[i] = keep;
        const double want = (up - down) / (2.0 * (double)h);
        near(dx[i], want, 1e-3 * (1.0 + fabs(want)), what, i, n);
    }
}

static void fill(loci_rng *rng, float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = value(rng, NORMAL);
}

static double weighted(const float *weight, const float *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)weight[i] * y[i];
    return sum;
}

/* Run body once a level with k chosen and rng seeded. */
#define EACH_LEVEL(k, rng)                                                                         \
    loci_kernels k;                                                                                \
    loci_rng rng;                                                                                  \
    loci_rng_seed(&rng, SEED + 100);                                                               \
    for (int i_level = 0; i_level < COUNT(levels) &&                                               \
                          (loci_kernels_init(&k, levels[i_level] & loci_cpu_detect()), true);      \
         i_level++)

/* ---- rows ------------------------------------------------------------------------------- */

enum { ROWS = 3, N = 21 };

typedef struct {
    float x[ROWS * 2 * N], y[ROWS * N], weight[ROWS * N];
} rows;

static double rmsnorm_loss(const void *ctx)
{
    const rows *r = ctx;
    float y[ROWS * N];
    loci_rmsnorm_ref(y, N, NULL, r->x, N, ROWS, N, 1e-3f);
    return weighted(r->weight, y, ROWS * N);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        rows r;
        float inv[ROWS], dx[ROWS * N] = { 0 };
        fill(&rng, r.x, ROWS * N);
        fill(&rng, r.weight, ROWS * N);
        loci_rmsnorm_ref(r.y, N, inv, r.x, N, ROWS, N, 1e-3f);
        k.rmsnorm_bwd(dx, N, r.weight, N, r.y, N, inv, ROWS, N);
        differences("rmsnorm", r.x, dx, ROWS * N, rmsnorm_loss, &r);
    }
}

static double swiglu_loss(const void *ctx)
{
    const rows *r = ctx;
    float y[ROWS * N];
    loci_swiglu_ref(y, N, r->x, 2 * N, ROWS, N);
    return weighted(r->weight, y, ROWS * N);
}

static void test_swiglu(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        rows r;
        float dx[ROWS * 2 * N];
        fill(&rng, r.x, ROWS * 2 * N);
        fill(&rng, r.weight, ROWS * N);
        for (int i = 0; i < ROWS * 2 * N; i++) r.x[i] *= 4.0f;
        k.swiglu_bwd(dx, 2 * N, r.weight, N, r.x, 2 * N, ROWS, N);
        differences("swiglu", r.x, dx, ROWS * 2 * N, swiglu_loss, &r);
    }
}

static double silu_loss(const void *ctx)
{
    const rows *r = ctx;
    float y[ROWS * N];
    loci_silu_ref(y, r->x, ROWS * N);
    return weighted(r->weight, y, ROWS * N);
}

static void test_silu(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        rows r;
        float dx[ROWS * N];
        fill(&rng, r.x, ROWS * N);
        fill(&rng, r.weight, ROWS * N);
        for (int i = 0; i < ROWS * N; i++) r.x[i] *= 6.0f;
        k.silu_bwd(dx, r.weight, r.x, ROWS * N);
        differences("silu", r.x, dx, ROWS * N, silu_loss, &r);
    }
}

/* loss = sum over rows of weight (cross-entropy + z lse^2); row 1 has no target. */
static const int32_t targets[ROWS] = { 4, -1, 20 };
static const float loss_z = 0.05f;

static double cross_entropy_loss(const void *ctx)
{
    const rows *r = ctx;
    double sum = 0;
    for (int i = 0; i < ROWS; i++) {
        double total = 0;
        if (targets[i] < 0) continue;
        for (int c = 0; c < N; c++) total += exp((double)r->x[i * N + c]);
        const double lse = log(total);
        sum += (double)r->weight[i] *
               (lse - (double)r->x[i * N + targets[i]] + (double)loss_z * lse * lse);
    }
    return sum;
}

static void test_cross_entropy(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        rows r;
        float loss[ROWS], dx[ROWS * N];
        fill(&rng, r.x, ROWS * N);
        fill(&rng, r.weight, ROWS);
        memcpy(dx, r.x, sizeof dx);
        k.cross_entropy(loss, NULL, dx, N, targets, r.weight, loss_z, ROWS, N);
        differences("cross_entropy", r.x, dx, ROWS * N, cross_entropy_loss, &r);
    }
}

/* The inverse rotation is the transpose: <R x, y> = <x, R' y>. */
static void test_rope(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        enum { HEADS = 2, DIM = 18, POS = 5 };
        const int32_t pos[ROWS] = { 4, 0, 2 };
        float x[ROWS * HEADS * DIM], y[ROWS * HEADS * DIM], rx[ROWS * HEADS * DIM];
        float c[POS * DIM / 2], s[POS * DIM / 2];
        fill(&rng, c, POS * DIM / 2);
        fill(&rng, s, POS * DIM / 2);
        fill(&rng, x, ROWS * HEADS * DIM);
        fill(&rng, y, ROWS * HEADS * DIM);
        memcpy(rx, x, sizeof x);
        k.rope(rx, HEADS * DIM, pos, c, s, ROWS, HEADS, DIM, 1);
        const double want = weighted(rx, y, ROWS * HEADS * DIM);
        k.rope(y, HEADS * DIM, pos, c, s, ROWS, HEADS, DIM, -1);
        near(weighted(x, y, ROWS * HEADS * DIM), want, ROWS * HEADS * DIM * 8 * EPS, "rope", 0, 0);
    }
}

/* ---- attention -------------------------------------------------------------------------- */

enum { T = 19, H = 4, G = 2, D = 9, W = 6 };

typedef struct {
    float q[T * H * D], k[T * G * D], v[T * G * D], weight[T * H * D];
} window;

static double window_loss(const void *ctx)
{
    const window *x = ctx;
    float o[T * H * D];
    loci_window_attn_ref(o, H * D, NULL, x->q, H * D, x->k, x->v, G * D, T, 0, H, G, D, W, 0.7f);
    return weighted(x->weight, o, T * H * D);
}

static void test_window(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        window x;
        float o[T * H * D], lse[T * H];
        float dq[T * H * D] = { 0 }, dk[T * G * D] = { 0 }, dv[T * G * D] = { 0 };
        fill(&rng, x.q, T * H * D);
        fill(&rng, x.k, T * G * D);
        fill(&rng, x.v, T * G * D);
        fill(&rng, x.weight, T * H * D);
        k.window_attn(o, H * D, lse, x.q, H * D, x.k, x.v, G * D, T, 0, H, G, D, W, 0.7f);
        k.window_attn_bwd(dq, H * D, dk, dv, G * D, x.weight, H * D, x.q, H * D, x.k, x.v, G * D, o,
                          H * D, lse, T, H, G, D, W, 0.7f);
        differences("window q", x.q, dq, T * H * D, window_loss, &x);
        differences("window k", x.k, dk, T * G * D, window_loss, &x);
        differences("window v", x.v, dv, T * G * D, window_loss, &x);
    }
}

enum { R = 11, KEYS = 13, DK = 7, DV = 10, CHUNKS = 3 };

typedef struct {
    float q[R * DK], k[CHUNKS * KEYS * DK], v[CHUNKS * KEYS * DV], w[R], weight[R * DV];
} chunks;

static void chunks_fill(loci_rng *rng, chunks *x)
{
    fill(rng, x->q, R * DK);
    fill(rng, x->k, CHUNKS * KEYS * DK);
    fill(rng, x->v, CHUNKS * KEYS * DV);
    fill(rng, x->w, R);
    fill(rng, x->weight, R * DV);
}

/* One chunk whose weights are inputs of their own. */
static double chunk_loss(const void *ctx)
{
    const chunks *x = ctx;
    float o[R * DV] = { 0 }, lse[R];
    loci_chunk_attn_ref(o, DV, lse, x->q, DK, x->k, DK, x->v, DV, x->w, R, KEYS, DK, DV, 0.6f);
    return weighted(x->weight, o, R * DV);
}

static void test_chunk(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        chunks x;
        float lse[R], dq[R * DK] = { 0 }, dk[KEYS * DK] = { 0 }, dv[KEYS * DV] = { 0 }, dw[R];
        chunks_fill(&rng, &x);
        k.chunk_attn(NULL, 0, lse, x.q, DK, x.k, DK, x.v, DV, NULL, R, KEYS, DK, DV, 0.6f);
        k.chunk_attn_bwd(dq, DK, dk, DK, dv, DV, dw, x.weight, DV, x.q, DK, x.k, DK, x.v, DV, lse,
                         x.w, NULL, R, KEYS, DK, DV, 0.6f);
        differences("chunk q", x.q, dq, R * DK, chunk_loss, &x);
        differences("chunk k", x.k, dk, KEYS * DK, chunk_loss, &x);
        differences("chunk v", x.v, dv, KEYS * DV, chunk_loss, &x);
        differences("chunk w", x.w, dw, R, chunk_loss, &x);
    }
}

/* Dense attention over all keys of all chunks, written down directly. */
static double dense_loss(const void *ctx)
{
    const chunks *x = ctx;
    double loss = 0;
    for (int r = 0; r < R; r++) {
        double p[CHUNKS * KEYS], sum = 0;
        for (int j = 0; j < CHUNKS * KEYS; j++) {
            double s = 0;
            for (int i = 0; i < DK; i++) s += (double)x->q[r * DK + i] * x->k[j * DK + i];
            p[j] = exp((double)0.6f * s);
            sum += p[j];
        }
        for (int j = 0; j < CHUNKS * KEYS; j++)
            for (int i = 0; i < DV; i++)
                loss += p[j] / sum * (double)x->v[j * DV + i] * x->weight[r * DV + i];
    }
    return loss;
}

/* Chunks joined by weights exp(lse - lse of all), their gradients by delta = <dout, o>. */
static void test_dense(void **state)
{
    (void)state;
    EACH_LEVEL(k, rng)
    {
        chunks x;
        float lse[CHUNKS][R], w[CHUNKS][R], delta[R], dw[R], o[R * DV] = { 0 };
        float dq[R * DK] = { 0 }, dk[CHUNKS * KEYS * DK] = { 0 }, dv[CHUNKS * KEYS * DV] = { 0 };
        chunks_fill(&rng, &x);
        for (int c = 0; c < CHUNKS; c++)
            k.chunk_attn(NULL, 0, lse[c], x.q, DK, x.k + c * KEYS * DK, DK, NULL, DV, NULL, R, KEYS,
                         DK, DV, 0.6f);
        for (int r = 0; r < R; r++) {
            double sum = 0;
            for (int c = 0; c < CHUNKS; c++) sum += exp((double)lse[c][r]);
            for (int c = 0; c < CHUNKS; c++) w[c][r] = (float)(exp((double)lse[c][r]) / sum);
        }
        for (int c = 0; c < CHUNKS; c++)
            k.chunk_attn(o, DV, lse[c], x.q, DK, x.k + c * KEYS * DK, DK, x.v + c * KEYS * DV, DV,
                         w[c], R, KEYS, DK, DV, 0.6f);
        near(weighted(x.weight, o, R * DV), dense_loss(&x), 1e-4, "dense forward", 0, 0);
        for (int r = 0; r < R; r++) delta[r] = (float)weighted(x.weight + r * DV, o + r * DV, DV);
        for (int c = 0; c < CHUNKS; c++)
            k.chunk_attn_bwd(dq, DK, dk + c * KEYS * DK, DK, dv + c * KEYS * DV, DV, dw, x.weight,
                             DV, x.q, DK, x.k + c * KEYS * DK, DK, x.v + c * KEYS * DV, DV, lse[c],
                             w[c], delta, R, KEYS, DK, DV, 0.6f);
        differences("dense q", x.q, dq, R * DK, dense_loss, &x);
        differences("dense k", x.k, dk, CHUNKS * KEYS * DK, dense_loss, &x);
        differences("dense v", x.v, dv, CHUNKS * KEYS * DV, dense_loss, &x);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_silu),    cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_rope),    cmocka_unit_test(test_window),
        cmocka_unit_test(test_chunk),   cmocka_unit_test(test_dense),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
