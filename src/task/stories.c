/* stories.c - people who walk about and carry things: one story an item, its sentences in order,
 * questions about how things stand at its end.
 *
 *   qa1  where is Mary?                    her last move
 *   qa2  where is the milk?                who took it or dropped it, and that person's move
 *   qa3  where was the milk before the kitchen?   the moves that brought it there and before
 *
 * Answers to qa2 and qa3 give their steps, the end last: "Mary, kitchen".
 *
 * The worlds are those of the bAbI tasks (Weston et al. 2015) in our own words: told between the
 * lines of a novel they are the recipe of BABILong (Kuratov et al. 2024).  Half of training's stories
 * have bAbI's own names, which stand first in the tables; the others take most of theirs from an open
 * vocabulary: a model trained on a dozen names knows them by heart and reads no others. */
#include "task/task_impl.h"

#include <stdlib.h>
#include <string.h>

enum { PEOPLE = 6, PLACES = 8, THINGS = 4, NAMES = 12, TRAIL = 512 };
enum { OWN_PEOPLE = 4, OWN_PLACES = 6, OWN_THINGS = 3, OPEN_LEAST = 5 };

/* [loci_split] */
static const char *const people[2][NAMES] = {
    { "Mary", "John", "Daniel", "Sandra", "Julie", "Fred", "Bill", "Jeff", "Karen", "Oscar",
      "Helen", "Victor" },
    { "Agnes", "Boris", "Clara", "Dennis", "Edith", "Felix", "Greta", "Hugo", "Irma", "Jonas",
      "Lydia", "Walter" },
};
static const char *const places[2][NAMES] = {
    { "bathroom", "hallway", "garden", "office", "bedroom", "kitchen", "school", "cinema", "park",
      "garage", "basement", "balcony" },
    { "attic", "workshop", "courtyard", "pantry", "nursery", "laundry", "bakery", "chapel",
      "stable", "foyer", "terrace", "archive" },
};
static const char *const things[2][NAMES] = {
    { "football", "milk", "apple", "newspaper", "suitcase", "cake", "hat", "pen", "ball", "phone",
      "bread", "jacket" },
    { "lamp", "mug", "scarf", "violin", "map", "ladle", "coin", "towel", "brush", "diary", "wrench",
      "pear" },
};

typedef struct { /* a thing has been at `place` since fact `at` brought or showed it there */
    int place, at;
} stop;

typedef struct {
    int n_people, n_places, n_things;
    const char *person[PEOPLE], *place[PLACES], *thing[THINGS]; /* tables' or the maker's */
    stop where[PEOPLE];                                         /* at = -1: nobody knows */
    int holder[THINGS], taken[THINGS]; /* -1: nobody; the fact that last moved it */
    int mover[THINGS];                 /* the person of that fact */
    int came[THINGS];                  /* that person's move to where the thing is */
    stop trail[THINGS][TRAIL];         /* its places, in order */
    int n_trail[THINGS];
} world;

/* n names of the table, those of the first `own` before all others. */
static void draw_names(const char **out, int n, const char *const *table, int own, loci_rng *rng)
{
    int all[NAMES];
    for (int i = 0; i < NAMES; i++) all[i] = i;
    for (int i = 0; i < n; i++) {
        const int left = (i < own ? own : NAMES) - i;
        const int j = i + (int)loci_rng_below(rng, (uint32_t)left), t = all[j];
        all[j] = all[i];
        all[i] = t;
        out[i] = table[t];
    }
}

/* ---- open vocabulary ---------------------------------------------------------------------- */

static bool same_letters(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((a[i] | 32) != (b[i] | 32)) return false;
    return true;
}

/* Is one of the words of `name` one of the words of `other`, whatever their capitals? */
static bool shares_word(const char *name, const char *other)
{
    for (const char *a = name; *a; a += strspn(a, " ")) {
        const size_t n = strcspn(a, " ");
        for (const char *b = other; *b; b += strspn(b, " ")) {
            const size_t k = strcspn(b, " ");
            if (k == n && same_letters(a, b, n)) return true;
            b += k;
        }
        a += n;
    }
    return false;
}

static bool shares_any(const char *name, const char *const *others, int n)
{
    for (int i = 0; i < n; i++)
        if (shares_word(name, others[i])) return true;
    return false;
}

static void add_person(loci_maker *m)
{
    char name[LOCI_NAME_MAX];
    loci_name_draw(name, &m->rng, LOCI_SPLIT_TRAIN);
    loci_line_char(&m->line, (char)(name[0] - 'a' + 'A'));
    loci_line_add(&m->line, name + 1);
}

/* What questions about stories are made of: "where was the before before the mill?" says nothing. */
static bool is_asking(const char *word)
{
    static const char *const asking[] = { "where", "before", "after", "which", "there", "place" };
    for (size_t i = 0; i < sizeof asking / sizeof *asking; i++)
        if (strcmp(word, asking[i]) == 0) return true;
    return false;
}

/* "mill", now and then "old mill".  Words of five letters or more: no "from" and "with". */
static void add_object(loci_maker *m)
{
    loci_line *line = &m->line;
    if (loci_rng_below(&m->rng, 5) == 0) {
        const int i = loci_word_draw(LOCI_WORD_ADJECTIVE, &m->rng, LOCI_SPLIT_TRAIN);
        loci_line_add(line, loci_word(LOCI_WORD_ADJECTIVE, i));
        loci_line_char(line, ' ');
    }
    const size_t start = line->len;
    if (loci_rng_below(&m->rng, 5) < 2) {
        const int i = loci_word_draw(LOCI_WORD_NOUN, &m->rng, LOCI_SPLIT_TRAIN);
        loci_line_add(line, loci_word(LOCI_WORD_NOUN, i));
        return;
    }
    do {
        line->len = start;
        loci_open_word_write(line, &m->rng, &m->lex);
    } while (line->len - start < OPEN_LEAST || is_asking(line->s + start));
}

/* A name of training that shares no word with the world so far, nor with the test half. */
static const char *open_name(loci_maker *m, const world *w, const char *const *table, bool person)
{
    for (;;) {
        loci_line_clear(&m->line);
        if (loci_rng_below(&m->rng, 4) == 0)
            loci_line_add(&m->line, table[loci_rng_below(&m->rng, NAMES)]);
        else if (person)
            add_person(m);
        else
            add_object(m);
        const char *s = m->line.s;
        if (!shares_any(s, people[LOCI_SPLIT_TEST], NAMES) &&
            !shares_any(s, places[LOCI_SPLIT_TEST], NAMES) &&
            !shares_any(s, things[LOCI_SPLIT_TEST], NAMES) &&
            !shares_any(s, w->person, w->n_people) && !shares_any(s, w->place, w->n_places) &&
            !shares_any(s, w->thing, w->n_things))
            return loci_pool_keep(&m->pool, &m->line);
    }
}

static void draw_open(loci_maker *m, world *w, int n_people, int n_places, int n_things)
{
    while (w->n_people < n_people) {
        const char *name = open_name(m, w, people[LOCI_SPLIT_TRAIN], true);
        w->person[w->n_people++] = name;
    }
    while (w->n_places < n_places) {
        const char *name = open_name(m, w, places[LOCI_SPLIT_TRAIN], false);
        w->place[w->n_places++] = name;
    }
    while (w->n_things < n_things) {
        const char *name = open_name(m, w, things[LOCI_SPLIT_TRAIN], false);
        w->thing[w->n_things++] = name;
    }
}

static void world_open(world *w, loci_maker *m)
{
    const loci_split s = m->opt->names;
    loci_rng *rng = &m->rng;
    memset(w, 0, sizeof *w);
    const int n_people = 2 + (int)loci_rng_below(rng, PEOPLE - 1);
    const int n_places = 4 + (int)loci_rng_below(rng, PLACES - 3);
    const int n_things = 1 + (int)loci_rng_below(rng, THINGS);
    const bool train = s == LOCI_SPLIT_TRAIN;
    if (train && loci_rng_below(rng, 2) == 0) {
        draw_open(m, w, n_people, n_places, n_things);
    } else {
        w->n_people = n_people;
        w->n_places = n_places;
        w->n_things = n_things;
        draw_names(w->person, n_people, people[s], train ? OWN_PEOPLE : 0, rng);
        draw_names(w->place, n_places, places[s], train ? OWN_PLACES : 0, rng);
        draw_names(w->thing, n_things, things[s], train ? OWN_THINGS : 0, rng);
    }
    for (int p = 0; p < PEOPLE; p++) w->where[p].at = -1;
    for (int t = 0; t < THINGS; t++) w->holder[t] = -1;
}

/* A long story forgets where a thing was at first. */
static void trail_add(world *w, int t, stop s)
{
    if (w->n_trail[t] == TRAIL)
        memmove(w->trail[t], w->trail[t] + 1, (size_t)--w->n_trail[t] * sizeof(stop));
    w->trail[t][w->n_trail[t]++] = s;
}

/* ---- events ----------------------------------------------------------------------------- */

static loci_fact event(loci_maker *m, loci_say say, const char *who, const char *what)
{
    const char *text = loci_maker_say(m, say, &(loci_say_args){ .key = who, .value = what });
    return (loci_fact){ .text = text, .len = (int)strlen(text) };
}

/* Person p takes or drops thing t in fact i. */
static void hand(world *w, int p, int t, int i)
{
    w->mover[t] = p;
    w->taken[t] = i;
    w->came[t] = w->where[p].at;
}

static loci_fact move(loci_maker *m, world *w, int p, int i)
{
    int to = (int)loci_rng_below(&m->rng, (uint32_t)w->n_places);
    if (to == w->where[p].place && w->where[p].at >= 0) to = (to + 1) % w->n_places;
    w->where[p] = (stop){ to, i };
    for (int t = 0; t < w->n_things; t++)
        if (w->holder[t] == p) {
            trail_add(w, t, w->where[p]);
            w->came[t] = i;
        }
    return event(m, LOCI_SAY_MOVE, w->person[p], w->place[to]);
}

/* The next sentence: somebody takes what lies where he is, drops what he has, or moves. */
static loci_fact next_event(loci_maker *m, world *w, int i, bool carry)
{
    const int p = (int)loci_rng_below(&m->rng, (uint32_t)w->n_people);
    const int t = (int)loci_rng_below(&m->rng, (uint32_t)w->n_things);
    const uint32_t wish = loci_rng_below(&m->rng, 10);
    const bool here =
        w->n_trail[t] == 0 || w->trail[t][w->n_trail[t] - 1].place == w->where[p].place;
    if (!carry || wish < 5 || w->where[p].at < 0) return move(m, w, p, i);
    if (w->holder[t] == p && wish < 7) {
        w->holder[t] = -1;
        hand(w, p, t, i);
        return event(m, LOCI_SAY_DROP, w->person[p], w->thing[t]);
    }
    if (w->holder[t] >= 0 || !here) return move(m, w, p, i);
    w->holder[t] = p;
    hand(w, p, t, i);
    if (w->n_trail[t] == 0) trail_add(w, t, w->where[p]);
    return event(m, LOCI_SAY_GET, w->person[p], w->thing[t]);
}

/* The first sentences make sure that there is something to ask. */
static loci_fact opening(loci_maker *m, world *w, int i)
{
    if (i != 1) return move(m, w, 0, i);
    w->holder[0] = 0;
    hand(w, 0, 0, i);
    trail_add(w, 0, w->where[0]);
    return event(m, LOCI_SAY_GET, w->person[0], w->thing[0]);
}

/* ---- questions ------------------------------------------------------------------------------- */

static loci_question where_person(loci_maker *m, const world *w, int p)
{
    return (loci_question){
        .question = loci_maker_say(m, LOCI_ASK_WHERE, &(loci_say_args){ .key = w->person[p] }),
        .answer = w->place[w->where[p].place],
        .n_gold = 1,
        .gold = { w->where[p].at },
    };
}

static const char *steps(loci_maker *m, const char *who, const char *there, const char *end)
{
    loci_line_clear(&m->line);
    loci_line_add(&m->line, who);
    loci_line_add(&m->line, ", ");
    if (there) {
        loci_line_add(&m->line, there);
        loci_line_add(&m->line, ", ");
    }
    loci_line_add(&m->line, end);
    return loci_pool_keep(&m->pool, &m->line);
}

static loci_question where_thing(loci_maker *m, const world *w, int t)
{
    const stop now = w->trail[t][w->n_trail[t] - 1];
    return (loci_question){
        .question = loci_maker_say(m, LOCI_ASK_THING, &(loci_say_args){ .key = w->thing[t] }),
        .answer = steps(m, w->person[w->mover[t]], NULL, w->place[now.place]),
        .n_gold = 2,
        .gold = { w->taken[t], w->came[t] },
    };
}

/* Before the last time that thing t was at `place`; false: it was nowhere before. */
static bool where_before(loci_maker *m, const world *w, int t, int place, loci_question *q)
{
    int i = w->n_trail[t] - 1;
    while (i > 0 && w->trail[t][i].place != place) i--;
    if (i <= 0) return false;
    const stop was = w->trail[t][i - 1];
    *q = (loci_question){
        .question =
            loci_maker_say(m, LOCI_ASK_EARLIER,
                           &(loci_say_args){ .key = w->thing[t], .value = w->place[place] }),
        .answer = steps(m, w->person[w->mover[t]], w->place[place], w->place[was.place]),
        .n_gold = 3,
        .gold = { w->taken[t], w->trail[t][i].at, was.at },
    };
    return true;
}

/* Question number c of all that may be asked; false: there is no answer to it. */
static bool candidate(loci_maker *m, const world *w, int c, loci_question *q)
{
    const int t = c / PLACES, place = c % PLACES;
    switch (m->opt->family) {
    case LOCI_TASK_QA1:
        if (c >= w->n_people || w->where[c].at < 0) return false;
        *q = where_person(m, w, c);
        return true;
    case LOCI_TASK_QA2:
        if (c >= w->n_things || w->n_trail[c] == 0) return false;
        *q = where_thing(m, w, c);
        return true;
    default: return t < w->n_things && place < w->n_places && where_before(m, w, t, place, q);
    }
}

loci_status loci_story_make(loci_task_item *item, loci_maker *m, loci_error *err)
{
    enum { CANDIDATES = THINGS * PLACES };
    const bool carry = m->opt->family != LOCI_TASK_QA1;
    const int least = carry ? 3 : 1;
    const int n = m->opt->n_facts > least ? m->opt->n_facts : least;
    world *w = malloc(sizeof *w);
    item->fact = calloc((size_t)n, sizeof *item->fact);
    item->question = calloc((size_t)m->opt->n_questions, sizeof *item->question);
    if (!w || !item->fact || !item->question) {
        free(w);
        return loci_fail(err, LOCI_ENOMEM, "no memory for a story of %d sentences", n);
    }
    world_open(w, m);
    for (int i = 0; i < n; i++)
        item->fact[i] = i < least ? opening(m, w, i) : next_event(m, w, i, carry);
    item->n_facts = n;
    const int first = (int)loci_rng_below(&m->rng, CANDIDATES);
    for (int c = 0; c < CANDIDATES && item->n_questions < m->opt->n_questions; c++)
        item->n_questions +=
            candidate(m, w, (first + c) % CANDIDATES, &item->question[item->n_questions]);
    free(w);
    return LOCI_OK;
}
