/* bind_safetensors.c - released tensor names to stored matrices of safetensors files.
 *
 *   dtype      stored as   companion NAME.scale in place of NAME.weight
 *   F8_E4M3    E4M3        F8_E8M0 (ceil(rows/128), ceil(cols/128))
 *   I8 (N,K/2) E2M1 (N,K)  F8_E8M0 (N, K/32)
 *   F32, BF16, F16         none
 *
 * Checkpoints saved again by transformers have "model." in front, and three names of their own:
 * embed_tokens, hc_head.hc_*, and attn.norm for kv_norm.  Each is tried after the released one. */
#include "model/dsv4/files.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 192 };

typedef struct table { /* a hash table turned to int32 */
    struct table *next;
    int32_t id[];
} table;

typedef struct {
    dsv4_source_base base;
    const loci_st_set *set;
    const char *label;
    table *owned;
} st_source;

/* ---- names ------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* The name that transformers gives what is released as `name`; false when it is the same. */
static bool other_name(char *out, const char *name)
{
    static const char head[] = "hc_head_", kv_norm[] = "attn.kv_norm.weight";
    if (strcmp(name, "embed.weight") == 0) {
        snprintf(out, NAME_BYTES, "embed_tokens.weight");
    } else if (strncmp(name, head, sizeof head - 1) == 0) {
        snprintf(out, NAME_BYTES, "hc_head.hc_%s", name + sizeof head - 1);
    } else if (ends_with(name, kv_norm)) {
        const int n = (int)(strlen(name) - (sizeof kv_norm - 1));
        snprintf(out, NAME_BYTES, "%.*sattn.norm.weight", n, name);
    } else {
        return false;
    }
    return true;
}

static const loci_tensor_view *find_either(const st_source *s, const char *name)
{
    char full[NAME_BYTES + 8];
    const loci_tensor_view *v = loci_st_set_find(s->set, name, NULL);
    if (v) return v;
    snprintf(full, sizeof full, "model.%s", name);
    return loci_st_set_find(s->set, full, NULL);
}

static const loci_tensor_view *find_view(const st_source *s, const char *name)
{
    char other[NAME_BYTES];
    const loci_tensor_view *v = find_either(s, name);
    if (!v && other_name(other, name)) v = find_either(s, other);
    return v;
}

/* ---- matrices ---------------------------------------------------------------------------- */

static loci_status wrong_type(const st_source *s, const loci_tensor_view *v, const char *expected,
                              loci_error *err)
{
    return loci_fail(err, LOCI_EFORMAT, "%s: %s: dtype: expected %s, found %s", s->label, v->name,
                     expected, loci_dtype_name(v->dtype));
}

/* The scales of a matrix: (rows, cols) of E8M0 beside it.  Where they do not fit, the message says
 * what of: it may be the matrix that is wrong. */
static loci_status find_scale(const st_source *s, const loci_tensor_view *of, const char *name,
                              int rows, int cols, const uint8_t **out, loci_error *err)
{
    char scale[NAME_BYTES];
    if (!ends_with(name, ".weight"))
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: %s without a place for its scales", s->label,
                         of->name, loci_dtype_name(of->dtype));
    snprintf(scale, sizeof scale, "%.*s.scale", (int)(strlen(name) - 7), name);
    const loci_tensor_view *v = find_either(s, scale);
    if (!v)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected (%d, %d), found no such tensor",
                         s->label, scale, rows, cols);
    if (v->dtype != LOCI_F8_E8M0) return wrong_type(s, v, "F8_E8M0", err);
    if (v->n_dims != 2 || v->dim[0] != rows || v->dim[1] != cols)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: %s: expected (%d, %d), for %s of (%lld, %lld), found (%lld, %lld)",
                         s->label, v->name, rows, cols, of->name, (long long)of->dim[0],
                         (long long)of->dim[1], (long long)v->dim[0], (long long)v->dim[1]);
    *out = v->data;
    return LOCI_OK;
}

static loci_status to_matrix(const st_source *s, const loci_tensor_view *v, const char *name,
                             loci_dsv4_mat *out, loci_error *err)
{
    /* A vector is one row; a scalar one element. */
    const int64_t rows = v->n_dims == 2 ? v->dim[0] : 1;
    int64_t cols = v->n_dims == 2 ? v->dim[1] : v->n_dims == 1 ? v->dim[0] : 1;
    loci_status st = LOCI_OK;
    if (v->n_dims > 2 || rows > INT_MAX || cols > INT_MAX / 2)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected a matrix or a vector, found %d dims",
                         s->label, v->name, v->n_dims);
    out->rows = (int)rows;
    switch (v->dtype) {
    case LOCI_F32: out->type = LOCI_STORED_F32; break;
    case LOCI_BF16: out->type = LOCI_STORED_BF16; break;
    case LOCI_F16: out->type = LOCI_STORED_F16; break;
    case LOCI_F8_E4M3:
        out->type = LOCI_STORED_E4M3;
        st = find_scale(s, v, name, (int)((rows + 127) / 128), (int)((cols + 127) / 128),
                        &out->scale, err);
        break;
    case LOCI_I8:
        out->type = LOCI_STORED_E2M1;
        cols *= 2; /* two codes a byte */
        if (cols % 32 != 0)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: %s: rows of packed FP4: expected a multiple of 16 bytes, found "
                             "%lld",
                             s->label, v->name, (long long)cols / 2);
        st = find_scale(s, v, name, (int)rows, (int)(cols / 32), &out->scale, err);
        break;
    default: return wrong_type(s, v, "F32, BF16, F16, F8_E4M3 or I8 (packed FP4)", err);
    }
    if (st != LOCI_OK) return st;
    out->cols = (int)cols;
    out->row_bytes = loci_stored_row_bytes(out->type, out->cols);
    out->data = v->data;
    return LOCI_OK;
}

static loci_status find(void *ctx, const char *name, loci_dsv4_mat *out, loci_error *err)
{
    const st_source *s = ctx;
    const loci_tensor_view *v = find_view(s, name);
    *out = (loci_dsv4_mat){ 0 };
    if (!v) return LOCI_OK;
    const loci_status st = to_matrix(s, v, name, out, err);
    if (st != LOCI_OK) *out = (loci_dsv4_mat){ 0 };
    return st;
}

/* ---- hash tables -------------------------------------------------------------------------- */

static loci_status copy_ids(const st_source *s, const loci_tensor_view *v, int32_t *to, size_t n,
                            loci_error *err)
{
    if (v->dtype == LOCI_I32) {
        memcpy(to, v->data, n * sizeof *to);
        return LOCI_OK;
    }
    const int64_t *from = v->data;
    for (size_t i = 0; i < n; i++) {
        if (from[i] < 0 || from[i] > INT32_MAX)
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: %s: element %zu: expected an expert, found %lld", s->label,
                             v->name, i, (long long)from[i]);
        to[i] = (int32_t)from[i];
    }
    return LOCI_OK;
}

static loci_status find_ids(void *ctx, const char *name, int64_t rows, int64_t cols,
                            const int32_t **out, loci_error *err)
{
    st_source *s = ctx;
    const loci_tensor_view *v = find_view(s, name);
    *out = NULL;
    if (!v) return LOCI_OK;
    if (v->dtype != LOCI_I64 && v->dtype != LOCI_I32) return wrong_type(s, v, "I64 or I32", err);
    if (v->n_dims != 2 || v->dim[0] != rows || v->dim[1] != cols)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected (%lld, %lld), found (%lld, %lld)",
                         s->label, v->name, (long long)rows, (long long)cols, (long long)v->dim[0],
                         (long long)v->dim[1]);
    const size_t n = v->bytes / loci_dtype_size(v->dtype);
    table *t = malloc(sizeof *t + n * sizeof t->id[0]);
    if (!t) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %s", s->label, v->name);
    t->next = s->owned;
    s->owned = t;
    *out = t->id;
    return copy_ids(s, v, t->id, n, err);
}

/* ---- the source ---------------------------------------------------------------------------- */

static const char *place(void *ctx, const void *data, int64_t *offset)
{
    return loci_st_set_place(((const st_source *)ctx)->set, data, offset);
}

static void drop(void *ctx)
{
    st_source *s = ctx;
    for (table *t = s->owned; t;) {
        table *next = t->next;
        free(t);
        t = next;
    }
    free(s);
}

loci_status loci_dsv4_source_safetensors(loci_dsv4_source *s, const loci_st_set *set,
                                         const char *label, loci_error *err)
{
    *s = (loci_dsv4_source){ 0 };
    st_source *own = calloc(1, sizeof *own);
    if (!own) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", label);
    own->base = (dsv4_source_base){ drop, place };
    own->set = set;
    own->label = label;
    *s = (loci_dsv4_source){ own, label, find, find_ids };
    return LOCI_OK;
}
