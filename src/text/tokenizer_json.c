/* tokenizer_json.c - reads tokenizer.json.
 *
 * Two forms of byte-level BPE are taken.  loci's own has the pre-split of presplit.c and the
 * sixteen specials at ids 0..15; the DeepSeek form splits by regular expressions and has any
 * added tokens.  Everything that would give other ids in the public library is refused by
 * name, so a file that opens means here what it means there.  The file is never trusted:
 * each setting is known, each token spelt in the byte alphabet, each merge made of tokens
 * that are there.  What the file holds besides settings is read in vocab_json.c. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"
#include "text/vocab_json.h"

enum { FILE_BYTES_MAX = 64 << 20 };

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

static loci_status check_settings(const loci_json_reader *r, const char *where,
                                  const json_t *object, const setting *list)
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
    { "normalizer", ANY, NULL },     { "pre_tokenizer", REQUIRED, NULL },
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
static const setting regex_split_settings[] = {
    { "type", TEXT, "Split" },    { "pattern", REQUIRED, NULL }, { "behavior", TEXT, "Isolated" },
    { "invert", NOT_TRUE, NULL }, { NULL, ANY, NULL },
};
static const setting pattern_settings[] = { { "Regex", REQUIRED, NULL }, { NULL, ANY, NULL } };
/* Behind splits by expressions: the byte alphabet and no further words. */
static const setting alphabet_settings[] = {
    { "type", TEXT, "ByteLevel" }, { "add_prefix_space", FALSE, NULL },
    { "trim_offsets", ANY, NULL }, { "use_regex", FALSE, NULL },
    { NULL, ANY, NULL },
};
static const setting empty_sequence_settings[] = { { "type", TEXT, "Sequence" },
                                                   { "normalizers", REQUIRED, NULL },
                                                   { NULL, ANY, NULL } };
static const setting added_settings[] = {
    { "id", REQUIRED, NULL },     { "content", REQUIRED, NULL }, { "single_word", NOT_TRUE, NULL },
    { "lstrip", NOT_TRUE, NULL }, { "rstrip", NOT_TRUE, NULL },  { "normalized", ANY, NULL },
    { "special", ANY, NULL },     { NULL, ANY, NULL },
};

/* Nothing, or a sequence of no steps. */
static loci_status check_normalizer(const loci_json_reader *r, const json_t *n)
{
    if (n == NULL || json_is_null(n)) return LOCI_OK;
    const loci_status st = check_settings(r, "normalizer", n, empty_sequence_settings);
    if (st != LOCI_OK) return st;
    if (json_array_size(json_object_get(n, "normalizers")) != 0)
        return REFUSE(r, "%s: normalizer: its steps are not supported", r->label);
    return LOCI_OK;
}

/* Everything but the words and the vocabulary; *steps: the list of pre-tokenizers. */
static loci_status check_root(const loci_json_reader *r, const json_t *root, const json_t **steps)
{
    *steps = NULL;
    loci_status st = check_settings(r, "tokenizer", root, root_settings);
    const json_t *split = json_object_get(root, "pre_tokenizer");
    if (st == LOCI_OK) st = check_normalizer(r, json_object_get(root, "normalizer"));
    if (st == LOCI_OK) st = check_settings(r, "pre_tokenizer", split, sequence_settings);
    if (st == LOCI_OK)
        st = check_settings(r, "decoder", json_object_get(root, "decoder"), byte_level_settings);
    const json_t *post = json_object_get(root, "post_processor");
    if (st == LOCI_OK && post != NULL && !json_is_null(post))
        st = check_settings(r, "post_processor", post, byte_level_settings);
    if (st == LOCI_OK)
        st = check_settings(r, "model", json_object_get(root, "model"), model_settings);
    const json_t *list = json_object_get(root, "added_tokens");
    for (size_t i = 0; i < json_array_size(list) && st == LOCI_OK; i++)
        st = check_settings(r, "added_tokens", json_array_get(list, i), added_settings);
    *steps = json_object_get(split, "pretokenizers");
    return st;
}

/* ---- the two forms --------------------------------------------------------------------- */

static loci_status check_own_words(const loci_json_reader *r, const json_t *steps)
{
    if (json_array_size(steps) != 2)
        return REFUSE(r, "%s: pre_tokenizer: %zu steps, expected Digits and ByteLevel", r->label,
                      json_array_size(steps));
    const loci_status st =
        check_settings(r, "pre_tokenizer 0", json_array_get(steps, 0), digits_settings);
    return st == LOCI_OK
               ? check_settings(r, "pre_tokenizer 1", json_array_get(steps, 1), split_settings)
               : st;
}

static loci_status check_own_specials(const loci_json_reader *r, const json_t *list)
{
    if (json_array_size(list) != LOCI_TOK_SPECIALS)
        return REFUSE(r, "%s: added_tokens: %zu entries, expected %d", r->label,
                      json_array_size(list), LOCI_TOK_SPECIALS);
    for (int i = 0; i < LOCI_TOK_SPECIALS; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        const json_t *id = json_object_get(entry, "id");
        const char *content = json_string_value(json_object_get(entry, "content"));
        if (!json_is_integer(id) || json_integer_value(id) != i || content == NULL ||
            strcmp(content, loci_special_name(i)) != 0)
            return REFUSE(r, "%s: added_tokens: entry %d is not %s with id %d", r->label, i,
                          loci_special_name(i), i);
        if (!json_is_true(json_object_get(entry, "special")))
            return REFUSE(r, "%s: added_tokens: entry %d is not special", r->label, i);
    }
    return LOCI_OK;
}

/* The expressions of all steps but the last; the strings are the file's. */
static loci_status read_patterns(const loci_json_reader *r, const json_t *steps,
                                 loci_string *pattern, size_t *n)
{
    *n = json_array_size(steps) - 1;
    if (*n < 1 || *n > LOCI_SPLIT_PATTERNS_MAX)
        return REFUSE(r, "%s: pre_tokenizer: %zu splits, expected 1..%d", r->label, *n,
                      LOCI_SPLIT_PATTERNS_MAX);
    for (size_t i = 0; i < *n; i++) {
        const json_t *step = json_array_get(steps, i);
        const json_t *p = json_object_get(step, "pattern");
        loci_status st = check_settings(r, "pre_tokenizer", step, regex_split_settings);
        if (st == LOCI_OK) st = check_settings(r, "pre_tokenizer: pattern", p, pattern_settings);
        if (st != LOCI_OK) return st;
        const json_t *text = json_object_get(p, "Regex");
        if (!json_is_string(text))
            return REFUSE(r, "%s: pre_tokenizer: Regex of split %zu is no text", r->label, i);
        pattern[i] = (loci_string){ json_string_value(text), json_string_length(text) };
    }
    return check_settings(r, "pre_tokenizer: last step", json_array_get(steps, *n),
                          alphabet_settings);
}

static loci_status read_splitter(const loci_json_reader *r, const json_t *steps,
                                 loci_splitter **out)
{
    loci_string pattern[LOCI_SPLIT_PATTERNS_MAX];
    size_t n = 0;
    *out = NULL;
    const loci_status st = read_patterns(r, steps, pattern, &n);
    return st == LOCI_OK ? loci_splitter_open(out, pattern, n, r->label, r->err) : st;
}

static bool splits_by_expressions(const json_t *steps)
{
    const char *type = json_string_value(json_object_get(json_array_get(steps, 0), "type"));
    return type != NULL && strcmp(type, "Split") == 0;
}

/* ---- the file ----------------------------------------------------------------------------------- */

loci_status loci_tokenizer_parse(loci_tokenizer **out, const char *json, size_t len,
                                 const char *label, loci_error *err)
{
    *out = NULL;
    const loci_json_reader r = { label, err };
    json_error_t at;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL) return REFUSE(&r, "%s: line %d: not JSON: %.100s", label, at.line, at.text);
    const json_t *added = json_object_get(root, "added_tokens"), *steps = NULL;
    loci_splitter *split = NULL;

    loci_status st = check_root(&r, root, &steps);
    const bool own = !splits_by_expressions(steps);
    if (st == LOCI_OK) st = own ? check_own_words(&r, steps) : read_splitter(&r, steps, &split);
    if (st == LOCI_OK && own) st = check_own_specials(&r, added);
    if (st == LOCI_OK)
        st = loci_vocab_read(&r, json_object_get(root, "model"), own ? NULL : added, out);
    if (st == LOCI_OK)
        (*out)->split = split;
    else
        loci_splitter_close(split);
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
