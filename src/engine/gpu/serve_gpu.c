/* serve_gpu.c - an engine's share of a GPU: its weights, the banks that were asked last, one stream.
 *
 * Questions over the same banks find their landmarks and the content read before still on the device;
 * of banks that changed, those before the first that did; other banks take their place.  The buffers of ingest, which cost more to make than a document takes to
 * go through, wait for the next one, unless their memory is wanted.  Two locks: `device` is held for a call, because a GPU handle serves
 * one thread at a time; `asking` from the opening of a decoder with banks to its end, because its own
 * chunks lie behind those of the banks. */
#include "engine/bank_impl.h"
#include "engine/gpu_engine.h"
#include "kernel/number.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    OWN_CHUNKS = (LOCI_QUESTION_TOKENS_MAX + 8192) / 64, /* of a question and its answer */
    ALONE_BATCH = 2048,   /* tokens a call of a stream without banks: 75 KiB each with M's shape */
    CHUNK_LANDMARKS = 256 /* numbers of a chunk's two */
};

struct loci_gpu_engine {
    const loci_model *m;
    loci_gpu *g;
    loci_gpu_weights w;
    pthread_mutex_t device, asking;
    loci_gpu_ingest *idle; /* under `device`: buffers of the last ingest, for the next; NULL */
    int idle_rows, idle_chunks;
    /* under `asking` */
    loci_gpu_stream *stream;
    loci_gpu_bank *bank;  /* NULL: none is known */
    const loci_bank **of; /* (n_of) the banks that it begins with, still as they were */
    int64_t *end;         /* (n_of) chunks up to the end of each */
    int n_of;
};

struct loci_gpu_decoder {
    loci_gpu_engine *x;
    const loci_model *m;
    loci_searcher *searcher; /* NULL: own chunks alone, and stream and bank are the decoder's */
    loci_memory memory;      /* of the searcher: where content comes from */
    loci_gpu_stream *stream;
    loci_gpu_bank *bank;
    int top_k, batch;
};

struct loci_gpu_spans {
    loci_gpu_engine *x;
    loci_gpu_ingest *in;
    int max_rows, max_chunks;
};

/* ---- the engine --------------------------------------------------------------------------------- */

static void enter(loci_gpu_engine *x)
{
    pthread_mutex_lock(&x->device);
    loci_gpu_use(x->g);
}

static void leave(loci_gpu_engine *x)
{
    pthread_mutex_unlock(&x->device);
}

static loci_status upload_weights(loci_gpu_engine *x, loci_error *err)
{
    float *base = loci_alloc_aligned(x->w.n * sizeof *base);
    if (!base) return loci_fail(err, LOCI_ENOMEM, "no memory for %zu parameters", x->w.n);
    loci_status st = loci_model_widen(x->m, base, err);
    if (st == LOCI_OK) {
        loci_gpu_weights_upload(&x->w, x->g, base);
        st = loci_gpu_status(x->g, err);
    }
    loci_free_aligned(base);
    return st;
}

loci_status loci_gpu_engine_open(loci_gpu_engine **out, const loci_model *m, int device,
                                 loci_error *err)
{
    *out = NULL;
    loci_gpu_engine *x = calloc(1, sizeof *x);
    if (!x) return loci_fail(err, LOCI_ENOMEM, "no memory for a GPU engine");
    x->m = m;
    pthread_mutex_init(&x->device, NULL);
    pthread_mutex_init(&x->asking, NULL);
    loci_status st = loci_gpu_serves(&m->hp, err);
    if (st == LOCI_OK) st = loci_gpu_open(&x->g, device, err);
    if (st == LOCI_OK) st = loci_gpu_weights_init(&x->w, x->g, &m->hp, false, err);
    if (st == LOCI_OK) st = upload_weights(x, err);
    if (st != LOCI_OK) {
        loci_gpu_engine_close(x);
        return st;
    }
    *out = x;
    return LOCI_OK;
}

/* Give back what nobody is using; false: there was nothing, asking again is no use. */
static bool make_room(loci_gpu_engine *x)
{
    const bool had = x->idle != NULL;
    loci_gpu_ingest_close(x->idle);
    x->idle = NULL;
    return had;
}

static loci_status open_bank(loci_gpu_engine *x, loci_gpu_bank **out, int64_t n, int max_own,
                             loci_error *err)
{
    loci_status st;
    do st = loci_gpu_bank_open(out, x->g, n, max_own, x->w.hp.d_summary, err);
    while (st == LOCI_ENOMEM && make_room(x));
    return st;
}

static loci_status open_stream(loci_gpu_engine *x, loci_gpu_stream **out, int batch,
                               loci_error *err)
{
    loci_status st;
    do st = loci_gpu_stream_open(out, x->g, &x->w, batch, err);
    while (st == LOCI_ENOMEM && make_room(x));
    return st;
}

static void drop_bank(loci_gpu_engine *x)
{
    loci_gpu_bank_close(x->bank);
    free(x->of);
    free(x->end);
    x->bank = NULL;
    x->of = NULL;
    x->end = NULL;
    x->n_of = 0;
}

void loci_gpu_engine_close(loci_gpu_engine *x)
{
    if (!x) return;
    if (x->g) {
        drop_bank(x);
        loci_gpu_ingest_close(x->idle);
        loci_gpu_stream_close(x->stream);
        loci_gpu_weights_free(&x->w, x->g);
        loci_gpu_close(x->g);
    }
    pthread_mutex_destroy(&x->device);
    pthread_mutex_destroy(&x->asking);
    free(x);
}

const char *loci_gpu_engine_name(const loci_gpu_engine *x)
{
    return loci_gpu_name(x->g);
}

void loci_gpu_engine_forget(loci_gpu_engine *x, const loci_bank *b)
{
    if (!x) return;
    pthread_mutex_lock(&x->asking);
    int i = 0;
    while (i < x->n_of && x->of[i] != b) i++;
    if (i < x->n_of) {
        enter(x);
        if (i == 0)
            drop_bank(x);
        else
            (void)loci_gpu_bank_keep(x->bank, x->end[i - 1], x->end[i - 1]); /* fewer: no failure */
        x->n_of = i;
        leave(x);
    }
    pthread_mutex_unlock(&x->asking);
}

/* ---- the banks of a question ---------------------------------------------------------------------- */

typedef struct { /* runs of chunks on their way */
    loci_gpu_engine *x;
    int64_t from; /* those before are there */
    loci_bf16 landmark[LOCI_SEG_GROUP * CHUNK_LANDMARKS];
    float row[LOCI_SEG_GROUP * CHUNK_LANDMARKS];
} landmarks;

static void put(void *ctx, int64_t first, int n, const int8_t *landmark, const float *scale,
                const float *bias)
{
    landmarks *l = ctx;
    const int numbers = n * CHUNK_LANDMARKS;
    if (first < l->from) return; /* a run lies in one bank: all of it is */
    l->x->m->k.dequant_q8(l->row, 128, landmark, 128, scale, 2 * n, 128);
    for (int i = 0; i < numbers; i++) l->landmark[i] = loci_f32_to_bf16(l->row[i]);
    loci_gpu_bank_put(l->x->bank, first, n, l->landmark, bias);
    (void)loci_gpu_status(l->x->g, NULL); /* the buffer is free again; errors are remembered */
}

/* How many of the n banks, from the first on, the device has. */
static int known(const loci_gpu_engine *x, const loci_bank *const *bank, int n)
{
    int i = 0;
    while (i < n && i < x->n_of && x->of[i] == bank[i]) i++;
    return i;
}

/* A device bank for n chunks whose first x->n_of banks are there; *from: what they have. */
static loci_status make_bank(loci_gpu_engine *x, int64_t n, int64_t *from, loci_error *err)
{
    *from = x->n_of > 0 ? x->end[x->n_of - 1] : 0;
    if (*from > 0 && loci_gpu_bank_keep(x->bank, *from, n)) return LOCI_OK;
    drop_bank(x);
    *from = 0;
    return open_bank(x, &x->bank, n, OWN_CHUNKS, err);
}

/* Note which banks the device has now.  Errors: LOCI_ENOMEM. */
static loci_status note_banks(loci_gpu_engine *x, const loci_bank *const *bank, int n,
                              loci_error *err)
{
    free(x->of);
    free(x->end);
    x->n_of = 0;
    x->of = malloc((size_t)n * sizeof *x->of);
    x->end = malloc((size_t)n * sizeof *x->end);
    if (!x->of || !x->end) return loci_fail(err, LOCI_ENOMEM, "no memory for banks on the GPU");
    int64_t end = 0;
    for (int i = 0; i < n; i++) {
        x->of[i] = bank[i];
        x->end[i] = end += bank[i]->chunks;
    }
    x->n_of = n;
    return LOCI_OK;
}

static loci_status know(loci_gpu_engine *x, loci_searcher *s, loci_error *err)
{
    int n;
    const loci_bank *const *bank = loci_searcher_banks(s, &n);
    const int have = known(x, bank, n);
    if (x->bank && have == n && x->n_of == n) return LOCI_OK;
    landmarks *l = malloc(sizeof *l);
    if (!l) return loci_fail(err, LOCI_ENOMEM, "no memory for banks on the GPU");
    x->n_of = have;
    l->x = x;
    loci_status st = make_bank(x, loci_searcher_chunks(s), &l->from, err);
    if (st == LOCI_OK) st = loci_searcher_each(s, put, l, err);
    if (st == LOCI_OK) st = loci_gpu_status(x->g, err);
    if (st == LOCI_OK) st = note_banks(x, bank, n, err);
    free(l);
    if (st != LOCI_OK) drop_bank(x);
    return st;
}

/* ---- streams --------------------------------------------------------------------------------------- */

static loci_status open_with_banks(loci_gpu_decoder *r, loci_error *err)
{
    loci_gpu_engine *x = r->x;
    loci_status st = know(x, r->searcher, err);
    if (st == LOCI_OK && !x->stream) st = open_stream(x, &x->stream, LOCI_ASK_BATCH, err);
    if (st != LOCI_OK) return st;
    r->memory = loci_searcher_memory(r->searcher);
    r->stream = x->stream;
    r->bank = x->bank;
    loci_gpu_stream_reset(r->stream);
    loci_gpu_bank_reset(r->bank);
    return LOCI_OK;
}

static loci_status open_alone(loci_gpu_decoder *r, int own_chunks, loci_error *err)
{
    loci_gpu_engine *x = r->x;
    const int64_t most = (int64_t)own_chunks * 64; /* more than that no call carries */
    loci_status st = LOCI_OK;
    r->batch = most < LOCI_ASK_BATCH ? LOCI_ASK_BATCH
               : most < ALONE_BATCH  ? (int)most
                                     : ALONE_BATCH;
    if (x->w.hp.n_groups > 0) st = open_bank(x, &r->bank, 0, own_chunks, err);
    return st == LOCI_OK ? open_stream(x, &r->stream, r->batch, err) : st;
}

loci_status loci_gpu_decoder_open(loci_gpu_decoder **out, loci_gpu_engine *x, const loci_model *m,
                                  loci_searcher *s, int own_chunks, loci_error *err)
{
    *out = NULL;
    loci_gpu_decoder *r = calloc(1, sizeof *r);
    if (!r) return loci_fail(err, LOCI_ENOMEM, "no memory for a stream on a GPU");
    r->x = x;
    r->searcher = s;
    r->m = m;
    r->top_k = m->hp.top_k;
    r->batch = LOCI_ASK_BATCH;
    if (s) pthread_mutex_lock(&x->asking);
    enter(x);
    const loci_status st = s ? open_with_banks(r, err) : open_alone(r, own_chunks, err);
    leave(x);
    if (st != LOCI_OK) {
        loci_gpu_decoder_close(r);
        return st;
    }
    *out = r;
    return LOCI_OK;
}

void loci_gpu_decoder_close(loci_gpu_decoder *r)
{
    if (!r) return;
    if (r->searcher) {
        pthread_mutex_unlock(&r->x->asking);
    } else {
        enter(r->x);
        loci_gpu_stream_close(r->stream);
        loci_gpu_bank_close(r->bank);
        leave(r->x);
    }
    free(r);
}

void loci_gpu_decoder_reset(loci_gpu_decoder *r)
{
    loci_gpu_stream_reset(r->stream);
    if (r->bank) loci_gpu_bank_reset(r->bank);
}

int64_t loci_gpu_decoder_pos(const loci_gpu_decoder *r)
{
    return loci_gpu_stream_pos(r->stream);
}

int loci_gpu_decoder_batch(const loci_gpu_decoder *r)
{
    return r->batch;
}

static int content(void *ctx, int64_t chunk, const float **rows)
{
    loci_gpu_decoder *r = ctx;
    const loci_pick pick = { .id = loci_searcher_id(r->searcher, chunk), .time = chunk };
    return r->memory.content(r->memory.ctx, &pick, rows);
}

/* The device says which chunk of the union, the searcher has its own names for them. */
static void name_picks(const loci_gpu_decoder *r, int n, loci_reads *reads)
{
    const int rows = n * r->x->w.hp.n_groups;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < reads->n_picks[i]; j++) {
            loci_pick *p = &reads->pick[i * r->top_k + j];
            if (p->id >= 0) p->id = loci_searcher_id(r->searcher, p->id);
        }
}

loci_status loci_gpu_decoder_extend(loci_gpu_decoder *r, const int32_t *ids, int n, float *logits,
                                    int n_logits, loci_reads *reads, loci_error *err)
{
    const loci_gpu_reader reader = { .bank = r->bank,
                                     .content = content,
                                     .ctx = r,
                                     .top_k = r->top_k,
                                     .m = r->m,
                                     .memory = r->searcher ? &r->memory : NULL };
    enter(r->x);
    const loci_status st =
        loci_gpu_stream_extend(r->stream, &reader, ids, n, logits, n_logits, reads, err);
    leave(r->x);
    if (st == LOCI_OK && reads) name_picks(r, n, reads);
    return st;
}

loci_status loci_gpu_decoder_losses(loci_gpu_decoder *r, const int32_t *target, int n, float *loss,
                                    loci_error *err)
{
    enter(r->x);
    const loci_status st = loci_gpu_stream_losses(r->stream, target, n, loss, err);
    leave(r->x);
    return st;
}

/* ---- ingest ------------------------------------------------------------------------------------------ */

loci_status loci_gpu_spans_open(loci_gpu_spans **out, loci_gpu_engine *x, int max_rows,
                                int max_chunks, loci_error *err)
{
    *out = NULL;
    loci_gpu_spans *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for ingest on a GPU");
    s->x = x;
    s->max_rows = max_rows;
    s->max_chunks = max_chunks;
    enter(x);
    loci_status st = LOCI_OK;
    if (x->idle && x->idle_rows == max_rows && x->idle_chunks == max_chunks) {
        s->in = x->idle;
        x->idle = NULL;
    } else {
        make_room(x);
        st = loci_gpu_ingest_open(&s->in, x->g, &x->w, max_rows, max_chunks, err);
    }
    leave(x);
    if (st != LOCI_OK) {
        free(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_gpu_spans_close(loci_gpu_spans *s)
{
    if (!s) return;
    loci_gpu_engine *x = s->x;
    enter(x);
    (void)loci_gpu_status(x->g, NULL); /* a batch that nobody fetched may be under way */
    make_room(x);                      /* of two that ran at once the last one's buffers stay */
    x->idle = s->in;
    x->idle_rows = s->max_rows;
    x->idle_chunks = s->max_chunks;
    leave(x);
    free(s);
}

loci_status loci_gpu_spans_start(loci_gpu_spans *s, const loci_gpu_span *span, int n,
                                 loci_error *err)
{
    enter(s->x);
    const loci_status st = loci_gpu_ingest_start(s->in, span, n, err);
    leave(s->x);
    return st;
}

loci_status loci_gpu_spans_finish(loci_gpu_spans *s, loci_gpu_records *out, loci_error *err)
{
    enter(s->x);
    const loci_status st = loci_gpu_ingest_finish(s->in, out, err);
    leave(s->x);
    return st;
}
