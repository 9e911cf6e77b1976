/* Goal: an open bank shows exactly the committed documents; verify finds what is wrong without a
 * model; a writer killed at any moment leaves whole documents.
 *
 * Method: documents with contents that follow from a seed; damage to segments, catalogue and
 * folder; a child that appends until SIGKILL comes at a random moment, fifty times over. */
#include "bank_test.h"
#include <signal.h>
#include <sys/wait.h>

typedef struct {
    const test_doc *docs;
    int64_t n;
} expectation;

static int expect_doc(void *ctx, const loci_bank_doc *doc)
{
    expectation *e = ctx;
    assert_string_equal(doc->name, e->docs[e->n].name);
    assert_int_equal(doc->chunks, e->docs[e->n].chunks);
    assert_int_equal(doc->bytes, 64 * e->docs[e->n].chunks);
    assert_string_equal(doc->encoding, "");
    e->n++;
    return 0;
}

static int stop_at_once(void *ctx, const loci_bank_doc *doc)
{
    (void)doc;
    ++*(int *)ctx;
    return 1;
}

/* Text of every document, whole and in a part, against the ids that were written. */
static void check_texts(const loci_bank *b, const test_doc *docs)
{
    loci_error err;
    test_chunk *c = malloc(sizeof *c);
    for (int64_t d = 0; d < b->n_docs; d++) {
        char *text, *part;
        size_t n, m;
        OK(loci_bank_text(b, &b->doc[d], 0, docs[d].chunks, &text, &n, &err));
        assert_int_equal(n, 64 * docs[d].chunks);
        for (int64_t i = 0; i < docs[d].chunks; i++) {
            chunk_make(c, &b->shape, docs[d].seed, i);
            for (int t = 0; t < 64; t++) {
                size_t one;
                const char *byte = loci_token_bytes(b->engine->tok, c->ids[t], &one);
                assert_int_equal(one, 1);
                assert_int_equal(text[64 * i + t], *byte);
            }
            assert_memory_equal(b->code + (b->doc_first[d] + i) * b->shape.n_landmarks * 2, c->code,
                                (size_t)b->shape.n_landmarks * 16);
        }
        OK(loci_bank_text(b, &b->doc[d], 1, 1, &part, &m, &err));
        assert_int_equal(m, 64);
        assert_memory_equal(part, text + 64, 64);
        free(part);
        free(text);
        assert_int_equal(loci_bank_text(b, &b->doc[d], 1, docs[d].chunks, &text, &n, NULL),
                         LOCI_EINVAL);
        assert_null(text);
    }
    free(c);
}

static void test_documents(void **state)
{
    static const test_doc first[] = { { "a", 1, 300 }, { "b", 2, 5 } },
                          second[] = { { "a", 3, 40 }, { "c", 4, 2 } };
    static const test_doc live[] = { { "b", 2, 5 }, { "a", 3, 40 }, { "c", 4, 2 } };
    (void)state;
    char dir[64];
    test_engine t;
    loci_bank *b, *r;
    loci_bank_stat info;
    loci_error err;
    scratch_make(dir);
    engine_init(&t, 0x5a);
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_CREATE, &err));
    OK(loci_bank_info(b, &info, &err));
    assert_int_equal(info.documents, 0);
    OK(bank_put(b, first, 2, &err));
    OK(loci_bank_open(&r, &t.e, dir, LOCI_BANK_READ, &err)); /* a reader stays where it opened */
    OK(bank_put(b, second, 2, &err));
    for (int who = 0; who < 2; who++) {
        loci_bank *x = who ? r : b;
        expectation e = { who ? first : live, 0 };
        OK(loci_bank_list(x, expect_doc, &e, &err));
        assert_int_equal(e.n, who ? 2 : 3);
        check_texts(x, who ? first : live);
        OK(loci_bank_info(x, &info, &err));
        assert_int_equal(info.chunks, who ? 305 : 47);
        assert_int_equal(info.tokens, info.chunks);
        assert_int_equal(info.text_bytes, 64 * info.chunks);
        assert_int_equal(info.segments, who ? 1 : 2);
        assert_string_equal(info.fingerprint, "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");
        assert_true(info.disk_bytes > info.segments * 8192 &&
                    info.resident_bytes >= info.chunks * 32);
    }
    int calls = 0;
    OK(loci_bank_list(b, stop_at_once, &calls, &err));
    assert_int_equal(calls, 1);

    /* The last document of segment 1 goes, and its file with it; the reader still reads. */
    static const test_doc third[] = { { "b", 5, 1 } };
    OK(bank_put(b, third, 1, &err));
    char path[128];
    snprintf(path, sizeof path, "%s/seg-000001.loci", dir);
    assert_int_equal(access(path, F_OK), -1);
    check_texts(r, first);
    loci_bank_close(r);
    loci_bank_close(b);
    engine_free(&t);
    scratch_remove(dir);
}

static void test_refusals(void **state)
{
    static const test_doc docs[] = { { "a", 1, 3 } };
    (void)state;
    char dir[64], path[128];
    test_engine t, u;
    loci_bank *b, *second;
    loci_error err;
    scratch_make(dir);
    engine_init(&t, 0x11);
    engine_init(&u, 0x22);
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_CREATE, &err));
    OK(bank_put(b, docs, 1, &err));
    assert_int_equal(loci_bank_open(&second, &t.e, dir, LOCI_BANK_WRITE, NULL), LOCI_EBUSY);
    assert_null(second);
    loci_bank_close(b);
    err = (loci_error){ 0 };
    assert_int_equal(loci_bank_open(&b, &u.e, dir, LOCI_BANK_READ, &err), LOCI_EMODEL);
    assert_non_null(strstr(err.text, "11111111"));
    assert_non_null(strstr(err.text, "22222222"));
    assert_int_equal(loci_bank_open(&b, &t.e, "", LOCI_BANK_READ, NULL), LOCI_EINVAL);
    snprintf(path, sizeof path, "%s/seg-000001.loci", dir);
    assert_int_equal(truncate(path, 1000), 0);
    err = (loci_error){ 0 };
    assert_int_equal(loci_bank_open(&b, &t.e, dir, LOCI_BANK_READ, &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    assert_int_equal(loci_bank_open(&b, &t.e, dir, LOCI_BANK_READ, NULL), LOCI_EFORMAT);
    assert_null(b);
    loci_bank_close(NULL);
    engine_free(&t);
    engine_free(&u);
    scratch_remove(dir);
}

/* ---- verify ------------------------------------------------------------------------------------------ */
static int count_progress(void *ctx, int64_t done, int64_t total)
{
    int64_t *seen = ctx;
    assert_true(done > *seen && done <= total);
    *seen = done;
    return 0;
}

static int cancel(void *ctx, int64_t done, int64_t total)
{
    (void)ctx, (void)done, (void)total;
    return 1;
}

static void flip(const char *path, off_t at)
{
    char byte;
    const int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void test_verify(void **state)
{
    static const test_doc one[] = { { "a", 1, 300 } }, two[] = { { "b", 2, 3 } };
    (void)state;
    char dir[64], path[128], copy[128];
    test_engine t;
    loci_bank *b;
    loci_bank_verify_report r;
    loci_error err = { 0 };
    int64_t seen = 0;
    scratch_make(dir);
    engine_init(&t, 0x33);
    assert_int_equal(loci_bank_verify(dir, NULL, NULL, &r, &err), LOCI_ENOTFOUND);
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_CREATE, &err));
    OK(bank_put(b, one, 1, &err));
    OK(bank_put(b, two, 1, &err));
    loci_bank_close(b);
    OK(loci_bank_verify(dir, count_progress, &seen, &r, &err));
    assert_int_equal(r.blocks, 1 + (2 + 20) + (2 + 10) + 1); /* a has a root */
    assert_int_equal(r.bad_blocks, 0);
    assert_int_equal(r.bytes, seen);
    assert_int_equal(r.leftovers, 0);
    assert_string_equal(r.first_bad, "");
    assert_int_equal(loci_bank_verify(dir, cancel, NULL, &r, NULL), LOCI_ECANCEL);

    /* A stray segment is a leftover; other files are none of our business. */
    snprintf(path, sizeof path, "%s/seg-000009.loci", dir);
    write_bytes(path, "x", 1);
    snprintf(copy, sizeof copy, "%s/seg-9.loci", dir);
    write_bytes(copy, "x", 1);
    OK(loci_bank_verify(dir, NULL, NULL, &r, &err));
    assert_int_equal(r.leftovers, 1);
    assert_string_equal(r.first_leftover, "seg-000009.loci");
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_READ, &err));
    loci_bank_close(b);
    assert_int_equal(access(path, F_OK), 0); /* a reader removes nothing */
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_WRITE, &err));
    loci_bank_close(b);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(copy, F_OK), 0);

    /* Two bad columns in segment 1 and all of segment 2: counted; the first is named. */
    snprintf(path, sizeof path, "%s/seg-000001.loci", dir);
    flip(path, 128);
    flip(path, 128 + 256 * 32 + 7);
    snprintf(copy, sizeof copy, "%s/seg-000002.loci", dir);
    assert_int_equal(truncate(copy, 500), 0);
    err = (loci_error){ 0 };
    assert_int_equal(loci_bank_verify(dir, NULL, NULL, &r, &err), LOCI_EFORMAT);
    assert_int_equal(r.bad_blocks, 3);
    assert_non_null(strstr(r.first_bad, path));
    assert_non_null(strstr(r.first_bad, "group 0, column codes at offset 128"));
    assert_string_equal(err.text, r.first_bad);

    snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
    assert_int_equal(truncate(path, 5000), 0);
    err = (loci_error){ 0 };
    assert_int_equal(loci_bank_verify(dir, NULL, NULL, &r, &err), LOCI_EFORMAT);
    assert_non_null(strstr(r.first_bad, LOCI_CATALOG_FILE));
    engine_free(&t);
    scratch_remove(dir);
}

/* A segment file swapped for another valid one of the same model is noticed. */
static void test_verify_swapped(void **state)
{
    static const test_doc one[] = { { "a", 1, 3 } }, two[] = { { "b", 2, 4 } };
    (void)state;
    char dir[64], a[128], c[128];
    test_engine t;
    loci_bank *b;
    loci_bank_verify_report r;
    loci_error err = { 0 };
    scratch_make(dir);
    engine_init(&t, 0x34);
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_CREATE, &err));
    OK(bank_put(b, one, 1, &err));
    OK(bank_put(b, two, 1, &err));
    loci_bank_close(b);
    snprintf(a, sizeof a, "%s/seg-000001.loci", dir);
    snprintf(c, sizeof c, "%s/seg-000002.loci", dir);
    assert_int_equal(rename(c, a), 0);
    assert_int_equal(loci_bank_verify(dir, NULL, NULL, &r, NULL), LOCI_EFORMAT);
    assert_int_equal(r.bad_blocks, 2);
    assert_int_equal(loci_bank_open(&b, &t.e, dir, LOCI_BANK_READ, NULL), LOCI_EFORMAT);
    engine_free(&t);
    scratch_remove(dir);
}

/* ---- kill --------------------------------------------------------------------------------------------- */
enum { KILLS = 50, NAMES = 5 };

/* Contents of version v of document "doc-i": its chunk count names the version. */
static int64_t chunks_of(int64_t v)
{
    return 1 + v % 40;
}

/* Append batches of two documents until killed.  Each batch replaces the pair (i, i + 1). */
static void writer(const loci_engine *e, const char *dir, int64_t v)
{
    loci_bank *b;
    if (loci_bank_open(&b, (loci_engine *)e, dir, LOCI_BANK_CREATE, NULL) != LOCI_OK) _exit(1);
    for (;; v++) {
        char one[32], two[32];
        snprintf(one, sizeof one, "left-%lld", (long long)(v % NAMES));
        snprintf(two, sizeof two, "right-%lld", (long long)(v % NAMES));
        const test_doc pair[2] = { { one, (uint64_t)v, chunks_of(v) },
                                   { two, (uint64_t)v, chunks_of(v) } };
        if (bank_put(b, pair, 2, NULL) != LOCI_OK) _exit(2);
    }
}

/* Every left has its right of the same version, whole; returns the newest sequence. */
static int64_t check_survivors(const loci_bank *b)
{
    loci_error err;
    test_chunk *c = malloc(sizeof *c);
    int64_t newest = 0;
    assert_int_equal(b->n_docs % 2, 0);
    for (int64_t d = 0; d < b->n_docs; d += 2) {
        const loci_doc_row *l = &b->doc[d], *r = l + 1;
        assert_int_equal(strncmp(l->name, "left-", 5), 0);
        assert_string_equal(l->name + 5, r->name + 6);
        assert_int_equal(l->chunks, r->chunks);
        assert_int_equal(l->segment, r->segment);
        /* Pairs are made in order of v, two sequences each. */
        const int64_t v = (l->sequence - 1) / 2;
        assert_int_equal(l->chunks, chunks_of(v));
        for (int64_t i = 0; i < l->chunks; i++) {
            loci_chunk_view view;
            chunk_make(c, &b->shape, (uint64_t)v, i);
            for (int side = 0; side < 2; side++) {
                const loci_doc_row *doc = side ? r : l;
                OK(loci_segment_chunk(b->segment[b->doc_segment[d + side]], doc->first_chunk + i,
                                      true, &view, &err));
                assert_true(view.bias == c->record.bias);
                assert_row_close(c->landmark, view.landmark, view.landmark_scale[0], 128);
            }
        }
        newest = r->sequence > newest ? r->sequence : newest;
    }
    free(c);
    return newest;
}

static void test_kill(void **state)
{
    (void)state;
    char dir[64];
    test_engine t;
    loci_bank *b;
    loci_bank_verify_report report;
    loci_error err;
    loci_rng rng;
    int64_t newest = 0, leftovers = 0, journals = 0;
    scratch_make(dir);
    engine_init(&t, 0x44);
    loci_rng_seed(&rng, SEED);
    for (int kill_no = 0; kill_no < KILLS; kill_no++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) writer(&t.e, dir, newest / 2);
        /* Ever later, so that on a slow disk too some batches get through. */
        usleep(1000 + loci_rng_below(&rng, (uint32_t)(20000 + 4000 * kill_no)));
        kill(child, SIGKILL);
        int code;
        waitpid(child, &code, 0);
        assert_true(WIFSIGNALED(code) &&
                    WTERMSIG(code) == SIGKILL); /* it had no error of its own */

        char path[128];
        snprintf(path, sizeof path, "%s/%s-journal", dir, LOCI_CATALOG_FILE);
        journals += access(path, F_OK) == 0;
        const loci_status there = loci_bank_open(&b, &t.e, dir, LOCI_BANK_READ, NULL);
        if (there == LOCI_ENOTFOUND && newest == 0) continue; /* killed before the bank was made */
        assert_int_equal(there, LOCI_OK);
        const int64_t now = check_survivors(b);
        loci_bank_close(b);
        assert_true(now >= newest); /* what was committed stays */
        newest = now;
        OK(loci_bank_verify(dir, NULL, NULL, &report, &err));
        assert_int_equal(report.bad_blocks, 0);
        leftovers += report.leftovers;
        if (kill_no % 2) { /* a writer that ends in peace leaves nothing stray */
            OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_WRITE, &err));
            loci_bank_close(b);
            OK(loci_bank_verify(dir, NULL, NULL, &report, &err));
            assert_int_equal(report.leftovers, 0);
        }
    }
    print_message("%d kills: %lld batches committed, %lld leftovers, %lld open journals\n", KILLS,
                  (long long)(newest / 2), (long long)leftovers, (long long)journals);
    assert_true(newest > 0 && leftovers > 0); /* the kills did hit the middle of something */
    engine_free(&t);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_verify),    cmocka_unit_test(test_verify_swapped),
        cmocka_unit_test(test_kill),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
