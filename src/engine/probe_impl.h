/* probe_impl.h - a search in buckets, shared by its two steps:
 *
 *   probe.c    which buckets; the best of their rows, and whose chunks they are
 *   narrow.c   which rows, by sketches, when they are many */
#ifndef LOCI_PROBE_IMPL_H
#define LOCI_PROBE_IMPL_H

#include "engine/scan.h"
#include "engine/sketch.h"

enum {
    PROBE_LANDMARKS = 16,
    PROBE_ROWS = LOCI_MAX_PICKS * PROBE_LANDMARKS,
    PROBE_PARTS = 8,
    PROBE_BINS = 1024 /* of ranks, to find the likeliest without sorting */
};

/* Deviations of a bucket's landmarks above its mean that it is ranked by.  Best of 0, 0.1, 0.2, 0.4 and
 * 0.8 at 6.8M tokens, where 0.3 and 0.4 were alike. */
static const float PROBE_SPREAD = 0.35f;

typedef struct { /* a bucket that is looked into */
    int bank;
    int64_t base; /* number of its first row among all that are looked into */
    loci_bucket rows;
    /* When rows are chosen by sketches: */
    loci_sketch sketch;
    float near;   /* tau unit <u, mean> */
    int64_t kept; /* its first place among the rows chosen of its part */
} probe_look;

typedef struct { /* buckets [from, to) of those looked into, one thread's */
    int from, to, have;
    int32_t *live; /* (largest) rows of a bucket that count */
    loci_scored best[PROBE_ROWS];
} probe_part;

typedef union { /* what a sketch promises of a row; then, from the front on, the rows chosen */
    float guess;
    int32_t row;
} probe_cell;

struct loci_probe {
    const loci_kernels *k;
    loci_pool *pool;
    const loci_bank *const *bank;
    const int64_t *first;
    int n_banks, M, d, probes;
    bool all;                           /* every landmark of every bucket is scored */
    int n_buckets;                      /* of all banks */
    int32_t before[LOCI_BANKS_MAX + 1]; /* buckets of the banks before */
    bool dead[LOCI_BANKS_MAX];          /* has chunks in buckets that are of no live document */
    int64_t rows;
    probe_look *look; /* (n_buckets): all may be asked for */
    int n_look;       /* of the query in hand */
    float *rank;      /* (n_buckets) */
    int32_t *likely;  /* (n_buckets) those looked into, rising */
    bool sketched;    /* all buckets have sketches */
    probe_cell *cell; /* (rows of all buckets) */
    /* The query in hand. */
    const float *u;
    const loci_query_i16 *whole;
    float tau;
    int want;   /* rows */
    int n_part; /* parts in use */
    /* u in whole numbers of 4 bits: a guess is near + share (sum over set bits slope + level) + bias. */
    uint64_t plane[4 * LOCI_QUERY_COLS / LOCI_SKETCH_BITS];
    float slope, level;
    float cut; /* guesses from it on are chosen */
    probe_part part[PROBE_PARTS];
};

/* ---- probe.c ------------------------------------------------------------------------------------ */
/* Union index of chunk number `chunk` of a bank's buckets, -1: it is of no live document.  *r is the run
 * that was right last: chunks of a bucket rise. */
int64_t loci_probe_index(const loci_probe *p, int bank, uint32_t chunk, int64_t *r);
/* fn of all parts, shared out to threads. */
void loci_probe_parts(loci_probe *p, loci_tile_fn *fn);

/* Does row x go before y? */
static inline bool probe_before(const loci_scored *x, const loci_scored *y)
{
    return x->score > y->score || (x->score == y->score && x->index < y->index);
}

static inline int probe_bin(float x)
{
    /* What is not a number: 0. */
    return x > 0.0f ? x < PROBE_BINS - 1 ? (int)x : PROBE_BINS - 1 : 0;
}

/* ---- narrow.c ----------------------------------------------------------------------------------- */
/* The best of the `rows` looked into, as far as sketches let them through, into the lists of the parts.
 * Errors: LOCI_ENOMEM. */
loci_status loci_probe_narrow(loci_probe *p, int64_t rows, loci_error *err);

#endif
