/* fuzz_chat_reply.c - any bytes as a reply.  The first byte says what the prompt opened and how
 * the rest is cut into pieces: the bytes of all events are the reply whatever the pieces, the
 * kinds come in an order that the grammar allows, and the gathered message is JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "loci/chat.h"

static void must(int ok)
{
    if (!ok) abort();
}

typedef struct {
    const uint8_t *reply;
    size_t n;
    loci_chat_event_kind last;
    int depth; /* 0 outside, 1 between calls, 2 in a call, 3 in a value */
    loci_chat_reply *gathered;
} checker;

static int on_event(void *ctx, const loci_chat_event *e)
{
    checker *c = ctx;
    must(e->len > 0 && memcmp(c->reply + c->n, e->bytes, e->len) == 0);
    c->n += e->len;
    must(c->last != LOCI_CHAT_MALFORMED || e->kind == LOCI_CHAT_MALFORMED);
    switch (e->kind) {
    case LOCI_CHAT_REASONING:
    case LOCI_CHAT_REASONING_END:
    case LOCI_CHAT_ANSWER: must(c->depth == 0 && c->last != LOCI_CHAT_CALLS_END); break;
    case LOCI_CHAT_CALLS: must(c->depth++ == 0); break;
    case LOCI_CHAT_CALL: must(c->depth++ == 1 && e->name_len > 0); break;
    case LOCI_CHAT_PARAMETER: must(c->depth++ == 2 && e->name_len > 0); break;
    case LOCI_CHAT_VALUE: must(c->depth == 3); break;
    case LOCI_CHAT_PARAMETER_END: must(c->depth-- == 3); break;
    case LOCI_CHAT_CALL_END: must(c->depth-- == 2); break;
    case LOCI_CHAT_CALLS_END: must(c->depth-- == 1); break;
    case LOCI_CHAT_MALFORMED: break;
    }
    c->last = e->kind;
    return loci_chat_reply_event(c->gathered, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    const size_t piece = 1 + (data[0] >> 1);
    checker c = { .reply = data + 1 };
    loci_chat_parser *p = NULL;
    must(loci_chat_parser_open(&p, data[0] & 1 ? LOCI_CHAT_OPENS_REASONING : LOCI_CHAT_OPENS_ANSWER,
                               NULL) == LOCI_OK);
    must(loci_chat_reply_open(&c.gathered, NULL) == LOCI_OK);
    for (size_t at = 1; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        must(loci_chat_parser_feed(p, (const char *)data + at, n, on_event, &c, NULL) == LOCI_OK);
    }
    loci_error err = { 0 };
    const loci_status end = loci_chat_parser_finish(p, on_event, &c, &err);
    must(c.n == size - 1);
    must(end == LOCI_OK || (end == LOCI_EFORMAT && err.text[0] != '\0'));
    must(end != LOCI_OK || c.depth == 0);
    char *json = NULL;
    size_t n = 0;
    const loci_status st = loci_chat_reply_json(c.gathered, &json, &n, NULL);
    must(st == LOCI_OK || st == LOCI_EFORMAT);
    if (st == LOCI_OK) {
        json_t *message = json_loadb(json, n, JSON_ALLOW_NUL, NULL);
        must(message != NULL);
        json_decref(message);
    }
    free(json);
    loci_chat_reply_close(c.gathered);
    loci_chat_parser_close(p);
    return 0;
}
