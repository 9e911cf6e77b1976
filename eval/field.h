/* field.h - a bank of haystack documents into which facts are put and taken out again. */
#ifndef LOCI_EVAL_FIELD_H
#define LOCI_EVAL_FIELD_H

#include "eval.h"
#include "haystack.h"

typedef struct {
    char *text; /* without facts; owned */
    size_t bytes;
    bool holds_facts; /* the bank has it with facts now */
} field_doc;

typedef struct {
    loci_bank *bank;
    field_doc *doc; /* (n_docs) */
    int n_docs, cap;
    size_t doc_bytes;
    int64_t tokens;                  /* of the bank, facts apart */
    double ingest_tokens_per_second; /* while it was made; 0 if all of it was there */
    double bytes_per_token;          /* of the bank on disk, as it was made */
    double filler_share;             /* of the bytes: made-up sentences, the rest is from files */
} field;

/* Where a fact stands: document index, half-open byte range. */
typedef struct {
    int doc;
    size_t start, end;
} fact_place;

/* Make (or go on using) the bank in dir with `tokens` tokens of the haystack in documents of doc_bytes;
 * 0 tokens: one document without text.  Freed with
 * field_close, also on failure.  Errors: those of loci_bank_add; LOCI_ESTATE: dir holds other
 * documents; LOCI_ECANCEL. */
loci_status field_open(field *f, loci_engine *e, const char *dir, int64_t tokens, size_t doc_bytes,
                       haystack *hay, bool quiet, loci_error *err);
void field_close(field *f);
/* Name of document i, as in the bank: borrowed from out. */
const char *field_name(int i, char out[32]);
/* Put the item's facts into at most `spread` documents, spread over the length of the bank, and
 * restore those that held facts before.  where (n_facts).  Facts of one group stay in order: they
 * go into one document, or, where the item is one group, over all of them. */
loci_status field_hide(field *f, const loci_task_item *item, int spread, uint64_t seed,
                       fact_place *where, loci_error *err);
/* All documents as they were. */
loci_status field_restore(field *f, loci_error *err);

#endif
