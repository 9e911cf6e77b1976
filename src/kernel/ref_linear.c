/* ref_linear.c - products with a stored matrix of any type, stated plainly.
 *
 *   y[i,j] = sum over blocks b of f32( sum over c in b of x[i,c] code[j,c] ) * (sx[i,b] scale[j,b])
 *
 * The inner sums run in double and are rounded once a block, the outer one in f32, block after
 * block: the order in which hardware for such numbers adds, and the one that weights trained with
 * these scales have seen. */
#include "kernel/stored.h"

static float row_product(const float *x, const float *sx, const loci_stored *w, int r)
{
    const int block = w->type == LOCI_STORED_E2M1 ? 32 : LOCI_SCALE_TILE;
    const uint8_t *row = stored_row_at(w, r); /* w[r,:] */
    float sum = 0.0f;
    for (int c0 = 0; c0 < w->cols; c0 += block) {
        const int end = w->cols - c0 < block ? w->cols : c0 + block;
        double dot = 0.0;
        for (int c = c0; c < end; c++) dot += (double)x[c] * (double)stored_code(w, row, c);
        const float factor = stored_scale(w, r, c0) * (sx ? sx[c0 / LOCI_SCALE_TILE] : 1.0f);
        sum += (float)dot * factor;
    }
    return sum;
}

static void product(float *y, int ldy, const float *x, int ldx, const float *sx, int ldsx,
                    const loci_stored *w, int first, int m, int n)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            y[(size_t)i * (size_t)ldy + (size_t)j] =
                row_product(x + (size_t)i * (size_t)ldx, sx ? sx + (size_t)i * (size_t)ldsx : NULL,
                            w, first + j);
}

#define X(NAME, name, elements, bytes)                                                             \
    void loci_linear_##name##_ref(float *y, int ldy, const float *x, int ldx, const float *sx,     \
                                  int ldsx, const loci_stored *w, int first, int m, int n)         \
    {                                                                                              \
        product(y, ldy, x, ldx, sx, ldsx, w, first, m, n);                                         \
    }
LOCI_STORED_LIST(X)
#undef X
