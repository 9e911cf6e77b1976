/* Goal: a right GGUF file gives its metadata and each tensor where it lies; a wrong one gives one
 * line and nothing else.  Method: files written here field by field, one thing wrong in each; a
 * file cut at every byte and with every byte changed; parts that disagree.  The bytes lie in blocks of exactly their
 * size, so that the address sanitizer sees a read behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "format/format.h"
#include "gguf_make.h"
#include "temp_dir.h"

static const float values[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static uint8_t blocks[34 * 4]; /* Q8_0, 64 x 2 */

static void put_pairs(gguf_file *g)
{
    gguf_pair_text(g, "general.architecture", "deepseek4");
    gguf_pair_u32(g, "a.u32", 4000000000u);
    gguf_pair_f32(g, "a.f32", 0.5f);
    gguf_pair(g, "a.i8", 1);
    gguf_put(g, "\xfe", 1);
    gguf_pair(g, "a.bool", 7);
    gguf_put(g, "\1", 1);
    gguf_pair(g, "a.u64", 10);
    gguf_u64(g, UINT64_MAX);
    gguf_pair(g, "a.i64", 11);
    gguf_u64(g, (uint64_t)-5);
    const double pi = 3.25;
    gguf_pair(g, "a.f64", 12);
    gguf_put(g, &pi, 8);
    gguf_array(g, "a.ints", 5, 3);
    const int32_t ints[3] = { 4, -128, 0 };
    gguf_put(g, ints, sizeof ints);
    gguf_array(g, "a.reals", 6, 2);
    gguf_put(g, values + 2, 8);
    gguf_array(g, "a.texts", 8, 3);
    gguf_string(g, "one");
    gguf_string(g, "");
    gguf_string(g, "\xc4\xa0two");
    gguf_array(g, "a.none", 8, 0);
}

static gguf_file good(uint32_t version)
{
    gguf_file g = gguf_begin(version);
    put_pairs(&g);
    gguf_tensor(&g, "f", 0, 2, (const uint64_t[]){ 4, 2 }, values, sizeof values);
    gguf_tensor(&g, "scalar", 0, 0, NULL, values + 7, 4);
    gguf_tensor(&g, "q", 8, 2, (const uint64_t[]){ 64, 2 }, blocks, sizeof blocks);
    return g;
}

static void check_pairs(const loci_gguf *f)
{
    loci_text_span s = { 0 };
    int64_t i = -1, n = 0;
    double r = 0;
    assert_true(loci_gguf_text(f, "general.architecture", &s) && s.len == 9);
    assert_memory_equal(s.data, "deepseek4", 9);
    assert_true(loci_gguf_int(f, "a.u32", &i) && i == 4000000000);
    assert_true(loci_gguf_int(f, "a.i8", &i) && i == -2);
    assert_true(loci_gguf_int(f, "a.bool", &i) && i == 1);
    assert_true(loci_gguf_int(f, "a.i64", &i) && i == -5);
    assert_false(loci_gguf_int(f, "a.u64", &i)); /* beyond int64 */
    assert_false(loci_gguf_int(f, "a.f32", &i) || loci_gguf_int(f, "a.ints", &i));
    assert_false(loci_gguf_int(f, "general.architecture", &i) || loci_gguf_int(f, "a", &i));
    assert_int_equal(i, -5);
    assert_true(loci_gguf_real(f, "a.f32", &r) && r == 0.5);
    assert_true(loci_gguf_real(f, "a.f64", &r) && r == 3.25);
    assert_true(loci_gguf_real(f, "a.i8", &r) && r == -2);
    assert_true(loci_gguf_length(f, "a.ints", &n) && n == 3);
    assert_true(loci_gguf_int_at(f, "a.ints", 1, &i) && i == -128);
    assert_false(loci_gguf_int_at(f, "a.ints", 3, &i) || loci_gguf_int_at(f, "a.ints", -1, &i));
    assert_false(loci_gguf_int_at(f, "a.reals", 0, &i) || loci_gguf_int_at(f, "a.u32", 0, &i));
    assert_true(loci_gguf_real_at(f, "a.reals", 1, &r) && r == 4);
    assert_true(loci_gguf_has(f, "a.none") && !loci_gguf_has(f, "a.") && !loci_gguf_has(f, ""));
    assert_false(loci_gguf_text(f, "a.texts", &s) || loci_gguf_length(f, "a.u32", &n));

    loci_text_span *texts;
    assert_int_equal(loci_gguf_texts(f, "a.texts", &texts, &n, NULL), LOCI_OK);
    assert_true(n == 3 && texts[0].len == 3 && texts[1].len == 0 && texts[2].len == 5);
    assert_memory_equal(texts[2].data, "\xc4\xa0two", 5);
    free(texts);
    assert_int_equal(loci_gguf_texts(f, "a.none", &texts, &n, NULL), LOCI_OK);
    assert_int_equal(n, 0);
    free(texts);
    loci_error err = { 0 };
    assert_int_equal(loci_gguf_texts(f, "a.ints", &texts, &n, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "a.ints: expected an array of strings"));
    assert_null(texts);
}

static void test_reads_what_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)(3 * i);
    for (uint32_t version = 2; version <= 3; version++) {
        size_t size;
        loci_gguf *f;
        loci_error err = { 0 };
        gguf_file g = good(version);
        unsigned char *file = gguf_finish(&g, &size);
        if (loci_gguf_open_memory(&f, file, size, "m", &err) != LOCI_OK) fail_msg("%s", err.text);
        check_pairs(f);
        assert_int_equal(loci_gguf_count(f), 3);
        const loci_gguf_tensor *t = loci_gguf_find(f, "f");
        assert_true(t->n_dims == 2 && t->dim[0] == 4 && t->dim[1] == 2 && t->dim[2] == 1);
        assert_true(t->type == LOCI_GGML_F32 && t->bytes == 32);
        assert_memory_equal(t->data, values, 32);
        assert_ptr_equal(t, loci_gguf_at(f, 0));
        t = loci_gguf_find(f, "q");
        assert_true(t->type == LOCI_GGML_Q8_0 && t->bytes == sizeof blocks);
        assert_memory_equal(t->data, blocks, sizeof blocks);
        t = loci_gguf_find(f, "scalar");
        assert_true(t->n_dims == 0 && t->bytes == 4 && *(const float *)t->data == 8);
        assert_null(loci_gguf_find(f, "g"));
        assert_null(loci_gguf_at(f, 3));
        assert_null(loci_gguf_at(f, -1));
        assert_string_equal(loci_ggml_name(t->type), "F32");
        assert_int_equal(loci_gguf_file_size(f), size);
        loci_gguf_close(f);
        loci_gguf_close(NULL);
        free(file);
    }
}

/* Finish g; it must be refused, and say `says` behind the label. */
static void refuse(gguf_file *g, const char *says)
{
    size_t size;
    loci_error err = { 0 };
    unsigned char *made = gguf_finish(g, &size);
    unsigned char *file = malloc(size);
    memcpy(file, made, size);
    free(made);
    loci_gguf *f = (loci_gguf *)(uintptr_t)file;
    const loci_status st = loci_gguf_open_memory(&f, file, size, "m.gguf", &err);
    if ((st != LOCI_EFORMAT && st != LOCI_EVERSION) || f || strncmp(err.text, "m.gguf: ", 8) != 0 ||
        !strstr(err.text, says))
        fail_msg("expected \"%s\", found status %d, \"%s\"", says, st, err.text);
    free(file);
}

static void refuse_tensor(uint32_t type, int n_dims, const uint64_t *dim, size_t bytes,
                          const char *says)
{
    static const uint8_t zero[4096];
    gguf_file g = gguf_begin(3);
    gguf_tensor(&g, "t", type, n_dims, dim, zero, bytes);
    refuse(&g, says);
}

static void test_wrong_tensors(void **state)
{
    (void)state;
    refuse_tensor(0, 1, (const uint64_t[]){ 1 << 20 }, 64,
                  "tensor t: 4194304 bytes at 0: expected");
    refuse_tensor(0, 5, (const uint64_t[]){ 1, 1, 1, 1, 1 }, 4, "at most 4 dimensions, found 5");
    refuse_tensor(8, 1, (const uint64_t[]){ 33 }, 34,
                  "rows of Q8_0: expected a multiple of 32, found 33");
    refuse_tensor(12, 2, (const uint64_t[]){ 128, 2 }, 144, "rows of Q4_K");
    refuse_tensor(99, 1, (const uint64_t[]){ 1 }, 4, "element type 99 is not known");
    refuse_tensor(0, 1, (const uint64_t[]){ UINT64_MAX }, 4, "dims: expected >= 0");
    refuse_tensor(0, 3, (const uint64_t[]){ 1ull << 31, 1ull << 31, 4 }, 4, "larger than any file");
    gguf_file g = gguf_begin(3);
    gguf_tensor(&g, "t", 0, 1, (const uint64_t[]){ 1 }, values, 4);
    gguf_tensor(&g, "t", 0, 1, (const uint64_t[]){ 1 }, values, 4);
    refuse(&g, "tensor t: is there twice");
    g = gguf_begin(3);
    gguf_tensor(&g, "a", 0, 1, (const uint64_t[]){ 16 }, values, 32); /* 64 bytes of 32 */
    gguf_tensor(&g, "b", 0, 1, (const uint64_t[]){ 8 }, values, 32);
    refuse(&g, "tensor b: overlaps the tensor before it");
    g = gguf_begin(3);
    g.offset = 4;
    gguf_tensor(&g, "a", 0, 1, (const uint64_t[]){ 8 }, values, 32);
    refuse(&g, "offset: expected a multiple of 32, found 4");
    g = gguf_begin(3);
    gguf_tensor(&g, "", 0, 1, (const uint64_t[]){ 8 }, values, 32);
    refuse(&g, "tensor name: expected 1 to 255 bytes");
}

static void test_wrong_pairs(void **state)
{
    static const uint32_t no_alignment[] = { 0, 1, 7, 33, 1u << 31 };
    (void)state;
    for (int i = 0; i < 5; i++) {
        gguf_file g = gguf_begin(3);
        gguf_pair_u32(&g, "general.alignment", no_alignment[i]);
        refuse(&g, "general.alignment: expected a power of two");
    }
    gguf_file g = gguf_begin(3);
    gguf_pair_text(&g, "general.alignment", "32");
    refuse(&g, "general.alignment");
    g = gguf_begin(3);
    gguf_pair_u32(&g, "k", 1);
    gguf_pair_u32(&g, "k", 1);
    refuse(&g, "metadata key k is there twice");
    g = gguf_begin(3);
    gguf_pair(&g, "k", 13);
    gguf_u32(&g, 0);
    refuse(&g, "k: expected a value type");
    g = gguf_begin(3);
    gguf_array(&g, "k", 9, 1);
    refuse(&g, "an array of numbers, booleans or strings");
    g = gguf_begin(3);
    gguf_array(&g, "k", 5, 1ull << 62);
    refuse(&g, "k: expected at most");
    g = gguf_begin(3);
    gguf_array(&g, "k", 8, 1);
    gguf_u64(&g, 1000);
    refuse(&g, "k: expected at most");
}

static void test_wrong_heads(void **state)
{
    (void)state;
    gguf_file g = gguf_begin(1);
    refuse(&g, "GGUF version: expected 2 or 3, found 1");
    g = gguf_begin(0x03000000);
    refuse(&g, "big-endian");
    g = gguf_begin(3);
    g.at[3] = 'X';
    refuse(&g, "byte 0: magic: expected \"GGUF\"");
    g = gguf_begin(3);
    g.n_tensors = 0;
    g.n_pairs = 1ull << 40;
    refuse(&g, "number of metadata pairs: expected at most");
    loci_gguf *f;
    loci_error err = { 0 };
    assert_int_equal(loci_gguf_open_memory(&f, "GG", 2, "m", &err), LOCI_EFORMAT);
    assert_int_equal(loci_gguf_open(&f, "/nowhere/x.gguf", NULL), LOCI_ENOTFOUND);
}

/* Alignment of 64 moves the data; the next power of two is followed too. */
static void test_alignment(void **state)
{
    size_t size;
    loci_gguf *f;
    gguf_file g = gguf_begin(3);
    (void)state;
    gguf_pair_u32(&g, "general.alignment", 512);
    g.align = 512;
    gguf_tensor(&g, "a", 0, 1, (const uint64_t[]){ 8 }, values, 32);
    gguf_tensor(&g, "b", 0, 1, (const uint64_t[]){ 8 }, values, 32);
    unsigned char *file = gguf_finish(&g, &size);
    assert_int_equal(loci_gguf_open_memory(&f, file, size, "m", NULL), LOCI_OK);
    assert_ptr_equal(loci_gguf_find(f, "b")->data, file + 1024);
    assert_memory_equal(loci_gguf_find(f, "b")->data, values, 32);
    loci_gguf_close(f);
    free(file);
}

/* Touch all that an open file offers. */
static void read_all(const loci_gguf *f, const unsigned char *file, size_t size)
{
    for (int i = 0; i < loci_gguf_count(f); i++) {
        const loci_gguf_tensor *t = loci_gguf_at(f, i);
        const unsigned char *d = t->data;
        assert_true(d >= file && t->bytes <= (size_t)(file + size - d));
        assert_ptr_equal(loci_gguf_find(f, t->name), t);
    }
    loci_text_span *texts;
    int64_t n;
    if (loci_gguf_texts(f, "a.texts", &texts, &n, NULL) == LOCI_OK)
        for (int64_t i = 0; i < n; i++)
            assert_true(texts[i].len <= (size_t)((const char *)file + size - texts[i].data));
    free(texts);
}

static void test_cut_and_changed(void **state)
{
    size_t size;
    gguf_file g = good(3);
    unsigned char *file = gguf_finish(&g, &size);
    int opened = 0;
    (void)state;
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *part = malloc(cut ? cut : 1);
        loci_gguf *f;
        loci_error err = { 0 };
        memcpy(part, file, cut);
        if (loci_gguf_open_memory(&f, part, cut, "m", &err) == LOCI_OK) {
            read_all(f, part, cut);
            opened++;
            loci_gguf_close(f);
        } else {
            assert_true(!f && err.text[0]);
        }
        free(part);
    }
    assert_true(opened < 32); /* only the padding at the end is spare */
    for (size_t at = 0; at < size; at++)
        for (int change = 1; change < 256; change *= 5) {
            loci_gguf *f;
            file[at] ^= (unsigned char)change;
            if (loci_gguf_open_memory(&f, file, size, "m", NULL) == LOCI_OK) {
                read_all(f, file, size);
                loci_gguf_close(f);
            }
            file[at] ^= (unsigned char)change;
        }
    free(file);
}

/* ---- parts ---------------------------------------------------------------------------------------- */

typedef struct {
    int no, count, total; /* what the part says of itself */
    const char *tensor;
} part_says;

static void write_part(const char *path, part_says s)
{
    size_t size;
    gguf_file g = gguf_begin(3);
    gguf_pair_u32(&g, "split.no", (uint32_t)s.no);
    gguf_pair_u32(&g, "split.count", (uint32_t)s.count);
    if (s.total) gguf_pair_u32(&g, "split.tensors.count", (uint32_t)s.total);
    if (s.tensor) gguf_tensor(&g, s.tensor, 0, 1, (const uint64_t[]){ 4 }, values + s.no, 16);
    unsigned char *file = gguf_finish(&g, &size);
    assert_int_equal(loci_file_replace(NULL, path, file, size, NULL), LOCI_OK);
    free(file);
}

static void test_parts(void **state)
{
    static const part_says good_parts[3] = { { 0, 3, 2, NULL },
                                             { 1, 3, 0, "a" },
                                             { 2, 3, 0, "b" } };
    static const struct {
        int at; /* part that says something else */
        part_says says;
        const char *error;
    } bad[] = {
        { 0, { 0, 3, 3, NULL }, "split.tensors.count: expected 2, found 3" },
        { 0, { 1, 3, 2, NULL }, "split.no: expected 0, found 1" },
        { 0, { 0, 0, 2, NULL }, "split.count: expected 1 to 1000, found 0" },
        { 0, { 0, 4, 2, NULL }, "expected its name to end with -00001-of-00004.gguf" },
        { 1, { 2, 3, 0, "a" }, "m-00002-of-00003.gguf: split.no: expected 1, found 2" },
        { 2, { 2, 4, 0, "b" }, "m-00003-of-00003.gguf: split.count: expected 3, found 4" },
        { 2, { 2, 3, 0, "a" }, "tensor a: is there twice" },
    };
    char dir[TEMP_PATH], path[3][TEMP_PATH + 64];
    loci_gguf *f;
    loci_error err = { 0 };
    int64_t offset;
    (void)state;
    assert_true(temp_dir_make(dir));
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/m-%05d-of-00003.gguf", dir, i + 1);
        write_part(path[i], good_parts[i]);
    }
    if (loci_gguf_open(&f, path[0], &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(loci_gguf_count(f), 2);
    const loci_gguf_tensor *b = loci_gguf_find(f, "b");
    assert_memory_equal(b->data, values + 2, 16);
    assert_memory_equal(loci_gguf_find(f, "a")->data, values + 1, 16);
    assert_null(loci_gguf_find(f, "c"));
    assert_string_equal(loci_gguf_place(f, b->data, &offset), path[2]);
    assert_true(offset > 0 && offset % 32 == 0);
    assert_null(loci_gguf_place(f, values, &offset));
    assert_true(loci_gguf_file_size(f) > 3 * 32);
    loci_gguf_close(f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&err, 0, sizeof err);
        write_part(path[bad[i].at], bad[i].says);
        const loci_status st = loci_gguf_open(&f, path[0], &err);
        if (st != LOCI_EFORMAT || f || !strstr(err.text, bad[i].error))
            fail_msg("expected \"%s\", found status %d, \"%s\"", bad[i].error, st, err.text);
        write_part(path[bad[i].at], good_parts[bad[i].at]);
    }
    assert_int_equal(remove(path[1]), 0);
    assert_int_equal(loci_gguf_open(&f, path[0], NULL), LOCI_ENOTFOUND);
    assert_null(f);
    temp_dir_remove(dir);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_is_there),
        cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_wrong_pairs),
        cmocka_unit_test(test_wrong_heads),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
