/* Goal: what a segment file gives back is what was written, and a file that is not whole is
 * refused with the place named, whatever byte of it is wrong or missing.
 *
 * Method: round trips at sizes around a group; a small file cut at every length and with a bit
 * flipped in every byte; files with valid checksums and impossible fields; a full disk, short
 * writes and I/O errors at every call of the writer; golden files of both versions. */
#include "bank_test.h"
#include "fault_vfs.h"
#include <xxhash.h>

static const loci_segment_shape big = { 2, 128, 128, 2, { 1, 2, 3 }, 0, 0, 0 };
static const loci_segment_shape tiny = { 1, 8, 4, 4, { 9 }, 0, 0, 0 };
static const loci_segment_shape tiny_summary = { 1, 8, 4, 4, { 9 }, 0, 0, 16 };
static const loci_segment_shape tiny_packed = { 1, 8, 4, 4, { 9 }, 1, 1, 24 };
static const loci_segment_shape tiny_postings = { 1, 8, 4, 4, { 9 }, 1, 0, 0 };

static void write_segment(const char *path, const loci_segment_shape *s, int64_t chunks)
{
    loci_error err;
    loci_segment_writer *w;
    test_chunk *c = malloc(sizeof *c);
    int64_t bytes;
    OK(loci_segment_create(&w, NULL, path, s, &err));
    for (int64_t i = 0; i < chunks; i++) {
        chunk_make(c, s, SEED, i);
        OK(loci_segment_append(w, &c->record, &err));
    }
    assert_int_equal(loci_segment_chunks(w), chunks);
    OK(loci_segment_finish(w, &bytes, &err));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, bytes);
    assert_int_equal(st.st_mode & 0777, 0600);
    loci_segment_writer_close(w);
    free(c);
}

/* ---- content in its two forms ------------------------------------------------------------------- */
static void check_packed(const loci_chunk_view *v, const loci_chunk_record *r)
{
    static const uint8_t zero[64 * LOCI_PACK / 2];
    const size_t n = (size_t)r->n_tokens, row = LOCI_PACK / 2, pads = 64 - n;
    assert_null(v->content);
    assert_null(v->content_scale);
    assert_memory_equal(v->packed, r->packed, n * row);
    assert_memory_equal(v->packed + n * row, zero, pads * row);
    assert_memory_equal(v->packed_scale, r->packed_scale, n * 4);
    assert_memory_equal(v->packed_scale + 2 * n, zero, pads * 4);
}

static void check_content(const loci_segment_shape *s, const loci_chunk_view *v,
                          const loci_chunk_record *r)
{
    const int half = s->d_content / 2;
    int8_t q[64 * MAX_DC];
    float scale[128];
    assert_null(v->packed);
    loci_quant_q8_ref(q, half, scale, r->content, half, 2 * r->n_tokens, half);
    assert_memory_equal(v->content, q, (size_t)(2 * r->n_tokens * half));
    assert_memory_equal(v->content_scale, scale, (size_t)r->n_tokens * 2 * sizeof *scale);
    for (int row = 0; row < 128; row++) {
        if (row < 2 * r->n_tokens)
            assert_row_close(r->content + row * half, v->content + row * half,
                             v->content_scale[row], half);
        else
            for (int k = 0; k < half; k++) assert_int_equal(v->content[row * half + k], 0);
    }
}

/* ---- round trip ---------------------------------------------------------------------------------- */
static void check_chunk(loci_segment *seg, const loci_segment_shape *s, int64_t i, test_chunk *c)
{
    loci_error err;
    loci_chunk_view v;
    uint64_t code[MAX_M * 2];
    chunk_make(c, s, SEED, i);
    const loci_chunk_record *r = &c->record;
    OK(loci_segment_chunk(seg, i, true, &v, &err));
    assert_int_equal(v.n_tokens, r->n_tokens);
    assert_true(v.bias == r->bias);
    assert_int_equal(v.byte_start, r->byte_start);
    assert_int_equal(v.line_start, r->line_start);
    for (int m = 0; m < s->n_landmarks; m++)
        assert_row_close(r->landmark + m * s->d_landmark, v.landmark + m * s->d_landmark,
                         v.landmark_scale[m], s->d_landmark);
    /* The same bits as the reference gives, whatever the machine. */
    int8_t q[64 * MAX_DC];
    float scale[128];
    assert_true((v.summary != NULL) == (s->d_summary > 0));
    if (v.summary) {
        loci_quant_q8_ref(q, s->d_summary, scale, r->summary, s->d_summary, 1, s->d_summary);
        assert_memory_equal(v.summary, q, (size_t)s->d_summary);
        assert_true(v.summary_scale == scale[0]);
    }
    if (s->content_bits4)
        check_packed(&v, r);
    else
        check_content(s, &v, r);
    for (int t = 0; t < 64; t++) {
        const uint8_t *p = (const uint8_t *)v.ids + t * s->id_bytes;
        const int32_t id = s->id_bytes == 2 ? p[0] | p[1] << 8 : (int32_t)get_u32(p);
        assert_int_equal(id, t < r->n_tokens ? r->ids[t] : LOCI_TOK_PAD);
    }
    OK(loci_segment_codes(seg, i, 1, code, &err));
    assert_memory_equal(code, r->code, (size_t)s->n_landmarks * 16);
}

static void test_round_trip(void **state)
{
    static const int64_t sizes[] = { 0, 1, 255, 256, 257, 700 };
    (void)state;
    char dir[64], path[128];
    loci_error err;
    scratch_make(dir);
    test_chunk *c = malloc(sizeof *c);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes * 4; k++) {
        static const struct {
            const loci_segment_shape *shape;
            int columns, postings;
        } list[] = {
            { &big, 10, 0 }, { &tiny, 10, 0 }, { &tiny_summary, 12, 0 }, { &tiny_packed, 12, 1 }
        };
        const loci_segment_shape *s = list[k % 4].shape;
        const int64_t size = sizes[k / 4];
        loci_segment *seg;
        int64_t blocks, bad;
        char first[300];
        snprintf(path, sizeof path, "%s/%zu.loci", dir, k);
        write_segment(path, s, size);
        OK(loci_segment_open(&seg, path, s, &err));
        assert_int_equal(loci_segment_count(seg), size);
        for (int64_t i = 0; i < size; i++) check_chunk(seg, s, i, c);
        uint64_t *code = malloc((size_t)(size + 1) * 32);
        OK(loci_segment_codes(seg, 0, size, code, &err)); /* across groups */
        for (int64_t i = 0; i < size; i++) {
            chunk_make(c, s, SEED, i);
            assert_memory_equal(code + i * 2 * s->n_landmarks, c->code,
                                (size_t)s->n_landmarks * 16);
        }
        free(code);
        loci_chunk_view v;
        err = (loci_error){ 0 };
        assert_int_equal(loci_segment_chunk(seg, size, true, &v, &err), LOCI_EINVAL);
        assert_int_equal(loci_segment_chunk(seg, -1, true, &v, NULL), LOCI_EINVAL);
        assert_int_equal(loci_segment_codes(seg, 1, size, NULL, NULL), LOCI_EINVAL);
        loci_segment_close(seg);
        OK(loci_segment_verify(path, &blocks, &bad, first, sizeof first, &err));
        assert_int_equal(bad, 0);
        assert_int_equal(blocks, 2 + list[k % 4].columns * ((size + 255) / 256) +
                                     (size > 0 && list[k % 4].postings));
    }
    free(c);
    scratch_remove(dir);
}

static void test_same_bytes(void **state)
{
    (void)state;
    char dir[64], a[128], b[128], *x, *y;
    size_t n, m;
    loci_error err;
    scratch_make(dir);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    write_segment(a, &big, 300);
    write_segment(b, &big, 300);
    OK(loci_file_load(NULL, a, 1 << 28, &x, &n, &err));
    OK(loci_file_load(NULL, b, 1 << 28, &y, &m, &err));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
    scratch_remove(dir);
}

/* ---- postings --------------------------------------------------------------------------------------- */
/* What the file gives for the grams of a chunk is what a builder gives for the same chunks. */
static void check_block(loci_segment *seg, int64_t i, int64_t first, int64_t chunks)
{
    loci_error err;
    loci_postings_builder *b;
    const uint8_t *block, *want;
    int64_t n;
    size_t bytes;
    test_chunk c;
    OK(loci_postings_open(&b, &err));
    for (int64_t k = first; k < first + chunks; k++) {
        chunk_make(&c, &tiny_postings, SEED, k);
        OK(loci_postings_add(b, c.ids, c.record.n_tokens, 0, &err));
    }
    OK(loci_postings_finish(b, &want, &bytes, &err));
    OK(loci_segment_postings(seg, i, &block, &n, &err));
    assert_int_equal(n, chunks);
    assert_int_equal((uintptr_t)block % 64, 0);
    assert_memory_equal(block, want, bytes);
    loci_postings_close(b);
}

static void test_postings(void **state)
{
    static const int64_t sizes[] = { 0, 1, 256, 257, 16384, 16385 };
    (void)state;
    char dir[64], path[128];
    loci_error err;
    scratch_make(dir);
    test_chunk *c = malloc(sizeof *c);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        loci_segment *seg;
        int64_t blocks, bad;
        const uint8_t *block;
        const int64_t n = sizes[k], full = LOCI_POSTINGS_CHUNKS, groups = (n + 255) / 256;
        snprintf(path, sizeof path, "%s/%zu.loci", dir, k);
        write_segment(path, &tiny_postings, n);
        OK(loci_segment_open(&seg, path, &tiny_postings, &err));
        const int64_t n_blocks = (n + full - 1) / full;
        assert_int_equal(loci_segment_postings_blocks(seg), n_blocks);
        for (int64_t i = 0; i < n_blocks; i++)
            check_block(seg, i, i * full, i + 1 < n_blocks ? full : n - i * full);
        assert_int_equal(loci_segment_postings(seg, n_blocks, &block, &blocks, NULL), LOCI_EINVAL);
        assert_int_equal(loci_segment_postings(seg, -1, &block, &blocks, NULL), LOCI_EINVAL);
        for (int64_t i = 0; i<n; i += n> 500 ? 997 : 1) check_chunk(seg, &tiny_postings, i, c);
        loci_segment_close(seg);
        OK(loci_segment_verify(path, &blocks, &bad, NULL, 0, &err));
        assert_int_equal(blocks, 2 + 10 * groups + n_blocks);
        /* Asked for and not there, there and not asked for. */
        assert_int_equal(loci_segment_open(&seg, path, &tiny, NULL), LOCI_EFORMAT);
    }
    loci_segment *seg;
    snprintf(path, sizeof path, "%s/plain.loci", dir);
    write_segment(path, &tiny, 3);
    assert_int_equal(loci_segment_open(&seg, path, &tiny_postings, NULL), LOCI_EFORMAT);
    free(c);
    scratch_remove(dir);
}

/* ---- golden files ------------------------------------------------------------------------------------- */
/* Files written once by this writer; they must stay readable, and what it writes must stay the same to
 * the byte.  Their chunks are those of chunk_make, 3 of them, from SEED. */
static void test_golden(void **state)
{
    static const struct {
        const char *path;
        const loci_segment_shape *shape;
    } list[] = {
        { "tests/golden/segment/plain.loci", &tiny },
        { "tests/golden/segment/postings.loci", &tiny_postings },
        { "tests/golden/segment/packed.loci", &tiny_packed },
    };
    (void)state;
    char dir[64], path[128], *want, *got;
    size_t n, m;
    loci_error err;
    scratch_make(dir);
    test_chunk *c = malloc(sizeof *c);
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        loci_segment *seg;
        int64_t blocks, bad;
        OK(loci_segment_verify(list[k].path, &blocks, &bad, NULL, 0, &err));
        OK(loci_segment_open(&seg, list[k].path, list[k].shape, &err));
        assert_int_equal(loci_segment_count(seg), 3);
        for (int64_t i = 0; i < 3; i++) check_chunk(seg, list[k].shape, i, c);
        loci_segment_close(seg);
        snprintf(path, sizeof path, "%s/%zu.loci", dir, k);
        write_segment(path, list[k].shape, 3);
        OK(loci_file_load(NULL, list[k].path, 1 << 20, &want, &n, &err));
        OK(loci_file_load(NULL, path, 1 << 20, &got, &m, &err));
        assert_int_equal(n, m);
        assert_memory_equal(got, want, n);
        free(want);
        free(got);
    }
    free(c);
    scratch_remove(dir);
}

/* ---- damage --------------------------------------------------------------------------------------- */
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

/* ---- the writer's own refusals ------------------------------------------------------------------------- */
static void test_bad_records(void **state)
{
    (void)state;
    char dir[64], path[128];
    loci_segment_writer *w, *second;
    loci_error err = { 0 };
    loci_segment_shape narrow = tiny;
    test_chunk c;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    narrow.id_bytes = 2;
    OK(loci_segment_create(&w, NULL, path, &narrow, &err));
    assert_int_equal(loci_segment_create(&second, NULL, path, &narrow, &err),
                     LOCI_EIO); /* in use */
    assert_null(second);
    for (int fault = 0; fault < 9; fault++) {
        chunk_make(&c, &narrow, SEED, 0);
        c.record.n_tokens = 64;
        switch (fault) {
        case 0: c.record.n_tokens = 0; break;
        case 1: c.record.n_tokens = 65; break;
        case 2: c.ids[3] = -1; break;
        case 3: c.ids[63] = 65536; break;
        case 4: c.content[255] = NAN; break;
        case 5: c.landmark[0] = INFINITY; break;
        case 6: c.record.bias = NAN; break;
        case 7: c.record.byte_start = -1; break;
        default: c.record.line_start = 0;
        }
        if (loci_segment_append(w, &c.record, NULL) != LOCI_EINVAL)
            fail_msg("fault %d went in", fault);
    }
    assert_int_equal(loci_segment_chunks(w), 0);
    loci_segment_abort(w);
    assert_int_equal(access(path, F_OK), -1);
    narrow.d_content = 3;
    assert_int_equal(loci_segment_create(&w, NULL, path, &narrow, NULL), LOCI_EINVAL);
    assert_int_equal(access(path, F_OK), -1);
    scratch_remove(dir);
}

/* ---- faults at every call -------------------------------------------------------------------- */
/* One segment of two groups through the faulty system; the status of the step that failed. */
static loci_status write_with_faults(fault_vfs *f, const char *path, loci_error *err)
{
    loci_segment_writer *w;
    test_chunk c;
    int64_t bytes;
    loci_status st = loci_segment_create(&w, &f->vfs, path, &tiny, err);
    if (st != LOCI_OK) {
        assert_null(w);
        return st;
    }
    for (int64_t i = 0; i < 300 && st == LOCI_OK; i++) {
        chunk_make(&c, &tiny, SEED, i);
        st = loci_segment_append(w, &c.record, err);
    }
    if (st == LOCI_OK) st = loci_segment_finish(w, &bytes, err);
    if (st == LOCI_OK)
        loci_segment_writer_close(w);
    else
        loci_segment_abort(w);
    assert_int_equal(f->n_open, 0);
    return st;
}

static void test_faults(void **state)
{
    static const struct {
        fault_mode mode;
        int64_t step; /* of `at` from one try to the next */
        bool fails, gone;
    } list[] = {
        { FAULT_SHORT, 999, false, false }, { FAULT_INTR, 1, false, false },
        { FAULT_FULL, 20000, true, true },  { FAULT_EIO, 1, true, true },
        { FAULT_CRASH, 1, true, false },    { FAULT_TORN, 1, true, false },
    };
    (void)state;
    char dir[64], path[128];
    fault_vfs f;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/seg", dir);
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        int tries = 0, failures = 0;
        /* INTR at 1 would interrupt every call, for ever. */
        int64_t at = list[k].mode == FAULT_INTR ? 2 : 1;
        for (bool reached = true; reached && tries < 60; at += list[k].step, tries++) {
            loci_error err = { 0 };
            int64_t blocks, bad;
            fault_vfs_init(&f, list[k].mode, at);
            const loci_status st = write_with_faults(&f, path, &err);
            reached = f.n_faults > 0;
            const loci_status whole = loci_segment_verify(path, &blocks, &bad, NULL, 0, NULL);
            if (st == LOCI_OK) {
                /* Nothing happened, or it was gone on with; a close that fails after the sync in
                 * which all bytes were written is an error too, so none is missed. */
                assert_true(!reached || !list[k].fails || f.log[at - 1] == 'c');
                assert_int_equal(whole, LOCI_OK);
            } else {
                assert_true(reached && list[k].fails);
                assert_int_equal(st, LOCI_EIO);
                assert_int_equal(err.sys_errno, list[k].mode == FAULT_FULL ? ENOSPC : EIO);
                failures++;
                if (list[k].gone) assert_int_equal(access(path, F_OK), -1);
            }
            unlink(path);
        }
        assert_true(tries >= 5 && (failures >= 5) == list[k].fails);
    }
    /* open, header, two groups, table, trailer; sync before close; then the folder's */
    fault_vfs_init(&f, FAULT_NONE, 0);
    loci_error err;
    OK(write_with_faults(&f, path, &err));
    assert_string_equal(f.log, "owwwwwscosc");
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_flip_anywhere),
        cmocka_unit_test(test_bad_column_is_named),
        cmocka_unit_test(test_forged_fields),
        cmocka_unit_test(test_wrapped_count),
        cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_postings),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_forged_postings),
        cmocka_unit_test(test_forged_packed),
        cmocka_unit_test(test_bad_packed_records),
        cmocka_unit_test(test_false_postings),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
