/* train_test.h - for the tests of training: a config in a few lines, a tokenizer for it, files.
 * Included first: it brings cmocka. */
#ifndef TESTS_TRAIN_TRAIN_TEST_H
#define TESTS_TRAIN_TRAIN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "temp_dir.h"
#include "train/train_impl.h"

#define MUST(call)                                                                                 \
    do {                                                                                           \
        loci_error must_err = { 0 };                                                               \
        loci_error *err = &must_err;                                                               \
        if ((call) != LOCI_OK) fail_msg("%s: %s", #call, err->text);                               \
    } while (0)

/* A call that must fail with `code` and say `word`. */
#define REFUSED(call, want, word)                                                                  \
    do {                                                                                           \
        loci_error refused = { 0 };                                                                \
        loci_error *err = &refused;                                                                \
        const loci_status found = (call);                                                          \
        if (found != (want)) fail_msg("%s: status %d: %s", #call, (int)found, err->text);          \
        if (!strstr(err->text, (word))) fail_msg("\"%s\" does not name %s", err->text, (word));    \
    } while (0)

/* The parts of the architecture that are off by default. */
#define EVERYTHING ", \"trained_codes\": 1, \"d_summary\": 16, \"content_bits4\": 1"
/* The smallest model that has every part: one group, one layer on each side. */
#define TINY_MODEL TINY_MODEL_WITH("")
#define TINY_MODEL_WITH(more)                                                                      \
    "\"model\": {\"vocab\": 320, \"d_model\": 64, \"n_heads\": 1, \"n_kv_heads\": 1, "             \
    "\"n_lower\": 1, \"n_upper\": 1, \"n_groups\": 1, \"window\": 64, \"ffn\": 64, "               \
    "\"enc_dim\": 64, \"enc_mlp\": 64, \"router_hidden\": 64, \"read_mlp\": 64, "                  \
    "\"read_heads\": 1, \"top_k\": 2" more "}"

/* A tokenizer of `vocab` entries over the generator's own text; owned. */
static inline loci_tokenizer *tiny_tokenizer(int vocab)
{
    enum { BYTES = 60000 };
    loci_bpe_trainer *b = NULL;
    loci_tokenizer *tok = NULL;
    char *text = malloc(BYTES);
    assert_non_null(text);
    const size_t n = loci_task_filler(5, BYTES, text, BYTES);
    MUST(loci_bpe_trainer_open(&b, err));
    MUST(loci_bpe_trainer_add(b, text, n, err));
    MUST(loci_bpe_trainer_finish(b, vocab, NULL, NULL, &tok, err));
    loci_bpe_trainer_close(b);
    free(text);
    return tok;
}

/* dir/name into out (TEMP_PATH). */
static inline const char *path_in(char *out, const char *dir, const char *name)
{
    snprintf(out, TEMP_PATH, "%.300s/%.200s", dir, name);
    return out;
}

static inline void write_bytes(const char *dir, const char *name, const void *data, size_t n)
{
    char path[TEMP_PATH];
    MUST(loci_file_replace(NULL, path_in(path, dir, name), data, n, err));
}

static inline void write_text(const char *dir, const char *name, const char *text)
{
    write_bytes(dir, name, text, strlen(text));
}

/* The folder of one test, or of all of a program: set-up and tear-down for cmocka. */
static char dir[TEMP_PATH];

static inline int make_dir(void **state)
{
    (void)state;
    return temp_dir_make(dir) ? 0 : -1;
}

static inline int drop_dir(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

#endif
