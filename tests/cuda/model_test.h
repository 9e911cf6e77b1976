/* model_test.h - what the tests of whole models on the GPU share: the device, a small shape, random
 * parameters, and these moved as far as a rounding may.  Included first: it brings cmocka. */
#ifndef TESTS_CUDA_MODEL_TEST_H
#define TESTS_CUDA_MODEL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "model/gpu/gpu_model.h"
#include "model/model_impl.h"

/* Set-up and tear-down of a program.  NULL where there is no device: its tests skip. */
static loci_gpu *gpu;

static inline int open_gpu(void **state)
{
    loci_error err = { 0 };
    (void)state;
    if (loci_gpu_open(&gpu, 0, &err) != LOCI_OK) print_message("skipped: %s\n", err.text);
    return 0;
}

static inline int close_gpu(void **state)
{
    (void)state;
    loci_gpu_close(gpu);
    return 0;
}

/* Every part, once or twice; some widths are no multiple of 64. */
static inline loci_hparams small_shape(void)
{
    loci_hparams hp;
    loci_hparams_default(&hp);
    hp.vocab = 512;
    hp.d_model = 128;
    hp.n_heads = 4;
    hp.n_kv_heads = 2;
    hp.n_lower = 1;
    hp.n_upper = 2;
    hp.n_groups = 2;
    hp.window = 96;
    hp.ffn = 136;
    hp.enc_dim = 128;
    hp.enc_mlp = 72;
    hp.router_hidden = 64;
    hp.read_mlp = 88;
    hp.top_k = 3;
    return hp;
}

static inline float to_bf16(float x)
{
    return loci_bf16_to_f32(loci_f32_to_bf16(x));
}

/* What a model starts with, and noise: no zero tensors, so that every path carries something.  Rounded
 * to bf16, so that both sides have the same weights.  Owned: loci_free_aligned. */
static inline float *random_params(const loci_hparams *hp, uint64_t start, uint64_t noise)
{
    const size_t n = loci_param_floats(hp);
    float *base = loci_alloc_aligned(n * sizeof *base);
    assert_non_null(base);
    loci_rng rng;
    loci_rng_seed(&rng, noise);
    loci_params_init(base, hp, start);
    for (size_t i = 0; i < n; i++)
        base[i] = to_bf16(base[i] + 0.03f * (float)loci_rng_normal(&rng));
    return base;
}

/* moved: base (n), each number off at random by 2^-8 of its size. */
static inline void move_params(float *moved, const float *base, size_t n, loci_rng *rng)
{
    for (size_t i = 0; i < n; i++)
        moved[i] = base[i] * (1.0f + 0x1p-8f * (float)loci_rng_normal(rng));
}

#endif
