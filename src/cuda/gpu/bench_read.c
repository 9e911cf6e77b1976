/* bench_read.c - measured calls: routed reading, the router's teacher, the pointer loss. */
#include "cuda/gpu/bench.h"

enum { SLOTS = LOCI_GPU_SLOTS, PICKS = LOCI_GPU_PICKS, PAIRS = PICKS + 1 };

static const double tokens = TOKENS, content_bytes = 2.0 * CHUNKS * 64 * 128;

/* Pairs of a query and a picked chunk. */
static double pair_count(void)
{
    double n = 0.0;
    for (int t = 0; t < TOKENS; t++) {
        const int own = gpu_last_own(t) - gpu_first_own(t);
        n += own < PICKS ? own : PICKS;
    }
    return n;
}

static int32_t source(int64_t t) /* a token of an earlier chunk: its row is its number */
{
    return gpu_last_own(t) > gpu_first_own(t) ? (int32_t)(t - 64) : -1;
}
static int32_t
routed_source(int64_t t) /* of those that have a pointer's slot: the first own chunk */
{
    return gpu_first_own(t) * 64 + (int32_t)(t % 64);
}
static int32_t full(int64_t c)
{
    (void)c;
    return 64;
}
static int32_t kl_row(int64_t i)
{
    return (int32_t)i * 8;
}
/* Every 16th query that has an own chunk: 252 a sequence. */
enum { POINTERS = TOKENS / SEQUENCE * (SEQUENCE - 64) / 16 };
static int32_t pointer_row(int64_t i)
{
    const int64_t each = (SEQUENCE - 64) / 16;
    return (int32_t)(i / each * SEQUENCE + 64 + i % each * 16);
}

static loci_gpu_read read_job(gpu_bench *b, const loci_gpu_lists *l)
{
    const size_t n = TOKENS;
    loci_gpu_read r = { .q = gpu_take_bf16(b, n * READ),
                        .content = gpu_take_bf16(b, (size_t)CHUNKS * 64 * 128),
                        .n_tokens = gpu_take_i32(b, CHUNKS, full),
                        .pick = gpu_take_i32(b, n * SLOTS, gpu_pick),
                        .source = gpu_take_i32(b, n, routed_source),
                        .w = gpu_take_equal(b, n * PICKS * LOCI_GPU_READ_HEADS, 1.0f / 32),
                        .row = gpu_take_f32(b, PICKS * 64),
                        .pair = gpu_take(b, n * PAIRS * READ * 2),
                        .lse = gpu_take_equal(b, n * PAIRS * LOCI_GPU_READ_HEADS, 5.0f),
                        .o = gpu_take(b, n * READ * 2),
                        .stat = gpu_take(b, LOCI_GPU_STATS * n * sizeof(float)),
                        .lists = l,
                        .n = TOKENS,
                        .cols = 128,
                        .scale = 0.25f,
                        .share = 0.5f };
    gpu_fill_lists(b, l, r.pick);
    return r;
}

gpu_work gpu_bench_read_forward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_lists l = gpu_take_lists(b);
    const loci_gpu_read r = read_job(b, &l);
    LAUNCH(loci_gpu_read_forward(b->g, &r));
    return (gpu_work){ "65536x16 picks", pair_count() * LOCI_GPU_READ_HEADS * 64 * 64 * 4,
                       tokens * (4 * READ + 8 * PICKS) + content_bytes };
}

gpu_work gpu_bench_read_backward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_lists l = gpu_take_lists(b);
    const loci_gpu_read r = read_job(b, &l);
    const loci_gpu_read_grad g = {
        .dout = gpu_take_bf16(b, (size_t)TOKENS * READ),
        .dq = gpu_take(b, (size_t)TOKENS * READ * 2),
        .dw = gpu_take(b, (size_t)TOKENS * PICKS * LOCI_GPU_READ_HEADS * sizeof(float)),
        .dcontent = gpu_take(b, (size_t)CHUNKS * 64 * 128 * sizeof(float)),
        .part = gpu_take(b, (size_t)l.max_items * 64 * 128 * sizeof(float)),
        .drow = gpu_take(b, PICKS * 64 * sizeof(float)),
        .row_part = gpu_take(b, (size_t)LOCI_GPU_SPLITS * PICKS * 64 * sizeof(float)),
        .pointer = 1e-4f
    };
    LAUNCH(loci_gpu_read_backward(b->g, &r, &g));
    /* Five products: scores, dp, dq, dk, dv. */
    return (gpu_work){ "65536x16 picks", pair_count() * LOCI_GPU_READ_HEADS * 64 * 64 * 10,
                       tokens * (6 * READ + 12 * PICKS) + 3 * content_bytes };
}

static loci_gpu_order order_job(gpu_bench *b)
{
    const size_t n = TOKENS, each = n * PICKS * LOCI_GPU_READ_HEADS;
    return (loci_gpu_order){ .w = gpu_take_equal(b, n * PICKS, 1.0f / 32),
                             .pick = gpu_take_i32(b, n * SLOTS, gpu_pick),
                             .c = gpu_take_bf16(b, n * 64),
                             .head_w = gpu_take_equal(b, each, 1.0f / 32),
                             .phi = gpu_take_equal(b, each, 0.5f),
                             .n = TOKENS };
}

gpu_work gpu_bench_order_forward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_order o = order_job(b);
    LAUNCH(loci_gpu_order_forward(b->g, &o));
    return (gpu_work){ "65536x16 picks", tokens * PICKS * LOCI_GPU_READ_HEADS * 2 * 8,
                       tokens * (2 * 64 + 4 * (PICKS + SLOTS) + 8 * PICKS * LOCI_GPU_READ_HEADS) };
}

gpu_work gpu_bench_order_backward(gpu_bench *b, int variant)
{
    (void)variant;
    const size_t n = TOKENS;
    const loci_gpu_order o = order_job(b);
    const float *d = gpu_take_f32(b, n * PICKS * LOCI_GPU_READ_HEADS);
    float *dw = gpu_take(b, n * PICKS * sizeof *dw);
    loci_bf16 *dc = gpu_take(b, n * 64 * sizeof *dc);
    LAUNCH(loci_gpu_order_backward(b->g, &o, d, dw, dc));
    return (gpu_work){ "65536x16 picks", tokens * PICKS * LOCI_GPU_READ_HEADS * 2 * 8,
                       tokens *
                           (2 * 64 + 4 * (2 * PICKS + SLOTS) + 12 * PICKS * LOCI_GPU_READ_HEADS) };
}

gpu_work gpu_bench_mass(gpu_bench *b, int variant)
{
    (void)variant;
    enum { ROWS = TOKENS / 8 };
    float *target = gpu_take(b, (size_t)ROWS * OWN * sizeof *target),
          *part = gpu_take(b, (size_t)ROWS * 8 * OWN * sizeof *part);
    const loci_bf16 *q = gpu_take_bf16(b, (size_t)TOKENS * READ),
                    *content = gpu_take_bf16(b, (size_t)CHUNKS * 64 * 128);
    const int32_t *n = gpu_take_i32(b, CHUNKS, full), *lo = gpu_take_i32(b, TOKENS, gpu_first_own),
                  *hi = gpu_take_i32(b, TOKENS, gpu_last_own),
                  *rows = gpu_take_i32(b, ROWS, kl_row);
    LAUNCH(loci_gpu_mass(b->g, target, part, OWN, q, content, 128, n, lo, hi, rows, ROWS, 0.25f));
    return (gpu_work){ "8192 rows of 4096", (double)ROWS * (OWN - 1) / 2 * 64 * READ * 2,
                       ROWS * (2.0 * READ + 2.0 * OWN) + content_bytes / 2 };
}

gpu_work gpu_bench_pointer_forward(gpu_bench *b, int variant)
{
    (void)variant;
    float *extra = gpu_take(b, (size_t)TOKENS * LOCI_GPU_READ_HEADS * sizeof *extra);
    float *stat = gpu_take(b, (size_t)LOCI_GPU_STATS * TOKENS * sizeof *stat);
    const loci_bf16 *q = gpu_take_bf16(b, (size_t)TOKENS * READ),
                    *content = gpu_take_bf16(b, (size_t)CHUNKS * 64 * 128);
    const float *lse = gpu_take_equal(b, (size_t)TOKENS * LOCI_GPU_READ_HEADS, 5.0f);
    const int32_t *from = gpu_take_i32(b, TOKENS, source),
                  *rows = gpu_take_i32(b, POINTERS, pointer_row);
    LAUNCH(loci_gpu_pointer_forward(b->g, extra, stat, TOKENS, q, content, 128, lse, from, rows,
                                    POINTERS, 0.25f, 1.0f, 0.5f));
    return (gpu_work){ "4032 rows", 2.0 * POINTERS * READ, POINTERS * (2.0 * READ + 128 + 80) };
}

gpu_work gpu_bench_pointer_backward(gpu_bench *b, int variant)
{
    (void)variant;
    loci_bf16 *dq = gpu_take_bf16(b, (size_t)TOKENS * READ);
    float *dcontent = gpu_take(b, (size_t)CHUNKS * 64 * 128 * sizeof *dcontent);
    const float *extra = gpu_take_f32(b, (size_t)TOKENS * LOCI_GPU_READ_HEADS);
    const loci_bf16 *q = gpu_take_bf16(b, (size_t)TOKENS * READ),
                    *content = gpu_take_bf16(b, (size_t)CHUNKS * 64 * 128);
    const int32_t *from = gpu_take_i32(b, TOKENS, source),
                  *by = gpu_take_i32(b, POINTERS, pointer_row),
                  *start = gpu_take_i32(b, POINTERS + 1, gpu_itself);
    LAUNCH(loci_gpu_pointer_backward(b->g, dq, dcontent, extra, q, content, 128, from, by, start,
                                     POINTERS, 0.25f));
    return (gpu_work){ "4032 rows", 4.0 * POINTERS * READ, POINTERS * (6.0 * READ + 128 + 512) };
}
