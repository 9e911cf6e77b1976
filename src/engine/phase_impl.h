/* phase_impl.h - what the measurements of a model's phases share.
 *
 *   phase_bench.c    open, close, the machine's rates, the model
 *   phase_bank.c     banks of random chunks by the real writer
 *   phase_floor.c    bytes and operations that a part cannot do without
 *   phase_decode.c   decode, open, search      phase_ingest.c   ingest */
#ifndef LOCI_PHASE_IMPL_H
#define LOCI_PHASE_IMPL_H

#include "engine/ask_impl.h"
#include "engine/bank_impl.h"
#include "loci/bench.h"
#include "loci/energy.h"

enum { LOCI_PHASE_BANKS = 100, LOCI_PHASE_PROMPT = 32 /* tokens of a question */ };

struct loci_bench_model {
    loci_bench_model_options opt;
    char *work_dir, *model_dir; /* model_dir: the caller's, or the generated one */
    bool generated;
    loci_engine *engine;
    loci_bench_machine machine;
    unsigned flags; /* of the processor, as the caller limits them */
    loci_energy *energy;
    int32_t *text; /* (n_text) ids of generated text or the caller's, ordinary tokens */
    int64_t n_text;
    /* of the last run */
    loci_bank *bank[LOCI_PHASE_BANKS];
    int n_banks;
    struct loci_phase_asking *asking; /* phase_decode.c */
};

/* ---- phase_bank.c ------------------------------------------------------------------------- */
/* Make the folder of bank i below the working folder with `tokens` tokens of random chunks.
 * Errors: LOCI_ENOMEM the disk is too small, or memory; LOCI_EIO. */
loci_status loci_phase_bank_make(const loci_bench_model *b, int i, int64_t tokens, loci_error *err);
/* Its folder into out (n bytes). */
loci_status loci_phase_bank_dir(const loci_bench_model *b, int i, char *out, size_t n,
                                loci_error *err);
/* A folder with the files in it, if it is there. */
void loci_phase_remove(const char *dir);
/* Tell the system to forget its copies of a folder's files: the next reading is from the disk. */
void loci_phase_forget_files(const char *dir);

/* ---- phase_floor.c ------------------------------------------------------------------------ */
typedef struct {
    double bytes, operations;
} loci_phase_cost;
/* A token through ...; chunks: in all banks; misses: chunks unpacked a token. */
loci_phase_cost loci_phase_lower(const loci_model *m);
loci_phase_cost loci_phase_upper(const loci_model *m); /* Read blocks too, search and content not */
loci_phase_cost loci_phase_head(const loci_model *m);
loci_phase_cost loci_phase_encode(const loci_model *m); /* its share of a chunk */
loci_phase_cost loci_phase_pack(const loci_model *m);   /* codes and packed content, the same */
loci_phase_cost loci_phase_search(const loci_model *m, int64_t chunks, int queries);
loci_phase_cost loci_phase_content(const loci_model *m, double misses);
/* Set a part of the row: the floor is the longer of bytes and operations with all threads, from the
 * cache if `resident` bytes fit it. */
void loci_phase_part(const loci_bench_model *b, loci_bench_model_row *row, const char *name,
                     double seconds, loci_phase_cost cost, double resident);
/* Sum of floors, bytes and operations of the parts behind it into the first part. */
void loci_phase_total(loci_bench_model_row *row);
/* Bytes of all weights as stored. */
double loci_phase_weight_bytes(const loci_model *m);

/* ---- phase_decode.c, phase_ingest.c --------------------------------------------------------- */
loci_status loci_phase_decode(loci_bench_model *b, loci_bench_model_row *row, loci_error *err);
loci_status loci_phase_open(loci_bench_model *b, loci_bench_model_row *row, loci_error *err);
loci_status loci_phase_search_run(loci_bench_model *b, loci_bench_model_row *row, loci_error *err);
void loci_phase_asking_close(loci_bench_model *b); /* of decode, search */
loci_status loci_phase_ingest(loci_bench_model *b, loci_bench_model_row *row, loci_error *err);

/* ---- phase_bench.c ---------------------------------------------------------------------------- */
/* Banks of the last run, opened for reading; their sizes into the row. */
loci_status loci_phase_open_banks(loci_bench_model *b, loci_bench_model_row *row, loci_error *err);
void loci_phase_close_banks(loci_bench_model *b);
/* Joules so far, NAN without a meter. */
double loci_phase_joules(const loci_bench_model *b);
/* Order of spells: index of the quickest; *median receives that of all.  Sorts nothing in place. */
int loci_phase_quickest(const double *seconds, int n, double *median);

#endif
