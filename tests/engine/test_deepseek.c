/* Goal: a DeepSeek-V4 model is described from its config or metadata alone, and a GGUF file's own
 * lists make the tokenizer that they describe.
 * Method: the seeds of the config's fuzz target; GGUF files without tensors, with a small
 * byte-level vocabulary written here, and with one thing wrong in each. */
#include <stddef.h>
#include <stdint.h>
#include "engine/deepseek.h"
#include "model/dsv4_gguf.h"
#include "temp_dir.h"

static char dir[TEMP_PATH], path[TEMP_PATH + 32];

static int set_up(void **state)
{
    (void)state;
    if (!temp_dir_make(dir)) return -1;
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static void test_describes(void **state)
{
    loci_deepseek_info m;
    loci_error err = { 0 };
    (void)state;
    if (loci_deepseek_describe("tests/fuzz/corpus/dsv4_config/flash.json", &m, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    assert_string_equal(m.architecture, "deepseek-v4");
    assert_string_equal(m.expert_type, "fp4");
    assert_true(m.costs && m.parameters == 284332240471 && m.active == 13270101591);
    assert_true(m.n_layers == 43 && m.n_window == 2 && m.n_csa == 21 && m.n_hca == 20);
    assert_true(m.n_hash == 3 && m.n_draft == 1 && m.file_bytes == 0);
    assert_true(m.context_bytes_per_token == 3514.25 && m.max_tokens == 1048576);
    assert_int_equal(loci_deepseek_describe("tests/fuzz/corpus/dsv4_config/v41.json", &m, NULL),
                     LOCI_OK);
    assert_string_equal(m.architecture, "deepseek-v4.1");
    assert_true(!m.costs && m.parameters == 0 && m.n_layers == 40);
    assert_int_equal(loci_deepseek_describe("tests/fuzz/corpus/dsv4_config/flash-0731.json", &m,
                                            NULL),
                     LOCI_OK);
    assert_string_equal(m.architecture, "deepseek-v4-dspark");
    assert_true(m.n_draft == 3 && m.draft_parameters == 0);
    assert_int_equal(loci_deepseek_describe("/nowhere", &m, &err), LOCI_ENOTFOUND);
    assert_int_equal(m.n_layers, 0);
    assert_int_equal(loci_deepseek_describe(NULL, &m, NULL), LOCI_EINVAL);
    err = (loci_error){ 0 };
    /* Only the CPU runs one, and it says so before anything is read. */
    loci_engine *e;
    loci_engine_options o = loci_engine_options_default();
    o.model_dir = "tests/fuzz/corpus/dsv4_config/flash.json";
    o.device = "cuda:1";
    assert_int_equal(loci_engine_open(&e, &o, &err), LOCI_EMODEL);
    assert_non_null(strstr(err.text, "run on the CPU, device is cuda:1"));
    assert_null(e);
    assert_false(loci_deepseek_is(NULL));
    assert_false(loci_deepseek_is("tests/fuzz/corpus/config/xs.json"));
    assert_false(loci_deepseek_is("/nowhere"));
}

/* ---- the lists of a GGUF file ------------------------------------------------------------------ */

enum { BYTES = 256, MERGED = 2, SPECIAL = 2, TOKENS = BYTES + MERGED + SPECIAL };

/* The byte alphabet: printable bytes are themselves, the others follow from U+0100 on. */
static void letter(int byte, char out[4])
{
    int c = byte, shift = 0;
    for (int b = 0; b <= byte; b++) {
        const bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (!plain && b == byte) c = 256 + shift;
        shift += !plain;
    }
    if (c < 128)
        snprintf(out, 4, "%c", c);
    else
        snprintf(out, 4, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
}

typedef enum {
    GOOD,
    NO_MERGES,
    SHORT_TYPES,
    BAD_TYPE,
    OTHER_PRE,
    NO_PRE,
    INT_TOKENS,
    NO_LISTS
} fault;

/* A file with metadata and lists: bytes, "ab", "abc", a control and a user-defined token. */
static void write_lists(fault wrong)
{
    loci_dsv4_hparams hp;
    size_t size;
    gguf_file *g = malloc(sizeof *g);
    *g = gguf_begin(3);
    assert_int_equal(loci_dsv4_known_shape(&hp, "flash", NULL), LOCI_OK);
    hp.vocab = TOKENS;
    put_gguf_pairs(g, &hp, 3, GGUF_MTP);
    if (wrong != NO_PRE)
        gguf_pair_text(g, "tokenizer.ggml.pre", wrong == OTHER_PRE ? "llama-bpe" : "joyai-llm");
    if (wrong == INT_TOKENS) {
        gguf_array(g, "tokenizer.ggml.tokens", 5, TOKENS);
        for (int i = 0; i < TOKENS; i++) gguf_u32(g, 0);
    } else if (wrong != NO_LISTS) {
        gguf_array(g, "tokenizer.ggml.tokens", 8, TOKENS);
        for (int b = 0; b < BYTES; b++) {
            char text[4];
            letter(b, text);
            gguf_string(g, text);
        }
        gguf_string(g, "ab");
        gguf_string(g, "abc");
        gguf_string(g, "<ctl>");
        gguf_string(g, "<user>");
    }
    const int n_types = wrong == SHORT_TYPES ? TOKENS - 1 : TOKENS;
    gguf_array(g, "tokenizer.ggml.token_type", 5, (uint64_t)n_types);
    for (int i = 0; i < n_types; i++)
        gguf_u32(g, wrong == BAD_TYPE && i == 9 ? 7
                    : i == TOKENS - 2           ? 3
                    : i == TOKENS - 1           ? 4
                                                : 1);
    if (wrong != NO_MERGES) {
        gguf_array(g, "tokenizer.ggml.merges", 8, 2);
        gguf_string(g, "a b");
        gguf_string(g, "ab c");
    }
    unsigned char *file = gguf_finish(g, &size);
    assert_int_equal(loci_file_replace(NULL, path, file, size, NULL), LOCI_OK);
    free(file);
    free(g);
}

static loci_status open_lists(loci_tokenizer **t, loci_error *err)
{
    loci_dsv4_files *f;
    if (loci_dsv4_files_open(&f, path, err) != LOCI_OK) fail_msg("%s", err->text);
    const loci_status st = loci_dsv4_tokenizer(t, f, err);
    loci_dsv4_files_close(f);
    return st;
}

static void test_tokenizer_of_gguf(void **state)
{
    loci_tokenizer *t;
    loci_encoder *e;
    loci_error err = { 0 };
    int32_t ids[16];
    size_t n;
    (void)state;
    write_lists(GOOD);
    if (open_lists(&t, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(loci_tokenizer_vocab(t), TOKENS);
    assert_int_equal(loci_tokenizer_find(t, "<ctl>"), TOKENS - 2);
    assert_int_equal(loci_tokenizer_kind(t, TOKENS - 2), LOCI_TOKEN_SPECIAL);
    assert_int_equal(loci_tokenizer_kind(t, TOKENS - 1), LOCI_TOKEN_ADDED);
    assert_int_equal(loci_encoder_open(&e, t, NULL), LOCI_OK);
    static const char text[] = "abca b\n<user>\xc3\xa9";
    assert_int_equal(loci_encode_marked(e, text, sizeof text - 1, ids, NULL, 16, &n, &err),
                     LOCI_OK);
    const int32_t want[] = { BYTES + 1, 'a', ' ', 'b', '\n', TOKENS - 1, 0xc3, 0xa9 };
    assert_int_equal(n, 8);
    assert_memory_equal(ids, want, sizeof want);
    loci_encoder_close(e);
    loci_tokenizer_close(t);
}

static void test_wrong_lists(void **state)
{
    static const struct {
        fault wrong;
        const char *says;
    } cases[] = {
        { NO_MERGES, "tokenizer.ggml.merges: expected an array of strings, found no such key" },
        { SHORT_TYPES, "token_type: expected 260 integers, found 259" },
        { BAD_TYPE, "token_type: 9: expected 1 to 6, found 7" },
        { OTHER_PRE, "llama-bpe" },
        { NO_PRE, "tokenizer.ggml.pre: expected a name" },
        { INT_TOKENS, "tokenizer.ggml.tokens: expected an array of strings, found another type" },
        { NO_LISTS, "m.gguf: tokenizer.ggml.tokens: not there" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        loci_tokenizer *t;
        loci_error err = { 0 };
        write_lists(cases[i].wrong);
        const loci_status st = open_lists(&t, &err);
        assert_int_not_equal(st, LOCI_OK);
        assert_int_equal(st == LOCI_ENOTFOUND, cases[i].wrong == NO_LISTS); /* then ids will do */
        assert_null(t);
        if (!strstr(err.text, cases[i].says))
            fail_msg("expected \"%s\", found \"%s\"", cases[i].says, err.text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describes),
        cmocka_unit_test(test_tokenizer_of_gguf),
        cmocka_unit_test(test_wrong_lists),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
