/* Goal: `loci model info` of a DeepSeek-V4 model says what it is and needs from its config alone,
 * with the keys that its manual names, and a wrong file gives one line.
 * Method: the seeds of the config's fuzz target, run as a user would. */
#include "run.h"

/* The seeds lie in the tree, where the test begins; it runs in a folder of its own. */
static int setup(void **state)
{
    static const char *const name[] = { "flash.json", "pro.json", "v41.json" };
    char *text[3], path[128];
    size_t n[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "tests/fuzz/corpus/dsv4_config/%s", name[i]);
        text[i] = slurp(path, &n[i]);
    }
    enter_scratch();
    for (int i = 0; i < 3; i++) {
        spill(name[i], text[i], n[i]);
        free(text[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_scratch();
    return 0;
}

static void json(void **state)
{
    (void)state;
    json_t *o = json_of(RUN("model", "info", "--json", "flash.json"));
    check_keys(
        o, "schema:i model:s architecture:s expert_type:s vocab:i d_model:i n_layers:i n_window:i "
           "n_csa:i n_hca:i n_hash:i n_heads:i d_head:i window:i index_top_k:i n_experts:i "
           "n_active:i n_draft:i max_tokens:i file_bytes:i parameters:i active_parameters:i "
           "draft_parameters:i weight_bytes:i dense_bytes:i expert_bytes:i state_bytes:i "
           "context_bytes_per_token:f contexts:a");
    assert_int_equal(json_integer_value(json_object_get(o, "parameters")), 284332240471);
    assert_int_equal(json_integer_value(json_object_get(o, "active_parameters")), 13270101591);
    const json_t *contexts = json_object_get(o, "contexts");
    assert_int_equal(json_array_size(contexts), 3);
    const json_int_t state_bytes = json_integer_value(json_object_get(o, "state_bytes"));
    static const json_int_t tokens[] = { 32768, 131072, 1048576 };
    for (int i = 0; i < 3; i++) {
        const json_t *row = json_array_get(contexts, (size_t)i);
        assert_int_equal(json_integer_value(json_object_get(row, "tokens")), tokens[i]);
        /* 3514.25 bytes a token */
        assert_int_equal(json_integer_value(json_object_get(row, "context_bytes")),
                         tokens[i] / 4 * 14057 + state_bytes);
    }
    json_decref(o);
}

static void text(void **state)
{
    (void)state;
    result r = RUN("model", "info", "pro.json");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "1573.00 B parameters, 48.85 B active"));
    assert_non_null(strstr(r.out, "5031 bytes a token"));
    free_result(&r);
    r = RUN("model", "info", "v41.json");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "recognised, but not run"));
    free_result(&r);
    r = RUN("generate", "--model", "v41.json", "--prompt",
            "hi"); /* before weights are looked for */
    assert_int_equal(r.code, 1);
    assert_string_equal(r.err, "loci: v41.json: V4.1 is recognised but not run\n");
    free_result(&r);
}

static void refused(void **state)
{
    (void)state;
    spill("bad.json", "{\"model_type\":\"deepseek_v4\"}", 28);
    result r = RUN("model", "info", "bad.json");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "loci: bad.json: "));
    free_result(&r);
    spill("bad.gguf", "GGUF\3", 5);
    r = RUN("model", "info", "bad.gguf");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "loci: bad.gguf: byte 4: version: expected 4 bytes, found 1"));
    free_result(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),
        cmocka_unit_test(text),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
