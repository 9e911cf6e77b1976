/* sketch.h - 4 bits for each coordinate of a bucket's landmarks: what a search looks at first.
 *
 *   z = coordinates of a landmark (basis.h) less those of its bucket's mean -> 64 numbers of 4 bits, a
 *   half-precision scale for 32 of them
 *   <u, l> ~ <u, mean> + sum_j q_j z_j
 *
 * 40 bytes instead of 132, packed for the product of weights of 4 bits with an int8 row, in memory of
 * their own on huge pages.  Sketches are made when a bucket is first looked into, which reads all of
 * it anyway, and hold nothing that the landmarks do not say: they choose, and what they chose is scored
 * by its landmarks. */
#ifndef LOCI_SKETCH_H
#define LOCI_SKETCH_H

#include "engine/buckets.h"

/* For the n buckets of a table; memory is taken with the first one made, and used as they are made.
 * Errors: LOCI_ENOMEM. */
loci_status loci_sketches_open(loci_sketches **out, const bkt_entry *table, int n, loci_error *err);
void loci_sketches_close(loci_sketches *s); /* NULL is fine */

typedef struct {
    loci_w4 code;              /* (n, LOCI_BASIS) */
    const float *bias, *scale; /* (n) those of the bucket, here for being near */
} loci_sketch;
/* Those of bucket i of b, whose landmarks are `rows`: made once, whoever asks first.  Any number of
 * threads may ask.  Errors: LOCI_ENOMEM. */
loci_status loci_sketches_get(loci_sketches *s, const loci_kernels *k, const loci_buckets *b, int i,
                              const loci_bucket *rows, loci_sketch *out, loci_error *err);
int64_t loci_sketches_memory(const loci_sketches *s); /* bytes, at most */

#endif
