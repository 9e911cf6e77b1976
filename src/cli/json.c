/* json.c - what the command shows programs: JSON objects, and the same as CSV. */
#include "cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- objects ------------------------------------------------------------------------------ */
void put_int(json_t *o, const char *key, int64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

void put_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, isfinite(v) ? json_real(v) : json_null());
}

void put_flag(json_t *o, const char *key, bool v)
{
    json_object_set_new(o, key, json_boolean(v));
}

void put_bytes(json_t *o, const char *key, const char *text, size_t n)
{
    json_object_set_new(o, key, json_text(text, n));
}

void put_text(json_t *o, const char *key, const char *text)
{
    put_bytes(o, key, text, strlen(text));
}

/* ---- printing ----------------------------------------------------------------------------- */
static void dump(json_t *object, size_t flags)
{
    json_t *out = json_object();
    json_object_set_new(out, "schema", json_integer(1));
    json_object_update(out, object);
    json_dumpf(out, stdout, flags | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    json_decref(out);
    json_decref(object);
}

void print_json(json_t *object)
{
    dump(object, JSON_INDENT(1));
}

void print_json_row(json_t *object)
{
    dump(object, JSON_COMPACT);
    fflush(stdout); /* a row may be minutes before the next */
}

static void print_csv_text(const char *s)
{
    fputc('"', stdout);
    for (; *s; s++) {
        if (*s == '"') fputc('"', stdout);
        fputc(*s, stdout);
    }
    fputc('"', stdout);
}

static void print_csv_value(const json_t *v)
{
    if (json_is_string(v))
        print_csv_text(json_string_value(v));
    else if (json_is_integer(v))
        printf("%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        printf("%.9g", json_real_value(v));
    else if (json_is_boolean(v))
        printf("%d", json_is_true(v));
}

void print_csv_row(json_t *object, bool header)
{
    const char *key;
    json_t *value;
    for (int pass = header ? 0 : 1; pass < 2; pass++) {
        bool first = true;
        json_object_foreach(object, key, value)
        {
            if (!first) fputc(',', stdout);
            first = false;
            if (pass == 0)
                fputs(key, stdout);
            else
                print_csv_value(value);
        }
        fputc('\n', stdout);
    }
    fflush(stdout);
    json_decref(object);
}

json_t *json_text(const char *text, size_t n)
{
    char *clean = malloc(3 * n + 1);
    size_t w = 0;
    if (!clean) return json_null();
    for (size_t i = 0; i < n;) {
        const size_t len = utf8_char(text + i, n - i);
        memcpy(clean + w, len ? text + i : "\xEF\xBF\xBD", len ? len : 3);
        w += len ? len : 3;
        i += len ? len : 1;
    }
    json_t *s = json_stringn_nocheck(clean, w);
    free(clean);
    return s;
}
