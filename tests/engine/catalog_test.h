/* catalog_test.h - what the tests of the catalogue share: rows, and a commit of one document. */
#ifndef CATALOG_TEST_H
#define CATALOG_TEST_H

#include "engine/bank_test.h"
#include "engine/catalog_impl.h"

static const uint8_t mine[16] = { 0xaa, 1 }, other[16] = { 0xbb, 2 };
static const char shape[] = "{\"n\":1}";

static inline loci_segment_row seg_row(int64_t id, int64_t chunks)
{
    loci_segment_row s = { .id = id, .bytes = 1000 + id, .chunks = chunks };
    loci_segment_name(s.file, id);
    return s;
}

static inline loci_doc_row doc_row(char *name, int64_t segment, int64_t first, int64_t chunks)
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

static inline loci_status put(loci_catalog *c, int64_t segment, char *name, int64_t chunks,
                              char ***drop, loci_error *err)
{
    const loci_segment_row s = seg_row(segment, chunks);
    static const float root[4] = { 1.0f, -2.0f, 0.5f, 3.0f };
    loci_doc_row d = doc_row(name, segment, 0, chunks);
    d.root = root;
    d.d_root = 4;
    return loci_catalog_commit(c, &s, &d, 1, NULL, 0, drop, err);
}

static inline void free_list(char **list)
{
    for (char **f = list; f && *f; f++) free(*f);
    free(list);
}

static inline int64_t count_docs(loci_catalog *c)
{
    loci_error err;
    loci_doc_row *rows;
    int64_t n;
    OK(loci_catalog_docs(c, &rows, &n, &err));
    loci_doc_rows_free(rows, n);
    return n;
}

/* Rows of a table, whatever they say. */
static inline int64_t count_rows(loci_catalog *c, const char *table)
{
    loci_error err;
    char sql[64];
    int64_t n;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    OK(loci_sql_int(c, sql, &n, &err));
    return n;
}

#endif
