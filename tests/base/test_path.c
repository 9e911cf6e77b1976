/* Goal: a replaced file is the old or the new one, never a third; what is loaded is all of it.
 * Method: stop a replace at each of its calls, in each way a call can fail, and look at what is
 * there; the log of calls shows that data and folder are synced, in that order, around the
 * rename.  Loads of files, pipes and files that change size under the reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fault_vfs.h"
#include "temp_dir.h"

static char dir[TEMP_PATH];
static char path[TEMP_PATH + 64];
static char tmp_path[TEMP_PATH + 64];

static int set_up(void **state)
{
    (void)state;
    if (!temp_dir_make(dir)) return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    snprintf(tmp_path, sizeof tmp_path, "%s/file.tmp", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static const char old_text[] = "the old content";
static const char new_text[] = "new, and somewhat longer than the content before it";

/* 1 when path holds the new text, 0 when the old; anything else fails the test. */
static int which_content(void)
{
    char *data;
    size_t len;
    assert_int_equal(loci_file_load(NULL, path, 1000, &data, &len, NULL), LOCI_OK);
    const int is_new = len == strlen(new_text) && memcmp(data, new_text, len) == 0;
    const int is_old = len == strlen(old_text) && memcmp(data, old_text, len) == 0;
    free(data);
    assert_int_equal(is_new + is_old, 1);
    return is_new;
}

static loci_status replace_with(fault_vfs *fault, const char *text, loci_error *err)
{
    const size_t half = strlen(text) / 2;
    const loci_part parts[] = { { text, half }, { "", 0 }, { text + half, strlen(text) - half } };
    return loci_file_replace_parts(fault ? &fault->vfs : NULL, path, parts, 3, err);
}

static void test_replace_syncs_around_the_rename(void **state)
{
    fault_vfs fault;
    struct stat s;
    (void)state;
    fault_vfs_init(&fault, FAULT_NONE, 0);
    assert_int_equal(replace_with(&fault, new_text, NULL), LOCI_OK);
    assert_string_equal(fault.log, "uowwscmosc");
    assert_int_equal(which_content(), 1);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(access(tmp_path, F_OK), -1);
}

/* Stop at each call, in each way. */
static void test_replace_old_or_new_never_a_third(void **state)
{
    static const fault_mode modes[] = { FAULT_EIO, FAULT_CRASH, FAULT_TORN };
    (void)state;
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        int seen[2] = { 0 };
        for (int64_t at = 1;; at++) {
            fault_vfs fault;
            loci_error err = { 0 };
            assert_int_equal(replace_with(NULL, old_text, &err), LOCI_OK);
            fault_vfs_init(&fault, modes[m], at);
            const loci_status st = replace_with(&fault, new_text, &err);
            const int is_new = which_content();
            seen[is_new]++;
            assert_int_equal(fault.n_open, 0);
            if (fault.n_faults == 0) {
                assert_int_equal(st, LOCI_OK);
                break;
            }
            /* Success must mean new; whoever is told of a failure up to the rename has the old. */
            const char *renamed = strchr(fault.log, 'm');
            if (st == LOCI_OK)
                assert_int_equal(is_new, 1);
            else
                assert_int_equal(err.code, LOCI_EIO);
            if (!renamed || at <= renamed - fault.log + 1) assert_int_equal(is_new, st == LOCI_OK);
            /* What is left lying about does not hinder the next time. */
            assert_int_equal(replace_with(NULL, new_text, NULL), LOCI_OK);
            assert_int_equal(which_content(), 1);
        }
        assert_true(seen[0] >= 5 && seen[1] >= 3);
    }
}

static void test_replace_on_a_full_disk(void **state)
{
    (void)state;
    for (int64_t room = 0; room < (int64_t)strlen(new_text); room++) {
        fault_vfs fault;
        loci_error err = { 0 };
        assert_int_equal(replace_with(NULL, old_text, &err), LOCI_OK);
        fault_vfs_init(&fault, FAULT_FULL, room);
        assert_int_equal(replace_with(&fault, new_text, &err), LOCI_EIO);
        assert_int_equal(err.sys_errno, ENOSPC);
        assert_int_equal(which_content(), 0);
        assert_int_equal(access(tmp_path, F_OK), -1);
    }
}

/* The temporary name may be a link that somebody laid there: its target stays as it was. */
static void test_replace_follows_no_link(void **state)
{
    char victim[TEMP_PATH + 64];
    (void)state;
    assert_int_equal(replace_with(NULL, old_text, NULL), LOCI_OK);
    snprintf(victim, sizeof victim, "%s/victim", dir);
    assert_int_equal(rename(path, victim), 0);
    assert_int_equal(symlink(victim, tmp_path), 0);
    assert_int_equal(replace_with(NULL, new_text, NULL), LOCI_OK);
    assert_int_equal(which_content(), 1);
    assert_int_equal(rename(victim, path), 0);
    assert_int_equal(which_content(), 0);
}

static void test_replace_where_it_cannot(void **state)
{
    char longer[5000];
    (void)state;
    assert_int_equal(loci_file_replace(NULL, "/no/such/folder/x", "a", 1, NULL), LOCI_ENOTFOUND);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(loci_file_replace(NULL, longer, "a", 1, NULL), LOCI_EINVAL);
    assert_int_equal(loci_file_sync_parent(NULL, longer, NULL), LOCI_EINVAL);
}

/* What a path's folder is, by the open that the sync makes. */
static char opened[5000];
static int note_open(void *ctx, const char *name, int flags, int mode)
{
    (void)ctx, (void)flags, (void)mode;
    snprintf(opened, sizeof opened, "%s", name);
    return -EACCES;
}

static void test_parent(void **state)
{
    static const char *const cases[][2] = {
        { "a", "." },     { "a/", "." },  { "a/b", "a" },        { "a//b", "a" },
        { "/a", "/" },    { "/", "/" },   { "//a", "/" },        { "/a/b/", "/a" },
        { "../x", ".." }, { "./x", "." }, { "a/b//c//", "a/b" }, { "", "." },
    };
    loci_vfs vfs = *loci_vfs_system();
    (void)state;
    vfs.open = note_open;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(loci_file_sync_parent(&vfs, cases[i][0], NULL), LOCI_EIO);
        assert_string_equal(opened, cases[i][1]);
    }
}

/* ---- load --------------------------------------------------------------------- */

static void test_load(void **state)
{
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 200000 };
    static const int64_t at_most[] = { 0, 1000 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int k = 0; k < 2; k++) {
            const size_t n = sizes[i];
            char *want = malloc(n + 1), *data;
            size_t len;
            fault_vfs fault;
            for (size_t b = 0; b < n; b++) want[b] = (char)(b * 31 + b / 256);
            assert_int_equal(loci_file_replace(NULL, path, want, n, NULL), LOCI_OK);
            fault_vfs_init(&fault, at_most[k] ? FAULT_SHORT : FAULT_NONE, at_most[k]);
            assert_int_equal(loci_file_load(&fault.vfs, path, n, &data, &len, NULL), LOCI_OK);
            assert_int_equal(len, n);
            assert_memory_equal(data, want, n);
            assert_int_equal(data[n], 0);
            assert_int_equal(fault.n_open, 0);
            free(data);
            if (n > 0) {
                loci_error err = { 0 };
                assert_int_equal(loci_file_load(NULL, path, n - 1, &data, &len, &err),
                                 LOCI_EFORMAT);
                assert_null(data);
                assert_int_equal(len, 0);
                assert_non_null(strstr(err.text, "expected at most"));
            }
            free(want);
        }
}

static void *feed_pipe(void *arg)
{
    static char block[1000];
    const int fd = open(arg, O_WRONLY);
    memset(block, 'p', sizeof block);
    for (int i = 0; i < 300 && fd >= 0; i++)
        if (write(fd, block, sizeof block) != sizeof block) break; /* the reader has gone */
    if (fd >= 0) close(fd);
    return NULL;
}

static void test_load_of_a_pipe(void **state)
{
    char *data;
    size_t len;
    pthread_t feeder;
    (void)state;
    (void)remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&feeder, NULL, feed_pipe, path), 0);
    assert_int_equal(loci_file_load(NULL, path, 1 << 20, &data, &len, NULL), LOCI_OK);
    pthread_join(feeder, NULL);
    assert_int_equal(len, 300000);
    for (size_t i = 0; i < len; i++) assert_int_equal(data[i], 'p');
    free(data);
    (void)remove(path);
}

/* A size that is wrong by the time of the reads: the file grew, or shrank. */
static int64_t lie_small(void *ctx, int fd)
{
    (void)ctx, (void)fd;
    return 3;
}
static int64_t lie_large(void *ctx, int fd)
{
    (void)ctx, (void)fd;
    return 900;
}

static void test_load_of_a_file_that_changes(void **state)
{
    loci_vfs vfs = *loci_vfs_system();
    char *data;
    size_t len;
    (void)state;
    assert_int_equal(replace_with(NULL, new_text, NULL), LOCI_OK);
    for (int i = 0; i < 2; i++) {
        vfs.size = i ? lie_large : lie_small;
        assert_int_equal(loci_file_load(&vfs, path, 1000, &data, &len, NULL), LOCI_OK);
        assert_string_equal(data, new_text);
        assert_int_equal(len, strlen(new_text));
        free(data);
    }
    vfs.size = lie_small; /* the limit holds for what is read, not for what was promised */
    assert_int_equal(loci_file_load(&vfs, path, 10, &data, &len, NULL), LOCI_EFORMAT);
    assert_null(data);
}

static void test_load_fails_whole(void **state)
{
    (void)state;
    assert_int_equal(replace_with(NULL, new_text, NULL), LOCI_OK);
    for (int64_t at = 1; at <= 4; at++) {
        fault_vfs fault;
        char *data = path;
        size_t len = 9;
        fault_vfs_init(&fault, FAULT_EIO, at);
        assert_int_equal(loci_file_load(&fault.vfs, path, 1000, &data, &len, NULL), LOCI_EIO);
        assert_null(data);
        assert_int_equal(len, 0);
        assert_int_equal(fault.n_open, 0);
    }
    char *data;
    size_t len;
    assert_int_equal(loci_file_load(NULL, dir, 1 << 20, &data, &len, NULL), LOCI_EIO);
}

/* ---- folders and names ------------------------------------------------------------ */

static void test_mkdirs(void **state)
{
    char deep[TEMP_PATH + 64];
    struct stat s;
    (void)state;
    snprintf(deep, sizeof deep, "%s/x/y//z/", dir);
    for (int i = 0; i < 2; i++) { /* the second time they exist */
        assert_int_equal(loci_mkdirs(NULL, deep, NULL), LOCI_OK);
        assert_int_equal(stat(deep, &s), 0);
        assert_true(S_ISDIR(s.st_mode));
        assert_int_equal(s.st_mode & 0777, 0700);
    }
    assert_int_equal(loci_mkdirs(NULL, "/", NULL), LOCI_OK);
    assert_int_equal(loci_mkdirs(NULL, ".", NULL), LOCI_OK);
}

static void test_mkdirs_refuses(void **state)
{
    char name[TEMP_PATH + 80], longer[5000];
    loci_error err = { 0 };
    (void)state;
    assert_int_equal(replace_with(NULL, old_text, NULL), LOCI_OK);
    assert_int_equal(loci_mkdirs(NULL, path, &err), LOCI_EIO); /* a file has the name */
    assert_int_equal(err.sys_errno, ENOTDIR);
    snprintf(name, sizeof name, "%s/below", path);
    assert_int_equal(loci_mkdirs(NULL, name, NULL), LOCI_EIO);
    assert_int_equal(loci_mkdirs(NULL, "", NULL), LOCI_EINVAL);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(loci_mkdirs(NULL, longer, NULL), LOCI_EINVAL);
}

static void test_path_join(void **state)
{
    char out[8];
    (void)state;
    assert_int_equal(loci_path_join(out, sizeof out, "ab", "cd", NULL), LOCI_OK);
    assert_string_equal(out, "ab/cd");
    assert_int_equal(loci_path_join(out, sizeof out, "ab/", "cd", NULL), LOCI_OK);
    assert_string_equal(out, "ab/cd");
    assert_int_equal(loci_path_join(out, sizeof out, "/", "cd", NULL), LOCI_OK);
    assert_string_equal(out, "/cd");
    assert_int_equal(loci_path_join(out, sizeof out, "", "cd", NULL), LOCI_OK);
    assert_string_equal(out, "cd");
    assert_int_equal(loci_path_join(out, sizeof out, "abcd", "ef", NULL), LOCI_OK); /* 7 + NUL */
    assert_int_equal(loci_path_join(out, sizeof out, "abcd", "efg", NULL), LOCI_EINVAL);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace_syncs_around_the_rename),
        cmocka_unit_test(test_replace_old_or_new_never_a_third),
        cmocka_unit_test(test_replace_on_a_full_disk),
        cmocka_unit_test(test_replace_follows_no_link),
        cmocka_unit_test(test_replace_where_it_cannot),
        cmocka_unit_test(test_parent),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_load_of_a_pipe),
        cmocka_unit_test(test_load_of_a_file_that_changes),
        cmocka_unit_test(test_load_fails_whole),
        cmocka_unit_test(test_mkdirs),
        cmocka_unit_test(test_mkdirs_refuses),
        cmocka_unit_test(test_path_join),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
