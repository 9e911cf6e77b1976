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

/* Deviations above its mean that a bucket is ranked by: what its best rows may have.  Of 0, 1, 2, 3, 4 and
 * 6 the one that needs the fewest rows for 0.995 of the best: M, 16M tokens, 36,500 of 528,260 (0: 45,000). */
static const float PROBE_SPREAD = 3.0f;

typedef struct { /* a bucket that is looked into */
    int bank;
    int64_t base; /* number of its first row among all that are looked into */
    loci_bucket rows;
    /* When rows are chosen by sketches: */
    loci_sketch sketch;
    float near;   /* tau <u, mean> */
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

typedef struct { /* the query in the coordinates of one bank's buckets */
    float q[LOCI_BASIS];
    float origin;             /* <u, mean of all landmarks> */
    int8_t whole[LOCI_BASIS]; /* q in whole numbers, for sketches ... */
    float scale;              /* ... times this, tau included */
} probe_query;

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
    probe_cell *cell; /* (rows of all buckets) */
    /* The query in hand. */
    const float *u;
    const loci_query_i16 *whole;
    float tau;
    int want;           /* rows */
    int n_part;         /* parts in use */
    probe_query *query; /* (n_banks) of those that have buckets */
    float cut;          /* guesses from it on are chosen */
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
