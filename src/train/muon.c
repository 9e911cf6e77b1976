/* muon.c - Muon for hidden matrices: momentum, then the nearest (semi-)orthogonal matrix.
 *
 *   m <- 0.9 m + 0.1 g;   u = 0.1 g + 0.9 m                          (Nesterov)
 *   X = u / |u|;  five times  X <- a X + b (X X^T) X + c (X X^T)^2 X   (Newton-Schulz)
 *   p <- p - lr_adamw wd p - lr_muon sqrt(max(1, rows / cols)) X
 *
 * a, b, c = 3.4445, -4.7750, 2.0315: the quintic of Jordan et al. 2024, which does not converge to
 * exact orthogonality but brings all singular values near 1 in five steps, and that is enough.
 * Each matrix is one tile: its sums do not depend on the number of threads. */
#include "train/train_impl.h"
#include <math.h>

static const float quintic[3] = { 3.4445f, -4.7750f, 2.0315f };
enum { STEPS = 5 };
static const float momentum = 0.9f;

/* Hidden matrices only: not the embedding or the head, nor tables that are looked up or added. */
bool loci_muon_wants(const loci_param_info *info)
{
    return info->quantise && info->decay && info->offset != offsetof(loci_params, embed) &&
           info->offset != offsetof(loci_params, head) && info->rows > 1 && info->cols > 1;
}

static size_t matrix_scratch(const loci_param_info *x)
{
    const size_t r = (size_t)x->rows, c = (size_t)x->cols, k = r < c ? r : c;
    return 2 * r * c + 2 * k * k;
}

size_t loci_muon_scratch(const loci_param_info *info, int n_info)
{
    size_t n = 0;
    for (int i = 0; i < n_info; i++)
        if (loci_muon_wants(&info[i])) n += matrix_scratch(&info[i]);
    return n;
}

typedef struct {
    loci_optim *o;
    const loci_kernels *k;
    const loci_params *param, *grad, *moment;
    float lr, decay, gscale;
} muon_job;

/* X (r, c), r <= c, becomes a X + b A X + c A^2 X with A = X X^T. */
static void newton_schulz(const loci_kernels *k, float *x, float *next, float *a, float *b, int r,
                          int c)
{
    for (int s = 0; s < STEPS; s++) {
        k->gemm(a, r, x, c, 0, x, c, 1, r, r, c, 0.0f);
        k->gemm(b, r, a, r, 0, a, r, 0, r, r, r, 0.0f);
        for (int i = 0; i < r * r; i++) b[i] = quintic[1] * a[i] + quintic[2] * b[i];
        for (int i = 0; i < r; i++) b[(size_t)i * (size_t)r + (size_t)i] += quintic[0];
        k->gemm(next, c, b, r, 0, x, c, 0, r, c, r, 0.0f);
        float *swap = x;
        x = next;
        next = swap;
    }
    /* STEPS is odd: the result lies in the buffer that was `next` at first. */
}

static void muon_matrix(const muon_job *j, const loci_param_info *info, float *scratch)
{
    float *p = ((const loci_mat *)(const void *)((const char *)j->param + info->offset))->data;
    float *g = ((const loci_mat *)(const void *)((const char *)j->grad + info->offset))->data;
    float *m = ((const loci_mat *)(const void *)((const char *)j->moment + info->offset))->data;
    const int rows = info->rows, cols = info->cols;
    const bool tall = rows > cols; /* work on the transpose: the products are of the short side */
    const int r = tall ? cols : rows, c = tall ? rows : cols;
    const size_t n = (size_t)rows * (size_t)cols, k = (size_t)r;
    float *x = scratch, *next = x + n, *a = next + n, *b = a + k * k;
    double square = 0.0;
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * j->gscale;
        m[i] = momentum * m[i] + (1.0f - momentum) * gi;
        const float u = (1.0f - momentum) * gi + momentum * m[i];
        const size_t row = i / (size_t)cols, col = i % (size_t)cols;
        x[tall ? col * (size_t)c + row : i] = u;
        square += (double)u * (double)u;
    }
    const float scale = (float)(1.0 / (sqrt(square) + 1e-7));
    for (size_t i = 0; i < n; i++) x[i] *= scale;
    newton_schulz(j->k, x, next, a, b, r, c);
    const float step = j->lr * sqrtf(rows > cols ? (float)rows / (float)cols : 1.0f);
    for (size_t i = 0; i < n; i++) {
        const size_t row = i / (size_t)cols, col = i % (size_t)cols;
        p[i] -= j->decay * p[i] + step * next[tall ? col * (size_t)c + row : i];
    }
}

static void muon_tile(void *ctx, int tile, int worker)
{
    (void)worker;
    const muon_job *j = ctx;
    float *scratch = j->o->muon_scratch;
    for (int i = 0, seen = 0; i < j->o->n_info; i++) {
        if (!loci_muon_wants(&j->o->info[i])) continue;
        if (seen++ == tile) {
            muon_matrix(j, &j->o->info[i], scratch);
            return;
        }
        scratch += matrix_scratch(&j->o->info[i]);
    }
}

void loci_muon_step(loci_optim *o, loci_pool *pool, const loci_kernels *k,
                    const loci_train_config *c, float schedule, float gscale)
{
    loci_params param, grad, moment;
    int tiles = 0;
    for (int i = 0; i < o->n_info; i++) tiles += loci_muon_wants(&o->info[i]);
    loci_params_bind(&param, &o->hp, o->param);
    loci_params_bind(&grad, &o->hp, o->slot);
    loci_params_bind(&moment, &o->hp, o->m);
    muon_job job = {
        o, k, &param, &grad, &moment, c->muon * schedule, c->lr * schedule * c->weight_decay, gscale
    };
    loci_pool_run(pool, tiles, muon_tile, &job);
}
