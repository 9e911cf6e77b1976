/* Goal: the expressions of a tokenizer of the DeepSeek form cut words as the public library does, and hold no
 * text up.
 * Method: words worked out by hand from the three rules; patterns and texts that make a matcher without
 * limits run for years. */
#include "deepseek_fixture.h"

enum { SEED = 20260424 };

/* ---- words ------------------------------------------------------------------------------ */

typedef struct {
    char text[4096]; /* words with '|' between them */
    size_t n;
} word_list;

static bool add_word(void *ctx, const unsigned char *word, size_t n)
{
    word_list *w = ctx;
    if (w->n + n + 2 > sizeof w->text) return false;
    if (w->n > 0) w->text[w->n++] = '|';
    memcpy(w->text + w->n, word, n);
    w->n += n;
    return true;
}

/* '|' marks where words end; no text here holds one itself. */
static const char *const split_cases[] = {
    /* numbers, at most three digits */
    "123|456|7",
    "a|1|b|22|c",
    "3|.|14",
    "\xd9\xa1\xd9\xa2\xd9\xa3|\xd9\xa4", /* Arabic-Indic */
    "1\xc2\xbd"
    "2|\xe2\x85\xa7", /* one half, roman eight: categories No and Nl */
    /* Chinese and Japanese */
    "\xe4\xbd\xa0\xe5\xa5\xbd|\xef\xbc\x8c|\xe4\xb8\x96\xe7\x95\x8c",
    "abc|\xe4\xb8\xad\xe6\x96\x87|abc",
    "\xe4\xb8\xad|1|\xe6\x96\x87",
    " |\xe4\xb8\xad",                         /* its own blank stays outside */
    "\xe3\x82\xab|\xe3\x83\xbb|\xe3\x82\xab", /* U+30FB is in the run, then punctuation */
    "\xe9\xbe\xa5|\xe9\xbe\xa6",              /* U+9FA6 is one too far */
    /* a mark of ASCII punctuation takes the Latin letters behind it */
    "'abc|.def|/|\xc3\xa9",
    ".abc|\xc3\xa9",
    "it|'s",
    "..|abc",
    " .|abc",
    "a|_b|_|1",
    "</|think|>",
    "\xe2\x80\x94|abc", /* not of ASCII */
    /* letters and marks with one character before them */
    "Hello| world",
    "a| | b| c",
    "\tx",
    "e\xcc\x81t\xc3\xa9",
    "a| \xcc\x81"
    "b",
    "\x01"
    "abc",
    "\xe2\x80\x8b"
    "abc", /* U+200B, category Cf */
    "a\xcd\x85",
    /* punctuation and symbols with a blank before and line ends behind */
    "x| ==",
    "a| ==\n\n|b",
    ");\n\n\n|   | x",
    "ok|!\r\n\r\n|a",
    "\xf0\x9f\x98\x80\n|a",
    "a|.| | b",
    /* white space */
    "a|\n|b",
    "a|  \n\n| | b",
    "a| \n \n|b",
    "a|   | b",
    "a|   ",
    "a|\n\n",
    "  \n| | .",
    "a|\xe3\x80\x80",
    " |\xe1\xa0\x8e", /* U+180E is no white space here, whatever PCRE2 says */
    /* bytes that are no UTF-8 are a word; each side is alone */
    "a|\xff\xfe|b",
    "a|  |\xff| b",
    "12|\x80|3",
    "\xe4\xb8|a",
    "a|\xed\xa0\x80|b",
};

static void check_words(loci_split_run *r, const char *marked)
{
    loci_error err = { 0 };
    word_list got = { .n = 0 };
    char text[256];
    size_t len = 0;
    for (const char *c = marked; *c != '\0'; c++)
        if (*c != '|') text[len++] = *c;
    MUST(loci_split_words(r, (const unsigned char *)text, len, add_word, &got, &err));
    got.text[got.n] = '\0';
    if (strcmp(got.text, marked) != 0) fail_msg("words are [%s], expected [%s]", got.text, marked);
}

static void test_words(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_tokenizer *t = ds_tokenizer();
    loci_split_run *r = NULL;
    MUST(loci_split_run_open(&r, t->split, &err));
    for (size_t i = 0; i < sizeof split_cases / sizeof *split_cases; i++)
        check_words(r, split_cases[i]);
    loci_split_run_close(r);
    loci_tokenizer_close(t);
}

/* The expressions that a GGUF file names cut as those of the file do. */
static void test_named_expressions(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_string name[256];
    unsigned char kind[256] = { 0 };
    char letter[256][4];
    for (int k = 0; k < 256; k++) {
        ds_letter(loci_byte_in_order(k), letter[k]);
        name[k] = (loci_string){ letter[k], strlen(letter[k]) };
    }
    loci_vocab_lists lists = { .tokens = name, .kind = kind, .n_tokens = 256, .pre = "joyai-llm" };
    loci_tokenizer *t = NULL, *file = ds_tokenizer();
    MUST(loci_tokenizer_from_lists(&t, &lists, "lists", &err));
    loci_split_run *r[2] = { NULL, NULL };
    MUST(loci_split_run_open(&r[0], t->split, &err));
    MUST(loci_split_run_open(&r[1], file->split, &err));
    for (size_t i = 0; i < sizeof split_cases / sizeof *split_cases; i++)
        check_words(r[0], split_cases[i]);
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    static const char *const more[] = {
        "\xe4\xb8\xad", "\xe3\x82\xab", "\xcc\x81", "!", "~x", "[y", "`z", "@q", "}}", ":", "A", "0"
    };
    for (int k = 0; k < 4000; k++) {
        char text[512];
        size_t len = tricky_text(&rng, 12, text, 256);
        for (int j = 0; j < 4; j++) {
            const char *piece = more[loci_rng_below(&rng, sizeof more / sizeof *more)];
            memcpy(text + len, piece, strlen(piece));
            len += strlen(piece);
        }
        word_list got = { .n = 0 }, want = { .n = 0 };
        MUST(loci_split_words(r[0], (unsigned char *)text, len, add_word, &got, &err));
        MUST(loci_split_words(r[1], (unsigned char *)text, len, add_word, &want, &err));
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.text, want.text, got.n);
    }
    for (int i = 0; i < 2; i++) loci_split_run_close(r[i]);
    loci_tokenizer_close(t);
    loci_tokenizer_close(file);
}

/* ---- limits ----------------------------------------------------------------------------- */

static loci_status open_pattern(loci_splitter **s, const char *pattern, loci_error *err)
{
    const loci_string p = { pattern, strlen(pattern) };
    return loci_splitter_open(s, &p, 1, "file", err);
}

static void test_refused_patterns(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",    "(",   "a*",          "a|", "^",  "(?=a)", "[a",    "\\", "x{2,1}", "\\p{Nonsense}",
        "\\C", "a??", "(?<=a\\K)b|", "*",  "(a", "\\b",   "(?R)?",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        loci_error err = { 0 };
        loci_splitter *s = (loci_splitter *)&err;
        if (open_pattern(&s, bad[i], &err) != LOCI_EFORMAT || strstr(err.text, "split 0") == NULL)
            fail_msg("pattern %s: expected a refusal, got \"%s\"", bad[i], err.text);
        assert_null(s);
    }
    char deep[512];
    memset(deep, '(', 200);
    memset(deep + 200, 'a', 1);
    memset(deep + 201, ')', 200);
    deep[401] = '\0';
    loci_error err = { 0 };
    loci_splitter *s = NULL;
    assert_int_equal(open_pattern(&s, deep, &err), LOCI_EFORMAT);
    char *longer = malloc(LOCI_SPLIT_PATTERN_BYTES_MAX + 2);
    memset(longer, 'a', LOCI_SPLIT_PATTERN_BYTES_MAX + 1);
    longer[LOCI_SPLIT_PATTERN_BYTES_MAX + 1] = '\0';
    loci_error err2 = { 0 };
    assert_int_equal(open_pattern(&s, longer, &err2), LOCI_EFORMAT);
    assert_non_null(strstr(err2.text, "4097 bytes"));
    free(longer);
}

/* Each takes exponential or high polynomial time on this text without a limit.  With one, the
 * text is refused; that this test ends is the point. */
static void test_patterns_that_explode(void **state)
{
    (void)state;
    static const char *const pattern[] = { "(?:a+)+[bc]",  "(?:a|aa)+[bc]", "a*a*a*a*a*a*[bc]",
                                           "(?:a+)+?[bc]", "(a*)*[bc]",     "(?:(?:a?){30})[bc]" };
    enum { LEN = 20000 };
    char *text = malloc(LEN);
    memset(text, 'a', LEN);
    for (size_t i = 0; i < sizeof pattern / sizeof *pattern; i++) {
        loci_error err = { 0 };
        loci_splitter *s = NULL;
        loci_split_run *r = NULL;
        MUST(open_pattern(&s, pattern[i], &err));
        MUST(loci_split_run_open(&r, s, &err));
        word_list w = { .n = 0 };
        const loci_status st = loci_split_words(r, (unsigned char *)text, LEN, add_word, &w, &err);
        assert_int_equal(st, LOCI_EINVAL);
        assert_non_null(strstr(err.text, "takes too long at byte"));
        loci_split_run_close(r);
        loci_splitter_close(s);
    }
    free(text);
}

static bool count_word(void *ctx, const unsigned char *word, size_t n)
{
    size_t *bytes = ctx;
    (void)word;
    *bytes += n;
    return true;
}

/* Runs of a million characters of each kind go through the three real expressions. */
static void test_long_runs(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    static const char *const unit[] = { " ",
                                        "\n",
                                        " \n",
                                        "a",
                                        "1",
                                        ".",
                                        "\xe4\xb8\xad",
                                        "\xcc\x81",
                                        "\t ",
                                        "<",
                                        ".a",
                                        "\xff",
                                        "\xf0\x9f\x98\x80",
                                        "\xc2\x85" };
    loci_error err = { 0 };
    loci_tokenizer *t = ds_tokenizer();
    loci_split_run *r = NULL;
    MUST(loci_split_run_open(&r, t->split, &err));
    char *text = malloc(N + 8);
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        size_t len = 0, bytes = 0;
        for (const size_t n = strlen(unit[i]); len + n <= N; len += n)
            memcpy(text + len, unit[i], n);
        text[len++] = 'x';
        MUST(loci_split_words(r, (unsigned char *)text, len, count_word, &bytes, &err));
        assert_int_equal(bytes, len);
    }
    free(text);
    loci_split_run_close(r);
    loci_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_named_expressions),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_patterns_that_explode),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
