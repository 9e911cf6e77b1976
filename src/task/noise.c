/* noise.c - what disturbs training's wordings: a few words of the text before, behind or inside a
 * sentence, words that others stand for or that are left out, a missing question mark, capitals that are
 * none, a misspelt word.
 *
 * People write like that, and a reader that was only shown clean sentences takes every odd word for a
 * part of the key.  Words that others stand for make of every sentence one that no table has: what
 * is left to go by is key, attribute and value, and that is what counts.  All of it happens to the
 * pattern, between the places: keys, attributes and values stay as they are. */
#include "task/task_impl.h"

#include <string.h>

enum { FACT_PHRASES = 22, QUESTION_PHRASES = 28, STRANGE = 16 }; /* in percent */

/* Put `what` into the line before byte `at`. */
static void insert(loci_line *line, size_t at, const char *what)
{
    loci_line rest = { 0 };
    loci_line_add(&rest, line->s + at);
    line->len = at;
    loci_line_add(line, what);
    loci_line_add(line, rest.s);
}

static void wrap(loci_line *line, const char *before, const char *phrase, const char *behind)
{
    loci_line_clear(line);
    loci_line_add(line, before);
    loci_line_add(line, phrase);
    loci_line_add(line, behind);
}

/* ---- phrases --------------------------------------------------------------------------- */

static void put_before(loci_line *pattern, const char *phrase, loci_rng *rng)
{
    static const char *const behind[] = { ". ", ". ", ", ", ": ", " - ", "? ", "; ", ") " };
    const uint32_t i = loci_rng_below(rng, 8);
    loci_line put;
    wrap(&put, i == 7 ? "(" : "", phrase, behind[i]);
    if (i < 2 && loci_is_small(pattern->s[0])) pattern->s[0] = (char)(pattern->s[0] - 'a' + 'A');
    insert(pattern, 0, put.s);
}

static void put_behind(loci_line *pattern, const char *phrase, loci_rng *rng)
{
    static const char *const form[][2] = { { " ", "." },   { " ", "." },  { ", ", "." },
                                           { " - ", "." }, { " (", ")" }, { "; ", "." } };
    /* Right behind a value only as a sentence of its own: the value would seem to go on. */
    const char *end = pattern->len > 4 ? pattern->s + pattern->len - 4 : "";
    const uint32_t i = loci_rng_below(rng, strcmp(end, "{v}.") == 0 ? 2 : 6);
    loci_line put;
    wrap(&put, form[i][0], phrase, form[i][1]);
    /* ", ..." and the like stand before the full stop. */
    if (i >= 2 && pattern->len > 1 && pattern->s[pattern->len - 1] == '.') pattern->len--;
    pattern->s[pattern->len] = '\0';
    loci_line_add(pattern, put.s);
}

/* At a blank of the sentence; tables, code and quotes stay in one piece. */
static void put_inside(loci_line *pattern, const char *phrase, loci_rng *rng)
{
    static const char *const form[][2] = { { ", ", "," }, { " (", ")" }, { " - ", " -" } };
    uint32_t blanks = 0;
    if (strpbrk(pattern->s, "\"<>|`=[;")) return;
    for (const char *c = pattern->s; *c; c++) blanks += *c == ' ';
    if (blanks == 0) return;
    uint32_t left = loci_rng_below(rng, blanks);
    size_t at = 0;
    while (pattern->s[at] != ' ' || left-- > 0) at++;
    if (at == 0) return;
    const bool word = loci_is_word_byte(pattern->s[at - 1]) || pattern->s[at - 1] == '}';
    const uint32_t i = word ? loci_rng_below(rng, 3) : 1;
    loci_line put;
    wrap(&put, form[i][0], phrase, form[i][1]);
    insert(pattern, at, put.s);
}

static void add_phrase(loci_line *pattern, const loci_say_args *args, loci_rng *rng,
                       const loci_lexicon *lex)
{
    loci_line phrase = { 0 };
    const uint32_t where = loci_rng_below(rng, 3);
    if (!loci_phrase_write(&phrase, 2 + (int)loci_rng_below(rng, 7), rng, lex)) return;
    /* The value stands once in its fact. */
    if (args->value && strstr(phrase.s, args->value)) return;
    if (where == 0)
        put_before(pattern, phrase.s, rng);
    else if (where == 1)
        put_behind(pattern, phrase.s, rng);
    else
        put_inside(pattern, phrase.s, rng);
}

/* ---- words ------------------------------------------------------------------------------ */

/* The length of a word of small letters that begins at s[i], 0: none does. */
static size_t word_at(const char *s, size_t i)
{
    size_t n = 0;
    if (i > 0 && s[i - 1] != ' ') return 0;
    while (loci_is_small(s[i + n])) n++;
    return s[i + n] && strchr(" ,.;:?", s[i + n]) ? n : 0;
}

/* Is the word next to a place?  There it may not be a name: that would be a part of what fills it. */
static bool beside_a_place(const char *s, size_t at, size_t len)
{
    return (at >= 2 && s[at - 2] == '}') || (s[at + len] == ' ' && s[at + len + 1] == '{');
}

/* A word that says nothing in particular about what stands around it. */
static const char *neutral(loci_rng *rng)
{
    static const char *const word[] = {
        "gets",    "shows",   "takes",  "wants",   "brings",  "makes",    "gives",   "holds",
        "needs",   "keeps",   "sees",   "has",     "had",     "with",     "as",      "under",
        "by",      "from",    "along",  "around",  "meets",   "finds",    "leaves",  "calls",
        "became",  "remains", "means",  "carries", "beside",  "behind",   "towards", "equals",
        "hides",   "wins",    "earns",  "bears",   "wears",   "prefers",  "obeys",   "owns",
        "follows", "claims",  "covers", "reached", "receive", "produces", "lists",   "prints",
        "yields",  "quotes",  "favors", "accepts", "demands", "displays", "enjoys",  "expects",
    };
    return word[loci_rng_below(rng, (uint32_t)(sizeof word / sizeof *word))];
}

/* Put another word in the place of one, or none at all. */
static void replace(loci_line *pattern, size_t at, size_t len, loci_rng *rng,
                    const loci_lexicon *lex)
{
    loci_line word = { 0 };
    const bool near = beside_a_place(pattern->s, at, len);
    const bool drop = loci_rng_below(rng, 4) == 0 && pattern->s[at + len] == ' ';
    if (near)
        loci_line_add(&word, neutral(rng));
    else
        loci_open_word_write(&word, rng, lex);
    memmove(pattern->s + at, pattern->s + at + len + drop, pattern->len - at - len - drop + 1);
    pattern->len -= len + drop;
    if (!drop) insert(pattern, at, word.s);
}

/* One to three words; tables, code and quotes stay as they are. */
static void make_strange(loci_line *pattern, const loci_say_args *args, loci_rng *rng,
                         const loci_lexicon *lex)
{
    const int times = 1 + (int)loci_rng_below(rng, 3);
    if (strpbrk(pattern->s, "\"<>|`=[")) return;
    loci_line before = *pattern;
    for (int t = 0; t < times; t++) {
        size_t words = 0, at = 0;
        for (size_t i = 0; i < pattern->len; i++) words += word_at(pattern->s, i) > 0;
        if (words < 3) break;
        for (size_t left = 1 + loci_rng_below(rng, (uint32_t)words); left > 0; at++)
            left -= word_at(pattern->s, at) > 0;
        at--;
        replace(pattern, at, word_at(pattern->s, at), rng, lex);
    }
    /* The value stands once in its fact. */
    if (args->value && strstr(pattern->s, args->value)) *pattern = before;
}

/* Of these a reader needs no word but key, attribute and value; "the second", "the latest", "not" and
 * what clauses and stories say are words that count. */
static bool may_be_strange(loci_say say)
{
    return say == LOCI_SAY_FACT || say == LOCI_SAY_SEVERAL || say == LOCI_SAY_BARE ||
           say == LOCI_ASK || say == LOCI_ASK_BARE || say == LOCI_ASK_JSON || say == LOCI_ASK_COPY;
}

/* ---- letters --------------------------------------------------------------------------- */

/* Swap, drop or double a letter between two others of a word. */
static void misspell(loci_line *pattern, loci_rng *rng)
{
    char *s = pattern->s;
    for (int t = 0; t < 8 && pattern->len > 4; t++) {
        const size_t i = 1 + loci_rng_below(rng, (uint32_t)pattern->len - 3);
        if (!loci_is_small(s[i - 1]) || !loci_is_small(s[i]) || !loci_is_small(s[i + 1])) continue;
        if (loci_rng_below(rng, 2) == 0) {
            const char c = s[i];
            s[i] = s[i + 1];
            s[i + 1] = c;
        } else {
            memmove(s + i, s + i + 1, pattern->len - i);
            pattern->len--;
        }
        return;
    }
}

static void shout(loci_line *pattern)
{
    for (char *c = pattern->s; *c; c++)
        if (loci_is_place(c))
            c += 2;
        else if (loci_is_small(*c))
            *c = (char)(*c - 'a' + 'A');
}

static void drop_end(loci_line *pattern)
{
    while (pattern->len > 1 && strchr("?. ", pattern->s[pattern->len - 1])) pattern->len--;
    pattern->s[pattern->len] = '\0';
}

void loci_noisy_write(loci_line *line, loci_say say, const loci_wording *w,
                      const loci_say_args *args, loci_rng *rng, const loci_lexicon *lex)
{
    const bool question = say >= LOCI_ASK;
    const bool story = say >= LOCI_SAY_MOVE && say <= LOCI_SAY_DROP;
    loci_line pattern = { 0 };
    loci_wording_pattern(&pattern, say, LOCI_SPLIT_TRAIN, w);
    if (may_be_strange(say) && loci_rng_below(rng, 100) < STRANGE)
        make_strange(&pattern, args, rng, lex);
    if (loci_rng_below(rng, 100) < (question ? QUESTION_PHRASES : FACT_PHRASES))
        add_phrase(&pattern, args, rng, lex);
    const uint32_t letters = loci_rng_below(rng, 100);
    const size_t start = line->len;
    if (question && letters < 12) drop_end(&pattern);
    if (question && letters >= 4 && letters < 6) shout(&pattern);
    if (!story && letters >= 96) misspell(&pattern, rng);
    loci_wording_fill(line, pattern.s, args);
    const bool small = letters >= 8 && letters < (question ? 20 : 12);
    if (small && loci_is_small(pattern.s[0])) line->s[start] = pattern.s[0];
}
