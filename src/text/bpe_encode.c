/* bpe_encode.c - text to ids: word by word, each word by its merges in order of rank.
 *
 * Words of up to 15 bytes, nearly all of ordinary text, are looked up in a direct-mapped
 * cache of 512 KiB that a core keeps close.  A word that is not there is merged with a
 * heap of candidate pairs over a linked list of symbols, O(n log n) for any length, so
 * that megabytes without a space cost no more a byte than a long word does. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

enum {
    CACHE_SLOTS = 8192,
    CACHED_BYTES = 15, /* the 16th byte of a key is the length */
    CACHED_IDS = 11,
    DEAD = -1 /* id of a symbol that was merged into the one before */
};
#define NO_SYMBOL UINT32_MAX

typedef struct {
    uint64_t key[2]; /* the word's bytes, zeros, its length; length 0 = free */
    int32_t id[CACHED_IDS];
    uint32_t n;
} cached_word;
_Static_assert(sizeof(cached_word) == 64, "a cached word fills a cache line");

typedef struct {
    int32_t id;
    uint32_t prev, next;
} symbol;

struct loci_encoder {
    const loci_tokenizer *t;
    cached_word *cache; /* (CACHE_SLOTS) */
    symbol *symbol;     /* (n_symbols) scratch for one word */
    size_t n_symbols;
    uint64_t *heap; /* (heap_cap) rank << 32 | index of the left symbol, smallest first */
    size_t n_heap, heap_cap;
    loci_split_run *split; /* NULL: the words of presplit.c */
};

/* Where ids go; n counts on when they no longer fit. */
typedef struct {
    int32_t *ids;
    uint32_t *ends;
    size_t cap, n;
    size_t pos; /* bytes of the text covered so far */
} id_sink;

loci_status loci_encoder_open(loci_encoder **out, const loci_tokenizer *t, loci_error *err)
{
    *out = NULL;
    loci_encoder *e = calloc(1, sizeof *e);
    if (e == NULL) return loci_fail(err, LOCI_ENOMEM, "encoder: no memory");
    e->t = t;
    e->cache = loci_alloc_aligned(CACHE_SLOTS * sizeof *e->cache);
    if (e->cache == NULL) {
        free(e);
        return loci_fail(err, LOCI_ENOMEM, "encoder: no memory for the word cache");
    }
    if (t->split != NULL && loci_split_run_open(&e->split, t->split, err) != LOCI_OK) {
        loci_encoder_close(e);
        return LOCI_ENOMEM;
    }
    *out = e;
    return LOCI_OK;
}

void loci_encoder_close(loci_encoder *e)
{
    if (e == NULL) return;
    loci_free_aligned(e->cache);
    free(e->symbol);
    free(e->heap);
    loci_split_run_close(e->split);
    free(e);
}

/* ---- heap of candidate merges ------------------------------------------------- */

static bool heap_push(loci_encoder *e, uint64_t item)
{
    if (e->n_heap == e->heap_cap) {
        const size_t cap = e->heap_cap == 0 ? 64 : e->heap_cap * 2;
        uint64_t *heap = realloc(e->heap, cap * sizeof *heap);
        if (heap == NULL) return false;
        e->heap = heap;
        e->heap_cap = cap;
    }
    size_t i = e->n_heap++;
    for (; i > 0 && e->heap[(i - 1) / 2] > item; i = (i - 1) / 2) e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = item;
    return true;
}

static uint64_t heap_pop(loci_encoder *e)
{
    const uint64_t top = e->heap[0], item = e->heap[--e->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < e->n_heap; child = 2 * i + 1) {
        if (child + 1 < e->n_heap && e->heap[child + 1] < e->heap[child]) child++;
        if (e->heap[child] >= item) break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = item;
    return top;
}

/* ---- one word ------------------------------------------------------------------- */

static uint32_t rank_at(const loci_encoder *e, uint32_t i)
{
    const symbol *s = &e->symbol[i];
    if (s->id == DEAD || s->next == NO_SYMBOL) return LOCI_NO_MERGE;
    return loci_merge_rank(e->t, (uint32_t)s->id, (uint32_t)e->symbol[s->next].id);
}

/* False: no memory. */
static bool offer(loci_encoder *e, uint32_t i)
{
    const uint32_t rank = rank_at(e, i);
    return rank == LOCI_NO_MERGE || heap_push(e, (uint64_t)rank << 32 | i);
}

static bool load_symbols(loci_encoder *e, const unsigned char *word, size_t n)
{
    if (n > e->n_symbols) {
        const size_t room = n + n / 2 + 64;
        symbol *s = realloc(e->symbol, room * sizeof *s);
        if (s == NULL) return false;
        e->symbol = s;
        e->n_symbols = room;
    }
    for (size_t i = 0; i < n; i++) {
        e->symbol[i].id = e->t->byte_id[word[i]];
        e->symbol[i].prev = i == 0 ? NO_SYMBOL : (uint32_t)(i - 1);
        e->symbol[i].next = i + 1 == n ? NO_SYMBOL : (uint32_t)(i + 1);
    }
    return true;
}

/* Leave the word's tokens in the list that starts at symbol 0; false: no memory. */
static bool merge_word(loci_encoder *e, const unsigned char *word, size_t n)
{
    if (!load_symbols(e, word, n)) return false;
    e->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++)
        if (!offer(e, i)) return false;
    while (e->n_heap > 0) {
        const uint64_t top = heap_pop(e);
        const uint32_t i = (uint32_t)top;
        /* Out of date if a neighbour was merged since: the pair then has another rank. */
        if (rank_at(e, i) != top >> 32) continue;
        symbol *s = e->symbol;
        const uint32_t gone = s[i].next;
        s[i].id = e->t->merges[top >> 32].id;
        s[i].next = s[gone].next;
        s[gone].id = DEAD;
        if (s[i].next != NO_SYMBOL) s[s[i].next].prev = i;
        if (s[i].prev != NO_SYMBOL && !offer(e, s[i].prev)) return false;
        if (!offer(e, i)) return false;
    }
    return true;
}

/* ---- a text ------------------------------------------------------------------------ */

static inline void put_id(id_sink *sink, const loci_tokenizer *t, int32_t id)
{
    if (sink->n < sink->cap) {
        sink->ids[sink->n] = id;
        if (sink->ends != NULL) {
            sink->pos += t->tokens.at[id + 1] - t->tokens.at[id];
            sink->ends[sink->n] = (uint32_t)sink->pos;
        }
    }
    sink->n++;
}

static void put_symbols(id_sink *sink, const loci_encoder *e)
{
    for (uint32_t i = 0; i != NO_SYMBOL; i = e->symbol[i].next) put_id(sink, e->t, e->symbol[i].id);
}

/* Key of the n bytes at text[pos], 1 <= n <= CACHED_BYTES.  On a big-endian machine the
 * bytes lie the other way round in the key, which is as good. */
static inline void word_key(uint64_t key[2], const unsigned char *word, size_t n)
{
    unsigned char bytes[16] = { 0 };
    memcpy(bytes, word, n);
    bytes[CACHED_BYTES] = (unsigned char)n;
    memcpy(key, bytes, 16);
}

static bool encode_word(loci_encoder *e, const unsigned char *word, size_t n, id_sink *sink)
{
    if (n > CACHED_BYTES) {
        if (!merge_word(e, word, n)) return false;
        put_symbols(sink, e);
        return true;
    }
    uint64_t key[2];
    word_key(key, word, n);
    const uint64_t hash = (key[0] ^ (key[1] * 0x9fb21c651e98df25u)) * 0x9e3779b97f4a7c15u;
    cached_word *c = &e->cache[hash >> 32 & (CACHE_SLOTS - 1)];
    if (c->key[0] != key[0] || c->key[1] != key[1]) {
        if (!merge_word(e, word, n)) return false;
        uint32_t k = 0;
        for (uint32_t i = 0; i != NO_SYMBOL; i = e->symbol[i].next, k++)
            if (k < CACHED_IDS) c->id[k] = e->symbol[i].id;
        if (k > CACHED_IDS) { /* the slot's ids are spoilt */
            memset(c, 0, sizeof *c);
            put_symbols(sink, e);
            return true;
        }
        c->n = k;
        memcpy(c->key, key, sizeof key);
    }
    for (uint32_t i = 0; i < c->n; i++) put_id(sink, e->t, c->id[i]);
    return true;
}

typedef struct {
    loci_encoder *e;
    id_sink sink;
    loci_error *err;
} encoding;

static bool encode_split_word(void *ctx, const unsigned char *word, size_t n)
{
    encoding *c = ctx;
    return encode_word(c->e, word, n, &c->sink);
}

static loci_status encode_plain(encoding *c, const unsigned char *text, size_t len)
{
    if (c->e->split != NULL)
        return loci_split_words(c->e->split, text, len, encode_split_word, c, c->err);
    for (size_t pos = 0; pos < len;) {
        const size_t end = loci_word_end(text, len, pos);
        if (!encode_word(c->e, text + pos, end - pos, &c->sink))
            return loci_fail(c->err, LOCI_ENOMEM, "encode: no memory for a word of %zu bytes",
                             end - pos);
        pos = end;
    }
    return LOCI_OK;
}

static loci_status encode_part(void *ctx, const unsigned char *part, size_t n, int32_t id)
{
    encoding *c = ctx;
    if (id < 0) return encode_plain(c, part, n);
    put_id(&c->sink, c->e->t, id);
    return LOCI_OK;
}

static loci_status encode_text(encoding *c, const char *text, size_t len, bool marked, size_t *n)
{
    *n = 0;
    if (len >= UINT32_MAX)
        return loci_fail(c->err, LOCI_EINVAL, "encode: a text of %zu bytes, at most %u at once",
                         len, UINT32_MAX - 1);
    const unsigned char *bytes = (const unsigned char *)text;
    const loci_status st = marked ? loci_added_split(&c->e->t->added, bytes, len, encode_part, c)
                                  : encode_plain(c, bytes, len);
    if (st != LOCI_OK) return st;
    *n = c->sink.n;
    if (c->sink.n > c->sink.cap)
        return loci_fail(c->err, LOCI_EINVAL, "encode: %zu ids needed, room for %zu", c->sink.n,
                         c->sink.cap);
    return LOCI_OK;
}

loci_status loci_encode(loci_encoder *e, const char *text, size_t len, int32_t *ids, uint32_t *ends,
                        size_t cap, size_t *n, loci_error *err)
{
    encoding c = { e, { ids, ends, cap, 0, 0 }, err };
    return encode_text(&c, text, len, false, n);
}

loci_status loci_encode_marked(loci_encoder *e, const char *text, size_t len, int32_t *ids,
                               uint32_t *ends, size_t cap, size_t *n, loci_error *err)
{
    encoding c = { e, { ids, ends, cap, 0, 0 }, err };
    return encode_text(&c, text, len, true, n);
}
