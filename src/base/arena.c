/* arena.c - sizes that cannot overflow, aligned memory, and arenas walked twice. */
#include "base/base.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

void *loci_arena_take(loci_arena *a, size_t n, size_t elem_size)
{
    assert(elem_size == 0 || n <= (SIZE_MAX - 63) / elem_size);
    const size_t bytes = (n * elem_size + 63) & ~(size_t)63;
    void *p = a->base ? a->base + a->used : NULL;
    assert(a->base == NULL || bytes <= a->size - a->used);
    a->used += bytes;
    return p;
}

void *loci_alloc_aligned(size_t bytes)
{
    static const size_t huge = (size_t)2 << 20;
    const bool big = bytes >= huge;
    const size_t align = big ? huge : 64;
    if (bytes > SIZE_MAX - align) return NULL;
    const size_t rounded = (bytes + align - 1) & ~(align - 1);
    void *p = aligned_alloc(align, rounded ? rounded : align);
    if (!p) return NULL;
    /* Random access to tables of this size misses the TLB with small pages; a refusal is no
     * failure, only slower. */
    if (big) (void)madvise(p, rounded, MADV_HUGEPAGE);
    memset(p, 0, rounded);
    return p;
}

void loci_free_aligned(void *p) { free(p); }
