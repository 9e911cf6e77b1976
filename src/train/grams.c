/* grams.c - which runs of 13 words a model was trained on: a sample of their hashes, written beside
 * the checkpoint, so that a benchmark can be checked for overlap long after, without the data.
 *
 * A word is a run of ASCII letters and digits and of bytes from 0x80 on, letters in lower case; what
 * is between words does not matter.  Runs do not cross documents.
 *
 *   h(run) = mix( sum_i w_i P^(12-i) mod 2^64 )     w_i = FNV-1a of word i, P odd
 *
 * A run is in the sample if the low bits of h are 0: 1 in 256, or the next power of two that keeps
 * the file below 4 MB.  The same run is in the sample of every text, so found / sampled estimates the
 * share of a text's runs that occurred in training. */
#include "train/train_impl.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = LOCI_GRAM_WORDS, RATE = 256, HEADER = 32, HASHES_MAX = LOCI_GRAMS_MOST };
static const char magic[8] = "LOCIGRAM";
static const uint64_t factor = 0x9E3779B97F4A7C15u;

struct loci_grams {
    uint64_t *hash; /* (n) ascending; owned */
    size_t n, cap;
    size_t most;   /* collecting: kept at most */
    uint32_t rate; /* a power of two */
};

/* ---- walking over a text ------------------------------------------------------------------- */

typedef struct {
    uint64_t word[WORDS], sum, last; /* ring of words; last = P^WORDS */
    int n;                           /* words so far */
} window;

static bool is_word(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

/* The next word in, the 13th before it out; false until 13 are there. */
static bool slide(window *w, uint64_t word, uint64_t *hash)
{
    uint64_t *slot = &w->word[w->n % WORDS];
    w->sum = w->sum * factor + word - (w->n >= WORDS ? *slot * w->last : 0);
    *slot = word;
    w->n++;
    *hash = loci_rng_mix(w->sum, 0);
    return w->n >= WORDS;
}

typedef bool gram_fn(void *ctx, uint64_t hash); /* false: stop */

/* All runs of one document; false when the callback stopped. */
static bool each_gram(const char *text, size_t bytes, gram_fn *fn, void *ctx)
{
    window w = { .last = 1 };
    for (int i = 0; i < WORDS; i++) w.last *= factor;
    for (size_t i = 0; i < bytes;) {
        while (i < bytes && !is_word((unsigned char)text[i])) i++;
        if (i == bytes) break;
        uint64_t word = 0xcbf29ce484222325u, hash;
        for (; i < bytes && is_word((unsigned char)text[i]); i++) {
            const unsigned char c = (unsigned char)text[i];
            word = (word ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 0x100000001b3u;
        }
        if (slide(&w, word, &hash) && !fn(ctx, hash)) return false;
    }
    return true;
}

/* ---- collecting ------------------------------------------------------------------------------- */

static int ascending(const void *pa, const void *pb)
{
    const uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
    return a < b ? -1 : a > b;
}

/* Sort, drop what stands twice, and halve the sample until it fits. */
static void tidy(loci_grams *g)
{
    if (g->n > 1) qsort(g->hash, g->n, sizeof *g->hash, ascending);
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        if (n == 0 || g->hash[n - 1] != g->hash[i]) g->hash[n++] = g->hash[i];
    g->n = n;
    while (g->n > g->most) {
        g->rate *= 2;
        for (size_t i = n = 0; i < g->n; i++)
            if (g->hash[i] % g->rate == 0) g->hash[n++] = g->hash[i];
        g->n = n;
    }
}

static bool collect(void *ctx, uint64_t hash)
{
    loci_grams *g = ctx;
    if (hash % g->rate != 0) return true;
    if (g->n == g->cap && g->n >= 4 * g->most) tidy(g);
    if (g->n == g->cap) {
        const size_t cap = g->cap ? 2 * g->cap : 4096;
        uint64_t *more = realloc(g->hash, cap * sizeof *more);
        if (!more) return false;
        g->hash = more;
        g->cap = cap;
    }
    g->hash[g->n++] = hash;
    return true;
}

static void put32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(x >> 8 * i);
}

static uint32_t get32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

loci_status loci_grams_write(const loci_corpus *corpus, const loci_grams *before, size_t most,
                             const char *path, loci_error *err)
{
    loci_grams g = { .rate = before ? before->rate : RATE, .most = most };
    for (size_t i = 0; before && i < before->n; i++)
        if (!collect(&g, before->hash[i])) {
            free(g.hash);
            return loci_fail(err, LOCI_ENOMEM, "no memory for hashes of the training text");
        }
    for (size_t d = 0; d < corpus->n_docs; d++)
        if (!each_gram(corpus->text + corpus->start[d], corpus->start[d + 1] - corpus->start[d],
                       collect, &g)) {
            free(g.hash);
            return loci_fail(err, LOCI_ENOMEM, "no memory for hashes of the training text");
        }
    tidy(&g);
    unsigned char header[HEADER] = { 0 };
    memcpy(header, magic, sizeof magic);
    put32(header + 8, 1);
    put32(header + 12, WORDS);
    put32(header + 16, g.rate);
    put32(header + 24, (uint32_t)g.n);
    const loci_part part[] = { { header, sizeof header }, { g.hash, g.n * sizeof *g.hash } };
    const loci_status st = loci_file_replace_parts(NULL, path, part, 2, err);
    free(g.hash);
    return st;
}

/* ---- comparing ------------------------------------------------------------------------------------ */

loci_status loci_grams_parse(loci_grams **out, const void *data, size_t bytes, const char *label,
                             loci_error *err)
{
    const unsigned char *p = data;
    *out = NULL;
    if (bytes < HEADER || memcmp(p, magic, sizeof magic) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: not a file of hashes of training text", label);
    const uint32_t version = get32(p + 8), words = get32(p + 12), rate = get32(p + 16),
                   n = get32(p + 24);
    if (version != 1 || words != WORDS)
        return loci_fail(err, LOCI_EVERSION, "%s: version %u, runs of %u words: expected 1 and %d",
                         label, version, words, (int)WORDS);
    if (rate < RATE || (rate & (rate - 1)) != 0 || n > HASHES_MAX ||
        bytes != HEADER + (size_t)n * sizeof(uint64_t))
        return loci_fail(err, LOCI_EFORMAT, "%s: 1 in %u, %u hashes in %zu bytes", label, rate, n,
                         bytes);
    loci_grams *g = calloc(1, sizeof *g);
    uint64_t *hash = malloc(n ? n * sizeof *hash : 1);
    if (!g || !hash) {
        free(g);
        free(hash);
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %u hashes", label, n);
    }
    memcpy(hash, p + HEADER, n * sizeof *hash);
    *g = (loci_grams){ .hash = hash, .n = n, .rate = rate };
    for (uint32_t i = 0; i < n; i++)
        if (hash[i] % rate != 0 || (i > 0 && hash[i - 1] >= hash[i])) {
            loci_grams_close(g);
            return loci_fail(err, LOCI_EFORMAT, "%s: hash %u is out of order or of another sample",
                             label, i);
        }
    *out = g;
    return LOCI_OK;
}

loci_status loci_grams_open(loci_grams **out, const char *path, loci_error *err)
{
    char *data;
    size_t bytes;
    *out = NULL;
    loci_status st =
        loci_file_load(NULL, path, HEADER + HASHES_MAX * sizeof(uint64_t), &data, &bytes, err);
    if (st != LOCI_OK) return st;
    st = loci_grams_parse(out, data, bytes, path, err);
    free(data);
    return st;
}

void loci_grams_close(loci_grams *g)
{
    if (!g) return;
    free(g->hash);
    free(g);
}

typedef struct {
    const loci_grams *grams;
    loci_overlap *sum;
} comparison;

static bool compare(void *ctx, uint64_t hash)
{
    const comparison *c = ctx;
    c->sum->runs++;
    if (hash % c->grams->rate != 0) return true;
    c->sum->sampled++;
    c->sum->found += bsearch(&hash, c->grams->hash, c->grams->n, sizeof hash, ascending) != NULL;
    return true;
}

void loci_grams_overlap(const loci_grams *g, const char *text, size_t bytes, loci_overlap *sum)
{
    comparison c = { g, sum };
    (void)each_gram(text, bytes, compare, &c);
}
