/* Goal: the documents below a path are found, in order, each once, under names that are text; what
 * is left out is told.  Method: small trees on disk. */
#include "engine/xs_test.h"
#include "engine/source.h"

static struct {
    int n;
    char path[32][600], reason[32][200];
} left_out;

static void note(void *ctx, const char *path, const char *reason)
{
    (void)ctx;
    assert_true(left_out.n < 32);
    snprintf(left_out.path[left_out.n], 600, "%s", path);
    snprintf(left_out.reason[left_out.n++], 200, "%s", reason);
}

static loci_ingest_options options(void)
{
    loci_ingest_options o = loci_ingest_options_default();
    o.skipped = note;
    left_out.n = 0;
    return o;
}

static const char *reason_for(const char *path)
{
    for (int i = 0; i < left_out.n; i++)
        if (strstr(left_out.path[i], path)) return left_out.reason[i];
    return "";
}

/* Names of what lies below `dir`, joined by '|'. */
static const char *names(const char *dir, const loci_ingest_options *o)
{
    static char line[4096];
    loci_error err;
    loci_sources s;
    OK(loci_sources_collect(&s, &dir, 1, o, &err));
    line[0] = '\0';
    int64_t bytes = 0;
    for (size_t i = 0; i < s.n; i++) {
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s", i ? "|" : "",
                 s.item[i].name);
        bytes += s.item[i].bytes;
    }
    assert_int_equal(bytes, s.bytes);
    assert_int_equal(s.skipped, left_out.n);
    loci_sources_free(&s);
    return line;
}

static void tree(const char *const *dirs, const char *const *files)
{
    for (; *dirs; dirs++) assert_int_equal(mkdir(at_root(*dirs), 0700), 0);
    for (; *files; files++) put(*files, "text\n");
}

static void test_name_order(void **state)
{
    (void)state;
    tree((const char *[]){ "o", "o/b", "o/.git", "o/empty", NULL },
         (const char *[]){ "o/c", "o/a", "o/b/2", "o/b/1", "o/.git/x", "o/.hidden", "o/B", NULL });
    const loci_ingest_options o = options();
    assert_string_equal(names(at_root("o"), &o), ".hidden|B|a|b/1|b/2|c");
    assert_string_equal(names(at_root("o/"), &o), ".hidden|B|a|b/1|b/2|c");
}

static void test_names_are_text(void **state)
{
    (void)state;
    tree((const char *[]){ "t", NULL }, (const char *[]){ "t/a\nb", "t/d\xc3\xa9", "t/x\xff\x80",
                                                          "t/y\xc3", "t/z\xed\xa0\x80", NULL });
    const loci_ingest_options o = options();
    assert_string_equal(names(at_root("t"), &o), "a\nb|d\xc3\xa9|x%FF%80|y%C3|z%ED%A0%80");
}

static void test_links_and_odd_files(void **state)
{
    (void)state;
    tree((const char *[]){ "l", "l/sub", NULL }, (const char *[]){ "l/file", "l/sub/x", NULL });
    assert_int_equal(symlink("..", at_root("l/sub/up")), 0);
    assert_int_equal(symlink("self", at_root("l/self")), 0);
    assert_int_equal(symlink("file", at_root("l/alias")), 0);
    assert_int_equal(symlink("/nowhere", at_root("l/dangling")), 0);
    assert_int_equal(mkfifo(at_root("l/pipe"), 0600), 0);
    const loci_ingest_options o = options();
    assert_string_equal(names(at_root("l"), &o), "file|sub/x");
    assert_int_equal(left_out.n, 5);
    assert_string_equal(reason_for("sub/up"), "symbolic link");
    assert_string_equal(reason_for("pipe"), "not a regular file");
    /* An argument itself may be a link. */
    const loci_ingest_options again = options();
    assert_string_equal(names(at_root("l/alias"), &again), "alias");
    assert_string_equal(names(at_root("l/sub/up"), &again), "file|sub/x");
}

static void test_unreadable_folder_is_told(void **state)
{
    (void)state;
    if (geteuid() == 0) skip(); /* root reads everything */
    tree((const char *[]){ "u", "u/closed", NULL }, (const char *[]){ "u/ok", NULL });
    assert_int_equal(chmod(at_root("u/closed"), 0), 0);
    const loci_ingest_options o = options();
    assert_string_equal(names(at_root("u"), &o), "ok");
    assert_string_equal(reason_for("closed"), "Permission denied");
    chmod(at_root("u/closed"), 0700);
}

static void test_depth_and_size_limits(void **state)
{
    (void)state;
    char path[TEMP_PATH + 600];
    snprintf(path, sizeof path, "%s/deep", root);
    for (int i = 0; i < 140; i++) {
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/d");
    }
    write_bytes(path, "x", 1);
    loci_ingest_options o = options();
    assert_string_equal(names(at_root("deep"), &o), "");
    assert_string_equal(reason_for("deep"), "folders nested too deep");
    tree((const char *[]){ "s", NULL }, (const char *[]){ "s/five", NULL });
    put("s/nine", "12345678\n");
    o = options();
    o.max_file_bytes = 5;
    assert_string_equal(names(at_root("s"), &o), "five");
    assert_non_null(strstr(reason_for("nine"), "limit"));
}

static void test_ignore_files_and_patterns_of_the_caller(void **state)
{
    (void)state;
    tree((const char *[]){ "g", "g/sub", "g/out", NULL },
         (const char *[]){ "g/a.o", "g/b.c", "g/sub/a.o", "g/sub/b.c", "g/sub/keep.o", "g/out/x",
                           NULL });
    put("g/.gitignore", "*.o\nout/\n.gitignore\n");
    put("g/sub/.gitignore", "!keep.o\n.gitignore\n");
    loci_ingest_options o = options();
    assert_string_equal(names(at_root("g"), &o), "b.c|sub/b.c|sub/keep.o");
    /* Their slash counts from the argument, with and without .gitignore files. */
    const char *const skip_sub[] = { "sub/*.c", "/b.c", NULL };
    o.skip_globs = skip_sub;
    assert_string_equal(names(at_root("g"), &o), "sub/keep.o");
    o.follow_gitignore = false;
    assert_string_equal(names(at_root("g"), &o),
                        ".gitignore|a.o|out/x|sub/.gitignore|sub/a.o|sub/keep.o");
}

static void test_same_names(void **state)
{
    (void)state;
    tree((const char *[]){ "n1", "n2", "n3", NULL },
         (const char *[]){ "n1/x", "n2/x", "n3/x", "n2/y", NULL });
    const char *paths[] = { at_root("n1"), at_root("n2"), at_root("n3"), at_root("n1/x") };
    loci_error err;
    loci_sources s;
    const loci_ingest_options o = options();
    OK(loci_sources_collect(&s, paths, 4, &o, &err));
    assert_int_equal(s.n, 2);
    assert_non_null(strstr(s.item[0].path, "n1/x"));
    assert_string_equal(s.item[1].name, "y");
    assert_int_equal(s.bytes, 10);
    assert_int_equal(left_out.n, 3);
    assert_non_null(strstr(reason_for("n3/x"), "same document name"));
    loci_sources_free(&s);
}

static void test_name_option(void **state)
{
    (void)state;
    tree((const char *[]){ "m", NULL }, (const char *[]){ "m/one", NULL });
    loci_error err = { 0 };
    loci_sources s;
    loci_ingest_options o = options();
    o.name = "chosen";
    assert_string_equal(names(at_root("m/one"), &o), "chosen");
    assert_string_equal(names("-", &o), "chosen");
    const char *two[] = { at_root("m/one"), "-" };
    assert_int_equal(loci_sources_collect(&s, two, 2, &o, &err), LOCI_EINVAL);
    assert_non_null(strstr(err.text, "name"));
    assert_int_equal(s.n, 0);
    o.name = NULL;
    assert_string_equal(names("-", &o), "stdin");
}

static void test_missing_path(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_sources s;
    const loci_ingest_options o = options();
    const char *paths[] = { at_root("no-such-thing") };
    assert_int_equal(loci_sources_collect(&s, paths, 1, &o, &err), LOCI_ENOTFOUND);
    assert_non_null(strstr(err.text, "no-such-thing"));
    assert_int_equal(s.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_order),
        cmocka_unit_test(test_names_are_text),
        cmocka_unit_test(test_links_and_odd_files),
        cmocka_unit_test(test_unreadable_folder_is_told),
        cmocka_unit_test(test_depth_and_size_limits),
        cmocka_unit_test(test_ignore_files_and_patterns_of_the_caller),
        cmocka_unit_test(test_same_names),
        cmocka_unit_test(test_name_option),
        cmocka_unit_test(test_missing_path),
    };
    root_make();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    temp_dir_remove(root);
    return failed;
}
