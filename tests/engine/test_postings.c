/* Goal: a block of postings says the truth about its chunks, finds every rare gram that it has room
 * for, costs less than 2 bytes a token whatever the text, and nothing from a file gets past its
 * checks.
 *
 * Method: the grams of random chunks listed and counted here the slow way, by comparing ids, and
 * each of them looked up; texts made to fill a block; every byte of a block changed, and single
 * entries made false. */
#include "bank_test.h"

enum { CHUNKS_MAX = 700 };
typedef struct {
    int n;                       /* chunks */
    int32_t ids[CHUNKS_MAX][64]; /* of chunk c the first size[c] */
    int size[CHUNKS_MAX];
    uint64_t starts[CHUNKS_MAX];
} text;

/* Ids from a small vocabulary, now and then a special one, so that grams repeat in all ways. */
static text *text_make(uint64_t seed, int n, uint32_t vocab, bool full)
{
    loci_rng r;
    text *t = calloc(1, sizeof *t);
    assert_non_null(t);
    loci_rng_seed(&r, seed);
    t->n = n;
    for (int c = 0; c < n; c++) {
        t->size[c] = full ? 64 : 1 + (int)loci_rng_below(&r, 64);
        for (int i = 0; i < t->size[c]; i++) {
            const bool special = !full && loci_rng_below(&r, 40) == 0;
            t->ids[c][i] = special ? (int32_t)loci_rng_below(&r, LOCI_TOK_SPECIALS)
                                   : LOCI_TOK_SPECIALS + (int32_t)loci_rng_below(&r, vocab);
        }
        t->starts[c] = loci_rng_u64(&r) & loci_rng_u64(&r);
    }
    return t;
}

static loci_postings_builder *builder(const text *t)
{
    loci_error err;
    loci_postings_builder *b;
    OK(loci_postings_open(&b, &err));
    for (int c = 0; c < t->n; c++)
        OK(loci_postings_add(b, t->ids[c], t->size[c], t->starts[c], &err));
    return b;
}

/* The ids of the gram of length n that begins at token i of chunk c, by its definition. */
static bool gram_at(const text *t, int c, int i, int n, int32_t out[5])
{
    for (int k = 0; k < n; k++) {
        const bool next = i + k >= t->size[c];
        if (next && (c + 1 == t->n || i + k - t->size[c] >= t->size[c + 1])) return false;
        out[k] = next ? t->ids[c + 1][i + k - t->size[c]] : t->ids[c][i + k];
        if (out[k] < LOCI_TOK_SPECIALS) return false;
    }
    return true;
}

typedef struct {
    int32_t ids[5];
    int n, chunk;
    uint32_t hash;
} gram;

static int by_gram(const void *pa, const void *pb)
{
    const gram *a = pa, *b = pb;
    if (a->n != b->n) return a->n - b->n;
    const int ids = memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
    return ids != 0 ? ids : a->chunk - b->chunk;
}

/* All grams of a text, each once a chunk, equal ones together. */
static gram *all_grams(const text *t, size_t *n_out)
{
    gram *g = calloc((size_t)t->n * 128 + 1, sizeof *g);
    size_t n = 0, kept = 0;
    for (int c = 0; c < t->n; c++)
        for (int i = 0; i < t->size[c]; i++)
            for (int len = 3; len <= 5; len += 2) {
                gram x = { .n = len, .chunk = c };
                if (!gram_at(t, c, i, len, x.ids)) continue;
                assert_true(loci_gram_hash(x.ids, len, &x.hash));
                g[n++] = x;
            }
    qsort(g, n, sizeof *g, by_gram);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_gram(&g[kept - 1], &g[i]) != 0) g[kept++] = g[i];
    *n_out = kept;
    return g;
}

static size_t run_of(const gram *g, size_t n, size_t i)
{
    size_t k = i + 1;
    while (k < n && g[k].n == g[i].n && memcmp(g[k].ids, g[i].ids, sizeof g[i].ids) == 0) k++;
    return k - i;
}

/* How many other grams share the key of g[i]: to them no promise is made. */
static bool key_is_shared(const gram *g, size_t n, size_t i, size_t run, int bits)
{
    for (size_t k = 0; k < n; k++)
        if ((k < i || k >= i + run) && g[k].hash >> (16 - bits) == g[i].hash >> (16 - bits))
            return true;
    return false;
}

/* ---- every gram of small texts ------------------------------------------------------------------ */
static void check_text(const text *t, const uint8_t *block, size_t bytes)
{
    size_t n;
    gram *g = all_grams(t, &n);
    const int bits = loci_postings_bits(t->n);
    int rare[CHUNKS_MAX] = { 0 }, found[CHUNKS_MAX] = { 0 };
    assert_true(loci_postings_sane(block, bytes, t->n));
    for (size_t i = 0, run; i < n; i += run) {
        int32_t chunk[4];
        run = run_of(g, n, i);
        const int k = loci_postings_find(block, t->n, g[i].hash, chunk);
        if (key_is_shared(g, n, i, run, bits)) continue;
        if (k == -1) assert_true(run > 4);
        if (run > 4) assert_true(k <= 0); /* 0: there was no room to say that it is common */
        for (size_t j = i; run <= 4 && j < i + run; j++) {
            bool there = false;
            for (int x = 0; x < k; x++) there = there || chunk[x] == g[j].chunk;
            rare[g[j].chunk]++;
            found[g[j].chunk] += there;
        }
        for (int x = 0; x < k; x++) { /* nothing but its chunks, rising */
            bool right = false;
            for (size_t j = i; j < i + run; j++) right = right || chunk[x] == g[j].chunk;
            if (!right) fail_msg("gram of %d ids: chunk %d does not hold it", g[i].n, chunk[x]);
            assert_true(x == 0 || chunk[x] > chunk[x - 1]);
        }
    }
    for (int c = 0; c < t->n; c++) {
        /* Grams that share a key were not counted; they may take places too: none of those below
         * 28 is lost, and no chunk has more. */
        assert_true(found[c] <= 28);
        if (rare[c] <= 20) assert_int_equal(found[c], rare[c]);
        if (rare[c] > 40) assert_true(found[c] >= 20);
    }
    free(g);
}

static void test_against_ids(void **state)
{
    static const struct {
        int chunks;
        uint32_t vocab;
    } list[] = {
        { 1, 40 }, { 2, 3 }, { 3, 500 }, { 63, 12 }, { 64, 9 }, { 100, 300 }, { 256, 40 }
    };
    (void)state;
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        loci_error err;
        const uint8_t *block;
        size_t bytes;
        text *t = text_make(SEED + k, list[k].chunks, list[k].vocab, false);
        loci_postings_builder *b = builder(t);
        OK(loci_postings_finish(b, &block, &bytes, &err));
        check_text(t, block, bytes);
        loci_postings_close(b);
        free(t);
    }
}

/* A second block of one builder knows nothing of the first, and the same chunks give the same bytes. */
static void test_blocks_are_apart(void **state)
{
    (void)state;
    loci_error err;
    const uint8_t *block;
    size_t n, m;
    text *t = text_make(SEED, 40, 100, false);
    loci_postings_builder *b = builder(t);
    OK(loci_postings_finish(b, &block, &n, &err));
    uint8_t *first = malloc(n);
    memcpy(first, block, n);
    for (int c = 0; c < t->n; c++)
        OK(loci_postings_add(b, t->ids[c], t->size[c], t->starts[c], &err));
    OK(loci_postings_finish(b, &block, &m, &err));
    assert_int_equal(n, m);
    assert_memory_equal(first, block, n);
    free(first);
    loci_postings_close(b);
    free(t);
}

/* ---- the choice ---------------------------------------------------------------------------------- */
/* 64 tokens, all grams rare: words of 9, 5 and 3 tokens among words of one.  Each of the long words
 * must have a gram of its own before the rest is filled. */
static void test_words_first(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        loci_error err;
        const uint8_t *block;
        size_t bytes;
        text *t = text_make(SEED + seed, 1, 1 << 20, true);
        static const int begin[] = { 3, 20, 30, 40, 55 }, length[] = { 9, 5, 3, 3, 9 };
        t->starts[0] = ~UINT64_C(0);
        for (int w = 0; w < 5; w++)
            for (int i = 1; i < length[w]; i++) t->starts[0] &= ~(UINT64_C(1) << (begin[w] + i));
        loci_postings_builder *b = builder(t);
        OK(loci_postings_finish(b, &block, &bytes, &err));
        int total = 0;
        for (int w = 0; w < 5; w++) {
            int within = 0;
            for (int i = begin[w]; i < begin[w] + length[w]; i++)
                for (int n = 3; n <= 5; n += 2) {
                    uint32_t hash;
                    int32_t chunk[4];
                    if (i + n > begin[w] + length[w]) continue;
                    assert_true(loci_gram_hash(t->ids[0] + i, n, &hash));
                    within += loci_postings_find(block, 1, hash, chunk) == 1;
                }
            assert_true(within >= 1);
            total += within;
        }
        /* 2 (7 + 5) + (3 + 1) + 1 + 1 = 30 grams lie in words: they are more than there is room
         * for, and nothing else gets in.  A key of 16 bits may stand for two of 122 grams. */
        assert_true(total >= 27 && total <= 30);
        loci_postings_close(b);
        free(t);
    }
}

/* ---- size ------------------------------------------------------------------------------------------ */
static void test_bytes_a_token(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        loci_error err;
        const uint8_t *block;
        size_t bytes;
        text *t = text_make(SEED, CHUNKS_MAX, kind == 0 ? 1 << 20 : 4, true);
        /* 0: all grams different; 1: all common; 2: one id; 3: each chunk five times */
        for (int c = 0; c < t->n; c++)
            for (int i = 0; i < 64; i++)
                if (kind == 2)
                    t->ids[c][i] = 77;
                else if (kind == 3)
                    t->ids[c][i] = 16 + (c % (CHUNKS_MAX / 5)) * 64 + i;
        loci_postings_builder *b = builder(t);
        OK(loci_postings_finish(b, &block, &bytes, &err));
        assert_true(loci_postings_sane(block, bytes, t->n));
        const double a_token = (double)bytes / (64.0 * t->n);
        print_message("kind %d: %.3f bytes a token\n", kind, a_token);
        assert_true(a_token <= 2.0);
        assert_true(kind != 0 || a_token > 1.5); /* and the room is used */
        loci_postings_close(b);
        free(t);
    }
}

/* ---- what comes from a file ---------------------------------------------------------------------------- */
static void test_damage(void **state)
{
    (void)state;
    loci_error err;
    const uint8_t *block;
    size_t bytes;
    text *t = text_make(SEED + 3, 6, 30, false);
    loci_postings_builder *b = builder(t);
    OK(loci_postings_finish(b, &block, &bytes, &err));
    int insane = 0;
    for (size_t at = 0; at < bytes; at++)
        for (int bit = 0; bit < 8; bit++) {
            /* A copy of its own size, so that a read past it is seen. */
            uint8_t *copy = malloc(bytes);
            int32_t chunk[4];
            memcpy(copy, block, bytes);
            copy[at] ^= (uint8_t)(1 << bit);
            if (loci_postings_sane(copy, bytes, t->n)) {
                for (uint32_t hash = 0; hash < 1000; hash++) {
                    const int k = loci_postings_find(copy, t->n, hash * UINT32_C(4294967), chunk);
                    for (int i = 0; i < k; i++) assert_true(chunk[i] < t->n);
                }
            } else {
                insane++;
            }
            free(copy);
        }
    assert_true(insane > 0);
    for (size_t n = 0; n < bytes; n++) /* cut */
        assert_false(loci_postings_sane(block, n, t->n));
    assert_false(loci_postings_sane(block, bytes, 0));
    assert_false(loci_postings_sane(block, bytes, LOCI_POSTINGS_CHUNKS + 1));
    loci_postings_close(b);
    free(t);
}

typedef struct {
    const char *what;
    uint32_t entry[6]; /* low half of the key << 16 | chunk */
    int n;
    bool sane;
} small_block;

/* Blocks of one bucket, written by hand, over a block of one chunk and of 3 (two buckets, the second
 * empty). */
static void test_structure(void **state)
{
    static const small_block list[] = {
        { "none", { 0 }, 0, true },
        { "two keys", { 0x10000, 0x20000 }, 2, true },
        { "one key, chunks 0 1 2", { 0x10000, 0x10001, 0x10002 }, 3, true },
        { "common", { 0x1ffff }, 1, true },
        { "falling", { 0x20000, 0x10000 }, 2, false },
        { "twice", { 0x10000, 0x10000 }, 2, false },
        { "chunk 3 of 3", { 0x10003 }, 1, false },
        { "common and rare", { 0x10000, 0x1ffff }, 2, false },
        { "chunk 0xfffe", { 0x1fffe }, 1, false },
    };
    (void)state;
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        uint8_t block[64] = { 0 };
        put_u32(block + 4, (uint32_t)list[k].n);
        put_u32(block + 8, (uint32_t)list[k].n);
        for (int i = 0; i < list[k].n; i++) put_u32(block + 12 + 4 * i, list[k].entry[i]);
        const size_t bytes = loci_postings_bytes(1, (size_t)list[k].n);
        if (loci_postings_sane(block, bytes, 3) != list[k].sane)
            fail_msg("%s: taken for %s", list[k].what, list[k].sane ? "damaged" : "sane");
        put_u32(block, 1); /* the first bucket must begin at 0 */
        assert_false(loci_postings_sane(block, bytes, 3));
    }
    /* Five chunks of a rare key, and more entries than chunks allow. */
    uint8_t five[4 * 40] = { 0 };
    for (int i = 0; i < 5; i++) put_u32(five + 4 * 9 + 4 * i, 0x10000u | (uint32_t)i);
    for (int i = 1; i < 9; i++) put_u32(five + 4 * i, 5);
    assert_false(loci_postings_sane(five, loci_postings_bytes(3, 5), 8));
    for (int i = 1; i < 9; i++) put_u32(five + 4 * i, 4);
    assert_true(loci_postings_sane(five, loci_postings_bytes(3, 4), 8));
    uint8_t many[4 * 33] = { 0 };
    for (int i = 0; i < 31; i++) put_u32(many + 8 + 4 * i, (uint32_t)(i + 1) << 16);
    put_u32(many + 4, 30);
    assert_true(loci_postings_sane(many, loci_postings_bytes(0, 30), 1));
    put_u32(many + 4, 31);
    assert_false(loci_postings_sane(many, loci_postings_bytes(0, 31), 1));
}

/* Sane and false: an entry that names another chunk, a rare gram called common, a key of nothing. */
static void test_check(void **state)
{
    (void)state;
    loci_error err;
    const uint8_t *made;
    size_t bytes;
    text *t = text_make(SEED + 4, 8, 60, false);
    loci_postings_builder *b = builder(t);
    OK(loci_postings_finish(b, &made, &bytes, &err));
    uint8_t *block = malloc(bytes);
    memcpy(block, made, bytes);
    const size_t head = loci_postings_bytes(loci_postings_bits(t->n), 0);
    int tried = 0;
    for (int round = 0; round < 4; round++) {
        for (size_t at = head; at < bytes; at += 4) {
            const uint32_t e = get_u32(block + at);
            put_u32(block + at, round == 0   ? e
                                : round == 1 ? (e & 0xffff0000) | ((e + 1) & 7)
                                : round == 2 ? e | 0xffff
                                             : e ^ 0x10000);
            const bool same = get_u32(block + at) == e;
            if (loci_postings_sane(block, bytes, t->n)) {
                err = (loci_error){ 0 };
                for (int c = 0; c < t->n; c++)
                    OK(loci_postings_add(b, t->ids[c], t->size[c], 0, &err));
                const loci_status st = loci_postings_check(b, block, &err);
                /* A gram may well be in the next chunk too, or its neighbour key be a gram's: then it
                 * is no lie.  Most are. */
                if (same) assert_int_equal(st, LOCI_OK);
                if (!same) tried += st == LOCI_EFORMAT;
                if (st != LOCI_OK) assert_non_null(strstr(err.text, "entry"));
            }
            put_u32(block + at, e);
            if (round == 0) break;
        }
        if (round > 0) assert_true(tried >= 40 * round);
    }
    free(block);
    loci_postings_close(b);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_ids), cmocka_unit_test(test_blocks_are_apart),
        cmocka_unit_test(test_words_first), cmocka_unit_test(test_bytes_a_token),
        cmocka_unit_test(test_damage),      cmocka_unit_test(test_structure),
        cmocka_unit_test(test_check),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
