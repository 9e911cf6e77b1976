/* Goal: what a bank holds is what the files held, byte by byte; nothing is read twice without need;
 * what cannot be read is told and costs nothing else.  Method: files of every kind into a bank of
 * the small model XS, and the text of each document out of the bank again. */
#include "engine/phase_impl.h"
#include <zlib.h>
#include <zstd.h>
#include "engine/xs_test.h"

static loci_engine *engine;

static char reason[400], reason_path[600];
static void note(void *ctx, const char *path, const char *why)
{
    (void)ctx;
    snprintf(reason_path, sizeof reason_path, "%s", path);
    snprintf(reason, sizeof reason, "%s", why);
}

static void age(const char *name, int seconds) /* an mtime that is surely another */
{
    const struct timespec t[2] = { { 1700000000 + seconds, 0 }, { 1700000000 + seconds, 0 } };
    assert_int_equal(utimensat(AT_FDCWD, at_root(name), t, 0), 0);
}

static void test_bytes_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        size_t n;
    } file[] = {
        { "a-empty", "", 0 },
        { "b-one", "x", 1 },
        { "c-newline", "\n", 1 },
        { "d-utf8", "d\xc3\xa9j\xc3\xa0 vu \xf0\x9f\x99\x82\n", 15 },
        { "e-invalid", "a\xff\xfe\x80 b\xc3( \xed\xa0\x80\xf5", 13 },
        { "f-crlf", "one\r\ntwo\r\n\r\n", 12 },
        { "g-bom", "\xef\xbb\xbftext", 7 },
        { "h-cjk", "\xe6\xbc\xa2\xe5\xad\x97\xe3\x80\x82\xe4\xbb\xae\xe5\x90\x8d", 15 },
        { "i-blank", "   \t\t \n\n   ", 11 },
        { "j-specials", "<bos><q> x <a> y <e><pad>", 25 },
        { "k-lone", "\x80", 1 },
    };
    assert_int_equal(mkdir(at_root("kinds"), 0700), 0);
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char name[64];
        snprintf(name, sizeof name, "kinds/%s", file[i].name);
        write_bytes(at_root(name), file[i].text, file[i].n);
    }
    char *big = long_text(1200000); /* more than one window of text */
    write_bytes(at_root("kinds/z-long"), big, 1200000);
    loci_bank *b = bank_open(engine, at_root("bank-kinds"), LOCI_BANK_CREATE);
    const loci_ingest_report r = ingest(b, at_root("kinds"));
    assert_int_equal(r.documents, sizeof file / sizeof *file + 1);
    for (int pass = 0; pass < 2; pass++) { /* as written, and as a new reader sees it */
        for (size_t i = 0; i < sizeof file / sizeof *file; i++)
            assert_holds(b, file[i].name, file[i].text, file[i].n);
        assert_holds(b, "z-long", big, 1200000);
        loci_bank_close(b);
        b = bank_open(engine, at_root("bank-kinds"), LOCI_BANK_READ);
    }
    loci_bank_close(b);
    free(big);
}

static void test_only_empty_documents(void **state)
{
    (void)state;
    put("nothing", "");
    loci_bank *b = bank_open(engine, at_root("bank-empty"), LOCI_BANK_CREATE);
    assert_int_equal(ingest(b, at_root("nothing")).documents, 1);
    put("something", "text");
    assert_int_equal(ingest(b, at_root("something")).documents, 1);
    assert_holds(b, "nothing", "", 0);
    assert_holds(b, "something", "text", 4);
    loci_bank_close(b);
}

/* A number; now and then with as many blanks behind it as make more chunks than one. */
static void tiny_text(char text[400], int i)
{
    snprintf(text, 400, "%d%*s", i, i % 97 == 0 ? 300 : 0, "");
    for (char *p = text; *p; p++)
        if (*p == ' ' && (p - text) % 2) *p = '#';
}

/* More documents of one chunk than the tables hold at once, and longer ones among them. */
static void test_many_tiny_documents(void **state)
{
    (void)state;
    enum { DOCS = 4300 };
    char name[64], text[400];
    assert_int_equal(mkdir(at_root("tiny"), 0700), 0);
    for (int i = 0; i < DOCS; i++) {
        snprintf(name, sizeof name, "tiny/%05d", i);
        tiny_text(text, i);
        put(name, text);
    }
    loci_bank *b = bank_open(engine, at_root("bank-tiny"), LOCI_BANK_CREATE);
    assert_int_equal(ingest(b, at_root("tiny")).documents, DOCS);
    for (int i = 0; i < DOCS; i++) {
        snprintf(name, sizeof name, "%05d", i);
        tiny_text(text, i);
        assert_holds(b, name, text, strlen(text));
    }
    loci_bank_close(b);
}

static void test_unchanged_touched_changed(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at_root("life"), 0700), 0);
    put("life/a", "first text of a");
    put("life/b", "text of b");
    age("life/a", 1);
    loci_bank *b = bank_open(engine, at_root("bank-life"), LOCI_BANK_CREATE);
    assert_int_equal(ingest(b, at_root("life")).documents, 2);
    loci_bank_stat before, after;
    loci_error err;
    OK(loci_bank_info(b, &before, &err));
    loci_ingest_report r = ingest(b, at_root("life"));
    assert_int_equal(r.documents, 0);
    assert_int_equal(r.unchanged, 2);
    assert_int_equal(r.tokens, 0);
    age("life/a", 2); /* another time, the same bytes: noted, not read into the bank */
    r = ingest(b, at_root("life"));
    assert_int_equal(r.documents, 0);
    assert_int_equal(r.unchanged, 2);
    assert_int_equal(row_of(b, "a")->mtime_ns, INT64_C(1700000002) * 1000000000);
    OK(loci_bank_info(b, &after, &err));
    assert_int_equal(after.segments, before.segments);
    put("life/a", "other text of a"); /* same length */
    age("life/a", 3);
    r = ingest(b, at_root("life"));
    assert_int_equal(r.documents, 1);
    assert_int_equal(r.replaced, 1);
    assert_int_equal(r.unchanged, 1);
    assert_holds(b, "a", "other text of a", 15);
    OK(loci_bank_info(b, &after, &err));
    assert_int_equal(after.documents, 2);
    OK(loci_bank_add(b, "a", "from memory", 11, &r, &err));
    assert_int_equal(r.replaced, 1);
    assert_holds(b, "a", "from memory", 11);
    loci_bank_close(b);
}

static void test_compressed_and_broken(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at_root("packed"), 0700), 0);
    char *text = long_text(60000), *out = malloc(70000);
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, 0), Z_OK);
    z.next_in = (Bytef *)text, z.avail_in = 60000, z.next_out = (Bytef *)out, z.avail_out = 70000;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    const size_t n = 70000 - z.avail_out;
    write_bytes(at_root("packed/a.gz"), out, n);
    write_bytes(at_root("packed/b\ncut.gz"), out, n / 2); /* a message shows '?' for the newline */
    write_bytes(at_root("packed/c.zst"), out, ZSTD_compress(out, 70000, text, 60000, 3));
    put("packed/d", "after the broken one");
    loci_bank *b = bank_open(engine, at_root("bank-packed"), LOCI_BANK_CREATE);
    loci_ingest_options o = loci_ingest_options_default();
    loci_ingest_report r;
    loci_error err;
    const char *path = at_root("packed");
    o.skipped = note;
    OK(loci_bank_ingest(b, &path, 1, &o, &r, &err));
    assert_int_equal(r.documents, 3);
    assert_int_equal(r.skipped, 1);
    assert_non_null(strstr(reason_path, "cut.gz"));
    assert_non_null(strstr(reason, "ends early"));
    assert_holds(b, "a.gz", text, 60000);
    assert_holds(b, "c.zst", text, 60000);
    assert_holds(b, "d", "after the broken one", 20);
    assert_string_equal(row_of(b, "a.gz")->encoding, "gzip");
    assert_string_equal(row_of(b, "c.zst")->encoding, "zstd");
    assert_string_equal(row_of(b, "d")->encoding, "");
    loci_bank_close(b);
    free(text);
    free(out);
}

static void test_binary_is_skipped_quickly(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at_root("binary"), 0700), 0);
    write_bytes(at_root("binary/nul"), "text\0text", 9);
    write_bytes(at_root("binary/sparse"), "", 0);
    assert_int_equal(truncate(at_root("binary/sparse"), (off_t)2 << 30), 0);
    loci_bank *b = bank_open(engine, at_root("bank-binary"), LOCI_BANK_CREATE);
    const loci_ingest_report r = ingest(b, at_root("binary"));
    assert_int_equal(r.documents, 0);
    assert_int_equal(r.skipped, 2);
    assert_true(r.seconds < 2.0);
    loci_ingest_report one;
    loci_error err = { 0 };
    assert_int_equal(loci_bank_add(b, "nul", "a\0b", 3, &one, &err), LOCI_EINVAL);
    loci_bank_close(b);
}

static void test_refusals(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_bank *b = bank_open(engine, at_root("bank-refuse"), LOCI_BANK_CREATE), *other = NULL;
    put("any", "any text");
    ingest(b, at_root("any"));
    assert_int_equal(loci_bank_open(&other, engine, at_root("bank-refuse"), LOCI_BANK_WRITE, &err),
                     LOCI_EBUSY);
    assert_null(other);
    loci_bank *reader = bank_open(engine, at_root("bank-refuse"), LOCI_BANK_READ);
    loci_ingest_report r;
    const char *path = at_root("any");
    err = (loci_error){ 0 };
    assert_int_equal(loci_bank_ingest(reader, &path, 1, NULL, &r, &err), LOCI_ESTATE);
    assert_int_equal(loci_bank_add(reader, "x", "y", 1, &r, NULL), LOCI_ESTATE);
    loci_bank_close(reader);
    path = at_root("no-such-file");
    err = (loci_error){ 0 };
    assert_int_equal(loci_bank_ingest(b, &path, 1, NULL, &r, &err), LOCI_ENOTFOUND);
    assert_int_equal(loci_bank_add(b, "", "y", 1, &r, NULL), LOCI_EINVAL);
    loci_bank_close(b);
    /* The same weights as other numbers are another model. */
    err = (loci_error){ 0 };
    OK(loci_quantize(XS_MODEL, at_root("model-int8"), "int8", &err));
    loci_engine_options o = loci_engine_options_default();
    loci_engine *e;
    o.model_dir = at_root("model-int8");
    OK(loci_engine_open(&e, &o, &err));
    if (strcmp(loci_engine_info(e)->fingerprint, loci_engine_info(engine)->fingerprint) != 0) {
        assert_int_equal(loci_bank_open(&b, e, at_root("bank-refuse"), LOCI_BANK_READ, &err),
                         LOCI_EMODEL);
        assert_non_null(strstr(err.text, loci_engine_info(e)->fingerprint));
        assert_non_null(strstr(err.text, loci_engine_info(engine)->fingerprint));
    } else {
        fail_msg("int8 has the fingerprint of the stored form");
    }
    loci_engine_close(e);
}

static int stop_at(void *ctx, int64_t done, int64_t total)
{
    assert_true(done <= total);
    return done >= *(int64_t *)ctx;
}

static void test_cancel_keeps_what_was_committed(void **state)
{
    (void)state;
    char *text = long_text(1200000);
    assert_int_equal(mkdir(at_root("cancel"), 0700), 0);
    put("cancel/a", "short");
    write_bytes(at_root("cancel/b"), text, 1200000);
    put("kept", "kept text");
    loci_bank *b = bank_open(engine, at_root("bank-cancel"), LOCI_BANK_CREATE);
    ingest(b, at_root("kept"));
    int64_t limit = 500000;
    loci_ingest_options o = loci_ingest_options_default();
    loci_ingest_report r;
    loci_error err = { 0 };
    const char *path = at_root("cancel");
    o.progress = stop_at;
    o.progress_ctx = &limit;
    assert_int_equal(loci_bank_ingest(b, &path, 1, &o, &r, &err), LOCI_ECANCEL);
    assert_holds(b, "kept", "kept text", 9);
    assert_int_equal(b->n_docs, 1);                                /* the batch was not complete */
    assert_int_equal(ingest(b, at_root("cancel/a")).documents, 1); /* and the bank goes on */
    loci_bank_close(b);
    loci_bank_verify_report v;
    OK(loci_bank_verify(at_root("bank-cancel"), NULL, NULL, &v, &err));
    assert_int_equal(v.leftovers, 0);
    free(text);
}

static void test_threads_do_not_change_a_byte(void **state)
{
    (void)state;
    char *seg[2];
    size_t n[2];
    loci_error err;
    char *text = long_text(200000);
    write_bytes(at_root("mid"), text, 200000);
    free(text);
    for (int t = 0; t < 2; t++) {
        char dir[16];
        snprintf(dir, sizeof dir, "bank-t%d", t + 1);
        loci_engine *e = xs_open(t + 1);
        loci_bank *b = bank_open(e, at_root(dir), LOCI_BANK_CREATE);
        ingest(b, at_root("mid"));
        ingest(b, at_root("packed"));
        char path[TEMP_PATH + 100];
        assert_int_equal(b->n_segments, 2);
        loci_path_join(path, sizeof path, at_root(dir), b->segment_row[0].file, NULL);
        OK(loci_file_load(NULL, path, 1 << 30, &seg[t], &n[t], &err));
        loci_bank_close(b);
        loci_engine_close(e);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(seg[0], seg[1], n[0]);
    free(seg[0]);
    free(seg[1]);
}

/* Resident memory at each report of progress, a window of 1 MB apart. */
typedef struct {
    long pages[64];
    int n;
} memory_log;

static int note_memory(void *ctx, int64_t done, int64_t total)
{
    memory_log *log = ctx;
    long all, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    (void)done, (void)total;
    if (f && fscanf(f, "%ld %ld", &all, &resident) == 2 && log->n < 64)
        log->pages[log->n++] = resident;
    if (f) fclose(f);
    return 0;
}

/* What is resident while the ninth megabyte of one document is read is what was while the fourth
 * was, but for the table of the segment, 272 bytes a group: nothing grows with the input.  A small
 * generated model, so that this takes seconds. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    enum { MB = 9, WARM = 3 };
    loci_error err;
    loci_bench_model *bench;
    loci_bench_model_options o = loci_bench_model_options_default();
    o.config = "models/configs/tiny.json";
    o.work_dir = at_root("");
    o.threads = 2;
    OK(loci_bench_model_open(&bench, &o, &err));
    char *text = long_text(MB << 20);
    write_bytes(at_root("big"), text, MB << 20);
    loci_bank *b = bank_open(bench->engine, at_root("bank-big"), LOCI_BANK_CREATE);
    memory_log log = { .n = 0 };
    loci_ingest_options opt = loci_ingest_options_default();
    opt.progress = note_memory;
    opt.progress_ctx = &log;
    loci_ingest_report r;
    OK(loci_bank_ingest(b, &(const char *){ at_root("big") }, 1, &opt, &r, &err));
    assert_true(log.n >= MB);
    for (int i = WARM; i < MB; i++) {
        const long grown = (log.pages[i] - log.pages[WARM]) * (sysconf(_SC_PAGESIZE) / 1024);
        print_message("%d MB read: %ld KiB more than at %d\n", i + 1, grown, WARM + 1);
        assert_true(grown < 1536);
    }
    assert_holds(b, "big", text, MB << 20);
    loci_bank_close(b);
    loci_bench_model_close(bench);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_back),
        cmocka_unit_test(test_only_empty_documents),
        cmocka_unit_test(test_many_tiny_documents),
        cmocka_unit_test(test_unchanged_touched_changed),
        cmocka_unit_test(test_compressed_and_broken),
        cmocka_unit_test(test_binary_is_skipped_quickly),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cancel_keeps_what_was_committed),
        cmocka_unit_test(test_threads_do_not_change_a_byte),
        cmocka_unit_test(test_memory_is_bounded),
    };
    root_make();
    engine = xs_open(2);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loci_engine_close(engine);
    temp_dir_remove(root);
    return failed;
}
