/* chat_impl.h - what the chat files share: a growing text, the release's texts, messages as
 * they were read. */
#ifndef LOCI_CHAT_IMPL_H
#define LOCI_CHAT_IMPL_H

#include <jansson.h>
#include <string.h>
#include "loci/chat.h"
#include "text/text_impl.h"

/* ---- a growing text (text_buffer.c) ------------------------------------------------------ */
typedef struct {
    char *bytes; /* owned; NUL-terminated once anything was put */
    size_t n, cap;
    bool failed; /* no memory: what is put is lost */
} loci_text;

void loci_text_put(loci_text *t, const char *bytes, size_t n);
static inline void loci_text_puts(loci_text *t, const char *s)
{
    loci_text_put(t, s, strlen(s));
}
void loci_text_put_utf8(loci_text *t, uint32_t code);
void loci_text_free(loci_text *t);
/* A JSON value as Python's json.dumps(value, ensure_ascii=False) writes it, on which the models
 * were trained: ", " and ": ", shortest numbers that read back the same, UTF-8 as it is. */
void loci_text_put_json(loci_text *t, const json_t *value);

/* ---- the release's texts (chat_texts.c, python_text.c) ------------------------------------- */
enum { LOCI_CHAT_EFFORTS = 3 }; /* low, high, max */

struct loci_chat_texts {
    char *effort[LOCI_CHAT_EFFORTS]; /* NULL: not known; "" adds nothing; owned */
    char *tools, *response_format;   /* NULL: not known; owned */
};

/* Texts that a Python module assigns.  Only plain literals count, joined or in parentheses;
 * names that are assigned anything else stay unknown.
 * Errors: LOCI_EFORMAT not even the strings of the source can be told; LOCI_ENOMEM. */
loci_status loci_python_texts(loci_chat_texts *t, const char *source, size_t len, const char *label,
                              loci_error *err);

/* ---- tokens of the grammar -------------------------------------------------------------- */
#define LOCI_CHAT_BAR       "\xef\xbd\x9c" /* U+FF5C */
#define LOCI_CHAT_TOKEN(x)  "<" LOCI_CHAT_BAR x LOCI_CHAT_BAR ">"
#define LOCI_CHAT_BOS       LOCI_CHAT_TOKEN("begin\xe2\x96\x81of\xe2\x96\x81sentence")
#define LOCI_CHAT_EOS       LOCI_CHAT_TOKEN("end\xe2\x96\x81of\xe2\x96\x81sentence")
#define LOCI_CHAT_USER      LOCI_CHAT_TOKEN("User")
#define LOCI_CHAT_ASSISTANT LOCI_CHAT_TOKEN("Assistant")
#define LOCI_CHAT_THINK     "<think>"
#define LOCI_CHAT_THOUGHT   "</think>"
#define LOCI_CHAT_DSML      LOCI_CHAT_BAR "DSML" LOCI_CHAT_BAR

/* ---- messages (chat_read.c) ------------------------------------------------------------------ */
typedef enum {
    LOCI_ROLE_SYSTEM,
    LOCI_ROLE_DEVELOPER,
    LOCI_ROLE_USER, /* also results of tools */
    LOCI_ROLE_ASSISTANT,
    LOCI_ROLE_REMINDER
} loci_chat_role;

/* One part of a user turn. */
typedef struct {
    const json_t *content;
    const char *call_id; /* NULL: none given */
    bool is_result;
} loci_chat_block;

typedef struct {
    loci_chat_role role;
    size_t index;          /* of the message in the input, for messages to people */
    const json_t *content; /* all but user turns */
    const json_t *reasoning, *calls, *tools, *response_format;
    const char *task;       /* NULL: none */
    size_t block, n_blocks; /* user turns: the blocks [block, block + n_blocks) */
    bool without_eos;
} loci_chat_turn;

typedef struct {
    json_t *root; /* owns all values below */
    loci_chat_turn *turn;
    loci_chat_block *block;
    size_t n_turns, n_blocks;
    bool has_tools;
} loci_chat_log;

/* Read and check the messages; consecutive user and tool messages become one turn, its results
 * in the order of their calls. */
loci_status loci_chat_log_read(loci_chat_log *log, const char *json, size_t len, const char *label,
                               loci_error *err);
void loci_chat_log_free(loci_chat_log *log);

#endif
