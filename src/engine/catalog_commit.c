/* catalog_commit.c - one transaction makes a segment and its documents visible.
 *
 *   old state --BEGIN IMMEDIATE, rows, COMMIT--> new state --caller unlinks dropped files-->
 *
 * SQLite's commit is the only moment of change: before it the old documents are read from the old
 * segments, after it the new ones, and no file that either state needs is touched in between. */
#include "engine/catalog_impl.h"
#include <stdlib.h>

static loci_status insert_segment(loci_catalog *c, const loci_segment_row *s, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    loci_status st =
        loci_sql_prepare(c, &q, "INSERT INTO segment VALUES (?1, ?2, ?3, ?4, ?5)", err);
    if (st != LOCI_OK) return st;
    sqlite3_bind_int64(q, 1, s->id);
    sqlite3_bind_text(q, 2, s->file, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, s->bytes);
    sqlite3_bind_int64(q, 4, s->chunks);
    sqlite3_bind_int64(q, 5, (int64_t)loci_segment_sum(s));
    st = loci_sql_done(c, q, "insert segment", err);
    sqlite3_finalize(q);
    return st;
}

static void bind_doc(sqlite3_stmt *q, const loci_doc_row *d)
{
    sqlite3_bind_int64(q, 1, d->sequence);
    sqlite3_bind_text(q, 2, d->name, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(q, 3, d->path, strlen(d->path), SQLITE_STATIC); /* may be no UTF-8 */
    sqlite3_bind_int64(q, 4, d->bytes);
    sqlite3_bind_int64(q, 5, d->tokens);
    sqlite3_bind_int64(q, 6, d->mtime_ns);
    sqlite3_bind_int64(q, 7, d->chunks);
    sqlite3_bind_blob(q, 8, d->hash, sizeof d->hash, SQLITE_STATIC);
    sqlite3_bind_int64(q, 9, d->file_bytes);
    sqlite3_bind_int64(q, 10, d->segment);
    sqlite3_bind_int64(q, 11, d->first_chunk);
    sqlite3_bind_text(q, 12, d->encoding, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 13, (int64_t)loci_doc_sum(d));
}

#define INSERT_DOC                                                                                 \
    "INSERT OR REPLACE INTO document (" LOCI_DOC_COLUMNS ") "                                      \
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"

#define DROP_ROOT                                                                                  \
    "DELETE FROM root WHERE sequence IN (SELECT sequence FROM document WHERE name = ?1)"

/* A document of that name goes, if there is one; its root first, which points at it. */
static loci_status drop_doc(loci_catalog *c, sqlite3_stmt *drop_root, sqlite3_stmt *drop,
                            const char *name, loci_error *err)
{
    sqlite3_bind_text(drop_root, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(drop, 1, name, -1, SQLITE_STATIC);
    const loci_status st = loci_sql_done(c, drop_root, "drop root", err);
    return st == LOCI_OK ? loci_sql_done(c, drop, "drop document", err) : st;
}

/* Each document takes the place of an older one of its name, at the end of the sequence. */
static loci_status insert_docs(loci_catalog *c, loci_doc_row *docs, int64_t n, int64_t *sequence,
                               loci_error *err)
{
    sqlite3_stmt *drop_root = NULL, *drop = NULL, *ins = NULL, *root = NULL;
    loci_status st = loci_sql_prepare(c, &drop_root, DROP_ROOT, err);
    if (st == LOCI_OK) st = loci_sql_prepare(c, &drop, "DELETE FROM document WHERE name = ?1", err);
    if (st == LOCI_OK) st = loci_sql_prepare(c, &ins, INSERT_DOC, err);
    if (st == LOCI_OK) st = loci_sql_prepare(c, &root, LOCI_INSERT_ROOT, err);
    for (int64_t i = 0; i < n && st == LOCI_OK; i++) {
        docs[i].id = docs[i].sequence = ++*sequence;
        st = drop_doc(c, drop_root, drop, docs[i].name, err);
        if (st != LOCI_OK) break;
        bind_doc(ins, &docs[i]);
        st = loci_sql_done(c, ins, "insert document", err);
        if (st == LOCI_OK) st = loci_root_insert(c, root, &docs[i], err);
    }
    sqlite3_finalize(drop_root);
    sqlite3_finalize(drop);
    sqlite3_finalize(ins);
    sqlite3_finalize(root);
    return st;
}

/* The same document, read from another place or at another time. */
static loci_status touch_docs(loci_catalog *c, const loci_doc_row *touch, int64_t n,
                              loci_error *err)
{
    sqlite3_stmt *q = NULL;
    loci_status st = loci_sql_prepare(c, &q, INSERT_DOC, err);
    for (int64_t i = 0; i < n && st == LOCI_OK; i++) {
        loci_doc_row row;
        st = loci_catalog_find(c, touch[i].name, &row, err);
        if (st == LOCI_ENOTFOUND) {
            st = LOCI_OK; /* replaced in this very transaction, or gone: nothing to note */
            continue;
        }
        if (st != LOCI_OK) break;
        char *path = row.path;
        row.path = touch[i].path;
        row.mtime_ns = touch[i].mtime_ns;
        row.file_bytes = touch[i].file_bytes;
        bind_doc(q, &row);
        st = loci_sql_done(c, q, "update document", err);
        free(path);
        free(row.name);
    }
    sqlite3_finalize(q);
    return st;
}

#define DEAD "FROM segment WHERE id NOT IN (SELECT segment FROM document)"

/* Forget segments without documents; *files (NULL-terminated) are theirs. */
static loci_status drop_segments(loci_catalog *c, char ***files, loci_error *err)
{
    int64_t count = 0, n = 0;
    sqlite3_stmt *q = NULL;
    loci_status st = loci_sql_int(c, "SELECT count(*) " DEAD, &count, err);
    if (st != LOCI_OK) return st;
    *files = calloc((size_t)count + 1, sizeof **files);
    if (!*files)
        return loci_fail(err, LOCI_ENOMEM, "no memory for %lld file names", (long long)count);
    st = loci_sql_prepare(c, &q, "SELECT id " DEAD, err);
    while (st == LOCI_OK && n < count && sqlite3_step(q) == SQLITE_ROW) {
        char file[LOCI_SEGMENT_NAME];
        loci_segment_name(file, sqlite3_column_int64(q, 0));
        if (!((*files)[n++] = strdup(file)))
            st = loci_fail(err, LOCI_ENOMEM, "no memory for a name");
    }
    sqlite3_finalize(q);
    return st == LOCI_OK && count > 0 ? loci_sql_run(c, "DELETE " DEAD, err) : st;
}

static loci_status check_input(const loci_catalog *c, const loci_segment_row *seg,
                               const loci_doc_row *docs, int64_t n, loci_error *err)
{
    char file[LOCI_SEGMENT_NAME];
    if (seg) loci_segment_name(file, seg->id);
    if (seg && (seg->id < 1 || seg->chunks < 0 || strcmp(seg->file, file) != 0))
        return loci_fail(err, LOCI_EINVAL, "%s: segment %lld, file %s", c->dir, (long long)seg->id,
                         seg->file);
    for (int64_t i = 0; i < n; i++) {
        const loci_doc_row *d = &docs[i];
        if (!d->name || !*d->name || !d->path || d->chunks < 0 || d->first_chunk < 0 ||
            (d->root && d->d_root < 1) ||
            (seg && d->segment == seg->id &&
             (d->chunks > seg->chunks || d->first_chunk > seg->chunks - d->chunks)))
            return loci_fail(err, LOCI_EINVAL,
                             "%s: document %s: chunks %lld..+%lld of segment %lld", c->dir,
                             d->name ? d->name : "?", (long long)d->first_chunk,
                             (long long)d->chunks, (long long)d->segment);
    }
    return LOCI_OK;
}

static void free_names(char ***files)
{
    for (char **f = *files; f && *f; f++) free(*f);
    free(*files);
    *files = NULL;
}

/* COMMIT; when it fails the transaction is undone - or, rarely, has taken place and only the sync
 * of the folder behind it failed.  Then the caller must not unlink its segment, which the
 * catalogue now names, nor the dropped ones, which a power loss could bring back: that is done
 * with LOCI_OK and no names, and the next writer removes what is left over. */
static loci_status commit(loci_catalog *c, const loci_segment_row *seg, char ***files,
                          loci_error *err)
{
    loci_error local = { 0 };
    loci_meta_row now;
    const loci_status st = loci_sql_run(c, "COMMIT", &local);
    if (st == LOCI_OK) return LOCI_OK;
    free_names(files);
    if (!sqlite3_get_autocommit(c->db))
        loci_sql_run(c, "ROLLBACK", NULL);
    else if (seg && loci_meta_read(c, &now, NULL) == LOCI_OK && now.last_segment == seg->id)
        return LOCI_OK;
    return loci_fail(err, st, "%s", local.text);
}

loci_status loci_catalog_commit(loci_catalog *c, const loci_segment_row *seg, loci_doc_row *docs,
                                int64_t n_docs, const loci_doc_row *touch, int64_t n_touch,
                                char ***unlink_files, loci_error *err)
{
    loci_meta_row meta;
    *unlink_files = NULL;
    loci_status st = check_input(c, seg, docs, n_docs, err);
    if (st == LOCI_OK) st = loci_sql_run(c, "BEGIN IMMEDIATE", err);
    if (st != LOCI_OK) return st;
    st = loci_meta_read(c, &meta, err);
    if (st == LOCI_OK && seg) st = insert_segment(c, seg, err);
    if (st == LOCI_OK) st = insert_docs(c, docs, n_docs, &meta.last_sequence, err);
    if (st == LOCI_OK) st = touch_docs(c, touch, n_touch, err);
    if (st == LOCI_OK) st = drop_segments(c, unlink_files, err);
    if (seg) meta.last_segment = seg->id;
    if (st == LOCI_OK) st = loci_meta_write(c, &meta, err);
    if (st == LOCI_OK) return commit(c, seg, unlink_files, err);
    loci_sql_run(c, "ROLLBACK", NULL);
    free_names(unlink_files);
    return st;
}

loci_status loci_catalog_verify(loci_catalog *c, loci_error *err)
{
    sqlite3_stmt *q = NULL;
    loci_status st = loci_sql_prepare(c, &q, "PRAGMA integrity_check(1)", err);
    if (st != LOCI_OK) return st;
    int rc = sqlite3_step(q);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 0) : NULL;
    if (!text)
        st = loci_sql_fail(c, rc, "integrity check", err);
    else if (strcmp(text, "ok") != 0)
        st = loci_catalog_bad(c, text, err);
    sqlite3_finalize(q);
    if (st == LOCI_OK) st = loci_sql_prepare(c, &q, "PRAGMA foreign_key_check", err);
    if (st != LOCI_OK) return st;
    rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        st = loci_fail(err, LOCI_EFORMAT, "%s/%s: row %lld of table %s: its %s is not there",
                       c->dir, LOCI_CATALOG_FILE, (long long)sqlite3_column_int64(q, 1),
                       (const char *)sqlite3_column_text(q, 0),
                       (const char *)sqlite3_column_text(q, 2));
    else if (rc != SQLITE_DONE)
        st = loci_sql_fail(c, rc, "foreign key check", err);
    sqlite3_finalize(q);
    return st;
}
