/* bank_codes.c - what a search of an open bank looks through first: an array of all codes while the bank
 * is small, buckets of landmarks (buckets.h) once it is large.
 *
 * At the end of an ingest that has made the bank half again as large as when buckets were learned they are
 * learned anew; of one that leaves more than a 32nd in no bucket, all landmarks are put into the buckets
 * that there are.  In between the codes of new chunks are in the array, and replaced chunks are passed
 * over.  Buckets that know a segment which is gone go with it: they hold landmarks of documents that
 * nobody has any more. */
#include "engine/questions.h"
#include <stdlib.h>

enum {
    GROWN = 2,        /* learned anew when a half of what they were learned from has come since */
    LOOSE = 32,       /* put into buckets when more than one chunk in 32 is in none ... */
    LOOSE_MIN = 2048, /* ... and so many are: 100 us of a search */
    QUESTIONS =
        128, /* pieces of text that buckets are learned from, one for as many chunks at most */
    IN_A_BUCKET =
        64, /* landmarks: of 256 a search needs to score twice as many for the same recall */
    BUCKETS_MOST = 8192 /* of more, sorting costs more than what it saves */
};

static loci_status buckets_path(const loci_bank *b, char *path, size_t n, loci_error *err)
{
    return loci_path_join(path, n, b->dir, LOCI_BUCKETS_FILE, err);
}

/* ---- the array ------------------------------------------------------------------------------------ */
static loci_status take_codes(const loci_bank *b, int64_t doc, uint64_t *code, loci_error *err)
{
    return loci_segment_codes(b->segment[b->doc_segment[doc]], b->doc[doc].first_chunk,
                              b->doc[doc].chunks, code, err);
}

static loci_status alloc_codes(const loci_bank *b, int64_t chunks, uint64_t **code, loci_error *err)
{
    size_t bytes = 0;
    if (!loci_size_mul((size_t)chunks, (size_t)b->shape.n_landmarks * 16, &bytes) ||
        !(*code = loci_alloc_aligned(bytes ? bytes : 64)))
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for the codes of %lld chunks", b->dir,
                         (long long)chunks);
    return LOCI_OK;
}

loci_status loci_bank_all_codes(const loci_bank *b, uint64_t **code, loci_error *err)
{
    const size_t words = (size_t)b->shape.n_landmarks * 2;
    *code = NULL;
    loci_status st = alloc_codes(b, b->chunks, code, err);
    for (int64_t i = 0; i < b->n_docs && st == LOCI_OK; i++)
        st = take_codes(b, i, *code + (size_t)b->doc_first[i] * words, err);
    if (st != LOCI_OK) {
        loci_free_aligned(*code);
        *code = NULL;
    }
    return st;
}

/* ---- what is in buckets, and what is not ------------------------------------------------------------- */
/* Number in the buckets of a document's first chunk; -1: not there. */
static int64_t sorted_at(const loci_bank *b, int64_t doc)
{
    if (!b->buckets) return -1;
    const int64_t first = loci_buckets_first(b->buckets, b->doc[doc].segment);
    return first < 0 ? -1 : first + b->doc[doc].first_chunk;
}

static int in_order_of_number(const void *pa, const void *pb)
{
    const loci_bucket_run *a = pa, *b = pb;
    return (a->from > b->from) - (a->from < b->from);
}

static void join_bucket_runs(loci_bank *b)
{
    loci_bucket_run *run = b->bucket_run;
    int64_t out = 0;
    qsort(run, (size_t)b->n_bucket_runs, sizeof *run, in_order_of_number);
    for (int64_t i = 0; i < b->n_bucket_runs; i++) {
        loci_bucket_run *last = &run[out - (out > 0)];
        if (out > 0 && last->from + last->n == run[i].from && last->index + last->n == run[i].index)
            last->n += run[i].n;
        else
            run[out++] = run[i];
    }
    b->n_bucket_runs = out;
}

static loci_status lay_out_runs(loci_bank *b, loci_error *err)
{
    b->bucket_run = calloc((size_t)b->n_docs + 1, sizeof *b->bucket_run);
    b->code_run = calloc((size_t)b->n_docs + 1, sizeof *b->code_run);
    if (!b->bucket_run || !b->code_run)
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld documents", (long long)b->n_docs);
    for (int64_t i = 0; i < b->n_docs; i++) {
        const int64_t n = b->doc[i].chunks, index = b->doc_first[i], from = sorted_at(b, i);
        loci_code_run *last = &b->code_run[b->n_code_runs - (b->n_code_runs > 0)];
        if (n == 0) continue;
        if (from >= 0) {
            b->bucket_run[b->n_bucket_runs++] = (loci_bucket_run){ from, n, index };
            continue;
        }
        if (b->n_code_runs > 0 && last->index + last->n == index)
            last->n += n;
        else
            b->code_run[b->n_code_runs++] = (loci_code_run){ index, n, b->n_codes };
        b->n_codes += n;
    }
    join_bucket_runs(b);
    return LOCI_OK;
}

/* The file's segments are the bank's, or gone. */
static loci_status compare_segments(loci_bank *b, loci_error *err)
{
    int64_t n;
    const loci_bucket_segment *s = loci_buckets_segments(b->buckets, &n);
    for (int64_t i = 0; i < n; i++) {
        const loci_segment_row *row = loci_segment_row_find(b->segment_row, b->n_segments, s[i].id);
        if (!row)
            b->buckets_stale = true;
        else if (row->chunks != s[i].chunks)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/" LOCI_BUCKETS_FILE ": segment %lld: %lld chunks, the catalogue "
                             "says %lld",
                             b->dir, (long long)s[i].id, (long long)s[i].chunks,
                             (long long)row->chunks);
    }
    return LOCI_OK;
}

/* A reader needs the file to be good; a writer makes it anew, and so does everybody without it. */
static loci_status open_buckets(loci_bank *b, loci_error *err)
{
    char path[4096];
    loci_error local = { 0 };
    loci_status st = buckets_path(b, path, sizeof path, err);
    if (st != LOCI_OK) return st;
    st = loci_buckets_open(&b->buckets, path, &b->shape, &local);
    if (st == LOCI_OK) st = compare_segments(b, &local);
    if (st == LOCI_OK || st == LOCI_ENOTFOUND) return LOCI_OK;
    loci_buckets_close(b->buckets);
    b->buckets = NULL;
    b->buckets_stale = true;
    if (st == LOCI_EVERSION || (b->mode != LOCI_BANK_READ && st != LOCI_ENOMEM)) return LOCI_OK;
    return loci_fail(err, st, "%s", local.text);
}

loci_status loci_bank_load_codes(loci_bank *b, loci_error *err)
{
    const size_t words = (size_t)b->shape.n_landmarks * 2;
    loci_status st = open_buckets(b, err);
    if (st == LOCI_OK) st = lay_out_runs(b, err);
    if (st == LOCI_OK) st = alloc_codes(b, b->n_codes, &b->code, err);
    int64_t at = 0;
    for (int64_t i = 0; i < b->n_docs && st == LOCI_OK; i++) {
        if (sorted_at(b, i) >= 0) continue;
        st = take_codes(b, i, b->code + (size_t)at * words, err);
        at += b->doc[i].chunks;
    }
    return st;
}

void loci_bank_free_codes(loci_bank *b)
{
    loci_buckets_close(b->buckets);
    free(b->bucket_run);
    free(b->code_run);
    loci_free_aligned(b->code);
}

/* ---- sorting ------------------------------------------------------------------------------------------ */
typedef struct {
    loci_bucket_segment *segment;
    loci_group_view *group; /* of all segments */
    uint32_t *chunk;
    loci_bucket_run *run; /* documents by number; index: which document */
} sorting;

/* Every group that holds a live chunk; all that is read here is checked now, so that sorting cannot
 * meet a damaged block. */
static loci_status take_groups(const loci_bank *b, sorting *s, loci_error *err)
{
    int64_t groups = 0;
    for (int64_t i = 0; i < b->n_segments; i++)
        groups += bkt_numbers(b->segment_row[i].chunks) / LOCI_SEG_GROUP;
    if (groups > UINT32_MAX / LOCI_SEG_GROUP)
        return loci_fail(err, LOCI_EINVAL, "%s: too many chunks to sort", b->dir);
    s->group = calloc((size_t)groups + 1, sizeof *s->group);
    if (!s->group) return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    for (int64_t i = 0; i < b->n_docs; i++) {
        const loci_bucket_run *r = &s->run[i];
        if (r->n == 0) continue;
        const int64_t first = r->from / LOCI_SEG_GROUP,
                      last = (r->from + r->n - 1) / LOCI_SEG_GROUP;
        const int64_t in_segment = b->doc[r->index].first_chunk / LOCI_SEG_GROUP;
        for (int64_t g = first; g <= last; g++) {
            if (s->group[g].landmark) continue;
            const loci_status st = loci_segment_group(b->segment[b->doc_segment[r->index]],
                                                      in_segment + g - first, &s->group[g], err);
            if (st != LOCI_OK) return st;
        }
    }
    return LOCI_OK;
}

/* What is to be sorted: the live chunks in order of their numbers. */
static loci_status collect(const loci_bank *b, sorting *s, loci_error *err)
{
    int64_t numbers = 0, n = 0;
    s->segment = calloc((size_t)b->n_segments + 1, sizeof *s->segment);
    s->chunk = malloc(((size_t)b->chunks + 1) * sizeof *s->chunk);
    s->run = calloc((size_t)b->n_docs + 1, sizeof *s->run);
    int64_t *first = calloc((size_t)b->n_segments + 1, sizeof *first);
    if (!s->segment || !s->chunk || !s->run || !first) {
        free(first);
        return loci_fail(err, LOCI_ENOMEM, "no memory to sort landmarks");
    }
    for (int64_t i = 0; i < b->n_segments; i++) {
        s->segment[i] = (loci_bucket_segment){ b->segment_row[i].id, b->segment_row[i].chunks };
        first[i] = numbers;
        numbers += bkt_numbers(b->segment_row[i].chunks);
    }
    for (int64_t i = 0; i < b->n_docs; i++)
        s->run[i] = (loci_bucket_run){ first[b->doc_segment[i]] + b->doc[i].first_chunk,
                                       b->doc[i].chunks, i };
    free(first);
    qsort(s->run, (size_t)b->n_docs, sizeof *s->run, in_order_of_number);
    const loci_status st = take_groups(b, s, err);
    for (int64_t i = 0; i < b->n_docs && st == LOCI_OK; i++)
        for (int64_t c = 0; c < s->run[i].n; c++) s->chunk[n++] = (uint32_t)(s->run[i].from + c);
    return st;
}

int loci_bank_buckets_for(int64_t rows)
{
    const int64_t n = rows / IN_A_BUCKET;
    return n < 1 ? 1 : n > BUCKETS_MOST ? BUCKETS_MOST : (int)n;
}

/* Pieces of a bank of so many chunks that it is asked about. */
static int pieces_for(int64_t chunks)
{
    const int64_t n = chunks / QUESTIONS;
    return n < 1 ? 1 : n > QUESTIONS ? QUESTIONS : (int)n;
}

/* Sort into the n buckets of `keep`, or, NULL, into n that are learned. */
static loci_status sort_into(loci_bank *b, int n, const loci_buckets *keep, loci_error *err)
{
    char path[4096];
    sorting s = { 0 };
    const loci_engine *e = b->engine;
    const loci_bank *const bank = b;
    loci_questions q = { 0 };
    loci_status st = buckets_path(b, path, sizeof path, err);
    if (st == LOCI_OK) st = collect(b, &s, err);
    if (st == LOCI_OK && !keep)
        st = loci_questions_make(&q, e->model, loci_tokenizer_vocab(e->tok), &bank, 1,
                                 pieces_for(b->chunks), 1, err);
    if (st == LOCI_OK) {
        const loci_buckets_source source = { .segment = s.segment,
                                             .n_segments = b->n_segments,
                                             .group = s.group,
                                             .chunk = s.chunk,
                                             .n_chunks = b->chunks,
                                             .shape = b->shape,
                                             .query = q.query,
                                             .n_queries = q.n,
                                             .keep = keep };
        st = loci_buckets_make(b->vfs, path, &source, n, &e->model->k, e->pool, err);
    }
    loci_questions_free(&q);
    free(s.segment);
    free(s.group);
    free(s.chunk);
    free(s.run);
    return st == LOCI_OK ? loci_bank_reload(b, err) : st;
}

loci_status loci_bank_sort(loci_bank *b, int n_buckets, loci_error *err)
{
    const int n = n_buckets ? n_buckets : loci_bank_buckets_for(b->chunks * b->shape.n_landmarks);
    return sort_into(b, n, NULL, err);
}

void loci_bank_drop_stale_buckets(loci_bank *b)
{
    char path[4096];
    if (loci_path_join(path, sizeof path, b->dir, LOCI_BUCKETS_FILE ".tmp", NULL) == LOCI_OK)
        b->vfs->unlink(b->vfs->ctx, path);
    if (b->buckets_stale && buckets_path(b, path, sizeof path, NULL) == LOCI_OK)
        b->vfs->unlink(b->vfs->ctx, path);
}

loci_status loci_bank_tend(loci_bank *b, loci_error *err)
{
    const int64_t rows = b->chunks * b->shape.n_landmarks;
    loci_bank_drop_stale_buckets(b);
    if (b->chunks < LOCI_SORTED_FROM) return b->buckets_stale ? loci_bank_reload(b, err) : LOCI_OK;
    if (!b->buckets || b->buckets_stale) return loci_bank_sort(b, 0, err);
    const int64_t learned = loci_buckets_learned(b->buckets);
    if (rows - learned > learned / GROWN || rows < learned / GROWN)
        return loci_bank_sort(b, 0, err);
    const int64_t loose = b->chunks / LOOSE;
    if (b->n_codes <= (loose > LOOSE_MIN ? loose : LOOSE_MIN)) return LOCI_OK;
    return sort_into(b, loci_buckets_count(b->buckets), b->buckets, err);
}
