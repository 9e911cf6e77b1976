/* catalog.c - the list of documents and segments of a bank, in SQLite; the writer's lock.
 *
 * Why a rollback journal and not a write-ahead log: a reader holds SQLite's shared lock only
 * while it reads the list and opens the segment files, so a commit (which then unlinks dropped
 * segments) waits those milliseconds, and never takes a file from under a reader; a bank on a
 * read-only medium opens; and secure_delete leaves no deleted name behind in a log.
 * synchronous=EXTRA also syncs the folder after the journal is gone: a commit is durable before
 * any file that it drops is unlinked.
 *
 * The file may come from anybody: triggers and views are off, the schema must be ours to the
 * letter, and every value is checked for type and range before use (catalog_rows.c). */
#include "engine/catalog_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FORMAT_VERSION = LOCI_CATALOG_ROOTS,
    APPLICATION_ID = 0x6c6f6369, /* "loci" */
    BUSY_MS = 10000,             /* how long a commit waits for readers to open the bank */
    VALUE_MAX = 1 << 20          /* bytes of a row */
};

static const char *const schema[] = {
    "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint BLOB NOT NULL, "
    "shape TEXT NOT NULL, last_segment INTEGER NOT NULL, last_sequence INTEGER NOT NULL, "
    "sum INTEGER NOT NULL) STRICT",
    "CREATE TABLE segment (id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, "
    "bytes INTEGER NOT NULL, chunks INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT",
    "CREATE TABLE document (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    "path BLOB NOT NULL, bytes INTEGER NOT NULL, tokens INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, chunks INTEGER NOT NULL, hash BLOB NOT NULL, "
    "file_bytes INTEGER NOT NULL, segment INTEGER NOT NULL REFERENCES segment (id), "
    "first_chunk INTEGER NOT NULL, encoding TEXT NOT NULL, sum INTEGER NOT NULL) STRICT",
    "CREATE INDEX document_segment ON document (segment)",
    "CREATE TABLE root (sequence INTEGER PRIMARY KEY REFERENCES document (sequence), "
    "vector BLOB NOT NULL, sum INTEGER NOT NULL) STRICT",
};
enum { N_SCHEMA = sizeof schema / sizeof *schema, N_SCHEMA_1 = 4 /* of version 1: no roots */ };

/* ---- SQLite, with our errors ------------------------------------------------------------------- */
loci_status loci_sql_fail(const loci_catalog *c, int rc, const char *step, loci_error *err)
{
    const char *text = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc);
    const int sys = c->db ? sqlite3_system_errno(c->db) : 0;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return loci_fail(err, LOCI_ENOMEM, "%s/%s: %s: %s", c->dir, LOCI_CATALOG_FILE, step, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return loci_fail(err, LOCI_EBUSY, "%s/%s: %s: %s", c->dir, LOCI_CATALOG_FILE, step, text);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        errno = sys ? sys : (rc & 0xff) == SQLITE_FULL ? ENOSPC : EIO;
        return loci_fail(err, LOCI_EIO, "%s/%s: %s: %s", c->dir, LOCI_CATALOG_FILE, step, text);
    default:
        return loci_fail(err, LOCI_EFORMAT, "%s/%s: %s: %s", c->dir, LOCI_CATALOG_FILE, step, text);
    }
}

loci_status loci_catalog_bad(const loci_catalog *c, const char *what, loci_error *err)
{
    return loci_fail(err, LOCI_EFORMAT, "%s/%s: %s", c->dir, LOCI_CATALOG_FILE, what);
}

loci_status loci_sql_run(loci_catalog *c, const char *sql, loci_error *err)
{
    const int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? LOCI_OK : loci_sql_fail(c, rc, sql, err);
}

loci_status loci_sql_prepare(loci_catalog *c, sqlite3_stmt **st, const char *sql, loci_error *err)
{
    const int rc = sqlite3_prepare_v2(c->db, sql, -1, st, NULL);
    return rc == SQLITE_OK ? LOCI_OK : loci_sql_fail(c, rc, "prepare", err);
}

loci_status loci_sql_done(loci_catalog *c, sqlite3_stmt *st, const char *what, loci_error *err)
{
    const int rc = sqlite3_step(st);
    const loci_status status = rc == SQLITE_DONE ? LOCI_OK : loci_sql_fail(c, rc, what, err);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return status;
}

loci_status loci_sql_int(loci_catalog *c, const char *sql, int64_t *out, loci_error *err)
{
    sqlite3_stmt *st = NULL;
    *out = 0;
    loci_status status = loci_sql_prepare(c, &st, sql, err);
    if (status != LOCI_OK) return status;
    const int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW)
        status = rc == SQLITE_DONE ? loci_catalog_bad(c, "no meta row", err)
                                   : loci_sql_fail(c, rc, sql, err);
    else if (sqlite3_column_type(st, 0) != SQLITE_INTEGER)
        status = loci_catalog_bad(c, "a number was expected", err);
    else
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return status;
}

/* ---- opening ---------------------------------------------------------------------------------- */
static loci_status take_lock(loci_catalog *c, loci_error *err)
{
    char path[4096], text[32] = { 0 };
    loci_status st = loci_path_join(path, sizeof path, c->dir, LOCI_LOCK_FILE, err);
    if (st == LOCI_OK) st = loci_file_open(&c->lock, NULL, path, O_RDWR | O_CREAT, err);
    if (st != LOCI_OK) return st;
    if (flock(c->lock.fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return loci_fail(err, LOCI_EIO, "lock %s", path);
        if (pread(c->lock.fd, text, sizeof text - 1, 0) < 0) text[0] = '\0';
        return loci_fail(err, LOCI_EBUSY, "%s: process %ld is writing to this bank", c->dir,
                         strtol(text, NULL, 10));
    }
    /* For the message above only: the lock is flock's, and goes with the process. */
    snprintf(text, sizeof text, "%-15ld\n", (long)getpid());
    return loci_file_write(&c->lock, path, text, strlen(text), 0, err);
}

static loci_status configure(loci_catalog *c, loci_bank_mode mode, loci_error *err)
{
    sqlite3_busy_timeout(c->db, BUSY_MS);
    sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, VALUE_MAX);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    loci_status st = loci_sql_run(
        c, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY", err);
    if (st != LOCI_OK) return st;
    if (mode == LOCI_BANK_READ) return loci_sql_run(c, "PRAGMA query_only = ON", err);
    return loci_sql_run(c,
                        "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA;"
                        "PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON",
                        err);
}

static loci_status set_version(loci_catalog *c, loci_error *err)
{
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             APPLICATION_ID, FORMAT_VERSION);
    const loci_status st = loci_sql_run(c, sql, err);
    if (st == LOCI_OK) c->version = FORMAT_VERSION;
    return st;
}

/* Make the tables and the meta row, in one transaction with the version. */
static loci_status initialise(loci_catalog *c, const uint8_t fingerprint[16],
                              const char *shape_json, loci_error *err)
{
    loci_meta_row meta = { .last_segment = 0 };
    loci_status st = LOCI_OK;
    for (int i = 0; i < N_SCHEMA && st == LOCI_OK; i++) st = loci_sql_run(c, schema[i], err);
    memcpy(meta.fingerprint, fingerprint, sizeof meta.fingerprint);
    if (snprintf(meta.shape, sizeof meta.shape, "%s", shape_json) >= (int)sizeof meta.shape)
        return loci_fail(err, LOCI_EINVAL, "%s: shape of %zu bytes", c->dir, strlen(shape_json));
    if (st == LOCI_OK) st = loci_meta_write(c, &meta, err);
    return st == LOCI_OK ? set_version(c, err) : st;
}

/* What a catalogue of version 1 lacks, in the transaction that opens it for writing. */
static loci_status upgrade(loci_catalog *c, loci_error *err)
{
    loci_status st = LOCI_OK;
    for (int i = N_SCHEMA_1; i < N_SCHEMA && st == LOCI_OK; i++)
        st = loci_sql_run(c, schema[i], err);
    return st == LOCI_OK ? set_version(c, err) : st;
}

/* The tables are ours to the letter, and there is nothing besides. */
static loci_status check_schema(loci_catalog *c, loci_error *err)
{
    int64_t id;
    loci_status st = loci_sql_int(c, "PRAGMA application_id", &id, err);
    if (st == LOCI_OK) st = loci_sql_int(c, "PRAGMA user_version", &c->version, err);
    if (st != LOCI_OK) return st;
    if (id != APPLICATION_ID) return loci_catalog_bad(c, "not the catalogue of a bank", err);
    if (c->version < 1 || c->version > FORMAT_VERSION)
        return loci_fail(err, LOCI_EVERSION, "%s/%s: version %lld, this build reads 1 to %d",
                         c->dir, LOCI_CATALOG_FILE, (long long)c->version, FORMAT_VERSION);
    const int want = c->version < LOCI_CATALOG_ROOTS ? N_SCHEMA_1 : N_SCHEMA;
    sqlite3_stmt *q = NULL;
    st =
        loci_sql_prepare(c, &q,
                         "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid", err);
    if (st != LOCI_OK) return st;
    int n = 0, rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && st == LOCI_OK) {
        const char *sql = (const char *)sqlite3_column_text(q, 0);
        if (n >= want || !sql || strcmp(sql, schema[n]) != 0)
            st = loci_catalog_bad(c, "unknown table or index", err);
        n++;
    }
    if (st == LOCI_OK && rc != SQLITE_DONE) st = loci_sql_fail(c, rc, "read schema", err);
    if (st == LOCI_OK && n != want) st = loci_catalog_bad(c, "a table or index is missing", err);
    sqlite3_finalize(q);
    return st;
}

static void hex16(char out[33], const uint8_t b[16])
{
    for (int i = 0; i < 16; i++) snprintf(out + 2 * i, 3, "%02x", b[i]);
}

/* shape_json and fingerprint may be NULL: any. */
static loci_status check_meta(loci_catalog *c, const uint8_t fingerprint[16],
                              const char *shape_json, loci_error *err)
{
    loci_meta_row meta;
    char a[33], b[33];
    const loci_status st = loci_meta_read(c, &meta, err);
    if (st != LOCI_OK) return st;
    if (fingerprint && memcmp(meta.fingerprint, fingerprint, 16) != 0) {
        hex16(a, meta.fingerprint);
        hex16(b, fingerprint);
        return loci_fail(err, LOCI_EMODEL, "%s: bank made by model %s, this model is %s", c->dir, a,
                         b);
    }
    if (shape_json && strcmp(meta.shape, shape_json) != 0)
        return loci_fail(err, LOCI_EFORMAT, "%s/%s: shape of chunks is %s, expected %s", c->dir,
                         LOCI_CATALOG_FILE, meta.shape, shape_json);
    return LOCI_OK;
}

static loci_status open_db(loci_catalog *c, loci_bank_mode mode, loci_error *err)
{
    char path[4096];
    struct stat sb;
    loci_status st = loci_path_join(path, sizeof path, c->dir, LOCI_CATALOG_FILE, err);
    if (st == LOCI_OK && mode == LOCI_BANK_CREATE) st = loci_mkdirs(NULL, c->dir, err);
    if (st != LOCI_OK) return st;
    const bool there = stat(path, &sb) == 0;
    if (!there && mode != LOCI_BANK_CREATE)
        return loci_fail(err, LOCI_ENOTFOUND, "%s: no bank here (no %s)", c->dir,
                         LOCI_CATALOG_FILE);
    if (mode != LOCI_BANK_READ && (st = take_lock(c, err)) != LOCI_OK) return st;
    if (!there) {
        /* Made by us, so that it is 0600; EXCL, because closing a file that SQLite has open in
         * this process would drop SQLite's locks on it. */
        loci_file f;
        loci_error local = { 0 };
        if (loci_file_open(&f, NULL, path, O_RDWR | O_CREAT | O_EXCL, &local) == LOCI_OK)
            loci_file_close(&f, NULL);
        else if (local.sys_errno != EEXIST)
            return loci_fail(err, local.code, "%s", local.text);
    }
    /* Readers too ask for writing: after a kill the next one to come rolls the journal back. */
    const int rc =
        sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (rc != SQLITE_OK) return loci_sql_fail(c, rc, "open", err);
    return configure(c, mode, err);
}

static loci_status open_checked(loci_catalog *c, loci_bank_mode mode, const uint8_t fingerprint[16],
                                const char *shape_json, loci_error *err)
{
    int64_t tables = 0;
    loci_status st = open_db(c, mode, err);
    if (st == LOCI_OK)
        st = loci_sql_run(c, mode == LOCI_BANK_READ ? "BEGIN" : "BEGIN IMMEDIATE", err);
    if (st != LOCI_OK) return st;
    st = loci_sql_int(c, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (st == LOCI_OK && tables == 0) {
        st = mode == LOCI_BANK_CREATE
                 ? initialise(c, fingerprint, shape_json, err)
                 : loci_fail(err, LOCI_ENOTFOUND, "%s: the bank was never finished making", c->dir);
    }
    if (st == LOCI_OK) st = check_schema(c, err);
    if (st == LOCI_OK) st = check_meta(c, fingerprint, shape_json, err);
    if (st == LOCI_OK && mode != LOCI_BANK_READ && c->version < FORMAT_VERSION)
        st = upgrade(c, err);
    if (st == LOCI_OK) st = loci_sql_run(c, "COMMIT", err);
    return st;
}

loci_status loci_catalog_open(loci_catalog **out, const char *dir, loci_bank_mode mode,
                              const uint8_t fingerprint[16], const char *shape_json,
                              loci_error *err)
{
    *out = NULL;
    if (mode == LOCI_BANK_CREATE && (!fingerprint || !shape_json))
        return loci_fail(err, LOCI_EINVAL, "%s: a new bank needs a model", dir);
    loci_catalog *c = calloc(1, sizeof *c);
    if (!c) return loci_fail(err, LOCI_ENOMEM, "no memory for a catalogue");
    c->lock = (loci_file){ loci_vfs_system(), -1 };
    c->dir = strdup(dir);
    const loci_status st = c->dir ? open_checked(c, mode, fingerprint, shape_json, err)
                                  : loci_fail(err, LOCI_ENOMEM, "no memory for a catalogue");
    if (st != LOCI_OK) {
        loci_catalog_close(c);
        return st;
    }
    *out = c;
    return LOCI_OK;
}

void loci_catalog_close(loci_catalog *c)
{
    if (!c) return;
    sqlite3_close(c->db);            /* rolls back what is open */
    loci_file_close(&c->lock, NULL); /* and with it the lock; the file stays: unlinking it races */
    free(c->dir);
    free(c);
}

/* ---- state ------------------------------------------------------------------------------------- */
loci_status loci_catalog_begin(loci_catalog *c, loci_error *err)
{
    int64_t n;
    loci_status st = loci_sql_run(c, "BEGIN", err);
    if (st != LOCI_OK) return st;
    st = loci_sql_int(c, "SELECT count(*) FROM meta", &n, err); /* the first read takes the lock */
    if (st != LOCI_OK) loci_catalog_end(c);
    return st;
}

void loci_catalog_end(loci_catalog *c)
{
    loci_sql_run(c, "ROLLBACK", NULL);
}

loci_status loci_catalog_next_segment(loci_catalog *c, int64_t *id, loci_error *err)
{
    loci_meta_row meta;
    const loci_status st = loci_meta_read(c, &meta, err);
    *id = st == LOCI_OK ? meta.last_segment + 1 : 0;
    return st;
}

loci_status loci_catalog_fingerprint(loci_catalog *c, uint8_t out[16], loci_error *err)
{
    loci_meta_row meta;
    const loci_status st = loci_meta_read(c, &meta, err);
    memcpy(out, meta.fingerprint, 16);
    return st;
}
