/* model_impl.h - what the files of src/model/ share and nobody else sees.
 *
 * The training pass and the streaming pass go through the same forward functions: what is
 * declared here works on n rows, n = 1 included, and takes every buffer from its caller.
 * Shapes use the letters of model.h; R rows, HB read heads. */
#ifndef LOCI_MODEL_IMPL_H
#define LOCI_MODEL_IMPL_H

#include "model/model.h"

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
/* Rows [first, first + rows) of w as a matrix of its own, any stored type. */
loci_mat loci_mat_rows(const loci_mat *w, int first, int rows);

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

/* ---- encoder.c -------------------------------------------------------------------------- */

/* As loci_encoder_plan, with scratch of loci_encoder_scratch floats given by the caller. */
loci_encoder_tape *loci_encoder_plan_with(loci_arena *a, const loci_hparams *hp, int n_chunks,
                                          float *scratch);
size_t loci_encoder_scratch(const loci_hparams *hp, int n_chunks, bool backward); /* floats */

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
/* h += o_proj(gate * o);  h += down(swiglu(gate_up(rms h))).
 *   h (n, D)   o (n, HB*d_value)   gate (n)
 * Rows below `first` have read nothing: their first term is skipped and o, gate are not read. */
void loci_mix_forward(const loci_model *m, const loci_read_params *p, loci_mix_tape *t, float *h,
                      const float *o, const float *gate, int first, int n);

#endif
