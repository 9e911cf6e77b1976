/* Goal: a reply gives the same events however it is cut into pieces, no byte is lost or told
 * twice, and what is not a call is never taken for one.
 * Method: replies with the events they must give, fed whole, byte by byte and in random
 * pieces; each cut short at every byte; malformed ones with the place that the failure names; a
 * conversation that is rendered, read back and rendered again. */
#include <jansson.h>
#include "deepseek_fixture.h"
#include "text/chat_impl.h"

enum { SEED = 20260731 };

#define OPEN            "\n\n<" DSML "tool_calls>\n"
#define CLOSE           "</" DSML "tool_calls>"
#define CALL(name)      "<" DSML "invoke name=\"" name "\">\n"
#define CALLED          "</" DSML "invoke>\n"
#define ARG(name, kind) "<" DSML "parameter name=\"" name "\" string=\"" kind "\">"
#define END             "</" DSML "parameter>\n"

/* What happened, as one line: pieces of one kind joined. */
typedef struct {
    char trace[4096], bytes[4096]; /* events; the bytes they stand for */
    size_t n_trace, n;
    loci_chat_event_kind last;
    bool any;
    int stop_after; /* events; -1: never */
} record;

static void put(record *r, const char *s, size_t n)
{
    assert_true(r->n_trace + n < sizeof r->trace);
    memcpy(r->trace + r->n_trace, s, n);
    r->n_trace += n;
    r->trace[r->n_trace] = '\0';
}

static int on_event(void *ctx, const loci_chat_event *e)
{
    static const char *const tag[] = { "R:", "/R", "A:", "[", "C:",  "P:",
                                       "V:", "/P", "/C", "]", "BAD:" };
    record *r = ctx;
    const bool piece = e->kind == LOCI_CHAT_REASONING || e->kind == LOCI_CHAT_ANSWER ||
                       e->kind == LOCI_CHAT_VALUE || e->kind == LOCI_CHAT_MALFORMED;
    assert_true(e->len > 0);
    assert_true((e->name_len > 0) == (e->kind == LOCI_CHAT_CALL || e->kind == LOCI_CHAT_PARAMETER));
    if (!(piece && r->any && r->last == e->kind)) {
        if (r->any) put(r, "|", 1);
        put(r, tag[e->kind], strlen(tag[e->kind]));
    }
    put(r, e->name, e->name_len);
    if (e->kind == LOCI_CHAT_PARAMETER) put(r, e->is_text ? "=t" : "=j", 2);
    if (piece) put(r, e->bytes, e->len);
    r->any = true;
    r->last = e->kind;
    memcpy(r->bytes + r->n, e->bytes, e->len);
    r->n += e->len;
    return r->stop_after >= 0 && r->stop_after-- == 0;
}

/* Feed in pieces of 1 .. max bytes; the status of the end. */
static loci_status parse(loci_chat_opening opening, const char *reply, size_t len, uint32_t max,
                         record *r, loci_error *err)
{
    loci_chat_parser *p = NULL;
    loci_rng rng;
    loci_rng_seed(&rng, SEED + max);
    *r = (record){ .stop_after = -1 };
    assert_int_equal(loci_chat_parser_open(&p, opening, err), LOCI_OK);
    for (size_t at = 0; at < len;) {
        size_t n = 1 + loci_rng_below(&rng, max);
        if (n > len - at) n = len - at;
        char *copy = malloc(n); /* its own block: a read beyond it is seen by the sanitizer */
        memcpy(copy, reply + at, n);
        assert_int_equal(loci_chat_parser_feed(p, copy, n, on_event, r, err), LOCI_OK);
        free(copy);
        at += n;
    }
    const loci_status st = loci_chat_parser_finish(p, on_event, r, err);
    loci_chat_parser_close(p);
    assert_int_equal(r->n, len);
    assert_memory_equal(r->bytes, reply, len);
    return st;
}

#define REASONING LOCI_CHAT_OPENS_REASONING
#define ANSWER    LOCI_CHAT_OPENS_ANSWER

static const struct {
    loci_chat_opening opening;
    const char *reply, *events;
    const char *why; /* of the failure, NULL: none */
} replies[] = {
    { ANSWER, "", "", NULL },
    { ANSWER, "hello", "A:hello", NULL },
    { LOCI_CHAT_OPENS_NOTHING, "hello", "A:hello", NULL },
    { ANSWER, "a </think> b", "A:a </think> b", NULL }, /* no reasoning to end */
    { REASONING, "think", "R:think", NULL },
    { REASONING, "think</think>answer", "R:think|/R|A:answer", NULL },
    { REASONING, "</think>answer", "/R|A:answer", NULL },
    { REASONING, "a</thin</think>\n</think>", "R:a</thin|/R|A:\n</think>", NULL },
    { REASONING, "a</think", "R:a</think", NULL },
    { ANSWER, "a\n\n<b>\n\n\n<" BAR "x", "A:a\n\n<b>\n\n\n<" BAR "x", NULL },
    { ANSWER, "a<" DSML "tool_calls>\n", "A:a<" DSML "tool_calls>\n", NULL }, /* no empty line */
    { ANSWER, "a\n<" DSML "tool_calls>\n", "A:a\n<" DSML "tool_calls>\n", NULL },
    { ANSWER, "a\n\n<" DSML "tool_call", "A:a\n\n<" DSML "tool_call", NULL },
    /* calls */
    { ANSWER, "a" OPEN CALL("f") CALLED CLOSE, "A:a|[|C:f|/C|]", NULL },
    { ANSWER, "\n" OPEN CALL("f") CALLED CLOSE, "A:\n|[|C:f|/C|]", NULL },
    { ANSWER, OPEN CALL("f") "\n" CALLED CLOSE, "[|C:f|/C|]", NULL }, /* as the template has it */
    { ANSWER, OPEN CLOSE, "[|]", NULL },
    { REASONING, "r</think>" OPEN CALL("f") CALLED CLOSE, "R:r|/R|[|C:f|/C|]", NULL },
    { ANSWER, OPEN CALL("f") ARG("a", "true") "x" END CALLED CLOSE, "[|C:f|P:a=t|V:x|/P|/C|]",
      NULL },
    { ANSWER,
      OPEN CALL("f") ARG("a", "true") END ARG("b", "false") "{\"k\": 1}" END CALLED CALL("g")
          CALLED CLOSE,
      "[|C:f|P:a=t|/P|P:b=j|V:{\"k\": 1}|/P|/C|C:g|/C|]", NULL },
    { ANSWER,
      OPEN CALL("f") ARG("a", "true") "<" DSML "x></" DSML "para\n\n</think>" END CALLED CLOSE,
      "[|C:f|P:a=t|V:<" DSML "x></" DSML "para\n\n</think>|/P|/C|]", NULL },
    { ANSWER, OPEN CALL("a b>c") ARG("\xc3\xa9", "false") "1" END CALLED CLOSE,
      "[|C:a b>c|P:\xc3\xa9=j|V:1|/P|/C|]", NULL },
    /* malformed: all from the wrong place on */
    { ANSWER, "a\n\n<" DSML "tool_calls>x", "A:a|BAD:\n\n<" DSML "tool_calls>x",
      "byte 25: expected \">\" and a line's end, found x" },
    { ANSWER, "a\n\n<" DSML "tool_callsX", "A:a|BAD:\n\n<" DSML "tool_callsX", "found X" },
    { REASONING, "r" OPEN CLOSE, "R:r|BAD:" OPEN CLOSE, "the end of reasoning before tool calls" },
    { ANSWER, OPEN "\n" CLOSE, "[|BAD:\n" CLOSE, "a call or the end of the calls" },
    { ANSWER, OPEN CALL("") CALLED CLOSE, "[|BAD:" CALL("") CALLED CLOSE, "a call or the end" },
    { ANSWER, OPEN "<" DSML "invoke name=\"f\">" CALLED CLOSE,
      "[|BAD:<" DSML "invoke name=\"f\">" CALLED CLOSE, "a call or the end" },
    { ANSWER, OPEN CALL("f\n") CLOSE, "[|BAD:" CALL("f\n") CLOSE, "a call or the end" },
    { ANSWER, OPEN CALL("f") "x" CALLED CLOSE, "[|C:f|BAD:x" CALLED CLOSE,
      "a parameter or the call's" },
    { ANSWER, OPEN CALL("f") "\n\n" CALLED CLOSE, "[|C:f|BAD:\n\n" CALLED CLOSE,
      "a parameter or the" },
    { ANSWER, OPEN CALL("f") ARG("a", "maybe") "x" END CALLED CLOSE,
      "[|C:f|BAD:" ARG("a", "maybe") "x" END CALLED CLOSE, "found m" },
    { ANSWER, OPEN CALL("f") ARG("a", "true") "x</" DSML "parameter> " CALLED CLOSE,
      "[|C:f|P:a=t|V:x|BAD:</" DSML "parameter> " CALLED CLOSE, "\">\" and a line's end" },
    { ANSWER, OPEN CALL("f") ARG("a", "true") "x" END "\n" CALLED CLOSE,
      "[|C:f|P:a=t|V:x|/P|BAD:\n" CALLED CLOSE, "a parameter or the call's end" },
    { ANSWER, OPEN CALL("f") ARG("a", "true") END ARG("a", "true") END CALLED CLOSE,
      "[|C:f|P:a=t|/P|BAD:" ARG("a", "true") END CALLED CLOSE,
      "a parameter not given yet, found a" },
    { ANSWER, OPEN CALL("f") CALLED CLOSE "\n", "[|C:f|/C|]|BAD:\n", "the end behind the calls" },
    { ANSWER, OPEN CALL("f") CALLED CLOSE OPEN, "[|C:f|/C|]|BAD:" OPEN,
      "the end behind the calls" },
    /* cut */
    { ANSWER, "a\n\n<" DSML "tool_calls", "A:a|BAD:\n\n<" DSML "tool_calls", "found the end" },
    { ANSWER, OPEN, "[", "the rest of a call, found the end" },
    { ANSWER, OPEN CALL("f"), "[|C:f", "the rest of a call" },
    { ANSWER, OPEN CALL("f") ARG("a", "true") "x</", "[|C:f|P:a=t|V:x|BAD:</",
      "the rest of a call" },
};

static void test_replies(void **state)
{
    (void)state;
    static const uint32_t max[] = { 1, 2, 3, 7, 100, 5000 };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        for (size_t k = 0; k < sizeof max / sizeof *max; k++) {
            loci_error err = { 0 };
            record *r = malloc(sizeof *r);
            const char *reply = replies[i].reply, *why = replies[i].why;
            const loci_status st = parse(replies[i].opening, reply, strlen(reply), max[k], r, &err);
            if (strcmp(r->trace, replies[i].events) != 0)
                fail_msg("%s\ngives %s\nexpected %s", reply, r->trace, replies[i].events);
            assert_int_equal(st, why != NULL ? LOCI_EFORMAT : LOCI_OK);
            if (why != NULL && strstr(err.text, why) == NULL)
                fail_msg("%s\nfails with \"%s\", expected \"%s\"", reply, err.text, why);
            free(r);
        }
}

/* Up to every byte the events are those of the whole reply, and the bytes are all there. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    static const char reply[] = "r\n\n</think>a\n" OPEN CALL("f")
        ARG("a", "true") "x\ny" END ARG("b", "false") "[1]" END CALLED CALL("g") "\n" CALLED CLOSE;
    for (size_t cut = 0; cut <= sizeof reply - 1; cut++) {
        loci_error err = { 0 };
        record *r = malloc(sizeof *r);
        parse(REASONING, reply, cut, 5, r, &err);
        if (cut == sizeof reply - 1)
            assert_string_equal(r->trace,
                                "R:r\n\n|/R|A:a\n|[|C:f|P:a=t|V:x\ny|/P|P:b=j|V:[1]|/P|/C|C:g|"
                                "/C|]");
        free(r);
    }
}

/* Nothing waits longer than it must: an ordinary byte is told at once. */
static void test_told_at_once(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_chat_parser *p = NULL;
    record *r = calloc(1, sizeof *r);
    r->stop_after = -1;
    MUST(loci_chat_parser_open(&p, ANSWER, &err));
    MUST(loci_chat_parser_feed(p, "ab\n", 3, on_event, r, &err));
    assert_int_equal(r->n, 2); /* the line's end may open calls */
    MUST(loci_chat_parser_feed(p, "c", 1, on_event, r, &err));
    assert_int_equal(r->n, 4);
    MUST(loci_chat_parser_feed(p, NULL, 0, on_event, r, &err));
    loci_chat_parser_close(p);
    free(r);
}

static void test_stopped(void **state)
{
    (void)state;
    for (int after = 0; after < 3; after++) {
        loci_error err = { 0 };
        loci_chat_parser *p = NULL;
        record *r = calloc(1, sizeof *r);
        static const char reply[] = "a" OPEN CALL("f") CALLED CLOSE;
        r->stop_after = after;
        MUST(loci_chat_parser_open(&p, ANSWER, &err));
        assert_int_equal(loci_chat_parser_feed(p, reply, sizeof reply - 1, on_event, r, &err),
                         LOCI_ECANCEL);
        loci_chat_parser_close(p);
        free(r);
    }
}

static void test_limits(void **state)
{
    (void)state;
    loci_text t = { 0 };
    char head[128];
    loci_text_puts(&t, OPEN CALL("f"));
    for (int i = 0; i <= LOCI_CHAT_PARAMETERS_MAX; i++) {
        snprintf(head, sizeof head, "<" DSML "parameter name=\"p%d\" string=\"true\">" END, i);
        loci_text_puts(&t, head);
    }
    loci_error err = { 0 };
    loci_chat_parser *p = NULL;
    size_t bytes = 0;
    MUST(loci_chat_parser_open(&p, ANSWER, &err));
    loci_chat_reply *reply = NULL;
    MUST(loci_chat_reply_open(&reply, &err));
    MUST(loci_chat_parser_feed(p, t.bytes, t.n, loci_chat_reply_event, reply, &err));
    assert_int_equal(loci_chat_parser_finish(p, loci_chat_reply_event, reply, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "at most 256 parameters"));
    loci_chat_parser_close(p);
    loci_chat_reply_close(reply);
    loci_text_free(&t);
    /* A name that never ends, and a value that is long. */
    for (int long_value = 0; long_value < 2; long_value++) {
        loci_error err2 = { 0 };
        loci_text_puts(&t, long_value ? OPEN CALL("f") ARG("a", "true")
                                      : OPEN "<" DSML "invoke name=\"");
        for (int i = 0; i < 100000; i++) loci_text_puts(&t, "0123456789");
        if (long_value) loci_text_puts(&t, END CALLED CLOSE);
        MUST(loci_chat_parser_open(&p, ANSWER, &err));
        MUST(loci_chat_reply_open(&reply, &err));
        MUST(loci_chat_parser_feed(p, t.bytes, t.n, loci_chat_reply_event, reply, &err));
        const loci_status st = loci_chat_parser_finish(p, loci_chat_reply_event, reply, &err2);
        assert_int_equal(st, long_value ? LOCI_OK : LOCI_EFORMAT);
        char *json = NULL;
        MUST(loci_chat_reply_json(reply, &json, &bytes, &err));
        assert_true(bytes > 999000);
        free(json);
        loci_chat_parser_close(p);
        loci_chat_reply_close(reply);
        loci_text_free(&t);
    }
}

/* ---- the whole reply ------------------------------------------------------------------------ */

static char *reply_json(loci_chat_opening opening, const char *text, size_t len, loci_status *st,
                        loci_error *err)
{
    loci_error ignored = { 0 };
    loci_chat_parser *p = NULL;
    loci_chat_reply *r = NULL;
    char *json = NULL;
    size_t n = 0;
    assert_int_equal(loci_chat_parser_open(&p, opening, err), LOCI_OK);
    assert_int_equal(loci_chat_reply_open(&r, err), LOCI_OK);
    for (size_t i = 0; i < len; i += 3)
        loci_chat_parser_feed(p, text + i, len - i < 3 ? len - i : 3, loci_chat_reply_event, r,
                              err);
    loci_chat_parser_finish(p, loci_chat_reply_event, r, &ignored);
    *st = loci_chat_reply_json(r, &json, &n, err);
    loci_chat_parser_close(p);
    loci_chat_reply_close(r);
    return json;
}

static void test_reply_json(void **state)
{
    (void)state;
    static const char *const pair[][2] = {
        { "hi", "{\"role\": \"assistant\", \"content\": \"hi\"}" },
        { "", "{\"role\": \"assistant\", \"content\": \"\"}" },
        { "a\xff\xc3\"\n",
          "{\"role\": \"assistant\", \"content\": \"a\xef\xbf\xbd\xef\xbf\xbd\\\"\\n\"}" },
        { OPEN CALL("f")
              ARG("a", "true") "1 \"x\"" END ARG("b", "false") "[1,  2]" END CALLED CLOSE,
          "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"call_0\", "
          "\"type\": "
          "\"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"1 "
          "\\\\\\\"x"
          "\\\\\\\"\\\", \\\"b\\\": [1,  2]}\"}}]}" },
        { "x" OPEN CALL("f") "\n" CALLED CALL("g") ARG("a", "true"),
          "{\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": [{\"id\": \"call_0\", "
          "\"type\": "
          "\"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}" },
        { "x" OPEN "y", "{\"role\": \"assistant\", \"content\": \"xy\"}" },
    };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        loci_error err = { 0 };
        loci_status st = LOCI_OK;
        char *json = reply_json(ANSWER, pair[i][0], strlen(pair[i][0]), &st, &err);
        assert_int_equal(st, LOCI_OK);
        assert_string_equal(json, pair[i][1]);
        free(json);
    }
    loci_error err = { 0 };
    loci_status st = LOCI_OK;
    static const char bad[] = OPEN CALL("f") ARG("k", "false") "not json" END CALLED CLOSE;
    assert_null(reply_json(ANSWER, bad, sizeof bad - 1, &st, &err));
    assert_int_equal(st, LOCI_EFORMAT);
    assert_non_null(strstr(err.text, "call 0 (f): the value of \"k\" is not JSON"));
}

/* An assistant's message, rendered and read back, is the same message. */
static void test_there_and_back(void **state)
{
    (void)state;
    static const char *const message[] = {
        "{\"role\": \"assistant\", \"content\": \"answer\", \"reasoning_content\": \"r\\n\"}",
        "{\"role\": \"assistant\", \"content\": \"\", \"reasoning_content\": \"\"}",
        "{\"role\": \"assistant\", \"content\": \"\xe4\xbd\xa0\\n\\n\", \"reasoning_content\": "
        "\"\", "
        "\"tool_calls\": [{\"id\": \"call_0\", \"type\": \"function\", \"function\": {\"name\": "
        "\"f\", "
        "\"arguments\": \"{\\\"a\\\": \\\"x\\\\n</y>\\\", \\\"b\\\": [1.5, {\\\"c\\\": "
        "null}]}\"}}, {\"id\": "
        "\"call_1\", \"type\": \"function\", \"function\": {\"name\": \"g\", \"arguments\": "
        "\"{}\"}}]}",
    };
    for (size_t i = 0; i < sizeof message / sizeof *message; i++) {
        loci_error err = { 0 };
        char json[2048];
        loci_chat_prompt p;
        loci_status st = LOCI_OK;
        const loci_chat_options opt = { .mode = LOCI_CHAT_HIGH };
        static const char question[] = "[{\"role\": \"user\", \"content\": \"q\"}";
        snprintf(json, sizeof json, "%s]", question);
        MUST(loci_chat_render(NULL, json, strlen(json), "question", &opt, &p, &err));
        assert_int_equal(p.opening, REASONING);
        const size_t asked = p.bytes;
        loci_chat_prompt_free(&p);
        snprintf(json, sizeof json, "%s,%s]", question, message[i]);
        MUST(loci_chat_render(NULL, json, strlen(json), "answered", &opt, &p, &err));
        char *back =
            reply_json(REASONING, p.text + asked, p.bytes - asked - strlen(EOS), &st, &err);
        assert_int_equal(st, LOCI_OK);
        assert_string_equal(back, message[i]);
        free(back);
        loci_chat_prompt_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_told_at_once),   cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_reply_json),
        cmocka_unit_test(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
