/* error.c - statuses as text, and the one way to record a failure. */
#include "base/base.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

const char *loci_status_text(loci_status status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case LOCI_##name: return text;
        LOCI_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

loci_status loci_fail(loci_error *err, loci_status code, const char *fmt, ...)
{
    const int sys = errno; /* before anything here can change it */
    if (!err || err->code != LOCI_OK) return code;
    va_list ap;
    err->code = code;
    err->sys_errno = code == LOCI_EIO ? sys : 0;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (err->sys_errno) {
        char why[80];
        const size_t used = strlen(err->text);
        /* The GNU form returns the text; it may or may not use the buffer. */
        snprintf(err->text + used, sizeof err->text - used, ": %s",
                 strerror_r(sys, why, sizeof why));
    }
    /* File names and file contents end up here; the text must stay one harmless line. */
    for (char *c = err->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return code;
}
