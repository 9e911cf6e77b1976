/* frontier.c - gist frontiers of stored documents: means of their chunks' summaries, 16 to 1 a level.
 *
 *   a document's summaries, one after the other -> open nodes of each level, at most 15 -> frontier
 *
 * A level that has 16 nodes is pooled into one of the next, so what is open when the document ends
 * is its frontier (gist.c): at most 15 nodes a level, 60 for a million tokens.  The pyramid itself
 * is never held.  Summaries come from int8, so nodes are means of what is stored.
 *
 * Of many documents a query attends to the 64 whose root - the mean of their landmarks - it scores
 * highest.  Roots take 512 bytes a document; frontiers are made when wanted, and the last 256 kept:
 * enough that the 64 of one query are there together.  All memory is taken when the union is opened,
 * whose longest document says how much a frontier may need; pages that nobody touches cost nothing. */
#include "engine/frontier.h"
#include <stdlib.h>

enum { BASE = 16, KEPT = 4 * LOCI_GIST_DOCS };

typedef struct {
    int32_t bank;
    int64_t row;  /* of the document in its bank */
    int32_t kept; /* its place in kept, -1 none */
} doc;

typedef struct {
    int64_t doc;   /* -1: empty */
    uint64_t used; /* stamp of its last use */
    float *node;   /* (rows_max, ds) coarse nodes first */
    int n[LOCI_GIST_LEVELS];
} frontier;

struct loci_frontiers {
    const loci_kernels *k;
    const loci_bank *const *bank;
    int n_banks, ds, M, dl;
    int64_t n_docs;
    doc *doc;       /* (n_docs) in order of time */
    float *root;    /* (n_docs, dl) and one more, with more than LOCI_GIST_DOCS documents */
    float *no_bias; /* (n_docs) zeros, with roots */
    bool rooted;    /* roots were made */
    frontier kept[KEPT];
    int n_kept;  /* of them that have memory */
    float *node; /* theirs: (n_kept, rows_max, ds) */
    float *open; /* open nodes of the document in hand: open_rows() of ds */
    int64_t chunks_max;
    uint64_t stamp;
};

/* Nodes of the frontier of n chunks, at most. */
static size_t rows_of(int64_t n)
{
    return (LOCI_GIST_LEVELS - 1) * (BASE - 1) + (size_t)(n >> 4 * (LOCI_GIST_LEVELS - 1));
}

/* Open nodes while n chunks go by: 16 and their pool a level, all of the last one. */
static size_t open_rows(int64_t n)
{
    return (LOCI_GIST_LEVELS - 1) * (BASE + 1) + (size_t)(n >> 4 * (LOCI_GIST_LEVELS - 1)) + 1;
}

static loci_status take_memory(loci_frontiers *f, loci_error *err)
{
    const size_t ds = (size_t)f->ds, rows = rows_of(f->chunks_max);
    f->n_kept = f->n_docs < KEPT ? (int)f->n_docs : KEPT;
    f->node = malloc(((size_t)f->n_kept * rows + 1) * ds * sizeof *f->node);
    f->open = malloc(open_rows(f->chunks_max) * ds * sizeof *f->open);
    if (f->n_docs > LOCI_GIST_DOCS)
        f->root = calloc(((size_t)f->n_docs + 1) * (size_t)f->dl, sizeof *f->root);
    if (f->n_docs > LOCI_GIST_DOCS) f->no_bias = calloc((size_t)f->n_docs, sizeof *f->no_bias);
    if (!f->node || !f->open || (f->n_docs > LOCI_GIST_DOCS && (!f->root || !f->no_bias)))
        return loci_fail(err, LOCI_ENOMEM, "no memory for the gist of %lld documents",
                         (long long)f->n_docs);
    for (int i = 0; i < f->n_kept; i++)
        f->kept[i] = (frontier){ .doc = -1, .node = f->node + (size_t)i * rows * ds };
    return LOCI_OK;
}

loci_status loci_frontiers_open(loci_frontiers **out, const loci_kernels *k,
                                const loci_bank *const *bank, int n_banks, loci_error *err)
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
    f->k = k;
    f->bank = bank;
    f->n_banks = n_banks;
    f->ds = s->d_summary;
    f->M = s->n_landmarks;
    f->dl = s->d_landmark;
    f->doc = d;
    for (int i = 0; i < n_banks; i++)
        for (int64_t r = 0; r < bank[i]->n_docs; r++) {
            const int64_t chunks = bank[i]->doc[r].chunks;
            if (chunks == 0) continue;
            d[f->n_docs++] = (doc){ i, r, -1 };
            if (chunks > f->chunks_max) f->chunks_max = chunks;
        }
    const loci_status st = take_memory(f, err);
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
    free(f->node);
    free(f->open);
    free(f->doc);
    free(f->root);
    free(f->no_bias);
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
    return LOCI_OK;
}

/* ---- the documents of a query --------------------------------------------------------------------- */
/* The document's frontier, made if it is not there, in the place of the one unused for longest. */
static loci_status want(loci_frontiers *f, int64_t at, frontier **out, loci_error *err)
{
    int oldest = 0;
    if (f->doc[at].kept < 0) {
        for (int i = 1; i < f->n_kept; i++)
            if (f->kept[i].used < f->kept[oldest].used) oldest = i;
        frontier *x = &f->kept[oldest];
        if (x->doc >= 0) f->doc[x->doc].kept = -1;
        const loci_status st = make_frontier(f, at, x, err);
        if (st != LOCI_OK) return st;
        f->doc[at].kept = oldest;
    }
    *out = &f->kept[f->doc[at].kept];
    (*out)->used = ++f->stamp;
    return LOCI_OK;
}

/* Mean of the landmarks of one document's chunks into root (dl); row (dl) is scratch. */
static loci_status make_root(const loci_frontiers *f, const doc *d, float *root, float *row,
                             loci_error *err)
{
    const loci_bank *b = f->bank[d->bank];
    const loci_doc_row *r = &b->doc[d->row];
    loci_segment *s = b->segment[b->doc_segment[d->row]];
    const int64_t end = r->first_chunk + r->chunks;
    const float share = 1.0f / ((float)r->chunks * (float)f->M);
    for (int64_t at = r->first_chunk; at < end;) {
        const int64_t g = at / LOCI_SEG_GROUP, stop = (g + 1) * LOCI_SEG_GROUP;
        loci_group_view v;
        const loci_status st = loci_segment_group(s, g, &v, err);
        if (st != LOCI_OK) return st;
        for (; at < end && at < stop; at++)
            for (int m = 0; m < f->M; m++) {
                const size_t i = (size_t)(at % LOCI_SEG_GROUP) * (size_t)f->M + (size_t)m;
                f->k->dequant_q8(row, f->dl, v.landmark + i * (size_t)f->dl, f->dl,
                                 v.landmark_scale + i, 1, f->dl);
                f->k->axpy(root, row, share, (size_t)f->dl);
            }
        loci_segment_forget(s, g); /* of a large bank not all landmarks need stay */
    }
    return LOCI_OK;
}

static loci_status make_roots(loci_frontiers *f, loci_error *err)
{
    const size_t dl = (size_t)f->dl, n = (size_t)f->n_docs;
    loci_status st = LOCI_OK;
    memset(f->root, 0,
           n * dl * sizeof *f->root); /* a damaged block may have ended an earlier try */
    for (size_t i = 0; i < n && st == LOCI_OK; i++)
        st = make_root(f, &f->doc[i], f->root + i * dl, f->root + n * dl, err);
    f->rooted = st == LOCI_OK;
    return st;
}

/* The best LOCI_GIST_DOCS documents into list, in order of time: ties to the earlier. */
static int choose(loci_frontiers *f, const float *u, int64_t list[LOCI_GIST_DOCS])
{
    loci_scored best[LOCI_GIST_DOCS];
    const int n = f->k->landmark_topk(best, 0, LOCI_GIST_DOCS, u, f->root, f->no_bias, 1.0f, 1,
                                      f->dl, (int)f->n_docs, 0);
    for (int i = 0; i < n; i++) {
        int at = i; /* 64 at most */
        for (; at > 0 && list[at - 1] > best[i].index; at--) list[at] = list[at - 1];
        list[at] = best[i].index;
    }
    return n;
}

loci_status loci_frontiers_take(loci_frontiers *f, const float *u, loci_gist_take *take, void *to,
                                loci_error *err)
{
    int64_t list[LOCI_GIST_DOCS];
    int n = (int)(f->n_docs < LOCI_GIST_DOCS ? f->n_docs : LOCI_GIST_DOCS);
    for (int i = 0; i < n; i++) list[i] = i;
    if (f->n_docs > LOCI_GIST_DOCS) {
        const loci_status st = f->rooted ? LOCI_OK : make_roots(f, err);
        if (st != LOCI_OK) return st;
        n = choose(f, u, list);
    }
    for (int i = 0; i < n; i++) {
        frontier *x;
        const loci_status st = want(f, list[i], &x, err);
        if (st != LOCI_OK) return st;
        const float *node = x->node;
        for (int l = LOCI_GIST_LEVELS - 1; l >= 0; l--) {
            if (x->n[l] > 0) take(to, node, l, x->n[l]);
            node += (size_t)x->n[l] * (size_t)f->ds;
        }
    }
    return LOCI_OK;
}
