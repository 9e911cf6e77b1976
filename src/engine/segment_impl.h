/* segment_impl.h - the bytes of a segment file, shared by its writer and its reader; FORMATS.md
 * has the same tables in prose.
 *
 *   header (128) | group 0 | group 1 | ... | table (272 a group) | trailer (64)
 *
 * All integers little-endian.  A group holds 256 chunks (the last one 1..256) as columns, each
 * starting at a multiple of 64 with zeros between.  Everything but the contents and the length of
 * postings follows from the header's shape and the trailer's number of chunks, and the reader
 * insists on exactly that. */
#ifndef LOCI_SEGMENT_IMPL_H
#define LOCI_SEGMENT_IMPL_H

#include "engine/engine.h"
#include "engine/postings.h"
#include <stdatomic.h>
#include <string.h>

/* Columns are read in place through the mapping; a big-endian port needs a copying reader. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns are mapped little-endian");

/* Version 1 has no features; a file without any is still written as version 1. */
enum { SEG_VERSION = 2, SEG_ALIGN = 64, SEG_CHUNK_TOKENS = 64, SEG_COLUMNS = 16 };
enum {
    SEG_FEATURE_POSTINGS = 1,
    SEG_FEATURE_PACKED = 2,  /* content in 4 bits */
    SEG_FEATURE_SUMMARY = 4, /* d_summary > 0 */
    SEG_FEATURES_KNOWN = 7,
    SEG_SUMMARY_MAX = 4096,
    SEG_LANDMARK_MAX = 512 /* width of one */
};
enum { SEG_POSTINGS_GROUPS = LOCI_POSTINGS_CHUNKS / LOCI_SEG_GROUP };

#define SEG_MAGIC         "LOCIseg\n"
#define SEG_TRAILER_MAGIC "LOCIend\n"

typedef struct {
    uint8_t magic[8];
    uint32_t version, header_bytes;
    uint8_t fingerprint[16];
    uint32_t n_landmarks, d_landmark, d_content, id_bytes, chunk_tokens, group_chunks;
    uint32_t features; /* 0 in version 1, not 0 in version 2 */
    uint32_t d_summary;
    uint8_t zero[56];
    uint64_t sum; /* XXH3-64 of the 120 bytes before; here in every version */
} seg_header;
_Static_assert(sizeof(seg_header) == 128, "on-disk layout");
_Static_assert(offsetof(seg_header, fingerprint) == 16, "on-disk layout");
_Static_assert(offsetof(seg_header, n_landmarks) == 32, "on-disk layout");
_Static_assert(offsetof(seg_header, features) == 56, "on-disk layout");
_Static_assert(offsetof(seg_header, d_summary) == 60, "on-disk layout");
_Static_assert(offsetof(seg_header, sum) == 120, "on-disk layout");

typedef struct { /* one group in the table */
    uint64_t offset;
    uint32_t chunks, zero;
    struct {
        uint64_t bytes, sum; /* XXH3-64 of the column, seed group * 16 + column; 0 when empty */
    } column[SEG_COLUMNS];
} seg_entry;
_Static_assert(sizeof(seg_entry) == 272, "on-disk layout");
_Static_assert(offsetof(seg_entry, chunks) == 8, "on-disk layout");
_Static_assert(offsetof(seg_entry, column) == 16, "on-disk layout");

typedef struct {
    uint8_t magic[8];
    uint64_t table_offset, groups, chunks, file_bytes;
    uint64_t table_sum; /* XXH3-64 of the table */
    uint64_t zero;
    uint64_t sum; /* XXH3-64 of the 56 bytes before */
} seg_trailer;
_Static_assert(sizeof(seg_trailer) == 64, "on-disk layout");
_Static_assert(offsetof(seg_trailer, table_offset) == 8, "on-disk layout");
_Static_assert(offsetof(seg_trailer, table_sum) == 40, "on-disk layout");
_Static_assert(offsetof(seg_trailer, sum) == 56, "on-disk layout");

/* X(NAME, "name in messages", bytes of one chunk); M, dl, dc, ib, ds as in the header, p 1 with packed
 * content, else 0.  Postings are a
 * column of the last group of their block (every 64th group, and the last), as long as the table
 * says. */
#define SEG_COLUMN_LIST(X)                                                                         \
    X(CODES, "codes", M * 16)                                                                      \
    X(LANDMARKS, "landmarks", M *dl)                                                               \
    X(LANDMARK_SCALES, "landmark scales", M * 4)                                                   \
    X(BIAS, "bias", 4)                                                                             \
    X(COUNTS, "counts", 1)                                                                         \
    X(CONTENT, "content", (1 - p) * SEG_CHUNK_TOKENS * dc)                                         \
    X(CONTENT_SCALES, "content scales", (1 - p) * SEG_CHUNK_TOKENS * 2 * 4)                        \
    X(IDS, "ids", SEG_CHUNK_TOKENS *ib)                                                            \
    X(BYTE_STARTS, "byte starts", 8)                                                               \
    X(LINE_STARTS, "line starts", 8)                                                               \
    X(SUMMARIES, "summaries", ds)                                                                  \
    X(SUMMARY_SCALES, "summary scales", ds > 0 ? 4 : 0)                                            \
    X(PACKED, "packed content", p *SEG_CHUNK_TOKENS *LOCI_PACK / 2)                                \
    X(PACKED_SCALES, "packed scales", p *SEG_CHUNK_TOKENS *LOCI_PACK / 32 * 2)                     \
    X(POSTINGS, "postings", 0)

enum {
#define X(name, text, bytes) COL_##name,
    SEG_COLUMN_LIST(X)
#undef X
        SEG_COLUMNS_USED
};
_Static_assert((int)SEG_COLUMNS_USED <= (int)SEG_COLUMNS, "room in the table");

/* Bytes of one chunk in a column, 0 for the columns that are not used. */
static inline size_t seg_chunk_bytes(const loci_segment_shape *s, int column)
{
    const size_t M = (size_t)s->n_landmarks, dl = (size_t)s->d_landmark;
    const size_t dc = (size_t)s->d_content, ib = (size_t)s->id_bytes;
    const size_t ds = (size_t)s->d_summary, p = s->content_bits4 ? 1 : 0;
    switch (column) {
#define X(name, text, bytes)                                                                       \
    case COL_##name: return (bytes);
        SEG_COLUMN_LIST(X)
#undef X
    default: return 0;
    }
}

static inline size_t seg_align(size_t n)
{
    return (n + SEG_ALIGN - 1) & ~(size_t)(SEG_ALIGN - 1);
}

/* Limits that keep every product far below 2^63: a chunk is at most 270 KB. */
static inline bool seg_shape_ok(const loci_segment_shape *s)
{
    return s->n_landmarks >= 1 && s->n_landmarks <= 16 && s->d_landmark >= 1 &&
           s->d_landmark <= SEG_LANDMARK_MAX && s->d_content >= 2 && s->d_content <= 4096 &&
           s->d_content % 2 == 0 && (s->id_bytes == 2 || s->id_bytes == 4) &&
           (s->postings & ~1) == 0 && (s->content_bits4 & ~1) == 0 && s->d_summary >= 0 &&
           s->d_summary <= SEG_SUMMARY_MAX && (!s->content_bits4 || s->d_summary > 0);
}

static inline uint32_t seg_features(const loci_segment_shape *s)
{
    return (s->postings ? SEG_FEATURE_POSTINGS : 0u) |
           (s->content_bits4 ? SEG_FEATURE_PACKED : 0u) | (s->d_summary ? SEG_FEATURE_SUMMARY : 0u);
}

/* Is a block of postings complete with group g of `groups`? */
static inline bool seg_ends_postings(const loci_segment_shape *s, int64_t g, int64_t groups)
{
    return s->postings && (g % SEG_POSTINGS_GROUPS == SEG_POSTINGS_GROUPS - 1 || g == groups - 1);
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

enum { SEG_PACKED_SCALES = LOCI_PACK / 32 };
/* Neither infinite nor a NaN. */
static inline bool seg_half_finite(uint16_t h)
{
    return (h & 0x7c00) != 0x7c00;
}

/* Token k of a chunk. */
static inline int32_t seg_id(const loci_chunk_view *v, int id_bytes, int k)
{
    const uint8_t *p = (const uint8_t *)v->ids + (size_t)k * (size_t)id_bytes;
    return id_bytes == 2 ? (int32_t)p[0] | (int32_t)p[1] << 8 : (int32_t)get_u32(p);
}

/* ---- an open segment ----------------------------------------------------------------------------- */
struct loci_segment {
    loci_map map;
    char *path;
    loci_segment_shape shape;
    int64_t chunks, groups;
    const uint8_t *table;    /* (groups, 272), checked */
    _Atomic uint16_t *sound; /* (groups) bit c: column c was checked and is good */
    loci_file file;          /* content is read from it; fd -1: in the mapping */
};
/* Check those columns of `mask` (bits) of a group that nobody has checked yet. */
loci_status loci_seg_need(loci_segment *s, int64_t group, unsigned mask, loci_error *err);

/* What a bank needs of a whole group for rescoring: borrowed from the mapping, checked. */
typedef struct {
    const int8_t *landmark;      /* (chunks, M, d_landmark) */
    const float *landmark_scale; /* (chunks, M) */
    const float *bias;           /* (chunks) */
    int chunks;
} loci_group_view;
loci_status loci_segment_group(loci_segment *s, int64_t group, loci_group_view *out,
                               loci_error *err);
/* For segment_verify.c: groups and bytes of the file; of a column of a group its bytes, its offset in
 * the file and, whoever checked it before, whether it is sound; the group that ends block i of
 * postings. */
int64_t loci_seg_groups(const loci_segment *s);
int64_t loci_seg_file_bytes(const loci_segment *s);
size_t loci_seg_column_bytes(const loci_segment *s, int64_t group, int column);
size_t loci_seg_column_offset(const loci_segment *s, int64_t group, int column);
loci_status loci_seg_check_column(loci_segment *s, int64_t group, int column, loci_error *err);
int64_t loci_seg_postings_group(const loci_segment *s, int64_t i);
/* Summaries of a group's chunks (chunks, d_summary) with a scale each: borrowed, checked.  Only for
 * shapes with summaries; nothing else of the group is read. */
loci_status loci_segment_summaries(loci_segment *s, int64_t group, const int8_t **summary,
                                   const float **scale, loci_error *err);
/* segment_root.c: the mean of all landmarks of chunks [first, first + n), n >= 1, into root (d_landmark):
 * finite, and the same bits on every machine.  Errors: LOCI_EFORMAT a block is damaged (named),
 * LOCI_EINVAL chunks that are not there. */
loci_status loci_segment_root(loci_segment *s, int64_t first, int64_t n, float *root,
                              loci_error *err);
const loci_segment_shape *loci_segment_shape_of(const loci_segment *s); /* borrowed */

#endif
