/* source.h - from the paths that a user gives to documents: names, bytes, encodings. */
#ifndef LOCI_SOURCE_H
#define LOCI_SOURCE_H

#include "engine/engine.h"

typedef struct {
    char *path; /* to open; "-" = standard input */
    char *name; /* document name: relative to the PATH argument, '/' between parts */
    int64_t bytes, mtime_ns;
} loci_source;

typedef struct {
    loci_source *item;
    size_t n, cap;
    int64_t bytes; /* of all items together */
    int64_t skipped;
} loci_sources;

/* Collect the documents below the paths, in name order.  What is left out is told to
 * opt->skipped.  Errors: LOCI_ENOTFOUND for a path that does not exist; LOCI_EINVAL when
 * opt->name comes with more than one document. */
loci_status loci_sources_collect(loci_sources *s, const char *const *paths, int n_paths,
                                 const loci_ingest_options *opt, loci_error *err);
void loci_sources_free(loci_sources *s);
void loci_source_skip(const loci_ingest_options *opt, loci_sources *s, const char *path,
                      const char *reason);

/* ---- gitignore.c --------------------------------------------------------------------------- */
typedef struct loci_ignore loci_ignore; /* the patterns of one folder, and of those above it */
/* Read `dir`/.gitignore; the result includes `parent` (borrowed), in whose folder this one is
 * called `name`: "" for the very same folder, or where there is no parent.  A missing file gives
 * an empty list.  NULL when there is no memory. */
loci_ignore *loci_ignore_read(const loci_ignore *parent, const char *name, const char *dir);
/* The same from text (tests, --skip patterns). */
loci_ignore *loci_ignore_parse(const loci_ignore *parent, const char *name, const char *text);
void loci_ignore_free(loci_ignore *g);
/* Is the entry `name` of this folder left out?  The last pattern that matches decides. */
bool loci_ignored(const loci_ignore *g, const char *name, bool is_dir);

/* ---- reader.c --------------------------------------------------------------------------------- */
typedef struct loci_reader loci_reader; /* decoded bytes of one document, in a stream */
loci_status loci_reader_open(loci_reader **out, const char *path, loci_error *err);
void loci_reader_close(loci_reader *r);
/* Up to n decoded bytes; *got 0 = the end.  LOCI_EFORMAT names path and offset of broken gzip/zstd. */
loci_status loci_reader_read(loci_reader *r, void *buf, size_t n, size_t *got, loci_error *err);
const char *loci_reader_encoding(const loci_reader *r); /* "", "gzip", "zstd" */
int64_t loci_reader_raw_bytes(const loci_reader *r);    /* read from the file so far */

#endif
