/* Goal: train and test share no frame of a wording, fresh wordings none with either, and there are many
 * wordings a family.  Method: enumerate all tables; try to read each sentence of a held-out set as an
 * expansion of each frame of the sets before it. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "task/frames.h"

/* Training and the held-out sets of wordings. */
static const loci_split sets[] = { LOCI_SPLIT_TRAIN, LOCI_SPLIT_TEST, LOCI_SPLIT_FRESH };
enum { SETS = sizeof sets / sizeof *sets };

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
    assert_true(loci_wording_frames(LOCI_SAY_FACT, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 1500);
    assert_true(loci_wording_frames(LOCI_SAY_SEVERAL, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 430);
    assert_true(loci_wording_frames(LOCI_SAY_UPDATE, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 450);
    assert_true(loci_wording_frames(LOCI_SAY_BARE, LOCI_SPLIT_TRAIN, LOCI_WORDING_BODY) >= 180);
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
    print_message("seeds 15, 18\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_join),
        cmocka_unit_test(test_sets_share_no_frame),
        cmocka_unit_test(test_fresh_frames),
        cmocka_unit_test(test_wordings_are_many),
        cmocka_unit_test(test_wordings_fill_their_places),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
