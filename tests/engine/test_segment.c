/* Goal: what a segment file gives back is what was written, and writing one succeeds or leaves none.
 *
 * Method: round trips at sizes around a group; records that are none; a full disk, short writes and I/O
 * errors at every call of the writer; golden files of both versions.  Files that are not whole are
 * test_segment_damage.c's. */
#include "segment_test.h"
#include "fault_vfs.h"

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
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_bad_records), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_postings),    cmocka_unit_test(test_golden),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
