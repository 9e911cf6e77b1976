/* out.c - what the command shows people: errors, and text that cannot drive a terminal. */
#include "cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- errors ------------------------------------------------------------------------------- */
int fail(const loci_error *err)
{
    fprintf(stderr, "loci: ");
    print_name(stderr, err->text[0] ? err->text : loci_status_text(err->code));
    fprintf(stderr, "\n");
    return err->code == LOCI_EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

loci_status set_error(loci_error *err, loci_status code, const char *fmt, ...)
{
    const int number = code == LOCI_EIO || code == LOCI_ENOTFOUND ? errno : 0;
    if (err->code != LOCI_OK) return err->code;
    err->code = code;
    err->sys_errno = number;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    const size_t n = strlen(err->text);
    if (number) snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(number));
    return code;
}

/* ---- text --------------------------------------------------------------------------------- */
size_t utf8_char(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    const size_t len = s[0] < 0x80             ? 1
                       : (s[0] & 0xE0) == 0xC0 ? 2
                       : (s[0] & 0xF0) == 0xE0 ? 3
                       : (s[0] & 0xF8) == 0xF0 ? 4
                                               : 0;
    if (len == 0 || len > n) return 0;
    uint32_t c = len == 1 ? s[0] : s[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    return c >= least[len] && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF) ? len : 0;
}

size_t utf8_open_tail(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const unsigned char c = s[n - back];
        if ((c & 0xC0) == 0x80) continue;
        const size_t len = c >= 0xF0 && c < 0xF8   ? 4
                           : c >= 0xE0 && c < 0xF0 ? 3
                           : c >= 0xC2 && c < 0xE0 ? 2
                                                   : 1;
        return len > back ? back : 0;
    }
    return 0;
}

/* One character or one stray byte at s; returns the bytes used.  `line`: a line end or a tab is
 * shown as it is.  C1 control characters come as one byte or as two bytes of UTF-8. */
static size_t print_escaped(FILE *f, const char *s, size_t n, bool line)
{
    const unsigned char c = (unsigned char)s[0];
    const size_t len = utf8_char(s, n);
    const bool control =
        len == 0 || c < 0x20 || c == 0x7F || (c == 0xC2 && (unsigned char)s[1] < 0xA0);
    if (line && (c == '\n' || c == '\t'))
        fputc(c, f);
    else if (line && c == '\r' && n > 1 && s[1] == '\n')
        return 1; /* a DOS line end shows as one */
    else if (!control)
        fwrite(s, 1, len, f);
    else
        for (size_t i = 0; i < (len ? len : 1); i++) fprintf(f, "\\x%02x", (unsigned char)s[i]);
    return len ? len : 1;
}

void print_text(FILE *f, const char *text, size_t n)
{
    /* A document may hold escape sequences that would drive the reader's terminal. */
    if (!isatty(fileno(f))) {
        fwrite(text, 1, n, f);
        return;
    }
    for (size_t i = 0; i < n;) i += print_escaped(f, text + i, n - i, true);
}

void print_name(FILE *f, const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < n;) i += print_escaped(f, name + i, n - i, false);
}

const char *human_bytes(double bytes, char out[32])
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    int u = 0;
    for (; bytes >= 1024.0 && u < 4; u++) bytes /= 1024.0;
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return out;
}
