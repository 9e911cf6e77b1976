/* clauses.c - pairs of clauses that contradict each other, in a closed grammar.
 *
 * "Clause QX4: the falcon permit must be returned within 30 days." and "Rule RM27: the falcon permit
 * must be returned within 45 days."  A unit is such a pair, or one clause that nothing contradicts;
 * no two units speak about the same thing.  The question names one of the pair, by its mark or by
 * what it says, and asks for the mark of the other.  Asked by a mark it takes two look-ups, and the
 * answer gives both: "falcon permit, RM27". */
#include "task/task_impl.h"

#include <string.h>

#define COUNT(table)     ((uint32_t)(sizeof(table) / sizeof *(table)))
#define PICK(table, rng) ((table)[loci_rng_below(rng, COUNT(table))])

/* [loci_split] */
static const char *const thing[2][8] = {
    { "fee", "report", "permit", "contract", "delivery", "license", "order", "deposit" },
    { "invoice", "shipment", "lease", "warranty", "loan", "claim", "sample", "ticket" },
};
static const char *const verb[2][8] = {
    { "paid", "returned", "renewed", "signed", "copied", "transferred", "inspected", "sealed" },
    { "cancelled", "shipped", "archived", "refunded", "published", "weighed", "divided", "sold" },
};
static const char *const party[] = { "buyer", "seller", "tenant", "owner", "bank", "council" };
static const char *const month[] = { "January", "March", "May", "July", "September", "November" };

enum { SUBJECT = 2 }; /* unit->name[SUBJECT]: what both clauses are about */

/* In training two of three words are of an open vocabulary, to be matched by their letters. */
static bool is_open(loci_rng *rng, loci_split s)
{
    return s == LOCI_SPLIT_TRAIN && loci_rng_below(rng, 3) != 0;
}

static bool is_test(const char *word)
{
    for (int i = 0; i < 8; i++)
        if (strcmp(word, thing[LOCI_SPLIT_TEST][i]) == 0 ||
            strcmp(word, verb[LOCI_SPLIT_TEST][i]) == 0)
            return true;
    return false;
}

/* A word of the open vocabulary and an ending at the end of the line. */
static void add_open(loci_line *line, const char *ending, loci_rng *rng, const loci_lexicon *lex)
{
    const size_t start = line->len;
    do {
        line->len = start;
        loci_open_word_write(line, rng, lex);
        loci_line_add(line, ending);
    } while (is_test(line->s + start));
}

static const char *open_word(loci_maker *m, const char *ending)
{
    loci_line_clear(&m->line);
    add_open(&m->line, ending, &m->rng, &m->lex);
    return loci_pool_keep(&m->pool, &m->line);
}

/* What both clauses of a pair say, but for one number, word or "not". */
typedef struct {
    int form;
    const char *verb;
    uint32_t number[2];
    const char *word[2];
} clash;

static clash draw_clash(loci_maker *m)
{
    loci_rng *rng = &m->rng;
    const loci_split s = m->opt->names;
    clash c = { .form = (int)loci_rng_below(rng, 5), .verb = PICK(verb[s], rng) };
    if (is_open(rng, s)) c.verb = open_word(m, "ed");
    const uint32_t span = is_open(rng, s) ? 998 : 89;
    c.number[0] = 2 + loci_rng_below(rng, span);
    do c.number[1] = 2 + loci_rng_below(rng, span);
    while (c.number[1] == c.number[0]);
    const char *const *words = c.form == 3 ? party : month;
    const uint32_t i = loci_rng_below(rng, 6);
    c.word[0] = words[i];
    c.word[1] = words[(i + 1 + loci_rng_below(rng, 5)) % 6];
    for (int side = 0; c.form == 3 && side < 2; side++) {
        if (!is_open(rng, s)) continue;
        do c.word[side] = open_word(m, "");
        while (strcmp(c.word[0], c.word[1]) == 0);
    }
    return c;
}

/* "the falcon permit must be returned within 30 days", the one or the other side. */
static const char *say_side(loci_maker *m, const char *subject, const clash *c, int side)
{
    loci_line *line = &m->line;
    loci_line_clear(line);
    loci_line_add(line, "the ");
    loci_line_add(line, subject);
    switch (c->form) {
    case 0:
    case 1:
        loci_line_add(line, c->form == 0 ? " must be " : " can be ");
        loci_line_add(line, c->verb);
        loci_line_add(line, c->form == 0 ? " within " : " up to ");
        loci_line_number(line, c->number[side]);
        loci_line_add(line, c->form == 0 ? " days" : " times");
        break;
    case 2:
        loci_line_add(line, side == 0 ? " may be " : " may not be ");
        loci_line_add(line, c->verb);
        break;
    case 3:
        loci_line_add(line, " is kept by the ");
        loci_line_add(line, c->word[side]);
        break;
    default:
        loci_line_add(line, " ends in ");
        loci_line_add(line, c->word[side]);
        break;
    }
    return loci_pool_keep(&m->pool, line);
}

/* "falcon permit": two words that no other unit of the item has together. */
static const char *new_subject(loci_maker *m)
{
    const loci_split s = m->opt->names;
    const char *name;
    do {
        loci_line_clear(&m->line);
        if (m->n_units > 256) { /* more than there are nouns and things */
            loci_line_add(&m->line, loci_word(LOCI_WORD_ADJECTIVE,
                                              loci_word_draw(LOCI_WORD_ADJECTIVE, &m->rng, s)));
            loci_line_char(&m->line, ' ');
        }
        if (is_open(&m->rng, s))
            add_open(&m->line, "", &m->rng, &m->lex);
        else
            loci_line_add(&m->line,
                          loci_word(LOCI_WORD_NOUN, loci_word_draw(LOCI_WORD_NOUN, &m->rng, s)));
        loci_line_char(&m->line, ' ');
        if (is_open(&m->rng, s))
            add_open(&m->line, "", &m->rng, &m->lex);
        else
            loci_line_add(&m->line, PICK(thing[s], &m->rng));
        name = loci_maker_new_name(m);
    } while (name == NULL);
    return name;
}

void loci_clauses_plan(loci_maker *m)
{
    for (int i = 0; i < m->n_units; i++) {
        loci_unit *u = &m->unit[i];
        const char *subject = new_subject(m);
        const clash c = draw_clash(m);
        const int flip = (int)loci_rng_below(&m->rng, 2);
        u->name[SUBJECT] = subject;
        u->n_facts = loci_rng_below(&m->rng, 6) == 0 ? 1 : 2;
        for (int j = 0; j < u->n_facts; j++) {
            u->name[j] = loci_maker_new_mark(m);
            u->value[j] = say_side(m, subject, &c, j ^ flip);
        }
    }
}

static const char *in_steps(loci_maker *m, const char *subject, const char *mark)
{
    loci_line_clear(&m->line);
    loci_line_add(&m->line, subject);
    loci_line_add(&m->line, ", ");
    loci_line_add(&m->line, mark);
    return loci_pool_keep(&m->pool, &m->line);
}

loci_question loci_clauses_question(loci_maker *m, const loci_unit *unit)
{
    const int asked = unit->n_facts == 1 ? 0 : (int)loci_rng_below(&m->rng, 2), other = 1 - asked;
    const bool by_mark = loci_rng_below(&m->rng, 5) < 3;
    const loci_say_args args = { .key = by_mark ? unit->name[asked] : unit->value[asked] };
    loci_question q = { .answer = loci_not_stated, .absent = true };
    if (unit->n_facts == 2)
        q = (loci_question){ .answer = by_mark ? in_steps(m, unit->name[SUBJECT], unit->name[other])
                                               : unit->name[other],
                             .n_gold = 2,
                             .gold = { unit->at[asked], unit->at[other] } };
    q.question = loci_maker_say(m, by_mark ? LOCI_ASK_CONFLICT : LOCI_ASK_OPPOSE, &args);
    return q;
}
