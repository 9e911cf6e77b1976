/* train_lane.h - one of the GPUs that a run of training has: a lane.
 *
 * Every lane holds all parameters and moments.  It takes its share of a step's micro-batches, the
 * gradients of all lanes become one sum on each (loci_lane_collect, loci_lane_spread), and each then
 * makes the same step of them: what they hold never differs by a bit, and nothing but gradients is sent.
 *
 *   lane 0   micro-batches 0, n, 2n ..   |  sum of piece 0   |  pieces 1 .. from their lanes  |  step
 *   lane 1   micro-batches 1, n + 1 ..   |  sum of piece 1   |  ...                           |  step
 *
 * At a bar all lanes wait for each other (train_gpu.c).  Calls about a lane may come from any thread, one at
 * a time, and find its device by themselves. */
#ifndef LOCI_TRAIN_LANE_H
#define LOCI_TRAIN_LANE_H

#include "model/gpu/gpu_model.h"
#include "train/trainer.h"

enum { LOCI_MUON_SHAPES = 64, LOCI_LANE_MARK = 80 };
/* Marks of a step's end, behind those of the pass. */
enum { LANE_REDUCE = LOCI_LANE_MARK, LANE_STEP, LANE_DONE };

typedef struct { /* matrices of one shape, stepped together */
    int rows, cols, batch;
    int64_t *offset; /* (batch) on the device */
} loci_muon_group;

typedef struct {
    loci_gpu *g;
    loci_gpu_weights w;
    loci_gpu_pass *pass;
    float *m, *v;
    uint8_t *decay, *muon;
    double *norm; /* [0] norm, [1 ..] partial sums */
    float *kept;  /* parameters while rounded ones stand in; NULL, as `four`: no phase rounds */
    uint8_t *four;
    float *sum, *peer; /* a piece of the gradient, summed and another lane's; NULL: one lane */
    loci_muon_group group[LOCI_MUON_SHAPES];
    int n_groups;
    loci_bf16 *x, *next, *a, *b; /* scratch of Muon */
    float *square;
    const loci_sequence **seq; /* (t->max_micro) of the micro-batch that runs */
    /* of one step */
    loci_loss_sums sums;
    double grad_norm;
    loci_status status;
    loci_error error;
} loci_lane;

/* Open device `device` as one of n_lanes; parameters and moments are copied there from t->optim.
 * Closed by loci_lane_close, also after a failure.  Errors: loci_gpu_trainer_open's. */
loci_status loci_lane_open(loci_lane *u, const loci_trainer *t, int device, int n_lanes,
                           loci_error *err);
void loci_lane_close(loci_lane *u);

/* Parameters in 4 bits stand in for a pass, if the phase wants them; then these are back. */
void loci_lane_round(loci_lane *u, const loci_phase *phase);
void loci_lane_unround(loci_lane *u, const loci_phase *phase);
/* Piece i of the gradient, summed over all lanes in their order, into lane i; waits for the device.
 * All lanes have their gradients.  Errors: the device's. */
loci_status loci_lane_collect(loci_lane *all, int n_lanes, int i, loci_error *err);
/* The other pieces of the sum from the lanes that have them; waits.  All lanes have collected. */
loci_status loci_lane_spread(loci_lane *all, int n_lanes, int i, loci_error *err);
/* Norm, Muon and AdamW of step number `step` (0 is the first); the gradient is zero then.  Waits. */
loci_status loci_lane_step(loci_lane *u, const loci_train_config *c, double schedule, int64_t step,
                           loci_error *err);
/* Does it hold these parameters, to the bit?  LOCI_ESTATE: no.  scratch: floats as many as there are. */
loci_status loci_lane_compare(loci_lane *u, const float *param, float *scratch, loci_error *err);
/* Parameters and moments into o. */
loci_status loci_lane_fetch(loci_lane *u, loci_optim *o, loci_error *err);

#endif
