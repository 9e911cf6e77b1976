/* Goal: the tokenizer of a model is found in its folder, its tokenizer.json or its GGUF file, and
 * gives the same ids from each; a file that holds another kind is refused by name.
 * Method: a small tokenizer.json of the DeepSeek form written over into a GGUF file, key by key as
 * converters write it; both read, compared on texts; one key changed at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/engine.h"
#include "gguf_make.h"

#define SOURCE "tests/golden/chat/tokenizer.json"

enum { IDS_MAX = 400 };

typedef struct {
    const char *model, *pre;
    int types, type_of_first; /* entries of token_type; 0: as it should be */
    bool without_merges, guess_control;
} variant;

/* The vocabulary of SOURCE by id. */
static int read_names(json_t *root, const char *name[IDS_MAX], int type[IDS_MAX], bool guess)
{
    int n = 0;
    for (int i = 0; i < IDS_MAX; i++) {
        name[i] = NULL;
        type[i] = 5;
    }
    const char *key = NULL;
    json_t *value = NULL, *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    json_object_foreach(vocab, key, value)
    {
        const int id = (int)json_integer_value(value);
        name[id] = key;
        type[id] = 1;
        if (id >= n) n = id + 1;
    }
    const json_t *added = json_object_get(root, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *t = json_array_get(added, i);
        const int id = (int)json_integer_value(json_object_get(t, "id"));
        name[id] = json_string_value(json_object_get(t, "content"));
        type[id] = guess || json_is_true(json_object_get(t, "special")) ? 3 : 4;
        if (id >= n) n = id + 1;
    }
    return n;
}

static void write_gguf(const char *path, const variant *v)
{
    json_t *root = json_load_file(SOURCE, 0, NULL);
    assert_non_null(root);
    const char *name[IDS_MAX];
    int type[IDS_MAX];
    const int n = read_names(root, name, type, v->guess_control);
    gguf_file g = gguf_begin(3);
    gguf_pair_text(&g, "general.architecture", "deepseek4");
    gguf_pair_text(&g, "tokenizer.ggml.model", v->model ? v->model : "gpt2");
    gguf_pair_text(&g, "tokenizer.ggml.pre", v->pre ? v->pre : "joyai-llm");
    gguf_array(&g, "tokenizer.ggml.tokens", 8, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        char unused[16];
        snprintf(unused, sizeof unused, "[PAD%d]", i);
        gguf_string(&g, name[i] ? name[i] : unused);
    }
    const int types = v->types ? v->types : n;
    gguf_array(&g, "tokenizer.ggml.token_type", 5, (uint64_t)types);
    for (int32_t i = 0; i < types; i++) {
        const int32_t t = i == 0 && v->type_of_first ? v->type_of_first : type[i];
        gguf_put(&g, &t, 4);
    }
    const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    if (!v->without_merges) gguf_array(&g, "tokenizer.ggml.merges", 8, json_array_size(merges));
    for (size_t i = 0; i < json_array_size(merges) && !v->without_merges; i++) {
        char pair[64];
        const json_t *m = json_array_get(merges, i);
        snprintf(pair, sizeof pair, "%s %s", json_string_value(json_array_get(m, 0)),
                 json_string_value(json_array_get(m, 1)));
        gguf_string(&g, pair);
    }
    size_t size = 0;
    unsigned char *file = gguf_finish(&g, &size);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, size, f), size);
    fclose(f);
    free(file);
    json_decref(root);
}

static loci_tokenizer *open_one(const char *path)
{
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    if (loci_model_tokenizer(&t, path, &err) != LOCI_OK) fail_msg("%s", err.text);
    return t;
}

static void encode(const loci_tokenizer *t, const char *text, int32_t *ids, size_t *n)
{
    loci_encoder *e = NULL;
    assert_int_equal(loci_encoder_open(&e, t, NULL), LOCI_OK);
    assert_int_equal(loci_encode_marked(e, text, strlen(text), ids, NULL, 256, n, NULL), LOCI_OK);
    loci_encoder_close(e);
}

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/loci-test-XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_same_ids(void **state)
{
    (void)state;
    static const char *const text[] = {
        "low lower 1234.\n",
        "<think>low</think>",
        "<\xef\xbd\x9c"
        "User\xef\xbd\x9c>\xe4\xbd\xa0\xe5\xa5\xbd 12",
        "</\xef\xbd\x9c"
        "DSML\xef\xbd\x9cinvoke>",
        "  a\xff  b",
    };
    for (int guess = 0; guess < 2; guess++) {
        write_gguf(path, &(variant){ .guess_control = guess });
        loci_tokenizer *a = open_one(SOURCE), *b = open_one("tests/golden/chat"),
                       *c = open_one(path);
        assert_int_equal(loci_tokenizer_vocab(a), loci_tokenizer_vocab(c));
        for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
            int32_t ids[3][256];
            size_t n[3] = { 0 };
            encode(a, text[i], ids[0], &n[0]);
            encode(b, text[i], ids[1], &n[1]);
            encode(c, text[i], ids[2], &n[2]);
            assert_true(n[0] == n[1] && n[0] == n[2]);
            assert_memory_equal(ids[0], ids[1], n[0] * sizeof ids[0][0]);
            assert_memory_equal(ids[0], ids[2], n[0] * sizeof ids[0][0]);
        }
        /* What a reply is read by decodes to its text, also where a converter guessed wrong. */
        size_t len = 0;
        loci_token_bytes(c, loci_tokenizer_find(c, "</think>"), &len);
        assert_int_equal(len, 8);
        loci_token_bytes(c, 0, &len);
        assert_int_equal(len, 0);
        loci_tokenizer_close(a);
        loci_tokenizer_close(b);
        loci_tokenizer_close(c);
    }
}

static void expect_refusal(const variant *v, loci_status want, const char *named)
{
    loci_error err = { 0 };
    loci_tokenizer *t = (loci_tokenizer *)&err;
    write_gguf(path, v);
    const loci_status st = loci_model_tokenizer(&t, path, &err);
    if (st != want || strstr(err.text, named) == NULL || strstr(err.text, path) == NULL)
        fail_msg("expected %d naming \"%s\", got %d \"%s\"", want, named, st, err.text);
    assert_null(t);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refusal(&(variant){ .model = "llama" }, LOCI_EVERSION, "expected gpt2, found llama");
    expect_refusal(&(variant){ .pre = "llama-bpe" }, LOCI_EVERSION, "llama-bpe");
    expect_refusal(&(variant){ .types = 7 }, LOCI_EFORMAT, "found 7");
    expect_refusal(&(variant){ .type_of_first = 7 }, LOCI_EFORMAT,
                   "token_type: 0: expected 1 to 6, found 7");
    expect_refusal(&(variant){ .type_of_first = 1 }, LOCI_EFORMAT, "token 0");
    expect_refusal(&(variant){ .without_merges = true }, LOCI_EFORMAT, "tokenizer.ggml.merges");
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    assert_int_equal(loci_model_tokenizer(&t, "/nowhere", &err), LOCI_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
