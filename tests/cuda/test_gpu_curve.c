/* test_gpu_curve.c - fifty steps of training on the device against the same steps on the CPU.
 *
 * Goal: what a step leaves behind for the next one is right as well: parameters, moments of AdamW and
 * Muon, the gate's multiplier, items that are made ahead by another thread, a phase that begins.
 * Method: a tiny model with every part, two phases (dense in one batch; routed in micro-batches), the
 * same seed on both sides; items must be the same ones, the curves of losses and of the gradient's norm
 * and the parameters at the end must be close.
 *
 * How close is measured: the device sees weights that are rounded to bf16, and rounds activations.  So
 * the CPU trains again, each step's gradient being taken at weights that were moved at random by 2^-8
 * of their size for that step alone.  What this does to a curve (root mean square over its steps and over
 * SAMPLES such runs), times FACTOR, is what the device's curve may differ by; the same for the
 * parameters.  A step that went wrong is far outside: see the last assertion. */
#include "trainer_test.h"

enum { STEPS = 50, SAMPLES = 4 };
/* As in test_slow_gpu_pass.c: one rounding a weight stands for those of activations on their way too. */
static const double FACTOR = 2.0;

#define ROUTED                                                                                     \
    "\"seq_len\": 96, \"batch\": 4, \"accumulate\": 2, \"routed\": true, \"facts_max\": 3, "       \
    "\"synthetic\": 0.8, \"pointer_from\": 0.5, \"pointer_to\": 0.5, \"decode_from\": 0.3, "       \
    "\"decode_to\": 0.3, \"gate_target\": 0.5"

static const char CONFIG[] =
    "{\"model\": {\"vocab\": 320, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, "
    "\"n_lower\": 1, \"n_upper\": 1, \"n_groups\": 1, \"window\": 64, \"ffn\": 64, "
    "\"enc_dim\": 64, \"enc_mlp\": 64, \"router_hidden\": 64, \"read_mlp\": 64, \"top_k\": 2, "
    "\"d_summary\": 16, \"content_bits4\": 1}, "
    "\"train\": {\"slots\": 2, \"lr\": 0.002, \"muon\": 0.01, \"warmup_tokens\": 2000}, "
    "\"phases\": [{\"name\": \"dense\", \"tokens\": 3800, \"seq_len\": 96, \"batch\": 2, "
    "\"routed\": false, \"facts_max\": 3, \"synthetic\": 0.7}, "
    "{\"name\": \"routed\", \"tokens\": 8800, " ROUTED "}, "
    "{\"name\": \"rounded\", \"tokens\": 1000000, \"round_weights\": true, " ROUTED "}]}";

enum { TEXT, ANSWER, ORACLE, GATE, NORM, CURVES };
static const char *const curve_name[CURVES] = { "text", "answer", "oracle", "gate", "norm" };

typedef struct {
    double at[CURVES][STEPS];
    int64_t tokens[STEPS], phase[STEPS];
    float *param; /* at the end; owned */
    size_t n;
} run;

/* x of each of n, 0 where there was none. */
static double mean(double x, int64_t n)
{
    return n > 0 ? x / (double)n : 0.0;
}

/* moved > 0: gradients are taken at weights that are off by that share of their size. */
static run train(bool on_gpu, double moved, uint64_t seed)
{
    loci_trainer *t = open_trainer(CONFIG, on_gpu);
    if (on_gpu) MUST(loci_gpu_trainer_open(t, &(loci_devices){ { 0 }, 1 }, err));
    run r = { .n = t->optim.n, .param = malloc(t->optim.n * sizeof(float)) };
    float *off = malloc(t->optim.n * sizeof *off);
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    assert_true(r.param && off);
    for (int s = 0; s < STEPS; s++) {
        loci_loss_sums sums = { 0 };
        double lr;
        for (size_t i = 0; moved > 0.0 && i < r.n; i++) {
            off[i] = (float)(moved * loci_rng_normal(&rng)) * t->optim.param[i];
            t->optim.param[i] += off[i];
        }
        MUST(loci_trainer_step(t, &sums, &r.at[NORM][s], &lr, err));
        for (size_t i = 0; moved > 0.0 && i < r.n; i++) t->optim.param[i] -= off[i];
        r.at[TEXT][s] = mean(sums.ce_text, sums.n_text);
        r.at[ANSWER][s] = mean(sums.ce_answer, sums.n_answer);
        r.at[ORACLE][s] = mean(sums.oracle, sums.n_gold);
        r.at[GATE][s] = mean(sums.gate, sums.n_consult_pairs);
        r.tokens[s] = t->state.tokens;
        r.phase[s] = t->state.phase;
    }
    if (on_gpu) MUST(loci_gpu_trainer_fetch(t, err));
    memcpy(r.param, t->optim.param, r.n * sizeof *r.param);
    free(off);
    close_trainer(t);
    return r;
}

/* Root mean square of the difference of two curves. */
static double apart(const run *a, const run *b, int curve)
{
    double square = 0.0;
    for (int s = 0; s < STEPS; s++) square += pow(a->at[curve][s] - b->at[curve][s], 2.0) / STEPS;
    return sqrt(square);
}

static void test_curve(void **state)
{
    (void)state;
    if (!have_device()) skip();
    const run cpu = train(false, 0.0, 0), gpu = train(true, 0.0, 0);
    run like[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) like[i] = train(false, 0x1p-8, (uint64_t)(20261126 + i));
    assert_memory_equal(cpu.tokens, gpu.tokens, sizeof cpu.tokens); /* the same items */
    assert_memory_equal(cpu.phase, gpu.phase, sizeof cpu.phase);
    assert_true(cpu.phase[0] == 0 && cpu.phase[STEPS - 1] == 2);
    int wrong = 0;
    for (int k = 0; k < CURVES; k++) {
        double most = 0.0;
        for (int i = 0; i < SAMPLES; i++) most = fmax(most, apart(&cpu, &like[i], k));
        const double limit = FACTOR * most, off = apart(&cpu, &gpu, k);
        print_message("  %-7s cpu %8.4f .. %8.4f, device %8.4f .. %8.4f, off by %.2e, limit %.2e\n",
                      curve_name[k], cpu.at[k][0], cpu.at[k][STEPS - 1], gpu.at[k][0],
                      gpu.at[k][STEPS - 1], off, limit);
        wrong += !(off <= limit);
    }
    double most = 0.0;
    for (int i = 0; i < SAMPLES; i++)
        most = fmax(most, params_apart(cpu.param, like[i].param, cpu.n));
    const double limit = FACTOR * most, off = params_apart(cpu.param, gpu.param, cpu.n);
    print_message("  params  off by %.2e, limit %.2e\n", off, limit);
    wrong += !(off <= limit);
    assert_int_equal(wrong, 0);
    /* It learns by much more than the curves may differ by. */
    assert_true(cpu.at[TEXT][0] - cpu.at[TEXT][STEPS - 1] >
                10.0 * FACTOR * apart(&cpu, &like[0], TEXT));
    free(cpu.param);
    free(gpu.param);
    for (int i = 0; i < SAMPLES; i++) free(like[i].param);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_curve) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
