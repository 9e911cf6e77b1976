/* file_impl.h - what file.c, path.c and map.c share. */
#ifndef LOCI_FILE_IMPL_H
#define LOCI_FILE_IMPL_H

#include "base/base.h"

/* Record a method's -errno: "step path: reason".  LOCI_ENOTFOUND for -ENOENT, else LOCI_EIO. */
loci_status loci_io_fail(loci_error *err, int64_t code, const char *step, const char *path);

#endif
