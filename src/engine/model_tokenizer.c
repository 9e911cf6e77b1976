/* model_tokenizer.c - the tokenizer of a model, wherever it lies: in a folder, in a tokenizer.json,
 * or in the metadata of a GGUF file. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "engine/engine.h"
#include "format/format.h"

/* Types of tokens in tokenizer.ggml.token_type. */
enum { GGML_NORMAL = 1, GGML_UNKNOWN = 2, GGML_CONTROL = 3, GGML_USER = 4, GGML_UNUSED = 5 };

/* Converters guess which tokens are control tokens by their looks.  These are read by who
 * reads a reply, so they must decode to their text whatever was guessed. */
static bool decodes_to_its_text(loci_text_span name)
{
    static const char *const kept[] = { "<think>", "</think>",
                                        "\xef\xbd\x9c"
                                        "DSML\xef\xbd\x9c" };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strlen(kept[i]) == name.len && memcmp(kept[i], name.data, name.len) == 0) return true;
    return false;
}

static loci_status read_kinds(const loci_gguf *g, const loci_text_span *token, size_t n,
                              unsigned char *kind, loci_error *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    int64_t length = 0;
    if (!loci_gguf_length(g, key, &length) || (size_t)length != n)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected %zu entries, found %lld",
                         loci_gguf_label(g), key, n, (long long)length);
    for (size_t i = 0; i < n; i++) {
        int64_t type = 0;
        loci_gguf_int_at(g, key, (int64_t)i, &type);
        switch (type) {
        case GGML_NORMAL: kind[i] = LOCI_TOKEN_PLAIN; break;
        case GGML_CONTROL:
            kind[i] = decodes_to_its_text(token[i]) ? LOCI_TOKEN_ADDED : LOCI_TOKEN_SPECIAL;
            break;
        case GGML_USER: kind[i] = LOCI_TOKEN_ADDED; break;
        case GGML_UNKNOWN:
        case GGML_UNUSED: kind[i] = LOCI_TOKEN_UNUSED; break;
        default:
            return loci_fail(err, LOCI_EFORMAT, "%s: %s: entry %zu: expected 1..5, found %lld",
                             loci_gguf_label(g), key, i, (long long)type);
        }
    }
    return LOCI_OK;
}

/* The same strings as the tokenizer takes them; NULL: no memory. */
static loci_string *as_strings(const loci_text_span *span, int64_t n)
{
    loci_string *s = calloc((size_t)n + 1, sizeof *s);
    for (int64_t i = 0; s != NULL && i < n; i++) s[i] = (loci_string){ span[i].data, span[i].len };
    return s;
}

loci_status loci_gguf_tokenizer(loci_tokenizer **out, const loci_gguf *g, loci_error *err)
{
    *out = NULL;
    loci_text_span *token = NULL, *merge = NULL, model = { NULL, 0 }, pre = { NULL, 0 };
    int64_t n_tokens = 0, n_merges = 0;
    char pre_name[64];
    const char *label = loci_gguf_label(g);
    if (!loci_gguf_text(g, "tokenizer.ggml.model", &model) || model.len != 4 ||
        memcmp(model.data, "gpt2", 4) != 0)
        return loci_fail(err, LOCI_EVERSION, "%s: tokenizer.ggml.model: expected gpt2, found %.*s",
                         label, (int)(model.len < 40 ? model.len : 40),
                         model.len > 0 ? model.data : "nothing");
    loci_gguf_text(g, "tokenizer.ggml.pre", &pre);
    snprintf(pre_name, sizeof pre_name, "%.*s", (int)(pre.len < 60 ? pre.len : 60),
             pre.len > 0 ? pre.data : "");
    loci_status st = loci_gguf_texts(g, "tokenizer.ggml.tokens", &token, &n_tokens, err);
    if (st == LOCI_OK) st = loci_gguf_texts(g, "tokenizer.ggml.merges", &merge, &n_merges, err);
    unsigned char *kind = calloc((size_t)n_tokens + 1, 1);
    loci_string *tokens = as_strings(token, n_tokens), *merges = as_strings(merge, n_merges);
    if (st == LOCI_OK && (!kind || !tokens || !merges))
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for its tokenizer", label);
    if (st == LOCI_OK) st = read_kinds(g, token, (size_t)n_tokens, kind, err);
    if (st == LOCI_OK) {
        const loci_vocab_lists lists = { tokens,           kind,    (size_t)n_tokens, merges,
                                         (size_t)n_merges, pre_name };
        st = loci_tokenizer_from_lists(out, &lists, label, err);
    }
    free(kind);
    free(tokens);
    free(merges);
    free(token);
    free(merge);
    return st;
}

static bool is_gguf(const char *path)
{
    char magic[4] = { 0 };
    loci_file f;
    if (loci_file_open(&f, NULL, path, 0, NULL) != LOCI_OK) return false;
    const loci_status st = loci_file_read(&f, path, magic, sizeof magic, 0, NULL);
    loci_file_close(&f, NULL);
    return st == LOCI_OK && memcmp(magic, "GGUF", 4) == 0;
}

loci_status loci_model_tokenizer(loci_tokenizer **out, const char *path, loci_error *err)
{
    *out = NULL;
    struct stat s;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        char file[4300];
        const loci_status st = loci_path_join(file, sizeof file, path, "tokenizer.json", err);
        return st == LOCI_OK ? loci_tokenizer_open(out, file, err) : st;
    }
    if (!is_gguf(path)) return loci_tokenizer_open(out, path, err);
    loci_gguf *g = NULL;
    loci_status st = loci_gguf_open(&g, path, err);
    if (st == LOCI_OK) st = loci_gguf_tokenizer(out, g, err);
    loci_gguf_close(g);
    return st;
}
