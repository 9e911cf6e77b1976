/* test_switches.c - what the switches of a shape change: gradients, streams, checkpoints.
 *
 * Goal: with a switch thrown the backward pass is still the derivative of the forward pass, a stream
 * still gives what training gives, and a checkpoint says which way it was thrown; at their defaults
 * switches leave no trace in config.json and fingerprint.  Method: the batch of pass_batch.h and
 * differences; the stream of stream_model.h against the training pass; files saved and opened. */
#include "pass_batch.h"
#include "stream_model.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- gradients --------------------------------------------------------------------------------- */

static void gradients(const loci_hparams *hp, bool routed)
{
    batch b;
    batch_open_with(&b, routed, *hp);
    for (int i = 0; hp->n_groups == 0 && i < 2; i++) /* no chunks: none can be gold */
        for (int t = 0; t < MAX_T; t++) b.q[i].gold[t] = b.q[i].source[t] = -1;
    batch_run(&b, &b.s.g);
    hold_targets(&b);
    batch_gradients(&b, 1);
    batch_close(&b);
}

static void untied_gradients(void **state)
{
    (void)state;
    loci_hparams hp = small_hparams();
    hp.tied = 0;
    gradients(&hp, true);
}

static void dense_gradients(void **state)
{
    (void)state;
    loci_hparams hp = small_hparams();
    hp.n_groups = 0;
    hp.trained_codes = 1; /* without a bank there is nothing to code */
    gradients(&hp, true);
}

static void shared_gradients(void **state)
{
    (void)state;
    loci_hparams hp = small_hparams();
    hp.shared_kv = 1;
    gradients(&hp, false);
    gradients(&hp, true);
}

/* ---- streams: a document of its own, read from its own chunks ------------------------------------ */

enum { TEXT = 200 };

static void pass_logits(void *ctx, float *out)
{
    const random_model *r = ctx;
    const int32_t doc[2] = { 0, TEXT };
    const uint8_t banked[1] = { 1 };
    int32_t *ids = random_ids(TEXT, r->m->hp.vocab, 5);
    const loci_sequence s = { .T = TEXT, .ids = ids, .n_docs = 1, .doc = doc, .banked = banked };
    loci_error err = { 0 };
    void *memory = room(loci_pass_bytes(&r->m->hp, TEXT));
    loci_pass *t = loci_pass_init(&r->m->hp, TEXT, memory);
    if (loci_pass_lower(t, r->m, &s, &err) != LOCI_OK) fail_msg("%s", err.text);
    loci_pass_logits(t, r->m, &s, true, out);
    loci_free_aligned(memory);
    loci_free_aligned(ids);
}

/* Batches of 1, 2, 3, 1, 2, 3, ... tokens. */
static void stream_equals_pass(const loci_hparams *hp)
{
    random_model r = random_model_open(hp, SEED);
    const size_t all = TEXT * (size_t)hp->vocab;
    float *want = room(all * sizeof *want), *got = room(all * sizeof *got);
    int32_t *ids = random_ids(TEXT, hp->vocab, 5);
    const double tolerance = tolerance_of(&r, pass_logits, &r, want, all);
    chat c = chat_open(r.m, TEXT, NULL);
    for (int at = 0, i = 0; at < TEXT; i++) {
        const int n = 1 + i % 3 < TEXT - at ? 1 + i % 3 : TEXT - at;
        chat_extend(&c, r.m, ids + at, n, got + (size_t)at * (size_t)hp->vocab);
        at += n;
    }
    assert_close("stream", 0, 0, want, got, all, tolerance);
    chat_close(&c);
    loci_free_aligned(ids);
    loci_free_aligned(want);
    loci_free_aligned(got);
    random_model_close(&r);
}

static void untied_stream(void **state)
{
    (void)state;
    loci_hparams hp = stream_hparams();
    hp.tied = 0;
    stream_equals_pass(&hp);
}

static void dense_stream(void **state)
{
    (void)state;
    loci_hparams hp = stream_hparams();
    hp.n_groups = 0;
    stream_equals_pass(&hp);
    hp.window = TEXT + 1; /* sees everything */
    stream_equals_pass(&hp);
}

static void order_stream(void **state)
{
    (void)state;
    loci_hparams hp = stream_hparams();
    hp.order = 1;
    stream_equals_pass(&hp);
}

static void shared_stream(void **state)
{
    (void)state;
    loci_hparams hp = stream_hparams();
    hp.shared_kv = 1;
    hp.d_value = hp.d_key;
    stream_equals_pass(&hp);
}

/* Without groups only embedding, layers and head are left. */
static void dense_tensors(void **state)
{
    (void)state;
    loci_param_info list[256];
    loci_hparams hp = stream_hparams();
    hp.n_groups = 0;
    hp.tied = 0;
    const int n = loci_param_list(&hp, list, 256);
    assert_int_equal(n, 2 + 5 * (hp.n_lower + hp.n_upper));
    for (int i = 0; i < n; i++)
        if (strncmp(list[i].name, "bank", 4) == 0 || strncmp(list[i].name, "read", 4) == 0)
            fail_msg("%s", list[i].name);
}

static void hard_gate_stream(void **state)
{
    (void)state;
    loci_hparams hp = stream_hparams();
    hp.hard_gate = 1;
    stream_equals_pass(&hp);
    hp.d_summary = 32; /* summaries are read whatever the gates say */
    stream_equals_pass(&hp);
}

typedef struct {
    loci_memory of;
    int searches;
} counted;

static int counted_search(void *ctx, const float *u, float tau, int k, int64_t own_end,
                          loci_pick *picks)
{
    counted *c = ctx;
    c->searches++;
    return c->of.search(c->of.ctx, u, tau, k, own_end, picks);
}

static int counted_content(void *ctx, const loci_pick *pick, const float **rows)
{
    counted *c = ctx;
    return c->of.content(c->of.ctx, pick, rows);
}

/* A closed gate does not search, unless its picks are asked for; either way it reads nothing. */
static void hard_gate_searches(void **state)
{
    (void)state;
    enum { N = 60, G = 2, K = 2 };
    loci_hparams hp = stream_hparams();
    hp.hard_gate = 1;
    random_model r = random_model_open(&hp, SEED);
    int32_t *ids = random_ids(TEXT, hp.vocab, 5), n_picks[N * G];
    plain_bank b = plain_bank_open(&hp);
    plain_bank_add(&b, r.m, ids, TEXT, 64);
    void *memory = room(loci_stream_bytes(&hp, N));
    float gate[N * G], weight[N * G * K], logits[2][48];
    loci_pick pick[N * G * K];
    for (int all = 0; all < 2; all++) {
        counted c = { plain_memory(&b), 0 };
        const loci_memory m = { &c, counted_search, counted_content, NULL };
        loci_reads reads = { gate, weight, pick, n_picks, all };
        loci_stream *s = loci_stream_init(&hp, N, memory);
        int open = 0;
        loci_stream_lower(s, r.m, ids, N);
        assert_int_equal(loci_stream_upper(s, r.m, N, &m, logits[all], 1, &reads, NULL), LOCI_OK);
        for (int i = 0; i < N * G; i++) {
            assert_true(gate[i] == 0.0f || gate[i] == 1.0f);
            assert_int_equal(n_picks[i], all || gate[i] == 1.0f ? K : 0);
            if (n_picks[i] == 0) assert_true(weight[i * K] == 0.0f && weight[i * K + 1] == 0.0f);
            open += gate[i] == 1.0f;
        }
        assert_in_range(open, 10, N * G - 10);
        assert_int_equal(c.searches, all ? N * G : open);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    loci_free_aligned(memory);
    loci_free_aligned(ids);
    plain_bank_close(&b);
    random_model_close(&r);
}

/* ---- checkpoints ----------------------------------------------------------------------------------- */

static char dir[64];

static char *file_in(char out[128], const char *name)
{
    snprintf(out, 128, "%.60s/%.60s", dir, name);
    return out;
}

static int make_dir(void **state)
{
    char path[128];
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/loci-test-switches-%d", (int)getpid());
    mkdir(dir, 0700);
    return loci_file_replace(NULL, file_in(path, "tokenizer.json"), "{}", 2, NULL);
}

static int drop_dir(void **state)
{
    static const char *const name[] = { "tokenizer.json", "config.json", "model.safetensors" };
    char path[128];
    (void)state;
    for (int i = 0; i < 3; i++) unlink(file_in(path, name[i]));
    return rmdir(dir);
}

/* Save and open; the fingerprint of what was opened. */
static void checkpoint(const loci_model *m, loci_dtype type, uint8_t fingerprint[16])
{
    loci_error err = { 0 };
    loci_model *back;
    if (loci_model_save(m, dir, type, NULL, &err) != LOCI_OK ||
        loci_model_open(&back, dir, loci_cpu_detect(), &err) != LOCI_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(&back->hp, &m->hp, sizeof m->hp);
    memcpy(fingerprint, back->fingerprint, 16);
    loci_model_close(back);
}

static bool config_names(const char *key)
{
    char path[128], quoted[80], *text;
    size_t len;
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    assert_int_equal(loci_file_load(NULL, file_in(path, "config.json"), 1 << 16, &text, &len, NULL),
                     LOCI_OK);
    const bool found = strstr(text, quoted) != NULL;
    free(text);
    return found;
}

/* The switches, one of two places thrown; does a bank depend on it? */
static const struct {
    const char *key;
    bool ingest;
} switches[] = {
    { "tied", false }, { "hard_gate", false }, { "shared_kv", true }, { "order", false }
};

static void throw_switch(loci_hparams *hp, const char *key)
{
    if (strcmp(key, "tied") == 0) hp->tied = 0;
    if (strcmp(key, "hard_gate") == 0) hp->hard_gate = 1;
    if (strcmp(key, "shared_kv") == 0) hp->shared_kv = 1, hp->d_value = hp->d_key;
    if (strcmp(key, "order") == 0) hp->order = 1;
}

/* The same numbers in all tensors that both shapes have, by name. */
static void copy_common(const random_model *to, const random_model *from)
{
    loci_param_info a[256], b[256];
    const int na = loci_param_list(&to->m->hp, a, 256), nb = loci_param_list(&from->m->hp, b, 256);
    for (int i = 0; i < na; i++)
        for (int j = 0; j < nb; j++) {
            const loci_mat *x = (const loci_mat *)(const void *)((char *)&to->m->p + a[i].offset);
            const loci_mat *y = (const loci_mat *)(const void *)((char *)&from->m->p + b[j].offset);
            if (strcmp(a[i].name, b[j].name) == 0 && x->rows == y->rows)
                memcpy(x->data, y->data, (size_t)x->rows * (size_t)x->cols * sizeof(float));
        }
}

static void checkpoints(void **state)
{
    static const loci_dtype type[] = { LOCI_F32, LOCI_BF16, LOCI_I8 };
    (void)state;
    for (int k = 0; k < 3; k++) {
        const loci_hparams hp = stream_hparams();
        random_model r = random_model_open(&hp, SEED);
        uint8_t plain[16], thrown[16];
        checkpoint(r.m, type[k], plain);
        for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
            assert_false(config_names(switches[i].key));
            loci_hparams other = hp;
            throw_switch(&other, switches[i].key);
            assert_memory_not_equal(&other, &hp, sizeof hp);
            random_model s = random_model_open(&other, SEED);
            copy_common(&s, &r);
            checkpoint(s.m, type[k], thrown);
            assert_true(config_names(switches[i].key));
            if ((memcmp(plain, thrown, 16) != 0) != switches[i].ingest)
                fail_msg("fingerprint and %s", switches[i].key);
            random_model_close(&s);
            checkpoint(r.m, type[k], plain);
        }
        random_model_close(&r);
    }
}

/* A head that the shape does not have, one that is missing. */
static void head_refused(void **state)
{
    (void)state;
    char path[128];
    loci_hparams tied = stream_hparams(), untied = tied;
    untied.tied = 0;
    for (int i = 0; i < 2; i++) {
        random_model r = random_model_open(i ? &tied : &untied, SEED);
        loci_error err = { 0 };
        loci_model *m;
        uint8_t fingerprint[16];
        checkpoint(r.m, LOCI_F32, fingerprint);
        assert_int_equal(loci_hparams_save(i ? &untied : &tied, file_in(path, "config.json"), &err),
                         LOCI_OK);
        assert_int_equal(loci_model_open(&m, dir, 0, &err), LOCI_EFORMAT);
        if (!strstr(err.text, "tensor head")) fail_msg("%s", err.text);
        random_model_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untied_gradients),
        cmocka_unit_test(dense_gradients),
        cmocka_unit_test(shared_gradients),
        cmocka_unit_test(untied_stream),
        cmocka_unit_test(dense_stream),
        cmocka_unit_test(shared_stream),
        cmocka_unit_test(order_stream),
        cmocka_unit_test(hard_gate_stream),
        cmocka_unit_test(hard_gate_searches),
        cmocka_unit_test(dense_tensors),
        cmocka_unit_test_setup_teardown(checkpoints, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(head_refused, make_dir, drop_dir),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
