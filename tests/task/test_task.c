/* Goal: items of every family are well formed, the same on every machine, and wrong options
 * are refused.  Method: every family, split and many sizes; golden hashes of the bytes; each
 * option out of its range. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "items.h"

static uint64_t fold(uint64_t h, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return h;
}

static uint64_t fold_int(uint64_t h, int x)
{
    const unsigned char b[4] = { (unsigned char)x, (unsigned char)(x >> 8),
                                 (unsigned char)(x >> 16), (unsigned char)(x >> 24) };
    return fold(h, b, sizeof b);
}

/* FNV-1a over everything an item says, strings with their NUL. */
static uint64_t fold_item(uint64_t h, const loci_task_item *item)
{
    for (int i = 0; i < item->n_facts; i++) {
        h = fold(h, item->fact[i].text, strlen(item->fact[i].text) + 1);
        h = fold_int(h, item->fact[i].group);
    }
    for (int i = 0; i < item->n_questions; i++) {
        const loci_question *q = &item->question[i];
        h = fold(h, q->question, strlen(q->question) + 1);
        h = fold(h, q->answer, strlen(q->answer) + 1);
        for (int j = 0; j < q->n_gold; j++) h = fold_int(h, q->gold[j]);
    }
    return h;
}

/* ---- the same bytes ------------------------------------------------------------------ */

static void test_golden(void **state)
{
    (void)state;
    static const uint64_t want[LOCI_TASK_COUNT][2] = {
        { 0xe7f5e3e8e723f911u, 0x4c6b2c92b86b8725u }, { 0x7c2551501e6f098au, 0xe1ae9e3d9584c8deu },
        { 0xb2d4a79a042aeaa2u, 0xb80946437d606ab5u }, { 0x9710c35bbceb365fu, 0xbc2b80106d85d1c2u },
        { 0x67acd4f4d3dff541u, 0x38e00111efc9b564u }, { 0xbc3a37b821ee7ea2u, 0x44015b98dd027cedu },
        { 0x03e78d280f0f353bu, 0x99649f8f31ea270bu }, { 0xde8845bbbd938df8u, 0x52aceb848a66eca8u },
    };
    bool same = true;
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < 2; s++) {
            uint64_t h = 0xcbf29ce484222325u;
            for (uint64_t seed = 0; seed < 8; seed++) {
                loci_task_options o = options((loci_task_family)f, (loci_split)s, 1 + 7 * (int)seed,
                                              1 + (int)seed, seed);
                loci_task_item a = make(&o), b = make(&o);
                assert_true(fold_item(1, &a) == fold_item(1, &b));
                h = fold_item(h, &a);
                loci_task_free(&a);
                loci_task_free(&b);
            }
            if (h != want[f][s]) {
                print_error("%s split %d: 0x%016llxu\n", loci_task_name((loci_task_family)f), s,
                            (unsigned long long)h);
                same = false;
            }
        }
    assert_true(same);
}

static void test_every_option_matters(void **state)
{
    (void)state;
    loci_task_options base = options(LOCI_TASK_NEEDLE, LOCI_SPLIT_TRAIN, 16, 8, 5), o[6];
    for (int i = 0; i < 6; i++) o[i] = base;
    o[1].seed++;
    o[2].family = LOCI_TASK_MULTIKEY;
    o[3].names = LOCI_SPLIT_TEST;
    o[4].wordings = LOCI_SPLIT_TEST;
    o[5].near_duplicate = 1;
    uint64_t h[6];
    for (int i = 0; i < 6; i++) {
        loci_task_item item = make(&o[i]);
        h[i] = fold_item(1, &item);
        loci_task_free(&item);
        for (int j = 0; j < i; j++) assert_true(h[i] != h[j]);
    }
}

/* ---- reading facts back ---------------------------------------------------------------- */

static int n_words(const char *s)
{
    int n = 0;
    for (bool in = false; *s; s++) {
        if (*s != ' ' && !in) n++;
        in = *s != ' ';
    }
    return n;
}

static void check_text(const char *s, size_t len)
{
    assert_int_equal(strlen(s), len);
    assert_in_range(len, 1, LOCI_LINE_MAX - 1);
    assert_null(strpbrk(s, "\n\t"));
    assert_null(strstr(s, "  "));
    assert_true(s[0] != ' ' && s[len - 1] != ' ');
}

/* What holds for every family. */
static void check_item(const loci_task_item *item, const loci_task_options *o)
{
    const bool prose =
        o->family != LOCI_TASK_KV && o->family != LOCI_TASK_VARIABLE && o->family != LOCI_TASK_COPY;
    assert_true(item->n_facts >= o->n_facts);
    assert_int_equal(item->n_questions, o->n_questions);
    for (int i = 0; i < item->n_facts; i++) {
        const char *s = item->fact[i].text;
        check_text(s, (size_t)item->fact[i].len);
        assert_null(strstr(s, "{a}"));
        if (o->family != LOCI_TASK_KV) {
            assert_true(s[0] >= 'A' && s[0] <= 'Z');
            assert_true(s[item->fact[i].len - 1] == '.');
        }
        if (prose) assert_in_range(n_words(s), 6, 32);
    }
    for (int i = 0; i < item->n_questions; i++) {
        const loci_question *q = &item->question[i];
        check_text(q->question, strlen(q->question));
        check_text(q->answer, strlen(q->answer));
        assert_null(strchr(".,;:!?", q->answer[strlen(q->answer) - 1]));
        assert_true(q->question[0] >= 'A' && q->question[0] <= 'Z');
        assert_non_null(strchr("?.", q->question[strlen(q->question) - 1]));
        assert_int_equal(q->absent, o->family == LOCI_TASK_ABSENT);
        assert_int_equal(q->n_gold == 0, q->absent);
        assert_in_range(q->n_gold, 0, 8);
        for (int j = 0; j < q->n_gold; j++) assert_in_range(q->gold[j], 0, item->n_facts - 1);
        /* The last gold fact carries the answer, or its last part. */
        const char *part = strrchr(q->answer, ' ');
        if (q->n_gold > 0)
            assert_true(holds(item->fact[q->gold[q->n_gold - 1]].text,
                              o->family == LOCI_TASK_MULTIVALUE && part ? part + 1 : q->answer));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(q->question, item->question[j].question);
    }
}

static void test_items_are_well_formed(void **state)
{
    (void)state;
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < 2; s++)
            for (uint64_t seed = 0; seed < SEEDS; seed++) {
                const int n = 1 + (int)(seed * seed) % 60;
                loci_task_options o =
                    options((loci_task_family)f, (loci_split)s, n, 1 + n / 2, seed);
                o.hops = 1 + (int)seed % 5;
                loci_task_item item = make(&o);
                check_item(&item, &o);
                loci_task_free(&item);
            }
}

/* ---- the invalid side ------------------------------------------------------------------------- */

static void refuse(loci_task_options o, const char *what)
{
    loci_task_item item;
    memset(&item, 0x55, sizeof item);
    loci_error err = { 0 };
    assert_int_equal(loci_task_make(&item, &o, &err), LOCI_EINVAL);
    assert_int_equal(err.code, LOCI_EINVAL);
    if (!strstr(err.text, what)) fail_msg("'%s' does not name '%s'", err.text, what);
    assert_null(item.fact);
    assert_null(item.question);
    assert_null(item.pool);
    assert_int_equal(item.n_facts, 0);
    loci_task_free(&item);
    assert_int_equal(loci_task_make(&item, &o, NULL), LOCI_EINVAL);
}

static void test_wrong_options(void **state)
{
    (void)state;
    const loci_task_options good = loci_task_options_default();
    loci_task_options o = good;
#define REFUSE(field, value, what) (o = good, o.field = (value), refuse(o, what))
    REFUSE(family, (loci_task_family)LOCI_TASK_COUNT, "family");
    REFUSE(family, (loci_task_family)-1, "family");
    REFUSE(names, (loci_split)2, "split");
    REFUSE(wordings, (loci_split)-1, "split");
    REFUSE(n_facts, 0, "n_facts");
    REFUSE(n_facts, -5, "n_facts");
    REFUSE(n_facts, LOCI_TASK_MAX_FACTS + 1, "n_facts");
    REFUSE(n_questions, 0, "n_questions");
    REFUSE(n_questions, good.n_facts + 1, "n_questions");
    REFUSE(near_duplicate, -0.01f, "near_duplicate");
    REFUSE(near_duplicate, 1.01f, "near_duplicate");
    REFUSE(near_duplicate, NAN, "near_duplicate");
#undef REFUSE
    o = good;
    o.family = LOCI_TASK_VARIABLE;
    for (int hops = -1; hops <= 7; hops++) {
        o.hops = hops;
        if (hops < 1 || hops > 5) refuse(o, "hops");
    }
    /* What a family does not use is not checked. */
    o = good;
    o.hops = -3;
    loci_task_item item = make(&o);
    loci_task_free(&item);
    o.family = LOCI_TASK_KV;
    o.near_duplicate = NAN;
    item = make(&o);
    loci_task_free(&item);
}

static void test_null_and_names(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_task_options o = loci_task_options_default();
    loci_task_item item = { 0 };
    assert_int_equal(loci_task_make(NULL, &o, NULL), LOCI_EINVAL);
    assert_int_equal(loci_task_make(&item, NULL, NULL), LOCI_EINVAL);
    assert_null(item.fact);
    loci_task_free(NULL);
    loci_task_free(&item);
    item = make(&o);
    loci_task_free(&item);
    loci_task_free(&item); /* twice is fine */

    for (int i = 0; i < LOCI_TASK_COUNT; i++) {
        loci_task_family f = LOCI_TASK_COUNT;
        assert_int_equal(loci_task_by_name(loci_task_name((loci_task_family)i), &f, NULL), LOCI_OK);
        assert_int_equal(f, i);
    }
    assert_string_equal(loci_task_name((loci_task_family)99), "unknown");
    loci_task_family f = LOCI_TASK_KV;
    assert_int_equal(loci_task_by_name("Needle", &f, &err), LOCI_EINVAL);
    assert_int_equal(f, LOCI_TASK_KV);
    for (int i = 0; i < LOCI_TASK_COUNT; i++)
        assert_non_null(strstr(err.text, loci_task_name((loci_task_family)i)));
    assert_int_equal(loci_task_by_name("", &f, NULL), LOCI_EINVAL);
    assert_int_equal(loci_task_by_name(NULL, &f, NULL), LOCI_EINVAL);
    assert_int_equal(loci_task_by_name("kv", NULL, NULL), LOCI_EINVAL);
}

static void test_extreme_sizes(void **state)
{
    (void)state;
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < 2; s++)
            for (int n = 1; n <= LOCI_TASK_MAX_FACTS; n *= 4096) {
                loci_task_options o = options((loci_task_family)f, (loci_split)s, n, n, 3);
                o.hops = 5;
                o.near_duplicate = 1;
                loci_task_item item = make(&o);
                assert_in_range(item.n_facts, n, 6 * n);
                assert_int_equal(item.n_questions, n);
                loci_task_free(&item);
            }
}

int main(void)
{
    print_message("seeds 0..%d\n", SEEDS - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_every_option_matters),
        cmocka_unit_test(test_items_are_well_formed),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_null_and_names),
        cmocka_unit_test(test_extreme_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
