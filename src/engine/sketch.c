/* sketch.c - makes and keeps the sketches of buckets. */
#include "engine/sketch.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BLOCK = 64, /* rows made at a time: whole panels */
    GROUPS = LOCI_BASIS / LOCI_W4_GROUP
};

struct loci_sketches {
    int n;
    size_t *at;          /* (n + 1) offset of each bucket's: codes, their scales, biases, scales */
    atomic_bool *made;   /* (n) */
    unsigned char *data; /* NULL before the first */
    pthread_mutex_t making;
};

/* Bytes of the codes of n rows and of their scales. */
static size_t code_bytes(size_t n)
{
    return loci_w4_bytes((int)n, LOCI_BASIS);
}
static size_t code_scale_bytes(size_t n)
{
    const size_t panels = (n + LOCI_PANEL - 1) / LOCI_PANEL;
    return panels * GROUPS * LOCI_PANEL * sizeof(uint16_t);
}

loci_status loci_sketches_open(loci_sketches **out, const bkt_entry *table, int n, loci_error *err)
{
    *out = NULL;
    loci_sketches *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for sketches");
    pthread_mutex_init(&s->making, NULL);
    s->n = n;
    s->at = calloc((size_t)n + 1, sizeof *s->at);
    s->made = calloc((size_t)n, sizeof *s->made);
    if (!s->at || !s->made) {
        loci_sketches_close(s);
        return loci_fail(err, LOCI_ENOMEM, "no memory for sketches of %d buckets", n);
    }
    for (int i = 0; i < n; i++) {
        const size_t rows = (size_t)table[i].rows;
        s->at[i + 1] = s->at[i] + seg_align(code_bytes(rows) + code_scale_bytes(rows) +
                                            2 * rows * sizeof(float));
    }
    *out = s;
    return LOCI_OK;
}

void loci_sketches_close(loci_sketches *s)
{
    if (!s) return;
    pthread_mutex_destroy(&s->making);
    loci_free_aligned(s->data);
    free(s->at);
    free(s->made);
    free(s);
}

int64_t loci_sketches_memory(const loci_sketches *s)
{
    return s->n * (int64_t)(sizeof *s->at + sizeof *s->made) + (s->data ? (int64_t)s->at[s->n] : 0);
}

/* ---- making ------------------------------------------------------------------------------------ */
static loci_sketch view_of(const loci_sketches *s, int i, size_t rows)
{
    const unsigned char *p = s->data + s->at[i], *scale = p + code_bytes(rows);
    const float *bias = (const float *)(const void *)(scale + code_scale_bytes(rows));
    return (loci_sketch){ { p, (const uint16_t *)(const void *)scale, (int)rows, LOCI_BASIS },
                          bias,
                          bias + rows };
}

/* Sketches of n <= BLOCK rows, packed at data and scale; mean: of their bucket. */
static void make_block(const loci_basis *basis, const loci_kernels *k, const int8_t *landmark,
                       const float *landmark_scale, int n, const float *mean, unsigned char *data,
                       uint16_t *scale)
{
    float z[BLOCK * LOCI_BASIS], x[BLOCK * LOCI_QUERY_COLS];
    uint8_t q[BLOCK * LOCI_BASIS / 2];
    uint16_t half[BLOCK * GROUPS];
    loci_basis_coordinates(basis, k, z, landmark, landmark_scale, n, x);
    for (int r = 0; r < n; r++)
        for (int j = 0; j < LOCI_BASIS; j++) z[r * LOCI_BASIS + j] -= mean[j];
    k->quant_q4(q, LOCI_BASIS / 2, half, GROUPS, z, LOCI_BASIS, n, LOCI_BASIS);
    loci_w4_pack(data, scale, q, half, n, LOCI_BASIS);
}

static void make(loci_sketches *s, const loci_kernels *k, const loci_buckets *b, int i,
                 const loci_bucket *rows)
{
    const loci_basis basis = loci_buckets_basis(b);
    const float *mean_scale, *spread;
    const int8_t *means = loci_buckets_means(b, &mean_scale, &spread);
    float mean[LOCI_BASIS];
    const size_t n = (size_t)rows->n;
    unsigned char *data = s->data + s->at[i];
    uint16_t *scale = (uint16_t *)(void *)(data + code_bytes(n));
    float *bias = (float *)(void *)((unsigned char *)scale + code_scale_bytes(n));
    k->dequant_q8(mean, LOCI_BASIS, means + (size_t)i * LOCI_BASIS, LOCI_BASIS, mean_scale + i, 1,
                  LOCI_BASIS);
    for (size_t from = 0; from < n; from += BLOCK) {
        const int here = n - from < BLOCK ? (int)(n - from) : BLOCK;
        make_block(&basis, k, rows->landmark + from * (size_t)basis.d, rows->scale + from, here,
                   mean, data + code_bytes(from), scale + code_scale_bytes(from) / sizeof *scale);
    }
    memcpy(bias, rows->bias, n * sizeof *bias);
    memcpy(bias + n, rows->scale, n * sizeof *bias);
}

loci_status loci_sketches_get(loci_sketches *s, const loci_kernels *k, const loci_buckets *b, int i,
                              const loci_bucket *rows, loci_sketch *out, loci_error *err)
{
    if (!atomic_load_explicit(&s->made[i], memory_order_acquire)) {
        pthread_mutex_lock(&s->making);
        if (!s->data) s->data = loci_alloc_untouched(s->at[s->n]);
        if (s->data && !atomic_load_explicit(&s->made[i], memory_order_relaxed)) {
            make(s, k, b, i, rows);
            atomic_store_explicit(&s->made[i], true, memory_order_release);
        }
        pthread_mutex_unlock(&s->making);
        if (!s->data)
            return loci_fail(err, LOCI_ENOMEM, "no memory for sketches of %zu bytes", s->at[s->n]);
    }
    *out = view_of(s, i, (size_t)rows->n);
    return LOCI_OK;
}
