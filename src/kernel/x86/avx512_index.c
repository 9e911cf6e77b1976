/* avx512_index.c - scores of a lightning index for AVX-512 with VNNI.
 *
 * A group's nibbles become signed bytes, twice the value, once for all heads: 16 keys by 4
 * dimensions a register, so that the products of four dimensions add up in the lane of their key
 * and nothing is ever summed across lanes.  The instruction wants its other side unsigned: queries
 * are raised by 12, and the integer sums begin at -12 times the sum of the key's block, which no
 * head changes.  Four heads by two groups are in flight: eight sums that do not wait for each other,
 * from six loads. */
#include <string.h>
#include "kernel/x86/avx512_math.h"
#include "kernel/kernel.h"

enum {
    HEADS = 4,
    GROUPS = 2,
    DIM_MAX = 1024,
    STEPS = 8,       /* a step: 4 dimensions; 8 of them share a scale */
    HEADS_ONCE = 64, /* raised together */
    RAISE = 12,      /* twice the largest value of E2M1 */
    BLOCKS_MAX = DIM_MAX / (4 * STEPS)
};

typedef struct { /* one group of keys, ready to be multiplied */
    __m512i key[DIM_MAX / 4];
    __m512i start[BLOCKS_MAX]; /* -RAISE times the sum of a block */
    __m512 scale[BLOCKS_MAX];
} wide;

typedef struct { /* the heads at hand */
    const uint8_t *q;
    const float *scale, *w;
    int dim, blocks;
} queries;

INLINE void widen(wide *k, const uint8_t *group, int dim, int blocks)
{
    const __m512i twice = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    const __m512i low = _mm512_set1_epi8(15), raise = _mm512_set1_epi8(RAISE);
    for (int i = 0; i < dim / 8; i++) {
        const __m512i b = _mm512_loadu_si512(group + 64 * i);
        k->key[2 * i] = _mm512_shuffle_epi8(twice, _mm512_and_si512(b, low));
        k->key[2 * i + 1] =
            _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(b, 4), low));
    }
    for (int b = 0; b < blocks; b++) {
        __m512i sum = _mm512_setzero_si512();
        for (int i = STEPS * b; i < dim / 4 && i < STEPS * (b + 1); i++)
            sum = _mm512_dpbusd_epi32(sum, raise, k->key[i]);
        k->start[b] = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
        /* The bits of a power of two, and a quarter for the two doublings. */
        const __m512i byte =
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(group + 8 * dim + 16 * b)));
        k->scale[b] =
            _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(byte, 23)), _mm512_set1_ps(0.25f));
    }
}

INLINE __m512i four_of(const uint8_t *q)
{
    int32_t v;
    memcpy(&v, q, 4);
    return _mm512_set1_epi32(v);
}

/* sum[h, g] += dots of block b of M heads with the keys of G groups. */
INLINE void block(const int M, const int G, __m512 *sum, const wide *k, const queries *q, int h0,
                  int b, int steps)
{
    const uint8_t *q_b = q->q + (size_t)h0 * q->dim + 4 * STEPS * b;
    __m512i acc[HEADS * GROUPS];
    UNROLL for (int h = 0; h < M; h++) UNROLL for (int g = 0; g < G; g++) acc[h * G + g] =
        k[g].start[b];
    for (int i = 0; i < steps; i++) {
        __m512i key[GROUPS];
        UNROLL for (int g = 0; g < G; g++) key[g] = k[g].key[STEPS * b + i];
        UNROLL for (int h = 0; h < M; h++)
        {
            const __m512i q_i = four_of(q_b + (size_t)h * q->dim + 4 * i);
            UNROLL for (int g = 0; g < G; g++) acc[h * G + g] =
                _mm512_dpbusd_epi32(acc[h * G + g], q_i, key[g]);
        }
    }
    UNROLL for (int h = 0; h < M; h++)
    {
        const __m512 q_scale = _mm512_set1_ps(q->scale[(h0 + h) * q->blocks + b]);
        UNROLL for (int g = 0; g < G; g++)
        {
            const __m512 unit = _mm512_mul_ps(k[g].scale[b], q_scale);
            sum[h * G + g] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[h * G + g]), unit, sum[h * G + g]);
        }
    }
}

INLINE void some_heads(const int M, const int G, __m512 *score, const wide *k, const queries *q,
                       int h0)
{
    __m512 sum[HEADS * GROUPS];
    UNROLL for (int i = 0; i < M * G; i++) sum[i] = _mm512_setzero_ps();
    for (int b = 0; b < q->blocks; b++) {
        const int left = q->dim / 4 - STEPS * b;
        if (left >= STEPS) /* a constant count unrolls */
            block(M, G, sum, k, q, h0, b, STEPS);
        else
            block(M, G, sum, k, q, h0, b, left);
    }
    UNROLL for (int h = 0; h < M; h++) UNROLL for (int g = 0; g < G; g++) score[g] =
        _mm512_fmadd_ps(_mm512_set1_ps(q->w[h0 + h]),
                        _mm512_max_ps(sum[h * G + g], _mm512_setzero_ps()), score[g]);
}

/* The scores of G groups go on from what `score` holds. */
INLINE void some_groups(const int G, float *score, wide *k, const uint8_t *keys, const queries *q,
                        int heads)
{
    __m512 sum[GROUPS];
    const size_t bytes = (size_t)(8 * q->dim + 16 * q->blocks);
    int h = 0;
    UNROLL for (int g = 0; g < G; g++)
    {
        widen(&k[g], keys + (size_t)g * bytes, q->dim, q->blocks);
        sum[g] = _mm512_loadu_ps(score + 16 * g);
    }
    for (; h + HEADS <= heads; h += HEADS) some_heads(HEADS, G, sum, k, q, h);
    for (; h < heads; h++) some_heads(1, G, sum, k, q, h);
    UNROLL for (int g = 0; g < G; g++) _mm512_storeu_ps(score + 16 * g, sum[g]);
}

void loci_index_scores_avx512(float *score, const int8_t *q, const float *q_scale, const float *w,
                              const uint8_t *keys, int heads, int dim, int n_groups)
{
    uint8_t raised[HEADS_ONCE * DIM_MAX];
    wide k[GROUPS];
    const int blocks = (dim + 31) / 32;
    const size_t bytes = (size_t)(8 * dim + 16 * blocks);
    if (n_groups > 0) memset(score, 0, 16 * (size_t)n_groups * sizeof *score);
    for (int h0 = 0; h0 < heads; h0 += HEADS_ONCE) {
        const int M = heads - h0 < HEADS_ONCE ? heads - h0 : HEADS_ONCE;
        const queries some = { raised, q_scale + (size_t)h0 * blocks, w + h0, dim, blocks };
        const int8_t *from = q + (size_t)h0 * dim;
        for (int i = 0; i < M * dim; i++) raised[i] = (uint8_t)(from[i] + RAISE);
        int g = 0;
        for (; g + GROUPS <= n_groups; g += GROUPS) {
            some_groups(GROUPS, score + 16 * (size_t)g, k, keys + (size_t)g * bytes, &some, M);
        }
        for (; g < n_groups; g++)
            some_groups(1, score + 16 * (size_t)g, k, keys + (size_t)g * bytes, &some, M);
    }
}
