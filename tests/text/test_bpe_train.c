/* Goal: training gives the merges that the public library gives, every time.
 * Method: a text whose merges that library gave; a plain trainer that counts all pairs anew
 * each round as a second opinion on random texts with many ties and runs. */
#include "text_fixture.h"

enum { SEED = 77 };

/* What the public library (0.23) learns from training_text; U+0120 stands for the space. */
#define SP "\xc4\xa0"
static const char *const wanted[][2] = {
    { "-", "-" },       { "e", "s" },        { "es", "t" },      { "l", "o" },
    { "lo", "w" },      { "e", "w" },        { "n", "ew" },      { SP, "low" },
    { SP, "new" },      { SP "new", "est" }, { "d", "est" },     { "i", "dest" },
    { "w", "idest" },   { SP, "widest" },    { "'", "s" },       { "e", "r" },
    { "i", "t" },       { SP, "--" },        { SP, "it" },       { "--", "-" },
    { SP "low", "er" }, { SP "--", "--" },   { SP "--", "---" },
};
enum { N_WANTED = sizeof wanted / sizeof *wanted };

/* A token as text of the byte alphabet would show it, for the bytes that occur here. */
static void show(const loci_tokenizer *t, int id, char *out)
{
    size_t len = 0;
    const char *bytes = loci_token_bytes(t, id, &len);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == ' ') {
            memcpy(out, SP, 2);
            out += 2;
        } else {
            *out++ = bytes[i];
        }
    }
    *out = '\0';
}

static void test_merges_of_the_public_library(void **state)
{
    (void)state;
    loci_tokenizer *t = small_tokenizer();
    assert_int_equal(t->n_merges, N_WANTED); /* then no pair is left */
    assert_int_equal(loci_tokenizer_vocab(t), LOCI_TOK_SPECIALS + 256 + N_WANTED);
    for (int i = 0; i < N_WANTED; i++) {
        char left[32], right[32];
        show(t, t->merges[i].left, left);
        show(t, t->merges[i].right, right);
        assert_string_equal(left, wanted[i][0]);
        assert_string_equal(right, wanted[i][1]);
        assert_int_equal(t->merges[i].id, LOCI_TOK_SPECIALS + 256 + i);
    }
    loci_tokenizer_close(t);
}

static void test_base_alphabet(void **state)
{
    (void)state;
    loci_tokenizer *t = train_on("", 0, 272);
    assert_int_equal(loci_tokenizer_vocab(t), 272);
    uint32_t last = 0;
    for (int id = 16; id < 272; id++) {
        size_t len = 0;
        const char *bytes = loci_token_bytes(t, id, &len);
        assert_int_equal(len, 1);
        const uint32_t c = loci_byte_to_char((unsigned char)bytes[0]);
        assert_true(c > last); /* in the order of their characters, so each once */
        assert_int_equal(loci_char_to_byte(c), (unsigned char)bytes[0]);
        last = c;
    }
    assert_int_equal(t->byte_id['!'], 16);
    assert_int_equal(loci_char_to_byte(0x144), -1);
    loci_tokenizer_close(t);
}

/* ---- against a plain trainer ---------------------------------------------------- */

enum { TEXT_MAX = 600, ROUNDS = 40 };

/* Each word's symbols, words apart by -1; counts every pair anew for each merge. */
static uint32_t train_plainly(const loci_tokenizer *base, const char *text, size_t len,
                              loci_merge *merges, uint32_t max_merges)
{
    int32_t s[2 * TEXT_MAX + 2];
    size_t n = 0;
    for (size_t pos = 0; pos < len;) {
        const size_t end = loci_word_end((const unsigned char *)text, len, pos);
        for (; pos < end; pos++) s[n++] = base->byte_id[(unsigned char)text[pos]];
        s[n++] = -1;
    }
    for (uint32_t k = 0; k < max_merges; k++) {
        int best = 0, left = 0, right = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            if (s[i] < 0 || s[i + 1] < 0) continue;
            int count = 0;
            for (size_t j = 0; j + 1 < n; j++) count += s[j] == s[i] && s[j + 1] == s[i + 1];
            const bool smaller = s[i] < left || (s[i] == left && s[i + 1] < right);
            if (count > best || (count == best && smaller)) {
                best = count;
                left = s[i];
                right = s[i + 1];
            }
        }
        if (best == 0) return k;
        merges[k] = (loci_merge){ (uint16_t)left, (uint16_t)right, (uint16_t)(272 + k) };
        size_t m = 0;
        for (size_t i = 0; i < n; i++) {
            const bool pair = i + 1 < n && s[i] == left && s[i + 1] == right;
            s[m++] = pair ? (int32_t)(272 + k) : s[i];
            i += pair;
        }
        n = m;
    }
    return max_merges;
}

static void test_against_plain_trainer(void **state)
{
    (void)state;
    static const char letters[] = "aab-- '\xff";
    loci_tokenizer *base = train_on("", 0, 272);
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    print_message("seed %d\n", SEED);
    for (int round = 0; round < ROUNDS; round++) {
        char text[TEXT_MAX];
        const size_t len = 1 + loci_rng_below(&rng, TEXT_MAX);
        for (size_t i = 0; i < len; i++)
            text[i] = letters[loci_rng_below(&rng, sizeof letters - 1)];
        loci_merge want[64];
        const uint32_t n = train_plainly(base, text, len, want, 64);
        loci_tokenizer *t = train_on(text, len, 272 + 64);
        if (t->n_merges != n || memcmp(t->merges, want, n * sizeof *want) != 0)
            fail_msg("round %d: other merges for %.*s", round, (int)len, text);
        loci_tokenizer_close(t);
    }
    loci_tokenizer_close(base);
}

/* ---- the trainer as a caller sees it ----------------------------------------------- */

static void count_calls(void *ctx, int done, int total)
{
    assert_true(done > 272 && done <= total);
    ++*(int *)ctx;
}

static void test_same_every_time(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_bpe_trainer *b = NULL;
    loci_tokenizer *t[3];
    int calls = 0;
    MUST(loci_bpe_trainer_open(&b, &err));
    for (const char *p = training_text; *p != '\0';) { /* line by line: no word spans lines here */
        const char *end = strchr(p, '\n') + 1;
        MUST(loci_bpe_trainer_add(b, p, (size_t)(end - p), &err));
        p = end;
    }
    MUST(loci_bpe_trainer_finish(b, 290, count_calls, &calls, &t[0], &err));
    MUST(loci_bpe_trainer_finish(b, 400, NULL, NULL, &t[1], &err)); /* words are still there */
    t[2] = small_tokenizer();
    assert_int_equal(calls, 18);
    assert_int_equal(loci_tokenizer_vocab(t[0]), 290);
    assert_int_equal(t[1]->n_merges, t[2]->n_merges);
    assert_memory_equal(t[0]->merges, t[1]->merges, 18 * sizeof(loci_merge)); /* a prefix */
    assert_memory_equal(t[1]->merges, t[2]->merges, t[1]->n_merges * sizeof(loci_merge));
    for (int i = 0; i < 3; i++) loci_tokenizer_close(t[i]);
    loci_bpe_trainer_close(b);
}

/* The names of specials stay in parts, however often they occur. */
static void test_no_special_is_learnt(void **state)
{
    (void)state;
    static const char text[] = "<bos> <bos> <bos>x<q><q><q> <q>\n<pad><pad>a<pad><r5><r15><e>";
    loci_error err = { 0 };
    loci_tokenizer *t = train_on(text, sizeof text - 1, 600);
    for (uint32_t i = 0; i < t->n_merges; i++) assert_true(t->merges[i].id >= LOCI_TOK_SPECIALS);
    loci_encoder *e = NULL;
    MUST(loci_encoder_open(&e, t, &err));
    int32_t ids[128];
    size_t n = 0;
    MUST(loci_encode(e, text, sizeof text - 1, ids, NULL, 128, &n, &err));
    for (size_t i = 0; i < n; i++) assert_true(ids[i] >= LOCI_TOK_SPECIALS);
    loci_encoder_close(e);
    loci_tokenizer_close(t);
}

static void test_vocab_out_of_range(void **state)
{
    (void)state;
    static const int bad[] = { -1, 0, 271, 65537 };
    loci_error err = { 0 };
    loci_bpe_trainer *b = NULL;
    MUST(loci_bpe_trainer_open(&b, &err));
    for (size_t i = 0; i < 4; i++) {
        loci_error e = { 0 };
        loci_tokenizer *t = (loci_tokenizer *)b;
        assert_int_equal(loci_bpe_trainer_finish(b, bad[i], NULL, NULL, &t, &e), LOCI_EINVAL);
        assert_null(t);
    }
    loci_bpe_trainer_close(b);
    loci_bpe_trainer_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_of_the_public_library),
        cmocka_unit_test(test_base_alphabet),
        cmocka_unit_test(test_against_plain_trainer),
        cmocka_unit_test(test_same_every_time),
        cmocka_unit_test(test_no_special_is_learnt),
        cmocka_unit_test(test_vocab_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
