/* roots.h - of many vectors the K that a query scores highest, without reading all of them whole. */
#ifndef LOCI_ROOTS_H
#define LOCI_ROOTS_H

#include "engine/engine.h"

typedef struct loci_roots loci_roots;
/* Room for n vectors of width d, of which none is set.  Errors: LOCI_ENOMEM. */
loci_status loci_roots_open(loci_roots **out, const loci_kernels *k, int64_t n, int d,
                            loci_error *err);
void loci_roots_close(loci_roots *r); /* NULL is fine */
/* Vector i (d); those that are not set score as if they were all zeros. */
void loci_roots_set(loci_roots *r, int64_t i, const float *root);
/* Numbers of the K <= LOCI_GIST_DOCS that score highest by u (d), rising, into list; of equals the lower
 * ones.  Returns how many.  They are those of landmark_topk over all n. */
int loci_roots_best(loci_roots *r, const float *u, int K, int64_t *list);

#endif
