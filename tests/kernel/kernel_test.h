/* kernel_test.h - matrices that notice being misread: NaN around every row, an inaccessible page
 * right behind the last element, and values of three ranges.
 *
 * A read out of bounds faults or makes a NaN; a write out of bounds breaks a canary. */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include <stdarg.h>
#include <setjmp.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "base/base.h"
#include "kernel/kernel.h"

#define SEED     UINT64_C(20250607)
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* Half a unit in the last place of f32, and the smallest step: what one rounding may cost. */
#define EPS  0x1p-24
#define STEP 0x1p-149

/* Ranges of test values: products near the smallest normal number, around 1, large.  WHOLE are
 * whole numbers up to 8, whose sums are exact in f32: results may differ by no rounding at all.
 * WIDE reach where exp over- and underflows. */
typedef enum { TINY, NORMAL, LARGE, WHOLE, WIDE, UNSET } range;

static const int awkward[] = {
    0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255
};

typedef struct {
    unsigned char *map; /* pages, the last one inaccessible */
    size_t map_size;
    unsigned char *block; /* canaries, rows, `shift` canaries; ends at the inaccessible page */
    size_t block_size;
    int rows, cols, ld, shift;
    size_t elem;
    union { /* row 0 */
        float *f;
        uint16_t *h;
        int8_t *q;
        int32_t *i;
    } at;
} mat;

enum { PAD = 67 }; /* elements of canary in front: odd, so that rows start anywhere */

static inline size_t mat_span(const mat *m)
{
    return m->rows > 0 ? (size_t)(m->rows - 1) * (size_t)m->ld + (size_t)m->cols : 0;
}

/* (rows, cols) with ld = cols + gap, `shift` elements short of the inaccessible page; not filled. */
static inline mat mat_raw(size_t elem, int rows, int cols, int gap, int shift)
{
    mat m = { .rows = rows, .cols = cols, .ld = cols + gap, .shift = shift, .elem = elem };
    const size_t page = 4096;
    m.block_size = (PAD + mat_span(&m) + (size_t)shift) * elem;
    m.map_size = (m.block_size + page - 1) / page * page + page;
    m.map = mmap(NULL, m.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(m.map != MAP_FAILED);
    assert_int_equal(mprotect(m.map + m.map_size - page, page, PROT_NONE), 0);
    m.block = m.map + m.map_size - page - m.block_size;
    memset(m.block, 0xff, m.block_size); /* NaN as f32 and bf16, -1 as int8 and int32 */
    m.at.q = (int8_t *)(m.block + PAD * elem);
    return m;
}

static inline void mat_free(mat *m)
{
    munmap(m->map, m->map_size);
    m->map = NULL;
}

static inline float value(loci_rng *rng, range kind)
{
    const double u = 2.0 * loci_rng_unit(rng) - 1.0;
    switch (kind) {
    case TINY: return (float)(u * 1e-19);
    case LARGE: return (float)(u * 1e15);
    case WIDE: return (float)(u * 110);
    case WHOLE: return (float)((int)loci_rng_below(rng, 17) - 8);
    default: return (float)u;
    }
}

static inline mat mat_new(loci_rng *rng, range kind, int rows, int cols, int gap, int shift)
{
    mat m = mat_raw(sizeof(float), rows, cols, gap, shift);
    for (int r = 0; r < rows && kind != UNSET; r++)
        for (int c = 0; c < cols; c++)
            m.at.f[(size_t)r * (size_t)m.ld + (size_t)c] = value(rng, kind);
    return m;
}

static inline mat mat_copy(const mat *x)
{
    mat m = mat_raw(x->elem, x->rows, x->cols, x->ld - x->cols, x->shift);
    memcpy(m.block, x->block, m.block_size);
    return m;
}

static inline float mat_at(const mat *m, int r, int c)
{
    return m->at.f[(size_t)r * (size_t)m->ld + (size_t)c];
}

/* Every byte outside of rows x cols is still a canary. */
static inline void mat_intact(const mat *m, const char *what)
{
    const size_t first = PAD * m->elem, row = (size_t)m->ld * m->elem;
    for (size_t i = 0; i < m->block_size; i++) {
        const bool behind = i < first || i >= first + mat_span(m) * m->elem;
        if (!behind && (i - first) % row < (size_t)m->cols * m->elem) continue;
        if (m->block[i] != 0xff)
            fail_msg("%s: byte %td outside of %d x %d (ld %d) was written", what,
                     (ptrdiff_t)i - (ptrdiff_t)first, m->rows, m->cols, m->ld);
    }
}

static inline void near(double got, double want, double bound, const char *what, int r, int c)
{
    if (isinf(want) && got == want) return;
    if (!(fabs(got - want) <= bound))
        fail_msg("%s [%d,%d]: %.9g, should be %.9g +- %.3g", what, r, c, got, want, bound);
}

#endif
