/* Goal: each tile of a job runs exactly once, with a worker number of its own, for any number of
 * threads and any number of callers, and jobs do not run into each other.
 * Method: count the runs of each tile; jobs far shorter than a wake-up, so that late workers meet
 * the next job; a checksum that a tile run with another job's context would break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "base/base.h"

enum { TILES_MAX = 500 };

typedef struct {
    atomic_int runs[TILES_MAX];
    atomic_int in_use[64]; /* workers inside a tile at this moment */
    atomic_int bad;
    int n_tiles, n_threads;
} tally;

static void count_tile(void *ctx, int tile, int worker)
{
    tally *t = ctx;
    if (tile < 0 || tile >= t->n_tiles || worker < 0 || worker >= t->n_threads) {
        atomic_fetch_add(&t->bad, 1);
        return;
    }
    if (atomic_fetch_add(&t->in_use[worker], 1) != 0) atomic_fetch_add(&t->bad, 1);
    atomic_fetch_add(&t->runs[tile], 1);
    atomic_fetch_sub(&t->in_use[worker], 1);
}

static void test_every_tile_once(void **state)
{
    static const int threads[] = { 1, 2, 3, 8, 33 }, tiles[] = { 0, 1, 2, 3, 7, 64, 500 };
    (void)state;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        loci_pool *p;
        loci_error err = { 0 };
        assert_int_equal(loci_pool_open(&p, threads[i], &err), LOCI_OK);
        assert_int_equal(loci_pool_threads(p), threads[i]);
        for (int round = 0; round < 40; round++)
            for (size_t j = 0; j < sizeof tiles / sizeof *tiles; j++) {
                tally t = { .n_tiles = tiles[j], .n_threads = threads[i] };
                loci_pool_run(p, tiles[j], count_tile, &t);
                assert_int_equal(atomic_load(&t.bad), 0);
                for (int k = 0; k < TILES_MAX; k++)
                    assert_int_equal(atomic_load(&t.runs[k]), k < tiles[j]);
            }
        loci_pool_close(p);
    }
}

static void test_without_a_pool(void **state)
{
    tally t = { .n_tiles = 9, .n_threads = 1 };
    (void)state;
    loci_pool_run(NULL, 9, count_tile, &t);
    assert_int_equal(atomic_load(&t.bad), 0);
    for (int k = 0; k < 9; k++) assert_int_equal(atomic_load(&t.runs[k]), 1);
    assert_int_equal(loci_pool_threads(NULL), 1);
    loci_pool_close(NULL);
}

/* A sum that only this job's tiles can make. */
typedef struct {
    atomic_llong sum;
    int factor;
} product_job;

static void add_product(void *ctx, int tile, int worker)
{
    product_job *j = ctx;
    (void)worker;
    atomic_fetch_add(&j->sum, (long long)j->factor * (tile + 1));
}

static void run_products(loci_pool *p, int seed, int jobs, atomic_int *bad)
{
    for (int i = 0; i < jobs; i++) {
        const int n = 2 + (i + seed) % 5;
        product_job j = { .factor = seed * 1000 + i };
        loci_pool_run(p, n, add_product, &j);
        if (atomic_load(&j.sum) != (long long)j.factor * n * (n + 1) / 2) atomic_fetch_add(bad, 1);
    }
}

/* Jobs of some hundred nanoseconds: workers are always late for some of them. */
static void test_short_jobs_stay_apart(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 6; threads += 2) {
        atomic_int bad = 0;
        loci_pool *p;
        assert_int_equal(loci_pool_open(&p, threads, NULL), LOCI_OK);
        run_products(p, 3, 5000, &bad);
        loci_pool_close(p);
        assert_int_equal(atomic_load(&bad), 0);
    }
}

/* Gives the processor away inside the tile, so that others come in between. */
static void add_slowly(void *ctx, int tile, int worker)
{
    sched_yield();
    add_product(ctx, tile, worker);
}

/* The caller must wait for tiles that last longer than it looks out for them. */
static void add_after_sleep(void *ctx, int tile, int worker)
{
    /* Long enough in the caller for a worker to come, longer in the worker. */
    const struct timespec pause = { 0, worker == 0 ? 1000000 : 5000000 };
    nanosleep(&pause, NULL);
    add_product(ctx, tile, worker);
}

static void test_run_waits_for_the_slowest(void **state)
{
    loci_pool *p;
    (void)state;
    assert_int_equal(loci_pool_open(&p, 2, NULL), LOCI_OK);
    for (int i = 0; i < 20; i++) {
        product_job j = { .factor = 1 };
        loci_pool_run(p, 2, add_after_sleep, &j);
        assert_int_equal(atomic_load(&j.sum), 3);
    }
    loci_pool_close(p);
}

typedef struct {
    loci_pool *pool;
    int seed;
    atomic_int bad;
    pthread_barrier_t *start;
} caller;

static void *call_often(void *arg)
{
    caller *c = arg;
    pthread_barrier_wait(c->start);
    for (int i = 0; i < 300; i++) {
        product_job j = { .factor = c->seed * 1000 + i };
        loci_pool_run(c->pool, 6, add_slowly, &j);
        if (atomic_load(&j.sum) != j.factor * 21LL) atomic_fetch_add(&c->bad, 1);
    }
    return NULL;
}

static void test_two_callers_share_a_pool(void **state)
{
    loci_pool *p;
    pthread_t thread[2];
    pthread_barrier_t start;
    (void)state;
    assert_int_equal(loci_pool_open(&p, 3, NULL), LOCI_OK);
    assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
    caller c[2] = { { .pool = p, .seed = 1, .start = &start },
                    { .pool = p, .seed = 2, .start = &start } };
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, call_often, &c[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&start);
    loci_pool_close(p);
    assert_int_equal(atomic_load(&c[0].bad) + atomic_load(&c[1].bad), 0);
}

/* A tile of one pool may use another pool: a trainer's and an engine's side by side. */
static void run_inner(void *ctx, int tile, int worker)
{
    caller *c = ctx;
    (void)worker;
    run_products(c->pool, tile + 1, 50, &c->bad);
}

static void test_pool_inside_the_tile_of_another(void **state)
{
    loci_pool *outer, *inner;
    (void)state;
    assert_int_equal(loci_pool_open(&outer, 3, NULL), LOCI_OK);
    assert_int_equal(loci_pool_open(&inner, 2, NULL), LOCI_OK);
    caller c = { .pool = inner };
    loci_pool_run(outer, 6, run_inner, &c);
    loci_pool_close(outer);
    loci_pool_close(inner);
    assert_int_equal(atomic_load(&c.bad), 0);
}

static void test_sum_is_the_same_for_any_number(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        loci_pool *p;
        product_job j = { .factor = 7 };
        assert_int_equal(loci_pool_open(&p, threads, NULL), LOCI_OK);
        loci_pool_run(p, 400, add_product, &j);
        loci_pool_close(p);
        assert_int_equal(atomic_load(&j.sum), 7LL * 400 * 401 / 2);
    }
}

static void test_open_checks_its_range(void **state)
{
    static const int bad[] = { -1, 1025, INT32_MAX, INT32_MIN };
    loci_pool *p = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        loci_error err = { 0 };
        p = (loci_pool *)&err;
        assert_int_equal(loci_pool_open(&p, bad[i], &err), LOCI_EINVAL);
        assert_null(p);
        assert_non_null(strstr(err.text, "expected 0 to 1024"));
    }
    assert_int_equal(loci_pool_open(&p, 0, NULL), LOCI_OK);
    assert_int_equal(loci_pool_threads(p), loci_cpu_cores());
    loci_pool_close(p);
}

/* Tiles record whether the worker would take the program's signals. */
static void look_at_signals(void *ctx, int tile, int worker)
{
    sigset_t now;
    (void)tile;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    if (worker > 0 && !sigismember(&now, SIGINT)) atomic_store((atomic_int *)ctx, 1);
}

static void test_workers_leave_signals_alone(void **state)
{
    sigset_t before, after;
    atomic_int takes = 0;
    loci_pool *p;
    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(loci_pool_open(&p, 4, NULL), LOCI_OK);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int sig = 1; sig < SIGRTMIN; sig++)
        assert_int_equal(sigismember(&after, sig), sigismember(&before, sig));
    for (int i = 0; i < 200; i++) loci_pool_run(p, 64, look_at_signals, &takes);
    loci_pool_close(p);
    assert_int_equal(atomic_load(&takes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tile_once),
        cmocka_unit_test(test_without_a_pool),
        cmocka_unit_test(test_short_jobs_stay_apart),
        cmocka_unit_test(test_run_waits_for_the_slowest),
        cmocka_unit_test(test_two_callers_share_a_pool),
        cmocka_unit_test(test_pool_inside_the_tile_of_another),
        cmocka_unit_test(test_sum_is_the_same_for_any_number),
        cmocka_unit_test(test_open_checks_its_range),
        cmocka_unit_test(test_workers_leave_signals_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
