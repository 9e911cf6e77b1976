/* bind_gguf.c - released tensor names to stored matrices of a GGUF file.
 *
 * A file names each layer's tensors blk.N.*.  A drafting block is mtp.N.*, or blk.N.* behind the
 * last layer with its own tensors called nextn.*; there the two projections may be one, [e | h] side
 * by side, which is read as two through the distance of rows.  The experts of a layer lie one behind
 * the other in one tensor of three dimensions.  Dimensions are stored with
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
    int nextn; /* first block with nextn tensors, -1 without */
} gguf_source;

/* Where a released tensor lies in one of the file: all of it (ALL), expert `part` of it, or its
 * left or right half of columns. */
enum { ALL = -1, LEFT = -2, RIGHT = -3 };

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
};

/* Of a drafting block alone, behind "mtp.N." and behind "blk.N.nextn.". */
static const pair draft[] = {
    { "e_proj.weight", "e_proj.weight" },      { "h_proj.weight", "h_proj.weight" },
    { "enorm.weight", "enorm.weight" },        { "hnorm.weight", "hnorm.weight" },
    { "norm.weight", "norm.weight" },          { "hc_head_fn", "hc_head_fn.weight" },
    { "hc_head_base", "hc_head_base.weight" }, { "hc_head_scale", "hc_head_scale.weight" },
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

/* "PREFIX.N.REST" */
static const loci_gguf_tensor *find_of(const loci_gguf *f, const char *prefix, int n,
                                       const char *rest)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s.%d.%s", prefix, n, rest);
    return loci_gguf_find(f, full);
}

/* A tensor that only drafting block i has. */
static const loci_gguf_tensor *find_draft(const gguf_source *s, int i, const char *released,
                                          const char *rest, int *part)
{
    char own[NAME_BYTES / 2];
    const loci_gguf_tensor *t = find_of(s->f, "mtp", i, rest);
    if (t || s->nextn < 0) return t;
    if (strcmp(released, "norm.weight") == 0) rest = "shared_head_norm.weight";
    snprintf(own, sizeof own, "nextn.%s", rest);
    t = find_of(s->f, "blk", s->nextn + i, own);
    if (t || (strcmp(released, "e_proj.weight") != 0 && strcmp(released, "h_proj.weight") != 0))
        return t;
    *part = released[0] == 'e' ? LEFT : RIGHT;
    return find_of(s->f, "blk", s->nextn + i, "nextn.eh_proj.weight");
}

/* The tensor that holds what is released as `name`, NULL if there is none, and its part. */
static const loci_gguf_tensor *find_tensor(const gguf_source *s, const char *name, int *part)
{
    int n = 0, at = 0;
    *part = ALL;
    const char *found = look_up(top, sizeof top / sizeof *top, name);
    if (found) return loci_gguf_find(s->f, found);
    const bool drafts = strncmp(name, "mtp.", 4) == 0;
    if (sscanf(name, drafts ? "mtp.%d.%n" : "layers.%d.%n", &n, &at) != 1 || at == 0) return NULL;
    found = drafts ? look_up(draft, sizeof draft / sizeof *draft, name + at) : NULL;
    if (found) return find_draft(s, n, name + at, found, part);
    found = look_up(layer, sizeof layer / sizeof *layer, name + at);
    if (!found) found = expert_name(name + at, part);
    if (!found) return NULL;
    const loci_gguf_tensor *t = find_of(s->f, drafts ? "mtp" : "blk", n, found);
    return t || !drafts || s->nextn < 0 ? t : find_of(s->f, "blk", s->nextn + n, found);
}

/* What a drafting block of the plain kind has, besides a layer's tensors; one without its own head
 * mixer, as the stages of DSpark are, cannot run alone. */
static bool drafts_alone(const loci_gguf *f, int block)
{
    return (find_of(f, "blk", block, "nextn.eh_proj.weight") ||
            find_of(f, "blk", block, "nextn.e_proj.weight")) &&
           find_of(f, "blk", block, "nextn.hc_head_fn.weight") &&
           find_of(f, "blk", block, "nextn.shared_head_norm.weight");
}

int dsv4_gguf_nextn(const loci_gguf *f, int *n, bool *alone)
{
    int first = -1;
    *n = 0;
    *alone = true;
    for (int b = 0; b < LOCI_DSV4_MAX_LAYERS && (first < 0 || b == first + *n); b++) {
        if (!find_of(f, "blk", b, "nextn.enorm.weight") &&
            !find_of(f, "blk", b, "nextn.eh_proj.weight"))
            continue;
        if (first < 0) first = b;
        (*n)++;
        *alone = *alone && drafts_alone(f, b);
    }
    return first;
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

/* Half of the columns of a matrix. */
static loci_status halve(const loci_gguf *f, const loci_gguf_tensor *t, bool right,
                         loci_dsv4_mat *m, loci_error *err)
{
    const size_t bytes = loci_stored_row_bytes(m->type, m->cols / 2);
    if (m->cols % 2 != 0 || (bytes == 0 && m->cols > 0))
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: %s: expected two matrices side by side, found %d columns of %s",
                         loci_gguf_label(f), t->name, m->cols, loci_ggml_name(t->type));
    m->cols /= 2;
    if (right) m->data = (const uint8_t *)m->data + bytes;
    return LOCI_OK;
}

static loci_status to_matrix(const loci_gguf *f, const loci_gguf_tensor *t, int part,
                             loci_dsv4_mat *out, loci_error *err)
{
    const int expert = part >= 0 ? part : -1;
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
    return part == LEFT || part == RIGHT ? halve(f, t, part == RIGHT, out, err) : LOCI_OK;
}

static loci_status find(void *ctx, const char *name, loci_dsv4_mat *out, loci_error *err)
{
    const gguf_source *s = ctx;
    int part;
    const loci_gguf_tensor *t = find_tensor(s, name, &part);
    *out = (loci_dsv4_mat){ 0 };
    if (!t) return LOCI_OK;
    const loci_status st = to_matrix(s->f, t, part, out, err);
    if (st != LOCI_OK) *out = (loci_dsv4_mat){ 0 };
    return st;
}

static loci_status find_ids(void *ctx, const char *name, int64_t rows, int64_t cols,
                            const int32_t **out, loci_error *err)
{
    const gguf_source *s = ctx;
    int part;
    const loci_gguf_tensor *t = find_tensor(s, name, &part);
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
    own->nextn = dsv4_gguf_nextn(f, &(int){ 0 }, &(bool){ false });
    *s = (loci_dsv4_source){ own, loci_gguf_label(f), find, find_ids };
    return LOCI_OK;
}

void loci_dsv4_source_free(loci_dsv4_source *s)
{
    const dsv4_source_base *base = s->ctx;
    if (base) base->drop(s->ctx);
    *s = (loci_dsv4_source){ 0 };
}
