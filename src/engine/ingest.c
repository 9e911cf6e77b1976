/* ingest.c - documents into a bank: read, tokenise, encode, write, commit.
 *
 * Memory is bounded whatever the input: text passes through one window, tokens through spans.c,
 * chunks to a segment file; reading and writing go on while chunks are computed.  Documents become
 * visible in batches, each in one transaction with its segment; a kill in between leaves a file that
 * the catalogue does not know, which the next writer removes. */
#include "engine/bank_impl.h"
#include "engine/source.h"
#include "engine/spans.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum {
    WINDOW = 1 << 20,      /* bytes of text held at once */
    COMMIT_CHUNKS = 16384, /* a batch: about a million tokens */
    COMMIT_DOCS = 4096,
    BINARY_PROBE = 8192
};

typedef struct { /* one call of loci_bank_ingest */
    loci_bank *bank;
    const loci_ingest_options *opt;
    loci_sources *sources;
    loci_ingest_report *report;
    loci_encoder *enc;
    loci_spans *spans;
    loci_segment_writer *writer; /* of the current batch, or NULL */
    loci_segment_row segment;
    loci_doc_row *doc, *touch; /* of the current batch */
    int64_t n_docs, n_touch;
    char *text;   /* (2 * WINDOW) */
    int32_t *ids; /* (2 * WINDOW) */
    uint32_t *ends;
    int64_t bytes_done; /* of the files, for progress */
    XXH3_state_t *hash;
} job;

/* Where the text of one document comes from. */
typedef struct {
    loci_reader *reader; /* NULL: memory */
    const char *data;
    size_t left;
    bool failed; /* the source is at fault, not the bank */
} input;

static loci_status input_read(input *in, char *buf, size_t n, size_t *got, loci_error *err)
{
    if (in->reader) {
        const loci_status st = loci_reader_read(in->reader, buf, n, got, err);
        in->failed = st != LOCI_OK;
        return st;
    }
    *got = in->left < n ? in->left : n;
    memcpy(buf, in->data, *got);
    in->data += *got;
    in->left -= *got;
    return LOCI_OK;
}

/* ---- batches ------------------------------------------------------------------------------------ */
static loci_status begin_batch(job *j, loci_error *err)
{
    if (j->writer) return LOCI_OK;
    char path[4096];
    loci_status st = loci_bank_new_segment(j->bank, &j->segment, path, sizeof path, err);
    if (st != LOCI_OK) return st;
    return loci_segment_create(&j->writer, j->bank->vfs, path, &j->bank->shape, err);
}

static void forget_docs(job *j)
{
    for (int64_t i = 0; i < j->n_docs; i++) free(j->doc[i].name), free(j->doc[i].path);
    for (int64_t i = 0; i < j->n_touch; i++) free(j->touch[i].name), free(j->touch[i].path);
    j->n_docs = j->n_touch = 0;
}

static void abort_batch(job *j)
{
    loci_segment_abort(j->writer);
    j->writer = NULL;
    loci_spans_drop(j->spans);
    forget_docs(j);
}

static loci_status commit_batch(job *j, loci_error *err)
{
    if (j->n_docs == 0 && j->n_touch == 0) {
        if (j->writer) abort_batch(j);
        return LOCI_OK;
    }
    loci_status st = LOCI_OK;
    if (j->writer) {
        st = loci_spans_finish(j->spans, j->writer, err);
        j->segment.chunks = loci_segment_chunks(j->writer);
        if (st == LOCI_OK) st = loci_segment_finish(j->writer, &j->segment.bytes, err);
    }
    if (st == LOCI_OK)
        st = loci_bank_commit(j->bank, j->writer ? &j->segment : NULL, j->doc, j->n_docs, j->touch,
                              j->n_touch, err);
    if (st != LOCI_OK) {
        abort_batch(j);
        return st;
    }
    loci_segment_writer_close(j->writer);
    j->writer = NULL;
    forget_docs(j);
    st = loci_bank_reload(j->bank, err);
    if (st == LOCI_OK) loci_bank_drop_stale_buckets(j->bank);
    return st;
}

/* ---- one document --------------------------------------------------------------------------------- */
static loci_status report_progress(job *j, int64_t bytes, loci_error *err)
{
    if (j->opt->progress &&
        j->opt->progress(j->opt->progress_ctx, bytes, j->sources ? j->sources->bytes : 0))
        return loci_fail(err, LOCI_ECANCEL,
                         "stopped by the caller; documents committed before stay");
    return LOCI_OK;
}

/* Tokens of text[0..n) into the spans; *line is the line of text[0], and moves on. */
static loci_status feed(job *j, const char *text, size_t n, int64_t byte, int64_t *line,
                        loci_error *err)
{
    size_t n_tok;
    loci_status st = begin_batch(j, err);
    if (st == LOCI_OK) st = loci_encode(j->enc, text, n, j->ids, j->ends, 2 * WINDOW, &n_tok, err);
    for (size_t i = 0, at = 0; st == LOCI_OK && i < n_tok; i++) {
        if (loci_spans_full(j->spans)) st = loci_spans_flush(j->spans, j->writer, err);
        loci_spans_add(j->spans, j->ids[i], byte + (int64_t)at, *line);
        for (; at < j->ends[i]; at++) *line += text[at] == '\n';
    }
    return st;
}

typedef enum { DOC_DONE, DOC_BINARY, DOC_TOO_LARGE } doc_result;

/* Read one document to its end.  row: tokens, bytes, hash, chunks are filled in. */
static loci_status read_document(job *j, input *in, loci_doc_row *row, doc_result *result,
                                 loci_error *err)
{
    size_t have = 0, got = 0;
    int64_t byte = 0, line = 1;
    bool first = true;
    loci_status st = LOCI_OK;
    XXH3_128bits_reset(j->hash);
    *result = DOC_DONE;
    for (;;) {
        while (st == LOCI_OK && have < WINDOW) {
            st = input_read(in, j->text + have, WINDOW - have, &got, err);
            if (st != LOCI_OK || got == 0) break;
            have += got;
        }
        if (st != LOCI_OK) return st;
        if (first) {
            if (memchr(j->text, '\0', have < BINARY_PROBE ? have : BINARY_PROBE)) {
                *result = DOC_BINARY;
                return LOCI_OK;
            }
            if (loci_spans_full(j->spans)) {
                st = begin_batch(j, err);
                if (st == LOCI_OK) st = loci_spans_flush(j->spans, j->writer, err);
                if (st != LOCI_OK) return st;
            }
            row->first_chunk =
                (j->writer ? loci_segment_chunks(j->writer) : 0) + loci_spans_pending(j->spans);
            loci_spans_begin(j->spans);
            first = false;
        }
        if (have == 0) break;
        const bool end = have < WINDOW;
        size_t cut = end ? have : loci_encode_safe_cut(j->text, have, have);
        if (cut == 0) cut = have;
        st = feed(j, j->text, cut, byte, &line, err);
        if (st == LOCI_OK && in->reader)
            st = report_progress(j, j->bytes_done + loci_reader_raw_bytes(in->reader), err);
        if (st != LOCI_OK) return st;
        XXH3_128bits_update(j->hash, j->text, cut);
        byte += (int64_t)cut;
        if (byte > j->opt->max_file_bytes) {
            *result = DOC_TOO_LARGE;
            return LOCI_OK;
        }
        memmove(j->text, j->text + cut, have - cut);
        have -= cut;
    }
    row->bytes = byte;
    row->chunks = loci_spans_doc_chunks(j->spans);
    row->tokens = loci_spans_doc_tokens(j->spans);
    XXH128_canonical_t h;
    XXH128_canonicalFromHash(&h, XXH3_128bits_digest(j->hash));
    memcpy(row->hash, h.digest, sizeof row->hash);
    loci_spans_end(j->spans);
    return LOCI_OK;
}

/* Content hash of a file without reading it into the bank; false when it cannot be read. */
static bool hash_file(job *j, const char *path, uint8_t out[16])
{
    loci_reader *r;
    size_t got = 0;
    if (loci_reader_open(&r, path, NULL) != LOCI_OK) return false;
    XXH3_128bits_reset(j->hash);
    loci_status st;
    while ((st = loci_reader_read(r, j->text, WINDOW, &got, NULL)) == LOCI_OK && got > 0)
        XXH3_128bits_update(j->hash, j->text, got);
    loci_reader_close(r);
    XXH128_canonical_t h;
    XXH128_canonicalFromHash(&h, XXH3_128bits_digest(j->hash));
    memcpy(out, h.digest, 16);
    return st == LOCI_OK;
}

/* Same size and mtime, else same content: nothing to do (a new mtime is noted). */
static loci_status is_unchanged(job *j, const loci_source *src, bool *unchanged, bool *known,
                                loci_error *err)
{
    loci_doc_row row;
    *unchanged = *known = false;
    loci_status st = loci_catalog_find(j->bank->catalog, src->name, &row, err);
    if (st == LOCI_ENOTFOUND) return LOCI_OK;
    if (st != LOCI_OK) return st;
    *known = true;
    uint8_t hash[16];
    if (strcmp(src->path, "-") != 0) {
        if (row.file_bytes == src->bytes && row.mtime_ns == src->mtime_ns) {
            *unchanged = true;
        } else if (row.file_bytes == src->bytes && hash_file(j, src->path, hash) &&
                   memcmp(hash, row.hash, sizeof hash) == 0) {
            *unchanged = true;
            row.mtime_ns = src->mtime_ns;
            j->touch[j->n_touch++] = row; /* name and path move along */
            return LOCI_OK;
        }
    }
    free(row.name);
    free(row.path);
    return LOCI_OK;
}

static loci_status add_document(job *j, const char *name, const char *path, input *in,
                                loci_doc_row *row, bool known, loci_error *err)
{
    doc_result result;
    loci_status st = read_document(j, in, row, &result, err);
    if (st != LOCI_OK) return st;
    if (result != DOC_DONE) {
        if (result == DOC_TOO_LARGE) loci_spans_end(j->spans); /* dead chunks of the batch */
        loci_source_skip(j->opt, j->sources, path,
                         result == DOC_BINARY ? "binary (a NUL byte near its start)"
                                              : "larger than the limit for one file");
        return LOCI_OK;
    }
    st = begin_batch(j, err); /* an empty document has no text to begin one */
    if (st != LOCI_OK) return st;
    row->segment = j->segment.id;
    row->name = strdup(name);
    if (!row->path) row->path = strdup("");
    if (!row->name || !row->path) return loci_fail(err, LOCI_ENOMEM, "no memory for a document");
    j->doc[j->n_docs++] = *row;
    memset(row, 0, sizeof *row);
    j->report->documents++;
    j->report->replaced += known;
    j->report->tokens += j->doc[j->n_docs - 1].tokens;
    j->report->bytes += j->doc[j->n_docs - 1].bytes;
    return LOCI_OK;
}

/* One source: skipped with a reason when it cannot be read; an error only when the bank is at fault. */
static loci_status ingest_source(job *j, const loci_source *src, loci_error *err)
{
    bool unchanged, known;
    loci_status st = is_unchanged(j, src, &unchanged, &known, err);
    if (st != LOCI_OK) return st;
    if (unchanged) {
        j->report->unchanged++;
        return LOCI_OK;
    }
    loci_error local = { 0 };
    input in = { 0 };
    loci_doc_row row = { .file_bytes = src->bytes, .mtime_ns = src->mtime_ns };
    st = loci_reader_open(&in.reader, src->path, &local);
    in.failed = st != LOCI_OK && st != LOCI_ENOMEM;
    if (st == LOCI_OK) {
        snprintf(row.encoding, sizeof row.encoding, "%s", loci_reader_encoding(in.reader));
        row.path = strcmp(src->path, "-") == 0 ? strdup("") : realpath(src->path, NULL);
        st = add_document(j, src->name, src->path, &in, &row, known, &local);
    }
    free(row.name);
    free(row.path);
    loci_reader_close(in.reader);
    if (st == LOCI_OK) return LOCI_OK;
    if (!in.failed) return loci_fail(err, st, "%s", local.text);
    loci_spans_end(j->spans);
    loci_source_skip(j->opt, j->sources, src->path, local.text);
    return LOCI_OK;
}

static loci_status ingest_all(job *j, loci_error *err)
{
    double last_commit = loci_seconds();
    for (size_t i = 0; i < j->sources->n; i++) {
        loci_status st = ingest_source(j, &j->sources->item[i], err);
        j->bytes_done += j->sources->item[i].bytes;
        if (st == LOCI_OK) st = report_progress(j, j->bytes_done, err);
        if (st != LOCI_OK) return st;
        const int64_t chunks = j->writer ? loci_segment_chunks(j->writer) : 0;
        /* A long run commits now and then, so that a kill costs a minute, not an hour. */
        if (chunks >= COMMIT_CHUNKS || j->n_docs == COMMIT_DOCS || j->n_touch == COMMIT_DOCS ||
            loci_seconds() - last_commit > 60.0) {
            if ((st = commit_batch(j, err)) != LOCI_OK) return st;
            last_commit = loci_seconds();
        }
    }
    return commit_batch(j, err);
}

/* ---- the calls --------------------------------------------------------------------------------------- */
loci_ingest_options loci_ingest_options_default(void)
{
    return (loci_ingest_options){ .follow_gitignore = true, .max_file_bytes = (int64_t)64 << 30 };
}

static loci_status job_open(job *j, loci_bank *b, const loci_ingest_options *opt,
                            loci_ingest_report *report, loci_error *err)
{
    memset(j, 0, sizeof *j);
    memset(report, 0, sizeof *report);
    j->bank = b;
    j->opt = opt;
    j->report = report;
    if (b->mode == LOCI_BANK_READ)
        return loci_fail(err, LOCI_ESTATE, "%s: opened for reading, not for ingest", b->dir);
    j->doc = calloc(COMMIT_DOCS, sizeof *j->doc);
    j->touch = calloc(COMMIT_DOCS, sizeof *j->touch);
    j->text = malloc(2 * WINDOW);
    j->ids = malloc(2 * WINDOW * sizeof *j->ids);
    j->ends = malloc(2 * WINDOW * sizeof *j->ends);
    j->hash = XXH3_createState();
    if (!j->doc || !j->touch || !j->text || !j->ids || !j->ends || !j->hash)
        return loci_fail(err, LOCI_ENOMEM, "no memory for ingest");
    loci_status st = loci_encoder_open(&j->enc, b->engine->tok, err);
    return st == LOCI_OK ? loci_spans_open(&j->spans, b->engine, err) : st;
}

static void job_close(job *j)
{
    if (j->spans) abort_batch(j);
    loci_spans_close(j->spans);
    loci_encoder_close(j->enc);
    XXH3_freeState(j->hash);
    free(j->doc);
    free(j->touch);
    free(j->text);
    free(j->ids);
    free(j->ends);
}

loci_status loci_bank_ingest(loci_bank *b, const char *const *paths, int n_paths,
                             const loci_ingest_options *opt, loci_ingest_report *out,
                             loci_error *err)
{
    const loci_ingest_options defaults = loci_ingest_options_default();
    loci_sources sources;
    job j;
    const double begin = loci_seconds();
    loci_status st = job_open(&j, b, opt ? opt : &defaults, out, err);
    if (st == LOCI_OK) st = loci_sources_collect(&sources, paths, n_paths, j.opt, err);
    if (st == LOCI_OK) {
        j.sources = &sources;
        st = ingest_all(&j, err);
        if (st == LOCI_OK) st = loci_bank_tend(b, err);
        out->skipped = sources.skipped;
        job_close(&j);
        loci_sources_free(&sources);
    } else {
        job_close(&j);
    }
    out->seconds = loci_seconds() - begin;
    return st;
}

loci_status loci_bank_add(loci_bank *b, const char *name, const void *text, size_t bytes,
                          loci_ingest_report *out, loci_error *err)
{
    const loci_ingest_options opt = loci_ingest_options_default();
    loci_sources none = { 0 };
    job j;
    const double begin = loci_seconds();
    loci_status st = job_open(&j, b, &opt, out, err);
    if (st == LOCI_OK && (!name || !*name || (!text && bytes > 0)))
        st = loci_fail(err, LOCI_EINVAL, "a document needs a name and text");
    j.sources = &none;
    input in = { .data = text, .left = bytes };
    loci_doc_row row = { .file_bytes = (int64_t)bytes }, old;
    if (st == LOCI_OK) {
        const loci_status found = loci_catalog_find(b->catalog, name, &old, err);
        if (found == LOCI_OK) free(old.name), free(old.path);
        st = found == LOCI_OK || found == LOCI_ENOTFOUND
                 ? add_document(&j, name, name, &in, &row, found == LOCI_OK, err)
                 : found;
    }
    free(row.name);
    free(row.path);
    if (st == LOCI_OK && none.skipped > 0)
        st = loci_fail(err, LOCI_EINVAL, "%s: binary text is not ingested", name);
    if (st == LOCI_OK) st = commit_batch(&j, err);
    if (st == LOCI_OK) st = loci_bank_tend(b, err);
    job_close(&j);
    out->seconds = loci_seconds() - begin;
    return st;
}
