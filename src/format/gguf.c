/* gguf.c - read metadata and tensors of a GGUF file, in place.
 *
 *   OFFSET  SIZE  DESCRIPTION
 *        0     4  "GGUF"
 *        4     4  version, 2 or 3
 *        8     8  number of tensors
 *       16     8  number of metadata pairs
 *       24     -  pairs: key (string), type u32, value
 *        -     -  tensors: name (string), n_dims u32, dims u64 each, type u32, offset u64
 *        -     -  zero up to the alignment, then the data; offsets count from here
 *
 *   string = length u64 and its bytes; array = element type u32, length u64, elements.
 *
 * Little-endian, nothing aligned in the header.  What is checked before anything is used:
 *   (1) every count and length against the bytes that remain, at their least size each;
 *   (2) keys and names: at most 255 bytes, no NUL, each once;
 *   (3) no array of arrays, at most 4 dimensions, rows of whole blocks;
 *   (4) general.alignment is a power of two, offsets are multiples of it;
 *   (5) each tensor lies inside the file and overlaps no other.
 * Element types outside of LOCI_GGML_LIST are refused: their sizes are not known. */
#include "format/gguf_impl.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 255, DEFAULT_ALIGNMENT = 32, MAX_ALIGNMENT = 1 << 20 };

/* ---- types ------------------------------------------------------------------------------ */

static bool type_of(uint32_t number, int *elements, int *bytes)
{
    switch (number) {
#define X(NAME, num, n_elements, n_bytes)                                                          \
    case num: *elements = (n_elements), *bytes = (n_bytes); return true;
        LOCI_GGML_LIST(X)
#undef X
    default: return false;
    }
}

const char *loci_ggml_name(loci_ggml_type t)
{
    switch (t) {
#define X(NAME, number, elements, bytes)                                                           \
    case LOCI_GGML_##NAME: return #NAME;
        LOCI_GGML_LIST(X)
#undef X
    }
    return "?";
}

/* ---- a cursor over the header ----------------------------------------------------------- */

typedef struct {
    const unsigned char *at, *end;
    const unsigned char *begin;
    const char *label;
    loci_error *err;
} cursor;

static size_t left(const cursor *c)
{
    return (size_t)(c->end - c->at);
}

static loci_status bad(const cursor *c, const char *what, const char *expected)
{
    return loci_fail(c->err, LOCI_EFORMAT, "%s: byte %zu: %s: expected %s", c->label,
                     (size_t)(c->at - c->begin), what, expected);
}

static loci_status take(cursor *c, void *out, size_t n, const char *what)
{
    if (n > left(c))
        return loci_fail(c->err, LOCI_EFORMAT, "%s: byte %zu: %s: expected %zu bytes, found %zu",
                         c->label, (size_t)(c->at - c->begin), what, n, left(c));
    memcpy(out, c->at, n);
    c->at += n;
    return LOCI_OK;
}

static loci_status take_length(cursor *c, uint64_t *n, size_t least, const char *what)
{
    const loci_status st = take(c, n, sizeof *n, what);
    if (st != LOCI_OK) return st;
    if (*n > left(c) / least)
        return loci_fail(c->err, LOCI_EFORMAT, "%s: byte %zu: %s: expected at most %zu, found %llu",
                         c->label, (size_t)(c->at - c->begin), what, left(c) / least,
                         (unsigned long long)*n);
    return LOCI_OK;
}

/* A key or name as a string of its own, freed with the file. */
static loci_status take_name(cursor *c, char **out, const char *what)
{
    uint64_t n = 0;
    const loci_status st = take_length(c, &n, 1, what);
    if (st != LOCI_OK) return st;
    if (n == 0 || n > MAX_NAME || memchr(c->at, 0, (size_t)n))
        return bad(c, what, "1 to 255 bytes without NUL");
    *out = strndup((const char *)c->at, (size_t)n);
    if (!*out) return loci_fail(c->err, LOCI_ENOMEM, "%s: no memory for its names", c->label);
    c->at += n;
    return LOCI_OK;
}

/* ---- metadata --------------------------------------------------------------------------- */

static loci_status skip_strings(cursor *c, uint64_t n, const char *key)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = 0;
        const loci_status st = take_length(c, &len, 1, key);
        if (st != LOCI_OK) return st;
        c->at += len;
    }
    return LOCI_OK;
}

static loci_status read_pair(cursor *c, loci_gguf_pair *p)
{
    loci_status st = take_name(c, &p->key, "metadata key");
    if (st == LOCI_OK) st = take(c, &p->type, sizeof p->type, p->key);
    p->n = 1;
    if (st == LOCI_OK && p->type == LOCI_GGUF_ARRAY) {
        p->array = true;
        st = take(c, &p->type, sizeof p->type, p->key);
        if (st == LOCI_OK && (p->type >= LOCI_GGUF_VALUE_TYPES || p->type == LOCI_GGUF_ARRAY))
            return bad(c, p->key, "an array of numbers, booleans or strings");
        if (st == LOCI_OK)
            st = take_length(c, &p->n,
                             p->type == LOCI_GGUF_STRING ? 8 : loci_gguf_value_size[p->type],
                             p->key);
    }
    if (st != LOCI_OK) return st;
    if (p->type >= LOCI_GGUF_VALUE_TYPES) return bad(c, p->key, "a value type of 0 to 12");
    p->data = c->at;
    if (p->type == LOCI_GGUF_STRING) return skip_strings(c, p->n, p->key);
    const size_t bytes = (size_t)p->n * loci_gguf_value_size[p->type];
    if (bytes > left(c)) return bad(c, p->key, "its value before the end of the file");
    c->at += bytes;
    return LOCI_OK;
}

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const loci_gguf_pair *)a)->key, ((const loci_gguf_pair *)b)->key);
}

static loci_status read_pairs(loci_gguf *f, cursor *c)
{
    for (int i = 0; i < f->n_pairs; i++) {
        const loci_status st = read_pair(c, &f->pair[i]);
        if (st != LOCI_OK) return st;
    }
    qsort(f->pair, (size_t)f->n_pairs, sizeof *f->pair, compare_pairs);
    for (int i = 1; i < f->n_pairs; i++)
        if (strcmp(f->pair[i].key, f->pair[i - 1].key) == 0)
            return loci_fail(c->err, LOCI_EFORMAT, "%s: metadata key %s is there twice", c->label,
                             f->pair[i].key);
    return LOCI_OK;
}

/* ---- tensors ---------------------------------------------------------------------------- */

static loci_status bad_tensor(const cursor *c, const char *name, const char *what)
{
    return loci_fail(c->err, LOCI_EFORMAT, "%s: tensor %s: %s", c->label, name, what);
}

/* *bytes of a tensor of this shape: rows of whole blocks. */
static loci_status tensor_bytes(const cursor *c, loci_gguf_tensor *t, int elements, int block)
{
    if (t->dim[0] % elements != 0)
        return loci_fail(c->err, LOCI_EFORMAT,
                         "%s: tensor %s: rows of %s: expected a multiple of %d, found %lld",
                         c->label, t->name, loci_ggml_name(t->type), elements,
                         (long long)t->dim[0]);
    size_t n = (size_t)(t->dim[0] / elements);
    for (int d = 1; d < LOCI_MAX_DIMS; d++)
        if (!loci_size_mul(n, (size_t)t->dim[d], &n))
            return bad_tensor(c, t->name, "dims: larger than any file");
    if (!loci_size_mul(n, (size_t)block, &t->bytes))
        return bad_tensor(c, t->name, "dims: larger than any file");
    return LOCI_OK;
}

/* Name, dims, type; *offset is checked when the alignment is known to be followed. */
static loci_status read_tensor(cursor *c, loci_gguf_tensor *t, uint64_t *offset)
{
    uint32_t n_dims = 0, type = 0;
    int elements = 1, block = 1;
    char *name = NULL;
    loci_status st = take_name(c, &name, "tensor name");
    t->name = name;
    if (st == LOCI_OK) st = take(c, &n_dims, sizeof n_dims, t->name);
    if (st != LOCI_OK) return st;
    if (n_dims > LOCI_MAX_DIMS)
        return loci_fail(c->err, LOCI_EFORMAT,
                         "%s: tensor %s: expected at most %d dimensions, found %u", c->label,
                         t->name, LOCI_MAX_DIMS, n_dims);
    t->n_dims = (int)n_dims;
    for (int d = 0; d < LOCI_MAX_DIMS; d++) t->dim[d] = 1;
    for (uint32_t d = 0; d < n_dims && st == LOCI_OK; d++) {
        st = take(c, &t->dim[d], sizeof t->dim[d], t->name);
        if (st == LOCI_OK && t->dim[d] < 0) return bad_tensor(c, t->name, "dims: expected >= 0");
    }
    if (st == LOCI_OK) st = take(c, &type, sizeof type, t->name);
    if (st == LOCI_OK) st = take(c, offset, sizeof *offset, t->name);
    if (st != LOCI_OK) return st;
    if (!type_of(type, &elements, &block))
        return loci_fail(c->err, LOCI_EFORMAT, "%s: tensor %s: element type %u is not known",
                         c->label, t->name, type);
    t->type = (loci_ggml_type)type;
    return tensor_bytes(c, t, elements, block);
}

static loci_status place_tensor(const cursor *c, loci_gguf_tensor *t, uint64_t offset,
                                uint64_t alignment, const unsigned char *data, size_t room)
{
    if (offset % alignment != 0)
        return loci_fail(c->err, LOCI_EFORMAT,
                         "%s: tensor %s: offset: expected a multiple of %llu, found %llu", c->label,
                         t->name, (unsigned long long)alignment, (unsigned long long)offset);
    if (offset > room || t->bytes > room - offset)
        return loci_fail(c->err, LOCI_EFORMAT,
                         "%s: tensor %s: %zu bytes at %llu: expected to lie in %zu bytes of data",
                         c->label, t->name, t->bytes, (unsigned long long)offset, room);
    t->data = data + offset;
    return LOCI_OK;
}

/* By place; empty tensors share theirs with a neighbour and go before it. */
static int compare_places(const void *a, const void *b)
{
    const loci_gguf_tensor *x = a, *y = b;
    const uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q) return p < q ? -1 : 1;
    if (!x->bytes != !y->bytes) return x->bytes ? 1 : -1;
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
    const loci_gguf_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

loci_status loci_gguf_sort_names(loci_gguf *f, loci_error *err)
{
    for (int i = 0; i < f->n_all; i++) f->by_name[i] = &f->all[i];
    qsort(f->by_name, (size_t)f->n_all, sizeof *f->by_name, compare_names);
    for (int i = 1; i < f->n_all; i++)
        if (strcmp(f->by_name[i]->name, f->by_name[i - 1]->name) == 0)
            return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s: is there twice", f->label,
                             f->by_name[i]->name);
    return LOCI_OK;
}

static loci_status order_tensors(loci_gguf *f, const cursor *c)
{
    qsort(f->tensor, (size_t)f->n_tensors, sizeof *f->tensor, compare_places);
    for (int i = 0; i < f->n_tensors; i++) {
        const loci_gguf_tensor *t = &f->tensor[i], *before = i > 0 ? t - 1 : NULL;
        if (before &&
            (const unsigned char *)before->data + before->bytes > (const unsigned char *)t->data)
            return bad_tensor(c, t->name, "overlaps the tensor before it");
    }
    f->all = f->tensor;
    f->n_all = f->n_tensors;
    return loci_gguf_sort_names(f, c->err);
}

static loci_status read_tensors(loci_gguf *f, cursor *c)
{
    int64_t alignment = DEFAULT_ALIGNMENT;
    if (loci_gguf_has(f, "general.alignment") &&
        (!loci_gguf_int(f, "general.alignment", &alignment) || alignment < 8 ||
         alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0))
        return loci_fail(c->err, LOCI_EFORMAT,
                         "%s: general.alignment: expected a power of two of 8 to %d", c->label,
                         MAX_ALIGNMENT);
    uint64_t *offset = calloc((size_t)f->n_tensors + 1, sizeof *offset);
    if (!offset) return loci_fail(c->err, LOCI_ENOMEM, "%s: no memory", c->label);
    loci_status st = LOCI_OK;
    for (int i = 0; i < f->n_tensors && st == LOCI_OK; i++)
        st = read_tensor(c, &f->tensor[i], &offset[i]);
    /* The data begins at the next multiple; a file without tensors may end before it. */
    const size_t header = (size_t)(c->at - c->begin), rest = header & (size_t)(alignment - 1);
    size_t skip = rest ? (size_t)alignment - rest : 0;
    if (skip > left(c)) skip = left(c);
    for (int i = 0; i < f->n_tensors && st == LOCI_OK; i++)
        st = place_tensor(c, &f->tensor[i], offset[i], (uint64_t)alignment, c->at + skip,
                          left(c) - skip);
    free(offset);
    return st == LOCI_OK ? order_tensors(f, c) : st;
}

/* ---- the file --------------------------------------------------------------------------- */

static loci_status read_head(loci_gguf *f, cursor *c)
{
    char magic[4] = { 0 };
    uint32_t version = 0;
    uint64_t n_tensors = 0, n_pairs = 0;
    loci_status st = take(c, magic, sizeof magic, "magic");
    if (st == LOCI_OK && memcmp(magic, "GGUF", 4) != 0) {
        c->at -= 4;
        return bad(c, "magic", "\"GGUF\"");
    }
    if (st == LOCI_OK) st = take(c, &version, sizeof version, "version");
    if (st != LOCI_OK) return st;
    if (version != 2 && version != 3)
        return loci_fail(c->err, LOCI_EVERSION, "%s: GGUF version: expected 2 or 3, found %u%s",
                         c->label, version,
                         version > 0 && (version & 0xffff) == 0 ? " (big-endian?)" : "");
    /* The least a tensor takes: length of its name, a letter, n_dims, type, offset; a pair: length
     * of its key, a letter, type, a byte. */
    st = take_length(c, &n_tensors, 8 + 1 + 4 + 4 + 8, "number of tensors");
    if (st == LOCI_OK) st = take_length(c, &n_pairs, 8 + 1 + 4 + 1, "number of metadata pairs");
    if (st != LOCI_OK) return st;
    if (n_tensors > INT32_MAX || n_pairs > INT32_MAX)
        return bad(c, "counts", "fewer than 2^31 tensors and pairs");
    f->pair = calloc((size_t)n_pairs + 1, sizeof *f->pair);
    f->tensor = calloc((size_t)n_tensors + 1, sizeof *f->tensor);
    f->by_name = calloc((size_t)n_tensors + 1, sizeof *f->by_name);
    if (!f->pair || !f->tensor || !f->by_name)
        return loci_fail(c->err, LOCI_ENOMEM, "%s: no memory for %llu tensors", c->label,
                         (unsigned long long)n_tensors);
    f->n_pairs = (int)n_pairs;
    f->n_tensors = (int)n_tensors;
    return LOCI_OK;
}

loci_status loci_gguf_open_memory(loci_gguf **out, const void *data, size_t size, const char *label,
                                  loci_error *err)
{
    *out = NULL;
    loci_gguf *f = calloc(1, sizeof *f);
    if (!f) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", label);
    f->size = size;
    f->bytes = data;
    f->label = strdup(label);
    cursor c = { data, (const unsigned char *)data + size, data, label, err };
    loci_status st = f->label ? LOCI_OK : loci_fail(err, LOCI_ENOMEM, "%s: no memory", label);
    if (st == LOCI_OK) st = read_head(f, &c);
    if (st == LOCI_OK) st = read_pairs(f, &c);
    if (st == LOCI_OK) st = read_tensors(f, &c);
    if (st == LOCI_OK)
        *out = f;
    else
        loci_gguf_close(f);
    return st;
}

loci_status loci_gguf_open_one(loci_gguf **out, const char *path, loci_error *err)
{
    loci_map map;
    *out = NULL;
    loci_status st = loci_map_open(&map, path, err);
    if (st != LOCI_OK) return st;
    st = loci_gguf_open_memory(out, map.data, map.size, path, err);
    if (st == LOCI_OK)
        (*out)->map = map;
    else
        loci_map_close(&map);
    return st;
}

void loci_gguf_close(loci_gguf *f)
{
    if (!f) return;
    for (int i = 0; i < f->n_parts; i++) loci_gguf_close(f->part[i]);
    free(f->part);
    if (f->all != f->tensor) free(f->all);
    for (int i = 0; i < f->n_pairs; i++) free(f->pair[i].key);
    for (int i = 0; i < f->n_tensors; i++) free((char *)(uintptr_t)f->tensor[i].name);
    free(f->pair);
    free(f->tensor);
    free(f->by_name);
    free(f->label);
    loci_map_close(&f->map);
    free(f);
}

const char *loci_gguf_label(const loci_gguf *f)
{
    return f->label;
}

int loci_gguf_count(const loci_gguf *f)
{
    return f->n_all;
}

const loci_gguf_tensor *loci_gguf_at(const loci_gguf *f, int i)
{
    return i >= 0 && i < f->n_all ? &f->all[i] : NULL;
}

const loci_gguf_tensor *loci_gguf_find(const loci_gguf *f, const char *name)
{
    const loci_gguf_tensor wanted = { .name = name }, *key = &wanted;
    const loci_gguf_tensor **hit =
        bsearch(&key, f->by_name, (size_t)f->n_all, sizeof *f->by_name, compare_names);
    return hit ? *hit : NULL;
}
