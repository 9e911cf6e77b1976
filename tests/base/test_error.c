/* Goal: a failure is one harmless line, the first wins, errno is kept.
 * Method: record failures with each kind of text and look at every field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "base/base.h"

static void test_first_failure_wins(void **state)
{
    loci_error err = { 0 };
    (void)state;
    assert_int_equal(loci_fail(&err, LOCI_EFORMAT, "%s: bad magic %d", "a.bin", 7), LOCI_EFORMAT);
    assert_int_equal(loci_fail(&err, LOCI_EIO, "close a.bin"), LOCI_EIO);
    assert_int_equal(err.code, LOCI_EFORMAT);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.text, "a.bin: bad magic 7");
}

static void test_errno_is_kept_for_io_only(void **state)
{
    loci_error err = { 0 }, other = { 0 };
    (void)state;
    errno = ENOSPC;
    loci_fail(&err, LOCI_EIO, "write %s", "x");
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_string_equal(err.text, "write x: No space left on device");
    errno = ENOSPC;
    loci_fail(&other, LOCI_EINVAL, "x");
    assert_int_equal(other.sys_errno, 0);
    assert_string_equal(other.text, "x");
}

static void test_null_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(loci_fail(NULL, LOCI_ENOMEM, "%d", 1), LOCI_ENOMEM);
}

static void test_one_line_without_control_bytes(void **state)
{
    loci_error err = { 0 };
    (void)state;
    loci_fail(&err, LOCI_EINVAL, "a\nb\x1b[31m\x7f\t\x01 caf\xc3\xa9");
    assert_string_equal(err.text, "a?b?[31m??? caf\xc3\xa9");
}

static void test_long_text_is_cut(void **state)
{
    char longer[2000];
    loci_error err = { 0 };
    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    errno = EIO;
    loci_fail(&err, LOCI_EIO, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void test_every_status_has_a_text(void **state)
{
    (void)state;
#define X(name, value, text) assert_string_equal(loci_status_text(LOCI_##name), text);
    LOCI_STATUS_LIST(X)
#undef X
    assert_non_null(loci_status_text((loci_status)-99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_failure_wins),
        cmocka_unit_test(test_errno_is_kept_for_io_only),
        cmocka_unit_test(test_null_is_allowed),
        cmocka_unit_test(test_one_line_without_control_bytes),
        cmocka_unit_test(test_long_text_is_cut),
        cmocka_unit_test(test_every_status_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
