/* scan.h - the two ways to the candidates of a search: by codes, and by buckets of landmarks. */
#ifndef LOCI_SCAN_H
#define LOCI_SCAN_H

#include "engine/bank_impl.h"

enum { LOCI_SURVIVORS_MAX = 8192, LOCI_BANKS_MAX = 100 };

/* ---- scan.c: all codes of a union of banks, but of chunks that are in buckets -------------------- */
typedef struct {
    int32_t index; /* union index */
    uint8_t distance;
} loci_candidate;

typedef struct loci_scan loci_scan;
/* For n_banks banks (kept until close); first[i] is the union index of bank i's first chunk.  whole:
 * codes of chunks that are in buckets too, which takes 16 bytes a landmark of such banks.
 * Errors: LOCI_ENOMEM, LOCI_EFORMAT a block is damaged (named). */
loci_status loci_scan_open(loci_scan **out, const loci_model *m, const loci_bank *const *bank,
                           const int64_t *first, int n_banks, bool whole, loci_error *err);
void loci_scan_close(loci_scan *s);           /* NULL is fine */
int64_t loci_scan_chunks(const loci_scan *s); /* whose codes are compared */
/* The `want` (1 .. LOCI_SURVIVORS_MAX) chunks nearest to router query u (d_landmark), ties to the lower
 * index, into *out by index: borrowed until the next call, with room for LOCI_HITS_MAX more.  Returns
 * how many.  A chunk is as near as the nearest of its codes. */
int loci_scan_nearest(loci_scan *s, const float *u, int want, loci_candidate **out);

/* ---- probe.c: the buckets of a union of banks ------------------------------------------------------ */
enum { LOCI_PROBES_MAX = 1024 };
typedef struct loci_probe loci_probe;
/* *out NULL when no bank has buckets.  The pool (NULL: none) is kept.  Errors: LOCI_ENOMEM. */
loci_status loci_probe_open(loci_probe **out, const loci_kernels *k, loci_pool *pool,
                            const loci_bank *const *bank, const int64_t *first, int n_banks,
                            loci_error *err);
void loci_probe_close(loci_probe *p); /* NULL is fine */
/* Buckets that a query looks into where `buckets` hold `rows` landmarks: as many as hold 64 sqrt(rows)
 * and 16,384 of them, all of them or LOCI_PROBES_MAX at most. */
int loci_probes_for(int64_t rows, int64_t buckets);
/* Of `looked` landmarks in those buckets, `want` of them wanted, how many are scored: all, or where they are
 * many about as many as sketches let through. */
int64_t loci_probe_scored(int64_t looked, int want);
/* How many buckets; more than LOCI_PROBES_MAX, or than there are: all of them, and the chunks found are
 * then the best of all that are in buckets. */
void loci_probe_set(loci_probe *p, int probes);
/* The k (1 .. LOCI_MAX_PICKS) best chunks of the likeliest buckets for u (d_landmark), whole: the same
 * rounded: union indices and the router's scores, best first.  Returns how many, or a negative status
 * (LOCI_EFORMAT). */
int loci_probe_best(loci_probe *p, const float *u, const loci_query_i16 *whole, float tau, int k,
                    loci_scored *best, loci_error *err);
int64_t loci_probe_rows(const loci_probe *p); /* landmarks looked at so far, means included */

/* That of a searcher, borrowed; NULL when it looks into no buckets. */
loci_probe *loci_searcher_probe(loci_searcher *s);

#endif
