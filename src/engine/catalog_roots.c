/* catalog_roots.c - roots of documents in the catalogue: written with their document, read in its order.
 *
 * A root can be made from the segments at any time (segment_root.c); kept here it saves reading all
 * landmarks of a bank before its first answer.  So a document without a row is no damage: its root is
 * made, as those of all documents of a catalogue of version 1 are.  A row that is there must be
 * right. */
#include "engine/catalog_impl.h"
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

enum { BATCH = 256 }; /* rows of one query: 128 KB of memory, and a lock held for less than a ms */

uint64_t loci_root_sum(int64_t sequence, const void *vector, size_t bytes)
{
    uint8_t b[8];
    put_u64(b, (uint64_t)sequence);
    return XXH3_64bits_withSeed(vector, bytes, XXH3_64bits(b, sizeof b));
}

/* ---- writing --------------------------------------------------------------------------------- */
loci_status loci_root_insert(loci_catalog *c, sqlite3_stmt *q, const loci_doc_row *d,
                             loci_error *err)
{
    if (!d->root) return LOCI_OK;
    const size_t bytes = (size_t)d->d_root * sizeof *d->root;
    sqlite3_bind_int64(q, 1, d->sequence);
    sqlite3_bind_blob64(q, 2, d->root, bytes, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, (int64_t)loci_root_sum(d->sequence, d->root, bytes));
    return loci_sql_done(c, q, "insert root", err);
}

/* ---- reading --------------------------------------------------------------------------------- */
struct loci_root_reader {
    loci_catalog *c;
    int d;
    int64_t sequence[BATCH]; /* (n) rising */
    int n, at;
    bool end;    /* there are no rows behind these */
    float *root; /* (BATCH, d) */
};

loci_status loci_root_reader_open(loci_root_reader **out, loci_catalog *c, int d, loci_error *err)
{
    *out = NULL;
    loci_root_reader *r = calloc(1, sizeof *r);
    float *root = malloc(BATCH * (size_t)d * sizeof *root);
    if (!r || !root) {
        free(r);
        free(root);
        return loci_fail(err, LOCI_ENOMEM, "no memory for the roots of %s", c->dir);
    }
    r->c = c;
    r->d = d;
    r->root = root;
    r->end = c->version < LOCI_CATALOG_ROOTS;
    *out = r;
    return LOCI_OK;
}

void loci_root_reader_close(loci_root_reader *r)
{
    if (!r) return;
    free(r->root);
    free(r);
}

/* The row that q stands on behind those that are there. */
static loci_status read_root(loci_root_reader *r, sqlite3_stmt *q, loci_error *err)
{
    const size_t bytes = (size_t)r->d * sizeof *r->root;
    const int64_t sequence = sqlite3_column_int64(q, 0);
    const void *vector = sqlite3_column_blob(q, 1);
    const int found = sqlite3_column_bytes(q, 1);
    float *to = r->root + (size_t)r->n * (size_t)r->d;
    if (sqlite3_column_type(q, 1) != SQLITE_BLOB || (size_t)found != bytes)
        return loci_fail(err, LOCI_EFORMAT, "%s/%s: root of document %lld: %d bytes, expected %zu",
                         r->c->dir, LOCI_CATALOG_FILE, (long long)sequence, found, bytes);
    if ((uint64_t)sqlite3_column_int64(q, 2) != loci_root_sum(sequence, vector, bytes))
        return loci_fail(err, LOCI_EFORMAT, "%s/%s: root of document %lld: a wrong checksum",
                         r->c->dir, LOCI_CATALOG_FILE, (long long)sequence);
    memcpy(to, vector, bytes);
    for (int j = 0; j < r->d; j++)
        if (!isfinite(to[j]))
            return loci_fail(err, LOCI_EFORMAT,
                             "%s/%s: root of document %lld: number %d is not finite", r->c->dir,
                             LOCI_CATALOG_FILE, (long long)sequence, j);
    r->sequence[r->n++] = sequence;
    return LOCI_OK;
}

/* The first rows from a sequence on. */
static loci_status read_batch(loci_root_reader *r, int64_t from, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    int rc = SQLITE_DONE;
    r->n = r->at = 0;
    loci_status st = loci_sql_prepare(r->c, &q,
                                      "SELECT sequence, vector, sum FROM root "
                                      "WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2",
                                      err);
    if (st != LOCI_OK) return st;
    sqlite3_bind_int64(q, 1, from);
    sqlite3_bind_int64(q, 2, BATCH);
    while (st == LOCI_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) st = read_root(r, q, err);
    if (st == LOCI_OK && rc != SQLITE_DONE) st = loci_sql_fail(r->c, rc, "read roots", err);
    sqlite3_finalize(q);
    r->end = r->n < BATCH;
    return st;
}

loci_status loci_root_reader_find(loci_root_reader *r, int64_t sequence, const float **root,
                                  loci_error *err)
{
    *root = NULL;
    while (r->at < r->n && r->sequence[r->at] < sequence) r->at++;
    if (r->at == r->n && !r->end) {
        const loci_status st = read_batch(r, sequence, err);
        if (st != LOCI_OK) return st;
    }
    if (r->at < r->n && r->sequence[r->at] == sequence)
        *root = r->root + (size_t)r->at * (size_t)r->d;
    return LOCI_OK;
}
