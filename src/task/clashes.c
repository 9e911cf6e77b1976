/* clashes.c - what two clauses of training say that cannot both hold.
 *
 * A kind of clash has ways to say one thing about a subject {k}: with a value {v} that the other
 * side has another of (30 days, 45 days), or with ways to deny it (may be copied, must not be
 * copied).  Half of the pairs say it in the same words, the others each in their own: what a reader
 * has to learn is that both speak about the same thing and cannot be true together, not a list of
 * sentences.  {a} is a verb, the same on both sides.  Values, verbs and subjects come from an open
 * vocabulary; nothing here is a word of the test half's clauses. */
#include "task/frames.h"

#include <string.h>

#define COUNT(table)     ((uint32_t)(sizeof(table) / sizeof *(table)))
#define PICK(table, rng) ((table)[loci_rng_below(rng, COUNT(table))])

typedef enum {
    NOTHING,
    SPAN,    /* 30 days                                  */
    NUMBER,  /* 14 pages: both sides count the same      */
    DATE,    /* 14 March 2031                            */
    AMOUNT,  /* 48,213 euros                             */
    TIME,    /* 14:35                                    */
    PARTY,   /* the buyer, Mavel Orrin                   */
    TOWN,    /* Corvath                                  */
    WORD,    /* lantern                                  */
    CODE,    /* KX-4821                                  */
    PERCENT, /* 14 percent                               */
    WEEKDAY,
    MEANS /* in writing                               */
} slot;

enum { WAYS = 9 };
typedef struct {
    slot slot;
    bool same;              /* both sides have one value: what differs is said or denied */
    const char *say[WAYS];  /* NULL ends */
    const char *deny[WAYS]; /* none: the other side says it of another value */
} kind;

static const kind kinds[] = {
    { NOTHING,
      false,
      { "the {k} may be {a}", "the {k} can be {a} [freely|at any time|without notice|by anyone]",
        "it is [allowed|permitted|lawful] to have the {k} {a}",
        "[anyone|everybody|any member] may have the {k} {a}",
        "there is no objection [to having|if they want] the {k} {a}",
        "those who wish may see the {k} {a}", "permission is given to have the {k} {a}" },
      { "the {k} [may|must|shall] not be {a}", "the {k} can never be {a}",
        "it is [forbidden|prohibited|unlawful|not allowed] to have the {k} {a}",
        "nobody may have the {k} {a}", "in no case [may|shall] the {k} be {a}",
        "under no circumstances is the {k} to be {a}", "no {k} is ever to be {a}",
        "permission to have the {k} {a} is refused" } },
    { NOTHING,
      false,
      { "the {k} [must|shall|has to] be {a}", "the {k} is to be {a} [without exception|always]",
        "every {k} needs to be {a}", "it is [necessary|a duty|required] to have the {k} {a}",
        "the {k} cannot go without being {a}" },
      { "the {k} need not be {a}", "there is no need to have the {k} {a}",
        "the {k} is exempt from being {a}", "nobody is obliged to have the {k} {a}",
        "whether the {k} is {a} is up to [each member|them alone]",
        "it is optional to have the {k} {a}" } },
    { SPAN,
      false,
      { "the {k} must be {a} within {v}", "the {k} is to be {a} [no later than|at most] {v} later",
        "within {v} the {k} has to be {a}", "{v} remain for the {k} to be {a}",
        "after {v} at the latest the {k} shall be {a}",
        "the time in which the {k} must be {a} is {v}" },
      { "there is no time limit for the {k} to be {a}" } },
    { DATE,
      false,
      { "the {k} [ends|lapses|expires|runs out|becomes void] on {v}",
        "the {k} is [valid|good|in force] until {v}", "the last day of the {k} is {v}",
        "from {v} on the {k} is void", "{v} is the day on which the {k} ends",
        "the {k} shall not outlast {v}" },
      { "the {k} never ends", "the {k} is valid for ever" } },
    { DATE,
      false,
      { "the {k} [starts|begins|takes effect|enters into force] on {v}",
        "the {k} applies from {v} on", "the first day of the {k} is {v}",
        "not until {v} does the {k} take effect", "the {k} is in force as of {v}" },
      { NULL } },
    { DATE,
      true,
      { "the {k} must be {a} before {v}", "by {v} the {k} shall be {a}",
        "{v} is the last day for the {k} to be {a}",
        "it will be too late to have the {k} {a} after {v}" },
      { "the {k} must not be {a} before {v}", "the {k} is to be {a} only after {v}",
        "until {v} nobody may have the {k} {a}", "{v} has to pass before the {k} can be {a}" } },
    { AMOUNT,
      false,
      { "the {k} costs {v}", "the [price|cost] of the {k} is {v}",
        "{v} [must be|has to be|is to be] paid for the {k}", "for the {k} {v} is charged",
        "the charge for the {k} amounts to {v}", "whoever orders the {k} pays {v}" },
      { "the {k} is free of charge", "nothing is charged for the {k}",
        "no money is due for the {k}" } },
    { AMOUNT,
      false,
      { "the {k} [must not|may not|cannot] exceed {v}", "at most {v} may be spent on the {k}",
        "the [limit|ceiling|cap] of the {k} is {v}", "up to {v} can be drawn from the {k}",
        "the {k} is limited to {v}" },
      { "the {k} has no upper limit", "the {k} is unlimited" } },
    { PARTY,
      false,
      { "the {k} is paid by {v}", "{v} [pays|has to pay] for the {k}",
        "the cost of the {k} falls on {v}", "the bill for the {k} goes to {v}",
        "{v} must settle the {k}", "it is {v} who pays the {k}",
        "the {k} is at the expense of {v}" },
      { NULL } },
    { PARTY,
      false,
      { "{v} is [responsible|liable] for the {k}", "the {k} is the duty of {v}",
        "{v} looks after the {k}", "responsibility for the {k} lies with {v}",
        "{v} answers for the {k}", "the {k} is in the hands of {v}",
        "{v} is in charge of the {k}" },
      { "nobody is responsible for the {k}" } },
    { PARTY,
      false,
      { "the {k} belongs to {v}", "the {k} is the property of {v}", "{v} owns the {k}",
        "the {k} remains with {v}", "the owner of the {k} is {v}" },
      { "the {k} belongs to nobody" } },
    { PARTY,
      false,
      { "the {k} is [kept|held|stored] by {v}", "{v} keeps the {k}", "{v} has the {k} in custody",
        "custody of the {k} lies with {v}" },
      { NULL } },
    { PARTY,
      false,
      { "only {v} signs the {k}", "the {k} is signed by {v} alone",
        "no signature but that of {v} makes the {k} valid", "the {k} bears the signature of {v}" },
      { NULL } },
    { PARTY,
      false,
      { "the {k} [goes|is sent|is handed] to {v}", "{v} receives the {k}",
        "the {k} is addressed to {v}", "it is to {v} that the {k} must be given" },
      { NULL } },
    { PARTY,
      false,
      { "{v} [decides|has the last word] on the {k}", "the {k} is decided by {v}",
        "the decision about the {k} rests with {v}", "the {k} needs the consent of {v} only" },
      { NULL } },
    { PARTY,
      true,
      { "the {k} applies to {v}", "{v} is [bound by|subject to] the {k}", "the {k} binds {v}",
        "{v} falls under the {k}" },
      { "the {k} does not apply to {v}", "{v} is [exempt from|not bound by] the {k}",
        "the {k} does not concern {v}", "for {v} the {k} has no force" } },
    { PARTY,
      true,
      { "{v} is entitled to the {k}", "{v} has a right to the {k}", "the {k} is due to {v}",
        "{v} can insist on the {k}" },
      { "{v} is not entitled to the {k}", "{v} has no right to the {k}", "the {k} is denied to {v}",
        "{v} cannot ask for the {k}" } },
    { PARTY,
      true,
      { "{v} may [enter|use|open|see] the {k}", "the {k} is open to {v}",
        "{v} has access to the {k}", "the {k} can be visited by {v}" },
      { "{v} must keep away from the {k}", "the {k} is closed to {v}",
        "{v} has no access to the {k}", "the {k} is off limits for {v}" } },
    { TOWN,
      false,
      { "the {k} [is kept|must stay|is located|is held] in {v}", "the place of the {k} is {v}",
        "{v} is the seat of the {k}", "the {k} will be moved to {v}",
        "it is in {v} that the {k} is kept" },
      { NULL } },
    { TOWN,
      false,
      { "the law of {v} governs the {k}", "the {k} is governed by the law of {v}",
        "the courts of {v} decide about the {k}", "disputes about the {k} are settled in {v}" },
      { NULL } },
    { NUMBER,
      false,
      { "the {k} [has|contains|consists of] {v}", "there are {v} in the {k}", "{v} make up the {k}",
        "the {k} comes with {v}", "to the {k} belong {v}" },
      { NULL } },
    { NUMBER,
      false,
      { "the {k} [requires|needs] {v}", "{v} are needed for the {k}", "without {v} there is no {k}",
        "the {k} takes {v}" },
      { NULL } },
    { NUMBER,
      false,
      { "the {k} can be {a} by up to {v}", "no more than {v} may have the {k} {a}",
        "{v} at most have the {k} {a}" },
      { NULL } },
    { SPAN,
      false,
      { "the {k} lasts {v}", "the {k} runs for {v}", "the [length|duration|term] of the {k} is {v}",
        "it takes {v} to [finish|complete] the {k}", "the {k} is over after {v}" },
      { NULL } },
    { SPAN,
      false,
      { "the {k} is {a} every {v}", "every {v} the {k} must be {a}",
        "{v} lie between one time that the {k} is {a} and the next" },
      { "the {k} is {a} once and never again" } },
    { TIME,
      false,
      { "the {k} opens at {v}", "the doors of the {k} open at {v}",
        "nobody enters the {k} before {v}", "the {k} is open from {v} on" },
      { NULL } },
    { TIME,
      false,
      { "the {k} closes at {v}", "everyone must leave the {k} by {v}", "at {v} the {k} is locked",
        "the {k} is shut from {v} on" },
      { NULL } },
    { WEEKDAY,
      true,
      { "the {k} is open on {v}", "visitors are admitted to the {k} on {v}",
        "on {v} the {k} can be used", "the {k} takes place on {v} too" },
      { "the {k} is closed on {v}", "nobody is admitted to the {k} on {v}",
        "on {v} the {k} stays shut", "there is no {k} on {v}" } },
    { WEEKDAY,
      false,
      { "the {k} is {a} on {v} only", "{v} is the one day on which the {k} is {a}",
        "the {k} has to be {a} each week on {v}" },
      { NULL } },
    { WORD,
      true,
      { "the {k} includes the {v}", "the {v} is [part of|covered by|included in] the {k}",
        "the {k} comes with the {v}", "with the {k} goes the {v}" },
      { "the {k} does not include the {v}",
        "the {v} is [excluded from|not covered by|no part of|left out of] the {k}",
        "the {k} comes without the {v}" } },
    { WORD,
      false,
      { "the {k} is made of {v}", "only {v} is used for the {k}", "{v} is what the {k} is made of",
        "nothing but {v} may be used in the {k}" },
      { NULL } },
    { WORD,
      true,
      { "the {k} comes before the {v}", "the {v} follows the {k}",
        "first comes the {k} and then the {v}" },
      { "the {k} comes after the {v}", "the {v} precedes the {k}",
        "the {k} has to wait for the {v}" } },
    { WORD,
      true,
      { "the {k} outranks the {v}", "the {v} gives way to the {k}",
        "in doubt the {k} counts more than the {v}" },
      { "the {v} outranks the {k}", "the {k} gives way to the {v}",
        "in doubt the {k} counts less than the {v}" } },
    { WORD,
      true,
      { "the {k} replaces the {v}", "the {v} is replaced by the {k}",
        "in place of the {v} there is the {k}" },
      { "the {k} does not replace the {v}", "the {v} stays beside the {k}" } },
    { CODE,
      false,
      { "the {k} is filed under {v}", "the number of the {k} is {v}",
        "the {k} bears the number {v}", "{v} is the code of the {k}" },
      { NULL } },
    { PERCENT,
      false,
      { "the rate of the {k} is {v}", "the {k} is taxed at {v}", "a share of {v} goes to the {k}",
        "{v} is added to the {k}", "the {k} is cut by {v}" },
      { NULL } },
    { MEANS,
      false,
      { "the {k} must be {a} {v}", "the {k} can only be {a} {v}",
        "it is {v} alone that the {k} may be {a}" },
      { NULL } },
    { NOTHING,
      false,
      { "the {k} is [public|open to all|no secret]", "anyone may read the {k}",
        "copies of the {k} are given to all who ask" },
      { "the {k} is [secret|confidential|not public]", "nobody may read the {k}",
        "no one outside learns of the {k}" } },
    { NOTHING,
      false,
      { "the {k} can be [taken back|undone] at any time", "it is possible to withdraw the {k}",
        "the {k} is open to change" },
      { "the {k} is final", "the {k} cannot be [taken back|undone|changed]",
        "nothing can alter the {k}" } },
    { NOTHING,
      false,
      { "the {k} passes to the heirs", "the {k} can be left to others by will" },
      { "the {k} ends with the death of its holder", "no heir may keep the {k}" } },
    { NOTHING,
      false,
      { "the {k} [goes on|continues] during the holidays",
        "even in the holidays the {k} is not stopped" },
      { "the {k} is suspended during the holidays", "there is no {k} in the holidays" } },
    { NOTHING,
      false,
      { "the {k} is [accepted|recognized|valid] abroad", "the {k} counts in other countries too" },
      { "the {k} is worthless abroad", "the {k} is good in this country only" } },
};

static const char *const units[] = { "days",  "weeks",   "months",       "years",
                                     "hours", "minutes", "working days", "nights" };
static const char *const weekdays[] = { "Mondays",         "Tuesdays",  "Wednesdays",
                                        "Thursdays",       "Fridays",   "weekends",
                                        "public holidays", "Saturdays", "Sundays" };
static const char *const means[] = { "in writing",       "by telephone", "by registered mail",
                                     "in person",        "by e-mail",    "through a notary",
                                     "in public",        "by hand",      "before witnesses",
                                     "over the counter", "by machine",   "at night",
                                     "by daylight",      "in cash",      "without gloves" };
static const char *const parties[] = {
    "the buyer",    "the seller",      "the tenant",   "the owner",     "the bank",
    "the council",  "the landlord",    "the employer", "the carrier",   "the insurer",
    "the city",     "the supplier",    "the guest",    "the agent",     "the contractor",
    "the heir",     "the publisher",   "the author",   "the manager",   "the parents",
    "the borrower", "the lender",      "the ministry", "the customer",  "the association",
    "the user",     "the school",      "the hospital", "the treasurer", "the operator",
    "the visitor",  "the cooperative", "the captain",  "the guardian",  "the shareholders"
};
static const char *const verbs[] = {
    "paid",    "returned", "renewed",  "signed",   "copied",   "transferred", "inspected",
    "sealed",  "moved",    "opened",   "repaired", "cleaned",  "lent",        "rented",
    "printed", "recorded", "altered",  "replaced", "tested",   "measured",    "painted",
    "burned",  "extended", "audited",  "reported", "exported", "translated",  "photographed",
    "washed",  "stamped",  "approved", "reviewed", "delayed",  "shortened",   "insured",
    "taxed",   "deleted",  "posted",   "locked",   "stored",   "loaded",      "assigned"
};

/* ---- values ------------------------------------------------------------------------------ */

static void add_number(loci_line *line, loci_rng *rng)
{
    loci_line_number(line, 2 + loci_rng_below(rng, loci_rng_below(rng, 3) ? 98 : 998));
}

static void add_party(loci_maker *m)
{
    const uint32_t how = loci_rng_below(&m->rng, 6);
    if (how == 0) {
        loci_person_write(&m->line, &m->rng, LOCI_SPLIT_TRAIN);
    } else if (how < 4) {
        loci_line_add(&m->line, "the ");
        loci_clause_word_write(&m->line, "", &m->rng, &m->lex);
    } else {
        loci_line_add(&m->line, PICK(parties, &m->rng));
    }
}

static void add_town(loci_line *line, loci_rng *rng)
{
    char name[LOCI_NAME_MAX];
    loci_name_draw(name, rng, LOCI_SPLIT_TRAIN);
    loci_line_char(line, (char)(name[0] - 'a' + 'A'));
    loci_line_add(line, name + 1);
}

/* One value; `counted` is what numbers count. */
static const char *draw_value(loci_maker *m, slot s, const char *counted)
{
    loci_line *line = &m->line;
    loci_rng *rng = &m->rng;
    loci_line_clear(line);
    switch (s) {
    case SPAN:
        add_number(line, rng);
        loci_line_char(line, ' ');
        loci_line_add(line, PICK(units, rng));
        break;
    case NUMBER:
        add_number(line, rng);
        loci_line_char(line, ' ');
        loci_line_add(line, counted);
        break;
    case DATE: loci_value_write(line, LOCI_VALUE_DATE, rng, LOCI_SPLIT_TRAIN, &m->lex); break;
    case AMOUNT: loci_value_write(line, LOCI_VALUE_AMOUNT, rng, LOCI_SPLIT_TRAIN, &m->lex); break;
    case TIME: loci_value_write(line, LOCI_VALUE_TIME, rng, LOCI_SPLIT_TRAIN, &m->lex); break;
    case PARTY: add_party(m); break;
    case TOWN: add_town(line, rng); break;
    case WORD: loci_clause_word_write(line, "", rng, &m->lex); break;
    case CODE: loci_value_write(line, LOCI_VALUE_CODE, rng, LOCI_SPLIT_TRAIN, &m->lex); break;
    case PERCENT:
        add_number(line, rng);
        loci_line_add(line, " percent");
        break;
    case WEEKDAY: loci_line_add(line, PICK(weekdays, rng)); break;
    case MEANS: loci_line_add(line, PICK(means, rng)); break;
    default: return "";
    }
    return loci_pool_keep(&m->pool, line);
}

static const char *draw_verb(loci_maker *m)
{
    if (loci_rng_below(&m->rng, 2)) return PICK(verbs, &m->rng);
    loci_line_clear(&m->line);
    loci_clause_word_write(&m->line, "ed", &m->rng, &m->lex);
    return loci_pool_keep(&m->pool, &m->line);
}

/* "members", "brass screws": a word with an s. */
static const char *draw_counted(loci_maker *m)
{
    loci_line_clear(&m->line);
    loci_clause_word_write(&m->line, "s", &m->rng, &m->lex);
    return loci_pool_keep(&m->pool, &m->line);
}

/* ---- sides ---------------------------------------------------------------------------------- */

static int ways(const char *const *say)
{
    int n = 0;
    while (n < WAYS && say[n]) n++;
    return n;
}

/* Without the capital of a sentence. */
static const char *fill(loci_maker *m, const char *frame, int64_t choice, const loci_say_args *args)
{
    loci_line pattern = { 0 };
    loci_frame_expand(&pattern, frame, choice);
    loci_line_clear(&m->line);
    loci_wording_fill(&m->line, pattern.s, args);
    if (!loci_is_place(pattern.s)) m->line.s[0] = pattern.s[0];
    return loci_pool_keep(&m->pool, &m->line);
}

int loci_clash_draw(loci_maker *m, const char *subject, int but, const char *side[2])
{
    loci_rng *rng = &m->rng;
    int which;
    do which = (int)loci_rng_below(rng, COUNT(kinds));
    while (which == but);
    const kind *k = &kinds[which];
    const int n = ways(k->say), n_deny = ways(k->deny);
    const char *counted = k->slot == NUMBER ? draw_counted(m) : "";
    loci_say_args args = { .key = subject, .attribute = draw_verb(m) };
    args.value = draw_value(m, k->slot, counted);
    const char *frame = k->say[loci_rng_below(rng, (uint32_t)n)];
    const int64_t choice = (int64_t)loci_rng_below(rng, (uint32_t)loci_frame_expansions(frame));
    side[0] = fill(m, frame, choice, &args);
    /* Where both is possible the other side has another value, now and then it denies all of them. */
    const bool denies =
        n_deny > 0 && (k->same || k->slot == NOTHING || loci_rng_below(rng, 5) == 0);
    const bool alike = !denies && loci_rng_below(rng, 2) == 0;
    const char *const was = args.value;
    while (!denies && strcmp(args.value, was) == 0) args.value = draw_value(m, k->slot, counted);
    if (!alike)
        frame = denies ? k->deny[loci_rng_below(rng, (uint32_t)n_deny)]
                       : k->say[loci_rng_below(rng, (uint32_t)n)];
    side[1] =
        fill(m, frame,
             alike ? choice : (int64_t)loci_rng_below(rng, (uint32_t)loci_frame_expansions(frame)),
             &args);
    return which;
}
