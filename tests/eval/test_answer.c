/* test_answer.c - Goal: an answer counts as right when it is the expected one, of an answer in steps its
 * end where only that is compared (`eval babilong`), and never otherwise.  Method: pairs, each with
 * and without end_only. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "answer.h"

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *said, *expected;
        bool all, end; /* is it right as a whole, by its end? */
    } known[] = {
        { "kitchen", "kitchen", true, true },
        { " kitchen\n", "kitchen", true, true },
        { "Mary, kitchen", "kitchen", false, true },
        { "Mary, kitchen, garden", "garden", false, true },
        { "\tMary, kitchen \r\n", "kitchen", false, true },
        { ", kitchen", "kitchen", false, true },
        { "Mary, kitchen", "Mary", false, false },
        { "Mary, kitchen, garden", "kitchen", false, false },
        { "Mary, kitchen", "Mary, kitchen", true, true }, /* a list that is asked for */
        { "Mary,kitchen", "kitchen", false, false },
        { "Mary, kitchens", "kitchen", false, false },
        { "Mary, kitche", "kitchen", false, false },
        { "kitchen, Mary", "kitchen", false, false },
        { "Mary kitchen", "kitchen", false, false },
        { "1,234 euros", "1,234 euros", true, true },
        { "Mary, ", "kitchen", false, false },
        { "", "kitchen", false, false },
        { ",", "kitchen", false, false },
        { ", ", "", false, false }, /* trimmed to "," */
        { " ", "", true, true },
        { "not stated", "not stated", true, true },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        /* In a block of its own size: what reads over its end is found by the sanitizers. */
        const size_t n = strlen(known[i].said);
        char *said = malloc(n ? n : 1);
        assert_non_null(said);
        memcpy(said, known[i].said, n);
        if (answer_is(said, n, known[i].expected, false) != known[i].all ||
            answer_is(said, n, known[i].expected, true) != known[i].end)
            fail_msg("'%s' for '%s'", known[i].said, known[i].expected);
        free(said);
    }
}

/* A NUL is no white space, and ends nothing. */
static void test_nul_bytes(void **state)
{
    (void)state;
    assert_false(answer_is("ab\0", 3, "ab", false));
    assert_false(answer_is("\0ab", 3, "ab", false));
    assert_true(answer_is("\0, ab", 5, "ab", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_nul_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
