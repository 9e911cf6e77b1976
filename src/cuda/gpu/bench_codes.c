/* bench_codes.c - measured calls: losses of trained codes. */
#include "cuda/gpu/bench.h"

/* One query in 16 is sampled; every sequence has a bank. */
enum { QUERIES = TOKENS / 16, KEYS = 2 * CHUNKS, BANKS = TOKENS / SEQUENCE, D = 128 };

static const double products = 4.0 * QUERIES * KEYS * D; /* scores and codes */

static int32_t sampled(int64_t i)
{
    return (int32_t)(16 * i + 15);
}
static int32_t sequence_end(int64_t t)
{
    return gpu_first_own(t) + OWN;
}
static int32_t gold(int64_t t)
{
    return t % 64 == 63 && gpu_last_own(t) > gpu_first_own(t) ? gpu_first_own(t) : -1;
}
static int32_t first_chunk(int64_t bank)
{
    return (int32_t)bank * OWN;
}

gpu_work gpu_bench_soft_codes(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)KEYS * D;
    loci_bf16 *y = gpu_take(b, n * sizeof *y);
    const float *x = gpu_take_f32(b, n);
    LAUNCH(loci_gpu_soft_codes(b->g, y, x, 4.0f, n));
    return (gpu_work){ "2048x128", 0, 6.0 * (double)n };
}

gpu_work gpu_bench_soft_codes_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)KEYS * D;
    loci_bf16 *dx = gpu_take(b, n * sizeof *dx);
    const float *x = gpu_take_f32(b, n), *db = gpu_take_f32(b, n);
    LAUNCH(loci_gpu_soft_codes_bwd(b->g, dx, db, x, 4.0f, n));
    return (gpu_work){ "2048x128", 0, 10.0 * (double)n };
}

static loci_gpu_code code_job(gpu_bench *b)
{
    return (loci_gpu_code){ .u = gpu_take_bf16(b, (size_t)QUERIES * D),
                            .lm = gpu_take_bf16(b, (size_t)KEYS * D),
                            .bq = gpu_take_bf16(b, (size_t)QUERIES * D),
                            .bk = gpu_take_bf16(b, (size_t)KEYS * D),
                            .bias = gpu_take_equal(b, CHUNKS, 0.1f),
                            .tau = gpu_take_equal(b, 1, 0.5f),
                            .query = gpu_take_i32(b, QUERIES, sampled),
                            .own_lo = gpu_take_i32(b, TOKENS, gpu_first_own),
                            .own_hi = gpu_take_i32(b, TOKENS, gpu_last_own),
                            .seq_hi = gpu_take_i32(b, TOKENS, sequence_end),
                            .gold = gpu_take_i32(b, TOKENS, gold),
                            .lse_s = gpu_take_equal(b, QUERIES, 8.0f),
                            .lse_z = gpu_take_equal(b, QUERIES, 8.0f),
                            .n = QUERIES,
                            .n_chunks = CHUNKS,
                            .negatives = true };
}

gpu_work gpu_bench_code_forward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_code c = code_job(b);
    LAUNCH(loci_gpu_code_forward(b->g, &c));
    return (gpu_work){ "4096 queries, 1024 chunks", products, QUERIES * 540.0 + KEYS * 512.0 };
}

gpu_work gpu_bench_code_backward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_code c = code_job(b);
    const loci_gpu_code_grad g = { .stat =
                                       gpu_take(b, (size_t)LOCI_GPU_STATS * TOKENS * sizeof(float)),
                                   .dbq = gpu_take(b, (size_t)QUERIES * D * sizeof(float)),
                                   .dbk = gpu_take(b, (size_t)KEYS * D * sizeof(float)),
                                   .part =
                                       gpu_take(b, loci_gpu_score_parts(CHUNKS) * sizeof(float)),
                                   .share = 0.5f,
                                   .scale = 1e-4f,
                                   .rows = TOKENS };
    LAUNCH(loci_gpu_code_backward(b->g, &c, &g));
    /* Both products twice, and one for each gradient. */
    return (gpu_work){ "4096 queries, 1024 chunks", 3.0 * products,
                       QUERIES * 1060.0 + KEYS * 1536.0 };
}

gpu_work gpu_bench_code_spread(gpu_bench *b, int variant)
{
    (void)variant;
    float *loss = gpu_take(b, BANKS * sizeof *loss),
          *dbk = gpu_take(b, (size_t)KEYS * D * sizeof *dbk);
    const loci_bf16 *bk = gpu_take_bf16(b, (size_t)KEYS * D);
    const int32_t *start = gpu_take_i32(b, BANKS + 1, first_chunk);
    LAUNCH(loci_gpu_code_spread(b->g, loss, dbk, bk, start, BANKS, 1e-4f));
    return (gpu_work){ "16 banks of 128 codes", 4.0 * KEYS * D * D, KEYS * D * 10.0 };
}
