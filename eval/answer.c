/* answer.c - an answer beside the expected one: equal or not, nothing in between. */
#include "answer.h"
#include <string.h>

const char *answer_trimmed(const char *said, size_t *n)
{
    static const char blank[] = " \t\r\n";
    while (*n > 0 && said[0] && strchr(blank, said[0])) said++, --*n;
    while (*n > 0 && said[*n - 1] && strchr(blank, said[*n - 1])) --*n;
    return said;
}

/* What stands behind the last ", ", else all of it. */
static const char *last_step(const char *text, size_t *n)
{
    for (size_t i = *n; i >= 2; i--)
        if (memcmp(text + i - 2, ", ", 2) == 0) {
            *n -= i;
            return text + i;
        }
    return text;
}

bool answer_is(const char *said, size_t n, const char *expected, bool end_only)
{
    const char *text = answer_trimmed(said, &n);
    if (strlen(expected) == n && memcmp(text, expected, n) == 0) return true;
    if (!end_only) return false;
    text = last_step(text, &n);
    return strlen(expected) == n && memcmp(text, expected, n) == 0;
}
