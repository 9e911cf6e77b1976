/* Goal: train and test share no word, name, attribute or frame of a wording, fresh wordings none with
 * either, and there are many wordings a family.  Method: enumerate all tables; draw many keys, marks,
 * attributes and values of each half and look for one that occurs in both; try to read each sentence
 * of a held-out set as an expansion of each frame of the sets before it. */
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

/* ---- wordings ------------------------------------------------------------------------ */

/* Expansion `choice` of one frame of one part, its places as they are. */
static void pattern(char text[256], loci_say say, loci_split s, loci_wording_part part, int frame,
                    int64_t choice)
{
    loci_wording w = { 0 };
    loci_line line = { 0 };
    w.frame[part] = frame;
    w.choice[part] = choice;
    /* Body 0 behind a lead or before a tail: cut off again. */
    loci_wording_pattern(&line, say, s, &w);
    loci_line body = { 0 };
    const loci_wording plain = { 0 };
    loci_wording_pattern(&body, say, s, &plain);
    const size_t n = part == LOCI_WORDING_BODY ? line.len : line.len - body.len;
    assert_true(n < 256);
    memcpy(text, part == LOCI_WORDING_TAIL ? line.s + body.len : line.s, n);
    text[n] = '\0';
}

/* A fact ends with what cannot be a part of its value. */
static void check_body(const char *p, loci_say say)
{
    const bool story = say == LOCI_SAY_MOVE || say == LOCI_SAY_GET || say == LOCI_SAY_DROP;
    const bool bare = say == LOCI_SAY_ASSIGN || say == LOCI_SAY_CLAUSE || story ||
                      say == LOCI_ASK_LIST || say == LOCI_ASK_JSON || say == LOCI_ASK_VARIABLE ||
                      say >= LOCI_ASK_CONFLICT;
    const char *key = strstr(p, "{k}");
    assert_int_equal(key == NULL, say == LOCI_SAY_BARE || say == LOCI_ASK_BARE);
    if (key) assert_null(strstr(key + 1, "{k}"));
    const bool value = say < LOCI_ASK || say == LOCI_ASK_NTH || say == LOCI_ASK_EARLIER;
    if ((strstr(p, "{v}") != NULL) != value) fail_msg("'%s': value", p);
    if (value) assert_null(strstr(strstr(p, "{v}") + 1, "{v}"));
    if ((strstr(p, "{a}") || strstr(p, "{s}")) == bare) fail_msg("'%s': attribute", p);
    const char last = p[strlen(p) - 1];
    if (strstr(p, "  ") || *p == ' ' || last == ' ') fail_msg("'%s': blanks", p);
    if (say < LOCI_ASK &&
        (loci_is_word_byte(last) || (last == '}' && loci_is_place(p + strlen(p) - 3))))
        fail_msg("'%s': no end", p);
}

/* Can the frame be expanded to the text?  Tried letter by letter, each choice in turn. */
static bool reads(const char *frame, const char *text)
{
    if (*frame == '\0') return *text == '\0';
    if (*frame != '[' && *frame != '<') {
        frame += *frame == '\\';
        return *frame == *text && reads(frame + 1, text + 1);
    }
    const bool named = *frame == '<';
    const char *one = named ? loci_frame_words(frame + 1) : frame + 1;
    const char *behind = strchr(frame, named ? '>' : ']') + 1;
    for (bool more = true; more;) {
        const size_t n = strcspn(one, "|]");
        if (strncmp(one, text, n) == 0 && reads(behind, text + n)) return true;
        more = one[n] == '|';
        one += n + 1;
    }
    return false;
}

/* In whatever role: is the text a lead, a body or a tail of the set? */
static bool is_said(const char *text, loci_split by)
{
    for (int say = 1; say < LOCI_SAYS; say++)
        for (int part = 0; part < LOCI_WORDING_PARTS; part++) {
            const loci_frames f = loci_speech_of((loci_say)say, by).part[part];
            for (int i = 0; i < loci_frames_count(&f); i++)
                if (reads(loci_frames_at(&f, i), text)) return true;
        }
    return false;
}

/* Tables of several files count as one, in the order they are joined in. */
static void test_tables_join(void **state)
{
    (void)state;
    static const char *const a[] = { "a", "b" }, *const b[] = { "c" }, *const c[] = { "d", "e" };
    static const loci_frames last = FRAMES(c), *const of_b[] = { &last, NULL };
    static const loci_frames middle = FRAMES_AND(b, of_b), *const of_a[] = { &middle, &last, NULL };
    static const loci_frames first = FRAMES_AND(a, of_a), alone = FRAMES(a);
    char all[8] = "";
    assert_int_equal(loci_frames_count(&alone), 2);
    assert_int_equal(loci_frames_count(&first), 7);
    for (int i = 0; i < 7; i++) strcat(all, loci_frames_at(&first, i));
    assert_string_equal(all, "abcdede");
}

enum { EXPANSIONS = 200 }; /* looked at of each frame */

/* One sentence of a set: it is well made, and no set before this one has it. */
static void check_sentence(const char *text, int i_set, loci_say say, loci_wording_part part, int f)
{
    if (part == LOCI_WORDING_BODY) check_body(text, say);
    if (*text == '\0') return; /* no lead, no tail */
    const loci_speech speech = loci_speech_of(say, sets[i_set]);
    if (!reads(loci_frames_at(&speech.part[part], f), text))
        fail_msg("'%s' is not read back", text);
    for (int before = 0; before < i_set; before++)
        if (is_said(text, sets[before])) fail_msg("'%s' is in sets %d and %d", text, before, i_set);
}

static void test_sets_share_no_frame(void **state)
{
    (void)state;
    int frames[SETS] = { 0 }, sentences[SETS] = { 0 };
    loci_rng rng;
    loci_rng_seed(&rng, 18);
    for (int i = 0; i < SETS; i++)
        for (int say = 1; say < LOCI_SAYS; say++)
            for (int part = 0; part < LOCI_WORDING_PARTS; part++) {
                const int n = loci_wording_frames((loci_say)say, sets[i], (loci_wording_part)part);
                assert_true(n > 0);
                frames[i] += n;
                for (int f = 0; f < n; f++) {
                    const int64_t all =
                        loci_wording_choices((loci_say)say, sets[i], (loci_wording_part)part, f);
                    for (int64_t c = 0; c < all && c < EXPANSIONS; c++, sentences[i]++) {
                        char text[256];
                        const int64_t choice =
                            all <= EXPANSIONS ? c : (int64_t)(loci_rng_u64(&rng) % (uint64_t)all);
                        pattern(text, (loci_say)say, sets[i], (loci_wording_part)part, f, choice);
                        check_sentence(text, i, (loci_say)say, (loci_wording_part)part, f);
                    }
                }
            }
    for (int i = 0; i < SETS; i++)
        print_message("set %d: %d frames, %d sentences looked at\n", i, frames[i], sentences[i]);
    assert_true(frames[0] > 1500 && sentences[1] > 700 && sentences[2] > 500);
}

/* As many as a careful author of a benchmark writes. */
static void test_fresh_frames(void **state)
{
    (void)state;
    for (int say = 1; say < LOCI_SAYS; say++)
        assert_in_range(loci_wording_frames((loci_say)say, LOCI_SPLIT_FRESH, LOCI_WORDING_BODY),
                        say == LOCI_SAY_FACT ? 30
                        : say == LOCI_ASK    ? 25
                                             : 8,
                        40);
}

static void test_wordings_are_many(void **state)
{
    (void)state;
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < SETS; s++) {
            int64_t sum = 0;
            for (const loci_say *say = loci_family_says((loci_task_family)f); *say; say++) {
                const int64_t n = loci_wording_count(*say, sets[s]);
                sum += n;
                if (*say >= LOCI_ASK) assert_true(n >= (s ? 100 : 10000));
                if (*say == LOCI_SAY_FACT) assert_true(n >= (s ? 200 : 1000000));
            }
            assert_true(loci_task_wordings((loci_task_family)f, sets[s]) == sum);
            assert_true(sum >= 100);
        }
    assert_true(loci_wording_frames(LOCI_SAY_FACT, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 600);
    assert_true(loci_wording_frames(LOCI_SAY_SEVERAL, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 180);
    assert_true(loci_wording_frames(LOCI_SAY_UPDATE, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 200);
    assert_true(loci_wording_frames(LOCI_ASK, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 100);
    for (int say = LOCI_SAY_ASSIGN; say <= LOCI_SAY_DROP; say++)
        assert_true(loci_wording_frames((loci_say)say, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 45);
    assert_int_equal(loci_task_wordings((loci_task_family)LOCI_TASK_COUNT, LOCI_SPLIT_TRAIN), 0);
    assert_int_equal(loci_task_wordings(LOCI_TASK_KV, (loci_split)7), 0);
}

static bool has_place(const char *s)
{
    for (; *s; s++)
        if (loci_is_place(s)) return true;
    return false;
}

static void test_wordings_fill_their_places(void **state)
{
    (void)state;
    const loci_say_args args = { .attribute = "access code",
                                 .key = "the amber falcon of Corvath",
                                 .value = "482913" };
    const loci_wording first = { 0 };
    loci_rng rng;
    loci_rng_seed(&rng, 15);
    loci_line line = { 0 };
    loci_wording_write(&line, LOCI_SAY_FACT, LOCI_SPLIT_TRAIN, &first, &args);
    assert_string_equal(line.s, "The access code of the amber falcon of Corvath is 482913.");
    loci_line_clear(&line);
    loci_wording_write(&line, LOCI_ASK_ALL, LOCI_SPLIT_TRAIN, &first, &args);
    assert_string_equal(line.s,
                        "What are all the access codes of the amber falcon of Corvath, in order?");
    /* A value is copied as it is, whatever it begins with. */
    const loci_say_args words = { "motto", "the amber falcon of Corvath", "the tall ship" };
    loci_line_clear(&line);
    loci_wording_fill(&line, "{v}: {a} of {k}.", &words);
    assert_string_equal(line.s, "the tall ship: motto of the amber falcon of Corvath.");
    /* A key at the start keeps its first letter; "the" may have a capital. */
    bool key_first = false;
    for (int k = 0; k < 3000; k++) {
        const loci_say_args mail = { "access code", "larkin@corvath.net", "482913" };
        const loci_say_args *a = k % 2 ? &args : &mail;
        const loci_wording w = loci_wording_draw(LOCI_SAY_FACT, LOCI_SPLIT_TRAIN, &rng);
        loci_line_clear(&line);
        loci_wording_write(&line, LOCI_SAY_FACT, LOCI_SPLIT_TRAIN, &w, a);
        assert_non_null(strstr(line.s, "ccess code"));
        assert_non_null(strstr(line.s, a->key + 1));
        assert_non_null(strstr(line.s, a->value));
        assert_false(has_place(line.s));
        if (strncmp(line.s, mail.key, strlen(mail.key)) == 0) key_first = true;
        assert_false(strncmp(line.s, "Larkin", 6) == 0);
    }
    assert_true(key_first);
    for (int say = 1; say < LOCI_SAYS; say++)
        for (int k = 0; k < 2000; k++) {
            const loci_split half = sets[k % SETS];
            const loci_wording w = loci_wording_draw((loci_say)say, half, &rng);
            loci_line_clear(&line);
            loci_wording_write(&line, (loci_say)say, half, &w, &args);
            const bool bare = say == LOCI_SAY_BARE || say == LOCI_ASK_BARE;
            assert_non_null(strstr(line.s, (bare ? args.attribute : args.key) + 1));
            if (has_place(line.s)) fail_msg("'%s' has a place left", line.s);
        }
}

/* Plain sentences: few, without leads and tails, none of the test half's, all values of old kinds. */
static void test_plain(void **state)
{
    (void)state;
    loci_error err = { 0 };
    assert_int_equal(loci_wording_count(LOCI_SAY_FACT, LOCI_SPLIT_PLAIN), 11);
    assert_int_equal(loci_wording_count(LOCI_ASK, LOCI_SPLIT_PLAIN), 10);
    assert_int_equal(loci_wording_count(LOCI_SAY_MARKED, LOCI_SPLIT_PLAIN),
                     loci_wording_count(LOCI_SAY_MARKED, LOCI_SPLIT_TRAIN));
    loci_task_options o = loci_task_options_default();
    o.wordings = LOCI_SPLIT_PLAIN;
    o.names = LOCI_SPLIT_TEST;
    o.n_facts = o.n_questions = 400;
    loci_task_item item;
    assert_int_equal(loci_task_make(&item, &o, &err), LOCI_OK);
    for (int i = 0; i < item.n_questions; i++) {
        const char *q = item.question[i].question;
        assert_true(strncmp(q, "What ", 5) == 0 || strncmp(q, "Which ", 6) == 0 ||
                    strncmp(q, "Give the ", 9) == 0 || strncmp(q, "Can you name the ", 17) == 0 ||
                    strncmp(q, "Tell me the ", 12) == 0);
        assert_null(strpbrk(q, "\":"));
        bool old = false;
        for (int kind = 0; kind < LOCI_VALUE_PERSON; kind++)
            for (int a = 0; a < 4; a++)
                old = old || strstr(q, loci_attribute((loci_value_kind)kind, LOCI_SPLIT_TRAIN, a));
        assert_true(old);
    }
    loci_task_free(&item);
}

int main(void)
{
    print_message("seeds 11..18\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_stand_once),
        cmocka_unit_test(test_draws_reach_their_half_and_all_of_it),
        cmocka_unit_test(test_halves_share_no_name),
        cmocka_unit_test(test_parts_of_keys_keep_their_half),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attributes_of_training_are_open),
        cmocka_unit_test(test_value_shapes),
        cmocka_unit_test(test_words_are_many),
        cmocka_unit_test(test_tables_join),
        cmocka_unit_test(test_sets_share_no_frame),
        cmocka_unit_test(test_fresh_frames),
        cmocka_unit_test(test_wordings_are_many),
        cmocka_unit_test(test_wordings_fill_their_places),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
