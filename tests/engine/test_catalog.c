/* Goal: a commit is seen whole or not at all - by readers, after faults, after a kill.
 *
 * Method: rows in and out; a second connection that reads while the first commits; the lock from
 * a second writer; commits that run into a file size limit at every few bytes. */
#include "catalog_test.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- rows in, rows out -------------------------------------------------------------------------- */
/* Three documents of segment 1, and a new content of "a" in segment 2, which still leaves b in the first. */
static void commit_and_replace(loci_catalog *c)
{
    loci_error err;
    loci_doc_row *rows;
    int64_t n, id;
    char **drop;
    OK(loci_catalog_next_segment(c, &id, &err));
    assert_int_equal(id, 1);
    const loci_segment_row s1 = seg_row(1, 7);
    loci_doc_row docs[3] = { doc_row("a", 1, 0, 3), doc_row("b", 1, 3, 4),
                             doc_row("empty", 1, 7, 0) };
    OK(loci_catalog_commit(c, &s1, docs, 3, NULL, 0, &drop, &err));
    assert_null(drop[0]);
    free_list(drop);
    OK(put(c, 2, "a", 5, &drop, &err));
    assert_null(drop[0]);
    free_list(drop);

    OK(loci_catalog_docs(c, &rows, &n, &err));
    assert_int_equal(n, 3);
    assert_string_equal(rows[0].name, "b");
    assert_string_equal(rows[1].name, "empty");
    assert_string_equal(rows[2].name, "a");
    assert_int_equal(rows[2].sequence, 4);
    assert_int_equal(rows[0].segment, 1);
    assert_int_equal(rows[0].first_chunk, 3);
    assert_int_equal(rows[2].segment, 2);
    assert_string_equal(rows[2].path, "/a/\xff path");
    assert_int_equal(rows[2].bytes, 50);
    assert_int_equal(rows[2].tokens, 5);
    assert_int_equal(rows[2].mtime_ns, -5);
    assert_int_equal(rows[2].file_bytes, 3);
    assert_string_equal(rows[2].encoding, "gzip");
    assert_memory_equal(rows[2].hash, docs[0].hash, 16);
    loci_doc_rows_free(rows, n);
}

/* A touch changes time and size, nothing else. */
static void touch_b(loci_catalog *c)
{
    loci_error err;
    loci_doc_row one, touch = doc_row("b", 0, 0, 0);
    char **drop;
    touch.mtime_ns = 77;
    touch.file_bytes = 78;
    OK(loci_catalog_commit(c, NULL, NULL, 0, &touch, 1, &drop, &err));
    free_list(drop);
    OK(loci_catalog_find(c, "b", &one, &err));
    assert_int_equal(one.mtime_ns, 77);
    assert_int_equal(one.file_bytes, 78);
    assert_int_equal(one.chunks, 4);
    free(one.name);
    free(one.path);
    assert_int_equal(loci_catalog_find(c, "nobody", &one, &err), LOCI_ENOTFOUND);
}

/* The last documents of segment 1 go: it is forgotten and named. */
static void replace_the_others(loci_catalog *c)
{
    loci_error err;
    loci_segment_row *segs;
    int64_t n;
    char **drop;
    const loci_segment_row s3 = seg_row(3, 2);
    loci_doc_row again[2] = { doc_row("b", 3, 0, 1), doc_row("empty", 3, 1, 1) };
    OK(loci_catalog_commit(c, &s3, again, 2, NULL, 0, &drop, &err));
    assert_string_equal(drop[0], "seg-000001.loci");
    assert_null(drop[1]);
    free_list(drop);
    OK(loci_catalog_segments(c, &segs, &n, &err));
    assert_int_equal(n, 2);
    assert_int_equal(segs[0].id, 2);
    assert_string_equal(segs[1].file, "seg-000003.loci");
    assert_int_equal(segs[1].bytes, 1003);
    free(segs);
    OK(loci_catalog_verify(c, &err));
}

static void test_commit_and_replace(void **state)
{
    (void)state;
    char dir[64], path[128];
    loci_error err;
    loci_catalog *c;
    int64_t id;
    struct stat st;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/sub/bank", dir);
    OK(loci_catalog_open(&c, path, LOCI_BANK_CREATE, mine, shape, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/sub/bank/%s", dir, LOCI_CATALOG_FILE);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    commit_and_replace(c);
    touch_b(c);
    replace_the_others(c);
    loci_catalog_close(c);

    /* All of it again from the disk; numbers go on. */
    snprintf(path, sizeof path, "%s/sub/bank", dir);
    OK(loci_catalog_open(&c, path, LOCI_BANK_WRITE, mine, shape, &err));
    assert_int_equal(count_docs(c), 3);
    OK(loci_catalog_next_segment(c, &id, &err));
    assert_int_equal(id, 4);
    loci_catalog_close(c);
    scratch_remove(dir);
}

static void test_bad_commits(void **state)
{
    (void)state;
    char dir[64], **drop;
    loci_error err;
    loci_catalog *c;
    scratch_make(dir);
    OK(loci_catalog_open(&c, dir, LOCI_BANK_CREATE, mine, shape, &err));
    OK(put(c, 1, "kept", 2, &drop, &err));
    free_list(drop);
    for (int fault = 0; fault < 6; fault++) {
        loci_segment_row s = seg_row(2, 4);
        loci_doc_row d[2] = { doc_row("kept", 2, 0, 2), doc_row("x", 2, 2, 2) };
        switch (fault) {
        case 0: d[1].chunks = 3; break; /* over the segment's end */
        case 1: d[1].first_chunk = -1; break;
        case 2: d[1].name = ""; break;
        case 3: d[1].segment = 9; break; /* no such segment: the foreign key says so */
        case 4: snprintf(s.file, sizeof s.file, "../../x"); break;
        default:
            s.id = 1;
            loci_segment_name(s.file, 1);
            d[0].segment = d[1].segment = 1; /* taken */
        }
        err = (loci_error){ 0 };
        const loci_status st = loci_catalog_commit(c, &s, d, 2, NULL, 0, &drop, &err);
        if (st == LOCI_OK) fail_msg("fault %d went in", fault);
        assert_null(drop);
        assert_int_equal(count_docs(c), 1); /* and "kept" is the old one */
        loci_doc_row one;
        OK(loci_catalog_find(c, "kept", &one, &err));
        assert_int_equal(one.segment, 1);
        free(one.name);
        free(one.path);
    }
    loci_catalog_close(c);
    scratch_remove(dir);
}

/* ---- who may open ------------------------------------------------------------------------------------ */
static void test_modes(void **state)
{
    (void)state;
    char dir[64], path[128];
    loci_error err = { 0 };
    loci_catalog *a, *b;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/none", dir);
    assert_int_equal(loci_catalog_open(&a, path, LOCI_BANK_READ, mine, shape, &err),
                     LOCI_ENOTFOUND);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(loci_catalog_open(&a, path, LOCI_BANK_WRITE, mine, shape, NULL),
                     LOCI_ENOTFOUND);
    assert_int_equal(access(path, F_OK), -1); /* asking makes nothing */
    assert_int_equal(loci_catalog_open(&a, dir, LOCI_BANK_WRITE, mine, shape, NULL),
                     LOCI_ENOTFOUND);
    snprintf(path, sizeof path, "%s/%s", dir, LOCI_LOCK_FILE);
    assert_int_equal(access(path, F_OK), -1);

    OK(loci_catalog_open(&a, dir, LOCI_BANK_CREATE, mine, shape, &err));
    err = (loci_error){ 0 };
    assert_int_equal(loci_catalog_open(&b, dir, LOCI_BANK_WRITE, mine, shape, &err), LOCI_EBUSY);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld ", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    OK(loci_catalog_open(&b, dir, LOCI_BANK_READ, mine, shape, &err)); /* readers may */
    loci_catalog_close(b);
    loci_catalog_close(a);
    OK(loci_catalog_open(&a, dir, LOCI_BANK_WRITE, mine, shape, &err)); /* the lock is free again */
    loci_catalog_close(a);

    err = (loci_error){ 0 };
    assert_int_equal(loci_catalog_open(&a, dir, LOCI_BANK_READ, other, shape, &err), LOCI_EMODEL);
    assert_non_null(strstr(err.text, "aa010000000000000000000000000000"));
    assert_non_null(strstr(err.text, "bb020000000000000000000000000000"));
    assert_int_equal(loci_catalog_open(&a, dir, LOCI_BANK_CREATE, other, shape, NULL), LOCI_EMODEL);
    err = (loci_error){ 0 };
    assert_int_equal(loci_catalog_open(&a, dir, LOCI_BANK_READ, mine, "{}", &err), LOCI_EFORMAT);
    assert_non_null(strstr(err.text, shape));
    scratch_remove(dir);
}

/* A reader's snapshot does not move, and holds a commit off until it ends. */
static void test_snapshot(void **state)
{
    (void)state;
    char dir[64], **drop;
    loci_error err;
    loci_catalog *w, *r;
    scratch_make(dir);
    OK(loci_catalog_open(&w, dir, LOCI_BANK_CREATE, mine, shape, &err));
    OK(put(w, 1, "a", 1, &drop, &err));
    free_list(drop);
    OK(loci_catalog_open(&r, dir, LOCI_BANK_READ, mine, shape, &err));

    OK(loci_catalog_begin(r, &err));
    assert_int_equal(count_docs(r), 1);
    sqlite3 *raw; /* a commit by a writer that does not wait, so that the test does not */
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, "BEGIN IMMEDIATE; UPDATE meta SET last_segment = 9", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(count_docs(r), 1);
    assert_int_equal(sqlite3_exec(raw, "COMMIT", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(count_docs(r), 1);
    loci_catalog_end(r);
    assert_int_equal(sqlite3_exec(raw, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);

    OK(put(w, 2, "b", 1, &drop, &err));
    free_list(drop);
    assert_int_equal(count_docs(r), 2); /* a new look sees the new state */
    loci_catalog_close(r);
    loci_catalog_close(w);
    scratch_remove(dir);
}

/* Readers in a loop while another process commits pairs: never half a pair, never out of order. */
static void test_readers_during_commits(void **state)
{
    enum { COMMITS = 60 };
    (void)state;
    char dir[64];
    loci_error err;
    loci_catalog *c;
    scratch_make(dir);
    OK(loci_catalog_open(&c, dir, LOCI_BANK_CREATE, mine, shape, &err));
    loci_catalog_close(c);
    const pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) {
        bool ok = loci_catalog_open(&c, dir, LOCI_BANK_WRITE, mine, shape, NULL) == LOCI_OK;
        for (int64_t i = 1; ok && i <= COMMITS; i++) {
            char **drop = NULL, one[32], two[32];
            snprintf(one, sizeof one, "one-%lld", (long long)i);
            snprintf(two, sizeof two, "two-%lld", (long long)i);
            const loci_segment_row s = seg_row(i, 2);
            loci_doc_row d[2] = { doc_row(one, i, 0, 1), doc_row(two, i, 1, 1) };
            ok = loci_catalog_commit(c, &s, d, 2, NULL, 0, &drop, NULL) == LOCI_OK;
            free_list(drop);
        }
        loci_catalog_close(c);
        _exit(ok ? 0 : 1);
    }
    int64_t last = 0, looks = 0;
    int exit_code = -1;
    OK(loci_catalog_open(&c, dir, LOCI_BANK_READ, mine, shape, &err));
    while (waitpid(writer, &exit_code, WNOHANG) == 0) {
        loci_doc_row *docs;
        loci_segment_row *segs;
        int64_t n, m;
        OK(loci_catalog_begin(c, &err));
        OK(loci_catalog_docs(c, &docs, &n, &err));
        OK(loci_catalog_segments(c, &segs, &m, &err));
        loci_catalog_end(c);
        assert_int_equal(n, 2 * m);
        assert_true(n >= last);
        OK(loci_catalog_check_rows(dir, docs, n, segs, m, NULL, &err));
        last = n;
        looks++;
        loci_doc_rows_free(docs, n);
        free(segs);
    }
    assert_int_equal(exit_code, 0);
    assert_int_equal(count_docs(c), 2 * COMMITS);
    print_message("%lld looks during %d commits\n", (long long)looks, COMMITS);
    loci_catalog_close(c);
    scratch_remove(dir);
}

/* ---- faults ------------------------------------------------------------------------------------------- */
/* No file may grow beyond a limit: a commit meets it in the journal or in the database, and
 * must leave the old state.  The child exits 0 when the commit failed as it should, 1 when it
 * went through, 2 otherwise. */
static void commit_under_limit(const char *dir, rlim_t limit)
{
    char **drop = NULL, name[3000];
    loci_error err = { 0 };
    loci_catalog *c;
    const struct rlimit r = { limit, limit };
    memset(name, 'n', sizeof name - 1); /* several pages, so that the file must grow */
    name[sizeof name - 1] = '\0';
    signal(SIGXFSZ, SIG_IGN);
    if (loci_catalog_open(&c, dir, LOCI_BANK_WRITE, mine, shape, NULL) != LOCI_OK) _exit(2);
    if (setrlimit(RLIMIT_FSIZE, &r) != 0) _exit(2);
    const loci_status st = put(c, 2, name, 1, &drop, &err);
    if (st != LOCI_OK && (drop || st != LOCI_EIO || !strstr(err.text, dir))) _exit(2);
    loci_catalog_close(c);
    _exit(st == LOCI_OK ? 1 : 0);
}

static void test_full_disk(void **state)
{
    (void)state;
    char dir[64], **drop;
    loci_error err;
    loci_catalog *c;
    int failed = 0, done = 0;
    scratch_make(dir);
    OK(loci_catalog_open(&c, dir, LOCI_BANK_CREATE, mine, shape, &err));
    OK(put(c, 1, "kept", 1, &drop, &err));
    free_list(drop);
    loci_catalog_close(c);
    for (rlim_t limit = 0; !done; limit += 1500) {
        int code = 0;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) commit_under_limit(dir, limit);
        waitpid(child, &code, 0);
        assert_true(WIFEXITED(code) && WEXITSTATUS(code) < 2);
        done = WEXITSTATUS(code);
        failed += !done;
        OK(loci_catalog_open(&c, dir, LOCI_BANK_READ, mine, shape, &err));
        assert_int_equal(count_docs(c), 1 + done);
        assert_int_equal(count_rows(c, "root"), 1 + done); /* each with its document */
        OK(loci_catalog_verify(c, &err));
        loci_catalog_close(c);
    }
    assert_true(failed > 3);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_and_replace),
        cmocka_unit_test(test_bad_commits),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_readers_during_commits),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
