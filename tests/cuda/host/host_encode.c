/* host_encode.c - rows of the chunk encoder: chunk c has 66 rows from row 66 c on, two extra vectors,
 * then its tokens, then pads.  Pads are zero rows and nothing flows through them. */
#include "host.h"
#include "kernel/kernel.h"

enum { EXTRA = 2, ROWS = HOST_CHUNK + EXTRA };

/* The row of z that holds a place (n_chunks*64). */
static size_t row_of(int place)
{
    return (size_t)(place / HOST_CHUNK) * ROWS + EXTRA + place % HOST_CHUNK;
}

void HOST(place)(loci_gpu *g, float *z, const loci_bf16 *in, const float *pos, const float *cls,
                 const int32_t *token_row, int n_chunks, int e)
{
    BEGIN(g);
    for (int c = 0; c < n_chunks; c++)
        memcpy(z + (size_t)c * ROWS * e, cls, (size_t)EXTRA * e * sizeof *z);
    for (int p = 0; p < n_chunks * HOST_CHUNK; p++) {
        float *row = z + row_of(p) * e;
        for (int k = 0; k < e; k++)
            row[k] = token_row[p] < 0 ? 0.0f
                                      : loci_bf16_to_f32(in[(size_t)token_row[p] * e + k]) +
                                            pos[p % HOST_CHUNK * e + k];
    }
}

void HOST(unplace)(loci_gpu *g, loci_bf16 *din, const loci_bf16 *dz, const int32_t *token_row,
                   int n_chunks, int e)
{
    BEGIN(g);
    REQUIRE(g, host_distinct(token_row, n_chunks * HOST_CHUNK), "a token lies in two places");
    for (int p = 0; p < n_chunks * HOST_CHUNK; p++)
        if (token_row[p] >= 0)
            memcpy(din + (size_t)token_row[p] * e, dz + row_of(p) * e, (size_t)e * sizeof *dz);
}

void HOST(cat)(loci_gpu *g, loci_bf16 *cat, float *inv, const loci_bf16 *x, const float *z,
               const int32_t *token_row, int n_chunks, int D, int e, float eps)
{
    BEGIN(g);
    float *row = host_scratch((size_t)e, sizeof *row);
    for (int p = 0; p < n_chunks * HOST_CHUNK; p++) {
        loci_bf16 *out = cat + (size_t)p * (D + e);
        memset(out, 0, (size_t)(D + e) * sizeof *out);
        inv[p] = 0.0f;
        if (token_row[p] < 0) continue;
        memcpy(out, x + (size_t)token_row[p] * D, (size_t)D * sizeof *x);
        loci_rmsnorm_ref(row, e, inv + p, z + row_of(p) * e, e, 1, e, eps);
        host_put(out + D, row, (size_t)e);
    }
    free(row);
    for (int p = 0; p < n_chunks * HOST_CHUNK; p++) /* pads are multiplied by 0 */
        REQUIRE(g, host_finite(z + row_of(p) * e, (size_t)e), "row %d of z is not finite", p);
}

void HOST(uncat)(loci_gpu *g, float *dz, loci_bf16 *dx, const loci_bf16 *dcat, const loci_bf16 *cat,
                 const float *inv, const int32_t *token_row, int n_chunks, int D, int e)
{
    BEGIN(g);
    REQUIRE(g, host_distinct(token_row, n_chunks * HOST_CHUNK), "a token lies in two places");
    float *d = host_scratch(2 * (size_t)e, sizeof *d), *y = d + e;
    for (int p = 0; p < n_chunks * HOST_CHUNK; p++) {
        const size_t at = (size_t)p * (D + e);
        float *row = dz + row_of(p) * e;
        memset(row, 0, (size_t)e * sizeof *row);
        host_get(d, dcat + at + D, (size_t)e);
        host_get(y, cat + at + D, (size_t)e);
        loci_rmsnorm_bwd_ref(row, e, d, e, y, e, inv + p, 1, e); /* inv of pads is 0 */
        if (token_row[p] >= 0)
            memcpy(dx + (size_t)token_row[p] * D, dcat + at, (size_t)D * sizeof *dx);
    }
    free(d);
}

void HOST(summary)(loci_gpu *g, loci_bf16 *cls, float *bias, const float *z, const float *w,
                   const float *b, int n_chunks, int e)
{
    BEGIN(g);
    const size_t two = (size_t)EXTRA * e;
    for (int c = 0; c < n_chunks; c++) {
        const float *row = z + (size_t)c * ROWS * e;
        host_put(cls + c * two, row, two);
        bias[c] = (float)(host_dot(row, w, (int)two) + (double)*b);
    }
}

void HOST(unsummary)(loci_gpu *g, float *dz, const loci_bf16 *dcls, const float *dbias,
                     const float *w, int n_chunks, int e)
{
    BEGIN(g);
    const size_t two = (size_t)EXTRA * e;
    for (int c = 0; c < n_chunks; c++)
        for (size_t k = 0; k < two; k++)
            dz[(size_t)c * ROWS * e + k] = loci_bf16_to_f32(dcls[c * two + k]) + dbias[c] * w[k];
}
