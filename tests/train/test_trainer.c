/* test_trainer.c - the gradients of one step, below the loop of test_train.c.
 *
 * Goal: what a step adds up is the batch's gradient, however the batch is cut; settings that change
 * what the sequences of a batch do to each other do that and nothing else.  Method: the same items
 * (same seed, same step) run in different ways, gradients and sums compared.  Two sums of the same
 * numbers in another order differ by their roundings: each gradient is a sum of some hundred terms
 * per sequence, so sqrt(1000) 2^-24 of the gradient's norm bounds an element's difference by far. */
#include "train_test.h"
#include "train/trainer.h"
#include <math.h>

#define PHASE                                                                                      \
    "{\"name\": \"a\", \"tokens\": 100000, \"seq_len\": 192, \"batch\": 4, \"routed\": true, "     \
    "\"facts_max\": 3, \"synthetic\": 0.7, \"pointer_from\": 1, \"decode_from\": 0.5, "            \
    "\"gate_target\": 0.5"

/* A config of one phase: more of the train section, more of the phase. */
static const char *config_text(char out[4096], const char *train, const char *phase)
{
    snprintf(out, 4096, "{" TINY_MODEL ", \"train\": {\"slots\": 3%s}, \"phases\": [" PHASE "%s}]}",
             train, phase);
    return out;
}

/* A trainer before its first step; synthetic text. */
static loci_trainer *trainer_open(const char *train, const char *phase)
{
    char text[4096];
    loci_trainer *t = calloc(1, sizeof *t);
    assert_non_null(t);
    MUST(loci_train_config_parse(&t->config, config_text(text, train, phase), "test", err));
    t->tok = tiny_tokenizer(320);
    MUST(loci_pool_open(&t->pool, 1, err));
    MUST(loci_optim_init(&t->optim, &t->config, t->config.slots, err));
    MUST(loci_trainer_alloc(t, err));
    loci_params_init(t->optim.param, &t->config.hp, 1);
    MUST(loci_model_wrap(&t->model, &t->config.hp, t->optim.param, loci_cpu_detect(), err));
    /* No tensor at its start value of 0: what hangs behind one would have no gradient. */
    loci_rng rng;
    loci_rng_seed(&rng, 7);
    for (size_t i = 0; i < t->optim.n; i++)
        t->optim.param[i] += 0.02f * (float)loci_rng_normal(&rng);
    return t;
}

static void trainer_close(loci_trainer *t)
{
    loci_trainer_free(t);
    free(t);
}

/* The gradient of the first step's batch, owned; its sums. */
static float *gradient(loci_trainer *t, loci_loss_sums *sums)
{
    int64_t tokens = 0;
    memset(sums, 0, sizeof *sums);
    MUST(loci_trainer_gradients(t, sums, &tokens, err));
    assert_true(tokens > 0);
    const double norm = loci_optim_reduce(&t->optim, t->pool, &t->model->k);
    float *g = malloc(t->optim.n * sizeof *g);
    assert_non_null(g);
    memcpy(g, t->optim.slot, t->optim.n * sizeof *g);
    double square = 0.0;
    for (size_t i = 0; i < t->optim.n; i++) square += (double)g[i] * (double)g[i];
    assert_true(norm > 0.0 && fabs(norm - sqrt(square)) <= 1e-6 * norm);
    for (size_t i = t->optim.n; i < 3 * t->optim.n; i++) assert_true(t->optim.slot[i] == 0.0f);
    return g;
}

/* Largest difference between two gradients, as a share of the first one's norm. */
static double distance(const float *a, const float *b, size_t n)
{
    double most = 0.0, square = 0.0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        square += (double)a[i] * (double)a[i];
    }
    return most / sqrt(square);
}

static const double same = 2e-6; /* sqrt(1000) 2^-24 */

static void compare(const char *train_a, const char *phase_a, const char *train_b,
                    const char *phase_b, bool equal)
{
    loci_trainer *a = trainer_open(train_a, phase_a), *b = trainer_open(train_b, phase_b);
    loci_loss_sums x, y;
    float *ga = gradient(a, &x), *gb = gradient(b, &y);
    const double d = distance(ga, gb, a->optim.n);
    print_message("  {%s %s} against {%s %s}: %.2g\n", train_a, phase_a, train_b, phase_b, d);
    assert_int_equal(x.n_query, y.n_query);
    assert_int_equal(x.n_text, y.n_text);
    assert_int_equal(x.n_gold, y.n_gold);
    assert_int_equal(x.n_decode, y.n_decode);
    assert_true(x.n_gold > 0 && x.n_query > 0);
    if (equal) {
        assert_true(d <= same);
        assert_true(fabs(x.ce_text - y.ce_text) <= 1e-5 * fabs(x.ce_text));
        assert_true(fabs(x.oracle - y.oracle) <= 1e-5 * fabs(x.oracle));
    } else {
        assert_true(d > 100 * same);
    }
    free(ga);
    free(gb);
    trainer_close(a);
    trainer_close(b);
}

/* One at a time, nobody has others: the same as a batch whose sequences ignore each other. */
static void test_micro_batches(void **state)
{
    (void)state;
    compare(", \"negatives\": false", "", "", ", \"accumulate\": 4", true);
    compare(", \"negatives\": false", "", ", \"negatives\": false", ", \"accumulate\": 2", true);
}

static void test_negatives(void **state)
{
    (void)state;
    compare("", "", ", \"negatives\": false", "", false);
    compare("", "", "", ", \"accumulate\": 2", false);
}

/* Tapes are planned for a micro-batch, not for the batch. */
static void test_memory(void **state)
{
    (void)state;
    loci_trainer *whole = trainer_open("", ""), *part = trainer_open("", ", \"accumulate\": 4");
    assert_int_equal(whole->tape_bytes, 4 * part->tape_bytes);
    assert_true(part->neg_floats * 4 == whole->neg_floats);
    trainer_close(whole);
    trainer_close(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_negatives),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
