/* model.h - the loci architecture: parameters, blocks with forward and backward, the
 * training pass over one sequence, the streaming pass of a session.
 *
 * The only folder where a tensor name, a shape and an operation meet.  Letters: T tokens,
 * D width, S chunk size (64), C chunks, W window, K chunks read, H heads, L layers.
 *
 *   ids -> embed -> LOWER (window attention + SwiGLU) -> h_lo          once per token, at ingest
 *           h_lo, 64 tokens at a time -> encoder -> content, landmarks, bias  = a chunk record
 *   query -> LOWER -> UPPER: groups of [ Read(bank); layers ] -> logits
 *
 * Everything here is single-threaded and allocation-free after set-up; parallelism is over
 * sequences (training), spans of a document (ingest) or queries, and belongs to the caller. */
#ifndef LOCI_MODEL_H
#define LOCI_MODEL_H

#include "base/base.h"
#include "format/format.h"
#include "kernel/kernel.h"

/* ---- shape (hparams.c) ---------------------------------------------------------- */
enum {
    LOCI_MAX_LAYERS = 32,
    LOCI_MAX_GROUPS = 8,
    LOCI_MAX_PICKS = 64,
    LOCI_ORDER = 8, /* features of a pick's place among the relevant ones (order.c) */
    LOCI_MAX_READ_HEADS = 64,
    LOCI_DECODE_STRIDE = 8, /* pointer.c: every 8th row of a bank is decoded a step */
    LOCI_MAX_SUMMARY = 256,
    LOCI_GIST_LEVELS = 6, /* gist.c: a node of the last covers 16^5 chunks */
    LOCI_GIST_HEADS = 4,  /* of 64 */
    LOCI_GIST_DOCS = 64,  /* documents whose gist one query may attend to */
    LOCI_PACK = 64        /* numbers of a packed content row: tier.c */
};

typedef struct {
    int vocab, d_model, n_heads, n_kv_heads, d_head; /* d_head 64 */
    int n_lower, n_upper, n_groups; /* n_upper multiple of n_groups; no groups: no bank either,
                                       a plain transformer of n_lower + n_upper layers */
    int window, ffn;
    int chunk;                            /* S = 64 */
    int enc_dim, enc_mlp;                 /* encoder width (multiple of 64: heads of 64) and MLP */
    int n_landmarks, d_landmark;          /* 2, 128 */
    int d_key, d_value, read_heads;       /* 64, 64, 8 */
    int router_hidden, read_mlp, top_k;   /* 256, 256 or 640, 16 */
    float rope_base, norm_eps, gate_open; /* 1e4, 1e-6, consulted iff g > gate_open (0.5) */
    int trained_codes;                    /* 1: search codes by learned maps, see loci_codes */
    int d_summary;                        /* width of a chunk's summary, 0: none; gist.c */
    int content_bits4;                    /* 1: content may be packed (tier.c); needs summaries */
    int postings;                         /* a place kept: 0 */
    /* Switches: what later versions can do otherwise.  From here to the end of the struct a field at
     * its default is left out of config.json and of the fingerprint, so that what was written before
     * the switch came stays what it is. */
    int tied;             /* 1: the head is the embedding; 0: a matrix of its own */
    int hard_gate;        /* 1: a gate is 1 where g > gate_open, else 0 and nothing is searched */
    int shared_kv;        /* 1: one vector a token is key and value; needs d_value = d_key */
    int order;            /* 1: heads weigh picks by their order in time; 0: as the router does */
    float refusal_margin; /* nats by which an answer's "not stated" has to lead: ask.c */
} loci_hparams;

/* Content rows: d_key numbers of a key, then d_value of a value, or with shared_kv one vector that is
 * both.  Gradients of content have (d_key + d_value) columns either way, one half a role. */
static inline int loci_content_cols(const loci_hparams *hp)
{
    return hp->shared_kv ? hp->d_key : hp->d_key + hp->d_value;
}
static inline int loci_value_column(const loci_hparams *hp)
{
    return hp->shared_kv ? 0 : hp->d_key;
}

extern const loci_setting loci_hparams_table[];
extern const int loci_hparams_table_n;
void loci_hparams_default(loci_hparams *hp); /* XS */
/* Ranges and relations (heads divide, products fit).  LOCI_EINVAL names field, expected, found. */
loci_status loci_hparams_check(const loci_hparams *hp, const char *label, loci_error *err);
/* config.json of a checkpoint: {"architecture": "loci-1", ...}. */
loci_status loci_hparams_load(loci_hparams *hp, const char *path, loci_error *err);
loci_status loci_hparams_save(const loci_hparams *hp, const char *path, loci_error *err);

/* ---- parameters (params.c): declared once ------------------------------------------ */
typedef struct {
    void *data;     /* (rows, cols) f32, bf16 or int8 row-major; f32 in training */
    float *scale;   /* (rows) for int8, else NULL                                */
    uint16_t *half; /* (rows, cols / 32) for 4 bits (four.c), else NULL          */
    int rows, cols;
    loci_dtype type; /* LOCI_F32, LOCI_BF16, LOCI_I8; LOCI_U8: 4 bits, data (rows, cols / 2) */
    const loci_w8 *packed;  /* the same for integer products (packed.c), or NULL */
    const loci_w4 *packed4; /* the same in 4 bits, or NULL                       */
    int packed_row;         /* of row 0 in either; a multiple of 16              */
} loci_mat;

/* Bytes of a row as stored, without its scales; of all scales. */
static inline size_t loci_mat_row_bytes(const loci_mat *w)
{
    return (size_t)w->cols * loci_dtype_size(w->type) / (w->type == LOCI_U8 ? 2 : 1);
}
static inline size_t loci_mat_scale_bytes(const loci_mat *w)
{
    return (size_t)w->rows * (w->scale  ? sizeof *w->scale
                              : w->half ? (size_t)(w->cols / LOCI_W4_GROUP) * sizeof *w->half
                                        : 0);
}

typedef struct {
    loci_mat q;       /* (H*64, D) */
    loci_mat kv;      /* (2*G*64, D): keys, then values */
    loci_mat o;       /* (D, H*64) */
    loci_mat gate_up; /* (2*F, D) */
    loci_mat down;    /* (D, F) */
} loci_layer_params;

typedef struct {
    loci_mat in, qkv, o, up, down; /* (e,D) (3e,e) (e,e) (m,e) (e,m) */
    loci_mat pos, cls;             /* (S,e) (M,e)  always f32 */
    loci_mat landmark;             /* (128, e) */
    loci_mat bias_w, bias_b;       /* (1, M*e) (1,1) f32 */
    loci_mat content;              /* (w, D + e), w = loci_content_cols */
    loci_mat summary;              /* (d_summary, M*e)      with d_summary     */
    loci_mat pack, unpack;         /* (64, w) (w, 64)       with content_bits4 */
    loci_mat context;              /* (w, d_summary)        with content_bits4 */
} loci_encoder_params;

typedef struct {
    loci_mat router1, router2;    /* (256, D) (128, 256) */
    loci_mat gate_w, gate_b;      /* (1, D) (1,1) f32, gate_b starts at 2 (g = 0.88) */
    loci_mat null_score, log_tau; /* (1,1) f32; log_tau starts at log 12 */
    loci_mat q, o;                /* (8*64, D) (D, 8*64) */
    loci_mat gate_up, down;       /* (2*R, D) (D, R) */
    loci_mat
        rank; /* (K, d_value) f32, zero at start: rank in time of the picked chunks; without order */
    loci_mat order;           /* (heads * 8, D), zero at start                 with order */
    loci_mat mark;            /* (8, d_value) f32, zero at start               with order */
    loci_mat gist_q, gist_kv; /* (4*64, D) (2*64, d_summary)          with d_summary */
    loci_mat gist_level;      /* (6, d_summary) f32, zero at start    with d_summary */
    loci_mat gist_o;          /* (D, 4*64), zero at start             with d_summary */
} loci_read_params;

typedef struct {
    loci_mat key, query; /* (128, 128) each, with trained_codes; the same at the start */
} loci_code_params;

typedef struct {
    loci_mat embed; /* (vocab, D), the head too if tied */
    loci_mat head;  /* (vocab, D) if not */
    loci_layer_params lower[LOCI_MAX_LAYERS], upper[LOCI_MAX_LAYERS];
    loci_encoder_params enc;
    loci_read_params read[LOCI_MAX_GROUPS];
    loci_code_params code; /* of all groups */
} loci_params;

typedef enum {
    LOCI_INIT_ZERO,
    LOCI_INIT_NORMAL,
    LOCI_INIT_CONST,
    LOCI_INIT_SAME /* as the tensor before it, whose shape it has */
} loci_init;
typedef struct {
    char name[48]; /* tensor name in the checkpoint, e.g. "lower.0.attn.q" */
    size_t offset; /* of its loci_mat inside loci_params, in bytes */
    int rows, cols;
    loci_init init; /* NORMAL: deviation `value`; CONST: value */
    float value;
    bool decay;    /* weight decay applies */
    bool quantise; /* may be stored as bf16, int8 or 4 bits (else always f32) */
    bool fine;     /* int8 where others are 4 bits */
    bool ingest;   /* embedding, lower stack, encoder: part of the bank fingerprint */
} loci_param_info;

/* Fill list (cap entries) in checkpoint order; returns the count (also when list is NULL). */
int loci_param_list(const loci_hparams *hp, loci_param_info *list, int cap);
/* Does an int4 checkpoint hold this tensor in 4 bits? */
bool loci_param_in_four(const loci_param_info *info);
/* x (groups, 32), finite, becomes what 4 bits and a half as scale hold of it (four.c). */
void loci_four_nearest(float *x, size_t groups);
static inline const loci_mat *loci_param_at(const loci_params *p, const loci_param_info *info)
{
    return (const loci_mat *)(const void *)((const char *)p + info->offset);
}
size_t loci_param_floats(const loci_hparams *hp); /* all, f32, each tensor padded to 16 floats */
/* Point every matrix of *p into `base` (loci_param_floats f32, 64-byte aligned): parameters or
 * gradients or optimiser state: same layout. */
void loci_params_bind(loci_params *p, const loci_hparams *hp, float *base);
void loci_params_init(float *base, const loci_hparams *hp, uint64_t seed);

/* ---- a loaded model (weights.c) --------------------------------------------------- */
typedef struct {
    loci_hparams hp;
    loci_params p;
    loci_kernels k;
    uint8_t fingerprint[16]; /* XXH3-128 over architecture, tokenizer.json, stored ingest tensors */
    loci_st *file;           /* mapped checkpoint, or NULL */
    void *packed;            /* memory of all packed matrices, or NULL */
    loci_pool *pool;         /* shares out large products; borrowed.  NULL: there is none, and so it
                                must be where a model runs inside a tile of the pool */
    float *code_map;         /* (d_landmark, d_landmark): see loci_codes */
} loci_model;

/* Open DIR/config.json, DIR/model.safetensors (+ the bytes of DIR/tokenizer.json for the
 * fingerprint).  Tensors stay mapped.  *out is owned: loci_model_close; NULL on failure.
 * The fingerprint covers what a bank depends on: the fields that shape ingest, the tokenizer, the
 * ingest tensors as stored.  The upper stack may change without it.
 * Errors: LOCI_ENOTFOUND a file is missing; LOCI_EVERSION another architecture; LOCI_EINVAL a
 *         setting out of range; LOCI_EFORMAT a tensor missing, unknown, of a wrong shape or type
 *         (named, with what was expected and found) or any other flaw of a file; LOCI_ENOMEM. */
loci_status loci_model_open(loci_model **out, const char *dir, unsigned cpu_flags, loci_error *err);
/* A model over the caller's f32 parameters (training, tests), borrowed until close: laid out as
 * loci_params_bind does.  Its fingerprint is all zero. */
loci_status loci_model_wrap(loci_model **out, const loci_hparams *hp, float *base,
                            unsigned cpu_flags, loci_error *err);
void loci_model_close(loci_model *m); /* NULL is fine */
/* All parameters of any stored type as f32, laid out as loci_params_bind does: base
 * (loci_param_floats; padding is zeroed).  Errors: LOCI_ENOMEM. */
loci_status loci_model_widen(const loci_model *m, float *base, loci_error *err);
/* Write config.json and model.safetensors into dir (made if missing); type LOCI_F32, LOCI_BF16 or
 * LOCI_I8 for the quantisable tensors, or LOCI_U8: 4 bits, and int8 for those that are `fine` or are not
 * whole groups of 32 columns.  src is a model whose matrices are f32.  `meta`: as
 * loci_st_write.  Each file is replaced as a whole, the tensors last.
 * Errors: LOCI_EINVAL a matrix is not f32 or holds a number that is not finite; LOCI_EIO,
 *         LOCI_ENOMEM. */
loci_status loci_model_save(const loci_model *src, const char *dir, loci_dtype type,
                            const char *const *meta, loci_error *err);

/* packed.c: which numbers the products of an opened model use.
 *   F32   x in f32, weights as stored: the reference
 *   INT8  x to int8, one scale a row of x; weights int8 as stored, or made so from f32 or bf16 as
 *         loci_quant_q8 does.  A row of a product has the same bits whatever the number of rows and
 *         threads, and in every variant of the kernels.
 *   INT4  the same with 4 bits a weight: as stored, or a scale for 32 of a row (loci_quant_q4); what is
 *         `fine`, and rows that are not whole groups of 32, as INT8
 *   AUTO  INT8 where the weights are stored as int8, INT4 where as 4 bits, else F32 */
typedef enum {
    LOCI_COMPUTE_AUTO,
    LOCI_COMPUTE_F32,
    LOCI_COMPUTE_INT8,
    LOCI_COMPUTE_INT4
} loci_compute;
/* Pack what INT8 or INT4 asks for, once; the stored form stays in the file.  Codes' maps, vectors and scalars
 * are always used in f32.  Errors: LOCI_ENOMEM (the model then computes in f32). */
loci_status loci_model_prepare(loci_model *m, loci_compute compute, loci_error *err);

/* y(rows, w.rows) = x(rows, w.cols) w^T for any stored type. */
void loci_linear(const loci_model *m, float *y, int ldy, const float *x, int ldx, const loci_mat *w,
                 int rows);
/* Backward of the same for f32 weights: dx (+)= dy w (beta 0/1; dx NULL: skip), dw += dy^T x. */
void loci_linear_bwd(const loci_kernels *k, float *dx, int lddx, float beta, loci_mat *dw,
                     const float *dy, int lddy, const float *x, int ldx, const loci_mat *w, int m);
/* x0[t,:] = rms(embed[ids[t],:]) for any stored type; inv (n) may be NULL. */
void loci_embed(const loci_model *m, float *x, float *inv, const int32_t *ids, int n);

/* ---- blocks: forward and backward of a block in one file ----------------------------
 * A tape holds what the backward pass needs; forward with tape == NULL (inference) uses
 * scratch only.  Scratch and tapes are carved from an arena by the *_plan functions, walked
 * twice (measure, carve). */
typedef struct loci_rope_table {
    float *cos, *sin; /* (n_pos, 32) */
    int n_pos;
} loci_rope_table;
void loci_rope_plan(loci_rope_table *r, loci_arena *a, int n_pos);
void loci_rope_fill(loci_rope_table *r, float base, int d_head);

/* window.c: x <- x + o(attn(rms x)); x <- x + down(swiglu(gate_up(rms x))) */
typedef struct loci_window_tape {
    float *xn1, *inv1, *q, *invq, *invk, *att, *lse; /* shapes: window.c */
    float *xn2, *inv2, *gu, *act;
} loci_window_tape;
void loci_window_plan(loci_window_tape *t, loci_arena *a, const loci_hparams *hp, int T);
/* One layer over n rows in place.  k, v (past + n, G*64) hold `past` earlier rows (already
 * normalised and rotated); the layer writes its n new rows behind them.  pos (n) positions in
 * the document; for training, past = 0 and one call per document (segment).  `row0`: first row
 * of the tape that this segment uses. t is never NULL (inference passes a reused tape). */
void loci_window_forward(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                         int row0, float *x, const int32_t *pos, const loci_rope_table *rope,
                         float *k, float *v, int past, int n);
/* dx (n, D) in: gradient of the output, out: gradient of the input.  Training only (past = 0);
 * k, v as left by forward; dk, dv (n, G*64) scratch. */
void loci_window_backward(const loci_model *m, const loci_layer_params *p, loci_layer_params *g,
                          const loci_window_tape *t, int row0, float *dx, const int32_t *pos,
                          const loci_rope_table *rope, const float *k, const float *v, float *dk,
                          float *dv, float *scratch, int n);
size_t loci_window_backward_scratch(const loci_hparams *hp, int T); /* floats */

/* encoder.c: 64 tokens -> content E, landmarks, bias, summary.  Pads are masked. */
typedef struct loci_encoder_tape loci_encoder_tape;
size_t loci_encoder_tape_bytes(const loci_hparams *hp, int n_chunks);
loci_encoder_tape *loci_encoder_plan(loci_arena *a, const loci_hparams *hp, int n_chunks);
/* h (n_tokens, D) rows of one document from a chunk boundary on; chunk c covers rows [64 c, ...),
 * the last may be short.  Writes content (n_chunks*64, w) (rows of pads zero), landmark
 * (n_chunks, M, 128) unit length, bias (n_chunks), summary (n_chunks, d_summary; not touched and
 * may be NULL without summaries).  n_chunks = ceil(n_tokens / 64). */
void loci_encoder_forward(const loci_model *m, loci_encoder_tape *t, int chunk0, const float *h,
                          int n_tokens, float *content, float *landmark, float *bias,
                          float *summary);
/* dh (n_tokens, D) += gradient from dcontent (n_chunks*64, dk + dv), dlandmark, dbias, dsummary; content,
 * landmark as forward left them. */
void loci_encoder_backward(const loci_model *m, loci_encoder_params *g, loci_encoder_tape *t,
                           int chunk0, float *dh, int n_tokens, const float *content,
                           const float *dcontent, const float *landmark, const float *dlandmark,
                           const float *dbias, const float *dsummary);

/* tier.c, with content_bits4: n content rows (1..64) of one chunk in 36 bytes a row, q
 * (n, 32) and scale (n, 2) halves, and back with the help of the chunk's summary z (d_summary). */
void loci_pack_content(const loci_model *m, uint8_t *q, uint16_t *scale, const float *content,
                       int n);
void loci_unpack_content(const loci_model *m, float *content, const uint8_t *q,
                         const uint16_t *scale, const float *z, int n);

/* ---- training pass over one sequence (pass.c, read.c, loss in read.c/head.c) ----------- */
typedef struct {
    int T;                 /* tokens of all documents of the sequence                      */
    const int32_t *ids;    /* (T)                                                          */
    const int32_t *target; /* (T) next id, -1: no loss here                                */
    const float *weight;   /* (T) weight of the cross-entropy (0 where target is -1)       */
    const uint8_t *answer; /* (T) 1 where the target is part of an answer (for reporting)  */
    const int32_t *gold;   /* (T) gold chunk of the sequence, -1 none, -2 absent fact      */
    const int32_t *source; /* (T) row of the bank's content (64 chunk + offset) whose token the
                                target repeats, -1 none; NULL: no pointer loss               */
    int n_docs;
    const int32_t *doc;    /* (n_docs + 1) first token of each; positions restart there    */
    const uint8_t *banked; /* (n_docs) 1: its chunks go into the sequence's bank           */
    uint64_t tier_seed;    /* content_bits4: which chunks are served packed, and ...       */
    float tier_share;      /* ... what share of them                                       */
} loci_sequence;
/* Is this chunk of the sequence's bank served packed? */
bool loci_tier_packed(const loci_sequence *s, int chunk);

/* Chunks of other sequences: they take mass in the softmax over chunks and give nothing. */
typedef struct {
    const float *landmark;    /* (n, M, 128) */
    const float *bias;        /* (n) */
    float *dlandmark, *dbias; /* gradients (+=), NULL: detached */
    int n;
} loci_negatives;

/* One batch's total, over its tokens t and groups g (means over groups where it says so):
 *   ce_scale sum_t weight_t (CE_t + z lse_t^2)
 *   + kl kl_scale sum_t mean_g KL(heads' mass || router)          KL rows, see below
 *   + oracle gold_scale sum_t mean_g -log router(gold chunk)      gold >= 0 and eligible
 *   + absence absent_scale sum_t mean_g -log w_null               gold == -2, routed only
 *   + pointer gold_scale sum_t mean_g -log attention on source    source >= 0 and eligible
 *   + decode decode_scale sum_j mean_g CE of value j alone        every 8th row of the bank
 *   + gate query_scale sum_t sum_g gate(t,g)                      tokens with an eligible chunk
 *   + regret regret_scale sum_t mean_g r_t (1 - gate(t,g))        those that have a target
 *   + ageing ageing_scale sum_j |packed row j - row j|^2 / width  content_bits4: tier.c
 *   + hash code_scale sum_t mean_g KL(router || codes)            sampled tokens: code_loss.c
 *   + hash code_bank_scale sum_banks spread of the codes          trained_codes only
 * KL rows are tokens t of a sequence with an eligible chunk and t % kl_every == kl_phase; none when
 * kl_every is 0.  The heads' mass costs a product with every eligible key, so long sequences take
 * few rows.
 * r_t = max(0, CE_t of a pass without the bank - CE_t), not differentiated, is what closed gates
 * would cost; it takes a second forward pass of the upper stack.
 * The scales are of the batch, so that sequences add up.  gate is a plain coefficient: what it is (a
 * multiplier, a penalty) is the trainer's affair. */
typedef struct {
    bool routed; /* false: dense warm-up                           */
    float kl, oracle, absence, gate, z;
    float pointer, decode; /* pointer.c                                   */
    float decode_scale;    /* 1 / number of rows of the batch decoded     */
    int decode_phase;      /* rows j with j % LOCI_DECODE_STRIDE == phase */
    float hash;            /* code_loss.c, with trained_codes                */
    float code_slope;      /* a: 1 at the start of training, 8 at its end    */
    float code_scale;      /* 1 / number of sampled rows in the batch        */
    float code_bank_scale; /* 1 / sequences with a bank                      */
    int code_every;        /* every so many rows, and                        */
    int code_phase;        /* rows t with t % code_every == code_phase       */
    float ageing;          /* tier.c, with content_bits4                     */
    float ageing_scale;    /* 1 / tokens in packed chunks of the batch       */
    float ce_scale;        /* 1 / sum of weights in the batch                */
    float regret;          /* 0: no second pass                              */
    float regret_scale;    /* 1 / number of tokens of the batch with r_t     */
    float query_scale;     /* 1 / number of query tokens in the batch        */
    int kl_every;          /* 1: every query token; n: one in n; 0: none     */
    int kl_phase;          /* 0 .. kl_every - 1                              */
    float kl_scale;        /* 1 / number of KL rows in the batch             */
    float gold_scale;      /* 1 / number of tokens with gold >= 0            */
    float absent_scale;    /* 1 / number of tokens with gold == -2           */
    float grad_scale;      /* multiplies every gradient (1; tests use others) */
} loci_loss_options;

/* Sums over tokens, without weights and scales; the trainer divides.  kl, oracle, absence and
 * recall are means over groups summed over n_kl, n_gold, n_absent, n_gold tokens; gate and
 * consulted (gates above gate_open) are sums over n_consult_pairs = (token, group) pairs; regret =
 * sum of mean_g r_t (1 - gate) and gain = sum of r_t go over n_regret tokens.
 * hash: KL of the n_hash sampled tokens; spread: of n_spread banks; agreement: share of the bits
 * that a query's code has in common with its gold chunk's, summed over n_gold tokens.
 * recall: gold chunk among the top K of own and negative chunks.  An answer is a run of tokens
 * with answer = 1; exact of n_exact answers were right in every token. */
typedef struct {
    double ce_text, ce_answer, kl, oracle, absence, gate, consulted, recall, exact, pointer, decode,
        regret, gain;
    double hash, spread, agreement, ageing;
    int64_t n_text, n_answer, n_query, n_gold, n_absent, n_answer_right, n_consult_pairs, n_exact,
        n_decode, n_kl, n_hash, n_spread, n_aged, n_regret;
} loci_loss_sums;

typedef struct loci_pass loci_pass; /* tape of one sequence */
/* For sequences of up to T tokens in at most 2 (T / 64) + 8 chunks. */
size_t loci_pass_bytes(const loci_hparams *hp, int T);
loci_pass *loci_pass_init(const loci_hparams *hp, int T, void *memory); /* borrowed memory */
/* 1. lower stack + encoder. Afterwards the bank of the sequence is readable and its gradient zero.
 * A query t may read chunk c of its sequence's bank from token min(doc_start + end_c + W - 64,
 * doc_end) of that chunk's document on (end_c: exclusive, rounded up to whole chunks).
 * Errors: LOCI_EINVAL for lengths, ids, targets, gold chunks, documents out of range. */
loci_status loci_pass_lower(loci_pass *t, const loci_model *m, const loci_sequence *s,
                            loci_error *err);
int loci_pass_bank(const loci_pass *t, const float **landmark, const float **bias); /* chunks */
float *loci_pass_bank_grad(loci_pass *t,
                           float **dbias); /* (C, M, 128), for other sequences' gradients */
/* 2. upper stack, losses, backward down to h_lo and the bank; grads += , sums +=.  grads NULL: losses
 * only.  Negatives act on the softmax over chunks of the routed mode and on the oracle loss; their
 * gradients are added to without a lock. */
void loci_pass_upper(loci_pass *t, const loci_model *m, const loci_sequence *s,
                     const loci_negatives *neg, int n_neg, const loci_loss_options *opt,
                     loci_params *grads, loci_loss_sums *sums);
/* 3. backward through encoder and lower stack.  Call after all sequences' step 2, when the bank
 * gradients are complete. */
void loci_pass_lower_backward(loci_pass *t, const loci_model *m, const loci_sequence *s,
                              loci_params *grads);
/* Logits of every position without gradients: (T, vocab) into out (tests, `logits`, perplexity).
 * After step 1; overwrites what step 2 left. */
void loci_pass_logits(loci_pass *t, const loci_model *m, const loci_sequence *s, bool routed,
                      float *out);

/* ---- streaming (stream.c): prefill, decode, ingest --------------------------------------
 * What a reader needs from any memory: the K best chunks of a query and their content. */
typedef struct {
    int64_t id;   /* of the chunk, any number that the memory understands */
    int64_t time; /* order in time among all chunks: the rank embedding uses it */
    float score;  /* s(t,c), bias included */
} loci_pick;
/* A stream's own chunk i has id LOCI_OWN_ID + i and time LOCI_OWN_TIME + i: before all others among
 * equals, after all others in time. */
#define LOCI_OWN_ID   INT64_MIN
#define LOCI_OWN_TIME ((int64_t)1 << 62)
/* What a reader has made of a run of n nodes.  The memory that hands them over keeps it beside them:
 * the same room comes with the same nodes, and made 0 with others.  Borrowed until the memory is asked
 * the next time. */
enum { LOCI_GIST_KV = 128 }; /* keys and values of a node, 64 each */
typedef struct {
    float *kv;      /* group g's (n, LOCI_GIST_KV) begin at g stride */
    size_t stride;  /* floats */
    uint32_t *made; /* bit g: those of group g are there */
} loci_gist_room;
/* Takes n nodes of one level (n, d_summary), borrowed for the call: means of 16^level chunks' summaries
 * each.  room NULL: the memory keeps nothing for the reader. */
typedef void loci_gist_take(void *to, const float *node, int level, int n,
                            const loci_gist_room *room);
typedef struct {
    void *ctx;
    /* Best first, ties by lower id; returns how many (<= k), or a negative loci_status.  own_end:
     * chunks of the session's own stream are eligible when their exclusive end (in tokens)
     * <= own_end; it may be negative.  No two chunks have the same time. */
    int (*search)(void *ctx, const float *u, float tau, int k, int64_t own_end, loci_pick *picks);
    /* Content of one pick: rows (n_tokens, w) f32; borrowed until `keep` further calls (>= 64).
     * Returns n_tokens (1..64), or a negative loci_status. */
    int (*content)(void *ctx, const loci_pick *pick, const float **rows);
    /* Hands over the frontiers of the documents (gist.c) that are worth a query's attention, own_end
     * as in search; LOCI_OK or a negative loci_status.  NULL: there are none. */
    int (*gist)(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                void *to);
} loci_memory;

/* gist.c: the pyramid over the summaries of a document's n chunks, in loci_gist_rows(n) rows of ds:
 * first the summaries, then level after level. */
int loci_gist_rows(int n);
/* Chunk `chunk` of at most n is there: every node that it completes.  Call it in order of chunks. */
void loci_gist_close(const loci_kernels *k, float *node, int n, int ds, int chunk);
typedef struct {
    int row, n, level; /* rows [row, row + n) of the pyramid */
} loci_gist_run;
/* The frontier of the first `part` chunks, coarse nodes first; returns how many runs. */
int loci_gist_frontier(loci_gist_run run[LOCI_GIST_LEVELS], int n, int part);

/* What was read, for evidence: (n, groups) gates and (n, groups, K) picks with weights w, in
 * rising order of time.  n is the tokens of the call, K = top_k. */
typedef struct {
    float *gate;      /* (n, G) */
    float *weight;    /* (n, G, K) w_c, 0 where unused */
    loci_pick *pick;  /* (n, G, K) */
    int32_t *n_picks; /* (n, G) */
    bool closed_too;  /* set by the caller: search for rows whose hard gate is closed as well; they
                         report picks, but read nothing */
} loci_reads;

typedef struct loci_stream loci_stream; /* one token stream: window rings of all layers, position */
/* max_batch: most tokens a call may carry. */
size_t loci_stream_bytes(const loci_hparams *hp, int max_batch);
loci_stream *loci_stream_init(const loci_hparams *hp, int max_batch, void *memory);
void loci_stream_reset(loci_stream *s); /* a document starts: position 0 */
int64_t loci_stream_pos(const loci_stream *s);
/* Lower stack over n ids (1..max_batch): h_lo (n, D) borrowed until the next call. */
const float *loci_stream_lower(loci_stream *s, const loci_model *m, const int32_t *ids, int n);
/* Rows that loci_stream_upper is never called for leave a gap: the upper stack then starts anew
 * behind it, and is exact again L_up (W - 1) tokens later. */
/* Upper stack over the rows that loci_stream_lower just gave; logits (n_logits, vocab) of the last
 * n_logits positions (0..n).  memory NULL: no bank.  reads may be NULL.
 * Errors: what memory->content returned; the stream is then stale: reset it. */
loci_status loci_stream_upper(loci_stream *s, const loci_model *m, int n, const loci_memory *memory,
                              float *logits, int n_logits, loci_reads *reads, loci_error *err);

/* Ingest one span of a document: ids (n_left + n), of which the first n_left only give context
 * (n_left = min(tokens before, loci_ingest_left())); h_lo of the n others goes through the encoder.
 * pos0 is the position of ids[0] in the document.  The span starts at a chunk boundary and only a
 * document's last chunk may be short.  Outputs as loci_encoder_forward.  Exact: equals the lower
 * stack over the whole document, up to the order of sums in the kernels. */
typedef struct loci_ingest loci_ingest;       /* scratch of one worker */
int loci_ingest_left(const loci_hparams *hp); /* L_lo (W - 1), rounded up to a chunk */
size_t loci_ingest_bytes(const loci_hparams *hp, int max_span);
loci_ingest *loci_ingest_init(const loci_hparams *hp, int max_span,
                              void *memory); /* n <= max_span */
void loci_ingest_span(loci_ingest *s, const loci_model *m, const int32_t *ids, int64_t pos0,
                      int n_left, int n, float *content, float *landmark, float *bias,
                      float *summary);

/* The closed chunks of a stream, kept in memory (local_bank.c): what a session reads of its own
 * text, in f32; with content_bits4 the newest LOCI_WORKING_CHUNKS of them, older ones packed.
 * Memory for max_chunks is planned once. */
enum { LOCI_WORKING_CHUNKS = 1536 }; /* 98,304 tokens */
typedef struct loci_local_bank loci_local_bank;
size_t loci_local_bank_bytes(const loci_hparams *hp, int max_chunks);
loci_local_bank *loci_local_bank_init(const loci_hparams *hp, int max_chunks, void *memory);
void loci_local_bank_reset(loci_local_bank *b); /* the stream starts anew */
/* Append the next n rows of the stream's h_lo (n, D).  A chunk is encoded when its 64th row arrives.
 * Call it before loci_stream_upper over the same rows: chunks that close early wait until own_end
 * lets them in.
 * Errors: LOCI_ENOMEM the rows do not fit (nothing was done). */
loci_status loci_local_bank_append(loci_local_bank *b, const loci_model *m, const float *h_lo,
                                   int n, loci_error *err);
int loci_local_bank_chunks(const loci_local_bank *b); /* closed */
/* The memory of this bank joined with `other` (NULL: none; kept as long as the memory is used).
 * Own chunks have ids below 0 (other's must be >= 0) and times after all others. */
loci_memory loci_local_bank_memory(loci_local_bank *b, const loci_kernels *k,
                                   const loci_memory *other);

/* Codes of landmarks, 128 bits each: signs of a learned map (codes.key) with trained_codes, else of
 * a fixed one (128 x 128 from a constant seed): two unit vectors at an angle a then differ in
 * 128 a / pi bits on average.  landmark (n, 128) -> code (n, 2) u64, bit i of the row in word i / 64. */
void loci_codes(const loci_model *m, uint64_t *code, const float *landmark, int n);
/* Codes to search them with, of router queries u (n, 128): by codes.query, or the same fixed map. */
void loci_query_codes(const loci_model *m, uint64_t *code, const float *u, int n);

#endif
