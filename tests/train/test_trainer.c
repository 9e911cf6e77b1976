/* test_trainer.c - the gradients of one step, below the loop of test_train.c.
 *
 * Goal: what a step adds up is the batch's gradient, however the batch is cut; settings that change
 * what the sequences of a batch do to each other do that and nothing else.  Method: the same items
 * (same seed, same step) run in different ways, gradients and sums compared.  Two sums of the same
 * numbers in another order differ by their roundings: each gradient is a sum of some hundred terms
 * per sequence, so sqrt(1000) 2^-24 of the gradient's norm bounds an element's difference by far. */
#include "kernel/number.h"
#include "model/model_impl.h"
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

/* A trainer before its first step; synthetic text; an upper layer for each group. */
static loci_trainer *trainer_open_with(const char *train, const char *phase, int groups)
{
    char text[4096];
    loci_trainer *t = calloc(1, sizeof *t);
    assert_non_null(t);
    MUST(loci_train_config_parse(&t->config, config_text(text, train, phase), "test", err));
    t->config.hp.n_groups = t->config.hp.n_upper = groups;
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

static loci_trainer *trainer_open(const char *train, const char *phase)
{
    return trainer_open_with(train, phase, 1);
}

/* Where a matrix's gradient lies in what gradient() gives. */
static size_t place_of(const loci_trainer *t, const loci_mat *w)
{
    return (size_t)((const float *)w->data - t->optim.param);
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

/* With rounded weights the gradient is that of a model whose weights are what an int4 checkpoint holds,
 * and the weights that it steps are those before. */
static void test_rounding(void **state)
{
    (void)state;
    loci_trainer *a = trainer_open("", ", \"round_weights\": true"), *b = trainer_open("", "");
    const size_t n = a->optim.n;
    float *start = malloc(n * sizeof *start);
    assert_non_null(start);
    memcpy(start, a->optim.param, n * sizeof *start);
    loci_loss_sums x, y;
    float *plain = gradient(b, &y);
    memset(b->optim.slot, 0, n * sizeof *b->optim.slot);
    loci_params p;
    loci_params_bind(&p, &b->config.hp, b->optim.param);
    int rounded = 0;
    for (int i = 0; i < b->optim.n_info; i++) {
        const loci_param_info *info = &b->optim.info[i];
        if (!loci_param_in_four(info)) continue;
        uint8_t q[512];
        uint16_t half[32];
        float *row = loci_param_at(&p, info)->data;
        assert_in_range(info->cols, 32, 1024);
        for (int r = 0; r < info->rows; r++, row += info->cols) {
            loci_four_round(q, half, row, info->cols);
            for (int c = 0; c < info->cols; c++)
                row[c] =
                    loci_f16_to_f32(half[c / 32]) * (float)((q[c / 2] >> 4 * (c % 2) & 15) - 8);
        }
        rounded++;
    }
    assert_true(rounded > 5);
    float *ga = gradient(a, &x), *gb = gradient(b, &y);
    assert_memory_equal(ga, gb, n * sizeof *ga);
    assert_memory_equal(a->optim.param, start, n * sizeof *start);
    assert_true(distance(plain, ga, n) > 100 * same);
    free(start);
    free(plain);
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

/* A phase's window is a model with that window: the same items, gradients and saved shape. */
static void test_window(void **state)
{
    (void)state;
    loci_loss_sums x, y;
    loci_trainer *a = trainer_open("", ", \"window\": 64"), *b = trainer_open("", ""),
                 *c = trainer_open("", "");
    a->config.hp.window = 128;
    b->config.hp.window = 64;
    c->config.hp.window = 128;
    float *ga = gradient(a, &x), *gb = gradient(b, &y);
    assert_int_equal(a->model->hp.window, 64);
    assert_memory_equal(&x, &y, sizeof x);
    assert_memory_equal(ga, gb, a->optim.n * sizeof *ga);
    free(gb);
    gb = gradient(c, &y);
    assert_true(y.n_query < x.n_query && distance(ga, gb, a->optim.n) > 100 * same);
    free(ga);
    free(gb);
    trainer_close(a);
    trainer_close(b);
    trainer_close(c);
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

/* Sequences 0, 2, 4, ... of the run are asked what their banks are worth. */
static void test_regret(void **state)
{
    (void)state;
    loci_loss_sums x, y;
    loci_trainer *a = trainer_open(", \"regret_every\": 2, \"regret\": 3", ""),
                 *b = trainer_open("", "");
    float *ga = gradient(a, &x), *gb = gradient(b, &y);
    assert_int_equal(x.n_regret,
                     loci_item_regret_rows(&a->item[0]) + loci_item_regret_rows(&a->item[2]));
    assert_true(x.n_regret > 0 && x.gain > 0.0 && x.regret > 0.0 && x.regret < x.gain);
    assert_true(fabs((double)a->loss.regret_scale * (double)x.n_regret - 1.0) < 1e-6);
    assert_true(y.n_regret == 0 && y.gain == 0.0 && y.regret == 0.0);
    assert_true(x.ce_text == y.ce_text && x.oracle == y.oracle);
    /* Gates are pushed open. */
    const size_t gate = place_of(a, &a->model->p.read[0].gate_b);
    assert_true(ga[gate] < gb[gate]);
    free(ga);
    free(gb);
    trainer_close(a);
    trainer_close(b);
}

/* The gate loss l (mean g - pi) + rho/2 max(0, mean g - pi)^2, its mean over tokens and groups, and
 * l's step.  Gates are held at one number by a zero gate_w: d loss / d gate_b of one of two groups is
 * half of (l + rho (mean g - pi)) g (1 - g). */
static void test_gate_loss(void **state)
{
    (void)state;
    const double l = 0.3, before = 0.7, rho = 2.0, eta = 0.25, bias = 0.8, pi = 0.5;
    const double g = 1.0 / (1.0 + exp(-bias));
    loci_loss_sums sums;
    double norm, lr, found[2][2];
    loci_trainer *t = trainer_open_with(", \"gate_rho\": 2, \"gate_eta\": 0.25", "", 2);
    for (int i = 0; i < 2; i++) {
        memset(t->model->p.read[i].gate_w.data, 0, 64 * sizeof(float));
        *(float *)t->model->p.read[i].gate_b.data = (float)bias;
    }
    for (int on = 0; on < 2; on++) {
        t->state.gate_multiplier = on ? l : 0.0;
        t->state.gate_mean = on ? before : 0.0;
        float *x = gradient(t, &sums);
        for (int i = 0; i < 2; i++)
            found[on][i] = (double)x[place_of(t, &t->model->p.read[i].gate_b)];
        memset(t->optim.slot, 0, t->optim.n * sizeof *x);
        free(x);
    }
    for (int i = 0; i < 2; i++) {
        const double want = (l + rho * (before - pi)) * g * (1.0 - g) / 2.0;
        assert_true(fabs(found[1][i] - found[0][i] - want) < 1e-5);
    }
    MUST(loci_trainer_step(t, &sums, &norm, &lr, err));
    assert_true(fabs(t->state.gate_mean - g) < 1e-6);
    assert_true(fabs(t->state.gate_multiplier - (l + eta * (g - pi))) < 1e-6);
    t->state.gate_multiplier = 0.0;
    for (int i = 0; i < 2; i++) *(float *)t->model->p.read[i].gate_b.data = -1.0f;
    MUST(loci_trainer_step(t, &sums, &norm, &lr, err)); /* below the target: never negative */
    assert_true(t->state.gate_mean < pi && t->state.gate_multiplier == 0.0);
    trainer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_micro_batches), cmocka_unit_test(test_negatives),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_window),        cmocka_unit_test(test_regret),
        cmocka_unit_test(test_gate_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
