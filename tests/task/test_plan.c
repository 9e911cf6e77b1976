/* Goal: names and values of an item are distinct, near-duplicates as many as asked for.  Method: the maker's
 * own plan, keys compared part by part. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "plan_test.h"

/* Letters in which two names differ; 99 for names of different lengths. */
static int letters_apart(const char *a, const char *b)
{
    int n = 0;
    if (strlen(a) != strlen(b)) return 99;
    for (; *a; a++, b++) n += *a != *b;
    return n;
}

static int digits_apart(uint32_t a, uint32_t b)
{
    int n = 0;
    for (; a > 0; a /= 10, b /= 10) n += a % 10 != b % 10;
    return n;
}

static bool near_keys(const loci_key *a, const loci_key *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == LOCI_KEY_USER) return digits_apart(a->number, b->number) == 1;
    if (a->kind == LOCI_KEY_PROJECT || a->kind == LOCI_KEY_EMAIL)
        return letters_apart(a->name[0], b->name[0]) == 1 && strcmp(a->name[1], b->name[1]) == 0;
    return (a->word[0] != b->word[0]) + (a->word[1] != b->word[1]) + (a->number != b->number) +
               (strcmp(a->name[0], b->name[0]) != 0) + (strcmp(a->name[1], b->name[1]) != 0) ==
           1;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void assert_distinct(const char **text, int n)
{
    qsort(text, (size_t)n, sizeof *text, compare_text);
    for (int i = 1; i < n; i++) assert_string_not_equal(text[i - 1], text[i]);
}

static void test_names_and_values_are_distinct(void **state)
{
    (void)state;
    enum { N = LOCI_TASK_MAX_FACTS };
    static const char *name[N * LOCI_UNIT_FACTS], *value[N * LOCI_UNIT_VALUES];
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < 2; s++) {
            if (f >= LOCI_TASK_EXTRACT) continue; /* texts and stories, not units */
            loci_task_options o = options((loci_task_family)f, (loci_split)s, N, 1, 77);
            o.hops = 5;
            loci_maker m;
            int n_names = 0, n_values = 0, n = plan(&m, &o);
            for (int u = 0; u < m.n_units; u++) {
                for (int j = 0; j < LOCI_UNIT_FACTS && m.unit[u].name[j]; j++) {
                    /* The same key with another attribute stands beside its first. */
                    const bool again =
                        u > 0 && j == 0 && m.unit[u].name[0] == m.unit[u - 1].name[0];
                    if (again && s == LOCI_SPLIT_TEST)
                        assert_int_not_equal(m.unit[u].kind, m.unit[u - 1].kind);
                    if (again) assert_null(strstr(m.unit[u].attribute, m.unit[u - 1].attribute));
                    if (!again) name[n_names++] = m.unit[u].name[j];
                }
                for (int j = 0; j < LOCI_UNIT_VALUES && m.unit[u].value[j]; j++)
                    value[n_values++] = m.unit[u].value[j];
                n -= m.unit[u].n_facts;
            }
            assert_int_equal(n, 0);
            assert_true(n_names >= N - N / 4 && n_values >= N);
            assert_distinct(name, n_names);
            assert_distinct(value, n_values);
            unplan(&m);
        }
}

static void test_near_duplicates(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int share = 0; share <= 4; share++)
            for (int f = 0; f < 2; f++) {
                loci_task_options o = options(f ? LOCI_TASK_MULTIKEY : LOCI_TASK_NEEDLE,
                                              (loci_split)(seed % 2), 36, 1, seed);
                o.near_duplicate = (float)share / 4;
                loci_maker m;
                (void)plan(&m, &o);
                int n = 0;
                for (int u = 0; u < m.n_units; u++) {
                    bool near = false;
                    /* Groups stand next to each other in the plan and have at most 4 members. */
                    for (int v = u > 3 ? u - 3 : 0; v < m.n_units && v <= u + 3; v++)
                        near = near || (v != u && (near_keys(&m.unit[u].key, &m.unit[v].key)
                                                       ? m.unit[u].attribute == m.unit[v].attribute
                                                       : m.unit[u].name[0] == m.unit[v].name[0]));
                    n += near;
                }
                assert_int_equal(n, f ? 36 : 9 * share);
                unplan(&m);
            }
}

int main(void)
{
    print_message("seeds 0..%d\n", SEEDS - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_values_are_distinct),
        cmocka_unit_test(test_near_duplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
