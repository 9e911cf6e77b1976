/* Goal: a commit is seen whole or not at all - by readers, after faults, after a kill - and a
 * catalogue that is not ours is refused.
 *
 * Method: rows in and out; a second connection that reads while the first commits; the lock from
 * a second writer; commits that run into a file size limit at every few bytes; the file cut, bits
 * flipped, rows and schema forged through SQLite itself. */
#include "bank_test.h"
#include "engine/catalog_impl.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const uint8_t mine[16] = { 0xaa, 1 }, other[16] = { 0xbb, 2 };
static const char shape[] = "{\"n\":1}";

static loci_segment_row seg_row(int64_t id, int64_t chunks)
{
    loci_segment_row s = { .id = id, .bytes = 1000 + id, .chunks = chunks };
    loci_segment_name(s.file, id);
    return s;
}

static loci_doc_row doc_row(char *name, int64_t segment, int64_t first, int64_t chunks)
{
    loci_doc_row d = { .name = name,
                       .path = "/a/\xff path",
                       .bytes = 10 * chunks,
                       .tokens = chunks,
                       .mtime_ns = -5,
                       .chunks = chunks,
                       .hash = { 7, [15] = 9 },
                       .file_bytes = 3,
                       .segment = segment,
                       .first_chunk = first,
                       .encoding = "gzip" };
    return d;
}

static loci_status put(loci_catalog *c, int64_t segment, char *name, int64_t chunks, char ***drop,
                       loci_error *err)
{
    const loci_segment_row s = seg_row(segment, chunks);
    loci_doc_row d = doc_row(name, segment, 0, chunks);
    return loci_catalog_commit(c, &s, &d, 1, NULL, 0, drop, err);
}

static void free_list(char **list)
{
    for (char **f = list; f && *f; f++) free(*f);
    free(list);
}

static int64_t count_docs(loci_catalog *c)
{
    loci_error err;
    loci_doc_row *rows;
    int64_t n;
    OK(loci_catalog_docs(c, &rows, &n, &err));
    loci_doc_rows_free(rows, n);
    return n;
}

/* ---- rows in, rows out -------------------------------------------------------------------------- */
static void test_commit_and_replace(void **state)
{
    (void)state;
    char dir[64], path[128], **drop;
    loci_error err;
    loci_catalog *c;
    loci_doc_row *rows, one;
    loci_segment_row *segs;
    int64_t n, id;
    struct stat st;
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/sub/bank", dir);
    OK(loci_catalog_open(&c, path, LOCI_BANK_CREATE, mine, shape, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/sub/bank/%s", dir, LOCI_CATALOG_FILE);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(path, sizeof path, "%s/sub/bank", dir);

    OK(loci_catalog_next_segment(c, &id, &err));
    assert_int_equal(id, 1);
    const loci_segment_row s1 = seg_row(1, 7);
    loci_doc_row docs[3] = { doc_row("a", 1, 0, 3), doc_row("b", 1, 3, 4),
                             doc_row("empty", 1, 7, 0) };
    OK(loci_catalog_commit(c, &s1, docs, 3, NULL, 0, &drop, &err));
    assert_null(drop[0]);
    free_list(drop);
    OK(put(c, 2, "a", 5, &drop, &err)); /* replaces; segment 1 still has b */
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

    /* A touch changes time and size, nothing else. */
    loci_doc_row touch = doc_row("b", 0, 0, 0);
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

    /* The last documents of segment 1 go: it is forgotten and named. */
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
    loci_catalog_close(c);

    /* All of it again from the disk; numbers go on. */
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
        OK(loci_catalog_verify(c, &err));
        loci_catalog_close(c);
    }
    assert_true(failed > 3);
    scratch_remove(dir);
}

/* ---- a catalogue that is not ours ------------------------------------------------------------------------ */
/* Make the checksums of all rows right, so that only the range checks are left. */
static void resum(sqlite3 *db)
{
    sqlite3_stmt *q, *u;
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT rowid, name, path, bytes, tokens, mtime_ns, chunks, hash, "
                           "file_bytes, segment, first_chunk, encoding, sum FROM document",
                           -1, &q, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "UPDATE document SET sum = ?1 WHERE sequence = ?2", -1,
                                        &u, NULL),
                     SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        loci_doc_row d = { .sequence = sqlite3_column_int64(q, 0),
                           .bytes = sqlite3_column_int64(q, 3),
                           .tokens = sqlite3_column_int64(q, 4),
                           .mtime_ns = sqlite3_column_int64(q, 5),
                           .chunks = sqlite3_column_int64(q, 6),
                           .file_bytes = sqlite3_column_int64(q, 8),
                           .segment = sqlite3_column_int64(q, 9),
                           .first_chunk = sqlite3_column_int64(q, 10) };
        char path[64] = { 0 };
        memcpy(path, sqlite3_column_blob(q, 2), (size_t)sqlite3_column_bytes(q, 2));
        d.name = (char *)sqlite3_column_text(q, 1);
        d.path = path;
        memcpy(d.hash, sqlite3_column_blob(q, 7), (size_t)sqlite3_column_bytes(q, 7));
        snprintf(d.encoding, sizeof d.encoding, "%s", (const char *)sqlite3_column_text(q, 11));
        sqlite3_bind_int64(u, 1, (int64_t)loci_doc_sum(&d));
        sqlite3_bind_int64(u, 2, d.sequence);
        assert_int_equal(sqlite3_step(u), SQLITE_DONE);
        sqlite3_reset(u);
    }
    sqlite3_finalize(q);
    sqlite3_finalize(u);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT id, file, bytes, chunks FROM segment", -1, &q,
                                        NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "UPDATE segment SET sum = ?1 WHERE id = ?2", -1, &u,
                                        NULL),
                     SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        loci_segment_row g = { .id = sqlite3_column_int64(q, 0),
                               .bytes = sqlite3_column_int64(q, 2),
                               .chunks = sqlite3_column_int64(q, 3) };
        snprintf(g.file, sizeof g.file, "%s", (const char *)sqlite3_column_text(q, 1));
        sqlite3_bind_int64(u, 1, (int64_t)loci_segment_sum(&g));
        sqlite3_bind_int64(u, 2, g.id);
        assert_int_equal(sqlite3_step(u), SQLITE_DONE);
        sqlite3_reset(u);
    }
    sqlite3_finalize(q);
    sqlite3_finalize(u);
}

static void test_forged(void **state)
{
    static const struct {
        const char *sql;
        loci_status status; /* of opening, or of reading the rows */
    } list[] = {
        { "PRAGMA user_version = 2", LOCI_EVERSION },
        { "PRAGMA application_id = 1", LOCI_EFORMAT },
        { "CREATE TABLE x (y)", LOCI_EFORMAT },
        { "CREATE TRIGGER t AFTER INSERT ON segment BEGIN DELETE FROM document; END",
          LOCI_EFORMAT },
        { "DROP INDEX document_segment", LOCI_EFORMAT },
        { "PRAGMA foreign_keys = OFF; DROP TABLE document; CREATE VIEW document AS SELECT 1",
          LOCI_EFORMAT },
        { "DELETE FROM meta", LOCI_EFORMAT },
        { "UPDATE meta SET fingerprint = x'00'", LOCI_EFORMAT },
        { "UPDATE document SET chunks = 2; -- wrong sum", LOCI_EFORMAT },
        { "UPDATE segment SET chunks = 4; -- wrong sum", LOCI_EFORMAT },
        { "UPDATE meta SET last_segment = 0", LOCI_EFORMAT },
        { "UPDATE document SET chunks = -1", LOCI_EFORMAT },
        { "UPDATE document SET first_chunk = 9223372036854775807", LOCI_EFORMAT },
        { "UPDATE document SET chunks = 9223372036854775807", LOCI_EFORMAT },
        { "UPDATE document SET hash = x'01'", LOCI_EFORMAT },
        { "UPDATE document SET name = ''", LOCI_EFORMAT },
        { "UPDATE document SET name = 'a' || char(0) || 'b'", LOCI_EFORMAT },
        { "UPDATE document SET encoding = 'much too long'", LOCI_EFORMAT },
        { "UPDATE document SET segment = 5", LOCI_EFORMAT },
        { "UPDATE segment SET file = '../../etc/passwd'", LOCI_EFORMAT },
        { "UPDATE segment SET file = 'seg-000002.loci'", LOCI_EFORMAT },
        { "UPDATE segment SET chunks = 0", LOCI_EFORMAT },
        { "UPDATE segment SET bytes = -1", LOCI_EFORMAT },
        { "INSERT INTO document SELECT 7, 'twin', path, bytes, tokens, mtime_ns, chunks, hash, "
          "file_bytes, segment, first_chunk, encoding, sum FROM document",
          LOCI_EFORMAT },
    };
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char dir[64], path[128], **drop;
        loci_error err;
        loci_catalog *c;
        sqlite3 *raw;
        scratch_make(dir);
        OK(loci_catalog_open(&c, dir, LOCI_BANK_CREATE, mine, shape, &err));
        OK(put(c, 1, "a", 3, &drop, &err));
        free_list(drop);
        loci_catalog_close(c);
        snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
        assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
        if (sqlite3_exec(raw, list[i].sql, NULL, NULL, NULL) != SQLITE_OK)
            fail_msg("%s: %s", list[i].sql, sqlite3_errmsg(raw));
        if (strncmp(list[i].sql, "UPDATE", 6) == 0 || strncmp(list[i].sql, "INSERT", 6) == 0)
            if (!strstr(list[i].sql, "wrong sum")) resum(raw);
        sqlite3_close(raw);

        loci_doc_row *docs = NULL;
        loci_segment_row *segs = NULL;
        int64_t n = 0, m = 0;
        err = (loci_error){ 0 };
        loci_status st = loci_catalog_open(&c, dir, LOCI_BANK_READ, mine, shape, &err);
        if (st == LOCI_OK) st = loci_catalog_docs(c, &docs, &n, &err);
        if (st == LOCI_OK) st = loci_catalog_segments(c, &segs, &m, &err);
        if (st == LOCI_OK) st = loci_catalog_check_rows(dir, docs, n, segs, m, NULL, &err);
        if (st != list[i].status) fail_msg("%s: status %d (%s)", list[i].sql, st, err.text);
        assert_non_null(strstr(err.text, dir));
        loci_doc_rows_free(docs, n);
        free(segs);
        loci_catalog_close(c);
        scratch_remove(dir);
    }
}

/* Bytes of the file overwritten or cut off: any answer but a crash, and never a wrong row. */
static void test_damaged_file(void **state)
{
    (void)state;
    char dir[64], path[128], **drop, *data;
    size_t n;
    loci_error err;
    loci_catalog *c;
    loci_rng rng;
    int refused = 0, cuts = 0;
    loci_rng_seed(&rng, SEED);
    scratch_make(dir);
    OK(loci_catalog_open(&c, dir, LOCI_BANK_CREATE, mine, shape, &err));
    OK(put(c, 1, "a", 3, &drop, &err));
    free_list(drop);
    loci_catalog_close(c);
    snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
    OK(loci_file_load(NULL, path, 1 << 24, &data, &n, &err));
    char *copy = malloc(n);
    for (int round = 0; round < 400; round++) {
        loci_doc_row *docs = NULL;
        loci_segment_row *segs = NULL;
        int64_t nd = 0, ns = 0;
        memcpy(copy, data, n);
        const bool cut = round % 4 == 0;
        const size_t keep = cut ? loci_rng_below(&rng, (uint32_t)n) : n;
        for (int k = 0; !cut && k < 8; k++)
            copy[loci_rng_below(&rng, (uint32_t)n)] ^= (char)(1 + loci_rng_below(&rng, 255));
        write_bytes(path, copy, keep);
        loci_status st = loci_catalog_open(&c, dir, LOCI_BANK_READ, mine, shape, NULL);
        if (st == LOCI_OK) st = loci_catalog_verify(c, NULL);
        if (st == LOCI_OK) st = loci_catalog_docs(c, &docs, &nd, NULL);
        if (st == LOCI_OK) st = loci_catalog_segments(c, &segs, &ns, NULL);
        if (st == LOCI_OK) st = loci_catalog_check_rows(dir, docs, nd, segs, ns, NULL, NULL);
        refused += st != LOCI_OK;
        cuts += cut;
        if (cut) assert_int_not_equal(st, LOCI_OK);
        if (st == LOCI_OK) { /* the damage lies where nothing is stored */
            assert_int_equal(nd, 1);
            assert_int_equal(ns, 1);
            assert_string_equal(docs[0].name, "a");
            assert_int_equal(docs[0].chunks, 3);
            assert_int_equal(segs[0].bytes, 1001);
        }
        loci_doc_rows_free(docs, nd);
        free(segs);
        loci_catalog_close(c);
    }
    print_message("%d of 400 damaged files refused, all %d cut ones\n", refused, cuts);
    free(copy);
    free(data);
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
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_damaged_file),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
