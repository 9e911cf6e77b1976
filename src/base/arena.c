/* arena.c - sizes that cannot overflow, aligned memory, and arenas walked twice. */
#include "base/base.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    LINE = 64,           /* a cache line, and a vector register of AVX-512 */
    HUGE_PAGE = 2 << 20, /* bytes of a huge page on x86-64 and aarch64      */
};

bool loci_size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

bool loci_size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* bytes up to the next multiple of align (a power of two); false when that does not fit. */
static bool round_up(size_t bytes, size_t align, size_t *out)
{
    if (!loci_size_add(bytes, align - 1, &bytes)) return false;
    *out = bytes & ~(align - 1);
    return true;
}

/* A plan too large for memory sticks at SIZE_MAX, which loci_alloc_aligned refuses: sizes in a
 * plan come from a model's file, so this end is an error of the file and not of ours. */
void *loci_arena_take(loci_arena *a, size_t n, size_t elem_size)
{
    size_t bytes, end;
    if (!loci_size_mul(n, elem_size, &bytes) || !round_up(bytes, LINE, &bytes) ||
        !loci_size_add(a->used, bytes, &end))
        end = SIZE_MAX;
    assert(a->base == NULL || end <= a->size);
    if (a->base && end > a->size) return NULL; /* without asserts: stop at once, write nowhere */
    void *p = a->base ? a->base + a->used : NULL;
    a->used = end;
    return p;
}

void *loci_alloc_untouched(size_t bytes)
{
    const bool is_huge = bytes >= HUGE_PAGE;
    const size_t align = is_huge ? HUGE_PAGE : LINE;
    size_t rounded;
    if (bytes > PTRDIFF_MAX || !round_up(bytes ? bytes : 1, align, &rounded)) return NULL;
    void *p = aligned_alloc(align, rounded);
    if (!p) return NULL;
    /* Scattered reads of tables this large miss the address cache with small pages.  A system
     * that refuses only makes us slower. */
    if (is_huge) (void)madvise(p, rounded, MADV_HUGEPAGE);
    return p;
}

void *loci_alloc_aligned(size_t bytes)
{
    void *p = loci_alloc_untouched(bytes);
    return p ? memset(p, 0, bytes ? bytes : 1) : NULL;
}

void loci_free_aligned(void *p)
{
    free(p);
}
