/* item.h - what item.c and task_item.c share: the scratch of a maker and writing into an item. */
#ifndef LOCI_TRAIN_ITEM_H
#define LOCI_TRAIN_ITEM_H

#include "train/train_impl.h"

enum {
    LOCI_ITEM_TOKEN_BYTES = 8, /* a token's bytes, generously: excerpts are cut at a token later */
    LOCI_ITEM_LEXICON = 16384  /* bytes of text that values take words from */
};

struct loci_item_maker {
    loci_encoder *enc;
    size_t text_cap, ids_cap;
    char *hay, *text;    /* (text_cap) excerpt; excerpt with facts */
    int32_t *tok;        /* (ids_cap) */
    uint32_t *ends;      /* (ids_cap) byte behind each token */
    uint32_t *hay_ends;  /* (ids_cap) the same for the excerpt without facts */
    int32_t *qtok;       /* (max_seq + 1024) questions and answers, one after the other */
    size_t *place;       /* (LOCI_TASK_MAX_FACTS) */
    size_t *fact_at;     /* (LOCI_TASK_MAX_FACTS) byte offset of each fact in text */
    char question[4096]; /* the one being encoded */
    char lexicon[LOCI_ITEM_LEXICON];
};

/* ---- item.c ------------------------------------------------------------------------------- */
void loci_item_begin_doc(loci_item *it, bool banked);
/* Append one id that is predicted from the id before it with weight w.  gold, source: as in
 * loci_sequence, for that prediction. */
void loci_item_put(loci_item *it, int32_t id, float w, bool answer, int32_t gold, int32_t source);
/* About `want` bytes of one random document from a random place, from a character boundary. */
size_t loci_item_excerpt(char *out, size_t cap, size_t want, const loci_corpus *corpus,
                         loci_rng *rng);
/* The first tokens of a text, `most` at most, into tok and ends (NULL: not wanted); no more of the
 * text is looked at than they need. */
loci_status loci_item_encode(loci_item_maker *m, const char *text, size_t bytes, int most,
                             int32_t *tok, uint32_t *ends, size_t *n_tok, loci_error *err);

/* ---- task_item.c ---------------------------------------------------------------------------- */
/* Where a value of len > 0 bytes stands in a fact of n: the last place, values mostly following keys,
 * but none within a word or a number if there is another ("store QX4 in QX41"); 0: nowhere. */
size_t loci_item_last_place(const char *text, size_t n, const char *value, size_t len);
/* Try to make a task item of an empty one; *made says whether the facts fitted. */
loci_status loci_item_task(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                           const loci_phase *p, const loci_corpus *corpus, uint64_t theme,
                           loci_rng *rng, bool *made, loci_error *err);

#endif
