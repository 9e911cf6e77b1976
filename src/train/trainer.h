/* trainer.h - the state of a training run, shared by trainer.c (a step) and run.c (the loop). */
#ifndef LOCI_TRAINER_H
#define LOCI_TRAINER_H

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
/* The gradients of one step's batch, in the slots (zero before), of the parameters as they are: adds
 * to *sums and to *tokens.  The counters of t->state are left alone. */
loci_status loci_trainer_gradients(loci_trainer *t, loci_loss_sums *sums, int64_t *tokens,
                                   loci_error *err);
/* One step: adds to *sums; gives the gradient norm before clipping and the learning rate. */
loci_status loci_trainer_step(loci_trainer *t, loci_loss_sums *sums, double *norm, double *lr,
                              loci_error *err);

#endif
