/* families.c - what each family hides and asks: the text of a fact, the question with its answer.
 *
 *   needle, absent   one fact a key; a share of the keys are near-duplicates of others; in training one
 *                    needle in twelve has no key: "The gate code is 4921."
 *   multikey         keys in groups of 2-4 near-duplicates
 *   multiquery       as needle, four units a question
 *   multivalue       2-4 facts of one key; the answer lists all values in order
 *   latest           2-3 facts of one key; the answer is the last
 *   ordinal          3 facts of one key; the first, second or third is asked for
 *   kv               lines of one JSON object
 *   copy             a marked passage
 *   variable         a chain: root = number, next = root, ...; the last is asked for, in training and
 *                    where there are more questions than chains the others too; the answer is the way
 *                    down and the number
 *   conflict         clauses.c
 *   extract, qa1 ..  extract.c, stories.c make whole items
 *
 * The names, values and attributes of its units are drawn before, by plan.c. */
#include "loci/loci.h"
#include "task/task_impl.h"

#include <string.h>

const char loci_not_stated[] = LOCI_NOT_STATED;

const loci_say *loci_family_says(loci_task_family f)
{
    static const loci_say says[LOCI_TASK_COUNT][LOCI_FAMILY_SAYS] = {
        [LOCI_TASK_NEEDLE] = { LOCI_SAY_FACT, LOCI_SAY_BARE, LOCI_ASK, LOCI_ASK_BARE },
        [LOCI_TASK_MULTIKEY] = { LOCI_SAY_FACT, LOCI_ASK },
        [LOCI_TASK_MULTIVALUE] = { LOCI_SAY_SEVERAL, LOCI_ASK_ALL },
        [LOCI_TASK_KV] = { LOCI_ASK_JSON },
        [LOCI_TASK_COPY] = { LOCI_SAY_MARKED, LOCI_ASK_COPY },
        [LOCI_TASK_VARIABLE] = { LOCI_SAY_ASSIGN, LOCI_ASK_VARIABLE },
        [LOCI_TASK_LATEST] = { LOCI_SAY_FACT, LOCI_SAY_UPDATE, LOCI_ASK_LATEST },
        [LOCI_TASK_ABSENT] = { LOCI_SAY_FACT, LOCI_ASK },
        [LOCI_TASK_MULTIQUERY] = { LOCI_SAY_FACT, LOCI_ASK_LIST },
        [LOCI_TASK_ORDINAL] = { LOCI_SAY_SEVERAL, LOCI_ASK_NTH },
        [LOCI_TASK_CONFLICT] = { LOCI_SAY_CLAUSE, LOCI_ASK_CONFLICT, LOCI_ASK_OPPOSE },
        [LOCI_TASK_EXTRACT] = { LOCI_ASK_NEXT, LOCI_ASK_BEFORE, LOCI_ASK_GAP, LOCI_ASK_DEFINED,
                                LOCI_ASK_ARGUMENTS, LOCI_ASK_FIELD },
        [LOCI_TASK_QA1] = { LOCI_SAY_MOVE, LOCI_ASK_WHERE },
        [LOCI_TASK_QA2] = { LOCI_SAY_MOVE, LOCI_SAY_GET, LOCI_SAY_DROP, LOCI_ASK_THING },
        [LOCI_TASK_QA3] = { LOCI_SAY_MOVE, LOCI_SAY_GET, LOCI_SAY_DROP, LOCI_ASK_EARLIER },
    };
    return says[f];
}

/* ---- facts ------------------------------------------------------------------------- */

const char *loci_maker_say(loci_maker *m, loci_say say, const loci_say_args *args)
{
    const loci_wording w = loci_wording_draw(say, m->opt->wordings, &m->rng);
    loci_line_clear(&m->line);
    if (m->opt->wordings == LOCI_SPLIT_TRAIN)
        loci_noisy_write(&m->line, say, &w, args, &m->rng, &m->lex);
    else
        loci_wording_write(&m->line, say, m->opt->wordings, &w, args);
    return loci_pool_keep(&m->pool, &m->line);
}

/* `"key": "value",` with the braces of the object around the first and the last line. */
static const char *say_json(loci_maker *m, const loci_unit *u, int i, int n)
{
    loci_line_clear(&m->line);
    if (i == 0) loci_line_char(&m->line, '{');
    loci_line_char(&m->line, '"');
    loci_line_add(&m->line, u->name[0]);
    loci_line_add(&m->line, "\": \"");
    loci_line_add(&m->line, u->value[0]);
    loci_line_add(&m->line, i + 1 < n ? "\"," : "\"}");
    return loci_pool_keep(&m->pool, &m->line);
}

/* All assignments of an item have one form, in a third of training's each its own. */
static const char *say_assign(loci_maker *m, const loci_unit *u, int j)
{
    if (m->mixed) m->style = loci_wording_draw(LOCI_SAY_ASSIGN, m->opt->wordings, &m->rng);
    loci_line_clear(&m->line);
    loci_wording_write(&m->line, LOCI_SAY_ASSIGN, m->opt->wordings, &m->style,
                       &(loci_say_args){ .key = u->name[j],
                                         .value = j == 0 ? u->value[0] : u->name[j - 1] });
    return loci_pool_keep(&m->pool, &m->line);
}

loci_fact loci_maker_fact(loci_maker *m, int u, int i, int n)
{
    loci_unit *unit = &m->unit[u];
    const loci_task_family f = m->opt->family;
    const loci_say *says = loci_family_says(f);
    const int j = unit->n_said++;
    unit->at[j] = i;
    const char *text;
    if (f == LOCI_TASK_KV)
        text = say_json(m, unit, i, n);
    else if (f == LOCI_TASK_VARIABLE)
        text = say_assign(m, unit, j);
    else if (f == LOCI_TASK_CONFLICT)
        text = loci_maker_say(m, LOCI_SAY_CLAUSE,
                              &(loci_say_args){ .key = unit->name[j], .value = unit->value[j] });
    else
        text = loci_maker_say(m, unit->bare ? LOCI_SAY_BARE : says[f == LOCI_TASK_LATEST && j > 0],
                              &(loci_say_args){ .attribute = unit->attribute,
                                                .key = unit->name[0],
                                                .value = unit->value[j] });
    return (
        loci_fact){ .text = text, .len = (int)strlen(text), .group = f == LOCI_TASK_KV ? 0 : u };
}

/* ---- questions ----------------------------------------------------------------------- */

static loci_question absent_question(loci_maker *m, const loci_unit *unit, loci_say ask)
{
    loci_unit u = *unit;
    loci_maker_make_absent(m, &u);
    const loci_say_args args = { .attribute = u.attribute, .key = u.name[0] };
    return (loci_question){ .question = loci_maker_say(m, ask, &args),
                            .answer = loci_not_stated,
                            .absent = true };
}

static const char *joined_values(loci_maker *m, const loci_unit *unit)
{
    loci_line_clear(&m->line);
    for (int v = 0; v < unit->n_facts; v++) {
        if (v > 0) loci_line_add(&m->line, ", ");
        loci_line_add(&m->line, unit->value[v]);
    }
    return loci_pool_keep(&m->pool, &m->line);
}

/* What variable number `from` of a chain is, and what that is, down to the number: each step can be
 * looked up behind the one before it, and who reads the answer can follow it. */
static const char *chain_answer(loci_maker *m, const loci_unit *unit, int from)
{
    loci_line_clear(&m->line);
    for (int j = from; j > 0; j--) {
        loci_line_add(&m->line, unit->name[j - 1]);
        loci_line_add(&m->line, ", ");
    }
    loci_line_add(&m->line, unit->value[0]);
    return loci_pool_keep(&m->pool, &m->line);
}

/* Unit u and the three behind it in one question. */
static loci_question list_question(loci_maker *m, int u)
{
    const int n = m->n_units < LOCI_UNIT_VALUES ? m->n_units : LOCI_UNIT_VALUES;
    loci_question q = { .n_gold = n };
    loci_line list = { 0 }, values = { 0 };
    for (int i = 0; i < n; i++) {
        const loci_unit *unit = &m->unit[(u + i) % m->n_units];
        if (i > 0) loci_line_add(&list, i + 1 < n ? ", " : " and ");
        loci_line_add(&list, "the ");
        loci_line_add(&list, unit->attribute);
        loci_line_add(&list, " of ");
        loci_line_add(&list, unit->name[0]);
        if (i > 0) loci_line_add(&values, ", ");
        loci_line_add(&values, unit->value[0]);
        q.gold[i] = unit->at[0];
    }
    q.answer = loci_pool_keep(&m->pool, &values);
    q.question = loci_maker_say(m, LOCI_ASK_LIST, &(loci_say_args){ .key = list.s });
    return q;
}

/* Which variable of a chain: the last at first, in training any, then the ones before it, around. */
static int asked_depth(loci_maker *m, loci_unit *unit)
{
    const int hops = unit->n_facts - 1;
    if (unit->n_asked == 0 && m->opt->wordings == LOCI_SPLIT_TRAIN)
        unit->first_asked = (int)loci_rng_below(&m->rng, (uint32_t)hops);
    return hops - (unit->first_asked + unit->n_asked++) % hops;
}

loci_question loci_maker_question(loci_maker *m, int u)
{
    static const char *const nth[] = { "first", "second", "third" };
    loci_unit *unit = &m->unit[u];
    const loci_task_family f = m->opt->family;
    const loci_say *says = loci_family_says(f);
    int last = unit->n_facts - 1, role = 0;
    while (says[role] < LOCI_ASK) role++;
    const loci_say ask = unit->bare ? LOCI_ASK_BARE : says[role];
    loci_say_args args = { .attribute = unit->attribute, .key = unit->name[0] };
    loci_question q = { .answer = unit->value[0], .n_gold = 1, .gold = { unit->at[last] } };

    const bool may = f == LOCI_TASK_NEEDLE || f == LOCI_TASK_MULTIKEY || f == LOCI_TASK_KV ||
                     f == LOCI_TASK_COPY;
    if (f == LOCI_TASK_ABSENT || (may && loci_rng_chance(&m->rng, m->opt->absent)))
        return absent_question(m, unit, ask);
    switch (f) {
    case LOCI_TASK_CONFLICT: return loci_clauses_question(m, unit);
    case LOCI_TASK_MULTIQUERY: return list_question(m, u);
    case LOCI_TASK_LATEST: q.answer = unit->value[last]; break;
    case LOCI_TASK_ORDINAL:
        last = (int)loci_rng_below(&m->rng, 3);
        args.value = nth[last];
        q = (loci_question){ .answer = unit->value[last], .n_gold = 3 };
        for (int j = 0; j < 3; j++) q.gold[j] = unit->at[(last + 1 + j) % 3];
        break;
    case LOCI_TASK_MULTIVALUE:
        q.answer = joined_values(m, unit);
        q.n_gold = unit->n_facts;
        memcpy(q.gold, unit->at, sizeof unit->at);
        break;
    case LOCI_TASK_VARIABLE:
        /* From the variable asked for back to the root, which carries the number. */
        last = asked_depth(m, unit);
        args.key = unit->name[last];
        q.answer = chain_answer(m, unit, last);
        q.n_gold = last + 1;
        for (int j = 0; j <= last; j++) q.gold[j] = unit->at[last - j];
        break;
    default: break;
    }
    q.question = loci_maker_say(m, ask, &args);
    return q;
}
