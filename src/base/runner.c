/* runner.c - one thread beside its owner's: it runs what it is given, one job at a time.
 *
 * The pool shares a job among threads and its caller waits; with a runner the caller goes on, and
 * looks again when it needs the result.  Jobs are fractions of a second and longer, so a sleep and a
 * wake-up are not worth a thought. */
#include "base/base.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct loci_runner {
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    void (*fn)(void *ctx); /* NULL: nothing to run; set until it has returned */
    void *ctx;
    bool stop;
};

static void *run_jobs(void *arg)
{
    loci_runner *r = arg;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!r->fn && !r->stop) pthread_cond_wait(&r->changed, &r->lock);
        if (!r->fn) break;
        void (*const fn)(void *) = r->fn;
        void *const ctx = r->ctx;
        pthread_mutex_unlock(&r->lock);
        fn(ctx);
        pthread_mutex_lock(&r->lock);
        r->fn = NULL;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

loci_status loci_runner_open(loci_runner **out, loci_error *err)
{
    *out = NULL;
    loci_runner *r = calloc(1, sizeof *r);
    if (!r) return loci_fail(err, LOCI_ENOMEM, "no memory for a thread");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    /* Signals belong to the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&r->thread, NULL, run_jobs, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) {
        *out = r;
        return LOCI_OK;
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
    errno = code;
    return loci_fail(err, LOCI_EIO, "start a thread");
}

void loci_runner_wait(loci_runner *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->fn) pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

void loci_runner_start(loci_runner *r, void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&r->lock);
    while (r->fn) pthread_cond_wait(&r->changed, &r->lock);
    r->fn = fn;
    r->ctx = ctx;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void loci_runner_close(loci_runner *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
