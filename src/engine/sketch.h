/* sketch.h - a bit for each number of a bucket's landmarks: what a search looks at first.
 *
 *   r = l - unit mean of its bucket     code: signs of r     share = |r|^2 / sum |r_j|
 *   <u, l> ~ unit <u, mean> + share <u, signs>     off by about 0.75 |u| |r| / sqrt(d)
 *
 * A fifth of the landmark's bytes, in memory of its own on huge pages.  Sketches are made when a bucket
 * is first looked into, which reads all of it anyway, and hold nothing that the landmarks do not say:
 * they choose, and what they chose is scored by its landmarks. */
#ifndef LOCI_SKETCH_H
#define LOCI_SKETCH_H

#include "engine/buckets.h"

enum { LOCI_SKETCH_BITS = 64 }; /* landmarks have a multiple of it, or no sketches */
/* For the n buckets of a table, of landmarks of width d; memory is taken with the first one made, and used
 * as they are made.  Errors: LOCI_ENOMEM. */
loci_status loci_sketches_open(loci_sketches **out, const bkt_entry *table, int n, int d,
                               loci_error *err);
void loci_sketches_close(loci_sketches *s); /* NULL is fine */

typedef struct {
    const uint64_t *code;      /* (n, d / 64) */
    const float *share;        /* (n) */
    const float *scale, *bias; /* (n) those of the bucket, here for being near */
    float unit;                /* the mean in landmarks' lengths: times this */
} loci_sketch;
/* Bucket i, whose landmarks and mean (d) are these: made once, whoever asks first.  Any number of threads
 * may ask.  Errors: LOCI_ENOMEM. */
loci_status loci_sketches_get(loci_sketches *s, const loci_kernels *k, int i, const loci_bucket *b,
                              const int8_t *mean, float mean_scale, loci_sketch *out,
                              loci_error *err);
int64_t loci_sketches_memory(const loci_sketches *s); /* bytes, at most */

#endif
