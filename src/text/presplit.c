/* presplit.c - where the words of a text end, and where a long text may be cut.
 *
 * The public library splits twice: every number character alone, then, inside each piece
 * between numbers, the GPT-2 pattern, whose alternatives are tried in order:
 *     's 't 're 've 'm 'll 'd  |  " "? letters  |  " "? others  |  spaces not followed by
 *     a non-space  |  spaces
 * Together they are one rule of the first two characters at a word's start, so no regular
 * expression runs here: the next word depends on the text from its start on only, and the
 * end of a piece (the end of the text or a number) acts as the end of the text. */
#include "text/text_impl.h"

enum { MULTI = 0 }; /* a byte of 0x80 or more: ask loci_char_at */

/* Class of each ASCII byte; the upper half is MULTI. */
#define O LOCI_CHAR_OTHER
#define L LOCI_CHAR_LETTER
#define N LOCI_CHAR_NUMBER
#define S LOCI_CHAR_SPACE
/* clang-format off */
static const unsigned char byte_class[256] = {
    O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, /* 00 */
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, /* 10 */
    S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, /* 20 */
    N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O, /* 30 */
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* 40 */
    L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, /* 50 */
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* 60 */
    L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, /* 70 */
};
/* clang-format on */
#undef O
#undef L
#undef N
#undef S

static inline loci_char_class char_at(const unsigned char *text, size_t len, size_t pos,
                                      size_t *size)
{
    const unsigned char k = byte_class[text[pos]];
    if (k == MULTI) return loci_char_at(text + pos, len - pos, size);
    *size = 1;
    return (loci_char_class)k;
}

/* End of the run of characters of one class from pos on. */
static size_t run_end(const unsigned char *text, size_t len, size_t pos, loci_char_class wanted)
{
    size_t size = 0;
    while (pos < len && char_at(text, len, pos, &size) == wanted) pos += size;
    return pos;
}

/* White space up to the end of its piece is one word; before any other character the last
 * one is left to the next word, unless it is the only one. */
static size_t space_end(const unsigned char *text, size_t len, size_t pos)
{
    size_t last = pos, end = pos, size = 0;
    loci_char_class next = LOCI_CHAR_SPACE;
    while (end < len && (next = char_at(text, len, end, &size)) == LOCI_CHAR_SPACE) {
        last = end;
        end += size;
    }
    const bool piece_ends = end == len || next == LOCI_CHAR_NUMBER;
    return piece_ends || last == pos ? end : last;
}

/* Bytes of the contraction whose apostrophe is at pos, 0 if there is none. */
static size_t contraction(const unsigned char *text, size_t len, size_t pos)
{
    if (len - pos < 2) return 0;
    const unsigned char a = text[pos + 1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (len - pos < 3) return 0;
    const unsigned char b = text[pos + 2];
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

size_t loci_word_end(const unsigned char *text, size_t len, size_t pos)
{
    size_t size = 0;
    if (text[pos] == ' ' && pos + 1 < len) {
        const loci_char_class next = char_at(text, len, pos + 1, &size);
        if (next == LOCI_CHAR_LETTER || next == LOCI_CHAR_OTHER)
            return run_end(text, len, pos + 1 + size, next);
    }
    const loci_char_class first = char_at(text, len, pos, &size);
    if (first == LOCI_CHAR_NUMBER) return pos + size;
    if (first == LOCI_CHAR_SPACE) return space_end(text, len, pos);
    if (text[pos] == '\'') {
        const size_t n = contraction(text, len, pos);
        if (n > 0) return pos + n;
    }
    return run_end(text, len, pos + size, first);
}

/* True if a word ends at p, 0 < p < len, whatever stands before and behind, and neither
 * side needs the other to find its words. */
static bool is_safe_cut(const unsigned char *text, size_t len, size_t p)
{
    /* Inside a character both sides are invalid bytes, "other" next to "other": no cut. */
    size_t size = 0, size_before = 0;
    const loci_char_class after = char_at(text, len, p, &size);
    const loci_char_class before = loci_char_before(text + p, p, &size_before);

    if (before == LOCI_CHAR_NUMBER || after == LOCI_CHAR_NUMBER) return true;
    if (after == LOCI_CHAR_SPACE) return before != LOCI_CHAR_SPACE;
    switch (before) {
    case LOCI_CHAR_LETTER: return after == LOCI_CHAR_OTHER;
    case LOCI_CHAR_OTHER: return after == LOCI_CHAR_LETTER && text[p - 1] != '\'';
    case LOCI_CHAR_SPACE: {
        /* A single one that cannot join the next word, such as a line's end. */
        const size_t start = p - size_before;
        if (text[start] == ' ') return false;
        return start == 0 || loci_char_before(text + start, start, &size) != LOCI_CHAR_SPACE;
    }
    default: return false;
    }
}

size_t loci_encode_safe_cut(const char *text, size_t len, size_t limit)
{
    enum { LOOK_BACK = 64 << 10 };
    if (limit >= len) return len;
    const size_t lowest = limit > LOOK_BACK ? limit - LOOK_BACK : 1;
    for (size_t p = limit; p >= lowest; p--)
        if (is_safe_cut((const unsigned char *)text, len, p)) return p;
    return 0;
}
