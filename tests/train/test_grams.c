/* Goal: the sample of training text says how much of another text occurred in it.  Method: runs of
 * 13 words are collected a second time, as strings, and compared; broken files are refused. */
#include "train_test.h"

enum { DOC = 60000 };

static char path[TEMP_PATH];

static int make_path(void **state)
{
    if (make_dir(state) != 0) return -1;
    path_in(path, dir, "data_grams.bin");
    return 0;
}

/* Two documents of different sentences. */
static loci_corpus two_documents(void)
{
    loci_corpus c = { .text = malloc(2 * DOC), .start = calloc(3, sizeof(size_t)), .n_docs = 2 };
    assert_true(c.text && c.start);
    c.start[1] = loci_task_filler(1, DOC, c.text, DOC);
    c.start[2] = c.start[1] + loci_task_filler(2, DOC, c.text + c.start[1], DOC);
    c.bytes = c.start[2];
    return c;
}

static loci_overlap overlap(const char *text, size_t bytes)
{
    loci_grams *g = NULL;
    loci_overlap sum = { 0 };
    MUST(loci_grams_open(&g, path, err));
    loci_grams_overlap(g, text, bytes, &sum);
    loci_grams_close(g);
    return sum;
}

static int n_words(const char *text, size_t bytes)
{
    int n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += (i == 0 || !strchr("abcdefghijklmnopqrstuvwxyz", text[i - 1] | 32)) &&
             strchr("abcdefghijklmnopqrstuvwxyz", text[i] | 32);
    return n;
}

static void test_overlap(void **state)
{
    (void)state;
    loci_corpus c = two_documents();
    char *other = malloc(DOC), *loud = malloc(DOC);
    MUST(loci_grams_write(&c, NULL, LOCI_GRAMS_MOST, path, err));
    const size_t len = c.start[1];

    /* A text of training: every sampled run is found, one in 256 is sampled. */
    loci_overlap all = overlap(c.text, len);
    assert_int_equal(all.runs, n_words(c.text, len) - 12);
    assert_int_equal(all.found, all.sampled);
    assert_in_range(all.sampled, all.runs / 256 / 2, all.runs / 256 * 2);

    /* Case and punctuation do not matter. */
    for (size_t i = 0; i < len; i++)
        loud[i] = c.text[i] == ' ' ? '\n' : (char)(c.text[i] >= 'a' ? c.text[i] - 32 : c.text[i]);
    const loci_overlap same = overlap(loud, len);
    assert_int_equal(same.runs, all.runs);
    assert_int_equal(same.found, all.found);

    /* Another text: nothing.  Half and half: the first half's. */
    const size_t n = loci_task_filler(3, DOC, other, DOC);
    const loci_overlap none = overlap(other, n);
    assert_true(none.sampled > 10 && none.found == 0);
    memcpy(other + n / 2, c.text, n - n / 2 < len ? n - n / 2 : len);
    const loci_overlap half = overlap(other, n);
    assert_in_range(half.found, 1, half.sampled - 1);

    /* No run crosses documents, and 12 words make none. */
    assert_int_equal(overlap("a b c d e f g h i j k l", 23).runs, 0);
    assert_int_equal(overlap("a b c d e f g h i j k l m", 25).runs, 1);
    free(other);
    free(loud);
    loci_corpus_free(&c);
}

/* More hashes than there is room for: the sample is thinned, and still compares. */
/* A run that goes on from another: what either has read is found, each run once. */
static void test_added(void **state)
{
    (void)state;
    loci_corpus c = two_documents();
    loci_corpus first = c, second = c;
    size_t both[3] = { 0, c.start[1], c.start[2] }, later[2] = { c.start[1] / 2, c.start[2] };
    first.n_docs = 1, first.start = both;
    second.n_docs = 1, second.start = later;
    loci_grams *before;
    MUST(loci_grams_write(&first, NULL, LOCI_GRAMS_MOST, path, err));
    MUST(loci_grams_open(&before, path, err));
    MUST(loci_grams_write(&second, before, LOCI_GRAMS_MOST, path, err));
    loci_grams_close(before);
    for (int d = 0; d < 2; d++) {
        const loci_overlap all = overlap(c.text + c.start[d], c.start[d + 1] - c.start[d]);
        assert_true(all.sampled > 20);
        assert_int_equal(all.found, all.sampled);
    }
    free(c.text);
    free(c.start);
}

static void test_thinned(void **state)
{
    (void)state;
    loci_corpus c = two_documents();
    for (size_t most = 3; most <= 48; most *= 4) {
        MUST(loci_grams_write(&c, NULL, most, path, err));
        struct stat s;
        assert_int_equal(stat(path, &s), 0);
        assert_in_range(s.st_size, 32 + 8, 32 + 8 * most);
        const loci_overlap all = overlap(c.text, c.start[1]);
        assert_true(all.found == all.sampled && all.sampled <= (int64_t)most);
    }
    loci_corpus_free(&c);
}

static void refuse(const unsigned char *bytes, size_t n, loci_status want, const char *word)
{
    loci_grams *g = (loci_grams *)1;
    REFUSED(loci_grams_parse(&g, bytes, n, "x.bin", err), want, word);
    assert_null(g);
}

static void test_broken_files(void **state)
{
    (void)state;
    loci_corpus c = two_documents();
    char *data;
    size_t n;
    MUST(loci_grams_write(&c, NULL, LOCI_GRAMS_MOST, path, err));
    MUST(loci_file_load(NULL, path, 1 << 22, &data, &n, err));
    unsigned char *p = (unsigned char *)data;
    loci_grams *g = NULL;
    MUST(loci_grams_parse(&g, p, n, "x.bin", err));
    loci_grams_close(g);
    for (size_t cut = 0; cut < n; cut += cut < 40 ? 1 : 97) refuse(p, cut, LOCI_EFORMAT, "x.bin");
    static const struct {
        int at;
        unsigned char value;
        loci_status want;
    } bad[] = { { 0, 'l', LOCI_EFORMAT },   { 8, 2, LOCI_EVERSION }, { 12, 12, LOCI_EVERSION },
                { 16, 3, LOCI_EFORMAT },    { 17, 3, LOCI_EFORMAT }, { 24, 0, LOCI_EFORMAT },
                { 27, 0xff, LOCI_EFORMAT }, { 32, 1, LOCI_EFORMAT } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const unsigned char was = p[bad[i].at];
        p[bad[i].at] = was == bad[i].value ? (unsigned char)(was + 1) : bad[i].value;
        refuse(p, n, bad[i].want, "x.bin");
        p[bad[i].at] = was;
    }
    /* Two hashes changed over. */
    unsigned char swap[8];
    memcpy(swap, p + 32, 8);
    memcpy(p + 32, p + 40, 8);
    memcpy(p + 40, swap, 8);
    refuse(p, n, LOCI_EFORMAT, "order");
    free(data);
    REFUSED(loci_grams_open(&g, "/nowhere/x.bin", err), LOCI_ENOTFOUND, "x.bin");
    loci_corpus_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_added),
        cmocka_unit_test(test_thinned),
        cmocka_unit_test(test_broken_files),
    };
    return cmocka_run_group_tests(tests, make_path, drop_dir);
}
