/* Goal: a tokenizer of the DeepSeek form gives the words and ids of the public library.
 * Method: golden files of that library (oracle/deepseek_tokenizer.py): hundreds of awkward
 * texts with the bytes of their words, their ids as plain text and with added tokens found;
 * and every character of Unicode in one sentence, with the bytes of its words.  Characters
 * that the installed PCRE2 does not know yet are left out of the last comparison. */
#include "text_fixture.h"
#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#undef GOLDEN
#define GOLDEN "tests/golden/deepseek_tokenizer/"

typedef struct {
    loci_tokenizer *t;
    loci_encoder *e;
    loci_split_run *r;
} golden;

static golden open_golden(void)
{
    loci_error err = { 0 };
    golden g = { NULL, NULL, NULL };
    MUST(loci_tokenizer_open(&g.t, GOLDEN "tokenizer.json", &err));
    MUST(loci_encoder_open(&g.e, g.t, &err));
    MUST(loci_split_run_open(&g.r, g.t->split, &err));
    return g;
}

static void close_golden(golden g)
{
    loci_split_run_close(g.r);
    loci_encoder_close(g.e);
    loci_tokenizer_close(g.t);
}

/* Numbers (n) are those of a JSON list. */
static bool same_numbers(const int32_t *number, size_t n, const json_t *list)
{
    if (n != json_array_size(list)) return false;
    for (size_t i = 0; i < n; i++)
        if (number[i] != json_integer_value(json_array_get(list, i))) return false;
    return true;
}

typedef struct {
    int32_t *size;
    size_t n;
} sizes;

static bool add_size(void *ctx, const unsigned char *word, size_t n)
{
    sizes *s = ctx;
    (void)word;
    s->size[s->n++] = (int32_t)n;
    return true;
}

static void check_case(const golden *g, const json_t *c, int number)
{
    loci_error err = { 0 };
    const json_t *text = json_object_get(c, "text");
    assert_true(json_is_string(text));
    const char *bytes = json_string_value(text);
    const size_t len = json_string_length(text);
    int32_t *ids = malloc((len + 1) * sizeof *ids);
    char *back = malloc(len + 1);
    size_t n = 0, n_back = 0;
    sizes words = { ids, 0 };
    MUST(loci_split_words(g->r, (const unsigned char *)bytes, len, add_size, &words, &err));
    if (!same_numbers(ids, words.n, json_object_get(c, "words")))
        fail_msg("case %d: other words than the public library: %.200s", number, bytes);
    MUST(loci_encode(g->e, bytes, len, ids, NULL, len, &n, &err));
    if (!same_numbers(ids, n, json_object_get(c, "plain")))
        fail_msg("case %d: other plain ids than the public library: %.200s", number, bytes);
    MUST(loci_decode(g->t, ids, n, back, len, &n_back, &err));
    assert_int_equal(n_back, len);
    assert_memory_equal(back, bytes, len);
    MUST(loci_encode_marked(g->e, bytes, len, ids, NULL, len, &n, &err));
    if (!same_numbers(ids, n, json_object_get(c, "marked")))
        fail_msg("case %d: other marked ids than the public library: %.200s", number, bytes);
    free(back);
    free(ids);
}

static void test_cases(void **state)
{
    (void)state;
    golden g = open_golden();
    FILE *f = fopen(GOLDEN "cases.jsonl", "r");
    assert_non_null(f);
    char *line = NULL;
    size_t cap = 0;
    int n = 0;
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(c);
        check_case(&g, c, ++n);
        json_decref(c);
    }
    assert_true(n >= 400);
    free(line);
    fclose(f);
    close_golden(g);
}

/* ---- every character --------------------------------------------------------------------- */

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = { 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(lead[more - 1] | c >> (6 * more));
    for (int i = more - 1; i >= 0; i--) out[more - i] = (char)(0x80 | (c >> (6 * i) & 0x3f));
    return (size_t)more + 1;
}

typedef struct {
    pcre2_code *unassigned;
    pcre2_match_data *match;
    const json_t *probe;
    int64_t compared, unknown;
} sweep;

static void check_character(const golden *g, sweep *s, uint32_t c, const json_t *words)
{
    loci_error err = { 0 };
    char text[128], one[4];
    const size_t size = put_utf8(one, c);
    size_t len = 0;
    for (size_t i = 0; i < json_array_size(s->probe); i++) {
        const json_t *part = json_array_get(s->probe, i);
        if (i > 0) {
            memcpy(text + len, one, size);
            len += size;
        }
        memcpy(text + len, json_string_value(part), json_string_length(part));
        len += json_string_length(part);
    }
    int32_t room[128];
    sizes got = { room, 0 };
    MUST(loci_split_words(g->r, (const unsigned char *)text, len, add_size, &got, &err));
    s->compared++;
    if (same_numbers(room, got.n, words)) return;
    if (pcre2_match(s->unassigned, (PCRE2_SPTR)one, size, 0, 0, s->match, NULL) < 1)
        fail_msg("U+%04X: other words than the public library", c);
    s->unknown++;
}

static void test_every_character(void **state)
{
    (void)state;
    golden g = open_golden();
    json_t *root = json_load_file(GOLDEN "characters.json", JSON_ALLOW_NUL, NULL);
    assert_non_null(root);
    int code = 0;
    PCRE2_SIZE at = 0;
    sweep s = { .probe = json_object_get(root, "probe") };
    s.unassigned =
        pcre2_compile((PCRE2_SPTR) "\\p{Cn}", 6, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    s.match = pcre2_match_data_create(1, NULL);
    const json_t *ranges = json_object_get(root, "ranges"), *kinds = json_object_get(root, "words");
    for (size_t i = 0; i < json_array_size(ranges); i++) {
        const json_t *range = json_array_get(ranges, i);
        const json_int_t first = json_integer_value(json_array_get(range, 0));
        const json_int_t last = json_integer_value(json_array_get(range, 1));
        const json_t *words =
            json_array_get(kinds, (size_t)json_integer_value(json_array_get(range, 2)));
        for (json_int_t c = first; c <= last; c++) check_character(&g, &s, (uint32_t)c, words);
    }
    assert_int_equal(s.compared, 0x110000 - 0x800);
    print_message("%lld characters, %lld of them newer than the installed Unicode tables\n",
                  (long long)s.compared, (long long)s.unknown);
    /* Each Unicode version adds a few thousand; a wrong table would differ in far more. */
    assert_true(s.unknown < 30000);
    pcre2_match_data_free(s.match);
    pcre2_code_free(s.unassigned);
    json_decref(root);
    close_golden(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_every_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
