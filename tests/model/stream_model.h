/* stream_model.h - a small random model for tests of streams and spans, a plain memory, and how far
 * two evaluations of one function may lie apart.
 *
 * Tolerance: a dot product of length k in f32 goes through k roundings of partial sums, which add
 * like a random walk: sqrt(k) 2^-24 of the size of such sums.  Moving every weight by that share of
 * itself with random signs does the same to the result, and what it does to the outputs is measured:
 * the largest change in a few tries.  Two evaluations, each of them off: twice.  Norms, softmaxes
 * and activations round as well: a factor of 4 stands for them. */
#ifndef LOCI_TEST_STREAM_MODEL_H
#define LOCI_TEST_STREAM_MODEL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model/model_impl.h"

typedef struct {
    loci_model *m;
    float *base;
    size_t n;
} random_model;

static inline void *room(size_t bytes)
{
    void *p = loci_alloc_aligned(bytes ? bytes : 1);
    assert_non_null(p);
    return p;
}

static inline loci_hparams stream_hparams(void)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.vocab = 48;
    hp.d_model = 64;
    hp.n_heads = 2;
    hp.n_kv_heads = 1;
    hp.n_groups = 2;
    hp.window = 70;
    hp.ffn = 64;
    hp.enc_dim = 64;
    hp.enc_mlp = 48;
    hp.router_hidden = 32;
    hp.read_mlp = 48;
    hp.read_heads = 3;
    hp.d_key = 32;
    hp.d_value = 48;
    hp.top_k = 2;
    return hp;
}

/* Every tensor random, those that start at zero too. */
static inline void random_params(float *base, const loci_hparams *hp, uint64_t seed)
{
    loci_param_info info[256];
    loci_params p;
    loci_rng rng;
    const int n = loci_param_list(hp, info, 256);
    assert_in_range(n, 1, 256);
    loci_params_bind(&p, hp, base);
    loci_rng_seed(&rng, seed);
    for (int i = 0; i < n; i++) {
        const loci_mat *w = (const loci_mat *)(const void *)((const char *)&p + info[i].offset);
        const double size = w->cols == 1 ? 0.5 : 1.0 / sqrt(w->cols);
        for (size_t j = 0; j < (size_t)w->rows * (size_t)w->cols; j++)
            ((float *)w->data)[j] = (float)(size * loci_rng_normal(&rng));
    }
    for (int g = 0; g < hp->n_groups; g++) *(float *)p.read[g].log_tau.data = logf(6.0f);
}

static inline random_model random_model_open(const loci_hparams *hp, uint64_t seed)
{
    loci_error err = { 0 };
    random_model r = { NULL, room(loci_param_floats(hp) * sizeof(float)), loci_param_floats(hp) };
    random_params(r.base, hp, seed);
    if (loci_model_wrap(&r.m, hp, r.base, loci_cpu_detect(), &err) != LOCI_OK)
        fail_msg("%s", err.text);
    return r;
}

static inline void random_model_close(random_model *r)
{
    loci_model_close(r->m);
    loci_free_aligned(r->base);
}

/* Move every weight by sqrt(k) 2^-24 of its size, up or down, k the longest dot product. */
static inline void shake(const random_model *r, const float *from, loci_rng *rng)
{
    const loci_hparams *hp = &r->m->hp;
    int k = hp->d_model + hp->enc_dim;
    if (hp->ffn > k) k = hp->ffn;
    if (hp->read_heads * hp->d_value > k) k = hp->read_heads * hp->d_value;
    const float size = sqrtf((float)k) * 0x1p-24f;
    for (size_t i = 0; i < r->n; i++)
        r->base[i] = from[i] * (1.0f + (loci_rng_u64(rng) & 1 ? size : -size));
}

typedef void output_fn(void *ctx, float *out);

/* The tolerance of n outputs of fn; out receives what fn gives with the weights as they are. */
static inline double tolerance_of(const random_model *r, output_fn *fn, void *ctx, float *out,
                                  size_t n)
{
    float *weights = room(r->n * sizeof *weights), *moved = room(n * sizeof *moved);
    double most = 0.0, size = 0.0;
    loci_rng rng;
    loci_rng_seed(&rng, 77);
    memcpy(weights, r->base, r->n * sizeof *weights);
    fn(ctx, out);
    for (int round = 0; round < 4; round++) {
        shake(r, weights, &rng);
        fn(ctx, moved);
        for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)moved[i] - out[i]));
    }
    memcpy(r->base, weights, r->n * sizeof *weights);
    for (size_t i = 0; i < n; i++) size += (double)out[i] * out[i];
    loci_free_aligned(weights);
    loci_free_aligned(moved);
    print_message("  tolerance %.2g, outputs of size %.2g\n", 2 * 4 * most, sqrt(size / (double)n));
    return 2 * 4 * most;
}

static inline void assert_close(const char *what, int a, int b, const float *x, const float *y,
                                size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)x[i] - y[i]) <= tolerance))
            fail_msg("%s %d %d: element %zu: %.8g and %.8g, tolerance %.2g", what, a, b, i,
                     (double)x[i], (double)y[i], tolerance);
}

static inline int32_t *random_ids(int n, int vocab, uint64_t seed)
{
    int32_t *ids = room((size_t)n * sizeof *ids);
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    for (int i = 0; i < n; i++) ids[i] = (int32_t)loci_rng_below(&rng, (uint32_t)vocab);
    return ids;
}

/* ---- records of documents, searched by brute force ------------------------------------------ */

enum { PLAIN_MAX = 32 };
typedef struct {
    loci_hparams hp;
    int n, n_tokens[PLAIN_MAX];
    int n_docs, doc[PLAIN_MAX]; /* first chunk of each document */
    float *content, *landmark, *bias, *summary;
    loci_status search_fails, content_fails; /* LOCI_OK: they do not */
} plain_bank;

static inline plain_bank plain_bank_open(const loci_hparams *hp)
{
    plain_bank b = { .hp = *hp };
    b.content = room(PLAIN_MAX * 64 * (size_t)loci_content_cols(hp) * sizeof(float));
    b.landmark = room(PLAIN_MAX * (size_t)hp->n_landmarks * 128 * sizeof(float));
    b.bias = room(PLAIN_MAX * sizeof(float));
    b.summary = room(PLAIN_MAX * (size_t)hp->d_summary * sizeof(float));
    return b;
}

static inline void plain_bank_close(plain_bank *b)
{
    loci_free_aligned(b->content);
    loci_free_aligned(b->landmark);
    loci_free_aligned(b->bias);
    loci_free_aligned(b->summary);
}

/* Append a document of n tokens, ingested in spans of `span` tokens. */
static inline void plain_bank_add(plain_bank *b, const loci_model *m, const int32_t *ids, int n,
                                  int span)
{
    const loci_hparams *hp = &m->hp;
    void *memory = room(loci_ingest_bytes(hp, span));
    loci_ingest *s = loci_ingest_init(hp, span, memory);
    b->doc[b->n_docs++] = b->n;
    for (int at = 0; at < n; at += span) {
        const int left = at < loci_ingest_left(hp) ? at : loci_ingest_left(hp);
        const int part = n - at < span ? n - at : span;
        const size_t c = (size_t)b->n;
        loci_ingest_span(s, m, ids + at - left, at - left, left, part,
                         b->content + c * 64 * (size_t)loci_content_cols(hp),
                         b->landmark + c * (size_t)hp->n_landmarks * 128, b->bias + c,
                         b->summary + c * (size_t)hp->d_summary);
        for (int j = 0; j < part; j += 64) b->n_tokens[b->n++] = part - j < 64 ? part - j : 64;
        assert_in_range(b->n, 1, PLAIN_MAX);
    }
    loci_free_aligned(memory);
}

/* Put the chunks that the sequence serves packed through their packed form. */
static inline void plain_bank_pack(plain_bank *b, const loci_model *m, const loci_sequence *s)
{
    for (int c = 0; c < b->n; c++) {
        uint8_t q[64 * LOCI_PACK / 2];
        uint16_t scale[64 * LOCI_PACK / 32];
        float *rows = b->content + (size_t)c * 64 * (size_t)loci_content_cols(&b->hp);
        if (!loci_tier_packed(s, c)) continue;
        loci_pack_content(m, q, scale, rows, b->n_tokens[c]);
        loci_unpack_content(m, rows, q, scale, b->summary + (size_t)(c * b->hp.d_summary),
                            b->n_tokens[c]);
    }
}

static inline int plain_search(void *ctx, const float *u, float tau, int k, int64_t own_end,
                               loci_pick *picks)
{
    const plain_bank *b = ctx;
    bool taken[PLAIN_MAX] = { false };
    (void)own_end;
    if (b->search_fails != LOCI_OK) return b->search_fails;
    int n = 0;
    for (; n < k && n < b->n; n++) {
        int best = -1;
        double top = 0.0;
        for (int c = 0; c < b->n; c++) {
            double near = -2.0;
            for (int i = 0; i < b->hp.n_landmarks; i++) {
                const float *l = b->landmark + (size_t)(c * b->hp.n_landmarks + i) * 128;
                double dot = 0.0;
                for (int d = 0; d < 128; d++) dot += (double)u[d] * l[d];
                near = fmax(near, dot);
            }
            const double s = (double)tau * near + b->bias[c];
            if (!taken[c] && (best < 0 || s > top)) best = c, top = s;
        }
        taken[best] = true;
        picks[n] = (loci_pick){ 100 + best, 7 * best, (float)top };
    }
    return n;
}

static inline int plain_content(void *ctx, const loci_pick *pick, const float **rows)
{
    const plain_bank *b = ctx;
    const size_t c = (size_t)(pick->id - 100);
    if (b->content_fails != LOCI_OK) return b->content_fails;
    *rows = b->content + c * 64 * (size_t)loci_content_cols(&b->hp);
    return b->n_tokens[c];
}

/* Document by document: nodes from the definition, level by level from the top. */
static inline int plain_gist(void *ctx, const float *u, float tau, int64_t own_end,
                             loci_gist_take *take, void *to)
{
    const plain_bank *b = ctx;
    const int ds = b->hp.d_summary;
    (void)u, (void)tau, (void)own_end;
    for (int d = 0; d < b->n_docs; d++) {
        int at = b->doc[d];
        const int end = d + 1 < b->n_docs ? b->doc[d + 1] : b->n;
        for (int level = 5; level >= 0; level--)
            for (int size = 1 << (4 * level); end - at >= size; at += size) {
                float node[LOCI_MAX_SUMMARY];
                for (int i = 0; i < ds; i++) {
                    double sum = 0.0;
                    for (int c = at; c < at + size; c++) sum += b->summary[c * ds + i];
                    node[i] = (float)(sum / size);
                }
                take(to, node, level, 1, NULL);
            }
    }
    return b->content_fails == LOCI_OK ? LOCI_OK : (int)b->content_fails;
}

static inline loci_memory plain_memory(plain_bank *b)
{
    return (loci_memory){ b, plain_search, plain_content, b->hp.d_summary ? plain_gist : NULL };
}

/* ---- a stream with its own memory -------------------------------------------------------------- */

typedef struct {
    loci_stream *s;
    loci_local_bank *own;
    loci_memory memory;
    void *stream_memory, *own_memory;
} chat;

/* Room for `chunks` of its own text, of which the newest `working` are kept whole. */
static inline chat chat_open_with(const loci_model *m, int max_batch, int chunks, int working,
                                  const loci_memory *other)
{
    chat c = { 0 };
    c.stream_memory = room(loci_stream_bytes(&m->hp, max_batch));
    c.own_memory = room(loci_local_bank_bytes_with(&m->hp, chunks, working));
    c.s = loci_stream_init(&m->hp, max_batch, c.stream_memory);
    c.own = loci_local_bank_init_with(&m->hp, chunks, working, c.own_memory);
    c.memory = loci_local_bank_memory(c.own, &m->k, other);
    return c;
}

static inline chat chat_open(const loci_model *m, int max_batch, const loci_memory *other)
{
    return chat_open_with(m, max_batch, 8, LOCI_WORKING_CHUNKS, other);
}

static inline void chat_close(chat *c)
{
    loci_free_aligned(c->stream_memory);
    loci_free_aligned(c->own_memory);
}

/* Logits (n, vocab) of n more ids in one batch. */
static inline void chat_extend(chat *c, const loci_model *m, const int32_t *ids, int n,
                               float *logits)
{
    loci_error err = { 0 };
    const float *h = loci_stream_lower(c->s, m, ids, n);
    if (loci_local_bank_append(c->own, m, h, n, &err) != LOCI_OK ||
        loci_stream_upper(c->s, m, n, &c->memory, logits, n, NULL, &err) != LOCI_OK)
        fail_msg("%s", err.text);
}

#endif
