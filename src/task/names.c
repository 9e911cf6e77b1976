/* names.c - keys that facts are about: mostly "the amber falcon of Corvath", a smaller share
 * of projects, users, files, addresses and people.
 *
 * Cities and people are made of syllables, so that there are far more than a model can learn
 * by heart and it has to match them by content.  The half (train or test) of a made-up name
 * is a bit of its hash; words have their half from words.c.  A key is of one half when all its
 * parts are, so the two sets of keys are disjoint. */
#include "task/task_impl.h"

#include <string.h>

static const char *const onsets[] = { "b",  "br", "c",  "cr", "d",  "dr", "f", "g",
                                      "gr", "h",  "j",  "k",  "l",  "m",  "n", "p",
                                      "r",  "s",  "st", "t",  "th", "tr", "v", "w" };
static const char *const vowels[] = { "a", "e", "i", "o", "u", "ai", "ea", "io" };
static const char *const joints[] = { "", "l", "n", "r", "s" };
static const char *const endings[] = { "n",   "l",   "th",  "m",   "rk",  "nd",  "sk", "ra",
                                       "ton", "vik", "wen", "ris", "dal", "mor", "x",  "va" };
static const char *const suffixes[] = { "txt", "csv", "log", "json", "pdf", "xml" };

/* 2 syllables of at most 5 letters, an ending of 3. */
_Static_assert(2 * 5 + 3 < LOCI_NAME_MAX, "a name fits");

/* What has a single name; test keys are projects all. */
static const char *const heads[] = { "project", "operation", "station",  "ship",
                                     "team",    "client",    "building", "school",
                                     "company", "campaign",  "server",   "route" };

#define COUNT(table)     ((uint32_t)(sizeof(table) / sizeof *(table)))
#define PICK(table, rng) ((table)[loci_rng_below(rng, COUNT(table))])

loci_split loci_name_split(const char *name)
{
    return loci_string_hash(name) >> 40 & 1 ? LOCI_SPLIT_TEST : LOCI_SPLIT_TRAIN;
}

/* ---- made-up names, lower case in the struct -------------------------------- */

void loci_name_draw(char name[LOCI_NAME_MAX], loci_rng *rng, loci_split split)
{
    do {
        const int syllables = loci_rng_below(rng, 10) < 3 ? 1 : 2;
        name[0] = '\0';
        for (int i = 0; i < syllables; i++) {
            strcat(name, PICK(onsets, rng));
            strcat(name, PICK(vowels, rng));
            if (i + 1 < syllables) strcat(name, PICK(joints, rng));
        }
        strcat(name, PICK(endings, rng));
    } while (loci_name_split(name) != split);
}

/* Replace one letter by another of its class; about half of the results are of this half. */
static void name_near(char name[LOCI_NAME_MAX], loci_rng *rng, loci_split split)
{
    static const char open[] = "aeiou", closed[] = "bcdfghjklmnprstvwxz";
    char was[LOCI_NAME_MAX];
    memcpy(was, name, LOCI_NAME_MAX);
    do {
        memcpy(name, was, LOCI_NAME_MAX);
        const size_t i = loci_rng_below(rng, (uint32_t)strlen(name));
        name[i] = strchr(open, name[i]) ? open[loci_rng_below(rng, sizeof open - 1)]
                                        : closed[loci_rng_below(rng, sizeof closed - 1)];
    } while (loci_name_split(name) != split || strcmp(name, was) == 0);
}

void loci_person_write(loci_line *line, loci_rng *rng, loci_split split)
{
    char name[LOCI_NAME_MAX];
    for (int i = 0; i < 2; i++) {
        loci_name_draw(name, rng, split);
        if (i > 0) loci_line_char(line, ' ');
        name[0] = (char)(name[0] - 'a' + 'A');
        loci_line_add(line, name);
    }
}

static void add_capital(loci_line *line, const char *name)
{
    loci_line_char(line, (char)(name[0] - 'a' + 'A'));
    loci_line_add(line, name + 1);
}

static bool number_is_of(uint32_t n, loci_split split)
{
    loci_line text;
    loci_line_clear(&text);
    loci_line_number(&text, n);
    return loci_name_split(text.s) == split;
}

/* Five digits always: no user is the beginning of another. */
static uint32_t user_draw(loci_rng *rng, loci_split split)
{
    uint32_t n;
    do n = 10000 + loci_rng_below(rng, 90000);
    while (!number_is_of(n, split));
    return n;
}

static uint32_t user_near(uint32_t was, loci_rng *rng, loci_split split)
{
    static const uint32_t power[] = { 1, 10, 100, 1000, 10000 };
    uint32_t n;
    do {
        const uint32_t p = PICK(power, rng);
        const uint32_t digit = loci_rng_below(rng, 10);
        n = was - was / p % 10 * p + digit * p;
    } while (n == was || n < 10000 || !number_is_of(n, split));
    return n;
}

/* ---- keys --------------------------------------------------------------------- */

static loci_key_kind draw_kind(loci_rng *rng)
{
    const uint32_t r = loci_rng_below(rng, 100);
    if (r < 60) return LOCI_KEY_PLACE;
    return (loci_key_kind)(LOCI_KEY_PROJECT +
                           (int)((r - 60) / 8)); /* 8 % each of the five others */
}

void loci_key_draw(loci_key *key, loci_rng *rng, loci_split split)
{
    memset(key, 0, sizeof *key);
    key->kind = draw_kind(rng);
    if (key->kind == LOCI_KEY_USER) {
        key->number = user_draw(rng, split);
        return;
    }
    loci_name_draw(key->name[0], rng, split);
    if (key->kind == LOCI_KEY_EMAIL || key->kind == LOCI_KEY_PERSON)
        loci_name_draw(key->name[1], rng, split);
    if (key->kind == LOCI_KEY_PLACE) {
        key->word[0] = loci_word_draw(LOCI_WORD_ADJECTIVE, rng, split);
        key->word[1] = loci_word_draw(LOCI_WORD_NOUN, rng, split);
    }
    if (key->kind == LOCI_KEY_PROJECT && split == LOCI_SPLIT_TRAIN && loci_rng_below(rng, 2) == 0)
        key->word[0] = (int)loci_rng_below(rng, COUNT(heads));
    if (key->kind == LOCI_KEY_FILE) {
        key->word[0] = loci_word_draw(LOCI_WORD_NOUN, rng, split);
        key->word[1] = (int)loci_rng_below(rng, COUNT(suffixes));
        key->number = 1 + loci_rng_below(rng, 99);
    }
}

/* A place keeps adjective and noun and moves to another city (or one a letter away); now and
 * then the adjective changes instead. */
static void place_near(loci_key *key, loci_rng *rng, loci_split split)
{
    const uint32_t r = loci_rng_below(rng, 8);
    const int was = key->word[0];
    if (r < 6)
        loci_name_draw(key->name[0], rng, split);
    else if (r == 6)
        name_near(key->name[0], rng, split);
    else
        while (key->word[0] == was) key->word[0] = loci_word_draw(LOCI_WORD_ADJECTIVE, rng, split);
}

void loci_key_near(loci_key *key, loci_rng *rng, loci_split split)
{
    const uint32_t number = key->number;
    switch (key->kind) {
    case LOCI_KEY_PLACE: place_near(key, rng, split); break;
    case LOCI_KEY_USER: key->number = user_near(key->number, rng, split); break;
    case LOCI_KEY_FILE:
        while (key->number == number) key->number = 1 + loci_rng_below(rng, 99);
        break;
    case LOCI_KEY_PERSON: loci_name_draw(key->name[1], rng, split); break;
    default: name_near(key->name[0], rng, split); break;
    }
}

void loci_key_write(loci_line *line, const loci_key *key)
{
    switch (key->kind) {
    case LOCI_KEY_PLACE:
        loci_line_add(line, "the ");
        loci_line_add(line, loci_word(LOCI_WORD_ADJECTIVE, key->word[0]));
        loci_line_char(line, ' ');
        loci_line_add(line, loci_word(LOCI_WORD_NOUN, key->word[1]));
        loci_line_add(line, " of ");
        add_capital(line, key->name[0]);
        break;
    case LOCI_KEY_PROJECT:
        loci_line_add(line, heads[key->word[0]]);
        loci_line_char(line, ' ');
        add_capital(line, key->name[0]);
        break;
    case LOCI_KEY_USER:
        loci_line_add(line, "user ");
        loci_line_number(line, key->number);
        break;
    case LOCI_KEY_FILE:
        loci_line_add(line, key->name[0]);
        loci_line_char(line, '-');
        loci_line_add(line, loci_word(LOCI_WORD_NOUN, key->word[0]));
        loci_line_char(line, '-');
        loci_line_number(line, key->number);
        loci_line_char(line, '.');
        loci_line_add(line, suffixes[key->word[1]]);
        break;
    case LOCI_KEY_EMAIL:
        loci_line_add(line, key->name[0]);
        loci_line_char(line, '@');
        loci_line_add(line, key->name[1]);
        loci_line_add(line, ".net");
        break;
    default:
        add_capital(line, key->name[0]);
        loci_line_char(line, ' ');
        add_capital(line, key->name[1]);
        break;
    }
}

/* ---- marks and JSON keys --------------------------------------------------------- */

void loci_mark_write(loci_line *line, loci_rng *rng, loci_split split)
{
    char mark[6];
    do {
        const int letters = 2 + (int)loci_rng_below(rng, 2),
                  digits = 1 + (int)loci_rng_below(rng, 2);
        int n = 0;
        while (n < letters) mark[n++] = (char)('A' + loci_rng_below(rng, 26));
        while (n < letters + digits) mark[n++] = (char)('1' + loci_rng_below(rng, 9));
        mark[n] = '\0';
    } while (loci_name_split(mark) != split);
    loci_line_add(line, mark);
}

void loci_hex_name_write(loci_line *line, loci_rng *rng, loci_split split, int digits)
{
    static const int shape[] = { 8, 4, 4, 4, 12 };
    const size_t start = line->len;
    do {
        line->len = start;
        for (int i = 0; digits == LOCI_HEX_UUID && i < 5; i++) {
            if (i > 0) loci_line_char(line, '-');
            loci_line_hex(line, loci_rng_u64(rng), shape[i]);
        }
        for (int left = digits; left > 0; left -= 16)
            loci_line_hex(line, loci_rng_u64(rng), left < 16 ? left : 16);
    } while (loci_name_split(line->s + start) != split);
}
