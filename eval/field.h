/* field.h - the banks of an evaluation: a haystack that stays, and a few documents that carry facts.
 *
 * The haystack is read and never changed, so that suites of one text and length share it, also at the
 * same time.  Facts go into documents of a bank of their own, which is asked together with it; its
 * documents are counted in the length. */
#ifndef LOCI_EVAL_FIELD_H
#define LOCI_EVAL_FIELD_H

#include "eval.h"
#include "haystack.h"

typedef struct {
    char *text; /* without facts; owned */
    size_t bytes;
} field_doc;

typedef struct {
    loci_bank *bank[2]; /* (n_banks) what is asked: the haystack where there is one, the facts' */
    int n_banks;
    field_doc *doc; /* (n_docs) of the haystack */
    int n_docs, cap;
    field_doc *spare; /* (n_spare) texts for facts, in no haystack */
    int n_spare;
    int *held; /* (n_slots) the spare text that document n_docs + i holds without facts, else -1 */
    int n_slots;
    size_t doc_bytes;
    int64_t tokens;                  /* of both banks, facts apart; of an item alone, all */
    double ingest_tokens_per_second; /* while the haystack was made; 0 if it was there */
    double bytes_per_token;          /* of the haystack on disk, without one of the facts' bank */
    double filler_share;             /* of the bytes: made-up sentences, the rest is from files */
} field;

/* Where a fact stands: document index, half-open byte range. */
typedef struct {
    int doc;
    size_t start, end;
} fact_place;

typedef struct {
    int64_t tokens;   /* of both banks; 0: one document without text, no haystack */
    size_t doc_bytes; /* of a document */
    int spread;       /* documents for facts; fewer where `tokens` has no room for them */
    const char *keep; /* folder of the haystack, made if it is not there */
    const char *work; /* folder, there, of what nobody needs afterwards */
    bool quiet;
} field_options;

/* Make the haystack, or go on with the one in o->keep, and the bank for facts, empty.  Another process that
 * makes the same haystack is waited for.  Freed with field_close, also on failure.
 * Errors: those of loci_bank_ingest; LOCI_ESTATE: o->keep holds other documents; LOCI_ECANCEL. */
loci_status field_open(field *f, loci_engine *e, const field_options *o, haystack *hay,
                       loci_error *err);
void field_close(field *f);
/* Name of document i, as in its bank: borrowed from out. */
const char *field_name(int i, char out[32]);
/* A document for questions about the haystack itself, chosen by seed: of the haystack, else the one that
 * field_hide with this seed takes first.  *d is borrowed. */
int field_subject(const field *f, uint64_t seed, const field_doc **d);
/* Put the item's facts into the documents for them, with texts chosen by seed, in place of what they held
 * before.  where (n_facts).  Facts of one group stay in order: they go into one document, or, where
 * the item is one group, over all of them. */
loci_status field_hide(field *f, const loci_task_item *item, uint64_t seed, fact_place *where,
                       loci_error *err);

#endif
