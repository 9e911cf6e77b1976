/* quantize.c - the same model with other numbers: f32, bf16 or int8 with one scale a row.
 *
 * What ingest reads is among what changes, so a bank made with one form belongs to that form: the
 * fingerprint tells them apart. */
#include "engine/engine.h"
#include <stdlib.h>
#include <string.h>

/* One matrix of any stored type as f32. */
static void widen(const loci_kernels *k, float *out, const loci_mat *w)
{
    const size_t n = (size_t)w->rows * (size_t)w->cols;
    if (w->type == LOCI_F32)
        memcpy(out, w->data, n * sizeof *out);
    else if (w->type == LOCI_I8)
        k->dequant_q8(out, w->cols, w->data, w->cols, w->scale, w->rows, w->cols);
    else
        for (size_t i = 0; i < n; i++) out[i] = loci_bf16_to_f32(((const uint16_t *)w->data)[i]);
}

static loci_status copy_tokenizer(const char *from_dir, const char *to_dir, loci_error *err)
{
    char from[4096], to[4096], *text;
    size_t len;
    loci_status st = loci_path_join(from, sizeof from, from_dir, "tokenizer.json", err);
    if (st == LOCI_OK) st = loci_path_join(to, sizeof to, to_dir, "tokenizer.json", err);
    if (st == LOCI_OK) st = loci_file_load(NULL, from, (size_t)64 << 20, &text, &len, err);
    if (st != LOCI_OK) return st;
    st = loci_file_replace(NULL, to, text, len, err);
    free(text);
    return st;
}

static loci_status convert(const loci_model *m, float *base, const char *out_dir, loci_dtype type,
                           loci_error *err)
{
    loci_params flat;
    loci_model *wide = NULL;
    const int n = loci_param_list(&m->hp, NULL, 0);
    loci_param_info *info = calloc((size_t)n, sizeof *info);
    if (!info) return loci_fail(err, LOCI_ENOMEM, "no memory for %d tensors", n);
    loci_param_list(&m->hp, info, n);
    loci_params_bind(&flat, &m->hp, base);
    for (int i = 0; i < n; i++) {
        const loci_mat *from =
            (const loci_mat *)(const void *)((const char *)&m->p + info[i].offset);
        const loci_mat *to = (const loci_mat *)(const void *)((const char *)&flat + info[i].offset);
        widen(&m->k, to->data, from);
    }
    free(info);
    loci_status st = loci_model_wrap(&wide, &m->hp, base, 0, err);
    if (st == LOCI_OK) st = loci_model_save(wide, out_dir, type, NULL, err);
    loci_model_close(wide);
    return st;
}

loci_status loci_quantize(const char *model_dir, const char *out_dir, const char *dtype,
                          loci_error *err)
{
    loci_dtype type;
    loci_model *m;
    if (strcmp(dtype, "f32") == 0)
        type = LOCI_F32;
    else if (strcmp(dtype, "bf16") == 0)
        type = LOCI_BF16;
    else if (strcmp(dtype, "int8") == 0)
        type = LOCI_I8;
    else
        return loci_fail(err, LOCI_EINVAL, "dtype \"%s\": expected f32, bf16 or int8", dtype);
    loci_status st = loci_model_open(&m, model_dir, 0, err);
    if (st != LOCI_OK) return st;
    float *base = loci_alloc_aligned(loci_param_floats(&m->hp) * sizeof(float));
    if (!base)
        st = loci_fail(err, LOCI_ENOMEM, "no memory for %zu parameters", loci_param_floats(&m->hp));
    if (st == LOCI_OK) st = loci_mkdirs(NULL, out_dir, err);
    if (st == LOCI_OK) st = copy_tokenizer(model_dir, out_dir, err);
    if (st == LOCI_OK) st = convert(m, base, out_dir, type, err);
    loci_free_aligned(base);
    loci_model_close(m);
    return st;
}
