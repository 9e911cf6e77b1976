/* attn_int_body.h - window attention on integers, in the words of avx*_math.h and a few more.
 *
 * A tile is up to TILE rows (query, head) of one group, queries first: its rows see nearly the same
 * keys.  Scores of all of them are kept, since the largest must be known before weights become whole
 * numbers; then the weights meet the values two keys at a time.  Blocks of 16 keys begin where the
 * packed rows do, and what lies outside a row's window weighs 0.
 * The file that includes this gives LOCI_ISA(family), TILE rows, and on VL lanes of 32 bits
 *   vi, i_zero, i_load(p), i_pair(p): two 16-bit numbers in every lane, i_mac(acc, a, b): acc + products
 *   of pairs, i_add, i_round(vf) to nearest even, f_of(vi), i_sum(vi), i_store16(p, vi): VL numbers. */
#include <math.h>
#include "kernel/kernel.h"
#include "kernel/kv_int.h"

enum {
    VECS = KV_BLOCK / VL,
    KEYS = LOCI_WINDOW_INT_MAX + 2 * KV_BLOCK + TILE, /* of a tile, in whole blocks */
    COLS = 2                                          /* vectors of the output at once */
};

typedef struct {
    float *o;
    const float *q;
    const loci_kv_int *kv;
    size_t ldo, ldq;
    int past, per, d, W; /* per: heads of a group */
    float scale;
} window;

typedef struct {
    int16_t q[TILE * HEAD_MAX];  /* (rows, d)              */
    float unit[TILE];            /* factor of a row's dots */
    int first[TILE], last[TILE]; /* keys of a row          */
    int block0, blocks;          /* blocks of all of them  */
    float s[TILE * KEYS];        /* (rows, KEYS) scores    */
    int16_t p[TILE * KEYS];      /* (rows, KEYS) weights   */
    float back[TILE];            /* factor of a row's sums */
} tile;

/* Row r of group g: query r / per, head g per + r % per. */
static size_t row_at(const window *x, int g, int r, size_t ld)
{
    return (size_t)(r / x->per) * ld + (size_t)((g * x->per + r % x->per) * x->d);
}

/* Queries as whole numbers, and which keys they see. */
static void begin(tile *b, const window *x, int g, int row0, int m)
{
    int32_t q[HEAD_MAX];
    for (int i = 0; i < m; i++) {
        const float scale = loci_round_row(q, x->q + row_at(x, g, row0 + i, x->ldq), x->d, KEY_MAX);
        const int last = (row0 + i) / x->per + x->past;
        b->unit[i] = scale * x->scale;
        b->first[i] = x->W <= last ? last - x->W + 1 : 0;
        b->last[i] = last;
        for (int c = 0; c < x->d; c++) b->q[i * x->d + c] = (int16_t)q[c];
    }
    b->block0 = b->first[0] / KV_BLOCK;
    b->blocks = b->last[m - 1] / KV_BLOCK + 1 - b->block0;
}

/* s[i, ..] of M rows against P blocks of keys from k on. */
INLINE void scores(const int M, const int P, tile *b, int d, const int16_t *k, const float *k_scale,
                   int block)
{
    vi acc[TILE][SCORE_BLOCKS * VECS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int v = 0; v < P * VECS; v++) acc[i][v] =
        i_zero();
    const int16_t *q = b->q;
    const size_t next = (size_t)(KV_BLOCK * d); /* to the next block */
    for (int c = 0; c < d; c += 2) {
        vi key[SCORE_BLOCKS * VECS];
        UNROLL for (int v = 0; v < P * VECS; v++) key[v] =
            i_load(k + (size_t)(v / VECS) * next + 2 * VL * (v % VECS));
        UNROLL for (int i = 0; i < M; i++)
        {
            const vi pair = i_pair(q + i * d);
            UNROLL for (int v = 0; v < P * VECS; v++) acc[i][v] = i_mac(acc[i][v], pair, key[v]);
        }
        k += 2 * KV_BLOCK;
        q += 2;
    }
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int v = 0; v < P * VECS; v++)
    {
        const vf s = v_mul(f_of(acc[i][v]), v_load(k_scale + VL * v));
        v_store(b->s + i * KEYS + KV_BLOCK * block + VL * v, v_mul(s, v_set(b->unit[i])));
    }
}

/* Scores of row i to whole weights. */
static void weigh(tile *b, int i, const float *v_scale)
{
    const int n_vec = b->blocks * VECS, key0 = b->block0 * KV_BLOCK;
    float *s = b->s + i * KEYS;
    vf max = v_set(-INFINITY), top = v_zero();
    vi total = i_zero();
    for (int v = 0; v < n_vec; v++) {
        const vm in = v_range(b->first[i] - key0 - VL * v, b->last[i] + 1 - key0 - VL * v);
        const vf x = v_select(in, v_load(s + VL * v), v_set(-INFINITY));
        v_store(s + VL * v, x);
        max = v_max(max, x);
    }
    max = v_set(v_greatest(max));
    for (int v = 0; v < n_vec; v++) {
        const vf e = v_exp(v_sub(v_load(s + VL * v), max));
        const vf p = v_mul(e, v_load(v_scale + VL * v));
        total = i_add(total, i_round(v_mul(e, v_set(0x1p20f))));
        v_store(s + VL * v, p);
        top = v_max(top, p);
    }
    const float most = v_greatest(top);
    const vf whole = v_set(most > 0.0f ? (float)WEIGHT_MAX / most : 0.0f);
    for (int v = 0; v < n_vec; v++)
        i_store16(b->p + i * KEYS + VL * v, i_round(v_mul(v_load(s + VL * v), whole)));
    b->back[i] = most * (0x1p20f / (float)WEIGHT_MAX) / (float)i_sum(total);
}

/* COLS vectors of the output of M rows from dimension c on. */
INLINE void outputs(const int M, const tile *b, const window *x, int g, int row0, int c,
                    const int16_t *v)
{
    vi acc[TILE][COLS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int n = 0; n < COLS; n++) acc[i][n] = i_zero();
    const int16_t *p = b->p;
    v += 2 * c;
    for (int j = 0; j < b->blocks * KV_BLOCK; j += 2) {
        vi value[COLS];
        UNROLL for (int n = 0; n < COLS; n++) value[n] = i_load(v + 2 * VL * n);
        UNROLL for (int i = 0; i < M; i++)
        {
            const vi pair = i_pair(p + i * KEYS);
            UNROLL for (int n = 0; n < COLS; n++) acc[i][n] = i_mac(acc[i][n], pair, value[n]);
        }
        v += 2 * x->d;
        p += 2;
    }
    vf sum[TILE][COLS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int n = 0; n < COLS; n++) sum[i][n] =
        v_mul(f_of(acc[i][n]), v_set(b->back[i]));
    for (int i = 0; i < M; i++)
        for (int n = 0; n < COLS; n++)
            v_store(x->o + row_at(x, g, row0 + i, x->ldo) + c + VL * n, sum[i][n]);
}

/* M rows from row0 on of group g. */
INLINE void rows(const int M, tile *b, const window *x, int g, int row0)
{
    const size_t head = (size_t)g * (size_t)x->kv->cap, d = (size_t)x->d;
    begin(b, x, g, row0, M);
    const size_t at = head + (size_t)(b->block0 * KV_BLOCK);
    const int16_t *k = x->kv->k + at * d, *v = x->kv->v + at * d;
    int n = 0;
    for (; n + SCORE_BLOCKS <= b->blocks; n += SCORE_BLOCKS)
        scores(M, SCORE_BLOCKS, b, x->d, k + (size_t)(KV_BLOCK * n) * d,
               x->kv->k_scale + at + KV_BLOCK * n, n);
    for (; n < b->blocks; n++)
        scores(M, 1, b, x->d, k + (size_t)(KV_BLOCK * n) * d, x->kv->k_scale + at + KV_BLOCK * n,
               n);
    for (int i = 0; i < M; i++) weigh(b, i, x->kv->v_scale + at);
    for (int c = 0; c < x->d; c += COLS * VL) outputs(M, b, x, g, row0, c, v);
}

void LOCI_ISA(window_attn_int)(float *o, int ldo, const float *q, int ldq, const loci_kv_int *kv,
                               int T, int past, int H, int G, int d, int W, float scale)
{
    const window x = { o, q, kv, (size_t)ldo, (size_t)ldq, past, H / G, d, W, scale };
    const int n = T * x.per;
    tile b;
    for (int g = 0; g < G; g++) {
        int r = 0;
        for (; r + TILE <= n; r += TILE) rows(TILE, &b, &x, g, r);
        if (TILE > 4 && n - r >= 4) rows(4, &b, &x, g, r), r += 4;
        if (n - r >= 2) rows(2, &b, &x, g, r), r += 2;
        if (n - r >= 1) rows(1, &b, &x, g, r);
    }
}
