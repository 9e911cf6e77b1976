/* npy.c - write one array as .npy, version 1.0: what numpy.load() reads.
 *
 *   OFFSET  SIZE  DESCRIPTION
 *        0     6  0x93 "NUMPY"
 *        6     2  version 1, 0
 *        8     2  length of the text, u16
 *       10     -  "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", spaces, newline
 *        -     -  elements, row-major; starts at a multiple of 64 */
#include "format/format_impl.h"
#include <string.h>

enum { PREFIX = 10, ALIGN = 64, HEADER_BYTES = 256 };
/* Four dimensions of 19 digits and the words around them leave room. */
_Static_assert(HEADER_BYTES % ALIGN == 0 &&
                   HEADER_BYTES >= PREFIX + 64 + LOCI_MAX_DIMS * 21 + ALIGN,
               "header buffer");

/* The header into out (HEADER_BYTES); its length, a multiple of ALIGN. */
static size_t npy_header(char *out, const int64_t *dim, int n_dims)
{
    char *text = out + PREFIX;
    const size_t room = HEADER_BYTES - PREFIX;
    int n = snprintf(text, room, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int d = 0; d < n_dims; d++)
        n += snprintf(text + n, room - (size_t)n, "%s%lld", d ? ", " : "", (long long)dim[d]);
    /* One number in brackets is no tuple in Python: it takes a comma. */
    n += snprintf(text + n, room - (size_t)n, "%s), }", n_dims == 1 ? "," : "");

    const size_t used = PREFIX + (size_t)n + 1; /* the newline ends it */
    const size_t total = (used + ALIGN - 1) / ALIGN * ALIGN;
    memset(out + PREFIX + n, ' ', total - used);
    out[total - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    const uint16_t len = (uint16_t)(total - PREFIX);
    memcpy(out + 8, &len, sizeof len);
    return total;
}

loci_status loci_npy_write_f32(const char *path, const float *data, const int64_t *dim, int n_dims,
                               loci_error *err)
{
    char header[HEADER_BYTES];
    size_t bytes;
    if (n_dims < 0 || n_dims > LOCI_MAX_DIMS)
        return loci_fail(err, LOCI_EINVAL, "%s: expected 0 to %d dimensions, found %d", path,
                         LOCI_MAX_DIMS, n_dims);
    if (!loci_tensor_bytes(LOCI_F32, dim, n_dims, &bytes))
        return loci_fail(err, LOCI_EINVAL, "%s: a dimension is negative or all too large", path);
    const loci_part part[2] = { { header, npy_header(header, dim, n_dims) }, { data, bytes } };
    return loci_file_replace_parts(NULL, path, part, 2, err);
}
