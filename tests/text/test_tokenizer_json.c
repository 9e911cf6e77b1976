/* Goal: tokenizer.json goes round without a change, and a file that would mean something
 * else here than in the public library is refused with its place named.
 * Method: save and read; edit one thing of a good file at a time and require the refusal. */
#include "json_edit.h"
#include "text_fixture.h"

static char *load(const char *path, size_t *len)
{
    loci_error err = { 0 };
    char *data = NULL;
    MUST(loci_file_load(NULL, path, 64 << 20, &data, len, &err));
    return data;
}

/* The small tokenizer as the text of its file; free(). */
static char *small_json(void)
{
    loci_error err = { 0 };
    char path[64];
    temp_path(path, sizeof path, "tokenizer.json");
    loci_tokenizer *t = small_tokenizer();
    MUST(loci_tokenizer_save(t, path, &err));
    loci_tokenizer_close(t);
    size_t len = 0;
    char *json = load(path, &len);
    remove_temp(path);
    return json;
}

static void test_same_bytes_after_saving(void **state)
{
    (void)state;
    loci_error err = { 0 };
    char path[64];
    temp_path(path, sizeof path, "tokenizer.json");
    loci_tokenizer *t = NULL;
    MUST(loci_tokenizer_open(&t, GOLDEN "tokenizer.json", &err));
    MUST(loci_tokenizer_save(t, path, &err));
    size_t n_want = 0, n = 0;
    char *want = load(GOLDEN "tokenizer.json", &n_want), *got = load(path, &n);
    assert_int_equal(n, n_want);
    assert_memory_equal(got, want, n);
    free(want);
    free(got);
    loci_tokenizer_close(t);
    remove_temp(path);
}

static void assert_same_tokenizer(const loci_tokenizer *a, const loci_tokenizer *b)
{
    assert_int_equal(loci_tokenizer_vocab(a), loci_tokenizer_vocab(b));
    for (int id = 0; id < loci_tokenizer_vocab(a); id++) {
        size_t n_a = 0, n_b = 0;
        const char *in_a = loci_token_bytes(a, id, &n_a), *in_b = loci_token_bytes(b, id, &n_b);
        assert_int_equal(n_a, n_b);
        assert_memory_equal(in_a, in_b, n_a);
    }
    assert_int_equal(a->n_merges, b->n_merges);
    assert_memory_equal(a->merges, b->merges, a->n_merges * sizeof *a->merges);
}

static void test_save_and_open(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_tokenizer *a = small_tokenizer(), *b = NULL;
    char *json = small_json();
    MUST(loci_tokenizer_parse(&b, json, strlen(json), "small", &err));
    assert_same_tokenizer(a, b);
    free(json);
    loci_tokenizer_close(a);
    loci_tokenizer_close(b);
}

static void test_merges_as_strings(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_tokenizer *a = small_tokenizer(), *b = NULL;
    char *json = small_json();
    json_t *root = json_loads(json, 0, NULL);
    json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *m = json_array_get(merges, i);
        json_t *joined = json_sprintf("%s %s", json_string_value(json_array_get(m, 0)),
                                      json_string_value(json_array_get(m, 1)));
        json_array_set_new(merges, i, joined);
    }
    char *text = json_dumps(root, 0);
    MUST(loci_tokenizer_parse(&b, text, strlen(text), "strings", &err));
    assert_same_tokenizer(a, b);
    free(text);
    json_decref(root);
    free(json);
    loci_tokenizer_close(a);
    loci_tokenizer_close(b);
}

/* ---- refusals --------------------------------------------------------------------- */

static void expect_refusal(const char *json, size_t len, const char *named)
{
    loci_error err = { 0 };
    loci_tokenizer *t = (loci_tokenizer *)&err;
    const loci_status st = loci_tokenizer_parse(&t, json, len, "file", &err);
    if (st != LOCI_EFORMAT || strstr(err.text, named) == NULL)
        fail_msg("expected a refusal naming \"%s\", got %d \"%s\"", named, st, err.text);
    assert_null(t);
}

#define PRE "pre_tokenizer/pretokenizers/"

/* In the small tokenizer id 272 is "--", 273 "es", 274 "est"; id 16 is "!". */
static const edit bad_edits[] = {
    { "version", "\"2.0\"", "version" },
    { "truncation", "{}", "truncation" },
    { "padding", "{}", "padding" },
    { "normalizer", "{\"type\": \"NFC\"}", "normalizer" },
    { "surprise", "1", "surprise" },
    { "model", NULL, "model" },
    { "model", "[]", "model" },
    { "model/type", "\"WordPiece\"", "type" },
    { "model/type", "7", "type" },
    { "model/dropout", "0.1", "dropout" },
    { "model/unk_token", "\"<unk>\"", "unk_token" },
    { "model/continuing_subword_prefix", "\"##\"", "continuing_subword_prefix" },
    { "model/end_of_word_suffix", "\"</w>\"", "end_of_word_suffix" },
    { "model/fuse_unk", "true", "fuse_unk" },
    { "model/byte_fallback", "true", "byte_fallback" },
    { "model/ignore_merges", "true", "ignore_merges" },
    { "pre_tokenizer", "null", "pre_tokenizer" },
    { "pre_tokenizer/type", "\"Whitespace\"", "type" },
    { PRE "0", NULL, "expected Digits" },
    { PRE "0/type", "\"Split\"", "pattern" },
    { PRE "0/type", "\"Punctuation\"", "type" },
    { PRE "0/individual_digits", "false", "individual_digits" },
    { PRE "0/individual_digits", NULL, "individual_digits" },
    { PRE "1/add_prefix_space", "true", "add_prefix_space" },
    { PRE "1/add_prefix_space", NULL, "add_prefix_space" },
    { PRE "1/use_regex", "false", "use_regex" },
    { "post_processor", "{\"type\": \"TemplateProcessing\"}", "post_processor" },
    { "decoder", "null", "decoder" },
    { "decoder/type", "\"Metaspace\"", "decoder" },
    { "added_tokens", "[]", "added_tokens" },
    { "added_tokens/3", NULL, "added_tokens" },
    { "added_tokens/3/id", "4", "entry 3" },
    { "added_tokens/3/id", "3.0", "entry 3" },
    { "added_tokens/3/content", "\"<x>\"", "entry 3" },
    { "added_tokens/3/content", "null", "entry 3" },
    { "added_tokens/3/special", "false", "special" },
    { "added_tokens/3/lstrip", "true", "lstrip" },
    { "added_tokens/3", "7", "added_tokens" },
    { "model/vocab", "[]", "vocab" },
    { "model/vocab", "{}", "vocab" },
    { "model/vocab/es", NULL, "vocab: id of" },          /* a gap: the last id is too high */
    { "model/vocab/es", "272", "same id 272" },          /* twice the same */
    { "model/vocab/es", "99999", "is not a number in" }, /* out of range */
    { "model/vocab/es", "-1", "is not a number in" },
    { "model/vocab/es", "\"273\"", "is not a number in" },
    { "model/vocab/es", "273.0", "is not a number in" },
    { "model/vocab/es", "9223372036854775807", "is not a number in" },
    { "model/merges", "{}", "merges" },
    { "model/merges/0", "7", "merge 0" },
    { "model/merges/0", "\"--\"", "merge 0" },
    { "model/merges/0", "[\"-\"]", "merge 0" },
    { "model/merges/0", "[\"-\", \"-\", \"-\"]", "merge 0" },
    { "model/merges/0", "[\"-\", 1]", "merge 0" },
    { "model/merges/0", "\"- - -\"", "merge 0" },
    { "model/merges/0", "\" -\"", "merge 0" },
    { "model/merges/0", "[\"\", \"--\"]", "merge 0" },
    { "model/merges/0", "[\"q\", \"qq\"]", "right part of" },
    { "model/merges/0", "[\"qq\", \"q\"]", "left part of" },
    { "model/merges/0", "[\"q\", \"q\"]", "result of" },
    { "model/merges/0", "[\"\\u4e00\", \"q\"]", "byte alphabet" },
    { "model/merges/+", "[\"-\", \"-\"]", "repeats" },
};

static void test_refused_edits(void **state)
{
    (void)state;
    char *json = small_json();
    for (size_t i = 0; i < sizeof bad_edits / sizeof *bad_edits; i++) {
        json_t *root = json_loads(json, 0, NULL);
        apply(root, &bad_edits[i]);
        char *text = json_dumps(root, 0);
        expect_refusal(text, strlen(text), bad_edits[i].named);
        free(text);
        json_decref(root);
    }
    free(json);
}

/* Rename a token of the vocabulary; its id stays. */
static void expect_rename_refused(const char *json, const char *from, const char *to,
                                  const char *named)
{
    json_t *root = json_loads(json, 0, NULL);
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    json_t *id = json_incref(json_object_get(vocab, from));
    assert_non_null(id);
    json_object_del(vocab, from);
    json_object_set_new(vocab, to, id);
    char *text = json_dumps(root, 0);
    expect_refusal(text, strlen(text), named);
    free(text);
    json_decref(root);
}

static void test_refused_tokens(void **state)
{
    (void)state;
    char *json = small_json();
    expect_rename_refused(json, "!", "!!", "byte 0x21");
    expect_rename_refused(json, "\xc4\xa1", "\xc4\xa1\xc4\xa1", "byte 0x7f");
    expect_rename_refused(json, "!", " ", "byte alphabet");
    expect_rename_refused(json, "!", "\xe4\xb8\x80", "byte alphabet");
    expect_rename_refused(json, "!", "\xc5\x84", "byte alphabet"); /* U+0144, one too far */
    expect_rename_refused(json, "!", "", "byte alphabet");
    expect_rename_refused(json, "<q>", "<x>", "expected <q>");
    expect_rename_refused(json, "est", "eSt", "result of");
    free(json);
}

/* A merge may not spell a special: text would become one. */
static void test_refused_merge_to_special(void **state)
{
    (void)state;
    loci_tokenizer *t = NULL;
    loci_error err = { 0 };
    char *json = small_json();
    json_t *root = json_loads(json, 0, NULL);
    json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    json_object_set_new(vocab, "<q", json_integer((json_int_t)json_object_size(vocab)));
    json_array_append_new(merges, json_pack("[s, s]", "<", "q"));
    char *good = json_dumps(root, 0);
    MUST(loci_tokenizer_parse(&t, good, strlen(good), "good", &err));
    loci_tokenizer_close(t);
    json_array_append_new(merges, json_pack("[s, s]", "<q", ">"));
    char *bad = json_dumps(root, 0);
    expect_refusal(bad, strlen(bad), "special");
    free(good);
    free(bad);
    json_decref(root);
    free(json);
}

static void test_refused_texts(void **state)
{
    (void)state;
    static const char *const text[] = {
        "", "{", "[]", "7", "null", "{}", "{\"a\": 1, \"a\": 2}", "\xff", "{\"version\": \"1.0\"} x"
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        expect_refusal(text[i], strlen(text[i]), "file");
    char *deep = malloc(100000);
    memset(deep, '[', 100000);
    expect_refusal(deep, 100000, "not JSON");
    free(deep);
    /* Cut anywhere, a good file is no good file. */
    char *json = small_json();
    const size_t len = strlen(json);
    for (size_t cut = 0; cut < len; cut += 1 + len / 60) expect_refusal(json, cut, "not JSON");
    free(json);
}

static void test_missing_file(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    assert_int_equal(loci_tokenizer_open(&t, "/nowhere/tokenizer.json", &err), LOCI_ENOTFOUND);
    assert_null(t);
    assert_non_null(strstr(err.text, "/nowhere/tokenizer.json"));
    t = small_tokenizer();
    loci_error err2 = { 0 };
    assert_int_not_equal(loci_tokenizer_save(t, "/nowhere/tokenizer.json", &err2), LOCI_OK);
    loci_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes_after_saving),
        cmocka_unit_test(test_save_and_open),
        cmocka_unit_test(test_merges_as_strings),
        cmocka_unit_test(test_refused_edits),
        cmocka_unit_test(test_refused_tokens),
        cmocka_unit_test(test_refused_merge_to_special),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
