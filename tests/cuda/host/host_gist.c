/* host_gist.c - pyramids of means over rows, and rows that are handed out more than once. */
#include "host.h"

enum { FAN = 16 };

/* Rows [first, first + rows) have FAN children each, before `first`, no one twice. */
static void check_children(loci_gpu *g, const char *op, const int32_t *child, int first, int rows)
{
    uint8_t *taken = host_scratch((size_t)first, 1);
    for (int r = first; r < first + rows && !host_failed(g); r++) {
        if (child[r] < 0 || child[r] + FAN > first)
            host_refuse(g, op, "row %d has children from %d on, below %d", r, child[r], first);
        for (int j = 0; j < FAN && !host_failed(g); j++)
            if (taken[child[r] + j]++) host_refuse(g, op, "row %d has two parents", child[r] + j);
    }
    free(taken);
}

void HOST(pool)(loci_gpu *g, float *node, const int32_t *child, int first, int rows, int cols)
{
    BEGIN(g);
    check_children(g, __func__, child, first, rows);
    BEGIN(g);
    for (int r = first; r < first + rows; r++)
        for (int c = 0; c < cols; c++) {
            double sum = 0.0;
            for (int j = 0; j < FAN; j++) sum += (double)node[(size_t)(child[r] + j) * cols + c];
            node[(size_t)r * cols + c] = (float)(sum / FAN);
        }
}

void HOST(unpool)(loci_gpu *g, float *dnode, const int32_t *child, int first, int rows, int cols)
{
    BEGIN(g);
    check_children(g, __func__, child, first, rows);
    BEGIN(g);
    for (int r = first; r < first + rows; r++)
        for (int j = 0; j < FAN; j++)
            host_add(dnode + (size_t)(child[r] + j) * cols, 1.0f / FAN, dnode + (size_t)r * cols,
                     cols);
}

void HOST(add_level)(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, const float *table,
                     const uint8_t *level, int rows, int cols)
{
    BEGIN(g);
    for (size_t i = 0; i < (size_t)rows * cols; i++)
        y[i] = loci_f32_to_bf16(loci_bf16_to_f32(x[i]) +
                                table[(size_t)level[i / cols] * cols + i % cols]);
}

void HOST(hand_out)(loci_gpu *g, loci_bf16 *out, const loci_bf16 *x, const int32_t *row, int n)
{
    BEGIN(g);
    ALIGNED(g, out, 0, 16);
    ALIGNED(g, x, 0, 16);
    for (int i = 0; i < n; i++) {
        if (row[i] < 0)
            memset(out + (size_t)i * 128, 0, 128 * sizeof *x);
        else
            memcpy(out + (size_t)i * 128, x + (size_t)row[i] * 128, 128 * sizeof *x);
    }
}

void HOST(take_back)(loci_gpu *g, loci_bf16 *out, const loci_bf16 *x, const int32_t *order,
                     const int32_t *start, int rows)
{
    BEGIN(g);
    ALIGNED(g, out, 0, 8);
    ALIGNED(g, x, 0, 8);
    for (int r = 0; r < rows; r++) {
        float sum[128] = { 0 }, row[128];
        for (int i = start[r]; i < start[r + 1]; i++) {
            host_get(row, x + (size_t)order[i] * 128, 128);
            host_add(sum, 1.0f, row, 128);
        }
        host_put(out + (size_t)r * 128, sum, 128);
    }
}
