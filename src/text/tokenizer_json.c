/* tokenizer_json.c - reads tokenizer.json.
 *
 * Only one kind of tokenizer is taken: byte-level BPE with the pre-split of presplit.c and
 * the sixteen specials at ids 0..15.  Everything that would give other ids in the public
 * library is refused by name, so a file that opens means here what it means there.  The
 * file is never trusted: ids must be exactly 0..n-1, each token spelt in the byte alphabet,
 * each merge made of tokens that are there. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

enum { FILE_BYTES_MAX = 64 << 20 };

typedef struct {
    const char *label; /* names the file in messages */
    loci_error *err;
} reader;

#define REFUSE(r, ...) loci_fail((r)->err, LOCI_EFORMAT, __VA_ARGS__)

/* ---- settings ---------------------------------------------------------------------- */

/* What a key of an object may hold.  A key that is not listed is refused. */
typedef struct {
    const char *key;
    enum {
        ANY,      /* anything, or left out */
        REQUIRED, /* anything, but there   */
        TEXT,     /* the text below        */
        FALSE,
        TRUE,
        NOT_TRUE,         /* false, null or left out */
        NOT_FALSE,        /* true or left out        */
        NOTHING,          /* null or left out        */
        NOTHING_OR_EMPTY, /* the same, or ""         */
    } value;
    const char *text;
} setting;

static bool setting_holds(const setting *s, const json_t *v)
{
    const bool nothing = v == NULL || json_is_null(v);
    switch (s->value) {
    case ANY: return true;
    case REQUIRED: return v != NULL;
    case TEXT: return json_is_string(v) && strcmp(json_string_value(v), s->text) == 0;
    case FALSE: return json_is_false(v);
    case TRUE: return json_is_true(v);
    case NOT_TRUE: return nothing || json_is_false(v);
    case NOT_FALSE: return v == NULL || json_is_true(v);
    case NOTHING: return nothing;
    case NOTHING_OR_EMPTY: return nothing || (json_is_string(v) && json_string_length(v) == 0);
    }
    return false;
}

static loci_status check_settings(const reader *r, const char *where, const json_t *object,
                                  const setting *list)
{
    if (!json_is_object(object)) return REFUSE(r, "%s: %s is not an object", r->label, where);
    for (const setting *s = list; s->key != NULL; s++)
        if (!setting_holds(s, json_object_get(object, s->key)))
            return REFUSE(r, "%s: %s: %s is missing or has a value that is not supported", r->label,
                          where, s->key);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)object, key, value)
    {
        const setting *s = list;
        while (s->key != NULL && strcmp(s->key, key) != 0) s++;
        if (s->key == NULL)
            return REFUSE(r, "%s: %s: %.60s is not supported", r->label, where, key);
    }
    return LOCI_OK;
}

static const setting root_settings[] = {
    { "version", TEXT, "1.0" },      { "truncation", NOTHING, NULL },
    { "padding", NOTHING, NULL },    { "added_tokens", REQUIRED, NULL },
    { "normalizer", NOTHING, NULL }, { "pre_tokenizer", REQUIRED, NULL },
    { "post_processor", ANY, NULL }, { "decoder", REQUIRED, NULL },
    { "model", REQUIRED, NULL },     { NULL, ANY, NULL },
};
static const setting model_settings[] = {
    { "type", TEXT, "BPE" },
    { "dropout", NOTHING, NULL },
    { "unk_token", NOTHING, NULL },
    { "continuing_subword_prefix", NOTHING_OR_EMPTY, NULL },
    { "end_of_word_suffix", NOTHING_OR_EMPTY, NULL },
    { "fuse_unk", NOT_TRUE, NULL },
    { "byte_fallback", NOT_TRUE, NULL },
    { "ignore_merges", NOT_TRUE, NULL },
    { "vocab", REQUIRED, NULL },
    { "merges", REQUIRED, NULL },
    { NULL, ANY, NULL },
};
static const setting sequence_settings[] = { { "type", TEXT, "Sequence" },
                                             { "pretokenizers", REQUIRED, NULL },
                                             { NULL, ANY, NULL } };
/* individual_digits, add_prefix_space and use_regex decide about words; trim_offsets does not. */
static const setting digits_settings[] = {
    { "type", TEXT, "Digits" },
    { "individual_digits", TRUE, NULL },
    { NULL, ANY, NULL },
};
static const setting split_settings[] = {
    { "type", TEXT, "ByteLevel" }, { "add_prefix_space", FALSE, NULL },
    { "trim_offsets", ANY, NULL }, { "use_regex", NOT_FALSE, NULL },
    { NULL, ANY, NULL },
};
/* In a decoder or post-processor these settings change no ids and no bytes. */
static const setting byte_level_settings[] = {
    { "type", TEXT, "ByteLevel" }, { "add_prefix_space", ANY, NULL },
    { "trim_offsets", ANY, NULL }, { "use_regex", ANY, NULL },
    { NULL, ANY, NULL },
};
static const setting added_settings[] = {
    { "id", REQUIRED, NULL },     { "content", REQUIRED, NULL }, { "single_word", NOT_TRUE, NULL },
    { "lstrip", NOT_TRUE, NULL }, { "rstrip", NOT_TRUE, NULL },  { "normalized", ANY, NULL },
    { "special", TRUE, NULL },    { NULL, ANY, NULL },
};

static loci_status check_root(const reader *r, const json_t *root)
{
    loci_status st = check_settings(r, "tokenizer", root, root_settings);
    const json_t *split = json_object_get(root, "pre_tokenizer");
    if (st == LOCI_OK) st = check_settings(r, "pre_tokenizer", split, sequence_settings);
    if (st != LOCI_OK) return st;
    const json_t *steps = json_object_get(split, "pretokenizers");
    if (json_array_size(steps) != 2)
        return REFUSE(r, "%s: pre_tokenizer: %zu steps, expected Digits and ByteLevel", r->label,
                      json_array_size(steps));
    st = check_settings(r, "pre_tokenizer 0", json_array_get(steps, 0), digits_settings);
    if (st == LOCI_OK)
        st = check_settings(r, "pre_tokenizer 1", json_array_get(steps, 1), split_settings);
    if (st == LOCI_OK)
        st = check_settings(r, "decoder", json_object_get(root, "decoder"), byte_level_settings);
    const json_t *post = json_object_get(root, "post_processor");
    if (st == LOCI_OK && post != NULL && !json_is_null(post))
        st = check_settings(r, "post_processor", post, byte_level_settings);
    if (st == LOCI_OK)
        st = check_settings(r, "model", json_object_get(root, "model"), model_settings);
    return st;
}

static loci_status check_added_tokens(const reader *r, const json_t *list)
{
    if (json_array_size(list) != LOCI_TOK_SPECIALS)
        return REFUSE(r, "%s: added_tokens: %zu entries, expected %d", r->label,
                      json_array_size(list), LOCI_TOK_SPECIALS);
    for (int i = 0; i < LOCI_TOK_SPECIALS; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        const loci_status st = check_settings(r, "added_tokens", entry, added_settings);
        if (st != LOCI_OK) return st;
        const json_t *id = json_object_get(entry, "id");
        const char *content = json_string_value(json_object_get(entry, "content"));
        if (!json_is_integer(id) || json_integer_value(id) != i || content == NULL ||
            strcmp(content, loci_special_name(i)) != 0)
            return REFUSE(r, "%s: added_tokens: entry %d is not %s with id %d", r->label, i,
                          loci_special_name(i), i);
    }
    return LOCI_OK;
}

/* ---- vocabulary -------------------------------------------------------------------------- */

/* Turn text in the byte alphabet into bytes; false if a character is not in it.  out has
 * room for len bytes. */
static bool alphabet_to_bytes(const char *text, size_t len, unsigned char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c = (unsigned char)text[i++];
        /* jansson lets only valid UTF-8 through; longer forms lie outside the alphabet. */
        if (c >= 0xe0) return false;
        if (c >= 0xc0) c = (c & 0x1f) << 6 | ((unsigned char)text[i++] & 0x3f);
        const int byte = loci_char_to_byte(c);
        if (byte < 0) return false;
        out[(*n)++] = (unsigned char)byte;
    }
    return *n > 0;
}

/* by_id[id] = name of the token; (n) all NULL at first. */
static loci_status sort_by_id(const reader *r, json_t *vocab, size_t n, const char **by_id)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(vocab, name, value)
    {
        const json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || (size_t)id >= n)
            return REFUSE(r, "%s: vocab: id of \"%.60s\" is not a number in 0..%zu", r->label, name,
                          n - 1);
        if (by_id[id] != NULL)
            return REFUSE(r, "%s: vocab: \"%.60s\" and \"%.60s\" have the same id %d", r->label,
                          by_id[id], name, (int)id);
        by_id[id] = name;
    }
    for (int i = 0; i < LOCI_TOK_SPECIALS; i++)
        if (strcmp(by_id[i], loci_special_name(i)) != 0)
            return REFUSE(r, "%s: vocab: id %d is \"%.60s\", expected %s", r->label, i, by_id[i],
                          loci_special_name(i));
    return LOCI_OK;
}

static loci_status read_vocab(const reader *r, json_t *vocab, loci_bytes_map *tokens)
{
    const size_t n = json_object_size(vocab);
    if (!json_is_object(vocab) || n < LOCI_TOK_SPECIALS + LOCI_TOK_ALPHABET ||
        n > LOCI_TOK_VOCAB_MAX)
        return REFUSE(r, "%s: vocab: %zu tokens, supported are %d..%d", r->label, n,
                      LOCI_TOK_SPECIALS + LOCI_TOK_ALPHABET, LOCI_TOK_VOCAB_MAX);
    const char **by_id = calloc(n, sizeof *by_id);
    if (by_id == NULL) return loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
    loci_status st = sort_by_id(r, vocab, n, by_id);
    for (size_t id = 0; id < n && st == LOCI_OK; id++) {
        const size_t len = strlen(by_id[id]);
        size_t n_bytes = len;
        unsigned char *bytes = malloc(len + 1);
        if (bytes == NULL) {
            st = loci_fail(r->err, LOCI_ENOMEM, "%s: no memory for token %zu", r->label, id);
            break;
        }
        if (id < LOCI_TOK_SPECIALS)
            memcpy(bytes, by_id[id], len);
        else if (!alphabet_to_bytes(by_id[id], len, bytes, &n_bytes))
            st = REFUSE(r, "%s: vocab: token %zu \"%.60s\" is not spelt in the byte alphabet",
                        r->label, id, by_id[id]);
        if (st == LOCI_OK && loci_bytes_map_add(tokens, bytes, n_bytes) != (int64_t)id)
            st = loci_fail(r->err, LOCI_ENOMEM, "%s: no memory for token %zu", r->label, id);
        free(bytes);
    }
    free(by_id);
    return st;
}

/* ---- merges ---------------------------------------------------------------------------------- */

/* The two parts of a merge, borrowed: "a b" or ["a", "b"]. */
static bool merge_parts(const json_t *entry, const char *part[2], size_t len[2])
{
    if (json_is_string(entry)) {
        part[0] = json_string_value(entry);
        const char *space = strchr(part[0], ' ');
        if (space == NULL) return false;
        part[1] = space + 1;
        len[0] = (size_t)(space - part[0]);
        len[1] = json_string_length(entry) - len[0] - 1;
        return true;
    }
    if (json_array_size(entry) != 2) return false;
    for (size_t i = 0; i < 2; i++) {
        const json_t *s = json_array_get(entry, i);
        if (!json_is_string(s)) return false;
        part[i] = json_string_value(s);
        len[i] = json_string_length(s);
    }
    return true;
}

/* Ids of both parts and of the two in a row; bytes has room for both. */
static loci_status read_merge(const reader *r, const loci_bytes_map *tokens, size_t i,
                              const char *const part[2], const size_t len[2], unsigned char *bytes,
                              loci_merge *out)
{
    size_t n[2] = { 0, 0 };
    if (!alphabet_to_bytes(part[0], len[0], bytes, &n[0]) ||
        !alphabet_to_bytes(part[1], len[1], bytes + n[0], &n[1]))
        return REFUSE(r, "%s: merge %zu is not spelt in the byte alphabet", r->label, i);
    const int64_t left = loci_bytes_map_find(tokens, bytes, n[0]);
    const int64_t right = loci_bytes_map_find(tokens, bytes + n[0], n[1]);
    const int64_t id = loci_bytes_map_find(tokens, bytes, n[0] + n[1]);
    if (left < 0 || right < 0 || id < 0)
        return REFUSE(r, "%s: merge %zu: %s \"%.40s %.40s\" is not in the vocab", r->label, i,
                      left < 0    ? "left part of"
                      : right < 0 ? "right part of"
                                  : "result of",
                      part[0], part[1]);
    *out = (loci_merge){ (uint16_t)left, (uint16_t)right, (uint16_t)id };
    return LOCI_OK;
}

static loci_status read_merges(const reader *r, const json_t *list, const loci_bytes_map *tokens,
                               loci_merge **merges, size_t *n_merges)
{
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n > LOCI_TOK_MERGES_MAX)
        return REFUSE(r, "%s: merges: not a list of at most %d", r->label, LOCI_TOK_MERGES_MAX);
    *n_merges = n;
    *merges = malloc((n + 1) * sizeof **merges);
    loci_status st =
        *merges != NULL ? LOCI_OK : loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
    for (size_t i = 0; i < n && st == LOCI_OK; i++) {
        const char *part[2] = { NULL, NULL };
        size_t len[2] = { 0, 0 };
        if (!merge_parts(json_array_get(list, i), part, len))
            return REFUSE(r, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", r->label, i);
        unsigned char *bytes = malloc(len[0] + len[1] + 1);
        if (bytes == NULL) return loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
        st = read_merge(r, tokens, i, part, len, bytes, &(*merges)[i]);
        free(bytes);
    }
    return st;
}

/* ---- the file ----------------------------------------------------------------------------------- */

loci_status loci_tokenizer_parse(loci_tokenizer **out, const char *json, size_t len,
                                 const char *label, loci_error *err)
{
    *out = NULL;
    const reader r = { label, err };
    json_error_t at;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL) return REFUSE(&r, "%s: line %d: not JSON: %.100s", label, at.line, at.text);
    loci_bytes_map tokens = { 0 };
    loci_merge *merges = NULL;
    size_t n_merges = 0;

    loci_status st = check_root(&r, root);
    if (st == LOCI_OK) st = check_added_tokens(&r, json_object_get(root, "added_tokens"));
    const json_t *model = json_object_get(root, "model");
    if (st == LOCI_OK) st = read_vocab(&r, json_object_get(model, "vocab"), &tokens);
    if (st == LOCI_OK)
        st = read_merges(&r, json_object_get(model, "merges"), &tokens, &merges, &n_merges);
    if (st == LOCI_OK) st = loci_tokenizer_build(out, &tokens, merges, n_merges, label, err);
    loci_bytes_map_free(&tokens);
    free(merges);
    json_decref(root);
    return st;
}

loci_status loci_tokenizer_open(loci_tokenizer **out, const char *path, loci_error *err)
{
    *out = NULL;
    char *json = NULL;
    size_t len = 0;
    loci_status st = loci_file_load(NULL, path, FILE_BYTES_MAX, &json, &len, err);
    if (st == LOCI_OK) st = loci_tokenizer_parse(out, json, len, path, err);
    free(json);
    return st;
}
