/* test_slow_gpu_serve.c - ingest and streams on the GPU against ingest.c, stream.c and consult.c.
 *
 * Goal: records of documents and, of a stream over a bank, logits, losses, gates and what was read with what
 * weight, are the CPU's up to bf16 rounding: for prefill and token by token, in calls of awkward sizes,
 * past the window and the ring's end, with own chunks, with a bank of a few and of thousands of chunks.
 * Method: random parameters rounded to bf16.  What rounding may do is measured on the CPU as in
 * test_slow_gpu_pass.c: weights moved at random by 2^-8 of their size, and the root mean square of what that
 * changes, times FACTOR.  Weights are compared as a vector over chunks, so a pick that a near-tie
 * replaced counts for what it weighed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "model/gpu/gpu_serve_impl.h"

#define SEED UINT64_C(20261127)

enum { SAMPLES = 3 };
static const double FACTOR = 3.0;

static loci_gpu *gpu;

static int open_gpu(void **state)
{
    loci_error err = { 0 };
    (void)state;
    if (loci_gpu_open(&gpu, 0, &err) != LOCI_OK) print_message("skipped: %s\n", err.text);
    return 0;
}

static int close_gpu(void **state)
{
    (void)state;
    loci_gpu_close(gpu);
    return 0;
}

static loci_hparams small_shape(void)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.vocab = 512;
    hp.d_model = 128;
    hp.n_heads = 4;
    hp.n_kv_heads = 2;
    hp.n_lower = 2;
    hp.n_upper = 2;
    hp.n_groups = 2;
    hp.window = 96;
    hp.ffn = 136;
    hp.enc_dim = 128;
    hp.enc_mlp = 72;
    hp.router_hidden = 64;
    hp.read_mlp = 88;
    hp.top_k = 5;
    return hp;
}

static float *make_params(const loci_hparams *hp)
{
    const size_t n = loci_param_floats(hp);
    float *base = loci_alloc_aligned(n * sizeof *base);
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    loci_params_init(base, hp, 5);
    for (size_t i = 0; i < n; i++)
        base[i] =
            loci_bf16_to_f32(loci_f32_to_bf16(base[i] + 0.03f * (float)loci_rng_normal(&rng)));
    return base;
}

static float *moved_params(const loci_hparams *hp, const float *base, int sample)
{
    const size_t n = loci_param_floats(hp);
    float *moved = loci_alloc_aligned(n * sizeof *moved);
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 77 + (uint64_t)sample);
    for (size_t i = 0; i < n; i++)
        moved[i] = base[i] * (1.0f + 0x1p-8f * (float)loci_rng_normal(&rng));
    return moved;
}

static int32_t *random_ids(const loci_hparams *hp, size_t n, uint64_t seed)
{
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    int32_t *ids = malloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(16 + loci_rng_below(&rng, (uint32_t)hp->vocab - 16));
    return ids;
}

/* ---- numbers by name, some rows each ------------------------------------------------------------ */

enum { SERIES = 4 };
typedef struct {
    const char *name;
    float *x;
    size_t rows, cols;
} series;
typedef struct {
    series s[SERIES];
    int n;
} result;

static float *add_series(result *r, const char *name, size_t rows, size_t cols)
{
    float *x = calloc(rows * cols, sizeof *x);
    assert_non_null(x);
    assert_true(r->n < SERIES);
    r->s[r->n++] = (series){ name, x, rows, cols };
    return x;
}

static void free_result(result *r)
{
    for (int i = 0; i < r->n; i++) free(r->s[i].x);
}

static double rms_off(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(b[i])) return INFINITY;
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sqrt(sum / (double)n);
}

/* moved[]: the CPU's results with moved weights.  All numbers of a series together, and each row alone
 * within four times that: a wrong row would drown in many. */
static void compare(const result *cpu, const result *got, const result *moved)
{
    bool ok = true;
    for (int i = 0; i < cpu->n; i++) {
        const series *a = &cpu->s[i], *b = &got->s[i];
        const size_t n = a->rows * a->cols;
        double limit = 0.0, size = 0.0, worst = 0.0;
        size_t at = 0;
        for (int k = 0; k < SAMPLES; k++) {
            const double d = rms_off(a->x, moved[k].s[i].x, n);
            limit += d * d / SAMPLES;
        }
        limit = FACTOR * sqrt(limit);
        for (size_t j = 0; j < n; j++) size += (double)a->x[j] * a->x[j] / (double)n;
        size = sqrt(size);
        const double off = rms_off(a->x, b->x, n);
        for (size_t r = 0; r < a->rows; r++) {
            const double d = rms_off(a->x + r * a->cols, b->x + r * a->cols, a->cols);
            if (d > worst) worst = d, at = r;
        }
        const bool good = off <= limit && worst <= 8.0 * limit;
        print_message("  %-9s size %.3e off %.3e limit %.3e, worst row %zu off %.3e%s\n", a->name,
                      size, off, limit, at, worst, good ? "" : "   WRONG");
        if (!(limit < 0.25 * size)) fail_msg("%s: the limit says nothing", a->name);
        ok = ok && good;
    }
    assert_true(ok);
}

/* ---- ingest -------------------------------------------------------------------------------------- */

/* Documents; the last is cut into three spans, whose second and third need context. */
enum { N_DOCS = 5, LONG = 1000 };
static const int doc_length[N_DOCS] = { 1, 64, 65, 130, LONG };
static const int cut_at[4] = { 0, 448, 640, LONG };

static int chunks_of(int tokens)
{
    return (tokens + 63) / 64;
}

static int all_chunks(void)
{
    int n = 0;
    for (int d = 0; d < N_DOCS; d++) n += chunks_of(doc_length[d]);
    return n;
}

static result new_records(const loci_hparams *hp, float **content, float **landmark, float **bias,
                          float **summary)
{
    result r = { .n = 0 };
    const size_t C = (size_t)all_chunks();
    *content = add_series(&r, "content", C, 64 * 128);
    *landmark = add_series(&r, "landmark", C, 256);
    *bias = add_series(&r, "bias", C, 1);
    *summary = hp->d_summary ? add_series(&r, "summary", C, (size_t)hp->d_summary) : NULL;
    return r;
}

static result ingest_cpu(const loci_hparams *hp, float *base, int32_t *const *ids)
{
    float *content, *landmark, *bias, *summary;
    result r = new_records(hp, &content, &landmark, &bias, &summary);
    loci_model *m;
    loci_error err = { 0 };
    assert_int_equal(loci_model_wrap(&m, hp, base, 0, &err), LOCI_OK);
    void *memory = loci_alloc_aligned(loci_ingest_bytes(hp, 1024));
    loci_ingest *in = loci_ingest_init(hp, 1024, memory);
    for (int d = 0, c = 0; d < N_DOCS; d++) { /* each document in one span */
        loci_ingest_span(in, m, ids[d], 0, 0, doc_length[d], content + (size_t)c * 64 * 128,
                         landmark + (size_t)c * 256, bias + c,
                         summary ? summary + (size_t)c * (size_t)hp->d_summary : NULL);
        c += chunks_of(doc_length[d]);
    }
    loci_free_aligned(memory);
    loci_model_close(m);
    return r;
}

static result ingest_gpu(const loci_hparams *hp, const float *base, int32_t *const *ids)
{
    float *content, *landmark, *bias, *summary;
    result r = new_records(hp, &content, &landmark, &bias, &summary);
    loci_gpu_weights w;
    loci_gpu_ingest *in;
    loci_gpu_span span[N_DOCS + 2];
    int n = 0, done = 0;
    loci_error err = { 0 };
    for (int d = 0; d + 1 < N_DOCS; d++)
        span[n++] = (loci_gpu_span){ .ids = ids[d], .n = doc_length[d] };
    for (int i = 0; i < 3; i++) {
        const int left = loci_ingest_left(hp);
        span[n++] = (loci_gpu_span){ .ids = ids[N_DOCS - 1] + cut_at[i],
                                     .pos = cut_at[i],
                                     .left = cut_at[i] < left ? cut_at[i] : left,
                                     .n = cut_at[i + 1] - cut_at[i] };
    }
    if (loci_gpu_weights_init(&w, gpu, hp, false, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_gpu_weights_upload(&w, gpu, base);
    if (loci_gpu_ingest_open(&in, gpu, &w, 2048, 64, &err) != LOCI_OK) fail_msg("%s", err.text);
    for (int first = 0; first < n; first += 4) { /* two batches: buffers are used again */
        loci_gpu_records got;
        int chunks = 0;
        const int part = n - first < 4 ? n - first : 4;
        for (int i = first; i < first + part; i++) chunks += chunks_of(span[i].n);
        if (loci_gpu_ingest_start(in, span + first, part, &err) != LOCI_OK ||
            loci_gpu_ingest_finish(in, &got, &err) != LOCI_OK)
            fail_msg("%s", err.text);
        for (int i = 0; i < chunks * 64 * 128; i++)
            content[done * 64 * 128 + i] = loci_bf16_to_f32(got.content[i]);
        for (int i = 0; i < chunks * 256; i++)
            landmark[done * 256 + i] = loci_bf16_to_f32(got.landmark[i]);
        memcpy(bias + done, got.bias, (size_t)chunks * sizeof *bias);
        if (summary)
            memcpy(summary + done * hp->d_summary, got.summary,
                   (size_t)(chunks * hp->d_summary) * sizeof *summary);
        done += chunks;
    }
    assert_int_equal(done, all_chunks());
    /* What does not fit is refused whole, and the next batch is as if nothing had been asked. */
    loci_gpu_span wide = span[n - 1];
    wide.n = 5000;
    assert_int_equal(loci_gpu_ingest_start(in, &wide, 1, &err), LOCI_EINVAL);
    wide = (loci_gpu_span){ .ids = ids[0], .pos = (int64_t)1 << 31, .n = 1 };
    assert_int_equal(loci_gpu_ingest_start(in, &wide, 1, &err), LOCI_EINVAL);
    loci_gpu_ingest_close(in);
    loci_gpu_weights_free(&w, gpu);
    return r;
}

static void check_records(const loci_hparams *shape)
{
    if (!gpu) skip();
    const loci_hparams hp = *shape;
    float *base = make_params(&hp);
    int32_t *ids[N_DOCS];
    result moved[SAMPLES];
    for (int d = 0; d < N_DOCS; d++) ids[d] = random_ids(&hp, (size_t)doc_length[d], SEED + d);
    result cpu = ingest_cpu(&hp, base, ids), got = ingest_gpu(&hp, base, ids);
    for (int k = 0; k < SAMPLES; k++) {
        float *m = moved_params(&hp, base, k);
        moved[k] = ingest_cpu(&hp, m, ids);
        loci_free_aligned(m);
    }
    compare(&cpu, &got, moved);
    for (int k = 0; k < SAMPLES; k++) free_result(&moved[k]);
    free_result(&cpu);
    free_result(&got);
    for (int d = 0; d < N_DOCS; d++) free(ids[d]);
    loci_free_aligned(base);
}

static void test_records(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    check_records(&hp);
}

static loci_hparams shape_with_summaries(void)
{
    loci_hparams hp = small_shape();
    hp.d_summary = 64;
    hp.content_bits4 = 1;
    return hp;
}

static void test_records_with_summaries(void **state)
{
    (void)state;
    const loci_hparams hp = shape_with_summaries();
    check_records(&hp);
}

/* ---- a memory of chunks ------------------------------------------------------------------------------ */

enum { TOKENS = 700, MOST_OWN = TOKENS / 64 + 1, MOST_ROWS = 512 };

typedef struct { /* numbers are bf16, so both sides have the same */
    int n;
    float *landmark, *bias, *content;
    int32_t *n_tokens;
} chunks;

static float *random_bf16(loci_rng *rng, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = loci_bf16_to_f32(loci_f32_to_bf16((float)loci_rng_normal(rng)));
    return x;
}

static chunks make_chunks(int n, uint64_t seed)
{
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    chunks c = { .n = n };
    c.landmark = random_bf16(&rng, (size_t)n * 256);
    for (size_t i = 0; i < (size_t)n * 256; i++) /* about unit length */
        c.landmark[i] = loci_bf16_to_f32(loci_f32_to_bf16(c.landmark[i] / sqrtf(128.0f)));
    c.bias = random_bf16(&rng, (size_t)n);
    for (int i = 0; i < n; i++) c.bias[i] *= 2.0f; /* far apart: fewer picks hang on a rounding */
    c.content = random_bf16(&rng, (size_t)n * 64 * 128);
    c.n_tokens = malloc(((size_t)n + 1) * sizeof *c.n_tokens);
    for (int i = 0; i < n; i++) c.n_tokens[i] = i % 3 ? 64 : 1 + (int32_t)loci_rng_below(&rng, 64);
    return c;
}

static void free_chunks(chunks *c)
{
    free(c->landmark);
    free(c->bias);
    free(c->content);
    free(c->n_tokens);
}

static int search_chunks(void *ctx, const float *u, float tau, int k, int64_t own_end,
                         loci_pick *picks)
{
    const chunks *c = ctx;
    loci_scored best[LOCI_MAX_PICKS];
    (void)own_end;
    const int n = loci_landmark_topk_ref(best, 0, k, u, c->landmark, c->bias, tau, 2, 128, c->n, 0);
    for (int i = 0; i < n; i++)
        picks[i] = (loci_pick){ best[i].index, best[i].index, best[i].score };
    return n;
}

static int content_of(void *ctx, int64_t chunk, const float **rows)
{
    const chunks *c = ctx;
    *rows = c->content + (size_t)chunk * 64 * 128;
    return c->n_tokens[chunk];
}

static int content_chunk(void *ctx, const loci_pick *pick, const float **rows)
{
    return content_of(ctx, pick->id, rows);
}

/* Nodes of documents outside: as many as there are chunks, of two levels. */
static int gist_of(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                   void *to)
{
    const chunks *c = ctx;
    (void)u, (void)tau, (void)own_end;
    for (int i = 0; i < c->n; i++) take(to, c->content + (size_t)i * 64 * 128, i % 2, 1);
    return LOCI_OK;
}

/* ---- streams ------------------------------------------------------------------------------------------- */

/* Calls: prefill in awkward pieces, then token by token. */
static const int calls[] = { 1, 63, 256, 2, 64, 65, 100, 7, 129 };
/* Without chunks outside a call may be longer. */
static const int long_calls[] = { 1, 500, 1, 140, 7 };

typedef struct {
    float *logits, *gate, *weight; /* (T, V) (T, G) (T*G, chunks + own) */
    float *loss;                   /* (T) of the token behind */
    size_t columns;
} noted;

static result new_notes(const loci_hparams *hp, const chunks *c, noted *to)
{
    result r = { .n = 0 };
    to->columns = (size_t)c->n + MOST_OWN;
    to->logits = add_series(&r, "logits", TOKENS, (size_t)hp->vocab);
    to->gate = add_series(&r, "gate", TOKENS, (size_t)hp->n_groups);
    to->weight = add_series(&r, "weight", TOKENS * (size_t)hp->n_groups, to->columns);
    to->loss = add_series(&r, "loss", TOKENS, 1);
    return r;
}

static loci_reads new_reads(const loci_hparams *hp)
{
    const size_t rows = MOST_ROWS * (size_t)hp->n_groups, picks = rows * (size_t)hp->top_k;
    return (loci_reads){ .gate = calloc(rows, sizeof(float)),
                         .weight = calloc(picks, sizeof(float)),
                         .pick = calloc(picks, sizeof(loci_pick)),
                         .n_picks = calloc(rows, sizeof(int32_t)) };
}

static void free_reads(loci_reads *r)
{
    free(r->gate);
    free(r->weight);
    free(r->pick);
    free(r->n_picks);
}

static void note(const loci_hparams *hp, const chunks *c, noted *to, const loci_reads *r, int at,
                 int n)
{
    const int G = hp->n_groups, K = hp->top_k;
    memcpy(to->gate + at * G, r->gate, (size_t)(n * G) * sizeof *r->gate);
    for (int i = 0; i < n * G; i++)
        for (int j = 0; j < r->n_picks[i]; j++) {
            const loci_pick *p = &r->pick[i * K + j];
            const int64_t own = p->id < 0 ? p->id - LOCI_OWN_ID : 0,
                          column = p->id >= 0 ? p->id : c->n + own;
            assert_true(column >= 0 && column < (int64_t)to->columns);
            assert_true(p->time == (p->id >= 0 ? p->id : LOCI_OWN_TIME + own));
            assert_true(j == 0 || p->time > p[-1].time);
            to->weight[((size_t)at * (size_t)G + (size_t)i) * to->columns + (size_t)column] =
                r->weight[i * K + j];
        }
}

/* The sizes of all calls: `calls`, or the long ones, then 1 until the tokens are used up. */
static int size_of_call(int i, int at, bool is_long)
{
    const int *size = is_long ? long_calls : calls,
              count = (int)(is_long ? sizeof long_calls / sizeof *long_calls
                                    : sizeof calls / sizeof *calls);
    const int n = i < count ? size[i] : 1;
    return n < TOKENS - at ? n : TOKENS - at;
}

/* What token t foretells of the next; nothing of the last. */
static float loss_at(const loci_hparams *hp, const float *logits, const int32_t *ids, int t)
{
    const float *x = logits + (size_t)t * (size_t)hp->vocab;
    double sum = 0.0;
    if (t + 1 == TOKENS) return 0.0f;
    for (int i = 0; i < hp->vocab; i++) sum += exp((double)x[i]);
    return (float)(log(sum) - (double)x[ids[t + 1]]);
}

static result stream_cpu(const loci_hparams *hp, float *base, const int32_t *ids, chunks *c)
{
    noted to;
    result r = new_notes(hp, c, &to);
    loci_model *m;
    loci_error err = { 0 };
    assert_int_equal(loci_model_wrap(&m, hp, base, 0, &err), LOCI_OK);
    void *stream_memory = loci_alloc_aligned(loci_stream_bytes(hp, 256)),
         *own_memory = loci_alloc_aligned(loci_local_bank_bytes(hp, MOST_OWN));
    loci_stream *s = loci_stream_init(hp, 256, stream_memory);
    loci_local_bank *own = loci_local_bank_init(hp, MOST_OWN, own_memory);
    const loci_memory outside = {
        .ctx = c, .search = search_chunks, .content = content_chunk, .gist = gist_of
    };
    loci_memory memory = loci_local_bank_memory(own, &m->k, &outside);
    loci_reads reads = new_reads(hp);
    for (int i = 0, at = 0, n; at < TOKENS; at += n, i++) {
        n = size_of_call(i, at, false);
        const float *h = loci_stream_lower(s, m, ids + at, n);
        assert_int_equal(loci_local_bank_append(own, m, h, n, &err), LOCI_OK);
        assert_int_equal(loci_stream_upper(s, m, n, &memory,
                                           to.logits + (size_t)at * (size_t)hp->vocab, n, &reads,
                                           &err),
                         LOCI_OK);
        note(hp, c, &to, &reads, at, n);
    }
    for (int t = 0; t < TOKENS; t++) to.loss[t] = loss_at(hp, to.logits, ids, t);
    free_reads(&reads);
    loci_free_aligned(stream_memory);
    loci_free_aligned(own_memory);
    loci_model_close(m);
    return r;
}

static loci_gpu_bank *upload_chunks(const loci_hparams *hp, const chunks *c)
{
    loci_error err = { 0 };
    loci_gpu_bank *b;
    const size_t n = (size_t)c->n * 256;
    loci_bf16 *half = malloc((n + 1) * sizeof *half);
    for (size_t i = 0; i < n; i++) half[i] = loci_f32_to_bf16(c->landmark[i]);
    if (loci_gpu_bank_open(&b, gpu, c->n, MOST_OWN, hp->d_summary, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    loci_gpu_bank_put(b, 0, c->n, half, c->bias);
    assert_int_equal(loci_gpu_status(gpu, &err), LOCI_OK);
    free(half);
    return b;
}

static result stream_gpu(const loci_hparams *hp, float *base, const int32_t *ids, chunks *c)
{
    noted to;
    result r = new_notes(hp, c, &to);
    loci_gpu_weights w;
    loci_gpu_stream *s;
    loci_error err = { 0 };
    loci_hparams other_gates = *hp; /* those of the reader's model hold */
    other_gates.hard_gate = !hp->hard_gate;
    other_gates.gate_open = 0.5f;
    if (loci_gpu_weights_init(&w, gpu, &other_gates, false, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    loci_gpu_weights_upload(&w, gpu, base);
    if (loci_gpu_stream_open(&s, gpu, &w, c->n ? 256 : MOST_ROWS, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    loci_model *m;
    int32_t target[TOKENS];
    memcpy(target, ids + 1, (TOKENS - 1) * sizeof *target);
    target[TOKENS - 1] = -1;
    assert_int_equal(loci_model_wrap(&m, hp, base, 0, &err), LOCI_OK);
    const loci_memory outside = { .ctx = c, .gist = gist_of };
    const loci_gpu_reader reader = { upload_chunks(hp, c),  content_of, c, hp->top_k, m,
                                     c->n ? &outside : NULL };
    loci_reads reads = new_reads(hp);
    for (int turn = 0; turn < 2; turn++) { /* the second must not see the first */
        loci_gpu_stream_reset(s);
        loci_gpu_bank_reset(reader.bank);
        memset(to.weight, 0, TOKENS * (size_t)hp->n_groups * to.columns * sizeof *to.weight);
        const int end = turn ? TOKENS : 386; /* up to the call of 65 */
        for (int i = 0, at = 0, n; at < end; at += n, i++) {
            n = size_of_call(i, at, turn && c->n == 0);
            if (loci_gpu_stream_extend(s, &reader, ids + at, n,
                                       to.logits + (size_t)at * (size_t)hp->vocab, n, &reads,
                                       &err) != LOCI_OK ||
                loci_gpu_stream_losses(s, target + at, n, to.loss + at, &err) != LOCI_OK)
                fail_msg("%s", err.text);
            note(hp, c, &to, &reads, at, n);
            assert_int_equal(loci_gpu_stream_pos(s), at + n);
        }
    }
    /* All own chunks are used: refused, and the position stays. */
    int32_t more[256] = { 0 };
    assert_int_equal(loci_gpu_stream_extend(s, &reader, more, 256, NULL, 0, NULL, &err),
                     LOCI_ENOMEM);
    assert_int_equal(loci_gpu_stream_pos(s), TOKENS);
    free_reads(&reads);
    loci_gpu_stream_close(s);
    loci_gpu_bank_close(reader.bank);
    loci_gpu_weights_free(&w, gpu);
    loci_model_close(m);
    return r;
}

static void check_stream(const loci_hparams *hp, int n_chunks)
{
    if (!gpu) skip();
    float *base = make_params(hp);
    int32_t *ids = random_ids(hp, TOKENS, SEED + 9);
    chunks c = make_chunks(n_chunks, SEED + (uint64_t)n_chunks);
    result moved[SAMPLES], cpu = stream_cpu(hp, base, ids, &c), got = stream_gpu(hp, base, ids, &c);
    for (int k = 0; k < SAMPLES; k++) {
        float *m = moved_params(hp, base, k);
        moved[k] = stream_cpu(hp, m, ids, &c);
        loci_free_aligned(m);
    }
    compare(&cpu, &got, moved);
    for (int k = 0; k < SAMPLES; k++) free_result(&moved[k]);
    free_result(&cpu);
    free_result(&got);
    free_chunks(&c);
    free(ids);
    loci_free_aligned(base);
}

static void test_stream_alone(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    check_stream(&hp, 0);
}

static void test_stream_with_bank(void **state)
{
    (void)state;
    const loci_hparams hp = small_shape();
    check_stream(&hp, 37);
}

/* Scored in parts by many blocks; one head of its own. */
static void test_stream_with_large_bank(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.tied = 0;
    hp.top_k = 16;
    check_stream(&hp, 3000);
}

/* Heads that weigh picks by their order. */
static void test_stream_with_order(void **state)
{
    (void)state;
    loci_hparams hp = small_shape();
    hp.order = 1;
    check_stream(&hp, 37);
}

/* Gist heads over the documents outside and the stream's own pyramid. */
static void test_stream_with_summaries(void **state)
{
    (void)state;
    const loci_hparams hp = shape_with_summaries();
    check_stream(&hp, 37);
}

/* ... over the latter alone, and with gates that are all open. */
static void test_stream_with_own_summaries(void **state)
{
    (void)state;
    loci_hparams hp = shape_with_summaries();
    hp.hard_gate = 1;
    hp.gate_open = 0.01f;
    check_stream(&hp, 0);
}

static void test_no_groups(void **state)
{
    (void)state;
    if (!gpu) skip();
    loci_hparams hp = small_shape();
    loci_gpu_weights w;
    loci_gpu_stream *s;
    loci_error err = { 0 };
    hp.n_groups = 0;
    float *base = make_params(&hp), logits[512];
    int32_t id = 20;
    if (loci_gpu_weights_init(&w, gpu, &hp, false, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_gpu_weights_upload(&w, gpu, base);
    if (loci_gpu_stream_open(&s, gpu, &w, 256, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_gpu_reader none = { 0 };
    if (loci_gpu_stream_extend(s, &none, &id, 1, logits, 1, NULL, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < 512; i++) assert_true(isfinite(logits[i]));
    loci_gpu_stream_close(s);
    loci_gpu_weights_free(&w, gpu);
    loci_free_aligned(base);
}

/* ---- more chunks than places ---------------------------------------------------------------------------- */

/* A bank of more chunks than LOCI_GPU_SLOTS_KEPT with content that says its own number: what is read
 * through the places must be what was picked, however often places change hands. */
static int numbered(void *ctx, int64_t chunk, const float **rows)
{
    float *x = ctx;
    for (int i = 0; i < 128; i++) x[i] = (float)(i < 64 ? 0 : chunk % 251);
    *rows = x;
    return 1;
}

static void test_places_change_hands(void **state)
{
    (void)state;
    if (!gpu) skip();
    enum { N = LOCI_GPU_SLOTS_KEPT + 5000, ROUNDS = 40, PICKED = 3000 };
    loci_error err = { 0 };
    loci_gpu_bank *b;
    float rows[128];
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    if (loci_gpu_bank_open(&b, gpu, N, 4, 0, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_gpu_reader r = { .bank = b, .content = numbered, .ctx = rows, .top_k = 16 };
    int32_t *place = malloc(PICKED * sizeof *place);
    int64_t *chunk = malloc(PICKED * sizeof *chunk);
    for (int round = 0; round < ROUNDS; round++) {
        loci_gpu_bank_begin(b);
        for (int i = 0; i < PICKED; i++) {
            chunk[i] = loci_rng_below(&rng, N);
            assert_int_equal(loci_gpu_bank_place(b, &r, chunk[i], &place[i], &err), LOCI_OK);
        }
        loci_gpu_bank_flush(b);
        for (int i = 0; i < PICKED; i += 97) {
            loci_bf16 got[128];
            int32_t n;
            loci_gpu_download(gpu, got, b->content + (size_t)place[i] * 64 * 128, sizeof got);
            loci_gpu_download(gpu, &n, b->n_tokens + place[i], sizeof n);
            assert_int_equal(n, 1);
            assert_true(loci_bf16_to_f32(got[0]) == 0.0f);
            assert_true(loci_bf16_to_f32(got[64]) == (float)(chunk[i] % 251));
        }
    }
    int32_t own;
    assert_int_equal(loci_gpu_bank_place(b, &r, N + 3, &own, &err), LOCI_OK);
    assert_int_equal(own, LOCI_GPU_SLOTS_KEPT + 3);
    loci_gpu_bank_close(b);
    free(place);
    free(chunk);
}

/* Content of version `version` of a chunk, and how often it was asked for. */
typedef struct {
    float rows[128];
    int version, calls;
} versions;

static int versioned(void *ctx, int64_t chunk, const float **rows)
{
    versions *v = ctx;
    for (int i = 0; i < 128; i++) v->rows[i] = (float)(i < 64 ? v->version : chunk % 251);
    *rows = v->rows;
    v->calls++;
    return 1;
}

/* The version that the place of a chunk holds; it must be that chunk's. */
static int version_at(loci_gpu_bank *b, const loci_gpu_reader *r, int64_t chunk)
{
    loci_error err = { 0 };
    loci_bf16 got[128];
    int32_t place;
    loci_gpu_bank_begin(b);
    assert_int_equal(loci_gpu_bank_place(b, r, chunk, &place, &err), LOCI_OK);
    loci_gpu_bank_flush(b);
    loci_gpu_download(gpu, got, b->content + (size_t)place * 64 * 128, sizeof got);
    assert_true(loci_bf16_to_f32(got[64]) == (float)(chunk % 251));
    return (int)loci_bf16_to_f32(got[0]);
}

/* Of chunks that are kept content stays, of the others it is fetched again. */
static void test_some_chunks_are_kept(void **state)
{
    (void)state;
    if (!gpu) skip();
    enum { N = 1000, KEEP = 700 };
    loci_error err = { 0 };
    loci_gpu_bank *b;
    versions v = { .version = 1 };
    int32_t own;
    if (loci_gpu_bank_open(&b, gpu, N, 4, 0, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_gpu_reader r = { .bank = b, .content = versioned, .ctx = &v, .top_k = 16 };
    for (int c = 0; c < N; c++) assert_int_equal(version_at(b, &r, c), 1);
    assert_int_equal(v.calls, N);
    v.version = 2;
    assert_true(loci_gpu_bank_keep(b, KEEP, N + 50));
    for (int c = 0; c < N + 50; c++) assert_int_equal(version_at(b, &r, c), c < KEEP ? 1 : 2);
    assert_int_equal(v.calls, N + N + 50 - KEEP);
    const int slots = b->slots;
    assert_int_equal(loci_gpu_bank_place(b, &r, N + 50 + 3, &own, &err), LOCI_OK);
    assert_int_equal(own, slots + 3);
    /* Fewer, and too many: nothing is done then. */
    assert_false(loci_gpu_bank_keep(b, KEEP, 100 * N));
    for (int c = 0; c < KEEP; c++) assert_int_equal(version_at(b, &r, c), 1);
    assert_true(loci_gpu_bank_keep(b, 10, 10));
    assert_int_equal(loci_gpu_bank_place(b, &r, 10, &own, &err), LOCI_OK);
    assert_int_equal(own, slots);
    loci_gpu_bank_close(b);
}

static void test_shapes_are_refused(void **state)
{
    (void)state;
    if (!gpu) skip();
    loci_hparams hp = small_shape();
    loci_gpu_weights w;
    loci_error err = { 0 };
    hp.trained_codes = 1; /* the host's affair */
    if (loci_gpu_weights_init(&w, gpu, &hp, false, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_gpu_weights_free(&w, gpu);
    assert_int_equal(loci_gpu_serves(&hp, &err), LOCI_OK);
    hp.shared_kv = 1;
    assert_int_equal(loci_gpu_serves(&hp, &err), LOCI_EMODEL);
    assert_non_null(strstr(err.text, "shared_kv is 1"));
    hp.shared_kv = 0;
    err = (loci_error){ 0 };
    hp.n_landmarks = 1;
    assert_int_equal(loci_gpu_weights_init(&w, gpu, &hp, false, &err), LOCI_EINVAL);
    assert_non_null(strstr(err.text, "n_landmarks from 2 to 2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_records_with_summaries),
        cmocka_unit_test(test_stream_alone),
        cmocka_unit_test(test_stream_with_bank),
        cmocka_unit_test(test_stream_with_large_bank),
        cmocka_unit_test(test_stream_with_order),
        cmocka_unit_test(test_stream_with_summaries),
        cmocka_unit_test(test_stream_with_own_summaries),
        cmocka_unit_test(test_no_groups),
        cmocka_unit_test(test_places_change_hands),
        cmocka_unit_test(test_some_chunks_are_kept),
        cmocka_unit_test(test_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
