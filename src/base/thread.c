/* thread.c - one pool of threads that share tiles of a job.
 *
 * Workers sleep between jobs; a job is announced by a counter under a lock, tiles are taken from
 * an atomic counter, the caller works too.  A second caller waits for the first to finish. */
#include "base/base.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct loci_pool {
    int threads; /* workers, the caller included */
    pthread_t *thread;
    int started;
    pthread_mutex_t caller; /* held for a whole job */
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    /* under lock */
    uint64_t job;
    int busy;
    bool stop;
    /* set before a job is announced, read by workers after */
    loci_tile_fn *fn;
    void *ctx;
    int n_tiles;
    atomic_int next;
};

typedef struct {
    loci_pool *pool;
    int index;
} worker_args;

static void work(loci_pool *p, int worker)
{
    for (int t; (t = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n_tiles;)
        p->fn(p->ctx, t, worker);
}

static void *worker_main(void *arg)
{
    const worker_args a = *(worker_args *)arg;
    loci_pool *p = a.pool;
    free(arg);
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && p->job == seen) pthread_cond_wait(&p->begin, &p->lock);
        if (p->stop) break;
        seen = p->job;
        pthread_mutex_unlock(&p->lock);
        work(p, a.index);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0) pthread_cond_signal(&p->end);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

loci_status loci_pool_open(loci_pool **out, int threads, loci_error *err)
{
    *out = NULL;
    if (threads < 0 || threads > 1024)
        return loci_fail(err, LOCI_EINVAL, "threads: expected 0 (all cores) to 1024, found %d", threads);
    loci_pool *p = calloc(1, sizeof *p);
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for a thread pool");
    p->threads = threads ? threads : loci_cpu_cores();
    pthread_mutex_init(&p->caller, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begin, NULL);
    pthread_cond_init(&p->end, NULL);
    p->thread = calloc((size_t)p->threads, sizeof *p->thread);
    for (int i = 1; p->thread && i < p->threads; i++) {
        worker_args *a = malloc(sizeof *a);
        if (a) *a = (worker_args){ p, i };
        if (!a || pthread_create(&p->thread[p->started], NULL, worker_main, a) != 0) {
            free(a);
            loci_pool_close(p);
            return loci_fail(err, LOCI_ENOMEM, "could not start thread %d of %d", i, threads);
        }
        p->started++;
    }
    if (!p->thread) {
        loci_pool_close(p);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a thread pool");
    }
    *out = p;
    return LOCI_OK;
}

void loci_pool_close(loci_pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->begin);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->started; i++) pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->begin);
    pthread_cond_destroy(&p->end);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->caller);
    free(p->thread);
    free(p);
}

int loci_pool_threads(const loci_pool *p) { return p ? p->threads : 1; }

void loci_pool_run(loci_pool *p, int n_tiles, loci_tile_fn *fn, void *ctx)
{
    if (!p || p->started == 0 || n_tiles <= 1) {
        /* Worker 0 belongs to one caller at a time here too: its scratch is shared. */
        if (p) pthread_mutex_lock(&p->caller);
        for (int t = 0; t < n_tiles; t++) fn(ctx, t, 0);
        if (p) pthread_mutex_unlock(&p->caller);
        return;
    }
    pthread_mutex_lock(&p->caller);
    p->fn = fn;
    p->ctx = ctx;
    p->n_tiles = n_tiles;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    pthread_mutex_lock(&p->lock);
    p->busy = p->started;
    p->job++;
    pthread_cond_broadcast(&p->begin);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->busy > 0) pthread_cond_wait(&p->end, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->caller);
}
