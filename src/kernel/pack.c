/* pack.c - weights into the panels of the integer products: once, when a model is loaded; queries of
 * landmarks into whole numbers: once a search.
 *
 * A panel's 16 rows are read side by side, four or eight columns of each at a time, so that both the
 * source and the panel are walked in order. */
#include <string.h>
#include "kernel/kernel.h"
#include "kernel/kv_int.h"

enum { STEP = 4 * LOCI_PANEL }; /* bytes of one step of a panel */

size_t loci_w8_bytes(int rows, int cols)
{
    return (size_t)loci_panels(rows) * (size_t)((cols + 3) / 4) * STEP;
}

void loci_w8_pack(int8_t *data, float *scale_to, int32_t *sum, const int8_t *q, const float *scale,
                  int rows, int cols)
{
    const int steps = (cols + 3) / 4, padded = loci_panels(rows) * LOCI_PANEL;
    memset(data, 0, loci_w8_bytes(rows, cols));
    for (int r = 0; r < padded; r++) {
        const int8_t *row = q + (size_t)r * (size_t)cols; /* W[r,:] */
        int8_t *to = data + (size_t)(r / LOCI_PANEL) * (size_t)steps * STEP + r % LOCI_PANEL * 4;
        int32_t total = 0;
        for (int c = 0; r < rows && c < cols; c++) total += row[c];
        for (int s = 0; r < rows && s < steps; s++)
            memcpy(to + (size_t)s * STEP, row + 4 * s, cols - 4 * s < 4 ? (size_t)(cols % 4) : 4);
        scale_to[r] = r < rows ? scale[r] : 0.0f;
        sum[r] = total;
    }
}

size_t loci_w4_bytes(int rows, int cols)
{
    return (size_t)loci_panels(rows) * (size_t)(cols / 8) * STEP;
}

void loci_w4_pack(uint8_t *data, uint16_t *scale_to, const uint8_t *q, const uint16_t *scale,
                  int rows, int cols)
{
    const int steps = cols / 8, groups = cols / LOCI_W4_GROUP;
    const int padded = loci_panels(rows) * LOCI_PANEL;
    memset(data, 0x88, loci_w4_bytes(rows, cols)); /* zero in both nibbles */
    for (int r = 0; r < padded; r++) {
        const size_t panel = (size_t)(r / LOCI_PANEL);
        const int lane = r % LOCI_PANEL;
        const uint8_t *row = q + (size_t)r * (size_t)(cols / 2); /* W[r,:], two numbers a byte */
        uint8_t *to = data + panel * (size_t)steps * STEP + lane * 4;
        for (int s = 0; r < rows && s < steps; s++)
            for (int c = 0; c < 4; c++) {
                const int low = row[4 * s + c / 2] >> (c % 2 * 4) & 15;
                const int high = row[4 * s + 2 + c / 2] >> (c % 2 * 4) & 15;
                to[(size_t)s * STEP + (size_t)c] = (uint8_t)(low | high << 4);
            }
        for (int g = 0; g < groups; g++)
            scale_to[(panel * (size_t)groups + (size_t)g) * LOCI_PANEL + (size_t)lane] =
                r < rows ? scale[(size_t)r * (size_t)groups + (size_t)g] : 0;
    }
}

void loci_query_round(loci_query_i16 *q, const float *u, int d)
{
    int32_t row[LOCI_QUERY_COLS];
    q->unit = loci_round_row(row, u, d, LOCI_QUERY_MAX);
    for (int i = 0; i < d; i++) q->q[i] = (int16_t)row[i];
}
