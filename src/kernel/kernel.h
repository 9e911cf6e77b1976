/* kernel.h - the arithmetic, one contract a family, several implementations.
 *
 * Kernels are pure: pointers, integers and floats in, numbers out; no allocation, no
 * threads, no globals, no model structs.  Every family has a scalar reference (`ref`)
 * that accumulates in double and is never optimised; SIMD answers to it.  The list
 * kernels.inc makes prototypes here, choices in dispatch.c, tests in
 * tests/kernel/test_kernels.c and `loci bench kernels`.  A call takes 256 KB of stack at most.
 * exp and ln are within 4e-7 (relative) of the truth; sums of n terms within n roundings.
 *
 * Matrices are row-major f32 unless said otherwise; ld* = elements between rows.
 * Sizes may be 0 unless said otherwise.  Inputs and outputs do not overlap unless said.
 * "+=" outputs accumulate: the caller clears them. */
#ifndef LOCI_KERNEL_H
#define LOCI_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* ---- dense products ----------------------------------------------------------
 * gemm: C(m,n) = op(A)(m,k) op(B)(k,n) + beta C.  ta: A is stored (k,m); tb: B is stored
 * (n,k).  beta is 0 (C is not read) or 1.  Error bound: (k+1) 2^-23 (sum |a||b| + |beta c|)
 * per element.
 * A weight is stored (out, in) as in a checkpoint: y = x W^T is tb = 1. */
typedef void loci_gemm_fn(float *c, int ldc, const float *a, int lda, int ta, const float *b,
                          int ldb, int tb, int m, int n, int k, float beta);
/* y(m,n) = x(m,k) W^T, W (n,k) bf16.  x is used in f32 (not rounded to bf16).  Same bound. */
typedef void loci_gemm_bf16_fn(float *y, int ldy, const float *x, int ldx, const uint16_t *w,
                               int ldw, int m, int n, int k);
/* y(m,n) = (x W^T) * scale[n], W (n,k) int8, one f32 scale a row.  x in f32.  Same bound. */
typedef void loci_gemm_q8_fn(float *y, int ldy, const float *x, int ldx, const int8_t *w, int ldw,
                             const float *scale, int m, int n, int k);
/* One row: y(n) = W(n,k) x(k). The same numbers as the gemm family to its bound. */
typedef void loci_gemv_fn(float *y, const float *w, int ldw, const float *x, int n, int k);
typedef void loci_gemv_bf16_fn(float *y, const uint16_t *w, int ldw, const float *x, int n, int k);
typedef void loci_gemv_q8_fn(float *y, const int8_t *w, int ldw, const float *scale, const float *x,
                             int n, int k);

/* ---- rows of vectors ------------------------------------------------------------
 * rmsnorm: y[r,:] = x[r,:] / sqrt(mean(x[r,:]^2) + eps); no gain.  y may equal x; inv (rows)
 * receives 1/sqrt(...), may be NULL.  cols >= 1. */
typedef void loci_rmsnorm_fn(float *y, int ldy, float *inv, const float *x, int ldx, int rows,
                             int cols, float eps);
/* dx[r,:] += inv (dy - y <dy,y>/cols): from the saved output y and inv. */
typedef void loci_rmsnorm_bwd_fn(float *dx, int lddx, const float *dy, int lddy, const float *y,
                                 int ldy, const float *inv, int rows, int cols);
/* Rotate pairs (2i, 2i+1) of each head in place by angle pos[r] * base^(-2i/dim):
 * x (rows, heads*dim), cos/sin tables (n_pos, dim/2) at row pos[r].  dir +1 forward, -1 the
 * inverse, which is also the backward pass. */
typedef void loci_rope_fn(float *x, int ldx, const int32_t *pos, const float *cos_table,
                          const float *sin_table, int rows, int heads, int dim, int dir);
/* y[r,i] = silu(gu[r,i]) * gu[r,n+i]; gu (rows, 2n). silu(a) = a / (1 + exp(-a)). Absolute error
 * <= 4e-6 (|y| + 1). */
typedef void loci_swiglu_fn(float *y, int ldy, const float *gu, int ldg, int rows, int n);
typedef void loci_swiglu_bwd_fn(float *dgu, int lddg, const float *dy, int lddy, const float *gu,
                                int ldg, int rows, int n);     /* dgu is written, not added to */
typedef void loci_silu_fn(float *y, const float *x, size_t n); /* y may equal x */
/* dx is written and may equal dy. */
typedef void loci_silu_bwd_fn(float *dx, const float *dy, const float *x, size_t n);
typedef void loci_softmax_fn(float *y, int ldy, float *lse, const float *x, int ldx, int rows,
                             int cols); /* y may equal x; lse (rows) or NULL; cols >= 1 */
typedef void loci_axpy_fn(float *y, const float *x, float a, size_t n); /* y += a x */
/* sum a b; SIMD sums in f32 lanes, error <= (n+1) 2^-24 sum |ab|. */
typedef double loci_dot_fn(const float *a, const float *b, size_t n);

/* Mean-free cross-entropy of one batch of rows: loss[r] = lse(logits[r,:]) - logits[r,target[r]];
 * if weight is given, logits becomes dlogits = weight[r] (softmax + 2 z lse softmax - onehot):
 * the gradient of weight (loss + z lse^2).  target -1 skips the row (loss 0, gradient 0).
 * best[r] = argmax (lowest index on ties), may be NULL; z >= 0 (log-sum-exp penalty). */
typedef void loci_cross_entropy_fn(float *loss, int32_t *best, float *logits, int ldl,
                                   const int32_t *target, const float *weight, float z, int rows,
                                   int cols);

/* AdamW on n elements: g is scaled by gscale first.  m = b1 m + (1-b1) g; v likewise g^2;
 * p -= lr ( (m/c1) / (sqrt(v/c2) + eps) + wd p ).  c1 = 1-b1^t, c2 = 1-b2^t from the caller. */
typedef struct {
    float lr, b1, b2, eps, wd, c1, c2, gscale;
} loci_adamw_args;
typedef void loci_adamw_fn(float *p, float *m, float *v, const float *g, size_t n,
                           const loci_adamw_args *args);

/* ---- attention ---------------------------------------------------------------------
 * Causal window attention of one document.  Query t (0 <= t < T) sees key rows
 * max(0, t + past - W + 1) .. t + past of k and v, which have past + T rows.
 *   q, o (T, H*d)   k, v (past+T, G*d)   lse (T, H) or NULL   H multiple of G, d <= 128
 * scale multiplies q.k. Any W >= 1. */
typedef void loci_window_attn_fn(float *o, int ldo, float *lse, const float *q, int ldq,
                                 const float *k, const float *v, int ldkv, int T, int past, int H,
                                 int G, int d, int W, float scale);
/* Gradients (+=) of the same with past = 0; o and lse as saved by the forward pass. */
typedef void loci_window_attn_bwd_fn(float *dq, int lddq, float *dk, float *dv, int lddkv,
                                     const float *dout, int lddo, const float *q, int ldq,
                                     const float *k, const float *v, int ldkv, const float *o,
                                     int ldo, const float *lse, int T, int H, int G, int d, int W,
                                     float scale);

/* Keys and values of a layer as whole numbers, packed as rows come in (kv_int.c): cap rows, a multiple
 * of 16, of G heads.  k = k_scale q with |q| <= 4095, v = v_scale q with |q| <= 127.
 *   k (G, cap/16, d/2, 16, 2): key j, dimension c at [j/16][c/2][j%16][c%2]
 *   v (G, cap/2, d, 2): value j at [j/2][c][j%2]          scales (G, cap)
 * Rows that were not written yet hold finite numbers. */
typedef struct {
    int16_t *k, *v;
    float *k_scale, *v_scale;
    int cap;
} loci_kv_int;
/* Rows [at, at + n) = k, v (n, G*d).  d a multiple of 32, <= 128. */
void loci_kv_put(const loci_kv_int *kv, int at, const float *k, const float *v, int ldkv, int n,
                 int G, int d);
/* Move rows [from, from + n) to the front; from a multiple of 16. */
void loci_kv_move(const loci_kv_int *kv, int from, int n, int G, int d);

/* Window attention as above, of integers.  Query t, head h, keys j of its window:
 *   s_j = dot(q, k_j) k_scale[j] (sq scale)        q = sq times whole numbers up to 4095
 *   e_j = exp(s_j - max s),  p_j = e_j v_scale[j],  P = max p
 *   o = P/16383 sum_j round(p_j 16383/P) v_j / (2^-20 sum_j round(2^20 e_j))
 * All sums run over integers: a row of o has the same bits whatever T and past are.
 * d a multiple of 32, <= 128; W <= 1024; key rows 0 .. past + T of kv, past + T <= cap. */
enum { LOCI_WINDOW_INT_MAX = 1024 };
typedef void loci_window_attn_int_fn(float *o, int ldo, const float *q, int ldq,
                                     const loci_kv_int *kv, int T, int past, int H, int G, int d,
                                     int W, float scale);

/* Attention of many query rows over one chunk of keys, without a mask:
 *   s[r,j] = scale <q[r,:], k[j,:]>;  lse[r] = log sum_j exp s[r,j];  p = exp(s - lse)
 *   o[r,:] += w[r] sum_j p[r,j] v[j,:]        (w NULL: 1; also in the backward pass)
 *   q (rows, d_k)  k (n, d_k)  v (n, d_v)  o (rows, d_v)   1 <= n <= 128, d_k, d_v <= 128
 * o NULL: only lse, v is not read; lse may be NULL.  Partial results of chunks combine by weights
 * exp(lse_c) / sum. */
typedef void loci_chunk_attn_fn(float *o, int ldo, float *lse, const float *q, int ldq,
                                const float *k, int ldk, const float *v, int ldv, const float *w,
                                int rows, int n, int d_k, int d_v, float scale);
/* Backward of o += w sum p v with lse given.  P = w p; dp[r,j] = <dout[r,:], v[j,:]>;
 *   dw[r] = sum_j p dp (written);  dv[j] += P dout;  ds = P (dp - D[r]) with D = dw when
 *   delta is NULL (w does not depend on s) or delta[r] (dense attention over all chunks, where
 *   w = exp(lse - lse_total) and delta = <dout, o_total>);  dq += scale ds k; dk += scale ds q. */
typedef void loci_chunk_attn_bwd_fn(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                                    float *dw, const float *dout, int lddo, const float *q, int ldq,
                                    const float *k, int ldk, const float *v, int ldv,
                                    const float *lse, const float *w, const float *delta, int rows,
                                    int n, int d_k, int d_v, float scale);

/* ---- router ---------------------------------------------------------------------------
 * Scores of one query against chunks with M landmarks each, and the K best of them:
 *   s_c = tau max_m <u, l[c,m,:]> + bias[c]
 * best holds `have` entries sorted by score, best first (ties: lower index first); the call merges
 * chunks [0, n) with index base + c into it and returns the new count (<= K).  Stream any
 * number of blocks through it.  lm (n, M, d) f32.  d <= 512, M >= 1.
 * A NaN score is never taken. */
typedef struct {
    float score;
    int32_t index;
} loci_scored;
typedef int loci_landmark_topk_fn(loci_scored *best, int have, int K, const float *u,
                                  const float *lm, const float *bias, float tau, int M, int d,
                                  int n, int32_t base);
/* The query of a search among int8 landmarks: u / unit, rounded to whole numbers of 15 bits.  A u that
 * is zero or not finite gives zeros.  d <= 512: a dot product with int8 fits 31 bits. */
enum { LOCI_QUERY_MAX = 16383, LOCI_QUERY_COLS = 512 };
typedef struct {
    int16_t q[LOCI_QUERY_COLS]; /* (d) */
    float unit;
} loci_query_i16;
void loci_query_round(loci_query_i16 *q, const float *u, int d); /* pack.c */
/* The same for int8 landmarks with one scale each (n, M), only for the listed chunks:
 * list (n_list) indices into lm/scale/bias, result index base + list[i].  list NULL: chunks
 * 0 .. n_list-1.
 *   s_c = (tau unit) max_m ((float)<q, l[c,m,:]> scale[c,m]) + bias[c]
 * Dot products are exact and each operation on floats is rounded once, in this order: the same bits in
 * every variant.  Off from the first form by at most tau unit/2 scale sum |l|, and the rounding. */
typedef int loci_landmark_topk_q8_fn(loci_scored *best, int have, int K, const loci_query_i16 *u,
                                     const int8_t *lm, const float *scale, const float *bias,
                                     float tau, int M, int d, const int32_t *list, int n_list,
                                     int32_t base);
/* Hamming distances of chunks to one query: dist[c] = min over M codes of popcount(code ^ query).
 * code (n, M, 2) u64, query (2) u64, dist (n) u8 (0..128). */
typedef void loci_hamming_fn(uint8_t *dist, const uint64_t *code, const uint64_t *query, int M,
                             int n);

/* Scores of a lightning index: score[j] = sum_h w[h] max(0, <q_h, k_j>) for 16 n_groups keys.
 *   q (heads, dim) int8: twice the values of E2M1 codes; q_scale (heads, ceil(dim/32))
 *   a group of 16 keys: dim/8 rows of 64 bytes, byte 4k+c of row i holding dimension 8i+c of key k in
 *   its low nibble and 8i+4+c in the high one (E2M1 codes); then ceil(dim/32) rows of 16 E8M0 scales,
 *   1..254 each.  Dimension c of either side is scaled by scale c/32.
 * dim a multiple of 8; heads and dim <= 1024.  Dot products within 32 dimensions are exact; error
 * bound: (heads + dim/32 + 4) 2^-23 sum_h |w[h]| sum_b |dot of 32|.  The bits of a score do not depend
 * on the other keys of the call. */
typedef void loci_index_scores_fn(float *score, const int8_t *q, const float *q_scale,
                                  const float *w, const uint8_t *keys, int heads, int dim,
                                  int n_groups);

/* ---- numbers --------------------------------------------------------------------------
 * Rows to int8: scale[r] = max|x| / 127 (0 for a zero row), q = round-to-nearest-even(x / scale). */
typedef void loci_quant_q8_fn(int8_t *q, int ldq, float *scale, const float *x, int ldx, int rows,
                              int cols);
typedef void loci_dequant_q8_fn(float *x, int ldx, const int8_t *q, int ldq, const float *scale,
                                int rows, int cols);

/* ---- stored matrices of many types -------------------------------------------------------
 * A weight as a file holds it, read in place: numbers narrower than f32, with scales a block.
 * In brackets: elements and bytes of a block; cols must be a multiple of the elements.
 *   F32, BF16, F16 [1]   the value itself
 *   E4M3 [1, 1]    code * scale[r/128, c/128]
 *   E2M1 [32, 16]  code * scale[r, c/32]; element 2j in the low nibble of byte j, 2j+1 in the high
 *   Q8_0 [32, 34]  d f16, q int8: d q
 *   Q4_K [256, 144]  d f16, dmin f16, 12 bytes: eight 6-bit scales s and eight minima m, 128 bytes:
 *                  q of 4 bits, in pairs of 32 (low nibbles first): d s q - dmin m
 *   Q2_K [256, 84]  16 bytes: s in the low nibble, m in the high one, one a 16 elements; 64 bytes:
 *                  q of 2 bits, in fours of 32; d f16, dmin f16: d s q - dmin m
 *   MXFP4 [32, 17] e E8M0, 16 bytes: element j in the low nibble of byte j, j+16 in the high one
 * number.h says what a code means. */
#define LOCI_STORED_LIST(X)                                                                        \
    X(F32, f32, 1, 4)                                                                              \
    X(BF16, bf16, 1, 2)                                                                            \
    X(F16, f16, 1, 2)                                                                              \
    X(E4M3, e4m3, 1, 1)                                                                            \
    X(E2M1, e2m1, 32, 16)                                                                          \
    X(Q8_0, q8_0, 32, 34)                                                                          \
    X(Q4_K, q4_k, 256, 144)                                                                        \
    X(Q2_K, q2_k, 256, 84)                                                                         \
    X(MXFP4, mxfp4, 32, 17)

typedef enum {
#define X(NAME, name, elements, bytes) LOCI_STORED_##NAME,
    LOCI_STORED_LIST(X)
#undef X
        LOCI_STORED_TYPES
} loci_stored_type;

enum { LOCI_SCALE_TILE = 128 }; /* rows and columns that share a scale of E4M3 */

/* A stored matrix (rows, cols): a row is one output, as in a checkpoint.  Borrowed. */
typedef struct {
    const void *data;
    const uint8_t *scale; /* E4M3, E2M1: E8M0 bytes as above, row-major; NULL: all 1 */
    size_t row_bytes;     /* from a row to the next; loci_stored_row_bytes where they touch */
    int rows, cols;
    loci_stored_type type;
} loci_stored;

const char *loci_stored_name(loci_stored_type t);           /* "E4M3", ... */
int loci_stored_block(loci_stored_type t);                  /* elements of a block */
size_t loci_stored_row_bytes(loci_stored_type t, int cols); /* 0: not whole blocks */
/* x(cols) = the values of row r, each rounded to f32 once. */
void loci_stored_row(float *x, const loci_stored *w, int r);

/* linear: y(m,n) = x(m,k) W[first .. first+n, :]^T, k = w->cols, one family a type, all with this
 * contract.  sx (m, ceil(k/128)) or NULL: x[i,c] stands for x[i,c] * sx[i, c/128] (quant_a8 gives
 * such a pair).  A row of y has the same bits whatever m, first and n are.
 * Order of the reference: within 128 columns (E2M1: 32), the dot product of x and codes, rounded to
 * f32; times (sx * scale); added to an f32 sum.  The other types take 128 columns of values.
 * Others may order the sum within 128 columns differently.  Error bound: (k+1) 2^-23 sum |x||w| per
 * element, unless |w| sx or a product leaves the normal numbers of f32. */
typedef void loci_linear_stored_fn(float *y, int ldy, const float *x, int ldx, const float *sx,
                                   int ldsx, const loci_stored *w, int first, int m, int n);
#define X(NAME, name, elements, bytes) typedef loci_linear_stored_fn loci_linear_##name##_fn;
LOCI_STORED_LIST(X)
#undef X

/* Quantise rows block by block (the last one may be short), 1 <= block <= 128:
 *   a8: s = pow2ceil(max(max|x|, 1e-4) * (1/448)), q = E4M3(x / s)
 *   a4: s = pow2ceil(max(max|x|, 6 * 2^-126) * (1/6)), q = E2M1(x / s)
 * with 1/448 and 1/6 as f32.  q receives the values of the codes, as f32, and scale
 * (ceil(cols/block)) a row; with scale NULL q receives q * s: x as the quantiser leaves it.  q may
 * equal x.  The same bits in every variant.  A block with NaN or infinity gives NaN. */
typedef void loci_quant_block_fn(float *q, int ldq, float *scale, int lds, const float *x, int ldx,
                                 int rows, int cols, int block);
typedef loci_quant_block_fn loci_quant_a8_fn, loci_quant_a4_fn;

/* The values that the quantisers gave as codes: E4M3 a byte each, E2M1 two a byte with the first in
 * the low nibble (n even).  Scales are powers of two; scale (n) to E8M0 bytes. */
void loci_pack_e4m3(uint8_t *code, const float *q, int n);
void loci_pack_e2m1(uint8_t *code, const float *q, int n);
void loci_pack_e8m0(uint8_t *byte, const float *scale, int n);

/* Rows to 4 bits a number in blocks of 32 columns; cols is a multiple of 32:
 *   scale = f16(max|x| / 7), at most 65504      q = round-to-nearest-even(x / scale), -7 .. 7
 * q is 0 where the scale is.  Two numbers a byte, q + 8 each, the earlier one in the low four bits.
 *   q (rows, cols / 2)   scale (rows, cols / 32) halves */
typedef void loci_quant_q4_fn(uint8_t *q, int ldq, uint16_t *scale, int lds, const float *x,
                              int ldx, int rows, int cols);
/* x = q scale */
typedef void loci_dequant_q4_fn(float *x, int ldx, const uint8_t *q, int ldq, const uint16_t *scale,
                                int lds, int rows, int cols);

/* ---- integer products -----------------------------------------------------------------------
 * Weights packed once for products with int8 rows.  One layout serves every instruction set: panels
 * of 16 rows, in which 4 columns of 16 rows lie side by side and the next 4 columns behind them:
 *   w8: byte 4r+c of step s holds W[16p + r, 4s + c], int8; ceil(cols/4) steps of 64 bytes
 *   w4: byte 4r+c of step s holds W[16p + r, 8s + c] + 8 in its low nibble, W[16p + r, 8s + 4 + c] + 8
 *       in the high one; cols is a multiple of 32, every 32 columns of a row share a scale
 * Rows and columns behind the matrix are zero. */
enum { LOCI_PANEL = 16, LOCI_W4_GROUP = 32 };
typedef struct {
    const int8_t *data;
    const float *scale; /* (rows, up to whole panels) */
    const int32_t *sum; /* (the same) sum of a row's numbers */
    int rows, cols;
} loci_w8;
typedef struct {
    const uint8_t *data;
    const uint16_t *scale; /* (panels, cols/32, 16) halves */
    int rows, cols;
} loci_w4;

/* y(m,n) = x W[first .. first+n, :]^T; add: it is added to y.  first is a multiple of 16.
 *   x (m, cols) int8 without -128, ldx >= cols rounded up to 4, and zero in that end; sx (m) its scales
 *   w8a8: y = (float)dot * scale[j] * sx[i]
 *   w4a8: y = (sum over groups, first to last, of fma((float)dot, scale[j,g], sum)) * sx[i]
 * Dots of integers are exact and each operation on floats is rounded once, in this order: every
 * variant gives the same bits, whatever m, first and n.  cols <= 65536. */
typedef void loci_gemm_w8a8_fn(float *y, int ldy, const int8_t *x, int ldx, const float *sx,
                               const loci_w8 *w, int first, int m, int n, int add);
typedef void loci_gemm_w4a8_fn(float *y, int ldy, const int8_t *x, int ldx, const float *sx,
                               const loci_w4 *w, int first, int m, int n, int add);

/* pack.c: bytes of data, and filling it, scales and sums included, from row-major W (rows, cols).
 * w8: q as quant_q8 gives it, scale (rows).  w4: q (rows, cols/2) and scale (rows, cols/32) as
 * quant_q4. */
size_t loci_w8_bytes(int rows, int cols);
void loci_w8_pack(int8_t *data, float *scale_to, int32_t *sum, const int8_t *q, const float *scale,
                  int rows, int cols);
size_t loci_w4_bytes(int rows, int cols);
void loci_w4_pack(uint8_t *data, uint16_t *scale_to, const uint8_t *q, const uint16_t *scale,
                  int rows, int cols);
static inline int loci_panels(int rows)
{
    return (rows + LOCI_PANEL - 1) / LOCI_PANEL;
}

/* ---- the table ----------------------------------------------------------------------------
 * families.inc: LOCI_FAMILY(name) once a family; kernels.inc: LOCI_KERNEL(name, isa, flags) once
 * an implementation, slowest first. */
#define LOCI_KERNEL(family, isa, flags) extern loci_##family##_fn loci_##family##_##isa;
#include "kernels.inc"
#undef LOCI_KERNEL

typedef struct {
#define LOCI_FAMILY(family) loci_##family##_fn *family;
#include "families.inc"
#undef LOCI_FAMILY
} loci_kernels;

/* Choose per family the last listed implementation whose flags are all in cpu_flags
 * (LOCI_CPU_* of base.h). */
void loci_kernels_init(loci_kernels *k, unsigned cpu_flags);

/* The linear family of w's type. */
void loci_linear_stored(const loci_kernels *k, float *y, int ldy, const float *x, int ldx,
                        const float *sx, int ldsx, const loci_stored *w, int first, int m, int n);

/* The list at run time, for `bench kernels` and version. */
typedef struct {
    const char *family, *isa;
    unsigned flags;
} loci_kernel_info;
int loci_kernel_count(void);
const loci_kernel_info *loci_kernel_at(int i); /* static storage; NULL outside 0 .. count-1 */

/* ---- measuring (bench.c) ----------------------------------------------------------------------
 * Each family has a few sizes of training, ingest and decoding.  Name of size i_size of listed
 * implementation i, NULL behind the last one or for no such i. */
const char *loci_kernel_bench_size(int i, int i_size);

/* What one call takes, and what it has to do: operations counted as the equations stand (multiply
 * and add apart), bytes of inputs and outputs touched once. */
typedef struct {
    double seconds, flops, bytes;
} loci_kernel_time;

enum { LOCI_BENCH_FLOATS = 8 << 20 }; /* scratch of one measurement: 32 MiB */

/* Time listed implementation i at size i_size on the calling thread: the best of batches that run
 * for `seconds` in all (at least two).  scratch: LOCI_BENCH_FLOATS floats, overwritten.  The
 * processor must have the flags of the implementation; i and i_size as above. */
loci_kernel_time loci_kernel_bench(int i, int i_size, double seconds, float *scratch);

#endif
