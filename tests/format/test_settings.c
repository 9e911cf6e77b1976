/* Goal: a setting gets in only with its right key, type and range; a wrong file changes nothing
 * and is named with key, expected and found; what is written is read back the same.
 * Method: one table with every type; each kind of wrong input beside the borders that are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "format/format.h"

typedef struct {
    int layers;
    int64_t step;
    float rate;
    bool tied;
    char name[8];
    int any;
    float wide;
} config;

#define AT(field) offsetof(config, field)
static const loci_setting table[] = {
    { "layers", LOCI_SET_INT, AT(layers), 1, 64, 0, true, "blocks" },
    { "step", LOCI_SET_I64, AT(step), 0, 9007199254740992.0, 0, false, "steps done" },
    { "rate", LOCI_SET_FLOAT, AT(rate), 0.0, 1.0, 0, false, "learning rate" },
    { "tied", LOCI_SET_BOOL, AT(tied), 0, 0, 0, false, "share the embedding" },
    { "name", LOCI_SET_STR, AT(name), 0, 0, 8, false, "what it is called" },
    { "any", LOCI_SET_INT, AT(any), -1e18, 1e18, 0, false, "range beyond int" },
    { "wide", LOCI_SET_FLOAT, AT(wide), -1e300, 1e300, 0, false, "range beyond float" },
};
enum { N = sizeof table / sizeof *table };

static const config start = { 3, 4, 0.5f, true, "old", 7, 1.0f };

static loci_status parse(const char *text, config *c, loci_error *err)
{
    memcpy(c, &start, sizeof start); /* the bytes between the fields too */
    return loci_settings_parse(text, "config.json", table, N, c, NULL, err);
}

static void test_all_types(void **state)
{
    config c;
    (void)state;
    assert_int_equal(parse("{\"layers\": 64, \"step\": 9007199254740992, \"rate\": 0.125,"
                           " \"tied\": false, \"name\": \"sevenb!\", \"any\": -2147483648,"
                           " \"wide\": -3.5}",
                           &c, NULL),
                     LOCI_OK);
    assert_int_equal(c.layers, 64);
    assert_true(c.step == 9007199254740992);
    assert_true(c.rate == 0.125f);
    assert_false(c.tied);
    assert_string_equal(c.name, "sevenb!");
    assert_int_equal(c.any, INT_MIN);
    assert_true(c.wide == -3.5f);
}

static void test_absent_stays_as_it_was(void **state)
{
    config c;
    (void)state;
    assert_int_equal(parse("{\"layers\": 1, \"rate\": 1}", &c, NULL), LOCI_OK);
    assert_int_equal(c.layers, 1);
    assert_true(c.rate == 1.0f); /* an integer is a number */
    assert_true(c.step == start.step && c.tied);
    assert_string_equal(c.name, "old");
}

static void test_wrong_files_change_nothing(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "{\"layers\": 5, \"layer\": 1}", "config.json: unknown key \"layer\"" },
        { "{\"layers\": 5, \"\": 1}", "unknown key \"\"" },
        { "{\"rate\": 0.1}", "layers: expected an integer, found nothing" },
        { "{\"layers\": 5.5}", "layers: expected an integer, found a number with a fraction" },
        { "{\"layers\": 5.0}", "layers: expected an integer, found a number with a fraction" },
        { "{\"layers\": \"5\"}", "layers: expected an integer, found a string" },
        { "{\"layers\": null}", "layers: expected an integer, found null" },
        { "{\"layers\": [5]}", "layers: expected an integer, found an array" },
        { "{\"layers\": 5, \"tied\": 1}", "tied: expected true or false, found an integer" },
        { "{\"layers\": 5, \"rate\": true}", "rate: expected a number, found true or false" },
        { "{\"layers\": 5, \"name\": {}}", "name: expected a string, found an object" },
        { "{\"layers\": 0}", "layers: expected 1 to 64, found 0" },
        { "{\"layers\": 65}", "layers: expected 1 to 64, found 65" },
        { "{\"layers\": 4294967301}", "layers: expected 1 to 64, found 4294967301" },
        { "{\"layers\": 5, \"any\": 2147483648}", "any: expected" },
        { "{\"layers\": 5, \"any\": -2147483649}", "any: expected" },
        { "{\"layers\": 5, \"step\": -1}", "step: expected 0 to 9007199254740992, found -1" },
        { "{\"layers\": 5, \"step\": 9007199254740994}", "step: expected 0 to" },
        { "{\"layers\": 5, \"rate\": 1.0000001}", "rate: expected 0 to 1, found 1.0000001" },
        { "{\"layers\": 5, \"rate\": -1e-300}", "rate: expected 0 to 1, found" },
        { "{\"layers\": 5, \"wide\": 1e39}", "wide: expected" },
        { "{\"layers\": 5, \"name\": \"eight ch\"}", "name: expected at most 7 bytes, found 8" },
        { "{\"layers\": 5, \"layers\": 6}", "line 1" },
        { "{\"layers\": 99999999999999999999999}", "line 1" },
        { "{\"layers\": 5, \"rate\": 1e999}", "line 1" },
        { "{\"layers\": 5, \"rate\": NaN}", "line 1" },
        { "{\"layers\": 5, \"name\": \"\\u0000\"}", "line 1" },
        { "{\"layers\": 5, \"name\": \"\xff\"}", "line 1" },
        { "{\"layers\": 5} x", "line 1" },
        { "{\n\"layers\": 5,}", "line 2" },
        { "", "line 1" },
        { "[]", "expected an object, found an array" },
        { "5", "line 1" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config c;
        loci_error err = { 0 };
        const loci_status st = parse(cases[i].text, &c, &err);
        if (st != LOCI_EFORMAT || !strstr(err.text, cases[i].says) ||
            strncmp(err.text, "config.json: ", 13) != 0)
            fail_msg("%s: status %d, \"%s\"", cases[i].text, st, err.text);
        assert_memory_equal(&c, &start, sizeof c);
    }
}

static void test_ignored_keys(void **state)
{
    static const char *const ignore[] = { "phases", "rate", NULL };
    config c = start;
    (void)state;
    assert_int_equal(loci_settings_parse("{\"phases\": [{}], \"rate\": \"no\", \"layers\": 2}", "x",
                                         table, N, &c, ignore, NULL),
                     LOCI_OK);
    assert_int_equal(c.layers, 2);
    assert_true(c.rate == start.rate);
    assert_int_equal(loci_settings_parse("{\"phase\": 1, \"layers\": 2}", "x", table, N, &c, ignore,
                                         NULL),
                     LOCI_EFORMAT);
}

/* Depth and size of hostile text: refused or read, without a crash. */
static void test_deep_and_large(void **state)
{
    enum { DEPTH = 200000, KEYS = 50000 };
    config c;
    loci_error err = { 0 };
    char *deep = malloc(DEPTH + 1), *large = malloc(KEYS * 16 + 16);
    (void)state;
    memset(deep, '[', DEPTH);
    deep[DEPTH] = '\0';
    assert_int_equal(parse(deep, &c, &err), LOCI_EFORMAT);
    for (int i = 0; i + 5 <= DEPTH; i += 5) memcpy(deep + i, "{\"a\":", 5);
    assert_int_equal(parse(deep, &c, NULL), LOCI_EFORMAT);
    size_t n = (size_t)sprintf(large, "{\"layers\":2");
    for (int i = 0; i < KEYS; i++) n += (size_t)sprintf(large + n, ",\"k%d\":0", i);
    strcpy(large + n, "}");
    assert_int_equal(parse(large, &c, NULL), LOCI_EFORMAT);
    assert_memory_equal(&c, &start, sizeof c);
    free(deep);
    free(large);
}

static loci_status set(const char *key, const char *value, config *c, loci_error *err)
{
    memcpy(c, &start, sizeof start); /* the bytes between the fields too */
    return loci_settings_set(key, value, "--set", table, N, c, err);
}

static void test_set(void **state)
{
    config c;
    (void)state;
    assert_int_equal(set("layers", "12", &c, NULL), LOCI_OK);
    assert_int_equal(c.layers, 12);
    assert_int_equal(set("step", "123456789012", &c, NULL), LOCI_OK);
    assert_true(c.step == 123456789012);
    assert_int_equal(set("rate", "3e-4", &c, NULL), LOCI_OK);
    assert_true(c.rate == 3e-4f);
    assert_int_equal(set("tied", "false", &c, NULL), LOCI_OK);
    assert_false(c.tied);
    assert_int_equal(set("name", "", &c, NULL), LOCI_OK);
    assert_string_equal(c.name, "");
    assert_int_equal(set("name", "\"12\" a", &c, NULL), LOCI_OK); /* text as it is, no quoting */
    assert_string_equal(c.name, "\"12\" a");
}

static void test_set_refuses(void **state)
{
    static const char *const cases[][2] = {
        { "layer", "1" },         { "layers", "" },       { "layers", "1x" },
        { "layers", "1 2" },      { "layers", "0x10" },   { "layers", "65" },
        { "layers", "1.5" },      { "layers", "true" },   { "layers", "\"3\"" },
        { "layers", "[1]" },      { "layers", "null" },   { "rate", "nan" },
        { "rate", "inf" },        { "rate", "0,5" },      { "rate", ".5" },
        { "rate", "1.1" },        { "tied", "1" },        { "tied", "TRUE" },
        { "tied", "yes" },        { "name", "12345678" }, { "name", "\xff\xfe" },
        { "any", "99999999999" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config c;
        loci_error err = { 0 };
        const loci_status st = set(cases[i][0], cases[i][1], &c, &err);
        if (st != LOCI_EINVAL || !strstr(err.text, cases[i][0]))
            fail_msg("%s=%s: status %d, \"%s\"", cases[i][0], cases[i][1], st, err.text);
        assert_memory_equal(&c, &start, sizeof c);
    }
}

static void test_dump(void **state)
{
    const config c = { 5, -7, 0.1f, false, "a\"\xc3\xa9", 0, 1e-7f };
    (void)state;
    char *text = loci_settings_dump(table, N, &c);
    assert_string_equal(text, "{\n  \"layers\": 5,\n  \"step\": -7,\n  \"rate\": 0.1,\n"
                              "  \"tied\": false,\n  \"name\": \"a\\\"\xc3\xa9\",\n"
                              "  \"any\": 0,\n  \"wide\": 1e-7\n}");
    free(text);
}

/* Every float comes back to the last bit: borders, and bit patterns from a fixed stream. */
static void test_dump_round_trip(void **state)
{
    loci_rng r;
    (void)state;
    print_message("seed 21\n");
    loci_rng_seed(&r, 21);
    for (int i = 0; i < 3000; i++) {
        const uint32_t bits = (uint32_t)loci_rng_u64(&r);
        config c = start, back;
        memcpy(&c.wide, &bits, sizeof bits);
        if (i == 0) c.wide = FLT_MAX;
        if (i == 1) c.wide = FLT_TRUE_MIN;
        if (i == 2) c.wide = -0.0f;
        if (!isfinite(c.wide)) continue;
        c.step = (int64_t)(loci_rng_u64(&r) >> 11);
        char *text = loci_settings_dump(table, N, &c);
        assert_non_null(text);
        assert_int_equal(parse(text, &back, NULL), LOCI_OK);
        assert_true(memcmp(&back.wide, &c.wide, sizeof c.wide) == 0 && back.step == c.step);
        free(text);
    }
}

static void test_dump_of_what_json_cannot_say(void **state)
{
    config c = start;
    (void)state;
    c.wide = NAN;
    assert_null(loci_settings_dump(table, N, &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_types),
        cmocka_unit_test(test_absent_stays_as_it_was),
        cmocka_unit_test(test_wrong_files_change_nothing),
        cmocka_unit_test(test_ignored_keys),
        cmocka_unit_test(test_deep_and_large),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_refuses),
        cmocka_unit_test(test_dump),
        cmocka_unit_test(test_dump_round_trip),
        cmocka_unit_test(test_dump_of_what_json_cannot_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
