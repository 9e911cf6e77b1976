/* kv_int.c - keys and values of a window, packed for attention on integers as they come in.
 *
 * 16 keys lie side by side, two dimensions at a time, and values two at a time: what a query meets is
 * then read in order, and nothing is transposed again for every query. */
#include <string.h>
#include "kernel/kernel.h"
#include "kernel/kv_int.h"

void loci_kv_put(const loci_kv_int *kv, int at, const float *k, const float *v, int ldkv, int n,
                 int G, int d)
{
    const size_t head = (size_t)kv->cap * (size_t)d;
    int32_t q[HEAD_MAX];
    for (int i = 0; i < n; i++)
        for (int g = 0; g < G; g++) {
            const int j = at + i;
            const size_t from = (size_t)i * (size_t)ldkv + (size_t)(g * d);
            const size_t scale = (size_t)g * (size_t)kv->cap + (size_t)j;
            int16_t *to = kv->k + (size_t)g * head + (size_t)(j / KV_BLOCK * KV_BLOCK) * (size_t)d +
                          j % KV_BLOCK * 2;
            kv->k_scale[scale] = loci_round_row(q, k + from, d, KEY_MAX);
            for (int c = 0; c < d; c++) to[c / 2 * 2 * KV_BLOCK + c % 2] = (int16_t)q[c];
            to = kv->v + (size_t)g * head + (size_t)(j / 2 * 2) * (size_t)d + j % 2;
            kv->v_scale[scale] = loci_round_row(q, v + from, d, VALUE_MAX);
            for (int c = 0; c < d; c++) to[2 * c] = (int16_t)q[c];
        }
}

void loci_kv_move(const loci_kv_int *kv, int from, int n, int G, int d)
{
    /* Whole blocks: the last one may hold rows that nobody asks for. */
    const size_t rows = (size_t)((n + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK), wide = (size_t)d;
    for (int g = 0; g < G; g++) {
        const size_t head = (size_t)g * (size_t)kv->cap, at = head + (size_t)from;
        memmove(kv->k + head * wide, kv->k + at * wide, rows * wide * sizeof *kv->k);
        memmove(kv->v + head * wide, kv->v + at * wide, rows * wide * sizeof *kv->v);
        memmove(kv->k_scale + head, kv->k_scale + at, rows * sizeof *kv->k_scale);
        memmove(kv->v_scale + head, kv->v_scale + at, rows * sizeof *kv->v_scale);
    }
}
