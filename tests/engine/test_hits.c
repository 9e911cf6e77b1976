/* Goal: the tokens of a question bring in the live chunks that share a rare run with them, of any
 * bank, segment and document, not those whose run is common in the union, and never more work or
 * chunks than the limits say.
 *
 * Method: documents of random bytes, whose every run is rare, and copies of them, in several
 * segments and banks; the tokens of one chunk are noted and its place must come out.  A chunk has up to
 * 28 grams with an entry, so noting all of its tokens cannot miss it. */
#include "bank_test.h"

typedef struct {
    test_engine t;
    char dir[2][64];
    loci_bank *bank[2];
    int64_t first[3];
} setup;

static void setup_open(setup *x)
{
    loci_error err;
    memset(x, 0, sizeof *x);
    engine_init(&x->t, 0x55);
    x->t.e.model->hp.postings = 1;
    for (int i = 0; i < 2; i++) {
        scratch_make(x->dir[i]);
        OK(loci_bank_open(&x->bank[i], &x->t.e, x->dir[i], LOCI_BANK_CREATE, &err));
    }
}

static void put(setup *x, int bank, const char *name, uint64_t seed, int64_t chunks)
{
    loci_error err;
    const test_doc doc = { name, seed, chunks };
    OK(bank_put(x->bank[bank], &doc, 1, &err));
    x->first[1] = x->bank[0]->chunks;
    x->first[2] = x->first[1] + x->bank[1]->chunks;
}

static void setup_close(setup *x)
{
    for (int i = 0; i < 2; i++) {
        loci_bank_close(x->bank[i]);
        scratch_remove(x->dir[i]);
    }
    engine_free(&x->t);
}

static void add(setup *x, loci_hits *h, const int32_t *ids, int n)
{
    loci_error err;
    const loci_bank *const bank[2] = { x->bank[0], x->bank[1] };
    OK(loci_hits_add(h, bank, x->first, 2, x->t.e.tok, ids, n, &err));
    assert_true(h->n <= LOCI_HITS_MAX);
    for (int i = 0; i < h->n; i++) {
        assert_true(h->chunk[i] >= 0 && h->chunk[i] < x->first[2]);
        assert_true(i == 0 || h->chunk[i] > h->chunk[i - 1]);
    }
}

/* Note all tokens of chunk `i` of the document with this seed. */
static loci_hits note(setup *x, uint64_t seed, int64_t i)
{
    loci_hits h = { 0 };
    test_chunk c;
    chunk_make(&c, &x->bank[0]->shape, seed, i);
    add(x, &h, c.ids, 64);
    return h;
}

static bool holds(const loci_hits *h, int64_t index)
{
    for (int i = 0; i < h->n; i++)
        if (h->chunk[i] == index) return true;
    return false;
}

/* Union index of chunk i of a live document. */
static int64_t index_of(const setup *x, int bank, const char *name, int64_t i)
{
    const loci_bank *b = x->bank[bank];
    for (int64_t d = 0; d < b->n_docs; d++)
        if (strcmp(b->doc[d].name, name) == 0) return x->first[bank] + b->doc_first[d] + i;
    fail_msg("%s is not in bank %d", name, bank);
    return -1;
}

static void test_places(void **state)
{
    (void)state;
    setup x;
    setup_open(&x);
    put(&x, 0, "a", 1, 300);
    put(&x, 0, "b", 2, 5);
    put(&x, 1, "c", 3, 70);
    put(&x, 1, "a", 4, 1);
    int others = 0;
    static const struct {
        int bank;
        const char *name;
        uint64_t seed;
        int64_t chunks;
    } docs[] = { { 0, "a", 1, 300 }, { 0, "b", 2, 5 }, { 1, "c", 3, 70 }, { 1, "a", 4, 1 } };
    for (size_t d = 0; d < 4; d++)
        for (int64_t i = 0; i < docs[d].chunks; i++) {
            const loci_hits h = note(&x, docs[d].seed, i);
            if (!holds(&h, index_of(&x, docs[d].bank, docs[d].name, i)))
                fail_msg("%s, chunk %lld is not found", docs[d].name, (long long)i);
            others += h.n - 1;
        }
    /* Keys have 16 bits and more; 124 grams in 4 blocks of up to 60 entries a bucket make at most
     * 124 x 4 x 60 / 65536 = 0.45 others a question. */
    print_message("%d other chunks in 376 questions\n", others);
    assert_true(others < 376 / 2);
    setup_close(&x);
}

/* One text in 4 segments of two banks is rare, in 5 it is common; replaced copies do not count. */
static void test_common_in_the_union(void **state)
{
    (void)state;
    setup x;
    setup_open(&x);
    put(&x, 0, "rest", 1, 50);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "copy%d", i);
        put(&x, i % 2, name, 9, 3);
    }
    loci_hits h = note(&x, 9, 1);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "copy%d", i);
        assert_true(holds(&h, index_of(&x, i % 2, name, 1)));
    }
    put(&x, 1, "fifth", 9, 3);
    h = note(&x, 9, 1);
    assert_false(holds(&h, index_of(&x, 1, "fifth", 1)));
    assert_false(holds(&h, index_of(&x, 0, "copy0", 1)));
    put(&x, 0, "copy0", 10, 3); /* another text under that name: 4 copies live */
    h = note(&x, 9, 1);
    assert_true(holds(&h, index_of(&x, 1, "fifth", 1)));
    assert_false(holds(&h, index_of(&x, 0, "copy0", 1)));
    h = note(&x, 10, 2);
    assert_true(holds(&h, index_of(&x, 0, "copy0", 2)));
    setup_close(&x);
}

/* A segment of two documents, the first of them replaced: its chunks are dead and never come out, the
 * second's are where they were. */
static void test_dead_chunks(void **state)
{
    (void)state;
    setup x;
    loci_error err;
    setup_open(&x);
    const test_doc docs[3] = { { "gone", 5, 20 }, { "stays", 6, 20 }, { "last", 7, 20 } };
    OK(bank_put(x.bank[0], docs, 3, &err));
    put(&x, 0, "gone", 8, 2);
    for (int64_t i = 0; i < 20; i++) {
        loci_hits h = note(&x, 6, i);
        assert_true(holds(&h, index_of(&x, 0, "stays", i)));
        h = note(&x, 5, i); /* what comes by chance is a live chunk: add() has looked */
        assert_true(h.n <= 3);
    }
    setup_close(&x);
}

/* Common in one segment, once in another: the segment that knows says so. */
static void test_common_in_a_segment(void **state)
{
    (void)state;
    setup x;
    loci_error err;
    setup_open(&x);
    const test_doc docs[6] = { { "1", 7, 1 }, { "2", 7, 1 }, { "3", 7, 1 },
                               { "4", 7, 1 }, { "5", 7, 1 }, { "rest", 8, 40 } };
    OK(bank_put(x.bank[0], docs, 6, &err));
    put(&x, 1, "once", 7, 1);
    loci_hits h = note(&x, 7, 0);
    assert_false(holds(&h, index_of(&x, 1, "once", 0)));
    assert_false(holds(&h, index_of(&x, 0, "1", 0)));
    setup_close(&x);
}

/* Token by token is the same as at once, and a special token ends every run. */
static void test_stream(void **state)
{
    (void)state;
    setup x;
    test_chunk c;
    setup_open(&x);
    put(&x, 0, "a", 1, 100);
    for (int64_t i = 0; i < 100; i += 9) {
        const loci_hits once = note(&x, 1, i);
        loci_hits h = { 0 };
        chunk_make(&c, &x.bank[0]->shape, 1, i);
        for (int k = 0; k < 64; k++) add(&x, &h, c.ids + k, 1);
        assert_int_equal(h.n, once.n);
        assert_memory_equal(h.chunk, once.chunk, (size_t)h.n * sizeof *h.chunk);
        h = (loci_hits){ 0 };
        for (int k = 0; k < 64; k++) {
            const int32_t two[2] = { c.ids[k], LOCI_TOK_BOS };
            add(&x, &h, two, 2);
        }
        assert_int_equal(h.n, 0);
        assert_int_equal(h.lookups, 0);
    }
    setup_close(&x);
}

static void test_bounds(void **state)
{
    enum { LONG = 32768, CHUNKS = 1500 };
    (void)state;
    setup x;
    test_chunk c;
    loci_rng r;
    loci_rng_seed(&r, SEED);
    setup_open(&x);
    put(&x, 0, "a", 1, CHUNKS);
    int32_t *ids = malloc(CHUNKS * 64 * sizeof *ids);
    /* Noise, as long as a question may be. */
    for (int i = 0; i < LONG; i++) ids[i] = 16 + (int32_t)loci_rng_below(&r, 256);
    loci_hits h = { 0 };
    add(&x, &h, ids, LONG);
    assert_int_equal(h.grams, LOCI_HITS_GRAMS);
    assert_true(h.lookups <= LOCI_HITS_LOOKUPS);
    /* The same token all along is two grams. */
    for (int i = 0; i < LONG; i++) ids[i] = 100;
    h = (loci_hits){ 0 };
    add(&x, &h, ids, LONG);
    assert_int_equal(h.grams, 2);
    /* The bank's own text, a few grams of each chunk: more chunks than are kept. */
    int n = 0;
    for (int64_t k = 0; k < CHUNKS; k++) {
        chunk_make(&c, &x.bank[0]->shape, 1, k);
        h = (loci_hits){ 0 };
        for (int i = 0; i + 5 <= 64; i++) { /* one run of the chunk that has an entry */
            loci_hits one = { 0 };
            add(&x, &one, c.ids + i, 5);
            if (!holds(&one, k)) continue;
            memcpy(ids + n, c.ids + i, 5 * sizeof *ids);
            ids[n + 5] = LOCI_TOK_BOS;
            n += 6;
            break;
        }
    }
    h = (loci_hits){ 0 };
    add(&x, &h, ids, n / 2);
    const int half = h.n;
    add(&x, &h, ids + n / 2, n - n / 2);
    assert_true(half > 500 && half <= LOCI_HITS_MAX);
    print_message("%d tokens: %d chunks, %lld grams\n", n, h.n, (long long)h.grams);
    assert_int_equal(h.n, LOCI_HITS_MAX);
    free(ids);
    setup_close(&x);
}

/* Damage in a block: named, and nothing is added. */
static void test_damage(void **state)
{
    (void)state;
    setup x;
    char path[128];
    test_chunk c;
    loci_hits h = { 0 };
    loci_error err = { 0 };
    setup_open(&x);
    put(&x, 0, "a", 1, 300);
    loci_segment *s = x.bank[0]->segment[0];
    const uint8_t *block;
    int64_t chunks;
    snprintf(path, sizeof path, "%s/seg-000001.loci", x.dir[0]);
    /* The block ends where the table begins, up to 63 bytes: its last half is entries. */
    struct stat sb;
    assert_int_equal(stat(path, &sb), 0);
    const int fd = open(path, O_RDWR);
    char byte;
    const off_t at = sb.st_size - 64 - 2 * 272 - 1000;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    assert_int_equal(loci_segment_postings(s, 0, &block, &chunks, NULL), LOCI_EFORMAT);
    chunk_make(&c, &x.bank[0]->shape, 1, 0);
    const loci_bank *const bank[1] = { x.bank[0] };
    assert_int_equal(loci_hits_add(&h, bank, x.first, 1, x.t.e.tok, c.ids, 64, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "column postings"));
    assert_non_null(strstr(err.text, path));
    assert_int_equal(h.n + h.n_tail, 0);
    setup_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),      cmocka_unit_test(test_common_in_the_union),
        cmocka_unit_test(test_dead_chunks), cmocka_unit_test(test_common_in_a_segment),
        cmocka_unit_test(test_stream),      cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_damage),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
