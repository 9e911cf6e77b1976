/* gpu_nodes.c - the pyramids of a batch as rows, and which of them a query attends to (d_summary).
 *
 * Rules are those of gist.c: a query sees the frontiers of the newest 64 documents whose chunks it may
 * read.  Frontiers change only where a chunk opens, so a sequence has a stretch of rows for each number
 * of open chunks, at most 15 nodes a level and document: bounded by MOST for a batch, where text alone
 * needs about 15 rows a chunk.  Walked twice: to count, and to fill. */
#include "base/base.h"
#include "model/gpu/gpu_pass_impl.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64, FAN_BITS = 4, PAD = 32, LEVELS = LOCI_GIST_LEVELS, MOST = 1 << 22 };

typedef struct {
    int start, end;   /* tokens of the sequence */
    int chunk0, n;    /* chunks of the sequence */
    int base[LEVELS]; /* node row of the first node of each level */
} document;

typedef struct {
    int32_t level[LEVELS]; /* next free node row of each level */
    int row0;              /* first token row of the sequence */
    int64_t rows;          /* rows handed out so far */
    bool fill;
} cursor;

/* Banked documents of a sequence; returns how many. */
static int list_documents(loci_gpu_layout *b, document *doc, const loci_sequence *s, cursor *at)
{
    int n_docs = 0, chunk = 0;
    for (int d = 0; d < s->n_docs; d++) {
        if (!s->banked[d]) continue;
        document *x = &doc[n_docs++];
        *x = (document){ .start = s->doc[d], .end = s->doc[d + 1], .chunk0 = chunk };
        x->n = (x->end - x->start + CHUNK - 1) / CHUNK;
        chunk += x->n;
        for (int l = 0; l < LEVELS; l++) {
            const int rows = x->n >> (FAN_BITS * l);
            x->base[l] = at->level[l];
            at->level[l] += rows;
            for (int i = 0; at->fill && i < rows; i++) {
                b->host.node_level[x->base[l] + i] = (uint8_t)l;
                b->host.node_child[x->base[l] + i] = l ? x->base[l - 1] + (i << FAN_BITS) : -1;
            }
        }
    }
    return n_docs;
}

/* Token rows [from, to) of the sequence may read its first `open` chunks. */
static void stretch(loci_gpu_layout *b, const document *doc, int n_docs, int open, int from, int to,
                    cursor *at)
{
    const int64_t first = at->rows;
    int docs = 0;
    while (docs < n_docs && doc[docs].chunk0 < open) docs++;
    for (int d = docs > LOCI_GIST_DOCS ? docs - LOCI_GIST_DOCS : 0; d < docs; d++) {
        loci_gist_run run[LEVELS];
        const int part = open - doc[d].chunk0;
        const int runs = loci_gist_frontier(run, doc[d].n, part < doc[d].n ? part : doc[d].n);
        for (int i = 0; i < runs; i++) {
            int row = doc[d].base[run[i].level] + run[i].row;
            for (int l = 0; l < run[i].level; l++) row -= doc[d].n >> (FAN_BITS * l);
            for (int j = 0; j < run[i].n; j++, at->rows++) {
                if (!at->fill) continue;
                b->host.gist_row[at->rows] = row + j;
                b->host.gist_qlo[at->rows] = at->row0 + from;
                b->host.gist_qhi[at->rows] = at->row0 + to;
            }
        }
    }
    for (int r = at->row0 + from; at->fill && r < at->row0 + to; r++) {
        b->host.gist_lo[r] = (int32_t)first;
        b->host.gist_hi[r] = (int32_t)at->rows;
    }
}

static loci_status walk_sequence(loci_gpu_layout *b, const loci_hparams *hp, const loci_sequence *s,
                                 cursor *at, loci_error *err)
{
    document *doc = malloc((size_t)s->n_docs * sizeof *doc);
    if (!doc) return loci_fail(err, LOCI_ENOMEM, "no memory for %d documents", s->n_docs);
    const int n_docs = list_documents(b, doc, s, at);
    int open = 0, from = 0;
    for (int d = 0; d < n_docs; d++)
        for (int j = doc[d].start; j < doc[d].end; j += CHUNK) {
            const int first = j + hp->window < doc[d].end ? j + hp->window : doc[d].end;
            if (open > 0 && first > from) stretch(b, doc, n_docs, open, from, first, at);
            open++;
            from = first;
        }
    if (open > 0 && from < s->T) stretch(b, doc, n_docs, open, from, s->T, at);
    free(doc);
    at->row0 += s->T;
    return LOCI_OK;
}

loci_status loci_gpu_nodes_count(loci_gpu_layout *b, const loci_hparams *hp,
                                 const loci_sequence *const *s, int n, loci_error *err)
{
    cursor at = { 0 };
    loci_status st = LOCI_OK;
    b->n_nodes = b->n_gist = 0;
    memset(b->node_start, 0, sizeof b->node_start);
    if (!hp->d_summary || hp->n_groups == 0) return LOCI_OK;
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        st = walk_sequence(b, hp, s[i], &at, err);
        if (st == LOCI_OK && at.rows > MOST)
            st = loci_fail(err, LOCI_EINVAL,
                           "%d sequences: queries attend to more than %d rows of gist; shorter "
                           "sequences or fewer documents in one need less",
                           n, MOST);
    }
    if (st != LOCI_OK) return st;
    b->n_gist = (int)at.rows;
    b->node_start[1] = b->n_chunks; /* level 0 is the bank, with its pads */
    for (int l = 1; l < LEVELS; l++) b->node_start[l + 1] = b->node_start[l] + at.level[l];
    b->n_nodes = (b->node_start[LEVELS] + PAD - 1) / PAD * PAD;
    return LOCI_OK;
}

/* Rows handed out, by node: a stable counting sort. */
static void sort_rows(loci_gpu_layout *b)
{
    int32_t *start = b->host.gist_start;
    memset(start, 0, ((size_t)b->n_nodes + 1) * sizeof *start);
    for (int i = 0; i < b->n_gist; i++) start[b->host.gist_row[i]]++;
    for (int r = 1; r <= b->n_nodes; r++) start[r] += start[r - 1];
    for (int i = b->n_gist - 1; i >= 0; i--) b->host.gist_order[--start[b->host.gist_row[i]]] = i;
}

loci_status loci_gpu_nodes_fill(loci_gpu_layout *b, const loci_hparams *hp,
                                const loci_sequence *const *s, int n, loci_error *err)
{
    cursor at = { .fill = true };
    loci_status st = LOCI_OK;
    memcpy(at.level, b->node_start, sizeof at.level);
    memset(b->host.gist_lo, 0, (size_t)b->n * sizeof *b->host.gist_lo);
    memset(b->host.gist_hi, 0, (size_t)b->n * sizeof *b->host.gist_hi);
    if (b->n_nodes == 0) return LOCI_OK;
    memset(b->host.node_level, 0, (size_t)b->n_nodes);
    memset(b->host.node_child, 0xff, (size_t)b->n_nodes * sizeof *b->host.node_child);
    for (int i = 0; i < n && st == LOCI_OK; i++) st = walk_sequence(b, hp, s[i], &at, err);
    if (st == LOCI_OK) sort_rows(b);
    return st;
}
