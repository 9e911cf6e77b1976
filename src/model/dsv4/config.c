/* config.c - config.json of the DeepSeek-V4 family, in two dialects, to a shape.
 *
 * The releases name per-layer ratios (compress_ratios) and a rope_scaling object; transformers saves
 * layer_types with compress_rates, mlp_layer_types, and rope_parameters with the parts main and
 * compress.  Where both are given the explicit per-layer lists win.  Everything is brought into one
 * flat object in released names, which the table of shape.c checks; strings that name the arithmetic
 * (scoring, activation) must be the ones this folder computes.  Unknown keys belong to others. */
#include "model/dsv4/dsv4.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    json_t *root;
    const char *label;
    loci_error *err;
} reader;

/* The value of a key; NULL when absent or null (transformers writes null for "not set"). */
static json_t *get(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

static loci_status wrong(const reader *r, const char *key, const char *expected, const json_t *v)
{
    if (json_is_string(v))
        return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected %s, found \"%.40s\"", r->label,
                         key, expected, json_string_value(v));
    if (json_is_integer(v))
        return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected %s, found %lld", r->label, key,
                         expected, (long long)json_integer_value(v));
    return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected %s, found %s", r->label, key, expected,
                     loci_json_type_name(v));
}

/* ---- what the arithmetic is fixed to --------------------------------------------------- */

/* A text that may be absent; `place` names it. */
static loci_status check_text(const reader *r, const json_t *v, const char *place,
                              const char *value)
{
    return !v || (json_is_string(v) && strcmp(json_string_value(v), value) == 0)
               ? LOCI_OK
               : wrong(r, place, value, v);
}

/* How released weights are stored.  Their tensors say it again, one by one; other ways have other
 * names for them too. */
static loci_status check_storage(const reader *r)
{
    const json_t *q = get(r->root, "quantization_config"), *experts = get(r->root, "expert_dtype");
    loci_status st =
        check_text(r, get(q, "quant_method"), "quantization_config.quant_method", "fp8");
    if (st == LOCI_OK)
        st = check_text(r, get(q, "scale_fmt"), "quantization_config.scale_fmt", "ue8m0");
    const char *type = json_is_string(experts) ? json_string_value(experts) : "";
    if (st == LOCI_OK && experts && strcmp(type, "fp4") != 0 && strcmp(type, "fp8") != 0)
        st = wrong(r, "expert_dtype", "fp4 or fp8", experts);
    return st;
}

static loci_status check_fixed(const reader *r)
{
    static const struct {
        const char *key, *value;
    } text[] = { { "scoring_func", "sqrtsoftplus" },
                 { "topk_method", "noaux_tc" },
                 { "hidden_act", "silu" } };
    static const struct {
        const char *key;
        bool value;
    } flag[] = { { "norm_topk_prob", true },
                 { "attention_bias", false },
                 { "tie_word_embeddings", false } };
    static const char *const one[] = { "num_key_value_heads", "n_shared_experts" };
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        const loci_status st = check_text(r, get(r->root, text[i].key), text[i].key, text[i].value);
        if (st != LOCI_OK) return st;
    }
    for (size_t i = 0; i < sizeof flag / sizeof flag[0]; i++) {
        const json_t *v = get(r->root, flag[i].key);
        if (v && (!json_is_boolean(v) || json_is_true(v) != flag[i].value))
            return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected %s, found %s", r->label,
                             flag[i].key, flag[i].value ? "true" : "false",
                             !json_is_boolean(v) ? loci_json_type_name(v)
                             : json_is_true(v)   ? "true"
                                                 : "false");
    }
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++) {
        const json_t *v = get(r->root, one[i]);
        if (v && (!json_is_integer(v) || json_integer_value(v) != 1))
            return wrong(r, one[i], "1", v);
    }
    return LOCI_OK;
}

/* ---- numbers: one flat object in released names ------------------------------------------ */

/* YaRN's keys from `from` into flat; *yarn says whether there is any scaling. */
static loci_status take_scaling(const reader *r, json_t *flat, const json_t *from, bool *yarn)
{
    static const char *const key[] = { "factor", "beta_fast", "beta_slow",
                                       "original_max_position_embeddings" };
    const json_t *type = get(from, "rope_type") ? get(from, "rope_type") : get(from, "type");
    if (!type || (json_is_string(type) && strcmp(json_string_value(type), "default") == 0))
        return LOCI_OK;
    if (!json_is_string(type) || strcmp(json_string_value(type), "yarn") != 0)
        return wrong(r, "rope_scaling.type", "yarn or default", type);
    *yarn = true;
    for (size_t i = 0; i < sizeof key / sizeof key[0]; i++) {
        char name[80];
        json_t *v = get(from, key[i]);
        snprintf(name, sizeof name, "rope_scaling.%s", key[i]);
        if (v)
            json_object_set(flat, name, v);
        else if (i == 0 || i == 3) /* the betas have YaRN's own defaults */
            return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: missing", r->label, name);
    }
    return LOCI_OK;
}

/* rope_parameters {main, compress}, flat rope_parameters, or rope_scaling. */
static loci_status take_rope(const reader *r, json_t *flat, bool *yarn)
{
    const json_t *par = get(r->root, "rope_parameters");
    const json_t *main = get(par, "main"), *compress = get(par, "compress");
    const json_t *scaling = compress ? compress : par ? par : get(r->root, "rope_scaling");
    if (par && !json_is_object(par)) return wrong(r, "rope_parameters", "an object", par);
    if (scaling && !json_is_object(scaling)) return wrong(r, "rope_scaling", "an object", scaling);
    if (get(main, "rope_theta")) json_object_set(flat, "rope_theta", get(main, "rope_theta"));
    if (get(compress, "rope_theta"))
        json_object_set(flat, "compress_rope_theta", get(compress, "rope_theta"));
    if (par && (main || compress) && !compress) return LOCI_OK;
    return scaling ? take_scaling(r, flat, scaling, yarn) : LOCI_OK;
}

static loci_status take_rope_dim(const reader *r, json_t *flat)
{
    const json_t *part = get(r->root, "partial_rotary_factor"), *d = get(r->root, "head_dim");
    const json_t *main = get(get(r->root, "rope_parameters"), "main");
    if (json_object_get(flat, "qk_rope_head_dim")) return LOCI_OK;
    if (!part) part = get(main, "partial_rotary_factor");
    if (!part || !json_is_number(part) || !json_is_integer(d))
        return LOCI_OK; /* missing: said later */
    const double dim = json_number_value(part) * (double)json_integer_value(d);
    if (!(dim >= 0.0 && dim <= 1e6)) return wrong(r, "partial_rotary_factor", "0 to 1", part);
    json_object_set_new(flat, "qk_rope_head_dim", json_integer((json_int_t)(dim + 0.5)));
    return LOCI_OK;
}

static loci_status read_numbers(const reader *r, loci_dsv4_hparams *hp)
{
    json_t *flat = json_object();
    if (!flat) return loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
    for (int i = 0; i < loci_dsv4_table_n; i++) {
        json_t *v = get(r->root, loci_dsv4_table[i].key);
        if (v) json_object_set(flat, loci_dsv4_table[i].key, v);
    }
    hp->yarn_beta_fast = 32.0f;
    hp->yarn_beta_slow = 1.0f;
    loci_status st = take_rope(r, flat, &hp->yarn);
    if (st == LOCI_OK) st = take_rope_dim(r, flat);
    char *text = st == LOCI_OK ? json_dumps(flat, JSON_COMPACT) : NULL;
    if (st == LOCI_OK)
        st = text ? loci_settings_parse(text, r->label, loci_dsv4_table, loci_dsv4_table_n, hp,
                                        NULL, r->err)
                  : loci_fail(r->err, LOCI_EFORMAT, "%s: not UTF-8 or no memory", r->label);
    free(text);
    json_decref(flat);
    return st;
}

/* One id; transformers may save a list, whose first is meant.  -1 when absent. */
static loci_status read_id(const reader *r, const char *key, int *out)
{
    const json_t *v = get(r->root, key);
    *out = -1;
    if (json_is_array(v) && json_array_size(v) > 0) v = json_array_get(v, 0);
    if (!v) return LOCI_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1 << 20)
        return wrong(r, key, "a token id", v);
    *out = (int)json_integer_value(v);
    return LOCI_OK;
}

/* ---- layers ----------------------------------------------------------------------------------- */

/* At least `least` integers in [low, high] into out (at most max are kept); *n = how many. */
static loci_status read_ints(const reader *r, const char *key, int least, int low, int high,
                             int *out, int max, int *n)
{
    const json_t *list = get(r->root, key);
    *n = 0;
    if (!json_is_array(list)) return wrong(r, key, "an array", list);
    if (json_array_size(list) < (size_t)least)
        return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected at least %d entries, found %zu",
                         r->label, key, least, json_array_size(list));
    for (size_t i = 0; i < json_array_size(list) && *n < max; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < low || json_integer_value(v) > high) {
            char place[64], expected[64];
            snprintf(place, sizeof place, "%s[%zu]", key, i);
            snprintf(expected, sizeof expected, "%d to %d", low, high);
            return wrong(r, place, expected, v);
        }
        out[(*n)++] = (int)json_integer_value(v);
    }
    return LOCI_OK;
}

static const char *const type_names[] = { [LOCI_DSV4_WINDOW] = "sliding_attention",
                                          [LOCI_DSV4_CSA] = "compressed_sparse_attention",
                                          [LOCI_DSV4_HCA] = "heavily_compressed_attention" };

/* Tokens an entry of a kind pools, in transformers' names. */
static loci_status read_rate(const reader *r, loci_dsv4_kind kind, int *rate)
{
    static const char *const old[] = { NULL, "compress_rate_csa", "compress_rate_hca" };
    static const int usual[] = { 0, 4, 128 };
    const json_t *v = get(get(r->root, "compress_rates"), type_names[kind]);
    *rate = usual[kind];
    if (kind == LOCI_DSV4_WINDOW) return LOCI_OK;
    if (!v) v = get(r->root, old[kind]);
    if (!v) return LOCI_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 4096)
        return wrong(r, "compress_rates", "1 to 4096", v);
    *rate = (int)json_integer_value(v);
    return LOCI_OK;
}

/* Entry i of a list of n names as its index among `names`. */
static loci_status read_name(const reader *r, const char *key, int i, int n,
                             const char *const *names, int n_names, int *out)
{
    const json_t *list = get(r->root, key), *v = json_array_get(list, (size_t)i);
    char place[64];
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return loci_fail(r->err, LOCI_EFORMAT, "%s: %s: expected an array of %d, found %s of %zu",
                         r->label, key, n, loci_json_type_name(list), json_array_size(list));
    snprintf(place, sizeof place, "%s[%d]", key, i);
    for (int k = 0; k < n_names && json_is_string(v); k++)
        if (strcmp(json_string_value(v), names[k]) == 0) {
            *out = k;
            return LOCI_OK;
        }
    return wrong(r, place, "a layer type of DeepSeek-V4", v);
}

static loci_status layers_from_types(const reader *r, loci_dsv4_hparams *hp)
{
    int rate[3];
    for (int kind = 0; kind < 3; kind++) {
        const loci_status st = read_rate(r, (loci_dsv4_kind)kind, &rate[kind]);
        if (st != LOCI_OK) return st;
    }
    for (int l = 0; l < hp->n_layers; l++) {
        int kind = 0;
        const loci_status st = read_name(r, "layer_types", l, hp->n_layers, type_names, 3, &kind);
        if (st != LOCI_OK) return st;
        loci_dsv4_layer_shape *s = &hp->layer[l];
        s->kind = (loci_dsv4_kind)kind;
        s->ratio = rate[kind];
        s->overlap = s->indexer = s->kind == LOCI_DSV4_CSA;
    }
    return LOCI_OK;
}

static loci_status mlps_from_types(const reader *r, loci_dsv4_hparams *hp)
{
    static const char *const names[] = { "moe", "hash_moe" };
    for (int l = 0; l < hp->n_layers; l++) {
        int which = 0;
        const loci_status st = read_name(r, "mlp_layer_types", l, hp->n_layers, names, 2, &which);
        if (st != LOCI_OK) return st;
        hp->layer[l].hash = which == 1;
    }
    return LOCI_OK;
}

static loci_status read_layers(const reader *r, loci_dsv4_hparams *hp)
{
    int ratios[LOCI_DSV4_MAX_LAYERS] = { 0 }, n = 0, n_hash = 0;
    const json_t *hash = get(r->root, "num_hash_layers");
    const bool types = get(r->root, "layer_types") != NULL;
    loci_status st = LOCI_OK;
    if (hash && (!json_is_integer(hash) || json_integer_value(hash) < 0 ||
                 json_integer_value(hash) > hp->n_layers))
        return wrong(r, "num_hash_layers", "0 to num_hidden_layers", hash);
    n_hash = (int)json_integer_value(hash);
    if (!types)
        st = read_ints(r, "compress_ratios", hp->n_layers, 0, 4096, ratios, LOCI_DSV4_MAX_LAYERS,
                       &n);
    if (st == LOCI_OK) st = loci_dsv4_layers_from_ratios(hp, ratios, n_hash, r->label, r->err);
    if (st == LOCI_OK && types) st = layers_from_types(r, hp);
    if (st == LOCI_OK && get(r->root, "mlp_layer_types")) st = mlps_from_types(r, hp);
    if (n > hp->n_layers) hp->draft_stages = n - hp->n_layers;
    return st;
}

/* ---- families ------------------------------------------------------------------------------- */

/* Flash-0731: mtp.0 .. mtp.2 are DSpark stages while num_nextn_predict_layers still says 1. */
static loci_status read_dspark(const reader *r, loci_dsv4_hparams *hp)
{
    static const char *const key[] = { "dspark_block_size", "dspark_markov_rank",
                                       "dspark_noise_token_id" };
    int *const field[] = { &hp->draft_block, &hp->markov_rank, &hp->noise_id };
    const int max[] = { 256, 1 << 13, hp->vocab - 1 };
    for (int i = 0; i < 3; i++) {
        const json_t *v = get(r->root, key[i]);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max[i])
            return wrong(r, key[i], "a small number", v);
        *field[i] = (int)json_integer_value(v);
    }
    hp->family = LOCI_DSV4_DSPARK;
    hp->n_mtp = 0;
    return read_ints(r, "dspark_target_layer_ids", 1, 0, hp->n_layers - 1, hp->tap,
                     LOCI_DSV4_MAX_TAPS, &hp->n_taps);
}

/* Layers of V4.1: ratios 1 and 2, entries and picks of the last source at or before a layer. */
static loci_status layers_of_v41(const reader *r, loci_dsv4_hparams *hp)
{
    int kv[LOCI_DSV4_MAX_LAYERS], index[LOCI_DSV4_MAX_LAYERS], n_kv = 0, n_index = 0;
    loci_status st = read_ints(r, "kv_source_layer_ids", 1, 0, hp->n_layers - 1, kv,
                               LOCI_DSV4_MAX_LAYERS, &n_kv);
    if (st == LOCI_OK)
        st = read_ints(r, "index_source_layer_ids", 1, 0, hp->n_layers - 1, index,
                       LOCI_DSV4_MAX_LAYERS, &n_index);
    for (int l = 0; l < hp->n_layers && st == LOCI_OK; l++) {
        loci_dsv4_layer_shape *s = &hp->layer[l];
        if (s->ratio == 0) continue;
        s->kind = LOCI_DSV4_CSA;
        s->overlap = false;
        s->indexer = false;
        for (int i = 0; i < n_kv; i++)
            if (kv[i] <= l) s->kv_source = kv[i];
        for (int i = 0; i < n_index; i++) {
            if (index[i] <= l) s->index_source = index[i];
            if (index[i] == l) s->indexer = true;
        }
    }
    return st;
}

static void read_expert_type(const reader *r, loci_dsv4_hparams *hp)
{
    const json_t *type = get(r->root, "expert_dtype");
    if (json_is_string(type) && strcmp(json_string_value(type), "fp4") == 0)
        hp->expert_type = LOCI_DSV4_EXPERT_FP4;
    else if (get(r->root, "quantization_config"))
        hp->expert_type = LOCI_DSV4_EXPERT_FP8;
}

static loci_status read_all(reader *r, loci_dsv4_hparams *hp)
{
    const json_t *type = get(r->root, "model_type");
    const char *name = json_is_string(type) ? json_string_value(type) : "";
    const bool v41 = strcmp(name, "deepseek_v41") == 0;
    if (!v41 && strcmp(name, "deepseek_v4") != 0)
        return wrong(r, "model_type", "deepseek_v4 or deepseek_v41", type);
    if (v41 && json_is_object(get(r->root, "text_config"))) r->root = get(r->root, "text_config");
    loci_status st = check_fixed(r);
    if (st == LOCI_OK && !v41) st = check_storage(r);
    if (st == LOCI_OK) st = read_numbers(r, hp);
    if (st == LOCI_OK) st = read_id(r, "bos_token_id", &hp->bos);
    if (st == LOCI_OK) st = read_id(r, "eos_token_id", &hp->eos);
    read_expert_type(r, hp);
    if (st == LOCI_OK) st = read_layers(r, hp);
    if (st == LOCI_OK && v41) {
        hp->family = LOCI_DSV4_V41;
        st = layers_of_v41(r, hp);
    } else if (st == LOCI_OK && get(r->root, "dspark_block_size"))
        st = read_dspark(r, hp);
    if (hp->family == LOCI_DSV4_V4) hp->draft_stages = 0;
    return st == LOCI_OK ? loci_dsv4_hparams_check(hp, r->label, r->err) : st;
}

static json_t *load(const char *text, json_error_t *why)
{
    return json_loads(text, JSON_REJECT_DUPLICATES, why);
}

bool loci_dsv4_config_is(const char *json_text)
{
    json_error_t why;
    json_t *root = load(json_text, &why);
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const bool is = type && (strcmp(type, "deepseek_v4") == 0 || strcmp(type, "deepseek_v41") == 0);
    json_decref(root);
    return is;
}

loci_status loci_dsv4_config_parse(loci_dsv4_hparams *hp, const char *json_text, const char *label,
                                   loci_error *err)
{
    json_error_t why;
    *hp = (loci_dsv4_hparams){ 0 };
    json_t *root = load(json_text, &why);
    if (!root) return loci_fail(err, LOCI_EFORMAT, "%s: line %d: %s", label, why.line, why.text);
    reader r = { root, label, err };
    loci_status st = json_is_object(root) ? LOCI_OK : wrong(&r, "(whole)", "an object", root);
    if (st == LOCI_OK) st = read_all(&r, hp);
    json_decref(root);
    if (st != LOCI_OK) *hp = (loci_dsv4_hparams){ 0 };
    return st;
}
