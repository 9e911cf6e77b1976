/* bench_search.c - searches in three ways, timed, and what the quick ones miss: the routers' queries for
 * pieces of stored text (questions.h), fast, by codes, and exact. */
#include "engine/ask_impl.h"
#include "engine/questions.h"
#include "engine/scan.h"
#include "loci/bench.h"
#include <stdlib.h>

typedef struct {
    loci_pick *pick; /* (queries, k) */
    int *n;          /* (queries) */
    double seconds, rows;
} found;

/* All queries in one way; the second of two rounds is timed: pages and checksums are then known. */
static loci_status search_all(found *f, loci_engine *e, loci_bank *const *banks, int n_banks,
                              const loci_questions *q, int k, int probes, loci_search_mode mode,
                              loci_error *err)
{
    loci_searcher *s;
    f->pick = malloc((size_t)q->n * (size_t)k * sizeof *f->pick);
    f->n = malloc((size_t)q->n * sizeof *f->n);
    if (!f->pick || !f->n) return loci_fail(err, LOCI_ENOMEM, "no memory for %d queries", q->n);
    loci_status st = loci_searcher_open_with(&s, e, banks, n_banks, mode, err);
    if (st != LOCI_OK) return st;
    const loci_memory memory = loci_searcher_memory(s);
    loci_probe *probe = loci_searcher_probe(s);
    if (probe && probes > 0) loci_probe_set(probe, probes);
    for (int round = 0; round < 2 && st == LOCI_OK; round++) {
        const double begin = loci_seconds();
        for (int i = 0; i < q->n && st == LOCI_OK; i++) {
            f->n[i] = memory.search(s, q->query + (size_t)i * (size_t)e->model->hp.d_landmark,
                                    q->tau[i], k, 0, f->pick + (size_t)i * (size_t)k);
            if (f->n[i] < 0) st = loci_searcher_status(s, err);
        }
        f->seconds = (loci_seconds() - begin) / q->n;
    }
    if (probe) f->rows = (double)loci_probe_rows(probe) / (2.0 * q->n);
    loci_searcher_close(s);
    return st;
}

static double recall_of(const found *f, const found *truth, int queries_n, int k)
{
    int64_t hit = 0, all = 0;
    for (int i = 0; i < queries_n; i++) {
        const loci_pick *a = f->pick + (size_t)i * (size_t)k;
        const loci_pick *b = truth->pick + (size_t)i * (size_t)k;
        all += truth->n[i];
        for (int x = 0; x < truth->n[i]; x++)
            for (int y = 0; y < f->n[i]; y++) hit += a[y].id == b[x].id;
    }
    return all > 0 ? (double)hit / (double)all : 1.0;
}

static loci_status measure(loci_engine *e, loci_bank *const *banks, int n_banks,
                           const loci_questions *q, int probes, loci_bench_search_row *row,
                           loci_error *err)
{
    found way[3] = { { 0 } };
    loci_status st = LOCI_OK;
    for (int i = 0; i < 3 && st == LOCI_OK; i++)
        st = search_all(&way[i], e, banks, n_banks, q, row->k, probes, (loci_search_mode)i, err);
    if (st == LOCI_OK) {
        const found *truth = &way[LOCI_SEARCH_EXACT];
        row->queries = q->n;
        row->exact_seconds = truth->seconds;
        row->codes_seconds = way[LOCI_SEARCH_CODES].seconds;
        row->fast_seconds = way[LOCI_SEARCH_FAST].seconds;
        row->fast_rows = way[LOCI_SEARCH_FAST].rows;
        row->codes_recall = recall_of(&way[LOCI_SEARCH_CODES], truth, q->n, row->k);
        row->fast_recall = recall_of(&way[LOCI_SEARCH_FAST], truth, q->n, row->k);
    }
    for (int i = 0; i < 3; i++) {
        free(way[i].pick);
        free(way[i].n);
    }
    return st;
}

loci_status loci_bench_search(loci_engine *e, loci_bank *const *banks, int n_banks, int pieces,
                              int k, int probes, uint64_t seed, loci_bench_search_row *row,
                              loci_error *err)
{
    memset(row, 0, sizeof *row);
    loci_status st = loci_engine_need_reads(e, err);
    if (st != LOCI_OK) return st;
    if (n_banks < 1 || n_banks > LOCI_BANKS_MAX || pieces < 1 || pieces > 100000 || k < 1 ||
        k > LOCI_MAX_PICKS || probes < 0)
        return loci_fail(err, LOCI_EINVAL, "%d banks, %d pieces, k %d, %d probes", n_banks, pieces,
                         k, probes);
    for (int i = 0; i < n_banks; i++) {
        row->chunks += banks[i]->chunks;
        row->tokens += banks[i]->tokens;
        row->sorted += banks[i]->buckets ? banks[i]->chunks - banks[i]->n_codes : 0;
    }
    if (row->chunks == 0)
        return loci_fail(err, LOCI_EINVAL, "%s: there is nothing in it to search", banks[0]->dir);
    row->k = k;
    loci_questions q;
    st = loci_questions_make(&q, e->model, loci_tokenizer_vocab(e->tok),
                             (const loci_bank *const *)banks, n_banks, pieces, seed, err);
    if (st == LOCI_OK) st = measure(e, banks, n_banks, &q, probes, row, err);
    loci_questions_free(&q);
    return st;
}
