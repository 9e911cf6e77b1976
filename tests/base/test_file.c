/* Goal: reads and writes are all or a named error, whatever the system does in between.
 * Method: the same calls over a vfs that cuts short, interrupts, fills up and fails; mappings of
 * every kind of thing that can have a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fault_vfs.h"
#include "temp_dir.h"

static char dir[TEMP_PATH];

static const char *in_dir(const char *name)
{
    static char path[TEMP_PATH + 256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    return temp_dir_make(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static void fill(unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)(i * 7 + i / 251);
}

/* Write 10000 bytes at offset 100 and read them back, over this vfs. */
static void round_trip(const loci_vfs *vfs)
{
    enum { N = 10000, AT = 100 };
    unsigned char out[N], in[N] = { 0 };
    loci_error err = { 0 };
    loci_file f;
    int64_t size;
    fill(out, N);
    assert_int_equal(loci_file_open(&f, vfs, in_dir("a"), O_RDWR | O_CREAT | O_TRUNC, &err),
                     LOCI_OK);
    assert_int_equal(loci_file_write(&f, "a", out, N, AT, &err), LOCI_OK);
    assert_int_equal(loci_file_sync(&f, "a", &err), LOCI_OK);
    assert_int_equal(loci_file_size(&f, "a", &size, &err), LOCI_OK);
    assert_int_equal(size, AT + N);
    assert_int_equal(loci_file_read(&f, "a", in, N, AT, &err), LOCI_OK);
    assert_memory_equal(in, out, N);
    assert_int_equal(loci_file_close(&f, &err), LOCI_OK);
    assert_int_equal(f.fd, -1);
    assert_int_equal(loci_file_close(&f, &err), LOCI_OK);
}

static void test_round_trip(void **state)
{
    fault_vfs fault;
    (void)state;
    round_trip(NULL);
    round_trip(fault_vfs_init(&fault, FAULT_NONE, 0));
    assert_int_equal(fault.n_open, 0);
    assert_string_equal(fault.log, "owszrc");
}

static void test_short_calls_are_gone_on_with(void **state)
{
    static const int64_t most[] = { 1, 7, 4096, 9999 };
    (void)state;
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        fault_vfs fault;
        round_trip(fault_vfs_init(&fault, FAULT_SHORT, most[i]));
        assert_true(fault.n_faults > 0);
    }
}

/* Every second call is interrupted, also open and sync. */
static void test_interrupted_calls_are_repeated(void **state)
{
    fault_vfs fault;
    loci_file f;
    char in[3];
    (void)state;
    fault_vfs_init(&fault, FAULT_INTR, 2);
    fault.n_calls = 1;
    assert_int_equal(loci_file_open(&f, &fault.vfs, in_dir("a"), O_RDWR | O_CREAT | O_TRUNC, NULL),
                     LOCI_OK);
    fault.n_calls = 1;
    assert_int_equal(loci_file_write(&f, "a", "abc", 3, 0, NULL), LOCI_OK);
    fault.n_calls = 1;
    assert_int_equal(loci_file_sync(&f, "a", NULL), LOCI_OK);
    fault.n_calls = 1;
    assert_int_equal(loci_file_read(&f, "a", in, 3, 0, NULL), LOCI_OK);
    assert_memory_equal(in, "abc", 3);
    fault.n_calls = 1;
    assert_int_equal(loci_file_close(&f, NULL), LOCI_OK); /* Linux has closed it by then */
    assert_int_equal(fault.n_faults, 5);
    assert_int_equal(fault.n_open, 0);
}

static void test_full_disk(void **state)
{
    fault_vfs fault;
    loci_error err = { 0 };
    loci_file f;
    char data[100] = { 0 };
    (void)state;
    fault_vfs_init(&fault, FAULT_FULL, 60);
    assert_int_equal(loci_file_open(&f, &fault.vfs, in_dir("a"), O_WRONLY | O_CREAT, &err),
                     LOCI_OK);
    assert_int_equal(loci_file_write(&f, "bank/a", data, 100, 0, &err), LOCI_EIO);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_string_equal(err.text, "write bank/a: No space left on device");
    loci_file_close(&f, NULL);
}

/* A write that takes nothing and gives no reason must not be asked for ever. */
static int64_t write_nothing(void *ctx, int fd, const void *buf, size_t n, int64_t offset)
{
    (void)ctx, (void)fd, (void)buf, (void)n, (void)offset;
    return 0;
}

static void test_write_of_nothing_ends(void **state)
{
    loci_vfs vfs = *loci_vfs_system();
    loci_file f;
    (void)state;
    vfs.pwrite = write_nothing;
    assert_int_equal(loci_file_open(&f, &vfs, in_dir("a"), O_WRONLY | O_CREAT, NULL), LOCI_OK);
    assert_int_equal(loci_file_write(&f, "a", "x", 1, 0, NULL), LOCI_EIO);
    loci_file_close(&f, NULL);
}

static void test_file_that_ends_early(void **state)
{
    loci_error err = { 0 };
    loci_file f;
    char in[20];
    (void)state;
    assert_int_equal(loci_file_replace(NULL, in_dir("a"), "0123456789", 10, &err), LOCI_OK);
    assert_int_equal(loci_file_open(&f, NULL, in_dir("a"), O_RDONLY, &err), LOCI_OK);
    assert_int_equal(loci_file_read(&f, "a", in, 7, 4, &err), LOCI_EFORMAT);
    assert_string_equal(err.text, "a: ends early: expected 7 bytes at offset 4, found 6");
    assert_int_equal(loci_file_read(&f, "a", in, 6, 4, NULL), LOCI_OK);
    assert_int_equal(loci_file_read(&f, "a", in, 0, 10, NULL), LOCI_OK);
    assert_int_equal(loci_file_read(&f, "a", in, 1, 1000, NULL), LOCI_EFORMAT);
    assert_int_equal(loci_file_read(&f, "a", in, 1, -1, NULL), LOCI_EFORMAT);
    assert_int_equal(loci_file_read(&f, "a", in, 2, INT64_MAX - 1, NULL), LOCI_EFORMAT);
    assert_int_equal(loci_file_write(&f, "a", in, 1, -1, NULL), LOCI_EINVAL);
    assert_int_equal(loci_file_write(&f, "a", in, 2, INT64_MAX - 1, NULL), LOCI_EINVAL);
    loci_file_close(&f, NULL);
}

static void test_open_says_what_is_missing(void **state)
{
    loci_error err = { 0 }, other = { 0 };
    loci_file f;
    (void)state;
    assert_int_equal(loci_file_open(&f, NULL, "/no/such/file", O_RDONLY, &err), LOCI_ENOTFOUND);
    assert_int_equal(f.fd, -1);
    assert_string_equal(err.text, "open /no/such/file: no such file");
    assert_int_equal(loci_file_open(&f, NULL, "/dev/null/x", O_RDONLY, &other), LOCI_EIO);
    assert_string_equal(other.text, "open /dev/null/x: Not a directory");
}

/* Each step fails in turn: the failure has its step's name, and no descriptor is left. */
static void test_each_step_names_itself(void **state)
{
    static const char *const want[] = { "open", "write", "sync", "size of", "read", "close" };
    (void)state;
    for (int step = 1; step <= 6; step++) {
        fault_vfs fault;
        loci_error err = { 0 };
        loci_file f;
        char in[3];
        int64_t size = 99;
        fault_vfs_init(&fault, FAULT_EIO, step);
        if (loci_file_open(&f, &fault.vfs, in_dir("a"), O_RDWR | O_CREAT | O_TRUNC, &err) ==
            LOCI_OK) {
            loci_file_write(&f, "a", "abc", 3, 0, &err);
            loci_file_sync(&f, "a", &err);
            loci_file_size(&f, "a", &size, &err);
            loci_file_read(&f, "a", in, 2, 0, &err);
            loci_file_close(&f, &err);
        }
        assert_int_equal(err.code, LOCI_EIO);
        assert_int_equal(strncmp(err.text, want[step - 1], strlen(want[step - 1])), 0);
        assert_int_equal(err.sys_errno, EIO);
        assert_int_equal(fault.n_open, 0);
        if (step == 4) assert_int_equal(size, 0);
    }
}

static void test_map(void **state)
{
    loci_error err = { 0 };
    loci_map m;
    (void)state;
    assert_int_equal(loci_file_replace(NULL, in_dir("m"), "mapped", 6, &err), LOCI_OK);
    assert_int_equal(loci_map_open(&m, in_dir("m"), &err), LOCI_OK);
    assert_int_equal(m.size, 6);
    assert_memory_equal(m.data, "mapped", 6);
    loci_map_close(&m);
    assert_int_equal(m.size, 0);
    loci_map_close(&m);

    assert_int_equal(loci_file_replace(NULL, in_dir("empty"), "", 0, &err), LOCI_OK);
    assert_int_equal(loci_map_open(&m, in_dir("empty"), &err), LOCI_OK);
    assert_int_equal(m.size, 0);
    assert_string_equal((const char *)m.data, "");
    loci_map_close(&m);
}

static void test_map_refuses_what_is_no_file(void **state)
{
    loci_map m;
    (void)state;
    assert_int_equal(loci_map_open(&m, in_dir("missing"), NULL), LOCI_ENOTFOUND);
    assert_int_equal(m.size, 0);
    assert_int_equal(loci_map_open(&m, dir, NULL), LOCI_EFORMAT);
    assert_int_equal(loci_map_open(&m, "/dev/null", NULL), LOCI_EFORMAT);
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    assert_int_equal(loci_map_open(&m, in_dir("pipe"), NULL), LOCI_EFORMAT); /* and does not wait */
    loci_map_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_short_calls_are_gone_on_with),
        cmocka_unit_test(test_interrupted_calls_are_repeated),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_write_of_nothing_ends),
        cmocka_unit_test(test_file_that_ends_early),
        cmocka_unit_test(test_open_says_what_is_missing),
        cmocka_unit_test(test_each_step_names_itself),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map_refuses_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
