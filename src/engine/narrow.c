/* narrow.c - of many landmarks those that are worth scoring, by their sketches.
 *
 *   sketches of all rows looked into -> guesses of scores -> a cut that some 512 reach -> their
 *   landmarks, scored as those of any search are
 *
 * A guess is off by a tenth of what scores of a bank differ by, so more are let through than are wanted:
 * of M's best rows at 16M tokens 256 kept would miss none of 1,440.  The cut comes from one guess in 8,
 * before threads share out the rows: who finds what changes nothing. */
#include "engine/probe_impl.h"
#include <math.h>

enum {
    KEPT = 512,     /* rows whose landmarks are scored, about: those that sketches put first ... */
    KEPT_EACH = 16, /* ... or as many for each row wanted, if that is more */
    WIDE = 3,       /* times more rows at least, or all are scored: a sketch costs something too */
    SAMPLE = 8,     /* one row in as many tells where the cut is */
    BLOCK = 64,     /* rows copied together to be scored */
    AHEAD = 2       /* buckets */
};

int64_t loci_probe_scored(int64_t looked, int want)
{
    const int64_t kept = KEPT > KEPT_EACH * want ? KEPT : KEPT_EACH * want;
    return looked > WIDE * kept ? kept : looked;
}

/* Sketches of the buckets looked into. */
static loci_status fetch_sketches(loci_probe *p, loci_error *err)
{
    for (int i = 0; i < p->n_look; i++) {
        probe_look *l = &p->look[i];
        const float *scale, *spread;
        loci_buckets *b = p->bank[l->bank]->buckets;
        const int at = p->likely[i] - p->before[l->bank];
        const loci_status st =
            loci_sketches_get(loci_buckets_sketches(b), p->k, b, at, &l->rows, &l->sketch, err);
        if (st != LOCI_OK) return st;
        (void)loci_buckets_means(b, &scale, &spread);
        l->near = p->tau * (p->rank[p->likely[i]] - PROBE_SPREAD * spread[at]);
    }
    return LOCI_OK;
}

/* Sketches of a bucket lie together, their biases behind them; those of the next one anywhere. */
static void ask_for(const probe_look *l)
{
    const char *at = (const char *)l->sketch.code.data;
    const char *end = (const char *)(l->sketch.bias + l->rows.n);
    for (; at < end; at += 64) __builtin_prefetch(at);
}

static void guess_part(void *ctx, int tile, int worker)
{
    loci_probe *p = ctx;
    const probe_part *x = &p->part[tile];
    (void)worker;
    for (int i = x->from; i < x->to; i++) {
        const probe_look *l = &p->look[i];
        const probe_query *q = &p->query[l->bank];
        const float *bias = l->sketch.bias, near = l->near;
        float *guess = &p->cell[l->base].guess;
        const int n = l->rows.n;
        if (i + AHEAD < x->to) ask_for(&p->look[i + AHEAD]);
        p->k->gemm_w4a8(guess, n, q->whole, LOCI_BASIS, &q->scale, &l->sketch.code, 0, 1, n, 0);
        for (int r = 0; r < n; r++) guess[r] += near + bias[r];
    }
}

/* A value that about `kept` of the guesses reach. */
static float cut_of(const probe_cell *c, int64_t rows, int kept)
{
    int count[PROBE_BINS] = { 0 }, cut = PROBE_BINS - 1, above = 0;
    float low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < rows; i += SAMPLE) {
        low = c[i].guess < low ? c[i].guess : low;
        high = c[i].guess > high ? c[i].guess : high;
    }
    const float per = high > low ? (float)PROBE_BINS / (high - low) : 0.0f;
    for (int64_t i = 0; i < rows; i += SAMPLE) count[probe_bin((c[i].guess - low) * per)]++;
    while (cut > 0 && above + count[cut] < kept / SAMPLE) above += count[cut--];
    return per > 0.0f && per < INFINITY ? low + (float)cut / per : low;
}

/* Rows of one bucket that reach the cut, behind the `n` chosen before; asks for their landmarks. */
static probe_cell *choose_rows(const loci_probe *p, const probe_look *l, probe_cell *to)
{
    const probe_cell *guess = p->cell + l->base;
    probe_cell *const first = to;
    const size_t d = (size_t)p->d;
    for (int r = 0; r < l->rows.n; r++) { /* no jumps: what is chosen follows no pattern */
        const bool good = guess[r].guess >= p->cut;
        to->row = r;
        to += good;
    }
    for (const probe_cell *c = first; c < to; c++) {
        const int8_t *landmark = l->rows.landmark + (size_t)c->row * d;
        for (size_t at = 0; at < d; at += 64) __builtin_prefetch(landmark + at);
    }
    return to;
}

typedef struct { /* rows to be scored together */
    int8_t landmark[BLOCK * LOCI_QUERY_COLS];
    float scale[BLOCK], bias[BLOCK];
    int n;
    int32_t before; /* rows scored before */
} block;

static void score_block(const loci_probe *p, probe_part *x, block *b)
{
    x->have = p->k->landmark_topk_q8(x->best, x->have, p->want, p->whole, b->landmark, b->scale,
                                     b->bias, p->tau, 1, p->d, NULL, b->n, b->before);
    b->before += b->n;
    b->n = 0;
}

/* The rows of a part that reach the cut, scored by their landmarks. */
static void narrow_part(void *ctx, int tile, int worker)
{
    loci_probe *p = ctx;
    probe_part *x = &p->part[tile];
    const size_t d = (size_t)p->d;
    probe_cell *const first = p->cell + p->look[x->from].base, *to = first;
    block b = { .n = 0 };
    (void)worker;
    x->have = 0;
    for (int i = x->from; i < x->to; i++) {
        p->look[i].kept = to - first;
        to = choose_rows(p, &p->look[i], to);
    }
    for (int i = x->from; i < x->to; i++) {
        const probe_look *l = &p->look[i];
        const int64_t end = i + 1 < x->to ? p->look[i + 1].kept : to - first;
        int64_t run = 0;
        for (int64_t c = l->kept; c < end; c++) {
            const int32_t r = first[c].row;
            if (p->dead[l->bank] && loci_probe_index(p, l->bank, l->rows.chunk[r], &run) < 0)
                continue;
            memcpy(b.landmark + (size_t)b.n * d, l->rows.landmark + (size_t)r * d, d);
            b.scale[b.n] = l->sketch.scale[r];
            b.bias[b.n] = l->sketch.bias[r];
            first[b.before + b.n++].row =
                (int32_t)l->base + r; /* in order: ties stay as they are */
            if (b.n == BLOCK) score_block(p, x, &b);
        }
    }
    score_block(p, x, &b);
    for (int i = 0; i < x->have; i++) x->best[i].index = first[x->best[i].index].row;
}

/* ---- both steps --------------------------------------------------------------------------------- */
loci_status loci_probe_narrow(loci_probe *p, int64_t rows, loci_error *err)
{
    const loci_status st = fetch_sketches(p, err);
    if (st != LOCI_OK) return st;
    loci_probe_parts(p, guess_part);
    p->cut = cut_of(p->cell, rows, (int)loci_probe_scored(rows, p->want));
    loci_probe_parts(p, narrow_part);
    return LOCI_OK;
}
