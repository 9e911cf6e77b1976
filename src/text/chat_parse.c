/* chat_parse.c - a reply in pieces of any size to events.
 *
 * One buffer, a little longer than the longest tag, holds what was not told yet.  Each state
 * looks at it and takes bytes from its front: in reasoning, answers and values everything up
 * to the next tag, or all but an end that may be the beginning of one; between them whole
 * tags.  A tag that does not fit the buffer is malformed, so memory is bounded whatever comes. */
#include <stdlib.h>
#include "base/base.h"
#include "text/chat_impl.h"

#define CALLS_OPEN      "\n\n<" LOCI_CHAT_DSML "tool_calls"
#define CALLS_CLOSE     "</" LOCI_CHAT_DSML "tool_calls>"
#define CALL_OPEN       "<" LOCI_CHAT_DSML "invoke name=\""
#define CALL_CLOSE      "</" LOCI_CHAT_DSML "invoke>\n"
#define PARAMETER_OPEN  "<" LOCI_CHAT_DSML "parameter name=\""
#define PARAMETER_CLOSE "</" LOCI_CHAT_DSML "parameter"

enum { BUFFER_BYTES = 4096 };
_Static_assert(BUFFER_BYTES > LOCI_CHAT_NAME_MAX + 256, "the longest tag fits the buffer");

typedef enum {
    IN_REASONING,
    IN_ANSWER,
    AT_CALLS, /* CALLS_OPEN is next */
    BETWEEN,  /* a call, or the end of all */
    IN_CALL,  /* a parameter, or the call's end */
    IN_VALUE,
    AT_VALUE_END, /* PARAMETER_CLOSE is next */
    OVER,         /* nothing may follow */
    BROKEN        /* everything is malformed */
} parse_state;

struct loci_chat_parser {
    parse_state state;
    char buffer[BUFFER_BYTES];
    size_t n;
    uint64_t taken;       /* bytes of the reply before buffer[0] */
    loci_bytes_map names; /* of the call's parameters */
    loci_error why;       /* BROKEN: what was wrong */
    /* of the call at hand */
    loci_chat_event_fn *fn;
    void *ctx;
    loci_error *err;
};

/* ---- events ------------------------------------------------------------------------------- */

/* Tell the first len bytes of the buffer, and take them from it. */
static loci_status tell(loci_chat_parser *p, loci_chat_event_kind kind, size_t len, size_t name_at,
                        size_t name_len, bool is_text)
{
    const loci_chat_event e = { kind,     p->buffer, len, name_len > 0 ? p->buffer + name_at : "",
                                name_len, is_text };
    const int stop = p->fn(p->ctx, &e);
    p->n -= len;
    p->taken += len;
    memmove(p->buffer, p->buffer + len, p->n);
    return stop ? loci_fail(p->err, LOCI_ECANCEL, "chat: stopped by the caller") : LOCI_OK;
}

static loci_status tell_piece(loci_chat_parser *p, loci_chat_event_kind kind, size_t len)
{
    return len > 0 ? tell(p, kind, len, 0, 0, false) : LOCI_OK;
}

/* From here on all is malformed.  The bytes at buffer[at] are shown. */
static void give_up(loci_chat_parser *p, size_t at, const char *expected)
{
    const size_t shown = p->n - at < 24 ? p->n - at : 24;
    loci_fail(&p->why, LOCI_EFORMAT, "reply: byte %llu: expected %s, found %s%.*s",
              (unsigned long long)(p->taken + at), expected, shown == 0 ? "the end" : "",
              (int)shown, p->buffer + at);
    p->state = BROKEN;
}

/* ---- matching ------------------------------------------------------------------------------- */

typedef struct {
    const char *bytes;
    size_t n, i; /* i: read so far */
    enum { FITS, MORE, NOT } result;
} cursor;

static void match(cursor *c, const char *literal)
{
    for (; c->result == FITS && *literal != '\0'; literal++) {
        if (c->i == c->n)
            c->result = MORE;
        else if (c->bytes[c->i] != *literal)
            c->result = NOT;
        else
            c->i++;
    }
}

/* A name up to the quote behind it, which stays. */
static void match_name(cursor *c, size_t *at, size_t *len)
{
    *at = c->i;
    while (c->result == FITS) {
        if (c->i == c->n) {
            c->result = c->i - *at > LOCI_CHAT_NAME_MAX ? NOT : MORE;
        } else if (c->bytes[c->i] == '"') {
            break;
        } else if ((unsigned char)c->bytes[c->i] < 0x20) {
            c->result = NOT;
        } else {
            c->i++;
        }
    }
    *len = c->i - *at;
    if (c->result == FITS && (*len == 0 || *len > LOCI_CHAT_NAME_MAX)) c->result = NOT;
}

static cursor start(const loci_chat_parser *p)
{
    return (cursor){ p->buffer, p->n, 0, FITS };
}

/* Where `mark` begins in the buffer, or where the beginning of it that ends the buffer does;
 * p->n if neither is there. */
static size_t find_mark(const loci_chat_parser *p, const char *mark, bool *whole)
{
    const size_t len = strlen(mark);
    const char *end = p->buffer + p->n;
    *whole = false;
    for (const char *at = p->buffer; (at = memchr(at, mark[0], (size_t)(end - at))) != NULL; at++) {
        const size_t left = (size_t)(end - at);
        if (memcmp(at, mark, left < len ? left : len) != 0) continue;
        *whole = left >= len;
        return (size_t)(at - p->buffer);
    }
    return p->n;
}

/* ---- states ---------------------------------------------------------------------------------- */

/* Each returns with *moved false when it needs more bytes. */

static loci_status in_reasoning(loci_chat_parser *p, bool *moved)
{
    bool closed = false, calls = false;
    const size_t close = find_mark(p, LOCI_CHAT_THOUGHT, &closed);
    const size_t call = find_mark(p, CALLS_OPEN, &calls);
    const size_t until = close < call ? close : call;
    loci_status st = tell_piece(p, LOCI_CHAT_REASONING, until);
    *moved = until > 0;
    if (st != LOCI_OK) return st;
    if (closed && close == until) {
        p->state = IN_ANSWER;
        *moved = true;
        return tell(p, LOCI_CHAT_REASONING_END, strlen(LOCI_CHAT_THOUGHT), 0, 0, false);
    }
    if (calls && call == until) {
        *moved = true;
        give_up(p, 0, "the end of reasoning before tool calls");
    }
    return LOCI_OK;
}

static loci_status in_answer(loci_chat_parser *p, bool *moved)
{
    bool whole = false;
    const size_t until = find_mark(p, CALLS_OPEN, &whole);
    if (whole) p->state = AT_CALLS;
    *moved = whole || until > 0;
    return tell_piece(p, LOCI_CHAT_ANSWER, until);
}

static loci_status at_calls(loci_chat_parser *p, bool *moved)
{
    cursor c = start(p);
    match(&c, CALLS_OPEN ">\n");
    *moved = c.result != MORE;
    if (c.result == MORE) return LOCI_OK;
    if (c.result == NOT) {
        give_up(p, c.i, "\">\" and a line's end");
        return LOCI_OK;
    }
    p->state = BETWEEN;
    return tell(p, LOCI_CHAT_CALLS, c.i, 0, 0, false);
}

static loci_status between(loci_chat_parser *p, bool *moved)
{
    cursor end = start(p), call = start(p);
    size_t at = 0, len = 0;
    match(&end, CALLS_CLOSE);
    match(&call, CALL_OPEN);
    match_name(&call, &at, &len);
    match(&call, "\">\n");
    *moved = true;
    if (end.result == FITS) {
        p->state = OVER;
        return tell(p, LOCI_CHAT_CALLS_END, end.i, 0, 0, false);
    }
    if (call.result == FITS) {
        p->state = IN_CALL;
        loci_bytes_map_free(&p->names);
        return tell(p, LOCI_CHAT_CALL, call.i, at, len, false);
    }
    if (end.result == NOT && call.result == NOT)
        give_up(p, call.i > end.i ? call.i : end.i, "a call or the end of the calls");
    else
        *moved = false;
    return LOCI_OK;
}

/* A call without parameters may hold an empty line, as its template has it. */
static bool ends_call(cursor *c, bool has_parameters)
{
    cursor blank = *c;
    match(c, CALL_CLOSE);
    if (has_parameters || c->result == FITS) return c->result == FITS;
    match(&blank, "\n" CALL_CLOSE);
    if (blank.result < c->result) *c = blank;
    return c->result == FITS;
}

static loci_status open_parameter(loci_chat_parser *p, const cursor *c, size_t at, size_t len,
                                  bool is_text)
{
    const int64_t count = p->names.n;
    if (count == LOCI_CHAT_PARAMETERS_MAX) {
        give_up(p, 0, "at most 256 parameters");
        return LOCI_OK;
    }
    const int64_t number = loci_bytes_map_add(&p->names, p->buffer + at, len);
    if (number == LOCI_BYTES_MAP_NONE) return loci_fail(p->err, LOCI_ENOMEM, "reply: no memory");
    if (number < count) {
        give_up(p, at, "a parameter not given yet");
        return LOCI_OK;
    }
    p->state = IN_VALUE;
    return tell(p, LOCI_CHAT_PARAMETER, c->i, at, len, is_text);
}

static loci_status in_call(loci_chat_parser *p, bool *moved)
{
    cursor end = start(p), head = start(p);
    size_t at = 0, len = 0;
    *moved = true;
    if (ends_call(&end, p->names.n > 0)) {
        p->state = BETWEEN;
        return tell(p, LOCI_CHAT_CALL_END, end.i, 0, 0, false);
    }
    match(&head, PARAMETER_OPEN);
    match_name(&head, &at, &len);
    match(&head, "\" string=\"");
    cursor is_text = head, is_json = head;
    match(&is_text, "true\">");
    match(&is_json, "false\">");
    if (is_text.result == FITS) return open_parameter(p, &is_text, at, len, true);
    if (is_json.result == FITS) return open_parameter(p, &is_json, at, len, false);
    if (end.result == NOT && is_text.result == NOT && is_json.result == NOT)
        give_up(p, is_text.i > end.i ? is_text.i : end.i, "a parameter or the call's end");
    else
        *moved = false;
    return LOCI_OK;
}

static loci_status in_value(loci_chat_parser *p, bool *moved)
{
    bool whole = false;
    const size_t until = find_mark(p, PARAMETER_CLOSE, &whole);
    if (whole) p->state = AT_VALUE_END;
    *moved = whole || until > 0;
    return tell_piece(p, LOCI_CHAT_VALUE, until);
}

static loci_status at_value_end(loci_chat_parser *p, bool *moved)
{
    cursor c = start(p);
    match(&c, PARAMETER_CLOSE ">\n");
    *moved = c.result != MORE;
    if (c.result == MORE) return LOCI_OK;
    if (c.result == NOT) {
        give_up(p, c.i, "\">\" and a line's end");
        return LOCI_OK;
    }
    p->state = IN_CALL;
    return tell(p, LOCI_CHAT_PARAMETER_END, c.i, 0, 0, false);
}

static loci_status step(loci_chat_parser *p, bool *moved)
{
    *moved = false;
    if (p->n == 0) return LOCI_OK;
    switch (p->state) {
    case IN_REASONING: return in_reasoning(p, moved);
    case IN_ANSWER: return in_answer(p, moved);
    case AT_CALLS: return at_calls(p, moved);
    case BETWEEN: return between(p, moved);
    case IN_CALL: return in_call(p, moved);
    case IN_VALUE: return in_value(p, moved);
    case AT_VALUE_END: return at_value_end(p, moved);
    case OVER: give_up(p, 0, "the end behind the calls"); /* fall through */
    case BROKEN: break;
    }
    *moved = true;
    return tell_piece(p, LOCI_CHAT_MALFORMED, p->n);
}

/* ---- the parser --------------------------------------------------------------------------------- */

loci_status loci_chat_parser_open(loci_chat_parser **out, loci_chat_opening opening,
                                  loci_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return loci_fail(err, LOCI_ENOMEM, "reply: no memory to read it");
    (*out)->state = opening == LOCI_CHAT_OPENS_REASONING ? IN_REASONING : IN_ANSWER;
    return LOCI_OK;
}

void loci_chat_parser_close(loci_chat_parser *p)
{
    if (p == NULL) return;
    loci_bytes_map_free(&p->names);
    free(p);
}

static loci_status run(loci_chat_parser *p, loci_chat_event_fn *fn, void *ctx, loci_error *err)
{
    p->fn = fn;
    p->ctx = ctx;
    p->err = err;
    loci_status st = LOCI_OK;
    for (bool moved = true; moved && st == LOCI_OK;) st = step(p, &moved);
    return st;
}

loci_status loci_chat_parser_feed(loci_chat_parser *p, const char *bytes, size_t n,
                                  loci_chat_event_fn *fn, void *ctx, loci_error *err)
{
    while (n > 0) {
        /* A state that waits holds less than a tag, so there is always room. */
        const size_t room = BUFFER_BYTES - p->n, take = n < room ? n : room;
        memcpy(p->buffer + p->n, bytes, take);
        p->n += take;
        bytes += take;
        n -= take;
        const loci_status st = run(p, fn, ctx, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

loci_status loci_chat_parser_finish(loci_chat_parser *p, loci_chat_event_fn *fn, void *ctx,
                                    loci_error *err)
{
    loci_status st = run(p, fn, ctx, err);
    if (st != LOCI_OK) return st;
    switch (p->state) {
    case IN_REASONING: return tell_piece(p, LOCI_CHAT_REASONING, p->n);
    case IN_ANSWER: return tell_piece(p, LOCI_CHAT_ANSWER, p->n);
    case OVER: return LOCI_OK;
    case BROKEN: break;
    default: give_up(p, p->n, "the rest of a call"); break;
    }
    st = tell_piece(p, LOCI_CHAT_MALFORMED, p->n);
    return st == LOCI_OK ? loci_fail(err, LOCI_EFORMAT, "%s", p->why.text) : st;
}
