/* bench_model.c - measured calls: the chunk encoder's rows, the head, the optimisers. */
#include "cuda/gpu/bench.h"

static const double tokens = TOKENS;

/* ---- encoder ---------------------------------------------------------------------------------- */

gpu_work gpu_bench_place(gpu_bench *b, int variant)
{
    (void)variant;
    float *z = gpu_take(b, (size_t)ENC_ROWS * ENC * sizeof *z);
    const loci_bf16 *in = gpu_take_bf16(b, (size_t)TOKENS * ENC);
    const float *pos = gpu_take_f32(b, 64 * ENC), *cls = gpu_take_f32(b, 2 * ENC);
    const int32_t *row = gpu_take_i32(b, TOKENS, gpu_itself);
    LAUNCH(loci_gpu_place(b->g, z, in, pos, cls, row, CHUNKS, ENC));
    return (gpu_work){ "1024 chunks x 256", tokens * ENC,
                       4.0 * ENC_ROWS * ENC + tokens * (2 * ENC + 4) };
}

gpu_work gpu_bench_unplace(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_bf16 *dz = gpu_take_bf16(b, (size_t)ENC_ROWS * ENC);
    loci_bf16 *din = gpu_take(b, (size_t)TOKENS * ENC * 2);
    const int32_t *row = gpu_take_i32(b, TOKENS, gpu_itself);
    LAUNCH(loci_gpu_unplace(b->g, din, dz, row, CHUNKS, ENC));
    return (gpu_work){ "1024 chunks x 256", 0, tokens * (4 * ENC + 4) };
}

gpu_work gpu_bench_cat(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *cat = gpu_take(b, (size_t)TOKENS * (DIM + ENC) * 2);
    float *inv = gpu_take(b, TOKENS * sizeof *inv);
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * DIM);
    const float *z = gpu_take_f32(b, (size_t)ENC_ROWS * ENC);
    const int32_t *row = gpu_take_i32(b, TOKENS, gpu_itself);
    LAUNCH(loci_gpu_cat(b->g, cat, inv, x, z, row, CHUNKS, DIM, ENC, 1e-5f));
    return (gpu_work){ "65536x(512 + 256)", 3 * tokens * ENC, tokens * (4 * DIM + 6 * ENC + 8) };
}

gpu_work gpu_bench_uncat(gpu_bench *b, int variant)
{
    (void)variant;
    float *dz = gpu_take(b, (size_t)ENC_ROWS * ENC * sizeof *dz);
    loci_bf16 *dx = gpu_take(b, (size_t)TOKENS * DIM * 2);
    const loci_bf16 *dcat = gpu_take_bf16(b, (size_t)TOKENS * (DIM + ENC)),
                    *cat = gpu_take_bf16(b, (size_t)TOKENS * (DIM + ENC));
    const float *inv = gpu_take_equal(b, TOKENS, 1.0f);
    const int32_t *row = gpu_take_i32(b, TOKENS, gpu_itself);
    LAUNCH(loci_gpu_uncat(b->g, dz, dx, dcat, cat, inv, row, CHUNKS, DIM, ENC));
    return (gpu_work){ "65536x(512 + 256)", 5 * tokens * ENC, tokens * (4 * DIM + 8 * ENC + 8) };
}

gpu_work gpu_bench_summary(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *cls = gpu_take(b, (size_t)CHUNKS * 2 * ENC * 2);
    float *bias = gpu_take(b, CHUNKS * sizeof *bias);
    const float *z = gpu_take_f32(b, (size_t)ENC_ROWS * ENC), *w = gpu_take_f32(b, 2 * ENC),
                *one = gpu_take_f32(b, 1);
    LAUNCH(loci_gpu_summary(b->g, cls, bias, z, w, one, CHUNKS, ENC));
    return (gpu_work){ "1024x2x256", 4.0 * CHUNKS * ENC, 12.0 * CHUNKS * ENC };
}

gpu_work gpu_bench_unsummary(gpu_bench *b, int variant)
{
    (void)variant;
    float *dz = gpu_take(b, (size_t)ENC_ROWS * ENC * sizeof *dz);
    const loci_bf16 *dcls = gpu_take_bf16(b, (size_t)CHUNKS * 2 * ENC);
    const float *dbias = gpu_take_equal(b, CHUNKS, 0.1f), *w = gpu_take_f32(b, 2 * ENC);
    LAUNCH(loci_gpu_unsummary(b->g, dz, dcls, dbias, w, CHUNKS, ENC));
    return (gpu_work){ "1024x2x256", 4.0 * CHUNKS * ENC, 12.0 * CHUNKS * ENC };
}

/* ---- head ------------------------------------------------------------------------------------------- */

enum { ROWS = 8192 }; /* logits are made a block at a time */

static int32_t next_word(int64_t i)
{
    return (int32_t)(i * 7919 % VOCAB);
}

gpu_work gpu_bench_cross_entropy(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)ROWS * VOCAB;
    float *loss = gpu_take(b, ROWS * sizeof *loss);
    int32_t *best = gpu_take(b, ROWS * sizeof *best);
    loci_bf16 *d = gpu_take(b, n * 2);
    const float *logits = gpu_take_f32(b, n), *weight = gpu_take_equal(b, ROWS, 1e-4f);
    const int32_t *target = gpu_take_i32(b, ROWS, next_word);
    LAUNCH(loci_gpu_cross_entropy(b->g, loss, best, d, logits, target, weight, 1e-4f, ROWS, VOCAB));
    return (gpu_work){ "8192x16384", 8.0 * (double)n, 6.0 * (double)n };
}

gpu_work gpu_bench_spread_values(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *tile = gpu_take(b, (size_t)ROWS * READ * 2);
    const loci_bf16 *content = gpu_take_bf16(b, (size_t)TOKENS * 128);
    const int32_t *at = gpu_take_i32(b, ROWS, gpu_itself);
    LAUNCH(loci_gpu_spread_values(b->g, tile, content, 128, at, ROWS));
    return (gpu_work){ "8192x512", 0, ROWS * (2.0 * READ + 132) };
}

gpu_work gpu_bench_collect_values(gpu_bench *b, int variant)
{
    (void)variant;
    float *dcontent = gpu_take(b, (size_t)TOKENS * 128 * sizeof *dcontent);
    const loci_bf16 *tile = gpu_take_bf16(b, (size_t)ROWS * READ);
    const int32_t *at = gpu_take_i32(b, ROWS, gpu_itself);
    LAUNCH(loci_gpu_collect_values(b->g, dcontent, tile, at, ROWS));
    return (gpu_work){ "8192x512", (double)ROWS * READ, ROWS * (2.0 * READ + 516) };
}

/* ---- optimisers ---------------------------------------------------------------------------------------- */

enum { PARAMS = 32 << 20, MATRICES = 8, MUON_ROWS = 2 * FFN, MUON_SQUARES = 64 };

gpu_work gpu_bench_norm(gpu_bench *b, int variant)
{
    (void)variant;
    double *norm = gpu_take(b, sizeof *norm), *part = gpu_take(b, 1024 * sizeof *part);
    const float *grad = gpu_take_f32(b, PARAMS);
    LAUNCH(loci_gpu_norm(b->g, norm, part, grad, PARAMS));
    return (gpu_work){ "32M", 2.0 * PARAMS, 4.0 * PARAMS };
}

gpu_work gpu_bench_adamw(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_adamw_job j = { .p = gpu_take_f32(b, PARAMS),
                                   .m = gpu_take(b, (size_t)PARAMS * sizeof(float)),
                                   .v = gpu_take(b, (size_t)PARAMS * sizeof(float)),
                                   .grad = gpu_take_f32(b, PARAMS),
                                   .copy = gpu_take(b, (size_t)PARAMS * 2),
                                   .decay = gpu_take_u8(b, PARAMS / 16, 1),
                                   .muon = gpu_take_u8(b, PARAMS / 16, 0),
                                   .norm = gpu_take(b, sizeof(double)),
                                   .n = PARAMS,
                                   .lr = 1e-3f,
                                   .b1 = 0.9f,
                                   .b2 = 0.98f,
                                   .eps = 1e-8f,
                                   .wd = 0.1f,
                                   .c1 = 0.5f,
                                   .c2 = 0.5f,
                                   .clip = 1.0f };
    LAUNCH(loci_gpu_adamw(b->g, &j));
    return (gpu_work){ "32M", 15.0 * PARAMS, 34.0 * PARAMS };
}

/* The flags of two groups: their blocks start and go on. */
static int32_t two_groups(int64_t i)
{
    (void)i;
    return 0x02010201;
}

gpu_work gpu_bench_round_four(gpu_bench *b, int variant)
{
    (void)variant;
    float *p = gpu_take_f32(b, PARAMS), *kept = gpu_take(b, (size_t)PARAMS * sizeof *kept);
    loci_bf16 *copy = gpu_take(b, (size_t)PARAMS * sizeof *copy);
    const void *four = gpu_take_i32(b, PARAMS / 64, two_groups);
    LAUNCH(loci_gpu_round_four(b->g, p, copy, kept, four, PARAMS));
    return (gpu_work){ "32M", 0.0, 14.0 * PARAMS };
}

/* Offsets as halves of int64, low one first. */
static int32_t offset_half(int64_t i)
{
    return i % 2 == 0 ? (int32_t)(i / 2 * MUON_ROWS * DIM) : 0;
}

gpu_work gpu_bench_muon(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)MATRICES * MUON_ROWS * DIM, kk = (size_t)MATRICES * DIM * DIM;
    const loci_gpu_muon_job j = {
        .p = gpu_take_f32(b, n),
        .m = gpu_take(b, n * sizeof(float)),
        .grad = gpu_take_f32(b, n),
        .norm = gpu_take(b, sizeof(double)),
        .offset = (const int64_t *)(const void *)gpu_take_i32(b, 2 * MATRICES, offset_half),
        .x = gpu_take(b, n * 2),
        .next = gpu_take(b, n * 2),
        .a = gpu_take(b, kk * 2),
        .b = gpu_take(b, kk * 2),
        .square = gpu_take(b, MATRICES * MUON_SQUARES * sizeof(float)),
        .rows = MUON_ROWS,
        .cols = DIM,
        .batch = MATRICES,
        .lr = 1e-3f,
        .decay = 1e-4f,
        .clip = 1.0f
    };
    LAUNCH(loci_gpu_muon(b->g, &j));
    const double k = DIM, c = MUON_ROWS; /* five times: A = X X', A A, B X */
    return (gpu_work){ "8 of 2304x512", 5.0 * MATRICES * (4.0 * k * k * c + 2.0 * k * k * k),
                       (double)n * 20 };
}
