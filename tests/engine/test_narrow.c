/* Goal: of many landmarks sketches let through those that are among the best, a guess is near the score that
 * it guesses, and neither depends on who counts.
 *
 * Method: chunks whose landmarks are random around a few directions, sorted into buckets; the slow path,
 * every landmark of the same buckets scored, is the truth.  One searcher has threads. */
#include "search_test.h"
#include "engine/probe_impl.h"

enum { C = 24000, CENTRES = 300, QUERIES = 30, K = 16 };

static corpus clustered(uint64_t seed)
{
    corpus c = corpus_make(seed, C);
    loci_rng r;
    float *centre = malloc((size_t)CENTRES * 128 * sizeof *centre);
    loci_rng_seed(&r, seed + 1);
    for (int i = 0; i < CENTRES; i++) unit(&r, centre + (size_t)i * 128, 128);
    for (int64_t i = 0; i < 2 * C; i++)
        near(&r, c.landmark + i * 128, centre + 128 * loci_rng_below(&r, CENTRES), 0.7, 128);
    free(centre);
    return c;
}

/* probes 0: as asking does, which is all buckets of so few. */
static void finds_the_best(int probes)
{
    loci_error err;
    setup x;
    loci_rng r;
    corpus c = clustered(SEED + 20);
    loci_searcher *slow, *shared;
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 700, 1);
    OK(loci_bank_sort(x.bank[0], 0, &err));
    put_corpus(x.bank[0], &c, 0, 700, 700, 0); /* again: the older ones in the buckets are dead */
    setup_search(&x);
    OK(loci_searcher_open(&slow, &x.t.e, x.bank, 1, &err));
    loci_searcher_probe(slow)->sketched = false;
    OK(loci_pool_open(&x.t.e.pool, 3, &err));
    OK(loci_searcher_open(&shared, &x.t.e, x.bank, 1, &err));
    loci_searcher *const all[] = { slow, shared, x.s };
    for (int i = 0; probes > 0 && i < 3; i++) loci_probe_set(loci_searcher_probe(all[i]), probes);
    const loci_memory truth = loci_searcher_memory(slow), threads = loci_searcher_memory(shared);
    int same = 0;
    loci_rng_seed(&r, SEED + 21);
    for (int q = 0; q < QUERIES; q++) {
        float u[128];
        loci_pick p[K], want[K], again[K];
        near(&r, u, c.landmark + 128 * loci_rng_below(&r, 2 * C), 0.6, 128);
        assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, K, 0, p), K);
        assert_int_equal(threads.search(threads.ctx, u, 12.0f, K, 0, again), K);
        assert_int_equal(truth.search(truth.ctx, u, 12.0f, K, 0, want), K);
        for (int i = 0; i < K; i++) {
            assert_true(p[i].id == again[i].id && p[i].score == again[i].score);
            for (int j = 0; j < K; j++) {
                if (p[i].id != want[j].id) continue;
                assert_true(p[i].score == want[j].score);
                same++;
            }
        }
    }
    print_message("%d of %d best found by sketches\n", same, QUERIES * K);
    assert_true(same >= 0.99 * QUERIES * K);
    loci_searcher_close(slow);
    loci_searcher_close(shared);
    loci_pool_close(x.t.e.pool);
    x.t.e.pool = NULL;
    setup_close(&x);
    corpus_free(&c);
}

static void test_finds_the_best(void **state)
{
    (void)state;
    finds_the_best(0);
    finds_the_best(280);
}

/* <u, l> of 500 rows of one bucket from its sketch: off by the error that sketch.h promises, on average
 * by nothing; a row that is the mean, and a bucket of zeros, do no harm. */
static void test_guesses(void **state)
{
    enum { N = 500, D = 128 };
    (void)state;
    static int8_t landmark[N][D];
    static float row[N][D], scale[N], bias[N];
    static uint32_t chunk[N];
    loci_error err;
    loci_rng r;
    loci_sketches *s;
    loci_sketch got;
    float centre[D], u[D];
    int8_t mean[D], zeros[D] = { 0 };
    float mean_scale, nothing = 0.0f;
    const bkt_entry table[2] = { { N, 0 }, { 1, 0 } };
    loci_kernels k;
    loci_kernels_init(&k, loci_cpu_detect());
    loci_rng_seed(&r, SEED + 22);
    unit(&r, centre, D);
    unit(&r, u, D);
    for (int i = 0; i < N; i++) near(&r, row[i], centre, i ? 0.8 : 1.0, D);
    loci_quant_q8_ref(landmark[0], D, scale, row[0], D, N, D);
    for (int j = 0; j < D; j++)
        centre[j] *= (float)sqrt(D); /* as files have means: of rows so long */
    loci_quant_q8_ref(mean, D, &mean_scale, centre, D, 1, D);
    for (int i = 0; i < N; i++) bias[i] = (float)i;
    const loci_bucket b = { landmark[0], scale, bias, chunk, N };
    const loci_bucket none = { zeros, &nothing, &nothing, chunk, 1 };
    OK(loci_sketches_open(&s, table, 2, D, &err));
    OK(loci_sketches_get(s, &k, 0, &b, mean, mean_scale, &got, &err));
    double sum = 0.0, square = 0.0, about = 0.0;
    for (int j = 0; j < D; j++)
        about += (double)u[j] * mean[j] * (double)mean_scale * (double)got.unit;
    for (int i = 0; i < N; i++) {
        double dot = 0.0, signs = 0.0;
        for (int j = 0; j < D; j++) {
            dot += (double)u[j] * landmark[i][j] * (double)scale[i];
            signs += got.code[i * (D / 64) + j / 64] >> j % 64 & 1u ? (double)u[j] : -(double)u[j];
        }
        const double off = about + (double)got.share[i] * signs - dot;
        sum += off;
        square += off * off;
        assert_true(got.bias[i] == bias[i]);
    }
    const double promised = 0.75 * 0.6 / sqrt(D);
    assert_true(fabs(sum / N) < 0.2 * promised);
    assert_true(sqrt(square / N) < 1.15 * promised && sqrt(square / N) > 0.85 * promised);
    OK(loci_sketches_get(s, &k, 1, &none, zeros, 0.0f, &got, &err));
    assert_true(got.share[0] == 0.0f && got.unit == 0.0f);
    loci_sketches_close(s);
}

/* How many buckets are looked into: all while they are few, then those of 57,344 landmarks, then of 80
 * sqrt(n), and never more than a search has room for. */
static void test_how_many(void **state)
{
    (void)state;
    static const struct {
        int64_t rows, buckets;
        int want;
    } c[] = { { 1, 1, 1 },
              { 40000, 625, 625 },
              { 57344, 896, 896 },
              { 131072, 2048, 896 },
              { 524288, 8192, 906 },  /* 57,926 of them */
              { 8388608, 8192, 227 }, /* 231,705 */
              { 8388608, 131072, LOCI_PROBES_MAX } };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        assert_int_equal(loci_probes_for(c[i].rows, c[i].buckets), c[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_best),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_how_many),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
