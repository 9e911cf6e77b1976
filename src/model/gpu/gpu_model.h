/* gpu_model.h - a batch of sequences through the model and back on one GPU.
 *
 * The equations and losses are those of the CPU pass (model.h); what differs is the order of work.  All
 * sequences of a batch lie one after the other as rows of one matrix, all their chunks as one bank, and
 * which rows have to do with which is said by ranges (gpu_layout.c).  So every product is one product
 * over the batch, and the chunks of other sequences, the negatives, are simply the rest of the bank.
 *
 *   gpu_layout.c   documents and chunks of a batch -> index arrays, on the host, one upload;
 *   gpu_nodes.c    with it the pyramids over summaries
 *   gpu_layer.c    transformer layer          gpu_encoder.c   chunk encoder
 *   gpu_read.c     Read block                 gpu_head.c      head and decode loss
 *   gpu_tier.c     content served packed      gpu_gist.c      summaries and attention to them
 *   gpu_bare.c     sequences once more without the bank        gpu_codes.c     loss of trained codes
 *   gpu_pass.c     memory, the order of all that, sums
 *
 * Shapes that the kernels are written for: heads, keys and values of 64, chunks of 64, two landmarks of
 * 128, eight read heads, top_k up to 16. */
#ifndef LOCI_GPU_MODEL_H
#define LOCI_GPU_MODEL_H

#include "cuda/gpu.h"
#include "model/model.h"

/* ---- parameters on the device ---------------------------------------------------------------- */
typedef struct {
    loci_hparams hp;
    size_t n;                /* floats of the flat vectors, as loci_param_floats */
    float *p, *grad;         /* (n) f32; grad NULL: no training */
    loci_bf16 *half;         /* (n) bf16 copy of p, what products read */
    loci_params at, grad_at; /* matrices bound into p and grad: device pointers */
} loci_gpu_weights;

/* Errors: LOCI_EINVAL a shape that the kernels are not written for (names field, expected, found),
 * LOCI_ENOMEM.  Freed by loci_gpu_weights_free, also after a failure. */
loci_status loci_gpu_weights_init(loci_gpu_weights *w, loci_gpu *g, const loci_hparams *hp,
                                  bool train, loci_error *err);
void loci_gpu_weights_free(loci_gpu_weights *w, loci_gpu *g);
/* param (n) host f32 -> p and half. */
void loci_gpu_weights_upload(loci_gpu_weights *w, loci_gpu *g, const float *param);
/* The bf16 copy of a matrix of w->at. */
static inline const loci_bf16 *loci_gpu_half(const loci_gpu_weights *w, const loci_mat *m)
{
    return w->half + ((const float *)m->data - w->p);
}

/* ---- layout of a batch (gpu_layout.c) ---------------------------------------------------------- */
/* Every array once: type, name, how many.  N rows (padded with rows of no document), C chunks (padded
 * with empty ones), R = 66 C rows of the encoder, H head rows, Q decode rows; G nodes of pyramids (padded
 * with empty ones), F rows of frontiers (gpu_nodes.c); K sampled queries of trained codes, B banks. */
#define LOCI_GPU_ARRAYS(X)                                                                         \
    X(int32_t, ids, N)    /* token                                                      */         \
    X(int32_t, pos, N)    /* position in its document                                   */         \
    X(int32_t, win_lo, N) /* window: keys [win_lo, win_hi) of a query                   */         \
    X(int32_t, win_hi, N)                                                                          \
    X(int32_t, win_qlo, N) /* queries [win_qlo, win_qhi) of a key                        */        \
    X(int32_t, win_qhi, N)                                                                         \
    X(int32_t, own_lo, N) /* chunks that a query may read                               */         \
    X(int32_t, own_hi, N)                                                                          \
    X(int32_t, seq_hi, N) /* end of its sequence's chunks                               */         \
    X(int32_t, key_lo, N) /* the same as content rows                                   */         \
    X(int32_t, key_hi, N)                                                                          \
    X(int32_t, gold, N)       /* gold chunk, -1 none, -2 absent                             */     \
    X(int32_t, source, N)     /* content row that is copied, -1                             */     \
    X(int32_t, target_row, N) /* row among the KL rows, -1                                  */     \
    X(uint8_t, kl_row, N)                                                                          \
    X(int32_t, kl_rows, N) /* n_kl of them                                               */        \
    X(int32_t, order, N)   /* rows sorted by id: gradient of the embedding               */        \
    X(int32_t, piece_start, N + 1)                                                                 \
    X(int32_t, id_piece, N + 1)                                                                    \
    X(int32_t, id_list, N)                                                                         \
    X(int32_t, pointer_rows, N) /* queries with a source, n_pointers; sorted by source        */   \
    X(int32_t, source_start, N + 1)                                                                \
    X(int32_t, tile_lo, N / LOCI_GPU_LIST_TILE + 1)                                                \
    X(int32_t, n_tokens, C)                                                                        \
    X(int32_t, token_row, C * 64)                                                                  \
    X(uint8_t, key_ok, C * 64)                                                                     \
    X(int32_t, key_qlo, C * 64) /* queries that may read a content row                        */   \
    X(int32_t, key_qhi, C * 64)                                                                    \
    X(int32_t, first_tile, C)                                                                      \
    X(int32_t, last_tile, C)                                                                       \
    X(int32_t, enc_lo, C * 66)                                                                     \
    X(int32_t, enc_hi, C * 66)                                                                     \
    X(uint8_t, packed, C)     /* chunk is served packed (tier.c)                        */         \
    X(int32_t, node_child, G) /* first of a node's 16 children, -1 on level 0           */         \
    X(uint8_t, node_level, G)                                                                      \
    X(int32_t, gist_row, F) /* node of a row that queries attend to                   */           \
    X(int32_t, gist_qlo, F) /* ... and the queries that do                            */           \
    X(int32_t, gist_qhi, F)                                                                        \
    X(int32_t, gist_order, F) /* those rows by node, from gist_start[node] on           */         \
    X(int32_t, gist_start, G + 1)                                                                  \
    X(int32_t, gist_lo, N) /* rows [gist_lo, gist_hi) of a query                     */            \
    X(int32_t, gist_hi, N)                                                                         \
    X(int32_t, code_query, K)     /* queries that train the codes, -1 pads                 */      \
    X(int32_t, bank_start, B + 1) /* first chunk of each sequence that has some         */         \
    X(int32_t, head_row, H)       /* rows with a target, -1 pads                                */ \
    X(int32_t, head_target, H)                                                                     \
    X(float, head_weight, H)  /* weight of the cross-entropy times its scale                */     \
    X(int32_t, decode_row, Q) /* content rows whose value is decoded, -1 pads               */     \
    X(int32_t, decode_target, Q)                                                                   \
    X(float, decode_weight, Q)

/* Where a sequence lies among the rows, and its targets among the head rows, of a batch. */
typedef struct {
    int row, n_rows, head, n_head;
} loci_gpu_stretch;

typedef struct loci_gpu_layout {
    int n, n_chunks, n_head, n_decode;        /* padded: N, C, H, Q                           */
    int n_nodes, n_gist;                      /* G, padded, and F                             */
    int n_codes, n_banks;                     /* K, padded, and B                             */
    int32_t node_start[LOCI_GIST_LEVELS + 1]; /* first node row of each level, end of the last */
    int real_tokens, real_chunks, real_codes, n_kl, n_pieces, n_ids, n_pointers, n_sources,
        tile_span, target_ld;
#define X(type, name, count) type *name;
    LOCI_GPU_ARRAYS(X) /* on the device */
    struct {
        LOCI_GPU_ARRAYS(X)
    } host;
#undef X
    void *host_memory, *device_memory; /* one block each, the same layout */
    size_t bytes, used;
    int32_t *scratch; /* host: (vocab + 1) and (N) */
    size_t scratch_ints;
    /* Sequences that run without the bank too: a layout of them alone, where they lie in this one. */
    struct loci_gpu_layout *bare;
    loci_gpu_stretch *stretch; /* (n_bare) */
    int n_bare;
} loci_gpu_layout;

/* Lay out n sequences on the host.  The losses' scales must be set in opt, its gate may still be open.
 * Errors: LOCI_EINVAL as loci_pass_lower, LOCI_ENOMEM. */
loci_status loci_gpu_layout_fill(loci_gpu_layout *b, loci_gpu *g, const loci_hparams *hp,
                                 const loci_sequence *const *s, int n, const loci_loss_options *opt,
                                 loci_error *err);
/* Behind that: which[i] of sequence i: does it regret (model.h)?  Errors: the same. */
loci_status loci_gpu_layout_bare(loci_gpu_layout *b, loci_gpu *g, const loci_hparams *hp,
                                 const loci_sequence *const *s, int n, const uint8_t *which,
                                 const loci_loss_options *opt, loci_error *err);
void loci_gpu_layout_free(loci_gpu_layout *b, loci_gpu *g);

/* ---- the pass ----------------------------------------------------------------------------------- */
typedef struct loci_gpu_pass loci_gpu_pass;
loci_status loci_gpu_pass_open(loci_gpu_pass **out, loci_gpu *g, loci_gpu_weights *w,
                               loci_error *err);
void loci_gpu_pass_close(loci_gpu_pass *p); /* NULL is fine */
/* One micro-batch as laid out in b: forward, losses, and with `train` backward into w->grad (+=).  Each
 * sequence's chunks are the others' negatives when `negatives`.  Adds to *sums; waits for the device.
 * Errors: LOCI_ENOMEM (the gradient is as it was), LOCI_EIO. */
loci_status loci_gpu_pass_run(loci_gpu_pass *p, const loci_gpu_layout *b,
                              const loci_sequence *const *s, int n, const loci_loss_options *opt,
                              bool negatives, bool train, loci_loss_sums *sums, loci_error *err);
/* Milliseconds of the last run by part, after it: names[i] static. Returns how many. */
int loci_gpu_pass_times(loci_gpu_pass *p, const char **names, float *ms, int cap);

#endif
