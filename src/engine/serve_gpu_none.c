/* serve_gpu_none.c - an engine in a build without CUDA: there is no GPU, and it says so. */
#include "engine/gpu_engine.h"

static loci_status none(loci_error *err)
{
    return loci_fail(err, LOCI_ESTATE, "there is no GPU");
}

loci_status loci_gpu_engine_open(loci_gpu_engine **out, const loci_model *m, int device,
                                 loci_error *err)
{
    loci_gpu *g;
    (void)m;
    *out = NULL;
    return loci_gpu_open(&g, device, err);
}

void loci_gpu_engine_close(loci_gpu_engine *x)
{
    (void)x;
}

void loci_gpu_engine_forget(loci_gpu_engine *x, const loci_bank *b)
{
    (void)x, (void)b;
}

const char *loci_gpu_engine_name(const loci_gpu_engine *x)
{
    (void)x;
    return "";
}

loci_status loci_gpu_decoder_open(loci_gpu_decoder **out, loci_gpu_engine *x, const loci_model *m,
                                  loci_searcher *s, int own_chunks, loci_error *err)
{
    (void)x, (void)m, (void)s, (void)own_chunks;
    *out = NULL;
    return none(err);
}

void loci_gpu_decoder_close(loci_gpu_decoder *r)
{
    (void)r;
}

void loci_gpu_decoder_reset(loci_gpu_decoder *r)
{
    (void)r;
}

int64_t loci_gpu_decoder_pos(const loci_gpu_decoder *r)
{
    (void)r;
    return 0;
}

loci_status loci_gpu_decoder_extend(loci_gpu_decoder *r, const int32_t *ids, int n, float *logits,
                                    int n_logits, loci_reads *reads, loci_error *err)
{
    (void)r, (void)ids, (void)n, (void)logits, (void)n_logits, (void)reads;
    return none(err);
}

int loci_gpu_decoder_batch(const loci_gpu_decoder *r)
{
    (void)r;
    return LOCI_ASK_BATCH;
}

loci_status loci_gpu_decoder_losses(loci_gpu_decoder *r, const int32_t *target, int n, float *loss,
                                    loci_error *err)
{
    (void)r, (void)target, (void)n, (void)loss;
    return none(err);
}

loci_status loci_gpu_spans_open(loci_gpu_spans **out, loci_gpu_engine *x, int max_rows,
                                int max_chunks, loci_error *err)
{
    (void)x, (void)max_rows, (void)max_chunks;
    *out = NULL;
    return none(err);
}

void loci_gpu_spans_close(loci_gpu_spans *s)
{
    (void)s;
}

loci_status loci_gpu_spans_start(loci_gpu_spans *s, const loci_gpu_span *span, int n,
                                 loci_error *err)
{
    (void)s, (void)span, (void)n;
    return none(err);
}

loci_status loci_gpu_spans_finish(loci_gpu_spans *s, loci_gpu_records *out, loci_error *err)
{
    (void)s, (void)out;
    return none(err);
}
