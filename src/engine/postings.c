/* postings.c - makes a block of postings: all grams of its chunks, sorted, the rare ones chosen.
 *
 *   1  every gram of every chunk, as one number: hash, chunk, word
 *   2  sorted by key: a key in at most 4 chunks is rare, one in more is common
 *   3  of each chunk's rare grams the best 28 stay
 *   4  common keys get an entry too, while there is room, so that a gram that is rare here and
 *      common elsewhere in the bank can be told
 *
 * Which are best: a word that needs several tokens is a name, a number, an identifier; common
 * words are one or two.  Grams that lie within one word are therefore taken first, one of each
 * word, then a second of each, and so on, so that no long word crowds out a short one.  The room
 * that is left goes to other grams, lowest hash first: the same choice wherever the text stands. */
#include "engine/postings.h"
#include "engine/segment_impl.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHOSEN_MAX = 28,                  /* rare grams of a chunk; 2 are left for common keys */
    TAIL = LOCI_GRAM_LONG - 1,        /* tokens of a chunk that wait for the next one */
    GRAMS_MAX = 2 * SEG_CHUNK_TOKENS, /* of a chunk */
    WORDS = SEG_CHUNK_TOKENS,
    NO_WORD = WORDS,              /* word numbers 0 .. WORDS - 1 */
    LEVELS = GRAMS_MAX + 4 * TAIL /* how many of its word came before a gram */
};

/* A gram while a block is made: hash << 32 | chunk << 16 | word. */
static uint64_t gram_pack(uint32_t hash, int chunk, int word)
{
    return (uint64_t)hash << 32 | (uint64_t)(unsigned)chunk << 16 | (uint64_t)(unsigned)word;
}
static uint32_t gram_hash(uint64_t g)
{
    return (uint32_t)(g >> 32);
}
static int gram_chunk(uint64_t g)
{
    return (int)(g >> 16 & 0xffff);
}
static int gram_word(uint64_t g)
{
    return (int)(g & 0xffff);
}

struct loci_postings_builder {
    uint64_t *gram, *other; /* (cap) each: sorting goes to and fro between them */
    size_t n, cap;
    int chunks;
    int32_t tail[TAIL + SEG_CHUNK_TOKENS]; /* the last tokens of the chunk before, then the new */
    uint8_t tail_word[TAIL + SEG_CHUNK_TOKENS];
    int n_tail;
    uint8_t *block; /* of the last finish */
};

loci_status loci_postings_open(loci_postings_builder **out, loci_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for postings");
}

void loci_postings_close(loci_postings_builder *b)
{
    if (!b) return;
    free(b->gram);
    free(b->other);
    free(b->block);
    free(b);
}

static loci_status reserve(loci_postings_builder *b, size_t more, loci_error *err)
{
    if (b->cap - b->n >= more) return LOCI_OK;
    /* Doubled seven times this is room for 16,384 chunks of 128 grams, and not twice that. */
    const size_t cap = b->cap ? 2 * b->cap : 129 * GRAMS_MAX;
    uint64_t *bigger = realloc(b->gram, cap * sizeof *bigger);
    if (bigger) b->gram = bigger;
    free(b->other); /* holds nothing between calls */
    b->other = bigger ? malloc(cap * sizeof *b->other) : NULL;
    b->cap = b->other ? cap : 0;
    return b->other ? LOCI_OK
                    : loci_fail(err, LOCI_ENOMEM, "no memory for postings of %zu grams", cap);
}

/* ---- 1: grams of a chunk ------------------------------------------------------------------------ */
/* Grams that begin at token i of the n in `tail`, for chunk `chunk`. */
static void add_grams(loci_postings_builder *b, int i, int n, int chunk)
{
    static const int length[] = { LOCI_GRAM_SHORT, LOCI_GRAM_LONG };
    for (int k = 0; k < 2; k++) {
        uint32_t hash;
        const int last = i + length[k] - 1;
        if (last >= n || !loci_gram_hash(b->tail + i, length[k], &hash)) continue;
        const bool within = b->tail_word[i] == b->tail_word[last];
        b->gram[b->n++] = gram_pack(hash, chunk, within ? b->tail_word[i] : NO_WORD);
    }
}

loci_status loci_postings_add(loci_postings_builder *b, const int32_t *ids, int n,
                              uint64_t word_starts, loci_error *err)
{
    assert(n >= 1 && n <= SEG_CHUNK_TOKENS && b->chunks < LOCI_POSTINGS_CHUNKS);
    const loci_status st = reserve(b, GRAMS_MAX + 4 * TAIL, err);
    if (st != LOCI_OK) return st;
    const int held = b->n_tail, all = held + n;
    int word = held > 0 ? b->tail_word[held - 1] : 0;
    for (int i = 0; i < n; i++) {
        /* Numbers go round: two words of one number would have to be 64 words apart in a chunk. */
        if (word_starts >> i & 1) word = (word + 1) % WORDS;
        b->tail[held + i] = ids[i];
        b->tail_word[held + i] = (uint8_t)word;
    }
    for (int i = 0; i < held; i++) add_grams(b, i, all, b->chunks - 1);
    /* The last tokens wait: a gram may run on into the next chunk, and no further. */
    const int wait = n < TAIL ? n : TAIL;
    for (int i = held; i < all - wait; i++) add_grams(b, i, all, b->chunks);
    memmove(b->tail, b->tail + all - wait, (size_t)wait * sizeof *b->tail);
    memmove(b->tail_word, b->tail_word + all - wait, (size_t)wait);
    b->n_tail = wait;
    b->chunks++;
    return LOCI_OK;
}

/* ---- 2: sorted by key ---------------------------------------------------------------------------- */
/* Stable, by the upper 32 bits; the result is in b->gram. */
static void sort_by_hash(loci_postings_builder *b)
{
    for (int shift = 32; shift < 64; shift += 8) {
        size_t at[257] = { 0 };
        for (size_t i = 0; i < b->n; i++) at[(b->gram[i] >> shift & 0xff) + 1]++;
        for (int k = 0; k < 256; k++) at[k + 1] += at[k];
        for (size_t i = 0; i < b->n; i++) b->other[at[b->gram[i] >> shift & 0xff]++] = b->gram[i];
        uint64_t *sorted = b->other;
        b->other = b->gram;
        b->gram = sorted;
    }
}

/* Close the block's last chunk; cut hashes to keys, sort by key and chunk, drop repeats in a chunk. */
static loci_status sort_grams(loci_postings_builder *b, int bits, loci_error *err)
{
    const uint64_t key_mask = ~UINT64_C(0) << (32 + 16 - bits) | UINT64_C(0xffffffff);
    const loci_status st = reserve(b, 2 * TAIL, err);
    if (st != LOCI_OK) return st;
    for (int i = 0; i < b->n_tail; i++) add_grams(b, i, b->n_tail, b->chunks - 1);
    for (size_t i = 0; i < b->n; i++) b->gram[i] &= key_mask;
    sort_by_hash(b);
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        /* Chunks rise within a key, for they came in that order.  Within one word wins. */
        if (n == 0 || b->gram[n - 1] >> 16 != b->gram[i] >> 16)
            b->gram[n++] = b->gram[i];
        else if (gram_word(b->gram[i]) < gram_word(b->gram[n - 1]))
            b->gram[n - 1] = b->gram[i];
    }
    b->n = n;
    return LOCI_OK;
}

/* How many from i on have i's key. */
static size_t run_length(const loci_postings_builder *b, size_t i)
{
    size_t n = 1;
    while (i + n < b->n && gram_hash(b->gram[i + n]) == gram_hash(b->gram[i])) n++;
    return n;
}

/* Rare grams into `other`, by chunk and within a chunk by key; where each chunk's begin in
 * first (chunks + 1). */
static size_t rare_by_chunk(loci_postings_builder *b, uint32_t *first)
{
    size_t n = 0;
    memset(first, 0, ((size_t)b->chunks + 1) * sizeof *first);
    for (size_t i = 0, run; i < b->n; i += run) {
        run = run_length(b, i);
        for (size_t k = i; run <= LOCI_POSTINGS_RARE && k < i + run; k++, n++)
            first[gram_chunk(b->gram[k]) + 1]++;
    }
    for (int c = 0; c < b->chunks; c++) first[c + 1] += first[c];
    for (size_t i = 0, run; i < b->n; i += run) {
        run = run_length(b, i);
        for (size_t k = i; run <= LOCI_POSTINGS_RARE && k < i + run; k++)
            b->other[first[gram_chunk(b->gram[k])]++] = b->gram[k];
    }
    memmove(first + 1, first, (size_t)b->chunks * sizeof *first); /* ends back to beginnings */
    first[0] = 0;
    return n;
}

/* ---- 3: the choice ---------------------------------------------------------------------------------- */
/* The best CHOSEN_MAX of a chunk's n rare grams, into out; returns how many. */
static size_t choose(uint64_t *out, const uint64_t *gram, size_t n)
{
    uint8_t level[LEVELS];
    int of_word[WORDS] = { 0 }, count[LEVELS + 1] = { 0 };
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const int word = gram_word(gram[i]);
        level[i] = (uint8_t)(word == NO_WORD ? LEVELS : of_word[word]++);
        count[level[i]]++;
    }
    int last = 0,
        room = CHOSEN_MAX; /* levels below `last` go in whole, of `last` the first `room` */
    while (last < LEVELS && count[last] <= room) room -= count[last++];
    for (size_t i = 0; i < n; i++)
        if (level[i] < last || (level[i] == last && room-- > 0)) out[kept++] = gram[i];
    return kept;
}

static void choose_rare(loci_postings_builder *b, const uint32_t *first, uint64_t *out,
                        size_t *n_out)
{
    size_t n = 0;
    for (int c = 0; c < b->chunks; c++)
        n += choose(out + n, b->other + first[c], first[c + 1] - first[c]);
    *n_out = n;
}

/* Common keys into out while there is room for them in the block. */
static size_t add_common(const loci_postings_builder *b, uint64_t *out, size_t n)
{
    const size_t room = (size_t)b->chunks * LOCI_POSTINGS_ENTRIES;
    for (size_t i = 0, run; i < b->n && n < room; i += run) {
        run = run_length(b, i);
        if (run > LOCI_POSTINGS_RARE)
            out[n++] = gram_pack(gram_hash(b->gram[i]), LOCI_POSTINGS_COMMON, 0);
    }
    return n;
}

/* ---- 4: the block ------------------------------------------------------------------------------------- */
static loci_status write_block(loci_postings_builder *b, int bits, size_t *bytes, loci_error *err)
{
    *bytes = loci_postings_bytes(bits, b->n);
    uint8_t *block = realloc(b->block, *bytes);
    if (!block) return loci_fail(err, LOCI_ENOMEM, "no memory for postings of %zu bytes", *bytes);
    b->block = block;
    uint8_t *entry = block + loci_postings_bytes(bits, 0);
    size_t i = 0;
    for (size_t bucket = 0; bucket < (size_t)1 << bits; bucket++) {
        put_u32(block + 4 * bucket, (uint32_t)i);
        for (; i < b->n; i++) {
            const uint32_t key = gram_hash(b->gram[i]) >> (16 - bits);
            if (key >> 16 != bucket) break;
            put_u32(entry + 4 * i, key << 16 | (uint32_t)gram_chunk(b->gram[i]));
        }
    }
    put_u32(block + ((size_t)4 << bits), (uint32_t)b->n);
    return LOCI_OK;
}

static void next_block(loci_postings_builder *b)
{
    b->n = 0;
    b->chunks = b->n_tail = 0;
}

loci_status loci_postings_finish(loci_postings_builder *b, const uint8_t **block, size_t *bytes,
                                 loci_error *err)
{
    assert(b->chunks > 0);
    const int bits = loci_postings_bits(b->chunks);
    *block = NULL;
    *bytes = 0;
    loci_status st = sort_grams(b, bits, err);
    if (st != LOCI_OK) return st;
    uint32_t *first = malloc(((size_t)b->chunks + 1) * sizeof *first);
    uint64_t *chosen = malloc((size_t)b->chunks * LOCI_POSTINGS_ENTRIES * sizeof *chosen);
    if (first && chosen) {
        size_t n;
        rare_by_chunk(b, first);
        choose_rare(b, first, chosen, &n);
        n = add_common(b, chosen, n);
        if (n > 0) memcpy(b->gram, chosen, n * sizeof *chosen);
        b->n = n;
        sort_by_hash(b);
        st = write_block(b, bits, bytes, err);
    } else {
        st = loci_fail(err, LOCI_ENOMEM, "no memory for postings of %d chunks", b->chunks);
    }
    free(first);
    free(chosen);
    next_block(b);
    if (st == LOCI_OK) *block = b->block;
    return st;
}

/* ---- a block against its chunks --------------------------------------------------------------------- */
/* One bucket's entry against the sorted grams: *at moves on to the entry's key. */
static bool entry_true(const loci_postings_builder *b, size_t *at, uint32_t key, uint32_t chunk,
                       int bits)
{
    const uint32_t hash = key << (16 - bits);
    while (*at < b->n && gram_hash(b->gram[*at]) < hash) ++*at;
    if (*at == b->n || gram_hash(b->gram[*at]) != hash) return false;
    const size_t run = run_length(b, *at);
    if (chunk == LOCI_POSTINGS_COMMON) return run > LOCI_POSTINGS_RARE;
    for (size_t k = *at; run <= LOCI_POSTINGS_RARE && k < *at + run; k++)
        if (gram_chunk(b->gram[k]) == (int)chunk) return true;
    return false;
}

loci_status loci_postings_check(loci_postings_builder *b, const uint8_t *block, loci_error *err)
{
    assert(b->chunks > 0);
    const int bits = loci_postings_bits(b->chunks);
    loci_status st = sort_grams(b, bits, err);
    const uint8_t *entry = block + loci_postings_bytes(bits, 0);
    size_t at = 0;
    for (uint32_t bucket = 0; st == LOCI_OK && bucket < (uint32_t)1 << bits; bucket++) {
        const uint32_t to = get_u32(block + 4 * (size_t)(bucket + 1));
        for (uint32_t i = get_u32(block + 4 * (size_t)bucket); st == LOCI_OK && i < to; i++) {
            const uint32_t e = get_u32(entry + 4 * (size_t)i), chunk = e & 0xffff;
            if (!entry_true(b, &at, bucket << 16 | e >> 16, chunk, bits))
                st = loci_fail(err, LOCI_EFORMAT, "entry %u (chunk %u) is not so", i, chunk);
        }
    }
    next_block(b);
    return st;
}
