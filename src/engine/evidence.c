/* evidence.c - from what was read to passages that a person can open.
 *
 *   score(c) = sum_{t,g} g_{t,g} w_c / sum_{t,g} g_{t,g}      over the answer's positions t
 *   evidence_mass = sum_c score(c)                            0 if no gate opened
 *
 * Adjacent chunks of one document merge; passages are widened to whole UTF-8 characters. */
#include "engine/ask_impl.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- credits: chunk id -> score ------------------------------------------------------------- */
enum { CREDITS_RESERVED = 16384 }; /* chunks: half a megabyte, whatever is asked for */

static size_t slot_of(const loci_credits *c, int64_t id)
{
    size_t i = (size_t)loci_rng_mix((uint64_t)id, 0x10c1u) & (c->cap - 1);
    while (c->slot[i].id != -1 && c->slot[i].id != id) i = (i + 1) & (c->cap - 1);
    return i;
}

static loci_status credits_grow(loci_credits *c, size_t cap, loci_error *err)
{
    loci_credits bigger = *c;
    bigger.cap = cap;
    bigger.slot = malloc(bigger.cap * sizeof *bigger.slot);
    if (!bigger.slot)
        return loci_fail(err, LOCI_ENOMEM, "no memory for %zu evidence chunks", bigger.cap);
    for (size_t i = 0; i < bigger.cap; i++) bigger.slot[i] = (loci_credit){ -1, 0.0 };
    for (size_t i = 0; i < c->cap; i++)
        if (c->slot[i].id != -1) bigger.slot[slot_of(&bigger, c->slot[i].id)] = c->slot[i];
    free(c->slot);
    *c = bigger;
    return LOCI_OK;
}

loci_status loci_credits_reserve(loci_credits *c, size_t chunks, loci_error *err)
{
    size_t cap = 256;
    while (cap < 2 * (chunks < CREDITS_RESERVED ? chunks : CREDITS_RESERVED)) cap *= 2;
    return cap > c->cap ? credits_grow(c, cap, err) : LOCI_OK;
}

loci_status loci_credits_add(loci_credits *c, const loci_reads *reads, int row, int groups, int k,
                             bool unit_gates, loci_error *err)
{
    for (int g = 0; g < groups; g++) {
        const size_t at = (size_t)row * (size_t)groups + (size_t)g;
        const double gate = unit_gates ? 1.0 : (double)reads->gate[at];
        c->gates += gate;
        for (int i = 0; i < reads->n_picks[at]; i++) {
            const loci_pick *p = &reads->pick[at * (size_t)k + (size_t)i];
            if (p->id < 0) continue; /* the question's own stream: not evidence */
            if (2 * (c->used + 1) > c->cap) {
                const loci_status st = credits_grow(c, c->cap ? 2 * c->cap : 256, err);
                if (st != LOCI_OK) return st;
            }
            loci_credit *s = &c->slot[slot_of(c, p->id)];
            if (s->id == -1) s->id = p->id, c->used++;
            const double credit = gate * (double)reads->weight[at * (size_t)k + (size_t)i];
            s->score += credit;
            c->mass += credit;
        }
    }
    return LOCI_OK;
}

void loci_credits_free(loci_credits *c)
{
    free(c->slot);
    memset(c, 0, sizeof *c);
}

/* ---- passages ---------------------------------------------------------------------------------- */
typedef struct {            /* chunks [first, last] of one document */
    loci_chunk_place place; /* of the first chunk */
    int64_t last, byte_end;
    double score;
} passage;

static int by_place(const void *a, const void *b)
{
    const passage *x = a, *y = b;
    if (x->place.bank != y->place.bank) return x->place.bank < y->place.bank ? -1 : 1;
    if (x->place.doc != y->place.doc) return x->place.doc < y->place.doc ? -1 : 1;
    return (x->place.chunk > y->place.chunk) - (x->place.chunk < y->place.chunk);
}

/* Best first; equal scores in document order, so that the output is always the same. */
static int by_score(const void *a, const void *b)
{
    const passage *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    const int docs = strcmp(x->place.doc->name, y->place.doc->name);
    if (docs) return docs;
    return (x->place.chunk > y->place.chunk) - (x->place.chunk < y->place.chunk);
}

static int merge_adjacent(passage *p, int n)
{
    int out = 0;
    for (int i = 0; i < n; i++) {
        passage *last = out > 0 ? &p[out - 1] : NULL;
        if (last && last->place.doc == p[i].place.doc && last->place.bank == p[i].place.bank &&
            p[i].place.chunk <= last->last + 1) {
            if (p[i].last > last->last) {
                last->last = p[i].last;
                last->byte_end = p[i].byte_end;
            }
            last->score += p[i].score;
        } else {
            p[out++] = p[i];
        }
    }
    return out;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static bool changed_on_disk(const loci_doc_row *doc)
{
    struct stat s;
    if (doc->path[0] == '\0') return false; /* not read from a file */
    if (stat(doc->path, &s) != 0) return true;
    return (int64_t)s.st_size != doc->file_bytes ||
           (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec != doc->mtime_ns;
}

/* Text of the passage out of its bank, one chunk more on either side so that characters cut by a
 * chunk boundary can be made whole. */
static loci_status attach_text(const passage *p, loci_evidence *e, loci_error *err)
{
    const loci_doc_row *doc = p->place.doc;
    const int64_t from = p->place.chunk > 0 ? p->place.chunk - 1 : 0;
    const int64_t to = p->last + 1 < doc->chunks ? p->last + 1 : p->last;
    char *text = NULL;
    size_t bytes = 0, before = 0;
    loci_status st = LOCI_OK;
    if (from < p->place.chunk) {
        st = loci_bank_text(p->place.bank, doc, from, 1, &text, &before, err);
        free(text);
        if (st != LOCI_OK) return st;
    }
    st = loci_bank_text(p->place.bank, doc, from, to - from + 1, &text, &bytes, err);
    if (st != LOCI_OK) return st;
    size_t start = before, end = before + (size_t)(p->byte_end - p->place.byte_start);
    if (end > bytes) end = bytes;
    if (start > end) start = end;
    for (int i = 0; i < 3 && start > 0 && start < bytes && is_continuation(text[start]); i++)
        start--;
    for (int i = 0; i < 3 && end < bytes && is_continuation(text[end]); i++) end++;
    e->byte_start = p->place.byte_start + (int64_t)start - (int64_t)before;
    e->byte_end = e->byte_start + (int64_t)(end - start);
    e->line_start = e->line_end = p->place.line_start;
    for (size_t i = start; i + 1 < end; i++) e->line_end += text[i] == '\n';
    memmove(text, text + start, end - start);
    text[end - start] = '\0';
    e->text = text;
    e->text_bytes = end - start;
    return LOCI_OK;
}

static loci_status fill_evidence(const passage *p, loci_evidence *e, loci_error *err)
{
    const loci_doc_row *doc = p->place.doc;
    memset(e, 0, sizeof *e);
    e->bank = loci_bank_dir(p->place.bank);
    e->score = p->score;
    e->encoding = doc->encoding;
    e->source_changed = changed_on_disk(doc);
    e->doc = strdup(doc->name);
    if (!e->doc) return loci_fail(err, LOCI_ENOMEM, "no memory for a document name");
    return attach_text(p, e, err);
}

/* All credited chunks as passages of one chunk, widened by opt->context_chunks. */
static loci_status collect(loci_searcher *s, const loci_credits *c, const loci_ask_options *opt,
                           passage *p, int *n, loci_error *err)
{
    *n = 0;
    for (size_t i = 0; i < c->cap; i++) {
        if (c->slot[i].id == -1) continue;
        passage *x = &p[*n];
        memset(x, 0, sizeof *x);
        loci_status st = loci_searcher_place(s, c->slot[i].id, &x->place, err);
        if (st != LOCI_OK) return st;
        x->score = c->gates > 0.0 ? c->slot[i].score / c->gates : 0.0;
        x->last = x->place.chunk;
        x->byte_end = x->place.byte_end;
        if (opt->context_chunks > 0) {
            loci_chunk_place edge;
            const int64_t back =
                x->place.chunk < opt->context_chunks ? x->place.chunk : opt->context_chunks;
            const int64_t left = x->place.doc->chunks - 1 - x->last;
            const int64_t ahead = left < opt->context_chunks ? left : opt->context_chunks;
            st = loci_searcher_place(s, c->slot[i].id + ahead, &edge, err);
            if (st == LOCI_OK) {
                x->last += ahead;
                x->byte_end = edge.byte_end;
                st = loci_searcher_place(s, c->slot[i].id - back, &edge, err);
                x->place = edge;
            }
            if (st != LOCI_OK) return st;
        }
        ++*n;
    }
    return LOCI_OK;
}

loci_status loci_evidence_build(loci_searcher *s, const loci_credits *c,
                                const loci_ask_options *opt, loci_answer *out, loci_error *err)
{
    out->evidence_mass = c->gates > 0.0 ? c->mass / c->gates : 0.0;
    if (c->used == 0 || opt->max_evidence == 0) return LOCI_OK;
    passage *p = calloc(c->used, sizeof *p);
    out->evidence = calloc((size_t)opt->max_evidence, sizeof *out->evidence);
    loci_status st =
        p && out->evidence ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for evidence");
    int n = 0;
    if (st == LOCI_OK) st = collect(s, c, opt, p, &n, err);
    if (st == LOCI_OK && n > 0) {
        qsort(p, (size_t)n, sizeof *p, by_place);
        n = merge_adjacent(p, n);
        qsort(p, (size_t)n, sizeof *p, by_score);
        for (int i = 0;
             i < n && i < opt->max_evidence && p[i].score >= opt->min_score && st == LOCI_OK; i++)
            st = fill_evidence(&p[i], &out->evidence[out->n_evidence++], err);
    }
    free(p);
    return st;
}
