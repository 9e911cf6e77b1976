/* dsv4_gguf.h - a tiny checkpoint of the DeepSeek-V4 family as a GGUF file, names and keys as
 * llama.cpp's files have them. */
#ifndef DSV4_GGUF_H
#define DSV4_GGUF_H

#include "dsv4_make.h"

/* ---- names, stated a second time: what a converter would write ---- */

/* How drafting blocks are stored: mtp.N; blk.N that block_count does not count; blk.N that it does,
 * with both projections in one tensor. */
typedef enum { GGUF_MTP, GGUF_NEXTN, GGUF_JOINED } gguf_drafts;

static inline void gguf_layer_name(char *out, size_t n, const char *rest)
{
    static const char *const same[] = { "attn_norm.weight", "ffn_norm.weight", "e_proj.weight",
                                        "h_proj.weight",    "enorm.weight",    "hnorm.weight",
                                        "norm.weight" };
    static const char *const map[][2] = {
        { "attn.wq_a.weight", "attn_q_a" },
        { "attn.q_norm.weight", "attn_q_a_norm" },
        { "attn.wq_b.weight", "attn_q_b" },
        { "attn.wkv.weight", "attn_kv" },
        { "attn.kv_norm.weight", "attn_kv_a_norm" },
        { "attn.attn_sink", "attn_sinks" },
        { "attn.wo_a.weight", "attn_output_a" },
        { "attn.wo_b.weight", "attn_output_b" },
        { "attn.compressor.wkv.weight", "attn_compressor_kv" },
        { "attn.compressor.wgate.weight", "attn_compressor_gate" },
        { "attn.compressor.ape", "attn_compressor_ape" },
        { "attn.compressor.norm.weight", "attn_compressor_norm" },
        { "attn.indexer.wq_b.weight", "indexer.attn_q_b" },
        { "attn.indexer.weights_proj.weight", "indexer.proj" },
        { "attn.indexer.compressor.wkv.weight", "indexer_compressor_kv" },
        { "attn.indexer.compressor.wgate.weight", "indexer_compressor_gate" },
        { "attn.indexer.compressor.ape", "indexer_compressor_ape" },
        { "attn.indexer.compressor.norm.weight", "indexer_compressor_norm" },
        { "ffn.gate.weight", "ffn_gate_inp" },
        { "ffn.gate.tid2eid", "ffn_gate_tid2eid" },
        { "ffn.shared_experts.w1.weight", "ffn_gate_shexp" },
        { "ffn.shared_experts.w2.weight", "ffn_down_shexp" },
        { "ffn.shared_experts.w3.weight", "ffn_up_shexp" },
    };
    if (strcmp(rest, "ffn.gate.bias") == 0) {
        snprintf(out, n, "exp_probs_b.bias");
        return;
    }
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcmp(rest, same[i]) == 0) {
            snprintf(out, n, "%s", rest);
            return;
        }
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (strcmp(rest, map[i][0]) == 0) {
            snprintf(out, n, "%s.weight", map[i][1]);
            return;
        }
    assert_true(strncmp(rest, "hc_", 3) == 0); /* hc_attn_fn .. hc_head_scale */
    snprintf(out, n, "%s.weight", rest);
}

static inline void gguf_name(char *out, size_t n, const char *name, const loci_dsv4_hparams *h,
                             gguf_drafts drafts)
{
    static const char *const nextn[][2] = {
        { "e_proj.weight", "nextn.e_proj.weight" },
        { "h_proj.weight", "nextn.h_proj.weight" },
        { "enorm.weight", "nextn.enorm.weight" },
        { "hnorm.weight", "nextn.hnorm.weight" },
        { "hc_head_fn", "nextn.hc_head_fn.weight" },
        { "hc_head_base", "nextn.hc_head_base.weight" },
        { "hc_head_scale", "nextn.hc_head_scale.weight" },
        { "norm.weight", "nextn.shared_head_norm.weight" },
    };
    char part[96];
    int l = 0, at = 0;
    if (strcmp(name, "embed.weight") == 0)
        snprintf(out, n, "token_embd.weight");
    else if (strcmp(name, "norm.weight") == 0)
        snprintf(out, n, "output_norm.weight");
    else if (strcmp(name, "head.weight") == 0)
        snprintf(out, n, "output.weight");
    else if (strncmp(name, "hc_head_", 8) == 0)
        snprintf(out, n, "output_hc_%s.weight", name + 8);
    else if (sscanf(name, "mtp.%d.%n", &l, &at) == 1) {
        const bool behind = drafts != GGUF_MTP;
        gguf_layer_name(part, sizeof part, name + at);
        for (size_t i = 0; behind && i < sizeof nextn / sizeof *nextn; i++)
            if (strcmp(name + at, nextn[i][0]) == 0) snprintf(part, sizeof part, "%s", nextn[i][1]);
        snprintf(out, n, "%s.%d.%s", behind ? "blk" : "mtp", behind ? h->n_layers + l : l, part);
    } else {
        assert_int_equal(sscanf(name, "layers.%d.%n", &l, &at), 1);
        gguf_layer_name(part, sizeof part, name + at);
        snprintf(out, n, "blk.%d.%s", l, part);
    }
}

/* ---- metadata ---- */

static inline void put_gguf_pairs(gguf_file *g, const loci_dsv4_hparams *h, int n_hash,
                                  gguf_drafts drafts)
{
#define U(key, v) gguf_pair_u32(g, "deepseek4." key, (uint32_t)(v))
#define R(key, v) gguf_pair_f32(g, "deepseek4." key, (v))
    gguf_pair_text(g, "general.architecture", "deepseek4");
    U("block_count", h->n_layers + (drafts == GGUF_JOINED ? h->n_mtp : 0));
    U("context_length", h->max_positions);
    U("embedding_length", h->hidden);
    U("vocab_size", h->vocab);
    U("attention.head_count", h->n_heads);
    U("attention.head_count_kv", 1);
    U("attention.key_length", h->head_dim);
    U("attention.value_length", h->head_dim);
    U("attention.q_lora_rank", h->q_rank);
    U("attention.output_lora_rank", h->o_rank);
    U("attention.output_group_count", h->o_groups);
    U("attention.sliding_window", h->window);
    U("attention.indexer.head_count", h->index_heads);
    U("attention.indexer.key_length", h->index_dim);
    U("attention.indexer.top_k", h->index_topk);
    U("rope.dimension_count", h->rope_dim);
    U("expert_count", h->n_experts);
    U("expert_used_count", h->n_active);
    U("expert_shared_count", 1);
    U("expert_feed_forward_length", h->expert_width);
    U("expert_group_count", 0);
    U("hash_layer_count", n_hash);
    U("hyper_connection.count", h->streams);
    U("hyper_connection.sinkhorn_iterations", h->sinkhorn_iters);
    R("attention.compress_rope_freq_base", h->compress_theta);
    R("attention.layer_norm_rms_epsilon", h->norm_eps);
    R("rope.freq_base", h->rope_theta);
    R("expert_weights_scale", h->route_scale);
    R("hyper_connection.epsilon", h->hc_eps);
    gguf_pair(g, "deepseek4.expert_weights_norm", 7);
    gguf_put(g, "\1", 1);
    if (h->yarn) {
        gguf_pair_text(g, "deepseek4.rope.scaling.type", "yarn");
        R("rope.scaling.factor", h->yarn_factor);
        R("rope.scaling.yarn_beta_fast", h->yarn_beta_fast);
        R("rope.scaling.yarn_beta_slow", h->yarn_beta_slow);
        U("rope.scaling.original_context_length", h->yarn_original);
    }
    gguf_array(g, "deepseek4.attention.compress_ratios", 5, (uint64_t)h->n_layers + 1);
    for (int l = 0; l <= h->n_layers; l++) {
        const int32_t r = l < h->n_layers ? h->layer[l].ratio : 0;
        gguf_put(g, &r, 4);
    }
    gguf_array(g, "deepseek4.swiglu_clamp_exp", 6, (uint64_t)h->n_layers);
    for (int l = 0; l < h->n_layers; l++) gguf_put(g, &h->swiglu_limit, 4);
    gguf_pair_u32(g, "tokenizer.ggml.bos_token_id", (uint32_t)h->bos);
    gguf_pair_u32(g, "tokenizer.ggml.eos_token_id", (uint32_t)h->eos);
#undef U
#undef R
}

/* ---- tensors of a plain checkpoint ---- */

static inline void put_gguf_experts(gguf_file *g, checkpoint *c, const loci_dsv4_hparams *h, int l,
                                    gguf_drafts drafts)
{
    const bool draft = l >= h->n_layers;
    const int i = draft ? l - h->n_layers : l;
    const char *from = draft ? "mtp" : "layers";
    static const char *const of[][2] = { { "w1", "gate" }, { "w2", "down" }, { "w3", "up" } };
    for (int k = 0; k < 3; k++) {
        char name[96], full[96];
        snprintf(name, sizeof name, "%s.%d.ffn.experts.0.%s.weight", from, i, of[k][0]);
        made *first = made_find(c, name);
        const uint64_t dim[3] = { (uint64_t)first->cols, (uint64_t)first->rows,
                                  (uint64_t)h->n_experts };
        unsigned char *all = malloc(first->bytes * (size_t)h->n_experts);
        for (int e = 0; e < h->n_experts; e++) {
            snprintf(name, sizeof name, "%s.%d.ffn.experts.%d.%s.weight", from, i, e, of[k][0]);
            const made *m = made_find(c, name);
            memcpy(all + (size_t)e * first->bytes, m->data, m->bytes);
        }
        snprintf(full, sizeof full, "%s.%d.ffn_%s_exps.weight",
                 draft && drafts == GGUF_MTP ? "mtp" : "blk", drafts == GGUF_MTP ? i : l, of[k][1]);
        gguf_tensor(g, full, 0, 3, dim, all, first->bytes * (size_t)h->n_experts);
    }
}

/* e_proj and the h_proj behind it, side by side. */
static inline void put_gguf_joined(gguf_file *g, checkpoint *c, const loci_dsv4_hparams *h,
                                   const made *e)
{
    char name[64];
    int i = 0;
    assert_int_equal(sscanf(e->name, "mtp.%d.", &i), 1);
    snprintf(name, sizeof name, "mtp.%d.h_proj.weight", i);
    const made *p = made_find(c, name);
    const size_t row = e->bytes / (size_t)e->rows;
    unsigned char *both = malloc(2 * e->bytes);
    for (int r = 0; r < e->rows; r++) {
        memcpy(both + (size_t)r * 2 * row, (char *)e->data + (size_t)r * row, row);
        memcpy(both + ((size_t)r * 2 + 1) * row, (char *)p->data + (size_t)r * row, row);
    }
    snprintf(name, sizeof name, "blk.%d.nextn.eh_proj.weight", h->n_layers + i);
    gguf_tensor(g, name, 0, 2, (const uint64_t[]){ 2 * (uint64_t)e->cols, (uint64_t)e->rows }, both,
                2 * e->bytes);
}

static inline void put_gguf_tensor(gguf_file *g, checkpoint *c, const loci_dsv4_hparams *h,
                                   const made *m, gguf_drafts drafts)
{
    char name[128];
    const void *data = m->data;
    size_t bytes = m->bytes;
    if (strstr(m->name, ".experts.") && !strstr(m->name, "shared")) return;
    if (drafts == GGUF_JOINED && strstr(m->name, ".h_proj.")) return;
    if (drafts == GGUF_JOINED && strstr(m->name, ".e_proj.")) {
        put_gguf_joined(g, c, h, m);
        return;
    }
    gguf_name(name, sizeof name, m->name, h, drafts);
    if (m->role == DSV4_IDS) { /* int32 in these files */
        int32_t *ids = malloc(bytes);
        for (size_t k = 0; k < bytes / 8; k++) ids[k] = (int32_t)((int64_t *)m->data)[k];
        data = ids;
        bytes /= 2;
    }
    gguf_tensor(g, name, m->role == DSV4_IDS ? 26 : 0, m->n_dims,
                m->n_dims == 1 ? (const uint64_t[]){ (uint64_t)m->cols }
                               : (const uint64_t[]){ (uint64_t)m->cols, (uint64_t)m->rows },
                data, bytes);
}

/* The checkpoint must be plain. Owned file of *size bytes. */
static inline unsigned char *make_gguf(checkpoint *c, const loci_dsv4_hparams *h, int n_hash,
                                       gguf_drafts drafts, size_t *size)
{
    gguf_file *g = malloc(sizeof *g);
    *g = gguf_begin(3);
    put_gguf_pairs(g, h, n_hash, drafts);
    for (int i = 0; i < c->n; i++) put_gguf_tensor(g, c, h, &c->t[i], drafts);
    for (int l = 0; l < h->n_layers + h->n_mtp; l++) put_gguf_experts(g, c, h, l, drafts);
    const gguf_file kept = *g; /* finish empties it; what was converted above is freed then */
    unsigned char *file = gguf_finish(g, size);
    for (uint64_t i = 0; i < kept.n_tensors; i++) {
        bool own = true;
        for (int k = 0; k < c->n; k++) own = own && c->t[k].data != kept.data[i];
        if (own) free((void *)(uintptr_t)kept.data[i]);
    }
    free(g);
    return file;
}

#endif
