/* phase_ingest.c - reading text into a bank that is already deep, and its parts one by one.
 *
 * The whole is loci_bank_ingest over files, all threads, disk included.  The parts are run alone on
 * one thread with the same functions; `floor` is what all threads could do, so a part that is spread
 * over n threads counts an n-th of its time. */
#include "engine/phase_impl.h"
#include "loci/task.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 32768, FILE_BYTES = 1 << 16, SPANS = 3 };

/* ---- files --------------------------------------------------------------------------------------- */

/* Files of generated text with about `tokens` tokens, others in every round; dir receives their
 * folder. */
static loci_status write_text(const loci_bench_model *b, int64_t tokens, int round, char *dir,
                              size_t dir_size, loci_error *err)
{
    char path[4096], name[32], *page = malloc(FILE_BYTES);
    loci_encoder *enc = NULL;
    int32_t *ids = malloc(FILE_BYTES * sizeof *ids);
    snprintf(name, sizeof name, "text-%03d", round);
    loci_status st = page && ids ? loci_path_join(dir, dir_size, b->work_dir, name, err)
                                 : loci_fail(err, LOCI_ENOMEM, "no memory for text");
    if (st == LOCI_OK) st = loci_mkdirs(NULL, dir, err);
    if (st == LOCI_OK) st = loci_encoder_open(&enc, b->engine->tok, err);
    int64_t have = 0;
    for (int i = 0; st == LOCI_OK && have < tokens; i++) {
        const uint64_t seed = loci_rng_mix(b->opt.seed, ((uint64_t)round + 1) << 20 | (uint64_t)i);
        size_t n = loci_task_filler(seed, FILE_BYTES, page, FILE_BYTES), n_tok = 0;
        st = loci_encode(enc, page, n, ids, NULL, FILE_BYTES, &n_tok, err);
        if ((int64_t)n_tok > tokens - have) /* the last file: in proportion */
            n = (size_t)((double)n * (double)(tokens - have) / (double)n_tok) + 1;
        have += (int64_t)n_tok;
        snprintf(name, sizeof name, "%03d-%06d.txt", round, i);
        if (st == LOCI_OK) st = loci_path_join(path, sizeof path, dir, name, err);
        if (st == LOCI_OK) st = loci_file_replace(NULL, path, page, n, err);
    }
    loci_encoder_close(enc);
    free(ids);
    free(page);
    return st;
}

static loci_status ingest_once(loci_bench_model *b, int64_t tokens, int round,
                               loci_ingest_report *report, loci_error *err)
{
    char text[4096] = "", dir[4096];
    loci_bank *bank = NULL;
    loci_ingest_options opt = loci_ingest_options_default();
    opt.progress = b->opt.progress;
    opt.progress_ctx = b->opt.progress_ctx;
    loci_status st = write_text(b, tokens, round, text, sizeof text, err);
    if (st == LOCI_OK) st = loci_phase_bank_dir(b, 0, dir, sizeof dir, err);
    if (st == LOCI_OK) st = loci_bank_open(&bank, b->engine, dir, LOCI_BANK_WRITE, err);
    if (st == LOCI_OK) st = loci_bank_ingest(bank, &(const char *){ text }, 1, &opt, report, err);
    loci_bank_close(bank);
    if (*text) loci_phase_remove(text);
    return st;
}

/* ---- parts --------------------------------------------------------------------------------------- */

enum { TOKENISE, LOWER, ENCODE, PACK, WRITE, PARTS };

typedef struct { /* what one span leaves */
    float *content, *landmark, *bias, *summary;
    uint64_t *code;
    uint8_t *packed;
    uint16_t *packed_scale;
    void *worker_memory, *tape_memory;
    loci_ingest *worker;
    loci_encoder_tape *tape;
    float *h; /* (span, D) rows for the encoder alone: numbers are no matter */
    char *page;
} bench_span;

static void span_close(bench_span *s)
{
    loci_free_aligned(s->content);
    loci_free_aligned(s->landmark);
    loci_free_aligned(s->bias);
    loci_free_aligned(s->summary);
    loci_free_aligned(s->code);
    loci_free_aligned(s->packed);
    loci_free_aligned(s->packed_scale);
    loci_free_aligned(s->worker_memory);
    loci_free_aligned(s->tape_memory);
    loci_free_aligned(s->h);
    free(s->page);
}

static loci_status span_open(bench_span *s, const loci_hparams *hp, loci_error *err)
{
    const size_t n = LOCI_INGEST_SPAN, chunks = n / (size_t)hp->chunk, f = sizeof(float);
    const size_t M = (size_t)hp->n_landmarks, tape = loci_encoder_tape_bytes(hp, (int)chunks);
    memset(s, 0, sizeof *s);
    s->content = loci_alloc_aligned(n * (size_t)loci_content_cols(hp) * f);
    s->landmark = loci_alloc_aligned(chunks * M * (size_t)hp->d_landmark * f);
    s->bias = loci_alloc_aligned(chunks * f);
    s->summary = loci_alloc_aligned(chunks * (size_t)(hp->d_summary + 1) * f);
    s->code = loci_alloc_aligned(chunks * M * 2 * sizeof *s->code);
    s->packed = loci_alloc_aligned(n * LOCI_PACK / 2);
    s->packed_scale = loci_alloc_aligned(n * LOCI_PACK / 32 * sizeof *s->packed_scale);
    s->worker_memory = loci_alloc_aligned(loci_ingest_bytes(hp, LOCI_INGEST_SPAN));
    s->tape_memory = loci_alloc_aligned(tape);
    s->h = loci_alloc_aligned(n * (size_t)hp->d_model * f);
    s->page = malloc(FILE_BYTES);
    if (!s->content || !s->landmark || !s->bias || !s->summary || !s->code || !s->packed ||
        !s->packed_scale || !s->worker_memory || !s->tape_memory || !s->h || !s->page) {
        span_close(s);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a span");
    }
    s->worker = loci_ingest_init(hp, LOCI_INGEST_SPAN, s->worker_memory);
    loci_arena a = { s->tape_memory, tape, 0 };
    s->tape = loci_encoder_plan(&a, hp, (int)chunks);
    loci_rng rng;
    loci_rng_seed(&rng, 1);
    for (size_t i = 0; i < n * (size_t)hp->d_model; i++) s->h[i] = (float)loci_rng_normal(&rng);
    return LOCI_OK;
}

static loci_status tokenise(const loci_bench_model *b, bench_span *s, double *seconds,
                            loci_error *err)
{
    loci_encoder *enc;
    int32_t *ids = malloc(FILE_BYTES * sizeof *ids);
    size_t n_tok = 0;
    const size_t n = loci_task_filler(77, FILE_BYTES, s->page, FILE_BYTES);
    loci_status st = ids ? loci_encoder_open(&enc, b->engine->tok, err)
                         : loci_fail(err, LOCI_ENOMEM, "no memory for text");
    if (st == LOCI_OK) {
        const double begin = loci_seconds();
        st = loci_encode(enc, s->page, n, ids, NULL, FILE_BYTES, &n_tok, err);
        *seconds = (loci_seconds() - begin) / (double)(n_tok ? n_tok : 1);
        loci_encoder_close(enc);
    }
    free(ids);
    return st;
}

/* A span's chunks into a file that is dropped again. */
static loci_status write_span(const loci_bench_model *b, const bench_span *s, double *seconds,
                              loci_error *err)
{
    const loci_hparams *hp = &b->engine->model->hp;
    const size_t S = (size_t)hp->chunk, M = (size_t)hp->n_landmarks;
    loci_segment_writer *w;
    char path[4096];
    loci_status st = loci_path_join(path, sizeof path, b->work_dir, "segment", err);
    if (st == LOCI_OK) st = loci_segment_create(&w, NULL, path, &b->bank[0]->shape, err);
    if (st != LOCI_OK) return st;
    const double begin = loci_seconds();
    for (size_t c = 0; c < LOCI_INGEST_SPAN / S && st == LOCI_OK; c++) {
        const loci_chunk_record r = {
            .content = s->content + c * S * (size_t)loci_content_cols(hp),
            .landmark = s->landmark + c * M * (size_t)hp->d_landmark,
            .code = s->code + c * M * 2,
            .n_tokens = hp->chunk,
            .ids = b->text + c * S,
            .line_start = 1,
            .packed = s->packed + c * S * LOCI_PACK / 2,
            .packed_scale = s->packed_scale + c * S * LOCI_PACK / 32,
            .summary = hp->d_summary ? s->summary + c * (size_t)hp->d_summary : NULL,
        };
        st = loci_segment_append(w, &r, err);
    }
    *seconds = (loci_seconds() - begin) / LOCI_INGEST_SPAN;
    loci_segment_abort(w);
    return st;
}

/* One span through each part, alone; seconds of a token. */
static loci_status run_parts(const loci_bench_model *b, bench_span *s, double seconds[PARTS],
                             loci_error *err)
{
    const loci_model *m = b->engine->model;
    const loci_hparams *hp = &m->hp;
    const int n = LOCI_INGEST_SPAN, chunks = n / hp->chunk, left = loci_ingest_left(hp);
    const size_t w = (size_t)loci_content_cols(hp), S = (size_t)hp->chunk;
    /* With all of the context that a span in the middle of a document has. */
    double t0 = loci_seconds();
    loci_ingest_span(s->worker, m, b->text, left, left, n, s->content, s->landmark, s->bias,
                     s->summary);
    double t1 = loci_seconds();
    const double span = t1 - t0;
    loci_encoder_forward(m, s->tape, 0, s->h, n, s->content, s->landmark, s->bias, s->summary);
    t0 = loci_seconds();
    seconds[ENCODE] = (t0 - t1) / n;
    seconds[LOWER] = fmax(span / n - seconds[ENCODE], 0.0);
    loci_codes(m, s->code, s->landmark, chunks * hp->n_landmarks);
    for (size_t c = 0; hp->content_bits4 && c < (size_t)chunks; c++)
        loci_pack_content(m, s->packed + c * S * LOCI_PACK / 2,
                          s->packed_scale + c * S * LOCI_PACK / 32, s->content + c * S * w,
                          hp->chunk);
    seconds[PACK] = (loci_seconds() - t0) / n;
    loci_status st = tokenise(b, s, &seconds[TOKENISE], err);
    return st == LOCI_OK ? write_span(b, s, &seconds[WRITE], err) : st;
}

static loci_status measure_parts(const loci_bench_model *b, double best[PARTS], loci_error *err)
{
    bench_span s;
    loci_status st = span_open(&s, &b->engine->model->hp, err);
    if (st != LOCI_OK) return st;
    for (int i = 0; i < SPANS + 1 && st == LOCI_OK; i++) {
        double now[PARTS];
        st = run_parts(b, &s, now, err);
        for (int k = 0; st == LOCI_OK && k < PARTS; k++)
            if (i < 2 || now[k] < best[k]) best[k] = now[k]; /* the first one warms up */
    }
    span_close(&s);
    return st;
}

loci_status loci_phase_ingest(loci_bench_model *b, loci_bench_model_row *row, loci_error *err)
{
    const int repeat = b->opt.repeat;
    const int64_t tokens = b->opt.units > 0 ? b->opt.units : TOKENS;
    const loci_model *m = b->engine->model;
    const double threads = b->machine.threads;
    double *each = calloc((size_t)repeat, sizeof *each), part[PARTS] = { 0 };
    loci_status st =
        each ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for %d spells", repeat);
    const double joules = loci_phase_joules(b);
    int64_t done = 0;
    for (int i = 0; i < repeat && st == LOCI_OK; i++) {
        loci_ingest_report r = { 0 };
        st = ingest_once(b, tokens, i, &r, err);
        done += r.tokens;
        each[i] = r.seconds / (double)(r.tokens > 0 ? r.tokens : 1);
    }
    row->joules = done > 0 ? (loci_phase_joules(b) - joules) / (double)done : NAN;
    if (st == LOCI_OK) st = loci_phase_open_banks(b, row, err);
    if (st == LOCI_OK) st = measure_parts(b, part, err);
    if (st == LOCI_OK) {
        const double far = INFINITY;
        const double quick = each[loci_phase_quickest(each, repeat, &row->median_seconds)];
        row->units = tokens;
        row->units_per_second = quick > 0.0 ? 1.0 / quick : 0.0;
        loci_phase_cost lower = loci_phase_lower(m), encode = loci_phase_encode(m),
                        pack = loci_phase_pack(m);
        /* Weights are read once a span. */
        lower.bytes /= LOCI_INGEST_SPAN;
        encode.bytes *= m->hp.chunk / (double)LOCI_INGEST_SPAN;
        pack.bytes *= m->hp.chunk / (double)LOCI_INGEST_SPAN;
        loci_phase_part(b, row, "ingest", quick, (loci_phase_cost){ 0 }, 0.0);
        loci_phase_part(b, row, "tokenise", part[TOKENISE], (loci_phase_cost){ 0 }, far);
        loci_phase_part(b, row, "lower", part[LOWER] / threads, lower, far);
        loci_phase_part(b, row, "encode", part[ENCODE] / threads, encode, far);
        loci_phase_part(b, row, "pack", part[PACK] / threads, pack, far);
        loci_phase_part(b, row, "write", part[WRITE], (loci_phase_cost){ 0 }, far);
    }
    free(each);
    return st;
}
