/* postings.h - rare token runs of a stretch of chunks, and the chunks that hold them: a second way
 * to exact identifiers, beside the codes of landmarks.
 *
 * A gram is 3 or 5 neighbouring token ids, none of them special, so that no gram spans two
 * documents; it belongs to the chunk of its first token.  A block covers up to 16,384 chunks:
 *
 *   start  u32 (2^b + 1)   entries of bucket i: start[i] .. start[i + 1];  2^b <= chunks < 2^(b+1)
 *   entry  u32             low half of the key << 16 | chunk within the block, rising in a bucket
 *
 * The key of a gram is the upper 16 + b bits of its hash's upper half; its bucket is the upper b
 * bits of that.  A gram in more than 4 chunks of the block has one entry with chunk 0xffff, "common".
 * Not every rare gram has an entry: a block has at most 30 entries a chunk, which with the buckets
 * makes less than 2 bytes a token. */
#ifndef LOCI_POSTINGS_H
#define LOCI_POSTINGS_H

#include "engine/engine.h"

enum {
    LOCI_GRAM_SHORT = 3,
    LOCI_GRAM_LONG = 5,
    LOCI_POSTINGS_CHUNKS = 16384, /* of a full block */
    LOCI_POSTINGS_ENTRIES = 30,   /* most entries a chunk */
    LOCI_POSTINGS_RARE = 4,       /* a rare gram is in at most this many chunks */
    LOCI_POSTINGS_COMMON = 0xffff /* chunk number of a gram that is not rare */
};

/* Upper half of the hash of n ids (n 3 or 5), in *hash; false when one of them is special. */
bool loci_gram_hash(const int32_t *ids, int n, uint32_t *hash);
/* b of a block of 1 <= chunks <= LOCI_POSTINGS_CHUNKS. */
int loci_postings_bits(int64_t chunks);
static inline size_t loci_postings_bytes(int bits, size_t entries)
{
    return 4 * (((size_t)1 << bits) + 1 + entries);
}

/* ---- postings.c: making a block --------------------------------------------------------------
 * Memory: 16 bytes a gram, at most 32 MiB whatever the input. */
typedef struct loci_postings_builder loci_postings_builder;
loci_status loci_postings_open(loci_postings_builder **out, loci_error *err);
void loci_postings_close(loci_postings_builder *b); /* NULL is fine */
/* The next chunk: ids (n), n <= 64; bit i of word_starts: token i begins a word.  At most
 * LOCI_POSTINGS_CHUNKS chunks a block.  Errors: LOCI_ENOMEM. */
loci_status loci_postings_add(loci_postings_builder *b, const int32_t *ids, int n,
                              uint64_t word_starts, loci_error *err);
/* The block of the chunks added since the last call, at least one; borrowed until the next call of
 * any kind.  The same chunks give the same bytes.  Errors: LOCI_ENOMEM. */
loci_status loci_postings_finish(loci_postings_builder *b, const uint8_t **block, size_t *bytes,
                                 loci_error *err);
/* Does `block`, found sane, say the truth about the chunks added since the last finish: every rare
 * entry a gram of its chunk and of at most 4, every common one in more?  Takes the place of
 * finish.  Errors: LOCI_EFORMAT names the entry; LOCI_ENOMEM. */
loci_status loci_postings_check(loci_postings_builder *b, const uint8_t *block, loci_error *err);

/* ---- postings_read.c: a block that came from a file --------------------------------------------- */
/* Structure only: sizes, order, ranges, at most 4 entries of a key, a common one alone.  block is
 * 4-byte aligned; any bytes are fine. */
bool loci_postings_sane(const uint8_t *block, size_t bytes, int64_t chunks);
/* Chunks of the gram with this hash, rising, in a sane block: 0..4 of them into chunk, or -1 when
 * it is common.  Another gram of the same key counts as the same: about 1 in 1,000 look-ups. */
int loci_postings_find(const uint8_t *block, int64_t chunks, uint32_t hash,
                       int32_t chunk[LOCI_POSTINGS_RARE]);
/* Ask for what a look-up of the hash will read first, and, once that is there, for the rest. */
void loci_postings_ask_bucket(const uint8_t *block, int64_t chunks, uint32_t hash);
void loci_postings_ask_entries(const uint8_t *block, int64_t chunks, uint32_t hash);

#endif
