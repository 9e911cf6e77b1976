/* gpu_serve.h - a trained model at work on one GPU: documents into records, a stream that reads.
 *
 * The forward halves of the training pass without its tapes: every layer works in the same buffers.
 * Equations are those of stream.c, consult.c and ingest.c; numbers differ from the CPU's by the bf16
 * rounding of activations and weights.
 *
 *   gpu_forward.c  buffers of a forward pass        gpu_ingest.c   spans of documents -> records
 *   gpu_stream.c   window rings, prefill, decode    gpu_consult.c  the Read block of a stream
 *   gpu_bank.c     the chunks it may read: landmarks of all, content of those that were picked
 *
 *   gpu_frontier.c, gpu_own_nodes.c: the gist heads, of models with summaries
 *
 * Content is whole on the device: what a model with content_bits4 keeps packed in a bank comes unpacked,
 * and a stream's own chunks, of which the CPU packs all but the newest, stay as they are.
 * Shapes: gpu_model.h; loci_gpu_weights_init refuses the others, loci_gpu_serves the rest. */
#ifndef LOCI_GPU_SERVE_H
#define LOCI_GPU_SERVE_H

#include "model/gpu/gpu_model.h"

/* Does this shape do without what only the CPU serves?  Errors: LOCI_EMODEL, the field named. */
loci_status loci_gpu_serves(const loci_hparams *hp, loci_error *err);

/* ---- ingest --------------------------------------------------------------------------------------- */
/* A run of a document: ids[-left .. n), of which the first `left` only give context; pos is the
 * position of ids[0], a multiple of 64.  left: as loci_ingest_span wants it. */
typedef struct {
    const int32_t *ids;
    int64_t pos;
    int left, n;
} loci_gpu_span;
typedef struct loci_gpu_ingest loci_gpu_ingest;
/* For batches of up to max_rows tokens, context included, in max_chunks chunks.
 * Errors: LOCI_ENOMEM.  *out owned: loci_gpu_ingest_close. */
loci_status loci_gpu_ingest_open(loci_gpu_ingest **out, loci_gpu *g, loci_gpu_weights *w,
                                 int max_rows, int max_chunks, loci_error *err);
void loci_gpu_ingest_close(loci_gpu_ingest *x); /* NULL is fine; waits */
/* Enqueue a batch and return; ids are copied.  The batch before must be finished.
 * Errors: LOCI_EINVAL more than there is room for, a position above 2^31; nothing was done. */
loci_status loci_gpu_ingest_start(loci_gpu_ingest *x, const loci_gpu_span *span, int n,
                                  loci_error *err);
/* Wait for it.  Records of its chunks, spans in order: content (chunks, 64, 128), landmark
 * (chunks, 2, 128), bias (chunks), summary (chunks, d_summary; NULL without), host memory borrowed
 * until the next start.
 * Errors: LOCI_EIO. */
typedef struct {
    const loci_bf16 *content, *landmark;
    const float *bias, *summary;
} loci_gpu_records;
loci_status loci_gpu_ingest_finish(loci_gpu_ingest *x, loci_gpu_records *out, loci_error *err);

/* ---- bank ----------------------------------------------------------------------------------------- */
/* Chunks 0 .. n - 1 of a memory outside, then those that the stream itself closes.  Landmarks and
 * biases of all lie on the device, so a search is exact and looks at every one.  Content travels when
 * it is picked, 16 KiB a chunk, and stays in one of LOCI_GPU_SLOTS_KEPT places until others need
 * it: a question reads hundreds of chunks whether the bank has thousands or millions. */
enum { LOCI_GPU_SLOTS_KEPT = 16384 }; /* a million tokens: 256 MiB */
typedef struct loci_gpu_bank loci_gpu_bank;
/* Content (n_tokens, 128) f32 of a chunk outside, as loci_memory gives it; n_tokens or a status. */
typedef int loci_gpu_content(void *ctx, int64_t chunk, const float **rows);
/* d_summary: of the model.  Errors: LOCI_ENOMEM (sizes named; the device stays usable). */
loci_status loci_gpu_bank_open(loci_gpu_bank **out, loci_gpu *g, int64_t n, int max_own,
                               int d_summary, loci_error *err);
void loci_gpu_bank_close(loci_gpu_bank *b); /* NULL is fine */
/* From now on there are n chunks outside, of which the first `keep` are those that were there before,
 * with what is known of them; landmarks of the others must be put.  False: there is no room, nothing was
 * done (a bank has some to spare). */
bool loci_gpu_bank_keep(loci_gpu_bank *b, int64_t keep, int64_t n);
/* Landmarks (count, 2, 128) and biases of chunks [first, first + count) outside. */
void loci_gpu_bank_put(loci_gpu_bank *b, int64_t first, int count, const loci_bf16 *landmark,
                       const float *bias);
void loci_gpu_bank_reset(loci_gpu_bank *b); /* the stream starts anew: no own chunks */

/* ---- stream --------------------------------------------------------------------------------------- */
typedef struct loci_gpu_stream loci_gpu_stream;
enum { LOCI_GPU_STREAM_BATCH = 8192 };
/* Calls of up to max_batch tokens, a multiple of 64 and LOCI_GPU_STREAM_BATCH at most; over chunks
 * outside LOCI_GPU_SLOTS_KEPT / LOCI_GPU_PICKS.  Errors: LOCI_ENOMEM. */
loci_status loci_gpu_stream_open(loci_gpu_stream **out, loci_gpu *g, loci_gpu_weights *w,
                                 int max_batch, loci_error *err);
void loci_gpu_stream_close(loci_gpu_stream *s); /* NULL is fine */
void loci_gpu_stream_reset(loci_gpu_stream *s);
int64_t loci_gpu_stream_pos(const loci_gpu_stream *s);
/* What a call reads. */
typedef struct {
    loci_gpu_bank *bank;
    loci_gpu_content *content; /* of chunks outside; not called when there are none */
    void *ctx;
    int top_k; /* 1 .. the model's */
    /* The model on the host, whose hard_gate and gate_open hold: they may differ from the weights' own.
     * NULL without groups. */
    const loci_model *m;
    const loci_memory *memory; /* gives nodes of documents outside, with d_summary; or NULL */
} loci_gpu_reader;
/* n tokens through lower stack, own chunks and upper stack; logits (n_logits, vocab) of the last
 * n_logits.  reads (may be NULL): picks of chunks outside have id and time = the chunk.
 * Errors: LOCI_ENOMEM the own chunks do not fit (nothing was done); what `content` returned, LOCI_EIO:
 * the stream is stale, reset it. */
loci_status loci_gpu_stream_extend(loci_gpu_stream *s, const loci_gpu_reader *r, const int32_t *ids,
                                   int n, float *logits, int n_logits, loci_reads *reads,
                                   loci_error *err);
/* loss (n) = -log p(target[i]) behind each of the n tokens of the last call, 0 where target is -1.
 * Errors: LOCI_EIO. */
loci_status loci_gpu_stream_losses(loci_gpu_stream *s, const int32_t *target, int n, float *loss,
                                   loci_error *err);

#endif
