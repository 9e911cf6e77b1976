/* corpus.c - text on disk into documents in memory: plain files, folders of them, and
 * NAME.txt.zst corpora (documents ended by one 0x1E byte) with an optional NAME.idx.zst beside
 * them, whose byte ranges are then checked against the text.
 *
 * Everything is kept in one block: a trainer reads all of it many times in random order. */
#include "train/train_impl.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

enum { DOC_END = 0x1E, MAX_DEPTH = 32 };
static const size_t max_corpus = (size_t)16 << 30;

static loci_status corpus_reserve(loci_corpus *c, size_t more, loci_error *err)
{
    size_t need;
    if (!loci_size_add(c->bytes, more, &need) || need > max_corpus)
        return loci_fail(err, LOCI_ENOMEM, "training text exceeds %zu bytes", max_corpus);
    if (need <= c->cap) return LOCI_OK;
    size_t cap = c->cap ? c->cap : (size_t)1 << 20;
    while (cap < need) cap += cap / 2;
    char *text = realloc(c->text, cap);
    if (!text) return loci_fail(err, LOCI_ENOMEM, "no memory for %zu bytes of training text", cap);
    c->text = text;
    c->cap = cap;
    return LOCI_OK;
}

static loci_status corpus_append(loci_corpus *c, const char *p, size_t n, loci_error *err)
{
    if (n == 0) return LOCI_OK; /* the text may not be there yet */
    const loci_status st = corpus_reserve(c, n, err);
    if (st != LOCI_OK) return st;
    memcpy(c->text + c->bytes, p, n);
    c->bytes += n;
    return LOCI_OK;
}

/* Note that a document ends here; empty ones are dropped. */
static loci_status corpus_end_doc(loci_corpus *c, loci_error *err)
{
    if (c->n_docs + 2 > c->cap_docs) {
        const size_t cap = c->cap_docs ? 2 * c->cap_docs : 1024;
        size_t *start = realloc(c->start, cap * sizeof *start);
        if (!start) return loci_fail(err, LOCI_ENOMEM, "no memory for %zu documents", cap);
        if (!c->start) start[0] = 0;
        c->start = start;
        c->cap_docs = cap;
    }
    if (c->bytes > c->start[c->n_docs]) c->start[++c->n_docs] = c->bytes;
    return LOCI_OK;
}

/* Decompressed bytes of a corpus: copy up to each 0x1E, which ends a document. */
static loci_status corpus_split(loci_corpus *c, const char *p, size_t n, loci_error *err)
{
    while (n > 0) {
        const char *end = memchr(p, DOC_END, n);
        const size_t part = end ? (size_t)(end - p) : n;
        loci_status st = corpus_append(c, p, part, err);
        if (st != LOCI_OK) return st;
        if (!end) break;
        if ((st = corpus_end_doc(c, err)) != LOCI_OK) return st;
        p += part + 1;
        n -= part + 1;
    }
    return LOCI_OK;
}

/* Decode a whole .zst in a stream, handing each piece to corpus_split or to `plain`. */
static loci_status zst_read(const char *path, loci_corpus *split, loci_corpus *plain,
                            loci_error *err)
{
    loci_map map;
    loci_status st = loci_map_open(&map, path, err);
    if (st != LOCI_OK) return st;
    ZSTD_DStream *z = ZSTD_createDStream();
    char *piece = malloc(ZSTD_DStreamOutSize());
    if (!z || !piece) st = loci_fail(err, LOCI_ENOMEM, "%s: no memory to decompress", path);
    ZSTD_inBuffer in = { map.data, map.size, 0 };
    size_t left = 1;
    while (st == LOCI_OK && (in.pos < in.size)) {
        ZSTD_outBuffer out = { piece, ZSTD_DStreamOutSize(), 0 };
        left = ZSTD_decompressStream(z, &out, &in);
        if (ZSTD_isError(left))
            st = loci_fail(err, LOCI_EFORMAT, "%s: at byte %zu: %s", path, in.pos,
                           ZSTD_getErrorName(left));
        else if (split)
            st = corpus_split(split, piece, out.pos, err);
        else
            st = corpus_append(plain, piece, out.pos, err);
    }
    if (st == LOCI_OK && left != 0)
        st = loci_fail(err, LOCI_EFORMAT, "%s: ends inside a zstd frame", path);
    free(piece);
    ZSTD_freeDStream(z);
    loci_map_close(&map);
    return st;
}

/* The index lists offset, length, source, licence, id of each document; text and index must
 * agree in the number of documents and in every length, else one of them is not the other's. */
static loci_status check_index(const loci_corpus *c, size_t first_doc, size_t first_byte,
                               const char *path, loci_error *err)
{
    loci_corpus index = { 0 };
    loci_status st = zst_read(path, NULL, &index, err);
    if (st == LOCI_OK) st = corpus_reserve(&index, 1, err);
    size_t doc = first_doc, line_no = 1;
    if (st == LOCI_OK) index.text[index.bytes] = '\0';
    for (char *line = st == LOCI_OK ? index.text : NULL; line && *line; line_no++) {
        char *next = strchr(line, '\n');
        char *end;
        const unsigned long long offset = strtoull(line, &end, 10);
        const unsigned long long length = *end == '\t' ? strtoull(end + 1, &end, 10) : 0;
        const bool is_row = end != line && *end == '\t';
        if (is_row && length > 0) {
            /* separators are not kept: a document's own offset is behind by one a document */
            const size_t at = first_byte + offset - (doc - first_doc);
            if (doc >= c->n_docs || c->start[doc] != at || c->start[doc + 1] - at != length) {
                st = loci_fail(err, LOCI_EFORMAT,
                               "%s: line %zu: document at %llu, %llu bytes, is not in the text",
                               path, line_no, offset, length);
                break;
            }
            doc++;
        }
        line = next ? next + 1 : NULL;
    }
    if (st == LOCI_OK && doc != c->n_docs)
        st = loci_fail(err, LOCI_EFORMAT, "%s: lists %zu documents, the text has %zu", path,
                       doc - first_doc, c->n_docs - first_doc);
    loci_corpus_free(&index);
    return st;
}

static loci_status add_zst(loci_corpus *c, const char *path, loci_error *err)
{
    const size_t first_doc = c->n_docs, first_byte = c->bytes;
    loci_status st = zst_read(path, c, NULL, err);
    if (st == LOCI_OK) st = corpus_end_doc(c, err);
    const char tail[] = ".txt.zst";
    const size_t len = strlen(path), cut = sizeof tail - 1;
    if (st != LOCI_OK || len < cut || strcmp(path + len - cut, tail) != 0) return st;
    char index[4096];
    if (snprintf(index, sizeof index, "%.*s.idx.zst", (int)(len - cut), path) >= (int)sizeof index)
        return loci_fail(err, LOCI_EINVAL, "%s: path too long", path);
    struct stat s;
    return stat(index, &s) == 0 ? check_index(c, first_doc, first_byte, index, err) : LOCI_OK;
}

static loci_status add_file(loci_corpus *c, const char *path, bool required, loci_error *err)
{
    char *data;
    size_t len;
    loci_error local = { 0 };
    loci_status st =
        loci_file_load(NULL, path, (size_t)4 << 30, &data, &len, required ? err : &local);
    if (st != LOCI_OK) return required ? st : LOCI_OK; /* files in folders may vanish */
    /* NUL bytes mark a binary: nothing to learn from, and no text tool writes them. */
    if (!memchr(data, '\0', len < 65536 ? len : 65536) &&
        (st = corpus_append(c, data, len, err)) == LOCI_OK)
        st = corpus_end_doc(c, err);
    free(data);
    return st;
}

static loci_status add_path(loci_corpus *c, const char *path, int depth, loci_error *err);

/* Entries in name order, so that the same folder gives the same corpus. */
static loci_status add_folder(loci_corpus *c, const char *path, int depth, loci_error *err)
{
    struct dirent **entry;
    const int n = scandir(path, &entry, NULL, alphasort);
    if (n < 0) return depth == 0 ? loci_fail(err, LOCI_EIO, "read folder %s", path) : LOCI_OK;
    loci_status st = LOCI_OK;
    for (int i = 0; i < n; i++) {
        char child[4096];
        if (st == LOCI_OK && entry[i]->d_name[0] != '.' &&
            loci_path_join(child, sizeof child, path, entry[i]->d_name, NULL) == LOCI_OK)
            st = add_path(c, child, depth + 1, err);
        free(entry[i]);
    }
    free(entry);
    return st;
}

static loci_status add_path(loci_corpus *c, const char *path, int depth, loci_error *err)
{
    struct stat s;
    /* Links are followed only where the user named them: no loops, nothing twice. */
    if ((depth == 0 ? stat(path, &s) : lstat(path, &s)) != 0)
        return depth > 0 ? LOCI_OK
                         : loci_fail(err, errno == ENOENT ? LOCI_ENOTFOUND : LOCI_EIO,
                                     "training data %s: %s", path, strerror(errno));
    if (S_ISDIR(s.st_mode)) return depth < MAX_DEPTH ? add_folder(c, path, depth, err) : LOCI_OK;
    if (!S_ISREG(s.st_mode)) return LOCI_OK;
    const size_t len = strlen(path);
    if (len > 8 && strcmp(path + len - 8, ".idx.zst") == 0) return LOCI_OK;
    if (len > 4 && strcmp(path + len - 4, ".zst") == 0) return add_zst(c, path, err);
    return add_file(c, path, depth == 0, err);
}

loci_status loci_corpus_add(loci_corpus *c, const char *path, loci_error *err)
{
    return add_path(c, path, 0, err);
}

void loci_corpus_free(loci_corpus *c)
{
    free(c->text);
    free(c->start);
    memset(c, 0, sizeof *c);
}
