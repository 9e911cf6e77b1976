/* attn_body.h - attention forward, in the words of avx*_math.h: one chunk of keys, and the causal
 * window.
 *
 * Keys are transposed and values copied to the stack once a block of keys, so that scores and
 * outputs are register-tiled products (tile.h) of a few query rows at a time.  The window walks
 * blocks of 128 keys with a running maximum, so that any width fits the same buffers; for a few
 * queries (decoding) it reads keys and values where they are, the heads of a group being the rows.
 * The file that includes this defines LOCI_ISA(family). */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/x86/tile.h"

enum {
    ROWS = TILE_ROWS,   /* query rows a step */
    KEYS = 128,         /* keys a block */
    KEYS_LD = 144,      /* 9 cache lines a row: neighbouring rows fall into different sets */
    DIM = 128,          /* widest head */
    QUERIES = 8 * ROWS, /* queries that share one copy of their keys */
    HEADS = ROWS,       /* heads whose running sums are kept at once */
    FEW = 3             /* queries for which a copy of the keys does not pay */
};

/* The first block of keys then holds the first key of every query: no row is ever without one, and
 * its maximum is a number from the start. */
_Static_assert(QUERIES <= KEYS, "a query's first key is in the first block");

typedef struct {
    float kt[DIM * KEYS_LD]; /* (d, keys) */
    float v[KEYS * DIM];     /* (keys, d) */
    float p[ROWS * KEYS];    /* (rows, keys) scores, then probabilities */
} block;

/* p[first, last) of one row: scale, find the maximum; entries outside become -inf. */
INLINE vf row_max(float *p, int n_vec, int first, int last, vf scale)
{
    vf max = v_set(-INFINITY);
    for (int v = 0; v < n_vec; v++) {
        const vm in = v_range(first - VL * v, last - VL * v);
        const vf s = v_select(in, v_mul(v_load(p + VL * v), scale), v_set(-INFINITY));
        v_store(p + VL * v, s);
        max = v_max(max, s);
    }
    return v_set(v_greatest(max));
}

/* p = exp(p - base) in place; returns the sum. */
INLINE float row_exp(float *p, int n_vec, vf base)
{
    vf sum = v_zero();
    for (int v = 0; v < n_vec; v++) {
        const vf e = v_exp(v_sub(v_load(p + VL * v), base));
        v_store(p + VL * v, e);
        sum = v_add(sum, e);
    }
    return v_sum(sum);
}

INLINE void row_scale(float *x, int n, float factor)
{
    for (int i = 0; i < n; i += VL) {
        const vm mask = v_lanes(n - i);
        v_store_some(x + i, mask, v_mul(v_load_some(x + i, mask), v_set(factor)));
    }
}

/* lse[i stride] = max[i] + ln sum[i] */
INLINE void write_lse(float *lse, int stride, const float *max, const float *sum, int rows)
{
    float out[VL];
    const vm mask = v_lanes(rows);
    const vf s = v_select(mask, v_load_some(sum, mask), v_set(1.0f));
    v_store(out, v_add(v_load_some(max, mask), v_log(s)));
    for (int i = 0; i < rows; i++) lse[(size_t)i * (size_t)stride] = out[i];
}

/* ---- one chunk -------------------------------------------------------------------------- */

void LOCI_ISA(chunk_attn)(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                          int ldk, const float *v, int ldv, const float *w, int rows, int n,
                          int d_k, int d_v, float scale)
{
    block b;
    const int n_vec = (n + VL - 1) / VL;
    tile_transpose(b.kt, KEYS_LD, k, (size_t)ldk, n, d_k);
    if (o) tile_copy(b.v, v, (size_t)ldv, n, d_v);
    for (int r = 0; r < rows; r += ROWS) {
        const int m = rows - r < ROWS ? rows - r : ROWS;
        const tile_at scores = {
            b.p, q + (size_t)r * (size_t)ldq, b.kt, KEYS, (size_t)ldq, KEYS_LD
        };
        tile_block(0, scores, m, VL * n_vec, d_k, 0);
        float max[ROWS], sum[ROWS];
        for (int i = 0; i < m; i++) {
            const vf base = row_max(b.p + i * KEYS, n_vec, 0, n, v_set(scale));
            max[i] = v_first(base);
            sum[i] = row_exp(b.p + i * KEYS, n_vec, base);
            if (o) row_scale(b.p + i * KEYS, VL * n_vec, (w ? w[r + i] : 1.0f) / sum[i]);
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

/* ---- the causal window ------------------------------------------------------------------ */

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

/* One row of scores into the running softmax: p becomes exp(score - max), o (d) and sum are brought
 * to the new maximum.  Keys [first, last) count. */
INLINE void advance(float *p, int n_vec, int first, int last, float scale, int starts, float *max,
                    float *sum, float *o, int d)
{
    const vf old = v_set(starts ? -INFINITY : *max);
    const vf base = v_max(row_max(p, n_vec, first, last, v_set(scale)), old);
    *max = v_first(base);
    const float part = row_exp(p, n_vec, base);
    if (starts) {
        *sum = part;
        return;
    }
    const float shrink = v_first(v_exp(v_sub(old, base)));
    *sum = *sum * shrink + part;
    row_scale(o, d, shrink);
}

/* Queries t .. t+m of head h against keys key0 .. key1 in b: o is the sum so far over exp(score -
 * max); divided at the last block. */
static void window_rows(const window *x, block *b, float *max, float *sum, int h, int t, int m,
                        int key0, int key1)
{
    const int begin = first_key(x, t), end = t + m + x->past; /* keys of any of these rows */
    if (end <= key0 || begin >= key1) return;
    const int lo = begin > key0 ? (begin - key0) & ~(VL - 1) : 0;
    const int hi = (end < key1 ? end : key1) - key0;
    const int n_vec = (hi - lo + VL - 1) / VL, starts = begin >= key0;
    const size_t head = (size_t)h * (size_t)x->d;
    float *o = x->o + (size_t)t * x->ldo + head; /* o[t,h,:] */
    const tile_at scores = { b->p,   x->q + (size_t)t * x->ldq + head, b->kt + lo, KEYS, x->ldq,
                             KEYS_LD };
    tile_block(0, scores, m, VL * n_vec, x->d, 0);
    for (int i = 0; i < m; i++)
        advance(b->p + i * KEYS, n_vec, first_key(x, t + i) - key0 - lo,
                t + i + x->past + 1 - key0 - lo, x->scale, starts, &max[i], &sum[i],
                o + (size_t)i * x->ldo, x->d);
    const tile_at out = { o, b->p, b->v + lo * x->d, x->ldo, KEYS, (size_t)x->d };
    tile_block(0, out, m, x->d, hi - lo, !starts);
    if (end > key1) return;
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

/* p[j] = <q, k[j,:]>, j < n; up to 3 more entries are written. */
INLINE void inner_keys(float *p, const float *q, const float *k, size_t ldkv, int n, int d)
{
    for (int j = 0; j < n; j += 4) {
        vf sum[4];
        const float *row[4];
        UNROLL for (int i = 0; i < 4; i++)
        {
            sum[i] = v_zero();
            row[i] = k + (size_t)(j + i < n ? j + i : j) * ldkv;
        }
        for (int l = 0; l < d; l += VL) {
            const vm mask = v_lanes(d - l);
            const vf q_l = v_load_some(q + l, mask);
            UNROLL for (int i = 0; i < 4; i++) sum[i] =
                v_fma(q_l, v_load_some(row[i] + l, mask), sum[i]);
        }
        _mm_storeu_ps(p + j, v_sum4(sum[0], sum[1], sum[2], sum[3]));
    }
}

/* Query t of heads h0 .. h0+n_heads, all of group g: the heads are the rows. */
static void window_query(const window *x, block *b, int g, int h0, int n_heads, int t)
{
    float max[HEADS], sum[HEADS];
    const int begin = first_key(x, t), end = t + x->past + 1;
    const size_t d = (size_t)x->d, head = (size_t)h0 * d;
    float *o = x->o + (size_t)t * x->ldo + head; /* o[t,h0,:] */
    for (int key0 = begin; key0 < end; key0 += KEYS) {
        const int n = end - key0 < KEYS ? end - key0 : KEYS;
        const size_t at = (size_t)key0 * x->ldkv + (size_t)g * d; /* k[key0,g,:] */
        for (int h = 0; h < n_heads; h++) {
            float *p = b->p + h * KEYS;
            inner_keys(p, x->q + (size_t)t * x->ldq + head + (size_t)h * d, x->k + at, x->ldkv, n,
                       x->d);
            advance(p, (n + VL - 1) / VL, 0, n, x->scale, key0 == begin, &max[h], &sum[h],
                    o + (size_t)h * d, x->d);
        }
        const tile_at out = { o, b->p, x->v + at, d, KEYS, x->ldkv };
        tile_block(0, out, n_heads, x->d, n, key0 > begin);
    }
    for (int h = 0; h < n_heads; h++) row_scale(o + (size_t)h * d, x->d, 1.0f / sum[h]);
    if (x->lse) write_lse(x->lse + (size_t)t * (size_t)x->H + (size_t)h0, 1, max, sum, n_heads);
}

void LOCI_ISA(window_attn)(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                           const float *v, int ldkv, int T, int past, int H, int G, int d, int W,
                           float scale)
{
    const window x = { o, lse,  q, k, v, (size_t)ldo, (size_t)ldq, (size_t)ldkv,
                       T, past, H, d, W, scale };
    block b;
    running run;
    const int per = H / G, step = T <= FEW ? 1 : QUERIES;
    for (int g = 0; g < G; g++)
        for (int h = 0; h < per; h += HEADS) {
            const int n_heads = per - h < HEADS ? per - h : HEADS;
            for (int t = 0; t < T; t += step)
                if (step == 1)
                    window_query(&x, &b, g, g * per + h, n_heads, t);
                else
                    window_queries(&x, &b, &run, g, g * per + h, n_heads, t,
                                   T - t < QUERIES ? T : t + QUERIES);
        }
}
