/* dsv4.h - the DeepSeek-V4 family: its shape, its weights, and what the files of this folder share.
 *
 *   shape.c     the fields, their ranges, the released shapes; config.c reads config.json of
 *               every release in both dialects
 *   bind.c      released tensor names and shapes -> loci_dsv4_weights, from any source of tensors
 *   model.c     a model of weights and a mode; entry.c how entries and index keys are stored
 *   linear.c    y = x W^T for stored matrices; which quantisers a mode applies
 *   mixer.c     the hyper-connection streams (Sinkhorn); rope.c angles; compress.c entries;
 *   attend.c    attention; index.c the lightning indexer; moe.c experts; forward.c their order
 *   state.c     what a sequence carries between tokens
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

/* A stored matrix (rows, cols), read in place; a row is one output, as in a checkpoint.  Borrowed:
 * lives as long as what it was bound from.  data NULL = absent. */
typedef loci_stored loci_dsv4_mat;

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
 * choice of a whole batch, at_once of them at a time, before those experts run: distinct ids in
 * ascending order; the views that get gives stay valid until the next fetch of any layer.  All from
 * one thread. */
typedef struct {
    void *ctx;
    int at_once; /* experts that one fetch may ask for; 0 = any number */
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

/* ---- a model (model.c) ------------------------------------------------------------------- */

/* What is quantised on the way.  Weights are used as stored in every mode. */
typedef enum {
    LOCI_DSV4_MODE_F32,  /* nothing: entries and keys are kept in f32 */
    LOCI_DSV4_MODE_FAST, /* entries fp8, index keys and queries fp4 (trained with them) */
    LOCI_DSV4_MODE_EXACT /* + activations fp8 before fp8/fp4 weights, bf16 between operations */
} loci_dsv4_mode;

/* How entries lie in memory and on disk (entry.c).  Entries of all layers that belong to
 * block_tokens positions make one block: layer after layer, main entries at entry_at[l], index keys
 * in groups of 16 at key_at[l]. */
typedef struct {
    size_t entry_bytes; /* of one raw or compressed entry */
    size_t key_bytes;   /* of one index key */
    int block_tokens;
    size_t block_bytes;
    size_t entry_at[LOCI_DSV4_MAX_LAYERS], key_at[LOCI_DSV4_MAX_LAYERS];
} loci_dsv4_layout;

typedef struct {
    loci_dsv4_hparams hp;
    loci_dsv4_weights w;
    loci_kernels k;
    loci_dsv4_mode mode;
    loci_dsv4_layout lay;
    float e4m3[256]; /* values of the codes */
    float *freq[2];  /* owned, (R/2): angles of window layers, of layers with compressed entries */
} loci_dsv4;

/* Make a model from a shape and its bound weights (moved in).  block_tokens 0 = 1024 rounded up to
 * what the ratios need.  Errors: LOCI_EINVAL a mode that the shape does not allow, or a family that
 * is recognised and not run; w is freed then. */
loci_status loci_dsv4_init(loci_dsv4 *m, const loci_dsv4_hparams *hp, loci_dsv4_weights *w,
                           unsigned cpu_flags, loci_dsv4_mode mode, int block_tokens,
                           loci_error *err);
void loci_dsv4_free(loci_dsv4 *m);
/* "f32", "fast", "exact".  Errors: LOCI_EINVAL. */
loci_status loci_dsv4_mode_parse(const char *name, loci_dsv4_mode *mode, loci_error *err);
const char *loci_dsv4_mode_name(loci_dsv4_mode mode);
/* Entry sizes of a shape in a mode; block_tokens as above. */
loci_status loci_dsv4_layout_plan(loci_dsv4_layout *lay, const loci_dsv4_hparams *hp,
                                  loci_dsv4_mode mode, int block_tokens, loci_error *err);
/* Bytes that one more token of context costs, on average. */
double loci_dsv4_bytes_per_token(const loci_dsv4_layout *lay);

/* ---- a sequence (state.c, forward.c) ---------------------------------------------------------
 * Everything carried between tokens, at any position.  Logits depend on the ids alone, bit for bit:
 * not on how they were cut into calls, nor on the number of threads. */
typedef struct loci_dsv4_seq loci_dsv4_seq;

enum { LOCI_DSV4_BATCH = 64 }; /* positions computed together, and how far a sequence can go back */

/* m and pool (may be NULL) are kept.  Errors: LOCI_ENOMEM. */
loci_status loci_dsv4_seq_open(loci_dsv4_seq **out, const loci_dsv4 *m, loci_pool *pool,
                               loci_error *err);
void loci_dsv4_seq_close(loci_dsv4_seq *s); /* NULL is fine */
void loci_dsv4_seq_reset(loci_dsv4_seq *s);
int64_t loci_dsv4_seq_length(const loci_dsv4_seq *s);
const int32_t *loci_dsv4_seq_ids(const loci_dsv4_seq *s); /* (length), borrowed until extended */
size_t loci_dsv4_seq_bytes(const loci_dsv4_seq *s);       /* held now */
/* Append n ids (in range) and give the logits of the last n_logits positions (n_logits, V).
 * Errors: LOCI_ENOMEM, LOCI_EIO of the pager: the sequence must be reset then. */
loci_status loci_dsv4_extend(loci_dsv4_seq *s, const int32_t *ids, int64_t n, float *logits,
                             int64_t n_logits, loci_error *err);
/* Forget the last n positions, n <= LOCI_DSV4_BATCH and no more than the last call appended in its
 * last batch.  False, nothing done, when that is not possible. */
bool loci_dsv4_rewind(loci_dsv4_seq *s, int64_t n);

/* ---- measuring (bench.c) --------------------------------------------------------------------------- */
typedef enum {
    LOCI_DSV4_PART_MIX,      /* streams: mixers, sums, norms */
    LOCI_DSV4_PART_PROJECT,  /* queries and entries of the position */
    LOCI_DSV4_PART_COMPRESS, /* compressors, the indexer's too */
    LOCI_DSV4_PART_INDEX,    /* queries of the indexer, its scan, its choice */
    LOCI_DSV4_PART_ATTEND,
    LOCI_DSV4_PART_OUTPUT, /* grouped output projections */
    LOCI_DSV4_PART_EXPERTS,
    LOCI_DSV4_PART_HEAD, /* embedding, logits */
    LOCI_DSV4_PARTS
} loci_dsv4_part;
const char *loci_dsv4_part_name(loci_dsv4_part part);

typedef struct loci_dsv4_bench loci_dsv4_bench;
typedef struct {
    double seconds[LOCI_DSV4_PARTS]; /* of one token, all layers */
    double scan_seconds;             /* of one indexer's scan, its queries apart */
    double scan_bytes, scan_ops;     /* keys read; multiplications and additions of int8 */
    size_t block_bytes, fixed_bytes; /* held by the sequence for its tokens; besides */
} loci_dsv4_bench_result;
/* The first `layers` layers of a known shape with generated weights in the types of the release.
 * Routed experts share the memory of `experts` distinct ones.  Errors: LOCI_EINVAL, LOCI_ENOMEM. */
loci_status loci_dsv4_bench_open(loci_dsv4_bench **out, const char *shape, int layers, int experts,
                                 loci_dsv4_mode mode, unsigned cpu_flags, loci_pool *pool,
                                 loci_error *err);
void loci_dsv4_bench_close(loci_dsv4_bench *b); /* NULL is fine */
/* Bytes that it will take, before it is opened; with `tokens` of context. */
size_t loci_dsv4_bench_bytes(const loci_dsv4_hparams *hp, int layers, int experts, int64_t tokens);
/* Decode behind a context of so many generated entries, the best of `repeat` tokens by total. */
loci_status loci_dsv4_bench_run(loci_dsv4_bench *b, int64_t tokens, int repeat,
                                loci_dsv4_bench_result *out, loci_error *err);
/* Read memory larger than any cache on all threads: bytes a second. */
double loci_dsv4_bench_bandwidth(const loci_dsv4_bench *b, unsigned cpu_flags);

/* ---- a sequence on disk (store.c, record.c; docs/DEEPSEEK.md has the files) -----------------------
 * One folder holds one text: its entries in blocks, appended, and records of the rest at some
 * positions.  One process at a time. */
typedef struct loci_dsv4_store loci_dsv4_store;
/* m is kept; the folder is made if missing; vfs NULL = the system's.  Errors: LOCI_EIO;
 * LOCI_EFORMAT a folder of another model or mode, or a damaged one. */
loci_status loci_dsv4_store_open(loci_dsv4_store **out, const loci_dsv4 *m, const char *dir,
                                 const loci_vfs *vfs, loci_error *err);
/* After the sequences that resumed from it: they use its mapping.  NULL is fine. */
void loci_dsv4_store_close(loci_dsv4_store *d);
/* Bring s to the last recorded position within the first n of ids whose text agrees with them; to
 * the empty sequence when there is none.  Every block used is checked.  Errors: LOCI_EFORMAT, LOCI_EIO,
 * LOCI_ENOMEM; s is empty then. */
loci_status loci_dsv4_store_resume(loci_dsv4_store *d, loci_dsv4_seq *s, const int32_t *ids,
                                   int64_t n, loci_error *err);
/* Make the folder hold the text of s, with a record at its length.  Records of another text beyond
 * what the two share are dropped.  Errors: as above; the folder holds what it held, or less of
 * another text. */
loci_status loci_dsv4_store_save(loci_dsv4_store *d, const loci_dsv4_seq *s, loci_error *err);
int64_t loci_dsv4_store_last(const loci_dsv4_store *d); /* last recorded position, 0 = none */

/* ---- drafting (mtp.c): tokens to check at once, for decoding that changes no output ----------- */
bool loci_dsv4_can_draft(const loci_dsv4 *m);
/* Let the MTP block follow from here on; it knows nothing of what was read before. */
void loci_dsv4_seq_drafting(loci_dsv4_seq *s, bool on);
/* Guess the n tokens behind `next`, which itself follows the sequence and is not appended.
 * 1 <= n < LOCI_DSV4_BATCH; drafting is on and the sequence not empty; logits (V): scratch. */
loci_status loci_dsv4_draft(loci_dsv4_seq *s, int32_t next, int n, int32_t *draft, float *logits,
                            loci_error *err);

#endif
