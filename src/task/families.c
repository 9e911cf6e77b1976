/* families.c - what each family hides and asks: how many facts a unit has, its names and
 * values, the text of a fact, the question with its answer.
 *
 *   needle, absent   one fact a key; a share of the keys are near-duplicates of others
 *   multikey         keys in groups of 2-4 near-duplicates
 *   multivalue       2-4 facts of one key; the answer lists all values in order
 *   latest           2-3 facts of one key; the answer is the last
 *   kv               lines of one JSON object
 *   copy             a marked passage
 *   variable         a chain: root = number, next = root, ...; the last is asked for
 *
 * Names and values of one item are distinct. */
#include "task/task_impl.h"

#include <string.h>

static const char not_stated[] = "not stated";

/* ---- distinct names and values ------------------------------------------------ */

/* The line, kept, if it is new among the names; else NULL. */
static const char *keep_new_name(loci_maker *m)
{
    return loci_set_add(&m->names, m->line.s) ? loci_pool_keep(&m->pool, &m->line) : NULL;
}

/* A key that differs from `base` in one part (base NULL: any key), not given out before. */
static const char *new_key(loci_maker *m, loci_key *key, const loci_key *base)
{
    const char *name = NULL;
    /* The neighbours of a key can run out (99 numbers of a file): then take any. */
    for (int tries = 0; name == NULL; tries++) {
        if (base != NULL && tries < 64) {
            *key = *base;
            loci_key_near(key, &m->rng, m->opt->names);
        } else {
            loci_key_draw(key, &m->rng, m->opt->names);
        }
        loci_line_clear(&m->line);
        loci_key_write(&m->line, key);
        name = keep_new_name(m);
    }
    return name;
}

static const char *new_mark(loci_maker *m)
{
    const char *name;
    do {
        loci_line_clear(&m->line);
        loci_mark_write(&m->line, &m->rng, m->opt->names);
        name = keep_new_name(m);
    } while (name == NULL);
    return name;
}

static const char *new_json_key(loci_maker *m)
{
    const char *name;
    do {
        loci_line_clear(&m->line);
        loci_hex_name_write(&m->line, &m->rng, m->opt->names, m->uuid);
        name = keep_new_name(m);
    } while (name == NULL);
    return name;
}

static const char *new_value(loci_maker *m, loci_value_kind kind)
{
    for (int tries = 0;; tries++) {
        /* Single words run out in a large item: then two of them. */
        if (kind == LOCI_VALUE_WORD && tries == 16) kind = LOCI_VALUE_WORDS;
        loci_line_clear(&m->line);
        loci_value_write(&m->line, kind, &m->rng, m->opt->names);
        if (loci_set_add(&m->values, m->line.s)) return loci_pool_keep(&m->pool, &m->line);
    }
}

/* ---- plan ------------------------------------------------------------------------ */

/* Kind of value and what it is called. */
static void draw_subject(loci_maker *m, loci_unit *u, loci_value_kind kind)
{
    const loci_split s = m->opt->wordings;
    u->kind = kind;
    u->attribute =
        loci_attribute(kind, s,
                       (int)loci_rng_below(&m->rng, (uint32_t)loci_attribute_count(kind, s)));
}

/* How many of the `left` units still to draw form the next group of near-duplicate keys. */
static int near_group(loci_maker *m, int left)
{
    if (m->opt->family == LOCI_TASK_MULTIKEY) {
        int n = 2 + (int)loci_rng_below(&m->rng, 3);
        if (n > left) n = left;
        /* Leave no single one behind. */
        if (left - n == 1) n += n == 2 ? 1 : -1;
        return n;
    }
    if (m->n_near < 2) return 1;
    const int n = m->n_near == 3 ? 3 : 2;
    m->n_near -= n;
    return n;
}

/* needle, multikey, absent, multivalue, latest: keys with values of one kind. */
static void plan_prose(loci_maker *m)
{
    const loci_task_family f = m->opt->family;
    const bool one = f == LOCI_TASK_MULTIVALUE || f == LOCI_TASK_LATEST; /* keys unrelated */
    for (int i = 0; i < m->n_units;) {
        const int group = one ? 1 : near_group(m, m->n_units - i);
        loci_unit *head = &m->unit[i];
        draw_subject(m, head, loci_value_draw_kind(&m->rng));
        for (int j = 0; j < group; j++, i++) {
            loci_unit *u = &m->unit[i];
            u->name[0] = new_key(m, &u->key, j > 0 ? &head->key : NULL);
            u->kind = head->kind;
            u->attribute = head->attribute;
            u->n_facts = f == LOCI_TASK_MULTIVALUE ? 2 + (int)loci_rng_below(&m->rng, 3)
                         : f == LOCI_TASK_LATEST   ? 2 + (int)loci_rng_below(&m->rng, 2)
                                                   : 1;
            for (int v = 0; v < u->n_facts; v++) u->value[v] = new_value(m, u->kind);
        }
    }
}

static void plan_json(loci_maker *m)
{
    static const loci_value_kind kinds[] = { LOCI_VALUE_DIGITS, LOCI_VALUE_DIGITS, LOCI_VALUE_HEX,
                                             LOCI_VALUE_WORDS };
    const loci_value_kind kind = kinds[loci_rng_below(&m->rng, 4)];
    m->uuid = loci_rng_below(&m->rng, 4) == 0;
    for (int i = 0; i < m->n_units; i++) {
        m->unit[i].name[0] = new_json_key(m);
        m->unit[i].value[0] = new_value(m, kind);
        m->unit[i].n_facts = 1;
    }
}

static void plan_passages(loci_maker *m)
{
    for (int i = 0; i < m->n_units; i++) {
        draw_subject(m, &m->unit[i], LOCI_VALUE_PASSAGE);
        m->unit[i].name[0] = new_mark(m);
        m->unit[i].value[0] = new_value(m, LOCI_VALUE_PASSAGE);
        m->unit[i].n_facts = 1;
    }
}

static void plan_chains(loci_maker *m)
{
    m->style = loci_wording_draw(LOCI_TASK_VARIABLE, m->opt->wordings, LOCI_SAY_FACT, &m->rng);
    for (int i = 0; i < m->n_units; i++) {
        loci_unit *u = &m->unit[i];
        u->n_facts = m->opt->hops + 1;
        for (int j = 0; j < u->n_facts; j++) u->name[j] = new_mark(m);
        u->value[0] = new_value(m, LOCI_VALUE_DIGITS);
    }
}

int loci_maker_plan(loci_maker *m)
{
    if (m->opt->family == LOCI_TASK_NEEDLE || m->opt->family == LOCI_TASK_ABSENT) {
        /* Round to whole facts; a single near-duplicate needs the one it is near to. */
        m->n_near = (int)(m->opt->near_duplicate * (float)m->n_units + 0.5f);
        if (m->n_near == 1 && m->n_units > 1) m->n_near = 2;
    }
    switch (m->opt->family) {
    case LOCI_TASK_KV: plan_json(m); break;
    case LOCI_TASK_COPY: plan_passages(m); break;
    case LOCI_TASK_VARIABLE: plan_chains(m); break;
    default: plan_prose(m); break;
    }
    int n_facts = 0;
    for (int i = 0; i < m->n_units; i++) n_facts += m->unit[i].n_facts;
    return n_facts;
}

/* ---- facts ------------------------------------------------------------------------- */

static void say(loci_maker *m, loci_say role, int wording, const loci_say_args *args)
{
    loci_wording_write(&m->line, m->opt->family, m->opt->wordings, role, wording, args);
}

static int draw_wording(loci_maker *m, loci_say role)
{
    return loci_wording_draw(m->opt->family, m->opt->wordings, role, &m->rng);
}

/* `"key": "value",` with the braces of the object around the first and the last line. */
static void say_json(loci_maker *m, const loci_unit *u, int i, int n)
{
    if (i == 0) loci_line_char(&m->line, '{');
    loci_line_char(&m->line, '"');
    loci_line_add(&m->line, u->name[0]);
    loci_line_add(&m->line, "\": \"");
    loci_line_add(&m->line, u->value[0]);
    loci_line_add(&m->line, i + 1 < n ? "\"," : "\"}");
}

loci_fact loci_maker_fact(loci_maker *m, int u, int i, int n)
{
    loci_unit *unit = &m->unit[u];
    const int j = unit->n_said++;
    unit->at[j] = i;
    loci_line_clear(&m->line);
    if (m->opt->family == LOCI_TASK_KV) {
        say_json(m, unit, i, n);
    } else if (m->opt->family == LOCI_TASK_VARIABLE) {
        say(m, LOCI_SAY_FACT, m->style,
            &(loci_say_args){ .key = unit->name[j],
                              .value = j == 0 ? unit->value[0] : unit->name[j - 1] });
    } else {
        const loci_say role =
            m->opt->family == LOCI_TASK_LATEST && j > 0 ? LOCI_SAY_UPDATE : LOCI_SAY_FACT;
        say(m, role, draw_wording(m, role),
            &(loci_say_args){
                .attribute = unit->attribute, .key = unit->name[0], .value = unit->value[j] });
    }
    return (loci_fact){ .text = loci_pool_keep(&m->pool, &m->line),
                        .len = (int)m->line.len,
                        .group = m->opt->family == LOCI_TASK_KV ? 0 : u };
}

/* ---- questions ----------------------------------------------------------------------- */

/* About a key that no fact names: half of the time a near-duplicate of unit's. */
static const char *absent_key(loci_maker *m, const loci_unit *unit)
{
    loci_key key;
    return new_key(m, &key, loci_rng_below(&m->rng, 2) == 0 ? &unit->key : NULL);
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

loci_question loci_maker_question(loci_maker *m, int u)
{
    const loci_unit *unit = &m->unit[u];
    const int last = unit->n_facts - 1;
    const char *key = unit->name[0];
    loci_question q = { .answer = unit->value[0], .n_gold = 1, .gold = { unit->at[last] } };

    switch (m->opt->family) {
    case LOCI_TASK_ABSENT:
        key = absent_key(m, unit);
        q = (loci_question){ .answer = not_stated, .absent = true };
        break;
    case LOCI_TASK_LATEST: q.answer = unit->value[last]; break;
    case LOCI_TASK_MULTIVALUE:
        q.answer = joined_values(m, unit);
        q.n_gold = unit->n_facts;
        memcpy(q.gold, unit->at, sizeof unit->at);
        break;
    case LOCI_TASK_VARIABLE:
        /* From the variable asked for back to the root, which carries the number. */
        key = unit->name[last];
        q.n_gold = unit->n_facts;
        for (int j = 0; j <= last; j++) q.gold[j] = unit->at[last - j];
        break;
    default: break;
    }

    loci_line_clear(&m->line);
    say(m, LOCI_SAY_QUESTION, draw_wording(m, LOCI_SAY_QUESTION),
        &(loci_say_args){ .attribute = unit->attribute, .key = key });
    q.question = loci_pool_keep(&m->pool, &m->line);
    return q;
}
