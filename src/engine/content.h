/* content.h - decoded content of chunks that were read lately. */
#ifndef LOCI_CONTENT_H
#define LOCI_CONTENT_H

#include "engine/segment_impl.h"

typedef struct loci_contents loci_contents;
/* Of chunks of this shape, unpacked by m (kept).  Errors: LOCI_ENOMEM. */
loci_status loci_contents_open(loci_contents **out, const loci_model *m,
                               const loci_segment_shape *shape, loci_error *err);
void loci_contents_close(loci_contents *c); /* NULL is fine */
enum { LOCI_CONTENTS = 512 };               /* kept; 16 MiB at 64 x 128 */
/* Rows (n_tokens, d_content) of chunk `id` if they are there: borrowed until LOCI_CONTENTS -
 * LOCI_MAX_PICKS other chunks were wanted; *rows NULL if not.  Returns n_tokens, 0 if not. */
int loci_contents_find(loci_contents *c, int64_t id, const float **rows);
/* Is it there?  Then it will be for the next LOCI_CONTENTS - LOCI_MAX_PICKS chunks too. */
bool loci_contents_has(loci_contents *c, int64_t id);
/* The same as find of want[0], which is not there, decoded; the other n - 1 (n <= LOCI_MAX_PICKS), not there
 * either, will soon be wanted: threads of the pool (NULL: none) decode them meanwhile, and one that
 * cannot be read fails when it is wanted itself.  Returns n_tokens or a negative status (LOCI_EFORMAT,
 * LOCI_EIO). */
typedef struct {
    int64_t id;
    loci_segment *segment;
    int64_t at; /* chunk in the segment */
} loci_content_want;
int loci_contents_read(loci_contents *c, loci_pool *pool, const loci_content_want *want, int n,
                       const float **rows, loci_error *err);
/* Finds that were served, and chunks that had to be decoded for one. */
loci_searcher_counts loci_contents_counts(const loci_contents *c);

#endif
