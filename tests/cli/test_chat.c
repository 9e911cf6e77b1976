/* Goal: conversations become prompts and replies messages on the command line, and what is missing
 * or wrong is said in one line.
 * Method: a small tokenizer of the DeepSeek form, conversations written by hand, the command run
 * as a user would; a reply is appended to its conversation and rendered again. */
#include "run.h"

static char tokenizer[4096];

#define BAR       "\xef\xbd\x9c"
#define BOS       "<" BAR "begin\xe2\x96\x81of\xe2\x96\x81sentence" BAR ">"
#define EOS       "<" BAR "end\xe2\x96\x81of\xe2\x96\x81sentence" BAR ">"
#define USER      "<" BAR "User" BAR ">"
#define ASSISTANT "<" BAR "Assistant" BAR ">"

static const char question[] = "[{\"role\": \"user\", \"content\": \"low <think> 123\"}]";

static void expect_out(result r, const char *want)
{
    if (r.code != 0 || strcmp(r.out, want) != 0) print_message("%s%s\n", r.out, r.err);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, want);
    assert_int_equal(r.err_bytes, 0);
    free_result(&r);
}

static void prompts(void **state)
{
    (void)state;
    spill("chat.json", question, sizeof question - 1);
    expect_out(RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "chat.json"),
               BOS USER "low <think> 123" ASSISTANT "</think>");
    expect_out(RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--think", "high", "chat.json"),
               BOS USER "low <think> 123" ASSISTANT "<think>");
    /* The prompt's text, read with its tokens, has the prompt's ids but for what content spells. */
    result ids = RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--ids", "--content-tokens",
                     "chat.json");
    result text = RUN_WITH(question, "tokenizer", "prompt", "--tokenizer", tokenizer, "-");
    expect_out(RUN_WITH(text.out, "tokenizer", "encode", "--marked", "--tokenizer", tokenizer),
               ids.out);
    free_result(&ids);
    ids = RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--ids", "chat.json");
    expect_out(RUN_WITH(ids.out, "tokenizer", "decode", "--tokenizer", tokenizer),
               USER "low <think> 123" ASSISTANT "</think>"); /* BOS is special */
    free_result(&ids);
    free_result(&text);
    json_t *o = json_of(RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--think", "low",
                            "--json", "chat.json"));
    assert_string_equal(json_string_value(json_object_get(o, "opens")), "reasoning");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(o, "ids"), 0)), 0);
    json_decref(o);
}

static void texts(void **state)
{
    (void)state;
    static const char tools[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}], "
                                "\"tools\": [{\"name\": \"f\"}]}";
    static const char json[] =
        "{\"reasoning_effort\": {\"max\": \"All.\"}, \"tools\": \"T {tool_schemas}\"}";
    spill("tools.json", tools, sizeof tools - 1);
    spill("texts.json", json, sizeof json - 1);
    result r = RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "tools.json");
    assert_int_equal(r.code, 1);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, "tools: its text is the release's"));
    free_result(&r);
    expect_out(RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--think", "max",
                   "--chat-texts", "texts.json", "tools.json"),
               BOS "All.\n\nT {\"name\": \"f\"}" USER "q" ASSISTANT "<think>");
}

static void replies(void **state)
{
    (void)state;
    expect_out(RUN_WITH("why</think>low", "tokenizer", "reply", "--reasoning"),
               "{\"role\": \"assistant\", \"content\": \"low\", \"reasoning_content\": \"why\"}\n");
    result message =
        RUN_WITH("low\n\n<" BAR "DSML" BAR "tool_calls>\n<" BAR "DSML" BAR
                 "invoke name=\"f\">\n<" BAR "DSML" BAR
                 "parameter name=\"a\" string=\"false\">[1]</" BAR "DSML" BAR "parameter>\n</" BAR
                 "DSML" BAR "invoke>\n</" BAR "DSML" BAR "tool_calls>",
                 "tokenizer", "reply");
    assert_int_equal(message.code, 0);
    char chat[2048];
    snprintf(chat, sizeof chat, "[{\"role\": \"user\", \"content\": \"q\"}, %s]", message.out);
    result again = RUN_WITH(chat, "tokenizer", "prompt", "--tokenizer", tokenizer, "-");
    assert_int_equal(again.code, 0);
    assert_non_null(strstr(again.out, "string=\"false\">[1]</" BAR "DSML" BAR "parameter>"));
    free_result(&message);
    free_result(&again);
}

static void expect_failure(result r, int code, const char *part)
{
    if (r.code != code || !strstr(r.err, part)) print_message("%s%s\n", r.out, r.err);
    assert_int_equal(r.code, code);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, part));
    free_result(&r);
}

static void refusals(void **state)
{
    (void)state;
    spill("chat.json", question, sizeof question - 1);
    expect_failure(RUN("tokenizer", "prompt", "chat.json"), 2, "--tokenizer is missing");
    expect_failure(RUN("tokenizer", "prompt", "--tokenizer", tokenizer), 2, "usage");
    expect_failure(RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--think", "hard",
                       "chat.json"),
                   2, "expected chat, low, high or max");
    expect_failure(RUN("tokenizer", "prompt", "--tokenizer", tokenizer, "--chat-texts", "nowhere",
                       "chat.json"),
                   1, "nowhere");
    expect_failure(RUN_WITH("[]", "tokenizer", "prompt", "--tokenizer", tokenizer, "-"), 1,
                   "standard input: no messages");
    expect_failure(RUN_WITH("x\n\n<" BAR "DSML" BAR "tool_calls>y", "tokenizer", "reply"), 1,
                   "reply: byte 25: expected");
}

int main(void)
{
    char here[3000];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),
        cmocka_unit_test(texts),
        cmocka_unit_test(replies),
        cmocka_unit_test(refusals),
    };
    assert_non_null(getcwd(here, sizeof here));
    snprintf(tokenizer, sizeof tokenizer, "%s/tests/golden/chat/tokenizer.json", here);
    enter_scratch();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_scratch();
    return failed;
}
