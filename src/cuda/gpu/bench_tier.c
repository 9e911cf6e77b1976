/* bench_tier.c - measured calls: content served packed, pyramids of summaries. */
#include "cuda/gpu/bench.h"

/* Half of the chunks are packed; summaries of 128; the gist of 16 documents of 64 chunks each, whose
 * frontiers are 15 rows on average. */
enum { ROW = 128, SUMMARY = 128, PARENTS = CHUNKS / 16, NODES = CHUNKS + PARENTS, READ_ROWS = 15 };

static const double tokens = TOKENS;

static int32_t full(int64_t c)
{
    (void)c;
    return 64;
}
static int32_t half_packed(int64_t i) /* four flags: 1 0 1 0 */
{
    (void)i;
    return 0x00010001;
}
static int32_t first_child(int64_t r)
{
    return r < CHUNKS ? -1 : (int32_t)((r - CHUNKS) * 16);
}
static int32_t node_of(int64_t i)
{
    return (int32_t)(i / READ_ROWS / OWN * OWN + i % OWN);
}
static int32_t start_of(int64_t r)
{
    return r < CHUNKS ? (int32_t)(r * READ_ROWS) : CHUNKS * READ_ROWS;
}

static loci_gpu_tier tier_job(gpu_bench *b)
{
    const void *packed = gpu_take_i32(b, CHUNKS / 4, half_packed);
    return (loci_gpu_tier){ .whole = gpu_take_bf16(b, (size_t)TOKENS * ROW),
                            .packed = packed,
                            .n_tokens = gpu_take_i32(b, CHUNKS, full),
                            .n_chunks = CHUNKS,
                            .cols = ROW };
}

gpu_work gpu_bench_add_halves(gpu_bench *b, int variant)
{
    (void)variant;
    float *x = gpu_take_f32(b, (size_t)TOKENS * ROW);
    LAUNCH(loci_gpu_add_halves(b->g, x, TOKENS));
    return (gpu_work){ "65536x128", 64.0 * tokens, 768.0 * tokens };
}

gpu_work gpu_bench_round_q4(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = (size_t)TOKENS * 64;
    loci_bf16 *y = gpu_take(b, n * sizeof *y);
    const float *x = gpu_take_f32(b, n);
    LAUNCH(loci_gpu_round_q4(b->g, y, x, n));
    return (gpu_work){ "65536x64", 0, 6.0 * (double)n };
}

gpu_work gpu_bench_serve(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_tier t = tier_job(b);
    loci_bf16 *served = gpu_take(b, (size_t)TOKENS * ROW * sizeof *served);
    float *inv = gpu_take(b, (size_t)TOKENS * 2 * sizeof *inv);
    const float *r = gpu_take_f32(b, (size_t)TOKENS * ROW),
                *context = gpu_take_f32(b, (size_t)CHUNKS * ROW);
    LAUNCH(loci_gpu_serve(b->g, &t, served, inv, r, context, 1e-6f));
    return (gpu_work){ "1024 chunks, half packed", 2.0 * tokens * ROW,
                       tokens * (ROW * (2 + 3) + 8) }; /* half the rows of r, of whole */
}

gpu_work gpu_bench_unserve(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_tier t = tier_job(b);
    loci_bf16 *dr = gpu_take(b, (size_t)TOKENS * ROW * sizeof *dr),
              *dcontext = gpu_take(b, (size_t)CHUNKS * ROW * sizeof *dcontext);
    float *dcontent = gpu_take_f32(b, (size_t)TOKENS * ROW);
    const loci_bf16 *served = gpu_take_bf16(b, (size_t)TOKENS * ROW);
    const float *inv = gpu_take_equal(b, (size_t)TOKENS * 2, 1.0f);
    LAUNCH(loci_gpu_unserve(b->g, &t, dr, dcontext, dcontent, served, inv));
    return (gpu_work){ "1024 chunks, half packed", 3.0 * tokens * ROW, tokens * (ROW * 7 + 4) };
}

gpu_work gpu_bench_ageing(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_tier t = tier_job(b);
    float *loss = gpu_take(b, (size_t)TOKENS * sizeof *loss),
          *dcontent = gpu_take(b, (size_t)TOKENS * ROW * sizeof *dcontent);
    const loci_bf16 *served = gpu_take_bf16(b, (size_t)TOKENS * ROW);
    LAUNCH(loci_gpu_ageing(b->g, &t, loss, dcontent, served, 1e-6f));
    return (gpu_work){ "1024 chunks, half packed", 2.5 * tokens * ROW, tokens * (ROW * 6 + 4) };
}

/* ---- pyramids --------------------------------------------------------------------------------- */

gpu_work gpu_bench_pool(gpu_bench *b, int variant)
{
    (void)variant;
    float *node = gpu_take_f32(b, (size_t)NODES * SUMMARY);
    const int32_t *child = gpu_take_i32(b, NODES, first_child);
    LAUNCH(loci_gpu_pool(b->g, node, child, CHUNKS, PARENTS, SUMMARY));
    return (gpu_work){ "1024 rows of 128", 2.0 * CHUNKS * SUMMARY, 4.0 * NODES * SUMMARY };
}

gpu_work gpu_bench_unpool(gpu_bench *b, int variant)
{
    (void)variant;
    float *dnode = gpu_take_f32(b, (size_t)NODES * SUMMARY);
    const int32_t *child = gpu_take_i32(b, NODES, first_child);
    LAUNCH(loci_gpu_unpool(b->g, dnode, child, CHUNKS, PARENTS, SUMMARY));
    return (gpu_work){ "1024 rows of 128", 2.0 * CHUNKS * SUMMARY,
                       4.0 * SUMMARY * (2.0 * CHUNKS + PARENTS) };
}

gpu_work gpu_bench_add_level(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *y = gpu_take(b, (size_t)NODES * SUMMARY * sizeof *y);
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)NODES * SUMMARY);
    const float *table = gpu_take_f32(b, 6 * SUMMARY);
    const uint8_t *level = gpu_take_u8(b, NODES, 1);
    LAUNCH(loci_gpu_add_level(b->g, y, x, table, level, NODES, SUMMARY));
    return (gpu_work){ "1088x128", (double)NODES * SUMMARY, 4.0 * NODES * SUMMARY };
}

gpu_work gpu_bench_hand_out(gpu_bench *b, int variant)
{
    (void)variant;
    enum { N = CHUNKS * READ_ROWS };
    loci_bf16 *out = gpu_take(b, (size_t)N * ROW * sizeof *out);
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)NODES * ROW);
    const int32_t *row = gpu_take_i32(b, N, node_of);
    LAUNCH(loci_gpu_hand_out(b->g, out, x, row, N));
    return (gpu_work){ "15360x128", 0, N * (2.0 * ROW + 4) + 2.0 * NODES * ROW };
}

gpu_work gpu_bench_take_back(gpu_bench *b, int variant)
{
    (void)variant;
    enum { N = CHUNKS * READ_ROWS };
    loci_bf16 *out = gpu_take(b, (size_t)NODES * ROW * sizeof *out);
    const loci_bf16 *x = gpu_take_bf16(b, (size_t)N * ROW);
    const int32_t *order = gpu_take_i32(b, N, gpu_itself),
                  *start = gpu_take_i32(b, NODES + 1, start_of);
    LAUNCH(loci_gpu_take_back(b->g, out, x, order, start, NODES));
    return (gpu_work){ "15360x128", (double)N * ROW, N * (2.0 * ROW + 4) + 2.0 * NODES * ROW };
}
