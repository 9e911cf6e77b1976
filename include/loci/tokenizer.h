/* tokenizer.h - bytes to token ids and back: byte-level BPE read from a Hugging Face
 * tokenizer.json, or made from the lists of a GGUF file.
 *
 * Two forms are taken; the file says which it is.
 *   loci      every character of Unicode class N alone, then the GPT-2 pattern
 *             ('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+).
 *             A byte that is no part of a valid character counts as "other".
 *   DeepSeek  up to 8 isolated splits by regular expressions, one behind the other (PCRE2,
 *             with the Unicode tables of the library installed), then the byte alphabet; any
 *             number of added tokens.  Bytes that are no UTF-8 are a word of their own.
 * Decoding what was encoded as plain text gives the same bytes for any input. */
#ifndef LOCI_TOKENIZER_H
#define LOCI_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>
#include "loci/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LOCI_TOK_BOS = 0,
    LOCI_TOK_Q = 1,
    LOCI_TOK_A = 2,
    LOCI_TOK_E = 3,
    LOCI_TOK_PAD = 4,
    LOCI_TOK_SPECIALS = 16 /* ids 0..15 are special: <bos> <q> <a> <e> <pad> <r5> .. <r15> */
};

typedef struct loci_tokenizer loci_tokenizer; /* immutable after opening: any number of threads */

/* Bytes that belong to somebody else; not NUL-terminated. */
typedef struct {
    const char *bytes;
    size_t len;
} loci_string;

typedef enum {
    LOCI_TOKEN_PLAIN = 0,   /* part of the byte-level vocabulary */
    LOCI_TOKEN_ADDED = 1,   /* found whole by loci_encode_marked; decodes to its text */
    LOCI_TOKEN_SPECIAL = 2, /* found whole by loci_encode_marked; decodes to nothing */
    LOCI_TOKEN_UNUSED = 3   /* an id without a token; decodes to nothing */
} loci_token_kind;

LOCI_API loci_status loci_tokenizer_open(loci_tokenizer **out, const char *path, loci_error *err);
/* The same from memory; label names it in messages.  For fuzzing and for embedded copies. */
LOCI_API loci_status loci_tokenizer_parse(loci_tokenizer **out, const char *json, size_t len,
                                          const char *label, loci_error *err);
/* The vocabulary as GGUF stores it (tokenizer.ggml.tokens, .token_type, .merges, .pre). */
typedef struct {
    const loci_string *tokens; /* (n_tokens) plain ones in the byte alphabet */
    const unsigned char *kind; /* (n_tokens) loci_token_kind */
    size_t n_tokens;           /* up to 1,048,576 */
    const loci_string *merges; /* (n_merges) "left right" */
    size_t n_merges;
    const char *pre; /* "deepseek-v3" or "joyai-llm": the DeepSeek form */
} loci_vocab_lists;
/* A tokenizer of the DeepSeek form; lists are borrowed for the call, label names their source.
 * Errors: LOCI_EVERSION another `pre`, LOCI_EFORMAT names token or merge, LOCI_ENOMEM. */
LOCI_API loci_status loci_tokenizer_from_lists(loci_tokenizer **out, const loci_vocab_lists *lists,
                                               const char *label, loci_error *err);
LOCI_API void loci_tokenizer_close(loci_tokenizer *t);
/* Write the loci form.  Errors: LOCI_EINVAL a tokenizer of another form; LOCI_EIO, LOCI_ENOMEM. */
LOCI_API loci_status loci_tokenizer_save(const loci_tokenizer *t, const char *path,
                                         loci_error *err);
LOCI_API int loci_tokenizer_vocab(const loci_tokenizer *t); /* all ids: 0 .. vocab - 1 */
/* Id of the added or special token with this text, -1 if there is none. */
LOCI_API int32_t loci_tokenizer_find(const loci_tokenizer *t, const char *text);
/* LOCI_TOKEN_UNUSED outside of 0 .. vocab - 1. */
LOCI_API loci_token_kind loci_tokenizer_kind(const loci_tokenizer *t, int32_t id);

/* Encode one document's bytes as plain text, whatever they spell: no id of an added or special
 * token comes out.  The encoder holds a word cache and scratch: one per thread. */
typedef struct loci_encoder loci_encoder;
LOCI_API loci_status loci_encoder_open(loci_encoder **out, const loci_tokenizer *t,
                                       loci_error *err);
LOCI_API void loci_encoder_close(loci_encoder *e);
/* Whole text at once, len < UINT32_MAX.  ids receives at most `cap`; *n what was needed (<= len always).
 * LOCI_EINVAL when cap is too small (cap >= len is always enough).
 * ends may be NULL; else ends[i] = byte offset behind token i, so that token i covers
 * [ends[i-1], ends[i]). */
LOCI_API loci_status loci_encode(loci_encoder *e, const char *text, size_t len, int32_t *ids,
                                 uint32_t *ends, size_t cap, size_t *n, loci_error *err);
/* The same where added and special tokens are looked for first, leftmost and longest: for
 * prompts written by hand, never for text of unknown origin. */
LOCI_API loci_status loci_encode_marked(loci_encoder *e, const char *text, size_t len, int32_t *ids,
                                        uint32_t *ends, size_t cap, size_t *n, loci_error *err);
/* For the loci form only.  A place where a long text may be cut so that encoding the parts gives the same ids as
 * encoding the whole: the largest p <= limit with p > 0 that is a safe boundary, or 0
 * if there is none in the last 64 KiB before limit (then any character boundary must do). */
LOCI_API size_t loci_encode_safe_cut(const char *text, size_t len, size_t limit);

/* Bytes of ids into out (cap bytes); *n bytes needed.  Special and unused ids give nothing.
 * LOCI_EINVAL when cap is too small or an id is not in 0 .. vocab - 1. */
LOCI_API loci_status loci_decode(const loci_tokenizer *t, const int32_t *ids, size_t n_ids,
                                 char *out, size_t cap, size_t *n, loci_error *err);
/* Bytes of one token: borrowed, not NUL-terminated; length 0 for special and unused ids. */
LOCI_API const char *loci_token_bytes(const loci_tokenizer *t, int32_t id, size_t *len);

/* Train on texts: counts words, then merges the most frequent pair until `vocab`
 * entries (ties: smaller pair of ids first, as the public library does).  Deterministic. */
typedef struct loci_bpe_trainer loci_bpe_trainer;
LOCI_API loci_status loci_bpe_trainer_open(loci_bpe_trainer **out, loci_error *err);
LOCI_API loci_status loci_bpe_trainer_add(loci_bpe_trainer *b, const char *text, size_t len,
                                          loci_error *err);
/* vocab >= LOCI_TOK_SPECIALS + 256, <= 65,536. progress may be NULL. */
LOCI_API loci_status loci_bpe_trainer_finish(loci_bpe_trainer *b, int vocab,
                                             void (*progress)(void *, int, int), void *ctx,
                                             loci_tokenizer **out, loci_error *err);
LOCI_API void loci_bpe_trainer_close(loci_bpe_trainer *b);

#ifdef __cplusplus
}
#endif
#endif
