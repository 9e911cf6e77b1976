/* Goal: tokenizers of the DeepSeek form give the ids of the public library, and refuse what would mean
 * something else there.
 * Method: a small tokenizer made by hand, from its file and from lists; one change at a time of that
 * file.  How text is cut into words is test_deepseek_words.c's. */
#include "deepseek_fixture.h"

enum { SEED = 20260424 };

/* ---- ids ---------------------------------------------------------------------------------- */

typedef struct {
    const char *text;
    bool marked;
    int n, ids[12];
} id_case;

/* Byte k of the alphabet's order has id 3 + k: '!' is 3, so ASCII c is c - '!' + 3. */
#define B(c) ((c) - '!' + 3)
#define M(i) (DS_FIRST_MERGE + (i))
#define A(i) (DS_FIRST_ADDED + (i))
static const id_case id_cases[] = {
    { "low", false, 1, { M(1) } },
    { " low", false, 1, { M(2) } },
    { "lower", false, 1, { M(4) } },
    { "slow", false, 2, { B('s'), M(1) } },
    { "1234", false, 2, { M(6), B('4') } },
    { "it's", false, 3, { B('i'), B('t'), M(8) } },
    { "x.\n\n", false, 3, { B('x'), M(7), 3 + 188 + 10 } }, /* ".\n" is done before "\n\n" */
    { USER "low", true, 2, { A(0), M(1) } },
    { "<think>ab</think>", true, 3, { A(2), M(10), A(3) } },
    { BOS EOS, true, 2, { 0, 1 } },
    { "ab" USER, true, 2, { M(10), A(0) } },
    { "<" DSML "low", true, 3, { B('<'), A(4), M(1) } },
    { "xy", true, 1, { A(12) } },
    { "xyz", true, 1, { A(13) } }, /* the longest */
    { "xxyy", true, 3, { B('x'), A(12), B('y') } },
    { "xyz<", true, 2, { B('x'), A(14) } }, /* the first round comes before longer and earlier */
    { "xy", false, 2, { B('x'), B('y') } },
    { "1<think>2", true, 3, { B('1'), A(2), B('2') } },
    { "", true, 0, { 0 } },
};

static void test_ids(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_tokenizer *t = ds_tokenizer();
    loci_encoder *e = NULL;
    MUST(loci_encoder_open(&e, t, &err));
    for (size_t i = 0; i < sizeof id_cases / sizeof *id_cases; i++) {
        const id_case *c = &id_cases[i];
        int32_t ids[64];
        uint32_t ends[64];
        size_t n = 0;
        MUST((c->marked ? loci_encode_marked : loci_encode)(e, c->text, strlen(c->text), ids, ends,
                                                            64, &n, &err));
        bool same = n == (size_t)c->n;
        for (size_t k = 0; k < n && same; k++) same = ids[k] == c->ids[k];
        if (!same) fail_msg("\"%s\": %zu other ids, the first %d", c->text, n, n > 0 ? ids[0] : -1);
        assert_true(n == 0 || ends[n - 1] == strlen(c->text));
    }
    loci_encoder_close(e);
    loci_tokenizer_close(t);
}

/* Plain text never becomes a token that is not plain, and comes back; marked text comes back but
 * for special tokens. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char *const more[] = { "xy", "xyz", "xyz<", USER, "<think>", BOS, DSML, "low" };
    loci_error err = { 0 };
    loci_tokenizer *t = ds_tokenizer();
    loci_encoder *e = NULL;
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    MUST(loci_encoder_open(&e, t, &err));
    for (int k = 0; k < 3000; k++) {
        char text[512], back[512];
        int32_t ids[512];
        size_t len = tricky_text(&rng, 12, text, 256), n = 0, n_back = 0;
        const char *piece = more[loci_rng_below(&rng, sizeof more / sizeof *more)];
        memcpy(text + len, piece, strlen(piece));
        len += strlen(piece);
        MUST(loci_encode(e, text, len, ids, NULL, 512, &n, &err));
        for (size_t i = 0; i < n; i++)
            assert_int_equal(loci_tokenizer_kind(t, ids[i]), LOCI_TOKEN_PLAIN);
        MUST(loci_decode(t, ids, n, back, 512, &n_back, &err));
        assert_int_equal(n_back, len);
        assert_memory_equal(back, text, len);
        MUST(loci_encode_marked(e, text, len, ids, NULL, 512, &n, &err));
        size_t bytes = 0; /* names count, which decoding leaves out */
        for (size_t i = 0; i < n; i++) bytes += t->tokens.at[ids[i] + 1] - t->tokens.at[ids[i]];
        assert_int_equal(bytes, len);
    }
    loci_encoder_close(e);
    loci_tokenizer_close(t);
}

static void test_tokens(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_tokenizer *t = ds_tokenizer();
    assert_int_equal(loci_tokenizer_vocab(t), DS_FIRST_ADDED + DS_ADDED);
    assert_int_equal(loci_tokenizer_find(t, BOS), 0);
    assert_int_equal(loci_tokenizer_find(t, "<think>"), A(2));
    assert_int_equal(loci_tokenizer_find(t, "low"), -1); /* plain */
    assert_int_equal(loci_tokenizer_find(t, "nothing"), -1);
    assert_int_equal(loci_tokenizer_kind(t, 0), LOCI_TOKEN_SPECIAL);
    assert_int_equal(loci_tokenizer_kind(t, A(2)), LOCI_TOKEN_ADDED);
    assert_int_equal(loci_tokenizer_kind(t, DS_FIRST_ADDED - 1), LOCI_TOKEN_UNUSED);
    assert_int_equal(loci_tokenizer_kind(t, -1), LOCI_TOKEN_UNUSED);
    assert_int_equal(loci_tokenizer_kind(t, 1 << 30), LOCI_TOKEN_UNUSED);
    size_t len = 9;
    loci_token_bytes(t, 0, &len);
    assert_int_equal(len, 0);
    loci_token_bytes(t, DS_FIRST_ADDED - 1, &len);
    assert_int_equal(len, 0);
    const char *bytes = loci_token_bytes(t, A(2), &len);
    assert_int_equal(len, 7);
    assert_memory_equal(bytes, "<think>", 7);
    assert_int_equal(loci_tokenizer_save(t, "/nowhere/t.json", &err), LOCI_EINVAL);
    loci_tokenizer_close(t);
    t = small_tokenizer(); /* of the loci form: its specials are found by name, too */
    assert_int_equal(loci_tokenizer_find(t, "<q>"), LOCI_TOK_Q);
    assert_int_equal(loci_tokenizer_kind(t, LOCI_TOK_E), LOCI_TOKEN_SPECIAL);
    loci_tokenizer_close(t);
}

/* ---- refusals ------------------------------------------------------------------------------ */

#define PRE "pre_tokenizer/pretokenizers/"

static const edit bad_edits[] = {
    { "normalizer", "{\"type\": \"NFC\"}", "normalizer" },
    { "normalizer/normalizers", "[{\"type\": \"NFC\"}]", "normalizer" },
    { PRE "0/pattern", "{\"String\": \"a\"}", "pattern" },
    { PRE "0/pattern/Regex", "7", "Regex of split 0" },
    { PRE "0/pattern/Regex", "\"(\"", "split 0" },
    { PRE "1/pattern/Regex", "\"a*\"", "split 1: the pattern may match nothing" },
    { PRE "0/behavior", "\"Removed\"", "behavior" },
    { PRE "0/behavior", NULL, "behavior" },
    { PRE "2/invert", "true", "invert" },
    { PRE "1/type", "\"Digits\"", "type" },
    { PRE "3/use_regex", "true", "use_regex" },
    { PRE "3/use_regex", NULL, "use_regex" },
    { PRE "3/add_prefix_space", "true", "add_prefix_space" },
    { PRE "3", NULL, "last step" },
    { PRE "+", "{\"type\": \"ByteLevel\"}", "type" },
    { "post_processor", "{\"type\": \"TemplateProcessing\"}", "post_processor" },
    { "decoder", "null", "decoder" },
    { "model/byte_fallback", "true", "byte_fallback" },
    { "model/ignore_merges", "true", "ignore_merges" },
    { "added_tokens", "{}", "vocab" },
    { "added_tokens/4/lstrip", "true", "lstrip" },
    { "added_tokens/4/rstrip", "true", "rstrip" },
    { "added_tokens/4/single_word", "true", "single_word" },
    { "added_tokens/4/id", "5", "already" },
    { "added_tokens/4/id", "-5", "entry 4" },
    { "added_tokens/4/id", "9999999", "entry 4" },
    { "added_tokens/4/id", "1000000", "ids up to 1000000" },
    { "added_tokens/4/content", "7", "entry 4" },
    { "added_tokens/4/content", "\"\"", "of 0 bytes" },
    { "added_tokens/4/content", "\"<think>\"", "same bytes" },
    { "added_tokens/4/content", "\"low\"", "same bytes" },
    { "added_tokens/4", "7", "added_tokens" },
    { "added_tokens/0", NULL, "byte alphabet" }, /* <bos> stays in the vocab as a plain token */
    { "model/vocab/low", "3", "same id 3" },
    { "model/vocab/low", "1.5", "not a number" },
    { "model/vocab/low", NULL, "not in the vocab" },
    { "model/vocab/!", NULL, "byte 0x21" },
    { "model/vocab", "{}", "vocab" },
    { "model/vocab", "[]", "vocab" },
    { "model/merges/0", "[\"q\", \"q\"]", "result of" },
    { "model/merges/+", "[\"l\", \"o\"]", "repeats" },
    { "model/merges", "7", "merges" },
};

static void test_refused_edits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_edits / sizeof *bad_edits; i++) {
        const edit *e = &bad_edits[i];
        json_t *root = ds_json();
        apply(root, e);
        char *text = json_dumps(root, 0);
        loci_error err = { 0 };
        loci_tokenizer *t = (loci_tokenizer *)&err;
        const loci_status st = loci_tokenizer_parse(&t, text, strlen(text), "file", &err);
        if (st != LOCI_EFORMAT || strstr(err.text, e->named) == NULL)
            fail_msg("%s: expected a refusal naming \"%s\", got %d \"%s\"", e->path, e->named, st,
                     err.text);
        assert_null(t);
        free(text);
        json_decref(root);
    }
}

/* What may differ without another meaning. */
static void test_taken_edits(void **state)
{
    (void)state;
    static const edit good[] = {
        { "normalizer", "null", NULL },
        { "post_processor", "null", NULL },
        { "model/merges/0", "\"l o\"", NULL },
        { "model/unk_token", NULL, NULL },
        { "added_tokens/5/special", "true", NULL },
        { "added_tokens/+", "{\"id\": 299, \"content\": \"<new>\", \"special\": false}", NULL },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        json_t *root = ds_json();
        apply(root, &good[i]);
        loci_tokenizer_close(ds_open(root));
        json_decref(root);
    }
}

/* ---- lists ------------------------------------------------------------------------------------ */

typedef struct {
    loci_string token[DS_FIRST_ADDED + DS_ADDED], merge[DS_MERGES];
    unsigned char kind[DS_FIRST_ADDED + DS_ADDED];
    char room[DS_FIRST_ADDED + DS_ADDED][24], pair[DS_MERGES][24];
    loci_vocab_lists lists;
} list_vocab;

/* The tokenizer of ds_json as a GGUF file would hold it. */
static void fill_lists(list_vocab *v)
{
    static const char *const base[] = { BOS, EOS, PAD };
    memset(v, 0, sizeof *v);
    for (int id = 0; id < DS_FIRST_ADDED + DS_ADDED; id++) {
        v->kind[id] = LOCI_TOKEN_UNUSED;
        snprintf(v->room[id], sizeof v->room[id], "[PAD%d]", id);
        if (id < DS_FIRST_BYTE) {
            v->kind[id] = LOCI_TOKEN_SPECIAL;
            v->token[id] = (loci_string){ base[id], strlen(base[id]) };
            continue;
        }
        if (id < DS_FIRST_MERGE) {
            v->kind[id] = LOCI_TOKEN_PLAIN;
            ds_letter(loci_byte_in_order(id - DS_FIRST_BYTE), v->room[id]);
        } else if (id < DS_FIRST_MERGE + DS_MERGES) {
            const char *const *m = ds_merge[id - DS_FIRST_MERGE];
            v->kind[id] = LOCI_TOKEN_PLAIN;
            snprintf(v->room[id], sizeof v->room[id], "%s%s", m[0], m[1]);
            char *pair = v->pair[id - DS_FIRST_MERGE];
            snprintf(pair, 24, "%s %s", m[0], m[1]);
            v->merge[id - DS_FIRST_MERGE] = (loci_string){ pair, strlen(pair) };
        } else if (id >= DS_FIRST_ADDED) {
            const char *text = ds_added[id - DS_FIRST_ADDED].text;
            v->kind[id] =
                ds_added[id - DS_FIRST_ADDED].special ? LOCI_TOKEN_SPECIAL : LOCI_TOKEN_ADDED;
            v->token[id] = (loci_string){ text, strlen(text) };
            continue;
        }
        v->token[id] = (loci_string){ v->room[id], strlen(v->room[id]) };
    }
    v->lists = (loci_vocab_lists){ v->token, v->kind,   DS_FIRST_ADDED + DS_ADDED,
                                   v->merge, DS_MERGES, "deepseek-v3" };
}

static void test_lists_give_the_same_ids(void **state)
{
    (void)state;
    loci_error err = { 0 };
    list_vocab *v = malloc(sizeof *v);
    fill_lists(v);
    loci_tokenizer *t[2] = { ds_tokenizer(), NULL };
    MUST(loci_tokenizer_from_lists(&t[1], &v->lists, "gguf", &err));
    assert_int_equal(loci_tokenizer_vocab(t[0]), loci_tokenizer_vocab(t[1]));
    loci_encoder *e[2] = { NULL, NULL };
    for (int i = 0; i < 2; i++) MUST(loci_encoder_open(&e[i], t[i], &err));
    for (size_t i = 0; i < sizeof id_cases / sizeof *id_cases; i++) {
        if (strstr(id_cases[i].text, "yz<") != NULL) continue; /* lists know one round only */
        int32_t ids[2][64];
        size_t n[2] = { 0, 0 };
        for (int k = 0; k < 2; k++)
            MUST(loci_encode_marked(e[k], id_cases[i].text, strlen(id_cases[i].text), ids[k], NULL,
                                    64, &n[k], &err));
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(ids[0], ids[1], n[0] * sizeof ids[0][0]);
    }
    for (int i = 0; i < 2; i++) {
        loci_encoder_close(e[i]);
        loci_tokenizer_close(t[i]);
    }
    free(v);
}

static void expect_list_refusal(const list_vocab *v, loci_status want, const char *named)
{
    loci_error err = { 0 };
    loci_tokenizer *t = (loci_tokenizer *)&err;
    const loci_status st = loci_tokenizer_from_lists(&t, &v->lists, "gguf", &err);
    if (st != want || strstr(err.text, named) == NULL)
        fail_msg("expected a refusal naming \"%s\", got %d \"%s\"", named, st, err.text);
    assert_null(t);
}

static void test_refused_lists(void **state)
{
    (void)state;
    list_vocab *v = malloc(sizeof *v);
    fill_lists(v);
    v->lists.pre = "llama-bpe";
    expect_list_refusal(v, LOCI_EVERSION, "llama-bpe");
    v->lists.pre = NULL;
    expect_list_refusal(v, LOCI_EVERSION, "pre-tokenizer");
    fill_lists(v);
    v->lists.n_tokens = 100;
    expect_list_refusal(v, LOCI_EFORMAT, "100 tokens");
    fill_lists(v);
    v->kind[7] = 9;
    expect_list_refusal(v, LOCI_EFORMAT, "token 7 is of kind 9");
    fill_lists(v);
    v->token[7].len = 0;
    expect_list_refusal(v, LOCI_EFORMAT, "token 7");
    fill_lists(v);
    v->token[200] = (loci_string){ "\xc4", 1 }; /* half a character */
    expect_list_refusal(v, LOCI_EFORMAT, "token 200");
    fill_lists(v);
    v->token[8] = v->token[7];
    expect_list_refusal(v, LOCI_EFORMAT, "tokens 7 and 8");
    fill_lists(v);
    v->merge[2] = (loci_string){ "lo", 2 };
    expect_list_refusal(v, LOCI_EFORMAT, "merge 2");
    fill_lists(v);
    v->merge[2] = (loci_string){ NULL, 0 };
    expect_list_refusal(v, LOCI_EFORMAT, "merge 2");
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),           cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_tokens),        cmocka_unit_test(test_refused_edits),
        cmocka_unit_test(test_taken_edits),   cmocka_unit_test(test_lists_give_the_same_ids),
        cmocka_unit_test(test_refused_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
