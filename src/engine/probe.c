/* probe.c - the best chunks of the buckets that a query likes best.
 *
 *   <u, mean> of every bucket of every bank -> the likeliest -> their landmarks, one behind the other
 *   -> the best rows -> chunks, each once
 *
 * A chunk's score is that of its best landmark, so the k best chunks have their rows among the M k best
 * rows.  Rows of chunks that are of no live document are passed over.  What is read lies together:
 * that is what makes a landmark here cost a quarter of one that a code points to. */
#include "engine/scan.h"
#include <stdlib.h>

enum { LANDMARKS_MAX = 16, ROWS_MAX = LOCI_MAX_PICKS * LANDMARKS_MAX };

typedef struct { /* a bucket that is looked into */
    int bank;
    int64_t base; /* number of its first row among all that are looked into */
    loci_bucket rows;
} looked;

struct loci_probe {
    const loci_kernels *k;
    const loci_bank *const *bank;
    const int64_t *first;
    int n_banks, M, d, probes;
    int n_buckets;                      /* of all banks */
    int32_t before[LOCI_BANKS_MAX + 1]; /* buckets of the banks before */
    bool dead[LOCI_BANKS_MAX];          /* has chunks in buckets that are of no live document */
    int64_t rows;
    looked *look;      /* (n_look) */
    int n_look;        /* most buckets looked into */
    loci_scored *rank; /* (LOCI_PROBES_MAX) buckets */
    int32_t *live;     /* (largest) rows of a bucket that count */
    loci_scored best[ROWS_MAX];
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

loci_status loci_probe_open(loci_probe **out, const loci_kernels *k, const loci_bank *const *bank,
                            const int64_t *first, int n_banks, loci_error *err)
{
    *out = NULL;
    loci_probe *p = calloc(1, sizeof *p);
    if (!p) return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    *p = (loci_probe){ .k = k,
                       .bank = bank,
                       .first = first,
                       .n_banks = n_banks,
                       .M = bank[0]->shape.n_landmarks,
                       .d = bank[0]->shape.d_landmark,
                       .probes = LOCI_PROBES };
    count_buckets(p);
    if (p->n_buckets == 0) {
        loci_probe_close(p);
        return LOCI_OK;
    }
    int64_t largest = 0;
    for (int i = 0; i < n_banks; i++)
        if (p->dead[i]) {
            const int64_t rows = loci_buckets_largest(bank[i]->buckets);
            largest = rows > largest ? rows : largest;
        }
    p->n_look = p->n_buckets; /* all may be asked for */
    p->look = malloc((size_t)p->n_look * sizeof *p->look);
    p->rank = malloc(LOCI_PROBES_MAX * sizeof *p->rank);
    p->live = malloc(((size_t)largest + 1) * sizeof *p->live);
    if (!p->look || !p->rank || !p->live) {
        loci_probe_close(p);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a search");
    }
    *out = p;
    return LOCI_OK;
}

void loci_probe_close(loci_probe *p)
{
    if (!p) return;
    free(p->look);
    free(p->rank);
    free(p->live);
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

/* ---- one query ----------------------------------------------------------------------------------------- */
/* Which buckets: numbers through all banks, likeliest first; returns how many. */
static int choose(loci_probe *p, const loci_query_i16 *u)
{
    int n = 0;
    for (int i = 0; i < p->n_banks; i++) {
        const float *scale, *zero;
        const int here = p->before[i + 1] - p->before[i];
        if (here == 0) continue;
        const int8_t *mean = loci_buckets_means(p->bank[i]->buckets, &scale, &zero);
        n = p->k->landmark_topk_q8(p->rank, n, p->probes, u, mean, scale, zero, 1.0f, 1, p->d, NULL,
                                   here, p->before[i]);
        p->rows += here;
    }
    return n;
}

/* Score the live rows of one bucket; their numbers begin at l->base. */
static int score_bucket(loci_probe *p, const looked *l, int have, int want, const loci_query_i16 *u,
                        float tau)
{
    const loci_bucket *b = &l->rows;
    const int32_t *list = NULL;
    int n = b->n;
    if (p->dead[l->bank]) {
        int64_t run = 0;
        n = 0;
        for (int i = 0; i < b->n; i++)
            if (index_of(p, l->bank, b->chunk[i], &run) >= 0) p->live[n++] = i;
        list = p->live;
    }
    p->rows += n;
    return p->k->landmark_topk_q8(p->best, have, want, u, b->landmark, b->scale, b->bias, tau, 1,
                                  p->d, list, n, (int32_t)l->base);
}

/* The k best chunks of the `have` best rows. */
static int chunks_of_rows(const loci_probe *p, int n_look, int have, int k, loci_scored *best)
{
    int n = 0;
    for (int i = 0; i < have; i++) {
        int low = 0, high = n_look; /* the last bucket that begins at or before the row */
        while (high - low > 1) {
            const int mid = low + (high - low) / 2;
            if (p->look[mid].base <= p->best[i].index)
                low = mid;
            else
                high = mid;
        }
        const looked *l = &p->look[low];
        int64_t run = 0;
        const int64_t index = index_of(p, l->bank, l->rows.chunk[p->best[i].index - l->base], &run);
        n = insert(best, n, k, (loci_scored){ p->best[i].score, (int32_t)index });
    }
    return n;
}

int loci_probe_best(loci_probe *p, const loci_query_i16 *u, float tau, int k, loci_scored *best,
                    loci_error *err)
{
    const bool all = p->probes >= p->n_buckets || p->probes > LOCI_PROBES_MAX;
    const int n = all ? p->n_buckets : choose(p, u);
    int64_t base = 0;
    int have = 0;
    for (int i = 0, bank = 0; i < n; i++) {
        const int32_t number = all ? i : p->rank[i].index;
        looked *l = &p->look[i];
        for (bank = all ? bank : 0; number >= p->before[bank + 1];) bank++;
        l->bank = bank;
        l->base = base;
        const loci_status st =
            loci_buckets_get(p->bank[bank]->buckets, number - p->before[bank], &l->rows, err);
        if (st != LOCI_OK) return st;
        base += l->rows.n;
        if (base > INT32_MAX)
            return loci_fail(err, LOCI_EINVAL, "%lld landmarks in the buckets of one search",
                             (long long)base);
        have = score_bucket(p, l, have, k * p->M, u, tau);
    }
    return chunks_of_rows(p, n, have, k, best);
}
