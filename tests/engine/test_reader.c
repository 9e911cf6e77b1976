/* Goal: plain, gzip and zstd files give their bytes, and a broken one an error that names it.
 * Method: round trips over sizes and read sizes; every cut of a small compressed file; flipped
 * bytes, after which the result must be an error or, where the format has no check, some bytes. */
#include <zlib.h>
#include <zstd.h>
#include "engine/xs_test.h"
#include "engine/source.h"

enum { BIG = 700000 };

static char *made_text(size_t n, uint64_t seed)
{
    loci_rng r;
    loci_rng_seed(&r, seed);
    char *s = malloc(n + 1);
    assert_non_null(s);
    for (size_t i = 0; i < n; i++) s[i] = (char)('a' + loci_rng_below(&r, 20));
    s[n] = '\0';
    return s;
}

static size_t gzip_bytes(void *out, size_t cap, const void *in, size_t n)
{
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in, z.avail_in = (uInt)n;
    z.next_out = out, z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return cap - z.avail_out;
}

static size_t zstd_bytes(void *out, size_t cap, const void *in, size_t n)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    const size_t got = ZSTD_compress2(c, out, cap, in, n);
    assert_false(ZSTD_isError(got));
    ZSTD_freeCCtx(c);
    return got;
}

/* Read all of `path`, `step` bytes a call; *out owned. */
static loci_status slurp(const char *path, size_t step, char **out, size_t *n, char encoding[8],
                         loci_error *err)
{
    loci_reader *r;
    size_t got = 1;
    *out = malloc(4 * BIG);
    *n = 0;
    loci_status st = loci_reader_open(&r, path, err);
    if (st != LOCI_OK) return st;
    if (encoding) snprintf(encoding, 8, "%s", loci_reader_encoding(r));
    while (st == LOCI_OK && got > 0) {
        assert_true(*n + step <= 4 * BIG);
        st = loci_reader_read(r, *out + *n, step, &got, err);
        assert_true(got <= step);
        *n += got;
    }
    loci_reader_close(r);
    return st;
}

static void assert_reads(const void *file, size_t bytes, const char *want, size_t n,
                         const char *encoding)
{
    static const size_t steps[] = { 1, 7, 4096, 1 << 20 };
    loci_error err;
    write_bytes(at_root("f"), file, bytes);
    for (size_t i = n > 5000 ? 2 : 0; i < 4; i++) {
        char *got, found[8];
        size_t len;
        OK(slurp(at_root("f"), steps[i], &got, &len, found, &err));
        assert_string_equal(found, encoding);
        assert_int_equal(len, n);
        assert_memory_equal(got, want, n);
        free(got);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 4095, 131072, 131073, BIG };
    char *packed = malloc(2 * BIG);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *text = made_text(sizes[i], SEED + i);
        assert_reads(text, sizes[i], text, sizes[i], "");
        size_t n = gzip_bytes(packed, 2 * BIG, text, sizes[i]);
        assert_reads(packed, n, text, sizes[i], "gzip");
        n = zstd_bytes(packed, 2 * BIG, text, sizes[i]);
        assert_reads(packed, n, text, sizes[i], "zstd");
        free(text);
    }
    free(packed);
}

static void test_members_and_frames_join(void **state)
{
    (void)state;
    char *text = made_text(BIG, SEED), *packed = malloc(2 * BIG);
    size_t n = 0, m = 0;
    for (size_t at = 0, part; at < BIG; at += part) {
        part = at + 99999 < BIG ? 99999 : BIG - at;
        n += gzip_bytes(packed + n, 2 * BIG - n, text + at, part);
        n += gzip_bytes(packed + n, 2 * BIG - n, "", 0); /* empty members too */
    }
    assert_reads(packed, n, text, BIG, "gzip");
    for (size_t at = 0, part; at < BIG; at += part) {
        part = at + 99999 < BIG ? 99999 : BIG - at;
        m += zstd_bytes(packed + m, 2 * BIG - m, text + at, part);
    }
    assert_reads(packed, m, text, BIG, "zstd");
    free(packed);
    free(text);
}

static void test_short_files_are_plain(void **state)
{
    (void)state;
    assert_reads("\x1f", 1, "\x1f", 1, "");
    assert_reads("\x28\xb5\x2f", 3, "\x28\xb5\x2f", 3, "");
    assert_reads("\0\0\0\0\0", 5, "\0\0\0\0\0", 5, "");
}

static void assert_broken(const void *file, size_t n, const char *what, size_t at)
{
    loci_error err = { 0 };
    char *got;
    size_t len;
    write_bytes(at_root("broken"), file, n);
    const loci_status st = slurp(at_root("broken"), 4096, &got, &len, NULL, &err);
    free(got);
    if (st != LOCI_EFORMAT || !strstr(err.text, at_root("broken")))
        fail_msg("%s at %zu: status %d, \"%s\"", what, at, st, err.text);
}

static void test_each_cut_is_an_error(void **state)
{
    (void)state;
    char *text = made_text(3000, SEED), packed[8192];
    const size_t g = gzip_bytes(packed, sizeof packed, text, 3000);
    for (size_t cut = 2; cut < g; cut++) assert_broken(packed, cut, "gzip cut", cut);
    const size_t z = zstd_bytes(packed, sizeof packed, text, 3000);
    for (size_t cut = 4; cut < z; cut++) assert_broken(packed, cut, "zstd cut", cut);
    free(text);
}

/* Behind the header every flip must be seen: both files carry a check of their content. */
static void test_flipped_bytes(void **state)
{
    (void)state;
    char *text = made_text(3000, SEED), packed[8192];
    const size_t g = gzip_bytes(packed, sizeof packed, text, 3000);
    for (size_t i = 10; i < g; i += 3) {
        packed[i] ^= 0x55;
        assert_broken(packed, g, "gzip flip", i);
        packed[i] ^= 0x55;
    }
    const size_t z = zstd_bytes(packed, sizeof packed, text, 3000);
    for (size_t i = 9; i < z; i += 3) {
        packed[i] ^= 0x55;
        assert_broken(packed, z, "zstd flip", i);
        packed[i] ^= 0x55;
    }
    memcpy(packed + gzip_bytes(packed, sizeof packed, text, 3000), "junk", 4);
    assert_broken(packed, g + 4, "gzip, junk behind", g);
    free(text);
}

static void test_missing_and_folder(void **state)
{
    (void)state;
    loci_error err = { 0 };
    char *got;
    size_t n;
    assert_int_equal(slurp(at_root("no-such"), 10, &got, &n, NULL, &err), LOCI_EIO);
    assert_non_null(strstr(err.text, "no-such"));
    free(got);
    err = (loci_error){ 0 };
    assert_int_equal(slurp(root, 10, &got, &n, NULL, &err), LOCI_EIO);
    assert_non_null(strstr(err.text, root));
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_members_and_frames_join),
        cmocka_unit_test(test_short_files_are_plain),
        cmocka_unit_test(test_each_cut_is_an_error),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_missing_and_folder),
    };
    root_make();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    temp_dir_remove(root);
    return failed;
}
