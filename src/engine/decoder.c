/* decoder.c - a stream with its own chunks and the banks behind them, on the CPU or on a GPU. */
#include "engine/decoder.h"
#include "engine/gpu_engine.h"
#include <stdlib.h>

struct loci_decoder {
    loci_model model; /* the caller's, borrowed, with the engine's threads */
    const loci_model *m;
    loci_searcher *searcher; /* NULL: no banks */
    loci_gpu_decoder *gpu;   /* does everything, or NULL: */
    loci_stream *stream;
    loci_local_bank *own;
    void *stream_memory, *own_memory;
    loci_memory banks_memory; /* of the searcher; `memory` keeps its address */
    loci_memory memory;       /* own chunks joined with the banks */
};

static loci_status open_cpu(loci_decoder *r, int own_chunks, loci_error *err)
{
    const loci_hparams *hp = &r->m->hp;
    r->stream_memory = loci_alloc_aligned(loci_stream_bytes(hp, LOCI_ASK_BATCH));
    r->own_memory = loci_alloc_aligned(loci_local_bank_bytes(hp, own_chunks));
    if (!r->stream_memory || !r->own_memory)
        return loci_fail(err, LOCI_ENOMEM, "no memory for a stream of %d tokens: %zu bytes",
                         own_chunks * hp->chunk, loci_local_bank_bytes(hp, own_chunks));
    r->stream = loci_stream_init(hp, LOCI_ASK_BATCH, r->stream_memory);
    r->own = loci_local_bank_init(hp, own_chunks, r->own_memory);
    if (r->searcher) r->banks_memory = loci_searcher_memory(r->searcher);
    r->memory = loci_local_bank_memory(r->own, &r->m->k, r->searcher ? &r->banks_memory : NULL);
    return LOCI_OK;
}

loci_status loci_decoder_open(loci_decoder **out, loci_engine *e, const loci_model *m,
                              loci_searcher *s, int own_chunks, loci_error *err)
{
    *out = NULL;
    loci_decoder *r = calloc(1, sizeof *r);
    if (!r) return loci_fail(err, LOCI_ENOMEM, "no memory for a stream");
    r->model = *m;
    r->model.pool = e->pool;
    r->m = &r->model;
    r->searcher = s;
    const loci_status st = e->gpu ? loci_gpu_decoder_open(&r->gpu, e->gpu, r->m, s, own_chunks, err)
                                  : open_cpu(r, own_chunks, err);
    if (st != LOCI_OK) {
        loci_decoder_close(r);
        return st;
    }
    *out = r;
    return LOCI_OK;
}

void loci_decoder_close(loci_decoder *r)
{
    if (!r) return;
    loci_gpu_decoder_close(r->gpu);
    loci_free_aligned(r->stream_memory);
    loci_free_aligned(r->own_memory);
    free(r);
}

void loci_decoder_reset(loci_decoder *r)
{
    if (r->gpu) {
        loci_gpu_decoder_reset(r->gpu);
        return;
    }
    loci_stream_reset(r->stream);
    loci_local_bank_reset(r->own);
}

int64_t loci_decoder_pos(const loci_decoder *r)
{
    return r->gpu ? loci_gpu_decoder_pos(r->gpu) : loci_stream_pos(r->stream);
}

int loci_decoder_batch(const loci_decoder *r)
{
    return r->gpu ? loci_gpu_decoder_batch(r->gpu) : LOCI_ASK_BATCH;
}

bool loci_decoder_has_losses(const loci_decoder *r)
{
    return r->gpu != NULL;
}

loci_status loci_decoder_losses(loci_decoder *r, const int32_t *target, int n, float *loss,
                                loci_error *err)
{
    return loci_gpu_decoder_losses(r->gpu, target, n, loss, err);
}

static loci_status extend_cpu(loci_decoder *r, const int32_t *ids, int n, float *logits,
                              int n_logits, loci_reads *reads, loci_error *err)
{
    const float *h = loci_stream_lower(r->stream, r->m, ids, n);
    const loci_status st = loci_local_bank_append(r->own, r->m, h, n, err);
    if (st != LOCI_OK) return st;
    return loci_stream_upper(r->stream, r->m, n, &r->memory, logits, n_logits, reads, err);
}

loci_status loci_decoder_extend(loci_decoder *r, const int32_t *ids, int n, float *logits,
                                int n_logits, loci_reads *reads, loci_error *err)
{
    const loci_status st =
        r->gpu ? loci_gpu_decoder_extend(r->gpu, ids, n, logits, n_logits, reads, err)
               : extend_cpu(r, ids, n, logits, n_logits, reads, err);
    /* A damaged block says more about itself than the stream can. */
    loci_error bank_error = { 0 };
    const loci_status bank = r->searcher ? loci_searcher_status(r->searcher, &bank_error) : LOCI_OK;
    if (bank == LOCI_OK) return st;
    if (err) *err = bank_error;
    return bank;
}
