/* fuzz_settings.c - any text as settings: refused with the struct untouched, or every value is in
 * its range and comes back the same through loci_settings_dump.  The first line, up to a '=', is
 * also tried as key=value. */
#include <stdlib.h>
#include <string.h>
#include "format/format.h"

typedef struct {
    int layers;
    int64_t step;
    float rate;
    bool tied;
    char name[16];
} config;

static const loci_setting table[] = {
    { "layers", LOCI_SET_INT, offsetof(config, layers), 1, 64, 0, false, "" },
    { "step", LOCI_SET_I64, offsetof(config, step), -1e15, 1e15, 0, false, "" },
    { "rate", LOCI_SET_FLOAT, offsetof(config, rate), -1e300, 1e300, 0, false, "" },
    { "tied", LOCI_SET_BOOL, offsetof(config, tied), 0, 0, 0, false, "" },
    { "name", LOCI_SET_STR, offsetof(config, name), 0, 0, 16, false, "" },
};
enum { N = sizeof table / sizeof *table };
static const config start = { 1, 2, 3.0f, true, "start" };

/* A struct that was accepted: inside its ranges, and the same after a dump. */
static void check(const config *c)
{
    config back;
    if (c->layers < 1 || c->layers > 64 || !memchr(c->name, 0, sizeof c->name)) abort();
    char *text = loci_settings_dump(table, N, c);
    if (!text) abort();
    memcpy(&back, &start, sizeof back);
    if (loci_settings_parse(text, "dump", table, N, &back, NULL, NULL) != LOCI_OK) abort();
    if (back.layers != c->layers || back.step != c->step || back.rate != c->rate ||
        back.tied != c->tied || strcmp(back.name, c->name) != 0)
        abort();
    free(text);
}

static void check_outcome(loci_status st, const config *c)
{
    if (st == LOCI_OK)
        check(c);
    else if (memcmp(c, &start, sizeof start) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    config c;
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, bytes, size);
    text[size] = '\0';

    memcpy(&c, &start, sizeof c);
    check_outcome(loci_settings_parse(text, "fuzz", table, N, &c, NULL, NULL), &c);
    char *value = strchr(text, '=');
    if (value) {
        *value++ = '\0';
        memcpy(&c, &start, sizeof c);
        check_outcome(loci_settings_set(text, value, "fuzz", table, N, &c, NULL), &c);
    }
    free(text);
    return 0;
}
