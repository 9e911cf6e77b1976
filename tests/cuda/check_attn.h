/* check_attn.h - checks of attention over ranges of keys: windows of documents, chunk interiors with
 * pads, prefixes of chunks.
 *
 * The truth is a plain double loop over each query's range; for windows the CPU's own window_attn must
 * agree with that loop, so that both say the same. */
#ifndef CHECK_ATTN_H
#define CHECK_ATTN_H

#include "gpu_test.h"

typedef struct {
    const char *what;
    int n_q, n_k, heads, kv_heads;
    int gap_q, gap_k; /* between rows */
    bool pads, extra, wide;
    float scale;
    /* made from the fields above */
    int ldq, ldk;
    float *q, *k, *v, *dout, *more;
    int32_t *lo, *hi, *qlo, *qhi;
    uint8_t *ok;
} attn_case;

static inline void attn_fill(attn_case *a)
{
    a->ldq = a->heads * 64 + a->gap_q;
    a->ldk = a->kv_heads * 64 + a->gap_k;
    a->q = random_bf16((size_t)a->n_q * a->ldq, 1.7);
    a->k = random_bf16((size_t)a->n_k * a->ldk, 1.7);
    a->v = random_bf16((size_t)a->n_k * a->ldk, 1.0);
    a->dout = random_bf16((size_t)a->n_q * a->ldq, 1.0);
    a->more = random_f32((size_t)a->n_q * a->heads, 0.3);
    a->lo = ints(a->n_q);
    a->hi = ints(a->n_q);
    a->qlo = ints(a->n_k);
    a->qhi = ints(a->n_k);
    a->ok = host(a->n_k + 1);
    for (int j = 0; j < a->n_k; j++) a->ok[j] = !a->pads || (j * 7 + j / 5) % 4 != 3;
}

/* qlo, qhi from lo, hi: the smallest range of queries that contains all who see the key. */
static inline void attn_turn(attn_case *a)
{
    for (int j = 0; j < a->n_k; j++)
        for (int r = 0; r < a->n_q; r++) {
            if (j < a->lo[r] || j >= a->hi[r]) continue;
            if (a->qlo[j] == a->qhi[j]) a->qlo[j] = r;
            a->qhi[j] = r + 1;
        }
}

static inline double attn_score(const attn_case *a, int r, int h, int j)
{
    const int g = h / (a->heads / a->kv_heads);
    return a->scale *
           loci_dot_ref(a->q + (size_t)r * a->ldq + h * 64, a->k + (size_t)j * a->ldk + g * 64, 64);
}

static inline bool attn_sees(const attn_case *a, int r, int j)
{
    return j >= a->lo[r] && j < a->hi[r] && a->ok[j];
}

static inline void attn_truth(const attn_case *a, float *o, float *lse)
{
    for (int r = 0; r < a->n_q; r++)
        for (int h = 0; h < a->heads; h++) {
            const int g = h / (a->heads / a->kv_heads);
            double top = -INFINITY, sum = 0.0, acc[64] = { 0 };
            for (int j = a->lo[r]; j < a->hi[r]; j++)
                if (a->ok[j]) top = fmax(top, attn_score(a, r, h, j));
            for (int j = a->lo[r]; j < a->hi[r]; j++) {
                if (!a->ok[j]) continue;
                const double p = exp(attn_score(a, r, h, j) - top);
                sum += p;
                for (int d = 0; d < 64; d++) acc[d] += p * a->v[(size_t)j * a->ldk + g * 64 + d];
            }
            lse[r * a->heads + h] = sum > 0.0 ? (float)(top + log(sum)) : -INFINITY;
            for (int d = 0; d < 64; d++)
                o[(size_t)r * a->ldq + h * 64 + d] = sum > 0.0 ? (float)(acc[d] / sum) : 0.0f;
        }
}

static inline loci_gpu_attn attn_upload(const attn_case *a, float *o, float *lse)
{
    const size_t nq = (size_t)a->n_q * a->ldq, nk = (size_t)a->n_k * a->ldk;
    const loci_gpu_attn job = {
        .q = put_bf16(a->q, nq),
        .k = put_bf16(a->k, nk),
        .v = put_bf16(a->v, nk),
        .o = o ? put_bf16(o, nq) : out_bf16(NULL, nq),
        .lse = lse ? put_f32(lse, (size_t)a->n_q * a->heads)
                   : out_f32(NULL, (size_t)a->n_q * a->heads),
        .lo = put_i32(a->lo, a->n_q),
        .hi = put_i32(a->hi, a->n_q),
        .qlo = put_i32(a->qlo, a->n_k),
        .qhi = put_i32(a->qhi, a->n_k),
        .key_ok = a->pads ? device(a->ok, a->n_k) : NULL,
        .ldq = a->ldq,
        .ldk = a->ldk,
        .ldv = a->ldk,
        .ldo = a->ldq,
        .n_q = a->n_q,
        .n_k = a->n_k,
        .heads = a->heads,
        .kv_heads = a->kv_heads,
        .scale = a->scale,
    };
    return job;
}

/* Columns of the heads alone, one row after the other. */
static inline float *attn_rows(const float *x, int rows, int cols, int ld)
{
    float *y = floats((size_t)rows * cols + 1);
    for (int r = 0; r < rows; r++)
        memcpy(y + (size_t)r * cols, x + (size_t)r * ld, (size_t)cols * sizeof *y);
    return y;
}

static inline void attn_forward_case(attn_case *a)
{
    const int wide = a->heads * 64;
    const size_t nq = (size_t)a->n_q * a->ldq;
    float *o = floats(nq), *lse = floats((size_t)a->n_q * a->heads);
    attn_truth(a, o, lse);
    const loci_gpu_attn job = attn_upload(a, NULL, NULL);
    TWICE("attn_forward") loci_gpu_attn_forward(gpu, &job);
    compare("o", attn_rows(get_bf16(job.o, nq), a->n_q, wide, a->ldq),
            attn_rows(o, a->n_q, wide, a->ldq), (size_t)a->n_q * wide, SOME_ROUNDINGS);
    compare("lse", get_f32(job.lse, (size_t)a->n_q * a->heads), lse, (size_t)a->n_q * a->heads,
            1e-4);
    done(a->what);
}

/* Gradients of everything by two nested loops; dk, dv are added to. */
static inline void attn_gradient(const attn_case *a, const float *o, const float *lse, float *dq,
                                 double *dk, double *dv)
{
    for (int r = 0; r < a->n_q; r++)
        for (int h = 0; h < a->heads; h++) {
            const int g = h / (a->heads / a->kv_heads);
            const size_t at = (size_t)r * a->ldq + h * 64;
            const double delta = loci_dot_ref(a->dout + at, o + at, 64) -
                                 (a->extra ? a->more[r * a->heads + h] : 0.0f);
            double acc[64] = { 0 };
            for (int j = a->lo[r]; j < a->hi[r]; j++) {
                if (!attn_sees(a, r, j)) continue;
                const size_t kv = (size_t)j * a->ldk + g * 64;
                const double p = exp(attn_score(a, r, h, j) - lse[r * a->heads + h]);
                const double ds = p * (loci_dot_ref(a->dout + at, a->v + kv, 64) - delta);
                for (int d = 0; d < 64; d++) {
                    acc[d] += a->scale * ds * a->k[kv + d];
                    dk[kv + d] += a->scale * ds * a->q[at + d];
                    dv[kv + d] += p * a->dout[at + d];
                }
            }
            for (int d = 0; d < 64; d++) dq[at + d] = (float)acc[d];
        }
}

static inline float *to_floats(const double *x, const float *plus, size_t n)
{
    float *y = floats(n + 1);
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] + (plus ? plus[i] : 0.0f));
    return y;
}

static inline void attn_backward_case(attn_case *a)
{
    const int wide = a->heads * 64, narrow = a->kv_heads * 64;
    const size_t nq = (size_t)a->n_q * a->ldq, nk = (size_t)a->n_k * a->ldk;
    float *o = floats(nq), *lse = floats((size_t)a->n_q * a->heads), *dq = floats(nq);
    double *dk = host((nk + 1) * sizeof *dk), *dv = host((nk + 1) * sizeof *dv);
    attn_truth(a, o, lse);
    for (size_t i = 0; i < nq; i++) o[i] = bf16_of(o[i]); /* as the forward pass saves it */
    attn_gradient(a, o, lse, dq, dk, dv);
    const float *before = random_f32(nk, 1.0);
    const loci_gpu_attn job = attn_upload(a, o, lse);
    const loci_gpu_attn_grad grad = {
        .dout = put_bf16(a->dout, nq),
        .dq = out_bf16(NULL, nq),
        .dk = a->wide ? (void *)out_f32(before, nk) : (void *)out_bf16(NULL, nk),
        .dv = a->wide ? (void *)out_f32(before, nk) : (void *)out_bf16(NULL, nk),
        .extra = a->extra ? put_f32(a->more, (size_t)a->n_q * a->heads) : NULL,
        .delta = device(NULL, (size_t)a->n_q * a->heads * sizeof(float)),
        .lddo = a->ldq,
        .lddq = a->ldq,
        .lddk = a->ldk,
        .lddv = a->ldk,
        .wide = a->wide,
    };
    TWICE("attn_backward") loci_gpu_attn_backward(gpu, &job, &grad);
    const float *got_k = a->wide ? get_f32(grad.dk, nk) : get_bf16(grad.dk, nk);
    const float *got_v = a->wide ? get_f32(grad.dv, nk) : get_bf16(grad.dv, nk);
    compare("dq", attn_rows(get_bf16(grad.dq, nq), a->n_q, wide, a->ldq),
            attn_rows(dq, a->n_q, wide, a->ldq), (size_t)a->n_q * wide, SOME_ROUNDINGS);
    compare("dk", attn_rows(got_k, a->n_k, narrow, a->ldk),
            attn_rows(to_floats(dk, a->wide ? before : NULL, nk), a->n_k, narrow, a->ldk),
            (size_t)a->n_k * narrow, SOME_ROUNDINGS);
    compare("dv", attn_rows(got_v, a->n_k, narrow, a->ldk),
            attn_rows(to_floats(dv, a->wide ? before : NULL, nk), a->n_k, narrow, a->ldk),
            (size_t)a->n_k * narrow, SOME_ROUNDINGS);
    done(a->what);
}

/* ---- who sees whom ---------------------------------------------------------------------------------- */

/* Documents of the given lengths, a causal window of W each. */
static inline void see_windows(attn_case *a, const int *length, int n, int W)
{
    for (int d = 0, first = 0; d < n; first += length[d++])
        for (int t = 0; t < length[d]; t++) {
            a->lo[first + t] = first + (t >= W ? t - W + 1 : 0);
            a->hi[first + t] = first + t + 1;
        }
}

static inline void windows(void (*run)(attn_case *), int heads, int kv_heads, const int *length,
                           int n, int W, int gap)
{
    attn_case a = {
        .what = "windows of documents", .heads = heads, .kv_heads = kv_heads, .scale = 0.125f
    };
    for (int i = 0; i < n; i++) a.n_q += length[i];
    a.n_k = a.n_q;
    a.gap_q = a.gap_k = gap;
    attn_fill(&a);
    see_windows(&a, length, n, W);
    attn_turn(&a);
    if (n == 1) { /* one document: the CPU's kernel and the loop above agree */
        float *o = floats((size_t)a.n_q * a.ldq), *lse = floats((size_t)a.n_q * heads),
              *x = floats((size_t)a.n_q * a.ldq), *y = floats((size_t)a.n_q * heads);
        const double before = worst;
        attn_truth(&a, o, lse);
        loci_window_attn_ref(x, a.ldq, y, a.q, a.ldq, a.k, a.v, a.ldk, a.n_q, 0, heads, kv_heads,
                             64, W, a.scale);
        compare("window_attn o", o, x, (size_t)a.n_q * a.ldq, 1e-6);
        compare("window_attn lse", lse, y, (size_t)a.n_q * heads, 1e-6);
        worst = before;
    }
    run(&a);
}

/* Chunks of 66 rows that see each other all, some keys being pads. */
static inline void interiors(void (*run)(attn_case *), int chunks)
{
    attn_case a = { .what = "chunk interiors",
                    .n_q = 66 * chunks,
                    .n_k = 66 * chunks,
                    .heads = 4,
                    .kv_heads = 4,
                    .pads = true,
                    .scale = 0.125f };
    attn_fill(&a);
    for (int r = 0; r < a.n_q; r++) {
        a.lo[r] = r / 66 * 66;
        a.hi[r] = a.lo[r] + 66;
    }
    attn_turn(&a);
    run(&a);
}

/* Queries of several sequences that see a growing run of chunks, the first ones none; keys and values
 * lie side by side in rows of 128, one key head. */
static inline void prefixes(void (*run)(attn_case *), int n_q, int n_chunks, bool pads, bool extra)
{
    attn_case a = { .what = "prefixes of chunks",
                    .n_q = n_q,
                    .n_k = n_chunks * 64,
                    .heads = 8,
                    .kv_heads = 1,
                    .gap_k = 64,
                    .pads = pads,
                    .extra = extra,
                    .wide = true,
                    .scale = 0.25f };
    attn_fill(&a);
    const int half = n_chunks / 2;
    for (int r = 0; r < n_q; r++) {
        const bool second = r >= n_q / 2;
        const int base = second ? half : 0, mine = second ? n_chunks - half : half;
        const int seen = (r - (second ? n_q / 2 : 0)) * (mine + 1) / (n_q / 2 + 1);
        a.lo[r] = base * 64;
        a.hi[r] = (base + (seen < mine ? seen : mine)) * 64;
    }
    attn_turn(&a);
    run(&a);
}

static inline void attn_cases(void (*run)(attn_case *))
{
    static const int one[] = { 1 }, short_doc[] = { 17 }, tile[] = { 64 }, over[] = { 65 },
                     two[] = { 130 };
    static const int many[] = { 1, 31, 64, 65, 5, 100 };
    windows(run, 1, 1, one, 1, 8, 0);
    windows(run, 8, 2, short_doc, 1, 256, 0);
    windows(run, 4, 4, tile, 1, 16, 64);
    windows(run, 8, 2, over, 1, 1, 0);
    windows(run, 2, 1, two, 1, 63, 64);
    windows(run, 8, 2, many, COUNT(many), 64, 128);
    windows(run, 3, 3, many, COUNT(many), 33, 0);
    interiors(run, 1);
    interiors(run, 5);
    prefixes(run, 7, 2, false, false);
    prefixes(run, 130, 5, true, true);
    prefixes(run, 65, 4, false, true);
}

static void check_attn_forward(void)
{
    attn_cases(attn_forward_case);
}

static void check_attn_backward(void)
{
    attn_cases(attn_backward_case);
}

#endif
