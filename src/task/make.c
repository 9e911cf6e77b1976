/* make.c - one task item from its options: check them, plan the units, put the facts of all
 * units into one order, ask about some of the units.
 *
 * The same options give the same bytes on every machine: all randomness comes from one
 * loci_rng, all sizes are integers, nothing depends on addresses or hashing order. */
#include "task/task_impl.h"

#include <stdlib.h>
#include <string.h>

const char *loci_task_name(loci_task_family f)
{
    switch (f) {
#define X(name, text, help)                                                                        \
    case LOCI_TASK_##name: return text;
        LOCI_TASK_FAMILIES(X)
#undef X
    default: return "unknown";
    }
}

loci_status loci_task_by_name(const char *name, loci_task_family *f, loci_error *err)
{
    if (name == NULL || f == NULL)
        return loci_fail(err, LOCI_EINVAL, "task family: no name or no place for it");
#define X(id, text, help)                                                                          \
    if (strcmp(name, text) == 0) {                                                                 \
        *f = LOCI_TASK_##id;                                                                       \
        return LOCI_OK;                                                                            \
    }
    LOCI_TASK_FAMILIES(X)
#undef X
#define X(id, text, help) " " text
    return loci_fail(err, LOCI_EINVAL,
                     "unknown task family '%.40s', want one of:" LOCI_TASK_FAMILIES(X), name);
#undef X
}

loci_task_options loci_task_options_default(void)
{
    return (loci_task_options){ .seed = 0,
                                .family = LOCI_TASK_NEEDLE,
                                .names = LOCI_SPLIT_TRAIN,
                                .wordings = LOCI_SPLIT_TRAIN,
                                .n_facts = 8,
                                .n_questions = 4,
                                .hops = 2,
                                .near_duplicate = 0.25f };
}

static bool is_family(loci_task_family f)
{
    return (unsigned)f < LOCI_TASK_COUNT;
}
static bool is_split(loci_split s)
{
    return s == LOCI_SPLIT_TRAIN || s == LOCI_SPLIT_TEST;
}

int loci_task_wordings(loci_task_family f, loci_split s)
{
    int n = 0;
    if (is_family(f) && is_split(s))
        for (int role = 0; role < LOCI_SAY_ROLES; role++)
            n += loci_wording_count(f, s, (loci_say)role);
    return n;
}

/* ---- options -------------------------------------------------------------------- */

static loci_status check_options(const loci_task_options *o, loci_error *err)
{
    if (!is_family(o->family))
        return loci_fail(err, LOCI_EINVAL, "task family %d: unknown", (int)o->family);
    if (!is_split(o->names) || !is_split(o->wordings))
        return loci_fail(err, LOCI_EINVAL, "task split %d/%d: want train or test", (int)o->names,
                         (int)o->wordings);
    if (o->n_facts < 1 || o->n_facts > LOCI_TASK_MAX_FACTS)
        return loci_fail(err, LOCI_EINVAL, "n_facts %d: want 1..%d", o->n_facts,
                         (int)LOCI_TASK_MAX_FACTS);
    const int most = o->n_facts < LOCI_TASK_MAX_QUESTIONS ? o->n_facts : LOCI_TASK_MAX_QUESTIONS;
    if (o->n_questions < 1 || o->n_questions > most)
        return loci_fail(err, LOCI_EINVAL, "n_questions %d: want 1..%d", o->n_questions, most);
    if (o->family == LOCI_TASK_VARIABLE && (o->hops < 1 || o->hops > LOCI_UNIT_FACTS - 1))
        return loci_fail(err, LOCI_EINVAL, "hops %d: want 1..%d", o->hops, LOCI_UNIT_FACTS - 1);
    /* Written so that NaN fails too. */
    if ((o->family == LOCI_TASK_NEEDLE || o->family == LOCI_TASK_ABSENT) &&
        !(o->near_duplicate >= 0.0f && o->near_duplicate <= 1.0f))
        return loci_fail(err, LOCI_EINVAL, "near_duplicate %g: want 0..1",
                         (double)o->near_duplicate);
    return LOCI_OK;
}

/* ---- making ----------------------------------------------------------------------- */

static void shuffle(int *a, int n, loci_rng *rng)
{
    for (int i = n - 1; i > 0; i--) {
        const int j = (int)loci_rng_below(rng, (uint32_t)i + 1), t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}

/* The facts of all units in one random order: unit u stands in `order` once for each of its
 * facts, and its k-th place takes its k-th fact. */
static void write_facts(loci_task_item *item, loci_maker *m, int *order)
{
    int n = 0;
    for (int u = 0; u < m->n_units; u++)
        for (int j = 0; j < m->unit[u].n_facts; j++) order[n++] = u;
    shuffle(order, n, &m->rng);
    for (int i = 0; i < n; i++) item->fact[i] = loci_maker_fact(m, order[i], i, n);
}

/* Ask about n_questions different units, in random order. */
static void write_questions(loci_task_item *item, loci_maker *m, int *order)
{
    for (int u = 0; u < m->n_units; u++) order[u] = u;
    shuffle(order, m->n_units, &m->rng);
    for (int i = 0; i < item->n_questions; i++)
        item->question[i] = loci_maker_question(m, order[i]);
}

static loci_status make(loci_task_item *item, loci_maker *m, loci_error *err)
{
    const size_t n_units = (size_t)m->n_units;
    int *order = NULL;
    loci_status st = LOCI_OK;

    m->unit = calloc(n_units, sizeof *m->unit);
    /* Names: those of the units and those that absent questions invent. */
    bool have = m->unit != NULL && loci_set_open(&m->names, n_units * (LOCI_UNIT_FACTS + 1));
    have = have && loci_set_open(&m->values, n_units * LOCI_UNIT_VALUES);
    if (have) {
        item->n_facts = loci_maker_plan(m);
        item->n_questions = m->opt->n_questions;
        item->fact = calloc((size_t)item->n_facts, sizeof *item->fact);
        item->question = calloc((size_t)item->n_questions, sizeof *item->question);
        order = calloc((size_t)item->n_facts, sizeof *order); /* n_facts >= n_units */
        have = item->fact != NULL && item->question != NULL && order != NULL;
    }
    if (have) {
        write_facts(item, m, order);
        write_questions(item, m, order);
    }
    if (!have || m->pool.failed)
        st = loci_fail(err, LOCI_ENOMEM, "no memory for a task item of %d facts", m->opt->n_facts);
    free(order);
    return st;
}

loci_status loci_task_make(loci_task_item *item, const loci_task_options *opt, loci_error *err)
{
    if (item == NULL) return loci_fail(err, LOCI_EINVAL, "task item: NULL");
    memset(item, 0, sizeof *item);
    if (opt == NULL) return loci_fail(err, LOCI_EINVAL, "task options: NULL");
    const loci_status bad = check_options(opt, err);
    if (bad != LOCI_OK) return bad;

    loci_maker m = { .opt = opt, .n_units = opt->n_facts };
    const uint64_t which =
        (uint64_t)opt->family << 2 | (uint64_t)opt->names << 1 | (uint64_t)opt->wordings;
    loci_rng_seed(&m.rng, loci_rng_mix(opt->seed, which));
    const loci_status st = make(item, &m, err);
    item->pool = m.pool.head;
    if (st != LOCI_OK) loci_task_free(item);
    loci_set_close(&m.names);
    loci_set_close(&m.values);
    free(m.unit);
    return st;
}

void loci_task_free(loci_task_item *item)
{
    if (item == NULL) return;
    free(item->fact);
    free(item->question);
    loci_pool_release(item->pool);
    memset(item, 0, sizeof *item);
}
