/* Goal: a right file gives each array where it lies; a wrong one gives one line and nothing else.
 * Method: headers written by hand around a few bytes of data, one thing wrong in each; a file cut
 * at every byte and with every byte changed; writes read back, and stopped at each call.  The
 * bytes lie in blocks of exactly their size, so that the address sanitizer sees a read behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "fault_vfs.h"
#include "format/format.h"
#include "temp_dir.h"

static char dir[TEMP_PATH];
static char path[TEMP_PATH + 32];

static int set_up(void **state)
{
    (void)state;
    if (!temp_dir_make(dir)) return -1;
    snprintf(path, sizeof path, "%s/a.safetensors", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

/* A file of this header, filled up with spaces to 8 bytes, and n_data bytes; owned. */
static unsigned char *make_file(const char *header, size_t n_data, size_t *size)
{
    const size_t n = strlen(header), padded = (n + 7) / 8 * 8;
    const uint64_t length = padded;
    *size = 8 + padded + n_data;
    unsigned char *file = malloc(*size);
    memcpy(file, &length, 8);
    memset(file + 8, ' ', padded);
    memcpy(file + 8, header, n);
    for (size_t i = 0; i < n_data; i++) file[8 + padded + i] = (unsigned char)i;
    return file;
}

/* Open; the file must be refused, and say `says` behind the label. */
static void refuse(const unsigned char *file, size_t size, const char *says)
{
    loci_error err = { 0 };
    loci_st *f = (loci_st *)(uintptr_t)file;
    const loci_status st = loci_st_open_memory(&f, file, size, "m.bin", &err);
    if (st != LOCI_EFORMAT || f || strncmp(err.text, "m.bin: ", 7) != 0 || !strstr(err.text, says))
        fail_msg("expected \"%s\", found status %d, \"%s\"", says, st, err.text);
}

#define T(name, dtype, shape, range)                                                               \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

/* clang-format off */
static const char good_header[] =
    "{" T("w", "F32", "[2,3]", "[0,24]")
    "," T("b", "I8", "[4]", "[24,28]")
    "," T("zero", "BF16", "[0,5]", "[28,28]")
    ",\"__metadata__\":{\"format\":\"pt\"}"
    "," T("s", "F32", "[]", "[28,32]") "}";
/* clang-format on */
enum { GOOD_DATA = 32 };

static void test_reads_what_is_there(void **state)
{
    size_t size;
    loci_st *f;
    unsigned char *file = make_file(good_header, GOOD_DATA, &size);
    const unsigned char *data = file + size - GOOD_DATA;
    (void)state;
    assert_int_equal(loci_st_open_memory(&f, file, size, "m", NULL), LOCI_OK);
    assert_int_equal(loci_st_count(f), 4);

    const loci_tensor_view *w = loci_st_find(f, "w");
    assert_non_null(w);
    assert_string_equal(w->name, "w");
    assert_int_equal(w->dtype, LOCI_F32);
    assert_int_equal(w->n_dims, 2);
    assert_true(w->dim[0] == 2 && w->dim[1] == 3);
    assert_int_equal(w->bytes, 24);
    assert_ptr_equal(w->data, data);

    const loci_tensor_view *s = loci_st_find(f, "s");
    assert_non_null(s);
    assert_int_equal(s->n_dims, 0);
    assert_int_equal(s->bytes, 4);
    assert_ptr_equal(s->data, data + 28);
    assert_int_equal(loci_st_find(f, "zero")->bytes, 0);

    static const char *const order[] = { "w", "b", "zero", "s" };
    for (int i = 0; i < 4; i++) assert_string_equal(loci_st_at(f, i)->name, order[i]);
    assert_null(loci_st_at(f, 4));
    assert_null(loci_st_at(f, -1));
    assert_null(loci_st_find(f, "W"));
    assert_null(loci_st_find(f, ""));
    assert_null(loci_st_find(f, "__metadata__"));
    assert_string_equal(loci_st_meta(f, "format"), "pt");
    assert_null(loci_st_meta(f, "other"));
    loci_st_close(f);
    loci_st_close(NULL);
    free(file);
}

static void test_no_tensors(void **state)
{
    size_t size;
    loci_st *f;
    unsigned char *file = make_file("{}", 0, &size);
    (void)state;
    assert_int_equal(loci_st_open_memory(&f, file, size, "m", NULL), LOCI_OK);
    assert_int_equal(loci_st_count(f), 0);
    assert_null(loci_st_find(f, "w"));
    assert_null(loci_st_meta(f, "format"));
    loci_st_close(f);
    free(file);
}

static void test_wrong_headers(void **state)
{
    static const struct {
        const char *header, *says;
        size_t n_data;
    } cases[] = {
        /* what lies where */
        { "{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[2,6]") "}", "overlap", 6 },
        { "{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[0,4]") "}", "overlap", 4 },
        { "{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[2]", "[1,3]") "}", "overlap", 4 },
        { "{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[2]", "[5,7]") "}", "hole", 7 },
        { "{" T("a", "U8", "[4]", "[1,5]") "}", "hole", 5 },
        { "{" T("a", "U8", "[4]", "[0,4]") "}", "expected 4 bytes of data, found 5", 5 },
        { "{}", "expected 0 bytes of data, found 3", 3 },
        { "{" T("a", "U8", "[4]", "[0,4]") "}", "inside 3 bytes, found 0..4", 3 },
        { "{" T("a", "U8", "[4]", "[4,0]") "}", "found 4..0", 4 },
        { "{" T("a", "U8", "[4]", "[-4,0]") "}", "found -4..0", 4 },
        { "{" T("a", "U8", "[4]", "[0,9223372036854775807]") "}", "inside 4 bytes", 4 },
        { "{" T("a", "U8", "[4]", "[0,4,8]") "}", "expected two integers", 4 },
        { "{" T("a", "U8", "[4]", "[0,4.0]") "}", "expected two integers", 4 },
        { "{" T("a", "U8", "[4]", "{}") "}", "expected two integers", 4 },
        { "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "F32", "[1]", "[1,5]") "}", "not aligned",
          5 },
        /* shapes */
        { "{" T("a", "F32", "[2]", "[0,4]") "}", "its shape takes 8 bytes, data_offsets give 4",
          4 },
        { "{" T("a", "U8", "[2]", "[0,4]") "}", "its shape takes 2 bytes, data_offsets give 4", 4 },
        { "{" T("a", "U8", "[-1]", "[0,4]") "}", "integers >= 0", 4 },
        { "{" T("a", "U8", "[4.0]", "[0,4]") "}", "integers >= 0", 4 },
        { "{" T("a", "U8", "[\"4\"]", "[0,4]") "}", "integers >= 0", 4 },
        { "{" T("a", "U8", "4", "[0,4]") "}", "shape: expected an array", 4 },
        { "{" T("a", "U8", "[1,1,1,1,4]", "[0,4]") "}", "at most 4 dimensions, found 5", 4 },
        /* 2^32 * 2^32 is 0 and 2^62 * 4 is 0 when the product wraps */
        { "{" T("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", "larger than any file", 0 },
        { "{" T("a", "F32", "[4611686018427387904]", "[0,0]") "}", "larger than any file", 0 },
        { "{" T("a", "F32", "[4611686018427387905]", "[0,4]") "}", "larger than any file", 4 },
        { "{" T("a", "U8", "[18446744073709551616]", "[0,0]") "}", "header", 0 },
        /* types */
        { "{" T("a", "F8_E5M2", "[4]", "[0,4]") "}", "found F8_E5M2", 4 },
        { "{" T("a", "f32", "[1]", "[0,4]") "}", "found f32", 4 },
        { "{\"a\":{\"dtype\":5,\"shape\":[4],\"data_offsets\":[0,4]}}", "dtype: expected a string",
          4 },
        { "{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", "dtype: expected a string", 4 },
        { "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", "shape: expected an array", 4 },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", "data_offsets: expected", 4 },
        { "{\"a\":[]}", "tensor a: expected an object", 4 },
        { "{\"a\":null}", "tensor a: expected an object", 0 },
        /* names and text */
        { "{" T("a", "U8", "[0]", "[0,0]") "," T("a", "U8", "[0]", "[0,0]") "}", "duplicate", 0 },
        { "{" T("\xff", "U8", "[0]", "[0,0]") "}", "unable to decode", 0 },
        { "{" T("\xc3", "U8", "[0]", "[0,0]") "}", "header", 0 },
        { "{" T("a\\u0000b", "U8", "[0]", "[0,0]") "}", "header", 0 },
        { "{" T("a\\ud800", "U8", "[0]", "[0,0]") "}", "header", 0 },
        { "{\"__metadata__\":[]}", "__metadata__: expected an object", 0 },
        { "{\"__metadata__\":{\"k\":1}}", "__metadata__: k: expected a string", 0 },
        { "[]", "header: expected an object", 0 },
        { "{} x", "header", 0 },
        { "", "header", 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        unsigned char *file = make_file(cases[i].header, cases[i].n_data, &size);
        refuse(file, size, cases[i].says);
        free(file);
    }
}

static void test_header_length(void **state)
{
    static const uint64_t lengths[] = { 9, 100000001, (uint64_t)1 << 63, UINT64_MAX,
                                        UINT64_MAX - 7 };
    unsigned char file[16] = { 0 };
    (void)state;
    memset(file + 8, ' ', 8);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(file, &lengths[i], 8);
        refuse(file, sizeof file, "header length: expected at most 8 bytes");
    }
    /* Larger than the format allows although the file has the bytes. */
    const size_t size = 8 + 100000008;
    unsigned char *large = calloc(size, 1); /* never touched but for the prefix */
    assert_non_null(large);
    memcpy(large, &lengths[1], 8);
    refuse(large, size, "expected at most 100000000 bytes, found 100000001");
    free(large);
}

static void test_deep_header(void **state)
{
    enum { DEPTH = 100000 };
    char *header = malloc(DEPTH + 1);
    size_t size;
    (void)state;
    for (int i = 0; i + 5 <= DEPTH; i += 5) memcpy(header + i, "{\"a\":", 5);
    header[DEPTH] = '\0';
    unsigned char *file = make_file(header, 0, &size);
    refuse(file, size, "depth");
    free(file);
    free(header);
}

static void test_cut_at_every_byte(void **state)
{
    size_t size;
    unsigned char *file = make_file(good_header, GOOD_DATA, &size);
    (void)state;
    for (size_t n = 0; n < size; n++) {
        unsigned char *cut = malloc(n ? n : 1);
        memcpy(cut, file, n);
        refuse(cut, n, "");
        free(cut);
    }
    free(file);
}

/* Whatever a changed byte does, the views stay inside the file and tile it. */
static void test_every_byte_changed(void **state)
{
    static const unsigned char flips[] = { 0x01, 0x10, 0x80, 0xff };
    size_t size;
    unsigned char *file = make_file(good_header, GOOD_DATA, &size);
    int opened = 0;
    (void)state;
    for (size_t at = 0; at < size - GOOD_DATA; at++)
        for (size_t k = 0; k < sizeof flips; k++) {
            loci_st *f;
            file[at] ^= flips[k];
            if (loci_st_open_memory(&f, file, size, "m", NULL) == LOCI_OK) {
                size_t sum = 0;
                for (int i = 0; i < loci_st_count(f); i++) sum += loci_st_at(f, i)->bytes;
                assert_int_equal(sum, GOOD_DATA);
                opened++;
                loci_st_close(f);
            }
            file[at] ^= flips[k];
        }
    assert_true(opened > 0); /* another letter in a name is still a right file */
    free(file);
}

/* ---- writing -------------------------------------------------------------------- */

static const float weights[6] = { 1, 2, 3, 4, 5, 6 };
static const int8_t quant[5] = { -1, 0, 1, 2, 3 };
static const double wide[1] = { 0.5 };
static const uint16_t halves[3] = { 1, 2, 3 };
static const loci_tensor_view views[] = {
    { "quant", LOCI_I8, 1, { 5 }, quant, sizeof quant },
    { "w\xc3\xa9\"\n", LOCI_F32, 2, { 2, 3 }, weights, sizeof weights },
    { "half", LOCI_BF16, 3, { 3, 1, 1 }, halves, sizeof halves },
    { "empty", LOCI_I64, 1, { 0 }, NULL, 0 },
    { "scalar", LOCI_F64, 0, { 0 }, wide, sizeof wide },
};
enum { N_VIEWS = sizeof views / sizeof *views };
static const char *const meta[] = { "config", "{\"a\": 1}", "empty", "", NULL };

static void check_written(const char *file)
{
    loci_st *f;
    loci_error err = { 0 };
    if (loci_st_open(&f, file, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(loci_st_count(f), N_VIEWS);
    for (int i = 0; i < N_VIEWS; i++) {
        const loci_tensor_view *want = &views[i], *v = loci_st_find(f, want->name);
        assert_non_null(v);
        assert_int_equal(v->dtype, want->dtype);
        assert_int_equal(v->n_dims, want->n_dims);
        for (int d = 0; d < v->n_dims; d++) assert_true(v->dim[d] == want->dim[d]);
        assert_int_equal(v->bytes, want->bytes);
        if (v->bytes) assert_memory_equal(v->data, want->data, v->bytes);
    }
    /* By falling size of elements, in the caller's order among equals; data at 64 bytes. */
    static const int order[] = { 3, 4, 1, 2, 0 };
    for (int i = 0; i < N_VIEWS; i++)
        assert_string_equal(loci_st_at(f, i)->name, views[order[i]].name);
    assert_int_equal((uintptr_t)loci_st_at(f, 0)->data % 64, 0);
    assert_string_equal(loci_st_meta(f, "config"), "{\"a\": 1}");
    assert_string_equal(loci_st_meta(f, "empty"), "");
    loci_st_close(f);
}

static void test_write_and_read_back(void **state)
{
    loci_error err = { 0 };
    loci_st *f;
    (void)state;
    assert_int_equal(loci_st_write(NULL, path, views, N_VIEWS, meta, &err), LOCI_OK);
    check_written(path);
    assert_int_equal(loci_st_write(NULL, path, NULL, 0, NULL, &err), LOCI_OK);
    assert_int_equal(loci_st_open(&f, path, &err), LOCI_OK);
    assert_int_equal(loci_st_count(f), 0);
    loci_st_close(f);
}

static void test_every_dtype(void **state)
{
    static const struct {
        loci_dtype t;
        const char *name;
        size_t size;
    } all[] = { { LOCI_F32, "F32", 4 }, { LOCI_BF16, "BF16", 2 }, { LOCI_F16, "F16", 2 },
                { LOCI_I8, "I8", 1 },   { LOCI_U8, "U8", 1 },     { LOCI_I32, "I32", 4 },
                { LOCI_I64, "I64", 8 }, { LOCI_F64, "F64", 8 } };
    static const char bytes[64] = { 1, 2, 3 };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        loci_st *f;
        const loci_tensor_view v = { "t", all[i].t, 1, { 3 }, bytes, 3 * all[i].size };
        assert_string_equal(loci_dtype_name(all[i].t), all[i].name);
        assert_int_equal(loci_dtype_size(all[i].t), all[i].size);
        assert_int_equal(loci_st_write(NULL, path, &v, 1, NULL, NULL), LOCI_OK);
        assert_int_equal(loci_st_open(&f, path, NULL), LOCI_OK);
        assert_int_equal(loci_st_at(f, 0)->dtype, all[i].t);
        loci_st_close(f);
    }
    assert_int_equal(loci_dtype_size((loci_dtype)99), 0);
}

static void test_write_refuses(void **state)
{
    static const loci_tensor_view wrong[] = {
        { "", LOCI_I8, 1, { 5 }, quant, 5 },
        { NULL, LOCI_I8, 1, { 5 }, quant, 5 },
        { "__metadata__", LOCI_I8, 1, { 5 }, quant, 5 },
        { "\xff", LOCI_I8, 1, { 5 }, quant, 5 },
        { "a", (loci_dtype)99, 1, { 5 }, quant, 5 },
        { "a", LOCI_I8, 5, { 5, 1, 1, 1 }, quant, 5 },
        { "a", LOCI_I8, -1, { 5 }, quant, 5 },
        { "a", LOCI_I8, 1, { 4 }, quant, 5 },
        { "a", LOCI_I8, 1, { -5 }, quant, 5 },
        { "a", LOCI_F32, 2, { INT64_MAX, 8 }, quant, 5 },
    };
    static const char *const bad_meta[] = { "k", "\xff", NULL }, *const half_meta[] = { "k", NULL };
    const loci_tensor_view twice[] = { views[0], views[1], views[0] };
    (void)state;
    assert_int_equal(loci_st_write(NULL, path, views, N_VIEWS, meta, NULL), LOCI_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(loci_st_write(NULL, path, &wrong[i], 1, NULL, NULL), LOCI_EINVAL);
    assert_int_equal(loci_st_write(NULL, path, twice, 3, NULL, NULL), LOCI_EINVAL);
    assert_int_equal(loci_st_write(NULL, path, views, -1, NULL, NULL), LOCI_EINVAL);
    assert_int_equal(loci_st_write(NULL, path, views, 1, bad_meta, NULL), LOCI_EINVAL);
    assert_int_equal(loci_st_write(NULL, path, views, 1, half_meta, NULL), LOCI_EINVAL);
    check_written(path); /* none of them touched the file */
}

/* Stopped at any call, the file holds the one set of tensors or the other. */
static void test_write_stopped_anywhere(void **state)
{
    int seen[2] = { 0 };
    (void)state;
    for (int64_t at = 1;; at++) {
        fault_vfs fault;
        loci_st *f;
        assert_int_equal(loci_st_write(NULL, path, views, 1, NULL, NULL), LOCI_OK);
        fault_vfs_init(&fault, FAULT_TORN, at);
        const loci_status st = loci_st_write(&fault.vfs, path, views, N_VIEWS, meta, NULL);
        assert_int_equal(loci_st_open(&f, path, NULL), LOCI_OK);
        const int n = loci_st_count(f);
        loci_st_close(f);
        assert_true(n == 1 || n == N_VIEWS);
        seen[n == N_VIEWS]++;
        if (st == LOCI_OK) assert_int_equal(n, N_VIEWS);
        if (fault.n_faults == 0) break;
    }
    assert_true(seen[0] > 5 && seen[1] > 1);
}

static void test_open_what_is_no_file(void **state)
{
    loci_st *f = (loci_st *)dir;
    loci_error err = { 0 };
    (void)state;
    assert_int_equal(loci_st_open(&f, "/no/such.safetensors", &err), LOCI_ENOTFOUND);
    assert_null(f);
    assert_int_equal(loci_st_open(&f, dir, NULL), LOCI_EFORMAT);
    assert_int_equal(loci_file_replace(NULL, path, "", 0, NULL), LOCI_OK);
    assert_int_equal(loci_st_open(&f, path, NULL), LOCI_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_is_there),
        cmocka_unit_test(test_no_tensors),
        cmocka_unit_test(test_wrong_headers),
        cmocka_unit_test(test_header_length),
        cmocka_unit_test(test_deep_header),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_write_and_read_back),
        cmocka_unit_test(test_every_dtype),
        cmocka_unit_test(test_write_refuses),
        cmocka_unit_test(test_write_stopped_anywhere),
        cmocka_unit_test(test_open_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
