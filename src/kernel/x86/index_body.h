/* index_body.h - scores of a lightning index, in the words of avx*_math.h and a few more.
 *
 * A group's nibbles become signed bytes, twice the value, once for all heads: VL keys by 4
 * dimensions a register, so that the products of four dimensions add up in the lane of their key
 * and nothing is ever summed across lanes.  The instructions want their other side unsigned: queries
 * are raised by 12, and the integer sums begin at -12 times the sum of the key's block, which no
 * head changes.  HEADS heads by REGS registers of keys are in flight: sums that do not wait for each
 * other, from few loads.
 * The file that includes this gives LOCI_ISA(family), HEADS, GROUPS (of keys at once) and on VL keys
 *   vi, i_zero, i_negative(vi), i_quad(p): four bytes in every lane, i_set8(byte), i_mac(acc, u, s):
 *   acc + products of unsigned and signed bytes, f_sums(acc): the sums of the lanes,
 *   i_codes(low, high, p): twice the values of 4 VL pairs of codes, f_quarter_scales(p). */
#include <string.h>
#include "kernel/kernel.h"

enum {
    REGS = 16 * GROUPS / VL,
    DIM_MAX = 1024,
    STEPS = 8,       /* a step: 4 dimensions; 8 of them share a scale */
    HEADS_ONCE = 64, /* raised together */
    RAISE = 12,      /* twice the largest value of E2M1 */
    BLOCKS_MAX = DIM_MAX / (4 * STEPS)
};

typedef struct { /* VL keys, ready to be multiplied */
    vi key[DIM_MAX / 4];
    vi start[BLOCKS_MAX]; /* -RAISE times the sum of a block */
    vf scale[BLOCKS_MAX]; /* a quarter for the two doublings */
} wide;

typedef struct { /* the heads at hand */
    const uint8_t *q;
    const float *scale, *w;
    int dim, blocks;
} queries;

/* Keys VL part .. of a group. */
INLINE void widen(wide *k, const uint8_t *group, int part, int dim, int blocks)
{
    for (int i = 0; i < dim / 8; i++)
        i_codes(&k->key[2 * i], &k->key[2 * i + 1], group + 64 * i + 4 * VL * part);
    for (int b = 0; b < blocks; b++) {
        vi sum = i_zero();
        for (int i = STEPS * b; i < dim / 4 && i < STEPS * (b + 1); i++)
            sum = i_mac(sum, i_set8(RAISE), k->key[i]);
        k->start[b] = i_negative(sum);
        k->scale[b] = f_quarter_scales(group + 8 * dim + 16 * b + VL * part);
    }
}

/* sum[h, r] += dots of block b of M heads with the keys of R registers. */
INLINE void block(const int M, const int R, vf *sum, const wide *k, const queries *q, int h0, int b,
                  int steps)
{
    const uint8_t *q_b = q->q + (size_t)h0 * q->dim + 4 * STEPS * b;
    vi acc[HEADS * REGS];
    UNROLL for (int h = 0; h < M; h++) UNROLL for (int r = 0; r < R; r++) acc[h * R + r] =
        k[r].start[b];
    for (int i = 0; i < steps; i++) {
        vi key[REGS];
        UNROLL for (int r = 0; r < R; r++) key[r] = k[r].key[STEPS * b + i];
        UNROLL for (int h = 0; h < M; h++)
        {
            const vi q_i = i_quad(q_b + (size_t)h * q->dim + 4 * i);
            UNROLL for (int r = 0; r < R; r++) acc[h * R + r] = i_mac(acc[h * R + r], q_i, key[r]);
        }
    }
    UNROLL for (int h = 0; h < M; h++)
    {
        const vf q_scale = v_set(q->scale[(h0 + h) * q->blocks + b]);
        UNROLL for (int r = 0; r < R; r++)
        {
            const vf unit = v_mul(k[r].scale[b], q_scale);
            sum[h * R + r] = v_fma(f_sums(acc[h * R + r]), unit, sum[h * R + r]);
        }
    }
}

INLINE void some_heads(const int M, const int R, vf *score, const wide *k, const queries *q, int h0)
{
    vf sum[HEADS * REGS];
    UNROLL for (int i = 0; i < M * R; i++) sum[i] = v_zero();
    for (int b = 0; b < q->blocks; b++) {
        const int left = q->dim / 4 - STEPS * b;
        if (left >= STEPS) /* a constant count unrolls */
            block(M, R, sum, k, q, h0, b, STEPS);
        else
            block(M, R, sum, k, q, h0, b, left);
    }
    UNROLL for (int h = 0; h < M; h++) UNROLL for (int r = 0; r < R; r++) score[r] =
        v_fma(v_set(q->w[h0 + h]), v_max(sum[h * R + r], v_zero()), score[r]);
}

/* The scores of G groups go on from what `score` holds. */
INLINE void some_groups(const int G, float *score, wide *k, const uint8_t *keys, const queries *q,
                        int heads)
{
    vf sum[REGS];
    const int parts = 16 / VL, R = G * parts;
    const size_t bytes = (size_t)(8 * q->dim + 16 * q->blocks);
    int h = 0;
    UNROLL for (int r = 0; r < R; r++)
    {
        widen(&k[r], keys + (size_t)(r / parts) * bytes, r % parts, q->dim, q->blocks);
        sum[r] = v_load(score + VL * r);
    }
    for (; h + HEADS <= heads; h += HEADS) some_heads(HEADS, R, sum, k, q, h);
    for (; h < heads; h++) some_heads(1, R, sum, k, q, h);
    UNROLL for (int r = 0; r < R; r++) v_store(score + VL * r, sum[r]);
}

void LOCI_ISA(index_scores)(float *score, const int8_t *q, const float *q_scale, const float *w,
                            const uint8_t *keys, int heads, int dim, int n_groups)
{
    uint8_t raised[HEADS_ONCE * DIM_MAX];
    wide k[REGS];
    const int blocks = (dim + 31) / 32;
    const size_t bytes = (size_t)(8 * dim + 16 * blocks);
    if (n_groups > 0) memset(score, 0, 16 * (size_t)n_groups * sizeof *score);
    for (int h0 = 0; h0 < heads; h0 += HEADS_ONCE) {
        const int M = heads - h0 < HEADS_ONCE ? heads - h0 : HEADS_ONCE;
        const queries some = { raised, q_scale + (size_t)h0 * blocks, w + h0, dim, blocks };
        const int8_t *from = q + (size_t)h0 * dim;
        for (int i = 0; i < M * dim; i++) raised[i] = (uint8_t)(from[i] + RAISE);
        int g = 0;
        for (; g + GROUPS <= n_groups; g += GROUPS)
            some_groups(GROUPS, score + 16 * (size_t)g, k, keys + (size_t)g * bytes, &some, M);
        for (; GROUPS > 1 && g < n_groups; g++)
            some_groups(1, score + 16 * (size_t)g, k, keys + (size_t)g * bytes, &some, M);
    }
}
