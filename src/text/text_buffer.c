/* text_buffer.c - a text that grows, and JSON written into it as Python writes it. */
#include <stdio.h>
#include <stdlib.h>
#include "base/base.h"
#include "text/chat_impl.h"

void loci_text_put(loci_text *t, const char *bytes, size_t n)
{
    size_t need = 0;
    if (t->failed || !loci_size_add(t->n, n, &need) || !loci_size_add(need, 1, &need)) {
        t->failed = true;
        return;
    }
    if (need > t->cap) {
        size_t cap = 0;
        char *more = loci_size_add(need, need / 2 + 256, &cap) ? realloc(t->bytes, cap) : NULL;
        if (more == NULL) {
            t->failed = true;
            return;
        }
        t->bytes = more;
        t->cap = cap;
    }
    if (n > 0) memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = '\0';
}

void loci_text_put_utf8(loci_text *t, uint32_t code)
{
    static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    const size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    char out[4];
    out[0] = (char)(lead[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++) out[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
    loci_text_put(t, out, more + 1);
}

void loci_text_free(loci_text *t)
{
    free(t->bytes);
    *t = (loci_text){ 0 };
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_string(loci_text *t, const char *s, size_t n)
{
    static const char letter[] = "\"\"\\\\\nn\rr\tt\bb\ff"; /* byte, letter behind the backslash */
    loci_text_puts(t, "\"");
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        loci_text_put(t, s + done, i - done);
        done = i + 1;
        char escape[8] = "\\";
        for (size_t k = 0; letter[k] != '\0' && escape[1] == '\0'; k += 2)
            if (letter[k] == s[i]) escape[1] = letter[k + 1];
        if (escape[1] == '\0') snprintf(escape, sizeof escape, "\\u%04x", c);
        loci_text_puts(t, escape);
    }
    loci_text_put(t, s + done, n - done);
    loci_text_puts(t, "\"");
}

/* The caller's locale may have another decimal point. */
static void put_number(loci_text *t, char *number)
{
    for (char *c = number; *c != '\0'; c++)
        if (strchr("0123456789+-e", *c) == NULL) *c = '.';
    loci_text_puts(t, number);
}

/* float.__repr__: the fewest digits that read back the same; an exponent below -4 and from
 * 16 on, two digits of it at least as in C; ".0" behind a whole number. */
static void put_real(loci_text *t, double x)
{
    char digits[40], fixed[64];
    int n = 1;
    do {
        snprintf(digits, sizeof digits, "%.*e", n - 1, x);
    } while (strtod(digits, NULL) != x && n++ < 17);
    const char *e = strchr(digits, 'e');
    const int exponent = e != NULL ? atoi(e + 1) : 0;
    if (e == NULL || exponent < -4 || exponent >= 16) {
        put_number(t, digits);
        return;
    }
    const int decimals = n - 1 - exponent;
    snprintf(fixed, sizeof fixed, "%.*f", decimals > 0 ? decimals : 1, x);
    put_number(t, fixed);
}

static void put_object(loci_text *t, const json_t *value)
{
    const char *key = NULL;
    json_t *item = NULL;
    bool first = true;
    loci_text_puts(t, "{");
    json_object_foreach((json_t *)value, key, item)
    {
        if (!first) loci_text_puts(t, ", ");
        first = false;
        put_string(t, key, strlen(key));
        loci_text_puts(t, ": ");
        loci_text_put_json(t, item);
    }
    loci_text_puts(t, "}");
}

/* Recursion as deep as the value, which the reader limits to 2,048 levels. */
void loci_text_put_json(loci_text *t, const json_t *value)
{
    char number[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT: put_object(t, value); break;
    case JSON_ARRAY:
        loci_text_puts(t, "[");
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i > 0) loci_text_puts(t, ", ");
            loci_text_put_json(t, json_array_get(value, i));
        }
        loci_text_puts(t, "]");
        break;
    case JSON_STRING: put_string(t, json_string_value(value), json_string_length(value)); break;
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        loci_text_puts(t, number);
        break;
    case JSON_REAL: put_real(t, json_real_value(value)); break;
    case JSON_TRUE: loci_text_puts(t, "true"); break;
    case JSON_FALSE: loci_text_puts(t, "false"); break;
    case JSON_NULL: loci_text_puts(t, "null"); break;
    }
}
