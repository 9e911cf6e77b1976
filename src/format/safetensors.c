/* safetensors.c - read named arrays from a safetensors file, in place.
 *
 *   OFFSET  SIZE  DESCRIPTION
 *        0     8  n, length of the header, u64
 *        8     n  header, one JSON object in UTF-8, spaces behind it allowed:
 *                 { "__metadata__": { KEY: STRING, ... },
 *                   NAME: { "dtype": "F32", "shape": [..], "data_offsets": [begin, end] }, ... }
 *    8 + n     -  data; begin and end count from here
 *
 * Little-endian.  What is checked before anything is used:
 *   (1) n <= 100 MB and 8 + n <= size of the file;
 *   (2) the header is one object without duplicate keys, its strings are UTF-8 without NUL;
 *   (3) end - begin == product of shape * size of dtype, without overflow;
 *   (4) in order of begin, each range starts where the one before ended, the first at 0, and the
 *       last ends at the end of the file: no overlap, no hole, nothing behind;
 *   (5) each range is aligned to its element, so that `data` can be used as an array.
 *
 * The file is mapped; names and metadata are borrowed from the parsed header, which is kept. */
#include "format/format_impl.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct loci_st {
    loci_map map; /* size 0 when the bytes are the caller's */
    size_t size;  /* of the whole file */
    const unsigned char *bytes;
    json_t *header;
    const json_t *meta; /* inside header, NULL if absent */
    int n;
    loci_tensor_view *view;           /* (n) by place in the file */
    const loci_tensor_view **by_name; /* (n) by name */
};

/* ---- element types ------------------------------------------------------------------ */

static const struct {
    const char *name;
    size_t size;
} dtype_table[] = {
    [LOCI_F32] = { "F32", 4 },         [LOCI_BF16] = { "BF16", 2 },
    [LOCI_F16] = { "F16", 2 },         [LOCI_I8] = { "I8", 1 },
    [LOCI_U8] = { "U8", 1 },           [LOCI_I32] = { "I32", 4 },
    [LOCI_I64] = { "I64", 8 },         [LOCI_F64] = { "F64", 8 },
    [LOCI_F8_E4M3] = { "F8_E4M3", 1 }, [LOCI_F8_E8M0] = { "F8_E8M0", 1 },
};
enum { N_DTYPES = sizeof dtype_table / sizeof *dtype_table };

size_t loci_dtype_size(loci_dtype t)
{
    return (unsigned)t < N_DTYPES ? dtype_table[t].size : 0;
}

const char *loci_dtype_name(loci_dtype t)
{
    return (unsigned)t < N_DTYPES ? dtype_table[t].name : "?";
}

bool loci_tensor_bytes(loci_dtype t, const int64_t *dim, int n_dims, size_t *bytes)
{
    size_t product = loci_dtype_size(t);
    for (int d = 0; d < n_dims; d++) {
        if (dim[d] < 0 || (uint64_t)dim[d] > SIZE_MAX) return false;
        if (!loci_size_mul(product, (size_t)dim[d], &product)) return false;
    }
    *bytes = product;
    return true;
}

/* ---- one tensor's entry --------------------------------------------------------------- */

/* Where the reader is, for messages and bounds. */
typedef struct {
    const char *label;         /* names the file */
    const unsigned char *data; /* (room) what follows the header */
    size_t room;
    loci_error *err;
} place;

static loci_status bad_entry(const place *in, const char *name, const char *what)
{
    return loci_fail(in->err, LOCI_EFORMAT, "%s: tensor %s: %s", in->label, name, what);
}

static loci_status read_dtype(const place *in, const json_t *entry, loci_tensor_view *v)
{
    const char *text = json_string_value(json_object_get(entry, "dtype"));
    if (!text) return bad_entry(in, v->name, "dtype: expected a string");
    for (int t = 0; t < N_DTYPES; t++)
        if (strcmp(text, dtype_table[t].name) == 0) {
            v->dtype = (loci_dtype)t;
            return LOCI_OK;
        }
    return loci_fail(in->err, LOCI_EFORMAT,
                     "%s: tensor %s: dtype: expected F32, BF16, F16, F8_E4M3, F8_E8M0, I8, U8, "
                     "I32, I64 or F64, found %.40s",
                     in->label, v->name, text);
}

static loci_status read_shape(const place *in, const json_t *entry, loci_tensor_view *v)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return bad_entry(in, v->name, "shape: expected an array");
    const size_t n = json_array_size(shape);
    if (n > LOCI_MAX_DIMS)
        return loci_fail(in->err, LOCI_EFORMAT,
                         "%s: tensor %s: shape: expected at most %d dimensions, found %zu",
                         in->label, v->name, LOCI_MAX_DIMS, n);
    for (size_t d = 0; d < LOCI_MAX_DIMS; d++) v->dim[d] = 1;
    for (size_t d = 0; d < n; d++) {
        const json_t *size = json_array_get(shape, d);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return bad_entry(in, v->name, "shape: expected integers >= 0");
        v->dim[d] = json_integer_value(size);
    }
    v->n_dims = (int)n;
    if (!loci_tensor_bytes(v->dtype, v->dim, v->n_dims, &v->bytes))
        return bad_entry(in, v->name, "shape: larger than any file");
    return LOCI_OK;
}

static loci_status read_range(const place *in, const json_t *entry, loci_tensor_view *v)
{
    const json_t *range = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(range, 0), *last = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return bad_entry(in, v->name, "data_offsets: expected two integers");
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > in->room)
        return loci_fail(in->err, LOCI_EFORMAT,
                         "%s: tensor %s: data_offsets: expected a range inside %zu bytes, found "
                         "%lld..%lld",
                         in->label, v->name, in->room, (long long)begin, (long long)end);
    if ((uint64_t)(end - begin) != v->bytes)
        return loci_fail(in->err, LOCI_EFORMAT,
                         "%s: tensor %s: its shape takes %zu bytes, data_offsets give %lld",
                         in->label, v->name, v->bytes, (long long)(end - begin));
    v->data = in->data + begin;
    if (v->bytes > 0 && (uintptr_t)v->data % loci_dtype_size(v->dtype) != 0)
        return loci_fail(in->err, LOCI_EFORMAT,
                         "%s: tensor %s: data at byte %lld behind the header is not aligned to "
                         "its %zu-byte elements; write the file anew with an aligned header",
                         in->label, v->name, (long long)begin, loci_dtype_size(v->dtype));
    return LOCI_OK;
}

static loci_status read_entry(const place *in, const char *name, const json_t *entry,
                              loci_tensor_view *v)
{
    loci_status st;
    v->name = name;
    if (!json_is_object(entry)) return bad_entry(in, name, "expected an object");
    if ((st = read_dtype(in, entry, v)) != LOCI_OK) return st;
    if ((st = read_shape(in, entry, v)) != LOCI_OK) return st;
    return read_range(in, entry, v);
}

/* ---- the header ------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    const loci_tensor_view *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* By place; empty tensors share theirs with a neighbour and go before it. */
static int compare_places(const void *a, const void *b)
{
    const loci_tensor_view *x = a, *y = b;
    const uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q) return p < q ? -1 : 1;
    if (!x->bytes != !y->bytes) return x->bytes ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* Sort both tables and check (4): the ranges tile the data. */
static loci_status order_views(const place *in, loci_st *f)
{
    qsort(f->view, (size_t)f->n, sizeof *f->view, compare_places);
    const unsigned char *at = in->data;
    for (int i = 0; i < f->n; i++) {
        const loci_tensor_view *v = &f->view[i];
        if (v->data != at)
            return bad_entry(in, v->name,
                             (const unsigned char *)v->data < at
                                 ? "data_offsets overlap the tensor before"
                                 : "data_offsets leave a hole behind the tensor before");
        at += v->bytes;
        f->by_name[i] = v;
    }
    if (at != in->data + in->room)
        return loci_fail(in->err, LOCI_EFORMAT, "%s: expected %zu bytes of data, found %zu",
                         in->label, (size_t)(at - in->data), in->room);
    qsort(f->by_name, (size_t)f->n, sizeof *f->by_name, compare_names);
    return LOCI_OK;
}

static loci_status read_meta(const place *in, loci_st *f, const json_t *meta)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return loci_fail(in->err, LOCI_EFORMAT, "%s: __metadata__: expected an object", in->label);
    json_object_foreach((json_t *)(uintptr_t)meta, key, value) if (
        !json_is_string(value)) return loci_fail(in->err, LOCI_EFORMAT,
                                                 "%s: __metadata__: %s: expected a string",
                                                 in->label, key);
    f->meta = meta;
    return LOCI_OK;
}

static loci_status read_entries(const place *in, loci_st *f)
{
    const size_t n = json_object_size(f->header);
    const char *name;
    json_t *entry;
    loci_status st;
    /* One more than needed, so that a header without tensors has tables too. */
    f->view = calloc(n + 1, sizeof *f->view);
    f->by_name = calloc(n + 1, sizeof *f->by_name);
    if (!f->view || !f->by_name)
        return loci_fail(in->err, LOCI_ENOMEM, "%s: no memory for %zu tensors", in->label, n);
    json_object_foreach(f->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            if ((st = read_meta(in, f, entry)) != LOCI_OK) return st;
            continue;
        }
        if ((st = read_entry(in, name, entry, &f->view[f->n])) != LOCI_OK) return st;
        f->n++;
    }
    return order_views(in, f);
}

static loci_status read_file(loci_st *f, const unsigned char *bytes, size_t size, const char *label,
                             loci_error *err)
{
    uint64_t n;
    if (size < LOCI_ST_PREFIX)
        return loci_fail(err, LOCI_EFORMAT, "%s: expected at least %d bytes, found %zu", label,
                         LOCI_ST_PREFIX, size);
    memcpy(&n, bytes, sizeof n);
    const size_t room = size - LOCI_ST_PREFIX;
    const size_t most = room < LOCI_ST_HEADER_MAX ? room : LOCI_ST_HEADER_MAX;
    if (n > most)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: header length: expected at most %zu bytes, found %llu", label, most,
                         (unsigned long long)n);
    json_error_t why;
    f->header =
        json_loadb((const char *)bytes + LOCI_ST_PREFIX, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (!f->header)
        return loci_fail(err, LOCI_EFORMAT, "%s: header: byte %d: %s", label,
                         LOCI_ST_PREFIX + why.position, why.text);
    if (!json_is_object(f->header))
        return loci_fail(err, LOCI_EFORMAT, "%s: header: expected an object", label);
    const place in = { label, bytes + LOCI_ST_PREFIX + n, room - (size_t)n, err };
    return read_entries(&in, f);
}

/* ---- the public side ---------------------------------------------------------------------- */

loci_status loci_st_open_memory(loci_st **out, const void *data, size_t size, const char *label,
                                loci_error *err)
{
    *out = NULL;
    loci_st *f = calloc(1, sizeof *f);
    if (!f) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", label);
    f->size = size;
    f->bytes = data;
    const loci_status st = read_file(f, data, size, label, err);
    if (st == LOCI_OK)
        *out = f;
    else
        loci_st_close(f);
    return st;
}

loci_status loci_st_open(loci_st **out, const char *path, loci_error *err)
{
    loci_map map;
    *out = NULL;
    loci_status st = loci_map_open(&map, path, err);
    if (st != LOCI_OK) return st;
    st = loci_st_open_memory(out, map.data, map.size, path, err);
    if (st == LOCI_OK)
        (*out)->map = map;
    else
        loci_map_close(&map);
    return st;
}

void loci_st_close(loci_st *f)
{
    if (!f) return;
    json_decref(f->header);
    free(f->view);
    free(f->by_name);
    loci_map_close(&f->map);
    free(f);
}

size_t loci_st_file_size(const loci_st *f)
{
    return f->size;
}

bool loci_st_contains(const loci_st *f, const void *data, size_t *at)
{
    const uintptr_t p = (uintptr_t)data, begin = (uintptr_t)f->bytes;
    if (p < begin || p - begin >= f->size) return false;
    *at = p - begin;
    return true;
}

int loci_st_count(const loci_st *f)
{
    return f->n;
}

const loci_tensor_view *loci_st_at(const loci_st *f, int i)
{
    return i >= 0 && i < f->n ? &f->view[i] : NULL;
}

const loci_tensor_view *loci_st_find(const loci_st *f, const char *name)
{
    const loci_tensor_view wanted = { .name = name }, *key = &wanted;
    const loci_tensor_view **hit =
        bsearch(&key, f->by_name, (size_t)f->n, sizeof *f->by_name, compare_names);
    return hit ? *hit : NULL;
}

const char *loci_st_meta(const loci_st *f, const char *key)
{
    return json_string_value(json_object_get(f->meta, key));
}
