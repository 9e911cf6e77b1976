/* Goal: a folder of shards gives every tensor of its index where it lies, and a wrong index gives
 * one line and opens nothing outside of the folder.  Method: shards written by the writer with FP8,
 * packed FP4 and integer types, an index by hand, one thing wrong in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "format/format.h"
#include "temp_dir.h"

static char dir[TEMP_PATH];

static void write_text(const char *name, const char *text)
{
    char path[TEMP_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(loci_file_replace(NULL, path, text, strlen(text), NULL), LOCI_OK);
}

static void write_shard(const char *name, const loci_tensor_view *t, int n)
{
    char path[TEMP_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(loci_st_write(NULL, path, t, n, NULL, NULL), LOCI_OK);
}

static const uint8_t codes[8] = { 0, 0x38, 0x7e, 0xff, 0x80, 1, 2, 3 };
static const int64_t ids[3] = { 5, INT64_MAX, -1 };
static const int32_t words[2] = { -7, 7 };

static int set_up(void **state)
{
    (void)state;
    if (!temp_dir_make(dir)) return -1;
    const loci_tensor_view a[] = {
        { .name = "w.weight",
          .dtype = LOCI_F8_E4M3,
          .n_dims = 2,
          .dim = { 2, 4 },
          .data = codes,
          .bytes = 8 },
        { .name = "w.scale",
          .dtype = LOCI_F8_E8M0,
          .n_dims = 2,
          .dim = { 1, 1 },
          .data = codes,
          .bytes = 1 },
    };
    const loci_tensor_view b[] = {
        { .name = "e.weight",
          .dtype = LOCI_I8,
          .n_dims = 2,
          .dim = { 2, 2 },
          .data = codes,
          .bytes = 4 },
        { .name = "ids", .dtype = LOCI_I64, .n_dims = 1, .dim = { 3 }, .data = ids, .bytes = 24 },
        { .name = "words",
          .dtype = LOCI_I32,
          .n_dims = 1,
          .dim = { 2 },
          .data = words,
          .bytes = 8 },
        { .name = "extra", .dtype = LOCI_U8, .n_dims = 1, .dim = { 1 }, .data = codes, .bytes = 1 },
    };
    write_shard("model-00001-of-00002.safetensors", a, 2);
    write_shard("model-00002-of-00002.safetensors", b, 4);
    write_text("model.safetensors.index.json",
               "{\"metadata\":{\"total_size\":1},\"weight_map\":{"
               "\"ids\":\"model-00002-of-00002.safetensors\","
               "\"w.weight\":\"model-00001-of-00002.safetensors\","
               "\"e.weight\":\"model-00002-of-00002.safetensors\","
               "\"words\":\"model-00002-of-00002.safetensors\","
               "\"w.scale\":\"model-00001-of-00002.safetensors\"}}");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static void test_finds_across_shards(void **state)
{
    loci_st_set *s;
    loci_error err = { 0 };
    const char *file = NULL;
    (void)state;
    if (loci_st_set_open(&s, dir, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_tensor_view *w = loci_st_set_find(s, "w.weight", &file);
    assert_non_null(w);
    assert_true(w->dtype == LOCI_F8_E4M3 && w->dim[0] == 2 && w->dim[1] == 4 && w->bytes == 8);
    assert_memory_equal(w->data, codes, 8);
    assert_non_null(strstr(file, "/model-00001-of-00002.safetensors"));
    assert_int_equal(loci_st_set_find(s, "w.scale", NULL)->dtype, LOCI_F8_E8M0);
    assert_string_equal(loci_dtype_name(LOCI_F8_E8M0), "F8_E8M0");
    assert_int_equal(loci_dtype_size(LOCI_F8_E4M3), 1);
    const loci_tensor_view *i = loci_st_set_find(s, "ids", &file);
    assert_memory_equal(i->data, ids, sizeof ids);
    assert_non_null(strstr(file, "00002-of"));
    assert_memory_equal(loci_st_set_find(s, "words", NULL)->data, words, sizeof words);
    assert_null(loci_st_set_find(s, "extra", NULL)); /* the index does not name it */
    assert_null(loci_st_set_find(s, "", NULL));
    assert_true(loci_st_set_bytes(s) > 46);
    loci_st_set_close(s);
    loci_st_set_close(NULL);
}

static void test_one_file(void **state)
{
    char path[TEMP_PATH + 64];
    loci_st_set *s;
    const loci_tensor_view t = {
        .name = "a", .dtype = LOCI_U8, .n_dims = 1, .dim = { 8 }, .data = codes, .bytes = 8
    };
    (void)state;
    snprintf(path, sizeof path, "%s/sub", dir);
    assert_int_equal(loci_mkdirs(NULL, path, NULL), LOCI_OK);
    loci_error err = { 0 };
    assert_int_equal(loci_st_set_open(&s, path, &err), LOCI_ENOTFOUND);
    assert_non_null(strstr(err.text, "model.safetensors"));
    assert_null(s);
    write_shard("sub/model.safetensors", &t, 1);
    assert_int_equal(loci_st_set_open(&s, path, NULL), LOCI_OK);
    assert_memory_equal(loci_st_set_find(s, "a", NULL)->data, codes, 8);
    assert_null(loci_st_set_find(s, "b", NULL));
    loci_st_set_close(s);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *index, *says;
    } bad[] = {
        { "", "index.json: line 1" },
        { "[]", "weight_map: expected an object" },
        { "{\"weight_map\":[]}", "weight_map: expected an object" },
        { "{\"weight_map\":{\"a\":1}}", "weight_map: a: expected the name of a file" },
        { "{\"weight_map\":{\"a\":\"\"}}", "expected the name of a file" },
        { "{\"weight_map\":{\"a\":\"../x.safetensors\"}}", "found ../x.safetensors" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "found /etc/passwd" },
        { "{\"weight_map\":{\"a\":\".hidden\"}}", "expected the name of a file" },
        { "{\"weight_map\":{\"a\":\"x/y\"}}", "expected the name of a file" },
        { "{\"weight_map\":{\"a\":\"b\",\"a\":\"c\"}}", "duplicate" },
        { "{\"weight_map\":{\"a\":\"gone.safetensors\"}}", "gone.safetensors" },
        { "{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", "index.json: " },
        { "{\"weight_map\":{\"ids\":\"model-00001-of-00002.safetensors\"}}",
          "tensor ids: expected in " },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        loci_st_set *s = NULL;
        loci_error err = { 0 };
        write_text("model.safetensors.index.json", bad[i].index);
        const loci_status st = loci_st_set_open(&s, dir, &err);
        if (st == LOCI_OK || s || !strstr(err.text, bad[i].says))
            fail_msg("%s: expected \"%s\", found status %d, \"%s\"", bad[i].index, bad[i].says, st,
                     err.text);
        assert_int_equal(loci_st_set_open(&s, dir, NULL), st);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_across_shards), cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_refuses), /* last: replaces the index */
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
