/* frontier.c - gist frontiers of stored documents: means of their chunks' summaries, 16 to 1 a level.
 *
 *   a document's summaries, one after the other -> open nodes of each level, at most 15 -> frontier
 *
 * A level that has 16 nodes is pooled into one of the next, so what is open when the document ends
 * is its frontier (gist.c): at most 15 nodes a level, 60 for a million tokens.  The pyramid itself
 * is never held.  Summaries come from int8, so nodes are means of what is stored.
 *
 * Of many documents a query attends to the 64 whose root - the mean of their landmarks - it scores
 * highest (roots.c).  Roots are in the catalogue (catalog_roots.c); those of short documents, and of
 * banks that earlier builds wrote, are made from the landmarks.  Frontiers are made when wanted and
 * kept, with the keys and values that the reader makes of them for each group: as many as fit, 256 at
 * least, so that the documents of one query are there together and those of the next tokens mostly
 * are.  All memory is taken when the union is opened, whose longest frontier says how much one may
 * need; pages that nobody touches cost nothing. */
#include "engine/frontier.h"
#include <stdlib.h>
#include "engine/roots.h"

enum { BASE = 16, KEPT_MIN = 4 * LOCI_GIST_DOCS };

typedef struct {
    int32_t bank;
    int64_t row;  /* of the document in its bank */
    int32_t kept; /* its place in kept, -1 none */
} doc;

typedef struct {
    int64_t doc;          /* -1: empty */
    int32_t newer, older; /* those used just after and just before it, -1 none */
    float *node;          /* (rows, ds) coarse nodes first; behind them the reader's */
    int n[LOCI_GIST_LEVELS];
    uint32_t made[LOCI_GIST_LEVELS]; /* groups whose keys and values are there */
} frontier;

struct loci_frontiers {
    const loci_kernels *k;
    const loci_bank *const *bank;
    int n_banks, groups, ds, dl;
    int64_t n_docs;
    doc *doc;          /* (n_docs) in order of time */
    loci_roots *roots; /* with more than LOCI_GIST_DOCS documents */
    bool rooted;       /* they are there */
    frontier *kept;    /* (n_kept) */
    int n_kept;
    int32_t newest, oldest; /* of them, by use */
    float *node;            /* theirs: (n_kept, rows_max) nodes with keys and values */
    float *open;            /* open nodes of the document in hand: open_rows() of ds */
    int64_t chunks_max;
    size_t rows_max; /* nodes of a document's frontier, at most */
};

/* Nodes of the frontier of n chunks. */
static size_t rows_of(int64_t n)
{
    size_t rows = 0;
    for (int l = 0; l + 1 < LOCI_GIST_LEVELS; l++, n /= BASE) rows += (size_t)(n % BASE);
    return rows + (size_t)n;
}

/* Floats of a node with its keys and values for all groups. */
static size_t row_floats(const loci_frontiers *f)
{
    return (size_t)f->ds + (size_t)f->groups * LOCI_GIST_KV;
}

/* Open nodes while n chunks go by: 16 and their pool a level, all of the last one. */
static size_t open_rows(int64_t n)
{
    return (LOCI_GIST_LEVELS - 1) * (BASE + 1) + (size_t)(n >> 4 * (LOCI_GIST_LEVELS - 1)) + 1;
}

/* Every frontier empty, each newer than the one behind it. */
static void clear(loci_frontiers *f)
{
    for (int i = 0; i < f->n_kept; i++)
        f->kept[i] = (frontier){ .doc = -1,
                                 .newer = i - 1,
                                 .older = i + 1 < f->n_kept ? i + 1 : -1,
                                 .node = f->node + (size_t)i * f->rows_max * row_floats(f) };
    f->newest = 0;
    f->oldest = f->n_kept - 1;
}

static loci_status take_memory(loci_frontiers *f, size_t bytes, loci_error *err)
{
    const size_t each = f->rows_max * row_floats(f) * sizeof *f->node + 1;
    const int64_t fit = (int64_t)(bytes / each), most = fit > KEPT_MIN ? fit : KEPT_MIN;
    loci_status st = LOCI_OK;
    f->n_kept = (int)(f->n_docs < most ? f->n_docs : most);
    f->kept = malloc(((size_t)f->n_kept + 1) * sizeof *f->kept);
    f->node = malloc((size_t)f->n_kept * each + 1);
    f->open = malloc(open_rows(f->chunks_max) * (size_t)f->ds * sizeof *f->open);
    if (!f->kept || !f->node || !f->open)
        return loci_fail(err, LOCI_ENOMEM, "no memory for the gist of %lld documents",
                         (long long)f->n_docs);
    if (f->n_docs > LOCI_GIST_DOCS) st = loci_roots_open(&f->roots, f->k, f->n_docs, f->dl, err);
    clear(f);
    return st;
}

loci_status loci_frontiers_open(loci_frontiers **out, const loci_model *m,
                                const loci_bank *const *bank, int n_banks, size_t bytes,
                                loci_error *err)
{
    *out = NULL;
    loci_frontiers *f = calloc(1, sizeof *f);
    int64_t n = 0;
    for (int i = 0; i < n_banks; i++) n += bank[i]->n_docs;
    doc *d = malloc(((size_t)n + 1) * sizeof *d);
    if (!f || !d) {
        free(f);
        free(d);
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld documents", (long long)n);
    }
    const loci_segment_shape *s = &bank[0]->shape;
    f->k = &m->k;
    f->groups = m->hp.n_groups;
    f->bank = bank;
    f->n_banks = n_banks;
    f->ds = s->d_summary;
    f->dl = s->d_landmark;
    f->doc = d;
    for (int i = 0; i < n_banks; i++)
        for (int64_t r = 0; r < bank[i]->n_docs; r++) {
            const int64_t chunks = bank[i]->doc[r].chunks;
            if (chunks == 0) continue;
            d[f->n_docs++] = (doc){ i, r, -1 };
            if (chunks > f->chunks_max) f->chunks_max = chunks;
            if (rows_of(chunks) > f->rows_max) f->rows_max = rows_of(chunks);
        }
    const loci_status st = take_memory(f, bytes, err);
    if (st != LOCI_OK) {
        loci_frontiers_close(f);
        return st;
    }
    *out = f;
    return LOCI_OK;
}

void loci_frontiers_close(loci_frontiers *f)
{
    if (!f) return;
    loci_roots_close(f->roots);
    free(f->kept);
    free(f->node);
    free(f->open);
    free(f->doc);
    free(f);
}

/* ---- one document -------------------------------------------------------------------------------- */
typedef struct {
    float *level[LOCI_GIST_LEVELS]; /* (room, ds) open nodes; room for 16 and their pool, above
                                       that for all of the last level */
    int n[LOCI_GIST_LEVELS];
} open_nodes;

/* One more chunk: where 16 nodes of a level are together, they become one of the next. */
static void push(const loci_frontiers *f, open_nodes *o, const int8_t *summary, float scale)
{
    const size_t ds = (size_t)f->ds;
    f->k->dequant_q8(o->level[0] + (size_t)o->n[0]++ * ds, f->ds, summary, f->ds, &scale, 1, f->ds);
    for (int l = 0; l + 1 < LOCI_GIST_LEVELS && o->n[l] == BASE; l++) {
        loci_gist_close(f->k, o->level[l], BASE, f->ds, BASE - 1); /* row 16: the mean of 0..15 */
        memcpy(o->level[l + 1] + (size_t)o->n[l + 1]++ * ds, o->level[l] + BASE * ds,
               ds * sizeof(float));
        o->n[l] = 0;
    }
}

static loci_status read_summaries(const loci_frontiers *f, const doc *d, open_nodes *o,
                                  loci_error *err)
{
    const loci_bank *b = f->bank[d->bank];
    const loci_doc_row *row = &b->doc[d->row];
    loci_segment *s = b->segment[b->doc_segment[d->row]];
    const int64_t end = row->first_chunk + row->chunks;
    for (int64_t at = row->first_chunk; at < end;) {
        const int64_t g = at / LOCI_SEG_GROUP, stop = (g + 1) * LOCI_SEG_GROUP;
        const int8_t *summary;
        const float *scale;
        const loci_status st = loci_segment_summaries(s, g, &summary, &scale, err);
        if (st != LOCI_OK) return st;
        for (; at < end && at < stop; at++) {
            const size_t i = (size_t)(at % LOCI_SEG_GROUP);
            push(f, o, summary + i * (size_t)f->ds, scale[i]);
        }
        loci_segment_forget(s, g);
    }
    return LOCI_OK;
}

/* The frontier of document `at` into out, which has room for it. */
static loci_status make_frontier(loci_frontiers *f, int64_t at, frontier *out, loci_error *err)
{
    const size_t ds = (size_t)f->ds;
    open_nodes o = { .n = { 0 } };
    size_t n = 0;
    for (int l = 0; l < LOCI_GIST_LEVELS; l++) o.level[l] = f->open + (size_t)l * (BASE + 1) * ds;
    out->doc = -1;
    const loci_status st = read_summaries(f, &f->doc[at], &o, err);
    if (st != LOCI_OK) return st;
    for (int l = LOCI_GIST_LEVELS - 1; l >= 0; l--) {
        memcpy(out->node + n * ds, o.level[l], (size_t)o.n[l] * ds * sizeof *out->node);
        n += (size_t)o.n[l];
    }
    out->doc = at;
    memcpy(out->n, o.n, sizeof out->n);
    memset(out->made, 0, sizeof out->made);
    return LOCI_OK;
}

/* ---- the documents of a query --------------------------------------------------------------------- */
/* Frontier i is the one used last. */
static void touch(loci_frontiers *f, int32_t i)
{
    frontier *x = &f->kept[i];
    if (f->newest == i) return;
    f->kept[x->newer].older = x->older; /* there is a newer one */
    if (x->older >= 0)
        f->kept[x->older].newer = x->newer;
    else
        f->oldest = x->newer;
    f->kept[f->newest].newer = i;
    x->older = f->newest;
    x->newer = -1;
    f->newest = i;
}

/* The document's frontier, made if it is not there, in the place of the one unused for longest. */
static loci_status want(loci_frontiers *f, int64_t at, frontier **out, loci_error *err)
{
    if (f->doc[at].kept < 0) {
        const int32_t oldest = f->oldest;
        frontier *x = &f->kept[oldest];
        if (x->doc >= 0) f->doc[x->doc].kept = -1;
        const loci_status st = make_frontier(f, at, x, err);
        if (st != LOCI_OK) return st;
        f->doc[at].kept = oldest;
    }
    touch(f, f->doc[at].kept);
    *out = &f->kept[f->doc[at].kept];
    return LOCI_OK;
}

/* Document d's root into root (dl): by the reader of its bank's catalogue, or from its segment. */
static loci_status get_root(const loci_frontiers *f, const doc *d, loci_root_reader *stored,
                            float *root, loci_error *err)
{
    const loci_bank *b = f->bank[d->bank];
    const loci_doc_row *r = &b->doc[d->row];
    const float *known;
    const loci_status st = loci_root_reader_find(stored, r->sequence, &known, err);
    if (st != LOCI_OK) return st;
    if (!known)
        return loci_segment_root(b->segment[b->doc_segment[d->row]], r->first_chunk, r->chunks,
                                 root, err);
    memcpy(root, known, (size_t)f->dl * sizeof *root);
    return LOCI_OK;
}

/* Documents are in order of bank and sequence, as readers want them. */
static loci_status make_roots(loci_frontiers *f, loci_error *err)
{
    loci_root_reader *stored = NULL;
    float *root = malloc((size_t)f->dl * sizeof *root);
    loci_status st = root ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for a vector");
    for (int64_t i = 0; i < f->n_docs && st == LOCI_OK; i++) {
        const doc *d = &f->doc[i];
        if (i == 0 || d->bank != f->doc[i - 1].bank) {
            loci_root_reader_close(stored);
            st = loci_root_reader_open(&stored, f->bank[d->bank]->catalog, f->dl, err);
        }
        if (st == LOCI_OK) st = get_root(f, d, stored, root, err);
        if (st == LOCI_OK) loci_roots_set(f->roots, i, root);
    }
    loci_root_reader_close(stored);
    free(root);
    f->rooted = st == LOCI_OK;
    return st;
}

/* The frontier's runs, coarse nodes first. */
static void hand_over(const loci_frontiers *f, frontier *x, loci_gist_take *take, void *to)
{
    size_t rows = 0;
    for (int l = 0; l < LOCI_GIST_LEVELS; l++) rows += (size_t)x->n[l];
    const float *node = x->node;
    loci_gist_room room = { .kv = x->node + rows * (size_t)f->ds, .stride = rows * LOCI_GIST_KV };
    for (int l = LOCI_GIST_LEVELS - 1; l >= 0; l--) {
        room.made = &x->made[l];
        if (x->n[l] > 0) take(to, node, l, x->n[l], &room);
        node += (size_t)x->n[l] * (size_t)f->ds;
        room.kv += (size_t)x->n[l] * LOCI_GIST_KV;
    }
}

loci_status loci_frontiers_take(loci_frontiers *f, const float *u, loci_gist_take *take, void *to,
                                loci_error *err)
{
    int64_t list[LOCI_GIST_DOCS];
    int n = (int)(f->n_docs < LOCI_GIST_DOCS ? f->n_docs : LOCI_GIST_DOCS);
    for (int i = 0; i < n; i++) list[i] = i;
    if (f->roots) {
        const loci_status st = f->rooted ? LOCI_OK : make_roots(f, err);
        if (st != LOCI_OK) return st;
        n = loci_roots_best(f->roots, u, LOCI_GIST_DOCS, list);
    }
    for (int i = 0; i < n; i++) {
        frontier *x;
        const loci_status st = want(f, list[i], &x, err);
        if (st != LOCI_OK) return st;
        hand_over(f, x, take, to);
    }
    return LOCI_OK;
}
