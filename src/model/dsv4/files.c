/* files.c - a checkpoint of the family opened as one thing: a folder of config.json and safetensors,
 * or one GGUF file.  Which it is, the first four bytes of a file say. */
#include "model/dsv4/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096 };

struct loci_dsv4_files {
    loci_dsv4_hparams hp;
    loci_dsv4_source source;
    loci_gguf *gguf; /* one of these two */
    loci_st_set *set;
    char *path;
};

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool is_gguf(const char *path)
{
    loci_file f;
    char magic[4] = { 0 };
    struct stat s;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) return false;
    if (loci_file_open(&f, NULL, path, O_RDONLY, NULL) != LOCI_OK) return false;
    const bool read = loci_file_read(&f, path, magic, sizeof magic, 0, NULL) == LOCI_OK;
    (void)loci_file_close(&f, NULL);
    return read && memcmp(magic, "GGUF", 4) == 0;
}

/* config.json of a folder, or the file itself, as text; owned. */
static loci_status load_config(const char *path, char *full, char **text, loci_error *err)
{
    size_t len = 0;
    loci_status st = LOCI_OK;
    *text = NULL;
    if (is_folder(path))
        st = loci_path_join(full, PATH_BYTES, path, "config.json", err);
    else
        snprintf(full, PATH_BYTES, "%s", path);
    if (st == LOCI_OK) st = loci_file_load(NULL, full, LOCI_DSV4_CONFIG_MAX_BYTES, text, &len, err);
    if (st == LOCI_OK && strlen(*text) != len)
        st = loci_fail(err, LOCI_EFORMAT, "%s: byte 0 at offset %zu of a text file", full,
                       strlen(*text));
    return st;
}

static loci_status shape_of_config(loci_dsv4_hparams *hp, const char *path, loci_error *err)
{
    char full[PATH_BYTES], *text = NULL;
    loci_status st = load_config(path, full, &text, err);
    if (st == LOCI_OK) st = loci_dsv4_config_parse(hp, text, full, err);
    free(text);
    return st;
}

bool loci_dsv4_is(const char *path)
{
    char full[PATH_BYTES], *text = NULL;
    loci_text_span name = { 0 };
    bool is = false;
    if (is_gguf(path)) {
        loci_gguf *f = NULL;
        if (loci_gguf_open(&f, path, NULL) != LOCI_OK) return true; /* its own error says why */
        is = loci_gguf_text(f, "general.architecture", &name) && name.len == 9 &&
             memcmp(name.data, "deepseek4", 9) == 0;
        loci_gguf_close(f);
        return is;
    }
    if (load_config(path, full, &text, NULL) == LOCI_OK) is = loci_dsv4_config_is(text);
    free(text);
    return is;
}

/* Size of the weights beside a config; a folder without any is fine. */
static loci_status folder_bytes(const char *path, int64_t *bytes, loci_error *err)
{
    loci_st_set *set = NULL;
    loci_error why = { 0 };
    *bytes = 0;
    if (!is_folder(path)) return LOCI_OK;
    const loci_status st = loci_st_set_open(&set, path, &why);
    if (st == LOCI_ENOTFOUND) return LOCI_OK; /* not here, or not all of them yet */
    if (st != LOCI_OK) {
        if (err && err->code == LOCI_OK) *err = why;
        return st;
    }
    *bytes = loci_st_set_bytes(set);
    loci_st_set_close(set);
    return LOCI_OK;
}

loci_status loci_dsv4_shape_load(loci_dsv4_hparams *hp, const char *path, int64_t *weight_bytes,
                                 loci_error *err)
{
    int64_t bytes = 0;
    loci_status st;
    *hp = (loci_dsv4_hparams){ 0 };
    if (is_gguf(path)) {
        loci_gguf *f = NULL;
        st = loci_gguf_open(&f, path, err);
        if (st != LOCI_OK) return st;
        st = loci_dsv4_config_gguf(hp, f, err);
        bytes = (int64_t)loci_gguf_file_size(f);
        loci_gguf_close(f);
    } else {
        st = shape_of_config(hp, path, err);
        if (st == LOCI_OK && weight_bytes) st = folder_bytes(path, &bytes, err);
    }
    if (weight_bytes) *weight_bytes = st == LOCI_OK ? bytes : 0;
    return st;
}

static loci_status open_either(loci_dsv4_files *f, const char *path, loci_error *err)
{
    f->path = strdup(path);
    if (!f->path) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
    if (is_gguf(path)) {
        loci_status st = loci_gguf_open(&f->gguf, path, err);
        if (st == LOCI_OK) st = loci_dsv4_config_gguf(&f->hp, f->gguf, err);
        if (st == LOCI_OK) st = loci_dsv4_source_gguf(&f->source, f->gguf, err);
        return st;
    }
    loci_status st = shape_of_config(&f->hp, path, err);
    if (st == LOCI_OK && f->hp.family == LOCI_DSV4_V41)
        st = loci_fail(err, LOCI_EVERSION, "%s: V4.1 is recognised but not run", path);
    if (st == LOCI_OK) st = loci_st_set_open(&f->set, path, err);
    if (st == LOCI_OK) st = loci_dsv4_source_safetensors(&f->source, f->set, f->path, err);
    return st;
}

loci_status loci_dsv4_files_open(loci_dsv4_files **out, const char *path, loci_error *err)
{
    *out = NULL;
    loci_dsv4_files *f = calloc(1, sizeof *f);
    if (!f) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
    const loci_status st = open_either(f, path, err);
    if (st == LOCI_OK)
        *out = f;
    else
        loci_dsv4_files_close(f);
    return st;
}

void loci_dsv4_files_close(loci_dsv4_files *f)
{
    if (!f) return;
    loci_dsv4_source_free(&f->source);
    loci_gguf_close(f->gguf);
    loci_st_set_close(f->set);
    free(f->path);
    free(f);
}

const loci_dsv4_hparams *loci_dsv4_files_shape(const loci_dsv4_files *f)
{
    return &f->hp;
}

const loci_dsv4_source *loci_dsv4_files_source(const loci_dsv4_files *f)
{
    return &f->source;
}

const loci_gguf *loci_dsv4_files_gguf(const loci_dsv4_files *f)
{
    return f->gguf;
}

const char *loci_dsv4_files_dir(const loci_dsv4_files *f)
{
    return f->set ? f->path : NULL;
}
