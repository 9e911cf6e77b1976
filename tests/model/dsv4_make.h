/* dsv4_make.h - tiny checkpoints of the DeepSeek-V4 family with random weights, as safetensors in
 * any dialect of names and types, or as GGUF: the same numbers in each. */
#ifndef DSV4_MAKE_H
#define DSV4_MAKE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "format/format.h"
#include "gguf_make.h"
#include "kernel/number.h"
#include "model/dsv4/files.h"

enum { MAKE_MAX = 2048 };

typedef struct {
    char name[128];
    int rows, cols; /* of the matrix it stands for */
    dsv4_role role;
    loci_dtype dtype;
    void *data; /* owned */
    size_t bytes;
    int64_t dim[2];
    int n_dims;
} made;

typedef struct {
    loci_rng rng;
    bool plain; /* F32 everywhere; else as released: FP8, FP4 (hp's expert type), BF16 */
    loci_dsv4_expert_type experts;
    int n;
    made t[MAKE_MAX];
} checkpoint;

static inline made *add_made(checkpoint *c, const char *name, int rows, int cols, loci_dtype dtype,
                             size_t bytes)
{
    assert_true(c->n < MAKE_MAX);
    made *m = &c->t[c->n++];
    snprintf(m->name, sizeof m->name, "%s", name);
    m->rows = rows;
    m->cols = cols;
    m->dtype = dtype;
    m->bytes = bytes;
    m->data = calloc(bytes + 1, 1);
    m->n_dims = rows == 1 ? 1 : 2;
    m->dim[0] = rows == 1 ? cols : rows;
    m->dim[1] = rows == 1 ? 1 : cols;
    return m;
}

/* Scales of the matrix that was added last. */
static inline void add_scales(checkpoint *c, int rows, int cols)
{
    char name[128];
    const made *of = &c->t[c->n - 1];
    snprintf(name, sizeof name, "%.*s.scale", (int)strlen(of->name) - 7, of->name);
    made *s = add_made(c, name, rows, cols, LOCI_F8_E8M0, (size_t)rows * (size_t)cols);
    s->n_dims = 2;
    s->dim[0] = rows;
    s->dim[1] = cols;
    for (size_t i = 0; i < s->bytes; i++)
        ((uint8_t *)s->data)[i] = (uint8_t)(120 + loci_rng_below(&c->rng, 4));
}

/* Gains near 1 and small biases, so that what a token is decides which experts it takes. */
static inline float make_value(checkpoint *c, const char *name)
{
    const float v = (float)loci_rng_normal(&c->rng);
    if (strstr(name, "norm.weight")) return 1.0f + 0.1f * v;
    return strstr(name, "ffn.gate.bias") ? 0.01f * v : 0.1f * v;
}

static inline void make_tensor(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    checkpoint *c = ctx;
    const size_t n = (size_t)rows * (size_t)cols;
    const bool fp4 = role == DSV4_EXPERT && c->experts == LOCI_DSV4_EXPERT_FP4;
    made *m;
    if (role == DSV4_IDS) {
        m = add_made(c, name, rows, cols, LOCI_I64, 8 * n);
        for (size_t i = 0; i < n; i++)
            ((int64_t *)m->data)[i] = (int64_t)(i * 7 % 3); /* >= 3 experts */
    } else if (c->plain || role == DSV4_F32) {
        m = add_made(c, name, rows, cols, LOCI_F32, 4 * n);
        for (size_t i = 0; i < n; i++) ((float *)m->data)[i] = make_value(c, name);
    } else if (role == DSV4_BF16) {
        m = add_made(c, name, rows, cols, LOCI_BF16, 2 * n);
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)m->data)[i] = loci_f32_to_bf16(make_value(c, name));
    } else {
        m = add_made(c, name, rows, cols, fp4 ? LOCI_I8 : LOCI_F8_E4M3, fp4 ? n / 2 : n);
        if (fp4) m->dim[1] = cols / 2;
        for (size_t i = 0; i < m->bytes; i++) {
            const uint8_t b = (uint8_t)loci_rng_below(&c->rng, 256);
            ((uint8_t *)m->data)[i] = !fp4 && (b & 127) == 127 ? 0 : b;
        }
        m->role = role;
        if (fp4)
            add_scales(c, rows, cols / 32);
        else
            add_scales(c, (rows + 127) / 128, (cols + 127) / 128);
        return;
    }
    m->role = role;
}

static inline checkpoint *make_checkpoint(const loci_dsv4_hparams *hp, bool plain, uint64_t seed)
{
    checkpoint *c = calloc(1, sizeof *c);
    loci_rng_seed(&c->rng, seed);
    c->plain = plain;
    c->experts = hp->expert_type;
    dsv4_each_tensor(hp, make_tensor, c);
    return c;
}

static inline void free_checkpoint(checkpoint *c)
{
    for (int i = 0; i < c->n; i++) free(c->t[i].data);
    free(c);
}

static inline made *made_find(checkpoint *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->t[i].name, name) == 0) return &c->t[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* ---- files -------------------------------------------------------------------------------------- */

/* The name that transformers saves a tensor by. */
static inline void saved_name(char *out, size_t n, const char *name)
{
    const char *kv = strstr(name, "attn.kv_norm.weight");
    if (strcmp(name, "embed.weight") == 0)
        snprintf(out, n, "model.embed_tokens.weight");
    else if (strcmp(name, "head.weight") == 0)
        snprintf(out, n, "head.weight");
    else if (strncmp(name, "hc_head_", 8) == 0)
        snprintf(out, n, "model.hc_head.hc_%s", name + 8);
    else if (kv)
        snprintf(out, n, "model.%.*sattn.norm.weight", (int)(kv - name), name);
    else
        snprintf(out, n, "model.%s", name);
}

/* dir/file with the tensors i of c where i % n_shards == shard; -1 leaves none out. */
static inline void write_part(const checkpoint *c, const char *dir, const char *file, bool saved,
                              int shard, int n_shards)
{
    static loci_tensor_view v[MAKE_MAX];
    static char names[MAKE_MAX][144];
    char path[1024];
    int n = 0;
    for (int i = 0; i < c->n; i++) {
        const made *m = &c->t[i];
        if (!m->data || (n_shards > 1 && i % n_shards != shard)) continue;
        if (saved)
            saved_name(names[n], sizeof names[n], m->name);
        else
            snprintf(names[n], sizeof names[n], "%s", m->name);
        v[n] = (loci_tensor_view){ .name = names[n],
                                   .dtype = m->dtype,
                                   .n_dims = m->n_dims,
                                   .data = m->data,
                                   .bytes = m->bytes };
        memcpy(v[n++].dim, m->dim, sizeof m->dim);
    }
    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(loci_st_write(NULL, path, v, n, NULL, NULL), LOCI_OK);
}

static inline void write_shards(const checkpoint *c, const char *dir, bool saved, int n_shards)
{
    char path[1024], name[160];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"metadata\":{},\"weight_map\":{", f);
    for (int i = 0; i < c->n; i++) {
        if (saved)
            saved_name(name, sizeof name, c->t[i].name);
        else
            snprintf(name, sizeof name, "%s", c->t[i].name);
        fprintf(f, "%s\"%s\":\"part-%d.safetensors\"", i ? "," : "", name, i % n_shards);
    }
    fputs("}}", f);
    fclose(f);
    for (int s = 0; s < n_shards; s++) {
        snprintf(name, sizeof name, "part-%d.safetensors", s);
        write_part(c, dir, name, saved, s, n_shards);
    }
}

#endif
