/* trainer.h - the state of a training run, shared by trainer.c (a step) and run.c (the loop). */
#ifndef LOCI_TRAINER_H
#define LOCI_TRAINER_H

#include "cuda/gpu.h"
#include "train/train_impl.h"

typedef struct { /* what one slot owns: see trainer.c */
    loci_item_maker *maker;
    loci_params grads;         /* bound to the slot's gradient buffer */
    loci_negatives *negatives; /* (max_micro + 1) */
    loci_loss_sums sums;
    loci_status status;
    loci_error error;
} loci_trainer_slot;

typedef struct {
    loci_train_config config;
    loci_corpus corpus;
    loci_tokenizer *tok;
    loci_pool *pool;
    loci_optim optim;
    loci_model *model; /* over optim.param */
    loci_train_state state;
    bool on_gpu;
    struct loci_gpu_trainer *gpu; /* gpu/train_gpu.c; NULL on the CPU */
    /* one step */
    const loci_phase *phase, *phase_ready; /* current; the one that the tapes are laid out for */
    loci_loss_options loss;
    int max_batch, max_micro, max_seq;
    int at, micro;           /* the micro-batch: items [at, at + micro) */
    loci_item *item;         /* (max_batch) */
    loci_pass **pass;        /* (max_micro) in tape_memory, pass i of item at + i */
    int *first_chunk;        /* (max_micro + 1) chunks of the sequences before */
    loci_trainer_slot *slot; /* (slots) */
    float *neg;              /* (slots, neg_floats) gradients of others' landmarks and biases */
    size_t neg_floats, tape_bytes;
    void *tape_memory;
} loci_trainer;

/* Allocate for the config's largest phase; t->config, tok and optim are set. */
loci_status loci_trainer_alloc(loci_trainer *t, loci_error *err);
void loci_trainer_free(loci_trainer *t);
/* Parameters from the checkpoint opt->init, of any stored form, in place of the start values that are
 * there; opt->note says which keep these (init.c).  Errors: as loci_model_open; LOCI_EFORMAT a tensor that is not the run's. */
loci_status loci_trainer_init_from(loci_trainer *t, const loci_train_options *opt, loci_error *err);
/* The items of step `step` of a phase, on all threads. */
loci_status loci_trainer_make(loci_trainer *t, loci_item *item, const loci_phase *phase,
                              int64_t step, loci_error *err);
/* Is item i of a step's batch one of those that are run without their bank as well?  The others are
 * run with loss.regret 0. */
bool loci_trainer_regrets(const loci_train_config *c, const loci_phase *p, int64_t step, int i);
/* Weights and scales of the losses of those items. */
void loci_trainer_losses(const loci_train_config *c, const loci_item *item, const loci_phase *p,
                         const loci_train_state *state, loci_loss_options *o);
/* That of the gates alone, which depends on how the gates did in the step before. */
float loci_trainer_gate(const loci_train_config *c, const loci_phase *p, const loci_train_state *s);
/* *a += *b */
void loci_loss_sums_add(loci_loss_sums *a, const loci_loss_sums *b);
/* The state after a step of so many tokens. */
void loci_train_state_next(loci_train_state *s, const loci_train_config *c, int64_t tokens);
/* The gradients of one step's batch, in the slots (zero before), of the parameters as they are: adds
 * to *sums and to *tokens.  The counters of t->state are left alone. */
loci_status loci_trainer_gradients(loci_trainer *t, loci_loss_sums *sums, int64_t *tokens,
                                   loci_error *err);
/* One step: adds to *sums; gives the gradient norm before clipping and the learning rate. */
loci_status loci_trainer_step(loci_trainer *t, loci_loss_sums *sums, double *norm, double *lr,
                              loci_error *err);

/* ---- training on a GPU (gpu/train_gpu.c; train_gpu_none.c in a build without CUDA) ------------ */

/* After loci_trainer_alloc and whatever loads parameters and moments: copies them to the devices, of which
 * there is at least one.
 * Errors: as loci_gpu_open; LOCI_EINVAL a shape or setting that the GPU pass does not have, or a phase
 * whose micro-batches the devices cannot share. */
loci_status loci_gpu_trainer_open(loci_trainer *t, const loci_devices *devices, loci_error *err);
void loci_gpu_trainer_close(loci_trainer *t); /* without one: nothing */
/* The step of t->state: gradients and optimiser.  Adds to *step and *tokens; t->state is left alone. */
loci_status loci_gpu_trainer_step(loci_trainer *t, loci_loss_sums *step, int64_t *tokens,
                                  double schedule, double *norm, loci_error *err);
/* Where the last step's time went: see loci_train_report. */
void loci_gpu_trainer_times(loci_trainer *t, loci_train_report *out);
/* Parameters and moments back into t->optim, for a checkpoint.  Errors: the devices'; LOCI_ESTATE they do not
 * hold the same parameters. */
loci_status loci_gpu_trainer_fetch(loci_trainer *t, loci_error *err);

#endif
