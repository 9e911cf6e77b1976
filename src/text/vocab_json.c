/* vocab_json.c - vocabulary, added tokens and merges of a tokenizer.json. */
#include "text/vocab_json.h"
#include <stdlib.h>
#include <string.h>
#include "base/base.h"

/* Names and kinds of all ids; the names are the file's. */
typedef struct {
    loci_string *name;   /* (n) */
    unsigned char *kind; /* (n) loci_token_kind, perhaps with LOCI_TOKEN_FIRST */
    size_t n;
} vocab_names;

static void names_free(vocab_names *v)
{
    free(v->name);
    free(v->kind);
}

/* Room for n ids, all of them unused. */
static loci_status names_open(const loci_json_reader *r, vocab_names *v, size_t n)
{
    v->n = n;
    v->name = calloc(n + 1, sizeof *v->name);
    v->kind = malloc(n + 1);
    if (v->name == NULL || v->kind == NULL)
        return loci_fail(r->err, LOCI_ENOMEM, "%s: no memory for %zu tokens", r->label, n);
    memset(v->kind, LOCI_TOKEN_UNUSED, n);
    return LOCI_OK;
}

/* The number of an entry, -1 if it is none in [0, limit). */
static int64_t id_below(const json_t *value, size_t limit)
{
    const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    return id >= 0 && (uint64_t)id < limit ? (int64_t)id : -1;
}

static loci_status read_vocab(const loci_json_reader *r, json_t *vocab, vocab_names *v)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(vocab, name, value)
    {
        const int64_t id = id_below(value, v->n);
        if (id < 0)
            return REFUSE(r, "%s: vocab: id of \"%.60s\" is not a number in 0..%zu", r->label, name,
                          v->n - 1);
        if (v->kind[id] != LOCI_TOKEN_UNUSED)
            return REFUSE(r, "%s: vocab: \"%.60s\" and \"%.60s\" have the same id %d", r->label,
                          v->name[id].bytes, name, (int)id);
        v->name[id] = (loci_string){ name, strlen(name) };
        v->kind[id] = LOCI_TOKEN_PLAIN;
    }
    return LOCI_OK;
}

/* ---- loci's own form --------------------------------------------------------------------- */

static loci_status read_own(const loci_json_reader *r, json_t *vocab, vocab_names *v)
{
    const size_t n = json_object_size(vocab);
    if (!json_is_object(vocab) || n < LOCI_TOK_SPECIALS + LOCI_TOK_ALPHABET ||
        n > LOCI_TOK_VOCAB_MAX)
        return REFUSE(r, "%s: vocab: %zu tokens, supported are %d..%d", r->label, n,
                      LOCI_TOK_SPECIALS + LOCI_TOK_ALPHABET, LOCI_TOK_VOCAB_MAX);
    loci_status st = names_open(r, v, n);
    if (st == LOCI_OK) st = read_vocab(r, vocab, v);
    for (int i = 0; i < LOCI_TOK_SPECIALS && st == LOCI_OK; i++) {
        if (strcmp(v->name[i].bytes, loci_special_name(i)) != 0)
            st = REFUSE(r, "%s: vocab: id %d is \"%.60s\", expected %s", r->label, i,
                        v->name[i].bytes, loci_special_name(i));
        v->kind[i] = LOCI_TOKEN_SPECIAL;
    }
    return st;
}

/* ---- the DeepSeek form ------------------------------------------------------------------------ */

/* One more than the largest id; ids that are no numbers are refused where they are read. */
static size_t count_ids(json_t *vocab, const json_t *added)
{
    int64_t largest = -1;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(vocab, name, value)
    {
        const int64_t id = id_below(value, LOCI_TOK_IDS_MAX);
        if (id > largest) largest = id;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const int64_t id =
            id_below(json_object_get(json_array_get(added, i), "id"), LOCI_TOK_IDS_MAX);
        if (id > largest) largest = id;
    }
    return (size_t)(largest + 1);
}

/* An added token may have its place in the vocabulary, under the same name, or behind it. */
static loci_status read_added(const loci_json_reader *r, const json_t *list, vocab_names *v)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *content = json_object_get(entry, "content");
        const int64_t id = id_below(json_object_get(entry, "id"), v->n);
        if (id < 0 || !json_is_string(content))
            return REFUSE(r, "%s: added_tokens: entry %zu: id or content is not supported",
                          r->label, i);
        const loci_string name = { json_string_value(content), json_string_length(content) };
        const bool there = v->kind[id] != LOCI_TOKEN_UNUSED;
        if (there && (v->kind[id] != LOCI_TOKEN_PLAIN || v->name[id].len != name.len ||
                      memcmp(v->name[id].bytes, name.bytes, name.len) != 0))
            return REFUSE(r, "%s: added_tokens: entry %zu: id %d is \"%.60s\" already", r->label, i,
                          (int)id, v->name[id].bytes);
        v->name[id] = name;
        v->kind[id] =
            json_is_true(json_object_get(entry, "special")) ? LOCI_TOKEN_SPECIAL : LOCI_TOKEN_ADDED;
        /* The library looks for those that are not normalised before all others. */
        if (!json_is_true(json_object_get(entry, "normalized"))) v->kind[id] |= LOCI_TOKEN_FIRST;
    }
    return LOCI_OK;
}

static loci_status read_deepseek(const loci_json_reader *r, json_t *vocab, const json_t *added,
                                 vocab_names *v)
{
    const size_t n_tokens = json_object_size(vocab) + json_array_size(added);
    const size_t n = count_ids(vocab, added);
    if (!json_is_object(vocab) || !json_is_array(added) || n < LOCI_TOK_ALPHABET)
        return REFUSE(r, "%s: vocab: %zu ids, expected an object with at least %d", r->label, n,
                      LOCI_TOK_ALPHABET);
    /* A few numbers may be free; a table of mostly free ones is a mistake. */
    if (n / 2 > n_tokens)
        return REFUSE(r, "%s: vocab: %zu tokens with ids up to %zu", r->label, n_tokens, n - 1);
    loci_status st = names_open(r, v, n);
    if (st == LOCI_OK) st = read_vocab(r, vocab, v);
    if (st == LOCI_OK) st = read_added(r, added, v);
    return st;
}

/* ---- merges ---------------------------------------------------------------------------------- */

/* The two parts of a merge, borrowed: "a b" or ["a", "b"]. */
static bool merge_parts(const json_t *entry, loci_string part[2])
{
    if (json_is_string(entry))
        return loci_merge_parts((loci_string){ json_string_value(entry),
                                               json_string_length(entry) },
                                part);
    if (json_array_size(entry) != 2) return false;
    for (size_t i = 0; i < 2; i++) {
        const json_t *s = json_array_get(entry, i);
        if (!json_is_string(s)) return false;
        part[i] = (loci_string){ json_string_value(s), json_string_length(s) };
    }
    return true;
}

static loci_status read_merges(const loci_json_reader *r, const json_t *list,
                               const loci_bytes_map *tokens, loci_merge **merges, size_t *n_merges)
{
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n > LOCI_TOK_MERGES_MAX)
        return REFUSE(r, "%s: merges: not a list of at most %d", r->label, LOCI_TOK_MERGES_MAX);
    *n_merges = n;
    *merges = malloc((n + 1) * sizeof **merges);
    loci_status st =
        *merges != NULL ? LOCI_OK : loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
    for (size_t i = 0; i < n && st == LOCI_OK; i++) {
        loci_string part[2] = { { NULL, 0 }, { NULL, 0 } };
        if (!merge_parts(json_array_get(list, i), part))
            return REFUSE(r, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", r->label, i);
        st = loci_merge_from_text(&(*merges)[i], tokens, part, i, r->label, r->err);
    }
    return st;
}

loci_status loci_vocab_read(const loci_json_reader *r, const json_t *model, const json_t *added,
                            loci_tokenizer **out)
{
    *out = NULL;
    json_t *vocab = json_object_get(model, "vocab");
    vocab_names v = { NULL, NULL, 0 };
    loci_bytes_map tokens = { 0 };
    loci_merge *merges = NULL;
    size_t n_merges = 0;
    loci_status st = added == NULL ? read_own(r, vocab, &v) : read_deepseek(r, vocab, added, &v);
    if (st == LOCI_OK) st = loci_tokens_from_text(&tokens, v.name, v.kind, v.n, r->label, r->err);
    if (st == LOCI_OK)
        st = read_merges(r, json_object_get(model, "merges"), &tokens, &merges, &n_merges);
    if (st == LOCI_OK)
        st = loci_tokenizer_build(out, &tokens, v.kind, merges, n_merges, r->label, r->err);
    loci_bytes_map_free(&tokens);
    free(merges);
    names_free(&v);
    return st;
}
