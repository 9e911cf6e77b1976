/* int_body.h - products of int8 rows with packed weights (kernel.h), for all instruction sets.
 *
 * A lane is a row of W: the dot products of four columns add up in it, so nothing is ever summed
 * across lanes, and the scales of 16 rows are one load.  Many rows of x: a tile of M rows by P panels
 * stays in registers, the panels in the first level cache.  One row: the panel is streamed from end to
 * end once, in several sums a lane that do not wait for each other.
 *
 * The file that includes this says in the words below what its instruction set can do:
 *   VL lanes of vi and vf;  IROWS, IPANELS, HROWS: rows and panels of a w8 tile, rows of a w4 tile
 *   vw  weights of one step, as the products want them       w8_of(p)  w4_low(p) w4_high(p)
 *   vx  four numbers of x, in every lane                     x8_of(p)  x4_of(p)
 *   i_dot8(acc, w, x), i_dot4: acc += products     i_start8(sum), i_start4(sum of x): acc before them
 *   f_of(acc), f_mul, f_fma, f_set, f_zero, f_load, f_half(p): 16-bit floats
 *   f_put(y, n, v, add): n of VL numbers, written or added
 */
#ifndef LOCI_KERNEL_INT_BODY_H
#define LOCI_KERNEL_INT_BODY_H

#include "kernel/kernel.h"

enum { VECS = LOCI_PANEL / VL, STEP = 4 * LOCI_PANEL, CHAINS = 4, GROUP_STEPS = LOCI_W4_GROUP / 8 };

/* One product: x, y at its rows, panels from data on.  n columns of y are left from here. */
typedef struct {
    float *y;
    const int8_t *x;
    const float *sx;
    size_t ldy, ldx;
    int n, add;
} int_at;

/* M rows and P panels of y from sums (M, ld). */
INLINE void put_rows(const int M, const int P, const int_at *t, const vf *sum, int ld)
{
    for (int i = 0; i < M; i++)
        for (int v = 0; v < P * VECS && VL * v < t->n; v++)
            f_put(t->y + (size_t)i * t->ldy + VL * v, t->n - VL * v,
                  f_mul(sum[i * ld + v], f_set(t->sx[i])), t->add);
}

/* ---- w8 --------------------------------------------------------------------------------- */

INLINE void tile_w8(const int M, const int P, const int_at *t, const loci_w8 *w, int panel)
{
    const size_t steps = (size_t)((w->cols + 3) / 4), bytes = steps * STEP;
    const int8_t *data = w->data + (size_t)panel * bytes, *x = t->x;
    vi acc[IROWS][IPANELS * VECS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int v = 0; v < P * VECS; v++) acc[i][v] =
        i_start8(w->sum + LOCI_PANEL * panel + VL * v);
    for (size_t s = 0; s < steps; s++) {
        vw b[IPANELS * VECS];
        UNROLL for (int v = 0; v < P * VECS; v++) b[v] =
            w8_of(data + (size_t)(v / VECS) * bytes + 4 * VL * (v % VECS));
        UNROLL for (int i = 0; i < M; i++)
        {
            const vx a = x8_of(x + (size_t)i * t->ldx);
            UNROLL for (int v = 0; v < P * VECS; v++) acc[i][v] = i_dot8(acc[i][v], b[v], a);
        }
        data += STEP;
        x += 4;
    }
    vf sum[IROWS][IPANELS * VECS]; /* apart from acc, which must stay in registers */
    UNROLL for (int v = 0; v < P * VECS; v++)
    {
        const vf scale = f_load(w->scale + LOCI_PANEL * panel + VL * v);
        UNROLL for (int i = 0; i < M; i++) sum[i][v] = f_mul(f_of(acc[i][v]), scale);
    }
    put_rows(M, P, t, &sum[0][0], IPANELS * VECS);
}

/* One row and one panel: CHAINS steps at a time. */
INLINE void row_w8(const int_at *t, const loci_w8 *w, int panel)
{
    const int steps = (w->cols + 3) / 4;
    const int8_t *data = w->data + (size_t)panel * (size_t)steps * STEP;
    vi acc[CHAINS][VECS];
    UNROLL for (int v = 0; v < VECS; v++) acc[0][v] =
        i_start8(w->sum + LOCI_PANEL * panel + VL * v);
    UNROLL for (int c = 1; c < CHAINS; c++) UNROLL for (int v = 0; v < VECS; v++) acc[c][v] =
        i_zero();
    int s = 0;
    for (; s + CHAINS <= steps; s += CHAINS) {
        UNROLL for (int c = 0; c < CHAINS; c++)
        {
            const vx a = x8_of(t->x + 4 * (s + c));
            UNROLL for (int v = 0; v < VECS; v++) acc[c][v] =
                i_dot8(acc[c][v], w8_of(data + (size_t)(s + c) * STEP + 4 * VL * v), a);
        }
    }
    for (; s < steps; s++) {
        const vx a = x8_of(t->x + 4 * s);
        UNROLL for (int v = 0; v < VECS; v++) acc[0][v] =
            i_dot8(acc[0][v], w8_of(data + (size_t)s * STEP + 4 * VL * v), a);
    }
    vf sum[VECS];
    UNROLL for (int v = 0; v < VECS; v++)
    {
        vi all = acc[0][v];
        UNROLL for (int c = 1; c < CHAINS; c++) all = i_add(all, acc[c][v]);
        sum[v] = f_mul(f_of(all), f_load(w->scale + LOCI_PANEL * panel + VL * v));
    }
    put_rows(1, 1, t, sum, VECS);
}

INLINE void rows_w8(const int P, int_at t, const loci_w8 *w, int panel, int m)
{
#define ROWS(M)                                                                                    \
    {                                                                                              \
        tile_w8(M, P, &t, w, panel);                                                               \
        t.y += (M)*t.ldy;                                                                          \
        t.x += (M)*t.ldx;                                                                          \
        t.sx += (M);                                                                               \
    }
    for (; m >= IROWS; m -= IROWS) ROWS(IROWS)
    if (IROWS > 4 && m & 4) ROWS(4)
    if (m & 2) ROWS(2)
    if (m & 1) ROWS(1)
#undef ROWS
}

void LOCI_ISA(gemm_w8a8)(float *y, int ldy, const int8_t *x, int ldx, const float *sx,
                         const loci_w8 *w, int first, int m, int n, int add)
{
    int_at t = { y, x, sx, (size_t)ldy, (size_t)ldx, n, add };
    int panel = first / LOCI_PANEL;
    while (t.n > 0) {
        const int left = loci_panels(t.n);
        /* Four panels in two even parts: a tile one panel wide waits for its loads of x. */
        const int P = m == 1 || left == 1                      ? 1
                      : left >= IPANELS && left != IPANELS + 1 ? IPANELS
                                                               : 2;
        if (m == 1)
            row_w8(&t, w, panel);
        else if (P == 1)
            rows_w8(1, t, w, panel, m);
        else if (P == 2)
            rows_w8(IPANELS < 2 ? 1 : 2, t, w, panel, m);
        else
            rows_w8(IPANELS < 3 ? 1 : 3, t, w, panel, m);
        const int done = P < IPANELS ? P : IPANELS;
        panel += done;
        t.y += done * LOCI_PANEL;
        t.n -= done * LOCI_PANEL;
    }
}

/* ---- w4 --------------------------------------------------------------------------------- */

enum { SUMS = 16384 };

/* sums[i, g] = sum of x[i, 32g .. 32g+32). */
static void group_sums(int16_t *sums, const int8_t *x, size_t ldx, int m, int groups)
{
    for (int i = 0; i < m; i++)
        for (int g = 0; g < groups; g++) {
            const int8_t *x_g = x + (size_t)i * ldx + (size_t)(LOCI_W4_GROUP * g);
            int sum = 0;
            for (int c = 0; c < LOCI_W4_GROUP; c++) sum += x_g[c];
            sums[i * groups + g] = (int16_t)sum;
        }
}

INLINE void tile_w4(const int M, const int_at *t, const loci_w4 *w, int panel, const int16_t *sums)
{
    const int groups = w->cols / LOCI_W4_GROUP;
    const uint8_t *data = w->data + (size_t)panel * (size_t)(w->cols / 8) * STEP;
    const uint16_t *scale = w->scale + (size_t)panel * (size_t)groups * LOCI_PANEL;
    vf total[HROWS][VECS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int v = 0; v < VECS; v++) total[i][v] = f_zero();
    for (int g = 0; g < groups; g++) {
        vi acc[HROWS][VECS];
        UNROLL for (int i = 0; i < M; i++) UNROLL for (int v = 0; v < VECS; v++) acc[i][v] =
            i_start4(sums[i * groups + g]);
        UNROLL for (int s = 0; s < GROUP_STEPS; s++)
        {
            const int8_t *x = t->x + LOCI_W4_GROUP * g + 8 * s;
            UNROLL for (int v = 0; v < VECS; v++)
            {
                const vw low = w4_low(data + STEP * s + 4 * VL * v);
                const vw high = w4_high(data + STEP * s + 4 * VL * v);
                UNROLL for (int i = 0; i < M; i++)
                {
                    const int8_t *x_i = x + (size_t)i * t->ldx;
                    acc[i][v] = i_dot4(acc[i][v], low, x4_of(x_i));
                    acc[i][v] = i_dot4(acc[i][v], high, x4_of(x_i + 4));
                }
            }
        }
        data += GROUP_STEPS * STEP;
        UNROLL for (int v = 0; v < VECS; v++)
        {
            const vf unit = f_half(scale + VL * v);
            UNROLL for (int i = 0; i < M; i++) total[i][v] =
                f_fma(f_of(acc[i][v]), unit, total[i][v]);
        }
        scale += LOCI_PANEL;
    }
    vf sum[HROWS][VECS];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int v = 0; v < VECS; v++) sum[i][v] =
        total[i][v];
    put_rows(M, 1, t, &sum[0][0], VECS);
}

INLINE void rows_w4(int_at t, const loci_w4 *w, int panel, int m, const int16_t *sums)
{
    const int groups = w->cols / LOCI_W4_GROUP;
#define ROWS(M)                                                                                    \
    {                                                                                              \
        tile_w4(M, &t, w, panel, sums);                                                            \
        t.y += (M)*t.ldy;                                                                          \
        t.x += (M)*t.ldx;                                                                          \
        t.sx += (M);                                                                               \
        sums += (M)*groups;                                                                        \
    }
    for (; m >= HROWS; m -= HROWS) ROWS(HROWS)
    if (HROWS > 4 && m & 4) ROWS(4)
    if (HROWS > 2 && m & 2) ROWS(2)
    if (m & 1) ROWS(1)
#undef ROWS
}

void LOCI_ISA(gemm_w4a8)(float *y, int ldy, const int8_t *x, int ldx, const float *sx,
                         const loci_w4 *w, int first, int m, int n, int add)
{
    int16_t sums[SUMS];
    const int groups = w->cols / LOCI_W4_GROUP;
    const int block = groups > 0 ? SUMS / groups : m;
    for (int i = 0; i < m; i += block) {
        const int rows = m - i < block ? m - i : block;
        int_at t = { y + (size_t)i * (size_t)ldy,
                     x + (size_t)i * (size_t)ldx,
                     sx + i,
                     (size_t)ldy,
                     (size_t)ldx,
                     n,
                     add };
        group_sums(sums, t.x, t.ldx, rows, groups);
        for (int panel = first / LOCI_PANEL; t.n > 0; panel++) {
            rows_w4(t, w, panel, rows, sums);
            t.y += LOCI_PANEL;
            t.n -= LOCI_PANEL;
        }
    }
}

#endif
