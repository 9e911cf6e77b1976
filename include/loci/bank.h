/* bank.h - memory banks: what was read once, kept in a folder on disk.
 *
 * A bank is a folder (mode 0700) with catalog.sqlite and immutable segment files; FORMATS.md
 * has every byte.  One process may write, any number may read, at the same time; a reader
 * sees the bank as it was when it opened it.  Killed at any moment, the next open finds whole
 * documents or none of them. */
#ifndef LOCI_BANK_H
#define LOCI_BANK_H

#include "loci/loci.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LOCI_BANK_READ,  /* must exist */
    LOCI_BANK_WRITE, /* must exist; takes the writer's lock (LOCI_EBUSY if held) */
    LOCI_BANK_CREATE /* as WRITE, made if it does not exist */
} loci_bank_mode;

/* Open dir for the engine's model.  *out is owned: loci_bank_close.  Reads the catalogue and the
 * codes (about 0.5 B a token; of a large bank those alone that came since they were sorted), not the
 * content.
 * Errors: LOCI_ENOTFOUND, LOCI_EMODEL (names both fingerprints, or a model without Read blocks),
 * LOCI_EBUSY, LOCI_EFORMAT (names file, block, expected, found), LOCI_EVERSION, LOCI_EIO. */
LOCI_API loci_status loci_bank_open(loci_bank **out, loci_engine *e, const char *dir,
                                    loci_bank_mode mode, loci_error *err);
LOCI_API void loci_bank_close(loci_bank *b);

/* What the bytes of a bank's files are for. */
#define LOCI_BANK_PART_LIST(X)                                                                     \
    X(CODES, "codes")                                                                              \
    X(BUCKETS, "buckets")                                                                          \
    X(LANDMARKS, "landmarks")                                                                      \
    X(CONTENT, "content")                                                                          \
    X(SUMMARIES, "summaries")                                                                      \
    X(POSTINGS, "postings")                                                                        \
    X(IDS, "ids")                                                                                  \
    X(PLACES, "places")                                                                            \
    X(TABLES, "tables")                                                                            \
    X(CATALOGUE, "catalogue")
typedef enum {
#define X(id, text) LOCI_BANK_##id,
    LOCI_BANK_PART_LIST(X)
#undef X
        LOCI_BANK_PARTS
} loci_bank_part;
LOCI_API const char *loci_bank_part_name(loci_bank_part part); /* static storage */

typedef struct {
    char fingerprint[33];
    int format_version;
    int64_t documents, segments, chunks, tokens;
    int64_t text_bytes;                  /* of the documents as read */
    int64_t disk_bytes;                  /* of the bank's files */
    int64_t resident_bytes;              /* codes and tables of this open bank */
    int64_t part_bytes[LOCI_BANK_PARTS]; /* of the disk bytes, chunks of replaced documents too */
} loci_bank_stat;
LOCI_API loci_status loci_bank_info(const loci_bank *b, loci_bank_stat *out, loci_error *err);

typedef struct {
    const char *name;                        /* borrowed for the call of the visitor */
    int64_t bytes, tokens, chunks, sequence; /* sequence: order of ingestion, from 1 */
    int64_t mtime_ns;
    const char *encoding; /* "", "gzip", "zstd" */
} loci_bank_doc;
/* Visit all documents in order of ingestion; a non-zero return stops. */
typedef int loci_bank_visit_fn(void *ctx, const loci_bank_doc *doc);
LOCI_API loci_status loci_bank_list(const loci_bank *b, loci_bank_visit_fn *visit, void *ctx,
                                    loci_error *err);

typedef struct {
    int64_t blocks, bytes, bad_blocks;
    char first_bad[300]; /* file, block, offset of the first bad one; "" if none */
    int64_t leftovers;   /* files of a killed writer: no error, the next writer removes them */
    char first_leftover[64];
} loci_bank_verify_report;
/* Check every checksum and every invariant.  Needs no engine and no model.  LOCI_EFORMAT when
 * something is bad (the report is filled in all the same). */
LOCI_API loci_status loci_bank_verify(const char *dir, loci_progress_fn *progress, void *ctx,
                                      loci_bank_verify_report *out, loci_error *err);

/* ---- ingest ---------------------------------------------------------------------------- */
typedef struct {
    const char *name; /* document name for a single file or "-" ; NULL: relative to the path */
    const char *const *skip_globs; /* NULL-terminated extra ignore patterns, or NULL */
    bool follow_gitignore;         /* default true */
    int64_t max_file_bytes;        /* larger files are skipped with the reason; default 64 GiB */
    loci_progress_fn *progress;    /* bytes read of bytes found */
    void *progress_ctx;
    /* One line about a document that was skipped or could not be read; may be NULL. */
    void (*skipped)(void *ctx, const char *path, const char *reason);
    void *skipped_ctx;
} loci_ingest_options;
LOCI_API loci_ingest_options loci_ingest_options_default(void);

typedef struct {
    int64_t documents, unchanged, replaced, skipped; /* documents: newly read, replaced included */
    int64_t tokens, bytes;
    double seconds;
} loci_ingest_report;

/* Read paths (files, folders, "-" = standard input) into the bank.  Unchanged documents (same
 * size and mtime, else same content hash) cost nothing; changed ones replace their older self.
 * .gz and .zst are decoded.  Binary files are skipped with a reason.  Memory is bounded whatever
 * the input.  Documents are committed whole, in batches.
 * Errors: LOCI_ENOTFOUND (a path given does not exist), LOCI_EIO (bank not writable, disk full:
 * what was committed stays, the rest is as if never begun), LOCI_ESTATE (bank opened for reading),
 * LOCI_ECANCEL (what was committed stays).  A file inside a folder that vanishes or cannot be read
 * is skipped, not an error. */
LOCI_API loci_status loci_bank_ingest(loci_bank *b, const char *const *paths, int n_paths,
                                      const loci_ingest_options *opt, loci_ingest_report *out,
                                      loci_error *err);
/* The same for one document from memory. */
LOCI_API loci_status loci_bank_add(loci_bank *b, const char *name, const void *text, size_t bytes,
                                   loci_ingest_report *out, loci_error *err);

#ifdef __cplusplus
}
#endif
#endif
