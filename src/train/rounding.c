/* rounding.c - a step whose weights are rounded to the 4 bits that an int4 checkpoint stores.
 *
 *   loss and gradient at round(w);  w <- w - step(gradient)
 *
 * The gradient passes through the rounding as if it were not there (straight-through, Bengio et al. 2013,
 * arXiv 1308.3432), so that w moves on in small steps and learns where the rounded numbers do well.
 * What stays in 8 bits or more is not rounded: that costs nothing that could be measured. */
#include "train/train_impl.h"

#include <string.h>

enum { TILE = 512 }; /* blocks of 16 */

/* Blocks [TILE i, TILE (i + 1)), whole groups: a group that starts in the tile is this tile's. */
static void round_tile(void *ctx, int tile, int worker)
{
    (void)worker;
    loci_optim *o = ctx;
    const size_t first = (size_t)tile * TILE, blocks = o->n / 16;
    const size_t stop = first + TILE < blocks ? first + TILE : blocks;
    for (size_t b = first; b < stop; b++)
        if (o->four[b] == LOCI_FOUR_STARTS) loci_four_nearest(o->param + b * 16, 1);
}

void loci_rounding_begin(loci_optim *o, loci_pool *pool)
{
    memcpy(o->kept, o->param, o->n * sizeof *o->kept);
    loci_pool_run(pool, (int)((o->n / 16 + TILE - 1) / TILE), round_tile, o);
}

void loci_rounding_end(loci_optim *o)
{
    memcpy(o->param, o->kept, o->n * sizeof *o->kept);
}

void loci_rounding_flags(loci_optim *o, const loci_param_info *info, size_t first_block)
{
    const size_t groups = (size_t)info->rows * (size_t)info->cols / LOCI_W4_GROUP;
    for (size_t g = 0; g < groups && loci_param_in_four(info); g++) {
        o->four[first_block + 2 * g] = LOCI_FOUR_STARTS;
        o->four[first_block + 2 * g + 1] = LOCI_FOUR_GOES_ON;
    }
}
