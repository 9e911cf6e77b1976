/* bpe_train.c - learns the merges: count words, then join the most frequent pair of
 * neighbours, again and again.
 *
 * Works on the different words only.  All their symbols lie in one array, linked within each
 * word; each pair keeps its count, and a list of the places where it came into being waits
 * in a heap with the count of that time.  A count that has changed since is put back with
 * the true one, so a merge touches its own places and nothing else: all merges together
 * take O(n log n) for n bytes of different words.
 *
 * The order is that of the public library: higher count first, then the smaller pair of
 * ids.  A string is never made from two different pairs: while both its ends stay borders
 * between symbols, what happens inside depends on its bytes alone.  So each merge gives a new
 * token, and all places of a pair come into being in one round, the one that makes its
 * younger part.  Nor is it ever a special's name: "<", "bos" and ">" are three words. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

#define NONE UINT32_MAX
enum { DEAD = -1 };

struct loci_bpe_trainer {
    loci_bytes_map words;
    uint64_t *count; /* (words.cap) how often each word was seen */
    uint32_t count_cap;
};

typedef struct {
    int32_t id; /* DEAD: merged into the one before */
    uint32_t prev, next;
    uint32_t word;
} symbol;

typedef struct {
    uint32_t place, next; /* place: index of the pair's left symbol */
} place_node;

typedef struct {
    uint32_t pair;       /* left << 16 | right */
    uint32_t head, tail; /* places of this round, until the heap has them */
    int64_t count;
} pair_info;

typedef struct {
    int64_t count;
    uint32_t pair; /* index into pairs */
    uint32_t head;
} candidate;

/* One training run. */
typedef struct {
    const loci_bpe_trainer *b;
    loci_bytes_map tokens;
    symbol *symbol;
    uint32_t n_symbols;
    place_node *node;
    uint32_t n_nodes, node_cap, free_node;
    pair_info *pair;
    uint32_t n_pairs, pair_cap;
    uint32_t *slot;    /* (2 * pair_cap) pair index + 1, 0 = free */
    uint32_t *touched; /* (pair_cap) pairs that got places in this round */
    uint32_t n_touched;
    candidate *heap;
    size_t n_heap, heap_cap;
    loci_merge *merge;
    size_t n_merges, merge_cap;
} run;

/* ---- counting words -------------------------------------------------------------- */

loci_status loci_bpe_trainer_open(loci_bpe_trainer **out, loci_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "trainer: no memory");
}

void loci_bpe_trainer_close(loci_bpe_trainer *b)
{
    if (b == NULL) return;
    loci_bytes_map_free(&b->words);
    free(b->count);
    free(b);
}

loci_status loci_bpe_trainer_add(loci_bpe_trainer *b, const char *text, size_t len, loci_error *err)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t pos = 0, end = 0; pos < len; pos = end) {
        end = loci_word_end(bytes, len, pos);
        const int64_t i = loci_bytes_map_add(&b->words, bytes + pos, end - pos);
        if (i == LOCI_BYTES_MAP_NONE) goto no_memory;
        if (b->count_cap < b->words.cap) {
            uint64_t *count = realloc(b->count, b->words.cap * sizeof *count);
            if (count == NULL) goto no_memory;
            memset(count + b->count_cap, 0, (b->words.cap - b->count_cap) * sizeof *count);
            b->count = count;
            b->count_cap = b->words.cap;
        }
        b->count[i]++;
    }
    return LOCI_OK;
no_memory:
    return loci_fail(err, LOCI_ENOMEM, "trainer: no memory for word %u", b->words.n);
}

/* ---- pairs and their places --------------------------------------------------------- */

/* Make room for n + 1 elements, doubling; false: no memory or more than 32 bits count. */
static bool reserve(void **p, size_t *cap, size_t n, size_t elem_size)
{
    if (n < *cap) return true;
    const size_t want = *cap == 0 ? 1024 : *cap * 2;
    if (want > UINT32_MAX / 2) return false;
    void *grown = realloc(*p, want * elem_size);
    if (grown == NULL) return false;
    *p = grown;
    *cap = want;
    return true;
}

/* Where to look first for left << 16 | right. */
static uint32_t pair_place(uint32_t pair, uint32_t mask)
{
    return loci_pair_slot(pair >> 16, pair & 0xffff, mask);
}

static bool grow_pairs(run *r)
{
    size_t cap = r->pair_cap, touched_cap = r->pair_cap;
    void *pair = r->pair, *touched = r->touched;
    const bool ok = reserve(&pair, &cap, r->n_pairs, sizeof *r->pair) &&
                    reserve(&touched, &touched_cap, r->n_pairs, sizeof *r->touched);
    r->pair = pair;
    r->touched = touched;
    uint32_t *slot = ok ? calloc(cap * 2, sizeof *slot) : NULL;
    if (slot == NULL) return false;
    free(r->slot);
    r->slot = slot;
    r->pair_cap = (uint32_t)cap;
    const uint32_t mask = r->pair_cap * 2 - 1;
    for (uint32_t k = 0; k < r->n_pairs; k++) {
        uint32_t i = pair_place(r->pair[k].pair, mask);
        while (slot[i] != 0) i = (i + 1) & mask;
        slot[i] = k + 1;
    }
    return true;
}

/* Index of the pair, added with count 0 if new; NONE: no memory. */
static uint32_t pair_index(run *r, int32_t left, int32_t right)
{
    if (r->n_pairs == r->pair_cap && !grow_pairs(r)) return NONE;
    const uint32_t pair = (uint32_t)left << 16 | (uint32_t)right, mask = r->pair_cap * 2 - 1;
    uint32_t i = pair_place(pair, mask);
    for (; r->slot[i] != 0; i = (i + 1) & mask)
        if (r->pair[r->slot[i] - 1].pair == pair) return r->slot[i] - 1;
    r->slot[i] = ++r->n_pairs;
    r->pair[r->n_pairs - 1] = (pair_info){ pair, NONE, NONE, 0 };
    return r->n_pairs - 1;
}

static uint32_t node_take(run *r, uint32_t place)
{
    uint32_t i = r->free_node;
    if (i != NONE) {
        r->free_node = r->node[i].next;
    } else {
        size_t cap = r->node_cap;
        void *node = r->node;
        const bool ok = reserve(&node, &cap, r->n_nodes, sizeof *r->node);
        r->node = node;
        if (!ok) return NONE;
        r->node_cap = (uint32_t)cap;
        i = r->n_nodes++;
    }
    r->node[i] = (place_node){ place, NONE };
    return i;
}

/* Return the list to the free ones. */
static void nodes_give(run *r, uint32_t head)
{
    while (head != NONE) {
        const uint32_t next = r->node[head].next;
        r->node[head].next = r->free_node;
        r->free_node = head;
        head = next;
    }
}

/* Symbol `place` and the one behind it are neighbours from now on. */
static bool pair_appears(run *r, uint32_t place)
{
    const symbol *s = &r->symbol[place];
    const uint32_t k = pair_index(r, s->id, r->symbol[s->next].id);
    const uint32_t node = k == NONE ? NONE : node_take(r, place);
    if (node == NONE) return false;
    pair_info *p = &r->pair[k];
    p->count += (int64_t)r->b->count[s->word];
    if (p->head == NONE) {
        p->head = node;
        r->touched[r->n_touched++] = k;
    } else {
        r->node[p->tail].next = node;
    }
    p->tail = node;
    return true;
}

static bool pair_vanishes(run *r, int32_t left, int32_t right, uint32_t word)
{
    const uint32_t k = pair_index(r, left, right);
    if (k == NONE) return false;
    r->pair[k].count -= (int64_t)r->b->count[word];
    return true;
}

/* ---- heap of candidates ---------------------------------------------------------------- */

static bool comes_before(const run *r, candidate a, candidate b)
{
    if (a.count != b.count) return a.count > b.count;
    return r->pair[a.pair].pair < r->pair[b.pair].pair;
}

static bool heap_push(run *r, candidate c)
{
    void *heap = r->heap;
    const bool ok = reserve(&heap, &r->heap_cap, r->n_heap, sizeof *r->heap);
    r->heap = heap;
    if (!ok) return false;
    size_t i = r->n_heap++;
    for (; i > 0 && comes_before(r, c, r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = c;
    return true;
}

/* Put c where the top was. */
static void heap_sink(run *r, candidate c)
{
    size_t i = 0;
    for (size_t child = 1; child < r->n_heap; child = 2 * i + 1) {
        if (child + 1 < r->n_heap && comes_before(r, r->heap[child + 1], r->heap[child])) child++;
        if (!comes_before(r, r->heap[child], c)) break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = c;
}

/* Hand the places of this round to the heap. */
static bool queue_touched(run *r)
{
    for (uint32_t i = 0; i < r->n_touched; i++) {
        const uint32_t k = r->touched[i];
        pair_info *p = &r->pair[k];
        if (p->count <= 0)
            nodes_give(r, p->head);
        else if (!heap_push(r, (candidate){ p->count, k, p->head }))
            return false;
        p->head = p->tail = NONE;
    }
    r->n_touched = 0;
    return true;
}

/* The next pair to merge; false when none is left that occurs. */
static bool next_candidate(run *r, candidate *best)
{
    while (r->n_heap > 0) {
        *best = r->heap[0];
        const int64_t count = r->pair[best->pair].count;
        if (best->count == count) {
            if (count < 1) return false;
            r->n_heap--;
            if (r->n_heap > 0) heap_sink(r, r->heap[r->n_heap]);
            return true;
        }
        best->count = count;
        heap_sink(r, *best);
    }
    return false;
}

/* ---- merging ------------------------------------------------------------------------------ */

static bool add_base_tokens(run *r)
{
    bool ok = true;
    for (int i = 0; i < LOCI_TOK_SPECIALS; i++) {
        const char *name = loci_special_name(i);
        ok = ok && loci_bytes_map_add(&r->tokens, name, strlen(name)) == i;
    }
    for (int k = 0; k < LOCI_TOK_ALPHABET; k++) {
        const unsigned char byte = loci_byte_in_order(k);
        ok = ok && loci_bytes_map_add(&r->tokens, &byte, 1) == LOCI_TOK_SPECIALS + k;
    }
    return ok;
}

/* One symbol a byte of every word, and the first round of pairs. */
static bool lay_out_words(run *r)
{
    const loci_bytes_map *w = &r->b->words;
    const size_t n = w->n == 0 ? 0 : w->at[w->n];
    if (n > UINT32_MAX / 4) return false;
    r->symbol = malloc((n + 1) * sizeof *r->symbol);
    if (r->symbol == NULL) return false;
    r->n_symbols = (uint32_t)n;
    int32_t id_of[256];
    for (int k = 0; k < LOCI_TOK_ALPHABET; k++)
        id_of[loci_byte_in_order(k)] = LOCI_TOK_SPECIALS + k;

    for (uint32_t word = 0; word < w->n; word++) {
        const uint32_t first = (uint32_t)w->at[word], end = (uint32_t)w->at[word + 1];
        for (uint32_t i = first; i < end; i++)
            r->symbol[i] = (symbol){ id_of[w->bytes[i]], i == first ? NONE : i - 1,
                                     i + 1 == end ? NONE : i + 1, word };
    }
    for (uint32_t i = 0; i < r->n_symbols; i++)
        if (r->symbol[i].next != NONE && !pair_appears(r, i)) return false;
    return queue_touched(r);
}

/* Join the pair at one place, if it still stands there. */
static bool merge_at(run *r, uint32_t place, int32_t left, int32_t right, int32_t id)
{
    symbol *s = &r->symbol[place];
    if (s->id != left || s->next == NONE || r->symbol[s->next].id != right) return true;
    symbol *gone = &r->symbol[s->next];
    if (s->prev != NONE && !pair_vanishes(r, r->symbol[s->prev].id, left, s->word)) return false;
    if (gone->next != NONE && !pair_vanishes(r, right, r->symbol[gone->next].id, s->word))
        return false;
    s->id = id;
    s->next = gone->next;
    gone->id = DEAD;
    if (s->next != NONE) r->symbol[s->next].prev = place;
    if (s->prev != NONE && !pair_appears(r, s->prev)) return false;
    return s->next == NONE || pair_appears(r, place);
}

/* Add the token that the two in a row make, and its merge; false: no memory. */
static bool add_token(run *r, uint32_t left, uint32_t right)
{
    const loci_bytes_map *t = &r->tokens;
    const size_t n_left = t->at[left + 1] - t->at[left], n_right = t->at[right + 1] - t->at[right];
    unsigned char *bytes = malloc(n_left + n_right);
    void *merge = r->merge;
    const bool room = reserve(&merge, &r->merge_cap, r->n_merges, sizeof *r->merge);
    r->merge = merge;
    if (bytes == NULL || !room) {
        free(bytes);
        return false;
    }
    memcpy(bytes, t->bytes + t->at[left], n_left);
    memcpy(bytes + n_left, t->bytes + t->at[right], n_right);
    const int64_t id = loci_bytes_map_add(&r->tokens, bytes, n_left + n_right);
    free(bytes);
    if (id == LOCI_BYTES_MAP_NONE) return false;
    assert(id + 1 == r->tokens.n); /* new, see the top of the file */
    r->merge[r->n_merges++] = (loci_merge){ left, right, (uint32_t)id };
    return true;
}

static bool merge_candidate(run *r, candidate c)
{
    const uint32_t pair = r->pair[c.pair].pair, left = pair >> 16, right = pair & 0xffff;
    if (!add_token(r, left, right)) return false;
    const int32_t id = r->merge[r->n_merges - 1].id;
    for (uint32_t i = c.head; i != NONE; i = r->node[i].next)
        if (!merge_at(r, r->node[i].place, (int32_t)left, (int32_t)right, id)) return false;
    nodes_give(r, c.head);
    return queue_touched(r);
}

static void run_free(run *r)
{
    loci_bytes_map_free(&r->tokens);
    free(r->symbol);
    free(r->node);
    free(r->pair);
    free(r->slot);
    free(r->touched);
    free(r->heap);
    free(r->merge);
}

loci_status loci_bpe_trainer_finish(loci_bpe_trainer *b, int vocab,
                                    void (*progress)(void *, int, int), void *ctx,
                                    loci_tokenizer **out, loci_error *err)
{
    *out = NULL;
    if (vocab < LOCI_TOK_SPECIALS + LOCI_TOK_ALPHABET || vocab > LOCI_TOK_VOCAB_MAX)
        return loci_fail(err, LOCI_EINVAL, "trainer: vocab %d is not in %d..%d", vocab,
                         LOCI_TOK_SPECIALS + LOCI_TOK_ALPHABET, LOCI_TOK_VOCAB_MAX);
    run r = { .b = b, .free_node = NONE };
    loci_status st = LOCI_OK;
    bool ok = add_base_tokens(&r) && lay_out_words(&r);
    candidate best;
    while (ok && r.tokens.n < (uint32_t)vocab && next_candidate(&r, &best)) {
        ok = merge_candidate(&r, best);
        if (progress != NULL) progress(ctx, (int)r.tokens.n, vocab);
    }
    if (ok) {
        st = loci_tokenizer_build(out, &r.tokens, NULL, r.merge, r.n_merges, "trainer", err);
    } else {
        st = loci_fail(err, LOCI_ENOMEM, "trainer: no memory for %u different words", b->words.n);
    }
    run_free(&r);
    return st;
}
