/* bench_rows.c - measured calls: products, rows, the gate, sums. */
#include "cuda/gpu/bench.h"
#include <math.h>

static const double tokens = TOKENS;

/* ---- index arrays ----------------------------------------------------------------------------- */

static int32_t position(int64_t i)
{
    return (int32_t)(i % SEQUENCE);
}
static int32_t word(int64_t i) /* a few words are frequent */
{
    return (int32_t)(i % 3 == 0 ? i % 64 : i * 7919 % VOCAB);
}
/* ---- products ------------------------------------------------------------------------------------ */

gpu_work gpu_bench_gemm(gpu_bench *b, int variant)
{
    static const struct {
        const char *size;
        int m, n, k, ta, tb;
        bool wide;
    } shape[] = {
        { "product 8192x8192x8192", 8192, 8192, 8192, 0, 1, false },
        { "qkv 65536x768x512", TOKENS, (HEADS + 2 * KV_HEADS) * 64, DIM, 0, 1, false },
        { "gate, up 65536x2304x512", TOKENS, 2 * FFN, DIM, 0, 1, false },
        { "down 65536x512x1152", TOKENS, DIM, FFN, 0, 1, false },
        { "dx 65536x512x2304", TOKENS, DIM, 2 * FFN, 0, 0, false },
        { "dW 2304x512x65536", 2 * FFN, DIM, TOKENS, 1, 0, true },
        { "logits 8192x16384x512", 8192, VOCAB, DIM, 0, 1, true },
    };
    const int m = shape[variant].m, n = shape[variant].n, k = shape[variant].k;
    const size_t sa = (size_t)m * (size_t)k, sb = (size_t)n * (size_t)k, sc = (size_t)m * (size_t)n;
    const bool ta = shape[variant].ta, tb = shape[variant].tb, wide = shape[variant].wide;
    loci_gpu_gemm_job job = { .a = gpu_take_bf16(b, sa),
                              .b = gpu_take_bf16(b, sb),
                              .c = gpu_take(b, sc * (wide ? 4 : 2)),
                              .ta = ta,
                              .tb = tb,
                              .lda = ta ? m : k,
                              .ldb = tb ? k : n,
                              .ldc = n,
                              .m = m,
                              .n = n,
                              .k = k,
                              .alpha = 1.0f,
                              .wide = wide,
                              .batch = 1 };
    LAUNCH(loci_gpu_gemm(b->g, &job));
    return (gpu_work){ shape[variant].size, 2.0 * m * n * k,
                       2.0 * (double)(sa + sb) + (wide ? 4.0 : 2.0) * (double)sc };
}

/* ---- norms ----------------------------------------------------------------------------------------- */

gpu_work gpu_bench_rmsnorm(gpu_bench *b, int variant)
{
    (void)variant;
    const float *x = gpu_take_f32(b, (size_t)TOKENS * DIM);
    loci_bf16 *y = gpu_take(b, (size_t)TOKENS * DIM * 2);
    float *inv = gpu_take(b, TOKENS * sizeof *inv);
    LAUNCH(loci_gpu_rmsnorm(b->g, y, DIM, inv, x, DIM, TOKENS, DIM, 1e-5f));
    return (gpu_work){ "65536x512", 4 * tokens * DIM, tokens * (6 * DIM + 4) };
}

gpu_work gpu_bench_rmsnorm_b(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * DIM);
    loci_bf16 *y = gpu_take(b, (size_t)TOKENS * DIM * 2);
    float *inv = gpu_take(b, TOKENS * sizeof *inv);
    LAUNCH(loci_gpu_rmsnorm_b(b->g, y, DIM, inv, x, DIM, TOKENS, DIM, 1e-5f));
    return (gpu_work){ "65536x512", 4 * tokens * DIM, tokens * (4 * DIM + 4) };
}

gpu_work gpu_bench_rmsnorm_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * DIM;
    const loci_gpu_rmsnorm_grad job = { .dx = gpu_take_f32(b, n),
                                        .out = gpu_take(b, n * 2),
                                        .dy = gpu_take_bf16(b, n),
                                        .y = gpu_take_bf16(b, n),
                                        .inv = gpu_take_equal(b, TOKENS, 1e-3f),
                                        .lddx = DIM,
                                        .ldout = DIM,
                                        .lddy = DIM,
                                        .ldy = DIM,
                                        .rows = TOKENS,
                                        .cols = DIM };
    LAUNCH(loci_gpu_rmsnorm_bwd(b->g, &job));
    return (gpu_work){ "65536x512", 7 * tokens * DIM, tokens * (14 * DIM + 4) };
}

gpu_work gpu_bench_rmsnorm_bwd_b(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * DIM;
    loci_bf16 *dx = gpu_take(b, n * 2);
    const loci_bf16 *dy = gpu_take_bf16(b, n), *y = gpu_take_bf16(b, n);
    const float *inv = gpu_take_equal(b, TOKENS, 1.0f);
    LAUNCH(loci_gpu_rmsnorm_bwd_b(b->g, dx, DIM, dy, NULL, DIM, y, DIM, inv, TOKENS, DIM));
    return (gpu_work){ "65536x512", 6 * tokens * DIM, tokens * (6 * DIM + 4) };
}

/* ---- activations -------------------------------------------------------------------------------------- */

gpu_work gpu_bench_to_bf16(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * DIM;
    const float *x = gpu_take_f32(b, n);
    loci_bf16 *y = gpu_take(b, n * 2);
    LAUNCH(loci_gpu_to_bf16(b->g, y, x, n));
    return (gpu_work){ "65536x512", 0, 6.0 * (double)n };
}

gpu_work gpu_bench_swiglu(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_bf16 *gu = gpu_take_bf16(b, (size_t)TOKENS * 2 * FFN);
    loci_bf16 *y = gpu_take(b, (size_t)TOKENS * FFN * 2);
    LAUNCH(loci_gpu_swiglu(b->g, y, gu, TOKENS, FFN));
    return (gpu_work){ "65536x1152", 5 * tokens * FFN, 6 * tokens * FFN };
}

gpu_work gpu_bench_swiglu_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *gu = gpu_take_bf16(b, (size_t)TOKENS * 2 * FFN),
              *act = gpu_take(b, (size_t)TOKENS * FFN * 2);
    const loci_bf16 *d = gpu_take_bf16(b, (size_t)TOKENS * FFN);
    LAUNCH(loci_gpu_swiglu_bwd(b->g, gu, act, d, TOKENS, FFN));
    return (gpu_work){ "65536x1152", 12 * tokens * FFN, 12 * tokens * FFN };
}

gpu_work gpu_bench_silu(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * 256;
    const loci_bf16 *x = gpu_take_bf16(b, n);
    loci_bf16 *y = gpu_take(b, n * 2);
    LAUNCH(loci_gpu_silu(b->g, y, x, n));
    return (gpu_work){ "65536x256", 4.0 * (double)n, 4.0 * (double)n };
}

gpu_work gpu_bench_silu_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * 256;
    loci_bf16 *x = gpu_take_bf16(b, n);
    const loci_bf16 *dy = gpu_take_bf16(b, n);
    LAUNCH(loci_gpu_silu_bwd(b->g, x, dy, n));
    return (gpu_work){ "65536x256", 8.0 * (double)n, 6.0 * (double)n };
}

/* ---- unit rows, rotation --------------------------------------------------------------------------------- */

gpu_work gpu_bench_unit(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * 128);
    float *inv = gpu_take(b, TOKENS * sizeof *inv);
    LAUNCH(loci_gpu_unit(b->g, x, inv, TOKENS));
    return (gpu_work){ "65536x128", 3 * tokens * 128, tokens * (4 * 128 + 4) };
}

gpu_work gpu_bench_unit_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *dx = gpu_take(b, (size_t)TOKENS * 128 * 2);
    const float *dy = gpu_take_f32(b, (size_t)TOKENS * 128), *inv = gpu_take_equal(b, TOKENS, 1.0f);
    const loci_bf16 *y = gpu_take_bf16(b, (size_t)TOKENS * 128);
    float *along = gpu_take(b, TOKENS * sizeof *along);
    LAUNCH(loci_gpu_unit_bwd(b->g, dx, along, dy, y, inv, TOKENS));
    return (gpu_work){ "65536x128", 5 * tokens * 128, tokens * (8 * 128 + 8) };
}

/* 32 frequencies, doubles; their values do not change the time. */
static const double *frequencies(gpu_bench *b)
{
    return (const double *)(void *)gpu_take(b, 32 * sizeof(double));
}

gpu_work gpu_bench_norm_rope(gpu_bench *b, int variant)
{
    (void)variant;
    const int heads = HEADS + KV_HEADS, ld = (HEADS + 2 * KV_HEADS) * 64;
    loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * (size_t)ld);
    float *inv = gpu_take(b, (size_t)TOKENS * (size_t)heads * sizeof *inv);
    const int32_t *pos = gpu_take_i32(b, TOKENS, position);
    const double *f = frequencies(b);
    LAUNCH(loci_gpu_norm_rope(b->g, x, ld, inv, pos, f, heads, TOKENS, 1e-5f));
    return (gpu_work){ "65536x10x64 (q, k)", 7 * tokens * heads * 64,
                       tokens * (4.0 * heads * 64 + 4 * heads + 4) };
}

gpu_work gpu_bench_norm_rope_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    const int heads = HEADS + KV_HEADS, ld = (HEADS + 2 * KV_HEADS) * 64;
    loci_bf16 *d = gpu_take_bf16(b, (size_t)TOKENS * (size_t)ld);
    const loci_bf16 *y = gpu_take_bf16(b, (size_t)TOKENS * (size_t)ld);
    const float *inv = gpu_take_equal(b, (size_t)TOKENS * (size_t)heads, 1.0f);
    const int32_t *pos = gpu_take_i32(b, TOKENS, position);
    const double *f = frequencies(b);
    LAUNCH(loci_gpu_norm_rope_bwd(b->g, d, ld, y, ld, inv, pos, f, heads, TOKENS));
    return (gpu_work){ "65536x10x64 (q, k)", 9 * tokens * heads * 64,
                       tokens * (6.0 * heads * 64 + 4 * heads + 4) };
}

/* ---- the gate --------------------------------------------------------------------------------------------- */

gpu_work gpu_bench_gate(gpu_bench *b, int variant)
{
    (void)variant;
    float *gate = gpu_take(b, TOKENS * sizeof *gate),
          *stat = gpu_take(b, LOCI_GPU_STATS * TOKENS * sizeof *stat);
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * DIM);
    const float *w = gpu_take_equal(b, DIM, 0.01f), *bias = gpu_take_equal(b, 1, 0.0f);
    const int32_t *lo = gpu_take_i32(b, TOKENS, gpu_first_own),
                  *hi = gpu_take_i32(b, TOKENS, gpu_last_own);
    LAUNCH(loci_gpu_gate(b->g, gate, gate, stat, x, w, bias, TOKENS, DIM, lo, hi, 0.5f, false));
    return (gpu_work){ "65536x512", 2 * tokens * DIM, tokens * (2 * DIM + 36) };
}

gpu_work gpu_bench_scale_rows(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * READ);
    loci_bf16 *y = gpu_take(b, (size_t)TOKENS * READ * 2);
    const float *gate = gpu_take_equal(b, TOKENS, 0.5f);
    LAUNCH(loci_gpu_scale_rows(b->g, y, x, gate, TOKENS, READ));
    return (gpu_work){ "65536x512", tokens * READ, tokens * (4 * READ + 4) };
}

gpu_work gpu_bench_gate_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *d = gpu_take_bf16(b, (size_t)TOKENS * READ),
              *go = gpu_take(b, (size_t)TOKENS * READ * 2);
    const loci_bf16 *o = gpu_take_bf16(b, (size_t)TOKENS * READ);
    float *dz = gpu_take(b, TOKENS * sizeof *dz);
    const float *gate = gpu_take_equal(b, TOKENS, 0.5f);
    const int32_t *lo = gpu_take_i32(b, TOKENS, gpu_first_own),
                  *hi = gpu_take_i32(b, TOKENS, gpu_last_own);
    LAUNCH(
        loci_gpu_gate_bwd(b->g, d, go, dz, o, gate, gate, lo, hi, 0.1f, gate, 0.1f, TOKENS, READ));
    return (gpu_work){ "65536x512", 4 * tokens * READ, tokens * (8 * READ + 20) };
}

gpu_work gpu_bench_regret(gpu_bench *b, int variant)
{
    (void)variant;
    loci_gpu_regrets j = { .regret = gpu_take(b, TOKENS * sizeof(float)),
                           .stat = gpu_take(b, (size_t)LOCI_GPU_STATS * TOKENS * sizeof(float)),
                           .with = gpu_take_f32(b, TOKENS),
                           .without = gpu_take_equal(b, TOKENS, 2.0f),
                           .row = gpu_take_i32(b, TOKENS, gpu_itself),
                           .own_lo = gpu_take_i32(b, TOKENS, gpu_first_own),
                           .own_hi = gpu_take_i32(b, TOKENS, gpu_last_own),
                           .n = TOKENS,
                           .rows = TOKENS,
                           .groups = 2 };
    j.gate[0] = j.gate[1] = gpu_take_equal(b, TOKENS, 0.5f);
    LAUNCH(loci_gpu_regret(b->g, &j));
    return (gpu_work){ "65536, 2 groups", 8 * tokens, 48 * tokens };
}

/* ---- rows that change places, sums --------------------------------------------------------------------------- */

gpu_work gpu_bench_gather(gpu_bench *b, int variant)
{
    (void)variant;
    const float *x = gpu_take_f32(b, (size_t)TOKENS * DIM);
    float *out = gpu_take(b, (size_t)TOKENS * DIM * sizeof *out);
    const int32_t *at = gpu_take_i32(b, TOKENS, gpu_itself);
    LAUNCH(loci_gpu_gather(b->g, out, x, at, TOKENS, DIM));
    return (gpu_work){ "65536x512", 0, tokens * (8 * DIM + 4) };
}

gpu_work gpu_bench_scatter(gpu_bench *b, int variant)
{
    (void)variant;
    const float *x = gpu_take_f32(b, (size_t)TOKENS * DIM);
    float *out = gpu_take(b, (size_t)TOKENS * DIM * sizeof *out);
    const int32_t *at = gpu_take_i32(b, TOKENS, gpu_itself);
    LAUNCH(loci_gpu_scatter(b->g, out, x, at, TOKENS, DIM));
    return (gpu_work){ "65536x512", 0, tokens * (8 * DIM + 4) };
}

gpu_work gpu_bench_embed(gpu_bench *b, int variant)
{
    (void)variant;
    float *x = gpu_take(b, (size_t)TOKENS * DIM * sizeof *x),
          *inv = gpu_take(b, TOKENS * sizeof *inv);
    const float *table = gpu_take_f32(b, (size_t)VOCAB * DIM);
    const int32_t *ids = gpu_take_i32(b, TOKENS, word);
    LAUNCH(loci_gpu_embed(b->g, x, inv, table, ids, TOKENS, DIM, 1e-5f));
    return (gpu_work){ "65536x512 of 16384", 4 * tokens * DIM, tokens * (8 * DIM + 8) };
}

static int32_t piece(int64_t i)
{
    return (int32_t)(i * 8);
}

gpu_work gpu_bench_embed_bwd(gpu_bench *b, int variant)
{
    (void)variant;
    enum { PIECES = TOKENS / 8 }; /* 8 rows a word, one piece each */
    const size_t n = (size_t)TOKENS * DIM;
    const loci_gpu_embed_grad job = { .dtable = gpu_take(b, (size_t)VOCAB * DIM * sizeof(float)),
                                      .partial = gpu_take(b, (size_t)PIECES * DIM * sizeof(float)),
                                      .dx = gpu_take_f32(b, n),
                                      .x = gpu_take_f32(b, n),
                                      .inv = gpu_take_equal(b, TOKENS, 1e-3f),
                                      .order = gpu_take_i32(b, TOKENS, gpu_itself),
                                      .piece_start = gpu_take_i32(b, PIECES + 1, piece),
                                      .id_piece = gpu_take_i32(b, PIECES + 1, gpu_itself),
                                      .id = gpu_take_i32(b, PIECES, gpu_itself),
                                      .n_pieces = PIECES,
                                      .n_ids = PIECES,
                                      .cols = DIM };
    LAUNCH(loci_gpu_embed_bwd(b->g, &job));
    return (gpu_work){ "65536x512 to 8192", 6 * tokens * DIM,
                       tokens * (8 * DIM + 8) + 16.0 * PIECES * DIM };
}

gpu_work gpu_bench_column_sum(gpu_bench *b, int variant)
{
    (void)variant;
    float *out = gpu_take(b, DIM * sizeof *out),
          *part = gpu_take(b, LOCI_GPU_SPLITS * DIM * sizeof *part);
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)TOKENS * DIM);
    const float *a = gpu_take_equal(b, TOKENS, 1.0f);
    LAUNCH(loci_gpu_column_sum(b->g, out, part, x, DIM, a, TOKENS, DIM, 0));
    return (gpu_work){ "65536x512", 2 * tokens * DIM, tokens * (2 * DIM + 4) };
}

gpu_work gpu_bench_sum_parts(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)1 << 20;
    float *out = gpu_take(b, n * sizeof *out);
    const float *part = gpu_take_f32(b, 16 * n);
    LAUNCH(loci_gpu_sum_parts(b->g, out, part, 16, n));
    return (gpu_work){ "16 parts of 1M", 16.0 * (double)n, 4.0 * 18 * (double)n };
}

gpu_work gpu_bench_sum_rows(gpu_bench *b, int variant)
{
    (void)variant;
    double *sums = gpu_take(b, LOCI_GPU_STATS * sizeof *sums);
    const float *x = gpu_take_f32(b, (size_t)LOCI_GPU_STATS * TOKENS);
    LAUNCH(loci_gpu_sum_rows(b->g, sums, x, LOCI_GPU_STATS, TOKENS));
    return (gpu_work){ "8x65536", LOCI_GPU_STATS * tokens, 4 * LOCI_GPU_STATS * tokens };
}

gpu_work gpu_bench_axpy(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * DIM;
    float *y = gpu_take_f32(b, n);
    const float *x = gpu_take_f32(b, n);
    LAUNCH(loci_gpu_axpy(b->g, y, x, 1e-3f, n));
    return (gpu_work){ "32M", 2.0 * (double)n, 12.0 * (double)n };
}
