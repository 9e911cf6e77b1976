/* basis.h - coordinates of landmarks, in which a few numbers say what a router's queries make of them.
 *
 *   U = mean of u u^T over queries u, L = covariance of landmarks l, m their mean
 *   U = G G^T;   v_1, v_2 ..: eigenvectors of G^T L G, values s_1^2 >= s_2^2 >= ...
 *   z_j = <A_j, l - m>,  A_j = G v_j / s_j          landmarks: each z_j has deviation 1
 *   q_j = <B_j, u>,      B_j = s_j G^-T v_j         queries: q_j^2 is s_j^2 on average
 *   <u, l> = <u, m> + sum_j q_j z_j + what the coordinates left out say
 *
 * Of all choices of so many coordinates this leaves out the least of <u, l - m>, on average over
 * queries and landmarks, as near as the iteration comes (neighbours of like s may be mixed, which
 * their span does not mind): principal components of the scores, not of the landmarks alone.  Seen with M,
 * 1M and 16M tokens: 64 of 128 coordinates leave 0.03 of a score's deviation of 2.5 out, rounded to 4 bits 0.35;
 * signs of all 128 numbers 1.4. */
#ifndef LOCI_BASIS_H
#define LOCI_BASIS_H

#include "engine/engine.h"

enum { LOCI_BASIS = 64 }; /* coordinates */

/* All that a query or landmark of width d meets, one array behind the other, as it is stored. */
typedef struct {
    int d;
    const float *landmark;  /* (LOCI_BASIS, d) A */
    const float *query;     /* (LOCI_BASIS, d) B */
    const float *origin;    /* (LOCI_BASIS) <A_j, m> */
    const float *deviation; /* (LOCI_BASIS) s_j; 0: nothing is left to tell */
    const float *mean;      /* (d) m */
} loci_basis;

static inline size_t loci_basis_floats(int d)
{
    return 2 * LOCI_BASIS * (size_t)d + 2 * LOCI_BASIS + (size_t)d;
}
/* The basis that data (loci_basis_floats) holds. */
loci_basis loci_basis_view(const float *data, int d);

/* Fill data (loci_basis_floats) from queries u (n_u, d) and landmarks l (n_l, d); n_u, n_l >= 1.  The
 * same numbers for the same input.  Errors: LOCI_ENOMEM. */
loci_status loci_basis_make(float *data, const float *u, int64_t n_u, const float *l, int64_t n_l,
                            int d, loci_error *err);

/* z (rows, LOCI_BASIS) of landmarks x (rows, d).  A row's numbers depend on nothing but the row and how
 * many there are. */
void loci_basis_turn(const loci_basis *b, const loci_kernels *k, float *z, const float *x,
                     int rows);
/* The same of stored landmarks x (rows, d) with their scales; scratch (rows, d). */
void loci_basis_coordinates(const loci_basis *b, const loci_kernels *k, float *z, const int8_t *x,
                            const float *scale, int rows, float *scratch);
/* q (LOCI_BASIS) of a query u (d); returns <u, m>. */
float loci_basis_query(const loci_basis *b, const loci_kernels *k, float *q, const float *u);

#endif
