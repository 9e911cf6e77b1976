/* test_noise.c - how training's sentences are disturbed.
 *
 * Goal: what is disturbed is the sentence and never what fills it; words that others stand for come as often
 * as they should, and where words count they do not come at all.
 * Method: many draws of every kind, beside the same wording undisturbed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <ctype.h>

#include "task/task_impl.h"

enum { DRAWS = 6000, PAGE = 4096 };

static const loci_say_args args = { "zuvin qoxal", "project Wexil", "482913" };

/* Made-up text to take words and phrases from. */
static loci_lexicon page(void)
{
    static char text[PAGE];
    const size_t n = loci_task_filler(7, PAGE, text, sizeof text);
    return (loci_lexicon){ text, n };
}

static int count(const char *line, const char *what)
{
    int n = 0;
    for (const char *at = line; (at = strstr(at, what)) != NULL; at++) n++;
    return n;
}

static void lower(char *s)
{
    for (; *s; s++) *s = (char)tolower((unsigned char)*s);
}

/* Does every word of `plain` stand in `line`?  Both in small letters. */
static bool has_words(const char *plain, const char *line)
{
    char word[LOCI_LINE_MAX];
    for (const char *c = plain; *c;) {
        size_t n = 0;
        while (isalpha((unsigned char)c[n])) n++;
        memcpy(word, c, n);
        word[n] = '\0';
        bool found = n == 0;
        for (const char *at = line; !found && (at = strstr(at, word)) != NULL; at++)
            found =
                (at == line || !isalpha((unsigned char)at[-1])) && !isalpha((unsigned char)at[n]);
        if (!found) return false;
        c += n ? n : 1;
    }
    return true;
}

/* Share of draws whose line lacks a word of its wording. */
static double lacking(loci_say say)
{
    const loci_lexicon lex = page();
    int n = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        loci_rng rng;
        loci_rng_seed(&rng, seed);
        const loci_wording w = loci_wording_draw(say, LOCI_SPLIT_TRAIN, &rng);
        loci_line plain = { 0 }, line = { 0 };
        loci_wording_write(&plain, say, LOCI_SPLIT_TRAIN, &w, &args);
        loci_noisy_write(&line, say, &w, &args, &rng, &lex);
        lower(plain.s);
        lower(line.s);
        n += !has_words(plain.s, line.s);
    }
    return (double)n / DRAWS;
}

/* A misspelt word is lacking, too: four in a hundred. */
static void test_shares(void **state)
{
    (void)state;
    static const loci_say strange[] = { LOCI_SAY_FACT, LOCI_SAY_SEVERAL, LOCI_ASK };
    static const loci_say left_alone[] = { LOCI_SAY_UPDATE, LOCI_ASK_LATEST, LOCI_ASK_NTH,
                                           LOCI_ASK_ALL };
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        const double share = lacking(strange[i]);
        print_message("  kind %d: a word is lacking in %.3f\n", (int)strange[i], share);
        assert_true(share > 0.08 && share < 0.22);
    }
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++) {
        const double share = lacking(left_alone[i]);
        print_message("  kind %d: a word is lacking in %.3f\n", (int)left_alone[i], share);
        assert_true(share < 0.05);
    }
}

static void test_what_fills_a_sentence_stays(void **state)
{
    (void)state;
    static const loci_say say[] = { LOCI_SAY_FACT, LOCI_SAY_SEVERAL, LOCI_SAY_UPDATE, LOCI_SAY_BARE,
                                    LOCI_ASK,      LOCI_ASK_BARE,    LOCI_ASK_ALL };
    const loci_lexicon lex = page();
    for (size_t i = 0; i < sizeof say / sizeof *say; i++)
        for (uint64_t seed = 0; seed < DRAWS; seed++) {
            loci_rng rng;
            loci_rng_seed(&rng, seed);
            const loci_wording w = loci_wording_draw(say[i], LOCI_SPLIT_TRAIN, &rng);
            loci_line plain = { 0 }, line = { 0 };
            loci_wording_write(&plain, say[i], LOCI_SPLIT_TRAIN, &w, &args);
            loci_noisy_write(&line, say[i], &w, &args, &rng, &lex);
            const bool same =
                count(line.s, args.key) == count(plain.s, args.key) &&
                count(line.s, args.value) == count(plain.s, args.value) &&
                count(line.s, args.attribute + 1) == count(plain.s, args.attribute + 1);
            if (!same) fail_msg("kind %d: \"%s\" became \"%s\"", (int)say[i], plain.s, line.s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_shares),
                                        cmocka_unit_test(test_what_fills_a_sentence_stays) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
