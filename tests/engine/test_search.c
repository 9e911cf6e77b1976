/* Goal: a search finds what an exhaustive, exact scoring of the stored landmarks finds - always
 * when the union is small, with a known probability when codes choose the survivors - and
 * decoded content is the stored content whatever the cache holds.
 *
 * Method: landmarks are random unit vectors, the codes are those of the model's projection.
 * The exact scoring is written out here in double precision over the stored int8 numbers.
 *
 * Bound for planted matches: a landmark at cosine 0.9 to the query differs from it in each of
 * 128 code bits with p = acos(0.9) / pi = 0.1436 independently: mean 18.4, deviation 3.97.  A
 * random landmark differs in half the bits: 64 +- 5.66; the nearer of two has a mean 0.56 deviations
 * lower.  1/16 of the chunks survive: the lowest 6.25 %, about 2.1 deviations under 64, a distance
 * near 52.  A planted match misses that only 8.5 deviations above its mean, so
 * all of them are found (chance of one miss in 10,000 below 1e-10; the test allows none). */
#include "search_test.h"

/* ---- few chunks: exact ---------------------------------------------------------------------------------------- */
static void check_exact(const setup *x, corpus *c, uint64_t seed)
{
    static const int ks[] = { 1, 3, 16, 64 };
    loci_rng r;
    loci_rng_seed(&r, seed);
    for (int q = 0; q < 20; q++) {
        float u[128];
        const float tau = 5.0f + 35.0f * (float)loci_rng_unit(&r);
        const int k = ks[q % 4];
        loci_pick pick[LOCI_MAX_PICKS];
        unit(&r, u, 128);
        scored *want = exact(c, u, (double)tau);
        const int n = x->memory.search(x->memory.ctx, u, tau, k, 0, pick);
        assert_int_equal(n, k < c->n ? k : c->n);
        for (int i = 0; i < n; i++) {
            const double tolerance = score_tolerance((double)tau, want[i].score);
            if (fabs((double)pick[i].score - want[i].score) > tolerance)
                fail_msg("query %d, rank %d: score %g, exact %g", q, i, (double)pick[i].score,
                         want[i].score);
            /* Another chunk in this place only if its score is the same to the tolerance. */
            bool same = false;
            for (int j = 0; j < c->n && j < i + 8; j++)
                same = same || (want[j].index == pick[i].time &&
                                fabs(want[j].score - want[i].score) <= 2 * tolerance);
            if (!same)
                fail_msg("query %d, rank %d: chunk %lld, exact %lld", q, i, (long long)pick[i].time,
                         (long long)want[i].index);
            if (i > 0) assert_true(pick[i].score <= pick[i - 1].score);
        }
        free(want);
    }
}

static void test_few_chunks(void **state)
{
    static const int64_t sizes[] = { 1, 255, 257, 1000, 2000 };
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        setup x;
        corpus c = corpus_make(SEED + k, sizes[k]);
        setup_open(&x, 1, 0);
        put_corpus(x.bank[0], &c, 0, c.n, 1 + (int64_t)k * 37, (int64_t)k % 3);
        setup_search(&x);
        assert_int_equal(loci_searcher_tokens(x.s), 64 * c.n);
        check_exact(&x, &c, SEED + 100 + k);
        setup_close(&x);
        corpus_free(&c);
    }
}

static void test_empty(void **state)
{
    (void)state;
    setup x;
    loci_pick pick[4];
    loci_error err = { 0 };
    loci_chunk_place place;
    const float *rows, u[128] = { 1.0f };
    setup_open(&x, 2, 0);
    setup_search(&x);
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 4, 0, pick), 0);
    OK(loci_searcher_status(x.s, &err));
    assert_int_equal(loci_searcher_place(x.s, 0, &place, NULL), LOCI_EINVAL);
    assert_int_equal(loci_searcher_place(x.s, -1, &place, NULL), LOCI_EINVAL);
    assert_int_equal(loci_searcher_place(x.s, INT64_MAX, &place, NULL), LOCI_EINVAL);
    pick[0].id = 5;
    assert_int_equal(x.memory.content(x.memory.ctx, pick, &rows), LOCI_EINVAL);
    assert_null(rows);
    assert_int_equal(loci_searcher_status(x.s, &err), LOCI_EINVAL);
    loci_searcher_close(x.s);
    x.s = NULL;
    assert_int_equal(loci_searcher_open(&x.s, &x.t.e, x.bank, 0, NULL), LOCI_EINVAL);
    assert_int_equal(loci_searcher_open(&x.s, &x.t.e, x.bank, 101, NULL), LOCI_EINVAL);
    setup_close(&x);
}

/* ---- many chunks: codes choose ---------------------------------------------------------------------------------- */
static void test_planted(void **state)
{
    enum { C = 20000, QUERIES = 40, PLANTED = 16 };
    (void)state;
    setup x;
    corpus c = corpus_make(SEED, C);
    static float u[QUERIES][128];
    static int64_t planted[QUERIES][PLANTED];
    loci_rng r;
    loci_rng_seed(&r, SEED + 1);
    for (int q = 0; q < QUERIES; q++) {
        unit(&r, u[q], 128);
        for (int i = 0; i < PLANTED; i++) { /* every chunk at most once */
            const int64_t at = planted[q][i] = (int64_t)q * (C / QUERIES) + i * 31;
            near(&r, c.landmark + (2 * at + (int64_t)loci_rng_below(&r, 2)) * 128, u[q], 0.9, 128);
            c.bias[at] = 0.0f;
        }
    }
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 700, 3);
    setup_search(&x);

    int found = 0, exact_found = 0, compared = 0;
    for (int q = 0; q < QUERIES; q++) {
        loci_pick pick[PLANTED];
        const int n = x.memory.search(x.memory.ctx, u[q], 12.0f, PLANTED, 0, pick);
        assert_int_equal(n, PLANTED);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < PLANTED; j++) found += pick[i].time == planted[q][j];
        /* And queries with nothing planted: how many of the exact best 16 come through the codes.
         * Reported; nothing is promised for the best of pure noise. */
        float noise[128];
        unit(&r, noise, 128);
        scored *want = exact(&c, noise, 12.0);
        x.memory.search(x.memory.ctx, noise, 12.0f, PLANTED, 0, pick);
        for (int i = 0; i < PLANTED; i++, compared++)
            for (int j = 0; j < PLANTED; j++) exact_found += pick[i].time == want[j].index;
        free(want);
    }
    print_message("%d chunks: %d of %d planted at cosine 0.9 found; %d of %d best of noise\n", C,
                  found, QUERIES * PLANTED, exact_found, compared);
    assert_int_equal(found, QUERIES * PLANTED);
    /* Even so the survivors are no random sixteenth: that would find 6.25 %. */
    assert_true(exact_found > compared / 4);
    setup_close(&x);
    corpus_free(&c);
}

/* The survivors are the nearest 1/16 by distance, ties to the lower index: against a full sort. */
static void test_survivors_are_nearest(void **state)
{
    enum { C = 5000, QUERIES = 30, WANT = C / 16 };
    (void)state;
    setup x;
    corpus c = corpus_make(SEED + 2, C);
    loci_rng r;
    loci_rng_seed(&r, SEED + 3);
    for (int64_t i = 0; i < C; i++) c.bias[i] = 0.0f;
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 64, 0);
    setup_search_by(&x, LOCI_SEARCH_CODES);
    uint8_t *distance = malloc(C);
    for (int q = 0; q < QUERIES; q++) {
        float u[128];
        uint64_t code[2];
        loci_pick pick[16];
        int count[129] = { 0 }, cut = 0, nearer = 0;
        unit(&r, u, 128);
        loci_codes(x.t.e.model, code, u, 1);
        loci_hamming_ref(distance, x.bank[0]->code, code, 2, C);
        for (int i = 0; i < C; i++) count[distance[i]]++;
        while (nearer + count[cut] < WANT) nearer += count[cut++];
        /* exact scores of the survivors only */
        scored *all = exact(&c, u, 12.0), *kept = malloc(WANT * sizeof *kept);
        bool *alive = calloc(C, sizeof *alive);
        int left = WANT - nearer, n = 0;
        for (int i = 0; i < C; i++)
            alive[i] = distance[i] < cut || (distance[i] == cut && left-- > 0);
        for (int i = 0; i < C; i++)
            if (alive[all[i].index]) kept[n++] = all[i];
        assert_int_equal(n, WANT);
        assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 16, 0, pick), 16);
        for (int i = 0; i < 16; i++) {
            const double tolerance = score_tolerance(12.0, kept[i].score);
            if (pick[i].time != kept[i].index &&
                fabs(kept[i].score - (double)pick[i].score) > tolerance)
                fail_msg("query %d, rank %d: chunk %lld, expected %lld", q, i,
                         (long long)pick[i].time, (long long)kept[i].index);
        }
        free(all);
        free(kept);
        free(alive);
    }
    free(distance);
    setup_close(&x);
    corpus_free(&c);
}

/* A chunk that codes cannot find joins the survivors once its tokens were asked for, is scored as all
 * are, and nothing else changes; one that scores badly joins and is not picked. */
static void test_postings_join(void **state)
{
    enum { C = 5000, HIDDEN = 3210 };
    (void)state;
    setup x;
    loci_error err;
    loci_rng r;
    corpus c = corpus_make(SEED + 9, C);
    float u[128];
    loci_pick before[16], after[16], again[16];
    test_chunk *chunk = malloc(sizeof *chunk);
    loci_rng_seed(&r, SEED + 10);
    unit(&r, u, 128);
    near(&r, c.landmark + HIDDEN * 256, u, 0.95, 128);
    c.hidden = HIDDEN;
    setup_open(&x, 1, 1);
    put_corpus(x.bank[0], &c, 0, C, 321, 0);
    setup_search_by(&x, LOCI_SEARCH_CODES);
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 16, 0, before), 16);
    for (int i = 0; i < 16; i++) assert_int_not_equal(before[i].time, HIDDEN);

    chunk_make(chunk, &x.bank[0]->shape, SEED, HIDDEN - 7); /* another chunk's tokens */
    OK(loci_searcher_note(x.s, chunk->ids, chunk->record.n_tokens, &err));
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 16, 0, again), 16);
    for (int i = 0; i < 16; i++) assert_int_equal(again[i].time, before[i].time);

    for (int i = 0; i < 16; i += 5) { /* those that are there already come once */
        chunk_make(chunk, &x.bank[0]->shape, SEED, before[i].time);
        OK(loci_searcher_note(x.s, chunk->ids, chunk->record.n_tokens, &err));
    }
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 16, 0, again), 16);
    for (int i = 0; i < 16; i++) assert_int_equal(again[i].time, before[i].time);

    chunk_make(chunk, &x.bank[0]->shape, SEED, HIDDEN);
    OK(loci_searcher_note(x.s, chunk->ids, chunk->record.n_tokens, &err));
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 16, 0, after), 16);
    assert_int_equal(after[0].time, HIDDEN);
    scored *want = exact(&c, u, 12.0);
    assert_int_equal(want[0].index, HIDDEN);
    assert_true(fabs((double)after[0].score - want[0].score) <=
                score_tolerance(12.0, want[0].score));
    for (int i = 1; i < 16; i++) {
        assert_int_equal(after[i].time, before[i - 1].time);
        assert_true(after[i].score == before[i - 1].score);
    }
    free(want);
    free(chunk);
    setup_close(&x);
    corpus_free(&c);
}

/* Equal chunks everywhere: the lowest indices win, in order. */
static void test_ties(void **state)
{
    static const int64_t sizes[] = { 600, 4200 };
    (void)state;
    for (int k = 0; k < 2; k++) {
        setup x;
        loci_rng r;
        loci_pick pick[64];
        corpus c = corpus_make(SEED, sizes[k]);
        for (int64_t i = 1; i < c.n; i++) {
            memcpy(c.landmark + i * 256, c.landmark, 256 * sizeof(float));
            c.bias[i] = c.bias[0];
        }
        setup_open(&x, 1, 0);
        put_corpus(x.bank[0], &c, 0, c.n, 50, 1);
        setup_search_by(&x, k ? LOCI_SEARCH_CODES : LOCI_SEARCH_FAST);
        float u[128];
        loci_rng_seed(&r, SEED);
        unit(&r, u, 128);
        assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 64, 0, pick), 64);
        for (int i = 0; i < 64; i++) assert_int_equal(pick[i].time, i);
        setup_close(&x);
        corpus_free(&c);
    }
}

/* ---- many banks ---------------------------------------------------------------------------------------------------- */
static void test_union(void **state)
{
    static const int64_t sizes[] = { 2000, 5000 }; /* all scored, and by codes */
    (void)state;
    for (int k = 0; k < 2; k++) {
        setup one, many;
        loci_rng r;
        const int64_t C = sizes[k],
                      part[5] = { 0, C / 7, C / 7, C / 2, C }; /* the second bank is empty */
        corpus c = corpus_make(SEED + 4, C);
        setup_open(&one, 1, 0);
        setup_open(&many, 4, 0);
        put_corpus(one.bank[0], &c, 0, C, 90, 0);
        for (int i = 0; i < 4; i++)
            if (part[i + 1] > part[i])
                put_corpus(many.bank[i], &c, part[i], part[i + 1] - part[i], 41, 2);
        setup_search_by(&one, k ? LOCI_SEARCH_CODES : LOCI_SEARCH_FAST);
        setup_search_by(&many, k ? LOCI_SEARCH_CODES : LOCI_SEARCH_FAST);
        loci_rng_seed(&r, SEED + 5);
        for (int q = 0; q < 30; q++) {
            float u[128];
            loci_pick a[16], b[16];
            unit(&r, u, 128);
            const int n = one.memory.search(one.memory.ctx, u, 12.0f, 16, 0, a);
            assert_int_equal(many.memory.search(many.memory.ctx, u, 12.0f, 16, 0, b), n);
            for (int i = 0; i < n; i++) {
                loci_error err;
                loci_chunk_place place;
                assert_int_equal(a[i].time, b[i].time);
                assert_true(a[i].score == b[i].score);
                OK(loci_searcher_place(many.s, b[i].id, &place, &err));
                int bank = 0;
                while (part[bank + 1] <= b[i].time) bank++;
                assert_ptr_equal(place.bank, many.bank[bank]);
                assert_int_equal(b[i].id >> 40, bank);
                assert_int_equal(place.byte_start, 64 * b[i].time);
                assert_int_equal(place.line_start, 1 + b[i].time);
                assert_int_equal(place.chunk, (b[i].time - part[bank]) % 41);
                const bool last = place.chunk + 1 == place.doc->chunks;
                assert_int_equal(place.byte_end, last ? place.doc->bytes : place.byte_start + 64);
            }
        }
        setup_close(&one);
        setup_close(&many);
        corpus_free(&c);
    }
}

/* ---- content and its cache --------------------------------------------------------------------------------------------- */
static void test_content(void **state)
{
    enum { C = 1500, CALLS = 6000 };
    (void)state;
    setup x;
    corpus c = corpus_make(SEED + 6, C);
    loci_rng r;
    test_chunk *chunk = malloc(sizeof *chunk);
    float *want = malloc(64 * 128 * sizeof *want);
    const float *kept[64]; /* what the last 64 calls gave must still be there */
    int64_t kept_id[64];
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, 100, 1);
    setup_search(&x);
    loci_rng_seed(&r, SEED + 7);
    for (int call = 0; call < CALLS; call++) {
        /* Mostly a small set (hits), now and then anything (evictions). */
        const loci_pick pick = { .id = loci_rng_below(&r, 3) ? loci_rng_below(&r, 300)
                                                             : loci_rng_below(&r, C) };
        const float *rows;
        const int n = x.memory.content(x.memory.ctx, &pick, &rows);
        kept[call % 64] = rows;
        kept_id[call % 64] = pick.id;
        const int back = (int)loci_rng_below(&r, call < 63 ? (uint32_t)call + 1 : 64);
        const int64_t id = kept_id[(call - back) % 64];
        chunk_make(chunk, &x.bank[0]->shape, SEED, id);
        if (back == 0) assert_int_equal(n, chunk->record.n_tokens);
        loci_chunk_view v;
        loci_error err;
        const int64_t doc = loci_bank_doc_of(x.bank[0], id);
        OK(loci_segment_chunk(x.bank[0]->segment[0],
                              x.bank[0]->doc[doc].first_chunk + id - x.bank[0]->doc_first[doc],
                              true, &v, &err));
        loci_dequant_q8_ref(want, 64, v.content, 64, v.content_scale, 2 * v.n_tokens, 64);
        assert_memory_equal(kept[(call - back) % 64], want,
                            (size_t)v.n_tokens * 128 * sizeof(float));
        for (int i = 0; i < v.n_tokens * 2; i++) /* and it is what was written */
            assert_row_close(chunk->content + i * 64, v.content + i * 64, v.content_scale[i], 64);
    }
    const loci_searcher_counts counts = loci_searcher_cache(x.s);
    assert_int_equal(counts.hits + counts.misses, CALLS);
    assert_true(counts.hits > CALLS / 2 && counts.misses > C / 2);
    print_message("%lld hits, %lld misses\n", (long long)counts.hits, (long long)counts.misses);

    /* Exactly 512 different chunks fit: a second round over them is all hits, over 513 none. */
    for (int size = 512; size <= 513; size++) {
        loci_searcher_close(x.s);
        setup_search(&x);
        for (int i = 0; i < 2 * size; i++) {
            const loci_pick pick = { .id = i % size };
            const float *rows;
            assert_true(x.memory.content(x.memory.ctx, &pick, &rows) > 0);
        }
        assert_int_equal(loci_searcher_cache(x.s).hits, size == 512 ? 512 : 0);
    }
    free(want);
    free(chunk);
    setup_close(&x);
    corpus_free(&c);
}

/* Packed content is unpacked with the chunk's own summary, and kept. */
static void test_packed_content(void **state)
{
    enum { C = 700, CALLS = 3000 };
    (void)state;
    setup x;
    corpus c = corpus_make(SEED + 11, C);
    loci_rng r;
    loci_hparams hp = test_hparams();
    float *want = malloc(64 * 128 * sizeof *want), z[128];
    hp.content_bits4 = 1;
    hp.d_summary = 128;
    setup_open_with(&x, 1, hp);
    /* The summary's part starts at zero: here it must be seen. */
    loci_mat *context = &x.t.e.model->p.enc.context;
    loci_rng_seed(&r, SEED + 12);
    for (int i = 0; i < context->rows * context->cols; i++)
        ((float *)context->data)[i] = 0.1f * (float)loci_rng_normal(&r);
    put_corpus(x.bank[0], &c, 0, C, 100, 1);
    setup_search(&x);
    for (int call = 0; call < CALLS; call++) {
        const loci_pick pick = { .id = loci_rng_below(&r, C) };
        const float *rows;
        loci_chunk_view v;
        loci_error err;
        test_chunk chunk;
        const int n = x.memory.content(x.memory.ctx, &pick, &rows);
        const int64_t doc = loci_bank_doc_of(x.bank[0], pick.id);
        OK(loci_segment_chunk(x.bank[0]->segment[0],
                              x.bank[0]->doc[doc].first_chunk + pick.id - x.bank[0]->doc_first[doc],
                              true, &v, &err));
        chunk_make(&chunk, &x.bank[0]->shape, SEED, pick.id);
        assert_int_equal(n, chunk.record.n_tokens);
        assert_row_close(chunk.summary, v.summary, v.summary_scale, 128);
        for (int i = 0; i < 128; i++) z[i] = (float)v.summary[i] * v.summary_scale;
        loci_unpack_content(x.t.e.model, want, chunk.packed, chunk.packed_scale, z, n);
        assert_memory_equal(rows, want, (size_t)n * 128 * sizeof *want);
    }
    const loci_searcher_counts counts = loci_searcher_cache(x.s);
    assert_int_equal(counts.hits + counts.misses, CALLS);
    assert_true(counts.hits > CALLS / 3 && counts.misses > C / 2);
    free(want);
    setup_close(&x);
    corpus_free(&c);
}

/* Damage that only shows when a group is first read stops the search with the place named. */
static void test_damage_during_search(void **state)
{
    enum { C = 600 };
    (void)state;
    setup x;
    char path[128];
    corpus c = corpus_make(SEED + 8, C);
    loci_pick pick[8];
    const float *rows, u[128] = { 1.0f };
    loci_error err = { 0 };
    setup_open(&x, 1, 0);
    put_corpus(x.bank[0], &c, 0, C, C, 0);
    snprintf(path, sizeof path, "%s/seg-000001.loci", x.dir[0]);
    const int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "!", 1, 128 + 256 * 32 + 99), 1); /* landmarks of group 0 */
    close(fd);
    setup_search(&x);
    assert_int_equal(x.memory.search(x.memory.ctx, u, 12.0f, 8, 0, pick), LOCI_EFORMAT);
    assert_int_equal(loci_searcher_status(x.s, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "group 0, column landmarks"));
    assert_non_null(strstr(err.text, path));
    pick[0].id = 300;
    assert_true(x.memory.content(x.memory.ctx, pick, &rows) > 0); /* another group is sound */
    setup_close(&x);
    corpus_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_chunks),    cmocka_unit_test(test_empty),
        cmocka_unit_test(test_planted),       cmocka_unit_test(test_survivors_are_nearest),
        cmocka_unit_test(test_ties),          cmocka_unit_test(test_union),
        cmocka_unit_test(test_content),       cmocka_unit_test(test_damage_during_search),
        cmocka_unit_test(test_postings_join), cmocka_unit_test(test_packed_content),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
