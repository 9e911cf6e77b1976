/* catalog_impl.h - what the files of the catalogue share: the connection, SQLite calls with our
 * errors.
 *
 *   catalog.c   open, lock, state      catalog_rows.c   read      catalog_commit.c   write
 *   catalog_roots.c   roots of documents, both */
#ifndef LOCI_CATALOG_IMPL_H
#define LOCI_CATALOG_IMPL_H

#include "engine/bank_impl.h"
#include <sqlite3.h>

struct loci_catalog {
    sqlite3 *db;
    char *dir;
    loci_file lock; /* fd -1 when reading */
    int64_t version;
};

/* The order in which documents are read and written. */
#define LOCI_DOC_COLUMNS                                                                           \
    "sequence, name, path, bytes, tokens, mtime_ns, chunks, hash, file_bytes, segment, "           \
    "first_chunk, encoding, sum"

/* A failure of SQLite as ours: EIO with the system's errno, EBUSY, ENOMEM, else EFORMAT. */
loci_status loci_sql_fail(const loci_catalog *c, int rc, const char *step, loci_error *err);
loci_status loci_catalog_bad(const loci_catalog *c, const char *what, loci_error *err);
loci_status loci_sql_run(loci_catalog *c, const char *sql, loci_error *err);
loci_status loci_sql_prepare(loci_catalog *c, sqlite3_stmt **st, const char *sql, loci_error *err);
/* Step a statement that gives no row, and make it ready again. */
loci_status loci_sql_done(loci_catalog *c, sqlite3_stmt *st, const char *what, loci_error *err);
/* The one number that a query gives. */
loci_status loci_sql_int(loci_catalog *c, const char *sql, int64_t *out, loci_error *err);

/* Every row carries the XXH3-64 of its other fields: SQLite itself would not notice a flipped bit
 * in a number. */
uint64_t loci_doc_sum(const loci_doc_row *d);
uint64_t loci_segment_sum(const loci_segment_row *s);
uint64_t loci_root_sum(int64_t sequence, const void *vector, size_t bytes);

enum { LOCI_CATALOG_ROOTS = 2 }; /* the version from which on there is a table of roots */
#define LOCI_INSERT_ROOT "INSERT INTO root VALUES (?1, ?2, ?3)"
/* The root of a document that has one, by a statement of that text. */
loci_status loci_root_insert(loci_catalog *c, sqlite3_stmt *q, const loci_doc_row *d,
                             loci_error *err);

typedef struct { /* the one row of meta */
    uint8_t fingerprint[16];
    char shape[256];
    int64_t last_segment, last_sequence; /* numbers ever given out */
} loci_meta_row;
loci_status loci_meta_read(loci_catalog *c, loci_meta_row *m, loci_error *err);
loci_status loci_meta_write(loci_catalog *c, const loci_meta_row *m, loci_error *err);

#endif
