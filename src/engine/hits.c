/* hits.c - the chunks of a union of banks that share a rare token run with what is asked.
 *
 *   gram of the question -> each block of postings of each bank -> at most 4 live chunks in all
 *
 * A gram may be rare in a segment and common in the bank: a block that calls it common, or a fifth
 * live chunk, ends its look-up and nothing of it counts.  Chunks of replaced documents are not
 * live.  What is found only joins the survivors of a search: the router's score decides.
 *
 * Bounded for hostile questions: so many grams and so many blocks a call, those within one word
 * first, and so many chunks.  A call for a few tokens, which decoding makes for each one, works on
 * the stack: no memory is asked for. */
#include "engine/bank_impl.h"
#include <stdlib.h>

enum {
    TAIL = LOCI_GRAM_LONG - 1,
    FEW = 16 /* tokens of a call without memory of its own */,
    PARTS = 32 /* blocks asked for together */
};

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

typedef struct { /* a block of a segment */
    int bank;
    int32_t segment;
    const uint8_t *block;
    int64_t first, chunks; /* its first chunk in the segment, how many */
} part;

static int64_t count_blocks(const loci_bank *const *bank, int n_banks)
{
    int64_t n = 0;
    for (int i = 0; i < n_banks; i++)
        for (int64_t s = 0; s < bank[i]->n_segments; s++)
            n += loci_segment_postings_blocks(bank[i]->segment[s]);
    return n;
}

/* Live chunks of the gram in one block, added to chunk[*n]; *n -1: common. */
static void look_into(lookup *l, const part *p, uint32_t hash, int32_t *chunk, int *n)
{
    int32_t here[LOCI_POSTINGS_RARE];
    const int k = loci_postings_find(p->block, p->chunks, hash, here);
    l->lookups++;
    if (k < 0) *n = -1;
    for (int j = 0; j < k && *n >= 0; j++) {
        const int64_t at = loci_bank_index_of(l->bank[p->bank], p->segment, p->first + here[j]);
        if (at < 0) continue;
        if (*n == LOCI_POSTINGS_RARE)
            *n = -1;
        else
            chunk[(*n)++] = (int32_t)(l->first[p->bank] + at);
    }
}

/* The gram in n_parts blocks.  What is looked at lies anywhere: it is asked for in all of them before it
 * is read in the first. */
static void look_into_all(lookup *l, const part *p, int n_parts, uint32_t hash, int32_t *chunk,
                          int *n)
{
    for (int i = 0; i < n_parts; i++) loci_postings_ask_bucket(p[i].block, p[i].chunks, hash);
    for (int i = 0; i < n_parts; i++) loci_postings_ask_entries(p[i].block, p[i].chunks, hash);
    for (int i = 0; i < n_parts && *n >= 0; i++) look_into(l, &p[i], hash, chunk, n);
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
    part p[PARTS];
    int n_parts = 0, most = 1; /* what is common mostly is so in the first */
    for (int b = 0; b < l->n_banks; b++)
        for (int64_t s = 0; s < l->bank[b]->n_segments; s++)
            for (int64_t i = 0; i < loci_segment_postings_blocks(l->bank[b]->segment[s]); i++) {
                part *x = &p[n_parts++];
                *x = (part){ .bank = b, .segment = (int32_t)s, .first = i * LOCI_POSTINGS_CHUNKS };
                const loci_status st =
                    loci_segment_postings(l->bank[b]->segment[s], i, &x->block, &x->chunks, err);
                if (st != LOCI_OK) return st;
                if (n_parts < most) continue;
                look_into_all(l, p, n_parts, hash, chunk, &n);
                if (n < 0) return LOCI_OK;
                n_parts = 0;
                most = PARTS;
            }
    look_into_all(l, p, n_parts, hash, chunk, &n);
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

/* ---- room to work in ------------------------------------------------------------------------------------ */
/* What a call for n tokens needs at most. */
enum { GRAMS_OF_FEW = 2 * FEW, FOUND_OF_FEW = GRAMS_OF_FEW * LOCI_POSTINGS_RARE };
typedef struct {
    int32_t found[FOUND_OF_FEW];
    uint32_t seen[2 * GRAMS_OF_FEW]; /* a power of two */
    int32_t stream[FEW + TAIL];
    shared share[FOUND_OF_FEW + LOCI_HITS_MAX];
} few;
_Static_assert((2 * GRAMS_OF_FEW & (2 * GRAMS_OF_FEW - 1)) == 0, "open addressing");

typedef struct {
    int32_t *found;
    uint32_t *seen; /* (slots) all 0 */
    int32_t *stream;
    shared *share; /* (found + LOCI_HITS_MAX) */
    size_t slots;
    void *owned; /* NULL: everything is in the caller's few */
} room;

static loci_status room_take(room *r, few *here, int n, loci_error *err)
{
    if (n <= FEW) {
        memset(here->seen, 0, sizeof here->seen);
        *r = (room){ here->found,
                     here->seen,
                     here->stream,
                     here->share,
                     sizeof here->seen / sizeof *here->seen,
                     NULL };
        return LOCI_OK;
    }
    const size_t grams = 2 * (size_t)n < LOCI_HITS_GRAMS ? 2 * (size_t)n : LOCI_HITS_GRAMS;
    const size_t found = grams * LOCI_POSTINGS_RARE, share = found + LOCI_HITS_MAX;
    size_t slots = 16;
    while (slots < 2 * grams) slots *= 2;
    const size_t stream = (size_t)n + TAIL;
    char *p = calloc(1, share * sizeof(shared) + (found + stream + slots) * 4);
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    r->owned = p;
    r->share = (shared *)(void *)p;
    r->found = (int32_t *)(void *)(p + share * sizeof(shared));
    r->stream = r->found + found;
    r->seen = (uint32_t *)(void *)(r->stream + stream);
    r->slots = slots;
    return LOCI_OK;
}

/* Chunks of s (n) that are shared at least `count` times. */
static size_t shared_by(const shared *s, size_t n, int32_t count)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += s[i].count >= count;
    return k;
}

/* The LOCI_HITS_MAX of s (n > LOCI_HITS_MAX) that share most, ties to the lower chunk, in order. */
static size_t most_shared(shared *s, size_t n)
{
    int32_t low = 1, high = LOCI_HITS_GRAMS + 2; /* all have at least low, few enough high */
    while (high - low > 1) {
        const int32_t mid = low + (high - low) / 2;
        if (shared_by(s, n, mid) > LOCI_HITS_MAX)
            low = mid;
        else
            high = mid;
    }
    int64_t at_cut = LOCI_HITS_MAX - (int64_t)shared_by(s, n, high);
    size_t out = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].count >= high || (s[i].count == low && at_cut-- > 0)) s[out++] = s[i];
    return out;
}

/* The chunks found, with those of before, into h.  What was there before counts as shared once. */
static void keep(loci_hits *h, const lookup *l, shared *s)
{
    size_t n = 0;
    if (l->n == 0) return;
    qsort(l->found, l->n, sizeof *l->found, rising);
    for (size_t i = 0, j = 0; i < l->n || j < (size_t)h->n;) {
        const bool old = i == l->n || (j < (size_t)h->n && h->chunk[j] <= l->found[i]);
        const int32_t chunk = old ? h->chunk[j++] : l->found[i++];
        if (n > 0 && s[n - 1].chunk == chunk)
            s[n - 1].count++;
        else
            s[n++] = (shared){ chunk, 1 };
    }
    if (n > LOCI_HITS_MAX) n = most_shared(s, n);
    for (size_t i = 0; i < n; i++) h->chunk[i] = s[i].chunk;
    h->n = (int)n;
}

loci_status loci_hits_add(loci_hits *h, const loci_bank *const *bank, const int64_t *first,
                          int n_banks, const loci_tokenizer *tok, const int32_t *ids, int n,
                          loci_error *err)
{
    few here;
    room r = { 0 };
    if (n < 1) return LOCI_OK;
    loci_status st = room_take(&r, &here, n, err);
    if (st != LOCI_OK) return st;
    const int held = h->n_tail, all = held + n;
    lookup l = { .bank = bank,
                 .first = first,
                 .n_banks = n_banks,
                 .blocks = count_blocks(bank, n_banks),
                 .found = r.found,
                 .seen = r.seen,
                 .mask = r.slots - 1 };
    memcpy(r.stream, h->tail, (size_t)held * sizeof *r.stream);
    memcpy(r.stream + held, ids, (size_t)n * sizeof *r.stream);
    st = look_up_all(&l, tok, r.stream, held, all, err);
    if (st == LOCI_OK) {
        keep(h, &l, r.share);
        h->n_tail = all < TAIL ? all : TAIL;
        memcpy(h->tail, r.stream + all - h->n_tail, (size_t)h->n_tail * sizeof *r.stream);
        h->grams += l.grams;
        h->lookups += l.lookups;
    }
    free(r.owned);
    return st;
}
