/* chat_texts.c - the sentences of the release that a prompt may need: where they are looked for,
 * and what is known without them.
 *
 * The first release adds nothing for the efforts low and high, that of 31 July 2026 (its config
 * has dspark_... keys) a text for high and another for max.  None of these sentences is
 * kept here: they come from the checkpoint or from a file of the caller's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/base.h"
#include "text/chat_impl.h"

enum { TEXTS_BYTES_MAX = 1 << 20, CONFIG_BYTES_MAX = 4 << 20, PATH_BYTES = 4300 };

static loci_status no_memory(const char *label, loci_error *err)
{
    return loci_fail(err, LOCI_ENOMEM, "%s: no memory for its texts", label);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static loci_status take_text(char **slot, const json_t *value, const char *label, const char *key,
                             loci_error *err)
{
    if (value == NULL) return LOCI_OK;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return loci_fail(err, LOCI_EFORMAT, "%s: \"%s\" is no text", label, key);
    free(*slot);
    *slot = strdup(json_string_value(value));
    return *slot != NULL ? LOCI_OK : no_memory(label, err);
}

static loci_status check_keys(const json_t *object, const char *const *known, const char *label,
                              loci_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)object, key, value)
    {
        const char *const *k = known;
        while (*k != NULL && strcmp(*k, key) != 0) k++;
        if (*k == NULL)
            return loci_fail(err, LOCI_EFORMAT, "%s: unknown key \"%.60s\"", label, key);
    }
    return LOCI_OK;
}

static loci_status read_json(loci_chat_texts *t, const char *text, size_t len, const char *label,
                             loci_error *err)
{
    static const char *const keys[] = { "reasoning_effort", "tools", "response_format", NULL };
    static const char *const effort[] = { "low", "high", "max", NULL };
    json_error_t at;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL)
        return loci_fail(err, LOCI_EFORMAT, "%s: line %d: not JSON: %.100s", label, at.line,
                         at.text);
    const json_t *efforts = json_object_get(root, "reasoning_effort");
    loci_status st = LOCI_OK;
    if (!json_is_object(root) || (efforts != NULL && !json_is_object(efforts)))
        st = loci_fail(err, LOCI_EFORMAT, "%s: %s is not an object", label,
                       json_is_object(root) ? "\"reasoning_effort\"" : "the file");
    if (st == LOCI_OK) st = check_keys(root, keys, label, err);
    if (st == LOCI_OK && efforts != NULL) st = check_keys(efforts, effort, label, err);
    for (int i = 0; i < LOCI_CHAT_EFFORTS && st == LOCI_OK; i++)
        st = take_text(&t->effort[i], json_object_get(efforts, effort[i]), label, effort[i], err);
    if (st == LOCI_OK)
        st = take_text(&t->tools, json_object_get(root, "tools"), label, "tools", err);
    if (st == LOCI_OK)
        st = take_text(&t->response_format, json_object_get(root, "response_format"), label,
                       "response_format", err);
    json_decref(root);
    return st;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *tail)
{
    const size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static loci_status read_file(loci_chat_texts *t, const char *path, loci_error *err)
{
    char *text = NULL;
    size_t len = 0;
    loci_status st = loci_file_load(NULL, path, TEXTS_BYTES_MAX, &text, &len, err);
    if (st == LOCI_OK)
        st = ends_with(path, ".py") ? loci_python_texts(t, text, len, path, err)
                                    : read_json(t, text, len, path, err);
    free(text);
    return st;
}

static bool exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

/* The release of 31 July 2026 has another ladder: what high adds is not known without its file. */
static loci_status read_config(loci_chat_texts *t, const char *path, loci_error *err)
{
    char *text = NULL;
    size_t len = 0;
    loci_status st = loci_file_load(NULL, path, CONFIG_BYTES_MAX, &text, &len, err);
    if (st != LOCI_OK) return st;
    json_error_t at;
    json_t *root = json_loadb(text, len, 0, &at);
    free(text);
    if (root == NULL)
        return loci_fail(err, LOCI_EFORMAT, "%s: line %d: not JSON: %.100s", path, at.line,
                         at.text);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(root, key, value)
    {
        if (strncmp(key, "dspark_", 7) != 0) continue;
        free(t->effort[LOCI_CHAT_HIGH - 1]);
        t->effort[LOCI_CHAT_HIGH - 1] = NULL;
    }
    json_decref(root);
    return st;
}

static loci_status read_folder(loci_chat_texts *t, const char *dir, loci_error *err)
{
    static const char *const name[] = { "chat_texts.json", "encoding/encoding_dsv4.py" };
    char path[PATH_BYTES];
    loci_status st = loci_path_join(path, sizeof path, dir, "config.json", err);
    if (st == LOCI_OK && exists(path)) st = read_config(t, path, err);
    for (size_t i = 0; i < sizeof name / sizeof *name && st == LOCI_OK; i++) {
        st = loci_path_join(path, sizeof path, dir, name[i], err);
        if (st == LOCI_OK && exists(path)) return read_file(t, path, err);
    }
    return st;
}

loci_status loci_chat_texts_open(loci_chat_texts **out, const char *path, loci_error *err)
{
    *out = NULL;
    struct stat s;
    if (stat(path, &s) != 0)
        return loci_fail(err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO, "%s: %s", path,
                         errno == ENOENT ? "no such file or folder" : "cannot be read");
    loci_chat_texts *t = calloc(1, sizeof *t);
    if (t == NULL) return no_memory(path, err);
    for (int i = LOCI_CHAT_LOW; i <= LOCI_CHAT_HIGH; i++) t->effort[i - 1] = strdup("");
    loci_status st = t->effort[0] != NULL && t->effort[1] != NULL ? LOCI_OK : no_memory(path, err);
    if (st == LOCI_OK)
        st = S_ISDIR(s.st_mode) ? read_folder(t, path, err) : read_file(t, path, err);
    if (st != LOCI_OK) {
        loci_chat_texts_close(t);
        return st;
    }
    *out = t;
    return LOCI_OK;
}

void loci_chat_texts_close(loci_chat_texts *t)
{
    if (t == NULL) return;
    for (int i = 0; i < LOCI_CHAT_EFFORTS; i++) free(t->effort[i]);
    free(t->tools);
    free(t->response_format);
    free(t);
}
