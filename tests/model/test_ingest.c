/* test_ingest.c - spans of a document give the records of the whole document; codes of landmarks.
 *
 * Goal: for every way to cut a document at chunk boundaries (lengths around the boundaries, context
 * cut and not), loci_ingest_span over the pieces == one span over all == the bank of the training
 * pass.  Tolerance as in stream_model.h.  Codes: bits of a fixed projection computed in double,
 * distances that follow the angle. */
#include "stream_model.h"
#include "model/model_impl.h"

enum { SEED = 21, CHUNKS = 6 };

typedef struct {
    const loci_model *m;
    const int32_t *ids;
    int n;
    unsigned cuts; /* bit i: a span ends behind chunk i */
} document;

/* Floats of one record: content, summary, landmarks, bias. */
static size_t record(const loci_hparams *hp)
{
    return 64 * (size_t)loci_content_cols(hp) + (size_t)hp->d_summary +
           (size_t)hp->n_landmarks * 128 + 1;
}

static loci_hparams summing_hparams(void)
{
    loci_hparams hp = stream_hparams();
    hp.d_summary = 48;
    return hp;
}

static void scatter(const loci_hparams *hp, const float *content, const float *landmark,
                    const float *bias, const float *summary, int n_chunks, float *out)
{
    const size_t w = 64 * (size_t)loci_content_cols(hp), l = (size_t)hp->n_landmarks * 128;
    const size_t ds = (size_t)hp->d_summary;
    for (size_t c = 0; c < (size_t)n_chunks; c++, out += record(hp)) {
        memcpy(out, content + c * w, w * sizeof *out);
        memcpy(out + w, summary + c * ds, ds * sizeof *out);
        memcpy(out + w + ds, landmark + c * l, l * sizeof *out);
        out[w + ds + l] = bias[c];
    }
}

/* Records of the document, cut as it says: fn of tolerance_of. */
static void ingest(void *ctx, float *out)
{
    const document *x = ctx;
    const loci_hparams *hp = &x->m->hp;
    float *content = room(CHUNKS * 64 * (size_t)loci_content_cols(hp) * sizeof(float));
    float *landmark = room(CHUNKS * (size_t)hp->n_landmarks * 128 * sizeof(float));
    float *bias = room(CHUNKS * sizeof(float));
    float *summary = room(CHUNKS * (size_t)hp->d_summary * sizeof(float));
    void *memory = room(loci_ingest_bytes(hp, CHUNKS * 64));
    loci_ingest *s = loci_ingest_init(hp, CHUNKS * 64, memory);
    for (int at = 0, end = 0; at < x->n; at = end) {
        do end += 64;
        while (end < x->n && !(x->cuts >> (end / 64 - 1) & 1));
        if (end > x->n) end = x->n;
        const int left = at < loci_ingest_left(hp) ? at : loci_ingest_left(hp);
        const int chunks = (end - at + 63) / 64;
        /* What was there before must not matter: pads come out as zero. */
        memset(content, 0xff, CHUNKS * 64 * (size_t)loci_content_cols(hp) * sizeof(float));
        loci_ingest_span(s, x->m, x->ids + at - left, at - left, left, end - at, content, landmark,
                         bias, summary);
        scatter(hp, content, landmark, bias, summary, chunks, out + (size_t)(at / 64) * record(hp));
    }
    loci_free_aligned(content);
    loci_free_aligned(landmark);
    loci_free_aligned(bias);
    loci_free_aligned(summary);
    loci_free_aligned(memory);
}

static void splits(void **state)
{
    const loci_hparams hp = summing_hparams();
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(CHUNKS * 64, hp.vocab, 4);
    float *want = room(CHUNKS * record(&hp) * sizeof(float));
    float *got = room(CHUNKS * record(&hp) * sizeof(float));
    document x = { r.m, ids, CHUNKS * 64, 0 };
    (void)state;
    const double tolerance = tolerance_of(&r, ingest, &x, want, CHUNKS * record(&hp));
    assert_int_equal(loci_ingest_left(&hp), 192); /* 2 (70 - 1) = 138 rounded up */
    static const int length[] = { 1, 63, 64, 65, 200, 257, 320, 321, 383, 384 };
    for (size_t i = 0; i < sizeof length / sizeof length[0]; i++) {
        const int chunks = (length[i] + 63) / 64;
        x = (document){ r.m, ids, length[i], 0 };
        ingest(&x, want);
        for (x.cuts = 1; x.cuts < 1u << (chunks - 1); x.cuts++) {
            ingest(&x, got);
            assert_close("length, cuts", length[i], (int)x.cuts, want, got,
                         (size_t)chunks * record(&hp), tolerance);
        }
    }
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

static void records_as_trained(loci_hparams hp)
{
    const size_t ds = (size_t)hp.d_summary, w = 64 * (size_t)loci_content_cols(&hp);
    const size_t l = (size_t)hp.n_landmarks * 128;
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(CHUNKS * 64, hp.vocab, 4);
    float *got = room(CHUNKS * record(&hp) * sizeof(float));
    void *memory = room(loci_pass_bytes(&hp, CHUNKS * 64));
    loci_pass *t = loci_pass_init(&hp, CHUNKS * 64, memory);
    document x = { r.m, ids, CHUNKS * 64, 0x0a };
    const double tolerance = tolerance_of(&r, ingest, &x, got, CHUNKS * record(&hp));
    for (int n = 1; n <= CHUNKS * 64; n += n < 130 ? 1 : 37) {
        const int doc[] = { 0, n }, chunks = (n + 63) / 64;
        const uint8_t banked = 1;
        const loci_sequence s = { .T = n, .ids = ids, .n_docs = 1, .doc = doc, .banked = &banked };
        const float *landmark, *bias;
        loci_error err = { 0 };
        if (loci_pass_lower(t, r.m, &s, &err) != LOCI_OK) fail_msg("%s", err.text);
        assert_int_equal(loci_pass_bank(t, &landmark, &bias), chunks);
        x.n = n;
        ingest(&x, got);
        for (int c = 0; c < chunks; c++) {
            const float *mine = got + (size_t)(c + 1) * record(&hp) - 1 - l;
            assert_close("landmarks", n, c, landmark + (size_t)c * l, mine, l, tolerance);
            assert_close("bias", n, c, bias + c, mine + l, 1, tolerance);
            assert_close("summary", n, c, t->bank.summary + (size_t)c * ds, mine - ds, ds,
                         tolerance);
            assert_close("content", n, c, t->bank.content + (size_t)c * w, mine - ds - w, w,
                         tolerance);
        }
    }
    loci_free_aligned(ids);
    loci_free_aligned(got);
    loci_free_aligned(memory);
    random_model_close(&r);
}

static void against_training(void **state)
{
    loci_hparams hp = summing_hparams();
    (void)state;
    records_as_trained(hp);
    hp.shared_kv = 1;
    hp.d_value = hp.d_key;
    records_as_trained(hp);
}

/* ---- codes ----------------------------------------------------------------------------------- */

static void unit_row(float *x, loci_rng *rng)
{
    double norm = 0.0;
    for (int i = 0; i < 128; i++) {
        x[i] = (float)loci_rng_normal(rng);
        norm += (double)x[i] * x[i];
    }
    for (int i = 0; i < 128; i++) x[i] = (float)(x[i] / sqrt(norm));
}

static int distance(const uint64_t *a, const uint64_t *b)
{
    return __builtin_popcountll(a[0] ^ b[0]) + __builtin_popcountll(a[1] ^ b[1]);
}

static void codes(void **state)
{
    enum { N = 201 };
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    float *x = room(N * 128 * sizeof *x);
    uint64_t code[N][2], one[2];
    loci_rng rng;
    (void)state;
    loci_rng_seed(&rng, 8);
    for (int i = 0; i < N; i++) unit_row(x + i * 128, &rng);
    loci_codes(r.m, code[0], x, N);
    for (int i = 0; i < N; i++) {
        /* A row's code does not depend on its neighbours; the truth is known except where a dot
         * product is 0 to within its rounding. */
        loci_codes(r.m, one, x + i * 128, 1);
        assert_memory_equal(one, code[i], sizeof one);
        for (int b = 0; b < 128; b++) {
            double dot = 0.0, size = 0.0;
            for (int d = 0; d < 128; d++) {
                const double p = (double)r.m->code_map[b * 128 + d] * x[i * 128 + d];
                dot += p;
                size += fabs(p);
            }
            if (fabs(dot) <= 129 * 0x1p-23 * size) continue;
            assert_int_equal(code[i][b / 64] >> (b % 64) & 1, dot > 0.0);
            assert_int_equal(one[b / 64] >> (b % 64) & 1, dot > 0.0);
        }
    }
    /* Mean distance 128 a / pi; one bit's deviation is at most 1/2, so that of the mean over N
     * pairs is below sqrt(128 / N) / 2 if bits were independent: five of those. */
    double far = 0.0, near = 0.0, angle = 0.0;
    for (int i = 0; i + 1 < N; i++) {
        float y[128];
        double dot = 0.0, norm = 0.0;
        far += distance(code[i], code[i + 1]) / (double)(N - 1);
        for (int d = 0; d < 128; d++) {
            y[d] = x[i * 128 + d] + 0.5f * x[(i + 1) * 128 + d];
            dot += (double)y[d] * x[i * 128 + d];
            norm += (double)y[d] * y[d];
        }
        loci_codes(r.m, one, y, 1); /* codes do not look at the length */
        near += distance(code[i], one) / (double)(N - 1);
        angle += acos(dot / sqrt(norm)) / (N - 1);
    }
    assert_true(fabs(far - 64.0) < 2.5 * sqrt(128.0 / (N - 1)));
    assert_true(fabs(near - 128.0 * angle / 3.14159265358979) < 2.5 * sqrt(128.0 / (N - 1)));
    loci_free_aligned(x);
    random_model_close(&r);
}

/* The projection is part of the format of banks: it may never change. */
static void codes_are_fixed(void **state)
{
    const loci_hparams hp = stream_hparams();
    random_model r = random_model_open(&hp, SEED);
    float x[128];
    uint64_t code[2];
    (void)state;
    for (int i = 0; i < 128; i++) x[i] = (float)(i % 7) - 3.0f;
    loci_codes(r.m, code, x, 1);
    assert_int_equal(code[0], UINT64_C(0x1125b74aa8d13be0));
    assert_int_equal(code[1], UINT64_C(0x42cfc0a4bd90d8ad));
    random_model_close(&r);
}

/* With trained codes: signs of each side's own map, in every stored type of it. */
static void trained_codes(void **state)
{
    enum { N = 70 };
    loci_hparams hp = stream_hparams();
    hp.trained_codes = 1;
    random_model r = random_model_open(&hp, SEED);
    const loci_mat *map[2] = { &r.m->p.code.key, &r.m->p.code.query };
    float *x = room(N * 128 * sizeof *x);
    uint64_t code[2][N][2];
    loci_rng rng;
    (void)state;
    loci_rng_seed(&rng, 9);
    for (int i = 0; i < N; i++) unit_row(x + i * 128, &rng);
    loci_codes(r.m, code[0][0], x, N);
    loci_query_codes(r.m, code[1][0], x, N);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < N; i++)
            for (int b = 0; b < 128; b++) {
                double dot = 0.0, size = 0.0;
                for (int d = 0; d < 128; d++) {
                    const double p =
                        (double)((float *)map[side]->data)[b * 128 + d] * x[i * 128 + d];
                    dot += p;
                    size += fabs(p);
                }
                if (fabs(dot) <= 129 * 0x1p-23 * size) continue;
                assert_int_equal(code[side][i][b / 64] >> (b % 64) & 1, dot > 0.0);
            }
    loci_free_aligned(x);
    random_model_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits),        cmocka_unit_test(against_training),
        cmocka_unit_test(codes),         cmocka_unit_test(codes_are_fixed),
        cmocka_unit_test(trained_codes),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
