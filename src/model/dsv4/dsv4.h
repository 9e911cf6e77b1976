/* dsv4.h - the DeepSeek-V4 family: its shape, its weights, and what the files of this folder share.
 *
 *   shape.c     the fields, their ranges, the released shapes; config.c reads config.json of
 *               every release in both dialects
 *   bind.c      released tensor names and shapes -> loci_dsv4_weights, from any source of tensors
 *   linear.c    y = x W^T for a stored matrix of any type; which quantisers a mode applies
 *   mixer.c     the hyper-connection streams (Sinkhorn), rope.c angles, attend.c, compress.c,
 *   index.c     the lightning indexer, moe.c experts; forward.c puts them in order
 *   state.c     what a sequence carries between tokens; store.c the same on disk
 *
 * Letters: T tokens of a call, D hidden width, H query heads, d head width, R rotated tail of a
 * head, n residual streams, r tokens of a compressed entry, L layers, V vocabulary. */
#ifndef LOCI_MODEL_DSV4_H
#define LOCI_MODEL_DSV4_H

#include "base/base.h"
#include "format/format.h"
#include "kernel/kernel.h"

/* ---- shape (config.c) ------------------------------------------------------------------- */

enum {
    LOCI_DSV4_MAX_LAYERS = 128, /* decoder layers and drafting blocks together */
    LOCI_DSV4_MAX_TAPS = 8,     /* layers that DSpark listens to */
    LOCI_DSV4_MAX_STREAMS = 8
};

typedef enum {
    LOCI_DSV4_V4,     /* V4 Flash, Pro, their Base: at most a plain MTP block */
    LOCI_DSV4_DSPARK, /* V4-Flash-0731: the backbone of V4, DSpark stages in place of MTP */
    LOCI_DSV4_V41     /* V4.1-Flash: recognised, not run */
} loci_dsv4_family;

typedef enum {
    LOCI_DSV4_WINDOW, /* the last `window` positions only */
    LOCI_DSV4_CSA,    /* + entries of r tokens pooled with overlap, picked by the indexer */
    LOCI_DSV4_HCA     /* + entries of r tokens, all of them */
} loci_dsv4_kind;

typedef struct {
    loci_dsv4_kind kind;
    int ratio;    /* r: tokens of one compressed entry; 0 for a window layer */
    bool overlap; /* entries pool the previous block too: projections are 2 d wide */
    bool indexer; /* picks index_topk entries; otherwise all are attended */
    bool hash;    /* experts come from a table by token id */
    /* Layer whose entries, and whose picks, this one uses: itself in V4; an earlier one in the
     * layers of V4.1 that reuse. */
    int kv_source, index_source;
} loci_dsv4_layer_shape;

typedef enum {
    LOCI_DSV4_EXPERT_PLAIN, /* no quantisation named: f32, bf16, f16 */
    LOCI_DSV4_EXPERT_FP8,
    LOCI_DSV4_EXPERT_FP4
} loci_dsv4_expert_type;

typedef struct {
    loci_dsv4_family family;
    int vocab, hidden, n_layers;             /* V, D, L */
    int n_mtp;                               /* plain MTP blocks behind the last layer; 0 = none */
    int n_heads, head_dim, rope_dim, q_rank; /* H, d, R, width of the query latent */
    int o_groups, o_rank;                    /* output projection: H/groups heads -> o_rank each */
    int window;                              /* visible raw positions, the current one included */
    float rope_theta;                        /* base of window layers and of MTP */
    float compress_theta;                    /* base of every layer with compressed entries */
    bool yarn;                               /* of compress_theta only */
    float yarn_factor, yarn_beta_fast, yarn_beta_slow;
    int64_t yarn_original, max_positions;
    int index_heads, index_dim, index_topk;
    int n_experts, n_active, expert_width; /* E, chosen per token, F */
    float route_scale;
    float swiglu_limit;          /* 0 = no clamp */
    int streams, sinkhorn_iters; /* n; column normalisations */
    float hc_eps, norm_eps;
    int bos, eos; /* token ids, -1 = not given */
    loci_dsv4_expert_type expert_type;
    /* DSpark: stages, tokens of a draft block, width of the Markov head, id of the noise token,
     * layers listened to. */
    int draft_stages, draft_block, markov_rank, noise_id, n_taps, tap[LOCI_DSV4_MAX_TAPS];
    loci_dsv4_layer_shape layer[LOCI_DSV4_MAX_LAYERS]; /* 0 .. n_layers-1, then n_mtp blocks */
} loci_dsv4_hparams;

/* True when config.json text names this family (model_type deepseek_v4 or deepseek_v41). */
bool loci_dsv4_config_is(const char *json_text);
enum { LOCI_DSV4_CONFIG_MAX_BYTES = 1 << 20 };
/* Read config.json in released or in transformers' field names; json_text ends in NUL, label names
 * it in messages.  Errors: LOCI_EFORMAT naming label, field, expected, found; *hp zeroed. */
loci_status loci_dsv4_config_parse(loci_dsv4_hparams *hp, const char *json_text, const char *label,
                                   loci_error *err);
/* Settings with their ranges; keys are the released names, those of rope_scaling behind a dot. */
extern const loci_setting loci_dsv4_table[];
extern const int loci_dsv4_table_n;
/* Layers from compress_ratios: 0 window, 4 CSA, any other HCA; the first n_hash have hash tables.
 * ratios (n_layers); n_layers, n_mtp and the ranges of the table are checked here first. */
loci_status loci_dsv4_layers_from_ratios(loci_dsv4_hparams *hp, const int *ratios, int n_hash,
                                         const char *label, loci_error *err);
/* Ranges and relations of every field, for shapes that come from elsewhere (GGUF metadata): the
 * same checks and messages. */
loci_status loci_dsv4_hparams_check(const loci_dsv4_hparams *hp, const char *label,
                                    loci_error *err);
/* The released shapes with nothing loaded, for estimates and benchmarks: "flash", "pro".
 * Errors: LOCI_EINVAL unknown name. */
loci_status loci_dsv4_known_shape(loci_dsv4_hparams *hp, const char *name, loci_error *err);

/* ---- weights (bind.c) --------------------------------------------------------------------- */

/* How the elements of a matrix lie in memory.  Rows are `row_bytes` apart. */
typedef enum {
    LOCI_DSV4_F32,
    LOCI_DSV4_BF16,
    LOCI_DSV4_F16,
    LOCI_DSV4_F8,   /* e4m3; scale (ceil(rows/128), ceil(cols/128)) e8m0, row-major */
    LOCI_DSV4_F4,   /* e2m1, element 2j low nibble; scale (rows, cols/32) e8m0 */
    LOCI_DSV4_Q8_0, /* GGUF blocks from here on; no separate scale */
    LOCI_DSV4_Q4_K,
    LOCI_DSV4_Q2_K,
    LOCI_DSV4_MXFP4
} loci_dsv4_type;

/* A stored matrix (rows, cols): a row is one output, as in a checkpoint.  Borrowed: lives as long
 * as what it was bound from.  data NULL = absent. */
typedef struct {
    const void *data;
    const uint8_t *scale; /* F8, F4 */
    size_t row_bytes;
    int rows, cols;
    loci_dsv4_type type;
} loci_dsv4_mat;

typedef struct { /* an expert: w1 gate (F,D), w3 up (F,D), w2 down (D,F) */
    loci_dsv4_mat gate, up, down;
} loci_dsv4_expert;

typedef struct {        /* hyper-connection mixer of one sublayer, m = (2+n) n rows */
    loci_dsv4_mat fn;   /* (m, nD); the final head's: (n, nD) */
    const float *base;  /* (m) */
    const float *scale; /* (3); the final head's: (1) */
} loci_dsv4_mixer;

typedef struct {             /* c = 2 with overlap, else 1; w = head or index width */
    loci_dsv4_mat kv, gate;  /* (c w, D) */
    const float *ape, *norm; /* (r, c w), (w) */
} loci_dsv4_compressor;

typedef struct {
    const float *attn_norm, *ffn_norm; /* (D) */
    loci_dsv4_mixer attn_mix, ffn_mix;
    loci_dsv4_mat q_a, q_b, kv, o_a,
        o_b; /* (q_rank,D) (H d,q_rank) (d,D) (g o_rank,H d/g) (D,g o_rank) */
    const float *q_norm, *kv_norm, *sink; /* (q_rank) (d) (H) */
    loci_dsv4_compressor main;            /* ratio != 0 */
    loci_dsv4_compressor index;           /* indexer's own, always with overlap */
    loci_dsv4_mat index_q, index_w;       /* (Hi di, q_rank), (Hi, D) */
    loci_dsv4_mat router;                 /* (E, D) */
    const float *router_bias;             /* (E), NULL in hash layers */
    const int32_t *hash;                  /* (V, n_active) expert ids, hash layers */
    loci_dsv4_expert shared;
    loci_dsv4_expert *expert; /* (E); data may be NULL when `experts` pages them */
} loci_dsv4_layer;

typedef struct {                       /* a plain MTP block beside its layer */
    loci_dsv4_mat e_proj, h_proj;      /* (D, D) */
    const float *enorm, *hnorm, *norm; /* (D) */
    loci_dsv4_mixer head_mix;
} loci_dsv4_mtp;

/* Experts that are fetched when a router has chosen them (larger than RAM).  fetch receives the
 * choice of a whole call before any expert of the layer runs, distinct ids in ascending order; the
 * views that get gives stay valid until the next fetch of any layer.  All from one thread. */
typedef struct {
    void *ctx;
    loci_status (*fetch)(void *ctx, int layer, const int32_t *ids, int n, loci_error *err);
    loci_status (*get)(void *ctx, int layer, int32_t id, loci_dsv4_expert *out, loci_error *err);
} loci_dsv4_pager;

typedef struct {
    loci_dsv4_mat embed, head; /* (V, D) */
    const float *norm;         /* (D) */
    loci_dsv4_mixer head_mix;
    loci_dsv4_layer layer[LOCI_DSV4_MAX_LAYERS]; /* MTP blocks behind the decoder's */
    loci_dsv4_mtp mtp[LOCI_DSV4_MAX_LAYERS];
    loci_dsv4_pager pager; /* get NULL: experts are the layers' own views */
    void *owned;           /* vectors converted to f32, tables: freed by loci_dsv4_weights_free */
} loci_dsv4_weights;

/* Where tensors come from.  find fills *out for a name as released, without "model." in front
 * ("layers.0.attn.wq_a.weight"; a vector is a (1, n) matrix), or leaves out->data NULL when there
 * is none; a malformed one is an error.  It knows the aliases of its own format.  find_ids gives
 * the table of a hash layer as (rows, cols) int32, owned by the source, values not checked.  label
 * names the file in messages. */
typedef struct {
    void *ctx;
    const char *label;
    loci_status (*find)(void *ctx, const char *name, loci_dsv4_mat *out, loci_error *err);
    loci_status (*find_ids)(void *ctx, const char *name, int64_t rows, int64_t cols,
                            const int32_t **out, loci_error *err);
} loci_dsv4_source;

/* Bind every tensor of the shape.  Experts are bound too unless `pager` is given.
 * Errors: LOCI_EFORMAT "label: tensor: expected (r, c), found (r, c)" or "missing"; *w zeroed. */
loci_status loci_dsv4_bind(loci_dsv4_weights *w, const loci_dsv4_hparams *hp,
                           const loci_dsv4_source *source, const loci_dsv4_pager *pager,
                           loci_error *err);
void loci_dsv4_weights_free(loci_dsv4_weights *w); /* NULL is fine; zeroes it */
/* Bytes of a row of `cols` elements; 0 when cols is not a whole number of the type's blocks. */
size_t loci_dsv4_row_bytes(loci_dsv4_type type, int cols);
const char *loci_dsv4_type_name(loci_dsv4_type type);

/* ---- products (linear.c, quant.c) ------------------------------------------------------------- */

/* What is quantised on the way.  Weights are used as stored in every mode. */
typedef enum {
    LOCI_DSV4_MODE_F32,  /* nothing: entries and keys are kept in f32 */
    LOCI_DSV4_MODE_FAST, /* entries fp8, index keys and queries fp4 (trained with them) */
    LOCI_DSV4_MODE_EXACT /* + activations fp8 before fp8/fp4 weights, bf16 between operations */
} loci_dsv4_mode;

/* quant.c: y[t, i] = <x[t,:], row first+i of w> for i < n, t < m, in f32; w of a type from F8 on.
 * A row of y depends on its own row of x alone, bit for bit, whatever m, first and n are: prompts
 * may be cut anywhere.  n <= 64.  x (m, cols) f32, not rounded here. */
void loci_dsv4_quant_rows(const loci_kernels *k, float *y, int ldy, const float *x, int ldx,
                          const loci_dsv4_mat *w, int first, int n, int m);
/* quant.c: one row of w, of a type from F8 on, as f32 (embedding rows, vectors). */
void loci_dsv4_quant_row(float *y, const loci_dsv4_mat *w, int row);

#endif
