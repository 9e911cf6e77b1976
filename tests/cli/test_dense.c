/* Goal: a model without Read blocks is a plain transformer to every subcommand: it trains, generates,
 * gives logits and is stored in small; what needs a bank refuses it in one line and leaves nothing
 * behind.
 * Method: a few steps of training a tiny one, then the command as a user runs it. */
#include "run.h"

static const char config[] =
    "{\"model\": {\"vocab\": 320, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, \"n_lower\": "
    "1, \"n_upper\": 1, \"n_groups\": 0, \"window\": 256, \"ffn\": 64, \"tied\": 0},"
    " \"train\": {\"slots\": 2, \"log_every\": 1, \"tokenizer_bytes\": 60000},"
    " \"phases\": [{\"name\": \"one\", \"tokens\": 100000, \"seq_len\": 192, \"batch\": 4, "
    "\"routed\": true, \"synthetic\": 0.8, \"pointer_from\": 1, \"decode_from\": 1, "
    "\"gate_target\": 0.5, \"facts_min\": 1, \"facts_max\": 2}]}";

#define MODEL "--model", "m", "--threads", "1"

static int setup(void **state)
{
    (void)state;
    enter_scratch();
    spill("config.json", config, sizeof config - 1);
    spill("text.txt", "The gate code is 48213.\n", 24);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch();
    return 0;
}

static void trains(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("train", "--config", "config.json", "--out", "m", "--steps", "3",
                            "--threads", "1", "--json", "--quiet"));
    const json_t *last = json_object_get(o, "last");
    assert_true(json_number_value(json_object_get(last, "loss_text")) > 0.0);
    assert_true(json_number_value(json_object_get(last, "loss_answer")) > 0.0); /* it is asked */
    assert_true(json_number_value(json_object_get(last, "loss_oracle")) == 0.0);
    json_decref(o);
    o = json_of(RUN("model", "info", "--json", "m"));
    assert_int_equal(json_integer_value(json_object_get(o, "n_groups")), 0);
    json_decref(o);
}

/* Text of one call; the same for the int8 copy's kind of call is not the same text, but some. */
static void generates(void **state)
{
    (void)state;
    result a = RUN("generate", MODEL, "--prompt", "The gate", "--max-tokens", "40", "--quiet");
    result b = RUN("generate", MODEL, "--prompt", "The gate", "--max-tokens", "40", "--quiet");
    assert_int_equal(a.code, 0);
    assert_true(a.out_bytes > 1);
    assert_string_equal(a.out, b.out);
    free_result(&a);
    free_result(&b);
    a = RUN("quantize", "--model", "m", "--out", "m8", "--type", "int8");
    assert_int_equal(a.code, 0);
    free_result(&a);
    a = RUN("generate", "--model", "m8", "--prompt", "The gate", "--max-tokens", "5", "--quiet");
    assert_int_equal(a.code, 0);
    free_result(&a);
}

/* In one call and one by one. */
static void logits(void **state)
{
    (void)state;
    char ids[2000];
    size_t n = 0, one, many;
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(ids + n, sizeof ids - n, "%d ", i == 0 ? 0 : 16 + i * 7 % 300);
    spill("ids", ids, n);
    static const char *const prefill[] = { "300", "1" };
    char *file[2];
    for (int i = 0; i < 2; i++) {
        const char *out = i ? "b.npy" : "a.npy";
        result r =
            RUN("logits", MODEL, "--ids", "ids", "--out", out, "--prefill", prefill[i], "--quiet");
        assert_int_equal(r.code, 0);
        free_result(&r);
        file[i] = slurp(out, i ? &many : &one);
    }
    assert_int_equal(one, many);
    const size_t values = 300 * 320, header = one - values * sizeof(float);
    for (size_t i = 0; i < values; i++) {
        float x, y;
        memcpy(&x, file[0] + header + i * sizeof x, sizeof x);
        memcpy(&y, file[1] + header + i * sizeof y, sizeof y);
        assert_true(x - y < 1e-3f && y - x < 1e-3f); /* f32 sums in another order */
    }
    free(file[0]);
    free(file[1]);
}

static void refuses(void **state)
{
    (void)state;
    result r[] = {
        RUN("ingest", "--bank", "b", MODEL, "text.txt"),
        RUN("ask", "--bank", "b", MODEL, "what is the code?"),
        RUN("recall", "--bank", "b", MODEL, "what is the code?"),
        RUN("bank", "info", "--bank", "b", MODEL),
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r[i].code, 1);
        assert_int_equal(count_lines(r[i].err), 1);
        if (!strstr(r[i].err, "n_groups is 0")) fail_msg("%s", r[i].err);
        assert_int_equal(r[i].out_bytes, 0);
    }
    for (size_t i = 0; i < sizeof r / sizeof *r; i++) free_result(&r[i]);
    assert_int_not_equal(access("b", F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trains),
        cmocka_unit_test(generates),
        cmocka_unit_test(logits),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
