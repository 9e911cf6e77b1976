/* Goal: what is written is .npy 1.0 to the byte, and a reader gets the array back.
 * Method: a small reader written from the format's description, for every number of dimensions;
 * one header compared as text. */
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
static char path[TEMP_PATH + 16];

static int set_up(void **state)
{
    (void)state;
    if (!temp_dir_make(dir)) return -1;
    snprintf(path, sizeof path, "%s/a.npy", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

/* Take a file apart: its dict, as text up to the newline, and where the elements begin. */
static const char *open_npy(const char *file, size_t len, char *dict, size_t room)
{
    assert_true(len >= 10);
    assert_memory_equal(file, "\x93NUMPY\x01\x00", 8);
    const size_t n = (size_t)(unsigned char)file[8] | (size_t)(unsigned char)file[9] << 8;
    assert_true(10 + n <= len && n < room);
    assert_int_equal((10 + n) % 64, 0);
    assert_int_equal(file[10 + n - 1], '\n');
    memcpy(dict, file + 10, n);
    size_t used = n - 1;
    while (used > 0 && dict[used - 1] == ' ') used--;
    dict[used] = '\0';
    return file + 10 + n;
}

static void test_round_trip(void **state)
{
    static const struct {
        int n_dims;
        int64_t dim[4];
        const char *shape;
        size_t n;
    } cases[] = {
        { 0, { 0 }, "()", 1 },
        { 1, { 3 }, "(3,)", 3 },
        { 1, { 0 }, "(0,)", 0 },
        { 2, { 2, 3 }, "(2, 3)", 6 },
        { 3, { 2, 0, 5 }, "(2, 0, 5)", 0 },
        { 4, { 2, 3, 1, 2 }, "(2, 3, 1, 2)", 12 },
        { 4,
          { 0, INT64_MAX, INT64_MAX, INT64_MAX },
          "(0, 9223372036854775807, 9223372036854775807, 9223372036854775807)",
          0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float want[12];
        char *file, dict[300], wanted[300];
        size_t len;
        for (size_t k = 0; k < 12; k++) want[k] = 0.25f * (float)k - 1.0f;
        assert_int_equal(loci_npy_write_f32(path, want, cases[i].dim, cases[i].n_dims, NULL),
                         LOCI_OK);
        assert_int_equal(loci_file_load(NULL, path, 4096, &file, &len, NULL), LOCI_OK);
        const char *data = open_npy(file, len, dict, sizeof dict);
        snprintf(wanted, sizeof wanted, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }",
                 cases[i].shape);
        assert_string_equal(dict, wanted);
        assert_int_equal((size_t)(file + len - data), cases[i].n * sizeof *want);
        assert_memory_equal(data, want, cases[i].n * sizeof *want);
        free(file);
    }
}

static void test_refuses(void **state)
{
    static const int64_t negative[] = { 2, -1 }, large[] = { INT64_MAX, INT64_MAX };
    static const int64_t wraps[] = { (int64_t)1 << 31, (int64_t)1 << 31 }; /* times 4 is 2^64 */
    loci_error err = { 0 };
    const float x = 0;
    (void)state;
    assert_int_equal(loci_npy_write_f32(path, &x, negative, 2, &err), LOCI_EINVAL);
    assert_int_equal(loci_npy_write_f32(path, &x, large, 2, NULL), LOCI_EINVAL);
    assert_int_equal(loci_npy_write_f32(path, &x, wraps, 2, NULL), LOCI_EINVAL);
    assert_int_equal(loci_npy_write_f32(path, &x, large, 5, NULL), LOCI_EINVAL);
    assert_int_equal(loci_npy_write_f32(path, &x, large, -1, NULL), LOCI_EINVAL);
    assert_int_equal(loci_npy_write_f32("/no/such/a.npy", &x, NULL, 0, NULL), LOCI_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
