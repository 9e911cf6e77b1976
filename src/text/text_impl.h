/* text_impl.h - what the files of this folder share: character classes and words, the
 * table of byte strings, the tokenizer's contents and how it is put together. */
#ifndef LOCI_TEXT_IMPL_H
#define LOCI_TEXT_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "loci/tokenizer.h"

/* ---- characters (unicode_class.c) ---------------------------------------- */

typedef enum {
    LOCI_CHAR_OTHER = 1,  /* also every byte that is no part of valid UTF-8 */
    LOCI_CHAR_LETTER = 2, /* category L */
    LOCI_CHAR_NUMBER = 3, /* category N */
    LOCI_CHAR_SPACE = 4   /* property White_Space */
} loci_char_class;

/* Class of the character that starts at p, left >= 1 bytes to read; *size its bytes.
 * An invalid byte is a character of its own. */
loci_char_class loci_char_at(const unsigned char *p, size_t left, size_t *size);
/* The same for the character that ends right before p; before >= 1 bytes lie there. */
loci_char_class loci_char_before(const unsigned char *p, size_t before, size_t *size);

/* ---- words (presplit.c) ---------------------------------------------------- */

/* End of the word that starts at pos < len, where pos is 0 or the end of a word. */
size_t loci_word_end(const unsigned char *text, size_t len, size_t pos);

/* ---- byte strings to numbers (bytes_map.c) -----------------------------------
 * Each different string gets the next number: 0, 1, 2 ...  { 0 } is an empty map. */
typedef struct {
    unsigned char *bytes; /* all strings, one behind the other          */
    size_t bytes_cap;
    size_t *at;       /* (n + 1) string i is bytes[at[i] .. at[i+1]) */
    uint32_t *hash;   /* (n) kept for growing                        */
    uint32_t n, cap;  /* strings, room for strings                   */
    uint32_t *slot;   /* (n_slots) number + 1, 0 = free              */
    uint32_t n_slots; /* power of two                                */
} loci_bytes_map;

enum { LOCI_BYTES_MAP_NONE = -1 };

/* Number of the string, added if it is not there yet; LOCI_BYTES_MAP_NONE: no memory. */
int64_t loci_bytes_map_add(loci_bytes_map *m, const void *p, size_t len);
/* Number of the string, or LOCI_BYTES_MAP_NONE. */
int64_t loci_bytes_map_find(const loci_bytes_map *m, const void *p, size_t len);
void loci_bytes_map_free(loci_bytes_map *m); /* leaves an empty map */

/* ---- the tokenizer (vocab.c) -------------------------------------------------- */

enum {
    LOCI_TOK_VOCAB_MAX = 65536,      /* an id fits 16 bits */
    LOCI_TOK_MERGES_MAX = 2 * 65536, /* several merges may give one token */
    LOCI_TOK_ALPHABET = 256
};
#define LOCI_NO_MERGE UINT32_MAX

typedef struct {
    uint16_t left, right, id; /* tokens left, right in a row become id */
} loci_merge;

typedef struct {
    uint32_t pair; /* left << 16 | right                     */
    uint32_t rank; /* place in merges, LOCI_NO_MERGE = free   */
} loci_merge_slot;

struct loci_tokenizer {
    loci_bytes_map tokens; /* id -> bytes; ids below LOCI_TOK_SPECIALS hold their names */
    uint16_t byte_id[256];
    loci_merge *merges; /* (n_merges) the lower the place, the earlier it is done */
    uint32_t n_merges;
    loci_merge_slot *slot; /* (slot_mask + 1) */
    uint32_t slot_mask;
};

/* "<bos>" ..; id in 0 .. LOCI_TOK_SPECIALS - 1.  Static storage. */
const char *loci_special_name(int id);

/* The byte alphabet: 188 printable Latin-1 characters stand for themselves, the other bytes
 * for U+0100 upwards.  Character of a byte, and byte of a character or -1. */
uint32_t loci_byte_to_char(unsigned char byte);
int loci_char_to_byte(uint32_t c);
/* The k-th byte in the order of their characters, k in 0..255. */
unsigned char loci_byte_in_order(int k);

/* Take over tokens (emptied) and copy the merges.  tokens holds the specials' names at
 * 0..15; the caller has checked that each merge's id is the two parts in a row.
 * Errors: LOCI_EFORMAT a byte has no token, a pair appears twice or has to do with a
 * special; label names the source.  LOCI_ENOMEM. */
loci_status loci_tokenizer_build(loci_tokenizer **out, loci_bytes_map *tokens,
                                 const loci_merge *merges, size_t n_merges, const char *label,
                                 loci_error *err);

/* Where to look first for a pair in a table of mask + 1 slots. */
static inline uint32_t loci_pair_slot(uint32_t pair, uint32_t mask)
{
    return (uint32_t)((pair * 0x9e3779b97f4a7c15u) >> 32) & mask;
}

/* Place of the merge of two tokens, or LOCI_NO_MERGE. */
static inline uint32_t loci_merge_rank(const loci_tokenizer *t, uint32_t left, uint32_t right)
{
    const uint32_t pair = left << 16 | right;
    uint32_t i = loci_pair_slot(pair, t->slot_mask);
    while (t->slot[i].rank != LOCI_NO_MERGE && t->slot[i].pair != pair) i = (i + 1) & t->slot_mask;
    return t->slot[i].rank;
}

#endif
