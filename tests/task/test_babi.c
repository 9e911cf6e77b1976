/* Goal: files of stories become items, and broken ones are refused by line.  Method: a small file
 * written here; each kind of fault. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "items.h"

static const char stories[] = "1 Ann went to the barn.\n"
                              "2 Bob moved to the loft.\n"
                              "3 Where is Ann? \tbarn\t1\n"
                              "4 Ann ran to the yard.\r\n"
                              "5 Where is Ann?\tyard\t4\n"
                              "\n"
                              "1 Cid took the jug.\n"
                              "2 Cid went to the mill.\n"
                              "3 Where is the jug? \tmill\t1 2";

static void test_items(void **state)
{
    (void)state;
    loci_task_list list;
    loci_error err = { 0 };
    assert_int_equal(loci_task_read_babi(&list, stories, strlen(stories), "s", &err), LOCI_OK);
    assert_int_equal(list.n, 3);
    static const int n_facts[] = { 2, 3, 2 }, last[] = { 0, 2, 1 };
    static const char *const answer[] = { "barn", "yard", "mill" };
    for (int i = 0; i < 3; i++) {
        const loci_question *q = list.item[i].question;
        assert_int_equal(list.item[i].n_facts, n_facts[i]);
        assert_string_equal(q->answer, answer[i]);
        assert_int_equal(q->gold[q->n_gold - 1], last[i]);
        assert_true(holds(list.item[i].fact[last[i]].text, answer[i]));
    }
    assert_string_equal(list.item[0].question->question, "Where is Ann?");
    assert_string_equal(list.item[1].fact[2].text, "Ann ran to the yard.");
    assert_int_equal(list.item[2].question->n_gold, 2);
    loci_task_list_free(&list);
    loci_task_list_free(&list); /* twice is fine */
}

static void refuse(const char *text, size_t n, const char *line, const char *what)
{
    loci_task_list list;
    loci_error err = { 0 };
    assert_int_equal(loci_task_read_babi(&list, text, n, "my.txt", &err), LOCI_EFORMAT);
    if (!strstr(err.text, "my.txt") || !strstr(err.text, line) || !strstr(err.text, what))
        fail_msg("'%s' does not name %s, %s", err.text, line, what);
    assert_true(list.n == 0 && list.item == NULL);
}

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line, *what;
    } bad[] = {
        { "", "line 1", "no question" },
        { "1 Ann went.\n", "line 2", "no question" },
        { "Ann went.\n", "line 1", "number" },
        { "1\n", "line 1", "number" },
        { "0 Ann went.\n", "line 1", "number" },
        { "1 Ann went.\n2 \tbarn\t1\n", "line 2", "empty" },
        { "1 Ann went.\n2 Where? \t\t1\n", "line 2", "without an answer" },
        { "1 Ann went.\n2 Where? \tbarn\n", "line 2", "no sentence" },
        { "1 Ann went.\n2 Where? \tbarn\t7\n", "line 2", "not told" },
        { "1 Ann went.\n2 Where? \tbarn\tx\n", "line 2", "not told" },
        { "1 Ann went.\n2 Where? \tbarn\t1 1 1 1 1 1 1 1 1\n", "line 2", "more than 8" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(bad[i].text, strlen(bad[i].text), bad[i].line, bad[i].what);
    refuse("1 A\0b.\n", 7, "line 1", "NUL");
    char *many = malloc(40000);
    size_t n = 0;
    assert_non_null(many);
    for (int i = 0; i < 1025; i++) n += (size_t)sprintf(many + n, "%d Ann went on.\n", i + 1);
    refuse(many, n, "line 1025", "1,024");
    memset(many, 'a', 1000);
    memcpy(many, "1 ", 2);
    refuse(many, 1000, "line 1", "400");
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
