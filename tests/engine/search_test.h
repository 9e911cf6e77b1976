/* search_test.h - what the tests of searching share: chunks with known landmarks in any number of banks
 * and documents, and the exact answer, in double precision over the stored int8 numbers. */
#ifndef SEARCH_TEST_H
#define SEARCH_TEST_H

#include "engine/bank_test.h"

static inline void unit(loci_rng *r, float *x, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        x[i] = (float)loci_rng_normal(r);
        sum += (double)x[i] * x[i];
    }
    for (int i = 0; i < n; i++) x[i] = (float)(x[i] / sqrt(sum));
}

/* A unit vector at the given cosine to u. */
static inline void near(loci_rng *r, float *x, const float *u, double cosine, int n)
{
    double dot = 0.0, sum = 0.0;
    unit(r, x, n);
    for (int i = 0; i < n; i++) dot += (double)x[i] * u[i];
    for (int i = 0; i < n; i++) x[i] = (float)(x[i] - dot * u[i]);
    for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
    for (int i = 0; i < n; i++)
        x[i] = (float)(cosine * u[i] + sqrt(1 - cosine * cosine) * x[i] / sqrt(sum));
}

/* ---- a corpus: chunks with landmarks, in any number of banks and documents ------------------------------- */
typedef struct {
    float *landmark; /* (n, 2, 128) */
    float *bias;     /* (n) */
    int8_t *q;       /* (n, 2, 128) as stored; made by the first exact() */
    float *scale;    /* (n, 2) */
    int64_t n;
    int64_t hidden; /* chunk whose stored codes are the opposite of its landmarks', -1 none */
} corpus;

static inline corpus corpus_make(uint64_t seed, int64_t n)
{
    corpus c = { .n = n,
                 .hidden = -1,
                 .landmark = malloc((size_t)n * 256 * sizeof(float)),
                 .bias = malloc((size_t)n * sizeof(float)) };
    loci_rng r;
    loci_rng_seed(&r, seed);
    for (int64_t i = 0; i < 2 * n; i++) unit(&r, c.landmark + i * 128, 128);
    for (int64_t i = 0; i < n; i++) c.bias[i] = 0.3f * uniform(&r);
    return c;
}

static inline void corpus_free(corpus *c)
{
    free(c->landmark);
    free(c->bias);
    free(c->q);
    free(c->scale);
}

static inline void append_chunk(loci_segment_writer *w, const loci_engine *e, const corpus *c,
                                int64_t i, test_chunk *x)
{
    loci_error err;
    uint64_t code[4];
    const loci_hparams *hp = &e->model->hp;
    chunk_make(x, &(loci_segment_shape){ 2, 128, 128, 2, { 0 }, 0, 0, hp->d_summary }, SEED, i);
    loci_codes(e->model, code, c->landmark + i * 256, 2);
    for (int k = 0; k < 4 && i == c->hidden; k++) code[k] = ~code[k];
    x->record.landmark = c->landmark + i * 256;
    x->record.code = code;
    x->record.bias = c->bias[i];
    x->record.byte_start = 64 * i;
    OK(loci_segment_append(w, &x->record, &err));
}

/* Chunks [first, first + n) as documents of `doc` chunks each (the last may be shorter), all in one
 * segment; `dead` chunks of no document stand before each. */
static inline void put_corpus(loci_bank *b, const corpus *c, int64_t first, int64_t n, int64_t doc,
                              int64_t dead)
{
    loci_error err;
    loci_segment_writer *w;
    loci_segment_row seg;
    char path[4096];
    test_chunk *x = malloc(sizeof *x);
    loci_doc_row *row = calloc((size_t)(n / doc + 1), sizeof *row);
    int64_t rows = 0;
    OK(loci_bank_new_segment(b, &seg, path, sizeof path, &err));
    OK(loci_segment_create(&w, NULL, path, &b->shape, &err));
    for (int64_t i = 0; i < n; i++) {
        if (i % doc == 0) {
            for (int64_t k = 0; k < dead; k++) append_chunk(w, b->engine, c, 0, x);
            char name[32];
            snprintf(name, sizeof name, "doc-%lld", (long long)(first + i));
            row[rows++] = (loci_doc_row){ .name = strdup(name),
                                          .path = strdup(""),
                                          .segment = seg.id,
                                          .first_chunk = loci_segment_chunks(w),
                                          .bytes = 64 * (first + n) };
        }
        append_chunk(w, b->engine, c, first + i, x);
        row[rows - 1].chunks++;
        row[rows - 1].tokens += 64;
    }
    seg.chunks = loci_segment_chunks(w);
    OK(loci_segment_finish(w, &seg.bytes, &err));
    loci_segment_writer_close(w);
    OK(loci_bank_commit(b, &seg, row, rows, NULL, 0, &err));
    OK(loci_bank_reload(b, &err));
    loci_doc_rows_free(row, rows);
    free(x);
}

/* ---- the truth ------------------------------------------------------------------------------------------------ */
typedef struct {
    double score;
    int64_t index;
} scored;

static inline int best_first(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* All chunks scored from what is stored: int8 landmarks with their scales. */
static inline scored *exact(corpus *c, const float *u, double tau)
{
    scored *s = malloc((size_t)c->n * sizeof *s);
    if (!c->q) {
        c->q = malloc((size_t)c->n * 256);
        c->scale = malloc((size_t)c->n * 2 * sizeof(float));
        loci_quant_q8_ref(c->q, 128, c->scale, c->landmark, 128, 2 * (int)c->n, 128);
    }
    for (int64_t i = 0; i < c->n; i++) {
        const int8_t *q = c->q + i * 256;
        const float *scale = c->scale + 2 * i;
        double top = -INFINITY;
        for (int m = 0; m < 2; m++) {
            double dot = 0.0;
            for (int k = 0; k < 128; k++) dot += (double)u[k] * q[m * 128 + k];
            top = fmax(top, dot * scale[m]);
        }
        s[i] = (scored){ tau * top + c->bias[i], i };
    }
    qsort(s, (size_t)c->n, sizeof *s, best_first);
    return s;
}

/* The query is rounded to 16383 steps of its largest number, at most 0.6 in what these tests draw; half
 * a step off in each of 128 products with a unit vector, sum|l| <= sqrt(128) 1.02.  Some roundings. */
static inline double score_tolerance(double tau, double score)
{
    return tau * (0.5 * 0.6 / 16383 * 11.32 * 1.02 + 4 * 0x1p-24) + fabs(score) * 0x1p-22;
}

typedef struct {
    test_engine t;
    char dir[4][64];
    loci_bank *bank[4];
    int n_banks;
    loci_searcher *s;
    loci_memory memory;
} setup;

static inline void setup_open_with(setup *x, int n_banks, loci_hparams hp)
{
    loci_error err;
    memset(x, 0, sizeof *x);
    engine_init_with(&x->t, 0x77, hp);
    x->n_banks = n_banks;
    for (int i = 0; i < n_banks; i++) {
        scratch_make(x->dir[i]);
        OK(loci_bank_open(&x->bank[i], &x->t.e, x->dir[i], LOCI_BANK_CREATE, &err));
    }
}

static inline void setup_open(setup *x, int n_banks, int postings)
{
    loci_hparams hp = test_hparams();
    hp.postings = postings;
    setup_open_with(x, n_banks, hp);
}

static inline void setup_search_by(setup *x, loci_search_mode mode)
{
    loci_error err;
    OK(loci_searcher_open_with(&x->s, &x->t.e, x->bank, x->n_banks, mode, &err));
    x->memory = loci_searcher_memory(x->s);
}

static inline void setup_search(setup *x)
{
    setup_search_by(x, LOCI_SEARCH_FAST);
}

static inline void setup_close(setup *x)
{
    loci_searcher_close(x->s);
    for (int i = 0; i < x->n_banks; i++) {
        loci_bank_close(x->bank[i]);
        scratch_remove(x->dir[i]);
    }
    engine_free(&x->t);
}

#endif
