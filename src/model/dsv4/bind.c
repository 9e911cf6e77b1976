/* bind.c - tensors of a DeepSeek-V4 checkpoint to the places where the forward pass finds them.
 *
 * The names are those of the releases; a source (a safetensors folder, a GGUF file, a test) gives a
 * stored matrix for a name.  Every shape is compared with the one that the config asks for.
 * Matrices stay where they are; vectors, and the few small tables that are used as vectors, are
 * read to f32 once. */
#include "model/dsv4/dsv4.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 160 };

typedef struct owned { /* list of what was converted */
    struct owned *next;
    float data[];
} owned;

typedef struct {
    loci_dsv4_weights *w;
    const loci_dsv4_hparams *hp;
    const loci_dsv4_source *source;
    bool paged; /* experts come from a pager */
    char prefix[32];
    loci_error *err;
} binder;

static loci_status refuse(const binder *b, const char *name, int rows, int cols,
                          const loci_dsv4_mat *found)
{
    if (!found->data)
        return loci_fail(b->err, LOCI_EFORMAT, "%s: %s: expected (%d, %d), found no such tensor",
                         b->source->label, name, rows, cols);
    return loci_fail(b->err, LOCI_EFORMAT, "%s: %s: expected (%d, %d), found (%d, %d)",
                     b->source->label, name, rows, cols, found->rows, found->cols);
}

static void full_name(const binder *b, char *out, const char *name)
{
    snprintf(out, NAME_MAX_BYTES, "%s%s", b->prefix, name);
}

static loci_status matrix(binder *b, loci_dsv4_mat *out, const char *name, int rows, int cols)
{
    char full[NAME_MAX_BYTES];
    full_name(b, full, name);
    *out = (loci_dsv4_mat){ 0 };
    const loci_status st = b->source->find(b->source->ctx, full, out, b->err);
    if (st != LOCI_OK) return st;
    if (!out->data || out->rows != rows || out->cols != cols)
        return refuse(b, full, rows, cols, out);
    return LOCI_OK;
}

/* Values as f32, owned by the weights.  */
static loci_status values(binder *b, const float **out, const char *name, int rows, int cols)
{
    char full[NAME_MAX_BYTES];
    loci_dsv4_mat m = { 0 };
    full_name(b, full, name);
    *out = NULL;
    const loci_status st = b->source->find(b->source->ctx, full, &m, b->err);
    if (st != LOCI_OK) return st;
    if (!m.data || m.rows != rows || m.cols != cols) return refuse(b, full, rows, cols, &m);
    owned *copy = malloc(sizeof *copy + (size_t)rows * (size_t)cols * sizeof(float));
    if (!copy)
        return loci_fail(b->err, LOCI_ENOMEM, "%s: no memory for %s", b->source->label, full);
    copy->next = b->w->owned;
    b->w->owned = copy;
    for (int r = 0; r < rows; r++) loci_stored_row(copy->data + (size_t)r * (size_t)cols, &m, r);
    *out = copy->data;
    return LOCI_OK;
}

static loci_status vector(binder *b, const float **out, const char *name, int n)
{
    return values(b, out, name, 1, n);
}

/* The first failure of a list of bindings: each is skipped once one has failed. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        if (st == LOCI_OK) st = (call);                                                            \
    } while (0)

static loci_status mixer(binder *b, loci_dsv4_mixer *m, const char *name, int rows, int scales)
{
    char part[64];
    const int wide = b->hp->streams * b->hp->hidden;
    loci_status st = LOCI_OK;
    snprintf(part, sizeof part, "%s_fn", name);
    TRY(matrix(b, &m->fn, part, rows, wide));
    snprintf(part, sizeof part, "%s_base", name);
    TRY(vector(b, &m->base, part, rows));
    snprintf(part, sizeof part, "%s_scale", name);
    TRY(vector(b, &m->scale, part, scales));
    return st;
}

static loci_status compressor(binder *b, loci_dsv4_compressor *c, const char *name, int ratio,
                              int copies, int width)
{
    char part[80];
    const int wide = copies * width;
    loci_status st = LOCI_OK;
    snprintf(part, sizeof part, "%s.wkv.weight", name);
    TRY(matrix(b, &c->kv, part, wide, b->hp->hidden));
    snprintf(part, sizeof part, "%s.wgate.weight", name);
    TRY(matrix(b, &c->gate, part, wide, b->hp->hidden));
    snprintf(part, sizeof part, "%s.ape", name);
    TRY(values(b, &c->ape, part, ratio, wide));
    snprintf(part, sizeof part, "%s.norm.weight", name);
    TRY(vector(b, &c->norm, part, width));
    return st;
}

static loci_status attention(binder *b, loci_dsv4_layer *y, const loci_dsv4_layer_shape *s)
{
    const loci_dsv4_hparams *h = b->hp;
    const int d = h->head_dim, group = h->n_heads / h->o_groups * d;
    loci_status st = LOCI_OK;
    TRY(matrix(b, &y->q_a, "attn.wq_a.weight", h->q_rank, h->hidden));
    TRY(vector(b, &y->q_norm, "attn.q_norm.weight", h->q_rank));
    TRY(matrix(b, &y->q_b, "attn.wq_b.weight", h->n_heads * d, h->q_rank));
    TRY(matrix(b, &y->kv, "attn.wkv.weight", d, h->hidden));
    TRY(vector(b, &y->kv_norm, "attn.kv_norm.weight", d));
    TRY(matrix(b, &y->o_a, "attn.wo_a.weight", h->o_groups * h->o_rank, group));
    TRY(matrix(b, &y->o_b, "attn.wo_b.weight", h->hidden, h->o_groups * h->o_rank));
    TRY(vector(b, &y->sink, "attn.attn_sink", h->n_heads));
    if (s->ratio > 0)
        TRY(compressor(b, &y->main, "attn.compressor", s->ratio, s->overlap ? 2 : 1, d));
    if (s->indexer) {
        TRY(matrix(b, &y->index_q, "attn.indexer.wq_b.weight", h->index_heads * h->index_dim,
                   h->q_rank));
        TRY(matrix(b, &y->index_w, "attn.indexer.weights_proj.weight", h->index_heads, h->hidden));
        TRY(compressor(b, &y->index, "attn.indexer.compressor", s->ratio, 2, h->index_dim));
    }
    return st;
}

static loci_status one_expert(binder *b, loci_dsv4_expert *e, const char *name)
{
    char part[64];
    const int D = b->hp->hidden, F = b->hp->expert_width;
    loci_status st = LOCI_OK;
    snprintf(part, sizeof part, "%s.w1.weight", name);
    TRY(matrix(b, &e->gate, part, F, D));
    snprintf(part, sizeof part, "%s.w3.weight", name);
    TRY(matrix(b, &e->up, part, F, D));
    snprintf(part, sizeof part, "%s.w2.weight", name);
    TRY(matrix(b, &e->down, part, D, F));
    return st;
}

static loci_status hash_table(binder *b, loci_dsv4_layer *y)
{
    char full[NAME_MAX_BYTES];
    const int64_t rows = b->hp->vocab, cols = b->hp->n_active;
    full_name(b, full, "ffn.gate.tid2eid");
    const loci_status st = b->source->find_ids(b->source->ctx, full, rows, cols, &y->hash, b->err);
    if (st != LOCI_OK) return st;
    if (!y->hash)
        return loci_fail(b->err, LOCI_EFORMAT,
                         "%s: %s: expected (%lld, %lld), found no such tensor", b->source->label,
                         full, (long long)rows, (long long)cols);
    for (int64_t i = 0; i < rows * cols; i++)
        if (y->hash[i] < 0 || y->hash[i] >= b->hp->n_experts)
            return loci_fail(b->err, LOCI_EFORMAT, "%s: %s[%lld, %lld]: expected 0 to %d, found %d",
                             b->source->label, full, (long long)(i / cols), (long long)(i % cols),
                             b->hp->n_experts - 1, y->hash[i]);
    return LOCI_OK;
}

static loci_status experts(binder *b, loci_dsv4_layer *y, const loci_dsv4_layer_shape *s)
{
    const loci_dsv4_hparams *h = b->hp;
    char name[48];
    loci_status st = LOCI_OK;
    TRY(matrix(b, &y->router, "ffn.gate.weight", h->n_experts, h->hidden));
    if (s->hash)
        TRY(hash_table(b, y));
    else
        TRY(vector(b, &y->router_bias, "ffn.gate.bias", h->n_experts));
    TRY(one_expert(b, &y->shared, "ffn.shared_experts"));
    if (b->paged || st != LOCI_OK) return st;
    y->expert = calloc((size_t)h->n_experts, sizeof *y->expert);
    if (!y->expert) return loci_fail(b->err, LOCI_ENOMEM, "%s: no memory", b->source->label);
    for (int e = 0; e < h->n_experts; e++) {
        snprintf(name, sizeof name, "ffn.experts.%d", e);
        TRY(one_expert(b, &y->expert[e], name));
    }
    return st;
}

static loci_status layer(binder *b, int l)
{
    loci_dsv4_layer *y = &b->w->layer[l];
    const loci_dsv4_hparams *h = b->hp;
    const int rows = (2 + h->streams) * h->streams;
    loci_status st = LOCI_OK;
    TRY(vector(b, &y->attn_norm, "attn_norm.weight", h->hidden));
    TRY(vector(b, &y->ffn_norm, "ffn_norm.weight", h->hidden));
    TRY(mixer(b, &y->attn_mix, "hc_attn", rows, 3));
    TRY(mixer(b, &y->ffn_mix, "hc_ffn", rows, 3));
    TRY(attention(b, y, &h->layer[l]));
    TRY(experts(b, y, &h->layer[l]));
    return st;
}

/* A drafting block is optional: uploads and conversions often leave it out. */
static loci_status mtp(binder *b, int i)
{
    loci_dsv4_mtp *y = &b->w->mtp[i];
    const int D = b->hp->hidden;
    char full[NAME_MAX_BYTES];
    loci_dsv4_mat probe = { 0 };
    snprintf(b->prefix, sizeof b->prefix, "mtp.%d.", i);
    full_name(b, full, "e_proj.weight");
    loci_status st = b->source->find(b->source->ctx, full, &probe, b->err);
    if (st != LOCI_OK || !probe.data) return st;
    TRY(matrix(b, &y->e_proj, "e_proj.weight", D, D));
    TRY(matrix(b, &y->h_proj, "h_proj.weight", D, D));
    TRY(vector(b, &y->enorm, "enorm.weight", D));
    TRY(vector(b, &y->hnorm, "hnorm.weight", D));
    TRY(vector(b, &y->norm, "norm.weight", D));
    TRY(mixer(b, &y->head_mix, "hc_head", b->hp->streams, 1));
    TRY(layer(b, b->hp->n_layers + i));
    return st;
}

static loci_status everything(binder *b)
{
    const loci_dsv4_hparams *h = b->hp;
    loci_status st = LOCI_OK;
    TRY(matrix(b, &b->w->embed, "embed.weight", h->vocab, h->hidden));
    TRY(matrix(b, &b->w->head, "head.weight", h->vocab, h->hidden));
    TRY(vector(b, &b->w->norm, "norm.weight", h->hidden));
    TRY(mixer(b, &b->w->head_mix, "hc_head", h->streams, 1));
    for (int l = 0; l < h->n_layers; l++) {
        snprintf(b->prefix, sizeof b->prefix, "layers.%d.", l);
        TRY(layer(b, l));
    }
    for (int i = 0; i < h->n_mtp; i++) TRY(mtp(b, i));
    return st;
}

loci_status loci_dsv4_bind(loci_dsv4_weights *w, const loci_dsv4_hparams *hp,
                           const loci_dsv4_source *source, const loci_dsv4_pager *pager,
                           loci_error *err)
{
    *w = (loci_dsv4_weights){ 0 };
    if (hp->family == LOCI_DSV4_V41)
        return loci_fail(err, LOCI_EVERSION, "%s: V4.1 is recognised but not run", source->label);
    if (pager) w->pager = *pager;
    binder b = { .w = w, .hp = hp, .source = source, .paged = pager != NULL, .err = err };
    const loci_status st = everything(&b);
    if (st != LOCI_OK) loci_dsv4_weights_free(w);
    return st;
}

void loci_dsv4_weights_free(loci_dsv4_weights *w)
{
    if (!w) return;
    for (owned *at = w->owned; at;) {
        owned *next = at->next;
        free(at);
        at = next;
    }
    for (int l = 0; l < LOCI_DSV4_MAX_LAYERS; l++) free(w->layer[l].expert);
    *w = (loci_dsv4_weights){ 0 };
}
