/* vocab_text.c - tokens and merges as files spell them: in the byte alphabet. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

/* Turn text in the byte alphabet into bytes; false if a character is not in it or nothing is
 * left.  out has room for text.len bytes. */
static bool alphabet_to_bytes(loci_string text, unsigned char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.len;) {
        uint32_t c = (unsigned char)text.bytes[i++];
        /* The alphabet ends at U+0143: at most two bytes a character. */
        if (c >= 0x80) {
            if (c < 0xc2 || c >= 0xe0 || i == text.len) return false;
            const unsigned char low = (unsigned char)text.bytes[i++];
            if ((low & 0xc0) != 0x80) return false;
            c = (c & 0x1f) << 6 | (low & 0x3f);
        }
        const int byte = loci_char_to_byte(c);
        if (byte < 0) return false;
        out[(*n)++] = (unsigned char)byte;
    }
    return *n > 0;
}

/* For messages: at most 60 bytes of a name. */
static int shown(loci_string s)
{
    return s.len < 60 ? (int)s.len : 60;
}

loci_status loci_tokens_from_text(loci_bytes_map *tokens, const loci_string *name,
                                  const unsigned char *kind, size_t n, const char *label,
                                  loci_error *err)
{
    size_t longest = 0;
    for (size_t id = 0; id < n; id++)
        if (name[id].len > longest) longest = name[id].len;
    unsigned char *bytes = malloc(longest + 32);
    if (bytes == NULL) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for tokens", label);
    loci_status st = LOCI_OK;
    for (size_t id = 0; id < n && st == LOCI_OK; id++) {
        size_t len = name[id].len;
        if ((kind[id] & ~(unsigned)LOCI_TOKEN_FIRST) == LOCI_TOKEN_UNUSED) {
            /* Holds the id's place; no text can spell it: 0xff is in no UTF-8. */
            len = (size_t)snprintf((char *)bytes, 32, "\xff\xffunused %zu", id);
        } else if (kind[id] != LOCI_TOKEN_PLAIN) {
            if (len > 0) memcpy(bytes, name[id].bytes, len);
        } else if (!alphabet_to_bytes(name[id], bytes, &len)) {
            st = loci_fail(err, LOCI_EFORMAT,
                           "%s: vocab: token %zu \"%.*s\" is not spelt in the byte alphabet", label,
                           id, shown(name[id]), name[id].bytes);
            break;
        }
        const int64_t got = loci_bytes_map_add(tokens, bytes, len);
        if (got == LOCI_BYTES_MAP_NONE)
            st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for token %zu", label, id);
        else if (got != (int64_t)id)
            st = loci_fail(err, LOCI_EFORMAT, "%s: vocab: tokens %lld and %zu are the same bytes",
                           label, (long long)got, id);
    }
    free(bytes);
    return st;
}

bool loci_merge_parts(loci_string merge, loci_string part[2])
{
    const char *blank = merge.len > 0 ? memchr(merge.bytes, ' ', merge.len) : NULL;
    if (blank == NULL) return false;
    part[0] = (loci_string){ merge.bytes, (size_t)(blank - merge.bytes) };
    part[1] = (loci_string){ blank + 1, merge.len - part[0].len - 1 };
    return true;
}

loci_status loci_merge_from_text(loci_merge *out, const loci_bytes_map *tokens,
                                 const loci_string part[2], size_t i, const char *label,
                                 loci_error *err)
{
    enum { SHORT = 256 };
    unsigned char room[SHORT];
    unsigned char *bytes = room;
    if (part[0].len + part[1].len > SHORT) {
        bytes = malloc(part[0].len + part[1].len);
        if (bytes == NULL) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for a merge", label);
    }
    size_t n[2] = { 0, 0 };
    const bool spelt =
        alphabet_to_bytes(part[0], bytes, &n[0]) && alphabet_to_bytes(part[1], bytes + n[0], &n[1]);
    const int64_t left = spelt ? loci_bytes_map_find(tokens, bytes, n[0]) : -1;
    const int64_t right = spelt ? loci_bytes_map_find(tokens, bytes + n[0], n[1]) : -1;
    const int64_t id = spelt ? loci_bytes_map_find(tokens, bytes, n[0] + n[1]) : -1;
    if (bytes != room) free(bytes);
    if (!spelt)
        return loci_fail(err, LOCI_EFORMAT, "%s: merge %zu is not spelt in the byte alphabet",
                         label, i);
    if (left < 0 || right < 0 || id < 0)
        return loci_fail(err, LOCI_EFORMAT, "%s: merge %zu: %s \"%.*s %.*s\" is not in the vocab",
                         label, i,
                         left < 0    ? "left part of"
                         : right < 0 ? "right part of"
                                     : "result of",
                         shown(part[0]), part[0].bytes, shown(part[1]), part[1].bytes);
    *out = (loci_merge){ (uint32_t)left, (uint32_t)right, (uint32_t)id };
    return LOCI_OK;
}
