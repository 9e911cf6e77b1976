/* gpu_stream.c - one token stream on the device: prefill and decode through the same rows.
 *
 * As stream.c, with these differences: queries, keys and values of a layer lie in its ring side by
 * side, as the product writes them; the lower and the upper stack go together; a call of more than one
 * token is padded to whole tiles with rows that see nothing and whose keys the next call overwrites.
 * h_lo waits in `open` until 64 rows make an own chunk, which the encoder writes straight behind the
 * chunks of the bank. */
#include "base/base.h"
#include "model/gpu/gpu_serve_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64, PLACE = 66, PAD = 64, RECORD = CHUNK * 128, HEAD_ROWS = 256 };

typedef struct { /* of a call: one block on the host, the same on the device; (max_batch) each */
    int32_t *ids, *pos, *win_lo, *win_hi, *target;
} row_arrays;

struct loci_gpu_stream {
    loci_gpu_pass p;
    int max_batch, cap; /* rows of a ring */
    int fill;           /* rows in the rings */
    int64_t pos;
    int n_open; /* rows of h_lo whose chunk is not closed */
    void *memory, *host;
    row_arrays on_device, on_host;
    size_t rows_bytes;
    loci_bf16 *ring[2 * LOCI_MAX_LAYERS]; /* (cap, (H + 2G)*64): lower layers, then upper */
    float *open;                          /* (64 + max_batch, D) */
    float *summary;                       /* (chunks of a call, d_summary) */
    loci_gpu_layout chunks;               /* of the encoder: token_row, enc_lo, enc_hi */
    float *logits, *head_inv;             /* (HEAD_ROWS, vocab) (HEAD_ROWS): as many at a time */
    loci_bf16 *head_xn;                   /* (HEAD_ROWS, D) */
    float *loss;                          /* (max_batch) */
    loci_gpu_consult consult;
};

static int most_chunks(const loci_gpu_stream *s)
{
    return s->max_batch / CHUNK + 1;
}

static void rows_plan(row_arrays *x, loci_arena *a, size_t n)
{
    x->ids = loci_arena_take(a, n, 4);
    x->pos = loci_arena_take(a, n, 4);
    x->win_lo = loci_arena_take(a, n, 4);
    x->win_hi = loci_arena_take(a, n, 4);
    x->target = loci_arena_take(a, n, 4);
}

static void device_plan(loci_gpu_stream *s, loci_arena *a)
{
    const loci_hparams *hp = &s->p.w->hp;
    const size_t N = (size_t)s->max_batch, D = (size_t)hp->d_model, C = (size_t)most_chunks(s),
                 ld = (size_t)(hp->n_heads + 2 * hp->n_kv_heads) * 64;
    rows_plan(&s->on_device, a, N);
    s->rows_bytes = a->used;
    loci_gpu_forward_plan(&s->p, a, s->max_batch + CHUNK, most_chunks(s));
    for (int l = 0; l < hp->n_lower + hp->n_upper; l++)
        s->ring[l] = loci_arena_take(a, (size_t)s->cap * ld, 2);
    s->logits = loci_arena_take(a, HEAD_ROWS * (size_t)hp->vocab, 4);
    s->head_inv = loci_arena_take(a, HEAD_ROWS, 4);
    s->head_xn = loci_arena_take(a, HEAD_ROWS * D, 2);
    s->loss = loci_arena_take(a, N, 4);
    if (hp->n_groups == 0) return;
    s->open = loci_arena_take(a, (N + CHUNK) * D, 4);
    s->summary = loci_arena_take(a, C * (size_t)hp->d_summary, 4);
    s->chunks.token_row = loci_arena_take(a, C * CHUNK, 4);
    s->chunks.enc_lo = loci_arena_take(a, C * PLACE, 4);
    s->chunks.enc_hi = loci_arena_take(a, C * PLACE, 4);
    loci_gpu_consult_plan(&s->consult, a, hp, s->max_batch);
}

/* The encoder's index never changes: rows in order, chunks of 64. */
static loci_status chunks_begin(loci_gpu_stream *s, loci_error *err)
{
    const int C = most_chunks(s);
    int32_t *x = malloc((size_t)C * (CHUNK + 2 * PLACE) * sizeof *x);
    if (!x) return loci_fail(err, LOCI_ENOMEM, "no memory for a stream on a GPU");
    int32_t *lo = x + C * CHUNK, *hi = lo + C * PLACE;
    for (int i = 0; i < C * CHUNK; i++) x[i] = i;
    loci_gpu_encoder_ranges(lo, hi, NULL, C);
    loci_gpu_upload(s->p.g, s->chunks.token_row, x, (size_t)(C * CHUNK) * sizeof *x);
    loci_gpu_upload(s->p.g, s->chunks.enc_lo, lo, (size_t)(C * PLACE) * sizeof *x);
    loci_gpu_upload(s->p.g, s->chunks.enc_hi, hi, (size_t)(C * PLACE) * sizeof *x);
    const loci_status st = loci_gpu_status(s->p.g, err);
    free(x);
    return st;
}

static loci_status reserve(loci_gpu_stream *s, loci_error *err)
{
    loci_arena a = { 0 };
    device_plan(s, &a);
    const size_t bytes = a.used;
    loci_status st = loci_gpu_reserve(s->p.g, &s->memory, bytes, "a stream", err);
    if (st != LOCI_OK) return st;
    a = (loci_arena){ s->memory, bytes, 0 };
    device_plan(s, &a);
    s->host = loci_gpu_host_alloc(s->p.g, s->rows_bytes);
    if (!s->host) return loci_gpu_status(s->p.g, err);
    a = (loci_arena){ s->host, s->rows_bytes, 0 };
    rows_plan(&s->on_host, &a, (size_t)s->max_batch);
    st = loci_gpu_forward_begin(&s->p, err);
    if (st != LOCI_OK || s->p.w->hp.n_groups == 0) return st;
    st = chunks_begin(s, err);
    return st == LOCI_OK ? loci_gpu_consult_begin(&s->consult, &s->p, s->max_batch, err) : st;
}

loci_status loci_gpu_stream_open(loci_gpu_stream **out, loci_gpu *g, loci_gpu_weights *w,
                                 int max_batch, loci_error *err)
{
    *out = NULL;
    assert(max_batch >= PAD && max_batch <= LOCI_GPU_STREAM_BATCH && max_batch % PAD == 0);
    loci_gpu_stream *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a stream on a GPU");
    s->p.g = g;
    s->p.w = w;
    s->max_batch = max_batch;
    /* Rows move to the front when the room is used up; twice the window keeps the two apart. */
    s->cap = 2 * (w->hp.window - 1) + 2 * max_batch;
    const loci_status st = reserve(s, err);
    if (st != LOCI_OK) {
        loci_gpu_stream_close(s);
        return st;
    }
    s->p.b.ids = s->on_device.ids;
    s->p.b.pos = s->on_device.pos;
    s->p.b.win_lo = s->on_device.win_lo;
    s->p.b.win_hi = s->on_device.win_hi;
    *out = s;
    return LOCI_OK;
}

void loci_gpu_stream_close(loci_gpu_stream *s)
{
    if (!s) return;
    loci_gpu_consult_end(&s->consult, s->p.g);
    loci_gpu_free(s->p.g, s->memory);
    loci_gpu_host_free(s->p.g, s->host);
    free(s);
}

void loci_gpu_stream_reset(loci_gpu_stream *s)
{
    s->pos = 0;
    s->fill = s->n_open = 0;
}

int64_t loci_gpu_stream_pos(const loci_gpu_stream *s)
{
    return s->pos;
}

/* ---- a call --------------------------------------------------------------------------------------------- */

static size_t ring_ld(const loci_gpu_stream *s)
{
    return (size_t)(s->p.w->hp.n_heads + 2 * s->p.w->hp.n_kv_heads) * 64;
}

/* Make room for m rows behind those kept. */
static void rings_shift(loci_gpu_stream *s, int m)
{
    const loci_hparams *hp = &s->p.w->hp;
    const int keep = s->fill < hp->window - 1 ? s->fill : hp->window - 1, from = s->fill - keep;
    if (s->fill + m <= s->cap) return;
    assert(from >= keep); /* the copy does not overlap */
    for (int l = 0; l < hp->n_lower + hp->n_upper; l++)
        loci_gpu_copy(s->p.g, s->ring[l], s->ring[l] + (size_t)from * ring_ld(s),
                      (size_t)keep * ring_ld(s) * sizeof *s->ring[l]);
    s->fill = keep;
}

/* n rows, then padding up to m. */
static void lay_rows(loci_gpu_stream *s, const int32_t *ids, int n, int m)
{
    const int W = s->p.w->hp.window;
    row_arrays *h = &s->on_host;
    for (int i = 0; i < m; i++) {
        const int at = s->fill + i, lo = at - W + 1;
        h->ids[i] = i < n ? ids[i] : 0;
        h->pos[i] = (int32_t)(s->pos + (i < n ? i : 0));
        h->win_lo[i] = i < n && lo > 0 ? lo : 0;
        h->win_hi[i] = i < n ? at + 1 : 0;
    }
    s->p.b.n = m;
    loci_gpu_upload(s->p.g, s->memory, s->host, s->rows_bytes);
}

static void layer(loci_gpu_stream *s, const loci_layer_params *w, int l)
{
    loci_gpu_layer_tape t = s->p.layer[0];
    t.qkv = s->ring[l] + (size_t)s->fill * ring_ld(s);
    t.past = s->fill;
    loci_gpu_layer_forward(&s->p, w, &t);
}

/* Rows of h_lo behind those that wait; whole chunks become records of the bank. */
static void close_chunks(loci_gpu_stream *s, const loci_gpu_reader *r, int n)
{
    loci_gpu_bank *b = r->bank;
    const int ds = s->p.w->hp.d_summary;
    const size_t D = (size_t)s->p.w->hp.d_model;
    const int rows = s->n_open + n, closed = rows / CHUNK, rest = rows % CHUNK;
    loci_gpu_copy(s->p.g, s->open + (size_t)s->n_open * D, s->p.h, (size_t)n * D * sizeof(float));
    s->n_open = rest;
    if (closed == 0) return;
    const size_t at = (size_t)b->n + (size_t)b->n_own;
    loci_gpu_pass e = s->p;
    e.h = s->open;
    e.b = s->chunks;
    e.b.n = closed * CHUNK;
    e.b.n_chunks = closed;
    e.landmark = b->landmark + at * 256;
    e.bias = b->bias + at;
    e.whole = b->content + ((size_t)b->slots + (size_t)b->n_own) * RECORD;
    loci_gpu_encoder_forward(&e);
    if (ds) {
        const int cls = 2 * s->p.w->hp.enc_dim;
        loci_gpu_linear(&e, s->summary, ds, e.enc.cls, cls, &s->p.w->at.enc.summary, closed, 0.0f,
                        true);
        loci_gpu_bank_close_summaries(b, r->m, s->summary, closed);
    }
    loci_gpu_copy(s->p.g, s->open, s->open + (size_t)(closed * CHUNK) * D,
                  (size_t)rest * D * sizeof(float));
    b->n_own += closed;
}

static loci_status upper(loci_gpu_stream *s, const loci_gpu_reader *r, int n, loci_reads *reads,
                         loci_error *err)
{
    const loci_hparams *hp = &s->p.w->hp;
    for (int l = 0; l < hp->n_upper; l++) {
        const int g = loci_group_at(hp, l);
        if (g >= 0) {
            const loci_status st =
                loci_gpu_consult_forward(&s->p, g, &s->consult, s->pos, n, r, reads, err);
            if (st != LOCI_OK) return st;
        }
        layer(s, &s->p.w->at.upper[l], hp->n_lower + l);
    }
    return LOCI_OK;
}

/* s->logits of rows [at, at + n) of the call; n up to HEAD_ROWS. */
static void head(loci_gpu_stream *s, int at, int n)
{
    const loci_hparams *hp = &s->p.w->hp;
    const int D = hp->d_model;
    const loci_mat *w = hp->tied ? &s->p.w->at.embed : &s->p.w->at.head;
    loci_gpu_rmsnorm(s->p.g, s->head_xn, D, s->head_inv, s->p.h + (size_t)at * (size_t)D, D, n, D,
                     hp->norm_eps);
    loci_gpu_linear(&s->p, s->logits, hp->vocab, s->head_xn, D, w, n, 0.0f, true);
}

static void give_logits(loci_gpu_stream *s, int n, float *logits, int n_logits)
{
    const size_t V = (size_t)s->p.w->hp.vocab;
    for (int at = n - n_logits, part; at < n; at += part, logits += (size_t)part * V) {
        part = n - at < HEAD_ROWS ? n - at : HEAD_ROWS;
        head(s, at, part);
        loci_gpu_download(s->p.g, logits, s->logits, (size_t)part * V * sizeof *logits);
    }
}

loci_status loci_gpu_stream_losses(loci_gpu_stream *s, const int32_t *target, int n, float *loss,
                                   loci_error *err)
{
    assert(n >= 1 && n <= s->max_batch);
    loci_gpu_upload(s->p.g, s->on_device.target, target, (size_t)n * sizeof *target);
    for (int at = 0, part; at < n; at += part) {
        part = n - at < HEAD_ROWS ? n - at : HEAD_ROWS;
        head(s, at, part);
        loci_gpu_cross_entropy(s->p.g, s->loss + at, NULL, NULL, s->logits,
                               s->on_device.target + at, NULL, 0.0f, part, s->p.w->hp.vocab);
    }
    loci_gpu_download(s->p.g, loss, s->loss, (size_t)n * sizeof *loss);
    return loci_gpu_status(s->p.g, err);
}

loci_status loci_gpu_stream_extend(loci_gpu_stream *s, const loci_gpu_reader *r, const int32_t *ids,
                                   int n, float *logits, int n_logits, loci_reads *reads,
                                   loci_error *err)
{
    const loci_hparams *hp = &s->p.w->hp;
    const int m = n == 1 ? 1 : (n + PAD - 1) / PAD * PAD;
    const bool bank = hp->n_groups > 0;
    assert(n >= 1 && n <= s->max_batch && n_logits >= 0 && n_logits <= n);
    assert(!bank || r->bank->n == 0 || n <= LOCI_GPU_SLOTS_KEPT / LOCI_GPU_PICKS);
    if (bank && (s->n_open + n) / CHUNK > r->bank->max_own - r->bank->n_own)
        return loci_fail(err, LOCI_ENOMEM, "the stream's own memory holds %d tokens: all are used",
                         r->bank->max_own * CHUNK);
    if (s->pos + n > INT32_MAX)
        return loci_fail(err, LOCI_EINVAL, "token %lld: positions on a GPU end at 2^31",
                         (long long)(s->pos + n));
    rings_shift(s, m);
    lay_rows(s, ids, n, m);
    loci_gpu_embed(s->p.g, s->p.h, s->p.inv0, s->p.w->at.embed.data, s->p.b.ids, m, hp->d_model,
                   hp->norm_eps);
    for (int l = 0; l < hp->n_lower; l++) layer(s, &s->p.w->at.lower[l], l);
    if (bank) close_chunks(s, r, n);
    const loci_status st = upper(s, r, n, reads, err);
    if (st != LOCI_OK) return st;
    s->fill += n;
    s->pos += n;
    give_logits(s, n, logits, n_logits);
    return loci_gpu_status(s->p.g, err);
}
