/* test_config.c - the trainer's config.
 *
 * Goal: what is left out has its default, every section is read, and everything wrong is refused
 * with the key in the message.  Method: texts built from one that is right; the hash must follow
 * the meaning of a config and nothing else. */
#include "train_test.h"

#define PHASE                                                                                      \
    "{\"name\": \"a\", \"tokens\": 1000, \"seq_len\": 128, \"batch\": 2, \"routed\": true}"
#define PHASES "\"phases\": [" PHASE "]"

static void parse(loci_train_config *c, const char *text)
{
    MUST(loci_train_config_parse(c, text, "test", err));
}

static void refuse(const char *text, const char *word)
{
    loci_train_config c;
    REFUSED(loci_train_config_parse(&c, text, "label", err), LOCI_EFORMAT, word);
    REFUSED(loci_train_config_parse(&c, text, "label", err), LOCI_EFORMAT, "label");
}

static uint64_t hash_of(const char *text)
{
    loci_train_config c;
    parse(&c, text);
    return c.identity;
}

static void test_defaults(void **state)
{
    (void)state;
    loci_train_config c;
    loci_hparams hp;
    loci_hparams_default(&hp);
    parse(&c, "{" PHASES "}");
    assert_memory_equal(&c.hp, &hp, sizeof hp);
    assert_int_equal(c.seed, 1);
    assert_int_equal(c.slots, 16);
    assert_true(c.lr == 1e-3f && c.lr_min == 1e-4f && c.muon == 0.0f);
    assert_true(c.beta1 == 0.9f && c.beta2 == 0.95f && c.clip == 1.0f);
    for (int f = 0; f < LOCI_TASK_COUNT; f++) assert_true(c.family[f] == 1.0f);
    assert_int_equal(c.n_phases, 1);
    assert_int_equal(c.total_tokens, 1000);
    const loci_phase *p = c.phase;
    assert_string_equal(p->name, "a");
    assert_true(p->tokens == 1000 && p->seq_len == 128 && p->batch == 2 && p->routed);
    assert_true(p->synthetic == 0.5f && p->separate == 0.5f && p->gate_target == 1.0f);
    assert_true(c.negatives && p->accumulate == 1 && p->kl_every == 1);
    assert_true(p->oracle_from == 1.0f && p->oracle_to == 1.0f && p->pointer_from == 0.0f);
    assert_true(p->facts_min == 2 && p->facts_max == 16 && p->questions_max == 8);
}

static void test_sections(void **state)
{
    (void)state;
    loci_train_config c;
    parse(&c, "{\"about\": \"words\", " TINY_MODEL
              ", \"train\": {\"seed\": 9, \"slots\": 3, \"lr\": 0.25, \"muon\": 0.5, "
              "\"warmup_tokens\": 77, \"log_every\": 4}, "
              "\"families\": {\"needle\": 2, \"absent\": 0.5}, "
              "\"phases\": [" PHASE ", {\"name\": \"b\", \"tokens\": 500, \"seq_len\": 64, "
              "\"batch\": 1, \"routed\": false, \"synthetic\": 0, \"pointer_to\": 3, "
              "\"gate_target\": 0.25, \"facts_min\": 1, \"facts_max\": 1}]}");
    assert_int_equal(c.hp.vocab, 320);
    assert_int_equal(c.hp.top_k, 2);
    assert_true(c.seed == 9 && c.slots == 3 && c.lr == 0.25f && c.muon == 0.5f);
    assert_true(c.warmup_tokens == 77 && c.log_every == 4);
    for (int f = 0; f < LOCI_TASK_COUNT; f++) /* a family not named is off */
        assert_true(c.family[f] == (f == LOCI_TASK_NEEDLE   ? 2.0f
                                    : f == LOCI_TASK_ABSENT ? 0.5f
                                                            : 0.0f));
    assert_int_equal(c.n_phases, 2);
    assert_int_equal(c.total_tokens, 1500);
    assert_false(c.phase[1].routed);
    assert_true(c.phase[1].synthetic == 0.0f && c.phase[1].pointer_to == 3.0f);
    assert_true(c.phase[1].gate_target == 0.25f && c.phase[1].facts_max == 1);
}

/* By length, as docs/TRAINING.md says; a number given wins. */
static void test_kl_every(void **state)
{
    (void)state;
    static const struct {
        int seq_len, given, want;
    } x[] = { { 16383, -1, 1 },  { 16384, -1, 16 }, { 65536, -1, 16 }, { 65537, -1, 0 },
              { 65537, 64, 64 }, { 128, 0, 0 },     { 128, 5, 5 } };
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        loci_train_config c;
        char text[400];
        snprintf(text, sizeof text,
                 "{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": %d, "
                 "\"batch\": 1, \"routed\": true, \"kl_every\": %d}]}",
                 x[i].seq_len, x[i].given);
        parse(&c, text);
        assert_int_equal(c.phase[0].kl_every, x[i].want);
    }
}

static void test_in_tree(void **state)
{
    (void)state;
    static const char *const name[] = { "tiny",       "xs",        "s",      "s2",
                                        "s-ablation", "s-needles", "m",      "m-second",
                                        "m-third",    "m-fourth",  "m-dense" };
    loci_train_config c;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char path[64];
        snprintf(path, sizeof path, "models/configs/%s.json", name[i]);
        MUST(loci_train_config_load(&c, path, err));
    }
    REFUSED(loci_train_config_load(&c, "models/configs/none.json", err), LOCI_ENOTFOUND, "none");
}

static void test_refused_keys(void **state)
{
    (void)state;
    refuse("{\"modle\": {}, " PHASES "}", "modle");
    refuse("{\"train\": {\"learning\": 1}, " PHASES "}", "learning");
    refuse("{\"model\": {\"width\": 1}, " PHASES "}", "width");
    refuse("{\"families\": {\"needles\": 1}, " PHASES "}", "needles");
    refuse("{\"phases\": [{\"name\": \"a\", \"tokens\": 1000, \"seq_len\": 128, \"batch\": 2, "
           "\"routed\": true, \"extra\": 1}]}",
           "extra");
    refuse("{\"seed\": 1, \"seed\": 2, " PHASES "}", "uplicate");
    refuse("{\"train\": {\"lr\": 0.1, \"lr\": 0.2}, " PHASES "}", "uplicate");
}

static void test_refused_types(void **state)
{
    (void)state;
    refuse("{\"train\": {\"lr\": \"fast\"}, " PHASES "}", "lr");
    refuse("{\"train\": {\"slots\": 1.5}, " PHASES "}", "slots");
    refuse("{\"train\": {\"slots\": true}, " PHASES "}", "slots");
    refuse("{\"train\": [], " PHASES "}", "train");
    refuse("{\"model\": 3, " PHASES "}", "model");
    refuse("{\"families\": [1], " PHASES "}", "families");
    refuse("{\"families\": {\"needle\": \"1\"}, " PHASES "}", "needle");
    refuse("{\"phases\": {}}", "phases");
    refuse("{\"phases\": [3]}", "phases[0]");
    refuse("{\"phases\": [" PHASE ", {\"name\": \"b\", \"tokens\": 9, \"seq_len\": 64, "
           "\"batch\": 1, \"routed\": 1}]}",
           "routed");
    refuse("[]", "object");
    refuse("", "line");
    refuse("{\"phases\": [", "line");
}

static void test_refused_ranges(void **state)
{
    (void)state;
    refuse("{\"train\": {\"lr\": 1.5}, " PHASES "}", "lr");
    refuse("{\"train\": {\"lr\": -1}, " PHASES "}", "lr");
    refuse("{\"train\": {\"slots\": 0}, " PHASES "}", "slots");
    refuse("{\"train\": {\"slots\": 99999999999}, " PHASES "}", "slots");
    refuse("{\"families\": {\"needle\": -1}, " PHASES "}", "needle");
    refuse("{\"families\": {\"needle\": 0}, " PHASES "}", "families");
    refuse("{\"families\": {}, " PHASES "}", "families");
    refuse("{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": 63, \"batch\": 2, "
           "\"routed\": true}]}",
           "seq_len");
    refuse("{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": 1048576, "
           "\"batch\": 4096, \"routed\": true}]}",
           "batch");
    refuse("{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": 64, \"batch\": 2, "
           "\"routed\": true, \"facts_min\": 9, \"facts_max\": 8}]}",
           "facts_min");
    refuse("{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": 64, \"batch\": 6, "
           "\"routed\": true, \"accumulate\": 4}]}",
           "accumulate");
    refuse("{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": 64, \"batch\": 6, "
           "\"routed\": false, \"hard_gate\": true}]}",
           "hard_gate");
    static const char *const window[] = { "63", "129" }; /* the model's is 128 */
    for (int i = 0; i < 2; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "{\"phases\": [{\"name\": \"a\", \"tokens\": 10, \"seq_len\": 64, \"batch\": 6, "
                 "\"routed\": true, \"window\": %s}]}",
                 window[i]);
        refuse(text, "window");
    }
    refuse("{\"phases\": [{\"name\": \"a name of far more than thirty-one bytes\", "
           "\"tokens\": 10, \"seq_len\": 64, \"batch\": 2, \"routed\": true}]}",
           "name");
    /* A shape that does not fit together is the model's own refusal. */
    loci_train_config c;
    REFUSED(loci_train_config_parse(&c,
                                    "{\"model\": {\"n_heads\": 3, \"n_kv_heads\": 2}, " PHASES "}",
                                    "label", err),
            LOCI_EINVAL, "n_");
}

static void test_phases_missing(void **state)
{
    (void)state;
    refuse("{}", "phases");
    refuse("{\"phases\": []}", "phases");
    refuse("{\"phases\": [{\"name\": \"a\"}]}", "phases[0]");
    char text[4096] = "{\"phases\": [" PHASE;
    for (int i = 1; i <= LOCI_MAX_PHASES; i++) strcat(text, "," PHASE);
    refuse(strcat(text, "]}"), "phases");
}

static void test_hash(void **state)
{
    (void)state;
    const uint64_t base = hash_of("{\"train\": {\"seed\": 3, \"lr\": 0.01}, " PHASES "}");
    /* Spaces, order, a comment, a default spelt out, how often one logs: the same run. */
    static const char *const same[] = {
        "{\n  " PHASES ",\n  \"train\": { \"lr\" : 1e-2,\n\"seed\":3 } }",
        "{\"about\": \"x\", \"train\": {\"seed\": 3, \"lr\": 0.010}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.01, \"slots\": 16}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.01, \"log_every\": 3}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.01, \"checkpoint_every\": 3}, " PHASES "}",
    };
    static const char *const other[] = {
        "{\"train\": {\"seed\": 4, \"lr\": 0.01}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.011}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.01}, \"model\": {\"top_k\": 15}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.01}, \"families\": {\"copy\": 1}, " PHASES "}",
        "{\"train\": {\"seed\": 3, \"lr\": 0.01}, \"phases\": [" PHASE "," PHASE "]}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (hash_of(same[i]) != base) fail_msg("another hash: %s", same[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (hash_of(other[i]) == base) fail_msg("the same hash: %s", other[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_sections),
        cmocka_unit_test(test_kl_every),       cmocka_unit_test(test_in_tree),
        cmocka_unit_test(test_refused_keys),   cmocka_unit_test(test_refused_types),
        cmocka_unit_test(test_refused_ranges), cmocka_unit_test(test_phases_missing),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
