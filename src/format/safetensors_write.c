/* safetensors_write.c - write named arrays as one safetensors file.
 *
 * The format is described in safetensors.c.  Two choices are ours: the header is filled up with
 * spaces so that the data starts at a multiple of 64 bytes, and tensors lie by falling size of
 * their elements (in the caller's order among equals), so that each is aligned to its elements
 * without holes, which the format forbids. */
#include "format/format_impl.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static loci_status check_view(const char *path, const loci_tensor_view *v, loci_error *err)
{
    size_t bytes;
    const char *name = v->name ? v->name : "";
    if (!*name || strcmp(name, "__metadata__") == 0)
        return loci_fail(err, LOCI_EINVAL, "%s: \"%s\" cannot name a tensor", path, name);
    if (loci_dtype_size(v->dtype) == 0)
        return loci_fail(err, LOCI_EINVAL, "%s: tensor %s: no such dtype: %d", path, name,
                         (int)v->dtype);
    if (v->n_dims < 0 || v->n_dims > LOCI_MAX_DIMS)
        return loci_fail(err, LOCI_EINVAL, "%s: tensor %s: expected 0 to %d dimensions, found %d",
                         path, name, LOCI_MAX_DIMS, v->n_dims);
    if (!loci_tensor_bytes(v->dtype, v->dim, v->n_dims, &bytes) || bytes != v->bytes)
        return loci_fail(err, LOCI_EINVAL, "%s: tensor %s: its shape does not take %zu bytes", path,
                         name, v->bytes);
    return LOCI_OK;
}

/* Add NAME: {dtype, shape, data_offsets} to the header. */
static loci_status add_entry(json_t *header, const char *path, const loci_tensor_view *v,
                             size_t begin, loci_error *err)
{
    if (json_object_get(header, v->name))
        return loci_fail(err, LOCI_EINVAL, "%s: two tensors named %s", path, v->name);
    json_t *shape = json_array();
    for (int d = 0; d < v->n_dims; d++)
        if (json_array_append_new(shape, json_integer(v->dim[d])) != 0) {
            json_decref(shape);
            return loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
        }
    json_t *entry =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", loci_dtype_name(v->dtype), "shape", shape,
                  "data_offsets", (json_int_t)begin, (json_int_t)(begin + v->bytes));
    if (json_object_set_new(header, v->name, entry) != 0)
        return loci_fail(err, LOCI_EINVAL, "%s: tensor %s: the name is not UTF-8", path, v->name);
    return LOCI_OK;
}

static loci_status add_meta(json_t *header, const char *path, const char *const *meta,
                            loci_error *err)
{
    if (!meta || !*meta) return LOCI_OK;
    json_t *object = json_object();
    if (json_object_set_new(header, "__metadata__", object) != 0)
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory", path);
    for (; meta[0]; meta += 2)
        if (!meta[1] || json_object_set_new(object, meta[0], json_string(meta[1])) != 0)
            return loci_fail(err, LOCI_EINVAL, "%s: metadata %s: expected UTF-8 text", path,
                             meta[0]);
    return LOCI_OK;
}

/* The header as it goes into the file, length and spaces included; owned (free()). */
static char *encode_header(const json_t *header, size_t *len)
{
    char *text = json_dumps(header, JSON_COMPACT);
    if (!text) return NULL;
    const size_t n = strlen(text), raw = LOCI_ST_PREFIX + n;
    *len = (raw + LOCI_ST_ALIGN - 1) / LOCI_ST_ALIGN * LOCI_ST_ALIGN;
    char *out = malloc(*len);
    if (out) {
        const uint64_t padded = *len - LOCI_ST_PREFIX;
        memcpy(out, &padded, sizeof padded);
        memcpy(out + LOCI_ST_PREFIX, text, n);
        memset(out + raw, ' ', *len - raw);
    }
    free(text);
    return out;
}

/* Choose the order in the file, fill the header and part[1..n] from it. */
static loci_status plan_file(json_t *header, loci_part *part, const char *path,
                             const loci_tensor_view *t, int n, loci_error *err)
{
    static const size_t falling[] = { 8, 4, 2, 1 };
    size_t begin = 0;
    int placed = 0;
    for (size_t s = 0; s < sizeof falling / sizeof *falling; s++)
        for (int i = 0; i < n; i++) {
            if (loci_dtype_size(t[i].dtype) != falling[s]) continue;
            const size_t at = begin;
            if (!loci_size_add(begin, t[i].bytes, &begin) || begin > INT64_MAX)
                return loci_fail(err, LOCI_EINVAL, "%s: larger than any file", path);
            const loci_status st = add_entry(header, path, &t[i], at, err);
            if (st != LOCI_OK) return st;
            part[1 + placed++] = (loci_part){ t[i].data, t[i].bytes };
        }
    return LOCI_OK;
}

loci_status loci_st_write(const loci_vfs *vfs, const char *path, const loci_tensor_view *t, int n,
                          const char *const *meta, loci_error *err)
{
    loci_status st = LOCI_OK;
    char *text = NULL;
    size_t len = 0;
    if (n < 0) return loci_fail(err, LOCI_EINVAL, "%s: expected n >= 0, found %d", path, n);
    for (int i = 0; i < n; i++)
        if ((st = check_view(path, &t[i], err)) != LOCI_OK) return st;

    json_t *header = json_object();
    loci_part *part = calloc((size_t)n + 1, sizeof *part);
    if (!header || !part) {
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for %d tensors", path, n);
        goto out;
    }
    if ((st = add_meta(header, path, meta, err)) != LOCI_OK) goto out;
    if ((st = plan_file(header, part, path, t, n, err)) != LOCI_OK) goto out;
    if (!(text = encode_header(header, &len))) {
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for the header", path);
        goto out;
    }
    if (len - LOCI_ST_PREFIX > LOCI_ST_HEADER_MAX) {
        st = loci_fail(err, LOCI_EINVAL, "%s: header: expected at most %d bytes, found %zu", path,
                       LOCI_ST_HEADER_MAX, len);
        goto out;
    }
    part[0] = (loci_part){ text, len };
    st = loci_file_replace_parts(vfs, path, part, n + 1, err);
out:
    json_decref(header);
    free(part);
    free(text);
    return st;
}
