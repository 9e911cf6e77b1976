/* Goal: facts are put at good places of the right depth in the order of their groups, and
 * filler is plain text that keeps to its room.  Method: haystacks with and without line ends,
 * sentences, spaces and many-byte characters, of all small sizes; canaries behind the output. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "loci/task.h"
#include "task/task_impl.h"

enum { N_FACTS = 200 };

/* An item with groups of many sizes, as place() sees it: groups only. */
static loci_task_item grouped(loci_fact fact[N_FACTS])
{
    for (int i = 0; i < N_FACTS; i++)
        fact[i] = (loci_fact){ .text = "x", .len = 1, .group = i % 5 == 0 ? -7 : i * i % 31 };
    return (loci_task_item){ .fact = fact, .n_facts = N_FACTS };
}

static void check_order(const loci_task_item *item, const size_t *place)
{
    for (int i = 0; i < item->n_facts; i++)
        for (int j = 0; j < i; j++)
            if (item->fact[i].group == item->fact[j].group) assert_true(place[j] <= place[i]);
}

static void test_order_and_depth(void **state)
{
    (void)state;
    static const double depth[][2] = {
        { 0, 1 }, { 0, 0.1 }, { 0.9, 1 }, { 0.333, 0.667 }, { 0.5, 0.5001 }
    };
    static char hay[60000];
    loci_fact fact[N_FACTS];
    const loci_task_item item = grouped(fact);
    const size_t len = loci_task_filler(1, sizeof hay, hay, sizeof hay);
    assert_true(len > sizeof hay - 400);
    for (size_t d = 0; d < sizeof depth / sizeof *depth; d++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            size_t place[N_FACTS], again[N_FACTS];
            int n_good = 0;
            assert_int_equal(loci_task_place(&item, hay, len, depth[d][0], depth[d][1], seed, place,
                                             NULL),
                             LOCI_OK);
            assert_int_equal(loci_task_place(&item, hay, len, depth[d][0], depth[d][1], seed, again,
                                             NULL),
                             LOCI_OK);
            assert_memory_equal(place, again, sizeof place);
            check_order(&item, place);
            for (int i = 0; i < N_FACTS; i++) {
                const size_t p = place[i];
                assert_true((double)p >= depth[d][0] * (double)len &&
                            (double)p < depth[d][1] * (double)len);
                n_good += p == 0 || hay[p - 1] == '\n' || (hay[p - 1] == ' ' && hay[p - 2] == '.');
            }
            /* A sentence of the filler is shorter than the reach; 6 bytes of room may hold no end. */
            if (d != 4) assert_int_equal(n_good, N_FACTS);
        }
}

static void test_spread(void **state)
{
    (void)state;
    static char hay[100000];
    memset(hay, ' ', sizeof hay);
    loci_fact fact[N_FACTS];
    const loci_task_item item = grouped(fact);
    int bin[10] = { 0 };
    for (uint64_t seed = 0; seed < 50; seed++) {
        size_t place[N_FACTS];
        assert_int_equal(loci_task_place(&item, hay, sizeof hay, 0, 1, seed, place, NULL), LOCI_OK);
        for (int i = 0; i < N_FACTS; i++) bin[place[i] * 10 / sizeof hay]++;
    }
    /* 10,000 places over 10 bins: 1,000 each, 5 deviations are 150. */
    for (int i = 0; i < 10; i++) assert_in_range(bin[i], 850, 1150);
}

static void test_line_without_ends(void **state)
{
    (void)state;
    static char hay[9000];
    loci_fact fact[N_FACTS];
    size_t place[N_FACTS];
    const loci_task_item item = grouped(fact);
    /* No ends, no spaces, three-byte characters: only their first bytes are good. */
    for (size_t i = 0; i < sizeof hay; i++) hay[i] = "\xe2\x82\xac"[i % 3];
    assert_int_equal(loci_task_place(&item, hay, sizeof hay, 0.25, 0.75, 4, place, NULL), LOCI_OK);
    check_order(&item, place);
    for (int i = 0; i < N_FACTS; i++) assert_int_equal(place[i] % 3, 0);
    /* Continuation bytes alone (not UTF-8): any place, but in range. */
    memset(hay, 0x80, sizeof hay);
    assert_int_equal(loci_task_place(&item, hay, sizeof hay, 0.25, 0.75, 4, place, NULL), LOCI_OK);
    for (int i = 0; i < N_FACTS; i++)
        assert_in_range(place[i], sizeof hay / 4, sizeof hay * 3 / 4 - 1);
    /* Spaces but no ends: behind a space. */
    for (size_t i = 0; i < sizeof hay; i++) hay[i] = i % 11 ? 'a' : ' ';
    assert_int_equal(loci_task_place(&item, hay, sizeof hay, 0.25, 0.75, 4, place, NULL), LOCI_OK);
    for (int i = 0; i < N_FACTS; i++) assert_int_equal(hay[place[i] - 1], ' ');
}

/* The only line ends lie one byte outside of the depth asked for, on either side. */
static void test_ends_just_outside(void **state)
{
    (void)state;
    char hay[200];
    loci_fact fact[N_FACTS];
    size_t place[N_FACTS];
    const loci_task_item item = grouped(fact);
    memset(hay, 'a', sizeof hay);
    hay[48] = hay[99] = hay[199] = '\n'; /* ends at 49, 100 and 200 */
    assert_int_equal(loci_task_place(&item, hay, 200, 0.25, 0.5, 6, place, NULL), LOCI_OK);
    for (int i = 0; i < N_FACTS; i++) assert_in_range(place[i], 50, 99);
    assert_int_equal(loci_task_place(&item, hay, 200, 0.505, 1, 6, place, NULL), LOCI_OK);
    for (int i = 0; i < N_FACTS; i++) assert_in_range(place[i], 101, 199);
    /* And one inside is taken by all. */
    assert_int_equal(loci_task_place(&item, hay, 200, 0.25, 0.505, 6, place, NULL), LOCI_OK);
    for (int i = 0; i < N_FACTS; i++) assert_int_equal(place[i], 100);
}

static void test_tiny_haystacks(void **state)
{
    (void)state;
    loci_fact fact[N_FACTS];
    size_t place[N_FACTS];
    const loci_task_item item = grouped(fact);
    assert_int_equal(loci_task_place(&item, NULL, 0, 0, 1, 1, place, NULL), LOCI_OK);
    for (int i = 0; i < N_FACTS; i++) assert_int_equal(place[i], 0);
    for (size_t len = 1; len < 40; len++) {
        char *hay = malloc(len); /* exact, for the address sanitizer */
        assert_non_null(hay);
        memset(hay, len % 3 ? '.' : '\n', len);
        for (int lo = 0; lo < 20; lo++) {
            const double from = lo / 20.0, to = from + 0.05 > 1 ? 1 : from + 0.05;
            assert_int_equal(loci_task_place(&item, hay, len, from, to, 1, place, NULL), LOCI_OK);
            check_order(&item, place);
            for (int i = 0; i < N_FACTS; i++)
                assert_true((double)place[i] >= from * (double)len && place[i] <= len);
        }
        free(hay);
    }
}

static void test_place_refuses(void **state)
{
    (void)state;
    static const double wrong[][2] = { { -0.1, 1 }, { 0, 1.1 }, { 0.5, 0.5 },          { 0.6, 0.4 },
                                       { NAN, 1 },  { 0, NAN }, { INFINITY, INFINITY } };
    loci_fact fact[N_FACTS];
    size_t place[N_FACTS] = { 12345 };
    const loci_task_item item = grouped(fact), none = { 0 };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        loci_error err = { 0 };
        assert_int_equal(loci_task_place(&item, "abc", 3, wrong[i][0], wrong[i][1], 1, place, &err),
                         LOCI_EINVAL);
        assert_non_null(strstr(err.text, "depth"));
    }
    assert_int_equal(loci_task_place(NULL, "abc", 3, 0, 1, 1, place, NULL), LOCI_EINVAL);
    assert_int_equal(loci_task_place(&item, NULL, 3, 0, 1, 1, place, NULL), LOCI_EINVAL);
    assert_int_equal(loci_task_place(&item, "abc", 3, 0, 1, 1, NULL, NULL), LOCI_EINVAL);
    assert_int_equal(place[0], 12345);
    assert_int_equal(loci_task_place(&none, "abc", 3, 0, 1, 1, NULL, NULL), LOCI_OK);
}

/* Facts of a real item keep their order also after they were put in. */
static void test_real_items(void **state)
{
    (void)state;
    static char hay[20000];
    const size_t len = loci_task_filler(9, sizeof hay, hay, sizeof hay);
    for (int f = 0; f < LOCI_TASK_COUNT; f++) {
        loci_task_options o = loci_task_options_default();
        o.family = (loci_task_family)f;
        o.n_facts = 50;
        o.text = hay; /* what `extract` asks about */
        o.text_bytes = len;
        loci_task_item item;
        assert_int_equal(loci_task_make(&item, &o, NULL), LOCI_OK);
        size_t *place = calloc((size_t)item.n_facts, sizeof *place);
        assert_non_null(place);
        assert_int_equal(loci_task_place(&item, hay, len, 0, 1, 8, place, NULL), LOCI_OK);
        check_order(&item, place);
        free(place);
        loci_task_free(&item);
    }
}

/* ---- filler ------------------------------------------------------------------------ */

static void test_filler_keeps_to_its_room(void **state)
{
    (void)state;
    char out[3100];
    for (size_t cap = 0; cap < 3000; cap += 1 + cap / 40) {
        memset(out, 0x7f, sizeof out);
        const size_t n = loci_task_filler(cap, cap, out, cap);
        assert_true(n <= cap);
        assert_true(cap < 300 || n + 300 > cap);
        assert_true(n == 0 || out[n - 1] == '.');
        for (size_t i = n; i < sizeof out; i++) assert_int_equal(out[i], 0x7f);
        /* With room to spare it stops at the sentence that reaches the bytes. */
        const size_t more = loci_task_filler(cap, cap / 2, out, sizeof out);
        assert_true(more >= cap / 2 && more < cap / 2 + 300);
        assert_true(more == 0 || out[more - 1] == '.');
    }
    assert_int_equal(loci_task_filler(1, 100, NULL, 0), 0);
    assert_int_equal(loci_task_filler(1, 0, out, sizeof out), 0);
    assert_int_equal(loci_task_filler(1, SIZE_MAX, out, 500), loci_task_filler(1, 500, out, 500));
}

static void test_filler_says_no_fact(void **state)
{
    (void)state;
    static char a[200001], b[200001];
    const size_t n = loci_task_filler(5, sizeof a - 1, a, sizeof a - 1);
    a[n] = '\0';
    assert_int_equal(strlen(a), n);
    assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ,.\n"), n);
    for (int kind = 0; kind < LOCI_VALUE_PASSAGE; kind++)
        for (int s = 0; s < 2; s++)
            for (int i = 0; i < loci_attribute_count((loci_value_kind)kind, (loci_split)s); i++)
                assert_null(strstr(a, loci_attribute((loci_value_kind)kind, (loci_split)s, i)));
    /* A capital only begins a sentence: no names. */
    for (size_t i = 1; i < n; i++)
        if (a[i] >= 'A' && a[i] <= 'Z')
            assert_true(a[i - 1] == '\n' || (a[i - 1] == ' ' && a[i - 2] == '.'));
    assert_int_equal(loci_task_filler(5, sizeof b - 1, b, sizeof b - 1), n);
    assert_memory_equal(a, b, n);
    assert_true(loci_task_filler(6, sizeof b - 1, b, sizeof b - 1) != n || memcmp(a, b, n) != 0);
}

int main(void)
{
    print_message("seeds 0..49\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_depth),     cmocka_unit_test(test_spread),
        cmocka_unit_test(test_line_without_ends),   cmocka_unit_test(test_ends_just_outside),
        cmocka_unit_test(test_tiny_haystacks),      cmocka_unit_test(test_place_refuses),
        cmocka_unit_test(test_real_items),          cmocka_unit_test(test_filler_keeps_to_its_room),
        cmocka_unit_test(test_filler_says_no_fact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
