/* train_gpu_none.c - training in a build without CUDA: there is none, and it says so. */
#include "cuda/gpu.h"
#include "train/trainer.h"

loci_status loci_gpu_trainer_open(loci_trainer *t, const loci_devices *devices, loci_error *err)
{
    loci_gpu *none;
    t->gpu = NULL;
    return loci_gpu_open(&none, devices->number[0], err);
}

void loci_gpu_trainer_close(loci_trainer *t)
{
    (void)t;
}

loci_status loci_gpu_trainer_step(loci_trainer *t, loci_loss_sums *step, int64_t *tokens,
                                  double schedule, double *norm, loci_error *err)
{
    (void)t, (void)step, (void)tokens, (void)schedule, (void)norm;
    return loci_fail(err, LOCI_ESTATE, "there is no GPU");
}

void loci_gpu_trainer_times(loci_trainer *t, loci_train_report *out)
{
    (void)t;
    out->n_parts = 0;
}

loci_status loci_gpu_trainer_fetch(loci_trainer *t, loci_error *err)
{
    (void)t;
    return loci_fail(err, LOCI_ESTATE, "there is no GPU");
}
