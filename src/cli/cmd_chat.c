/* cmd_chat.c - `loci tokenizer prompt | reply`: what a chat model is given, and what it gave. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

enum { REPLY_BYTES_MAX = 1 << 28 };

/* ---- prompt ------------------------------------------------------------------------------ */

static const char *opening_name(loci_chat_opening o)
{
    return o == LOCI_CHAT_OPENS_REASONING ? "reasoning"
           : o == LOCI_CHAT_OPENS_ANSWER  ? "answer"
                                          : "nothing";
}

static void show_prompt(const loci_chat_prompt *p, bool ids, bool json)
{
    if (!json && ids) {
        for (size_t i = 0; i < p->n_ids; i++) printf("%s%d", i > 0 ? " " : "", p->ids[i]);
        printf("\n");
        return;
    }
    if (!json) {
        print_text(stdout, p->text, p->bytes);
        return;
    }
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < p->n_ids; i++) json_array_append_new(list, json_integer(p->ids[i]));
    put_bytes(o, "text", p->text, p->bytes);
    json_object_set_new(o, "ids", list);
    put_text(o, "opens", opening_name(p->opening));
    print_json(o);
}

int tokenizer_prompt(int argc, char **argv)
{
    chat_args chat = { 0 };
    const char *tokenizer = NULL;
    bool ids = false, json = false;
    arg args[] = {
        { "tokenizer", ARG_STR, &tokenizer, 0, 0, "FILE",
          "of a DeepSeek-V4 model: tokenizer.json, folder or GGUF" },
        CHAT_ARGS(chat),
        { "ids", ARG_FLAG, &ids, 0, 0, NULL, "the ids instead of the text" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "one JSON object: text, ids, what it opens" },
    };
    arg_spec spec = {
        .usage = "tokenizer prompt --tokenizer FILE [options] CHAT.json",
        .about = "Print the prompt that a conversation becomes: a JSON list of messages, or an "
                 "object with messages, tools and response_format.  - reads standard input.",
        .args = args,
        .n_args = COUNT(args),
        .min_rest = 1,
        .max_rest = 1,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!tokenizer) return usage_error("--tokenizer is missing; usage: loci %s", spec.usage);
    loci_error err = { 0 };
    loci_tokenizer *t = NULL;
    loci_chat_prompt p = { 0 };
    loci_status st = loci_model_tokenizer(&t, tokenizer, &err);
    if (st == LOCI_OK) st = chat_prompt(&chat, spec.rest.item[0], tokenizer, t, &p, &err);
    if (st == LOCI_OK) show_prompt(&p, ids, json);
    loci_chat_prompt_free(&p);
    loci_tokenizer_close(t);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

/* ---- reply --------------------------------------------------------------------------------- */

int tokenizer_reply(int argc, char **argv)
{
    bool reasoning = false;
    arg args[] = {
        { "reasoning", ARG_FLAG, &reasoning, 0, 0, NULL,
          "the prompt opened reasoning: the text up to </think> is that" },
    };
    arg_spec spec = {
        .usage = "tokenizer reply [options] [FILE]",
        .about = "Print what a DeepSeek-V4 model wrote as a message that may be appended to its "
                 "conversation: reasoning, content, tool calls.  Without FILE: standard input.",
        .args = args,
        .n_args = COUNT(args),
        .max_rest = 1,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    char *text = NULL, *json = NULL;
    size_t bytes = 0, n = 0;
    loci_status st =
        read_input(spec.rest.n > 0 ? spec.rest.item[0] : "-", REPLY_BYTES_MAX, &text, &bytes, &err);
    if (st == LOCI_OK)
        st = chat_message(text, bytes,
                          reasoning ? LOCI_CHAT_OPENS_REASONING : LOCI_CHAT_OPENS_ANSWER, &json, &n,
                          &err);
    if (st == LOCI_OK) {
        print_text(stdout, json, n);
        printf("\n");
    }
    free(json);
    free(text);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}
