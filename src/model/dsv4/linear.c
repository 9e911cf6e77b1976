/* linear.c - products with stored matrices, spread over the pool, and what a mode rounds.
 *
 * Outputs are cut into tiles of a fixed width, whatever the number of threads, and a row of outputs
 * depends on its own input row alone (kernel.h: linear).  In exact mode inputs of fp8 and fp4
 * matrices are quantised by 128 columns first, and what passes between operations is bf16. */
#include "model/dsv4/dsv4_impl.h"

enum { A8_COLUMNS = 128 };

void dsv4_round(const loci_dsv4 *m, float *x, size_t n)
{
    if (m->mode != LOCI_DSV4_MODE_EXACT) return;
    for (size_t i = 0; i < n; i++) x[i] = loci_bf16_to_f32(loci_f32_to_bf16(x[i]));
}

void dsv4_norm(const loci_dsv4 *m, float *y, const float *x, const float *w, int rows, int n)
{
    m->k.rmsnorm(y, n, NULL, x, n, rows, n, m->hp.norm_eps);
    for (int r = 0; w && r < rows; r++) {
        float *row = y + (size_t)r * (size_t)n;
        for (int i = 0; i < n; i++) row[i] *= w[i];
    }
    dsv4_round(m, y, (size_t)rows * (size_t)n);
}

typedef struct {
    const loci_dsv4 *m;
    const dsv4_product *list;
    int n;
} job;

static int tiles_of(const dsv4_product *p)
{
    return (p->n + DSV4_OUT_TILE - 1) / DSV4_OUT_TILE;
}

static void product_tile(void *ctx, int tile, int worker)
{
    const job *j = ctx;
    const dsv4_product *p = j->list;
    (void)worker;
    for (; tile >= tiles_of(p); p++) tile -= tiles_of(p);
    const int at = tile * DSV4_OUT_TILE;
    const int n = p->n - at < DSV4_OUT_TILE ? p->n - at : DSV4_OUT_TILE;
    loci_linear_stored(&j->m->k, p->y + at, p->ldy, p->x, p->ldx, p->sx, p->ldsx, p->w,
                       p->first + at, p->m, n);
    for (int t = 0; p->round && t < p->m; t++)
        dsv4_round(j->m, p->y + (size_t)t * (size_t)p->ldy + at, (size_t)n);
}

void dsv4_products(const loci_dsv4_seq *s, const dsv4_product *list, int n)
{
    job j = { s->m, list, n };
    int tiles = 0;
    for (int i = 0; i < n; i++) tiles += tiles_of(&list[i]);
    loci_pool_run(s->pool, tiles, product_tile, &j);
}

dsv4_product dsv4_activate(loci_dsv4_seq *s, const loci_dsv4_mat *w, const float *x, int ldx,
                           int rows)
{
    dsv4_product p = { .x = x, .ldx = ldx, .w = w, .n = w->rows, .m = rows };
    if (s->m->mode != LOCI_DSV4_MODE_EXACT ||
        (w->type != LOCI_STORED_E4M3 && w->type != LOCI_STORED_E2M1))
        return p;
    float *q = s->sc.xq + s->sc.xq_used, *scale = s->sc.sx + s->sc.sx_used;
    p.x = q;
    p.ldx = w->cols;
    p.sx = scale;
    p.ldsx = (w->cols + A8_COLUMNS - 1) / A8_COLUMNS;
    s->m->k.quant_a8(q, p.ldx, scale, p.ldsx, x, ldx, rows, w->cols, A8_COLUMNS);
    s->sc.xq_used += (size_t)rows * (size_t)p.ldx;
    s->sc.sx_used += (size_t)rows * (size_t)p.ldsx;
    return p;
}

void dsv4_linear(loci_dsv4_seq *s, float *y, int ldy, const float *x, int ldx,
                 const loci_dsv4_mat *w, int T, bool round)
{
    s->sc.xq_used = s->sc.sx_used = 0;
    dsv4_product p = dsv4_activate(s, w, x, ldx, T);
    p.y = y;
    p.ldy = ldy;
    p.round = round;
    dsv4_products(s, &p, 1);
}
