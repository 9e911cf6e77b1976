/* Goal: `loci generate` and `loci logits` run a DeepSeek-V4 folder, keep and reuse a text, draft
 * without changing it, and read experts into a budget; an engine over one refuses what it cannot.
 * Method: a tiny model with the golden tokenizer of the DeepSeek form, run as a user would; the
 * checkpoint that transformers saved, against its logits. */
#include "run.h"
#include "loci/bank.h"
#include "loci/loci.h"
#include "model/dsv4_folder.h"

static loci_st *small; /* logits of the saved checkpoint */
static char saved[4200];

static int setup(void **state)
{
    size_t n;
    loci_error err = { 0 };
    loci_dsv4_hparams hp = tiny_shape();
    (void)state;
    char *tokenizer = slurp("tests/golden/deepseek_tokenizer/tokenizer.json", &n), cwd[4096];
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(saved, sizeof saved, "%s/tests/golden/dsv4/saved", cwd);
    if (loci_st_open(&small, "tests/golden/dsv4/small.safetensors", &err) != LOCI_OK) return -1;
    enter_scratch();
    hp.vocab = 2624;
    write_folder(&hp, 2, "model");
    spill("model/tokenizer.json", tokenizer, n);
    free(tokenizer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loci_st_close(small);
    remove_scratch();
    return 0;
}

/* ---- logits --------------------------------------------------------------------------------------- */

/* Rows of an .npy file against the golden ones; the header takes 128 bytes. */
static void check_npy(const char *path, const float *want, size_t n, double bound)
{
    size_t bytes;
    char *data = slurp(path, &bytes);
    assert_int_equal(bytes, 128 + n * sizeof *want);
    const float *got = (const float *)(const void *)(data + 128);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) < bound))
            fail_msg("%s: value %zu is %.9g, should be %.9g", path, i, got[i], want[i]);
    free(data);
}

static void test_saved(void **state)
{
    (void)state;
    const loci_tensor_view *ids = loci_st_find(small, "ids.48");
    const float *want = loci_st_find(small, "logits.48")->data;
    char text[400] = "";
    for (int i = 0; i < 48; i++)
        sprintf(text + strlen(text), "%d ", ((const int32_t *)ids->data)[i]);
    result r = RUN_WITH(text, "logits", "--model", saved, "--ids", "-", "--out", "a.npy");
    assert_string_equal(r.err, "");
    assert_string_equal(r.out, "(48, 64) f32\n");
    free_result(&r);
    check_npy("a.npy", want, 48 * 64, 2e-4);
    r = RUN_WITH(text, "logits", "--model", saved, "--ids", "-", "--out", "b.npy", "--prefill", "5",
                 "--threads", "2", "--quiet");
    assert_int_equal(r.code, 0);
    free_result(&r);
    size_t n, m;
    char *a = slurp("a.npy", &n), *b = slurp("b.npy", &m);
    assert_true(n == m && memcmp(a, b, n) == 0); /* bit for bit */
    free(a);
    free(b);
    r = RUN_WITH("1 2 64", "logits", "--model", saved, "--ids", "-", "--out", "c.npy");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "64"));
    free_result(&r);
    r = RUN("generate", "--model", saved, "--prompt", "hi");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "no tokenizer.json, nor the lists of a GGUF file"));
    free_result(&r);
    r = RUN_WITH(text, "logits", "--model", saved, "--ids", "-", "--out", "c.npy", "--mode",
                 "slow");
    assert_int_equal(r.code, 2);
    assert_string_equal(r.err, "loci: mode: expected f32, fast or exact, found slow\n");
    free_result(&r);
}

/* ---- generation ------------------------------------------------------------------------------------- */

#define GENERATE "generate", "--model", "model", "--quiet", "--max-tokens", "60", "--prompt"

static const char prompt[] = "The entry code of the vault is four words long and nobody knows it.";

static char *text_of_run(result r)
{
    if (r.code != 0) fail_msg("exit %d: %s", r.code, r.err);
    free(r.err);
    return r.out;
}

/* Threads, drafts, and experts under a budget: the same text. */
static void test_same_text(void **state)
{
    (void)state;
    char *plain = text_of_run(RUN(GENERATE, prompt));
    assert_true(strlen(plain) > 20);
    static const char *const drafts[] = { "1", "3", "16" };
    for (int i = 0; i < 3; i++) {
        char *fast = text_of_run(RUN(GENERATE, prompt, "--draft", drafts[i], "--threads", "2"));
        assert_string_equal(fast, plain);
        free(fast);
    }
    json_t *o = json_of(RUN(GENERATE, prompt, "--draft", "3", "--json"));
    json_t *usage = json_object_get(o, "usage");
    assert_true(int_of(usage, "drafted_tokens") > 0);
    assert_int_equal(int_of(usage, "completion_tokens"), 60);
    json_decref(o);
    json_t *whole = json_of(RUN(GENERATE, prompt, "--json"));
    assert_null(json_object_get(whole, "experts"));
    o = json_of(RUN(GENERATE, prompt, "--json", "--expert-memory", "1"));
    const json_t *experts = json_object_get(o, "experts");
    assert_true(int_of(experts, "misses") > 0 && int_of(experts, "bytes_read") > 0);
    assert_string_equal(text_of(o, "text"), text_of(whole, "text"));
    json_decref(whole);
    json_decref(o);
    free(plain);
}

static int64_t reused(json_t *o)
{
    const int64_t n = int_of(json_object_get(o, "usage"), "reused_tokens");
    json_decref(o);
    return n;
}

/* A kept text is taken up by the next run; a longer prompt reads only what is new. */
static void test_state(void **state)
{
    (void)state;
    char longer[400];
    char *plain = text_of_run(RUN(GENERATE, prompt));
    snprintf(longer, sizeof longer, "%s Or somebody does, after all these years in the dark.",
             prompt);
    char *plain_longer = text_of_run(RUN(GENERATE, longer));
    json_t *o = json_of(RUN(GENERATE, prompt, "--state", "kept", "--json"));
    const int64_t tokens = int_of(json_object_get(o, "usage"), "prompt_tokens");
    assert_int_equal(reused(o), 0);
    assert_int_equal(reused(json_of(RUN(GENERATE, longer, "--state", "kept", "--json"))), tokens);
    char *again = text_of_run(RUN(GENERATE, longer, "--state", "kept"));
    assert_string_equal(again, plain_longer);
    free(again);
    /* The whole prompt is kept now, but its last token must run for its logits. */
    assert_int_equal(reused(json_of(RUN(GENERATE, longer, "--state", "kept", "--json"))), tokens);
    again = text_of_run(RUN(GENERATE, prompt, "--state", "kept", "--draft", "2"));
    assert_string_equal(again, plain);
    free(again);
    result r = RUN(GENERATE, prompt, "--state", "kept", "--mode", "fast");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "written by another model or mode"));
    free_result(&r);
    free(plain);
    free(plain_longer);
}

/* ---- conversations ------------------------------------------------------------------------------- */

static const char conversation[] = "[{\"role\": \"system\", \"content\": \"Be brief.\"}, "
                                   "{\"role\": \"user\", \"content\": \"Why?\"}]";

/* The likeliest id behind the last of `ids`, by `loci logits`. */
static int likeliest(const char *ids)
{
    size_t bytes;
    result r =
        RUN_WITH(ids, "logits", "--model", "model", "--ids", "-", "--out", "chat.npy", "--quiet");
    assert_int_equal(r.code, 0);
    free_result(&r);
    char *data = slurp("chat.npy", &bytes);
    const float *last = (const float *)(const void *)(data + bytes) - 2624;
    int best = 0;
    for (int i = 1; i < 2624; i++)
        if (last[i] > last[best]) best = i;
    free(data);
    return best;
}

/* The first token answers the prompt that `tokenizer prompt` shows; all of them are a message. */
static void test_conversation(void **state)
{
    static const char *const mode[] = { "chat", "high" };
    (void)state;
    spill("chat.json", conversation, sizeof conversation - 1);
    for (int k = 0; k < 2; k++) {
        char id[32];
        result ids = RUN("tokenizer", "prompt", "--tokenizer", "model", "--think", mode[k], "--ids",
                         "chat.json");
        assert_int_equal(ids.code, 0);
        snprintf(id, sizeof id, "%d", likeliest(ids.out));
        result first = RUN_WITH(id, "tokenizer", "decode", "--tokenizer", "model/tokenizer.json");
        result one = RUN("generate", "--model", "model", "--quiet", "--chat", "chat.json",
                         "--think", mode[k], "--max-tokens", "1");
        assert_int_equal(one.code, 0);
        assert_memory_equal(one.out, first.out, first.out_bytes);
        int n_ids = 1;
        for (const char *c = ids.out; *c; c++) n_ids += *c == ' ';
        json_t *o = json_of(RUN("generate", "--model", "model", "--quiet", "--chat", "chat.json",
                                "--think", mode[k], "--max-tokens", "20", "--json"));
        json_t *message = json_object_get(o, "message"), *usage = json_object_get(o, "usage");
        assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")), n_ids);
        assert_string_equal(json_string_value(json_object_get(message, "role")), "assistant");
        /* Nothing that a tiny model writes ends its reasoning. */
        assert_int_equal(json_object_get(message, "reasoning_content") != NULL, k == 1);
        const char *part = k == 1 ? "reasoning_content" : "content";
        assert_true(json_string_length(json_object_get(message, part)) > 0);
        json_decref(o);
        free_result(&one);
        free_result(&first);
        free_result(&ids);
    }
    result r = RUN_WITH("[{\"role\": \"assistant\", \"content\": \"x\"}]", "generate", "--model",
                        "model", "--quiet", "--chat", "-");
    assert_non_null(strstr(r.err, "not one that is answered"));
    assert_int_equal(r.code, 2);
    free_result(&r);
    r = RUN("generate", "--model", "model", "--quiet", "--chat", "chat.json", "--think", "max");
    assert_non_null(strstr(r.err, "mode max: its text is the release's"));
    assert_int_equal(r.code, 1);
    free_result(&r);
}

#define TOOLS                                                                                      \
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": {" \
    "\"type\": \"object\"}}}]"

static const char frame[] = "{\"tools\": \"\\n\\nCall these:\\n{tool_schemas}\", "
                            "\"reasoning_effort\": {\"max\": \"Think long. \"}}";

static int count_of(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

/* What the model answers to chat.json in a mode: its message, after the prompt was counted. */
static void answer_with_tools(const char *mode, bool reasons)
{
    result ids = RUN("tokenizer", "prompt", "--tokenizer", "model", "--chat-texts", "frame.json",
                     "--think", mode, "--ids", "tools.json");
    assert_int_equal(ids.code, 0);
    json_t *o =
        json_of(RUN("generate", "--model", "model", "--quiet", "--chat", "tools.json",
                    "--chat-texts", "frame.json", "--think", mode, "--max-tokens", "8", "--json"));
    json_t *message = json_object_get(o, "message");
    assert_int_equal(int_of(json_object_get(o, "usage"), "prompt_tokens"),
                     count_of(ids.out, " ") + 1);
    assert_int_equal(json_object_get(message, "reasoning_content") != NULL, reasons);
    json_decref(o);
    free_result(&ids);
}

/* A call that a reply holds becomes a message; with it and its result the conversation goes on, the
 * reasoning before the call is kept, and every mode answers. */
static void test_tools(void **state)
{
    static const char written[] = "I must look.</think>Let me see.\n\n<\xef\xbd\x9c"
                                  "DSML\xef\xbd\x9ctool_calls>\n"
                                  "<\xef\xbd\x9c"
                                  "DSML\xef\xbd\x9cinvoke name=\"weather\">\n"
                                  "<\xef\xbd\x9c"
                                  "DSML\xef\xbd\x9cparameter name=\"city\" string=\"true\">Oslo"
                                  "</\xef\xbd\x9c"
                                  "DSML\xef\xbd\x9cparameter>\n"
                                  "</\xef\xbd\x9c"
                                  "DSML\xef\xbd\x9cinvoke>\n"
                                  "</\xef\xbd\x9c"
                                  "DSML\xef\xbd\x9ctool_calls>";
    (void)state;
    spill("frame.json", frame, sizeof frame - 1);
    result reply = RUN_WITH(written, "tokenizer", "reply", "--reasoning");
    assert_int_equal(reply.code, 0);
    char *chat;
    if (asprintf(&chat,
                 "{" TOOLS ", \"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, %s, "
                 "{\"role\": \"tool\", \"content\": \"no rain\"}]}",
                 reply.out) < 0)
        fail();
    spill("tools.json", chat, strlen(chat));
    result text = RUN("tokenizer", "prompt", "--tokenizer", "model", "--chat-texts", "frame.json",
                      "--think", "max", "tools.json");
    if (text.code != 0) fail_msg("%s", text.err);
    assert_non_null(strstr(text.out, "Think long. "));
    assert_non_null(strstr(text.out, "Call these:\n{\"name\": \"weather\", \"parameters\": "));
    assert_non_null(strstr(text.out, "<think>"));
    assert_non_null(strstr(text.out, written)); /* the reply, as it was written */
    assert_non_null(strstr(text.out, "<tool_result>no rain</tool_result>"));
    answer_with_tools("chat", false);
    answer_with_tools("high", true);
    answer_with_tools("max", true);
    result r = RUN("generate", "--model", "model", "--quiet", "--chat", "tools.json");
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "tools: "));
    free_result(&r);
    free_result(&text);
    free_result(&reply);
    free(chat);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *argv[16], *message;
        int code;
    } row[] = {
        { { GENERATE, "x", "--draft", "2", "--temperature", "1" }, "--draft is for greedy", 2 },
        { { "generate", "--model", "model", "--prompt", "x", "--chat", "y" }, "give one", 2 },
        { { "generate", "--prompt", "x", "--draft", "2" }, "DeepSeek-V4", 2 },
        { { "generate", "--prompt", "x", "--state", "s" }, "DeepSeek-V4", 2 },
        { { "ask", "--model", "model", "--bank", "b", "who?" }, "", 1 },
        { { "ingest", "--model", "model", "--bank", "b", "model/config.json" }, "no banks", 1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        result r = run_argv(NULL, NULL, row[i].argv);
        if (r.code != row[i].code || !strstr(r.err, row[i].message))
            fail_msg("row %zu: exit %d, \"%s\"", i, r.code, r.err);
        free_result(&r);
    }
    loci_engine *e;
    loci_session *s;
    loci_error err = { 0 };
    loci_engine_options o = loci_engine_options_default();
    o.model_dir = saved;
    o.threads = 1;
    if (loci_engine_open(&e, &o, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_null(loci_engine_tokenizer(e));
    assert_string_equal(loci_engine_info(e)->architecture, "deepseek-v4");
    loci_session_options so = loci_session_options_default();
    so.draft = true; /* the saved checkpoint has no MTP block */
    assert_int_equal(loci_session_open(&s, e, &so, &err), LOCI_EMODEL);
    so.draft = false;
    so.max_tokens = 10;
    err = (loci_error){ 0 };
    assert_int_equal(loci_session_open(&s, e, &so, &err), LOCI_OK);
    int32_t ids[11] = { 0 }, draft[2];
    assert_int_equal(loci_session_draft(s, 1, 1, draft, NULL), LOCI_ESTATE);
    assert_int_equal(loci_session_extend(s, ids, 11, NULL, 0, NULL), LOCI_ENOMEM);
    assert_int_equal(loci_session_extend(s, ids, 4, NULL, 0, NULL), LOCI_OK);
    assert_int_equal(loci_session_draft(s, 1, 1, draft, NULL), LOCI_ESTATE);
    assert_false(loci_session_rewind(s, 5));
    assert_true(loci_session_rewind(s, 3));
    assert_int_equal(loci_session_length(s), 1);
    assert_int_equal(loci_session_save(s, NULL), LOCI_OK); /* nowhere */
    loci_session_close(s);
    loci_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved), cmocka_unit_test(test_same_text),
        cmocka_unit_test(test_state), cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_tools), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
