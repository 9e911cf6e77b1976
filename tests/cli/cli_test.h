/* cli_test.h - a folder with a model of one step of training, `m`, and a bank, `b`, of some files, `docs`:
 * the answers are random, and what is tested does not depend on what they say. */
#ifndef TESTS_CLI_CLI_TEST_H
#define TESTS_CLI_CLI_TEST_H

#include "run.h"
#include "loci/train.h"

static const char config[] =
    "{\"model\": {\"vocab\": 512, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, \"n_lower\": "
    "1,"
    " \"n_upper\": 1, \"n_groups\": 1, \"window\": 64, \"ffn\": 128, \"enc_dim\": 64, \"enc_mlp\": "
    "128,"
    " \"router_hidden\": 64, \"read_mlp\": 128, \"read_heads\": 4, \"top_k\": 8},"
    " \"train\": {\"seed\": 1, \"slots\": 2, \"log_every\": 1, \"tokenizer_bytes\": 200000},"
    " \"families\": {\"needle\": 1},"
    " \"phases\": [{\"name\": \"one\", \"tokens\": 100000, \"seq_len\": 128, \"batch\": 2, "
    "\"routed\": true,"
    " \"facts_min\": 1, \"facts_max\": 2, \"questions_max\": 2}]}";

#define ENGINE "--model", "m", "--threads", "2"

static inline void write_text(const char *path, const char *text)
{
    spill(path, text, strlen(text));
}

/* A text of 200 numbered lines with the characters of several alphabets. */
static inline size_t write_long(const char *path)
{
    char text[20000];
    size_t n = 0;
    for (int i = 1; i <= 200; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "line %d: the r\xC3\xA9sum\xC3\xA9 of n\xC2\xB0 %d \xE2\x82\xAC\n", i,
                              i * 7);
    spill(path, text, n);
    return n;
}

static inline int setup(void **state)
{
    (void)state;
    enter_scratch();
    spill("config.json", config, sizeof config - 1);
    loci_train_options opt = loci_train_options_default();
    loci_train_report report;
    loci_error err = { 0 };
    opt.config = "config.json";
    opt.out = "m";
    opt.threads = 2;
    opt.stop_after_steps = 1;
    if (loci_train(&opt, &report, &err) != LOCI_OK) print_message("%s\n", err.text);
    assert_int_equal(err.code, LOCI_OK);
    assert_int_equal(mkdir("docs", 0700), 0);
    assert_int_equal(mkdir("docs/sub", 0700), 0);
    write_text("docs/a.txt", "The gate code is 48213.\r\nThe tower is green.\n");
    write_text("docs/sub/esc.txt", "\x1b[31mred\x1b[0m \xC2\x9B\x31m \x07 bell\n");
    write_text("docs/new\nline.txt", "a name in two lines\n");
    spill("docs/pic.bin", "\0\1\2\3", 4);
    write_long("docs/long.txt");
    json_t *o = json_of(RUN("ingest", "--bank", "b", ENGINE, "--json", "docs"));
    check_keys(o, "schema:i documents:i unchanged:i replaced:i tokens:i bytes:i seconds:f "
                  "skipped_documents:i skipped:a energy:o");
    assert_int_equal(int_of(o, "documents"), 4);
    assert_int_equal(int_of(o, "skipped_documents"), 1);
    const json_t *skip = json_array_get(json_object_get(o, "skipped"), 0);
    check_keys(skip, "path:s reason:s");
    assert_non_null(strstr(text_of(skip, "path"), "pic.bin"));
    json_decref(o);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    remove_scratch();
    return 0;
}

#endif
