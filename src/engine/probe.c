/* probe.c - the best chunks of the buckets that a query likes best.
 *
 *   <u, mean> + SPREAD spread of every bucket of every bank -> the likeliest -> their landmarks, one
 *   behind the other -> the best rows -> chunks, each once
 *
 * What counts is a bucket's best landmarks: one that is spread out may have good ones far from its mean.
 * A chunk's score is that of its best landmark, so the k best chunks have their rows among the M k best
 * rows.  Rows of chunks that are of no live document are passed over.  What is read lies together:
 * that is what makes a landmark here cost a quarter of one that a code points to.  Threads take parts of
 * the buckets; rows have numbers, so who finds what first changes nothing. */
#include "engine/scan.h"
#include <math.h>
#include <stdlib.h>

enum {
    LANDMARKS_MAX = 16,
    ROWS_MAX = LOCI_MAX_PICKS * LANDMARKS_MAX,
    PARTS = 8,
    PART_ROWS = 4096, /* some 20 us of work: less is not worth a thread's attention */
    BINS = 1024       /* of ranks, to find the likeliest without sorting */
};

/* Deviations of a bucket's landmarks above its mean that it is ranked by.  Best of 0, 0.1, 0.2, 0.4 and
 * 0.8 at 6.8M tokens, where 0.3 and 0.4 were alike. */
static const float SPREAD = 0.35f;

typedef struct { /* a bucket that is looked into */
    int bank;
    int64_t base; /* number of its first row among all that are looked into */
    loci_bucket rows;
} looked;

typedef struct { /* buckets [from, to) of those looked into, one thread's */
    int from, to, have;
    int32_t *live; /* (largest) rows of a bucket that count */
    loci_scored best[ROWS_MAX];
} part;

struct loci_probe {
    const loci_kernels *k;
    loci_pool *pool;
    const loci_bank *const *bank;
    const int64_t *first;
    int n_banks, M, d, probes;
    int n_buckets;                      /* of all banks */
    int32_t before[LOCI_BANKS_MAX + 1]; /* buckets of the banks before */
    bool dead[LOCI_BANKS_MAX];          /* has chunks in buckets that are of no live document */
    int64_t rows;
    looked *look;    /* (n_buckets): all may be asked for */
    int n_look;      /* of the query in hand */
    float *rank;     /* (n_buckets) */
    int32_t *likely; /* (n_buckets) those looked into, rising */
    /* The query in hand. */
    const loci_query_i16 *whole;
    float tau;
    int want; /* rows */
    part part[PARTS];
};

/* ---- opening -------------------------------------------------------------------------------------- */
static int64_t live_rows(const loci_bank *b)
{
    int64_t chunks = 0;
    for (int64_t i = 0; i < b->n_bucket_runs; i++) chunks += b->bucket_run[i].n;
    return chunks * b->shape.n_landmarks;
}

static void count_buckets(loci_probe *p)
{
    for (int i = 0; i < p->n_banks; i++) {
        const loci_bank *b = p->bank[i];
        /* Buckets of which nothing is alive are as none. */
        const bool any = b->buckets && b->n_bucket_runs > 0;
        p->before[i + 1] = p->before[i] + (any ? loci_buckets_count(b->buckets) : 0);
        p->dead[i] = any && live_rows(b) != loci_buckets_rows(b->buckets);
    }
    p->n_buckets = p->before[p->n_banks];
}

int loci_probes_for(int64_t rows, int64_t buckets)
{
    /* Seen with XS at 34,300, 213,800 and 281,200 landmarks: 0.995 of the exact best is in as many. */
    const double want = 72.0 * sqrt((double)rows), each = (double)rows / (double)buckets;
    const double n = ceil(want / each);
    return n < 1.0 ? 1 : n > LOCI_PROBES_MAX ? LOCI_PROBES_MAX : (int)n;
}

static loci_status take_memory(loci_probe *p, loci_error *err)
{
    int64_t largest = 0;
    for (int i = 0; i < p->n_banks; i++)
        if (p->dead[i]) {
            const int64_t rows = loci_buckets_largest(p->bank[i]->buckets);
            largest = rows > largest ? rows : largest;
        }
    const size_t n = (size_t)p->n_buckets;
    p->look = malloc(n * sizeof *p->look);
    p->rank = malloc(n * sizeof *p->rank);
    p->likely = malloc(n * sizeof *p->likely);
    bool ok = p->look && p->rank && p->likely;
    for (int i = 0; i < PARTS; i++) {
        p->part[i].live = malloc(((size_t)largest + 1) * sizeof *p->part[i].live);
        ok = ok && p->part[i].live;
    }
    return ok ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for a search");
}

loci_status loci_probe_open(loci_probe **out, const loci_kernels *k, loci_pool *pool,
                            const loci_bank *const *bank, const int64_t *first, int n_banks,
                            loci_error *err)
{
    *out = NULL;
    loci_probe *p = calloc(1, sizeof *p);
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    *p = (loci_probe){ .k = k,
                       .pool = pool,
                       .bank = bank,
                       .first = first,
                       .n_banks = n_banks,
                       .M = bank[0]->shape.n_landmarks,
                       .d = bank[0]->shape.d_landmark };
    count_buckets(p);
    if (p->n_buckets == 0) {
        loci_probe_close(p);
        return LOCI_OK;
    }
    int64_t rows = 0;
    for (int i = 0; i < n_banks; i++)
        if (p->before[i + 1] > p->before[i]) rows += loci_buckets_rows(bank[i]->buckets);
    p->probes = loci_probes_for(rows, p->n_buckets);
    const loci_status st = take_memory(p, err);
    if (st != LOCI_OK) {
        loci_probe_close(p);
        return st;
    }
    *out = p;
    return LOCI_OK;
}

void loci_probe_close(loci_probe *p)
{
    if (!p) return;
    free(p->look);
    free(p->rank);
    free(p->likely);
    for (int i = 0; i < PARTS; i++) free(p->part[i].live);
    free(p);
}

void loci_probe_set(loci_probe *p, int probes)
{
    p->probes = probes;
}

int64_t loci_probe_rows(const loci_probe *p)
{
    return p->rows;
}

/* ---- chunks ------------------------------------------------------------------------------------------ */
/* Union index of chunk number `chunk` of a bank's buckets, -1: it is of no live document.  *r is the run
 * that was right last: chunks of a bucket rise. */
static int64_t index_of(const loci_probe *p, int bank, uint32_t chunk, int64_t *r)
{
    const loci_bank *b = p->bank[bank];
    const loci_bucket_run *run = b->bucket_run;
    int64_t low = 0, high = b->n_bucket_runs; /* the last run that begins at or before the chunk */
    if (chunk < run[*r].from || chunk - run[*r].from >= run[*r].n) {
        while (low < high) {
            const int64_t mid = low + (high - low) / 2;
            if (run[mid].from <= chunk)
                low = mid + 1;
            else
                high = mid;
        }
        if (low == 0) return -1;
        *r = low - 1;
    }
    const int64_t in_run = chunk - run[*r].from;
    return in_run < run[*r].n ? p->first[bank] + run[*r].index + in_run : -1;
}

/* Chunk x into the k best, if it is not there.  Chunks come best first: only equals may still change
 * places, the lower index goes first. */
static int insert(loci_scored *best, int n, int k, loci_scored x)
{
    for (int i = 0; i < n; i++)
        if (best[i].index == x.index) return n;
    if (n == k && (x.score < best[n - 1].score || x.index > best[n - 1].index)) return n;
    int to = n < k ? n : n - 1;
    n = to + 1;
    for (; to > 0 && best[to - 1].score == x.score && best[to - 1].index > x.index; to--)
        best[to] = best[to - 1];
    best[to] = x;
    return n;
}

/* ---- which buckets ------------------------------------------------------------------------------------ */
static int bin_of(float x)
{
    return x > 0.0f ? x < BINS - 1 ? (int)x : BINS - 1 : 0; /* what is not a number: 0 */
}

/* Numbers of the `want` greatest of rank (n) into out, rising; returns how many.  Of those in the same
 * one of BINS equal steps from the least to the greatest the first are taken. */
static int likeliest(const float *rank, int n, int want, int32_t *out)
{
    int count[BINS] = { 0 }, cut = BINS - 1, above = 0, m = 0;
    float low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++) {
        low = rank[i] < low ? rank[i] : low;
        high = rank[i] > high ? rank[i] : high;
    }
    const float per = high > low ? (float)BINS / (high - low) : 0.0f;
    for (int i = 0; i < n; i++) count[bin_of((rank[i] - low) * per)]++;
    while (cut > 0 && above + count[cut] < want) above += count[cut--];
    int room = want - above;
    for (int i = 0; i < n; i++) {
        const int bin = bin_of((rank[i] - low) * per);
        if (bin > cut || (bin == cut && room-- > 0)) out[m++] = i;
    }
    return m;
}

/* Which buckets: numbers through all banks; returns how many. */
static int choose(loci_probe *p, const float *u)
{
    if (p->probes >= p->n_buckets || p->probes > LOCI_PROBES_MAX) {
        for (int i = 0; i < p->n_buckets; i++) p->likely[i] = i;
        return p->n_buckets;
    }
    for (int i = 0; i < p->n_banks; i++) {
        const float *scale, *spread;
        const int here = p->before[i + 1] - p->before[i];
        if (here == 0) continue;
        const int8_t *mean = loci_buckets_means(p->bank[i]->buckets, &scale, &spread);
        float *rank = p->rank + p->before[i];
        p->k->gemv_q8(rank, mean, p->d, scale, u, here, p->d);
        for (int b = 0; b < here; b++) rank[b] += SPREAD * spread[b];
    }
    p->rows += p->n_buckets;
    return likeliest(p->rank, p->n_buckets, p->probes, p->likely);
}

/* The chosen n buckets, checked; their rows are numbered one behind the other. */
static loci_status look_up(loci_probe *p, int n, loci_error *err)
{
    int64_t base = 0;
    for (int i = 0, bank = 0; i < n; i++) {
        const int32_t number = p->likely[i];
        looked *l = &p->look[i];
        while (number >= p->before[bank + 1]) bank++;
        l->bank = bank;
        l->base = base;
        const loci_status st =
            loci_buckets_get(p->bank[bank]->buckets, number - p->before[bank], &l->rows, err);
        if (st != LOCI_OK) return st;
        base += l->rows.n;
        if (base > INT32_MAX)
            return loci_fail(err, LOCI_EINVAL, "%lld landmarks in the buckets of one search",
                             (long long)base);
    }
    p->n_look = n;
    p->rows += base;
    return LOCI_OK;
}

/* ---- their rows --------------------------------------------------------------------------------------- */
/* Score the live rows of one bucket; their numbers begin at l->base. */
static void score_bucket(loci_probe *p, part *x, const looked *l)
{
    const loci_bucket *b = &l->rows;
    const int32_t *list = NULL;
    int n = b->n;
    if (p->dead[l->bank]) {
        int64_t run = 0;
        n = 0;
        for (int i = 0; i < b->n; i++)
            if (index_of(p, l->bank, b->chunk[i], &run) >= 0) x->live[n++] = i;
        list = x->live;
    }
    x->have = p->k->landmark_topk_q8(x->best, x->have, p->want, p->whole, b->landmark, b->scale,
                                     b->bias, p->tau, 1, p->d, list, n, (int32_t)l->base);
}

static void score_part(void *ctx, int tile, int worker)
{
    loci_probe *p = ctx;
    part *x = &p->part[tile];
    (void)worker;
    x->have = 0;
    for (int i = x->from; i < x->to; i++) score_bucket(p, x, &p->look[i]);
}

/* The best rows of all parts into the first one's list; returns how many. */
static int score_rows(loci_probe *p)
{
    const looked *last = &p->look[p->n_look - 1];
    const int64_t rows = last->base + last->rows.n, threads = loci_pool_threads(p->pool);
    int64_t parts = rows / PART_ROWS;
    parts = parts > threads ? threads : parts;
    parts = parts > PARTS ? PARTS : parts < 1 ? 1 : parts;
    for (int i = 0; i < parts; i++) {
        p->part[i].from = (int)(p->n_look * i / parts);
        p->part[i].to = (int)(p->n_look * (i + 1) / parts);
    }
    if (parts > 1)
        loci_pool_run(p->pool, (int)parts, score_part, p);
    else
        score_part(p, 0, 0);
    /* Each list is in order: one by one into the first. */
    loci_scored all[ROWS_MAX];
    int have = 0, next[PARTS] = { 0 };
    while (have < p->want) {
        int best = -1;
        for (int i = 0; i < parts; i++) {
            const part *x = &p->part[i], *y = &p->part[best < 0 ? 0 : best];
            if (next[i] == x->have) continue;
            const loci_scored *a = &x->best[next[i]], *b = &y->best[next[best < 0 ? 0 : best]];
            if (best < 0 || a->score > b->score || (a->score == b->score && a->index < b->index))
                best = i;
        }
        if (best < 0) break;
        all[have++] = p->part[best].best[next[best]++];
    }
    memcpy(p->part[0].best, all, (size_t)have * sizeof *all);
    return have;
}

/* The k best chunks of the `have` best rows. */
static int chunks_of_rows(const loci_probe *p, int have, int k, loci_scored *best)
{
    int n = 0;
    for (int i = 0; i < have; i++) {
        const loci_scored row = p->part[0].best[i];
        int low = 0, high = p->n_look; /* the last bucket that begins at or before the row */
        while (high - low > 1) {
            const int mid = low + (high - low) / 2;
            if (p->look[mid].base <= row.index)
                low = mid;
            else
                high = mid;
        }
        const looked *l = &p->look[low];
        int64_t run = 0;
        const int64_t index = index_of(p, l->bank, l->rows.chunk[row.index - l->base], &run);
        n = insert(best, n, k, (loci_scored){ row.score, (int32_t)index });
    }
    return n;
}

int loci_probe_best(loci_probe *p, const float *u, const loci_query_i16 *whole, float tau, int k,
                    loci_scored *best, loci_error *err)
{
    const loci_status st = look_up(p, choose(p, u), err);
    if (st != LOCI_OK) return st;
    p->whole = whole;
    p->tau = tau;
    p->want = k * p->M;
    return chunks_of_rows(p, score_rows(p), k, best);
}
