/* check_move.h - checks of rows that change places, of embedding and of sums over rows. */
#ifndef CHECK_MOVE_H
#define CHECK_MOVE_H

#include "gpu_test.h"

/* ---- rows that change places ----------------------------------------------------------------------- */

static const int move_rows[] = { 1, 3, 64, 129 }, move_cols[] = { 1, 31, 128, 513 };

/* `rows` different places out of n, some -1. */
static inline int32_t *places(int rows, int n)
{
    int32_t *index = ints(rows), *all = ints(n);
    for (int i = 0; i < n; i++) all[i] = i;
    for (int i = 0; i < rows; i++) {
        const int j = i + below(n - i), x = all[j];
        all[j] = all[i];
        all[i] = x;
        index[i] = i % 5 == 2 ? -1 : x;
    }
    return index;
}

static void check_gather(void)
{
    for (int i = 0; i < COUNT(move_rows); i++)
        for (int j = 0; j < COUNT(move_cols); j++) {
            const int rows = move_rows[i], cols = move_cols[j], n = rows + 3;
            const float *x = random_f32((size_t)n * cols, 1.0);
            const int32_t *index = places(rows, n);
            float *want = floats((size_t)rows * cols);
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < cols; c++)
                    want[(size_t)r * cols + c] =
                        index[r] < 0 ? 0.0f : x[(size_t)index[r] * cols + c];
            float *out = out_f32(NULL, (size_t)rows * cols);
            const float *in = put_f32(x, (size_t)n * cols);
            const int32_t *at = put_i32(index, rows);
            TWICE("gather") loci_gpu_gather(gpu, out, in, at, rows, cols);
            equal_floats("out", get_f32(out, (size_t)rows * cols), want, (size_t)rows * cols);
            done("gather");
        }
}

static void check_scatter(void)
{
    for (int i = 0; i < COUNT(move_rows); i++)
        for (int j = 0; j < COUNT(move_cols); j++) {
            const int rows = move_rows[i], cols = move_cols[j], n = rows + 3;
            const float *x = random_f32((size_t)n * cols, 1.0),
                        *in = random_f32((size_t)rows * cols, 1.0);
            const int32_t *index = places(rows, n);
            float *want = floats((size_t)n * cols);
            memcpy(want, x, (size_t)n * cols * sizeof *want);
            for (int r = 0; r < rows; r++)
                if (index[r] >= 0)
                    memcpy(want + (size_t)index[r] * cols, in + (size_t)r * cols,
                           (size_t)cols * sizeof *in);
            float *out = out_f32(x, (size_t)n * cols);
            const float *from = put_f32(in, (size_t)rows * cols);
            const int32_t *at = put_i32(index, rows);
            TWICE("scatter") loci_gpu_scatter(gpu, out, from, at, rows, cols);
            equal_floats("x", get_f32(out, (size_t)n * cols), want, (size_t)n * cols);
            done("scatter");
        }
}

/* ---- embedding ---------------------------------------------------------------------------------------- */

enum { WORDS = 11 };

static void check_embed(void)
{
    for (int i = 0; i < COUNT(move_rows); i++)
        for (int j = 0; j < COUNT(move_cols); j++) {
            const int rows = move_rows[i], cols = move_cols[j];
            const float *table = random_f32((size_t)WORDS * cols, 0.05);
            float *want = floats((size_t)rows * cols), *want_inv = floats(rows);
            int32_t *id = ints(rows);
            for (int r = 0; r < rows; r++) {
                id[r] = below(WORDS);
                loci_rmsnorm_ref(want + (size_t)r * cols, cols, want_inv + r,
                                 table + (size_t)id[r] * cols, cols, 1, cols, 1e-5f);
            }
            float *x = out_f32(NULL, (size_t)rows * cols), *inv = out_f32(NULL, rows);
            const float *e = put_f32(table, (size_t)WORDS * cols);
            const int32_t *ids = put_i32(id, rows);
            TWICE("embed") loci_gpu_embed(gpu, x, inv, e, ids, rows, cols, 1e-5f);
            compare("x", get_f32(x, (size_t)rows * cols), want, (size_t)rows * cols, F32_SUMS);
            compare("inv", get_f32(inv, rows), want_inv, rows, F32_SUMS);
            done("embed");
        }
}

/* The plan that the host makes: rows sorted by id, cut into pieces. */
typedef struct {
    int32_t *order, *piece_start, *id_piece, *id;
    int n_pieces, n_ids;
} embed_plan;

static inline embed_plan plan_embed(const int32_t *id, int rows)
{
    embed_plan p = { ints(rows), ints(rows + 2), ints(WORDS + 1), ints(WORDS), 0, 0 };
    int at = 0;
    for (int word = 0; word < WORDS; word++) {
        int size = 0;
        for (int r = 0; r < rows; r++) {
            if (id[r] != word) continue;
            if (size % LOCI_GPU_PIECE == 0) p.piece_start[p.n_pieces++] = at;
            p.order[at++] = r;
            size++;
        }
        if (size == 0) continue;
        p.id[p.n_ids++] = word;
        p.id_piece[p.n_ids] = p.n_pieces;
    }
    p.piece_start[p.n_pieces] = at;
    return p;
}

static void check_embed_bwd(void)
{
    static const int counts[] = { 1, 3, 64, 129, 700 };
    for (int i = 0; i < COUNT(counts); i++)
        for (int j = 0; j < COUNT(move_cols); j++) {
            const int rows = counts[i], cols = move_cols[j];
            const size_t n = (size_t)rows * cols, table = (size_t)WORDS * cols;
            const float *x = random_f32(n, 1.7), *dx = random_f32(n, 1.0),
                        *inv = random_f32(rows, 2.0);
            const float *before = random_f32(table, 1.0);
            float *want = floats(table);
            int32_t *id = ints(rows);
            for (int r = 0; r < rows; r++)
                id[r] = r % 2 ? 3 : below(WORDS); /* one word has many pieces */
            memcpy(want, before, table * sizeof *want);
            for (int r = 0; r < rows; r++)
                loci_rmsnorm_bwd_ref(want + (size_t)id[r] * cols, cols, dx + (size_t)r * cols, cols,
                                     x + (size_t)r * cols, cols, inv + r, 1, cols);
            const embed_plan p = plan_embed(id, rows);
            const loci_gpu_embed_grad job = {
                .dtable = out_f32(before, table),
                .partial = device(NULL, (size_t)p.n_pieces * cols * sizeof(float)),
                .dx = put_f32(dx, n),
                .x = put_f32(x, n),
                .inv = put_f32(inv, rows),
                .order = put_i32(p.order, rows),
                .piece_start = put_i32(p.piece_start, p.n_pieces + 1),
                .id_piece = put_i32(p.id_piece, p.n_ids + 1),
                .id = put_i32(p.id, p.n_ids),
                .n_pieces = p.n_pieces,
                .n_ids = p.n_ids,
                .cols = cols,
            };
            TWICE("embed_bwd") loci_gpu_embed_bwd(gpu, &job);
            compare("dtable", get_f32(job.dtable, table), want, table, F32_SUMS);
            done("embed_bwd");
        }
}

/* ---- sums ------------------------------------------------------------------------------------------------ */

static void check_column_sum(void)
{
    static const int counts[] = { 1, 2, 65, 127, 129, 1000 }, periods[] = { 0, 1, 3, 66 };
    for (int i = 0; i < COUNT(counts); i++)
        for (int j = 0; j < COUNT(move_cols); j++)
            for (int k = 0; k < COUNT(periods); k++) {
                const int rows = counts[i], cols = move_cols[j], ld = cols + 3,
                          p = periods[k] > 0 ? periods[k] : 1;
                const bool weighted = (i + k) & 1;
                const float *x = random_bf16((size_t)rows * ld, 1.0), *a = random_f32(rows, 1.0);
                const float *before = random_f32((size_t)p * cols, 1.0);
                float *want = floats((size_t)p * cols);
                double *sum = host((size_t)p * cols * sizeof *sum);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < cols; c++)
                        sum[(size_t)(r % p) * cols + c] +=
                            (weighted ? a[r] : 1.0f) * (double)x[(size_t)r * ld + c];
                for (int c = 0; c < p * cols; c++) want[c] = (float)(before[c] + sum[c]);
                float *out = out_f32(before, (size_t)p * cols);
                float *partial = device(NULL, (size_t)LOCI_GPU_SPLITS * p * cols * sizeof(float));
                const loci_bf16 *in = put_bf16(x, (size_t)rows * ld);
                const float *w = weighted ? put_f32(a, rows) : NULL;
                TWICE("column_sum")
                loci_gpu_column_sum(gpu, out, partial, in, ld, w, rows, cols, periods[k]);
                compare("out", get_f32(out, (size_t)p * cols), want, (size_t)p * cols, F32_SUMS);
                done("column_sum");
            }
}

static void check_sum_parts(void)
{
    static const int sizes[] = { 1, 255, 257 }, counts[] = { 1, 2, 128 };
    for (int i = 0; i < COUNT(sizes); i++)
        for (int j = 0; j < COUNT(counts); j++) {
            const size_t n = sizes[i];
            const float *part = random_f32(n * counts[j], 1.0), *before = random_f32(n, 1.0);
            float *want = floats(n);
            for (size_t k = 0; k < n; k++) {
                double sum = before[k];
                for (int p = 0; p < counts[j]; p++) sum += part[p * n + k];
                want[k] = (float)sum;
            }
            float *out = out_f32(before, n);
            const float *in = put_f32(part, n * counts[j]);
            TWICE("sum_parts") loci_gpu_sum_parts(gpu, out, in, counts[j], n);
            compare("out", get_f32(out, n), want, n, F32_SUMS);
            done("sum_parts");
        }
}

static void check_sum_rows(void)
{
    static const int sizes[] = { 1, 1023, 1025, 5000 };
    for (int i = 0; i < COUNT(sizes); i++) {
        enum { SUMS = 8 };
        const int n = sizes[i];
        const float *x = random_f32((size_t)SUMS * n, 1.0);
        double before[SUMS], want[SUMS];
        for (int k = 0; k < SUMS; k++) {
            want[k] = before[k] = k * 0.5;
            for (int j = 0; j < n; j++) want[k] += x[(size_t)k * n + j];
        }
        double *sums = result(before, sizeof before);
        const float *in = put_f32(x, (size_t)SUMS * n);
        TWICE("sum_rows") loci_gpu_sum_rows(gpu, sums, in, SUMS, n);
        const double *got = get(sums, sizeof before);
        for (int k = 0; k < SUMS; k++)
            if (!(fabs(got[k] - want[k]) <= 1e-12 * n))
                fail_msg("sums[%d]: %.17g, should be %.17g", k, got[k], want[k]);
        done("sum_rows");
    }
}

static void check_axpy(void)
{
    static const int sizes[] = { 1, 255, 257, 5000 };
    for (int i = 0; i < COUNT(sizes); i++) {
        const size_t n = sizes[i];
        const float *x = random_f32(n, 1.0), *before = random_f32(n, 1.0);
        float *want = floats(n);
        memcpy(want, before, n * sizeof *want);
        loci_axpy_ref(want, x, -0.75f, n);
        float *y = out_f32(before, n);
        const float *in = put_f32(x, n);
        TWICE("axpy") loci_gpu_axpy(gpu, y, in, -0.75f, n);
        compare("y", get_f32(y, n), want, n, 1e-6);
        done("axpy");
    }
}

#endif
