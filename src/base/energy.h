/* energy.h - the arithmetic of the meters, for energy.c and its tests. */
#ifndef LOCI_BASE_ENERGY_H
#define LOCI_BASE_ENERGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The one decimal number of a file of the kernel, white space around it allowed.  False: anything
 * else, or above 2^64 - 1; *out is untouched. */
bool loci_energy_number(const char *text, size_t n, uint64_t *out);
/* Counts between two readings of a counter that goes back to 0 after `range` (0: it never does). */
uint64_t loci_energy_step(uint64_t before, uint64_t now, uint64_t range);

#endif
