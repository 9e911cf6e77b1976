/* Goal: patterns mean what gitignore(5) says they mean.  Method: a table of list, entry and verdict;
 * entries of deeper folders through lists that are linked as a walk links them; patterns made to
 * be slow, with a bound on the time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "engine/source.h"

/* Is `path` (parts apart by '/', a folder if it ends in '/') left out by patterns at its top?  A
 * folder that is left out hides all below it, as in a walk. */
static bool hidden(const char *patterns, const char *path)
{
    char part[4096];
    loci_ignore *list[64];
    int n = 0;
    bool out = false;
    list[n] = loci_ignore_parse(NULL, "", patterns);
    assert_non_null(list[n++]);
    while (*path && !out) {
        const size_t len = strcspn(path, "/");
        assert_true(len < sizeof part);
        memcpy(part, path, len);
        part[len] = '\0';
        out = loci_ignored(list[n - 1], part, path[len] == '/');
        path += len + (path[len] == '/');
        list[n] = loci_ignore_parse(list[n - 1], part, "");
        assert_non_null(list[n++]);
    }
    while (n > 0) loci_ignore_free(list[--n]);
    return out;
}

static const struct {
    const char *patterns, *path;
    bool hidden;
} rules[] = {
    /* names at any depth, blank lines, comments, line ends */
    { "foo", "foo", true },
    { "foo", "a/b/foo", true },
    { "foo", "food", false },
    { "foo", "xfoo", false },
    { "\n\n#foo\nbar\n", "#foo", false },
    { "\n\n#foo\nbar\n", "bar", true },
    { "foo\r\nbar\r\n", "foo", true },
    { "foo", "foo/", true },
    { "foo", "foo/inside", true },
    { "", "foo", false },
    { "\n", "foo", false },
    /* blanks at the end do not count, unless escaped */
    { "foo   ", "foo", true },
    { "foo\\ ", "foo", false },
    { "foo\\ ", "foo ", true },
    { "foo\\  ", "foo ", true },
    { " foo", "foo", false },
    { " foo", " foo", true },
    /* anchors */
    { "/foo", "foo", true },
    { "/foo", "a/foo", false },
    { "a/foo", "a/foo", true },
    { "a/foo", "b/a/foo", false },
    { "/a/foo", "a/foo", true },
    { "a/*", "a/x", true },
    { "a/*.c", "a/b/x.c", false },
    /* folders only */
    { "foo/", "foo", false },
    { "foo/", "foo/", true },
    { "foo/", "a/foo/", true },
    { "foo/", "a/foo/x", true },
    { "a/foo/", "b/a/foo/", false },
    { "/", "foo", false },
    /* one star, question mark */
    { "*.o", "a.o", true },
    { "*.o", "d/a.o", true },
    { "*.o", "a.oo", false },
    { "*", "anything", true },
    { "a*c", "abc", true },
    { "a*c", "ac", true },
    { "a*c", "ab", false },
    { "a?c", "abc", true },
    { "a?c", "ac", false },
    { "a/?", "a/b", true },
    { "x?y", "x/y", false },
    { "/x*y", "x/y", false },
    /* two stars */
    { "**/foo", "foo", true },
    { "**/foo", "a/b/foo", true },
    { "**/foo", "xfoo", false },
    { "**/a/foo", "z/a/foo", true },
    { "**/a/foo", "a/b/foo", false },
    { "abc/**", "abc/x", true },
    { "abc/**", "abc/d/x", true },
    { "abc/**", "abc/", false },
    { "abc/**", "z/abc/x", false },
    { "a/**/b", "a/b", true },
    { "a/**/b", "a/x/y/b", true },
    { "a/**/b", "a/xb", false },
    { "a/**/b", "ab", false },
    { "**", "a/b", true },
    { "/a**b", "a/b", false }, /* two stars inside a part are one */
    { "/a**b", "axxb", true },
    { "x/a***", "x/abc", true },
    /* taking back */
    { "*.o\n!a.o", "a.o", false },
    { "*.o\n!a.o", "b.o", true },
    { "!a.o\n*.o", "a.o", true }, /* the last one decides */
    { "foo/\n!foo/x", "foo/x", true },
    { "foo/*\n!foo/x", "foo/x", false },
    { "!", "!", false },
    { "\\!foo", "!foo", true },
    { "!foo", "!foo", false },
    { "\\#foo", "#foo", true },
    /* classes */
    { "[abc].c", "b.c", true },
    { "[abc].c", "d.c", false },
    { "[a-f]x", "ex", true },
    { "[a-f]x", "gx", false },
    { "[!a-f]x", "gx", true },
    { "[!a-f]x", "ax", false },
    { "[^a]x", "ax", false },
    { "[]x]y", "]y", true },
    { "[!]]y", "]y", false },
    { "[a-]y", "-y", true },
    { "[\\]]y", "]y", true },
    { "[\\-a]y", "-y", true },
    { "[", "[", false },
    { "[abc", "a", false },
    { "x[/]y", "x/y", false },
    /* escapes */
    { "a\\*", "a*", true },
    { "a\\*", "ab", false },
    { "a\\?", "a?", true },
    { "a\\[b]", "a[b]", true },
    { "\\*\\*", "xx", false },
    /* bytes that are not ASCII */
    { "d\xc3\xa9j\xc3\xa0*", "d\xc3\xa9j\xc3\xa0-vu", true },
    { "[\xe0-\xff]x", "\xf0x", true },
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (hidden(rules[i].patterns, rules[i].path) != rules[i].hidden)
            fail_msg("\"%s\" on %s: expected %s", rules[i].patterns, rules[i].path,
                     rules[i].hidden ? "hidden" : "shown");
}

static void test_nearest_folder_has_the_last_word(void **state)
{
    (void)state;
    loci_ignore *top = loci_ignore_parse(NULL, "", "*.log\nsub/only-top\n/anchored\n");
    loci_ignore *sub = loci_ignore_parse(top, "sub", "!keep.log\n/here\n");
    loci_ignore *deep = loci_ignore_parse(sub, "deep", "keep.log\n");
    assert_non_null(deep);
    assert_true(loci_ignored(top, "keep.log", false));
    assert_false(loci_ignored(sub, "keep.log", false));
    assert_true(loci_ignored(deep, "keep.log", false));
    assert_true(loci_ignored(deep, "other.log", false));
    assert_true(loci_ignored(sub, "only-top", false));
    assert_false(loci_ignored(deep, "only-top", false));
    assert_false(loci_ignored(sub, "anchored", false));
    assert_true(loci_ignored(sub, "here", false));
    assert_false(loci_ignored(deep, "here", false));
    loci_ignore_free(deep);
    loci_ignore_free(sub);
    loci_ignore_free(top);
}

/* `unit` n times. */
static char *repeat(const char *unit, size_t n, const char *end)
{
    const size_t len = strlen(unit);
    char *s = malloc(n * len + strlen(end) + 1);
    assert_non_null(s);
    for (size_t i = 0; i < n; i++) memcpy(s + i * len, unit, len);
    strcpy(s + n * len, end);
    return s;
}

static void test_hostile_patterns_are_bounded(void **state)
{
    (void)state;
    static const char *const unit[] = { "*",      "*a", "**/", "**/*a", "?*", "a*/",
                                        "[a-z]*", "\\", "[",   "!",     "/",  "\\*" };
    char *name = repeat("a", 250, "");
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        static const size_t counts[] = { 20, 300, 1500, 200000 };
        for (int c = 0; c < 4; c++) {
            char *p = repeat(unit[i], counts[c], "b");
            loci_ignore *g = loci_ignore_parse(NULL, "", p);
            assert_non_null(g);
            const double begin = loci_seconds();
            assert_false(loci_ignored(g, name, false));
            if (loci_seconds() - begin > 2.0)
                fail_msg("%s x %zu took %g s", unit[i], counts[c], loci_seconds() - begin);
            loci_ignore_free(g);
            free(p);
        }
    }
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_nearest_folder_has_the_last_word),
        cmocka_unit_test(test_hostile_patterns_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
