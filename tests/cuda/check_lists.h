/* check_lists.h - checks of picks turned round, exact, and of the sparse gradient that goes through
 * them. */
#ifndef CHECK_LISTS_H
#define CHECK_LISTS_H

#include "check_score.h"

/* Memory of lists over n queries and chunks for which a tile's picks lie anywhere. */
static inline loci_gpu_lists lists_new(int n, int n_chunks, const int32_t *tile_lo, int span,
                                       const int32_t *first_tile, const int32_t *last_tile)
{
    const int tiles = (n + LOCI_GPU_LIST_TILE - 1) / LOCI_GPU_LIST_TILE;
    const size_t all = (size_t)n * LOCI_GPU_SLOTS;
    const int most = (int)(all / LOCI_GPU_ITEM) + n_chunks;
    return (loci_gpu_lists){
        .start = out_i32(NULL, n_chunks + 1),
        .entry = out_i32(NULL, all),
        .item_start = out_i32(NULL, n_chunks + 1),
        .item_chunk = out_i32(NULL, most),
        .counts = device(NULL, (size_t)tiles * span * sizeof(int32_t)),
        .tile_lo = put_i32(tile_lo, tiles),
        .first_tile = put_i32(first_tile, n_chunks),
        .last_tile = put_i32(last_tile, n_chunks),
        .n = n,
        .n_chunks = n_chunks,
        .slots = LOCI_GPU_SLOTS,
        .tile_span = span,
        .max_items = most,
    };
}

/* Lists of picks as the device makes them, for ops that read lists. */
static inline loci_gpu_lists lists_of(int n, int n_chunks, const int32_t *pick)
{
    const int tiles = (n + LOCI_GPU_LIST_TILE - 1) / LOCI_GPU_LIST_TILE;
    int32_t *lo = ints(tiles), *first = ints(n_chunks), *last = ints(n_chunks);
    for (int c = 0; c < n_chunks; c++) last[c] = tiles;
    const loci_gpu_lists l = lists_new(n, n_chunks, lo, n_chunks, first, last);
    loci_gpu_lists_build(gpu, &l, pick);
    n_outputs -= 4; /* inputs of what follows: they keep what they hold */
    must_be_well("lists");
    return l;
}

/* Picks of n queries: rising, different, within [lo, hi); the last two slots as they come. */
static inline int32_t *random_picks(int n, const int32_t *lo, const int32_t *hi)
{
    int32_t *pick = ints((size_t)n * LOCI_GPU_SLOTS);
    for (int t = 0; t < n; t++) {
        int32_t *p = pick + (size_t)t * LOCI_GPU_SLOTS;
        const int own = hi[t] - lo[t], want = own < LOCI_GPU_PICKS ? own : LOCI_GPU_PICKS;
        int have = 0;
        for (int i = 0; i < LOCI_GPU_SLOTS; i++) p[i] = -1;
        for (int c = lo[t]; c < hi[t] && have < want; c++)
            if (below(hi[t] - c) < want - have) p[have++] = c;
        if (own > 0 && t % 3 == 0) p[LOCI_GPU_PICKS] = lo[t] + below(own);
        if (own > 0 && t % 4 == 1) p[LOCI_GPU_PICKS + 1] = lo[t] + below(own);
    }
    return pick;
}

static inline void lists_case(int n, int n_chunks)
{
    /* Two sequences; a tile that holds both starts at the first's chunks. */
    const int tiles = (n + LOCI_GPU_LIST_TILE - 1) / LOCI_GPU_LIST_TILE, half = n_chunks / 2;
    int32_t *lo = ints(n), *hi = ints(n), *tile_lo = ints(tiles), *first = ints(n_chunks),
            *last = ints(n_chunks);
    for (int t = 0; t < n; t++) {
        const bool second = t >= n / 2;
        lo[t] = second ? half : 0;
        hi[t] = t % 11 == 5 ? lo[t] : second ? n_chunks : half;
    }
    int span = 1;
    for (int i = 0; i < tiles; i++) {
        const int a = i * LOCI_GPU_LIST_TILE,
                  e = a + LOCI_GPU_LIST_TILE < n ? a + LOCI_GPU_LIST_TILE : n;
        tile_lo[i] = lo[a];
        const int end = e > n / 2 ? n_chunks : half;
        if (end - tile_lo[i] > span) span = end - tile_lo[i];
    }
    for (int c = 0; c < n_chunks; c++) { /* tiles whose queries may pick c */
        first[c] = c < half ? 0 : n / 2 / LOCI_GPU_LIST_TILE;
        last[c] = c < half ? (n / 2 + LOCI_GPU_LIST_TILE - 1) / LOCI_GPU_LIST_TILE : tiles;
    }
    const int32_t *pick = random_picks(n, lo, hi);
    const loci_gpu_lists l = lists_new(n, n_chunks, tile_lo, span, first, last);
    const int32_t *on = put_i32(pick, (size_t)n * LOCI_GPU_SLOTS);
    TWICE("lists_build") loci_gpu_lists_build(gpu, &l, on);
    int32_t *start = ints(n_chunks + 1), *item = ints(n_chunks + 1),
            *entry = ints((size_t)n * LOCI_GPU_SLOTS), at = 0;
    for (int c = 0; c < n_chunks; c++) {
        for (int e = 0; e < n * LOCI_GPU_SLOTS; e++)
            if (pick[e] == c) entry[at++] = e;
        start[c + 1] = at;
        item[c + 1] = item[c] + (at - start[c] + LOCI_GPU_ITEM - 1) / LOCI_GPU_ITEM;
    }
    assert_true(item[n_chunks] <= l.max_items);
    equal_ints("start", get_i32(l.start, n_chunks + 1), start, n_chunks + 1);
    equal_ints("entry", get_i32(l.entry, at), entry, at);
    equal_ints("item_start", get_i32(l.item_start, n_chunks + 1), item, n_chunks + 1);
    const int32_t *chunk = get_i32(l.item_chunk, item[n_chunks]);
    for (int c = 0; c < n_chunks; c++)
        for (int i = item[c]; i < item[c + 1]; i++)
            if (chunk[i] != c) fail_msg("item_chunk[%d]: %d, should be %d", i, chunk[i], c);
    done("lists_build");
}

static void check_lists_build(void)
{
    static const int sizes[][2] = { { 1, 1 },    { 3, 5 },     { 255, 17 },  { 256, 2 },
                                    { 257, 40 }, { 1000, 33 }, { 700, 1500 } };
    for (int i = 0; i < COUNT(sizes); i++) lists_case(sizes[i][0], sizes[i][1]);
}

static inline void sparse_case(int n, int n_chunks)
{
    const score_case x = score_new(n, n_chunks, 16, false, false);
    const score_sums d = sums_new(&x);
    const size_t nu = (size_t)n * 128, nl = (size_t)n_chunks * 256,
                 slots = (size_t)n * LOCI_GPU_SLOTS;
    const int32_t *pick = random_picks(n, x.lo, x.hi);
    float *ds = random_f32(slots, 1.0);
    const float *du = random_f32(nu, 0.1), *dlm = random_f32(nl, 0.1),
                *db = random_f32(n_chunks, 0.1);
    for (size_t e = 0; e < slots; e++) {
        if (e % 7 == 0) ds[e] = 0.0f;
        if (pick[e] >= 0 && ds[e] != 0.0f)
            score_spread(&x, &d, (int)(e / LOCI_GPU_SLOTS), pick[e], ds[e]);
    }
    loci_gpu_score s = score_upload(&x);
    s.pick = put_i32(pick, slots);
    const loci_gpu_lists l = lists_of(n, n_chunks, s.pick);
    const float *in = put_f32(ds, slots);
    float *gu = out_f32(du, nu), *gl = out_f32(dlm, nl), *gb = out_f32(db, n_chunks);
    TWICE("score_sparse") loci_gpu_score_sparse(gpu, &s, &l, in, gu, gl, gb);
    compare("du", get_f32(gu, nu), sum_floats(du, d.du, nu), nu, 1e-4);
    compare("dlm", get_f32(gl, nl), sum_floats(dlm, d.dlm, nl), nl, 1e-4);
    compare("dbias", get_f32(gb, n_chunks), sum_floats(db, d.dbias, n_chunks), n_chunks, 1e-4);
    done("score_sparse");
}

static void check_score_sparse(void)
{
    for (int i = 0; i < COUNT(score_sizes); i++) sparse_case(score_sizes[i][0], score_sizes[i][1]);
}

#endif
