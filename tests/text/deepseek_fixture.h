/* deepseek_fixture.h - a small tokenizer of the DeepSeek form, made by hand: three specials,
 * the byte alphabet, a few merges, added tokens behind them with a gap between. */
#ifndef LOCI_DEEPSEEK_FIXTURE_H
#define LOCI_DEEPSEEK_FIXTURE_H

#include "json_edit.h"

#define BAR       "\xef\xbd\x9c" /* U+FF5C */
#define LINE      "\xe2\x96\x81" /* U+2581 */
#define BOS       "<" BAR "begin" LINE "of" LINE "sentence" BAR ">"
#define EOS       "<" BAR "end" LINE "of" LINE "sentence" BAR ">"
#define PAD       "<" BAR LINE "pad" LINE BAR ">"
#define USER      "<" BAR "User" BAR ">"
#define ASSISTANT "<" BAR "Assistant" BAR ">"
#define DSML      BAR "DSML" BAR

enum {
    DS_FIRST_BYTE = 3, /* after BOS, EOS, PAD */
    DS_FIRST_MERGE = DS_FIRST_BYTE + 256,
    DS_FIRST_ADDED = 300
};

/* Parts in the byte alphabet: U+0120 is the blank, U+010A the line's end. */
static const char *const ds_merge[][2] = {
    { "l", "o" },          { "lo", "w" },
    { "\xc4\xa0", "low" }, { "e", "r" },
    { "low", "er" },       { "1", "2" },
    { "12", "3" },         { ".", "\xc4\x8a" },
    { "'", "s" },          { "\xc4\xa0", "\xc4\xa0" },
    { "a", "b" },          { "\xc4\x8a", "\xc4\x8a" },
};
enum { DS_MERGES = sizeof ds_merge / sizeof *ds_merge };

static const struct {
    const char *text;
    bool special, normalized;
} ds_added[] = {
    { USER, false, true },
    { ASSISTANT, false, true },
    { "<think>", false, true },
    { "</think>", false, true },
    { DSML, false, true },
    { "<" BAR "latest_reminder" BAR ">", false, true },
    { "<" BAR "action" BAR ">", false, true },
    { "<" BAR "query" BAR ">", false, true },
    { "<" BAR "authority" BAR ">", false, true },
    { "<" BAR "domain" BAR ">", false, true },
    { "<" BAR "title" BAR ">", false, true },
    { "<" BAR "read_url" BAR ">", false, true },
    { "xy", false, true },
    { "xyz", true, true },
    { "yz<", false, false }, /* looked for before all above */
};
enum { DS_ADDED = sizeof ds_added / sizeof *ds_added };

static inline json_t *ds_split(const char *pattern)
{
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", pattern,
                     "behavior", "Isolated", "invert", 0);
}

static inline json_t *ds_added_token(int id, const char *text, bool special, bool normalized)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", text,
                     "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", (int)normalized,
                     "special", (int)special);
}

/* A character of the byte alphabet as UTF-8. */
static inline void ds_letter(unsigned char byte, char out[4])
{
    const uint32_t c = loci_byte_to_char(byte);
    size_t n = 0;
    if (c >= 0x80) out[n++] = (char)(0xc0 | c >> 6);
    out[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    out[n] = '\0';
}

/* The file as the public library writes it; json_decref. */
static inline json_t *ds_json(void)
{
    static const char *const base[] = { BOS, EOS, PAD };
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    for (int i = 0; i < 3; i++) {
        json_object_set_new(vocab, base[i], json_integer(i));
        json_array_append_new(added, ds_added_token(i, base[i], true, false));
    }
    for (int k = 0; k < 256; k++) {
        char letter[4];
        ds_letter(loci_byte_in_order(k), letter);
        json_object_set_new(vocab, letter, json_integer(DS_FIRST_BYTE + k));
    }
    for (int i = 0; i < DS_MERGES; i++) {
        json_t *name = json_sprintf("%s%s", ds_merge[i][0], ds_merge[i][1]);
        json_object_set_new(vocab, json_string_value(name), json_integer(DS_FIRST_MERGE + i));
        json_decref(name);
        json_array_append_new(merges, json_pack("[s, s]", ds_merge[i][0], ds_merge[i][1]));
    }
    for (int i = 0; i < DS_ADDED; i++)
        json_array_append_new(added, ds_added_token(DS_FIRST_ADDED + i, ds_added[i].text,
                                                    ds_added[i].special, ds_added[i].normalized));
    json_t *steps = json_pack(
        "[o, o, o, {s:s, s:b, s:b, s:b}]", ds_split("\\p{N}{1,3}"),
        ds_split("[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+"),
        ds_split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
                 "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
                 "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
        "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 0);
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                  "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                  "byte_fallback", 0, "vocab", vocab, "merges", merges);
    json_t *byte_level = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
                                   1, "trim_offsets", 1, "use_regex", 1);
    json_t *root =
        json_pack("{s:s, s:n, s:n, s:o, s:{s:s, s:[]}, s:{s:s, s:o}, s:O, s:o, s:o}", "version",
                  "1.0", "truncation", "padding", "added_tokens", added, "normalizer", "type",
                  "Sequence", "normalizers", "pre_tokenizer", "type", "Sequence", "pretokenizers",
                  steps, "post_processor", byte_level, "decoder", byte_level, "model", model);
    assert_non_null(root);
    return root;
}

static inline loci_tokenizer *ds_open(const json_t *root)
{
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    char *text = json_dumps(root, 0);
    MUST(loci_tokenizer_parse(&t, text, strlen(text), "deepseek", &err));
    free(text);
    return t;
}

static inline loci_tokenizer *ds_tokenizer(void)
{
    json_t *root = ds_json();
    loci_tokenizer *t = ds_open(root);
    json_decref(root);
    return t;
}

#endif
