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

void HOST(add_halves)(loci_gpu *g, float *x, int rows)
{
    BEGIN(g);
    for (int r = 0; r < rows; r++, x += HOST_ROW) host_add(x, 1.0f, x + 64, 64);
}

void HOST(serve)(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *served, float *inv, const float *r,
                 const float *context, float eps)
{
    const int cols = t->cols, heads = cols / 64;
    BEGIN(g);
    REQUIRE(g, cols == 64 || cols == 128, "content rows of %d", cols);
    for (int p = 0; p < t->n_chunks * HOST_CHUNK; p++) {
        const size_t at = (size_t)p * cols, norm = (size_t)p * heads;
        float row[HOST_ROW] = { 0 };
        for (int h = 0; h < heads; h++) inv[norm + h] = 0.0f;
        if (real(t, p) && !t->packed[p / HOST_CHUNK]) host_get(row, t->whole + at, cols);
        if (real(t, p) && t->packed[p / HOST_CHUNK]) {
            for (int k = 0; k < cols; k++) row[k] = r[at + k] + context[p / HOST_CHUNK * cols + k];
            loci_rmsnorm_ref(row, 64, inv + norm, row, 64, heads, 64, eps);
        }
        host_put(served + at, row, cols);
    }
}

void HOST(unserve)(loci_gpu *g, const loci_gpu_tier *t, loci_bf16 *dr, loci_bf16 *dcontext,
                   float *dcontent, const loci_bf16 *served, const float *inv)
{
    const int cols = t->cols, heads = cols / 64;
    BEGIN(g);
    for (int c = 0; c < t->n_chunks; c++) {
        float sum[HOST_ROW] = { 0 };
        for (int p = c * HOST_CHUNK; p < (c + 1) * HOST_CHUNK; p++) {
            const size_t at = (size_t)p * cols;
            float d[HOST_ROW] = { 0 }, y[HOST_ROW], *from = dcontent + (size_t)p * HOST_ROW;
            if (t->packed[c]) {
                host_get(y, served + at, cols);
                loci_rmsnorm_bwd_ref(d, 64, from, 64, y, 64, inv + (size_t)p * heads, heads, 64);
                memset(from, 0, (size_t)cols * sizeof *from);
            }
            host_put(dr + at, d, cols);
            host_add(sum, 1.0f, d, cols);
        }
        host_put(dcontext + (size_t)c * cols, sum, cols);
    }
}

void HOST(ageing)(loci_gpu *g, const loci_gpu_tier *t, float *loss, float *dcontent,
                  const loci_bf16 *served, float k)
{
    const int cols = t->cols;
    BEGIN(g);
    for (int p = 0; p < t->n_chunks * HOST_CHUNK; p++) {
        const size_t at = (size_t)p * cols;
        float off[HOST_ROW], whole[HOST_ROW];
        loss[p] = 0.0f;
        if (!t->packed[p / HOST_CHUNK] || !real(t, p)) continue;
        host_get(off, served + at, cols);
        host_get(whole, t->whole + at, cols);
        host_add(off, -1.0f, whole, cols);
        loss[p] = (float)(host_dot(off, off, cols) / cols);
        if (dcontent) host_add(dcontent + (size_t)p * HOST_ROW, k, off, cols);
    }
}
