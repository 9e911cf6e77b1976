/* host_lists.c - picks turned round: for each chunk the entries that picked it, in rising order. */
#include "host.h"

/* Entry e = t * slots + i picks c: where the plan of the host says that it may. */
static void check_pick(loci_gpu *g, const char *op, const loci_gpu_lists *l, int e, int c)
{
    const int tile = e / l->slots / LOCI_GPU_LIST_TILE;
    REQUIRE_IN(g, op, c < l->n_chunks, "entry %d picks chunk %d of %d", e, c, l->n_chunks);
    REQUIRE_IN(g, op, c >= l->tile_lo[tile] && c < l->tile_lo[tile] + l->tile_span,
               "entry %d picks chunk %d, its tile those of [%d, %d)", e, c, l->tile_lo[tile],
               l->tile_lo[tile] + l->tile_span);
    REQUIRE_IN(g, op, tile >= l->first_tile[c] && tile < l->last_tile[c],
               "tile %d picks chunk %d, which is for tiles [%d, %d)", tile, c, l->first_tile[c],
               l->last_tile[c]);
}

void HOST(lists_build)(loci_gpu *g, const loci_gpu_lists *l, const int32_t *pick)
{
    BEGIN(g);
    if (l->n == 0 || l->n_chunks == 0) return;
    const int n = l->n * l->slots, C = l->n_chunks,
              tiles = (l->n + LOCI_GPU_LIST_TILE - 1) / LOCI_GPU_LIST_TILE;
    REQUIRE(g, l->slots >= HOST_PICKS, "%d slots", l->slots);
    for (int e = 0; e < n; e++)
        if (pick[e] >= 0) check_pick(g, __func__, l, e, pick[e]);
    BEGIN(g);
    host_spoil(l->counts, (size_t)tiles * l->tile_span * sizeof *l->counts);
    memset(l->start, 0, ((size_t)C + 1) * sizeof *l->start);
    for (int e = 0; e < n; e++)
        if (pick[e] >= 0) l->start[pick[e] + 1]++;
    l->item_start[0] = 0;
    for (int c = 0; c < C; c++) {
        const int items = (l->start[c + 1] + LOCI_GPU_ITEM - 1) / LOCI_GPU_ITEM;
        REQUIRE(g, l->item_start[c] + items <= l->max_items, "more than %d items", l->max_items);
        for (int i = 0; i < items; i++) l->item_chunk[l->item_start[c] + i] = c;
        l->item_start[c + 1] = l->item_start[c] + items;
        l->start[c + 1] += l->start[c];
    }
    int32_t *next = host_scratch((size_t)C, sizeof *next);
    memcpy(next, l->start, (size_t)C * sizeof *next);
    for (int e = 0; e < n; e++)
        if (pick[e] >= 0) l->entry[next[pick[e]]++] = e;
    free(next);
}
