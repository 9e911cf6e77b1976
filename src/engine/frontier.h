/* frontier.h - the gist of the documents of a union of banks, for the model's gist heads. */
#ifndef LOCI_FRONTIER_H
#define LOCI_FRONTIER_H

#include "engine/bank_impl.h"

enum { LOCI_FRONTIER_BYTES = 32 << 20 }; /* 256M tokens in documents of 64K, with M */
typedef struct loci_frontiers loci_frontiers;
/* For n_banks banks of model m (both kept until close) with summaries; `bytes` for frontiers that are
 * kept.  Nothing is read yet.
 * Errors: LOCI_ENOMEM. */
loci_status loci_frontiers_open(loci_frontiers **out, const loci_model *m,
                                const loci_bank *const *bank, int n_banks, size_t bytes,
                                loci_error *err);
void loci_frontiers_close(loci_frontiers *f); /* NULL is fine */
/* Hand the frontier of each document to take(to, ...), coarse nodes first, documents in order of time; of
 * more than LOCI_GIST_DOCS documents those whose mean landmark u (d_landmark) scores highest.
 * The first call that wants a document reads its summaries, and with so many documents the first
 * call of all reads their roots from the catalogues, of documents without one all landmarks.
 * Errors: LOCI_EFORMAT a block or a root is damaged (named), LOCI_ENOMEM; LOCI_EBUSY, LOCI_EIO a
 * catalogue cannot be read. */
loci_status loci_frontiers_take(loci_frontiers *f, const float *u, loci_gist_take *take, void *to,
                                loci_error *err);

#endif
