/* Goal: train and test share no word, name, attribute or value.  Method: enumerate all tables; draw many
 * keys, marks, attributes and values of each half and look for one that occurs in both. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "task/frames.h"

enum { DRAWS = 30000 };
/* Training and the held-out sets of wordings. */
static const loci_split sets[] = { LOCI_SPLIT_TRAIN, LOCI_SPLIT_TEST, LOCI_SPLIT_FRESH };
enum { SETS = sizeof sets / sizeof *sets };

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

static const loci_lexicon no_text = { NULL, 0 };

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
    loci_hex_name_write(line, rng, split, (int)loci_rng_below(rng, 5) * 8);
}

static void write_passage(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_value_write(line, LOCI_VALUE_PASSAGE, rng, split, &no_text);
}

static void write_words(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_value_write(line, LOCI_VALUE_WORDS, rng, split, &no_text);
}

static void write_word(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_value_write(line, LOCI_VALUE_WORD, rng, split, &no_text);
}

static void write_code(loci_line *line, loci_rng *rng, loci_split split)
{
    loci_value_write(line, LOCI_VALUE_CODE, rng, split, &no_text);
}

static void test_halves_share_no_name(void **state)
{
    (void)state;
    static write_fn *const writers[] = {
        write_key,   loci_mark_write, write_hex,  write_passage,
        write_words, write_word,      write_code, loci_person_write
    };
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
    loci_string_set all = open_set(1000);
    for (int kind = 0; kind < LOCI_VALUE_KINDS; kind++)
        for (int i_set = 0; i_set < SETS; i_set++) {
            const loci_split s = sets[i_set];
            assert_true(loci_attribute_count((loci_value_kind)kind, s) >= 3);
            for (int i = 0; i < loci_attribute_count((loci_value_kind)kind, s); i++) {
                const char *a = loci_attribute((loci_value_kind)kind, s, i);
                if (!loci_set_add(&all, a)) fail_msg("'%s' stands twice", a);
                if (loci_attribute_is_test(a) != (s != LOCI_SPLIT_TRAIN))
                    fail_msg("'%s' of set %d has a held-out one in it, or is none", a, i_set);
                /* A plain "s" makes the plural: not of "-s", "-x", "-z", nor of "-ty". */
                const char *end = a + strlen(a) - 1;
                assert_null(strchr("sxz", *end));
                assert_true(*end != 'y' || strchr("aeo", end[-1]));
            }
        }
    loci_set_close(&all);
}

/* The halves meet nowhere: no attribute of training has one of the test half or a test word in it,
 * and there are thousands of them, many for values of any kind. */
static void test_attributes_of_training_are_open(void **state)
{
    (void)state;
    static char page[40000];
    const loci_lexicon lex = { page, loci_task_filler(3, sizeof page, page, sizeof page) };
    loci_string_set seen = open_set(DRAWS), test = open_set(2000);
    loci_rng rng;
    int many = 0;
    loci_rng_seed(&rng, 17);
    for (int k = 0; k < DRAWS; k++) {
        loci_line line = { 0 };
        loci_attribute_write(&line, (loci_value_kind)(k % LOCI_VALUE_KINDS), &rng,
                             k % 2 ? LOCI_SPLIT_TEST : LOCI_SPLIT_FRESH, &lex);
        assert_true(loci_attribute_is_test(line.s));
        (void)loci_set_add(&test, line.s);
    }
    for (int k = 0; k < DRAWS; k++) {
        loci_line line = { 0 };
        char word[32];
        loci_attribute_write(&line, (loci_value_kind)(k % LOCI_VALUE_KINDS), &rng, LOCI_SPLIT_TRAIN,
                             k % 3 ? &lex : &no_text);
        assert_false(loci_attribute_is_test(line.s) || in_set(&test, line.s));
        assert_in_range(line.len, 3, 40);
        many += loci_set_add(&seen, line.s);
        for (const char *c = line.s; *c; c += *c != '\0') { /* word by word */
            const size_t n = strspn(c, "abcdefghijklmnopqrstuvwxyz");
            assert_true(n < sizeof word);
            memcpy(word, c, n);
            word[n] = '\0';
            if (loci_word_is_test(word)) fail_msg("'%s' holds a test word", line.s);
            c += n;
        }
    }
    print_message("%d attributes in %d draws\n", many, DRAWS);
    assert_true(many > DRAWS / 2);
    loci_set_close(&seen);
    loci_set_close(&test);
}

/* Values of the test half have the shapes that figures were measured with; those of training vary. */
static void test_value_shapes(void **state)
{
    (void)state;
    loci_rng rng;
    loci_rng_seed(&rng, 14);
    for (int k = 0; k < DRAWS; k++)
        for (int kind = 0; kind < LOCI_VALUE_KINDS; kind++) {
            char tail[8] = "";
            int a = 0, b = 0, c = 0;
            loci_line line = { 0 };
            const bool test = k % 2;
            loci_value_write(&line, (loci_value_kind)kind, &rng, (loci_split)test, &no_text);
            const size_t hex = strspn(line.s, "0123456789abcdef");
            const size_t digits = strspn(line.s, "0123456789");
            switch (kind) {
            case LOCI_VALUE_DIGITS:
                assert_in_range(line.len, test ? 6 : 3, test ? 7 : 10);
                assert_true(digits == line.len && line.s[0] != '0');
                break;
            case LOCI_VALUE_HEX:
                assert_true(hex == line.len);
                assert_in_range(line.len, test ? 16 : 8, test ? 16 : 32);
                break;
            case LOCI_VALUE_AMOUNT:
                assert_int_equal(sscanf(line.s, "%d,%3d%7s", &a, &b, tail), 3);
                if (test) assert_string_equal(tail, "euros");
                assert_int_equal(strchr(line.s, ' ') - strchr(line.s, ','), 4);
                break;
            case LOCI_VALUE_DATE:
                if (sscanf(line.s, "%4d-%2d-%2d", &b, &c, &a) == 3)
                    assert_true(!test && c >= 1 && c <= 12 && line.len == 10);
                else
                    assert_int_equal(sscanf(line.s, "%d %*s %d", &a, &b), 2);
                assert_true(a >= 1 && a <= 28 && b >= 1950 && b < 2050);
                break;
            case LOCI_VALUE_TIME:
                assert_int_equal(sscanf(line.s, "%d:%2d", &a, &b), 2);
                assert_true(a < 24 && b < 60);
                break;
            case LOCI_VALUE_CODE: assert_non_null(strchr(line.s, '-')); break;
            case LOCI_VALUE_WORDS: assert_non_null(strpbrk(line.s, "-_. ")); break;
            default: assert_true(line.len >= 2 && digits == 0); break;
            }
        }
}

/* The vocabulary of training is open: most words are met once or twice, and test words never. */
static void test_words_are_many(void **state)
{
    (void)state;
    enum { WORDS = 4000 };
    static char page[40000];
    loci_rng rng;
    loci_rng_seed(&rng, 16);
    const loci_lexicon lex = { page, loci_task_filler(2, sizeof page, page, sizeof page) };
    loci_string_set seen = open_set(WORDS);
    int many = 0;
    for (int i = 0; i < WORDS; i++) {
        loci_line line = { 0 };
        loci_value_write(&line, LOCI_VALUE_WORD, &rng, LOCI_SPLIT_TRAIN, i % 2 ? &lex : &no_text);
        assert_false(loci_word_is_test(line.s));
        many += loci_set_add(&seen, line.s);
    }
    loci_set_close(&seen);
    assert_true(many > WORDS / 3);
    for (int c = 0; c < LOCI_WORD_CLASSES; c++)
        for (int i = 0; i < loci_word_count((loci_word_class)c); i++)
            assert_int_equal(loci_word_is_test(loci_word((loci_word_class)c, i)),
                             loci_word_split(i) == LOCI_SPLIT_TEST);
}

int main(void)
{
    print_message("seeds 11..17\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_stand_once),
        cmocka_unit_test(test_draws_reach_their_half_and_all_of_it),
        cmocka_unit_test(test_halves_share_no_name),
        cmocka_unit_test(test_parts_of_keys_keep_their_half),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attributes_of_training_are_open),
        cmocka_unit_test(test_value_shapes),
        cmocka_unit_test(test_words_are_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
