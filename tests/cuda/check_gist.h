/* check_gist.h - checks of pyramids of means and of rows that are handed out more than once. */
#ifndef CHECK_GIST_H
#define CHECK_GIST_H

#include "gpu_test.h"

static const int pool_rows[] = { 1, 3, 20 }, pool_cols[] = { 1, 16, 130 };

/* `rows` parents behind five rows and their 16 each; child: their first children in another order. */
static inline int32_t *pool_children(int rows, int *first)
{
    *first = rows * 16 + 5;
    int32_t *child = ints(*first + rows);
    for (int i = 0; i < *first; i++) child[i] = -1;
    for (int i = 0; i < rows; i++) child[*first + i] = 16 * (rows - 1 - i) + 5;
    return child;
}

static inline void pool_case(int rows, int cols)
{
    int first;
    const int32_t *child = pool_children(rows, &first);
    const size_t n = (size_t)(first + rows) * cols;
    const float *before = random_f32(n, 1.0);
    float *want = floats(n);
    memcpy(want, before, n * sizeof *want);
    for (int r = first; r < first + rows; r++)
        for (int c = 0; c < cols; c++) {
            double sum = 0.0;
            for (int j = 0; j < 16; j++) sum += before[(size_t)(child[r] + j) * cols + c];
            want[(size_t)r * cols + c] = (float)(sum / 16.0);
        }
    float *node = out_f32(before, n);
    const int32_t *at = put_i32(child, first + rows);
    TWICE("pool") loci_gpu_pool(gpu, node, at, first, rows, cols);
    compare("node", get_f32(node, n), want, n, F32_SUMS);
    done("pool");
}

static void check_pool(void)
{
    for (int i = 0; i < COUNT(pool_rows); i++)
        for (int j = 0; j < COUNT(pool_cols); j++) pool_case(pool_rows[i], pool_cols[j]);
}

static inline void unpool_case(int rows, int cols)
{
    int first;
    const int32_t *child = pool_children(rows, &first);
    const size_t n = (size_t)(first + rows) * cols;
    const float *before = random_f32(n, 1.0);
    float *want = floats(n);
    memcpy(want, before, n * sizeof *want);
    for (int r = first; r < first + rows; r++)
        for (int i = 0; i < 16 * cols; i++)
            want[(size_t)child[r] * cols + i] += before[(size_t)r * cols + i % cols] / 16.0f;
    float *dnode = out_f32(before, n);
    const int32_t *at = put_i32(child, first + rows);
    TWICE("unpool") loci_gpu_unpool(gpu, dnode, at, first, rows, cols);
    compare("dnode", get_f32(dnode, n), want, n, F32_SUMS);
    done("unpool");
}

static void check_unpool(void)
{
    for (int i = 0; i < COUNT(pool_rows); i++)
        for (int j = 0; j < COUNT(pool_cols); j++) unpool_case(pool_rows[i], pool_cols[j]);
}

static inline void add_level_case(int rows, int cols)
{
    const size_t n = (size_t)rows * cols;
    const float *x = random_bf16(n, 1.0), *table = random_f32(6 * (size_t)cols, 1.0);
    uint8_t *level = host(rows);
    float *want = floats(n);
    for (int r = 0; r < rows; r++) level[r] = (uint8_t)below(6);
    for (size_t i = 0; i < n; i++)
        want[i] = x[i] + table[level[i / cols] * (size_t)cols + i % cols];
    loci_bf16 *y = out_bf16(NULL, n);
    const loci_bf16 *from = put_bf16(x, n);
    const float *t = put_f32(table, 6 * (size_t)cols);
    const uint8_t *l = device(level, rows);
    TWICE("add_level") loci_gpu_add_level(gpu, y, from, t, l, rows, cols);
    compare("y", get_bf16(y, n), want, n, ONE_ROUNDING);
    done("add_level");
}

static void check_add_level(void)
{
    for (int i = 0; i < COUNT(pool_rows); i++)
        for (int j = 0; j < COUNT(pool_cols); j++) add_level_case(pool_rows[i], pool_cols[j]);
}

static void check_hand_out(void)
{
    static const int counts[] = { 1, 17, 300 };
    for (int i = 0; i < COUNT(counts); i++) {
        const int n = counts[i], rows = 9;
        const float *x = random_bf16((size_t)rows * 128, 1.0);
        int32_t *row = ints(n);
        float *want = floats((size_t)n * 128);
        for (int r = 0; r < n; r++) {
            row[r] = below(rows);
            memcpy(want + (size_t)r * 128, x + row[r] * 128, 128 * sizeof *x);
        }
        loci_bf16 *out = out_bf16(NULL, (size_t)n * 128);
        const loci_bf16 *from = put_bf16(x, (size_t)rows * 128);
        const int32_t *at = put_i32(row, n);
        TWICE("hand_out") loci_gpu_hand_out(gpu, out, from, at, n);
        equal_floats("out", get_bf16(out, (size_t)n * 128), want, (size_t)n * 128);
        done("hand_out");
    }
}

/* Rows that get nothing, one, and hundreds. */
static inline void take_back_case(int rows, int n)
{
    const float *x = random_bf16((size_t)n * 128, 1.0);
    int32_t *start = ints(rows + 1), *order = ints(n);
    double *sum = host((size_t)rows * 128 * sizeof *sum);
    float *want = floats((size_t)rows * 128);
    for (int i = 0; i < n; i++) order[i] = n - 1 - i;
    for (int r = 1; r < rows; r++)
        start[r] = r == 2 ? start[1] : start[r - 1] + below(n / rows + 1);
    start[rows] = n;
    for (int r = 0; r < rows; r++)
        for (int i = start[r]; i < start[r + 1]; i++)
            for (int k = 0; k < 128; k++) sum[r * 128 + k] += (double)x[order[i] * 128 + k];
    for (int i = 0; i < rows * 128; i++) want[i] = (float)sum[i];
    loci_bf16 *out = out_bf16(NULL, (size_t)rows * 128);
    const loci_bf16 *from = put_bf16(x, (size_t)n * 128);
    const int32_t *by = put_i32(order, n), *at = put_i32(start, rows + 1);
    TWICE("take_back") loci_gpu_take_back(gpu, out, from, by, at, rows);
    compare("out", get_bf16(out, (size_t)rows * 128), want, (size_t)rows * 128, ONE_ROUNDING);
    done("take_back");
}

static void check_take_back(void)
{
    take_back_case(1, 1);
    take_back_case(3, 5);
    take_back_case(40, 700);
}

#endif
