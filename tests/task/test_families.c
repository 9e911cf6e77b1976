/* Goal: facts say what the questions of their family ask.  Method: read the facts back with
 * code of this file's own: gold facts carry the answer, chains resolved by a little interpreter,
 * latest and multivalue answers from the order of facts, absent keys looked for in vain. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "frame_test.h"
#include "plan_test.h"

/* How many facts of the item hold the text, and whether fact g is one of them. */
static int n_holding(const loci_task_item *item, const char *text, int g, bool *g_holds)
{
    int n = 0;
    *g_holds = false;
    for (int i = 0; i < item->n_facts; i++)
        if (holds(item->fact[i].text, text)) {
            n++;
            *g_holds = *g_holds || i == g;
        }
    return n;
}

/* A value is stated once, by the gold fact; fact and question have a key in common. */
static void test_single_gold_families(void **state)
{
    (void)state;
    static const loci_task_family families[] = { LOCI_TASK_NEEDLE, LOCI_TASK_MULTIKEY, LOCI_TASK_KV,
                                                 LOCI_TASK_COPY };
    static char page[20000];
    loci_task_filler(5, sizeof page, page, sizeof page);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (int s = 0; s < 2; s++)
            for (uint64_t seed = 0; seed < SEEDS; seed++) {
                loci_task_options o = options(families[f], (loci_split)s, 20, 20, seed);
                if (seed % 2) o.text = page, o.text_bytes = strlen(page);
                loci_task_item item = make(&o);
                for (int i = 0; i < item.n_questions; i++) {
                    const loci_question *q = &item.question[i];
                    bool gold_holds;
                    assert_int_equal(q->n_gold, 1);
                    const int n = n_holding(&item, q->answer, q->gold[0], &gold_holds);
                    assert_true(gold_holds);
                    /* A single word may be part of another fact's key, three digits of a number, and
                     * passages of a small page overlap. */
                    if (n != 1 && strlen(q->answer) > 4 && !(o.text && strchr(q->answer, ' ')) &&
                        strspn(q->answer, LETTERS) != strlen(q->answer))
                        fail_msg("'%s' stands in %d facts", q->answer, n);
                    /* At least "user 12345", a mark or 8 hex digits in common. */
                    assert_true(common_run(item.fact[q->gold[0]].text, q->question) >= 3);
                }
                loci_task_free(&item);
            }
}

/* ---- several facts of one key ---------------------------------------------------------------- */

/* The facts of the group of fact g, in order. */
static int group_of(const loci_task_item *item, int g, int at[8])
{
    int n = 0;
    for (int i = 0; i < item->n_facts; i++)
        if (item->fact[i].group == item->fact[g].group) {
            assert_in_range(n, 0, 7);
            at[n++] = i;
        }
    return n;
}

static void test_multivalue_lists_all_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        loci_task_options o = options(LOCI_TASK_MULTIVALUE, (loci_split)(seed % 2), 15, 15, seed);
        loci_task_item item = make(&o);
        for (int i = 0; i < item.n_questions; i++) {
            const loci_question *q = &item.question[i];
            int at[8];
            assert_in_range(q->n_gold, 2, 4);
            assert_int_equal(group_of(&item, q->gold[0], at), q->n_gold);
            const char *rest = q->answer;
            for (int j = 0; j < q->n_gold; j++) {
                char value[64];
                const char *end = strstr(rest, ", ");
                const size_t len = end ? (size_t)(end - rest) : strlen(rest);
                assert_true(len < sizeof value);
                memcpy(value, rest, len);
                value[len] = '\0';
                assert_int_equal(at[j], q->gold[j]);
                assert_true(holds(item.fact[at[j]].text, value));
                assert_true((end == NULL) == (j == q->n_gold - 1));
                rest = end ? end + 2 : rest + len;
            }
        }
        loci_task_free(&item);
    }
}

static void test_latest_is_the_last_of_its_key(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        loci_task_options o = options(LOCI_TASK_LATEST, (loci_split)(seed % 2), 15, 15, seed);
        loci_task_item item = make(&o);
        for (int i = 0; i < item.n_questions; i++) {
            const loci_question *q = &item.question[i];
            int at[8];
            assert_int_equal(q->n_gold, 1);
            const int n = group_of(&item, q->gold[0], at);
            assert_in_range(n, 2, 3);
            assert_int_equal(q->gold[0], at[n - 1]);
            for (int j = 0; j < n; j++)
                assert_int_equal(holds(item.fact[at[j]].text, q->answer), j == n - 1);
        }
        loci_task_free(&item);
    }
}

/* A mark or a number into part[0] at {k}, part[1] at {v}. */
static size_t mark_at(void *ctx, char place, const char *text)
{
    char(*part)[32] = ctx;
    const size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    if (n == strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || n > 31) return 0;
    snprintf(part[place == 'v'], 32, "%.*s", (int)n, text);
    return n;
}

/* The variable of a statement and what it is set to: the same however the statement is read. */
static void marks(const char *text, loci_split s, char part[2][32])
{
    const loci_frames f = loci_speech_of(LOCI_SAY_ASSIGN, s).part[LOCI_WORDING_BODY];
    char small[256], one[2][32] = { "", "" };
    int n = 0;
    snprintf(small, sizeof small, "%s", text);
    small[0] = (char)(small[0] | 32);
    for (int i = 0; i < loci_frames_count(&f); i++) {
        if (!frame_expands(loci_frames_at(&f, i), text, mark_at, one) &&
            !frame_expands(loci_frames_at(&f, i), small, mark_at, one))
            continue;
        if (n++ > 0 && strcmp(part[0], one[0]) != 0) fail_msg("'%s' has two readings", text);
        memcpy(part, one, sizeof one);
    }
    if (n == 0) fail_msg("'%s' is no statement", text);
}

/* The only run of capitals and digits, both of them, in a question. */
static void mark_of(const char *question, char mark[32])
{
    int n = 0;
    for (const char *c = question; *c;) {
        const size_t len = strspn(c, LETTERS "0123456789");
        if (len > 0 && len < 32 && *c >= 'A' && *c <= 'Z' &&
            strspn(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == len &&
            strcspn(c, "0123456789") < len) {
            memcpy(mark, c, len);
            mark[len] = '\0';
            n++;
        }
        c += len > 0 ? len : 1;
    }
    if (n != 1) fail_msg("'%s': %d marks", question, n);
}

/* Run the statements up to the end and say what `name` is: the way there,
 * "X1, X0, 17". */
static const char *resolve(const loci_task_item *item, loci_split s, const char *name, int *n_steps,
                           int visited[8])
{
    static char way[8 * 32];
    char want[32];
    size_t n = 0;
    snprintf(want, sizeof want, "%s", name);
    way[0] = '\0';
    for (*n_steps = 0; *n_steps < 8;) {
        bool moved = false;
        for (int i = 0; i < item->n_facts && !moved; i++) {
            char part[2][32];
            const char *text = item->fact[i].text;
            marks(text, s, part);
            if (strcmp(part[0], want) != 0) continue;
            visited[(*n_steps)++] = i;
            snprintf(want, sizeof want, "%s", part[1]);
            n += (size_t)snprintf(way + n, sizeof way - n, "%s%s", n ? ", " : "", want);
            assert_true(n < sizeof way);
            moved = true;
        }
        if (!moved) break;
    }
    return way;
}

/* The last variable of each chain; in training, and where there are more questions than chains, each
 * depth of each chain, and none twice. */
static void test_chains_resolve(void **state)
{
    (void)state;
    int depths[6] = { 0 };
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int hops = 1; hops <= 5; hops++) {
            loci_task_options o = options(LOCI_TASK_VARIABLE, (loci_split)(seed % 2), 12, 12, seed);
            o.hops = hops;
            const bool all = seed % 3 == 0;
            if (all) o.n_questions = 12 * hops;
            loci_task_item item = make(&o);
            assert_int_equal(item.n_facts, 12 * (hops + 1));
            for (int i = 0; i < item.n_questions; i++) {
                const loci_question *q = &item.question[i];
                char mark[32];
                mark_of(q->question, mark);
                int visited[8], n;
                assert_string_equal(resolve(&item, o.wordings, mark, &n, visited), q->answer);
                assert_in_range(n, 2, hops + 1);
                if (seed % 2 && !all) assert_int_equal(n, hops + 1);
                depths[n - 1]++;
                for (int j = 0; j < i; j++)
                    assert_string_not_equal(q->question, item.question[j].question);
                assert_int_equal(q->n_gold, n);
                for (int j = 0; j < n; j++) assert_int_equal(q->gold[j], visited[j]);
                /* Every variable is set before it is used. */
                for (int j = 1; j < n; j++) assert_true(q->gold[j] < q->gold[j - 1]);
            }
            loci_task_free(&item);
        }
    for (int d = 1; d <= 5; d++) assert_true(depths[d] > 12 * SEEDS / 3);
}

/* A question names no key of the item, or a key with an attribute that it does not have; two fifths
 * are about a near-duplicate. */
static void test_absent_keys_are_absent(void **state)
{
    (void)state;
    int near = 0, all = 0, attribute = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        loci_task_options o = options(LOCI_TASK_ABSENT, (loci_split)(seed % 2), 30, 20, seed);
        loci_maker m;
        (void)plan(&m, &o);
        for (int u = 0; u < 20; u++) {
            const loci_question q = loci_maker_question(&m, u);
            assert_string_equal(q.answer, "not stated");
            assert_true(q.absent && q.n_gold == 0);
            bool named = false;
            for (int v = 0; v < m.n_units; v++) {
                if (!holds(q.question, m.unit[v].name[0])) continue;
                if (strcasestr(q.question, m.unit[v].attribute))
                    fail_msg("'%s' has an answer, %s", q.question, m.unit[v].value[0]);
                named = true;
            }
            attribute += named;
            /* "the amber falcon of " in common: a near-duplicate. */
            char stem[64];
            snprintf(stem, sizeof stem, "%s", m.unit[u].name[0]);
            if (m.unit[u].key.kind != LOCI_KEY_PLACE) continue;
            *strstr(stem, " of ") = '\0';
            near += !named && strcasestr(q.question, stem) != NULL;
            all++;
        }
        unplan(&m);
    }
    /* 2 of 5 are near, 7/8 of those keep adjective and noun: 0.35, and a little of the fifth whose
     * other attribute was there already.  5 deviations of n = 480. */
    assert_true(all > 300);
    const double share = (double)near / all, bound = 5 * sqrt(0.37 * 0.63 / all);
    assert_true(fabs(share - 0.37) < bound);
    assert_true(attribute > 20 * SEEDS / 10);
}

/* The share of absent questions in families that have others, and what they are about. */
static void test_some_questions_are_absent(void **state)
{
    (void)state;
    static const loci_task_family families[] = { LOCI_TASK_NEEDLE, LOCI_TASK_MULTIKEY, LOCI_TASK_KV,
                                                 LOCI_TASK_COPY };
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        int absent = 0, all = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            loci_task_options o = options(families[f], (loci_split)(seed % 2), 20, 20, seed);
            o.absent = 0.25f;
            loci_task_item item = make(&o);
            for (int i = 0; i < item.n_questions; i++) {
                const loci_question *q = &item.question[i];
                assert_int_equal(q->absent, strcmp(q->answer, "not stated") == 0);
                assert_int_equal(q->n_gold, !q->absent);
                absent += q->absent;
                all++;
            }
            loci_task_free(&item);
        }
        /* 5 deviations of a binomial with p = 1/4. */
        assert_true(fabs((double)absent / all - 0.25) < 5 * sqrt(0.25 * 0.75 / all));
    }
}

static void test_ordinals_count(void **state)
{
    (void)state;
    static const char *const nth[] = { "first", "second", "third" };
    int seen[3] = { 0 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        loci_task_options o = options(LOCI_TASK_ORDINAL, (loci_split)(seed % 2), 10, 10, seed);
        loci_task_item item = make(&o);
        for (int i = 0; i < item.n_questions; i++) {
            const loci_question *q = &item.question[i];
            int at[8];
            assert_int_equal(group_of(&item, q->gold[2], at), 3);
            for (int j = 0; j < 3; j++) {
                const bool asked = holds(item.fact[at[j]].text, q->answer);
                if (asked != (q->gold[2] == at[j]) &&
                    strspn(q->answer, LETTERS) != strlen(q->answer)) /* a word of the key */
                    fail_msg("'%s': '%s' in '%s'", q->question, q->answer, item.fact[at[j]].text);
                if (q->gold[2] != at[j]) continue;
                assert_true(asked && holds(q->question, nth[j]));
                seen[j]++;
            }
        }
        loci_task_free(&item);
    }
    assert_true(seen[0] > 50 && seen[1] > 50 && seen[2] > 50);
}

static void test_lists_join_four(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const int n = 1 + (int)seed % 9;
        loci_task_options o = options(LOCI_TASK_MULTIQUERY, (loci_split)(seed % 2), n, n, seed);
        loci_task_item item = make(&o);
        for (int i = 0; i < item.n_questions; i++) {
            const loci_question *q = &item.question[i];
            char answer[512];
            assert_int_equal(q->n_gold, n < 4 ? n : 4);
            snprintf(answer, sizeof answer, "%s", q->answer);
            char *part = answer;
            for (int j = 0; j < q->n_gold; j++) {
                char *end = strstr(part, ", ");
                if (end) *end = '\0';
                assert_true(holds(item.fact[q->gold[j]].text, part));
                part = end ? end + 2 : part;
            }
        }
        loci_task_free(&item);
    }
}

static void test_json_lines_make_one_object(void **state)
{
    (void)state;
    int uuids = 0, lengths = 0; /* objects of both, and a bit for each length of a key by 4 */
    for (int n = 1; n < 160; n += 3) {
        const loci_split half = n % 2 ? LOCI_SPLIT_TRAIN : LOCI_SPLIT_TEST;
        loci_task_options o = options(LOCI_TASK_KV, half, n, 1, (uint64_t)n);
        loci_task_item item = make(&o);
        for (int i = 0; i < n; i++) {
            char key[64], value[64], end[4] = "";
            const char *s = item.fact[i].text;
            assert_int_equal(item.fact[i].group, 0);
            assert_int_equal(*s == '{', i == 0);
            assert_int_equal(sscanf(s + (i == 0), "\"%63[^\"]\": \"%63[^\"]\"%3s", key, value, end),
                             3);
            assert_string_equal(end, i + 1 < n ? "," : "}");
            const int of_key = (int)strlen(key), of_value = (int)strlen(value);
            if (half == LOCI_SPLIT_TRAIN) lengths |= 1 << of_key / 4;
            if (half == LOCI_SPLIT_TEST) assert_true(of_key == 8 || of_key == 36);
            if (of_key == 36) assert_int_equal(key[8] + key[13] + key[18] + key[23], 4 * '-');
            uuids += i == 0 && of_key == 36 && of_value == 36 &&
                     strspn(value, "0123456789abcdef-") == 36;
            if (of_value == 36 && value[8] == '-' && value[13] == '-')
                assert_int_equal(half, LOCI_SPLIT_TRAIN);
        }
        loci_task_free(&item);
    }
    assert_int_equal(lengths, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8 | 1 << 9);
    assert_true(uuids > 2);
}

int main(void)
{
    print_message("seeds 0..%d\n", SEEDS - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_gold_families),
        cmocka_unit_test(test_multivalue_lists_all_in_order),
        cmocka_unit_test(test_latest_is_the_last_of_its_key),
        cmocka_unit_test(test_chains_resolve),
        cmocka_unit_test(test_absent_keys_are_absent),
        cmocka_unit_test(test_some_questions_are_absent),
        cmocka_unit_test(test_ordinals_count),
        cmocka_unit_test(test_lists_join_four),
        cmocka_unit_test(test_json_lines_make_one_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
