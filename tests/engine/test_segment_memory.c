/* Goal: a segment whose content is read keeps next to nothing of it in memory however much is asked for, and
 * gives the same bytes as one whose content is mapped; where no file can be opened it is mapped.
 * Method: files of 16 groups, whole and packed content, read twice in a shuffled order, their pages counted in
 * /proc/self/smaps; every field compared with the mapped reader. */
#include <sys/resource.h>
#include "engine/bank_test.h"
#include "engine/segment_impl.h"

enum { GROUPS = 16, CHUNKS = GROUPS * LOCI_SEG_GROUP };

static const loci_segment_shape shapes[] = {
    { .n_landmarks = 2, .d_landmark = 128, .d_content = 128, .id_bytes = 2 },
    { .n_landmarks = 2,
      .d_landmark = 128,
      .d_content = 128,
      .id_bytes = 2,
      .content_bits4 = 1,
      .d_summary = 128 },
};
static char dir[64], path[512];

/* A file of shape k, and its bytes. */
static int64_t write_segment(int k)
{
    loci_error err;
    loci_segment_writer *w;
    static test_chunk c;
    int64_t bytes;
    (void)unlink(path);
    OK(loci_segment_create(&w, NULL, path, &shapes[k], &err));
    for (int i = 0; i < CHUNKS; i++) {
        if (i % 64 == 0) chunk_make(&c, &shapes[k], SEED, i);
        c.record.byte_start = 64 * i;
        c.record.bias = (float)i;
        OK(loci_segment_append(w, &c.record, &err));
    }
    OK(loci_segment_finish(w, &bytes, &err));
    loci_segment_writer_close(w);
    return bytes;
}

static int set_up(void **state)
{
    (void)state;
    loci_error err;
    scratch_make(dir);
    OK(loci_path_join(path, sizeof path, dir, "segment", &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

/* Bytes of the file that are in this process's memory, of all its mappings; -1: cannot be told. */
static long resident(void)
{
    char line[1024];
    long sum = -1, kb;
    bool ours = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strchr(line, '-') && strchr(line, '/')) {
            ours = strstr(line, path) != NULL;
            if (ours && sum < 0) sum = 0;
        } else if (ours && sscanf(line, "Rss: %ld kB", &kb) == 1) {
            sum += kb * 1024;
            ours = false;
        }
    }
    if (f) fclose(f);
    return sum;
}

static int64_t shuffled(int i)
{
    return (int64_t)i * 2654435761 % CHUNKS; /* odd: each chunk once */
}

static void assert_same_content(const loci_segment_shape *x, const loci_chunk_view *a,
                                const loci_chunk_view *b)
{
    assert_int_equal(a->n_tokens, b->n_tokens);
    if (x->content_bits4) {
        assert_memory_equal(a->packed, b->packed, 64 * 32);
        assert_memory_equal(a->packed_scale, b->packed_scale, 64 * 2 * sizeof(uint16_t));
        assert_memory_equal(a->summary, b->summary, 128);
        assert_true(a->summary_scale == b->summary_scale && a->summary_scale != 0.0f);
    } else {
        assert_memory_equal(a->content, b->content, 64 * 128);
        assert_memory_equal(a->content_scale, b->content_scale, 64 * 2 * sizeof(float));
    }
}

static void keeps_nothing(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        loci_error err;
        loci_segment *s, *all;
        loci_chunk_view v, want;
        long most = 0;
        const int64_t bytes = write_segment(k);
        void *room = loci_alloc_aligned(loci_segment_room(&shapes[k]));
        OK(loci_segment_open(&s, path, &shapes[k], &err));
        loci_segment_read_content(s);
        for (int i = 0; i < 2 * CHUNKS; i++) {
            OK(loci_segment_content(s, shuffled(i % CHUNKS), room, &v, &err));
            if (i % 16 != 0) continue;
            const long now = resident();
            assert_true(now >= 0);
            if (now > most) most = now;
        }
        /* What else there is of a group, and what the system maps around it, while it is checked. */
        print_message("%ld KiB at most of %lld\n", most / 1024, (long long)bytes / 1024);
        assert_true(most < bytes / 2);
        for (int g = 0; g < GROUPS; g++) loci_segment_forget(s, g);
        assert_true(resident() < 160 * 1024); /* the table, parts of pages */

        OK(loci_segment_open(&all, path, &shapes[k], &err));
        for (int i = 0; i < CHUNKS; i += 5) {
            OK(loci_segment_content(all, i, room, &want, &err)); /* not told to read: mapped */
            OK(loci_segment_content(s, i, room, &v, &err));
            assert_same_content(&shapes[k], &want, &v);
        }
        assert_int_equal(loci_segment_content(s, CHUNKS, room, &v, &err), LOCI_EINVAL);
        assert_int_equal(loci_segment_content(s, -1, room, &v, &err), LOCI_EINVAL);
        loci_segment_close(s);
        assert_true(resident() > bytes / 2); /* and it is the reading that held it back */
        loci_segment_close(all);
        loci_free_aligned(room);
    }
}

static void no_more_files(void **state)
{
    (void)state;
    loci_error err;
    loci_segment *s;
    loci_chunk_view v, want;
    struct rlimit old, none;
    write_segment(0);
    void *room = loci_alloc_aligned(loci_segment_room(&shapes[0]));
    OK(loci_segment_open(&s, path, &shapes[0], &err));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    loci_segment_read_content(s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(s->file.fd < 0);
    OK(loci_segment_content(s, 300, room, &v, &err));
    OK(loci_segment_chunk(s, 300, true, &want, &err));
    assert_same_content(&shapes[0], &want, &v);
    loci_segment_forget(s, 1); /* nothing to give back: pointers stay good */
    assert_same_content(&shapes[0], &want, &v);
    loci_segment_close(s);
    loci_free_aligned(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
