/* linear.c - products with a stored matrix of any type, embedding rows, unit rows.
 *
 *   y = x w^T          dx (+)= dy w          dw += dy^T x
 *
 * A stored matrix is f32, bf16 or int8 with one scale a row; x is always used in f32.  One row
 * goes through the gemv family, which reads the matrix once and packs nothing.  Only f32
 * matrices have gradients. */
#include "model/model_impl.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

loci_mat loci_mat_rows(const loci_mat *w, int first, int rows)
{
    assert(first >= 0 && rows >= 0 && first + rows <= w->rows);
    loci_mat part = *w;
    part.data = (char *)w->data + (size_t)first * (size_t)w->cols * loci_dtype_size(w->type);
    part.scale = w->scale ? w->scale + first : NULL;
    part.rows = rows;
    return part;
}

static void linear_row(const loci_kernels *k, float *y, const float *x, const loci_mat *w)
{
    switch (w->type) {
    case LOCI_BF16: k->gemv_bf16(y, w->data, w->cols, x, w->rows, w->cols); break;
    case LOCI_I8: k->gemv_q8(y, w->data, w->cols, w->scale, x, w->rows, w->cols); break;
    default: k->gemv(y, w->data, w->cols, x, w->rows, w->cols); break;
    }
}

void loci_linear(const loci_kernels *k, float *y, int ldy, const float *x, int ldx,
                 const loci_mat *w, int m)
{
    if (m == 1) {
        linear_row(k, y, x, w);
        return;
    }
    switch (w->type) {
    case LOCI_BF16: k->gemm_bf16(y, ldy, x, ldx, w->data, w->cols, m, w->rows, w->cols); break;
    case LOCI_I8:
        k->gemm_q8(y, ldy, x, ldx, w->data, w->cols, w->scale, m, w->rows, w->cols);
        break;
    default: k->gemm(y, ldy, x, ldx, 0, w->data, w->cols, 1, m, w->rows, w->cols, 0.0f); break;
    }
}

void loci_linear_add(const loci_kernels *k, float *y, float *tmp, const float *x, const loci_mat *w,
                     int m)
{
    if (w->type == LOCI_F32) {
        k->gemm(y, w->rows, x, w->cols, 0, w->data, w->cols, 1, m, w->rows, w->cols, 1.0f);
        return;
    }
    loci_linear(k, tmp, w->rows, x, w->cols, w, m);
    k->axpy(y, tmp, 1.0f, (size_t)m * (size_t)w->rows);
}

void loci_linear_bwd(const loci_kernels *k, float *dx, int lddx, float beta, loci_mat *dw,
                     const float *dy, int lddy, const float *x, int ldx, const loci_mat *w, int m)
{
    assert(w->type == LOCI_F32 && dw->type == LOCI_F32);
    if (dx) k->gemm(dx, lddx, dy, lddy, 0, w->data, w->cols, 0, m, w->cols, w->rows, beta);
    k->gemm(dw->data, dw->cols, dy, lddy, 1, x, ldx, 0, w->rows, w->cols, m, 1.0f);
}

/* One row of a stored matrix as f32. */
static void mat_row(float *y, const loci_mat *w, int row)
{
    const size_t n = (size_t)w->cols, at = (size_t)row * n;
    if (w->type == LOCI_BF16) {
        const uint16_t *h = (const uint16_t *)w->data + at;
        for (size_t i = 0; i < n; i++) y[i] = loci_bf16_to_f32(h[i]);
    } else if (w->type == LOCI_I8) {
        const int8_t *q = (const int8_t *)w->data + at;
        for (size_t i = 0; i < n; i++) y[i] = w->scale[row] * (float)q[i];
    } else {
        const float *f = (const float *)w->data + at;
        for (size_t i = 0; i < n; i++) y[i] = f[i];
    }
}

void loci_embed(const loci_model *m, float *x, float *inv, const int32_t *ids, int n)
{
    const int D = m->hp.d_model;
    for (int t = 0; t < n; t++) mat_row(x + (size_t)t * (size_t)D, &m->p.embed, ids[t]);
    m->k.rmsnorm(x, D, inv, x, D, n, D, m->hp.norm_eps);
}

void loci_embed_bwd(const loci_kernels *k, loci_mat *dembed, const float *dx, const float *x,
                    const float *inv, const int32_t *ids, int n)
{
    const int D = dembed->cols;
    for (int t = 0; t < n; t++) {
        const size_t at = (size_t)t * (size_t)D;
        float *row = (float *)dembed->data + (size_t)ids[t] * (size_t)D;
        k->rmsnorm_bwd(row, D, dx + at, D, x + at, D, inv + t, 1, D);
    }
}

void loci_unit(const loci_kernels *k, float *x, float *inv, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        float *row = x + (size_t)r * (size_t)cols;
        const double norm = sqrt(k->dot(row, row, (size_t)cols));
        const float f = (float)(1.0 / (norm > 1e-12 ? norm : 1e-12));
        for (int i = 0; i < cols; i++) row[i] *= f;
        if (inv) inv[r] = f;
    }
}

void loci_unit_bwd(const loci_kernels *k, float *dy, const float *y, const float *inv, int rows,
                   int cols)
{
    for (int r = 0; r < rows; r++) {
        float *d = dy + (size_t)r * (size_t)cols;
        const float *u = y + (size_t)r * (size_t)cols;
        const float along = (float)k->dot(d, u, (size_t)cols);
        for (int i = 0; i < cols; i++) d[i] = inv[r] * (d[i] - u[i] * along);
    }
}

/* ---- all of a model ----------------------------------------------------------------------- */

static void widen(const loci_kernels *k, float *out, const loci_mat *w)
{
    const size_t n = (size_t)w->rows * (size_t)w->cols;
    if (w->type == LOCI_F32)
        memcpy(out, w->data, n * sizeof *out);
    else if (w->type == LOCI_I8)
        k->dequant_q8(out, w->cols, w->data, w->cols, w->scale, w->rows, w->cols);
    else
        for (size_t i = 0; i < n; i++) out[i] = loci_bf16_to_f32(((const uint16_t *)w->data)[i]);
}

loci_status loci_model_widen(const loci_model *m, float *base, loci_error *err)
{
    loci_params flat;
    const int n = loci_param_list(&m->hp, NULL, 0);
    loci_param_info *info = calloc((size_t)n, sizeof *info);
    if (!info) return loci_fail(err, LOCI_ENOMEM, "no memory for %d tensors", n);
    loci_param_list(&m->hp, info, n);
    memset(base, 0, loci_param_floats(&m->hp) * sizeof *base);
    loci_params_bind(&flat, &m->hp, base);
    for (int i = 0; i < n; i++) {
        const loci_mat *from =
            (const loci_mat *)(const void *)((const char *)&m->p + info[i].offset);
        const loci_mat *to = (const loci_mat *)(const void *)((const char *)&flat + info[i].offset);
        widen(&m->k, to->data, from);
    }
    free(info);
    return LOCI_OK;
}
