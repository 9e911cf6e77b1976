/* ask_impl.h - what asking, sessions and ingest share: sizes, prompts, evidence. */
#ifndef LOCI_ASK_IMPL_H
#define LOCI_ASK_IMPL_H

#include "engine/engine.h"

enum {
    LOCI_ASK_BATCH = 256,            /* tokens a prefill call carries */
    LOCI_INGEST_SPAN = 8192,         /* tokens of one ingest tile; a multiple of the chunk */
    LOCI_QUESTION_TOKENS_MAX = 32768 /* of a question */
};

/* Lowest id of the largest logit among <e> and ordinary tokens. */
int32_t loci_argmax(const float *logits, int vocab);

/* ---- evidence.c ------------------------------------------------------------------------- */
typedef struct {
    int64_t id; /* chunk id of the searcher */
    double score;
} loci_credit;
typedef struct {       /* how much of the reading fell on which chunk */
    loci_credit *slot; /* open addressing, id -1 = empty */
    size_t cap, used;
    double mass, gates; /* sum of g w, sum of g */
} loci_credits;
/* Add one position's reading: per group a gate and its picks with weights. unit_gates: count every
 * gate as 1 (recall). */
loci_status loci_credits_add(loci_credits *c, const loci_reads *reads, int row, int groups, int k,
                             bool unit_gates, loci_error *err);
/* Room for so many chunks, within reason, so that adding them asks for no memory. */
loci_status loci_credits_reserve(loci_credits *c, size_t chunks, loci_error *err);
void loci_credits_free(loci_credits *c);
/* Adjacent chunks of a document merged, best first, text attached: fills out->evidence,
 * n_evidence, evidence_mass. */
loci_status loci_evidence_build(loci_searcher *s, const loci_credits *c,
                                const loci_ask_options *opt, loci_answer *out, loci_error *err);

#endif
