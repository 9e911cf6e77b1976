/* config_gguf.c - the shape of a DeepSeek-V4 model from GGUF metadata (prefix deepseek4.).
 *
 * Ranges and relations are those of shape.c.  What the arithmetic is fixed to must be said or be
 * absent: one shared expert, one key head, weights of experts normalised, one clamp for all layers,
 * no groups of experts. */
#include "model/dsv4/files.h"

#include <limits.h>
#include <string.h>

#define PREFIX "deepseek4."

typedef enum { INT, I64, REAL } kind;

static const struct {
    const char *key;
    kind kind;
    size_t offset;
    bool required;
} fields[] = {
#define F(key, kind, name, required)                                                               \
    {                                                                                              \
        PREFIX key, kind, offsetof(loci_dsv4_hparams, name), required                              \
    }
    F("block_count", INT, n_layers, true),
    F("embedding_length", INT, hidden, true),
    F("context_length", I64, max_positions, true),
    F("attention.head_count", INT, n_heads, true),
    F("attention.key_length", INT, head_dim, true),
    F("rope.dimension_count", INT, rope_dim, true),
    F("attention.q_lora_rank", INT, q_rank, true),
    F("attention.output_group_count", INT, o_groups, true),
    F("attention.output_lora_rank", INT, o_rank, true),
    F("attention.sliding_window", INT, window, true),
    F("rope.freq_base", REAL, rope_theta, true),
    F("attention.compress_rope_freq_base", REAL, compress_theta, true),
    F("attention.layer_norm_rms_epsilon", REAL, norm_eps, true),
    F("attention.indexer.head_count", INT, index_heads, true),
    F("attention.indexer.key_length", INT, index_dim, true),
    F("attention.indexer.top_k", INT, index_topk, true),
    F("expert_count", INT, n_experts, true),
    F("expert_used_count", INT, n_active, true),
    F("expert_feed_forward_length", INT, expert_width, true),
    F("expert_weights_scale", REAL, route_scale, true),
    F("hyper_connection.count", INT, streams, true),
    F("hyper_connection.sinkhorn_iterations", INT, sinkhorn_iters, true),
    F("hyper_connection.epsilon", REAL, hc_eps, true),
#undef F
};

typedef struct {
    const loci_gguf *f;
    const char *label;
    loci_error *err;
} reader;

static loci_status wrong(const reader *r, const char *key, const char *expected)
{
    return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected %s, found %s", r->label, key, expected,
                     loci_gguf_has(r->f, key) ? "something else" : "no such key");
}

/* An int that may be absent; *out is left then. */
static loci_status read_int(const reader *r, const char *key, int *out)
{
    int64_t v = 0;
    if (!loci_gguf_has(r->f, key)) return LOCI_OK;
    if (!loci_gguf_int(r->f, key, &v) || v < INT_MIN || v > INT_MAX)
        return wrong(r, key, "an integer of 32 bits");
    *out = (int)v;
    return LOCI_OK;
}

static loci_status read_real(const reader *r, const char *key, float *out)
{
    double v = 0;
    if (!loci_gguf_has(r->f, key)) return LOCI_OK;
    if (!loci_gguf_real(r->f, key, &v)) return wrong(r, key, "a number");
    *out = (float)v;
    return LOCI_OK;
}

static loci_status read_fields(const reader *r, loci_dsv4_hparams *hp)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *at = (char *)hp + fields[i].offset;
        const char *key = fields[i].key;
        loci_status st = LOCI_OK;
        if (fields[i].required && !loci_gguf_has(r->f, key)) return wrong(r, key, "a number");
        if (fields[i].kind == INT)
            st = read_int(r, key, (int *)(void *)at);
        else if (fields[i].kind == REAL)
            st = read_real(r, key, (float *)(void *)at);
        else if (!loci_gguf_int(r->f, key, (int64_t *)(void *)at))
            st = wrong(r, key, "an integer");
        if (st != LOCI_OK) return st;
    }
    return LOCI_OK;
}

/* ---- what there is one of ----------------------------------------------------------------- */

static loci_status check_fixed(const reader *r)
{
    static const struct {
        const char *key;
        int value;
    } fixed[] = { { PREFIX "attention.head_count_kv", 1 },
                  { PREFIX "expert_shared_count", 1 },
                  { PREFIX "expert_weights_norm", 1 } };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        int v = fixed[i].value;
        const loci_status st = read_int(r, fixed[i].key, &v);
        if (st != LOCI_OK) return st;
        if (v != fixed[i].value) return wrong(r, fixed[i].key, "1");
    }
    int groups = 0;
    const loci_status st = read_int(r, PREFIX "expert_group_count", &groups);
    return st == LOCI_OK && groups > 1 ? wrong(r, PREFIX "expert_group_count", "0 or 1") : st;
}

/* Clamps are stored a layer and an array each; here there is one. */
static loci_status read_clamp(const reader *r, loci_dsv4_hparams *hp)
{
    static const char *const key[] = { PREFIX "swiglu_clamp_exp", PREFIX "swiglu_clamp_shexp" };
    double limit = 0, v = 0;
    if (!loci_gguf_real_at(r->f, key[0], 0, &limit)) return wrong(r, key[0], "an array of numbers");
    for (int k = 0; k < 2; k++) {
        int64_t n = 0;
        if (k == 1 && !loci_gguf_has(r->f, key[k])) break; /* as for the experts */
        if (!loci_gguf_length(r->f, key[k], &n) || n < hp->n_layers)
            return wrong(r, key[k], "a number for each layer");
        for (int64_t i = 0; i < hp->n_layers; i++)
            if (!loci_gguf_real_at(r->f, key[k], i, &v) || v != limit)
                return wrong(r, key[k], "the same number for each layer");
    }
    hp->swiglu_limit = (float)limit;
    return LOCI_OK;
}

static loci_status read_yarn(const reader *r, loci_dsv4_hparams *hp)
{
    static const char type_key[] = PREFIX "rope.scaling.type",
                      original[] = PREFIX "rope.scaling.original_context_length";
    loci_text_span type = { 0 };
    if (!loci_gguf_has(r->f, type_key)) return LOCI_OK;
    if (!loci_gguf_text(r->f, type_key, &type)) return wrong(r, type_key, "\"yarn\" or \"none\"");
    if (type.len == 4 && memcmp(type.data, "none", 4) == 0) return LOCI_OK;
    if (type.len != 4 || memcmp(type.data, "yarn", 4) != 0)
        return wrong(r, type_key, "\"yarn\" or \"none\"");
    hp->yarn = true;
    hp->yarn_beta_fast = 32.0f;
    hp->yarn_beta_slow = 1.0f;
    if (!loci_gguf_int(r->f, original, &hp->yarn_original)) return wrong(r, original, "an integer");
    loci_status st = read_real(r, PREFIX "rope.scaling.factor", &hp->yarn_factor);
    if (st == LOCI_OK) st = read_real(r, PREFIX "rope.scaling.yarn_beta_fast", &hp->yarn_beta_fast);
    if (st == LOCI_OK) st = read_real(r, PREFIX "rope.scaling.yarn_beta_slow", &hp->yarn_beta_slow);
    return st;
}

static loci_status read_vocab(const reader *r, loci_dsv4_hparams *hp)
{
    int64_t tokens = 0;
    hp->bos = hp->eos = -1;
    loci_status st = read_int(r, PREFIX "vocab_size", &hp->vocab);
    if (st == LOCI_OK && hp->vocab == 0) {
        if (!loci_gguf_length(r->f, "tokenizer.ggml.tokens", &tokens) || tokens > INT_MAX)
            return wrong(r, PREFIX "vocab_size", "an integer");
        hp->vocab = (int)tokens;
    }
    if (st == LOCI_OK) st = read_int(r, "tokenizer.ggml.bos_token_id", &hp->bos);
    if (st == LOCI_OK) st = read_int(r, "tokenizer.ggml.eos_token_id", &hp->eos);
    return st;
}

/* ---- layers ------------------------------------------------------------------------------- */

/* Drafting blocks stored as mtp.N, or as blk.N behind the last layer; block_count counts the latter
 * in some files.  Those that cannot run alone (stages of DSpark) are left out. */
static loci_status count_blocks(const reader *r, loci_dsv4_hparams *hp)
{
    int n;
    bool alone;
    char name[64];
    const int first = dsv4_gguf_nextn(r->f, &n, &alone);
    if (first >= 0 && first != hp->n_layers && first + n != hp->n_layers)
        return loci_fail(r->err, LOCI_EFORMAT,
                         "%s: blk.%d.nextn: expected behind the last of %d blocks, found %d such "
                         "blocks from %d on",
                         r->label, first, hp->n_layers, n, first);
    if (first >= 0) hp->n_layers = first;
    hp->n_mtp = first >= 0 && alone ? n : 0;
    for (; first < 0 && hp->n_mtp < 8; hp->n_mtp++) {
        snprintf(name, sizeof name, "mtp.%d.e_proj.weight", hp->n_mtp);
        if (!loci_gguf_find(r->f, name)) break;
    }
    return LOCI_OK;
}

static loci_status read_layers(const reader *r, loci_dsv4_hparams *hp)
{
    static const char key[] = PREFIX "attention.compress_ratios";
    int ratios[LOCI_DSV4_MAX_LAYERS] = { 0 }, n_hash = 0;
    const loci_status st = read_int(r, PREFIX "hash_layer_count", &n_hash);
    if (st != LOCI_OK) return st;
    for (int l = 0; l < hp->n_layers && l < LOCI_DSV4_MAX_LAYERS; l++) {
        int64_t v = 0;
        if (!loci_gguf_int_at(r->f, key, l, &v) || v < 0 || v > 4096)
            return wrong(r, key, "0 to 4096 for each layer");
        ratios[l] = (int)v;
    }
    return loci_dsv4_layers_from_ratios(hp, ratios, n_hash, r->label, r->err);
}

static void read_expert_type(const reader *r, loci_dsv4_hparams *hp)
{
    const loci_gguf_tensor *t = loci_gguf_find(r->f, "blk.0.ffn_gate_exps.weight");
    hp->expert_type =
        t && t->type == LOCI_GGML_MXFP4 ? LOCI_DSV4_EXPERT_FP4 : LOCI_DSV4_EXPERT_PLAIN;
}

loci_status loci_dsv4_config_gguf(loci_dsv4_hparams *hp, const loci_gguf *f, loci_error *err)
{
    const reader r = { f, loci_gguf_label(f), err };
    loci_text_span name = { 0 };
    *hp = (loci_dsv4_hparams){ 0 };
    if (!loci_gguf_text(f, "general.architecture", &name) || name.len != 9 ||
        memcmp(name.data, "deepseek4", 9) != 0)
        return wrong(&r, "general.architecture", "\"deepseek4\"");
    loci_status st = check_fixed(&r);
    if (st == LOCI_OK) st = read_fields(&r, hp);
    if (st == LOCI_OK) st = count_blocks(&r, hp);
    if (st == LOCI_OK) st = read_clamp(&r, hp);
    if (st == LOCI_OK) st = read_yarn(&r, hp);
    if (st == LOCI_OK) st = read_vocab(&r, hp);
    read_expert_type(&r, hp);
    if (st == LOCI_OK) st = read_layers(&r, hp);
    if (st != LOCI_OK) *hp = (loci_dsv4_hparams){ 0 };
    return st;
}
