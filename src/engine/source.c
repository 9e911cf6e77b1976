/* source.c - paths into a list of documents: folders are walked in name order, .gitignore and
 * .git respected, symbolic links inside folders not followed (no loops, nothing twice).
 *
 * A document's name is its path relative to the PATH argument; bytes that are not UTF-8 are
 * written %XX, so that every name is text. */
#include "engine/source.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 128 };

typedef struct {
    loci_sources *out;
    const loci_ingest_options *opt;
    loci_ignore *extra; /* --skip patterns, above every folder */
    loci_error *err;
} walk;

void loci_source_skip(const loci_ingest_options *opt, loci_sources *s, const char *path,
                      const char *reason)
{
    s->skipped++;
    if (opt->skipped) opt->skipped(opt->skipped_ctx, path, reason);
}

/* Length of the valid UTF-8 character at s (no overlong forms, no surrogates), 0 if none. */
static int utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF && (s[1] & 0xC0) == 0x80) return 2;
    if ((s[0] & 0xF0) == 0xE0 && (s[1] & 0xC0) == 0x80 && (s[2] & 0xC0) == 0x80 &&
        !(s[0] == 0xE0 && s[1] < 0xA0) && !(s[0] == 0xED && s[1] > 0x9F))
        return 3;
    if (s[0] >= 0xF0 && s[0] <= 0xF4 && (s[1] & 0xC0) == 0x80 && (s[2] & 0xC0) == 0x80 &&
        (s[3] & 0xC0) == 0x80 && !(s[0] == 0xF0 && s[1] < 0x90) && !(s[0] == 0xF4 && s[1] > 0x8F))
        return 4;
    return 0;
}

static char *escape_name(const char *name)
{
    char *out = malloc(3 * strlen(name) + 1), *w = out;
    if (!out) return NULL;
    for (const unsigned char *p = (const unsigned char *)name; *p;) {
        const int n = utf8_length(p);
        if (n == 0) {
            w += sprintf(w, "%%%02X", *p++);
            continue;
        }
        memcpy(w, p, (size_t)n);
        w += n;
        p += n;
    }
    *w = '\0';
    return out;
}

static loci_status add(walk *w, const char *path, const char *name, const struct stat *s)
{
    loci_sources *out = w->out;
    if ((int64_t)s->st_size > w->opt->max_file_bytes) {
        loci_source_skip(w->opt, out, path, "larger than the limit for one file");
        return LOCI_OK;
    }
    if (out->n == out->cap) {
        const size_t cap = out->cap ? 2 * out->cap : 64;
        loci_source *item = realloc(out->item, cap * sizeof *item);
        if (!item) return loci_fail(w->err, LOCI_ENOMEM, "no memory for %zu documents", cap);
        out->item = item;
        out->cap = cap;
    }
    loci_source x = { .path = strdup(path),
                      .name = escape_name(name),
                      .bytes = (int64_t)s->st_size };
    x.mtime_ns = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
    if (!x.path || !x.name) {
        free(x.path);
        free(x.name);
        return loci_fail(w->err, LOCI_ENOMEM, "no memory for a document name");
    }
    out->item[out->n++] = x;
    out->bytes += x.bytes;
    return LOCI_OK;
}

static loci_status visit_folder(walk *w, const char *path, const char *name,
                                const loci_ignore *above, int depth);

static loci_status visit_entry(walk *w, const char *path, const char *name,
                               const loci_ignore *ignore, const char *last, int depth)
{
    struct stat s;
    if (lstat(path, &s) != 0) {
        loci_source_skip(w->opt, w->out, path, strerror(errno));
        return LOCI_OK;
    }
    const bool is_dir = S_ISDIR(s.st_mode);
    if (is_dir && strcmp(last, ".git") == 0) return LOCI_OK;
    if (loci_ignored(ignore, last, is_dir)) return LOCI_OK;
    if (is_dir) return visit_folder(w, path, name, ignore, depth + 1);
    if (S_ISLNK(s.st_mode))
        loci_source_skip(w->opt, w->out, path, "symbolic link");
    else if (!S_ISREG(s.st_mode))
        loci_source_skip(w->opt, w->out, path, "not a regular file");
    else
        return add(w, path, name, &s);
    return LOCI_OK;
}

static loci_status visit_folder(walk *w, const char *path, const char *name,
                                const loci_ignore *above, int depth)
{
    if (depth > MAX_DEPTH) {
        loci_source_skip(w->opt, w->out, path, "folders nested too deep");
        return LOCI_OK;
    }
    struct dirent **entry;
    const int n = scandir(path, &entry, NULL, alphasort);
    if (n < 0) {
        if (depth == 0) return loci_fail(w->err, LOCI_EIO, "read folder %s", path);
        loci_source_skip(w->opt, w->out, path, strerror(errno));
        return LOCI_OK;
    }
    /* Patterns of the caller count from the PATH argument, as document names do. */
    const char *slash = strrchr(name, '/'), *here = slash ? slash + 1 : name;
    loci_ignore *ignore = w->opt->follow_gitignore ? loci_ignore_read(above, here, path)
                                                   : loci_ignore_parse(above, here, "");
    loci_status st =
        ignore ? LOCI_OK : loci_fail(w->err, LOCI_ENOMEM, "no memory for ignore patterns");
    for (int i = 0; i < n; i++) {
        const char *last = entry[i]->d_name;
        char child[4096], child_name[4096];
        if (st == LOCI_OK && strcmp(last, ".") != 0 && strcmp(last, "..") != 0) {
            const int m = *name ? snprintf(child_name, sizeof child_name, "%s/%s", name, last)
                                : snprintf(child_name, sizeof child_name, "%s", last);
            if (m >= (int)sizeof child_name ||
                loci_path_join(child, sizeof child, path, last, NULL) != LOCI_OK)
                loci_source_skip(w->opt, w->out, path, "path too long");
            else
                st = visit_entry(w, child, child_name, ignore, last, depth);
        }
        free(entry[i]);
    }
    free(entry);
    loci_ignore_free(ignore);
    return st;
}

static loci_status visit_argument(walk *w, const char *path)
{
    struct stat s = { 0 };
    if (strcmp(path, "-") == 0) return add(w, "-", w->opt->name ? w->opt->name : "stdin", &s);
    if (stat(path, &s) != 0)
        return loci_fail(w->err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO, "%s: %s", path,
                         strerror(errno));
    if (S_ISDIR(s.st_mode)) return visit_folder(w, path, "", w->extra, 0);
    if (S_ISREG(s.st_mode) || S_ISFIFO(s.st_mode) || S_ISCHR(s.st_mode)) {
        const char *base = strrchr(path, '/');
        return add(w, path, w->opt->name ? w->opt->name : base ? base + 1 : path, &s);
    }
    return loci_fail(w->err, LOCI_EINVAL, "%s: neither a file nor a folder", path);
}

static int by_name_then_order(const void *a, const void *b)
{
    const loci_source *const *x = a, *const *y = b;
    const int c = strcmp((*x)->name, (*y)->name);
    return c ? c : (*x > *y) - (*x < *y);
}

/* Two documents of one name in one call would replace each other silently: keep the first. */
static loci_status drop_same_names(walk *w)
{
    loci_sources *s = w->out;
    const loci_source **order = malloc((s->n + 1) * sizeof *order);
    if (!order) return loci_fail(w->err, LOCI_ENOMEM, "no memory for %zu documents", s->n);
    for (size_t i = 0; i < s->n; i++) order[i] = &s->item[i];
    qsort(order, s->n, sizeof *order, by_name_then_order);
    for (size_t i = 1; i < s->n; i++) {
        if (strcmp(order[i]->name, order[i - 1]->name) != 0) continue;
        loci_source *x = &s->item[order[i] - s->item];
        loci_source_skip(w->opt, s, x->path,
                         "another input of this call has the same document name");
        s->bytes -= x->bytes;
        free(x->path);
        x->path = NULL;
        order[i] = order[i - 1]; /* three of a name: compare with the one kept */
    }
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->item[i].path)
            s->item[n++] = s->item[i];
        else
            free(s->item[i].name);
    }
    s->n = n;
    free(order);
    return LOCI_OK;
}

loci_status loci_sources_collect(loci_sources *s, const char *const *paths, int n_paths,
                                 const loci_ingest_options *opt, loci_error *err)
{
    memset(s, 0, sizeof *s);
    walk w = { .out = s, .opt = opt, .err = err };
    char *globs = calloc(1, 1);
    for (size_t i = 0; globs && opt->skip_globs && opt->skip_globs[i]; i++) {
        const size_t used = strlen(globs);
        char *more = realloc(globs, used + strlen(opt->skip_globs[i]) + 2);
        if (more)
            sprintf(more + used, "%s\n", opt->skip_globs[i]);
        else
            free(globs);
        globs = more;
    }
    w.extra = globs ? loci_ignore_parse(NULL, "", globs) : NULL;
    free(globs);
    loci_status st = w.extra ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "no memory for skip patterns");
    for (int i = 0; i < n_paths && st == LOCI_OK; i++) st = visit_argument(&w, paths[i]);
    if (st == LOCI_OK && opt->name && s->n > 1)
        st = loci_fail(err, LOCI_EINVAL, "a document name goes with one file, not with %zu", s->n);
    if (st == LOCI_OK) st = drop_same_names(&w);
    loci_ignore_free(w.extra);
    if (st != LOCI_OK) loci_sources_free(s);
    return st;
}

void loci_sources_free(loci_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->item[i].path);
        free(s->item[i].name);
    }
    free(s->item);
    memset(s, 0, sizeof *s);
}
