/* content.h - decoded content of chunks that were read lately. */
#ifndef LOCI_CONTENT_H
#define LOCI_CONTENT_H

#include "engine/segment_impl.h"

typedef struct loci_contents loci_contents;
/* Of chunks of this shape, unpacked by m (kept).  Errors: LOCI_ENOMEM. */
loci_status loci_contents_open(loci_contents **out, const loci_model *m,
                               const loci_segment_shape *shape, loci_error *err);
void loci_contents_close(loci_contents *c); /* NULL is fine */
/* Rows (n_tokens, d_content) of chunk `id` if they are there: borrowed until LOCI_CONTENTS - 1 other
 * chunks were wanted; *rows NULL if not.  Returns n_tokens, 0 if not. */
enum { LOCI_CONTENTS = 512 }; /* kept; 16 MiB at 64 x 128 */
int loci_contents_find(loci_contents *c, int64_t id, const float **rows);
/* The same of a chunk that is not there, decoded from chunk `at` of a segment.  Returns n_tokens or a
 * negative status (LOCI_EFORMAT, LOCI_EIO). */
int loci_contents_read(loci_contents *c, int64_t id, loci_segment *s, int64_t at,
                       const float **rows, loci_error *err);

#endif
