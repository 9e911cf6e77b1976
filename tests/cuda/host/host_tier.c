/* host_tier.c - content rows as 4-bit storage gives them back: the codes and scales of kernel.h, the
 * equations of the model's tier.c. */
#include "host.h"
#include "kernel/kernel.h"

enum { BLOCK = 32 };

void HOST(round_q4)(loci_gpu *g, loci_bf16 *y, const float *x, size_t n)
{
    BEGIN(g);
    REQUIRE(g, n % BLOCK == 0, "%zu numbers", n);
    for (size_t i = 0; i < n; i += BLOCK) {
        uint8_t code[BLOCK / 2];
        uint16_t scale;
        float back[BLOCK];
        loci_quant_q4_ref(code, BLOCK / 2, &scale, 1, x + i, BLOCK, 1, BLOCK);
        loci_dequant_q4_ref(back, BLOCK, code, BLOCK / 2, &scale, 1, 1, BLOCK);
        host_put(y + i, back, BLOCK);
    }
}

static bool real(const loci_gpu_tier *t, int place)
{
    return place % HOST_CHUNK < t->n_tokens[place / HOST_CHUNK];
}

void HOST(serve)(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *served, float *inv, const float *r,
                 const float *context, float eps)
{
    BEGIN(g);
    for (int p = 0; p < t->n_chunks * HOST_CHUNK; p++) {
        const size_t at = (size_t)p * HOST_ROW;
        float row[HOST_ROW] = { 0 };
        inv[2 * p] = inv[2 * p + 1] = 0.0f;
        if (real(t, p) && !t->packed[p / HOST_CHUNK]) host_get(row, t->whole + at, HOST_ROW);
        if (real(t, p) && t->packed[p / HOST_CHUNK]) {
            for (int k = 0; k < HOST_ROW; k++)
                row[k] = r[at + k] + context[p / HOST_CHUNK * HOST_ROW + k];
            loci_rmsnorm_ref(row, 64, inv + 2 * (size_t)p, row, 64, 2, 64, eps);
        }
        host_put(served + at, row, HOST_ROW);
    }
}

void HOST(unserve)(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *dr, loci_bf16 *dcontext,
                   float *dcontent, const loci_bf16 *served, const float *inv)
{
    BEGIN(g);
    for (int c = 0; c < t->n_chunks; c++) {
        float sum[HOST_ROW] = { 0 };
        for (int p = c * HOST_CHUNK; p < (c + 1) * HOST_CHUNK; p++) {
            const size_t at = (size_t)p * HOST_ROW;
            float d[HOST_ROW] = { 0 }, y[HOST_ROW];
            if (t->packed[c]) {
                host_get(y, served + at, HOST_ROW);
                loci_rmsnorm_bwd_ref(d, 64, dcontent + at, 64, y, 64, inv + 2 * (size_t)p, 2, 64);
                memset(dcontent + at, 0, sizeof d);
            }
            host_put(dr + at, d, HOST_ROW);
            host_add(sum, 1.0f, d, HOST_ROW);
        }
        host_put(dcontext + (size_t)c * HOST_ROW, sum, HOST_ROW);
    }
}

void HOST(ageing)(loci_gpu *g, const loci_gpu_tier *t, float *loss, float *dcontent,
                  const loci_bf16 *served, float k)
{
    BEGIN(g);
    for (int p = 0; p < t->n_chunks * HOST_CHUNK; p++) {
        const size_t at = (size_t)p * HOST_ROW;
        float off[HOST_ROW], whole[HOST_ROW];
        loss[p] = 0.0f;
        if (!t->packed[p / HOST_CHUNK] || !real(t, p)) continue;
        host_get(off, served + at, HOST_ROW);
        host_get(whole, t->whole + at, HOST_ROW);
        host_add(off, -1.0f, whole, HOST_ROW);
        loss[p] = (float)(host_dot(off, off, HOST_ROW) / HOST_ROW);
        if (dcontent) host_add(dcontent + at, k, off, HOST_ROW);
    }
}
