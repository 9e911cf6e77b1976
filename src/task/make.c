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
                                .values_max = LOCI_UNIT_VALUES,
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
static bool is_wordings(loci_split s)
{
    return (unsigned)s <= LOCI_SPLIT_FRESH;
}

int64_t loci_task_wordings(loci_task_family f, loci_split s)
{
    int64_t n = 0;
    if (is_family(f) && is_wordings(s))
        for (const loci_say *say = loci_family_says(f); *say; say++)
            n += loci_wording_count(*say, s);
    return n;
}

/* ---- options -------------------------------------------------------------------- */

static loci_status check_options(const loci_task_options *o, loci_error *err)
{
    if (!is_family(o->family))
        return loci_fail(err, LOCI_EINVAL, "task family %d: unknown", (int)o->family);
    if (!is_split(o->names) || !is_wordings(o->wordings))
        return loci_fail(err, LOCI_EINVAL, "task split %d/%d: want train or test", (int)o->names,
                         (int)o->wordings);
    if (o->family == LOCI_TASK_EXTRACT && (!o->text || o->text_bytes == 0))
        return loci_fail(err, LOCI_EINVAL, "text: extract asks about a text, found none");
    if (o->n_facts < 1 || o->n_facts > LOCI_TASK_MAX_FACTS)
        return loci_fail(err, LOCI_EINVAL, "n_facts %d: want 1..%d", o->n_facts,
                         (int)LOCI_TASK_MAX_FACTS);
    if (o->family == LOCI_TASK_VARIABLE && (o->hops < 1 || o->hops > LOCI_UNIT_FACTS - 1))
        return loci_fail(err, LOCI_EINVAL, "hops %d: want 1..%d", o->hops, LOCI_UNIT_FACTS - 1);
    if (o->family == LOCI_TASK_MULTIVALUE &&
        (o->values_max < 2 || o->values_max > LOCI_UNIT_VALUES))
        return loci_fail(err, LOCI_EINVAL, "values_max %d: want 2..%d", o->values_max,
                         LOCI_UNIT_VALUES);
    const int facts = o->n_facts * (o->family == LOCI_TASK_VARIABLE ? o->hops : 1);
    const int most = o->family != LOCI_TASK_EXTRACT && facts < LOCI_TASK_MAX_QUESTIONS
                         ? facts
                         : LOCI_TASK_MAX_QUESTIONS;
    if (o->n_questions < 1 || o->n_questions > most)
        return loci_fail(err, LOCI_EINVAL, "n_questions %d: want 1..%d", o->n_questions, most);
    /* Written so that NaN fails too. */
    if (!(o->absent >= 0.0f && o->absent <= 1.0f))
        return loci_fail(err, LOCI_EINVAL, "absent %g: want 0..1", (double)o->absent);
    if ((o->family == LOCI_TASK_NEEDLE || o->family == LOCI_TASK_ABSENT ||
         o->family == LOCI_TASK_MULTIQUERY) &&
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

/* Ask about different units in random order, about all of them again where there are more questions. */
static void write_questions(loci_task_item *item, loci_maker *m, int *order)
{
    for (int u = 0; u < m->n_units; u++) order[u] = u;
    shuffle(order, m->n_units, &m->rng);
    for (int i = 0; i < item->n_questions; i++)
        item->question[i] = loci_maker_question(m, order[i % m->n_units]);
}

/* Families whose items are units: keys, passages, chains, pairs of clauses. */
static loci_status make_units(loci_task_item *item, loci_maker *m, loci_error *err)
{
    int *order = NULL;
    m->unit = calloc((size_t)m->n_units, sizeof *m->unit);
    bool have = m->unit != NULL;
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
    free(order);
    return have ? LOCI_OK
                : loci_fail(err, LOCI_ENOMEM, "no memory for a task item of %d facts",
                            m->opt->n_facts);
}

static loci_status make(loci_task_item *item, loci_maker *m, loci_error *err)
{
    const loci_task_family f = m->opt->family;
    const size_t n_units = (size_t)m->n_units + (size_t)m->opt->n_questions;
    loci_status st = LOCI_OK;
    /* Names: those of the units and those that absent questions invent. */
    if (!loci_set_open(&m->names, n_units * (LOCI_UNIT_FACTS + 1)) ||
        !loci_set_open(&m->values, n_units * LOCI_UNIT_VALUES))
        st = loci_fail(err, LOCI_ENOMEM, "no memory for a task item of %d facts", m->opt->n_facts);
    if (st == LOCI_OK)
        st = f == LOCI_TASK_EXTRACT ? loci_extract_make(item, m, err)
             : f == LOCI_TASK_QA1 || f == LOCI_TASK_QA2 || f == LOCI_TASK_QA3
                 ? loci_story_make(item, m, err)
                 : make_units(item, m, err);
    if (st == LOCI_OK && m->pool.failed)
        st = loci_fail(err, LOCI_ENOMEM, "no memory for a task item of %d facts", m->opt->n_facts);
    return st;
}

loci_status loci_task_make(loci_task_item *item, const loci_task_options *opt, loci_error *err)
{
    if (item == NULL) return loci_fail(err, LOCI_EINVAL, "task item: NULL");
    memset(item, 0, sizeof *item);
    if (opt == NULL) return loci_fail(err, LOCI_EINVAL, "task options: NULL");
    const loci_status bad = check_options(opt, err);
    if (bad != LOCI_OK) return bad;

    loci_maker m = { .opt = opt,
                     .n_units = opt->n_facts,
                     .lex = { opt->text, opt->text ? opt->text_bytes : 0 } };
    const uint64_t which =
        (uint64_t)opt->family << 3 | (uint64_t)opt->names << 2 | (uint64_t)opt->wordings;
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
