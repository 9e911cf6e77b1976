/* item_test.h - for the tests of training sequences: a tokenizer, a config of one phase, sequences of
 * its families, their ids as text. */
#ifndef TESTS_TRAIN_ITEM_TEST_H
#define TESTS_TRAIN_ITEM_TEST_H

#include "train_test.h"

enum { SEQ = 512, SEEDS = 60, VOCAB = 512 };

static loci_tokenizer *tok;

static inline int open_tokenizer(void **state)
{
    (void)state;
    tok = tiny_tokenizer(VOCAB);
    return 0;
}

static inline int close_tokenizer(void **state)
{
    (void)state;
    loci_tokenizer_close(tok);
    return 0;
}

/* A config of one phase.  family < 0: all of them. */
static inline void config_of(loci_train_config *c, int family, double separate, double synthetic)
{
    char text[2048];
    snprintf(text, sizeof text,
             "{" TINY_MODEL_WITH(EVERYTHING) ", \"families\": "
                                             "{\"%s\": 1%s}, "
                                             "\"phases\": "
                                             "[{\"name\": \"p\", "
                                             "\"tokens\": 1000, "
                                             "\"seq_len\": %d, "
                                             "\"batch\": 2, "
                                             "\"routed\": true, "
                                             "\"synthetic\": %g, "
                                             "\"separate\": %g, "
                                             "\"facts_min\": 1, "
                                             "\"facts_max\": 8, "
                                             "\"questions_max\": "
                                             "6}]}",
             loci_task_name(family < 0 ? LOCI_TASK_NEEDLE : (loci_task_family)family),
             family < 0 ? ", \"multikey\": 1, \"multivalue\": 1, \"kv\": 1, \"copy\": 1, "
                          "\"variable\": 1, \"latest\": 1, \"absent\": 1"
                        : "",
             SEQ, synthetic, separate);
    MUST(loci_train_config_parse(c, text, "test", err));
    c->hp.vocab = VOCAB;
}

typedef struct {
    loci_train_config c;
    loci_corpus corpus; /* empty: the generator's text */
    loci_item_maker *maker;
    loci_item item;
} fixture;

static inline void fixture_open(fixture *f, int family, double separate, double synthetic)
{
    memset(f, 0, sizeof *f);
    config_of(&f->c, family, separate, synthetic);
    MUST(loci_item_maker_open(&f->maker, tok, SEQ, err));
    MUST(loci_item_init(&f->item, SEQ, err));
}

static inline void fixture_close(fixture *f)
{
    loci_item_free(&f->item);
    loci_item_maker_close(f->maker);
    loci_corpus_free(&f->corpus);
}

static inline const loci_sequence *make(fixture *f, uint64_t seed)
{
    MUST(loci_item_make(&f->item, f->maker, &f->c, f->c.phase, &f->corpus, seed, seed / 4, err));
    return &f->item.seq;
}

static inline int32_t comma_id(void)
{
    loci_encoder *enc;
    int32_t id[4];
    size_t n = 0;
    MUST(loci_encoder_open(&enc, tok, err));
    MUST(loci_encode(enc, ",", 1, id, NULL, 4, &n, err));
    loci_encoder_close(enc);
    assert_int_equal(n, 1);
    return id[0];
}

static inline size_t decode(const int32_t *ids, int n, char *out, size_t cap)
{
    size_t bytes = 0;
    MUST(loci_decode(tok, ids, (size_t)n, out, cap - 1, &bytes, err));
    assert_true(bytes < cap);
    out[bytes] = '\0';
    return bytes;
}

#endif
