/* test_slow_gpu_stream.c - streams on the GPU against stream.c and consult.c.
 *
 * Goal: of a stream over a bank, logits, losses, gates and what was read with what weight are the
 * CPU's up to bf16 rounding: for prefill and token by token, in calls of awkward sizes, past the window
 * and the ring's end, with own chunks, with a bank of a few and of thousands of chunks.
 * Method: random parameters rounded to bf16, and the limits of serve_test.h.  Weights are compared as a
 * vector over chunks, so a pick that a near-tie replaced counts for what it weighed. */
#include "serve_test.h"

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
    for (int i = 0; i < c->n; i++) take(to, c->content + (size_t)i * 64 * 128, i % 2, 1, NULL);
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
    const loci_hparams hp = serve_shape();
    check_stream(&hp, 0);
}

static void test_stream_with_bank(void **state)
{
    (void)state;
    const loci_hparams hp = serve_shape();
    check_stream(&hp, 37);
}

/* Scored in parts by many blocks; one head of its own. */
static void test_stream_with_large_bank(void **state)
{
    (void)state;
    loci_hparams hp = serve_shape();
    hp.tied = 0;
    hp.top_k = 16;
    check_stream(&hp, 3000);
}

/* Heads that weigh picks by their order. */
static void test_stream_with_order(void **state)
{
    (void)state;
    loci_hparams hp = serve_shape();
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
    loci_hparams hp = serve_shape();
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

static void test_shapes_are_refused(void **state)
{
    (void)state;
    if (!gpu) skip();
    loci_hparams hp = serve_shape();
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
        cmocka_unit_test(test_stream_alone),
        cmocka_unit_test(test_stream_with_bank),
        cmocka_unit_test(test_stream_with_large_bank),
        cmocka_unit_test(test_stream_with_order),
        cmocka_unit_test(test_stream_with_summaries),
        cmocka_unit_test(test_stream_with_own_summaries),
        cmocka_unit_test(test_no_groups),
        cmocka_unit_test(test_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
