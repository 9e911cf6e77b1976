/* filler.c - a page of plausible plain text, sentences from a grammar.
 *
 * Nothing in it can be asked for by a task: no digits, no names, no attribute, and its words
 * are about people who walk, mend and cook.
 *
 *   {s} someone   {v} did something to   {o} a thing   {i} did something   {p} somewhere   {t} at some time */
#include "task/task_impl.h"

#include <string.h>

static const char *const frame[] = {
    "{s} {v} {o} {p}.",
    "{t}, {s} {v} {o}.",
    "{s} {i} {p}, and {s} {v} {o}.",
    "nobody noticed that {s} {i} {p}.",
    "while {s} {i} {p}, {s} {v} {o}.",
    "{s} {v} {o}, but {s} only {i} {t}.",
    "{t} it rained, so {s} {i} {p}.",
    "it took a while before {s} {v} {o}.",
    "because {s} {v} {o}, {s} {i} {p}.",
    "{p}, {s} and {s} {i} together.",
    "{s}, who {i} {p} {t}, {v} {o}.",
    "there was not much to say about {o}, and {s} {i}.",
    "{t}, when {s} {i} {p}, the rest of them {v} {o}.",
    "some say that {s} {v} {o} and {i} {p} {t}.",
};
static const char *const someone[] = {
    "the baker",     "the old carpenter",      "a young farmer",     "the teacher",
    "her neighbor",  "a quiet visitor",        "the postman",        "his cousin",
    "the gardener",  "a group of children",    "the ferryman",       "my aunt",
    "the tailor",    "an elderly couple",      "the librarian",      "a passing stranger",
    "the cook",      "the blacksmith",         "their grandmother",  "a tired traveler",
    "the shepherd",  "the apprentice",         "one of the sailors", "the painter",
    "a small crowd", "the night watchman",     "the miller",         "her brother",
    "the choir",     "a friend of the family", "the doctor",         "the two sisters",
};
static const char *const did_to[] = {
    "mended",     "carried",     "admired",     "painted",      "borrowed",     "forgot about",
    "cleaned",    "bought",      "sold",        "looked for",   "talked about", "repaired",
    "measured",   "put away",    "unpacked",    "sketched",     "dropped",      "found",
    "lifted",     "hid",         "polished up", "brought back", "gave away",    "laughed about",
    "waited for", "argued over", "sorted",      "wrapped",      "counted",      "described",
};
static const char *const thing[] = {
    "the broken chair",     "a loaf of bread",   "the long letter",    "some firewood",
    "an unfinished coat",   "the kitchen table", "a pile of books",    "the garden gate",
    "three sacks of flour", "the wet boots",     "an old photograph",  "the evening meal",
    "a pot of soup",        "the leaking roof",  "a piece of rope",    "the clock in the hall",
    "a few tools",          "the heavy trunk",   "a bowl of berries",  "the narrow stairs",
    "the morning paper",    "a torn map",        "the spare blankets", "the fishing nets",
    "a jar of jam",         "the lost gloves",   "a row of benches",   "the stage curtain",
    "a cup of tea",         "the small boat",
};
static const char *const did[] = {
    "waited",
    "slept",
    "sang",
    "rested",
    "laughed",
    "walked about",
    "stood still",
    "talked for hours",
    "sat down",
    "worked",
    "listened",
    "looked around",
    "danced",
    "wandered off",
    "hurried along",
    "said nothing",
    "smiled",
    "dozed",
    "kept going",
    "whispered",
    "stayed behind",
    "ate in silence",
    "watched the clouds",
    "played cards",
};
static const char *const somewhere[] = {
    "by the river",         "near the market",
    "in the barn",          "at the edge of the woods",
    "on the porch",         "behind the church",
    "along the coast road", "in the kitchen",
    "under the bridge",     "at the inn",
    "in the workshop",      "across the square",
    "beside the well",      "on the way home",
    "in the upper room",    "at the station",
    "outside the village",  "in the courtyard",
    "by the open window",   "on the hillside",
    "down at the harbor",   "in front of the school",
    "near the old mill",    "between the houses",
};
static const char *const sometime[] = {
    "early in the morning", "after lunch",       "that evening",          "on a cold day",
    "before sunrise",       "later in the week", "at the end of summer",  "during the storm",
    "in the afternoon",     "once again",        "toward midnight",       "on market day",
    "after the harvest",    "in late spring",    "a little later",        "most days",
    "now and then",         "as usual",          "on the first warm day", "when the bells rang",
};

#define PICK(table) ((table)[loci_rng_below(rng, (uint32_t)(sizeof(table) / sizeof *(table)))])

static const char *pick(char place, loci_rng *rng)
{
    switch (place) {
    case 's': return PICK(someone);
    case 'v': return PICK(did_to);
    case 'o': return PICK(thing);
    case 'i': return PICK(did);
    case 'p': return PICK(somewhere);
    default: return PICK(sometime);
    }
}

static void write_sentence(loci_line *line, loci_rng *rng)
{
    const size_t start = line->len;
    for (const char *c = PICK(frame); *c; c++) {
        if (*c != '{') {
            loci_line_char(line, *c);
            continue;
        }
        loci_line_add(line, pick(c[1], rng));
        c += 2; /* the letter; the loop steps over the brace */
    }
    line->s[start] = (char)(line->s[start] - 'a' + 'A'); /* every frame and word starts with a-z */
}

size_t loci_task_filler(uint64_t seed, size_t bytes, char *out, size_t cap)
{
    if (out == NULL) return 0;
    loci_rng rng;
    loci_line line;
    loci_rng_seed(&rng, loci_rng_mix(seed, 0x66696c6c)); /* apart from the items of this seed */
    size_t done = 0;
    uint32_t left = 0; /* sentences until the next paragraph */
    while (done < bytes) {
        loci_line_clear(&line);
        if (left == 0) {
            if (done > 0) loci_line_add(&line, "\n\n");
            left = 3 + loci_rng_below(&rng, 5);
        } else {
            loci_line_char(&line, ' ');
        }
        write_sentence(&line, &rng);
        if (line.len > cap - done) break;
        memcpy(out + done, line.s, line.len);
        done += line.len;
        left--;
    }
    return done;
}
