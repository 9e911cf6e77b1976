/* train.h - make a model: a config file, text to read, a folder to write.
 *
 * The trainer reads text files, folders and corpora (NAME.txt.zst, documents ended by a 0x1E
 * byte, with an optional NAME.idx.zst beside it), mixes them with synthetic long-range tasks,
 * and writes a checkpoint that every other part of loci opens: config.json, tokenizer.json,
 * model.safetensors, and train_state.safetensors to go on from, data_grams.bin to look for overlap.  The same config, data and
 * seed give the same numbers for any number of threads on one kind of processor. */
#ifndef LOCI_TRAIN_H
#define LOCI_TRAIN_H

#include "loci/loci.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One line of progress; every mean is over the steps since the line before. */
typedef struct {
    int64_t step, tokens, total_tokens;
    const char *phase; /* name of the phase in the config; borrowed for the call */
    double lr;
    double loss_text, loss_answer; /* nats a token: ordinary text; answers of tasks        */
    double answer_right;           /* share of answer tokens predicted exactly             */
    double exact;                  /* share of answers right in every token                */
    double loss_kl, loss_oracle, loss_absent, loss_pointer, loss_decode;
    double loss_ageing;    /* content packed to 4 bits: mean square of what is lost */
    double loss_hash;      /* trained codes: KL of router and codes, spread of the codes */
    double code_agreement; /* share of equal bits of a query's and its gold chunk's code */
    double consult_rate;   /* share of (token, group) pairs with an open gate      */
    double regret;         /* nats a token that closed gates cost by estimate ...  */
    double reading_gain;   /* ... of what the bank saves, 0 without `regret_every` */
    double router_recall;  /* gold chunk among the K best, own and other sequences */
    double grad_norm;
    double tokens_per_second;
    double seconds; /* since the start or resume */
} loci_train_progress;
/* Return non-zero to stop: a checkpoint is written and LOCI_ECANCEL returned. */
typedef int loci_train_fn(void *ctx, const loci_train_progress *p);
/* Something worth knowing that is no error, said once: which tensors `init` does not have.  One line
 * without a newline, valid during the call. */
typedef void loci_train_note_fn(void *ctx, const char *line);

typedef struct {
    const char *config;        /* path of the JSON config: docs/TRAINING.md has every key     */
    const char *const *data;   /* n_data paths of files, folders, .txt.zst corpora            */
    int n_data;                /* 0: synthetic text only                                      */
    const char *out;           /* folder of the checkpoint, made if missing                   */
    const char *tokenizer;     /* tokenizer.json to use; NULL: out/tokenizer.json if there, else
                                  one is trained on the data and written there                 */
    const char *init;          /* folder of a checkpoint to start from, or NULL: random.  Of the
                                  same shape, but for `order`, which it may lack.  Not used when
                                  resuming                                                  */
    int threads;               /* 0 = all cores; does not change the numbers                  */
    const char *cpu;           /* as loci_engine_options                                      */
    const char *device;        /* "cpu" (NULL), "cuda", "cuda:N", or "cuda:0,1,2" to share steps */
    bool resume;               /* go on from out/train_state.safetensors if it exists         */
    int64_t stop_after_steps;  /* 0 = to the end of the config; else stop there with a checkpoint */
    int64_t stop_at_tokens;    /* 0 = no limit; else stop there, counted from the run's beginning */
    double stop_after_seconds; /* 0 = no limit                                                */
    loci_train_fn *progress;   /* may be NULL */
    loci_train_note_fn *note;  /* may be NULL */
    void *progress_ctx;        /* of both */
} loci_train_options;
LOCI_API loci_train_options loci_train_options_default(void);

enum { LOCI_TRAIN_PARTS = 24 };

typedef struct {
    int64_t steps, tokens;
    int64_t parameters;
    double seconds; /* of this call */
    loci_train_progress last;
    /* On a GPU: where the last step's time went, in milliseconds.  "host" is time in which the device
     * waited for the next items.  Names are static. */
    struct {
        const char *name;
        double ms;
    } part[LOCI_TRAIN_PARTS];
    int n_parts; /* 0 on the CPU */
} loci_train_report;

/* Train.  Returns at the end of the config, at a stop asked for, or on an error; what was
 * trained up to the last checkpoint stays in `out`.
 * Errors: LOCI_EFORMAT / LOCI_EINVAL (config: file, key, expected, found), LOCI_ENOTFOUND (data),
 * LOCI_EMODEL (state of another config), LOCI_EIO, LOCI_ENOMEM, LOCI_ECANCEL. */
LOCI_API loci_status loci_train(const loci_train_options *opt, loci_train_report *out,
                                loci_error *err);

/* Train a tokenizer on the same kinds of data: `vocab` entries (272..65,536), at most `max_bytes`
 * of text taken evenly from all of it; written to out_path. */
LOCI_API loci_status loci_train_tokenizer(const char *const *data, int n_data, int vocab,
                                          int64_t max_bytes, const char *out_path,
                                          loci_progress_fn *progress, void *ctx, loci_error *err);

/* ---- the text itself --------------------------------------------------------------------------
 * What the trainer reads from files, folders and NAME.txt.zst corpora: all documents in one block. */
typedef struct {
    char *text; /* owned: all documents one after the other */
    size_t bytes, cap;
    size_t *start; /* (n_docs + 1) byte offsets; owned */
    size_t n_docs, cap_docs;
} loci_corpus;
/* Add one path; *c begins zeroed.  Freed with loci_corpus_free, also on failure.
 * Errors: LOCI_ENOTFOUND, LOCI_EIO, LOCI_EFORMAT (a corpus that is damaged or not its index's),
 * LOCI_ENOMEM. */
LOCI_API loci_status loci_corpus_add(loci_corpus *c, const char *path, loci_error *err);
LOCI_API void loci_corpus_free(loci_corpus *c); /* leaves it empty */

/* ---- what a model was trained on ------------------------------------------------------------
 * Beside a checkpoint, data_grams.bin holds hashes of one in 256 (or fewer, at most 4 MB) of the runs
 * of 13 words of its training text. */
enum { LOCI_GRAM_WORDS = 13 };
typedef struct loci_grams loci_grams;
/* *out is owned: loci_grams_close.  Errors: LOCI_ENOTFOUND, LOCI_EIO, LOCI_EFORMAT, LOCI_EVERSION,
 * LOCI_ENOMEM. */
LOCI_API loci_status loci_grams_open(loci_grams **out, const char *path, loci_error *err);
LOCI_API void loci_grams_close(loci_grams *g); /* NULL is fine */
typedef struct {
    int64_t runs;    /* of 13 words                              */
    int64_t sampled; /* of these, such as the file could hold    */
    int64_t found;   /* of these, in the file: in training text  */
} loci_overlap;
/* Add the runs of one document to *sum. */
LOCI_API void loci_grams_overlap(const loci_grams *g, const char *text, size_t bytes,
                                 loci_overlap *sum);

#ifdef __cplusplus
}
#endif
#endif
