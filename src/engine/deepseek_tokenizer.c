/* deepseek_tokenizer.c - the tokenizer of a DeepSeek-V4 checkpoint: tokenizer.json of its folder,
 * or the lists that a GGUF file carries.
 *
 *   tokenizer.ggml.model        gpt2: byte-level BPE
 *   tokenizer.ggml.tokens       strings in the byte alphabet
 *   tokenizer.ggml.token_type   1 plain, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
 *   tokenizer.ggml.merges       "left right", the earlier the sooner
 *   tokenizer.ggml.pre          names the pre-split */
#include "engine/deepseek.h"
#include "engine/engine.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    loci_text_span *token, *merge;
    loci_string *string; /* tokens, then merges */
    unsigned char *kind;
    char pre[64];
    int64_t n_tokens, n_merges;
} lists;

static void lists_free(lists *l)
{
    free(l->token);
    free(l->merge);
    free(l->string);
    free(l->kind);
}

/* Converters guess by its looks which token is a control token.  Replies are read by these, so
 * they must decode to their text whatever was guessed. */
static bool decodes_to_its_text(loci_text_span name)
{
    static const char *const kept[] = { "<think>", "</think>",
                                        "\xef\xbd\x9c"
                                        "DSML\xef\xbd\x9c" };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strlen(kept[i]) == name.len && memcmp(kept[i], name.data, name.len) == 0) return true;
    return false;
}

static loci_status read_kinds(lists *l, const loci_gguf *f, loci_error *err)
{
    static const unsigned char kind_of[] = {
        [1] = LOCI_TOKEN_PLAIN, [2] = LOCI_TOKEN_SPECIAL, [3] = LOCI_TOKEN_SPECIAL,
        [4] = LOCI_TOKEN_ADDED, [5] = LOCI_TOKEN_UNUSED,  [6] = LOCI_TOKEN_PLAIN
    };
    static const char key[] = "tokenizer.ggml.token_type";
    int64_t n = 0;
    if (!loci_gguf_length(f, key, &n) || n != l->n_tokens)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected %lld integers, found %lld",
                         loci_gguf_label(f), key, (long long)l->n_tokens, (long long)n);
    for (int64_t i = 0; i < n; i++) {
        int64_t type = 0;
        if (!loci_gguf_int_at(f, key, i, &type) || type < 1 || type > 6)
            return loci_fail(err, LOCI_EFORMAT, "%s: %s: %lld: expected 1 to 6, found %lld",
                             loci_gguf_label(f), key, (long long)i, (long long)type);
        l->kind[i] = kind_of[type];
        if (l->kind[i] == LOCI_TOKEN_SPECIAL && decodes_to_its_text(l->token[i]))
            l->kind[i] = LOCI_TOKEN_ADDED;
    }
    return LOCI_OK;
}

static loci_status read_lists(lists *l, const loci_gguf *f, loci_error *err)
{
    static const char pre_key[] = "tokenizer.ggml.pre";
    loci_text_span pre = { 0 };
    loci_status st = loci_gguf_texts(f, "tokenizer.ggml.tokens", &l->token, &l->n_tokens, err);
    if (st == LOCI_OK)
        st = loci_gguf_texts(f, "tokenizer.ggml.merges", &l->merge, &l->n_merges, err);
    if (st != LOCI_OK) return st;
    if (!loci_gguf_text(f, pre_key, &pre) || pre.len >= sizeof l->pre ||
        memchr(pre.data, 0, pre.len))
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected a name", loci_gguf_label(f), pre_key);
    memcpy(l->pre, pre.data, pre.len);
    const size_t n = (size_t)(l->n_tokens + l->n_merges);
    l->string = calloc(n + 1, sizeof *l->string);
    l->kind = calloc((size_t)l->n_tokens + 1, 1);
    if (!l->string || !l->kind)
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for its tokenizer", loci_gguf_label(f));
    for (size_t i = 0; i < n; i++) {
        const loci_text_span *s =
            i < (size_t)l->n_tokens ? &l->token[i] : &l->merge[i - (size_t)l->n_tokens];
        l->string[i] = (loci_string){ s->data, s->len };
    }
    return read_kinds(l, f, err);
}

loci_status loci_gguf_tokenizer(loci_tokenizer **out, const loci_gguf *f, loci_error *err)
{
    lists l = { 0 };
    loci_text_span model = { 0 };
    *out = NULL;
    if (!loci_gguf_has(f, "tokenizer.ggml.model") && !loci_gguf_has(f, "tokenizer.ggml.tokens"))
        return loci_fail(err, LOCI_ENOTFOUND, "%s: tokenizer.ggml.tokens: not there",
                         loci_gguf_label(f));
    if (loci_gguf_text(f, "tokenizer.ggml.model", &model) &&
        (model.len != 4 || memcmp(model.data, "gpt2", 4) != 0))
        return loci_fail(err, LOCI_EVERSION, "%s: tokenizer.ggml.model: expected gpt2, found %.*s",
                         loci_gguf_label(f), (int)(model.len < 40 ? model.len : 40), model.data);
    loci_status st = read_lists(&l, f, err);
    if (st == LOCI_OK) {
        const loci_vocab_lists v = { l.string,           l.kind,
                                     (size_t)l.n_tokens, l.string + l.n_tokens,
                                     (size_t)l.n_merges, l.pre };
        st = loci_tokenizer_from_lists(out, &v, loci_gguf_label(f), err);
    }
    lists_free(&l);
    return st;
}

loci_status loci_dsv4_tokenizer(loci_tokenizer **out, const loci_dsv4_files *f, loci_error *err)
{
    char path[4096];
    *out = NULL;
    if (loci_dsv4_files_gguf(f)) return loci_gguf_tokenizer(out, loci_dsv4_files_gguf(f), err);
    const loci_status st =
        loci_path_join(path, sizeof path, loci_dsv4_files_dir(f), "tokenizer.json", err);
    return st == LOCI_OK ? loci_tokenizer_open(out, path, err) : st;
}
