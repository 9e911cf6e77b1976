/* Goal: buckets of landmarks give the answers of a search that scores every chunk when all of them are
 * looked into, most of these answers when few are, never one from a chunk that is not alive, and no
 * damage or kill makes more of it than one clear line.
 *
 * Method: banks of chunks with known landmarks, of which parts are sorted, come later, are replaced or
 * belong to no document; the search of every chunk (checked in test_search.c against double precision)
 * is the truth, bit for bit.  Bytes of the file are flipped, the disk fails at every call. */
#include "search_test.h"
#include <unistd.h>
#include <xxhash.h>
#include "engine/scan.h"
#include "fault_vfs.h"

static char *file_of(const setup *x, int bank)
{
    static char path[4][512];
    snprintf(path[bank], sizeof path[bank], "%s/" LOCI_BUCKETS_FILE, x->dir[bank]);
    return path[bank];
}

static bool is_there(const setup *x, int bank)
{
    return access(file_of(x, bank), F_OK) == 0;
}

static char *load(const char *path, size_t *n)
{
    loci_error err;
    char *data;
    OK(loci_file_load(NULL, path, 1 << 28, &data, n, &err));
    return data;
}

/* ---- all buckets: the truth ------------------------------------------------------------------------- */
/* All picks of both ways alike, for queries drawn from seed. */
static void check_same(setup *x, const corpus *c, uint64_t seed, int queries)
{
    static const int ks[] = { 1, 5, 16, 64 };
    loci_error err;
    loci_searcher *fast, *truth;
    loci_rng r;
    OK(loci_searcher_open(&fast, &x->t.e, x->bank, x->n_banks, &err));
    OK(loci_searcher_open_with(&truth, &x->t.e, x->bank, x->n_banks, LOCI_SEARCH_EXACT, &err));
    assert_non_null(loci_searcher_probe(fast));
    loci_probe_set(loci_searcher_probe(fast), LOCI_BUCKETS_MAX);
    const loci_memory a = loci_searcher_memory(fast), b = loci_searcher_memory(truth);
    loci_rng_seed(&r, seed);
    for (int q = 0; q < queries; q++) {
        float u[128];
        loci_pick p[64], want[64];
        if (q % 2)
            unit(&r, u, 128);
        else
            near(&r, u, c->landmark + 128 * loci_rng_below(&r, (uint32_t)(2 * c->n)), 0.7, 128);
        const int n = b.search(b.ctx, u, 12.0f, ks[q % 4], 0, want);
        assert_int_equal(a.search(a.ctx, u, 12.0f, ks[q % 4], 0, p), n);
        for (int i = 0; i < n; i++)
            if (p[i].id != want[i].id || p[i].time != want[i].time || p[i].score != want[i].score)
                fail_msg(
                    "query %d, rank %d: chunk %lld, score %.9g; every chunk scored: %lld, %.9g", q,
                    i, (long long)p[i].time, (double)p[i].score, (long long)want[i].time,
                    (double)want[i].score);
    }
    loci_searcher_close(fast);
    loci_searcher_close(truth);
}

static void test_all_is_exact(void **state)
{
    (void)state;
    loci_error err;
    setup x;
    corpus c = corpus_make(SEED, 8450);
    /* Equal chunks: the lower index must win. */
    for (int64_t i = 50; i < 2300; i += 50) {
        memcpy(c.landmark + i * 256, c.landmark, 256 * sizeof(float));
        c.bias[i] = c.bias[0];
    }
    setup_open(&x, 4, 0);
    put_corpus(x.bank[0], &c, 0, 3100, 90, 2);
    put_corpus(x.bank[0], &c, 3100, 1300, 41, 0);
    OK(loci_bank_sort(x.bank[0], 40, &err));
    assert_int_equal(x.bank[0]->n_codes, 0);
    check_same(&x, &c, SEED + 1, 60);
    put_corpus(x.bank[0], &c, 4400, 100, 30, 1); /* not in the buckets */
    assert_int_equal(x.bank[0]->n_codes, 100);
    put_corpus(x.bank[1], &c, 4500, 1900, 100, 0);
    OK(loci_bank_sort(x.bank[1], 7, &err));
    check_same(&x, &c, SEED + 2, 60);
    put_corpus(x.bank[1], &c, 4600, 100, 100, 0); /* again: the older one in the buckets is dead */
    assert_int_equal(x.bank[1]->chunks, 1900);
    assert_int_equal(x.bank[1]->n_codes, 100);
    put_corpus(x.bank[3], &c, 6400, 2050, 7, 0); /* without buckets; bank 2 is empty */
    check_same(&x, &c, SEED + 3, 60);
    OK(loci_bank_sort(x.bank[1], 1900 * 2, &err)); /* most of these get one landmark or none */
    assert_int_equal(x.bank[1]->n_codes, 0);
    check_same(&x, &c, SEED + 4, 60);
    setup_close(&x);
    corpus_free(&c);
}

/* ---- few buckets ---------------------------------------------------------------------------------------- */
/* Landmarks at cosine 0.9 to a query among random ones, which form no clusters: the hardest case.  A third
 * of the landmarks is looked at; all that was planted was found when this was written.  Threads share
 * the rows, and find the same bit for bit. */
static void test_few_buckets(void **state)
{
    enum { C = 20000, QUERIES = 40, PLANTED = 16, PROBES = 250 /* of 625 */ };
    (void)state;
    loci_error err;
    setup x;
    loci_rng r;
    corpus c = corpus_make(SEED + 5, C);
    static float u[QUERIES][128];
    loci_rng_seed(&r, SEED + 6);
    for (int q = 0; q < QUERIES; q++) {
        unit(&r, u[q], 128);
        for (int i = 0; i < PLANTED; i++)
            near(&r, c.landmark + (2 * (q * (C / QUERIES) + i * 31) + i % 2) * 128, u[q], 0.9, 128);
    }
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 700, 0);
    OK(loci_bank_sort(x.bank[0], 0, &err));
    setup_search(&x);
    loci_probe *probe = loci_searcher_probe(x.s);
    loci_searcher *shared;
    assert_null(x.t.e.pool);
    OK(loci_pool_open(&x.t.e.pool, 3, &err));
    OK(loci_searcher_open(&shared, &x.t.e, x.bank, 1, &err));
    const loci_memory threads = loci_searcher_memory(shared);
    loci_probe_set(probe, PROBES);
    loci_probe_set(loci_searcher_probe(shared), PROBES);
    int found = 0;
    for (int q = 0; q < QUERIES; q++) {
        loci_pick p[PLANTED], same[PLANTED];
        assert_int_equal(threads.search(threads.ctx, u[q], 12.0f, PLANTED, 0, same), PLANTED);
        assert_int_equal(x.memory.search(x.memory.ctx, u[q], 12.0f, PLANTED, 0, p), PLANTED);
        for (int i = 0; i < PLANTED; i++) {
            const int64_t in_block = p[i].time - q * (C / QUERIES);
            found += in_block >= 0 && in_block < PLANTED * 31 && in_block % 31 == 0;
            assert_true(i == 0 || p[i].score <= p[i - 1].score);
            assert_true(p[i].id == same[i].id && p[i].score == same[i].score);
        }
    }
    loci_searcher_close(shared);
    loci_pool_close(x.t.e.pool);
    x.t.e.pool = NULL;
    const double rows = (double)loci_probe_rows(probe) / QUERIES;
    print_message("%d of %d planted found; %.0f of %d landmarks scored a search\n", found,
                  QUERIES * PLANTED, rows, 2 * C);
    assert_true(found > 0.95 * QUERIES * PLANTED);
    assert_true(rows < 0.45 * 2 * C);
    setup_close(&x);
    corpus_free(&c);
}

/* Ask by tokens for a chunk that is in the exact answer and was not found. */
static int64_t note_missed(setup *x, const loci_pick *want, const loci_pick *found, int k)
{
    loci_error err;
    test_chunk *chunk = malloc(sizeof *chunk);
    int64_t missed = -1;
    for (int i = 0; i < k && missed < 0; i++) {
        missed = want[i].time;
        for (int j = 0; j < k; j++)
            if (found[j].time == missed) missed = -1;
    }
    if (missed >= 0) {
        chunk_make(chunk, &x->bank[0]->shape, SEED, missed);
        OK(loci_searcher_note(x->s, chunk->ids, chunk->record.n_tokens, &err));
    }
    free(chunk);
    return missed;
}

/* Chunks of buckets that are not looked into come in by their postings, in their exact places; those that
 * are in no bucket, scored anyway, come once.  One bucket of 250 is looked into, so most are missed. */
static void test_postings_join(void **state)
{
    enum { C = 5000, SORTED = 4000, LOOSE = 4321, K = 16 };
    (void)state;
    loci_error err;
    setup x;
    loci_rng r;
    float u[128];
    loci_pick p[K], want[K];
    loci_searcher *truth;
    corpus c = corpus_make(SEED + 13, C);
    loci_rng_seed(&r, SEED + 14);
    unit(&r, u, 128);
    near(&r, c.landmark + LOOSE * 256, u, 0.9, 128);
    setup_open(&x, 1, 1);
    put_corpus(x.bank[0], &c, 0, SORTED, 321, 0);
    OK(loci_bank_sort(x.bank[0], 250, &err));
    put_corpus(x.bank[0], &c, SORTED, C - SORTED, 100, 0);
    assert_int_equal(x.bank[0]->n_codes, C - SORTED);
    setup_search(&x);
    loci_probe_set(loci_searcher_probe(x.s), 1);
    OK(loci_searcher_open_with(&truth, &x.t.e, x.bank, 1, LOCI_SEARCH_EXACT, &err));
    const loci_memory m = loci_searcher_memory(truth);
    assert_int_equal(m.search(m.ctx, u, 12.0f, K, 0, want), K);
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, K, 0, p), K);
    assert_int_equal(p[0].time, LOOSE);
    p[0].time = -1; /* its tokens are asked for as well */
    int noted = 0;
    while (note_missed(&x, want, p, K) >= 0) {
        noted++;
        assert_true(noted <= K);
        assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, K, 0, p), K);
    }
    print_message("%d of the %d best came by postings\n", noted, K);
    assert_true(noted > 2);
    for (int i = 0; i < K; i++) {
        assert_int_equal(p[i].time, want[i].time);
        assert_true(p[i].score == want[i].score);
    }
    loci_searcher_close(truth);
    setup_close(&x);
    corpus_free(&c);
}

/* ---- the file ------------------------------------------------------------------------------------------- */
static void test_same_bytes(void **state)
{
    (void)state;
    loci_error err;
    char *file[2];
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        setup x;
        corpus c = corpus_make(SEED + 7, 3000);
        setup_open(&x, 1, 0);
        OK(loci_pool_open(&x.t.e.pool, 1 + 2 * i, &err));
        put_corpus(x.bank[0], &c, 0, c.n, 77, 1);
        OK(loci_bank_sort(x.bank[0], 33, &err));
        file[i] = load(file_of(&x, 0), &size[i]);
        loci_pool_close(x.t.e.pool);
        setup_close(&x);
        corpus_free(&c);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(file[0], file[1], size[0]);
    free(file[0]);
    free(file[1]);
}

/* Opens as a reader does, and searches; the error of either. */
static loci_status open_and_search(setup *x, loci_error *err)
{
    loci_bank *b;
    loci_searcher *s;
    loci_pick p[4];
    const float u[128] = { 1.0f };
    loci_status st = loci_bank_open(&b, &x->t.e, x->dir[0], LOCI_BANK_READ, err);
    if (st != LOCI_OK) return st;
    st = loci_searcher_open(&s, &x->t.e, &b, 1, err);
    if (st == LOCI_OK) {
        if (loci_searcher_probe(s)) loci_probe_set(loci_searcher_probe(s), LOCI_BUCKETS_MAX);
        const loci_memory m = loci_searcher_memory(s);
        m.search(m.ctx, u, 12.0f, 4, 0, p);
        st = loci_searcher_status(s, err);
        loci_searcher_close(s);
    }
    loci_bank_close(b);
    return st;
}

static void test_damage(void **state)
{
    (void)state;
    loci_error err = { 0 };
    setup x;
    size_t n;
    loci_bank_verify_report report;
    corpus c = corpus_make(SEED + 8, 4200);
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, c.n, 50, 0);
    OK(loci_bank_sort(x.bank[0], 20, &err));
    loci_bank_close(x.bank[0]);
    const char *path = file_of(&x, 0);
    char *good = load(path, &n), *bad = malloc(n);
    OK(open_and_search(&x, &err));
    OK(loci_bank_verify(x.dir[0], NULL, NULL, &report, &err));
    for (size_t at = 0; at < n; at += at < 4096 ? 13 : n / 40) {
        memcpy(bad, good, n);
        bad[at] = (char)(bad[at] ^ 0x10);
        write_bytes(path, bad, n);
        err = (loci_error){ 0 };
        const loci_status st = open_and_search(&x, &err);
        if (st != LOCI_EFORMAT || !strstr(err.text, LOCI_BUCKETS_FILE))
            fail_msg("byte %zu: %s (%s)", at, loci_status_text(st), err.text);
        assert_int_equal(loci_bank_verify(x.dir[0], NULL, NULL, &report, NULL), LOCI_EFORMAT);
        assert_int_equal(report.bad_blocks, 1);
        assert_non_null(strstr(report.first_bad, LOCI_BUCKETS_FILE));
    }
    for (size_t cut = 0; cut < n; cut += 1 + n / 30) {
        write_bytes(path, good, cut);
        assert_int_equal(open_and_search(&x, &err), LOCI_EFORMAT);
    }
    /* One of an earlier build is passed over by all: its chunks are searched by their codes. */
    memcpy(bad, good, n);
    put_u32((uint8_t *)bad + offsetof(bkt_header, version), 1);
    put_u64((uint8_t *)bad + offsetof(bkt_header, sum),
            XXH3_64bits(bad, offsetof(bkt_header, sum)));
    write_bytes(path, bad, n);
    OK(open_and_search(&x, &err));
    OK(loci_bank_verify(x.dir[0], NULL, NULL, &report, &err));
    /* Whoever writes makes it anew. */
    OK(loci_bank_open(&x.bank[0], &x.t.e, x.dir[0], LOCI_BANK_WRITE, &err));
    assert_false(is_there(&x, 0));
    OK(loci_bank_sort(x.bank[0], 20, &err));
    OK(open_and_search(&x, &err));
    free(good);
    free(bad);
    setup_close(&x);
    corpus_free(&c);
}

/* Verify holds what the file says against the segments. */
static void test_verify_compares(void **state)
{
    (void)state;
    loci_error err = { 0 };
    setup x;
    loci_bank_verify_report report;
    corpus c = corpus_make(SEED + 9, 600), other = corpus_make(SEED + 10, 600);
    setup_open(&x, 2, 0);
    put_corpus(x.bank[0], &c, 0, c.n, 50, 0);
    put_corpus(x.bank[1], &other, 0, other.n, 50, 0);
    for (int i = 0; i < 2; i++) OK(loci_bank_sort(x.bank[i], 5, &err));
    OK(loci_bank_verify(x.dir[0], NULL, NULL, &report, &err));
    size_t n;
    char *file = load(file_of(&x, 1), &n); /* sound, of as many chunks, and of another bank */
    write_bytes(file_of(&x, 0), file, n);
    assert_int_equal(loci_bank_verify(x.dir[0], NULL, NULL, &report, NULL), LOCI_EFORMAT);
    assert_non_null(strstr(report.first_bad, "not those of"));
    free(file);
    setup_close(&x);
    corpus_free(&c);
    corpus_free(&other);
}

/* ---- when it is made, and when it goes -------------------------------------------------------------------- */
static void test_tend(void **state)
{
    (void)state;
    loci_error err;
    setup x;
    corpus c = corpus_make(SEED + 11, 26000);
    loci_bank_stat stat;
    setup_open(&x, 1, 0);
    loci_bank *b = x.bank[0];
    put_corpus(b, &c, 0, 16000, 1000, 0);
    OK(loci_bank_tend(b, &err));
    assert_false(is_there(&x, 0)); /* too small */
    put_corpus(b, &c, 16000, 250, 250, 0);
    put_corpus(b, &c, 16250, 750, 750, 0);
    OK(loci_bank_tend(b, &err));
    assert_true(is_there(&x, 0));
    assert_int_equal(b->n_codes, 0);
    OK(loci_bank_info(b, &stat, &err));
    assert_true(stat.part_bytes[LOCI_BANK_BUCKETS] > 17000 * 2 * 140);
    put_corpus(b, &c, 17000, 2000, 1000, 0);
    OK(loci_bank_tend(b, &err));
    assert_int_equal(b->n_codes, 2000); /* so few are scored as they are */
    put_corpus(b, &c, 19000, 6000, 1000, 0);
    OK(loci_bank_tend(b, &err));
    assert_int_equal(b->n_codes, 0); /* into the buckets that there are ... */
    assert_int_equal(loci_buckets_learned(b->buckets), 34000);
    assert_int_equal(loci_buckets_rows(b->buckets), 50000);
    put_corpus(b, &c, 25000, 1000, 1000, 0);
    OK(loci_bank_tend(b, &err));
    assert_int_equal(b->n_codes, 0); /* ... and into new ones, half again as many later */
    assert_int_equal(loci_buckets_learned(b->buckets), 52000);
    /* A segment goes when all of its documents are replaced: so must what was made of it. */
    put_corpus(b, &c, 16000, 250, 250, 0);
    assert_true(b->buckets_stale);
    check_same(&x, &c, SEED + 12, 20);
    loci_bank_drop_stale_buckets(b);
    assert_false(is_there(&x, 0));
    OK(loci_bank_tend(b, &err));
    assert_true(is_there(&x, 0) && !b->buckets_stale);
    assert_int_equal(b->n_codes, 0);
    setup_close(&x);
    corpus_free(&c);
}

/* Landmarks put into buckets that were learned from others: those whose mean is nearest by what queries make
 * of it, counted here row by row in double precision. */
static void test_kept_means(void **state)
{
    enum { B = 40, LATER = 3000 };
    (void)state;
    loci_error err;
    setup x;
    corpus c = corpus_make(SEED + 14, 17000 + LATER);
    setup_open(&x, 1, 0);
    loci_bank *b = x.bank[0];
    put_corpus(b, &c, 0, 17000, 1000, 0);
    OK(loci_bank_sort(b, B, &err));
    static float mean[B][LOCI_BASIS];
    const float *scale, *spread;
    const int8_t *q = loci_buckets_means(b->buckets, &scale, &spread);
    const size_t floats = loci_basis_floats(128);
    float *data = malloc(floats * sizeof *data);
    memcpy(data, loci_buckets_basis(b->buckets).landmark, floats * sizeof *data);
    const loci_basis basis = loci_basis_view(data, 128);
    for (int i = 0; i < B; i++)
        for (int j = 0; j < LOCI_BASIS; j++) mean[i][j] = scale[i] * (float)q[i * LOCI_BASIS + j];
    put_corpus(b, &c, 17000, LATER, 1000, 0);
    OK(loci_bank_tend(b, &err));
    assert_int_equal(b->n_codes, 0);
    assert_int_equal(loci_buckets_learned(b->buckets), 34000);
    for (int i = 0; i < B; i++) {
        loci_bucket rows;
        OK(loci_buckets_get(b->buckets, i, &rows, &err));
        for (int r = 0; r < rows.n; r += 37) {
            double z[LOCI_BASIS], least = INFINITY, mine = 0.0;
            for (int j = 0; j < LOCI_BASIS; j++) {
                z[j] = -(double)basis.origin[j];
                for (int k = 0; k < 128; k++)
                    z[j] += (double)basis.landmark[j * 128 + k] * rows.landmark[r * 128 + k] *
                            (double)rows.scale[r];
            }
            for (int m = 0; m < B; m++) {
                double apart = 0.0;
                for (int j = 0; j < LOCI_BASIS; j++) {
                    const double off = (z[j] - (double)mean[m][j]) * (double)basis.deviation[j];
                    apart += off * off;
                }
                least = apart < least ? apart : least;
                mine = m == i ? apart : mine;
            }
            assert_true(mine <= least * (1.0 + 1e-4));
        }
    }
    free(data);
    setup_close(&x);
    corpus_free(&c);
}

/* The disk fails at every call of a sort in turn: the old file or the new one, and a bank that opens. */
static void test_faults(void **state)
{
    (void)state;
    loci_error err = { 0 };
    setup x;
    corpus c = corpus_make(SEED + 13, 4300);
    setup_open(&x, 1, 0);
    loci_bank *b = x.bank[0];
    put_corpus(b, &c, 0, 4200, 50, 0);
    OK(loci_bank_sort(b, 3, &err));
    put_corpus(b, &c, 4200, 100, 50, 0);
    const loci_vfs *system = b->vfs;
    bool done = false;
    for (int64_t at = 1; !done; at++) {
        fault_vfs fault;
        b->vfs = fault_vfs_init(&fault, at % 2 ? FAULT_CRASH : FAULT_TORN, at);
        const loci_status st = loci_bank_sort(b, 4, &err);
        done = fault.n_calls < at;
        assert_true(st == LOCI_OK || !done);
        b->vfs = system;
        loci_error none;
        OK(loci_bank_reload(b, &none)); /* what the next process finds */
        assert_true(b->buckets && !b->buckets_stale);
        if (st == LOCI_OK) assert_int_equal(loci_buckets_count(b->buckets), 4);
        check_same(&x, &c, SEED + 14, 6);
        if (loci_buckets_count(b->buckets) == 4 && !done) OK(loci_bank_sort(b, 3, &none));
        if (at > 1000) fail_msg("no end of calls");
    }
    setup_close(&x);
    corpus_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_exact),  cmocka_unit_test(test_few_buckets),
        cmocka_unit_test(test_postings_join), cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_damage),        cmocka_unit_test(test_verify_compares),
        cmocka_unit_test(test_tend),          cmocka_unit_test(test_kept_means),
        cmocka_unit_test(test_faults),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
