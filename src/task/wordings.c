/* wordings.c - how facts and questions are said: a lead ("For the record, "), a body ("the {a} of
 * {k} is {v}.") and, behind questions, a tail (" Answer briefly."), each drawn from a table of
 * frames with choices in them.
 *
 * A model that has seen a dozen sentences learns these sentences; one that has seen thousands, of
 * many shapes, learns to read.  All of them come from tables that a person can check.
 *
 * A wording is written in two steps: the expansion with its places as they are (the pattern), which
 * training disturbs (noise.c), then what fills them. */
#include "task/frames.h"

#include <string.h>

loci_speech loci_speech_of(loci_say say, loci_split s)
{
    if (s == LOCI_SPLIT_PLAIN && (say == LOCI_SAY_FACT || say == LOCI_ASK))
        return loci_speech_plain(say);
    if (s == LOCI_SPLIT_PLAIN) s = LOCI_SPLIT_TRAIN;
    if (say == LOCI_SAY_NOTHING) return (loci_speech){ 0 };
    if (s == LOCI_SPLIT_FRESH) return loci_speech_fresh(say);
    const loci_frames body = say <= LOCI_SAY_BARE   ? loci_frames_fact(say, s)
                             : say < LOCI_ASK       ? loci_frames_say(say, s)
                             : say <= LOCI_ASK_BARE ? loci_frames_ask(say, s)
                                                    : loci_frames_look(say, s);
    return (loci_speech){ { loci_frames_lead(say, s), body, loci_frames_tail(say, s) } };
}

/* ---- tables in several files -------------------------------------------------------- */

int loci_frames_count(const loci_frames *f)
{
    int n = f->n;
    for (const loci_frames *const *part = f->more; part && *part; part++)
        n += loci_frames_count(*part);
    return n;
}

const char *loci_frames_at(const loci_frames *f, int i)
{
    if (i < f->n) return f->text[i];
    i -= f->n;
    const loci_frames *const *part = f->more;
    for (int n; i >= (n = loci_frames_count(*part)); part++) i -= n;
    return loci_frames_at(*part, i);
}

/* ---- frames with choices ------------------------------------------------------------- */

/* The alternatives that *p ('[' or '<') stands for; *p moves behind them. */
static const char *alternatives(const char **p, int *n)
{
    const bool named = **p == '<';
    const char *list = named ? loci_frame_words(*p + 1) : *p + 1, *c = list;
    for (*n = 1; *c != '\0' && *c != ']'; c++) *n += *c == '|';
    *p = named ? strchr(*p, '>') + 1 : c + 1;
    return list;
}

int64_t loci_frame_expansions(const char *frame)
{
    int64_t n = 1;
    while ((frame = strpbrk(frame, "[<\\"))) {
        int of;
        if (*frame == '\\') {
            frame += 2;
            continue;
        }
        (void)alternatives(&frame, &of);
        n *= of; /* a frame has a few lists of at most fifty: no overflow */
    }
    return n;
}

/* Add expansion `choice` of a frame, its places as they are. */
void loci_frame_expand(loci_line *line, const char *c, int64_t choice)
{
    while (*c) {
        if (*c == '[' || *c == '<') {
            int n;
            const char *from = alternatives(&c, &n);
            for (int pick = (int)(choice % n); pick > 0; pick--) from = strchr(from, '|') + 1;
            for (; *from && *from != '|' && *from != ']'; from++) loci_line_char(line, *from);
            choice /= n;
        } else {
            c += *c == '\\';
            loci_line_char(line, *c++);
        }
    }
}

/* ---- wordings -------------------------------------------------------------------------- */

int loci_wording_frames(loci_say say, loci_split s, loci_wording_part part)
{
    const loci_speech speech = loci_speech_of(say, s);
    return loci_frames_count(&speech.part[part]);
}

int64_t loci_wording_choices(loci_say say, loci_split s, loci_wording_part part, int frame)
{
    const loci_speech speech = loci_speech_of(say, s);
    return loci_frame_expansions(loci_frames_at(&speech.part[part], frame));
}

int64_t loci_wording_count(loci_say say, loci_split s)
{
    int64_t n = 1;
    for (int p = 0; p < LOCI_WORDING_PARTS; p++) {
        int64_t sum = 0;
        for (int f = 0; f < loci_wording_frames(say, s, (loci_wording_part)p); f++)
            sum += loci_wording_choices(say, s, (loci_wording_part)p, f);
        n *= sum;
    }
    return n;
}

loci_wording loci_wording_draw(loci_say say, loci_split s, loci_rng *rng)
{
    const loci_speech speech = loci_speech_of(say, s);
    loci_wording w;
    for (int p = 0; p < LOCI_WORDING_PARTS; p++) {
        /* Leads and tails are for a third of the sentences each. */
        const bool plain = p != LOCI_WORDING_BODY && loci_rng_below(rng, 3) != 0;
        const uint32_t all = (uint32_t)loci_frames_count(&speech.part[p]);
        w.frame[p] = plain ? 0 : (int)loci_rng_below(rng, all);
        const int64_t n = loci_frame_expansions(loci_frames_at(&speech.part[p], w.frame[p]));
        w.choice[p] = n <= UINT32_MAX ? loci_rng_below(rng, (uint32_t)n)
                                      : (int64_t)(loci_rng_u64(rng) % (uint64_t)n);
    }
    return w;
}

void loci_wording_pattern(loci_line *line, loci_say say, loci_split s, const loci_wording *w)
{
    const loci_speech speech = loci_speech_of(say, s);
    for (int p = 0; p < LOCI_WORDING_PARTS; p++)
        loci_frame_expand(line, loci_frames_at(&speech.part[p], w->frame[p]), w->choice[p]);
}

bool loci_is_place(const char *c)
{
    return c[0] == '{' && c[1] != '\0' && strchr("askv", c[1]) && c[2] == '}';
}

void loci_wording_fill(loci_line *line, const char *pattern, const loci_say_args *args)
{
    const size_t start = line->len;
    for (const char *c = pattern; *c;) {
        if (!loci_is_place(c)) {
            loci_line_char(line, *c++);
            continue;
        }
        loci_line_add(line, c[1] == 'k' ? args->key : c[1] == 'v' ? args->value : args->attribute);
        if (c[1] == 's') loci_line_char(line, 's');
        c += 3;
    }
    /* A capital at the start, but never in a key or a value, which are copied as they are; "the
     * amber falcon" is a key that may have one, "the tall ship" as a value is not. */
    char *first = line->s + start;
    const bool key = loci_is_place(pattern) && pattern[1] == 'k';
    const bool value = loci_is_place(pattern) && pattern[1] == 'v';
    const bool copied = value || (key && strncmp(first, "the ", 4) != 0);
    if (!copied && *first >= 'a' && *first <= 'z') *first = (char)(*first - 'a' + 'A');
}

void loci_wording_write(loci_line *line, loci_say say, loci_split s, const loci_wording *w,
                        const loci_say_args *args)
{
    loci_line pattern = { 0 };
    loci_wording_pattern(&pattern, say, s, w);
    loci_wording_fill(line, pattern.s, args);
}
