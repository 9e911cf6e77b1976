/* fuzz_energy.c - any bytes as the number of a kernel file: refused with the output untouched, or
 * printed and read again it is the same; and steps of a counter never exceed what it can have made. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/energy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint64_t v = 42, again = 0, n[3] = { 0 };
    char text[32];
    if (!loci_energy_number((const char *)bytes, size, &v)) {
        if (v != 42) abort();
    } else {
        const int len = snprintf(text, sizeof text, "%" PRIu64 "\n", v);
        if (!loci_energy_number(text, (size_t)len, &again) || again != v) abort();
    }
    memcpy(n, bytes, size < sizeof n ? size : sizeof n);
    const uint64_t step = loci_energy_step(n[0], n[1], n[2]);
    if (n[1] >= n[0] ? step != n[1] - n[0] : step < n[1]) abort();
    if (n[1] < n[0] && n[0] <= n[2] && step > n[2]) abort();
    return 0;
}
