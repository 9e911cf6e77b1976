/* host_move.c - rows that change places, embedding, sums over rows. */
#include "host.h"
#include "kernel/kernel.h"

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

bool host_distinct(const int32_t *index, int n)
{
    int32_t *sorted = host_scratch((size_t)n, sizeof *sorted);
    bool once = true;
    if (n > 0) memcpy(sorted, index, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_number);
    for (int i = 1; i < n; i++) once &= sorted[i] < 0 || sorted[i] != sorted[i - 1];
    free(sorted);
    return once;
}

void HOST(gather)(loci_gpu *g, float *out, const float *x, const int32_t *index, int rows, int cols)
{
    BEGIN(g);
    const size_t bytes = (size_t)cols * sizeof *x;
    for (int r = 0; r < rows; r++) {
        if (index[r] < 0)
            memset(out + (size_t)r * cols, 0, bytes);
        else
            memcpy(out + (size_t)r * cols, x + (size_t)index[r] * cols, bytes);
    }
}

void HOST(scatter)(loci_gpu *g, float *x, const float *in, const int32_t *index, int rows, int cols)
{
    BEGIN(g);
    REQUIRE(g, host_distinct(index, rows), "a row is written twice");
    for (int r = 0; r < rows; r++)
        if (index[r] >= 0)
            memcpy(x + (size_t)index[r] * cols, in + (size_t)r * cols, (size_t)cols * sizeof *x);
}

/* ---- embedding ---------------------------------------------------------------------------------- */

void HOST(embed)(loci_gpu *g, float *x, float *inv, const float *table, const int32_t *ids,
                 int rows, int cols, float eps)
{
    BEGIN(g);
    for (int r = 0; r < rows; r++) {
        REQUIRE(g, ids[r] >= 0, "id %d in row %d", ids[r], r);
        loci_rmsnorm_ref(x + (size_t)r * cols, cols, inv + r, table + (size_t)ids[r] * cols, cols,
                         1, cols, eps);
    }
}

void HOST(embed_bwd)(loci_gpu *g, const loci_gpu_embed_grad *j)
{
    BEGIN(g);
    if (j->n_pieces == 0) return;
    const int cols = j->cols;
    host_spoil(j->partial, (size_t)j->n_pieces * cols * sizeof(float));
    REQUIRE(g, host_distinct(j->id, j->n_ids), "an id comes twice");
    REQUIRE(g, j->id_piece[0] == 0 && j->id_piece[j->n_ids] == j->n_pieces,
            "ids have pieces %d .. %d of %d", j->id_piece[0], j->id_piece[j->n_ids], j->n_pieces);
    for (int i = 0; i < j->n_ids; i++)
        for (int p = j->id_piece[i]; p < j->id_piece[i + 1]; p++) {
            const int first = j->piece_start[p], end = j->piece_start[p + 1];
            REQUIRE(g, first < end && end - first <= LOCI_GPU_PIECE, "piece %d has %d rows", p,
                    end - first);
            for (int x = first; x < end; x++) {
                const size_t at = (size_t)j->order[x] * cols;
                loci_rmsnorm_bwd_ref(j->dtable + (size_t)j->id[i] * cols, cols, j->dx + at, cols,
                                     j->x + at, cols, j->inv + j->order[x], 1, cols);
            }
        }
}

/* ---- sums --------------------------------------------------------------------------------------- */

void HOST(column_sum)(loci_gpu *g, float *out, float *partial, const loci_bf16 *x, int ldx,
                      const float *a, int rows, int cols, int period)
{
    BEGIN(g);
    if (rows == 0 || cols == 0) return;
    const int p = period > 0 ? period : 1;
    REQUIRE(g, ldx >= cols, "ldx %d for %d columns", ldx, cols);
    host_spoil(partial, (size_t)LOCI_GPU_SPLITS * p * cols * sizeof *partial);
    double *sum = host_scratch((size_t)p * cols, sizeof *sum);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            sum[(size_t)(r % p) * cols + c] +=
                (a ? (double)a[r] : 1.0) * (double)loci_bf16_to_f32(x[(size_t)r * ldx + c]);
    for (int i = 0; i < p * cols; i++) out[i] = (float)(out[i] + sum[i]);
    free(sum);
}

void HOST(sum_parts)(loci_gpu *g, float *out, const float *part, int parts, size_t n)
{
    BEGIN(g);
    for (size_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int p = 0; p < parts; p++) sum += (double)part[(size_t)p * n + i];
        out[i] = (float)(out[i] + sum);
    }
}

void HOST(sum_rows)(loci_gpu *g, double *sums, const float *x, int n_sums, int n)
{
    BEGIN(g);
    ALIGNED(g, sums, 0, 8);
    for (int k = 0; k < n_sums; k++)
        for (int i = 0; i < n; i++) sums[k] += (double)x[(size_t)k * n + i];
}

void HOST(axpy)(loci_gpu *g, float *y, const float *x, float a, size_t n)
{
    BEGIN(g);
    loci_axpy_ref(y, x, a, n);
}
