/* gitignore.c - the patterns of .gitignore files, as gitignore(5) describes them.
 *
 * One list a folder, linked to the lists of the folders above it.  A pattern with a slash in it is
 * anchored to its own folder; `**` crosses folders; a trailing slash matches folders only; `!` takes
 * back.  The last pattern that matches decides, and the nearest folder has the last word. */
#include "engine/source.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *glob;
    bool negated, dir_only, anchored;
} pattern;

struct loci_ignore {
    const loci_ignore *parent;
    char *name; /* of this folder in the parent, "" if the same: paths are rebuilt from these */
    pattern *item;
    size_t n;
};

enum {
    MAX_STEPS = 100000, /* a hostile pattern may not cost more than this */
    MAX_GLOB = 4096     /* longer than any path; bounds the depth of match() too */
};

/* [abc], [a-z], [!x], [\]]: *p behind the opening bracket; moves *p behind the closing one.  A
 * class that is never closed matches nothing. */
static bool match_class(const char **p, char c)
{
    const char *g = *p;
    const bool negated = *g == '!' || *g == '^';
    bool hit = false;
    if (negated) g++;
    for (bool first = true; *g && (*g != ']' || first); first = false) {
        if (*g == '\\' && g[1]) g++;
        const unsigned char low = (unsigned char)*g++;
        unsigned char high = low;
        if (*g == '-' && g[1] && g[1] != ']') {
            g += g[1] == '\\' && g[2] ? 2 : 1;
            high = (unsigned char)*g++;
        }
        hit |= low <= (unsigned char)c && (unsigned char)c <= high;
    }
    if (*g != ']') return false;
    *p = g + 1;
    return hit != negated && c != '/';
}

static bool match(const char *g, const char *s, int *steps);

/* Everything that `*` (not across '/') or `**` (across) may stand for. */
static bool match_star(const char *g, const char *s, int *steps)
{
    const bool deep = g[1] == '*';
    const char *rest = g + 1;
    if (deep) {
        rest = g + 2;
        if (*rest == '/' && match(rest + 1, s, steps))
            return true; /* "**" + "/" may match nothing */
    }
    for (;; s++) {
        if (match(rest, s, steps)) return true;
        if (*steps > MAX_STEPS || *s == '\0' || (*s == '/' && !deep)) return false;
    }
}

static bool match(const char *g, const char *s, int *steps)
{
    for (; *g; g++, s++) {
        if (++*steps > MAX_STEPS) return false;
        if (*g == '*') return match_star(g, s, steps);
        if (*s == '\0') return false;
        if (*g == '?') {
            if (*s == '/') return false;
        } else if (*g == '[') {
            const char *p = g + 1;
            if (!match_class(&p, *s)) return false;
            g = p - 1;
        } else {
            if (*g == '\\' && g[1]) g++;
            if (*g != *s) return false;
        }
    }
    return *s == '\0';
}

/* `**` is special only as a whole part of a path; any other run of stars is one star. */
static void shorten_stars(char *glob)
{
    char *w = glob;
    for (const char *g = glob; *g;) {
        if (*g == '\\' && g[1]) { /* an escaped star is a character */
            *w++ = *g++;
            *w++ = *g++;
            continue;
        }
        if (*g != '*') {
            *w++ = *g++;
            continue;
        }
        const size_t run = strspn(g, "*");
        const bool begins = g == glob || g[-1] == '/', ends = g[run] == '/' || g[run] == '\0';
        *w++ = '*';
        if (run == 2 && begins && ends) *w++ = '*';
        g += run;
    }
    *w = '\0';
}

/* One line of the file into a pattern; false for blank lines and comments. */
static bool parse_line(pattern *out, const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ')) {
        if (len > 1 && line[len - 2] == '\\') break; /* "\ " keeps its space */
        len--;
    }
    memset(out, 0, sizeof *out);
    if (len > 0 && *line == '!') out->negated = true, line++, len--;
    if (len == 0 || (*line == '#' && !out->negated)) return false;
    if (line[len - 1] == '/') out->dir_only = true, len--;
    if (len == 0) return false;
    out->anchored = memchr(line, '/', len) != NULL;
    if (*line == '/') line++, len--;
    if (len > MAX_GLOB) return false;
    out->glob = strndup(line, len);
    if (out->glob) shorten_stars(out->glob);
    return out->glob != NULL;
}

loci_ignore *loci_ignore_parse(const loci_ignore *parent, const char *name, const char *text)
{
    loci_ignore *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->parent = parent;
    if (!(g->name = strdup(name))) {
        free(g);
        return NULL;
    }
    while (*text) {
        const size_t len = strcspn(text, "\n");
        pattern p;
        if (parse_line(&p, text, len)) {
            pattern *more = realloc(g->item, (g->n + 1) * sizeof *more);
            if (!more) {
                free(p.glob);
                loci_ignore_free(g);
                return NULL;
            }
            g->item = more;
            g->item[g->n++] = p;
        }
        text += len + (text[len] == '\n');
    }
    return g;
}

loci_ignore *loci_ignore_read(const loci_ignore *parent, const char *name, const char *dir)
{
    char path[4096];
    char *text = NULL;
    size_t len;
    if (loci_path_join(path, sizeof path, dir, ".gitignore", NULL) != LOCI_OK ||
        loci_file_load(NULL, path, 1 << 20, &text, &len, NULL) != LOCI_OK)
        return loci_ignore_parse(parent, name, "");
    loci_ignore *g = loci_ignore_parse(parent, name, text);
    free(text);
    return g;
}

void loci_ignore_free(loci_ignore *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->n; i++) free(g->item[i].glob);
    free(g->item);
    free(g->name);
    free(g);
}

/* rel: the path of the entry below the folder of `g`; name: its last part. */
static int verdict(const loci_ignore *g, const char *rel, const char *name, bool is_dir)
{
    for (size_t i = g->n; i-- > 0;) {
        const pattern *p = &g->item[i];
        int steps = 0;
        if (p->dir_only && !is_dir) continue;
        if (match(p->glob, p->anchored ? rel : name, &steps)) return p->negated ? 0 : 1;
    }
    return -1;
}

bool loci_ignored(const loci_ignore *g, const char *name, bool is_dir)
{
    char rel[4096], longer[4096];
    if (snprintf(rel, sizeof rel, "%s", name) >= (int)sizeof rel) return false;
    for (; g; g = g->parent) {
        const int v = verdict(g, rel, name, is_dir);
        if (v >= 0) return v == 1;
        if (!*g->name) continue;
        if (snprintf(longer, sizeof longer, "%s/%s", g->name, rel) >= (int)sizeof longer)
            return false;
        memcpy(rel, longer, sizeof rel);
    }
    return false;
}
