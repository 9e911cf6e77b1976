/* topk.h - a short list of the best scores, kept sorted by insertion.
 *
 * Shared by all router kernels so that ties, NaN and order are the same in each.  Static
 * functions only: nothing compiled for one instruction set can be linked into another. */
#ifndef LOCI_KERNEL_TOPK_H
#define LOCI_KERNEL_TOPK_H

#include <stdbool.h>
#include "kernel/kernel.h"

static inline bool topk_before(loci_scored a, loci_scored b)
{
    return a.score > b.score || (a.score == b.score && a.index < b.index);
}

/* Insert x into best[0 .. have), sorted, at most K kept; returns the new count.  A NaN score
 * is never taken: it has no place in the order. */
static inline int topk_insert(loci_scored *best, int have, int K, loci_scored x)
{
    if (!(x.score == x.score) || K < 1) return have;
    if (have == K && !topk_before(x, best[K - 1])) return have;
    int at = have < K ? have : K - 1;
    for (; at > 0 && topk_before(x, best[at - 1]); at--) best[at] = best[at - 1];
    best[at] = x;
    return have < K ? have + 1 : K;
}

#endif
