/* narrow.c - of many landmarks those that are worth scoring, by their sketches.
 *
 *   sketches of all rows looked into -> guesses of scores -> a cut that some 4,096 reach -> their
 *   landmarks, scored as those of any search are
 *
 * A guess is off by up to a few hundredths of a landmark's length, so more are let through than are wanted:
 * of the best rows of the buckets one in a thousand is missed.  The cut comes from one guess in 16,
 * before threads share out the rows: who finds what changes nothing. */
#include "engine/probe_impl.h"
#include <math.h>

enum {
    KEPT = 4096,    /* rows whose landmarks are scored, about: those that sketches put first ... */
    KEPT_EACH = 16, /* ... or as many for each row wanted, if that is more */
    WIDE = 3,       /* times more rows at least, or all are scored: a sketch costs something too */
    SAMPLE = 16,    /* one row in as many tells where the cut is */
    BLOCK = 64,     /* rows copied together to be scored */
    AHEAD = 2       /* buckets */
};

int64_t loci_probe_scored(int64_t looked, int d, int want)
{
    const int64_t kept = KEPT > KEPT_EACH * want ? KEPT : KEPT_EACH * want;
    return d % LOCI_SKETCH_BITS == 0 && looked > WIDE * kept ? kept : looked;
}

/* u in planes of bits. */
static void round_query(loci_probe *p, const float *u)
{
    const int words = p->d / LOCI_SKETCH_BITS;
    float most = 0.0f;
    int sum = 0;
    for (int j = 0; j < p->d; j++) most = fabsf(u[j]) > most ? fabsf(u[j]) : most;
    const float step = most / 7.0f, per = most > 0.0f && most < INFINITY ? 7.0f / most : 0.0f;
    memset(p->plane, 0, sizeof p->plane);
    for (int j = 0; j < p->d; j++) {
        const float x = u[j] * per;
        const int q = x > -8.0f && x < 8.0f ? (int)lrintf(x) : 0;
        sum += q;
        for (int b = 0; b < 4; b++)
            p->plane[b * words + j / 64] |= (uint64_t)((unsigned)q >> b & 1u) << j % 64;
    }
    /* <u, signs> = 2 sum over set bits - sum over all */
    p->slope = 2.0f * p->tau * step;
    p->level = -p->tau * step * (float)sum;
}

/* Sketches of the buckets looked into. */
static loci_status fetch_sketches(loci_probe *p, loci_error *err)
{
    for (int i = 0; i < p->n_look; i++) {
        probe_look *l = &p->look[i];
        const float *scale, *spread;
        loci_buckets *b = p->bank[l->bank]->buckets;
        const int8_t *mean = loci_buckets_means(b, &scale, &spread);
        const int at = p->likely[i] - p->before[l->bank];
        const loci_status st =
            loci_sketches_get(loci_buckets_sketches(b), p->k, at, &l->rows,
                              mean + (size_t)at * (size_t)p->d, scale[at], &l->sketch, err);
        if (st != LOCI_OK) return st;
        l->near = p->tau * l->sketch.unit * (p->rank[p->likely[i]] - PROBE_SPREAD * spread[at]);
    }
    return LOCI_OK;
}

/* Sketches of a bucket lie together, those of the next one anywhere. */
static void ask_for(const probe_look *l, int d)
{
    const char *at = (const char *)l->sketch.code;
    const size_t bytes = (size_t)l->rows.n * ((size_t)d / 8 + 3 * sizeof(float));
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
}

static void guess_part(void *ctx, int tile, int worker)
{
    loci_probe *p = ctx;
    const probe_part *x = &p->part[tile];
    const int words = p->d / LOCI_SKETCH_BITS;
    int16_t sum[4 * BLOCK];
    (void)worker;
    for (int i = x->from; i < x->to; i++) {
        const probe_look *l = &p->look[i];
        probe_cell *out = p->cell + l->base;
        if (i + AHEAD < x->to) ask_for(&p->look[i + AHEAD], p->d);
        for (int at = 0; at < l->rows.n; at += 4 * BLOCK) {
            const int n = l->rows.n - at < 4 * BLOCK ? l->rows.n - at : 4 * BLOCK;
            const float *share = l->sketch.share + at, *bias = l->sketch.bias + at;
            p->k->bit_sums(sum, l->sketch.code + (size_t)at * (size_t)words, p->plane, words, n);
            for (int r = 0; r < n; r++)
                out[at + r].guess =
                    l->near + share[r] * ((float)sum[r] * p->slope + p->level) + bias[r];
        }
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
    round_query(p, p->u);
    loci_probe_parts(p, guess_part);
    p->cut = cut_of(p->cell, rows, (int)loci_probe_scored(rows, p->d, p->want));
    loci_probe_parts(p, narrow_part);
    return LOCI_OK;
}
