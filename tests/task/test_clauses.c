/* Goal: clauses that contradict each other do, in many ways, and the others do not.  Method: the maker's own
 * plan; the facts of each unit read as they are said. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "loci/loci.h"
#include "plan_test.h"

/* A mark of training is no part of what the unit's clauses say, nor of its other marks. */
static void check_marks(const loci_unit *unit)
{
    for (int i = 0; i < unit->n_facts; i++)
        for (int j = 0; j < unit->n_facts; j++) {
            assert_null(strstr(unit->value[j], unit->name[i]));
            if (i != j) assert_null(strstr(unit->name[j], unit->name[i]));
        }
}

/* The answer ends in the mark of the other fact about the same thing, and both cannot hold; training
 * has clauses about it that contradict neither. */
static void test_clauses_contradict(void **state)
{
    (void)state;
    int single[2] = { 0 }, all[2] = { 0 }, in_steps = 0, bystanders = 0, lookalikes = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        loci_task_options o = options(LOCI_TASK_CONFLICT, (loci_split)(seed % 2), 12, 12, seed);
        loci_maker m;
        (void)plan(&m, &o);
        for (int u = 0; u < m.n_units; u++) {
            loci_unit *unit = &m.unit[u];
            const bool test = seed % 2;
            for (int j = 0; j < unit->n_facts; j++) unit->at[j] = 3 * u + j;
            if (!test) check_marks(unit);
            bystanders += unit->bystander >= 0;
            const bool crowd = unit->bystander >= 0, pair = unit->n_facts - crowd == 2;
            assert_in_range(unit->n_facts, 1, 3);
            assert_true(unit->bystander < unit->n_facts);
            if (test) assert_false(crowd);
            const loci_question q = loci_clauses_question(&m, unit);
            all[test]++;
            single[test] += q.absent;
            if (!crowd) assert_int_equal(q.absent, unit->n_facts == 1);
            if (!pair) assert_true(q.absent);
            if (q.absent) {
                lookalikes += crowd;
                if (crowd && pair)
                    assert_true(holds(q.question, unit->name[unit->bystander]) ||
                                strstr(q.question, unit->value[unit->bystander] + 1));
                assert_string_equal(q.answer, LOCI_NOT_STATED);
                continue;
            }
            const int asked = q.gold[0] - 3 * u, other = q.gold[1] - 3 * u;
            assert_int_equal(asked + other + (unit->bystander < 0 ? 0 : unit->bystander),
                             unit->bystander < 0 ? 1 : 3);
            assert_int_not_equal(asked, other);
            /* Asked by a mark, it says first what that clause is about, in the clause's words. */
            const char *step = strstr(q.answer, ", "), *mark = step ? step + 2 : q.answer;
            assert_int_equal(step != NULL, holds(q.question, unit->name[asked]));
            assert_string_equal(mark, unit->name[other]);
            char about[64] = "";
            if (step) snprintf(about, sizeof about, "%.*s", (int)(step - q.answer), q.answer);
            for (int j = 0; step && j < unit->n_facts; j++)
                assert_true(holds(unit->value[j], about));
            in_steps += step != NULL;
            assert_string_not_equal(unit->value[asked], unit->value[other]);
            /* "The falcon permit ..." may begin the question, with a capital. */
            assert_true(holds(q.question, unit->name[asked]) ||
                        strstr(q.question, unit->value[asked] + 1));
            assert_false(holds(q.question, mark));
            if (test) assert_true(common_run(unit->value[0], unit->value[1]) > 10);
        }
        unplan(&m);
    }
    const int n = all[0] + all[1];
    print_message("unopposed %d of %d, %d of %d; %d beside another\n", single[0], all[0], single[1],
                  all[1], lookalikes);
    assert_true(in_steps > n / 3 && in_steps < 2 * n / 3);
    assert_true(bystanders > n / 20 && lookalikes > all[0] / 20);
    /* A fifth in training and a third of the bystanders beside pairs, 3/4 x 4/5 x 1/6 of the units; a
     * sixth in the test half: 5 deviations. */
    const double share[2] = { 0.2 + 0.1 / 3, 1.0 / 6 };
    for (int s = 0; s < 2; s++)
        assert_true(fabs((double)single[s] / all[s] - share[s]) <
                    5 * sqrt(share[s] * (1 - share[s]) / all[s]));
}

/* Sides of every kind: both about the subject, different, in full sentences, without a word of the test
 * half's grammar, and in thousands of ways. */
static void test_clashes_are_of_many_kinds(void **state)
{
    (void)state;
    enum { CLASHES = 4000, KINDS = 64 };
    static const char *const test[] = { "invoice",   "shipment", "lease",    "warranty",
                                        "loan",      "claim",    "sample",   "ticket",
                                        "cancelled", "shipped",  "archived", "refunded",
                                        "published", "weighed",  "divided",  "sold" };
    int seen[KINDS] = { 0 }, kinds = 0, many = 0, alike = 0;
    loci_task_options o = options(LOCI_TASK_CONFLICT, LOCI_SPLIT_TRAIN, 1, 1, 3);
    loci_string_set all;
    loci_maker m;
    (void)plan(&m, &o);
    assert_true(loci_set_open(&all, 2 * CLASHES));
    for (int i = 0; i < CLASHES; i++) {
        const char *side[2];
        const int but = i % 40, kind = loci_clash_draw(&m, "falcon permit", but, side);
        assert_in_range(kind, 0, KINDS - 1);
        assert_int_not_equal(kind, but);
        kinds += seen[kind]++ == 0;
        assert_string_not_equal(side[0], side[1]);
        alike += common_run(side[0], side[1]) > 20;
        for (int j = 0; j < 2; j++) {
            assert_true(holds(side[j], "falcon permit"));
            assert_null(strpbrk(side[j], "{}[]<>|\".;"));
            assert_null(strstr(side[j], "  "));
            assert_int_not_equal(side[j][strlen(side[j]) - 1], ' ');
            for (size_t w = 0; w < sizeof test / sizeof *test; w++)
                if (holds(side[j], test[w])) fail_msg("'%s'", side[j]);
            many += loci_set_add(&all, side[j]);
        }
    }
    print_message("%d kinds, %d sentences in %d, %d of %d pairs in much the same words\n", kinds,
                  many, 2 * CLASHES, alike, CLASHES);
    assert_true(kinds >= 40 && many > CLASHES);
    assert_true(alike > CLASHES / 4 && alike < CLASHES * 3 / 4);
    loci_set_close(&all);
    unplan(&m);
}

int main(void)
{
    print_message("seeds 0..%d\n", SEEDS - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clauses_contradict),
        cmocka_unit_test(test_clashes_are_of_many_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
