/* chat.c - a conversation of the command line as a prompt: options, texts, what they give. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

enum { CHAT_BYTES_MAX = 1 << 28 };

/* The texts of --chat-texts, else those of the model's folder. */
static loci_status open_texts(const chat_args *a, const char *folder, loci_chat_texts **texts,
                              loci_error *err)
{
    return loci_chat_texts_open(texts, a->texts ? a->texts : folder, err);
}

loci_status chat_prompt(const chat_args *a, const char *file, const char *folder,
                        const loci_tokenizer *t, loci_chat_prompt *out, loci_error *err)
{
    loci_chat_options opt = loci_chat_options_default();
    loci_chat_texts *texts = NULL;
    char *json = NULL;
    size_t bytes = 0;
    memset(out, 0, sizeof *out);
    if (a->mode && !loci_chat_mode_parse(a->mode, &opt.mode))
        return set_error(err, LOCI_EINVAL, "--think %s: expected chat, low, high or max", a->mode);
    loci_status st = read_input(file, CHAT_BYTES_MAX, &json, &bytes, err);
    if (st == LOCI_OK) st = open_texts(a, folder, &texts, err);
    opt.texts = texts;
    opt.keep_reasoning = a->keep_reasoning;
    opt.content_tokens = a->content_tokens;
    if (st == LOCI_OK)
        st = loci_chat_render(t, json, bytes, strcmp(file, "-") == 0 ? "standard input" : file,
                              &opt, out, err);
    loci_chat_texts_close(texts);
    free(json);
    return st;
}
