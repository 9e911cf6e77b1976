/* plan_test.h - what the tests that look at units share: an item's plan without the item.  Included after
 * cmocka. */
#ifndef TESTS_TASK_PLAN_TEST_H
#define TESTS_TASK_PLAN_TEST_H

#include "items.h"

/* Plan an item without writing it. */
static inline int plan(loci_maker *m, const loci_task_options *o)
{
    *m = (loci_maker){ .opt = o, .n_units = o->n_facts };
    m->unit = calloc((size_t)m->n_units, sizeof *m->unit);
    assert_non_null(m->unit);
    assert_true(loci_set_open(&m->names, (size_t)m->n_units * 8));
    assert_true(loci_set_open(&m->values, (size_t)m->n_units * 4));
    loci_rng_seed(&m->rng, o->seed);
    return loci_maker_plan(m);
}

static inline void unplan(loci_maker *m)
{
    free(m->unit);
    loci_set_close(&m->names);
    loci_set_close(&m->values);
    loci_pool_release(m->pool.head);
}

/* The longest run of bytes that both texts have. */
static inline size_t common_run(const char *a, const char *b)
{
    size_t best = 0;
    for (const char *p = a; *p; p++)
        for (const char *q = b; *q; q++) {
            size_t n = 0;
            while (p[n] && p[n] == q[n]) n++;
            if (n > best) best = n;
        }
    return best;
}

#endif
