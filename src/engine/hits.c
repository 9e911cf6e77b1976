/* hits.c - the chunks of a union of banks that share a rare token run with what is asked.
 *
 *   gram of the question -> each block of postings of each bank -> at most 4 live chunks in all
 *
 * A gram may be rare in a segment and common in the bank: a block that calls it common, or a fifth
 * live chunk, ends its look-up and nothing of it counts.  Chunks of replaced documents are not
 * live.  What is found only joins the survivors of a search: the router's score decides.
 *
 * Bounded for hostile questions: so many grams and so many blocks a call, those within one word
 * first, and so many chunks. */
#include "engine/bank_impl.h"
#include <stdlib.h>

enum { TAIL = LOCI_GRAM_LONG - 1 };

typedef struct {
    const loci_bank *const *bank;
    const int64_t *first;
    int n_banks;
    int64_t blocks; /* of all banks */
    int32_t *found; /* (n) union indices, with repeats */
    size_t n;
    uint32_t *seen; /* (mask + 1) hashes of this call, 0 = free */
    size_t mask;
    int64_t grams, lookups;
} lookup;

static int64_t count_blocks(const loci_bank *const *bank, int n_banks)
{
    int64_t n = 0;
    for (int i = 0; i < n_banks; i++)
        for (int64_t s = 0; s < bank[i]->n_segments; s++)
            n += loci_segment_postings_blocks(bank[i]->segment[s]);
    return n;
}

/* Live chunks of the gram in one segment, added to chunk[*n]; *n -1: common. */
static loci_status look_into(lookup *l, int bank, int32_t segment, uint32_t hash, int32_t *chunk,
                             int *n, loci_error *err)
{
    const loci_bank *b = l->bank[bank];
    loci_segment *s = b->segment[segment];
    const int64_t blocks = loci_segment_postings_blocks(s);
    for (int64_t i = 0; i < blocks && *n >= 0; i++) {
        int32_t here[LOCI_POSTINGS_RARE];
        const uint8_t *block;
        int64_t chunks;
        const loci_status st = loci_segment_postings(s, i, &block, &chunks, err);
        if (st != LOCI_OK) return st;
        const int k = loci_postings_find(block, chunks, hash, here);
        l->lookups++;
        if (k < 0) *n = -1;
        for (int j = 0; j < k && *n >= 0; j++) {
            const int64_t at = loci_bank_index_of(b, segment, i * LOCI_POSTINGS_CHUNKS + here[j]);
            if (at < 0) continue;
            if (*n == LOCI_POSTINGS_RARE)
                *n = -1;
            else
                chunk[(*n)++] = (int32_t)(l->first[bank] + at);
        }
    }
    return LOCI_OK;
}

static bool first_time(lookup *l, uint32_t hash)
{
    const uint32_t mark = hash ? hash : 1;
    size_t i = loci_rng_mix(hash, 0) & l->mask;
    while (l->seen[i] && l->seen[i] != mark) i = (i + 1) & l->mask;
    if (l->seen[i]) return false;
    l->seen[i] = mark;
    return true;
}

static loci_status look_up(lookup *l, uint32_t hash, loci_error *err)
{
    int32_t chunk[LOCI_POSTINGS_RARE];
    int n = 0;
    if (l->grams == LOCI_HITS_GRAMS || l->lookups + l->blocks > LOCI_HITS_LOOKUPS ||
        !first_time(l, hash))
        return LOCI_OK;
    l->grams++;
    for (int i = 0; i < l->n_banks; i++)
        for (int64_t s = 0; s < l->bank[i]->n_segments && n >= 0; s++) {
            const loci_status st = look_into(l, i, (int32_t)s, hash, chunk, &n, err);
            if (st != LOCI_OK) return st;
        }
    for (int i = 0; i < n; i++) l->found[l->n++] = chunk[i];
    return LOCI_OK;
}

/* ---- the grams of some tokens --------------------------------------------------------------------- */
static bool starts_word(const loci_tokenizer *tok, int32_t id)
{
    size_t n;
    const char *bytes = loci_token_bytes(tok, id, &n);
    return n > 0 && (bytes[0] == ' ' || bytes[0] == '\t' || bytes[0] == '\r' || bytes[0] == '\n');
}

/* All grams of ids (n) that end at token `held` or behind it: first those within one word, where
 * identifiers are, then the others. */
static loci_status look_up_all(lookup *l, const loci_tokenizer *tok, const int32_t *ids, int held,
                               int n, loci_error *err)
{
    static const int length[] = { LOCI_GRAM_LONG, LOCI_GRAM_SHORT };
    for (int within = 1; within >= 0; within--)
        for (int end = held; end < n; end++) {
            int word = end; /* where the word of token `end` begins */
            while (word > 0 && end - word < TAIL && !starts_word(tok, ids[word])) word--;
            for (int k = 0; k < 2; k++) {
                uint32_t hash;
                const int from = end - length[k] + 1;
                if (from < 0 || (word <= from) != within) continue;
                if (!loci_gram_hash(ids + from, length[k], &hash)) continue;
                const loci_status st = look_up(l, hash, err);
                if (st != LOCI_OK) return st;
            }
        }
    return LOCI_OK;
}

/* ---- what stays ---------------------------------------------------------------------------------------- */
static int rising(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

typedef struct {
    int32_t chunk, count;
} shared;

static int most_shared(const void *a, const void *b)
{
    const shared *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

/* The chunks found, with those of before, into h.  What was there before counts as shared once. */
static loci_status keep(loci_hits *h, const lookup *l, loci_error *err)
{
    const size_t all = l->n + (size_t)h->n;
    if (l->n == 0) return LOCI_OK;
    int32_t *list = malloc(all * sizeof *list);
    shared *s = malloc(all * sizeof *s);
    size_t n = 0;
    if (list && s) {
        memcpy(list, l->found, l->n * sizeof *list);
        memcpy(list + l->n, h->chunk, (size_t)h->n * sizeof *list);
        qsort(list, all, sizeof *list, rising);
        for (size_t i = 0; i < all; i++)
            if (n > 0 && s[n - 1].chunk == list[i])
                s[n - 1].count++;
            else
                s[n++] = (shared){ list[i], 1 };
        if (n > LOCI_HITS_MAX) {
            qsort(s, n, sizeof *s, most_shared);
            n = LOCI_HITS_MAX;
        }
        for (size_t i = 0; i < n; i++) h->chunk[i] = s[i].chunk;
        qsort(h->chunk, n, sizeof *h->chunk, rising);
        h->n = (int)n;
    }
    free(list);
    free(s);
    return list && s ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for a search");
}

loci_status loci_hits_add(loci_hits *h, const loci_bank *const *bank, const int64_t *first,
                          int n_banks, const loci_tokenizer *tok, const int32_t *ids, int n,
                          loci_error *err)
{
    if (n < 1) return LOCI_OK;
    const int held = h->n_tail, all = held + n;
    const size_t grams_max = 2 * (size_t)n < LOCI_HITS_GRAMS ? 2 * (size_t)n : LOCI_HITS_GRAMS;
    size_t slots = 16;
    while (slots < 2 * grams_max) slots *= 2;
    lookup l = { .bank = bank,
                 .first = first,
                 .n_banks = n_banks,
                 .blocks = count_blocks(bank, n_banks),
                 .found = malloc(grams_max * LOCI_POSTINGS_RARE * sizeof *l.found),
                 .seen = calloc(slots, sizeof *l.seen),
                 .mask = slots - 1 };
    int32_t *stream = malloc((size_t)all * sizeof *stream);
    loci_status st = LOCI_OK;
    if (!l.found || !l.seen || !stream) st = loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    if (st == LOCI_OK) {
        memcpy(stream, h->tail, (size_t)held * sizeof *stream);
        memcpy(stream + held, ids, (size_t)n * sizeof *stream);
        st = look_up_all(&l, tok, stream, held, all, err);
    }
    if (st == LOCI_OK) st = keep(h, &l, err);
    if (st == LOCI_OK) {
        h->n_tail = all < TAIL ? all : TAIL;
        memcpy(h->tail, stream + all - h->n_tail, (size_t)h->n_tail * sizeof *stream);
        h->grams += l.grams;
        h->lookups += l.lookups;
    }
    free(l.found);
    free(l.seen);
    free(stream);
    return st;
}
