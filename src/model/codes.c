/* codes.c - 128-bit codes: signs of a projection, of landmarks and of the queries that search them.
 *
 * Bit i of a code is the sign of <p_i, x>, p_i row i of a (128, 128) matrix.  Without trained codes it
 * is one matrix of normal numbers from a constant seed: two unit vectors at an angle a differ in
 * each bit with probability a / pi, so the count of differing bits ranks chunks roughly as their dot
 * products do, at 16 bytes a landmark; survivors are scored exactly.  That matrix never changes:
 * banks on disk hold its bits.  With trained codes landmarks and queries have a matrix each, learned
 * so that the count ranks chunks as the router does (code_loss.c). */
#include "model/model_impl.h"

static const uint64_t SEED = 0x6c6f63692d636f64; /* "loci-cod" */

void loci_codes_map(float *map, int d)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    for (int i = 0; i < d * d; i++) map[i] = (float)loci_rng_normal(&rng);
}

/* Signs of x (n, 128) under a map of any stored type.  Row by row: sums of several rows at once may be
 * in another order, and a code must not depend on the company that its row comes in. */
static void signs(const loci_model *m, uint64_t *code, const float *x, const loci_mat *map, int n)
{
    enum { D = 128, WORDS = D / 64 };
    float y[D];
    for (int r = 0; r < n; r++) {
        uint64_t *word = code + (size_t)r * WORDS;
        loci_linear(m, y, D, x + (size_t)r * D, D, map, 1);
        word[0] = word[1] = 0;
        for (int i = 0; i < D; i++) word[i / 64] |= (uint64_t)(y[i] > 0.0f) << (i % 64);
    }
}

static loci_mat fixed_map(const loci_model *m)
{
    const int d = m->hp.d_landmark;
    return (loci_mat){ .data = m->code_map, .rows = d, .cols = d, .type = LOCI_F32 };
}

void loci_codes(const loci_model *m, uint64_t *code, const float *landmark, int n)
{
    const loci_mat map = m->hp.trained_codes ? m->p.code.key : fixed_map(m);
    signs(m, code, landmark, &map, n);
}

void loci_query_codes(const loci_model *m, uint64_t *code, const float *u, int n)
{
    const loci_mat map = m->hp.trained_codes ? m->p.code.query : fixed_map(m);
    signs(m, code, u, &map, n);
}
