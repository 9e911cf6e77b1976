/* fuzz_catalog.c - a bank's catalogue from anybody: opened, read, its rows held against each other.
 *
 * An input is tried twice.  First as the file itself.  Then as rows, put into a sound catalogue with
 * checksums made right, for these would keep the fuzzer out of every range check:
 *
 *   each 32 bytes: what (1): 0 segment, 1 document, 2 root; length of the name (1), or of the root;
 *                  14 bytes of it; a, b, c, d (4 each), sign-extended: the numbers that say where
 *                  chunks lie, a root's document
 *
 * What comes through must fit: documents inside segments, no two on one chunk; roots of the width asked
 * for, of finite numbers. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "engine/catalog_impl.h"

static char dir[64], path[96];
static char *empty; /* a catalogue without rows */
static size_t empty_bytes;

static void must(int ok)
{
    if (!ok) abort();
}

static void put_file(const void *data, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0 && write(fd, data, n) == (ssize_t)n && close(fd) == 0);
}

static void clean_up(void)
{
    char lock[96];
    snprintf(lock, sizeof lock, "%s/%s", dir, LOCI_LOCK_FILE);
    unlink(path);
    unlink(lock);
    rmdir(dir);
    free(empty);
}

static void prepare(void)
{
    static const uint8_t fingerprint[16] = { 1 };
    loci_catalog *c;
    /* In memory where that is to be had: each input is a file of its own. */
    snprintf(dir, sizeof dir, "%s/loci-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    must(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
    must(loci_catalog_open(&c, dir, LOCI_BANK_CREATE, fingerprint, "{}", NULL) == LOCI_OK);
    loci_catalog_close(c);
    must(loci_file_load(NULL, path, 1 << 20, &empty, &empty_bytes, NULL) == LOCI_OK);
    atexit(clean_up);
}

enum { ROOT_DIM = 3 }; /* 12 of the 14 bytes */

/* ---- reading --------------------------------------------------------------------------------- */
static void check_sound(const loci_doc_row *doc, int64_t n_docs, const loci_segment_row *seg,
                        int64_t n_segs, const int32_t *at)
{
    for (int64_t i = 0; i < n_docs; i++) {
        must(at[i] >= 0 && at[i] < n_segs && seg[at[i]].id == doc[i].segment);
        must(doc[i].chunks >= 0 && doc[i].first_chunk >= 0);
        must(doc[i].first_chunk <= seg[at[i]].chunks - doc[i].chunks);
        for (int64_t k = 0; k < i; k++) {
            const bool apart = doc[k].segment != doc[i].segment || doc[k].chunks == 0 ||
                               doc[i].chunks == 0 ||
                               doc[k].first_chunk + doc[k].chunks <= doc[i].first_chunk ||
                               doc[i].first_chunk + doc[i].chunks <= doc[k].first_chunk;
            must(apart);
        }
    }
}

/* Roots as one of that width finds them, from the first damaged one on none. */
static void read_roots(loci_catalog *c, int d)
{
    loci_error err = { 0 };
    loci_root_reader *r;
    must(loci_root_reader_open(&r, c, d, NULL) == LOCI_OK);
    for (int64_t sequence = 1; sequence <= 80; sequence++) {
        const float *root;
        const loci_status st = loci_root_reader_find(r, sequence, &root, &err);
        must(st == LOCI_OK || (!root && err.text[0] != '\0'));
        if (st != LOCI_OK) break;
        for (int i = 0; root && i < d; i++) must(isfinite(root[i]));
    }
    loci_root_reader_close(r);
}

static void read_all(void)
{
    loci_error err = { 0 };
    loci_catalog *c;
    loci_doc_row *doc = NULL;
    loci_segment_row *seg = NULL;
    int64_t n_docs = 0, n_segs = 0;
    uint8_t fingerprint[16];
    loci_status st = loci_catalog_open(&c, dir, LOCI_BANK_READ, NULL, NULL, &err);
    must((st == LOCI_OK) == (c != NULL) && (st == LOCI_OK || err.text[0] != '\0'));
    if (!c) return;
    st = loci_catalog_begin(c, &err);
    if (st == LOCI_OK) st = loci_catalog_verify(c, &err);
    if (st == LOCI_OK) st = loci_catalog_fingerprint(c, fingerprint, &err);
    if (st == LOCI_OK) st = loci_catalog_docs(c, &doc, &n_docs, &err);
    if (st == LOCI_OK) st = loci_catalog_segments(c, &seg, &n_segs, &err);
    loci_catalog_end(c);
    read_roots(c, ROOT_DIM);
    read_roots(c, 128);
    int32_t *at = calloc((size_t)n_docs + 1, sizeof *at);
    must(at != NULL);
    if (st == LOCI_OK) st = loci_catalog_check_rows(dir, doc, n_docs, seg, n_segs, at, &err);
    if (st == LOCI_OK)
        check_sound(doc, n_docs, seg, n_segs, at);
    else
        must(err.text[0] != '\0');
    free(at);
    loci_doc_rows_free(doc, n_docs);
    free(seg);
    loci_catalog_close(c);
}

/* ---- rows of an input -------------------------------------------------------------------------- */
enum { ROW = 32, ROWS_MAX = 64 };

static void run(sqlite3 *db, sqlite3_stmt *q)
{
    (void)db; /* a row that SQLite refuses (a number twice) is left out */
    sqlite3_step(q);
    sqlite3_finalize(q);
}

static void put_row(sqlite3 *db, const uint8_t *p, int64_t sequence)
{
    char name[16] = { 0 };
    int64_t v[4];
    sqlite3_stmt *q = NULL;
    memcpy(name, p + 2, p[1] % 15);
    for (int i = 0; i < 4; i++) v[i] = (int32_t)get_u32(p + 16 + 4 * i);
    if (p[0] % 3 == 2) {
        const int bytes = p[1] % 15;
        must(sqlite3_prepare_v2(db, LOCI_INSERT_ROOT, -1, &q, NULL) == SQLITE_OK);
        sqlite3_bind_int64(q, 1, v[0]);
        sqlite3_bind_blob(q, 2, p + 2, bytes, SQLITE_STATIC);
        sqlite3_bind_int64(q, 3, (int64_t)loci_root_sum(v[0], p + 2, (size_t)bytes) + v[3]);
        run(db, q);
        return;
    }
    if (p[0] % 3 == 0) {
        loci_segment_row s = { .id = v[0], .bytes = v[1], .chunks = v[2] };
        if (v[3] & 1)
            loci_segment_name(s.file, s.id > 0 ? s.id : 1);
        else
            snprintf(s.file, sizeof s.file, "%s", name);
        must(sqlite3_prepare_v2(db, "INSERT INTO segment VALUES (?1, ?2, ?3, ?4, ?5)", -1, &q,
                                NULL) == SQLITE_OK);
        sqlite3_bind_text(q, 2, s.file, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int64(q, 1, s.id);
        sqlite3_bind_int64(q, 3, s.bytes);
        sqlite3_bind_int64(q, 4, s.chunks);
        sqlite3_bind_int64(q, 5, (int64_t)loci_segment_sum(&s));
        run(db, q);
        return;
    }
    static char nowhere[] = "";
    loci_doc_row d = { .sequence = sequence, .name = name, .path = nowhere };
    d.chunks = v[0];
    d.segment = v[1];
    d.first_chunk = v[2];
    d.bytes = d.file_bytes = v[3];
    must(sqlite3_prepare_v2(db,
                            "INSERT INTO document (" LOCI_DOC_COLUMNS ") VALUES (?1, ?2, x'', "
                            "?3, 0, 0, ?4, zeroblob(16), ?3, ?5, ?6, '', ?7)",
                            -1, &q, NULL) == SQLITE_OK);
    sqlite3_bind_int64(q, 1, d.sequence);
    sqlite3_bind_text(q, 2, name, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(q, 3, d.bytes);
    sqlite3_bind_int64(q, 4, d.chunks);
    sqlite3_bind_int64(q, 5, d.segment);
    sqlite3_bind_int64(q, 6, d.first_chunk);
    sqlite3_bind_int64(q, 7, (int64_t)loci_doc_sum(&d));
    run(db, q);
}

static void put_rows(const uint8_t *data, size_t size)
{
    sqlite3 *db;
    must(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN", NULL, NULL,
                 NULL);
    for (int64_t i = 0; i < ROWS_MAX && size - (size_t)i * ROW >= ROW; i++)
        put_row(db, data + (size_t)i * ROW, i + 1);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    must(sqlite3_close(db) == SQLITE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!empty) prepare();
    put_file(data, size);
    read_all();
    put_file(empty, empty_bytes);
    put_rows(data, size);
    read_all();
    return 0;
}
