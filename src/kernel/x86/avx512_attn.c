/* avx512_attn.c - attention forward with AVX-512: one chunk of keys, and the causal window.
 *
 * Keys are transposed and values copied to the stack once a block of keys, so that scores and
 * outputs are register-tiled products (avx512_tile.h) of 8 query rows at a time.  The window walks
 * blocks of 128 keys with a running maximum, so that any width fits the same buffers. */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/x86/avx512_tile.h"

enum {
    ROWS = 8,      /* query rows a step */
    KEYS = 128,    /* keys a block */
    KEYS_LD = 144, /* 9 cache lines a row: neighbouring rows fall into different sets */
    DIM = 128,     /* widest head */
    QUERIES = 64,  /* queries that share one copy of their keys */
    HEADS = 8      /* heads whose running sums are kept at once */
};

typedef struct {
    float kt[DIM * KEYS_LD]; /* (d, keys) */
    float v[KEYS * DIM];     /* (keys, d) */
    float p[ROWS * KEYS];    /* (rows, keys) scores, then probabilities */
} block;

/* p[first, last) of one row: scale, find the maximum; entries outside become -inf. */
INLINE __m512 row_max(float *p, int n_vec, int first, int last, __m512 scale)
{
    __m512 max = _mm512_set1_ps(-INFINITY);
    for (int v = 0; v < n_vec; v++) {
        const __mmask16 in = lanes(last - 16 * v) & (__mmask16)~lanes(first - 16 * v);
        const __m512 s =
            _mm512_mask_mul_ps(_mm512_set1_ps(-INFINITY), in, _mm512_loadu_ps(p + 16 * v), scale);
        _mm512_storeu_ps(p + 16 * v, s);
        max = _mm512_max_ps(max, s);
    }
    return _mm512_set1_ps(_mm512_reduce_max_ps(max));
}

/* p = exp(p - base) in place; returns the sum. */
INLINE float row_exp(float *p, int n_vec, __m512 base)
{
    __m512 sum = _mm512_setzero_ps();
    for (int v = 0; v < n_vec; v++) {
        const __m512 e = exp512(_mm512_sub_ps(_mm512_loadu_ps(p + 16 * v), base));
        _mm512_storeu_ps(p + 16 * v, e);
        sum = _mm512_add_ps(sum, e);
    }
    return _mm512_reduce_add_ps(sum);
}

INLINE void row_scale(float *x, int n, float factor)
{
    for (int i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes(n - i);
        _mm512_mask_storeu_ps(x + i, mask,
                              _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i),
                                            _mm512_set1_ps(factor)));
    }
}

/* lse[i stride] = max[i] + ln sum[i] */
INLINE void write_lse(float *lse, int stride, const float *max, const float *sum, int rows)
{
    float out[16];
    const __mmask16 mask = lanes(rows);
    const __m512 s = _mm512_mask_loadu_ps(_mm512_set1_ps(1.0f), mask, sum);
    _mm512_storeu_ps(out, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, max), log512(s)));
    for (int i = 0; i < rows; i++) lse[(size_t)i * (size_t)stride] = out[i];
}

/* ---- one chunk ----------------------------------------------------------------------------- */

void loci_chunk_attn_avx512(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                            int ldk, const float *v, int ldv, const float *w, int rows, int n,
                            int d_k, int d_v, float scale)
{
    block b;
    const int n_vec = (n + 15) / 16;
    tile_transpose(b.kt, KEYS_LD, k, (size_t)ldk, n, d_k);
    if (o) tile_copy(b.v, v, (size_t)ldv, n, d_v);
    for (int r = 0; r < rows; r += ROWS) {
        const int m = rows - r < ROWS ? rows - r : ROWS;
        const tile_at scores = {
            b.p, q + (size_t)r * (size_t)ldq, b.kt, KEYS, (size_t)ldq, KEYS_LD
        };
        tile_block(0, scores, m, 16 * n_vec, d_k, 0);
        float max[ROWS], sum[ROWS];
        for (int i = 0; i < m; i++) {
            const __m512 base = row_max(b.p + i * KEYS, n_vec, 0, n, _mm512_set1_ps(scale));
            max[i] = _mm512_cvtss_f32(base);
            sum[i] = row_exp(b.p + i * KEYS, n_vec, base);
            if (o) row_scale(b.p + i * KEYS, 16 * n_vec, (w ? w[r + i] : 1.0f) / sum[i]);
        }
        if (lse) write_lse(lse + r, 1, max, sum, m);
        if (o) {
            const tile_at out = {
                o + (size_t)r * (size_t)ldo, b.p, b.v, (size_t)ldo, KEYS, (size_t)d_v
            };
            tile_block(0, out, m, d_v, n, 1);
        }
    }
}

/* ---- the causal window ---------------------------------------------------------------------- */

typedef struct {
    float *o, *lse;
    const float *q, *k, *v;
    size_t ldo, ldq, ldkv;
    int T, past, H, d, W;
    float scale;
} window;

/* Running softmax of HEADS heads and QUERIES queries. */
typedef struct {
    float max[HEADS][QUERIES], sum[HEADS][QUERIES];
} running;

static int first_key(const window *x, int t)
{
    const int last = t + x->past;
    return x->W <= last ? last - x->W + 1 : 0;
}

/* Queries t .. t+m of head h against keys key0 .. key1 in b: o is the sum so far over exp(score -
 * max); divided at the last block. */
static void window_rows(const window *x, block *b, float *max, float *sum, int h, int t, int m,
                        int key0, int key1)
{
    const int begin = first_key(x, t), end = t + m + x->past; /* keys of any of these rows */
    if (end <= key0 || begin >= key1) return;
    const int lo = begin > key0 ? (begin - key0) & ~15 : 0;
    const int hi = (end < key1 ? end : key1) - key0;
    const int n_vec = (hi - lo + 15) / 16, starts = begin >= key0, ends = end <= key1;
    const size_t head = (size_t)h * (size_t)x->d;
    float *o = x->o + (size_t)t * x->ldo + head; /* o[t,h,:] */
    const tile_at scores = { b->p,   x->q + (size_t)t * x->ldq + head, b->kt + lo, KEYS, x->ldq,
                             KEYS_LD };
    tile_block(0, scores, m, 16 * n_vec, x->d, 0);
    for (int i = 0; i < m; i++) {
        float *p = b->p + i * KEYS;
        const __m512 old = _mm512_set1_ps(starts ? -INFINITY : max[i]);
        __m512 base = row_max(p, n_vec, first_key(x, t + i) - key0 - lo,
                              t + i + x->past + 1 - key0 - lo, _mm512_set1_ps(x->scale));
        base = _mm512_max_ps(base, old);
        max[i] = _mm512_cvtss_f32(base);
        /* No key of this row so far: any finite base gives zeros. */
        if (max[i] == -INFINITY) base = _mm512_setzero_ps();
        const float part = row_exp(p, n_vec, base);
        if (starts)
            sum[i] = part;
        else {
            const float shrink = _mm512_cvtss_f32(exp512(_mm512_sub_ps(old, base)));
            sum[i] = sum[i] * shrink + part;
            row_scale(o + (size_t)i * x->ldo, x->d, shrink);
        }
    }
    const tile_at out = { o, b->p, b->v + lo * x->d, x->ldo, KEYS, (size_t)x->d };
    tile_block(0, out, m, x->d, hi - lo, !starts);
    if (!ends) return;
    for (int i = 0; i < m; i++) row_scale(o + (size_t)i * x->ldo, x->d, 1.0f / sum[i]);
    if (x->lse) write_lse(x->lse + (size_t)t * (size_t)x->H + (size_t)h, x->H, max, sum, m);
}

/* Heads h0 .. h0+n_heads, all of group g, queries t0 .. t1. */
static void window_queries(const window *x, block *b, running *run, int g, int h0, int n_heads,
                           int t0, int t1)
{
    for (int key0 = first_key(x, t0); key0 < t1 + x->past; key0 += KEYS) {
        const int rest = t1 + x->past - key0, n = rest < KEYS ? rest : KEYS;
        const size_t at = (size_t)key0 * x->ldkv + (size_t)g * (size_t)x->d; /* k[key0,g,:] */
        tile_transpose(b->kt, KEYS_LD, x->k + at, x->ldkv, n, x->d);
        tile_copy(b->v, x->v + at, x->ldkv, n, x->d);
        for (int h = 0; h < n_heads; h++)
            for (int t = t0; t < t1; t += ROWS)
                window_rows(x, b, &run->max[h][t - t0], &run->sum[h][t - t0], h0 + h, t,
                            t1 - t < ROWS ? t1 - t : ROWS, key0, key0 + n);
    }
}

void loci_window_attn_avx512(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                             const float *v, int ldkv, int T, int past, int H, int G, int d, int W,
                             float scale)
{
    const window x = { o, lse,  q, k, v, (size_t)ldo, (size_t)ldq, (size_t)ldkv,
                       T, past, H, d, W, scale };
    block b;
    running run;
    const int per = H / G;
    for (int g = 0; g < G; g++)
        for (int h = 0; h < per; h += HEADS)
            for (int t = 0; t < T; t += QUERIES)
                window_queries(&x, &b, &run, g, g * per + h, per - h < HEADS ? per - h : HEADS, t,
                               T - t < QUERIES ? T : t + QUERIES);
}
