/* wordings.c - how facts and questions are said: a lead ("For the record, "), a body ("the {a} of
 * {k} is {v}.") and, behind questions, a tail (" Answer briefly."), each drawn from a table of
 * frames with choices in them.
 *
 * A model that has seen a dozen sentences learns these sentences; one that has seen thousands, of
 * many shapes, learns to read.  All of them come from tables that a person can check. */
#include "task/frames.h"

#include <string.h>

static loci_speech speech_of(loci_say say, loci_split s)
{
    if (s == LOCI_SPLIT_PLAIN && (say == LOCI_SAY_FACT || say == LOCI_ASK))
        return loci_speech_plain(say);
    if (s == LOCI_SPLIT_PLAIN) s = LOCI_SPLIT_TRAIN;
    return say < LOCI_ASK ? loci_speech_say(say, s) : loci_speech_ask(say, s);
}

/* ---- frames with choices ------------------------------------------------------------- */

/* How many alternatives the choice at *p ('[') has; *p moves behind its ']'. */
static int alternatives(const char **p)
{
    int n = 1;
    for (; **p != ']'; ++*p) n += **p == '|';
    ++*p;
    return n;
}

static int expansions(const char *frame)
{
    int n = 1;
    while ((frame = strchr(frame, '['))) n *= alternatives(&frame);
    return n;
}

static void add_place(loci_line *line, char place, const loci_say_args *args)
{
    const char *text = place == 'k' ? args->key : place == 'v' ? args->value : args->attribute;
    loci_line_add(line, text);
    if (place == 's') loci_line_char(line, 's');
}

/* Add expansion `choice` of a frame; args NULL leaves its places as they are. */
static void fill(loci_line *line, const char *c, int choice, const loci_say_args *args)
{
    while (*c) {
        if (*c == '[') {
            const char *end = c + 1;
            const int n = alternatives(&end);
            const char *from = c + 1;
            for (int pick = choice % n; pick > 0; pick--) from = strchr(from, '|') + 1;
            for (; *from != '|' && *from != ']'; from++) loci_line_char(line, *from);
            choice /= n;
            c = end;
        } else if (*c == '{' && args) {
            add_place(line, c[1], args);
            c += 3;
        } else {
            loci_line_char(line, *c++);
        }
    }
}

/* ---- wordings -------------------------------------------------------------------------- */

int loci_wording_frames(loci_say say, loci_split s, loci_wording_part part)
{
    return speech_of(say, s).part[part].n;
}

int loci_wording_choices(loci_say say, loci_split s, loci_wording_part part, int frame)
{
    return expansions(speech_of(say, s).part[part].text[frame]);
}

int loci_wording_count(loci_say say, loci_split s)
{
    int n = 1;
    for (int p = 0; p < LOCI_WORDING_PARTS; p++) {
        int sum = 0;
        for (int f = 0; f < loci_wording_frames(say, s, (loci_wording_part)p); f++)
            sum += loci_wording_choices(say, s, (loci_wording_part)p, f);
        n *= sum;
    }
    return n;
}

loci_wording loci_wording_draw(loci_say say, loci_split s, loci_rng *rng)
{
    const loci_speech speech = speech_of(say, s);
    loci_wording w;
    for (int p = 0; p < LOCI_WORDING_PARTS; p++) {
        /* Leads and tails are for a third of the sentences each. */
        const bool plain = p != LOCI_WORDING_BODY && loci_rng_below(rng, 3) != 0;
        w.frame[p] = plain ? 0 : (int)loci_rng_below(rng, (uint32_t)speech.part[p].n);
        w.choice[p] =
            (int)loci_rng_below(rng, (uint32_t)expansions(speech.part[p].text[w.frame[p]]));
    }
    return w;
}

void loci_wording_write(loci_line *line, loci_say say, loci_split s, const loci_wording *w,
                        const loci_say_args *args)
{
    const loci_speech speech = speech_of(say, s);
    const size_t start = line->len;
    for (int p = 0; p < LOCI_WORDING_PARTS; p++)
        fill(line, speech.part[p].text[w->frame[p]], w->choice[p], args);
    /* A capital at the start, but never in a key or a value, which are copied as they are; "the
     * amber falcon" is a key that may have one. */
    const char *lead = speech.part[LOCI_WORDING_LEAD].text[w->frame[LOCI_WORDING_LEAD]];
    const char *body =
        *lead ? lead : speech.part[LOCI_WORDING_BODY].text[w->frame[LOCI_WORDING_BODY]];
    char *first = line->s + start;
    const bool copied = body[0] == '{' && body[1] != 'a' && strncmp(first, "the ", 4) != 0;
    if (!copied && *first >= 'a' && *first <= 'z') *first = (char)(*first - 'a' + 'A');
}
