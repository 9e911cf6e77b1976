/* probe.c - the best chunks of the buckets that a query likes best.
 *
 *   u in the coordinates of each bank (basis.h) -> <u, mean> + PROBE_SPREAD spread of every bucket ->
 *   the likeliest -> sketches of their landmarks, one behind the other -> the likeliest rows -> their
 *   landmarks -> the best rows -> chunks, each once
 *
 * What counts is a bucket's best landmarks: one that is spread out may have good ones far from its mean.
 * A chunk's score is that of its best landmark, so the k best chunks have their rows among the M k best
 * rows.  Rows of chunks that are of no live document are passed over.  Sketches (sketch.h) are a third of
 * the bytes; of few rows, or where all are asked for, every landmark is scored.  Threads take parts of
 * the buckets; rows have numbers, so who finds what first changes nothing. */
#include "engine/probe_impl.h"
#include <math.h>
#include <stdlib.h>

enum {
    PART_ROWS = 4096,  /* some 20 us of work: less is not worth a thread's attention */
    RANK_ROWS = 1024,  /* buckets ranked at a time */
    LOOKED_MIN = 16384 /* landmarks: fewer are no quicker to look at */
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
    /* Seen with M: 0.997 of the exact best are in as many of 33,050 landmarks, 0.995 in 36,500 of 528,260. */
    const double want = fmax(64.0 * sqrt((double)rows), LOOKED_MIN);
    const double most = buckets < LOCI_PROBES_MAX ? (double)buckets : LOCI_PROBES_MAX;
    const double n = ceil(want * (double)buckets / (double)rows);
    return (int)(n < 1.0 ? 1.0 : n > most ? most : n);
}

static loci_status take_memory(loci_probe *p, int64_t all, loci_error *err)
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
    /* All rows may be looked into; pages that nobody touches cost nothing. */
    p->cell = loci_alloc_untouched((size_t)all * sizeof *p->cell);
    p->query = malloc((size_t)p->n_banks * sizeof *p->query);
    bool ok = p->look && p->rank && p->likely && p->cell && p->query;
    for (int i = 0; i < PROBE_PARTS; i++) {
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
    const loci_status st = take_memory(p, rows, err);
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
    free(p->query);
    loci_free_aligned(p->cell);
    for (int i = 0; i < PROBE_PARTS; i++) free(p->part[i].live);
    free(p);
}

void loci_probe_set(loci_probe *p, int probes)
{
    p->probes = probes;
    p->all = probes >= p->n_buckets || probes > LOCI_PROBES_MAX;
}

int64_t loci_probe_rows(const loci_probe *p)
{
    return p->rows;
}

/* ---- chunks ------------------------------------------------------------------------------------------ */
int64_t loci_probe_index(const loci_probe *p, int bank, uint32_t chunk, int64_t *r)
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

/* ---- the query ---------------------------------------------------------------------------------------- */
/* u in the coordinates of every bank that has buckets. */
static void turn_query(loci_probe *p)
{
    for (int i = 0; i < p->n_banks; i++) {
        if (p->before[i + 1] == p->before[i]) continue;
        const loci_basis b = loci_buckets_basis(p->bank[i]->buckets);
        probe_query *q = &p->query[i];
        q->origin = loci_basis_query(&b, p->k, q->q, p->u);
        p->k->quant_q8(q->whole, LOCI_BASIS, &q->scale, q->q, LOCI_BASIS, 1, LOCI_BASIS);
        q->scale *= p->tau;
    }
}

/* ---- which buckets ------------------------------------------------------------------------------------ */
/* Numbers of the `want` greatest of rank (n) into out, rising; returns how many.  Of those in the same
 * one of PROBE_BINS equal steps from the least to the greatest the first are taken. */
static int likeliest(const float *rank, int n, int want, int32_t *out)
{
    int count[PROBE_BINS] = { 0 }, cut = PROBE_BINS - 1, above = 0, m = 0;
    float low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++) {
        low = rank[i] < low ? rank[i] : low;
        high = rank[i] > high ? rank[i] : high;
    }
    const float per = high > low ? (float)PROBE_BINS / (high - low) : 0.0f;
    for (int i = 0; i < n; i++) count[probe_bin((rank[i] - low) * per)]++;
    while (cut > 0 && above + count[cut] < want) above += count[cut--];
    int room = want - above;
    for (int i = 0; i < n; i++) {
        const int bin = probe_bin((rank[i] - low) * per);
        if (bin > cut || (bin == cut && room-- > 0)) out[m++] = i;
    }
    return m;
}

/* Ranks of RANK_ROWS buckets, whose banks may be several. */
static void rank_tile(void *ctx, int tile, int worker)
{
    loci_probe *p = ctx;
    const int from = tile * RANK_ROWS;
    const int to = p->n_buckets - from < RANK_ROWS ? p->n_buckets : from + RANK_ROWS;
    (void)worker;
    for (int i = 0; i < p->n_banks; i++) {
        const int begin = from > p->before[i] ? from : p->before[i];
        const int end = to < p->before[i + 1] ? to : p->before[i + 1];
        if (begin >= end) continue;
        const float *scale, *spread;
        const int8_t *mean = loci_buckets_means(p->bank[i]->buckets, &scale, &spread);
        const size_t at = (size_t)(begin - p->before[i]);
        float *rank = p->rank + begin;
        p->k->gemv_q8(rank, mean + at * LOCI_BASIS, LOCI_BASIS, scale + at, p->query[i].q,
                      end - begin, LOCI_BASIS);
        for (int b = 0; b < end - begin; b++)
            rank[b] += p->query[i].origin + PROBE_SPREAD * spread[at + (size_t)b];
    }
}

/* Which buckets: numbers through all banks; returns how many. */
static int choose(loci_probe *p)
{
    if (p->all) {
        for (int i = 0; i < p->n_buckets; i++) p->likely[i] = i;
        return p->n_buckets;
    }
    loci_pool_run(p->pool, (p->n_buckets + RANK_ROWS - 1) / RANK_ROWS, rank_tile, p);
    p->rows += p->n_buckets;
    return likeliest(p->rank, p->n_buckets, p->probes, p->likely);
}

/* The chosen n buckets, checked; their rows are numbered one behind the other. */
static loci_status look_up(loci_probe *p, int n, loci_error *err)
{
    int64_t base = 0;
    for (int i = 0, bank = 0; i < n; i++) {
        const int32_t number = p->likely[i];
        probe_look *l = &p->look[i];
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
static void score_bucket(loci_probe *p, probe_part *x, const probe_look *l)
{
    const loci_bucket *b = &l->rows;
    const int32_t *list = NULL;
    int n = b->n;
    if (p->dead[l->bank]) {
        int64_t run = 0;
        n = 0;
        for (int i = 0; i < b->n; i++)
            if (loci_probe_index(p, l->bank, b->chunk[i], &run) >= 0) x->live[n++] = i;
        list = x->live;
    }
    x->have = p->k->landmark_topk_q8(x->best, x->have, p->want, p->whole, b->landmark, b->scale,
                                     b->bias, p->tau, 1, p->d, list, n, (int32_t)l->base);
}

static void score_part(void *ctx, int tile, int worker)
{
    loci_probe *p = ctx;
    probe_part *x = &p->part[tile];
    (void)worker;
    x->have = 0;
    for (int i = x->from; i < x->to; i++) score_bucket(p, x, &p->look[i]);
}

/* Each part's list is in order: one by one into the first. */
static int merge_parts(loci_probe *p)
{
    loci_scored all[PROBE_ROWS];
    int have = 0, next[PROBE_PARTS] = { 0 };
    while (have < p->want) {
        int best = -1;
        for (int i = 0; i < p->n_part; i++) {
            if (next[i] == p->part[i].have) continue;
            if (best < 0 ||
                probe_before(&p->part[i].best[next[i]], &p->part[best].best[next[best]]))
                best = i;
        }
        if (best < 0) break;
        all[have++] = p->part[best].best[next[best]++];
    }
    memcpy(p->part[0].best, all, (size_t)have * sizeof *all);
    return have;
}

/* ---- the best rows ------------------------------------------------------------------------------------ */
void loci_probe_parts(loci_probe *p, loci_tile_fn *fn)
{
    if (p->n_part > 1)
        loci_pool_run(p->pool, p->n_part, fn, p);
    else
        fn(p, 0, 0);
}

/* The best rows of all parts into the first one's list; returns how many or a negative status. */
static int score_rows(loci_probe *p, loci_error *err)
{
    const probe_look *last = &p->look[p->n_look - 1];
    const int64_t rows = last->base + last->rows.n;
    const int64_t parts = loci_pool_threads(p->pool) > 1 ? rows / PART_ROWS : 1;
    p->n_part = parts > PROBE_PARTS ? PROBE_PARTS : parts < 1 ? 1 : (int)parts;
    for (int i = 0; i < p->n_part; i++) {
        p->part[i].from = p->n_look * i / p->n_part;
        p->part[i].to = p->n_look * (i + 1) / p->n_part;
    }
    if (!p->all && loci_probe_scored(rows, p->want) < rows) {
        const loci_status st = loci_probe_narrow(p, rows, err);
        if (st != LOCI_OK) return (int)st;
    } else {
        loci_probe_parts(p, score_part);
    }
    return merge_parts(p);
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
        const probe_look *l = &p->look[low];
        int64_t run = 0;
        const int64_t index =
            loci_probe_index(p, l->bank, l->rows.chunk[row.index - l->base], &run);
        n = insert(best, n, k, (loci_scored){ row.score, (int32_t)index });
    }
    return n;
}

int loci_probe_best(loci_probe *p, const float *u, const loci_query_i16 *whole, float tau, int k,
                    loci_scored *best, loci_error *err)
{
    p->u = u;
    p->whole = whole;
    p->tau = tau;
    p->want = k * p->M;
    turn_query(p);
    const loci_status st = look_up(p, choose(p), err);
    if (st != LOCI_OK) return st;
    const int have = score_rows(p, err);
    return have < 0 ? have : chunks_of_rows(p, have, k, best);
}
