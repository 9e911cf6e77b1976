/* attn_bwd_body.h - gradients of attention, in the words of avx*_math.h.
 *
 * For a block of queries and a block of keys: scores and dp = dout v^T are register-tiled products
 * on transposed copies of k and v; P and ds stay in two small matrices; dq, dk and dv are three
 * more tiled products on them.  All copies are on the stack, 230 KB at most.  The file
 * that includes this defines LOCI_ISA(family). */
#include "kernel/kernel.h"
#include "kernel/x86/tile.h"

enum { DIM = 128, ROWS = TILE_ROWS, QUERIES = 8 * ROWS };

INLINE float inner(const float *a, const float *b, int n)
{
    vf sum = v_zero();
    for (int i = 0; i < n; i += VL) {
        const vm mask = v_lanes(n - i);
        sum = v_fma(v_load_some(a + i, mask), v_load_some(b + i, mask), sum);
    }
    return v_sum(sum);
}

/* ---- one chunk -------------------------------------------------------------------------- */

/* Buffers of one call, cut from a fixed block by the sizes at hand: the smaller the chunk, the
 * more query rows go at once, and the less often dk and dv are loaded and stored. */
enum { WORK = 56 * 1024 };

typedef struct {
    float *kt, *vt; /* (d_k, n), (d_v, n), ld columns apart */
    float *k;       /* (n, d_k) */
    float *p, *ds;  /* (rows, n): scores, then P; dp, then ds */
    int ld, rows;
} chunk_work;

static chunk_work chunk_plan(float *work, int n, int d_k, int d_v)
{
    chunk_work c;
    c.ld = ((n + 15) & ~15) + 16; /* an odd number of cache lines where n is a power of two */
    c.kt = work;
    c.vt = c.kt + d_k * c.ld;
    c.k = c.vt + d_v * c.ld;
    c.p = c.k + n * d_k;
    const int fit = (int)(work + WORK - c.p) / (2 * c.ld) / ROWS * ROWS;
    c.rows = fit < QUERIES ? fit : QUERIES; /* at least 12: n, d_k, d_v <= 128 */
    c.ds = c.p + c.rows * c.ld;
    return c;
}

/* Scores to P and dp to ds of one row; returns sum p dp. */
INLINE float chunk_row(float *p, float *ds, int n, float scale, float lse, float w,
                       const float *delta)
{
    vf sum = v_zero();
    for (int j = 0; j < n; j += VL) {
        const vm mask = v_lanes(n - j);
        const vf s = v_mul(v_load(p + j), v_set(scale));
        const vf e = v_select(mask, v_exp(v_sub(s, v_set(lse))), v_zero());
        v_store(p + j, e);
        sum = v_fma(e, v_load(ds + j), sum);
    }
    const float dw = v_sum(sum);
    const vf mean = v_set(delta ? *delta : dw);
    for (int j = 0; j < n; j += VL) {
        const vf e = v_mul(v_load(p + j), v_set(w));
        const vf d = v_mul(e, v_sub(v_load(ds + j), mean));
        v_store(p + j, e);
        v_store(ds + j, v_mul(d, v_set(scale)));
    }
    return dw;
}

void LOCI_ISA(chunk_attn_bwd)(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                              float *dw, const float *dout, int lddo, const float *q, int ldq,
                              const float *k, int ldk, const float *v, int ldv, const float *lse,
                              const float *w, const float *delta, int rows, int n, int d_k, int d_v,
                              float scale)
{
    float work[WORK];
    const chunk_work c = chunk_plan(work, n, d_k, d_v);
    const int n16 = (n + 15) & ~15;
    const size_t ld = (size_t)c.ld;
    tile_transpose(c.kt, ld, k, (size_t)ldk, n, d_k);
    tile_transpose(c.vt, ld, v, (size_t)ldv, n, d_v);
    tile_copy(c.k, k, (size_t)ldk, n, d_k);
    for (int r = 0; r < rows; r += c.rows) {
        const int m = rows - r < c.rows ? rows - r : c.rows;
        const float *q_r = q + (size_t)r * (size_t)ldq, *do_r = dout + (size_t)r * (size_t)lddo;
        float *dq_r = dq + (size_t)r * (size_t)lddq;
        tile_block(0, (tile_at){ c.p, q_r, c.kt, ld, (size_t)ldq, ld }, m, n16, d_k, 0);
        tile_block(0, (tile_at){ c.ds, do_r, c.vt, ld, (size_t)lddo, ld }, m, n16, d_v, 0);
        for (int i = 0; i < m; i++)
            dw[r + i] = chunk_row(c.p + i * c.ld, c.ds + i * c.ld, n, scale, lse[r + i],
                                  w ? w[r + i] : 1.0f, delta ? &delta[r + i] : NULL);
        tile_block(0, (tile_at){ dq_r, c.ds, c.k, (size_t)lddq, ld, (size_t)d_k }, m, d_k, n, 1);
        tile_block(1, (tile_at){ dk, c.ds, q_r, (size_t)lddk, ld, (size_t)ldq }, n, d_k, m, 1);
        tile_block(1, (tile_at){ dv, c.p, do_r, (size_t)lddv, ld, (size_t)lddo }, n, d_v, m, 1);
    }
}

/* ---- the causal window ------------------------------------------------------------------ */

enum { KEYS = 64, LD = 80 }; /* 5 cache lines a row of keys */

typedef struct {
    float kt[DIM * LD], vt[DIM * LD];            /* (d, keys) */
    float k[KEYS * DIM];                         /* (keys, d) */
    float q[QUERIES * DIM], dout[QUERIES * DIM]; /* (queries, d) of one head */
    float p[QUERIES * LD], ds[QUERIES * LD];     /* (queries, keys) */
    float mean[QUERIES];                         /* <dout, o> */
} window_work;

typedef struct {
    float *dq, *dk, *dv;
    const float *dout, *q, *k, *v, *o, *lse;
    size_t lddq, lddkv, lddo, ldq, ldkv, ldo;
    int T, H, d, W;
    float scale;
} window;

static int first_key(const window *x, int t)
{
    return x->W <= t ? t - x->W + 1 : 0;
}

/* P and ds of query t: keys [first, last) of the block, zero for the others. */
INLINE void window_row(float *p, float *ds, int n_vec, int first, int last, float scale, float lse,
                       float mean)
{
    for (int v = 0; v < n_vec; v++) {
        const vm in = v_range(first - VL * v, last - VL * v);
        const vf s = v_mul(v_load(p + VL * v), v_set(scale));
        const vf e = v_select(in, v_exp(v_sub(s, v_set(lse))), v_zero());
        const vf d = v_sub(v_load(ds + VL * v), v_set(mean));
        v_store(p + VL * v, e);
        v_store(ds + VL * v, v_select(in, v_mul(v_mul(e, d), v_set(scale)), v_zero()));
    }
}

/* P, ds and dq of queries t .. t+m, the first of them row i of the block. */
static void window_rows(const window *x, window_work *b, int h, int t, int m, int i, int key0,
                        int n)
{
    float *p = b->p + i * LD, *ds = b->ds + i * LD;
    for (int r = 0; r < m; r++)
        for (int v = 0; v < KEYS; v += VL) {
            v_store(p + r * LD + v, v_zero());
            v_store(ds + r * LD + v, v_zero());
        }
    const int begin = first_key(x, t) - key0, end = t + m - key0;
    if (end <= 0 || begin >= n) return;
    const int lo = begin > 0 ? begin & ~15 : 0, hi = end < n ? end : n,
              n_vec = (hi - lo + VL - 1) / VL;
    const size_t d = (size_t)x->d, head = (size_t)h * d;
    const tile_at scores = { p + lo, b->q + (size_t)i * d, b->kt + lo, LD, d, LD };
    const tile_at dp = { ds + lo, b->dout + (size_t)i * d, b->vt + lo, LD, d, LD };
    tile_block(0, scores, m, VL * n_vec, x->d, 0);
    tile_block(0, dp, m, VL * n_vec, x->d, 0);
    for (int r = 0; r < m; r++)
        window_row(p + r * LD + lo, ds + r * LD + lo, n_vec, first_key(x, t + r) - key0 - lo,
                   t + r + 1 - key0 - lo, x->scale,
                   x->lse[(size_t)(t + r) * (size_t)x->H + (size_t)h], b->mean[i + r]);
    const tile_at dq = {
        x->dq + (size_t)t * x->lddq + head, ds + lo, b->k + (size_t)lo * d, x->lddq, LD, d
    };
    tile_block(0, dq, m, x->d, hi - lo, 1);
}

/* dk and dv of the n keys of the block from queries t0 .. t1: a few at a time, only the queries
 * that see one of them. */
static void window_keys(const window *x, const window_work *b, int g, int t0, int t1, int key0,
                        int n)
{
    const size_t d = (size_t)x->d;
    for (int j = 0; j < n; j += ROWS) {
        const int m = n - j < ROWS ? n - j : ROWS, last = key0 + j + m - 1; /* last key */
        const int from = key0 + j > t0 ? key0 + j : t0;
        const int to = t1 - last > x->W ? last + x->W : t1;
        if (from >= to) continue;
        const size_t i = (size_t)(from - t0);
        const size_t out = (size_t)(key0 + j) * x->lddkv + (size_t)g * d;
        const tile_at dk = { x->dk + out, b->ds + i * LD + j, b->q + i * d, x->lddkv, LD, d };
        const tile_at dv = { x->dv + out, b->p + i * LD + j, b->dout + i * d, x->lddkv, LD, d };
        tile_block(1, dk, m, x->d, to - from, 1);
        tile_block(1, dv, m, x->d, to - from, 1);
    }
}

static void window_head(const window *x, window_work *b, int h, int g, int t0, int t1, int key0,
                        int n)
{
    const size_t head = (size_t)h * (size_t)x->d;
    const float *dout = x->dout + (size_t)t0 * x->lddo + head; /* dout[t0,h,:] */
    tile_copy(b->q, x->q + (size_t)t0 * x->ldq + head, x->ldq, t1 - t0, x->d);
    tile_copy(b->dout, dout, x->lddo, t1 - t0, x->d);
    for (int t = t0; t < t1; t++)
        b->mean[t - t0] =
            inner(dout + (size_t)(t - t0) * x->lddo, x->o + (size_t)t * x->ldo + head, x->d);
    for (int t = t0; t < t1; t += ROWS)
        window_rows(x, b, h, t, t1 - t < ROWS ? t1 - t : ROWS, t - t0, key0, n);
    window_keys(x, b, g, t0, t1, key0, n);
}

void LOCI_ISA(window_attn_bwd)(float *dq, int lddq, float *dk, float *dv, int lddkv,
                               const float *dout, int lddo, const float *q, int ldq, const float *k,
                               const float *v, int ldkv, const float *o, int ldo, const float *lse,
                               int T, int H, int G, int d, int W, float scale)
{
    const window x = { dq,
                       dk,
                       dv,
                       dout,
                       q,
                       k,
                       v,
                       o,
                       lse,
                       (size_t)lddq,
                       (size_t)lddkv,
                       (size_t)lddo,
                       (size_t)ldq,
                       (size_t)ldkv,
                       (size_t)ldo,
                       T,
                       H,
                       d,
                       W,
                       scale };
    window_work b;
    const int per = H / G;
    for (int g = 0; g < G; g++)
        for (int t0 = 0; t0 < T; t0 += QUERIES) {
            const int t1 = T - t0 < QUERIES ? T : t0 + QUERIES;
            for (int key0 = first_key(&x, t0); key0 < t1; key0 += KEYS) {
                const int n = t1 - key0 < KEYS ? t1 - key0 : KEYS;
                const size_t at = (size_t)key0 * x.ldkv + (size_t)g * (size_t)d; /* k[key0,g,:] */
                tile_transpose(b.kt, LD, k + at, x.ldkv, n, d);
                tile_transpose(b.vt, LD, v + at, x.ldkv, n, d);
                tile_copy(b.k, k + at, x.ldkv, n, d);
                for (int h = g * per; h < (g + 1) * per; h++)
                    window_head(&x, &b, h, g, t0, t1, key0, n);
            }
        }
}
