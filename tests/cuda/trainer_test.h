/* trainer_test.h - for the tests of training on a GPU: a trainer of a config, how far apart parameters are. */
#ifndef TRAINER_TEST_H
#define TRAINER_TEST_H

#include "train/train_test.h"

#include "cuda/gpu.h"
#include "train/trainer.h"
#include <math.h>

/* Without one a line says why not. */
static inline bool have_device(void)
{
    loci_gpu *g;
    loci_error none = { 0 };
    if (loci_gpu_open(&g, 0, &none) != LOCI_OK) {
        print_message("skipped: %s\n", none.text);
        return false;
    }
    loci_gpu_close(g);
    return true;
}

/* A trainer whose start values are the config's; on a GPU its devices are still to be opened. */
static inline loci_trainer *open_trainer(const char *config, bool on_gpu)
{
    loci_trainer *t = calloc(1, sizeof *t);
    assert_non_null(t);
    MUST(loci_train_config_parse(&t->config, config, "test", err));
    t->on_gpu = on_gpu;
    t->tok = tiny_tokenizer(t->config.hp.vocab);
    MUST(loci_pool_open(&t->pool, 1, err));
    MUST(loci_optim_init(&t->optim, &t->config, on_gpu ? 0 : t->config.slots, err));
    MUST(loci_trainer_alloc(t, err));
    loci_params_init(t->optim.param, &t->config.hp, (uint64_t)t->config.seed);
    MUST(loci_model_wrap(&t->model, &t->config.hp, t->optim.param, loci_cpu_detect(), err));
    return t;
}

static inline void close_trainer(loci_trainer *t)
{
    loci_trainer_free(t);
    free(t);
}

/* Root mean square of the difference of n parameters. */
static inline double params_apart(const float *a, const float *b, size_t n)
{
    double square = 0.0;
    for (size_t i = 0; i < n; i++) square += pow((double)a[i] - (double)b[i], 2.0) / (double)n;
    return sqrt(square);
}

#endif
