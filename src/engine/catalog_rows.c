/* catalog_rows.c - rows of the catalogue into structs, each value checked for type and range.
 *
 * The file may be anybody's: a count that indexes an array, a file name that is opened and a
 * string that is printed are all looked at here, once; and each row's own checksum, for SQLite
 * notices a torn page but not a flipped bit. */
#include "engine/catalog_impl.h"
#include <stdlib.h>
#include <xxhash.h>

/* ---- sums of rows ------------------------------------------------------------------------------ */
/* Numbers little-endian in the order of the columns, then the byte fields one after the other, each
 * with the sum so far as its seed. */
static uint64_t sum_ints(const int64_t *v, int n)
{
    uint8_t b[16 * 8];
    for (int i = 0; i < n; i++) put_u64(b + 8 * i, (uint64_t)v[i]);
    return XXH3_64bits(b, 8 * (size_t)n);
}

uint64_t loci_doc_sum(const loci_doc_row *d)
{
    const int64_t v[] = { d->sequence, d->bytes,      d->tokens,  d->mtime_ns,
                          d->chunks,   d->file_bytes, d->segment, d->first_chunk };
    uint64_t sum = sum_ints(v, 8);
    sum = XXH3_64bits_withSeed(d->name, strlen(d->name), sum);
    sum = XXH3_64bits_withSeed(d->path, strlen(d->path), sum);
    sum = XXH3_64bits_withSeed(d->hash, sizeof d->hash, sum);
    return XXH3_64bits_withSeed(d->encoding, strlen(d->encoding), sum);
}

uint64_t loci_segment_sum(const loci_segment_row *s)
{
    const int64_t v[] = { s->id, s->bytes, s->chunks };
    return XXH3_64bits_withSeed(s->file, strlen(s->file), sum_ints(v, 3));
}

static uint64_t meta_sum(const loci_meta_row *m)
{
    const int64_t v[] = { m->last_segment, m->last_sequence };
    const uint64_t sum = XXH3_64bits_withSeed(m->fingerprint, 16, sum_ints(v, 2));
    return XXH3_64bits_withSeed(m->shape, strlen(m->shape), sum);
}

/* ---- one row ------------------------------------------------------------------------------------ */
/* A number >= min, or the row is bad. */
static bool get_int(sqlite3_stmt *q, int col, int64_t min, int64_t *out)
{
    *out = sqlite3_column_int64(q, col);
    return sqlite3_column_type(q, col) == SQLITE_INTEGER && *out >= min;
}

/* Bytes without a NUL as an owned string.  false: wrong type, too short, or a NUL inside; NULL in
 * *out with true: no memory. */
static bool get_string(sqlite3_stmt *q, int col, int type, size_t min, char **out)
{
    const void *p = sqlite3_column_blob(q, col);
    const size_t n = (size_t)sqlite3_column_bytes(q, col);
    if (sqlite3_column_type(q, col) != type || n < min || (n > 0 && memchr(p, 0, n))) return false;
    *out = calloc(1, n + 1);
    if (*out && n > 0) memcpy(*out, p, n);
    return true;
}

static loci_status read_doc(loci_catalog *c, sqlite3_stmt *q, loci_doc_row *r, loci_error *err)
{
    memset(r, 0, sizeof *r);
    bool ok = get_int(q, 0, 1, &r->sequence) && get_string(q, 1, SQLITE_TEXT, 1, &r->name) &&
              get_string(q, 2, SQLITE_BLOB, 0, &r->path) && get_int(q, 3, 0, &r->bytes) &&
              get_int(q, 4, 0, &r->tokens) && get_int(q, 5, INT64_MIN, &r->mtime_ns) &&
              get_int(q, 6, 0, &r->chunks) && sqlite3_column_type(q, 7) == SQLITE_BLOB &&
              sqlite3_column_bytes(q, 7) == 16 && get_int(q, 8, 0, &r->file_bytes) &&
              get_int(q, 9, 1, &r->segment) && get_int(q, 10, 0, &r->first_chunk) &&
              sqlite3_column_type(q, 11) == SQLITE_TEXT &&
              sqlite3_column_bytes(q, 11) < (int)sizeof r->encoding;
    if (ok && r->name && r->path) {
        r->id = r->sequence;
        memcpy(r->hash, sqlite3_column_blob(q, 7), 16);
        snprintf(r->encoding, sizeof r->encoding, "%s", (const char *)sqlite3_column_text(q, 11));
        ok = (uint64_t)sqlite3_column_int64(q, 12) == loci_doc_sum(r);
        if (ok) return LOCI_OK;
    }
    const int64_t sequence = r->sequence;
    free(r->name);
    free(r->path);
    memset(r, 0, sizeof *r);
    return ok ? loci_fail(err, LOCI_ENOMEM, "no memory for the documents of %s", c->dir)
              : loci_fail(err, LOCI_EFORMAT,
                          "%s/%s: document %lld: out of range, or a wrong checksum", c->dir,
                          LOCI_CATALOG_FILE, (long long)sequence);
}

/* Room for one more element; *list keeps its elements on failure. */
static loci_status grow(void **list, int64_t n, int64_t *cap, size_t size, loci_error *err)
{
    size_t bytes;
    if (n < *cap) return LOCI_OK;
    const int64_t want = *cap ? 2 * *cap : 64;
    void *p = loci_size_mul((size_t)want, size, &bytes) ? realloc(*list, bytes) : NULL;
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for %lld rows", (long long)want);
    *list = p;
    *cap = want;
    return LOCI_OK;
}

loci_status loci_catalog_docs(loci_catalog *c, loci_doc_row **rows, int64_t *n, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    int64_t cap = 0;
    int rc = SQLITE_DONE;
    *rows = NULL;
    *n = 0;
    loci_status st =
        loci_sql_prepare(c, &q, "SELECT " LOCI_DOC_COLUMNS " FROM document ORDER BY sequence", err);
    while (st == LOCI_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        st = grow((void **)rows, *n, &cap, sizeof **rows, err);
        if (st == LOCI_OK) st = read_doc(c, q, &(*rows)[*n], err);
        if (st == LOCI_OK) ++*n;
    }
    if (st == LOCI_OK && rc != SQLITE_DONE) st = loci_sql_fail(c, rc, "read documents", err);
    sqlite3_finalize(q);
    if (st != LOCI_OK) {
        loci_doc_rows_free(*rows, *n);
        *rows = NULL;
        *n = 0;
    }
    return st;
}

void loci_doc_rows_free(loci_doc_row *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        free(rows[i].name);
        free(rows[i].path);
    }
    free(rows);
}

void loci_segment_name(char out[LOCI_SEGMENT_NAME], int64_t id)
{
    snprintf(out, LOCI_SEGMENT_NAME, "seg-%06lld.loci", (long long)id);
}

static int by_id(const void *key, const void *row)
{
    const int64_t id = *(const int64_t *)key, other = ((const loci_segment_row *)row)->id;
    return (id > other) - (id < other);
}

const loci_segment_row *loci_segment_row_find(const loci_segment_row *rows, int64_t n, int64_t id)
{
    return n > 0 ? bsearch(&id, rows, (size_t)n, sizeof *rows, by_id) : NULL;
}

bool loci_segment_is_leftover(const char *file, const loci_segment_row *rows, int64_t n)
{
    char name[LOCI_SEGMENT_NAME];
    if (strncmp(file, "seg-", 4) != 0) return false;
    const int64_t id = strtoll(file + 4, NULL, 10);
    loci_segment_name(name, id);
    return id >= 1 && strcmp(file, name) == 0 && !loci_segment_row_find(rows, n, id);
}

static loci_status read_segment(loci_catalog *c, sqlite3_stmt *q, loci_segment_row *r,
                                loci_error *err)
{
    memset(r, 0, sizeof *r);
    const char *file = (const char *)sqlite3_column_text(q, 1);
    const bool numbers =
        get_int(q, 0, 1, &r->id) && get_int(q, 2, 0, &r->bytes) && get_int(q, 3, 0, &r->chunks);
    /* The name follows from the id, so a hostile catalogue cannot lead to another file. */
    loci_segment_name(r->file, r->id);
    if (!numbers || !file || strcmp(file, r->file) != 0 ||
        (uint64_t)sqlite3_column_int64(q, 4) != loci_segment_sum(r))
        return loci_fail(err, LOCI_EFORMAT,
                         "%s/%s: segment %lld: out of range, or a wrong checksum", c->dir,
                         LOCI_CATALOG_FILE, (long long)r->id);
    return LOCI_OK;
}

loci_status loci_catalog_segments(loci_catalog *c, loci_segment_row **rows, int64_t *n,
                                  loci_error *err)
{
    sqlite3_stmt *q = NULL;
    int64_t cap = 0;
    int rc = SQLITE_DONE;
    *rows = NULL;
    *n = 0;
    loci_status st =
        loci_sql_prepare(c, &q, "SELECT id, file, bytes, chunks, sum FROM segment ORDER BY id",
                         err);
    while (st == LOCI_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        st = grow((void **)rows, *n, &cap, sizeof **rows, err);
        if (st == LOCI_OK) st = read_segment(c, q, &(*rows)[*n], err);
        if (st == LOCI_OK) ++*n;
    }
    if (st == LOCI_OK && rc != SQLITE_DONE) st = loci_sql_fail(c, rc, "read segments", err);
    sqlite3_finalize(q);
    if (st != LOCI_OK) {
        free(*rows);
        *rows = NULL;
        *n = 0;
    }
    return st;
}

loci_status loci_catalog_find(loci_catalog *c, const char *name, loci_doc_row *row, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    memset(row, 0, sizeof *row);
    loci_status st =
        loci_sql_prepare(c, &q, "SELECT " LOCI_DOC_COLUMNS " FROM document WHERE name = ?1", err);
    if (st != LOCI_OK) return st;
    sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    const int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        st = read_doc(c, q, row, err);
    else
        st = rc == SQLITE_DONE ? LOCI_ENOTFOUND : loci_sql_fail(c, rc, "find document", err);
    sqlite3_finalize(q);
    return st;
}

/* ---- meta --------------------------------------------------------------------------------------- */
static bool meta_from(sqlite3_stmt *q, loci_meta_row *m)
{
    const char *shape = (const char *)sqlite3_column_text(q, 1);
    if (sqlite3_column_type(q, 0) != SQLITE_BLOB || sqlite3_column_bytes(q, 0) != 16 || !shape ||
        strlen(shape) >= sizeof m->shape)
        return false;
    memcpy(m->fingerprint, sqlite3_column_blob(q, 0), 16);
    snprintf(m->shape, sizeof m->shape, "%s", shape);
    return get_int(q, 2, 0, &m->last_segment) && get_int(q, 3, 0, &m->last_sequence) &&
           m->last_segment < INT64_MAX / 2 && m->last_sequence < INT64_MAX / 2 &&
           (uint64_t)sqlite3_column_int64(q, 4) == meta_sum(m);
}

loci_status loci_meta_read(loci_catalog *c, loci_meta_row *m, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    memset(m, 0, sizeof *m);
    loci_status st =
        loci_sql_prepare(c, &q,
                         "SELECT fingerprint, shape, last_segment, last_sequence, sum FROM meta",
                         err);
    if (st != LOCI_OK) return st;
    const int rc = sqlite3_step(q);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        st = loci_sql_fail(c, rc, "read meta", err);
    else if (rc == SQLITE_DONE || !meta_from(q, m))
        st = loci_catalog_bad(c, "meta: missing, out of range, or a wrong checksum", err);
    sqlite3_finalize(q);
    return st;
}

loci_status loci_meta_write(loci_catalog *c, const loci_meta_row *m, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    loci_status st =
        loci_sql_prepare(c, &q, "INSERT OR REPLACE INTO meta VALUES (1, ?1, ?2, ?3, ?4, ?5)", err);
    if (st != LOCI_OK) return st;
    sqlite3_bind_blob(q, 1, m->fingerprint, 16, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, m->shape, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, m->last_segment);
    sqlite3_bind_int64(q, 4, m->last_sequence);
    sqlite3_bind_int64(q, 5, (int64_t)meta_sum(m));
    st = loci_sql_done(c, q, "write meta", err);
    sqlite3_finalize(q);
    return st;
}

/* ---- rows against each other --------------------------------------------------------------------- */
static int by_place(const void *a, const void *b)
{
    const loci_doc_row *x = *(const loci_doc_row *const *)a, *y = *(const loci_doc_row *const *)b;
    if (x->segment != y->segment) return x->segment < y->segment ? -1 : 1;
    if (x->first_chunk != y->first_chunk) return x->first_chunk < y->first_chunk ? -1 : 1;
    return (x->chunks > y->chunks) - (x->chunks < y->chunks); /* empty ones first */
}

static loci_status check_overlap(const char *dir, const loci_doc_row *docs, int64_t n,
                                 loci_error *err)
{
    loci_status st = LOCI_OK;
    const loci_doc_row **order = malloc(((size_t)n + 1) * sizeof *order);
    if (!order)
        return loci_fail(err, LOCI_ENOMEM, "no memory to check %lld documents", (long long)n);
    for (int64_t i = 0; i < n; i++) order[i] = &docs[i];
    qsort(order, (size_t)n, sizeof *order, by_place);
    for (int64_t i = 1; i < n && st == LOCI_OK; i++) {
        const loci_doc_row *a = order[i - 1], *b = order[i];
        if (a->segment == b->segment && a->first_chunk + a->chunks > b->first_chunk)
            st = loci_fail(err, LOCI_EFORMAT,
                           "%s/%s: documents %lld and %lld share chunks of segment "
                           "%lld",
                           dir, LOCI_CATALOG_FILE, (long long)a->sequence, (long long)b->sequence,
                           (long long)a->segment);
    }
    free(order);
    return st;
}

loci_status loci_catalog_check_rows(const char *dir, const loci_doc_row *docs, int64_t n_docs,
                                    const loci_segment_row *segs, int64_t n_segs,
                                    int32_t *doc_segment, loci_error *err)
{
    for (int64_t i = 0; i < n_docs; i++) {
        const loci_doc_row *d = &docs[i];
        const loci_segment_row *s = loci_segment_row_find(segs, n_segs, d->segment);
        if (!s || d->chunks > s->chunks || d->first_chunk > s->chunks - d->chunks)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/%s: document %lld: chunks %lld..+%lld are not in "
                             "segment %lld",
                             dir, LOCI_CATALOG_FILE, (long long)d->sequence,
                             (long long)d->first_chunk, (long long)d->chunks,
                             (long long)d->segment);
        if (doc_segment) doc_segment[i] = (int32_t)(s - segs);
    }
    return check_overlap(dir, docs, n_docs, err);
}
