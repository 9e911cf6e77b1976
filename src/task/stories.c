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
 * lines of a novel they are the recipe of BABILong (Kuratov et al. 2024). */
#include "task/task_impl.h"

#include <stdlib.h>
#include <string.h>

enum { PEOPLE = 6, PLACES = 8, THINGS = 4, NAMES = 12, TRAIL = 512 };

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
    int person[PEOPLE], place[PLACES], thing[THINGS]; /* indices of names */
    stop where[PEOPLE];                               /* at = -1: nobody knows */
    int holder[THINGS], taken[THINGS];                /* -1: nobody; the fact that last moved it */
    int mover[THINGS];                                /* the person of that fact */
    int came[THINGS];                                 /* that person's move to where the thing is */
    stop trail[THINGS][TRAIL];                        /* its places, in order */
    int n_trail[THINGS];
} world;

static void draw_names(int *out, int n, loci_rng *rng)
{
    int all[NAMES];
    for (int i = 0; i < NAMES; i++) all[i] = i;
    for (int i = 0; i < n; i++) {
        const int j = i + (int)loci_rng_below(rng, (uint32_t)(NAMES - i)), t = all[j];
        all[j] = all[i];
        out[i] = all[i] = t;
    }
}

static void world_open(world *w, loci_rng *rng)
{
    memset(w, 0, sizeof *w);
    w->n_people = 2 + (int)loci_rng_below(rng, PEOPLE - 1);
    w->n_places = 4 + (int)loci_rng_below(rng, PLACES - 3);
    w->n_things = 1 + (int)loci_rng_below(rng, THINGS);
    draw_names(w->person, w->n_people, rng);
    draw_names(w->place, w->n_places, rng);
    draw_names(w->thing, w->n_things, rng);
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
    const loci_split s = m->opt->names;
    int to = (int)loci_rng_below(&m->rng, (uint32_t)w->n_places);
    if (to == w->where[p].place && w->where[p].at >= 0) to = (to + 1) % w->n_places;
    w->where[p] = (stop){ to, i };
    for (int t = 0; t < w->n_things; t++)
        if (w->holder[t] == p) {
            trail_add(w, t, w->where[p]);
            w->came[t] = i;
        }
    return event(m, LOCI_SAY_MOVE, people[s][w->person[p]], places[s][w->place[to]]);
}

/* The next sentence: somebody takes what lies where he is, drops what he has, or moves. */
static loci_fact next_event(loci_maker *m, world *w, int i, bool carry)
{
    const loci_split s = m->opt->names;
    const int p = (int)loci_rng_below(&m->rng, (uint32_t)w->n_people);
    const int t = (int)loci_rng_below(&m->rng, (uint32_t)w->n_things);
    const uint32_t wish = loci_rng_below(&m->rng, 10);
    const bool here =
        w->n_trail[t] == 0 || w->trail[t][w->n_trail[t] - 1].place == w->where[p].place;
    if (!carry || wish < 5 || w->where[p].at < 0) return move(m, w, p, i);
    if (w->holder[t] == p && wish < 7) {
        w->holder[t] = -1;
        hand(w, p, t, i);
        return event(m, LOCI_SAY_DROP, people[s][w->person[p]], things[s][w->thing[t]]);
    }
    if (w->holder[t] >= 0 || !here) return move(m, w, p, i);
    w->holder[t] = p;
    hand(w, p, t, i);
    if (w->n_trail[t] == 0) trail_add(w, t, w->where[p]);
    return event(m, LOCI_SAY_GET, people[s][w->person[p]], things[s][w->thing[t]]);
}

/* The first sentences make sure that there is something to ask. */
static loci_fact opening(loci_maker *m, world *w, int i)
{
    const loci_split s = m->opt->names;
    if (i != 1) return move(m, w, 0, i);
    w->holder[0] = 0;
    hand(w, 0, 0, i);
    trail_add(w, 0, w->where[0]);
    return event(m, LOCI_SAY_GET, people[s][w->person[0]], things[s][w->thing[0]]);
}

/* ---- questions ------------------------------------------------------------------------------- */

static loci_question where_person(loci_maker *m, const world *w, int p)
{
    const loci_split s = m->opt->names;
    return (loci_question){
        .question =
            loci_maker_say(m, LOCI_ASK_WHERE, &(loci_say_args){ .key = people[s][w->person[p]] }),
        .answer = places[s][w->place[w->where[p].place]],
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
    const loci_split s = m->opt->names;
    const stop now = w->trail[t][w->n_trail[t] - 1];
    return (loci_question){
        .question =
            loci_maker_say(m, LOCI_ASK_THING, &(loci_say_args){ .key = things[s][w->thing[t]] }),
        .answer = steps(m, people[s][w->person[w->mover[t]]], NULL, places[s][w->place[now.place]]),
        .n_gold = 2,
        .gold = { w->taken[t], w->came[t] },
    };
}

/* Before the last time that thing t was at `place`; false: it was nowhere before. */
static bool where_before(loci_maker *m, const world *w, int t, int place, loci_question *q)
{
    const loci_split s = m->opt->names;
    int i = w->n_trail[t] - 1;
    while (i > 0 && w->trail[t][i].place != place) i--;
    if (i <= 0) return false;
    const stop was = w->trail[t][i - 1];
    *q = (loci_question){
        .question = loci_maker_say(m, LOCI_ASK_EARLIER,
                                   &(loci_say_args){ .key = things[s][w->thing[t]],
                                                     .value = places[s][w->place[place]] }),
        .answer = steps(m, people[s][w->person[w->mover[t]]], places[s][w->place[place]],
                        places[s][w->place[was.place]]),
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
    world_open(w, &m->rng);
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
