/* check_read.h - checks of routed reading against chunk_attn, one call a query and pick, and of the
 * pointer's slot against the equations of pointer.c. */
#ifndef CHECK_READ_H
#define CHECK_READ_H

#include "check_lists.h"

enum {
    HEADS = LOCI_GPU_READ_HEADS,
    WIDE = HEADS * 64,
    PICKS = LOCI_GPU_PICKS,
    SLOTS = LOCI_GPU_SLOTS,
    PAIRS = PICKS + 1
};
static const float READ_SCALE = 0.25f, POINTER_EPS = 1e-6f;

/* Columns of the content of the cases to come: a key and a value, or one vector for both; and whether
 * places say what their features add up to, or their rank. */
static int read_columns = 128, read_marks;
#define EITHER_CONTENT                                                                             \
    for (read_columns = 128; read_columns > 0; read_columns -= 64)                                 \
        for (read_marks = 0; read_marks < 2; read_marks++)

typedef struct {
    int n, n_chunks, cols;
    float *q, *content, *w, *phi, *row, *dout, *before; /* phi NULL: ranks */
    int32_t *n_tokens, *pick, *source, *lo, *hi;
    float *o, *lse, *stat;     /* truth, forward */
    float *dq, *dw, *dcontent; /* truth, backward */
    double *drow;
    float share, pointer;
} read_case;

static inline read_case read_new(int n, int n_chunks)
{
    read_case r = {
        .n = n, .n_chunks = n_chunks, .cols = read_columns, .share = 0.5f, .pointer = 0.8f
    };
    const size_t wide = (size_t)n * WIDE, rows = (size_t)n_chunks * 64;
    r.q = random_bf16(wide, 1.7);
    r.content = random_bf16(rows * (size_t)r.cols, 1.7);
    r.dout = random_bf16(wide, 1.0);
    r.w = floats((size_t)n * PICKS * HEADS);
    r.phi = read_marks ? floats((size_t)n * PICKS * 8) : NULL;
    r.row = random_f32(PICKS * 64, 0.5);
    r.before = random_f32((size_t)LOCI_GPU_STATS * n, 1.0);
    r.n_tokens = ints(n_chunks);
    r.source = ints(n);
    r.lo = ints(n);
    r.hi = ints(n);
    for (int c = 0; c < n_chunks; c++)
        r.n_tokens[c] = c % 3 == 0 ? 64 : c % 3 == 1 ? 1 + below(64) : 1 + below(3);
    for (int t = 0; t < n; t++) {
        r.lo[t] = t < n / 2 ? 0 : n_chunks / 2;
        r.hi[t] = t % 7 == 5 ? r.lo[t] : t < n / 2 ? n_chunks / 2 + 1 : n_chunks;
    }
    r.pick = random_picks(n, r.lo, r.hi);
    for (int t = 0; t < n; t++) {
        const int32_t *p = r.pick + (size_t)t * SLOTS;
        for (int i = 0; i < PICKS; i++)
            for (int h = 0; h < HEADS && p[i] >= 0; h++) {
                r.w[((size_t)t * PICKS + i) * HEADS + h] = (float)loci_rng_unit(&rng);
                if (r.phi) r.phi[((size_t)t * PICKS + i) * 8 + h] = (float)loci_rng_unit(&rng);
            }
        r.source[t] = p[PICKS] < 0 ? -1 : p[PICKS] * 64 + below(r.n_tokens[p[PICKS]]);
    }
    r.o = floats(wide);
    r.lse = host((size_t)n * PAIRS * HEADS * sizeof(float));
    memset(r.lse, 0xff, (size_t)n * PAIRS * HEADS * sizeof(float)); /* empty slots have none */
    r.stat = floats((size_t)LOCI_GPU_STATS * n);
    memcpy(r.stat, r.before, (size_t)LOCI_GPU_STATS * n * sizeof(float));
    r.dq = floats(wide);
    r.dw = floats((size_t)n * PICKS * HEADS);
    r.dcontent = floats(rows * 128);
    r.drow = host(PICKS * 64 * sizeof(double));
    return r;
}

/* How much of row f the place of a query's pick i says. */
static inline double place_share(const read_case *r, int t, int i, int f)
{
    if (!r->phi) return f == i ? 1.0 : 0.0;
    return f < 8 ? r->phi[((size_t)t * PICKS + i) * 8 + f] : 0.0;
}

/* p_h at the source and their mean. */
static inline double pointer_mass(const read_case *r, int t, const float *lse, double p[HEADS])
{
    double mean = 0.0;
    for (int h = 0; h < HEADS; h++) {
        const double s =
            READ_SCALE * loci_dot_ref(r->q + (size_t)t * WIDE + h * 64,
                                      r->content + (size_t)(r->source[t] * r->cols), 64);
        p[h] = exp(s - lse[h]);
        mean += p[h] / HEADS;
    }
    return mean;
}

static inline void read_truth(read_case *r)
{
    for (int t = 0; t < r->n; t++) {
        const float *q = r->q + (size_t)t * WIDE;
        for (int i = 0; i < PAIRS; i++) {
            const int c = r->pick[(size_t)t * SLOTS + i];
            float w[HEADS], *lse = r->lse + ((size_t)t * PAIRS + i) * HEADS,
                            *o = r->o + (size_t)t * WIDE;
            if (c < 0) continue;
            const float *k = r->content + (size_t)(c * 64 * r->cols), *v = k + r->cols - 64;
            for (int h = 0; h < HEADS; h++)
                w[h] = i < PICKS ? r->w[((size_t)t * PICKS + i) * HEADS + h] : 0.0f;
            loci_chunk_attn_ref(i < PICKS ? o : NULL, 64, lse, q, 64, k, r->cols, v, r->cols, w,
                                HEADS, r->n_tokens[c], 64, 64, READ_SCALE);
            for (int f = 0; i < PICKS && f < PICKS; f++)
                for (int x = 0; x < WIDE; x++)
                    o[x] += (float)(w[x / 64] * place_share(r, t, i, f)) * r->row[f * 64 + x % 64];
            if (i < PICKS) continue;
            double p[HEADS];
            r->stat[LOCI_STAT_POINTER * r->n + t] -=
                (float)(r->share * log(pointer_mass(r, t, lse, p) + POINTER_EPS));
        }
    }
}

/* Gradient of the pointer loss of query t, within its chunk. */
static inline void pointer_truth(read_case *r, int t)
{
    const int c = r->source[t] / 64;
    const float *lse = r->lse + ((size_t)t * PAIRS + PICKS) * HEADS;
    double p[HEADS];
    const double mean = pointer_mass(r, t, lse, p);
    for (int h = 0; h < HEADS; h++) {
        const float *q = r->q + (size_t)t * WIDE + h * 64;
        const double b = r->pointer * p[h] / (HEADS * (mean + POINTER_EPS));
        for (int j = 0; j < r->n_tokens[c]; j++) {
            const size_t row = (size_t)c * 64 + j, at = row * 128;
            const float *k = r->content + row * (size_t)r->cols;
            const double pj = exp(READ_SCALE * loci_dot_ref(q, k, 64) - lse[h]);
            const double ds = READ_SCALE * b * (pj - (c * 64 + j == r->source[t] ? 1.0 : 0.0));
            for (int d = 0; d < 64; d++) {
                r->dq[(size_t)t * WIDE + h * 64 + d] += (float)(ds * k[d]);
                r->dcontent[at + d] += (float)(ds * q[d]);
            }
        }
    }
}

static inline void read_gradient(read_case *r)
{
    for (int t = 0; t < r->n; t++) {
        const float *dout = r->dout + (size_t)t * WIDE;
        for (int i = 0; i < PICKS; i++) {
            const int c = r->pick[(size_t)t * SLOTS + i];
            const size_t at = ((size_t)t * PICKS + i) * HEADS;
            float w[HEADS], *dw = r->dw + at;
            if (c < 0) continue;
            const float *k = r->content + (size_t)(c * 64 * r->cols), *v = k + r->cols - 64;
            float *d = r->dcontent + (size_t)c * 64 * 128;
            for (int h = 0; h < HEADS; h++) w[h] = r->w[at + h];
            loci_chunk_attn_bwd_ref(r->dq + (size_t)t * WIDE, 64, d, 128, d + 64, 128, dw, dout, 64,
                                    r->q + (size_t)t * WIDE, 64, k, r->cols, v, r->cols,
                                    r->lse + ((size_t)t * PAIRS + i) * HEADS, w, NULL, HEADS,
                                    r->n_tokens[c], 64, 64, READ_SCALE);
            for (int f = 0; f < PICKS; f++) {
                const double share = place_share(r, t, i, f);
                for (int x = 0; share != 0.0 && x < WIDE; x++) {
                    dw[x / 64] += (float)(share * dout[x] * r->row[f * 64 + x % 64]);
                    r->drow[f * 64 + x % 64] += w[x / 64] * share * dout[x];
                }
            }
        }
        if (r->pick[(size_t)t * SLOTS + PICKS] >= 0) pointer_truth(r, t);
    }
}

static inline loci_gpu_read read_upload(const read_case *r, const loci_gpu_lists *l, int32_t *pick)
{
    const loci_gpu_read job = {
        .q = put_bf16(r->q, (size_t)r->n * WIDE),
        .content = put_bf16(r->content, (size_t)r->n_chunks * 64 * (size_t)r->cols),
        .n_tokens = put_i32(r->n_tokens, r->n_chunks),
        .pick = pick,
        .source = put_i32(r->source, r->n),
        .w = put_f32(r->w, (size_t)r->n * PICKS * HEADS),
        .phi = r->phi ? put_f32(r->phi, (size_t)r->n * PICKS * 8) : NULL,
        .row = put_f32(r->row, PICKS * 64),
        .pair = device(NULL, (size_t)r->n * PAIRS * WIDE * sizeof(loci_bf16)),
        .lists = l,
        .n = r->n,
        .cols = r->cols,
        .scale = READ_SCALE,
        .share = r->share,
    };
    return job;
}

/* Numbers of slots that hold a chunk, the rest being 0. */
static inline float *of_slots(const read_case *r, const float *x, int slots, int each)
{
    float *y = floats((size_t)r->n * slots * each);
    for (int t = 0; t < r->n; t++)
        for (int i = 0; i < slots; i++)
            for (int e = 0; e < each && r->pick[(size_t)t * SLOTS + i] >= 0; e++) {
                const size_t at = ((size_t)t * slots + i) * each + e;
                y[at] = x[at];
            }
    return y;
}

/* The same without lists: a block a query and pick. */
static inline void read_places_case(int n, int n_chunks)
{
    read_case r = read_new(n, n_chunks);
    const size_t wide = (size_t)n * WIDE;
    read_truth(&r);
    loci_gpu_read job = read_upload(&r, NULL, put_i32(r.pick, (size_t)n * SLOTS));
    job.o = out_bf16(NULL, wide);
    TWICE("read_forward") loci_gpu_read_forward(gpu, &job);
    compare("o", get_bf16(job.o, wide), r.o, wide, SOME_ROUNDINGS);
    done("read_forward");
}

static inline void read_forward_case(int n, int n_chunks)
{
    read_case r = read_new(n, n_chunks);
    const size_t wide = (size_t)n * WIDE, lse = (size_t)n * PAIRS * HEADS;
    read_truth(&r);
    int32_t *pick = put_i32(r.pick, (size_t)n * SLOTS);
    const loci_gpu_lists l = lists_of(n, n_chunks, pick);
    loci_gpu_read job = read_upload(&r, &l, pick);
    job.lse = out_f32(NULL, lse);
    job.o = out_bf16(NULL, wide);
    job.stat = out_f32(r.before, (size_t)LOCI_GPU_STATS * n);
    TWICE("read_forward") loci_gpu_read_forward(gpu, &job);
    compare("o", get_bf16(job.o, wide), r.o, wide, SOME_ROUNDINGS);
    compare("lse", of_slots(&r, get_f32(job.lse, lse), PAIRS, HEADS),
            of_slots(&r, r.lse, PAIRS, HEADS), lse, 1e-4);
    compare("stat", get_f32(job.stat, (size_t)LOCI_GPU_STATS * n), r.stat,
            (size_t)LOCI_GPU_STATS * n, 1e-4);
    done("read_forward");
}

static inline void read_backward_case(int n, int n_chunks)
{
    read_case r = read_new(n, n_chunks);
    const size_t wide = (size_t)n * WIDE, all = (size_t)n_chunks * 64 * 128,
                 lse = (size_t)n * PAIRS * HEADS;
    const float *before = random_f32(all, 0.1), *row = random_f32(PICKS * 64, 0.1);
    read_truth(&r);
    read_gradient(&r);
    for (size_t i = 0; i < all; i++) r.dcontent[i] += before[i];
    int32_t *pick = put_i32(r.pick, (size_t)n * SLOTS);
    const loci_gpu_lists l = lists_of(n, n_chunks, pick);
    loci_gpu_read job = read_upload(&r, &l, pick);
    job.lse = put_f32(r.lse, lse);
    const loci_gpu_read_grad g = {
        .dout = put_bf16(r.dout, wide),
        .dq = out_bf16(NULL, wide),
        .dw = out_f32(NULL, (size_t)n * PICKS * HEADS),
        .dcontent = out_f32(before, all),
        .part = device(NULL, (size_t)l.max_items * 64 * 128 * sizeof(float)),
        .drow = out_f32(row, PICKS * 64),
        .row_part = device(NULL, (size_t)LOCI_GPU_SPLITS * PICKS * 64 * sizeof(float)),
        .pointer = r.pointer,
    };
    TWICE("read_backward") loci_gpu_read_backward(gpu, &job, &g);
    compare("dq", get_bf16(g.dq, wide), r.dq, wide, SOME_ROUNDINGS);
    compare("dw", get_f32(g.dw, (size_t)n * PICKS * HEADS), r.dw, (size_t)n * PICKS * HEADS, 1e-3);
    compare("dcontent", get_f32(g.dcontent, all), r.dcontent, all, SOME_ROUNDINGS);
    compare("drow", get_f32(g.drow, PICKS * 64), sum_floats(row, r.drow, PICKS * 64), PICKS * 64,
            F32_SUMS);
    done("read_backward");
}

static inline void read_cases(void (*run)(int, int))
{
    static const int sizes[][2] = { { 1, 1 },   { 2, 3 },   { 9, 5 },
                                    { 65, 20 }, { 300, 2 }, { 257, 50 } };
    EITHER_CONTENT
    for (int i = 0; i < COUNT(sizes); i++) run(sizes[i][0], sizes[i][1]);
}

static void check_read_forward(void)
{
    read_cases(read_forward_case);
    read_cases(read_places_case);
}

static void check_read_backward(void)
{
    read_cases(read_backward_case);
}

#endif
