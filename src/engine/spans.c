/* spans.c - the model's part of ingest.
 *
 * A document is cut into spans of LOCI_INGEST_SPAN tokens from its start; each span is run
 * through the lower stack with enough tokens before it to make the result exact, and through the
 * encoder.  Spans are independent, so they are tiles of the thread pool, also across documents:
 * a folder of small files uses all cores.  Where spans begin depends on the document alone, so
 * the bank's bytes do not depend on the number of threads.
 *
 *   caller   fill 0 | fill 1           | write 0, fill 0 | write 1, fill 1 | ...
 *   pool            | compute 0        | compute 1       | compute 0       | ...
 *
 * A thread of its own (runner) drives the pool, so the caller reads, tokenises and writes beside it.
 * Those are some per cent of the work of a small model and less of a large one: one thread for them
 * keeps up with a hundred that compute.  On a GPU the runner sends a batch, spans that follow each other
 * as one, and waits for it; batches are larger there. */
#include "engine/spans.h"
#include "engine/gpu_engine.h"
#include "kernel/number.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t first; /* index in ids of the first new token */
    int left, n;  /* tokens of context before it; new tokens */
    int64_t pos;  /* of the first new token in its document */
    size_t chunk; /* index of its first chunk in the pending chunks */
} span;

typedef struct {
    int64_t byte, line;
    size_t first; /* index in ids */
    int n;
} chunk_note;

/* What is filled, computed and written together.  There are two: while one is computed, the other is
 * written and filled again. */
typedef struct {
    loci_spans *owner;
    int32_t *ids; /* (left_max + cap) */
    size_t n_ids;
    span *span;
    size_t n_spans;
    chunk_note *chunk;
    size_t n_chunks, done; /* done: those of complete spans, once it is handed over */
    /* outputs, of cap_chunks chunks */
    float *landmark, *bias; /* (.., M, 128) (..) */
    float *content;         /* (.. * S, dk + dv), NULL with content_bits4 */
    float *summary;         /* (.., d_summary), NULL without summaries */
    uint8_t *packed;        /* (.. * S, LOCI_PACK / 2), NULL without content_bits4 */
    uint16_t *packed_scale; /* (.. * S, LOCI_PACK / 32) */
    uint64_t *code;         /* (.., M, 2) */
    loci_error err;         /* of a GPU, noticed when it is written */
    loci_gpu_records got;   /* of a GPU, while it is computed */
} batch;

typedef struct { /* memory of one thread */
    void *memory;
    loci_ingest *ingest;
    float *content; /* (LOCI_INGEST_SPAN, dk + dv) of a span before it is packed */
} scratch;

struct loci_spans {
    loci_engine *e;
    int left_max; /* context that a span needs */
    size_t cap;   /* new tokens that fit a batch */
    size_t cap_spans, cap_chunks;
    batch batch[2];
    batch *fill;         /* new tokens go here */
    batch *flight;       /* handed over, not written: NULL if there is none */
    loci_runner *runner; /* NULL: the caller computes */
    /* the current document */
    bool open;
    int64_t pos;       /* tokens so far */
    int64_t spanned;   /* of them in closed spans */
    size_t begin;      /* index in fill's ids of the first token still held */
    int64_t begin_pos; /* its position in the document */
    size_t span_chunk; /* first chunk of the span that is being filled */
    scratch *worker;
    int n_workers;
    loci_gpu_spans *gpu; /* NULL: the pool computes */
    loci_gpu_span *run;  /* (cap_spans) spans as they are sent */
};

enum {
    GPU_BATCH = 131072, /* tokens: products large enough, a few hundred MiB of buffers */
    GPU_TILE = LOCI_INGEST_SPAN / 64 /* chunks a tile of the pool widens: as a scratch holds */
};

/* ---- open and close ----------------------------------------------------------------------- */

static bool batch_open(loci_spans *s, batch *b)
{
    const loci_hparams *hp = &s->e->model->hp;
    const size_t m = (size_t)hp->n_landmarks, n = s->cap_chunks, rows = n * (size_t)hp->chunk;
    b->owner = s;
    b->ids = malloc(((size_t)s->left_max + s->cap) * sizeof *b->ids);
    b->span = malloc(s->cap_spans * sizeof *b->span);
    b->chunk = malloc(n * sizeof *b->chunk);
    b->landmark = loci_alloc_aligned(n * m * (size_t)hp->d_landmark * sizeof(float));
    b->bias = loci_alloc_aligned(n * sizeof(float));
    b->code = loci_alloc_aligned(n * m * 2 * sizeof(uint64_t));
    if (hp->d_summary) b->summary = loci_alloc_aligned(n * (size_t)hp->d_summary * sizeof(float));
    if (hp->content_bits4) {
        b->packed = loci_alloc_aligned(rows * LOCI_PACK / 2);
        b->packed_scale = loci_alloc_aligned(rows * LOCI_PACK / 32 * sizeof *b->packed_scale);
    } else {
        b->content = loci_alloc_aligned(rows * (size_t)loci_content_cols(hp) * sizeof(float));
    }
    const bool content = hp->content_bits4 ? b->packed && b->packed_scale : b->content != NULL;
    return b->ids && b->span && b->chunk && b->landmark && b->bias && b->code && content &&
           (!hp->d_summary || b->summary);
}

static void batch_close(batch *b)
{
    free(b->ids);
    free(b->span);
    free(b->chunk);
    loci_free_aligned(b->landmark);
    loci_free_aligned(b->bias);
    loci_free_aligned(b->code);
    loci_free_aligned(b->summary);
    loci_free_aligned(b->packed);
    loci_free_aligned(b->packed_scale);
    loci_free_aligned(b->content);
}

static bool scratch_open(scratch *w, const loci_hparams *hp, bool gpu)
{
    const size_t content = (size_t)LOCI_INGEST_SPAN * (size_t)loci_content_cols(hp);
    w->memory = gpu ? NULL : loci_alloc_aligned(loci_ingest_bytes(hp, LOCI_INGEST_SPAN));
    if (w->memory) w->ingest = loci_ingest_init(hp, LOCI_INGEST_SPAN, w->memory);
    if (hp->content_bits4) w->content = loci_alloc_aligned(content * sizeof *w->content);
    return (w->memory || gpu) && (!hp->content_bits4 || w->content);
}

static loci_status open_gpu(loci_spans *s, loci_error *err)
{
    s->run = malloc(s->cap_spans * sizeof *s->run);
    if (!s->run) return loci_fail(err, LOCI_ENOMEM, "no memory for %zu spans", s->cap_spans);
    return loci_gpu_spans_open(&s->gpu, s->e->gpu, (int)((size_t)s->left_max + s->cap),
                               (int)s->cap_chunks, err);
}

loci_status loci_spans_open(loci_spans **out, loci_engine *e, loci_error *err)
{
    *out = NULL;
    const loci_hparams *hp = &e->model->hp;
    loci_spans *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for ingest");
    s->e = e;
    s->left_max = loci_ingest_left(hp);
    s->n_workers = loci_pool_threads(e->pool);
    /* Enough spans at once to keep every thread busy, and a second batch beside; bounded whatever the
     * input. */
    s->cap = e->gpu ? (size_t)GPU_BATCH
                    : (size_t)LOCI_INGEST_SPAN * (size_t)(s->n_workers < 4 ? 4 : 2 * s->n_workers);
    /* Room for documents of half a chunk on average; where they are shorter, the tables are full
     * before the tokens are. */
    s->cap_chunks = s->cap / 32 + LOCI_INGEST_SPAN / 64 + 2;
    s->cap_spans = s->cap_chunks;
    s->fill = &s->batch[0];
    s->worker = calloc((size_t)s->n_workers, sizeof *s->worker);
    bool ok = batch_open(s, &s->batch[0]) && batch_open(s, &s->batch[1]) && s->worker;
    for (int w = 0; ok && w < s->n_workers; w++) ok = scratch_open(&s->worker[w], hp, e->gpu);
    loci_status st = ok ? LOCI_OK
                        : loci_fail(err, LOCI_ENOMEM, "no memory for ingest with %d threads",
                                    loci_pool_threads(e->pool));
    if (st == LOCI_OK && e->gpu) st = open_gpu(s, err);
    if (st == LOCI_OK && (s->n_workers > 1 || e->gpu)) st = loci_runner_open(&s->runner, err);
    if (st != LOCI_OK) {
        loci_spans_close(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_spans_close(loci_spans *s)
{
    if (!s) return;
    loci_runner_close(s->runner); /* waits: nobody uses the batches any more */
    for (int w = 0; s->worker && w < s->n_workers; w++) {
        loci_free_aligned(s->worker[w].memory);
        loci_free_aligned(s->worker[w].content);
    }
    free(s->worker);
    loci_gpu_spans_close(s->gpu);
    free(s->run);
    batch_close(&s->batch[0]);
    batch_close(&s->batch[1]);
    free(s);
}

void loci_spans_drop(loci_spans *s)
{
    if (s->runner) loci_runner_wait(s->runner);
    s->flight = NULL;
    s->fill->n_ids = s->fill->n_spans = s->fill->n_chunks = 0;
    s->open = false;
}

/* ---- filling -------------------------------------------------------------------------------- */

void loci_spans_begin(loci_spans *s)
{
    s->open = true;
    s->pos = s->spanned = s->begin_pos = 0;
    s->begin = s->fill->n_ids;
    s->span_chunk = s->fill->n_chunks;
    loci_spans_add(s, LOCI_TOK_BOS, 0, 1);
}

static void close_span(loci_spans *s)
{
    const int64_t n = s->pos - s->spanned;
    if (n == 0) return;
    const int64_t held = s->spanned - s->begin_pos;
    const int left = (int)(held < s->left_max ? held : s->left_max);
    batch *b = s->fill;
    b->span[b->n_spans++] = (span){ .first = s->begin + (size_t)held,
                                    .left = left,
                                    .n = (int)n,
                                    .pos = s->spanned,
                                    .chunk = s->span_chunk };
    s->spanned = s->pos;
    s->span_chunk = b->n_chunks;
}

void loci_spans_add(loci_spans *s, int32_t id, int64_t byte, int64_t line)
{
    batch *b = s->fill;
    if (s->pos % s->e->model->hp.chunk == 0)
        b->chunk[b->n_chunks++] = (chunk_note){ byte, line, b->n_ids, 0 };
    b->chunk[b->n_chunks - 1].n++;
    b->ids[b->n_ids++] = id;
    s->pos++;
    if (s->pos - s->spanned == LOCI_INGEST_SPAN) close_span(s);
}

void loci_spans_end(loci_spans *s)
{
    close_span(s);
    s->open = false;
}

/* Room for one more span and for the tables of a document that begins. */
bool loci_spans_full(const loci_spans *s)
{
    const batch *b = s->fill;
    return b->n_ids + LOCI_INGEST_SPAN > (size_t)s->left_max + s->cap ||
           b->n_spans + 2 > s->cap_spans || b->n_chunks + LOCI_INGEST_SPAN / 64 + 2 > s->cap_chunks;
}

int64_t loci_spans_doc_chunks(const loci_spans *s)
{
    const int chunk = s->e->model->hp.chunk;
    return (s->pos + chunk - 1) / chunk;
}

int64_t loci_spans_doc_tokens(const loci_spans *s)
{
    return s->pos - 1;
}

int64_t loci_spans_pending(const loci_spans *s)
{
    return (int64_t)(s->fill->n_chunks + (s->flight ? s->flight->done : 0));
}

/* ---- computing ------------------------------------------------------------------------------ */

/* Content of chunk c to its stored form. */
static void pack_chunk(const batch *b, size_t c, const float *content)
{
    const loci_model *m = b->owner->e->model;
    const size_t row = c * (size_t)m->hp.chunk;
    loci_pack_content(m, b->packed + row * LOCI_PACK / 2, b->packed_scale + row * LOCI_PACK / 32,
                      content, b->chunk[c].n);
}

static void run_span(void *ctx, int tile, int worker)
{
    batch *b = ctx;
    const loci_model *m = b->owner->e->model;
    const loci_hparams *hp = &m->hp;
    const span *x = &b->span[tile];
    const scratch *w = &b->owner->worker[worker];
    const size_t row = (size_t)hp->n_landmarks * (size_t)hp->d_landmark;
    const size_t chunk = (size_t)hp->chunk * (size_t)loci_content_cols(hp);
    const int chunks = (x->n + hp->chunk - 1) / hp->chunk;
    float *content = b->packed ? w->content : b->content + x->chunk * chunk;
    loci_ingest_span(w->ingest, m, b->ids + x->first - (size_t)x->left, x->pos - x->left, x->left,
                     x->n, content, b->landmark + x->chunk * row, b->bias + x->chunk,
                     b->summary ? b->summary + x->chunk * (size_t)hp->d_summary : NULL);
    loci_codes(m, b->code + x->chunk * (size_t)hp->n_landmarks * 2, b->landmark + x->chunk * row,
               chunks * hp->n_landmarks);
    for (int c = 0; b->packed && c < chunks; c++)
        pack_chunk(b, x->chunk + (size_t)c, content + (size_t)c * chunk);
}

/* Some chunks that a GPU computed, as the CPU would leave them: bf16 to f32, codes, packed content. */
static void widen_tile(void *ctx, int tile, int worker)
{
    batch *b = ctx;
    const loci_hparams *hp = &b->owner->e->model->hp;
    const size_t m = (size_t)hp->n_landmarks, row = m * (size_t)hp->d_landmark,
                 content = (size_t)hp->chunk * (size_t)loci_content_cols(hp);
    const size_t first = (size_t)tile * GPU_TILE,
                 end = first + GPU_TILE < b->done ? first + GPU_TILE : b->done;
    for (size_t c = first; c < end; c++) {
        float *to = b->packed ? b->owner->worker[worker].content : b->content + c * content;
        const loci_bf16 *from = b->got.content + c * content;
        for (size_t i = 0; i < content; i++) to[i] = loci_bf16_to_f32(from[i]);
        if (b->packed) pack_chunk(b, c, to);
    }
    for (size_t i = first * row; i < end * row; i++)
        b->landmark[i] = loci_bf16_to_f32(b->got.landmark[i]);
    loci_codes(b->owner->e->model, b->code + first * m * 2, b->landmark + first * row,
               (int)((end - first) * m));
}

static loci_status compute_gpu(batch *b, loci_error *err)
{
    const loci_spans *s = b->owner;
    const size_t ds = (size_t)s->e->model->hp.d_summary;
    int n = 0;
    for (size_t i = 0; i < b->n_spans; i++) {
        const span *x = &b->span[i];
        loci_gpu_span *last = n > 0 ? &s->run[n - 1] : NULL;
        if (last && x->pos > 0 && last->ids + last->n == b->ids + x->first)
            last->n += x->n;
        else
            s->run[n++] = (loci_gpu_span){ b->ids + x->first, x->pos, x->left, x->n };
    }
    loci_status st = loci_gpu_spans_start(s->gpu, s->run, n, err);
    if (st == LOCI_OK) st = loci_gpu_spans_finish(s->gpu, &b->got, err);
    if (st != LOCI_OK) return st;
    memcpy(b->bias, b->got.bias, b->done * sizeof *b->bias);
    if (ds) memcpy(b->summary, b->got.summary, b->done * ds * sizeof *b->summary);
    loci_pool_run(s->e->pool, (int)((b->done + GPU_TILE - 1) / GPU_TILE), widen_tile, b);
    return LOCI_OK;
}

static void compute(void *ctx)
{
    batch *b = ctx;
    b->err = (loci_error){ 0 };
    if (b->n_spans == 0) return;
    if (b->owner->gpu)
        (void)compute_gpu(b, &b->err);
    else
        loci_pool_run(b->owner->e->pool, (int)b->n_spans, run_span, b);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Which tokens of a chunk begin with white space: what lies between is a word to the postings. */
static uint64_t word_starts(const batch *b, const chunk_note *c)
{
    uint64_t mask = 0;
    const loci_engine *e = b->owner->e;
    for (int i = 0; e->model->hp.postings && i < c->n; i++) {
        size_t n;
        const char *bytes = loci_token_bytes(e->tok, b->ids[c->first + (size_t)i], &n);
        if (n > 0 && strchr(" \t\r\n", bytes[0]) && bytes[0]) mask |= UINT64_C(1) << i;
    }
    return mask;
}

static loci_status write_batch(const batch *b, loci_segment_writer *w, loci_error *err)
{
    const loci_hparams *hp = &b->owner->e->model->hp;
    const size_t m = (size_t)hp->n_landmarks, S = (size_t)hp->chunk;
    const size_t wide = (size_t)loci_content_cols(hp);
    if (b->err.code != LOCI_OK) return loci_fail(err, b->err.code, "%s", b->err.text);
    for (size_t c = 0; c < b->done; c++) {
        const loci_chunk_record r = {
            .content = b->content ? b->content + c * S * wide : NULL,
            .landmark = b->landmark + c * m * (size_t)hp->d_landmark,
            .code = b->code + c * m * 2,
            .bias = b->bias[c],
            .n_tokens = b->chunk[c].n,
            .ids = b->ids + b->chunk[c].first,
            .byte_start = b->chunk[c].byte,
            .line_start = b->chunk[c].line,
            .word_starts = word_starts(b, &b->chunk[c]),
            .summary = b->summary ? b->summary + c * (size_t)hp->d_summary : NULL,
            .packed = b->packed ? b->packed + c * S * LOCI_PACK / 2 : NULL,
            .packed_scale = b->packed ? b->packed_scale + c * S * LOCI_PACK / 32 : NULL,
        };
        const loci_status st = loci_segment_append(w, &r, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

/* What the open document still needs goes on in `to`: its unspanned tokens, the context of its next
 * span, and the notes of the chunks that are not handed over. */
static void carry_open_document(loci_spans *s, const batch *from, batch *to)
{
    to->n_ids = to->n_spans = to->n_chunks = 0;
    if (!s->open) return;
    const int64_t held = s->spanned - s->begin_pos;
    const int64_t drop = held > s->left_max ? held - s->left_max : 0;
    const size_t first = s->begin + (size_t)drop;
    to->n_ids = from->n_ids - first;
    memcpy(to->ids, from->ids + first, to->n_ids * sizeof *to->ids);
    to->n_chunks = from->n_chunks - from->done;
    memcpy(to->chunk, from->chunk + from->done, to->n_chunks * sizeof *to->chunk);
    for (size_t c = 0; c < to->n_chunks; c++) to->chunk[c].first -= first;
    s->begin = 0;
    s->begin_pos += drop;
    s->span_chunk = 0;
}

loci_status loci_spans_flush(loci_spans *s, loci_segment_writer *w, loci_error *err)
{
    batch *const now = s->fill, *const before = s->flight;
    batch *const next = now == &s->batch[0] ? &s->batch[1] : &s->batch[0];
    now->done = s->open ? s->span_chunk : now->n_chunks;
    if (s->runner) {
        loci_runner_wait(s->runner);
        loci_runner_start(s->runner, compute, now);
    } else {
        compute(now);
    }
    const loci_status st = before ? write_batch(before, w, err) : LOCI_OK;
    s->flight = now;
    s->fill = next;
    carry_open_document(s, now, next);
    return st;
}

loci_status loci_spans_finish(loci_spans *s, loci_segment_writer *w, loci_error *err)
{
    loci_status st = loci_spans_flush(s, w, err);
    if (s->runner) loci_runner_wait(s->runner);
    if (st == LOCI_OK) st = write_batch(s->flight, w, err);
    s->flight = NULL;
    return st;
}
