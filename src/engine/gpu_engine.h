/* gpu_engine.h - an engine's share of a GPU: weights, the banks it knows, streams and ingest.
 *
 * A build without CUDA has serve_gpu_none.c instead, in which opening fails and says why.  Calls may
 * come from any thread; the device works for one at a time. */
#ifndef LOCI_GPU_ENGINE_H
#define LOCI_GPU_ENGINE_H

#include "engine/ask_impl.h"
#include "model/gpu/gpu_serve.h"

/* Errors: LOCI_ENOTFOUND no such device or no CUDA; LOCI_EINVAL a shape or switch that the kernels are
 * not written for (named); LOCI_ENOMEM, LOCI_EIO. */
loci_status loci_gpu_engine_open(loci_gpu_engine **out, const loci_model *m, int device,
                                 loci_error *err);
void loci_gpu_engine_close(loci_gpu_engine *x);
/* What this bank holds may change, or the bank goes away. */
void loci_gpu_engine_forget(loci_gpu_engine *x, const loci_bank *b);
const char *loci_gpu_engine_name(const loci_gpu_engine *x); /* of the device */

/* ---- streams: as decoder.h ---- */
typedef struct loci_gpu_decoder loci_gpu_decoder;
loci_status loci_gpu_decoder_open(loci_gpu_decoder **out, loci_gpu_engine *x, const loci_model *m,
                                  loci_searcher *s, int own_chunks, loci_error *err);
void loci_gpu_decoder_close(loci_gpu_decoder *r);
void loci_gpu_decoder_reset(loci_gpu_decoder *r);
int64_t loci_gpu_decoder_pos(const loci_gpu_decoder *r);
loci_status loci_gpu_decoder_extend(loci_gpu_decoder *r, const int32_t *ids, int n, float *logits,
                                    int n_logits, loci_reads *reads, loci_error *err);
int loci_gpu_decoder_batch(const loci_gpu_decoder *r);
loci_status loci_gpu_decoder_losses(loci_gpu_decoder *r, const int32_t *target, int n, float *loss,
                                    loci_error *err);

/* ---- ingest: as gpu_serve.h ---- */
typedef struct loci_gpu_spans loci_gpu_spans;
loci_status loci_gpu_spans_open(loci_gpu_spans **out, loci_gpu_engine *x, int max_rows,
                                int max_chunks, loci_error *err);
void loci_gpu_spans_close(loci_gpu_spans *s);
loci_status loci_gpu_spans_start(loci_gpu_spans *s, const loci_gpu_span *span, int n,
                                 loci_error *err);
loci_status loci_gpu_spans_finish(loci_gpu_spans *s, loci_gpu_records *out, loci_error *err);

#endif
