/* standing.h - documents cut from a haystack's text, and the bank of them that stays. */
#ifndef LOCI_EVAL_STANDING_H
#define LOCI_EVAL_STANDING_H

#include "field.h"

typedef struct { /* cuts one document after the other */
    haystack *hay;
    loci_encoder *enc;
    int32_t *ids;
    uint32_t *ends;
    size_t doc_bytes;
} taker;

/* t is freed with taker_close, also on failure; hay is borrowed. */
loci_status taker_open(taker *t, loci_engine *e, haystack *hay, size_t doc_bytes, loci_error *err);
void taker_close(taker *t);
/* The next document: doc_bytes of the haystack, or what `most` tokens allow; d->text is the caller's,
 * also on failure. */
loci_status taker_next(taker *t, int64_t most, field_doc *d, int64_t *tokens, loci_error *err);

/* Fill f->doc with documents of `tokens` tokens and f->bank[0] with the bank of them in o->keep, made if
 * it is not there or not whole; counts, rates and sizes of f too. */
loci_status standing_open(field *f, loci_engine *e, const field_options *o, taker *t,
                          int64_t tokens, loci_error *err);

#endif
