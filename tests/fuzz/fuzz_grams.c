/* fuzz_grams.c - any bytes as a file of hashes of training text: refused, or every text can be
 * compared with it. */
#include <stdlib.h>
#include "train/train_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    loci_grams *g = NULL;
    loci_error err = { 0 };
    loci_overlap sum = { 0 };
    const loci_status st = loci_grams_parse(&g, bytes, size, "fuzz", &err);
    if ((st == LOCI_OK) != (g != NULL)) abort();
    if (!g) return 0;
    loci_grams_overlap(g, (const char *)bytes, size, &sum);
    if (sum.found > sum.sampled || sum.sampled > sum.runs) abort();
    loci_grams_close(g);
    return 0;
}
