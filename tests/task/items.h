/* items.h - for the tests of items: options, an item that must succeed, whole words in a text.
 * Included behind cmocka.h. */
#ifndef TESTS_TASK_ITEMS_H
#define TESTS_TASK_ITEMS_H

#include "loci/task.h"
#include "task/task_impl.h"

enum { SEEDS = 40 };
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static inline loci_task_options options(loci_task_family f, loci_split s, int n_facts,
                                        int n_questions, uint64_t seed)
{
    loci_task_options o = loci_task_options_default();
    o.family = f;
    o.names = s;
    o.wordings = s;
    o.n_facts = n_facts;
    o.n_questions = n_questions;
    o.seed = seed;
    return o;
}

static inline loci_task_item make(const loci_task_options *o)
{
    loci_task_item item;
    loci_error err = { 0 };
    if (loci_task_make(&item, o, &err) != LOCI_OK)
        fail_msg("%s seed %llu: %s", loci_task_name(o->family), (unsigned long long)o->seed,
                 err.text);
    return item;
}

static inline bool is_word_byte(char c)
{
    return c != '\0' && strchr(LETTERS "0123456789", c) != NULL;
}

/* Does `text` hold `part` with no letter or digit right before or behind it? */
static inline bool holds(const char *text, const char *part)
{
    const size_t n = strlen(part);
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        if ((at == text || !is_word_byte(at[-1])) && !is_word_byte(at[n])) return true;
    return false;
}

#endif
