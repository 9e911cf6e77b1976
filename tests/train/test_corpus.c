/* test_corpus.c - text on disk into documents.
 *
 * Goal: every kind of data gives exactly its documents in a fixed order, and a corpus that
 * contradicts itself is refused by name.  Method: a fresh folder with a few files; zstd frames are
 * made here. */
#include "train_test.h"
#include <zstd.h>

/* data as one zstd frame in dir/name, without its last `less` bytes. */
static void write_zst(const char *name, const char *data, size_t n, size_t less)
{
    char frame[4096];
    const size_t size = ZSTD_compress(frame, sizeof frame, data, n, 3);
    assert_false(ZSTD_isError(size));
    assert_true(size > less);
    write_bytes(dir, name, frame, size - less);
}

static void add(loci_corpus *c, const char *name)
{
    char path[TEMP_PATH];
    MUST(loci_corpus_add(c, path_in(path, dir, name), err));
}

/* The corpus holds exactly these documents, NULL behind the last; frees it. */
static void holds(loci_corpus *c, const char *const *doc)
{
    size_t n = 0, bytes = 0;
    for (; doc[n]; n++) {
        if (n >= c->n_docs) fail_msg("%zu documents, expected \"%s\" too", c->n_docs, doc[n]);
        assert_int_equal(c->start[n], bytes);
        assert_int_equal(c->start[n + 1] - c->start[n], strlen(doc[n]));
        assert_memory_equal(c->text + bytes, doc[n], strlen(doc[n]));
        bytes += strlen(doc[n]);
    }
    assert_int_equal(c->n_docs, n);
    assert_int_equal(c->bytes, bytes);
    loci_corpus_free(c);
    assert_null(c->text);
}
#define HOLDS(c, ...) holds(c, (const char *const[]){ __VA_ARGS__, NULL })

static void test_file(void **state)
{
    (void)state;
    loci_corpus c = { 0 };
    write_text(dir, "a.txt", "one\x1etwo\n"); /* 0x1E means nothing in a plain file */
    write_text(dir, "b", "three");
    add(&c, "a.txt");
    add(&c, "b");
    add(&c, "a.txt");
    HOLDS(&c, "one\x1etwo\n", "three", "one\x1etwo\n");
}

static void test_folder(void **state)
{
    (void)state;
    char path[TEMP_PATH], hidden[TEMP_PATH];
    loci_corpus c = { 0 };
    /* Written in an order that is not the one of their names. */
    write_text(dir, "zz.txt", "last");
    write_text(dir, "B.txt", "B");
    write_text(dir, "a.txt", "a");
    write_text(dir, ".hidden", "no");
    MUST(loci_mkdirs(NULL, path_in(path, dir, "m/deep"), err));
    write_text(dir, "m/2", "m2");
    write_text(dir, "m/deep/1", "m1");
    write_text(dir, "m/deep/0", "m0");
    write_zst("n.zst", "n1\x1en2", 5, 0);
    assert_int_equal(symlink("a.txt", path_in(path, dir, "link")), 0);
    assert_int_equal(symlink("..", path_in(path, dir, "m/loop")), 0);
    MUST(loci_mkdirs(NULL, path_in(hidden, dir, ".git"), err));
    write_text(dir, ".git/x", "no");
    add(&c, "");
    HOLDS(&c, "B", "a", "m2", "m0", "m1", "n1", "n2", "last");
    /* A link that the user names is followed. */
    add(&c, "link");
    HOLDS(&c, "a");
}

static void test_empty_and_binary(void **state)
{
    (void)state;
    loci_corpus c = { 0 };
    write_text(dir, "0.txt", "");
    write_text(dir, "1.txt", "text");
    write_bytes(dir, "2.bin",
                "\x7f"
                "ELF\0\0",
                6);
    write_zst("3.zst", "", 0, 0);
    write_zst("4.zst",
              "\x1e\x1e"
              "x\x1e\x1e",
              5, 0);
    add(&c, "");
    HOLDS(&c, "text", "x");
    add(&c, "0.txt");
    add(&c, "2.bin");
    assert_int_equal(c.n_docs, 0);
    assert_int_equal(c.bytes, 0);
    loci_corpus_free(&c);
}

static void test_zst(void **state)
{
    (void)state;
    loci_corpus c = { 0 };
    static const char text[] = "first\x1esecond\x1ethird";
    write_zst("c.txt.zst", text, sizeof text - 1, 0);
    add(&c, "c.txt.zst");
    HOLDS(&c, "first", "second", "third");
    /* Two frames behind one another are one stream: a document may lie across them. */
    char two[2048];
    const size_t a = ZSTD_compress(two, sizeof two,
                                   "ab\x1e"
                                   "cd",
                                   5, 3);
    const size_t b = ZSTD_compress(two + a, sizeof two - a, "ef\x1eg", 4, 3);
    write_bytes(dir, "two.zst", two, a + b);
    add(&c, "two.zst");
    HOLDS(&c, "ab", "cdef", "g");
}

/* Longer than the pieces of the decompressor: documents are joined across them. */
static void test_long_zst(void **state)
{
    (void)state;
    enum { DOC = 300001, DOCS = 3 };
    char *text = malloc(DOC * DOCS);
    const size_t cap = ZSTD_compressBound(DOC * DOCS);
    char *frame = malloc(cap);
    assert_true(text && frame);
    for (int i = 0; i < DOC * DOCS; i++)
        text[i] = i % DOC == DOC - 1 ? 0x1E : (char)('a' + i * 7 % 26);
    const size_t size = ZSTD_compress(frame, cap, text, DOC * DOCS, 1);
    write_bytes(dir, "long.txt.zst", frame, size);
    loci_corpus c = { 0 };
    add(&c, "long.txt.zst");
    assert_int_equal(c.n_docs, DOCS);
    for (size_t d = 0; d < DOCS; d++) {
        assert_int_equal(c.start[d], d * (DOC - 1));
        assert_memory_equal(c.text + c.start[d], text + d * DOC, DOC - 1);
    }
    loci_corpus_free(&c);
    free(text);
    free(frame);
}

static void test_index(void **state)
{
    (void)state;
    static const char text[] = "first\x1esecond\x1ethird\x1e";
    static const char good[] = "0\t5\tsrc\tMIT\t1\n6\t6\tsrc\tMIT\t2\n13\t5\tsrc\tMIT\t3\n";
    loci_corpus c = { 0 };
    write_text(dir, "a.txt", "before"); /* offsets count from the corpus' own start */
    write_zst("c.txt.zst", text, sizeof text - 1, 0);
    write_zst("c.idx.zst", good, sizeof good - 1, 0);
    add(&c, "");
    HOLDS(&c, "before", "first", "second", "third");
}

static void test_index_disagrees(void **state)
{
    (void)state;
    static const struct {
        const char *index, *word;
    } wrong[] = {
        { "0\t5\ts\n6\t7\ts\n13\t5\ts\n", "line 2" },
        { "0\t5\ts\n6\t6\ts\n14\t5\ts\n", "line 3" },
        { "1\t5\ts\n6\t6\ts\n13\t5\ts\n", "line 1" },
        { "0\t5\ts\n6\t6\ts\n13\t5\ts\n19\t1\ts\n", "line 4" },
        { "0\t5\ts\n6\t6\ts\n", "lists 2 documents, the text has 3" },
        { "", "lists 0 documents, the text has 3" },
        { "0\t5\ts\n6\t18446744073709551615\ts\n", "line 2" },
        { "18446744073709551615\t5\ts\n", "line 1" },
    };
    static const char text[] = "first\x1esecond\x1ethird\x1e";
    char path[TEMP_PATH];
    write_zst("c.txt.zst", text, sizeof text - 1, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        loci_corpus c = { 0 };
        write_zst("c.idx.zst", wrong[i].index, strlen(wrong[i].index), 0);
        REFUSED(loci_corpus_add(&c, path_in(path, dir, "c.txt.zst"), err), LOCI_EFORMAT,
                wrong[i].word);
        REFUSED(loci_corpus_add(&c, path_in(path, dir, "c.txt.zst"), err), LOCI_EFORMAT,
                "c.idx.zst");
        loci_corpus_free(&c);
    }
}

static void test_broken(void **state)
{
    (void)state;
    static const char text[] = "a text that is cut in the middle of its frame\x1e";
    char path[TEMP_PATH];
    loci_corpus c = { 0 };
    write_zst("cut.txt.zst", text, sizeof text - 1, 5);
    REFUSED(loci_corpus_add(&c, path_in(path, dir, "cut.txt.zst"), err), LOCI_EFORMAT,
            "ends inside a zstd frame");
    write_text(dir, "not.zst", "these bytes are no frame at all");
    REFUSED(loci_corpus_add(&c, path_in(path, dir, "not.zst"), err), LOCI_EFORMAT, "not.zst");
    write_text(dir, "none.zst", ""); /* no frame: nothing was compressed into it */
    REFUSED(loci_corpus_add(&c, path_in(path, dir, "none.zst"), err), LOCI_EFORMAT, "none.zst");
    REFUSED(loci_corpus_add(&c, path_in(path, dir, "missing"), err), LOCI_ENOTFOUND, "missing");
    assert_int_equal(c.n_docs, 0);
    loci_corpus_free(&c);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, drop_dir)
int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_file),
        IN_DIR(test_folder),
        IN_DIR(test_empty_and_binary),
        IN_DIR(test_zst),
        IN_DIR(test_long_zst),
        IN_DIR(test_index),
        IN_DIR(test_index_disagrees),
        IN_DIR(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
