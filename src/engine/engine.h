/* engine.h - what the files of this folder share: an engine, the bank's store and its search.
 *
 *   segment.c   one segment file: write in a stream, read, verify (bytes only)
 *   postings.c  rare token runs of a segment's chunks
 *   segment_root.c  mean of a document's landmarks, its root; frontier.c  means of its summaries
 *   catalog.c   the SQLite catalogue (documents and their roots, segments, meta), the writer's lock
 *   bank.c      an open bank: its documents and their chunks; bank_codes.c: their codes;
 *               bank_commit.c: more documents
 *   buckets.c   landmarks of a large bank sorted by likeness: a file of its own; buckets_make.c
 *   search.c    search in many banks, content cache; probe.c: buckets; scan.c: nearest codes;
 *               hits.c: rare runs
 *   source.c    paths -> documents: folders, .gitignore, encodings, binaries
 *   ingest.c    documents -> tokens -> spans -> segments
 *   decoder.c   tokens in, logits and what was read out: on the CPU or, through gpu_engine.h, on a GPU
 *   engine.c session.c ask.c sample.c
 *   model_tokenizer.c   the tokenizer of a folder or GGUF file
 */
#ifndef LOCI_ENGINE_H
#define LOCI_ENGINE_H

#include "base/base.h"
#include "format/format.h"
#include "kernel/kernel.h"
#include "model/model.h"
#include "loci/bank.h"
#include "loci/loci.h"

typedef struct loci_gpu_engine loci_gpu_engine;

struct loci_engine {
    loci_model *model;              /* NULL when ... */
    struct loci_deepseek *deepseek; /* ... it is one of these (deepseek.h) */
    loci_tokenizer *tok;
    loci_pool *pool;
    loci_gpu_engine *gpu; /* gpu_engine.h; NULL: the CPU does the arithmetic */
    loci_model_info info;
    char kernels[600];
};

/* Refuse a model that has no Read blocks: it can neither fill a bank nor look into one. */
loci_status loci_engine_need_reads(const loci_engine *e, loci_error *err);
/* quantize.c: "f32", "bf16", "int8", "int4" (LOCI_U8) as loci_model_save's type.  LOCI_EINVAL another. */
loci_status loci_quantize_type(const char *name, loci_dtype *type, loci_error *err);

/* The tokenizer that a GGUF file holds (deepseek_tokenizer.c).  Errors: LOCI_EFORMAT naming file,
 * key, expected and found; LOCI_EVERSION another kind or pre-split; LOCI_ENOMEM. */
loci_status loci_gguf_tokenizer(loci_tokenizer **out, const loci_gguf *g, loci_error *err);

/* ---- segment.c: docs/FORMATS.md has the table -------------------------------------------
 * Chunks come in groups of up to LOCI_SEG_GROUP; a group is one block with one column after the
 * other (codes, landmarks, bias, counts, content, ids, byte offsets, lines), each column with its
 * own XXH3-64.  Columns that the shape does not ask for have length 0. */
enum { LOCI_SEG_GROUP = 256 };

typedef struct {           /* one chunk, as the writer gets it */
    const float *content;  /* (n_tokens, d_content); not read with content_bits4 */
    const float *landmark; /* (M, 128) */
    const uint64_t *code;  /* (M, 2) */
    float bias;
    int n_tokens;       /* 1..64 */
    const int32_t *ids; /* (n_tokens) */
    int64_t
        byte_start; /* in the document; the end is the next chunk's start or the document's end */
    int64_t line_start;           /* line of the first byte, from 1 */
    uint64_t word_starts;         /* bit i: token i begins with white space (postings only) */
    const uint8_t *packed;        /* (n_tokens, LOCI_PACK / 2), with content_bits4 */
    const uint16_t *packed_scale; /* (n_tokens, LOCI_PACK / 32), with content_bits4 */
    const float *summary;         /* (d_summary) */
} loci_chunk_record;

typedef struct {
    int n_landmarks, d_landmark, d_content, id_bytes; /* id_bytes 2 or 4 */
    uint8_t fingerprint[16];
    int postings;      /* 1: with postings of rare token runs (postings.h) */
    int content_bits4; /* 1: content packed to 36 bytes a token, needs summaries */
    int d_summary;     /* width of a chunk's summary, 0: none */
} loci_segment_shape;

typedef struct loci_segment_writer loci_segment_writer;
/* Starts path (must not exist), streaming; nothing is visible to readers before the catalogue
 * says so. */
loci_status loci_segment_create(loci_segment_writer **out, const loci_vfs *vfs, const char *path,
                                const loci_segment_shape *shape, loci_error *err);
loci_status loci_segment_append(loci_segment_writer *w, const loci_chunk_record *chunk,
                                loci_error *err);
int64_t loci_segment_chunks(const loci_segment_writer *w);
/* Write the group table and footer, sync file and folder.  *bytes = size. */
loci_status loci_segment_finish(loci_segment_writer *w, int64_t *bytes, loci_error *err);
void loci_segment_abort(
    loci_segment_writer *w); /* closes and unlinks; NULL fine; also after finish failed */
void loci_segment_writer_close(loci_segment_writer *w); /* after finish */

typedef struct loci_segment loci_segment; /* open for reading, mapped */
loci_status loci_segment_open(loci_segment **out, const char *path, const loci_segment_shape *shape,
                              loci_error *err);
void loci_segment_close(loci_segment *s);
/* segment_content.c.  Of a large bank: content is read from the file and not mapped from now on; one more
 * open file, and where there is none it stays mapped. */
void loci_segment_read_content(loci_segment *s);
/* Give back what of a group of such a segment is mapped in memory; it comes again when it is wanted. */
void loci_segment_forget(loci_segment *s, int64_t group);
int64_t loci_segment_count(const loci_segment *s);
/* Copy columns of chunks [first, first+n) after checking the checksum of each group touched for
 * the first time (a bad one: LOCI_EFORMAT naming file, group, column, offset). */
loci_status loci_segment_codes(loci_segment *s, int64_t first, int64_t n, uint64_t *code,
                               loci_error *err);
/* Borrowed pointers into the mapping for one chunk (checked as above). */
typedef struct {
    const int8_t *landmark;      /* (M, 128) */
    const float *landmark_scale; /* (M) */
    float bias;
    int n_tokens;
    const int8_t *content;        /* (64, d_content) int8: a scale for each half of a row */
    const float *content_scale;   /* (64, 2) */
    const uint8_t *packed;        /* (64, 32) in the place of content, with content_bits4 */
    const uint16_t *packed_scale; /* (64, 2) */
    const int8_t *summary;        /* (d_summary), NULL when there are none */
    float summary_scale;
    const void *ids; /* (64) u16 or u32 */
    int64_t byte_start, line_start;
} loci_chunk_view;
loci_status loci_segment_chunk(loci_segment *s, int64_t chunk, bool with_content,
                               loci_chunk_view *out, loci_error *err);
/* Of a chunk n_tokens, content, its scales and the summary: in `room` (loci_segment_room bytes, 64-byte
 * aligned, the caller's), or in the mapping as above.  Errors: those, and LOCI_EIO. */
loci_status loci_segment_content(loci_segment *s, int64_t chunk, void *room, loci_chunk_view *out,
                                 loci_error *err);
size_t loci_segment_room(const loci_segment_shape *s);
/* Bytes that hold what in the file: add to bytes[part], parts of bank.h. */
void loci_segment_sizes(const loci_segment *s, int64_t bytes[LOCI_BANK_PARTS]);
/* One block of postings (postings.h) of a segment that has them, checked as above: block i covers
 * chunks [i * LOCI_POSTINGS_CHUNKS, ...), `chunks` of them. */
int64_t loci_segment_postings_blocks(const loci_segment *s);
loci_status loci_segment_postings(loci_segment *s, int64_t i, const uint8_t **block,
                                  int64_t *chunks, loci_error *err);
/* Every byte checked, and postings against the ids; counts blocks; the first bad one described. */
loci_status loci_segment_verify(const char *path, int64_t *blocks, int64_t *bad, char *first_bad,
                                size_t first_bad_size, loci_error *err);

/* ---- catalog.c ----------------------------------------------------------------------------- */
typedef struct {
    int64_t id, sequence;
    char *name, *path; /* path: where it was read from, absolute, "" if not a file */
    int64_t bytes, tokens, mtime_ns, chunks;
    uint8_t hash[16];             /* XXH3-128 of the bytes read (decoded stream) */
    int64_t file_bytes;           /* size on disk when read (before decoding) */
    int64_t segment, first_chunk; /* where its chunks lie: segment id, chunk index therein */
    char encoding[8];
    const float *root; /* (d_root) for loci_catalog_commit, borrowed; NULL: none is stored */
    int d_root;
} loci_doc_row;
typedef struct {
    int64_t id, bytes, chunks;
    char file[64]; /* name inside the bank's folder */
} loci_segment_row;

typedef struct loci_catalog loci_catalog;
loci_status loci_catalog_open(loci_catalog **out, const char *dir, loci_bank_mode mode,
                              const uint8_t fingerprint[16], const char *shape_json,
                              loci_error *err);
void loci_catalog_close(loci_catalog *c);
/* All live rows, sorted by sequence / id; arrays owned: loci_doc_rows_free / free. */
loci_status loci_catalog_docs(loci_catalog *c, loci_doc_row **rows, int64_t *n, loci_error *err);
void loci_doc_rows_free(loci_doc_row *rows, int64_t n);
loci_status loci_catalog_segments(loci_catalog *c, loci_segment_row **rows, int64_t *n,
                                  loci_error *err);
/* Row of a live document by name; LOCI_ENOTFOUND (err untouched) if none. Free name and path. */
loci_status loci_catalog_find(loci_catalog *c, const char *name, loci_doc_row *row,
                              loci_error *err);
/* One transaction: the segment (if seg != NULL) and its documents become visible; older documents of the
 * same name are dropped (their chunks are dead: not searched); roots come and go with their documents.
 * Segments without live documents are forgotten and their file names returned for unlinking (owned,
 * NULL-terminated list).  `touch`: rows whose mtime/size changed but not their content: updated by name.
 * Afterwards it is durable. */
loci_status loci_catalog_commit(loci_catalog *c, const loci_segment_row *seg, loci_doc_row *docs,
                                int64_t n_docs, const loci_doc_row *touch, int64_t n_touch,
                                char ***unlink_files, loci_error *err);

/* ---- bank.c ------------------------------------------------------------------------------------ */
/* Search state over the union of banks, one per asking session (not thread-safe itself): scan
 * buffers, survivors, LRU of decoded chunks.  Implements loci_memory of model.h.  Chunk ids:
 * (bank index << 40) | global chunk index of the bank; times: order of banks, then sequence of the
 * document, then chunk. */
typedef struct loci_searcher loci_searcher;
loci_status loci_searcher_open(loci_searcher **out, loci_engine *e, loci_bank *const *banks,
                               int n_banks, loci_error *err);
typedef enum {
    LOCI_SEARCH_FAST,  /* as suits the union's size, search.c: loci_searcher_open */
    LOCI_SEARCH_CODES, /* by codes, buckets or not, from 4,096 chunks on */
    LOCI_SEARCH_EXACT  /* every chunk scored by its landmarks */
} loci_search_mode;
loci_status loci_searcher_open_with(loci_searcher **out, loci_engine *e, loci_bank *const *banks,
                                    int n_banks, loci_search_mode mode, loci_error *err);
void loci_searcher_close(loci_searcher *s);
loci_memory loci_searcher_memory(loci_searcher *s); /* borrowed */
/* The next tokens of the stream that asks: with postings, chunks that share a rare token run with
 * them join the survivors of every later search.  Nothing happens without postings, or where all
 * chunks are scored anyway.  Errors: LOCI_EFORMAT, LOCI_ENOMEM. */
loci_status loci_searcher_note(loci_searcher *s, const int32_t *ids, int n, loci_error *err);
/* The first error that a search or content call met, LOCI_OK if none. */
loci_status loci_searcher_status(const loci_searcher *s, loci_error *err);
int64_t loci_searcher_tokens(const loci_searcher *s);
typedef struct {
    int64_t hits, misses;
} loci_searcher_counts;
loci_searcher_counts loci_searcher_cache(const loci_searcher *s); /* of the decoded chunks */
int64_t loci_searcher_chunks(const loci_searcher *s);
const loci_bank *const *loci_searcher_banks(const loci_searcher *s, int *n); /* borrowed from s */
/* The union's chunks by index 0 .. chunks - 1, the order of their times: the id of one, ... */
int64_t loci_searcher_id(const loci_searcher *s, int64_t index);
/* ... and landmarks (n, M, 128) with scales (n, M) and biases of all, some consecutive ones a call.
 * Errors: LOCI_EFORMAT a damaged block (named). */
typedef void loci_landmark_visit(void *ctx, int64_t first, int n, const int8_t *landmark,
                                 const float *scale, const float *bias);
loci_status loci_searcher_each(loci_searcher *s, loci_landmark_visit *visit, void *ctx,
                               loci_error *err);

/* Where a chunk lies, for evidence. */
typedef struct {
    const loci_bank *bank;
    const loci_doc_row *doc; /* borrowed from the bank */
    int64_t chunk;           /* index in the document */
    int64_t byte_start, byte_end, line_start;
} loci_chunk_place;
loci_status loci_searcher_place(loci_searcher *s, int64_t id, loci_chunk_place *out,
                                loci_error *err);
/* Bytes of chunks [first, first + n) of a document, decoded from the stored ids; owned (free()). */
loci_status loci_bank_text(const loci_bank *b, const loci_doc_row *doc, int64_t first, int64_t n,
                           char **text, size_t *bytes, loci_error *err);
const char *loci_bank_dir(const loci_bank *b);

#endif
