/* thread.c - one pool of threads that share the tiles of a job.
 *
 * A decode step is hundreds of jobs of some ten microseconds each, so what a job costs beyond
 * its tiles decides.  Two choices follow:
 *
 *   - nobody waits for a sleeper: a job ends when its last tile does, whether or not every worker
 *     has noticed that it began;
 *   - workers look out for the next job a short while before they sleep.
 *
 * A worker may therefore arrive late, when the job it came for is over.  It must not take a tile
 * of the next job with the function of this one.  All that decides is one word, the ticket:
 *
 *   bits 63..32  number of the job        bits 31..0  next tile, or CLOSED
 *
 * A tile is taken by compare-and-swap on the ticket, after fn, ctx and n_tiles were read; the
 * caller closes the ticket before it changes those.  So a swap that succeeds proves that what was
 * read belongs to this job.  All accesses are sequentially consistent: the few there are cost
 * nothing beside a tile. */
#include "base/base.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    MAX_THREADS = 1024,
    /* Looks before sleeping: some 20 us, less than a sleep and a wake-up take together. */
    SPINS = 1000
};
#define CLOSED UINT32_MAX

typedef struct {
    loci_pool *pool;
    int index; /* worker, 1 .. */
    pthread_t thread;
} worker;

struct loci_pool {
    int n_threads; /* the caller included */
    int n_started; /* entries of workers[] that run */
    int spins;
    worker *workers;        /* (n_threads - 1) */
    pthread_mutex_t caller; /* held for a whole job: one at a time */

    _Atomic uint64_t ticket;
    _Atomic(loci_tile_fn *) fn;
    _Atomic(void *) ctx;
    atomic_int n_tiles;
    atomic_int n_done; /* tiles finished */

    pthread_mutex_t lock;      /* guards what follows, and sleep against wake-up */
    pthread_cond_t wake, done; /* a job began | a job ended */
    int n_sleeping;
    atomic_bool stop;
};

/* Tell the processor that this is a waiting loop: spares its sibling and the bus. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static uint32_t job_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

/* Take and run tiles of the job `ticket` speaks of until it has none left. */
static void work(loci_pool *p, int index, uint64_t ticket)
{
    const uint32_t job = job_of(ticket);
    loci_tile_fn *const fn = atomic_load(&p->fn);
    void *const ctx = atomic_load(&p->ctx);
    const int n_tiles = atomic_load(&p->n_tiles);

    while (job_of(ticket) == job && (uint32_t)ticket < (uint32_t)n_tiles) {
        if (!atomic_compare_exchange_weak(&p->ticket, &ticket, ticket + 1)) continue;
        fn(ctx, (int)(uint32_t)ticket, index);
        if (atomic_fetch_add(&p->n_done, 1) + 1 == n_tiles && index != 0) {
            /* Under the lock, so that it cannot fall between the caller's look and its sleep. */
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
        ticket = atomic_load(&p->ticket);
    }
}

/* ---- the worker's side ------------------------------------------------------------ */

static bool is_idle(loci_pool *p, uint32_t seen)
{
    return job_of(atomic_load(&p->ticket)) == seen && !atomic_load(&p->stop);
}

/* Until there is a job other than `seen` or the pool closes. */
static void await_job(loci_pool *p, uint32_t seen)
{
    for (int i = 0; i < p->spins; i++) {
        if (!is_idle(p, seen)) return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    p->n_sleeping++;
    while (is_idle(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
    p->n_sleeping--;
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    const worker *w = arg;
    loci_pool *p = w->pool;
    uint32_t seen = 0; /* jobs count from 1 */
    for (;;) {
        await_job(p, seen);
        if (atomic_load(&p->stop)) return NULL;
        const uint64_t ticket = atomic_load(&p->ticket);
        seen = job_of(ticket);
        work(p, w->index, ticket);
    }
}

/* ---- open and close ------------------------------------------------------------------ */

/* Start the workers with all signals blocked: those belong to the program's own threads.
 * Returns 0 or the error of pthread_create. */
static int start_workers(loci_pool *p)
{
    sigset_t all, before;
    int r = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->n_started < p->n_threads - 1) {
        worker *w = &p->workers[p->n_started];
        w->pool = p;
        w->index = p->n_started + 1;
        if ((r = pthread_create(&w->thread, NULL, worker_main, w)) != 0) break;
        p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

loci_status loci_pool_open(loci_pool **out, int threads, loci_error *err)
{
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS)
        return loci_fail(err, LOCI_EINVAL, "threads: expected 0 to %d, found %d", MAX_THREADS,
                         threads);
    const int cores = loci_cpu_cores();
    if (threads == 0) threads = cores < MAX_THREADS ? cores : MAX_THREADS;
    loci_pool *p = calloc(1, sizeof *p);
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for a thread pool");
    p->n_threads = threads;
    p->spins = threads <= cores ? SPINS : 0; /* else a waiting loop keeps a working one off */
    pthread_mutex_init(&p->caller, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    atomic_store(&p->ticket, CLOSED);

    loci_status st = LOCI_OK;
    p->workers = calloc((size_t)threads, sizeof *p->workers);
    if (!p->workers) {
        st = loci_fail(err, LOCI_ENOMEM, "no memory for %d threads", threads);
    } else if ((errno = start_workers(p)) != 0) {
        st = loci_fail(err, LOCI_EIO, "start thread %d of %d", p->n_started + 2, threads);
    }
    if (st == LOCI_OK)
        *out = p;
    else
        loci_pool_close(p);
    return st;
}

void loci_pool_close(loci_pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->caller);
    free(p->workers);
    free(p);
}

int loci_pool_threads(const loci_pool *p)
{
    return p ? p->n_threads : 1;
}

/* ---- the caller's side ------------------------------------------------------------------ */

/* Open the ticket of a new job and wake as many sleepers as there are tiles to share. */
static void announce(loci_pool *p, int n_tiles, loci_tile_fn *fn, void *ctx)
{
    const uint32_t job = job_of(atomic_load(&p->ticket)) + 1;
    atomic_store(&p->fn, fn);
    atomic_store(&p->ctx, ctx);
    atomic_store(&p->n_tiles, n_tiles);
    atomic_store(&p->n_done, 0);
    atomic_store(&p->ticket, (uint64_t)job << 32);

    pthread_mutex_lock(&p->lock);
    int n_wake = n_tiles - 1 < p->n_sleeping ? n_tiles - 1 : p->n_sleeping;
    while (n_wake-- > 0) pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void await_done(loci_pool *p, int n_tiles)
{
    for (int i = 0; i < p->spins; i++) {
        if (atomic_load(&p->n_done) == n_tiles) return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->n_done) < n_tiles) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void loci_pool_run(loci_pool *p, int n_tiles, loci_tile_fn *fn, void *ctx)
{
    /* Also a serial job has the pool to itself: scratch by worker may outlive a job. */
    if (p) pthread_mutex_lock(&p->caller);
    if (!p || p->n_started == 0 || n_tiles <= 1) {
        for (int t = 0; t < n_tiles; t++) fn(ctx, t, 0);
    } else {
        announce(p, n_tiles, fn, ctx);
        const uint64_t ticket = atomic_load(&p->ticket);
        work(p, 0, ticket);
        await_done(p, n_tiles);
        atomic_store(&p->ticket, ((uint64_t)job_of(ticket) << 32) | CLOSED);
    }
    if (p) pthread_mutex_unlock(&p->caller);
}
