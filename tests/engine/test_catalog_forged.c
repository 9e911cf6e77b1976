/* Goal: a catalogue that is not ours is refused.
 *
 * Method: rows and schema forged through SQLite itself; the file cut, bits flipped. */
#include "catalog_test.h"

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
        { "PRAGMA user_version = 3", LOCI_EVERSION },
        { "PRAGMA user_version = 0", LOCI_EVERSION },
        { "PRAGMA user_version = 1", LOCI_EFORMAT }, /* which has no roots */
        { "DROP TABLE root", LOCI_EFORMAT },
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

/* The root of the one document: right, or none, or refused. */
static void check_root(loci_catalog *c)
{
    static const float want[4] = { 1.0f, -2.0f, 0.5f, 3.0f };
    loci_root_reader *r;
    const float *root = NULL;
    loci_error err = { 0 };
    OK(loci_root_reader_open(&r, c, 4, &err));
    if (loci_root_reader_find(r, 1, &root, &err) == LOCI_OK)
        assert_true(!root || memcmp(root, want, sizeof want) == 0);
    else
        assert_non_null(strstr(err.text, LOCI_CATALOG_FILE));
    loci_root_reader_close(r);
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
        if (c) check_root(c);
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
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_damaged_file),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
