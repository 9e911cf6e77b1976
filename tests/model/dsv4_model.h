/* dsv4_model.h - tiny DeepSeek-V4 models whose weights follow from the names of their tensors, as in
 * oracle/dsv4_vectors.py: nothing is stored, both sides make the same numbers.
 *
 *   k[i] = the top byte, signed, of splitmix64's output function at fnv1a(name) + (i + 1) golden
 *   mixer scales (64 + (k >> 2)) / 128 mix_scale; norms 1 + (k >> 2) / 128; ape k / 256;
 *   other vectors k / 512; matrices k / 128 times the power of two near sqrt(3 / columns) */
#ifndef DSV4_MODEL_H
#define DSV4_MODEL_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/dsv4/dsv4.h"

static inline int8_t hashed_byte(const char *name, uint64_t i)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    uint64_t z = h + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int8_t)((z ^ (z >> 31)) >> 56);
}

/* ---- shapes of the released tensors ------------------------------------------------------------ */

static inline bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* (rows, cols) of a name; false for one that no model has. */
static inline bool shape_of(const loci_dsv4_hparams *h, const char *name, int *rows, int *cols)
{
    const int D = h->hidden, d = h->head_dim, n = h->streams, mix = (2 + n) * n;
    int l = 0;
    if (sscanf(name, "layers.%d.", &l) != 1 && sscanf(name, "mtp.%d.", &l) == 1) l += h->n_layers;
    const loci_dsv4_layer_shape *s = &h->layer[l];
    const bool index = strstr(name, "indexer") != NULL;
    const int width = index ? h->index_dim : d, wide = (index || s->overlap ? 2 : 1) * width;
    const struct {
        const char *end;
        int rows, cols;
    } list[] = {
        { "compressor.wkv.weight", wide, D },
        { "compressor.wgate.weight", wide, D },
        { "compressor.ape", s->ratio, wide },
        { "compressor.norm.weight", 1, width },
        { "indexer.wq_b.weight", h->index_heads * h->index_dim, h->q_rank },
        { "indexer.weights_proj.weight", h->index_heads, D },
        { "embed.weight", h->vocab, D },
        { "ffn.gate.weight", h->n_experts, D },
        { "ffn.gate.bias", 1, h->n_experts },
        { ".w1.weight", h->expert_width, D },
        { ".w3.weight", h->expert_width, D },
        { ".w2.weight", D, h->expert_width },
        { "wq_a.weight", h->q_rank, D },
        { "q_norm.weight", 1, h->q_rank },
        { "wq_b.weight", h->n_heads * d, h->q_rank },
        { "wkv.weight", d, D },
        { "kv_norm.weight", 1, d },
        { "wo_a.weight", h->o_groups * h->o_rank, h->n_heads / h->o_groups * d },
        { "wo_b.weight", D, h->o_groups * h->o_rank },
        { "attn_sink", 1, h->n_heads },
        { "hc_head_fn", n, n * D },
        { "hc_head_base", 1, n },
        { "hc_head_scale", 1, 1 },
        { "_fn", mix, n * D },
        { "_base", 1, mix },
        { "_scale", 1, 3 },
        { "e_proj.weight", D, D },
        { "h_proj.weight", D, D },
        { "norm.weight", 1, D }, /* attn_norm, ffn_norm, enorm, hnorm, norm */
    };
    *rows = *cols = 0;
    if (strcmp(name, "head.weight") == 0) {
        *rows = h->vocab;
        *cols = D;
        return true;
    }
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (ends_with(name, list[i].end)) {
            *rows = list[i].rows;
            *cols = list[i].cols;
            return *rows > 0;
        }
    return false;
}

/* ---- values ----------------------------------------------------------------------------------- */

static inline void fill_tensor(float *x, const char *name, int rows, int cols, float mix_scale)
{
    const float unit = ldexpf(1, (int)lrint(log2(sqrt(3.0 / cols))));
    const bool vector = rows == 1 && !ends_with(name, "_fn") && !ends_with(name, "ape");
    for (int i = 0; i < rows * cols; i++) {
        const int k = hashed_byte(name, (uint64_t)i);
        x[i] = ends_with(name, "_scale") ? (float)(64 + (k >> 2)) / 128 * mix_scale
               : strstr(name, "norm")    ? 1 + (float)(k >> 2) / 128
               : ends_with(name, "ape")  ? (float)k / 256
               : vector                  ? (float)k / 512
                                         : (float)k / 128 * unit;
    }
}

/* ---- a source of such tensors ------------------------------------------------------------------- */

typedef struct made {
    struct made *next;
    char name[192];
    int rows, cols;
    float *x;
    int32_t *ids;
    void *stored; /* the same in another type */
    uint8_t *scale;
} made;

typedef struct {
    const loci_dsv4_hparams *hp;
    float mix_scale;
    const char *leave_out; /* a name without tensor, or NULL */
    const char *misshape;  /* a name with one column too many, or NULL */
    bool quantised;        /* FP8 and FP4 as a released checkpoint has them */
    made *list;
} maker;

static inline made *make_tensor(maker *k, const char *name)
{
    for (made *m = k->list; m; m = m->next)
        if (strcmp(m->name, name) == 0) return m;
    int rows, cols;
    if (!shape_of(k->hp, name, &rows, &cols)) fail_msg("no such tensor: %s", name);
    if (k->misshape && strcmp(name, k->misshape) == 0) cols++;
    made *m = calloc(1, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->rows = rows;
    m->cols = cols;
    m->x = malloc((size_t)rows * (size_t)cols * sizeof *m->x + 4);
    fill_tensor(m->x, name, rows, cols, k->mix_scale);
    m->next = k->list;
    k->list = m;
    return m;
}

/* Which matrices a release stores in FP8, and in FP4. */
static inline loci_stored_type released_type(const char *name)
{
    static const char *const fp8[] = { "attn.wq_a.weight", "attn.wq_b.weight",
                                       "attn.wkv.weight",  "attn.wo_a.weight",
                                       "attn.wo_b.weight", "indexer.wq_b.weight",
                                       "e_proj.weight",    "h_proj.weight" };
    if (strstr(name, "ffn.experts.")) return LOCI_STORED_E2M1;
    if (strstr(name, "shared_experts.")) return LOCI_STORED_E4M3;
    for (size_t i = 0; i < sizeof fp8 / sizeof fp8[0]; i++)
        if (ends_with(name, fp8[i])) return LOCI_STORED_E4M3;
    return LOCI_STORED_F32;
}

/* Random codes with scales that give the size of the plain matrix. */
static inline void store_quantised(made *m, loci_stored_type type)
{
    const bool fp4 = type == LOCI_STORED_E2M1;
    const size_t n = (size_t)m->rows * (size_t)m->cols / (fp4 ? 2 : 1);
    const size_t scales = fp4 ? (size_t)m->rows * (size_t)(m->cols / 32)
                              : (size_t)((m->rows + 127) / 128) * (size_t)((m->cols + 127) / 128);
    const int unit = 127 + (int)lrint(log2(sqrt(3.0 / m->cols))) - (fp4 ? 2 : 0);
    if (m->stored) return;
    uint8_t *code = m->stored = malloc(n);
    m->scale = malloc(scales);
    for (size_t i = 0; i < n; i++) {
        const uint8_t b = (uint8_t)hashed_byte(m->name, i);
        code[i] = fp4 ? b : (uint8_t)((b & 0x8f) | 0x30); /* FP8: 0.5 to 0.94, and its negative */
    }
    for (size_t i = 0; i < scales; i++) m->scale[i] = (uint8_t)(unit + (int)(i % 2));
}

static inline loci_status maker_find(void *ctx, const char *name, loci_dsv4_mat *out,
                                     loci_error *err)
{
    maker *k = ctx;
    (void)err;
    if (k->leave_out && strcmp(name, k->leave_out) == 0) return LOCI_OK;
    made *m = make_tensor(k, name);
    const loci_stored_type type = k->quantised ? released_type(name) : LOCI_STORED_F32;
    *out = (loci_dsv4_mat){ .data = m->x, .rows = m->rows, .cols = m->cols, .type = type };
    out->row_bytes = loci_stored_row_bytes(type, m->cols);
    if (type != LOCI_STORED_F32) {
        store_quantised(m, type);
        out->data = m->stored;
        out->scale = m->scale;
    }
    return LOCI_OK;
}

static inline loci_status maker_ids(void *ctx, const char *name, int64_t rows, int64_t cols,
                                    const int32_t **out, loci_error *err)
{
    maker *k = ctx;
    (void)err;
    made *m = calloc(1, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->ids = malloc((size_t)(rows * cols) * sizeof *m->ids);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            m->ids[r * cols + c] =
                (int32_t)(((hashed_byte(name, (uint64_t)r) & 127) + c) % k->hp->n_experts);
    m->next = k->list;
    k->list = m;
    *out = m->ids;
    return LOCI_OK;
}

static inline void maker_free(maker *k)
{
    for (made *m = k->list; m;) {
        made *next = m->next;
        free(m->x);
        free(m->ids);
        free(m->stored);
        free(m->scale);
        free(m);
        m = next;
    }
    k->list = NULL;
}

static inline loci_dsv4_source maker_source(maker *k)
{
    return (loci_dsv4_source){ k, "made", maker_find, maker_ids };
}

/* ---- a shape with every branch within 64 tokens -------------------------------------------------- */

static inline loci_dsv4_hparams tiny_shape(void)
{
    loci_dsv4_hparams hp = {
        .vocab = 96,
        .hidden = 64,
        .n_layers = 5,
        .n_mtp = 1,
        .n_heads = 4,
        .head_dim = 32,
        .rope_dim = 8,
        .q_rank = 40,
        .o_groups = 2,
        .o_rank = 24,
        .window = 8,
        .rope_theta = 1e4f,
        .compress_theta = 1.6e5f,
        .yarn = true,
        .yarn_factor = 16,
        .yarn_beta_fast = 32,
        .yarn_beta_slow = 1,
        .yarn_original = 64,
        .max_positions = 4096,
        .index_heads = 16,
        .index_dim = 16,
        .index_topk = 4,
        .n_experts = 8,
        .n_active = 2,
        .expert_width = 48,
        .route_scale = 1.5f,
        .swiglu_limit = 1.0f,
        .streams = 4,
        .sinkhorn_iters = 3,
        .hc_eps = 1e-2f,
        .norm_eps = 1e-6f,
        .bos = 0,
        .eos = 1,
    };
    const int ratios[] = { 0, 4, 8, 4, 16 };
    loci_error err = { 0 };
    if (loci_dsv4_layers_from_ratios(&hp, ratios, 1, "tiny", &err) != LOCI_OK)
        fail_msg("%s", err.text);
    return hp;
}

typedef struct {
    loci_dsv4_hparams hp;
    maker k;
    loci_dsv4 m;
} tiny;

/* A model of shape hp; blocks of 64 tokens, so that a short text fills several. */
static inline tiny *tiny_open(loci_dsv4_hparams hp, float mix_scale, bool quantised,
                              loci_dsv4_mode mode)
{
    tiny *t = calloc(1, sizeof *t);
    loci_error err = { 0 };
    loci_dsv4_weights w;
    t->hp = hp;
    t->k = (maker){ .hp = &t->hp, .mix_scale = mix_scale, .quantised = quantised };
    const loci_dsv4_source source = maker_source(&t->k);
    if (loci_dsv4_bind(&w, &t->hp, &source, NULL, &err) != LOCI_OK ||
        loci_dsv4_init(&t->m, &t->hp, &w, loci_cpu_detect(), mode, 64, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    return t;
}

static inline void tiny_close(tiny *t)
{
    loci_dsv4_free(&t->m);
    maker_free(&t->k);
    free(t);
}

static inline void random_ids(int32_t *ids, int n, int vocab, uint64_t seed)
{
    loci_rng rng;
    loci_rng_seed(&rng, seed);
    for (int i = 0; i < n; i++) ids[i] = (int32_t)loci_rng_below(&rng, (uint32_t)vocab);
}

static inline loci_dsv4_seq *open_seq(const loci_dsv4 *m, loci_pool *pool)
{
    loci_dsv4_seq *s;
    loci_error err = { 0 };
    if (loci_dsv4_seq_open(&s, m, pool, &err) != LOCI_OK) fail_msg("%s", err.text);
    return s;
}

static inline void extend(loci_dsv4_seq *s, const int32_t *ids, int n, float *logits, int n_logits)
{
    loci_error err = { 0 };
    if (loci_dsv4_extend(s, ids, n, logits, n_logits, &err) != LOCI_OK) fail_msg("%s", err.text);
}

#endif
