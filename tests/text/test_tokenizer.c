/* Goal: text becomes the ids that the public library gives, and comes back byte for byte.
 * Method: golden cases of that library; a plain quadratic merge loop as a second opinion on
 * words of any length; random texts of pieces on the borders of the rules, valid and not. */
#include "text_fixture.h"
#include <jansson.h>

enum { SEED = 20240607 };

typedef struct {
    loci_tokenizer *t;
    loci_encoder *e;
} pair;

static pair open_small(void)
{
    loci_error err = { 0 };
    pair p = { small_tokenizer(), NULL };
    MUST(loci_encoder_open(&p.e, p.t, &err));
    return p;
}

/* A vocabulary of merges inside tricky texts: runs of white space, broken characters. */
static pair open_tricky(void)
{
    enum { TEXT_MAX = 60000 };
    loci_error err = { 0 };
    char *text = malloc(TEXT_MAX);
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    size_t len = 0;
    while (len < TEXT_MAX - 512) len += tricky_text(&rng, 40, text + len, 512);
    pair p = { train_on(text, len, 1500), NULL };
    free(text);
    MUST(loci_encoder_open(&p.e, p.t, &err));
    return p;
}

static void close_pair(pair p)
{
    loci_encoder_close(p.e);
    loci_tokenizer_close(p.t);
}

/* ---- golden ------------------------------------------------------------------ */

static void check_case(loci_encoder *e, const char *line, int number)
{
    loci_error err = { 0 };
    json_t *root = json_loads(line, JSON_ALLOW_NUL, NULL);
    const json_t *text = json_object_get(root, "text"), *want = json_object_get(root, "ids");
    assert_true(json_is_string(text) && json_is_array(want));
    const size_t len = json_string_length(text);
    int32_t *ids = malloc((len + 1) * sizeof *ids);
    size_t n = 0;
    MUST(loci_encode(e, json_string_value(text), len, ids, NULL, len, &n, &err));
    bool same = n == json_array_size(want);
    for (size_t i = 0; i < n && same; i++)
        same = ids[i] == json_integer_value(json_array_get(want, i));
    if (!same) fail_msg("case %d: other ids than the public library: %.300s", number, line);
    free(ids);
    json_decref(root);
}

static void test_golden_cases(void **state)
{
    (void)state;
    loci_error err = { 0 };
    pair p;
    MUST(loci_tokenizer_open(&p.t, GOLDEN "tokenizer.json", &err));
    MUST(loci_encoder_open(&p.e, p.t, &err));
    FILE *f = fopen(GOLDEN "cases.jsonl", "r");
    assert_non_null(f);
    char *line = NULL;
    size_t cap = 0;
    int n = 0;
    while (getline(&line, &cap, f) > 0) check_case(p.e, line, ++n);
    assert_true(n >= 100);
    free(line);
    fclose(f);
    close_pair(p);
}

/* ---- words -------------------------------------------------------------------- */

/* The words of a text, marked by '|' between them. */
static void test_word_ends(void **state)
{
    (void)state;
    static const char *const split[] = {
        "Hello| world",
        "a|  | b",
        "a| |5",
        "  |5",
        "a|\n|b",
        "a|\n|\n|b",
        "a|\n\n\n",
        "x| \n| y",
        "I|'m| you|'re|'s|'",
        "don|'t|s",
        "'|Sx",
        "1|2|3|abc|4",
        "a| |1| |2",
        " -|1",
        "...| ...|\n",
        "a|\xc2\xa0|b",
        "\xd9\xa3|\xc2\xbd|x",
        "\xff\xfe|a| \xff",
        "a|\xe0\x81\x81|b",
        "\xc3\xa9t\xc3\xa9| \xe6\x97\xa5",
        "''|s|'ll|ama",
    };
    for (size_t i = 0; i < sizeof split / sizeof *split; i++) {
        char text[64], got[128];
        size_t len = 0, n = 0;
        for (const char *c = split[i]; *c != '\0'; c++)
            if (*c != '|') text[len++] = *c;
        for (size_t pos = 0; pos < len;) {
            const size_t end = loci_word_end((const unsigned char *)text, len, pos);
            if (pos > 0) got[n++] = '|';
            memcpy(got + n, text + pos, end - pos);
            n += end - pos;
            pos = end;
        }
        got[n] = '\0';
        assert_string_equal(got, split[i]);
    }
}

/* Merge the lowest-ranked pair, leftmost first, until none is left. */
static size_t merge_plainly(const loci_tokenizer *t, const char *word, size_t n, int32_t *ids)
{
    for (size_t i = 0; i < n; i++) ids[i] = t->byte_id[(unsigned char)word[i]];
    for (;;) {
        uint32_t best = LOCI_NO_MERGE;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const uint32_t rank = loci_merge_rank(t, (uint32_t)ids[i], (uint32_t)ids[i + 1]);
            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == LOCI_NO_MERGE) return n;
        ids[at] = t->merges[best].id;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

static void test_merges_against_plain_loop(void **state)
{
    (void)state;
    static const char letters[] = "lowernstid-";
    loci_error err = { 0 };
    const pair p = open_small();
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    print_message("seed %d\n", SEED);
    for (int round = 0; round < 4000; round++) {
        char word[300];
        int32_t want[300], got[300];
        const size_t len = 1 + loci_rng_below(&rng, round % 10 == 0 ? 300 : 16);
        const bool dashes = round % 3 == 0; /* long runs of one character */
        for (size_t i = 0; i < len; i++)
            word[i] = dashes ? '-' : letters[loci_rng_below(&rng, sizeof letters - 2)];
        size_t n = 0;
        const size_t n_want = merge_plainly(p.t, word, len, want);
        MUST(loci_encode(p.e, word, len, got, NULL, len, &n, &err));
        if (n != n_want || memcmp(got, want, n * sizeof *got) != 0)
            fail_msg("round %d: \"%.*s\"", round, (int)len, word);
    }
    close_pair(p);
}

/* Ten megabytes without a space must not take quadratic time: the test's time limit and a
 * count of the ids stand guard. */
static void test_long_word(void **state)
{
    (void)state;
    enum { LEN = 10 << 20 };
    loci_error err = { 0 };
    const pair p = open_small();
    char *text = malloc(LEN);
    int32_t *ids = malloc(LEN * sizeof *ids);
    for (size_t i = 0; i < LEN; i++) text[i] = "newestlower"[i % 11];
    size_t n = 0;
    MUST(loci_encode(p.e, text, LEN, ids, NULL, LEN, &n, &err));
    assert_in_range(n, LEN / 11, LEN / 2);
    free(text);
    free(ids);
    close_pair(p);
}

/* ---- round trips ---------------------------------------------------------------- */

static void check_round_trip(pair p, const char *text, size_t len)
{
    loci_error err = { 0 };
    int32_t ids[512];
    uint32_t ends[512];
    char back[512];
    size_t n = 0, n_back = 0;
    assert_true(len <= 512);
    MUST(loci_encode(p.e, text, len, ids, ends, len, &n, &err));
    MUST(loci_decode(p.t, ids, n, back, len, &n_back, &err));
    assert_int_equal(n_back, len);
    assert_memory_equal(back, text, len);
    size_t pos = 0;
    for (size_t i = 0; i < n; i++) {
        size_t size = 0;
        const char *bytes = loci_token_bytes(p.t, ids[i], &size);
        assert_true(ids[i] >= LOCI_TOK_SPECIALS && size > 0);
        assert_memory_equal(bytes, text + pos, size);
        pos += size;
        assert_int_equal(ends[i], pos);
    }
    assert_int_equal(pos, len);
}

static void test_round_trip(void **state)
{
    (void)state;
    const pair p = open_tricky();
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 1);
    print_message("seed %d\n", SEED + 1);
    char text[512];
    for (int round = 0; round < 10000; round++) {
        size_t len = loci_rng_below(&rng, 200);
        for (size_t i = 0; i < len; i++) text[i] = (char)loci_rng_below(&rng, 256);
        check_round_trip(p, text, len);
        len = tricky_text(&rng, 40, text, sizeof text);
        check_round_trip(p, text, len);
    }
    close_pair(p);
}

static void test_empty_text(void **state)
{
    (void)state;
    loci_error err = { 0 };
    const pair p = open_small();
    size_t n = 7;
    MUST(loci_encode(p.e, NULL, 0, NULL, NULL, 0, &n, &err));
    assert_int_equal(n, 0);
    n = 7;
    MUST(loci_decode(p.t, NULL, 0, NULL, 0, &n, &err));
    assert_int_equal(n, 0);
    assert_int_equal(loci_encode_safe_cut("", 0, 0), 0);
    close_pair(p);
}

static void test_specials_are_plain_text(void **state)
{
    (void)state;
    loci_error err = { 0 };
    const pair p = open_small();
    for (int i = 0; i < LOCI_TOK_SPECIALS; i++) {
        const char *name = loci_special_name(i);
        check_round_trip(p, name, strlen(name));
        size_t n = 7;
        loci_token_bytes(p.t, i, &n);
        assert_int_equal(n, 0);
    }
    const int32_t ids[] = { LOCI_TOK_BOS, p.t->byte_id['x'], LOCI_TOK_PAD, 15, p.t->byte_id['y'] };
    char out[8];
    size_t n = 0;
    MUST(loci_decode(p.t, ids, 5, out, sizeof out, &n, &err));
    assert_int_equal(n, 2);
    assert_memory_equal(out, "xy", 2);
    close_pair(p);
}

/* ---- cuts ------------------------------------------------------------------------- */

static void test_safe_cut(void **state)
{
    (void)state;
    loci_error err = { 0 };
    const pair p = open_tricky();
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 2);
    print_message("seed %d\n", SEED + 2);
    size_t n_cuts = 0, n_none = 0;
    for (int round = 0; round < 3000; round++) {
        char text[512];
        int32_t whole[512], parts[512];
        const size_t len = tricky_text(&rng, 30, text, sizeof text);
        size_t n = 0, n_left = 0, n_right = 0;
        MUST(loci_encode(p.e, text, len, whole, NULL, len, &n, &err));
        for (size_t limit = 1; limit <= len; limit++) {
            const size_t cut = loci_encode_safe_cut(text, len, limit);
            assert_true(cut <= limit);
            if (cut == 0) {
                n_none++;
                continue;
            }
            n_cuts++;
            MUST(loci_encode(p.e, text, cut, parts, NULL, cut, &n_left, &err));
            MUST(loci_encode(p.e, text + cut, len - cut, parts + n_left, NULL, len - n_left,
                             &n_right, &err));
            if (n_left + n_right != n || memcmp(parts, whole, n * sizeof *parts) != 0)
                fail_msg("round %d: cut at %zu of %zu bytes changes ids", round, cut, len);
        }
    }
    assert_true(n_none * 4 < n_cuts); /* it may not find them rarely */
    close_pair(p);
}

static void test_safe_cut_of_ordinary_text(void **state)
{
    (void)state;
    static const char text[] = "One two.\nThree";
    assert_int_equal(loci_encode_safe_cut(text, 14, 14), 14);
    assert_int_equal(loci_encode_safe_cut(text, 14, 99), 14);
    assert_int_equal(loci_encode_safe_cut(text, 14, 13), 9); /* behind the line's end */
    assert_int_equal(loci_encode_safe_cut(text, 14, 8), 8);
    assert_int_equal(loci_encode_safe_cut(text, 14, 6), 3); /* in front of the space */
    assert_int_equal(loci_encode_safe_cut(text, 14, 2), 0);
    assert_int_equal(loci_encode_safe_cut(text, 14, 0), 0);

    enum { LEN = 200000 };
    char *word = malloc(LEN);
    memset(word, 'a', LEN);
    word[1000] = ' ';
    assert_int_equal(loci_encode_safe_cut(word, LEN, 150000), 0);
    assert_int_equal(loci_encode_safe_cut(word, LEN, 60000), 1000);
    free(word);
}

/* ---- refusals --------------------------------------------------------------------- */

static void test_room_too_small(void **state)
{
    (void)state;
    static const char text[] = "low newest \xff it's 42";
    const size_t len = sizeof text - 1;
    const pair p = open_small();
    int32_t ids[32], some[32];
    uint32_t ends[32];
    size_t n = 0;
    loci_error err = { 0 };
    MUST(loci_encode(p.e, text, len, ids, NULL, len, &n, &err));
    for (size_t cap = 0; cap < n; cap++) {
        loci_error e = { 0 };
        size_t need = 0;
        some[cap] = -7;
        ends[cap] = 77;
        assert_int_equal(loci_encode(p.e, text, len, some, ends, cap, &need, &e), LOCI_EINVAL);
        assert_int_equal(need, n);
        assert_true(some[cap] == -7 && ends[cap] == 77);
    }
    char out[32];
    for (size_t cap = 0; cap < len; cap++) {
        loci_error e = { 0 };
        size_t need = 0;
        out[cap] = '#';
        assert_int_equal(loci_decode(p.t, ids, n, out, cap, &need, &e), LOCI_EINVAL);
        assert_int_equal(need, len);
        assert_int_equal(out[cap], '#');
    }
    close_pair(p);
}

static void test_bad_ids(void **state)
{
    (void)state;
    const pair p = open_small();
    const int32_t bad[] = { -1, INT32_MIN, INT32_MAX, loci_tokenizer_vocab(p.t) };
    for (size_t i = 0; i < 4; i++) {
        loci_error err = { 0 };
        char out[8];
        size_t n = 7;
        assert_int_equal(loci_decode(p.t, &bad[i], 1, out, sizeof out, &n, &err), LOCI_EINVAL);
        assert_int_equal(n, 0);
        loci_token_bytes(p.t, bad[i], &n);
        assert_int_equal(n, 0);
    }
    loci_encoder_close(NULL);
    loci_tokenizer_close(NULL);
    close_pair(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_cases),
        cmocka_unit_test(test_word_ends),
        cmocka_unit_test(test_merges_against_plain_loop),
        cmocka_unit_test(test_long_word),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_empty_text),
        cmocka_unit_test(test_specials_are_plain_text),
        cmocka_unit_test(test_safe_cut),
        cmocka_unit_test(test_safe_cut_of_ordinary_text),
        cmocka_unit_test(test_room_too_small),
        cmocka_unit_test(test_bad_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
