/* stored.h - the elements of a stored matrix, for the references. */
#ifndef LOCI_KERNEL_STORED_H
#define LOCI_KERNEL_STORED_H

#include "kernel/kernel.h"
#include "kernel/number.h"

static inline const uint8_t *stored_row_at(const loci_stored *w, int r)
{
    return (const uint8_t *)w->data + (size_t)r * w->row_bytes;
}

/* Element c of a row: its code's value (E4M3, E2M1) or its value, block scales included. */
float stored_code(const loci_stored *w, const uint8_t *row, int c);
/* What scale[] multiplies the code of element (r,c) with; 1 without. */
float stored_scale(const loci_stored *w, int r, int c);

#endif
