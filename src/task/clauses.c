/* clauses.c - pairs of clauses that contradict each other, in a closed grammar.
 *
 * "Clause QX4: the falcon permit must be returned within 30 days." and "Rule RM27: the falcon permit
 * must be returned within 45 days."  A unit is such a pair, or one clause that nothing contradicts;
 * no two units speak about the same thing.  The question names one of the pair, by its mark or by
 * what it says, and asks for the mark of the other. */
#include "task/task_impl.h"

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

/* What both clauses of a pair say, but for one number, word or "not". */
typedef struct {
    int form;
    const char *verb;
    uint32_t number[2];
    const char *word[2];
} clash;

static clash draw_clash(loci_rng *rng, loci_split s)
{
    clash c = { .form = (int)loci_rng_below(rng, 5), .verb = PICK(verb[s], rng) };
    c.number[0] = 2 + loci_rng_below(rng, 89);
    do c.number[1] = 2 + loci_rng_below(rng, 89);
    while (c.number[1] == c.number[0]);
    const char *const *words = c.form == 3 ? party : month;
    const uint32_t i = loci_rng_below(rng, 6);
    c.word[0] = words[i];
    c.word[1] = words[(i + 1 + loci_rng_below(rng, 5)) % 6];
    return c;
}

/* "the falcon permit must be returned within 30 days", the one or the other side. */
static const char *say_side(loci_maker *m, const char *subject, const clash *c, int side)
{
    loci_line *line = &m->line;
    loci_line_clear(line);
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

/* "the falcon permit": two words that no other unit of the item has together. */
static const char *new_subject(loci_maker *m)
{
    const loci_split s = m->opt->names;
    const char *name;
    do {
        loci_line_clear(&m->line);
        loci_line_add(&m->line, "the ");
        if (m->n_units > 256) { /* more than there are nouns and things */
            loci_line_add(&m->line, loci_word(LOCI_WORD_ADJECTIVE,
                                              loci_word_draw(LOCI_WORD_ADJECTIVE, &m->rng, s)));
            loci_line_char(&m->line, ' ');
        }
        loci_line_add(&m->line,
                      loci_word(LOCI_WORD_NOUN, loci_word_draw(LOCI_WORD_NOUN, &m->rng, s)));
        loci_line_char(&m->line, ' ');
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
        const clash c = draw_clash(&m->rng, m->opt->names);
        const int flip = (int)loci_rng_below(&m->rng, 2);
        u->n_facts = loci_rng_below(&m->rng, 6) == 0 ? 1 : 2;
        for (int j = 0; j < u->n_facts; j++) {
            u->name[j] = loci_maker_new_mark(m);
            u->value[j] = say_side(m, subject, &c, j ^ flip);
        }
    }
}

loci_question loci_clauses_question(loci_maker *m, const loci_unit *unit)
{
    const int asked = unit->n_facts == 1 ? 0 : (int)loci_rng_below(&m->rng, 2), other = 1 - asked;
    const bool by_mark = loci_rng_below(&m->rng, 5) < 3;
    const loci_say_args args = { .key = by_mark ? unit->name[asked] : unit->value[asked] };
    loci_question q = { .answer = loci_not_stated, .absent = true };
    if (unit->n_facts == 2)
        q = (loci_question){ .answer = unit->name[other],
                             .n_gold = 2,
                             .gold = { unit->at[asked], unit->at[other] } };
    q.question = loci_maker_say(m, by_mark ? LOCI_ASK_CONFLICT : LOCI_ASK_OPPOSE, &args);
    return q;
}
