/* Goal: a session's logits do not depend on how its tokens came; sampling does what it says;
 * other stored forms are the same model.
 *
 * Method: the small model XS; one call against token by token at lengths around the chunk size and
 * the batch; distributions against their definition by chi-square with a fixed seed. */
#include "xs_test.h"

static loci_engine *engine;

static int32_t *some_ids(int n, uint64_t seed)
{
    loci_rng r;
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    loci_rng_seed(&r, seed);
    ids[0] = LOCI_TOK_BOS;
    for (int i = 1; i < n; i++) ids[i] = 16 + (int32_t)loci_rng_below(&r, 4000);
    return ids;
}

static loci_session *session_open(loci_engine *e, int64_t max)
{
    loci_error err;
    loci_session *s;
    const loci_session_options o = { .max_tokens = max };
    OK(loci_session_open(&s, e, &o, &err));
    return s;
}

/* Largest difference between two rows, in units of the spread of the first. */
static double row_difference(const float *a, const float *b, int n)
{
    double mean = 0.0, square = 0.0, worst = 0.0;
    for (int i = 0; i < n; i++) mean += (double)a[i] / n;
    for (int i = 0; i < n; i++) square += ((double)a[i] - mean) * ((double)a[i] - mean) / n;
    for (int i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst / sqrt(square);
}

static void test_calls_do_not_matter(void **state)
{
    (void)state;
    static const int lengths[] = { 1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300 };
    const int vocab = loci_engine_info(engine)->vocab;
    loci_session *one = session_open(engine, 1024), *many = session_open(engine, 1024);
    float *a = malloc(300 * (size_t)vocab * sizeof *a), *b = malloc((size_t)vocab * sizeof *b);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        const int n = lengths[l];
        int32_t *ids = some_ids(n, SEED + l);
        loci_error err;
        loci_session_reset(one);
        loci_session_reset(many);
        OK(loci_session_extend(one, ids, n, a, n, &err));
        for (int t = 0; t < n; t++) {
            OK(loci_session_extend(many, ids + t, 1, b, 1, &err));
            const double off = row_difference(a + (size_t)t * (size_t)vocab, b, vocab);
            if (off > 1e-3) fail_msg("length %d, token %d: %g deviations apart", n, t, off);
        }
        assert_int_equal(loci_session_length(many), n);
        free(ids);
    }
    loci_session_close(one);
    loci_session_close(many);
    free(a);
    free(b);
}

static void test_limits(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_session *s = session_open(engine, 10);
    int32_t ids[12] = { 0, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30 }, wrong[1] = { 4096 };
    assert_int_equal(loci_session_extend(s, ids, 0, NULL, 0, &err), LOCI_EINVAL);
    assert_int_equal(loci_session_extend(s, ids, 2, NULL, 3, NULL), LOCI_EINVAL);
    assert_int_equal(loci_session_extend(s, wrong, 1, NULL, 0, NULL), LOCI_EINVAL);
    wrong[0] = -1;
    assert_int_equal(loci_session_extend(s, wrong, 1, NULL, 0, NULL), LOCI_EINVAL);
    assert_int_equal(loci_session_length(s), 0); /* nothing was done */
    assert_int_equal(loci_session_extend(s, ids, 11, NULL, 0, NULL), LOCI_ENOMEM);
    OK(loci_session_extend(s, ids, 10, NULL, 0, &err));
    assert_int_equal(loci_session_extend(s, ids, 1, NULL, 0, NULL), LOCI_ENOMEM);
    loci_session_reset(s);
    OK(loci_session_extend(s, ids, 10, NULL, 0, &err));
    loci_session_close(s);
}

enum { V = 24, DRAWS = 20000 };

static void count_draws(const loci_sampling *o, const float *logits, int *count)
{
    uint64_t state = o->seed;
    memset(count, 0, V * sizeof *count);
    for (int i = 0; i < DRAWS; i++) count[loci_sample(logits, V, o, &state)]++;
}

static void test_sampling(void **state)
{
    (void)state;
    float logits[V];
    int count[V];
    for (int i = 0; i < V; i++) logits[i] = (float)((i * 7) % 5) * 0.5f;
    logits[2] = logits[0] = logits[9] = 50.0f; /* specials: never chosen, but for <e> = 3 */
    logits[19] = 4.0f;
    loci_sampling o = loci_sampling_default();
    o.seed = SEED;
    count_draws(&o, logits, count); /* greedy */
    assert_int_equal(count[19], DRAWS);
    o.temperature = 1.0f;
    o.top_k = 1;
    count_draws(&o, logits, count);
    assert_int_equal(count[19], DRAWS);

    o.top_k = 0;
    count_draws(&o, logits, count);
    double sum = 0.0, chi = 0.0;
    int kinds = 0;
    for (int i = 0; i < V; i++)
        if (i >= LOCI_TOK_SPECIALS || i == LOCI_TOK_E) sum += exp((double)logits[i]);
    for (int i = 0; i < V; i++) {
        if (i < LOCI_TOK_SPECIALS && i != LOCI_TOK_E) {
            assert_int_equal(count[i], 0);
            continue;
        }
        const double want = DRAWS * exp((double)logits[i]) / sum;
        chi += (count[i] - want) * (count[i] - want) / want;
        kinds++;
    }
    /* kinds - 1 = 8 degrees of freedom: above 26.1 in one of a thousand seeds; this one is fixed. */
    assert_int_equal(kinds, 9);
    if (chi > 26.1) fail_msg("chi-square %g", chi);

    o.top_p = 0.5f; /* the best id alone holds more than half */
    assert_true(exp(4.0) / sum > 0.5);
    count_draws(&o, logits, count);
    assert_int_equal(count[19], DRAWS);
}

/* Stored as bf16 and int8 the logits move a little: bounds from the rounding of a weight, 2^-9 and
 * 1/254 of a row's largest, which average out over rows of 192; in 4 bits a step is 16 times as wide. */
static void test_stored_forms(void **state)
{
    (void)state;
    static const char *const type[] = { "f32", "bf16", "int8", "int4" };
    static const double bound[] = { 0.0, 0.15, 0.6, 9.6 };
    const int vocab = loci_engine_info(engine)->vocab, n = 80;
    int32_t *ids = some_ids(n, SEED);
    float *want = malloc((size_t)vocab * sizeof *want), *got = malloc((size_t)vocab * sizeof *got);
    loci_error err;
    loci_session *s = session_open(engine, 1024);
    OK(loci_session_extend(s, ids, n, want, 1, &err));
    loci_session_close(s);
    for (int i = 0; i < 4; i++) {
        loci_engine *e;
        loci_engine_options o = loci_engine_options_default();
        OK(loci_quantize(XS_MODEL, at_root(type[i]), type[i], &err));
        o.model_dir = at_root(type[i]);
        o.threads = 1;
        OK(loci_engine_open(&e, &o, &err));
        s = session_open(e, 1024);
        OK(loci_session_extend(s, ids, n, got, 1, &err));
        const double off = row_difference(want, got, vocab);
        print_message("%s: logits off by %.4f deviations at most\n", type[i], off);
        assert_true(off <= bound[i]);
        /* f32 is the same model; the others are not, for a bank. */
        assert_int_equal(strcmp(loci_engine_info(e)->fingerprint,
                                loci_engine_info(engine)->fingerprint) == 0,
                         i == 0);
        loci_session_close(s);
        loci_engine_close(e);
    }
    assert_int_equal(loci_quantize(XS_MODEL, at_root("x"), "int3", NULL), LOCI_EINVAL);
    free(ids);
    free(want);
    free(got);
}

/* Gates as trained, all open, all closed: what is counted is what was asked for, and what the last token
 * foretells differs. */
static void test_reading(void **state)
{
    (void)state;
    enum { N = 300 };
    const int vocab = loci_engine_info(engine)->vocab, groups = loci_engine_info(engine)->n_groups;
    float *rows[3];
    int32_t *ids = some_ids(N, SEED + 9);
    for (int how = 0; how < 3; how++) {
        loci_error err;
        loci_session *s;
        const loci_session_options o = { .max_tokens = N, .reading = (loci_reading)how };
        rows[how] = malloc(N * (size_t)vocab * sizeof *rows[how]);
        OK(loci_session_open(&s, engine, &o, &err));
        assert_int_equal(loci_session_consulted(s).pairs, 0);
        OK(loci_session_extend(s, ids, N, rows[how], N, &err));
        const loci_session_reads r = loci_session_consulted(s);
        assert_int_equal(r.pairs, (int64_t)N * groups);
        if (how == LOCI_READ_AS_TRAINED) assert_in_range(r.consulted, 0, r.pairs);
        if (how == LOCI_READ_ALWAYS) assert_int_equal(r.consulted, r.pairs);
        if (how == LOCI_READ_NEVER) assert_int_equal(r.consulted, 0);
        loci_session_close(s);
    }
    const size_t last = (N - 1) * (size_t)vocab;
    assert_true(row_difference(rows[1] + last, rows[2] + last, vocab) > 0.01);
    assert_true(row_difference(rows[0] + last, rows[2] + last, vocab) > 0.01);
    loci_session *s = NULL;
    const loci_session_options wrong = { .max_tokens = N, .reading = (loci_reading)3 };
    assert_int_equal(loci_session_open(&s, engine, &wrong, NULL), LOCI_EINVAL);
    assert_null(s);
    for (int how = 0; how < 3; how++) free(rows[how]);
    free(ids);
}

/* Losses are those of the logits, in calls of any size; what is wrong changes nothing. */
static void test_losses(void **state)
{
    (void)state;
    enum { N = 600 };
    const int vocab = loci_engine_info(engine)->vocab;
    loci_error err;
    int32_t *ids = some_ids(N + 1, SEED + 5), *target = some_ids(N, SEED + 6);
    float *rows = malloc(N * (size_t)vocab * sizeof *rows), loss[N];
    loci_session *s = session_open(engine, N);
    target[7] = -1;
    OK(loci_session_extend(s, ids, N, rows, N, &err));
    loci_session_reset(s);
    const int32_t wrong[2][1] = { { -2 }, { vocab } };
    for (int i = 0; i < 2; i++)
        assert_int_equal(loci_session_losses(s, ids, 1, wrong[i], loss, NULL), LOCI_EINVAL);
    assert_int_equal(loci_session_losses(s, ids, 0, target, loss, NULL), LOCI_EINVAL);
    assert_int_equal(loci_session_length(s), 0);
    OK(loci_session_losses(s, ids, 300, target, loss, &err));
    OK(loci_session_losses(s, ids + 300, 1, target + 300, loss + 300, &err));
    OK(loci_session_losses(s, ids + 301, N - 301, target + 301, loss + 301, &err));
    assert_int_equal(loci_session_losses(s, ids, 1, target, loss, NULL), LOCI_ENOMEM);
    for (int t = 0; t < N; t++) {
        const float *x = rows + (size_t)t * (size_t)vocab;
        double sum = 0.0;
        for (int i = 0; i < vocab; i++) sum += exp((double)x[i]);
        const double want = target[t] < 0 ? 0.0 : log(sum) - (double)x[target[t]];
        if (!(fabs(want - (double)loss[t]) <= 1e-3))
            fail_msg("token %d: %g for %g", t, loss[t], want);
    }
    loci_session_close(s);
    free(rows);
    free(ids);
    free(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_do_not_matter),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_stored_forms),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_losses),
    };
    root_make();
    engine = xs_open(1);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loci_engine_close(engine);
    temp_dir_remove(root);
    return failed;
}
