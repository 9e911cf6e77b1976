/* input.c - what the command reads whole: questions, prompts, lists of ids. */
#include "cli.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* All of f; grows by doubling so that a pipe of unknown length costs no more than twice itself. */
static loci_status read_stream(FILE *f, const char *label, size_t max, char **text, size_t *bytes,
                               loci_error *err)
{
    size_t cap = 65536, n = 0;
    char *buf = malloc(cap + 1);
    while (buf) {
        n += fread(buf + n, 1, cap - n, f);
        if (n < cap || n > max) break;
        char *more = realloc(buf, 2 * cap + 1);
        if (!more) free(buf);
        buf = more;
        cap *= 2;
    }
    loci_status st = LOCI_OK;
    if (!buf)
        st = set_error(err, LOCI_ENOMEM, "%s: no memory for its text", label);
    else if (ferror(f))
        st = set_error(err, LOCI_EIO, "%s: read failed", label);
    else if (n > max)
        st = set_error(err, LOCI_EINVAL, "%s: more than %zu bytes", label, max);
    if (st != LOCI_OK) {
        free(buf);
        return st;
    }
    buf[n] = '\0';
    *text = buf;
    *bytes = n;
    return LOCI_OK;
}

loci_status read_input(const char *path, size_t max, char **text, size_t *bytes, loci_error *err)
{
    *text = NULL;
    *bytes = 0;
    if (strcmp(path, "-") == 0) return read_stream(stdin, "standard input", max, text, bytes, err);
    FILE *f = fopen(path, "rb");
    if (!f) return set_error(err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO, "%s", path);
    const loci_status st = read_stream(f, path, max, text, bytes, err);
    fclose(f);
    return st;
}

loci_status parse_ids(const char *text, size_t bytes, const char *label, int64_t limit,
                      int32_t **ids, int64_t *n, loci_error *err)
{
    const char *s = text, *end = text + bytes;
    *n = 0;
    *ids = malloc((bytes / 2 + 1) * sizeof **ids); /* a digit and a blank each */
    if (!*ids) return set_error(err, LOCI_ENOMEM, "%s: no memory for its ids", label);
    for (;;) {
        while (s < end && isspace((unsigned char)*s)) s++;
        if (s == end) return LOCI_OK;
        const char *from = s;
        int64_t v = 0;
        while (s < end && *s >= '0' && *s <= '9' && v < limit) v = v * 10 + (*s++ - '0');
        if (s == from || v >= limit || (s < end && !isspace((unsigned char)*s))) {
            int shown = 0;
            while (shown < 20 && from + shown < end && !isspace((unsigned char)from[shown]))
                shown++;
            free(*ids);
            *ids = NULL;
            return set_error(err, LOCI_EFORMAT,
                             "%s: byte %zu: expected an id from 0 to %lld, found \"%.*s\"", label,
                             (size_t)(from - text), (long long)limit - 1, shown, from);
        }
        (*ids)[(*n)++] = (int32_t)v;
    }
}

loci_status make_folder(const char *path, loci_error *err)
{
    char part[4096];
    const size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return set_error(err, LOCI_EINVAL, "folder name of %zu bytes", n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return set_error(err, LOCI_EIO, "%s", part);
        part[i] = path[i];
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return set_error(err, LOCI_EIO, "%s", path);
    }
    return LOCI_OK;
}
