/* spans.h - tokens of documents on their way into a segment: collected, encoded in parallel,
 * written in order. */
#ifndef LOCI_SPANS_H
#define LOCI_SPANS_H

#include "engine/ask_impl.h"

typedef struct loci_spans loci_spans;

/* Buffers for the engine's threads; writes go to whatever writer loci_spans_flush is given. */
loci_status loci_spans_open(loci_spans **out, loci_engine *e, loci_error *err);
void loci_spans_close(loci_spans *s);
/* A document starts (its <bos> is added).  Not flushed documents may stand before it. */
void loci_spans_begin(loci_spans *s);
/* Append one token that covers bytes [byte, ...) of the document, on line `line`.  When
 * loci_spans_full says so, flush before adding more. */
void loci_spans_add(loci_spans *s, int32_t id, int64_t byte, int64_t line);
bool loci_spans_full(const loci_spans *s);
void loci_spans_end(loci_spans *s);                 /* the document is complete */
int64_t loci_spans_doc_chunks(const loci_spans *s); /* chunks of the current document so far */
int64_t loci_spans_doc_tokens(const loci_spans *s); /* its tokens, <bos> not counted */
int64_t loci_spans_pending(const loci_spans *s);    /* chunks not written yet */
/* What is complete goes to the model, in threads of its own; what went there the last time is waited
 * for and appended to w, in order.  So text is read and chunks are written while others are computed.
 * Errors: those of the writer; drop what is pending then. */
loci_status loci_spans_flush(loci_spans *s, loci_segment_writer *w, loci_error *err);
/* The same with all that is complete: afterwards nothing but an open document is pending. */
loci_status loci_spans_finish(loci_spans *s, loci_segment_writer *w, loci_error *err);
void loci_spans_drop(loci_spans *s); /* forget what is pending (an error, a cancel) */

#endif
