/* bank_verify.c - every checksum and every invariant of a bank, without a model.
 *
 * Order: SQLite's own check of the catalogue, its rows against each other, then each segment file
 * byte by byte, then roots and buckets, each row against its segment.  The first bad block is named;
 * the others are counted, so that one bad sector does not hide the next.  Files that the catalogue
 * does not name are leftovers of a killed writer: reported, not an error. */
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

/* ---- roots ------------------------------------------------------------------------------------- */
typedef struct {
    verification *v;
    loci_catalog *catalog;
    loci_root_reader *stored;
    loci_segment *segment; /* of the document in hand */
    int64_t id;            /* its id, 0: none open */
} root_check;

/* The document's segment, and with the first one the reader, which must know how wide a root is. */
static loci_status open_for_root(root_check *c, const loci_doc_row *d, loci_error *err)
{
    char path[4096];
    const verification *v = c->v;
    if (c->id == d->segment) return LOCI_OK;
    loci_segment_close(c->segment);
    c->segment = NULL;
    const loci_segment_row *row = loci_segment_row_find(v->segment, v->n_segments, d->segment);
    loci_status st = loci_path_join(path, sizeof path, v->dir, row->file, err);
    if (st == LOCI_OK) st = loci_segment_open(&c->segment, path, NULL, err);
    if (st != LOCI_OK) return st;
    c->id = d->segment;
    loci_segment_read_content(c->segment); /* landmarks do not stay mapped */
    if (c->stored) return LOCI_OK;
    return loci_root_reader_open(&c->stored, c->catalog,
                                 loci_segment_shape_of(c->segment)->d_landmark, err);
}

/* The stored root, if there is one, against that of the document's landmarks. */
static loci_status verify_root(root_check *c, const loci_doc_row *d, loci_error *err)
{
    float made[SEG_LANDMARK_MAX];
    const float *root;
    loci_error local = { 0 };
    loci_status st = open_for_root(c, d, err);
    if (st == LOCI_OK) st = loci_root_reader_find(c->stored, d->sequence, &root, err);
    if (st != LOCI_OK || !root) return st;
    c->v->report->blocks++;
    const size_t n = (size_t)loci_segment_shape_of(c->segment)->d_landmark;
    st = loci_segment_root(c->segment, d->first_chunk, d->chunks, made, err);
    if (st != LOCI_OK || memcmp(root, made, n * sizeof *root) == 0) return st;
    size_t j = 0;
    while (memcmp(&root[j], &made[j], sizeof *root) == 0) j++;
    loci_fail(&local, LOCI_EFORMAT,
              "%s/%s: root of document %s: number %zu is %.9g, its landmarks say %.9g", c->v->dir,
              LOCI_CATALOG_FILE, d->name, j, (double)root[j], (double)made[j]);
    note_bad(c->v, local.text);
    return LOCI_OK;
}

/* A document that was replaced since has no root any more: it is passed over. */
static loci_status verify_roots(verification *v, loci_error *err)
{
    root_check c = { .v = v };
    loci_error local = { 0 };
    loci_status st = loci_catalog_open(&c.catalog, v->dir, LOCI_BANK_READ, NULL, NULL, &local);
    for (int64_t i = 0; i < v->n_docs && st == LOCI_OK; i++)
        if (v->doc[i].chunks > 0) st = verify_root(&c, &v->doc[i], &local);
    loci_root_reader_close(c.stored);
    loci_segment_close(c.segment);
    loci_catalog_close(c.catalog);
    return st == LOCI_EBUSY ? loci_fail(err, st, "%s", local.text) : damage(v, st, &local, err);
}

/* ---- buckets ----------------------------------------------------------------------------------- */
typedef struct {
    verification *v;
    const char *path;
    loci_buckets *buckets;
    loci_segment **segment; /* (file's segments), NULL: not the bank's any more */
    uint8_t *rows;          /* (numbers) landmarks of a chunk that are in buckets */
} bucket_check;

static loci_status open_bucket_segments(bucket_check *c, loci_error *err)
{
    char path[4096];
    int64_t n;
    const verification *v = c->v;
    const loci_bucket_segment *s = loci_buckets_segments(c->buckets, &n);
    int64_t numbers = 0;
    for (int64_t i = 0; i < n; i++) numbers += bkt_numbers(s[i].chunks);
    c->segment = calloc((size_t)n + 1, sizeof(loci_segment *));
    c->rows = calloc((size_t)numbers + 1, 1);
    if (!c->segment || !c->rows)
        return loci_fail(err, LOCI_ENOMEM, "no memory to verify %s", c->path);
    for (int64_t i = 0; i < n; i++) {
        const loci_segment_row *row = loci_segment_row_find(v->segment, v->n_segments, s[i].id);
        if (!row) continue;
        loci_status st = loci_path_join(path, sizeof path, v->dir, row->file, err);
        if (st == LOCI_OK) st = loci_segment_open(&c->segment[i], path, NULL, err);
        if (st == LOCI_OK && loci_segment_count(c->segment[i]) != s[i].chunks)
            st = loci_fail(err, LOCI_EFORMAT, "%s: segment %lld has other chunks", c->path,
                           (long long)s[i].id);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

/* Is row k of a bucket a landmark of its chunk?  A chunk of a segment that is gone may be anything. */
static loci_status compare_row(bucket_check *c, const loci_bucket *b, int k, bool *alike,
                               loci_error *err)
{
    int64_t n, i = 0, first = 0;
    const loci_bucket_segment *s = loci_buckets_segments(c->buckets, &n);
    while (b->chunk[k] - first >= bkt_numbers(s[i].chunks)) first += bkt_numbers(s[i++].chunks);
    const int64_t chunk = b->chunk[k] - first;
    loci_segment *segment = c->segment[i];
    loci_group_view g;
    *alike = true;
    c->rows[b->chunk[k]]++;
    if (!segment) return LOCI_OK;
    *alike = false;
    if (chunk >= s[i].chunks) return LOCI_OK;
    const loci_status st = loci_segment_group(segment, chunk / LOCI_SEG_GROUP, &g, err);
    if (st != LOCI_OK) return st;
    const loci_segment_shape *shape = loci_segment_shape_of(segment);
    const size_t M = (size_t)shape->n_landmarks, d = (size_t)shape->d_landmark;
    const size_t row = (size_t)(chunk % LOCI_SEG_GROUP);
    for (size_t m = row * M; m < (row + 1) * M; m++)
        *alike = *alike || (memcmp(g.landmark + m * d, b->landmark + (size_t)k * d, d) == 0 &&
                            g.landmark_scale[m] == b->scale[k]);
    *alike = *alike && g.bias[row] == b->bias[k];
    return LOCI_OK;
}

/* Every row against its segment, and every landmark of a live chunk once. */
static loci_status compare_buckets(bucket_check *c, int M, loci_error *err)
{
    const verification *v = c->v;
    loci_status st = open_bucket_segments(c, err);
    for (int i = 0; i < loci_buckets_count(c->buckets) && st == LOCI_OK; i++) {
        loci_bucket b;
        st = loci_buckets_get(c->buckets, i, &b, err);
        for (int k = 0; st == LOCI_OK && k < b.n; k++) {
            bool alike;
            st = compare_row(c, &b, k, &alike, err);
            if (st == LOCI_OK && !alike)
                st = loci_fail(err, LOCI_EFORMAT,
                               "%s: bucket %d, row %d: numbers that are not those of chunk %u",
                               c->path, i, k, b.chunk[k]);
        }
    }
    for (int64_t i = 0; i < v->n_docs && st == LOCI_OK; i++) {
        const int64_t first = loci_buckets_first(c->buckets, v->doc[i].segment);
        for (int64_t k = 0; first >= 0 && k < v->doc[i].chunks && st == LOCI_OK; k++)
            if (c->rows[first + v->doc[i].first_chunk + k] != M)
                st = loci_fail(err, LOCI_EFORMAT, "%s: document %s, chunk %lld: %d of %d landmarks",
                               c->path, v->doc[i].name, (long long)k,
                               c->rows[first + v->doc[i].first_chunk + k], M);
    }
    return st;
}

/* Buckets that are damaged count as blocks do; what the good ones say is looked at when all are good. */
static loci_status check_buckets(bucket_check *c, loci_error *err)
{
    loci_segment_shape shape;
    loci_error local = { 0 };
    const int64_t before = c->v->report->bad_blocks;
    for (int i = 0; i < loci_buckets_count(c->buckets); i++) {
        loci_bucket b;
        c->v->report->blocks++;
        if (loci_buckets_get(c->buckets, i, &b, &local) != LOCI_OK) note_bad(c->v, local.text);
    }
    loci_buckets_shape(c->buckets, &shape);
    if (memcmp(shape.fingerprint, c->v->fingerprint, 16) != 0) {
        loci_fail(&local, LOCI_EFORMAT, "%s: another model than the catalogue's", c->path);
        note_bad(c->v, local.text);
    }
    if (c->v->report->bad_blocks > before) return LOCI_OK;
    return damage(c->v, compare_buckets(c, shape.n_landmarks, &local), &local, err);
}

static loci_status verify_buckets(verification *v, loci_error *err)
{
    char path[4096];
    int64_t n = 0;
    loci_error local = { 0 };
    bucket_check c = { .v = v, .path = path };
    loci_status st = loci_path_join(path, sizeof path, v->dir, LOCI_BUCKETS_FILE, err);
    if (st != LOCI_OK) return st;
    st = loci_buckets_open(&c.buckets, path, NULL, &local);
    /* Those of an earlier build are passed over, as readers do. */
    if (st == LOCI_ENOTFOUND || st == LOCI_EVERSION) return LOCI_OK;
    v->report->blocks++; /* header and tables */
    if (st != LOCI_OK) return damage(v, st, &local, err);
    v->report->bytes += loci_buckets_file_bytes(c.buckets);
    st = check_buckets(&c, err);
    loci_buckets_segments(c.buckets, &n);
    for (int64_t i = 0; c.segment && i < n; i++) loci_segment_close(c.segment[i]);
    free(c.segment);
    free(c.rows);
    loci_buckets_close(c.buckets);
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
    const bool sound = readable && v.report->bad_blocks == 0;
    if (st == LOCI_OK && sound) st = verify_roots(&v, err);
    if (st == LOCI_OK && sound) st = verify_buckets(&v, err);
    if (st == LOCI_OK && readable) find_leftovers(&v);
    loci_doc_rows_free(v.doc, v.n_docs);
    free(v.segment);
    if (st == LOCI_OK && out->bad_blocks) st = loci_fail(err, LOCI_EFORMAT, "%s", out->first_bad);
    return st;
}
