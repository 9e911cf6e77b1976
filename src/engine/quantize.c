/* quantize.c - the same model with other numbers: f32, bf16 or int8 with one scale a row.
 *
 * What ingest reads is among what changes, so a bank made with one form belongs to that form: the
 * fingerprint tells them apart. */
#include "engine/engine.h"
#include <stdlib.h>
#include <string.h>

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
    loci_model *wide = NULL;
    loci_status st = loci_model_widen(m, base, err);
    if (st == LOCI_OK) st = loci_model_wrap(&wide, &m->hp, base, 0, err);
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
