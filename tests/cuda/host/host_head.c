/* host_head.c - cross-entropy over the vocabulary through the reference of kernel.h, and the rows of the
 * decode loss. */
#include "host.h"
#include "kernel/kernel.h"

void HOST(cross_entropy)(loci_gpu *g, float *loss, int32_t *best, loci_bf16 *dlogits,
                         const float *logits, const int32_t *target, const float *weight, float z,
                         int rows, int vocab)
{
    BEGIN(g);
    REQUIRE(g, vocab % 2 == 0, "vocab %d is odd", vocab);
    REQUIRE(g, !dlogits || weight, "a gradient without weights");
    ALIGNED(g, logits, 0, 8);
    for (int r = 0; r < rows; r++) {
        REQUIRE(g, target[r] >= -1 && target[r] < vocab, "row %d: target %d of %d", r, target[r],
                vocab);
        REQUIRE(g, target[r] < 0 || host_finite(logits + (size_t)r * vocab, (size_t)vocab),
                "row %d: logits are not finite", r);
    }
    float *row = host_scratch((size_t)vocab, sizeof *row);
    for (int r = 0; r < rows; r++) {
        int32_t top = -1;
        memcpy(row, logits + (size_t)r * vocab, (size_t)vocab * sizeof *row);
        loci_cross_entropy_ref(loss + r, &top, row, vocab, target + r, dlogits ? weight + r : NULL,
                               z, 1, vocab);
        if (best) best[r] = target[r] < 0 ? -1 : top;
        if (dlogits) host_put(dlogits + (size_t)r * vocab, row, (size_t)vocab);
    }
    free(row);
}

void HOST(spread_values)(loci_gpu *g, loci_bf16 *tile, const loci_bf16 *content, int cols,
                         const int32_t *index, int rows)
{
    BEGIN(g);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < HOST_WIDE; i++)
            tile[(size_t)r * HOST_WIDE + i] =
                index[r] < 0 ? 0 : content[(size_t)index[r] * cols + cols - 64 + i % 64];
}

void HOST(collect_values)(loci_gpu *g, float *dcontent, const loci_bf16 *dtile,
                          const int32_t *index, int rows)
{
    BEGIN(g);
    REQUIRE(g, host_distinct(index, rows), "a row is added to twice");
    for (int r = 0; r < rows; r++) {
        float sum[64] = { 0 }, row[HOST_WIDE];
        if (index[r] < 0) continue;
        host_get(row, dtile + (size_t)r * HOST_WIDE, HOST_WIDE);
        for (int h = 0; h < HOST_HEADS; h++) host_add(sum, 1.0f, row + h * 64, 64);
        host_add(dcontent + (size_t)index[r] * HOST_ROW + 64, 1.0f, sum, 64);
    }
}
