/* sketch.c - makes and keeps the sketches of buckets. */
#include "engine/sketch.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct loci_sketches {
    int n, d;
    size_t *at;          /* (n + 1) offset of each bucket's: codes, shares, scales, biases */
    float *unit;         /* (n) */
    atomic_bool *made;   /* (n) */
    unsigned char *data; /* NULL before the first */
    pthread_mutex_t making;
};

static size_t bytes_of(size_t rows, int d)
{
    return seg_align(rows * ((size_t)d / 8 + 3 * sizeof(float)));
}

loci_status loci_sketches_open(loci_sketches **out, const bkt_entry *table, int n, int d,
                               loci_error *err)
{
    *out = NULL;
    loci_sketches *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for sketches");
    pthread_mutex_init(&s->making, NULL);
    s->n = n;
    s->d = d;
    s->at = calloc((size_t)n + 1, sizeof *s->at);
    s->made = calloc((size_t)n, sizeof *s->made);
    s->unit = calloc((size_t)n, sizeof *s->unit);
    if (!s->at || !s->made || !s->unit) {
        loci_sketches_close(s);
        return loci_fail(err, LOCI_ENOMEM, "no memory for sketches of %d buckets", n);
    }
    for (int i = 0; i < n; i++) s->at[i + 1] = s->at[i] + bytes_of((size_t)table[i].rows, d);
    *out = s;
    return LOCI_OK;
}

void loci_sketches_close(loci_sketches *s)
{
    if (!s) return;
    pthread_mutex_destroy(&s->making);
    loci_free_aligned(s->data);
    free(s->at);
    free(s->unit);
    free(s->made);
    free(s);
}

int64_t loci_sketches_memory(const loci_sketches *s)
{
    return s->n * (int64_t)(sizeof *s->at + sizeof *s->unit + sizeof *s->made) +
           (s->data ? (int64_t)s->at[s->n] : 0);
}

/* ---- making ------------------------------------------------------------------------------------ */
static loci_sketch view_of(const loci_sketches *s, int i, size_t rows)
{
    const unsigned char *p = s->data + s->at[i];
    const float *share = (const float *)(const void *)(p + rows * (size_t)s->d / 8);
    return (loci_sketch){ (const uint64_t *)(const void *)p, share, share + rows, share + 2 * rows,
                          s->unit[i] };
}

/* Means are of landmarks stretched to the length sqrt(d): by how much these are shorter. */
static float unit_of(const loci_bucket *b, int d)
{
    double square = 0.0;
    for (int r = 0; r < b->n; r++) {
        int sum = 0; /* of 512 squares at most */
        for (int k = 0; k < d; k++) {
            const int x = b->landmark[(size_t)r * (size_t)d + (size_t)k];
            sum += x * x;
        }
        square += (double)sum * (double)b->scale[r] * (double)b->scale[r];
    }
    return b->n > 0 ? (float)sqrt(square / ((double)b->n * d)) : 0.0f;
}

static void make(loci_sketches *s, const loci_kernels *k, int i, const loci_bucket *b,
                 const int8_t *mean, float mean_scale)
{
    const size_t rows = (size_t)b->n;
    unsigned char *p = s->data + s->at[i];
    uint64_t *code = (uint64_t *)(void *)p;
    float *share = (float *)(void *)(p + rows * (size_t)s->d / 8), m[512];
    s->unit[i] = unit_of(b, s->d);
    for (int j = 0; j < s->d; j++) m[j] = s->unit[i] * mean_scale * (float)mean[j];
    k->sketch(code, share, b->landmark, b->scale, m, s->d, b->n);
    memcpy(share + rows, b->scale, rows * sizeof *share);
    memcpy(share + 2 * rows, b->bias, rows * sizeof *share);
}

loci_status loci_sketches_get(loci_sketches *s, const loci_kernels *k, int i, const loci_bucket *b,
                              const int8_t *mean, float mean_scale, loci_sketch *out,
                              loci_error *err)
{
    if (!atomic_load_explicit(&s->made[i], memory_order_acquire)) {
        pthread_mutex_lock(&s->making);
        if (!s->data) s->data = loci_alloc_untouched(s->at[s->n]);
        if (s->data && !atomic_load_explicit(&s->made[i], memory_order_relaxed)) {
            make(s, k, i, b, mean, mean_scale);
            atomic_store_explicit(&s->made[i], true, memory_order_release);
        }
        pthread_mutex_unlock(&s->making);
        if (!s->data)
            return loci_fail(err, LOCI_ENOMEM, "no memory for sketches of %zu bytes", s->at[s->n]);
    }
    *out = view_of(s, i, (size_t)b->n);
    return LOCI_OK;
}
