/* Goal: of many landmarks sketches let through those that are among the best, a guess is near the score that
 * it guesses, and neither depends on who counts.
 *
 * Method: chunks whose landmarks are random around a few directions, sorted into buckets; the slow path,
 * every landmark of the same buckets scored, is the truth.  One searcher has threads. */
#include "search_test.h"
#include "engine/probe_impl.h"
#include "engine/questions.h"
#include "kernel/number.h"

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

/* Picks of QUERIES queries that are among the best of all chunks, of a search that looks into `probes` buckets;
 * a second search of three threads finds the same bit for bit. */
static int best_found(setup *x, const corpus *c, int probes)
{
    loci_error err;
    loci_rng r;
    loci_searcher *slow, *shared;
    int same = 0;
    OK(loci_searcher_open_with(&slow, &x->t.e, x->bank, 1, LOCI_SEARCH_EXACT, &err));
    OK(loci_pool_open(&x->t.e.pool, 3, &err));
    OK(loci_searcher_open(&shared, &x->t.e, x->bank, 1, &err));
    loci_probe_set(loci_searcher_probe(x->s), probes);
    loci_probe_set(loci_searcher_probe(shared), probes);
    const loci_memory truth = loci_searcher_memory(slow), threads = loci_searcher_memory(shared);
    loci_rng_seed(&r, SEED + 21);
    for (int q = 0; q < QUERIES; q++) {
        float u[128];
        loci_pick p[K], want[K], again[K];
        near(&r, u, c->landmark + 128 * loci_rng_below(&r, 2 * C), 0.6, 128);
        assert_int_equal(x->memory.search(x->memory.ctx, u, 12.0f, K, 0, p), K);
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
    loci_searcher_close(slow);
    loci_searcher_close(shared);
    loci_pool_close(x->t.e.pool);
    x->t.e.pool = NULL;
    return same;
}

/* In all buckets but one sketches alone can lose something; in a third of them the choice of buckets, too. */
static void test_finds_the_best(void **state)
{
    (void)state;
    loci_error err;
    setup x;
    corpus c = clustered(SEED + 20);
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 700, 1);
    OK(loci_bank_sort(x.bank[0], 0, &err));
    put_corpus(x.bank[0], &c, 0, 700, 700, 0); /* again: the older ones in the buckets are dead */
    setup_search(&x);
    const int buckets = loci_buckets_count(x.bank[0]->buckets);
    const int sketches = best_found(&x, &c, buckets - 1), both = best_found(&x, &c, buckets / 3);
    print_message("%d and %d of %d best found\n", sketches, both, QUERIES * K);
    assert_true(sketches >= 0.95 * QUERIES * K); /* the basis is of other queries */
    assert_true(both >= 0.85 * QUERIES * K);
    setup_close(&x);
    corpus_free(&c);
}

/* Guesses of every row of a sorted bank for the router's own queries: off by a fiftieth of what scores
 * differ by at most, on average by nothing.  The codes are read here number by number,
 * from the layout that kernel.h describes. */
static void test_guesses(void **state)
{
    (void)state;
    loci_error err;
    setup x;
    corpus c = clustered(SEED + 22);
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 700, 0);
    OK(loci_bank_sort(x.bank[0], 100, &err));
    const loci_bank *const bank = x.bank[0];
    loci_buckets *b = bank->buckets;
    const loci_basis basis = loci_buckets_basis(b);
    const float *scale, *spread;
    const int8_t *mean = loci_buckets_means(b, &scale, &spread);
    const loci_kernels *k = &x.t.e.model->k;
    loci_questions asked;
    OK(loci_questions_make(&asked, x.t.e.model, 4096, &bank, 1, 10, 77, &err));
    double sum = 0.0, square = 0.0, score = 0.0, scores = 0.0;
    int64_t n = 0;
    for (int i = 0; i < 100; i += 9) {
        loci_bucket rows;
        loci_sketch s;
        OK(loci_buckets_get(b, i, &rows, &err));
        OK(loci_sketches_get(loci_buckets_sketches(b), k, b, i, &rows, &s, &err));
        assert_int_equal(s.code.rows, rows.n);
        for (int r = 0; r < rows.n; r++) {
            const float *u = asked.query + (size_t)(r % asked.n) * 128;
            double q[LOCI_BASIS], guess = 0.0, exact = 0.0;
            for (int d = 0; d < 128; d++) guess += (double)u[d] * (double)basis.mean[d];
            for (int j = 0; j < LOCI_BASIS; j++) {
                const uint8_t byte =
                    s.code.data[(r / 16) * 512 + j / 8 * 64 + 4 * (r % 16) + j % 4];
                const int number = (j % 8 < 4 ? byte & 15 : byte >> 4) - 8;
                const uint16_t half = s.code.scale[(r / 16) * 32 + j / 32 * 16 + r % 16];
                q[j] = 0.0;
                for (int d = 0; d < 128; d++)
                    q[j] += (double)basis.query[j * 128 + d] * (double)u[d];
                guess += q[j] * ((double)scale[i] * mean[i * LOCI_BASIS + j] +
                                 (double)loci_f16_to_f32(half) * number);
            }
            for (int d = 0; d < 128; d++)
                exact += (double)u[d] * rows.landmark[r * 128 + d] * (double)rows.scale[r];
            assert_true(s.bias[r] == rows.bias[r] && s.scale[r] == rows.scale[r]);
            sum += guess - exact;
            square += (guess - exact) * (guess - exact);
            score += exact;
            scores += exact * exact;
            n++;
        }
    }
    const double deviation = sqrt(scores / (double)n - score * score / (double)n / (double)n);
    print_message("guesses off by %.4f of scores' deviation\n",
                  sqrt(square / (double)n) / deviation);
    assert_true(fabs(sum / (double)n) < 0.02 * deviation);
    assert_true(sqrt(square / (double)n) < 0.02 * deviation);
    loci_questions_free(&asked);
    setup_close(&x);
    corpus_free(&c);
}

/* How many buckets are looked into: all while they are few, then those of 16,384 landmarks, then of 64
 * sqrt(n), and never more than a search has room for. */
static void test_how_many(void **state)
{
    (void)state;
    static const struct {
        int64_t rows, buckets;
        int want;
    } c[] = { { 1, 1, 1 },
              { 16384, 256, 256 },
              { 32768, 512, 256 },
              { 131072, 2048, 363 },  /* 23,170 of them */
              { 524288, 8192, 725 },  /* 46,341 */
              { 8388608, 8192, 182 }, /* 185,364 */
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
