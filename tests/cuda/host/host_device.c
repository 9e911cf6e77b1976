/* host_device.c - the device itself: opening, memory, copies, the error that is remembered.
 *
 * Everything is done at once, so what a GPU would still have to do is never outstanding.  Memory that
 * nothing was written to is NaN, as a float, as bf16 and as a double, and -1 as an integer. */
#include "host.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

enum { MARKS = 96, ALIGNMENT = 256, DEVICES = 4 };

struct loci_gpu {
    pthread_mutex_t lock; /* memory may be asked for by another thread than the one that works */
    loci_error error;     /* first failure */
    double mark[MARKS];
    int number;
};

bool HOST(built)(void)
{
    return true;
}

loci_status HOST(open)(loci_gpu **out, int device, loci_error *err)
{
    *out = NULL;
    if (device < 0 || device >= DEVICES)
        return loci_fail(err, LOCI_ENOTFOUND, "device %d: there are %d host devices, from 0 on",
                         device, DEVICES);
    loci_gpu *g = calloc(1, sizeof *g);
    if (!g) return loci_fail(err, LOCI_ENOMEM, "no memory for a device handle");
    pthread_mutex_init(&g->lock, NULL);
    g->number = device;
    *out = g;
    return LOCI_OK;
}

void HOST(close)(loci_gpu *g)
{
    if (!g) return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void HOST(use)(loci_gpu *g)
{
    (void)g; /* any thread may call */
}

const char *HOST(name)(const loci_gpu *g)
{
    (void)g;
    return "host";
}

size_t HOST(memory)(const loci_gpu *g)
{
    (void)g;
    return (size_t)1 << 34; /* enough for any test */
}

/* ---- errors ------------------------------------------------------------------------------------- */

bool host_failed(const loci_gpu *g)
{
    loci_gpu *mine = (loci_gpu *)g;
    pthread_mutex_lock(&mine->lock);
    const bool failed = g->error.code != LOCI_OK;
    pthread_mutex_unlock(&mine->lock);
    return failed;
}

void host_refuse(loci_gpu *g, const char *op, const char *format, ...)
{
    char why[256];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    pthread_mutex_lock(&g->lock);
    if (g->error.code == LOCI_OK) loci_fail(&g->error, LOCI_EINVAL, "%s: %s", op, why);
    pthread_mutex_unlock(&g->lock);
}

loci_status HOST(status)(loci_gpu *g, loci_error *err)
{
    if (!host_failed(g)) return LOCI_OK;
    return loci_fail(err, g->error.code, "%s", g->error.text);
}

/* ---- memory ------------------------------------------------------------------------------------- */

void *HOST(alloc)(loci_gpu *g, size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, ALIGNMENT, bytes ? bytes : 1) != 0) {
        host_refuse(g, __func__, "no memory for %zu bytes", bytes);
        return NULL;
    }
    memset(p, 0xff, bytes);
    return p;
}

void HOST(free)(loci_gpu *g, void *p)
{
    (void)g;
    free(p);
}

void *HOST(host_alloc)(loci_gpu *g, size_t bytes)
{
    return HOST(alloc)(g, bytes);
}

void HOST(host_free)(loci_gpu *g, void *p)
{
    HOST(free)(g, p);
}

static void move(loci_gpu *g, const char *op, void *to, const void *from, size_t bytes)
{
    if (bytes == 0 || host_failed(g)) return;
    const char *a = to, *b = from;
    if (!a || !b || (a < b + bytes && b < a + bytes)) {
        host_refuse(g, op, "%zu bytes from %p to %p", bytes, from, to);
        return;
    }
    memcpy(to, from, bytes);
}

void HOST(upload)(loci_gpu *g, void *to, const void *host, size_t bytes)
{
    move(g, __func__, to, host, bytes);
}

void HOST(download)(loci_gpu *g, void *host, const void *from, size_t bytes)
{
    move(g, __func__, host, from, bytes);
}

void HOST(copy)(loci_gpu *g, void *to, const void *from, size_t bytes)
{
    move(g, __func__, to, from, bytes);
}

void HOST(copy_from)(loci_gpu *g, void *to, loci_gpu *peer, const void *from, size_t bytes)
{
    REQUIRE(g, !host_failed(peer), "device %d has failed", peer->number);
    move(g, __func__, to, from, bytes);
}

void HOST(clear)(loci_gpu *g, void *p, size_t bytes)
{
    BEGIN(g);
    if (bytes) memset(p, 0, bytes);
}

void HOST(mark)(loci_gpu *g, int mark)
{
    BEGIN(g);
    REQUIRE(g, mark >= 0 && mark < MARKS, "mark %d of %d", mark, MARKS);
    g->mark[mark] = loci_seconds();
}

float HOST(between)(loci_gpu *g, int from, int to)
{
    return (float)(1e3 * (g->mark[to] - g->mark[from]));
}

/* ---- what ops need for themselves --------------------------------------------------------------- */

void *host_scratch(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) abort(); /* a test without memory has nothing to say */
    return p;
}

float *host_rows(const loci_bf16 *x, int ld, int rows, int cols)
{
    float *y = host_scratch((size_t)rows * (size_t)cols, sizeof *y);
    for (int r = 0; r < rows; r++)
        host_get(y + (size_t)r * (size_t)cols, x + (size_t)r * (size_t)ld, (size_t)cols);
    return y;
}
