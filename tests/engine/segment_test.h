/* segment_test.h - what the tests of segment files share: shapes, and a file of chunks made from a seed. */
#ifndef SEGMENT_TEST_H
#define SEGMENT_TEST_H

#include "engine/bank_test.h"

static const loci_segment_shape big = { 2, 128, 128, 2, { 1, 2, 3 }, 0, 0, 0 };
static const loci_segment_shape tiny = { 1, 8, 4, 4, { 9 }, 0, 0, 0 };
static const loci_segment_shape tiny_summary = { 1, 8, 4, 4, { 9 }, 0, 0, 16 };
static const loci_segment_shape tiny_packed = { 1, 8, 4, 4, { 9 }, 1, 1, 24 };
static const loci_segment_shape tiny_postings = { 1, 8, 4, 4, { 9 }, 1, 0, 0 };

static inline void write_segment(const char *path, const loci_segment_shape *s, int64_t chunks)
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

#endif
