/* quantize.c - the same model with other numbers: f32, bf16, int8 with one scale a row, or 4 bits with
 * one for 32 of a row (what is `fine`, params.c, in int8).
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

loci_status loci_quantize_type(const char *name, loci_dtype *type, loci_error *err)
{
    static const struct {
        const char *name;
        loci_dtype type;
    } known[] = {
        { "f32", LOCI_F32 }, { "bf16", LOCI_BF16 }, { "int8", LOCI_I8 }, { "int4", LOCI_U8 }
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].name) == 0) {
            *type = known[i].type;
            return LOCI_OK;
        }
    return loci_fail(err, LOCI_EINVAL, "weights: expected f32, bf16, int8 or int4, found %.40s",
                     name);
}

loci_status loci_quantize(const char *model_dir, const char *out_dir, const char *dtype,
                          loci_error *err)
{
    loci_dtype type = LOCI_F32;
    loci_model *m;
    loci_status st = loci_quantize_type(dtype, &type, err);
    if (st == LOCI_OK) st = loci_model_open(&m, model_dir, 0, err);
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
