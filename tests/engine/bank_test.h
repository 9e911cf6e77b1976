/* bank_test.h - what the tests of the bank share: folders that go away, chunks made from a seed,
 * an engine without a trained model.
 *
 * Everything a chunk holds follows from (seed, index), so a test can write it and, much later and
 * elsewhere, say what it must read back. */
#ifndef BANK_TEST_H
#define BANK_TEST_H

#include <stdarg.h>
#include <setjmp.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "engine/bank_impl.h"

#define SEED UINT64_C(20260711)

#define OK(call)                                                                                   \
    do {                                                                                           \
        err = (loci_error){ 0 };                                                                   \
        const loci_status st_ = (call);                                                            \
        if (st_ != LOCI_OK) fail_msg("%s: %s (%s)", #call, loci_status_text(st_), err.text);       \
    } while (0)

/* ---- folders -------------------------------------------------------------------------------- */
static inline void scratch_make(char dir[64])
{
    snprintf(dir, 64, "/tmp/loci-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static inline void scratch_remove(const char *dir) /* plain files, and folders one level down */
{
    char path[512];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' ||
            loci_path_join(path, sizeof path, dir, e->d_name, NULL) != LOCI_OK)
            continue;
        if (unlink(path) != 0 && rmdir(path) != 0) scratch_remove(path);
    }
    if (d) closedir(d);
    rmdir(dir);
}

static inline void write_bytes(const char *path, const void *data, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    close(fd);
}

/* ---- chunks ----------------------------------------------------------------------------------- */
enum { MAX_M = 2, MAX_DL = 128, MAX_DC = 128, MAX_DS = 128 };
typedef struct {
    float content[64 * MAX_DC], landmark[MAX_M * MAX_DL];
    uint64_t code[MAX_M * 2];
    int32_t ids[64];
    uint8_t packed[64 * LOCI_PACK / 2];
    uint16_t packed_scale[64 * LOCI_PACK / 32];
    float summary[MAX_DS];
    loci_chunk_record record;
} test_chunk;

static inline float uniform(loci_rng *r)
{
    return (float)(2.0 * loci_rng_unit(r) - 1.0);
}

/* Chunk `index` of a document whose chunks hold 64 bytes each, one id a byte. */
static inline void chunk_make(test_chunk *c, const loci_segment_shape *s, uint64_t seed,
                              int64_t index)
{
    loci_rng r;
    loci_rng_seed(&r, loci_rng_mix(seed, (uint64_t)index));
    const int n = 1 + (int)loci_rng_below(&r, 64);
    for (int i = 0; i < 64 * s->d_content; i++) c->content[i] = uniform(&r);
    for (int i = 0; i < s->n_landmarks * s->d_landmark; i++) c->landmark[i] = uniform(&r);
    for (int i = 0; i < s->n_landmarks * 2; i++) c->code[i] = loci_rng_u64(&r);
    for (int i = 0; i < 64; i++) c->ids[i] = LOCI_TOK_SPECIALS + (int32_t)loci_rng_below(&r, 256);
    c->record = (loci_chunk_record){ .content = c->content,
                                     .landmark = c->landmark,
                                     .code = c->code,
                                     .bias = uniform(&r),
                                     .n_tokens = n,
                                     .ids = c->ids,
                                     .byte_start = 64 * index,
                                     .line_start = 1 + index,
                                     .packed = c->packed,
                                     .packed_scale = c->packed_scale,
                                     .summary = c->summary };
    for (int i = 0; i < 64 * LOCI_PACK / 2; i++) c->packed[i] = (uint8_t)loci_rng_below(&r, 256);
    for (int i = 0; i < 64 * LOCI_PACK / 32; i++)
        c->packed_scale[i] = (uint16_t)loci_rng_below(&r, 0x7c00);
    for (int i = 0; i < s->d_summary; i++) c->summary[i] = uniform(&r);
}

/* A value went through int8 with one scale a row: half a step is what it may be off, and a little
 * for the division and the product in f32. */
static inline void assert_row_close(const float *want, const int8_t *q, float scale, int n)
{
    float top = 0.0f;
    for (int i = 0; i < n; i++) top = fmaxf(top, fabsf(want[i]));
    for (int i = 0; i < n; i++)
        if (fabs((double)want[i] - (double)q[i] * scale) > top / 127.0 * 0.5 * (1.0 + 1e-5))
            fail_msg("element %d: %g stored as %d * %g", i, (double)want[i], q[i], (double)scale);
}

/* ---- an engine ---------------------------------------------------------------------------------- */
typedef struct {
    loci_engine e;
    float *params;
} test_engine;

static inline loci_hparams test_hparams(void)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.vocab = LOCI_TOK_SPECIALS + 256;
    return hp;
}

/* Model of random numbers, a tokenizer of single bytes. */
static inline void engine_init_with(test_engine *t, uint8_t fingerprint, loci_hparams hp)
{
    loci_error err;
    loci_bpe_trainer *b;
    memset(t, 0, sizeof *t);
    t->params = loci_alloc_aligned(loci_param_floats(&hp) * sizeof(float));
    assert_non_null(t->params);
    loci_params_init(t->params, &hp, SEED);
    OK(loci_model_wrap(&t->e.model, &hp, t->params, loci_cpu_detect(), &err));
    memset(t->e.model->fingerprint, fingerprint, 16);
    OK(loci_bpe_trainer_open(&b, &err));
    OK(loci_bpe_trainer_finish(b, hp.vocab, NULL, NULL, &t->e.tok, &err));
    loci_bpe_trainer_close(b);
}

static inline void engine_init(test_engine *t, uint8_t fingerprint)
{
    engine_init_with(t, fingerprint, test_hparams());
}

static inline void engine_free(test_engine *t)
{
    loci_tokenizer_close(t->e.tok);
    loci_model_close(t->e.model);
    loci_free_aligned(t->params);
}

/* ---- documents into a bank, without a model -------------------------------------------------------- */
typedef struct {
    const char *name;
    uint64_t seed;
    int64_t chunks;
} test_doc;

/* One segment with these documents, committed.  No assertions: also used in a child process. */
static inline loci_status bank_put(loci_bank *b, const test_doc *docs, int64_t n, loci_error *err)
{
    loci_segment_writer *w = NULL;
    loci_segment_row seg;
    char path[4096];
    test_chunk *c = malloc(sizeof *c);
    loci_doc_row *row = calloc((size_t)n, sizeof *row);
    loci_status st = loci_bank_new_segment(b, &seg, path, sizeof path, err);
    if (st == LOCI_OK) st = loci_segment_create(&w, b->vfs, path, &b->shape, err);
    for (int64_t d = 0; d < n && st == LOCI_OK; d++) {
        row[d] = (loci_doc_row){ .name = strdup(docs[d].name),
                                 .path = strdup(""),
                                 .segment = seg.id,
                                 .first_chunk = loci_segment_chunks(w),
                                 .chunks = docs[d].chunks };
        row[d].bytes = row[d].file_bytes = 64 * docs[d].chunks;
        row[d].tokens = docs[d].chunks;
        for (int64_t i = 0; i < docs[d].chunks && st == LOCI_OK; i++) {
            chunk_make(c, &b->shape, docs[d].seed, i);
            c->record.n_tokens = 64;
            st = loci_segment_append(w, &c->record, err);
        }
    }
    if (st == LOCI_OK) {
        seg.chunks = loci_segment_chunks(w);
        st = loci_segment_finish(w, &seg.bytes, err);
    }
    if (st == LOCI_OK) st = loci_bank_commit(b, &seg, row, n, NULL, 0, err);
    if (st == LOCI_OK)
        loci_segment_writer_close(w);
    else
        loci_segment_abort(w);
    loci_doc_rows_free(row, n);
    free(c);
    return st == LOCI_OK ? loci_bank_reload(b, err) : st;
}

#endif
