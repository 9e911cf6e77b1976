/* text_impl.h - what the files of this folder share: character classes and words, the
 * table of byte strings, the tokenizer's contents and how it is put together, the words of
 * regular expressions, the tokens that are looked for in a text. */
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
/* Bytes of the valid character at p (left >= 1 bytes to read), 0 if there is none. */
size_t loci_utf8_size(const unsigned char *p, size_t left);

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

/* ---- words by regular expressions (regex_split.c) ---------------------------------
 * Each expression cuts every piece that those before it left: a match is a piece, and so is
 * what stands between two. */
typedef struct loci_splitter loci_splitter;   /* immutable: any number of threads */
typedef struct loci_split_run loci_split_run; /* what one thread needs to split */

enum { LOCI_SPLIT_PATTERNS_MAX = 8, LOCI_SPLIT_PATTERN_BYTES_MAX = 4096 };

/* Errors: LOCI_EFORMAT a pattern is malformed, too long or may match nothing; LOCI_ENOMEM. */
loci_status loci_splitter_open(loci_splitter **out, const loci_string *pattern, size_t n,
                               const char *label, loci_error *err);
void loci_splitter_close(loci_splitter *s); /* NULL is fine */
loci_status loci_split_run_open(loci_split_run **out, const loci_splitter *s, loci_error *err);
void loci_split_run_close(loci_split_run *r); /* NULL is fine */
/* Give each word of the text in order; false from `word` stops with LOCI_ENOMEM.  A run of
 * bytes that is no UTF-8 is a word, and the text on either side is split as if alone.
 * Errors: LOCI_EINVAL an expression takes too long on this text: place named. */
typedef bool loci_word_fn(void *ctx, const unsigned char *word, size_t n);
loci_status loci_split_words(loci_split_run *r, const unsigned char *text, size_t len,
                             loci_word_fn *word, void *ctx, loci_error *err);

/* ---- tokens that a text may hold as they are (added_tokens.c) ----------------------- */
typedef struct {
    const unsigned char *text; /* borrowed from the tokenizer's tokens */
    size_t len;
    int32_t id;
} loci_added_token;

typedef struct {
    loci_added_token *first, *then; /* sorted by text; all of `first` are looked for before */
    size_t n_first, n_then;
    bool starts[256]; /* a token starts with this byte */
} loci_added;

/* One part of a text: a token (id >= 0) or what lies between two (id -1). */
typedef loci_status loci_part_fn(void *ctx, const unsigned char *part, size_t n, int32_t id);
/* Sort the tokens of a tokenizer that are added or special (kind with LOCI_TOKEN_FIRST). */
loci_status loci_added_collect(loci_added *a, const loci_bytes_map *tokens,
                               const unsigned char *kind, const char *label, loci_error *err);
/* Leftmost-longest, those of `first` in the whole text before those of `then`; parts come in
 * order, empty ones are left out; a status other than LOCI_OK stops. */
loci_status loci_added_split(const loci_added *a, const unsigned char *text, size_t len,
                             loci_part_fn *fn, void *ctx);
void loci_added_free(loci_added *a);

/* ---- the tokenizer (vocab.c) -------------------------------------------------- */

enum {
    LOCI_TOK_VOCAB_MAX = 65536,    /* of loci's own tokenizers: an id fits 16 bits */
    LOCI_TOK_IDS_MAX = 1 << 20,    /* of any */
    LOCI_TOK_MERGES_MAX = 1 << 21, /* several merges may give one token */
    LOCI_TOK_ADDED_MAX = 65536,    /* and their bytes: a search step costs at most these */
    LOCI_TOK_ADDED_BYTES_MAX = 256,
    LOCI_TOK_ALPHABET = 256,
    LOCI_TOKEN_FIRST = 0x80 /* flag of an added or special token: looked for before others */
};
#define LOCI_NO_MERGE UINT32_MAX

typedef struct {
    uint32_t left, right, id; /* tokens left, right in a row become id */
} loci_merge;

typedef struct {
    uint32_t left, right; /* the pair                                  */
    uint32_t rank;        /* place in merges, LOCI_NO_MERGE = free     */
} loci_merge_slot;

struct loci_tokenizer {
    loci_bytes_map tokens; /* id -> bytes; of tokens that are not plain, their names */
    unsigned char *kind;   /* (tokens.n) loci_token_kind, LOCI_TOKEN_FIRST taken off */
    int32_t byte_id[256];
    loci_merge *merges; /* (n_merges) the lower the place, the earlier it is done */
    uint32_t n_merges;
    loci_merge_slot *slot; /* (slot_mask + 1) */
    uint32_t slot_mask;
    loci_added added;
    loci_splitter *split; /* NULL: the words of presplit.c */
};

/* "<bos>" ..; id in 0 .. LOCI_TOK_SPECIALS - 1.  Static storage. */
const char *loci_special_name(int id);

/* The byte alphabet: 188 printable Latin-1 characters stand for themselves, the other bytes
 * for U+0100 upwards.  Character of a byte, and byte of a character or -1. */
uint32_t loci_byte_to_char(unsigned char byte);
int loci_char_to_byte(uint32_t c);
/* The k-th byte in the order of their characters, k in 0..255. */
unsigned char loci_byte_in_order(int k);

/* Take over tokens (emptied), copy kinds and merges.  kind (tokens->n) holds loci_token_kind,
 * perhaps with LOCI_TOKEN_FIRST; NULL: loci's own, the first LOCI_TOK_SPECIALS are special.
 * The caller has checked that each merge's id is the two parts in a row.
 * Errors: LOCI_EFORMAT a byte has no token, a pair appears twice or has to do with a token
 * that is not plain; label names the source.  LOCI_ENOMEM. */
loci_status loci_tokenizer_build(loci_tokenizer **out, loci_bytes_map *tokens,
                                 const unsigned char *kind, const loci_merge *merges,
                                 size_t n_merges, const char *label, loci_error *err);

/* ---- tokens and merges as text (vocab_text.c) ------------------------------------------ */

/* Fill `tokens` with n names: plain ones are spelt in the byte alphabet, the others stand
 * for themselves.  Errors: LOCI_EFORMAT naming the token, LOCI_ENOMEM. */
loci_status loci_tokens_from_text(loci_bytes_map *tokens, const loci_string *name,
                                  const unsigned char *kind, size_t n, const char *label,
                                  loci_error *err);
/* Ids of both parts of merge i and of the two in a row. */
loci_status loci_merge_from_text(loci_merge *out, const loci_bytes_map *tokens,
                                 const loci_string part[2], size_t i, const char *label,
                                 loci_error *err);
/* Split "left right"; false if there is no blank. */
bool loci_merge_parts(loci_string merge, loci_string part[2]);

/* Where to look first for a pair in a table of mask + 1 slots. */
static inline uint32_t loci_pair_slot(uint32_t left, uint32_t right, uint32_t mask)
{
    const uint64_t pair = (uint64_t)left << 32 | right;
    return (uint32_t)((pair * 0x9e3779b97f4a7c15u) >> 32) & mask;
}

/* Place of the merge of two tokens, or LOCI_NO_MERGE. */
static inline uint32_t loci_merge_rank(const loci_tokenizer *t, uint32_t left, uint32_t right)
{
    uint32_t i = loci_pair_slot(left, right, t->slot_mask);
    while (t->slot[i].rank != LOCI_NO_MERGE &&
           (t->slot[i].left != left || t->slot[i].right != right))
        i = (i + 1) & t->slot_mask;
    return t->slot[i].rank;
}

#endif
