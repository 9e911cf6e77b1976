/* check_mass.h - checks of the router's teacher and of the pointer loss over all keys. */
#ifndef CHECK_MASS_H
#define CHECK_MASS_H

#include "check_read.h"

/* Log-sum of head h of query t over the own chunk c. */
static inline void mass_lse(const read_case *r, int t, int c, float lse[HEADS])
{
    const float *k = r->content + (size_t)(c * 64 * r->cols);
    loci_chunk_attn_ref(NULL, 0, lse, r->q + (size_t)t * WIDE, 64, k, r->cols, k, r->cols, NULL,
                        HEADS, r->n_tokens[c], 64, 64, READ_SCALE);
}

/* The same over all own chunks. */
static inline void mass_total(const read_case *r, int t, double total[HEADS])
{
    for (int h = 0; h < HEADS; h++) total[h] = -INFINITY;
    for (int c = r->lo[t]; c < r->hi[t]; c++) {
        float lse[HEADS];
        mass_lse(r, t, c, lse);
        for (int h = 0; h < HEADS; h++) {
            const double top = fmax(total[h], lse[h]);
            total[h] = top + log(exp(total[h] - top) + exp(lse[h] - top));
        }
    }
}

static inline void mass_case(int n, int n_chunks)
{
    const read_case r = read_new(n, n_chunks);
    const int ld = n_chunks + 2;
    int32_t *row = ints(n);
    int n_rows = 0;
    for (int t = 0; t < n; t++)
        if (t % 3 != 1 || n < 3) row[n_rows++] = t;
    const size_t all = (size_t)n_rows * ld;
    float *want = host(all * sizeof(float)), *target = out_f32(NULL, all),
          *part = device(NULL, all * HEADS * sizeof *part);
    memset(want, 0xff, all * sizeof(float));
    for (int i = 0; i < n_rows; i++) {
        double total[HEADS];
        mass_total(&r, row[i], total);
        for (int c = r.lo[row[i]]; c < r.hi[row[i]]; c++) {
            float lse[HEADS], sum = 0.0f;
            mass_lse(&r, row[i], c, lse);
            for (int h = 0; h < HEADS; h++) sum += (float)(exp(lse[h] - total[h]) / HEADS);
            want[(size_t)i * ld + c - r.lo[row[i]]] = sum;
        }
    }
    const loci_bf16 *q = put_bf16(r.q, (size_t)n * WIDE),
                    *content = put_bf16(r.content, (size_t)n_chunks * 64 * (size_t)r.cols);
    const int32_t *tokens = put_i32(r.n_tokens, n_chunks), *lo = put_i32(r.lo, n),
                  *hi = put_i32(r.hi, n), *rows = put_i32(row, n_rows);
    TWICE("mass")
    loci_gpu_mass(gpu, target, part, ld, q, content, r.cols, tokens, lo, hi, rows, n_rows,
                  READ_SCALE);
    float *got = get_f32(target, all);
    for (size_t i = 0; i < all; i++) {
        if (!isnan(want[i])) continue;
        if (!untouched(got[i])) fail_msg("mass: wrote column %zu of row %zu", i % ld, i / ld);
        got[i] = want[i] = 0.0f;
    }
    compare("target", got, want, all, 1e-4);
    done("mass");
}

static void check_mass(void)
{
    static const int sizes[][2] = { { 1, 1 }, { 2, 3 }, { 9, 5 }, { 65, 20 }, { 33, 70 } };
    EITHER_CONTENT
    for (int i = 0; i < COUNT(sizes); i++) mass_case(sizes[i][0], sizes[i][1]);
}

/* ---- pointer over all keys ---------------------------------------------------------------------------- */

/* Queries with a source within their own chunks; several share one. */
static inline int pointer_rows(read_case *r, int32_t *row)
{
    int n = 0;
    for (int t = 0; t < r->n; t++) {
        r->source[t] = -1;
        if (r->hi[t] <= r->lo[t] || t % 4 == 2) continue;
        const int c = r->lo[t] + (t % 2 ? 0 : below(r->hi[t] - r->lo[t]));
        r->source[t] = c * 64 + (t % 2 ? 0 : below(r->n_tokens[c]));
        row[n++] = t;
    }
    return n;
}

static inline void pointer_forward_case(int n, int n_chunks, bool training)
{
    read_case r = read_new(n, n_chunks);
    int32_t *row = ints(n);
    const int n_rows = pointer_rows(&r, row);
    const size_t heads = (size_t)n * HEADS, stats = (size_t)LOCI_GPU_STATS * n;
    float *lse = host(heads * sizeof(float)), *want = floats(heads);
    memset(lse, 0xff, heads * sizeof(float));
    for (int i = 0; i < n_rows; i++) {
        const int t = row[i];
        double total[HEADS], p[HEADS];
        mass_total(&r, t, total);
        for (int h = 0; h < HEADS; h++) lse[t * HEADS + h] = (float)total[h];
        const double mean = pointer_mass(&r, t, lse + t * HEADS, p);
        for (int h = 0; h < HEADS; h++)
            want[t * HEADS + h] =
                training ? (float)(r.pointer * p[h] / (HEADS * (mean + POINTER_EPS))) : 0.0f;
        r.stat[LOCI_STAT_POINTER * n + t] -= (float)(r.share * log(mean + POINTER_EPS));
    }
    float *extra = training ? out_f32(floats(heads), heads) : NULL,
          *stat = out_f32(r.before, stats);
    const loci_bf16 *q = put_bf16(r.q, (size_t)n * WIDE),
                    *content = put_bf16(r.content, (size_t)n_chunks * 64 * (size_t)r.cols);
    const float *l = put_f32(lse, heads);
    const int32_t *source = put_i32(r.source, n), *rows = put_i32(row, n_rows);
    TWICE("pointer_forward")
    loci_gpu_pointer_forward(gpu, extra, stat, n, q, content, r.cols, l, source, rows, n_rows,
                             READ_SCALE, r.pointer, r.share);
    if (training) compare("extra", get_f32(extra, heads), want, heads, 1e-4);
    compare("stat", get_f32(stat, stats), r.stat, stats, 1e-4);
    done("pointer_forward");
}

static const int pointer_sizes[][2] = { { 1, 1 }, { 4, 3 }, { 65, 20 }, { 130, 7 } };

static void check_pointer_forward(void)
{
    EITHER_CONTENT
    for (int i = 0; i < COUNT(pointer_sizes); i++)
        for (int training = 0; training < 2; training++)
            pointer_forward_case(pointer_sizes[i][0], pointer_sizes[i][1], training);
}

static inline void pointer_backward_case(int n, int n_chunks)
{
    read_case r = read_new(n, n_chunks);
    int32_t *row = ints(n), *by = ints(n), *start = ints(n + 1);
    const int n_rows = pointer_rows(&r, row), rows = n_chunks * 64;
    const size_t wide = (size_t)n * WIDE, all = (size_t)rows * 128;
    const float *extra = random_f32((size_t)n * HEADS, 1.0), *dq = random_bf16(wide, 0.2),
                *dc = random_f32(all, 0.2);
    float *want_q = floats(wide), *want_c = floats(all);
    int at = 0, n_sources = 0;
    memcpy(want_q, dq, wide * sizeof *dq);
    memcpy(want_c, dc, all * sizeof *dc);
    for (int j = 0; j < rows; j++) {
        const int first = at;
        for (int i = 0; i < n_rows; i++) {
            const int t = row[i];
            if (r.source[t] != j) continue;
            by[at++] = t;
            for (int x = 0; x < WIDE; x++) {
                const float b = READ_SCALE * extra[t * HEADS + x / 64];
                want_q[(size_t)t * WIDE + x] -= b * r.content[j * r.cols + x % 64];
                want_c[(size_t)j * 128 + x % 64] -= b * r.q[(size_t)t * WIDE + x];
            }
        }
        if (at > first) start[++n_sources] = at;
    }
    loci_bf16 *gq = out_bf16(dq, wide);
    float *gc = out_f32(dc, all);
    const float *e = put_f32(extra, (size_t)n * HEADS);
    const loci_bf16 *q = put_bf16(r.q, wide),
                    *content = put_bf16(r.content, (size_t)(rows * r.cols));
    const int32_t *source = put_i32(r.source, n), *list = put_i32(by, n),
                  *first = put_i32(start, n_sources + 1);
    TWICE("pointer_backward")
    loci_gpu_pointer_backward(gpu, gq, gc, e, q, content, r.cols, source, list, first, n_sources,
                              READ_SCALE);
    compare("dq", get_bf16(gq, wide), want_q, wide, ONE_ROUNDING);
    compare("dcontent", get_f32(gc, all), want_c, all, 1e-4);
    done("pointer_backward");
}

static void check_pointer_backward(void)
{
    EITHER_CONTENT
    for (int i = 0; i < COUNT(pointer_sizes); i++)
        pointer_backward_case(pointer_sizes[i][0], pointer_sizes[i][1]);
}

#endif
