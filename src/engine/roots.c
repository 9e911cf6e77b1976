/* roots.c - int8 copies of all vectors say which few can be among the best; those are scored as they are.
 *
 *   guess_i = <u, s_i q_i>, |<u, x_i> - guess_i| <= |u| |x_i - s_i q_i| + rounding =: off_i
 *   cut: a number that guess - off reaches K times, so that the K best scores do not lie below it
 *   guess_i + off_i >= cut -> scored by x_i
 *
 * The bound holds, so the answer is that of scoring all, from a quarter of the bytes.  off_i is some
 * hundredths of what scores differ by: a few vectors more than K are scored. */
#include "engine/roots.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32, BINS = 1024 };

struct loci_roots {
    const loci_kernels *k;
    int d;
    int64_t n;
    float *root;           /* (n, d) */
    int8_t *q;             /* (n, d) */
    float *scale, *off;    /* (n) off: |x - s q|, and what rounding may add, for |u| = 1 */
    float *guess;          /* (n) of the query in hand */
    int32_t *list;         /* (n) those that may be among the best */
    float *some, *no_bias; /* (BLOCK, d) (BLOCK): vectors to be scored; zeros */
};

loci_status loci_roots_open(loci_roots **out, const loci_kernels *k, int64_t n, int d,
                            loci_error *err)
{
    *out = NULL;
    loci_roots *r = calloc(1, sizeof *r);
    const size_t rows = (size_t)n + 1, cols = (size_t)d;
    if (!r) return loci_fail(err, LOCI_ENOMEM, "no memory for %lld vectors", (long long)n);
    r->k = k;
    r->d = d;
    r->n = n;
    r->root = calloc(rows * cols, sizeof *r->root);
    r->q = calloc(rows, cols);
    r->scale = calloc(rows, sizeof *r->scale);
    r->off = calloc(rows, sizeof *r->off);
    r->guess = calloc(rows, sizeof *r->guess);
    r->list = calloc(rows, sizeof *r->list);
    r->some = calloc(BLOCK * cols, sizeof *r->some);
    r->no_bias = calloc(BLOCK, sizeof *r->no_bias);
    if (!r->root || !r->q || !r->scale || !r->off || !r->guess || !r->list || !r->some ||
        !r->no_bias) {
        loci_roots_close(r);
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld vectors", (long long)n);
    }
    *out = r;
    return LOCI_OK;
}

void loci_roots_close(loci_roots *r)
{
    if (!r) return;
    free(r->root);
    free(r->q);
    free(r->scale);
    free(r->off);
    free(r->guess);
    free(r->list);
    free(r->some);
    free(r->no_bias);
    free(r);
}

void loci_roots_set(loci_roots *r, int64_t i, const float *root)
{
    const size_t d = (size_t)r->d, at = (size_t)i * d;
    float most = 0.0f;
    double square = 0.0, error = 0.0;
    memcpy(r->root + at, root, d * sizeof *root);
    for (size_t j = 0; j < d; j++) most = fmaxf(most, fabsf(root[j]));
    const float scale = most / 127.0f;
    for (size_t j = 0; j < d; j++) {
        const int q = scale > 0.0f ? (int)lrintf(root[j] / scale) : 0;
        const double e = (double)root[j] - (double)scale * q;
        r->q[at + j] = (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
        square += (double)root[j] * (double)root[j];
        error += e * e;
    }
    /* Both products are sums of d in f32 in an order of their own; s q may be a 20th longer than x. */
    const double rounding = 2.0 * (double)(d + 8) * 0x1p-24 * 1.05 * sqrt(square);
    r->scale[i] = scale;
    r->off[i] = (float)((sqrt(error) + rounding) * 1.0001);
}

/* A number that guess - length off reaches at least K times, if anything does. */
static float cut_of(const loci_roots *r, float length, int K)
{
    int count[BINS] = { 0 }, bin = BINS - 1, above = 0;
    float low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < r->n; i++) {
        const float x = r->guess[i] - length * r->off[i];
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    const float step = (high - low) / BINS;
    if (!(step > 0.0f) || !(step < INFINITY)) return low;
    for (int64_t i = 0; i < r->n; i++) {
        const float x = (r->guess[i] - length * r->off[i] - low) / step;
        count[x > 0.0f ? x < BINS - 1 ? (int)x : BINS - 1 : 0]++;
    }
    while (bin > 0 && above + count[bin] < K) above += count[bin--];
    return low + (float)(bin - 1) * step; /* a step less: that of the bin is rounded */
}

/* Those that may be among the K best into list; all of them if u is not finite. */
static int candidates(loci_roots *r, const float *u, int K)
{
    const size_t d = (size_t)r->d;
    double square = 0.0;
    for (size_t j = 0; j < d; j++) square += (double)u[j] * (double)u[j];
    const float length = (float)(sqrt(square) * 1.0001);
    r->k->gemv_q8(r->guess, r->q, r->d, r->scale, u, (int)r->n, r->d);
    const float cut = cut_of(r, length, K);
    int n = 0;
    for (int64_t i = 0; i < r->n; i++)
        if (!(r->guess[i] + length * r->off[i] < cut)) r->list[n++] = (int32_t)i;
    return n;
}

int loci_roots_best(loci_roots *r, const float *u, int K, int64_t *list)
{
    const size_t d = (size_t)r->d;
    loci_scored best[LOCI_GIST_DOCS];
    const int n = candidates(r, u, K);
    int have = 0;
    for (int at = 0; at < n; at += BLOCK) {
        const int m = n - at < BLOCK ? n - at : BLOCK;
        for (int i = 0; i < m; i++)
            memcpy(r->some + (size_t)i * d, r->root + (size_t)r->list[at + i] * d,
                   d * sizeof *r->some);
        have = r->k->landmark_topk(best, have, K, u, r->some, r->no_bias, 1.0f, 1, r->d, m, at);
    }
    for (int i = 0; i < have; i++) {
        int to = i; /* 64 at most */
        const int32_t found = r->list[best[i].index];
        for (; to > 0 && list[to - 1] > found; to--) list[to] = list[to - 1];
        list[to] = found;
    }
    return have;
}
