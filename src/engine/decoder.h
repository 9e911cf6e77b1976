/* decoder.h - one token stream with the memory it reads, wherever the arithmetic is done. */
#ifndef LOCI_DECODER_H
#define LOCI_DECODER_H

#include "engine/ask_impl.h"

typedef struct loci_decoder loci_decoder;
/* m: the engine's model, perhaps with fewer picks; borrowed, as s.  s NULL: no banks, the stream reads its
 * own chunks alone, of which there is room for own_chunks.  On a GPU a decoder with banks keeps others
 * with banks waiting until it is closed.
 * Errors: LOCI_ENOMEM; of a GPU also LOCI_EIO, and LOCI_EFORMAT a damaged block of a bank. */
loci_status loci_decoder_open(loci_decoder **out, loci_engine *e, const loci_model *m,
                              loci_searcher *s, int own_chunks, loci_error *err);
void loci_decoder_close(loci_decoder *r); /* NULL is fine */
void loci_decoder_reset(loci_decoder *r);
int64_t loci_decoder_pos(const loci_decoder *r); /* tokens so far */
/* How many tokens a call carries at most: LOCI_ASK_BATCH, more on a GPU without banks. */
int loci_decoder_batch(const loci_decoder *r);
/* n tokens (1 .. the batch); logits (n_logits, vocab) of the last n_logits; reads may be NULL.
 * Errors: LOCI_ENOMEM own chunks do not fit; what a bank said; the decoder is then stale: reset it. */
loci_status loci_decoder_extend(loci_decoder *r, const int32_t *ids, int n, float *logits,
                                int n_logits, loci_reads *reads, loci_error *err);
/* On a GPU, behind a call of n tokens: loss (n) = -log p(target[i]) at each, 0 where target is -1.  False:
 * this stream gives logits alone. */
bool loci_decoder_has_losses(const loci_decoder *r);
loci_status loci_decoder_losses(loci_decoder *r, const int32_t *target, int n, float *loss,
                                loci_error *err);

#endif
