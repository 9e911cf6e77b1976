/* Goal: sizes never wrap, memory is aligned and zeroed, and the two walks of a plan agree.
 * Method: borders of size_t; a plan measured, carved from a block of that very size, and filled
 * piece by piece with its own byte, which shows pieces that overlap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/base.h"

static void test_size_mul(void **state)
{
    size_t out = 7;
    (void)state;
    assert_true(loci_size_mul(3, 5, &out));
    assert_int_equal(out, 15);
    assert_true(loci_size_mul(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_true(loci_size_mul(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    out = 7;
    assert_false(loci_size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(loci_size_mul((size_t)1 << 33, (size_t)1 << 33, &out));
    assert_int_equal(out, 7);
}

static void test_size_add(void **state)
{
    size_t out = 7;
    (void)state;
    assert_true(loci_size_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    out = 7;
    assert_false(loci_size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
}

enum { PIECES = 6 };
static const size_t counts[PIECES] = { 1, 0, 63, 64, 65, 1000 };
static const size_t widths[PIECES] = { 1, 8, 1, 1, 1, 4 };

static void plan(loci_arena *a, unsigned char *piece[PIECES])
{
    for (int i = 0; i < PIECES; i++) piece[i] = loci_arena_take(a, counts[i], widths[i]);
}

static void test_both_walks_agree(void **state)
{
    unsigned char *piece[PIECES];
    loci_arena measure = { 0 };
    (void)state;
    plan(&measure, piece);
    for (int i = 0; i < PIECES; i++) assert_null(piece[i]);
    assert_int_equal(measure.used, 64 + 0 + 64 + 64 + 128 + 4032);

    loci_arena carve = { loci_alloc_aligned(measure.used), measure.used, 0 };
    assert_non_null(carve.base);
    plan(&carve, piece);
    assert_int_equal(carve.used, measure.used);
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal((uintptr_t)piece[i] % 64, 0);
        memset(piece[i], i + 1, counts[i] * widths[i]);
    }
    for (int i = 0; i < PIECES; i++)
        for (size_t b = 0; b < counts[i] * widths[i]; b++) assert_int_equal(piece[i][b], i + 1);
    loci_free_aligned(carve.base);
}

static void test_plan_too_large_sticks(void **state)
{
    loci_arena a = { 0 };
    (void)state;
    loci_arena_take(&a, 100, 1);
    loci_arena_take(&a, SIZE_MAX / 4, 8);
    assert_true(a.used == SIZE_MAX);
    loci_arena_take(&a, 1, 1);
    assert_true(a.used == SIZE_MAX);
    assert_null(loci_alloc_aligned(a.used));

    a.used = SIZE_MAX - 64; /* the sum, not the product, is too large */
    loci_arena_take(&a, 65, 1);
    assert_true(a.used == SIZE_MAX);
}

static void test_memory_is_aligned_and_zeroed(void **state)
{
    static const size_t sizes[] = { 0, 1, 63, 64, 65, 4097, 2u << 20, (2u << 20) + 1, 5u << 20 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        /* A block used and freed before makes "zeroed" more than luck. */
        unsigned char *p = loci_alloc_aligned(sizes[i]);
        assert_non_null(p);
        memset(p, 0xa5, sizes[i]);
        loci_free_aligned(p);
        p = loci_alloc_aligned(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t b = 0; b < sizes[i]; b++) assert_int_equal(p[b], 0);
        loci_free_aligned(p);
    }
    loci_free_aligned(NULL);
    assert_null(loci_alloc_aligned(SIZE_MAX));
    assert_null(loci_alloc_aligned((size_t)PTRDIFF_MAX + 1));
}

/* bf16 lives in base.h: rounding against the definition, on every kind of value. */
static void test_bf16(void **state)
{
    static const struct {
        uint32_t bits;
        uint16_t want;
    } cases[] = {
        { 0x3f800000, 0x3f80 },
        { 0x3f808000, 0x3f80 } /* tie to even */,
        { 0x3f818000, 0x3f82 } /* tie to even, up */,
        { 0x3f808001, 0x3f81 },
        { 0x80000000, 0x8000 },
        { 0x7f800000, 0x7f80 },
        { 0x7f7fffff, 0x7f80 } /* to infinity */,
        { 0x7f800001, 0x7fc0 } /* NaN stays NaN */,
        { 0xff800001, 0xffc0 },
        { 0x00000001, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float f;
        memcpy(&f, &cases[i].bits, sizeof f);
        assert_int_equal(loci_f32_to_bf16(f), cases[i].want);
    }
    for (uint32_t h = 0; h <= 0xffff; h++) {
        const float f = loci_bf16_to_f32((uint16_t)h);
        if (f == f) assert_int_equal(loci_f32_to_bf16(f), h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_mul),
        cmocka_unit_test(test_size_add),
        cmocka_unit_test(test_both_walks_agree),
        cmocka_unit_test(test_plan_too_large_sticks),
        cmocka_unit_test(test_memory_is_aligned_and_zeroed),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
