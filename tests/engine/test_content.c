/* Goal: content that threads decode ahead is that of one thread, bit for bit, is counted once and where it
 * was wanted, and a chunk that cannot be read fails when it is wanted itself, not before.
 *
 * Method: two searchers over one bank, one with a pool, asked the same; every pick's content compared, in
 * the order of picks, backwards, and some of it only.  A byte of one group's content is flipped. */
#include "search_test.h"

enum { C = 1200, K = 24, QUERIES = 60 };

static void compare(loci_searcher *one, loci_searcher *many, uint64_t seed)
{
    const loci_memory a = loci_searcher_memory(one), b = loci_searcher_memory(many);
    loci_rng r;
    loci_rng_seed(&r, seed);
    for (int q = 0; q < QUERIES; q++) {
        float u[128];
        loci_pick p[K], same[K];
        unit(&r, u, 128);
        assert_int_equal(a.search(a.ctx, u, 12.0f, K, 0, p), K);
        assert_int_equal(b.search(b.ctx, u, 12.0f, K, 0, same), K);
        for (int i = 0; i < K; i++) {
            const int at = q % 2 ? K - 1 - i : i;
            const float *want, *rows;
            if (q % 3 == 2 && at % 4) continue; /* decoded ahead and never wanted */
            const int n = a.content(a.ctx, &p[at], &want);
            assert_true(n > 0);
            assert_int_equal(b.content(b.ctx, &same[at], &rows), n);
            assert_memory_equal(rows, want, (size_t)n * 128 * sizeof *rows);
        }
    }
}

static void test_threads(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        loci_error err;
        setup x;
        loci_searcher *many;
        corpus c = corpus_make(SEED + 20, C);
        loci_hparams hp = test_hparams();
        hp.content_bits4 = packed;
        hp.d_summary = packed ? 128 : 0;
        setup_open_with(&x, 1, hp);
        put_corpus(x.bank[0], &c, 0, C, 100, 1);
        setup_search(&x);
        OK(loci_pool_open(&x.t.e.pool, 3, &err));
        OK(loci_searcher_open(&many, &x.t.e, x.bank, 1, &err));
        compare(x.s, many, SEED + 21);
        const loci_searcher_counts a = loci_searcher_cache(x.s), b = loci_searcher_cache(many);
        /* The same wants; what was decoded ahead and not wanted may push others out. */
        assert_int_equal(a.hits + a.misses, b.hits + b.misses);
        print_message("%lld and %lld decoded\n", (long long)a.misses, (long long)b.misses);
        assert_true(b.misses >= K && b.misses <= a.hits + a.misses);
        loci_searcher_close(many);
        loci_pool_close(x.t.e.pool);
        x.t.e.pool = NULL;
        setup_close(&x);
        corpus_free(&c);
    }
}

/* The first of few searches: nothing has left the cache, so what is counted is the same. */
static void test_counts(void **state)
{
    (void)state;
    loci_error err;
    setup x;
    loci_searcher *many;
    corpus c = corpus_make(SEED + 22, 300);
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, c.n, 100, 1);
    setup_search(&x);
    OK(loci_pool_open(&x.t.e.pool, 2, &err));
    OK(loci_searcher_open(&many, &x.t.e, x.bank, 1, &err));
    compare(x.s, many, SEED + 23);
    const loci_searcher_counts a = loci_searcher_cache(x.s), b = loci_searcher_cache(many);
    assert_int_equal(a.hits, b.hits);
    assert_int_equal(a.misses, b.misses);
    assert_true(a.misses > 100 && a.hits > 100);
    loci_searcher_close(many);
    loci_pool_close(x.t.e.pool);
    x.t.e.pool = NULL;
    setup_close(&x);
    corpus_free(&c);
}

static void test_damaged(void **state)
{
    enum { BAD_GROUP = 2 };
    (void)state;
    loci_error err = { 0 };
    setup x;
    loci_searcher *many;
    loci_rng r;
    loci_pick p[K];
    float u[128];
    const float *rows;
    corpus c = corpus_make(SEED + 24, C);
    loci_rng_seed(&r, SEED + 25);
    unit(&r, u, 128);
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, C, 0);
    loci_segment *s = x.bank[0]->segment[0];
    const size_t at = loci_seg_column_offset(s, BAD_GROUP, COL_CONTENT) + 4321;
    const int fd = open(s->path, O_RDWR);
    assert_int_equal(pwrite(fd, "\x55", 1, (off_t)at), 1);
    close(fd);
    OK(loci_pool_open(&x.t.e.pool, 3, &err));
    OK(loci_searcher_open(&many, &x.t.e, x.bank, 1, &err));
    const loci_memory m = loci_searcher_memory(many);
    assert_int_equal(m.search(m.ctx, u, 12.0f, K, 0, p), K);
    int bad = -1, good = 0;
    for (int i = 0; i < K; i++) {
        if (p[i].time / LOCI_SEG_GROUP == BAD_GROUP) {
            bad = i;
            continue;
        }
        assert_true(m.content(m.ctx, &p[i], &rows) > 0);
        good++;
    }
    assert_true(bad >= 0 && good > 0);
    OK(loci_searcher_status(many, &err));
    assert_int_equal(m.content(m.ctx, &p[bad], &rows), LOCI_EFORMAT);
    assert_null(rows);
    assert_int_equal(loci_searcher_status(many, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "group 2, column content"));
    loci_searcher_close(many);
    loci_pool_close(x.t.e.pool);
    x.t.e.pool = NULL;
    setup_close(&x);
    corpus_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_damaged),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
