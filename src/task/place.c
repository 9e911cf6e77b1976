/* place.c - where in a haystack the facts of an item go.
 *
 * Each fact draws a random byte of the allowed depth and moves to the nearest line or sentence
 * end within reach; the places of one group are then dealt out in rising order. */
#include "task/task_impl.h"

#include <stdlib.h>

/* How far a place may move to find an end: a few lines.  Beyond that (code in one line,
 * tables) a space will do, and failing that the start of a UTF-8 character. */
enum { REACH = 300 };

static bool after_line(const char *hay, size_t p)
{
    return hay[p - 1] == '\n';
}

static bool after_sentence(const char *hay, size_t p)
{
    return p >= 2 && hay[p - 1] == ' ' &&
           (hay[p - 2] == '.' || hay[p - 2] == '!' || hay[p - 2] == '?');
}

static bool after_space(const char *hay, size_t p)
{
    return hay[p - 1] == ' ' || hay[p - 1] == '\n';
}

static bool at_character(const char *hay, size_t p)
{
    return ((unsigned char)hay[p] & 0xc0) != 0x80;
}

static bool after_end(const char *hay, size_t p)
{
    return after_line(hay, p) || after_sentence(hay, p);
}

/* The place nearest to p in [first, end) where `good` holds; false if none is in reach.  The
 * start of the haystack is always good. */
static bool nearest(const char *hay, size_t first, size_t end, bool (*good)(const char *, size_t),
                    size_t *p)
{
    for (size_t d = 0; d <= REACH; d++) {
        const size_t behind = *p + d;
        if (*p >= first + d && (*p == d || good(hay, *p - d))) {
            *p -= d;
            return true;
        }
        if (behind > 0 && behind < end && good(hay, behind)) {
            *p = behind;
            return true;
        }
    }
    return false;
}

typedef struct {
    int group, index;
    size_t offset;
} slot;

static int by_place(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int by_index(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Smallest integer >= depth * len, at most len. */
static size_t depth_byte(double depth, size_t len)
{
    const double x = depth * (double)len;
    if (x >= (double)len) return len;
    const size_t p = (size_t)x;
    return (double)p < x ? p + 1 : p;
}

loci_status loci_task_place(const loci_task_item *item, const char *hay, size_t len, double lo,
                            double hi, uint64_t seed, size_t *place, loci_error *err)
{
    if (item == NULL || (hay == NULL && len > 0))
        return loci_fail(err, LOCI_EINVAL, "task place: NULL argument");
    /* Written so that NaN fails too. */
    if (!(lo >= 0.0 && lo < hi && hi <= 1.0))
        return loci_fail(err, LOCI_EINVAL, "depth %g..%g: want 0 <= lo < hi <= 1", lo, hi);
    if (item->n_facts <= 0) return LOCI_OK;
    if (place == NULL) return loci_fail(err, LOCI_EINVAL, "task place: no room for the result");

    const size_t n = (size_t)item->n_facts;
    slot *at = malloc(2 * n * sizeof *at);
    if (at == NULL)
        return loci_fail(err, LOCI_ENOMEM, "no memory to place %d facts", item->n_facts);
    slot *fact = at + n;

    const size_t first = depth_byte(lo, len), end = depth_byte(hi, len);
    loci_rng rng;
    loci_rng_seed(&rng, loci_rng_mix(seed, 0x706c616365)); /* apart from the item's own stream */
    for (size_t i = 0; i < n; i++) {
        size_t p = first;
        if (end > first) {
            p += (size_t)(loci_rng_unit(&rng) * (double)(end - first));
            if (p >= end) p = end - 1; /* the product may round up */
            if (!nearest(hay, first, end, after_end, &p) &&
                !nearest(hay, first, end, after_space, &p))
                (void)nearest(hay, first, end, at_character, &p);
        }
        at[i] = fact[i] = (slot){ .group = item->fact[i].group, .index = (int)i, .offset = p };
    }
    /* Both lists come group by group: the k-th place of a group goes to its k-th fact. */
    qsort(at, n, sizeof *at, by_place);
    qsort(fact, n, sizeof *fact, by_index);
    for (size_t i = 0; i < n; i++) place[fact[i].index] = at[i].offset;
    free(at);
    return LOCI_OK;
}
