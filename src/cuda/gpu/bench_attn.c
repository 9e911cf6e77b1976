/* bench_attn.c - measured calls: attention in windows, inside chunks, over all chunks before a query. */
#include "cuda/gpu/bench.h"

typedef struct {
    const char *size;
    int n_q, n_k, heads, kv_heads, ldk;
    bool wide;
    gpu_value *lo, *hi, *qlo, *qhi;
    double pairs; /* of a query and a key, one head */
} shape;

static int32_t window_lo(int64_t t)
{
    const int64_t p = t % SEQUENCE;
    return (int32_t)(t - (p < WINDOW ? p : WINDOW - 1));
}
static int32_t behind(int64_t t)
{
    return (int32_t)t + 1;
}
static int32_t window_qhi(int64_t j)
{
    const int64_t end = (j / SEQUENCE + 1) * SEQUENCE;
    return (int32_t)(j + WINDOW < end ? j + WINDOW : end);
}
static int32_t chunk_lo(int64_t t)
{
    return (int32_t)(t / 66 * 66);
}
static int32_t chunk_hi(int64_t t)
{
    return (int32_t)(t / 66 * 66 + 66);
}
static int32_t dense_lo(int64_t t)
{
    return gpu_first_own(t) * 64;
}
static int32_t dense_hi(int64_t t)
{
    return gpu_last_own(t) * 64;
}
static int32_t dense_qlo(int64_t j) /* queries from the chunk behind on */
{
    return (int32_t)((j / 64 + 1) * 64);
}
static int32_t dense_qhi(int64_t j)
{
    return (int32_t)((j / SEQUENCE + 1) * SEQUENCE);
}

static const double sequences = TOKENS / SEQUENCE;

static shape shape_of(int variant)
{
    if (variant == 2)
        return (shape){ .size = "chunks 1024x66, 4 heads",
                        .n_q = ENC_ROWS,
                        .n_k = ENC_ROWS,
                        .heads = ENC_HEADS,
                        .kv_heads = ENC_HEADS,
                        .ldk = ENC_HEADS * 64,
                        .lo = chunk_lo,
                        .hi = chunk_hi,
                        .qlo = chunk_lo,
                        .qhi = chunk_hi,
                        .pairs = 66.0 * ENC_ROWS };
    if (variant == 3)
        return (shape){ .size = "dense 65536 of 4096, 8/1 heads",
                        .n_q = TOKENS,
                        .n_k = TOKENS,
                        .heads = HEADS,
                        .kv_heads = 1,
                        .ldk = 128,
                        .wide = true,
                        .lo = dense_lo,
                        .hi = dense_hi,
                        .qlo = dense_qlo,
                        .qhi = dense_qhi,
                        .pairs = sequences * 64.0 * 64.0 * OWN * (OWN - 1) / 2 };
    return (shape){ .size = "window 65536x256, 8/2 heads",
                    .n_q = TOKENS,
                    .n_k = TOKENS,
                    .heads = HEADS,
                    .kv_heads = KV_HEADS,
                    .ldk = KV_HEADS * 64,
                    .lo = window_lo,
                    .hi = behind,
                    .qlo = gpu_itself,
                    .qhi = window_qhi,
                    .pairs =
                        sequences * ((double)SEQUENCE * WINDOW - WINDOW * (WINDOW - 1) / 2.0) };
}

static loci_gpu_attn attn_job(gpu_bench *b, const shape *s)
{
    const size_t nq = (size_t)s->n_q * (size_t)s->heads * 64, nk = (size_t)s->n_k * (size_t)s->ldk;
    const bool shared_row = s->ldk == 128 && s->kv_heads == 1; /* keys, then values, in one row */
    loci_gpu_attn a = { .q = gpu_take_bf16(b, nq),
                        .k = gpu_take_bf16(b, nk),
                        .o = gpu_take(b, nq * 2),
                        .lse = gpu_take_equal(b, (size_t)s->n_q * (size_t)s->heads, 5.0f),
                        .lo = gpu_take_i32(b, (size_t)s->n_q, s->lo),
                        .hi = gpu_take_i32(b, (size_t)s->n_q, s->hi),
                        .qlo = gpu_take_i32(b, (size_t)s->n_k, s->qlo),
                        .qhi = gpu_take_i32(b, (size_t)s->n_k, s->qhi),
                        .ldq = s->heads * 64,
                        .ldk = s->ldk,
                        .ldv = s->ldk,
                        .ldo = s->heads * 64,
                        .n_q = s->n_q,
                        .n_k = s->n_k,
                        .heads = s->heads,
                        .kv_heads = s->kv_heads,
                        .scale = 0.125f };
    a.v = shared_row ? a.k + 64 : gpu_take_bf16(b, nk);
    return a;
}

/* Bytes of q and o, of keys and values, of lse. */
static double attn_bytes(const shape *s)
{
    return 2.0 * 2.0 * s->n_q * s->heads * 64 + 2.0 * 2.0 * s->n_k * s->kv_heads * 64 +
           4.0 * s->n_q * s->heads;
}

gpu_work gpu_bench_attn_forward(gpu_bench *b, int variant)
{
    const shape s = shape_of(variant);
    const loci_gpu_attn a = attn_job(b, &s);
    LAUNCH(loci_gpu_attn_forward(b->g, &a));
    return (gpu_work){ s.size, 4.0 * 64 * s.heads * s.pairs, attn_bytes(&s) };
}

gpu_work gpu_bench_attn_backward(gpu_bench *b, int variant)
{
    const shape s = shape_of(variant);
    const loci_gpu_attn a = attn_job(b, &s);
    const size_t nq = (size_t)s.n_q * (size_t)s.heads * 64;
    const size_t nk = (size_t)s.n_k * (size_t)s.ldk * (s.wide ? 4 : 2);
    loci_gpu_attn_grad g = { .dout = gpu_take_bf16(b, nq),
                             .dq = gpu_take(b, nq * 2),
                             .dk = gpu_take(b, nk),
                             .dv = gpu_take(b, nk),
                             .delta = gpu_take(b, (size_t)s.n_q * (size_t)s.heads * sizeof(float)),
                             .lddo = s.heads * 64,
                             .lddq = s.heads * 64,
                             .lddk = s.ldk,
                             .lddv = s.ldk,
                             .wide = s.wide };
    LAUNCH(loci_gpu_attn_backward(b->g, &a, &g));
    /* Five products: scores, dp, dq, dk, dv. */
    return (gpu_work){ s.size, 10.0 * 64 * s.heads * s.pairs, 2.0 * attn_bytes(&s) };
}
