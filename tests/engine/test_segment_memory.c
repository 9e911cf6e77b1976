/* Goal: a bounded segment keeps no more than about its bound in memory however much of it is read, and gives
 * the same bytes as one without a bound; pointers that it gave away stay good.
 * Method: a file of 16 groups read twice in a shuffled order, its pages counted in /proc/self/smaps
 * after each chunk; every field compared with the unbounded reader. */
#include "engine/bank_test.h"

enum { GROUPS = 16, CHUNKS = GROUPS * LOCI_SEG_GROUP, KEPT = 2, BOUND = 4 << 20 };

static const loci_segment_shape shape = {
    .n_landmarks = 2, .d_landmark = 128, .d_content = 128, .id_bytes = 2
};
static char dir[64], path[512];

static int set_up(void **state)
{
    (void)state;
    loci_error err;
    loci_segment_writer *w;
    static test_chunk c;
    int64_t bytes;
    scratch_make(dir);
    OK(loci_path_join(path, sizeof path, dir, "segment", &err));
    OK(loci_segment_create(&w, NULL, path, &shape, &err));
    for (int i = 0; i < CHUNKS; i++) {
        if (i % 64 == 0) chunk_make(&c, &shape, SEED, i);
        c.record.byte_start = 64 * i;
        c.record.bias = (float)i;
        OK(loci_segment_append(w, &c.record, &err));
    }
    OK(loci_segment_finish(w, &bytes, &err));
    assert_true(bytes > 8 * BOUND);
    loci_segment_writer_close(w);
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

static void assert_same_chunk(const loci_chunk_view *a, const loci_chunk_view *b)
{
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->byte_start, b->byte_start);
    assert_true(a->bias == b->bias);
    assert_memory_equal(a->landmark, b->landmark, 256);
    assert_memory_equal(a->content, b->content, 64 * 128);
    assert_memory_equal(a->content_scale, b->content_scale, 64 * 2 * sizeof(float));
    assert_memory_equal(a->ids, b->ids, 128);
}

static void stays_within_its_bound(void **state)
{
    (void)state;
    loci_error err;
    loci_segment *s;
    loci_chunk_view first, v;
    loci_group_view g;
    long most = 0;
    OK(loci_segment_open(&s, path, &shape, &err));
    loci_segment_bound(s, KEPT);
    OK(loci_segment_chunk(s, 7, true, &first, &err));
    for (int i = 0; i < 2 * CHUNKS; i++) {
        OK(loci_segment_chunk(s, shuffled(i % CHUNKS), true, &v, &err));
        volatile int8_t touch = v.content[0];
        (void)touch;
        if (i % 256 == 0) OK(loci_segment_group(s, i / 256 % GROUPS, &g, &err));
        if (i % 16 != 0) continue;
        const long now = resident();
        assert_true(now >= 0);
        if (now > most) most = now;
    }
    /* Two groups of 2.2 MB, and what kernels map around. */
    print_message("%ld KiB at most, %d groups\n", most / 1024, KEPT);
    assert_true(most > 0 && most < 4 * BOUND);

    /* The same as without, pointers of long ago too. */
    loci_segment *all;
    loci_chunk_view want;
    OK(loci_segment_open(&all, path, &shape, &err));
    OK(loci_segment_chunk(all, 7, true, &want, &err));
    assert_same_chunk(&want, &first);
    for (int i = 0; i < CHUNKS; i += 5) {
        OK(loci_segment_chunk(all, i, true, &want, &err));
        OK(loci_segment_chunk(s, i, true, &v, &err));
        assert_same_chunk(&want, &v);
    }
    loci_segment_close(s);
    assert_true(resident() > 8 * BOUND); /* and it is the bound that held it back */
    loci_segment_close(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stays_within_its_bound, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
