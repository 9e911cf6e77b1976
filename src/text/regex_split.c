/* regex_split.c - words by regular expressions, through PCRE2.
 *
 * The patterns come from a file and the text from anywhere, so neither is trusted.  PCRE2
 * counts the steps of each attempt to match.  An attempt begins with few steps allowed; only
 * one that ends for lack of them is tried again with more, and what all such attempts of
 * one text may take together is bounded by a multiple of its length.  Patterns that may
 * match nothing are refused: each match then takes the text at least one byte further.
 *
 * The public tokenizers use Oniguruma, whose \s is the Unicode property White_Space; that of
 * PCRE2 holds U+180E besides.  \s and \S are therefore spelt out before compiling. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

enum {
    FIRST_STEPS = 4096, /* far more than a word of ordinary text takes */
    STEPS_FACTOR = 16,
    TEXT_STEPS_MIN = 1 << 26, /* about a second */
    TEXT_STEPS_PER_BYTE = 256,
    PARENS_MAX = 64,
    JIT_STACK_MIN = 32 << 10,
    JIT_STACK_MAX = 1 << 20,
    HEAP_KIB_MAX = 64 << 10
};

struct loci_splitter {
    pcre2_code *code[LOCI_SPLIT_PATTERNS_MAX];
    int n;
};

struct loci_split_run {
    const loci_splitter *s;
    pcre2_match_context *limits;
    pcre2_match_data *match;
    pcre2_jit_stack *stack;
    /* of the text at hand */
    loci_word_fn *word;
    void *ctx;
    loci_error *err;
    uint64_t steps_left;        /* of attempts that were tried again */
    const unsigned char *begin; /* for messages */
};

/* ---- patterns ------------------------------------------------------------------------ */

/* The pattern with \s and \S spelt out; out has room for 20 bytes a byte. */
static size_t spell_out_space(const loci_string *pattern, char *out)
{
    static const char property[] = "p{White_Space}";
    size_t n = 0;
    for (size_t i = 0; i < pattern->len; i++) {
        out[n++] = pattern->bytes[i];
        if (pattern->bytes[i] != '\\' || i + 1 == pattern->len) continue;
        const char c = pattern->bytes[++i];
        if (c != 's' && c != 'S') {
            out[n++] = c;
            continue;
        }
        memcpy(out + n, property, sizeof property - 1);
        if (c == 'S') out[n] = 'P';
        n += sizeof property - 1;
    }
    return n;
}

static loci_status compile(pcre2_code **out, pcre2_compile_context *ctx, const loci_string *pattern,
                           size_t i, const char *label, loci_error *err)
{
    if (pattern->len == 0 || pattern->len > LOCI_SPLIT_PATTERN_BYTES_MAX)
        return loci_fail(err, LOCI_EFORMAT, "%s: split %zu: a pattern of %zu bytes, expected 1..%d",
                         label, i, pattern->len, LOCI_SPLIT_PATTERN_BYTES_MAX);
    char *spelt = malloc(20 * pattern->len);
    if (spelt == NULL) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for a pattern", label);
    const size_t n = spell_out_space(pattern, spelt);
    int code = 0;
    PCRE2_SIZE at = 0;
    *out = pcre2_compile((PCRE2_SPTR)spelt, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                         &code, &at, ctx);
    free(spelt);
    if (*out == NULL) {
        PCRE2_UCHAR text[160] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return loci_fail(err, LOCI_EFORMAT, "%s: split %zu: byte %zu of the pattern: %s", label, i,
                         (size_t)at, (const char *)text);
    }
    uint32_t may_be_empty = 1;
    pcre2_pattern_info(*out, PCRE2_INFO_MATCHEMPTY, &may_be_empty);
    if (may_be_empty)
        return loci_fail(err, LOCI_EFORMAT, "%s: split %zu: the pattern may match nothing", label,
                         i);
    /* Where the system allows no new code in memory, matching is slower and the same. */
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return LOCI_OK;
}

loci_status loci_splitter_open(loci_splitter **out, const loci_string *pattern, size_t n,
                               const char *label, loci_error *err)
{
    *out = NULL;
    if (n < 1 || n > LOCI_SPLIT_PATTERNS_MAX)
        return loci_fail(err, LOCI_EFORMAT, "%s: %zu splits, expected 1..%d", label, n,
                         LOCI_SPLIT_PATTERNS_MAX);
    loci_splitter *s = calloc(1, sizeof *s);
    pcre2_compile_context *ctx = pcre2_compile_context_create(NULL);
    loci_status st = LOCI_OK;
    if (s == NULL || ctx == NULL)
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for the splits", label);
    else
        pcre2_set_parens_nest_limit(ctx, PARENS_MAX);
    for (size_t i = 0; i < n && st == LOCI_OK; i++) {
        st = compile(&s->code[i], ctx, &pattern[i], i, label, err);
        s->n = (int)i + 1;
    }
    pcre2_compile_context_free(ctx);
    if (st != LOCI_OK) {
        loci_splitter_close(s);
        return st;
    }
    *out = s;
    return LOCI_OK;
}

void loci_splitter_close(loci_splitter *s)
{
    if (s == NULL) return;
    for (int i = 0; i < s->n; i++) pcre2_code_free(s->code[i]);
    free(s);
}

loci_status loci_split_run_open(loci_split_run **out, const loci_splitter *s, loci_error *err)
{
    *out = NULL;
    loci_split_run *r = calloc(1, sizeof *r);
    if (r == NULL) return loci_fail(err, LOCI_ENOMEM, "encoder: no memory");
    r->s = s;
    r->limits = pcre2_match_context_create(NULL);
    r->match = pcre2_match_data_create(1, NULL);
    r->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (r->limits == NULL || r->match == NULL) {
        loci_split_run_close(r);
        return loci_fail(err, LOCI_ENOMEM, "encoder: no memory to match patterns");
    }
    pcre2_set_heap_limit(r->limits, HEAP_KIB_MAX);
    /* Without a stack of its own the compiled code runs on 32 KiB of the machine's. */
    if (r->stack != NULL) pcre2_jit_stack_assign(r->limits, NULL, r->stack);
    *out = r;
    return LOCI_OK;
}

void loci_split_run_close(loci_split_run *r)
{
    if (r == NULL) return;
    pcre2_jit_stack_free(r->stack);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->limits);
    free(r);
}

/* ---- one match --------------------------------------------------------------------------- */

static int match_once(loci_split_run *r, int level, const unsigned char *text, size_t len,
                      size_t pos, uint32_t steps)
{
    pcre2_set_match_limit(r->limits, steps);
    const int code =
        pcre2_match(r->s->code[level], text, len, pos, PCRE2_NO_UTF_CHECK, r->match, r->limits);
    if (code != PCRE2_ERROR_JIT_STACKLIMIT) return code;
    return pcre2_match(r->s->code[level], text, len, pos, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                       r->match, r->limits);
}

/* The first match at or behind pos: [*from, *to), or *from = *to = len if there is none. */
static loci_status find_match(loci_split_run *r, int level, const unsigned char *text, size_t len,
                              size_t pos, size_t *from, size_t *to)
{
    uint32_t steps = FIRST_STEPS;
    int code = match_once(r, level, text, len, pos, steps);
    while (code == PCRE2_ERROR_MATCHLIMIT && r->steps_left > 0) {
        uint64_t more = (uint64_t)steps * STEPS_FACTOR;
        if (more > r->steps_left) more = r->steps_left;
        if (more > UINT32_MAX) more = UINT32_MAX;
        r->steps_left -= more;
        steps = (uint32_t)more;
        code = match_once(r, level, text, len, pos, steps);
    }
    *from = *to = len;
    if (code == PCRE2_ERROR_NOMATCH) return LOCI_OK;
    const size_t at = (size_t)(text - r->begin) + pos;
    if (code == PCRE2_ERROR_NOMEMORY)
        return loci_fail(r->err, LOCI_ENOMEM, "encode: no memory to match at byte %zu", at);
    if (code < 0)
        return loci_fail(r->err, LOCI_EINVAL,
                         "encode: split %d takes too long at byte %zu of the text", level, at);
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(r->match);
    if (bounds[0] < pos || bounds[1] <= bounds[0] || bounds[1] > len)
        return loci_fail(r->err, LOCI_EINVAL, "encode: split %d matches nothing at byte %zu", level,
                         at);
    *from = bounds[0];
    *to = bounds[1];
    return LOCI_OK;
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* Cut one piece by the expressions from `level` on.  Recursion as deep as there are patterns. */
static loci_status split_piece(loci_split_run *r, int level, const unsigned char *text, size_t len)
{
    if (len == 0) return LOCI_OK;
    if (level == r->s->n)
        return r->word(r->ctx, text, len)
                   ? LOCI_OK
                   : loci_fail(r->err, LOCI_ENOMEM, "encode: no memory for a word of %zu bytes",
                               len);
    for (size_t pos = 0; pos < len;) {
        size_t from = 0, to = 0;
        loci_status st = find_match(r, level, text, len, pos, &from, &to);
        if (st == LOCI_OK) st = split_piece(r, level + 1, text + pos, from - pos);
        if (st == LOCI_OK) st = split_piece(r, level + 1, text + from, to - from);
        if (st != LOCI_OK) return st;
        pos = to;
    }
    return LOCI_OK;
}

/* End of the run of valid characters (of invalid bytes) that starts at pos. */
static size_t run_end(const unsigned char *text, size_t len, size_t pos, bool valid)
{
    while (pos < len) {
        const size_t size = text[pos] < 0x80 ? 1 : loci_utf8_size(text + pos, len - pos);
        if ((size > 0) != valid) break;
        pos += valid ? size : 1;
    }
    return pos;
}

loci_status loci_split_words(loci_split_run *r, const unsigned char *text, size_t len,
                             loci_word_fn *word, void *ctx, loci_error *err)
{
    r->word = word;
    r->ctx = ctx;
    r->err = err;
    r->begin = text;
    r->steps_left = TEXT_STEPS_MIN + (uint64_t)len * TEXT_STEPS_PER_BYTE;
    loci_status st = LOCI_OK;
    for (size_t pos = 0; pos < len && st == LOCI_OK;) {
        size_t end = run_end(text, len, pos, true);
        st = split_piece(r, 0, text + pos, end - pos);
        pos = end;
        end = run_end(text, len, pos, false);
        if (st == LOCI_OK) st = split_piece(r, r->s->n, text + pos, end - pos);
        pos = end;
    }
    return st;
}
