/* gpu_pass_impl.h - what the files of the GPU pass share: the tape on the device. */
#ifndef LOCI_GPU_PASS_IMPL_H
#define LOCI_GPU_PASS_IMPL_H

#include "model/gpu/gpu_model.h"
#include "model/model_impl.h"

enum {
    LOCI_GPU_PASS_MARKS = 88,
    LOCI_GPU_SUM_AGEING = LOCI_GPU_STATS + 7, /* places in sums */
    LOCI_GPU_SUM_SPREAD,
    LOCI_GPU_SUMS,
    LOCI_GPU_HEAD_ROWS = 8192 /* logits are held for that many rows at a time */
};

/* Letters: N rows, C chunks, R = 66 C encoder rows, P = 64 C places, e, m of the encoder; w columns of
 * content. */

typedef struct {                       /* of one transformer layer    */
    loci_bf16 *xn1, *qkv;              /* (N, D) (N, (H + 2G)*64)     */
    loci_bf16 *att, *xn2, *gu;         /* (N, H*64) (N, D) (N, 2F)    */
    float *inv1, *inv_qk, *lse, *inv2; /* (N) (N, H + G) (N, H) (N)   */
    int past; /* rows before qkv that are keys as well: a stream, whose win_lo and win_hi count
                 from the first of them; 0 in training */
} loci_gpu_layer_tape;

typedef struct {                      /* of the chunk encoder         */
    loci_bf16 *xn, *n1, *qkv, *att;   /* (N, D) (R, e) (R, 3e) (R, e) */
    loci_bf16 *n2, *up, *cls, *cat;   /* (R, e) (R, m) (2C, e) (P, D + e) */
    float *inv_x, *inv1, *lse, *inv2; /* (N) (R) (R, e/64) (R)       */
    float *inv_l, *inv_z, *inv_kv;    /* (2C) (P) (P, 2)              */
} loci_gpu_encoder_tape;

typedef struct {                    /* of one Read block                       */
    loci_bf16 *xn, *hidden, *u;     /* (N, D) (N, router_hidden) (N, 128)      */
    loci_bf16 *q, *o, *xn2, *gu;    /* (N, 512) twice (N, D) (N, 2 read_mlp)   */
    float *inv, *inv_u, *inv_q;     /* (N) (N) (N, 8)                          */
    float *soft, *gate, *inv2;      /* (N)                                     */
    float *lse_own, *lse_neg;       /* (N)                                     */
    float *gold_score, *log_den;    /* (N)                                     */
    float *w, *pick_score;          /* (N, 16)                                 */
    float *pair_lse, *lse, *target; /* (N, 17, 8) (N, 8) (n_kl, target_ld)     */
    float *tau, *row, *drow;        /* (1) (16, 64) twice: ranks, or 8 marks   */
    float *head_w, *phi;            /* (N, 16, 8) twice; phi with order        */
    loci_bf16 *order;               /* (N, 64) with order                      */
    int32_t *above, *pick;          /* (N) (N, 18)                             */
    loci_gpu_lists lists;
} loci_gpu_read_tape;

typedef struct {                   /* of content served packed (gpu_tier.c)     */
    loci_bf16 *whole, *rounded;    /* (P, w) as encoded, (P, 64)                */
    loci_bf16 *dr, *dy, *dcontext; /* (P, w) (P, 64) (C, w)                     */
    float *y, *r, *context;        /* (P, 64) (P, w) (C, w)                     */
    float *inv, *loss;             /* (P, 2) (P)                                */
} loci_gpu_tier_tape;

typedef struct {                /* of one group's gist heads                     */
    loci_bf16 *y, *kv, *q, *o;  /* (G, d_summary) (G, 128) (N, 256) twice        */
    float *inv_k, *inv_q, *lse; /* (G) (N, 4) twice                              */
} loci_gpu_gist_group;

typedef struct { /* of summaries (gpu_gist.c); G nodes, F rows of frontiers, ds = d_summary */
    float *node,
        *dnode; /* (G, ds): level 0, rows 0 .. C - 1, are the summaries                    */
    float *inv; /* (G)                                                                     */
    loci_bf16
        *summary; /* (C, ds): copy of level 0, in the end of its gradient                    */
    loci_bf16 *xn,
        *dy;        /* (G, ds)                                                                 */
    loci_bf16 *dkv; /* (G, 128)                                                                */
    loci_bf16 *rows,
        *drows; /* (F, 128): keys and values as handed out, their gradients               */
    loci_gpu_gist_group group[LOCI_MAX_GROUPS];
} loci_gpu_gist_tape;

typedef struct {                 /* of trained codes (gpu_codes.c); K sampled queries, B banks  */
    loci_bf16 *u, *bq, *bk;      /* (K, 128) twice (2C, 128): queries, soft codes               */
    loci_bf16 *dx;               /* (max(K, 2C), 128)                                           */
    float *query, *key;          /* (K, 128) (2C, 128): before the tanh                         */
    float *dbq, *dbk;            /* (K, 128) (2C, 128)                                          */
    float *lse_s, *lse_z, *loss; /* (K) twice (B)                                              */
} loci_gpu_code_tape;

typedef struct {                      /* gone when a block is done               */
    loci_bf16 *wide, *wide2;          /* (N, the widest row of a block)          */
    loci_bf16 *narrow, *dh_half;      /* (N, D): a gradient; bf16 copy of dh     */
    loci_bf16 *pair;                  /* (N, 17, 512)                            */
    float *part;                      /* partial sums: the most that an op wants */
    float *du, *dz, *dw, *ds;         /* (N, 128) (N) (N, 16) (N, 18)            */
    float *dhead_w;                   /* (N, 16, 8)                              */
    loci_bf16 *dorder;                /* (N, 64) with order                      */
    float *coef[5], *extra, *delta;   /* (N) (N, 8) (N, H or 8)                  */
    float *z, *dz_enc;                /* (R, e)                                  */
    loci_bf16 *enc_wide;              /* (R, max(3e, m))                         */
    loci_bf16 *enc_half, *enc_narrow; /* (R, e)                                 */
    loci_bf16 *dcat;                  /* (P, D + e)                              */
    float *logits;                    /* (8192, vocab), and below 8192 rows      */
    loci_bf16 *dlogits;               /* vocab                                   */
    float *head_x, *head_inv, *head_dx;
    loci_bf16 *head_xn, *head_dxn, *head_tile, *head_dtile; /* D, D, 512, 512   */
} loci_gpu_scratch;

struct loci_gpu_pass {
    loci_gpu *g;
    loci_gpu_weights *w;
    loci_gpu_layout b; /* of this run, borrowed */
    void *memory;      /* one block for everything below */
    size_t memory_bytes;
    /* per batch */
    float *h, *inv0, *x0, *dh; /* (N, D) f32 residual, (N), (N, D) embedded rows, (N, D) gradient */
    loci_gpu_layer_tape layer[2 * LOCI_MAX_LAYERS]; /* lower, then upper */
    loci_gpu_encoder_tape enc;
    loci_gpu_read_tape read[LOCI_MAX_GROUPS];
    loci_gpu_tier_tape tier;
    loci_gpu_gist_tape gist;
    loci_gpu_code_tape code;
    loci_bf16 *content, *landmark; /* (P, w) as served, (2C, 128) */
    loci_bf16 *whole;              /* (P, w) as encoded: content, unless there are tiers */
    float *bias, *dcontent, *dlandmark, *dbias; /* (C) (P, 128) (2C, 128) (C) */
    float *stat;                                /* (LOCI_GPU_STATS, N) */
    float *head_loss, *decode_loss;             /* (H) (Q) */
    int32_t *head_best;
    /* of the sequences that run without the bank too: rows and head rows of b.bare; (N) of all */
    float *bare_h, *bare_loss, *regret;
    int32_t *bare_best;
    double *sums; /* (LOCI_GPU_SUMS) */
    loci_gpu_scratch s;
    double *frequency; /* (32) device: rotation */
    /* host copies of what is reported per token */
    float *loss_host;
    int32_t *best_host;
    size_t host_rows;
    /* this run */
    const loci_loss_options *opt;
    bool negatives, train;
    int n_marks;
    const char *mark_name[LOCI_GPU_PASS_MARKS];
};

/* What was enqueued since the mark before is called `name` in loci_gpu_pass_times. */
void loci_gpu_pass_mark(loci_gpu_pass *p, const char *name);

/* C = x W^T, x (m, W.cols); adding onto f32 y with `wide` and beta 1. */
void loci_gpu_linear(loci_gpu_pass *p, void *y, int ldy, const loci_bf16 *x, int ldx,
                     const loci_mat *w, int m, float beta, bool wide);
/* dx (m, W.cols) bf16 = dy W + beta dx. */
void loci_gpu_linear_dx(loci_gpu_pass *p, loci_bf16 *dx, int lddx, const loci_bf16 *dy, int lddy,
                        const loci_mat *w, int m, float beta);
/* dx (m, W.cols) f32 += dy W. */
void loci_gpu_linear_dx_add(loci_gpu_pass *p, float *dx, int lddx, const loci_bf16 *dy, int lddy,
                            const loci_mat *w, int m);
/* gradient of W (f32) += dy^T x. */
void loci_gpu_linear_dw(loci_gpu_pass *p, const loci_mat *dw, const loci_bf16 *dy, int lddy,
                        const loci_bf16 *x, int ldx, int m);
/* q and kv of a layer, which lie one behind the other, as one matrix. */
loci_mat loci_gpu_qkv(const loci_layer_params *p);

void loci_gpu_layer_plan(loci_gpu_layer_tape *t, loci_arena *a, const loci_hparams *hp, int n);
void loci_gpu_layer_forward(loci_gpu_pass *p, const loci_layer_params *w, loci_gpu_layer_tape *t);
/* p->dh and its bf16 copy s.dh_half in, the gradient of the input out. */
void loci_gpu_layer_backward(loci_gpu_pass *p, const loci_layer_params *w,
                             const loci_layer_params *dw, loci_gpu_layer_tape *t);

/* The gated MLP that ends a layer and a Read block: x += down(swiglu(gate_up(rms x))), width F. */
typedef struct {
    const loci_mat *gate_up, *down, *dgate_up, *ddown;
    loci_bf16 *xn, *gu;
    float *inv;
    int F;
} loci_gpu_mlp;
void loci_gpu_mlp_forward(loci_gpu_pass *p, const loci_gpu_mlp *m);
void loci_gpu_mlp_backward(loci_gpu_pass *p, const loci_gpu_mlp *m);

/* The one that ends a Read block; dw NULL: forward only. */
loci_gpu_mlp loci_gpu_read_mlp(const loci_hparams *hp, const loci_read_params *w,
                               const loci_read_params *dw, const loci_gpu_read_tape *t);

void loci_gpu_encoder_tape_plan(loci_gpu_encoder_tape *t, loci_arena *a, const loci_hparams *hp,
                                int n, int n_chunks);
void loci_gpu_encoder_forward(loci_gpu_pass *p);
void loci_gpu_encoder_backward(loci_gpu_pass *p);

/* What a Read block needs of a tape for `rows` rows whether it learns or serves; the rest is the caller's. */
void loci_gpu_read_plan_rows(loci_gpu_read_tape *t, loci_arena *a, const loci_hparams *hp,
                             int rows);
void loci_gpu_read_plan(loci_gpu_read_tape *t, loci_arena *a, const loci_hparams *hp,
                        const loci_gpu_layout *b, bool routed);
void loci_gpu_read_block(loci_gpu_pass *p, int group);
/* Ranks or marks of a block to t->row, coefficients of n rows to t->order; of picks (n, SLOTS) with weights
 * (n, PICKS) each head's weights to t->head_w and, with order, features to t->phi. */
void loci_gpu_weigh_heads(loci_gpu_pass *p, const loci_read_params *w, loci_gpu_read_tape *t,
                          const float *weight, const int32_t *pick, int n);
void loci_gpu_read_block_backward(loci_gpu_pass *p, int group);
/* What the block does to a row that has read nothing. */
void loci_gpu_read_block_bare(loci_gpu_pass *p, int group);

/* The upper stack over p->h; bare: without the bank. */
void loci_gpu_upper_forward(loci_gpu_pass *p, bool bare);
/* gpu_bare.c, nothing where no sequence regrets: losses without the bank, from p->h as the lower stack left
 * it; then, with those of the head, p->regret and its sums. */
void loci_gpu_bare_plan(loci_gpu_pass *p, loci_arena *a);
void loci_gpu_bare_forward(loci_gpu_pass *p);
void loci_gpu_bare_regret(loci_gpu_pass *p);

/* After the encoder, and before its backward pass; nothing without content_bits4. */
void loci_gpu_tier_plan(loci_gpu_tier_tape *t, loci_arena *a, const loci_hparams *hp, int n_chunks);
void loci_gpu_tier_forward(loci_gpu_pass *p);
void loci_gpu_tier_backward(loci_gpu_pass *p);

/* Pyramids of a batch in the layout: count before memory is taken, fill behind it.  Errors: LOCI_ENOMEM,
 * LOCI_EINVAL more rows than are allowed. */
loci_status loci_gpu_nodes_count(loci_gpu_layout *b, const loci_hparams *hp,
                                 const loci_sequence *const *s, int n, loci_error *err);
loci_status loci_gpu_nodes_fill(loci_gpu_layout *b, const loci_hparams *hp,
                                const loci_sequence *const *s, int n, loci_error *err);
/* Summaries and the nodes above them: after the encoder and before the tiers; backward behind all
 * groups and the tiers, before the encoder's. Nothing without d_summary. */
void loci_gpu_gist_plan(loci_gpu_gist_tape *t, loci_arena *a, const loci_hparams *hp,
                        const loci_gpu_layout *b);
void loci_gpu_nodes_forward(loci_gpu_pass *p);
void loci_gpu_nodes_backward(loci_gpu_pass *p);
/* Attention of one group, onto p->h, from read[group].xn; backward: s.dh_half -> s.narrow (+=), gist.dnode;
 * s.wide and s.wide2 are scratch. */
void loci_gpu_gist_forward(loci_gpu_pass *p, int group);
void loci_gpu_gist_backward(loci_gpu_pass *p, int group);

/* Losses of trained codes, behind the upper stack; with train their gradients. */
void loci_gpu_codes_plan(loci_gpu_code_tape *t, loci_arena *a, const loci_hparams *hp,
                         const loci_gpu_layout *b);
void loci_gpu_codes(loci_gpu_pass *p);

/* Head: p->head_loss, p->head_best; with train p->dh (written) and its copy. */
void loci_gpu_head(loci_gpu_pass *p);
void loci_gpu_decode(loci_gpu_pass *p);

#endif
