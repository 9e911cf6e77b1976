/* codes.c - 128-bit codes of landmarks: signs of a fixed random projection.
 *
 * Bit i of a code is the sign of <p_i, l>, p_i row i of a (128, 128) matrix of normal numbers from
 * a constant seed.  Two unit vectors at an angle a differ in each bit with probability a / pi, so
 * the count of differing bits ranks chunks roughly as their dot products do, at 16 bytes a
 * landmark; survivors are scored exactly.  The matrix never changes: banks on disk hold its bits. */
#include "model/model_impl.h"

enum { BLOCK = 32 }; /* rows projected at a time: 16 KiB on the stack */

static const uint64_t SEED = 0x6c6f63692d636f64; /* "loci-cod" */

void loci_codes_map(float *map, int d)
{
    loci_rng rng;
    loci_rng_seed(&rng, SEED);
    for (int i = 0; i < d * d; i++) map[i] = (float)loci_rng_normal(&rng);
}

void loci_codes(const loci_model *m, uint64_t *code, const float *landmark, int n)
{
    enum { D = 128, WORDS = D / 64 };
    float y[BLOCK * D];
    for (int r0 = 0; r0 < n; r0 += BLOCK) {
        const int rows = n - r0 < BLOCK ? n - r0 : BLOCK;
        m->k.gemm(y, D, landmark + (size_t)r0 * D, D, 0, m->code_map, D, 1, rows, D, D, 0.0f);
        for (int r = 0; r < rows; r++) {
            uint64_t *word = code + (size_t)(r0 + r) * WORDS;
            word[0] = word[1] = 0;
            for (int i = 0; i < D; i++) word[i / 64] |= (uint64_t)(y[r * D + i] > 0.0f) << (i % 64);
        }
    }
}
