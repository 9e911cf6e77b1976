/* scan.c - Hamming distances of a query to the codes of a union of banks, and the nearest chunks: one
 * pass over the union in order of index, in which distances below a falling limit come in. */
#include "engine/scan.h"
#include <stdlib.h>

enum {
    SCAN_BLOCK = 4096, /* chunks a kernel call: its distances stay in the first cache */
    SKIP_BLOCK = 64,   /* distances looked at together */
    CANDIDATES = 4 * LOCI_SURVIVORS_MAX
};
_Static_assert(CANDIDATES >= LOCI_SURVIVORS_MAX + SKIP_BLOCK,
               "room for one more block before a compaction");
_Static_assert(CANDIDATES >= LOCI_SURVIVORS_MAX + (int)LOCI_HITS_MAX,
               "room for chunks of postings");

typedef struct { /* the codes of one bank that are scanned */
    const uint64_t *code;
    const loci_code_run *run;
    int64_t n_runs;
    loci_code_run whole; /* run, of a scan of all ... */
    uint64_t *owned;     /* ... over codes of its own */
} bank_codes;

struct loci_scan {
    const loci_model *model;
    const int64_t *first;
    int n_banks, M;
    int64_t chunks;
    bank_codes codes[LOCI_BANKS_MAX];
    uint8_t distance[SCAN_BLOCK];
    loci_candidate cand[CANDIDATES];
};

/* ---- opening -------------------------------------------------------------------------------------- */
static loci_status take_codes(loci_scan *s, const loci_bank *b, bank_codes *c, bool whole,
                              loci_error *err)
{
    if (!whole || !b->buckets) {
        *c = (bank_codes){ .code = b->code, .run = b->code_run, .n_runs = b->n_code_runs };
        s->chunks += b->n_codes;
        return LOCI_OK;
    }
    const loci_status st = loci_bank_all_codes(b, &c->owned, err);
    c->whole = (loci_code_run){ 0, b->chunks, 0 };
    c->code = c->owned;
    c->run = &c->whole;
    c->n_runs = 1;
    s->chunks += b->chunks;
    return st;
}

loci_status loci_scan_open(loci_scan **out, const loci_model *m, const loci_bank *const *bank,
                           const int64_t *first, int n_banks, bool whole, loci_error *err)
{
    *out = NULL;
    loci_scan *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    s->model = m;
    s->first = first;
    s->n_banks = n_banks;
    s->M = bank[0]->shape.n_landmarks;
    loci_status st = LOCI_OK;
    for (int i = 0; i < n_banks && st == LOCI_OK; i++)
        st = take_codes(s, bank[i], &s->codes[i], whole, err);
    if (st != LOCI_OK) {
        loci_scan_close(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_scan_close(loci_scan *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_banks; i++) loci_free_aligned(s->codes[i].owned);
    free(s);
}

int64_t loci_scan_chunks(const loci_scan *s)
{
    return s->chunks;
}

/* ---- scanning --------------------------------------------------------------------------------------- */
/* Keep the `want` nearest of n candidates, ties to the lower index; they stay in order of index.
 * By counting: distances are 0..128.  Returns how many are left; *limit: only what is nearer can
 * still come in. */
static int keep_nearest(loci_candidate *c, int n, int want, int *limit)
{
    int count[129] = { 0 }, nearer = 0, cut = 0, out = 0;
    if (n < want) return n;
    for (int i = 0; i < n; i++) count[c[i].distance]++;
    while (nearer + count[cut] < want) nearer += count[cut++];
    int at_cut = want - nearer;
    for (int i = 0; i < n; i++) {
        if (c[i].distance > cut || (c[i].distance == cut && at_cut-- <= 0)) continue;
        c[out++] = c[i];
    }
    *limit = cut;
    return out;
}

/* Least of n <= SKIP_BLOCK distances.  A full block has a constant count, which compilers turn into
 * a few vector minimums. */
static int nearest_in_block(const uint8_t *d, int n)
{
    uint8_t low = 255;
    if (n == SKIP_BLOCK)
        for (int i = 0; i < SKIP_BLOCK; i++) low = d[i] < low ? d[i] : low;
    else
        for (int i = 0; i < n; i++) low = d[i] < low ? d[i] : low;
    return low;
}

typedef struct {
    int n, want, limit; /* candidates so far; distances below `limit` come in */
} pass;

/* Chunks [0, n) of a run, whose first has union index `index`. */
static void scan_run(loci_scan *s, const uint64_t *code, int64_t index, int64_t n,
                     const uint64_t query[2], pass *p)
{
    for (int64_t at = 0; at < n; at += SCAN_BLOCK) {
        const int block = n - at < SCAN_BLOCK ? (int)(n - at) : SCAN_BLOCK;
        s->model->k.hamming(s->distance, code + (size_t)at * (size_t)s->M * 2, query, s->M, block);
        for (int j = 0; j < block; j += SKIP_BLOCK) {
            const int here = block - j < SKIP_BLOCK ? block - j : SKIP_BLOCK;
            if (nearest_in_block(s->distance + j, here) >= p->limit) continue;
            if (p->n + here > CANDIDATES) p->n = keep_nearest(s->cand, p->n, p->want, &p->limit);
            for (int k = j; k < j + here; k++)
                if (s->distance[k] < p->limit)
                    s->cand[p->n++] = (loci_candidate){ (int32_t)(index + at + k), s->distance[k] };
        }
    }
}

int loci_scan_nearest(loci_scan *s, const float *u, int want, loci_candidate **out)
{
    uint64_t query[2];
    pass p = { 0, want, 255 };
    loci_query_codes(s->model, query, u, 1);
    *out = s->cand;
    for (int i = 0; i < s->n_banks; i++) {
        const bank_codes *c = &s->codes[i];
        for (int64_t r = 0; r < c->n_runs; r++)
            scan_run(s, c->code + (size_t)c->run[r].at * (size_t)s->M * 2,
                     s->first[i] + c->run[r].index, c->run[r].n, query, &p);
    }
    return keep_nearest(s->cand, p.n, want, &p.limit);
}
