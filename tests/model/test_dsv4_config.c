/* Goal: config.json of every release of the family gives its shape in both dialects, and a wrong
 * value gives one line that names the field.
 * Method: the configs of the fuzz seeds, written from the published fields, compared with the known
 * shapes; then one field at a time replaced or removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "model/dsv4/dsv4.h"

#define SEEDS "tests/fuzz/corpus/dsv4_config/"

static char *load(const char *name)
{
    char path[256], *text;
    size_t len;
    loci_error err = { 0 };
    snprintf(path, sizeof path, SEEDS "%s", name);
    if (loci_file_load(NULL, path, LOCI_DSV4_CONFIG_MAX_BYTES, &text, &len, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    return text;
}

static loci_dsv4_hparams parse_file(const char *name)
{
    loci_dsv4_hparams hp;
    loci_error err = { 0 };
    char *text = load(name);
    assert_true(loci_dsv4_config_is(text));
    if (loci_dsv4_config_parse(&hp, text, name, &err) != LOCI_OK) fail_msg("%s", err.text);
    free(text);
    return hp;
}

/* The config with the first occurrence of `from` replaced, and its parse. */
static loci_status parse_changed(const char *name, const char *from, const char *to,
                                 loci_dsv4_hparams *hp, loci_error *err)
{
    char *text = load(name), *at = strstr(text, from);
    assert_non_null(at);
    char *changed = calloc(1, strlen(text) + strlen(to) + 1);
    memcpy(changed, text, (size_t)(at - text));
    strcat(changed, to);
    strcat(changed, at + strlen(from));
    memset(err, 0, sizeof *err);
    const loci_status st = loci_dsv4_config_parse(hp, changed, "config.json", err);
    free(changed);
    free(text);
    return st;
}

static void assert_same_shape(const loci_dsv4_hparams *a, const loci_dsv4_hparams *b)
{
    assert_memory_equal(a, b, sizeof *a);
}

static void test_released(void **state)
{
    (void)state;
    loci_dsv4_hparams flash = parse_file("flash.json"), pro = parse_file("pro.json"), known;
    assert_int_equal(loci_dsv4_known_shape(&known, "flash", NULL), LOCI_OK);
    assert_same_shape(&flash, &known);
    assert_int_equal(loci_dsv4_known_shape(&known, "pro", NULL), LOCI_OK);
    assert_same_shape(&pro, &known);
    int kinds[3] = { 0 };
    for (int l = 0; l < flash.n_layers; l++) kinds[flash.layer[l].kind]++;
    assert_int_equal(kinds[LOCI_DSV4_WINDOW], 2);
    assert_int_equal(kinds[LOCI_DSV4_CSA], 21);
    assert_int_equal(kinds[LOCI_DSV4_HCA], 20);
    assert_true(flash.layer[2].hash && !flash.layer[3].hash);
    assert_int_equal(flash.layer[43].kind, LOCI_DSV4_WINDOW); /* the MTP block */
    assert_false(flash.layer[43].hash);
    loci_error err = { 0 };
    assert_int_equal(loci_dsv4_known_shape(&known, "mini", &err), LOCI_EINVAL);
    assert_string_equal(err.text, "shape: expected flash or pro, found mini");
}

static void test_variants(void **state)
{
    (void)state;
    const loci_dsv4_hparams flash = parse_file("flash.json");
    loci_dsv4_hparams base = parse_file("flash-base.json"), spark = parse_file("flash-0731.json");
    assert_int_equal(base.expert_type, LOCI_DSV4_EXPERT_FP8);
    base.expert_type = flash.expert_type;
    assert_same_shape(&base, &flash);
    assert_int_equal(spark.family, LOCI_DSV4_DSPARK);
    assert_int_equal(spark.n_mtp, 0);
    assert_int_equal(spark.draft_stages, 3);
    assert_int_equal(spark.draft_block, 5);
    assert_int_equal(spark.markov_rank, 256);
    assert_int_equal(spark.noise_id, 128799);
    assert_int_equal(spark.n_taps, 3);
    assert_int_equal(spark.tap[2], 42);
}

/* The other dialect names the same model: only the type of its experts is not said there. */
static void test_transformers(void **state)
{
    (void)state;
    const loci_dsv4_hparams flash = parse_file("flash.json");
    loci_dsv4_hparams hf = parse_file("transformers.json");
    assert_int_equal(hf.expert_type, LOCI_DSV4_EXPERT_PLAIN);
    hf.expert_type = flash.expert_type;
    assert_same_shape(&hf, &flash);

    loci_error err;
    loci_dsv4_hparams hp;
    /* default rope in the compressed part: no YaRN */
    assert_int_equal(parse_changed("transformers.json", "\"rope_type\": \"yarn\"",
                                   "\"rope_type\": \"default\"", &hp, &err),
                     LOCI_OK);
    assert_false(hp.yarn);
    /* the rate of a kind reaches every layer of it, overlap and indexer stay with the kind */
    assert_int_equal(parse_changed("transformers.json", "\"heavily_compressed_attention\": 128",
                                   "\"heavily_compressed_attention\": 4", &hp, &err),
                     LOCI_OK);
    assert_int_equal(hp.layer[3].ratio, 4);
    assert_false(hp.layer[3].overlap || hp.layer[3].indexer);
    assert_int_equal(parse_changed("transformers.json", "\"hash_moe\"", "\"moe\"", &hp, &err),
                     LOCI_OK);
    assert_false(hp.layer[0].hash);
    assert_true(hp.layer[1].hash); /* read as a list, not as a count */
}

static void test_v41(void **state)
{
    (void)state;
    const loci_dsv4_hparams hp = parse_file("v41.json");
    assert_int_equal(hp.family, LOCI_DSV4_V41);
    assert_int_equal(hp.layer[1].kind, LOCI_DSV4_WINDOW);
    assert_int_equal(hp.layer[5].ratio, 2);
    assert_int_equal(hp.layer[5].kv_source, 2);
    assert_true(hp.layer[8].indexer && !hp.layer[9].indexer);
    assert_int_equal(hp.layer[39].kv_source, 20);
    assert_int_equal(hp.layer[39].index_source, 36);
    assert_false(hp.layer[39].overlap);
}

/* A file with one thing in it changed, and what is said then; NULL: it is as good. */
static const struct {
    const char *file, *from, *to, *message;
} refusal[] = {
    { "flash.json", "\"deepseek_v4\"", "\"llama\"",
      "config.json: model_type: expected deepseek_v4 or deepseek_v41, found \"llama\"" },
    { "flash.json", "\"vocab_size\": 129280", "\"vocab_size\": 0",
      "config.json: vocab_size: expected 1 to 1048576, found 0" },
    { "flash.json", "\"hidden_size\": 4096, ", "",
      "config.json: hidden_size: expected an integer, found nothing" },
    { "flash.json", "\"head_dim\": 512", "\"head_dim\": \"512\"",
      "config.json: head_dim: expected an integer, found a string" },
    { "flash.json", "\"qk_rope_head_dim\": 64", "\"qk_rope_head_dim\": 63",
      "config.json: qk_rope_head_dim: expected an even number, found 63" },
    { "flash.json", "\"qk_rope_head_dim\": 64", "\"qk_rope_head_dim\": 514",
      "config.json: qk_rope_head_dim: expected at most head_dim, found 514" },
    { "flash.json", "\"index_head_dim\": 128", "\"index_head_dim\": 32",
      "config.json: index_head_dim: expected at least qk_rope_head_dim, found 32" },
    { "flash.json", "\"o_groups\": 8", "\"o_groups\": 7",
      "config.json: num_attention_heads: expected a multiple of o_groups, found 64" },
    { "flash.json", "\"num_experts_per_tok\": 6", "\"num_experts_per_tok\": 60", NULL },
    { "flash.json", "\"n_routed_experts\": 256", "\"n_routed_experts\": 5",
      "config.json: num_experts_per_tok: expected at most n_routed_experts, found 6" },
    { "flash.json", "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2",
      "config.json: num_key_value_heads: expected 1, found 2" },
    { "flash.json", "\"sqrtsoftplus\"", "\"sigmoid\"",
      "config.json: scoring_func: expected sqrtsoftplus, found \"sigmoid\"" },
    { "flash.json", "\"quant_method\": \"fp8\"", "\"quant_method\": \"gptq\"",
      "config.json: quantization_config.quant_method: expected fp8, found \"gptq\"" },
    { "flash.json", "\"ue8m0\"", "\"float\"",
      "config.json: quantization_config.scale_fmt: expected ue8m0, found \"float\"" },
    { "flash.json", "\"expert_dtype\": \"fp4\"", "\"expert_dtype\": \"int4\"",
      "config.json: expert_dtype: expected fp4 or fp8, found \"int4\"" },
    { "flash.json", "\"expert_dtype\": \"fp4\"", "\"expert_dtype\": \"fp8\"", NULL },
    { "flash.json", "\"norm_topk_prob\": true", "\"norm_topk_prob\": false",
      "config.json: norm_topk_prob: expected true, found false" },
    { "flash.json", "\"type\": \"yarn\"", "\"type\": \"linear\"",
      "config.json: rope_scaling.type: expected yarn or default, found \"linear\"" },
    { "flash.json", "\"factor\": 16, ", "", "config.json: rope_scaling.factor: missing" },
    { "flash.json", "[0, 0, 4, ", "[0, -4, ",
      "config.json: compress_ratios[1]: expected 0 to 4096, found -4" },
    { "flash.json", "\"num_hidden_layers\": 43", "\"num_hidden_layers\": 45",
      "config.json: compress_ratios: expected at least 45 entries, found 44" },
    { "flash.json", "\"num_hash_layers\": 3", "\"num_hash_layers\": 44",
      "config.json: num_hash_layers: expected 0 to num_hidden_layers, found 44" },
    { "flash.json", "\"eos_token_id\": 1", "\"eos_token_id\": 129280",
      "config.json: eos_token_id: expected an id below vocab_size, found 129280" },
    { "flash-0731.json", "[40, 41, 42]", "[40, 41, 43]",
      "config.json: dspark_target_layer_ids[2]: expected 0 to 42, found 43" },
    { "transformers.json", "\"heavily_compressed_attention\", ", "",
      "config.json: layer_types: expected an array of 43, found an array of 42" },
    { "transformers.json", "\"hash_moe\"", "\"dense\"",
      "config.json: mlp_layer_types[0]: expected a layer type of DeepSeek-V4, found "
      "\"dense\"" },
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusal / sizeof refusal[0]; i++) {
        loci_dsv4_hparams hp, zero;
        loci_error err;
        const loci_status st =
            parse_changed(refusal[i].file, refusal[i].from, refusal[i].to, &hp, &err);
        if (!refusal[i].message) {
            assert_int_equal(st, LOCI_OK);
            continue;
        }
        assert_int_equal(st, LOCI_EFORMAT);
        assert_string_equal(err.text, refusal[i].message);
        memset(&zero, 0, sizeof zero);
        assert_memory_equal(&hp, &zero, sizeof hp);
    }
}

static void test_no_config(void **state)
{
    (void)state;
    loci_dsv4_hparams hp;
    assert_int_equal(loci_dsv4_config_parse(&hp, "{", "x", NULL), LOCI_EFORMAT);
    assert_int_equal(loci_dsv4_config_parse(&hp, "[]", "x", NULL), LOCI_EFORMAT);
    assert_false(loci_dsv4_config_is("{\"architecture\": \"loci-1\"}"));
    assert_false(loci_dsv4_config_is("{"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_released),     cmocka_unit_test(test_variants),
        cmocka_unit_test(test_transformers), cmocka_unit_test(test_v41),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_no_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
