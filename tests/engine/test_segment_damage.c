/* Goal: a segment file that is not whole is refused with the place named, whatever byte of it is wrong or
 * missing.
 *
 * Method: a small file cut at every length and with a bit flipped in every byte; files with valid
 * checksums and impossible fields. */
#include "segment_test.h"
#include <xxhash.h>

/* Open, read all, verify: at least verify must refuse, with a word on where. */
static void expect_refused(const char *path, const loci_segment_shape *shape, const char *what,
                           size_t at)
{
    loci_error err = { 0 };
    int64_t blocks, bad;
    char first[300];
    loci_segment *seg;
    loci_chunk_view v;
    const loci_status opened = loci_segment_open(&seg, path, shape, &err);
    if (opened == LOCI_OK) {
        const uint8_t *block;
        int64_t chunks;
        for (int64_t i = 0; i < loci_segment_count(seg); i++)
            loci_segment_chunk(seg, i, true, &v, NULL);
        for (int64_t i = 0; i < loci_segment_postings_blocks(seg); i++)
            loci_segment_postings(seg, i, &block, &chunks, NULL);
        loci_segment_close(seg);
    } else {
        assert_null(seg);
        assert_true(err.text[0] != '\0');
    }
    err = (loci_error){ 0 };
    const loci_status st = loci_segment_verify(path, &blocks, &bad, first, sizeof first, &err);
    if (st == LOCI_OK || bad < 1 || !strstr(first, path))
        fail_msg("%s at %zu: status %d, %lld bad, \"%s\"", what, at, st, (long long)bad, first);
    if (st == LOCI_EFORMAT && !strstr(first, "offset") && !strstr(first, "bytes"))
        fail_msg("%s at %zu: no place: \"%s\"", what, at, first);
}

static void cut_anywhere(const loci_segment_shape *shape)
{
    char dir[64], path[128], cut[128], *data;
    size_t n;
    loci_error err;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/whole", dir);
    snprintf(cut, sizeof cut, "%s/cut", dir);
    write_segment(path, shape, 2);
    OK(loci_file_load(NULL, path, 1 << 28, &data, &n, &err));
    write_bytes(cut, data, n);
    for (size_t k = n; k-- > 0;) {
        assert_int_equal(truncate(cut, (off_t)k), 0);
        expect_refused(cut, shape, "cut", k);
    }
    /* And one byte too many. */
    char *longer = calloc(1, n + 1);
    memcpy(longer, data, n);
    write_bytes(cut, longer, n + 1);
    expect_refused(cut, shape, "one more", n);
    free(longer);
    free(data);
    scratch_remove(dir);
}

static void flip_anywhere(const loci_segment_shape *shape)
{
    char dir[64], path[128], *data;
    size_t n;
    loci_error err;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/flip", dir);
    write_segment(path, shape, 2);
    OK(loci_file_load(NULL, path, 1 << 28, &data, &n, &err));
    const int fd = open(path, O_RDWR);
    for (size_t k = 0; k < n; k++) {
        const char flipped = (char)(data[k] ^ (1 << (k % 8)));
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)k), 1);
        expect_refused(path, shape, "flip", k);
        assert_int_equal(pwrite(fd, data + k, 1, (off_t)k), 1);
    }
    close(fd);
    free(data);
    scratch_remove(dir);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    cut_anywhere(&tiny);
    cut_anywhere(&tiny_postings);
    cut_anywhere(&tiny_packed);
}

static void test_flip_anywhere(void **state)
{
    (void)state;
    flip_anywhere(&tiny);
    flip_anywhere(&tiny_postings);
    flip_anywhere(&tiny_packed);
}

/* A flipped bit in one column must not hide the others, and is named. */
static void test_bad_column_is_named(void **state)
{
    (void)state;
    char dir[64], path[128];
    loci_error err = { 0 };
    loci_segment *seg;
    loci_chunk_view v;
    uint64_t code[4];
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    write_segment(path, &big, 300);
    size_t at = sizeof(seg_header); /* content of group 1 */
    for (int c = 0; c < SEG_COLUMNS_USED; c++) at += seg_align(256 * seg_chunk_bytes(&big, c));
    for (int c = 0; c < COL_CONTENT; c++) at += seg_align(44 * seg_chunk_bytes(&big, c));
    const int fd = open(path, O_RDWR);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)at + 5), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at + 5), 1);
    close(fd);

    OK(loci_segment_open(&seg, path, &big, &err));
    OK(loci_segment_codes(seg, 256, 1, code, &err));
    OK(loci_segment_chunk(seg, 255, true, &v, &err));
    OK(loci_segment_chunk(seg, 256, false, &v, &err));
    for (int again = 0; again < 2; again++) { /* not sound the second time either */
        err = (loci_error){ 0 };
        assert_int_equal(loci_segment_chunk(seg, 299, true, &v, &err), LOCI_EFORMAT);
        char place[64];
        snprintf(place, sizeof place, "group 1, column content at offset %zu", at);
        assert_non_null(strstr(err.text, place));
        assert_non_null(strstr(err.text, path));
    }
    loci_segment_close(seg);
    scratch_remove(dir);
}

/* ---- valid checksums, impossible fields ---------------------------------------------------------------- */
typedef struct {
    const char *what;
    size_t at; /* in header (0), table entry (1), trailer (2) or a column (3) */
    int where, bytes;
    uint64_t value;
    loci_status status;
} forgery;

/* Change a field and put all checksums right again. */
static void forge(uint8_t *file, size_t n, const forgery *f, const loci_segment_shape *s,
                  int chunks)
{
    uint8_t *trailer = file + n - sizeof(seg_trailer), *table = trailer - sizeof(seg_entry);
    uint8_t *base[4] = { file, table, trailer, file + sizeof(seg_header) };
    for (int i = 0; i < f->bytes; i++)
        base[f->where][f->at + (size_t)i] = (uint8_t)(f->value >> (8 * i));
    size_t at = sizeof(seg_header);
    for (int c = 0; c < SEG_COLUMNS_USED && f->where == 3; c++) {
        const size_t bytes = c == COL_POSTINGS
                                 ? get_u64(table + offsetof(seg_entry, column) + 16 * COL_POSTINGS)
                                 : (size_t)chunks * seg_chunk_bytes(s, c);
        if (bytes == 0) continue;
        put_u64(table + offsetof(seg_entry, column) + 16 * (size_t)c + 8,
                XXH3_64bits_withSeed(file + at, bytes, (uint64_t)c));
        at += seg_align(bytes);
    }
    put_u64(file + offsetof(seg_header, sum), XXH3_64bits(file, offsetof(seg_header, sum)));
    put_u64(trailer + offsetof(seg_trailer, table_sum), XXH3_64bits(table, sizeof(seg_entry)));
    put_u64(trailer + offsetof(seg_trailer, sum), XXH3_64bits(trailer, offsetof(seg_trailer, sum)));
}

static size_t column_at(const loci_segment_shape *s, int column, int chunks)
{
    size_t at = 0;
    for (int c = 0; c < column; c++) at += seg_align((size_t)chunks * seg_chunk_bytes(s, c));
    return at;
}

static void try_forgeries(const forgery *list, size_t n_list, const loci_segment_shape *shape,
                          int chunks)
{
    char dir[64], path[128], *data;
    size_t n;
    loci_error err;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    write_segment(path, shape, chunks);
    OK(loci_file_load(NULL, path, 1 << 28, &data, &n, &err));
    uint8_t *file = malloc(n);
    for (size_t i = 0; i < n_list; i++) {
        loci_segment *seg;
        loci_chunk_view v;
        const uint8_t *block;
        int64_t covered;
        memcpy(file, data, n);
        forge(file, n, &list[i], shape, chunks);
        write_bytes(path, file, n);
        err = (loci_error){ 0 };
        loci_status st = loci_segment_open(&seg, path, shape, &err);
        for (int64_t k = 0; k < chunks && st == LOCI_OK; k++)
            st = loci_segment_chunk(seg, k, true, &v, &err);
        for (int64_t k = 0; st == LOCI_OK && k < loci_segment_postings_blocks(seg); k++)
            st = loci_segment_postings(seg, k, &block, &covered, &err);
        loci_segment_close(seg);
        if (st != list[i].status)
            fail_msg("%s: status %d, expected %d (%s)", list[i].what, st, list[i].status, err.text);
        if (list[i].status == LOCI_EFORMAT) expect_refused(path, shape, list[i].what, 0);
    }
    free(file);
    free(data);
    scratch_remove(dir);
}

static void test_forged_fields(void **state)
{
    enum { CHUNKS = 3 };
    const forgery list[] = {
        { "version 3", offsetof(seg_header, version), 0, 4, 3, LOCI_EVERSION },
        { "version 0", offsetof(seg_header, version), 0, 4, 0, LOCI_EVERSION },
        { "no features in 2", offsetof(seg_header, version), 0, 4, 2, LOCI_EFORMAT },
        { "features in 1", offsetof(seg_header, features), 0, 4, 1, LOCI_EFORMAT },
        { "header bytes", offsetof(seg_header, header_bytes), 0, 4, 64, LOCI_EFORMAT },
        { "fingerprint", offsetof(seg_header, fingerprint), 0, 1, 77, LOCI_EMODEL },
        { "no landmarks", offsetof(seg_header, n_landmarks), 0, 4, 0, LOCI_EFORMAT },
        { "huge landmarks", offsetof(seg_header, n_landmarks), 0, 4, 0xffffffff, LOCI_EFORMAT },
        { "other shape", offsetof(seg_header, d_landmark), 0, 4, 16, LOCI_EFORMAT },
        { "odd content", offsetof(seg_header, d_content), 0, 4, 5, LOCI_EFORMAT },
        { "id bytes", offsetof(seg_header, id_bytes), 0, 4, 3, LOCI_EFORMAT },
        { "chunk tokens", offsetof(seg_header, chunk_tokens), 0, 4, 128, LOCI_EFORMAT },
        { "group chunks", offsetof(seg_header, group_chunks), 0, 4, 0, LOCI_EFORMAT },
        { "reserved", offsetof(seg_header, zero) + 55, 0, 1, 1, LOCI_EFORMAT },
        { "table offset", offsetof(seg_trailer, table_offset), 2, 8, UINT64_MAX - 200,
          LOCI_EFORMAT },
        { "no groups", offsetof(seg_trailer, groups), 2, 8, 0, LOCI_EFORMAT },
        { "groups overflow", offsetof(seg_trailer, groups), 2, 8, UINT64_MAX / 272 + 2,
          LOCI_EFORMAT },
        { "many chunks", offsetof(seg_trailer, chunks), 2, 8, 4, LOCI_EFORMAT },
        { "chunks overflow", offsetof(seg_trailer, chunks), 2, 8, UINT64_MAX, LOCI_EFORMAT },
        { "no chunks", offsetof(seg_trailer, chunks), 2, 8, 0, LOCI_EFORMAT },
        { "file bytes", offsetof(seg_trailer, file_bytes), 2, 8, 1, LOCI_EFORMAT },
        { "trailer zero", offsetof(seg_trailer, zero), 2, 8, 1, LOCI_EFORMAT },
        { "group offset", offsetof(seg_entry, offset), 1, 8, 0, LOCI_EFORMAT },
        { "group chunks", offsetof(seg_entry, chunks), 1, 4, 2, LOCI_EFORMAT },
        { "entry zero", offsetof(seg_entry, zero), 1, 4, 2, LOCI_EFORMAT },
        { "column bytes", offsetof(seg_entry, column), 1, 8, UINT64_MAX, LOCI_EFORMAT },
        { "no postings", offsetof(seg_entry, column) + 16 * COL_POSTINGS, 1, 8, 64, LOCI_EFORMAT },
        { "later column", offsetof(seg_entry, column) + 16 * 14, 1, 8, 64, LOCI_EFORMAT },
        { "later sum", offsetof(seg_entry, column) + 16 * 15 + 8, 1, 8, 64, LOCI_EFORMAT },
        { "0 tokens", column_at(&tiny, COL_COUNTS, CHUNKS) + 1, 3, 1, 0, LOCI_EFORMAT },
        { "65 tokens", column_at(&tiny, COL_COUNTS, CHUNKS) + 2, 3, 1, 65, LOCI_EFORMAT },
        { "NaN bias", column_at(&tiny, COL_BIAS, CHUNKS) + 4, 3, 4, 0x7fc00000, LOCI_EFORMAT },
        { "inf scale", column_at(&tiny, COL_LANDMARK_SCALES, CHUNKS), 3, 4, 0x7f800000,
          LOCI_EFORMAT },
        { "NaN scale", column_at(&tiny, COL_CONTENT_SCALES, CHUNKS), 3, 4, 0xffc00000,
          LOCI_EFORMAT },
        { "byte -1", column_at(&tiny, COL_BYTE_STARTS, CHUNKS), 3, 8, UINT64_MAX, LOCI_EFORMAT },
        { "line 0", column_at(&tiny, COL_LINE_STARTS, CHUNKS), 3, 8, 0, LOCI_EFORMAT },
        { "padding", column_at(&tiny, COL_COUNTS, CHUNKS) + CHUNKS, 3, 1, 1, LOCI_EFORMAT },
    };
    (void)state;
    try_forgeries(list, sizeof list / sizeof *list, &tiny, CHUNKS);
}

/* The same in a file with postings. */
static void test_forged_postings(void **state)
{
    enum { CHUNKS = 3 };
    const size_t length = offsetof(seg_entry, column) + 16 * COL_POSTINGS;
    const size_t block = column_at(&tiny_postings, COL_POSTINGS, CHUNKS);
    const size_t entry = block + loci_postings_bytes(loci_postings_bits(CHUNKS), 0);
    const forgery list[] = {
        { "version 1", offsetof(seg_header, version), 0, 4, 1, LOCI_EFORMAT },
        { "no features", offsetof(seg_header, features), 0, 4, 0, LOCI_EFORMAT },
        { "other features", offsetof(seg_header, features), 0, 4, 0x81, LOCI_EFORMAT },
        { "packed without summaries", offsetof(seg_header, features), 0, 4, 3, LOCI_EFORMAT },
        { "summaries of no width", offsetof(seg_header, features), 0, 4, 5, LOCI_EFORMAT },
        { "a width without", offsetof(seg_header, d_summary), 0, 4, 16, LOCI_EFORMAT },
        { "no length", length, 1, 8, 0, LOCI_EFORMAT },
        { "odd length", length, 1, 8, 15, LOCI_EFORMAT },
        { "short", length, 1, 8, 8, LOCI_EFORMAT },
        { "long", length, 1, 8, 1 << 20, LOCI_EFORMAT },
        { "overflow", length, 1, 8, UINT64_MAX - 3, LOCI_EFORMAT },
        { "first bucket", block, 3, 4, 1, LOCI_EFORMAT },
        { "second bucket", block + 4, 3, 4, 1 << 30, LOCI_EFORMAT },
        { "last bucket", block + 8, 3, 4, 3, LOCI_EFORMAT },
        { "chunk 3 of 3", entry, 3, 2, 3, LOCI_EFORMAT },
        { "key before the last", entry + 6, 3, 2, 0, LOCI_EFORMAT },
    };
    (void)state;
    try_forgeries(list, sizeof list / sizeof *list, &tiny_postings, CHUNKS);
}

static void test_forged_packed(void **state)
{
    enum { CHUNKS = 3 };
    const forgery list[] = {
        { "not packed", offsetof(seg_header, features), 0, 4, 5, LOCI_EFORMAT },
        { "no width", offsetof(seg_header, d_summary), 0, 4, 0, LOCI_EFORMAT },
        { "other width", offsetof(seg_header, d_summary), 0, 4, 16, LOCI_EFORMAT },
        { "huge width", offsetof(seg_header, d_summary), 0, 4, 0xfffffff0, LOCI_EFORMAT },
        { "infinite half", column_at(&tiny_packed, COL_PACKED_SCALES, CHUNKS) + 6, 3, 2, 0x7c00,
          LOCI_EFORMAT },
        { "NaN half", column_at(&tiny_packed, COL_PACKED_SCALES, CHUNKS), 3, 2, 0xfe01,
          LOCI_EFORMAT },
        { "NaN summary", column_at(&tiny_packed, COL_SUMMARY_SCALES, CHUNKS) + 8, 3, 4, 0x7fc00000,
          LOCI_EFORMAT },
        { "int8 content too", offsetof(seg_entry, column) + 16 * COL_CONTENT, 1, 8, 64,
          LOCI_EFORMAT },
    };
    (void)state;
    try_forgeries(list, sizeof list / sizeof *list, &tiny_packed, CHUNKS);
}

/* What a writer of packed content and summaries refuses. */
static void test_bad_packed_records(void **state)
{
    (void)state;
    char dir[64], path[128];
    loci_segment_writer *w;
    loci_error err;
    test_chunk c;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    OK(loci_segment_create(&w, NULL, path, &tiny_packed, &err));
    for (int fault = 0; fault < 4; fault++) {
        chunk_make(&c, &tiny_packed, SEED, 0);
        c.record.n_tokens = 64;
        c.record.content = NULL; /* never read */
        switch (fault) {
        case 0: c.packed_scale[127] = 0x7c00; break;
        case 1: c.packed_scale[0] = 0xffff; break;
        case 2: c.summary[23] = INFINITY; break;
        default: c.summary[0] = NAN;
        }
        if (loci_segment_append(w, &c.record, NULL) != LOCI_EINVAL)
            fail_msg("fault %d went in", fault);
    }
    chunk_make(&c, &tiny_packed, SEED, 0);
    c.record.content = NULL;
    OK(loci_segment_append(w, &c.record, &err));
    loci_segment_abort(w);
    loci_segment_shape none = tiny_packed;
    none.d_summary = 0;
    assert_int_equal(loci_segment_create(&w, NULL, path, &none, NULL), LOCI_EINVAL);
    none.d_summary = SEG_SUMMARY_MAX + 1;
    assert_int_equal(loci_segment_create(&w, NULL, path, &none, NULL), LOCI_EINVAL);
    scratch_remove(dir);
}

/* A block that is sound in form and false: only verify, which has the ids, can tell. */
static void test_false_postings(void **state)
{
    enum { CHUNKS = 3 };
    (void)state;
    char dir[64], path[128], *data, first[300];
    size_t n;
    loci_error err;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    write_segment(path, &tiny_postings, CHUNKS);
    OK(loci_file_load(NULL, path, 1 << 20, &data, &n, &err));
    const size_t entry = column_at(&tiny_postings, COL_POSTINGS, CHUNKS) +
                         loci_postings_bytes(loci_postings_bits(CHUNKS), 0);
    /* The last entry's key one higher: still rising, and no gram of these chunks. */
    const uint64_t count = get_u32((uint8_t *)data + sizeof(seg_header) + entry - 4);
    const size_t last = entry + 4 * (count - 1);
    const forgery f = {
        "key",  last + 2, 3, 2, (get_u32((uint8_t *)data + sizeof(seg_header) + last) >> 16) + 1,
        LOCI_OK
    };
    forge((uint8_t *)data, n, &f, &tiny_postings, CHUNKS);
    write_bytes(path, data, n);
    loci_segment *seg;
    const uint8_t *block;
    int64_t chunks, blocks, bad;
    OK(loci_segment_open(&seg, path, &tiny_postings, &err));
    OK(loci_segment_postings(seg, 0, &block, &chunks, &err));
    loci_segment_close(seg);
    err = (loci_error){ 0 };
    assert_int_equal(loci_segment_verify(path, &blocks, &bad, first, sizeof first, &err),
                     LOCI_EFORMAT);
    assert_int_equal(bad, 1);
    assert_non_null(strstr(first, "column postings"));
    assert_non_null(strstr(first, "entry"));
    free(data);
    scratch_remove(dir);
}

/* No groups and so many chunks that rounding up to groups wraps round to none. */
static void test_wrapped_count(void **state)
{
    (void)state;
    char dir[64], path[128], *data;
    size_t n;
    loci_error err;
    loci_segment *seg;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    write_segment(path, &tiny, 0);
    OK(loci_file_load(NULL, path, 1 << 20, &data, &n, &err));
    uint8_t *trailer = (uint8_t *)data + n - sizeof(seg_trailer);
    put_u64(trailer + offsetof(seg_trailer, chunks), UINT64_MAX);
    put_u64(trailer + offsetof(seg_trailer, sum), XXH3_64bits(trailer, offsetof(seg_trailer, sum)));
    write_bytes(path, data, n);
    assert_int_equal(loci_segment_open(&seg, path, &tiny, NULL), LOCI_EFORMAT);
    free(data);
    scratch_remove(dir);
}

static void test_wrong_shape(void **state)
{
    (void)state;
    char dir[64], path[128];
    loci_segment *seg;
    loci_error err = { 0 };
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    write_segment(path, &tiny, 1);
    assert_int_equal(loci_segment_open(&seg, path, &big, &err), LOCI_EMODEL);
    assert_non_null(strstr(err.text, "09000000")); /* both fingerprints */
    assert_non_null(strstr(err.text, "01020300"));
    loci_segment_shape other = tiny;
    other.d_content = 6;
    err = (loci_error){ 0 };
    assert_int_equal(loci_segment_open(&seg, path, &other, &err), LOCI_EFORMAT);
    assert_int_equal(loci_segment_open(&seg, "/nowhere/seg", &tiny, NULL), LOCI_ENOTFOUND);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere),        cmocka_unit_test(test_flip_anywhere),
        cmocka_unit_test(test_bad_column_is_named), cmocka_unit_test(test_forged_fields),
        cmocka_unit_test(test_wrapped_count),       cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_forged_postings),     cmocka_unit_test(test_forged_packed),
        cmocka_unit_test(test_bad_packed_records),  cmocka_unit_test(test_false_postings),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
