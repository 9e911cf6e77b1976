/* test_stream.c - a stream gives what the training pass gives.
 *
 * Goal: loci_pass_logits (routed) == one prefill batch == token by token == any split into batches,
 * at every document length from 1 to 200 (window 70, chunk 64: before and after the first chunk is
 * read, rings shifted and not), for text that reads its own stream and for questions over a bank of
 * documents of every length.  Method: a small random model, tolerance as in stream_model.h. */
#include "stream_model.h"

enum { LONGEST = 200, SEED = 11 };

typedef struct {
    const loci_model *m;
    const int32_t *ids;
    int doc[4], n_docs;
    uint8_t banked[3];
    float tier_share; /* of chunks that are served packed */
} text;

static loci_sequence sequence_of(const text *x)
{
    return (loci_sequence){ .T = x->doc[x->n_docs],
                            .ids = x->ids,
                            .n_docs = x->n_docs,
                            .doc = x->doc,
                            .banked = x->banked,
                            .tier_seed = 8,
                            .tier_share = x->tier_share };
}

/* Training logits of all tokens: fn of tolerance_of. */
static void pass_logits(void *ctx, float *out)
{
    const text *x = ctx;
    const int T = x->doc[x->n_docs];
    loci_error err = { 0 };
    const loci_sequence s = sequence_of(x);
    void *memory = room(loci_pass_bytes(&x->m->hp, T));
    loci_pass *t = loci_pass_init(&x->m->hp, T, memory);
    if (loci_pass_lower(t, x->m, &s, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_pass_logits(t, x->m, &s, true, out);
    loci_free_aligned(memory);
}

/* The stream in batches of the sizes in part (0: as many as are left). */
static void stream_logits_with(const loci_model *m, const int32_t *ids, int n, int max_batch,
                               const int *part, int working, const loci_memory *other, float *out)
{
    chat c = chat_open_with(m, max_batch, n / 64 + 1, working, other);
    for (int at = 0, i = 0; at < n; i++) {
        const int take = part[i] && part[i] < n - at ? part[i] : n - at;
        chat_extend(&c, m, ids + at, take, out + (size_t)at * (size_t)m->hp.vocab);
        at += take;
        assert_int_equal(loci_stream_pos(c.s), at);
    }
    chat_close(&c);
}

static void stream_logits(const loci_model *m, const int32_t *ids, int n, int max_batch,
                          const int *part, const loci_memory *other, float *out)
{
    stream_logits_with(m, ids, n, max_batch, part, LOCI_WORKING_CHUNKS, other, out);
}

static void every_length(void **state)
{
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(LONGEST, hp.vocab, 5);
    const size_t all = LONGEST * (size_t)hp.vocab;
    float *want = room(all * sizeof *want), *got = room(all * sizeof *got);
    text x = { r.m, ids, { 0, LONGEST }, 1, { 1 }, 0 };
    const int whole[] = { 0 };
    const double tolerance = tolerance_of(&r, pass_logits, &x, want, all);
    (void)state;
    for (int n = 1; n <= LONGEST; n++) {
        x.doc[1] = n;
        pass_logits(&x, want);
        stream_logits(r.m, ids, n, LONGEST, whole, NULL, got);
        assert_close("length", n, 0, want, got, (size_t)(n * hp.vocab), tolerance);
    }
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

static void every_split(void **state)
{
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(LONGEST, hp.vocab, 5);
    const size_t all = LONGEST * (size_t)hp.vocab;
    float *want = room(all * sizeof *want), *got = room(all * sizeof *got);
    text x = { r.m, ids, { 0, LONGEST }, 1, { 1 }, 0 };
    int part[LONGEST + 1];
    loci_rng rng;
    const double tolerance = tolerance_of(&r, pass_logits, &x, want, all);
    (void)state;
    for (int i = 0; i <= LONGEST; i++) part[i] = 1;
    stream_logits(r.m, ids, LONGEST, 1, part, NULL, got);
    assert_close("token by token", 0, 0, want, got, all, tolerance);
    for (int a = 1; a < LONGEST; a += a < 3 || a > 60 ? 1 : 5) {
        const int two[] = { a, 0 };
        stream_logits(r.m, ids, LONGEST, LONGEST, two, NULL, got);
        assert_close("split at", a, 0, want, got, all, tolerance);
    }
    loci_rng_seed(&rng, 3);
    for (int round = 0; round < 30; round++) {
        const uint32_t most = (const uint32_t[]){ 3, 16, 69, 71, 150 }[round % 5];
        for (int i = 0; i <= LONGEST; i++) part[i] = 1 + (int)loci_rng_below(&rng, most);
        stream_logits(r.m, ids, LONGEST, (int)most, part, NULL, got);
        assert_close("random split", round, (int)most, want, got, all, tolerance);
    }
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

/* Two documents in a bank, then a question; the question's own chunks in the local memory. */
static void question_over_bank(const random_model *r, int first, int second, int question,
                               int max_batch, double tolerance)
{
    const loci_hparams *hp = &r->m->hp;
    const int T = first + second + question, V = hp->vocab;
    int32_t *ids = random_ids(T, V, 9);
    float *want = room((size_t)(T * V) * sizeof *want),
          *got = room((size_t)(question * V) * sizeof *got);
    text x = { r->m, ids, { 0, first, first + second, T }, 3, { 1, 1, 1 }, 0 };
    int part[LONGEST + 1];
    for (int i = 0; i <= LONGEST; i++) part[i] = max_batch;
    plain_bank b = plain_bank_open(hp);
    plain_bank_add(&b, r->m, ids, first, 64);
    plain_bank_add(&b, r->m, ids + first, second, 128);
    const loci_memory bank = plain_memory(&b);
    if (tolerance == 0.0)
        tolerance = tolerance_of(r, pass_logits, &x, want, (size_t)(T * V));
    else
        pass_logits(&x, want);
    stream_logits(r->m, ids + first + second, question, max_batch, part, &bank, got);
    assert_close("question over", first, question, want + (size_t)((first + second) * V), got,
                 (size_t)(question * V), tolerance);
    plain_bank_close(&b);
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
}

static void questions(void **state)
{
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED + 1);
    const int n = 330, V = hp.vocab;
    int32_t *ids = random_ids(n, V, 9);
    float *out = room((size_t)(n * V) * sizeof *out);
    text x = { r.m, ids, { 0, 90, 130, n }, 3, { 1, 1, 1 }, 0 };
    const double tolerance = tolerance_of(&r, pass_logits, &x, out, (size_t)(n * V));
    (void)state;
    for (int length = 1; length <= LONGEST; length++)
        question_over_bank(&r, length, 1 + length % 70, 6, 1 + length % 6, tolerance);
    for (int length = 1; length <= LONGEST; length += length < 60 ? 13 : 1)
        question_over_bank(&r, 90, 40, length, 64, tolerance);
    loci_free_aligned(ids);
    loci_free_aligned(out);
    random_model_close(&r);
}

/* Content at 4 bits: what a bank serves packed is what training served packed, chunk by chunk; the
 * stream's own chunks are packed when they leave the working memory. */
static void packed_of(loci_hparams hp)
{
    hp.d_summary = 32;
    hp.content_bits4 = 1;
    random_model r = random_model_open(&hp, SEED + 2);
    enum { T = 330, ASK = 130 };
    const size_t V = (size_t)hp.vocab;
    int32_t *ids = random_ids(T, hp.vocab, 9);
    float *want = room(T * V * sizeof *want), *got = room(T * V * sizeof *got);
    const int parts[] = { 40, 1, 50, 0 };
    /* A bank of which some chunks are packed, and a question whose own chunks never are. */
    text x = { r.m, ids, { 0, 150, ASK + 70, T }, 3, { 1, 1, 0 }, 0.5f };
    double tolerance = tolerance_of(&r, pass_logits, &x, want, T * V);
    const loci_sequence s = sequence_of(&x);
    int n_packed = 0;
    for (int c = 0; c < 4; c++) n_packed += loci_tier_packed(&s, c);
    assert_in_range(n_packed, 1, 3);
    plain_bank b = plain_bank_open(&hp);
    plain_bank_add(&b, r.m, ids, 150, 64);
    plain_bank_add(&b, r.m, ids + 150, 50, 128);
    const loci_memory bank = plain_memory(&b);
    loci_error err = { 0 };
    for (int pass = 0; pass < 2; pass++) {
        /* The question is not banked here: a stream without a memory of its own. */
        void *memory = room(loci_stream_bytes(&hp, ASK));
        loci_stream *stream = loci_stream_init(&hp, ASK, memory);
        loci_stream_lower(stream, r.m, ids + 200, ASK);
        assert_int_equal(loci_stream_upper(stream, r.m, ASK, &bank, got, ASK, NULL, &err), LOCI_OK);
        if (pass) assert_close("packed bank", 0, 0, want + 200 * V, got, ASK * V, tolerance);
        if (!pass) /* all whole: something else comes out */
            assert_true(fabs((double)want[T * V - 1] - got[ASK * V - 1]) > 10 * tolerance);
        plain_bank_pack(&b, r.m, &s);
        loci_free_aligned(memory);
    }
    plain_bank_close(&b);
    /* Own chunks: all packed at once; none while the working memory holds them. */
    for (int working = 0; working < 9; working += 8) {
        text own = { r.m, ids, { 0, T }, 1, { 1 }, working ? 0.0f : 1.0f };
        tolerance = tolerance_of(&r, pass_logits, &own, want, T * V);
        stream_logits_with(r.m, ids, T, T, parts, working, NULL, got);
        assert_close("packed stream, working", working, 0, want, got, T * V, tolerance);
    }
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

static void packed(void **state)
{
    (void)state;
    packed_of(stream_hparams());
}

static void packed_shared(void **state)
{
    loci_hparams hp = stream_hparams();
    (void)state;
    hp.shared_kv = 1;
    hp.d_value = hp.d_key;
    packed_of(hp);
}

/* The gist of a stream's own text and of documents, with nodes above the first level: what a session
 * attends to is what training attended to. */
static void gists(void **state)
{
    enum { FIRST = 1100, SECOND = 70, ASK = 1240 };
    loci_hparams hp = stream_hparams();
    hp.d_summary = 48;
    random_model r = random_model_open(&hp, SEED + 3);
    const size_t V = (size_t)hp.vocab, T = FIRST + SECOND + ASK;
    int32_t *ids = random_ids((int)T, hp.vocab, 9);
    float *want = room(T * V * sizeof *want), *got = room(ASK * V * sizeof *got);
    float *without = room(T * V * sizeof *without);
    const int parts[] = { 40, 1, 50, 64, 65, 129, 1, 63, 200, 130, 1, 1, 0 };
    text x = { r.m, ids, { 0, FIRST, FIRST + SECOND, (int)T }, 3, { 1, 1, 1 }, 0 };
    (void)state;
    const double tolerance = tolerance_of(&r, pass_logits, &x, want, T * V);
    plain_bank b = plain_bank_open(&hp);
    plain_bank_add(&b, r.m, ids, FIRST, 128);
    plain_bank_add(&b, r.m, ids + FIRST, SECOND, 128);
    const loci_memory bank = plain_memory(&b);
    const float *logits = want + (FIRST + SECOND) * V;
    stream_logits(r.m, ids + FIRST + SECOND, ASK, ASK, parts, &bank, got);
    assert_close("gist", 0, 0, logits, got, ASK * V, tolerance);
    /* Without what the documents' nodes say, other logits come out. */
    const loci_memory mute = { &b, plain_search, plain_content, NULL };
    stream_logits(r.m, ids + FIRST + SECOND, ASK, ASK, parts, &mute, without);
    double most = 0.0;
    for (size_t i = 0; i < ASK * V; i++) most = fmax(most, fabs((double)logits[i] - without[i]));
    assert_true(most > 100 * tolerance);
    b.content_fails = LOCI_EIO;
    loci_error err = { 0 };
    chat c = chat_open(r.m, 8, &bank);
    loci_stream_lower(c.s, r.m, ids, 5);
    assert_int_equal(loci_stream_upper(c.s, r.m, 5, &c.memory, got, 1, NULL, &err), LOCI_EIO);
    chat_close(&c);
    plain_bank_close(&b);
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    loci_free_aligned(without);
    random_model_close(&r);
}

/* With a working memory of two chunks, those before the newest two come packed, and stay valid for
 * 64 further calls. */
static void working_memory(void **state)
{
    enum { CHUNKS = 6, WORKING = 2 };
    loci_hparams hp = stream_hparams();
    hp.d_summary = 32;
    hp.content_bits4 = 1;
    random_model r = random_model_open(&hp, SEED + 2);
    const size_t w = 64 * (size_t)(hp.d_key + hp.d_value);
    int32_t *ids = random_ids(CHUNKS * 64, hp.vocab, 9);
    float *kept = room(CHUNKS * w * sizeof *kept);
    plain_bank whole = plain_bank_open(&hp), packed = plain_bank_open(&hp);
    const loci_sequence all = { .tier_share = 1.0f };
    loci_error err = { 0 };
    (void)state;
    plain_bank_add(&whole, r.m, ids, CHUNKS * 64, 64);
    plain_bank_add(&packed, r.m, ids, CHUNKS * 64, 64);
    plain_bank_pack(&packed, r.m, &all);
    chat c = chat_open_with(r.m, 64, CHUNKS, WORKING, NULL);
    for (int n = 1; n <= CHUNKS; n++) {
        const float *h = loci_stream_lower(c.s, r.m, ids + (n - 1) * 64, 64);
        assert_int_equal(loci_local_bank_append(c.own, r.m, h, 64, &err), LOCI_OK);
        for (int i = 0; i < n; i++) {
            const loci_pick p = { .id = INT64_MIN + i };
            const float *rows, *first, *want = (i < n - WORKING ? &packed : &whole)->content;
            assert_int_equal(c.memory.content(c.memory.ctx, &p, &first), 64);
            memcpy(kept, first, w * sizeof *kept);
            for (int more = 0; more < 64; more++) {
                const loci_pick other = { .id = INT64_MIN + more % n };
                assert_int_equal(c.memory.content(c.memory.ctx, &other, &rows), 64);
            }
            assert_memory_equal(first, kept, w * sizeof *kept);
            /* A stream's rows and a span's differ in their last bits: packing may round the other
             * way for a few. */
            double off = 0.0, far = 0.0;
            for (size_t j = 0; j < w; j++) {
                off += fabs((double)first[j] - want[(size_t)i * w + j]) / (double)w;
                far += fabs((double)whole.content[(size_t)i * w + j] -
                            packed.content[(size_t)i * w + j]) /
                       (double)w;
            }
            if (off > 0.01 * far) fail_msg("chunk %d of %d: off by %g of %g", i, n, off, far);
        }
    }
    chat_close(&c);
    plain_bank_close(&whole);
    plain_bank_close(&packed);
    loci_free_aligned(ids);
    loci_free_aligned(kept);
    random_model_close(&r);
}

/* More packed chunks than are kept unpacked, read in any order: always the same rows, and none is
 * overwritten within 64 further calls. */
static void unpacked_cache(void **state)
{
    enum { CHUNKS = 150, LAST = 65 };
    loci_hparams hp = stream_hparams();
    hp.d_summary = 32;
    hp.content_bits4 = 1;
    random_model r = random_model_open(&hp, SEED + 2);
    const size_t w = 64 * (size_t)(hp.d_key + hp.d_value);
    int32_t *ids = random_ids(CHUNKS * 64, hp.vocab, 9);
    float *first = room(CHUNKS * w * sizeof *first);
    const float *given[LAST];
    int of[LAST];
    loci_error err = { 0 };
    loci_rng rng;
    (void)state;
    loci_rng_seed(&rng, SEED);
    chat c = chat_open_with(r.m, 64, CHUNKS, 0, NULL);
    for (int round = 0; round < 2; round++) { /* the second one after a reset, with other text */
        loci_stream_reset(c.s);
        loci_local_bank_reset(c.own);
        for (int i = 0; i < CHUNKS; i++) {
            const int at = round ? CHUNKS - 1 - i : i;
            const float *h = loci_stream_lower(c.s, r.m, ids + at * 64, 64);
            assert_int_equal(loci_local_bank_append(c.own, r.m, h, 64, &err), LOCI_OK);
        }
        for (int n = 0; n < 3000; n++) {
            /* Each once, then most of the time one of a few. */
            const uint32_t among = n % 4 ? CHUNKS / 4 : CHUNKS;
            const int i = n < CHUNKS ? n : (int)loci_rng_below(&rng, among);
            const loci_pick p = { .id = INT64_MIN + i };
            const float *rows;
            assert_int_equal(c.memory.content(c.memory.ctx, &p, &rows), 64);
            if (n < CHUNKS) memcpy(first + (size_t)i * w, rows, w * sizeof *first);
            given[n % LAST] = rows;
            of[n % LAST] = i;
            for (int k = 0; n % 50 == 0 && k < LAST && k <= n; k++)
                assert_memory_equal(given[k], first + (size_t)of[k] * w, w * sizeof *first);
            assert_memory_equal(rows, first + (size_t)i * w, w * sizeof *first);
        }
        for (int i = 1; i < CHUNKS; i++)
            assert_memory_not_equal(first, first + (size_t)i * w, w * sizeof *first);
    }
    chat_close(&c);
    loci_free_aligned(ids);
    loci_free_aligned(first);
    random_model_close(&r);
}

/* Without a memory, the pass of a document that is not banked is the same. */
static void no_memory(void **state)
{
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(LONGEST, hp.vocab, 5);
    const size_t all = LONGEST * (size_t)hp.vocab;
    float *want = room(all * sizeof *want), *got = room(all * sizeof *got);
    text x = { r.m, ids, { 0, LONGEST }, 1, { 0 }, 0 };
    loci_error err = { 0 };
    const double tolerance = tolerance_of(&r, pass_logits, &x, want, all);
    chat c = chat_open(r.m, LONGEST, NULL);
    (void)state;
    loci_stream_lower(c.s, r.m, ids, LONGEST);
    assert_int_equal(loci_stream_upper(c.s, r.m, LONGEST, NULL, got, LONGEST, NULL, &err), LOCI_OK);
    assert_close("no memory", 0, 0, want, got, all, tolerance);
    /* Only the last rows, after a reset. */
    loci_stream_reset(c.s);
    loci_stream_lower(c.s, r.m, ids, LONGEST);
    assert_int_equal(loci_stream_upper(c.s, r.m, LONGEST, NULL, got, 3, NULL, &err), LOCI_OK);
    assert_close("last rows", 0, 0, want + all - 3 * (size_t)hp.vocab, got, 3 * (size_t)hp.vocab,
                 tolerance);
    chat_close(&c);
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

/* The upper stack left out over the first tokens: exact again 2 (70 - 1) tokens later, and not
 * before (else the test would say nothing). */
static void upper_left_out(void **state)
{
    enum { GAP = 50, EXACT = GAP + 2 * 69 };
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(LONGEST, hp.vocab, 5);
    const size_t V = (size_t)hp.vocab, all = LONGEST * V;
    float *want = room(all * sizeof *want), *got = room(all * sizeof *got);
    float *other = room(all * sizeof *other);
    text x = { r.m, ids, { 0, LONGEST }, 1, { 1 }, 0 };
    const double tolerance = tolerance_of(&r, pass_logits, &x, want, all);
    loci_error err = { 0 };
    (void)state;
    /* Rows before the gap are forgotten: with them and without them, what follows is the same. */
    for (int before = 20; before >= 0; before -= 20) {
        chat c = chat_open(r.m, GAP, NULL);
        float *out = before ? got : other;
        if (before) chat_extend(&c, r.m, ids, before, out);
        for (int at = before; at < GAP; at += 10) { /* over several calls */
            const float *h = loci_stream_lower(c.s, r.m, ids + at, 10);
            assert_int_equal(loci_local_bank_append(c.own, r.m, h, 10, &err), LOCI_OK);
        }
        for (int at = GAP; at < LONGEST; at += 30)
            chat_extend(&c, r.m, ids + at, 30, out + (size_t)at * V);
        chat_close(&c);
    }
    assert_close("gap", 0, 0, got + GAP * V, other + GAP * V, (LONGEST - GAP) * V, tolerance);
    assert_close("behind the gap", 0, 0, want + EXACT * V, got + EXACT * V, (LONGEST - EXACT) * V,
                 tolerance);
    assert_true(fabs((double)want[GAP * V] - got[GAP * V]) > 10 * tolerance);
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    loci_free_aligned(other);
    random_model_close(&r);
}

static void what_was_read(void **state)
{
    const loci_hparams hp = stream_hparams();
    const int n = 150, G = hp.n_groups, K = hp.top_k;
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(2 * n, hp.vocab, 5);
    loci_error err = { 0 };
    plain_bank b = plain_bank_open(&hp);
    plain_bank_add(&b, r.m, ids + n, n, 64);
    const loci_memory bank = plain_memory(&b);
    chat c = chat_open(r.m, n, &bank);
    loci_reads reads = { room((size_t)(n * G) * 4), room((size_t)(n * G * K) * 4),
                         room((size_t)(n * G * K) * sizeof(loci_pick)), room((size_t)(n * G) * 4),
                         false };
    int own = 0, other = 0;
    (void)state;
    loci_local_bank_append(c.own, r.m, loci_stream_lower(c.s, r.m, ids, n), n, &err);
    assert_int_equal(loci_stream_upper(c.s, r.m, n, &c.memory, NULL, 0, &reads, &err), LOCI_OK);
    for (int at = 0; at < n * G; at++) {
        const loci_pick *p = reads.pick + at * K;
        double sum = 0.0;
        assert_true(reads.gate[at] > 0.0f && reads.gate[at] < 1.0f);
        assert_int_equal(reads.n_picks[at], K);
        for (int i = 0; i < K; i++) {
            sum += reads.weight[at * K + i];
            /* own chunk 0 ends at 64: not before token 64 + 70 - 64 */
            if (p[i].id < 0) assert_true(at / G >= 70);
            own += p[i].id < 0;
            other += p[i].id >= 0;
            if (i > 0) assert_true(p[i - 1].time < p[i].time);
        }
        assert_true(sum > 0.0 && sum < 1.0);
    }
    assert_true(own > 0 && other > 0);
    loci_free_aligned(reads.gate);
    loci_free_aligned(reads.weight);
    loci_free_aligned(reads.pick);
    loci_free_aligned(reads.n_picks);
    chat_close(&c);
    plain_bank_close(&b);
    loci_free_aligned(ids);
    random_model_close(&r);
}

static void failures(void **state)
{
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(600, hp.vocab, 5);
    float *want = room((size_t)hp.vocab * 4), *got = room((size_t)hp.vocab * 4);
    plain_bank b = plain_bank_open(&hp);
    plain_bank_add(&b, r.m, ids, 100, 64);
    const loci_memory bank = plain_memory(&b);
    chat c = chat_open(r.m, 100, &bank);
    (void)state;
    for (int which = 0; which < 2; which++) {
        loci_error err = { 0 };
        loci_stream_reset(c.s);
        loci_stream_lower(c.s, r.m, ids, 5);
        assert_int_equal(loci_stream_upper(c.s, r.m, 5, &c.memory, want, 1, NULL, &err), LOCI_OK);
        b.search_fails = which ? LOCI_OK : LOCI_EIO;
        b.content_fails = which ? LOCI_EFORMAT : LOCI_OK;
        loci_stream_reset(c.s);
        loci_stream_lower(c.s, r.m, ids, 5);
        assert_int_equal(loci_stream_upper(c.s, r.m, 5, &c.memory, got, 1, NULL, &err),
                         which ? LOCI_EFORMAT : LOCI_EIO);
        assert_true(err.text[0]);
        /* Reset is all that it takes to go on. */
        b.search_fails = b.content_fails = LOCI_OK;
        memset(&err, 0, sizeof err);
        loci_stream_reset(c.s);
        loci_stream_lower(c.s, r.m, ids, 5);
        assert_int_equal(loci_stream_upper(c.s, r.m, 5, &c.memory, got, 1, NULL, &err), LOCI_OK);
        assert_memory_equal(want, got, (size_t)hp.vocab * 4);
    }
    /* The own memory has room for 8 chunks: the call that would overflow changes nothing. */
    loci_error err = { 0 };
    loci_stream_reset(c.s);
    loci_local_bank_reset(c.own);
    for (int at = 0; at < 500; at += 100)
        assert_int_equal(loci_local_bank_append(c.own, r.m,
                                                loci_stream_lower(c.s, r.m, ids + at, 100), 100,
                                                &err),
                         LOCI_OK);
    assert_int_equal(loci_local_bank_chunks(c.own), 7);
    const float *h = loci_stream_lower(c.s, r.m, ids + 500, 13);
    assert_int_equal(loci_local_bank_append(c.own, r.m, h, 13, &err), LOCI_ENOMEM);
    assert_non_null(strstr(err.text, "512"));
    assert_int_equal(loci_local_bank_chunks(c.own), 7);
    assert_int_equal(loci_local_bank_append(c.own, r.m, h, 12, NULL), LOCI_OK);
    assert_int_equal(loci_local_bank_chunks(c.own), 8);
    chat_close(&c);
    plain_bank_close(&b);
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length),   cmocka_unit_test(every_split),
        cmocka_unit_test(questions),      cmocka_unit_test(no_memory),
        cmocka_unit_test(upper_left_out), cmocka_unit_test(what_was_read),
        cmocka_unit_test(failures),       cmocka_unit_test(packed),
        cmocka_unit_test(packed_shared),  cmocka_unit_test(working_memory),
        cmocka_unit_test(gists),          cmocka_unit_test(unpacked_cache),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
