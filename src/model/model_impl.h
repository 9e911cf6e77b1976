/* model_impl.h - what the files of src/model/ share and nobody else sees.
 *
 * The training pass and the streaming pass go through the same forward functions: what is
 * declared here works on n rows, n = 1 included, and takes every buffer from its caller.
 * Shapes use the letters of model.h; R rows, HB read heads. */
#ifndef LOCI_MODEL_IMPL_H
#define LOCI_MODEL_IMPL_H

#include "model/model.h"

/* Is this a switch at its default, which config.json and fingerprint leave out? (hparams.c) */
bool loci_hparams_unsaid(const loci_hparams *hp, const loci_setting *field);

/* The group whose Read stands before upper layer l, or -1. */
static inline int loci_group_at(const loci_hparams *hp, int l)
{
    const int layers = hp->n_groups ? hp->n_upper / hp->n_groups : 0;
    return layers && l % layers == 0 ? l / layers : -1;
}

/* The matrix of the output head, and where its gradient goes. */
static inline const loci_mat *loci_head(const loci_model *m)
{
    return m->hp.tied ? &m->p.embed : &m->p.head;
}
static inline loci_mat *loci_head_grad(const loci_model *m, loci_params *grads)
{
    return m->hp.tied ? &grads->embed : &grads->head;
}

/* ---- rows (linear.c) ------------------------------------------------------------------ */

/* Gradient of loci_embed: dembed[ids[t],:] += through the norm; x, inv as loci_embed left them. */
void loci_embed_bwd(const loci_kernels *k, loci_mat *dembed, const float *dx, const float *x,
                    const float *inv, const int32_t *ids, int n);
/* Rows to unit length in place: x[r,:] /= max(|x[r,:]|, 1e-12); inv (rows) receives the factor,
 * may be NULL.  x (rows, cols) contiguous. */
void loci_unit(const loci_kernels *k, float *x, float *inv, int rows, int cols);
/* dx = inv (dy - y <dy,y>) in place: dy (rows, cols) becomes dx. */
void loci_unit_bwd(const loci_kernels *k, float *dy, const float *y, const float *inv, int rows,
                   int cols);
/* y (rows, w.rows) += x w^T, rows contiguous; tmp (rows, w.rows) may be overwritten. */
void loci_linear_add(const loci_model *m, float *y, float *tmp, const float *x, const loci_mat *w,
                     int rows);
/* Several products of the same x, all with the same w.cols: x is turned to int8 once, and a pool
 * shares them out together. */
typedef struct {
    const loci_mat *w;
    float *y; /* (rows, w.rows), ldy floats from a row to the next */
    int ldy;
} loci_product;
enum { LOCI_PRODUCTS = 4 }; /* at most */
void loci_linear_all(const loci_model *m, const loci_product *list, int n, const float *x, int ldx,
                     int rows);
/* Rows [first, first + rows) of w as a matrix of its own, any stored type. */
loci_mat loci_mat_rows(const loci_mat *w, int first, int rows);
/* y (cols) = row `row` of w as f32. */
void loci_mat_row(const loci_kernels *k, float *y, const loci_mat *w, int row);

/* ---- four.c: stored in 4 bits ----------------------------------------------------------------- */

enum { LOCI_FOUR_COLS = 16384 }; /* at most: a row as f32 lies on the stack */
bool loci_four_fits(int cols);
/* One row of cols numbers, finite: q (cols / 2) and half (cols / 32). */
void loci_four_round(uint8_t *q, uint16_t *half, const float *x, int cols);
/* y (rows, cols) = rows of w, LOCI_U8, from `first` on. */
void loci_four_rows(const loci_kernels *k, float *y, const loci_mat *w, int first, int rows);

/* ---- window.c: whole sequences -------------------------------------------------------- */

/* As loci_window_plan, with the MLP's activation (T, F) given by the caller: it does not outlive
 * the call, so the layers of a stack share one. */
void loci_window_plan_with(loci_window_tape *t, loci_arena *a, const loci_hparams *hp, int T,
                           float *act);
/* loci_window_forward over all documents of a sequence: the products run over all rows at once,
 * attention runs per document.  doc (n_docs + 1): first row of each; rows of x, k, v, t from 0. */
void loci_window_forward_docs(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                              float *x, const int32_t *pos, const loci_rope_table *rope, float *k,
                              float *v, const int32_t *doc, int n_docs);
void loci_window_backward_docs(const loci_model *m, const loci_layer_params *p,
                               loci_layer_params *g, const loci_window_tape *t, float *dx,
                               const int32_t *pos, const loci_rope_table *rope, const float *k,
                               const float *v, float *dk, float *dv, float *scratch,
                               const int32_t *doc, int n_docs);

/* The two halves of a layer's forward pass around attention: queries, keys, values of n rows; then,
 * from t->att, what is added to x. */
void loci_window_project(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                         const float *x, const int32_t *pos, const loci_rope_table *rope, float *k,
                         float *v, int n);
void loci_window_finish(const loci_model *m, const loci_layer_params *p, loci_window_tape *t,
                        float *x, int n);

/* ---- ring.c: layers of a stream ------------------------------------------------------------- */

typedef struct {
    float *k[LOCI_MAX_LAYERS], *v[LOCI_MAX_LAYERS]; /* (cap, G*64)             */
    float *fresh;                                   /* (batch, 2 G*64) scratch */
    int fill[LOCI_MAX_LAYERS], cap;                 /* rows kept, rows that fit */
} loci_rings;
void loci_rings_plan(loci_rings *r, loci_arena *a, const loci_hparams *hp, int n_layers, int batch);
void loci_rings_reset(loci_rings *r);
/* Layer l of the stack, p, over the next n <= batch rows of the stream in place. */
void loci_rings_layer(loci_rings *r, int l, const loci_model *m, const loci_layer_params *p,
                      loci_window_tape *t, float *x, const int32_t *pos,
                      const loci_rope_table *rope, int n);

/* ---- encoder.c -------------------------------------------------------------------------- */

/* As loci_encoder_plan for n_tokens tokens of several documents in n_chunks chunks, with scratch
 * given by the caller: loci_encoder_scratch floats for the chunks of the longest call. */
loci_encoder_tape *loci_encoder_plan_with(loci_arena *a, const loci_hparams *hp, int n_tokens,
                                          int n_chunks, float *scratch);
size_t loci_encoder_scratch(const loci_hparams *hp, int n_chunks, bool backward); /* floats */
/* Gradient of n content rows through their norms, the encoder's or a packed row's: dr (n, w) is written,
 * from dcontent (n, dk + dv); factors inv_k, inv_v (n). */
void loci_content_norm_bwd(const loci_model *m, float *dr, const float *dcontent,
                           const float *content, const float *inv_k, const float *inv_v, int n);
/* As loci_encoder_forward and _backward, for a document behind token0 tokens that fill chunk0
 * chunks: a tape without room for pads. */
void loci_encoder_forward_at(const loci_model *m, loci_encoder_tape *t, int token0, int chunk0,
                             const float *h, int n_tokens, float *content, float *landmark,
                             float *bias, float *summary);
void loci_encoder_backward_at(const loci_model *m, loci_encoder_params *g, loci_encoder_tape *t,
                              int token0, int chunk0, float *dh, int n_tokens, const float *content,
                              const float *dcontent, const float *landmark, const float *dlandmark,
                              const float *dbias, const float *dsummary);

/* ---- the parts of a Read block (router.c, mix.c): n rows, training and inference ----------- */

/* Router query: u (n, d_landmark) = unit(W2 silu(W1 xn)).
 *   xn (n, D) = rms(h)   hidden, act (n, router_hidden): hidden keeps W1 xn, act is scratch
 *   inv (n) norm factors for the backward pass, may be NULL */
void loci_router_query(const loci_model *m, const loci_read_params *p, float *u, float *inv,
                       float *hidden, float *act, const float *xn, int n);
float loci_router_tau(const loci_read_params *p); /* min(exp(log_tau), 40) */
/* gate (n) = sigmoid(gate_w . xn + gate_b) */
void loci_router_gate(const loci_model *m, const loci_read_params *p, float *gate, const float *xn,
                      int n);
/* What a soft gate weighs with (n): itself, or 1[soft > gate_open] with hard_gate.  The gradient
 * passes straight through the step: d gate / d soft = 1.  May be in place. */
void loci_router_harden(const loci_hparams *hp, float *gate, const float *soft, int n);
/* Read queries q (n, HB*64), each head rms-normed; inv (n, HB) or NULL.  Score scale against keys:
 * loci_read_scale(hp) = 2 / sqrt(d_key). */
void loci_read_heads(const loci_model *m, const loci_read_params *p, float *q, float *inv,
                     const float *xn, int n);
float loci_read_scale(const loci_hparams *hp);

/* What mix needs: xn (n, D), inv (n), gu (n, 2 R), act (n, max(R, HB*d_value)) scratch. */
typedef struct {
    float *xn, *inv, *gu, *act;
} loci_mix_tape;
void loci_mix_plan(loci_mix_tape *t, loci_arena *a, const loci_hparams *hp, int n);
/* The same with act (loci_mix_act floats) given by the caller. */
void loci_mix_plan_with(loci_mix_tape *t, loci_arena *a, const loci_hparams *hp, int n, float *act);
size_t loci_mix_act(const loci_hparams *hp, int n);
/* h += o_proj(gate * o);  h += down(swiglu(gate_up(rms h))).
 *   h (n, D)   o (n, HB*d_value)   gate (n)
 * Rows below `first` have read nothing: their first term is skipped and o, gate are not read. */
void loci_mix_forward(const loci_model *m, const loci_read_params *p, loci_mix_tape *t, float *h,
                      const float *o, const float *gate, int first, int n);
/* dh (n, D) in: gradient of the output, out: gradient of the input, o's path excluded: d_o
 * (n, HB*d_value) and d_gate (n) are written for rows from `first` on.
 * scratch: loci_mix_scratch floats. */
void loci_mix_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                       loci_mix_tape *t, float *dh, float *d_o, float *d_gate, const float *o,
                       const float *gate, float *scratch, int first, int n);
size_t loci_mix_scratch(const loci_hparams *hp, int n);

/* ---- a Read block in training (read.c, router.c, negatives.c) ------------------------------- */

/* The bank of one sequence: chunks of its banked documents in order.  The queries that may read
 * chunk c are the suffix [first_query[c], T); first_query never falls, so a query's eligible
 * chunks are the prefix [0, n_eligible[t]). */
typedef struct {
    int n;
    int32_t *n_tokens, *first_query;     /* (n) */
    int32_t *n_eligible;                 /* (T) */
    float *content, *landmark, *bias;    /* (n*S, w) (n, M, d_landmark) (n) */
    float *dcontent, *dlandmark, *dbias; /* (n*S, dk + dv), ...: gradients of the same, += */
    float *summary, *dsummary;           /* (n, d_summary), with d_summary */
} loci_chunks;

/* Which chunks of a bank are served packed (tier.c); nothing without content_bits4. */
typedef struct {
    uint8_t *packed;      /* (C) */
    float *whole;         /* (C*S, w) content as the encoder gave it              */
    float *y;             /* (C*S, LOCI_PACK) what a packed row says, read back   */
    float *inv_k, *inv_v; /* (C*S) norm factors of packed rows                    */
} loci_tier_tape;
void loci_tier_plan(loci_tier_tape *t, loci_arena *a, const loci_hparams *hp, int capacity);
/* b->content as the encoder gave it becomes what readers are served. */
void loci_tier_forward(const loci_model *m, loci_tier_tape *t, const loci_chunks *b,
                       const loci_sequence *s);
/* Adds to sums and, if backward, to b->dcontent. */
void loci_ageing_loss(const loci_model *m, const loci_tier_tape *t, const loci_chunks *b,
                      const loci_loss_options *o, bool backward, loci_loss_sums *sums);
/* b->dcontent of what was served becomes the gradient of t->whole; b->dsummary is added to. */
void loci_tier_backward(const loci_model *m, loci_encoder_params *g, const loci_tier_tape *t,
                        const loci_chunks *b);

/* The pyramids of a bank and what each group makes of them (gist.c); nothing without d_summary.
 * R rows of nodes, documents in order: row0[d] the first row, chunk0[d] the first chunk of d. */
typedef struct {
    float *y, *kv, *inv_k;      /* (R, ds) (R, 128) (R)               */
    float *q, *inv_q, *o, *lse; /* (T, 4*64) (T, 4) (T, 4*64) (T, 4)  */
} loci_gist_group;
typedef struct {
    int n_docs, n_rows;
    int32_t *chunk0, *row0;  /* (n_docs + 1) (n_docs) */
    uint8_t *level;          /* (R) */
    float *xn, *inv, *dnode; /* (R, ds) (R) (R, ds): rms(node), its factor, gradient of the node */
    loci_gist_group group[LOCI_MAX_GROUPS];
} loci_gist_tape;
void loci_gist_plan(loci_gist_tape *t, loci_arena *a, const loci_hparams *hp, int T, int capacity);
size_t loci_gist_scratch(const loci_hparams *hp, int capacity); /* floats */
/* Pyramids from b->summary; dnode is cleared. */
void loci_gist_build(const loci_model *m, loci_gist_tape *t, const loci_chunks *b,
                     const loci_sequence *s);
/* h (T, D) += what rows from `first` on see; xn (T, D) = rms(h) as it was. */
void loci_gist_forward(const loci_model *m, const loci_read_params *p, loci_gist_tape *t, int group,
                       const loci_chunks *b, float *h, const float *xn, int first, int T,
                       int capacity, float *scratch);
/* dh (T, D): gradient of the sum, stays; dxn +=, t->dnode +=. */
void loci_gist_backward(const loci_model *m, const loci_read_params *p, loci_read_params *grad,
                        loci_gist_tape *t, int group, const loci_chunks *b, const float *dh,
                        float *dxn, const float *xn, int first, int T, int capacity,
                        float *scratch);
/* b->dsummary += from t->dnode, which is used up. */
void loci_gist_build_backward(const loci_model *m, loci_gist_tape *t, const loci_chunks *b);
/* The parts: keys and values kv (n, 128) of nodes from xn (n, ds); y (n, ds) is kept for the
 * backward pass; q (n, 4*64).  Factors of the norms may be NULL. */
void loci_gist_keys(const loci_model *m, const loci_read_params *p, float *kv, float *inv_k,
                    float *y, const float *xn, const uint8_t *level, int n);
void loci_gist_queries(const loci_model *m, const loci_read_params *p, float *q, float *inv,
                       const float *xn, int n);
/* gist_reader.c.  Rows of a stream: o (n, 4*64) of q (n, 4*64), over the nodes that the memory gives. */
typedef struct
{ /* what a group made of nodes lately that have no room, by a hash of their numbers */
    float *node, *kv;
    uint8_t *level; /* 0xff: nothing there */
} loci_gist_known;
typedef struct loci_gist_fresh loci_gist_fresh; /* a node whose keys and values are to be made */
typedef struct {
    float *q, *o;
    float *kv;   /* a block of nodes' keys and values */
    int n;       /* nodes in it */
    int n_fresh; /* those of them that are to be made: */
    loci_gist_fresh *fresh;
    float *node, *xn, *y, *made, *part;
    uint8_t *level;
    loci_gist_known known[LOCI_MAX_GROUPS];
    const loci_model *m;
    const loci_read_params *p;
    int group;
    const float *row_q; /* the row that reads */
    float *row_o, lse[LOCI_GIST_HEADS];
} loci_gist_reader;
void loci_gist_reader_plan(loci_gist_reader *x, loci_arena *a, const loci_hparams *hp, int n);
int loci_gist_read(const loci_model *m, int group, loci_gist_reader *x, int row,
                   const loci_memory *memory, const float *u, float tau, int64_t own_end);

/* What one call of a Read block is told. */
typedef struct {
    const loci_sequence *s;
    const loci_chunks *bank;
    const loci_negatives *neg;
    int n_neg, group;
    bool routed;
    const loci_loss_options *opt; /* NULL: forward only, no losses */
    loci_loss_sums *sums;         /* with opt */
    loci_gist_tape *gist;
    const float *regret; /* (T) r_t of the regret loss, 0 where there is none; or NULL */
} loci_read_job;

/* Is the heads' mass of row t (which has an eligible chunk) compared with the router? */
static inline bool loci_kl_row(const loci_loss_options *o, int t)
{
    return o && o->kl_every > 0 && t % o->kl_every == o->kl_phase;
}

/* Rows t below `first` have nothing to read and no loss on the router.  C here is the bank's
 * capacity: the stride of (T, C) arrays. */
typedef struct {
    float *xn, *inv;                /* (T, D) (T)                                    */
    float *hidden, *u, *inv_u;      /* (T, router_hidden) (T, d_landmark) (T)        */
    float *q, *inv_q, *o;           /* (T, HB*dk) (T, HB) (T, HB*dv)                 */
    float *soft, *gate;             /* (T): sigmoid, and what weighs (router.c)      */
    float *lse, *total;             /* (C, T, HB) per chunk; (T, HB) over all chunks */
    float *score, *target, *dscore; /* (T, C): s, the heads' mass, d loss / d s      */
    uint8_t *arg;                   /* (T, C): the landmark that gave the maximum    */
    float *w, *log_den;             /* (T, K) (T): routed weights, log denominator   */
    float *head_w, *phi, *order;    /* with order: (T, K, HB) (T, K, 8) (T, HB*8)    */
    int32_t *pick, *n_pick;         /* (T, K) (T): chosen chunks, oldest first       */
    float *lse_neg, *dneg;          /* (T): log sum exp of negatives, its gradient   */
    int32_t *above;                 /* (T): negatives that score above the gold chunk */
    loci_mix_tape mix;
    double dnull; /* d loss / d null_score                         */
    float tau;
    int first, capacity;
} loci_read_tape;
void loci_read_plan(loci_read_tape *t, loci_arena *a, const loci_hparams *hp, int T, int capacity,
                    float *mix_act);
size_t loci_read_scratch(const loci_hparams *hp, int T, int capacity); /* floats */
/* h (T, D) in place. */
void loci_read_forward(const loci_model *m, const loci_read_params *p, loci_read_tape *t, float *h,
                       const loci_read_job *job, float *scratch);
/* dh (T, D) in place; the bank's and the negatives' gradients are added to. */
void loci_read_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                        loci_read_tape *t, float *dh, const loci_read_job *job, float *scratch);

/* ---- order.c: weights of each head by order in time, with hp.order ----------------------------- */

/* phi (n, 8) of n picks, oldest first, with the router's weights w. */
void loci_order_features(float *phi, const float *w, int n);
/* head_w (n, heads) from w (n), phi (n, 8) and a query's coefficients c (heads, 8). */
void loci_order_weights(float *head_w, const float *w, const float *phi, const float *c, int n,
                        int heads);
/* o (HB, dv) += what the places of n picks say. */
void loci_order_marks(const loci_model *m, const loci_read_params *p, float *o, const float *head_w,
                      const float *phi, int n);
/* head_w, phi and order of a tape's rows from t->first on. */
void loci_order_forward(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T);
/* o += what the places of the picks say, of these rows. */
void loci_order_add(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T);
/* d_o (T, HB*dv), dhead_w (T, K, HB): adds what the marks say to dhead_w and g->mark; writes dw (T, K) and, over
 * t->order, its gradient. */
void loci_order_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                         loci_read_tape *t, int T, const float *d_o, float *dhead_w, float *dw);
/* Without hp.order: o += sum_i w_i rank_i; g->rank +=, and dw (T, K) written with what the ranks give to
 * it.  ranks (T, dv): scratch. */
void loci_ranks_add(const loci_model *m, const loci_read_params *p, loci_read_tape *t, int T,
                    float *ranks);
void loci_ranks_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                         loci_read_tape *t, int T, const float *d_o, float *ranks, float *dw);

/* router.c, called by read.c in this order. */
size_t loci_router_scratch(const loci_hparams *hp, int T, int capacity); /* floats */
/* Scores, choice, log sum of negatives and (routed) weights of rows from t->first on. */
void loci_router_forward(const loci_model *m, const loci_read_params *p, loci_read_tape *t,
                         const loci_read_job *job, float *scratch);
/* KL (if t->target is filled: have_target), oracle, absence: adds to job->sums and leaves their
 * gradients in dscore, dneg, dnull. */
void loci_router_losses(const loci_model *m, const loci_read_params *p, loci_read_tape *t,
                        const loci_read_job *job, bool have_target);
/* dgate (T), of what weighs: the losses of gate and regret added, through the sigmoid into gate_w, gate_b
 * and dxn (T, D), rows from t->first on. */
void loci_router_gate_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                               const loci_read_tape *t, const loci_read_job *job,
                               const float *dgate, float *dxn);
/* dw (T, K): gradient of the routed weights (NULL in the dense mode).  dxn (T, D) +=. */
void loci_router_backward(const loci_model *m, const loci_read_params *p, loci_read_params *g,
                          loci_read_tape *t, const loci_read_job *job, const float *dw, float *dxn,
                          float *scratch);

/* negatives.c: the queries listed in rows (n_rows) against the chunks of all pieces. */
typedef struct {
    const loci_negatives *piece;
    int n_pieces;
    const float *u; /* (T, d_landmark) */
    float tau;
    const int32_t *rows;
    int n_rows;
} loci_negative_job;
size_t loci_negatives_scratch(const loci_hparams *hp); /* floats */
/* lse[t] = log sum exp of all scores; above[t] = how many exceed bar[t]. */
void loci_negatives_forward(const loci_model *m, const loci_negative_job *job, const float *bar,
                            float *lse, int32_t *above, float *scratch);
/* dlse (T): gradient of lse.  du (T, d_landmark) +=, pieces' gradients +=.  The gradient of tau
 * follows from du: sum_t <du_t, u_t> / tau, since s is tau times a product with u. */
void loci_negatives_backward(const loci_model *m, const loci_negative_job *job, const float *lse,
                             const float *dlse, float *du, float *scratch);

/* ---- head.c --------------------------------------------------------------------------------- */

size_t loci_head_scratch(const loci_hparams *hp); /* floats */
/* Cross-entropy of rms(h) E^T, a block of rows at a time.  dh (T, D) is written and dhead added to,
 * both NULL without gradients; where there is a target best (T) receives the arg max and ce (T),
 * which may be NULL, the cross-entropy. */
void loci_head_loss(const loci_model *m, const float *h, const loci_sequence *s,
                    const loci_loss_options *opt, float *dh, loci_mat *dhead, int32_t *best,
                    float *ce, loci_loss_sums *sums, float *scratch);
/* logits (n, vocab) = rms(h) E^T, E the head's matrix; xn (n, D) scratch. */
void loci_head_logits(const loci_model *m, const float *h, float *xn, float *logits, int n);

/* ---- pass.c: the tape of one sequence --------------------------------------------------------- */

struct loci_pass {
    loci_hparams hp;
    int T, capacity; /* most tokens, most chunks */
    loci_rope_table rope;
    int32_t *pos, *best; /* (T) position in the document; (T) arg max */
    float *ce, *regret;  /* (T) cross-entropy; r_t of the regret loss */
    float *x0, *inv0;    /* (T, D) (T) embedded rows                  */
    float *h_lo, *dh_lo; /* (T, D)                                    */
    float *h;            /* (T, D) residual of the upper stack        */
    float *k[2 * LOCI_MAX_LAYERS],
        *v[2 * LOCI_MAX_LAYERS]; /* (T, G*64): lower layers, then upper */
    loci_window_tape lower[LOCI_MAX_LAYERS], upper[LOCI_MAX_LAYERS];
    loci_encoder_tape *encoder;
    loci_chunks bank;
    loci_tier_tape tier;
    loci_gist_tape gist;
    loci_read_tape read[LOCI_MAX_GROUPS];
    float *dk, *dv; /* (T, G*64) */
    float *scratch; /* the largest that any block asks for */
};

/* ---- losses that teach copying (pointer.c) --------------------------------------------------- */

/* dq NULL: adds the pointer loss to the job's sums.  Else adds its gradient to dq (T, HB*dk) and to
 * the bank's keys.  t as the forward pass left it; scratch: loci_pointer_scratch floats. */
void loci_pointer_loss(const loci_model *m, const loci_read_tape *t, const loci_read_job *job,
                       float *dq, float *scratch);
size_t loci_pointer_scratch(const loci_hparams *hp);
/* Decode loss of the bank's rows of this step's phase; grads NULL: loss only.  Adds to the bank's
 * values, to read[g].o and to the head. */
void loci_decode_loss(const loci_model *m, const loci_sequence *s, const loci_chunks *bank,
                      const loci_loss_options *o, loci_params *grads, loci_loss_sums *sums,
                      float *scratch);
size_t loci_decode_scratch(const loci_hparams *hp);

/* ---- code_loss.c ------------------------------------------------------------------------------ */

/* Losses of the trained codes over all groups' rows, read (G) as the forward pass left them.  Adds to
 * sums and, unless grads is NULL, to grads->code alone.  Nothing without trained_codes.
 * scratch: loci_code_loss_scratch floats. */
void loci_code_loss(const loci_model *m, const loci_sequence *s, const loci_chunks *bank,
                    const loci_read_tape *read, const loci_negatives *neg, int n_neg,
                    const loci_loss_options *o, loci_params *grads, loci_loss_sums *sums,
                    float *scratch);
size_t loci_code_loss_scratch(const loci_hparams *hp); /* floats */

/* ---- streaming (stream.c, consult.c, codes.c) ------------------------------------------------ */

/* frequency (d_head / 2): angle of pair i at position p is p frequency[i]. */
void loci_rope_frequencies(double *frequency, float base, int d_head);
/* Rows 0 .. n of the table = positions pos .. pos + n, any size of pos. */
void loci_rope_rows(loci_rope_table *r, const double *frequency, int d_head, int64_t pos, int n);

/* Rows of one call of a Read block. */
typedef struct {
    float *xn, *u, *hidden, *act; /* (n, D) (n, d_landmark) (n, router_hidden) twice */
    float *q, *gate, *o;          /* (n, HB*dk) (n) (n, HB*dv)                       */
    float *lse, *w, *order;       /* (HB) (K, HB) (n, HB*8)                          */
    loci_gist_reader gist;
    loci_mix_tape mix;
} loci_consult;
void loci_consult_plan(loci_consult *c, loci_arena *a, const loci_hparams *hp, int n);
/* The Read block of `group` over rows h (n, D) in place, positions from `first` on.  memory NULL:
 * nothing is read.  Errors: what memory's calls returned; h is then half done. */
loci_status loci_consult_forward(const loci_model *m, int group, loci_consult *c, float *h,
                                 int64_t first, int n, const loci_memory *memory, loci_reads *reads,
                                 loci_error *err);

/* w (n) = exp(score - log(exp null + sum exp score)) */
void loci_weigh_picks(float *w, const loci_pick *pick, int n, double null);

/* As loci_local_bank_init with a working memory of so many chunks, 0 of them and more. */
loci_local_bank *loci_local_bank_init_with(const loci_hparams *hp, int max_chunks, int working,
                                           void *memory);
size_t loci_local_bank_bytes_with(const loci_hparams *hp, int max_chunks, int working);

/* map (d, d): the fixed projection behind loci_codes. */
void loci_codes_map(float *map, int d);

#endif
