/* haystack.h - text to hide facts in, and facts woven into it: `tasks make` and `eval needles`. */
#ifndef LOCI_HAYSTACK_H
#define LOCI_HAYSTACK_H

#include "cli.h"
#include "loci/task.h"

/* Text of files first, then the library's filler: an endless supply, the same for the same files
 * and seed. */
typedef struct {
    char *text;           /* (bytes) of the files, UTF-8 */
    size_t bytes, at;     /* at: what was taken */
    uint64_t seed, pages; /* filler pages given so far */
    size_t filler_bytes;  /* given so far */
} haystack;

/* Read files and folders (in order of name; hidden and binary files are passed over,
 * NAME.txt.zst corpora decoded) until
 * max_bytes are there.  paths may hold none.  h is freed with haystack_close, also on failure.
 * Errors: LOCI_ENOTFOUND (a path given), LOCI_EIO, LOCI_ENOMEM. */
loci_status haystack_open(haystack *h, const arg_list *paths, size_t max_bytes, uint64_t seed,
                          loci_error *err);
void haystack_close(haystack *h);
/* The next `want` bytes or a little less, cut at a line's end where one is near, else at a
 * character; out has room for `want`.  Returns the bytes, 0 only for want < 1024. */
size_t haystack_take(haystack *h, size_t want, char *out);
/* Give back the last n bytes of what was just taken, if files gave it. */
void haystack_untake(haystack *h, size_t n);

/* hay (len) with the item's facts in it: a fact goes on a line of its own where a line begins at
 * its place, else within the running text; the same as in training.
 *
 *   place    (n_facts) as loci_task_place gives them
 *   fact_at  (n_facts) receives the byte offset of each fact in *text
 *
 * *text is owned by the caller (free).  Errors: LOCI_ENOMEM. */
loci_status weave(const loci_task_item *item, const char *hay, size_t len, const size_t *place,
                  char **text, size_t *bytes, size_t *fact_at, loci_error *err);

/* A seed of its own for the i-th of many (splitmix64 of both). */
uint64_t seed_of(uint64_t seed, uint64_t i);

/* "train" or "test"; prints the usage error of --option otherwise and returns false. */
bool parse_split(const char *option, const char *text, loci_split *out);

#endif
