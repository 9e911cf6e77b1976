/* haystack.c - text to hide facts in: from files while there are any, then from a grammar; and
 * facts woven into it as a user's file would hold them. */
#include "haystack.h"
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "loci/train.h"

uint64_t seed_of(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

bool parse_split(const char *option, const char *text, loci_split *out)
{
    *out = strcmp(text, "train") == 0 ? LOCI_SPLIT_TRAIN : LOCI_SPLIT_TEST;
    if (*out == LOCI_SPLIT_TRAIN || strcmp(text, "test") == 0) return true;
    usage_error("--%s %s: expected train or test", option, text);
    return false;
}

/* ---- files -------------------------------------------------------------------------------- */
/* Append one file's text up to max_bytes in all; a file that is not UTF-8 text is passed over, so
 * that byte ranges never fall inside something that no editor shows. */
static loci_status add_file(haystack *h, const char *path, size_t max_bytes, loci_error *err)
{
    FILE *f = fopen(path, "rb");
    if (!f) return set_error(err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO, "%s", path);
    const size_t begin = h->bytes;
    size_t n, valid = begin;
    while ((n = fread(h->text + h->bytes, 1, max_bytes - h->bytes, f)) > 0) h->bytes += n;
    const bool broken = ferror(f) != 0;
    fclose(f);
    if (broken) return set_error(err, LOCI_EIO, "%s", path);
    for (size_t len; valid < h->bytes && h->text[valid]; valid += len)
        if ((len = utf8_char(h->text + valid, h->bytes - valid)) == 0) break;
    const bool cut =
        h->bytes == max_bytes && h->bytes - valid < 4; /* the limit fell into a character */
    h->bytes = valid == h->bytes || cut ? valid : begin;
    if (h->bytes > begin && h->bytes < max_bytes && h->text[h->bytes - 1] != '\n')
        h->text[h->bytes++] = '\n';
    return LOCI_OK;
}

static bool is_corpus(const char *path)
{
    static const char tail[] = ".txt.zst";
    const size_t n = strlen(path);
    return n >= sizeof tail && strcmp(path + n - (sizeof tail - 1), tail) == 0;
}

/* Append the documents of a corpus, each ended by a line's end, up to max_bytes in all. */
static loci_status add_corpus(haystack *h, const char *path, size_t max_bytes, loci_error *err)
{
    loci_corpus c = { 0 };
    const loci_status st = loci_corpus_add(&c, path, err);
    for (size_t d = 0; d < c.n_docs && st == LOCI_OK && h->bytes + 1 < max_bytes; d++) {
        const char *text = c.text + c.start[d];
        size_t n = c.start[d + 1] - c.start[d];
        if (n > max_bytes - h->bytes - 1) n = max_bytes - h->bytes - 1;
        n -= utf8_open_tail(text, n);
        memcpy(h->text + h->bytes, text, n);
        h->bytes += n;
        h->text[h->bytes++] = '\n';
    }
    loci_corpus_free(&c);
    return st;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static loci_status walk(haystack *h, FTS *tree, size_t max_bytes, loci_error *err)
{
    loci_status st = LOCI_OK;
    for (FTSENT *f; st == LOCI_OK && h->bytes < max_bytes && (f = fts_read(tree));) {
        const bool given = f->fts_level == FTS_ROOTLEVEL; /* named by the user: not passed over */
        errno = f->fts_errno;
        if (f->fts_info == FTS_ERR || f->fts_info == FTS_NS || f->fts_info == FTS_DNR) {
            if (given)
                st = set_error(err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO, "%s", f->fts_path);
        } else if (!given && f->fts_name[0] == '.') {
            fts_set(tree, f, FTS_SKIP);
        } else if (f->fts_info == FTS_F) {
            const size_t before = h->bytes;
            st = is_corpus(f->fts_accpath) ? add_corpus(h, f->fts_accpath, max_bytes, err)
                                           : add_file(h, f->fts_accpath, max_bytes, err);
            if (st == LOCI_OK && given && h->bytes == before)
                st = set_error(err, LOCI_EFORMAT, "%s: empty or not UTF-8 text", f->fts_path);
        }
    }
    return st;
}

loci_status haystack_open(haystack *h, const arg_list *paths, size_t max_bytes, uint64_t seed,
                          loci_error *err)
{
    *h = (haystack){ .seed = seed };
    if (paths->n == 0) return LOCI_OK;
    h->text = malloc(max_bytes);
    if (!h->text) return set_error(err, LOCI_ENOMEM, "no memory for %zu bytes of text", max_bytes);
    loci_status st = LOCI_OK;
    /* One tree a path: the order of the paths given is kept, names order only what lies inside. */
    for (int i = 0; i < paths->n && st == LOCI_OK; i++) {
        char *one[2] = { (char *)paths->item[i], NULL }; /* fts wants char *, and leaves it alone */
        FTS *tree = fts_open(one, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
        st = tree ? walk(h, tree, max_bytes, err) : set_error(err, LOCI_EIO, "%s", one[0]);
        if (tree) fts_close(tree);
    }
    return st;
}

void haystack_close(haystack *h)
{
    free(h->text);
    memset(h, 0, sizeof *h);
}

/* ---- taking ------------------------------------------------------------------------------- */
size_t haystack_take(haystack *h, size_t want, char *out)
{
    const size_t left = h->bytes - h->at;
    if (left > 0) {
        size_t n = left < want ? left : want;
        memcpy(out, h->text + h->at, n);
        if (n < left) {
            n -= utf8_open_tail(out, n);
            const char *nl = memrchr(out + n - n / 4, '\n', n / 4);
            if (nl) n = (size_t)(nl - out) + 1;
        }
        h->at += n;
        return n;
    }
    const size_t n = loci_task_filler(seed_of(h->seed, h->pages++), want, out, want);
    h->filler_bytes += n;
    return n;
}

void haystack_untake(haystack *h, size_t n)
{
    if (h->pages == 0)
        h->at -= n; /* filler is made anew, text of files is not */
    else
        h->filler_bytes -= n < h->filler_bytes ? n : h->filler_bytes;
}

/* ---- weaving ------------------------------------------------------------------------------ */
typedef struct {
    size_t place;
    int fact;
} stop;

static int by_place(const void *pa, const void *pb)
{
    const stop *a = pa, *b = pb;
    return a->place != b->place ? (a->place < b->place ? -1 : 1) : a->fact - b->fact;
}

loci_status weave(const loci_task_item *item, const char *hay, size_t len, const size_t *place,
                  char **text, size_t *bytes, size_t *fact_at, loci_error *err)
{
    const size_t n_facts = (size_t)item->n_facts;
    size_t room = len, from = 0, n = 0;
    for (size_t i = 0; i < n_facts; i++)
        room += (size_t)item->fact[i].len + 2; /* and its two separators */
    char *out = malloc(room + 1);
    stop *at = malloc((n_facts + 1) * sizeof *at);
    if (!out || !at) {
        free(out);
        free(at);
        return set_error(err, LOCI_ENOMEM, "no memory for %zu bytes of text", room);
    }
    for (size_t i = 0; i < n_facts; i++) at[i] = (stop){ place[i], (int)i };
    qsort(at, n_facts, sizeof *at, by_place);
    for (size_t k = 0; k < n_facts; k++) {
        const loci_fact *f = &item->fact[at[k].fact];
        memcpy(out + n, hay + from, at[k].place - from);
        n += at[k].place - from;
        from = at[k].place;
        const bool line = n == 0 || out[n - 1] == '\n';
        if (!line && out[n - 1] != ' ') out[n++] = ' ';
        fact_at[at[k].fact] = n;
        memcpy(out + n, f->text, (size_t)f->len);
        n += (size_t)f->len;
        if (line || from >= len || (hay[from] != ' ' && hay[from] != '\n'))
            out[n++] = line ? '\n' : ' ';
    }
    if (len > from) memcpy(out + n, hay + from, len - from);
    n += len - from;
    out[n] = '\0';
    free(at);
    *text = out;
    *bytes = n;
    return LOCI_OK;
}
