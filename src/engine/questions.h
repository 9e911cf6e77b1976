/* questions.h - what a model's routers ask of banks: their queries for pieces of the banks' own text. */
#ifndef LOCI_QUESTIONS_H
#define LOCI_QUESTIONS_H

#include "engine/bank_impl.h"

typedef struct {
    float *query; /* (n, d_landmark) owned */
    float *tau;   /* (n) owned: sharpness of each one's scores */
    int n;
} loci_questions;

/* Queries for `pieces` >= 1 random pieces of stored text, each a question with nothing to read: those of
 * its last token, from which an answer would begin, one a group.  The same seed gives the same.
 * Errors: LOCI_EFORMAT a block is damaged (named), LOCI_ENOMEM; *out is then empty. */
loci_status loci_questions_make(loci_questions *out, const loci_model *m, int vocab,
                                const loci_bank *const *banks, int n_banks, int pieces,
                                uint64_t seed, loci_error *err);
void loci_questions_free(loci_questions *q);

#endif
