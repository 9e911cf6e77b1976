/* format_impl.h - what the reader and the writer of safetensors share. */
#ifndef LOCI_FORMAT_IMPL_H
#define LOCI_FORMAT_IMPL_H

#include "format/format.h"

/* Arrays are used and stored as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian");

enum {
    LOCI_ST_PREFIX = 8,             /* bytes of the header's length        */
    LOCI_ST_HEADER_MAX = 100000000, /* the format's own limit on the header */
    LOCI_ST_ALIGN = 64              /* where our writer puts the data       */
};

/* *bytes = product of dim[0..n_dims) times the size of an element (n_dims 0: one element).
 * False when a dimension is negative or the product does not fit. */
bool loci_tensor_bytes(loci_dtype t, const int64_t *dim, int n_dims, size_t *bytes);

/* Whether data lies in the file, and at which byte of it. */
bool loci_st_contains(const loci_st *f, const void *data, size_t *at);

#endif
