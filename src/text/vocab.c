/* vocab.c - what a tokenizer holds: the bytes of each token, the merges with a table to find
 * them by pair, the byte alphabet; and decoding, which needs no more than that. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

const char *loci_special_name(int id)
{
    static const char *const name[LOCI_TOK_SPECIALS] = {
        "<bos>", "<q>",  "<a>",   "<e>",   "<pad>", "<r5>",  "<r6>",  "<r7>",
        "<r8>",  "<r9>", "<r10>", "<r11>", "<r12>", "<r13>", "<r14>", "<r15>",
    };
    return name[id];
}

/* ---- byte alphabet ---------------------------------------------------------- */

enum { N_SELF = 188 }; /* bytes that stand for themselves */

static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad);
}

/* The others, in order: 00-20, 7F-A0, AD are 0, 1, 2 .. 67 above U+0100. */
uint32_t loci_byte_to_char(unsigned char byte)
{
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xad ? 0x143u : 0x100u + 33 + (byte - 0x7fu);
}

int loci_char_to_byte(uint32_t c)
{
    if (stands_for_itself(c)) return (int)c;
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

unsigned char loci_byte_in_order(int k)
{
    if (k >= N_SELF) return (unsigned char)loci_char_to_byte(0x100u + (uint32_t)(k - N_SELF));
    if (k < 94) return (unsigned char)(0x21 + k);
    return (unsigned char)(k < 94 + 12 ? 0xa1 + (k - 94) : 0xae + (k - 94 - 12));
}

/* ---- putting together --------------------------------------------------------- */

static loci_status bind_bytes(loci_tokenizer *t, const char *label, loci_error *err)
{
    for (int b = 0; b < 256; b++) {
        const unsigned char byte = (unsigned char)b;
        const int64_t id = loci_bytes_map_find(&t->tokens, &byte, 1);
        if (id < 0 || t->kind[id] != LOCI_TOKEN_PLAIN)
            return loci_fail(err, LOCI_EFORMAT, "%s: no token for byte 0x%02x", label, b);
        t->byte_id[b] = (int32_t)id;
    }
    return LOCI_OK;
}

static loci_status bind_merges(loci_tokenizer *t, const char *label, loci_error *err)
{
    for (uint32_t i = 0; i <= t->slot_mask; i++) t->slot[i].rank = LOCI_NO_MERGE;
    for (uint32_t rank = 0; rank < t->n_merges; rank++) {
        const loci_merge m = t->merges[rank];
        if (t->kind[m.left] != LOCI_TOKEN_PLAIN || t->kind[m.right] != LOCI_TOKEN_PLAIN ||
            t->kind[m.id] != LOCI_TOKEN_PLAIN)
            return loci_fail(err, LOCI_EFORMAT, "%s: merge %u has a part or result that is special",
                             label, rank);
        if (loci_merge_rank(t, m.left, m.right) != LOCI_NO_MERGE)
            return loci_fail(err, LOCI_EFORMAT, "%s: merge %u repeats an earlier pair", label,
                             rank);
        uint32_t i = loci_pair_slot(m.left, m.right, t->slot_mask);
        while (t->slot[i].rank != LOCI_NO_MERGE) i = (i + 1) & t->slot_mask;
        t->slot[i] = (loci_merge_slot){ m.left, m.right, rank };
    }
    return LOCI_OK;
}

/* Kinds of the tokens and the list of those that are not plain. */
static loci_status bind_kinds(loci_tokenizer *t, const unsigned char *kind, const char *label,
                              loci_error *err)
{
    t->kind = calloc((size_t)t->tokens.n + 1, 1);
    if (t->kind == NULL) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for the kinds", label);
    for (uint32_t id = 0; id < t->tokens.n; id++)
        t->kind[id] = kind != NULL             ? kind[id]
                      : id < LOCI_TOK_SPECIALS ? LOCI_TOKEN_SPECIAL
                                               : LOCI_TOKEN_PLAIN;
    const loci_status st = loci_added_collect(&t->added, &t->tokens, t->kind, label, err);
    for (uint32_t id = 0; id < t->tokens.n; id++) t->kind[id] &= (unsigned char)~LOCI_TOKEN_FIRST;
    return st;
}

loci_status loci_tokenizer_build(loci_tokenizer **out, loci_bytes_map *tokens,
                                 const unsigned char *kind, const loci_merge *merges,
                                 size_t n_merges, const char *label, loci_error *err)
{
    *out = NULL;
    if (n_merges > LOCI_TOK_MERGES_MAX)
        return loci_fail(err, LOCI_EFORMAT, "%s: %zu merges, at most %d are supported", label,
                         n_merges, LOCI_TOK_MERGES_MAX);
    loci_tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for the tokenizer", label);
    t->tokens = *tokens;
    *tokens = (loci_bytes_map){ 0 };
    t->n_merges = (uint32_t)n_merges;
    /* At most a quarter full: nearly every look-up ends at its first slot. */
    t->slot_mask = 1023;
    while (t->slot_mask < 4 * n_merges) t->slot_mask = t->slot_mask * 2 + 1;
    t->slot = malloc(((size_t)t->slot_mask + 1) * sizeof *t->slot);
    t->merges = malloc((n_merges + 1) * sizeof *t->merges);

    loci_status st = LOCI_OK;
    if (t->slot == NULL || t->merges == NULL) {
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu merges", label, n_merges);
        goto out;
    }
    if (n_merges > 0) memcpy(t->merges, merges, n_merges * sizeof *merges);
    st = bind_kinds(t, kind, label, err);
    if (st == LOCI_OK) st = bind_bytes(t, label, err);
    if (st == LOCI_OK) st = bind_merges(t, label, err);
out:
    if (st != LOCI_OK) {
        loci_tokenizer_close(t);
        return st;
    }
    *out = t;
    return LOCI_OK;
}

void loci_tokenizer_close(loci_tokenizer *t)
{
    if (t == NULL) return;
    loci_bytes_map_free(&t->tokens);
    free(t->merges);
    free(t->slot);
    free(t->kind);
    loci_added_free(&t->added);
    loci_splitter_close(t->split);
    free(t);
}

int loci_tokenizer_vocab(const loci_tokenizer *t)
{
    return (int)t->tokens.n;
}

loci_token_kind loci_tokenizer_kind(const loci_tokenizer *t, int32_t id)
{
    if (id < 0 || (uint32_t)id >= t->tokens.n) return LOCI_TOKEN_UNUSED;
    return (loci_token_kind)t->kind[id];
}

int32_t loci_tokenizer_find(const loci_tokenizer *t, const char *text)
{
    const int64_t id = loci_bytes_map_find(&t->tokens, text, strlen(text));
    const loci_token_kind kind = loci_tokenizer_kind(t, (int32_t)id);
    return kind == LOCI_TOKEN_ADDED || kind == LOCI_TOKEN_SPECIAL ? (int32_t)id : -1;
}

/* ---- decoding ------------------------------------------------------------------- */

const char *loci_token_bytes(const loci_tokenizer *t, int32_t id, size_t *len)
{
    const loci_token_kind kind = loci_tokenizer_kind(t, id);
    if (kind == LOCI_TOKEN_SPECIAL || kind == LOCI_TOKEN_UNUSED) {
        *len = 0;
        return "";
    }
    *len = t->tokens.at[id + 1] - t->tokens.at[id];
    return (const char *)t->tokens.bytes + t->tokens.at[id];
}

loci_status loci_decode(const loci_tokenizer *t, const int32_t *ids, size_t n_ids, char *out,
                        size_t cap, size_t *n, loci_error *err)
{
    *n = 0;
    size_t need = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= t->tokens.n)
            return loci_fail(err, LOCI_EINVAL, "decode: id %d at %zu is not in 0..%u", (int)ids[i],
                             i, t->tokens.n - 1);
        size_t len = 0;
        const char *bytes = loci_token_bytes(t, ids[i], &len);
        if (need <= cap && len <= cap - need && len > 0) memcpy(out + need, bytes, len);
        if (!loci_size_add(need, len, &need))
            return loci_fail(err, LOCI_EINVAL, "decode: %zu ids give more bytes than memory holds",
                             n_ids);
    }
    *n = need;
    if (need > cap)
        return loci_fail(err, LOCI_EINVAL, "decode: %zu bytes needed, room for %zu", need, cap);
    return LOCI_OK;
}
