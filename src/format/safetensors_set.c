/* safetensors_set.c - the tensors of a folder, in one file or in shards.
 *
 *   model.safetensors.index.json:
 *     { "metadata": { "total_size": N, .. },            not used: files say their own sizes
 *       "weight_map": { TENSOR: FILE, .. } }
 *
 * FILE is a plain name in the same folder: nothing in an index opens a file elsewhere.  What is
 * checked: the index is one object without duplicate keys; every file opens as safetensors; every
 * tensor of the map is in its file.  Files are mapped; a page is read when it is touched. */
#include "format/format_impl.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    INDEX_MAX_BYTES = 256 << 20, /* 70,000 tensors of a released model take 6 MB */
    MAX_FILES = 10000,           /* a released one has 64 shards; a process maps 65,530 pieces */
    MAX_FILE_NAME = 255
};

struct loci_st_index {
    json_t *root;
    const json_t *map; /* inside root */
    int n_files;
    const char **file; /* (n_files) by name, borrowed from root */
};

/* ---- the index -------------------------------------------------------------------------- */

static bool plain_name(const char *s)
{
    return s[0] != '\0' && s[0] != '.' && !strchr(s, '/') && strlen(s) <= MAX_FILE_NAME;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static loci_status read_map(loci_st_index *x, const char *label, loci_error *err)
{
    const char *name;
    json_t *value;
    const size_t n = json_object_size(x->map);
    size_t at = 0;
    const char **all = calloc(n + 1, sizeof *all);
    x->file = all; /* one slot a tensor at first; owned by x from here on */
    if (!all) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu tensors", label, n);
    json_object_foreach((json_t *)(uintptr_t)x->map, name, value)
    {
        const char *file = json_string_value(value);
        if (!file || !plain_name(file))
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: weight_map: %.80s: expected the name of a file in its folder, "
                             "found %.80s",
                             label, name, file ? file : "no string");
        all[at++] = file;
    }
    qsort(all, n, sizeof *all, compare_text);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(all[i], all[x->n_files - 1]) == 0) continue;
        if (x->n_files == MAX_FILES)
            return loci_fail(err, LOCI_EFORMAT, "%s: weight_map: more than %d files", label,
                             MAX_FILES);
        all[x->n_files++] = all[i];
    }
    return LOCI_OK;
}

static loci_status read_index(loci_st_index *x, const char *text, size_t len, const char *label,
                              loci_error *err)
{
    json_error_t why;
    x->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!x->root)
        return loci_fail(err, LOCI_EFORMAT, "%s: line %d column %d: %s", label, why.line,
                         why.column, why.text);
    x->map = json_object_get(x->root, "weight_map");
    if (!json_is_object(x->map))
        return loci_fail(err, LOCI_EFORMAT, "%s: weight_map: expected an object", label);
    return read_map(x, label, err);
}

loci_status loci_st_index_parse(loci_st_index **out, const char *text, size_t len,
                                const char *label, loci_error *err)
{
    *out = NULL;
    loci_st_index *x = calloc(1, sizeof *x);
    if (!x) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", label);
    const loci_status st = read_index(x, text, len, label, err);
    if (st == LOCI_OK)
        *out = x;
    else
        loci_st_index_close(x);
    return st;
}

void loci_st_index_close(loci_st_index *x)
{
    if (!x) return;
    json_decref(x->root);
    free(x->file);
    free(x);
}

int loci_st_index_files(const loci_st_index *x)
{
    return x->n_files;
}

const char *loci_st_index_file(const loci_st_index *x, int i)
{
    return i >= 0 && i < x->n_files ? x->file[i] : NULL;
}

int loci_st_index_find(const loci_st_index *x, const char *name)
{
    const char *file = json_string_value(json_object_get(x->map, name));
    if (!file) return -1;
    const char **hit = bsearch(&file, x->file, (size_t)x->n_files, sizeof *x->file, compare_text);
    return (int)(hit - x->file); /* every file of the map is in the list */
}

/* ---- the set ---------------------------------------------------------------------------- */

struct loci_st_set {
    loci_st_index *index; /* NULL: one file */
    int n;
    loci_st **file; /* (n) */
    char **path;    /* (n) */
    int64_t bytes;
};

static loci_status open_file(loci_st_set *s, const char *dir, const char *name, loci_error *err)
{
    char path[4096];
    loci_status st = loci_path_join(path, sizeof path, dir, name, err);
    if (st == LOCI_OK) st = loci_st_open(&s->file[s->n], path, err);
    if (st != LOCI_OK) return st;
    s->path[s->n] = strdup(path);
    s->bytes += (int64_t)loci_st_file_size(s->file[s->n]);
    if (!s->path[s->n++]) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
    return LOCI_OK;
}

/* Every tensor of the map is in its file. */
static loci_status check_map(const loci_st_set *s, const char *label, loci_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s->index->map, name, value)
    {
        (void)value;
        const int at = loci_st_index_find(s->index, name);
        if (!loci_st_find(s->file[at], name))
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: tensor %.120s: expected in %s, not found there", label, name,
                             s->path[at]);
    }
    return LOCI_OK;
}

static loci_status open_all(loci_st_set *s, const char *dir, loci_error *err)
{
    const int n = s->index ? s->index->n_files : 1;
    s->file = calloc((size_t)n + 1, sizeof *s->file);
    s->path = calloc((size_t)n + 1, sizeof *s->path);
    if (!s->file || !s->path) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", dir);
    for (int i = 0; i < n; i++) {
        const char *name = s->index ? s->index->file[i] : "model.safetensors";
        const loci_status st = open_file(s, dir, name, err);
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

loci_status loci_st_set_open(loci_st_set **out, const char *dir, loci_error *err)
{
    char path[4096];
    char *text = NULL;
    size_t len = 0;
    loci_error why = { 0 };
    *out = NULL;
    loci_status st = loci_path_join(path, sizeof path, dir, "model.safetensors.index.json", err);
    if (st != LOCI_OK) return st;
    loci_st_set *s = calloc(1, sizeof *s);
    if (!s) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", dir);
    st = loci_file_load(NULL, path, INDEX_MAX_BYTES, &text, &len, &why);
    if (st == LOCI_OK)
        st = loci_st_index_parse(&s->index, text, len, path, err);
    else if (st == LOCI_ENOTFOUND)
        st = LOCI_OK; /* one file */
    else if (err && err->code == LOCI_OK)
        *err = why;
    if (st == LOCI_OK) st = open_all(s, dir, err);
    if (st == LOCI_OK && s->index) st = check_map(s, path, err);
    free(text);
    if (st == LOCI_OK)
        *out = s;
    else
        loci_st_set_close(s);
    return st;
}

void loci_st_set_close(loci_st_set *s)
{
    if (!s) return;
    for (int i = 0; i < s->n; i++) {
        loci_st_close(s->file[i]);
        free(s->path[i]);
    }
    free(s->file);
    free(s->path);
    loci_st_index_close(s->index);
    free(s);
}

const loci_tensor_view *loci_st_set_find(const loci_st_set *s, const char *name, const char **file)
{
    const int at = s->index ? loci_st_index_find(s->index, name) : 0;
    if (at < 0) return NULL;
    if (file) *file = s->path[at];
    return loci_st_find(s->file[at], name);
}

int64_t loci_st_set_bytes(const loci_st_set *s)
{
    return s->bytes;
}

const char *loci_st_set_place(const loci_st_set *s, const void *data, int64_t *offset)
{
    for (int i = 0; i < s->n; i++) {
        size_t at;
        if (!loci_st_contains(s->file[i], data, &at)) continue;
        *offset = (int64_t)at;
        return s->path[i];
    }
    *offset = 0;
    return NULL;
}
