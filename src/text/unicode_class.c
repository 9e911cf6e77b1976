/* unicode_class.c - one character of UTF-8 and its class: letter, number, space, other.
 *
 * The table is our own and not a library's because token ids must not change with the
 * machine: a system library knows the characters of its own Unicode version, and a bank
 * made with one version would not fit another.  Its letters are those of Unicode 16.0 and
 * its numbers those of 17.0, code point for code point what the public tokenizers library
 * (0.23) distinguishes. */
#include "text/text_impl.h"

/* Code points from `first` on have the class, up to the next entry: first << 3 | class. */
#define O(first) ((first) << 3 | LOCI_CHAR_OTHER)
#define L(first) ((first) << 3 | LOCI_CHAR_LETTER)
#define N(first) ((first) << 3 | LOCI_CHAR_NUMBER)
#define S(first) ((first) << 3 | LOCI_CHAR_SPACE)
static const uint32_t class_change[] = {
#include "text/unicode_class.inc"
};
#undef O
#undef L
#undef N
#undef S

enum { N_CHANGES = sizeof class_change / sizeof *class_change };

static loci_char_class class_of(uint32_t code)
{
    /* Last entry whose first code point is <= code: the entry 0 always is. */
    const uint32_t key = code << 3 | 7;
    uint32_t low = 0;
    for (uint32_t n = N_CHANGES; n > 1;) {
        const uint32_t half = n / 2;
        if (class_change[low + half] <= key) low += half;
        n -= half;
    }
    return (loci_char_class)(class_change[low] & 7);
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the valid character at p and its code point; 0 if there is none: overlong
 * forms, surrogates and values above U+10FFFF are not valid. */
static size_t decode(const unsigned char *p, size_t left, uint32_t *code)
{
    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    const size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < size) return 0;
    uint32_t c = p[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if (!is_continuation(p[i])) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    const uint32_t smallest = size == 4 ? 0x10000 : size == 3 ? 0x800 : 0x80;
    if (c < smallest || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    *code = c;
    return size;
}

size_t loci_utf8_size(const unsigned char *p, size_t left)
{
    uint32_t code = 0;
    return decode(p, left, &code);
}

loci_char_class loci_char_at(const unsigned char *p, size_t left, size_t *size)
{
    uint32_t code = 0;
    *size = decode(p, left, &code);
    if (*size > 0) return class_of(code);
    *size = 1;
    return LOCI_CHAR_OTHER;
}

loci_char_class loci_char_before(const unsigned char *p, size_t before, size_t *size)
{
    for (size_t n = 1; n <= 4 && n <= before; n++) {
        if (is_continuation(p[-(ptrdiff_t)n])) continue;
        uint32_t code = 0;
        if (decode(p - n, n, &code) == n) {
            *size = n;
            return class_of(code);
        }
        break;
    }
    *size = 1;
    return LOCI_CHAR_OTHER;
}
