/* phase_bank.c - banks to measure with: random chunks through the real writer of segments and the
 * real catalogue, some ten million tokens a few seconds.
 *
 * Landmarks are random directions and codes are theirs, so a search narrows down and rescores as it
 * would; content, summaries and ids are random, so that postings hold as much as they can.  Documents
 * of 64K tokens, segments of a million, as ingest of a folder of books would leave them. */
#include "engine/phase_impl.h"
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    SEGMENT_CHUNKS = 16384,
    DOC_CHUNKS = 1024,
    BATCH = 256,
    CONTENTS = 16,          /* different chunks of f32 content, taken in turn */
    HALF_SIXTEENTH = 0x2c00 /* 1/16 as a half: the scale of packed content */
};

typedef struct {
    const loci_model *m;
    loci_rng rng;
    int32_t vocab;                       /* of the tokenizer */
    float *landmark, *content, *summary; /* (BATCH, M, dl) (CONTENTS, S, dk + dv) (ds) */
    uint64_t *code;                      /* (BATCH, M, 2) */
    uint8_t *packed;                     /* (S, LOCI_PACK / 2) */
    uint16_t *packed_scale;              /* (S, LOCI_PACK / 32) */
    int32_t ids[SEG_CHUNK_TOKENS];
} maker;

/* About normal: the sum of four even draws of 16 bits, deviation 1. */
static void fill(loci_rng *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t u = loci_rng_u64(r);
        const uint32_t sum = (uint32_t)(u & 0xffff) + (uint32_t)(u >> 16 & 0xffff) +
                             (uint32_t)(u >> 32 & 0xffff) + (uint32_t)(u >> 48);
        x[i] = ((float)sum - 131070.0f) * (1.0f / 37837.0f);
    }
}

static void fill_units(loci_rng *r, float *x, int rows, int cols)
{
    fill(r, x, (size_t)rows * (size_t)cols);
    for (int i = 0; i < rows; i++) {
        float *row = x + (size_t)i * (size_t)cols, sum = 0.0f;
        for (int k = 0; k < cols; k++) sum += row[k] * row[k];
        const float scale = sum > 0.0f ? 1.0f / sqrtf(sum) : 0.0f;
        for (int k = 0; k < cols; k++) row[k] *= scale;
    }
}

static void maker_close(maker *k)
{
    free(k->landmark);
    free(k->content);
    free(k->summary);
    free(k->code);
    free(k->packed);
    free(k->packed_scale);
}

static loci_status maker_open(maker *k, const loci_bench_model *b, uint64_t seed, loci_error *err)
{
    const loci_hparams *hp = &b->engine->model->hp;
    const size_t M = (size_t)hp->n_landmarks, S = (size_t)hp->chunk;
    const size_t content = CONTENTS * S * (size_t)loci_content_cols(hp);
    *k = (maker){ .m = b->engine->model, .vocab = loci_tokenizer_vocab(b->engine->tok) };
    loci_rng_seed(&k->rng, seed);
    k->landmark = malloc(BATCH * M * (size_t)hp->d_landmark * sizeof *k->landmark);
    k->content = malloc(content * sizeof *k->content);
    k->summary = malloc(((size_t)hp->d_summary + 1) * sizeof *k->summary);
    k->code = malloc(BATCH * M * 2 * sizeof *k->code);
    k->packed = malloc(S * LOCI_PACK / 2);
    k->packed_scale = malloc(S * LOCI_PACK / 32 * sizeof *k->packed_scale);
    if (!k->landmark || !k->content || !k->summary || !k->code || !k->packed || !k->packed_scale) {
        maker_close(k);
        return loci_fail(err, LOCI_ENOMEM, "no memory to make a bank");
    }
    fill(&k->rng, k->content, content);
    for (size_t i = 0; i < S * LOCI_PACK / 32; i++) k->packed_scale[i] = HALF_SIXTEENTH;
    return LOCI_OK;
}

/* Landmarks and codes of the next BATCH chunks. */
static void next_batch(maker *k)
{
    const loci_hparams *hp = &k->m->hp;
    fill_units(&k->rng, k->landmark, BATCH * hp->n_landmarks, hp->d_landmark);
    loci_codes(k->m, k->code, k->landmark, BATCH * hp->n_landmarks);
}

/* Chunk `in_doc` of a document, landmarks from row `row` of the batch. */
static loci_status append(maker *k, loci_segment_writer *w, int row, int64_t in_doc,
                          loci_error *err)
{
    const loci_hparams *hp = &k->m->hp;
    const size_t M = (size_t)hp->n_landmarks, S = (size_t)hp->chunk;
    for (size_t i = 0; i < S; i++)
        k->ids[i] = LOCI_TOK_SPECIALS +
                    (int32_t)loci_rng_below(&k->rng, (uint32_t)(k->vocab - LOCI_TOK_SPECIALS));
    for (size_t i = 0; hp->content_bits4 && i < S * LOCI_PACK / 2; i += 8) {
        const uint64_t u = loci_rng_u64(&k->rng);
        memcpy(k->packed + i, &u, sizeof u);
    }
    fill(&k->rng, k->summary, (size_t)hp->d_summary);
    const loci_chunk_record r = {
        .content = k->content + (size_t)(row % CONTENTS) * S * (size_t)loci_content_cols(hp),
        .landmark = k->landmark + (size_t)row * M * (size_t)hp->d_landmark,
        .code = k->code + (size_t)row * M * 2,
        .n_tokens = hp->chunk,
        .ids = k->ids,
        .byte_start = in_doc * hp->chunk * 4,
        .line_start = 1 + in_doc * 5,
        .word_starts = loci_rng_u64(&k->rng),
        .packed = k->packed,
        .packed_scale = k->packed_scale,
        .summary = hp->d_summary ? k->summary : NULL,
    };
    return loci_segment_append(w, &r, err);
}

/* ---- one segment with its documents ---------------------------------------------------------- */

static void name_doc(loci_doc_row *d, int64_t first, int64_t chunks, const loci_hparams *hp,
                     int64_t number)
{
    char name[40];
    snprintf(name, sizeof name, "random/%06lld.txt", (long long)number);
    *d = (loci_doc_row){ .name = strdup(name),
                         .path = strdup(""),
                         .bytes = chunks * hp->chunk * 4,
                         .file_bytes = chunks * hp->chunk * 4,
                         .tokens = chunks * hp->chunk - 1, /* all but <bos> */
                         .chunks = chunks,
                         .first_chunk = first };
}

static loci_status write_chunks(maker *k, loci_segment_writer *w, int64_t chunks, loci_error *err)
{
    loci_status st = LOCI_OK;
    for (int64_t c = 0; c < chunks && st == LOCI_OK; c++) {
        if (c % BATCH == 0) next_batch(k);
        st = append(k, w, (int)(c % BATCH), c % DOC_CHUNKS, err);
    }
    return st;
}

/* `chunks` more chunks into the bank; documents are numbered from *docs_done on. */
static loci_status add_segment(loci_bank *bank, maker *k, int64_t chunks, int64_t *docs_done,
                               loci_error *err)
{
    char path[4096];
    loci_segment_row row;
    loci_segment_writer *w = NULL;
    loci_doc_row doc[SEGMENT_CHUNKS / DOC_CHUNKS];
    int64_t n_docs = 0;
    loci_status st = loci_bank_new_segment(bank, &row, path, sizeof path, err);
    if (st == LOCI_OK) st = loci_segment_create(&w, bank->vfs, path, &bank->shape, err);
    if (st != LOCI_OK) return st;
    st = write_chunks(k, w, chunks, err);
    row.chunks = chunks;
    if (st == LOCI_OK) st = loci_segment_finish(w, &row.bytes, err);
    for (int64_t at = 0; at < chunks; at += DOC_CHUNKS, n_docs++) {
        const int64_t left = chunks - at;
        name_doc(&doc[n_docs], at, left < DOC_CHUNKS ? left : DOC_CHUNKS, &k->m->hp,
                 (*docs_done)++);
        doc[n_docs].segment = row.id;
        if (st == LOCI_OK && (!doc[n_docs].name || !doc[n_docs].path))
            st = loci_fail(err, LOCI_ENOMEM, "no memory for a document");
    }
    if (st == LOCI_OK) st = loci_bank_commit(bank, &row, doc, n_docs, NULL, 0, err);
    for (int64_t i = 0; i < n_docs; i++) free(doc[i].name), free(doc[i].path);
    if (st != LOCI_OK) {
        loci_segment_abort(w);
        return st;
    }
    loci_segment_writer_close(w);
    return LOCI_OK;
}

/* ---- folders --------------------------------------------------------------------------------- */

/* A twentieth more than the bank should take must be free. */
static loci_status check_room(const loci_bench_model *b, int64_t tokens, loci_error *err)
{
    struct statvfs s;
    const double want = 1.05 * b->engine->info.bank_bytes_per_token * (double)tokens + 1e6;
    if (statvfs(b->work_dir, &s) != 0) return loci_fail(err, LOCI_EIO, "%s", b->work_dir);
    const double room = (double)s.f_bavail * (double)s.f_frsize;
    if (want <= room) return LOCI_OK;
    return loci_fail(err, LOCI_ENOMEM, "%s: a bank of %lld tokens takes %.0f MB, %.0f MB are free",
                     b->work_dir, (long long)tokens, 1e-6 * want, 1e-6 * room);
}

loci_status loci_phase_bank_dir(const loci_bench_model *b, int i, char *out, size_t n,
                                loci_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "bank-%03d", i);
    return loci_path_join(out, n, b->work_dir, name, err);
}

loci_status loci_phase_bank_make(const loci_bench_model *b, int i, int64_t tokens, loci_error *err)
{
    char dir[4096];
    loci_bank *bank = NULL;
    maker k;
    const int chunk = b->engine->model->hp.chunk;
    int64_t left = (tokens + chunk - 1) / chunk, docs = 0;
    loci_status st = check_room(b, tokens, err);
    if (st == LOCI_OK) st = loci_phase_bank_dir(b, i, dir, sizeof dir, err);
    if (st == LOCI_OK) st = maker_open(&k, b, loci_rng_mix(b->opt.seed, (uint64_t)i), err);
    if (st != LOCI_OK) return st;
    st = loci_bank_open(&bank, b->engine, dir, LOCI_BANK_CREATE, err);
    while (st == LOCI_OK && left > 0) {
        const int64_t now = left < SEGMENT_CHUNKS ? left : SEGMENT_CHUNKS;
        st = add_segment(bank, &k, now, &docs, err);
        left -= now;
    }
    if (st == LOCI_OK) st = loci_bank_reload(bank, err);
    if (st == LOCI_OK) st = loci_bank_tend(bank, err); /* as ingest does at its end */
    loci_bank_close(bank);
    maker_close(&k);
    return st;
}

/* Call fn with the path of each file of a folder. */
static void each_file(const char *dir, void (*fn)(const char *path))
{
    char path[4096];
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            loci_path_join(path, sizeof path, dir, e->d_name, NULL) == LOCI_OK)
            fn(path);
    closedir(d);
}

static void remove_file(const char *path)
{
    (void)unlink(path);
}

void loci_phase_remove(const char *dir)
{
    each_file(dir, remove_file);
    (void)rmdir(dir);
}

static void forget_file(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd); /* what is not written yet cannot be forgotten */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

void loci_phase_forget_files(const char *dir)
{
    each_file(dir, forget_file);
}
