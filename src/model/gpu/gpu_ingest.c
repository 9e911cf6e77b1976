/* gpu_ingest.c - spans of documents through the lower stack and the encoder, a batch at a time.
 *
 * Spans lie one behind the other as rows, each with the context that makes its own rows exact
 * (ingest.c); a row sees the window before it, no further than its span's first row.  Start only
 * enqueues, so the host collects and writes while the device works.  Rows and chunks are padded to
 * whole steps, so that products repeat their shapes. */
#include "model/gpu/gpu_serve_impl.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_STEP = 2048, CHUNKS_STEP = 64, CHUNK = 64, PLACE = 66, RECORD = CHUNK * 128 };

typedef struct {                          /* one block on the host, the same on the device */
    int32_t *ids, *pos, *win_lo, *win_hi; /* (rows) */
    int32_t *token_row;                   /* (chunks * 64) */
    int32_t *enc_lo, *enc_hi;             /* (chunks * 66) */
} index_arrays;

struct loci_gpu_ingest {
    loci_gpu_pass p;
    int max_rows, max_chunks; /* padded */
    void *memory, *host;
    index_arrays on_device, on_host;
    size_t index_bytes;
    int32_t *n_tokens;             /* host (chunks) */
    float *summary;                /* device (chunks, d_summary) */
    loci_bf16 *content, *landmark; /* host */
    float *bias, *host_summary;
    int chunks; /* of the batch under way */
};

static int padded(int n, int step)
{
    return (n + step - 1) / step * step;
}

static void index_plan(index_arrays *x, loci_arena *a, size_t rows, size_t chunks)
{
    x->ids = loci_arena_take(a, rows, 4);
    x->pos = loci_arena_take(a, rows, 4);
    x->win_lo = loci_arena_take(a, rows, 4);
    x->win_hi = loci_arena_take(a, rows, 4);
    x->token_row = loci_arena_take(a, chunks * CHUNK, 4);
    x->enc_lo = loci_arena_take(a, chunks * PLACE, 4);
    x->enc_hi = loci_arena_take(a, chunks * PLACE, 4);
}

static void device_plan(loci_gpu_ingest *x, loci_arena *a)
{
    const size_t C = (size_t)x->max_chunks;
    index_plan(&x->on_device, a, (size_t)x->max_rows, C);
    x->index_bytes = a->used;
    loci_gpu_forward_plan(&x->p, a, x->max_rows, x->max_chunks);
    x->p.whole = loci_arena_take(a, C * RECORD, 2);
    x->p.landmark = loci_arena_take(a, C * 256, 2);
    x->p.bias = loci_arena_take(a, C, 4);
    x->summary = loci_arena_take(a, C * (size_t)x->p.w->hp.d_summary, 4);
}

static void host_plan(loci_gpu_ingest *x, loci_arena *a)
{
    const size_t C = (size_t)x->max_chunks;
    index_plan(&x->on_host, a, (size_t)x->max_rows, C);
    x->n_tokens = loci_arena_take(a, C, 4);
    x->content = loci_arena_take(a, C * RECORD, 2);
    x->landmark = loci_arena_take(a, C * 256, 2);
    x->bias = loci_arena_take(a, C, 4);
    x->host_summary = loci_arena_take(a, C * (size_t)x->p.w->hp.d_summary, 4);
}

static loci_status reserve(loci_gpu_ingest *x, loci_error *err)
{
    loci_arena a = { 0 };
    device_plan(x, &a);
    const size_t bytes = a.used;
    loci_status st = loci_gpu_reserve(x->p.g, &x->memory, bytes, "a batch of ingest", err);
    if (st != LOCI_OK) return st;
    a = (loci_arena){ x->memory, bytes, 0 };
    device_plan(x, &a);
    a = (loci_arena){ 0 };
    host_plan(x, &a);
    const size_t host = a.used;
    x->host = loci_gpu_host_alloc(x->p.g, host);
    if (!x->host) return loci_gpu_status(x->p.g, err);
    a = (loci_arena){ x->host, host, 0 };
    host_plan(x, &a);
    return loci_gpu_forward_begin(&x->p, err);
}

loci_status loci_gpu_ingest_open(loci_gpu_ingest **out, loci_gpu *g, loci_gpu_weights *w,
                                 int max_rows, int max_chunks, loci_error *err)
{
    *out = NULL;
    loci_gpu_ingest *x = calloc(1, sizeof *x);
    if (!x) return loci_fail(err, LOCI_ENOMEM, "no memory for ingest on a GPU");
    x->p.g = g;
    x->p.w = w;
    x->max_rows = padded(max_rows, ROWS_STEP);
    x->max_chunks = padded(max_chunks, CHUNKS_STEP);
    const loci_status st = reserve(x, err);
    if (st != LOCI_OK) {
        loci_gpu_ingest_close(x);
        return st;
    }
    *out = x;
    return LOCI_OK;
}

void loci_gpu_ingest_close(loci_gpu_ingest *x)
{
    if (!x) return;
    loci_gpu_free(x->p.g, x->memory);
    loci_gpu_host_free(x->p.g, x->host);
    free(x);
}

/* ---- a batch ---------------------------------------------------------------------------------------- */

static loci_status check(const loci_gpu_ingest *x, const loci_gpu_span *span, int n,
                         loci_error *err)
{
    int64_t rows = 0, chunks = 0;
    for (int i = 0; i < n; i++) {
        rows += span[i].left + span[i].n;
        chunks += (span[i].n + CHUNK - 1) / CHUNK;
        if (span[i].pos + span[i].n > INT32_MAX)
            return loci_fail(err, LOCI_EINVAL,
                             "token %lld of a document: positions on a GPU end at 2^31",
                             (long long)(span[i].pos + span[i].n));
    }
    if (rows <= x->max_rows && chunks <= x->max_chunks) return LOCI_OK;
    return loci_fail(err, LOCI_EINVAL, "a batch of %lld rows, %lld chunks: room for %d, %d",
                     (long long)rows, (long long)chunks, x->max_rows, x->max_chunks);
}

static void lay_span(loci_gpu_ingest *x, const loci_gpu_span *s, int row0, int chunk0)
{
    const int rows = s->left + s->n, W = x->p.w->hp.window;
    index_arrays *h = &x->on_host;
    memcpy(h->ids + row0, s->ids - s->left, (size_t)rows * sizeof *h->ids);
    for (int i = 0; i < rows; i++) {
        h->pos[row0 + i] = (int32_t)(s->pos - s->left + i);
        h->win_lo[row0 + i] = row0 + (i - W + 1 > 0 ? i - W + 1 : 0);
        h->win_hi[row0 + i] = row0 + i + 1;
    }
    for (int j = 0; j < s->n; j += CHUNK) {
        const int c = chunk0 + j / CHUNK, n = s->n - j < CHUNK ? s->n - j : CHUNK;
        x->n_tokens[c] = n;
        for (int i = 0; i < CHUNK; i++)
            h->token_row[c * CHUNK + i] = i < n ? row0 + s->left + j + i : -1;
    }
}

/* Rows and chunks of no document. */
static void lay_padding(loci_gpu_ingest *x, int row, int rows, int chunk, int chunks)
{
    index_arrays *h = &x->on_host;
    for (; row < rows; row++) h->ids[row] = h->pos[row] = h->win_lo[row] = h->win_hi[row] = 0;
    for (; chunk < chunks; chunk++) {
        x->n_tokens[chunk] = 0;
        for (int i = 0; i < CHUNK; i++) h->token_row[chunk * CHUNK + i] = -1;
    }
}

static void forward(loci_gpu_ingest *x)
{
    loci_gpu_pass *p = &x->p;
    const loci_hparams *hp = &p->w->hp;
    loci_gpu_embed(p->g, p->h, p->inv0, p->w->at.embed.data, p->b.ids, p->b.n, hp->d_model,
                   hp->norm_eps);
    for (int l = 0; l < hp->n_lower; l++)
        loci_gpu_layer_forward(p, &p->w->at.lower[l], &p->layer[0]);
    loci_gpu_encoder_forward(p);
    if (hp->d_summary)
        loci_gpu_linear(p, x->summary, hp->d_summary, p->enc.cls, 2 * hp->enc_dim,
                        &p->w->at.enc.summary, p->b.n_chunks, 0.0f, true);
}

loci_status loci_gpu_ingest_start(loci_gpu_ingest *x, const loci_gpu_span *span, int n,
                                  loci_error *err)
{
    int row = 0, chunk = 0;
    const loci_status st = check(x, span, n, err);
    if (st != LOCI_OK) return st;
    for (int i = 0; i < n; i++) {
        lay_span(x, &span[i], row, chunk);
        row += span[i].left + span[i].n;
        chunk += (span[i].n + CHUNK - 1) / CHUNK;
    }
    x->chunks = chunk;
    x->p.b.n = padded(row, ROWS_STEP);
    x->p.b.n_chunks = padded(chunk, CHUNKS_STEP);
    lay_padding(x, row, x->p.b.n, chunk, x->p.b.n_chunks);
    loci_gpu_encoder_ranges(x->on_host.enc_lo, x->on_host.enc_hi, x->n_tokens, x->p.b.n_chunks);
    x->p.b.ids = x->on_device.ids;
    x->p.b.pos = x->on_device.pos;
    x->p.b.win_lo = x->on_device.win_lo;
    x->p.b.win_hi = x->on_device.win_hi;
    x->p.b.token_row = x->on_device.token_row;
    x->p.b.enc_lo = x->on_device.enc_lo;
    x->p.b.enc_hi = x->on_device.enc_hi;
    loci_gpu_upload(x->p.g, x->memory, x->host, x->index_bytes);
    forward(x);
    return LOCI_OK;
}

loci_status loci_gpu_ingest_finish(loci_gpu_ingest *x, loci_gpu_records *out, loci_error *err)
{
    const size_t C = (size_t)x->chunks, ds = (size_t)x->p.w->hp.d_summary;
    loci_gpu_download(x->p.g, x->content, x->p.whole, C * RECORD * sizeof *x->content);
    loci_gpu_download(x->p.g, x->landmark, x->p.landmark, C * 256 * sizeof *x->landmark);
    loci_gpu_download(x->p.g, x->bias, x->p.bias, C * sizeof *x->bias);
    if (ds) loci_gpu_download(x->p.g, x->host_summary, x->summary, C * ds * sizeof(float));
    *out = (loci_gpu_records){ x->content, x->landmark, x->bias, ds ? x->host_summary : NULL };
    return loci_gpu_status(x->p.g, err);
}
