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
