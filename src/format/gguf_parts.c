/* gguf_parts.c - open a GGUF file, or the parts of a model that was cut into several.
 *
 * Parts are files of their own, NAME-00001-of-00003.gguf and so on, in one folder.  Each says in
 * its metadata which it is: split.no (from 0), split.count, and split.tensors.count for all of
 * them together.  The first one has the model's metadata; it is the one that is opened. */
#include "format/gguf_impl.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 1000, PATH_BYTES = 4096 };

static const char no_key[] = "split.no", count_key[] = "split.count",
                  total_key[] = "split.tensors.count";

/* The path of part `no` of `count`, made from that of the first one. */
static loci_status part_path(char *out, const char *first, int no, int count, loci_error *err)
{
    char end[32];
    snprintf(end, sizeof end, "-00001-of-%05d.gguf", count);
    const size_t n = strlen(first), m = strlen(end);
    if (n < m || n >= PATH_BYTES || strcmp(first + n - m, end) != 0)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: the first of %d parts: expected its name to end with %s", first,
                         count, end);
    snprintf(out, PATH_BYTES, "%.*s-%05d-of-%05d.gguf", (int)(n - m), first, no + 1, count);
    return LOCI_OK;
}

static loci_status expect(const loci_gguf *f, const char *key, int64_t want, loci_error *err)
{
    int64_t found = -1;
    if (loci_gguf_int(f, key, &found) && found == want) return LOCI_OK;
    return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected %lld, found %lld", f->label, key,
                     (long long)want, (long long)found);
}

static loci_status open_part(loci_gguf *f, const char *path, int no, int count, loci_error *err)
{
    char name[PATH_BYTES];
    loci_status st = part_path(name, path, no, count, err);
    if (st == LOCI_OK) st = loci_gguf_open_one(&f->part[f->n_parts], name, err);
    if (st != LOCI_OK) return st;
    const loci_gguf *part = f->part[f->n_parts++];
    st = expect(part, no_key, no, err);
    return st == LOCI_OK ? expect(part, count_key, count, err) : st;
}

/* One table of the tensors of all parts. */
static loci_status join(loci_gguf *f, loci_error *err)
{
    size_t n = (size_t)f->n_tensors;
    for (int i = 0; i < f->n_parts; i++) n += (size_t)f->part[i]->n_tensors;
    loci_gguf_tensor *all = calloc(n + 1, sizeof *all);
    void *by_name = realloc(f->by_name, (n + 1) * sizeof *f->by_name);
    if (by_name) f->by_name = by_name;
    if (!all || !by_name || n > INT32_MAX) {
        free(all);
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu tensors", f->label, n);
    }
    memcpy(all, f->tensor, (size_t)f->n_tensors * sizeof *all);
    f->n_all = f->n_tensors;
    for (int i = 0; i < f->n_parts; i++) {
        const loci_gguf *part = f->part[i];
        memcpy(all + f->n_all, part->tensor, (size_t)part->n_tensors * sizeof *all);
        f->n_all += part->n_tensors;
    }
    f->all = all;
    return loci_gguf_sort_names(f, err);
}

static loci_status open_parts(loci_gguf *f, const char *path, loci_error *err)
{
    int64_t count = 1;
    if (!loci_gguf_has(f, count_key)) return LOCI_OK;
    if (!loci_gguf_int(f, count_key, &count) || count < 1 || count > MAX_PARTS)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected 1 to %d, found %lld", path, count_key,
                         MAX_PARTS, (long long)count);
    loci_status st = expect(f, no_key, 0, err);
    f->part = calloc((size_t)count, sizeof *f->part);
    if (st == LOCI_OK && !f->part) st = loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
    for (int no = 1; no < count && st == LOCI_OK; no++)
        st = open_part(f, path, no, (int)count, err);
    if (st == LOCI_OK) st = join(f, err);
    if (st == LOCI_OK && loci_gguf_has(f, total_key)) st = expect(f, total_key, f->n_all, err);
    return st;
}

loci_status loci_gguf_open(loci_gguf **out, const char *path, loci_error *err)
{
    loci_status st = loci_gguf_open_one(out, path, err);
    if (st == LOCI_OK) st = open_parts(*out, path, err);
    if (st != LOCI_OK) {
        loci_gguf_close(*out);
        *out = NULL;
    }
    return st;
}

size_t loci_gguf_file_size(const loci_gguf *f)
{
    size_t sum = f->size;
    for (int i = 0; i < f->n_parts; i++) sum += f->part[i]->size;
    return sum;
}

const char *loci_gguf_place(const loci_gguf *f, const void *data, int64_t *offset)
{
    for (int i = -1; i < f->n_parts; i++) {
        const loci_gguf *part = i < 0 ? f : f->part[i];
        const uintptr_t p = (uintptr_t)data, begin = (uintptr_t)part->bytes;
        if (p < begin || p - begin >= part->size) continue;
        *offset = (int64_t)(p - begin);
        return part->label;
    }
    *offset = 0;
    return NULL;
}
