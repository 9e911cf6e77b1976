/* bank_impl.h - an open bank from the inside, for those who fill it (ingest.c) and search it. */
#ifndef LOCI_BANK_IMPL_H
#define LOCI_BANK_IMPL_H

#include "engine/buckets.h"
#include "engine/segment_impl.h"

#define LOCI_CATALOG_FILE "catalog.sqlite"
#define LOCI_LOCK_FILE    "writer.lock"

typedef struct { /* a live document by where its chunks lie */
    int32_t segment;
    int64_t first_chunk, chunks, doc;
} loci_doc_place;

typedef struct
{ /* chunks [index, index + n) of the bank have their codes from chunk `at` of the array */
    int64_t index, n, at;
} loci_code_run;
typedef struct
{ /* chunks [from, from + n) of the file of buckets are [index, index + n) of the bank */
    int64_t from, n, index;
} loci_bucket_run;

/* What loci_bank_open read: one snapshot of the catalogue.  A bank opened for writing takes a new
 * snapshot after each commit (loci_bank_reload); whoever borrows from it - searchers, document
 * rows - must be gone by then.  Reading from several threads is fine. */
struct loci_bank {
    loci_engine *engine; /* borrowed */
    const loci_vfs *vfs;
    char *dir;
    loci_bank_mode mode;
    loci_catalog *catalog;
    loci_segment_shape shape;
    loci_doc_row *doc; /* (n_docs) by sequence */
    int64_t n_docs;
    int64_t *doc_first;   /* (n_docs + 1) index of a document's first chunk in the bank */
    int32_t *doc_segment; /* (n_docs) index into segment */
    loci_segment_row *segment_row;
    loci_segment **segment; /* (n_segments), same order */
    int64_t n_segments;
    loci_doc_place *by_place;           /* (n_docs) by segment and chunk; NULL without postings */
    int64_t chunks, tokens, text_bytes; /* of live documents */
    /* What a search looks through: codes of a small bank all in one array; landmarks of a large one in
     * buckets, and codes of what these do not have yet in the array. */
    loci_buckets *buckets;       /* NULL: none */
    bool buckets_stale;          /* they know segments that are gone, or cannot be read */
    loci_bucket_run *bucket_run; /* (n_bucket_runs) rising; where their chunks are now */
    int64_t n_bucket_runs;
    uint64_t *code;          /* (n_codes, M, 2), 64-byte aligned */
    int64_t n_codes;         /* chunks */
    loci_code_run *code_run; /* (n_code_runs) by index */
    int64_t n_code_runs;
};

/* ---- for ingest ---------------------------------------------------------------------------- */
/* Id, file name and path of the next segment; nothing is written.  A name is never used twice. */
loci_status loci_bank_new_segment(loci_bank *b, loci_segment_row *row, char *path, size_t path_size,
                                  loci_error *err);
/* Unlink files that a commit has dropped and free the list (NULL is fine).  One that cannot be
 * unlinked is a leftover for the next writer. */
void loci_bank_drop_files(loci_bank *b, char **files);
/* Documents of fewer chunks have no stored root: their landmarks are 2 KB at most, a row 0.5 KB, and so
 * rows are a fiftieth of a bank's bytes at most. */
enum { LOCI_ROOT_CHUNKS = 8 };
/* bank_commit.c: loci_catalog_commit with roots, and loci_bank_drop_files.  The documents are all of
 * the finished segment `seg`; NULL: there are none.
 * Errors: those of the segment and the catalogue; then nothing has changed. */
loci_status loci_bank_commit(loci_bank *b, const loci_segment_row *seg, loci_doc_row *docs,
                             int64_t n_docs, const loci_doc_row *touch, int64_t n_touch,
                             loci_error *err);
/* Take the catalogue's state anew after a commit.  On failure the bank is as before. */
loci_status loci_bank_reload(loci_bank *b, loci_error *err);

/* ---- bank_codes.c ----------------------------------------------------------------------------- */
enum { LOCI_SORTED_FROM = 16384 }; /* chunks, 1M tokens: such a bank gets buckets */
/* Buckets of a bank of so many landmarks. */
int loci_bank_buckets_for(int64_t rows);
/* Buckets of the snapshot where the folder has them, codes of the other chunks into the array. */
loci_status loci_bank_load_codes(loci_bank *b, loci_error *err);
void loci_bank_free_codes(loci_bank *b);
/* Codes of all live chunks (chunks, M, 2); *code owned: loci_free_aligned. */
loci_status loci_bank_all_codes(const loci_bank *b, uint64_t **code, loci_error *err);
/* Sort all landmarks into n_buckets, 0: as many as suit the bank.  Only for a bank opened for writing;
 * then the snapshot is taken anew. */
loci_status loci_bank_sort(loci_bank *b, int n_buckets, loci_error *err);
/* After a change: remove buckets that know of segments that are gone, sort where the bank has become
 * large or has grown by half since. */
loci_status loci_bank_tend(loci_bank *b, loci_error *err);
/* Remove buckets that hold landmarks of segments that are gone, and what a killed writer left of new ones;
 * the open snapshot keeps its mapping. */
void loci_bank_drop_stale_buckets(loci_bank *b);

/* ---- for search ---------------------------------------------------------------------------- */
/* Which document holds chunk `index` (0 <= index < b->chunks) of the bank. */
int64_t loci_bank_doc_of(const loci_bank *b, int64_t index);
/* Index in the bank of a chunk of segment[segment], -1 when no live document has it.  Only for banks
 * with postings. */
int64_t loci_bank_index_of(const loci_bank *b, int32_t segment, int64_t chunk);

/* ---- hits.c: chunks that share a rare token run with the question ------------------------------ */
enum {
    LOCI_HITS_MAX = 1024,       /* chunks kept: an eighth of the survivors of a large bank */
    LOCI_HITS_GRAMS = 4096,     /* grams of one call that are looked up; a token makes two */
    LOCI_HITS_LOOKUPS = 1 << 20 /* blocks looked into by one call: some 0.1 s at most */
};
typedef struct {
    int32_t tail[LOCI_GRAM_LONG - 1]; /* the last tokens noted */
    int n_tail;
    int32_t chunk[LOCI_HITS_MAX]; /* (n) union indices, rising */
    int n;
    int64_t grams, lookups; /* so far */
} loci_hits;
/* Look up the grams that end in ids (n), the next tokens of a stream, in n_banks banks that have
 * postings; first[i] is the union index of bank i's first chunk.  Grams in more than 4 live chunks
 * of the union are passed over.  When more chunks are found than there is room for, those that
 * share most grams stay.
 * Errors: LOCI_EFORMAT a block is damaged (named), LOCI_ENOMEM; h is as before. */
loci_status loci_hits_add(loci_hits *h, const loci_bank *const *bank, const int64_t *first,
                          int n_banks, const loci_tokenizer *tok, const int32_t *ids, int n,
                          loci_error *err);

/* ---- catalog.c, beyond engine.h -------------------------------------------------------------- */
/* Between these two all reads of the catalogue see one state, and no writer can commit: so the
 * segment files of that state cannot go away.  Keep it short. */
loci_status loci_catalog_begin(loci_catalog *c, loci_error *err);
void loci_catalog_end(loci_catalog *c);
loci_status loci_catalog_next_segment(loci_catalog *c, int64_t *id, loci_error *err);
loci_status loci_catalog_fingerprint(loci_catalog *c, uint8_t out[16], loci_error *err);
/* SQLite's own integrity check. */
loci_status loci_catalog_verify(loci_catalog *c, loci_error *err);
/* Stored roots by rising sequence, some hundred rows a query, each in a transaction of its own; c is
 * kept until close.  *root (d) is borrowed until the next call, NULL: that document has none.
 * Errors: LOCI_EFORMAT a row is damaged (document and fault named), LOCI_EBUSY, LOCI_EIO. */
typedef struct loci_root_reader loci_root_reader;
loci_status loci_root_reader_open(loci_root_reader **out, loci_catalog *c, int d, loci_error *err);
void loci_root_reader_close(loci_root_reader *r); /* NULL is fine */
loci_status loci_root_reader_find(loci_root_reader *r, int64_t sequence, const float **root,
                                  loci_error *err);
/* "seg-000001.loci" for id 1, and longer numbers: no other file is ever opened or unlinked. */
enum { LOCI_SEGMENT_NAME = 64 };
void loci_segment_name(char out[LOCI_SEGMENT_NAME], int64_t id);
/* A segment's name that none of the rows (by id) has. */
bool loci_segment_is_leftover(const char *file, const loci_segment_row *rows, int64_t n);
/* The row of an id among rows sorted by id, or NULL. */
const loci_segment_row *loci_segment_row_find(const loci_segment_row *rows, int64_t n, int64_t id);
/* Every document inside its segment, no two on the same chunk.  doc_segment (n_docs) or NULL
 * receives indices into segs.  LOCI_EFORMAT names the document. */
loci_status loci_catalog_check_rows(const char *dir, const loci_doc_row *docs, int64_t n_docs,
                                    const loci_segment_row *segs, int64_t n_segs,
                                    int32_t *doc_segment, loci_error *err);

#endif
