/* Goal: train and test share no word, name, attribute or wording, and there are at least 200
 * wordings a family.  Method: enumerate all tables; draw many keys, marks and values of each
 * half and look for one that occurs in both. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "task/task_impl.h"

enum { DRAWS = 30000, MAX_TEXTS = 3000 };

static bool in_set(const loci_string_set *set, const char *s)
{
    const uint64_t h = loci_string_hash(s);
    for (size_t i = (size_t)h & set->mask; set->slot[i] != 0; i = (i + 1) & set->mask)
        if (set->slot[i] == h) return true;
    return false;
}

static loci_string_set open_set(size_t n)
{
    loci_string_set set;
    assert_true(loci_set_open(&set, n));
    return set;
}

/* ---- words and names ------------------------------------------------------------- */

static void test_words_stand_once(void **state)
{
    (void)state;
    loci_string_set all = open_set(2000);
    for (int c = 0; c < LOCI_WORD_CLASSES; c++) {
        const int n = loci_word_count((loci_word_class)c);
        int n_test = 0;
        assert_true(n >= 200);
        for (int i = 0; i < n; i++) {
            const char *w = loci_word((loci_word_class)c, i);
            assert_int_equal(strspn(w, "abcdefghijklmnopqrstuvwxyz"), strlen(w));
            assert_in_range(strlen(w), 3, 12);
            if (!loci_set_add(&all, w)) fail_msg("'%s' stands twice", w);
            n_test += loci_word_split(i) == LOCI_SPLIT_TEST;
        }
        assert_in_range(n_test, 70, n / 2);
    }
    loci_set_close(&all);
}

static void test_draws_reach_their_half_and_all_of_it(void **state)
{
    (void)state;
    loci_rng rng;
    loci_rng_seed(&rng, 11);
    for (int c = 0; c < LOCI_WORD_CLASSES; c++)
        for (int s = 0; s < 2; s++) {
            int hits[1000] = { 0 };
            for (int k = 0; k < DRAWS; k++) {
                const int i = loci_word_draw((loci_word_class)c, &rng, (loci_split)s);
                assert_in_range(i, 0, loci_word_count((loci_word_class)c) - 1);
                hits[i]++;
            }
            for (int i = 0; i < loci_word_count((loci_word_class)c); i++)
                assert_int_equal(hits[i] > 0, (int)loci_word_split(i) == s);
        }
}

typedef void write_fn(loci_line *line, loci_rng *rng, loci_split split);

static void write_key(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_key key;
    loci_key_draw(&key, rng, split);
    for (uint32_t i = loci_rng_below(rng, 3); i > 0; i--) loci_key_near(&key, rng, split);
    loci_key_write(line, &key);
}

static void write_hex(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_hex_name_write(line, rng, split, false);
}

static void write_passage(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_value_write(line, LOCI_VALUE_PASSAGE, rng, split);
}

static void write_words(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_value_write(line, LOCI_VALUE_WORDS, rng, split);
}

static void test_halves_share_no_name(void **state)
{
    (void)state;
    static write_fn *const writers[] = { write_key, loci_mark_write, write_hex, write_passage,
                                         write_words };
    for (size_t w = 0; w < sizeof writers / sizeof *writers; w++) {
        loci_rng rng;
        loci_line line;
        loci_string_set train = open_set(DRAWS);
        loci_rng_seed(&rng, 12 + w);
        for (int k = 0; k < 2 * DRAWS; k++) {
            const bool is_train = k < DRAWS;
            loci_line_clear(&line);
            writers[w](&line, &rng, is_train ? LOCI_SPLIT_TRAIN : LOCI_SPLIT_TEST);
            if (is_train)
                (void)loci_set_add(&train, line.s);
            else if (in_set(&train, line.s))
                fail_msg("writer %zu: '%s' is in both halves", w, line.s);
        }
        loci_set_close(&train);
    }
}

/* The parts of keys too: no city, person, file word or number of one half in the other. */
static void test_parts_of_keys_keep_their_half(void **state)
{
    (void)state;
    loci_rng rng;
    loci_rng_seed(&rng, 13);
    int kinds[LOCI_KEY_KINDS] = { 0 };
    for (int k = 0; k < DRAWS; k++) {
        const loci_split s = (loci_split)(k % 2);
        loci_key key, near;
        loci_key_draw(&key, &rng, s);
        near = key;
        loci_key_near(&near, &rng, s);
        assert_int_equal(near.kind, key.kind);
        loci_line a = { 0 }, b = { 0 };
        loci_key_write(&a, &key);
        loci_key_write(&b, &near);
        assert_string_not_equal(a.s, b.s);
        kinds[key.kind]++;
        for (int i = 0; i < 2; i++) {
            if (key.name[i][0]) assert_int_equal(loci_name_split(near.name[i]), s);
            if (key.name[i][0]) assert_int_equal(loci_name_split(key.name[i]), s);
            assert_true(strlen(near.name[i]) < LOCI_NAME_MAX - 1);
        }
        if (key.kind == LOCI_KEY_PLACE)
            for (int i = 0; i < 2; i++) assert_int_equal(loci_word_split(near.word[i]), s);
        if (key.kind == LOCI_KEY_USER) assert_in_range(near.number, 10000, 99999);
        if (key.kind == LOCI_KEY_FILE) assert_int_equal(loci_word_split(near.word[0]), s);
    }
    /* 60 % places, 8 % each of the others; 5 deviations of a binomial: 425 and 235. */
    for (int i = 0; i < LOCI_KEY_KINDS; i++)
        assert_in_range(abs(kinds[i] - (i == LOCI_KEY_PLACE ? 60 : 8) * DRAWS / 100), 0,
                        i == LOCI_KEY_PLACE ? 425 : 235);
}

static void test_attributes(void **state)
{
    (void)state;
    loci_string_set all = open_set(200);
    for (int kind = 0; kind < LOCI_VALUE_KINDS; kind++)
        for (int s = 0; s < 2; s++) {
            assert_true(loci_attribute_count((loci_value_kind)kind, (loci_split)s) >= 3);
            for (int i = 0; i < loci_attribute_count((loci_value_kind)kind, (loci_split)s); i++) {
                const char *a = loci_attribute((loci_value_kind)kind, (loci_split)s, i);
                if (!loci_set_add(&all, a)) fail_msg("'%s' stands twice", a);
                assert_null(strchr("sxyz", a[strlen(a) - 1]) &&
                                    strcmp(a + strlen(a) - 3, "key") != 0
                                ? a
                                : NULL);
            }
        }
    loci_set_close(&all);
}

static void test_value_shapes(void **state)
{
    (void)state;
    loci_rng rng;
    loci_rng_seed(&rng, 14);
    for (int k = 0; k < DRAWS; k++)
        for (int kind = 0; kind < LOCI_VALUE_KINDS; kind++) {
            char tail[8] = "";
            int a = 0, b = 0;
            loci_line line = { 0 };
            loci_value_write(&line, (loci_value_kind)kind, &rng, (loci_split)(k % 2));
            const size_t hex = strspn(line.s, "0123456789abcdef");
            const size_t digits = strspn(line.s, "0123456789");
            switch (kind) {
            case LOCI_VALUE_DIGITS:
                assert_in_range(line.len, 6, 7);
                assert_true(digits == line.len && line.s[0] != '0');
                break;
            case LOCI_VALUE_HEX: assert_true(hex == 16 && line.len == 16); break;
            case LOCI_VALUE_AMOUNT:
                assert_int_equal(sscanf(line.s, "%d,%3d%7s", &a, &b, tail), 3);
                assert_string_equal(tail, "euros");
                assert_int_equal(strchr(line.s, ' ') - strchr(line.s, ','), 4);
                break;
            case LOCI_VALUE_DATE:
                assert_int_equal(sscanf(line.s, "%d %*s %d", &a, &b), 2);
                assert_true(a >= 1 && a <= 28 && b >= 1950 && b < 2050);
                break;
            case LOCI_VALUE_WORDS: assert_non_null(strchr(line.s, '-')); break;
            default: assert_true(line.len >= 3 && digits == 0); break;
            }
        }
}

/* ---- wordings ------------------------------------------------------------------------ */

/* All patterns of one table, in capital letters as they are written. */
static int patterns(char text[][192], loci_task_family f, loci_split s, loci_say role)
{
    const int n = loci_wording_count(f, s, role);
    assert_in_range(n, 0, MAX_TEXTS);
    for (int i = 0; i < n; i++) {
        loci_line line = { 0 };
        loci_wording_write(&line, f, s, role, i, NULL);
        assert_true(line.len < 192);
        memcpy(text[i], line.s, line.len + 1);
    }
    return n;
}

static void check_pattern(const char *p, loci_say role, loci_task_family f)
{
    const bool attribute = strstr(p, "{a}") || strstr(p, "{s}");
    assert_true(p[0] >= 'A' || p[0] == '{');
    if (p[0] == '{') assert_true(p[1] == 'a' && f == LOCI_TASK_COPY);
    assert_non_null(strstr(p, "{k}"));
    assert_null(strstr(strstr(p, "{k}") + 1, "{k}"));
    assert_int_equal(strstr(p, "{v}") != NULL, role != LOCI_SAY_QUESTION);
    assert_int_equal(attribute, f != LOCI_TASK_KV && f != LOCI_TASK_VARIABLE);
    assert_null(strstr(p, "  "));
}

static void test_wordings_are_many_and_apart(void **state)
{
    (void)state;
    static char text[MAX_TEXTS][192];
    for (int f = 0; f < LOCI_TASK_COUNT; f++) {
        loci_string_set all = open_set(8 * MAX_TEXTS);
        for (int s = 0; s < 2; s++) {
            int n_all = 0;
            for (int role = 0; role < LOCI_SAY_ROLES; role++) {
                const int n = patterns(text, (loci_task_family)f, (loci_split)s, (loci_say)role);
                n_all += n;
                /* One set for both halves and all roles: nothing stands twice anywhere. */
                for (int i = 0; i < n; i++) {
                    check_pattern(text[i], (loci_say)role, (loci_task_family)f);
                    if (!loci_set_add(&all, text[i])) fail_msg("'%s' stands twice", text[i]);
                }
                if (role == LOCI_SAY_QUESTION) assert_true(n >= 200);
                if (role == LOCI_SAY_FACT && f != LOCI_TASK_KV && f != LOCI_TASK_COPY &&
                    f != LOCI_TASK_VARIABLE)
                    assert_true(n >= 200);
            }
            assert_int_equal(loci_task_wordings((loci_task_family)f, (loci_split)s), n_all);
        }
        loci_set_close(&all);
    }
    assert_int_equal(loci_task_wordings((loci_task_family)LOCI_TASK_COUNT, LOCI_SPLIT_TRAIN), 0);
    assert_int_equal(loci_task_wordings(LOCI_TASK_KV, (loci_split)7), 0);
}

/* Across families too: no test body or lead is one of training's.  Bodies are the wordings
 * without lead; a lead is what stands before a known body. */
static void test_test_frames_never_occur_in_training(void **state)
{
    (void)state;
    static char text[MAX_TEXTS][192];
    loci_string_set train = open_set(40000);
    for (int s = 0; s < 2; s++)
        for (int f = 0; f < LOCI_TASK_COUNT; f++)
            for (int role = 0; role < LOCI_SAY_ROLES; role++) {
                const int n = patterns(text, (loci_task_family)f, (loci_split)s, (loci_say)role);
                int n_body = 1;
                /* Bodies without a lead come first; the first with a lead ends like the first. */
                while (n_body < n &&
                       (strlen(text[n_body]) <= strlen(text[0]) ||
                        strcmp(text[n_body] + strlen(text[n_body]) - strlen(text[0]) + 1,
                               text[0] + 1)))
                    n_body++;
                for (int i = 0; i < n; i++) {
                    char frame[192];
                    const size_t len =
                        strlen(text[i]) - (i < n_body ? 0 : strlen(text[i % n_body]));
                    memcpy(frame, text[i], len);
                    frame[len] = '\0';
                    if (s == 0)
                        (void)loci_set_add(&train, i < n_body ? text[i] : frame);
                    else if (in_set(&train, i < n_body ? text[i] : frame))
                        fail_msg("'%s' is in both halves", i < n_body ? text[i] : frame);
                }
            }
    loci_set_close(&train);
}

static void test_wordings_fill_their_places(void **state)
{
    (void)state;
    const loci_say_args args = { .attribute = "access code",
                                 .key = "the amber falcon of Corvath",
                                 .value = "482913" };
    loci_rng rng;
    loci_rng_seed(&rng, 15);
    loci_line line = { 0 };
    loci_wording_write(&line, LOCI_TASK_NEEDLE, LOCI_SPLIT_TRAIN, LOCI_SAY_FACT, 0, &args);
    assert_string_equal(line.s, "The access code of the amber falcon of Corvath is 482913.");
    loci_line_clear(&line);
    loci_wording_write(&line, LOCI_TASK_MULTIVALUE, LOCI_SPLIT_TRAIN, LOCI_SAY_QUESTION, 0, &args);
    assert_string_equal(line.s,
                        "What are all the access codes of the amber falcon of Corvath, in order?");
    for (int k = 0; k < 1000; k++) {
        const int i = loci_wording_draw(LOCI_TASK_LATEST, LOCI_SPLIT_TEST, LOCI_SAY_UPDATE, &rng);
        assert_in_range(i, 0,
                        loci_wording_count(LOCI_TASK_LATEST, LOCI_SPLIT_TEST, LOCI_SAY_UPDATE) - 1);
        loci_line_clear(&line);
        loci_wording_write(&line, LOCI_TASK_LATEST, LOCI_SPLIT_TEST, LOCI_SAY_UPDATE, i, &args);
        assert_non_null(strstr(line.s, args.attribute));
        assert_non_null(strstr(line.s, args.key));
        assert_non_null(strstr(line.s, args.value));
        assert_null(strpbrk(line.s, "{}"));
    }
}

int main(void)
{
    print_message("seeds 11..15\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_stand_once),
        cmocka_unit_test(test_draws_reach_their_half_and_all_of_it),
        cmocka_unit_test(test_halves_share_no_name),
        cmocka_unit_test(test_parts_of_keys_keep_their_half),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_value_shapes),
        cmocka_unit_test(test_wordings_are_many_and_apart),
        cmocka_unit_test(test_test_frames_never_occur_in_training),
        cmocka_unit_test(test_wordings_fill_their_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
