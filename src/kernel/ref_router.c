/* ref_router.c - scores of chunks and the best of them, Hamming distances; stated plainly. */
#include <math.h>
#include "kernel/topk.h"

int loci_landmark_topk_ref(loci_scored *best, int have, int K, const float *u, const float *lm,
                           const float *bias, float tau, int M, int d, int n, int32_t base)
{
    for (int c = 0; c < n; c++) {
        double max = -INFINITY;
        for (int m = 0; m < M; m++) {
            const float *l = lm + ((size_t)c * (size_t)M + (size_t)m) * (size_t)d; /* lm[c,m,:] */
            double sum = 0.0;
            for (int i = 0; i < d; i++) sum += (double)u[i] * l[i];
            max = fmax(max, sum);
        }
        const loci_scored x = { (float)(tau * max + bias[c]), base + c };
        have = topk_insert(best, have, K, x);
    }
    return have;
}

int loci_landmark_topk_q8_ref(loci_scored *best, int have, int K, const loci_query_i16 *u,
                              const int8_t *lm, const float *scale, const float *bias, float tau,
                              int M, int d, const int32_t *list, int n_list, int32_t base)
{
    const float factor = tau * u->unit;
    for (int i_list = 0; i_list < n_list; i_list++) {
        const int32_t c = list ? list[i_list] : i_list;
        float max = -INFINITY;
        for (int m = 0; m < M; m++) {
            const size_t row = (size_t)c * (size_t)M + (size_t)m;
            const int8_t *l = lm + row * (size_t)d; /* lm[c,m,:] */
            int32_t dot = 0;
            for (int i = 0; i < d; i++) dot += u->q[i] * l[i];
            const float x = (float)dot * scale[row];
            max = x > max ? x : max;
        }
        have = topk_insert(best, have, K, (loci_scored){ max * factor + bias[c], base + c });
    }
    return have;
}

static int bits(uint64_t x)
{
    int n = 0;
    for (; x; x &= x - 1) n++;
    return n;
}

void loci_hamming_ref(uint8_t *dist, const uint64_t *code, const uint64_t *query, int M, int n)
{
    for (int c = 0; c < n; c++) {
        int min = 128;
        for (int m = 0; m < M; m++) {
            const uint64_t *x = code + ((size_t)c * (size_t)M + (size_t)m) * 2; /* code[c,m,:] */
            const int apart = bits(x[0] ^ query[0]) + bits(x[1] ^ query[1]);
            if (apart < min) min = apart;
        }
        dist[c] = (uint8_t)min;
    }
}
