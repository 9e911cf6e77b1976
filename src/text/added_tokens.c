/* added_tokens.c - finds the tokens that a text may hold as they are, such as <think>.
 *
 * As the public library does: leftmost, then longest, and in two rounds, where the second
 * looks only at what the first left.  The tokens of a round are sorted by their bytes, and a
 * search from one place narrows a range of them byte by byte. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

static int by_text(const void *x, const void *y)
{
    const loci_added_token *a = x, *b = y;
    const int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    if (order != 0) return order;
    return (a->len > b->len) - (a->len < b->len);
}

loci_status loci_added_collect(loci_added *a, const loci_bytes_map *tokens,
                               const unsigned char *kind, const char *label, loci_error *err)
{
    *a = (loci_added){ 0 };
    size_t n = 0;
    for (uint32_t id = 0; id < tokens->n; id++) {
        const unsigned k = kind[id] & ~(unsigned)LOCI_TOKEN_FIRST;
        const size_t len = tokens->at[id + 1] - tokens->at[id];
        if (k != LOCI_TOKEN_ADDED && k != LOCI_TOKEN_SPECIAL) continue;
        if (++n > LOCI_TOK_ADDED_MAX || len < 1 || len > LOCI_TOK_ADDED_BYTES_MAX)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: added token %u of %zu bytes: supported are %d of 1..%d bytes",
                             label, id, len, LOCI_TOK_ADDED_MAX, LOCI_TOK_ADDED_BYTES_MAX);
    }
    a->first = malloc((n + 1) * sizeof *a->first);
    a->then = malloc((n + 1) * sizeof *a->then);
    if (a->first == NULL || a->then == NULL)
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu added tokens", label, n);
    for (uint32_t id = 0; id < tokens->n; id++) {
        const unsigned k = kind[id] & ~(unsigned)LOCI_TOKEN_FIRST;
        if (k != LOCI_TOKEN_ADDED && k != LOCI_TOKEN_SPECIAL) continue;
        const loci_added_token t = { tokens->bytes + tokens->at[id],
                                     tokens->at[id + 1] - tokens->at[id], (int32_t)id };
        a->starts[t.text[0]] = true;
        if (kind[id] & LOCI_TOKEN_FIRST)
            a->first[a->n_first++] = t;
        else
            a->then[a->n_then++] = t;
    }
    qsort(a->first, a->n_first, sizeof *a->first, by_text);
    qsort(a->then, a->n_then, sizeof *a->then, by_text);
    return LOCI_OK;
}

/* Narrow [*low, *high), whose tokens agree in `depth` bytes, to those with `byte` next. */
static void narrow(const loci_added_token *t, size_t *low, size_t *high, size_t depth,
                   unsigned char byte)
{
    size_t edge[2] = { *low, *high };
    for (int side = 0; side < 2; side++) { /* first not below byte, first above it */
        size_t a = edge[0], b = *high;
        while (a < b) {
            const size_t mid = a + (b - a) / 2;
            const int next = t[mid].len > depth ? t[mid].text[depth] : -1;
            if (next < byte + side)
                a = mid + 1;
            else
                b = mid;
        }
        edge[side] = a;
    }
    *low = edge[0];
    *high = edge[1];
}

/* The longest token that starts at text[0], NULL if none does. */
static const loci_added_token *longest_at(const loci_added_token *t, size_t n,
                                          const unsigned char *text, size_t len)
{
    const loci_added_token *best = NULL;
    size_t low = 0, high = n;
    for (size_t depth = 0; depth < len; depth++) {
        narrow(t, &low, &high, depth, text[depth]);
        if (low == high) break;
        /* Sorted: a token that ends here comes before those that go on. */
        if (t[low].len == depth + 1) best = &t[low];
    }
    return best;
}

typedef struct {
    const loci_added *a;
    loci_part_fn *fn;
    void *ctx;
} splitting;

static loci_status split_round(const splitting *s, int round, const unsigned char *text, size_t len)
{
    if (len == 0) return LOCI_OK;
    if (round == 2) return s->fn(s->ctx, text, len, -1);
    const loci_added_token *t = round == 0 ? s->a->first : s->a->then;
    const size_t n = round == 0 ? s->a->n_first : s->a->n_then;
    size_t done = 0; /* bytes given away */
    for (size_t pos = 0; pos < len && n > 0;) {
        const loci_added_token *found =
            s->a->starts[text[pos]] ? longest_at(t, n, text + pos, len - pos) : NULL;
        if (found == NULL) {
            pos++;
            continue;
        }
        loci_status st = split_round(s, round + 1, text + done, pos - done);
        if (st == LOCI_OK) st = s->fn(s->ctx, text + pos, found->len, found->id);
        if (st != LOCI_OK) return st;
        done = pos += found->len;
    }
    return split_round(s, round + 1, text + done, len - done);
}

loci_status loci_added_split(const loci_added *a, const unsigned char *text, size_t len,
                             loci_part_fn *fn, void *ctx)
{
    const splitting s = { a, fn, ctx };
    return split_round(&s, 0, text, len);
}

void loci_added_free(loci_added *a)
{
    free(a->first);
    free(a->then);
    *a = (loci_added){ 0 };
}
