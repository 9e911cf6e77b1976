/* train_impl.h - what the files of this folder share.
 *
 *   config.c      the JSON config: model, train, families, phases
 *   corpus.c      text on disk -> documents in memory
 *   grams.c       which runs of words the data hold, for later
 *   item.c        documents and tasks -> one training sequence, a pure function of its seed
 *   task_item.c   facts in an excerpt, questions, answers with the tokens they are copied from
 *   optim.c       schedule, gradient sums in a fixed order, clipping, AdamW
 *   muon.c        Muon for hidden matrices
 *   rounding.c    steps with weights in 4 bits
 *   checkpoint.c  what is saved and how training goes on from it
 *   trainer.c     the loop
 */
#ifndef LOCI_TRAIN_IMPL_H
#define LOCI_TRAIN_IMPL_H

#include "base/base.h"
#include "loci/task.h"
#include "loci/train.h"
#include "model/model.h"

/* ---- config.c ------------------------------------------------------------------------ */
enum { LOCI_MAX_PHASES = 8 };

typedef struct {
    char name[32];
    int64_t tokens;               /* length of the phase                                          */
    int seq_len, batch;           /* tokens a sequence, sequences a step                          */
    int accumulate;               /* micro-batches that a step's batch is run in                  */
    int window;                   /* of the attention in this phase, 0: the model's               */
    bool routed;                  /* false: dense warm-up                                         */
    int kl_every;                 /* KL on 1 query token in this many, 0: on none                 */
    float oracle_from, oracle_to; /* weights of losses, linear over the phase: oracle,  */
    float pointer_from, pointer_to; /* pointer, decode (pointer.c)                        */
    float decode_from, decode_to;
    float synthetic;          /* share of sequences that are task items                       */
    float separate;           /* share of those whose questions are documents of their own    */
    int facts_min, facts_max; /* facts an item, drawn log-uniformly                      */
    int questions_max;
    int parts_max;
    float near_duplicate; /* share of needle keys that differ from another in one word   */
    float shared_keys;    /* share of items with keys near those of the step's other items */
    float absent;         /* share of questions about what is not there                   */
    float gate_target;    /* consult rate aimed at; 1 = gate loss off                     */
    bool hard_gate;       /* gates are 0 or 1, their gradient passes straight through     */
    bool round_weights;   /* to 4 bits before each pass (rounding.c)                      */
} loci_phase;

typedef struct {
    loci_hparams hp;
    int64_t seed;
    int slots;        /* gradient buffers summed in this order: fixes the numbers     */
    float lr, lr_min; /* peak, end of the cosine                                      */
    float muon;       /* step of Muon on hidden matrices (muon.c); 0: AdamW for all   */
    bool negatives;   /* the chunks of a batch's other sequences join the softmax         */
    int64_t warmup_tokens;
    float beta1, beta2, eps, weight_decay, clip;
    float answer_weight, question_weight, kl, absence, z;
    float tier_share, ageing; /* share of chunks served packed, loss of packing (tier.c) */
    float hash;               /* losses of trained codes (code_loss.c) */
    int hash_every;           /* of how many query tokens one trains them */
    float gate_rho, gate_eta;
    float regret;                    /* weight of what closed gates would cost             */
    int regret_every;                /* 1 sequence in so many is asked for it; 0: none     */
    int log_every, checkpoint_every; /* steps */
    int64_t tokenizer_bytes;
    float family[LOCI_TASK_COUNT]; /* shares, any sum > 0 */
    int n_phases;
    loci_phase phase[LOCI_MAX_PHASES];
    int64_t total_tokens; /* sum over phases */
    uint64_t identity;    /* of the file's meaning: a checkpoint of another config is refused */
} loci_train_config;
loci_status loci_train_config_load(loci_train_config *c, const char *path, loci_error *err);
/* The same from memory (fuzzing). */
loci_status loci_train_config_parse(loci_train_config *c, const char *text, const char *label,
                                    loci_error *err);

/* Does any phase round its weights? */
bool loci_config_rounds(const loci_train_config *c);
/* The model's shape as this phase trains it. */
loci_hparams loci_phase_hparams(const loci_train_config *c, const loci_phase *phase);

/* ---- grams.c ----------------------------------------------------------------------------- */
enum { LOCI_GRAMS_MOST = (4000000 - 32) / 8 }; /* hashes: a file of 4 MB */
/* Write the sample of the corpus's runs of words and those of an earlier run's (before, NULL: none),
 * `most` of them at most (1 .. LOCI_GRAMS_MOST).
 * Errors: LOCI_EIO, LOCI_ENOMEM. */
loci_status loci_grams_write(const loci_corpus *corpus, const loci_grams *before, size_t most,
                             const char *path, loci_error *err);
/* A file's bytes (fuzzing). */
loci_status loci_grams_parse(loci_grams **out, const void *data, size_t bytes, const char *label,
                             loci_error *err);

/* ---- item.c -------------------------------------------------------------------------------- */
typedef struct loci_item_maker loci_item_maker; /* scratch of one worker: encoder, buffers */
loci_status loci_item_maker_open(loci_item_maker **out, const loci_tokenizer *tok, int max_seq,
                                 loci_error *err);
void loci_item_maker_close(loci_item_maker *m);

typedef struct { /* owned arrays of one sequence, capacity max_seq */
    loci_sequence seq;
    int32_t *ids, *target, *gold, *source, *doc;
    float *weight;
    uint8_t *answer, *banked;
    /* Counts that the losses are divided by. */
    double weight_sum;
    int64_t n_query, n_gold, n_absent;
} loci_item;
loci_status loci_item_init(loci_item *it, int max_seq, loci_error *err);
void loci_item_free(loci_item *it);
/* Most chunks in the bank of one sequence of seq_len tokens. */
int loci_item_chunks_max(int seq_len);
/* KL rows of the item: see loci_loss_options. */
int64_t loci_item_kl_rows(const loci_item *it, int every, int phase);
/* Tokens whose codes are compared (code_loss.c): every so many, and all with a gold chunk. */
int64_t loci_item_code_rows(const loci_item *it, int every, int phase);
/* Tokens that the regret of a sequence is taken over: with a target and a chunk to read. */
int64_t loci_item_regret_rows(const loci_item *it);
/* Tokens in chunks that are served packed (tier.c). */
int64_t loci_item_packed_rows(const loci_item *it, int chunk);
/* Fill `it` for (config, phase, corpus, seed, theme): the same bytes for the same arguments.  theme:
 * of the step, so that items of one step have near-duplicate keys (loci_task_options). */
loci_status loci_item_make(loci_item *it, loci_item_maker *m, const loci_train_config *c,
                           const loci_phase *phase, const loci_corpus *corpus, uint64_t seed,
                           uint64_t theme, loci_error *err);

/* ---- optim.c --------------------------------------------------------------------------------- */
typedef struct {
    loci_hparams hp;
    size_t n;             /* floats of the flat parameter vector */
    float *param, *m, *v; /* (n) */
    uint8_t *muon;        /* (n / 16) 1: Muon steps these 16 floats, AdamW does not */
    float *muon_scratch;  /* see muon.c; NULL without Muon */
    float *slot;          /* (slots, n) gradients */
    uint8_t *decay;       /* (n / 16) 1: weight decay applies to these 16 floats */
    uint8_t *four;  /* (n / 16) where groups of 4 bits lie: see rounding.c; NULL: no phase rounds */
    float *kept;    /* (n) parameters as they are while rounded ones stand in; NULL on a GPU */
    double *square; /* partial sums of the norm */
    loci_param_info *info;
    int n_info;
    int slots;
} loci_optim;
/* slots: gradient buffers, 0 when the gradients are elsewhere (a GPU). */
loci_status loci_optim_init(loci_optim *o, const loci_train_config *c, int slots, loci_error *err);
void loci_optim_free(loci_optim *o);
/* Share of the peak: linear over warmup_tokens, then a cosine over all tokens to lr_min / lr. */
double loci_schedule(const loci_train_config *c, int64_t tokens);
/* Sum the slots into slot 0, which then holds the step's whole gradient; the others are zeroed.
 * Returns its norm.  On GPUs the same is done by gpu/train_lane.c. */
double loci_optim_reduce(loci_optim *o, loci_pool *pool, const loci_kernels *k);
/* Reduce, clip by the global norm, step.  Returns the norm before clipping;
 * not finite: parameters are left as they were.  Slots are zeroed. */
double loci_optim_step(loci_optim *o, loci_pool *pool, const loci_kernels *k,
                       const loci_train_config *c, double schedule, int64_t step);
/* muon.c: is this tensor stepped by Muon?  Floats of scratch for all of them.  The step itself:
 * gradients in slot 0 (scaled by gscale), moments in o->m. */
bool loci_muon_wants(const loci_param_info *info);
size_t loci_muon_scratch(const loci_param_info *info, int n_info);
void loci_muon_step(loci_optim *o, loci_pool *pool, const loci_kernels *k,
                    const loci_train_config *c, float schedule, float gscale);

/* ---- rounding.c: phases with round_weights ------------------------------------------------------ */
enum { LOCI_FOUR_STARTS = 1, LOCI_FOUR_GOES_ON = 2 }; /* of a group of 32: first 16, other 16 */
/* Mark the groups of a tensor whose floats begin at 16 first_block. */
void loci_rounding_flags(loci_optim *o, const loci_param_info *info, size_t first_block);
/* Rounded parameters take the place of the parameters, until the end brings these back. */
void loci_rounding_begin(loci_optim *o, loci_pool *pool);
void loci_rounding_end(loci_optim *o);

/* ---- checkpoint.c -------------------------------------------------------------------------------- */
typedef struct {
    int64_t step, tokens, phase, phase_tokens;
    double gate_multiplier, gate_mean;
} loci_train_state;
loci_status loci_checkpoint_save(const char *dir, const loci_train_config *c, const loci_optim *o,
                                 const loci_model *m, const loci_train_state *s, loci_error *err);
/* LOCI_ENOTFOUND without touching err when there is none. */
loci_status loci_checkpoint_load(const char *dir, const loci_train_config *c, loci_optim *o,
                                 loci_train_state *s, loci_error *err);
/* Append one line to dir/log.csv, with a header line when new. */
loci_status loci_train_log(const char *dir, const loci_train_progress *p, loci_error *err);

#endif
