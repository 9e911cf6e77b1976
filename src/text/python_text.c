/* python_text.c - reads texts out of a Python module without running it.
 *
 * The checkpoint's encoding module keeps its instructions in constants:
 *     NAME = "..." "..."        NAME: str = ("..." "...")        NAME = {"low": "", "high": ...}
 * Of Python's syntax this knows comments, string literals, brackets and line ends, which is
 * what it takes to find where a statement begins and that a value is a literal and nothing
 * more.  A wanted name that is assigned an f-string, a call or a sum with other names stays
 * unknown.  Everything else of the module is skipped. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/chat_impl.h"

typedef enum { END, LINE_END, WORD, STRING, MARK } token_kind;

typedef struct {
    const char *at, *end; /* of the source still to be read */
    const char *label;
    loci_error *err;
    loci_status status; /* of reading: the first failure */
    int line, depth;    /* brackets open */
    /* the token read last */
    token_kind kind;
    char mark;        /* MARK: the character */
    const char *word; /* WORD */
    size_t word_len;
    bool at_line_start; /* it stands in column 0 */
    bool plain;         /* STRING: no f-string, no bytes, escapes all known */
    loci_text text;     /* STRING: its value; owned */
} lexer;

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* ---- strings ---------------------------------------------------------------------------- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

/* A character of up to max digits (exactly max unless octal) of a base. */
static void read_code(lexer *x, int base, int max)
{
    uint32_t code = 0;
    int n = 0;
    while (n < max && x->at < x->end && digit_of(*x->at) < base) {
        code = code * (uint32_t)base + (uint32_t)digit_of(*x->at++);
        n++;
    }
    if ((base == 16 && n < max) || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        x->plain = false;
    else
        loci_text_put_utf8(&x->text, code);
}

/* What stands behind a backslash. */
static void read_escape(lexer *x)
{
    static const char letter[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    if (x->at == x->end) return;
    const char c = *x->at;
    if (c >= '0' && c <= '7') {
        read_code(x, 8, 3);
        return;
    }
    x->at++;
    if (c == '\n') { /* the line goes on */
        x->line++;
        return;
    }
    for (size_t i = 0; letter[i] != '\0'; i += 2)
        if (letter[i] == c) {
            loci_text_put(&x->text, &letter[i + 1], 1);
            return;
        }
    if (c == 'x' || c == 'u' || c == 'U')
        read_code(x, 16, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    else
        x->plain = false; /* \N{...}, and what Python itself warns of */
}

/* x->at stands on the opening quote. */
static void read_string(lexer *x, bool raw)
{
    const char quote = *x->at;
    const int first_line = x->line;
    const bool triple = x->end - x->at >= 3 && x->at[1] == quote && x->at[2] == quote;
    x->at += triple ? 3 : 1;
    x->text.n = 0;
    loci_text_put(&x->text, "", 0);
    x->kind = STRING;
    while (x->at < x->end) {
        const char c = *x->at;
        if (c == quote &&
            (!triple || (x->end - x->at >= 3 && x->at[1] == quote && x->at[2] == quote))) {
            x->at += triple ? 3 : 1;
            return;
        }
        if (c == '\n') {
            if (!triple) break;
            x->line++;
        }
        x->at++;
        if (c != '\\') {
            /* Python reads CR LF as LF. */
            if (c != '\r' || x->at == x->end || *x->at != '\n') loci_text_put(&x->text, &c, 1);
        } else if (!raw) {
            read_escape(x);
        } else { /* the quote behind a backslash does not end the string */
            loci_text_put(&x->text, &c, 1);
            if (x->at == x->end) break;
            if (*x->at == '\n') x->line++;
            loci_text_put(&x->text, x->at++, 1);
        }
    }
    x->status =
        loci_fail(x->err, LOCI_EFORMAT, "%s: line %d: a string does not end", x->label, first_line);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* A word, or the prefix of a string: r, b, u, f in any order and case. */
static void read_word(lexer *x)
{
    x->kind = WORD;
    x->word = x->at;
    while (x->at < x->end && is_word(*x->at)) x->at++;
    x->word_len = (size_t)(x->at - x->word);
    if (x->word_len > 2 || x->at == x->end || (*x->at != '"' && *x->at != '\'')) return;
    bool raw = false;
    for (size_t i = 0; i < x->word_len; i++) {
        if (strchr("rRbBuUfF", x->word[i]) == NULL) return;
        raw |= x->word[i] == 'r' || x->word[i] == 'R';
        x->plain &= strchr("bBfF", x->word[i]) == NULL;
    }
    read_string(x, raw);
}

static void next_token(lexer *x, const char *source)
{
    x->kind = END;
    x->plain = true;
    while (x->at < x->end && x->status == LOCI_OK) {
        const char c = *x->at;
        x->at_line_start = x->at == source || x->at[-1] == '\n';
        if (c == '#') {
            while (x->at < x->end && *x->at != '\n') x->at++;
        } else if (c == '\\' && x->end - x->at >= 2 && x->at[1] == '\n') {
            x->at += 2;
            x->line++;
        } else if (c == '\n') {
            x->at++;
            x->line++;
            if (x->depth > 0) continue;
            x->kind = LINE_END;
            return;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
            x->at++;
        } else if (c == '"' || c == '\'') {
            read_string(x, false);
            return;
        } else if (is_word(c)) {
            read_word(x);
            return;
        } else {
            x->at++;
            x->kind = MARK;
            x->mark = c;
            if (strchr("([{", c) != NULL) x->depth++;
            if (strchr(")]}", c) != NULL && x->depth > 0) x->depth--;
            return;
        }
    }
}

/* ---- values -------------------------------------------------------------------------------------- */

typedef struct {
    lexer x;
    const char *source;
    loci_chat_texts found;
} module;

static void step(module *m)
{
    next_token(&m->x, m->source);
}

static bool on_mark(const module *m, char c)
{
    return m->x.kind == MARK && m->x.mark == c;
}

/* "..." "..." perhaps in brackets; what they spell goes to *out (owned).  False: no literal. */
static bool read_value(module *m, char **out)
{
    loci_text text = { 0 };
    int open = 0;
    for (; on_mark(m, '('); step(m)) open++;
    bool good = m->x.kind == STRING;
    for (; m->x.kind == STRING && m->x.status == LOCI_OK; step(m)) {
        good &= m->x.plain;
        loci_text_put(&text, m->x.text.bytes, m->x.text.n);
    }
    for (; open > 0 && on_mark(m, ')'); step(m)) open--;
    if (text.failed || m->x.text.failed)
        m->x.status = loci_fail(m->x.err, LOCI_ENOMEM, "%s: no memory for its texts", m->x.label);
    if (!good || open > 0 || m->x.status != LOCI_OK || strlen(text.bytes) != text.n) {
        loci_text_free(&text);
        return false;
    }
    *out = text.bytes;
    return true;
}

static void replace(char **slot, char *text)
{
    free(*slot);
    *slot = text;
}

static void free_found(loci_chat_texts *t)
{
    for (int i = 0; i < LOCI_CHAT_EFFORTS; i++) replace(&t->effort[i], NULL);
    replace(&t->tools, NULL);
    replace(&t->response_format, NULL);
}

/* {"low": TEXT, "high": TEXT, "max": TEXT}: all efforts, or none of them. */
static void read_efforts(module *m)
{
    static const char *const name[LOCI_CHAT_EFFORTS] = { "low", "high", "max" };
    char *effort[LOCI_CHAT_EFFORTS] = { NULL, NULL, NULL };
    if (!on_mark(m, '{')) return;
    step(m);
    bool good = true;
    while (good && m->x.kind == STRING) {
        int which = 0;
        while (which < LOCI_CHAT_EFFORTS && strcmp(m->x.text.bytes, name[which]) != 0) which++;
        step(m);
        good = on_mark(m, ':');
        if (good) step(m);
        char *text = NULL;
        good = good && read_value(m, &text);
        if (good && which < LOCI_CHAT_EFFORTS)
            replace(&effort[which], text);
        else
            free(text);
        if (on_mark(m, ',')) step(m);
    }
    good = good && on_mark(m, '}');
    if (good) step(m);
    good = good && (m->x.kind == LINE_END || m->x.kind == END);
    for (int i = 0; i < LOCI_CHAT_EFFORTS; i++) {
        if (good && effort[i] != NULL)
            replace(&m->found.effort[i], effort[i]);
        else
            free(effort[i]);
    }
}

static bool named(const module *m, const char *name)
{
    const size_t n = strlen(name);
    if (m->x.word_len != n) return false;
    for (size_t i = 0; i < n; i++) { /* the release mixes upper and lower case */
        const char c = m->x.word[i];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != name[i]) return false;
    }
    return true;
}

/* NAME [: annotation] = value.  The token at hand is NAME. */
static void read_statement(module *m)
{
    const bool efforts = named(m, "reasoning_effort_prompts");
    char **slot = named(m, "tools_template") || named(m, "tools_system_template") ? &m->found.tools
                  : named(m, "response_format_template") ? &m->found.response_format
                  : named(m, "reasoning_effort_max")     ? &m->found.effort[LOCI_CHAT_MAX - 1]
                                                         : NULL;
    if (slot == NULL && !efforts) return;
    step(m);
    if (on_mark(m, ':'))
        while (m->x.kind != LINE_END && m->x.kind != END && !on_mark(m, '=')) step(m);
    if (!on_mark(m, '=')) return;
    step(m);
    if (efforts) {
        read_efforts(m);
        return;
    }
    char *text = NULL;
    if (!read_value(m, &text)) return;
    if (m->x.kind == LINE_END || m->x.kind == END)
        replace(slot, text);
    else
        free(text);
}

loci_status loci_python_texts(loci_chat_texts *t, const char *source, size_t len, const char *label,
                              loci_error *err)
{
    module m = { .source = source };
    m.x = (lexer){ .at = source, .end = source + len, .label = label, .err = err, .line = 1 };
    bool new_statement = true;
    for (step(&m); m.x.kind != END && m.x.status == LOCI_OK; step(&m)) {
        if (new_statement && m.x.kind == WORD && m.x.at_line_start && m.x.depth == 0)
            read_statement(&m);
        new_statement = m.x.kind == LINE_END;
        if (m.x.kind == END) break;
    }
    loci_text_free(&m.x.text);
    if (m.x.status != LOCI_OK) {
        free_found(&m.found);
        return m.x.status;
    }
    for (int i = 0; i < LOCI_CHAT_EFFORTS; i++)
        if (m.found.effort[i] != NULL) replace(&t->effort[i], m.found.effort[i]);
    if (m.found.tools != NULL) replace(&t->tools, m.found.tools);
    if (m.found.response_format != NULL) replace(&t->response_format, m.found.response_format);
    return LOCI_OK;
}
