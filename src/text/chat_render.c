/* chat_render.c - a conversation as the text and ids that the models were trained on.
 *
 *   BOS [text for more effort] turn ...       with nothing between, where a turn is
 *   system      content [tools] [response format]
 *   developer   <User> and the same
 *   user        <User> blocks apart by an empty line; a result as <tool_result>..</tool_result>
 *   assistant   [reasoning </think>] content [calls] EOS
 *   reminder    <latest_reminder> content
 * Behind a user or developer turn that the assistant answers stand <Assistant> and <think>, or
 * </think> where it does not think.  The assistant thinks in the modes other than plain; the
 * turns before the last question then lose their reasoning and are opened by </think>, and
 * developer turns there are left out, unless some message has tools: then all is kept.
 *
 * Tokens are placed by name and never looked for in content (but see content_tokens).  Text
 * between two tokens is encoded in one piece, whoever wrote which part of it. */
#include <stdlib.h>
#include "base/base.h"
#include "text/chat_impl.h"

/* A token of the grammar in the text. */
typedef struct {
    size_t at, len;
    int32_t id;
} placed_token;

typedef struct {
    const loci_tokenizer *t; /* NULL: text only */
    const loci_chat_options *opt;
    const char *label;
    loci_error *err;
    loci_status status; /* the first failure */
    loci_text text;
    placed_token *token;
    size_t n_tokens, tokens_cap;
    size_t marked_at; /* where the text that is searched for tokens begins */
    /* the conversation */
    const loci_chat_log *log;
    bool thinks, drops;
    int64_t last_question; /* turn that is user's or developer's, -1: none */
} writer;

static void put(writer *w, const char *s)
{
    loci_text_puts(&w->text, s);
}

static void fail(writer *w, loci_status code, const char *what, const char *detail)
{
    if (w->status == LOCI_OK)
        w->status = loci_fail(w->err, code, "%s: %s%.60s", w->label, what, detail);
}

/* ---- tokens ------------------------------------------------------------------------------- */

static loci_status add_token(writer *w, size_t at, size_t len, int32_t id)
{
    if (w->n_tokens == w->tokens_cap) {
        const size_t cap = w->tokens_cap * 2 + 64;
        placed_token *more = realloc(w->token, cap * sizeof *more);
        if (more == NULL) return loci_fail(w->err, LOCI_ENOMEM, "%s: no memory", w->label);
        w->token = more;
        w->tokens_cap = cap;
    }
    w->token[w->n_tokens++] = (placed_token){ at, len, id };
    return LOCI_OK;
}

static void put_token(writer *w, const char *name)
{
    const int32_t id = w->t != NULL ? loci_tokenizer_find(w->t, name) : -1;
    if (w->t != NULL && id < 0)
        fail(w, LOCI_EFORMAT, "the tokenizer is not one of a DeepSeek-V4 chat model: no token ",
             name);
    if (id >= 0 && w->status == LOCI_OK) w->status = add_token(w, w->text.n, strlen(name), id);
    put(w, name);
}

static loci_status place_part(void *ctx, const unsigned char *part, size_t n, int32_t id)
{
    writer *w = ctx;
    const size_t at = w->marked_at;
    (void)part;
    w->marked_at += n;
    return id < 0 ? LOCI_OK : add_token(w, at, n, id);
}

/* Text of the release, in which tokens are looked for. */
static void put_marked(writer *w, const char *s, size_t n)
{
    w->marked_at = w->text.n;
    if (w->t != NULL && w->status == LOCI_OK)
        w->status = loci_added_split(&w->t->added, (const unsigned char *)s, n, place_part, w);
    loci_text_put(&w->text, s, n);
}

/* ---- texts of the release ------------------------------------------------------------------- */

typedef struct {
    const char *name;             /* "{tool_schemas}" */
    const json_t *tools, *format; /* what is put in its place: these as JSON, */
    const char *token;            /* or a token */
} filling;

static void put_schemas(writer *w, const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *f = json_object_get(tool, "function");
        if (i > 0) put(w, "\n");
        loci_text_put_json(&w->text, f != NULL ? f : tool);
    }
}

/* A template: {name} is filled in, {{ and }} are braces. */
static void put_template(writer *w, const char *text, const filling *list, size_t n)
{
    for (const char *done = text; *done != '\0';) {
        const char *brace = done + strcspn(done, "{}");
        put_marked(w, done, (size_t)(brace - done));
        if (*brace == '\0') return;
        if (brace[0] == brace[1]) {
            loci_text_put(&w->text, brace, 1);
            done = brace + 2;
            continue;
        }
        size_t i = 0;
        while (i < n && strncmp(brace, list[i].name, strlen(list[i].name)) != 0) i++;
        if (i == n) {
            fail(w, LOCI_EFORMAT, "a text of the release has a place that is not known: ", brace);
            return;
        }
        if (list[i].tools != NULL) put_schemas(w, list[i].tools);
        if (list[i].format != NULL) loci_text_put_json(&w->text, list[i].format);
        if (list[i].token != NULL) put_token(w, list[i].token);
        done = brace + strlen(list[i].name);
    }
}

static void need_text(writer *w, const char *what)
{
    if (w->status == LOCI_OK)
        w->status = loci_fail(w->err, LOCI_ENOTFOUND,
                              "%s: %s: its text is the release's, and neither chat_texts.json nor "
                              "encoding/encoding_dsv4.py of the model has it",
                              w->label, what);
}

/* A text of the release behind an empty line, which may be the text's own. */
static void put_section(writer *w, const char *text, const filling *list, size_t n)
{
    if (strncmp(text, "\n\n", 2) != 0) put(w, "\n\n");
    put_template(w, text, list, n);
}

static void put_tools(writer *w, const json_t *tools)
{
    const char *text = w->opt->texts != NULL ? w->opt->texts->tools : NULL;
    const filling list[] = {
        { "{tool_schemas}", tools, NULL, NULL },
        { "{dsml_token}", NULL, NULL, LOCI_CHAT_DSML },
        { "{thinking_start_token}", NULL, NULL, LOCI_CHAT_THINK },
        { "{thinking_end_token}", NULL, NULL, LOCI_CHAT_THOUGHT },
    };
    if (json_array_size(tools) == 0) return;
    if (text == NULL) {
        need_text(w, "tools");
        return;
    }
    put_section(w, text, list, sizeof list / sizeof *list);
}

static void put_format(writer *w, const json_t *format)
{
    const char *text = w->opt->texts != NULL ? w->opt->texts->response_format : NULL;
    const filling list[] = { { "{schema}", NULL, format, NULL } };
    if (format == NULL || json_is_null(format)) return;
    if (text == NULL) {
        need_text(w, "response_format");
        return;
    }
    put_section(w, text, list, 1);
}

/* Before everything else; what low and high add is nothing unless the texts say otherwise. */
static void put_effort(writer *w)
{
    if (!w->thinks || w->opt->mode == LOCI_CHAT_LOW) return;
    const char *text = w->opt->texts != NULL            ? w->opt->texts->effort[w->opt->mode - 1]
                       : w->opt->mode == LOCI_CHAT_HIGH ? ""
                                                        : NULL;
    if (text == NULL)
        need_text(w, w->opt->mode == LOCI_CHAT_MAX ? "mode max" : "mode high");
    else
        put_marked(w, text, strlen(text));
}

/* ---- turns ------------------------------------------------------------------------------------- */

static void put_content(writer *w, const json_t *content)
{
    if (json_is_string(content))
        loci_text_put(&w->text, json_string_value(content), json_string_length(content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i), *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (i > 0) put(w, "\n\n");
        if (strcmp(type, "text") == 0) {
            loci_text_put(&w->text, json_string_value(text), json_string_length(text));
        } else {
            put(w, "[Unsupported ");
            put(w, type);
            put(w, "]");
        }
    }
}

static void put_user(writer *w, const loci_chat_turn *t)
{
    put_token(w, LOCI_CHAT_USER);
    for (size_t i = 0; i < t->n_blocks; i++) {
        const loci_chat_block *b = &w->log->block[t->block + i];
        if (i > 0) put(w, "\n\n");
        if (b->is_result) put(w, "<tool_result>");
        put_content(w, b->content);
        if (b->is_result) put(w, "</tool_result>");
    }
}

/* <DSML + name */
static void put_tag(writer *w, const char *open, const char *name)
{
    put(w, open);
    put_token(w, LOCI_CHAT_DSML);
    put(w, name);
}

static void put_parameter(writer *w, const char *name, const json_t *value)
{
    for (const char *c = name; *c != '\0'; c++)
        if (*c == '"' || (unsigned char)*c < 0x20) {
            fail(w, LOCI_EFORMAT, "a parameter's name has a quote or control character: ", name);
            return;
        }
    put_tag(w, "<", "parameter name=\"");
    put(w, name);
    put(w, json_is_string(value) ? "\" string=\"true\">" : "\" string=\"false\">");
    if (json_is_string(value))
        loci_text_put(&w->text, json_string_value(value), json_string_length(value));
    else
        loci_text_put_json(&w->text, value);
    put_tag(w, "</", "parameter>");
}

/* arguments is an object or its text; text that is no JSON stands as one parameter. */
static void put_arguments(writer *w, const json_t *arguments)
{
    json_t *parsed = NULL;
    json_error_t at;
    if (json_is_string(arguments)) {
        parsed = json_loadb(json_string_value(arguments), json_string_length(arguments),
                            JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &at);
        if (parsed == NULL && json_error_code(&at) == json_error_numeric_overflow)
            fail(w, LOCI_EFORMAT, "a number in arguments is too large: ", at.text);
        else if (parsed == NULL)
            put_parameter(w, "arguments", arguments);
        else if (!json_is_object(parsed))
            fail(w, LOCI_EFORMAT, "arguments are not an object: ", json_string_value(arguments));
        arguments = parsed;
    }
    const char *key = NULL;
    json_t *value = NULL;
    bool first = true;
    json_object_foreach((json_t *)arguments, key, value)
    {
        if (!first) put(w, "\n");
        first = false;
        put_parameter(w, key, value);
    }
    json_decref(parsed);
}

static void put_calls(writer *w, const json_t *calls)
{
    if (json_array_size(calls) == 0) return;
    put_tag(w, "\n\n<", "tool_calls>\n");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *f = json_object_get(json_array_get(calls, i), "function");
        put_tag(w, "<", "invoke name=\"");
        put(w, json_string_value(json_object_get(f, "name")));
        put(w, "\">\n");
        put_arguments(w, json_object_get(f, "arguments"));
        put_tag(w, "\n</", "invoke>\n");
    }
    put_tag(w, "</", "tool_calls>");
}

static void put_assistant(writer *w, const loci_chat_turn *t, int64_t i, bool after_task)
{
    if (w->thinks && !after_task && (!w->drops || i > w->last_question)) {
        put_content(w, t->reasoning);
        put_token(w, LOCI_CHAT_THOUGHT);
    }
    put_content(w, t->content);
    put_calls(w, t->calls);
    if (!t->without_eos) put_token(w, LOCI_CHAT_EOS);
}

static void put_turn(writer *w, const loci_chat_turn *t, int64_t i, bool after_task)
{
    switch (t->role) {
    case LOCI_ROLE_DEVELOPER: put_token(w, LOCI_CHAT_USER); /* fall through */
    case LOCI_ROLE_SYSTEM:
        put_content(w, t->content);
        put_tools(w, t->tools);
        put_format(w, t->response_format);
        break;
    case LOCI_ROLE_USER: put_user(w, t); break;
    case LOCI_ROLE_ASSISTANT: put_assistant(w, t, i, after_task); break;
    case LOCI_ROLE_REMINDER:
        put_token(w, LOCI_CHAT_TOKEN("latest_reminder"));
        put_content(w, t->content);
        break;
    }
}

/* What opens the assistant's turn behind turn i. */
static loci_chat_opening put_opening(writer *w, const loci_chat_turn *t, int64_t i)
{
    const bool asks = t->role == LOCI_ROLE_USER || t->role == LOCI_ROLE_DEVELOPER;
    char name[64];
    if (t->task == NULL && !asks)
        return t->role == LOCI_ROLE_ASSISTANT && t->without_eos ? LOCI_CHAT_OPENS_ANSWER
                                                                : LOCI_CHAT_OPENS_NOTHING;
    bool thinks = w->thinks;
    if (t->task == NULL) thinks = thinks && (!w->drops || i >= w->last_question);
    if (t->task == NULL || strcmp(t->task, "action") == 0) {
        put_token(w, LOCI_CHAT_ASSISTANT);
        put_token(w, thinks ? LOCI_CHAT_THINK : LOCI_CHAT_THOUGHT);
        if (t->task == NULL) return thinks ? LOCI_CHAT_OPENS_REASONING : LOCI_CHAT_OPENS_ANSWER;
    }
    snprintf(name, sizeof name, LOCI_CHAT_TOKEN("%s"), t->task);
    put_token(w, name);
    return LOCI_CHAT_OPENS_ANSWER;
}

static bool is_dropped(const writer *w, const loci_chat_turn *t, int64_t i)
{
    return w->thinks && w->drops && t->role == LOCI_ROLE_DEVELOPER && i < w->last_question;
}

static loci_chat_opening put_turns(writer *w)
{
    const loci_chat_log *log = w->log;
    loci_chat_opening opening = LOCI_CHAT_OPENS_NOTHING;
    bool after_task = false;
    w->last_question = -1;
    for (size_t i = 0; i < log->n_turns; i++)
        if (log->turn[i].role == LOCI_ROLE_USER || log->turn[i].role == LOCI_ROLE_DEVELOPER)
            w->last_question = (int64_t)i;
    for (size_t i = 0; i < log->n_turns && w->status == LOCI_OK; i++) {
        const loci_chat_turn *t = &log->turn[i];
        if (is_dropped(w, t, (int64_t)i)) continue;
        put_turn(w, t, (int64_t)i, after_task);
        after_task = t->task != NULL;
        size_t next = i + 1;
        while (next < log->n_turns && is_dropped(w, &log->turn[next], (int64_t)next)) next++;
        if (next < log->n_turns && log->turn[next].role != LOCI_ROLE_ASSISTANT &&
            log->turn[next].role != LOCI_ROLE_REMINDER)
            continue;
        opening = put_opening(w, t, (int64_t)i);
    }
    return opening;
}

/* ---- ids ---------------------------------------------------------------------------------------- */

static loci_status encode_prompt(writer *w, loci_chat_prompt *out)
{
    loci_encoder *e = NULL;
    const char *text = w->text.bytes;
    const size_t len = w->text.n;
    out->ids = malloc((len + 1) * sizeof *out->ids);
    if (out->ids == NULL)
        return loci_fail(w->err, LOCI_ENOMEM, "%s: no memory for its ids", w->label);
    loci_status st = loci_encoder_open(&e, w->t, w->err);
    if (st == LOCI_OK && w->opt->content_tokens) {
        st = loci_encode_marked(e, text, len, out->ids, NULL, len, &out->n_ids, w->err);
    } else if (st == LOCI_OK) {
        size_t at = 0;
        for (size_t i = 0; i <= w->n_tokens && st == LOCI_OK; i++) {
            const size_t end = i < w->n_tokens ? w->token[i].at : len;
            size_t n = 0;
            st = loci_encode(e, text + at, end - at, out->ids + out->n_ids, NULL, len - out->n_ids,
                             &n, w->err);
            out->n_ids += n;
            if (i == w->n_tokens || st != LOCI_OK) break;
            out->ids[out->n_ids++] = w->token[i].id;
            at = end + w->token[i].len;
        }
    }
    loci_encoder_close(e);
    return st;
}

loci_status loci_chat_render(const loci_tokenizer *t, const char *json, size_t len,
                             const char *label, const loci_chat_options *opt, loci_chat_prompt *out,
                             loci_error *err)
{
    *out = (loci_chat_prompt){ 0 };
    if ((int)opt->mode < LOCI_CHAT_PLAIN || opt->mode > LOCI_CHAT_MAX)
        return loci_fail(err, LOCI_EINVAL, "%s: mode %d is not one of 0..%d", label, (int)opt->mode,
                         LOCI_CHAT_MAX);
    loci_chat_log log;
    const loci_status read = loci_chat_log_read(&log, json, len, label, err);
    if (read != LOCI_OK) return read;
    writer w = { .t = t, .opt = opt, .label = label, .err = err, .log = &log };
    w.thinks = opt->mode != LOCI_CHAT_PLAIN;
    w.drops = !opt->keep_reasoning && !log.has_tools;
    put_token(&w, LOCI_CHAT_BOS);
    put_effort(&w);
    out->opening = put_turns(&w);
    if (w.text.failed) fail(&w, LOCI_ENOMEM, "no memory for the prompt", "");
    loci_status st = w.status;
    if (st == LOCI_OK && t != NULL) st = encode_prompt(&w, out);
    if (st == LOCI_OK) {
        out->text = w.text.bytes;
        out->bytes = w.text.n;
        w.text.bytes = NULL;
    } else {
        loci_chat_prompt_free(out);
    }
    loci_text_free(&w.text);
    free(w.token);
    loci_chat_log_free(&log);
    return st;
}

void loci_chat_prompt_free(loci_chat_prompt *p)
{
    free(p->text);
    free(p->ids);
    *p = (loci_chat_prompt){ 0 };
}

loci_chat_options loci_chat_options_default(void)
{
    return (loci_chat_options){ .mode = LOCI_CHAT_PLAIN };
}

bool loci_chat_mode_parse(const char *name, loci_chat_mode *mode)
{
    static const char *const known[] = { "chat", "low", "high", "max" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0) {
            *mode = (loci_chat_mode)i;
            return true;
        }
    return false;
}
