/* test_gpu_lanes.c - a step of training shared by several GPUs.
 *
 * Goal: how many of them there are changes nothing but the order in which gradients are added; all of them
 * hold the same parameters; what cannot be shared is refused.
 * Method: the sum of gradients against the same sum on the host, bit for bit, at sizes that no number of
 * lanes divides; a run with one lane beside runs with two and three, which here may be one device under
 * several handles. */
#include "trainer_test.h"

#include "train/gpu/train_lane.h"

enum { STEPS = 6 };

#define CONFIG(accumulate)                                                                         \
    "{\"model\": {\"vocab\": 320, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, "            \
    "\"n_lower\": 1, \"n_upper\": 1, \"n_groups\": 1, \"window\": 64, \"ffn\": 64, "               \
    "\"enc_dim\": 64, \"enc_mlp\": 64, \"router_hidden\": 64, \"read_mlp\": 64, \"top_k\": 2}, "   \
    "\"train\": {\"slots\": 2, \"lr\": 0.002, \"muon\": 0.01, \"warmup_tokens\": 2000}, "          \
    "\"phases\": [{\"name\": \"dense\", \"tokens\": 1500, \"seq_len\": 96, \"batch\": 6, "         \
    "\"accumulate\": " #accumulate ", \"routed\": false, \"facts_max\": 3, \"synthetic\": 0.7}, "  \
    "{\"name\": \"rounded\", \"tokens\": 1000000, \"seq_len\": 96, \"batch\": 6, "                 \
    "\"accumulate\": 6, \"routed\": true, \"facts_max\": 3, \"synthetic\": 0.8, "                  \
    "\"gate_target\": 0.5, \"round_weights\": true}]}"

/* ---- the sum of gradients ------------------------------------------------------------------- */

static void set_gradients(loci_lane *lane, float *grad, loci_rng *rng)
{
    for (size_t i = 0; i < lane->w.n; i++) grad[i] = (float)(loci_rng_normal(rng) * 1e3);
    loci_gpu_upload(lane->g, lane->w.grad, grad, lane->w.n * sizeof *grad);
    MUST(loci_gpu_status(lane->g, err));
}

static void sum_of(int n_lanes)
{
    loci_lane lane[4] = { 0 };
    loci_trainer *t = open_trainer(CONFIG(6), true);
    const size_t n = t->optim.n;
    float *want = calloc(n, sizeof *want), *grad = malloc(n * sizeof *grad);
    loci_rng rng;
    loci_rng_seed(&rng, (uint64_t)n_lanes);
    assert_true(want && grad);
    for (int i = 0; i < n_lanes; i++) {
        MUST(loci_lane_open(&lane[i], t, 0, n_lanes, err));
        set_gradients(&lane[i], grad, &rng);
        for (size_t k = 0; k < n; k++) want[k] = i == 0 ? grad[k] : want[k] + grad[k];
    }
    for (int i = n_lanes - 1; i >= 0; i--) MUST(loci_lane_collect(lane, n_lanes, i, err));
    for (int i = 0; i < n_lanes; i++) MUST(loci_lane_spread(lane, n_lanes, i, err));
    for (int i = 0; i < n_lanes; i++) {
        loci_gpu_download(lane[i].g, grad, lane[i].w.grad, n * sizeof *grad);
        MUST(loci_gpu_status(lane[i].g, err));
        assert_memory_equal(grad, want, n * sizeof *grad);
    }
    for (int i = 0; i < n_lanes; i++) loci_lane_close(&lane[i]);
    free(want);
    free(grad);
    close_trainer(t);
}

static void test_sum(void **state)
{
    (void)state;
    if (!have_device()) skip();
    for (int n = 2; n <= 4; n++) sum_of(n);
}

static void test_a_stray_copy_is_found(void **state)
{
    (void)state;
    if (!have_device()) skip();
    loci_lane lane = { 0 };
    loci_error why = { 0 };
    loci_trainer *t = open_trainer(CONFIG(6), true);
    MUST(loci_lane_open(&lane, t, 0, 1, err));
    float *scratch = malloc(t->optim.n * sizeof *scratch);
    assert_non_null(scratch);
    assert_int_equal(loci_lane_compare(&lane, t->optim.param, scratch, &why), LOCI_OK);
    t->optim.param[t->optim.n / 2 + 1] += 1e-3f;
    assert_int_equal(loci_lane_compare(&lane, t->optim.param, scratch, &why), LOCI_ESTATE);
    free(scratch);
    loci_lane_close(&lane);
    close_trainer(t);
}

/* ---- runs --------------------------------------------------------------------------------------- */

typedef struct {
    double loss[STEPS], norm[STEPS];
    int64_t tokens;
    float *param, *start; /* owned */
    size_t n;
} run;

static run train(int n_lanes)
{
    loci_trainer *t = open_trainer(CONFIG(6), true);
    const loci_devices devices = { { 0 }, n_lanes };
    run r = { .n = t->optim.n };
    r.param = malloc(r.n * sizeof *r.param);
    r.start = malloc(r.n * sizeof *r.start);
    assert_true(r.param && r.start);
    memcpy(r.start, t->optim.param, r.n * sizeof *r.start);
    MUST(loci_gpu_trainer_open(t, &devices, err));
    for (int s = 0; s < STEPS; s++) {
        loci_loss_sums sums = { 0 };
        double lr;
        MUST(loci_trainer_step(t, &sums, &r.norm[s], &lr, err));
        r.loss[s] = sums.ce_text / (double)sums.n_text;
    }
    assert_int_equal(t->state.phase, 1);
    r.tokens = t->state.tokens;
    MUST(loci_gpu_trainer_fetch(t, err)); /* all lanes hold the same */
    memcpy(r.param, t->optim.param, r.n * sizeof *r.param);
    close_trainer(t);
    return r;
}

/* Sums in another order move a gradient by some 1e-7 of its size and, with it, a few weights of the next
 * step's bf16 copy over a rounding: 2^-8 of one in thousands.  Micro-batches that are left out, or taken
 * twice, change the first step's norm and loss by tenths. */
static void test_runs(void **state)
{
    (void)state;
    if (!have_device()) skip();
    const run one = train(1);
    for (int n = 2; n <= 3; n++) {
        const run more = train(n);
        const double moved = params_apart(one.param, one.start, one.n),
                     off = params_apart(one.param, more.param, one.n);
        print_message("  %d lanes: norm %.9f and %.9f, parameters moved by %.2e, apart %.2e\n", n,
                      one.norm[0], more.norm[0], moved, off);
        assert_int_equal(one.tokens, more.tokens);
        assert_true(fabs(one.loss[0] - more.loss[0]) <= 1e-9 * one.loss[0]);
        assert_true(fabs(one.norm[0] - more.norm[0]) <= 1e-5 * one.norm[0]);
        for (int s = 1; s < STEPS; s++)
            assert_true(fabs(one.loss[s] - more.loss[s]) <= 1e-3 * one.loss[s]);
        assert_true(off <= 0.1 * moved);
        free(more.param);
        free(more.start);
    }
    free(one.param);
    free(one.start);
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void test_shares(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_trainer *t = open_trainer(CONFIG(3), true);
    if (!have_device()) skip();
    assert_int_equal(loci_gpu_trainer_open(t, &(loci_devices){ { 0 }, 2 }, &err), LOCI_EINVAL);
    assert_string_equal(err.text, "phase dense: accumulate is 3, expected a multiple of 2, the "
                                  "number of GPUs that share its micro-batches");
    close_trainer(t);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "cuda:",     "cuda:0,",
        "cuda:,1",   "cuda:0,0",
        "cuda:-1,2", "cuda:0,256",
        "gpu:0,1",   "0,1",
        "cuda:0 ,1", "cuda:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"
    };
    loci_devices d;
    loci_error err = { 0 };
    assert_int_equal(loci_devices_parse("cuda:2,0,13", &d, &err), LOCI_OK);
    assert_int_equal(d.n, 3);
    assert_true(d.number[0] == 2 && d.number[1] == 0 && d.number[2] == 13);
    assert_true(loci_devices_parse("cuda:7", &d, &err) == LOCI_OK && d.n == 1 && d.number[0] == 7);
    assert_true(loci_devices_parse(NULL, &d, &err) == LOCI_OK && d.n == 0);
    assert_true(loci_devices_parse("cpu", &d, &err) == LOCI_OK && d.n == 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.code = LOCI_OK;
        assert_int_equal(loci_devices_parse(bad[i], &d, &err), LOCI_EINVAL);
        assert_int_equal(d.n, 0);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),   cmocka_unit_test(test_a_stray_copy_is_found),
        cmocka_unit_test(test_runs),  cmocka_unit_test(test_shares),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
