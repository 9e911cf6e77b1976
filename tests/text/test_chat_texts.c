/* Goal: the texts of a release are read from its Python module or from JSON as they are written
 * there, without running anything, and a folder without them is an empty set.
 * Method: modules in every form that Python allows for a literal, and those that are no
 * literal; files cut at every byte; folders with one file or another. */
#include "text_fixture.h"
#include <sys/stat.h>
#include "text/chat_impl.h"

static loci_chat_texts read_module(const char *source)
{
    loci_error err = { 0 };
    loci_chat_texts t = { 0 };
    MUST(loci_python_texts(&t, source, strlen(source), "module.py", &err));
    return t;
}

static void free_texts(loci_chat_texts *t)
{
    for (int i = 0; i < LOCI_CHAT_EFFORTS; i++) free(t->effort[i]);
    free(t->tools);
    free(t->response_format);
}

static const struct {
    const char *source, *tools; /* NULL: unknown */
} modules[] = {
    { "TOOLS_TEMPLATE = 'a'\n", "a" },
    { "TOOLS_TEMPLATE = \"a\"", "a" },
    { "TOOLS_TEMPLATE: str = 'a'\n", "a" },
    { "TOOLS_TEMPLATE: Dict[str, str] = 'a'\n", "a" },
    { "tools_system_template='a'  # why\n", "a" },
    { "TOOLS_TEMPLATE = ('a'\n    \"b\" # c\n  '''d\ne''')\n", "abd\ne" },
    { "TOOLS_TEMPLATE = 'a' \\\n 'b'\n", "ab" },
    { "TOOLS_TEMPLATE = ((('a')))\n", "a" },
    { "TOOLS_TEMPLATE = \"\"\"one\ntwo \"quoted\" \\\nthree\"\"\"\n", "one\ntwo \"quoted\" three" },
    { "TOOLS_TEMPLATE = r'a\\n\\''\n", "a\\n\\'" },
    { "TOOLS_TEMPLATE = u'\\t\\x41\\u00e9\\U0001F600\\101\\0411\\\\\\''\n",
      "\tA\xc3\xa9\xf0\x9f\x98\x80"
      "A!1\\'" },
    { "TOOLS_TEMPLATE = 'a'\r\n", "a" },
    { "TOOLS_TEMPLATE = '''a\r\nb'''\n", "a\nb" },
    { "TOOLS_TEMPLATE = ''\n", "" },
    { "'''doc\nTOOLS_TEMPLATE = \"no\"\n'''\nTOOLS_TEMPLATE = 'a'\n", "a" },
    { "# TOOLS_TEMPLATE = 'no'\nTOOLS_TEMPLATE = 'a' # '\nx = 1\n", "a" },
    { "TOOLS_TEMPLATE = 'a'\nTOOLS_TEMPLATE = 'b'\n", "b" },
    { "x = f(TOOLS_TEMPLATE='no')\n", NULL },
    { "f(\nTOOLS_TEMPLATE = 'no'\n)\n", NULL },
    { "def f():\n    TOOLS_TEMPLATE = 'no'\n", NULL },
    { "TOOLS_TEMPLATE = f'a{b}'\n", NULL },
    { "TOOLS_TEMPLATE = b'a'\n", NULL },
    { "TOOLS_TEMPLATE = 'a' + B\n", NULL },
    { "TOOLS_TEMPLATE = 'a'.strip()\n", NULL },
    { "TOOLS_TEMPLATE = ('a', 'b')\n", NULL },
    { "TOOLS_TEMPLATE = ('a' + 'b')\n", NULL },
    { "TOOLS_TEMPLATE = 'a\\N{DASH}'\n", NULL },
    { "TOOLS_TEMPLATE = 'a\\x4'\n", NULL },
    { "TOOLS_TEMPLATE = 'a\\ud800'\n", NULL },
    { "TOOLS_TEMPLATE = 'a\\x00b'\n", NULL }, /* no text of a prompt holds a zero byte */
    { "TOOLS_TEMPLATE == 'a'\n", NULL },
    { "TOOLS_TEMPLATE += 'a'\n", NULL },
    { "TOOLS_TEMPLATE\n= 'a'\n", NULL },
    { "MY_TOOLS_TEMPLATE = 'a'\n", NULL },
    { "", NULL },
};

static void test_python_literals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        loci_chat_texts t = read_module(modules[i].source);
        const char *want = modules[i].tools;
        if ((want == NULL) != (t.tools == NULL) || (want != NULL && strcmp(want, t.tools) != 0))
            fail_msg("%s\ngives %s, expected %s", modules[i].source, t.tools ? t.tools : "nothing",
                     want ? want : "nothing");
        free_texts(&t);
    }
}

/* As the two releases write them, with other words. */
static void test_python_releases(void **state)
{
    (void)state;
    loci_chat_texts t =
        read_module("import re\n"
                    "REASONING_EFFORT_MAX = (\n    \"Most.\\n\"\n    \"More.\\n\\n\"\n)\n"
                    "response_format_template: str = \"F:\\n{schema}\"\n"
                    "TOOLS_TEMPLATE = \"\"\"T\n{tool_schemas}\n\"\"\"\n");
    assert_null(t.effort[0]);
    assert_null(t.effort[1]);
    assert_string_equal(t.effort[2], "Most.\nMore.\n\n");
    assert_string_equal(t.response_format, "F:\n{schema}");
    assert_string_equal(t.tools, "T\n{tool_schemas}\n");
    free_texts(&t);
    t = read_module("REASONING_EFFORT_PROMPTS: Dict[str, str] = {\n    \"low\": \"\",\n"
                    "    \"high\": (\n        \"High.\"\n        \"\\n\"\n    ),\n"
                    "    'max': 'Max \xe2\x80\x94 all', \"other\": 'x',\n}\nX = {}\n");
    assert_string_equal(t.effort[0], "");
    assert_string_equal(t.effort[1], "High.\n");
    assert_string_equal(t.effort[2], "Max \xe2\x80\x94 all");
    free_texts(&t);
    static const char *const broken[] = {
        "REASONING_EFFORT_PROMPTS = {\"low\": \"\", \"high\": X}\n",
        "REASONING_EFFORT_PROMPTS = {\"low\": \"a\", **OTHER}\n",
        "REASONING_EFFORT_PROMPTS = {\"low\": \"a\"}.copy()\n",
        "REASONING_EFFORT_PROMPTS = {\"low\": \"a\"",
        "REASONING_EFFORT_PROMPTS = dict(low='a')\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        t = read_module(broken[i]);
        for (int k = 0; k < LOCI_CHAT_EFFORTS; k++) assert_null(t.effort[k]);
        free_texts(&t);
    }
}

static void test_python_cut_anywhere(void **state)
{
    (void)state;
    static const char source[] =
        "A = r'''x\\'''\nREASONING_EFFORT_PROMPTS = {'low': (\"\\u00e9\" 'b'), "
        "'max': 'c'}\nTOOLS_TEMPLATE: str = (\"a\\\n\" '''b\n''')\n# end\n";
    for (size_t cut = 0; cut < sizeof source; cut++) {
        char *copy = malloc(cut + 1); /* its own block: a read beyond it is seen by the sanitizer */
        memcpy(copy, source, cut);
        loci_error err = { 0 };
        loci_chat_texts t = { 0 };
        const loci_status st = loci_python_texts(&t, copy, cut, "module.py", &err);
        if (st != LOCI_OK) {
            assert_int_equal(st, LOCI_EFORMAT);
            assert_non_null(strstr(err.text, "a string does not end"));
            assert_null(t.tools);
        }
        free_texts(&t);
        free(copy);
    }
}

/* ---- files and folders ------------------------------------------------------------------------ */

static char dir[64];

static void write_file(const char *name, const char *text)
{
    loci_error err = { 0 };
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    MUST(loci_file_replace(NULL, path, text, strlen(text), &err));
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/loci-test-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const name[] = { "config.json", "chat_texts.json",
                                        "encoding/encoding_dsv4.py", "texts.json", "encoding" };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, name[i]);
        if (remove(path) != 0) continue;
    }
    return rmdir(dir);
}

static void expect_folder(const char *high, const char *max, const char *tools)
{
    loci_error err = { 0 };
    loci_chat_texts *t = NULL;
    MUST(loci_chat_texts_open(&t, dir, &err));
    const char *want[] = { high, max, tools };
    const char *got[] = { t->effort[1], t->effort[2], t->tools };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(want[i] == NULL, got[i] == NULL);
        if (want[i] != NULL) assert_string_equal(got[i], want[i]);
    }
    assert_string_equal(t->effort[0], "");
    loci_chat_texts_close(t);
}

static void test_folders(void **state)
{
    (void)state;
    char path[128];
    expect_folder("", NULL, NULL); /* empty */
    write_file("config.json", "{\"model_type\": \"deepseek_v4\"}");
    expect_folder("", NULL, NULL);
    write_file("config.json", "{\"model_type\": \"deepseek_v4\", \"dspark_block_size\": 5}");
    expect_folder(NULL, NULL, NULL); /* what high adds is not known */
    snprintf(path, sizeof path, "%s/encoding", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("encoding/encoding_dsv4.py", "REASONING_EFFORT_MAX = 'm'\nTOOLS_TEMPLATE = 't'\n");
    expect_folder(NULL, "m", "t");
    write_file("config.json", "{}");
    expect_folder("", "m", "t");
    write_file("chat_texts.json",
               "{\"reasoning_effort\": {\"high\": \"h\"}, \"tools\": \"other\"}");
    expect_folder("h", NULL, "other");
}

static void expect_refusal(const char *text, const char *named)
{
    loci_error err = { 0 };
    char path[128];
    loci_chat_texts *t = (loci_chat_texts *)&err;
    write_file("texts.json", text);
    snprintf(path, sizeof path, "%s/texts.json", dir);
    assert_int_equal(loci_chat_texts_open(&t, path, &err), LOCI_EFORMAT);
    if (strstr(err.text, named) == NULL || strstr(err.text, "texts.json") == NULL)
        fail_msg("expected a refusal naming \"%s\", got \"%s\"", named, err.text);
    assert_null(t);
}

static void test_refused_files(void **state)
{
    (void)state;
    expect_refusal("", "not JSON");
    expect_refusal("[]", "not an object");
    expect_refusal("{\"tools\": 7}", "\"tools\" is no text");
    expect_refusal("{\"tool\": \"x\"}", "unknown key \"tool\"");
    expect_refusal("{\"reasoning_effort\": \"x\"}", "reasoning_effort");
    expect_refusal("{\"reasoning_effort\": {\"hi\": \"x\"}}", "unknown key \"hi\"");
    expect_refusal("{\"reasoning_effort\": {\"high\": null}}", "\"high\" is no text");
    loci_error err = { 0 };
    loci_chat_texts *t = NULL;
    assert_int_equal(loci_chat_texts_open(&t, "/nowhere/texts.json", &err), LOCI_ENOTFOUND);
    assert_null(t);
    loci_chat_texts_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python_literals),
        cmocka_unit_test(test_python_releases),
        cmocka_unit_test(test_python_cut_anywhere),
        cmocka_unit_test_setup_teardown(test_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
