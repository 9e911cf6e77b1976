/* answer.h - when is what a model said the expected answer? */
#ifndef LOCI_EVAL_ANSWER_H
#define LOCI_EVAL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

/* The text of *n bytes without the white space at its ends; *n becomes what is left. */
const char *answer_trimmed(const char *said, size_t *n);

/* Is it `expected`, byte for byte, white space at its ends aside?  With end_only an answer in steps
 * ("Mary, kitchen") is right by what stands behind its last ", " too. */
bool answer_is(const char *said, size_t n, const char *expected, bool end_only);

#endif
