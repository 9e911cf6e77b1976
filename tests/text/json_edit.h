/* json_edit.h - changes one value of a JSON document, for tests of refusals. */
#ifndef LOCI_JSON_EDIT_H
#define LOCI_JSON_EDIT_H

#include "text_fixture.h"
#include <jansson.h>

typedef struct {
    const char *path;  /* steps apart by '/', numbers for lists */
    const char *value; /* JSON, NULL = remove */
    const char *named; /* what the message must name */
} edit;

/* Set, add or remove one value deep in root. */
static inline void apply(json_t *root, const edit *e)
{
    char path[128];
    snprintf(path, sizeof path, "%s", e->path);
    json_t *at = root;
    char *step = path;
    for (char *slash; (slash = strchr(step, '/')) != NULL; step = slash + 1) {
        *slash = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(step)) : json_object_get(at, step);
        assert_non_null(at);
    }
    json_t *value = e->value != NULL ? json_loads(e->value, JSON_DECODE_ANY, NULL) : NULL;
    if (e->value != NULL) assert_non_null(value);
    int bad = 0;
    if (json_is_array(at) && value == NULL)
        bad = json_array_remove(at, (size_t)atoi(step));
    else if (json_is_array(at) && strcmp(step, "+") == 0)
        bad = json_array_append_new(at, value);
    else if (json_is_array(at))
        bad = json_array_set_new(at, (size_t)atoi(step), value);
    else
        bad = value == NULL ? json_object_del(at, step) : json_object_set_new(at, step, value);
    assert_int_equal(bad, 0);
}

#endif
