/* buckets.h - the landmarks of a large bank, sorted into buckets of alike ones: what a search looks
 * into instead of all of them.
 *
 *   header (128) | segments | basis | means | spreads | table | bucket 0 | bucket 1 | ...
 *
 * What is alike is said in coordinates that the router's queries care for (basis.h).
 * A bucket holds landmarks as the segments have them and, for each, its chunk's bias and number;
 * FORMATS.md has every byte.  The file is derived: it can be made from the segments at any time, and
 * a bank without one is searched by its codes.  Chunks are numbered through the file's own list of
 * segments, which never change, so the file stays true whatever is added to the bank or replaced in
 * it; what it does not know is searched by codes too. */
#ifndef LOCI_BUCKETS_H
#define LOCI_BUCKETS_H

#include "engine/basis.h"
#include "engine/segment_impl.h"

#define LOCI_BUCKETS_FILE "buckets.loci"

enum {
    LOCI_BUCKETS_VERSION = 2,
    LOCI_BUCKETS_MAX = 65536 /* buckets of a file */
};

#define BKT_MAGIC "LOCIbkt\n"
typedef struct {
    uint8_t magic[8];
    uint32_t version, header_bytes;
    uint8_t fingerprint[16];
    uint32_t n_landmarks, d_landmark, n_buckets, kept;
    uint64_t n_segments, n_rows, file_bytes;
    uint64_t tables_sum;  /* XXH3-64 of everything between header and buckets */
    uint64_t learned;     /* landmarks there were when means and basis were learned */
    uint32_t coordinates; /* of the basis */
    uint8_t zero[28];
    uint64_t sum; /* XXH3-64 of the 120 bytes before */
} bkt_header;
_Static_assert(sizeof(bkt_header) == 128, "on-disk layout");
_Static_assert(offsetof(bkt_header, n_landmarks) == 32, "on-disk layout");
_Static_assert(offsetof(bkt_header, n_segments) == 48, "on-disk layout");
_Static_assert(offsetof(bkt_header, tables_sum) == 72, "on-disk layout");
_Static_assert(offsetof(bkt_header, coordinates) == 88, "on-disk layout");
_Static_assert(offsetof(bkt_header, sum) == 120, "on-disk layout");

typedef struct {
    int64_t id, chunks;
} loci_bucket_segment;
typedef struct { /* one bucket in the table */
    uint64_t rows, sum;
} bkt_entry;
_Static_assert(sizeof(loci_bucket_segment) == 16 && sizeof(bkt_entry) == 16, "on-disk layout");

/* Bytes of a bucket of n landmarks of width d: four columns, each from a multiple of 64. */
enum { BKT_LANDMARKS, BKT_SCALES, BKT_BIAS, BKT_CHUNKS, BKT_COLUMNS };
static inline size_t bkt_column_bytes(int column, size_t n, size_t d)
{
    return seg_align(n * (column == BKT_LANDMARKS ? d : 4));
}
static inline size_t bkt_column_at(int column, size_t n, size_t d)
{
    return column == BKT_LANDMARKS ? 0 : seg_align(n * d) + (size_t)(column - 1) * seg_align(n * 4);
}
static inline size_t bkt_bytes(size_t n, size_t d)
{
    return bkt_column_at(BKT_COLUMNS, n, d);
}
/* Where the tables of a file lie, and its first bucket. */
typedef struct {
    size_t basis, means, scales, spreads, table, first;
} bkt_places;
static inline bkt_places bkt_places_of(size_t segments, size_t buckets, size_t d)
{
    bkt_places p;
    p.basis = sizeof(bkt_header) + seg_align(segments * sizeof(loci_bucket_segment));
    p.means = p.basis + seg_align(loci_basis_floats((int)d) * sizeof(float));
    p.scales = p.means + seg_align(buckets * LOCI_BASIS);
    p.spreads = p.scales + seg_align(buckets * sizeof(float));
    p.table = p.spreads + seg_align(buckets * sizeof(float));
    p.first = p.table + seg_align(buckets * sizeof(bkt_entry));
    return p;
}
/* Numbers of a segment's chunks: whole groups, so that number / 256 is a group and the rest a row. */
static inline int64_t bkt_numbers(int64_t chunks)
{
    return (chunks + LOCI_SEG_GROUP - 1) / LOCI_SEG_GROUP * LOCI_SEG_GROUP;
}

/* ---- reading (buckets.c) ------------------------------------------------------------------------ */
typedef struct loci_buckets loci_buckets;
/* shape NULL: of any model and width (verify).  Reads header and tables, about 1 KB for each 500
 * landmarks; a bucket is checked when it is first asked for.
 * Errors: LOCI_ENOTFOUND; LOCI_EFORMAT naming file, place, what is wrong; LOCI_EMODEL;
 * LOCI_EVERSION; LOCI_ENOMEM. */
loci_status loci_buckets_open(loci_buckets **out, const char *path, const loci_segment_shape *shape,
                              loci_error *err);
void loci_buckets_close(loci_buckets *b); /* NULL is fine */
int loci_buckets_count(const loci_buckets *b);
int64_t loci_buckets_rows(const loci_buckets *b);    /* landmarks in all buckets */
int64_t loci_buckets_largest(const loci_buckets *b); /* and in the largest one */
int64_t loci_buckets_file_bytes(const loci_buckets *b);
/* Fingerprint, M and width; the rest 0. */
void loci_buckets_shape(const loci_buckets *b, loci_segment_shape *shape);
int64_t loci_buckets_memory(const loci_buckets *b); /* bytes held beside the mapping */
int64_t
loci_buckets_learned(const loci_buckets *b); /* landmarks there were when means were learned */
/* The coordinates that the file is sorted by, borrowed. */
loci_basis loci_buckets_basis(const loci_buckets *b);
/* Means of the buckets' landmarks in those coordinates: int8 (count, LOCI_BASIS) with a scale each.
 * *spread (count): deviation, over queries and the bucket's landmarks l, of <u, l - mean>. */
const int8_t *loci_buckets_means(const loci_buckets *b, const float **scale, const float **spread);
/* The file's segments by id; *n of them. */
const loci_bucket_segment *loci_buckets_segments(const loci_buckets *b, int64_t *n);
/* Number of a segment's first chunk in the file; -1: the file does not know it. */
int64_t loci_buckets_first(const loci_buckets *b, int64_t segment_id);

typedef struct {
    const int8_t *landmark; /* (n, d_landmark) */
    const float *scale;     /* (n) */
    const float *bias;      /* (n) of the landmark's chunk */
    const uint32_t *chunk;  /* (n) rising, at most M alike */
    int n;
} loci_bucket;
/* Bucket i (0 .. count - 1), borrowed from the mapping and checked.  Any number of threads may read.
 * Errors: LOCI_EFORMAT. */
loci_status loci_buckets_get(loci_buckets *b, int i, loci_bucket *out, loci_error *err);

/* Sketches of the buckets (sketch.h), borrowed. */
typedef struct loci_sketches loci_sketches;
loci_sketches *loci_buckets_sketches(const loci_buckets *b);

/* ---- making (buckets_make.c) --------------------------------------------------------------------- */
typedef struct {
    const loci_bucket_segment *segment; /* (n_segments) by id */
    int64_t n_segments;
    const loci_group_view *group; /* of all segments, one after the other */
    const uint32_t *chunk;        /* (n_chunks) rising: numbers of those to sort */
    int64_t n_chunks;
    loci_segment_shape shape;
    const float
        *query; /* (n_queries, d_landmark) what routers ask, to learn from; 1 at least ... */
    int64_t n_queries;
    const loci_buckets *keep; /* ... or basis and means of this file, which has n_buckets */
} loci_buckets_source;
/* Sort the landmarks into n_buckets (1 .. LOCI_BUCKETS_MAX, at most the landmarks) and replace path by
 * the result: old content or all of the new, whatever happens.  The same source gives the same bytes
 * for any number of threads.  Takes 6 bytes a landmark.
 * Errors: LOCI_EINVAL, LOCI_ENOMEM, LOCI_EIO. */
loci_status loci_buckets_make(const loci_vfs *vfs, const char *path, const loci_buckets_source *s,
                              int n_buckets, const loci_kernels *k, loci_pool *pool,
                              loci_error *err);

#endif
