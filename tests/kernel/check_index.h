/* check_index.h - scores of a lightning index, against kernel.h.
 *
 * Codes, scales and weights at random, keys and queries laid out here from the contract; the truth
 * in double.  Scores must also be the same bits when a group is scored alone. */
#ifndef CHECK_INDEX_H
#define CHECK_INDEX_H

#include "kernel_test.h"

static const double e2m1_values[16] = { 0,   0.5,  1,  1.5,  2,  3,  4,  6,
                                        -0., -0.5, -1, -1.5, -2, -3, -4, -6 };

typedef struct {
    int heads, dim, groups, blocks;
    mat q, q_scale, w, keys;
    int *code; /* (16 groups, dim) */
} index_case;

static inline index_case index_new(loci_rng *rng, int heads, int dim, int groups)
{
    index_case c = { heads, dim, groups, (dim + 31) / 32, { 0 }, { 0 }, { 0 }, { 0 }, NULL };
    const int bytes = 8 * dim + 16 * c.blocks;
    c.q = mat_raw(1, heads, dim, 0, 0);
    c.q_scale = mat_raw(4, heads, c.blocks, 0, 0);
    c.w = mat_new(rng, NORMAL, 1, heads, 0, 0);
    c.keys = mat_raw(1, groups, bytes, 0, 0);
    c.code = calloc((size_t)(16 * groups * dim) + 1, sizeof *c.code);
    for (int i = 0; i < heads * dim; i++)
        c.q.at.q[i] = (int8_t)(2 * e2m1_values[loci_rng_below(rng, 16)]);
    for (int i = 0; i < heads * c.blocks; i++)
        c.q_scale.at.f[i] = ldexpf(1, (int)loci_rng_below(rng, 9) - 4);
    memset(c.keys.at.q, 0, (size_t)groups * (size_t)bytes);
    for (int j = 0; j < 16 * groups; j++) {
        uint8_t *group = (uint8_t *)c.keys.at.q + (size_t)(j / 16) * (size_t)bytes;
        for (int d = 0; d < dim; d++) {
            const int code = (int)loci_rng_below(rng, 16);
            c.code[j * dim + d] = code;
            group[d / 8 * 64 + j % 16 * 4 + d % 4] |= (uint8_t)(d % 8 < 4 ? code : code << 4);
        }
        for (int b = 0; b < c.blocks; b++)
            group[8 * dim + 16 * b + j % 16] = (uint8_t)(120 + loci_rng_below(rng, 12));
    }
    return c;
}

static inline void index_free(index_case *c)
{
    mat_free(&c->q);
    mat_free(&c->q_scale);
    mat_free(&c->w);
    mat_free(&c->keys);
    free(c->code);
}

static inline double index_truth(const index_case *c, int j, double *size)
{
    const int bytes = 8 * c->dim + 16 * c->blocks;
    const uint8_t *scale =
        (const uint8_t *)c->keys.at.q + (size_t)(j / 16) * (size_t)bytes + 8 * c->dim + j % 16;
    double sum = 0;
    *size = 0;
    for (int h = 0; h < c->heads; h++) {
        double dot = 0, parts = 0;
        for (int b = 0; b < c->blocks; b++) {
            double part = 0;
            for (int d = 32 * b; d < c->dim && d < 32 * b + 32; d++)
                part += 0.5 * c->q.at.q[h * c->dim + d] * e2m1_values[c->code[j * c->dim + d]];
            part *= (double)c->q_scale.at.f[h * c->blocks + b] * ldexp(1, scale[16 * b] - 127);
            dot += part;
            parts += fabs(part);
        }
        sum += (double)c->w.at.f[h] * (dot > 0 ? dot : 0);
        *size += fabs((double)c->w.at.f[h]) * parts;
    }
    return sum;
}

static inline void check_index_scores(loci_index_scores_fn *fn)
{
    static const int head_counts[] = { 1, 2, 4, 5, 16, 64 }, dims[] = { 8, 16, 32, 40, 64, 128 };
    static const int group_counts[] = { 0, 1, 3 };
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 60);
    for (int i = 0; i < COUNT(head_counts) * COUNT(dims) * COUNT(group_counts); i++) {
        index_case c = index_new(&rng, head_counts[i / 18], dims[i / 3 % 6], group_counts[i % 3]);
        mat score = mat_raw(4, 1, 16 * c.groups, 0, i % 3), one = mat_raw(4, 1, 16, 0, 0);
        fn(score.at.f, c.q.at.q, c.q_scale.at.f, c.w.at.f, (const uint8_t *)c.keys.at.q, c.heads,
           c.dim, c.groups);
        for (int j = 0; j < 16 * c.groups; j++) {
            double size;
            const double want = index_truth(&c, j, &size);
            const double bound = (c.heads + c.blocks + 4) * 2 * EPS * size;
            near((double)score.at.f[j], want, bound, "index_scores", c.heads, c.dim);
        }
        if (c.groups > 1) {
            fn(one.at.f, c.q.at.q, c.q_scale.at.f, c.w.at.f,
               (const uint8_t *)c.keys.at.q + c.keys.ld, c.heads, c.dim, 1);
            assert_memory_equal(one.at.f, score.at.f + 16, 16 * sizeof(float));
        }
        mat_intact(&score, "index_scores");
        mat_free(&score);
        mat_free(&one);
        index_free(&c);
    }
}

#endif
