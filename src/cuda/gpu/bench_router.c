/* bench_router.c - measured calls: scores against all chunks, weights, lists of who picked a chunk. */
#include "cuda/gpu/bench.h"

enum { SLOTS = LOCI_GPU_SLOTS, PICKS = LOCI_GPU_PICKS, LIST = LOCI_GPU_LIST_TILE, KL_EVERY = 8 };

static const double tokens = TOKENS, score_flops = 2.0 * TOKENS * 2 * CHUNKS * 128;

int32_t gpu_pick(int64_t i)
{
    const int64_t t = i / SLOTS, slot = i % SLOTS, lo = gpu_first_own(t),
                  own = gpu_last_own(t) - lo;
    if (slot == PICKS)
        return own > 0 && t % 16 == 0 ? (int32_t)lo : -1; /* an answer token that points */
    if (slot > PICKS) return -1;
    if (own <= PICKS) return slot < own ? (int32_t)(lo + slot) : -1;
    return (int32_t)(lo + slot * own / PICKS);
}

static int32_t sequence_end(int64_t t)
{
    return gpu_first_own(t) + OWN;
}
static int32_t gold(int64_t t) /* one query in 16 has one, one in 32 an absent one */
{
    if (t % 16 == 0 && gpu_last_own(t) > gpu_first_own(t)) return gpu_first_own(t);
    return t % 32 == 1 ? -2 : -1;
}
static int32_t target_row(int64_t t)
{
    return t % KL_EVERY == 0 ? (int32_t)(t / KL_EVERY) : -1;
}

static loci_gpu_score score_job(gpu_bench *b)
{
    return (loci_gpu_score){ .u = gpu_take_bf16(b, (size_t)TOKENS * 128),
                             .lm = gpu_take_bf16(b, (size_t)CHUNKS * 256),
                             .bias = gpu_take_equal(b, CHUNKS, 0.1f),
                             .tau = gpu_take_equal(b, 1, 0.5f),
                             .own_lo = gpu_take_i32(b, TOKENS, gpu_first_own),
                             .own_hi = gpu_take_i32(b, TOKENS, gpu_last_own),
                             .seq_hi = gpu_take_i32(b, TOKENS, sequence_end),
                             .gold = gpu_take_i32(b, TOKENS, gold),
                             .lse_own = gpu_take_equal(b, TOKENS, 5.0f),
                             .lse_neg = gpu_take_equal(b, TOKENS, 8.0f),
                             .gold_score = gpu_take_equal(b, TOKENS, 1.0f),
                             .above = gpu_take(b, TOKENS * sizeof(int32_t)),
                             .pick = gpu_take_i32(b, (size_t)TOKENS * SLOTS, gpu_pick),
                             .pick_score = gpu_take_equal(b, (size_t)TOKENS * PICKS, 0.5f),
                             .n = TOKENS,
                             .n_chunks = CHUNKS,
                             .top_k = PICKS,
                             .negatives = true };
}

gpu_work gpu_bench_score_forward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_score s = score_job(b);
    LAUNCH(loci_gpu_score_forward(b->g, &s));
    return (gpu_work){ "65536 queries, 1024 chunks", score_flops,
                       tokens * (256 + 4 * (7 + SLOTS + PICKS)) + CHUNKS * 512.0 };
}

gpu_work gpu_bench_score_backward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_score s = score_job(b);
    const loci_gpu_score_grad g = {
        .kl = gpu_take_equal(b, TOKENS, 1e-4f),
        .oracle = gpu_take_equal(b, TOKENS, 1e-4f),
        .oracle_den = gpu_take_equal(b, TOKENS, 8.0f),
        .neg = gpu_take_equal(b, TOKENS, 1e-4f),
        .target = gpu_take_equal(b, (size_t)TOKENS / KL_EVERY * OWN, 1.0f / OWN),
        .target_row = gpu_take_i32(b, TOKENS, target_row),
        .du = gpu_take(b, (size_t)TOKENS * 128 * sizeof(float)),
        .dlm = gpu_take(b, (size_t)CHUNKS * 256 * sizeof(float)),
        .dbias = gpu_take(b, CHUNKS * sizeof(float)),
        .kl_loss = gpu_take(b, TOKENS * sizeof(float)),
        .part = gpu_take(b, loci_gpu_score_parts(CHUNKS) * sizeof(float)),
        .target_ld = OWN,
        .share = 1.0f
    };
    LAUNCH(loci_gpu_score_backward(b->g, &s, &g));
    /* Three products: scores, du, dlm. */
    return (gpu_work){ "65536 queries, 1024 chunks", 3.0 * score_flops,
                       tokens * (256 + 1024 + 44) + CHUNKS * 2560.0 };
}

/* ---- lists ------------------------------------------------------------------------------------------ */

static int32_t list_lo(int64_t tile)
{
    return gpu_first_own(tile * LIST);
}
static int32_t list_first(int64_t c)
{
    return (int32_t)(c / OWN * (SEQUENCE / LIST));
}
static int32_t list_last(int64_t c)
{
    return list_first(c) + SEQUENCE / LIST;
}

loci_gpu_lists gpu_take_lists(gpu_bench *b)
{
    const int tiles = TOKENS / LIST, most = TOKENS * SLOTS / LOCI_GPU_ITEM + CHUNKS;
    return (loci_gpu_lists){ .start = gpu_take(b, (CHUNKS + 1) * sizeof(int32_t)),
                             .entry = gpu_take(b, (size_t)TOKENS * SLOTS * sizeof(int32_t)),
                             .item_start = gpu_take(b, (CHUNKS + 1) * sizeof(int32_t)),
                             .item_chunk = gpu_take(b, (size_t)most * sizeof(int32_t)),
                             .counts = gpu_take(b, (size_t)tiles * OWN * sizeof(int32_t)),
                             .tile_lo = gpu_take_i32(b, (size_t)tiles, list_lo),
                             .first_tile = gpu_take_i32(b, CHUNKS, list_first),
                             .last_tile = gpu_take_i32(b, CHUNKS, list_last),
                             .n = TOKENS,
                             .n_chunks = CHUNKS,
                             .slots = SLOTS,
                             .tile_span = OWN,
                             .max_items = most };
}

void gpu_fill_lists(gpu_bench *b, const loci_gpu_lists *l, const int32_t *pick)
{
    if (b->plan && loci_gpu_status(b->g, NULL) == LOCI_OK) loci_gpu_lists_build(b->g, l, pick);
}

gpu_work gpu_bench_lists_build(gpu_bench *b, int variant)
{
    (void)variant;
    const int32_t *pick = gpu_take_i32(b, (size_t)TOKENS * SLOTS, gpu_pick);
    const loci_gpu_lists l = gpu_take_lists(b);
    LAUNCH(loci_gpu_lists_build(b->g, &l, pick));
    return (gpu_work){ "65536x18 picks", 0, 8.0 * tokens * SLOTS };
}

gpu_work gpu_bench_score_sparse(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_score s = score_job(b);
    const loci_gpu_lists l = gpu_take_lists(b);
    const float *ds = gpu_take_equal(b, (size_t)TOKENS * SLOTS, 1e-3f);
    float *du = gpu_take(b, (size_t)TOKENS * 128 * sizeof *du),
          *dlm = gpu_take(b, (size_t)CHUNKS * 256 * sizeof *dlm),
          *dbias = gpu_take(b, CHUNKS * sizeof *dbias);
    gpu_fill_lists(b, &l, s.pick);
    LAUNCH(loci_gpu_score_sparse(b->g, &s, &l, ds, du, dlm, dbias));
    /* Twice the dots and one product, for about 16 chunks a query. */
    return (gpu_work){ "65536x16 picks", tokens * PICKS * 12 * 128.0,
                       tokens * (256 + 1024 + 8 * SLOTS) + CHUNKS * 2560.0 };
}

/* ---- single numbers, weights --------------------------------------------------------------------------- */

gpu_work gpu_bench_tau(gpu_bench *b, int variant)
{
    (void)variant;
    float *tau = gpu_take(b, sizeof *tau), *log_tau = gpu_take(b, sizeof *log_tau);
    LAUNCH(loci_gpu_tau(b->g, tau, log_tau));
    return (gpu_work){ "1", 1, 8 };
}

gpu_work gpu_bench_add_scalar(gpu_bench *b, int variant)
{
    (void)variant;
    float *grad = gpu_take(b, sizeof *grad), *log_tau = gpu_take(b, sizeof *log_tau);
    const double *sum = gpu_take(b, sizeof *sum);
    LAUNCH(loci_gpu_add_scalar(b->g, grad, sum, log_tau));
    return (gpu_work){ "1", 1, 16 };
}

static loci_gpu_weigh weigh_job(gpu_bench *b)
{
    return (loci_gpu_weigh){ .s = score_job(b),
                             .null_score = gpu_take_equal(b, 1, 0.0f),
                             .source = gpu_take_i32(b, TOKENS, gold),
                             .w = gpu_take_equal(b, (size_t)TOKENS * PICKS, 1.0f / 32),
                             .log_den = gpu_take_equal(b, TOKENS, 8.0f),
                             .stat = gpu_take(b, (size_t)LOCI_GPU_STATS * TOKENS * sizeof(float)),
                             .share = 0.5f,
                             .recall_k = PICKS,
                             .routed = true };
}

gpu_work gpu_bench_weigh_forward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_weigh w = weigh_job(b);
    LAUNCH(loci_gpu_weigh_forward(b->g, &w));
    return (gpu_work){ "65536x16", 5 * tokens * PICKS, tokens * 4 * (3 * PICKS + 12) };
}

gpu_work gpu_bench_weigh_backward(gpu_bench *b, int variant)
{
    (void)variant;
    const loci_gpu_weigh w = weigh_job(b);
    const loci_gpu_weigh_grad g = { .dw = gpu_take_f32(b, (size_t)TOKENS * PICKS),
                                    .kl_row = gpu_take_u8(b, TOKENS, 1),
                                    .kl = 1e-4f,
                                    .oracle = 1e-4f,
                                    .absence = 1e-4f,
                                    .c_kl = gpu_take(b, TOKENS * sizeof(float)),
                                    .c_oracle = gpu_take(b, TOKENS * sizeof(float)),
                                    .c_oracle_den = gpu_take(b, TOKENS * sizeof(float)),
                                    .c_neg = gpu_take(b, TOKENS * sizeof(float)),
                                    .ds = gpu_take(b, (size_t)TOKENS * SLOTS * sizeof(float)),
                                    .dnull = gpu_take(b, TOKENS * sizeof(float)) };
    LAUNCH(loci_gpu_weigh_backward(b->g, &w, &g));
    return (gpu_work){ "65536x16", 5 * tokens * PICKS, tokens * 4 * (2 * PICKS + SLOTS + 12) };
}
