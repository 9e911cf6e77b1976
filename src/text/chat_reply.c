/* chat_reply.c - gathers the events of a reply to a message of the conversation. */
#include <stdlib.h>
#include "base/base.h"
#include "text/chat_impl.h"

typedef struct {
    loci_text name, arguments; /* arguments: a JSON object as text */
    loci_text bad;             /* name of the first parameter whose value is no JSON */
    /* One that was not is no call: it ended in the middle, or is malformed from some place on. */
    bool closed;
} reply_call;

struct loci_chat_reply {
    loci_text reasoning, answer;
    bool has_reasoning;
    reply_call *call;
    size_t n_calls, calls_cap;
    /* the parameter at hand */
    loci_text name, value;
    bool is_text;
    bool failed; /* no memory */
};

loci_status loci_chat_reply_open(loci_chat_reply **out, loci_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "reply: no memory to gather it");
}

void loci_chat_reply_close(loci_chat_reply *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->n_calls; i++) {
        loci_text_free(&r->call[i].name);
        loci_text_free(&r->call[i].arguments);
        loci_text_free(&r->call[i].bad);
    }
    free(r->call);
    loci_text_free(&r->reasoning);
    loci_text_free(&r->answer);
    loci_text_free(&r->name);
    loci_text_free(&r->value);
    free(r);
}

static reply_call *add_call(loci_chat_reply *r)
{
    if (r->n_calls == r->calls_cap) {
        const size_t cap = r->calls_cap * 2 + 4;
        reply_call *more = realloc(r->call, cap * sizeof *more);
        if (more == NULL) {
            r->failed = true;
            return NULL;
        }
        r->call = more;
        r->calls_cap = cap;
    }
    r->call[r->n_calls] = (reply_call){ 0 };
    return &r->call[r->n_calls++];
}

/* Text of any bytes as a JSON value: what is no UTF-8 becomes U+FFFD.  NULL: no memory. */
static json_t *json_of_bytes(const loci_text *t)
{
    loci_text clean = { 0 };
    loci_text_put(&clean, "", 0);
    size_t done = 0;
    for (size_t i = 0; i < t->n;) {
        const size_t size = loci_utf8_size((const unsigned char *)t->bytes + i, t->n - i);
        if (size > 0) {
            i += size;
            continue;
        }
        loci_text_put(&clean, t->bytes + done, i - done);
        loci_text_put_utf8(&clean, 0xfffd);
        done = ++i;
    }
    if (t->n > done) loci_text_put(&clean, t->bytes + done, t->n - done);
    json_t *value = clean.failed ? NULL : json_stringn(clean.bytes, clean.n);
    loci_text_free(&clean);
    return value;
}

/* The value goes into the arguments as it was written if it is JSON, which a text becomes. */
static void end_parameter(loci_chat_reply *r, reply_call *c)
{
    json_t *name = json_of_bytes(&r->name), *value = NULL;
    loci_text_puts(&c->arguments, c->arguments.n > 1 ? ", " : "");
    if (name != NULL) loci_text_put_json(&c->arguments, name);
    loci_text_puts(&c->arguments, ": ");
    if (r->is_text) {
        value = json_of_bytes(&r->value);
        if (value != NULL) loci_text_put_json(&c->arguments, value);
        r->failed |= value == NULL;
    } else {
        value = json_loadb(r->value.bytes != NULL ? r->value.bytes : "", r->value.n,
                           JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        if (value == NULL && c->bad.n == 0) loci_text_put(&c->bad, r->name.bytes, r->name.n);
        loci_text_put(&c->arguments, r->value.bytes, r->value.n);
    }
    r->failed |= name == NULL;
    json_decref(name);
    json_decref(value);
}

int loci_chat_reply_event(void *reply, const loci_chat_event *e)
{
    loci_chat_reply *r = reply;
    reply_call *c = r->n_calls > 0 ? &r->call[r->n_calls - 1] : NULL;
    switch (e->kind) {
    case LOCI_CHAT_REASONING:
        r->has_reasoning = true;
        loci_text_put(&r->reasoning, e->bytes, e->len);
        break;
    case LOCI_CHAT_REASONING_END: r->has_reasoning = true; break;
    case LOCI_CHAT_ANSWER:
    case LOCI_CHAT_MALFORMED: loci_text_put(&r->answer, e->bytes, e->len); break;
    case LOCI_CHAT_CALL:
        c = add_call(r);
        if (c == NULL) break;
        loci_text_put(&c->name, e->name, e->name_len);
        loci_text_puts(&c->arguments, "{");
        break;
    case LOCI_CHAT_PARAMETER:
        r->name.n = r->value.n = 0;
        r->is_text = e->is_text;
        loci_text_put(&r->name, e->name, e->name_len);
        break;
    case LOCI_CHAT_VALUE: loci_text_put(&r->value, e->bytes, e->len); break;
    case LOCI_CHAT_PARAMETER_END:
        if (c != NULL) end_parameter(r, c);
        break;
    case LOCI_CHAT_CALL_END:
        if (c == NULL) break;
        loci_text_puts(&c->arguments, "}");
        c->closed = true;
        break;
    case LOCI_CHAT_CALLS:
    case LOCI_CHAT_CALLS_END: break;
    }
    return 0;
}

static json_t *call_message(const reply_call *c, size_t i)
{
    return json_pack("{s:o, s:s, s:{s:o, s:o}}", "id", json_sprintf("call_%zu", i), "type",
                     "function", "function", "name", json_of_bytes(&c->name), "arguments",
                     json_of_bytes(&c->arguments));
}

loci_status loci_chat_reply_json(const loci_chat_reply *r, char **json, size_t *bytes,
                                 loci_error *err)
{
    *json = NULL;
    *bytes = 0;
    bool failed = r->failed || r->reasoning.failed || r->answer.failed || r->value.failed;
    json_t *o = json_pack("{s:s, s:o}", "role", "assistant", "content", json_of_bytes(&r->answer));
    if (o != NULL && r->has_reasoning)
        failed |= json_object_set_new(o, "reasoning_content", json_of_bytes(&r->reasoning)) != 0;
    json_t *calls = json_array();
    for (size_t i = 0; i < r->n_calls; i++) {
        const reply_call *c = &r->call[i];
        if (c->closed && c->bad.n > 0) {
            json_decref(calls);
            json_decref(o);
            return loci_fail(err, LOCI_EFORMAT,
                             "reply: call %zu (%.60s): the value of \"%.60s\" is not JSON", i,
                             c->name.bytes, c->bad.bytes);
        }
        failed |= c->name.failed || c->arguments.failed;
        if (c->closed) failed |= json_array_append_new(calls, call_message(c, i)) != 0;
    }
    if (o != NULL && json_array_size(calls) > 0) failed |= json_object_set(o, "tool_calls", calls);
    json_decref(calls);
    loci_text text = { 0 };
    if (o != NULL) loci_text_put_json(&text, o);
    json_decref(o);
    if (o == NULL || failed || text.failed) {
        loci_text_free(&text);
        return loci_fail(err, LOCI_ENOMEM, "reply: no memory to write it");
    }
    *json = text.bytes;
    *bytes = text.n;
    return LOCI_OK;
}
