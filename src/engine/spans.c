/* spans.c - the model's part of ingest.
 *
 * A document is cut into spans of LOCI_INGEST_SPAN tokens from its start; each span is run
 * through the lower stack with enough tokens before it to make the result exact, and through the
 * encoder.  Spans are independent, so they are tiles of the thread pool, also across documents:
 * a folder of small files uses all cores.  Where spans begin depends on the document alone, so
 * the bank's bytes do not depend on the number of threads. */
#include "engine/spans.h"
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

struct loci_spans {
    loci_engine *e;
    int left_max; /* context that a span needs */
    size_t cap;   /* new tokens that fit */
    int32_t *ids; /* (left_max + cap) */
    size_t n_ids;
    span *span;
    size_t n_spans, cap_spans;
    chunk_note *chunk;
    size_t n_chunks, cap_chunks;
    /* the current document */
    bool open;
    int64_t pos;       /* tokens so far */
    int64_t spanned;   /* of them in closed spans */
    size_t begin;      /* index in ids of the first token still held */
    int64_t begin_pos; /* its position in the document */
    size_t span_chunk; /* first chunk of the span that is being filled */
    /* outputs */
    float *content, *landmark,
        *bias;              /* (cap_chunks * S, dk + dv) (cap_chunks, M, 128) (cap_chunks) */
    float *summary;         /* (cap_chunks, d_summary), NULL without summaries */
    uint8_t *packed;        /* (cap_chunks * S, LOCI_PACK / 2), NULL without content_bits4 */
    uint16_t *packed_scale; /* (cap_chunks * S, LOCI_PACK / 32) */
    uint64_t *code;         /* (cap_chunks, M, 2) */
    void **worker_memory;
    loci_ingest **worker;
    int n_workers;
};

loci_status loci_spans_open(loci_spans **out, loci_engine *e, loci_error *err)
{
    *out = NULL;
    const loci_hparams *hp = &e->model->hp;
    loci_spans *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for ingest");
    s->e = e;
    s->left_max = loci_ingest_left(hp);
    s->n_workers = loci_pool_threads(e->pool);
    /* Enough spans at once to keep every thread busy; bounded whatever the input. */
    s->cap = (size_t)LOCI_INGEST_SPAN * (size_t)(s->n_workers < 4 ? 8 : 2 * s->n_workers);
    /* Documents of one chunk each are the worst case for the tables. */
    s->cap_chunks = s->cap / 8;
    s->cap_spans = s->cap_chunks;
    const size_t m = (size_t)hp->n_landmarks, d = (size_t)(hp->d_key + hp->d_value);
    s->ids = malloc(((size_t)s->left_max + s->cap) * sizeof *s->ids);
    s->span = malloc(s->cap_spans * sizeof *s->span);
    s->chunk = malloc(s->cap_chunks * sizeof *s->chunk);
    s->content = loci_alloc_aligned(s->cap_chunks * (size_t)hp->chunk * d * sizeof(float));
    s->landmark = loci_alloc_aligned(s->cap_chunks * m * (size_t)hp->d_landmark * sizeof(float));
    s->bias = loci_alloc_aligned(s->cap_chunks * sizeof(float));
    if (hp->d_summary)
        s->summary = loci_alloc_aligned(s->cap_chunks * (size_t)hp->d_summary * sizeof(float));
    if (hp->content_bits4) {
        const size_t rows = s->cap_chunks * (size_t)hp->chunk;
        s->packed = loci_alloc_aligned(rows * LOCI_PACK / 2);
        s->packed_scale = loci_alloc_aligned(rows * LOCI_PACK / 32 * sizeof *s->packed_scale);
    }
    s->code = loci_alloc_aligned(s->cap_chunks * m * 2 * sizeof(uint64_t));
    s->worker = calloc((size_t)s->n_workers, sizeof *s->worker);
    s->worker_memory = calloc((size_t)s->n_workers, sizeof *s->worker_memory);
    bool ok = s->ids && s->span && s->chunk && s->content && s->landmark && s->bias && s->code &&
              (!hp->d_summary || s->summary) &&
              (!hp->content_bits4 || (s->packed && s->packed_scale)) && s->worker &&
              s->worker_memory;
    for (int w = 0; ok && w < s->n_workers; w++) {
        s->worker_memory[w] = loci_alloc_aligned(loci_ingest_bytes(hp, LOCI_INGEST_SPAN));
        ok = s->worker_memory[w] != NULL;
        if (ok) s->worker[w] = loci_ingest_init(hp, LOCI_INGEST_SPAN, s->worker_memory[w]);
    }
    if (!ok) {
        loci_spans_close(s);
        return loci_fail(err, LOCI_ENOMEM, "no memory for ingest with %d threads",
                         loci_pool_threads(e->pool));
    }
    *out = s;
    return LOCI_OK;
}

void loci_spans_close(loci_spans *s)
{
    if (!s) return;
    for (int w = 0; s->worker_memory && w < s->n_workers; w++)
        loci_free_aligned(s->worker_memory[w]);
    free(s->worker_memory);
    free(s->worker);
    free(s->ids);
    free(s->span);
    free(s->chunk);
    loci_free_aligned(s->content);
    loci_free_aligned(s->landmark);
    loci_free_aligned(s->bias);
    loci_free_aligned(s->summary);
    loci_free_aligned(s->packed);
    loci_free_aligned(s->packed_scale);
    loci_free_aligned(s->code);
    free(s);
}

void loci_spans_drop(loci_spans *s)
{
    s->n_ids = s->n_spans = s->n_chunks = 0;
    s->open = false;
}

void loci_spans_begin(loci_spans *s)
{
    s->open = true;
    s->pos = s->spanned = s->begin_pos = 0;
    s->begin = s->n_ids;
    s->span_chunk = s->n_chunks;
    loci_spans_add(s, LOCI_TOK_BOS, 0, 1);
}

static void close_span(loci_spans *s)
{
    const int64_t n = s->pos - s->spanned;
    if (n == 0) return;
    const int64_t held = s->spanned - s->begin_pos;
    const int left = (int)(held < s->left_max ? held : s->left_max);
    s->span[s->n_spans++] = (span){ .first = s->begin + (size_t)held,
                                    .left = left,
                                    .n = (int)n,
                                    .pos = s->spanned,
                                    .chunk = s->span_chunk };
    s->spanned = s->pos;
    s->span_chunk = s->n_chunks;
}

void loci_spans_add(loci_spans *s, int32_t id, int64_t byte, int64_t line)
{
    if (s->pos % s->e->model->hp.chunk == 0)
        s->chunk[s->n_chunks++] = (chunk_note){ byte, line, s->n_ids, 0 };
    s->chunk[s->n_chunks - 1].n++;
    s->ids[s->n_ids++] = id;
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
    return s->n_ids + LOCI_INGEST_SPAN > s->cap || s->n_spans + 2 > s->cap_spans ||
           s->n_chunks + LOCI_INGEST_SPAN / 64 + 2 > s->cap_chunks;
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
    return (int64_t)s->n_chunks;
}

/* Content of a span's chunks to its stored form, rows of pads apart. */
static void pack_span(loci_spans *s, const span *x)
{
    const loci_model *m = s->e->model;
    const size_t S = (size_t)m->hp.chunk, w = (size_t)(m->hp.d_key + m->hp.d_value);
    for (size_t at = 0; at < (size_t)x->n; at += S) {
        const size_t row = x->chunk * S + at, left = (size_t)x->n - at;
        loci_pack_content(m, s->packed + row * LOCI_PACK / 2,
                          s->packed_scale + row * LOCI_PACK / 32, s->content + row * w,
                          (int)(left < S ? left : S));
    }
}

static void run_span(void *ctx, int tile, int worker)
{
    loci_spans *s = ctx;
    const loci_model *m = s->e->model;
    const loci_hparams *hp = &m->hp;
    const span *x = &s->span[tile];
    const size_t row = (size_t)hp->n_landmarks * (size_t)hp->d_landmark;
    const size_t content = (size_t)hp->chunk * (size_t)(hp->d_key + hp->d_value);
    const int chunks = (x->n + hp->chunk - 1) / hp->chunk;
    loci_ingest_span(s->worker[worker], m, s->ids + x->first - (size_t)x->left, x->pos - x->left,
                     x->left, x->n, s->content + x->chunk * content, s->landmark + x->chunk * row,
                     s->bias + x->chunk,
                     s->summary ? s->summary + x->chunk * (size_t)hp->d_summary : NULL);
    loci_codes(m, s->code + x->chunk * (size_t)hp->n_landmarks * 2, s->landmark + x->chunk * row,
               chunks * hp->n_landmarks);
    if (s->packed) pack_span(s, x);
}

/* Which tokens of a chunk begin with white space: what lies between is a word to the postings. */
static uint64_t word_starts(const loci_spans *s, const chunk_note *c)
{
    uint64_t mask = 0;
    for (int i = 0; s->e->model->hp.postings && i < c->n; i++) {
        size_t n;
        const char *bytes = loci_token_bytes(s->e->tok, s->ids[c->first + (size_t)i], &n);
        if (n > 0 && strchr(" \t\r\n", bytes[0]) && bytes[0]) mask |= UINT64_C(1) << i;
    }
    return mask;
}

/* What the open document still needs moves to the front: its unspanned tokens, the context of
 * its next span, and the notes of the chunks that are not written yet. */
static void keep_open_document(loci_spans *s, size_t chunks_done)
{
    if (!s->open) {
        s->n_ids = s->n_chunks = 0;
        return;
    }
    const int64_t held = s->spanned - s->begin_pos;
    const int64_t drop = held > s->left_max ? held - s->left_max : 0;
    const size_t from = s->begin + (size_t)drop;
    memmove(s->ids, s->ids + from, (s->n_ids - from) * sizeof *s->ids);
    s->n_ids -= from;
    s->begin = 0;
    s->begin_pos += drop;
    s->n_chunks -= chunks_done;
    memmove(s->chunk, s->chunk + chunks_done, s->n_chunks * sizeof *s->chunk);
    for (size_t c = 0; c < s->n_chunks; c++) s->chunk[c].first -= from;
    s->span_chunk = 0;
}

loci_status loci_spans_flush(loci_spans *s, loci_segment_writer *w, loci_error *err)
{
    const loci_hparams *hp = &s->e->model->hp;
    const size_t m = (size_t)hp->n_landmarks, row = m * (size_t)hp->d_landmark;
    const size_t content = (size_t)hp->chunk * (size_t)(hp->d_key + hp->d_value);
    const size_t done = s->open ? s->span_chunk : s->n_chunks;
    loci_pool_run(s->e->pool, (int)s->n_spans, run_span, s);
    for (size_t c = 0; c < done; c++) {
        const loci_chunk_record r = {
            .content = s->content + c * content,
            .landmark = s->landmark + c * row,
            .code = s->code + c * m * 2,
            .bias = s->bias[c],
            .n_tokens = s->chunk[c].n,
            .ids = s->ids + s->chunk[c].first,
            .byte_start = s->chunk[c].byte,
            .line_start = s->chunk[c].line,
            .word_starts = word_starts(s, &s->chunk[c]),
            .summary = s->summary ? s->summary + c * (size_t)hp->d_summary : NULL,
            .packed = s->packed ? s->packed + c * (size_t)hp->chunk * LOCI_PACK / 2 : NULL,
            .packed_scale =
                s->packed ? s->packed_scale + c * (size_t)hp->chunk * LOCI_PACK / 32 : NULL,
        };
        const loci_status st = loci_segment_append(w, &r, err);
        if (st != LOCI_OK) return st;
    }
    s->n_spans = 0;
    keep_open_document(s, done);
    return LOCI_OK;
}
