/* clauses.c - pairs of clauses that contradict each other.
 *
 * "Clause QX4: the falcon permit must be returned within 30 days." and "Rule RM27: the falcon permit
 * must be returned within 45 days."  A unit is such a pair, or one clause that nothing contradicts;
 * no two units speak about the same thing.  The question names one of the pair, by its mark or by
 * what it says, and asks for the mark of the other.  Asked by a mark it takes two look-ups, and the
 * answer gives both: "falcon permit, RM27".
 *
 * The grammar of the test half is closed: a few things, verbs and kinds of clash.  Training has it in
 * a quarter of its pairs; the others are of many kinds (clashes.c), with subjects and marks of more
 * shapes, and now and then another clause about the same subject contradicts none of them. */
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

enum { PAIR = 2, SUBJECT = 3 }; /* unit->name[SUBJECT]: what all clauses of it are about */
enum { MARK_SHAPES = 16, MARK_TRIES = 32 };

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
void loci_clause_word_write(loci_line *line, const char *ending, loci_rng *rng,
                            const loci_lexicon *lex)
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
    loci_clause_word_write(&m->line, ending, &m->rng, &m->lex);
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

/* ---- subjects and marks ---------------------------------------------------------------------- */

static void add_adjective(loci_maker *m)
{
    const int i = loci_word_draw(LOCI_WORD_ADJECTIVE, &m->rng, m->opt->names);
    loci_line_add(&m->line, loci_word(LOCI_WORD_ADJECTIVE, i));
    loci_line_char(&m->line, ' ');
}

/* " of Corvath" */
static void add_town(loci_maker *m)
{
    char name[LOCI_NAME_MAX];
    loci_name_draw(name, &m->rng, m->opt->names);
    loci_line_add(&m->line, " of ");
    loci_line_char(&m->line, (char)(name[0] - 'a' + 'A'));
    loci_line_add(&m->line, name + 1);
}

/* "falcon permit": two words that no other unit of the item has together; in training now and then
 * "amber falcon permit", "permit of Corvath". */
static const char *new_subject(loci_maker *m)
{
    const loci_split s = m->opt->names;
    const char *name;
    do {
        const uint32_t shape = s == LOCI_SPLIT_TRAIN ? loci_rng_below(&m->rng, 8) : 2;
        loci_line_clear(&m->line);
        /* Then there are more units than nouns and things. */
        if (m->n_units > 256 || shape == 0) add_adjective(m);
        if (shape != 1) {
            if (is_open(&m->rng, s))
                loci_clause_word_write(&m->line, "", &m->rng, &m->lex);
            else
                loci_line_add(&m->line, loci_word(LOCI_WORD_NOUN,
                                                  loci_word_draw(LOCI_WORD_NOUN, &m->rng, s)));
            loci_line_char(&m->line, ' ');
        }
        if (is_open(&m->rng, s))
            loci_clause_word_write(&m->line, "", &m->rng, &m->lex);
        else
            loci_line_add(&m->line, PICK(thing[s], &m->rng));
        if (shape == 1) add_town(m);
        name = loci_maker_new_name(m);
    } while (name == NULL);
    return name;
}

static void add_roman(loci_line *line, uint32_t n)
{
    static const char *const tens[] = { "", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX" };
    static const char *const ones[] = {
        "", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"
    };
    loci_line_add(line, tens[n / 10 % 9]);
    loci_line_add(line, ones[n % 10]);
}

/* 4.12, 12(b), 31c, KX-4821, 317, XIV, Larkin, kb7. */
static void write_mark(loci_maker *m, uint32_t shape)
{
    loci_line *line = &m->line;
    loci_rng *rng = &m->rng;
    char name[LOCI_NAME_MAX];
    loci_line_clear(line);
    switch (shape) {
    case 0:
    case 1:
        loci_line_number(line, 1 + loci_rng_below(rng, 30));
        for (uint32_t k = 1 + (loci_rng_below(rng, 4) == 0); k > 0; k--) {
            loci_line_char(line, '.');
            loci_line_number(line, 1 + loci_rng_below(rng, 30));
        }
        break;
    case 2:
    case 3:
        loci_line_number(line, 2 + loci_rng_below(rng, 97));
        if (shape == 2) loci_line_char(line, '(');
        loci_line_char(line, (char)('a' + loci_rng_below(rng, 12)));
        if (shape == 2) loci_line_char(line, ')');
        break;
    case 4: loci_value_write(line, LOCI_VALUE_CODE, rng, LOCI_SPLIT_TRAIN, &m->lex); break;
    case 5: loci_line_number(line, 100 + loci_rng_below(rng, 9900)); break;
    case 6: add_roman(line, 11 + loci_rng_below(rng, 78)); break;
    case 7:
        loci_name_draw(name, rng, LOCI_SPLIT_TRAIN);
        loci_line_char(line, (char)(name[0] - 'a' + 'A'));
        loci_line_add(line, name + 1);
        break;
    default:
        loci_mark_write(line, rng, LOCI_SPLIT_TRAIN);
        for (char *c = line->s; shape == 8 && *c; c++)
            if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
        break;
    }
}

/* The mark of fact j: no part of what its clauses say, nor of their other marks. */
static bool is_mark_apart(const loci_unit *u, int j, const char *mark)
{
    for (int i = 0; i < u->n_facts; i++) {
        if (strstr(u->value[i], mark)) return false;
        if (i < j && (strstr(u->name[i], mark) || strstr(mark, u->name[i]))) return false;
    }
    return true;
}

static const char *new_mark(loci_maker *m, const loci_unit *u, int j, uint32_t shape)
{
    for (int t = 0; t < MARK_TRIES && m->opt->names == LOCI_SPLIT_TRAIN; t++) {
        write_mark(m, shape);
        const char *name = is_mark_apart(u, j, m->line.s) ? loci_maker_new_name(m) : NULL;
        if (name) return name;
    }
    return loci_maker_new_mark(m);
}

/* ---- plan -------------------------------------------------------------------------------------- */

/* A sixth of the units is one clause that nothing contradicts; in training a fifth: readers name a
 * contradiction where there is none sooner than they miss one. */
static bool is_unopposed(loci_maker *m)
{
    return loci_rng_below(&m->rng, m->opt->names == LOCI_SPLIT_TRAIN ? 5 : 6) == 0;
}

/* Both sides in the grammar that the test half has. */
static void plan_closed(loci_maker *m, loci_unit *u)
{
    const clash c = draw_clash(m);
    const int flip = (int)loci_rng_below(&m->rng, 2);
    u->n_facts = is_unopposed(m) ? 1 : PAIR;
    for (int j = 0; j < u->n_facts; j++) u->value[j] = say_side(m, u->name[SUBJECT], &c, j ^ flip);
}

/* Both sides of any kind, in every sixth pair a bystander, and one beside every second clause that has
 * no other side: to speak about the same thing is not yet to contradict. */
static void plan_open(loci_maker *m, loci_unit *u)
{
    const char *side[PAIR], *other[PAIR];
    const int kind = loci_clash_draw(m, u->name[SUBJECT], -1, side);
    int flip = (int)loci_rng_below(&m->rng, 2);
    u->n_facts = is_unopposed(m) ? 1 : PAIR;
    if (loci_rng_below(&m->rng, u->n_facts == PAIR ? 6 : 2) == 0) {
        (void)loci_clash_draw(m, u->name[SUBJECT], kind, other);
        u->bystander = (int)loci_rng_below(&m->rng, ++u->n_facts);
    }
    for (int j = 0; j < u->n_facts; j++, flip = !flip) {
        if (j == u->bystander) {
            u->value[j] = other[0];
            flip = !flip; /* it takes no side */
        } else {
            u->value[j] = side[flip];
        }
    }
}

void loci_clauses_plan(loci_maker *m)
{
    const bool train = m->opt->names == LOCI_SPLIT_TRAIN;
    /* A text numbers its clauses in one way, or is put together from many. */
    const uint32_t shape = train ? loci_rng_below(&m->rng, 2 * MARK_SHAPES) : 0;
    for (int i = 0; i < m->n_units; i++) {
        loci_unit *u = &m->unit[i];
        u->bystander = -1;
        u->name[SUBJECT] = new_subject(m);
        if (train && loci_rng_below(&m->rng, 4) != 0)
            plan_open(m, u);
        else
            plan_closed(m, u);
        const uint32_t own =
            train && shape >= MARK_SHAPES ? loci_rng_below(&m->rng, MARK_SHAPES) : shape;
        for (int j = 0; j < u->n_facts; j++) u->name[j] = new_mark(m, u, j, own);
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
    const bool crowd = unit->bystander >= 0, pair = unit->n_facts - crowd == PAIR;
    int asked = pair ? (int)loci_rng_below(&m->rng, PAIR) : 0, other = 1 - asked;
    if (crowd && asked >= unit->bystander) asked++;
    if (crowd && other >= unit->bystander) other++;
    /* A bystander is asked about as well. */
    const bool opposed = pair && !(crowd && loci_rng_below(&m->rng, 3) == 0);
    if (crowd && !opposed && (pair || loci_rng_below(&m->rng, 2) == 0)) asked = unit->bystander;
    const bool by_mark = loci_rng_below(&m->rng, 5) < 3;
    const loci_say_args args = { .key = by_mark ? unit->name[asked] : unit->value[asked] };
    loci_question q = { .answer = loci_not_stated, .absent = true };
    if (opposed)
        q = (loci_question){ .answer = by_mark ? in_steps(m, unit->name[SUBJECT], unit->name[other])
                                               : unit->name[other],
                             .n_gold = 2,
                             .gold = { unit->at[asked], unit->at[other] } };
    q.question = loci_maker_say(m, by_mark ? LOCI_ASK_CONFLICT : LOCI_ASK_OPPOSE, &args);
    return q;
}
