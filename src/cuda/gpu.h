/* gpu.h - the arithmetic of training and serving on one CUDA GPU: a C interface.
 *
 * The same families as kernel.h, launched on a stream.  Pointers named without remark lie on the
 * device.  Like kernels, launchers know no model: pointers, integers and floats.
 *
 * Numbers: activations and weights are bf16, products accumulate in f32; the residual stream,
 * losses, gradients of parameters and optimiser state are f32.  Nothing is added atomically in an
 * order that chance decides, so the same input gives the same bits on the same kind of GPU.
 *
 * Errors: a launch that was refused is remembered and everything after it is harmless; ask with
 * loci_gpu_status at a place where work can end.  One stream, one host thread at a time.
 *
 * Every op is one line of ops.inc, from which its test (tests/cuda) and `loci bench gpu` follow. */
#ifndef LOCI_GPU_H
#define LOCI_GPU_H

#include "loci/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint16_t loci_bf16;
typedef struct loci_gpu loci_gpu;

/* ---- device (runtime.cu) ------------------------------------------------------------------ */
/* Open device number `device`.  *out owned: loci_gpu_close.
 * Errors: LOCI_ENOTFOUND no such device, or a build without CUDA (gpu_none.c); LOCI_ENOMEM. */
loci_status loci_gpu_open(loci_gpu **out, int device, loci_error *err);
void loci_gpu_close(loci_gpu *g); /* NULL is fine */
/* "cpu" or NULL: -1; "cuda": 0; "cuda:N": N.  Errors: LOCI_EINVAL anything else. (device.c) */
loci_status loci_device_parse(const char *name, int *device, loci_error *err);
/* The same where several GPUs may work together: "cuda:0,1,3", each once; n 0: the CPU. */
enum { LOCI_MAX_DEVICES = 16 };
typedef struct {
    int number[LOCI_MAX_DEVICES], n;
} loci_devices;
loci_status loci_devices_parse(const char *name, loci_devices *out, loci_error *err);
/* Calls come from this thread now; the one that opened needs none. */
void loci_gpu_use(loci_gpu *g);
bool loci_gpu_built(void); /* false: this program has no CUDA code */
const char *loci_gpu_name(const loci_gpu *g);
size_t loci_gpu_memory(const loci_gpu *g); /* bytes free now */
/* Waits for everything enqueued; the first error since open, or LOCI_OK. */
loci_status loci_gpu_status(loci_gpu *g, loci_error *err);
/* Device memory, 256-byte aligned; NULL and LOCI_ENOMEM in the remembered status when there is none. */
void *loci_gpu_alloc(loci_gpu *g, size_t bytes);
void loci_gpu_free(loci_gpu *g, void *p); /* waits for the stream; NULL is fine */
/* Host memory that copies do not stage: loci_gpu_host_free. */
void *loci_gpu_host_alloc(loci_gpu *g, size_t bytes);
void loci_gpu_host_free(loci_gpu *g, void *p);
void loci_gpu_upload(loci_gpu *g, void *to, const void *host, size_t bytes);     /* enqueued */
void loci_gpu_download(loci_gpu *g, void *host, const void *from, size_t bytes); /* waits */
void loci_gpu_copy(loci_gpu *g, void *to, const void *from, size_t bytes);
/* The same from the memory of another device, whose own work on it has ended; enqueued on g. */
void loci_gpu_copy_from(loci_gpu *g, void *to, loci_gpu *peer, const void *from, size_t bytes);
void loci_gpu_clear(loci_gpu *g, void *p, size_t bytes);
/* Time between two marks in milliseconds, after loci_gpu_status.  mark: 0 .. 95. */
void loci_gpu_mark(loci_gpu *g, int mark);
float loci_gpu_between(loci_gpu *g, int from, int to);

/* ---- products (gemm.cu, cuBLASLt) ------------------------------------------------------------ */
/* C (m,n) = alpha op(A) (m,k) op(B) (k,n) + beta C; ta: A is stored (k,m), tb: B is stored (n,k).
 * A, B bf16; C bf16, or f32 when wide.  batch matrices stride_* elements apart (batch 1: ignored).
 * Rows start on 16 bytes.  Plans are kept by shape: repeat shapes. */
typedef struct {
    void *c;
    const loci_bf16 *a, *b;
    int ldc, lda, ldb, ta, tb, m, n, k;
    float alpha, beta;
    bool wide;
    int batch;
    int64_t stride_a, stride_b, stride_c;
} loci_gpu_gemm_job;
void loci_gpu_gemm(loci_gpu *g, const loci_gpu_gemm_job *job);

/* ---- rows (rows.cu) ------------------------------------------------------------------------ */
/* y (rows, cols) bf16 = x / rms(x), x f32 (rows, ldx); inv (rows) or NULL.  cols even. */
void loci_gpu_rmsnorm(loci_gpu *g, loci_bf16 *y, int ldy, float *inv, const float *x, int ldx,
                      int rows, int cols, float eps);
/* The same from bf16 rows. y may equal x. */
void loci_gpu_rmsnorm_b(loci_gpu *g, loci_bf16 *y, int ldy, float *inv, const loci_bf16 *x, int ldx,
                        int rows, int cols, float eps);
/* dx f32 (rows, lddx) += inv (d - y <d,y>/cols), d = dy + z[r] w: dy bf16, y the saved output.
 * z (rows), w (cols) f32 or NULL.  out (rows, cols) bf16 or NULL receives the new dx. */
typedef struct {
    float *dx;
    loci_bf16 *out;
    const loci_bf16 *dy, *y;
    const float *inv, *z, *w;
    int lddx, ldout, lddy, ldy, rows, cols;
} loci_gpu_rmsnorm_grad;
void loci_gpu_rmsnorm_bwd(loci_gpu *g, const loci_gpu_rmsnorm_grad *job);
/* dx (rows, cols) bf16 = inv (dy - y <dy,y>/cols): written; dy bf16, or f32 in dy32. */
void loci_gpu_rmsnorm_bwd_b(loci_gpu *g, loci_bf16 *dx, int lddx, const loci_bf16 *dy,
                            const float *dy32, int lddy, const loci_bf16 *y, int ldy,
                            const float *inv, int rows, int cols);
void loci_gpu_to_bf16(loci_gpu *g, loci_bf16 *y, const float *x, size_t n);
/* y (rows, n) = silu(gu[:, :n]) gu[:, n:]; gu (rows, 2n).  n a multiple of 8. */
void loci_gpu_swiglu(loci_gpu *g, loci_bf16 *y, const loci_bf16 *gu, int rows, int n);
/* gu becomes its gradient; act receives silu(..) .. again. */
void loci_gpu_swiglu_bwd(loci_gpu *g, loci_bf16 *gu, loci_bf16 *act, const loci_bf16 *dact,
                         int rows, int n);
void loci_gpu_silu(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, size_t n);
/* x becomes dy silu'(x). */
void loci_gpu_silu_bwd(loci_gpu *g, loci_bf16 *x, const loci_bf16 *dy, size_t n);
/* Rows of 128 to unit length in place; inv (rows). */
void loci_gpu_unit(loci_gpu *g, loci_bf16 *x, float *inv, int rows);
/* dx (rows, 128) bf16 = inv (dy - y <dy,y>), dy f32; along (rows) or NULL receives <dy,y>. */
void loci_gpu_unit_bwd(loci_gpu *g, loci_bf16 *dx, float *along, const float *dy,
                       const loci_bf16 *y, const float *inv, int rows);
/* The first `heads` heads of 64 of x (rows, ldx): norm, then rotation by pos[r] (kernel.h rope); inv
 * (rows, heads).  pos NULL: the norm alone; angles are pos[r] frequency[i], frequency (32) doubles. */
void loci_gpu_norm_rope(loci_gpu *g, loci_bf16 *x, int ldx, float *inv, const int32_t *pos,
                        const double *frequency, int heads, int rows, float eps);
/* d in place becomes the gradient of the raw rows; y the rotated rows. */
void loci_gpu_norm_rope_bwd(loci_gpu *g, loci_bf16 *d, int ldd, const loci_bf16 *y, int ldy,
                            const float *inv, const int32_t *pos, const double *frequency,
                            int heads, int rows);
/* out[r,:] = x[index[r],:] (zeros for index < 0), f32 rows. */
void loci_gpu_gather(loci_gpu *g, float *out, const float *x, const int32_t *index, int rows,
                     int cols);
/* x[index[r],:] = in[r,:] for index >= 0, f32 rows; no index twice. */
void loci_gpu_scatter(loci_gpu *g, float *x, const float *in, const int32_t *index, int rows,
                      int cols);
/* x (rows, cols) f32 = E[ids[r],:] / rms; inv (rows). */
void loci_gpu_embed(loci_gpu *g, float *x, float *inv, const float *table, const int32_t *ids,
                    int rows, int cols, float eps);
/* Gradient of loci_gpu_embed: dtable[id,:] += rows of that id.  Rows come sorted by id: order (rows), cut
 * into pieces of at most LOCI_GPU_PIECE rows of one id: piece_start (n_pieces + 1) into order, id_piece
 * (n_ids + 1) into pieces, id (n_ids).  partial (n_pieces, cols) scratch. x0 = x * 1 as embed left it. */
enum { LOCI_GPU_PIECE = 64 };
typedef struct {
    float *dtable, *partial;
    const float *dx, *x, *inv;
    const int32_t *order, *piece_start, *id_piece, *id;
    int n_pieces, n_ids, cols;
} loci_gpu_embed_grad;
void loci_gpu_embed_bwd(loci_gpu *g, const loci_gpu_embed_grad *job);

/* ---- sums over rows (move.cu) --------------------------------------------------------------- */
enum { LOCI_GPU_SPLITS = 128 }; /* partial sums of a column sum */
/* out[c] += sum_r a[r] x[r,c]: x bf16 (rows, ldx), a (rows) or NULL for 1.  period p > 0: rows r, r + p,
 * ... are summed apart: out (p, cols).  partial: LOCI_GPU_SPLITS * max(p, 1) * cols floats. */
void loci_gpu_column_sum(loci_gpu *g, float *out, float *partial, const loci_bf16 *x, int ldx,
                         const float *a, int rows, int cols, int period);
/* out[i] += sum over parts p of part[p * n + i], in order of p. */
void loci_gpu_sum_parts(loci_gpu *g, float *out, const float *part, int parts, size_t n);
/* sums[k] += sum of x[k, 0..n), k < n_sums, in double. */
void loci_gpu_sum_rows(loci_gpu *g, double *sums, const float *x, int n_sums, int n);
/* y += a x */
void loci_gpu_axpy(loci_gpu *g, float *y, const float *x, float a, size_t n);

/* ---- attention (attn.cu) ---------------------------------------------------------------------- */
/* Query r sees keys [lo[r], hi[r]); key j is seen by queries [qlo[j], qhi[j]) at most; key_ok (n_k) or
 * NULL; rows of k and v that nobody sees must still be finite.  Heads of 64 side by side: q, o (n_q, heads*64), k, v (n_k, kv_heads*64), lse (n_q, heads). */
typedef struct {
    const loci_bf16 *q, *k, *v;
    loci_bf16 *o;
    float *lse;
    const int32_t *lo, *hi, *qlo, *qhi;
    const uint8_t *key_ok;
    int ldq, ldk, ldv, ldo, n_q, n_k, heads, kv_heads;
    float scale;
} loci_gpu_attn;
/* dq written (bf16).  dk, dv: written as bf16, or added to f32 when wide.  extra (n_q, heads) or NULL:
 * ds = p (dp - (<dout,o> - extra)).  delta (n_q, heads) scratch. */
typedef struct {
    const loci_bf16 *dout;
    loci_bf16 *dq;
    void *dk, *dv;
    const float *extra;
    float *delta;
    int lddo, lddq, lddk, lddv;
    bool wide;
} loci_gpu_attn_grad;
void loci_gpu_attn_forward(loci_gpu *g, const loci_gpu_attn *a);
void loci_gpu_attn_backward(loci_gpu *g, const loci_gpu_attn *a, const loci_gpu_attn_grad *grad);

/* ---- router (score.cu, score_bwd.cu, weigh.cu) -------------------------------------------------- */
enum { LOCI_GPU_PICKS = 16, LOCI_GPU_SLOTS = LOCI_GPU_PICKS + 2 };
/* Scores of n queries u (n, 128) against n_chunks chunks, landmarks lm (n_chunks, 2, 128), bias:
 *   s(t,c) = tau max_m <u_t, l_cm> + bias_c
 * Row t: own chunks [own_lo, own_hi), all of its sequence [own_lo, seq_hi); chunks outside are
 * negatives when `negatives`, the rest of the sequence is nothing.  gold: the query's gold chunk, -1
 * none, -2 absent; counts when it lies in the own chunks. */
typedef struct {
    const loci_bf16 *u, *lm;
    const float *bias, *tau; /* tau: one number on the device */
    const int32_t *own_lo, *own_hi, *seq_hi, *gold;
    float *lse_own, *lse_neg, *gold_score; /* (n); gold_score: s of the gold chunk, else infinity */
    int32_t *above;                        /* (n): chunks that score above gold */
    int32_t *pick;          /* (n, LOCI_GPU_SLOTS): the top_k best own chunks in rising order, -1 */
    float *pick_score;      /* (n, LOCI_GPU_PICKS) */
    int n, n_chunks, top_k; /* top_k 0 .. LOCI_GPU_PICKS */
    bool negatives;
    int splits; /* more than 1, for few queries: each looks at that many parts of its chunks at once, and
                   the outputs, gold_score apart, are (splits, n, ...), one result a part */
} loci_gpu_score;
void loci_gpu_score_forward(loci_gpu *g, const loci_gpu_score *s);
/* Gradient of what depends densely on s:
 *   own:       ds = kl (p - y) + oracle exp(s - oracle_den)       p = exp(s - lse_own)
 *   negative:  ds = neg exp(s - lse_neg)
 * per-query coefficients kl, oracle, oracle_den, neg (n).  target (n_targets, target_ld): y of query t in
 * row target_row[t] (-1: none), column c - own_lo.  du (n, 128) f32 and dlm (n_chunks*2, 128), dbias
 * (n_chunks) f32 are added to.  kl_loss (n): += share sum y (log y - log p).  part: scratch of
 * loci_gpu_score_parts floats. */
typedef struct {
    const float *kl, *oracle, *oracle_den, *neg, *target;
    const int32_t *target_row;
    float *du, *dlm, *dbias, *kl_loss, *part;
    int target_ld;
    float share;
} loci_gpu_score_grad;
size_t loci_gpu_score_parts(int n_chunks);
void loci_gpu_score_backward(loci_gpu *g, const loci_gpu_score *s, const loci_gpu_score_grad *grad);
/* Sparse part: ds (n, LOCI_GPU_SLOTS) of the chunks in pick (n, LOCI_GPU_SLOTS), by query into du and by
 * chunk (through the lists) into dlm, dbias. */
struct loci_gpu_lists;
void loci_gpu_score_sparse(loci_gpu *g, const loci_gpu_score *s, const struct loci_gpu_lists *lists,
                           const float *ds, float *du, float *dlm, float *dbias);

/* *tau = min(exp(*log_tau), 40).  Gradients of single numbers: *grad += *sum, for log_tau only where tau is
 * below its limit (log_tau NULL: always). */
void loci_gpu_tau(loci_gpu *g, float *tau, const float *log_tau);
void loci_gpu_add_scalar(loci_gpu *g, float *grad, const double *sum, const float *log_tau);

/* Weights and losses of the router, one query a warp.  stat (LOCI_GPU_STATS, n): += share of each. */
enum {
    LOCI_STAT_KL,
    LOCI_STAT_ORACLE,
    LOCI_STAT_RECALL,
    LOCI_STAT_ABSENCE,
    LOCI_STAT_POINTER,
    LOCI_STAT_GATE,
    LOCI_STAT_CONSULTED,
    LOCI_STAT_PAIRS,
    LOCI_STAT_GAIN,
    LOCI_STAT_REGRET,
    LOCI_STAT_HASH,
    LOCI_STAT_AGREEMENT,
    LOCI_GPU_STATS
};
typedef struct {
    loci_gpu_score s;
    const float *null_score;
    const int32_t *source; /* (n) row of the content whose token is copied, -1 */
    float *w;              /* (n, LOCI_GPU_PICKS) */
    float *log_den;        /* (n) */
    float *stat;
    float share;  /* 1 / groups */
    int recall_k; /* gold counts as found among that many */
    bool routed;
} loci_gpu_weigh;
/* Fills w, log_den; slots PICKS and PICKS + 1 of pick with the chunks of source (routed) and gold. */
void loci_gpu_weigh_forward(loci_gpu *g, const loci_gpu_weigh *w);
typedef struct {
    const float *dw; /* (n, LOCI_GPU_PICKS) gradient of w; NULL: dense mode */
    const uint8_t *kl_row;
    float kl, oracle, absence; /* weights times scales */
    float *c_kl, *c_oracle, *c_oracle_den, *c_neg, *ds,
        *dnull; /* (n) ..., ds (n, SLOTS), dnull (n) */
} loci_gpu_weigh_grad;
void loci_gpu_weigh_backward(loci_gpu *g, const loci_gpu_weigh *w, const loci_gpu_weigh_grad *grad);

/* ---- codes (code.cu, code_spread.cu): code_loss.c ----------------------------------------------------- */
/* b (n) = tanh(slope x) */
void loci_gpu_soft_codes(loci_gpu *g, loci_bf16 *b, const float *x, float slope, size_t n);
/* dx (n) = slope (1 - tanh(slope x)^2) db */
void loci_gpu_soft_codes_bwd(loci_gpu *g, loci_bf16 *dx, const float *db, const float *x,
                             float slope, size_t n);
/* n sampled queries, query[i] (-1: pad) of the batch's, against n_chunks chunks: s as in loci_gpu_score, from
 * u (n, 128) and lm (n_chunks*2, 128), and z(i,c) = 8/128 max_m <bq_i, bk_cm> of their soft codes bq, bk.
 * own_lo, own_hi, seq_hi, gold of the batch's queries: which chunks count, as in loci_gpu_score. */
typedef struct {
    const loci_bf16 *u, *lm, *bq, *bk;
    const float *bias, *tau;
    const int32_t *query, *own_lo, *own_hi, *seq_hi, *gold;
    float *lse_s, *lse_z; /* (n) */
    int n, n_chunks;
    bool negatives;
} loci_gpu_code;
/* lse_s, lse_z: logs of the sums of exponentials. */
void loci_gpu_code_forward(loci_gpu *g, const loci_gpu_code *c);
/* With both: stat[HASH][query] += share KL(softmax s || softmax z), stat[AGREEMENT][query] += share times the
 * most bits (signs of bq and of a landmark of the gold chunk) that agree, of 128, where gold is one; stat
 * (LOCI_GPU_STATS, rows).  dbq (n, 128) is written, dbk (n_chunks*2, 128) +=: scale times the gradient of
 * the sum of KL; both NULL: none.  part: scratch of loci_gpu_score_parts floats. */
typedef struct {
    float *stat, *dbq, *dbk, *part;
    float share, scale;
    int rows;
} loci_gpu_code_grad;
void loci_gpu_code_backward(loci_gpu *g, const loci_gpu_code *c, const loci_gpu_code_grad *grad);
/* Banks i: chunks from start[i] to start[i + 1].  loss[i] = 1/d sum mean(b_i)^2 + 1/d^2 sum_{i != j}
 * mean(b_i b_j)^2 over its codes bk (n_chunks*2, 128); dbk (n_chunks*2, 128) += scale times its gradient,
 * or NULL. */
void loci_gpu_code_spread(loci_gpu *g, float *loss, float *dbk, const loci_bf16 *bk,
                          const int32_t *start, int banks, float scale);

/* ---- lists of who reads a chunk (lists.cu) -------------------------------------------------------- */
enum { LOCI_GPU_ITEM = 128, LOCI_GPU_LIST_TILE = 256 };
/* From pick (n, slots) to, per chunk, the entries t * slots + i with pick = c, in rising order, cut into
 * items of at most LOCI_GPU_ITEM entries.  Queries of one tile of 256 pick within [tile_lo, tile_hi). */
typedef struct loci_gpu_lists {
    int32_t *start;      /* (n_chunks + 1) into entry */
    int32_t *entry;      /* (n * slots) */
    int32_t *item_start; /* (n_chunks + 1) */
    int32_t *item_chunk; /* (max_items) */
    int32_t *counts;     /* scratch: (tiles, tile_span) */
    int32_t *tile_lo;    /* (tiles): first chunk of the tile's queries (host gives it) */
    int32_t *first_tile; /* (n_chunks) tiles [first_tile, last_tile) may hold entries of a chunk */
    int32_t *last_tile;
    int n, n_chunks, slots, tile_span, max_items;
} loci_gpu_lists;
void loci_gpu_lists_build(loci_gpu *g, const loci_gpu_lists *l, const int32_t *pick);

/* ---- weights of the heads by order in time (order.cu; equations in src/model/order.c) --------------- */
/* w (n, PICKS) of picks (n, SLOTS), oldest first.  c (n, 64) coefficients, 8 a head; NULL: each head's
 * weight is w, and phi is not looked at. */
typedef struct {
    const float *w;
    const int32_t *pick;
    const loci_bf16 *c;
    float *head_w, *phi; /* (n, PICKS, 8) twice; 0 where nothing is picked */
    int n;
} loci_gpu_order;
void loci_gpu_order_forward(loci_gpu *g, const loci_gpu_order *o);
/* dhead_w (n, PICKS, 8).  dw (n, PICKS) written; dc (n, 64) written, with c. */
void loci_gpu_order_backward(loci_gpu *g, const loci_gpu_order *o, const float *dhead_w, float *dw,
                             loci_bf16 *dc);

/* ---- routed reading (read.cu, read_bwd.cu) ---------------------------------------------------------- */
enum { LOCI_GPU_READ_HEADS = 8 };
/* Content rows have `cols` columns: 128, a key of 64 and then a value, or 64, one vector that is both.
 * Their gradients are f32 rows of 128, as key and as value.
 * Query t reads the chunks in its slots 0 .. PICKS - 1 with weight w, and points into the chunk of slot
 * PICKS (weight 0): content (n_chunks*64, cols); n_tokens (n_chunks). q (n, 512). */
typedef struct {
    const loci_bf16 *q, *content;
    const int32_t *n_tokens, *pick, *source;
    const float *w; /* (n, PICKS, 8): a weight a head */
    const float
        *phi; /* (n, PICKS, 8) features of a pick's place (order.cu); NULL: its rank counts */
    const float *row; /* f32: what a place says, (8, 64) marks with phi, else (PICKS, 64) ranks */
    loci_bf16 *pair;  /* scratch (n, PICKS + 1, 512) */
    float *lse;       /* (n, PICKS + 1, 8) */
    loci_bf16 *o;     /* (n, 512) */
    float *stat;      /* pointer loss, with share; NULL: none */
    /* NULL, for few queries: a block a (query, pick); source, stat, the slots behind PICKS are not
     * looked at, lse may be NULL */
    const loci_gpu_lists *lists;
    int n, cols;
    float scale, share;
} loci_gpu_read;
void loci_gpu_read_forward(loci_gpu *g, const loci_gpu_read *r);
/* dout (n, 512).  dq (n, 512) bf16 written; dw (n, PICKS, 8) written, 0 where nothing is picked;
 * dcontent (n_chunks*64, 128) f32 +=; part (max_items, 64*128) scratch; drow (as row) +=, row_part
 * (LOCI_GPU_SPLITS, PICKS*64) scratch;
 * pointer: weight of the pointer loss times its scale. */
typedef struct {
    const loci_bf16 *dout;
    loci_bf16 *dq;
    float *dw, *dcontent, *part, *drow, *row_part;
    float pointer;
} loci_gpu_read_grad;
void loci_gpu_read_backward(loci_gpu *g, const loci_gpu_read *r, const loci_gpu_read_grad *grad);

/* target (n_rows, ld): mean over heads of the attention mass of query rows[i] on each of its own chunks
 * [own_lo, own_hi); columns behind are left alone.  part (n_rows, 8, ld) scratch. */
void loci_gpu_mass(loci_gpu *g, float *target, float *part, int ld, const loci_bf16 *q,
                   const loci_bf16 *content, int cols, const int32_t *n_tokens,
                   const int32_t *own_lo, const int32_t *own_hi, const int32_t *rows, int n_rows,
                   float scale);
/* Dense pointer loss: rows (n_rows) queries with source; lse (n, 8) over all keys.  Writes extra (n, 8) (0
 * elsewhere is the caller's) and the loss.  The gradient: extra into attn backward, and the source's own part: */
void loci_gpu_pointer_forward(loci_gpu *g, float *extra, float *stat, int n, const loci_bf16 *q,
                              const loci_bf16 *content, int cols, const float *lse,
                              const int32_t *source, const int32_t *rows, int n_rows, float scale,
                              float weight, float share);
/* dq[t] -= scale extra_h k_j and dcontent[j, keys] -= scale sum_h extra_h q_h, for all rows: by_source lists
 * them sorted by source, those of the i-th source from source_start[i] to source_start[i + 1]. */
void loci_gpu_pointer_backward(loci_gpu *g, loci_bf16 *dq, float *dcontent, const float *extra,
                               const loci_bf16 *q, const loci_bf16 *content, int cols,
                               const int32_t *source, const int32_t *by_source,
                               const int32_t *source_start, int n_sources, float scale);

/* ---- gate (rows.cu) ------------------------------------------------------------------------------- */
/* soft (n) = sigmoid(<w, x_r> + *b); gate = soft, or 1[soft > open] when hard; stat as above for rows with
 * own_lo < own_hi. */
void loci_gpu_gate(loci_gpu *g, float *soft, float *gate, float *stat, const loci_bf16 *x,
                   const float *w, const float *b, int rows, int cols, const int32_t *own_lo,
                   const int32_t *own_hi, float open, bool hard);
/* y[r,:] = gate[r] x[r,:] */
void loci_gpu_scale_rows(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, const float *gate, int rows,
                         int cols);
/* go = gate o; dz = (<d, o> + cost [own] - k regret_r) soft (1 - soft), also through a hard gate; d *= gate.
 * d, o, go (rows, cols) bf16; regret (rows) or NULL */
void loci_gpu_gate_bwd(loci_gpu *g, loci_bf16 *d, loci_bf16 *go, float *dz, const loci_bf16 *o,
                       const float *soft, const float *gate, const int32_t *own_lo,
                       const int32_t *own_hi, float cost, const float *regret, float k, int rows,
                       int cols);
/* What tokens lose without the bank: for head rows i < n, r = row[i], where r has own chunks:
 *   regret[r] = max(0, without[i] - with[i]);  stat GAIN[r] += that, REGRET[r] += that mean_g (1 - gate_g[r])
 * Other elements of regret (rows) are left alone. */
enum { LOCI_GPU_GATES = 8 };
typedef struct {
    float *regret, *stat;
    const float *with, *without; /* (n) cross-entropies */
    const int32_t *row;          /* (n) */
    const int32_t *own_lo, *own_hi;
    const float *gate[LOCI_GPU_GATES]; /* (rows) of each group */
    int n, rows, groups;
} loci_gpu_regrets;
void loci_gpu_regret(loci_gpu *g, const loci_gpu_regrets *j);

/* ---- encoder (encode.cu): chunk c has rows c*66 ..: 2 extra vectors, then its tokens, then pads ----- */
/* z (n_chunks*66, e) f32 = [cls ; in[token] + pos]; token_row (n_chunks*64): row of `in`, -1 pad. */
void loci_gpu_place(loci_gpu *g, float *z, const loci_bf16 *in, const float *pos, const float *cls,
                    const int32_t *token_row, int n_chunks, int e);
/* din (token rows) bf16 = token rows of dz; pads are skipped; rows without a chunk are the caller's. */
void loci_gpu_unplace(loci_gpu *g, loci_bf16 *din, const loci_bf16 *dz, const int32_t *token_row,
                      int n_chunks, int e);
/* cat (n_chunks*64, D + e): x rows of the tokens, then rms(z); inv (n_chunks*64); pads zero. */
void loci_gpu_cat(loci_gpu *g, loci_bf16 *cat, float *inv, const loci_bf16 *x, const float *z,
                  const int32_t *token_row, int n_chunks, int D, int e, float eps);
/* dcat -> dz token rows (f32, written; pads zero; extra rows are unsummary's) and dx (token rows, D) bf16 written. */
void loci_gpu_uncat(loci_gpu *g, float *dz, loci_bf16 *dx, const loci_bf16 *dcat,
                    const loci_bf16 *cat, const float *inv, const int32_t *token_row, int n_chunks,
                    int D, int e);
/* cls (n_chunks*2, e) bf16 = extra rows of z; bias (n_chunks) = <w, [c1 c2]> + *b. */
void loci_gpu_summary(loci_gpu *g, loci_bf16 *cls, float *bias, const float *z, const float *w,
                      const float *b, int n_chunks, int e);
/* dz extra rows = dcls + dbias w. */
void loci_gpu_unsummary(loci_gpu *g, float *dz, const loci_bf16 *dcls, const float *dbias,
                        const float *w, int n_chunks, int e);

/* x (rows, 128) f32: x[r,:64] += x[r,64:], the gradient of a vector that is key and value. */
void loci_gpu_add_halves(loci_gpu *g, float *x, int rows);

/* ---- content rows as 4-bit storage gives them back (tier.cu): `cols` as for reading ------------------ */
/* y (n) bf16 = x as kernel.h quant_q4 and dequant_q4 leave it, blocks of 32 numbers.  n a multiple of 32. */
void loci_gpu_round_q4(loci_gpu *g, loci_bf16 *y, const float *x, size_t n);
typedef struct {
    const loci_bf16
        *whole; /* (n_chunks*64, cols) rows as the encoder wrote them, zero behind tokens */
    const uint8_t *packed;   /* (n_chunks) */
    const int32_t *n_tokens; /* (n_chunks) */
    int n_chunks, cols;
} loci_gpu_tier;
/* served (n_chunks*64, cols) = rows of whole, in packed chunks rms, of each 64 numbers, of r + the chunk's
 * row of context (n_chunks, cols); r (n_chunks*64, cols), inv (n_chunks*64, cols / 64), 0 where nothing is
 * packed. */
void loci_gpu_serve(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *served, float *inv,
                    const float *r, const float *context, float eps);
/* dr (n_chunks*64, cols) = gradient of r from the first cols columns of dcontent (n_chunks*64, 128), that of
 * served, whose packed rows are then cleared; zeros elsewhere; dcontext (n_chunks, cols) = sums of dr over
 * the chunk.  t->whole is not looked at. */
void loci_gpu_unserve(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *dr, loci_bf16 *dcontext,
                      float *dcontent, const loci_bf16 *served, const float *inv);
/* loss (n_chunks*64) = |served - whole|^2 / cols of packed rows, else 0; dcontent (n_chunks*64, 128), its
 * first cols columns, += k (served - whole), or NULL. */
void loci_gpu_ageing(loci_gpu *g, const loci_gpu_tier *t, float *loss, float *dcontent,
                     const loci_bf16 *served, float k);

/* ---- pyramids (gist.cu) ------------------------------------------------------------------------------- */
/* Rows first .. first + rows - 1 of node (., cols) = mean of the 16 rows from child[r] on, which lie before
 * `first`. */
void loci_gpu_pool(loci_gpu *g, float *node, const int32_t *child, int first, int rows, int cols);
/* Those 16 += 1/16 of the row; no row has two parents. */
void loci_gpu_unpool(loci_gpu *g, float *dnode, const int32_t *child, int first, int rows,
                     int cols);
/* y (rows, cols) = x + table[level[r],:], table f32. */
void loci_gpu_add_level(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, const float *table,
                        const uint8_t *level, int rows, int cols);
/* out (n, 128) = x[row[i],:], zeros for -1. */
void loci_gpu_hand_out(loci_gpu *g, loci_bf16 *out, const loci_bf16 *x, const int32_t *row, int n);
/* out (rows, 128) = sum of x[order[i],:], i from start[r] to start[r + 1]. */
void loci_gpu_take_back(loci_gpu *g, loci_bf16 *out, const loci_bf16 *x, const int32_t *order,
                        const int32_t *start, int rows);

/* ---- head (head.cu) -------------------------------------------------------------------------------- */
/* logits (rows, vocab) f32 -> loss (rows), best (rows); dlogits (rows, vocab) bf16 or NULL = weight (softmax +
 * 2 z lse softmax - onehot); target -1: loss 0, gradient 0, best -1.
 * vocab even; logits finite. */
void loci_gpu_cross_entropy(loci_gpu *g, float *loss, int32_t *best, loci_bf16 *dlogits,
                            const float *logits, const int32_t *target, const float *weight,
                            float z, int rows, int vocab);
/* tile (rows, 512) = value of content row index[r], once a head (zeros for -1). */
void loci_gpu_spread_values(loci_gpu *g, loci_bf16 *tile, const loci_bf16 *content, int cols,
                            const int32_t *index, int rows);
/* dcontent[index[r], 64..] += sum over heads of dtile[r]; no index twice. */
void loci_gpu_collect_values(loci_gpu *g, float *dcontent, const loci_bf16 *dtile,
                             const int32_t *index, int rows);

/* ---- optimiser (optim.cu) ------------------------------------------------------------------------- */
/* *norm (double) = sqrt(sum g^2): partial (1024) doubles. */
void loci_gpu_norm(loci_gpu *g, double *norm, double *partial, const float *grad, size_t n);
typedef struct {
    float *p, *m, *v, *grad;     /* (n) f32; grad is zeroed */
    loci_bf16 *copy;             /* (n) bf16 copy of p */
    const uint8_t *decay, *muon; /* (n / 16) */
    const double *norm;
    size_t n;
    float lr, b1, b2, eps, wd, c1, c2, clip;
} loci_gpu_adamw_job;
/* As kernel.h adamw with gscale = min(1, clip / norm); a norm that is not finite leaves p, m, v alone.
 * Floats with muon set: only copied and cleared. */
void loci_gpu_adamw(loci_gpu *g, const loci_gpu_adamw_job *job);
/* Weights in 4 bits for one step (model.h loci_four_nearest): kept (n) becomes p (n), p the rounded numbers,
 * copy (n) these in bf16.  n: a multiple of 16; four (n / 16): 1 where a group of 32 starts, 2 where it
 * goes on, 0: as they are. */
void loci_gpu_round_four(loci_gpu *g, float *p, loci_bf16 *copy, float *kept, const uint8_t *four,
                         size_t n);
/* Muon (muon.c's equations) over `batch` matrices of one shape (rows, cols): offset (batch) of each in the
 * flat arrays.  x, next (batch, rows*cols), a, b (batch, k*k) bf16 scratch, k = min(rows, cols). */
typedef struct {
    float *p, *m;
    const float *grad;
    const double *norm;
    const int64_t *offset;
    loci_bf16 *x, *next, *a, *b;
    float *square; /* (batch, 64) partial sums */
    int rows, cols, batch;
    float lr, decay, clip;
} loci_gpu_muon_job;
void loci_gpu_muon(loci_gpu *g, const loci_gpu_muon_job *job);

#ifdef __cplusplus
}
#endif
#endif
