/* chat.c - a conversation of the command line as a prompt, and a reply as a message of it. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHAT_BYTES_MAX = 1 << 28 };

/* The texts of --chat-texts, else those of the folder that the model is, or that its file lies in. */
static loci_status open_texts(const chat_args *a, const char *model, loci_chat_texts **texts,
                              loci_error *err)
{
    char folder[4300];
    struct stat s;
    if (a->texts) return loci_chat_texts_open(texts, a->texts, err);
    snprintf(folder, sizeof folder, "%s", model_dir(model));
    if (stat(folder, &s) != 0 || !S_ISDIR(s.st_mode)) {
        char *slash = strrchr(folder, '/');
        if (slash)
            slash[slash == folder ? 1 : 0] = '\0';
        else
            strcpy(folder, ".");
    }
    return loci_chat_texts_open(texts, folder, err);
}

loci_status chat_prompt(const chat_args *a, const char *file, const char *model,
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
    if (st == LOCI_OK) st = open_texts(a, model, &texts, err);
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

loci_status chat_message(const char *text, size_t bytes, loci_chat_opening opening, char **json,
                         size_t *n, loci_error *err)
{
    loci_chat_parser *p = NULL;
    loci_chat_reply *r = NULL;
    loci_status st = loci_chat_parser_open(&p, opening, err);
    if (st == LOCI_OK) st = loci_chat_reply_open(&r, err);
    if (st == LOCI_OK) st = loci_chat_parser_feed(p, text, bytes, loci_chat_reply_event, r, err);
    if (st == LOCI_OK) st = loci_chat_parser_finish(p, loci_chat_reply_event, r, err);
    if (st == LOCI_OK) st = loci_chat_reply_json(r, json, n, err);
    loci_chat_reply_close(r);
    loci_chat_parser_close(p);
    return st;
}
