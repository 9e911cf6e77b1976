/* shape.c - the fields of a DeepSeek-V4 shape, their ranges and relations, and the released ones.
 *
 * One table serves config.json, GGUF metadata and the checks.  Ranges are such that every product
 * of two sizes that the code forms as an int fits one, and that a hostile file cannot ask for an
 * absurd allocation before its tensors are compared with the shape. */
#include "model/dsv4/dsv4.h"

#include <string.h>

#define INT(key, name, low, high, must)                                                            \
    {                                                                                              \
        key, LOCI_SET_INT, offsetof(loci_dsv4_hparams, name), (low), (high), 0, must, ""           \
    }
#define I64(key, name, low, high, must)                                                            \
    {                                                                                              \
        key, LOCI_SET_I64, offsetof(loci_dsv4_hparams, name), (low), (high), 0, must, ""           \
    }
#define FLOAT(key, name, low, high, must)                                                          \
    {                                                                                              \
        key, LOCI_SET_FLOAT, offsetof(loci_dsv4_hparams, name), (low), (high), 0, must, ""         \
    }

const loci_setting loci_dsv4_table[] = {
    INT("vocab_size", vocab, 1, 1 << 20, true),
    INT("hidden_size", hidden, 1, 1 << 16, true),
    INT("num_hidden_layers", n_layers, 1, LOCI_DSV4_MAX_LAYERS - 8, true),
    INT("num_nextn_predict_layers", n_mtp, 0, 8, false),
    INT("num_attention_heads", n_heads, 1, 1 << 10, true),
    INT("head_dim", head_dim, 2, 1 << 10, true),
    INT("qk_rope_head_dim", rope_dim, 2, 1 << 10, true),
    INT("q_lora_rank", q_rank, 1, 1 << 16, true),
    INT("o_groups", o_groups, 1, 1 << 10, true),
    INT("o_lora_rank", o_rank, 1, 1 << 13, true),
    INT("sliding_window", window, 1, 1 << 16, true),
    FLOAT("rope_theta", rope_theta, 1.0, 1e9, true),
    FLOAT("compress_rope_theta", compress_theta, 1.0, 1e9, true),
    FLOAT("rope_scaling.factor", yarn_factor, 1.0, 1e4, false),
    FLOAT("rope_scaling.beta_fast", yarn_beta_fast, 1e-3, 1e6, false),
    FLOAT("rope_scaling.beta_slow", yarn_beta_slow, 1e-3, 1e6, false),
    I64("rope_scaling.original_max_position_embeddings", yarn_original, 1, 1 << 30, false),
    I64("max_position_embeddings", max_positions, 1, 1 << 30, true),
    INT("index_n_heads", index_heads, 1, 1 << 10, true),
    INT("index_head_dim", index_dim, 2, 1 << 10, true),
    INT("index_topk", index_topk, 1, 1 << 16, true),
    INT("n_routed_experts", n_experts, 1, 1 << 12, true),
    INT("num_experts_per_tok", n_active, 1, 64, true),
    INT("moe_intermediate_size", expert_width, 1, 1 << 16, true),
    FLOAT("routed_scaling_factor", route_scale, 0.0, 1e3, true),
    FLOAT("swiglu_limit", swiglu_limit, 0.0, 1e6, true),
    INT("hc_mult", streams, 1, LOCI_DSV4_MAX_STREAMS, true),
    INT("hc_sinkhorn_iters", sinkhorn_iters, 1, 1000, true),
    FLOAT("hc_eps", hc_eps, 0.0, 1.0, true),
    FLOAT("rms_norm_eps", norm_eps, 0.0, 1.0, true),
};
const int loci_dsv4_table_n = sizeof loci_dsv4_table / sizeof loci_dsv4_table[0];

enum { RATIO_MAX = 1 << 12 };

static loci_status check_ranges(const loci_dsv4_hparams *hp, const char *label, loci_error *err)
{
    for (int i = 0; i < loci_dsv4_table_n; i++) {
        const loci_setting *f = &loci_dsv4_table[i];
        const char *at = (const char *)hp + f->offset;
        if (strncmp(f->key, "rope_scaling", 12) == 0 && !hp->yarn) continue;
        const double v = f->type == LOCI_SET_INT   ? (double)*(const int *)at
                         : f->type == LOCI_SET_I64 ? (double)*(const int64_t *)at
                                                   : (double)*(const float *)at;
        if (!(v >= f->min && v <= f->max))
            return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected %.9g to %.9g, found %.9g", label,
                             f->key, f->min, f->max, v);
    }
    return LOCI_OK;
}

static loci_status check_relations(const loci_dsv4_hparams *hp, const char *label, loci_error *err)
{
    const struct {
        bool holds;
        const char *field, *expected;
        int found;
    } rule[] = {
        { hp->rope_dim % 2 == 0, "qk_rope_head_dim", "an even number", hp->rope_dim },
        { hp->rope_dim <= hp->head_dim, "qk_rope_head_dim", "at most head_dim", hp->rope_dim },
        { hp->rope_dim <= hp->index_dim, "index_head_dim", "at least qk_rope_head_dim",
          hp->index_dim },
        { hp->n_heads % hp->o_groups == 0, "num_attention_heads", "a multiple of o_groups",
          hp->n_heads },
        { hp->n_active <= hp->n_experts, "num_experts_per_tok", "at most n_routed_experts",
          hp->n_active },
        { hp->bos >= -1 && hp->bos < hp->vocab, "bos_token_id", "an id below vocab_size", hp->bos },
        { hp->eos >= -1 && hp->eos < hp->vocab, "eos_token_id", "an id below vocab_size", hp->eos },
    };
    for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++)
        if (!rule[i].holds)
            return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected %s, found %d", label,
                             rule[i].field, rule[i].expected, rule[i].found);
    return LOCI_OK;
}

static loci_status check_layer(const loci_dsv4_hparams *hp, int l, const char *label,
                               loci_error *err)
{
    const loci_dsv4_layer_shape *s = &hp->layer[l];
    const bool window = s->kind == LOCI_DSV4_WINDOW;
    if (window ? s->ratio != 0 : s->ratio < 1 || s->ratio > RATIO_MAX)
        return loci_fail(err, LOCI_EFORMAT, "%s: compress_ratios[%d]: expected %s, found %d", label,
                         l, window ? "0" : "0 to 4096", s->ratio);
    if (s->kv_source > l || s->index_source > l)
        return loci_fail(err, LOCI_EFORMAT, "%s: layer %d: expected a source before it, found %d",
                         label, l, s->kv_source > l ? s->kv_source : s->index_source);
    return LOCI_OK;
}

loci_status loci_dsv4_hparams_check(const loci_dsv4_hparams *hp, const char *label, loci_error *err)
{
    loci_status st = check_ranges(hp, label, err);
    if (st == LOCI_OK) st = check_relations(hp, label, err);
    for (int l = 0; l < hp->n_layers + hp->n_mtp && st == LOCI_OK; l++)
        st = check_layer(hp, l, label, err);
    return st;
}

loci_status loci_dsv4_layers_from_ratios(loci_dsv4_hparams *hp, const int *ratios, int n_hash,
                                         const char *label, loci_error *err)
{
    loci_status st = check_ranges(hp, label, err);
    if (st != LOCI_OK) return st;
    if (n_hash < 0 || n_hash > hp->n_layers)
        return loci_fail(err, LOCI_EFORMAT, "%s: num_hash_layers: expected 0 to %d, found %d",
                         label, hp->n_layers, n_hash);
    for (int l = 0; l < hp->n_layers + hp->n_mtp; l++) {
        const int r = l < hp->n_layers ? ratios[l] : 0;
        hp->layer[l] = (loci_dsv4_layer_shape){
            .kind = r == 0   ? LOCI_DSV4_WINDOW
                    : r == 4 ? LOCI_DSV4_CSA
                             : LOCI_DSV4_HCA,
            .ratio = r,
            .overlap = r == 4,
            .indexer = r == 4,
            .hash = l < n_hash,
            .kv_source = l,
            .index_source = l,
        };
    }
    return loci_dsv4_hparams_check(hp, label, err);
}

/* What Flash and Pro share. */
static const loci_dsv4_hparams common = {
    .family = LOCI_DSV4_V4,
    .vocab = 129280,
    .n_mtp = 1,
    .head_dim = 512,
    .rope_dim = 64,
    .o_rank = 1024,
    .window = 128,
    .rope_theta = 1e4f,
    .compress_theta = 1.6e5f,
    .yarn = true,
    .yarn_factor = 16.0f,
    .yarn_beta_fast = 32.0f,
    .yarn_beta_slow = 1.0f,
    .yarn_original = 65536,
    .max_positions = 1048576,
    .index_heads = 64,
    .index_dim = 128,
    .n_active = 6,
    .swiglu_limit = 10.0f,
    .streams = 4,
    .sinkhorn_iters = 20,
    .hc_eps = 1e-6f,
    .norm_eps = 1e-6f,
    .bos = 0,
    .eos = 1,
    .expert_type = LOCI_DSV4_EXPERT_FP4,
};

loci_status loci_dsv4_known_shape(loci_dsv4_hparams *hp, const char *name, loci_error *err)
{
    int ratios[LOCI_DSV4_MAX_LAYERS];
    const bool flash = strcmp(name, "flash") == 0;
    *hp = (loci_dsv4_hparams){ 0 };
    if (!flash && strcmp(name, "pro") != 0)
        return loci_fail(err, LOCI_EINVAL, "shape: expected flash or pro, found %s", name);
    *hp = common;
    hp->hidden = flash ? 4096 : 7168;
    hp->n_layers = flash ? 43 : 61;
    hp->n_heads = flash ? 64 : 128;
    hp->q_rank = flash ? 1024 : 1536;
    hp->o_groups = flash ? 8 : 16;
    hp->index_topk = flash ? 512 : 1024;
    hp->n_experts = flash ? 256 : 384;
    hp->expert_width = flash ? 2048 : 3072;
    hp->route_scale = flash ? 1.5f : 2.5f;
    for (int l = 0; l < hp->n_layers; l++)
        ratios[l] = l < 2 ? (flash ? 0 : 128) : l % 2 == 0 ? 4 : 128;
    return loci_dsv4_layers_from_ratios(hp, ratios, 3, name, err);
}
