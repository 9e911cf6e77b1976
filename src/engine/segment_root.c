/* segment_root.c - the root of a document: the mean of its chunks' landmarks, from the stored int8.
 *
 *   root_j = f32( sum_i scale_i q_ij / (n M) )        i over the n M landmarks in the file's order
 *
 * What ingest stores must be what anybody makes of the same segment later, bit for bit.  So sums are in
 * f64 and in plain C: a product of an f32 and an int8 is exact there, fused or not, and each sum runs in
 * one order whatever the machine, its kernels and its threads. */
#include "engine/segment_impl.h"
#include <float.h>

/* Add the landmarks (rows, d) of one group, or of a part of it. */
static void add_rows(double *sum, const int8_t *landmark, const float *scale, size_t rows, size_t d)
{
    for (size_t i = 0; i < rows; i++, landmark += d) {
        const double s = (double)scale[i];
        for (size_t j = 0; j < d; j++) sum[j] += s * (double)landmark[j];
    }
}

loci_status loci_segment_root(loci_segment *s, int64_t first, int64_t n, float *root,
                              loci_error *err)
{
    double sum[SEG_LANDMARK_MAX] = { 0.0 };
    const size_t M = (size_t)s->shape.n_landmarks, d = (size_t)s->shape.d_landmark;
    if (first < 0 || n < 1 || n > s->chunks || first > s->chunks - n)
        return loci_fail(err, LOCI_EINVAL, "%s: the root of chunks %lld..+%lld of %lld", s->path,
                         (long long)first, (long long)n, (long long)s->chunks);
    for (int64_t at = first, end = first + n; at < end;) {
        const int64_t g = at / LOCI_SEG_GROUP, next = (g + 1) * LOCI_SEG_GROUP;
        const int64_t stop = next < end ? next : end;
        const size_t row = (size_t)(at % LOCI_SEG_GROUP) * M;
        loci_group_view v;
        const loci_status st = loci_segment_group(s, g, &v, err);
        if (st != LOCI_OK) return st;
        add_rows(sum, v.landmark + row * d, v.landmark_scale + row, (size_t)(stop - at) * M, d);
        loci_segment_forget(s, g); /* of a large bank not all landmarks need stay */
        at = stop;
    }
    const double rows = (double)n * (double)M;
    for (size_t j = 0; j < d; j++) {
        /* Finite scales may make a mean that no f32 holds; a root is finite all the same. */
        const double mean = sum[j] / rows;
        root[j] = (float)(mean > FLT_MAX ? FLT_MAX : mean < -FLT_MAX ? -FLT_MAX : mean);
    }
    return LOCI_OK;
}
