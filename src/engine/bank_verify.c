/* bank_verify.c - every checksum and every invariant of a bank, without a model.
 *
 * Order: SQLite's own check of the catalogue, its rows against each other, then each segment file
 * byte by byte.  The first bad block is named; the others are counted, so that one bad sector does
 * not hide the next.  Files that the catalogue does not name are leftovers of a killed writer:
 * reported, not an error. */
#include "engine/bank_impl.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct {
    const char *dir;
    uint8_t fingerprint[16];
    loci_doc_row *doc;
    loci_segment_row *segment;
    int64_t n_docs, n_segments, total; /* bytes of all segments */
    loci_bank_verify_report *report;
    loci_progress_fn *progress;
    void *ctx;
} verification;

static void note_bad(verification *v, const char *text)
{
    if (v->report->bad_blocks++ == 0)
        snprintf(v->report->first_bad, sizeof v->report->first_bad, "%.299s", text);
}

/* A damaged file is noted and gone past; what keeps us from looking (no memory, I/O) is not. */
static loci_status damage(verification *v, loci_status st, const loci_error *e, loci_error *err)
{
    if (st == LOCI_OK) return LOCI_OK;
    note_bad(v, e->text);
    if (st == LOCI_ENOMEM || st == LOCI_ECANCEL) return loci_fail(err, st, "%s", e->text);
    return LOCI_OK;
}

/* The catalogue counts as one block.  *readable: its rows may be used. */
static loci_status verify_catalogue(verification *v, bool *readable, loci_error *err)
{
    loci_catalog *c = NULL;
    loci_error local = { 0 };
    v->report->blocks++;
    *readable = false;
    loci_status st = loci_catalog_open(&c, v->dir, LOCI_BANK_READ, NULL, NULL, &local);
    if (st == LOCI_ENOTFOUND || st == LOCI_EBUSY) return loci_fail(err, st, "%s", local.text);
    if (st == LOCI_OK) st = loci_catalog_begin(c, &local);
    if (st == LOCI_OK) {
        st = loci_catalog_verify(c, &local);
        if (st == LOCI_OK) st = loci_catalog_fingerprint(c, v->fingerprint, &local);
        if (st == LOCI_OK) st = loci_catalog_docs(c, &v->doc, &v->n_docs, &local);
        if (st == LOCI_OK) st = loci_catalog_segments(c, &v->segment, &v->n_segments, &local);
        loci_catalog_end(c);
    }
    loci_catalog_close(c);
    *readable = st == LOCI_OK;
    if (st == LOCI_OK)
        st = loci_catalog_check_rows(v->dir, v->doc, v->n_docs, v->segment, v->n_segments, NULL,
                                     &local);
    return damage(v, st, &local, err);
}

/* The file is the one that the catalogue means. */
static loci_status check_identity(const verification *v, const loci_segment_row *row,
                                  const char *path, loci_error *err)
{
    loci_segment *s;
    struct stat sb;
    if (stat(path, &sb) != 0 || (int64_t)sb.st_size != row->bytes)
        return loci_fail(err, LOCI_EFORMAT, "%s: not the %lld bytes of the catalogue", path,
                         (long long)row->bytes);
    loci_status st = loci_segment_open(&s, path, NULL, err);
    if (st != LOCI_OK) return st;
    if (loci_segment_count(s) != row->chunks)
        st = loci_fail(err, LOCI_EFORMAT, "%s: %lld chunks, the catalogue says %lld", path,
                       (long long)loci_segment_count(s), (long long)row->chunks);
    else if (memcmp(loci_segment_shape_of(s)->fingerprint, v->fingerprint, 16) != 0)
        st = loci_fail(err, LOCI_EFORMAT, "%s: another model than the catalogue's", path);
    loci_segment_close(s);
    return st;
}

static loci_status verify_segment(verification *v, const loci_segment_row *row, loci_error *err)
{
    char path[4096];
    int64_t blocks, bad;
    loci_error local = { 0 };
    loci_status st = loci_path_join(path, sizeof path, v->dir, row->file, err);
    if (st != LOCI_OK) return st;
    st = loci_segment_verify(path, &blocks, &bad, NULL, 0, &local);
    v->report->blocks += blocks;
    v->report->bytes += row->bytes;
    if (st == LOCI_OK) st = check_identity(v, row, path, &local);
    st = damage(v, st, &local, err);
    if (bad > 1) v->report->bad_blocks += bad - 1; /* damage counted one */
    if (st == LOCI_OK && v->progress && v->progress(v->ctx, v->report->bytes, v->total))
        st = loci_fail(err, LOCI_ECANCEL, "%s: verify stopped by the caller", v->dir);
    return st;
}

static void find_leftovers(verification *v)
{
    DIR *dir = opendir(v->dir);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (!loci_segment_is_leftover(e->d_name, v->segment, v->n_segments)) continue;
        if (v->report->leftovers++ == 0)
            snprintf(v->report->first_leftover, sizeof v->report->first_leftover, "%.63s",
                     e->d_name);
    }
    closedir(dir);
}

loci_status loci_bank_verify(const char *dir, loci_progress_fn *progress, void *ctx,
                             loci_bank_verify_report *out, loci_error *err)
{
    verification v = { .dir = dir, .report = out, .progress = progress, .ctx = ctx };
    bool readable;
    memset(out, 0, sizeof *out);
    loci_status st = verify_catalogue(&v, &readable, err);
    for (int64_t i = 0; i < v.n_segments; i++)
        v.total += v.segment[i].bytes < INT64_MAX - v.total ? v.segment[i].bytes : 0;
    for (int64_t i = 0; i < v.n_segments && st == LOCI_OK; i++)
        st = verify_segment(&v, &v.segment[i], err);
    if (st == LOCI_OK && readable) find_leftovers(&v);
    loci_doc_rows_free(v.doc, v.n_docs);
    free(v.segment);
    if (st == LOCI_OK && out->bad_blocks) st = loci_fail(err, LOCI_EFORMAT, "%s", out->first_bad);
    return st;
}
