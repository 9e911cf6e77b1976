/* chat.h - conversations with models of the DeepSeek-V4 family: messages to a prompt, the reply
 * to its parts.
 *
 * A conversation is JSON as the OpenAI interface has it.  loci_chat_render turns it into the
 * text and ids that the model was trained on: turns, thinking modes, tools, results in the
 * order of their calls.  What the model then writes goes, in pieces of any size, through a
 * loci_chat_parser, which tells reasoning from answer and finds tool calls; loci_chat_reply
 * gathers its events.
 *
 * The instructions that the release adds for more effort, tools and response formats are its
 * own sentences and belong to the checkpoint: they are read from its encoding/ folder or from
 * a file (loci_chat_texts).  Where one is needed and not to be had, rendering fails and says so. */
#ifndef LOCI_CHAT_H
#define LOCI_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "loci/error.h"
#include "loci/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the release's texts ------------------------------------------------------------- */
typedef struct loci_chat_texts loci_chat_texts; /* immutable: any number of threads */

/* Read them.  path is a model folder, which may lack them (then the set is empty: no failure),
 * or one file.  Looked for in a folder, in this order: chat_texts.json, then
 * encoding/encoding_dsv4.py; its config.json tells which ladder of efforts it has.
 *   NAME.json  {"reasoning_effort": {"low": TEXT, "high": TEXT, "max": TEXT},
 *               "tools": TEXT, "response_format": TEXT}, every key optional
 *   NAME.py    the texts that its module assigns as plain literals; nothing is run
 * In "tools" {tool_schemas}, {dsml_token}, {thinking_start_token} and {thinking_end_token} are
 * filled in, in "response_format" {schema}; {{ and }} are braces.
 * *out is owned: loci_chat_texts_close.
 * Errors: LOCI_ENOTFOUND a file named is not there, LOCI_EFORMAT names file and place,
 * LOCI_EIO, LOCI_ENOMEM. */
LOCI_API loci_status loci_chat_texts_open(loci_chat_texts **out, const char *path, loci_error *err);
LOCI_API void loci_chat_texts_close(loci_chat_texts *t); /* NULL is fine */

/* ---- messages to a prompt ---------------------------------------------------------------- */
typedef enum {
    LOCI_CHAT_PLAIN = 0, /* "chat": answers at once */
    LOCI_CHAT_LOW = 1,   /* "low": thinks, no instruction added, whatever the release */
    LOCI_CHAT_HIGH = 2,  /* "high": the same in the first release; a text in that of 31 July 2026 */
    LOCI_CHAT_MAX = 3    /* "max": an instruction is placed before everything else */
} loci_chat_mode;
/* "chat", "low", "high" or "max"; false for anything else. */
LOCI_API bool loci_chat_mode_parse(const char *name, loci_chat_mode *mode);

typedef struct {
    loci_chat_mode mode;
    const loci_chat_texts *texts; /* borrowed for the call; NULL = none */
    bool keep_reasoning;          /* of turns before the last question, also without tools */
    /* Content that spells <think> or another token becomes that token, as in the release.
     * Off (default): content is text, whatever it spells, and cannot forge a turn. */
    bool content_tokens;
} loci_chat_options;
LOCI_API loci_chat_options loci_chat_options_default(void);

typedef enum {
    LOCI_CHAT_OPENS_NOTHING = 0, /* the last message is not one that is answered */
    LOCI_CHAT_OPENS_REASONING = 1,
    LOCI_CHAT_OPENS_ANSWER = 2
} loci_chat_opening;

typedef struct {
    char *text; /* NUL-terminated; owned by this struct */
    size_t bytes;
    int32_t *ids; /* (n_ids), BOS first; NULL without a tokenizer; owned by this struct */
    size_t n_ids;
    loci_chat_opening opening; /* what the model writes next */
} loci_chat_prompt;

/* Render a conversation: a list of messages, or an object with "messages" and perhaps "tools"
 * and "response_format", which then belong to the system message (made if there is none).
 *   {"role": "system" | "developer", "content", "tools", "response_format"}
 *   {"role": "user", "content", "task"}
 *   {"role": "assistant", "content", "reasoning_content", "tool_calls", "task", "wo_eos"}
 *   {"role": "tool", "content", "tool_call_id"}
 *   {"role": "latest_reminder", "content"}
 * content is text, null, or a list of {"type": "text", "text"} parts.  "task" is one of action,
 * query, authority, domain, title, read_url.  Other keys are refused unless they are null.
 *   t        NULL: text only; else the model's tokenizer
 *   label    names the conversation in messages
 * *out is filled on success: loci_chat_prompt_free; emptied on failure.
 * Errors: LOCI_EFORMAT names message and key, or a token that t lacks; LOCI_ENOTFOUND a text of
 * the release is needed and not among the texts; LOCI_EINVAL an option, or text that an expression
 * of the tokenizer takes too long on; LOCI_ENOMEM. */
LOCI_API loci_status loci_chat_render(const loci_tokenizer *t, const char *json, size_t len,
                                      const char *label, const loci_chat_options *opt,
                                      loci_chat_prompt *out, loci_error *err);
LOCI_API void loci_chat_prompt_free(loci_chat_prompt *p); /* frees what is inside; zeroes it */

/* ---- what the model writes, part by part ------------------------------------------------- */
/* A reply is
 *     [reasoning </think>] answer [\n\n<DSML tool_calls>\n call ... </DSML tool_calls>]
 * where DSML stands for the marker U+FF5C DSML U+FF5C in front of the tag's name, and a call is
 *     <DSML invoke name="NAME">\n parameter ... </DSML invoke>\n
 *     <DSML parameter name="NAME" string="true|false">VALUE</DSML parameter>\n
 * It is read strictly: what looks like a call and is not one is malformed, and so is all
 * behind it. */
typedef enum {
    LOCI_CHAT_REASONING = 0,     /* a piece of it */
    LOCI_CHAT_REASONING_END = 1, /* </think> */
    LOCI_CHAT_ANSWER = 2,        /* a piece of it */
    LOCI_CHAT_CALLS = 3,         /* the tag that opens all calls, with the empty line before it */
    LOCI_CHAT_CALL = 4,          /* name */
    LOCI_CHAT_PARAMETER = 5,     /* name, is_text */
    LOCI_CHAT_VALUE = 6,         /* a piece of the parameter's value; an empty value gives none */
    LOCI_CHAT_PARAMETER_END = 7,
    LOCI_CHAT_CALL_END = 8,
    LOCI_CHAT_CALLS_END = 9,
    LOCI_CHAT_MALFORMED = 10 /* a piece of what could not be read */
} loci_chat_event_kind;

/* All pointers are borrowed for the call of the loci_chat_event_fn. */
typedef struct {
    loci_chat_event_kind kind;
    /* The bytes of the reply that the event stands for.  Those of all events, one behind the
     * other, are the reply: nothing is lost or told twice.  Pieces may end inside a character. */
    const char *bytes;
    size_t len;
    const char *name; /* (name_len) of a call or parameter, else "" */
    size_t name_len;
    bool is_text; /* of a parameter: the value is text, else JSON */
} loci_chat_event;
/* Return non-zero to stop: the function that calls it returns LOCI_ECANCEL. */
typedef int loci_chat_event_fn(void *ctx, const loci_chat_event *event);

enum {
    LOCI_CHAT_NAME_MAX = 256,      /* bytes of a call's or parameter's name */
    LOCI_CHAT_PARAMETERS_MAX = 256 /* of one call */
};

/* Uses a few KiB, however long the reply is.  Belongs to one thread at a time. */
typedef struct loci_chat_parser loci_chat_parser;

/* opening: what the prompt ended with; LOCI_CHAT_OPENS_NOTHING is read as an answer. */
LOCI_API loci_status loci_chat_parser_open(loci_chat_parser **out, loci_chat_opening opening,
                                           loci_error *err);
LOCI_API void loci_chat_parser_close(loci_chat_parser *p); /* NULL is fine */
/* Take the next n >= 0 bytes.  What cannot be told yet waits: at most the longest tag.
 * Errors: LOCI_ECANCEL, LOCI_ENOMEM; the parser can then only be closed. */
LOCI_API loci_status loci_chat_parser_feed(loci_chat_parser *p, const char *bytes, size_t n,
                                           loci_chat_event_fn *fn, void *ctx, loci_error *err);
/* The reply is over: what waits is told.  A reply may end anywhere in reasoning and answer.
 * Errors: LOCI_EFORMAT malformed, or it ends inside a call: byte, expected and found are named
 * (all bytes were told); LOCI_ECANCEL, LOCI_ENOMEM. */
LOCI_API loci_status loci_chat_parser_finish(loci_chat_parser *p, loci_chat_event_fn *fn, void *ctx,
                                             loci_error *err);

/* ---- the whole reply ---------------------------------------------------------------------------- */
typedef struct loci_chat_reply loci_chat_reply;
LOCI_API loci_status loci_chat_reply_open(loci_chat_reply **out, loci_error *err);
LOCI_API void loci_chat_reply_close(loci_chat_reply *r); /* NULL is fine */
/* A loci_chat_event_fn; ctx is the reply.  Gathers the event; never stops. */
LOCI_API int loci_chat_reply_event(void *reply, const loci_chat_event *event);
/* The reply as a message that may be appended to its conversation: {"role": "assistant",
 * "content", "reasoning_content", "tool_calls"}, calls named call_0, call_1 ..  Malformed bytes
 * stand behind the content.  Bytes that are no UTF-8 become U+FFFD.
 * *json is owned (free()); NUL-terminated.
 * Errors: LOCI_EFORMAT a value that says it is JSON is not: call and parameter named;
 * LOCI_ENOMEM. */
LOCI_API loci_status loci_chat_reply_json(const loci_chat_reply *r, char **json, size_t *bytes,
                                          loci_error *err);

#ifdef __cplusplus
}
#endif
#endif
