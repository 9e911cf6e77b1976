/* buckets_impl.h - sorting landmarks into buckets, shared by its two steps:
 *
 *   buckets_learn.c   which landmark goes into which bucket, and the basis that says so
 *   buckets_make.c    the file */
#ifndef LOCI_BUCKETS_IMPL_H
#define LOCI_BUCKETS_IMPL_H

#include "engine/basis.h"
#include "engine/buckets.h"

typedef struct {
    const loci_buckets_source *s;
    const loci_kernels *k;
    loci_pool *pool;
    int64_t n_rows, n_sample, learned; /* learned: rows when means were last learned */
    int n, d;                          /* buckets, width */
    float *basis;                      /* loci_basis_floats(d) */
    float weight[LOCI_BASIS];          /* of coordinates, in distances */
    float *mean;                       /* (n, LOCI_BASIS) coordinates, weighted until the end */
    float *half;                       /* (n) half their squared lengths */
    float *spread;    /* (n) deviation of what a bucket's rows score about its mean */
    int64_t *count;   /* (n) rows of a bucket */
    uint16_t *bucket; /* (n_rows) of each row; first those of the sample */
    uint32_t *order;  /* (n_rows) rows by bucket */
    bool all;         /* assign all rows, not the sample */
    float *scratch;   /* for each worker: rows, their coordinates, products */
} bucket_maker;

typedef struct {
    const loci_group_view *group;
    uint32_t chunk;
    int32_t in_group; /* its chunk */
    int32_t landmark; /* and which of all in the group it is */
} bucket_row;

static inline bucket_row bucket_row_of(const bucket_maker *m, int64_t row)
{
    const int M = m->s->shape.n_landmarks;
    const uint32_t chunk = m->s->chunk[row / M];
    const int32_t in_group = (int32_t)(chunk % LOCI_SEG_GROUP);
    return (bucket_row){ &m->s->group[chunk / LOCI_SEG_GROUP], chunk, in_group,
                         in_group * M + (int32_t)(row % M) };
}

/* Floats of scratch that a worker needs. */
size_t loci_buckets_scratch(int d);
/* Fill all but s .. d and scratch, for m whose arrays are there: basis and means learned from a sample, or those
 * of s->keep; every row to its bucket.  mean is then in the basis' coordinates, whose rows lie about
 * their bucket's mean with deviation 1.  Errors: LOCI_ENOMEM. */
loci_status loci_buckets_learn(bucket_maker *m, loci_error *err);

#endif
