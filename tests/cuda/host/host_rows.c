/* host_rows.c - ops that treat each row by itself: norms, activations, unit rows, rotation, through the
 * references of kernel.h. */
#include "host.h"
#include "kernel/kernel.h"

/* ---- RMSNorm ------------------------------------------------------------------------------------ */

static void norm_row(loci_bf16 *y, float *inv, float *row, int cols, float eps)
{
    loci_rmsnorm_ref(row, cols, inv, row, cols, 1, cols, eps);
    host_put(y, row, (size_t)cols);
}

void HOST(rmsnorm)(loci_gpu *g, loci_bf16 *y, int ldy, float *inv, const float *x, int ldx,
                   int rows, int cols, float eps)
{
    BEGIN(g);
    REQUIRE(g, cols % 2 == 0 && ldx >= cols && ldy >= cols, "cols %d, ldx %d, ldy %d", cols, ldx,
            ldy);
    ALIGNED(g, x, ldx, 8);
    ALIGNED(g, y, ldy, 4);
    float *row = host_scratch((size_t)cols, sizeof *row);
    for (int r = 0; r < rows; r++) {
        memcpy(row, x + (size_t)r * ldx, (size_t)cols * sizeof *row);
        norm_row(y + (size_t)r * ldy, inv ? inv + r : NULL, row, cols, eps);
    }
    free(row);
}

void HOST(rmsnorm_b)(loci_gpu *g, loci_bf16 *y, int ldy, float *inv, const loci_bf16 *x, int ldx,
                     int rows, int cols, float eps)
{
    BEGIN(g);
    REQUIRE(g, cols % 2 == 0 && ldx >= cols && ldy >= cols, "cols %d, ldx %d, ldy %d", cols, ldx,
            ldy);
    ALIGNED(g, x, ldx, 4);
    ALIGNED(g, y, ldy, 4);
    float *row = host_scratch((size_t)cols, sizeof *row);
    for (int r = 0; r < rows; r++) {
        host_get(row, x + (size_t)r * ldx, (size_t)cols);
        norm_row(y + (size_t)r * ldy, inv ? inv + r : NULL, row, cols, eps);
    }
    free(row);
}

void HOST(rmsnorm_bwd)(loci_gpu *g, const loci_gpu_rmsnorm_grad *j)
{
    BEGIN(g);
    REQUIRE(g, j->cols % 2 == 0 && j->lddx >= j->cols && j->lddy >= j->cols && j->ldy >= j->cols,
            "cols %d, lddx %d, lddy %d, ldy %d", j->cols, j->lddx, j->lddy, j->ldy);
    REQUIRE(g, !j->z == !j->w, "z and w come together");
    ALIGNED(g, j->dx, j->lddx, 8);
    ALIGNED(g, j->dy, j->lddy, 4);
    ALIGNED(g, j->y, j->ldy, 4);
    const size_t cols = (size_t)j->cols;
    float *d = host_scratch(2 * cols, sizeof *d), *y = d + cols;
    for (int r = 0; r < j->rows; r++) {
        float *dx = j->dx + (size_t)r * j->lddx;
        host_get(d, j->dy + (size_t)r * j->lddy, cols);
        host_get(y, j->y + (size_t)r * j->ldy, cols);
        if (j->z) host_add(d, j->z[r], j->w, j->cols);
        loci_rmsnorm_bwd_ref(dx, j->cols, d, j->cols, y, j->cols, j->inv + r, 1, j->cols);
        if (j->out) host_put(j->out + (size_t)r * j->ldout, dx, cols);
    }
    free(d);
}

void HOST(rmsnorm_bwd_b)(loci_gpu *g, loci_bf16 *dx, int lddx, const loci_bf16 *dy,
                         const float *dy32, int lddy, const loci_bf16 *y, int ldy, const float *inv,
                         int rows, int cols)
{
    BEGIN(g);
    REQUIRE(g, cols % 2 == 0 && lddx >= cols && lddy >= cols && ldy >= cols,
            "cols %d, lddx %d, lddy %d, ldy %d", cols, lddx, lddy, ldy);
    ALIGNED(g, dx, lddx, 4);
    ALIGNED(g, y, ldy, 4);
    if (dy32)
        ALIGNED(g, dy32, lddy, 8);
    else
        ALIGNED(g, dy, lddy, 4);
    float *d = host_scratch(3 * (size_t)cols, sizeof *d), *v = d + cols, *out = v + cols;
    for (int r = 0; r < rows; r++) {
        if (dy32)
            memcpy(d, dy32 + (size_t)r * lddy, (size_t)cols * sizeof *d);
        else
            host_get(d, dy + (size_t)r * lddy, (size_t)cols);
        host_get(v, y + (size_t)r * ldy, (size_t)cols);
        memset(out, 0, (size_t)cols * sizeof *out);
        loci_rmsnorm_bwd_ref(out, cols, d, cols, v, cols, inv + r, 1, cols);
        host_put(dx + (size_t)r * lddx, out, (size_t)cols);
    }
    free(d);
}

/* ---- activations -------------------------------------------------------------------------------- */

void HOST(to_bf16)(loci_gpu *g, loci_bf16 *y, const float *x, size_t n)
{
    BEGIN(g);
    ALIGNED(g, y, 0, 4);
    host_put(y, x, n);
}

void HOST(swiglu)(loci_gpu *g, loci_bf16 *y, const loci_bf16 *gu, int rows, int n)
{
    BEGIN(g);
    REQUIRE(g, n % 8 == 0, "n %d is not a multiple of 8", n);
    ALIGNED(g, y, 0, 16);
    ALIGNED(g, gu, 0, 16);
    float *in = host_rows(gu, 2 * n, rows, 2 * n),
          *out = host_scratch((size_t)rows * n, sizeof *out);
    loci_swiglu_ref(out, n, in, 2 * n, rows, n);
    host_put(y, out, (size_t)rows * n);
    free(in);
    free(out);
}

void HOST(swiglu_bwd)(loci_gpu *g, loci_bf16 *gu, loci_bf16 *act, const loci_bf16 *dact, int rows,
                      int n)
{
    BEGIN(g);
    REQUIRE(g, n % 8 == 0, "n %d is not a multiple of 8", n);
    ALIGNED(g, gu, 0, 16);
    ALIGNED(g, act, 0, 16);
    ALIGNED(g, dact, 0, 16);
    const size_t half = (size_t)rows * n;
    float *in = host_rows(gu, 2 * n, rows, 2 * n), *d = host_rows(dact, n, rows, n),
          *y = host_scratch(half, sizeof *y), *dgu = host_scratch(2 * half, sizeof *dgu);
    loci_swiglu_ref(y, n, in, 2 * n, rows, n);
    loci_swiglu_bwd_ref(dgu, 2 * n, d, n, in, 2 * n, rows, n);
    host_put(act, y, half);
    host_put(gu, dgu, 2 * half);
    free(in);
    free(d);
    free(y);
    free(dgu);
}

void HOST(silu)(loci_gpu *g, loci_bf16 *y, const loci_bf16 *x, size_t n)
{
    BEGIN(g);
    for (size_t i = 0; i < n; i++) {
        const float v = loci_bf16_to_f32(x[i]);
        float out;
        loci_silu_ref(&out, &v, 1);
        y[i] = loci_f32_to_bf16(out);
    }
}

void HOST(silu_bwd)(loci_gpu *g, loci_bf16 *x, const loci_bf16 *dy, size_t n)
{
    BEGIN(g);
    for (size_t i = 0; i < n; i++) {
        const float v = loci_bf16_to_f32(x[i]), d = loci_bf16_to_f32(dy[i]);
        float out;
        loci_silu_bwd_ref(&out, &d, &v, 1);
        x[i] = loci_f32_to_bf16(out);
    }
}

/* ---- unit rows of 128 --------------------------------------------------------------------------- */

void HOST(unit)(loci_gpu *g, loci_bf16 *x, float *inv, int rows)
{
    BEGIN(g);
    ALIGNED(g, x, 0, 4);
    for (int r = 0; r < rows; r++) {
        float row[128];
        host_get(row, x + (size_t)r * 128, 128);
        inv[r] = (float)(1.0 / fmax(sqrt(host_dot(row, row, 128)), 1e-12));
        for (int c = 0; c < 128; c++) row[c] *= inv[r];
        host_put(x + (size_t)r * 128, row, 128);
    }
}

void HOST(unit_bwd)(loci_gpu *g, loci_bf16 *dx, float *along, const float *dy, const loci_bf16 *y,
                    const float *inv, int rows)
{
    BEGIN(g);
    ALIGNED(g, dx, 0, 4);
    ALIGNED(g, dy, 0, 8);
    ALIGNED(g, y, 0, 4);
    for (int r = 0; r < rows; r++) {
        const float *d = dy + (size_t)r * 128;
        float row[128];
        host_get(row, y + (size_t)r * 128, 128);
        const double dot = host_dot(d, row, 128);
        for (int c = 0; c < 128; c++) row[c] = (float)(inv[r] * (d[c] - row[c] * dot));
        host_put(dx + (size_t)r * 128, row, 128);
        if (along) along[r] = (float)dot;
    }
}

/* ---- heads of 64: norm and rotation ------------------------------------------------------------- */

static void rotate(float row[64], int32_t pos, const double *frequency, int dir)
{
    float cs[32], sn[32];
    const int32_t first = 0;
    for (int i = 0; i < 32; i++) {
        cs[i] = (float)cos(pos * frequency[i]);
        sn[i] = (float)sin(pos * frequency[i]);
    }
    loci_rope_ref(row, 64, &first, cs, sn, 1, 1, 64, dir);
}

void HOST(norm_rope)(loci_gpu *g, loci_bf16 *x, int ldx, float *inv, const int32_t *pos,
                     const double *frequency, int heads, int rows, float eps)
{
    BEGIN(g);
    REQUIRE(g, ldx >= heads * 64, "ldx %d for %d heads", ldx, heads);
    ALIGNED(g, x, ldx, 16);
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < heads; h++) {
            loci_bf16 *p = x + (size_t)r * ldx + h * 64;
            float row[64];
            host_get(row, p, 64);
            loci_rmsnorm_ref(row, 64, inv + (size_t)r * heads + h, row, 64, 1, 64, eps);
            if (pos) rotate(row, pos[r], frequency, 1);
            host_put(p, row, 64);
        }
}

void HOST(norm_rope_bwd)(loci_gpu *g, loci_bf16 *d, int ldd, const loci_bf16 *y, int ldy,
                         const float *inv, const int32_t *pos, const double *frequency, int heads,
                         int rows)
{
    BEGIN(g);
    REQUIRE(g, ldd >= heads * 64 && ldy >= heads * 64, "ldd %d, ldy %d for %d heads", ldd, ldy,
            heads);
    ALIGNED(g, d, ldd, 16);
    ALIGNED(g, y, ldy, 16);
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < heads; h++) {
            loci_bf16 *p = d + (size_t)r * ldd + h * 64;
            float row[64], out[64], dx[64] = { 0 };
            host_get(row, p, 64);
            host_get(out, y + (size_t)r * ldy + h * 64, 64);
            if (pos) rotate(row, pos[r], frequency, -1);
            if (pos) rotate(out, pos[r], frequency, -1);
            loci_rmsnorm_bwd_ref(dx, 64, row, 64, out, 64, inv + (size_t)r * heads + h, 1, 64);
            host_put(p, dx, 64);
        }
}
