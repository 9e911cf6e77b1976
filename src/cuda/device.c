/* device.c - names of places where arithmetic is done. */
#include "base/base.h"
#include "cuda/gpu.h"

#include <stdlib.h>
#include <string.h>

loci_status loci_device_parse(const char *name, int *device, loci_error *err)
{
    *device = -1;
    if (!name || strcmp(name, "cpu") == 0) return LOCI_OK;
    if (strcmp(name, "cuda") == 0) {
        *device = 0;
        return LOCI_OK;
    }
    char *end = NULL;
    const long n = strncmp(name, "cuda:", 5) == 0 ? strtol(name + 5, &end, 10) : -1;
    if (n < 0 || n > 255 || end == name + 5 || *end)
        return loci_fail(err, LOCI_EINVAL, "device %s: expected cpu, cuda or cuda:N", name);
    *device = (int)n;
    return LOCI_OK;
}

loci_status loci_devices_parse(const char *name, loci_devices *out, loci_error *err)
{
    memset(out, 0, sizeof *out);
    if (!name || !strchr(name, ',')) {
        int one;
        const loci_status st = loci_device_parse(name, &one, err);
        if (st == LOCI_OK && one >= 0) out->number[out->n++] = one;
        return st;
    }
    const char *c = strncmp(name, "cuda:", 5) == 0 ? name + 5 : "";
    bool good = true;
    while (good) {
        char *end;
        const long n = strtol(c, &end, 10);
        good = *c >= '0' && *c <= '9' && n <= 255 && out->n < LOCI_MAX_DEVICES &&
               (*end == ',' || *end == '\0');
        for (int i = 0; good && i < out->n; i++) good = out->number[i] != (int)n;
        if (good) out->number[out->n++] = (int)n;
        if (good && *end == '\0') return LOCI_OK;
        c = end + 1;
    }
    out->n = 0;
    return loci_fail(err, LOCI_EINVAL,
                     "device %s: expected cpu, cuda, cuda:N or cuda:N,M,... with at most %d "
                     "numbers, each once",
                     name, LOCI_MAX_DEVICES);
}
