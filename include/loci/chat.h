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

#ifdef __cplusplus
}
#endif
#endif
