/* weights.c - a checkpoint folder and the model in memory: open, wrap, save, fingerprint.
 *
 *   config.json         shape (hparams.c)
 *   tokenizer.json      opaque here: its bytes enter the fingerprint
 *   model.safetensors   each tensor of params.c as "NAME" (rows, cols) in F32 or BF16, or as "NAME" I8
 *                       with "NAME.scale" F32 (rows): w[r,c] = scale[r] q[r,c], or in 4 bits as
 *                       "NAME" U8 (rows, cols / 2) with "NAME.scale" F16 (rows, cols / 32): four.c
 *
 * A file must hold exactly the tensors that the shape asks for.  They are used where the file is
 * mapped.  The fingerprint says which banks a model can read: XXH3-128 over a text of the fields that
 * ingest depends on, the tokenizer, and the ingest tensors as stored.  Their stored form counts: an
 * int8 copy of a model writes other records than its f32 original. */
#include "model/model_impl.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PATH_BYTES = 4096, TOKENIZER_MAX_BYTES = 1 << 28 };

static int param_count(const loci_hparams *hp)
{
    return loci_param_list(hp, NULL, 0);
}

/* The list of params.c, owned (free()). */
static loci_status param_list(loci_param_info **list, int *n, const loci_hparams *hp,
                              loci_error *err)
{
    *n = param_count(hp);
    *list = malloc((size_t)*n * sizeof **list);
    if (!*list) return loci_fail(err, LOCI_ENOMEM, "no memory for a list of %d tensors", *n);
    loci_param_list(hp, *list, *n);
    return LOCI_OK;
}

static loci_mat *mat_at(loci_params *p, const loci_param_info *info)
{
    return (loci_mat *)(void *)((char *)p + info->offset);
}

static void scale_name(char *out, size_t n, const char *name)
{
    const int len = snprintf(out, n, "%s.scale", name);
    assert(len > 0 && (size_t)len < n);
    (void)len;
}

/* ---- life --------------------------------------------------------------------------------- */

static loci_model *model_new(const loci_hparams *hp, unsigned cpu_flags)
{
    loci_arena a = { 0 };
    loci_arena_take(&a, 1, sizeof(loci_model));
    loci_arena_take(&a, (size_t)(hp->d_landmark * hp->d_landmark), sizeof(float));
    a = (loci_arena){ loci_alloc_aligned(a.used), a.used, 0 };
    if (!a.base) return NULL;
    loci_model *m = loci_arena_take(&a, 1, sizeof *m);
    m->code_map = loci_arena_take(&a, (size_t)(hp->d_landmark * hp->d_landmark), sizeof(float));
    m->hp = *hp;
    loci_kernels_init(&m->k, cpu_flags);
    loci_codes_map(m->code_map, hp->d_landmark);
    return m;
}

loci_status loci_model_wrap(loci_model **out, const loci_hparams *hp, float *base,
                            unsigned cpu_flags, loci_error *err)
{
    *out = NULL;
    const loci_status st = loci_hparams_check(hp, "model", err);
    if (st != LOCI_OK) return st;
    loci_model *m = model_new(hp, cpu_flags);
    if (!m) return loci_fail(err, LOCI_ENOMEM, "no memory for a model");
    loci_params_bind(&m->p, hp, base);
    *out = m;
    return LOCI_OK;
}

void loci_model_close(loci_model *m)
{
    if (!m) return;
    loci_st_close(m->file);
    loci_free_aligned(m->packed);
    loci_free_aligned(m);
}

/* ---- reading tensors ----------------------------------------------------------------------- */

/* "(3, 4)" */
static const char *shape_text(char out[96], const loci_tensor_view *t)
{
    size_t at = (size_t)snprintf(out, 96, "(");
    for (int i = 0; i < t->n_dims; i++)
        at += (size_t)snprintf(out + at, 96 - at, "%s%lld", i ? ", " : "", (long long)t->dim[i]);
    snprintf(out + at, 96 - at, ")");
    return out;
}

static loci_status expect_shape(const char *path, const loci_tensor_view *t, int n_dims, int rows,
                                int cols, loci_error *err)
{
    char found[96], wanted[96];
    const loci_tensor_view w = { .n_dims = n_dims, .dim = { rows, cols } };
    bool same = t->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++) same = t->dim[i] == w.dim[i];
    if (same) return LOCI_OK;
    return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s: expected shape %s, found %s", path, t->name,
                     shape_text(wanted, &w), shape_text(found, t));
}

static loci_status expect_aligned(const char *path, const loci_tensor_view *t, loci_error *err)
{
    const size_t unit = loci_dtype_size(t->dtype);
    if ((uintptr_t)t->data % unit == 0) return LOCI_OK;
    return loci_fail(
        err, LOCI_EFORMAT,
        "%s: tensor %s: expected data at a multiple of %zu bytes, found %zu behind one", path,
        t->name, unit, (size_t)((uintptr_t)t->data % unit));
}

/* Number of the first scale that is not finite, or n. */
static size_t scales_finite(const loci_tensor_view *t, size_t n)
{
    const float *f = t->data;
    const uint16_t *h = t->data;
    size_t i = 0;
    while (i < n && (t->dtype == LOCI_F32 ? isfinite(f[i]) : (h[i] & 0x7c00) != 0x7c00)) i++;
    return i;
}

/* The scales of an int8 tensor, F32 (rows), or of 4 bits, F16 (rows, cols / 32). */
static loci_status bind_scale(loci_mat *mat, const loci_st *file, const char *path,
                              const loci_param_info *info, loci_error *err)
{
    char name[sizeof info->name + 8];
    const bool four = mat->type == LOCI_U8;
    const loci_dtype type = four ? LOCI_F16 : LOCI_F32;
    const int groups = four ? info->cols / LOCI_W4_GROUP : 1;
    scale_name(name, sizeof name, info->name);
    const loci_tensor_view *t = loci_st_find(file, name);
    if (!t)
        return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s is missing: %s is %s", path, name,
                         info->name, loci_dtype_name(mat->type));
    if (t->dtype != type)
        return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s: expected type %s, found %s", path, name,
                         loci_dtype_name(type), loci_dtype_name(t->dtype));
    loci_status st = expect_shape(path, t, four ? 2 : 1, info->rows, groups, err);
    if (st == LOCI_OK) st = expect_aligned(path, t, err);
    if (st != LOCI_OK) return st;
    const size_t n = (size_t)info->rows * (size_t)groups, finite = scales_finite(t, n);
    if (finite < n)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: tensor %s: expected finite numbers, found another at %zu", path, name,
                         finite);
    /* The mapping is read-only and so is every use of an opened model. */
    if (four)
        mat->half = (uint16_t *)(uintptr_t)t->data;
    else
        mat->scale = (float *)(uintptr_t)t->data;
    return LOCI_OK;
}

static loci_status bind_tensor(loci_mat *mat, const loci_st *file, const char *path,
                               const loci_param_info *info, loci_error *err)
{
    const loci_tensor_view *t = loci_st_find(file, info->name);
    if (!t)
        return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s is missing: expected shape (%d, %d)",
                         path, info->name, info->rows, info->cols);
    const bool plain = t->dtype == LOCI_F32;
    const bool four = t->dtype == LOCI_U8 && loci_four_fits(info->cols);
    const bool packed = t->dtype == LOCI_BF16 || t->dtype == LOCI_I8 || four;
    if (!plain && !(packed && info->quantise))
        return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s: expected type %s, found %s", path,
                         info->name,
                         !info->quantise              ? "F32"
                         : loci_four_fits(info->cols) ? "F32, BF16, I8 or U8"
                                                      : "F32, BF16 or I8",
                         loci_dtype_name(t->dtype));
    loci_status st = expect_shape(path, t, 2, info->rows, four ? info->cols / 2 : info->cols, err);
    if (st == LOCI_OK) st = expect_aligned(path, t, err);
    if (st != LOCI_OK) return st;
    *mat = (loci_mat){
        .data = (void *)(uintptr_t)t->data, .rows = info->rows, .cols = info->cols, .type = t->dtype
    };
    return four || t->dtype == LOCI_I8 ? bind_scale(mat, file, path, info, err) : LOCI_OK;
}

/* Is this tensor of the file one that a bound parameter uses? */
static bool is_used(const loci_tensor_view *t, loci_params *p, const loci_param_info *list, int n)
{
    for (int i = 0; i < n; i++) {
        const loci_mat *m = mat_at(p, &list[i]);
        if (t->data == m->data || (m->scale && t->data == m->scale) ||
            (m->half && t->data == m->half))
            return true;
    }
    return false;
}

static loci_status bind_all(loci_model *m, const char *path, const loci_param_info *list, int n,
                            loci_error *err)
{
    int used = n;
    for (int i = 0; i < n; i++) {
        loci_mat *mat = mat_at(&m->p, &list[i]);
        const loci_status st = bind_tensor(mat, m->file, path, &list[i], err);
        if (st != LOCI_OK) return st;
        used += mat->scale || mat->half;
    }
    if (loci_st_count(m->file) == used) return LOCI_OK;
    for (int i = 0; i < loci_st_count(m->file); i++) {
        const loci_tensor_view *t = loci_st_at(m->file, i);
        if (!is_used(t, &m->p, list, n))
            return loci_fail(err, LOCI_EFORMAT, "%s: tensor %s is not one of this architecture",
                             path, t->name);
    }
    return loci_fail(err, LOCI_EFORMAT, "%s: expected %d tensors, found %d", path, used,
                     loci_st_count(m->file));
}

/* ---- fingerprint -------------------------------------------------------------------------------- */

/* Fields that only the upper stack looks at: a bank does not care. */
static bool is_upper_field(const char *key)
{
    static const char *const upper[] = { "n_upper",   "n_groups", "read_heads",    "router_hidden",
                                         "read_mlp",  "top_k",    "gate_open",     "tied",
                                         "hard_gate", "order",    "refusal_margin" };
    for (size_t i = 0; i < sizeof upper / sizeof upper[0]; i++)
        if (strcmp(key, upper[i]) == 0) return true;
    return false;
}

/* A tag and a length before each part, so that no two lists of parts read the same. */
static void hash_part(XXH3_state_t *h, const char *tag, const void *data, size_t bytes)
{
    char head[128];
    const int n = snprintf(head, sizeof head, "%s %zu\n", tag, bytes);
    XXH3_128bits_update(h, head, (size_t)n);
    XXH3_128bits_update(h, data, bytes);
}

static void hash_fields(XXH3_state_t *h, const loci_hparams *hp)
{
    for (int i = 0; i < loci_hparams_table_n; i++) {
        const loci_setting *f = &loci_hparams_table[i];
        const char *at = (const char *)hp + f->offset;
        char text[64];
        if (is_upper_field(f->key) || loci_hparams_unsaid(hp, f)) continue;
        const int n = f->type == LOCI_SET_INT
                          ? snprintf(text, sizeof text, "%d", *(const int *)at)
                          : snprintf(text, sizeof text, "%.9g", (double)*(const float *)at);
        hash_part(h, f->key, text, (size_t)n);
    }
}

static void hash_tensors(XXH3_state_t *h, loci_model *m, const loci_param_info *list, int n)
{
    for (int i = 0; i < n; i++) {
        const loci_mat *mat = mat_at(&m->p, &list[i]);
        const void *scale = mat->scale ? (const void *)mat->scale : mat->half;
        if (!list[i].ingest) continue;
        hash_part(h, list[i].name, mat->data, (size_t)mat->rows * loci_mat_row_bytes(mat));
        hash_part(h, loci_dtype_name(mat->type), scale ? scale : "", loci_mat_scale_bytes(mat));
    }
}

static loci_status fingerprint(loci_model *m, const char *dir, const loci_param_info *list, int n,
                               loci_error *err)
{
    char path[PATH_BYTES], *tokenizer = NULL;
    size_t bytes = 0;
    XXH128_canonical_t out;
    loci_status st = loci_path_join(path, sizeof path, dir, "tokenizer.json", err);
    if (st == LOCI_OK)
        st = loci_file_load(NULL, path, TOKENIZER_MAX_BYTES, &tokenizer, &bytes, err);
    if (st != LOCI_OK) return st;
    XXH3_state_t *h = XXH3_createState();
    if (!h) {
        free(tokenizer);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a hash");
    }
    XXH3_128bits_reset(h);
    hash_part(h, "architecture", "loci-1", 6);
    hash_fields(h, &m->hp);
    hash_part(h, "tokenizer", tokenizer, bytes);
    hash_tensors(h, m, list, n);
    XXH128_canonicalFromHash(&out, XXH3_128bits_digest(h));
    memcpy(m->fingerprint, out.digest, sizeof m->fingerprint);
    XXH3_freeState(h);
    free(tokenizer);
    return LOCI_OK;
}

loci_status loci_model_open(loci_model **out, const char *dir, unsigned cpu_flags, loci_error *err)
{
    char config[PATH_BYTES], path[PATH_BYTES];
    loci_param_info *list = NULL;
    loci_model *m = NULL;
    loci_hparams hp;
    int n = 0;
    *out = NULL;
    loci_status st = loci_path_join(config, sizeof config, dir, "config.json", err);
    if (st == LOCI_OK) st = loci_path_join(path, sizeof path, dir, "model.safetensors", err);
    if (st == LOCI_OK) st = loci_hparams_load(&hp, config, err);
    if (st != LOCI_OK) return st;
    if (!(m = model_new(&hp, cpu_flags))) {
        st = loci_fail(err, LOCI_ENOMEM, "no memory for a model");
        goto out;
    }
    if ((st = param_list(&list, &n, &hp, err)) != LOCI_OK) goto out;
    if ((st = loci_st_open(&m->file, path, err)) != LOCI_OK) goto out;
    if ((st = bind_all(m, path, list, n, err)) != LOCI_OK) goto out;
    st = fingerprint(m, dir, list, n, err);

out:
    free(list);
    if (st == LOCI_OK)
        *out = m;
    else
        loci_model_close(m);
    return st;
}

/* ---- writing -------------------------------------------------------------------------------------- */

/* The tensors of a file to be: at most two views a parameter; names of scales and converted data
 * are owned. */
typedef struct {
    loci_tensor_view *view;
    char (*name)[64];
    void **data;
    int n, n_data;
} image;

static void image_free(image *f)
{
    for (int i = 0; i < f->n_data; i++) free(f->data[i]);
    free(f->data);
    free(f->name);
    free(f->view);
}

static loci_status image_alloc(image *f, int n, loci_error *err)
{
    f->view = calloc((size_t)n * 2, sizeof *f->view);
    f->name = calloc((size_t)n * 2, sizeof *f->name);
    f->data = calloc((size_t)n * 2, sizeof *f->data);
    if (f->view && f->name && f->data) return LOCI_OK;
    return loci_fail(err, LOCI_ENOMEM, "no memory to write %d tensors", n);
}

/* Room for converted data, owned by the image. */
static void *image_room(image *f, size_t n, size_t elem_size, loci_error *err)
{
    size_t bytes = 0;
    void *p = loci_size_mul(n, elem_size, &bytes) ? malloc(bytes) : NULL;
    if (p)
        f->data[f->n_data++] = p;
    else
        loci_fail(err, LOCI_ENOMEM, "no memory to write %zu numbers", n);
    return p;
}

static void image_add(image *f, const char *name, loci_dtype type, int n_dims, int rows, int cols,
                      const void *data)
{
    const size_t n = (size_t)rows * (size_t)(n_dims == 2 ? cols : 1);
    snprintf(f->name[f->n], sizeof f->name[f->n], "%s", name);
    f->view[f->n] = (loci_tensor_view){ .name = f->name[f->n],
                                        .dtype = type,
                                        .n_dims = n_dims,
                                        .dim = { rows, cols },
                                        .data = data,
                                        .bytes = n * loci_dtype_size(type) };
    f->n++;
}

static loci_status add_bf16(image *f, const loci_param_info *info, const loci_mat *m,
                            loci_error *err)
{
    const size_t n = (size_t)m->rows * (size_t)m->cols;
    const float *x = m->data;
    uint16_t *y = image_room(f, n, sizeof *y, err);
    if (!y) return LOCI_ENOMEM;
    for (size_t i = 0; i < n; i++) y[i] = loci_f32_to_bf16(x[i]);
    image_add(f, info->name, LOCI_BF16, 2, m->rows, m->cols, y);
    return LOCI_OK;
}

static loci_status add_int8(image *f, const loci_kernels *k, const loci_param_info *info,
                            const loci_mat *m, loci_error *err)
{
    char name[64];
    int8_t *q = image_room(f, (size_t)m->rows * (size_t)m->cols, sizeof *q, err);
    float *scale = q ? image_room(f, (size_t)m->rows, sizeof *scale, err) : NULL;
    if (!scale) return LOCI_ENOMEM;
    k->quant_q8(q, m->cols, scale, m->data, m->cols, m->rows, m->cols);
    image_add(f, info->name, LOCI_I8, 2, m->rows, m->cols, q);
    scale_name(name, sizeof name, info->name);
    image_add(f, name, LOCI_F32, 1, m->rows, 0, scale);
    return LOCI_OK;
}

static loci_status add_four(image *f, const loci_param_info *info, const loci_mat *m,
                            loci_error *err)
{
    char name[64];
    const int groups = m->cols / LOCI_W4_GROUP;
    uint8_t *q = image_room(f, (size_t)m->rows, (size_t)m->cols / 2, err);
    uint16_t *half = q ? image_room(f, (size_t)m->rows, (size_t)groups * sizeof *half, err) : NULL;
    if (!half) return LOCI_ENOMEM;
    for (int r = 0; r < m->rows; r++)
        loci_four_round(q + (size_t)r * (size_t)(m->cols / 2), half + (size_t)r * (size_t)groups,
                        (const float *)m->data + (size_t)r * (size_t)m->cols, m->cols);
    image_add(f, info->name, LOCI_U8, 2, m->rows, m->cols / 2, q);
    scale_name(name, sizeof name, info->name);
    image_add(f, name, LOCI_F16, 2, m->rows, groups, half);
    return LOCI_OK;
}

static loci_status add_tensor(image *f, const loci_model *src, const loci_param_info *info,
                              loci_dtype type, loci_error *err)
{
    const loci_mat *m = loci_param_at(&src->p, info);
    const size_t n = (size_t)m->rows * (size_t)m->cols;
    const float *x = m->data;
    if (m->type != LOCI_F32)
        return loci_fail(err, LOCI_EINVAL, "tensor %s: expected an F32 model, found %s", info->name,
                         loci_dtype_name(m->type));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return loci_fail(err, LOCI_EINVAL, "tensor %s: number %zu is %g", info->name, i,
                             (double)x[i]);
    if (type == LOCI_F32 || !info->quantise) {
        image_add(f, info->name, LOCI_F32, 2, m->rows, m->cols, x);
        return LOCI_OK;
    }
    if (type == LOCI_BF16) return add_bf16(f, info, m, err);
    if (type == LOCI_U8 && loci_param_in_four(info)) return add_four(f, info, m, err);
    return add_int8(f, &src->k, info, m, err);
}

/* Widest elements first: the data lies without gaps, and so every tensor starts aligned. */
static int by_width(const void *a, const void *b)
{
    const loci_tensor_view *x = a, *y = b;
    const size_t wx = loci_dtype_size(x->dtype), wy = loci_dtype_size(y->dtype);
    if (wx != wy) return wx > wy ? -1 : 1;
    return (x->name > y->name) - (x->name < y->name); /* names lie in the order of adding */
}

loci_status loci_model_save(const loci_model *src, const char *dir, loci_dtype type,
                            const char *const *meta, loci_error *err)
{
    char config[PATH_BYTES], path[PATH_BYTES];
    loci_param_info *list = NULL;
    image f = { 0 };
    int n = 0;
    if (type != LOCI_F32 && type != LOCI_BF16 && type != LOCI_I8 && type != LOCI_U8)
        return loci_fail(err, LOCI_EINVAL, "storage type: expected F32, BF16, I8 or U8, found %s",
                         loci_dtype_name(type));
    loci_status st = loci_path_join(config, sizeof config, dir, "config.json", err);
    if (st == LOCI_OK) st = loci_path_join(path, sizeof path, dir, "model.safetensors", err);
    if (st == LOCI_OK) st = param_list(&list, &n, &src->hp, err);
    if (st == LOCI_OK) st = image_alloc(&f, n, err);
    for (int i = 0; st == LOCI_OK && i < n; i++) st = add_tensor(&f, src, &list[i], type, err);
    if (st != LOCI_OK) goto out;
    qsort(f.view, (size_t)f.n, sizeof *f.view, by_width);
    if ((st = loci_mkdirs(NULL, dir, err)) != LOCI_OK) goto out;
    if ((st = loci_hparams_save(&src->hp, config, err)) != LOCI_OK) goto out;
    st = loci_st_write(NULL, path, f.view, f.n, meta, err);

out:
    image_free(&f);
    free(list);
    return st;
}
