/* tokenizer_write.c - writes tokenizer.json, laid out as the public library writes it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

/* A token's bytes in the byte alphabet, as a JSON string; NULL: no memory.  At most two
 * bytes of UTF-8 a character, since the alphabet ends at U+0143. */
static json_t *token_string(const loci_tokenizer *t, uint32_t id)
{
    if (id < LOCI_TOK_SPECIALS) return json_string(loci_special_name((int)id));
    size_t len = 0;
    const char *bytes = loci_token_bytes(t, (int32_t)id, &len);
    char *text = malloc(2 * len + 1);
    if (text == NULL) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        const uint32_t c = loci_byte_to_char((unsigned char)bytes[i]);
        if (c >= 0x80) text[n++] = (char)(0xc0 | c >> 6);
        text[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    json_t *string = json_stringn_nocheck(text, n);
    free(text);
    return string;
}

static json_t *write_added_tokens(void)
{
    json_t *list = json_array();
    for (int i = 0; i < LOCI_TOK_SPECIALS; i++) {
        json_t *entry = json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", i, "content",
                                  loci_special_name(i), "single_word", 0, "lstrip", 0, "rstrip", 0,
                                  "normalized", 0, "special", 1);
        if (json_array_append_new(list, entry) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *write_vocab(const loci_tokenizer *t)
{
    json_t *vocab = json_object();
    for (uint32_t id = 0; id < t->tokens.n; id++) {
        json_t *name = token_string(t, id);
        const int bad = name == NULL ||
                        json_object_setn_new_nocheck(vocab, json_string_value(name),
                                                     json_string_length(name), json_integer(id));
        json_decref(name);
        if (bad) {
            json_decref(vocab);
            return NULL;
        }
    }
    return vocab;
}

static json_t *write_merges(const loci_tokenizer *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->n_merges; i++) {
        json_t *pair = json_array();
        const int bad = json_array_append_new(pair, token_string(t, t->merges[i].left)) |
                        json_array_append_new(pair, token_string(t, t->merges[i].right)) |
                        json_array_append(list, pair);
        json_decref(pair);
        if (bad) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* json_pack frees what it was given and returns NULL if any of it is NULL. */
static json_t *write_root(const loci_tokenizer *t)
{
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                  "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                  "byte_fallback", 0, "ignore_merges", 0, "vocab", write_vocab(t), "merges",
                  write_merges(t));
    json_t *split =
        json_pack("{s:s, s:[{s:s, s:b}, {s:s, s:b, s:b, s:b}]}", "type", "Sequence",
                  "pretokenizers", "type", "Digits", "individual_digits", 1, "type", "ByteLevel",
                  "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1);
    json_t *decoder = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 1,
                                "trim_offsets", 1, "use_regex", 1);
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:n, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", write_added_tokens(), "normalizer",
                     "pre_tokenizer", split, "post_processor", "decoder", decoder, "model", model);
}

loci_status loci_tokenizer_save(const loci_tokenizer *t, const char *path, loci_error *err)
{
    if (t->split != NULL)
        return loci_fail(err, LOCI_EINVAL, "%s: only tokenizers of the loci form are written",
                         path);
    json_t *root = write_root(t);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (text == NULL) return loci_fail(err, LOCI_ENOMEM, "%s: no memory to write it", path);
    const loci_status st = loci_file_replace(NULL, path, text, strlen(text), err);
    free(text);
    return st;
}
