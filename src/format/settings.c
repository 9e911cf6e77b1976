/* settings.c - structs from JSON and from key=value, by tables.
 *
 * A table line says where a setting lies in the struct, its type and its range; this file knows
 * no setting by name.  Both ways in end in one check: a value from a command line is parsed as
 * JSON first, so "0.5" means the same in both places and under every locale.  A struct is
 * changed by an object only when every value in it is right. */
#include "format/format.h"
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    [LOCI_SET_INT] = "an integer",     [LOCI_SET_I64] = "an integer", [LOCI_SET_FLOAT] = "a number",
    [LOCI_SET_BOOL] = "true or false", [LOCI_SET_STR] = "a string",
};

const char *loci_json_type_name(const json_t *value)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: break;
    }
    return "null";
}

/* ---- one value ----------------------------------------------------------------------- */

static bool type_fits(loci_set_type type, const json_t *value)
{
    switch (type) {
    case LOCI_SET_INT:
    case LOCI_SET_I64: return json_is_integer(value);
    case LOCI_SET_FLOAT: return json_is_number(value);
    case LOCI_SET_BOOL: return json_is_boolean(value);
    case LOCI_SET_STR: return json_is_string(value);
    }
    return false;
}

/* What a failure says of its place: a wrong file is LOCI_EFORMAT, a wrong argument LOCI_EINVAL. */
typedef struct {
    const char *label;
    loci_status code;
    loci_error *err;
} place;

/* From here on a number is rounded to infinity: half a step above the largest float. */
#define FLOAT_END 0x1.ffffffp127

/* Type and range.  The comparison is written so that no value escapes it. */
static loci_status check_value(const place *in, const loci_setting *s, const json_t *value)
{
    if (!type_fits(s->type, value))
        return loci_fail(in->err, in->code, "%s: %s: expected %s, found %s", in->label, s->key,
                         type_names[s->type], loci_json_type_name(value));
    if (s->type == LOCI_SET_STR) {
        const size_t len = json_string_length(value);
        if (len < s->str_size) return LOCI_OK;
        return loci_fail(in->err, in->code, "%s: %s: expected at most %zu bytes, found %zu",
                         in->label, s->key, s->str_size - 1, len);
    }
    if (s->type == LOCI_SET_BOOL) return LOCI_OK;
    const double v = json_number_value(value);
    const json_int_t i = json_integer_value(value); /* 0 for a number with a fraction */
    const bool fits = s->type == LOCI_SET_INT     ? i >= INT_MIN && i <= INT_MAX
                      : s->type == LOCI_SET_FLOAT ? fabs(v) < FLOAT_END
                                                  : true;
    if (fits && v >= s->min && v <= s->max) return LOCI_OK;
    const int digits = s->type == LOCI_SET_FLOAT ? 9 : 17; /* 0.1 as 0.1, integers in full */
    return loci_fail(in->err, in->code, "%s: %s: expected %.*g to %.*g, found %.*g", in->label,
                     s->key, digits, s->min, digits, s->max, digits, v);
}

/* Put a checked value into its field. */
static void store_value(const loci_setting *s, const json_t *value, void *object)
{
    void *field = (char *)object + s->offset;
    switch (s->type) {
    case LOCI_SET_INT: *(int *)field = (int)json_integer_value(value); break;
    case LOCI_SET_I64: *(int64_t *)field = json_integer_value(value); break;
    case LOCI_SET_FLOAT: *(float *)field = (float)json_number_value(value); break;
    case LOCI_SET_BOOL: *(bool *)field = json_is_true(value); break;
    case LOCI_SET_STR:
        memcpy(field, json_string_value(value), json_string_length(value) + 1);
        break;
    }
}

/* ---- an object -------------------------------------------------------------------------- */

static const loci_setting *find_setting(const loci_setting *table, int n, const char *key)
{
    for (int i = 0; i < n; i++)
        if (strcmp(table[i].key, key) == 0) return &table[i];
    return NULL;
}

static bool is_listed(const char *const *list, const char *key)
{
    for (; list && *list; list++)
        if (strcmp(*list, key) == 0) return true;
    return false;
}

static loci_status check_object(const place *in, json_t *root, const loci_setting *table, int n,
                                const char *const *ignore)
{
    const char *key;
    json_t *value;
    loci_status st;
    if (!json_is_object(root))
        return loci_fail(in->err, in->code, "%s: expected an object, found %s", in->label,
                         loci_json_type_name(root));
    json_object_foreach(root, key, value)
    {
        if (is_listed(ignore, key)) continue;
        const loci_setting *s = find_setting(table, n, key);
        if (!s) return loci_fail(in->err, in->code, "%s: unknown key \"%.80s\"", in->label, key);
        if ((st = check_value(in, s, value)) != LOCI_OK) return st;
    }
    for (int i = 0; i < n; i++)
        if (table[i].required && !json_object_get(root, table[i].key))
            return loci_fail(in->err, in->code, "%s: %s: expected %s, found nothing", in->label,
                             table[i].key, type_names[table[i].type]);
    return LOCI_OK;
}

loci_status loci_settings_parse(const char *json_text, const char *label, const loci_setting *table,
                                int n, void *object, const char *const *ignore, loci_error *err)
{
    json_error_t why;
    json_t *root = json_loads(json_text, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return loci_fail(err, LOCI_EFORMAT, "%s: line %d, column %d: %s", label, why.line,
                         why.column, why.text);
    const place in = { label, LOCI_EFORMAT, err };
    const loci_status st = check_object(&in, root, table, n, ignore);
    for (int i = 0; i < n && st == LOCI_OK; i++) {
        const json_t *value = json_object_get(root, table[i].key);
        if (value && !is_listed(ignore, table[i].key)) store_value(&table[i], value, object);
    }
    json_decref(root);
    return st;
}

/* ---- key=value ---------------------------------------------------------------------------- */

loci_status loci_settings_set(const char *key, const char *value, const char *label,
                              const loci_setting *table, int n, void *object, loci_error *err)
{
    const loci_setting *s = find_setting(table, n, key);
    if (!s) return loci_fail(err, LOCI_EINVAL, "%s: unknown key \"%.80s\"", label, key);
    json_t *parsed =
        s->type == LOCI_SET_STR ? json_string(value) : json_loads(value, JSON_DECODE_ANY, NULL);
    if (!parsed)
        return loci_fail(err, LOCI_EINVAL, "%s: %s: expected %s, found \"%.80s\"", label, key,
                         type_names[s->type], value);
    const place in = { label, LOCI_EINVAL, err };
    const loci_status st = check_value(&in, s, parsed);
    if (st == LOCI_OK) store_value(s, parsed, object);
    json_decref(parsed);
    return st;
}

/* ---- back to text --------------------------------------------------------------------------- */

/* The decimal number with the fewest digits that is read back as f: 0.1, not 0.100000001.  Nine
 * digits tell any two floats apart. */
static double shortest_decimal(float f)
{
    char text[32];
    double d = (double)f;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        d = strtod(text, NULL);
        if ((float)d == f) break;
    }
    return d;
}

static json_t *load_value(const loci_setting *s, const void *object)
{
    const void *field = (const char *)object + s->offset;
    switch (s->type) {
    case LOCI_SET_INT: return json_integer(*(const int *)field);
    case LOCI_SET_I64: return json_integer(*(const int64_t *)field);
    case LOCI_SET_FLOAT: return json_real(shortest_decimal(*(const float *)field));
    case LOCI_SET_BOOL: return json_boolean(*(const bool *)field);
    case LOCI_SET_STR: return json_string(field);
    }
    return NULL;
}

char *loci_settings_dump(const loci_setting *table, int n, const void *object)
{
    char *text = NULL;
    json_t *root = json_object();
    for (int i = 0; i < n; i++)
        if (json_object_set_new(root, table[i].key, load_value(&table[i], object)) != 0) goto out;
    text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
out:
    json_decref(root);
    return text;
}
