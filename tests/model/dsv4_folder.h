/* dsv4_folder.h - a tiny DeepSeek-V4 checkpoint as a folder: config.json in released names and
 * model.safetensors, with the values of dsv4_model.h. */
#ifndef DSV4_FOLDER_H
#define DSV4_FOLDER_H

#include <stdio.h>
#include "dsv4_model.h"
#include "model/dsv4/files.h"

enum { FOLDER_TENSORS = 2048 };

typedef struct {
    maker *k;
    loci_tensor_view view[FOLDER_TENSORS];
    char name[FOLDER_TENSORS][96];
    int64_t *ids[16];
    int n, n_ids;
} folder_list;

static inline void folder_tensor(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    folder_list *f = ctx;
    loci_tensor_view *v = &f->view[f->n];
    assert_true(f->n < FOLDER_TENSORS);
    snprintf(f->name[f->n], sizeof f->name[0], "%s", name);
    const bool vector = rows == 1 && !ends_with(name, "ape");
    *v = (loci_tensor_view){ .name = f->name[f->n], .n_dims = vector ? 1 : 2, .dtype = LOCI_F32 };
    v->dim[0] = vector ? cols : rows;
    v->dim[1] = vector ? 0 : cols;
    v->bytes = (size_t)rows * (size_t)cols * 4;
    if (role == DSV4_IDS) {
        int64_t *ids = f->ids[f->n_ids++] = malloc(v->bytes * 2);
        const int32_t *values;
        assert_int_equal(maker_ids(f->k, name, rows, cols, &values, NULL), LOCI_OK);
        for (int i = 0; i < rows * cols; i++) ids[i] = values[i];
        v->dtype = LOCI_I64;
        v->bytes *= 2;
        v->data = ids;
    } else
        v->data = make_tensor(f->k, name)->x;
    f->n++;
}

static inline void folder_config(const loci_dsv4_hparams *h, const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "{\"model_type\":\"deepseek_v4\",\"compress_ratios\":[");
    int n_hash = 0;
    for (int l = 0; l < h->n_layers; l++) {
        fprintf(f, "%d,", h->layer[l].ratio);
        n_hash += h->layer[l].hash;
    }
    fprintf(f, "0],\"num_hash_layers\":%d,\"bos_token_id\":%d,\"eos_token_id\":%d", n_hash, h->bos,
            h->eos);
    fprintf(f,
            ",\"rope_scaling\":{\"type\":\"%s\",\"factor\":%g,\"beta_fast\":%g,"
            "\"beta_slow\":%g,\"original_max_position_embeddings\":%lld}",
            h->yarn ? "yarn" : "default", h->yarn_factor, h->yarn_beta_fast, h->yarn_beta_slow,
            (long long)h->yarn_original);
    for (int i = 0; i < loci_dsv4_table_n; i++) {
        const loci_setting *s = &loci_dsv4_table[i];
        const char *at = (const char *)h + s->offset;
        if (strchr(s->key, '.')) continue;
        fprintf(f, ",\"%s\":%.9g", s->key,
                s->type == LOCI_SET_INT   ? (double)*(const int *)at
                : s->type == LOCI_SET_I64 ? (double)*(const int64_t *)at
                                          : (double)*(const float *)at);
    }
    fprintf(f, "}\n");
    assert_int_equal(fclose(f), 0);
}

static inline void write_folder(loci_dsv4_hparams *hp, float mix_scale, const char *dir)
{
    char path[4200];
    loci_error err = { 0 };
    maker k = { .hp = hp, .mix_scale = mix_scale };
    folder_list *f = calloc(1, sizeof *f);
    f->k = &k;
    dsv4_each_tensor(hp, folder_tensor, f);
    if (loci_mkdirs(NULL, dir, &err) != LOCI_OK) fail_msg("%s", err.text);
    snprintf(path, sizeof path, "%s/config.json", dir);
    folder_config(hp, path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (loci_st_write(NULL, path, f->view, f->n, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
    for (int i = 0; i < f->n_ids; i++) free(f->ids[i]);
    free(f);
    maker_free(&k);
}

#endif
