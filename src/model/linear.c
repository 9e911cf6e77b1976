/* linear.c - products with a stored matrix of any type, embedding rows, unit rows.
 *
 *   y = x w^T          dx (+)= dy w          dw += dy^T x
 *
 * A stored matrix is f32, bf16, int8 with one scale a row or 4 bits (four.c), and x is used in f32; one
 * row goes through the gemv family, which reads the matrix once and packs nothing; 4 bits are made f32
 * some rows at a time.  A matrix that is packed
 * (packed.c) meets x as int8.  With a pool, rows of w are shared out in tiles, unless the work is less
 * than it costs to tell another thread.  Only f32 matrices have gradients. */
#include "model/model_impl.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUANT_BYTES = 1 << 16, /* of x as int8 at once */
    QUANT_ROWS = 1024,
    TILE = 1 << 17 /* multiplications of a pool's tile: a microsecond or two */
};

loci_mat loci_mat_rows(const loci_mat *w, int first, int rows)
{
    assert(first >= 0 && rows >= 0 && first + rows <= w->rows);
    loci_mat part = *w;
    part.data = (char *)w->data + (size_t)first * loci_mat_row_bytes(w);
    part.scale = w->scale ? w->scale + first : NULL;
    part.half = w->half ? w->half + (size_t)first * (size_t)(w->cols / LOCI_W4_GROUP) : NULL;
    part.rows = rows;
    part.packed_row += first;
    if (part.packed_row % LOCI_PANEL != 0) {
        part.packed = NULL;
        part.packed4 = NULL;
    }
    return part;
}

/* ---- one product ---------------------------------------------------------------------------- */

/* 4 bits: as many rows of w as fit in the buffer at a time. */
static void linear_four(const loci_kernels *k, float *y, int ldy, const float *x, int ldx,
                        const loci_mat *w, int m)
{
    float rows[LOCI_FOUR_COLS];
    const int cols = w->cols, step = LOCI_FOUR_COLS / cols;
    for (int r = 0; r < w->rows; r += step) {
        const int n = w->rows - r < step ? w->rows - r : step;
        loci_four_rows(k, rows, w, r, n);
        if (m == 1)
            k->gemv(y + r, rows, cols, x, n, cols);
        else
            k->gemm(y + r, ldy, x, ldx, 0, rows, cols, 1, m, n, cols, 0.0f);
    }
}

static void linear_row(const loci_kernels *k, float *y, const float *x, const loci_mat *w)
{
    switch (w->type) {
    case LOCI_BF16: k->gemv_bf16(y, w->data, w->cols, x, w->rows, w->cols); break;
    case LOCI_I8: k->gemv_q8(y, w->data, w->cols, w->scale, x, w->rows, w->cols); break;
    case LOCI_U8: linear_four(k, y, w->rows, x, w->cols, w, 1); break;
    default: k->gemv(y, w->data, w->cols, x, w->rows, w->cols); break;
    }
}

/* add: f32 alone. */
static void linear_rows(const loci_kernels *k, float *y, int ldy, const float *x, int ldx,
                        const loci_mat *w, int m, int add)
{
    switch (w->type) {
    case LOCI_BF16: k->gemm_bf16(y, ldy, x, ldx, w->data, w->cols, m, w->rows, w->cols); break;
    case LOCI_I8:
        k->gemm_q8(y, ldy, x, ldx, w->data, w->cols, w->scale, m, w->rows, w->cols);
        break;
    case LOCI_U8: linear_four(k, y, ldy, x, ldx, w, m); break;
    default:
        k->gemm(y, ldy, x, ldx, 0, w->data, w->cols, 1, m, w->rows, w->cols, (float)add);
        break;
    }
}

static bool is_packed(const loci_mat *w)
{
    return w->packed || w->packed4;
}

/* ---- several, shared out ------------------------------------------------------------------------ */

typedef struct {
    const loci_kernels *k;
    const loci_product *list;
    int n, ldx, rows, add;
    const float *x;
    const int8_t *q; /* x as int8, for packed weights, and its scales */
    const float *sx;
    int ldq, step; /* rows of w a tile: a multiple of 16 */
} job;

static void run_part(const job *j, const loci_product *p, int first, int n)
{
    float *y = p->y + first;
    const loci_mat w = loci_mat_rows(p->w, first, n);
    if (w.packed)
        j->k->gemm_w8a8(y, p->ldy, j->q, j->ldq, j->sx, w.packed, w.packed_row, j->rows, n, j->add);
    else if (w.packed4)
        j->k->gemm_w4a8(y, p->ldy, j->q, j->ldq, j->sx, w.packed4, w.packed_row, j->rows, n,
                        j->add);
    else if (j->rows == 1 && !j->add)
        linear_row(j->k, y, j->x, &w);
    else
        linear_rows(j->k, y, p->ldy, j->x, j->ldx, &w, j->rows, j->add);
}

static void run_tile(void *ctx, int tile, int worker)
{
    const job *j = ctx;
    (void)worker;
    for (int i = 0; i < j->n; i++) {
        const loci_product *p = &j->list[i];
        const int tiles = (p->w->rows + j->step - 1) / j->step, first = tile * j->step;
        if (tile < tiles) {
            const int left = p->w->rows - first;
            run_part(j, p, first, left < j->step ? left : j->step);
            return;
        }
        tile -= tiles;
    }
}

static void run_job(const loci_model *m, job *j)
{
    const int cols = j->list[0].w->cols, panel = LOCI_PANEL * (cols > 0 ? cols : 1);
    const int64_t panel_work = (int64_t)panel * j->rows;
    int64_t work = 0;
    for (int i = 0; i < j->n; i++) work += (int64_t)j->list[i].w->rows * cols * j->rows;
    if (!m->pool || work < 2 * TILE) {
        for (int i = 0; i < j->n; i++) run_part(j, &j->list[i], 0, j->list[i].w->rows);
        return;
    }
    const int panels = panel_work < TILE ? (int)(TILE / panel_work) : 1;
    int tiles = 0;
    j->step = panels * LOCI_PANEL;
    for (int i = 0; i < j->n; i++) tiles += (j->list[i].w->rows + j->step - 1) / j->step;
    loci_pool_run(m->pool, tiles, run_tile, j);
}

/* The products of packed weights, some rows at a time.  x has the same bits as int8 in whatever
 * company a row comes, and integer sums have no order. */
static void run_packed(const loci_model *m, const loci_product *list, int n, const float *x,
                       int ldx, int rows, int add)
{
    _Alignas(64) int8_t q[QUANT_BYTES];
    float sx[QUANT_ROWS];
    loci_product at[LOCI_PRODUCTS];
    const int cols = list[0].w->cols, ldq = (cols + 3) / 4 * 4;
    int block = ldq > 0 ? QUANT_BYTES / ldq : QUANT_ROWS;
    if (block > QUANT_ROWS) block = QUANT_ROWS;
    for (int i = 0; i < n; i++) at[i] = list[i];
    for (int r = 0; r < rows; r += block) {
        const int part = rows - r < block ? rows - r : block;
        m->k.quant_q8(q, ldq, sx, x + (size_t)r * (size_t)ldx, ldx, part, cols);
        for (int i = 0; i < part && ldq > cols; i++)
            memset(q + (size_t)i * (size_t)ldq + cols, 0, (size_t)(ldq - cols));
        job j = {
            .k = &m->k, .list = at, .n = n, .rows = part, .add = add, .q = q, .sx = sx, .ldq = ldq
        };
        run_job(m, &j);
        for (int i = 0; i < n; i++) at[i].y += (size_t)part * (size_t)at[i].ldy;
    }
}

void loci_linear_all(const loci_model *m, const loci_product *list, int n, const float *x, int ldx,
                     int rows)
{
    assert(n >= 1 && n <= LOCI_PRODUCTS);
    for (int i = 1; i < n; i++)
        assert(is_packed(list[i].w) == is_packed(list[0].w) && list[i].w->cols == list[0].w->cols);
    if (is_packed(list[0].w)) {
        run_packed(m, list, n, x, ldx, rows, 0);
        return;
    }
    job j = { .k = &m->k, .list = list, .n = n, .rows = rows, .x = x, .ldx = ldx };
    run_job(m, &j);
}

void loci_linear(const loci_model *m, float *y, int ldy, const float *x, int ldx, const loci_mat *w,
                 int rows)
{
    const loci_product p = { w, y, ldy };
    loci_linear_all(m, &p, 1, x, ldx, rows);
}

void loci_linear_add(const loci_model *m, float *y, float *tmp, const float *x, const loci_mat *w,
                     int rows)
{
    const loci_product p = { w, y, w->rows };
    if (is_packed(w)) {
        run_packed(m, &p, 1, x, w->cols, rows, 1);
        return;
    }
    if (w->type == LOCI_F32) {
        job j = { .k = &m->k, .list = &p, .n = 1, .rows = rows, .x = x, .ldx = w->cols, .add = 1 };
        run_job(m, &j);
        return;
    }
    loci_linear(m, tmp, w->rows, x, w->cols, w, rows);
    m->k.axpy(y, tmp, 1.0f, (size_t)rows * (size_t)w->rows);
}

void loci_linear_bwd(const loci_kernels *k, float *dx, int lddx, float beta, loci_mat *dw,
                     const float *dy, int lddy, const float *x, int ldx, const loci_mat *w, int m)
{
    assert(w->type == LOCI_F32 && dw->type == LOCI_F32);
    if (dx) k->gemm(dx, lddx, dy, lddy, 0, w->data, w->cols, 0, m, w->cols, w->rows, beta);
    k->gemm(dw->data, dw->cols, dy, lddy, 1, x, ldx, 0, w->rows, w->cols, m, 1.0f);
}

void loci_mat_row(const loci_kernels *k, float *y, const loci_mat *w, int row)
{
    const size_t n = (size_t)w->cols, at = (size_t)row * n;
    if (w->type == LOCI_BF16) {
        const uint16_t *h = (const uint16_t *)w->data + at;
        for (size_t i = 0; i < n; i++) y[i] = loci_bf16_to_f32(h[i]);
    } else if (w->type == LOCI_I8) {
        const int8_t *q = (const int8_t *)w->data + at;
        for (size_t i = 0; i < n; i++) y[i] = w->scale[row] * (float)q[i];
    } else if (w->type == LOCI_U8) {
        loci_four_rows(k, y, w, row, 1);
    } else {
        const float *f = (const float *)w->data + at;
        for (size_t i = 0; i < n; i++) y[i] = f[i];
    }
}

void loci_embed(const loci_model *m, float *x, float *inv, const int32_t *ids, int n)
{
    const int D = m->hp.d_model;
    for (int t = 0; t < n; t++) loci_mat_row(&m->k, x + (size_t)t * (size_t)D, &m->p.embed, ids[t]);
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
    else if (w->type == LOCI_U8)
        loci_four_rows(k, out, w, 0, w->rows);
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
        widen(&m->k, loci_param_at(&flat, &info[i])->data, loci_param_at(&m->p, &info[i]));
    }
    free(info);
    return LOCI_OK;
}
