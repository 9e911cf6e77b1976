/* plan.c - what the units of an item are: distinct names and values, attributes, how many facts each,
 * which keys are near-duplicates; and a unit that no fact is about.
 *
 * Names and values of one item are distinct; a key may have a second attribute.  What is said about
 * units and asked is families.c. */
#include "task/task_impl.h"

#include <string.h>

/* ---- distinct names and values ------------------------------------------------ */

const char *loci_maker_new_name(loci_maker *m)
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
        name = loci_maker_new_name(m);
    }
    return name;
}

const char *loci_maker_new_mark(loci_maker *m)
{
    const char *name;
    do {
        loci_line_clear(&m->line);
        loci_mark_write(&m->line, &m->rng, m->opt->names);
        name = loci_maker_new_name(m);
    } while (name == NULL);
    return name;
}

/* A mark; in training names of other shapes too: KX-4821, 317, Larkin, kb7. */
static const char *new_passage_name(loci_maker *m)
{
    const uint32_t shape = m->opt->names == LOCI_SPLIT_TRAIN && m->opt->wordings == LOCI_SPLIT_TRAIN
                               ? loci_rng_below(&m->rng, 10)
                               : 0;
    const char *name = NULL;
    while (shape >= 6 && name == NULL) {
        char made_up[LOCI_NAME_MAX];
        loci_line *line = &m->line;
        loci_line_clear(line);
        if (shape == 6) {
            loci_value_write(line, LOCI_VALUE_CODE, &m->rng, m->opt->names, &m->lex);
        } else if (shape == 7) {
            loci_line_number(line, 10 + loci_rng_below(&m->rng, 99990));
        } else if (shape == 8) {
            loci_name_draw(made_up, &m->rng, m->opt->names);
            loci_line_char(line, (char)(made_up[0] - 'a' + 'A'));
            loci_line_add(line, made_up + 1);
        } else {
            loci_mark_write(line, &m->rng, m->opt->names);
            for (char *c = line->s; *c; c++)
                if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
        }
        name = loci_maker_new_name(m);
    }
    return name ? name : loci_maker_new_mark(m);
}

static const char *new_json_key(loci_maker *m)
{
    const char *name;
    do {
        loci_line_clear(&m->line);
        loci_hex_name_write(&m->line, &m->rng, m->opt->names, m->key_digits);
        name = loci_maker_new_name(m);
    } while (name == NULL);
    return name;
}

/* In training a value is no part of what its fact says besides: where it stands is what is learned. */
static bool is_apart(const loci_maker *m, const loci_unit *u, const char *value)
{
    return m->opt->wordings != LOCI_SPLIT_TRAIN ||
           !((u->attribute && strstr(u->attribute, value)) || strstr(u->name[0], value));
}

static const char *new_value(loci_maker *m, const loci_unit *u, loci_value_kind kind)
{
    for (int tries = 0;; tries++) {
        /* Single words, times and in the end pairs of words run out in a large item: then longer
         * ones, of which there are enough. */
        if (tries == 16)
            kind = kind == LOCI_VALUE_WORD   ? LOCI_VALUE_WORDS
                   : kind == LOCI_VALUE_TIME ? LOCI_VALUE_DIGITS
                                             : kind;
        if (tries == 64) kind = LOCI_VALUE_HEX;
        loci_line_clear(&m->line);
        loci_value_write(&m->line, kind, &m->rng, m->opt->names, &m->lex);
        if (is_apart(m, u, m->line.s) && loci_set_add(&m->values, m->line.s))
            return loci_pool_keep(&m->pool, &m->line);
    }
}

/* ---- plan ------------------------------------------------------------------------ */

/* Any kind but a passage; a plain one is of those that came first. */
static loci_value_kind draw_kind(loci_maker *m)
{
    loci_value_kind kind;
    do kind = loci_value_draw_kind(&m->rng, m->opt->names);
    while (m->opt->wordings == LOCI_SPLIT_PLAIN && kind >= LOCI_VALUE_PERSON);
    return kind;
}

/* Can the two be told apart, and is none a part of the other? */
static bool other_attribute(const char *a, const char *b)
{
    return !strstr(a, b) && !strstr(b, a);
}

/* Would a question about a bare unit's attribute have two answers? */
static bool is_ambiguous(const loci_maker *m, const loci_unit *u, const char *attribute)
{
    for (int i = 0; i < m->n_units; i++) {
        const loci_unit *other = &m->unit[i];
        if (other != u && other->attribute && (u->bare || other->bare) &&
            !other_attribute(other->attribute, attribute))
            return true;
    }
    return false;
}

/* Kind of value and what it is called. */
static void draw_subject(loci_maker *m, loci_unit *u, loci_value_kind kind)
{
    u->kind = kind;
    do {
        loci_line_clear(&m->line);
        loci_attribute_write(&m->line, kind, &m->rng, m->opt->wordings, &m->lex);
    } while (is_ambiguous(m, u, m->line.s));
    u->attribute = loci_pool_keep(&m->pool, &m->line);
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

/* The theme's key number i, the same in all items of the theme. */
static bool theme_key(const loci_maker *m, uint32_t i, loci_key *key)
{
    if (m->opt->theme == 0) return false;
    loci_rng rng;
    loci_rng_seed(&rng, loci_rng_mix(m->opt->theme, i));
    loci_key_draw(key, &rng, m->opt->names);
    return true;
}

static int facts_of(loci_maker *m)
{
    switch (m->opt->family) {
    case LOCI_TASK_MULTIVALUE:
        return 2 + (int)loci_rng_below(&m->rng, (uint32_t)m->opt->values_max - 1);
    case LOCI_TASK_LATEST: return 2 + (int)loci_rng_below(&m->rng, 2);
    case LOCI_TASK_ORDINAL: return 3;
    default: return 1;
    }
}

/* Another attribute for the key of `head`: of another kind of value, in training of any. */
static void draw_other(loci_maker *m, loci_unit *u, const loci_unit *head)
{
    if (m->opt->wordings == LOCI_SPLIT_TRAIN) {
        do draw_subject(m, u, draw_kind(m));
        while (!other_attribute(u->attribute, head->attribute));
        return;
    }
    while (u->kind == head->kind) u->kind = draw_kind(m);
    draw_subject(m, u, u->kind);
}

/* Unit u of a group that `head` begins: a near-duplicate key, or the same key with another
 * attribute, which is as easily mistaken. */
static void plan_follower(loci_maker *m, loci_unit *u, const loci_unit *head)
{
    u->kind = head->kind;
    u->attribute = head->attribute;
    if (m->opt->family != LOCI_TASK_MULTIKEY && loci_rng_below(&m->rng, 4) == 0) {
        draw_other(m, u, head);
        u->key = head->key;
        u->name[0] = head->name[0];
    } else {
        u->name[0] = new_key(m, &u->key, &head->key);
    }
}

/* One needle in twelve of training, and few of a large item: there are not that many attributes. */
static bool may_be_bare(loci_maker *m)
{
    int bare = 0;
    if (m->opt->family != LOCI_TASK_NEEDLE || m->opt->wordings != LOCI_SPLIT_TRAIN) return false;
    for (int i = 0; i < m->n_units; i++) bare += m->unit[i].bare;
    return loci_rng_below(&m->rng, 12) == 0 && bare < 12;
}

/* Keys with values of one kind. */
static void plan_prose(loci_maker *m)
{
    const loci_task_family f = m->opt->family;
    const bool one = f == LOCI_TASK_MULTIVALUE || f == LOCI_TASK_LATEST || f == LOCI_TASK_ORDINAL;
    for (int i = 0; i < m->n_units;) {
        const int group = one ? 1 : near_group(m, m->n_units - i);
        loci_unit *head = &m->unit[i];
        loci_key theme;
        const bool themed = group > 1 && theme_key(m, loci_rng_below(&m->rng, 4), &theme);
        head->bare = group == 1 && may_be_bare(m);
        draw_subject(m, head, draw_kind(m));
        head->name[0] =
            head->bare ? head->attribute : new_key(m, &head->key, themed ? &theme : NULL);
        for (int j = 0; j < group; j++, i++) {
            loci_unit *u = &m->unit[i];
            if (j > 0) plan_follower(m, u, head);
            u->n_facts = facts_of(m);
            for (int v = 0; v < u->n_facts; v++) u->value[v] = new_value(m, u, u->kind);
        }
    }
}

static const char *new_uuid(loci_maker *m)
{
    do {
        loci_line_clear(&m->line);
        loci_hex_name_write(&m->line, &m->rng, m->opt->names, LOCI_HEX_UUID);
    } while (!loci_set_add(&m->values, m->line.s));
    return loci_pool_keep(&m->pool, &m->line);
}

/* Training's keys have more lengths, and its values are UUIDs too, most of them where the keys are:
 * long runs of hex digits have to be told apart and copied to their ends. */
static void plan_json(loci_maker *m)
{
    static const loci_value_kind kinds[] = { LOCI_VALUE_DIGITS, LOCI_VALUE_DIGITS, LOCI_VALUE_HEX,
                                             LOCI_VALUE_WORDS };
    static const int lengths[] = { 8, 8, 8, LOCI_HEX_UUID, LOCI_HEX_UUID, 12, 16, 32 };
    const bool train = m->opt->names == LOCI_SPLIT_TRAIN;
    const loci_value_kind kind = kinds[loci_rng_below(&m->rng, 4)];
    if (train)
        m->key_digits = lengths[loci_rng_below(&m->rng, 8)];
    else
        m->key_digits = loci_rng_below(&m->rng, 4) == 0 ? LOCI_HEX_UUID : 8;
    const uint32_t of_ten = m->key_digits == LOCI_HEX_UUID ? 7 : 2;
    const bool uuid = train && loci_rng_below(&m->rng, 10) < of_ten;
    for (int i = 0; i < m->n_units; i++) {
        m->unit[i].name[0] = new_json_key(m);
        m->unit[i].value[0] = uuid ? new_uuid(m) : new_value(m, &m->unit[i], kind);
        m->unit[i].n_facts = 1;
    }
}

static void plan_passages(loci_maker *m)
{
    for (int i = 0; i < m->n_units; i++) {
        draw_subject(m, &m->unit[i], LOCI_VALUE_PASSAGE);
        m->unit[i].name[0] = new_passage_name(m);
        m->unit[i].value[0] = new_value(m, &m->unit[i], LOCI_VALUE_PASSAGE);
        m->unit[i].n_facts = 1;
    }
}

static void plan_chains(loci_maker *m)
{
    m->style = loci_wording_draw(LOCI_SAY_ASSIGN, m->opt->wordings, &m->rng);
    /* A text written by many says the same thing in many ways; benchmarks have one. */
    m->mixed = m->opt->wordings == LOCI_SPLIT_TRAIN && loci_rng_below(&m->rng, 3) == 0;
    for (int i = 0; i < m->n_units; i++) {
        loci_unit *u = &m->unit[i];
        u->n_facts = m->opt->hops + 1;
        for (int j = 0; j < u->n_facts; j++) u->name[j] = loci_maker_new_mark(m);
        u->value[0] = new_value(m, u, LOCI_VALUE_DIGITS);
    }
}

int loci_maker_plan(loci_maker *m)
{
    const loci_task_family f = m->opt->family;
    if (f == LOCI_TASK_NEEDLE || f == LOCI_TASK_ABSENT || f == LOCI_TASK_MULTIQUERY) {
        /* Round to whole facts; a single near-duplicate needs the one it is near to. */
        m->n_near = (int)(m->opt->near_duplicate * (float)m->n_units + 0.5f);
        if (m->n_near == 1 && m->n_units > 1) m->n_near = 2;
    }
    switch (f) {
    case LOCI_TASK_KV: plan_json(m); break;
    case LOCI_TASK_COPY: plan_passages(m); break;
    case LOCI_TASK_VARIABLE: plan_chains(m); break;
    case LOCI_TASK_CONFLICT: loci_clauses_plan(m); break;
    default: plan_prose(m); break;
    }
    int n_facts = 0;
    for (int i = 0; i < m->n_units; i++) n_facts += m->unit[i].n_facts;
    return n_facts;
}

/* ---- absent ------------------------------------------------------------------------ */

/* Give u, which has the key of a unit, an attribute that no fact about the key has; false: it has one
 * of this kind already. */
static bool draw_absent(loci_maker *m, loci_unit *u)
{
    const bool train = m->opt->wordings == LOCI_SPLIT_TRAIN;
    u->kind = draw_kind(m);
    for (int i = 0; i < m->n_units && !train; i++)
        if (m->unit[i].kind == u->kind && strcmp(m->unit[i].name[0], u->name[0]) == 0) return false;
    draw_subject(m, u, u->kind);
    for (int i = 0; i < m->n_units && train; i++)
        if (strcmp(m->unit[i].name[0], u->name[0]) == 0 &&
            !other_attribute(m->unit[i].attribute, u->attribute))
            return false;
    return true;
}

void loci_maker_make_absent(loci_maker *m, loci_unit *u)
{
    const loci_task_family f = m->opt->family;
    const loci_key near = u->key;
    if (u->bare)
        draw_subject(m, u, draw_kind(m));
    else if (f == LOCI_TASK_KV)
        u->name[0] = new_json_key(m);
    else if (f == LOCI_TASK_COPY)
        u->name[0] = new_passage_name(m);
    else {
        const uint32_t how = loci_rng_below(&m->rng, 5);
        if (how != 0 || !draw_absent(m, u))
            u->name[0] = new_key(m, &u->key, how <= 2 ? &near : NULL);
    }
}
