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

/* Text to ask about: sentences, and lines of code. */
enum { PAGE = 16000 };
static const char *page(void)
{
    static char text[PAGE + 256];
    size_t n = 0;
    for (int i = 0; n < PAGE && (i == 0 || text[0]); i++) {
        n += loci_task_filler((uint64_t)i, 400, text + n, PAGE + 256 - n);
        if (n + 128 > PAGE) break;
        n += (size_t)sprintf(text + n,
                             "\n#define LIMIT_%d %d\nint part_%d(int left, long *right%d)\n{\n"
                             "Field %c%c: entry %d of the list\n",
                             i, 7 * i + 3, i, i, 'A' + i % 26, 'a' + i / 26, i);
    }
    memset(text + n, '.', PAGE - (n < PAGE ? n : PAGE));
    text[PAGE] = '\0';
    return text;
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
        { 0x12d1d77035c721beu, 0xb07729b4835087c2u }, { 0x6eeee095ccba5aa8u, 0xf5cbea75ab92124bu },
        { 0x3b501ed82d02bdf2u, 0x41a93984b601ac41u }, { 0xfe75ef6ca8350bb5u, 0x34da2e686698f3cfu },
        { 0xbcfcf809d48d6501u, 0xe7007ad3ad4e7a4du }, { 0x3d2ba242aab25027u, 0xaaa8eb180cf402d5u },
        { 0x037c8589932335a7u, 0xc9e8a8d2f6fdb44bu }, { 0xdc58d48d5037547fu, 0x6f33f90149ac1ca7u },
        { 0xf2dcecdb0081c22fu, 0xcc59507363d20c2au }, { 0xebd665e303ae949cu, 0x9b38bb2bca3084ceu },
        { 0x8dd8b875511469d9u, 0x4a173c8735e6b200u }, { 0x157eff5bcd287719u, 0x4dbca16c0995578fu },
        { 0xd3ff906f079f12eau, 0x92af0461df3c8012u }, { 0x6e55a4c35110bf74u, 0x7bfea3f7d6fd546fu },
        { 0x9403482a7a0ead78u, 0x15fc13f4c9c60b24u },
    };
    bool same = true;
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < 2; s++) {
            uint64_t h = 0xcbf29ce484222325u;
            for (uint64_t seed = 0; seed < 8; seed++) {
                loci_task_options o = options((loci_task_family)f, (loci_split)s, 1 + 7 * (int)seed,
                                              1 + (int)seed, seed);
                o.text = page();
                o.text_bytes = PAGE;
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

/* Plain wordings are what older models are measured with: facts and questions never change. */
static void test_golden_plain(void **state)
{
    (void)state;
    static const uint64_t want[2] = { 0xdeedc2b4b9d9fc1cu, 0x96681f90bef20337u };
    for (int f = 0; f < 2; f++) {
        uint64_t h = 0xcbf29ce484222325u;
        for (uint64_t seed = 0; seed < 8; seed++) {
            loci_task_options o = options(f ? LOCI_TASK_ABSENT : LOCI_TASK_NEEDLE, LOCI_SPLIT_TEST,
                                          1 + 7 * (int)seed, 1 + (int)seed, seed);
            o.wordings = LOCI_SPLIT_PLAIN;
            o.text = page();
            o.text_bytes = PAGE;
            loci_task_item item = make(&o);
            h = fold_item(h, &item);
            loci_task_free(&item);
        }
        if (h != want[f]) fail_msg("%d: 0x%016llxu", f, (unsigned long long)h);
    }
}

static void test_every_option_matters(void **state)
{
    (void)state;
    enum { N = 11 };
    loci_task_options base = options(LOCI_TASK_NEEDLE, LOCI_SPLIT_TRAIN, 16, 8, 5), o[N];
    for (int i = 0; i < N; i++) o[i] = base;
    o[1].seed++;
    o[2].family = LOCI_TASK_MULTIKEY;
    o[3].names = LOCI_SPLIT_TEST;
    o[4].wordings = LOCI_SPLIT_TEST;
    o[5].near_duplicate = 1;
    o[6].absent = 0.5f;
    o[7].theme = 9;
    o[8].text = page();
    o[8].text_bytes = PAGE;
    o[9].wordings = LOCI_SPLIT_PLAIN;
    o[10].wordings = LOCI_SPLIT_FRESH;
    uint64_t h[N];
    for (int i = 0; i < N; i++) {
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

/* A list or a way in steps has a part for each gold fact, which says it; of others the last gold fact
 * says all of it. */
static void check_answer(const loci_task_item *item, const loci_question *q, loci_task_family f)
{
    const bool parts = f == LOCI_TASK_MULTIVALUE || f == LOCI_TASK_MULTIQUERY ||
                       f == LOCI_TASK_VARIABLE || f == LOCI_TASK_QA2 || f == LOCI_TASK_QA3 ||
                       (f == LOCI_TASK_CONFLICT && strstr(q->answer, ", "));
    const char *part = q->answer;
    for (int j = parts ? 0 : q->n_gold - 1; j >= 0 && j < q->n_gold; j++) {
        char text[LOCI_LINE_MAX];
        const char *end = parts ? strstr(part, ", ") : NULL;
        const size_t n = end ? (size_t)(end - part) : strlen(part);
        assert_true(n < sizeof text);
        memcpy(text, part, n);
        text[n] = '\0';
        if (!holds(item->fact[q->gold[j]].text, text))
            fail_msg("%s: part %d of '%s' is not in '%s'", loci_task_name(f), j, q->answer,
                     item->fact[q->gold[j]].text);
        assert_true((end == NULL) == (j == q->n_gold - 1));
        part = end ? end + 2 : part + n;
    }
}

/* What holds for every family. */
static void check_item(const loci_task_item *item, const loci_task_options *o)
{
    const loci_task_family f = o->family;
    const bool prose = f == LOCI_TASK_NEEDLE || f == LOCI_TASK_MULTIKEY || f == LOCI_TASK_LATEST;
    const bool story = f >= LOCI_TASK_QA1, text = f == LOCI_TASK_EXTRACT;
    assert_true(text ? item->n_facts == 0 : item->n_facts >= o->n_facts);
    if (story || text)
        assert_in_range(item->n_questions, 1, o->n_questions);
    else
        assert_int_equal(item->n_questions, o->n_questions);
    for (int i = 0; i < item->n_facts; i++) {
        const char *s = item->fact[i].text;
        check_text(s, (size_t)item->fact[i].len);
        assert_null(strstr(s, "{a}"));
        /* Training has tables and code too. */
        const char last = s[item->fact[i].len - 1];
        if (f != LOCI_TASK_KV && o->wordings == LOCI_SPLIT_TEST) assert_true(last == '.');
        if (f != LOCI_TASK_KV && o->wordings == LOCI_SPLIT_FRESH)
            assert_true(last == '.' || (f == LOCI_TASK_VARIABLE && last == ';'));
        assert_false(loci_is_word_byte(last));
        if (prose) assert_in_range(n_words(s), o->wordings == LOCI_SPLIT_TRAIN ? 1 : 3, 60);
    }
    for (int i = 0; i < item->n_questions; i++) {
        const loci_question *q = &item->question[i];
        check_text(q->question, strlen(q->question));
        check_text(q->answer, strlen(q->answer));
        assert_null(strchr(".,;:!?", q->answer[strlen(q->answer) - 1]));
        if (o->wordings != LOCI_SPLIT_TRAIN)
            assert_non_null(strchr("?.!:", q->question[strlen(q->question) - 1]));
        if (f == LOCI_TASK_ABSENT) assert_true(q->absent);
        assert_int_equal(q->absent, strcmp(q->answer, "not stated") == 0);
        assert_int_equal(q->n_gold == 0, q->absent || text);
        if (text && !q->absent) {
            assert_int_equal(q->end - q->start, strlen(q->answer));
            assert_memory_equal(o->text + q->start, q->answer, q->end - q->start);
        }
        assert_in_range(q->n_gold, 0, 8);
        for (int j = 0; j < q->n_gold; j++) assert_in_range(q->gold[j], 0, item->n_facts - 1);
        check_answer(item, q, f);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(q->question, item->question[j].question);
    }
}

static void test_items_are_well_formed(void **state)
{
    (void)state;
    for (int f = 0; f < LOCI_TASK_COUNT; f++)
        for (int s = 0; s < 3; s++) /* the third: fresh wordings, names of the test half */
            for (uint64_t seed = 0; seed < SEEDS; seed++) {
                const int n = 1 + (int)(seed * seed) % 60;
                loci_task_options o =
                    options((loci_task_family)f, s ? LOCI_SPLIT_TEST : LOCI_SPLIT_TRAIN, n,
                            1 + n / 2, seed);
                if (s == 2) o.wordings = LOCI_SPLIT_FRESH;
                o.hops = 1 + (int)seed % 5;
                if (f == LOCI_TASK_EXTRACT || seed % 3 == 0) o.text = page(), o.text_bytes = PAGE;
                if (seed % 4 == 0) o.absent = 0.2f;
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
    REFUSE(names, LOCI_SPLIT_PLAIN, "split");
    REFUSE(names, LOCI_SPLIT_FRESH, "split");
    REFUSE(wordings, (loci_split)4, "split");
    REFUSE(wordings, (loci_split)-1, "split");
    REFUSE(n_facts, 0, "n_facts");
    REFUSE(n_facts, -5, "n_facts");
    REFUSE(n_facts, LOCI_TASK_MAX_FACTS + 1, "n_facts");
    REFUSE(n_questions, 0, "n_questions");
    REFUSE(n_questions, good.n_facts + 1, "n_questions");
    REFUSE(near_duplicate, -0.01f, "near_duplicate");
    REFUSE(near_duplicate, 1.01f, "near_duplicate");
    REFUSE(near_duplicate, NAN, "near_duplicate");
    REFUSE(absent, -0.1f, "absent");
    REFUSE(absent, 2, "absent");
    REFUSE(absent, NAN, "absent");
    REFUSE(family, LOCI_TASK_EXTRACT, "text");
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

/* A text that holds nothing to ask about. */
static void test_empty_text(void **state)
{
    (void)state;
    static const char *const text[] = { "", "x", "one line of few words", "\n\n\n\n", NULL };
    loci_task_options o = options(LOCI_TASK_EXTRACT, LOCI_SPLIT_TRAIN, 1, 3, 1);
    for (int i = 0; text[i]; i++) {
        loci_task_item item;
        loci_error err = { 0 };
        o.text = text[i];
        o.text_bytes = strlen(text[i]);
        const loci_status st = loci_task_make(&item, &o, &err);
        assert_int_equal(st, o.text_bytes == 0 ? LOCI_EINVAL : LOCI_ENOTFOUND);
        assert_non_null(strstr(err.text, "text"));
        assert_null(item.question);
    }
}

/* Items of one theme have keys in common but for a part; others have not. */
static void test_themes(void **state)
{
    (void)state;
    static const char *const end = " of ";
    int same[2] = { 0 };
    for (int with = 0; with < 2; with++)
        for (uint64_t seed = 0; seed < 60; seed++) {
            loci_task_options o = options(LOCI_TASK_MULTIKEY, LOCI_SPLIT_TRAIN, 12, 12, seed);
            loci_task_options p =
                options(LOCI_TASK_MULTIKEY, LOCI_SPLIT_TRAIN, 12, 12, seed + 1000);
            o.theme = p.theme = with ? 1 + seed : 0;
            loci_task_item a = make(&o), b = make(&p);
            bool found = false;
            for (int i = 0; i < a.n_questions; i++) {
                char stem[64] = "";
                const char *key = strstr(a.question[i].question, "the "), *to;
                while (key && (to = strstr(key + 4, "the ")) && to < strstr(key, end)) key = to;
                to = key ? strstr(key, end) : NULL;
                if (!to || to - key > 60 || to - key < 12) continue;
                memcpy(stem, key, (size_t)(to - key));
                for (int j = 0; j < b.n_questions; j++)
                    found = found || strstr(b.question[j].question, stem) != NULL;
            }
            same[with] += found;
            loci_task_free(&a);
            loci_task_free(&b);
        }
    assert_true(same[1] > 25 && same[0] < same[1] / 2);
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
                o.absent = 0.5f;
                o.text = page();
                o.text_bytes = PAGE;
                loci_task_item item = make(&o);
                const bool text = f == LOCI_TASK_EXTRACT, story = f >= LOCI_TASK_QA1;
                if (!text) assert_in_range(item.n_facts, n, 6 * n);
                if (text || story)
                    assert_in_range(item.n_questions, 1, n);
                else
                    assert_int_equal(item.n_questions, n);
                loci_task_free(&item);
            }
}

int main(void)
{
    print_message("seeds 0..%d\n", SEEDS - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_plain),
        cmocka_unit_test(test_every_option_matters),
        cmocka_unit_test(test_items_are_well_formed),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_empty_text),
        cmocka_unit_test(test_themes),
        cmocka_unit_test(test_null_and_names),
        cmocka_unit_test(test_extreme_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
