/* bind_gguf.c - released tensor names to stored matrices of a GGUF file.
 *
 * A file names each layer's tensors blk.N.*, and those of a drafting block mtp.N.*; the experts of
 * a layer lie one behind the other in one tensor of three dimensions.  Dimensions are stored with
 * the contiguous one first: (cols, rows, experts).  Two dims above the first that do not count
 * experts make one number of rows. */
#include "model/dsv4/files.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 192 };

typedef struct {
    dsv4_source_base base;
    const loci_gguf *f;
} gguf_source;

/* ---- names ------------------------------------------------------------------------------- */

typedef struct {
    const char *released, *gguf;
} pair;

static const pair top[] = {
    { "embed.weight", "token_embd.weight" },     { "norm.weight", "output_norm.weight" },
    { "head.weight", "output.weight" },          { "hc_head_fn", "output_hc_fn.weight" },
    { "hc_head_base", "output_hc_base.weight" }, { "hc_head_scale", "output_hc_scale.weight" },
};

/* Of a layer, behind "layers.N." and "blk.N.". */
static const pair layer[] = {
    { "attn_norm.weight", "attn_norm.weight" },
    { "ffn_norm.weight", "ffn_norm.weight" },
    { "hc_attn_fn", "hc_attn_fn.weight" },
    { "hc_attn_base", "hc_attn_base.weight" },
    { "hc_attn_scale", "hc_attn_scale.weight" },
    { "hc_ffn_fn", "hc_ffn_fn.weight" },
    { "hc_ffn_base", "hc_ffn_base.weight" },
    { "hc_ffn_scale", "hc_ffn_scale.weight" },
    { "attn.wq_a.weight", "attn_q_a.weight" },
    { "attn.q_norm.weight", "attn_q_a_norm.weight" },
    { "attn.wq_b.weight", "attn_q_b.weight" },
    { "attn.wkv.weight", "attn_kv.weight" },
    { "attn.kv_norm.weight", "attn_kv_a_norm.weight" },
    { "attn.attn_sink", "attn_sinks.weight" },
    { "attn.wo_a.weight", "attn_output_a.weight" },
    { "attn.wo_b.weight", "attn_output_b.weight" },
    { "attn.compressor.wkv.weight", "attn_compressor_kv.weight" },
    { "attn.compressor.wgate.weight", "attn_compressor_gate.weight" },
    { "attn.compressor.ape", "attn_compressor_ape.weight" },
    { "attn.compressor.norm.weight", "attn_compressor_norm.weight" },
    { "attn.indexer.wq_b.weight", "indexer.attn_q_b.weight" },
    { "attn.indexer.weights_proj.weight", "indexer.proj.weight" },
    { "attn.indexer.compressor.wkv.weight", "indexer_compressor_kv.weight" },
    { "attn.indexer.compressor.wgate.weight", "indexer_compressor_gate.weight" },
    { "attn.indexer.compressor.ape", "indexer_compressor_ape.weight" },
    { "attn.indexer.compressor.norm.weight", "indexer_compressor_norm.weight" },
    { "ffn.gate.weight", "ffn_gate_inp.weight" },
    { "ffn.gate.bias", "exp_probs_b.bias" },
    { "ffn.gate.tid2eid", "ffn_gate_tid2eid.weight" },
    { "ffn.shared_experts.w1.weight", "ffn_gate_shexp.weight" },
    { "ffn.shared_experts.w3.weight", "ffn_up_shexp.weight" },
    { "ffn.shared_experts.w2.weight", "ffn_down_shexp.weight" },
    /* of a drafting block alone */
    { "e_proj.weight", "e_proj.weight" },
    { "h_proj.weight", "h_proj.weight" },
    { "enorm.weight", "enorm.weight" },
    { "hnorm.weight", "hnorm.weight" },
    { "norm.weight", "norm.weight" },
    { "hc_head_fn", "hc_head_fn.weight" },
    { "hc_head_base", "hc_head_base.weight" },
    { "hc_head_scale", "hc_head_scale.weight" },
};

static const char *look_up(const pair *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].released, name) == 0) return list[i].gguf;
    return NULL;
}

/* "ffn.experts.E.wK.weight": E, and the tensor that holds all of them. */
static const char *expert_name(const char *name, int *expert)
{
    static const char *const of[] = { "ffn_gate_exps.weight", "ffn_down_exps.weight",
                                      "ffn_up_exps.weight" };
    int which = 0, end = 0;
    if (sscanf(name, "ffn.experts.%d.w%d.weight%n", expert, &which, &end) != 2 || name[end] ||
        which < 1 || which > 3)
        return NULL;
    return of[which - 1];
}

/* The tensor that holds what is released as `name`, NULL if there is none; *expert is its place
 * among the experts, -1 for a tensor of its own. */
static const loci_gguf_tensor *find_tensor(const loci_gguf *f, const char *name, int *expert)
{
    char full[NAME_BYTES];
    int n = 0, at = 0;
    *expert = -1;
    const char *found = look_up(top, sizeof top / sizeof *top, name);
    if (found) return loci_gguf_find(f, found);
    const bool draft = strncmp(name, "mtp.", 4) == 0;
    if (sscanf(name, draft ? "mtp.%d.%n" : "layers.%d.%n", &n, &at) != 1 || at == 0) return NULL;
    found = look_up(layer, sizeof layer / sizeof *layer, name + at);
    if (!found) found = expert_name(name + at, expert);
    if (!found) return NULL;
    snprintf(full, sizeof full, "%s.%d.%s", draft ? "mtp" : "blk", n, found);
    return loci_gguf_find(f, full);
}

/* ---- matrices ---------------------------------------------------------------------------- */

static bool stored_type(loci_ggml_type t, loci_stored_type *out)
{
    switch (t) {
    case LOCI_GGML_F32: *out = LOCI_STORED_F32; return true;
    case LOCI_GGML_F16: *out = LOCI_STORED_F16; return true;
    case LOCI_GGML_BF16: *out = LOCI_STORED_BF16; return true;
    case LOCI_GGML_Q8_0: *out = LOCI_STORED_Q8_0; return true;
    case LOCI_GGML_Q4_K: *out = LOCI_STORED_Q4_K; return true;
    case LOCI_GGML_Q2_K: *out = LOCI_STORED_Q2_K; return true;
    case LOCI_GGML_MXFP4: *out = LOCI_STORED_MXFP4; return true;
    default: return false;
    }
}

static loci_status to_matrix(const loci_gguf *f, const loci_gguf_tensor *t, int expert,
                             loci_dsv4_mat *out, loci_error *err)
{
    const int64_t experts = expert < 0 ? 1 : t->dim[2];
    if (!stored_type(t->type, &out->type))
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: %s: type: expected F32, F16, BF16, Q8_0, Q4_K, Q2_K or MXFP4, found "
                         "%s",
                         loci_gguf_label(f), t->name, loci_ggml_name(t->type));
    bool fits = t->dim[3] == 1;
    for (int d = 0; d < 3; d++) fits = fits && t->dim[d] <= INT_MAX;
    const int64_t rows = !fits ? 0 : expert < 0 ? t->dim[1] * t->dim[2] : t->dim[1];
    if (!fits || rows > INT_MAX)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: %s: expected a matrix, found dimensions %lld x %lld x %lld x %lld",
                         loci_gguf_label(f), t->name, (long long)t->dim[0], (long long)t->dim[1],
                         (long long)t->dim[2], (long long)t->dim[3]);
    if (expert >= experts)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected at least %d experts, found %lld",
                         loci_gguf_label(f), t->name, expert + 1, (long long)experts);
    out->rows = (int)rows;
    out->cols = (int)t->dim[0];
    out->row_bytes = loci_stored_row_bytes(out->type, out->cols);
    out->data = t->data;
    if (expert > 0)
        out->data = (const uint8_t *)t->data +
                    (size_t)expert * (size_t)out->rows * out->row_bytes; /* within t->bytes */
    return LOCI_OK;
}

static loci_status find(void *ctx, const char *name, loci_dsv4_mat *out, loci_error *err)
{
    const gguf_source *s = ctx;
    int expert;
    const loci_gguf_tensor *t = find_tensor(s->f, name, &expert);
    *out = (loci_dsv4_mat){ 0 };
    if (!t) return LOCI_OK;
    const loci_status st = to_matrix(s->f, t, expert, out, err);
    if (st != LOCI_OK) *out = (loci_dsv4_mat){ 0 };
    return st;
}

static loci_status find_ids(void *ctx, const char *name, int64_t rows, int64_t cols,
                            const int32_t **out, loci_error *err)
{
    const gguf_source *s = ctx;
    int expert;
    const loci_gguf_tensor *t = find_tensor(s->f, name, &expert);
    *out = NULL;
    if (!t) return LOCI_OK;
    if (t->type != LOCI_GGML_I32)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: type: expected I32, found %s",
                         loci_gguf_label(s->f), t->name, loci_ggml_name(t->type));
    if (t->dim[0] != cols || t->dim[1] != rows || t->dim[2] != 1 || t->dim[3] != 1)
        return loci_fail(err, LOCI_EFORMAT, "%s: %s: expected (%lld, %lld), found (%lld, %lld)",
                         loci_gguf_label(s->f), t->name, (long long)rows, (long long)cols,
                         (long long)t->dim[1], (long long)t->dim[0]);
    *out = t->data;
    return LOCI_OK;
}

/* ---- the source --------------------------------------------------------------------------- */

static const char *place(void *ctx, const void *data, int64_t *offset)
{
    return loci_gguf_place(((const gguf_source *)ctx)->f, data, offset);
}

loci_status loci_dsv4_source_gguf(loci_dsv4_source *s, const loci_gguf *f, loci_error *err)
{
    *s = (loci_dsv4_source){ 0 };
    gguf_source *own = calloc(1, sizeof *own);
    if (!own) return loci_fail(err, LOCI_ENOMEM, "%s: no memory", loci_gguf_label(f));
    own->base = (dsv4_source_base){ free, place };
    own->f = f;
    *s = (loci_dsv4_source){ own, loci_gguf_label(f), find, find_ids };
    return LOCI_OK;
}

void loci_dsv4_source_free(loci_dsv4_source *s)
{
    const dsv4_source_base *base = s->ctx;
    if (base) base->drop(s->ctx);
    *s = (loci_dsv4_source){ 0 };
}
